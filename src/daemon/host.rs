//! The daemon and its host: file descriptors, and messages to systemd.

use std::io;

use crate::config::ListenConfig;
use crate::listener::limits::sessions_within;
use crate::log;

/// Returns `listen` with no more sessions than there are file descriptors for: the spool, the relay and the control
/// socket need some.
pub(super) fn within(listen: &ListenConfig, descriptors: u64) -> ListenConfig {
    let most = sessions_within(descriptors);
    if listen.max_sessions > most {
        log::fewer_sessions(most, listen.max_sessions, descriptors);
    }
    ListenConfig {
        max_sessions: listen.max_sessions.min(most),
        max_sessions_per_uid: listen.max_sessions_per_uid.min(most),
        ..listen.clone()
    }
}

/// Raises the limit of file descriptors as far as it goes, since sessions, connections, segments and large files hold
/// one each. Returns the limit.
pub(super) fn raise_descriptor_limit() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        log::done_without("the limit of descriptors stays", &error);
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Logs that systemd was not told something, if that failed.
pub(super) fn notify(sent: io::Result<()>) {
    if let Err(error) = sent {
        log::done_without("systemd was not told", &error);
    }
}
