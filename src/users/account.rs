//! A user of this host, in the words of passwd(5).

use crate::message::rewrite::LocalUser;

/// A user's entry in the user database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The number that the kernel knows the user by.
    pub uid: u32,
    /// The user's primary group.
    pub gid: u32,
    /// The login name, never empty.
    pub login: String,
    /// The GECOS field as it stands in the database, in any character set.
    pub gecos: Vec<u8>,
}

impl Account {
    /// The names that a message of this user gets.
    pub fn local_user(&self) -> LocalUser {
        LocalUser::new(&self.login, &self.gecos)
    }
}
