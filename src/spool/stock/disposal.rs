//! The queues of segments and large files that are to be removed, and the pause after one that could not be.
//!
//! Pure: time is an argument. Not here: how they go (`stock.rs`).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::queue_id::QueueId;

/// Time to wait after a failure before the next attempt.
const PAUSE: Duration = Duration::from_secs(1);

/// One thing that is to be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Discarded {
    /// The segment of this number.
    Segment(u32),
    /// The large file of this message.
    Large(QueueId),
}

/// The queues of segments and large files that are to be removed.
#[derive(Default)]
pub(super) struct Disposal {
    /// The numbers of segments, oldest first.
    segments: VecDeque<u32>,
    large: VecDeque<QueueId>,
    /// The moment before which nothing is tried again, after something could not be removed.
    stuck_until: Option<Instant>,
}

impl Disposal {
    /// Adds a segment or a large file that is to be removed.
    pub fn add(&mut self, discarded: Discarded) {
        match discarded {
            Discarded::Segment(sequence) => self.segments.push_back(sequence),
            Discarded::Large(id) => self.large.push_back(id),
        }
    }

    /// Returns the next one that is to be removed: segments in the order in which they came, then large files. Returns
    /// `None` if there is nothing, or during the pause after a failure.
    pub fn next(&mut self, now: Instant) -> Option<Discarded> {
        self.stuck_until = self.stuck_until.filter(|until| *until > now);
        if self.stuck_until.is_some() {
            return None;
        }
        let segment = self.segments.front().copied().map(Discarded::Segment);
        segment.or(self.large.front().copied().map(Discarded::Large))
    }

    /// Notes that this one is removed; it was the next one of its kind.
    pub fn is_gone(&mut self, discarded: Discarded) {
        match discarded {
            Discarded::Segment(_) => drop(self.segments.pop_front()),
            Discarded::Large(_) => drop(self.large.pop_front()),
        }
    }

    /// Notes that the next one could not be removed.
    pub fn is_stuck(&mut self, now: Instant) {
        self.stuck_until = Some(now + PAUSE);
    }

    /// Returns the moment of the next attempt, after a failure.
    pub fn stuck_until(&self) -> Option<Instant> {
        self.stuck_until
    }

    /// Ends the pause: what failed may be tried at once.
    pub fn start_anew(&mut self) {
        self.stuck_until = None;
    }
}
