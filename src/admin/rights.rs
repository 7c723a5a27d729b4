//! What a client of the control socket may know and do.
//!
//! Promises: root, the daemon's own user and the members of the daemon's group may do anything; any other user may
//! list the queue, and sees their own messages. Who it is the kernel says (SO_PEERCRED), whatever the socket's mode;
//! who is a member the kernel says of the group that the client runs in, and the name service of all others.
//!
//! Fails towards less: a user whose groups cannot be looked up is in none.

use rustix::process::{getegid, geteuid};
use tokio::net::unix::UCred;

use crate::envelope::Submitter;
use crate::users::Users;

/// What a client may know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rights {
    Everything,
    /// The messages that this user submitted.
    Own(u32),
}

impl Rights {
    pub(super) async fn of(client: UCred, users: &Users) -> Self {
        let uid = client.uid();
        let our_group = getegid().as_raw();
        let is_ours = uid == geteuid().as_raw() || client.gid() == our_group;
        let may_do_all = uid == 0 || is_ours || users.is_in_group(uid, our_group).await;
        if may_do_all { Rights::Everything } else { Rights::Own(uid) }
    }

    pub(super) fn include(self, submitter: Submitter) -> bool {
        match self {
            Rights::Everything => true,
            Rights::Own(uid) => submitter == Submitter::Uid(uid),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_user_sees_their_own_messages_only() {
        let own = Rights::Own(1000);
        assert!(own.include(Submitter::Uid(1000)) && !own.include(Submitter::Uid(0)));
        assert!(!own.include(Submitter::Loopback) && !own.include(Submitter::Ourselves));
        assert!(Rights::Everything.include(Submitter::Ourselves));
    }
}
