//! The types that the spool takes and returns: options, entries, messages that are read back, and its errors.
//!
//! Not here: what is done with them (`handle.rs`), [`Draft`](super::Draft) and [`Ledger`](super::Ledger), which
//! guard promises of their own.

use std::fmt;
use std::io;
use std::path::PathBuf;

use jiff::Timestamp;

use super::ledger::Ledger;
use super::marks::Marks;
use super::replies::Replies;
use super::space::{SHARE_IN_WORDS, SMALLEST, Sizes};
use crate::envelope::{Envelope, ReversePathKey, Submitter};
use crate::filter::MailHolder;
use crate::queue_id::QueueId;

/// The space of a spool, in octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpoolSpace {
    /// What the records of live messages take.
    pub octets: u64,
    /// What is free on its disk; `None` if the disk does not say it.
    pub free: Option<u64>,
    /// What there is in all on its disk; `None` if the disk does not say it.
    pub size: Option<u64>,
    /// What must be free for mail to be accepted.
    pub reserve: u64,
}

/// The options of a spool: the path of its directory, the sizes of its parts, and its limits.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory of the spool. It is made if its parent exists.
    pub directory: PathBuf,
    /// The size of a segment of a busy spool in octets, between 32 KiB and 1 GiB. A segment becomes longer if one record
    /// alone is longer than that.
    pub segment_size: u64,
    /// The size of the first segment of a spool that holds little, in octets, between 16 KiB and [`Options::segment_size`].
    pub first_segment: u64,
    /// The length of content, in octets, above which it goes to a file of its own; it is 32 MiB at most.
    pub large_threshold: u64,
    /// The number of octets that must be free on the disk; no message is taken while there are fewer.
    pub min_free_space: u64,
    /// The number of messages on the spool at which no more are taken.
    pub max_messages: u64,
}

impl Options {
    /// Returns the defaults for a spool at `directory`: segments of 256 KiB to 32 MiB, large content above
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

    /// Returns the sizes that its segments may have.
    pub(super) fn sizes(&self) -> Sizes {
        Sizes { first: self.first_segment, largest: self.segment_size }
    }

    /// Returns the same options with every field in its range, and segments in whole blocks.
    pub(super) fn in_range(mut self) -> Self {
        self.segment_size = self.segment_size.clamp(1 << 15, 1 << 30).next_multiple_of(1 << 12);
        self.first_segment = self.first_segment.clamp(SMALLEST, self.segment_size).next_multiple_of(1 << 12);
        self.large_threshold = self.large_threshold.min(32 << 20);
        self
    }
}

/// One live message as the queue keeps it in memory. It is small, since there may be a million of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The queue id of the message.
    pub id: QueueId,
    /// The moment at which it was committed.
    pub arrived: Timestamp,
    /// The submitter of the message, as far as is known.
    pub submitter: Submitter,
    /// The lane in which it waits its turn: a hash of the submitter's uid, or of the reverse-path where the uid is not known.
    pub lane: u64,
    /// The key of its reverse-path.
    pub from: ReversePathKey,
    /// The relay clock at its arrival ([`super::Spool::set_relay_clock`]).
    pub patience_mark: u32,
    /// The seconds of its patience that it had used when it was deferred last.
    pub patience_used: u32,
    /// The marks of the message, its state among them.
    pub marks: Marks,
}

/// What the index knows of a live message, without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexedMessage {
    /// The queue id of the message.
    pub id: QueueId,
    /// The user who submitted it, whichever way it came; `None` if that is not known, or there are too many users to know
    /// them all.
    pub uid: Option<u32>,
}

/// The envelope of a message at a glance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GlancedEnvelope {
    /// The user who submitted the message, whichever way it came; `None` if that is not known.
    pub uid: Option<u32>,
    /// The reverse-path; empty for the null one.
    pub reverse_path: String,
    /// The reverse-path as it was handed in, where rewriting has changed it.
    pub original_from: Option<String>,
    /// The recipients that have not had their end.
    pub recipients: Vec<String>,
}

/// The result of recovery: the live messages, and the damage that was found.
#[derive(Debug)]
pub struct Recovery {
    /// Every live message, in the order of the queue ids.
    pub entries: Vec<Entry>,
    /// Damage that was seen for the first time: one line each, for the log at ERROR. The octets are in `corrupt/`.
    pub damaged: Vec<String>,
    /// The number of writes that had not been finished when the process ended. Nobody was told that they were safe.
    pub torn: u64,
    /// The highest relay clock that was recorded.
    pub relay_clock: u32,
    /// True if the process before did not end in order, which does no harm.
    pub unclean: bool,
}

/// The content of a message that is read back.
#[derive(Debug)]
pub enum StoredContent {
    /// All of it is in memory.
    Memory(ContentInMemory),
    /// It is in a file of its own, which stays readable when the message is removed.
    File {
        /// The file, opened to read, at its start.
        file: std::fs::File,
        /// The length of the file, in octets.
        len: u64,
    },
}

/// The content at the end of a record, in the memory that the record was read into, so that it is not copied once more.
#[derive(Debug)]
pub struct ContentInMemory {
    record: Vec<u8>,
    start: usize,
}

impl ContentInMemory {
    /// Returns the last `length` octets of a record, which has no fewer.
    pub(super) fn at_end_of(record: Vec<u8>, length: usize) -> Self {
        ContentInMemory { start: record.len() - length, record }
    }

    /// Returns the content alone, which is moved for that.
    pub(super) fn into_vec(mut self) -> Vec<u8> {
        self.record.drain(..self.start);
        self.record
    }
}

impl AsRef<[u8]> for ContentInMemory {
    fn as_ref(&self) -> &[u8] {
        &self.record[self.start..]
    }
}

/// A message that is read back. Its `ledger` knows which recipients are still open.
#[derive(Debug)]
pub struct Stored {
    /// The envelope, as it was committed.
    pub envelope: Envelope,
    /// The moment at which it was committed.
    pub arrived: Timestamp,
    /// The submitter of the message, as far as is known.
    pub submitter: Submitter,
    /// The reverse-path as it was handed in, where rewriting has changed it.
    pub original_from: Option<String>,
    /// Who holds it; `None` if it is not on hold.
    pub held_by: Option<MailHolder>,
    /// The name of the route that an operator has assigned it to; empty for the top-level `relayhost`.
    pub assigned_route: Option<String>,
    /// Why it was on hold from the first; `None` if it was not.
    pub came_on_hold: Option<String>,
    /// The content, octet by octet as it was committed.
    pub content: StoredContent,
    /// The length of the content, in octets.
    pub content_len: u64,
    /// The outcomes of its recipients, as far as they are recorded.
    pub ledger: Ledger,
    /// The last reply to each recipient.
    pub replies: Replies,
}

/// The reason why the spool could not be opened. Its text says what to do.
#[derive(Debug)]
pub enum OpenError {
    /// Another process uses the spool.
    Locked {
        /// The path of the file `lock` in the spool, which the other process has locked.
        path: PathBuf,
    },
    /// A later version of nullmta wrote the spool.
    NewerFormat {
        /// The path of the first such segment.
        path: PathBuf,
        /// The version that its header names; it is above [`super::format::FORMAT_VERSION`].
        version: u16,
    },
    /// A segment of another spool lies in it.
    Foreign {
        /// The path of a segment whose header, or whose records, bear the id of the other spool.
        path: PathBuf,
    },
    /// Something has the name of a segment and cannot be one.
    NotASegment {
        /// The path of the file, directory or link that has the name.
        path: PathBuf,
        /// The reason why it is none, in words that follow "is no segment:".
        why: &'static str,
    },
    /// There is nothing at the path of the spool.
    NoSuchSpool {
        /// The path that the caller named as that of the spool.
        path: PathBuf,
    },
    /// There is a directory, but none for segments in it.
    NotASpool {
        /// The path of that directory, as the caller named it.
        path: PathBuf,
    },
    /// Something stands where the spool, or a directory in it, is to be, and is no directory.
    NotADirectory {
        /// The path of the directory that is to be there.
        path: PathBuf,
    },
    /// The system refused a call.
    Io {
        /// The verb for the call, in words that follow "cannot" and stand before the path.
        operation: &'static str,
        /// The path of the file or directory that the call was about.
        path: PathBuf,
        /// The error that the system returned.
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
                write!(f, "{} is no spool: there are no segments (log/) in it", path.display())
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

/// Returns the advice for the operator that goes with this error.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "make its parent directory",
        io::ErrorKind::PermissionDenied => "the spool must belong to the user that nullmta runs as",
        io::ErrorKind::ReadOnlyFilesystem => "the spool must be on a file system that can be written",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room on the disk",
        _ => "check the disk and the system log",
    }
}

/// The reason why nothing was queued, or nothing was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CommitError {
    /// There is no room on the disk, or the limits of the configuration leave none.
    Full,
    /// There is room, but the unfinished messages of this user have their share of it already.
    OverShare,
    /// The message was unfinished and idle, and was removed to make room for others.
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
                return write!(
                    f,
                    "there is room on the spool, but the unfinished messages of its user fill {SHARE_IN_WORDS} of that \
                     already"
                );
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

/// The reason why a message cannot be read back.
#[derive(Debug)]
pub enum ReadError {
    /// No message with this id is on the spool (any more).
    Gone,
    /// The octets on the disk are not those that were written.
    Damaged,
    /// The system refused a call.
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
