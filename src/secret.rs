//! A secret: a password or token that no log line, error or debug print can show.
//!
//! Promises: `Debug` and `Display` print `***`; the octets are overwritten when the value is dropped. The octets of a file,
//! or the output of a program, are a secret if they are one line of text, in UTF-8 or in a charset of one octet for each
//! character, such as Latin-1.
//! Not here: reading secrets (`config/secret_source.rs`, `relay/password.rs`), proving them to a relay (`relay/sasl.rs`).
//! Words of others, which may repeat one, pass `secret/masks.rs`.

mod masks;

use std::fmt;

use zeroize::Zeroizing;

pub use masks::SecretMasks;

/// Upper bound, in octets, of a secret that is read: enough for an OAuth token.
pub const MAX_OCTETS: usize = 16 * 1024;

/// The octets that are read of a file or a program: those of the longest secret, of a byte order mark in front of it and the
/// line break at its end, which are no part of it, and one more, which shows that it is too long.
pub const MOST_READ: usize = MAX_OCTETS + BYTE_ORDER_MARK.len() + "\r\n".len() + 1;

/// U+FEFF, which some editors put in front of a text. It is not part of the password.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
/// U+FEFF in UTF-16.
const UTF_16_MARKS: [&[u8]; 2] = [b"\xff\xfe", b"\xfe\xff"];

/// A password or token: octets that are UTF-8 as a rule.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

/// The reason why some octets are not a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadSecret {
    /// There is nothing, or a line break alone.
    Empty,
    /// The secret has more than 16 KiB.
    TooLong,
    /// The secret has a second line, or another control character.
    NotOneLine,
    /// The secret is UTF-16, as some editors and shells of Windows write it.
    Utf16,
}

/// Returns an empty buffer for [`MOST_READ`] octets. It never grows, because growing would leave a copy behind in memory.
pub fn buffer() -> Zeroizing<Vec<u8>> {
    Zeroizing::new(Vec::with_capacity(MAX_OCTETS + 64))
}

impl Secret {
    /// Returns `text` as a secret.
    pub fn new(text: String) -> Self {
        Secret(Zeroizing::new(text.into_bytes()))
    }

    /// Returns the secret in `octets`, which were read from a file or a program. A byte order mark in front of it and one
    /// line break at its end are dropped.
    pub fn of_octets(mut octets: Zeroizing<Vec<u8>>) -> Result<Self, BadSecret> {
        if octets.starts_with(BYTE_ORDER_MARK) {
            octets.drain(..BYTE_ORDER_MARK.len());
        }
        if UTF_16_MARKS.iter().any(|mark| octets.starts_with(mark)) && octets.contains(&0) {
            return Err(BadSecret::Utf16);
        }
        if octets.last() == Some(&b'\n') {
            octets.pop();
            if octets.last() == Some(&b'\r') {
                octets.pop();
            }
        }
        if octets.is_empty() {
            return Err(BadSecret::Empty);
        }
        if octets.len() > MAX_OCTETS {
            return Err(BadSecret::TooLong);
        }
        let has_control = match std::str::from_utf8(&octets) {
            Ok(text) => text.chars().any(char::is_control),
            // In Windows-1252 the octets of C1 are letters.
            Err(_) => octets.iter().any(u8::is_ascii_control),
        };
        if has_control {
            return Err(BadSecret::NotOneLine);
        }
        Ok(Secret(octets))
    }

    /// Returns what a client sent as a password, whatever it is: it is compared with a secret, and is none yet.
    pub fn of_login(octets: Zeroizing<Vec<u8>>) -> Self {
        Secret(octets)
    }

    /// Returns the octets of the secret, for the one call that proves it to a relay.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Returns the text of the secret; `None` if it is not UTF-8.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// Returns the secret in the form in which mechanisms that hash it want it, by SASLprep (RFC 4013), so that an `ä` of
    /// one character and one of two are the same; `None` if it is not UTF-8. What SASLprep does not allow in a password
    /// stays as it is, since some relay has taken it as a password.
    pub fn prepared(&self) -> Option<Secret> {
        let text = self.text()?;
        Some(stringprep::saslprep(text).map_or_else(|_| self.clone(), |text| Secret::new(text.into_owned())))
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
            BadSecret::Utf16 => "text in UTF-16 (save it as UTF-8)",
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
        assert_eq!(secret.expose(), b"hunter2");
    }

    #[test]
    fn one_line_is_a_secret() {
        let taken = |octets: &[u8]| {
            Secret::of_octets(Zeroizing::new(octets.to_vec())).map(|secret| secret.expose().to_vec())
        };
        let longest = vec![b'x'; MAX_OCTETS];
        for (octets, expected) in [
            (&b"hunter2"[..], Ok(&b"hunter2"[..])),
            (b"hunter2\n", Ok(b"hunter2")),
            (b"hunter2\r\n", Ok(b"hunter2")),
            (b" p\xc3\xa4ss ", Ok(b" p\xc3\xa4ss ")),
            (b"\xef\xbb\xbfhunter2\r\n", Ok(b"hunter2")),
            (b"p\xe4ss\x80\r\n", Ok(b"p\xe4ss\x80")),
            (b"p\xe4\tss", Err(BadSecret::NotOneLine)),
            (b"p\xe4ss\nsecond", Err(BadSecret::NotOneLine)),
            (b"p\xc2\x85ss", Err(BadSecret::NotOneLine)),
            (b"\xff\xfep\0a\0s\0s\0\r\0\n\0", Err(BadSecret::Utf16)),
            (b"\xfe\xff\0p\0a\0s\0s\0\n", Err(BadSecret::Utf16)),
            (b"\xff\xfess", Ok(b"\xff\xfess")),
            (b"\xef\xbb\xbf", Err(BadSecret::Empty)),
            (b"hunter\xef\xbb\xbf2", Ok(b"hunter\xef\xbb\xbf2")),
            (b"", Err(BadSecret::Empty)),
            (b"\n", Err(BadSecret::Empty)),
            (b"\r\n", Err(BadSecret::Empty)),
            (b"hunter2\n\n", Err(BadSecret::NotOneLine)),
            (b"user\nhunter2\n", Err(BadSecret::NotOneLine)),
            (b"hunter2\r", Err(BadSecret::NotOneLine)),
            (b"hun\0ter2", Err(BadSecret::NotOneLine)),
            (b"hunter\xff", Ok(b"hunter\xff")),
            (&longest, Ok(&longest)),
            (&[b'x'; MAX_OCTETS + 1], Err(BadSecret::TooLong)),
            (&[&longest[..], b"\r\n"].concat(), Ok(&longest)),
            (&[b"\xef\xbb\xbf", &longest[..], b"\r\n"].concat(), Ok(&longest)),
            (&[b'\n'; MOST_READ], Err(BadSecret::TooLong)),
        ] {
            assert_eq!(taken(octets), expected.map(<[u8]>::to_vec));
        }
    }

    /// RFC 4013 3, and passwords as keyboards make them.
    #[test]
    fn passwords_are_prepared_for_hashing() {
        for (text, expected) in [
            ("hunter2", "hunter2"),
            ("I\u{ad}X", "IX"),
            ("\u{aa}", "a"),
            ("\u{2168}", "IX"),
            ("a\u{308}", "\u{e4}"),
            ("one\u{a0}two", "one two"),
            ("\u{7}", "\u{7}"),
            ("\u{627}1", "\u{627}1"),
        ] {
            assert_eq!(Secret::new(text.into()).prepared().unwrap().text(), Some(expected), "{text:?}");
        }
        let latin = Secret::of_octets(Zeroizing::new(b"p\xe4ss".to_vec())).unwrap();
        assert!(latin.text().is_none() && latin.prepared().is_none());
    }
}
