//! The senders that the relay refuses until an operator acts, and the one whose messages it refuses only now and then.
//!
//! Promises (a sender is a reverse-path):
//! 1. A message that the relay refuses for its sender waits. When the relay takes another one of the sender, it is tried once
//!    more, and if it is refused again, that is its own trouble: it goes its own way from then on, and stops nobody.
//! 2. If the relay refuses [`IN_A_ROW`] messages of a sender and takes none in between, the sender is stopped: none of its
//!    messages is given out, not even one that has just arrived (`roster.rs` holds them). Where a message had trouble of its
//!    own before, [`IN_A_MIXED_ROW`] are needed.
//! 3. While a message waits, one of the sender's is tried at each [`PROBE_PAUSE`], whatever their number: first one that the
//!    relay has not refused yet. They take turns.
//! 4. When the relay takes a message of the sender, all that waits of it is tried at once.
//! 5. A sender is warned of once, as long as messages of it are there that the relay has refused; that all of its mail is
//!    held is told each time.
//!
//! So `n` messages of which the relay refuses `k` cost at most `n + k` transactions, and those of promise 3, until only
//! messages with trouble of their own are left.
//!
//! After a restart nothing is known here: what waited is tried until the sender is stopped again.
//!
//! Pure: time is an argument. Not here: which refusals are meant (`relay/reply_rules.rs`), what else holds a message
//! (`refusals.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

use jiff::Timestamp;

use super::super::clock::later;
use crate::envelope::{ReversePath, ReversePathKey};
use crate::queue_id::QueueId;

/// The number of messages that stop a sender if all are refused in a row.
const IN_A_ROW: usize = 3;
/// The number of them where a message of the sender had trouble of its own.
const IN_A_MIXED_ROW: usize = 10;
/// The time between two tries, where neither the rule nor the reply says another.
const PROBE_PAUSE: Duration = Duration::from_secs(60 * 60);

/// The senders of which the relay has refused messages that are still there.
#[derive(Debug, Default)]
pub struct RefusedSenders(BTreeMap<ReversePathKey, RefusedSender>);

/// A refusal that is about the sender of its message.
#[derive(Clone, Debug)]
pub struct SenderRefusal {
    /// The reverse-path.
    pub from: ReversePath,
    /// The reply.
    pub said: String,
    /// What an operator can do about it, if the rule says so.
    pub hint: Option<String>,
    /// The time between two tries, if the rule or the reply says so.
    pub pause: Option<Duration>,
}

/// The consequence of such a refusal for its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SenderRuling {
    /// It waits for its sender.
    Waits(Option<SenderNews>),
    /// It is its own trouble.
    Own,
}

/// A change that an operator is to hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderNews {
    /// True if the sender is stopped; if not, only the message waits.
    pub is_stopped: bool,
    /// The time after which a message of the sender is tried.
    pub probe_in: Duration,
}

/// The messages of a sender that need not wait for it any more.
#[derive(Debug, PartialEq, Eq)]
pub struct FreedSender {
    /// Those that waited for nothing else.
    pub waited: BTreeSet<QueueId>,
    /// Those that waited with them, and may have trouble of their own.
    pub odd: BTreeSet<QueueId>,
    /// True if the relay was thought to take no mail of the sender.
    pub is_news: bool,
}

/// A sender of which the relay has refused messages that are still there.
#[derive(Debug)]
pub struct RefusedSender {
    /// The reply to the first one.
    pub refusal: SenderRefusal,
    /// The time at which one of its messages is tried, while one waits.
    probe_at: Timestamp,
    pause: Duration,
    is_stopped: bool,
    told: SenderTold,
    /// The messages that were refused since the relay took one.
    row: BTreeSet<QueueId>,
    /// The messages that were refused before the relay took one.
    before: BTreeSet<QueueId>,
    /// The messages that are held.
    waiting: BTreeSet<QueueId>,
    /// The message that was tried last, while others of a stopped sender wait.
    turn: Option<QueueId>,
    /// The same until it is refused: it alone is given out.
    probe: Option<QueueId>,
}

/// What an operator has heard of a sender, as long as messages of it are there that the relay has refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SenderTold {
    Nothing,
    /// Its mail is held.
    Held,
    /// Its mail was held, and is taken again. If the relay then refuses some of it and takes some, that is no news.
    TakenAgain,
}

impl RefusedSender {
    fn new(refusal: &SenderRefusal, now: Timestamp) -> Self {
        let pause = refusal.pause.unwrap_or(PROBE_PAUSE);
        RefusedSender {
            refusal: refusal.clone(),
            probe_at: later(now, pause),
            pause,
            is_stopped: false,
            told: SenderTold::Nothing,
            row: BTreeSet::new(),
            before: BTreeSet::new(),
            waiting: BTreeSet::new(),
            turn: None,
            probe: None,
        }
    }

    fn refused(&mut self, id: QueueId, now: Timestamp) -> SenderRuling {
        self.probe = self.probe.filter(|probe| *probe != id);
        if self.before.contains(&id) {
            return SenderRuling::Own;
        }
        if self.waiting.is_empty() {
            self.probe_at = later(now, self.pause);
        }
        self.row.insert(id);
        self.waiting.insert(id);
        let enough = if self.before.is_empty() { IN_A_ROW } else { IN_A_MIXED_ROW };
        let stops = !self.is_stopped && self.row.len() >= enough;
        self.is_stopped |= stops;
        let is_news = stops || self.told == SenderTold::Nothing;
        if is_news {
            self.told = SenderTold::Held;
        }
        SenderRuling::Waits(is_news.then_some(SenderNews { is_stopped: stops, probe_in: self.pause }))
    }

    fn taken(&mut self) -> FreedSender {
        let is_news = self.told == SenderTold::Held && (self.is_stopped || self.before.is_empty());
        if is_news {
            self.told = SenderTold::TakenAgain;
        }
        self.is_stopped = false;
        let (odd, waited) =
            std::mem::take(&mut self.waiting).into_iter().partition(|id| self.before.contains(id));
        self.before.append(&mut self.row);
        FreedSender { waited, odd, is_news }
    }

    /// Returns the message that is tried next, of those for which `is_held` is true.
    fn next(&mut self, is_held: impl Fn(QueueId) -> bool) -> Option<QueueId> {
        let after = self.turn.map_or(Bound::Unbounded, Bound::Excluded);
        let in_turn = self.waiting.range((after, Bound::Unbounded)).chain(&self.waiting).copied();
        let mut held = in_turn.filter(|id| is_held(*id));
        let untried = held.clone().find(|id| !self.is_refused(*id));
        self.probe = untried.or_else(|| held.next());
        self.turn = self.probe.or(self.turn);
        self.probe
    }

    fn is_refused(&self, id: QueueId) -> bool {
        self.row.contains(&id) || self.before.contains(&id)
    }

    fn is_forgettable(&self) -> bool {
        self.row.is_empty() && self.before.is_empty() && self.waiting.is_empty()
    }
}

impl RefusedSenders {
    /// Takes in that the relay has refused the message `id`.
    pub fn refused(&mut self, id: QueueId, refusal: &SenderRefusal, now: Timestamp) -> SenderRuling {
        let sender = self.0.entry(ReversePathKey::from(&refusal.from));
        sender.or_insert_with(|| RefusedSender::new(refusal, now)).refused(id, now)
    }

    /// Takes in that the relay has taken a message of this sender. Returns what waited for that, if it had refused any.
    pub fn taken(&mut self, from: &ReversePath) -> Option<FreedSender> {
        if self.0.is_empty() {
            return None;
        }
        Some(self.0.get_mut(&ReversePathKey::from(from))?.taken())
    }

    /// Returns whether the message `id` of this sender is not given out now.
    pub fn stops(&self, id: QueueId, from: ReversePathKey) -> bool {
        self.0.get(&from).is_some_and(|sender| sender.is_stopped && sender.probe != Some(id))
    }

    /// Notes that the message `id` of this sender is tried, whether the sender is stopped or not.
    pub fn tries(&mut self, id: QueueId, from: ReversePathKey) {
        if let Some(sender) = self.0.get_mut(&from) {
            sender.probe = Some(id);
        }
    }

    /// Returns whether the message `id` of this sender may have trouble of its own, and has had time to show it.
    pub fn is_odd(&self, id: QueueId, from: ReversePathKey) -> bool {
        self.0.get(&from).is_some_and(|sender| sender.before.contains(&id))
    }

    /// Notes that the message `id` is held, for whatever reason.
    pub fn waits(&mut self, id: QueueId, from: ReversePathKey) {
        if let Some(sender) = self.0.get_mut(&from) {
            sender.waiting.insert(id);
        }
    }

    /// Notes that the message `id` is not held any more.
    pub fn goes_on(&mut self, id: QueueId, from: ReversePathKey) {
        if let Some(sender) = self.0.get_mut(&from) {
            sender.waiting.remove(&id);
        }
    }

    /// Forgets a message that is not to be given out any more, and its sender if it was the last one.
    pub fn forget(&mut self, id: QueueId, from: ReversePathKey) {
        let Some(sender) = self.0.get_mut(&from) else { return };
        for messages in [&mut sender.row, &mut sender.before, &mut sender.waiting] {
            messages.remove(&id);
        }
        if sender.is_forgettable() {
            self.0.remove(&from);
        }
    }

    /// Forgets all senders. Returns the messages that waited for them.
    pub fn forget_all(&mut self) -> BTreeSet<QueueId> {
        std::mem::take(&mut self.0).into_values().flat_map(|sender| sender.waiting).collect()
    }

    /// Returns a message of each sender whose next try is due, for which `is_held` is true.
    pub fn due(&mut self, now: Timestamp, is_held: impl Fn(QueueId) -> bool) -> Vec<QueueId> {
        let due = self.0.values_mut().filter(|sender| sender.probe_at <= now && !sender.waiting.is_empty());
        due.filter_map(|sender| {
            sender.probe_at = later(now, sender.pause);
            sender.next(&is_held)
        })
        .collect()
    }

    /// Returns when the next try is due; `None` if no message waits.
    pub fn next_due(&self) -> Option<Timestamp> {
        let waiting = self.0.values().filter(|sender| !sender.waiting.is_empty());
        waiting.map(|sender| sender.probe_at).min()
    }

    /// Returns the senders of which a message waits.
    pub fn waiting(&self) -> impl Iterator<Item = &RefusedSender> {
        self.0.values().filter(|sender| !sender.waiting.is_empty())
    }
}

#[cfg(test)]
mod tests;
