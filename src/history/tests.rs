//! Tests of the history: gaps, clocks, bounds and sums.

use proptest::prelude::*;

use super::*;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn counted(accepted: u64, sent: u64) -> FlowCounts {
    FlowCounts { accepted, sent, ..FlowCounts::default() }
}

fn reading(counts: FlowCounts, waiting: u64) -> FlowReading {
    FlowReading { counts, waiting, oldest_age: waiting * 10, ..FlowReading::default() }
}

fn failed(reason: &str, times: u64) -> FlowReading {
    FlowReading { failures: vec![(reason.to_owned(), times)], ..FlowReading::default() }
}

#[test]
fn rates_are_of_the_time_that_is_named() {
    let mut history = DayHistory::beginning(seconds(1000));
    assert_eq!(history.last_minute(seconds(1000)), FlowSpan { seconds: 1, counts: counted(0, 0) });
    // One message each five seconds, for two hours.
    for step in 1..=1440 {
        history.note(seconds(1000 + 5 * step), reading(counted(step, step / 2), 3));
    }
    let now = seconds(1000 + 5 * 1440);
    let minute = history.last_minute(now);
    assert_eq!((minute.seconds, minute.counts), (56, counted(12, 6)));
    let hour = history.last_hour(now);
    assert!((3541..=3600).contains(&hour.seconds), "{hour:?}");
    assert!((709..=720).contains(&hour.counts.accepted), "{hour:?}");
    assert_eq!(history.minutes(now, DAY_MINUTES).len(), 121);
    // A quiet minute later, there is nothing of the last minute.
    assert_eq!(history.last_minute(now + seconds(61)).counts, counted(0, 0));
}

#[test]
fn a_sample_has_the_worst_of_its_minute() {
    let mut history = DayHistory::beginning(seconds(0));
    history.note(seconds(1), reading(counted(1, 0), 7));
    history.note(seconds(2), FlowReading { paused: true, ..reading(counted(2, 0), 0) });
    history.note(seconds(3), reading(counted(2, 2), 1));
    let [minute] = history.minutes(seconds(59), 60)[..] else { panic!("one minute") };
    let expected = FlowSample { counts: counted(2, 2), waiting: 7, oldest_age: 70, paused: true };
    assert_eq!((minute.minutes_ago, minute.sample), (0, expected));
}

/// A host that is asleep takes no readings: what is not known must not look like a quiet time.
#[test]
fn a_gap_stays_a_gap_and_what_is_older_than_a_day_goes() {
    let mut history = DayHistory::beginning(seconds(0));
    history.note(seconds(30), reading(counted(1, 0), 1));
    history.note(seconds(8 * 3600), reading(counted(2, 0), 1));
    let ago = |history: &DayHistory, now| {
        history.minutes(now, DAY_MINUTES).iter().map(|minute| minute.minutes_ago).collect::<Vec<u64>>()
    };
    assert_eq!(ago(&history, seconds(8 * 3600 + 59)), [480, 0]);
    assert_eq!(ago(&history, seconds(86_399)), [1439, 959]);
    assert_eq!(ago(&history, seconds(86_400)), [960]);
    history.note(seconds(10 * 86_400), reading(counted(2, 0), 0));
    assert_eq!(ago(&history, seconds(10 * 86_400)), [0]);
}

#[test]
fn a_clock_that_goes_back_takes_nothing_back() {
    let mut history = DayHistory::beginning(seconds(5000));
    history.note(seconds(6000), reading(counted(5, 0), 2));
    history.note(seconds(100), reading(counted(9, 0), 4));
    let [minute] = history.minutes(seconds(0), DAY_MINUTES)[..] else { panic!("one minute") };
    assert_eq!((minute.minutes_ago, minute.sample.counts, minute.sample.waiting), (0, counted(9, 0), 4));
    assert_eq!(history.last_minute(seconds(0)).counts, counted(9, 0));
}

#[test]
fn failures_are_of_the_last_hour_and_the_most_frequent_comes_first() {
    let mut history = DayHistory::beginning(seconds(0));
    history.note(seconds(10), failed("rare", 1));
    history.note(seconds(20), failed("often", 3));
    history.note(seconds(1800), failed("often", 2));
    let shown = |history: &DayHistory, now| {
        let list = history.failures(seconds(now));
        list.into_iter().map(|known| (known.reason, known.times, known.last_age)).collect::<Vec<_>>()
    };
    assert_eq!(shown(&history, 1810), [("often".into(), 5, 10), ("rare".into(), 1, 1800)]);
    assert_eq!(shown(&history, 3601), [("often".into(), 2, 1801)]);
    assert_eq!(shown(&history, 5400), []);
    history.note(seconds(9000), failed("often", 1));
    assert_eq!(shown(&history, 9000), [("often".into(), 1, 0)], "what is long ago does not come back");
}

/// Whoever makes a relay say something new each time must not hide why mail is stuck, nor fill the memory.
#[test]
fn a_flood_of_reasons_hides_none_that_is_frequent() {
    let mut history = DayHistory::beginning(seconds(0));
    history.note(seconds(1), failed("the relay is down", 50));
    for number in 0..10_000 {
        history.note(seconds(2), failed(&format!("{number} {}", "é".repeat(500)), 1));
    }
    let failures = history.failures(seconds(2));
    assert_eq!(failures.len(), MOST_REASONS + 1);
    assert_eq!((&*failures[0].reason, failures[0].times), ("the relay is down", 50));
    assert!(failures.iter().all(|failure| failure.reason.len() <= 203));
    assert_eq!(failures.last().map(|others| &*others.reason), Some("other reasons"));
    assert_eq!(failures.iter().map(|failure| failure.times).sum::<u64>(), 10_050);
}

proptest! {
    /// Whatever the clock does, the samples add up to the counts, their order is that of time, and memory is bounded.
    #[test]
    fn nothing_is_counted_twice_or_lost(steps in prop::collection::vec((0u64..7200, any::<bool>(), 0u64..100), 1..60)) {
        let (mut history, mut now, mut total) = (DayHistory::beginning(seconds(0)), 0u64, 0);
        for (step, back, accepted) in steps {
            now = if back { now.saturating_sub(step) } else { (now + step).min(86_000) };
            total += accepted;
            history.note(seconds(now), reading(counted(total, 0), 1));
            let minutes = history.minutes(seconds(now), DAY_MINUTES);
            prop_assert_eq!(minutes.iter().map(|minute| minute.sample.counts.accepted).sum::<u64>(), total);
            prop_assert!(minutes.windows(2).all(|pair| pair[0].minutes_ago > pair[1].minutes_ago));
            prop_assert!(minutes.len() as u64 <= DAY_MINUTES);
            prop_assert!(history.last_hour(seconds(now)).counts.accepted <= total);
        }
    }
}
