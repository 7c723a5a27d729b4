//! Gives a file a new name, under which it is the next segment: a segment that is let go, or what the run before had made
//! of its next one.
//!
//! Promises
//! 1. No record was ever written under the new number, so that nothing in the file parses as one (`format.rs`,
//!    promise 1).
//! 2. The file counts only when its octets, its length and both names are synced.
//! 3. What the run before had made is used only where it has no other name and the disk has room for every octet of it:
//!    a crash may leave two names of a renamed file, or a file whose octets were never written. Any other is removed.
//! 4. On a full disk, room that is freed and not reused is filled with the next segment at once, so that nobody else takes
//!    it.
//!
//! Fails: the file is let go later, or the start fails; no message is lost by it.
//!
//! Not here: when a segment is dead (`index.rs`), which file never became a segment (`recover.rs`).

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::Stock;
use crate::spool::fs::{File, unlink_if_there};
use crate::spool::segment::ReadySegment;
use crate::spool::space::{self, SMALLEST};

impl Stock {
    /// Takes over the file with this number, which the run before had made for its next segment; called before the thread
    /// runs.
    pub fn take_over(&self, left: u32) -> io::Result<()> {
        let old = self.paths.segment(left);
        let Some((next, _)) = self.shelf().supply.reuse() else { return Ok(()) };
        let taken = match self.usable(&old) {
            Some((file, length)) => {
                self.rename_to_next(&old, ReadySegment { sequence: next, file, length, written: length })
            }
            None => self.remove(&old),
        };
        self.shelf().supply.end_reuse();
        taken
    }

    /// Returns the file at `path` and its length, if it may be taken over. It is shortened to the size that the next segment
    /// is to have, unless the disk is full.
    fn usable(&self, path: &Path) -> Option<(Arc<dyn File>, u64)> {
        let file = self.fs.open(path).ok()?;
        let facts = file.facts().ok()?;
        let size = self.made().size;
        let is_too_long = facts.length > size && self.has_room(facts.length);
        let length = if is_too_long { size } else { space::whole_blocks(facts.length) };
        if facts.links != 1 || length < SMALLEST || length > self.largest {
            return None;
        }
        if length < facts.length {
            file.truncate(length).ok()?;
        }
        file.reserve(length).ok()?;
        file.sync_data().ok()?;
        Some((file, length))
    }

    /// Lets a segment go: it becomes the next one, or it is removed.
    pub(super) fn recycle_or_unlink(&self, sequence: u32) -> io::Result<()> {
        let next = {
            let mut shelf = self.shelf();
            if shelf.closing { None } else { shelf.supply.reuse() }
        };
        let gone = self.recycle_as(next, &self.paths.segment(sequence));
        self.shelf().supply.end_reuse();
        self.change.notify_all();
        gone
    }

    /// Gives the segment at `old` the next name, if it is of use there, or removes it.
    fn recycle_as(&self, next: Option<(u32, u64)>, old: &Path) -> io::Result<()> {
        match next.and_then(|(next, made)| Some((next, made, self.reusable(old, made).ok()??))) {
            Some((next, made, (file, length))) => {
                // From here on what was made may have no name any more.
                self.shelf().supply.forget();
                self.rename_to_next(old, ReadySegment { sequence: next, file, length, written: length })?;
                self.claim(made);
            }
            None => {
                let length = self.fs.facts(old).map_or(0, |facts| facts.length);
                self.remove(old)?;
                self.claim(length);
            }
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        unlink_if_there(&*self.fs, path)?;
        self.fs.sync_dir(&self.paths.segments)
    }

    fn rename_to_next(&self, old: &Path, next: ReadySegment) -> io::Result<()> {
        self.fs.rename(old, &self.paths.segment(next.sequence))?;
        self.fs.sync_dir(&self.paths.segments)?;
        self.put(next);
        Ok(())
    }

    /// Requests that the next segment is made longer by the `freed` octets, if the disk is full otherwise.
    pub fn claim(&self, freed: u64) {
        let rest = self.made().rest();
        // If the disk gives no answer, nothing is lost: somebody will ask for the segment.
        if rest > 0 && freed > 0 && !self.ask_for_room(rest).unwrap_or(true) {
            self.shelf().supply.claim(freed);
        }
    }

    /// Returns the segment at `path` and its length, if it has more octets than `more_than` and may be reused. It is synced
    /// then.
    fn reusable(&self, path: &Path, more_than: u64) -> io::Result<Option<(Arc<dyn File>, u64)>> {
        let file = self.fs.open(path)?;
        let length = file.length()?;
        if length <= more_than || length < SMALLEST || length > self.largest {
            return Ok(None);
        }
        file.sync_data()?;
        Ok(Some((file, length)))
    }
}
