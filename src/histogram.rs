//! How long something took, counted by bounds that are the same everywhere.
//!
//! Promise: to count takes three additions without a lock, so that the way of mail can afford it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The upper bounds in milliseconds, each with the times that are not above it and above the one before it.
pub const BOUNDS: [u64; 14] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 10_000, 60_000, 600_000];

/// The number of counts: one for each bound, and one for what is above the last.
const COUNTS: usize = BOUNDS.len() + 1;

/// The counts of durations, to which many tasks add.
#[derive(Debug, Default)]
pub struct DurationHistogram {
    counts: [AtomicU64; COUNTS],
    microseconds: AtomicU64,
}

/// The counts of durations at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DurationCounts {
    /// The number of durations up to each of [`BOUNDS`], and above all of them.
    pub counts: [u64; COUNTS],
    /// The sum of all, in microseconds.
    pub microseconds: u64,
}

impl DurationHistogram {
    /// Counts one duration.
    pub fn count(&self, duration: Duration) {
        let place = BOUNDS.iter().position(|bound| duration <= Duration::from_millis(*bound));
        self.counts[place.unwrap_or(BOUNDS.len())].fetch_add(1, Relaxed);
        self.microseconds.fetch_add(u64::try_from(duration.as_micros()).unwrap_or(0), Relaxed);
    }

    /// Returns the counts.
    pub fn counts(&self) -> DurationCounts {
        DurationCounts {
            counts: self.counts.each_ref().map(|count| count.load(Relaxed)),
            microseconds: self.microseconds.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_counts_at_the_first_bound_that_it_does_not_exceed() {
        let histogram = DurationHistogram::default();
        for milliseconds in [0, 1, 2, 3, 600_000, 600_001] {
            histogram.count(Duration::from_millis(milliseconds));
        }
        let DurationCounts { counts, microseconds } = histogram.counts();
        assert_eq!((counts[0], counts[1], counts[2]), (2, 1, 1));
        assert_eq!((counts[COUNTS - 2], counts[COUNTS - 1]), (1, 1));
        assert_eq!((counts.iter().sum::<u64>(), microseconds), (6, 1_200_007_000));
    }
}
