use std::collections::BTreeMap;
use std::iter;
use std::mem::replace;
use std::time::Duration;

use fastrand::Rng;

use super::*;
use crate::envelope::{Address, ReversePath, ReversePathKey, Submitter};
use crate::queue::patience::PatienceOf;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn entry(raw: u64, state: EntryState) -> Entry {
    Entry {
        id: QueueId::from_raw(raw),
        arrived: at(0),
        submitter: Submitter::Loopback,
        lane: 1,
        from: ReversePathKey::of_text("app@example.org"),
        patience_mark: 100,
        patience_used: 0,
        marks: state.into(),
    }
}

fn roster_of(raws: &[u64]) -> Roster {
    let mut roster = Roster::default();
    for raw in raws {
        roster.admit(&entry(*raw, EntryState::Active), Duration::ZERO, at(0));
    }
    roster
}

fn take(roster: &mut Roster) -> Option<u64> {
    roster.take(|_| false, at(0)).map(|(id, _)| id.raw())
}

#[test]
fn a_message_under_way_is_given_to_nobody_else() {
    let mut roster = roster_of(&[1]);
    assert_eq!(take(&mut roster), Some(1));
    assert_eq!((take(&mut roster), roster.counts().under_way), (None, 1));
    roster.put_back(QueueId::from_raw(1), at(1));
    assert_eq!((roster.counts().under_way, take(&mut roster)), (0, Some(1)));
}

#[test]
fn one_that_is_kept_for_others_is_passed_over_and_keeps_its_lane() {
    let mut roster = roster_of(&[1, 2]);
    let kept = |id: QueueId| id.raw() == 1;
    assert_eq!(roster.take(kept, at(0)).map(|(id, _)| id.raw()), Some(2));
    assert!(roster.take(kept, at(0)).is_none() && roster.ready() == 1);
    assert_eq!(take(&mut roster), Some(1));
}

fn app() -> ReversePath {
    ReversePath::Mailbox(Address::parse("app@example.org").unwrap())
}

/// Gives the messages to the relay, which refuses them for their sender.
fn refuse(roster: &mut Roster, messages: [u64; 3]) {
    let refusal = SenderRefusal { from: app(), said: "554 no".to_owned(), hint: None, pause: None };
    for raw in messages {
        assert_eq!(take(roster), Some(raw));
        assert_ne!(roster.sender_refused(QueueId::from_raw(raw), &refusal, at(0)), SenderRuling::Own);
        roster.hold(QueueId::from_raw(raw), at(0));
    }
}

/// Returns a roster of messages 1 to 5 of one sender, of which the relay has refused three, and 6 of another one.
fn roster_with_stopped_sender() -> Roster {
    let mut roster = roster_of(&[1, 2, 3, 4, 5]);
    refuse(&mut roster, [1, 2, 3]);
    let other = ReversePathKey::of_text("ann@example.org");
    roster.admit(&Entry { from: other, ..entry(6, EntryState::Active) }, Duration::ZERO, at(0));
    roster
}

/// Each new message of a sender that the relay does not take was tried once before it was held.
#[test]
fn nothing_of_a_stopped_sender_is_given_out_but_the_one_that_is_tried() {
    let mut roster = roster_with_stopped_sender();
    assert_eq!((roster.ready(), roster.counts().held), (1, 5), "what was ready is held, too");
    roster.admit(&entry(7, EntryState::Active), Duration::ZERO, at(1));
    roster.put_back(QueueId::from_raw(2), at(2));
    roster.defer(QueueId::from_raw(4), at(3), at(2));
    roster.wake_due(at(4));
    assert_eq!((roster.ready(), roster.counts().held), (1, 6), "however it becomes ready");
    assert_eq!((take(&mut roster), take(&mut roster)), (Some(6), None));
    assert!(roster.try_senders(at(3599)).is_empty());
    assert_eq!(roster.try_senders(at(3600)), [QueueId::from_raw(4)]);
    roster.update(QueueId::from_raw(4), |member| member.copies = 1);
    assert_eq!((take(&mut roster), take(&mut roster)), (Some(4), None), "one is tried");
    let freed = roster.sender_taken(&app()).unwrap();
    assert_eq!((freed.waited.len(), freed.odd.len(), freed.is_news), (5, 0, true));
    freed.waited.iter().for_each(|id| roster.put_back(*id, at(3601)));
    assert_eq!([(); 6].map(|()| take(&mut roster)), [Some(1), Some(2), Some(3), Some(5), Some(7), None]);
}

#[test]
fn a_sender_is_forgotten_when_nothing_of_it_is_left_and_not_while_another_relay_has_it() {
    let mut roster = roster_with_stopped_sender();
    roster.set_aside(QueueId::from_raw(2));
    for raw in [1, 3, 4] {
        roster.remove(QueueId::from_raw(raw));
    }
    roster.give_up(QueueId::from_raw(5), at(0));
    assert_eq!(roster.refused_senders().count(), 1);
    roster.take_back(QueueId::from_raw(2), at(1));
    assert_eq!((roster.counts().held, roster.try_senders(at(3600)).len()), (1, 1));
    roster.remove(QueueId::from_raw(2));
    assert_eq!((roster.refused_senders().count(), roster.len(), roster.counts().held), (0, 2, 0));
    roster.admit(&entry(8, EntryState::Active), Duration::ZERO, at(1));
    assert_eq!(roster.ready(), 2, "nothing stops it");
}

#[test]
fn one_from_amid_the_queue_is_given_once() {
    let mut roster = roster_of(&[1, 2, 3, 4]);
    let amid = |roster: &mut Roster, place| {
        roster.take_amid(place, |id| id.raw() == 3, at(0)).map(|(id, _)| id.raw())
    };
    assert_eq!(amid(&mut roster, 1), Some(2));
    assert_eq!(amid(&mut roster, 1), Some(4), "2 is under way, and 3 is kept");
    assert_eq!(amid(&mut roster, 1), None);
    roster.update(QueueId::from_raw(4), |member| member.losses = 1);
    roster.put_back(QueueId::from_raw(4), at(1));
    assert_eq!([take(&mut roster), take(&mut roster), take(&mut roster)], [Some(1), Some(3), None]);
    assert_eq!(roster.take_lost(at(0)).map(|(id, _)| id.raw()), Some(4), "not by the name that it left");
}

#[test]
fn the_newest_is_given_only_if_it_has_arrived_since() {
    let mut roster = roster_of(&[1, 2, 3, 4]);
    let newest = |roster: &mut Roster, known: Option<u64>| {
        let taken = roster.take_newest(known.map(QueueId::from_raw), |id| id.raw() == 4, at(0));
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
    while roster.take(|_| false, at(0)).is_some() {}
    for (raw, due) in [(1, 30), (2, 10), (3, 20)] {
        roster.defer(QueueId::from_raw(raw), at(due), at(0));
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
    assert_eq!(roster.take_lost(at(0)).map(|(id, _)| id.raw()), Some(1));
    assert!(roster.take_lost(at(0)).is_none() && !roster.has_lost());
}

#[test]
fn held_dead_and_removed_messages_are_passed_over() {
    let mut roster = roster_of(&[2, 3, 4]);
    roster.admit(&entry(1, EntryState::Held), Duration::ZERO, at(0));
    roster.give_up(QueueId::from_raw(2), at(0));
    roster.remove(QueueId::from_raw(3));
    assert_eq!([take(&mut roster), take(&mut roster)], [Some(4), None]);
    assert_eq!((roster.len(), roster.counts().held, roster.counts().dead), (3, 1, 1));
    roster.put_back(QueueId::from_raw(1), at(1));
    assert_eq!((take(&mut roster), roster.counts().held), (Some(1), 0));
}

#[test]
fn a_message_released_while_its_old_name_is_still_in_a_lane_is_given_once() {
    let mut roster = roster_of(&[1]);
    roster.give_up(QueueId::from_raw(1), at(0));
    roster.put_back(QueueId::from_raw(1), at(1));
    assert_eq!([take(&mut roster), take(&mut roster)], [Some(1), None]);
}

#[test]
fn recovered_states_are_kept() {
    let mut roster = Roster::default();
    roster.admit(&entry(1, EntryState::Held), Duration::ZERO, at(0));
    roster.admit(&entry(2, EntryState::Dead), Duration::ZERO, at(0));
    assert_eq!((take(&mut roster), roster.len()), (None, 2));
    assert_eq!(roster.member(QueueId::from_raw(2)).unwrap().standing, Standing::Dead);
}

/// Returns how much of its patience message 1 has used.
fn used(roster: &Roster, now: Timestamp) -> u64 {
    let member = roster.member(QueueId::from_raw(1)).unwrap();
    member.patience_used(roster.reading(now)).as_secs()
}

#[test]
fn age_runs_with_the_clock_and_patience_while_it_is_deferred_and_the_relay_usable() {
    let (id, mut roster) = (QueueId::from_raw(1), Roster::default());
    roster.admit(&entry(1, EntryState::Active), Duration::from_secs(60), at(0));
    roster.run_patience(PatienceOf::Deferred, at(0));
    assert_eq!(roster.member(id).unwrap().age(at(3600)), Duration::from_secs(3600));
    assert_eq!(used(&roster, at(3600)), 60, "it waits for its turn");
    roster.take_named(id, at(3600)).unwrap();
    roster.defer(id, at(7200), at(3600));
    assert_eq!(used(&roster, at(3700)), 160);
    roster.run_patience(PatienceOf::None, at(3700));
    assert_eq!(used(&roster, at(7200)), 160, "an outage");
    roster.wake_due(at(7200));
    roster.run_patience(PatienceOf::All, at(7300));
    assert_eq!(used(&roster, at(7400)), 260, "a guess");
    roster.begin_patience(id, at(7400));
    assert_eq!(used(&roster, at(7400)), 0);
}

/// Whatever a message does, and wherever it goes, it has used what it was deferred for while the relay was usable, and all
/// time of a guess.
#[test]
fn patience_is_the_sum_of_its_parts_in_any_history() {
    for seed in 0..300 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (id, mut roster) = (QueueId::from_raw(1), roster_of(&[1]));
        let (mut now, mut expected, mut runs) = (0, 0, PatienceOf::None);
        for _ in 0..100 {
            let passes = random.i64(0..5000);
            let is_deferred = matches!(
                roster.member(id).unwrap().standing,
                Standing::Waiting(_) | Standing::UnderWay | Standing::Elsewhere(Aside::Waiting(_))
            );
            let runs_for_it = runs == PatienceOf::All || runs == PatienceOf::Deferred && is_deferred;
            expected += if runs_for_it { passes } else { 0 };
            now += passes;
            match random.u8(..9) {
                0 => runs = PatienceOf::None,
                1 => runs = PatienceOf::Deferred,
                2 => runs = PatienceOf::All,
                3 => roster.put_back(id, at(now)),
                4 if roster.take_named(id, at(now)).is_some() => {}
                4 | 5 => roster.defer(id, at(now + 1000), at(now)),
                6 => roster.set_aside(id),
                7 => {
                    // Its relay is looked up anew.
                    let (reading, mut idle) = (roster.reading(at(now)), roster.split_off_idle(at(now)));
                    if let Some((_, member)) = idle.take_out() {
                        roster.adopt(id, member, reading, at(now));
                    }
                }
                _ => {
                    let (reading, mut other) = (roster.reading(at(now)), Roster::default());
                    let (_, member) = roster.expel(id).unwrap();
                    other.run_patience(PatienceOf::All, at(now - random.i64(0..9999)));
                    other.adopt(id, member, reading, at(now));
                    roster = other;
                }
            }
            roster.run_patience(runs, at(now));
            assert_eq!(used(&roster, at(now)), expected as u64, "seed {seed}");
        }
    }
}

#[test]
fn a_wait_is_counted_in_hundredths_however_late_it_is() {
    let mut roster = roster_of(&[]);
    // The count begins anew within this wait.
    let since = Timestamp::from_millisecond(10 * (i64::from(u32::MAX) * 41) - 200).unwrap();
    roster.admit(&entry(1, EntryState::Active), Duration::ZERO, since);
    let member = roster.member(QueueId::from_raw(1)).unwrap();
    let waited = Duration::from_millis(2_340);
    assert_eq!(member.ready_for(since + waited), waited);
}

/// A message that was taken out of its turn and put back, as a probe is, left one more name in its lane each time: it was
/// counted as often, and took as many turns of its submitter.
#[test]
fn a_message_that_is_tried_out_of_its_turn_again_and_again_has_one_place() {
    let mut roster = roster_of(&[1, 2, 3]);
    for second in 0..200 {
        let (id, _) = roster.take_named(QueueId::from_raw(2), at(second)).unwrap();
        assert_eq!((roster.ready(), roster.counts().under_way), (2, 1));
        roster.put_back(id, at(second));
        assert_eq!((roster.ready(), roster.lanes.len()), (3, 3));
    }
    assert_eq!([1, 2, 3].map(Some), [take(&mut roster), take(&mut roster), take(&mut roster)]);
    assert_eq!((take(&mut roster), roster.ready(), roster.lanes.len()), (None, 0, 0));
}

#[test]
fn names_of_messages_that_have_left_take_no_turns_and_little_memory() {
    let mut roster = Roster::default();
    for raw in 1..=1000 {
        let lane = if raw <= 900 { 1 } else { 2 };
        roster.admit(&Entry { lane, ..entry(raw, EntryState::Active) }, Duration::ZERO, at(0));
    }
    (1..900).for_each(|raw| roster.remove(QueueId::from_raw(raw)));
    assert_eq!((roster.ready(), take(&mut roster), take(&mut roster)), (101, Some(900), Some(901)));
    for raw in 902..=1000 {
        roster.remove(QueueId::from_raw(raw));
        roster.admit(&entry(raw + 1000, EntryState::Active), Duration::ZERO, at(0));
        roster.remove(QueueId::from_raw(raw + 1000));
    }
    assert!(!roster.has_ready() && roster.lanes.len() <= SPARE_NAMES + 1, "{}", roster.lanes.len());
}

/// What is known of each message by the words of the calls alone.
fn assert_counts(roster: &mut Roster, known: &BTreeMap<u64, (Standing, u8)>, told: &str) {
    let mut counts = StandingCounts::default();
    for (raw, (standing, losses)) in known {
        counts.more(*standing);
        let member = roster.member(QueueId::from_raw(*raw)).unwrap();
        assert_eq!((member.standing, member.losses), (*standing, *losses), "{told}");
    }
    let lost =
        known.values().filter(|(standing, losses)| *standing == Standing::Ready && *losses > 0).count();
    assert_eq!((roster.counts(), roster.len()), (counts, known.len()), "{told}");
    assert_eq!((roster.ready(), roster.has_lost()), (counts.ready - lost, lost > 0), "{told}");
    assert!(roster.lanes.len() >= roster.ready(), "{told}");
    assert!(roster.lanes.len() <= 2 * known.len() + SPARE_NAMES, "{told}");
    let awaited = known.iter().find(|(_, (standing, _))| standing.is_awaited());
    assert_eq!(roster.oldest_awaited(), awaited.map(|(raw, _)| QueueId::from_raw(*raw)), "{told}");
}

/// Whatever is done to the messages in whatever order, each is counted once, and all that are ready are given out once.
#[test]
fn the_counts_agree_with_the_members_after_any_history() {
    for seed in 0..100 {
        let (mut random, mut roster) = (Rng::with_seed(seed), Roster::default());
        let mut known: BTreeMap<u64, (Standing, u8)> = BTreeMap::new();
        for step in 0..300 {
            let raw = random.u64(1..12);
            let told = one_call(&mut random, &mut roster, &mut known, raw);
            assert_counts(&mut roster, &known, &format!("seed {seed}, step {step}: {told} {raw}"));
        }
        let ready = known.values().filter(|(standing, _)| *standing == Standing::Ready).count();
        let given =
            iter::from_fn(|| roster.take(|_| false, at(0)).or_else(|| roster.take_lost(at(0)))).count();
        assert_eq!((given, roster.has_ready()), (ready, false), "seed {seed}");
    }
}

/// Does something to a message, and notes what should become of it.
fn one_call(
    random: &mut Rng,
    roster: &mut Roster,
    known: &mut BTreeMap<u64, (Standing, u8)>,
    raw: u64,
) -> &'static str {
    let id = QueueId::from_raw(raw);
    let mut becomes = |standing| {
        known.entry(raw).and_modify(|known| known.0 = standing);
    };
    match random.u32(..14) {
        0 | 1 => {
            roster.admit(&entry(raw, EntryState::Active), Duration::ZERO, at(0));
            known.entry(raw).or_insert((Standing::Ready, 0));
            "arrives"
        }
        2 | 3 => {
            let taken = match random.u32(..4) {
                0 => roster.take_named(id, at(0)),
                1 => roster.take_amid(random.usize(..10), |kept| kept == id, at(0)),
                2 => roster.take_newest(None, |kept| kept == id, at(0)),
                _ => roster.take(|kept| kept == id, at(0)).or_else(|| roster.take_lost(at(0))),
            };
            if let Some((id, _)) = taken {
                let was = known.get_mut(&id.raw()).map(|known| replace(&mut known.0, Standing::UnderWay));
                assert_eq!(was, Some(Standing::Ready));
            }
            "is taken"
        }
        4 | 5 => {
            let set_aside = matches!(known.get(&raw), Some((Standing::Elsewhere(_), _)));
            let standing = if set_aside { Standing::Elsewhere(Aside::Ready) } else { Standing::Ready };
            known.entry(raw).and_modify(|known| known.0 = standing);
            roster.put_back(id, at(random.i64(0..100)));
            "is put back"
        }
        6 => {
            roster.defer(id, at(50), at(0));
            becomes(Standing::Waiting(to_seconds(at(50))));
            "is deferred"
        }
        7 => {
            roster.hold(id, at(0));
            becomes(Standing::Held);
            "is held"
        }
        8 => {
            roster.give_up(id, at(0));
            becomes(Standing::Dead);
            "is dead"
        }
        9 => {
            let losses = random.u8(..2);
            roster.update(id, |member| member.losses = losses);
            known.entry(raw).and_modify(|known| known.1 = losses);
            "is changed"
        }
        10 => {
            roster.remove(id);
            known.remove(&raw);
            "is removed"
        }
        11 => {
            roster.set_aside(id);
            let aside = match known.get(&raw) {
                Some((Standing::Ready, _)) => Aside::Ready,
                Some((Standing::Waiting(due), _)) => Aside::Waiting(*due),
                Some((Standing::Held, _)) => Aside::Held,
                _ => return "is not set aside",
            };
            known.entry(raw).and_modify(|known| known.0 = Standing::Elsewhere(aside));
            "is set aside"
        }
        12 => {
            roster.take_back(id, at(20));
            let standing = match known.get(&raw) {
                Some((Standing::Elsewhere(Aside::Ready), _)) => Standing::Ready,
                Some((Standing::Elsewhere(Aside::Waiting(due)), _)) => Standing::Waiting(*due),
                Some((Standing::Elsewhere(Aside::Held), _)) => Standing::Held,
                _ => return "is not taken back",
            };
            known.entry(raw).and_modify(|known| known.0 = standing);
            "is taken back"
        }
        _ => {
            let is_idle = |known: &(Standing, u8)| known.0 != Standing::UnderWay;
            let mut idle = roster.split_off_idle(at(10));
            assert_counts(
                roster,
                &known.iter().filter(|(_, known)| !is_idle(known)).map(copied).collect(),
                "split",
            );
            assert_counts(
                &mut idle,
                &known.iter().filter(|(_, known)| is_idle(known)).map(copied).collect(),
                "split",
            );
            while let Some((id, member)) = idle.take_out() {
                roster.adopt(id, member, idle.reading(at(10)), at(10));
                known.entry(id.raw()).and_modify(|known| known.0 = adopted(known.0));
            }
            "all are adopted"
        }
    }
}

fn copied((raw, known): (&u64, &(Standing, u8))) -> (u64, (Standing, u8)) {
    (*raw, *known)
}

/// Returns the state in which a roster takes in a message that is in this state in another one.
fn adopted(standing: Standing) -> Standing {
    match standing {
        Standing::Elsewhere(Aside::Ready) => Standing::Ready,
        Standing::Elsewhere(Aside::Waiting(due)) => Standing::Waiting(due),
        Standing::Elsewhere(Aside::Held) => Standing::Held,
        known => known,
    }
}

#[test]
fn an_entry_stays_small() {
    assert_eq!(size_of::<(QueueId, Member)>(), 40);
}
