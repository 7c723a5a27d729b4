//! The user of this host who sends a message, for a From field that is missing.
//!
//! Promises: the full name from the user database, which users may change (chfn), becomes a display name only: it
//! cannot contain an address or end the field (`message/display_name.rs`).
//!
//! Not here: looking users up (`users/`).

use crate::envelope::quoted::unquote;
use crate::envelope::spelling::folded_local;
use crate::message::display_name::{display_name, text_of};

/// A user of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalUser {
    /// The login name, such as `ann`, which is the local part of the user's address.
    pub login: String,
    /// The full name; empty if it is not known.
    pub full_name: String,
}

impl LocalUser {
    /// Returns the user with this login name and GECOS field (passwd(5)), which may be in UTF-8 or Latin-1.
    pub fn new(login: &str, gecos: &[u8]) -> Self {
        let gecos = text_of(gecos);
        let full_name = gecos.split(',').next().unwrap_or_default();
        LocalUser { login: login.to_owned(), full_name: full_name.replace('&', &capitalized(login)) }
    }

    /// Returns the login names that a local part may stand for: as it is written, without quotes, and in lower case.
    pub fn logins(local_part: &str) -> [String; 2] {
        [unquote(local_part).into_owned(), folded_local(local_part)]
    }

    /// Returns the full name as a display name, which stands before `<`; empty if there is none.
    pub(super) fn display_name(&self) -> String {
        display_name(&self.full_name)
    }
}

/// Returns the login name with a capital letter, which `&` in a full name stands for.
fn capitalized(login: &str) -> String {
    let mut chars = login.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_the_user_database() {
        for (login, gecos, full_name) in [
            ("root", &b"root"[..], "root"),
            ("ann", b"Ann Smith,Room 1,,", "Ann Smith"),
            ("bob", b"& \"B\" & \\Co.,", "Bob \"B\" Bob \\Co."),
            ("eve", b"", ""),
            // One name in Latin-1 left every user of the host without a name.
            ("jan", b"J\xfcrgen", "Jürgen"),
            ("lea", b"L\xc3\xa9a", "Léa"),
        ] {
            let user = LocalUser::new(login, gecos);
            assert_eq!((user.login.as_str(), user.full_name.as_str()), (login, full_name));
        }
    }

    #[test]
    fn a_local_part_stands_for_a_login_in_any_case_and_with_quotes() {
        for (local_part, expected) in [
            ("ann", ["ann", "ann"]),
            ("Ann", ["Ann", "ann"]),
            ("\"Bob\"", ["Bob", "bob"]),
            ("\"Ann Smith\"", ["Ann Smith", "ann smith"]),
        ] {
            assert_eq!(LocalUser::logins(local_part), expected, "{local_part}");
        }
    }

    #[test]
    fn a_name_stays_a_name() {
        for (full_name, expected) in [
            ("Ann Smith", "Ann Smith"),
            (" ", ""),
            ("John Q. Public", "\"John Q. Public\""),
            ("A <root@x>, \"B\" \\", "\"A <root@x>, \\\"B\\\" \\\\\""),
            ("Jürgen", "=?UTF-8?B?SsO8cmdlbg==?="),
            ("a\u{b}b\u{1}", "a b?"),
            ("=?x?q?y?=", "=?UTF-8?B?PT94P3E/eT89?="),
        ] {
            let user = LocalUser { login: "x".into(), full_name: full_name.into() };
            assert_eq!(user.display_name(), expected);
        }
        let long = LocalUser { login: "x".into(), full_name: "ü".repeat(4000) };
        let name = long.display_name();
        assert!(name.len() < 500 && name.split("\r\n ").all(|word| word.len() <= 75), "{name}");
    }
}
