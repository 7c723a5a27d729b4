//! The first flight of a handshake: what our ClientHello offers, and whether anything answers it.
//!
//! With a post-quantum key exchange the ClientHello is larger than one TCP segment, and there are firewalls, load
//! balancers and old TLS libraries that drop it, or the connection, at the second segment. So one that nothing answers
//! is sent once more, on a new connection, with the classical key exchange alone, which fits into one segment.
//!
//! Promises:
//! 1. A handshake in which the relay has said one octet is never tried again: an alert or a refused certificate is the
//!    end of it.
//! 2. The smaller ClientHello is remembered, for a day, only where it was answered and the larger one was not.
//! 3. The certificate is verified in the same way by both. What is given up is the protection of what is recorded
//!    today against a computer of the future; whoever can drop our segments can bring that about, as they could
//!    bring about no mail at all, and the log says so.
//!
//! Not here: the second connection (`mod.rs`), the two configurations (`trust.rs`).
//!
//! RFC 8446 4.1.2.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;

use super::remembered::Remembered;

/// How long the first octet of an answer to the larger ClientHello is awaited. A lost segment is sent again after
/// about 1, 3 and 7 s, so this is no accident of the network; and a relay that is merely slower has the whole of
/// `relay.timeouts.tls` for the smaller one.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a ClientHello offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyExchange {
    /// A hybrid of both kinds, and the classical one.
    PostQuantum,
    /// One on elliptic curves alone.
    Classical,
}

/// What the ClientHello to one relayhost offers.
#[derive(Default)]
pub(crate) struct Offer {
    classical: Remembered,
}

impl Offer {
    /// What it offers now.
    pub(crate) fn now(&self) -> KeyExchange {
        if self.classical.is_now() { KeyExchange::Classical } else { KeyExchange::PostQuantum }
    }

    /// The classical one alone from now on. True: it was the other one until now.
    pub(crate) fn fall_back(&self) -> bool {
        self.classical.begin()
    }
}

/// One ClientHello and what came of it.
pub(crate) struct FirstFlight {
    key_exchange: KeyExchange,
    is_begun: AtomicBool,
    is_answered: AtomicBool,
}

impl FirstFlight {
    pub(crate) fn new(key_exchange: KeyExchange) -> Arc<Self> {
        Arc::new(FirstFlight {
            key_exchange,
            is_begun: AtomicBool::new(false),
            is_answered: AtomicBool::new(false),
        })
    }

    pub(crate) fn key_exchange(&self) -> KeyExchange {
        self.key_exchange
    }

    /// Whether the relay has said an octet in the handshake.
    pub(crate) fn is_answered(&self) -> bool {
        self.is_answered.load(Ordering::Relaxed)
    }

    /// Of a handshake that has failed: whether its size may be why.
    pub(crate) fn may_have_been_too_large(&self) -> bool {
        let is_begun = self.is_begun.load(Ordering::Relaxed);
        self.key_exchange == KeyExchange::PostQuantum && is_begun && !self.is_answered()
    }

    /// The handshake begins: `stream`, with an ear to it.
    pub(crate) fn begin<T>(self: &Arc<Self>, stream: T) -> Heard<T> {
        self.is_begun.store(true, Ordering::Relaxed);
        Heard { stream, flight: Arc::clone(self) }
    }

    /// What `shaking` comes to within `limit`. Err: the time that is up, [`PATIENCE`] where a large ClientHello has
    /// no answer by then.
    pub(crate) async fn within<F: Future>(&self, limit: Duration, shaking: F) -> Result<F::Output, Duration> {
        let mut shaking = pin!(shaking);
        let first = match self.key_exchange {
            KeyExchange::PostQuantum => limit.min(PATIENCE),
            KeyExchange::Classical => limit,
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
