//! What a configuration error says: file, line, key, what was expected.
//!
//! Promises: an error is one line of printable text, and repeats nothing that may be a secret.

use std::fmt;
use std::path::{Path, PathBuf};

/// Why a configuration is not used. Displays as
/// `FILE:LINE: key `tls.mode`: expected "starttls", "implicit" or "none", found "x"`.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError {
    path: PathBuf,
    fault: Fault,
}

impl ConfigError {
    pub(super) fn new(path: &Path, fault: Fault) -> Self {
        ConfigError { path: path.to_owned(), fault }
    }

    /// The line it is about, from 1; `None` when the file could not be read.
    pub fn line(&self) -> Option<usize> {
        self.fault.place.as_ref().map(|place| place.line)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(place) = &self.fault.place {
            write!(f, ":{}", place.line)?;
            if !place.key.is_empty() {
                write!(f, ": key `{}`", place.key)?;
            }
        }
        write!(f, ": {}", self.fault.message)
    }
}

impl std::error::Error for ConfigError {}

/// A [`ConfigError`] that does not know its file yet.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    place: Option<Place>,
    message: String,
}

impl Fault {
    /// The file as a whole.
    pub(super) fn of_file(message: impl Into<String>) -> Self {
        Fault { place: None, message: message.into() }
    }
}

/// Where in the file something stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// From 1.
    pub(super) line: usize,
    /// With its tables, `relay.timeouts.dot`; empty when no key is concerned.
    pub(super) key: String,
}

impl Place {
    /// The place where a key that is missing might stand.
    pub(super) fn of_missing(key: &str) -> Self {
        Place { line: 1, key: key.into() }
    }

    /// A fault here, in the usual words.
    pub(super) fn expected(&self, expected: impl fmt::Display, found: impl fmt::Display) -> Fault {
        self.fault(format!("expected {expected}, found {found}"))
    }

    /// A fault here, in other words.
    pub(super) fn fault(&self, message: impl Into<String>) -> Fault {
        Fault { place: Some(self.clone()), message: message.into() }
    }
}

/// The number, from 1, of the line of `text` that holds the octet at `offset`.
pub(super) fn line_at(text: &str, offset: usize) -> usize {
    let before = &text.as_bytes()[..offset.min(text.len())];
    1 + before.iter().filter(|octet| **octet == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_count_from_one_and_never_beyond_the_text() {
        for (offset, line) in [(0, 1), (1, 1), (2, 2), (3, 3), (4, 3), (99, 3)] {
            assert_eq!(line_at("a\n\nb", offset), line, "{offset}");
        }
    }

    #[test]
    fn says_no_more_than_it_knows() {
        let show = |fault| ConfigError::new(Path::new("f.toml"), fault).to_string();
        assert_eq!(show(Fault::of_file("cannot be read")), "f.toml: cannot be read");
        let place = Place { line: 3, key: String::new() };
        assert_eq!(show(place.fault("not TOML")), "f.toml:3: not TOML");
        let place = Place { line: 3, key: "tls.mode".into() };
        assert_eq!(show(place.expected("a", "b")), "f.toml:3: key `tls.mode`: expected a, found b");
    }
}
