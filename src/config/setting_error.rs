//! The reason why something that the configuration describes cannot be built: the relay, or the listener's certificate.
//!
//! Not here: errors in the text of the configuration (`error.rs`).

use std::fmt;

use super::tls_file::{TlsFileError, TlsFileFault};

/// A setting that is valid by itself, and that cannot be used. Displays as `tls.ca-file: cannot read …`.
#[derive(Debug)]
pub enum SettingError {
    /// A file for TLS cannot be used.
    TlsFile(TlsFileError),
    /// Another setting cannot be used; the text names it.
    Other(String),
}

impl SettingError {
    /// Returns whether this is about a file that cannot be read, or that others can read: it may be put in order without a
    /// change of the configuration, and another program may be about to write it.
    pub fn may_pass(&self) -> bool {
        matches!(self, SettingError::TlsFile(TlsFileError { fault: TlsFileFault::Closed(_), .. }))
    }
}

impl From<TlsFileError> for SettingError {
    fn from(error: TlsFileError) -> Self {
        SettingError::TlsFile(error)
    }
}

impl From<String> for SettingError {
    fn from(words: String) -> Self {
        SettingError::Other(words)
    }
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SettingError::TlsFile(error) => error.fmt(f),
            SettingError::Other(words) => f.write_str(words),
        }
    }
}

impl std::error::Error for SettingError {}
