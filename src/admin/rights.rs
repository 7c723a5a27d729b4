//! What a client of the control socket may know and do.
//!
//! Promises: root, the daemon's own user and the members of the daemon's group, be it their primary one or
//! by `/etc/group`, may do anything; any other user may list the queue, and sees their own messages. Who it
//! is the kernel says (SO_PEERCRED), whatever the socket's mode.
//!
//! Fails towards less: who is in a file that cannot be read is in no group.
//!
//! Not here: groups that only a name service knows; newgrp(1) makes such a one primary.

use std::fs;

use rustix::process::{getegid, geteuid};
use tokio::net::unix::UCred;

use crate::envelope::Submitter;
use crate::message::rewrite::LocalUser;

/// What a client may know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rights {
    Everything,
    /// The messages that this user submitted.
    Own(u32),
}

impl Rights {
    pub(super) async fn of(client: UCred) -> Self {
        let uid = client.uid();
        let is_ours = uid == geteuid().as_raw() || client.gid() == getegid().as_raw();
        let may_do_all = uid == 0
            || is_ours
            || tokio::task::spawn_blocking(move || is_of_our_group(uid)).await.unwrap_or(false);
        if may_do_all { Rights::Everything } else { Rights::Own(uid) }
    }

    pub(super) fn include(self, submitter: Submitter) -> bool {
        match self {
            Rights::Everything => true,
            Rights::Own(uid) => submitter == Submitter::Uid(uid),
        }
    }
}

fn is_of_our_group(uid: u32) -> bool {
    let files = fs::read("/etc/passwd").and_then(|passwd| Ok((passwd, fs::read("/etc/group")?)));
    files.is_ok_and(|(passwd, group)| {
        let group = String::from_utf8_lossy(&group);
        LocalUser::of_passwd(&passwd, uid)
            .is_some_and(|user| is_member(&group, getegid().as_raw(), &user.login))
    })
}

/// Whether the text of a group file (group(5)) puts `login` into the group `gid`.
fn is_member(group: &str, gid: u32, login: &str) -> bool {
    group.lines().filter(|line| !line.starts_with('#')).any(|line| {
        let fields: Vec<_> = line.split(':').collect();
        let [_, _, number, members] = fields[..] else { return false };
        number.parse() == Ok(gid) && members.split(',').any(|member| member.trim() == login)
    })
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

    #[test]
    fn members_are_those_of_the_group_file() {
        let group = "root:x:0:\nnullmta:x:990:ann, ben\n# nullmta:x:990:carl\nmail:x:8:dan\n\
                     broken:990:eve\nnullmta:x:990:fay\n";
        let members: Vec<_> = ["ann", "ben", "carl", "dan", "eve", "fay", "an", "ann, ben"]
            .into_iter()
            .filter(|login| is_member(group, 990, login))
            .collect();
        assert_eq!(members, ["ann", "ben", "fay"]);
    }
}
