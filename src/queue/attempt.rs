//! An attempt: a message that a connection carries, with what is needed to settle its report.
//!
//! Plain values. Not here: the dialogue (`link.rs`), the meaning of a report for the message (`settlement.rs`).

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;

use super::reducer::Disposition;
use super::roster::Member;
use crate::envelope::{Envelope, ReversePath};
use crate::outcome::Outcome;
use crate::queue_id::QueueId;
use crate::relay::{Peer, RecipientReport, Report, Verdict};
use crate::spool::{Ledger, Replies};
use crate::status::Status;

/// A message that a connection carries, without its content.
pub(super) struct Attempt {
    pub(super) id: QueueId,
    pub(super) member: Member,
    pub(super) envelope: Envelope,
    /// The reverse-path that the relay gets.
    pub(super) told: ReversePath,
    pub(super) arrived: Timestamp,
    pub(super) taken_at: Timestamp,
    /// The same moment by the steady clock.
    pub(super) taken_steady: Timestamp,
    /// How long the message was ready before a connection took it.
    pub(super) queued: Duration,
    pub(super) progress: Progress,
    pub(super) ledger: Ledger,
    /// The last reply about each recipient.
    pub(super) replies: Replies,
    /// The recipients whose transaction is still to come. Those that were never asked about come first.
    pub(super) rest: VecDeque<usize>,
    /// The result of the transactions of this attempt so far.
    pub(super) earlier: Option<AttemptResult>,
}

impl Attempt {
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

/// How far an attempt has come.
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
    /// The DSN parameters were passed on, so that the relay reports success.
    pub(super) dsn_passed_on: bool,
}

/// The result of one attempt for a message.
#[derive(Default)]
pub(super) struct AttemptResult {
    pub(super) findings: Vec<RecipientResult>,
    /// The relay that replied; `None` if nothing was said.
    pub(super) peer: Option<Peer>,
    /// What happens to the message where there is nothing to record.
    pub(super) unsaid: Option<Disposition>,
    /// The connection was lost during this message.
    pub(super) lost: bool,
    /// The relay once had all of the message, and its reply did not reach us.
    pub(super) may_have_arrived: bool,
    /// That happened in this attempt.
    pub(super) in_doubt: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

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
