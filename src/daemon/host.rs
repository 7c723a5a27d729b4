//! What the daemon asks of its host: file descriptors, and systemd's ear.

use std::io;

use crate::config::ListenConfig;
use crate::listener::limits::sessions_within;
use crate::log;

/// `listen` with no more sessions than there are descriptors for: spool, relay and control socket need some.
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

/// Sessions, connections, segments and large files each hold a descriptor. How many there may be.
pub(super) fn raise_descriptor_limit() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        log::done_without("the limit of descriptors stays", &error);
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Logs that systemd was not told something, if it was not.
pub(super) fn notify(sent: io::Result<()>) {
    if let Err(error) = sent {
        log::done_without("systemd was not told", &error);
    }
}
