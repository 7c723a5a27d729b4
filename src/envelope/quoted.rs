//! Quoted strings: text between `"` in which any character may stand, of a local part or of a display name.
//!
//! Promises: [`unquote`] undoes [`quote`]. A quoted string ends at the first `"` after its beginning that no backslash
//! escapes, for everyone who looks for the end of one: [`closed_len`] is the only search.
//!
//! Not here: the texts that need quotes, which are others in an address ([`super::address::quoted_local_part`]) than in a
//! header field (`message/display_name.rs`).
//!
//! RFC 5321 4.1.2 (Quoted-string), RFC 5322 3.2.4.

use std::borrow::Cow;

use memchr::memchr2;

/// Returns `text` between quotes, with a backslash before each `"` and each backslash in it.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}

/// Returns the text of a quoted string, without its quotes and the backslashes that escape; `text` itself if it has no
/// quotes around it.
pub(crate) fn unquote(text: &str) -> Cow<'_, str> {
    let Some(inside) = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return Cow::Borrowed(text);
    };
    let mut unquoted = String::with_capacity(inside.len());
    let mut chars = inside.chars();
    while let Some(c) = chars.next() {
        unquoted.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    Cow::Owned(unquoted)
}

/// Returns the length of the text that the first of `octets` opens, up to and with `closing`: `"` for a quoted string, `]`
/// for a domain literal. A backslash escapes the octet after it. Returns `None` if the text does not end.
pub(crate) fn closed_len(octets: &[u8], closing: u8) -> Option<usize> {
    let mut at = 1;
    loop {
        at += memchr2(closing, b'\\', octets.get(at..)?)?;
        if octets[at] == closing {
            return Some(at + 1);
        }
        at += 2;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_quoted_string_ends_at_the_first_quote_that_is_not_escaped() {
        for (text, expected) in [
            ("\"\"", Some(2)),
            ("\"a\" b\"", Some(3)),
            ("\"a\\\"b\"c", Some(6)),
            ("\"a\\\\\"b\"", Some(5)),
            ("\"ü\\ü\"", Some(7)),
            ("\"a", None),
            ("\"a\\\"", None),
            ("\"a\\", None),
            ("\"", None),
            ("", None),
        ] {
            assert_eq!(closed_len(text.as_bytes(), b'"'), expected, "{text}");
        }
        assert_eq!(closed_len(b"[a\\]\"b]c", b']'), Some(7));
    }

    proptest! {
        #[test]
        fn quoting_is_undone_and_the_end_is_found(text: String, behind: String) {
            let quoted = quote(&text);
            prop_assert_eq!(unquote(&quoted), text);
            prop_assert_eq!(closed_len((quoted.clone() + &behind).as_bytes(), b'"'), Some(quoted.len()));
        }
    }
}
