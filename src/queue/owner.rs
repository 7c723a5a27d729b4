//! The owner of the queue: it takes in what comes, and gives it to the queue's state as events, each with its time.
//!
//! Promises: it waits for no disk and no relay. What a task has sent is taken in before its end, and an arrival before
//! anything that is sent by somebody who may know of it.
//!
//! Not here: the decisions (`reducer.rs`), carrying them out (`owner/executor.rs`), the dialogues and settlements
//! themselves (`link.rs`, `settlement.rs`).

mod executor;
mod lines;
mod ordered;
mod secret_watch;
mod tasks;

use tokio::sync::mpsc::UnboundedReceiver;

use super::OwnerInput;
use super::reducer::{Effect, Event, Reducer};
use crate::spool::Entry;
pub(super) use executor::Executor;

pub(super) struct Owner {
    reducer: Reducer,
    executor: Executor,
    inbox: UnboundedReceiver<OwnerInput>,
    arrivals: UnboundedReceiver<Entry>,
    /// It is empty between events; its memory is used again.
    effects: Vec<Effect>,
}

impl Owner {
    pub(super) fn new(
        reducer: Reducer,
        executor: Executor,
        inbox: UnboundedReceiver<OwnerInput>,
        arrivals: UnboundedReceiver<Entry>,
    ) -> Self {
        Owner { reducer, executor, inbox, arrivals, effects: Vec::new() }
    }

    pub(super) async fn run(mut self) {
        loop {
            self.on(Event::Tick);
            // It sleeps until something is due that was not due at the tick.
            let now = self.reducer.now();
            if self.reducer.has_stopped() || self.reducer.may_end(now, self.executor.settlements()) {
                break;
            }
            let sleep = self.executor.clock().sleep(self.reducer.until_next_change(now));
            tokio::select! {
                Some(input) = self.inbox.recv() => {
                    self.obey(input);
                    self.obey_all();
                }
                Some(entry) = self.arrivals.recv() => {
                    self.on(Event::Arrived(entry));
                    self.admit_all();
                }
                Some(ended) = self.executor.next_end() => {
                    self.obey_all();
                    self.admit_all();
                    if let Some(event) = self.executor.take_end(ended) {
                        self.on(event);
                    }
                }
                () = sleep => {}
            }
        }
        self.executor.end().await;
    }

    /// Obeys what has been sent so far.
    fn obey_all(&mut self) {
        while let Ok(input) = self.inbox.try_recv() {
            self.obey(input);
        }
    }

    /// Takes in the messages that have arrived so far.
    fn admit_all(&mut self) {
        while let Ok(entry) = self.arrivals.try_recv() {
            self.on(Event::Arrived(entry));
        }
    }

    fn obey(&mut self, input: OwnerInput) {
        self.admit_all();
        match input {
            OwnerInput::Tell(event) => self.on(event),
            OwnerInput::Ask(event, asker) => {
                self.executor.is_asked_by(asker);
                self.on(event);
            }
            OwnerInput::Order { orders, answers } => {
                let ticket = self.executor.is_ordered_by(answers, orders.len());
                self.on(Event::Ordered { ticket, orders });
            }
            OwnerInput::Next { connection, wait, answer } => {
                self.executor.is_asked_for_message(connection, answer);
                self.on(Event::Wanted { connection, wait });
            }
            OwnerInput::Settle(settlement) => self.executor.settle(settlement),
            OwnerInput::FollowPauses(followed) => {
                let pauses = self.executor.pauses();
                self.on(pauses);
                // Who gave the order may have gone away.
                let _ = followed.send(());
            }
            OwnerInput::Reconfigure(settings) => {
                let reconfigured = self.executor.reconfigure(*settings);
                self.on(reconfigured);
            }
        }
    }

    /// Takes in an event, and those that follow from it at once.
    fn on(&mut self, event: Event) {
        let mut next = Some(event);
        while let Some(event) = next {
            self.reducer.on(event, self.executor.clock().moment(), &mut self.effects);
            self.effects.drain(..).for_each(|effect| self.executor.carry_out(effect));
            next = self.executor.missed().map(Event::Missed);
        }
    }
}
