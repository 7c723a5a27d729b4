//! A path on which a long first message of TLS does not arrive: some firewalls and relays drop a ClientHello that does not
//! fit into one packet, as those with post-quantum key exchange do.
//!
//! Promises: a client whose octets before our first answer are no more than the limit notices nothing. Of a longer
//! ClientHello nothing is answered: the connection is closed, or stays open in silence until the client closes it.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::str::FromStr;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The longest ClientHello that arrives, and what becomes of a longer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HelloLimit {
    octets: usize,
    silent: bool,
}

/// A text is not a [`HelloLimit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadHelloLimit;

impl fmt::Display for BadHelloLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected OCTETS=drop or OCTETS=stall, such as 1400=drop")
    }
}

impl std::error::Error for BadHelloLimit {}

impl FromStr for HelloLimit {
    type Err = BadHelloLimit;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (octets, effect) = text.split_once('=').ok_or(BadHelloLimit)?;
        let octets = octets.parse().map_err(|_| BadHelloLimit)?;
        match effect {
            "drop" => Ok(HelloLimit { octets, silent: false }),
            "stall" => Ok(HelloLimit { octets, silent: true }),
            _ => Err(BadHelloLimit),
        }
    }
}

/// A stream on which the limit holds until something is written to it.
pub(super) struct FirstOctets<S> {
    stream: S,
    limit: HelloLimit,
    state: Arriving,
}

enum Arriving {
    /// So many octets have come, and nothing was answered.
    First(usize),
    /// The limit is over.
    Answered,
    /// The client has sent too much.
    Lost,
}

impl<S> FirstOctets<S> {
    pub(super) fn new(stream: S, limit: HelloLimit) -> Self {
        FirstOctets { stream, limit, state: Arriving::First(0) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for FirstOctets<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        loop {
            ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
            let came = buffer.filled().len() - before;
            match &mut self.state {
                Arriving::Answered => return Poll::Ready(Ok(())),
                Arriving::First(octets) => {
                    *octets += came;
                    if *octets <= self.limit.octets {
                        return Poll::Ready(Ok(()));
                    }
                    self.state = Arriving::Lost;
                }
                Arriving::Lost => {}
            }
            // Nothing of it arrives. Without octets the client has closed the connection.
            buffer.set_filled(before);
            if came == 0 || !self.limit.silent {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for FirstOctets<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        if matches!(self.state, Arriving::Lost) {
            // TLS would say in an alert that it was cut off.
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        self.state = Arriving::Answered;
        Pin::new(&mut self.stream).poll_write(context, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
