use std::io::ErrorKind;
use std::path::Path;

use super::*;
use crate::spool::fs::Fs as _;
use crate::spool::fs::sim::SimFs;

const WHOLE: u64 = 3 * SMALLEST;

/// Returns a segment of which so many pieces are made.
fn pieces(sequence: u32, pieces: u64) -> ReadySegment {
    let file = SimFs::new().create(Path::new("/segment")).unwrap();
    ReadySegment { sequence, file, length: pieces * SMALLEST, written: pieces * SMALLEST }
}

fn full() -> io::Error {
    ErrorKind::StorageFull.into()
}

/// Begins a piece; returns the number of its segment, and how many octets there are before it.
fn begin(supply: &mut Supply) -> Option<(u32, u64)> {
    supply.begin().map(|piece| (piece.sequence, piece.from))
}

#[test]
fn as_much_is_made_as_is_due_and_the_whole_is_handed_out_once() {
    let mut supply = Supply::new(7, WHOLE);
    assert_eq!(begin(&mut supply), None, "nothing is due");
    assert!(supply.want(1) && !supply.want(1));
    assert_eq!((begin(&mut supply), begin(&mut supply)), (Some((7, 0)), None));
    assert!(supply.is_busy() && supply.is_undecided(1));
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

/// The part that there was of the next segment could once be handed out, where it was to be smaller by then, while a segment
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

/// A caller that takes any size gets what there is, but not while a piece is being written to it, nor an empty one.
#[test]
fn a_part_is_a_segment_of_any_size() {
    let mut supply = Supply::new(1, WHOLE);
    assert!(supply.take(SegmentSize::Any).is_none());
    supply.put(pieces(1, 1));
    supply.ask(SegmentSize::Any, WHOLE);
    assert_eq!(supply.begin().map(|piece| piece.terms), Some(PieceTerms::AsMuchAsFits));
    assert!(supply.take(SegmentSize::Any).is_none());
    supply.fail(full(), true);
    assert_eq!(supply.take(SegmentSize::Any).map(|ready| ready.length), Some(SMALLEST));
    assert_eq!(begin(&mut supply), None, "nothing is due of the one that follows");
    supply.want(1);
    assert_eq!(supply.begin().map(|piece| (piece.sequence, piece.terms)), Some((2, PieceTerms::IfAllFits)));
}

/// The segment that a start begins with is reserved, no later one is, and none of which a part is enough.
#[test]
fn the_room_of_one_segment_is_reserved() {
    let mut supply = Supply::new(1, WHOLE);
    supply.reserve();
    let terms = |supply: &mut Supply, wanted| {
        supply.ask(wanted, WHOLE);
        let terms = supply.begin().map(|piece| piece.terms);
        supply.put(pieces(supply.next, 3));
        supply.take(wanted);
        terms
    };
    assert_eq!(terms(&mut supply, SegmentSize::Whole), Some(PieceTerms::AndReserveTheRest));
    assert_eq!(terms(&mut supply, SegmentSize::Whole), Some(PieceTerms::IfAllFits));
    supply.reserve();
    assert_eq!(terms(&mut supply, SegmentSize::Any), Some(PieceTerms::AsMuchAsFits));
}

/// The room that was freed on a full disk is claimed for the next segment, and no pace makes that an attempt for the whole.
#[test]
fn what_is_claimed_is_a_part() {
    let mut supply = Supply::new(1, WHOLE);
    supply.ask(SegmentSize::Whole, WHOLE);
    supply.begin();
    supply.fail(full(), false);
    let mut supply = Supply { due: 0, ..supply };
    supply.claim(SMALLEST);
    supply.want(1);
    assert_eq!(supply.begin().map(|piece| (piece.from, piece.terms)), Some((0, PieceTerms::AsMuchAsFits)));
    supply.put(pieces(1, 1));
    supply.want(WHOLE);
    assert_eq!(
        supply.begin().map(|piece| (piece.from, piece.terms)),
        Some((SMALLEST, PieceTerms::IfAllFits))
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

/// The renaming of a segment that is let go is a state of its own: a failure from before it is there after it, unless
/// somebody has asked meanwhile, or the segment has become the next one.
#[test]
fn a_failure_outlasts_an_attempt_to_reuse_a_segment() {
    let between: [fn(&mut Supply); 3] =
        [Supply::gains_room, |supply| supply.ask(SegmentSize::Any, 1), |supply| supply.put(pieces(1, 2))];
    let fails_still = between.map(|act| {
        let mut supply = Supply::new(1, WHOLE);
        supply.want(1);
        supply.begin();
        supply.fail(full(), false);
        assert_eq!(supply.reuse(), Some((1, 0)));
        assert!(supply.trouble().is_some() && supply.is_undecided(WHOLE));
        assert_eq!(begin(&mut supply), None, "no piece is made meanwhile");
        act(&mut supply);
        supply.end_reuse();
        assert!(!supply.is_busy());
        supply.trouble().is_some()
    });
    assert_eq!(fails_still, [true, false, false]);
}

/// The pieces that were made are there after a failure for want of room, and after no other.
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
