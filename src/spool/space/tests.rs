use super::*;

const CAPACITY: u32 = 1000;

fn fill(end: u64) -> Option<Fill> {
    Some(Fill { end, capacity: CAPACITY, is_first: false })
}

fn room(another: bool, oldest_moved: u64) -> Room {
    Room { another, oldest_moved, segment_size: u64::from(CAPACITY) }
}

/// Each cell of the first table, on both sides of each of its limits.
#[test]
fn every_cell_of_the_first_table() {
    use Claim::{Content, Mail, Outcome};
    use Decision::{Here, NextSegment, Refuse, Wait};
    let (ample, last, none) = (room(true, 9999), room(false, 500), room(false, 501));
    let cases = [
        (Mail, true, 750, none, Here),
        (Mail, true, 751, ample, NextSegment(Size::Usual)),
        (Mail, true, 751, last, NextSegment(Size::Usual)),
        (Mail, true, 751, none, Refuse),
        (Mail, false, 500, ample, Here),
        (Mail, false, 500, last, Wait),
        (Mail, false, 501, ample, Wait),
        (Content, true, 750, none, Here),
        (Content, true, 751, none, NextSegment(Size::Any)),
        (Content, false, 1000, none, Here),
        (Content, false, 1001, none, NextSegment(Size::Any)),
        (Outcome, true, 1000, none, Here),
        (Outcome, true, 1001, none, NextSegment(Size::Any)),
        (Outcome, false, 1000, none, Here),
        (Outcome, false, 1001, none, NextSegment(Size::Any)),
    ];
    for (claim, is_ready, end, room, decision) in cases {
        let what = format!("{claim:?} up to {end}, ready: {is_ready}, {room:?}");
        assert_eq!(decide(claim, fill(end), is_ready, || room), decision, "{what}");
    }
}

/// Without an active segment mail waits for one, and everything else takes what there is.
#[test]
fn where_no_segment_is_active_one_is_begun() {
    let none = || room(false, 501);
    assert_eq!(decide(Claim::Mail, None, false, || room(true, 0)), Decision::Wait);
    assert_eq!(decide(Claim::Mail, None, true, || room(true, 0)), Decision::NextSegment(Size::Usual));
    assert_eq!(decide(Claim::Mail, None, true, none), Decision::Refuse);
    for (claim, is_ready) in
        [Claim::Content, Claim::Outcome].into_iter().flat_map(|c| [(c, true), (c, false)])
    {
        assert_eq!(decide(claim, None, is_ready, none), Decision::NextSegment(Size::Any));
    }
}

/// A record longer than a segment goes into an empty one; mail still waits until another is ready.
#[test]
fn the_first_record_of_a_segment_always_fits() {
    let first = Some(Fill { end: 5000, capacity: CAPACITY, is_first: true });
    for claim in [Claim::Mail, Claim::Content, Claim::Outcome] {
        assert_eq!(decide(claim, first, true, || room(false, 501)), Decision::Here, "{claim:?}");
    }
    assert_eq!(decide(Claim::Mail, first, false, || room(true, 0)), Decision::Wait);
}

/// The disk is not asked for each record: only by mail, where none is ready or this segment is filled.
#[test]
fn the_disk_is_asked_only_where_it_matters() {
    let ask = || -> Room { panic!("it was asked") };
    assert_eq!(decide(Claim::Mail, fill(750), true, ask), Decision::Here);
    assert_eq!(decide(Claim::Mail, fill(501), false, ask), Decision::Wait);
    assert_eq!(decide(Claim::Content, fill(5000), true, ask), Decision::NextSegment(Size::Any));
    assert_eq!(decide(Claim::Outcome, fill(5000), false, ask), Decision::NextSegment(Size::Any));
}

#[test]
fn another_is_wanted_when_the_cleaner_rests_or_a_quarter_is_used() {
    assert!(wants_another(0, CAPACITY, false));
    assert!(!wants_another(250, CAPACITY, true));
    assert!(wants_another(251, CAPACITY, true));
}

#[test]
fn a_segment_of_any_size_leaves_a_sixteenth_and_is_halved_down_to_the_smallest() {
    let tried = |size, free| sizes(size, 64 << 10, free).collect::<Vec<_>>();
    assert_eq!(tried(Size::Any, 1 << 40), [64 << 10, 64 << 10, 32 << 10, 16 << 10]);
    assert_eq!(tried(Size::Any, 20_000), [64 << 10, 16 << 10], "whole blocks of 18,750 octets");
    assert_eq!(tried(Size::Any, 17_000), [64 << 10]);
    assert_eq!(tried(Size::Usual, 1 << 40), [64 << 10]);
}

/// Three messages of 1,000 octets, one of them in the oldest of two closed segments of 10,000.
const SUMS: Sums = Sums {
    live: 3000,
    closed: 20_000,
    active_moved: 1016,
    oldest: Some(Oldest { sequence: 1, size: 10_000, moved: 1016 }),
};

const TARGET: Target = Target { room: 5000, holds: 9000, capacity: 10_000 };

#[test]
fn cleaning_is_wanted_above_three_times_the_live_octets() {
    let clean = |sums: &Sums, next, target| clean_now(sums, next, target, 10_000);
    assert_eq!(clean(&SUMS, Next::Ready, TARGET), Some((1, u32::MAX)));
    assert_eq!(clean(&SUMS, Next::Possible, TARGET), Some((1, 2500)), "the last quarter is for outcomes");
    assert_eq!(clean(&SUMS, Next::Possible, Target { room: 2500, ..TARGET }), None);
    assert_eq!(
        clean(&Sums { closed: 6000, ..SUMS }, Next::Ready, TARGET),
        None,
        "with the room for the move"
    );
    assert_eq!(clean(&Sums { closed: 6001, ..SUMS }, Next::Ready, TARGET), Some((1, u32::MAX)));
    assert_eq!(
        clean(&Sums { oldest: None, ..SUMS }, Next::Ready, TARGET),
        None,
        "the active one is not cleaned"
    );
}

/// Twice the live octets is no reason to clean, but on a full disk the room is worth it, if what lives fits.
#[test]
fn moving_is_wanted_where_it_fits_and_gains() {
    let moves = |sums: &Sums, target| clean_now(sums, Next::Impossible, target, 10_000);
    let full = Target { room: 1016, ..TARGET };
    assert_eq!(moves(&SUMS, full), Some((1, 1016)));
    assert_eq!(moves(&SUMS, Target { room: 1015, ..full }), None, "it does not fit");
    assert_eq!(moves(&Sums { closed: 0, ..SUMS }, full), Some((1, 1016)), "however long the log is");
    assert_eq!(moves(&SUMS, Target { holds: 2032, ..full }), None, "the active one could not be moved then");
    let into_an_empty_one = Sums { active_moved: 0, ..SUMS };
    assert_eq!(moves(&into_an_empty_one, Target { holds: 1016, ..full }), Some((1, 1016)));
    let oldest = Some(Oldest { sequence: 1, size: 1040, moved: 1016 });
    assert_eq!(
        moves(&Sums { oldest, ..SUMS }, Target { room: u32::MAX, holds: u32::MAX, ..full }),
        None,
        "no gain"
    );
    assert_eq!(moves(&Sums { oldest: None, ..SUMS }, full), None, "the active segment is not moved");
}
