//! A settlement: what a report means for the message, made durable.
//!
//! Promises: the ledger says `sent` only for what the relay took, `bounced` only with a DSN on the spool
//! (or none wanted); a message is removed only as [`Settled`](crate::spool::Settled); what the spool
//! cannot record now is tried again until it can, and the message is not sent again meanwhile. What is recorded is not
//! done again: a settlement goes from step to step (`settlement/steps.rs`), and stays at the one that fails.
//!
//! A failure that nobody can be told of is recorded at once as that recipient's end, so that it is not asked again;
//! the message stays on the spool, and is *dead* when no other recipient is open, never silently gone. What each
//! recipient was told last is kept.
//!
//! Every attempt that has written its content, and of which nothing is recorded, says on the spool how it ended
//! ([`Flight`]), so that "possible duplicate" is said once for each copy that the relay may have, and for no other:
//!
//! | the attempt ended | said | the mark becomes |
//! |---|---|---|
//! | with a reply that settles or defers a recipient | nothing | ended by that record |
//! | with 421, 503 or the like at the dot, or before the dot | nothing | over |
//! | without a reply to the dot, or without a report | at once | told |
//! | with the process, at any moment behind the mark | by the next run: when the dot is written again, or before a record that ends the mark and leaves a recipient open | as the new attempt has it |
//!
//! That the relay may have a copy stays known to the message's end, over deferrals and restarts: what "told" has said of it
//! is not taken back by the records of later attempts, and every DSN says it.
//!
//! The last row is the one where the line may be wrong: the mark is written just before the dot, so that the process may
//! have ended before the dot was written, or behind a reply that refused the message; or it ended behind a line and
//! before the record of that, and the line is said twice. No line is missing: an attempt that ends the message by a
//! refusal says nothing of an earlier copy, and what it records of that ([`Flight::Hidden`]) has the next run say it,
//! should the process end before the message's end is recorded.
//!
//! Not here: what a reply means (`relay/verdict.rs`), who hears of a failure (`message/dsn/audience.rs`), how a DSN
//! looks (`message/dsn/`), when a message is tried again (`reducer/outcomes.rs`).

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

/// One report on its way into the spool.
pub(super) struct Settlement {
    desk: Arc<DeliveryDesk>,
    attempt: Attempt,
    said: AttemptResult,
}

impl Settlement {
    /// Settles what the relay said, and logs it.
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

    /// Settles what was said in transactions that others should have followed.
    pub(super) fn of_parts(desk: Arc<DeliveryDesk>, mut attempt: Attempt) -> Self {
        match attempt.earlier.take() {
            Some(earlier) => Settlement { desk, attempt, said: AttemptResult { unsaid: None, ..earlier } },
            None => Self::of_finished(desk, attempt),
        }
    }

    /// Settles what was said before a connection ended without a report.
    pub(super) fn of_unreported(desk: Arc<DeliveryDesk>, attempt: Attempt) -> Self {
        let in_doubt = attempt.progress == Progress::PastContent;
        let is_untold = attempt.earlier.is_none();
        let mut settlement = Self::of_parts(desk, attempt);
        settlement.said.unsaid = is_untold.then_some(Disposition::Lost { warned: false });
        settlement.said.in_doubt = in_doubt;
        settlement
    }

    /// Removes a message whose every recipient had its end already.
    pub(super) fn of_finished(desk: Arc<DeliveryDesk>, attempt: Attempt) -> Self {
        Settlement { desk, attempt, said: AttemptResult::default() }
    }

    /// The message that is settled.
    pub(super) fn id(&self) -> QueueId {
        self.attempt.id
    }

    /// What became of the message, where nothing of it is to be recorded.
    pub(super) fn without_record(&self) -> Option<Disposition> {
        self.said.unsaid.filter(|_| self.flight_to_end().is_none())
    }

    /// Settles it. Ends when what became of the message is on the spool, or nothing is to be recorded.
    pub(super) async fn run(mut self) -> Disposition {
        if let Some(how) = self.flight_to_end() {
            self.desk.spool.end_flight(self.attempt.id, how).await;
        }
        match self.said.unsaid {
            Some(disposition) => disposition,
            None => self.record().await,
        }
    }

    /// Takes step after step. Ends with the fault, or with the process: the in-flight mark then says "possible
    /// duplicate". Until then the owner gives out nothing: what cannot be recorded must not be sent.
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

    /// The log and the owner are told that the spool does not take it.
    fn is_refused(&self, why: CommitError) {
        log::unrecorded(self.attempt.id, &why);
        self.desk.queue.tell(Event::Unrecorded { id: self.attempt.id, why });
    }

    /// How the attempt ended, where the spool would not know it by what is recorded.
    fn flight_to_end(&self) -> Option<Flight> {
        match (self.attempt.progress, self.said.unsaid) {
            (Progress::BeforeDot, _) => None,
            (Progress::PastContent, _) if self.said.in_doubt => Some(Flight::Told),
            (Progress::PastContent, None) => None,
            (Progress::PastContent, Some(_)) => Some(Flight::Over),
        }
    }
}

/// Logs and records what one transaction of several came to; the others follow. What an error leaves unrecorded is
/// in the attempt, for [`Settlement::of_parts`].
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
