//! Decides whether DSN parameters are sent to a relay that offers DSN.
//!
//! Promises:
//! 1. After the first refusal of a command with DSN parameters, no connection sends any: a relay that refuses them and
//!    closes the connection gets the same message with them only once.
//! 2. If the relay then accepts that message without them, none are sent for a day. If it refuses the message without
//!    them, too, they were not the reason, and are sent again.
//!
//! Not here: which replies refuse them (`verdict.rs`), the parameters of a command (`smtp/client.rs`), reports of
//! success in place of the relay (`queue/settlement.rs`).
//!
//! RFC 3461 4.

use std::sync::{Mutex, PoisonError};

use super::remembered::Remembered;
use super::verdict::Verdict;
use super::{Peer, Report};
use crate::log;
use crate::queue_id::QueueId;

/// The experience with DSN parameters at one relayhost.
#[derive(Default)]
pub(crate) struct DsnOffer {
    refused: Remembered,
    /// The first refusal, until its message was tried without the parameters.
    doubt: Mutex<Option<DsnDoubt>>,
}

/// A refusal for which the parameters may be the reason.
struct DsnDoubt {
    id: QueueId,
    said: String,
}

impl DsnOffer {
    /// Returns whether the parameters are sent now to a relay that offers DSN.
    pub(crate) fn is_believed(&self) -> bool {
        !self.refused.is_now()
    }

    /// Learns from the report of a transaction, and logs a change.
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
                Some(DsnDoubt { id, said: said.to_owned() });
        }
    }

    fn confirmed(&self, id: QueueId, peer: &Peer) {
        if let Some(doubt) = self.take_doubt(id) {
            log::dsn_refused(peer.route(), peer, &doubt.said);
        }
    }

    fn refuted(&self, id: QueueId) {
        if self.take_doubt(id).is_some() {
            self.refused.end();
        }
    }

    /// Takes the open question that the message `id` has raised, since it is decided now.
    fn take_doubt(&self, id: QueueId) -> Option<DsnDoubt> {
        self.doubt.lock().unwrap_or_else(PoisonError::into_inner).take_if(|doubt| doubt.id == id)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::open_transaction::OpenTransaction;
    use super::super::remembered::PERIOD;
    use super::super::testing::{peer, transaction};
    use super::super::trouble::Phase;
    use super::*;
    use crate::config::EightBit;
    use crate::smtp::client::Capabilities;
    use crate::smtp::reply::Reply;

    /// Tells `offer` that the relay said `code` to the message `raw`, which was sent with the parameters if `dsn` is true.
    fn told(offer: &DsnOffer, raw: u64, dsn: bool, verdict: Verdict, code: u16) {
        let message = transaction(raw, "ann@example.org", &["ben@example.net"], "hello");
        let mut transaction =
            OpenTransaction::new(message, &Capabilities { dsn, ..Capabilities::default() }, EightBit::Keep);
        transaction.rule_open(verdict, Phase::Rcpt, &Reply::bare(code, "words"));
        offer.learn(&transaction.into_report(peer(), Duration::ZERO));
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
