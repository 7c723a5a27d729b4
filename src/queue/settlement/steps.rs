//! The steps by which the result of an attempt gets onto the spool.
//!
//! Promises: a step says what is to be recorded, and is consumed when that is on the spool; then only the step after it
//! is left. A step whose record the spool refuses is still there, to be taken again. So a DSN is written once, however
//! often a later step fails.
//!
//! ```text
//!  RecordSent ──▶ ReportSuccess ──▶ ReportFailure ──▶ Close ──▶ removed
//!                       ▲                               ▼
//!                  (nothing sent                    KeepReplies ──▶ untried, or served
//!                   beside a failure)                   ├─▶ Bury ──▶ dead
//!                                                       ├─▶ Warn ──▶ deferred
//!                                                       └─▶ Hold ──▶ held
//! ```
//!
//! Pure: the shell around it (`settlement.rs`) carries out the records.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::super::attempt::{Attempt, RecipientResult};
use super::super::clock::later;
use super::super::reducer::Disposition;
use super::notices::Notice;
use super::settling::{SettlementTerms, Settling};
use crate::message::dsn::{Audience, DsnKind};
use crate::outcome::Outcome;
use crate::relay::RecipientReport;
use crate::spool::{EntryState, Fate, Mark, Settled};

/// One step of a settlement that is still to be taken. Only the step before it makes one.
#[derive(Debug)]
pub(in crate::queue) enum SettlementStep {
    /// Records which recipients the relay took, since the record of a DSN about a failure will end the in-flight mark.
    RecordSent,
    /// Reports success to those who asked for it.
    ReportSuccess,
    /// Reports failures.
    ReportFailure,
    /// Removes the message, or records how far it has come.
    Close,
    /// Keeps the replies of this attempt with a message that stays.
    KeepReplies,
    /// Records that nobody can be told of the failure.
    Bury,
    /// Reports the delay, if that is due.
    Warn,
    /// Records that the message is held.
    Hold,
}

/// A change of the spool that a step asks for.
#[derive(Debug)]
pub(in crate::queue) enum SettlementRecord {
    /// The ends of recipients that the ledger has and the spool has not.
    Fates,
    /// A DSN, and what it means for the message that it is about.
    Notice(Notice),
    /// The removal of the message.
    Removal(Settled),
    /// The replies that the attempt keeps. The spool may lose them.
    Replies,
    /// The message is dead or held.
    State(EntryState),
}

/// The result of a step.
#[derive(Debug)]
pub(in crate::queue) enum Advance {
    /// This step is next.
    To(SettlementStep),
    /// Nothing is left to do.
    Settled(Disposition),
}

impl SettlementStep {
    /// Enters the result into the ledger, and returns the first step.
    pub(in crate::queue) fn first(settling: &mut Settling) -> SettlementStep {
        let Settling { attempt, said, .. } = settling;
        let sent = said.findings.iter().filter(|finding| finding.outcome == Some(Outcome::Sent));
        sent.for_each(|finding| attempt.ledger.sent(finding.report.index));
        let fails = settling.has(Outcome::Bounced) || settling.has(Outcome::Expired);
        if settling.has(Outcome::Sent) && fails {
            SettlementStep::RecordSent
        } else {
            SettlementStep::ReportSuccess
        }
    }

    /// Returns what is to be recorded before this step is done; `None` if it is done without.
    pub(in crate::queue) fn record(
        &self,
        settling: &mut Settling,
        terms: &SettlementTerms,
    ) -> Option<SettlementRecord> {
        match self {
            SettlementStep::RecordSent => Some(SettlementRecord::Fates),
            SettlementStep::ReportSuccess => settling.success().map(SettlementRecord::Notice),
            SettlementStep::ReportFailure => settling.failure(terms).map(SettlementRecord::Notice),
            SettlementStep::Close => Some(match settling.attempt.ledger.settle() {
                Some(settled) => SettlementRecord::Removal(settled),
                None => SettlementRecord::Fates,
            }),
            SettlementStep::KeepReplies => settling.keep_replies().then_some(SettlementRecord::Replies),
            SettlementStep::Bury => Some(SettlementRecord::State(EntryState::Dead)),
            SettlementStep::Warn => settling.delay(terms).map(SettlementRecord::Notice),
            SettlementStep::Hold => Some(SettlementRecord::State(EntryState::Held)),
        }
    }

    /// Ends this step, whose record is on the spool if it had one. Returns what follows.
    pub(in crate::queue) fn done(
        self,
        settling: &Settling,
        had_record: bool,
        terms: &SettlementTerms,
    ) -> Advance {
        match self {
            SettlementStep::RecordSent => Advance::To(SettlementStep::ReportSuccess),
            SettlementStep::ReportSuccess => Advance::To(SettlementStep::ReportFailure),
            SettlementStep::ReportFailure => Advance::To(SettlementStep::Close),
            SettlementStep::Close if settling.attempt.ledger.unsettled().next().is_none() => {
                Advance::Settled(Disposition::Removed)
            }
            SettlementStep::Close => Advance::To(SettlementStep::KeepReplies),
            SettlementStep::KeepReplies => settling.what_keeps_it(),
            SettlementStep::Bury => Advance::Settled(Disposition::Dead),
            SettlementStep::Warn => Advance::Settled(settling.deferred(had_record, terms)),
            SettlementStep::Hold => Advance::Settled(Disposition::Held),
        }
    }
}

impl Settling {
    /// Returns the report of success to those who asked for it, where the relay will not report (RFC 3461 5.2.3).
    fn success(&self) -> Option<Notice> {
        let is_ours =
            |finding: &&RecipientResult| finding.outcome == Some(Outcome::Sent) && !finding.dsn_passed_on;
        let asked: Vec<usize> = (self.said.findings.iter().filter(is_ours))
            .map(|finding| finding.report.index)
            .filter(|index| self.attempt.envelope.recipients[*index].notify.wants_success())
            .collect();
        let to = self.attempt.envelope.reverse_path.mailbox().cloned()?;
        (!asked.is_empty()).then_some(Notice { to, copy: None, kind: DsnKind::Relayed, about: asked })
    }

    /// Returns the report of the recipients that failed; if nobody can be told of them, they are dead.
    fn failure(&mut self, terms: &SettlementTerms) -> Option<Notice> {
        let failed = self.still_open(&[Outcome::Bounced, Outcome::Expired]);
        let Attempt { envelope, ledger, .. } = &mut self.attempt;
        let Audience { wanted, unwanted, to, copy } = Audience::of(envelope, failed, &terms.overseers);
        for index in unwanted {
            // This cannot fail: only recipients that want no report are in this list.
            let _ = ledger.bounced_unreported(index, &envelope.recipients[index]);
        }
        if wanted.is_empty() {
            return None;
        }
        let Some(to) = to.cloned() else {
            wanted.into_iter().for_each(|index| ledger.dead(index));
            return None;
        };
        Some(Notice { to, copy: copy.cloned(), kind: DsnKind::Failed, about: wanted })
    }

    /// Returns what follows for a message that stays, since some recipient is open or dead.
    fn what_keeps_it(&self) -> Advance {
        if self.attempt.ledger.open().next().is_none() {
            return Advance::To(SettlementStep::Bury);
        }
        if self.attempt.ledger.open().all(|index| self.attempt.elsewhere.contains(&index)) {
            return Advance::Settled(Disposition::Served);
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

    fn deferred(&self, warned: bool, terms: &SettlementTerms) -> Disposition {
        if self.said.lost {
            return Disposition::Lost { warned };
        }
        Disposition::Deferred { warned, named: self.said.named_time(terms.now.time_of_day) }
    }

    /// Keeps the replies of this attempt, and the last replies about the other recipients, but for those that have the message: why
    /// one is bounced stays known as long as the message is there. Returns whether any is new.
    fn keep_replies(&mut self) -> bool {
        let Attempt { ledger, replies, patience_used, .. } = &mut self.attempt;
        let fates = ledger.fates().iter().enumerate();
        let kept: BTreeSet<usize> =
            fates.filter(|(_, fate)| **fate != Fate::Sent).map(|(index, _)| index).collect();
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
            replies.set_patience_used(*patience_used);
        }
        is_news
    }

    /// Returns the report to the reverse-path, once, that the message is late.
    fn delay(&self, terms: &SettlementTerms) -> Option<Notice> {
        let member = &self.attempt.member;
        if !terms.retry.is_warning_due(self.attempt.patience_used, member.marks.has(Mark::Warned)) {
            return None;
        }
        let late: Vec<usize> = self
            .still_open(&[Outcome::Deferred])
            .into_iter()
            .filter(|index| self.attempt.envelope.recipients[*index].notify.wants_delay())
            .collect();
        let to = self.attempt.envelope.reverse_path.mailbox().cloned()?;
        let kind = DsnKind::Delayed { retrying_until: self.retrying_until(terms) };
        (!late.is_empty()).then_some(Notice { to, copy: None, kind, about: late })
    }

    /// Returns when the patience of this message ends, if the relay stays usable.
    fn retrying_until(&self, terms: &SettlementTerms) -> Timestamp {
        let left = terms.retry.lifetime.saturating_sub(self.attempt.patience_used);
        later(terms.now.time_of_day, left)
    }
}
