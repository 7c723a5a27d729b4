//! The queue: it delivers every message that is on the spool, or gives it up in good order.
//!
//! Promises: every live message is tried at once, and then by its age, until each recipient is sent or bounced (and the
//! bounce is on the spool), or its patience is used up. Relay trouble pauses the relay for all messages and uses up the
//! patience of none. Submitters take turns. No connection is begun while `max-connections` exist.
//!
//! A pure function of the state, the event and the time decides what is done (`reducer.rs`). One task, the owner
//! (`owner.rs`), gives it the events; its executor (`owner/executor.rs`) carries out the effects, and owns every other
//! task:
//! ```text
//!  spool ── arrivals ──▶ owner ── spawns ──▶ connection (the relay's dialogue, with a QueueLink)
//!                         ▲  ▲  │              │ asks for messages, reports
//!                         │  └──│──────────────┘
//!                         │     └─ spawns ──▶ settlement (one for each report: ledger, DSN, spool record)
//!                         └── disposition ─────┘
//! ```
//! Invariants:
//! 1. A message is with at most one connection or settlement, even if several relays get recipients of it. When that ends, even by a panic, the owner hears of the
//!    message again.
//! 2. A message leaves the queue only when the spool has recorded its removal (by a settlement, or by the order of an
//!    operator, which never takes a message out of the hands of who has it: `orders.rs`), and a relay's roster only then or when no
//!    recipient of that relay is open, or when it is routed anew.
//! 3. Nothing in memory is needed after a restart: the queue starts from what the spool has recovered.
//!
//! Fails: a spool that cannot record what a delivery needs is asked again until it can; meanwhile nothing is sent
//! (`recording.rs`). Not here: the meaning of a relay's replies (`relay/verdict.rs`), storage (`spool/`). The types
//! that say what became of a recipient, a message or a connection are listed in `outcome.rs`.

mod attempt;
mod breaker;
pub mod clock;
mod connections;
mod desk;
mod flickers;
mod following;
mod hearing;
mod lanes;
mod learned_rate;
mod link;
mod noted_pause;
mod null_sender;
mod orders;
mod owner;
mod part_limits;
mod patience;
mod rate;
mod recording;
mod reducer;
mod refusals;
mod relay_clock;
mod relay_state;
mod relays;
mod roster;
mod routes;
mod schedule;
mod settlement;
mod soundings;
mod status;
mod suspects;
mod tally;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod throttle;
mod unrouted;

use std::collections::BTreeMap;
use std::future::Future;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use jiff::Timestamp;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use crate::config;
use crate::envelope::Address;
use crate::message::dsn::Overseers;
use crate::queue_id::QueueId;
use crate::relay::{KnownExpiry, LateRelay, Relay, Trouble};
use crate::routing::Routes;
use crate::spool::{Entry, OperatorOrder, Recovery, Spool};
use crate::standing_orders::Pause;
use clock::Clock;
use desk::DeliveryDesk;
use following::Followers;
pub use following::{FollowedOutcome, HeardOutcome, OutcomeFollower};
pub use link::QueueLink;
use null_sender::NullSubstitutes;
pub use orders::{OrderFailure, OrderResult, against_holder, asks_for_holder, forecast, returning};
use owner::{Executor, Owner};
use part_limits::PartLimits;
use rate::record_of;
use reducer::{Event, QueueAnswer, QueuePolicy, Reducer, RelayPolicy};
use refusals::RefusalRule;
use roster::Member;
pub use roster::Standing;
use schedule::RetryPolicy;
use settlement::Settlement;
pub use status::{MessageStanding, PaceStatus, QueueStatus, RelayStatus, SenderStatus, TooSoon};
use tally::RelayTallies;
pub use tally::{RelayCounts, RelayTimes};

/// Opens connections to the relay. Each connection asks the queue for messages, and sends them, until there are no
/// more.
///
/// This is the seam between the queue and the network; tests put a relay of their own here.
pub trait Connector: Send + Sync + 'static {
    /// Opens one connection, and works on it until there is nothing to do. It asks `link` for a message only when it
    /// can send one, which tells the queue that the relay has been reached. An error is trouble of the relay, not of a
    /// message.
    fn run_connection(
        self: Arc<Self>,
        link: QueueLink,
    ) -> Pin<Box<dyn Future<Output = Result<(), Trouble>> + Send>>;

    /// Returns whether there is another secret for the login than that of the last one, as far as that can be seen without
    /// side effects; or whether another file that was missing can be read now.
    fn has_another_secret(self: Arc<Self>) -> Pin<Box<dyn Future<Output = bool> + Send>>;

    /// Has the hosts that are passed over tried in their turn by the next connections.
    fn give_turns(&self) {}

    /// Returns a sentence for each certificate that is about to expire.
    fn expiring(&self) -> Vec<String> {
        Vec::new()
    }

    /// Returns the end of each certificate and secret that has one.
    fn ends(&self) -> Vec<KnownExpiry> {
        Vec::new()
    }

    /// Returns a sentence for each host that is passed over, since it did not work and another one did.
    fn passed_over(&self) -> Vec<String> {
        Vec::new()
    }

    /// Returns a sentence about a token of the login that could not be written yet.
    fn unwritten_token(&self) -> Option<String> {
        None
    }
}

impl Connector for Relay {
    fn run_connection(
        self: Arc<Self>,
        mut link: QueueLink,
    ) -> Pin<Box<dyn Future<Output = Result<(), Trouble>> + Send>> {
        Box::pin(async move { self.connect().await?.run(&mut link).await })
    }

    fn has_another_secret(self: Arc<Self>) -> Pin<Box<dyn Future<Output = bool> + Send>> {
        Box::pin(async move { Relay::has_another_secret(&self).await })
    }

    fn give_turns(&self) {
        Relay::give_turns(self);
    }

    fn expiring(&self) -> Vec<String> {
        Relay::expiring(self)
    }

    fn ends(&self) -> Vec<KnownExpiry> {
        Relay::ends(self)
    }

    fn passed_over(&self) -> Vec<String> {
        Relay::passed_over(self)
    }

    fn unwritten_token(&self) -> Option<String> {
        Relay::unwritten_token(self)
    }
}

impl Connector for LateRelay {
    fn run_connection(
        self: Arc<Self>,
        mut link: QueueLink,
    ) -> Pin<Box<dyn Future<Output = Result<(), Trouble>> + Send>> {
        Box::pin(async move { self.connect().await?.run(&mut link).await })
    }

    fn has_another_secret(self: Arc<Self>) -> Pin<Box<dyn Future<Output = bool> + Send>> {
        Box::pin(async move { self.has_news().await })
    }

    fn give_turns(&self) {
        self.loaded().into_iter().for_each(Relay::give_turns);
    }

    fn expiring(&self) -> Vec<String> {
        self.loaded().map(Relay::expiring).unwrap_or_default()
    }

    fn ends(&self) -> Vec<KnownExpiry> {
        self.loaded().map(Relay::ends).unwrap_or_default()
    }

    fn passed_over(&self) -> Vec<String> {
        self.loaded().map(Relay::passed_over).unwrap_or_default()
    }

    fn unwritten_token(&self) -> Option<String> {
        self.loaded()?.unwritten_token()
    }
}

/// The part of the configuration that the queue follows. A reload replaces it as a whole.
#[derive(Clone)]
pub struct Settings {
    /// The rule by which a message is tried again.
    retry: RetryPolicy,
    /// The addresses that are told of failures, besides the reverse-path.
    pub overseers: Overseers,
    /// The name of this host in DSNs.
    pub hostname: String,
    /// The author of DSNs, for their From field.
    pub dsn_author: Address,
    /// The address that the relay gets in place of the reverse-path `<>`; `None` if it gets `<>`.
    pub null_sender: Option<Address>,
    /// The reverse-path of mail from `<>` that the relay has refused because of `<>`.
    pub bounce_sender: Option<Address>,
    /// The same for mail to the postmaster, where `bounce_sender` is not set.
    pub postmaster_sender: Option<Address>,
    /// The settings of each relay, in the order of [`RelayPlace`]; at least one.
    pub relays: Vec<RelaySettings>,
    /// The rules by which a message finds its relay.
    pub routes: Routes,
}

/// The settings of one relay.
#[derive(Clone)]
pub struct RelaySettings {
    /// The name of the route that leads to the relay; `None` for the relay that gets what no route takes.
    pub route: Option<String>,
    /// The number of connections to the relay that may exist at once.
    pub max_connections: NonZeroUsize,
    /// The number of recipients that one transaction may have.
    pub recipients_per_message: NonZeroUsize,
    /// The number of domains that the recipients of one transaction may have; `None` for any number.
    pub domains_per_message: Option<NonZeroUsize>,
    /// The rates that all connections to the relay together keep.
    pub rates: Vec<config::Rate>,
    /// The client that opens connections to the relay.
    pub connector: Arc<dyn Connector>,
    /// The rule for refusals that are not about one message.
    refusals: RefusalRule,
}

impl RelaySettings {
    /// Returns the queue's part of `relay`, which `connector` connects to; `queue` is the part that all relays share.
    pub fn new(
        route: Option<String>,
        relay: &config::RelayConfig,
        queue: &config::QueueConfig,
        connector: Arc<dyn Connector>,
    ) -> Self {
        RelaySettings {
            route,
            max_connections: relay.max_connections,
            recipients_per_message: relay.recipients_per_message,
            domains_per_message: relay.domains_per_message,
            rates: relay.rates.clone(),
            connector,
            refusals: RefusalRule::of(relay, queue),
        }
    }

    /// Returns the part of the settings that the queue's state follows; `spool` knows whether the relay has taken a
    /// message before, and how much of its rates is used.
    fn policy(&self, spool: &Spool) -> RelayPolicy {
        RelayPolicy {
            route: self.route.clone(),
            max_connections: self.max_connections.get(),
            parts: PartLimits {
                recipients: self.recipients_per_message.get(),
                domains: self.domains_per_message.map(NonZeroUsize::get),
            },
            rates: self.rates.clone(),
            rates_record: record_of(
                |name| spool.noted_rates(name),
                &self.refusals.relay,
                self.route.as_deref(),
            ),
            has_taken: spool.knows_relay(&self.refusals.relay),
            refusals: self.refusals.clone(),
        }
    }
}

impl Settings {
    /// Returns the queue's part of `config`, with these relays.
    pub fn new(config: &config::Config, relays: Vec<RelaySettings>) -> Self {
        Settings {
            retry: RetryPolicy {
                shortest: config.queue.retry_min,
                longest: config.queue.retry_max,
                lifetime: config.queue.lifetime,
                delay_warning: config.queue.delay_warning,
            },
            overseers: config.queue.overseers(),
            hostname: config.listen.hostname.clone(),
            dsn_author: config.rewrite.dsn_author(),
            null_sender: config.rewrite.null_sender().cloned(),
            bounce_sender: config.queue.bounce_sender.clone(),
            postmaster_sender: config.queue.postmaster.as_ref().map(|to| config.rewrite.sender_for(to)),
            relays,
            routes: config.routing(),
        }
    }
}

impl Settings {
    /// Returns the addresses that the relay may get in place of `<>`.
    fn null_substitutes(&self) -> NullSubstitutes {
        NullSubstitutes {
            for_all: self.null_sender.clone(),
            when_refused: self.bounce_sender.clone(),
            postmaster: self.overseers.postmaster.clone(),
            for_postmaster: self.postmaster_sender.clone(),
        }
    }

    /// Returns the part of the settings that the queue's state follows.
    fn policy(&self, spool: &Spool, now: Timestamp) -> QueuePolicy {
        QueuePolicy {
            retry: self.retry,
            has_null_sender: self.null_sender.is_some() || self.bounce_sender.is_some(),
            relays: self.relays.iter().map(|relay| relay.policy(spool)).collect(),
            routes: self.routes.clone(),
            pauses: pauses(spool, now),
        }
    }
}

/// Returns the pauses that operators have ordered, as they are at `now`.
fn pauses(spool: &Spool, now: Timestamp) -> Vec<Pause> {
    spool.standing_orders().pauses(now).cloned().collect()
}

/// Builds the queue from what the spool has recovered. The future is the task of its owner, and ends after
/// [`Queue::stop`].
pub fn queue(
    spool: Spool,
    recovery: Recovery,
    arrivals: UnboundedReceiver<Entry>,
    settings: Settings,
    clock: Arc<dyn Clock>,
) -> (Queue, impl Future<Output = ()> + Send + 'static) {
    let (commands, inbox) = unbounded_channel();
    let tallies = Arc::<RelayTallies>::default();
    let queue = Queue { commands, tallies: Arc::clone(&tallies), followers: Followers::default() };
    let policy = settings.policy(&spool, clock.now());
    let Recovery { entries, relay_clock, .. } = &recovery;
    let reducer = Reducer::new(policy, entries, *relay_clock, Rng::new(), clock.moment());
    let executor = Executor::new(DeliveryDesk::new(queue.clone(), spool, settings, clock, tallies));
    (queue, Owner::new(reducer, executor, inbox, arrivals).run())
}

/// A handle to the queue's owner.
#[derive(Clone)]
pub struct Queue {
    commands: UnboundedSender<OwnerInput>,
    tallies: Arc<RelayTallies>,
    followers: Followers,
}

impl Queue {
    /// Probes a paused relay, and tries every deferred and every held message now (SIGUSR1).
    pub fn probe_now(&self) {
        self.tell(Event::ProbeNow);
    }

    /// Probes the relays that are paused, for what is ready.
    pub fn probe_relays(&self) {
        self.tell(Event::ProbeRelays);
    }

    /// Follows the pauses of delivery that operators have ordered, as the spool has them now. When this returns, nothing more is
    /// given out that they are about.
    pub async fn follow_pauses(&self) {
        let (followed, is_followed) = oneshot::channel();
        self.send(OwnerInput::FollowPauses(followed));
        // An owner that is gone gives out nothing.
        let _ = is_followed.await;
    }

    /// Does the same as [`Queue::probe_now`] for the relay of this route and the messages that it gets.
    pub fn probe_route(&self, route: &str) {
        self.tell(Event::ProbeRoute(route.to_owned()));
    }

    /// Does the same as [`Queue::probe_now`] for the ETRN of a client, at most once a minute for all clients together.
    /// Returns `Some` if it was not done this time.
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

    /// Returns what these messages are doing, without those that have left the queue; nothing once the queue has
    /// stopped.
    pub async fn standings(&self, ids: Vec<QueueId>) -> Vec<MessageStanding> {
        match self.ask(Event::Standings(ids)).await {
            Some(QueueAnswer::Standings(listed)) => listed,
            _ => Vec::new(),
        }
    }

    /// Gives these orders, some hundred at most. What comes of each is received from the channel, which ends with the last
    /// answer, or when the queue stops.
    pub fn order(&self, orders: Vec<OperatorOrder>) -> UnboundedReceiver<(QueueId, OrderResult)> {
        let (answers, answered) = unbounded_channel();
        self.send(OwnerInput::Order { orders, answers });
        answered
    }

    /// Returns the figures of the queue; `None` once it has stopped.
    pub async fn status(&self) -> Option<QueueStatus> {
        match self.ask(Event::Status).await {
            Some(QueueAnswer::Status(status)) => Some(*status),
            _ => None,
        }
    }

    /// Returns what came of recipients at all relays since the start.
    pub fn outcomes(&self) -> RelayCounts {
        self.tallies.total()
    }

    /// Takes the reasons for which recipients did not get a message since this was done last, each with the number of times.
    /// They have no words of a relay and no names in them.
    pub fn take_failures(&self) -> BTreeMap<String, u64> {
        self.tallies.take_failures()
    }

    /// Gives out no more messages. The owner's task ends when the results of those under way are recorded, or after
    /// `deadline`.
    pub fn stop(&self, deadline: Duration) {
        self.tell(Event::Stop { patience: deadline });
    }

    /// Follows what comes of attempts from now on.
    pub fn follow(&self) -> OutcomeFollower {
        self.followers.follow()
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
        // An owner that is gone has stopped, and there is nobody left to tell.
        let _ = self.commands.send(command);
    }
}

/// The name of a connection. A connection that was begun later has a larger one.
type ConnectionId = u64;

/// The place of a relay in the settings in force. The first one gets what no route takes; the others are those of the
/// routes, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct RelayPlace(usize);

/// A message that is given to a connection, with what the roster remembers of it.
#[derive(Debug)]
struct Taken {
    id: QueueId,
    member: Member,
    /// How much of its patience it has used.
    patience_used: Duration,
    /// What one of its transactions may hold.
    limits: PartLimits,
}

/// A message to the owner of the queue.
enum OwnerInput {
    /// An event that the owner is told, and that needs no answer.
    Tell(Event),
    /// An event that asks for an answer, and the channel for the answer.
    Ask(Event, oneshot::Sender<QueueAnswer>),
    /// Orders of an operator, and the channel for the answers.
    Order { orders: Vec<OperatorOrder>, answers: UnboundedSender<(QueueId, OrderResult)> },
    /// A connection that can send a message asks for one; with `wait` it stays for one that comes later.
    Next { connection: ConnectionId, wait: bool, answer: oneshot::Sender<Option<Taken>> },
    /// The result of an attempt is to be recorded.
    Settle(Box<Settlement>),
    /// An operator has ordered or lifted a pause, or its time is over; who waits until that is followed.
    FollowPauses(oneshot::Sender<()>),
    /// The configuration was read again.
    Reconfigure(Box<Settings>),
}
