//! Deferrals that are not about their message: a session that is full or over, a rate, a number of connections.
//!
//! Relays say all of these in the words they have for one message: 432, 451, 452 or 454 at MAIL, DATA or the final dot.
//! If they counted for the message, each message would wait by its age, and connections that the relay does not want
//! would defer one message after the other.
//!
//! Promises:
//! 1. From the [`SEVERAL`]th message on that is deferred so within a second, the reason is the relay's pace: the relay
//!    gets fewer connections, and the messages that were deferred for it are ready again and uncharged. One message
//!    alone is never excused for it.
//! 2. The refusals of one message lower the number of connections [`LOWERINGS`] times at most: a message that is
//!    refused for itself costs the others no more than that.
//! 3. After [`GROWTH`] without such a refusal, the relay gets one connection more.
//! 4. A deferral on a connection that has delivered before, or the end of that connection, counts only if it happens
//!    again on a fresh connection; the message waits for one.
//! 5. No message is excused more than [`EXCUSES`] times.
//! 6. A reply that says for certain that mail comes too fast halves the rate, which then grows back
//!    (`learned_rate.rs`).
//!
//! Pure. Not here: which replies these are (`relay/subject.rs`), a relay that takes no mail (`breaker.rs`).

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use jiff::Timestamp;

use super::clock::later;
use super::learned_rate::LearnedRate;
use crate::queue_id::QueueId;

/// The number of connections that had served others and defer a message until it waits for a fresh one in any case.
const FULL_SESSIONS: u8 = 3;
/// If so many messages are deferred within [`MOMENT`], the messages are not the reason.
const SEVERAL: usize = 3;
const MOMENT: Duration = Duration::from_secs(1);
/// Upper bound of the times that a message may be excused.
const EXCUSES: u8 = 10;
/// Upper bound of the times that the refusals of one message lower the number of connections.
const LOWERINGS: u8 = 3;
/// The time in which several such refusals are told once.
const TOLD: Duration = Duration::from_secs(10);
/// The time without such a refusal after which the relay gets another connection.
pub(super) const GROWTH: Duration = Duration::from_secs(5);

/// The reason of a deferral.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Deferral {
    /// It is the message's own.
    Own,
    /// It is the relay's pace.
    Pace {
        /// The messages that were deferred for the same reason before it was known; they are ready again.
        again: Vec<QueueId>,
    },
}

/// The excuses of one message so far.
#[derive(Debug, Default)]
struct Excused {
    times: u8,
    /// Number of excuses for the relay's pace; they are counted in `times`, too.
    for_pace: u8,
}

/// The queue's knowledge of the pace that one relay wants.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    /// The number of connections that the relay takes; `None` if that is as many as are configured, as far as is known.
    allowed: Option<usize>,
    grow_at: Timestamp,
    /// The messages that were deferred in the last moment and have not been excused for the pace.
    recent: VecDeque<(Timestamp, QueueId)>,
    excused: HashMap<QueueId, Excused>,
    /// The messages that are to be ready again when they are no longer under way.
    unsettled: HashSet<QueueId>,
    /// The messages that were deferred on a connection that had delivered, or ended it: they wait for a fresh
    /// connection.
    for_fresh: VecDeque<QueueId>,
    rate: LearnedRate,
    /// The time until which no such refusal is news.
    told_until: Timestamp,
}

impl Throttle {
    /// Returns the number of connections that the relay takes, of `configured` ones.
    pub(super) fn connections_allowed(&self, configured: usize) -> usize {
        self.allowed.map_or(configured, |allowed| allowed.min(configured))
    }

    /// Takes in that the relay has said for certain that mail comes too fast: the rate is halved, and nothing is given
    /// out before the end of `pause`, if the relay named one.
    pub(super) fn told_to_slow(&mut self, now: Timestamp, pause: Option<Duration>) {
        self.rate.told_to_slow(now, pause);
    }

    /// Returns the rate that the relay has asked for, in messages a second; `None` if it has not, or not lately.
    pub(super) fn rate(&self, now: Timestamp) -> Option<f64> {
        self.rate.at(now)
    }

    /// Returns when the next message may begin by that rate; a time that is past if it may now.
    pub(super) fn next(&self) -> Timestamp {
        self.rate.next()
    }

    /// Returns the number of messages that may begin together by that rate.
    pub(super) fn left(&self, now: Timestamp) -> usize {
        self.rate.at(now).map_or(usize::MAX, |_| 1)
    }

    /// Takes in that a message begins at `now`.
    pub(super) fn begins(&mut self, now: Timestamp) {
        self.rate.begins(now);
    }

    /// Takes in that `id` was deferred on a connection that had served others, or ended it. Returns whether the message
    /// is excused; it then waits for a fresh connection, where the words are about the pace from the [`FULL_SESSIONS`]th
    /// time on.
    pub(super) fn is_session_over(&mut self, id: QueueId, may_be_pace: bool) -> bool {
        let is_excused = self.excuse(id);
        self.for_fresh.retain(|other| *other != id);
        // Where the pace may be the reason, the next message finds that out, not the same one again. If there is no next
        // one, this one would go from one full connection to the other.
        let has_met_many = self.excused.get(&id).is_some_and(|excused| excused.times >= FULL_SESSIONS);
        if is_excused && (!may_be_pace || has_met_many) {
            self.for_fresh.push_back(id);
        }
        is_excused
    }

    /// Returns whether `id` is kept for a fresh connection.
    pub(super) fn is_for_fresh(&self, id: QueueId) -> bool {
        self.for_fresh.contains(&id)
    }

    /// Returns whether a ready message waits for a fresh connection.
    pub(super) fn awaits_fresh(&self, is_ready: impl Fn(QueueId) -> bool) -> bool {
        self.for_fresh.iter().any(|id| is_ready(*id))
    }

    /// Removes and returns the message that is to be tried next on a fresh connection. One whose last attempt is not
    /// recorded yet keeps its place.
    pub(super) fn take_for_fresh(&mut self, is_ready: impl Fn(QueueId) -> bool) -> Option<QueueId> {
        let at = self.for_fresh.iter().position(|id| is_ready(*id))?;
        self.for_fresh.remove(at)
    }

    /// Notes that `id` has been deferred for itself, or is no longer tried by itself.
    pub(super) fn has_been_judged(&mut self, id: QueueId) {
        self.for_fresh.retain(|other| *other != id);
    }

    /// Takes in that `id` was deferred with words that may be about the pace, while so many `connections` exist.
    /// Returns the reason.
    pub(super) fn deferred(&mut self, id: QueueId, now: Timestamp, connections: usize) -> Deferral {
        let told_before = self.excused.get(&id).map_or(0, |excused| excused.for_pace);
        if told_before == 0 {
            self.recent.retain(|(at, other)| later(*at, MOMENT) > now && *other != id);
            self.recent.push_back((now, id));
        }
        if self.allowed.is_none() && self.recent.len() < SEVERAL {
            return Deferral::Own;
        }
        if !self.excuse(id) {
            return Deferral::Own;
        }
        let again: Vec<QueueId> =
            self.recent.drain(..).map(|(_, other)| other).filter(|other| *other != id).collect();
        for other in again.iter().chain([&id]) {
            let for_pace = &mut self.excused.entry(*other).or_default().for_pace;
            *for_pace = for_pace.saturating_add(1);
        }
        if told_before < LOWERINGS {
            self.lower(now, connections);
        }
        self.grow_at = later(now, GROWTH);
        Deferral::Pace { again }
    }

    /// Takes in that the relay has said for certain that it gets too much at once, while so many `connections` exist.
    pub(super) fn lower(&mut self, now: Timestamp, connections: usize) {
        let known = self.connections_allowed(connections);
        self.allowed = Some(known.saturating_sub(1).max(1));
        self.grow_at = later(now, GROWTH);
    }

    /// Returns whether an operator is to hear that the relay gets less: of the replies that come together only the first is
    /// told.
    pub(super) fn is_news(&mut self, now: Timestamp) -> bool {
        let is_news = now >= self.told_until;
        if is_news {
            self.told_until = later(now, TOLD);
        }
        is_news
    }

    /// Notes that the result for `id` is not recorded yet: it is ready again after that.
    pub(super) fn await_settling(&mut self, id: QueueId) {
        self.unsettled.insert(id);
    }

    /// Returns whether `id`, which was deferred, is ready again all the same.
    pub(super) fn is_ready_again(&mut self, id: QueueId) -> bool {
        self.unsettled.remove(&id)
    }

    /// Takes in that the relay has taken a message, of `configured` connections at most.
    pub(super) fn taken(&mut self, now: Timestamp, configured: usize) {
        if let Some(allowed) = self.allowed.filter(|_| now >= self.grow_at) {
            self.allowed = Some(allowed + 1).filter(|allowed| *allowed < configured);
            self.grow_at = later(now, GROWTH);
        }
    }

    /// Forgets a message that has left the queue.
    pub(super) fn forget(&mut self, id: QueueId) {
        if self.excused.remove(&id).is_some() {
            self.has_been_judged(id);
        }
    }

    /// Returns whether `id` may be excused once more.
    fn excuse(&mut self, id: QueueId) -> bool {
        let excused = self.excused.entry(id).or_default();
        excused.times = excused.times.saturating_add(1);
        excused.times <= EXCUSES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(1_800_000_000_000 + milliseconds).unwrap()
    }

    fn id(raw: u64) -> QueueId {
        QueueId::from_raw(raw)
    }

    #[test]
    fn promise_1_several_messages_in_a_moment_are_the_relay_s_pace() {
        let mut throttle = Throttle::default();
        assert_eq!(throttle.deferred(id(1), at(0), 20), Deferral::Own);
        assert_eq!(throttle.deferred(id(2), at(300), 20), Deferral::Own);
        assert_eq!(throttle.deferred(id(3), at(600), 20), Deferral::Pace { again: vec![id(1), id(2)] });
        assert_eq!(throttle.connections_allowed(20), 19);
        assert_eq!(
            throttle.deferred(id(4), at(5000), 19),
            Deferral::Pace { again: vec![] },
            "it is known now"
        );
        assert_eq!(throttle.connections_allowed(20), 18);
    }

    #[test]
    fn promise_1_one_message_s_own_deferral_stays_its_own() {
        let mut throttle = Throttle::default();
        for again in 0..100 {
            assert_eq!(throttle.deferred(id(1), at(again * 100), 20), Deferral::Own);
        }
        for raw in 0..100 {
            assert_eq!(throttle.deferred(id(raw), at(100_000 + raw as i64 * 600), 20), Deferral::Own);
        }
        assert_eq!(throttle.connections_allowed(20), 20);
    }

    #[test]
    fn promises_2_and_5_a_message_refused_for_itself_costs_few_connections_and_is_charged_in_the_end() {
        let mut throttle = Throttle::default();
        for raw in 1..=3 {
            throttle.deferred(id(raw), at(0), 20);
        }
        let excused = (0..50).filter(|_| throttle.deferred(id(3), at(0), 20) != Deferral::Own).count();
        assert_eq!(excused, usize::from(EXCUSES) - 1);
        assert_eq!(throttle.connections_allowed(20), 20 - usize::from(LOWERINGS));
        throttle.forget(id(3));
        assert!(!throttle.excused.contains_key(&id(3)));
    }

    #[test]
    fn promise_3_connections_come_back_one_by_one() {
        let mut throttle = Throttle::default();
        for raw in 0..10 {
            throttle.deferred(id(raw), at(0), 6);
        }
        assert_eq!(throttle.connections_allowed(6), 1, "never none");
        let mut seen = Vec::new();
        for second in 0..30 {
            for _ in 0..100 {
                throttle.taken(at(second * 1000), 6);
            }
            seen.push(throttle.connections_allowed(6));
        }
        let expected: Vec<usize> = (0..30).map(|second| (1 + second / 5).min(6)).collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn promise_4_a_full_session_says_nothing_of_the_message() {
        let mut throttle = Throttle::default();
        assert!(throttle.is_session_over(id(1), false));
        assert!(throttle.is_session_over(id(1), false), "another full session");
        assert_eq!(throttle.take_for_fresh(|_| true), Some(id(1)));
        assert_eq!(throttle.take_for_fresh(|_| true), None);
        let excused = (0..50).filter(|_| throttle.is_session_over(id(1), false)).count();
        assert_eq!(excused, usize::from(EXCUSES) - 2);
        assert!(!throttle.is_for_fresh(id(1)), "from then on it is like any other");
    }

    /// The last message of a queue went through eleven idle connections that were full, each of which told it 451, and was
    /// deferred by its age.
    #[test]
    fn a_message_that_meets_only_full_sessions_waits_for_a_fresh_one() {
        let mut throttle = Throttle::default();
        for _ in 1..FULL_SESSIONS {
            assert!(throttle.is_session_over(id(1), true));
            assert!(!throttle.is_for_fresh(id(1)), "the next message may find out");
        }
        assert!(throttle.is_session_over(id(1), true));
        assert_eq!(throttle.take_for_fresh(|_| true), Some(id(1)));
    }

    /// It was dropped from those for a fresh connection when it was its turn while its last try was being recorded,
    /// and went to connections that had served.
    #[test]
    fn promise_4_one_that_is_not_ready_yet_keeps_its_place() {
        let mut throttle = Throttle::default();
        for raw in [1, 2] {
            throttle.is_session_over(id(raw), false);
        }
        assert_eq!(throttle.take_for_fresh(|other| other == id(2)), Some(id(2)));
        assert!(throttle.is_for_fresh(id(1)) && !throttle.awaits_fresh(|_| false));
        assert_eq!(throttle.take_for_fresh(|_| true), Some(id(1)));
    }
}
