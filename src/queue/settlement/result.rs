//! What a report says of its message: an outcome for each recipient, which is logged.
//!
//! Promises: a verdict is an outcome by what the refusal means, and by how much patience the message has left; the parts
//! of a delay add up to all of it.
//!
//! Not here: what a reply means (`relay/verdict.rs`), what other messages were told (`refusals.rs`), recording
//! (`settlement.rs`).

use std::time::Duration;

use jiff::Timestamp;

use super::super::attempt::{Attempt, AttemptResult, RecipientResult};
use super::super::desk::DeliveryDesk;
use super::super::reducer::Disposition;
use super::super::refusals::{Ruling, is_telling};
use crate::log;
use crate::outcome::{Delays, Outcome};
use crate::relay::{RecipientReport, Report, Verdict};
use crate::status::Status;

impl AttemptResult {
    /// What this report says, which is logged.
    pub(in crate::queue) fn of(
        desk: &DeliveryDesk,
        attempt: &Attempt,
        report: Report,
        ruling: Ruling,
    ) -> Self {
        let relay_clock = desk.spool.relay_clock();
        let expired = desk.settings.retry.is_expired(attempt.member.patience_used(relay_clock));
        let lost = report.is_lost();
        let patience = Patience { expired, charged: lost && attempt.member.losses >= CHARGED_LOSSES };
        let outcome = |recipient: &RecipientReport| outcome(recipient, ruling, patience);
        log_deliveries(attempt, &report, desk.clock.steady(), outcome);
        let unsaid = unsaid(&report, ruling, outcome);
        let in_doubt = report.possible_duplicate;
        let may_have_arrived = in_doubt || attempt.member.copies > 0;
        let Report { recipients, peer, dsn_passed_on, .. } = report;
        let finding = |report| RecipientResult { outcome: outcome(&report), report, dsn_passed_on };
        let findings = recipients.into_iter().map(finding).collect();
        AttemptResult { findings, peer: Some(peer), unsaid, lost, may_have_arrived, in_doubt }
    }
}

/// "Delivery time expired" (RFC 3463 3.5).
const EXPIRED: Status = Status::permanent(4, 7);

/// A message that was lost as often is to blame for it (`suspects.rs`), and what follows uses up its patience.
const CHARGED_LOSSES: u8 = 2;

/// How an attempt stands with its message's patience.
#[derive(Clone, Copy)]
struct Patience {
    /// It is used up.
    expired: bool,
    /// That the relay says nothing counts as a deferral.
    charged: bool,
}

impl Patience {
    /// What a deferral is to the message.
    fn deferral(self) -> Outcome {
        if self.expired { Outcome::Expired } else { Outcome::Deferred }
    }
}

/// The status that goes with `outcome` where the relay's reply has this one.
pub(super) fn status_in(outcome: Option<Outcome>, status: Status) -> Status {
    match outcome {
        Some(Outcome::Expired) => EXPIRED,
        // It may be a refusal for good that is taken for a deferral.
        Some(Outcome::Deferred) => Status::transient(status.subject(), status.detail()),
        _ => status,
    }
}

/// What a verdict is to a message whose patience stands so, and whose refusal has this meaning.
fn outcome(recipient: &RecipientReport, ruling: Ruling, patience: Patience) -> Option<Outcome> {
    match (recipient.verdict, ruling) {
        (Verdict::Bounced, Ruling::Hold) if is_telling(recipient) => return Some(Outcome::Held),
        (Verdict::Bounced, Ruling::Defer) if is_telling(recipient) => return Some(patience.deferral()),
        (_, Ruling::Untold) if is_telling(recipient) => return None,
        _ => {}
    }
    match recipient.verdict {
        Verdict::Sent => Some(Outcome::Sent),
        Verdict::Bounced => Some(Outcome::Bounced),
        Verdict::Unproven | Verdict::TooMany | Verdict::WithoutDsn => None,
        Verdict::Untold if !patience.charged => None,
        Verdict::Deferred | Verdict::Untold => Some(patience.deferral()),
    }
}

/// What becomes of a message of which the relay said nothing at all; `None` when there is something to record.
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

/// One line a recipient. What rode behind, or was never begun, has none: the line about the relay says it for all.
fn log_deliveries(
    attempt: &Attempt,
    report: &Report,
    now: Timestamp,
    outcome: impl Fn(&RecipientReport) -> Option<Outcome>,
) {
    let peer = &report.peer;
    let delays = delays(attempt, report, now);
    for recipient in &report.recipients {
        let outcome = match outcome(recipient) {
            Some(outcome) => outcome,
            None if report.is_lost() => Outcome::Deferred,
            None => continue,
        };
        let Some(of) = attempt.envelope.recipients.get(recipient.index) else { continue };
        log::delivery(&log::Delivery {
            id: attempt.id,
            to: &of.address,
            orig_to: of.original.as_ref(),
            relay: Some(log::LoggedRelay { name: &peer.name, address: peer.address, tls: peer.tls }),
            delays,
            status: status_in(Some(outcome), recipient.status),
            outcome,
            said: &recipient.said,
        });
    }
}

/// Where the time went from arrival to `now`, the last reply; the parts add up to all of it. The connection was
/// opened while the message was ready; and one that waits on it for another's final dot waits for a connection.
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
