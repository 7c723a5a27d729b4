//! A settlement: it records what a report means for its message.
//!
//! Promises: the ledger says `sent` only for what the relay took, and `bounced` only if a DSN is on the spool (or none
//! is wanted). A message is removed only as [`Settled`](crate::spool::Settled). What the spool cannot record now is
//! tried again until it can, and meanwhile the message is not sent again. What is recorded is not done twice: a
//! settlement goes from step to step (`settlement/steps.rs`), and stays at the one that fails.
//!
//! A failure that nobody can be told of is recorded at once as the end of that recipient, so that it is not tried
//! again. The message stays on the spool, and is *dead* when no other recipient is open; it never goes silently. The
//! last reply about each recipient is kept.
//!
//! Every attempt that has written its content, and of which nothing is recorded, notes on the spool how it ended
//! ([`Flight`]), so that "possible duplicate" is logged once for each copy that the relay may have, and for no other:
//!
//! | the attempt ended | logged | the mark becomes |
//! |---|---|---|
//! | with a reply that settles or defers a recipient | nothing | ended by that record |
//! | with 421, 503 or the like at the dot, or before the dot | nothing | over |
//! | without a reply to the dot, or without a report | at once | told |
//! | with the process, at any moment after the mark | by the next run: when the dot is written again, or before a record that ends the mark and leaves a recipient open | as the new attempt sets it |
//!
//! It stays known to the message's end, over deferrals and restarts, that the relay may have a copy: the records of
//! later attempts do not take back what "told" has said, and every DSN says it.
//!
//! In the last row the line may be wrong: the mark is written just before the dot, so the process may have ended before
//! the dot was written, or after a reply that refused the message. Or it ended after the line was logged and before
//! that was recorded, and the line is logged twice. No line is missing: an attempt that ends the message by a refusal
//! says nothing of an earlier copy, and its record of that ([`Flight::Hidden`]) has the next run say it, if the process
//! ends before the message's end is recorded.
//!
//! Not here: the meaning of a reply (`relay/verdict.rs`), who hears of a failure (`message/dsn/audience.rs`), the text
//! of a DSN (`message/dsn/`), when a message is tried again (`reducer/outcomes.rs`).

mod notices;
mod result;
mod steps;

use std::sync::Arc;

use super::attempt::{Attempt, AttemptResult, Progress};
use super::desk::DeliveryDesk;
use super::recording::Pauses;
use super::reducer::{Disposition, Event};
use super::refusals::Ruling;
use crate::log;
use crate::outcome::Outcome;
use crate::queue_id::QueueId;
use crate::relay::Report;
use crate::spool::{CommitError, Flight};
use steps::{Advance, SettlementStep};

/// One report that is being recorded.
pub(super) struct Settlement {
    desk: Arc<DeliveryDesk>,
    attempt: Attempt,
    said: AttemptResult,
}

impl Settlement {
    /// Begins to settle what the relay said, and logs it.
    pub(super) fn of_report(
        desk: Arc<DeliveryDesk>,
        mut attempt: Attempt,
        report: Report,
        ruling: Ruling,
    ) -> Self {
        if report.possible_duplicate {
            log::possible_duplicate(
                attempt.id,
                "the connection was lost between the final dot and its reply",
            );
        }
        let mut said = AttemptResult::of(&desk, &attempt, report, ruling);
        if let Some(earlier) = attempt.earlier.take() {
            said.findings.extend(earlier.findings);
            said.unsaid = None;
        }
        Settlement { desk, attempt, said }
    }

    /// Begins to settle what was said in the transactions so far, which others should have followed.
    pub(super) fn of_parts(desk: Arc<DeliveryDesk>, mut attempt: Attempt) -> Self {
        match attempt.earlier.take() {
            Some(earlier) => Settlement { desk, attempt, said: AttemptResult { unsaid: None, ..earlier } },
            None => Self::of_finished(desk, attempt),
        }
    }

    /// Begins to settle what was said before a connection ended without a report.
    pub(super) fn of_unreported(desk: Arc<DeliveryDesk>, attempt: Attempt) -> Self {
        let in_doubt = attempt.progress == Progress::PastContent;
        let is_untold = attempt.earlier.is_none();
        let mut settlement = Self::of_parts(desk, attempt);
        settlement.said.unsaid = is_untold.then_some(Disposition::Lost { warned: false });
        settlement.said.in_doubt = in_doubt;
        settlement
    }

    /// Begins to remove a message whose every recipient had its end already.
    pub(super) fn of_finished(desk: Arc<DeliveryDesk>, attempt: Attempt) -> Self {
        Settlement { desk, attempt, said: AttemptResult::default() }
    }

    /// Returns the message.
    pub(super) fn id(&self) -> QueueId {
        self.attempt.id
    }

    /// Returns what happens to the message, if there is nothing to record.
    pub(super) fn without_record(&self) -> Option<Disposition> {
        self.said.unsaid.filter(|_| self.flight_to_end().is_none())
    }

    /// Records the result. Returns what happens to the message, when everything is on the spool.
    pub(super) async fn run(mut self) -> Disposition {
        if let Some(how) = self.flight_to_end() {
            self.desk.spool.end_flight(self.attempt.id, how).await;
        }
        match self.said.unsaid {
            Some(disposition) => disposition,
            None => self.record().await,
        }
    }

    /// Takes one step after the other. If the spool refuses one, this ends only when it does not any more, or with the
    /// process: the in-flight mark then says "possible duplicate". Meanwhile the owner gives out nothing, since what
    /// cannot be recorded must not be sent.
    async fn record(&mut self) -> Disposition {
        let mut step = SettlementStep::first(self).await;
        let mut pauses = Pauses::default();
        let mut is_unrecorded = false;
        loop {
            step = match step.take(self).await {
                Ok(Advance::To(next)) => next,
                Ok(Advance::Settled(disposition)) => return disposition,
                Err((same, error)) => {
                    if !std::mem::replace(&mut is_unrecorded, true) {
                        self.is_refused(error);
                    }
                    self.desk.clock.sleep(pauses.next()).await;
                    same
                }
            };
        }
    }

    /// Tells the log and the owner that the spool does not record the result.
    fn is_refused(&self, why: CommitError) {
        log::unrecorded(self.attempt.id, &why);
        self.desk.queue.tell(Event::Unrecorded { id: self.attempt.id, why });
    }

    /// Returns how the attempt ended, if the spool would not know it from what is recorded.
    fn flight_to_end(&self) -> Option<Flight> {
        match (self.attempt.progress, self.said.unsaid) {
            (Progress::BeforeDot, _) => None,
            (Progress::PastContent, _) if self.said.in_doubt => Some(Flight::Told),
            (Progress::PastContent, None) => None,
            (Progress::PastContent, Some(_)) => Some(Flight::Over),
        }
    }
}

/// Logs and records the result of one transaction of several; the others follow. After an error, the attempt has what
/// is not recorded yet, for [`Settlement::of_parts`].
pub(super) async fn record_part(
    desk: &DeliveryDesk,
    attempt: &mut Attempt,
    report: Report,
) -> Result<(), CommitError> {
    let mut said = AttemptResult::of(desk, attempt, report, Ruling::AsSaid);
    attempt.progress = Progress::BeforeDot;
    for finding in said.findings.iter().filter(|finding| finding.outcome == Some(Outcome::Sent)) {
        attempt.ledger.sent(finding.report.index);
    }
    said.findings.extend(attempt.earlier.take().into_iter().flat_map(|earlier| earlier.findings));
    attempt.earlier = Some(said);
    desk.tell_hidden_duplicate(attempt).await;
    desk.spool.record(&mut attempt.ledger).await
}
