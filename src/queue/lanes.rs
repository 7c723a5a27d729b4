//! A fair order among submitters: each has a lane, and the lanes take turns. Within a lane the reverse-paths take turns: one
//! application sends both its newsletter and its password resets as one user.
//!
//! Promises: a message that joins an empty lane waits for at most one message of every other lane, however many wait
//! there; one of a reverse-path that has no message in its lane waits for at most one message of every other reverse-path
//! there, whenever the lane has its turn. Of one reverse-path in a lane, the message that came first is served first.
//! A lane has [`PATHS`] turns at most, since an application may send each message from an address of its own: reverse-paths
//! that share a key (one in 4096) take turns as one. So many addresses take little more memory than one.
//!
//! Pure. Not here: the lane of a message (the spool names it), when a message is ready (`roster.rs`).

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU16;
use std::sync::LazyLock;

use crate::envelope::ReversePathKey;
use crate::queue_id::QueueId;

/// The name of a lane: it stands for one submitter, and comes from the entry in the spool.
pub type Lane = u64;

static SECRET: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// Returns a name of the lane in four octets, for the memory of many messages. Two submitters may share one by a chance of one
/// in 2^32, which nobody can improve, since the hash has secret keys of this process.
pub fn short_name(lane: Lane) -> u32 {
    // The low half of a hash is one as well.
    SECRET.hash_one(lane) as u32
}

/// The number of turns in a lane.
// It is not zero.
const PATHS: NonZeroU16 = NonZeroU16::new(4096).unwrap();

/// The number of queues whose memory is kept when nothing is left, so that a message which comes alone costs none.
const KEPT_QUEUES: usize = 64;

/// The turn of a reverse-path in its lane, below [`PATHS`].
type PathTurn = u16;

/// Messages that are ready for an attempt, in the order in which they get one.
#[derive(Debug, Default)]
pub struct Lanes {
    waiting: HashMap<(Lane, PathTurn), VecDeque<QueueId>>,
    /// Of every lane with a message in it each turn that has one there, once; the front is next.
    paths: HashMap<Lane, VecDeque<PathTurn>>,
    /// Every lane with a message in it, once; the front is next.
    turns: VecDeque<Lane>,
    len: usize,
}

impl Lanes {
    /// Returns the number of messages.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Puts a message of this reverse-path into a lane.
    pub fn push(&mut self, lane: Lane, from: ReversePathKey, id: QueueId) {
        let from = from.among(PATHS);
        let queue = self.waiting.entry((lane, from)).or_default();
        if queue.is_empty() {
            let paths = self.paths.entry(lane).or_default();
            if paths.is_empty() {
                self.turns.push_back(lane);
            }
            paths.push_back(from);
        }
        queue.push_back(id);
        self.len += 1;
    }

    /// Removes and returns the next message of the lane whose turn it is. A message that is not `current` any more is
    /// removed, and costs its lane and its reverse-path no turn.
    pub fn pop(&mut self, mut current: impl FnMut(QueueId) -> bool) -> Option<QueueId> {
        let mut next = None;
        while next.is_none()
            && let Some(lane) = self.turns.pop_front()
        {
            next = self.pop_of(lane, &mut current);
            if self.paths.get(&lane).is_some_and(|paths| !paths.is_empty()) {
                self.turns.push_back(lane);
            } else {
                self.paths.remove(&lane);
            }
        }
        if self.turns.is_empty() && self.waiting.capacity() > KEPT_QUEUES {
            self.shrink();
        }
        next
    }

    /// Gives back the memory of a longer queue.
    fn shrink(&mut self) {
        self.waiting.shrink_to_fit();
        self.paths.shrink_to_fit();
        self.turns.shrink_to_fit();
    }

    /// Removes and returns the next message of a lane.
    fn pop_of(&mut self, lane: Lane, mut current: impl FnMut(QueueId) -> bool) -> Option<QueueId> {
        let paths = self.paths.get_mut(&lane)?;
        while let Some(from) = paths.pop_front() {
            // A reverse-path has a turn only while it has a message.
            let queue = self.waiting.get_mut(&(lane, from))?;
            let before = queue.len();
            let mut next = queue.pop_front();
            while next.is_some_and(|id| !current(id)) {
                next = queue.pop_front();
            }
            self.len -= before - queue.len();
            if queue.is_empty() {
                self.waiting.remove(&(lane, from));
            } else {
                paths.push_back(from);
            }
            if next.is_some() {
                return next;
            }
        }
        None
    }

    /// Removes all messages that are not `current`.
    pub fn retain(&mut self, mut current: impl FnMut(QueueId) -> bool) {
        self.waiting.retain(|_, queue| {
            queue.retain(|id| current(*id));
            queue.shrink_to_fit();
            !queue.is_empty()
        });
        self.paths.retain(|lane, paths| {
            paths.retain(|from| self.waiting.contains_key(&(*lane, *from)));
            paths.shrink_to_fit();
            !paths.is_empty()
        });
        self.turns.retain(|lane| self.paths.contains_key(lane));
        self.len = self.waiting.values().map(VecDeque::len).sum();
        self.shrink();
    }

    /// Returns the messages from this place on, counted lane after lane, and in each by its reverse-paths. They stay where
    /// they are.
    pub fn behind_place(&self, place: usize) -> impl Iterator<Item = QueueId> + '_ {
        let mut before = place;
        let paths_of = |lane| self.paths.get(lane).into_iter().flatten().map(move |from| (*lane, *from));
        let queues = self.turns.iter().flat_map(paths_of).filter_map(|key| self.waiting.get(&key));
        queues.flat_map(move |queue| {
            let passed = before.min(queue.len());
            before -= passed;
            queue.range(passed..).copied()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn id(raw: u64) -> QueueId {
        QueueId::from_raw(raw)
    }

    fn ann() -> ReversePathKey {
        ReversePathKey::of_text("ann@x")
    }

    /// Returns the keys of so many reverse-paths of which each has a turn of its own.
    fn bounces(count: usize) -> Vec<ReversePathKey> {
        let mut taken = HashSet::new();
        let all = (0..100_000).map(|number| ReversePathKey::of_text(&format!("bounce-{number}@x")));
        let own: Vec<_> = all.filter(|from| taken.insert(from.among(PATHS))).take(count).collect();
        assert_eq!(own.len(), count);
        own
    }

    fn drain(lanes: &mut Lanes) -> Vec<u64> {
        std::iter::from_fn(|| lanes.pop(|_| true)).map(QueueId::raw).collect()
    }

    #[test]
    fn a_bulk_run_does_not_delay_a_single_message() {
        let mut lanes = Lanes::default();
        for raw in 0..10_000 {
            lanes.push(1, ann(), id(raw));
        }
        lanes.pop(|_| true);
        lanes.push(2, ann(), id(99_999));
        let position = std::iter::from_fn(|| lanes.pop(|_| true)).position(|next| next == id(99_999));
        assert_eq!(position, Some(1));
    }

    /// A newsletter of ten thousand messages delayed each password reset of the same application.
    #[test]
    fn a_bulk_run_does_not_delay_mail_of_the_same_user_from_another_address() {
        let mut lanes = Lanes::default();
        let (bulk, single) = (bounces(2)[0], bounces(2)[1]);
        for raw in 0..10_000 {
            lanes.push(1, bulk, id(raw));
        }
        lanes.push(2, bulk, id(20_000));
        lanes.push(1, single, id(99_999));
        assert_eq!(lanes.behind_place(0).last(), Some(id(20_000)));
        let first: Vec<u64> = std::iter::from_fn(|| lanes.pop(|_| true)).map(QueueId::raw).take(5).collect();
        assert_eq!(first, [0, 20_000, 99_999, 1, 2]);
    }

    /// Many addresses do not give a user more turns.
    #[test]
    fn reverse_paths_take_turns_within_their_lane_only() {
        let mut lanes = Lanes::default();
        for (raw, from) in (0..100).zip(bounces(100)) {
            lanes.push(1, from, id(raw));
        }
        for raw in 100..103 {
            lanes.push(2, ann(), id(raw));
        }
        let dropped = |id: QueueId| (1..50).contains(&id.raw());
        let mut next = || lanes.pop(|id| !dropped(id)).map(QueueId::raw);
        assert_eq!([next(), next(), next(), next()], [Some(0), Some(100), Some(50), Some(101)]);
        lanes.retain(|id| id.raw() > 97);
        assert_eq!((lanes.len(), lanes.paths.len(), lanes.waiting.len()), (3, 2, 3));
        assert_eq!(drain(&mut lanes), [98, 102, 99]);
        assert!(lanes.waiting.is_empty() && lanes.paths.is_empty() && lanes.turns.is_empty());
    }

    /// An address for each message (VERP) took a bucket, a block and a name of each: more memory than the rest of the message.
    #[test]
    fn an_address_for_each_message_takes_bounded_turns_and_they_are_given_back() {
        let mut lanes = Lanes::default();
        for raw in 0..100_000 {
            lanes.push(1, ReversePathKey::of_text(&format!("bounce-{raw}@x")), id(raw));
        }
        let turns = lanes.paths[&1].len();
        assert!((1000..=4096).contains(&turns) && lanes.waiting.len() == turns, "{turns}");
        lanes.retain(|id| id.raw() % 2 == 0);
        let mut all = drain(&mut lanes);
        all.sort_unstable();
        assert!(all.into_iter().eq((0..100_000).step_by(2)));
        assert_eq!((lanes.waiting.capacity(), lanes.paths.capacity(), lanes.turns.capacity()), (0, 0, 0));
        let all = (0..100_000).map(|raw| (raw, ReversePathKey::of_text(&format!("bounce-{raw}@x"))));
        all.for_each(|(raw, from)| lanes.push(1, from, id(raw)));
        lanes.retain(|id| id.raw() < 3);
        assert!(lanes.waiting.capacity() < 64 && lanes.paths[&1].capacity() < 64);
        assert_eq!(drain(&mut lanes).len(), 3);
    }

    /// The loop in which a lane is taken out of the turns ended only if it had reverse-paths.
    #[test]
    fn a_lane_without_reverse_paths_loses_its_turn() {
        let mut lanes = Lanes { turns: [1, 2].into(), ..Lanes::default() };
        lanes.push(2, ann(), id(20));
        assert_eq!(lanes.pop(|_| true), Some(id(20)));
        assert_eq!(lanes.pop(|_| true), None);
    }

    #[test]
    fn lanes_take_turns_and_keep_their_own_order() {
        let mut lanes = Lanes::default();
        for (lane, raw) in [(1, 10), (1, 11), (1, 12), (2, 20), (3, 30), (3, 31)] {
            lanes.push(lane, ann(), id(raw));
        }
        assert_eq!(lanes.len(), 6);
        assert_eq!(drain(&mut lanes), [10, 20, 30, 11, 31, 12]);
        assert_eq!(lanes.len(), 0);
    }

    /// A lane full of names that stood for nothing any more lost a turn by each of them.
    #[test]
    fn a_message_that_is_not_current_any_more_costs_its_lane_no_turn() {
        let mut lanes = Lanes::default();
        for (lane, raw) in [(1, 10), (1, 11), (1, 12), (2, 20), (2, 21), (3, 30)] {
            lanes.push(lane, ann(), id(raw));
        }
        let current = |id: QueueId| ![10, 11, 30].contains(&id.raw());
        assert_eq!(lanes.pop(current), Some(id(12)));
        assert_eq!((lanes.pop(current), lanes.len()), (Some(id(20)), 2));
        assert_eq!((lanes.pop(current), lanes.pop(current), lanes.len()), (Some(id(21)), None, 0));
        assert!(lanes.waiting.is_empty() && lanes.turns.is_empty());
    }

    #[test]
    fn what_is_kept_keeps_its_order_and_its_turn() {
        let mut lanes = Lanes::default();
        for (lane, raw) in [(1, 10), (2, 20), (1, 11), (3, 30), (1, 12)] {
            lanes.push(lane, ann(), id(raw));
        }
        lanes.retain(|id| ![10, 20].contains(&id.raw()));
        assert_eq!(lanes.len(), 3);
        lanes.push(2, ann(), id(22));
        assert_eq!(drain(&mut lanes), [11, 30, 22, 12]);
    }

    #[test]
    fn a_place_counts_through_all_lanes() {
        let mut lanes = Lanes::default();
        for (lane, raw) in [(1, 10), (1, 11), (1, 12), (2, 20), (3, 30), (3, 31)] {
            lanes.push(lane, ann(), id(raw));
        }
        let all = [10, 11, 12, 20, 30, 31];
        for place in 0..8 {
            let from: Vec<u64> = lanes.behind_place(place).map(QueueId::raw).collect();
            assert_eq!(from, all[place.min(6)..], "{place}");
        }
        assert_eq!(drain(&mut lanes), [10, 20, 30, 11, 31, 12], "nothing was taken");
    }

    #[test]
    fn an_emptied_lane_costs_nothing_and_can_come_back() {
        let mut lanes = Lanes::default();
        for raw in 0..100 {
            lanes.push(raw, ann(), id(raw));
            lanes.pop(|_| true);
        }
        assert!(lanes.waiting.is_empty() && lanes.turns.is_empty());
        lanes.push(7, ann(), id(7));
        assert_eq!(drain(&mut lanes), [7]);
    }
}
