//! A settlement: what a report means for the message, made durable.
//!
//! Promises: the ledger says `sent` only for what the relay took, `bounced` only with a DSN on the spool
//! (or none wanted); a message is removed only as [`Settled`](crate::spool::Settled); what the spool
//! cannot record now is tried again until it can, and the message is not sent again meanwhile.
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
//! | with 421, 503 or the like at the dot, or before the dot | nothing | over (told, where an earlier copy was told) |
//! | without a reply to the dot, or without a report | at once | told |
//! | with the process, at any moment behind the mark | by the next run: when the dot is written again, or before a record that ends the mark and leaves a recipient open | as the new attempt has it |
//!
//! The last row is the one where the line may be wrong: the mark is written just before the dot, so that the process may
//! have ended before the dot was written, or behind a reply that refused the message. No line is missing.
//!
//! Not here: what a reply means (`relay/verdict.rs`), who hears of a failure (`message/dsn/audience.rs`), how a DSN
//! looks (`message/dsn/`).

use std::collections::BTreeSet;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::attempt::{Attempt, Finding, Progress, Said};
use super::clock::later;
use super::desk::Desk;
use super::recording::Pauses;
use super::reducer::{Disposition, Event};
use super::refusals::{Ruling, is_telling};
use crate::envelope::Address;
use crate::log::{self, Delays, Outcome};
use crate::message::dsn::{Affected, Audience, Dsn, Kind, Original};
use crate::queue_id::QueueId;
use crate::relay::{Peer, RecipientReport, Report, Verdict};
use crate::spool::{CommitError, Committed, Content, Draft, EntryState, Fate, Flight, Mark, Spool};
use crate::status::Status;

/// How much of an original a DSN is given to quote from.
const QUOTED_OCTETS: usize = 64 * 1024;

impl Said {
    /// What this report says, which is logged.
    fn of(desk: &Desk, attempt: &Attempt, report: Report, ruling: Ruling) -> Self {
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
        let finding = |report| Finding { outcome: outcome(&report), report, dsn_passed_on };
        let findings = recipients.into_iter().map(finding).collect();
        Said { findings, peer: Some(peer), unsaid, lost, may_have_arrived, in_doubt }
    }
}

/// One report on its way into the spool.
pub(super) struct Settlement {
    desk: Arc<Desk>,
    attempt: Attempt,
    findings: Vec<Finding>,
    peer: Option<Peer>,
    /// What becomes of a message of which nothing is to be recorded.
    unsaid: Option<Disposition>,
    /// The connection was lost in the middle of it.
    lost: bool,
    /// The relay had all of it once, and its answer did not reach us.
    may_have_arrived: bool,
    /// That is so of this attempt.
    in_doubt: bool,
    warned: bool,
    success_told: bool,
    /// The owner and the log have been told that the spool does not take it.
    is_unrecorded: bool,
}

impl Settlement {
    /// Settles what the relay said, and logs it.
    pub(super) fn of_report(desk: Arc<Desk>, mut attempt: Attempt, report: Report, ruling: Ruling) -> Self {
        if report.possible_duplicate {
            log::possible_duplicate(
                attempt.id,
                "the connection was lost between the final dot and its reply",
            );
        }
        let mut said = Said::of(&desk, &attempt, report, ruling);
        if let Some(earlier) = attempt.earlier.take() {
            said.findings.extend(earlier.findings);
            said.unsaid = None;
        }
        Self::of_said(desk, attempt, said)
    }

    /// Settles what was said in transactions that others should have followed.
    pub(super) fn of_parts(desk: Arc<Desk>, mut attempt: Attempt) -> Self {
        match attempt.earlier.take() {
            Some(earlier) => Self::of_said(desk, attempt, Said { unsaid: None, ..earlier }),
            None => Self::of_finished(desk, attempt),
        }
    }

    /// Settles what was said before a connection ended without a report.
    pub(super) fn of_unreported(desk: Arc<Desk>, attempt: Attempt) -> Self {
        let in_doubt = attempt.progress == Progress::PastContent;
        let is_untold = attempt.earlier.is_none();
        let unsaid = is_untold.then_some(Disposition::Lost { warned: false });
        Settlement { unsaid, in_doubt, ..Self::of_parts(desk, attempt) }
    }

    fn of_said(desk: Arc<Desk>, attempt: Attempt, said: Said) -> Self {
        let Said { findings, peer, unsaid, lost, may_have_arrived, in_doubt } = said;
        Settlement {
            desk,
            attempt,
            findings,
            peer,
            unsaid,
            lost,
            may_have_arrived,
            in_doubt,
            warned: false,
            success_told: false,
            is_unrecorded: false,
        }
    }

    /// Removes a message whose every recipient had its end already.
    pub(super) fn of_finished(desk: Arc<Desk>, attempt: Attempt) -> Self {
        Settlement {
            desk,
            attempt,
            findings: Vec::new(),
            peer: None,
            unsaid: None,
            lost: false,
            may_have_arrived: false,
            in_doubt: false,
            warned: false,
            success_told: true,
            is_unrecorded: false,
        }
    }

    /// The message that is settled.
    pub(super) fn id(&self) -> QueueId {
        self.attempt.id
    }

    /// What became of the message, where nothing of it is to be recorded.
    pub(super) fn without_record(&self) -> Option<Disposition> {
        self.unsaid.filter(|_| self.flight_to_end().is_none())
    }

    /// Settles it. Ends when what became of the message is on the spool, or nothing is to be recorded.
    pub(super) async fn run(mut self) -> Disposition {
        if let Some(how) = self.flight_to_end() {
            self.desk.spool.end_flight(self.attempt.id, how).await;
        }
        if let Some(disposition) = self.unsaid {
            return disposition;
        }
        let mut pauses = Pauses::default();
        // Ends with the fault, or with the process: the in-flight mark then says "possible duplicate". Until
        // then the owner gives out nothing: what cannot be recorded must not be sent.
        loop {
            match self.record().await {
                Ok(disposition) => return disposition,
                Err(error) => {
                    self.unrecorded(error);
                    self.desk.clock.sleep(pauses.next()).await;
                }
            }
        }
    }

    /// How the attempt ended, where the spool would not know it by what is recorded.
    fn flight_to_end(&self) -> Option<Flight> {
        match (self.attempt.progress, self.unsaid) {
            (Progress::BeforeDot, _) => None,
            (Progress::PastContent, _) if self.in_doubt => Some(Flight::Told),
            (Progress::PastContent, None) => None,
            (Progress::PastContent, Some(_)) if self.attempt.member.copies > 0 => Some(Flight::Told),
            (Progress::PastContent, Some(_)) => Some(Flight::Over),
        }
    }

    fn unrecorded(&mut self, error: CommitError) {
        if !std::mem::replace(&mut self.is_unrecorded, true) {
            log::unrecorded(self.attempt.id, &error);
            self.desk.queue.tell(Event::Unrecorded { id: self.attempt.id, why: error });
        }
    }

    /// One try at recording everything; what an earlier try has done is not done again.
    async fn record(&mut self) -> Result<Disposition, CommitError> {
        for finding in self.findings.iter().filter(|finding| finding.outcome == Some(Outcome::Sent)) {
            self.attempt.ledger.sent(finding.report.index);
        }
        if self.leaves_open() {
            self.desk.tell_hidden_duplicate(&mut self.attempt);
        }
        if self.has(Outcome::Sent) && (self.has(Outcome::Bounced) || self.has(Outcome::Expired)) {
            // The DSN's record ends what the in-flight mark says: what was sent must be known before it.
            self.desk.spool.record(&mut self.attempt.ledger).await?;
        }
        self.report_success().await?;
        self.report_failure().await?;
        match self.attempt.ledger.settle() {
            Some(settled) => {
                self.desk.spool.remove(settled).await?;
                log::removed(self.attempt.id);
                Ok(Disposition::Removed)
            }
            None => self.keep().await.map(|disposition| match disposition {
                Disposition::Deferred { .. } | Disposition::Untried if self.lost => {
                    Disposition::Lost { warned: self.warned }
                }
                other => other,
            }),
        }
    }

    /// Some recipient is open or dead: the message stays.
    async fn keep(&mut self) -> Result<Disposition, CommitError> {
        self.desk.spool.record(&mut self.attempt.ledger).await?;
        self.note_replies().await;
        if self.attempt.ledger.open().next().is_none() {
            self.desk.spool.set_state(self.attempt.id, EntryState::Dead).await?;
            log::dead(self.attempt.id, "a failure of mail from <> can be reported to nobody");
            return Ok(Disposition::Dead);
        }
        if self.has(Outcome::Deferred) && !self.has_unasked() {
            self.warn().await?;
            return Ok(Disposition::Deferred { warned: self.warned });
        }
        if self.has(Outcome::Held) && self.findings.iter().all(|finding| finding.outcome.is_some()) {
            self.desk.spool.set_state(self.attempt.id, EntryState::Held).await?;
            return Ok(Disposition::Held);
        }
        Ok(Disposition::Untried)
    }

    /// Keeps what was said, beside what those were told last of whom nothing was said now.
    async fn note_replies(&mut self) {
        let Attempt { id, ledger, replies, .. } = &mut self.attempt;
        let kept: BTreeSet<usize> = ledger.unsettled().collect();
        let said = self.findings.iter().filter(|finding| finding.outcome.is_some());
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

    /// Reports recipients that failed; those that nobody can be told of are dead.
    async fn report_failure(&mut self) -> Result<(), CommitError> {
        let failed = self.still_open(&[Outcome::Bounced, Outcome::Expired]);
        let Attempt { envelope, ledger, .. } = &mut self.attempt;
        let Audience { wanted, unwanted, to } =
            Audience::of(envelope, failed, self.desk.settings.postmaster.as_ref());
        for index in unwanted {
            // Cannot fail: only recipients that want no report are in this list.
            let _ = ledger.bounced_unreported(index, &envelope.recipients[index]);
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let Some(to) = to.cloned() else {
            wanted.into_iter().for_each(|index| ledger.dead(index));
            return Ok(());
        };
        let (draft, dsn) = self.draft(&to, Kind::Failed, &wanted).await?;
        let now = self.desk.clock.now();
        let committed =
            self.desk.spool.commit_bounce(draft, dsn, &mut self.attempt.ledger, &wanted, now).await?;
        log::failure_reported(self.attempt.id, committed.id());
        Ok(())
    }

    /// Reports success to those who asked for it, where the relay will not (RFC 3461 5.2.3).
    async fn report_success(&mut self) -> Result<(), CommitError> {
        if self.success_told {
            return Ok(());
        }
        let is_ours = |finding: &&Finding| finding.outcome == Some(Outcome::Sent) && !finding.dsn_passed_on;
        let asked: Vec<usize> = (self.findings.iter().filter(is_ours))
            .map(|finding| finding.report.index)
            .filter(|index| self.attempt.envelope.recipients[*index].notify.wants_success())
            .collect();
        if let (false, Some(to)) = (asked.is_empty(), self.attempt.envelope.reverse_path.mailbox().cloned()) {
            let committed = self.commit(&to, Kind::Relayed, &asked).await?;
            log::success_reported(self.attempt.id, committed.id());
        }
        self.success_told = true;
        Ok(())
    }

    /// Tells the reverse-path, once, that the message is late.
    async fn warn(&mut self) -> Result<(), CommitError> {
        let now = self.desk.clock.now();
        let member = &self.attempt.member;
        let used = member.patience_used(self.desk.spool.relay_clock());
        if !self.desk.settings.retry.is_warning_due(used, member.marks.has(Mark::Warned) || self.warned) {
            return Ok(());
        }
        let late: Vec<usize> = self
            .still_open(&[Outcome::Deferred])
            .into_iter()
            .filter(|index| self.attempt.envelope.recipients[*index].notify.wants_delay())
            .collect();
        let Some(to) = self.attempt.envelope.reverse_path.mailbox().cloned() else { return Ok(()) };
        if late.is_empty() {
            return Ok(());
        }
        let kind = Kind::Delayed { retrying_until: self.retrying_until() };
        let (draft, envelope) = self.draft(&to, kind, &late).await?;
        let committed = self.desk.spool.commit_warning(draft, envelope, self.attempt.id, now).await?;
        self.warned = true;
        log::delay_reported(self.attempt.id, committed.id());
        Ok(())
    }

    /// Whether the turn of some recipient has never come: it comes first next time, so that all are asked.
    fn has_unasked(&self) -> bool {
        self.attempt.rest.iter().any(|index| self.attempt.replies.of(*index).is_none())
    }

    /// Whether a recipient is to be asked again.
    fn leaves_open(&self) -> bool {
        let ended = self.still_open(&[Outcome::Sent, Outcome::Bounced, Outcome::Expired]).len();
        self.attempt.ledger.open().count() > ended
    }

    fn has(&self, outcome: Outcome) -> bool {
        self.findings.iter().any(|finding| finding.outcome == Some(outcome))
    }

    fn still_open(&self, outcomes: &[Outcome]) -> Vec<usize> {
        let fates = self.attempt.ledger.fates();
        self.findings
            .iter()
            .filter(|finding| finding.outcome.is_some_and(|outcome| outcomes.contains(&outcome)))
            .map(|finding| finding.report.index)
            .filter(|index| fates.get(*index) == Some(&Fate::Open))
            .collect()
    }

    /// When this message's patience ends, if the relay stays usable.
    fn retrying_until(&self) -> Timestamp {
        let used = self.attempt.member.patience_used(self.desk.spool.relay_clock());
        let left = self.desk.settings.retry.lifetime.saturating_sub(used);
        later(self.desk.clock.now(), left)
    }

    async fn commit(&self, to: &Address, kind: Kind, about: &[usize]) -> Result<Committed, CommitError> {
        let (draft, envelope) = self.draft(to, kind, about).await?;
        let now = self.desk.clock.now();
        self.desk.spool.commit(draft, envelope, crate::envelope::Submitter::Ourselves, now).await
    }

    /// A DSN about these recipients, composed and ready to be committed.
    async fn draft(
        &self,
        to: &Address,
        kind: Kind,
        about: &[usize],
    ) -> Result<(Draft, crate::envelope::Envelope), CommitError> {
        let now = self.desk.clock.local();
        let mut draft = self.desk.spool.draft(now.timestamp());
        let (spool, id) = (self.desk.spool.clone(), self.attempt.id);
        // Nothing to quote from is no reason to tell nothing.
        let (quoted, is_whole) =
            tokio::task::spawn_blocking(move || quote(&spool, id)).await.unwrap_or_default();
        let affected: Vec<Affected<'_>> = self
            .findings
            .iter()
            .filter(|finding| about.contains(&finding.report.index))
            .map(|finding| self.affected(finding, now.timestamp()))
            .collect();
        let dsn = Dsn {
            kind,
            hostname: &self.desk.settings.hostname,
            author: &self.desk.settings.dsn_author,
            queue_id: draft.id(),
            to,
            original: Original {
                queue_id: self.attempt.id,
                envelope: &self.attempt.envelope,
                arrived: self.attempt.arrived,
                content: &quoted,
                content_is_whole: is_whole,
            },
            affected: &affected,
            now: &now,
        };
        let envelope = dsn.envelope();
        draft.write(&dsn.content()).await?;
        Ok((draft, envelope))
    }

    fn affected<'a>(&'a self, finding: &'a Finding, last_attempt: Timestamp) -> Affected<'a> {
        let report = &finding.report;
        Affected {
            recipient: &self.attempt.envelope.recipients[report.index],
            status: status_in(finding.outcome, report.status),
            diagnostic: &report.said,
            from_relay: report.from_relay,
            remote_mta: self.peer.as_ref().map(|peer| peer.name.as_str()),
            last_attempt,
            may_have_arrived: self.may_have_arrived && finding.outcome != Some(Outcome::Sent),
        }
    }
}

/// Logs and records what one transaction of several came to; the others follow. What an error leaves unrecorded is
/// in the attempt, for [`Settlement::of_parts`].
pub(super) async fn record_part(
    desk: &Desk,
    attempt: &mut Attempt,
    report: Report,
) -> Result<(), CommitError> {
    desk.tell_hidden_duplicate(attempt);
    let mut said = Said::of(desk, attempt, report, Ruling::AsSaid);
    attempt.progress = Progress::BeforeDot;
    for finding in said.findings.iter().filter(|finding| finding.outcome == Some(Outcome::Sent)) {
        attempt.ledger.sent(finding.report.index);
    }
    said.findings.extend(attempt.earlier.take().into_iter().flat_map(|earlier| earlier.findings));
    attempt.earlier = Some(said);
    desk.spool.record(&mut attempt.ledger).await
}

/// The first part of the content, and whether that is all of it. What cannot be read is not quoted: the
/// DSN matters more. Blocking.
fn quote(spool: &Spool, id: QueueId) -> (Vec<u8>, bool) {
    match spool.peek(id).map(|stored| stored.content) {
        Ok(Content::Memory(mut octets)) => {
            let is_whole = octets.len() <= QUOTED_OCTETS;
            octets.truncate(QUOTED_OCTETS);
            (octets, is_whole)
        }
        Ok(Content::File { file, len }) => {
            let mut octets = Vec::with_capacity(QUOTED_OCTETS);
            let is_read = file.take(QUOTED_OCTETS as u64).read_to_end(&mut octets).is_ok();
            let is_whole = is_read && octets.len() as u64 == len;
            (octets, is_whole)
        }
        Err(_) => (Vec::new(), false),
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
fn status_in(outcome: Option<Outcome>, status: Status) -> Status {
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
            relay: Some(log::Relay { name: &peer.name, address: peer.address, tls: peer.tls }),
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
