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
mod tests {
    use std::io::ErrorKind;
    use std::path::Path;

    use super::*;
    use crate::spool::fs::Fs as _;
    use crate::spool::fs::sim::SimFs;

    const WHOLE: u64 = 3 * SMALLEST;

    /// So many pieces of the segment.
    fn pieces(sequence: u32, pieces: u64) -> ReadySegment {
        let file = SimFs::new().create(Path::new("/segment")).unwrap();
        ReadySegment { sequence, file, length: pieces * SMALLEST, written: pieces * SMALLEST }
    }

    fn full() -> io::Error {
        ErrorKind::StorageFull.into()
    }

    /// The number and the octets before it of the piece that is begun.
    fn begin(supply: &mut Supply) -> Option<(u32, u64)> {
        supply.begin().map(|piece| (piece.sequence, piece.from))
    }

    #[test]
    fn as_much_is_made_as_is_due_and_the_whole_is_handed_out_once() {
        let mut supply = Supply::new(7, WHOLE);
        assert_eq!(begin(&mut supply), None, "nothing is due");
        assert!(supply.want(1) && !supply.want(1));
        assert_eq!((begin(&mut supply), begin(&mut supply)), (Some((7, 0)), None));
        assert!(supply.is_making() && supply.is_undecided(1));
        supply.put(pieces(7, 1));
        assert!(!supply.is_undecided(1) && supply.is_undecided(WHOLE));
        assert_eq!(begin(&mut supply), None, "no more is due");
        assert!(!supply.want(SMALLEST) && supply.want(u64::MAX));
        for made in 1..3 {
            assert!(supply.take(SegmentSize::Whole).is_none(), "{made} of 3 pieces");
            assert_eq!(supply.reuse(), Some((7, made * SMALLEST)));
            supply.end_reuse();
            assert_eq!(begin(&mut supply), Some((7, made * SMALLEST)));
            supply.put(pieces(7, made + 1));
        }
        assert!(!supply.want(u64::MAX) && !supply.is_undecided(u64::MAX));
        assert_eq!((begin(&mut supply), supply.reuse()), (None, None), "it is ready");
        assert_eq!(supply.take(SegmentSize::Whole).map(|ready| ready.sequence), Some(7));
        assert!(supply.take(SegmentSize::Whole).is_none());
        assert_eq!((begin(&mut supply), supply.reuse()), (None, Some((8, 0))));
    }

    /// What there was of the next segment could once be handed out, where it was to be smaller by then, while a segment
    /// let go was on its way to the same name.
    #[test]
    fn nothing_is_handed_out_while_its_name_is_being_given_away() {
        let mut supply = Supply::new(1, WHOLE);
        supply.put(pieces(1, 1));
        assert_eq!(supply.reuse(), Some((1, SMALLEST)));
        supply.set_size(SMALLEST);
        assert!(supply.made().is_ready() && supply.is_undecided(SMALLEST));
        assert!(supply.take(SegmentSize::Any).is_none());
        supply.end_reuse();
        assert!(!supply.is_undecided(SMALLEST));
        assert_eq!(supply.take(SegmentSize::Any).map(|ready| ready.sequence), Some(1));
    }

    /// The same while a piece is written: whoever took it was told of a fault of the disk.
    #[test]
    fn what_is_to_be_smaller_is_handed_out_when_its_piece_is_made() {
        let mut supply = Supply::new(1, WHOLE);
        supply.put(pieces(1, 1));
        supply.want(WHOLE);
        supply.begin();
        supply.set_size(SMALLEST);
        assert!(supply.is_undecided(SMALLEST));
        supply.put(pieces(1, 2));
        assert!(!supply.is_undecided(SMALLEST) && supply.take(SegmentSize::Whole).is_some());
    }

    /// Whoever takes any size has what there is; not while a piece is being written to it, nor nothing.
    #[test]
    fn a_part_is_a_segment_of_any_size() {
        let mut supply = Supply::new(1, WHOLE);
        assert!(supply.take(SegmentSize::Any).is_none());
        supply.put(pieces(1, 1));
        supply.ask(SegmentSize::Any, WHOLE);
        assert_eq!(supply.begin().map(|piece| piece.wanted), Some(SegmentSize::Any));
        assert!(supply.take(SegmentSize::Any).is_none());
        supply.fail(full(), true);
        assert_eq!(supply.take(SegmentSize::Any).map(|ready| ready.length), Some(SMALLEST));
        assert_eq!(begin(&mut supply), None, "nothing is due of the one that follows");
        supply.want(1);
        assert_eq!(supply.begin().map(|piece| (piece.sequence, piece.wanted)), Some((2, SegmentSize::Whole)));
    }

    /// The segment that a start begins with is reserved, no later one is, and none of which a part is enough.
    #[test]
    fn the_room_of_one_segment_is_reserved() {
        let mut supply = Supply::new(1, WHOLE);
        supply.reserve();
        let reserves = |supply: &mut Supply, wanted| {
            supply.ask(wanted, WHOLE);
            let piece = supply.begin().map(|piece| piece.reserves);
            supply.put(pieces(supply.next, 3));
            supply.take(wanted);
            piece
        };
        assert_eq!(reserves(&mut supply, SegmentSize::Whole), Some(true));
        assert_eq!(reserves(&mut supply, SegmentSize::Whole), Some(false));
        supply.reserve();
        assert_eq!(reserves(&mut supply, SegmentSize::Any), Some(false));
    }

    /// What was freed on a full disk is claimed for the next segment, and no pace makes that an attempt for the whole.
    #[test]
    fn what_is_claimed_is_a_part() {
        let mut supply = Supply::new(1, WHOLE);
        supply.ask(SegmentSize::Whole, WHOLE);
        supply.begin();
        supply.fail(full(), false);
        let mut supply = Supply { due: 0, ..supply };
        supply.claim(SMALLEST);
        supply.want(1);
        assert_eq!(supply.begin().map(|piece| (piece.from, piece.wanted)), Some((0, SegmentSize::Any)));
        supply.put(pieces(1, 1));
        supply.want(WHOLE);
        assert_eq!(
            supply.begin().map(|piece| (piece.from, piece.wanted)),
            Some((SMALLEST, SegmentSize::Whole))
        );
    }

    #[test]
    fn what_failed_is_tried_again_for_whoever_asks() {
        let mut supply = Supply::new(1, WHOLE);
        supply.want(1);
        supply.begin();
        assert!(supply.fail(full(), false), "the log is told");
        assert!(!supply.want(WHOLE));
        supply.gains_room();
        assert_eq!(begin(&mut supply), None);
        assert!(supply.trouble().is_some() && !supply.is_undecided(WHOLE));
        supply.ask(SegmentSize::Any, WHOLE);
        assert_eq!(begin(&mut supply), Some((1, 0)));
        assert!(!supply.fail(full(), false), "it was told");
        supply.put(pieces(1, 2));
        assert!(supply.trouble().is_none(), "one that was let go serves as well");
        supply.ask(SegmentSize::Whole, WHOLE);
        supply.begin();
        assert!(!supply.fail(full(), true), "it was told, and none has been whole since");
        supply.put(pieces(1, 3));
        supply.take(SegmentSize::Whole);
        supply.ask(SegmentSize::Whole, WHOLE);
        supply.begin();
        assert!(supply.fail(full(), false), "told anew, since one was whole meanwhile");
    }

    /// What was made is there after a failure for want of room, and after no other.
    #[test]
    fn a_failure_may_cost_what_was_made() {
        for (is_there, octets) in [(true, SMALLEST), (false, 0)] {
            let mut supply = Supply::new(1, WHOLE);
            supply.put(pieces(1, 1));
            supply.want(WHOLE);
            supply.begin();
            supply.fail(full(), is_there);
            assert_eq!(supply.made(), Made { octets, size: WHOLE });
        }
    }

    /// An attempt that was on its way when somebody asked, or when something was let go, is no answer.
    #[test]
    fn an_attempt_that_is_outdated_is_repeated() {
        let changes: [fn(&mut Supply); 3] = [
            |supply| supply.ask(SegmentSize::Any, 1),
            Supply::gains_room,
            |supply| assert_eq!(supply.start_anew(), None),
        ];
        for change in changes {
            let mut supply = Supply::new(1, WHOLE);
            supply.want(1);
            supply.begin();
            change(&mut supply);
            assert!(!supply.fail(full(), false) && supply.trouble().is_none());
            assert_eq!(begin(&mut supply), Some((1, 0)));
            assert!(supply.fail(full(), false) && supply.trouble().is_some());
        }
    }

    /// A name that is given up is not given again.
    #[test]
    fn what_was_made_in_a_directory_of_before_is_forgotten() {
        let mut supply = Supply::new(1, WHOLE);
        supply.put(pieces(1, 1));
        assert_eq!(supply.start_anew(), Some(1));
        supply.want(1);
        assert_eq!(begin(&mut supply), Some((2, 0)));
    }
}
