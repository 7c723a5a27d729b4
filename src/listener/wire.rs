//! The buffers and time limits of one session: the input that is not consumed yet, and the replies that are not sent
//! yet.
//!
//! Promises:
//! 1. Replies are sent in as few writes as the pipelining of the client allows. They are held back until more input
//!    is needed ([`Wire::bring`]) or something else is waited for ([`Wire::flush`]).
//! 2. Memory is bounded: [`MAX_INPUT`] octets of input, and [`MAX_OUTPUT`] octets of replies and one reply more.
//!    While a client does not read its replies, we do not read from it.
//! 3. The idle time counts from the last thing that was *done* ([`Wire::note_progress`]), and not from the last
//!    octet: a command that is sent octet by octet has no more time than one that is sent at once. Content that is
//!    wanted has a limit of its own.
//! 4. A transaction has a limit as a whole, which only octets of content extend, so one that arrives octet by octet
//!    ends. A session without a transaction ends, too, however busy it is. A transaction must begin within that
//!    limit, and ends at the latest its own limit after it.
//!
//! Fails: with the [`SessionEnd`] of the session.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep_until, timeout};

use crate::listener::backend::{BoxStream, CoveredStream};
use crate::listener::stop::StopSignal;
use crate::smtp::reply::Reply;
use crate::smtp::session::MAX_UNCONSUMED_OCTETS;

/// The way in which a session ended.
#[derive(Debug)]
pub enum SessionEnd {
    /// The last reply was sent: after QUIT, or because the session core closed the session.
    Closed,
    /// The client closed the connection, or the connection broke.
    Lost(io::Error),
    /// The client did nothing for too long, and got 421 4.4.2.
    TimedOut,
    /// The client sent no message for too long, and got 421 4.4.2.
    NoMessage,
    /// The client did not read our replies.
    NotReading,
    /// The daemon is stopping; the client got 421 4.3.2.
    Stopped,
    /// The client sent more octets than the session core can need at once.
    LineTooLong,
    /// The TLS handshake failed.
    NoTls(io::Error),
    /// The backend closed the connection.
    Dropped,
}

impl SessionEnd {
    /// Returns the kind of end as words for the log, which contain nothing that the client sent.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            SessionEnd::Closed => "closed",
            SessionEnd::Lost(_) => "lost connection",
            SessionEnd::TimedOut => "timeout",
            SessionEnd::NoMessage => "timeout: no message",
            SessionEnd::NotReading => "timeout: replies are not read",
            SessionEnd::Stopped => "stopping",
            SessionEnd::LineTooLong => "line without end",
            SessionEnd::NoTls(_) => "TLS handshake failed",
            SessionEnd::Dropped => "dropped",
        }
    }
}

/// The size of the first buffer of a session. The commands and the content of a usual message fit into it.
const FIRST_INPUT: usize = 8 << 10;

/// The size of the buffer after the first one was full.
const MAX_INPUT: usize = 64 << 10;

const _: () = assert!(MAX_INPUT > MAX_UNCONSUMED_OCTETS, "a line that the core waits for fits");

/// Replies are written when there are this many octets of them, even if more input is at hand.
const MAX_OUTPUT: usize = 16 << 10;

/// The time for sending the last reply, and for the client to read it.
const FAREWELL: Duration = Duration::from_secs(1);

/// Content that arrives with this many octets a second may take as long as it needs.
const FAIR_PACE: u64 = 256;

/// The time limits for a client.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// The time from one command to the next (RFC 5321 4.5.3.2.7: at least five minutes).
    pub idle: Duration,
    /// The time from one piece of content to the next, while it is wanted.
    pub content: Duration,
    /// The time from the beginning of a transaction to its end.
    pub transaction: Duration,
    /// The time from the greeting, or the end of a message, to the beginning of the next transaction.
    pub without_message: Duration,
    /// The time in which a client must read a reply.
    pub write: Duration,
}

impl Pace {
    /// Returns limits that are `limit` for every wait, without a limit for a whole transaction or a session without
    /// one.
    pub const fn even(limit: Duration) -> Self {
        Pace {
            idle: limit,
            content: limit,
            transaction: Duration::MAX,
            without_message: Duration::MAX,
            write: limit,
        }
    }
}

/// The input that was read and not consumed: `octets[start..end]`.
struct InputBuffer {
    octets: Vec<u8>,
    start: usize,
    end: usize,
}

impl InputBuffer {
    fn new() -> Self {
        InputBuffer { octets: vec![0; FIRST_INPUT], start: 0, end: 0 }
    }

    /// Moves the input to the front of the buffer, and makes the buffer larger if the last read has filled it.
    fn make_room(&mut self) -> Result<(), SessionEnd> {
        let was_filled = self.end == self.octets.len();
        self.octets.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        if was_filled && self.octets.len() < MAX_INPUT {
            self.octets.resize(MAX_INPUT, 0);
        }
        // The session core consumes any line long before that; this protects against an error in the core.
        if self.end == self.octets.len() { Err(SessionEnd::LineTooLong) } else { Ok(()) }
    }

    /// Frees the large buffer when it is empty.
    fn shrink(&mut self) {
        if self.end == 0 && self.octets.len() > FIRST_INPUT {
            self.octets = vec![0; FIRST_INPUT];
        }
    }

    fn received(&mut self, got: io::Result<usize>) -> Result<(), SessionEnd> {
        match got {
            Ok(0) => Err(SessionEnd::Lost(io::ErrorKind::UnexpectedEof.into())),
            Ok(octets) => {
                self.end += octets;
                Ok(())
            }
            Err(error) => Err(SessionEnd::Lost(error)),
        }
    }
}

/// The stream of one session, with its buffers.
pub(super) struct Wire {
    stream: BoxStream,
    input: InputBuffer,
    output: Vec<u8>,
    pace: Pace,
    stop: StopSignal,
    idle_since: Instant,
    /// The time at which the next transaction must have begun.
    message_until: Option<Instant>,
    /// The time at which the open transaction must have ended.
    transaction_until: Option<Instant>,
}

impl Wire {
    pub fn new(stream: BoxStream, pace: Pace, stop: StopSignal) -> Self {
        let now = Instant::now();
        Wire {
            stream,
            input: InputBuffer::new(),
            output: Vec::new(),
            pace,
            stop,
            idle_since: now,
            message_until: now.checked_add(pace.without_message),
            transaction_until: None,
        }
    }

    /// Returns the input that was not consumed.
    pub fn input(&self) -> &[u8] {
        &self.input.octets[self.input.start..self.input.end]
    }

    pub fn consume(&mut self, octets: usize) {
        self.input.start += octets;
    }

    /// Notes that the client has done something: the idle time begins anew.
    pub fn note_progress(&mut self) {
        self.idle_since = Instant::now();
    }

    /// Notes whether a transaction is open. Its time limit begins with it, but if the session had no message for a
    /// while, only the time that is left to the session counts.
    pub fn note_transaction(&mut self, is_open: bool) {
        let begun = [Some(Instant::now()), self.message_until].into_iter().flatten().min();
        let until = || begun.and_then(|begun| begun.checked_add(self.pace.transaction));
        self.transaction_until = if is_open { self.transaction_until.or_else(until) } else { None };
    }

    /// Notes that a message has ended, accepted or not.
    pub fn note_message(&mut self) {
        self.message_until = Instant::now().checked_add(self.pace.without_message);
        self.note_progress();
    }

    /// Notes that `octets` octets of content have arrived, which extend the limit of the transaction.
    pub fn note_content(&mut self, octets: usize) {
        let most = Instant::now().checked_add(self.pace.transaction);
        let more = Duration::from_micros(octets as u64 * 1_000_000 / FAIR_PACE);
        self.transaction_until =
            self.transaction_until.map(|until| until + more).zip(most).map(|(a, b)| a.min(b));
    }

    /// Sends all replies, and then reads more input. `in_flight` says that content is arriving: it has its own time
    /// limit, and a stop lets it complete until the deadline. Otherwise a stop ends the wait at once.
    pub async fn bring(&mut self, in_flight: bool) -> Result<(), SessionEnd> {
        self.flush().await?;
        self.input.make_room()?;
        if !in_flight {
            self.input.shrink();
        }
        let idle_until = self.idle_since + if in_flight { self.pace.content } else { self.pace.idle };
        let (limit, end) = match self.transaction_until {
            Some(until) => (Some(until), SessionEnd::TimedOut),
            None => (self.message_until, SessionEnd::NoMessage),
        };
        let (idle_until, end) = match limit {
            Some(until) if until < idle_until => (until, end),
            _ => (idle_until, SessionEnd::TimedOut),
        };
        loop {
            let stop_at = self.stop.deadline();
            let until = stop_at.map_or(idle_until, |deadline| deadline.min(idle_until));
            // The stop is checked before the read, since a busy client always has input ready.
            if stop_at.is_some_and(|deadline| !in_flight || deadline <= Instant::now()) {
                return Err(SessionEnd::Stopped);
            }
            let Wire { stream, input, stop, .. } = self;
            tokio::select! {
                biased;
                got = stream.read(&mut input.octets[input.end..]) => return input.received(got),
                _ = stop.given(), if stop_at.is_none() => {}
                () = sleep_until(until) => {
                    return Err(if stop_at == Some(until) { SessionEnd::Stopped } else { end });
                }
            }
        }
    }

    /// Adds `reply` to the output, which is sent before anything is waited for.
    pub async fn say(&mut self, reply: &Reply) -> Result<(), SessionEnd> {
        reply.encode(&mut self.output);
        self.flush_if_long().await
    }

    /// Adds octets that are no [`Reply`] to the output.
    pub async fn say_octets(&mut self, octets: &[u8]) -> Result<(), SessionEnd> {
        self.output.extend_from_slice(octets);
        self.flush_if_long().await
    }

    async fn flush_if_long(&mut self) -> Result<(), SessionEnd> {
        if self.output.len() >= MAX_OUTPUT { self.flush().await } else { Ok(()) }
    }

    /// Sends the output.
    pub async fn flush(&mut self) -> Result<(), SessionEnd> {
        let limit = self.pace.write;
        self.flush_within(limit).await
    }

    async fn flush_within(&mut self, limit: Duration) -> Result<(), SessionEnd> {
        if self.output.is_empty() {
            return Ok(());
        }
        let Wire { stream, output, .. } = self;
        let write = async {
            stream.write_all(output).await?;
            stream.flush().await
        };
        let written = timeout(limit, write).await;
        self.output.clear();
        match written {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(SessionEnd::Lost(error)),
            Err(_) => Err(SessionEnd::NotReading),
        }
    }

    /// Replaces the stream with the result of `upgrade`, within the time for one command. A stop ends the wait, since
    /// no message is arriving. Returns whether a login can be bound to the TLS session.
    pub async fn upgrade<F>(&mut self, upgrade: impl FnOnce(BoxStream) -> F) -> Result<bool, SessionEnd>
    where
        F: Future<Output = io::Result<CoveredStream>>,
    {
        // RFC 3207 6: plaintext that was sent before the handshake must not be taken for input within TLS.
        if !self.input().is_empty() {
            return Err(SessionEnd::NoTls(io::Error::new(
                io::ErrorKind::InvalidData,
                "plaintext behind STARTTLS",
            )));
        }
        let plain = std::mem::replace(&mut self.stream, Box::new(tokio::io::empty()));
        let upgraded = tokio::select! {
            biased;
            upgraded = timeout(self.pace.idle, upgrade(plain)) => upgraded,
            _ = self.stop.given() => return Err(SessionEnd::Stopped),
        };
        match upgraded {
            Ok(Ok(covered)) => {
                self.stream = covered.stream;
                Ok(covered.can_bind)
            }
            Ok(Err(error)) => Err(SessionEnd::NoTls(error)),
            Err(_) => Err(SessionEnd::NoTls(io::ErrorKind::TimedOut.into())),
        }
    }

    /// Sends `last_words`, if any, and closes the connection in such a way that the client can read them: closing a
    /// socket with unread input would reset the connection, and the client could lose what was written.
    pub async fn hang_up(mut self, last_words: Option<&Reply>) {
        if let Some(reply) = last_words {
            reply.encode(&mut self.output);
        }
        if self.flush_within(FAREWELL).await.is_err() {
            return;
        }
        let Wire { mut stream, mut input, .. } = self;
        let until_closed = async {
            stream.shutdown().await?;
            while stream.read(&mut input.octets).await? > 0 {}
            io::Result::Ok(())
        };
        // It does not matter whether the client reads it.
        let _ = timeout(FAREWELL, until_closed).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listener::stop::stop_signal;
    use tokio::io::{DuplexStream, duplex};

    fn wire(room: usize) -> (Wire, DuplexStream) {
        let (ours, theirs) = duplex(room);
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        let pace = Pace {
            idle: minutes(5),
            content: minutes(5),
            transaction: minutes(60),
            without_message: minutes(60),
            write: minutes(1),
        };
        (Wire::new(Box::new(ours), pace, stop_signal().1), theirs)
    }

    #[tokio::test(start_paused = true)]
    async fn replies_held_back_are_bounded() {
        let (mut wire, _theirs) = wire(1 << 20);
        let reply = Reply::bare(250, "x".repeat(100));
        for _ in 0..1000 {
            wire.say(&reply).await.unwrap();
            assert!(wire.output.len() < MAX_OUTPUT);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn input_grows_once_and_is_bounded() {
        let (mut wire, mut theirs) = wire(1 << 20);
        theirs.write_all(&[b'x'; 2 * MAX_INPUT]).await.unwrap();
        let mut sizes = Vec::new();
        let end = loop {
            match wire.bring(false).await {
                Ok(()) => sizes.push(wire.input().len()),
                Err(end) => break end,
            }
        };
        assert!(matches!(end, SessionEnd::LineTooLong), "{end}");
        assert_eq!(sizes, [FIRST_INPUT, MAX_INPUT]);
        assert_eq!(wire.input.octets.len(), MAX_INPUT);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_not_consumed_comes_again_with_what_follows() {
        let (mut wire, mut theirs) = wire(64);
        for (sent, consumed, seen) in [("NOOP\r\nQU", 6, "NOOP\r\nQU"), ("IT\r\n", 0, "QUIT\r\n")] {
            theirs.write_all(sent.as_bytes()).await.unwrap();
            wire.bring(false).await.unwrap();
            assert_eq!(wire.input(), seen.as_bytes());
            wire.consume(consumed);
        }
    }
}
