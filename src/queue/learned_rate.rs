//! The rate that the relay's replies ask for, where it says that mail comes too fast.
//!
//! Promises:
//! 1. Such a reply halves the rate: that of the last seconds at first, then the one that is kept. Those of the messages
//!    that were under way with it, within [`TOGETHER`], change nothing more. The rate never falls below [`LEAST`].
//! 2. Every [`STEP`] without such a reply, a twentieth of the rate that was too fast is added to it. Once it is twice
//!    that rate, it is forgotten: the configured limits alone count.
//! 3. If the reply names a pause, nothing begins before its end.
//!
//! Pure: time is an argument. Not here: the configured rates (`rate.rs`), which replies these are (`relay/verdict.rs`),
//! the number of connections (`throttle.rs`).

use std::time::Duration;

use jiff::Timestamp;

use super::clock::later;

/// The time in which the replies to messages that were under way together are one.
const TOGETHER: Duration = Duration::from_secs(2);
/// The time without such a reply after which the rate grows.
const STEP: Duration = Duration::from_secs(5);
/// The part of the rate that was too fast which is added with each step.
const STEPS: f64 = 20.0;
/// The slowest rate, in messages a second: one a minute.
const LEAST: f64 = 1.0 / 60.0;
/// The period over which the rate is measured while none is kept.
const MEASURED: Duration = Duration::from_secs(5);
/// The longest pause that a reply may ask for: a day. A longer one is not meant for a program.
const LONGEST_PAUSE: Duration = Duration::from_secs(86_400);

/// The rate that one relay takes, as far as it has said so.
#[derive(Debug, Default)]
pub(super) struct LearnedRate {
    kept: Option<Kept>,
    /// No message begins before this.
    next: Option<Timestamp>,
    measured: Measured,
}

/// A rate that is kept.
#[derive(Clone, Copy, Debug)]
struct Kept {
    /// Messages a second, from `since` on.
    lowered_to: f64,
    /// The rate that was too fast.
    too_fast: f64,
    since: Timestamp,
}

/// The messages that began in the last seconds.
#[derive(Debug, Default)]
struct Measured {
    began: Option<Timestamp>,
    number: u32,
    /// Messages a second in the period before.
    before: f64,
}

impl LearnedRate {
    /// Returns the rate that is kept at `now`, in messages a second.
    pub(super) fn at(&self, now: Timestamp) -> Option<f64> {
        let kept = self.kept?;
        let steps = (since(kept.since, now).as_secs() / STEP.as_secs()) as f64;
        let rate = kept.lowered_to + steps * kept.too_fast / STEPS;
        (rate < 2.0 * kept.too_fast).then_some(rate)
    }

    /// Takes in that the relay has said that mail comes too fast; `pause` is the time that it wants to be left alone.
    pub(super) fn told_to_slow(&mut self, now: Timestamp, pause: Option<Duration>) {
        if let Some(pause) = pause {
            self.wait_until(later(now, pause.min(LONGEST_PAUSE)));
        }
        if self.kept.is_some_and(|kept| since(kept.since, now) < TOGETHER) {
            return;
        }
        let too_fast = self.at(now).unwrap_or_else(|| self.measured.rate(now)).max(2.0 * LEAST);
        let kept = Kept { lowered_to: too_fast / 2.0, too_fast, since: now };
        self.wait_until(later(now, Duration::from_secs_f64(1.0 / kept.lowered_to)));
        self.kept = Some(kept);
    }

    /// Returns when the next message may begin; a time that is past if it may now.
    pub(super) fn next(&self) -> Timestamp {
        self.next.unwrap_or(Timestamp::MIN)
    }

    /// Takes in that a message begins at `now`.
    pub(super) fn begins(&mut self, now: Timestamp) {
        self.measured.begins(now);
        match self.at(now) {
            Some(rate) => self.next = Some(later(self.next().max(now), Duration::from_secs_f64(1.0 / rate))),
            None => self.kept = None,
        }
    }

    fn wait_until(&mut self, time: Timestamp) {
        self.next = Some(self.next().max(time));
    }
}

impl Measured {
    fn begins(&mut self, now: Timestamp) {
        let began = *self.began.get_or_insert(now);
        let age = since(began, now);
        if age >= MEASURED {
            self.before =
                if age < 2 * MEASURED { f64::from(self.number) / MEASURED.as_secs_f64() } else { 0.0 };
            (self.began, self.number) = (Some(now), 0);
        }
        self.number = self.number.saturating_add(1);
    }

    /// Returns the messages a second of the last seconds.
    fn rate(&self, now: Timestamp) -> f64 {
        let Some(began) = self.began else { return 0.0 };
        let age = since(began, now);
        let lately = f64::from(self.number) / age.as_secs_f64().max(1.0);
        if age < 2 * MEASURED { lately.max(self.before) } else { lately }
    }
}

/// Returns the time from `earlier` to `now`; none if the clock says that it is still to come.
fn since(earlier: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(earlier)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(1_800_000_000_000 + milliseconds).unwrap()
    }

    /// Returns what is kept of a rate of 20 a second that was too fast after ten seconds.
    fn slowed() -> LearnedRate {
        let mut rate = LearnedRate::default();
        (0..200).for_each(|number| rate.begins(at(number * 50)));
        assert_eq!((rate.at(at(10_000)), rate.next()), (None, Timestamp::MIN));
        rate.told_to_slow(at(10_000), None);
        rate
    }

    #[test]
    fn promise_1_it_halves_once_for_those_under_way_together_and_never_ends() {
        let mut rate = slowed();
        let halved = rate.at(at(10_000)).unwrap();
        assert!((9.0..=11.0).contains(&halved), "{halved}");
        (0..20).for_each(|number| rate.told_to_slow(at(10_000 + number * 99), None));
        assert_eq!(rate.at(at(11_990)), Some(halved));
        rate.told_to_slow(at(12_000), None);
        assert_eq!(rate.at(at(12_000)), Some(halved / 2.0));
        (0..100).for_each(|number| rate.told_to_slow(at(20_000 + number * 2000), None));
        assert_eq!(rate.at(at(218_000)), Some(LEAST));
    }

    #[test]
    fn promise_2_it_grows_by_the_same_amount_each_time_until_it_is_forgotten() {
        let mut rate = slowed();
        let rates: Vec<Option<f64>> = (0..40).map(|step| rate.at(at(10_000 + step * 5000))).collect();
        let known: Vec<f64> = rates.iter().copied().flatten().collect();
        assert_eq!(known.len(), 30, "from a half to twice by twentieths");
        assert!(rates[..30].iter().all(Option::is_some));
        let steps: Vec<f64> = known.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(steps.iter().all(|step| (step - steps[0]).abs() < 1e-9), "{steps:?}");
        rate.begins(at(1_000_000));
        assert!(rate.kept.is_none() && rate.next() <= at(1_000_000));
    }

    /// Whatever comes, the rate is never below the least, nor above that of before; it grows by equal steps, and only with
    /// time.
    #[test]
    fn promises_1_and_2_hold_for_any_history() {
        for seed in 0..500_u64 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (mut rate, mut now) = (LearnedRate::default(), 0);
            for _ in 0..200 {
                now += random.i64(0..20_000);
                let before = rate.at(at(now));
                if random.bool() {
                    rate.begins(at(now));
                    assert!(rate.at(at(now)) <= before, "seed {seed}: a message makes nothing faster");
                    continue;
                }
                rate.told_to_slow(at(now), None);
                let after = rate.at(at(now)).expect("it is known now");
                assert!(
                    after >= LEAST && before.is_none_or(|before| after <= before.max(LEAST)),
                    "seed {seed}"
                );
                let quiet: Vec<f64> = (0..8).map_while(|step| rate.at(at(now + step * 5000))).collect();
                let steps: Vec<f64> = quiet.windows(2).map(|pair| pair[1] - pair[0]).collect();
                assert!(
                    steps.iter().all(|step| *step > 0.0 && (step - steps[0]).abs() < 1e-9),
                    "seed {seed}"
                );
            }
            assert_eq!(rate.at(at(now + 1_000_000)), None, "seed {seed}: it is forgotten");
        }
    }

    #[test]
    fn promise_3_a_pause_is_kept_and_bounded() {
        let mut rate = LearnedRate::default();
        rate.told_to_slow(at(0), Some(Duration::from_secs(92)));
        assert_eq!(rate.next(), at(92_000));
        rate.told_to_slow(at(100), Some(Duration::from_secs(10)));
        assert_eq!(rate.next(), at(92_000), "a shorter one ends nothing");
        rate.told_to_slow(at(200), Some(Duration::MAX));
        assert_eq!(rate.next(), at(86_400_200));
    }

    #[test]
    fn what_begins_keeps_the_rate() {
        let mut rate = slowed();
        let (mut now, mut begun) = (10_000, 0);
        while now < 15_000 {
            if at(now) >= rate.next() {
                rate.begins(at(now));
                begun += 1;
            }
            now += 1;
        }
        assert!((45..=55).contains(&begun), "{begun} in five seconds at ten a second");
    }
}
