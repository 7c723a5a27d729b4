//! Messages that were refused for want of a login, where none is configured: whether it is the relay's trouble or theirs.
//!
//! Promises:
//! 1. A message is refused so for itself only if the relay has treated others otherwise: it took another recipient in
//!    the same transaction, or a whole message over a connection begun after this refusal. What goes through over an
//!    older connection may have been let in before the relay began to ask for a login.
//! 2. While it takes none, no message is refused so for itself, however often it is asked.
//! 3. The first few wait, and others are tried beside them; where more are refused so it is everybody.
//! 4. Once one was found to be refused so for itself, another alone waits by itself.
//!
//! What is waited for is not known after a restart: it begins anew, with no more than a pause.
//!
//! Pure. Not here: which refusals are meant (`refusals.rs`), how long is waited (`owner/judge.rs`, `breaker.rs`).

use std::collections::BTreeMap;

use super::super::ConnectionId;
use crate::queue_id::QueueId;

/// From so many on that wait, with none taken, it is everybody.
const MOST: usize = 8;

/// What is known of such refusals.
#[derive(Debug, Default)]
pub(in crate::queue) struct WantOfLogin {
    waiting: BTreeMap<QueueId, Waiting>,
    /// A message was refused so while the relay took others.
    has_met_odd: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    /// For what the relay does over a connection of this name or a later one.
    ForOthers { since: ConnectionId },
    /// For its last try: the relay has taken another.
    ForItself,
}

/// Whose such a refusal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::queue) enum Want {
    /// The message's own.
    Own,
    /// The message waits, and nobody else.
    Apart,
    /// A few messages wait, and others are tried beside them.
    Few {
        /// This one waited already.
        again: bool,
    },
    /// Everybody waits.
    All,
}

impl WantOfLogin {
    /// The message `id` was refused so; in `company` of recipients that were taken. Connections from `next` on are begun
    /// later.
    pub(in crate::queue) fn refused(&mut self, id: QueueId, company: bool, next: ConnectionId) -> Want {
        let before = self.waiting.remove(&id);
        if company || before == Some(Waiting::ForItself) {
            self.has_met_odd = true;
            return Want::Own;
        }
        let others = self.waiting.values().filter(|waiting| **waiting != Waiting::ForItself).count();
        if others >= MOST {
            return Want::All;
        }
        self.waiting.insert(id, Waiting::ForOthers { since: next });
        match before {
            None if others == 0 && self.has_met_odd => Want::Apart,
            _ => Want::Few { again: before.is_some() },
        }
    }

    /// The relay has taken a message over this connection. Gives those that are to be tried once more for it.
    pub(in crate::queue) fn taken(&mut self, connection: ConnectionId) -> Vec<QueueId> {
        let mut due = Vec::new();
        for (id, waiting) in &mut self.waiting {
            if matches!(waiting, Waiting::ForOthers { since } if *since <= connection) {
                *waiting = Waiting::ForItself;
                due.push(*id);
            }
        }
        due
    }

    /// Whether the message waits for what the relay does with others.
    pub(in crate::queue) fn waits(&self, id: QueueId) -> bool {
        matches!(self.waiting.get(&id), Some(Waiting::ForOthers { .. }))
    }

    /// The message has had its end, or an answer of another kind.
    pub(in crate::queue) fn forget(&mut self, id: QueueId) {
        self.waiting.remove(&id);
    }

    /// Begins anew. Gives those that waited.
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
    fn promise_1_another_recipient_that_was_taken_makes_it_the_message_s_own() {
        let mut want = WantOfLogin::default();
        assert_eq!(want.refused(id(1), true, 1), Want::Own);
        assert!(!want.waits(id(1)));
    }

    #[test]
    fn promise_1_only_what_a_later_connection_takes_tells_of_others() {
        let mut want = WantOfLogin::default();
        assert_eq!(want.refused(id(1), false, 5), Want::Few { again: false });
        assert_eq!(want.taken(4), [], "it may have been let in before");
        assert_eq!(want.refused(id(1), false, 6), Want::Few { again: true });
        assert_eq!(want.taken(5), [], "of before the second refusal");
        assert!(want.waits(id(1)));
        assert_eq!(want.taken(6), [id(1)]);
        assert!(!want.waits(id(1)));
        assert_eq!(want.taken(7), [], "told once");
        assert_eq!(want.refused(id(1), false, 8), Want::Own);
    }

    #[test]
    fn promise_2_while_none_is_taken_no_message_has_a_refusal_of_its_own() {
        let mut want = WantOfLogin::default();
        for round in 0..1000 {
            let refused = want.refused(id(round % 13), false, round);
            assert_ne!(refused, Want::Own, "{round}");
            assert_ne!(refused, Want::Apart, "{round}");
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
        assert_eq!(want.refused(id(1), true, 1), Want::Own);
        assert_eq!(want.refused(id(2), false, 2), Want::Apart);
        assert_eq!(want.refused(id(2), false, 3), Want::Few { again: true }, "nothing was taken since");
        assert_eq!(want.refused(id(3), false, 4), Want::Few { again: false }, "two at once");
        assert_eq!(want.reset(), [id(2), id(3)]);
        assert_eq!(want.refused(id(4), false, 5), Want::Few { again: false }, "nothing is known of odd ones");
    }

    #[test]
    fn what_had_another_answer_begins_anew() {
        let mut want = WantOfLogin::default();
        want.refused(id(1), false, 1);
        want.taken(1);
        want.forget(id(1));
        assert_eq!(want.refused(id(1), false, 2), Want::Few { again: false });
    }
}
