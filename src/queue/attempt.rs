//! A message under way: what its report will be settled with.
//!
//! Plain values. Not here: the dialogue that it is in (`link.rs`), what a report means for it (`settlement.rs`).

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

/// A message under way, without its content: what its report will be settled with.
pub(super) struct Attempt {
    pub(super) id: QueueId,
    pub(super) member: Member,
    pub(super) envelope: Envelope,
    /// The reverse-path that the relay is told.
    pub(super) told: ReversePath,
    pub(super) arrived: Timestamp,
    pub(super) taken_at: Timestamp,
    /// The same by the steady clock.
    pub(super) taken_steady: Timestamp,
    /// How long it was ready before a connection took it.
    pub(super) queued: Duration,
    pub(super) progress: Progress,
    pub(super) ledger: Ledger,
    /// What each recipient was told last.
    pub(super) replies: Replies,
    /// Recipients whose transaction is still to come; those never asked before come first.
    pub(super) rest: VecDeque<usize>,
    /// What the transactions before came to.
    pub(super) earlier: Option<AttemptResult>,
}

impl Attempt {
    /// Decides refusals of which the relay has not shown whose they are: the first defers its recipient, a second with
    /// the same code and status, on another connection, is believed.
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

/// The reply code and the enhanced status, if it has one, of what a relay said.
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
    /// All but the final dot has been written: from here on the relay may have it.
    PastContent,
}

/// One recipient's end, or not yet, as this attempt has it.
pub(super) struct RecipientResult {
    pub(super) report: RecipientReport,
    pub(super) outcome: Option<Outcome>,
    /// It went with what it asks of DSN: the relay reports its success.
    pub(super) dsn_passed_on: bool,
}

/// What was said of a message in one attempt.
#[derive(Default)]
pub(super) struct AttemptResult {
    pub(super) findings: Vec<RecipientResult>,
    /// By whom; `None` where nothing was said.
    pub(super) peer: Option<Peer>,
    /// What becomes of a message of which nothing is to be recorded.
    pub(super) unsaid: Option<Disposition>,
    /// The connection was lost in the middle of it.
    pub(super) lost: bool,
    /// The relay had all of it once, and its answer did not reach us.
    pub(super) may_have_arrived: bool,
    /// That is so of this attempt.
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
