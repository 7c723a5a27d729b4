//! A clock that stands at times: the measure of patience.
//!
//! Promises: it counts the seconds in which it runs, and loses no part of a second however often it is stopped and started.
//! It never goes back.
//!
//! Pure: time is an argument. Not here: when it runs (`patience.rs` for the messages of a relay, `reducer.rs` for the clock
//! that the spool remembers), how much patience a message has (`schedule.rs`).

use std::time::Duration;

use jiff::Timestamp;

/// A clock that counts seconds while it runs. A new one stands.
#[derive(Clone, Debug, Default)]
pub(super) struct RelayClock {
    counted: Duration,
    /// The time since when it runs; `None` while it stands.
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

    /// Lets the clock run from `now` on, or stand; one that runs goes on.
    pub(super) fn run(&mut self, runs: bool, now: Timestamp) {
        if runs {
            self.running_since.get_or_insert(now);
        } else {
            self.counted = self.counted_by(now);
            self.running_since = None;
        }
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
        (1..=600).for_each(|tenth| clock.run(true, at(tenth * 100)));
        assert_eq!(clock.at(at(60_000)), 65);
        (604..=606).for_each(|tenth| clock.run(false, at(tenth * 100)));
        assert_eq!(clock.at(at(90_000)), 65, "it stands");
        clock.run(true, at(90_000));
        assert_eq!((clock.at(at(90_500)), clock.at(at(90_600))), (65, 66));
    }
}
