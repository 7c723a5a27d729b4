//! The result of an attempt: an outcome for each recipient, made from the report; and its lines in the log.
//!
//! Promises: an outcome follows from the verdict, from what the refusal means, and from the patience that the message
//! has left. The parts of a delay add up to all of it.
//!
//! Not here: the meaning of a reply (`relay/verdict.rs`), what the relay said to other messages (`refusals.rs`),
//! recording (`settlement.rs`).

use std::time::Duration;

use jiff::Timestamp;

use super::super::attempt::{Attempt, AttemptResult, RecipientResult, UnconfirmedCopy};
use super::super::reducer::Disposition;
use super::super::refusals::{Ruling, is_telling};
use super::super::tally::{FailureCause, FailureReason};
use super::settling::SettlementTerms;
use crate::log;
use crate::outcome::{Delays, Outcome};
use crate::relay::{Phase, RecipientReport, Report, Subject, Verdict};
use crate::status::Status;

impl AttemptResult {
    /// Returns the result by this report.
    pub(in crate::queue) fn of(
        attempt: &Attempt,
        report: Report,
        ruling: Ruling,
        terms: &SettlementTerms,
    ) -> Self {
        let expired = terms.retry.is_expired(attempt.patience_used);
        let lost = report.is_lost();
        let patience = AttemptPatience { expired, charged: lost && attempt.member.losses >= CHARGED_LOSSES };
        let outcome = |recipient: &RecipientReport| outcome(recipient, ruling, patience);
        let unsaid = unsaid(&report, ruling, outcome);
        let delays = delays(attempt, &report, terms.now.steady);
        let copy = match report.possible_duplicate {
            true => UnconfirmedCopy::OfThisAttempt,
            false if attempt.member.copies > 0 => UnconfirmedCopy::OfEarlierAttempt,
            false => UnconfirmedCopy::None,
        };
        let Report { recipients, peer, dsn_passed_on, .. } = report;
        let finding = |report| RecipientResult { outcome: outcome(&report), report, dsn_passed_on };
        let findings = recipients.into_iter().map(finding).collect();
        AttemptResult { findings, peer: Some(peer), delays, unsaid, lost, copy }
    }

    /// Returns the result of an operator's order to return a message: its time is over for every open recipient.
    pub(in crate::queue) fn returned(attempt: &Attempt) -> Self {
        let finding = |index| {
            let last =
                attempt.replies.of(index).map_or(String::new(), |said| format!("; before that: {said}"));
            let report = RecipientReport {
                index,
                verdict: Verdict::Deferred,
                status: EXPIRED,
                said: format!("{RETURNED}{last}"),
                from_relay: false,
                phase: Phase::Mail,
                about: Subject::Unclear,
            };
            RecipientResult { report, outcome: Some(Outcome::Expired), dsn_passed_on: false }
        };
        let copy = match attempt.member.copies {
            0 => UnconfirmedCopy::None,
            _ => UnconfirmedCopy::OfEarlierAttempt,
        };
        AttemptResult {
            findings: attempt.ledger.open().map(finding).collect(),
            copy,
            delays: Delays { before: until_now(attempt), ..Delays::default() },
            ..AttemptResult::default()
        }
    }

    /// Returns the parts of the message's delay until the end of this attempt.
    pub(in crate::queue) fn delays(&self) -> Delays {
        self.delays
    }

    /// Returns the time before which the message need not be tried again: the shortest that the relay has named at `now` for
    /// a recipient that waits. `None` if it has named none for one of them, which waits for no other then.
    pub(super) fn named_time(&self, now: Timestamp) -> Option<Duration> {
        let waits = self.findings.iter().filter(|finding| finding.outcome == Some(Outcome::Deferred));
        let named = waits.map(|finding| finding.report.named_time(now));
        // None is less than any time.
        named.min().flatten()
    }

    /// Logs the result.
    pub(in crate::queue) fn log(&self, attempt: &Attempt) {
        if self.copy == UnconfirmedCopy::OfThisAttempt {
            log::possible_duplicate(
                attempt.id,
                "the connection was lost between the final dot and its reply",
            );
        }
        self.lines(attempt).for_each(|line| log::delivery(&line));
    }

    /// Returns the outcome for each recipient that has a line in the log.
    pub(in crate::queue) fn outcomes<'a>(&'a self, attempt: &'a Attempt) -> impl Iterator<Item = Outcome> {
        self.lines(attempt).map(|line| line.outcome)
    }

    /// Returns why each recipient did not get the message that did not, and has a line in the log.
    pub(in crate::queue) fn failures(&self) -> impl Iterator<Item = FailureReason> {
        let failed = |RecipientResult { report, outcome, .. }: &RecipientResult| {
            let cause = match outcome {
                None => FailureCause::ConnectionLost,
                Some(_) if report.from_relay => FailureCause::Refused(report.about),
                Some(_) => FailureCause::NotOffered,
            };
            let outcome = outcome.or(self.lost.then_some(Outcome::Deferred))?;
            let status = status_in(Some(outcome), report.status);
            let failure = FailureReason { outcome, phase: report.phase, status, cause };
            (outcome != Outcome::Sent).then_some(failure)
        };
        self.findings.iter().filter_map(failed)
    }

    /// Returns one line for each recipient. Recipients whose transaction was never begun, or whose commands were sent
    /// behind another message, get none: the line about the relay is enough.
    pub(in crate::queue) fn lines<'a>(
        &'a self,
        attempt: &'a Attempt,
    ) -> impl Iterator<Item = log::DeliveryLine<'a>> {
        let peer = self.peer.as_ref();
        let route = peer.and_then(|peer| peer.route.as_deref());
        let relay =
            peer.map(|peer| log::LoggedRelay { name: &peer.name, address: peer.address, tls: peer.tls });
        self.findings.iter().filter_map(move |RecipientResult { report, outcome, .. }| {
            let outcome = outcome.or(self.lost.then_some(Outcome::Deferred))?;
            let of = attempt.envelope.recipients.get(report.index)?;
            Some(log::DeliveryLine {
                id: attempt.id,
                to: &of.address,
                orig_to: of.original.as_ref(),
                relay,
                route,
                delays: self.delays,
                status: status_in(Some(outcome), report.status),
                outcome,
                said: &report.said,
            })
        })
    }
}

/// "Delivery time expired" (RFC 3463 3.5).
const EXPIRED: Status = Status::permanent(4, 7);

/// What a DSN says of a recipient for whom an operator has the message returned.
const RETURNED: &str =
    "an operator of this host has returned the message to its sender; it was not delivered";

/// Returns how old the message was when the attempt began.
fn until_now(attempt: &Attempt) -> Duration {
    Duration::try_from(attempt.taken_at.duration_since(attempt.arrived)).unwrap_or_default()
}

/// A message with so many losses is at fault itself (`suspects.rs`), and further losses use up its patience.
const CHARGED_LOSSES: u8 = 2;

/// The patience of the message in an attempt.
#[derive(Clone, Copy)]
struct AttemptPatience {
    /// True if it is used up.
    expired: bool,
    /// True if a lost connection counts as a deferral.
    charged: bool,
}

impl AttemptPatience {
    /// Returns what a deferral means for the message.
    fn deferral(self) -> Outcome {
        if self.expired { Outcome::Expired } else { Outcome::Deferred }
    }
}

/// Returns the status that goes with `outcome`, where the relay gave this one.
pub(super) fn status_in(outcome: Option<Outcome>, status: Status) -> Status {
    match outcome {
        Some(Outcome::Expired) => EXPIRED,
        // It may be a permanent refusal that counts as a deferral.
        Some(Outcome::Deferred) => Status::transient(status.subject(), status.detail()),
        _ => status,
    }
}

/// Returns the outcome for a recipient, where its refusal has this meaning and its message this patience; `None` if the
/// attempt says nothing about it.
fn outcome(recipient: &RecipientReport, ruling: Ruling, patience: AttemptPatience) -> Option<Outcome> {
    match (recipient.verdict, ruling) {
        // A rule that may be wrong about the reply keeps no message for ever.
        (Verdict::Waits(reason), Ruling::Untold) if reason.rule.is_guess() && patience.expired => {
            return Some(Outcome::Expired);
        }
        (Verdict::Bounced | Verdict::Waits(_), Ruling::Hold) if is_telling(recipient) => {
            return Some(Outcome::Held);
        }
        (Verdict::Bounced, Ruling::Defer) if is_telling(recipient) => return Some(patience.deferral()),
        (_, Ruling::Untold) if is_telling(recipient) => return None,
        _ => {}
    }
    match recipient.verdict {
        Verdict::Sent => Some(Outcome::Sent),
        Verdict::Bounced => Some(Outcome::Bounced),
        Verdict::Unproven | Verdict::TooMany | Verdict::TooManyDomains | Verdict::WithoutParameters(_) => {
            None
        }
        Verdict::Untold if !patience.charged => None,
        Verdict::Deferred | Verdict::Waits(_) | Verdict::Untold => Some(patience.deferral()),
    }
}

/// Returns what happens to a message of which the relay said nothing at all; `None` if there is something to record.
fn unsaid(
    report: &Report,
    ruling: Ruling,
    outcome: impl Fn(&RecipientReport) -> Option<Outcome>,
) -> Option<Disposition> {
    let is_untold = report.recipients.iter().all(|recipient| outcome(recipient).is_none());
    let is_lost = report.is_lost() && ruling != Ruling::Untold;
    let unsaid = if is_lost { Disposition::Lost { warned: false } } else { Disposition::Untried };
    is_untold.then_some(unsaid)
}

/// Returns the parts of the delay from arrival to `now`, the last reply; they add up to all of it. The connection was
/// opened while the message was ready; and a message that waits on it for the reply to another one waits for a
/// connection.
fn delays(attempt: &Attempt, report: &Report, now: Timestamp) -> Delays {
    let between =
        |from: Timestamp, to: Timestamp| Duration::try_from(to.duration_since(from)).unwrap_or_default();
    let until_taken = between(attempt.arrived, attempt.taken_at);
    let since_taken = between(attempt.taken_steady, now);
    let ready = attempt.queued.min(until_taken);
    let connecting = report.connecting.min(ready);
    let transmitting = report.transmitting.min(since_taken);
    Delays {
        before: until_taken - ready,
        queued: ready - connecting + (since_taken - transmitting),
        connecting,
        transmitting,
    }
}
