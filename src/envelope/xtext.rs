//! xtext: the encoding in ENVID and ORCPT for characters that a command line cannot contain, and the ASCII form of
//! addresses in UTF-8.
//!
//! Promises: a value that [`is_printable`] accepts is ASCII without spaces, and decodes to printable characters only, so
//! that a DSN may show it decoded without a line break in it.
//!
//! RFC 3461 4 (xtext), RFC 6533 3 (the form for UTF-8 addresses).

use std::borrow::Cow;
use std::fmt::Write as _;

/// Returns whether `value` is xtext that decodes to printable ASCII and spaces.
pub(crate) fn is_printable(value: &str) -> bool {
    let mut octets = value.bytes();
    while let Some(octet) = octets.next() {
        let fine = match octet {
            b'+' => decoded_pair(octets.next(), octets.next()).is_some_and(|it| (b' '..=b'~').contains(&it)),
            b'=' => false,
            _ => octet.is_ascii_graphic(),
        };
        if !fine {
            return false;
        }
    }
    true
}

fn decoded_pair(high: Option<u8>, low: Option<u8>) -> Option<u8> {
    Some(hex_digit(high?)? << 4 | hex_digit(low?)?)
}

/// Decodes a hexadecimal digit. RFC 3461 4 allows upper case only, and a relay may insist on it.
fn hex_digit(octet: u8) -> Option<u8> {
    match octet {
        b'0'..=b'9' => Some(octet - b'0'),
        b'A'..=b'F' => Some(octet - b'A' + 10),
        _ => None,
    }
}

/// Decodes xtext from anywhere. A `+` without two hexadecimal digits after it, in either case, stands for itself.
pub(crate) fn decoded(xtext: &str) -> Vec<u8> {
    let mut octets = Vec::with_capacity(xtext.len());
    let mut rest = xtext.as_bytes();
    while let [first, behind @ ..] = rest {
        let pair = |octet: &u8| octet.to_ascii_uppercase();
        match decoded_pair(behind.first().map(pair), behind.get(1).map(pair)) {
            Some(octet) if *first == b'+' => {
                octets.push(octet);
                rest = &behind[2..];
            }
            _ => {
                octets.push(*first);
                rest = behind;
            }
        }
    }
    octets
}

/// Returns `text` in ASCII: other characters become `\x{…}`, which may be sent to every relay (RFC 6533 3).
pub(crate) fn in_ascii(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let mut ascii = String::with_capacity(text.len() * 2);
    text.chars().for_each(|c| push_in_ascii(&mut ascii, c));
    Cow::Owned(ascii)
}

fn push_in_ascii(ascii: &mut String, c: char) {
    if c.is_ascii() {
        ascii.push(c);
    } else {
        // Writing to a String cannot fail.
        let _ = write!(ascii, "\\x{{{:X}}}", u32::from(c));
    }
}

/// Converts the address of an ORCPT of type `utf-8` to ASCII: other characters become `\x{…}`, which may be sent to every
/// relay (RFC 6533 3). Returns `None` if the address is malformed.
pub(crate) fn ascii_form(address: &str) -> Option<String> {
    let mut ascii = String::with_capacity(address.len());
    let mut rest = address;
    while let Some(c) = rest.chars().next() {
        let mut taken = c.len_utf8();
        match c {
            '\\' => {
                taken = embedded_character(rest)?;
                ascii.push_str(&rest[..taken]);
            }
            '+' | '=' => return None,
            c if c.is_ascii_graphic() => ascii.push(c),
            c if c.is_ascii() || c.is_control() => return None,
            c => push_in_ascii(&mut ascii, c),
        }
        rest = &rest[taken..];
    }
    Some(ascii)
}

/// Returns the length of the `\x{…}` at the start of `text`; `None` if it is malformed.
fn embedded_character(text: &str) -> Option<usize> {
    let (digits, _) = text.strip_prefix("\\x{")?.split_once('}')?;
    let well_formed =
        (2..=6).contains(&digits.len()) && digits.bytes().all(|digit| hex_digit(digit).is_some());
    let character = char::from_u32(u32::from_str_radix(digits, 16).ok()?)?;
    (well_formed && !character.is_control()).then_some("\\x{}".len() + digits.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_decodes_to_printable_ascii_is_xtext() {
        for good in ["", "QQ314159", "ann@example.org", "a+2Bb+3Dc", "two+20words", "\"<>;~!"] {
            assert!(is_printable(good), "{good}");
        }
        for bad in
            ["a=b", "a+", "a+2", "a+2b", "a+GG", "a b", "ü", "a+0D+0Ab", "a+00", "a+7F", "a+FC", "\x7f"]
        {
            assert!(!is_printable(bad), "{bad:?}");
        }
    }

    #[test]
    fn utf8_addresses_get_their_ascii_form() {
        for (address, expected) in [
            ("ann@example.org", Some("ann@example.org")),
            ("\u{fc}@example.org", Some("\\x{FC}@example.org")),
            ("\\x{FC}@example.org", Some("\\x{FC}@example.org")),
            ("\u{1f4e7}", Some("\\x{1F4E7}")),
            ("a\\x{2B}b", Some("a\\x{2B}b")),
            ("a+b", None),
            ("a=b", None),
            ("a b", None),
            ("a\\b", None),
            ("\\x{0A}", None),
            ("\\x{fc}", None),
            ("\\x{FC", None),
            ("\\x{D800}", None),
            ("\\x{+0FC}", None),
            ("\u{85}", None),
        ] {
            assert_eq!(ascii_form(address).as_deref(), expected, "{address:?}");
        }
    }
}
