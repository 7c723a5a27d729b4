//! The tasks of the queue: connections, settlements, and what is waited for.
//!
//! Promises: no task of the queue is anywhere else, and what each was there for is known when it ends, so that a panic is
//! an event as any other: one in a dialogue is trouble of the relay, one in a settlement has the message tried again, and
//! one in what asks a spool that does not record, or looks at the secret, has that begun anew. Where the owner itself ends by a panic the settlements
//! go on without it: what the relay took is recorded all the same.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

use super::super::ConnectionId;
use super::super::desk::DeliveryDesk;
use super::super::recording::Pauses;
use super::super::reducer::{Disposition, Event};
use crate::log;
use crate::queue_id::QueueId;
use crate::relay::{Cause, Phase, Trouble};
use crate::spool::{CommitError, Flight, Spool};

/// What a task is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Duty {
    /// A connection's dialogue.
    Connection(ConnectionId),
    /// What became of a message.
    Settlement(QueueId),
    /// To ask the spool whether it records again what it did not of this message.
    Recording(QueueId),
    /// To look whether the secret for the login has changed.
    SecretWatch,
    /// Something whose end by itself means nothing.
    Other,
}

/// How a task has ended.
pub(super) enum Ended {
    /// With this to say.
    Said(Event),
    /// With nothing to say.
    Silent,
    /// By a panic, with less recorded of this message than should be.
    WithoutOutcome(QueueId),
    /// By a panic, and nobody asks the spool about this message any more.
    WithoutAnswer(QueueId),
    /// By a panic of this task, and nobody looks at the secret any more.
    WithoutWatch(Id),
}

/// All that run.
#[derive(Default)]
pub(super) struct Tasks {
    set: JoinSet<Option<Event>>,
    duties: HashMap<Id, (Duty, AbortHandle)>,
    connections: HashMap<ConnectionId, AbortHandle>,
    settlements: usize,
}

impl Tasks {
    /// Begins a task that ends with an event, if anything is to be told of its end.
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

    /// Has the spool remember that the relay of this name takes mail.
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

    /// Ends a connection at once.
    pub(super) fn cut_off(&self, connection: ConnectionId) {
        if let Some(task) = self.connections.get(&connection) {
            task.abort();
        }
    }

    /// How many settlements there are.
    pub(super) fn settlements(&self) -> usize {
        self.settlements
    }

    /// Waits for the next task to end; `None` while there is none. Cancel safe.
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

    /// Ends all that are left.
    pub(super) async fn end(mut self) {
        self.set.shutdown().await;
    }
}

impl Drop for Tasks {
    /// An owner that has ended as it should has ended all tasks before. Where it has not, all but settlements end here:
    /// nobody is there to give messages to connections.
    fn drop(&mut self) {
        for (duty, task) in self.duties.values() {
            if !matches!(duty, Duty::Settlement(_)) {
                task.abort();
            }
        }
        self.set.detach_all();
    }
}

/// How a task of this duty has ended that was cut off or panicked.
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

/// What stands for a panic in the relay's dialogue: it pauses the relay, as whatever it stumbled over comes
/// from there.
fn internal_error() -> Trouble {
    let cause = Cause::Other("the dialogue failed by an internal error, reported above".into());
    Trouble { phase: Phase::Connect, peer: None, cause }
}

/// Has a message tried again of which a settlement has recorded less than it should.
pub(super) async fn after_panic(desk: Arc<DeliveryDesk>, id: QueueId) -> Option<Event> {
    log::possible_duplicate(id, "its outcome was not recorded");
    desk.spool.end_flight(id, Flight::Told).await;
    Some(Event::Became { id, disposition: Disposition::Postponed })
}

/// Waits until the spool takes what it did not take of `id`.
pub(super) async fn await_recording(desk: Arc<DeliveryDesk>, id: QueueId) -> Option<Event> {
    let mut pauses = Pauses::default();
    loop {
        desk.clock.sleep(pauses.next()).await;
        match desk.spool.try_recording(id).await {
            Ok(()) => return Some(Event::Recordable),
            // It will take nothing any more.
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
