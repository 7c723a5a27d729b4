//! Decides who may take space in the spool, by one table.
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
//! # Why no second segment is kept in reserve
//!
//! A second whole segment, which only outcomes and moves may take, was tried in the place of notes 2 to 5, of
//! [`SegmentSize::Any`], of the shorter pieces ([`parts_of_piece`]), and of the room that a start gives back. Any
//! segment that was let go counted as a whole one then. As long as the spool ran, every full disk drained. But a start
//! closes the active segment and takes the one in reserve, and the room that the closed one leaves is never enough for a
//! whole one, since a header and some records stand in it. So outcomes found no room in 6 of 300 random histories
//! (`tests/full/history.rs`, seeds 1, 10, 149, 249, 265 and 299), each time after a start; and in 4 of them (1, 2, 73
//! and 129) where a start gave back what the closed segments did not use, until there was a whole one. A part of a
//! segment that is taken as it is cannot be done without. The reserve takes room, too: a spool with one message has
//! three segments instead of two, and a host with five messages a day wrote 816 kB on its first day, where 614 kB are
//! allowed (`tests/start.rs`).
//!
//! Pure: the answers of the disk and of the index are arguments. Not here: who carries it out (`writer.rs`, `clean.rs`,
//! `stock.rs`), whether the configuration lets mail in at all (`room.rs`).

use std::time::Duration;

use super::format::FIRST_RECORD;

mod moves;
mod sizes;

pub(super) use moves::clean_now;
use moves::needed_of_next;
pub(super) use sizes::{
    due, is_far_enough_ahead, parts_of_piece, piece, share_of_one_user, shortened_at_start, size_of_next,
    whole_blocks,
};

/// Time for which an answer of the disk about its free room is believed, while nothing is known to have changed.
pub(super) const ROOM_IS_KNOWN_FOR: Duration = Duration::from_secs(1);

/// The purpose of a record, by which it may take room on a disk that may be full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SpaceClaim {
    /// It is mail that somebody submits: it needs room until it is delivered.
    Mail,
    /// It is a report of our own, which ends the message that it is about, or a moved message, which frees its old
    /// segment.
    Content,
    /// It says what became of a message: it is short, and sooner or later it makes room.
    Outcome,
}

/// The size that a segment must have for a caller that takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SegmentSize {
    /// The segment must be whole, of the size that [`size_of_next`] returns.
    Whole,
    /// The segment may be smaller: it is as large as there is room for.
    Any,
}

/// The sizes that segments may have, in octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    /// No segment is smaller; the first one of a spool that holds little has this size.
    pub first: u64,
    /// No segment is larger, unless one record alone is.
    pub largest: u64,
}

/// The part of the next segment that is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Made {
    /// The number of its octets that are written, or reserved, and synced.
    pub octets: u64,
    /// The size that it is to have, in octets.
    pub size: u64,
}

impl Made {
    /// Returns whether the segment is whole.
    pub fn is_ready(self) -> bool {
        self.octets >= self.size
    }

    /// Returns the number of octets that are missing.
    pub fn rest(self) -> u64 {
        self.size.saturating_sub(self.octets)
    }
}

/// The decision of the writer about a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// The record goes into the active segment.
    Here,
    /// The next segment is begun, and the record goes there.
    NextSegment(SegmentSize),
    /// One more piece of the next segment is waited for; then the claim is decided again.
    Wait,
    /// There is no room: the client gets 452.
    Refuse,
}

/// The active segment as it would be with the record that is decided on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fill {
    /// The number of the segment.
    pub sequence: u32,
    /// The offset at which the segment would end.
    pub end: u64,
    /// The number of octets with which the segment was made ready.
    pub capacity: u32,
    /// True if the record is the first one of the segment.
    pub is_first: bool,
}

/// The answers of the disk and of the index when a segment is to be filled or begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SpareRoom {
    /// True if the disk has room for what is missing of the next segment or, if that is ready, for the one that follows it.
    pub another: bool,
    /// The oldest segment, which may be the active one.
    pub oldest: Oldest,
    /// Upper bound, in octets, of what a move of all that lives in the active segment takes, the record that is decided on
    /// included.
    pub active_moved: u64,
}

/// Mail and content leave one part in so many of a segment to outcomes.
const LEFT_TO_OUTCOMES: u32 = 4;
/// Mail may fill one part in so many of a segment while no other segment is ready.
const WITHOUT_THE_NEXT: u32 = 2;
/// The oldest segment counts as the one that follows only if what lives in it fits into one part in so many of an empty one.
const OLDEST_FITS_INTO: u64 = 2;
/// While the cleaner works, the next segment is begun when one part in so many of the active one is used.
const USED_BEFORE_ANOTHER: u32 = 4;
/// A segment may be so many times as large as the one before it.
const GROWTH: u64 = 2;
/// A segment is made in at least so many pieces.
const PIECES: u64 = 4;
/// If the disk has no room for a piece, one part in so many of it is tried next.
const SHORTER_PIECE: u64 = 2;
/// One part in so many of a whole piece is the least that is tried on a disk with little room.
const SHORTEST_PIECE: u64 = 4;
/// While less than one part in so many of a piece is ready ahead of the records, one more piece of zeros is written.
const ENOUGH_AHEAD: u32 = 2;
/// Upper bound, in octets, of a piece: a commit that comes while one is written waits for it.
pub(super) const LARGEST_PIECE: u64 = 256 << 10;
/// The closed segments may take so many times the octets of the messages that live.
const TIMES_LIVE: u64 = 3;
/// A move on a full disk frees at least one part in so many of the oldest segment.
const FREED_BY_A_MOVE: u64 = 16;
/// The unfinished messages of one user may take one part in so many of the usable room.
const SHARE_OF_ONE_USER: u64 = 4;
/// The part of the usable room that one user's unfinished messages may take, in words, for replies and log lines.
pub const SHARE_IN_WORDS: &str = "a quarter";
/// Moves on a full disk leave one part in so many of the active segment free.
const LEFT_BY_MOVES: u64 = 8;
/// One part in so many of the free space is left to the file system, which may need some for itself.
const FOR_THE_FILE_SYSTEM: u64 = 16;

/// Size of the smallest segment, in octets: a header and some outcomes fit into it.
pub(super) const SMALLEST: u64 = 1 << 14;
const BLOCK: u64 = 4096;

/// Decides by the first table what becomes of a record. `room` is called only where it matters: it costs a look at the
/// disk.
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

/// Returns whether mail may go into the active segment while the next one is not ready: notes 3 and 5 of the table.
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

/// Returns whether another segment can follow the next one: note 1 of the table.
fn another_can_follow(next: Made, room: SpareRoom) -> bool {
    let SpareRoom { another, oldest, .. } = room;
    another || oldest.moved <= next.octets / OLDEST_FITS_INTO && oldest.size >= next.octets
}

/// The answer to the question whether there is, or can be, a next segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readiness {
    /// The next segment is ready.
    Ready,
    /// It can be made, or is being made.
    Possible,
    /// The disk has no room for it.
    Impossible,
}

/// The sums that the index keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    /// The sum of the octets of the records of all messages that live.
    pub live: u64,
    /// The sum of the octets of the segments before the active one.
    pub closed: u64,
    /// Upper bound, in octets, of what a move of all that lives in the active segment takes.
    pub active_moved: u64,
    /// The oldest segment; `None` if that is the active one.
    pub oldest: Option<Oldest>,
}

/// The oldest segment, which is the next one to be emptied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Oldest {
    pub sequence: u32,
    /// The length of the file, in octets.
    pub size: u64,
    /// Upper bound, in octets, of what a move of all that lives in it takes.
    pub moved: u64,
}

impl Oldest {
    /// Returns whether a move of all that lives in it frees enough to be worth it on a full disk.
    fn frees_room(self) -> bool {
        self.moved <= self.freed_at_least() * (FREED_BY_A_MOVE - 1)
    }

    /// Returns the number of octets that a move on a full disk has to free.
    fn freed_at_least(self) -> u64 {
        self.size / FREED_BY_A_MOVE
    }
}

/// The active segment as a target of the cleaner, which moves messages into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// The number of octets that are left in it.
    pub room: u32,
    /// The number of octets of records that it can hold.
    pub holds: u32,
    /// The number of octets with which it was made ready.
    pub capacity: u32,
    /// The number of octets that are made of the next segment.
    pub next: u64,
}

/// The step that the cleaner takes now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clean {
    /// It moves messages out of the segment of the first number, at most as many octets at once as the second number says.
    Move(u32, u32),
    /// It begins the next segment, of which there is a part.
    Begin,
}

#[cfg(test)]
mod tests;
