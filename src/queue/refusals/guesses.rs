//! Refusals that a rule for any relay takes for a matter of the relay, and that may be the message's own all the same.
//!
//! Promises: a message that gets such a reply again, after the relay has taken others, is charged with it, so that it
//! keeps no other mail waiting. Until two messages have got such a reply with none taken in between, the relay is tried
//! again soon, so that other mail may show whether it is the message.
//!
//! Pure. Not here: the rules (`relay/reply_rules/general.rs`).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::queue_id::QueueId;

/// The first pause while a single message got such a reply; it doubles each time.
const SOON: Duration = Duration::from_secs(60);
/// The longest such pause.
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// The messages that got such a reply.
#[derive(Debug, Default)]
pub(in crate::queue) struct Guesses {
    /// Each message, with the number of messages that the relay had taken by then.
    told: BTreeMap<QueueId, u64>,
    /// The messages that got such a reply since the relay has taken one.
    since_taken: SinceTaken,
    taken: u64,
}

/// The messages that got such a reply since the relay has taken one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum SinceTaken {
    /// No message did.
    #[default]
    None,
    /// Only this one did, so many times.
    One { id: QueueId, times: u32 },
    /// Several did, so that it is not one message's own.
    Several,
}

/// The consequence of such a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::queue) enum Guess {
    /// It is about the message.
    Own,
    /// It is about the relay; with a time, it may be about the message, and the relay is tried again after it.
    OfRelay(Option<Duration>),
}

impl Guesses {
    /// Takes in that the message `id` got such a reply.
    pub(in crate::queue) fn told(&mut self, id: QueueId) -> Guess {
        let before = self.told.insert(id, self.taken);
        if before.is_some_and(|before| before < self.taken) {
            return Guess::Own;
        }
        self.since_taken = match self.since_taken {
            SinceTaken::None => SinceTaken::One { id, times: 0 },
            SinceTaken::One { id: only, times } if only == id => SinceTaken::One { id, times: times + 1 },
            SinceTaken::One { .. } | SinceTaken::Several => SinceTaken::Several,
        };
        match self.since_taken {
            SinceTaken::One { times, .. } => {
                Guess::OfRelay(Some(LONGEST.min(SOON.saturating_mul(1 << times.min(10)))))
            }
            SinceTaken::None | SinceTaken::Several => Guess::OfRelay(None),
        }
    }

    /// Takes in that the relay has taken a message.
    pub(in crate::queue) fn taken(&mut self) {
        (self.taken, self.since_taken) = (self.taken + 1, SinceTaken::None);
    }

    /// Forgets a message that has left the queue.
    pub(in crate::queue) fn forget(&mut self, id: QueueId) {
        self.told.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(raw: u64) -> QueueId {
        QueueId::from_raw(raw)
    }

    #[test]
    fn a_message_that_is_refused_while_others_are_taken_is_charged() {
        let mut guesses = Guesses::default();
        assert_eq!(guesses.told(id(1)), Guess::OfRelay(Some(SOON)));
        assert_eq!(guesses.told(id(1)), Guess::OfRelay(Some(SOON * 2)), "none was taken");
        assert_eq!(guesses.told(id(2)), Guess::OfRelay(None), "two messages confirm it");
        assert_eq!(guesses.told(id(1)), Guess::OfRelay(None));
        guesses.taken();
        assert_eq!(guesses.told(id(1)), Guess::Own);
        assert_eq!(guesses.told(id(3)), Guess::OfRelay(Some(SOON)));
        guesses.forget(id(2));
        assert_eq!(guesses.told(id(2)), Guess::OfRelay(None), "it may be another one of that name");
    }

    #[test]
    fn one_message_alone_is_tried_ever_more_seldom() {
        let mut guesses = Guesses::default();
        let pauses = (0..100).map(|_| guesses.told(id(1)));
        assert_eq!(pauses.last(), Some(Guess::OfRelay(Some(LONGEST))));
    }
}
