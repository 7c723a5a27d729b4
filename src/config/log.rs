//! `[log]`: how much is logged, and in which format.

use super::file;
use super::table::given;
use super::words::{LogFormat, LogLevel};

/// `[log]`: how much is logged, and in which format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// Lines below this level are not written.
    pub level: LogLevel,
    /// The form of each line: text, or a JSON object.
    pub format: LogFormat,
}

impl LogConfig {
    /// Returns the settings in `log`, with defaults filled in.
    pub(super) fn of(log: &file::LogTable) -> LogConfig {
        LogConfig {
            level: given(&log.level).copied().unwrap_or(LogLevel::Info),
            format: given(&log.format).copied().unwrap_or(LogFormat::Text),
        }
    }
}
