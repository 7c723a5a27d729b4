//! An attempt: a message that a connection carries, with what is needed to settle its report.
//!
//! Promises: a message to more recipients than a transaction may have goes in several. The recipients that were never
//! asked about come first, and those that were too many for one transaction come first in the next.
//!
//! Pure. Not here: the dialogue (`link.rs`), the meaning of a report for the message (`settlement/result.rs`).

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use jiff::Timestamp;

use super::Taken;
use super::clock::Moment;
use super::part_limits::PartLimits;
use super::reducer::Disposition;
use super::roster::Member;
use crate::envelope::spelling::folded_domain;
use crate::envelope::{Address, Envelope, Recipient, ReversePath, Submitter};
use crate::outcome::{Delays, Outcome};
use crate::queue_id::QueueId;
use crate::relay::{Peer, RecipientReport, Report, Verdict};
use crate::spool::{Ledger, Replies};
use crate::status::Status;

/// A message that a connection carries, without its content.
pub(super) struct Attempt {
    pub(super) id: QueueId,
    pub(super) member: Member,
    /// How much of its patience the message had used when a connection took it.
    pub(super) patience_used: Duration,
    pub(super) submitter: Submitter,
    pub(super) envelope: Envelope,
    /// The reverse-path that the relay gets.
    pub(super) told: ReversePath,
    pub(super) arrived: Timestamp,
    pub(super) taken_at: Timestamp,
    /// The moment at which a connection took the message, by the steady clock.
    pub(super) taken_steady: Timestamp,
    /// Time for which the message was ready before a connection took it.
    pub(super) queued: Duration,
    pub(super) progress: Progress,
    pub(super) ledger: Ledger,
    /// The last reply about each recipient.
    pub(super) replies: Replies,
    /// The recipients whose transaction is still to come. Those that were never asked about come first.
    pub(super) rest: VecDeque<usize>,
    /// What the next transaction may hold.
    pub(super) limits: PartLimits,
    /// The open recipients that another relay gets.
    pub(super) elsewhere: BTreeSet<usize>,
    /// The result of the transactions of this attempt so far.
    pub(super) earlier: Option<AttemptResult>,
}

/// The part of a message that an attempt needs, as the spool has it; its content is not in it.
pub(super) struct OnSpool {
    /// The open recipients that another relay gets.
    pub(super) elsewhere: BTreeSet<usize>,
    pub(super) submitter: Submitter,
    pub(super) envelope: Envelope,
    pub(super) arrived: Timestamp,
    pub(super) ledger: Ledger,
    pub(super) replies: Replies,
}

/// The recipients of one transaction.
pub(super) struct Part {
    /// The recipients, each with its index in the envelope.
    pub(super) recipients: Vec<(usize, Recipient)>,
    /// True if the submitter declared SMTPUTF8 for a header section that is not ASCII, or an address of the transaction
    /// is not ASCII.
    pub(super) wants_smtputf8: bool,
    /// True if the last reply about one of them refused it for good, and it did not bounce.
    pub(super) was_refused: bool,
}

impl Attempt {
    /// Begins an attempt for a message that is taken at this time; the relay gets the reverse-path `told`.
    pub(super) fn new(taken: Taken, message: OnSpool, told: ReversePath, now: Moment) -> Self {
        let Taken { id, member, patience_used, limits } = taken;
        let OnSpool { elsewhere, submitter, envelope, arrived, ledger, replies } = message;
        let (asked, unasked): (Vec<usize>, Vec<usize>) = ledger
            .open()
            .filter(|index| !elsewhere.contains(index))
            .partition(|index| replies.of(*index).is_some());
        Attempt {
            id,
            member,
            patience_used,
            submitter,
            envelope,
            told,
            arrived,
            taken_at: now.time_of_day,
            taken_steady: now.steady,
            queued: member.ready_for(now.steady),
            progress: Progress::BeforeDot,
            ledger,
            replies,
            elsewhere,
            rest: unasked.into_iter().chain(asked).collect(),
            limits,
            earlier: None,
        }
    }

    /// Takes out the recipients of the next transaction: the first ones, and of those behind them the ones that its
    /// limits leave room for.
    pub(super) fn next_part(&mut self) -> Part {
        let (mut recipients, mut domains) = (Vec::new(), BTreeSet::new());
        let mut left = VecDeque::new();
        for index in std::mem::take(&mut self.rest) {
            let Some(recipient) = self.envelope.recipients.get(index) else { continue };
            let domain = recipient.address.domain().map(folded_domain).unwrap_or_default();
            let is_another = !domains.contains(&domain);
            let has_room = recipients.len() < self.limits.recipients
                && !(is_another && self.limits.domains.is_some_and(|most| domains.len() >= most));
            if has_room {
                recipients.push((index, recipient.clone()));
                domains.insert(domain);
            } else {
                left.push_back(index);
            }
        }
        self.rest = left;
        let wants_smtputf8 = self.envelope.smtputf8
            || self.told.mailbox().is_some_and(Address::needs_smtputf8)
            || recipients.iter().any(|(_, recipient)| recipient.address.needs_smtputf8());
        let is_refusal = |(index, _): &(usize, Recipient)| {
            self.replies.of(*index).is_some_and(|earlier| earlier.starts_with('5'))
        };
        let was_refused = recipients.iter().any(is_refusal);
        Part { recipients, wants_smtputf8, was_refused }
    }

    /// Puts back the recipients that go in a further transaction. If they were too many for this one, or in too many
    /// domains, returns the limits that the relay has shown.
    pub(super) fn put_back(&mut self, report: &mut Report) -> Option<PartLimits> {
        let goes_again = |verdict| {
            use Verdict::{TooMany, TooManyDomains, WithoutParameters};
            matches!(verdict, TooMany | TooManyDomains | WithoutParameters(_))
        };
        let (again, told): (Vec<_>, Vec<_>) = std::mem::take(&mut report.recipients)
            .into_iter()
            .partition(|recipient| goes_again(recipient.verdict));
        let has = |verdict| again.iter().any(|recipient| recipient.verdict == verdict);
        let before = self.limits;
        if has(Verdict::TooManyDomains) {
            self.limits.domains = Some(1);
        } else if has(Verdict::TooMany) {
            self.limits.recipients = fewer(before.recipients, told.len(), again.len());
        }
        for recipient in again.iter().rev() {
            self.rest.push_front(recipient.index);
        }
        report.recipients = told;
        (self.limits != before).then_some(self.limits)
    }

    /// Takes in the result of one transaction, which others are to follow.
    pub(super) fn take_in(&mut self, mut said: AttemptResult) {
        self.progress = Progress::BeforeDot;
        for finding in said.findings.iter().filter(|finding| finding.outcome == Some(Outcome::Sent)) {
            self.ledger.sent(finding.report.index);
        }
        said.findings.extend(self.earlier.take().into_iter().flat_map(|earlier| earlier.findings));
        self.earlier = Some(said);
    }

    /// Returns whether the relay has taken a recipient in an earlier transaction of this attempt.
    pub(super) fn has_been_taken(&self) -> bool {
        let mut earlier = self.earlier.iter().flat_map(|earlier| &earlier.findings);
        earlier.any(|finding| finding.report.verdict == Verdict::Sent)
    }

    /// Decides about refusals for which nothing shows that they were about this recipient: the first one defers the
    /// recipient, and a second one with the same code and status, on another connection, is believed.
    pub(super) fn weigh_unproven(&self, report: &mut Report) {
        for told in report.recipients.iter_mut().filter(|told| told.verdict == Verdict::Unproven) {
            let earlier = self.replies.of(told.index);
            if earlier.is_some_and(|earlier| code_and_status(earlier) == code_and_status(&told.said)) {
                told.verdict = Verdict::Bounced;
            } else {
                (told.verdict, told.status) = (Verdict::Deferred, Status::transient(0, 0));
            }
        }
    }
}

/// Returns the reply code and the enhanced status, if there is one, of a reply.
fn code_and_status(said: &str) -> (&str, Option<&str>) {
    let mut words = said.splitn(3, [' ', '-']);
    let code = words.next().unwrap_or_default();
    let is_status = |word: &&str| word.bytes().all(|octet| octet.is_ascii_digit() || octet == b'.');
    (code, words.next().filter(is_status))
}

/// The point that an attempt has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// The relay cannot have the message.
    BeforeDot,
    /// All but the final dot has been written. From here on the relay may have the message.
    PastContent,
}

/// The result of an attempt for one recipient; without an outcome, the attempt says nothing about the recipient.
pub(super) struct RecipientResult {
    pub(super) report: RecipientReport,
    pub(super) outcome: Option<Outcome>,
    /// True if the DSN parameters were passed on, so that the relay reports success.
    pub(super) dsn_passed_on: bool,
}

/// The result of one attempt for a message.
#[derive(Default)]
pub(super) struct AttemptResult {
    pub(super) findings: Vec<RecipientResult>,
    /// The relay that replied; `None` if nothing was said.
    pub(super) peer: Option<Peer>,
    /// The parts of the time since the message arrived.
    pub(super) delays: Delays,
    /// The fate of the message if nothing is to be recorded; `None` if something is.
    pub(super) unsaid: Option<Disposition>,
    /// True if the connection was lost during this message.
    pub(super) lost: bool,
    /// The copy that the relay may have without having said so.
    pub(super) copy: UnconfirmedCopy,
}

/// A copy that the relay may have of a message: the final dot was written, and no reply to it was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum UnconfirmedCopy {
    /// There is no such copy.
    #[default]
    None,
    /// An earlier attempt may have left one, and this one has not.
    OfEarlierAttempt,
    /// This attempt may have left one, and perhaps an earlier one has as well.
    OfThisAttempt,
}

/// Returns the most recipients that a transaction is to have after one in which the relay took `told` recipients, or refused
/// them for themselves, and said that `again` were too many.
fn fewer(most: usize, told: usize, again: usize) -> usize {
    match (told, told + again) {
        (_, ..2) => most,
        // A relay that took one, or none, has not said how many it takes.
        (..2, asked) => most.min(asked / 2),
        (told, _) => most.min(told),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::roster::Roster;
    use crate::queue::testing::{entry, envelope, report_at};
    use crate::relay::Phase;

    /// Returns an attempt for a message to so many recipients, of which a transaction may have 50.
    fn attempt_to(recipients: usize) -> Attempt {
        let (id, now) = (QueueId::from_raw(1), Timestamp::UNIX_EPOCH);
        let mut roster = Roster::default();
        roster.admit(&entry(id.raw()), Duration::ZERO, now);
        let (_, member) = roster.take(|_| false, now).unwrap();
        let limits = PartLimits { recipients: 50, domains: None };
        let taken = Taken { id, member, patience_used: Duration::ZERO, limits };
        let to: Vec<String> = (0..recipients).map(|number| format!("a{number}@example.net")).collect();
        let envelope = envelope("app@example.org", &to.iter().map(String::as_str).collect::<Vec<_>>());
        let message = OnSpool {
            elsewhere: BTreeSet::new(),
            submitter: Submitter::Loopback,
            envelope: envelope.clone(),
            arrived: now,
            ledger: Ledger::in_memory(id, recipients, &[]),
            replies: Replies::default(),
        };
        Attempt::new(taken, message, envelope.reverse_path, Moment { steady: now, time_of_day: now })
    }

    /// A relay that took one of fifty recipients got one in each transaction from then on.
    #[test]
    fn a_relay_that_took_one_or_none_gets_half_and_else_what_it_took() {
        for (to, takes, limits) in [
            (120, 10, vec![10, 10]),
            (120, 2, vec![2, 2]),
            (120, 1, vec![25, 12, 6, 3, 1, 1]),
            (120, 0, vec![25, 12, 6, 3, 1, 1]),
            (1, 0, vec![50, 50]),
            (2, 1, vec![1, 1]),
        ] {
            let mut attempt = attempt_to(to);
            for limit in limits {
                let part = attempt.next_part();
                let said: Vec<&str> = std::iter::repeat_n("250 2.1.5 ok", takes.min(part.recipients.len()))
                    .chain(["452 4.5.3 too many recipients"])
                    .collect();
                let mut report = report_at(Phase::Rcpt, attempt.id, &part.recipients, &said);
                attempt.put_back(&mut report);
                assert_eq!(attempt.limits.recipients, limit, "{takes} of {to}");
            }
        }
    }

    /// Letters and the `xn--` form of one domain were two domains, and a message to both went in two transactions.
    #[test]
    fn one_domain_in_all_its_spellings_is_one_domain() {
        let to = ["a@bücher.example", "b@xn--bcher-kva.example", "c@other.example", "d@BÜCHER.Example"];
        let mut attempt = Attempt { envelope: envelope("app@example.org", &to), ..attempt_to(to.len()) };
        attempt.limits.domains = Some(1);
        let mut next =
            || attempt.next_part().recipients.into_iter().map(|(index, _)| index).collect::<Vec<_>>();
        assert_eq!((next(), next(), next()), (vec![0, 1, 3], vec![2], vec![]));
    }

    #[test]
    fn the_same_refusal_may_be_said_in_other_words() {
        assert_eq!(code_and_status("550 5.1.1 no x1"), code_and_status("550 5.1.1 no x2"));
        assert_eq!(code_and_status("550-5.1.1 no"), code_and_status("550 5.1.1 no"));
        assert_eq!(code_and_status("550 no x1"), code_and_status("550 gone"));
        assert_ne!(code_and_status("550 5.1.1 no"), code_and_status("550 5.7.1 no"));
        assert_ne!(code_and_status("550 5.1.1 no"), code_and_status("554 5.1.1 no"));
        assert_ne!(code_and_status("the connection was closed"), code_and_status("550 no"));
    }
}
