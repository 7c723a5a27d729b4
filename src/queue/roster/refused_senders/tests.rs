use super::*;
use crate::envelope::Address;

const HOUR: i64 = 3600;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn id(raw: u64) -> QueueId {
    QueueId::from_raw(raw)
}

fn from(address: &str) -> ReversePath {
    ReversePath::Mailbox(Address::parse(address).unwrap())
}

fn app() -> ReversePathKey {
    ReversePathKey::of_text("app@x.example")
}

fn refused(senders: &mut RefusedSenders, raw: u64, now: i64) -> SenderRuling {
    let (from, said) = (from("app@x.example"), "554 no".to_owned());
    senders.refused(id(raw), &SenderRefusal { from, said, hint: None, pause: None }, at(now))
}

fn news(is_stopped: bool) -> SenderRuling {
    SenderRuling::Waits(Some(SenderNews { is_stopped, probe_in: PROBE_PAUSE }))
}

fn due(senders: &mut RefusedSenders, now: i64) -> Vec<QueueId> {
    senders.due(at(now), |_| true)
}

/// Returns the messages that are tried since the relay has taken one, and whether that is news.
fn taken(senders: &mut RefusedSenders) -> (Vec<u64>, bool) {
    let freed = senders.taken(&from("App@x.example")).unwrap();
    (freed.waited.iter().chain(&freed.odd).map(|id| id.raw()).collect(), freed.is_news)
}

const QUIET: SenderRuling = SenderRuling::Waits(None);

#[test]
fn promise_1_a_message_that_is_refused_though_another_was_taken_goes_its_own_way() {
    let mut senders = RefusedSenders::default();
    assert_eq!(refused(&mut senders, 1, 0), news(false));
    assert_eq!(refused(&mut senders, 1, 1), QUIET, "none was taken");
    assert_eq!(taken(&mut senders), (vec![1], true));
    assert!(senders.is_odd(id(1), app()) && !senders.is_odd(id(2), app()));
    for _ in 0..IN_A_MIXED_ROW {
        assert_eq!(refused(&mut senders, 1, 2), SenderRuling::Own, "also if nothing more is taken");
    }
    assert!(!senders.stops(id(2), app()));
    senders.forget(id(1), app());
    assert!(senders.0.is_empty());
}

#[test]
fn promise_2_three_in_a_row_stop_the_sender_and_one_message_thrice_does_not() {
    let mut senders = RefusedSenders::default();
    (0..9).for_each(|_| _ = refused(&mut senders, 1, 0));
    assert_eq!(refused(&mut senders, 2, 0), QUIET);
    assert!(!senders.stops(id(9), app()));
    assert_eq!(refused(&mut senders, 3, 0), news(true));
    assert!(senders.stops(id(9), app()));
    assert!(!senders.stops(id(9), ReversePathKey::of_text("ann@x.example")));
    assert_eq!(refused(&mut senders, 4, 0), QUIET);
    assert_eq!(taken(&mut senders), (vec![1, 2, 3, 4], true));
    assert!(!senders.stops(id(9), app()));

    // Of a sender with good and bad mail more are needed.
    for raw in 11..=10 + IN_A_MIXED_ROW as u64 {
        assert!(!senders.stops(id(9), app()));
        refused(&mut senders, raw, 0);
    }
    assert!(senders.stops(id(9), app()));
}

#[test]
fn promise_3_one_message_is_tried_each_hour_and_first_one_that_was_not_refused() {
    let mut senders = RefusedSenders::default();
    (1..=3).for_each(|raw| _ = refused(&mut senders, raw, 0));
    assert_eq!((due(&mut senders, HOUR - 1), due(&mut senders, HOUR)), (vec![], vec![id(1)]));
    assert!(!senders.stops(id(1), app()) && senders.stops(id(2), app()), "it alone is given out");
    assert_eq!((due(&mut senders, HOUR), senders.next_due()), (vec![], Some(at(2 * HOUR))));
    assert_eq!(refused(&mut senders, 1, HOUR), QUIET);
    assert!(senders.stops(id(1), app()));

    senders.waits(id(7), app());
    assert_eq!(due(&mut senders, 2 * HOUR), [id(7)], "the one that was not refused");
    assert_eq!(refused(&mut senders, 7, 2 * HOUR), QUIET);
    assert_eq!(due(&mut senders, 3 * HOUR), [id(1)]);
    assert_eq!(
        senders.due(at(4 * HOUR), |id| id.raw() != 2),
        [id(3)],
        "they take turns, but for one that is not held"
    );
    senders.goes_on(id(7), app());
    assert_eq!(due(&mut senders, 5 * HOUR), [id(1)]);
}

#[test]
fn promise_3_a_rule_may_say_another_pause() {
    let mut senders = RefusedSenders::default();
    let (from, said, minute) = (from("ann@x.example"), "554 no".to_owned(), Duration::from_secs(60));
    senders.refused(id(1), &SenderRefusal { from, said, hint: None, pause: Some(minute) }, at(0));
    assert_eq!((due(&mut senders, 59), due(&mut senders, 60)), (vec![], vec![id(1)]));
}

#[test]
fn promise_4_when_one_is_taken_all_are_tried_and_the_news_is_told_once() {
    let mut senders = RefusedSenders::default();
    assert_eq!(senders.taken(&from("app@x.example")), None);
    (1..=9).for_each(|raw| _ = refused(&mut senders, raw, 0));
    assert_eq!(senders.taken(&from("ann@x.example")), None);
    assert_eq!(taken(&mut senders), ((1..=9).collect(), true));
    assert_eq!(taken(&mut senders), (vec![], false));
    // From now on good and bad mail takes turns, and no line says what was said.
    assert_eq!(refused(&mut senders, 11, 0), QUIET);
    assert_eq!(taken(&mut senders), (vec![11], false));
    assert_eq!(refused(&mut senders, 12, 0), QUIET);
    assert_eq!(senders.next_due(), Some(at(HOUR)));
    assert_eq!(taken(&mut senders), (vec![12], false));
    assert_eq!(senders.next_due(), None);
    assert_eq!((senders.waiting().count(), senders.forget_all().len(), senders.0.len()), (0, 0, 0));
}

/// A sender of which the relay takes some mail was warned of a second time, after its mail had been taken again.
#[test]
fn promise_5_a_sender_is_warned_of_once() {
    let mut senders = RefusedSenders::default();
    assert_eq!(refused(&mut senders, 1, 0), news(false));
    assert_eq!(taken(&mut senders), (vec![1], true));
    for raw in 2..20 {
        assert_eq!(refused(&mut senders, raw, 0), QUIET);
        assert_eq!(taken(&mut senders), (vec![raw], false));
    }
    (20..29).for_each(|raw| assert_eq!(refused(&mut senders, raw, 0), QUIET));
    assert_eq!(refused(&mut senders, 29, 0), news(true), "all is held");
    assert!(taken(&mut senders).1);
    // When the refused ones are gone, another refusal is another matter.
    (1..30).for_each(|raw| senders.forget(id(raw), app()));
    assert_eq!(refused(&mut senders, 30, 0), news(false));
}

/// However good and bad messages come, in one go or one by one, the bad ones cost one transaction more each, and one at
/// each pause.
#[test]
fn the_transactions_are_bounded() {
    for seed in 0..2000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (share, n) = (random.f32(), random.u64(1..60));
        let bad: BTreeSet<u64> = (0..n).filter(|_| random.f32() < share).collect();
        let mut senders = RefusedSenders::default();
        // The messages that may be given out, and those that wait.
        let (mut ready, mut held) = (BTreeSet::<u64>::new(), BTreeSet::<u64>::new());
        let (mut arrived, mut transactions, mut probes, mut own, mut now) = (0, 0, 0, BTreeSet::new(), 0);
        for _ in 0..10_000 {
            if arrived < n && random.bool() {
                ready.insert(arrived);
                arrived += 1;
            }
            let stopped: Vec<u64> =
                ready.iter().copied().filter(|raw| senders.stops(id(*raw), app())).collect();
            for raw in stopped {
                ready.remove(&raw);
                held.insert(raw);
                senders.waits(id(raw), app());
            }
            if let Some(raw) = random.choice(ready.iter().copied().collect::<Vec<_>>()) {
                ready.remove(&raw);
                transactions += 1;
                if bad.contains(&raw) {
                    match refused(&mut senders, raw, now) {
                        SenderRuling::Own => assert!(own.insert(raw), "it would go on by its age"),
                        SenderRuling::Waits(_) => _ = held.insert(raw),
                    }
                } else {
                    senders.forget(id(raw), app());
                    let freed = senders.taken(&from("app@x.example"));
                    let freed = freed.into_iter().flat_map(|freed| freed.waited.into_iter().chain(freed.odd));
                    let freed: Vec<u64> = freed.map(QueueId::raw).collect();
                    assert!(freed.iter().all(|raw| held.remove(raw)));
                    ready.extend(freed);
                }
            } else if arrived == n {
                now += HOUR;
                for tried in due(&mut senders, now) {
                    probes += 1;
                    senders.goes_on(tried, app());
                    held.remove(&tried.raw());
                    ready.insert(tried.raw());
                }
            }
            if arrived == n && ready.is_empty() && held.iter().all(|raw| bad.contains(raw)) {
                break;
            }
        }
        assert!(held.iter().all(|raw| bad.contains(raw)), "{seed}: each good one goes in the end");
        let k = bad.len() as u64;
        assert!(transactions <= n + k + probes, "{seed}: {n} messages, {k} bad, {transactions} transactions");
        assert!(probes <= n + 1, "{seed}: {probes} for {n} messages");
    }
}
