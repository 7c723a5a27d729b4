//! The clock by which a sink counts what comes in a time.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

/// Tells the time since some beginning, and never goes back.
#[derive(Clone)]
pub struct SinkClock(Arc<dyn Fn() -> Duration + Send + Sync>);

impl SinkClock {
    /// Returns the clock of the runtime.
    pub fn real() -> Self {
        let begun = Instant::now();
        SinkClock(Arc::new(move || begun.elapsed()))
    }

    /// Returns a clock that tells what `elapsed` returns: that of a test, in which a day is short.
    pub fn told(elapsed: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        SinkClock(Arc::new(elapsed))
    }

    /// Returns the time since the beginning.
    pub(super) fn elapsed(&self) -> Duration {
        (self.0)()
    }
}

impl fmt::Debug for SinkClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SinkClock(…)")
    }
}
