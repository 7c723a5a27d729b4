//! Time as the queue sees it: an argument, so that five days of retries take a test milliseconds.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use jiff::{Timestamp, Zoned, tz::TimeZone};

/// Where the queue takes its time from.
pub trait Clock: Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;

    /// Waits for `pause`.
    fn sleep(&self, pause: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>>;

    /// The time now where this host stands, for the dates in messages.
    fn local(&self) -> Zoned {
        self.now().to_zoned(TimeZone::system())
    }
}

/// The host's own clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn sleep(&self, pause: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(tokio::time::sleep(pause))
    }
}
