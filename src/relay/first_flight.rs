//! The first flight of a handshake: the key exchanges that our ClientHello offers, and whether there is an answer to
//! it.
//!
//! With a post-quantum key exchange the ClientHello is larger than one TCP segment. Some firewalls, load balancers and
//! old TLS libraries drop the second segment, or the connection. So a handshake without any answer is tried once more,
//! on a new connection, with the classical key exchange alone, which fits into one segment.
//!
//! Promises:
//! 1. If the relay has sent one octet in a handshake, it is not tried again: an alert or a refused certificate is
//!    final.
//! 2. The smaller ClientHello is used for a day only after the relay answered it and did not answer the larger one.
//! 3. Where `tls.key-exchange` chooses one of them, the other one is never offered.
//! 4. After a handshake that was given up without an answer, since another relayhost was quicker, the next one waits only
//!    [`HURRIED`] for an answer: else the host would lose to the others each time before its smaller ClientHello.
//! 5. Both verify the certificate in the same way. The smaller one gives up the protection of recorded traffic against
//!    future quantum computers. Anyone who can drop our segments can cause this, as they could also block all mail, and
//!    the log says so.
//!
//! Not here: the second connection (`relay.rs`), the two configurations (`trust.rs`).
//!
//! RFC 8446 4.1.2.

use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, timeout};

use super::remembered::Remembered;
use crate::config::KeyExchangeChoice;

/// Time to wait for the first octet of an answer to the larger ClientHello. A lost segment is sent again after about
/// 1, 3 and 7 s, so that random losses do not matter; a relay that is just slow has the whole of `relay.timeouts.tls`
/// for the smaller one.
const PATIENCE: Duration = Duration::from_secs(10);

/// The same after a handshake without an answer for so long was given up. It is shorter than the time for which a relayhost
/// is tried alone (`failover.rs`), with room for the smaller ClientHello.
const HURRIED: Duration = Duration::from_secs(4);

/// The key exchanges that a ClientHello offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyExchange {
    /// A hybrid with a post-quantum part, and the classical one.
    PostQuantum,
    /// Only the hybrid with a post-quantum part.
    PostQuantumAlone,
    /// Only the classical one, on elliptic curves.
    Classical,
}

/// The choice of key exchanges for one relayhost.
pub(crate) struct Offer {
    choice: KeyExchangeChoice,
    classical: Remembered,
    /// True if the last handshake with the larger ClientHello was given up without an answer.
    is_hurried: AtomicBool,
}

impl Offer {
    pub(crate) fn new(choice: KeyExchangeChoice) -> Self {
        Offer { choice, classical: Remembered::default(), is_hurried: AtomicBool::new(false) }
    }

    /// Returns the present choice.
    pub(crate) fn now(&self) -> KeyExchange {
        match self.choice {
            KeyExchangeChoice::PostQuantum => KeyExchange::PostQuantumAlone,
            KeyExchangeChoice::Any if !self.classical.is_now() => KeyExchange::PostQuantum,
            KeyExchangeChoice::Any | KeyExchangeChoice::Classical => KeyExchange::Classical,
        }
    }

    /// Returns the flight of a handshake that begins now.
    pub(crate) fn flight(&self) -> Arc<FirstFlight> {
        let patience = if self.is_hurried.load(Ordering::Relaxed) { HURRIED } else { PATIENCE };
        FirstFlight::with_patience(self.now(), patience)
    }

    /// Watches a handshake, for the case that it is given up.
    pub(crate) fn watch(&self, flight: &Arc<FirstFlight>) -> Watched<'_> {
        Watched { offer: self, flight: Some(flight.clone()) }
    }

    /// Chooses only the classical one from now on. Returns whether this is a change.
    pub(crate) fn fall_back(&self) -> bool {
        self.classical.begin()
    }
}

/// A handshake that is under way; its drop means that it is given up.
pub(crate) struct Watched<'a> {
    offer: &'a Offer,
    /// `None` if it has come to its end.
    flight: Option<Arc<FirstFlight>>,
}

impl Watched<'_> {
    /// Takes in that the handshake has come to its end.
    pub(crate) fn over(mut self) {
        if self.flight.take().is_some_and(|flight| flight.is_answered()) {
            self.offer.is_hurried.store(false, Ordering::Relaxed);
        }
    }
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        if self.flight.as_ref().is_some_and(|flight| flight.has_been_silent_for(HURRIED)) {
            self.offer.is_hurried.store(true, Ordering::Relaxed);
        }
    }
}

/// One ClientHello, and whether it was answered.
pub(crate) struct FirstFlight {
    key_exchange: KeyExchange,
    /// The time to wait for the first octet of an answer to the larger one.
    patience: Duration,
    /// The moment at which it was begun.
    begun: OnceLock<Instant>,
    is_answered: AtomicBool,
}

impl FirstFlight {
    pub(crate) fn new(key_exchange: KeyExchange) -> Arc<Self> {
        Self::with_patience(key_exchange, PATIENCE)
    }

    fn with_patience(key_exchange: KeyExchange, patience: Duration) -> Arc<Self> {
        Arc::new(FirstFlight {
            key_exchange,
            patience,
            begun: OnceLock::new(),
            is_answered: AtomicBool::new(false),
        })
    }

    pub(crate) fn key_exchange(&self) -> KeyExchange {
        self.key_exchange
    }

    /// Returns whether the relay has sent an octet in the handshake.
    pub(crate) fn is_answered(&self) -> bool {
        self.is_answered.load(Ordering::Relaxed)
    }

    /// Returns whether the size of the ClientHello may be the reason why a handshake failed.
    pub(crate) fn may_have_been_too_large(&self) -> bool {
        self.has_been_silent_for(Duration::ZERO)
    }

    /// Returns whether the size of the ClientHello may be the reason, and `tls.key-exchange` allows no smaller one.
    pub(crate) fn may_be_too_large_by_choice(&self) -> bool {
        let is_large = self.key_exchange == KeyExchange::PostQuantumAlone;
        is_large && self.begun.get().is_some() && !self.is_answered()
    }

    /// Returns the same of a handshake in which nothing has come for so long.
    fn has_been_silent_for(&self, time: Duration) -> bool {
        let is_old = self.begun.get().is_some_and(|begun| begun.elapsed() >= time);
        self.key_exchange == KeyExchange::PostQuantum && is_old && !self.is_answered()
    }

    /// Returns `stream` for the handshake, wrapped so that the first octet of an answer is noticed.
    pub(crate) fn begin<T>(self: &Arc<Self>, stream: T) -> Heard<T> {
        // A handshake is begun once.
        let _ = self.begun.set(Instant::now());
        Heard { stream, flight: Arc::clone(self) }
    }

    /// Waits for the handshake `shaking` within `limit`. The error is the time that has passed: [`PATIENCE`] or [`HURRIED`] if
    /// there was no answer to a large ClientHello by then.
    pub(crate) async fn within<F: Future>(&self, limit: Duration, shaking: F) -> Result<F::Output, Duration> {
        let mut shaking = pin!(shaking);
        let first = match self.key_exchange {
            KeyExchange::PostQuantum => limit.min(self.patience),
            KeyExchange::PostQuantumAlone | KeyExchange::Classical => limit,
        };
        if let Ok(shaken) = timeout(first, &mut shaking).await {
            return Ok(shaken);
        }
        if !self.is_answered() {
            return Err(first);
        }
        timeout(limit - first, shaking).await.map_err(|_| limit)
    }
}

/// A stream that notes the first octet that comes from it.
pub(crate) struct Heard<T> {
    stream: T,
    flight: Arc<FirstFlight>,
}

impl<T: AsyncRead + Unpin> AsyncRead for Heard<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.flight.is_answered.store(true, Ordering::Relaxed);
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Heard<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, octets)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
