//! Parses the path of a MAIL or RCPT command, which stands between `:` and the parameters.
//!
//! Promises: a parsed path is an [`Address`] or `<>`, and so is safe wherever addresses are used.
//! Common mistakes of scripts are accepted, as by all servers: spaces after the colon, no brackets.
//! A source route is dropped (RFC 5321 4.1.1.3, appendix C).
//!
//! Not here: the syntax of an address (`envelope/address.rs`), completing a bare one (`message/`).

use crate::envelope::address::find_outside_quotes;
use crate::envelope::{Address, BadAddress, ReversePath};

/// Returns the reverse-path at the start of `text`, and the text after it.
pub(super) fn reverse(text: &str) -> Result<(ReversePath, &str), BadAddress> {
    match split(text)? {
        ("", rest) => Ok((ReversePath::Null, rest)),
        (path, rest) => Ok((ReversePath::Mailbox(mailbox(path)?), rest)),
    }
}

/// Returns the mailbox of a recipient at the start of `text`, and the text after it.
pub(super) fn forward(text: &str) -> Result<(Address, &str), BadAddress> {
    let (path, rest) = split(text)?;
    let address = mailbox(path)?;
    address.fault_as_recipient().map_or(Ok((address, rest)), Err)
}

fn mailbox(path: &str) -> Result<Address, BadAddress> {
    Address::parse(without_route(path)?)
}

/// Splits `text` into the path, without its brackets, and the rest. Only the path of `<>` is empty.
fn split(text: &str) -> Result<(&str, &str), BadAddress> {
    let text = text.trim_start_matches([' ', '\t']);
    let (path, rest) = match text.strip_prefix('<') {
        Some(inside) => {
            let end = find(inside, &['>']).ok_or(BadAddress::BadCharacter)?;
            (&inside[..end], &inside[end + 1..])
        }
        None if text.is_empty() => return Err(BadAddress::Empty),
        None => text.split_at(find(text, &[' ', '\t']).unwrap_or(text.len())),
    };
    if rest.is_empty() || rest.starts_with([' ', '\t']) {
        Ok((path, rest))
    } else {
        Err(BadAddress::BadCharacter)
    }
}

/// Returns the offset of the first of the `wanted` characters outside quotes. A quoted text that does not end is refused
/// where the address is parsed.
fn find(text: &str, wanted: &[char]) -> Option<usize> {
    find_outside_quotes(text, wanted).ok().flatten()
}

/// Removes a source route: `@a.example,@b.example:ann@example.org` becomes `ann@example.org`.
fn without_route(path: &str) -> Result<&str, BadAddress> {
    if !path.starts_with('@') {
        return Ok(path);
    }
    let mut in_literal = false;
    for (index, octet) in path.bytes().enumerate() {
        match octet {
            b'[' => in_literal = true,
            b']' => in_literal = false,
            b':' if !in_literal => return Ok(&path[index + 1..]),
            _ => {}
        }
    }
    Err(BadAddress::BadLocalPart)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_as_they_are_met() {
        for (text, address, rest) in [
            ("<ann@example.org>", "ann@example.org", ""),
            ("<ann@example.org> SIZE=1", "ann@example.org", " SIZE=1"),
            ("  \t<root>", "root", ""),
            ("ann@example.org", "ann@example.org", ""),
            (" ann@example.org\tSIZE=1", "ann@example.org", "\tSIZE=1"),
            ("<Postmaster>", "Postmaster", ""),
            ("<\"a > b\"@example.org> X", "\"a > b\"@example.org", " X"),
            ("<\"a\\\">b\"@example.org>", "\"a\\\">b\"@example.org", ""),
            ("\"a b\"@example.org X", "\"a b\"@example.org", " X"),
            ("<@a.example,@b.example:ann@example.org>", "ann@example.org", ""),
            ("<@[IPv6:2001:db8::1]:ann@example.org>", "ann@example.org", ""),
            ("<ann@[IPv6:2001:db8::1]>", "ann@[IPv6:2001:db8::1]", ""),
            ("<пример@пример.рф>", "пример@пример.рф", ""),
        ] {
            let expected = Address::parse(address).unwrap();
            assert_eq!(forward(text), Ok((expected, rest)), "{text}");
        }
    }

    #[test]
    fn only_a_pair_of_brackets_is_the_null_reverse_path() {
        assert_eq!(reverse("<> BODY=7BIT"), Ok((ReversePath::Null, " BODY=7BIT")));
        for text in ["", "  ", "<@a.example:>", "< >", "\"\"@"] {
            assert!(reverse(text).is_err(), "{text:?}");
        }
        assert_eq!(forward("<>"), Err(BadAddress::Empty));
        let login = Address::parse("\"ann@realm\"").unwrap();
        assert_eq!(
            reverse("<\"ann@realm\">"),
            Ok((ReversePath::Mailbox(login), "")),
            "who sends may be called so"
        );
    }

    #[test]
    fn paths_refused() {
        for text in [
            "<ann@example.org",
            "<ann@example.org>x",
            "<ann@example.org>>",
            "<<ann@example.org>>",
            "<\"ann@example.org>",
            "<ann example@example.org>",
            "<ann@example.org,bob@example.org>",
            "<@a.example>",
            "<@a.example,@b.example>",
            "<ann@example.org\u{0}>",
            "ann@example.org>",
            "<\"ann@example.org\">",
            "<\"ann@example.org, bob@example.org\">",
            "<=?utf-8?q?ann=40example.org?=>",
            "<=?utf-8?q?ann?=@example.org>",
        ] {
            assert!(forward(text).is_err(), "{text:?}");
        }
    }
}
