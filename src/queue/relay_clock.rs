//! The relay clock: what patience is measured in.
//!
//! Promises: it counts the seconds in which the relay was usable, never goes back, and a restart goes on from what
//! the spool remembers.
//!
//! Pure: time is an argument. Not here: when it runs (`owner.rs`), how much patience there is (`schedule.rs`).

use jiff::Timestamp;

/// Seconds in which the relay was usable, over the life of the spool: what patience is measured in.
pub(super) struct RelayClock {
    counted: u32,
    /// Since when it runs; `None` while no mail can get through.
    running_since: Option<Timestamp>,
}

impl RelayClock {
    pub(super) fn starting_at(counted: u32, now: Timestamp) -> Self {
        RelayClock { counted, running_since: Some(now) }
    }

    pub(super) fn at(&self, now: Timestamp) -> u32 {
        let running = self.running_since.map_or(0, |since| now.duration_since(since).as_secs().max(0));
        self.counted.saturating_add(u32::try_from(running).unwrap_or(u32::MAX))
    }

    pub(super) fn pause(&mut self, now: Timestamp) {
        self.counted = self.at(now);
        self.running_since = None;
    }

    pub(super) fn resume(&mut self, now: Timestamp) {
        self.counted = self.at(now);
        self.running_since = Some(now);
    }
}
