//! The events that the queue takes in, and the effects that it asks for.
//!
//! Promises: nothing reaches the queue's state but an [`Event`], and nothing leaves it but an [`Effect`]; both are
//! plain values. Not here: what follows from an event (`reducer.rs`), how an effect is carried out
//! (`owner/executor.rs`).

use std::time::Duration;

use super::super::orders::{OrderResult, OrderedMessage, Ticket};
use super::super::part_limits::{LearnedParts, PartLimits};
use super::super::refusals::{Refusal, RefusalRule, Ruling};
use super::super::roster::{SenderNews, SenderRefusal};
use super::super::schedule::RetryPolicy;
use super::super::{ConnectionId, MessageStanding, QueueStatus, RelayPlace, Taken, TooSoon};
use crate::config::Rate;
use crate::envelope::ReversePath;
use crate::outcome::HeldUntil;
use crate::queue_id::QueueId;
use crate::relay::Trouble;
use crate::routing::Routes;
use crate::spool::{CommitError, Entry, Operator, OperatorOrder, OperatorVerb};
use crate::standing_orders::Pause;

/// The part of the configuration that the reducer follows.
#[derive(Clone, Debug)]
pub(in crate::queue) struct QueuePolicy {
    /// The rule by which a message is tried again.
    pub retry: RetryPolicy,
    /// True if `rewrite.null-sender` is set.
    pub has_null_sender: bool,
    /// The part about each relay, in the order of [`RelayPlace`]; at least one.
    pub relays: Vec<RelayPolicy>,
    /// The rules by which a message finds its relay. They are only compared here.
    pub routes: Routes,
    /// The pauses of delivery that operators have ordered.
    pub pauses: Vec<Pause>,
}

/// The part of the configuration that the reducer follows for one relay, and what is remembered of that relay.
#[derive(Clone, Debug)]
pub(in crate::queue) struct RelayPolicy {
    /// The name of the route that leads to the relay; `None` for the relay that gets what no route takes.
    pub route: Option<String>,
    /// The number of connections to the relay that may exist.
    pub max_connections: usize,
    /// What one transaction may hold.
    pub parts: PartLimits,
    /// The rates that all connections to the relay together keep.
    pub rates: Vec<Rate>,
    /// What is remembered of the rates and of a pause: the last [`Effect::NoteRates`] about this relay; empty if there was none.
    pub rates_record: String,
    /// The rule for refusals that are not about one message.
    pub refusals: RefusalRule,
    /// True if the relay has taken a message before.
    pub has_taken: bool,
}

/// The fate of a message after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::queue) enum Disposition {
    /// It is no longer on the spool.
    Removed,
    /// It was deferred by its own 4xx: it is tried again by its age.
    Deferred {
        /// True if a DSN about the delay has been put on the spool just now.
        warned: bool,
        /// The time before which it is not tried, if the relay named one for each recipient that waits.
        named: Option<Duration>,
    },
    /// Nothing was said about it, since the relay was in trouble.
    Untried,
    /// The connection was lost during this message, which may be at fault.
    Lost {
        /// True if a DSN about the delay has been put on the spool just now.
        warned: bool,
    },
    /// No recipient of this relay is open any more, and one of another relay is.
    Served,
    /// Something failed on our side: it is tried again by its age, and nothing else is forgotten.
    Postponed,
    /// It is held, since it was refused in a way that only an operator can correct: it is not tried again by itself.
    Held,
    /// It is dead: it failed and nobody can be told, or it is damaged.
    Dead,
    /// An operator has put it on hold.
    OnHold,
    /// An operator has released it, or had its dead recipients opened again.
    Released,
    /// An operator has assigned it to a route: its relays are looked up anew, and it keeps its hold.
    Routed,
    /// An order of an operator was not carried out: nothing about it has changed.
    Unchanged,
}

/// Everything that can happen to the queue.
#[derive(Debug)]
pub(in crate::queue) enum Event {
    /// The spool has committed a message.
    Arrived(Entry),
    /// A connection that can send a message asks for one; with `wait` it stays for one that comes later.
    Wanted { connection: ConnectionId, wait: bool },
    /// The relay has shown what one transaction may hold.
    ShownLimits { connection: ConnectionId, limits: PartLimits },
    /// A connection has a further transaction of its message: [`QueueAnswer::GoesOnIn`].
    GoesOn(ConnectionId),
    /// This message was given to a connection that is gone.
    Missed(QueueId),
    /// The relay has answered a transaction.
    Answered(ConnectionId),
    /// The relay has taken a message.
    TakenByRelay {
        connection: ConnectionId,
        /// The reverse-path of the message.
        from: ReversePath,
    },
    /// The relay has refused a message, in a way that may say something about more than this message:
    /// [`QueueAnswer::Ruling`].
    Refused { connection: ConnectionId, refusal: Box<Refusal> },
    /// The relay has ended a connection that had served others, during this message: [`QueueAnswer::IsExcused`].
    Left { connection: ConnectionId, id: QueueId },
    /// The dialogue of a connection broke off during this message. The relay may have a copy of it if `in_doubt`.
    Lost { connection: ConnectionId, id: QueueId, in_doubt: bool },
    /// It was logged that an earlier run may have sent this message.
    DuplicateTold(QueueId),
    /// The spool did not record the result for this message; it is asked again until it does.
    Unrecorded { id: QueueId, why: CommitError },
    /// This message was not sent, since the spool did not record the in-flight mark.
    Unmarked { id: QueueId, why: CommitError },
    /// The spool did not record an in-flight mark before, and would record one now.
    Recordable,
    /// A message is no longer under way.
    Became { id: QueueId, disposition: Disposition },
    /// An order about a message was carried out, or not, and is answered so; it is no longer under way.
    CarriedOut { id: QueueId, disposition: Disposition, came_to: OrderResult },
    /// A connection has ended, because of this trouble if there was any.
    Ended { connection: ConnectionId, trouble: Option<Trouble> },
    /// The secret for the login at this relay is not that of the last login any more.
    SecretChanged(RelayPlace),
    /// An operator wants everything to be tried.
    ProbeNow,
    /// An operator wants paused relays to be probed; what is deferred stays so.
    ProbeRelays,
    /// These are the pauses that operators have ordered from now on.
    Pauses(Vec<Pause>),
    /// An operator wants the mail of this route to be tried.
    ProbeRoute(String),
    /// A client wants everything to be tried: [`QueueAnswer::Probe`].
    ProbeForClient,
    /// The relays were found that get these messages, in answer to [`Effect::Route`] of this number.
    Routed { lookup: u64, found: Vec<(QueueId, Vec<RelayPlace>)> },
    /// The configuration was read again.
    Reconfigured(Box<QueuePolicy>),
    /// An operator orders something about each of these messages; [`Effect::Ordered`] answers each.
    Ordered { ticket: Ticket, orders: Vec<OperatorOrder> },
    /// Somebody asks what these messages are doing: [`QueueAnswer::Standings`].
    Standings(Vec<QueueId>),
    /// Somebody asks for the figures of the queue: [`QueueAnswer::Status`].
    Status,
    /// The daemon stops: no more messages are given out, and those under way are cut off after `patience`.
    Stop { patience: Duration },
    /// Every event so far is taken in, and time may have passed: messages are given out now.
    Tick,
}

/// The answer to whoever asked. An event that asks something has exactly one.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::queue) enum QueueAnswer {
    /// The meaning of a refusal for its message.
    Ruling(Ruling),
    /// The pause before the further transaction; `None` if that would be too long, so that the message is given back.
    GoesOnIn(Option<Duration>),
    /// True if the message is not charged with the end of its connection.
    IsExcused(bool),
    /// Reason why the queue is not tried on the request of a client; `None` if it is tried.
    Probe(Option<TooSoon>),
    /// The standings of the messages that the queue knows.
    Standings(Vec<MessageStanding>),
    /// The figures of the queue.
    Status(Box<QueueStatus>),
}

/// Everything that the queue can ask for.
#[derive(Debug)]
pub(in crate::queue) enum Effect {
    /// Open a connection to this relay, and give it this name.
    Connect { connection: ConnectionId, relay: RelayPlace },
    /// End a connection at once. [`Event::Ended`] follows.
    CutOff(ConnectionId),
    /// Give this message to the connection that asked; with `None`, the connection is to end. [`Event::Missed`] follows
    /// if the connection is gone.
    Give { connection: ConnectionId, taken: Option<Taken> },
    /// Give this answer to whoever asked.
    QueueAnswer(QueueAnswer),
    /// Find out, by way of this message, when the spool records again. [`Event::Recordable`] follows.
    AwaitRecording(QueueId),
    /// Watch for another secret than that of the last login at this relay, until [`Effect::ForgetSecret`].
    /// [`Event::SecretChanged`] follows.
    WatchSecret(RelayPlace),
    /// Stop watching for another secret for this relay.
    ForgetSecret(RelayPlace),
    /// Have the hosts of this relay that are passed over tried by the next connection.
    GiveTurns(RelayPlace),
    /// Carry out this order about a message, which nobody else has meanwhile. [`Event::CarriedOut`] follows.
    CarryOut(Box<OrderedMessage>),
    /// Tell whoever gave the orders with this ticket what came of that about this message.
    Ordered { ticket: Ticket, id: QueueId, came_to: OrderResult },
    /// Find the relays that get these messages. [`Event::Routed`] follows.
    Route { lookup: u64, messages: Vec<QueueId> },
    /// Note on the spool that the relay of this name takes mail.
    RememberRelay(String),
    /// Remember on the spool, under this name (`rate.rs`), how much of a relay's rates is used, and its pause
    /// (`noted_pause.rs`).
    NoteRates { name: String, record: String },
    /// Tell the spool the relay clock, in seconds.
    SetRelayClock(u32),
    /// Write this line to the log.
    Log {
        /// The name of the route to the relay that it is about; `None` also for a line about no relay.
        route: Option<String>,
        line: Box<LogLine>,
    },
}

/// A line of the log. Its words are in `log/queue.rs` and `log/relay.rs`.
#[derive(Debug)]
pub(in crate::queue) enum LogLine {
    RelayPaused { trouble: Trouble, live: usize, probe_in: Duration, is_new: bool },
    RelayTrouble(Trouble),
    RelaySlowed { trouble: Trouble, connections: usize },
    RelayTakesFewer { relay: String, learned: LearnedParts },
    RelayResumed { live: usize },
    RelayFlickered { times: u32, live: usize },
    RefusalHeld { said: String, until: HeldUntil, has_null_sender: bool },
    SenderHeld { sender: SenderRefusal, news: SenderNews },
    SenderTaken { from: ReversePath, held: usize },
    OrderDone { id: QueueId, verb: OperatorVerb, by: Operator, came_to: OrderResult },
    OrderMarked { id: QueueId, verb: OperatorVerb, by: Operator },
    OrderLate { id: QueueId, verb: OperatorVerb, by: Operator },
    SendingStopped { why: CommitError, live: usize },
    SendingResumed { live: usize },
}
