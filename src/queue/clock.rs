//! The time as the queue sees it. It is an argument everywhere, so that tests play five days of retries in
//! milliseconds.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp, Zoned, tz::TimeZone};

/// The source of the queue's time.
///
/// There are two times: the time of day, for ages and dates, and a steady time, for everything that is waited for or
/// counted. Setting the host's clock, or a sleep of the host, does not move the steady time.
pub trait Clock: Send + Sync + 'static {
    /// Returns the time of day.
    fn now(&self) -> Timestamp;

    /// Returns the steady time: the time of day as it would be if it had never been set since the start.
    fn steady(&self) -> Timestamp;

    /// Returns both times.
    fn moment(&self) -> Moment {
        Moment { steady: self.steady(), time_of_day: self.now() }
    }

    /// Waits for `pause`.
    fn sleep(&self, pause: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>>;

    /// Returns the local time of this host, for the dates in messages.
    fn local(&self) -> Zoned {
        self.now().to_zoned(TimeZone::system())
    }
}

/// One moment in both times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The moment in the steady time.
    pub steady: Timestamp,
    /// The moment in the time of day.
    pub time_of_day: Timestamp,
}

impl Moment {
    /// Returns the time of day at which the steady time will be `steady`, as far as is known now. Whatever is shown to
    /// people is in the time of day.
    pub fn time_of_day_at(&self, steady: Timestamp) -> Timestamp {
        self.time_of_day.checked_add(steady.duration_since(self.steady)).unwrap_or(steady)
    }
}

/// The host's own clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    started: (Timestamp, Instant),
}

impl SystemClock {
    /// Returns a clock whose two times are equal now.
    pub fn start() -> Self {
        SystemClock { started: (Timestamp::now(), Instant::now()) }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn steady(&self) -> Timestamp {
        let (timestamp, instant) = self.started;
        later(timestamp, instant.elapsed())
    }

    fn sleep(&self, pause: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(tokio::time::sleep(pause))
    }
}

/// Returns the time `pause` after `time`, or the last possible time if that is later.
pub(super) fn later(time: Timestamp, pause: Duration) -> Timestamp {
    SignedDuration::try_from(pause)
        .ok()
        .and_then(|pause| time.checked_add(pause).ok())
        .unwrap_or(Timestamp::MAX)
}
