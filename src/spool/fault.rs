//! What the spool says in the log of its own troubles; everything else it says through its results.
//!
//! ERROR is mail at risk, WARN wants an operator's look. Paths and system errors are ours, not a peer's.

use std::io;
use std::path::Path;

/// Making a segment ready or letting one go failed; tried again.
pub(super) fn stock(log: &Path, error: &io::Error) {
    tracing::warn!("spool: cannot prepare or remove a segment in {}: {error}; will try again", log.display());
}

/// A batch could not be written; those who waited for it were refused.
pub(super) fn write(segment: u32, error: &io::Error) {
    tracing::error!("spool: cannot write to segment {segment:08X}: {error}; mail is being refused");
}

/// A sync failed; those who waited for it were refused.
pub(super) fn sync(segment: u32, error: &io::Error) {
    tracing::error!("spool: cannot sync segment {segment:08X}: {error}; it is not used any more");
}

/// A new segment could not be begun.
pub(super) fn begin(segment: u32, error: &io::Error) {
    tracing::error!("spool: cannot begin segment {segment:08X}: {error}; mail is being refused");
}

/// The cleaner found a message that cannot be read.
pub(super) fn damaged(description: &str) {
    tracing::error!("spool: {description}");
}
