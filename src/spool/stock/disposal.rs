//! Segments and large files that are to go, and since when one could not.
//!
//! Pure: time is an argument. Not here: how they go (`stock.rs`).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::queue_id::QueueId;

/// After a failure to let something go, the pause before the next attempt.
const PAUSE: Duration = Duration::from_secs(1);

/// One thing to let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Discarded {
    Segment(u32),
    /// The large file of this message.
    Large(QueueId),
}

/// The queues of segments and large files that are to be removed.
#[derive(Default)]
pub(super) struct Disposal {
    /// Segments, oldest first.
    segments: VecDeque<u32>,
    large: VecDeque<QueueId>,
    /// Letting go failed; it is tried again from then on.
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

    /// The next one: segments in the order in which they came, then large files.
    pub fn next(&mut self, now: Instant) -> Option<Discarded> {
        self.stuck_until = self.stuck_until.filter(|until| *until > now);
        if self.stuck_until.is_some() {
            return None;
        }
        let segment = self.segments.front().copied().map(Discarded::Segment);
        segment.or(self.large.front().copied().map(Discarded::Large))
    }

    /// Takes this one out: it is removed, and was the next one of its kind.
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

    /// When it is tried again, after a failure.
    pub fn stuck_until(&self) -> Option<Instant> {
        self.stuck_until
    }

    /// What failed may be tried at once.
    pub fn start_anew(&mut self) {
        self.stuck_until = None;
    }
}
