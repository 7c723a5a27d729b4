//! The user who submits: the reverse-path for a caller without `-f`, and the From field for a caller with `-F`.
//!
//! Promises: the reverse-path is the user's login name without a domain, which the daemon adds. A user without a login name
//! is `uid` and a number, so that mail is not refused because a name is missing. The From field is one field, whatever the
//! full name contains.
//!
//! Not here: a message without From and without `-F`, to which the daemon adds the full name of the user; the syntax of
//! display names (`message/display_name.rs`).
//!
//! RFC 5322 3.6.2 (From).

use std::env;

use crate::envelope::Address;
use crate::envelope::address::quoted_local_part;
use crate::message::display_name::display_name;
use crate::users;

/// Returns the address, without a domain, of the user who runs this process.
pub(in crate::cli) fn login() -> Address {
    let uid = rustix::process::getuid().as_raw();
    // In a container the user may have no account; then the environment may name it.
    let name = users::by_uid(uid)
        .ok()
        .flatten()
        .map(|account| account.login)
        .or_else(|| ["LOGNAME", "USER"].iter().find_map(|name| env::var(name).ok()));
    name.and_then(|name| bare(&name)).unwrap_or_else(|| numbered(uid))
}

/// Returns `name` as a local part, quoted if necessary (`DOMAIN\user`); `None` if it cannot be one.
fn bare(name: &str) -> Option<Address> {
    Address::parse(&quoted_local_part(name)).ok().filter(|_| !name.is_empty())
}

fn numbered(uid: u32) -> Address {
    // This cannot fail: letters and digits are a valid local part.
    Address::parse(&format!("uid{uid}")).unwrap()
}

/// Returns the field `From: full name <address>` with its line end; `From: address` if the full name is empty.
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
