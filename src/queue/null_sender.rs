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

use std::sync::atomic::Ordering;

use super::attempt::Attempt;
use super::desk::DeliveryDesk;
use crate::envelope::{Envelope, ReversePath};
use crate::log;
use crate::relay::{RecipientReport, Report, Subject, Verdict};

impl DeliveryDesk {
    /// Returns the reverse-path that the relay gets for a message with this envelope.
    pub(super) fn told_reverse_path(&self, envelope: &Envelope) -> ReversePath {
        let is_refused = || self.null_is_refused.load(Ordering::Relaxed);
        let postmaster_sender = self.settings.postmaster_sender.as_ref();
        let instead = self
            .settings
            .null_sender
            .as_ref()
            .or_else(|| postmaster_sender.filter(|_| is_refused() && self.is_for_postmaster(envelope)));
        envelope.reverse_path.or_for_null(instead)
    }

    /// Turns refusals of `<>` into no result at all, for mail to the postmaster alone, since it can be sent in another
    /// way.
    pub(super) fn excuse_null_sender(&self, attempt: &Attempt, report: &mut Report) {
        let Some(sender) = &self.settings.postmaster_sender else { return };
        if attempt.told != ReversePath::Null || !self.is_for_postmaster(&attempt.envelope) {
            return;
        }
        for recipient in report.recipients.iter_mut().filter(|recipient| may_be_about_sender(recipient)) {
            if !self.null_is_refused.swap(true, Ordering::Relaxed) {
                log::null_sender_refused(&recipient.said, sender);
            }
            recipient.verdict = Verdict::Untold;
        }
    }

    fn is_for_postmaster(&self, envelope: &Envelope) -> bool {
        let postmaster = self.settings.postmaster.as_ref();
        envelope.recipients.iter().all(|recipient| Some(&recipient.address) == postmaster)
    }
}

fn may_be_about_sender(refused: &RecipientReport) -> bool {
    refused.from_relay
        && refused.verdict == Verdict::Bounced
        && matches!(refused.about, Subject::Permission | Subject::Unclear)
}
