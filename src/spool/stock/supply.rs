//! The state of the next segment: it is made in pieces, from the moment at which it is wanted until it is ready.
//!
//! ```text
//! Idle ── begin ──▶ Making ── put ──▶ Idle, a piece longer
//!  ▲                  │ fail
//!  ├── outdated ──────┤
//!  └── ask ── Failed ◀┘
//!
//! Idle or Failed ── reuse ──▶ Reusing ── put ──▶ Idle, with a whole file
//!  ▲                            │ end_reuse
//!  └────────────────────────────┘
//! ```
//! A segment that is let go may be put under the next name while the next one is shorter. Nothing is handed out while
//! that is done, nor while a piece is made. One thread does both, one after the other.
//!
//! Pure. Not here: files (`stock.rs`), who may take the segment, and how much of it is to be made when (`space.rs`).

use std::io;
use std::sync::Arc;

use crate::spool::fs::File;
use crate::spool::segment::ReadySegment;
use crate::spool::space::{Made, SMALLEST, SegmentSize};

/// The work that is being done on the next segment.
enum SupplyState {
    /// Nothing is done until more of it is due than there is.
    Idle,
    /// The next piece is being made.
    Making {
        /// True if somebody has asked for a segment since this attempt began, or something was let go: should the attempt
        /// fail, another one may succeed.
        is_outdated: bool,
        /// True if the disk was found to have room for all that is missing of the segment.
        has_room: bool,
    },
    /// A segment that is let go is being renamed to it.
    Reusing {
        /// The reason why the attempt before failed, if it did, and nobody has asked for a segment since.
        failure: Option<io::Error>,
    },
    /// The last attempt to make a piece failed; none is made until somebody asks.
    Failed(io::Error),
}

/// The way in which the room is taken that the next segment has behind its first piece.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RoomBehind {
    /// It is written, piece by piece.
    Written,
    /// It is reserved together with the first piece, if the whole segment is wanted.
    Reserved,
}

/// The terms on which a piece is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PieceTerms {
    /// It is made only if the disk has room for all that is missing of the segment.
    IfAllFits,
    /// The same; and the room behind it is reserved, up to the size of the segment.
    AndReserveTheRest,
    /// As much of it is made as the disk has room for.
    AsMuchAsFits,
}

/// Describes a piece of the next segment that is to be made.
#[derive(Clone)]
pub(super) struct SegmentPiece {
    /// The number of the segment.
    pub sequence: u32,
    /// Its file; `None` when this is its first piece.
    pub file: Option<Arc<dyn File>>,
    /// The number of octets of it that are made already.
    pub from: u64,
    /// The size that the segment is to have, in octets.
    pub size: u64,
    /// The terms on which the piece is made.
    pub terms: PieceTerms,
}

/// The next segment: the part of it that is made, the part that is wanted, and the work on it.
pub(super) struct Supply {
    state: SupplyState,
    /// The part of the next segment that is made: its octets, its length and its name are synced.
    made: Option<ReadySegment>,
    /// The size that it is to have, in octets.
    size: u64,
    /// The number of its octets that are to be made by now.
    due: u64,
    /// The size that the segment must have for whoever asked last.
    wanted: SegmentSize,
    /// The number of the next segment.
    next: u32,
    /// The way in which its room is taken.
    room_behind: RoomBehind,
    /// True if the log says already that no segment can be made, and none has become whole since.
    is_told: bool,
}

impl Supply {
    /// Returns a supply of which nothing is made: the first segment is to have the number `next` and `size` octets.
    pub fn new(next: u32, size: u64) -> Self {
        Supply {
            state: SupplyState::Idle,
            made: None,
            size,
            due: 0,
            wanted: SegmentSize::Whole,
            next,
            room_behind: RoomBehind::Written,
            is_told: false,
        }
    }

    /// Returns the part of the next segment that is made.
    pub fn made(&self) -> Made {
        Made { octets: self.made.as_ref().map_or(0, |made| made.length), size: self.size }
    }

    /// Says that the next segment is to have `size` octets.
    pub fn set_size(&mut self, size: u64) {
        self.size = size;
    }

    /// Requests that the room of the whole next segment is reserved with its first piece.
    pub fn reserve(&mut self) {
        self.room_behind = RoomBehind::Reserved;
    }

    fn is_busy(&self) -> bool {
        matches!(self.state, SupplyState::Making { .. } | SupplyState::Reusing { .. })
    }

    /// Notes that the disk has room for all that is missing of the segment of which a piece is being made.
    pub fn found_room(&mut self) {
        if let SupplyState::Making { has_room, .. } = &mut self.state {
            *has_room = true;
        }
    }

    /// Returns whether a piece is being made for which [`Supply::found_room`] was called. The disk itself cannot answer
    /// meanwhile, since part of that room is being used.
    pub fn has_room(&self) -> bool {
        matches!(self.state, SupplyState::Making { has_room: true, .. })
    }

    /// Returns the error of the last attempt, if it failed and nobody has asked for a segment since.
    pub fn trouble(&self) -> Option<&io::Error> {
        match &self.state {
            SupplyState::Failed(error) | SupplyState::Reusing { failure: Some(error) } => Some(error),
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

    /// Requests that `due` octets are made, and returns whether the thread has to be woken for that. A failed attempt is not
    /// repeated.
    pub fn want(&mut self, due: u64) -> bool {
        let is_news = due > self.due && self.falls_short_of(due) && matches!(self.state, SupplyState::Idle);
        if !self.falls_short_of(self.due) {
            self.wanted = SegmentSize::Whole;
        }
        self.due = self.due.max(due);
        is_news
    }

    /// Requests that so many more `octets` are made, even if there is no room for the whole segment.
    pub fn claim(&mut self, octets: u64) {
        self.ask(SegmentSize::Any, self.made().octets + octets);
    }

    /// Requests that `due` octets are made by an attempt that begins from now on.
    pub fn ask(&mut self, wanted: SegmentSize, due: u64) {
        (self.due, self.wanted) = (self.due.max(due), wanted);
        self.forget_failures();
    }

    /// Forgets a failure, that of the attempt included that is being made now, should it fail.
    fn forget_failures(&mut self) {
        match &mut self.state {
            SupplyState::Making { is_outdated, .. } => *is_outdated = true,
            SupplyState::Reusing { failure } => *failure = None,
            SupplyState::Idle | SupplyState::Failed(_) => self.state = SupplyState::Idle,
        }
    }

    /// Notes that room was freed: an attempt that fails for want of room is repeated.
    pub fn gains_room(&mut self) {
        if let SupplyState::Making { is_outdated, .. } = &mut self.state {
            *is_outdated = true;
        }
    }

    /// Returns the piece to make now, if one is due; from then on it counts as being made.
    pub fn begin(&mut self) -> Option<SegmentPiece> {
        if !matches!(self.state, SupplyState::Idle) || !self.falls_short_of(self.due) {
            return None;
        }
        self.state = SupplyState::Making { is_outdated: false, has_room: false };
        let file = self.made.as_ref().map(|made| Arc::clone(&made.file));
        let Made { octets: from, size } = self.made();
        let terms = match (self.wanted, self.room_behind) {
            (SegmentSize::Any, _) => PieceTerms::AsMuchAsFits,
            (SegmentSize::Whole, RoomBehind::Written) => PieceTerms::IfAllFits,
            (SegmentSize::Whole, RoomBehind::Reserved) => PieceTerms::AndReserveTheRest,
        };
        Some(SegmentPiece { sequence: self.next, file, from, size, terms })
    }

    /// Returns the number under which a segment that is let go is of use, and how many octets are made already: it must have
    /// more. From then on nothing is handed out until one is put there, or [`Supply::end_reuse`] is called.
    pub fn reuse(&mut self) -> Option<(u32, u64)> {
        let made = self.made();
        if made.is_ready() {
            return None;
        }
        let failure = self.take_trouble();
        self.state = SupplyState::Reusing { failure };
        Some((self.next, made.octets))
    }

    /// Notes that no segment is being renamed any more.
    pub fn end_reuse(&mut self) {
        if let SupplyState::Reusing { failure } = &mut self.state {
            self.state = failure.take().map_or(SupplyState::Idle, SupplyState::Failed);
        }
    }

    /// Forgets the part of the next segment that is made, since its file is about to lose its name.
    pub fn forget(&mut self) {
        self.made = None;
    }

    /// Takes in the part of the next segment that is made now.
    pub fn put(&mut self, made: ReadySegment) {
        self.state = SupplyState::Idle;
        self.made = Some(made);
        self.is_told &= !self.made().is_ready();
    }

    /// Notes that the attempt failed, and whether the pieces before it are still there. Returns whether the failure is to be
    /// logged.
    pub fn fail(&mut self, error: io::Error, is_there: bool) -> bool {
        if !is_there {
            self.forget();
        }
        if let SupplyState::Making { is_outdated: true, .. } = self.state {
            self.state = SupplyState::Idle;
            return false;
        }
        (self.state, self.wanted) = (SupplyState::Failed(error), SegmentSize::Whole);
        !std::mem::replace(&mut self.is_told, true)
    }

    /// Hands the segment out, if as much of it is made as is wanted. Of the one that follows nothing is due yet.
    pub fn take(&mut self, wanted: SegmentSize) -> Option<ReadySegment> {
        let least = if wanted == SegmentSize::Any { SMALLEST } else { self.size };
        if self.is_busy() || self.made().octets < least {
            return None;
        }
        let taken = self.made.take()?;
        (self.next, self.room_behind) = (taken.sequence + 1, RoomBehind::Written);
        (self.state, self.due, self.wanted) = (SupplyState::Idle, 0, SegmentSize::Whole);
        Some(taken)
    }

    /// Returns the error of the last attempt, if it failed, and forgets it.
    pub fn take_trouble(&mut self) -> Option<io::Error> {
        match std::mem::replace(&mut self.state, SupplyState::Idle) {
            SupplyState::Failed(error) => Some(error),
            other => {
                self.state = other;
                None
            }
        }
    }

    /// Forgets the part that is made, and a failure; returns the number of the segment that was forgotten, if there was one.
    pub fn start_anew(&mut self) -> Option<u32> {
        self.is_told = false;
        self.forget_failures();
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
