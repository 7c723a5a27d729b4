//! The results of one transaction: which recipients are settled, and by which replies.
//!
//! Promises: a recipient is settled only once, by the first reply; every recipient of the transaction is in the report.
//!
//! Not here: the meaning of a reply (`verdict.rs`), waiting for replies (`dialog.rs`).

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::group::{group, needed, obstacle, write_domains_in_ascii};
use super::subject::Subject;
use super::trouble::{Peer, Phase, Trouble};
use super::verdict::{Verdict, is_one_domain_only, status_of};
use super::{Content, RecipientReport, Report, Transaction};
use crate::config::EightBit;
use crate::envelope::Recipient;
use crate::queue_id::QueueId;
use crate::smtp::client::{Capabilities, Group, ParameterSet};
use crate::smtp::reply::Reply;
use crate::status::Status;

/// One transaction that a connection delivers.
pub(crate) struct OpenTransaction {
    pub(crate) id: QueueId,
    /// The commands for the recipients that the relay may be able to accept.
    pub(crate) group: Group,
    /// The parameters that the message can do without.
    pub(crate) optional: ParameterSet,
    /// The parameters that the relay offers and does not get.
    pub(crate) left_out: ParameterSet,
    /// The number of octets in `content`.
    pub(crate) size: u64,
    pub(crate) content: Box<dyn Content>,
    /// The stored index and the result of each recipient in `group`, in their order.
    recipients: Vec<(usize, Option<RecipientReport>)>,
    /// The results for recipients that this relay can never accept, and for which no command is sent.
    unsayable: Vec<RecipientReport>,
    /// The moment at which the transaction began on the connection.
    began: Option<Instant>,
    /// True if the final dot may have been written and no reply to it was read.
    pub(crate) in_doubt: bool,
    /// The phase at which the connection was lost during this transaction, if nothing else explains that.
    pub(crate) lost_at: Option<Phase>,
    /// The phase at which the relay ended the connection during this transaction.
    pub(crate) left_at: Option<Phase>,
    /// True if the message was refused for good before, and did not bounce.
    pub(crate) was_refused: bool,
    /// True if the relay was silent for a while behind the reply by which it asked for content.
    pub(crate) was_awaited: bool,
    /// True if its recipients have more than one domain.
    has_several_domains: bool,
    /// True if DSN parameters are passed on where the message has any.
    dsn_passed_on: bool,
}

impl OpenTransaction {
    /// Begins to deliver `transaction`. Recipients that a relay with these extensions cannot accept bounce at
    /// once, in our words.
    pub(crate) fn new(mut transaction: Transaction, offered: &Capabilities, eight_bit: EightBit) -> Self {
        if !offered.smtputf8 {
            write_domains_in_ascii(&mut transaction);
        }
        let mut unsayable = Vec::new();
        for (index, recipient) in std::mem::take(&mut transaction.recipients) {
            match obstacle(&transaction, &recipient, offered, eight_bit) {
                None => transaction.recipients.push((index, recipient)),
                Some((status, said)) => {
                    unsayable.push(in_our_words(index, Verdict::Bounced, status, said));
                }
            }
        }
        let domain = |recipient: &Recipient| recipient.address.domain().map(str::to_ascii_lowercase);
        let domains: BTreeSet<_> = transaction.recipients.iter().map(|(_, to)| domain(to)).collect();
        OpenTransaction {
            id: transaction.id,
            group: group(&transaction, offered),
            optional: ParameterSet::all().without(needed(&transaction, eight_bit)),
            left_out: ParameterSet::default(),
            size: transaction.size,
            content: transaction.content,
            recipients: transaction.recipients.iter().map(|(index, _)| (*index, None)).collect(),
            unsayable,
            began: None,
            in_doubt: false,
            lost_at: None,
            left_at: None,
            was_refused: transaction.was_refused,
            was_awaited: false,
            has_several_domains: domains.len() > 1,
            dsn_passed_on: offered.dsn,
        }
    }

    /// Notes that these parameters are left out, although the relay offers them.
    pub(crate) fn leaving_out(self, left_out: ParameterSet) -> Self {
        OpenTransaction { left_out, ..self }
    }

    /// Notes that the transaction begins on the connection.
    pub(crate) fn begin(&mut self) {
        self.began = Some(Instant::now());
    }

    /// Returns whether a recipient is still open.
    pub(crate) fn has_open(&self) -> bool {
        self.recipients.iter().any(|(_, settled)| settled.is_none())
    }

    /// Returns whether a recipient is settled.
    pub(crate) fn has_settled(&self) -> bool {
        self.recipients.iter().any(|(_, settled)| settled.is_some())
    }

    /// Settles the recipient at `position` in the group by a reply at `phase`.
    pub(crate) fn rule(&mut self, position: usize, verdict: Verdict, phase: Phase, reply: &Reply) {
        let (index, settled) = &mut self.recipients[position];
        settled.get_or_insert_with(|| RecipientReport {
            index: *index,
            verdict,
            status: status_of(verdict, reply),
            said: reply.to_string(),
            from_relay: true,
            phase,
            about: Subject::of(phase, reply),
        });
    }

    /// Returns whether the relay has said that the transaction has too many recipients.
    pub(crate) fn is_full(&self) -> bool {
        let told = self.recipients.iter().filter_map(|(_, settled)| settled.as_ref());
        told.into_iter().any(|report| report.verdict == Verdict::TooMany)
    }

    /// Settles every open recipient by a reply at `phase`. A transaction with too many recipients may be refused for that
    /// reason (`recipients_max_reject` of Exim), which does not refuse the recipients that the relay had accepted.
    pub(crate) fn rule_open(&mut self, verdict: Verdict, phase: Phase, reply: &Reply) {
        let is_for_being_full = verdict == Verdict::Bounced && self.is_full();
        let verdict = if is_for_being_full { Verdict::Deferred } else { verdict };
        let verdict = if self.has_too_many_domains(reply) { Verdict::TooManyDomains } else { verdict };
        for position in 0..self.recipients.len() {
            self.rule(position, verdict, phase, reply);
        }
    }

    /// Settles every open recipient by a permanent refusal that came, or may have come, before the relay had all of the
    /// content. Where it had waited for content in silence, that is no late reply to the envelope, and it is unproven, as it
    /// is where it is read behind the dot: the message must not bounce, or wait for days, by which of the two was faster.
    pub(crate) fn rule_open_early(&mut self, phase: Phase, reply: &Reply) {
        if self.was_awaited {
            self.rule_open(Verdict::Bounced, phase, reply);
            self.leave_unproven(true);
        }
        self.rule_open(Verdict::Deferred, phase, reply);
    }

    /// Returns whether `reply` refuses this transaction for having several domains, which it has.
    pub(crate) fn has_too_many_domains(&self, reply: &Reply) -> bool {
        self.has_several_domains && is_one_domain_only(reply)
    }

    /// Opens every recipient again, since the replies were about something else.
    pub(crate) fn revoke(&mut self) {
        self.recipients.iter_mut().for_each(|(_, settled)| *settled = None);
    }

    /// Marks the permanent refusals so far as unproven, since nothing can show any more that they were about these
    /// recipients. They count for no more than deferrals unless the relay was asked one command `at_a_time`. Returns
    /// whether there are any.
    pub(crate) fn leave_unproven(&mut self, at_a_time: bool) -> bool {
        let mut has_any = false;
        let settled = self.recipients.iter_mut().filter_map(|(_, settled)| settled.as_mut());
        for told in settled.filter(|told| told.verdict == Verdict::Bounced) {
            has_any = true;
            if at_a_time {
                told.verdict = Verdict::Unproven;
            } else {
                (told.verdict, told.status) = (Verdict::Deferred, Status::transient(0, 0));
            }
        }
        has_any
    }

    /// Defers every open recipient, since we cannot read the content.
    pub(crate) fn defer_for_us(&mut self, said: &str) {
        self.settle_open(Verdict::Deferred, Status::transient(3, 0), said);
    }

    /// Settles the open recipients as untold, since the attempt cannot be recorded and goes no further.
    pub(crate) fn leave_unmarked(&mut self) {
        let said = "the attempt cannot be recorded on the spool";
        self.settle_open(Verdict::Untold, Status::transient(3, 0), said);
    }

    /// Settles the open recipients as untold, since there is trouble with the relay.
    pub(crate) fn leave_untold(&mut self, trouble: &Trouble) {
        self.settle_open(Verdict::Untold, Status::transient(4, 2), &trouble.to_string());
    }

    /// Settles the recipients as untold, since their commands were sent right after a message that was refused.
    pub(crate) fn leave_unheard(&mut self) {
        let said = "its commands were sent behind a message that was refused";
        self.settle_open(Verdict::Untold, Status::transient(4, 2), said);
    }

    fn settle_open(&mut self, verdict: Verdict, status: Status, said: &str) {
        for (index, settled) in &mut self.recipients {
            settled.get_or_insert_with(|| in_our_words(*index, verdict, status, said.to_owned()));
        }
    }

    /// Returns the report of the transaction.
    pub(crate) fn into_report(self, peer: Peer, connecting: Duration) -> Report {
        let mut recipients = self.unsayable;
        recipients.extend(self.recipients.into_iter().filter_map(|(_, settled)| settled));
        recipients.sort_by_key(|recipient| recipient.index);
        Report {
            id: self.id,
            peer,
            recipients,
            possible_duplicate: self.in_doubt,
            lost_at: self.lost_at,
            left_at: self.left_at,
            dsn_passed_on: self.dsn_passed_on,
            connecting,
            transmitting: self.began.map_or(Duration::ZERO, |began| began.elapsed()),
        }
    }
}

fn in_our_words(index: usize, verdict: Verdict, status: Status, said: String) -> RecipientReport {
    RecipientReport {
        index,
        verdict,
        status,
        said,
        from_relay: false,
        phase: Phase::Mail,
        about: Subject::Message,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{peer, transaction};
    use super::super::trouble::Cause;
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_recipient_is_settled_once_and_told_in_order() {
        let message = transaction(7, "ann@example.org", &["a@x", "b@x", "c@x", "é@x"], "hello");
        let mut transaction = OpenTransaction::new(message, &Capabilities::default(), EightBit::Keep);
        transaction.begin();
        tokio::time::advance(Duration::from_secs(2)).await;
        transaction.rule(
            1,
            Verdict::Bounced,
            Phase::Rcpt,
            &Reply::new(550, Status::permanent(1, 1), "nobody"),
        );
        assert!(transaction.has_open());
        transaction.rule_open(Verdict::Sent, Phase::Dot, &Reply::new(250, Status::success(0, 0), "ok"));
        assert!(!transaction.has_open());
        let trouble = Trouble { phase: Phase::Mail, peer: None, cause: Cause::Closed };
        transaction.leave_untold(&trouble);
        transaction.defer_for_us("too late");

        let report = transaction.into_report(peer(), Duration::from_secs(1));
        let told: Vec<_> =
            report.recipients.iter().map(|r| (r.index, r.verdict, r.said.as_str(), r.from_relay)).collect();
        let expected = [
            (0, Verdict::Sent, "250 2.0.0 ok", true),
            (1, Verdict::Bounced, "550 5.1.1 nobody", true),
            (2, Verdict::Sent, "250 2.0.0 ok", true),
            (3, Verdict::Bounced, "the address needs SMTPUTF8, which the relay does not offer", false),
        ];
        assert_eq!(told, expected);
        assert_eq!((report.connecting.as_secs(), report.transmitting.as_secs()), (1, 2));
    }

    #[test]
    fn a_message_that_fits_nobody_has_nothing_open() {
        let offered = Capabilities { size_limit: Some(1), ..Capabilities::default() };
        let transaction =
            OpenTransaction::new(transaction(7, "", &["a@x", "b@x"], "hello"), &offered, EightBit::Keep);
        assert!(!transaction.has_open());
        let report = transaction.into_report(peer(), Duration::ZERO);
        assert!(report.recipients.iter().all(|r| r.verdict == Verdict::Bounced && !r.from_relay));
        assert_eq!((report.recipients.len(), report.transmitting), (2, Duration::ZERO));
    }
}
