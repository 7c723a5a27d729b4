//! Who may take space in the spool: one table.
//!
//! A record claims room in the active segment ([`decide`]). A segment that is *ready* is the next one, made and
//! synced.
//!
//! | claim | a segment is ready | none is ready |
//! |---|---|---|
//! | mail | here, but for the last quarter; then the next segment, if another can follow it (1), else refused | here up to the middle, if the disk has room for one (2); else it waits for one attempt to make it ready |
//! | content: reports, moved messages | here, but for the last quarter; then the next segment | here to the end; then a segment of any size (3) |
//! | outcome | here to the end; then the next segment | here to the end; then a segment of any size (3) |
//!
//! 1. The disk has room for one more, or what lives in the oldest segment moves into half of an empty one.
//! 2. So mail never fills the second half of a segment behind which no other is certain.
//! 3. As large as the disk has room for ([`sizes`]); a start takes one, too, after it has given back what the segments
//!    of before did not use (`start.rs`).
//!
//! The first record of an empty segment fits however long it is: the segment grows by it. Mail first waits for the next
//! one there, too.
//!
//! And the cleaner moves what lives in the oldest segment ([`clean_now`]):
//!
//! | the next segment | moves when | moves into |
//! |---|---|---|
//! | is ready | the closed segments take more than three times what lives | any room |
//! | can be made | the same | the active one, but for its last quarter |
//! | cannot be made | all that lives in the oldest fits into the active one, frees a sixteenth, and leaves an eighth of it | the active one |
//!
//! # A full disk drains
//!
//! When mail is refused, either a whole segment is ready, since mail begins one only where another can follow (1), or
//! mail fills no more than half of the active one (2). So there is room for outcomes. As messages end, less lives
//! in the oldest segment; once that fits into what is left, it is moved, and its segment is let go and becomes the
//! next one under a new name, for which the disk is asked for no room (`stock.rs`). Moves leave an eighth of the
//! active segment, so that what lives in that one fits into an empty one in its turn, with what is recorded meanwhile.
//! So there is always a segment for the next outcome, in whatever order the messages end. Should somebody else take
//! the room between the two, outcomes take a segment of any size (3). `tests/full.rs` and its random histories try it.
//!
//! Pure: what the disk and the index say are arguments. Not here: who carries it out (`writer.rs`, `clean.rs`,
//! `stock.rs`), whether the configuration lets mail in at all (`room.rs`).

/// What a record asks of a disk that may be full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// Mail that somebody submits: room for as long as it lives.
    Mail,
    /// Our own reports, which end what they are about, and moved messages, whose old segment goes for it.
    Content,
    /// What is recorded of messages: little, and it makes room sooner or later.
    Outcome,
}

/// How large a segment has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    /// As all are.
    Usual,
    /// As large as there is room for.
    Any,
}

/// What becomes of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// The record goes into the active segment.
    Here,
    /// The next segment is begun, and the record goes there.
    NextSegment(Size),
    /// One attempt to make the next segment ready is waited for; then the claim is decided again.
    Wait,
    /// There is no room: 452.
    Refuse,
}

/// The active segment with the record that is decided on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fill {
    /// Where the segment would end with it.
    pub end: u64,
    /// Octets that the segment was made ready with.
    pub capacity: u32,
    /// Nothing stands before it.
    pub is_first: bool,
}

/// What the disk and the index have to say when a segment is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    /// The disk has room for one more segment than there are.
    pub another: bool,
    /// Octets that what lives in the oldest segment takes when it is moved.
    pub oldest_moved: u64,
    /// Octets of a segment of the usual size.
    pub segment_size: u64,
}

/// The part of a segment that mail and content leave to outcomes: one of so many.
const LEFT_TO_OUTCOMES: u32 = 4;
/// The part of a segment that mail may fill while no other is ready: one of so many.
const WITHOUT_THE_NEXT: u32 = 2;
/// The part of an empty segment into which the oldest must fit to be taken for the one that follows: one of so many.
const OLDEST_FITS_INTO: u64 = 2;
/// The part of a segment that is used before another is made in spite of the cleaner's work: one of so many.
const USED_BEFORE_ANOTHER: u32 = 4;
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
pub(super) fn decide(claim: Claim, fill: Option<Fill>, is_ready: bool, room: impl Fn() -> Room) -> Decision {
    let fits =
        |spared: u32| fill.is_some_and(|fill| fill.is_first || fill.end <= u64::from(fill.capacity - spared));
    let quarter = fill.map_or(0, |fill| fill.capacity / LEFT_TO_OUTCOMES);
    let half = fill.map_or(0, |fill| u64::from(fill.capacity / WITHOUT_THE_NEXT));
    match (claim, is_ready) {
        (Claim::Mail, true) if fits(quarter) => Decision::Here,
        (Claim::Mail, true) if another_can_follow(room()) => Decision::NextSegment(Size::Usual),
        (Claim::Mail, true) => Decision::Refuse,
        (Claim::Mail, false) if fill.is_some_and(|fill| fill.end <= half) && room().another => Decision::Here,
        (Claim::Mail, false) => Decision::Wait,
        (Claim::Content, true) if fits(quarter) => Decision::Here,
        (Claim::Content, false) | (Claim::Outcome, _) if fits(0) => Decision::Here,
        (Claim::Content | Claim::Outcome, _) => Decision::NextSegment(Size::Any),
    }
}

fn another_can_follow(room: Room) -> bool {
    room.another || room.oldest_moved <= room.segment_size / OLDEST_FITS_INTO
}

/// Whether another segment is to be made, when none is ready and the active one is used up to `used` of `capacity`
/// octets. While the cleaner works, one is likely to be let go and reused.
pub(super) fn wants_another(used: u32, capacity: u32, cleaner_works: bool) -> bool {
    !cleaner_works || used > capacity / USED_BEFORE_ANOTHER
}

/// The sizes that the next segment may have on a disk with `free` octets, the largest first: the first one that the
/// disk gives is taken.
pub(super) fn sizes(size: Size, segment_size: u64, free: u64) -> impl Iterator<Item = u64> {
    let any = (free - free / FOR_THE_FILE_SYSTEM).min(segment_size);
    let whole_blocks = |octets: u64| octets & !(BLOCK - 1);
    let next = move |octets: &u64| Some(whole_blocks(*octets / 2)).filter(|octets| *octets >= SMALLEST);
    let first = (size == Size::Any).then_some(whole_blocks(any)).filter(|octets| *octets >= SMALLEST);
    std::iter::once(segment_size).chain(std::iter::successors(first, next))
}

/// How it stands with the next segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Oldest {
    pub sequence: u32,
    /// Its octets.
    pub size: u64,
    /// Octets that what lives in it takes when it is moved.
    pub moved: u64,
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
}

/// The second table: the segment to clean now, and the octets that may be moved at once.
pub(super) fn clean_now(sums: &Sums, next: Next, target: Target, segment_size: u64) -> Option<(u32, u32)> {
    let oldest = sums.oldest?;
    let spared = target.room.saturating_sub(target.capacity / LEFT_TO_OUTCOMES);
    let (wanted, room) = match next {
        Next::Impossible => (moves_at_once(sums, oldest, target), target.room),
        Next::Possible => (is_too_long(sums, segment_size), spared),
        Next::Ready => (is_too_long(sums, segment_size), u32::MAX),
    };
    (wanted && (room > 0 || next == Next::Impossible)).then_some((oldest.sequence, room))
}

/// Whether the closed segments take more than they may, less the room that the move itself takes for a while. That is
/// no more than a segment, nor than what lives.
fn is_too_long(sums: &Sums, segment_size: u64) -> bool {
    sums.closed + sums.live.min(segment_size) > TIMES_LIVE * sums.live
}

/// Whether the oldest segment can go at once for what is left in the active one: room is worth more than the copying
/// then. An empty active one takes whatever fits.
fn moves_at_once(sums: &Sums, oldest: Oldest, target: Target) -> bool {
    let frees = oldest.size / FREED_BY_A_MOVE * (FREED_BY_A_MOVE - 1);
    let most = u64::from(target.holds) / LEFT_BY_MOVES * (LEFT_BY_MOVES - 1);
    let leaves_room = sums.active_moved == 0 || sums.active_moved + oldest.moved <= most;
    oldest.moved <= u64::from(target.room).min(frees) && leaves_room
}

#[cfg(test)]
mod tests;
