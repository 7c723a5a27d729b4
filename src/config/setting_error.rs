//! The reason why something that the configuration describes cannot be built: the relay, or the listener's certificate.
//!
//! Not here: errors in the text of the configuration (`error.rs`).

use std::fmt;

use super::TlsFileError;

/// A setting that is valid by itself, and that cannot be used. Displays as `tls.ca-file: cannot read …`.
#[derive(Debug)]
pub enum SettingError {
    /// A file for TLS cannot be used.
    TlsFile(TlsFileError),
    /// Another setting cannot be used; the text names it.
    Other(String),
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
