//! The rates that the configuration sets for one relay: a token bucket for each.
//!
//! A bucket of `N` messages in a period holds a tenth of `N`, at least one; so many may go at once. It is filled evenly,
//! so slowly that with a whole bucket at its beginning no period has more than `N`: `N` less the bucket, and one, in a
//! period. `14/s` has no burst at all, and a message every 71 ms. `10000/day` has a burst of 1000, and then a message
//! every 9.6 s: a burst is what a night's reports need, and the rest of the day is not left without mail by them.
//!
//! Promises:
//! 1. In no stretch of time as long as the period, wherever it begins, do more than `N` messages begin.
//! 2. A restart or a reload fills no bucket. What is remembered counts up to a quarter of the bucket as used that was
//!    not; so a kill at any moment makes mail slower, never faster. Only a record that could not be written loses more.
//! 3. A clock that is set makes no message wait longer than for an empty bucket to be full, and lets no more than one
//!    bucket go at once.
//!
//! A message counts when its transaction begins; one whose transaction the relay never began to take is given back.
//! A further transaction of the same message counts as another message, since it has a final dot of its own.
//!
//! Pure: time is an argument; all is counted in whole nanoseconds. A bucket is one moment: the one at which it is full
//! again. Not here: the rate that the relay's replies ask for (`learned_rate.rs`), where the record is kept
//! (`spool/rates.rs`).

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::clock::{Moment, later};
use crate::config::{Rate, RatePeriod};

/// A bucket has this part of the messages of its period.
const SHARE: u32 = 10;
/// What is remembered is ahead of what was used by this part of a bucket, so that not every message is a record.
const AHEAD: u32 = 4;

/// All rates of one relay.
#[derive(Debug, Default)]
pub(super) struct Rates(Vec<RateBucket>);

/// One rate.
#[derive(Debug)]
struct RateBucket {
    rate: Rate,
    /// The time in which one more message fits in.
    interval: Duration,
    /// The number of messages that fit in.
    capacity: u32,
    /// The moment at which it is full again, past or to come.
    full_at: Timestamp,
    /// The moment that is remembered in place of `full_at`.
    remembered: Timestamp,
}

impl Rates {
    /// Returns the buckets of these rates at `now`, as `record` remembers them: what [`Rates::record`] returned in an
    /// earlier run, perhaps for other rates. A bucket that it does not know is full.
    pub(super) fn new(rates: &[Rate], record: &str, now: Moment) -> Self {
        Rates(rates.iter().map(|rate| RateBucket::new(*rate, recorded(record, rate.per), now)).collect())
    }

    /// Follows changed rates. What was used of the earlier ones in the same period stays used.
    pub(super) fn reconfigure(&mut self, rates: &[Rate], now: Moment) {
        let changed = rates.iter().map(|rate| {
            let earlier = self.0.iter().find(|bucket| bucket.rate.per == rate.per);
            let mut bucket = RateBucket::new(*rate, None, now);
            bucket.is_full_again_at(earlier.map_or(now.steady, |earlier| earlier.full_at), now.steady);
            bucket
        });
        self.0 = changed.collect();
    }

    /// Returns when the next message may begin; a time that is past if it may now.
    pub(super) fn next(&self) -> Timestamp {
        self.0.iter().map(RateBucket::next).max().unwrap_or(Timestamp::MIN)
    }

    /// Returns the number of messages that may begin at `now`.
    pub(super) fn left(&self, now: Timestamp) -> usize {
        self.0.iter().map(|bucket| bucket.left(now)).min().map_or(usize::MAX, |left| left as usize)
    }

    /// Takes in that a message begins at `now`, whether it may or not. Returns whether what is to be remembered has
    /// changed ([`Rates::record`]).
    pub(super) fn begins(&mut self, now: Timestamp) -> bool {
        let changes = self.0.iter_mut().map(|bucket| bucket.begins(now));
        changes.fold(false, |any, changed| any | changed)
    }

    /// Takes in that a message that had begun does not count.
    pub(super) fn give_back(&mut self) {
        for bucket in &mut self.0 {
            bucket.full_at = earlier(bucket.full_at, bucket.interval);
        }
    }

    /// Returns what is to be remembered over a restart, on one line; `now` is the moment of which this is called.
    pub(super) fn record(&self, now: Moment) -> String {
        let words = self.0.iter().map(|bucket| {
            let full_at = now.time_of_day_at(bucket.remembered);
            format!("{}={}", bucket.rate.per.word(), full_at.as_second() + 1)
        });
        words.collect::<Vec<_>>().join(" ")
    }

    /// Returns each rate, and how many messages may begin at once by it.
    pub(super) fn figures(&self, now: Timestamp) -> impl Iterator<Item = (Rate, u32)> {
        self.0.iter().map(move |bucket| (bucket.rate, bucket.left(now)))
    }
}

/// Returns the name under which the record of a relay is kept. A route has one of its own, even to the same hosts with the
/// same user: its rates are its own.
pub(super) fn record_name(relay: &str, route: Option<&str>) -> String {
    route.map_or_else(|| relay.to_owned(), |route| format!("{relay} by route {route}"))
}

/// Returns the record of a relay, of those that are kept. Earlier versions kept one for all routes to the same hosts with
/// the same user: it counts for a route until that has one of its own.
pub(super) fn record_of(kept: impl Fn(&str) -> String, relay: &str, route: Option<&str>) -> String {
    let own = kept(&record_name(relay, route));
    if own.is_empty() { kept(relay) } else { own }
}

/// Returns the second of the day at which the bucket of this period is full, by `record`.
fn recorded(record: &str, per: RatePeriod) -> Option<Timestamp> {
    let words = record.split(' ').filter_map(|word| word.split_once('='));
    let (_, second) = words.into_iter().find(|(word, _)| *word == per.word())?;
    Timestamp::from_second(second.parse().ok()?).ok()
}

impl RateBucket {
    fn new(rate: Rate, full_at: Option<Timestamp>, now: Moment) -> Self {
        let messages = rate.messages.get();
        let capacity = (messages / SHARE).max(1);
        let filled = u128::from(messages - capacity + 1);
        let interval = rate.per.length().as_nanos().div_ceil(filled);
        // A day has less than 2^64 nanoseconds.
        let interval = Duration::from_nanos(interval as u64);
        let mut bucket =
            RateBucket { rate, interval, capacity, full_at: now.steady, remembered: Timestamp::MIN };
        if let Some(full_at) = full_at {
            let in_the_day = full_at.duration_since(now.time_of_day);
            let steady = now.steady.checked_add(in_the_day).unwrap_or(Timestamp::MAX);
            bucket.is_full_again_at(steady, now.steady);
        }
        bucket
    }

    /// Sets the moment at which it is full again, which is no later than for an empty one.
    fn is_full_again_at(&mut self, full_at: Timestamp, now: Timestamp) {
        self.full_at = full_at.min(later(now, self.interval * self.capacity));
        self.remembered = self.full_at;
    }

    /// Returns when the next message may begin.
    fn next(&self) -> Timestamp {
        earlier(self.full_at, self.interval * (self.capacity - 1))
    }

    fn left(&self, now: Timestamp) -> u32 {
        let Ok(missing) = Duration::try_from(self.full_at.duration_since(now)) else { return self.capacity };
        let used = missing.as_nanos().div_ceil(self.interval.as_nanos().max(1));
        // What is used may be more than fits in, where a message has several transactions.
        self.capacity.saturating_sub(u32::try_from(used).unwrap_or(u32::MAX))
    }

    fn begins(&mut self, now: Timestamp) -> bool {
        self.full_at = later(self.full_at.max(now), self.interval);
        let is_beyond = self.full_at > self.remembered;
        if is_beyond {
            self.remembered = later(self.full_at, self.interval * (self.capacity / AHEAD));
        }
        is_beyond
    }
}

fn earlier(time: Timestamp, by: Duration) -> Timestamp {
    let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
    time.checked_sub(by).unwrap_or(Timestamp::MIN)
}

#[cfg(test)]
mod tests;
