//! Refusals that a rule takes for a matter of the relay, and that may be the message's own all the same: a rule for any
//! relay may misread words, and a provider's may be set off by one sender, or by one kind of recipient.
//!
//! Promises:
//! 1. A message that gets such a reply again, after the relay has taken others and while it refuses no other, is charged
//!    with it, and keeps no other mail waiting from then on. Between two messages that are taken at most one is charged
//!    anew, so that a quota which lets one go now and then still pauses the relay.
//! 2. While others are ready, none of the first [`FEW`] messages that got such a reply is the one with which the relay is
//!    tried again.
//! 3. A message that gets a reply about the pace is charged with it only after [`SPARED`] of them: a relay that takes so
//!    many in a second refuses one again and again while it takes others. Until then, and while no other message gets one,
//!    its second reply and those after it slow nobody else down, if others were taken in between.
//! 4. Where only words say so that any relay might use otherwise, the relay is tried at once with others until more than
//!    these few got such a reply with none taken in between. If there are no others, they are tried ever more seldom.
//!
//! So each message whose own fault it is costs other mail one pause: of a moment if the rule is a guess, else of the
//! rule's length. And a quota costs some refusals more, until it is known for one.
//!
//! Pure. Not here: the rules (`relay/reply_rules.rs`).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::queue_id::QueueId;

/// The number of messages that may be bad ones among good ones.
const FEW: usize = 8;
/// The number of replies about the pace that a message gets before it may be charged with one.
const SPARED: u8 = 10;
/// The pause before others are tried.
const MOMENT: Duration = Duration::from_secs(1);
/// The first pause while no message but a few that got such a reply is there; it doubles each time.
const SOON: Duration = Duration::from_secs(60);
/// The longest such pause.
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// The messages that got such a reply.
#[derive(Debug, Default)]
pub(in crate::queue) struct Guesses {
    told: BTreeMap<QueueId, Told>,
    /// The first messages that got such a reply since the relay has taken one, at most [`FEW`].
    apart: Vec<QueueId>,
    /// True if more than these have got it.
    is_confirmed: bool,
    /// The number of times that one of them got it again.
    again: u32,
    /// True if a message was charged since the relay has taken one.
    has_charged: bool,
    taken: u64,
}

/// A message that got such a reply.
#[derive(Clone, Copy, Debug)]
struct Told {
    /// The number of messages that the relay had taken by then.
    taken: u64,
    times: u8,
    is_charged: bool,
}

/// The consequence of such a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::queue) enum Guess {
    /// It is about the message.
    Own,
    /// It is about the relay.
    OfRelay {
        /// The time after which the relay is tried again, since it may be about the message; `None` if that of the rule
        /// counts.
        soon: Option<Duration>,
        /// True if the message waits apart from others, so that one of these is tried before it.
        apart: bool,
        /// True if no other message got such a reply since the relay has taken one.
        alone: bool,
        /// True if the relay has taken another message since this one got such a reply before.
        again: bool,
    },
}

impl Guesses {
    /// Takes in that the message `id` got such a reply, where the rule is a guess or not, and about the pace or not.
    pub(in crate::queue) fn told(&mut self, id: QueueId, is_guess: bool, is_pace: bool) -> Guess {
        let before = self.told.get(&id).copied();
        let is_charged = before.is_some_and(|before| before.is_charged);
        let is_spared = |before: Told| is_pace && before.times < SPARED;
        let is_own =
            is_charged || before.is_some_and(|before| !is_spared(before) && self.shows_own(id, before));
        let times = before.map_or(1, |before| before.times.saturating_add(1));
        self.told.insert(id, Told { taken: self.taken, times, is_charged: is_own });
        if is_own {
            self.has_charged |= !is_charged;
            return Guess::Own;
        }
        let is_again = self.is_apart(id);
        self.again += u32::from(is_again);
        match (is_again, self.apart.len() < FEW) {
            (true, _) => {}
            (false, true) => self.apart.push(id),
            (false, false) => self.is_confirmed = true,
        }
        let alone = !self.is_confirmed && self.apart.iter().all(|other| *other == id);
        let again = before.is_some_and(|before| before.taken < self.taken);
        let soon = (is_guess && !self.is_confirmed).then(|| match self.again.checked_sub(1) {
            Some(times) if is_again => LONGEST.min(SOON.saturating_mul(1 << times.min(10))),
            _ => MOMENT,
        });
        Guess::OfRelay { soon, apart: self.is_apart(id), alone, again }
    }

    /// Returns whether it is about the message that the relay refuses it again: it has taken others, and refuses no other.
    fn shows_own(&self, id: QueueId, before: Told) -> bool {
        before.taken < self.taken && !self.has_charged && self.apart.iter().all(|other| *other == id)
    }

    /// Returns whether the message waits apart from others for such a reply.
    pub(in crate::queue) fn is_apart(&self, id: QueueId) -> bool {
        self.apart.contains(&id)
    }

    /// Takes in that the relay has taken a message. Returns the messages that need not wait apart any more.
    pub(in crate::queue) fn taken(&mut self) -> Vec<QueueId> {
        (self.taken, self.again, self.is_confirmed, self.has_charged) = (self.taken + 1, 0, false, false);
        std::mem::take(&mut self.apart)
    }

    /// Forgets a message that has left the queue.
    pub(in crate::queue) fn forget(&mut self, id: QueueId) {
        self.told.remove(&id);
        self.apart.retain(|other| *other != id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(raw: u64) -> QueueId {
        QueueId::from_raw(raw)
    }

    /// Returns the pause of a message that waits apart.
    fn apart(guess: Guess) -> Option<Duration> {
        match guess {
            Guess::OfRelay { soon, apart: true, .. } => soon,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_message_that_is_refused_while_others_are_taken_is_charged() {
        for is_guess in [true, false] {
            let mut guesses = Guesses::default();
            guesses.told(id(1), is_guess, false);
            assert_ne!(guesses.told(id(1), is_guess, false), Guess::Own, "none was taken");
            assert_eq!(guesses.taken(), [id(1)]);
            assert_eq!(guesses.told(id(1), is_guess, false), Guess::Own);
            assert_eq!(guesses.told(id(1), is_guess, false), Guess::Own, "it stops nobody any more");
            guesses.forget(id(1));
            guesses.taken();
            assert_ne!(
                guesses.told(id(1), is_guess, false),
                Guess::Own,
                "it may be another one of that name"
            );
        }
    }

    /// A quota of the last day lets one message go now and then, and refuses the others again.
    #[test]
    fn a_message_that_is_refused_beside_others_is_not_at_fault() {
        let mut guesses = Guesses::default();
        (1..5).for_each(|raw| assert_eq!(apart(guesses.told(id(raw), false, false)), None));
        guesses.taken();
        assert_eq!(guesses.told(id(1), false, false), Guess::Own, "the first one looks so");
        assert_eq!(apart(guesses.told(id(2), false, false)), None, "and no other");
        assert_eq!(apart(guesses.told(id(3), false, false)), None);
    }

    #[test]
    fn a_guess_is_believed_when_more_than_a_few_messages_confirm_it() {
        let mut guesses = Guesses::default();
        for raw in 1..=FEW as u64 {
            assert_eq!(apart(guesses.told(id(raw), true, false)), Some(MOMENT));
        }
        let confirmed = Guess::OfRelay { soon: None, apart: false, alone: false, again: false };
        assert_eq!(guesses.told(id(100), true, false), confirmed);
        assert_eq!(apart(guesses.told(id(1), true, false)), None);
        guesses.taken();
        assert_eq!(apart(guesses.told(id(101), true, false)), Some(MOMENT), "it begins anew");
    }

    /// Of thirty messages to a relay that takes five in a second, eight were charged, and waited for a minute.
    #[test]
    fn a_message_that_meets_the_pace_of_a_relay_is_charged_after_ten_times() {
        let mut guesses = Guesses::default();
        for time in 1..=SPARED {
            assert_ne!(guesses.told(id(1), true, true), Guess::Own, "{time}");
            guesses.taken();
        }
        assert_eq!(guesses.told(id(1), true, true), Guess::Own);
    }

    #[test]
    fn only_the_first_ones_wait_apart() {
        let mut guesses = Guesses::default();
        (1..=FEW as u64).for_each(|raw| _ = guesses.told(id(raw), false, false));
        let last = guesses.told(id(100), false, false);
        assert_eq!(last, Guess::OfRelay { soon: None, apart: false, alone: false, again: false });
    }

    /// Returns whether a reply about the pace is about this message alone, and repeated although others were taken.
    fn is_of_one(guess: Guess) -> bool {
        matches!(guess, Guess::OfRelay { alone: true, again: true, .. })
    }

    #[test]
    fn promise_3_only_the_first_reply_about_the_pace_slows_others_where_one_message_alone_gets_it() {
        let mut guesses = Guesses::default();
        assert!(!is_of_one(guesses.told(id(1), true, true)), "the first");
        assert!(!is_of_one(guesses.told(id(1), true, true)), "none was taken since");
        guesses.taken();
        assert!(is_of_one(guesses.told(id(1), true, true)));
        guesses.told(id(2), true, true);
        guesses.told(id(1), true, true);
        assert!(!is_of_one(guesses.told(id(1), true, true)), "another one got it, too");
        guesses.taken();
        assert!(is_of_one(guesses.told(id(2), true, true)));
    }

    #[test]
    fn one_message_alone_is_tried_ever_more_seldom() {
        let mut guesses = Guesses::default();
        let pauses: Vec<_> = (0..100).map(|_| apart(guesses.told(id(1), true, false))).collect();
        assert_eq!(pauses[..3], [MOMENT, SOON, SOON * 2].map(Some));
        assert_eq!(pauses[99], Some(LONGEST));
    }
}
