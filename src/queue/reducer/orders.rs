//! Orders of operators about single messages.
//!
//! Promises: those of `queue/orders.rs`. A message that is under way keeps its attempt; what is ordered about it comes
//! behind what the attempt comes to.
//!
//! Not here: what an order means (`queue/orders.rs`), carrying it out on the spool (`owner/ordered.rs`).

use super::super::orders::{
    OrderCourse, OrderResult, OrderedMessage, RunningOrder, Ticket, WaitingOrder, course,
};
use super::super::roster::Standing;
use super::{AtRelay, Disposition, Effect, LogLine, Reducer};
use crate::queue_id::QueueId;
use crate::spool::{Operator, OperatorOrder, OperatorVerb};

impl Reducer {
    /// Takes in orders that were given together.
    pub(super) fn ordered(&mut self, ticket: Ticket, orders: Vec<OperatorOrder>) {
        orders.into_iter().for_each(|order| self.follow(order, Some(ticket)));
    }

    /// Follows an order, or has it wait.
    fn follow(&mut self, order: OperatorOrder, ticket: Option<Ticket>) {
        let id = order.id();
        let Some(standing) = self.relays.member(id).map(|member| member.standing) else {
            return self.answer_order(ticket, id, OrderResult::NotFound);
        };
        if self.relays.is_unrouted(id) {
            return self.wait_for_routes(order, ticket);
        }
        match course(order.verb(), standing) {
            OrderCourse::Recorded => self.carry_out(order, ticket),
            OrderCourse::Tried => self.retry(&order, ticket),
            OrderCourse::Waits => self.mark(order, ticket),
            OrderCourse::Answered(answer) => self.answer_order(ticket, id, answer),
        }
    }

    /// Has an order wait until the relays of its message are known. It is answered when it is done.
    fn wait_for_routes(&mut self, order: OperatorOrder, ticket: Option<Ticket>) {
        let id = order.id();
        match self.orders.wait(order, ticket) {
            Ok(None) => {}
            Ok(Some(earlier)) => self.answer_order(earlier.ticket, id, OrderResult::Replaced),
            Err(answer) => self.answer_order(ticket, id, answer),
        }
    }

    /// Has an order wait until its message is not under way any more.
    fn mark(&mut self, order: OperatorOrder, ticket: Option<Ticket>) {
        let (id, verb, by) = (order.id(), order.verb(), order.by().clone());
        match self.orders.wait(order, None) {
            Ok(earlier) => {
                let of_earlier = earlier.and_then(|earlier| earlier.ticket);
                self.answer_order(of_earlier, id, OrderResult::Replaced);
                self.shared.log(None, LogLine::OrderMarked { id, verb, by });
                self.answer_order(ticket, id, OrderResult::Marked);
            }
            Err(answer) => self.answer_order(ticket, id, answer),
        }
    }

    /// Has a message tried now that is deferred or held.
    fn retry(&mut self, order: &OperatorOrder, ticket: Option<Ticket>) {
        let (id, now) = (order.id(), self.shared.now.steady);
        if self.relays.retry(id, now) {
            self.tell_order(id, order.verb(), order.by().clone(), OrderResult::Done);
            self.answer_order(ticket, id, OrderResult::Done);
        } else {
            self.answer_order(ticket, id, OrderResult::AlreadySo);
        }
    }

    /// Takes a message out of everybody's hands, and has the order carried out on the spool.
    fn carry_out(&mut self, order: OperatorOrder, ticket: Option<Ticket>) {
        let (id, now) = (order.id(), self.shared.now.steady);
        let Some((member, patience_used, was)) = self.relays.take_up(id, now) else {
            return self.answer_order(ticket, id, OrderResult::NotFound);
        };
        // At its other relays it is set aside, as what is given out.
        self.shared.given.push(id);
        let ordered = OrderedMessage { order, member, patience_used, was };
        self.orders.begins(&ordered, ticket);
        self.shared.effects.push(Effect::CarryOut(Box::new(ordered)));
    }

    /// Takes in the end of an order that was carried out.
    pub(super) fn order_ended(
        &mut self,
        id: QueueId,
        running: RunningOrder,
        disposition: Disposition,
        came_to: OrderResult,
    ) {
        let RunningOrder { verb, by, was, ticket } = running;
        let now = self.shared.now.steady;
        if disposition == Disposition::Unchanged || came_to == OrderResult::FAILED {
            self.relays.of_message(id).roster.restore(id, was, now);
        } else {
            self.at_message(id).became(id, disposition);
            if disposition == Disposition::Routed && was == Standing::OnHold {
                self.relays.of_message(id).roster.restore(id, was, now);
            }
            // Of these the log was told before (`owner/ordered.rs`).
            if !matches!(verb, OperatorVerb::Delete | OperatorVerb::Route) {
                self.tell_order(id, verb, by, came_to);
            }
        }
        self.relays.settled(id, disposition, now);
        self.answer_order(ticket, id, came_to);
    }

    /// Follows the order that waits for this message, now that the message has come to this.
    pub(super) fn follow_waiting(&mut self, id: QueueId, is_gone: bool) {
        let Some(WaitingOrder { order, ticket }) = self.orders.take_waiting(id) else { return };
        if is_gone {
            let (verb, by) = (order.verb(), order.by().clone());
            self.shared.log(None, LogLine::OrderLate { id, verb, by });
            return self.answer_order(ticket, id, OrderResult::NotFound);
        }
        self.follow(order, ticket);
    }

    fn tell_order(&mut self, id: QueueId, verb: OperatorVerb, by: Operator, came_to: OrderResult) {
        self.shared.log(None, LogLine::OrderDone { id, verb, by, came_to });
    }

    fn answer_order(&mut self, ticket: Option<Ticket>, id: QueueId, came_to: OrderResult) {
        if let Some(ticket) = ticket {
            self.shared.effects.push(Effect::Ordered { ticket, id, came_to });
        }
    }
}

impl AtRelay<'_> {
    /// Makes a message ready that an operator has released.
    pub(super) fn released(&mut self, id: QueueId) {
        self.relay.release(id, self.shared.now.steady);
    }
}
