//! The location of something that was read, and the error about it.
//!
//! Promises: an [`ImportError`] is one line with the file and, where there is one, the line; it quotes
//! nothing of what it found there, since that may be a secret.

use std::fmt;

/// The directory whose files are named without their directory.
const HOME: &str = "/etc/postfix/";

/// A file, by its path on its own host, and a line in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceLocation {
    /// The path on the host where the configuration comes from.
    pub file: String,
    /// The line, counted from 1; `None` for the whole file, and for JSON, where lines mean nothing.
    pub line: Option<usize>,
}

impl SourceLocation {
    /// Returns the location of the file as a whole.
    pub(super) fn file(file: &str) -> SourceLocation {
        SourceLocation { file: file.into(), line: None }
    }

    /// Returns the location of one line of the file.
    pub(super) fn line(file: &str, line: usize) -> SourceLocation {
        SourceLocation { file: file.into(), line: Some(line) }
    }

    /// Returns an error at this location.
    pub(super) fn error(&self, message: impl Into<String>) -> ImportError {
        ImportError { location: self.clone(), message: message.into() }
    }
}

/// Displays as `main.cf:3`, `/etc/aliases:7` or `node.json`.
impl fmt::Display for SourceLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.file.strip_prefix(HOME).unwrap_or(&self.file))?;
        self.line.map_or(Ok(()), |line| write!(f, ":{line}"))
    }
}

/// The reason why an import failed. Displays as `/etc/postfix/main.cf:3: expected …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportError {
    /// The location of the error.
    pub location: SourceLocation,
    /// The text that was expected, or the operation that failed.
    pub message: String,
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.location.file)?;
        if let Some(line) = self.location.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for ImportError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_short_and_errors_are_whole() {
        let location = SourceLocation::line("/etc/postfix/main.cf", 3);
        assert_eq!(location.to_string(), "main.cf:3");
        assert_eq!(location.error("no").to_string(), "/etc/postfix/main.cf:3: no");
        assert_eq!(SourceLocation::file("/etc/aliases").to_string(), "/etc/aliases");
    }
}
