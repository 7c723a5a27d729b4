//! The user `nullmta`, as which the shipped systemd unit runs the daemon, and which files this user can read.
//!
//! Promises: [`ServiceUser::see`] runs a function with the rights of that user; if that is not possible, it returns an
//! error and the function was not run.
//!
//! Not here: the files that the unit hides (`unit.rs`); a host without that user, such as a container. There, files are
//! checked with our own rights.

use std::io;

use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use crate::users::{self, Account};

/// The name of the user, `User=` in the unit.
pub(super) const NAME: &str = "nullmta";

/// The user as whom the unit runs the daemon.
pub(super) struct ServiceUser(Account);

impl ServiceUser {
    /// Returns the user of this host; `None` if there is none, or if we are not root and cannot act for another user.
    pub(super) fn of_host() -> Option<ServiceUser> {
        ServiceUser::named(NAME)
    }

    /// Returns the user whom nobody has given any rights, as whom it can be seen what every user may do; `None` as above.
    pub(super) fn nobody() -> Option<ServiceUser> {
        ServiceUser::named("nobody")
    }

    fn named(login: &str) -> Option<ServiceUser> {
        if !geteuid().is_root() {
            return None;
        }
        users::by_login(login).ok().flatten().map(ServiceUser)
    }

    pub(super) fn uid(&self) -> u32 {
        self.0.uid
    }

    /// Runs `look` with the rights of this user, and returns its result.
    pub(super) fn see<T: Send + 'static>(&self, look: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        let (Account { uid, gid, .. }, groups) = (self.0.clone(), users::groups_of(&self.0)?);
        // Each thread has rights of its own (credentials(7)): this one takes those of the user, and then ends.
        let looking = std::thread::spawn(move || take_rights(uid, gid, &groups).map(|()| look()));
        looking.join().unwrap_or_else(|_| Err(io::Error::other("the check failed")))
    }
}

fn take_rights(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    let groups: Vec<Gid> = groups.iter().map(|group| Gid::from_raw(*group)).collect();
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    set_thread_groups(&groups)?;
    set_thread_res_gid(gid, gid, gid)?;
    // Last: without it there is no right to the others.
    Ok(set_thread_res_uid(uid, uid, uid)?)
}
