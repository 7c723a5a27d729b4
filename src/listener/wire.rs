//! The octets of one session: what came in and is not yet understood, what is to go out, and how long
//! either may take.
//!
//! Promises:
//! 1. Replies leave in as few writes as the client's pipelining allows: they are held back until more
//!    input is needed ([`Wire::bring`]) or somebody is waited for ([`Wire::flush`]).
//! 2. Memory is bounded: [`MAX_INPUT`] octets of input, [`MAX_OUTPUT`] of replies and one reply more.
//!    A client that does not read its replies is not read from.
//! 3. The idle clock runs from the last thing *done* ([`Wire::note_progress`]), not the last octet
//!    received: a command sent octet by octet has no more time than one sent whole. Content that is wanted has
//!    a limit of its own.
//!
//! 4. A whole transaction has a limit, too, which only content extends, by its octets: one that comes octet by octet
//!    ends. So does a session without one, however busy it is: no transaction ends later than its limit behind the
//!    moment at which it would have had to begin.
//!
//! Fails with the [`SessionEnd`] of the session.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep_until, timeout};

use crate::listener::backend::BoxStream;
use crate::listener::stop::StopSignal;
use crate::smtp::reply::Reply;
use crate::smtp::session::MAX_UNCONSUMED_OCTETS;

/// How a session ended.
#[derive(Debug)]
pub enum SessionEnd {
    /// In words: after QUIT, or because the session core had enough.
    Closed,
    /// The client went away, or the connection broke.
    Lost(io::Error),
    /// The client did nothing for too long; it was told 421 4.4.2.
    TimedOut,
    /// The client brought no message for too long; it was told 421 4.4.2.
    NoMessage,
    /// The client did not read our replies.
    NotReading,
    /// We are stopping; the client was told 421 4.3.2.
    Stopped,
    /// More input than the session core can ever need at once.
    LineTooLong,
    /// The TLS handshake failed.
    NoTls(io::Error),
    /// The backend dropped it.
    Dropped,
}

impl SessionEnd {
    /// The kind of end, in words that have nothing of the client's.
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

/// A session's first buffer: room for the commands and content of a usual message at once.
const FIRST_INPUT: usize = 8 << 10;

/// The buffer of a session that has filled its first one.
const MAX_INPUT: usize = 64 << 10;

const _: () = assert!(MAX_INPUT > MAX_UNCONSUMED_OCTETS, "a line that the core waits for fits");

/// Replies are written when they come to this, whatever else there is to do.
const MAX_OUTPUT: usize = 16 << 10;

/// For last words, and for the client to read them.
const FAREWELL: Duration = Duration::from_secs(1);

/// Content that comes at so many octets a second has all the time it needs.
const FAIR_PACE: u64 = 256;

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// From one command to the next (RFC 5321 4.5.3.2.7: at least five minutes).
    pub idle: Duration,
    /// From one piece of a message that is being taken to the next.
    pub content: Duration,
    /// From the beginning of a transaction to its end.
    pub transaction: Duration,
    /// From the greeting, or the end of a message, to the beginning of the next transaction.
    pub without_message: Duration,
    /// To make room for our replies.
    pub write: Duration,
}

impl Pace {
    /// The same for every wait; none for a whole transaction, and none for a session without one.
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

/// Input that was read: `octets[start..end]`.
struct Input {
    octets: Vec<u8>,
    start: usize,
    end: usize,
}

impl Input {
    fn new() -> Self {
        Input { octets: vec![0; FIRST_INPUT], start: 0, end: 0 }
    }

    /// Moves what is left to the front, and grows where the last read filled everything.
    fn make_room(&mut self) -> Result<(), SessionEnd> {
        let was_filled = self.end == self.octets.len();
        self.octets.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        if was_filled && self.octets.len() < MAX_INPUT {
            self.octets.resize(MAX_INPUT, 0);
        }
        // The session core takes any line long before that; this is for a core that does not.
        if self.end == self.octets.len() { Err(SessionEnd::LineTooLong) } else { Ok(()) }
    }

    /// Gives back what a large message needed.
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

/// One session's stream with its buffers.
pub(super) struct Wire {
    stream: BoxStream,
    input: Input,
    output: Vec<u8>,
    pace: Pace,
    stop: StopSignal,
    idle_since: Instant,
    /// When the next transaction must have begun.
    message_until: Option<Instant>,
    /// When the transaction that is open must be over.
    transaction_until: Option<Instant>,
}

impl Wire {
    pub fn new(stream: BoxStream, pace: Pace, stop: StopSignal) -> Self {
        let now = Instant::now();
        Wire {
            stream,
            input: Input::new(),
            output: Vec::new(),
            pace,
            stop,
            idle_since: now,
            message_until: now.checked_add(pace.without_message),
            transaction_until: None,
        }
    }

    /// What came in and was not consumed.
    pub fn input(&self) -> &[u8] {
        &self.input.octets[self.input.start..self.input.end]
    }

    pub fn consume(&mut self, octets: usize) {
        self.input.start += octets;
    }

    /// The client got something done: the idle clock starts anew.
    pub fn note_progress(&mut self) {
        self.idle_since = Instant::now();
    }

    /// Whether a transaction is open: its limit begins with it, but one that follows others without a message has no
    /// more time than is left to the session.
    pub fn note_transaction(&mut self, is_open: bool) {
        let begun = [Some(Instant::now()), self.message_until].into_iter().flatten().min();
        let until = || begun.and_then(|begun| begun.checked_add(self.pace.transaction));
        self.transaction_until = if is_open { self.transaction_until.or_else(until) } else { None };
    }

    /// A message has come to its end, whatever became of it.
    pub fn note_message(&mut self) {
        self.message_until = Instant::now().checked_add(self.pace.without_message);
        self.note_progress();
    }

    /// So many octets of content have come.
    pub fn note_content(&mut self, octets: usize) {
        let most = Instant::now().checked_add(self.pace.transaction);
        let more = Duration::from_micros(octets as u64 * 1_000_000 / FAIR_PACE);
        self.transaction_until =
            self.transaction_until.map(|until| until + more).zip(most).map(|(a, b)| a.min(b));
    }

    /// Reads more, once all replies are out. `in_flight`: content is coming in, which has its own time, and
    /// which a stop lets finish until its deadline; otherwise a stop ends the wait at once.
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
            // Asked before the read, which a busy client always has ready.
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

    /// Says `reply`, some time before anything is waited for.
    pub async fn say(&mut self, reply: &Reply) -> Result<(), SessionEnd> {
        reply.encode(&mut self.output);
        if self.output.len() >= MAX_OUTPUT { self.flush().await } else { Ok(()) }
    }

    /// Writes what was said so far.
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

    /// Replaces the stream by what `upgrade` makes of it, in the time of one command. A stop ends the wait:
    /// nothing is in flight.
    pub async fn upgrade<F>(&mut self, upgrade: impl FnOnce(BoxStream) -> F) -> Result<(), SessionEnd>
    where
        F: Future<Output = io::Result<BoxStream>>,
    {
        // RFC 3207 6: what was said in clear text must not be taken for said under TLS.
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
            Ok(Ok(stream)) => self.stream = stream,
            Ok(Err(error)) => return Err(SessionEnd::NoTls(error)),
            Err(_) => return Err(SessionEnd::NoTls(io::ErrorKind::TimedOut.into())),
        }
        Ok(())
    }

    /// Says `last_words` if any, and closes so that the client can read them: closing a socket with
    /// unread input resets it, and a reset overtakes what was written.
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
        // How the client takes it is the client's affair.
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
