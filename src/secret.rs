//! A secret: a password or token that no log line, error or debug print can show.
//!
//! Promises: `Debug` and `Display` print `***`; the octets are overwritten when the value is dropped. The octets of a file,
//! or the output of a program, are a secret if they are one line of text.
//! Not here: reading secrets (`config/secret_source.rs`, `relay/password.rs`), proving them to a relay (`relay/sasl.rs`).

use std::fmt;

use zeroize::Zeroizing;

/// Upper bound, in octets, of a secret that is read: enough for an OAuth token.
pub const MAX_OCTETS: usize = 16 * 1024;

/// U+FEFF, which some editors put in front of a text. It is not part of the password.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// A password or token.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

/// The reason why some octets are not a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadSecret {
    /// There is nothing, or a line break alone.
    Empty,
    /// The secret has more than 16 KiB.
    TooLong,
    /// The secret has a second line, or another control character.
    NotOneLine,
    /// The secret is not UTF-8.
    NotUtf8,
}

/// Returns an empty buffer for the longest secret and one octet more, which shows that a secret is too long. The buffer
/// never grows, because growing would leave a copy behind in memory.
pub fn buffer() -> Zeroizing<Vec<u8>> {
    Zeroizing::new(Vec::with_capacity(MAX_OCTETS + 64))
}

impl Secret {
    /// Returns `text` as a secret.
    pub fn new(text: String) -> Self {
        Secret(Zeroizing::new(text))
    }

    /// Returns the secret in `octets`, which were read from a file or a program. A byte order mark in front of it and one
    /// line break at its end are dropped.
    pub fn of_octets(mut octets: Zeroizing<Vec<u8>>) -> Result<Self, BadSecret> {
        if octets.len() > MAX_OCTETS {
            return Err(BadSecret::TooLong);
        }
        if octets.starts_with(BYTE_ORDER_MARK) {
            octets.drain(..BYTE_ORDER_MARK.len());
        }
        if octets.last() == Some(&b'\n') {
            octets.pop();
            if octets.last() == Some(&b'\r') {
                octets.pop();
            }
        }
        let text = std::str::from_utf8(&octets).map_err(|_| BadSecret::NotUtf8)?;
        if text.is_empty() {
            return Err(BadSecret::Empty);
        }
        if text.chars().any(char::is_control) {
            return Err(BadSecret::NotOneLine);
        }
        String::from_utf8(std::mem::take(&mut octets)).map(Secret::new).map_err(|_| BadSecret::NotUtf8)
    }

    /// Returns the text of the secret, for the one call that proves it to a relay.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for BadSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadSecret::Empty => "no secret",
            BadSecret::TooLong => "more than 16 KiB",
            BadSecret::NotOneLine => "more than one line or a control character",
            BadSecret::NotUtf8 => "octets that are not UTF-8",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_printed() {
        let secret = Secret::new("hunter2".into());
        assert_eq!(format!("{secret} {secret:?} {:?}", Some(&secret)), "*** *** Some(***)");
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn one_line_is_a_secret() {
        let taken = |octets: &[u8]| {
            Secret::of_octets(Zeroizing::new(octets.to_vec())).map(|secret| secret.expose().to_owned())
        };
        let longest = vec![b'x'; MAX_OCTETS];
        for (octets, expected) in [
            (&b"hunter2"[..], Ok("hunter2")),
            (b"hunter2\n", Ok("hunter2")),
            (b"hunter2\r\n", Ok("hunter2")),
            (b" p\xc3\xa4ss ", Ok(" p\u{e4}ss ")),
            (b"\xef\xbb\xbfhunter2\r\n", Ok("hunter2")),
            (b"\xef\xbb\xbf", Err(BadSecret::Empty)),
            (b"hunter\xef\xbb\xbf2", Ok("hunter\u{feff}2")),
            (b"", Err(BadSecret::Empty)),
            (b"\n", Err(BadSecret::Empty)),
            (b"\r\n", Err(BadSecret::Empty)),
            (b"hunter2\n\n", Err(BadSecret::NotOneLine)),
            (b"user\nhunter2\n", Err(BadSecret::NotOneLine)),
            (b"hunter2\r", Err(BadSecret::NotOneLine)),
            (b"hun\0ter2", Err(BadSecret::NotOneLine)),
            (b"hunter\xff", Err(BadSecret::NotUtf8)),
            (&longest, Ok(std::str::from_utf8(&longest).unwrap())),
            (&[b'x'; MAX_OCTETS + 1], Err(BadSecret::TooLong)),
        ] {
            assert_eq!(taken(octets), expected.map(String::from));
        }
    }
}
