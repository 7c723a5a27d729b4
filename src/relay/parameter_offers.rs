//! Decides whether the parameters of an extension are sent to a relay that offers it.
//!
//! Promises, for SIZE, BODY=8BITMIME, SMTPUTF8 and those of DSN, each on its own:
//! 1. After the first refusal of a command with a parameter, no connection sends it, unless a message needs it: a relay
//!    that refuses it and closes the connection gets the same message with it only once.
//! 2. If the relay then accepts that message without it, it is sent to nobody for a day. If it refuses the message without
//!    it, too, that was not the reason, and it is sent again.
//!
//! Not here: which replies refuse them (`verdict.rs`), which ones a message needs (`group.rs`), the parameters of a command
//! (`smtp/client.rs`), reports of success in place of the relay (`queue/settlement.rs`).
//!
//! RFC 1870, 3461 4, 6152, 6531.

use std::sync::{Mutex, PoisonError};

use super::remembered::Remembered;
use super::verdict::Verdict;
use super::{Peer, RecipientReport, Report};
use crate::log;
use crate::queue_id::QueueId;
use crate::smtp::client::{ExtensionParameter, ParameterSet};

/// The experience with all parameters at one relayhost, in the order of [`ExtensionParameter::ALL`].
#[derive(Default)]
pub(crate) struct ParameterOffers([ParameterOffer; ExtensionParameter::ALL.len()]);

/// The experience with one of them.
#[derive(Default)]
struct ParameterOffer {
    refused: Remembered,
    /// The first refusal, until its message was tried without the parameter.
    doubt: Mutex<Option<ParameterDoubt>>,
}

/// A refusal for which the parameter may be the reason.
struct ParameterDoubt {
    id: QueueId,
    said: String,
}

impl ParameterOffers {
    /// Returns the parameters that are not sent now.
    pub(crate) fn left_out(&self) -> ParameterSet {
        let refused = self.all().filter(|(_, offer)| offer.refused.is_now());
        ParameterSet::of(refused.map(|(parameter, _)| parameter))
    }

    /// Learns from the report of a transaction that was sent without the parameters `left_out`, and logs a change.
    pub(crate) fn learn(&self, report: &Report, left_out: ParameterSet) {
        for (parameter, offer) in self.all() {
            let blamed = report
                .recipients
                .iter()
                .find(|told| matches!(told.verdict, Verdict::WithoutParameters(set) if set.has(parameter)));
            match blamed {
                Some(blamed) => offer.doubted(report.id, &blamed.said),
                None if left_out.has(parameter) => offer.tried_without(parameter, report),
                None => {}
            }
        }
    }

    fn all(&self) -> impl Iterator<Item = (ExtensionParameter, &ParameterOffer)> {
        ExtensionParameter::ALL.into_iter().zip(&self.0)
    }
}

impl ParameterOffer {
    fn doubted(&self, id: QueueId, said: &str) {
        if self.refused.begin() {
            *self.doubt.lock().unwrap_or_else(PoisonError::into_inner) =
                Some(ParameterDoubt { id, said: said.to_owned() });
        }
    }

    /// Takes in what was said of a message that was sent without the parameter.
    fn tried_without(&self, parameter: ExtensionParameter, report: &Report) {
        let has = |verdict| report.recipients.iter().any(|told| told.verdict == verdict);
        if has(Verdict::Sent) {
            if let Some(doubt) = self.take_doubt(report.id, |_| true) {
                confirmed(parameter, &report.peer, &doubt.said);
            }
            return;
        }
        let is_same = |doubt: &ParameterDoubt| {
            let is_said = |told: &RecipientReport| {
                told.verdict == Verdict::Deferred && told.said.get(..3) == doubt.said.get(..3)
            };
            has(Verdict::Bounced) || report.recipients.iter().any(is_said)
        };
        if self.take_doubt(report.id, is_same).is_some() {
            self.refused.end();
        }
    }

    /// Takes the open question that the message `id` has raised, if it is decided now.
    fn take_doubt(
        &self,
        id: QueueId,
        is_decided: impl Fn(&ParameterDoubt) -> bool,
    ) -> Option<ParameterDoubt> {
        let mut doubt = self.doubt.lock().unwrap_or_else(PoisonError::into_inner);
        doubt.take_if(|doubt| doubt.id == id && is_decided(doubt))
    }
}

fn confirmed(parameter: ExtensionParameter, peer: &Peer, said: &str) {
    match parameter {
        ExtensionParameter::Dsn => log::dsn_refused(peer.route(), peer, said),
        _ => log::parameter_refused(peer.route(), peer, &parameter, said),
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

    const WITHOUT: Verdict = Verdict::WithoutParameters(DSN);
    const DSN: ParameterSet = ParameterSet::only(ExtensionParameter::Dsn);

    impl ParameterOffers {
        fn is_believed(&self) -> bool {
            !self.left_out().has(ExtensionParameter::Dsn)
        }
    }
    use crate::smtp::reply::Reply;

    /// Tells `offer` that the relay said `code` to the message `raw`, which was sent with the parameters if `dsn` is true.
    fn told(offer: &ParameterOffers, raw: u64, dsn: bool, verdict: Verdict, code: u16) {
        let message = transaction(raw, "ann@example.org", &["ben@example.net"], "hello");
        let mut transaction =
            OpenTransaction::new(message, &Capabilities { dsn, ..Capabilities::default() }, EightBit::Keep);
        transaction.rule_open(verdict, Phase::Rcpt, &Reply::bare(code, "words"));
        let left_out = if dsn { ParameterSet::default() } else { DSN };
        offer.learn(&transaction.into_report(peer(), Duration::ZERO), left_out);
    }

    #[tokio::test(start_paused = true)]
    async fn promise_2_what_goes_through_without_them_is_remembered_for_a_day() {
        let offer = ParameterOffers::default();
        told(&offer, 1, true, Verdict::Sent, 250);
        assert!(offer.is_believed());
        told(&offer, 2, true, WITHOUT, 501);
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
        let offer = ParameterOffers::default();
        told(&offer, 1, true, WITHOUT, 501);
        told(&offer, 2, false, Verdict::Bounced, 550);
        told(&offer, 3, false, Verdict::Sent, 250);
        told(&offer, 4, true, Verdict::Bounced, 550);
        told(&offer, 1, false, Verdict::Deferred, 450);
        assert!(!offer.is_believed(), "others say nothing, and nor does a deferral");
        told(&offer, 1, false, Verdict::Bounced, 501);
        assert!(offer.is_believed());
        told(&offer, 1, false, Verdict::Bounced, 501);
        told(&offer, 5, true, WITHOUT, 501);
        assert!(!offer.is_believed(), "it may be doubted again");
    }
    /// The relay says the same without the parameter: it was not the reason, although the reply is no bounce.
    #[tokio::test(start_paused = true)]
    async fn promise_2_the_same_deferral_without_them_has_another_reason() {
        let offer = ParameterOffers::default();
        told(&offer, 1, true, WITHOUT, 455);
        told(&offer, 1, false, Verdict::Deferred, 450);
        assert!(!offer.is_believed());
        told(&offer, 1, false, Verdict::Deferred, 455);
        assert!(offer.is_believed());
    }

    #[tokio::test(start_paused = true)]
    async fn each_parameter_is_remembered_on_its_own() {
        let offer = ParameterOffers::default();
        told(&offer, 1, true, Verdict::WithoutParameters(ParameterSet::only(ExtensionParameter::Size)), 501);
        assert_eq!(offer.left_out(), ParameterSet::only(ExtensionParameter::Size));
        told(&offer, 2, true, WITHOUT, 501);
        told(&offer, 2, false, Verdict::Bounced, 550);
        assert_eq!(offer.left_out(), ParameterSet::only(ExtensionParameter::Size));
    }
}
