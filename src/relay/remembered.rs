//! One fact about a relay that is remembered for a day.
//!
//! Promises: the fact is shared by all connections of one [`Relay`](super::Relay), and forgotten with it, at a reload
//! and at the end.
//!
//! Not here: the facts themselves (`pace.rs`, `first_flight.rs`, `parameter_offers.rs`, `farewell.rs`).

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Time for which a fact is remembered. The software of a relay does not change every hour, and a relay that had only
/// an accident loses little in a day.
pub(crate) const PERIOD: Duration = Duration::from_secs(24 * 60 * 60);

/// A fact that is remembered or not.
#[derive(Default)]
pub(crate) struct Remembered {
    until: Mutex<Option<Instant>>,
}

impl Remembered {
    pub(crate) fn is_now(&self) -> bool {
        let until = *self.until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    /// Remembers the fact for the next [`PERIOD`]. Returns whether it was not remembered before.
    pub(crate) fn begin(&self) -> bool {
        self.begin_for(PERIOD)
    }

    /// Remembers the fact for the next `period`. Returns whether it was not remembered before.
    pub(crate) fn begin_for(&self, period: Duration) -> bool {
        let now = Instant::now();
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = until.is_none_or(|until| now >= until);
        *until = Some(now + period);
        is_news
    }

    /// Returns true once after the time of a fact that was remembered has passed.
    pub(crate) fn is_over(&self) -> bool {
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        until.take_if(|until| Instant::now() >= *until).is_some()
    }

    /// Forgets the fact.
    pub(crate) fn end(&self) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
