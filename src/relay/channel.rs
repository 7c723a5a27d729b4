//! The channel to the relay: writes commands and reads replies, within the time limit of each phase.
//!
//! Promises:
//! 1. Every wait ends: a reply must be complete, and a write accepted, within the limit of the phase.
//! 2. There is no deadlock with a relay that writes before it reads on: its octets are read while we write.
//! 3. A write that fails is reported by the next call for a reply, after everything that the relay had still sent: its
//!    last words are not lost because of a broken pipe.
//! 4. Memory is bounded: an endless reply is an error; of unexpected octets, at most [`MAX_UNREAD_OCTETS`] are read,
//!    and the rest stays in the socket.
//! 5. At the final dot, anything that begins with a code is a reply, even if its end never comes: nothing else tells
//!    whether the relay has the message. After a reply without an end nothing more is read.
//! 6. Whoever traces the dialogue (`trace.rs`) is told what the log is told, and how large a content was.
//! 7. Until the login is accepted, a reply that repeats a secret is handed out without it (`channel/told_secrets.rs`).
//!
//! Not here: the commands and the meaning of replies (`dialog.rs`, `verdict.rs`); whether a command may be sent yet
//! (`tls.rs`).
//!
//! RFC 5321 4.2 (replies), 4.5.3.2 (timeouts).

mod told_secrets;

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
use crate::log::{self, RelayLine};
use crate::queue_id::QueueId;
use crate::secret::SecretMasks;
use crate::smtp::reply::{BadReply, Reply, ReplyReader, Severity};
use crate::trace::{NOT_SHOWN, TracedConnection, TracedSide, TracedSpeaker};
use told_secrets::ToldSecrets;

/// The most octets that are read while we write: many times the replies to the largest group.
const MAX_UNREAD_OCTETS: usize = 1 << 20;

/// The number of octets that are shown of something that is not a reply.
const MAX_SHOWN_OCTETS: usize = 80;

/// A connection to one peer, for commands and replies.
pub(crate) struct Channel<S> {
    stream: S,
    peer: Peer,
    timeouts: Timeouts,
    /// Octets from the relay; those before `read` were processed.
    input: Vec<u8>,
    read: usize,
    /// The start of a reply, taken from `input`.
    reading: ReplyReader,
    /// Octets that are not written yet.
    output: Vec<u8>,
    /// The reason why nothing more can be read or written.
    broken: Option<Cause>,
    /// The current message, for the log.
    subject: Option<QueueId>,
    told_secrets: ToldSecrets,
    traced: TracedConnection,
    /// The octets of the content that was written since the last final dot.
    content: usize,
    /// The time from which on no message is begun, since the proof of the login is about to end.
    retires_at: Option<Instant>,
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
            told_secrets: ToldSecrets::default(),
            traced: TracedConnection::new(TracedSide::Relay),
            content: 0,
            retires_at: None,
        }
    }

    /// Keeps `secret` out of what the relay says, until the login is accepted: it may repeat what it is told.
    pub(crate) fn keep_secret(&mut self, secret: &[u8]) {
        self.told_secrets.keep(secret);
    }

    /// Sets the time from which on no message is begun, since the proof of the login is about to end.
    pub(super) fn retire_at(&mut self, at: Instant) {
        self.retires_at = Some(at);
    }

    /// Returns that time.
    pub(super) fn retires_at(&self) -> Option<Instant> {
        self.retires_at
    }

    /// Takes in that the login was accepted. From now on replies are about messages, and are left as they are.
    pub(crate) fn logged_in(&mut self) {
        self.told_secrets.forget();
    }

    /// Keeps also what `secrets` keeps out of what the relay says.
    pub(super) fn keep_all_secrets(&mut self, secrets: &SecretMasks) {
        self.told_secrets.keep_all(secrets);
    }

    /// Returns the secrets that the relay was told, for text that is read out of what it says.
    pub(super) fn told_secrets(&self) -> &SecretMasks {
        self.told_secrets.masks()
    }

    /// Sets the message that the dialogue is about from now on, for the log.
    pub(crate) fn speak_of(&mut self, subject: Option<QueueId>) {
        self.subject = subject;
    }

    /// Returns the stream, for what it says of itself.
    pub(crate) fn stream(&self) -> &S {
        &self.stream
    }

    pub(crate) fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Returns the trouble with this peer at `phase`.
    pub(crate) fn trouble(&self, phase: Phase, cause: Cause) -> Trouble {
        Trouble { phase, peer: Some(Box::new(self.peer.clone())), cause }
    }

    /// Returns the buffer for octets to send; [`Channel::flush`] sends them.
    pub(crate) fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Sends one command and returns its reply.
    pub(crate) async fn command(&mut self, phase: Phase, line: &[u8]) -> Result<Reply, Trouble> {
        self.output.extend_from_slice(line);
        self.output.extend_from_slice(b"\r\n");
        self.flush(phase).await;
        self.reply(phase).await
    }

    /// Does the same as [`Channel::command`] for a line that contains a secret. Our copy of the line is overwritten.
    pub(crate) async fn secret_command(&mut self, phase: Phase, line: &[u8]) -> Result<Reply, Trouble> {
        self.told_secrets.keep_line(line);
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
            Phase::Content => self.content += self.output.len(),
            // The end of the content is in front of it.
            Phase::Dot => {
                let octets = std::mem::take(&mut self.content) + self.output.len();
                self.trace(TracedSpeaker::Us, &format_args!("(content, {octets} octets)"));
                self.show(&".");
            }
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

    /// Waits for the next reply and returns it.
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

    /// Returns the part of a reply that has arrived when its end never comes (promise 5).
    fn cut_off(&mut self, phase: Phase, cause: Cause) -> Result<Reply, Trouble> {
        self.broken.get_or_insert(cause.clone());
        let reply = self.reading.cut_off().filter(|_| phase == Phase::Dot);
        reply.map(|reply| self.heard(phase, reply)).ok_or_else(|| self.trouble(phase, cause))
    }

    fn heard(&self, phase: Phase, reply: Reply) -> Reply {
        let said =
            RelayLine { id: self.subject, route: self.peer.route(), relay: &self.peer, command: &phase };
        match (phase, reply.severity()) {
            (Phase::Auth, Severity::Intermediate) => {
                log::relay_said(&said, &NOT_SHOWN);
                self.trace(TracedSpeaker::Them, &NOT_SHOWN);
                reply
            }
            _ => {
                let reply = self.told_secrets.masked_reply(reply);
                log::relay_said(&said, &reply);
                self.trace(TracedSpeaker::Them, &reply);
                reply
            }
        }
    }

    /// Logs the commands that are about to be written.
    fn show_lines(&self) {
        let lines = self.output.split(|octet| *octet == b'\n').map(<[u8]>::trim_ascii_end);
        for line in lines.filter(|line| !line.is_empty()) {
            self.show(&String::from_utf8_lossy(line));
        }
    }

    fn show(&self, command: &dyn fmt::Display) {
        self.trace(TracedSpeaker::Us, command);
        log::relay_told(&RelayLine {
            id: self.subject,
            route: self.peer.route(),
            relay: &self.peer,
            command,
        });
    }

    /// Tells those who trace what was said, without secrets.
    fn trace(&self, by: TracedSpeaker, text: &dyn fmt::Display) {
        self.traced.tell(&self.peer, self.subject, by, text);
    }

    /// Returns whether nothing more can be read.
    pub(crate) fn is_at_end(&self) -> bool {
        self.broken.is_some() && self.unread().is_empty()
    }

    /// Returns whether the relay has sent something that we did not ask for, or closed the connection.
    pub(crate) async fn has_spoken(&mut self) -> bool {
        self.has_words().await || self.broken.is_some()
    }

    /// Returns whether the relay has sent something that we did not ask for.
    pub(crate) async fn has_words(&mut self) -> bool {
        poll_fn(|cx| {
            let _ = self.poll_hear(cx);
            Poll::Ready(())
        })
        .await;
        !self.unread().is_empty()
    }

    /// Returns whether the relay sends nothing for `period`, or has closed the connection.
    pub(crate) async fn stays_silent(&mut self, period: Duration) -> bool {
        if !self.has_words().await {
            let _ = timeout(period, poll_fn(|cx| self.poll_hear(cx))).await;
        }
        self.unread().is_empty()
    }

    /// Returns the stream, to start TLS on it; an error if the relay has sent octets that we did not ask for, since they
    /// would be taken for octets within TLS (RFC 3207 4, CVE-2011-0411).
    pub(crate) fn into_stream(self) -> Result<S, Trouble> {
        if self.unread().is_empty() {
            return Ok(self.stream);
        }
        let shown = shown(self.unread());
        let words = format!("octets injected behind the reply to STARTTLS: \"{shown}\"");
        Err(self.trouble(Phase::StartTls, Cause::Other(words)))
    }

    /// Ends the connection: QUIT, its reply, and the end of TLS and TCP, all within the limit of QUIT. Errors are
    /// ignored. Returns whether the relay replied, or ended the connection itself.
    pub(crate) async fn quit(mut self) -> bool {
        let limit = self.timeouts.quit;
        self.subject = None;
        let farewell = async {
            let replied = self.command(Phase::Quit, b"QUIT").await;
            let _ = poll_fn(|cx| Pin::new(&mut self.stream).poll_shutdown(cx)).await;
            !matches!(replied, Err(Trouble { cause: Cause::TimedOut(_), .. }))
        };
        timeout(limit, farewell).await.unwrap_or(false)
    }

    fn unread(&self) -> &[u8] {
        &self.input[self.read..]
    }

    /// Returns a complete reply from the start of the input, if there is one.
    fn take_reply(&mut self) -> Result<Option<Reply>, Cause> {
        let unread = &self.input[self.read..];
        let taken = self.reading.take(unread);
        let safe = |octets: &[u8]| self.told_secrets.masked(&shown(octets));
        let no_reply = |why| match why {
            BadReply::NotAReply => Cause::Garbage(safe(unread)),
            BadReply::TooLong => Cause::Overlong {
                part: self.reading.overlong_part(),
                begins: safe(self.reading.line_start()),
            },
        };
        let (octets, reply) = taken.map_err(no_reply)?;
        self.read += octets;
        if self.read == self.input.len() {
            self.input.clear();
            self.read = 0;
        }
        Ok(reply)
    }

    /// Writes `output` from `written` on and flushes; reads from the relay at the same time.
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

    /// Reads octets that have arrived. It is ready when some did, or when `broken` says why none will.
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

/// Returns the cause for an I/O error. A connection that ends without a TLS close_notify, or by a reset, counts as
/// closed.
fn hung_up(error: io::Error) -> Cause {
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            Cause::Closed
        }
        _ => Cause::from(error),
    }
}

/// Returns the start of `octets`, made safe for one line of a log.
fn shown(octets: &[u8]) -> String {
    octets[..octets.len().min(MAX_SHOWN_OCTETS)].escape_ascii().to_string()
}

#[cfg(test)]
mod tests;
