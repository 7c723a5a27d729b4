//! DSNs about a message: they are composed of the results of its recipients and of a part of its content.
//!
//! Not here: who hears of a failure (`message/dsn/audience.rs`), the text of a DSN (`message/dsn/`), when there is one
//! (`settlement/steps.rs`).

use std::io::Read;

use jiff::Timestamp;

use super::super::attempt::RecipientResult;
use super::Settlement;
use super::result::status_in;
use crate::envelope::{Address, Envelope, Submitter};
use crate::message::dsn::{Affected, Dsn, DsnKind, Original};
use crate::outcome::Outcome;
use crate::queue_id::QueueId;
use crate::spool::{CommitError, Committed, Draft, Spool, StoredContent};

/// The number of octets of the original from which a DSN may quote.
const QUOTED_OCTETS: usize = 64 * 1024;

impl Settlement {
    pub(super) async fn commit(
        &self,
        to: &Address,
        kind: DsnKind,
        about: &[usize],
    ) -> Result<Committed, CommitError> {
        let (draft, envelope) = self.draft(to, kind, about).await?;
        let now = self.desk.clock.now();
        self.desk.spool.commit(draft, envelope, Submitter::Ourselves, now).await
    }

    /// Returns a DSN about these recipients, ready to be committed.
    pub(super) async fn draft(
        &self,
        to: &Address,
        kind: DsnKind,
        about: &[usize],
    ) -> Result<(Draft, Envelope), CommitError> {
        let now = self.desk.clock.local();
        let mut draft = self.desk.spool.draft(now.timestamp());
        let (spool, id) = (self.desk.spool.clone(), self.attempt.id);
        // A DSN without a quotation is better than none.
        let (quoted, is_whole) =
            tokio::task::spawn_blocking(move || quote(&spool, id)).await.unwrap_or_default();
        let affected: Vec<Affected<'_>> = self
            .said
            .findings
            .iter()
            .filter(|finding| about.contains(&finding.report.index))
            .map(|finding| self.affected(finding, now.timestamp()))
            .collect();
        let dsn = Dsn {
            kind,
            hostname: &self.desk.settings.hostname,
            author: &self.desk.settings.dsn_author,
            queue_id: draft.id(),
            to,
            original: Original {
                queue_id: self.attempt.id,
                envelope: &self.attempt.envelope,
                arrived: self.attempt.arrived,
                content: &quoted,
                content_is_whole: is_whole,
            },
            affected: &affected,
            now: &now,
        };
        let envelope = dsn.envelope();
        draft.write(&dsn.content()).await?;
        Ok((draft, envelope))
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
            may_have_arrived: self.said.may_have_arrived && finding.outcome != Some(Outcome::Sent),
        }
    }
}

/// Returns the first part of the content, and whether that is all of it; nothing if it cannot be read, since the DSN
/// matters more. Blocking.
fn quote(spool: &Spool, id: QueueId) -> (Vec<u8>, bool) {
    match spool.peek(id).map(|stored| stored.content) {
        Ok(StoredContent::Memory(mut octets)) => {
            let is_whole = octets.len() <= QUOTED_OCTETS;
            octets.truncate(QUOTED_OCTETS);
            (octets, is_whole)
        }
        Ok(StoredContent::File { file, len }) => {
            let mut octets = Vec::with_capacity(QUOTED_OCTETS);
            let is_read = file.take(QUOTED_OCTETS as u64).read_to_end(&mut octets).is_ok();
            let is_whole = is_read && octets.len() as u64 == len;
            (octets, is_whole)
        }
        Err(_) => (Vec::new(), false),
    }
}
