//! The connections to one relay, as far as the owner knows them.
//!
//! Promises: a message with losses gets a connection that has carried nothing yet, and none rides behind it; few
//! connections are with such messages at a time; what an earlier relay's connections do counts for nothing.
//!
//! Pure. Not here: how many there may be (`breaker.rs`), which message is next (`roster.rs`), the tasks
//! (`owner/tasks.rs`).

use std::collections::HashMap;

use super::ConnectionId;
use super::suspects::Blame;
use crate::queue_id::QueueId;

/// One connection in so many may be with a message that has losses; one at least.
const SHARE_OF_LOST: usize = 4;

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionStage {
    /// Not yet there.
    Opening,
    /// Reached, verified, authenticated; it has carried nothing yet.
    Open,
    /// It carries message after message.
    Shared,
    /// It was opened for one message with losses, and carries no other.
    Alone,
    /// It is given no more messages.
    Leaving,
}

/// One connection.
pub(super) struct ConnectionState {
    pub(super) id: ConnectionId,
    pub(super) stage: ConnectionStage,
    /// Whose trouble it is that a message of this connection was lost; none was so far: `None`.
    pub(super) blame: Option<Blame>,
    /// That message.
    pub(super) lost: Option<QueueId>,
    /// The relay has taken a message from it.
    pub(super) has_delivered: bool,
    is_cut_off: bool,
}

/// All that exist.
#[derive(Default)]
pub(super) struct Connections {
    known: HashMap<ConnectionId, ConnectionState>,
    next: ConnectionId,
    /// Those before it belong to settings that have been replaced.
    oldest_current: ConnectionId,
}

impl Connections {
    /// Takes in a connection that is begun now, with a name later than all before.
    pub(super) fn begin(&mut self, id: ConnectionId) {
        self.next = id + 1;
        let connection = ConnectionState {
            id,
            stage: ConnectionStage::Opening,
            blame: None,
            lost: None,
            has_delivered: false,
            is_cut_off: false,
        };
        self.known.insert(id, connection);
    }

    /// Returns whether this is one of them.
    pub(super) fn has(&self, id: ConnectionId) -> bool {
        self.known.contains_key(&id)
    }

    /// Returns a name that is later than those of all that have been begun; those that will be begun have this one or a
    /// later one.
    pub(super) fn next_id(&self) -> ConnectionId {
        self.next
    }

    /// The connection of that name has ended.
    pub(super) fn ended(&mut self, id: ConnectionId) -> Option<ConnectionState> {
        self.known.remove(&id)
    }

    /// The connection of that name.
    pub(super) fn named(&mut self, id: ConnectionId) -> Option<&mut ConnectionState> {
        self.known.get_mut(&id)
    }

    /// It has come this far.
    pub(super) fn reaches(&mut self, id: ConnectionId, stage: ConnectionStage) {
        if let Some(connection) = self.named(id) {
            connection.stage = stage;
        }
    }

    /// How many exist, those of earlier settings with them.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// How many belong to the settings in force.
    pub(super) fn current(&self) -> usize {
        self.known.values().filter(|connection| !self.is_outdated(connection.id)).count()
    }

    /// How many are not yet there.
    pub(super) fn opening(&self) -> usize {
        self.count(|stage| stage == ConnectionStage::Opening)
    }

    /// How many show that the relay works.
    pub(super) fn working(&self) -> usize {
        self.count(|stage| !matches!(stage, ConnectionStage::Opening | ConnectionStage::Leaving))
    }

    /// How many are about to end.
    pub(super) fn leaving(&self) -> usize {
        self.count(|stage| stage == ConnectionStage::Leaving)
    }

    /// How many are with a message with losses.
    pub(super) fn alone(&self) -> usize {
        self.count(|stage| stage == ConnectionStage::Alone)
    }

    /// Whether one more may be given a message with losses, of `max_connections`.
    pub(super) fn may_be_alone(&self, max_connections: usize) -> bool {
        self.alone() < (max_connections / SHARE_OF_LOST).max(1)
    }

    /// Whether messages without losses have a connection besides `id`.
    pub(super) fn others_serve(&self, id: ConnectionId) -> bool {
        self.known.values().any(|other| {
            other.id != id
                && !self.is_outdated(other.id)
                && matches!(other.stage, ConnectionStage::Open | ConnectionStage::Shared)
        })
    }

    /// What an earlier relay's connection meets, or is told, says nothing of this relay.
    pub(super) fn is_outdated(&self, id: ConnectionId) -> bool {
        id < self.oldest_current
    }

    /// From now on all that exist belong to earlier settings.
    pub(super) fn outdate(&mut self) {
        self.oldest_current = self.next;
    }

    /// Those that are still being opened, and so hold no message.
    pub(super) fn opening_ones(&self) -> impl Iterator<Item = ConnectionId> {
        let opening = self.known.values().filter(|connection| connection.stage == ConnectionStage::Opening);
        opening.map(|connection| connection.id)
    }

    /// All that are to be cut off now, each once.
    pub(super) fn cut_off(&mut self) -> impl Iterator<Item = ConnectionId> {
        let others = self.known.values_mut().filter(|connection| !connection.is_cut_off);
        others.map(|connection| {
            connection.is_cut_off = true;
            connection.id
        })
    }

    fn count(&self, counts: impl Fn(ConnectionStage) -> bool) -> usize {
        let current = self.known.values().filter(|connection| !self.is_outdated(connection.id));
        current.filter(|connection| counts(connection.stage)).count()
    }
}
