//! A draft: the content of a message while it arrives.
//!
//! Promises
//! 1. A draft takes little memory: up to the large threshold, then a file in `large/` and one chunk. When all of them
//!    together take more than [`MEMORY`], each takes [`LITTLE`] and a chunk.
//! 2. A draft that is dropped leaves nothing: its file is unlinked, or found unnamed by recovery.
//! 3. When a large file is finished, its octets, its length and its name are synced.
//!
//! Fails: a full disk is `Full`, any other trouble `Trouble`; then the draft stays failed, and
//! committing it fails in the same way.
//!
//! Files are written by the blocking pool, never on an async thread; so a draft above the threshold
//! needs a tokio runtime.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::entry::CommitError;
use super::fs::{File, write_all_at};
use super::payload::Large;
use super::presence::leads_to;
use super::shared::SharedSpool;
use super::unfinished::UnfinishedMessage;
use crate::envelope::{ReversePath, Submitter};
use crate::log;
use crate::queue_id::QueueId;

/// Number of octets that are gathered in memory before they are written to a large file.
const CHUNK: usize = 256 << 10;
/// Number of octets that all drafts together may have in memory; above it, new content goes to files above [`LITTLE`].
const MEMORY: u64 = 16 << 20;
/// Length of content, in octets, above which it goes to a file while the drafts have more than [`MEMORY`].
const LITTLE: u64 = 64 << 10;

/// The content of a message while it arrives. It is in memory up to `large_threshold`, and then in a file in `large/`.
pub struct Draft {
    shared: Arc<SharedSpool>,
    id: QueueId,
    /// The user whose share of the room it takes while it is not whole.
    whose: Submitter,
    /// The octets that are not in the file.
    memory: Memory,
    large: Option<Spilled>,
    failed: Option<CommitError>,
    /// Why the message is to be on hold from the first, if it is.
    on_hold: Option<String>,
    /// The reverse-path as it was handed in, if that is known.
    handed_in_from: Option<ReversePath>,
    /// A clone of the token by which [`SharedSpool::has_drafts`] knows that there is a draft.
    _token: Arc<()>,
}

/// The octets of a draft in memory, which are counted in [`SharedSpool::draft_memory`].
struct Memory {
    octets: Vec<u8>,
    counted: u64,
    shared: Arc<SharedSpool>,
}

/// The file of a draft that is too large for memory.
struct Spilled {
    name: LargeName,
    file: Arc<dyn File>,
    /// The place of the draft among the unfinished ones; `None` for our own reports, which nobody submits.
    place: Option<UnfinishedMessage>,
    length: u64,
    sum: u32,
}

/// The name of a large file that no record holds yet. The file is unlinked when this is dropped.
pub(super) struct LargeName {
    shared: Arc<SharedSpool>,
    id: QueueId,
    keep: bool,
}

/// The content of a draft that is complete.
pub(super) struct FinishedDraft {
    pub on_hold: Option<String>,
    pub handed_in_from: Option<ReversePath>,
    pub memory: Vec<u8>,
    pub large: Option<(Large, LargeName)>,
}

impl Draft {
    pub(super) fn new(shared: Arc<SharedSpool>, id: QueueId) -> Self {
        let _token = Arc::clone(&shared.draft_token);
        let memory = Memory { octets: Vec::new(), counted: 0, shared: Arc::clone(&shared) };
        Draft {
            shared,
            id,
            whose: Submitter::Ourselves,
            memory,
            large: None,
            failed: None,
            on_hold: None,
            handed_in_from: None,
            _token,
        }
    }

    /// Returns the draft as that of a submitter, who may not fill the disk with it (`unfinished.rs`).
    #[must_use]
    pub fn of(mut self, whose: Submitter) -> Self {
        self.whose = whose;
        self
    }

    /// Returns the draft as that of a message which was handed in from this reverse-path, whatever rewriting makes of it.
    #[must_use]
    pub fn handed_in_from(mut self, reverse_path: ReversePath) -> Self {
        self.handed_in_from = Some(reverse_path);
        self
    }

    /// Has the message be on hold from the moment at which it is committed, by a limit, for this reason.
    pub fn hold(&mut self, why: impl Into<String>) {
        self.on_hold = Some(why.into());
    }

    /// Returns the queue id that the message will have.
    pub fn id(&self) -> QueueId {
        self.id
    }

    /// Returns the number of octets that have arrived so far.
    pub fn len(&self) -> u64 {
        self.large.as_ref().map_or(0, |large| large.length) + self.memory.octets.len() as u64
    }

    /// Returns whether nothing has arrived yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends octets to the content, in memory or in the file.
    pub async fn write(&mut self, octets: &[u8]) -> Result<(), CommitError> {
        if self.failed.is_none() {
            self.failed = self.append(octets).await.err();
        }
        self.failed.map_or(Ok(()), Err)
    }

    async fn append(&mut self, octets: &[u8]) -> Result<(), CommitError> {
        for chunk in octets.chunks(CHUNK) {
            self.memory.extend(chunk);
            if self.large.is_none() && self.memory.octets.len() as u64 > self.threshold() {
                self.large = Some(Spilled::create(Arc::clone(&self.shared), self.id, self.whose).await?);
            }
            if self.memory.octets.len() >= CHUNK {
                self.spill().await?;
            }
        }
        Ok(())
    }

    /// Returns the length, in octets, above which the content goes to a file.
    fn threshold(&self) -> u64 {
        let usual = self.shared.options.large_threshold;
        let is_short = self.shared.draft_memory.load(Ordering::Relaxed) > MEMORY;
        if is_short { usual.min(LITTLE) } else { usual }
    }

    /// Moves what is in memory to the file, if there is one.
    async fn spill(&mut self) -> Result<(), CommitError> {
        if let Some(large) = &mut self.large {
            large.append(self.memory.take()).await?;
        }
        Ok(())
    }

    /// Returns the complete content, which is synced as far as it is in a file.
    pub(super) async fn finish(mut self) -> Result<FinishedDraft, CommitError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.spill().await?;
        let large = match self.large {
            None => None,
            Some(large) => Some(large.finish().await?),
        };
        Ok(FinishedDraft {
            memory: self.memory.take(),
            large,
            on_hold: self.on_hold,
            handed_in_from: self.handed_in_from,
        })
    }

    /// Returns whether it is a draft of this spool.
    pub(super) fn belongs_to(&self, shared: &Arc<SharedSpool>) -> bool {
        Arc::ptr_eq(&self.shared, shared)
    }
}

impl Memory {
    fn extend(&mut self, octets: &[u8]) {
        self.octets.extend_from_slice(octets);
        self.count();
    }

    fn take(&mut self) -> Vec<u8> {
        let octets = std::mem::take(&mut self.octets);
        self.count();
        octets
    }

    fn count(&mut self) {
        let now = self.octets.len() as u64;
        // Wraps around where it has become less, which adds up all the same.
        self.shared.draft_memory.fetch_add(now.wrapping_sub(self.counted), Ordering::Relaxed);
        self.counted = now;
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        drop(self.take());
    }
}

impl Spilled {
    async fn create(shared: Arc<SharedSpool>, id: QueueId, whose: Submitter) -> Result<Spilled, CommitError> {
        let name = LargeName { shared: Arc::clone(&shared), id, keep: false };
        let sum = shared.spool.payload_sum(&[]);
        let (path, unfinished) = (shared.paths.large(id), Arc::clone(&shared.unfinished));
        let file = off_thread(path.clone(), move || shared.fs.create(&path)).await?;
        let is_submitted = whose != Submitter::Ourselves;
        let place = is_submitted.then(|| unfinished.begin(id, whose, Arc::clone(&file), Instant::now()));
        Ok(Spilled { name, file, place, length: 0, sum })
    }

    async fn append(&mut self, octets: Vec<u8>) -> Result<(), CommitError> {
        if let Some(place) = &self.place {
            let shared = &self.name.shared;
            let usable = shared.room.free_space()?.saturating_sub(shared.options.min_free_space);
            place.grow(octets.len() as u64, usable, Instant::now())?;
        }
        self.sum = crc32c::crc32c_append(self.sum, &octets);
        let (file, offset) = (Arc::clone(&self.file), self.length);
        self.length += octets.len() as u64;
        off_thread(self.name.path(), move || write_all_at(&*file, &octets, offset)).await
    }

    async fn finish(self) -> Result<(Large, LargeName), CommitError> {
        // From here on it is not unfinished.
        let Spilled { name, file, length, sum, .. } = self;
        let (shared, id) = (Arc::clone(&name.shared), name.id);
        let is_there = off_thread(name.path(), move || {
            file.sync_data()?;
            shared.fs.sync_dir(&shared.paths.large)?;
            leads_to(&*shared.fs, &shared.paths.large(id), &*file)
        })
        .await?;
        // Removed under us: a record would name what nobody can read.
        if !is_there {
            return Err(CommitError::Astray);
        }
        Ok((Large { length, sum }, name))
    }
}

impl LargeName {
    fn path(&self) -> PathBuf {
        self.shared.paths.large(self.id)
    }

    /// Keeps the file, since a record names it now.
    pub fn keep(mut self) {
        self.keep = true;
    }
}

impl Drop for LargeName {
    fn drop(&mut self) {
        if !self.keep {
            self.shared.stock.unlink_large(self.id);
        }
    }
}

/// Does `work` on the file at `path` on a thread that may block. The log says what the system answers, unless that is that
/// the disk is full; the client gets less detail.
async fn off_thread<T: Send + 'static>(
    path: PathBuf,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, CommitError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| {
            let refused = CommitError::from(error.kind());
            if refused == CommitError::Trouble {
                log::spool_large(&path, &error);
            }
            refused
        }),
        // The runtime is shutting down, or the work panicked.
        Err(_) => Err(CommitError::Trouble),
    }
}
