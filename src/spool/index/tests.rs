use super::*;
use crate::spool::EntryState;
use crate::spool::marks::tests::MARKS;

fn id(raw: u64) -> QueueId {
    QueueId::from_raw(raw)
}

fn at(segment: u32) -> RecordPlace {
    RecordPlace { segment, offset: 8192, payload_length: 960 }
}

fn arrive(effect: DsnEffect) -> IndexChange {
    IndexChange::Arrive { effect, marks: Marks::default(), uid: None }
}

/// Returns an index of segments 1, 2 and 3, each with one message of the same number.
fn three() -> Index {
    let mut index = Index::default();
    for number in 1..=3 {
        index.begin_segment(number, 10_000);
        index.apply(id(u64::from(number)), at(number), &arrive(DsnEffect::Nothing));
    }
    index
}

#[test]
fn a_slot_is_small() {
    assert_eq!(size_of::<(QueueId, Slot)>(), 24);
}

#[test]
fn segments_go_oldest_first_and_never_the_active_one() {
    let mut index = three();
    index.apply(id(2), at(3), &IndexChange::Settle);
    assert!(index.take_dead_segments().is_empty(), "segment 1 lives");
    index.apply(id(1), at(3), &IndexChange::Settle);
    assert_eq!(index.take_dead_segments(), [1, 2]);
    index.apply(id(3), at(3), &IndexChange::Settle);
    assert!(index.take_dead_segments().is_empty());
    assert_eq!(index.len(), 0);
}

#[test]
fn the_log_is_added_up() {
    let mut index = three();
    let moved = 1000 + MOVED_MORE;
    let oldest = Some(Oldest { sequence: 1, size: 10_000, moved });
    let sums = Sums { live: 3000, closed: 20_000, active_moved: moved, oldest };
    assert_eq!(index.sums(3), sums);
    assert_eq!((index.sums(1).closed, index.sums(1).oldest), (0, None), "the oldest is the active one");
    assert_eq!(index.oldest().moved, moved);
    for more in 4..=10 {
        index.apply(id(more), at(2), &arrive(DsnEffect::Nothing));
    }
    assert_eq!(index.sums(3), Sums { live: 10_000, ..sums });
    assert_eq!((Index::default().sums(0), Index::default().oldest().moved), (Sums::default(), 0));
}

/// The room that a move takes is known exactly but for some octets a message: its note and its outcomes go with it.
#[test]
fn what_is_recorded_of_a_message_counts_for_its_move() {
    let mut index = three();
    let takes = |index: &Index, octets: u64| index.oldest().moved == octets;
    let plain = 1000 + MOVED_MORE;
    assert!(takes(&index, plain));
    index.apply(id(1), RecordPlace { payload_length: 40, ..at(3) }, &IndexChange::Note { patience_used: 0 });
    index.apply(id(1), RecordPlace { payload_length: 30, ..at(3) }, &IndexChange::Note { patience_used: 0 });
    assert!(takes(&index, plain + 30), "the last note counts");
    for _ in 0..2 {
        index.apply(id(1), at(3), &IndexChange::Close(vec![(0, Fate::Sent), (4, Fate::Bounced)]));
    }
    assert!(takes(&index, plain + 30 + 2 * MOVED_FATE), "each outcome once");
    index.apply(id(1), at(3), &IndexChange::Settle);
    assert!(takes(&index, 0), "and all of it goes with the message");
}

#[test]
fn changes_of_one_message_add_up() {
    let mut index = three();
    index.apply(id(1), at(3), &IndexChange::InFlight(Flight::Begun));
    assert!(index.slot(id(1)).unwrap().marks.has(Mark::InFlight));
    index.apply(id(1), at(3), &IndexChange::Close(vec![(0, Fate::Sent)]));
    index.apply(id(1), at(3), &IndexChange::Close(vec![(0, Fate::Bounced), (4, Fate::Bounced)]));
    index.apply(id(1), at(3), &IndexChange::State(EntryState::Held));
    index.apply(id(1), at(2), &IndexChange::Note { patience_used: 0 });
    let slot = index.slot(id(1)).unwrap();
    assert_eq!(slot.marks.state(), EntryState::Held);
    assert!(slot.marks.has(Mark::Deferred) && !slot.marks.has(Mark::InFlight));
    let extra = index.extra(id(1));
    assert_eq!((extra.fates, extra.note), (vec![(0, Fate::Sent), (4, Fate::Bounced)], Some(at(2))));
}

/// A run that begins where the first value is true and the second is not says "possible duplicate".
#[test]
fn a_flight_ends_with_what_is_recorded_of_it() {
    let [begun, told, over, hidden] =
        [Flight::Begun, Flight::Told, Flight::Over, Flight::Hidden].map(IndexChange::InFlight);
    let marks = |changes: &[&IndexChange]| {
        let mut index = three();
        for change in [&[&begun], changes].concat() {
            index.apply(id(1), at(3), change);
        }
        [Mark::InFlight, Mark::Told].map(|mark| index.slot(id(1)).unwrap().marks.has(mark))
    };
    let none = [false, false];
    assert_eq!(marks(&[&told]), [true, true]);
    assert_eq!(marks(&[&over]), none);
    assert_eq!(marks(&[&told, &begun]), [true, false], "a further copy");
    // This was lost: a message of which a refusal was to be the end was marked as told of, and nothing was said. After a
    // kill before that end was recorded the next run sent it once more, without a word.
    assert_eq!(marks(&[&hidden]), [true, false], "a refusal that is not recorded yet");
    assert_eq!(marks(&[&hidden, &IndexChange::Close(vec![(0, Fate::Dead)])]), none);
    assert_eq!(marks(&[&told, &over]), none);
    assert_eq!(marks(&[&told, &IndexChange::Note { patience_used: 0 }]), none);
    assert_eq!(marks(&[&IndexChange::Close(vec![(0, Fate::Sent)])]), none);
    assert_eq!(
        marks(&[&IndexChange::Close(vec![])]),
        [true, false],
        "that nothing became of it says nothing"
    );
}

#[test]
fn that_a_copy_was_told_of_is_known_whatever_is_recorded_behind_it() {
    let [begun, told, over, hidden] =
        [Flight::Begun, Flight::Told, Flight::Over, Flight::Hidden].map(IndexChange::InFlight);
    let close = IndexChange::Close(vec![(0, Fate::Sent)]);
    let later = [
        &begun,
        &over,
        &IndexChange::Note { patience_used: 0 },
        &close,
        &IndexChange::State(EntryState::Held),
    ];
    let notes = [(&IndexChange::Note { patience_used: 0 }, false), (&close, false)];
    for (first, expected) in [(&told, true), (&hidden, true), (&over, false)].into_iter().chain(notes) {
        let mut index = three();
        for change in [&begun, first].into_iter().chain(later) {
            index.apply(id(1), at(3), change);
        }
        assert_eq!(index.slot(id(1)).unwrap().marks.has(Mark::MayHaveArrived), expected, "{first:?}");
    }
}

#[test]
fn a_dsn_changes_its_original_in_the_same_step() {
    let mut index = three();
    index.apply(id(8), at(3), &arrive(DsnEffect::Closes { of: id(1), recipients: vec![2] }));
    index.apply(id(9), at(3), &arrive(DsnEffect::Warns { of: id(2) }));
    assert_eq!(index.extra(id(1)).fates, [(2, Fate::Bounced)]);
    assert!(index.slot(id(2)).unwrap().marks.has(Mark::Warned));
}

#[test]
fn a_move_carries_all_and_frees_the_old_place() {
    let mut index = three();
    index.apply(id(1), at(1), &IndexChange::Note { patience_used: 0 });
    let marks = MARKS.iter().fold(Marks::from(EntryState::Dead), |marks, mark| marks.and(*mark, true));
    let carried = Carried { marks, fates: vec![(1, Fate::Sent)], patience_used: 0, uid: Some(33) };
    index.apply(id(1), at(3), &IndexChange::Move(Box::new(carried)));
    let slot = index.slot(id(1)).unwrap();
    assert_eq!((slot.place, slot.marks), (at(3), marks));
    assert_eq!((index.live_of(33), index.uid_of(slot)), (1, Some(33)));
    let extra = index.extra(id(1));
    assert_eq!((extra.fates, extra.note), (vec![(1, Fate::Sent)], None), "the note is in the moved record");
    assert_eq!(index.take_dead_segments(), [1]);
    assert!(index.apply(id(1), at(3), &IndexChange::Settle), "its large file goes with it");
    assert_eq!(index.live_of(33), 0);
}

#[test]
fn records_about_what_is_not_there_change_nothing() {
    let mut index = three();
    let about = [
        IndexChange::Settle,
        IndexChange::Note { patience_used: 0 },
        IndexChange::InFlight(Flight::Begun),
        IndexChange::Close(vec![(0, Fate::Sent)]),
    ];
    for change in about {
        assert!(!index.apply(id(99), at(3), &change));
    }
    assert_eq!((index.len(), index.extras.len()), (3, 0));
}

/// The question of the cleaner: all that lives in one segment, piece by piece, without a look at the others' ids.
#[test]
fn the_messages_of_a_segment_are_found_in_pieces() {
    let mut index = Index::default();
    for number in 0..1000 {
        index.apply(id(number), at(1 + u32::from(number >= 500)), &arrive(DsnEffect::Nothing));
    }
    for number in (0..500).filter(|number| number % 10 != 7) {
        index.apply(id(number), at(2), &IndexChange::Settle);
    }
    let (mut found, mut from, mut looks) = (Vec::new(), None, 0);
    loop {
        let (here, next) = index.live_in(1, from, 20);
        found.extend(here);
        (from, looks) = (next, looks + 1);
        if next.is_none() {
            break;
        }
    }
    assert_eq!(found, (0..50).map(|tens| id(tens * 10 + 7)).collect::<Vec<_>>());
    assert!(looks <= 4, "{looks} looks of 20 at 50 messages: those of segment 2 were met");
    assert_eq!(index.live_in(3, None, 20), (Vec::new(), None));
}

#[test]
fn messages_are_listed_in_pages() {
    let mut index = Index::default();
    for number in 1..=10 {
        index.apply(id(number), at(1), &arrive(DsnEffect::Nothing));
    }
    index.apply(id(4), at(1), &IndexChange::Settle);
    let following = |after, count| -> Vec<QueueId> {
        index.following(after, count).into_iter().map(|found| found.id).collect()
    };
    assert_eq!(following(None, 3), [id(1), id(2), id(3)]);
    assert_eq!(following(Some(id(3)), 3), [id(5), id(6), id(7)]);
    assert_eq!(following(Some(id(4)), 99).len(), 6, "also behind one that is gone");
    assert_eq!(following(Some(id(10)), 3), []);
}

/// A history of 100,000 messages, each with everything that can happen to one, leaves nothing.
#[test]
fn a_long_history_leaves_nothing() {
    let mut index = Index::default();
    for number in 0..100_000 {
        let segment = 1 + (number / 100) as u32;
        index.begin_segment(segment, 1 << 20);
        index.apply(id(number), at(segment), &arrive(DsnEffect::Nothing));
        index.apply(id(number), at(segment), &IndexChange::InFlight(Flight::Begun));
        index.apply(id(number), at(segment), &IndexChange::Note { patience_used: 0 });
        index.apply(id(number), at(segment), &IndexChange::Close(vec![(0, Fate::Sent)]));
        index.apply(id(number), at(segment), &IndexChange::Settle);
        index.take_dead_segments();
    }
    assert_eq!((index.slots.len(), index.extras.len(), index.segments.len()), (0, 0, 1));
    assert!(index.extras.capacity() < 16);
}
