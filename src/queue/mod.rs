//! The queue: from "it is on the spool" to "it had its end".
//!
//! Promises: every live message is tried at once and then by age until each recipient is sent or
//! bounced (and the bounce spooled), or its patience is used up; relay trouble pauses the relay for all
//! and uses up nobody's patience; submitters take turns; no connection is begun while `max-connections` exist.
//!
//! What follows from what is decided by a pure function of the state, the event and the time (`reducer.rs`). One task, the
//! owner (`owner.rs`), brings it the events, carries out its effects, and owns every other task:
//! ```text
//!  spool ── arrivals ──▶ owner ── spawns ──▶ link (one a connection, inside the relay's dialogue)
//!                         ▲  ▲  │              │ next message, reports
//!                         │  └──│──────────────┘
//!                         │     └─ spawns ──▶ settlement (one a report: ledger, DSN, spool record)
//!                         └── what became ─────┘
//! ```
//! Invariants:
//! 1. A message is with at most one link or settlement; when either ends, by panic even, the owner
//!    hears of the message again.
//! 2. A message leaves the roster only when the spool has recorded its removal.
//! 3. Nothing here is needed after a restart: the spool's recovery is all the queue starts from.
//!
//! Fails: a spool that cannot record what a delivery needs is asked again until it can; meanwhile nothing is
//! sent (`recording.rs`). Not here: what a relay's words mean (`relay/verdict.rs`), storage (`spool/`).

mod attempt;
mod breaker;
pub mod clock;
mod connections;
mod desk;
mod flickers;
mod lanes;
mod link;
mod null_sender;
mod owner;
mod recording;
mod reducer;
mod refusals;
mod relay_clock;
mod relay_state;
mod relays;
mod roster;
mod schedule;
mod settlement;
mod soundings;
mod suspects;
#[cfg(test)]
mod tests;
mod throttle;

use std::fmt;
use std::future::Future;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use crate::config;
use crate::envelope::Address;
use crate::queue_id::QueueId;
use crate::relay::{Relay, Trouble};
use crate::spool::{Entry, Recovery, Spool};
use clock::Clock;
pub use link::QueueLink;
use owner::Owner;
use reducer::{Event, QueueAnswer, QueuePolicy};
use refusals::RefusalRule;
use roster::Member;
pub use roster::Standing;
use schedule::RetryPolicy;
use settlement::Settlement;

/// Carries messages to the relay: connects, then works for the link until there is nothing to do. It asks for
/// a message when it can send one, and not before: by that the queue knows that the relay has been reached.
///
/// The seam between the queue and the network; tests put a relay of their own here.
pub trait Connector: Send + Sync + 'static {
    /// One connection's whole life. An error is relay-wide trouble.
    fn run_connection(
        self: Arc<Self>,
        link: QueueLink,
    ) -> Pin<Box<dyn Future<Output = Result<(), Trouble>> + Send>>;

    /// A number that is another one when the secret for the login is another; `None` where there is none that could
    /// be looked at without side effects, or it cannot be read.
    fn secret_print(self: Arc<Self>) -> Pin<Box<dyn Future<Output = Option<u64>> + Send>>;
}

impl Connector for Relay {
    fn run_connection(
        self: Arc<Self>,
        mut link: QueueLink,
    ) -> Pin<Box<dyn Future<Output = Result<(), Trouble>> + Send>> {
        Box::pin(async move { self.connect().await?.run(&mut link).await })
    }

    fn secret_print(self: Arc<Self>) -> Pin<Box<dyn Future<Output = Option<u64>> + Send>> {
        Box::pin(async move { Relay::secret_print(&self).await })
    }
}

/// What of the configuration the queue follows; replaced whole on reload.
#[derive(Clone)]
pub struct Settings {
    /// How often and how long messages are tried.
    retry: RetryPolicy,
    /// Who hears of DSNs that cannot be delivered.
    pub postmaster: Option<Address>,
    /// What this host calls itself in DSNs.
    pub hostname: String,
    /// Whom DSNs are from, in their header.
    pub dsn_author: Address,
    /// What the relay is told in the place of the reverse-path `<>`; `None`: `<>`.
    pub null_sender: Option<Address>,
    /// Whom mail from `<>` to the postmaster is from, once the relay has refused `<>`.
    pub postmaster_sender: Option<Address>,
    /// How many connections to the relay may exist.
    pub max_connections: NonZeroUsize,
    /// How many recipients a transaction may have.
    pub recipients_per_message: NonZeroUsize,
    /// The relay itself.
    pub connector: Arc<dyn Connector>,
    /// What becomes of refusals that are not about one message.
    refusals: RefusalRule,
}

impl Settings {
    /// The queue's part of `config`, with `connector` as its relay.
    pub fn new(config: &config::Config, connector: Arc<dyn Connector>) -> Self {
        Settings {
            retry: RetryPolicy {
                shortest: config.queue.retry_min,
                longest: config.queue.retry_max,
                lifetime: config.queue.lifetime,
                delay_warning: config.queue.delay_warning,
            },
            postmaster: config.queue.postmaster.clone(),
            hostname: config.listen.hostname.clone(),
            dsn_author: config.rewrite.dsn_author(),
            null_sender: config.rewrite.null_sender().cloned(),
            postmaster_sender: config.queue.postmaster.as_ref().map(|to| config.rewrite.sender_for(to)),
            max_connections: config.relay.max_connections,
            recipients_per_message: config.relay.recipients_per_message,
            connector,
            refusals: RefusalRule::of(config),
        }
    }
}

impl Settings {
    /// What of them the queue's state follows.
    fn policy(&self) -> QueuePolicy {
        QueuePolicy {
            retry: self.retry,
            max_connections: self.max_connections.get(),
            refusals: self.refusals.clone(),
            has_null_sender: self.null_sender.is_some(),
        }
    }
}

/// Builds the queue of what recovery found. The future is its task: it ends after [`Queue::stop`].
pub fn queue(
    spool: Spool,
    recovery: Recovery,
    arrivals: UnboundedReceiver<Entry>,
    settings: Settings,
    clock: Arc<dyn Clock>,
) -> (Queue, impl Future<Output = ()> + Send + 'static) {
    let (commands, inbox) = unbounded_channel();
    let queue = Queue { commands };
    let owner = Owner::new(spool, &recovery, settings, clock, queue.clone());
    (queue, owner.run(inbox, arrivals))
}

/// A handle to the queue's owner.
#[derive(Clone)]
pub struct Queue {
    commands: UnboundedSender<OwnerInput>,
}

/// One message as the owner remembers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageStanding {
    /// The message.
    pub id: QueueId,
    /// What it is doing.
    pub standing: Standing,
}

/// The queue in a few numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueStatus {
    /// Live messages.
    pub live: usize,
    /// Messages that wait for a connection.
    pub ready: usize,
    /// Messages with a connection or being recorded.
    pub under_way: usize,
    /// Messages deferred by their own 4xx.
    pub deferred: usize,
    /// Messages held after a refusal.
    pub held: usize,
    /// Failed messages that nobody can be told of, and damaged ones.
    pub dead: usize,
    /// The newest of those.
    pub newest_dead: Option<QueueId>,
    /// Connections to the relay.
    pub connections: usize,
    /// How often since the start a connection to it was found to work.
    pub reached: u64,
    /// How often since the start it was in trouble.
    pub troubles: u64,
    /// No connection to the relay has been opened, or has failed to, since the start or the last reload.
    pub is_untried: bool,
    /// When a paused relay is probed next; `None` while it is usable.
    pub paused_until: Option<Timestamp>,
    /// The last relay-wide trouble, until the relay has answered a transaction since.
    pub trouble: Option<String>,
    /// The same, without anybody's words.
    pub trouble_outline: Option<String>,
    /// Why messages are held and what to do about it, while some are.
    pub held_because: Option<String>,
}

/// Why a client's wish to have the queue tried is not followed: another's has just been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooSoon {
    /// How long ago that was.
    pub last: Duration,
    /// When the next wish is followed.
    pub again_in: Duration,
    /// When a paused relay is probed in any case.
    pub next_probe_in: Option<Duration>,
}

impl fmt::Display for TooSoon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (last, again) = (self.last.as_secs(), self.again_in.as_secs_f64().ceil());
        write!(f, "not started: tried on request {last} s ago, and on request again in {again} s; ")?;
        match self.next_probe_in {
            Some(next) => write!(f, "the relay is paused, next probe in {} s", next.as_secs_f64().ceil()),
            None => f.write_str("the relay is not paused"),
        }
    }
}

impl QueueStatus {
    /// The relay's state in words.
    pub fn relay(&self) -> &'static str {
        match self.paused_until {
            Some(_) => "paused",
            None if self.is_untried => "not tried yet",
            None => "usable",
        }
    }
}

impl Queue {
    /// Probes a paused relay and tries every deferred and every held message, now (SIGUSR1).
    pub fn probe_now(&self) {
        self.tell(Event::ProbeNow);
    }

    /// The same for a client's ETRN; at most once a minute, whoever asks. `Some`: it was not done this time.
    pub async fn probe_for_client(&self) -> Option<TooSoon> {
        match self.ask(Event::ProbeForClient).await {
            Some(QueueAnswer::Probe(too_soon)) => too_soon,
            _ => None,
        }
    }

    /// Follows changed settings from the next message on.
    pub fn reconfigure(&self, settings: Settings) {
        self.send(OwnerInput::Reconfigure(Box::new(settings)));
    }

    /// What these messages are doing, without those that had their end; nothing once the queue has stopped.
    pub async fn standings(&self, ids: Vec<QueueId>) -> Vec<MessageStanding> {
        match self.ask(Event::Standings(ids)).await {
            Some(QueueAnswer::Standings(listed)) => listed,
            _ => Vec::new(),
        }
    }

    /// The queue in numbers; `None` once it has stopped.
    pub async fn status(&self) -> Option<QueueStatus> {
        match self.ask(Event::Status).await {
            Some(QueueAnswer::Status(status)) => Some(*status),
            _ => None,
        }
    }

    /// Gives out no more messages, and ends the queue's task when those under way had their report
    /// recorded, or after `deadline`.
    pub fn stop(&self, deadline: Duration) {
        self.tell(Event::Stop { patience: deadline });
    }

    fn tell(&self, event: Event) {
        self.send(OwnerInput::Tell(event));
    }

    async fn ask(&self, event: Event) -> Option<QueueAnswer> {
        let (asker, answered) = oneshot::channel();
        self.send(OwnerInput::Ask(event, asker));
        answered.await.ok()
    }

    fn send(&self, command: OwnerInput) {
        // An owner that is gone has stopped; nothing is left to be told.
        let _ = self.commands.send(command);
    }
}

/// The name of a connection: the later it was begun, the larger.
type ConnectionId = u64;

/// A message given to a link, with what the roster remembers of it.
#[derive(Debug)]
struct Taken {
    id: QueueId,
    member: Member,
}

/// What the owner is sent.
enum OwnerInput {
    /// Something has happened.
    Tell(Event),
    /// Somebody asks.
    Ask(Event, oneshot::Sender<QueueAnswer>),
    /// A connection that is ready for a message asks for one; with `wait` it stays for one that comes later.
    Next { connection: ConnectionId, wait: bool, answer: oneshot::Sender<Option<Taken>> },
    /// What became of a message is to be recorded.
    Settle(Box<Settlement>),
    /// The configuration was read again.
    Reconfigure(Box<Settings>),
}
