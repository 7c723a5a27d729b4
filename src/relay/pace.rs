//! How far ahead of its replies a relay is written to, and what is remembered of one that failed at it.
//!
//! Promises: a relay that does not offer PIPELINING gets one command at a time, and so does, for
//! [`LOCK_STEP_PERIOD`], one that failed where more was written than it had answered. What is remembered is
//! shared by all connections of one [`Relay`](super::Relay), and forgotten with it: at a reload and at the end.
//!
//! Not here: which failures are meant (`dialog.rs`).
//!
//! RFC 2920.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::Pipelining;

/// How long a relay gets one command at a time: a software that cannot do otherwise is not changed by the hour,
/// and one that had an accident loses no more than speed.
const LOCK_STEP_PERIOD: Duration = Duration::from_secs(24 * 60 * 60);

/// The pace of one relayhost.
pub(crate) struct Pace {
    configured: Pipelining,
    lock_step_until: Mutex<Option<Instant>>,
}

impl Pace {
    /// A pace as configured, with nothing remembered.
    pub(crate) fn new(configured: Pipelining) -> Self {
        Pace { configured, lock_step_until: Mutex::new(None) }
    }

    /// How a relay is written to now; `offered` says whether it offers PIPELINING.
    pub(crate) fn now(&self, offered: bool) -> Pipelining {
        let until = *self.lock_step_until.lock().unwrap_or_else(PoisonError::into_inner);
        let is_lock_step = until.is_some_and(|until| Instant::now() < until);
        if offered && !is_lock_step { self.configured } else { Pipelining::Off }
    }

    /// One command at a time from now on. True: it was another pace until now.
    pub(crate) fn fall_into_lock_step(&self) -> bool {
        let now = Instant::now();
        let mut until = self.lock_step_until.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = until.is_none_or(|until| now >= until);
        *until = Some(now + LOCK_STEP_PERIOD);
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn lock_step_is_remembered_for_a_day() {
        for configured in [Pipelining::Across, Pipelining::Group] {
            let pace = Pace::new(configured);
            assert_eq!((pace.now(true), pace.now(false)), (configured, Pipelining::Off));
            assert!(pace.fall_into_lock_step() && !pace.fall_into_lock_step());
            tokio::time::advance(LOCK_STEP_PERIOD - Duration::from_secs(1)).await;
            assert_eq!(pace.now(true), Pipelining::Off);
            tokio::time::advance(Duration::from_secs(1)).await;
            assert_eq!(pace.now(true), configured);
            assert!(pace.fall_into_lock_step(), "it is news again");
        }
    }
}
