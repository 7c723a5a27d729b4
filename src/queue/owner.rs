//! The shell around the queue's state: it takes in what comes, and carries out what is to be done.
//!
//! Promises: it waits for no disk and no relay. Everything slow is a task of its own, which it owns; when a task ends,
//! even by a panic, it knows what the task was for. What a task has sent is taken in before its end, and an arrival
//! before anything that is sent by somebody who may know of it.
//!
//! Not here: the decisions (`reducer.rs`), the dialogues and settlements themselves (`link.rs`, `settlement.rs`).

mod lines;
mod secret_watch;
mod tasks;

use std::collections::HashMap;
use std::sync::Arc;

use fastrand::Rng;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;

use super::clock::Clock;
use super::desk::DeliveryDesk;
use super::link::QueueLink;
use super::reducer::{Effect, Event, QueueAnswer, Reducer};
use super::{ConnectionId, OwnerInput, Queue, Settings, Taken};
use crate::queue_id::QueueId;
use crate::spool::{Entry, Recovery, Spool};
use secret_watch::SecretWatch;
use tasks::{Duty, Ended, Tasks};

pub(super) struct Owner {
    reducer: Reducer,
    desk: Arc<DeliveryDesk>,
    tasks: Tasks,
    /// The connections that asked for a message and have no answer yet.
    asking: HashMap<ConnectionId, oneshot::Sender<Option<Taken>>>,
    /// Whoever gets the answer to the event at hand.
    asker: Option<oneshot::Sender<QueueAnswer>>,
    secret_watch: Option<SecretWatch>,
    /// The messages whose connection was gone when they were given to it.
    missed: Vec<QueueId>,
    /// It is empty between events; its memory is used again.
    effects: Vec<Effect>,
}

impl Owner {
    pub(super) fn new(
        spool: Spool,
        recovery: &Recovery,
        settings: Settings,
        clock: Arc<dyn Clock>,
        queue: Queue,
    ) -> Self {
        let (policy, now) = (settings.policy(), clock.moment());
        let has_taken = spool.knows_relay(&policy.refusals.relay);
        let (entries, relay_clock) = (&recovery.entries, recovery.relay_clock);
        Owner {
            reducer: Reducer::new(policy, has_taken, entries, relay_clock, Rng::new(), now),
            desk: Arc::new(DeliveryDesk::new(queue, spool, settings, clock)),
            tasks: Tasks::default(),
            asking: HashMap::new(),
            asker: None,
            secret_watch: None,
            missed: Vec::new(),
            effects: Vec::new(),
        }
    }

    pub(super) async fn run(
        mut self,
        mut inbox: UnboundedReceiver<OwnerInput>,
        mut arrivals: UnboundedReceiver<Entry>,
    ) {
        loop {
            self.on(Event::Tick);
            // It sleeps until something is due that was not due at the tick.
            let now = self.reducer.now();
            if self.reducer.has_stopped() || self.reducer.may_end(now, self.tasks.settlements()) {
                break;
            }
            let sleep = self.desk.clock.sleep(self.reducer.until_next_change(now));
            tokio::select! {
                Some(command) = inbox.recv() => {
                    self.obey(command, &mut arrivals);
                    self.obey_all(&mut inbox, &mut arrivals);
                }
                Some(entry) = arrivals.recv() => {
                    self.on(Event::Arrived(entry));
                    self.admit(&mut arrivals);
                }
                Some(ended) = self.tasks.next() => {
                    self.obey_all(&mut inbox, &mut arrivals);
                    self.admit(&mut arrivals);
                    self.task_ended(ended);
                }
                () = sleep => {}
            }
        }
        self.tasks.end().await;
    }

    /// Obeys what has come so far.
    fn obey_all(
        &mut self,
        inbox: &mut UnboundedReceiver<OwnerInput>,
        arrivals: &mut UnboundedReceiver<Entry>,
    ) {
        while let Ok(command) = inbox.try_recv() {
            self.obey(command, arrivals);
        }
    }

    fn admit(&mut self, arrivals: &mut UnboundedReceiver<Entry>) {
        while let Ok(entry) = arrivals.try_recv() {
            self.on(Event::Arrived(entry));
        }
    }

    fn obey(&mut self, command: OwnerInput, arrivals: &mut UnboundedReceiver<Entry>) {
        self.admit(arrivals);
        match command {
            OwnerInput::Tell(event) => self.on(event),
            OwnerInput::Ask(event, asker) => {
                self.asker = Some(asker);
                self.on(event);
            }
            OwnerInput::Next { connection, wait, answer } => {
                self.asking.insert(connection, answer);
                self.on(Event::Wanted { connection, wait });
            }
            OwnerInput::Settle(settlement) => {
                let id = settlement.id();
                self.tasks.spawn(Duty::Settlement(id), async move {
                    Some(Event::Became { id, disposition: settlement.run().await })
                });
            }
            OwnerInput::Reconfigure(settings) => self.reconfigure(*settings),
        }
    }

    fn reconfigure(&mut self, settings: Settings) {
        let policy = Box::new(settings.policy());
        let DeliveryDesk { queue, spool, clock, .. } = &*self.desk;
        let has_taken = spool.knows_relay(&policy.refusals.relay);
        self.desk = Arc::new(DeliveryDesk::new(queue.clone(), spool.clone(), settings, clock.clone()));
        self.on(Event::Reconfigured { policy, has_taken });
    }

    fn task_ended(&mut self, ended: Ended) {
        match ended {
            Ended::Said(event) => {
                if let Event::Ended { connection, .. } = &event {
                    // It no longer waits for a message.
                    self.asking.remove(connection);
                }
                self.on(event);
            }
            Ended::Silent => {}
            Ended::WithoutOutcome(id) => {
                self.tasks.spawn(Duty::Settlement(id), tasks::after_panic(self.desk.clone(), id));
            }
            // Nothing is sent before the spool answers.
            Ended::WithoutAnswer(id) => self.await_recording(id),
            Ended::WithoutWatch(task) => {
                if let Some(watch) = self.secret_watch.as_mut().filter(|watch| watch.is(task)) {
                    watch.go_on(&mut self.tasks, self.desk.clone());
                }
            }
        }
    }

    /// Begins a task that asks the spool, after a pause, whether it records now what it did not record of `id`.
    fn await_recording(&mut self, id: QueueId) {
        self.tasks.spawn(Duty::Recording(id), tasks::await_recording(self.desk.clone(), id));
    }

    fn on(&mut self, event: Event) {
        self.meet(event);
        while let Some(id) = self.missed.pop() {
            self.meet(Event::Missed(id));
        }
    }

    fn meet(&mut self, event: Event) {
        let mut effects = std::mem::take(&mut self.effects);
        self.reducer.on(event, self.desk.clock.moment(), &mut effects);
        effects.drain(..).for_each(|effect| self.carry_out(effect));
        self.effects = effects;
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Connect(connection) => {
                let link = QueueLink::new(self.desk.clone(), connection);
                let dialogue = self.desk.settings.connector.clone().run_connection(link);
                self.tasks.spawn(Duty::Connection(connection), async move {
                    Some(Event::Ended { connection, trouble: dialogue.await.err() })
                });
            }
            Effect::CutOff(connection) => self.tasks.cut_off(connection),
            Effect::Give { connection, taken } => self.give(connection, taken),
            Effect::QueueAnswer(answer) => {
                // Whoever asked may have gone away.
                let _ = self.asker.take().map(|asker| asker.send(answer));
            }
            Effect::AwaitRecording(id) => self.await_recording(id),
            Effect::WatchSecret => {
                self.secret_watch = Some(SecretWatch::begin(&mut self.tasks, self.desk.clone()));
            }
            Effect::ForgetSecret => self.secret_watch = None,
            Effect::RememberRelay(name) => self.tasks.remember_relay(&self.desk.spool, name),
            Effect::SetRelayClock(seconds) => self.desk.spool.set_relay_clock(seconds),
            Effect::Log(line) => line.write(),
        }
    }

    /// Gives a message to the connection that asked for one, or notes that the connection is gone.
    fn give(&mut self, connection: ConnectionId, taken: Option<Taken>) {
        let untaken = match self.asking.remove(&connection) {
            Some(answer) => answer.send(taken).err().flatten(),
            None => taken,
        };
        self.missed.extend(untaken.map(|taken| taken.id));
    }
}
