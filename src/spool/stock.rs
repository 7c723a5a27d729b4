//! The stock: it makes the next segment ready before that is needed, and removes segments and large files.
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
//! 5. No piece is made before it is due (`space.rs`). Soon after a segment was begun, an old one is likely to be let go
//!    (`clean.rs`), and to make another one meanwhile would take room for nothing.
//! 6. Pieces are small, and each is synced: a commit that comes while one is made waits for no more than that piece.
//! 7. Outcomes, and a start, get a segment as large as the disk has room for (`SegmentSize::Any`), since what they
//!    record may make room. Messages never do; for them nothing is written where the whole does not fit. What was
//!    made before the disk was full stays.
//! 8. Nobody waits for a thread that has ended, in order or by a panic: to wait is an error then.
//!
//! Not here: waiting (`stock/wait.rs`), a piece (`stock/make.rs`), a file that becomes the next segment under a new name
//! (`stock/reuse.rs`), when a segment is dead (`index.rs`), who may take one (`space.rs`), headers (`segment.rs`).

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::entry::CommitError;
use super::fs::{Fs, unlink_if_there};
use super::paths::SpoolPaths;
use super::segment::ReadySegment;
use super::space::{Made, Readiness};
use crate::log;
use crate::queue_id::QueueId;

mod disposal;
mod known_room;
mod make;
mod reuse;
mod supply;
mod wait;

use disposal::{Discarded, Disposal};
use known_room::KnownRoom;
use supply::{SegmentPiece, Supply};

/// Holds the next segment and what is to be removed. A thread of its own runs [`Stock::work`].
pub(super) struct Stock {
    fs: Arc<dyn Fs>,
    paths: SpoolPaths,
    /// The number of octets above which a segment is not reused.
    largest: u64,
    shelf: Mutex<Shelf>,
    /// Signalled when the thread has work.
    work: Condvar,
    /// Signalled when a piece was made, a segment is gone, or an attempt at either failed.
    change: Condvar,
}

/// The state that the thread of the stock and the writer share, under one lock.
struct Shelf {
    supply: Supply,
    disposal: Disposal,
    known_room: KnownRoom,
    /// The number of steps that the thread has taken: behind each, [`Stock::next`] may have another answer.
    steps: u64,
    /// True if the thread has ended or is to end: no segment is made any more.
    closing: bool,
}

/// Closes the stock when its thread ends, however it ends.
struct Closes<'a>(&'a Stock);

impl Drop for Closes<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// The next task of the thread.
#[derive(Clone)]
enum StockTask {
    /// The thread removes this.
    LetGo(Discarded),
    /// The thread makes this piece of the next segment.
    Make(SegmentPiece),
}

impl Stock {
    /// Returns an empty stock. Its first segment is to have the number `next` and `size` octets; none with more than `largest`
    /// octets is reused.
    pub fn new(fs: Arc<dyn Fs>, paths: SpoolPaths, largest: u64, next: u32, size: u64) -> Self {
        let shelf = Shelf {
            supply: Supply::new(next, size),
            disposal: Disposal::default(),
            known_room: KnownRoom::default(),
            steps: 0,
            closing: false,
        };
        let (shelf, work, change) = (Mutex::new(shelf), Condvar::new(), Condvar::new());
        Stock { fs, paths, largest, shelf, work, change }
    }

    /// Returns the part of the next segment that is made.
    pub fn made(&self) -> Made {
        self.shelf().supply.made()
    }

    /// Says that the next segment is to have `size` octets.
    pub fn set_size(&self, size: u64) {
        self.shelf().supply.set_size(size);
    }

    /// Requests that the room of the next segment is reserved, if the file system can do that: then the segment is whole after
    /// one piece, and most of it is not written.
    pub fn reserve_next(&self) {
        self.shelf().supply.reserve();
    }

    /// Returns whether the disk has room for `octets`, or was found to have room for the piece that is being made. A
    /// piece of which that is not known yet is no answer: on a full disk it fails, and until then nothing would be
    /// moved.
    ///
    /// The disk is not asked if it gave so much room a short while ago: [`Stock::next`] looks behind each batch, and what it
    /// finds to be gone is not believed any more.
    pub fn has_room(&self, octets: u64) -> bool {
        let known = self.known_room(octets);
        known == Some(true) || self.look_for_room(octets)
    }

    /// Returns the same, and asks the disk in any case how much is free. The free space alone cannot be trusted, and
    /// [`Fs::has_room`], which can be, takes half a millisecond: so its answer is believed for a short while.
    fn look_for_room(&self, octets: u64) -> bool {
        if self.shelf().supply.has_room() {
            return true;
        }
        // If the disk does not say it, the attempt will show it.
        if self.fs.free_space(&self.paths.segments).is_ok_and(|free| free < octets) {
            self.shelf().known_room.forget();
            return false;
        }
        self.known_room(octets).unwrap_or_else(|| self.ask_for_room(octets).unwrap_or(true))
    }

    /// Returns whether the disk has room for `octets`; `None` if that is not known.
    fn known_room(&self, octets: u64) -> Option<bool> {
        self.shelf().known_room.get(octets, self.now())
    }

    fn ask_for_room(&self, octets: u64) -> io::Result<bool> {
        let changes = self.shelf().known_room.changes;
        let gives = self.fs.has_room(&self.paths.segments, octets)?;
        self.shelf().known_room.learn(changes, (self.now(), octets, gives));
        Ok(gives)
    }

    /// Returns whether there is, or can be, a next segment: it cannot be made if the last attempt found no room, or the next
    /// one would find none. Before it says so, it waits until what is being removed is gone, since that may become the next
    /// segment; and it looks again if the thread has gone on meanwhile.
    pub fn next(&self) -> Readiness {
        loop {
            let steps = self.shelf().steps;
            let readiness = self.readiness();
            if readiness != Readiness::Impossible {
                return readiness;
            }
            self.wait_for_disposal();
            if self.shelf().steps == steps {
                return readiness;
            }
        }
    }

    /// Returns the same as [`Stock::next`], as it is at this moment.
    fn readiness(&self) -> Readiness {
        let (made, found_none) = {
            let supply = &self.shelf().supply;
            let failure = supply.trouble().map(|error| CommitError::from(error.kind()));
            (supply.made(), failure == Some(CommitError::Full))
        };
        if made.is_ready() {
            Readiness::Ready
        } else if found_none || !self.look_for_room(made.rest()) {
            Readiness::Impossible
        } else {
            Readiness::Possible
        }
    }

    /// Lets the thread make the next segment up to `due` octets.
    pub fn replenish(&self, due: u64) {
        let is_news = self.shelf().supply.want(due);
        if is_news {
            self.work.notify_one();
        }
    }

    /// Forgets the segment that was made ready, and any failure, because the spool's directories are new.
    pub fn start_anew(&self) {
        let mut shelf = self.shelf();
        if let Some(sequence) = shelf.supply.start_anew() {
            shelf.disposal.add(Discarded::Segment(sequence));
        }
        shelf.disposal.start_anew();
        shelf.known_room.forget();
    }

    /// Returns the error with which the last attempt to make a piece failed, if it did, and forgets it.
    pub fn take_trouble(&self) -> Option<io::Error> {
        self.shelf().supply.take_trouble()
    }

    /// Queues a segment for removal in which nothing lives; it is called for the oldest one first.
    pub fn let_go(&self, sequence: u32) {
        self.discard(Discarded::Segment(sequence));
    }

    /// Queues the large file of a message for removal that is settled, or was never committed.
    pub fn unlink_large(&self, id: QueueId) {
        self.discard(Discarded::Large(id));
    }

    fn discard(&self, discarded: Discarded) {
        let mut shelf = self.shelf();
        shelf.disposal.add(discarded);
        // An attempt that failed for want of room may succeed now.
        shelf.supply.gains_room();
        shelf.known_room.gains();
        drop(shelf);
        self.work.notify_one();
    }

    /// Ends [`Stock::work`] as soon as what is to be removed is gone. What cannot go now is found by the next start.
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
                self.step(|shelf| shelf.disposal.is_gone(discarded));
            }
            StockTask::LetGo(discarded @ Discarded::Large(id)) => {
                // Its directory is not synced: should the file come back, recovery finds that no
                // message names it.
                unlink_if_there(&*self.fs, &self.paths.large(id))?;
                self.step(|shelf| shelf.disposal.is_gone(discarded));
            }
        }
        Ok(())
    }

    fn put(&self, made: ReadySegment) {
        self.step(|shelf| shelf.supply.put(made));
    }

    /// Takes a step of the thread, and wakes whoever waits for one.
    fn step<T>(&self, change: impl FnOnce(&mut Shelf) -> T) -> T {
        let mut shelf = self.shelf();
        shelf.steps += 1;
        let changed = change(&mut shelf);
        drop(shelf);
        self.change.notify_all();
        changed
    }

    fn failed(&self, task: &StockTask, error: &io::Error) {
        let is_news = match task {
            StockTask::Make(piece) => {
                let is_there = self.withdraw(piece, error);
                self.step(|shelf| shelf.supply.fail(copy_of(error), is_there))
            }
            StockTask::LetGo(_) => {
                let now = self.now();
                self.step(|shelf| shelf.disposal.is_stuck(now));
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

    /// Locks the shelf; in a test no other thread has its turn before that.
    fn lock(&self) -> MutexGuard<'_, Shelf> {
        // Each change to the shelf is one assignment or push: it is whole even if a holder panicked.
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf {
    /// Returns whether a segment is to be removed, and can be now.
    fn lets_segment_go(&mut self, now: Instant) -> bool {
        matches!(self.disposal.next(now), Some(Discarded::Segment(_)))
    }

    /// Returns the task of the thread now. Removal comes first, since segments that are let go are reused.
    fn next_task(&mut self, now: Instant) -> Option<StockTask> {
        if let Some(discarded) = self.disposal.next(now) {
            return Some(StockTask::LetGo(discarded));
        }
        if self.closing { None } else { self.supply.begin().map(StockTask::Make) }
    }
}

/// Returns a copy of an error, with the number that the system gave it, and so with its words.
fn copy_of(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(number) => io::Error::from_raw_os_error(number),
        None => error.kind().into(),
    }
}

#[cfg(test)]
mod tests;
