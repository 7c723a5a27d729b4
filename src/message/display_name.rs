//! Makes a display name, which may stand before `<`, from any text.
//!
//! Promises: the result is one phrase for every reader: it contains no address, no comma that separates, and no line
//! end except folds.
//!
//! Not here: encoded words themselves (`encoded_word.rs`), quoted strings themselves (`envelope/quoted.rs`).
//!
//! RFC 5322 3.2.5 (phrases), RFC 2047 (encoded words).

use std::borrow::Cow;

use super::encoded_word::{EncodedWord, encoded};
use super::fold::one_line;
use crate::envelope::quoted::quote;

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
        quote(name)
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

/// Returns the first encoded word of `text`, in a form that is allowed in a phrase, with the text before and after
/// it.
fn encoded_word(text: &str) -> Option<(&str, String, &str)> {
    let (before, rest) = text.split_at(text.find("=?")?);
    let word = EncodedWord::begun_by(rest.as_bytes())?;
    Some((before, word.for_phrase(), &rest[word.whole_len()?..]))
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
