use std::num::NonZeroU32;

use proptest::prelude::*;

use super::*;

fn steady(nanoseconds: u64) -> Timestamp {
    let start = Timestamp::from_second(1_800_000_000).unwrap();
    later(start, Duration::from_nanos(nanoseconds))
}

fn moment(nanoseconds: u64) -> Moment {
    Moment { steady: steady(nanoseconds), time_of_day: steady(nanoseconds) }
}

fn rate(messages: u32, per: RatePeriod) -> Rate {
    Rate { messages: NonZeroU32::new(messages).unwrap(), per }
}

fn periods() -> impl Strategy<Value = RatePeriod> {
    prop::sample::select(vec![RatePeriod::Second, RatePeriod::Minute, RatePeriod::Hour, RatePeriod::Day])
}

/// Returns the largest number of these moments within a stretch as long as the period.
fn most_within(period: Duration, begun: &[Timestamp]) -> usize {
    let within = |first: usize| {
        let end = later(begun[first], period);
        begun[first..].iter().take_while(|time| **time < end).count()
    };
    (0..begun.len()).map(within).max().unwrap_or_default()
}

/// Something that happens to a relay with a rate.
#[derive(Clone, Debug)]
enum Step {
    /// So many messages come after a part of the period, in millionths, and begin if they may.
    Come {
        after: u64,
        messages: usize,
    },
    /// Messages begin as soon as they may.
    Drain {
        messages: usize,
    },
    /// nullmta is killed, and starts again; the clock of the host was set by so many seconds.
    Restart {
        set_by: i64,
    },
    Reload,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..2_000_000_u64, 0..40_usize).prop_map(|(after, messages)| Step::Come { after, messages }),
        3 => (1..60_usize).prop_map(|messages| Step::Drain { messages }),
        1 => prop_oneof![Just(0_i64), -100_000..0_i64].prop_map(|set_by| Step::Restart { set_by }),
        1 => Just(Step::Reload),
    ];
    prop::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    /// Promises 1 and 2: with any pauses, restarts after a kill, reloads, and clocks that are set back.
    #[test]
    fn no_period_has_more_than_the_rate_whatever_happens(
        messages in 1..60_u32,
        per in periods(),
        steps in steps(),
    ) {
        let rate = rate(messages, per);
        let period = rate.per.length();
        let mut now = 0_u64;
        let mut set_by = 0_i64;
        let as_set = |now: u64, set_by: i64| Moment {
            steady: steady(now),
            time_of_day: steady(now).checked_add(SignedDuration::from_secs(set_by)).unwrap(),
        };
        let mut rates = Rates::new(&[rate], "", as_set(0, 0));
        let mut record = String::new();
        let mut begun = Vec::new();
        for step in steps {
            let (may_wait, messages) = match step {
                Step::Come { after, messages } => {
                    now += period.as_nanos() as u64 / 1_000_000 * after;
                    (false, messages)
                }
                Step::Drain { messages } => (true, messages),
                Step::Restart { set_by: by } => {
                    set_by += by;
                    rates = Rates::new(&[rate], &record, as_set(now, set_by));
                    (false, 0)
                }
                Step::Reload => {
                    rates.reconfigure(&[rate], as_set(now, set_by));
                    (false, 0)
                }
            };
            for _ in 0..messages {
                if may_wait && rates.next() > steady(now) {
                    now = rates.next().duration_since(steady(0)).as_nanos() as u64;
                }
                let may_begin = rates.next() <= steady(now);
                prop_assert_eq!(may_begin, rates.left(steady(now)) > 0);
                if may_begin {
                    begun.push(steady(now));
                    if rates.begins(steady(now)) {
                        record = rates.record(as_set(now, set_by));
                    }
                }
            }
        }
        prop_assert!(most_within(period, &begun) <= rate.messages.get() as usize);
    }

    /// Promise 3: any record, even one of nonsense, stops nothing for longer than an empty bucket.
    #[test]
    fn no_record_keeps_mail_back_for_long(messages in 1..100_000_u32, per in periods(), record in "(s|min|h|day)=-?[0-9]{0,20}|.{0,30}") {
        let rates = Rates::new(&[rate(messages, per)], &record, moment(0));
        prop_assert!(rates.next() <= later(steady(0), per.length()));
    }
}

#[test]
fn a_daily_rate_has_a_burst_and_then_an_even_flow() {
    let mut rates = Rates::new(&[rate(10_000, RatePeriod::Day)], "", moment(0));
    let mut records = 0;
    let at_once = (0..10_000).filter(|_| {
        let may_begin = rates.left(steady(0)) > 0;
        records += u32::from(may_begin && rates.begins(steady(0)));
        may_begin
    });
    assert_eq!(at_once.count(), 1000);
    assert!(records <= 5, "{records} records");
    let wait = rates.next().duration_since(steady(0)).as_secs();
    assert_eq!(wait, 9, "86,400 s for 9,001 messages");
    // A restart in the minute after.
    let again = Rates::new(&[rate(10_000, RatePeriod::Day)], &rates.record(moment(1)), moment(2));
    assert_eq!(again.left(steady(2)), 0);
    assert!(again.next() > steady(0) && again.left(later(steady(0), RatePeriod::Day.length())) == 1000);
}

#[test]
fn a_rate_by_the_second_has_no_burst() {
    let mut rates = Rates::new(&[rate(14, RatePeriod::Second)], "", moment(0));
    assert_eq!(rates.left(steady(0)), 1);
    rates.begins(steady(0));
    assert_eq!(
        (rates.left(steady(0)), rates.left(steady(71_428_570)), rates.left(steady(71_428_572))),
        (0, 0, 1)
    );
}

#[test]
fn several_rates_all_hold_and_none_holds_nothing_back() {
    let two = [rate(2, RatePeriod::Second), rate(30, RatePeriod::Minute)];
    let mut rates = Rates::new(&two, "", moment(0));
    assert_eq!((rates.left(steady(0)), rates.next() <= steady(0)), (1, true));
    rates.begins(steady(0));
    rates.give_back();
    assert_eq!(rates.left(steady(0)), 1, "it did not count");
    for _ in 0..5 {
        rates.begins(steady(0));
    }
    assert_eq!(rates.left(later(steady(0), Duration::from_secs(2))), 0, "several transactions are paid back");
    assert_eq!(Rates::default().left(steady(0)), usize::MAX);
    assert_eq!(Rates::default().next(), Timestamp::MIN);
}

/// Two routes to one relay shared one record, so that each restart gave one of them the other's use.
#[test]
fn a_route_has_a_record_of_its_own_and_begins_with_that_of_an_earlier_version() {
    let kept = |name: &str| match name {
        "mx:587 as app" => "day=1",
        "mx:587 as app by route shop" => "day=2",
        _ => "",
    };
    let record = |relay, route| record_of(|name| kept(name).to_owned(), relay, route);
    assert_eq!(record("mx:587 as app", None), "day=1");
    assert_eq!(record("mx:587 as app", Some("shop")), "day=2");
    assert_eq!(record("mx:587 as app", Some("news")), "day=1", "the one that was shared");
    assert_eq!(record("mx:465", Some("shop")), "");
}
