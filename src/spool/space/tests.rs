use super::*;

const CAPACITY: u32 = 100_000;
/// The next segment is to have so many octets.
const SIZE: u64 = 200_000;

fn fill(end: u64) -> Option<Fill> {
    Some(Fill { sequence: 2, end, capacity: CAPACITY, is_first: false })
}

/// Returns what is said of a disk that has room for another segment or not, while the oldest segment has `size` octets and
/// what lives in it takes `moved`.
fn room(another: bool, moved: u64, size: u64) -> SpareRoom {
    SpareRoom { another, oldest: Oldest { sequence: 1, size, moved }, active_moved: 1 }
}

fn made(octets: u64) -> Made {
    Made { octets, size: SIZE }
}

/// Tries each cell of the first table on both sides of each of its limits.
#[test]
fn every_cell_of_the_first_table() {
    use Decision::{Here, NextSegment, Refuse, Wait};
    use SpaceClaim::{Content, Mail, Outcome};
    let ample = room(true, 999_999, 1);
    let (last, small, none) =
        (room(false, 100_000, SIZE), room(false, 1, SIZE - 1), room(false, 100_001, SIZE));
    // Half of the way from the header to the middle, half of the next one is due; in pieces of 49,152 octets.
    let (quarter, owed) = (8192 + 41_808 / 2, 100_000 - 49_152);
    let cases = [
        (Mail, SIZE, 75_000, none, Here),
        (Mail, SIZE, 75_001, ample, NextSegment(SegmentSize::Whole)),
        (Mail, SIZE, 75_001, last, NextSegment(SegmentSize::Whole)),
        (Mail, SIZE, 75_001, small, Refuse),
        (Mail, SIZE, 75_001, none, Refuse),
        (Mail, owed, quarter, ample, Here),
        (Mail, owed, quarter, last, Wait),
        (Mail, owed - 1, quarter, ample, Wait),
        (Mail, SIZE - 1, 50_000, ample, Here),
        (Mail, SIZE - 1, 50_001, ample, Wait),
        (Content, SIZE, 75_000, none, Here),
        (Content, SIZE, 75_001, none, NextSegment(SegmentSize::Any)),
        (Content, 0, 100_000, none, Here),
        (Content, 0, 100_001, none, NextSegment(SegmentSize::Any)),
        (Outcome, SIZE, 100_000, none, Here),
        (Outcome, SIZE, 100_001, none, NextSegment(SegmentSize::Any)),
        (Outcome, 0, 100_000, none, Here),
        (Outcome, 0, 100_001, none, NextSegment(SegmentSize::Any)),
    ];
    for (claim, octets, end, room, decision) in cases {
        let what = format!("{claim:?} up to {end}, {octets} of the next are made, {room:?}");
        assert_eq!(decide(claim, fill(end), made(octets), false, || room), decision, "{what}");
    }
    assert_eq!(decide(Mail, fill(25_000), made(0), true, || ample), Here, "the cleaner works");
}

/// Without an active segment mail waits for one, and everything else takes what there is.
#[test]
fn where_no_segment_is_active_one_is_begun() {
    let none = || room(false, 501, 1);
    let decide_now = |claim, octets, room: SpareRoom| decide(claim, None, made(octets), false, || room);
    assert_eq!(decide_now(SpaceClaim::Mail, SIZE - 1, room(true, 0, 0)), Decision::Wait);
    assert_eq!(
        decide_now(SpaceClaim::Mail, SIZE, room(true, 0, 0)),
        Decision::NextSegment(SegmentSize::Whole)
    );
    assert_eq!(decide_now(SpaceClaim::Mail, SIZE, none()), Decision::Refuse);
    for (claim, octets) in
        [SpaceClaim::Content, SpaceClaim::Outcome].into_iter().flat_map(|c| [(c, SIZE), (c, 0)])
    {
        assert_eq!(decide_now(claim, octets, none()), Decision::NextSegment(SegmentSize::Any));
    }
}

/// A record longer than a segment goes into an empty one; mail still waits until another is ready.
#[test]
fn the_first_record_of_a_segment_always_fits() {
    let first = Some(Fill { sequence: 2, end: 500_000, capacity: CAPACITY, is_first: true });
    for claim in [SpaceClaim::Mail, SpaceClaim::Content, SpaceClaim::Outcome] {
        let decision = decide(claim, first, made(SIZE), false, || room(false, 999_999, 1));
        assert_eq!(decision, Decision::Here, "{claim:?}");
    }
    assert_eq!(decide(SpaceClaim::Mail, first, made(SIZE - 1), false, || room(true, 0, 0)), Decision::Wait);
}

/// Mail once began a segment behind one that moves had filled to seven eighths. When somebody else took the room of the
/// disk then, what lived in the oldest segment fitted nowhere, and outcomes of other messages used up what was left: no
/// delivery could be recorded any more.
#[test]
fn mail_leaves_a_place_for_what_lives_in_the_oldest_segment() {
    use Decision::{Here, Wait};
    let decide_now = |octets, active_moved, oldest| {
        let room = SpareRoom { another: true, oldest, active_moved };
        decide(SpaceClaim::Mail, fill(18_524), made(octets), false, || room)
    };
    // Seven eighths of what a segment holds are 80,332 octets.
    let oldest = Oldest { sequence: 1, size: 100_000, moved: 70_000 };
    assert_eq!(decide_now(4096, 10_332, oldest), Here, "it fits into this segment");
    assert_eq!(decide_now(4096, 10_333, oldest), Wait, "one octet too much");
    // 68,976 octets fit here, 7,274 are left with what a move is to free, and those are seven eighths of 8,320.
    let needed = 8192 + 8320;
    assert_eq!((decide_now(needed - 1, 10_333, oldest), decide_now(needed, 10_333, oldest)), (Wait, Here));
    assert_eq!(
        decide_now(4096, 10_333, Oldest { sequence: 2, ..oldest }),
        Here,
        "the active one is the oldest"
    );
    assert_eq!(
        decide_now(4096, 10_333, Oldest { moved: 93_751, ..oldest }),
        Here,
        "a move would free nothing"
    );
    assert_eq!(decide_now(4096, 10_333, Oldest { moved: 93_750, ..oldest }), Wait);
}

/// Moves all that lives in the oldest segment while no room can be had, as the second table says, in steps of an octet
/// at least; returns how much is left of it when nothing is moved any more.
fn move_at_once(mut sums: Sums, mut target: Target) -> u64 {
    while let Some(oldest) = sums.oldest.filter(|oldest| oldest.moved > 0) {
        let octets = match clean_now(&sums, Readiness::Impossible, target, 1 << 20) {
            None => return oldest.moved,
            Some(Clean::Move(_, octets)) => u64::from(octets).min(oldest.moved),
            Some(Clean::Begin) => {
                let holds = target.next as u32 - FIRST_RECORD;
                target = Target { room: holds, holds, capacity: target.next as u32, next: 0 };
                sums.active_moved = 0;
                continue;
            }
        };
        sums.oldest = Some(Oldest { moved: oldest.moved - octets, ..oldest });
        sums.active_moved += octets;
        target.room -= octets as u32;
    }
    0
}

/// Mail may go anywhere while the next segment is not ready: if nobody gives room from then on, the oldest segment can go.
#[test]
fn behind_mail_the_oldest_segment_can_always_go() {
    let mut taken = 0;
    for capacity in [16 << 10, CAPACITY, 32 << 20] {
        let part = |n: u32| u64::from(capacity) * u64::from(n) / 32;
        for (used, octets, moved) in (1..=16)
            .flat_map(|used| (0..64).flat_map(move |made| (1..=30).map(move |moved| (used, made, moved))))
        {
            let (end, next) =
                (u64::from(FIRST_RECORD) + part(used), Made { octets: part(octets), size: part(64) });
            let oldest = Oldest { sequence: 1, size: capacity.into(), moved: part(moved) };
            let fill = Fill { sequence: 2, end, capacity, is_first: false };
            let room = SpareRoom { another: true, oldest, active_moved: part(used) };
            if decide(SpaceClaim::Mail, Some(fill), next, true, || room) != Decision::Here {
                continue;
            }
            taken += 1;
            let sums = Sums { live: 1, closed: 1, active_moved: part(used), oldest: Some(oldest) };
            let target = Target {
                room: capacity - end as u32,
                holds: capacity - FIRST_RECORD,
                capacity,
                next: next.octets,
            };
            assert_eq!(move_at_once(sums, target), 0, "{fill:?}, {next:?}, {oldest:?}");
        }
    }
    assert!(taken > 10_000, "{taken}");
}

/// The disk is not asked for each record: only by mail, where none is ready or this segment is filled.
#[test]
fn the_disk_is_asked_only_where_it_matters() {
    let decide_blindly = |claim, end, octets| {
        decide(claim, fill(end), made(octets), false, || -> SpareRoom { panic!("it was asked") })
    };
    assert_eq!(decide_blindly(SpaceClaim::Mail, 75_000, SIZE), Decision::Here);
    assert_eq!(decide_blindly(SpaceClaim::Mail, 50_001, 0), Decision::Wait);
    assert_eq!(decide_blindly(SpaceClaim::Content, 500_000, SIZE), Decision::NextSegment(SegmentSize::Any));
    assert_eq!(decide_blindly(SpaceClaim::Outcome, 500_000, 0), Decision::NextSegment(SegmentSize::Any));
}

/// Nothing is due in an empty segment, everything in one that is half full, and never less when more is used.
#[test]
fn more_of_the_next_segment_is_due_as_this_one_is_used() {
    for size in [SIZE, 32 << 20, 1 << 30] {
        for capacity in [16 << 10, CAPACITY, 32 << 20, 1 << 30] {
            let due_at = |used: u32, cleaner_works| due(used.into(), capacity, size, cleaner_works);
            assert_eq!((due_at(FIRST_RECORD, false), due_at(capacity / 4, true)), (0, 0));
            for cleaner_works in [false, true] {
                assert_eq!(due_at(capacity / 2 + 1, cleaner_works), size, "{capacity}");
                assert_eq!(due_at(u32::MAX, cleaner_works), size);
                let curve: Vec<u64> = (0..=64).map(|n| due_at(capacity / 64 * n, cleaner_works)).collect();
                assert!(curve.is_sorted(), "{curve:?}");
            }
        }
    }
    // A few messages of 32 MiB: no more than a piece.
    assert!(due(8192 + 50_000, 32 << 20, 32 << 20, false) < piece(32 << 20));
}

#[test]
fn segments_grow_with_what_the_spool_holds() {
    let sizes = Sizes { first: 256 << 10, largest: 32 << 20 };
    let next = |live, capacity| size_of_next(live, capacity, sizes);
    assert_eq!(next(0, 0), 256 << 10, "an empty spool starts with the smallest");
    assert_eq!(next(0, 256 << 10), 512 << 10);
    assert_eq!(next(192 << 10, 256 << 10), 1088 << 10, "and what lives fits three times");
    assert_eq!(next(1 << 20, 0), 3 << 20);
    assert_eq!(next(11 << 20, 0), 32 << 20);
    assert_eq!(next(1 << 40, 1 << 30), 32 << 20);
    assert_eq!(next(100_001, 0) % 4096, 0, "whole blocks");
}

#[test]
fn a_segment_is_made_in_small_pieces_and_leaves_a_sixteenth_to_the_file_system() {
    let size = |size: u64| (piece(size), size.div_ceil(piece(size)));
    assert_eq!([16 << 10, 48 << 10, 256 << 10].map(size), [(16 << 10, 1), (16 << 10, 3), (64 << 10, 4)]);
    assert_eq!(size(32 << 20), (256 << 10, 128));
    let parts = |is_first, free| parts_of_piece(64 << 10, is_first, free).collect::<Vec<_>>();
    assert_eq!(parts(true, 1 << 40), [64 << 10, 32 << 10, 16 << 10]);
    assert_eq!(parts(true, 50_000), [44 << 10, 20 << 10], "whole blocks of 46,875 octets");
    assert_eq!((parts(true, 17_000), parts(false, 17_000)), (vec![], vec![]));
    assert_eq!(parts(false, 20_000), [16 << 10]);
}

#[test]
fn a_start_leaves_a_quarter_of_what_it_shortens() {
    let size = 100 << 12;
    assert_eq!(shortened_at_start(size, 30 << 12), Some(40 << 12));
    assert_eq!(shortened_at_start(size, (30 << 12) + 1), Some(41 << 12), "whole blocks");
    assert_eq!(shortened_at_start(size, 75 << 12), None, "mail has filled it");
    assert_eq!(shortened_at_start(0, 0), None, "it is gone");
}

/// The sums of three messages of 1,000 octets, one of which is in the oldest of two closed segments of 10,000.
const SUMS: Sums = Sums {
    live: 3000,
    closed: 20_000,
    active_moved: 1016,
    oldest: Some(Oldest { sequence: 1, size: 10_000, moved: 1016 }),
};

const TARGET: Target = Target { room: 5000, holds: 9000, capacity: 10_000, next: 0 };

#[test]
fn cleaning_is_wanted_above_three_times_the_live_octets() {
    let clean = |sums: &Sums, next, target| clean_now(sums, next, target, 10_000);
    assert_eq!(clean(&SUMS, Readiness::Ready, TARGET), Some(Clean::Move(1, u32::MAX)));
    assert_eq!(
        clean(&SUMS, Readiness::Possible, TARGET),
        Some(Clean::Move(1, 2500)),
        "the last quarter is for outcomes"
    );
    assert_eq!(clean(&SUMS, Readiness::Possible, Target { room: 2500, ..TARGET }), None);
    assert_eq!(
        clean(&Sums { closed: 6000, ..SUMS }, Readiness::Ready, TARGET),
        None,
        "with the room for the move"
    );
    assert_eq!(
        clean(&Sums { closed: 6001, ..SUMS }, Readiness::Ready, TARGET),
        Some(Clean::Move(1, u32::MAX))
    );
    assert_eq!(
        clean(&Sums { oldest: None, ..SUMS }, Readiness::Ready, TARGET),
        None,
        "the active one is not cleaned"
    );
}

/// Twice the live octets is no reason to clean, but on a full disk the room is worth it, if what lives fits.
#[test]
fn moving_is_wanted_where_it_fits_and_gains() {
    let moves = |sums: &Sums, target| clean_now(sums, Readiness::Impossible, target, 10_000);
    let full = Target { room: 1016, ..TARGET };
    assert_eq!(moves(&SUMS, full), Some(Clean::Move(1, 1016)));
    assert_eq!(moves(&SUMS, Target { room: 1015, ..full }), None, "it does not fit");
    assert_eq!(
        moves(&Sums { closed: 0, ..SUMS }, full),
        Some(Clean::Move(1, 1016)),
        "however much the segments take"
    );
    assert_eq!(moves(&SUMS, Target { holds: 2032, ..full }), None, "the active one could not be moved then");
    let into_an_empty_one = Sums { active_moved: 0, ..SUMS };
    assert_eq!(moves(&into_an_empty_one, Target { holds: 1016, ..full }), Some(Clean::Move(1, 1016)));
    let oldest = Some(Oldest { sequence: 1, size: 1040, moved: 1016 });
    assert_eq!(
        moves(&Sums { oldest, ..SUMS }, Target { room: u32::MAX, holds: u32::MAX, ..full }),
        None,
        "no gain"
    );
    assert_eq!(moves(&Sums { oldest: None, ..SUMS }, full), None, "the active segment is not moved");
}

/// If the active segment is too full, and there is a part of the next one, what fits into seven eighths of both is moved,
/// first into this one, then into that.
#[test]
fn what_fits_into_both_is_moved_into_both() {
    let sums = Sums { oldest: Some(Oldest { sequence: 1, size: 16_000, moved: 8000 }), ..SUMS };
    let moves = |room, next| clean_now(&sums, Readiness::Impossible, Target { room, next, ..TARGET }, 10_000);
    // 9,000 octets and the rest of what is here, without an eighth of each.
    let next = 8192 + 8000;
    assert_eq!(moves(3250, next), Some(Clean::Move(1, 2000)));
    assert_eq!(moves(3249, next), None);
    assert_eq!(moves(3250, next - 8), None);
    assert_eq!(
        moves(9000, next),
        Some(Clean::Move(1, 6859)),
        "with what lives here, no more than seven eighths"
    );
    let next = 8192 + 16_000;
    assert_eq!(moves(1251, next), Some(Clean::Move(1, 1)));
    assert_eq!(moves(1250, next), Some(Clean::Begin));
    assert_eq!(moves(1250, 8192), None, "nothing fits behind its header");
}
