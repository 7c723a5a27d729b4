//! The tasks of the queue: connections, settlements, and those that wait for something.
//!
//! Promises: every task of the queue is here, and its duty is known when it ends, so that a panic is an event like any
//! other. After a panic in a dialogue the relay is paused; after one in a settlement the message is tried again; after
//! one in a task that asks the spool, or looks at the secret, that task is begun again. If the owner itself panics, the
//! settlements go on without it, so that what the relay has taken is recorded all the same.

use std::collections::HashMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

use super::super::desk::DeliveryDesk;
use super::super::recording::Pauses;
use super::super::reducer::{Disposition, Event};
use super::super::routes;
use super::super::{ConnectionId, RelayPlace};
use crate::log;
use crate::queue_id::QueueId;
use crate::relay::{Cause, Phase, Trouble};
use crate::spool::{CommitError, Flight, Spool};

/// The duty of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Duty {
    /// To work on a connection to the relay.
    Connection(ConnectionId),
    /// To settle the result of an attempt for this message.
    Settlement(QueueId),
    /// To ask the spool whether it records now what it did not record of this message.
    Recording(QueueId),
    /// To look whether the secret for the login has changed.
    SecretWatch,
    /// To do work whose end means nothing to the owner.
    Other,
}

/// The end of a task.
pub(super) enum Ended {
    /// It ended with this event.
    Said(Event),
    /// It ended, and nothing follows from that.
    Silent,
    /// It panicked, and less is recorded of this message than should be.
    WithoutOutcome(QueueId),
    /// It panicked, and nobody asks the spool about this message any more.
    WithoutAnswer(QueueId),
    /// This task panicked, and nobody looks at the secret any more.
    WithoutWatch(Id),
}

/// All tasks that run.
#[derive(Default)]
pub(super) struct Tasks {
    set: JoinSet<Option<Event>>,
    duties: HashMap<Id, (Duty, AbortHandle)>,
    connections: HashMap<ConnectionId, AbortHandle>,
    settlements: usize,
}

impl Tasks {
    /// Begins a task, whose result is an event if anything follows from its end.
    pub(super) fn spawn(
        &mut self,
        duty: Duty,
        task: impl Future<Output = Option<Event>> + Send + 'static,
    ) -> AbortHandle {
        let task = self.set.spawn(task);
        self.duties.insert(task.id(), (duty, task.clone()));
        match duty {
            Duty::Connection(connection) => drop(self.connections.insert(connection, task.clone())),
            Duty::Settlement(_) => self.settlements += 1,
            Duty::Recording(_) | Duty::SecretWatch | Duty::Other => {}
        }
        task
    }

    /// Begins a task in which the spool notes that the relay of this name takes mail.
    pub(super) fn remember_relay(&mut self, spool: &Spool, name: String) {
        let spool = spool.clone();
        let task = self.set.spawn_blocking(move || {
            if let Err(error) = spool.remember_relay(&name) {
                log::done_without("remembering that this relay takes mail", &error);
            }
            None
        });
        self.duties.insert(task.id(), (Duty::Other, task));
    }

    /// Begins a task in which the spool writes down how much of the relays' rates is used.
    pub(super) fn write_rates(&mut self, spool: &Spool) {
        let spool = spool.clone();
        let task = self.set.spawn_blocking(move || {
            if let Err(error) = spool.write_rates() {
                log::done_without("remembering how much of the relay's rates is used", &error);
            }
            None
        });
        self.duties.insert(task.id(), (Duty::Other, task));
    }

    /// Begins a task that looks up which relays get these messages.
    pub(super) fn look_up_routes(&mut self, desk: &Arc<DeliveryDesk>, lookup: u64, messages: Vec<QueueId>) {
        let desk = desk.clone();
        let task = self.set.spawn_blocking(move || {
            let DeliveryDesk { spool, settings, .. } = &*desk;
            let relays = |id| (id, routes::relays_of_message(&settings.routes, spool, id));
            // After a panic in one of them, the first relay looks at it again, and then knows which message it is.
            let relays =
                |id| catch_unwind(AssertUnwindSafe(|| relays(id))).unwrap_or((id, vec![RelayPlace(0)]));
            Some(Event::Routed { lookup, found: messages.into_iter().map(relays).collect() })
        });
        self.duties.insert(task.id(), (Duty::Other, task));
    }

    /// Ends a connection at once.
    pub(super) fn cut_off(&self, connection: ConnectionId) {
        if let Some(task) = self.connections.get(&connection) {
            task.abort();
        }
    }

    /// Returns the number of settlements.
    pub(super) fn settlements(&self) -> usize {
        self.settlements
    }

    /// Waits for the next task to end; returns `None` if there is none. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Ended> {
        let ended = self.set.join_next_with_id().await?;
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let duty = self.duties.remove(&id).map_or(Duty::Other, |(duty, _)| duty);
        match duty {
            Duty::Connection(connection) => drop(self.connections.remove(&connection)),
            Duty::Settlement(_) => self.settlements -= 1,
            Duty::Recording(_) | Duty::SecretWatch | Duty::Other => {}
        }
        Some(match ended {
            Ok((_, said)) => said.map_or(Ended::Silent, Ended::Said),
            Err(error) => without_word(duty, &error),
        })
    }

    /// Ends all tasks that are left.
    pub(super) async fn end(mut self) {
        self.set.shutdown().await;
    }
}

impl Drop for Tasks {
    /// An owner that ends in good order has ended all tasks before. If it has not, all tasks but the settlements end
    /// here, since nobody is there to give messages to connections.
    fn drop(&mut self) {
        for (duty, task) in self.duties.values() {
            if !matches!(duty, Duty::Settlement(_)) {
                task.abort();
            }
        }
        self.set.detach_all();
    }
}

/// Returns the end of a task of this duty that was cut off or panicked.
fn without_word(duty: Duty, error: &JoinError) -> Ended {
    match duty {
        Duty::Connection(connection) => {
            let trouble = error.is_panic().then(internal_error);
            Ended::Said(Event::Ended { connection, trouble })
        }
        Duty::Settlement(id) => Ended::WithoutOutcome(id),
        Duty::Recording(id) => Ended::WithoutAnswer(id),
        Duty::SecretWatch if error.is_panic() => Ended::WithoutWatch(error.id()),
        Duty::SecretWatch | Duty::Other => Ended::Silent,
    }
}

/// Returns the trouble that stands for a panic in the dialogue. It pauses the relay, since whatever caused the panic
/// came from there.
fn internal_error() -> Trouble {
    let cause = Cause::Other("the dialogue failed by an internal error, reported above".into());
    Trouble { phase: Phase::Connect, peer: None, cause }
}

/// Has a message tried again of which a settlement has recorded less than it should. Returns the event for that.
pub(super) async fn after_panic(desk: Arc<DeliveryDesk>, id: QueueId) -> Option<Event> {
    log::possible_duplicate(id, "its outcome was not recorded");
    desk.spool.end_flight(id, Flight::Told).await;
    Some(Event::Became { id, disposition: Disposition::Postponed })
}

/// Waits until the spool records what it did not record of `id`, and returns the event that tells this; `None` if the
/// spool was closed before.
pub(super) async fn await_recording(desk: Arc<DeliveryDesk>, id: QueueId) -> Option<Event> {
    let mut pauses = Pauses::default();
    loop {
        desk.clock.sleep(pauses.next()).await;
        match desk.spool.try_recording(id).await {
            Ok(()) => return Some(Event::Recordable),
            // It will record nothing any more.
            Err(CommitError::Closed) => return None,
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A panic of the owner aborted the settlements that were under way: what the relay had taken was not recorded, and
    /// went again.
    #[tokio::test]
    async fn settlements_outlive_an_owner_that_panics_and_connections_do_not() {
        let (recorded, is_recorded) = tokio::sync::oneshot::channel();
        let (go_on, goes_on) = tokio::sync::oneshot::channel();
        let (dialogue, has_ended) = tokio::sync::oneshot::channel::<()>();
        let owner = tokio::spawn(async move {
            let mut tasks = Tasks::default();
            tasks.spawn(Duty::Settlement(QueueId::from_raw(1)), async move {
                goes_on.await.unwrap();
                recorded.send(()).unwrap();
                None
            });
            tasks.spawn(Duty::Connection(1), async move {
                std::future::pending::<()>().await;
                drop(dialogue);
                None
            });
            panic!("told to");
        });
        assert!(owner.await.unwrap_err().is_panic());
        has_ended.await.unwrap_err();
        go_on.send(()).unwrap();
        is_recorded.await.unwrap();
    }
}
