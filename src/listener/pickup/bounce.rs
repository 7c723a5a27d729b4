//! The bounce of a dropped message that is refused for good, since `sendmail` told its submitter that it was queued.
//!
//! Promises: after `Ok`, a DSN is on stable storage, or nobody must be told (`message/dsn/audience.rs`).
//!
//! Fails: with the error of the spool; then nothing was sent, and it may be tried again.
//!
//! Not here: the text of a DSN (`message/dsn`), the file (`pickup.rs`), failures at the relay
//! (`queue/settlement.rs`).

use jiff::Timestamp;

use super::dialogue::{BouncedMessage, RefusedMessage};
use crate::envelope::{Envelope, Submitter};
use crate::listener::intake::SessionDesk;
use crate::log;
use crate::message::dsn::{self, Affected, Audience, Dsn, DsnKind};
use crate::queue_id::QueueId;
use crate::smtp::reply::Reply;
use crate::spool::CommitError;
use crate::status::Status;

/// The person who was told about the refusal of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BounceNotice {
    /// A DSN was sent to the reverse-path and `queue.bounce-copy`, or to the postmaster.
    Sender {
        /// The queue id that the DSN gives for the message.
        id: QueueId,
        /// The queue id of the DSN.
        dsn: QueueId,
    },
    /// Nobody could be told; the log is the only notice.
    Nobody,
}

/// Sends a DSN about the refusal of a message that was left at the time `arrived`.
pub(super) async fn bounce(
    desk: &SessionDesk,
    refused: &RefusedMessage,
    arrived: Timestamp,
) -> Result<BounceNotice, CommitError> {
    let RefusedMessage { original, reply } = refused;
    let envelope = desk.rules.envelope(original.envelope.clone());
    let now = (desk.clock)();
    let diagnostic = reply.to_string();
    let audience = Audience::of(&envelope, 0..envelope.recipients.len(), &desk.overseers);
    let (Some(to), false) = (audience.to, audience.wanted.is_empty()) else {
        return Ok(BounceNotice::Nobody);
    };
    let affected = affected(&envelope, &audience.wanted, reply, &diagnostic, now.timestamp());
    let id = desk.spool.draft(now.timestamp()).id();
    let mut draft = desk.spool.draft(now.timestamp());
    let BouncedMessage { content, content_is_whole, .. } = original;
    let dsn = Dsn {
        kind: DsnKind::Failed,
        hostname: &desk.hostname,
        author: &desk.rules.dsn_author(),
        queue_id: draft.id(),
        to,
        copy: audience.copy,
        original: dsn::Original {
            queue_id: id,
            envelope: &envelope,
            arrived,
            content,
            content_is_whole: *content_is_whole,
        },
        affected: &affected,
        now: &now,
    };
    draft.write(&dsn.content()).await?;
    let committed = desk.spool.commit(draft, dsn.envelope(), Submitter::Ourselves, now.timestamp()).await?;
    if let Some(by) = committed.on_hold() {
        log::came_on_hold(committed.id(), by);
    }
    Ok(BounceNotice::Sender { id, dsn: committed.id() })
}

/// Returns these recipients in the form for a DSN that says they failed.
fn affected<'a>(
    envelope: &'a Envelope,
    failed: &[usize],
    reply: &Reply,
    diagnostic: &'a str,
    last_attempt: Timestamp,
) -> Vec<Affected<'a>> {
    let status = reply.status().unwrap_or(Status::permanent(0, 0));
    let affected = |index: &usize| Affected {
        recipient: &envelope.recipients[*index],
        status,
        diagnostic,
        from_relay: false,
        remote_mta: None,
        last_attempt,
        may_have_arrived: false,
    };
    failed.iter().map(affected).collect()
}
