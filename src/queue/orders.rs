//! The orders of operators about single messages: what an order means for a message by what the message is doing, and
//! which orders are being carried out or wait.
//!
//! Promises
//! 1. A message that nobody has is taken out of all hands while an order about it is carried out on the spool. Then it is
//!    gone, or on hold, or released; or it does again what it did before, if the spool did not record the order.
//! 2. A message that is under way is only marked: its final dot may be written. The order is carried out when what the
//!    relay said is recorded, as it is for any message; if that ends the message, nothing is left to do, and the log says
//!    so. One order waits for a message: the last one, but none takes the place of a stronger one ([`against_waiting`]),
//!    and its answer says so. So no more orders wait than messages are under way, or wait for the look-up of their relays.
//! 3. Each order is answered once, when it is done, or when it is only marked. A mark does not outlive the daemon: the next
//!    run knows nothing of it.
//!
//! Pure. Not here: who may give an order (`admin/rights.rs`), the messages themselves (`relays.rs`), carrying an order out
//! (`owner/ordered.rs`).

use std::collections::BTreeMap;
use std::time::Duration;

use super::roster::{Member, Standing};
use crate::envelope::Envelope;
use crate::filter::MailHolder;
use crate::message::dsn::{Audience, Overseers};
use crate::queue_id::QueueId;
use crate::spool::{CommitError, Operator, OperatorOrder, OperatorVerb};

/// The name of orders that were given together, by which they are answered.
pub(super) type Ticket = u64;

/// What came of an order about one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderResult {
    /// It is done, and recorded where that is needed.
    Done,
    /// It is done, and no report was made of it, since none of the recipients was to be reported.
    Unreported,
    /// The message is under way: the order is carried out when its reply is in.
    Marked,
    /// The message is under way, and a stronger order, this one, waits for its reply already: it stays.
    Outranked(OperatorVerb),
    /// It waited for a message, and a later order took its place.
    Replaced,
    /// There was nothing to do.
    AlreadySo,
    /// It was not tried, since it is on hold.
    OnHold,
    /// It was not released: somebody else holds it, from whose hand only an operator releases it.
    HeldByOther,
    /// It could not be returned, since its failure can be reported to nobody: it is dead.
    Dead,
    /// It is not known yet: it goes on.
    Awaited,
    /// No message in the queue has this id.
    NotFound,
    /// The order was not carried out.
    Failed(OrderFailure),
}

impl OrderResult {
    /// It was not carried out, for a reason that the log has.
    pub(super) const FAILED: OrderResult =
        OrderResult::Failed(OrderFailure::Unrecorded(CommitError::Trouble));
}

/// The reason why an order was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderFailure {
    /// The spool did not record it.
    Unrecorded(CommitError),
    /// The message cannot be read from the spool, so that it cannot be returned.
    Unreadable,
}

/// A message that is in nobody's hands while an order about it is carried out.
#[derive(Debug)]
pub(super) struct OrderedMessage {
    pub(super) order: OperatorOrder,
    pub(super) member: Member,
    /// How much of its patience it has used.
    pub(super) patience_used: Duration,
    /// What it was doing.
    pub(super) was: Standing,
}

/// What follows from an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OrderCourse {
    /// It is carried out on the spool.
    Recorded,
    /// The message is made ready, which is not recorded.
    Tried,
    /// It waits until the message is not under way any more.
    Waits,
    /// Nothing, with this answer.
    Answered(OrderResult),
}

/// Returns what follows from an order for a message that does this now.
pub(super) fn course(verb: OperatorVerb, standing: Standing) -> OrderCourse {
    use OperatorVerb::{Delete, Expire, Hold, Release, Retry, Route};
    use OrderCourse::{Answered, Recorded, Tried, Waits};
    match (verb, standing) {
        (_, Standing::UnderWay | Standing::Elsewhere(_)) => Waits,
        (Delete | Expire, _) => Recorded,
        (Route, Standing::Dead) => Answered(OrderResult::Dead),
        (Route, _) => Recorded,
        // What is dead is not sent either. What is on hold may be taken over ([`against_holder`]).
        (Hold, Standing::Dead) => Answered(OrderResult::AlreadySo),
        (Hold, _) => Recorded,
        (Release, Standing::OnHold) => Recorded,
        (Release, _) => Answered(OrderResult::AlreadySo),
        (Retry, Standing::OnHold) => Answered(OrderResult::OnHold),
        (Retry, Standing::Dead) => Recorded,
        (Retry, Standing::Ready | Standing::Waiting(_) | Standing::Held) => Tried,
    }
}

/// Returns the answer to an order if it does not take the place of the one that waits for the same message. An order to delete is
/// the strongest, then one to return; one to try the message again is the weakest. A hold waits as it stands: who may not
/// release it from its holder does not do so before either.
fn against_waiting(order: &OperatorOrder, waiting: &OperatorOrder) -> Option<OrderResult> {
    let rank = |verb| match verb {
        OperatorVerb::Retry => 0,
        OperatorVerb::Hold | OperatorVerb::Release | OperatorVerb::Route => 1,
        OperatorVerb::Expire => 2,
        OperatorVerb::Delete => 3,
    };
    if rank(order.verb()) < rank(waiting.verb()) {
        return Some(OrderResult::Outranked(waiting.verb()));
    }
    (waiting.verb() == OperatorVerb::Hold).then(|| against_holder(order, &waiting.holder())).flatten()
}

/// Returns what it comes to when these recipients of a message with this envelope are returned.
pub fn returning(
    envelope: &Envelope,
    open: impl IntoIterator<Item = usize>,
    overseers: &Overseers,
) -> OrderResult {
    let Audience { wanted, to, .. } = Audience::of(envelope, open, overseers);
    match (wanted.is_empty(), to) {
        (true, _) => OrderResult::Unreported,
        (false, Some(_)) => OrderResult::Done,
        (false, None) => OrderResult::Dead,
    }
}

/// Returns whether it matters to an order who holds a message.
pub fn asks_for_holder(verb: OperatorVerb) -> bool {
    matches!(verb, OperatorVerb::Hold | OperatorVerb::Release | OperatorVerb::Expire)
}

/// Returns the answer to an order about a message that this holder has put on hold, if the order does nothing.
pub fn against_holder(order: &OperatorOrder, holder: &MailHolder) -> Option<OrderResult> {
    match order.verb() {
        OperatorVerb::Hold => (!order.takes_over_from(holder)).then_some(OrderResult::AlreadySo),
        // A report carries the content to an address that the submitter has chosen: it goes round the hold.
        OperatorVerb::Release | OperatorVerb::Expire => {
            (!order.may_release_from(holder)).then_some(OrderResult::HeldByOther)
        }
        OperatorVerb::Retry | OperatorVerb::Route | OperatorVerb::Delete => None,
    }
}

/// Returns what an order would come to for a message that does this now, as far as that is known
/// before, but for [`against_holder`] and [`returning`].
pub fn forecast(verb: OperatorVerb, standing: Standing) -> OrderResult {
    match course(verb, standing) {
        OrderCourse::Recorded => OrderResult::Done,
        OrderCourse::Tried if standing == Standing::Ready => OrderResult::AlreadySo,
        OrderCourse::Tried => OrderResult::Done,
        OrderCourse::Waits => OrderResult::Marked,
        OrderCourse::Answered(answer) => answer,
    }
}

/// An order that is being carried out.
#[derive(Debug)]
pub(super) struct RunningOrder {
    pub(super) verb: OperatorVerb,
    pub(super) by: Operator,
    /// What the message was doing.
    pub(super) was: Standing,
    /// The ticket, if it is not answered yet.
    pub(super) ticket: Option<Ticket>,
}

/// An order that waits until its message may be taken up.
#[derive(Debug)]
pub(super) struct WaitingOrder {
    pub(super) order: OperatorOrder,
    /// The ticket, if it is not answered yet.
    pub(super) ticket: Option<Ticket>,
}

/// The orders that are being carried out, and those that wait.
#[derive(Debug, Default)]
pub(super) struct Orders {
    running: BTreeMap<QueueId, RunningOrder>,
    waiting: BTreeMap<QueueId, WaitingOrder>,
}

impl Orders {
    /// Notes that this order is being carried out.
    pub(super) fn begins(&mut self, ordered: &OrderedMessage, ticket: Option<Ticket>) {
        let OrderedMessage { order, was, .. } = ordered;
        let running = RunningOrder { verb: order.verb(), by: order.by().clone(), was: *was, ticket };
        self.running.insert(order.id(), running);
    }

    /// Takes out the order about this message that was being carried out.
    pub(super) fn ended(&mut self, id: QueueId) -> Option<RunningOrder> {
        self.running.remove(&id)
    }

    /// Has an order wait for its message. Returns the one that it takes the place of; the answer if it takes none.
    pub(super) fn wait(
        &mut self,
        order: OperatorOrder,
        ticket: Option<Ticket>,
    ) -> Result<Option<WaitingOrder>, OrderResult> {
        let earlier = self.waiting.get(&order.id()).map(|earlier| &earlier.order);
        match earlier.and_then(|earlier| against_waiting(&order, earlier)) {
            Some(answer) => Err(answer),
            None => Ok(self.waiting.insert(order.id(), WaitingOrder { order, ticket })),
        }
    }

    /// Returns what is ordered about this message, and waits.
    pub(super) fn waiting_for(&self, id: QueueId) -> Option<OperatorVerb> {
        self.waiting.get(&id).map(|waiting| waiting.order.verb())
    }

    /// Takes out the order that waits for this message.
    pub(super) fn take_waiting(&mut self, id: QueueId) -> Option<WaitingOrder> {
        self.waiting.remove(&id)
    }
}

#[cfg(test)]
mod tests {
    use super::super::roster::Aside;
    use super::*;

    const VERBS: [OperatorVerb; 5] = [
        OperatorVerb::Hold,
        OperatorVerb::Release,
        OperatorVerb::Retry,
        OperatorVerb::Expire,
        OperatorVerb::Delete,
    ];

    /// Promise 2: whoever has a message keeps it, whatever is ordered.
    #[test]
    fn nothing_is_taken_from_under_way() {
        for verb in VERBS {
            for standing in [Standing::UnderWay, Standing::Elsewhere(Aside::Ready)] {
                assert_eq!(course(verb, standing), OrderCourse::Waits);
            }
        }
    }

    #[test]
    fn what_an_operator_holds_is_released_by_that_alone() {
        let on_hold = VERBS.map(|verb| forecast(verb, Standing::OnHold));
        use OrderResult::{Done, OnHold};
        assert_eq!(on_hold, [Done, Done, OnHold, Done, Done]);
    }

    #[test]
    fn what_is_dead_may_be_tried_returned_or_deleted() {
        let dead = VERBS.map(|verb| forecast(verb, Standing::Dead));
        use OrderResult::{AlreadySo, Done};
        assert_eq!(dead, [AlreadySo, AlreadySo, Done, Done, Done]);
    }
}
