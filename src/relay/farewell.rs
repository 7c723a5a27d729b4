//! QUIT: how long the next connection waits for the reply to the QUIT of the last one.
//!
//! Promises: the next connection is opened when the relay has closed the last one, so that a relay that counts
//! connections counts no more than may exist. If a relay did not reply to QUIT within [`PATIENCE`], no connection waits
//! for it again until it replies to one. At most [`MOST`] connections wait for such a reply beside the mail; if there
//! are as many, a connection is closed without QUIT.
//!
//! Not here: what is written and read (`channel.rs`), whether a connection that ends gets a QUIT (`dialog.rs`).
//!
//! RFC 5321 4.1.1.10.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::channel::Channel;
use super::remembered::Remembered;

/// Time for which the next connection waits for the reply.
const PATIENCE: Duration = Duration::from_secs(1);

/// Upper bound of the leave-takings of one relay that go on at once.
const MOST: usize = 20;

/// The leave-takings from one relay.
pub(crate) struct Farewells {
    places: Arc<Semaphore>,
    /// Remembered if the relay did not reply to the last QUIT whose reply was awaited.
    is_silent: Arc<Remembered>,
}

impl Default for Farewells {
    fn default() -> Self {
        Farewells { places: Arc::new(Semaphore::new(MOST)), is_silent: Arc::default() }
    }
}

impl Farewells {
    /// Ends the connection with QUIT. Returns as soon as another one may be opened.
    pub(crate) async fn quit<S>(&self, channel: Channel<S>)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let Ok(place) = self.places.clone().try_acquire_owned() else { return };
        let is_silent = self.is_silent.clone();
        let farewell = tokio::spawn(async move {
            if channel.quit().await {
                is_silent.end();
            }
            drop(place);
        });
        if !self.is_silent.is_now() && timeout(PATIENCE, farewell).await.is_err() {
            self.is_silent.begin();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::super::testing::{peer, play, settings, wire};
    use super::*;

    /// Takes leave of a relay that plays `script` at QUIT. Returns how long that held up the next connection.
    async fn waited(farewells: &Farewells, script: &'static str) -> Duration {
        let (near, far) = wire("192.0.2.5:587");
        tokio::spawn(async move { play(far, script).await });
        let channel = Channel::new(near, peer(), settings().timeouts);
        let begun = Instant::now();
        farewells.quit(channel).await;
        begun.elapsed()
    }

    /// Each connection held its place for a second where the relay does not reply to QUIT: with one message on each, one
    /// message a second.
    #[tokio::test(start_paused = true)]
    async fn a_relay_that_does_not_reply_is_waited_for_once() {
        let farewells = Farewells::default();
        assert_eq!(waited(&farewells, "C: QUIT\n!stall").await, PATIENCE);
        for _ in 0..2 * MOST {
            assert_eq!(waited(&farewells, "C: QUIT\n!stall").await, Duration::ZERO);
        }
        assert_eq!(farewells.places.available_permits(), 0, "no more go on at once");
        tokio::time::sleep(settings().timeouts.quit * 2).await;
        assert_eq!(farewells.places.available_permits(), MOST, "each has its end");
    }

    #[tokio::test(start_paused = true)]
    async fn a_relay_that_replies_again_is_waited_for_again() {
        let farewells = Farewells::default();
        waited(&farewells, "C: QUIT\n!stall").await;
        waited(&farewells, "C: QUIT\nS: 221 bye").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(waited(&farewells, "C: QUIT\n!stall").await, PATIENCE);
    }
}
