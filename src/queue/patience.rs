//! The patience of the messages of one relay: for which of them it runs, and how much each has used.
//!
//! Promises:
//! 1. The patience of a message runs while it is deferred by trouble of its own, or being tried, and its relay is usable. It
//!    stands while the message itself waits: for its turn, a rate, a throttle, a quota, an operator, the return of the relay.
//!    What other messages do changes nothing, so that a message also comes to its end in a queue that is never empty.
//! 2. In a pause that only a guess has made ([`PatienceOf::All`]) it runs for all: such a pause ends in a bounce where the
//!    guess stays true.
//! 3. What it has used is on the spool with the reply that deferred it (`spool/replies.rs`): a restart or a power cut costs
//!    the time since then, and makes no message older.
//!
//! There is a clock for each of the two cases, and each message is measured by the clock of its standing
//! (`roster/member.rs`): nothing is to be done for each message when the relay is paused.
//!
//! Pure: time is an argument. Not here: the lifetime (`schedule.rs`), whether the relay is paused (`breaker.rs`).

use jiff::Timestamp;

use super::relay_clock::RelayClock;

/// The messages whose patience runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PatienceOf {
    /// It stands for all: nothing gets through, or the spool does not record.
    None,
    /// It runs for those that are deferred or under way.
    Deferred,
    /// It runs also for those that wait.
    All,
}

/// The clocks by which the patience of the messages of one relay is measured.
#[derive(Clone, Debug, Default)]
pub(super) struct PatienceClocks {
    deferred: RelayClock,
    waiting: RelayClock,
}

/// What the clocks show at one moment, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PatienceReading {
    /// The clock of the messages that are deferred or under way.
    pub deferred: u32,
    /// The clock of all others.
    pub waiting: u32,
}

impl PatienceClocks {
    /// Lets the clocks run for these messages from `now` on.
    pub(super) fn run(&mut self, patience: PatienceOf, now: Timestamp) {
        self.deferred.run(patience != PatienceOf::None, now);
        self.waiting.run(patience == PatienceOf::All, now);
    }

    /// Returns what the clocks show at `now`.
    pub(super) fn at(&self, now: Timestamp) -> PatienceReading {
        PatienceReading { deferred: self.deferred.at(now), waiting: self.waiting.at(now) }
    }
}
