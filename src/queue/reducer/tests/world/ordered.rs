//! Orders of operators, carried out on the spool in memory by the same rules as in a daemon (`owner/ordered.rs`).

use std::collections::BTreeSet;

use super::World;
use crate::queue::attempt::{Attempt, AttemptResult, OnSpool};
use crate::queue::orders::{OrderFailure, OrderResult, OrderedMessage};
use crate::queue::part_limits::PartLimits;
use crate::queue::reducer::{Disposition, Event};
use crate::queue::settlement::Settling;
use crate::queue::{RelayPlace, Standing, Taken};
use crate::queue_id::QueueId;
use crate::spool::{CommitError, EntryState, Fate, Operator, OperatorOrder, OperatorVerb};

impl World {
    /// An operator orders this about a message. Returns the answer, if there is one already.
    pub(in crate::queue::reducer::tests) fn order(
        &mut self,
        verb: OperatorVerb,
        id: QueueId,
    ) -> Option<OrderResult> {
        let by = Operator { uid: 0, name: Some("root".into()) };
        let orders = vec![OperatorOrder::permitted(id, verb, by)];
        self.tell(Event::Ordered { ticket: 1, orders });
        let place = self.order_answers.iter().position(|(answered, _)| *answered == id)?;
        Some(self.order_answers.remove(place).1)
    }

    /// Carries out an order, as far as the spool takes it.
    pub(super) fn carry_out_order(&mut self, ordered: OrderedMessage) {
        let id = ordered.order.id();
        if !self.spool.takes_record() {
            let disposition = Disposition::Unchanged(OrderFailure::Unrecorded(CommitError::Full));
            return self.happens_next(Event::Became { id, disposition });
        }
        let disposition = match ordered.order.verb() {
            OperatorVerb::Hold => self.has_state(id, EntryState::OnHold, Disposition::OnHold),
            OperatorVerb::Release => self.has_state(id, EntryState::Held, Disposition::Released),
            OperatorVerb::Retry => self.reopened(id),
            OperatorVerb::Expire => return self.expire(&ordered),
            OperatorVerb::Delete => {
                assert!(ordered.order.deletion().is_ok());
                self.spool.remove(id);
                Disposition::Removed
            }
        };
        self.happens_next(Event::Became { id, disposition });
    }

    fn has_state(&mut self, id: QueueId, state: EntryState, then: Disposition) -> Disposition {
        self.spool.with(id).marks.set_state(state);
        then
    }

    fn reopened(&mut self, id: QueueId) -> Disposition {
        let dead = self.spool.with(id).fates.iter_mut().filter(|fate| **fate == Fate::Dead);
        dead.for_each(|fate| *fate = Fate::Open);
        self.has_state(id, EntryState::Held, Disposition::Released)
    }

    fn expire(&mut self, ordered: &OrderedMessage) {
        let id = ordered.order.id();
        if ordered.was == Standing::Dead {
            self.reopened(id);
        }
        let limits = PartLimits { recipients: 50, domains: None };
        let OrderedMessage { member, patience_used, .. } = *ordered;
        let taken = Taken { id, member, patience_used, limits };
        let routes = self.set_up.policy.routes.clone();
        let message = OnSpool { elsewhere: BTreeSet::new(), ..self.spool.read(id, RelayPlace(0), &routes) };
        let told = message.envelope.reverse_path.clone();
        let attempt = Attempt::new(taken, message, told, self.now);
        let said = AttemptResult::returned(&attempt);
        self.log.extend(said.lines(&attempt).map(|line| line.to_string()));
        self.settle(Settling::of_result(attempt, said));
    }
}
