//! Configuration errors. Each one says the file, the line, the key, and what was expected there.
//!
//! Promises: an error is one line of printable text, and repeats nothing that may be a secret.

use std::fmt;
use std::path::{Path, PathBuf};

/// The reason why a configuration cannot be used. Displays as
/// `FILE:LINE: key `tls.mode`: expected "starttls", "implicit" or "none", found "x"`.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError {
    path: PathBuf,
    fault: ConfigFault,
}

impl ConfigError {
    pub(super) fn new(path: &Path, fault: ConfigFault) -> Self {
        ConfigError { path: path.to_owned(), fault }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(location) = &self.fault.location {
            write!(f, ":{}", location.line)?;
            if !location.key.is_empty() {
                write!(f, ": key `{}`", location.key)?;
            }
        }
        write!(f, ": {}", self.fault.message)
    }
}

impl std::error::Error for ConfigError {}

/// A [`ConfigError`] without the path of its file, which the caller adds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ConfigFault {
    location: Option<KeyLocation>,
    message: String,
}

impl ConfigFault {
    /// Returns a fault that concerns the file as a whole.
    pub(super) fn of_file(message: impl Into<String>) -> Self {
        ConfigFault { location: None, message: message.into() }
    }
}

/// The position of a key or a value in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyLocation {
    /// The line number, counted from 1.
    pub(super) line: usize,
    /// The full key, such as `relay.timeouts.dot`; empty if the fault concerns no key.
    pub(super) key: String,
}

impl KeyLocation {
    /// Returns the position for a key that is missing: the first line.
    pub(super) fn of_missing(key: &str) -> Self {
        KeyLocation { line: 1, key: key.into() }
    }

    /// Returns the key without the route in whose tables it stands: `auth.username` of `route[2].auth.username`.
    pub(super) fn key_of_relay(&self) -> &str {
        self.route_and_rest().map_or(&self.key, |(_, rest)| rest)
    }

    /// Returns a further key about the same relay, such as `auth.username`: `route[2].auth.username` if this one is in the
    /// second route.
    pub(super) fn beside(&self, key: &str) -> String {
        self.route_and_rest().map_or_else(|| key.to_owned(), |(route, _)| format!("{route}.{key}"))
    }

    fn route_and_rest(&self) -> Option<(&str, &str)> {
        self.key.split_once('.').filter(|(table, _)| table.starts_with("route["))
    }

    /// Returns a fault at this position: "expected …, found …".
    pub(super) fn expected(&self, expected: impl fmt::Display, found: impl fmt::Display) -> ConfigFault {
        self.fault(format!("expected {expected}, found {found}"))
    }

    /// Returns a fault at this position with a message of its own.
    pub(super) fn fault(&self, message: impl Into<String>) -> ConfigFault {
        ConfigFault { location: Some(self.clone()), message: message.into() }
    }
}

/// Returns the number of the line of `text` that holds the octet at `offset`, counted from 1.
pub(super) fn line_at(text: &str, offset: usize) -> usize {
    let before = &text.as_bytes()[..offset.min(text.len())];
    // Each key of the file is asked for: a large one would take its time.
    1 + memchr::memchr_iter(b'\n', before).count()
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
        assert_eq!(show(ConfigFault::of_file("cannot be read")), "f.toml: cannot be read");
        let location = KeyLocation { line: 3, key: String::new() };
        assert_eq!(show(location.fault("not TOML")), "f.toml:3: not TOML");
        let location = KeyLocation { line: 3, key: "tls.mode".into() };
        assert_eq!(show(location.expected("a", "b")), "f.toml:3: key `tls.mode`: expected a, found b");
    }
}
