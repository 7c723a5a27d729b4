//! The wire: commands out, replies in, each under its phase's time limit.
//!
//! Promises:
//! 1. Every wait ends: a reply is whole within its phase's limit, a write is taken within it.
//! 2. Writing never waits for a relay that waits to be read: what it says meanwhile is taken in.
//! 3. A write that fails is told by the next reply awaited, after everything the relay had still said;
//!    a relay's last words are never lost behind a broken pipe.
//! 4. Memory is bounded: an endless reply is garbage; what is said unasked stays in the socket
//!    beyond [`MAX_UNREAD_OCTETS`].
//! 5. At the final dot whatever begins with a code is a reply, even if its end never comes: nothing else tells whether
//!    the relay has the message. After a reply without an end nothing more is read.
//!
//! Not here: what is said and what it means (`dialog.rs`, `verdict.rs`); whether it may be said yet
//! (`tls.rs`).
//!
//! RFC 5321 4.2 (replies), 4.5.3.2 (timeouts).

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, timeout, timeout_at};
use zeroize::Zeroize;

use super::trouble::{Cause, Peer, Phase, Trouble};
use crate::config::Timeouts;
use crate::log::{self, Said};
use crate::queue_id::QueueId;
use crate::smtp::reply::{Reply, ReplyReader, Severity};

/// What is taken in while we write: the replies to the largest group fit many times.
const MAX_UNREAD_OCTETS: usize = 1 << 20;

/// What stands in the log for any part of an AUTH exchange.
const NOT_SHOWN: &str = "(a part of AUTH, not shown)";

/// How much of an octet string that is no reply is shown.
const MAX_SHOWN_OCTETS: usize = 80;

/// A connection to one peer that speaks in lines and replies.
pub(crate) struct Channel<S> {
    stream: S,
    peer: Peer,
    timeouts: Timeouts,
    /// Octets from the relay; those before `read` are used up.
    input: Vec<u8>,
    read: usize,
    /// The beginning of a reply, taken out of `input`.
    reading: ReplyReader,
    /// Octets not yet written.
    output: Vec<u8>,
    /// Why nothing more will come or go.
    broken: Option<Cause>,
    /// The message at hand, for the log.
    subject: Option<QueueId>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Channel<S> {
    pub(crate) fn new(stream: S, peer: Peer, timeouts: Timeouts) -> Self {
        Channel {
            stream,
            peer,
            timeouts,
            input: Vec::new(),
            read: 0,
            reading: ReplyReader::default(),
            output: Vec::new(),
            broken: None,
            subject: None,
        }
    }

    /// Says of which message the dialogue is from now on, for the log.
    pub(crate) fn speak_of(&mut self, subject: Option<QueueId>) {
        self.subject = subject;
    }

    pub(crate) fn peer(&self) -> &Peer {
        &self.peer
    }

    /// What `phase` failed with, in this peer's name.
    pub(crate) fn trouble(&self, phase: Phase, cause: Cause) -> Trouble {
        Trouble { phase, peer: Some(self.peer.clone()), cause }
    }

    /// Where octets to be sent are appended; [`Channel::flush`] sends them.
    pub(crate) fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// One command and its reply.
    pub(crate) async fn command(&mut self, phase: Phase, line: &[u8]) -> Result<Reply, Trouble> {
        self.output.extend_from_slice(line);
        self.output.extend_from_slice(b"\r\n");
        self.flush(phase).await;
        self.reply(phase).await
    }

    /// [`Channel::command`] for a line that holds a secret: our copy of it is overwritten.
    pub(crate) async fn secret_command(&mut self, phase: Phase, line: &[u8]) -> Result<Reply, Trouble> {
        self.output.reserve_exact(line.len() + 2);
        self.output.extend_from_slice(line);
        self.output.extend_from_slice(b"\r\n");
        self.show(&NOT_SHOWN);
        self.write_out(phase).await;
        self.output.zeroize();
        self.reply(phase).await
    }

    /// Sends what is in [`Channel::output`]. A failure is kept for the next [`Channel::reply`].
    pub(crate) async fn flush(&mut self, phase: Phase) {
        match phase {
            Phase::Content => {}
            // The end of the content is in front of it.
            Phase::Dot => self.show(&"."),
            _ => self.show_lines(),
        }
        self.write_out(phase).await;
        self.output.clear();
    }

    async fn write_out(&mut self, phase: Phase) {
        let limit = self.limit(phase);
        let mut written = 0;
        let sending = poll_fn(|cx| self.poll_send(cx, &mut written));
        let failure = match timeout(limit, sending).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => hung_up(error),
            Err(_) => Cause::TimedOut(limit),
        };
        self.broken.get_or_insert(failure);
    }

    /// Awaits the next reply.
    pub(crate) async fn reply(&mut self, phase: Phase) -> Result<Reply, Trouble> {
        let limit = self.limit(phase);
        let deadline = Instant::now() + limit;
        loop {
            match self.take_reply() {
                Ok(Some(reply)) => return Ok(self.heard(phase, reply)),
                Ok(None) => {}
                Err(garbage) => return self.cut_off(phase, garbage),
            }
            if let Some(cause) = self.broken.clone() {
                return self.cut_off(phase, cause);
            }
            let heard = poll_fn(|cx| self.poll_hear(cx));
            if timeout_at(deadline, heard).await.is_err() {
                return self.cut_off(phase, Cause::TimedOut(limit));
            }
        }
    }

    /// Promise 5: the end of the reply awaited never comes.
    fn cut_off(&mut self, phase: Phase, cause: Cause) -> Result<Reply, Trouble> {
        self.broken.get_or_insert(cause.clone());
        let reply = self.reading.cut_off().filter(|_| phase == Phase::Dot);
        reply.map(|reply| self.heard(phase, reply)).ok_or_else(|| self.trouble(phase, cause))
    }

    fn heard(&self, phase: Phase, reply: Reply) -> Reply {
        let said = Said { id: self.subject, relay: &self.peer, command: &phase };
        match (phase, reply.severity()) {
            (Phase::Auth, Severity::Intermediate) => log::relay_said(&said, &NOT_SHOWN),
            _ => log::relay_said(&said, &reply),
        }
        reply
    }

    /// Logs the commands that are about to be written.
    fn show_lines(&self) {
        let lines = self.output.split(|octet| *octet == b'\n').map(<[u8]>::trim_ascii_end);
        for line in lines.filter(|line| !line.is_empty()) {
            self.show(&String::from_utf8_lossy(line));
        }
    }

    fn show(&self, command: &dyn fmt::Display) {
        log::relay_told(&Said { id: self.subject, relay: &self.peer, command });
    }

    /// Whether nothing more will be heard.
    pub(crate) fn is_at_end(&self) -> bool {
        self.broken.is_some() && self.unread().is_empty()
    }

    /// Whether the relay has said something, or hung up, without being asked.
    pub(crate) async fn has_spoken(&mut self) -> bool {
        self.has_words().await || self.broken.is_some()
    }

    /// Whether the relay has said something without being asked.
    pub(crate) async fn has_words(&mut self) -> bool {
        poll_fn(|cx| {
            let _ = self.poll_hear(cx);
            Poll::Ready(())
        })
        .await;
        !self.unread().is_empty()
    }

    /// Whether the relay says nothing for `period`, or never again.
    pub(crate) async fn stays_silent(&mut self, period: Duration) -> bool {
        if !self.has_words().await {
            let _ = timeout(period, poll_fn(|cx| self.poll_hear(cx))).await;
        }
        self.unread().is_empty()
    }

    /// The stream, to start TLS on it. Err: octets came that the relay was not asked for; they would be
    /// taken for what it says under TLS (RFC 3207 4, CVE-2011-0411).
    pub(crate) fn into_stream(self) -> Result<S, Trouble> {
        if self.unread().is_empty() {
            return Ok(self.stream);
        }
        let shown = shown(self.unread());
        let words = format!("octets injected behind the reply to STARTTLS: \"{shown}\"");
        Err(self.trouble(Phase::StartTls, Cause::Other(words)))
    }

    /// Takes leave: QUIT, its reply, TLS and TCP shut down, all within QUIT's limit; failure is no matter.
    pub(crate) async fn quit(mut self) {
        let limit = self.timeouts.quit;
        self.subject = None;
        let farewell = async {
            let _ = self.command(Phase::Quit, b"QUIT").await;
            let _ = poll_fn(|cx| Pin::new(&mut self.stream).poll_shutdown(cx)).await;
        };
        let _ = timeout(limit, farewell).await;
    }

    fn unread(&self) -> &[u8] {
        &self.input[self.read..]
    }

    /// A whole reply from the front of what was heard.
    fn take_reply(&mut self) -> Result<Option<Reply>, Cause> {
        let unread = &self.input[self.read..];
        let (octets, reply) = self.reading.take(unread).map_err(|_| Cause::Garbage(shown(unread)))?;
        self.read += octets;
        if self.read == self.input.len() {
            self.input.clear();
            self.read = 0;
        }
        Ok(reply)
    }

    /// Writes `output` from `written` on and flushes; hears the relay out meanwhile.
    fn poll_send(&mut self, cx: &mut Context<'_>, written: &mut usize) -> Poll<io::Result<()>> {
        loop {
            while self.unread().len() < MAX_UNREAD_OCTETS && self.poll_hear(cx).is_ready() {
                if self.broken.is_some() {
                    return Poll::Ready(Ok(()));
                }
            }
            if *written == self.output.len() {
                return Pin::new(&mut self.stream).poll_flush(cx);
            }
            let taken = Pin::new(&mut self.stream).poll_write(cx, &self.output[*written..]);
            match std::task::ready!(taken)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                octets => *written += octets,
            }
        }
    }

    /// Takes in what has come. Ready: something came, or `broken` says why nothing will.
    fn poll_hear(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.broken.is_some() {
            return Poll::Ready(());
        }
        let mut chunk = [0; 4096];
        let mut buffer = ReadBuf::new(&mut chunk);
        match std::task::ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
            Ok(()) if buffer.filled().is_empty() => self.broken = Some(Cause::Closed),
            Ok(()) => self.input.extend_from_slice(buffer.filled()),
            Err(error) => self.broken = Some(hung_up(error)),
        }
        Poll::Ready(())
    }

    fn limit(&self, phase: Phase) -> Duration {
        let limits = &self.timeouts;
        match phase {
            Phase::Resolve | Phase::Connect => limits.connect,
            Phase::Greeting => limits.greeting,
            Phase::Ehlo | Phase::StartTls => limits.ehlo,
            Phase::Tls => limits.tls,
            Phase::Auth => limits.auth,
            Phase::Mail | Phase::Rset => limits.mail,
            Phase::Rcpt => limits.rcpt,
            Phase::Data => limits.data,
            Phase::Content => limits.block,
            Phase::Dot => limits.dot,
            Phase::Quit => limits.quit,
        }
    }
}

/// A connection that ends without a TLS close_notify, or by a reset, was closed all the same.
fn hung_up(error: io::Error) -> Cause {
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            Cause::Closed
        }
        _ => Cause::from(error),
    }
}

/// The beginning of `octets`, fit for one line of a log.
fn shown(octets: &[u8]) -> String {
    octets[..octets.len().min(MAX_SHOWN_OCTETS)].escape_ascii().to_string()
}

#[cfg(test)]
mod tests;
