//! Display names: any text as what may stand before `<`.
//!
//! Promises: what is made of a text is one phrase, however it is read: it holds no address, no comma that
//! separates and no line end but folds.
//!
//! RFC 5322 3.2.5 (phrases), RFC 2047 (encoded words).

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::fold::one_line;

/// An encoded word has at most 75 octets (RFC 2047 2): so many of text, in base64.
const MAX_ENCODED_OCTETS: usize = 42;

/// A line is no longer than this without its CRLF (RFC 5322 2.1.1).
const MAX_LINE_OCTETS: usize = 998;

/// The longest name that is used, in octets.
pub(super) const MAX_NAME_OCTETS: usize = 200;

/// `name` as a display name, cut to [`MAX_NAME_OCTETS`]; empty where there is nothing in it. A control character
/// becomes `?`.
pub fn display_name(name: &str) -> String {
    let line = one_line(name, usize::MAX);
    phrase(&line[..line.floor_char_boundary(MAX_NAME_OCTETS)])
}

/// A name without control characters as a phrase.
fn phrase(name: &str) -> String {
    let name = name.trim();
    let is_word = |c: char| c.is_ascii_alphanumeric() || " !#$%&'*+-/=?^_`{|}~".contains(c);
    if name.contains("=?") || !name.is_ascii() {
        encoded(name)
    } else if name.chars().all(is_word) {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))
    }
}

/// What stood in a field as a display name, of the first `max_octets` of it on one line; empty where there is nobody's
/// name: a comma alone, or `<>`. Quotes are left out, since they may be half of a pair; a control character becomes `?`.
///
/// Words may be encoded already. They stay so, with what must not stand in them in a phrase encoded as well (RFC 2047
/// 5, rule 3): a comma would end the name for who reads it strictly.
pub(super) fn display_name_of_field(octets: &[u8], max_octets: usize) -> String {
    let line = line_of(octets);
    let line = line[..line.floor_char_boundary(max_octets)].replace('"', "");
    if !line.chars().any(char::is_alphanumeric) {
        return String::new();
    }
    let (mut words, mut rest) = (Vec::new(), &*line);
    while let Some((before, word, behind)) = encoded_word(rest) {
        words.push(phrase(before));
        words.push(word);
        rest = behind;
    }
    words.push(phrase(rest));
    words.retain(|word| !word.is_empty());
    words.join("\r\n ")
}

/// What stands in a field on one line, with a `?` for each control character.
pub(super) fn line_of(octets: &[u8]) -> String {
    one_line(&text_of(octets), usize::MAX)
}

/// UTF-8, or else Latin-1: old programs and files have it, and it reads any octets.
pub(super) fn text_of(octets: &[u8]) -> Cow<'_, str> {
    match str::from_utf8(octets) {
        Ok(text) => text.into(),
        Err(_) => octets.iter().copied().map(char::from).collect(),
    }
}

/// The length of the encoded word that `text` begins with, whatever stands in it: a comma or a space, which must not.
pub(super) fn encoded_word_len(text: &str) -> Option<usize> {
    let (_, _, _, behind) = encoded_parts(text)?;
    Some(text.len() - behind.len())
}

/// Charset, encoding and text of the encoded word that `text` begins with, and what stands behind it.
fn encoded_parts(text: &str) -> Option<(&str, &str, &str, &str)> {
    let (charset, rest) = text.strip_prefix("=?")?.split_once('?')?;
    let (encoding, rest) = rest.split_once('?')?;
    // No search goes further than a line.
    let (word, behind) = rest.split_at(rest[..rest.floor_char_boundary(MAX_LINE_OCTETS)].find("?=")?);
    let behind = &behind["?=".len()..];
    let is_charset = charset.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-_*".contains(&octet));
    (is_charset && matches!(encoding, "Q" | "q" | "B" | "b")).then_some((charset, encoding, word, behind))
}

/// The first encoded word of `text`, fit for a phrase, with what stands before and behind it.
fn encoded_word(text: &str) -> Option<(&str, String, &str)> {
    let (before, rest) = text.split_at(text.find("=?")?);
    let (charset, encoding, word, behind) = encoded_parts(rest)?;
    let word: String = match encoding {
        "B" | "b" => word.chars().filter(|c| c.is_ascii_alphanumeric() || "+/=".contains(*c)).collect(),
        _ => word.bytes().map(q_encoded).collect(),
    };
    Some((before, format!("=?{charset}?{encoding}?{word}?="), behind))
}

/// An octet of a word that is Q-encoded, as it may stand in a phrase.
fn q_encoded(octet: u8) -> String {
    match octet {
        b' ' => "_".to_owned(),
        _ if octet.is_ascii_alphanumeric() || b"!*+-/=_".contains(&octet) => char::from(octet).to_string(),
        _ => format!("={octet:02X}"),
    }
}

/// `name` in encoded words, each on a line of its own.
pub(super) fn encoded(name: &str) -> String {
    let mut words = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let (word, behind) = rest.split_at(rest.floor_char_boundary(MAX_ENCODED_OCTETS));
        words.push(format!("=?UTF-8?B?{}?=", STANDARD.encode(word)));
        rest = behind;
    }
    words.join("\r\n ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_words_stay_and_are_made_fit() {
        for (text, expected) in [
            ("Acme, Inc.", "\"Acme, Inc.\""),
            ("Acme", "Acme"),
            ("=?utf-8?Q?Acme,_Inc.?=", "=?utf-8?Q?Acme=2C_Inc=2E?="),
            ("=?utf-8?q?M=C3=BCller, A?= (x)", "=?utf-8?q?M=C3=BCller=2C_A?=\r\n \"(x)\""),
            ("A, =?utf-8*en?B?w7w=?=", "\"A,\"\r\n =?utf-8*en?B?w7w=?="),
            ("=?utf-8?B?w7w=\"<x@y>?= b", "=?utf-8?B?w7w=xy?=\r\n b"),
            ("=?a b?Q?x?=", "=?UTF-8?B?PT9hIGI/UT94Pz0=?="),
            ("=?utf-8?X?x?=", "=?UTF-8?B?PT91dGYtOD9YP3g/PQ==?="),
            ("=?utf-8?Q?open", "=?UTF-8?B?PT91dGYtOD9RP29wZW4=?="),
            ("a\u{1}b", "a?b"),
            ("", ""),
            (" ,\r\n <>", ""),
        ] {
            assert_eq!(display_name_of_field(text.as_bytes(), 200), expected, "{text:?}");
        }
    }
}
