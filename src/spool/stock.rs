//! The stock: the next segment, made ready before it is needed, and segments and large files let go.
//!
//! A commit that overwrites blocks which exist costs the disk one write; one that extends a file
//! costs a journal commit as well. So one thread keeps a segment ready, zero-filled and synced.
//!
//! Promises
//! 1. A segment is handed out only when its octets, its length and its name are synced.
//! 2. Segments are let go in the order they are given up, each durably gone (renamed or unlinked, and
//!    the directory synced) before the next. Segment 2 may hold the record that settles a message in
//!    segment 1: if 1 came back after 2 was gone, that message would be delivered again.
//! 3. Whatever fails is tried again, letting go after a pause, making ready when a segment is wanted again; it
//!    costs room, never a message.
//! 4. A segment that is let go is reused under the next name where none is ready, and large files go before a new
//!    one is made; so a full disk that drains feeds itself.
//! 5. A new one is made only when the writer wants it: behind a segment just begun, one is likely to be
//!    let go (`clean.rs`), and to make another meanwhile would take room for nothing.
//! 6. Zeros are written in small pieces, each synced: who syncs the log meanwhile waits for one of them. Where
//!    only outcomes are recorded, two thirds of the time are theirs.
//! 7. Outcomes, and a start, get a segment as large as the disk has room for ([`Size::Any`]), since what they
//!    record may make room. Messages never do.
//! 8. Nobody waits for a thread that has ended, in order or by a panic: to wait is an error then.
//!
//! Not here: when a segment is dead (`index.rs`), who may take one (`space.rs`), headers (`segment.rs`).

use std::io::{self, ErrorKind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::entry::CommitError;
use super::fs::{Fs, write_all_at};
use super::place::Places;
use super::presence::leads_to;
use super::segment::Ready;
use super::space::{self, Next, Size};
use crate::log;
use crate::queue_id::QueueId;

mod disposal;
mod supply;

use disposal::{Discarded, Disposal};
use supply::Supply;

/// How long it is believed that the disk gives room, or does not, when nothing is known to have changed.
const ROOM_IS_KNOWN_FOR: Duration = Duration::from_secs(1);
/// What is written and synced at a time.
static ZEROS: [u8; 1 << 18] = [0; 1 << 18];

/// See the module. The thread runs [`Stock::work`].
pub(super) struct Stock {
    fs: Arc<dyn Fs>,
    places: Places,
    segment_size: u64,
    shelf: Mutex<Shelf>,
    /// Told when there is something to do.
    work: Condvar,
    /// Told when the shelf has changed.
    change: Condvar,
}

struct Shelf {
    supply: Supply,
    disposal: Disposal,
    known_room: KnownRoom,
    /// Nobody makes segments any more, or soon nobody will.
    closing: bool,
}

/// Whether the disk gave room for another segment when it was asked last, and when that was.
#[derive(Default)]
struct KnownRoom(Option<(Instant, bool)>);

impl KnownRoom {
    fn get(&self) -> Option<bool> {
        self.0.filter(|(asked, _)| asked.elapsed() < ROOM_IS_KNOWN_FOR).map(|(_, gave)| gave)
    }

    /// Where there was room there is; where there was none, there may be some now.
    fn gains(&mut self) {
        self.0 = self.0.filter(|(_, gave)| *gave);
    }
}

/// Closes the stock when its thread ends, however it ends.
struct Closes<'a>(&'a Stock);

impl Drop for Closes<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

#[derive(Clone, Copy)]
enum Task {
    LetGo(Discarded),
    MakeReady(u32),
}

impl Stock {
    /// An empty stock whose first segment is to be `next`.
    pub fn new(fs: Arc<dyn Fs>, places: Places, segment_size: u64, next: u32) -> Self {
        let shelf = Shelf {
            supply: Supply::new(next),
            disposal: Disposal::default(),
            known_room: KnownRoom::default(),
            closing: false,
        };
        let (shelf, work, change) = (Mutex::new(shelf), Condvar::new(), Condvar::new());
        Stock { fs, places, segment_size, shelf, work, change }
    }

    /// The next segment; waits as [`Stock::wait_for_ready`] does.
    pub fn take(&self, size: Size) -> Result<Ready, ErrorKind> {
        self.ready_shelf(size)?.supply.take().ok_or(ErrorKind::Other)
    }

    /// Returns when a segment is ready; while none is, waits for one attempt to make one that begins from now on.
    pub fn wait_for_ready(&self) -> Result<(), ErrorKind> {
        self.ready_shelf(Size::Usual).map(drop)
    }

    /// Whether a segment is ready.
    pub fn is_ready(&self) -> bool {
        self.shelf().supply.is_ready()
    }

    /// Whether the disk has room for one more segment than there are, or had it and one is being made.
    pub fn has_room(&self) -> bool {
        if self.shelf().supply.is_making() {
            return true;
        }
        // Where the disk does not tell, the attempt will.
        let is_full = self.fs.free_space(&self.places.log).is_ok_and(|free| free < self.segment_size);
        !is_full && self.gives_room()
    }

    /// As [`Fs::has_room`]: whoever may not trust the free space asks, for half a millisecond, once in a while.
    fn gives_room(&self) -> bool {
        let known = self.shelf().known_room.get();
        if let Some(gave) = known {
            return gave;
        }
        let gives = self.fs.has_room(&self.places.log, self.segment_size).unwrap_or(true);
        self.shelf().known_room = KnownRoom(Some((Instant::now(), gives)));
        gives
    }

    /// How it stands with the next segment; it cannot be made if the last attempt found no room, or the next one will.
    pub fn next(&self) -> Next {
        let found_none = self.trouble().map(CommitError::from) == Some(CommitError::Full);
        match self.is_ready() {
            true => Next::Ready,
            false if found_none || !self.has_room() => Next::Impossible,
            false => Next::Possible,
        }
    }

    fn ready_shelf(&self, size: Size) -> Result<MutexGuard<'_, Shelf>, ErrorKind> {
        let mut shelf = self.shelf();
        if !shelf.supply.is_ready() {
            shelf.supply.ask(size);
            self.work.notify_one();
        }
        let short = |shelf: &mut Shelf| shelf.supply.is_undecided() && !shelf.closing;
        shelf.supply.set_awaited(true);
        let mut shelf = self.change.wait_while(shelf, short).unwrap_or_else(PoisonError::into_inner);
        shelf.supply.set_awaited(false);
        match shelf.supply.is_ready() {
            true => Ok(shelf),
            false => Err(shelf.supply.trouble().map_or(ErrorKind::Other, io::Error::kind)),
        }
    }

    /// Has the segment that is being made, if one is, made at full speed: mail comes in.
    pub fn hurry(&self) {
        self.shelf().supply.hurry();
    }

    /// Has a segment made, when none is ready.
    pub fn replenish(&self) {
        let is_news = self.shelf().supply.want();
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
        shelf.known_room = KnownRoom::default();
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
        self.work.notify_one();
        self.change.notify_all();
    }

    /// What the thread does, until [`Stock::close`].
    pub fn work(&self) {
        let _closes = Closes(self);
        while let Some(task) = self.next_task() {
            if let Err(e) = self.perform(task) {
                self.failed(task, &e);
            }
        }
    }

    fn next_task(&self) -> Option<Task> {
        let mut shelf = self.shelf();
        loop {
            if let Some(task) = shelf.next_task(Instant::now()) {
                return Some(task);
            }
            if shelf.closing {
                return None;
            }
            shelf = match shelf.disposal.stuck_until() {
                None => self.work.wait(shelf).unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let pause = until.saturating_duration_since(Instant::now());
                    self.work.wait_timeout(shelf, pause).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    fn perform(&self, task: Task) -> io::Result<()> {
        match task {
            Task::MakeReady(sequence) => return self.make_ready(sequence),
            Task::LetGo(discarded @ Discarded::Segment(sequence)) => {
                self.recycle_or_unlink(sequence)?;
                self.shelf().disposal.is_gone(discarded);
            }
            Task::LetGo(discarded @ Discarded::Large(id)) => {
                // Its directory is not synced: should the file come back, recovery finds that no
                // message names it.
                unlink(&*self.fs, &self.places.large(id))?;
                self.shelf().disposal.is_gone(discarded);
            }
        }
        Ok(())
    }

    fn recycle_or_unlink(&self, sequence: u32) -> io::Result<()> {
        let old = self.places.segment(sequence);
        let next = {
            let shelf = self.shelf();
            shelf.supply.reusable_as().filter(|_| !shelf.closing)
        };
        let reusable =
            || self.fs.open(&old).and_then(|file| Ok((file.length()? == self.segment_size).then_some(file)));
        match next.and_then(|next| Some((next, reusable().ok()??))) {
            Some((next, file)) => {
                self.fs.rename(&old, &self.places.segment(next))?;
                self.fs.sync_dir(&self.places.log)?;
                self.put(Ready { sequence: next, file, length: self.segment_size });
            }
            None => {
                unlink(&*self.fs, &old)?;
                self.fs.sync_dir(&self.places.log)?;
            }
        }
        Ok(())
    }

    fn make_ready(&self, sequence: u32) -> io::Result<()> {
        let path = self.places.segment(sequence);
        // Left there by a rename or an attempt whose directory sync failed; nobody was given it.
        unlink(&*self.fs, &path)?;
        let filled = self.fill(sequence);
        if filled.is_err() {
            // Half a segment helps nobody; if it cannot be unlinked, the next attempt will.
            let _ = self.fs.unlink(&path);
        }
        self.put(filled?);
        Ok(())
    }

    /// The octets that the next segment may have.
    fn room(&self) -> io::Result<u64> {
        let size = self.shelf().supply.size();
        let free = self.fs.free_space(&self.places.log)?;
        for octets in space::sizes(size, self.segment_size, free) {
            if self.fs.has_room(&self.places.log, octets)? {
                return Ok(octets);
            }
        }
        Err(ErrorKind::StorageFull.into())
    }

    fn fill(&self, sequence: u32) -> io::Result<Ready> {
        let size = self.room()?;
        let file = self.fs.create(&self.places.segment(sequence))?;
        let mut filled = 0;
        while filled < size {
            let (length, begun) = ((size - filled).min(ZEROS.len() as u64), Instant::now());
            write_all_at(&*file, &ZEROS[..length as usize], filled)?;
            file.sync_data()?;
            filled += length;
            if !self.shelf().takes_haste() {
                std::thread::sleep(2 * begun.elapsed());
            }
        }
        self.fs.sync_dir(&self.places.log)?;
        // Made in a directory that is being removed.
        if !leads_to(&*self.fs, &self.places.segment(sequence), &*file)? {
            return Err(ErrorKind::NotFound.into());
        }
        Ok(Ready { sequence, file, length: size })
    }

    fn put(&self, ready: Ready) {
        let mut shelf = self.shelf();
        shelf.supply.put(ready);
        shelf.known_room = KnownRoom::default();
        self.change.notify_all();
    }

    fn failed(&self, task: Task, error: &io::Error) {
        let mut shelf = self.shelf();
        let is_news = match task {
            Task::MakeReady(_) => {
                let is_news = shelf.supply.fail(copy_of(error));
                self.change.notify_all();
                is_news
            }
            Task::LetGo(_) => {
                shelf.disposal.is_stuck(Instant::now());
                true
            }
        };
        drop(shelf);
        if is_news {
            log::spool_stock(&self.places.log, error);
        }
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        // Each change to the shelf is one assignment or push: it is whole even if a holder panicked.
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf {
    /// Whether the next piece of a segment is wanted at once; a stop waits for all of them.
    fn takes_haste(&mut self) -> bool {
        self.supply.takes_haste() || self.closing
    }

    /// What makes room comes first; segments let go are reused.
    fn next_task(&mut self, now: Instant) -> Option<Task> {
        if let Some(discarded) = self.disposal.next(now) {
            return Some(Task::LetGo(discarded));
        }
        if self.closing { None } else { self.supply.begin().map(Task::MakeReady) }
    }
}

/// The same error once more: the system's number, and with it its words, is kept.
fn copy_of(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(number) => io::Error::from_raw_os_error(number),
        None => error.kind().into(),
    }
}

/// As [`Fs::unlink`]; what is gone already is fine.
pub(super) fn unlink(fs: &dyn Fs, path: &std::path::Path) -> io::Result<()> {
    match fs.unlink(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
