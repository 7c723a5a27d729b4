//! Who submits: the reverse-path of a caller that gave none, and the From field of one that named itself.
//!
//! Promises: the reverse-path is the user's login name, bare; the daemon completes it with the origin. A
//! user whom nothing names is `uid` and a number: mail is not refused for want of a name. Whatever the full
//! name holds, the From field is one field.
//!
//! Not here: a message without From and without `-F`; the daemon knows the uid and its full name. What a display name
//! is made of (`message/display_name.rs`).
//!
//! RFC 5322 3.6.2 (From).

use std::env;

use crate::envelope::Address;
use crate::message::display_name::display_name;
use crate::users;

/// The bare address of the user we run for.
pub(in crate::cli) fn login() -> Address {
    let uid = rustix::process::getuid().as_raw();
    // Where nobody knows the user, as in a container, the environment may.
    let name = users::by_uid(uid)
        .ok()
        .flatten()
        .map(|account| account.login)
        .or_else(|| ["LOGNAME", "USER"].iter().find_map(|name| env::var(name).ok()));
    name.and_then(|name| bare(&name)).unwrap_or_else(|| numbered(uid))
}

/// `name` as a local part, quoted where it has to be (`DOMAIN\user`).
fn bare(name: &str) -> Option<Address> {
    let quoted = || format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""));
    let plain = Address::parse(name).ok().filter(|address| address.domain().is_none());
    plain.or_else(|| Address::parse(&quoted()).ok()).filter(|_| !name.is_empty())
}

fn numbered(uid: u32) -> Address {
    // Letters and digits are an address.
    Address::parse(&format!("uid{uid}")).unwrap()
}

/// The field `From: full name <address>` with its line end; an empty full name is none.
pub(super) fn from_field(full_name: &str, address: &Address) -> String {
    match display_name(full_name) {
        name if name.is_empty() => format!("From: {address}\r\n"),
        name => format!("From: {name} <{address}>\r\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_becomes_a_local_part() {
        for (name, expected) in [
            ("root", Some("root")),
            ("www-data", Some("www-data")),
            ("DOMAIN\\ann", Some("\"DOMAIN\\\\ann\"")),
            ("ann@realm", Some("\"ann@realm\"")),
            ("a b", Some("\"a b\"")),
            ("", None),
            ("a\nb", None),
        ] {
            assert_eq!(bare(name).as_ref().map(Address::as_str), expected, "{name:?}");
        }
        assert_eq!(numbered(u32::MAX).as_str(), "uid4294967295");
    }

    #[test]
    fn we_have_a_name_ourselves() {
        assert_eq!(login().domain(), None);
    }

    #[test]
    fn from_fields() {
        let address = Address::parse("ann").unwrap();
        for (name, expected) in [
            ("CronDaemon", "CronDaemon"),
            ("Ann Example", "Ann Example"),
            ("  Ann  ", "Ann"),
            ("Ann E. (ops) \"x\"", "\"Ann E. (ops) \\\"x\\\"\""),
            ("a\r\nBcc: b@x\0", "\"a Bcc: b@x?\""),
            ("Jörg", "=?UTF-8?B?SsO2cmc=?="),
            ("=?utf-8?Q?x?=", "=?UTF-8?B?PT91dGYtOD9RP3g/PQ==?="),
            ("a@b", "\"a@b\""),
        ] {
            assert_eq!(from_field(name, &address), format!("From: {expected} <ann>\r\n"), "{name:?}");
        }
    }

    #[test]
    fn an_empty_name_is_none() {
        assert_eq!(from_field(" ", &Address::parse("ann").unwrap()), "From: ann\r\n");
    }

    #[test]
    fn a_long_name_stays_in_its_lines() {
        let field = from_field(&"ö".repeat(1000), &Address::parse("ann").unwrap());
        assert!(field.len() < 400 && field.lines().all(|line| line.len() < 90), "{field}");
        assert!(field.lines().skip(1).all(|line| line.starts_with(' ')), "{field}");
    }
}
