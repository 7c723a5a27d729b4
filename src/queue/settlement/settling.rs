//! The settlement of one attempt, as far as it has come: the attempt, what was said in it, and what is to be recorded.
//!
//! Promises: it changes only by the steps of `steps.rs`. Whatever it needs from outside is in [`SettlementTerms`].
//!
//! Pure. Not here: recording (`settlement.rs`), the result of a report (`result.rs`).

use super::super::attempt::{Attempt, AttemptResult, Progress, UnconfirmedCopy};
use super::super::clock::Moment;
use super::super::null_sender::may_be_about_sender;
use super::super::reducer::Disposition;
use super::super::schedule::RetryPolicy;
use crate::envelope::ReversePath;
use crate::message::dsn::Overseers;
use crate::outcome::Outcome;
use crate::spool::{Fate, Flight};

/// The settings and the times that decide about the result of an attempt.
#[derive(Clone, Debug)]
pub(in crate::queue) struct SettlementTerms {
    /// The addresses that are told of failures, besides the reverse-path.
    pub(in crate::queue) overseers: Overseers,
    /// The patience of a message, and when its sender is warned.
    pub(in crate::queue) retry: RetryPolicy,
    pub(in crate::queue) now: Moment,
}

/// The attempt whose result is being recorded, and that result.
pub(in crate::queue) struct Settling {
    pub(in crate::queue) attempt: Attempt,
    pub(in crate::queue) said: AttemptResult,
    /// True if the connection ended in the last transaction without a report, of which `said` then knows nothing.
    is_unreported: bool,
    /// True if nothing is recorded of the last transaction, whatever is recorded of those before.
    is_last_unsaid: bool,
}

impl Settling {
    /// Begins to settle what the relay said in the last transaction of an attempt, and in those before.
    pub(in crate::queue) fn of_result(mut attempt: Attempt, mut said: AttemptResult) -> Self {
        let is_last_unsaid = said.unsaid.is_some();
        if let Some(earlier) = attempt.earlier.take() {
            said.findings.extend(earlier.findings);
            said.unsaid = None;
        }
        Settling { is_last_unsaid, ..Self::of_said(attempt, said) }
    }

    /// Begins to settle what was said in the transactions so far, which others should have followed.
    pub(in crate::queue) fn of_parts(mut attempt: Attempt) -> Self {
        match attempt.earlier.take() {
            Some(earlier) => Self::of_said(attempt, AttemptResult { unsaid: None, ..earlier }),
            None => Self::of_finished(attempt),
        }
    }

    /// Begins to settle what was said before a connection ended without a report.
    pub(in crate::queue) fn of_unreported(attempt: Attempt) -> Self {
        let is_untold = attempt.earlier.is_none();
        let mut settling = Self::of_parts(attempt);
        settling.said.unsaid = is_untold.then_some(Disposition::Lost { warned: false });
        settling.is_unreported = true;
        settling
    }

    /// Begins to remove a message whose every recipient had its end already.
    pub(in crate::queue) fn of_finished(attempt: Attempt) -> Self {
        Self::of_said(attempt, AttemptResult::default())
    }

    fn of_said(attempt: Attempt, said: AttemptResult) -> Self {
        Settling { attempt, said, is_unreported: false, is_last_unsaid: false }
    }

    /// Returns what happens to the message, if there is nothing to record.
    pub(in crate::queue) fn without_record(&self) -> Option<Disposition> {
        self.said.unsaid.filter(|_| self.flight_to_end().is_none())
    }

    /// Returns how the attempt ended, if the spool would not know it from what is recorded.
    pub(in crate::queue) fn flight_to_end(&self) -> Option<Flight> {
        let leaves_copy = self.is_unreported || self.said.copy == UnconfirmedCopy::OfThisAttempt;
        match self.attempt.progress {
            Progress::BeforeDot => None,
            Progress::PastContent if leaves_copy => Some(Flight::Told),
            Progress::PastContent => self.is_last_unsaid.then_some(Flight::Over),
        }
    }

    /// Returns what is to be recorded of a copy that an earlier run may have left, and of which the log has not said so:
    /// the records to come end the mark.
    pub(in crate::queue) fn earlier_flight_to_end(&self) -> Option<Flight> {
        if !self.attempt.member.marks.hides_duplicate() {
            None
        } else if self.leaves_open() {
            Some(Flight::Told)
        } else {
            // If the message is kept as dead, it stays known that it may have arrived. Nothing is logged yet: should a
            // kill come before these records, the next run logs it.
            Some(Flight::Hidden)
        }
    }

    /// Returns why the message is dead, and what to set if the relay may have refused it for `<>` itself.
    pub(in crate::queue) fn why_dead(&self) -> &'static str {
        let is_from_null = self.attempt.told == ReversePath::Null;
        if is_from_null && self.said.findings.iter().any(|finding| may_be_about_sender(&finding.report)) {
            "a failure of mail from <> can be reported to nobody; if the relay takes no mail from <>, let it get an address \
             of yours that it knows, for the mail to come: queue.bounce-sender"
        } else {
            "a failure of mail from <> can be reported to nobody"
        }
    }

    /// Returns whether some recipient has never been asked about. It comes first next time, so that all get their turn.
    pub(super) fn has_unasked(&self) -> bool {
        self.attempt.rest.iter().any(|index| self.attempt.replies.of(*index).is_none())
    }

    /// Returns whether a recipient is to be tried again.
    fn leaves_open(&self) -> bool {
        let ended = self.still_open(&[Outcome::Sent, Outcome::Bounced, Outcome::Expired]).len();
        self.attempt.ledger.open().count() > ended
    }

    pub(super) fn has(&self, outcome: Outcome) -> bool {
        self.said.findings.iter().any(|finding| finding.outcome == Some(outcome))
    }

    /// Returns the recipients that have one of these outcomes by this attempt, and no end in the ledger.
    pub(super) fn still_open(&self, outcomes: &[Outcome]) -> Vec<usize> {
        let fates = self.attempt.ledger.fates();
        self.said
            .findings
            .iter()
            .filter(|finding| finding.outcome.is_some_and(|outcome| outcomes.contains(&outcome)))
            .map(|finding| finding.report.index)
            .filter(|index| fates.get(*index) == Some(&Fate::Open))
            .collect()
    }
}
