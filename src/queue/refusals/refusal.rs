//! A refusal that may say something about more than its own message, taken from a report.
//!
//! Pure. Not here: what it means together with others (`refusals.rs`), what a reply is about (`relay/subject.rs`).

use std::collections::BTreeSet;

use crate::envelope::spelling::folded_domain;
use crate::envelope::{Envelope, ReversePath};
use crate::queue_id::QueueId;
use crate::relay::{Peer, Phase, RecipientReport, Report, Subject, Verdict, WaitReason};

/// A refusal that may say something about more than its own message. Its flags come from three sources, and occur in every
/// combination: the reply, the envelope, and the replies to the other recipients.
#[derive(Clone, Debug)]
pub(in crate::queue) struct Refusal {
    pub id: QueueId,
    pub peer: Peer,
    pub phase: Phase,
    pub about: Subject,
    /// The reason for which mail waits, if a rule says one.
    pub waits: Option<WaitReason>,
    /// True if it is a 4xx.
    pub is_deferral: bool,
    pub said: String,
    /// The reverse-path of the message.
    pub from: ReversePath,
    /// True if the relay took another recipient in the same transaction.
    pub in_company: bool,
    /// True if the relay took a recipient of the message in an earlier transaction of this attempt.
    pub follows_taken: bool,
    /// The domains of the recipients that were refused.
    pub domains: BTreeSet<String>,
}

/// Returns whether the relay's reply about this recipient may say something about more than this message.
pub(in crate::queue) fn is_telling(report: &RecipientReport) -> bool {
    report.from_relay
        && match report.verdict {
            Verdict::Bounced => is_about_set_up(report.about),
            Verdict::Deferred => matches!(report.phase, Phase::Mail | Phase::Data | Phase::Dot),
            Verdict::Waits(_) => true,
            Verdict::Sent
            | Verdict::Unproven
            | Verdict::Untold
            | Verdict::TooMany
            | Verdict::TooManyDomains
            | Verdict::WithoutParameters(_) => false,
        }
}

/// Returns whether the relay took this recipient in the same transaction in which it had refused the one that was
/// `told`.
pub(super) fn is_taken_beside(other: &RecipientReport, told: &RecipientReport) -> bool {
    other.verdict == Verdict::Sent || (other.from_relay && other.phase > told.phase)
}

/// Returns whether a permanent refusal about `subject` may be due to the set-up, and not to its message.
pub(super) fn is_about_set_up(subject: Subject) -> bool {
    matches!(subject, Subject::Permission | Subject::Login | Subject::Unclear)
}

impl Refusal {
    /// Returns whether the message is from `<>`.
    pub(super) fn is_from_null(&self) -> bool {
        self.from == ReversePath::Null
    }

    /// Returns the refusal in `report` that says most about a message with this `envelope`: one for which mail
    /// waits, or that asks for a login, or else the first.
    pub(in crate::queue) fn of(report: &Report, envelope: &Envelope) -> Option<Refusal> {
        let telling = || report.recipients.iter().filter(|recipient| is_telling(recipient));
        let waits = |told: &&RecipientReport| matches!(told.verdict, Verdict::Waits(_));
        let asks = |told: &&RecipientReport| told.about == Subject::Login;
        let told = telling().find(waits).or_else(|| telling().find(asks)).or_else(|| telling().next())?;
        let refused = telling().filter_map(|refused| envelope.recipients.get(refused.index));
        let domains = refused.filter_map(|recipient| recipient.address.domain()).map(folded_domain).collect();
        Some(Refusal {
            id: report.id,
            peer: report.peer.clone(),
            phase: told.phase,
            about: told.about,
            waits: match told.verdict {
                Verdict::Waits(reason) => Some(reason),
                _ => None,
            },
            is_deferral: told.verdict == Verdict::Deferred,
            said: told.said.clone(),
            from: envelope.reverse_path.clone(),
            in_company: report.recipients.iter().any(|other| is_taken_beside(other, told)),
            follows_taken: false,
            domains,
        })
    }
}
