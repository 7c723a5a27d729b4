//! The task that carries out an order of an operator about a message which is in nobody's hands.
//!
//! Promises: what it returns is recorded. The message is removed only by the proof of an order to delete it, or by a
//! settlement, as every other. If the spool does not record an order, nothing has changed; only an order to return the
//! message is tried until it is recorded, since its bounce may be on the spool already. A message that is deleted has its line in
//! the log before it is gone, and another one if it is not.
//!
//! Not here: when a message is in nobody's hands (`queue/orders.rs`).

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::Taken;
use super::super::attempt::{Attempt, AttemptResult, OnSpool};
use super::super::desk::DeliveryDesk;
use super::super::orders::{
    OrderFailure, OrderResult, OrderedMessage, against_holder, asks_for_holder, returning,
};
use super::super::part_limits::PartLimits;
use super::super::reducer::Disposition;
use super::super::roster::Standing;
use super::super::settlement::{Settlement, Settling};
use crate::filter::{HolderKind, MailHolder};
use crate::log;
use crate::queue_id::QueueId;
use crate::spool::{CommitError, EntryState, OperatorVerb, Stored};

/// What a message has come to by an order, and the answer to the order.
pub(super) struct CarriedOut {
    pub(super) disposition: Disposition,
    pub(super) came_to: OrderResult,
}

impl CarriedOut {
    fn done(disposition: Disposition) -> Self {
        CarriedOut { disposition, came_to: OrderResult::Done }
    }

    fn answered(came_to: OrderResult) -> Self {
        CarriedOut { disposition: Disposition::Unchanged, came_to }
    }

    fn failed(why: OrderFailure) -> Self {
        CarriedOut::answered(OrderResult::Failed(why))
    }
}

/// Carries out the order.
pub(super) async fn carry_out(desk: Arc<DeliveryDesk>, ordered: OrderedMessage) -> CarriedOut {
    let (spool, id) = (&desk.spool, ordered.order.id());
    if let Some(answer) = answer_of_holder(&desk, &ordered).await {
        return CarriedOut::answered(answer);
    }
    let (recorded, done) = match ordered.order.verb() {
        OperatorVerb::Hold => (spool.hold(id, &ordered.order.holder()).await, Disposition::OnHold),
        // It counts as held once from now on: a start gives it all of its patience, too.
        OperatorVerb::Release => (spool.set_state(id, EntryState::Held).await, Disposition::Released),
        OperatorVerb::Retry => (spool.reopen(id).await, Disposition::Released),
        OperatorVerb::Expire => return expire(desk, ordered).await,
        OperatorVerb::Route => (route(&desk, &ordered).await, Disposition::Routed),
        OperatorVerb::Delete => (delete(&desk, ordered).await, Disposition::Removed),
    };
    match recorded {
        Ok(()) => CarriedOut::done(done),
        Err(why) => CarriedOut::failed(OrderFailure::Unrecorded(why)),
    }
}

/// Returns the answer if the message is on hold by somebody because of whom there is nothing to do, or it must not be done.
/// Nobody else has the message, so who holds it does not change meanwhile.
async fn answer_of_holder(desk: &DeliveryDesk, ordered: &OrderedMessage) -> Option<OrderResult> {
    if ordered.was != Standing::OnHold || !asks_for_holder(ordered.order.verb()) {
        return None;
    }
    let stored = read(desk, ordered.order.id()).await;
    let unknown = || MailHolder::of(HolderKind::Unknown);
    let holder = stored.and_then(|stored| stored.held_by).unwrap_or_else(unknown);
    against_holder(&ordered.order, &holder)
}

/// Assigns the message to a route.
async fn route(desk: &DeliveryDesk, ordered: &OrderedMessage) -> Result<(), CommitError> {
    let (order, by) = (&ordered.order, ordered.order.by());
    desk.spool.assign_route(order.id(), order.route()).await?;
    log::assigned(order.id(), order.route(), by.uid, by);
    Ok(())
}

/// Removes the message. The log has the line before the spool has the record, so that nothing is gone without it.
async fn delete(desk: &DeliveryDesk, ordered: OrderedMessage) -> Result<(), CommitError> {
    let (id, by) = (ordered.order.id(), ordered.order.by().clone());
    match ordered.order.deletion() {
        Ok(deletion) => {
            log::ordered(id, "deleted", by.uid, &by);
            let removed = desk.spool.remove(deletion).await;
            removed.inspect_err(|why| log::not_deleted(id, by.uid, &by, why))
        }
        // This cannot be: the caller has looked at the verb.
        Err(_) => Err(CommitError::Trouble),
    }
}

/// Returns the message to its sender, by the same steps as one whose time is over. What is dead stays so on the spool until the
/// record of its bounce.
async fn expire(desk: Arc<DeliveryDesk>, ordered: OrderedMessage) -> CarriedOut {
    let Some(mut stored) = read(&desk, ordered.order.id()).await else {
        return CarriedOut::failed(OrderFailure::Unreadable);
    };
    ordered.order.open_dead(&mut stored.ledger);
    let attempt = attempt(&desk, &ordered, stored);
    let foreseen = returning(&attempt.envelope, attempt.ledger.open(), &desk.settings.overseers);
    let said = AttemptResult::returned(&attempt);
    said.log(&attempt);
    desk.queue.followers.tell(attempt.submitter, said.lines(&attempt));
    let disposition = Settlement::new(desk, Settling::of_result(attempt, said)).run().await;
    let came_to = match disposition {
        Disposition::Removed => foreseen,
        Disposition::Dead => OrderResult::Dead,
        _ => OrderResult::FAILED,
    };
    CarriedOut { disposition, came_to }
}

/// Returns the message; `None` if it cannot be read.
async fn read(desk: &DeliveryDesk, id: QueueId) -> Option<Stored> {
    let spool = desk.spool.clone();
    tokio::task::spawn_blocking(move || spool.peek(id)).await.ok()?.ok()
}

/// Returns an attempt in which no relay is asked, for every open recipient.
fn attempt(desk: &DeliveryDesk, ordered: &OrderedMessage, stored: Stored) -> Attempt {
    let limits = PartLimits { recipients: stored.envelope.recipients.len(), domains: None };
    let taken = Taken {
        id: ordered.order.id(),
        member: ordered.member,
        patience_used: ordered.patience_used,
        limits,
    };
    let Stored { submitter, envelope, arrived, ledger, replies, .. } = stored;
    let told = envelope.reverse_path.clone();
    let elsewhere = BTreeSet::new();
    let message = OnSpool { elsewhere, submitter, envelope, arrived, ledger, replies };
    Attempt::new(taken, message, told, desk.clock.moment())
}
