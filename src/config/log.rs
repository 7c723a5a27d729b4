//! `[log]`: how much is written, and how.

use super::file;
use super::table::given;
use super::words::{Format, Level};

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Lines below this level are not written.
    pub level: Level,
    /// How a line is written.
    pub format: Format,
}

impl Log {
    /// What the file says, with the defaults.
    pub(super) fn of(log: &file::Log) -> Log {
        Log {
            level: given(&log.level).copied().unwrap_or(Level::Info),
            format: given(&log.format).copied().unwrap_or(Format::Text),
        }
    }
}
