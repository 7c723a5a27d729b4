//! The last day of the mail in fixed memory: how much came in and went out, how much waited, and by what mail failed.
//!
//! Promises
//! 1. There is a sample for each minute in which a reading was taken, for [`DAY_MINUTES`] minutes; no memory is needed beyond
//!    that, whatever happens. Of what waited, a sample has the worst of its minute, so that no peak is lost.
//! 2. A count is in one sample only, so that the samples of a day add up to the counts of that day.
//! 3. A minute without a reading, since the daemon was stopped or the host was asleep, has no sample; it is not shown as quiet.
//! 4. At most [`MOST_REASONS`] reasons of failures are kept apart, those that are met most often; the others are one number.
//!
//! The time is an argument: what has passed since some fixed moment, on a clock that nobody sets and that goes on while the host
//! is asleep. A clock that goes back for all that adds to the newest sample.
//!
//! Pure. Not here: where the numbers come from (`admin/history_keeper.rs`), how they are shown.

mod failures;
mod slots;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use failures::RecentFailures;
use slots::SlotRing;

pub use failures::{MOST_REASONS, RecentFailure};

/// The number of minutes that are kept.
pub const DAY_MINUTES: u64 = 24 * 60;

/// The length of the slots from which the rates of the last minute are made, in seconds.
const MOMENT_SECONDS: u64 = 5;

/// Counts of mail since some moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FlowCounts {
    /// The messages that were accepted from clients.
    pub accepted: u64,
    /// The times that a client was refused a session, a message or a recipient.
    pub refused: u64,
    /// The recipients for whom a relay took a message.
    pub sent: u64,
    /// The times that a recipient was deferred.
    pub deferred: u64,
    /// The recipients that failed for good.
    pub bounced: u64,
}

/// The counts of a span of time that ends now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FlowSpan {
    /// The length of the span, in seconds: less than asked for where the daemon has not run for so long.
    pub seconds: u64,
    /// What came and went in it.
    #[serde(flatten)]
    pub counts: FlowCounts,
}

/// What one slot of time was like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FlowSample {
    /// What came and went in it.
    #[serde(flatten)]
    pub counts: FlowCounts,
    /// The most messages that were to be sent at a time.
    pub waiting: u64,
    /// The greatest age of the oldest of them, in seconds; 0 if there was none.
    pub oldest_age: u64,
    /// True if a relay was paused, for its trouble or by an operator.
    pub paused: bool,
}

/// The sample of a minute of the last day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct MinuteOfDay {
    /// The number of minutes that have passed since; 0 for the one that is under way.
    pub minutes_ago: u64,
    /// What it was like.
    #[serde(flatten)]
    pub sample: FlowSample,
}

/// The state of the mail at one moment.
#[derive(Clone, Debug, Default)]
pub struct FlowReading {
    /// The counts since the start.
    pub counts: FlowCounts,
    /// The number of messages that are to be sent.
    pub waiting: u64,
    /// The age of the oldest of them, in seconds; 0 if there is none.
    pub oldest_age: u64,
    /// True if a relay is paused, for its trouble or by an operator.
    pub paused: bool,
    /// The failures since the last reading: each reason with the number of times that it was met.
    pub failures: Vec<(String, u64)>,
}

/// The last day.
#[derive(Debug)]
pub struct DayHistory {
    /// The moment at which the counts began.
    began: Duration,
    /// The moment of the last reading.
    last: Duration,
    counted: FlowCounts,
    minutes: SlotRing,
    moments: SlotRing,
    failures: RecentFailures,
}

impl DayHistory {
    /// Returns the history of a daemon that starts at this moment, with all counts at 0.
    pub fn beginning(now: Duration) -> Self {
        DayHistory {
            began: now,
            last: now,
            counted: FlowCounts::default(),
            minutes: SlotRing::new(60, DAY_MINUTES),
            moments: SlotRing::new(MOMENT_SECONDS, 60 / MOMENT_SECONDS),
            failures: RecentFailures::default(),
        }
    }

    /// Takes in a reading.
    pub fn note(&mut self, now: Duration, reading: FlowReading) {
        let FlowReading { counts, waiting, oldest_age, paused, failures } = reading;
        let now = self.not_before(now);
        let sample = FlowSample { counts: counts.since(self.counted), waiting, oldest_age, paused };
        (self.last, self.counted) = (now, counts);
        self.minutes.add(now, sample);
        self.moments.add(now, sample);
        for (reason, times) in failures {
            self.failures.add(now, reason, times);
        }
    }

    /// Returns what came and went in the last minute.
    pub fn last_minute(&self, now: Duration) -> FlowSpan {
        self.span(&self.moments, now, 60 / MOMENT_SECONDS)
    }

    /// Returns what came and went in the last hour.
    pub fn last_hour(&self, now: Duration) -> FlowSpan {
        self.span(&self.minutes, now, 60)
    }

    /// Returns the samples of the last `minutes`, the oldest first. Minutes without a reading are left out.
    pub fn minutes(&self, now: Duration, minutes: u64) -> Vec<MinuteOfDay> {
        let samples = self.minutes.last(self.not_before(now), minutes);
        samples.map(|(minutes_ago, sample)| MinuteOfDay { minutes_ago, sample }).collect()
    }

    /// Returns the failures of the last hour by their reasons, the one that was met most often first.
    pub fn failures(&self, now: Duration) -> Vec<RecentFailure> {
        self.failures.list(self.not_before(now))
    }

    fn span(&self, slots: &SlotRing, now: Duration, number: u64) -> FlowSpan {
        let now = self.not_before(now);
        let counts =
            slots.last(now, number).fold(FlowCounts::default(), |sum, (_, slot)| sum.and(slot.counts));
        let runs = now.saturating_sub(self.began).as_secs();
        FlowSpan { seconds: slots.seconds(now, number).min(runs).max(1), counts }
    }

    /// Returns `now`, or the moment of the last reading if the clock went back behind it.
    fn not_before(&self, now: Duration) -> Duration {
        now.max(self.last)
    }
}

impl FlowSpan {
    /// Returns whether it is shorter than this, since the daemon has not run for so long. A slot of time that has just begun makes
    /// a span a little shorter than its name, which does not count.
    pub fn is_shorter_than(&self, seconds: u64) -> bool {
        self.seconds < seconds - seconds / 10
    }
}

impl FlowCounts {
    /// Returns what was counted since `earlier`.
    fn since(self, earlier: FlowCounts) -> FlowCounts {
        self.with(earlier, u64::saturating_sub)
    }

    /// Returns both counts together.
    pub fn and(self, other: FlowCounts) -> FlowCounts {
        self.with(other, u64::saturating_add)
    }

    fn with(self, other: FlowCounts, join: fn(u64, u64) -> u64) -> FlowCounts {
        FlowCounts {
            accepted: join(self.accepted, other.accepted),
            refused: join(self.refused, other.refused),
            sent: join(self.sent, other.sent),
            deferred: join(self.deferred, other.deferred),
            bounced: join(self.bounced, other.bounced),
        }
    }
}

impl FlowSample {
    /// Returns both samples as one: the counts together, and the worst of the rest.
    fn and(self, other: FlowSample) -> FlowSample {
        FlowSample {
            counts: self.counts.and(other.counts),
            waiting: self.waiting.max(other.waiting),
            oldest_age: self.oldest_age.max(other.oldest_age),
            paused: self.paused || other.paused,
        }
    }
}

#[cfg(test)]
mod tests;
