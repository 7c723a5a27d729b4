//! How far ahead of its replies a relay is written to, and what is remembered of one that failed at it.
//!
//! Promises: a relay that does not offer PIPELINING gets one command at a time, and so does, for a day, one that
//! failed where more was written than it had answered.
//!
//! Not here: which failures are meant (`dialog.rs`).
//!
//! RFC 2920.

use super::remembered::Remembered;
use crate::config::Pipelining;

/// The pace of one relayhost.
pub(crate) struct Pace {
    configured: Pipelining,
    lock_step: Remembered,
}

impl Pace {
    /// A pace as configured, with nothing remembered.
    pub(crate) fn new(configured: Pipelining) -> Self {
        Pace { configured, lock_step: Remembered::default() }
    }

    /// How a relay is written to now; `offered` says whether it offers PIPELINING.
    pub(crate) fn now(&self, offered: bool) -> Pipelining {
        if offered && !self.lock_step.is_now() { self.configured } else { Pipelining::Off }
    }

    /// One command at a time from now on. True: it was another pace until now.
    pub(crate) fn fall_into_lock_step(&self) -> bool {
        self.lock_step.begin()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::remembered::PERIOD;
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn lock_step_is_remembered_for_a_day() {
        for configured in [Pipelining::Across, Pipelining::Group] {
            let pace = Pace::new(configured);
            assert_eq!((pace.now(true), pace.now(false)), (configured, Pipelining::Off));
            assert!(pace.fall_into_lock_step() && !pace.fall_into_lock_step());
            tokio::time::advance(PERIOD - Duration::from_secs(1)).await;
            assert_eq!(pace.now(true), Pipelining::Off);
            tokio::time::advance(Duration::from_secs(1)).await;
            assert_eq!(pace.now(true), configured);
            assert!(pace.fall_into_lock_step(), "it is news again");
        }
    }
}
