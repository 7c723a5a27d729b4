//! What can come to the queue, and what it can want done.
//!
//! Promises: nothing reaches the queue's state but an [`Event`], and nothing leaves it but an [`Effect`]; both are plain
//! values. Not here: what follows from what (`reducer.rs`), how it is done (`owner.rs`).

use std::time::Duration;

use super::super::refusals::{Refusal, RefusalRule, Ruling};
use super::super::schedule::RetryPolicy;
use super::super::{ConnectionId, MessageStanding, QueueStatus, Taken, TooSoon};
use crate::outcome::HeldUntil;
use crate::queue_id::QueueId;
use crate::relay::Trouble;
use crate::spool::{CommitError, Entry};

/// What of the configuration the reducer follows.
#[derive(Clone, Debug)]
pub(in crate::queue) struct QueuePolicy {
    /// How often and how long messages are tried.
    pub retry: RetryPolicy,
    /// How many connections to the relay may exist.
    pub max_connections: usize,
    /// What becomes of refusals that are not about one message.
    pub refusals: RefusalRule,
    /// `rewrite.null-sender` is set.
    pub has_null_sender: bool,
}

/// What became of a message that was under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::queue) enum Disposition {
    /// It is no longer on the spool.
    Removed,
    /// Its own 4xx: try again by age.
    Deferred {
        /// A delay DSN has been spooled just now.
        warned: bool,
    },
    /// Relay trouble: nothing was said about it.
    Untried,
    /// The connection was lost in the middle of it, which it may be to blame for.
    Lost {
        /// A delay DSN has been spooled just now.
        warned: bool,
    },
    /// Trouble of our own: try again by age, and forget nothing.
    Postponed,
    /// Refused in a way that only an operator can mend: not tried again by itself.
    Held,
    /// It failed, and nobody can be told; or it is damaged.
    Dead,
}

/// Everything that can come.
#[derive(Debug)]
pub(in crate::queue) enum Event {
    /// The spool has committed a message.
    Arrived(Entry),
    /// A connection that is ready for a message asks for one; with `wait` it stays for one that comes later.
    Wanted { connection: ConnectionId, wait: bool },
    /// Nobody was there any more to be given this message.
    Missed(QueueId),
    /// The relay has answered a transaction.
    Answered(ConnectionId),
    /// The relay has taken a message.
    TakenByRelay {
        connection: ConnectionId,
        /// The message is from `<>`.
        is_from_null: bool,
    },
    /// The relay has refused a message in a way that may say more than its fate: [`QueueAnswer::Ruling`].
    Refused { connection: ConnectionId, refusal: Box<Refusal> },
    /// The relay has taken leave of a connection that had served, within this message: [`QueueAnswer::IsExcused`].
    Left { connection: ConnectionId, id: QueueId },
    /// The dialogue of a connection broke off within this message, of which the relay may have a copy if `in_doubt`.
    Lost { connection: ConnectionId, id: QueueId, in_doubt: bool },
    /// The log has said that the run before may have sent this message.
    DuplicateTold(QueueId),
    /// The spool did not record what became of this message; it is asked again until it does.
    Unrecorded { id: QueueId, why: CommitError },
    /// This message was not sent, since the spool did not record that it may have been.
    Unmarked { id: QueueId, why: CommitError },
    /// After that: now the spool would record it.
    Recordable,
    /// A message is no longer under way.
    Became { id: QueueId, disposition: Disposition },
    /// A connection has ended, by this trouble if by any.
    Ended { connection: ConnectionId, trouble: Option<Trouble> },
    /// The secret for the login is another than the one that the relay has refused.
    SecretChanged,
    /// An operator wants everything tried.
    ProbeNow,
    /// A client wants it: [`QueueAnswer::Probe`].
    ProbeForClient,
    /// The configuration was read again; its relay has taken a message before if `has_taken`.
    Reconfigured { policy: Box<QueuePolicy>, has_taken: bool },
    /// Somebody asks what these messages are doing: [`QueueAnswer::Standings`].
    Standings(Vec<QueueId>),
    /// Somebody asks for the queue in numbers: [`QueueAnswer::Status`].
    Status,
    /// No more messages are given out, and those under way are cut off after `patience`.
    Stop { patience: Duration },
    /// All that has come is taken in, and time may have passed: messages are given out now.
    Tick,
}

/// What is said to whoever asked. An event that asks has exactly one.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::queue) enum QueueAnswer {
    /// What a refusal means to its message.
    Ruling(Ruling),
    /// Whether the end of a connection is not charged to the message that it had.
    IsExcused(bool),
    /// Why the queue is not tried on a client's request, if it is not.
    Probe(Option<TooSoon>),
    /// What those of the messages are doing that are known.
    Standings(Vec<MessageStanding>),
    /// The queue in numbers.
    Status(Box<QueueStatus>),
}

/// Everything that the queue can want done.
#[derive(Debug)]
pub(in crate::queue) enum Effect {
    /// Open a connection, and call it this.
    Connect(ConnectionId),
    /// End a connection at once. [`Event::Ended`] follows.
    CutOff(ConnectionId),
    /// Give this to the connection that asked; with `None` it is to end. [`Event::Missed`] follows if it is not there.
    Give { connection: ConnectionId, taken: Option<Taken> },
    /// Say this to whoever asked.
    QueueAnswer(QueueAnswer),
    /// Find out when the spool records again, by way of this message. [`Event::Recordable`] follows.
    AwaitRecording(QueueId),
    /// Look out for another secret than the one refused, until [`Effect::ForgetSecret`]. [`Event::SecretChanged`] follows.
    WatchSecret,
    /// Look no more.
    ForgetSecret,
    /// Remember on the spool that the relay of this name takes mail.
    RememberRelay(String),
    /// Tell the spool what the relay clock says, in seconds.
    SetRelayClock(u32),
    /// Write this to the log.
    Log(Box<LogLine>),
}

/// A line of the log. What it says in words is in `log.rs`.
#[derive(Debug)]
pub(in crate::queue) enum LogLine {
    RelayPaused { trouble: Trouble, live: usize, probe_in: Duration, is_new: bool },
    RelayTrouble(Trouble),
    RelaySlowed { trouble: Trouble, connections: usize },
    RelayResumed { live: usize },
    RelayFlickered { times: u32, live: usize },
    RefusalHeld { said: String, until: HeldUntil, has_null_sender: bool },
    SendingStopped { why: CommitError, live: usize },
    SendingResumed { live: usize },
}
