//! Orders of operators, carried out on the spool in memory by the same rules as in a daemon (`owner/ordered.rs`).

use std::collections::BTreeSet;

use super::World;
use crate::queue::attempt::{Attempt, AttemptResult, OnSpool};
use crate::queue::orders::{OrderFailure, OrderResult, OrderedMessage, against_holder, returning};
use crate::queue::part_limits::PartLimits;
use crate::queue::reducer::{Disposition, Event};
use crate::queue::settlement::Settling;
use crate::queue::{RelayPlace, Taken};
use crate::queue_id::QueueId;
use crate::spool::{CommitError, EntryState, Fate, Operator, OperatorOrder, OperatorVerb, OrderRight};

impl World {
    /// An operator orders this about a message. Returns the answer, if there is one already.
    pub(in crate::queue::reducer::tests) fn order(
        &mut self,
        verb: OperatorVerb,
        id: QueueId,
    ) -> Option<OrderResult> {
        self.order_as(OrderRight::Everything, verb, id)
    }

    /// Root with every right, or user 33 about own mail, orders this about a message.
    pub(in crate::queue::reducer::tests) fn order_as(
        &mut self,
        right: OrderRight,
        verb: OperatorVerb,
        id: QueueId,
    ) -> Option<OrderResult> {
        let (uid, name) = if right == OrderRight::Everything { (0, "root") } else { (33, "app") };
        let by = Operator { uid, name: Some(name.into()) };
        let orders = vec![OperatorOrder::permitted(id, verb, by, right)];
        self.tell(Event::Ordered { ticket: 1, orders });
        let place = self.order_answers.iter().position(|(answered, _)| *answered == id)?;
        Some(self.order_answers.remove(place).1)
    }

    /// An operator assigns a message to a route. Returns the answer, if there is one already.
    pub(in crate::queue::reducer::tests) fn route(
        &mut self,
        id: QueueId,
        route: &str,
    ) -> Option<OrderResult> {
        let by = Operator { uid: 0, name: None };
        let order = OperatorOrder::permitted(id, OperatorVerb::Route, by, OrderRight::Everything);
        self.tell(Event::Ordered { ticket: 1, orders: vec![order.to_route(route.into())] });
        let place = self.order_answers.iter().position(|(answered, _)| *answered == id)?;
        Some(self.order_answers.remove(place).1)
    }

    /// Carries out an order, as far as the spool takes it.
    pub(super) fn carry_out_order(&mut self, ordered: OrderedMessage) {
        let id = ordered.order.id();
        if ordered.order.verb() == OperatorVerb::Expire {
            return self.expire(&ordered);
        }
        let (disposition, came_to) = match self.answer_against(&ordered) {
            Some(answer) => (Disposition::Unchanged, answer),
            None => (self.obeyed(ordered), OrderResult::Done),
        };
        self.happens_next(Event::CarriedOut { id, disposition, came_to });
    }

    /// Returns the answer to an order that is not carried out.
    fn answer_against(&mut self, ordered: &OrderedMessage) -> Option<OrderResult> {
        if !self.spool.takes_record() {
            return Some(OrderResult::Failed(OrderFailure::Unrecorded(CommitError::Full)));
        }
        let holder = self.spool.with(ordered.order.id()).held_by.clone();
        holder.and_then(|holder| against_holder(&ordered.order, &holder))
    }

    fn obeyed(&mut self, ordered: OrderedMessage) -> Disposition {
        let id = ordered.order.id();
        match ordered.order.verb() {
            OperatorVerb::Hold => {
                let then = self.has_state(id, EntryState::OnHold, Disposition::OnHold);
                self.spool.with(id).held_by = Some(ordered.order.holder());
                then
            }
            OperatorVerb::Release => self.has_state(id, EntryState::Held, Disposition::Released),
            OperatorVerb::Retry | OperatorVerb::Expire => self.reopened(id),
            OperatorVerb::Route => {
                self.spool.with(id).assigned_route = Some(ordered.order.route().to_owned());
                Disposition::Routed
            }
            OperatorVerb::Delete => {
                assert!(ordered.order.deletion().is_ok());
                self.spool.remove(id);
                Disposition::Removed
            }
        }
    }

    fn has_state(&mut self, id: QueueId, state: EntryState, then: Disposition) -> Disposition {
        let stored = self.spool.with(id);
        stored.marks.set_state(state);
        stored.held_by = None;
        then
    }

    fn reopened(&mut self, id: QueueId) -> Disposition {
        let dead = self.spool.with(id).fates.iter_mut().filter(|fate| **fate == Fate::Dead);
        dead.for_each(|fate| *fate = Fate::Open);
        self.has_state(id, EntryState::Held, Disposition::Released)
    }

    fn expire(&mut self, ordered: &OrderedMessage) {
        let id = ordered.order.id();
        let limits = PartLimits { recipients: 50, domains: None };
        let OrderedMessage { member, patience_used, .. } = *ordered;
        let taken = Taken { id, member, patience_used, limits };
        let routes = self.set_up.policy.routes.clone();
        let mut message =
            OnSpool { elsewhere: BTreeSet::new(), ..self.spool.read(id, RelayPlace(0), &routes) };
        ordered.order.open_dead(&mut message.ledger);
        let overseers = &self.set_up.overseers;
        self.returning.insert(id, returning(&message.envelope, message.ledger.open(), overseers));
        let told = message.envelope.reverse_path.clone();
        let attempt = Attempt::new(taken, message, told, self.now);
        let said = AttemptResult::returned(&attempt);
        self.log.extend(said.lines(&attempt).map(|line| line.to_string()));
        self.settle(Settling::of_result(attempt, said));
    }
}
