//! The state that the handles, the writer and the readers of one spool share.
//!
//! The index is behind a mutex that is held for a look-up or for one batch of changes, never across a
//! disk call or an await.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::commit_gate::CommitGate;
use super::entry::Options;
use super::format::SpoolId;
use super::fs::{File, Fs};
use super::index::Index;
use super::paths::SpoolPaths;
use super::rates::RateNotes;
use super::relays::KnownRelays;
use super::room::MailRoom;
use super::space::size_of_next;
use super::standing::StandingFile;
use super::stock::Stock;
use super::unfinished::Unfinished;
use crate::histogram::DurationHistogram;
use crate::queue_id::QueueIds;

/// Number of segments that are kept open, for readers, and because an open file outlives its name: these segments can be
/// saved when the spool is removed. They take 4 GiB at most.
const OPEN_FILES: usize = 128;

/// The state of one open spool that its handles, its writer and its readers use together.
pub(super) struct SharedSpool {
    pub fs: Arc<dyn Fs>,
    pub paths: SpoolPaths,
    pub options: Options,
    pub spool: SpoolId,
    pub ids: QueueIds,
    /// The relay clock in seconds; [`super::Spool::set_relay_clock`] says what it counts.
    pub relay_clock: AtomicU32,
    pub relays: KnownRelays,
    pub rates: RateNotes,
    pub standing: StandingFile,
    pub commits: CommitGate,
    pub stock: Stock,
    /// The token of which every draft has a clone, so that [`SharedSpool::has_drafts`] can count them.
    pub draft_token: Arc<()>,
    index: Mutex<Index>,
    pub room: MailRoom,
    /// How long the syncs of batches took.
    pub syncs: DurationHistogram,
    pub unfinished: Arc<Unfinished>,
    /// The number of octets of content that all drafts together have in memory.
    pub draft_memory: AtomicU64,
    /// The segments that are kept open, with their numbers.
    files: Mutex<VecDeque<(u32, Arc<dyn File>)>>,
    /// True while the spool is not where its path leads (`writer/rescue.rs`).
    astray: AtomicBool,
    /// True if the disk failed when the last segment was to be begun, and mail waits for one.
    failing: AtomicBool,
}

/// The parts that a start makes a [`SharedSpool`] of.
pub(super) struct SpoolParts {
    pub fs: Arc<dyn Fs>,
    pub paths: SpoolPaths,
    pub options: Options,
    pub spool: SpoolId,
    pub ids: QueueIds,
    pub relay_clock: u32,
    pub index: Index,
    pub next_segment: u32,
}

impl SharedSpool {
    pub fn new(start: SpoolParts) -> Self {
        let SpoolParts { fs, paths, options, spool, ids, relay_clock, index, next_segment } = start;
        let (relays, rates) = (KnownRelays::read(&*fs, &paths), RateNotes::read(&*fs, &paths));
        let standing = StandingFile::read(&*fs, &paths);
        let (size, largest) = (size_of_next(index.live_octets(), 0, options.sizes()), options.segment_size);
        let stock = Stock::new(Arc::clone(&fs), paths.clone(), largest, next_segment, size);
        let room = MailRoom::new(Arc::clone(&fs), paths.root().into(), &options);
        SharedSpool {
            fs,
            paths,
            options,
            spool,
            ids,
            relay_clock: AtomicU32::new(relay_clock),
            relays,
            rates,
            standing,
            commits: CommitGate::default(),
            stock,
            draft_token: Arc::new(()),
            index: Mutex::new(index),
            room,
            syncs: DurationHistogram::default(),
            unfinished: Arc::default(),
            draft_memory: AtomicU64::new(0),
            files: Mutex::new(VecDeque::new()),
            astray: AtomicBool::new(false),
            failing: AtomicBool::new(false),
        }
    }

    /// Locks the index.
    pub fn index(&self) -> MutexGuard<'_, Index> {
        held(&self.index)
    }

    /// Returns the file of a segment, to read from. It may have become another segment meanwhile: the checksums of the
    /// records show that (`format.rs`, promise 1).
    pub fn segment_file(&self, sequence: u32) -> io::Result<Arc<dyn File>> {
        if let Some(file) = self.held_segment(sequence) {
            return Ok(file);
        }
        let file = self.fs.open(&self.paths.segment(sequence))?;
        self.hold_segment(sequence, Arc::clone(&file));
        Ok(file)
    }

    /// Returns the file of a segment if it is kept open, as [`SharedSpool::segment_file`] does; `None` otherwise.
    pub fn held_segment(&self, sequence: u32) -> Option<Arc<dyn File>> {
        held(&self.files).iter().find(|(of, _)| *of == sequence).map(|(_, file)| Arc::clone(file))
    }

    /// Keeps a segment's file open, as long as there is room for it.
    pub fn hold_segment(&self, sequence: u32, file: Arc<dyn File>) {
        let mut files = held(&self.files);
        files.retain(|(of, _)| *of != sequence);
        if files.len() == OPEN_FILES {
            files.pop_front();
        }
        files.push_back((sequence, file));
    }

    /// Returns the segments that are kept open, with their numbers.
    pub fn held_segments(&self) -> Vec<(u32, Arc<dyn File>)> {
        held(&self.files).iter().cloned().collect()
    }

    /// Opens the segments that a start has found, as many as may be kept open.
    pub fn hold_segments(&self) {
        for sequence in self.index().segments().into_iter().take(OPEN_FILES) {
            // An error is reported by the caller that reads the segment.
            drop(self.segment_file(sequence));
        }
    }

    /// Returns whether the spool was removed or moved: its path does not lead to it.
    pub fn is_astray(&self) -> bool {
        self.astray.load(Ordering::Relaxed)
    }

    /// Notes whether the spool was removed or moved; returns what was noted before.
    pub fn set_astray(&self, astray: bool) -> bool {
        self.astray.swap(astray, Ordering::Relaxed)
    }

    /// Returns whether the disk failed when the last segment was to be begun.
    pub fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// Notes whether the disk failed when a segment was to be begun.
    pub fn set_failing(&self, failing: bool) {
        self.failing.store(failing, Ordering::Relaxed);
    }

    /// Returns whether content is coming in that may be committed soon.
    pub fn has_drafts(&self) -> bool {
        Arc::strong_count(&self.draft_token) > 1
    }

    /// Lets a segment go in which no message lives.
    pub fn let_segment_go(&self, sequence: u32) {
        held(&self.files).retain(|(of, _)| *of != sequence);
        self.stock.let_go(sequence);
    }
}

/// Locks a mutex, even if a thread has panicked that held it: what that thread left is no worse than a change that was
/// ignored, and the segments have it right.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
