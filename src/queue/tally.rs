//! What came of attempts, counted for each relay since the start.
//!
//! Promises: a recipient counts once for each attempt, as the log has one line for each; what an operator returns is no attempt. The counts of a route go on over
//! reloads. Whoever counts waits for nobody, and does not go by the queue's one task. Of failures, the reasons are counted until
//! they are taken: at most [`MOST_REASONS`], without words of a relay and without names.
//!
//! Not here: the lines of the log (`log/delivery.rs`), how many messages there are in each state (`roster/counts.rs`).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

use crate::histogram::{DurationCounts, DurationHistogram};
use crate::outcome::{Delays, Outcome};
use crate::relay::{Phase, Subject};
use crate::status::Status;

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

/// How long the relay took, in counts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RelayTimes {
    /// The connections that were set up for a message, from name to login.
    pub connecting: DurationCounts,
    /// The transactions, from MAIL to the last reply.
    pub sending: DurationCounts,
}

/// The counters of one relay.
#[derive(Debug)]
pub(super) struct RelayTally {
    counts: [AtomicU64; 5],
    /// The times from a ready message to a connection that was set up for it.
    connecting: DurationHistogram,
    /// The times of transactions.
    sending: DurationHistogram,
    /// The second at which the relay last took a message; [`NEVER`] before that.
    last_sent: AtomicI64,
}

/// A second at which no relay took a message.
const NEVER: i64 = i64::MIN;

impl Default for RelayTally {
    fn default() -> Self {
        RelayTally {
            counts: Default::default(),
            connecting: DurationHistogram::default(),
            sending: DurationHistogram::default(),
            last_sent: AtomicI64::new(NEVER),
        }
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

    /// Counts the parts of one attempt's delay that are the relay's. An open connection that is used again is none that was
    /// set up.
    pub(super) fn count_delays(&self, delays: Delays) {
        if !delays.connecting.is_zero() {
            self.connecting.count(delays.connecting);
        }
        self.sending.count(delays.transmitting);
    }

    /// Returns how long it took to connect, and to send.
    pub(super) fn times(&self) -> RelayTimes {
        RelayTimes { connecting: self.connecting.counts(), sending: self.sending.counts() }
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

/// The most reasons that are counted apart until they are taken.
const MOST_REASONS: usize = 32;
/// The reason for which all count that come after so many.
const OTHER_REASONS: &str = "other reasons";

/// The counters of each relay that a configuration since the start has named, by its route.
#[derive(Debug, Default)]
pub(super) struct RelayTallies {
    relays: Mutex<BTreeMap<Option<String>, Arc<RelayTally>>>,
    failures: Mutex<BTreeMap<String, u64>>,
}

impl RelayTallies {
    /// Returns the counters of the relay of this route.
    pub(super) fn of(&self, route: Option<&str>) -> Arc<RelayTally> {
        let mut known = self.relays.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(route.map(str::to_owned)).or_default())
    }

    /// Returns the counts of all relays together, and of those that the configuration names no more.
    pub(super) fn total(&self) -> RelayCounts {
        let known = self.relays.lock().unwrap_or_else(PoisonError::into_inner);
        known.values().map(|tally| tally.counts()).fold(RelayCounts::default(), RelayCounts::and)
    }

    /// Counts the reasons for which recipients did not get a message.
    pub(super) fn count_failures(&self, reasons: impl Iterator<Item = FailureReason>) {
        for reason in reasons {
            let reason = reason.to_string();
            let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
            let has_room = failures.len() < MOST_REASONS || failures.contains_key(&reason);
            *failures.entry(if has_room { reason } else { OTHER_REASONS.to_owned() }).or_default() += 1;
        }
    }

    /// Takes the reasons that were counted since this was done last.
    pub(super) fn take_failures(&self) -> BTreeMap<String, u64> {
        std::mem::take(&mut *self.failures.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl RelayCounts {
    fn and(self, other: RelayCounts) -> RelayCounts {
        RelayCounts {
            sent: self.sent + other.sent,
            deferred: self.deferred + other.deferred,
            held: self.held + other.held,
            bounced: self.bounced + other.bounced,
            expired: self.expired + other.expired,
            last_sent: self.last_sent.max(other.last_sent),
        }
    }
}

/// Why a recipient did not get a message. It displays without the words of the relay, which may name anybody.
#[derive(Clone, Copy, Debug)]
pub(super) struct FailureReason {
    pub(super) outcome: Outcome,
    pub(super) phase: Phase,
    pub(super) status: Status,
    pub(super) cause: FailureCause,
}

/// What kept a message from a recipient.
#[derive(Clone, Copy, Debug)]
pub(super) enum FailureCause {
    /// The relay refused it.
    Refused(Subject),
    /// The relay does not offer what the message needs.
    NotOffered,
    /// The connection was lost.
    ConnectionLost,
}

impl fmt::Display for FailureReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FailureReason { outcome, phase, status, cause } = self;
        write!(f, "{outcome}: {cause} ({phase}, {status})")
    }
}

impl fmt::Display for FailureCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FailureCause::Refused(Subject::Recipient) => "the relay refused the recipient",
            FailureCause::Refused(Subject::Message) => "the relay refused the message",
            FailureCause::Refused(Subject::Permission) => "the relay refused the sender or our account",
            FailureCause::Refused(Subject::Login) => "the relay wants a login",
            FailureCause::Refused(Subject::Pace) => "the relay takes no more mail for now",
            FailureCause::Refused(Subject::Unclear) => "the relay refused the recipient or our account",
            FailureCause::NotOffered => "the relay does not offer what the message needs",
            FailureCause::ConnectionLost => "the connection was lost",
        })
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
        tallies.of(None).count([Outcome::Sent].into_iter(), second(5));
        assert_eq!(tallies.total(), RelayCounts { sent: 4, ..expected }, "all relays together");
    }

    #[test]
    fn reasons_of_failures_name_nobody_and_are_bounded() {
        let tallies = RelayTallies::default();
        let (refused, lost) = (FailureCause::Refused(Subject::Recipient), FailureCause::ConnectionLost);
        let reason = |detail, cause| FailureReason {
            outcome: Outcome::Deferred,
            phase: Phase::Rcpt,
            status: Status::transient(2, detail),
            cause,
        };
        tallies.count_failures([reason(1, refused), reason(1, lost)].into_iter());
        tallies.count_failures([reason(1, refused)].into_iter());
        let taken: Vec<(String, u64)> = tallies.take_failures().into_iter().collect();
        let expected = [
            ("deferred: the connection was lost (RCPT TO, 4.2.1)".to_owned(), 1),
            ("deferred: the relay refused the recipient (RCPT TO, 4.2.1)".to_owned(), 2),
        ];
        assert_eq!(taken, expected);
        tallies.count_failures((0..900).map(|detail| reason(detail, lost)));
        let taken = tallies.take_failures();
        assert_eq!((taken.len(), taken[OTHER_REASONS]), (MOST_REASONS + 1, 900 - MOST_REASONS as u64));
        assert!(tallies.take_failures().is_empty());
    }
}
