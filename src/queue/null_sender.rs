//! The reverse-path that the relay gets in place of the null one, `<>`.
//!
//! Promises:
//! 1. With `rewrite.null-sender`, the relay gets that address for every message from `<>`.
//! 2. Without it, a message from `<>` that is refused, perhaps for its sender, is sent again at once from
//!    `queue.bounce-sender`. Where that is not set, this is done only for mail to the postmaster alone, from an address
//!    that the relay should know. When the relay has taken a message in this way, all such mail is sent so, until the
//!    next start or reload.
//! 3. No message is excused twice: if it is refused from that address too, that counts. Where it is then held, it is tried
//!    from that address again.
//! 4. What one relay says to `<>` changes nothing for another one: there is one value for each.
//!
//! No loop can arise: the spool keeps `<>`, so that a failure makes no further bounce to a reverse-path, and nothing that
//! is sent to the other address comes back to this host.
//!
//! Not here: the address of the postmaster's mail (`message/rewrite/`), what a refusal is about (`relay/subject.rs`).

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::attempt::Attempt;
use crate::config::RuleScope;
use crate::envelope::{Address, Envelope, ReversePath};
use crate::log;
use crate::queue_id::QueueId;
use crate::relay::{RecipientReport, Report, Subject, Verdict, WaitClass};

/// The addresses that the relay may get in place of `<>`.
#[derive(Clone, Debug, Default)]
pub(super) struct NullSubstitutes {
    /// The value of `rewrite.null-sender`.
    pub(super) for_all: Option<Address>,
    /// The value of `queue.bounce-sender`.
    pub(super) when_refused: Option<Address>,
    /// The value of `queue.postmaster`.
    pub(super) postmaster: Option<Address>,
    /// The address that mail from `<>` to the postmaster alone may come from.
    pub(super) for_postmaster: Option<Address>,
}

impl NullSubstitutes {
    /// Returns the address for a second try, if the relay refuses a message with this envelope because of `<>`.
    fn of_second_try(&self, envelope: &Envelope) -> Option<&Address> {
        let is_for_postmaster = || {
            envelope.recipients.iter().all(|recipient| Some(&recipient.address) == self.postmaster.as_ref())
        };
        let for_postmaster = || self.for_postmaster.as_ref().filter(|_| is_for_postmaster());
        self.when_refused.as_ref().or_else(for_postmaster)
    }
}

/// The addresses that one relay may get in place of `<>`, and what it has said to `<>`.
#[derive(Debug, Default)]
pub(super) struct NullSender {
    /// The name of the route that leads to the relay, for the log.
    route: Option<String>,
    substitutes: NullSubstitutes,
    /// The messages whose second try is to come, and is not answered.
    refused: Mutex<BTreeSet<QueueId>>,
    /// True if a message that was refused from `<>` was taken from the other address.
    is_proven: AtomicBool,
    is_logged: AtomicBool,
}

impl NullSender {
    /// Returns the rule in which nothing has been refused yet.
    pub(super) fn new(route: Option<String>, substitutes: NullSubstitutes) -> Self {
        NullSender { route, substitutes, ..NullSender::default() }
    }

    /// Returns the reverse-path that the relay gets for the message `id` with this envelope.
    pub(super) fn told(&self, id: QueueId, envelope: &Envelope) -> ReversePath {
        let is_second = || self.is_proven.load(Ordering::Relaxed) || self.refused().contains(&id);
        let second = || self.substitutes.of_second_try(envelope).filter(|_| is_second());
        envelope.reverse_path.or_for_null(self.substitutes.for_all.as_ref().or_else(second))
    }

    /// Turns refusals of `<>` into no result at all, where the message can be sent from another address. Logs the first
    /// one. Takes in the answer to a message that was sent so.
    pub(super) fn excuse(&self, attempt: &Attempt, report: &mut Report) {
        if attempt.envelope.reverse_path != ReversePath::Null {
            return;
        }
        if attempt.told != ReversePath::Null {
            return self.learn(attempt.id, report);
        }
        let Some(sender) = self.substitutes.of_second_try(&attempt.envelope) else { return };
        for recipient in report.recipients.iter_mut().filter(|recipient| may_be_about_sender(recipient)) {
            if !self.is_logged.swap(true, Ordering::Relaxed) {
                let is_for_all = self.substitutes.when_refused.is_some();
                log::null_sender_refused(self.route.as_deref(), &recipient.said, sender, is_for_all);
            }
            recipient.verdict = Verdict::Untold;
            self.refused().insert(attempt.id);
        }
    }

    fn learn(&self, id: QueueId, report: &Report) {
        let has = |verdict| report.recipients.iter().any(|recipient| recipient.verdict == verdict);
        let waits = report.recipients.iter().any(|one| matches!(one.verdict, Verdict::Waits(_)));
        if has(Verdict::Untold) || waits {
            return;
        }
        if self.refused().remove(&id) && has(Verdict::Sent) {
            self.is_proven.store(true, Ordering::Relaxed);
        }
    }

    fn refused(&self) -> MutexGuard<'_, BTreeSet<QueueId>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns whether the relay may have refused the reverse-path, and not the recipient or the content.
pub(super) fn may_be_about_sender(refused: &RecipientReport) -> bool {
    let is_blamed = match refused.verdict {
        Verdict::Bounced => matches!(refused.about, Subject::Permission | Subject::Unclear),
        Verdict::Waits(reason) => reason.class == WaitClass::Configuration(RuleScope::Sender),
        _ => false,
    };
    refused.from_relay && is_blamed
}
