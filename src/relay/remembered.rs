//! One thing remembered of a relay for a day.
//!
//! Promises: what is remembered is shared by all connections of one [`Relay`](super::Relay), and forgotten with it: at a
//! reload and at the end.
//!
//! Not here: what it is (`pace.rs`, `first_flight.rs`, `dsn_offer.rs`).

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A software that cannot do otherwise is not changed by the hour, and one that had an accident loses little.
pub(crate) const PERIOD: Duration = Duration::from_secs(24 * 60 * 60);

/// Whether something is remembered now.
#[derive(Default)]
pub(crate) struct Remembered {
    until: Mutex<Option<Instant>>,
}

impl Remembered {
    pub(crate) fn is_now(&self) -> bool {
        let until = *self.until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    /// Remembers it for the next [`PERIOD`]. True: it was not remembered until now.
    pub(crate) fn begin(&self) -> bool {
        self.begin_for(PERIOD)
    }

    /// The same for the next `period`.
    pub(crate) fn begin_for(&self, period: Duration) -> bool {
        let now = Instant::now();
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = until.is_none_or(|until| now >= until);
        *until = Some(now + period);
        is_news
    }

    /// Forgets it.
    pub(crate) fn end(&self) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
