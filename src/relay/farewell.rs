//! QUIT: how long the next connection waits for the reply to the QUIT of the last one.
//!
//! Promises: the next connection is opened when the relay has closed the last one, so that a relay that counts
//! connections counts no more than may exist. If a relay did not reply to QUIT within [`PATIENCE`], no connection waits
//! for it again until it replies to one; but each keeps its place among those that may exist until it is closed. A
//! connection that finds no place waits for one no longer than [`LONGEST`]; after that, none waits for a place until the
//! relay replies to QUIT within that time. At most [`MOST`] connections wait for such a reply beside the mail; if there
//! are as many, a connection is closed without QUIT.
//!
//! Not here: what is written and read (`channel.rs`), whether a connection that ends gets a QUIT (`dialog.rs`).
//!
//! RFC 5321 4.1.1.10.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::channel::Channel;
use super::remembered::Remembered;

/// Time for which the next connection waits for the reply.
const PATIENCE: Duration = Duration::from_secs(1);

/// Time for which a connection that is to be opened waits for the place of one that waits for the reply.
const LONGEST: Duration = Duration::from_secs(5);

/// Upper bound of the leave-takings of one relay that go on at once.
const MOST: usize = 20;

/// The place of a connection among those to one relay that may exist; `None` if the connection exists beside them.
pub(crate) type ConnectionPlace = Option<OwnedSemaphorePermit>;

/// The leave-takings from one relay.
pub(crate) struct Farewells {
    places: Arc<Semaphore>,
    /// The places of the connections that may exist.
    of_connections: Arc<Semaphore>,
    /// Remembered if the relay did not reply to the last QUIT whose reply was awaited.
    is_silent: Arc<Remembered>,
    /// Remembered if a connection waited for a place in vain.
    keeps_places: Arc<Remembered>,
}

impl Farewells {
    /// Returns those from a relay to which `max_connections` may exist.
    pub(crate) fn new(max_connections: NonZeroUsize) -> Self {
        Farewells {
            places: Arc::new(Semaphore::new(MOST)),
            of_connections: Arc::new(Semaphore::new(max_connections.get().min(Semaphore::MAX_PERMITS))),
            is_silent: Arc::default(),
            keeps_places: Arc::default(),
        }
    }

    /// Returns a place for a connection, which keeps it until it is closed, after waiting for it if connections that take
    /// their leave have all places.
    pub(crate) async fn place(&self) -> ConnectionPlace {
        let places = self.of_connections.clone();
        if self.keeps_places.is_now() {
            return places.try_acquire_owned().ok();
        }
        let Ok(place) = timeout(LONGEST, places.acquire_owned()).await else {
            self.keeps_places.begin();
            return None;
        };
        place.ok()
    }

    /// Ends the connection at `place` with QUIT. Returns as soon as another one may wait for its place.
    pub(crate) async fn quit<S>(&self, channel: Channel<S>, place: ConnectionPlace)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let Ok(leave) = self.places.clone().try_acquire_owned() else { return };
        let (is_silent, keeps_places) = (self.is_silent.clone(), self.keeps_places.clone());
        let begun = Instant::now();
        let farewell = tokio::spawn(async move {
            if channel.quit().await {
                is_silent.end();
                if begun.elapsed() < LONGEST {
                    keeps_places.end();
                }
            }
            drop((leave, place));
        });
        if !self.is_silent.is_now() && timeout(PATIENCE, farewell).await.is_err() {
            self.is_silent.begin();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{peer, play, settings, wire};
    use super::*;

    /// Takes leave of a relay that plays `script` at QUIT. Returns how long that held up the next connection.
    async fn waited(farewells: &Farewells, script: &'static str) -> Duration {
        let (near, far) = wire("192.0.2.5:587");
        tokio::spawn(async move { play(far, script).await });
        let channel = Channel::new(near, peer(), settings().timeouts);
        let begun = Instant::now();
        farewells.quit(channel, None).await;
        begun.elapsed()
    }

    fn farewells_of(connections: usize) -> Farewells {
        Farewells::new(NonZeroUsize::new(connections).unwrap())
    }

    /// Each connection held its place for a second where the relay does not reply to QUIT: with one message on each, one
    /// message a second.
    #[tokio::test(start_paused = true)]
    async fn a_relay_that_does_not_reply_is_waited_for_once() {
        let farewells = farewells_of(20);
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
        let farewells = farewells_of(20);
        waited(&farewells, "C: QUIT\n!stall").await;
        waited(&farewells, "C: QUIT\nS: 221 bye").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(waited(&farewells, "C: QUIT\n!stall").await, PATIENCE);
    }

    /// Takes leave, on a connection at `place`, of a relay that replies to QUIT after `seconds`, if ever.
    async fn takes_leave(farewells: &Farewells, place: ConnectionPlace, seconds: Option<u64>) {
        let (near, far) = wire("192.0.2.5:587");
        tokio::spawn(async move {
            let Some(seconds) = seconds else { return play(far, "C: QUIT\n!stall").await };
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            play(far, "C: QUIT\nS: 221 bye").await
        });
        let mut timeouts = settings().timeouts;
        timeouts.quit = Duration::from_secs(20);
        farewells.quit(Channel::new(near, peer(), timeouts), place).await;
    }

    /// A relay with three places that replied to QUIT after two seconds refused nine of twenty-one connections: the place of
    /// a connection was given away a second after QUIT.
    #[tokio::test(start_paused = true)]
    async fn a_connection_keeps_its_place_until_it_is_closed() {
        // The reply after so many seconds holds up the first connection for so many, and the next ones.
        for (reply, held_up) in [
            (Some(0), [0, 0, 0]),
            (Some(2), [2, 2, 2]),
            (Some(4), [4, 4, 4]),
            (Some(9), [6, 0, 0]),
            (None, [6, 0, 0]),
        ] {
            for places in [1, 3] {
                let farewells = farewells_of(places);
                for most in held_up {
                    let mut open = Vec::new();
                    for _ in 0..places {
                        open.push(farewells.place().await);
                    }
                    let begun = Instant::now();
                    let leave = |place| takes_leave(&farewells, place, reply);
                    futures_of(open.into_iter().map(leave).collect()).await;
                    let next = farewells.place().await;
                    assert_eq!(begun.elapsed().as_secs(), most, "{reply:?} of {places}: {held_up:?}");
                    drop(next);
                }
            }
        }
    }

    /// Nobody waits while there is a place.
    #[tokio::test(start_paused = true)]
    async fn a_connection_that_takes_its_leave_holds_up_nobody_where_there_are_other_places() {
        let farewells = farewells_of(2);
        let place = farewells.place().await;
        takes_leave(&farewells, place, None).await;
        let begun = Instant::now();
        assert!(farewells.place().await.is_some());
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    /// Does all of these at once.
    async fn futures_of<F: Future<Output = ()>>(all: Vec<F>) {
        let mut all: Vec<_> = all.into_iter().map(Box::pin).collect();
        std::future::poll_fn(|cx| {
            all.retain_mut(|one| one.as_mut().poll(cx).is_pending());
            if all.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
    }
}
