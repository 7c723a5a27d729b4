//! Live dialogues for an operator who looks on: every command and reply of the relay client and of the listener is also told to those who
//! trace.
//!
//! Promises
//! 1. While nobody traces, a line costs one relaxed load of a counter.
//! 2. Nobody is waited for, and memory is bounded: of [`KEPT`] lines, which all tracers share, a slow one loses the oldest, and is told
//!    how many. A line takes at most what a foreign text takes in the log. There are [`MOST`] tracers at once.
//! 3. No secret and no content is in a line: whoever tells one gives it without them. There is one such place for relays
//!    (`relay/channel.rs`), where secrets are taken out for the log, too, and one for clients (`listener/drive.rs`).
//!
//! Not here: who may trace (`admin/control.rs`), which lines are wanted (`cli/trace.rs`).

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::error::RecvError;
#[cfg(test)]
use tokio::sync::broadcast::error::TryRecvError;
use tokio::sync::broadcast::{Receiver, Sender, channel};

use crate::log::Foreign;
use crate::queue_id::QueueId;

/// The lines that are kept for those who have not read them yet.
const KEPT: usize = 2048;

/// The most tracers at once.
const MOST: usize = 8;

/// The text that stands for any part of an AUTH exchange.
pub const NOT_SHOWN: &str = "(a part of AUTH, not shown)";

/// One line of a dialogue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TracedLine {
    /// When it was written or read (RFC 3339).
    pub time: String,
    /// The dialogue to which it belongs: `relay`, or `listener`.
    pub dialogue: TracedSide,
    /// The number of the connection, since the start of the daemon; another one from STARTTLS to a relay on.
    pub connection: u64,
    /// The relay or the client, as the log names it.
    pub peer: String,
    /// The message that the dialogue with a relay is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<QueueId>,
    /// Who has said it.
    pub by: TracedSpeaker,
    /// What was said, without secrets and content.
    pub text: String,
}

/// A side of the daemon on which it speaks SMTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TracedSide {
    /// Towards a relay, as a client.
    Relay,
    /// Towards a client, as a server.
    Listener,
}

/// One of the two who speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TracedSpeaker {
    /// nullmta.
    Us,
    /// The relay, or the client.
    Them,
}

/// One connection, whose lines are told.
#[derive(Debug)]
pub struct TracedConnection {
    side: TracedSide,
    number: u64,
}

/// A tracer, from the moment at which it was made.
pub struct Tracer(Receiver<Arc<TracedLine>>);

/// What a tracer hears.
#[derive(Debug)]
pub enum Traced {
    /// A line of a dialogue.
    Line(Arc<TracedLine>),
    /// So many lines were missed.
    Missed(u64),
}

/// Held by a test that counts on a tracer, or takes all of them.
#[cfg(test)]
pub(crate) static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

static TRACERS: AtomicUsize = AtomicUsize::new(0);
static CONNECTIONS: AtomicU64 = AtomicU64::new(0);
static LINES: LazyLock<Sender<Arc<TracedLine>>> = LazyLock::new(|| channel(KEPT).0);

impl TracedConnection {
    /// Returns a new connection on this side.
    pub fn new(side: TracedSide) -> Self {
        TracedConnection { side, number: CONNECTIONS.fetch_add(1, Relaxed) + 1 }
    }

    /// Returns whether somebody traces, so that it is worth while to say what is said.
    pub fn is_traced(&self) -> bool {
        TRACERS.load(Relaxed) > 0
    }

    /// Tells `text` to those who trace. It must have no secret and no content in it.
    pub fn tell(
        &self,
        peer: &dyn fmt::Display,
        id: Option<QueueId>,
        by: TracedSpeaker,
        text: &dyn fmt::Display,
    ) {
        if !self.is_traced() {
            return;
        }
        let line = TracedLine {
            time: format!("{:.3}", Timestamp::now()),
            dialogue: self.side,
            connection: self.number,
            peer: peer.to_string(),
            id,
            by,
            text: Foreign(&text.to_string()).to_string(),
        };
        // The last tracer may just have gone.
        let _ = LINES.send(Arc::new(line));
    }
}

impl Tracer {
    /// Begins to trace; `None` if there are too many tracers.
    pub fn begin() -> Option<Tracer> {
        let more = |tracers: usize| (tracers < MOST).then_some(tracers + 1);
        TRACERS.fetch_update(Relaxed, Relaxed, more).ok()?;
        Some(Tracer(LINES.subscribe()))
    }

    /// Returns what was said so far, and was not heard yet.
    #[cfg(test)]
    pub(crate) fn so_far(&mut self) -> Vec<String> {
        let next = || match self.0.try_recv() {
            Ok(line) => Some(Some(line.text.clone())),
            Err(TryRecvError::Lagged(_)) => Some(None),
            Err(_) => None,
        };
        std::iter::from_fn(next).flatten().collect()
    }

    /// Returns what comes next.
    pub async fn next(&mut self) -> Traced {
        loop {
            match self.0.recv().await {
                Ok(line) => return Traced::Line(line),
                Err(RecvError::Lagged(missed)) => return Traced::Missed(missed),
                // The sender is there for as long as the program.
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        TRACERS.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Other tests of this process may speak meanwhile.
    async fn heard_of(tracer: &mut Tracer, peer: &str) -> String {
        loop {
            match tracer.next().await {
                Traced::Line(line) if line.peer == peer => return line.text.clone(),
                _ => {}
            }
        }
    }

    #[tokio::test]
    async fn a_tracer_hears_what_comes_after_it_and_is_told_what_it_missed() {
        let connection = TracedConnection::new(TracedSide::Relay);
        connection.tell(&"lost", None, TracedSpeaker::Us, &"EHLO x");
        let _alone = ALONE.lock().await;
        let mut tracer = Tracer::begin().unwrap();
        connection.tell(&"heard", None, TracedSpeaker::Them, &"250 ok\u{1b}[2J");
        assert_eq!(heard_of(&mut tracer, "heard").await, "250 ok\\u{1b}[2J");
        for _ in 0..KEPT + 3 {
            connection.tell(&"many", None, TracedSpeaker::Us, &"NOOP");
        }
        assert!(matches!(tracer.next().await, Traced::Missed(missed) if missed >= 3));
        let others: Vec<Tracer> = std::iter::from_fn(Tracer::begin).take(MOST).collect();
        assert!(others.len() < MOST, "there is an end of them");
    }
}
