//! A settlement: it records what a report means for its message.
//!
//! Promises: the ledger says `sent` only for what the relay took, and `bounced` only if a DSN is on the spool (or none
//! is wanted). A message is removed only as [`Settled`](crate::spool::Settled). What the spool cannot record now is
//! tried again until it can, and meanwhile the message is not sent again. What is recorded is not done twice: a
//! settlement goes from step to step, and stays at the one that fails. The steps (`settlement/steps.rs`) say what is to
//! be recorded; this file has the spool record it.
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
mod settling;
mod steps;

use std::io::Read;
use std::sync::Arc;

use super::attempt::Attempt;
use super::desk::DeliveryDesk;
use super::recording::Pauses;
use super::reducer::{Disposition, Event};
use crate::envelope::{Envelope, Submitter};
use crate::log;
use crate::message::dsn::DsnKind;
use crate::queue_id::QueueId;
use crate::spool::{CommitError, Committed, Draft, EntryState, Flight, Spool, StoredContent};
pub(super) use notices::{Notice, NoticeFrame};
pub(super) use settling::{SettlementTerms, Settling};
pub(super) use steps::{Advance, SettlementRecord, SettlementStep};

/// The number of octets of the original from which a DSN may quote.
const QUOTED_OCTETS: usize = 64 * 1024;

/// The recording of one attempt's result.
pub(super) struct Settlement {
    desk: Arc<DeliveryDesk>,
    settling: Settling,
}

impl Settlement {
    pub(super) fn new(desk: Arc<DeliveryDesk>, settling: Settling) -> Self {
        Settlement { desk, settling }
    }

    /// Returns the message.
    pub(super) fn id(&self) -> QueueId {
        self.settling.attempt.id
    }

    /// Records the result. Returns what happens to the message, when everything is on the spool.
    pub(super) async fn run(mut self) -> Disposition {
        if let Some(how) = self.settling.flight_to_end() {
            self.desk.spool.end_flight(self.id(), how).await;
        }
        match self.settling.said.unsaid {
            Some(disposition) => disposition,
            None => self.record().await,
        }
    }

    /// Takes one step after the other. If the spool refuses one, this ends only when it does not any more, or with the
    /// process: the in-flight mark then says "possible duplicate". Meanwhile the owner gives out nothing, since what
    /// cannot be recorded must not be sent.
    async fn record(&mut self) -> Disposition {
        let mut step = SettlementStep::first(&mut self.settling);
        self.end_earlier_flight().await;
        let mut pauses = Pauses::default();
        let mut is_unrecorded = false;
        loop {
            step = match self.take(step).await {
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

    async fn end_earlier_flight(&mut self) {
        match self.settling.earlier_flight_to_end() {
            Some(Flight::Told) => self.desk.tell_hidden_duplicate(&mut self.settling.attempt).await,
            Some(how) => self.desk.spool.end_flight(self.id(), how).await,
            None => {}
        }
    }

    /// Takes this step. Returns it with the error if the spool refuses its record.
    async fn take(&mut self, step: SettlementStep) -> Result<Advance, (SettlementStep, CommitError)> {
        let terms = self.desk.terms();
        let record = step.record(&mut self.settling, &terms);
        let has_record = record.is_some();
        if let Some(record) = record
            && let Err(refused) = self.carry_out(record).await
        {
            return Err((step, refused));
        }
        Ok(step.done(&self.settling, has_record, &terms))
    }

    async fn carry_out(&mut self, record: SettlementRecord) -> Result<(), CommitError> {
        let (spool, id) = (&self.desk.spool, self.settling.attempt.id);
        match record {
            SettlementRecord::Fates => spool.record(&mut self.settling.attempt.ledger).await?,
            SettlementRecord::Notice(notice) => self.commit(notice).await?,
            SettlementRecord::Removal(settled) => {
                spool.remove(settled).await?;
                log::removed(id);
            }
            SettlementRecord::Replies => spool.note_replies(id, &self.settling.attempt.replies).await,
            SettlementRecord::State(state) => {
                spool.set_state(id, state).await?;
                if state == EntryState::Dead {
                    log::dead(id, self.settling.why_dead());
                }
            }
        }
        Ok(())
    }

    /// Puts a DSN on the spool, in one record with what it means for the message that it is about.
    async fn commit(&mut self, notice: Notice) -> Result<(), CommitError> {
        let (draft, envelope) = self.draft(&notice).await?;
        let (spool, now) = (&self.desk.spool, self.desk.clock.now());
        let Attempt { id, ledger, .. } = &mut self.settling.attempt;
        let id = *id;
        let (committed, log): (Committed, fn(QueueId, QueueId)) = match notice.kind {
            DsnKind::Relayed => {
                (spool.commit(draft, envelope, Submitter::Ourselves, now).await?, log::success_reported)
            }
            DsnKind::Failed => (
                spool.commit_bounce(draft, envelope, ledger, &notice.about, now).await?,
                log::failure_reported,
            ),
            DsnKind::Delayed { .. } => {
                (spool.commit_warning(draft, envelope, id, now).await?, log::delay_reported)
            }
        };
        log(id, committed.id());
        if let Some(by) = committed.on_hold() {
            log::came_on_hold(committed.id(), by);
        }
        Ok(())
    }

    /// Returns the DSN, ready to be committed.
    async fn draft(&self, notice: &Notice) -> Result<(Draft, Envelope), CommitError> {
        let now = self.desk.clock.local();
        let mut draft = self.desk.spool.draft(now.timestamp());
        let (spool, id) = (self.desk.spool.clone(), self.settling.attempt.id);
        // A DSN without a quotation is better than none.
        let (quoted, is_whole) =
            tokio::task::spawn_blocking(move || quote(&spool, id)).await.unwrap_or_default();
        let (envelope, content) = self.settling.compose(
            notice,
            &NoticeFrame {
                queue_id: draft.id(),
                hostname: &self.desk.settings.hostname,
                author: &self.desk.settings.dsn_author,
                quoted: &quoted,
                is_whole,
                now: &now,
            },
        );
        draft.write(&content).await?;
        Ok((draft, envelope))
    }

    /// Tells the log and the owner that the spool does not record the result.
    fn is_refused(&self, why: CommitError) {
        log::unrecorded(self.id(), &why);
        self.desk.queue.tell(Event::Unrecorded { id: self.id(), why });
    }
}

/// Returns the first part of the content, and whether that is all of it; nothing if it cannot be read, since the DSN
/// matters more. Blocking.
fn quote(spool: &Spool, id: QueueId) -> (Vec<u8>, bool) {
    match spool.peek(id).map(|stored| stored.content) {
        Ok(StoredContent::Memory(content)) => {
            let octets = content.as_ref();
            (octets[..octets.len().min(QUOTED_OCTETS)].to_vec(), octets.len() <= QUOTED_OCTETS)
        }
        Ok(StoredContent::File { file, len }) => {
            let mut octets = Vec::with_capacity(QUOTED_OCTETS);
            let is_read = file.take(QUOTED_OCTETS as u64).read_to_end(&mut octets).is_ok();
            let is_whole = is_read && octets.len() as u64 == len;
            (octets, is_whole)
        }
        Err(_) => (Vec::new(), false),
    }
}

/// Records the result of one transaction of several, which the attempt has taken in; the others follow. After an error,
/// the attempt has what is not recorded yet, for [`Settling::of_parts`].
pub(super) async fn record_part(desk: &DeliveryDesk, attempt: &mut Attempt) -> Result<(), CommitError> {
    desk.tell_hidden_duplicate(attempt).await;
    desk.spool.record(&mut attempt.ledger).await
}
