//! A user of this host, with the fields of passwd(5).

use crate::message::rewrite::LocalUser;

/// The entry of a user in the user database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The number of the user, by which the kernel knows them.
    pub uid: u32,
    /// The gid of the primary group.
    pub gid: u32,
    /// The login name, never empty.
    pub login: String,
    /// The GECOS field as it stands in the database, in any character set.
    pub gecos: Vec<u8>,
}

impl Account {
    /// Returns the names that are used in messages of this user.
    pub fn local_user(&self) -> LocalUser {
        LocalUser::new(&self.login, &self.gecos)
    }
}
