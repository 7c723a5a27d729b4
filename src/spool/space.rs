//! Who may take space in the spool: one table.
//!
//! A record claims room in the active segment ([`decide`]). The next segment is made in pieces, and *ready* when it is
//! whole and synced.
//!
//! | claim | the next segment is ready | it is not |
//! |---|---|---|
//! | mail | here, but for the last quarter; then the next segment, if another can follow it (1), else refused | here up to the middle, if as much of the next is made as is owed (2), the disk has room for its rest (3), and the oldest has a place (5); else it waits for one more piece |
//! | content: reports, moved messages | here, but for the last quarter; then the next segment | here to the end; then what there is of the next (4) |
//! | outcome | here to the end; then the next segment | here to the end; then what there is of the next (4) |
//!
//! 1. The disk has room for it, or what lives in the oldest segment moves into half of the next one, and the oldest one
//!    is as large as that.
//! 2. [`due`] says how much of the next segment is to be made by now: nothing while the active one is empty, all of it
//!    when that one is half full. So zeros are written as mail comes, and whoever is quicker than the disk waits for
//!    one piece at a time. What is *owed* is a piece less.
//! 3. So mail never fills the second half of a segment behind which no other is certain.
//! 4. As large as the disk has room for; a start takes such a one, too, after it has given back what the segments of
//!    before did not use (`start.rs`).
//! 5. Should somebody else fill the disk in the next moment, what lives in the oldest segment could be moved at once, by
//!    the last two rows of the second table. A segment of which a move would free nothing needs no place. Behind a segment
//!    that moves have filled, the first message of the next one may wait for several pieces because of that.
//!
//! The first record of an empty segment fits however long it is: the segment grows by it. Mail first waits for the next
//! one there, too.
//!
//! Segments grow with what the spool holds ([`size_of_next`]): a host with a few messages a day writes some hundred
//! kilobytes. The next one has room for three times what lives and for twice the active one, up to the size that
//! all of a busy spool have.
//!
//! And the cleaner moves what lives in the oldest segment ([`clean_now`]):
//!
//! | the next segment | moves when | moves into |
//! |---|---|---|
//! | is ready | the closed segments take more than three times what lives | any room |
//! | can be made | the same | the active one, but for its last quarter |
//! | cannot be made | all that lives in the oldest fits into the active one, frees a sixteenth, and leaves an eighth of it | the active one |
//! | cannot be made, and there is a part of it | all that lives in the oldest, and a sixteenth more, fits into seven eighths of both, and frees a sixteenth | the active one, but for its last eighth; then the part, which is begun for it |
//!
//! The next one *can be made* while the disk says that it has room for what is missing. An attempt that has not asked the
//! disk yet is no sign of that: it may take as long as its thread waits for a processor, and outcomes would use up the
//! room into which the oldest would have been moved.
//!
//! # A full disk drains
//!
//! When mail is refused, either a whole segment is ready, since mail begins one only where another can follow (1), or
//! mail fills no more than half of the active one (3) and the oldest has a place (5). Only octets that are written or
//! reserved, and synced, count as ready: nobody can take their room. So there is room for outcomes. As messages end, less
//! lives in the oldest segment; once that fits into what is left, it is moved, and its segment is let go and becomes the
//! next one under a new name, for which the disk is asked for no room (`stock.rs`). Moves leave an eighth of the active
//! segment, so that what lives in that one fits into an empty one in its turn, with what is recorded meanwhile. So there
//! is always a segment for the next outcome, in whatever order the messages end. Should somebody else take the room
//! between the two, outcomes take what there is (4).
//!
//! That eighth is why mail needs (5). A segment that moves have filled to seven eighths does not fit into one that holds a
//! little mail already, nor into that and the first pieces of the next. Where the disk had room again, mail had begun such
//! a segment, and somebody else took the room then, nothing could be moved until messages of the oldest segment ended, and
//! outcomes of other messages used up what was left. A move into the active segment takes as much from the oldest as it
//! adds, so what had a place keeps it.
//!
//! Where segments differ in size, what counts is the sum: what is left of the active one, and what there is of the next.
//! A segment that is let go adds its octets to that, since either it becomes the next one, or its octets are written to
//! that at once, but for a piece or two that the file system may need; and it held fewer that lived. So the sum does not
//! become less by moves. `tests/full.rs` and its random histories try it.
//!
//! A start closes the active segment, and what was left in that one is no part of the sum any more. So the first
//! segment is made whole, of what there was of the next one and of what the segments of before did not use. No more is
//! cut off of them than that: it would be mail's, or somebody else's, and a segment that is cut off is full of what
//! lives in it, so that little is gained by moving that. The room of the first segment is reserved, at once and without
//! writing, where the file system can do that (`stock/make.rs`): it is nobody else's from then on.
//!
//! On a disk with room, a start whose first segment is larger than the smallest shortens the segments of before to what they
//! use and a third of that ([`shortened_at_start`]). Otherwise the room that they did not use would count as theirs, and the
//! cleaner would move all that lives at each start. Where less lives, that is little, and the old file serves as a segment
//! again, which saves the zeros.
//!
//! Pure: what the disk and the index say are arguments. Not here: who carries it out (`writer.rs`, `clean.rs`,
//! `stock.rs`), whether the configuration lets mail in at all (`room.rs`).

use std::time::Duration;

use super::format::FIRST_RECORD;

mod moves;

pub(super) use moves::clean_now;
use moves::needed_of_next;

/// How long it is believed what the disk has said of its room, while nothing is known to have changed.
pub(super) const ROOM_IS_KNOWN_FOR: Duration = Duration::from_secs(1);

/// What a record asks of a disk that may be full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SpaceClaim {
    /// Mail that somebody submits: room for as long as it lives.
    Mail,
    /// Our own reports, which end what they are about, and moved messages, whose old segment goes for it.
    Content,
    /// What is recorded of messages: little, and it makes room sooner or later.
    Outcome,
}

/// How large a segment has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SegmentSize {
    /// Whole: of the size that [`size_of_next`] says.
    Whole,
    /// As large as there is room for.
    Any,
}

/// The sizes that segments may have, in octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    /// The least, which the first one of a small spool has.
    pub first: u64,
    /// The most.
    pub largest: u64,
}

/// The next segment, on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Made {
    /// Octets of it that are written and synced.
    pub octets: u64,
    /// Octets that it is to have.
    pub size: u64,
}

impl Made {
    /// Whether it is whole.
    pub fn is_ready(self) -> bool {
        self.octets >= self.size
    }

    /// Octets that are missing.
    pub fn rest(self) -> u64 {
        self.size.saturating_sub(self.octets)
    }
}

/// What the writer does with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// The record goes into the active segment.
    Here,
    /// The next segment is begun, and the record goes there.
    NextSegment(SegmentSize),
    /// One more piece of the next segment is waited for; then the claim is decided again.
    Wait,
    /// There is no room: 452.
    Refuse,
}

/// The active segment with the record that is decided on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fill {
    /// The number of the segment.
    pub sequence: u32,
    /// Where the segment would end with it.
    pub end: u64,
    /// Octets that the segment was made ready with.
    pub capacity: u32,
    /// Nothing stands before it.
    pub is_first: bool,
}

/// What the disk and the index have to say when a segment is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SpareRoom {
    /// The disk has room for the rest of the next segment; when that is ready, for the one that follows it.
    pub another: bool,
    /// The oldest segment, the active one or not.
    pub oldest: Oldest,
    /// Octets that what lives in the active segment takes when it is moved, the record that is decided on included.
    pub active_moved: u64,
}

/// The part of a segment that mail and content leave to outcomes: one of so many.
const LEFT_TO_OUTCOMES: u32 = 4;
/// The part of a segment that mail may fill while no other is ready: one of so many.
const WITHOUT_THE_NEXT: u32 = 2;
/// The part of an empty segment into which the oldest must fit to be taken for the one that follows: one of so many.
const OLDEST_FITS_INTO: u64 = 2;
/// The part of a segment that is used before the next is made in spite of the cleaner's work: one of so many.
const USED_BEFORE_ANOTHER: u32 = 4;
/// A segment may be so many times as large as the one before it.
const GROWTH: u64 = 2;
/// A segment is made in so many pieces, or in more.
const PIECES: u64 = 4;
/// The largest piece, in octets: a commit that comes while it is written waits for it.
pub(super) const LARGEST_PIECE: u64 = 256 << 10;
/// The closed segments may take so many times the octets that live.
const TIMES_LIVE: u64 = 3;
/// A move on a full disk frees at least one of so many parts of the oldest segment.
const FREED_BY_A_MOVE: u64 = 16;
/// Moves on a full disk leave one of so many parts of the active segment.
const LEFT_BY_MOVES: u64 = 8;
/// What a file system may need for itself when its free space is used up: one of so many parts.
const FOR_THE_FILE_SYSTEM: u64 = 16;

/// The smallest segment: header, and some outcomes.
pub(super) const SMALLEST: u64 = 1 << 14;
const BLOCK: u64 = 4096;

/// The first table. `room` is asked only where it matters: it costs a look at the disk.
pub(super) fn decide(
    claim: SpaceClaim,
    fill: Option<Fill>,
    next: Made,
    cleaner_works: bool,
    room: impl Fn() -> SpareRoom,
) -> Decision {
    let fits =
        |spared: u32| fill.is_some_and(|fill| fill.is_first || fill.end <= u64::from(fill.capacity - spared));
    let quarter = fill.map_or(0, |fill| fill.capacity / LEFT_TO_OUTCOMES);
    let in_step = |fill: Fill| {
        fill.end <= u64::from(fill.capacity / WITHOUT_THE_NEXT)
            && next.octets + piece(next.size) >= due(fill.end, fill.capacity, next.size, cleaner_works)
    };
    match (claim, next.is_ready()) {
        (SpaceClaim::Mail, true) if fits(quarter) => Decision::Here,
        (SpaceClaim::Mail, true) if another_can_follow(next, room()) => {
            Decision::NextSegment(SegmentSize::Whole)
        }
        (SpaceClaim::Mail, true) => Decision::Refuse,
        (SpaceClaim::Mail, false)
            if fill.is_some_and(|fill| in_step(fill) && may_stay(fill, next, room())) =>
        {
            Decision::Here
        }
        (SpaceClaim::Mail, false) => Decision::Wait,
        (SpaceClaim::Content, true) if fits(quarter) => Decision::Here,
        (SpaceClaim::Content, false) | (SpaceClaim::Outcome, _) if fits(0) => Decision::Here,
        (SpaceClaim::Content | SpaceClaim::Outcome, _) => Decision::NextSegment(SegmentSize::Any),
    }
}

/// Whether mail may go into the active segment while the next one is not ready: (3) and (5).
fn may_stay(fill: Fill, next: Made, room: SpareRoom) -> bool {
    let SpareRoom { another, oldest, active_moved } = room;
    let target = Target {
        room: u32::try_from(u64::from(fill.capacity).saturating_sub(fill.end)).unwrap_or(u32::MAX),
        holds: fill.capacity.saturating_sub(FIRST_RECORD),
        capacity: fill.capacity,
        next: next.octets,
    };
    let needs_no_place = oldest.sequence == fill.sequence || !oldest.frees_room();
    another && (needs_no_place || needed_of_next(oldest, target, active_moved) <= next.octets)
}

fn another_can_follow(next: Made, room: SpareRoom) -> bool {
    let SpareRoom { another, oldest, .. } = room;
    another || oldest.moved <= next.octets / OLDEST_FITS_INTO && oldest.size >= next.octets
}

/// Octets that the segment behind one of `capacity` octets (0: there is none) is to have, while the records of all that
/// lives take `live`.
pub(super) fn size_of_next(live: u64, capacity: u64, sizes: Sizes) -> u64 {
    let size = TIMES_LIVE.saturating_mul(live).saturating_add(GROWTH * capacity);
    whole_blocks(size.clamp(sizes.first, sizes.largest))
}

/// Octets of the next segment, which is to have `size`, that are to be made when the active one is used up to `used` of
/// `capacity` octets. While the cleaner works, a segment is likely to be let go and reused.
pub(super) fn due(used: u64, capacity: u32, size: u64, cleaner_works: bool) -> u64 {
    let spared = if cleaner_works { capacity / USED_BEFORE_ANOTHER } else { FIRST_RECORD };
    let (used, all) =
        (used.saturating_sub(spared.into()), (capacity / WITHOUT_THE_NEXT).saturating_sub(spared));
    // Both are below 4 GiB, so that their product fits.
    (used * size.min(u32::MAX.into()) / u64::from(all.max(1))).min(size)
}

/// Octets of one piece of a segment that is to have `size`.
pub(super) fn piece(size: u64) -> u64 {
    whole_blocks((size / PIECES).clamp(SMALLEST, LARGEST_PIECE))
}

/// What may be made of a piece of `octets` on a disk with `free` ones, where a part of a segment serves, the most first:
/// the first one that the disk gives is taken. No segment begins with less than the smallest, and less than a quarter of
/// a piece is left to the file system.
pub(super) fn parts_of_piece(octets: u64, is_first: bool, free: u64) -> impl Iterator<Item = u64> {
    let most = whole_blocks(octets.min(free - free / FOR_THE_FILE_SYSTEM));
    let least = if is_first { SMALLEST } else { octets / PIECES }.clamp(BLOCK, octets.max(BLOCK));
    let halved = |octets: &u64| Some(whole_blocks(octets / 2));
    std::iter::successors(Some(most), halved).take_while(move |octets| *octets >= least)
}

/// As many of `octets` as fill whole blocks.
pub(super) fn whole_blocks(octets: u64) -> u64 {
    octets & !(BLOCK - 1)
}

/// Returns the size to which a start shortens a closed segment of `size` octets, of which `used` are used; `None` where it
/// stays as it is. A quarter of the new size is left behind what is used, as in a segment that mail has filled, so that a
/// full disk drains as well as otherwise.
pub(super) fn shortened_at_start(size: u64, used: u64) -> Option<u64> {
    let left = u64::from(LEFT_TO_OUTCOMES);
    let shortened = (used * left).div_ceil(left - 1).next_multiple_of(BLOCK);
    (shortened < size).then_some(shortened)
}

/// How it stands with the next segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readiness {
    /// It is ready.
    Ready,
    /// It can be made, or is being made.
    Possible,
    /// The disk gives no room for it.
    Impossible,
}

/// The sums of the index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    /// Octets of the records of all that lives.
    pub live: u64,
    /// Octets of the segments before the active one.
    pub closed: u64,
    /// Octets that what lives in the active segment takes when it is moved.
    pub active_moved: u64,
    /// The oldest segment, where that is not the active one.
    pub oldest: Option<Oldest>,
}

/// The oldest segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Oldest {
    pub sequence: u32,
    /// Its octets.
    pub size: u64,
    /// Octets that what lives in it takes when it is moved.
    pub moved: u64,
}

impl Oldest {
    /// Whether a move of all that lives in it frees enough to be worth it on a full disk.
    fn frees_room(self) -> bool {
        self.moved <= self.freed_at_least() * (FREED_BY_A_MOVE - 1)
    }

    fn freed_at_least(self) -> u64 {
        self.size / FREED_BY_A_MOVE
    }
}

/// The active segment, as the cleaner sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Octets that are left in it.
    pub room: u32,
    /// Octets of records that it can hold.
    pub holds: u32,
    /// Octets that it was made ready with.
    pub capacity: u32,
    /// Octets that there are of the next segment.
    pub next: u64,
}

/// What the cleaner does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clean {
    /// Moves messages out of this segment, so many octets at once.
    Move(u32, u32),
    /// Begins the next segment, of which there is a part.
    Begin,
}

#[cfg(test)]
mod tests;
