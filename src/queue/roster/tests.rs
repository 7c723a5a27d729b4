use std::time::Duration;

use super::*;
use crate::envelope::Submitter;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn entry(raw: u64, state: EntryState) -> Entry {
    Entry {
        id: QueueId::from_raw(raw),
        arrived: at(0),
        submitter: Submitter::Loopback,
        lane: 1,
        patience_mark: 100,
        marks: state.into(),
    }
}

fn roster_of(raws: &[u64]) -> Roster {
    let mut roster = Roster::default();
    for raw in raws {
        roster.admit(&entry(*raw, EntryState::Active), at(0));
    }
    roster
}

fn take(roster: &mut Roster) -> Option<u64> {
    roster.take(|_| false).map(|(id, _)| id.raw())
}

#[test]
fn a_message_under_way_is_given_to_nobody_else() {
    let mut roster = roster_of(&[1]);
    assert_eq!(take(&mut roster), Some(1));
    assert_eq!((take(&mut roster), roster.under_way()), (None, 1));
    roster.put_back(QueueId::from_raw(1), at(1));
    assert_eq!((roster.under_way(), take(&mut roster)), (0, Some(1)));
}

#[test]
fn one_that_is_kept_for_others_is_passed_over_and_keeps_its_lane() {
    let mut roster = roster_of(&[1, 2]);
    let kept = |id: QueueId| id.raw() == 1;
    assert_eq!(roster.take(kept).map(|(id, _)| id.raw()), Some(2));
    assert!(roster.take(kept).is_none() && roster.ready() == 1);
    assert_eq!(take(&mut roster), Some(1));
}

#[test]
fn one_from_amid_the_queue_is_given_once() {
    let mut roster = roster_of(&[1, 2, 3, 4]);
    let amid =
        |roster: &mut Roster, place| roster.take_amid(place, |id| id.raw() == 3).map(|(id, _)| id.raw());
    assert_eq!(amid(&mut roster, 1), Some(2));
    assert_eq!(amid(&mut roster, 1), Some(4), "2 is under way, and 3 is kept");
    assert_eq!(amid(&mut roster, 1), None);
    roster.update(QueueId::from_raw(4), |member| member.losses = 1);
    roster.put_back(QueueId::from_raw(4), at(1));
    assert_eq!([take(&mut roster), take(&mut roster), take(&mut roster)], [Some(1), Some(3), None]);
    assert_eq!(roster.take_lost().map(|(id, _)| id.raw()), Some(4), "not by the name that it left");
}

#[test]
fn the_newest_is_given_only_if_it_has_arrived_since() {
    let mut roster = roster_of(&[1, 2, 3, 4]);
    let newest = |roster: &mut Roster, known: Option<u64>| {
        let taken = roster.take_newest(known.map(QueueId::from_raw), |id| id.raw() == 4);
        taken.map(|(id, _)| id.raw())
    };
    assert_eq!(newest(&mut roster, Some(3)), None, "4 is kept");
    assert_eq!(newest(&mut roster, None), Some(3));
    assert_eq!(newest(&mut roster, Some(1)), Some(2));
    assert_eq!([take(&mut roster), take(&mut roster), take(&mut roster)], [Some(1), Some(4), None]);
}

#[test]
fn deferred_messages_come_back_in_the_order_they_are_due() {
    let mut roster = roster_of(&[1, 2, 3]);
    while roster.take(|_| false).is_some() {}
    for (raw, due) in [(1, 30), (2, 10), (3, 20)] {
        roster.defer(QueueId::from_raw(raw), at(due));
    }
    assert_eq!(roster.next_due(), Some(at(10)));
    roster.wake_due(at(9));
    assert_eq!(take(&mut roster), None);
    roster.wake_due(at(20));
    assert_eq!([take(&mut roster), take(&mut roster), take(&mut roster)], [Some(2), Some(3), None]);
    roster.wake_all(at(20));
    assert_eq!(take(&mut roster), Some(1));
    assert_eq!(roster.next_due(), None);
}

#[test]
fn messages_with_losses_stand_apart() {
    let mut roster = roster_of(&[1, 2, 3]);
    take(&mut roster);
    roster.update(QueueId::from_raw(1), |member| member.losses = 1);
    roster.put_back(QueueId::from_raw(1), at(1));
    assert_eq!((roster.ready(), roster.has_lost()), (2, true));
    assert_eq!([take(&mut roster), take(&mut roster), take(&mut roster)], [Some(2), Some(3), None]);
    assert_eq!(roster.take_lost().map(|(id, _)| id.raw()), Some(1));
    assert!(roster.take_lost().is_none() && !roster.has_lost());
}

#[test]
fn held_dead_and_removed_messages_are_passed_over() {
    let mut roster = roster_of(&[2, 3, 4]);
    roster.admit(&entry(1, EntryState::Held), at(0));
    roster.give_up(QueueId::from_raw(2));
    roster.remove(QueueId::from_raw(3));
    assert_eq!([take(&mut roster), take(&mut roster)], [Some(4), None]);
    assert_eq!((roster.len(), roster.held(), roster.dead()), (3, 1, 1));
    roster.put_back(QueueId::from_raw(1), at(1));
    assert_eq!((take(&mut roster), roster.held()), (Some(1), 0));
}

#[test]
fn a_message_released_while_its_old_name_is_still_in_a_lane_is_given_once() {
    let mut roster = roster_of(&[1]);
    roster.give_up(QueueId::from_raw(1));
    roster.put_back(QueueId::from_raw(1), at(1));
    assert_eq!([take(&mut roster), take(&mut roster)], [Some(1), None]);
}

#[test]
fn recovered_states_are_kept() {
    let mut roster = Roster::default();
    roster.admit(&entry(1, EntryState::Held), at(0));
    roster.admit(&entry(2, EntryState::Dead), at(0));
    assert_eq!((take(&mut roster), roster.len()), (None, 2));
    assert_eq!(roster.member(QueueId::from_raw(2)).unwrap().standing, Standing::Dead);
}

#[test]
fn age_runs_with_the_clock_and_patience_with_the_relay() {
    let roster = roster_of(&[1]);
    let member = roster.member(QueueId::from_raw(1)).unwrap();
    assert_eq!(member.age(at(3600)), Duration::from_secs(3600));
    assert_eq!(member.patience_used(160), Duration::from_secs(60));
    assert_eq!(member.patience_used(50), Duration::ZERO, "a relay clock that went back costs nothing");
}

#[test]
fn a_wait_is_counted_in_hundredths_however_late_it_is() {
    let mut roster = roster_of(&[]);
    // The count begins anew within this wait.
    let since = Timestamp::from_millisecond(10 * (i64::from(u32::MAX) * 41) - 200).unwrap();
    roster.admit(&entry(1, EntryState::Active), since);
    let member = roster.member(QueueId::from_raw(1)).unwrap();
    let waited = Duration::from_millis(2_340);
    assert_eq!(member.ready_for(since + waited), waited);
}

#[test]
fn an_entry_stays_small() {
    assert_eq!(size_of::<(QueueId, Member)>(), 40);
}
