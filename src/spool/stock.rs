//! The stock: the next segment, made ready before it is needed, and segments and large files let go.
//!
//! A commit that overwrites blocks which exist costs the disk one write; one that extends a file
//! costs a journal commit as well. So one thread makes the next segment ready, zero-filled and synced, in pieces, as the
//! active one is used. The room of the first one of a start is only reserved (`stock/make.rs`).
//!
//! Promises
//! 1. A segment is handed out only when its octets, its length and its name are synced: those of each piece are before
//!    the piece counts.
//! 2. Segments are let go in the order they are given up, each durably gone (renamed or unlinked, and
//!    the directory synced) before the next. Segment 2 may hold the record that settles a message in
//!    segment 1: if 1 came back after 2 was gone, that message would be delivered again.
//! 3. Whatever fails is tried again, letting go after a pause, making ready when a segment is wanted again; it
//!    costs room, never a message.
//! 4. A segment that is let go is reused under the next name where the next one is shorter, and large files go before
//!    more of it is made; what is freed on a full disk, and not reused, is written to it at once. So a full disk that
//!    drains feeds itself.
//! 5. No piece is made before it is due (`space.rs`): what a spool holds says how much of the next segment it has ready.
//!    Behind a segment just begun, one is likely to be let go (`clean.rs`), and to make another meanwhile would take
//!    room for nothing.
//! 6. Pieces are small, and each is synced: a commit that comes meanwhile, or has outrun this thread, waits for one
//!    piece at most.
//! 7. Outcomes, and a start, get a segment as large as the disk has room for ([`SegmentSize::Any`]), since what they
//!    record may make room. Messages never do; for them nothing is written where the whole does not fit. What was
//!    made before the disk was full stays.
//! 8. Nobody waits for a thread that has ended, in order or by a panic: to wait is an error then.
//!
//! Not here: a piece (`stock/make.rs`), a file that becomes the next segment under a new name (`stock/reuse.rs`), when a
//! segment is dead (`index.rs`), who may take one (`space.rs`), headers (`segment.rs`).

use std::io::{self, ErrorKind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::entry::CommitError;
use super::fs::{Fs, unlink_if_there};
use super::paths::SpoolPaths;
use super::segment::ReadySegment;
use super::space::{Made, Readiness, SegmentSize};
use crate::log;
use crate::queue_id::QueueId;

mod disposal;
mod known_room;
mod make;
mod reuse;
mod supply;

use disposal::{Discarded, Disposal};
use known_room::KnownRoom;
use supply::{SegmentPiece, Supply};

/// The next segment, and what is to be removed. One thread of its own runs [`Stock::work`].
pub(super) struct Stock {
    fs: Arc<dyn Fs>,
    paths: SpoolPaths,
    /// The most octets that a segment may have to be reused.
    largest: u64,
    shelf: Mutex<Shelf>,
    /// Signalled when the thread has work.
    work: Condvar,
    /// Signalled when a piece was made, a segment is gone, or an attempt at either failed.
    change: Condvar,
}

struct Shelf {
    supply: Supply,
    disposal: Disposal,
    known_room: KnownRoom,
    /// The thread has ended, or is to end: no segment is made any more.
    closing: bool,
}

/// Closes the stock when its thread ends, however it ends.
struct Closes<'a>(&'a Stock);

impl Drop for Closes<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

#[derive(Clone)]
enum StockTask {
    LetGo(Discarded),
    Make(SegmentPiece),
}

impl Stock {
    /// An empty stock whose first segment is to be `next` and to have `size` octets, and none more than `largest`.
    pub fn new(fs: Arc<dyn Fs>, paths: SpoolPaths, largest: u64, next: u32, size: u64) -> Self {
        let shelf = Shelf {
            supply: Supply::new(next, size),
            disposal: Disposal::default(),
            known_room: KnownRoom::default(),
            closing: false,
        };
        let (shelf, work, change) = (Mutex::new(shelf), Condvar::new(), Condvar::new());
        Stock { fs, paths, largest, shelf, work, change }
    }

    /// The next segment; while it is not ready, waits until it is whole, or an attempt that begins from now on fails.
    pub fn take(&self, wanted: SegmentSize) -> Result<ReadySegment, ErrorKind> {
        let mut shelf = self.wait(wanted, |made| made.size);
        let trouble = shelf.supply.trouble().map_or(ErrorKind::Other, io::Error::kind);
        let taken = shelf.supply.take(wanted).ok_or(trouble);
        if taken.is_ok() {
            shelf.known_room.forget();
        }
        taken
    }

    /// Waits until there is one more piece of the next segment, unless that is ready.
    pub fn wait_for_piece(&self) -> Result<(), ErrorKind> {
        let mut before = 0;
        let shelf = self.wait(SegmentSize::Whole, |made| {
            before = made.octets;
            before + 1
        });
        let made = shelf.supply.made();
        if made.is_ready() || made.octets > before {
            return Ok(());
        }
        Err(shelf.supply.trouble().map_or(ErrorKind::Other, io::Error::kind))
    }

    /// What there is of the next segment.
    pub fn made(&self) -> Made {
        self.shelf().supply.made()
    }

    /// From now on the next segment is to have `size` octets.
    pub fn set_size(&self, size: u64) {
        self.shelf().supply.set_size(size);
    }

    /// Has the room of the next segment reserved, in place of zeros that are written to all of it, where that can be
    /// done: it is whole after one piece.
    pub fn reserve_next(&self) {
        self.shelf().supply.reserve();
    }

    /// Whether the disk has room for `octets`, or was found to have it for the piece that is being made. An attempt of
    /// which that is not known yet is no answer: on a full disk it fails, and until then nothing would be moved.
    pub fn has_room(&self, octets: u64) -> bool {
        if self.shelf().supply.has_room() {
            return true;
        }
        // Where the disk does not tell, the attempt will.
        let is_full = self.fs.free_space(&self.paths.segments).is_ok_and(|free| free < octets);
        !is_full && self.gives_room(octets)
    }

    /// As [`Fs::has_room`]: whoever may not trust the free space asks, for half a millisecond, once in a while.
    fn gives_room(&self, octets: u64) -> bool {
        let known = self.shelf().known_room.get(octets, self.now());
        known.unwrap_or_else(|| self.ask_for_room(octets).unwrap_or(true))
    }

    fn ask_for_room(&self, octets: u64) -> io::Result<bool> {
        let changes = self.shelf().known_room.changes;
        let gives = self.fs.has_room(&self.paths.segments, octets)?;
        self.shelf().known_room.learn(changes, (self.now(), octets, gives));
        Ok(gives)
    }

    /// How it stands with the next segment; it cannot be made if the last attempt found no room, or the next one will.
    /// What is on its way out is waited for before that is said: it may be the next one.
    pub fn next(&self) -> Readiness {
        let known = self.known_of_next();
        if known != Readiness::Impossible || !self.wait_for_disposal() {
            return known;
        }
        self.known_of_next()
    }

    fn known_of_next(&self) -> Readiness {
        let found_none = self.trouble().map(CommitError::from) == Some(CommitError::Full);
        let made = self.made();
        match made.is_ready() {
            true => Readiness::Ready,
            false if found_none || !self.has_room(made.rest()) => Readiness::Impossible,
            false => Readiness::Possible,
        }
    }

    fn wait(&self, wanted: SegmentSize, due: impl FnOnce(Made) -> u64) -> MutexGuard<'_, Shelf> {
        let mut shelf = self.shelf();
        let due = due(shelf.supply.made());
        if shelf.supply.made().octets < due {
            shelf.supply.ask(wanted, due);
            self.work.notify_one();
        }
        while shelf.supply.is_undecided(due) && !shelf.closing {
            shelf = self.pause(&self.change, shelf, None);
        }
        shelf
    }

    /// Waits until no segment is on its way out, or one cannot go now; returns whether there was one.
    fn wait_for_disposal(&self) -> bool {
        let mut shelf = self.shelf();
        let mut has_waited = false;
        while shelf.lets_segment_go(self.now()) && !shelf.closing {
            has_waited = true;
            shelf = self.pause(&self.change, shelf, None);
        }
        has_waited
    }

    /// Waits for this signal, no longer than `until`; it may return before. In a test whose threads take turns, it gives
    /// the turn away.
    fn pause<'a>(
        &'a self,
        signal: &Condvar,
        shelf: MutexGuard<'a, Shelf>,
        until: Option<Instant>,
    ) -> MutexGuard<'a, Shelf> {
        #[cfg(test)]
        if let Some(turns) = self.fs.turns() {
            drop(shelf);
            turns.wait();
            return self.lock();
        }
        match until {
            None => signal.wait(shelf).unwrap_or_else(PoisonError::into_inner),
            Some(until) => {
                let pause = until.saturating_duration_since(self.now());
                signal.wait_timeout(shelf, pause).unwrap_or_else(PoisonError::into_inner).0
            }
        }
    }

    /// The time; where threads take turns, theirs.
    fn now(&self) -> Instant {
        #[cfg(test)]
        if let Some(turns) = self.fs.turns() {
            return turns.now();
        }
        Instant::now()
    }

    /// Has the thread make the next segment up to `due` octets.
    pub fn replenish(&self, due: u64) {
        let is_news = self.shelf().supply.want(due);
        if is_news {
            self.work.notify_one();
        }
    }

    /// Forgets what was made ready, and why nothing could be: the spool's directories are new.
    pub fn start_anew(&self) {
        let mut shelf = self.shelf();
        if let Some(sequence) = shelf.supply.start_anew() {
            shelf.disposal.add(Discarded::Segment(sequence));
        }
        shelf.disposal.start_anew();
        shelf.known_room.forget();
    }

    /// Why the last attempt to make a segment ready failed, if it did.
    pub fn trouble(&self) -> Option<ErrorKind> {
        self.shelf().supply.trouble().map(io::Error::kind)
    }

    /// The same, as the system said it; from then on it is not known any more.
    pub fn take_trouble(&self) -> Option<io::Error> {
        self.shelf().supply.take_trouble()
    }

    /// Gives up a segment in which nothing lives; called oldest first.
    pub fn let_go(&self, sequence: u32) {
        self.discard(Discarded::Segment(sequence));
    }

    /// Gives up the content of a message that is settled, or was never committed.
    pub fn unlink_large(&self, id: QueueId) {
        self.discard(Discarded::Large(id));
    }

    fn discard(&self, discarded: Discarded) {
        let mut shelf = self.shelf();
        shelf.disposal.add(discarded);
        // What failed for want of room may succeed now.
        shelf.supply.gains_room();
        shelf.known_room.gains();
        drop(shelf);
        self.work.notify_one();
    }

    /// Ends [`Stock::work`] when what is to be let go is gone, or cannot go now: recovery finds it again.
    pub fn close(&self) {
        self.shelf().closing = true;
        #[cfg(test)]
        self.fs.turns().into_iter().for_each(|turns| turns.end());
        self.work.notify_one();
        self.change.notify_all();
    }

    /// Makes segments and removes files until [`Stock::close`] is called; the thread runs this.
    pub fn work(&self) {
        let _closes = Closes(self);
        while let Some(task) = self.next_task() {
            if let Err(e) = self.perform(&task) {
                self.failed(&task, &e);
            }
        }
    }

    fn next_task(&self) -> Option<StockTask> {
        let mut shelf = self.shelf();
        loop {
            if let Some(task) = shelf.next_task(self.now()) {
                return Some(task);
            }
            if shelf.closing {
                return None;
            }
            let until = shelf.disposal.stuck_until();
            shelf = self.pause(&self.work, shelf, until);
        }
    }

    fn perform(&self, task: &StockTask) -> io::Result<()> {
        match *task {
            StockTask::Make(ref piece) => return self.make(piece),
            StockTask::LetGo(discarded @ Discarded::Segment(sequence)) => {
                self.recycle_or_unlink(sequence)?;
                self.shelf().disposal.is_gone(discarded);
                self.change.notify_all();
            }
            StockTask::LetGo(discarded @ Discarded::Large(id)) => {
                // Its directory is not synced: should the file come back, recovery finds that no
                // message names it.
                unlink_if_there(&*self.fs, &self.paths.large(id))?;
                self.shelf().disposal.is_gone(discarded);
            }
        }
        Ok(())
    }

    fn put(&self, made: ReadySegment) {
        self.shelf().supply.put(made);
        self.change.notify_all();
    }

    fn failed(&self, task: &StockTask, error: &io::Error) {
        let is_news = match task {
            StockTask::Make(piece) => {
                let is_there = self.withdraw(piece, error);
                let is_news = self.shelf().supply.fail(copy_of(error), is_there);
                self.change.notify_all();
                is_news
            }
            StockTask::LetGo(_) => {
                self.shelf().disposal.is_stuck(self.now());
                self.change.notify_all();
                true
            }
        };
        if is_news {
            log::spool_stock(&self.paths.segments, error);
        }
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        #[cfg(test)]
        self.fs.turns().into_iter().for_each(|turns| turns.may_change());
        self.lock()
    }

    /// The shelf, without a chance for another thread to have its turn first.
    fn lock(&self) -> MutexGuard<'_, Shelf> {
        // Each change to the shelf is one assignment or push: it is whole even if a holder panicked.
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf {
    /// Whether a segment is on its way out, or can be.
    fn lets_segment_go(&mut self, now: Instant) -> bool {
        matches!(self.disposal.next(now), Some(Discarded::Segment(_)))
    }

    /// What makes room comes first; segments let go are reused.
    fn next_task(&mut self, now: Instant) -> Option<StockTask> {
        if let Some(discarded) = self.disposal.next(now) {
            return Some(StockTask::LetGo(discarded));
        }
        if self.closing { None } else { self.supply.begin().map(StockTask::Make) }
    }
}

/// The same error once more: the system's number, and with it its words, is kept.
fn copy_of(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(number) => io::Error::from_raw_os_error(number),
        None => error.kind().into(),
    }
}

#[cfg(test)]
mod tests;
