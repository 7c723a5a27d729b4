//! The rate of a user: a token bucket, with one token for each message.
//!
//! Promises: a burst may use the tokens of a whole minute; after that, they come in an even flow. Time is an argument, and
//! a clock that goes back gives no tokens.

use std::time::Instant;

/// A token bucket that becomes full in a minute.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    pub(super) fn full(per_minute: u32, now: Instant) -> Self {
        Bucket { tokens: f64::from(per_minute), filled: now }
    }

    /// Returns the number of tokens in it at the time `now`.
    fn level(&self, per_minute: u32, now: Instant) -> f64 {
        let minutes = now.saturating_duration_since(self.filled).as_secs_f64() / 60.0;
        let capacity = f64::from(per_minute);
        (self.tokens + minutes * capacity).min(capacity)
    }

    pub(super) fn take(&mut self, per_minute: u32, now: Instant) -> bool {
        let level = self.level(per_minute, now);
        if level < 1.0 {
            return false;
        }
        *self = Bucket { tokens: level - 1.0, filled: self.filled.max(now) };
        true
    }

    pub(super) fn is_full(&self, per_minute: u32, now: Instant) -> bool {
        self.level(per_minute, now) >= f64::from(per_minute)
    }
}
