//! Says whether there is room for mail, and reports when there is none.
//!
//! Promises
//! 1. An episode without room is one WARN with the numbers, and one line when it is over. It is over when there is
//!    room again, whether or not somebody brings a message: the writer looks each second.
//! 2. A message that alone is too large for what is free is refused, and is no episode.
//!
//! Not here: refusing (`writer.rs`), content that is not whole yet (`unfinished.rs`).

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::entry::{CommitError, Options};
use super::fs::Fs;
use super::space::ROOM_IS_KNOWN_FOR;
use super::unfinished::Unfinished;
use crate::log;

/// The reason why no message is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shortage {
    /// Fewer octets are free than `queue.min-free-space` asks for.
    Disk { free: u64, needed: u64 },
    /// There are as many messages as `queue.max-messages` allows.
    Messages { most: u64 },
    /// The disk, or a quota, gave no room for a segment of so many octets.
    Segment { octets: u64 },
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Shortage::Disk { free, needed } => {
                write!(f, "{} free on its disk, {} needed (queue.min-free-space)", Mib(free), Mib(needed))
            }
            Shortage::Messages { most } => write!(f, "{most} messages in it (queue.max-messages)"),
            Shortage::Segment { octets } => {
                write!(f, "its disk, or a quota, gives no room for a segment of {}", Mib(octets))
            }
        }
    }
}

/// The space of a disk, in octets.
#[derive(Clone, Copy, Debug)]
pub(super) struct DiskSpace {
    /// What is free.
    pub free: u64,
    /// What there is in all; 0 if the disk does not say it.
    pub size: u64,
}

/// Octets that are displayed in MiB.
struct Mib(u64);

impl fmt::Display for Mib {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} MiB", self.0 as f64 / f64::from(1 << 20))
    }
}

/// Knows whether there is room for mail, and reports when that changes.
pub(super) struct MailRoom {
    fs: Arc<dyn Fs>,
    /// The directory of the spool.
    root: PathBuf,
    min_free_space: u64,
    max_messages: u64,
    /// The moment at which the disk was asked last, with what it said.
    disk: Mutex<Option<(Instant, DiskSpace)>>,
    shortage: Mutex<Option<Shortage>>,
}

impl MailRoom {
    /// Returns a new watch over the room for mail in the spool at `root`, with the limits of `options`.
    pub fn new(fs: Arc<dyn Fs>, root: PathBuf, options: &Options) -> Self {
        let &Options { min_free_space, max_messages, .. } = options;
        MailRoom {
            fs,
            root,
            min_free_space,
            max_messages,
            disk: Mutex::default(),
            shortage: Mutex::default(),
        }
    }

    /// Returns whether a message of `size` octets may come in, while `messages` are on the spool. If the disk has too little
    /// room, idle content in `unfinished` is removed, which makes room for the next message.
    pub fn check(&self, size: u64, messages: u64, unfinished: &Unfinished) -> Result<(), CommitError> {
        let free = self.free_space()?;
        let needed = self.min_free_space.saturating_add(size);
        let missing = needed.saturating_sub(free);
        if missing > 0 {
            // For the next one: what is given up is free a moment later.
            unfinished.give_up_idle(missing, Instant::now());
        }
        self.look(messages);
        // The writer finds out if there is a segment now.
        let is_short = self.shortage().is_some_and(|found| !matches!(found, Shortage::Segment { .. }));
        if missing > 0 || is_short { Err(CommitError::Full) } else { Ok(()) }
    }

    /// Returns why no message is taken; `None` while there is room.
    pub fn shortage(&self) -> Option<Shortage> {
        *held(&self.shortage)
    }

    /// Begins or ends an episode without room, by what the disk says and by the number of `messages` on the spool.
    pub fn look(&self, messages: u64) {
        let Ok(free) = self.free_space() else { return };
        let (needed, most) = (self.min_free_space, self.max_messages);
        let found = if free < needed {
            Some(Shortage::Disk { free, needed })
        } else if messages >= most {
            Some(Shortage::Messages { most })
        } else {
            self.shortage().filter(|known| matches!(known, Shortage::Segment { .. }))
        };
        self.note_shortage(found);
    }

    /// Notes that mail was refused for want of a segment of so many octets.
    pub fn note_no_segment(&self, octets: u64) {
        let shortage = self.shortage().unwrap_or(Shortage::Segment { octets });
        self.note_shortage(Some(shortage));
    }

    /// Notes that there is a segment for mail, or room for one.
    pub fn note_segment(&self) {
        if matches!(self.shortage(), Some(Shortage::Segment { .. })) {
            self.note_shortage(None);
        }
    }

    fn note_shortage(&self, found: Option<Shortage>) {
        let before = std::mem::replace(&mut *held(&self.shortage), found);
        match (before, found) {
            (None, Some(shortage)) => log::spool_full(&self.root, &shortage),
            (Some(_), None) => log::spool_has_room(&self.root),
            _ => {}
        }
    }

    /// Returns what the disk said when it was asked last; `None` if it never was. This does not wait for the disk.
    pub fn known(&self) -> Option<DiskSpace> {
        held(&self.disk).map(|(_, space)| space)
    }

    /// Returns the number of octets that are free on the disk, as of the last second.
    pub fn free_space(&self) -> Result<u64, CommitError> {
        let known = *held(&self.disk);
        if let Some((_, space)) = known.filter(|(seen, _)| seen.elapsed() < ROOM_IS_KNOWN_FOR) {
            return Ok(space.free);
        }
        // Not with the lock held: a disk that hangs would hold up everybody who only wants to know what is known.
        let free = self.fs.free_space(&self.root).map_err(|e| CommitError::from(e.kind()))?;
        let size = self.fs.disk_size(&self.root).unwrap_or(0);
        *held(&self.disk) = Some((Instant::now(), DiskSpace { free, size }));
        Ok(free)
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each of these locks guards one value, which is whole even after a panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
