//! Decides how many commands are sent before the relay replies, and remembers a relay that failed with too many.
//!
//! Promises: a relay that does not offer PIPELINING gets one command at a time. So does one that failed while it had
//! not yet answered all commands, but only for [`SUSPICION`], since a relay that is shut down closes connections, too.
//! If it accepts a transaction in that time and then fails in the same way again, it gets one command at a time for a
//! day. A relay that failed with a group after a final dot gets this at once, since each further try may leave a copy;
//! so does one that left after a refusal, since each further try that shows no more defers the message again.
//!
//! It is also remembered, for a day, that a relay refuses content before it has all of it: only there is a message that was
//! refused before worth a wait at its next try.
//!
//! Not here: which failures count (`dialog.rs`).
//!
//! RFC 2920.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::remembered::{PERIOD, Remembered};
use crate::config::Pipelining;

/// Time for which a first failure is remembered: longer than most restarts take.
pub(crate) const SUSPICION: Duration = Duration::from_secs(5 * 60);

/// The pace of one relayhost.
pub(crate) struct RelayPace {
    configured: Pipelining,
    lock_step: Remembered,
    evidence: Mutex<Evidence>,
    early_refusals: Remembered,
}

/// The evidence that a relay can process only one command at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Evidence {
    /// There is none, or it has accepted a group since.
    Nothing,
    /// It failed at a group.
    Failed,
    /// It has since accepted a transaction that was sent one command at a time.
    ServedInLockStep,
}

impl RelayPace {
    /// Returns the configured pace, with nothing remembered.
    pub(crate) fn new(configured: Pipelining) -> Self {
        RelayPace {
            configured,
            lock_step: Remembered::default(),
            evidence: Mutex::new(Evidence::Nothing),
            early_refusals: Remembered::default(),
        }
    }

    /// Returns the pace for a relay now; `offered` says whether it offers PIPELINING.
    pub(crate) fn now(&self, offered: bool) -> Pipelining {
        if offered && !self.lock_step.is_now() { self.configured } else { Pipelining::Off }
    }

    /// Sets the pace to one command at a time, since the relay failed at the pace `written`. Returns for how long, if
    /// this is a change.
    pub(crate) fn fall_into_lock_step(&self, written: Pipelining) -> Option<Duration> {
        let mut evidence = self.evidence.lock().unwrap_or_else(PoisonError::into_inner);
        if self.lock_step.is_now() {
            // Another connection's group, written before.
            return None;
        }
        let period = match (written, *evidence) {
            (Pipelining::Across, _) | (_, Evidence::ServedInLockStep) => PERIOD,
            (Pipelining::Group | Pipelining::Off, Evidence::Nothing | Evidence::Failed) => {
                *evidence = Evidence::Failed;
                SUSPICION
            }
        };
        self.lock_step.begin_for(period);
        Some(period)
    }

    /// Sets the pace to one command at a time for a day, since the relay left before it had shown whose its refusal is.
    /// Returns for how long, if this is a change.
    pub(crate) fn fall_into_lock_step_for_proof(&self) -> Option<Duration> {
        self.lock_step.begin().then_some(PERIOD)
    }

    /// Notes that the relay has refused content for good before it had all of it, or seemed to.
    pub(crate) fn refused_early(&self) {
        // Nobody needs to know whether that is news.
        let _ = self.early_refusals.begin();
    }

    /// Returns whether the relay has refused content early, not long ago.
    pub(crate) fn may_refuse_early(&self) -> bool {
        self.early_refusals.is_now()
    }

    /// Notes that the relay completed a transaction that was sent at `pace`.
    pub(crate) fn served(&self, pace: Pipelining) {
        let mut evidence = self.evidence.lock().unwrap_or_else(PoisonError::into_inner);
        *evidence = match (*evidence, pace) {
            (Evidence::Nothing, _) => Evidence::Nothing,
            (_, Pipelining::Off) => Evidence::ServedInLockStep,
            // A group that was on its way when another failed proves nothing.
            (evidence, _) if self.lock_step.is_now() => evidence,
            _ => Evidence::Nothing,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: Pipelining = Pipelining::Group;

    /// A pace at which the relay failed, did this, and failed again when it got groups again: for how long it is
    /// remembered then.
    async fn second_failure(between: impl Fn(&RelayPace)) -> Option<Duration> {
        let pace = RelayPace::new(GROUP);
        assert_eq!(pace.fall_into_lock_step(GROUP), Some(SUSPICION));
        between(&pace);
        tokio::time::advance(SUSPICION).await;
        assert_eq!(pace.now(true), GROUP);
        pace.fall_into_lock_step(GROUP)
    }

    /// One outage in which the relay closed its connections cost a round trip a command for a day.
    #[tokio::test(start_paused = true)]
    async fn only_a_relay_that_fails_at_groups_alone_is_remembered_for_long() {
        assert_eq!(second_failure(|_| {}).await, Some(SUSPICION), "it may have been down all the time");
        assert_eq!(second_failure(|pace| pace.served(Pipelining::Off)).await, Some(PERIOD));
        let in_flight = |pace: &RelayPace| pace.served(GROUP);
        assert_eq!(second_failure(in_flight).await, Some(SUSPICION), "a group on its way says nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn a_group_behind_a_dot_is_not_tried_twice() {
        let pace = RelayPace::new(Pipelining::Across);
        assert_eq!(pace.fall_into_lock_step(Pipelining::Across), Some(PERIOD));
    }

    #[tokio::test(start_paused = true)]
    async fn a_group_that_is_taken_clears_the_relay() {
        let pace = RelayPace::new(Pipelining::Across);
        pace.fall_into_lock_step(GROUP);
        pace.served(Pipelining::Off);
        tokio::time::advance(SUSPICION).await;
        pace.served(Pipelining::Across);
        assert_eq!(pace.fall_into_lock_step(GROUP), Some(SUSPICION));
    }

    #[tokio::test(start_paused = true)]
    async fn lock_step_is_remembered_and_said_once() {
        for configured in [Pipelining::Across, Pipelining::Group] {
            let pace = RelayPace::new(configured);
            assert_eq!((pace.now(true), pace.now(false)), (configured, Pipelining::Off));
            assert_eq!(pace.fall_into_lock_step(GROUP), Some(SUSPICION));
            assert_eq!(pace.fall_into_lock_step(GROUP), None);
            pace.served(Pipelining::Off);
            for period in [SUSPICION, PERIOD, PERIOD] {
                tokio::time::advance(period - Duration::from_secs(1)).await;
                assert_eq!(pace.now(true), Pipelining::Off);
                tokio::time::advance(Duration::from_secs(1)).await;
                assert_eq!(pace.now(true), configured);
                assert_eq!(pace.fall_into_lock_step(GROUP), Some(PERIOD), "it is news again");
            }
        }
    }
}
