//! The stop signal: the daemon gives it to every accept loop and every session.
//!
//! Promises: a signal that was given stays given; every clone sees it, even one made later. It carries a deadline,
//! until which content that is arriving may complete. Dropping a [`Stopper`] stops nothing.

use tokio::sync::watch;
use tokio::time::Instant;

/// The side that gives the signal.
#[derive(Debug)]
pub struct Stopper(watch::Sender<Option<Instant>>);

/// The side that waits for the signal.
#[derive(Clone, Debug)]
pub struct StopSignal(watch::Receiver<Option<Instant>>);

/// Returns both sides of a new signal, which is not given yet.
pub fn stop_signal() -> (Stopper, StopSignal) {
    let (sender, receiver) = watch::channel(None);
    (Stopper(sender), StopSignal(receiver))
}

impl Stopper {
    /// Asks all to stop and to end by `deadline`. A later call can only make the deadline earlier.
    pub fn stop(&self, deadline: Instant) {
        self.0.send_modify(|given| *given = Some(given.map_or(deadline, |earlier| earlier.min(deadline))));
    }
}

impl StopSignal {
    /// Returns the deadline; `None` if the signal was not given.
    pub fn deadline(&self) -> Option<Instant> {
        *self.0.borrow()
    }

    /// Waits for the signal and returns the deadline; at once if the signal was given before.
    pub async fn given(&mut self) -> Instant {
        match self.0.wait_for(Option::is_some).await.map(|given| *given) {
            Ok(Some(deadline)) => deadline,
            // The other side was dropped, so the signal will never be given.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn given_once_it_stays_given_and_only_comes_forward() {
        let (stopper, mut signal) = stop_signal();
        assert_eq!(signal.deadline(), None);
        let (early, late) = (Instant::now(), Instant::now() + Duration::from_secs(9));
        stopper.stop(late);
        assert_eq!(signal.clone().given().await, late);
        stopper.stop(early);
        stopper.stop(late);
        assert_eq!((signal.given().await, signal.deadline()), (early, Some(early)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_stopper_stops_nothing() {
        let (stopper, mut signal) = stop_signal();
        drop(stopper);
        assert!(tokio::time::timeout(Duration::from_secs(60), signal.given()).await.is_err());
    }
}
