//! Secrets of ours in the words of others, which are logged, shown by `status` and kept with messages.
//!
//! Some relays and token endpoints, and proxies in front of them, repeat what they were told, as it is or in the form in which
//! it came: `invalid secret s%26sam`, `no such password hunter22`, `500 unrecognized command: dGVzdA==`.
//!
//! Promises:
//! 1. In text that has passed [`SecretMasks::masked`], a secret that was kept is `***`: as it is, in base64 (also as a part of
//!    something longer, and with the alphabet for addresses), and however its characters are written: `%26`, `+` for a space,
//!    `\/`, `\u0026`, `&amp;`. So is the beginning of one of [`LONG`] octets or more where the text ends in it, or where a word
//!    ends in it that is no ordinary word: relays cut what they repeat, and put it in quotes. Eight octets of base64 are six of
//!    the secret, and fewer might stand in a host name or a queue id by chance.
//! 2. A secret of less than [`SHORTEST`] octets is left as it is: it would stand in any word, and the mask would tell where.
//!
//! Text is to be masked before it is cut or escaped for a line. Pure.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use zeroize::Zeroizing;

/// The fewest octets of a secret that is masked.
const SHORTEST: usize = 4;
/// The fewest octets of a part of a secret, or of its base64, that are masked.
const LONG: usize = 2 * SHORTEST;
/// The text in place of a secret.
const MASK: &str = "***";
/// The most octets between `&` and `;` in the HTML of one character.
const LONGEST_ENTITY: usize = 8;
/// The octets of `\u0026`.
const UNIT_OCTETS: usize = 6;

/// The texts that are masked.
#[derive(Clone, Default)]
pub struct SecretMasks(Vec<Zeroizing<String>>);

impl SecretMasks {
    /// Keeps `secret` in all its forms.
    pub fn keep(&mut self, secret: &str) {
        self.keep_text(secret);
        // A line is shown with one space in the place of several.
        self.keep_text(&Zeroizing::new(secret.split_whitespace().collect::<Vec<_>>().join(" ")));
        if secret.len() >= SHORTEST {
            self.keep_base64(secret.as_bytes());
        }
    }

    /// Keeps `text`, and nothing that is made of it.
    pub fn keep_text(&mut self, text: &str) {
        if text.len() >= SHORTEST && !self.0.iter().any(|kept| **kept == text) {
            self.0.push(Zeroizing::new(text.to_owned()));
        }
    }

    /// Keeps the base64 of `octets`.
    pub fn keep_base64(&mut self, octets: &[u8]) {
        let whole = [Zeroizing::new(STANDARD.encode(octets)), Zeroizing::new(URL_SAFE.encode(octets))];
        for whole in &whole {
            self.keep_text(whole);
            self.keep_text(whole.trim_end_matches('='));
        }
        // Behind one or two other octets, the characters that depend on these alone.
        for front in 0..3 {
            let padded = Zeroizing::new([&b"\0\0"[..front], octets].concat());
            let first = (front * 8).div_ceil(6);
            let last = padded.len() * 8 / 6;
            for engine in [&STANDARD, &URL_SAFE] {
                let encoded = Zeroizing::new(engine.encode(&*padded));
                if let Some(within) = encoded.get(first..last).filter(|within| within.len() >= LONG) {
                    self.keep_text(within);
                }
            }
        }
    }

    /// Keeps also what `others` keeps.
    pub fn keep_all(&mut self, others: &SecretMasks) {
        others.0.iter().for_each(|text| self.keep_text(text));
    }

    /// Returns whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets all.
    pub fn forget(&mut self) {
        self.0.clear();
    }

    /// Returns `text` without the secrets.
    pub fn masked(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            match self.0.iter().filter_map(|secret| begins_with(rest, secret)).max() {
                Some(octets) => {
                    out.push_str(MASK);
                    rest = &rest[octets..];
                }
                None => {
                    out.push(first);
                    rest = &rest[first.len_utf8()..];
                }
            }
        }
        out
    }
}

impl fmt::Debug for SecretMasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretMasks({})", self.0.len())
    }
}

/// Returns the octets of `text` that `secret` takes at its beginning, in whatever way its characters are written; all of them
/// if the text ends in the secret. `None` if it does not begin with the secret.
fn begins_with(text: &str, secret: &str) -> Option<usize> {
    let first = secret.chars().next()?;
    written(first, text).next()?;
    let (mut ends, mut octets) = (vec![0], 0);
    for character in secret.chars() {
        let is_cut = octets >= LONG && ends.iter().any(|end| is_cut_off(&text[*end..]));
        let mut next: Vec<usize> = Vec::with_capacity(2);
        for &end in &ends {
            for length in written(character, &text[end..]) {
                if !next.contains(&(end + length)) {
                    next.push(end + length);
                }
            }
        }
        if next.is_empty() {
            let cut = ends.into_iter().filter(|end| octets >= LONG && ends_word_of_code(text, *end)).max();
            return if is_cut { Some(text.len()) } else { cut };
        }
        (ends, octets) = (next, octets + character.len_utf8());
    }
    ends.into_iter().max()
}

/// Returns whether a word of `text` ends at `end`, and what stands before is none that people write: it has a digit, a sign of
/// base64, or capitals within.
fn ends_word_of_code(text: &str, end: usize) -> bool {
    let (before, behind) = text.split_at(end);
    let goes_on =
        |c: char| c.is_alphanumeric() || matches!(c, '+' | '/' | '=' | '-' | '_' | '%' | '\\' | '&');
    let is_ordinary = before.split(|c: char| !c.is_alphanumeric()).all(|word| {
        let is_letters = word.chars().all(char::is_alphabetic);
        let has_capitals_within = word.chars().skip(1).any(char::is_uppercase);
        is_letters && (!has_capitals_within || word.chars().all(char::is_uppercase))
    }) && !before.contains(['+', '/', '=']);
    !is_ordinary && !before.ends_with(' ') && !behind.starts_with(goes_on)
}

/// Returns whether `text` ends before a character does that begins there.
fn is_cut_off(text: &str) -> bool {
    text.is_empty() || (text.len() < UNIT_OCTETS && text.starts_with(['%', '\\', '&']))
}

/// Returns the octets at the beginning of `text` that may stand for `character`, for each way of writing it that is found.
fn written(character: char, text: &str) -> impl Iterator<Item = usize> {
    let octets = character.len_utf8();
    [
        text.starts_with(character).then_some(octets),
        escaped(character, text),
        percent(character, text),
        units(character, text),
        entity(character, text),
        (character == ' ').then(|| space(text)).flatten(),
    ]
    .into_iter()
    .flatten()
}

/// `\/`, `\"`, `\\` (RFC 8259 7).
fn escaped(character: char, text: &str) -> Option<usize> {
    text.strip_prefix('\\')?.starts_with(character).then_some(1 + character.len_utf8())
}

/// `%C3%A4` (RFC 3986 2.1), and `%E4` in Latin-1.
fn percent(character: char, text: &str) -> Option<usize> {
    if !text.starts_with('%') {
        return None;
    }
    let mut buffer = [0; 4];
    let utf_8 = character.encode_utf8(&mut buffer).as_bytes();
    let latin = u8::try_from(u32::from(character)).ok();
    let is_next = |(at, octet): (usize, &u8)| {
        text.get(3 * at..3 * at + 3)
            .and_then(|code| code.strip_prefix('%'))
            .is_some_and(|hex| u8::from_str_radix(hex, 16) == Ok(*octet))
    };
    if utf_8.iter().enumerate().all(is_next) {
        return Some(3 * utf_8.len());
    }
    latin.filter(|octet| is_next((0, octet))).map(|_| 3)
}

/// `\u00e4`, and two of them beyond U+FFFF (RFC 8259 7).
fn units(character: char, text: &str) -> Option<usize> {
    if !text.starts_with("\\u") {
        return None;
    }
    let mut buffer = [0; 2];
    let units = character.encode_utf16(&mut buffer);
    let is_next = |(at, unit): (usize, &u16)| {
        text.get(UNIT_OCTETS * at..UNIT_OCTETS * (at + 1))
            .and_then(|code| code.strip_prefix("\\u"))
            .is_some_and(|hex| u16::from_str_radix(hex, 16) == Ok(*unit))
    };
    units.iter().enumerate().all(is_next).then_some(UNIT_OCTETS * units.len())
}

/// `&amp;`, `&#38;`, `&#x26;`.
fn entity(character: char, text: &str) -> Option<usize> {
    let rest = text.strip_prefix('&')?;
    // No search up to the end of the text: it may hold nothing but such beginnings.
    let name = &rest[..rest.bytes().take(LONGEST_ENTITY + 1).position(|octet| octet == b';')?];
    let number = |digits: &str| match digits.strip_prefix(['x', 'X']) {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => digits.parse().ok(),
    };
    let stands_for = match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        name => name.strip_prefix('#').and_then(number).and_then(char::from_u32),
    };
    (stands_for == Some(character)).then_some(name.len() + 2)
}

/// `+` for a space, and white space of any length.
fn space(text: &str) -> Option<usize> {
    if text.starts_with('+') {
        return Some(1);
    }
    let octets = text.len() - text.trim_start().len();
    (octets > 0).then_some(octets)
}

#[cfg(test)]
mod tests;
