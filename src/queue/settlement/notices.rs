//! DSNs about a message: they are composed of the results of its recipients and of a part of its content.
//!
//! Pure. Not here: who hears of a failure (`message/dsn/audience.rs`), the text of a DSN (`message/dsn/`), when there is
//! one (`settlement/steps.rs`), reading the part of the content (`settlement.rs`).

use jiff::{Timestamp, Zoned};

use super::super::attempt::{RecipientResult, UnconfirmedCopy};
use super::result::status_in;
use super::settling::Settling;
use crate::envelope::{Address, Envelope};
use crate::message::dsn::{Affected, Dsn, DsnKind, Original};
use crate::outcome::Outcome;
use crate::queue_id::QueueId;

/// A DSN that is to be put on the spool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::queue) struct Notice {
    /// The address that it is sent to.
    pub(in crate::queue) to: Address,
    /// The address that gets it as well.
    pub(in crate::queue) copy: Option<Address>,
    pub(in crate::queue) kind: DsnKind,
    /// The recipients that it is about, each by its index in the envelope of the original.
    pub(in crate::queue) about: Vec<usize>,
}

/// The parts of a DSN that do not come from the attempt.
pub(in crate::queue) struct NoticeFrame<'a> {
    /// The queue id of the DSN itself.
    pub(in crate::queue) queue_id: QueueId,
    /// The name of this host.
    pub(in crate::queue) hostname: &'a str,
    /// The author, for the From field.
    pub(in crate::queue) author: &'a Address,
    /// The first part of the original's content.
    pub(in crate::queue) quoted: &'a [u8],
    /// `quoted` is all of it.
    pub(in crate::queue) is_whole: bool,
    pub(in crate::queue) now: &'a Zoned,
}

impl Settling {
    /// Returns the envelope and the content of the DSN `notice`.
    pub(in crate::queue) fn compose(&self, notice: &Notice, frame: &NoticeFrame<'_>) -> (Envelope, Vec<u8>) {
        let affected: Vec<Affected<'_>> = self
            .said
            .findings
            .iter()
            .filter(|finding| notice.about.contains(&finding.report.index))
            .map(|finding| self.affected(finding, frame.now.timestamp()))
            .collect();
        let dsn = Dsn {
            kind: notice.kind,
            hostname: frame.hostname,
            author: frame.author,
            queue_id: frame.queue_id,
            to: &notice.to,
            copy: notice.copy.as_ref(),
            original: Original {
                queue_id: self.attempt.id,
                envelope: &self.attempt.envelope,
                arrived: self.attempt.arrived,
                content: frame.quoted,
                content_is_whole: frame.is_whole,
            },
            affected: &affected,
            now: frame.now,
        };
        (dsn.envelope(), dsn.content())
    }

    fn affected<'a>(&'a self, finding: &'a RecipientResult, last_attempt: Timestamp) -> Affected<'a> {
        let report = &finding.report;
        Affected {
            recipient: &self.attempt.envelope.recipients[report.index],
            status: status_in(finding.outcome, report.status),
            diagnostic: &report.said,
            from_relay: report.from_relay,
            remote_mta: self.said.peer.as_ref().map(|peer| peer.name.as_str()),
            last_attempt,
            may_have_arrived: self.said.copy != UnconfirmedCopy::None
                && finding.outcome != Some(Outcome::Sent),
        }
    }
}
