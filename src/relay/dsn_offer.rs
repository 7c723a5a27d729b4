//! Whether a relay that offers DSN is given DSN parameters.
//!
//! Promises:
//! 1. From the first refusal of a command with DSN parameters on, no connection sends any: a relay that refuses them
//!    and hangs up meets a message with them once, not for ever.
//! 2. Where the relay then takes that message without them, none is sent for a day. Where it refuses it without them,
//!    too, they were not to blame, and are sent again.
//!
//! Not here: which replies refuse them (`verdict.rs`), what a command has (`smtp/client.rs`), who reports success in the
//! relay's place (`queue/settlement.rs`).
//!
//! RFC 3461 4.

use std::sync::{Mutex, PoisonError};

use super::remembered::Remembered;
use super::verdict::Verdict;
use super::{Peer, Report};
use crate::log;
use crate::queue_id::QueueId;

/// The offer of one relayhost.
#[derive(Default)]
pub(crate) struct DsnOffer {
    refused: Remembered,
    /// The refusal that this began with, until its message has been tried without.
    doubt: Mutex<Option<Doubt>>,
}

struct Doubt {
    id: QueueId,
    said: String,
}

impl DsnOffer {
    /// Whether the parameters are sent now to a relay that offers DSN.
    pub(crate) fn is_believed(&self) -> bool {
        !self.refused.is_now()
    }

    /// Learns from what a transaction came to; logs what becomes certain by it.
    pub(crate) fn learn(&self, report: &Report) {
        let has = |verdict| report.recipients.iter().any(|recipient| recipient.verdict == verdict);
        let refused = report.recipients.iter().find(|recipient| recipient.verdict == Verdict::WithoutDsn);
        match (refused, report.dsn_passed_on) {
            (Some(refused), _) => self.doubted(report.id, &refused.said),
            (None, false) if has(Verdict::Sent) => self.confirmed(report.id, &report.peer),
            (None, false) if has(Verdict::Bounced) => self.refuted(report.id),
            (None, _) => {}
        }
    }

    fn doubted(&self, id: QueueId, said: &str) {
        if self.refused.begin() {
            *self.doubt.lock().unwrap_or_else(PoisonError::into_inner) =
                Some(Doubt { id, said: said.to_owned() });
        }
    }

    fn confirmed(&self, id: QueueId, peer: &Peer) {
        if let Some(doubt) = self.take_doubt(id) {
            log::dsn_refused(peer, &doubt.said);
        }
    }

    fn refuted(&self, id: QueueId) {
        if self.take_doubt(id).is_some() {
            self.refused.end();
        }
    }

    /// The doubt that the message `id` has raised, which is settled now.
    fn take_doubt(&self, id: QueueId) -> Option<Doubt> {
        self.doubt.lock().unwrap_or_else(PoisonError::into_inner).take_if(|doubt| doubt.id == id)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::delivery::Delivery;
    use super::super::remembered::PERIOD;
    use super::super::testing::{peer, transaction};
    use super::super::trouble::Phase;
    use super::*;
    use crate::smtp::client::Capabilities;
    use crate::smtp::reply::Reply;

    /// The relay says `code` to the message `raw`, which was sent with the parameters or without.
    fn told(offer: &DsnOffer, raw: u64, dsn: bool, verdict: Verdict, code: u16) {
        let message = transaction(raw, "ann@example.org", &["ben@example.net"], "hello");
        let mut delivery = Delivery::new(message, &Capabilities { dsn, ..Capabilities::default() });
        delivery.rule_open(verdict, Phase::Rcpt, &Reply::bare(code, "words"));
        offer.learn(&delivery.into_report(peer(), Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn promise_2_what_goes_through_without_them_is_remembered_for_a_day() {
        let offer = DsnOffer::default();
        told(&offer, 1, true, Verdict::Sent, 250);
        assert!(offer.is_believed());
        told(&offer, 2, true, Verdict::WithoutDsn, 501);
        told(&offer, 2, false, Verdict::Sent, 250);
        told(&offer, 2, false, Verdict::Bounced, 550);
        tokio::time::advance(PERIOD - Duration::from_secs(1)).await;
        assert!(!offer.is_believed());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(offer.is_believed());
    }

    /// One message to `ben@`, refused with a bare "501 bad address", must not cost the others their notices.
    #[tokio::test(start_paused = true)]
    async fn promise_2_what_is_refused_without_them_too_has_another_reason() {
        let offer = DsnOffer::default();
        told(&offer, 1, true, Verdict::WithoutDsn, 501);
        told(&offer, 2, false, Verdict::Bounced, 550);
        told(&offer, 3, false, Verdict::Sent, 250);
        told(&offer, 4, true, Verdict::Bounced, 550);
        told(&offer, 1, false, Verdict::Deferred, 450);
        assert!(!offer.is_believed(), "others say nothing, and nor does a deferral");
        told(&offer, 1, false, Verdict::Bounced, 501);
        assert!(offer.is_believed());
        told(&offer, 1, false, Verdict::Bounced, 501);
        told(&offer, 5, true, Verdict::WithoutDsn, 501);
        assert!(!offer.is_believed(), "it may be doubted again");
    }
}
