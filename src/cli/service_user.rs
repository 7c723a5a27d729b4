//! The user that the shipped unit runs the daemon as, `nullmta`, and what they may read.
//!
//! Promises: [`ServiceUser::see`] does its work with the rights of that user, whoever called us; where that cannot be,
//! it says so and nothing was done.
//!
//! Not here: what their unit hides from them (`unit.rs`); a host without that user, such as a container's: there
//! everything is looked at as who we are.

use std::io;

use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use crate::users::{self, Account};

/// `User=` of the unit.
pub(super) const NAME: &str = "nullmta";

/// The unit's user.
pub(super) struct ServiceUser(Account);

impl ServiceUser {
    /// The user of this host, if we are root, who alone can look for another.
    pub(super) fn of_host() -> Option<ServiceUser> {
        if !geteuid().is_root() {
            return None;
        }
        users::by_login(NAME).ok().flatten().map(ServiceUser)
    }

    pub(super) fn uid(&self) -> u32 {
        self.0.uid
    }

    /// What `look` comes to with the rights of this user.
    pub(super) fn see<T: Send + 'static>(&self, look: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        let (Account { uid, gid, .. }, groups) = (self.0.clone(), users::groups_of(&self.0)?);
        // Rights are each thread's own (credentials(7)): this one takes on the user's, and ends.
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
