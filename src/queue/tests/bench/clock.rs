//! A clock for tests of the queue.

use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use crate::queue::clock::Clock;

/// A clock that stands still until a test moves it.
pub(in crate::queue::tests) struct TestClock {
    steady: watch::Sender<Timestamp>,
    /// Whoever next sleeps for this time panics instead.
    panic_at: Mutex<Option<Duration>>,
}

impl TestClock {
    pub(super) fn new() -> Self {
        let steady = watch::channel(Timestamp::from_second(1_800_000_000).unwrap()).0;
        TestClock { steady, panic_at: Mutex::default() }
    }

    /// Makes whoever next sleeps for `pause` panic instead.
    pub(in crate::queue::tests) fn panic_at(&self, pause: Duration) {
        *self.panic_at.lock().unwrap() = Some(pause);
    }

    pub(in crate::queue::tests) fn has_panicked(&self) -> bool {
        self.panic_at.lock().unwrap().is_none()
    }

    pub(in crate::queue::tests) fn advance(&self, by: Duration) {
        self.steady.send_modify(|now| *now += SignedDuration::try_from(by).unwrap());
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        self.steady()
    }

    fn steady(&self) -> Timestamp {
        *self.steady.borrow()
    }

    fn sleep(&self, pause: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let panics = self.panic_at.lock().unwrap().take_if(|at| *at == pause).is_some();
        assert!(!panics, "told to");
        let deadline = self.steady() + SignedDuration::try_from(pause).unwrap();
        let mut time = self.steady.subscribe();
        Box::pin(async move {
            // A clock that is gone ends no sleep.
            if time.wait_for(|now| *now >= deadline).await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }
}
