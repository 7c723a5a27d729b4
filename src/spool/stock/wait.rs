//! Waits for the thread of the stock: for a segment, for a piece of it, or until something is removed.
//!
//! Promise: nobody waits for a thread that has ended (`stock.rs`, promise 8).

use std::io::{self, ErrorKind};
use std::sync::{Condvar, MutexGuard, PoisonError};
use std::time::Instant;

use super::{Shelf, Stock};
use crate::spool::segment::ReadySegment;
use crate::spool::space::{Made, SegmentSize};

impl Stock {
    /// Hands out the next segment. While it is not ready, waits until it is, or until an attempt that begins from now on has
    /// failed.
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

    /// Requests the octets of the next segment that `due` returns, and waits until they are made or cannot be had.
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

    /// Waits until no segment is on its way out, or one cannot go now.
    pub(super) fn wait_for_disposal(&self) {
        let mut shelf = self.shelf();
        while shelf.lets_segment_go(self.now()) && !shelf.closing {
            shelf = self.pause(&self.change, shelf, None);
        }
    }

    /// Waits for this signal, but no longer than `until`; it may return earlier. In a test whose threads take turns, it gives
    /// the turn away.
    pub(super) fn pause<'a>(
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

    /// Returns the time; in a test whose threads take turns it is theirs.
    pub(super) fn now(&self) -> Instant {
        #[cfg(test)]
        if let Some(turns) = self.fs.turns() {
            return turns.now();
        }
        Instant::now()
    }
}
