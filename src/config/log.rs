//! `[log]`: how much is logged, in which format, and what is hidden there.

use super::file;
use super::table::given;
use super::words::{LogFormat, LogLevel, LogRedaction};

/// `[log]`: how much is logged, in which format, and what is hidden there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// Lines below this level are not written.
    pub level: LogLevel,
    /// The form of each line: text, or a JSON object.
    pub format: LogFormat,
    /// What is hidden in each line.
    pub redact: LogRedaction,
}

impl LogConfig {
    /// Returns the settings in `log`, with defaults filled in.
    pub(super) fn of(log: &file::LogTable) -> LogConfig {
        LogConfig {
            level: given(&log.level).copied().unwrap_or(LogLevel::Info),
            format: given(&log.format).copied().unwrap_or(LogFormat::Text),
            redact: given(&log.redact).copied().unwrap_or(LogRedaction::Nothing),
        }
    }
}
