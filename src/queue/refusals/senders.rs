//! The senders whose mail the relay does not take until an operator acts: their messages are held, and one is tried again
//! from time to time.
//!
//! Promises:
//! 1. While mail of a sender is held, one of its messages is tried again at each [`PROBE_PAUSE`], whatever their number.
//! 2. When the relay takes a message of the sender, all that is held of it is tried at once.
//!
//! After a restart nothing is known here: every held message is tried, and what is refused again is held again.
//!
//! Pure: time is an argument. Not here: which refusals are meant (`relay/reply_rules.rs`), holding (`settlement.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use super::super::clock::later;
use crate::envelope::ReversePath;
use crate::queue_id::QueueId;

/// The time between two tries, where neither the rule nor the reply says another.
const PROBE_PAUSE: Duration = Duration::from_secs(60 * 60);

/// The senders whose mail is held at one relay.
#[derive(Debug, Default)]
pub(in crate::queue) struct HeldSenders {
    by_path: BTreeMap<String, HeldSender>,
    /// The sender of each of their messages.
    path_of: BTreeMap<QueueId, String>,
}

#[derive(Debug)]
struct HeldSender {
    messages: BTreeSet<QueueId>,
    probe_at: Timestamp,
    pause: Duration,
}

impl HeldSenders {
    /// Takes in that the message `id` of the sender `from` is held. Returns the time until one is tried again, if no mail
    /// of this sender was held before.
    pub(in crate::queue) fn held(
        &mut self,
        id: QueueId,
        from: &ReversePath,
        now: Timestamp,
        pause: Option<Duration>,
    ) -> Option<Duration> {
        let (path, pause) = (from.to_string(), pause.unwrap_or(PROBE_PAUSE));
        self.path_of.insert(id, path.clone());
        let is_new = !self.by_path.contains_key(&path);
        let probe_at = later(now, pause);
        let sender = HeldSender { messages: BTreeSet::new(), probe_at, pause };
        self.by_path.entry(path).or_insert(sender).messages.insert(id);
        is_new.then_some(pause)
    }

    /// Takes in that the relay has taken a message of `from`. Returns the messages that are to be tried for it.
    pub(in crate::queue) fn taken(&mut self, from: &ReversePath) -> BTreeSet<QueueId> {
        if self.by_path.is_empty() {
            return BTreeSet::new();
        }
        let sender = self.by_path.remove(&from.to_string());
        let messages = sender.map(|sender| sender.messages).unwrap_or_default();
        messages.iter().for_each(|id| _ = self.path_of.remove(id));
        messages
    }

    /// Returns a message of each sender whose next try is due.
    pub(in crate::queue) fn due(&mut self, now: Timestamp) -> Vec<QueueId> {
        let due = self.by_path.values_mut().filter(|sender| sender.probe_at <= now);
        due.filter_map(|sender| {
            sender.probe_at = later(now, sender.pause);
            sender.messages.first().copied()
        })
        .collect()
    }

    /// Returns when the next try is due; `None` if no mail is held so.
    pub(in crate::queue) fn next_due(&self) -> Option<Timestamp> {
        self.by_path.values().map(|sender| sender.probe_at).min()
    }

    /// Forgets a message that has left the queue.
    pub(in crate::queue) fn forget(&mut self, id: QueueId) {
        let Some(path) = self.path_of.remove(&id) else { return };
        if let Some(sender) = self.by_path.get_mut(&path) {
            sender.messages.remove(&id);
            if sender.messages.is_empty() {
                self.by_path.remove(&path);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::Address;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn id(raw: u64) -> QueueId {
        QueueId::from_raw(raw)
    }

    fn from(address: &str) -> ReversePath {
        ReversePath::Mailbox(Address::parse(address).unwrap())
    }

    #[test]
    fn promise_1_one_message_of_a_sender_is_tried_each_hour() {
        let mut senders = HeldSenders::default();
        assert_eq!(senders.held(id(1), &from("app@x.example"), at(0), None), Some(PROBE_PAUSE));
        for raw in 2..100 {
            assert_eq!(senders.held(id(raw), &from("app@x.example"), at(1), None), None, "said once");
        }
        let minute = Duration::from_secs(60);
        assert_eq!(senders.held(id(200), &from("ann@x.example"), at(0), Some(minute)), Some(minute));
        assert_eq!((senders.due(at(59)), senders.due(at(60))), (vec![], vec![id(200)]));
        assert_eq!(senders.next_due(), Some(at(120)));
        senders.forget(id(200));
        assert_eq!(senders.due(at(3600)), [id(1)]);
        assert_eq!(senders.due(at(3600)), [], "one");
        senders.forget(id(1));
        assert_eq!(senders.due(at(7200)), [id(2)], "the next one, if that has left the queue");
    }

    #[test]
    fn promise_2_when_one_is_taken_all_of_this_sender_are_tried() {
        let mut senders = HeldSenders::default();
        assert!(senders.taken(&from("app@x.example")).is_empty());
        senders.held(id(1), &from("app@x.example"), at(0), None);
        senders.held(id(2), &from("app@x.example"), at(0), None);
        senders.held(id(3), &ReversePath::Null, at(0), None);
        assert!(senders.taken(&from("ann@x.example")).is_empty());
        assert_eq!(senders.taken(&from("app@x.example")), BTreeSet::from([id(1), id(2)]));
        assert_eq!((senders.due(at(9999)), senders.path_of.len()), (vec![id(3)], 1));
        assert_eq!(senders.held(id(1), &from("app@x.example"), at(0), None), Some(PROBE_PAUSE), "said again");
    }
}
