//! Who on this host sends the message, for a From that is missing.
//!
//! Promises: a full name from the password file, which users may change (chfn), stays a display name: it
//! can hold no address, and cannot end its field (`message/display_name.rs`).

use std::borrow::Cow;

use super::spelling::folded_local;
use crate::message::display_name::{display_name, text_of};

/// A user of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalUser {
    /// The login name.
    pub login: String,
    /// The full name; empty when it is not known.
    pub full_name: String,
}

impl LocalUser {
    /// The user `uid` in a password file (passwd(5)), whose lines may each be in UTF-8 or in Latin-1.
    pub fn of_passwd(passwd: &[u8], uid: u32) -> Option<Self> {
        let line = passwd.split(|octet| *octet == b'\n').map(text_of).find(|line| {
            let number = line.split(':').nth(2);
            number.is_some_and(|number| number.parse() == Ok(uid))
        })?;
        let fields: Vec<_> = line.split(':').collect();
        let login = fields.first().filter(|login| !login.is_empty())?;
        let gecos = fields.get(4).and_then(|gecos| gecos.split(',').next()).unwrap_or_default();
        Some(LocalUser { login: (*login).to_owned(), full_name: gecos.replace('&', &capitalized(login)) })
    }

    /// Whether a password file has a user of this login name, in any case, as mail for them is delivered.
    pub fn is_in_passwd(passwd: &[u8], local_part: &str) -> bool {
        let wanted = folded_local(local_part);
        let mut lines = passwd.split(|octet| *octet == b'\n').map(text_of);
        let is_of = |line: Cow<'_, str>| {
            line.split_once(':').is_some_and(|(login, _)| login.to_lowercase() == wanted)
        };
        !wanted.is_empty() && lines.any(is_of)
    }

    /// The full name as a display name, for before `<`; empty where there is none.
    pub(super) fn display_name(&self) -> String {
        display_name(&self.full_name)
    }
}

/// `&` in a full name is the login name with a capital.
fn capitalized(login: &str) -> String {
    let mut chars = login.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/bash\n\
                          broken\n::7::::\n\
                          ann:x:1000:1000:Ann Smith,Room 1,,:/home/ann:/bin/sh\n\
                          bob:x:1001:1001:& \"B\" & \\Co.,:/home/bob:/bin/sh\n\
                          eve:x:1002:1002::/home/eve:/bin/sh\n\
                          jan:x:1003:1003:J\xfcrgen:/home/jan:/bin/sh\n\
                          lea:x:1004:1004:L\xc3\xa9a:/home/lea:/bin/sh\n";

    #[test]
    fn names_come_from_the_password_file() {
        for (uid, expected) in [
            (0, Some(("root", "root"))),
            (1000, Some(("ann", "Ann Smith"))),
            (1001, Some(("bob", "Bob \"B\" Bob \\Co."))),
            (1002, Some(("eve", ""))),
            // One name in Latin-1 left every user of the host without one.
            (1003, Some(("jan", "Jürgen"))),
            (1004, Some(("lea", "Léa"))),
            (7, None),
            (4711, None),
        ] {
            let user = LocalUser::of_passwd(PASSWD, uid);
            let found = user.as_ref().map(|user| (user.login.as_str(), user.full_name.as_str()));
            assert_eq!(found, expected, "{uid}");
        }
    }

    #[test]
    fn logins_are_found_in_any_case() {
        for (login, is_there) in [
            ("ann", true),
            ("Ann", true),
            ("\"bob\"", true),
            ("Smith", false),
            ("Ann Smith", false),
            ("", false),
        ] {
            assert_eq!(LocalUser::is_in_passwd(PASSWD, login), is_there, "{login:?}");
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
