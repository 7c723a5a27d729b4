//! Messages that were refused for want of a login, where none is configured: whether they wait for the relay, or by
//! themselves.
//!
//! A relay may be several nodes behind one name, some of which ask for a login, and it is chance which of them a
//! connection reaches. So no such refusal is ever the end of a message.
//!
//! Promises:
//! 1. A message is charged with such a refusal only if the relay has treated others differently: it took another
//!    recipient in the same transaction, or a whole message over a connection that was begun after the refusal before.
//!    An older connection may have been let in before the relay began to ask for a login.
//! 2. While the relay takes no message, none is charged with such a refusal, however often it is tried.
//! 3. The first few messages wait, and others are tried beside them; if more are refused so, everybody waits.
//! 4. Once a message was charged, another one that is alone waits by itself; and one that was charged stops nobody any
//!    more.
//! 5. A message that was not charged yet is tried again as soon as the relay has taken another; one that was charged,
//!    by its age.
//!
//! This is not known after a restart: it begins again, and costs no more than a pause.
//!
//! Pure. Not here: which refusals are meant (`refusals.rs`), the pauses (`reducer/judge.rs`, `breaker.rs`).

use std::collections::{BTreeMap, BTreeSet};

use super::super::ConnectionId;
use crate::queue_id::QueueId;

/// The number of waiting messages from which on, if the relay takes no other, it asks everybody for a login.
const MOST: usize = 8;

/// The queue's knowledge of such refusals. No call looks at more than [`MOST`] of the messages, however many wait.
#[derive(Debug, Default)]
pub(in crate::queue) struct WantOfLogin {
    waiting: BTreeMap<QueueId, Waiting>,
    /// Those of `waiting` that wait for the relay: they were not charged, and it has taken no other since. At most
    /// [`MOST`].
    for_relay: BTreeSet<QueueId>,
    /// The newest connection over which the relay has taken a message.
    taken_over: Option<ConnectionId>,
    /// True if a message was refused so while the relay took others.
    has_met_odd: bool,
}

/// A message that was refused so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Waiting {
    /// The first connection that was begun after the refusal: what the relay takes over this one or a later one shows
    /// how it treats others.
    since: ConnectionId,
    /// True if the message was charged with such a refusal.
    is_charged: bool,
}

/// The consequence of such a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::queue) enum Want {
    /// The message is deferred by its age, and its patience runs.
    Charged,
    /// The message waits, and nobody else.
    Apart,
    /// A few messages wait, and others are tried beside them.
    Few {
        /// True if this message has waited already.
        again: bool,
    },
    /// Every message to the relay waits.
    All,
}

impl WantOfLogin {
    /// Takes in that the message `id` was refused so, in `company` of recipients that were taken. `next` is the first
    /// connection that will be begun after this refusal. Returns the consequence.
    pub(in crate::queue) fn refused(&mut self, id: QueueId, company: bool, next: ConnectionId) -> Want {
        let before = self.waiting.get(&id).copied();
        let others_taken = before.is_some_and(|before| self.has_taken_since(before));
        self.forget(id);
        let waiting = Waiting { since: next, is_charged: true };
        if company || others_taken {
            self.has_met_odd = true;
            self.waiting.insert(id, waiting);
            return Want::Charged;
        }
        if before.is_some_and(|before| before.is_charged) {
            self.waiting.insert(id, waiting);
            return Want::Apart;
        }
        let others = self.for_relay.len();
        if others >= MOST {
            return Want::All;
        }
        self.waiting.insert(id, Waiting { is_charged: false, ..waiting });
        self.for_relay.insert(id);
        match before {
            None if others == 0 && self.has_met_odd => Want::Apart,
            _ => Want::Few { again: before.is_some() },
        }
    }

    /// Takes in that the relay has taken a message over this connection. Returns the messages that are to be tried at
    /// once for it.
    pub(in crate::queue) fn taken(&mut self, connection: ConnectionId) -> Vec<QueueId> {
        self.taken_over = self.taken_over.max(Some(connection));
        let due = self.for_relay.iter().copied().filter(|id| !self.waits(*id)).collect::<Vec<_>>();
        self.for_relay.retain(|id| !due.contains(id));
        due
    }

    /// Returns whether some messages wait for the relay since later than this connection was begun. If so, the
    /// connection may have been let in before the relay began to ask for a login, and its success shows nothing
    /// (promise 1).
    pub(in crate::queue) fn shows_nothing(&self, connection: ConnectionId) -> bool {
        let mut waiting = self.for_relay.iter().filter_map(|id| self.waiting.get(id));
        waiting.any(|waiting| connection < waiting.since)
    }

    /// Returns whether the message waits for the relay to take another one.
    pub(in crate::queue) fn waits(&self, id: QueueId) -> bool {
        self.waiting.get(&id).is_some_and(|waiting| !self.has_taken_since(*waiting))
    }

    /// Returns whether the relay has taken another message over a connection that was begun after this refusal.
    fn has_taken_since(&self, waiting: Waiting) -> bool {
        self.taken_over.is_some_and(|newest| newest >= waiting.since)
    }

    /// Takes in that the message is deferred, for this or for another reason.
    pub(in crate::queue) fn deferred(&mut self, id: QueueId) {
        if self.waiting.get(&id).is_some_and(|waiting| !waiting.is_charged) {
            self.forget(id);
        }
    }

    /// Takes in that the message has left the queue, or is held.
    pub(in crate::queue) fn forget(&mut self, id: QueueId) {
        self.waiting.remove(&id);
        self.for_relay.remove(&id);
    }

    /// Forgets everything. Returns the messages that waited.
    pub(in crate::queue) fn reset(&mut self) -> Vec<QueueId> {
        std::mem::take(self).waiting.into_keys().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(raw: u64) -> QueueId {
        QueueId::from_raw(raw)
    }

    #[test]
    fn promise_1_a_message_is_charged_where_another_recipient_was_taken() {
        let mut want = WantOfLogin::default();
        assert_eq!(want.refused(id(1), true, 1), Want::Charged);
        assert_eq!(want.refused(id(1), true, 1), Want::Charged);
    }

    #[test]
    fn promise_1_only_what_a_later_connection_takes_tells_of_others() {
        let mut want = WantOfLogin::default();
        assert_eq!(want.refused(id(1), false, 5), Want::Few { again: false });
        assert_eq!(want.taken(4), [], "it may have been let in before");
        assert!(want.shows_nothing(4) && !want.shows_nothing(5));
        assert_eq!(want.refused(id(1), false, 6), Want::Few { again: true });
        assert_eq!(want.taken(5), [], "of before the second refusal");
        assert!(want.waits(id(1)));
        assert_eq!(want.taken(6), [id(1)]);
        assert!(!want.waits(id(1)));
        assert_eq!(want.taken(7), [], "told once");
        assert_eq!(want.refused(id(1), false, 8), Want::Charged);
    }

    #[test]
    fn promise_2_while_none_is_taken_no_message_is_charged() {
        let mut want = WantOfLogin::default();
        for round in 0..1000 {
            let refused = want.refused(id(round % 13), false, round);
            assert!(matches!(refused, Want::Few { .. } | Want::All), "{round}: {refused:?}");
        }
    }

    #[test]
    fn promise_3_more_than_a_few_are_everybody() {
        let mut want = WantOfLogin::default();
        for raw in 0..MOST as u64 {
            assert_eq!(want.refused(id(raw), false, raw), Want::Few { again: false });
        }
        assert_eq!(want.refused(id(100), false, 100), Want::All);
        assert!(!want.waits(id(100)));
        assert_eq!(want.refused(id(3), false, 101), Want::Few { again: true });
        assert_eq!(want.taken(200).len(), MOST);
        assert_eq!(
            want.refused(id(100), false, 201),
            Want::Few { again: false },
            "none of them waits any more"
        );
    }

    #[test]
    fn promise_4_after_an_odd_one_another_alone_waits_by_itself() {
        let mut want = WantOfLogin::default();
        assert_eq!(want.refused(id(1), true, 1), Want::Charged);
        assert_eq!(want.refused(id(2), false, 2), Want::Apart);
        assert_eq!(want.refused(id(2), false, 3), Want::Few { again: true }, "nothing was taken since");
        assert_eq!(want.refused(id(3), false, 4), Want::Few { again: false }, "two at once");
        assert_eq!(want.reset(), [id(1), id(2), id(3)]);
        assert_eq!(want.refused(id(4), false, 5), Want::Few { again: false }, "nothing is known of odd ones");
    }

    #[test]
    fn promises_4_and_5_one_that_was_charged_stops_nobody_and_waits_its_time() {
        let mut want = WantOfLogin::default();
        for raw in 0..20 {
            want.refused(id(raw), true, 1);
            want.deferred(id(raw));
        }
        for raw in 0..20 {
            assert_eq!(want.refused(id(raw), false, 2), Want::Apart, "nothing was taken since");
            assert!(want.waits(id(raw)));
        }
        assert_eq!(want.taken(2), []);
        assert_eq!(want.refused(id(7), false, 3), Want::Charged);
    }

    /// Each message that the relay took walked through all that waited, which may be as many as the queue holds.
    #[test]
    fn however_many_wait_few_are_looked_at() {
        let mut want = WantOfLogin::default();
        for raw in 0..1000 {
            want.refused(id(raw), raw % 2 == 0, 1);
        }
        assert_eq!((want.waiting.len(), want.for_relay.len()), (500 + MOST, MOST));
        assert_eq!(want.taken(1).len(), MOST);
        assert!(want.for_relay.is_empty() && (0..1000).all(|raw| !want.waits(id(raw))));
    }

    #[test]
    fn what_had_another_answer_begins_anew() {
        for forget in [WantOfLogin::deferred, WantOfLogin::forget] {
            let mut want = WantOfLogin::default();
            want.refused(id(1), false, 1);
            want.taken(1);
            forget(&mut want, id(1));
            assert_eq!(want.refused(id(1), false, 2), Want::Few { again: false });
        }
    }
}
