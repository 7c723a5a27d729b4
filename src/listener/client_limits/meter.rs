//! The meter of one amount in a period: how much of it is used.
//!
//! A meter is one moment: the one at which nothing is used any more. What is used is given back evenly, the whole amount in
//! one period. So the whole amount may be used at once, and after that as much as the time allows.
//!
//! Promises: at no moment is more than the amount used, except by what was taken beyond it ([`Meter::take`]). A clock that
//! is set back makes nobody wait for longer than a period.
//!
//! Pure: time is an argument.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::config::AllowedAmount;

/// How much of an [`AllowedAmount`] is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meter {
    /// The moment at which nothing is used.
    free_at: Timestamp,
}

/// The reason why there is no room for an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoRoom {
    /// There is room from this moment on, if nothing else is taken until then.
    Until(Timestamp),
    /// It is more than the allowance as a whole.
    Ever,
}

impl Meter {
    /// Returns a meter by which nothing is used from `free_at` on.
    pub fn free_at(free_at: Timestamp) -> Self {
        Meter { free_at }
    }

    /// Returns whether nothing is used.
    pub fn is_free(self, now: Timestamp) -> bool {
        self.free_at <= now
    }

    /// Returns whether so many units may be taken now.
    pub fn check(self, of: AllowedAmount, units: u64, now: Timestamp) -> Result<(), NoRoom> {
        if units > of.amount.get() {
            return Err(NoRoom::Ever);
        }
        let free_at = after(self.within(of, now), cost(of, units));
        let latest = after(now, of.per.length());
        if free_at <= latest { Ok(()) } else { Err(NoRoom::Until(before(free_at, of.per.length()))) }
    }

    /// Takes so many units, whether there is room or not.
    pub fn take(&mut self, of: AllowedAmount, units: u64, now: Timestamp) {
        self.free_at = after(self.within(of, now), cost(of, units));
    }

    /// Gives back so many units that were taken `ago`: what has come back by itself since is not given back once more.
    pub fn give_back(&mut self, of: AllowedAmount, units: u64, ago: Duration) {
        self.free_at = before(self.free_at, cost(of, units).saturating_sub(ago));
    }

    /// Returns the meter of another amount by which as much is used as by this one.
    pub fn of_another(self, before: AllowedAmount, of: AllowedAmount, now: Timestamp) -> Self {
        let used = before.amount.get() - self.left(before, now).min(before.amount.get());
        let mut meter = Meter::free_at(now);
        meter.take(of, used, now);
        meter
    }

    /// Returns how many units may be taken now.
    pub fn left(self, of: AllowedAmount, now: Timestamp) -> u64 {
        let used = Duration::try_from(self.within(of, now).duration_since(now)).unwrap_or_default();
        let amount = u128::from(of.amount.get());
        let used = (used.as_nanos() * amount).div_ceil(of.per.length().as_nanos().max(1));
        u64::try_from(amount.saturating_sub(used)).unwrap_or(u64::MAX)
    }

    /// Returns what is remembered over a restart, in RFC 3339.
    pub fn record(self) -> String {
        self.free_at.to_string()
    }

    /// Returns the meter of this record; one by which nothing is used if it is none.
    pub fn recorded(record: &str) -> Self {
        Meter::free_at(record.parse().unwrap_or(Timestamp::MIN))
    }

    /// Returns the moment at which nothing is used, between now and a period from now.
    fn within(self, of: AllowedAmount, now: Timestamp) -> Timestamp {
        self.free_at.clamp(now, after(now, of.per.length()))
    }
}

/// Returns the time in which so many units are given back.
fn cost(of: AllowedAmount, units: u64) -> Duration {
    let nanoseconds = of.per.length().as_nanos().saturating_mul(units.into()) / u128::from(of.amount.get());
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

fn after(time: Timestamp, by: Duration) -> Timestamp {
    let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

fn before(time: Timestamp, by: Duration) -> Timestamp {
    let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
    time.checked_sub(by).unwrap_or(Timestamp::MIN)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use proptest::prelude::*;

    use super::*;
    use crate::config::RatePeriod;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn hourly(amount: u64) -> AllowedAmount {
        AllowedAmount { amount: NonZeroU64::new(amount).unwrap(), per: RatePeriod::Hour }
    }

    #[test]
    fn all_may_go_at_once_and_then_as_the_time_allows() {
        let (of, mut meter) = (hourly(60), Meter::free_at(Timestamp::MIN));
        for _ in 0..60 {
            assert_eq!(meter.check(of, 1, at(0)), Ok(()));
            meter.take(of, 1, at(0));
        }
        assert_eq!(meter.check(of, 1, at(0)), Err(NoRoom::Until(at(60))));
        assert_eq!(
            (meter.check(of, 1, at(60)), meter.check(of, 2, at(60))),
            (Ok(()), Err(NoRoom::Until(at(120))))
        );
        assert_eq!(meter.check(of, 61, at(7200)), Err(NoRoom::Ever));
        meter.give_back(of, 2, Duration::ZERO);
        assert_eq!(meter.check(of, 2, at(0)), Ok(()));
    }

    /// A transaction that was held open and then given up gave back what others had used meanwhile.
    #[test]
    fn what_has_come_back_by_itself_is_not_given_back_once_more() {
        let (of, mut meter) = (hourly(60), Meter::free_at(Timestamp::MIN));
        meter.take(of, 2, at(0));
        meter.take(of, 60, at(120));
        meter.give_back(of, 2, Duration::from_secs(120));
        assert_eq!(meter.check(of, 1, at(120)), Err(NoRoom::Until(at(180))));
        meter.give_back(of, 2, Duration::from_secs(60));
        assert_eq!((meter.check(of, 1, at(120)), meter.check(of, 2, at(120)).is_err()), (Ok(()), true));
    }

    /// Who had used all of an amount got nothing of a larger one.
    #[test]
    fn another_amount_has_as_much_used() {
        let mut meter = Meter::free_at(Timestamp::MIN);
        meter.take(hourly(3), 3, at(0));
        let doubled = meter.of_another(hourly(3), hourly(6), at(0));
        assert_eq!(
            (
                doubled.left(hourly(6), at(0)),
                meter.of_another(hourly(3), hourly(2), at(0)).left(hourly(2), at(0))
            ),
            (3, 0)
        );
    }

    #[test]
    fn what_is_remembered_is_what_was_used() {
        let (of, mut meter) = (hourly(7), Meter::free_at(at(0)));
        meter.take(of, 3, at(0));
        assert_eq!(Meter::recorded(&meter.record()), meter);
        assert_eq!(
            (Meter::recorded("").is_free(at(0)), Meter::recorded("1800").is_free(at(0))),
            (true, true)
        );
    }

    #[test]
    fn a_clock_that_is_set_back_makes_nobody_wait_longer_than_a_period() {
        let (of, mut meter) = (hourly(1), Meter::free_at(Timestamp::MIN));
        meter.take(of, 1, at(1_000_000));
        assert_eq!(meter.check(of, 1, at(0)), Err(NoRoom::Until(at(3600))));
        assert_eq!(meter.check(of, 1, at(3600)), Err(NoRoom::Until(at(7200))), "as long as nothing is taken");
        meter.take(of, 0, at(0));
        assert_eq!(meter.check(of, 1, at(3600)), Ok(()));
    }

    proptest! {
        /// At no moment is more used than the amount, and what is refused fits at the moment that is said.
        #[test]
        fn never_more_than_the_amount_and_the_moment_that_is_said_is_true(
            amount in 1_u64..50,
            steps in prop::collection::vec((0_i64..600, 1_u64..10), 1..60),
        ) {
            let (of, mut meter, mut now) = (hourly(amount), Meter::free_at(Timestamp::MIN), 0);
            let mut taken: Vec<(i64, u64)> = Vec::new();
            for (pause, units) in steps {
                now += pause;
                match meter.check(of, units, at(now)) {
                    Ok(()) => {
                        meter.take(of, units, at(now));
                        taken.push((now, units));
                    }
                    Err(NoRoom::Ever) => prop_assert!(units > amount),
                    Err(NoRoom::Until(until)) => {
                        prop_assert!(until > at(now));
                        prop_assert_eq!(meter.check(of, units, until), Ok(()));
                    }
                }
                let in_an_hour: u64 =
                    taken.iter().filter(|(time, _)| *time > now - 3600).map(|(_, units)| units).sum();
                prop_assert!(in_an_hour <= 2 * amount, "the whole amount, and what an hour gives back");
            }
        }
    }
}
