//! The stream of a client, which the backend can end although the driver reads from it.
//!
//! Promises: after [`Hangup::hang_up`] no octet is read any more, and the session ends as if the client had closed the
//! connection; replies that were already given are still sent.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A switch that ends a connection from our side.
#[derive(Clone, Debug, Default)]
pub(super) struct Hangup(Arc<AtomicBool>);

impl Hangup {
    /// Makes the next read report that the client has closed the connection.
    pub(super) fn hang_up(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A stream that its [`Hangup`] can end.
pub(super) struct Hangable<S> {
    pub(super) stream: S,
    pub(super) line: Hangup,
}

impl<S: AsyncRead + Unpin> AsyncRead for Hangable<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // No wake-up is lost: it is the session's own task that hangs up.
        if self.line.0.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Hangable<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
