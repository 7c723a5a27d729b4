//! The next segment, on its way from being wanted to being ready: it is made in pieces.
//!
//! ```text
//! Idle ── begin ──▶ Making ── put ──▶ Idle, a piece longer
//!  ▲                  │ fail
//!  ├── outdated ──────┤
//!  └── ask ── Failed ◀┘
//! ```
//! A segment that is let go may be put under the next name while the next one is shorter. Nothing is handed out while
//! that is done, nor while a piece is made.
//!
//! Pure. Not here: files (`stock.rs`), who may take the segment, and how much of it is to be made when (`space.rs`).

use std::io;
use std::sync::Arc;

use crate::spool::fs::File;
use crate::spool::segment::ReadySegment;
use crate::spool::space::{Made, SMALLEST, SegmentSize};

/// What is being done for the next segment.
enum SupplyState {
    /// Nothing, until more of it is due than there is.
    Idle,
    /// The next piece is being made.
    Making {
        /// Somebody has asked, or something was let go, since the attempt began: should it fail, another is worth while.
        is_outdated: bool,
        /// The disk was found to have room for all that is missing.
        has_room: bool,
    },
    /// The last attempt to make a piece failed; none is made until somebody asks.
    Failed(io::Error),
}

/// A piece to be made of the next segment.
#[derive(Clone)]
pub(super) struct SegmentPiece {
    /// The number of the segment.
    pub sequence: u32,
    /// Its file; `None` when this is its first piece.
    pub file: Option<Arc<dyn File>>,
    /// Octets that are made already.
    pub from: u64,
    /// Octets that the segment is to have.
    pub size: u64,
    /// Whether the piece is worth while where there is no room for the whole segment.
    pub wanted: SegmentSize,
    /// Whether the room behind the piece is to be reserved, up to the size of the segment.
    pub reserves: bool,
}

/// What there is of the next segment, and how much of it is wanted.
pub(super) struct Supply {
    stage: SupplyState,
    /// What there is of the next segment; its octets, length and name are synced.
    made: Option<ReadySegment>,
    /// Octets that it is to have.
    size: u64,
    /// Octets of it that are to be made by now.
    due: u64,
    /// As whoever asked last wants it.
    wanted: SegmentSize,
    /// The name of the next segment.
    next: u32,
    /// The room of the whole next segment is to be reserved with its first piece.
    reserves: bool,
    /// A segment that is let go is being put under its name.
    is_reusing: bool,
    /// The log has been told that none can be made, and none has been made since.
    is_told: bool,
}

impl Supply {
    /// Nothing, of which the first segment is to be `next` and to have `size` octets.
    pub fn new(next: u32, size: u64) -> Self {
        let (stage, wanted) = (SupplyState::Idle, SegmentSize::Whole);
        Supply {
            stage,
            made: None,
            size,
            due: 0,
            wanted,
            next,
            reserves: false,
            is_reusing: false,
            is_told: false,
        }
    }

    /// What there is of the next segment.
    pub fn made(&self) -> Made {
        Made { octets: self.made.as_ref().map_or(0, |made| made.length), size: self.size }
    }

    /// From now on the next segment is to have `size` octets.
    pub fn set_size(&mut self, size: u64) {
        self.size = size;
    }

    /// Has the room of the whole next segment reserved with its first piece.
    pub fn reserve(&mut self) {
        self.reserves = true;
    }

    fn is_making(&self) -> bool {
        matches!(self.stage, SupplyState::Making { .. })
    }

    fn is_busy(&self) -> bool {
        self.is_reusing || self.is_making()
    }

    /// Notes that the disk has room for all that is missing of the segment of which a piece is being made.
    pub fn found_room(&mut self) {
        if let SupplyState::Making { has_room, .. } = &mut self.stage {
            *has_room = true;
        }
    }

    /// Whether that was found: the disk itself does not tell while part of that room is being used.
    pub fn has_room(&self) -> bool {
        matches!(self.stage, SupplyState::Making { has_room: true, .. })
    }

    /// Why the last attempt failed, if nobody has asked since.
    pub fn trouble(&self) -> Option<&io::Error> {
        match &self.stage {
            SupplyState::Failed(error) => Some(error),
            _ => None,
        }
    }

    /// Returns whether a caller that waits for `due` octets has to wait on.
    pub fn is_undecided(&self, due: u64) -> bool {
        self.is_busy() || self.falls_short_of(due) && self.trouble().is_none()
    }

    fn falls_short_of(&self, due: u64) -> bool {
        self.made().octets < due.min(self.size)
    }

    /// Has `due` octets made, and returns whether that is news; a failed attempt is not repeated for it.
    pub fn want(&mut self, due: u64) -> bool {
        let is_news = due > self.due && self.falls_short_of(due) && matches!(self.stage, SupplyState::Idle);
        if !self.falls_short_of(self.due) {
            self.wanted = SegmentSize::Whole;
        }
        self.due = self.due.max(due);
        is_news
    }

    /// Has so many octets made more than there are, whether or not there is room for the whole.
    pub fn claim(&mut self, octets: u64) {
        self.ask(SegmentSize::Any, self.made().octets + octets);
    }

    /// Has `due` octets made by an attempt that begins from now on.
    pub fn ask(&mut self, wanted: SegmentSize, due: u64) {
        (self.due, self.wanted) = (self.due.max(due), wanted);
        match &mut self.stage {
            SupplyState::Making { is_outdated, .. } => *is_outdated = true,
            SupplyState::Idle | SupplyState::Failed(_) => self.stage = SupplyState::Idle,
        }
    }

    /// What fails for want of room may succeed from now on.
    pub fn gains_room(&mut self) {
        if let SupplyState::Making { is_outdated, .. } = &mut self.stage {
            *is_outdated = true;
        }
    }

    /// The piece to make now, which is being made from then on, if one is due.
    pub fn begin(&mut self) -> Option<SegmentPiece> {
        if !matches!(self.stage, SupplyState::Idle) || !self.falls_short_of(self.due) {
            return None;
        }
        self.stage = SupplyState::Making { is_outdated: false, has_room: false };
        let file = self.made.as_ref().map(|made| Arc::clone(&made.file));
        let Made { octets: from, size } = self.made();
        let (wanted, reserves) = (self.wanted, self.reserves && self.wanted == SegmentSize::Whole);
        Some(SegmentPiece { sequence: self.next, file, from, size, wanted, reserves })
    }

    /// The name under which a segment let go is of use, if it has more octets than the second number. Nothing is handed
    /// out until one is put there, or [`Supply::end_reuse`] is called.
    pub fn reuse(&mut self) -> Option<(u32, u64)> {
        let made = self.made();
        self.is_reusing = !made.is_ready();
        self.is_reusing.then_some((self.next, made.octets))
    }

    /// No segment is being put under the next name any more.
    pub fn end_reuse(&mut self) {
        self.is_reusing = false;
    }

    /// Forgets what there is of the next segment, whose file is about to lose its name.
    pub fn forget(&mut self) {
        self.made = None;
    }

    /// Takes in what there is of the next segment now.
    pub fn put(&mut self, made: ReadySegment) {
        (self.stage, self.is_reusing) = (SupplyState::Idle, false);
        self.made = Some(made);
        self.is_told &= !self.made().is_ready();
    }

    /// The attempt failed with this error, and what there was before it is there or is not; whether that is news for
    /// the log.
    pub fn fail(&mut self, error: io::Error, is_there: bool) -> bool {
        if !is_there {
            self.forget();
        }
        if let SupplyState::Making { is_outdated: true, .. } = self.stage {
            self.stage = SupplyState::Idle;
            return false;
        }
        (self.stage, self.wanted) = (SupplyState::Failed(error), SegmentSize::Whole);
        !std::mem::replace(&mut self.is_told, true)
    }

    /// Hands the segment out, if there is as much of it as is wanted. Nothing is due of the one that follows.
    pub fn take(&mut self, wanted: SegmentSize) -> Option<ReadySegment> {
        let least = if wanted == SegmentSize::Any { SMALLEST } else { self.size };
        if self.is_busy() || self.made().octets < least {
            return None;
        }
        let taken = self.made.take()?;
        (self.next, self.reserves) = (taken.sequence + 1, false);
        (self.stage, self.due, self.wanted) = (SupplyState::Idle, 0, SegmentSize::Whole);
        Some(taken)
    }

    /// Hands out why the last attempt failed; from then on it is not known any more.
    pub fn take_trouble(&mut self) -> Option<io::Error> {
        match std::mem::replace(&mut self.stage, SupplyState::Idle) {
            SupplyState::Failed(error) => Some(error),
            other => {
                self.stage = other;
                None
            }
        }
    }

    /// Forgets what was made, whose number is returned, and why no more could be.
    pub fn start_anew(&mut self) -> Option<u32> {
        self.is_told = false;
        match &mut self.stage {
            SupplyState::Making { is_outdated, .. } => *is_outdated = true,
            SupplyState::Idle | SupplyState::Failed(_) => self.stage = SupplyState::Idle,
        }
        if self.is_busy() {
            return None;
        }
        let sequence = self.made.take()?.sequence;
        self.next = sequence + 1;
        Some(sequence)
    }
}

#[cfg(test)]
mod tests;
