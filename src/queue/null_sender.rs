//! What the relay is told in the place of the null reverse-path `<>`.
//!
//! Promises:
//! 1. With `rewrite.null-sender` it is told that address, for every message from `<>`.
//! 2. Without it, the postmaster hears of what cannot be delivered through a relay that refuses `<>`, too: mail from
//!    `<>` to the postmaster alone that is refused for what may be its sender goes again at once, from an address that
//!    the relay should know; and from then on, until the next start or reload, all such mail does.
//! 3. No message is excused twice: what is refused from an address has its end.
//!
//! The spool keeps `<>`, so that a failure makes no other bounce. Not here: who the postmaster's mail is from
//! (`message/rewrite/`), what a refusal is about (`relay/subject.rs`).

use std::sync::atomic::Ordering;

use super::attempt::Attempt;
use super::desk::DeliveryDesk;
use crate::envelope::{Envelope, ReversePath};
use crate::log;
use crate::relay::{RecipientReport, Report, Subject, Verdict};

impl DeliveryDesk {
    /// The reverse-path that the relay is told for a message with this envelope.
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

    /// Takes refusals of `<>` for nothing said about mail to the postmaster alone, which has another way.
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
