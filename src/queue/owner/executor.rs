//! The executor: it carries out what the queue's state asks for.
//!
//! Promises: everything slow is a task of its own, which it owns; when a task ends, even by a panic, it knows what the
//! task was for. A message that is to be given to a connection which is gone is not lost: the queue's state hears of it.
//!
//! Not here: the decisions (`reducer.rs`), the order in which things are taken in (`owner.rs`), the words of the log
//! lines (`log/`).

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use super::super::clock::Clock;
use super::super::desk::DeliveryDesk;
use super::super::link::QueueLink;
use super::super::orders::{OrderResult, OrderedMessage, Ticket};
use super::super::reducer::{Effect, Event, QueueAnswer};
use super::super::settlement::Settlement;
use super::super::{ConnectionId, QueueStatus, RelayPlace, Settings, Taken};
use super::ordered::{self, CarriedOut};
use super::secret_watch::SecretWatch;
use super::tasks::{self, Duty, Ended, Tasks};
use crate::queue_id::QueueId;

/// The part of the owner that acts: it owns the tasks, and everyone who waits for an answer.
pub(in crate::queue) struct Executor {
    desk: Arc<DeliveryDesk>,
    tasks: Tasks,
    /// The connections that asked for a message and have no answer yet.
    asking: HashMap<ConnectionId, oneshot::Sender<Option<Taken>>>,
    /// Whoever gets the answer to the event at hand.
    asker: Option<oneshot::Sender<QueueAnswer>>,
    /// The watch for another secret for each relay that has refused ours.
    secret_watches: HashMap<RelayPlace, SecretWatch>,
    /// The messages whose connection was gone when they were given to it.
    missed: Vec<QueueId>,
    /// Those who have given orders, with the number of answers that each still gets.
    ordering: HashMap<Ticket, (UnboundedSender<(QueueId, OrderResult)>, usize)>,
    next_ticket: Ticket,
}

impl Executor {
    pub(in crate::queue) fn new(desk: DeliveryDesk) -> Self {
        Executor {
            desk: Arc::new(desk),
            tasks: Tasks::default(),
            asking: HashMap::new(),
            asker: None,
            secret_watches: HashMap::new(),
            missed: Vec::new(),
            ordering: HashMap::new(),
            next_ticket: 0,
        }
    }

    pub(super) fn clock(&self) -> &dyn Clock {
        &*self.desk.clock
    }

    /// Carries out one effect.
    pub(super) fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Connect { connection, relay } => self.connect(connection, relay),
            Effect::CutOff(connection) => self.tasks.cut_off(connection),
            Effect::Give { connection, taken } => self.give(connection, taken),
            Effect::QueueAnswer(mut answer) => {
                if let QueueAnswer::Status(status) = &mut answer {
                    self.add_notices(status);
                }
                // Whoever asked may have gone away.
                let _ = self.asker.take().map(|asker| asker.send(answer));
            }
            Effect::AwaitRecording(id) => self.await_recording(id),
            Effect::WatchSecret(relay) => {
                let watch = SecretWatch::begin(&mut self.tasks, self.desk.clone(), relay);
                self.secret_watches.insert(relay, watch);
            }
            Effect::ForgetSecret(relay) => drop(self.secret_watches.remove(&relay)),
            Effect::GiveTurns(relay) => self.desk.relay(relay).connector.give_turns(),
            Effect::CarryOut(ordered) => self.carry_out_order(*ordered),
            Effect::Ordered { ticket, id, came_to } => self.answer_order(ticket, id, came_to),
            Effect::Route { lookup, messages } => self.route(lookup, messages),
            Effect::RememberRelay(name) => self.tasks.remember_relay(&self.desk.spool, name),
            Effect::NoteRates { name, record } => {
                self.desk.spool.note_rates(&name, &record);
                self.tasks.write_rates(&self.desk.spool);
            }
            Effect::SetRelayClock(seconds) => self.desk.spool.set_relay_clock(seconds),
            Effect::Log { route, line } => line.write(route.as_deref()),
        }
    }

    /// Adds to the figures of each relay the counts of its recipients, and what its connector knows of certificates, tokens
    /// and hosts that do not work.
    fn add_notices(&self, status: &mut QueueStatus) {
        for (place, (relay, settings)) in status.relays.iter_mut().zip(&self.desk.settings.relays).enumerate()
        {
            relay.counts = self.desk.tally(RelayPlace(place)).counts();
            relay.times = self.desk.tally(RelayPlace(place)).times();
            relay.expiring = settings.connector.expiring();
            relay.ends = settings.connector.ends();
            relay.passed_over = settings.connector.passed_over();
            relay.unwritten_token = settings.connector.unwritten_token();
        }
        status.overseers = self.desk.settings.overseers.clone();
    }

    /// Returns a message whose connection was gone when it was given to it; `None` if there is no more.
    pub(super) fn missed(&mut self) -> Option<QueueId> {
        self.missed.pop()
    }

    /// Gives the answer to the next event to `asker`.
    pub(super) fn is_asked_by(&mut self, asker: oneshot::Sender<QueueAnswer>) {
        self.asker = Some(asker);
    }

    /// Gives the answers to this number of orders to `answers`. Returns the ticket of the orders.
    pub(super) fn is_ordered_by(
        &mut self,
        answers: UnboundedSender<(QueueId, OrderResult)>,
        orders: usize,
    ) -> Ticket {
        self.next_ticket += 1;
        self.ordering.insert(self.next_ticket, (answers, orders));
        self.next_ticket
    }

    fn answer_order(&mut self, ticket: Ticket, id: QueueId, came_to: OrderResult) {
        let Some((answers, left)) = self.ordering.get_mut(&ticket) else { return };
        // Whoever gave the order may have gone away.
        let _ = answers.send((id, came_to));
        *left = left.saturating_sub(1);
        if *left == 0 {
            self.ordering.remove(&ticket);
        }
    }

    /// Begins a task that carries out an order about a message.
    fn carry_out_order(&mut self, ordered: OrderedMessage) {
        let (id, desk) = (ordered.order.id(), self.desk.clone());
        self.tasks.spawn(Duty::Settlement(id), async move {
            let CarriedOut { disposition, came_to } = ordered::carry_out(desk, ordered).await;
            Some(Event::CarriedOut { id, disposition, came_to })
        });
    }

    /// Gives the next message for `connection` to `asker`.
    pub(super) fn is_asked_for_message(
        &mut self,
        connection: ConnectionId,
        asker: oneshot::Sender<Option<Taken>>,
    ) {
        self.asking.insert(connection, asker);
    }

    /// Begins to record the result of an attempt.
    pub(super) fn settle(&mut self, settlement: Box<Settlement>) {
        let id = settlement.id();
        self.tasks.spawn(Duty::Settlement(id), async move {
            Some(Event::Became { id, disposition: settlement.run().await })
        });
    }

    /// Follows changed settings from the next connection on. Returns the event by which the queue's state follows them.
    pub(super) fn reconfigure(&mut self, settings: Settings) -> Event {
        // A place in the settings may be that of another relay from now on.
        self.secret_watches.clear();
        let DeliveryDesk { queue, spool, clock, tallies, .. } = &*self.desk;
        let policy = Box::new(settings.policy(spool, clock.now()));
        let desk = DeliveryDesk::new(queue.clone(), spool.clone(), settings, clock.clone(), tallies.clone());
        self.desk = Arc::new(desk);
        Event::Reconfigured(policy)
    }

    /// Returns the event by which the queue's state follows the pauses that operators have ordered.
    pub(super) fn pauses(&self) -> Event {
        Event::Pauses(super::super::pauses(&self.desk.spool, self.desk.clock.now()))
    }

    /// Returns the number of settlements that are under way.
    pub(super) fn settlements(&self) -> usize {
        self.tasks.settlements()
    }

    /// Waits for the next task to end; returns `None` if there is none. Cancel safe.
    pub(super) async fn next_end(&mut self) -> Option<Ended> {
        self.tasks.next().await
    }

    /// Takes in the end of a task, and begins what replaces it after a panic. Returns the event that it ended with.
    pub(super) fn take_end(&mut self, ended: Ended) -> Option<Event> {
        match ended {
            Ended::Said(event) => {
                if let Event::Ended { connection, .. } = &event {
                    // It no longer waits for a message.
                    self.asking.remove(connection);
                }
                return Some(event);
            }
            Ended::Silent => {}
            Ended::WithoutOutcome(id) => {
                self.tasks.spawn(Duty::Settlement(id), tasks::after_panic(self.desk.clone(), id));
            }
            // Nothing is sent before the spool answers.
            Ended::WithoutAnswer(id) => self.await_recording(id),
            Ended::WithoutWatch(task) => {
                if let Some(watch) = self.secret_watches.values_mut().find(|watch| watch.is(task)) {
                    watch.go_on(&mut self.tasks, self.desk.clone());
                }
            }
        }
        None
    }

    /// Ends all tasks that are left.
    pub(super) async fn end(self) {
        self.tasks.end().await;
    }

    fn connect(&mut self, connection: ConnectionId, relay: RelayPlace) {
        let link = QueueLink::new(self.desk.clone(), connection, relay);
        let dialogue = self.desk.relay(relay).connector.clone().run_connection(link);
        self.tasks.spawn(Duty::Connection(connection), async move {
            Some(Event::Ended { connection, trouble: dialogue.await.err() })
        });
    }

    /// Begins a task that looks up which relays get these messages.
    fn route(&mut self, lookup: u64, messages: Vec<QueueId>) {
        self.tasks.look_up_routes(&self.desk, lookup, messages);
    }

    /// Gives a message to the connection that asked for one, or notes that the connection is gone.
    fn give(&mut self, connection: ConnectionId, taken: Option<Taken>) {
        let untaken = match self.asking.remove(&connection) {
            Some(asker) => asker.send(taken).err().flatten(),
            None => taken,
        };
        self.missed.extend(untaken.map(|taken| taken.id));
    }

    /// Begins a task that asks the spool, after a pause, whether it records now what it did not record of `id`.
    fn await_recording(&mut self, id: QueueId) {
        self.tasks.spawn(Duty::Recording(id), tasks::await_recording(self.desk.clone(), id));
    }
}
