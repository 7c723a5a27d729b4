//! The reverse-path that the relay gets in place of the null one, `<>`.
//!
//! Promises:
//! 1. With `rewrite.null-sender`, the relay gets that address for every message from `<>`.
//! 2. Without it, the postmaster hears of failures even if the relay refuses `<>`: a message from `<>` to the
//!    postmaster alone that is refused, perhaps for its sender, is sent again at once from an address that the relay
//!    should know. From then on, until the next start or reload, all such mail is sent so.
//! 3. No message is excused twice: if it is refused from that address too, that is its end.
//!
//! The spool keeps `<>`, so that a failure makes no further bounce. Not here: the address of the postmaster's mail
//! (`message/rewrite/`), what a refusal is about (`relay/subject.rs`).

use std::sync::atomic::{AtomicBool, Ordering};

use super::attempt::Attempt;
use crate::envelope::{Address, Envelope, ReversePath};
use crate::log;
use crate::relay::{RecipientReport, Report, Subject, Verdict};

/// The addresses that the relay may get in place of `<>`, and whether it refuses `<>`.
#[derive(Debug, Default)]
pub(super) struct NullSender {
    /// The value of `rewrite.null-sender`.
    pub(super) for_all: Option<Address>,
    /// The value of `queue.postmaster`.
    pub(super) postmaster: Option<Address>,
    /// The address that mail from `<>` to the postmaster alone may come from.
    pub(super) for_postmaster: Option<Address>,
    /// True if the relay has refused mail from `<>` to the postmaster.
    is_refused: AtomicBool,
}

impl NullSender {
    /// Returns the rule in which nothing has been refused yet.
    pub(super) fn new(
        for_all: Option<Address>,
        postmaster: Option<Address>,
        for_postmaster: Option<Address>,
    ) -> Self {
        NullSender { for_all, postmaster, for_postmaster, is_refused: AtomicBool::new(false) }
    }

    /// Returns the reverse-path that the relay gets for a message with this envelope.
    pub(super) fn told(&self, envelope: &Envelope) -> ReversePath {
        let is_refused = || self.is_refused.load(Ordering::Relaxed);
        let for_postmaster = self.for_postmaster.as_ref();
        let instead = self
            .for_all
            .as_ref()
            .or_else(|| for_postmaster.filter(|_| is_refused() && self.is_for_postmaster(envelope)));
        envelope.reverse_path.or_for_null(instead)
    }

    /// Turns refusals of `<>` into no result at all, for mail to the postmaster alone, since it can be sent in another
    /// way. Logs the first one.
    pub(super) fn excuse(&self, attempt: &Attempt, report: &mut Report) {
        let Some(sender) = &self.for_postmaster else { return };
        if attempt.told != ReversePath::Null || !self.is_for_postmaster(&attempt.envelope) {
            return;
        }
        for recipient in report.recipients.iter_mut().filter(|recipient| may_be_about_sender(recipient)) {
            if !self.is_refused.swap(true, Ordering::Relaxed) {
                log::null_sender_refused(&recipient.said, sender);
            }
            recipient.verdict = Verdict::Untold;
        }
    }

    fn is_for_postmaster(&self, envelope: &Envelope) -> bool {
        let postmaster = self.postmaster.as_ref();
        envelope.recipients.iter().all(|recipient| Some(&recipient.address) == postmaster)
    }
}

fn may_be_about_sender(refused: &RecipientReport) -> bool {
    refused.from_relay
        && refused.verdict == Verdict::Bounced
        && matches!(refused.about, Subject::Permission | Subject::Unclear)
}
