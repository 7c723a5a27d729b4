//! Suspects: whether trouble after the login is the fault of the relay, or of the message that met it.
//!
//! Promises: such trouble may be the relay's fault only if two messages meet it with no transaction answered in
//! between. A message that meets it alone, or again after the relay has answered others, is at fault itself. If a few
//! messages have met it and nothing else was tried, nobody can tell: these few wait, and others are tried.
//!
//! Invariants:
//! 1. One message, however often it meets trouble, never makes it the relay's fault.
//! 2. While the relay answers no transaction, no message's losses are counted beyond the first, unless it was alone.
//! 3. At most [`MOST`] messages are charged with one outage; the trouble of more messages is the relay's fault.
//!
//! Pure. Not here: what happens to a lost message (`schedule.rs`), the pause of a relay (`breaker.rs`).

use crate::queue_id::QueueId;

/// The number of messages that may be taken for a few bad ones among good ones. An outage meets one message after the
/// other, and must not put more than these behind the others. They come from all over the queue (`soundings.rs`), so
/// that many bad messages in one place do not look like an outage.
const MOST: usize = 8;

/// The messages that have met trouble since the relay last answered a transaction.
#[derive(Debug, Default)]
pub struct Suspects(Vec<QueueId>);

/// The one at fault for trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// It is the fault of the message that met it, and the relay is not paused.
    Message,
    /// It is the fault of a few messages, or of the relay, which has answered nothing else since.
    Suspects {
        /// True if this message has met the trouble before.
        again: bool,
    },
    /// It is the fault of the relay, which treats all messages so.
    Relay,
}

impl Suspects {
    /// Takes in that a message with this number of `losses` has met trouble. Returns whose fault that is, and the
    /// number of losses of the message from now on.
    pub fn lost(&mut self, id: QueueId, losses: u8) -> (Blame, u8) {
        let is_suspect = self.0.contains(&id);
        if !is_suspect && losses > 0 {
            // The relay has answered others since then.
            return (Blame::Message, losses.saturating_add(1));
        }
        if !is_suspect && self.0.len() < MOST {
            self.0.push(id);
        }
        if self.0 == [id] {
            return (Blame::Message, losses.saturating_add(1));
        }
        if self.0.contains(&id) {
            (Blame::Suspects { again: is_suspect }, losses.max(1))
        } else {
            (Blame::Relay, losses)
        }
    }

    /// Takes in that the relay has answered a transaction, whatever it said: earlier trouble is no sign of an outage
    /// any more.
    pub fn relay_answered(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(raw: u64) -> QueueId {
        QueueId::from_raw(raw)
    }

    #[test]
    fn invariant_1_one_message_alone_is_always_to_blame() {
        let mut suspects = Suspects::default();
        for losses in 0..20 {
            assert_eq!(suspects.lost(id(1), losses), (Blame::Message, losses + 1));
        }
        assert_eq!(suspects.lost(id(1), u8::MAX), (Blame::Message, u8::MAX));
    }

    #[test]
    fn from_the_second_message_on_they_are_suspects_and_from_the_ninth_on_it_is_the_relay() {
        let mut suspects = Suspects::default();
        assert_eq!(suspects.lost(id(1), 0), (Blame::Message, 1));
        for raw in 2..=MOST as u64 {
            assert_eq!(suspects.lost(id(raw), 0), (Blame::Suspects { again: false }, 1));
            assert_eq!(suspects.lost(id(1), 1), (Blame::Suspects { again: true }, 1));
        }
        assert_eq!(suspects.lost(id(100), 0), (Blame::Relay, 0));
    }

    #[test]
    fn an_answer_in_between_makes_it_each_ones_own() {
        let mut suspects = Suspects::default();
        for raw in 1..50 {
            assert_eq!(suspects.lost(id(raw), 0), (Blame::Message, 1));
            suspects.relay_answered();
            assert_eq!(suspects.lost(id(raw), 1), (Blame::Message, 2));
        }
    }

    #[test]
    fn a_message_that_was_lost_before_the_answer_is_no_witness_against_the_relay() {
        let mut suspects = Suspects::default();
        suspects.lost(id(1), 0);
        suspects.relay_answered();
        assert_eq!(suspects.lost(id(2), 0), (Blame::Message, 1));
        assert_eq!(suspects.lost(id(1), 1), (Blame::Message, 2));
        assert_eq!(suspects.lost(id(2), 1), (Blame::Message, 2), "still alone");
    }

    #[test]
    fn invariants_2_and_3_an_outage_charges_few_and_each_once() {
        let mut suspects = Suspects::default();
        let mut losses = [0; 20];
        for round in 0..5 {
            for (raw, losses) in (0..).zip(&mut losses) {
                let (blame, charged) = suspects.lost(id(raw), *losses);
                let expected = match raw as usize {
                    0 if round == 0 => Blame::Message,
                    ..MOST => Blame::Suspects { again: round > 0 },
                    _ => Blame::Relay,
                };
                assert_eq!(blame, expected, "{round} {raw}");
                *losses = charged;
            }
        }
        assert_eq!(losses[..MOST], [1; MOST]);
        assert_eq!(losses[MOST..], [0; 20 - MOST]);
    }
}
