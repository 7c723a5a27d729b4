//! The relay clock: the measure of patience.
//!
//! Promises: it counts the time in which the relay was usable and no mail waited for its turn, in seconds, and loses no part of a second however often
//! it is stopped and started. It never goes back, and after a restart it goes on from what the spool remembers.
//!
//! Pure: time is an argument. Not here: when it runs (`relay_state.rs`), how much patience a message has
//! (`schedule.rs`).

use std::time::Duration;

use jiff::Timestamp;

/// The number of seconds in which the relay was usable and no mail waited for its turn, over the life of the spool.
/// Patience is measured by it.
pub(super) struct RelayClock {
    counted: Duration,
    /// The time since when it runs; `None` while no mail can get through.
    running_since: Option<Timestamp>,
}

impl RelayClock {
    pub(super) fn starting_at(counted: u32, now: Timestamp) -> Self {
        RelayClock { counted: Duration::from_secs(counted.into()), running_since: Some(now) }
    }

    /// Returns the clock at `now`, in seconds.
    pub(super) fn at(&self, now: Timestamp) -> u32 {
        u32::try_from(self.counted_by(now).as_secs()).unwrap_or(u32::MAX)
    }

    /// Returns whether it runs.
    pub(super) fn runs(&self) -> bool {
        self.running_since.is_some()
    }

    pub(super) fn pause(&mut self, now: Timestamp) {
        self.counted = self.counted_by(now);
        self.running_since = None;
    }

    /// Starts the clock; one that runs goes on.
    pub(super) fn resume(&mut self, now: Timestamp) {
        self.running_since.get_or_insert(now);
    }

    fn counted_by(&self, now: Timestamp) -> Duration {
        let running = self.running_since.map(|since| Duration::try_from(now.duration_since(since)));
        // A time before the start of the run counts for nothing.
        self.counted + running.and_then(Result::ok).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each message that was settled had the clock begin its second anew: where one was each second, no patience was ever
    /// used up, and what a relay deferred was deferred for ever.
    #[test]
    fn parts_of_a_second_add_up() {
        let at = |millis: i64| Timestamp::from_millisecond(1_800_000_000_000 + millis).unwrap();
        let mut clock = RelayClock::starting_at(5, at(0));
        (1..=600).for_each(|tenth| clock.resume(at(tenth * 100)));
        assert_eq!(clock.at(at(60_000)), 65);
        (604..=606).for_each(|tenth| clock.pause(at(tenth * 100)));
        assert_eq!(clock.at(at(90_000)), 65, "it stands");
        clock.resume(at(90_000));
        assert_eq!((clock.at(at(90_500)), clock.at(at(90_600))), (65, 66));
    }
}
