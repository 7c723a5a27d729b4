//! Makes a display name, which may stand before `<`, from any text.
//!
//! Promises: the result is one phrase for every reader: it contains no address, no comma that separates, and no line
//! end except folds.
//!
//! RFC 5322 3.2.5 (phrases), RFC 2047 (encoded words).

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::fold::one_line;

/// The most octets of text in an encoded word, in base64: the word has at most 75 octets (RFC 2047 2).
const MAX_ENCODED_OCTETS: usize = 42;

/// The longest line without its CRLF (RFC 5322 2.1.1).
const MAX_LINE_OCTETS: usize = 998;

/// The longest name that is used, in octets.
pub(super) const MAX_NAME_OCTETS: usize = 200;

/// Returns `name` as a display name, cut to [`MAX_NAME_OCTETS`]; empty if the name is. A control character becomes
/// `?`.
pub fn display_name(name: &str) -> String {
    let line = one_line(name, usize::MAX);
    phrase(&line[..line.floor_char_boundary(MAX_NAME_OCTETS)])
}

/// Returns a name without control characters as a phrase.
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

/// Returns the text of a field as a display name, made from its first `max_octets` on one line. The result is empty
/// if the text is not a name: a comma alone, or `<>`. Quotes are left out, since one of a pair may be missing. A
/// control character becomes `?`.
///
/// Words that are encoded already stay so, but characters that must not be in a phrase are encoded, too (RFC 2047 5,
/// rule 3), since a strict reader would take a comma for the end of the name.
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

/// Returns the text of a field on one line, with `?` in place of each control character.
pub(super) fn line_of(octets: &[u8]) -> String {
    one_line(&text_of(octets), usize::MAX)
}

/// Returns octets as text, in UTF-8 or else Latin-1, which old programs use and which can read any octets.
pub(super) fn text_of(octets: &[u8]) -> Cow<'_, str> {
    match str::from_utf8(octets) {
        Ok(text) => text.into(),
        Err(_) => octets.iter().copied().map(char::from).collect(),
    }
}

/// Returns the length of the encoded word at the beginning of `text`, even if it contains a comma or a space, which
/// is not allowed.
pub(super) fn encoded_word_len(text: &str) -> Option<usize> {
    let (_, _, _, behind) = encoded_parts(text)?;
    Some(text.len() - behind.len())
}

/// Returns charset, encoding and text of the encoded word at the beginning of `text`, and the text after it.
fn encoded_parts(text: &str) -> Option<(&str, &str, &str, &str)> {
    let (charset, rest) = text.strip_prefix("=?")?.split_once('?')?;
    let (encoding, rest) = rest.split_once('?')?;
    // The search does not go beyond the length of a line.
    let (word, behind) = rest.split_at(rest[..rest.floor_char_boundary(MAX_LINE_OCTETS)].find("?=")?);
    let behind = &behind["?=".len()..];
    let is_charset = charset.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-_*".contains(&octet));
    (is_charset && matches!(encoding, "Q" | "q" | "B" | "b")).then_some((charset, encoding, word, behind))
}

/// Returns the first encoded word of `text`, in a form that is allowed in a phrase, with the text before and after
/// it.
fn encoded_word(text: &str) -> Option<(&str, String, &str)> {
    let (before, rest) = text.split_at(text.find("=?")?);
    let (charset, encoding, word, behind) = encoded_parts(rest)?;
    let word: String = match encoding {
        "B" | "b" => word.chars().filter(|c| c.is_ascii_alphanumeric() || "+/=".contains(*c)).collect(),
        _ => word.bytes().map(q_encoded).collect(),
    };
    Some((before, format!("=?{charset}?{encoding}?{word}?="), behind))
}

/// Returns an octet of a Q-encoded word in a form that is allowed in a phrase.
fn q_encoded(octet: u8) -> String {
    match octet {
        b' ' => "_".to_owned(),
        _ if octet.is_ascii_alphanumeric() || b"!*+-/=_".contains(&octet) => char::from(octet).to_string(),
        _ => format!("={octet:02X}"),
    }
}

/// Returns `name` as encoded words, each on a line of its own.
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
