//! What the spool takes and gives: options, entries, messages read back, and its errors.
//!
//! Not here: what they do (`mod.rs`), [`Draft`](super::Draft) and [`Ledger`](super::Ledger), which
//! guard promises of their own.

use std::fmt;
use std::io;
use std::path::PathBuf;

use jiff::Timestamp;

use super::ledger::Ledger;
use super::marks::Marks;
use super::replies::Replies;
use super::space::{SMALLEST, Sizes};
use crate::envelope::{Envelope, Submitter};
use crate::queue_id::QueueId;

/// Where the spool is and how large its parts may become.
#[derive(Clone, Debug)]
pub struct Options {
    /// `<spool>`; made when its parent exists.
    pub directory: PathBuf,
    /// Octets of a segment of a busy spool; kept between 32 KiB and 1 GiB. A record larger than that gets a segment
    /// of its own size.
    pub segment_size: u64,
    /// Octets of the first segment of a spool that holds little; kept between 16 KiB and [`Options::segment_size`].
    pub first_segment: u64,
    /// Content above this many octets goes to a file of its own; at most 32 MiB.
    pub large_threshold: u64,
    /// Octets of free disk below which no message is taken.
    pub min_free_space: u64,
    /// Messages on the spool above which no further one is taken.
    pub max_messages: u64,
}

impl Options {
    /// The defaults for a spool at `directory`: segments of 256 KiB to 32 MiB, large content above
    /// 1 MiB, 64 MiB kept free, a million messages.
    pub fn at(directory: impl Into<PathBuf>) -> Self {
        Options {
            directory: directory.into(),
            segment_size: 32 << 20,
            first_segment: 256 << 10,
            large_threshold: 1 << 20,
            min_free_space: 64 << 20,
            max_messages: 1_000_000,
        }
    }

    /// The sizes that its segments may have.
    pub(super) fn sizes(&self) -> Sizes {
        Sizes { first: self.first_segment, largest: self.segment_size }
    }

    /// The same with every field in its range, segments in whole blocks.
    pub(super) fn in_range(mut self) -> Self {
        self.segment_size = self.segment_size.clamp(1 << 15, 1 << 30).next_multiple_of(1 << 12);
        self.first_segment = self.first_segment.clamp(SMALLEST, self.segment_size).next_multiple_of(1 << 12);
        self.large_threshold = self.large_threshold.min(32 << 20);
        self
    }
}

/// One live message, as the queue needs it; small: a million of them are held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub id: QueueId,
    /// When it was committed.
    pub arrived: Timestamp,
    /// Whose mail it is.
    pub submitter: Submitter,
    /// Hash of the reverse-path, for fairness among loopback submitters.
    pub lane: u64,
    /// The relay clock at arrival: see [`super::Spool::set_relay_clock`].
    pub patience_mark: u32,
    /// What else is true of it, its state among that.
    pub marks: Marks,
}

/// What recovery found.
#[derive(Debug)]
pub struct Recovery {
    /// Every live message, by queue id.
    pub entries: Vec<Entry>,
    /// Damage seen for the first time: one line each, for the log at ERROR. The octets are in `corrupt/`.
    pub damaged: Vec<String>,
    /// Places where a write had not been finished when the process ended; nobody was told it was safe.
    pub torn: u64,
    /// The highest relay clock recorded.
    pub relay_clock: u32,
    /// The process before did not end in order (nor need it have).
    pub unclean: bool,
}

/// Content of a message read back.
#[derive(Debug)]
pub enum StoredContent {
    /// All of it.
    Memory(Vec<u8>),
    /// A file of its own, opened at its start; removing the message does not disturb it.
    File {
        /// Readable; its position is 0.
        file: std::fs::File,
        /// Octets in it.
        len: u64,
    },
}

/// A message read back. `ledger` knows which recipients are still open.
#[derive(Debug)]
pub struct Stored {
    /// As committed.
    pub envelope: Envelope,
    /// When it was committed.
    pub arrived: Timestamp,
    /// Whose mail it is.
    pub submitter: Submitter,
    /// As committed, octet by octet.
    pub content: StoredContent,
    /// Octets of content.
    pub content_len: u64,
    /// The fates recorded so far.
    pub ledger: Ledger,
    /// What each recipient was told last.
    pub replies: Replies,
}

/// Why there is no spool to work with. The text says what to do.
#[derive(Debug)]
pub enum OpenError {
    /// Another process has it.
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// A later version of nullmta wrote it.
    NewerFormat {
        /// The segment.
        path: PathBuf,
        /// Its format version.
        version: u16,
    },
    /// A segment of another spool lies in it.
    Foreign {
        /// The segment.
        path: PathBuf,
    },
    /// It has the name of a segment, and can be none.
    NotASegment {
        /// That.
        path: PathBuf,
        /// Why not.
        why: &'static str,
    },
    /// There is nothing where a spool is looked for.
    NoSuchSpool {
        /// There.
        path: PathBuf,
    },
    /// There is a directory, but no log in it.
    NotASpool {
        /// That.
        path: PathBuf,
    },
    /// Something else is in its place.
    NotADirectory {
        /// That.
        path: PathBuf,
    },
    /// The system refused.
    Io {
        /// What was tried, as a verb.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Locked { path } => {
                write!(f, "{} is locked: another nullmta uses this spool; stop it first", path.display())
            }
            OpenError::NewerFormat { path, version } => write!(
                f,
                "{} has format version {version}, this nullmta reads up to {}: install the version that wrote it",
                path.display(),
                super::format::FORMAT_VERSION
            ),
            OpenError::Foreign { path } => {
                write!(f, "{} belongs to another spool: move it to the spool it came from", path.display())
            }
            OpenError::NotASegment { path, why } => {
                write!(f, "{} is no segment: {why}; move it out of that directory", path.display())
            }
            OpenError::NoSuchSpool { path } => {
                write!(f, "{} does not exist: name the directory of a spool", path.display())
            }
            OpenError::NotASpool { path } => {
                write!(f, "{} is no spool: there is no log/ in it", path.display())
            }
            OpenError::NotADirectory { path } => {
                write!(f, "{} is not a directory: move it out of the way", path.display())
            }
            OpenError::Io { operation, path, source } => {
                write!(f, "cannot {operation} {}: {source}; {}", path.display(), advice(source))
            }
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            OpenError::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "make its parent directory",
        io::ErrorKind::PermissionDenied => "the spool must belong to the user that nullmta runs as",
        io::ErrorKind::ReadOnlyFilesystem => "the spool must be on a file system that can be written",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room on the disk",
        _ => "check the disk and the system log",
    }
}

/// Nothing was queued, or nothing recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CommitError {
    /// There is no room on the disk, or the limits of the configuration leave none.
    Full,
    /// There is room, but the unfinished messages of its user have their share of it.
    OverShare,
    /// It was unfinished and idle, and gave way to others.
    GaveWay,
    /// The disk failed.
    Trouble,
    /// The spool was removed or moved under the daemon.
    Astray,
    /// The spool is closing.
    Closed,
}

impl fmt::Display for CommitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CommitError::Full => "no room on the spool",
            CommitError::OverShare => {
                "there is room on the spool, but the unfinished messages of its user fill a quarter of that already"
            }
            CommitError::GaveWay => {
                "nothing had come of it for a while, and its room on the spool was needed: what had come was removed"
            }
            CommitError::Trouble => "the spool's disk failed",
            CommitError::Astray => "the spool is not where its path leads: it was removed or moved",
            CommitError::Closed => "the spool is closing",
        })
    }
}

impl std::error::Error for CommitError {}

impl From<io::ErrorKind> for CommitError {
    fn from(kind: io::ErrorKind) -> Self {
        match kind {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => CommitError::Full,
            _ => CommitError::Trouble,
        }
    }
}

/// Why a message cannot be read back.
#[derive(Debug)]
pub enum ReadError {
    /// It is not on the spool (any more).
    Gone,
    /// What is on the disk is not what was written.
    Damaged,
    /// The system refused.
    Io(io::Error),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Gone => f.write_str("no such message"),
            ReadError::Damaged => f.write_str("the message is damaged on disk"),
            ReadError::Io(source) => write!(f, "cannot read the message: {source}"),
        }
    }
}

impl std::error::Error for ReadError {}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        ReadError::Io(error)
    }
}
