//! Time as the queue sees it: an argument, so that five days of retries take a test milliseconds.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp, Zoned, tz::TimeZone};

/// Where the queue takes its time from.
///
/// Two times: the time of day, for ages and dates, and a steady one, which no step of the host's clock
/// and no sleep of the host moves, for everything that is waited for or counted.
pub trait Clock: Send + Sync + 'static {
    /// The time of day.
    fn now(&self) -> Timestamp;

    /// The time of day as it would be had it never been set since the start.
    fn steady(&self) -> Timestamp;

    /// Both at once.
    fn moment(&self) -> Moment {
        Moment { steady: self.steady(), time_of_day: self.now() }
    }

    /// Waits for `pause`.
    fn sleep(&self, pause: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>>;

    /// The time of day where this host stands, for the dates in messages.
    fn local(&self) -> Zoned {
        self.now().to_zoned(TimeZone::system())
    }
}

/// One moment, by both times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// By the steady time.
    pub steady: Timestamp,
    /// By the time of day.
    pub time_of_day: Timestamp,
}

impl Moment {
    /// What the time of day will be when the steady time is `steady`, as far as is known now: whatever is shown is in
    /// the time of day, ages and dates too.
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
    /// A clock whose two times agree now.
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

/// `pause` after `time`; the end of time where that is beyond it.
pub(super) fn later(time: Timestamp, pause: Duration) -> Timestamp {
    SignedDuration::try_from(pause)
        .ok()
        .and_then(|pause| time.checked_add(pause).ok())
        .unwrap_or(Timestamp::MAX)
}
