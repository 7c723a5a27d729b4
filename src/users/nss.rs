//! The user database of the C library, which uses the sources in nsswitch.conf(5).
//!
//! Fails: a call here may never return. Not here: the time limit (`users.rs`).

use std::ffi::CString;
use std::io;

use nix::errno::Errno;
use nix::unistd::{Gid, Group, Uid, User, getgrouplist};

use super::account::Account;

/// A source of users. Each call blocks, without a time limit.
pub trait NameService: Send + Sync {
    /// Returns the user with this uid, if there is one.
    fn by_uid(&self, uid: u32) -> io::Result<Option<Account>>;

    /// Returns the groups that this user is in, including the primary one.
    fn groups(&self, account: &Account) -> io::Result<Vec<u32>>;

    /// Returns the name of the group with this gid, if there is one.
    fn group_name(&self, gid: u32) -> io::Result<Option<String>>;
}

/// The name service of this host.
#[derive(Clone, Copy, Debug)]
pub struct Nss;

impl NameService for Nss {
    fn by_uid(&self, uid: u32) -> io::Result<Option<Account>> {
        found(User::from_uid(Uid::from_raw(uid)))
    }

    fn groups(&self, account: &Account) -> io::Result<Vec<u32>> {
        let login = CString::new(account.login.as_str())?;
        let groups = getgrouplist(&login, Gid::from_raw(account.gid))?;
        Ok(groups.into_iter().map(Gid::as_raw).collect())
    }

    fn group_name(&self, gid: u32) -> io::Result<Option<String>> {
        Ok(Group::from_gid(Gid::from_raw(gid))?.map(|group| group.name))
    }
}

impl Nss {
    /// Returns the user with this login name, if there is one.
    pub(super) fn by_login(self, login: &str) -> io::Result<Option<Account>> {
        found(User::from_name(login))
    }
}

fn found(answer: Result<Option<User>, Errno>) -> io::Result<Option<Account>> {
    let user = match answer {
        Ok(user) => user,
        // getpwnam(3): with these errors, some services say that there is no such user.
        Err(Errno::ENOENT | Errno::ESRCH | Errno::EBADF | Errno::EPERM) => None,
        Err(error) => return Err(error.into()),
    };
    let account = |User { uid, gid, name, gecos, .. }: User| Account {
        uid: uid.as_raw(),
        gid: gid.as_raw(),
        login: name,
        gecos: gecos.into_bytes(),
    };
    Ok(user.map(account).filter(|account| !account.login.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_found_by_uid_and_by_login() {
        let root = Nss.by_uid(0).unwrap().unwrap();
        assert_eq!((root.uid, root.login.as_str()), (0, "root"));
        assert_eq!(Nss.by_login("root").unwrap(), Some(root.clone()));
        assert!(Nss.groups(&root).unwrap().contains(&root.gid));
        assert_eq!(Nss.group_name(0).unwrap().as_deref(), Some("root"));
        assert_eq!(Nss.group_name(u32::MAX - 2).unwrap(), None);
    }

    #[test]
    fn a_user_that_nobody_knows_is_no_error() {
        assert_eq!(Nss.by_uid(u32::MAX - 2).unwrap(), None);
        assert_eq!(Nss.by_login("no such user").unwrap(), None);
        for errno in [Errno::ENOENT, Errno::ESRCH, Errno::EBADF, Errno::EPERM] {
            assert_eq!(found(Err(errno)).unwrap(), None);
        }
        assert!(found(Err(Errno::EIO)).is_err());
    }
}
