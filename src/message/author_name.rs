//! Puts the name before an author's address in quotes, if it is not a phrase.
//!
//! Promises:
//! 1. `text <address>`, if the text is not a phrase, becomes `"text" <address>`, or has encoded words if it is not
//!    ASCII. The address stays. Otherwise a relay refuses the field, or reads a second author or a group in it.
//! 2. `mailto:address`, with or without brackets, becomes the address.
//! 3. A body is left as it is if its name is a phrase (RFC 5322 3.2.5, with the dots of 4.1 and the 8-bit octets of
//!    RFC 6532), and also if it may mean another author, or none.
//!
//! | text | result |
//! |---|---|
//! | `Acme, Inc. <n@x>`, `Acme: Inc <n@x>`, `Joe [x] <n@x>`, `Joe @ Home <n@x>`, `n@x <n@x>` | the name gets quotes |
//! | `"Joe <n@x>`, `Joe (x <n@x>`, a control character in the name | the same; its own quote is removed, a control character becomes `?` |
//! | `=?utf-8?Q?Acme,_Inc?= <n@x>` | the comma in the encoded word is encoded, too |
//! | `mailto:n@x`, `Joe <mailto:n@x>` | `n@x`, `Joe <n@x>` |
//! | `Joe <n@x>;`, `, Joe <n@x>` | the separator is removed |
//! | `John Q. Public <n@x>`, `Jörg <n@x>`, `n@x` | unchanged |
//! | `Acme, Inc. <n@x>, Bob <b@x>`, `a@x, Bob <b@x>`, `<n@x>, Bob`, `Team: Bob <b@x>;`, `Joe n@x` | unchanged |
//!
//! Not here: rewriting addresses, and From when one address sends all mail (`rewrite/`).

use memchr::memrchr;

use super::address::{Token, TokenKind, holds_author, is_phrase, mailboxes, tokens};
use super::display_name::display_name_of_field;

const SCHEME: &[u8] = b"mailto:";

/// Returns the mended body of From or a similar field, with its line end; `None` if it stays.
pub fn mended(body: &[u8]) -> Option<Vec<u8>> {
    let text = without_separators(body);
    let plain = without_quoted(text);
    let brackets = memrchr(b'<', &plain);
    let (before, address) = text.split_at(brackets.unwrap_or(0));
    let written = without_scheme(address);
    let may_be_group = match brackets {
        Some(at) => plain[..at].contains(&b':') && without_quoted(body).contains(&b';'),
        None => without_quoted(&written).contains(&b':'),
    };
    let is_named = is_phrase(before);
    let is_well = is_named && written == address && text.len() == body.trim_ascii().len();
    if is_well || may_be_group || !is_one(&written) || holds_author(before) {
        return None;
    }
    if is_named {
        return Some([b" ", before, &written, b"\r\n"].concat());
    }
    let name = display_name_of_field(before, usize::MAX);
    let gap = if name.is_empty() { "" } else { " " };
    Some([b" ", name.as_bytes(), gap.as_bytes(), &written, b"\r\n"].concat())
}

/// Returns `text` with `x` for each octet of its quoted strings, whose commas, colons and brackets separate nothing.
fn without_quoted(text: &[u8]) -> Vec<u8> {
    let mut plain = text.to_owned();
    let quoted = |token: &Token| token.kind == TokenKind::Quoted;
    tokens(text).map_while(Result::ok).filter(quoted).for_each(|token| plain[token.range].fill(b'x'));
    plain
}

/// Returns a body without the separators around it, which are empty elements of a list.
fn without_separators(body: &[u8]) -> &[u8] {
    let is_separator = |octet: &u8| matches!(octet, b',' | b';') || octet.is_ascii_whitespace();
    let start = body.iter().take_while(|octet| is_separator(octet)).count();
    let end = body.iter().rposition(|octet| !is_separator(octet)).map_or(start, |last| last + 1);
    &body[start..end]
}

/// Returns an address, with or without brackets, without `mailto:`.
fn without_scheme(address: &[u8]) -> Vec<u8> {
    let (bracket, inside) = address.split_at(usize::from(address.starts_with(b"<")));
    let scheme = inside.get(..SCHEME.len()).filter(|start| start.eq_ignore_ascii_case(SCHEME));
    let inside = &inside[scheme.map_or(0, <[u8]>::len)..];
    if bracket.is_empty() { without_separators(inside).to_owned() } else { [bracket, inside].concat() }
}

fn is_one(address: &[u8]) -> bool {
    let mut list = mailboxes(address);
    matches!((list.next(), list.next()), (Some(Ok(_)), None)) && !list.has_unread()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::address::{authors, is_one_mailbox};

    #[test]
    fn names_as_they_are_met() {
        for (body, expected) in [
            // A strict relay refused these, or read another author.
            ("Acme, Inc. <n@x>", "\"Acme, Inc.\" <n@x>"),
            ("Acme: Inc <n@x>", "\"Acme: Inc\" <n@x>"),
            ("Joe [x] <n@x>", "\"Joe [x]\" <n@x>"),
            ("Joe @ Home <n@x>", "\"Joe @ Home\" <n@x>"),
            ("n@x <n@x>", "\"n@x\" <n@x>"),
            ("mailto:n@x <n@x>", "\"mailto:n@x\" <n@x>"),
            ("Joe; Home <root>", "\"Joe; Home\" <root>"),
            ("Joe (x <n@x>", "\"Joe (x\" <n@x>"),
            // The separator went only when the quoted string had been rewritten, so that the second pass made a change.
            ("\" <\", ", "\" <\""),
            (", \" <@a,@b:\"", "\" <@a,@b:\""),
            ("\"Joe <n@x>", "Joe <n@x>"),
            ("\"Acme\", Inc. <n@x>", "\"Acme, Inc.\" <n@x>"),
            ("Joe \\ Home <n@x>", "\"Joe \\\\ Home\" <n@x>"),
            ("Joe > Ann < Bob <n@x>", "\"Joe > Ann < Bob\" <n@x>"),
            ("Joe <at home> <n@x>", "\"Joe <at home>\" <n@x>"),
            ("Acme,\r\n Inc. <n@x> (c)", "\"Acme, Inc.\" <n@x> (c)"),
            ("Acme: Inc <@a,@b:n@x>", "\"Acme: Inc\" <@a,@b:n@x>"),
            ("a\u{1}b, c <n@x>", "\"a?b, c\" <n@x>"),
            ("Müller, Jörg <n@x>", "=?UTF-8?B?TcO8bGxlciwgSsO2cmc=?= <n@x>"),
            ("=?utf-8?Q?Acme,_Inc?= <n@x>", "=?utf-8?Q?Acme=2C_Inc?= <n@x>"),
            ("[] <n@x>", "<n@x>"),
            (", Joe <n@x>", "Joe <n@x>"),
            // These are addresses.
            ("mailto:n@x", "n@x"),
            ("MailTo:n@x (Joe)", "n@x (Joe)"),
            ("Joe <mailto:n@x>", "Joe <n@x>"),
            ("Joe: <mailto:n@x>", "\"Joe:\" <n@x>"),
            ("Joe <n@x>,", "Joe <n@x>"),
            ("n@x;", "n@x"),
            ("mailto:, n@x", "n@x"),
        ] {
            let became = mended(format!(" {body}\r\n").as_bytes()).unwrap_or_else(|| panic!("{body}"));
            assert_eq!(String::from_utf8(became).unwrap(), format!(" {expected}\r\n"), "{body}");
        }
        assert_eq!(mended(b"M\xFCller, J <n@x>").unwrap(), b" =?UTF-8?B?TcO8bGxlciwgSg==?= <n@x>\r\n");
    }

    #[test]
    fn what_is_well_or_means_another_stays() {
        for body in [
            "n@x",
            "root",
            "root (Cron, Daemon)",
            "Joe <n@x>",
            "John Q. Public <n@x>",
            "\"Acme, Inc.\" <n@x>",
            "Joe (at, home) <n@x>",
            "Jörg <n@x>",
            "=?utf-8?Q?J=C3=B6rg?= <n@x>",
            "\"a <b\" <\"c <d\"@x>",
            "a@x, b@x",
            "a@x, Bob <b@x>",
            "\"a b\"@x, Bob <b@x>",
            "a@[192.0.2.1], Bob <b@x>",
            "Team: a@x, Bob <b@x>",
            "Ann <a@x>, Bob <b@x>",
            "Acme, Inc. <n@x>, Bob <b@x>",
            "Joe <joe> <n@x>",
            "<@a,@b:a@x>, Jörg <b@x>",
            "<n@x>, Bob",
            "Team: Bob <b@x>;",
            "Team: b@x;",
            "Nobody:;",
            "mailto:a@x, b@x",
            "n@[IPv6:2001:db8::1]",
            "Acme, Inc. <>",
            "Acme, Inc. <not an address>",
            "Acme, Inc. <a@b!c>",
            "Joe n@x",
            "Joe <n@x",
            "",
            ",",
        ] {
            assert_eq!(mended(format!(" {body}\r\n").as_bytes()), None, "{body}");
        }
    }

    proptest! {
        /// A strict reader finds one mailbox in what was mended, with the address that was in brackets.
        #[test]
        fn what_is_mended_has_one_author(
            words in prop::collection::vec(prop::sample::select(WORDS), 0..8),
            behind in prop::sample::select(vec!["", ";", ",", " (c)", " , ,"]),
        ) {
            let body = format!("{} <n@x.example>{behind}", words.concat());
            if let Some(became) = mended(body.as_bytes()) {
                let shown = String::from_utf8_lossy(&became).into_owned();
                prop_assert!(is_one_mailbox(&became), "{} {}", body, shown);
                let author = authors(&became).next().unwrap().unwrap();
                prop_assert_eq!(author.address.as_str(), "n@x.example");
                prop_assert!(is_phrase(&became[..author.local.start - 1]), "{}", shown);
                prop_assert_eq!(mended(&became), None, "{}", shown);
            }
        }
    }

    proptest! {
        /// `mailto:,root` became `,root`, and that became `root` the next time.
        #[test]
        fn twice_is_once(words in prop::collection::vec(prop::sample::select(WORDS), 0..8)) {
            if let Some(became) = mended(words.concat().as_bytes()) {
                prop_assert_eq!(mended(&became), None, "{}", String::from_utf8_lossy(&became));
            }
        }
    }

    const WORDS: &[&str] = &[
        "<n@x.example>",
        "\" <\"",
        "\"a:b;\"",
        "root",
        "Joe",
        "Inc.",
        " ",
        ",",
        ";",
        ":",
        "@",
        "<",
        ">",
        "(",
        ")",
        "[",
        "]",
        "\\",
        "\"",
        "a@y.example",
        "mailto:",
        "=?utf-8?Q?A,_B?=",
        "=?",
        "?=",
        "é",
        "\u{1}",
        "\r\n ",
        "'",
    ];
}
