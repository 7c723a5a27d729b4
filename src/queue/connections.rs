//! The connections to one relay, as far as the owner knows them.
//!
//! Promises: a message with losses gets a connection that has carried nothing yet, and no other message follows it
//! there. Few connections carry such messages at a time. What the connections of earlier settings do counts for
//! nothing. A connection that takes the place of one that has brought mail and ended shows as much as a connection that
//! works; where no mail waits for it at that moment, nobody takes the place.
//!
//! Pure. Not here: how many there may be (`breaker.rs`), which message is next (`roster.rs`), their tasks
//! (`owner/tasks.rs`).

use std::collections::HashMap;

use super::ConnectionId;
use super::suspects::Blame;
use crate::queue_id::QueueId;

/// Of this many connections, one may carry a message with losses; one may in any case.
const SHARE_OF_LOST: usize = 4;

/// The stage that a connection has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionStage {
    /// It is being opened.
    Opening,
    /// It is open, verified and logged in, and has carried nothing yet.
    Open,
    /// It carries one message after the other.
    Shared,
    /// It carries one message with losses, and no other.
    Alone,
    /// It gets no more messages.
    Leaving,
}

/// The owner's knowledge of one connection.
pub(super) struct ConnectionState {
    pub(super) id: ConnectionId,
    pub(super) stage: ConnectionStage,
    /// The one at fault, if this connection was lost during a message.
    pub(super) blame: Option<Blame>,
    /// The message during which this connection was lost, if it was.
    pub(super) lost: Option<QueueId>,
    /// True if the relay has taken a message over this connection.
    pub(super) has_delivered: bool,
    is_cut_off: bool,
    /// True if it took the place of a connection that had delivered and ended well.
    is_successor: bool,
}

/// All connections that exist.
#[derive(Default)]
pub(super) struct Connections {
    known: HashMap<ConnectionId, ConnectionState>,
    next: ConnectionId,
    /// Connections with a smaller name belong to settings that have been replaced.
    oldest_current: ConnectionId,
    /// The places of connections that delivered and ended well just now; they are free for successors.
    vacated: usize,
}

impl Connections {
    /// Takes in a connection that is begun now. Its name must be larger than all before.
    pub(super) fn begin(&mut self, id: ConnectionId) {
        self.next = id + 1;
        let is_successor = self.vacated > 0;
        self.vacated = self.vacated.saturating_sub(1);
        let connection = ConnectionState {
            id,
            stage: ConnectionStage::Opening,
            blame: None,
            lost: None,
            has_delivered: false,
            is_cut_off: false,
            is_successor,
        };
        self.known.insert(id, connection);
    }

    /// Returns whether a connection of this name exists.
    pub(super) fn has(&self, id: ConnectionId) -> bool {
        self.known.contains_key(&id)
    }

    /// Returns a name that is larger than those of all connections so far; connections to come have this one or a
    /// larger one.
    pub(super) fn next_id(&self) -> ConnectionId {
        self.next
    }

    /// Removes a connection that has ended, and returns it.
    pub(super) fn ended(&mut self, id: ConnectionId) -> Option<ConnectionState> {
        self.known.remove(&id)
    }

    /// Returns the connection of that name.
    pub(super) fn named(&mut self, id: ConnectionId) -> Option<&mut ConnectionState> {
        self.known.get_mut(&id)
    }

    /// Notes how far a connection has come.
    pub(super) fn reaches(&mut self, id: ConnectionId, stage: ConnectionStage) {
        if let Some(connection) = self.named(id) {
            connection.stage = stage;
        }
    }

    /// Returns the number of connections, with those of earlier settings.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Returns the number of connections of the settings in force.
    pub(super) fn current(&self) -> usize {
        self.known.values().filter(|connection| !self.is_outdated(connection.id)).count()
    }

    /// Returns the number of connections that are being opened.
    pub(super) fn opening(&self) -> usize {
        self.count(|stage| stage == ConnectionStage::Opening)
    }

    /// Returns the number of connections that show that the relay works.
    pub(super) fn working(&self) -> usize {
        self.count(|stage| !matches!(stage, ConnectionStage::Opening | ConnectionStage::Leaving))
    }

    /// Returns the number of connections that the relay is trusted with: those that work, those that are being opened in
    /// the place of one that did, and those whose place is free for one.
    pub(super) fn trusted(&self) -> usize {
        let current = self.known.values().filter(|connection| !self.is_outdated(connection.id));
        let is_coming = |one: &&ConnectionState| one.is_successor && one.stage == ConnectionStage::Opening;
        self.working() + current.filter(is_coming).count() + self.vacated
    }

    /// Leaves the place of a connection that has delivered and ended well to a successor.
    pub(super) fn vacate(&mut self) {
        self.vacated += 1;
    }

    /// Gives up the places that nobody has taken.
    pub(super) fn close_vacated(&mut self) {
        self.vacated = 0;
    }

    /// Notes that what connections did before shows nothing of those that are being opened.
    pub(super) fn distrust(&mut self) {
        self.vacated = 0;
        self.known.values_mut().for_each(|connection| connection.is_successor = false);
    }

    /// Returns the number of connections that are about to end.
    pub(super) fn leaving(&self) -> usize {
        self.count(|stage| stage == ConnectionStage::Leaving)
    }

    /// Returns the number of connections that carry a message with losses.
    pub(super) fn alone(&self) -> usize {
        self.count(|stage| stage == ConnectionStage::Alone)
    }

    /// Returns whether one more of `max_connections` may carry a message with losses.
    pub(super) fn may_be_alone(&self, max_connections: usize) -> bool {
        self.alone() < (max_connections / SHARE_OF_LOST).max(1)
    }

    /// Returns whether messages without losses have a connection besides `id`.
    pub(super) fn others_serve(&self, id: ConnectionId) -> bool {
        self.known.values().any(|other| {
            other.id != id
                && !self.is_outdated(other.id)
                && matches!(other.stage, ConnectionStage::Open | ConnectionStage::Shared)
        })
    }

    /// Returns whether this connection belongs to earlier settings, so that nothing that happens on it counts.
    pub(super) fn is_outdated(&self, id: ConnectionId) -> bool {
        id < self.oldest_current
    }

    /// Notes that all connections that exist belong to earlier settings from now on.
    pub(super) fn outdate(&mut self) {
        self.oldest_current = self.next;
        self.vacated = 0;
    }

    /// Returns the connections that are being opened, and so carry no message.
    pub(super) fn opening_ones(&self) -> impl Iterator<Item = ConnectionId> {
        let opening = self.known.values().filter(|connection| connection.stage == ConnectionStage::Opening);
        opening.map(|connection| connection.id)
    }

    /// Returns the connections that are to be cut off now, each of them once.
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
