//! Encoded words (RFC 2047): finding, decoding and writing them.
//!
//! Promises: nothing here fails or panics, whatever the octets are. A search does not go beyond the length of a line. What
//! is written is ASCII, and fit for a phrase.
//!
//! Not here: phrases (`display_name.rs`), the meaning of the decoded text (`reading/shown.rs`).

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use memchr::memmem;

use super::header::MAX_LINE_OCTETS;

/// The most octets of text in an encoded word, in base64: the word has at most 75 octets (RFC 2047 2).
const MAX_ENCODED_OCTETS: usize = 42;

const CLOSING: &[u8] = b"?=";

/// An encoded word as it is written, even with octets in it that are not allowed, such as a comma or a space.
#[derive(Clone, Copy, Debug)]
pub(super) struct EncodedWord<'a> {
    charset: &'a [u8],
    /// `Q` or `B`, in either case.
    encoding: u8,
    text: &'a [u8],
    /// Its length; `None` if it has no end.
    pub(super) len: Option<usize>,
}

impl<'a> EncodedWord<'a> {
    /// Returns the encoded word at the beginning of `octets`.
    pub(super) fn begun_by(octets: &'a [u8]) -> Option<Self> {
        let mut parts = octets.strip_prefix(b"=?")?.splitn(3, |octet| *octet == b'?');
        let (charset, encoding, rest) = (parts.next()?, parts.next()?, parts.next()?);
        let [encoding @ (b'Q' | b'q' | b'B' | b'b')] = *encoding else { return None };
        let within = &rest[..rest.len().min(MAX_LINE_OCTETS)];
        let closing = memmem::find(within, CLOSING);
        let text = &within[..closing.unwrap_or(within.len())];
        let len = closing.map(|at| octets.len() - rest.len() + at + CLOSING.len());
        Some(EncodedWord { charset, encoding, text, len })
    }

    /// Returns its length if it has an end and a valid charset.
    pub(super) fn whole_len(&self) -> Option<usize> {
        let is_valid = |octet: &u8| octet.is_ascii_alphanumeric() || b"-_*".contains(octet);
        self.len.filter(|_| self.charset.iter().all(is_valid))
    }

    /// Returns the octets that it encodes; none if they are not valid base64.
    pub(super) fn decoded(&self) -> Vec<u8> {
        const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(DecodePaddingMode::Indifferent);
        match self.encoding {
            b'Q' | b'q' => from_quoted(self.text),
            _ => GeneralPurpose::new(&alphabet::STANDARD, LENIENT).decode(self.text).unwrap_or_default(),
        }
    }

    /// Returns it in a form that is allowed in a phrase (RFC 2047 5, rule 3).
    pub(super) fn for_phrase(&self) -> String {
        let text: String = match self.encoding {
            b'Q' | b'q' => self.text.iter().copied().map(q_encoded).collect(),
            _ => self.text.iter().filter(|octet| is_base64(**octet)).copied().map(char::from).collect(),
        };
        format!("=?{}?{}?{text}?=", String::from_utf8_lossy(self.charset), char::from(self.encoding))
    }
}

/// Returns `text` as encoded words, each on a line of its own.
pub(super) fn encoded(text: &str) -> String {
    let mut words = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (word, behind) = rest.split_at(rest.floor_char_boundary(MAX_ENCODED_OCTETS));
        words.push(format!("=?UTF-8?B?{}?=", STANDARD.encode(word)));
        rest = behind;
    }
    words.join("\r\n ")
}

fn from_quoted(text: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), text);
    loop {
        let octet;
        (octet, rest) = match rest {
            [] => return out,
            [b'=', high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let digit = |octet: u8| char::from(octet).to_digit(16).unwrap_or_default() as u8;
                (digit(*high) << 4 | digit(*low), rest)
            }
            [first, rest @ ..] => (*first, rest),
        };
        out.push(octet);
    }
}

/// Returns an octet of a Q-encoded word in a form that is allowed in a phrase.
fn q_encoded(octet: u8) -> String {
    match octet {
        b' ' => "_".to_owned(),
        _ if octet.is_ascii_alphanumeric() || b"!*+-/=_".contains(&octet) => char::from(octet).to_string(),
        _ => format!("={octet:02X}"),
    }
}

fn is_base64(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"+/=".contains(&octet)
}
