//! What came of attempts, counted for each relay since the start.
//!
//! Promises: a recipient counts once for each attempt, as the log has one line for each; what an operator returns is no attempt. The counts of a route go on over
//! reloads. Whoever counts waits for nobody, and does not go by the queue's one task.
//!
//! Not here: the lines of the log (`log/delivery.rs`), how many messages there are in each state (`roster/counts.rs`).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

use crate::outcome::Outcome;

/// What came of recipients at one relay, in counts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RelayCounts {
    /// The number of recipients for whom the relay took a message.
    pub sent: u64,
    /// The number of times that a recipient was deferred.
    pub deferred: u64,
    /// The number of times that a recipient was held after a refusal.
    pub held: u64,
    /// The number of recipients that were refused for good.
    pub bounced: u64,
    /// The number of recipients that were tried for longer than the queue lifetime.
    pub expired: u64,
    /// The time at which the relay last took a message; `None` if it has taken none since the start.
    pub last_sent: Option<Timestamp>,
}

/// The counters of one relay.
#[derive(Debug)]
pub(super) struct RelayTally {
    counts: [AtomicU64; 5],
    /// The second at which the relay last took a message; [`NEVER`] before that.
    last_sent: AtomicI64,
}

/// A second at which no relay took a message.
const NEVER: i64 = i64::MIN;

impl Default for RelayTally {
    fn default() -> Self {
        RelayTally { counts: Default::default(), last_sent: AtomicI64::new(NEVER) }
    }
}

impl RelayTally {
    /// Counts what an attempt that ended at `now` came to for its recipients.
    pub(super) fn count(&self, outcomes: impl Iterator<Item = Outcome>, now: Timestamp) {
        for outcome in outcomes {
            self.counts[place_of(outcome)].fetch_add(1, Relaxed);
            if outcome == Outcome::Sent {
                self.last_sent.fetch_max(now.as_second(), Relaxed);
            }
        }
    }

    /// Returns the counts.
    pub(super) fn counts(&self) -> RelayCounts {
        let count = |outcome| self.counts[place_of(outcome)].load(Relaxed);
        RelayCounts {
            sent: count(Outcome::Sent),
            deferred: count(Outcome::Deferred),
            held: count(Outcome::Held),
            bounced: count(Outcome::Bounced),
            expired: count(Outcome::Expired),
            // `NEVER` is no time.
            last_sent: Timestamp::from_second(self.last_sent.load(Relaxed)).ok(),
        }
    }
}

fn place_of(outcome: Outcome) -> usize {
    match outcome {
        Outcome::Sent => 0,
        Outcome::Deferred => 1,
        Outcome::Held => 2,
        Outcome::Bounced => 3,
        Outcome::Expired => 4,
    }
}

/// The counters of each relay that a configuration since the start has named, by its route.
#[derive(Debug, Default)]
pub(super) struct RelayTallies(Mutex<BTreeMap<Option<String>, Arc<RelayTally>>>);

impl RelayTallies {
    /// Returns the counters of the relay of this route.
    pub(super) fn of(&self, route: Option<&str>) -> Arc<RelayTally> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(route.map(str::to_owned)).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_has_its_count_and_the_last_success_its_time() {
        let tallies = RelayTallies::default();
        let second = |second| Timestamp::from_second(second).unwrap();
        let news = tallies.of(Some("news"));
        assert_eq!(news.counts(), RelayCounts::default());
        let all = [Outcome::Sent, Outcome::Deferred, Outcome::Held, Outcome::Bounced, Outcome::Expired];
        news.count(all.into_iter().chain([Outcome::Sent]), second(20));
        // A clock that was set back does not take back what is known.
        news.count([Outcome::Sent, Outcome::Deferred].into_iter(), second(10));
        let expected = RelayCounts {
            sent: 3,
            deferred: 2,
            held: 1,
            bounced: 1,
            expired: 1,
            last_sent: Some(second(20)),
        };
        assert_eq!(tallies.of(Some("news")).counts(), expected, "the same counters, as after a reload");
        assert_eq!(tallies.of(None).counts(), RelayCounts::default());
    }
}
