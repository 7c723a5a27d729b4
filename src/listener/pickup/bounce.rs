//! The bounce of a dropped message that is refused for good: its submitter was told that it was taken.
//!
//! Promises: after `Ok` a DSN is on stable storage, or there is nobody who is to be told of it
//! (`message/dsn/audience.rs`).
//!
//! Fails: as the spool does; nothing was told then, and it may be tried again.
//!
//! Not here: how a DSN looks (`message/dsn`), what becomes of the file (`pickup.rs`), failures at the relay
//! (`queue/settlement.rs`).

use jiff::Timestamp;

use super::dialogue::{BouncedMessage, Refused};
use crate::envelope::{Envelope, Submitter};
use crate::listener::intake::SessionDesk;
use crate::message::dsn::{self, Affected, Audience, Dsn, DsnKind};
use crate::queue_id::QueueId;
use crate::smtp::reply::Reply;
use crate::spool::CommitError;
use crate::status::Status;

/// Who knows of the end of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BounceNotice {
    /// Its reverse-path, or the postmaster.
    Sender {
        /// The queue id by which the DSN names the message.
        id: QueueId,
        /// That of the DSN.
        dsn: QueueId,
    },
    /// Nobody but the log.
    Nobody,
}

/// Reports the refusal of a message that was left at the time `arrived`.
pub(super) async fn bounce(
    desk: &SessionDesk,
    refused: &Refused,
    arrived: Timestamp,
) -> Result<BounceNotice, CommitError> {
    let Refused { original, reply } = refused;
    let envelope = desk.rules.envelope(original.envelope.clone());
    let now = (desk.clock)();
    let diagnostic = reply.to_string();
    let audience = Audience::of(&envelope, 0..envelope.recipients.len(), desk.postmaster.as_ref());
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
    Ok(BounceNotice::Sender { id, dsn: committed.id() })
}

/// These recipients of the message, as a DSN says of them that they failed.
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
