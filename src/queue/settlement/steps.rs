//! The steps by which the result of an attempt gets onto the spool.
//!
//! Promises: a step is consumed when it is taken. Then its work is on the spool, and only the step after it is left; a
//! step that the spool refuses is handed back, to be taken again. So a DSN is written once, however often a later step
//! fails.
//!
//! ```text
//!  RecordSent ──▶ ReportSuccess ──▶ ReportFailure ──▶ Close ──▶ removed
//!                       ▲                               ├─────▶ untried
//!                  (nothing sent                        ├─▶ Bury ──▶ dead
//!                   beside a failure)                   ├─▶ Warn ──▶ deferred
//!                                                       └─▶ Hold ──▶ held
//! ```

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::super::attempt::{Attempt, RecipientResult};
use super::super::clock::later;
use super::super::reducer::Disposition;
use super::Settlement;
use crate::log;
use crate::message::dsn::{Audience, DsnKind};
use crate::outcome::Outcome;
use crate::relay::RecipientReport;
use crate::spool::{CommitError, EntryState, Fate, Flight, Mark};

/// The next thing to do. The only way to it is the step before.
pub(super) enum SettlementStep {
    /// Records which recipients the relay took, since the record of a DSN about a failure will end the in-flight mark.
    RecordSent,
    /// Reports success to those who asked for it.
    ReportSuccess,
    /// Reports failures.
    ReportFailure,
    /// Removes the message, or records how far it has come.
    Close,
    /// Records that nobody can be told of the failure.
    Bury,
    /// Reports the delay, if that is due.
    Warn,
    /// Records that the message is held.
    Hold,
}

/// The result of a step.
pub(super) enum Advance {
    /// This step is next.
    To(SettlementStep),
    /// Nothing is left to do.
    Settled(Disposition),
}

impl SettlementStep {
    /// Enters the result into the ledger, and returns the first step.
    pub(super) async fn first(settlement: &mut Settlement) -> SettlementStep {
        let Settlement { attempt, said, .. } = settlement;
        let sent = said.findings.iter().filter(|finding| finding.outcome == Some(Outcome::Sent));
        sent.for_each(|finding| attempt.ledger.sent(finding.report.index));
        if settlement.leaves_open() {
            settlement.desk.tell_hidden_duplicate(&mut settlement.attempt).await;
        } else if settlement.attempt.member.marks.hides_duplicate() {
            // The records to come end the mark; if the message is kept as dead, it stays known that it may have
            // arrived. Nothing is logged yet: should a kill come before these records, the next run logs it.
            settlement.desk.spool.end_flight(settlement.attempt.id, Flight::Hidden).await;
        }
        let fails = settlement.has(Outcome::Bounced) || settlement.has(Outcome::Expired);
        if settlement.has(Outcome::Sent) && fails {
            SettlementStep::RecordSent
        } else {
            SettlementStep::ReportSuccess
        }
    }

    /// Takes this step. Returns it with the error if the spool refuses it.
    pub(super) async fn take(
        self,
        settlement: &mut Settlement,
    ) -> Result<Advance, (SettlementStep, CommitError)> {
        let taken = match self {
            SettlementStep::RecordSent => settlement.record_sent().await,
            SettlementStep::ReportSuccess => settlement.report_success().await,
            SettlementStep::ReportFailure => settlement.report_failure().await,
            SettlementStep::Close => settlement.close().await,
            SettlementStep::Bury => settlement.bury().await,
            SettlementStep::Warn => settlement.warn().await.map(|warned| settlement.ends_deferred(warned)),
            SettlementStep::Hold => settlement.hold().await,
        };
        taken.map_err(|refused| (self, refused))
    }
}

impl Settlement {
    async fn record_sent(&mut self) -> Result<Advance, CommitError> {
        self.desk.spool.record(&mut self.attempt.ledger).await?;
        Ok(Advance::To(SettlementStep::ReportSuccess))
    }

    /// Reports success to those who asked for it, where the relay will not (RFC 3461 5.2.3).
    async fn report_success(&mut self) -> Result<Advance, CommitError> {
        let is_ours =
            |finding: &&RecipientResult| finding.outcome == Some(Outcome::Sent) && !finding.dsn_passed_on;
        let asked: Vec<usize> = (self.said.findings.iter().filter(is_ours))
            .map(|finding| finding.report.index)
            .filter(|index| self.attempt.envelope.recipients[*index].notify.wants_success())
            .collect();
        if let (false, Some(to)) = (asked.is_empty(), self.attempt.envelope.reverse_path.mailbox().cloned()) {
            let committed = self.commit(&to, DsnKind::Relayed, &asked).await?;
            log::success_reported(self.attempt.id, committed.id());
        }
        Ok(Advance::To(SettlementStep::ReportFailure))
    }

    /// Reports recipients that failed; if nobody can be told of them, they are dead.
    async fn report_failure(&mut self) -> Result<Advance, CommitError> {
        let failed = self.still_open(&[Outcome::Bounced, Outcome::Expired]);
        let Attempt { envelope, ledger, .. } = &mut self.attempt;
        let Audience { wanted, unwanted, to } =
            Audience::of(envelope, failed, self.desk.settings.postmaster.as_ref());
        for index in unwanted {
            // This cannot fail: only recipients that want no report are in this list.
            let _ = ledger.bounced_unreported(index, &envelope.recipients[index]);
        }
        if wanted.is_empty() {
            return Ok(Advance::To(SettlementStep::Close));
        }
        let Some(to) = to.cloned() else {
            wanted.into_iter().for_each(|index| ledger.dead(index));
            return Ok(Advance::To(SettlementStep::Close));
        };
        let (draft, dsn) = self.draft(&to, DsnKind::Failed, &wanted).await?;
        let now = self.desk.clock.now();
        let committed =
            self.desk.spool.commit_bounce(draft, dsn, &mut self.attempt.ledger, &wanted, now).await?;
        log::failure_reported(self.attempt.id, committed.id());
        Ok(Advance::To(SettlementStep::Close))
    }

    /// Removes the message if every recipient has its end; if not, records how far it has come.
    async fn close(&mut self) -> Result<Advance, CommitError> {
        if let Some(settled) = self.attempt.ledger.settle() {
            self.desk.spool.remove(settled).await?;
            log::removed(self.attempt.id);
            return Ok(Advance::Settled(Disposition::Removed));
        }
        self.desk.spool.record(&mut self.attempt.ledger).await?;
        self.note_replies().await;
        Ok(self.what_keeps_it())
    }

    /// Returns what follows for a message that stays, since some recipient is open or dead.
    fn what_keeps_it(&self) -> Advance {
        if self.attempt.ledger.open().next().is_none() {
            return Advance::To(SettlementStep::Bury);
        }
        if self.has(Outcome::Deferred) && !self.has_unasked() {
            return Advance::To(SettlementStep::Warn);
        }
        if self.has(Outcome::Held) && self.said.findings.iter().all(|finding| finding.outcome.is_some()) {
            return Advance::To(SettlementStep::Hold);
        }
        let is_lost = self.said.lost;
        Advance::Settled(if is_lost { Disposition::Lost { warned: false } } else { Disposition::Untried })
    }

    async fn bury(&mut self) -> Result<Advance, CommitError> {
        self.desk.spool.set_state(self.attempt.id, EntryState::Dead).await?;
        log::dead(self.attempt.id, "a failure of mail from <> can be reported to nobody");
        Ok(Advance::Settled(Disposition::Dead))
    }

    async fn hold(&mut self) -> Result<Advance, CommitError> {
        self.desk.spool.set_state(self.attempt.id, EntryState::Held).await?;
        Ok(Advance::Settled(Disposition::Held))
    }

    fn ends_deferred(&self, warned: bool) -> Advance {
        let is_lost = self.said.lost;
        Advance::Settled(if is_lost {
            Disposition::Lost { warned }
        } else {
            Disposition::Deferred { warned }
        })
    }

    /// Keeps the replies of this attempt, and the last replies about the other recipients.
    async fn note_replies(&mut self) {
        let Attempt { id, ledger, replies, .. } = &mut self.attempt;
        let kept: BTreeSet<usize> = ledger.unsettled().collect();
        let said = self.said.findings.iter().filter(|finding| finding.outcome.is_some());
        let mut is_news = false;
        for RecipientReport { index, said, .. } in said.map(|finding| &finding.report) {
            if kept.contains(index) {
                replies.set(*index, said);
                is_news = true;
            }
        }
        if is_news {
            replies.retain(|index| kept.contains(&index));
            self.desk.spool.note_replies(*id, replies).await;
        }
    }

    /// Reports to the reverse-path, once, that the message is late. Returns whether it was reported now.
    async fn warn(&mut self) -> Result<bool, CommitError> {
        let now = self.desk.clock.now();
        let member = &self.attempt.member;
        let used = member.patience_used(self.desk.spool.relay_clock());
        if !self.desk.settings.retry.is_warning_due(used, member.marks.has(Mark::Warned)) {
            return Ok(false);
        }
        let late: Vec<usize> = self
            .still_open(&[Outcome::Deferred])
            .into_iter()
            .filter(|index| self.attempt.envelope.recipients[*index].notify.wants_delay())
            .collect();
        let Some(to) = self.attempt.envelope.reverse_path.mailbox().cloned() else { return Ok(false) };
        if late.is_empty() {
            return Ok(false);
        }
        let kind = DsnKind::Delayed { retrying_until: self.retrying_until() };
        let (draft, envelope) = self.draft(&to, kind, &late).await?;
        let committed = self.desk.spool.commit_warning(draft, envelope, self.attempt.id, now).await?;
        log::delay_reported(self.attempt.id, committed.id());
        Ok(true)
    }

    /// Returns whether some recipient has never been asked about. It comes first next time, so that all get their turn.
    fn has_unasked(&self) -> bool {
        self.attempt.rest.iter().any(|index| self.attempt.replies.of(*index).is_none())
    }

    /// Returns whether a recipient is to be tried again.
    fn leaves_open(&self) -> bool {
        let ended = self.still_open(&[Outcome::Sent, Outcome::Bounced, Outcome::Expired]).len();
        self.attempt.ledger.open().count() > ended
    }

    fn has(&self, outcome: Outcome) -> bool {
        self.said.findings.iter().any(|finding| finding.outcome == Some(outcome))
    }

    fn still_open(&self, outcomes: &[Outcome]) -> Vec<usize> {
        let fates = self.attempt.ledger.fates();
        self.said
            .findings
            .iter()
            .filter(|finding| finding.outcome.is_some_and(|outcome| outcomes.contains(&outcome)))
            .map(|finding| finding.report.index)
            .filter(|index| fates.get(*index) == Some(&Fate::Open))
            .collect()
    }

    /// Returns when the patience of this message ends, if the relay stays usable.
    fn retrying_until(&self) -> Timestamp {
        let used = self.attempt.member.patience_used(self.desk.spool.relay_clock());
        let left = self.desk.settings.retry.lifetime.saturating_sub(used);
        later(self.desk.clock.now(), left)
    }
}
