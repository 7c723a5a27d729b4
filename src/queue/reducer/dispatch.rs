//! Dispatch: it gives messages to connections, and begins connections.
//!
//! Promises: no connection is begun beyond what the breaker allows, nor without a message for it that the rates allow.
//! No message is given out beyond the rates. A message with losses
//! goes last, on a connection of its own; one that ended a connection, or was too many for it, goes on a fresh one.
//! An operator's pause lets no message begin, and no connection.
//! After trouble, some messages come from elsewhere than the front of the queue (`soundings.rs`).

use std::time::Duration;

use super::super::connections::ConnectionStage;
use super::super::relay_state::RelayState;
use super::super::roster::Member;
use super::super::soundings::NextPlace;
use super::super::{ConnectionId, Taken};
use super::{AtRelay, Effect};
use crate::queue_id::QueueId;

/// The longest pause between two transactions of a message, so that no relay ends a connection for being idle.
const LONGEST_BETWEEN: Duration = Duration::from_secs(5);

impl AtRelay<'_> {
    /// Gives ready messages to idle connections, then opens as many new ones as are allowed and useful.
    pub(super) fn dispatch(&mut self) {
        if self.relay.is_halted() {
            return self.relay.connections.close_vacated();
        }
        let now = self.shared.now.steady;
        self.relay.roster.wake_due(now);
        self.try_senders();
        while let Some(&connection) = self.relay.idle.front() {
            let Some(taken) = self.pick_ready(connection) else { break };
            self.relay.idle.pop_front();
            self.give(connection, Some(taken));
        }
        while self.relay.may_connect(now) {
            let connection = self.shared.next_connection;
            self.shared.next_connection += 1;
            self.relay.connections.begin(connection);
            self.shared.effects.push(Effect::Connect { connection, relay: self.relay.place });
        }
        self.relay.connections.close_vacated();
        self.make_room();
    }

    /// Ends one idle connection if all places are taken and a message waits for a fresh connection.
    fn make_room(&mut self) {
        let RelayState { throttle, roster, .. } = &*self.relay;
        let is_kept = throttle.awaits_fresh(|id| roster.is_ready(id));
        if self.relay.has_coming() || self.relay.is_paused() || !is_kept {
            return;
        }
        if let Some(connection) = self.relay.idle.pop_front() {
            self.relay.connections.reaches(connection, ConnectionStage::Leaving);
            self.give(connection, None);
        }
    }

    /// Answers a connection that can send a message, and asks for one.
    pub(super) fn wanted(&mut self, connection: ConnectionId, wait: bool) {
        self.reached(connection);
        self.relay.idle.retain(|idle| *idle != connection);
        if !self.shared.is_sending() || self.relay.is_outdated(connection) || self.relay.is_halted() {
            return self.give(connection, None);
        }
        let stage = self.relay.connections.named(connection).map(|one| one.stage);
        if stage == Some(ConnectionStage::Leaving) {
            return self.give(connection, None);
        }
        let is_alone = stage == Some(ConnectionStage::Alone);
        match self.pick(connection) {
            None if wait && !is_alone => self.relay.idle.push_back(connection),
            taken => self.give(connection, taken),
        }
    }

    /// Takes in that a connection is open, when it asks for its first message.
    fn reached(&mut self, connection: ConnectionId) {
        let Some(found) =
            self.relay.connections.named(connection).filter(|one| one.stage == ConnectionStage::Opening)
        else {
            return;
        };
        found.stage = ConnectionStage::Open;
        self.relay.reached += 1;
        if !self.relay.is_outdated(connection) {
            self.relay.breaker.reached(self.shared.now.steady);
            self.follow_breaker();
        }
    }

    /// Takes out the message that is next on this connection. Those with losses come last, and alone; if another
    /// connection serves the others meanwhile, they need not wait for the end of the queue.
    fn pick(&mut self, connection: ConnectionId) -> Option<Taken> {
        let stage = self.relay.connections.named(connection)?.stage;
        let may_be_alone = stage == ConnectionStage::Open && self.relay.may_try_lost(self.shared.now.steady);
        if may_be_alone && self.relay.connections.others_serve(connection) {
            self.pick_lost(connection).or_else(|| self.pick_ready(connection))
        } else {
            let ready = if stage == ConnectionStage::Alone { None } else { self.pick_ready(connection) };
            if ready.is_none() && may_be_alone { self.pick_lost(connection) } else { ready }
        }
    }

    fn pick_ready(&mut self, connection: ConnectionId) -> Option<Taken> {
        if !self.may_begin() {
            return None;
        }
        let is_fresh =
            self.relay.connections.named(connection).is_some_and(|one| one.stage == ConnectionStage::Open);
        let now = self.shared.now.steady;
        let RelayState { roster, throttle, soundings, .. } = &mut *self.relay;
        let for_fresh = if is_fresh { throttle.take_for_fresh(|id| roster.is_ready(id)) } else { None };
        let taken = for_fresh.and_then(|id| roster.take_named(id, now));
        let is_kept = |id| !is_fresh && throttle.is_for_fresh(id);
        let taken = taken.or_else(|| {
            let NextPlace { may_be_newest, place } = soundings.next(roster.ready());
            let newest =
                if may_be_newest { roster.take_newest(soundings.newest(), is_kept, now) } else { None };
            if let Some((id, _)) = newest {
                soundings.tries_newest(id);
            }
            newest.or_else(|| roster.take_amid(place?, is_kept, now))
        });
        let (id, member) = taken.or_else(|| roster.take(is_kept, now))?;
        self.relay.connections.reaches(connection, ConnectionStage::Shared);
        Some(self.taken_out(id, member))
    }

    fn pick_lost(&mut self, connection: ConnectionId) -> Option<Taken> {
        if !self.may_begin() {
            return None;
        }
        let (id, member) = self.relay.roster.take_lost(self.shared.now.steady)?;
        self.relay.connections.reaches(connection, ConnectionStage::Alone);
        Some(self.taken_out(id, member))
    }

    fn taken_out(&self, id: QueueId, member: Member) -> Taken {
        let now = self.shared.now.steady;
        let patience_used = member.patience_used(self.relay.roster.reading(now));
        Taken { id, member, patience_used, limits: self.relay.parts.at(now) }
    }

    /// Returns whether the rates allow that a message begins now.
    fn may_begin(&self) -> bool {
        self.relay.next_by_rate() <= self.shared.now.steady
    }

    /// Takes in that a message at hand has a further transaction, which counts as a message of its own. Returns the pause
    /// before it; `None` if the message is better given back.
    pub(super) fn goes_on(&mut self) -> Option<Duration> {
        let pause = self.relay.next_by_rate().duration_since(self.shared.now.steady);
        let pause = Duration::try_from(pause).unwrap_or_default();
        if pause > LONGEST_BETWEEN {
            return None;
        }
        self.begins();
        Some(pause)
    }

    /// Takes in that a transaction begins now.
    fn begins(&mut self) {
        let now = self.shared.now;
        if self.relay.begins(now.steady) {
            let record = self.relay.note(now);
            self.note(record);
        }
    }

    fn give(&mut self, connection: ConnectionId, taken: Option<Taken>) {
        if taken.is_some() {
            self.begins();
        }
        self.shared.given.extend(taken.as_ref().map(|taken| taken.id));
        self.shared.effects.push(Effect::Give { connection, taken });
    }

    /// Lets every connection finish its message, and gives it no more.
    pub(super) fn replace_connections(&mut self) {
        self.relay.connections.outdate();
        self.let_connections_go();
    }

    /// Ends idle connections, and cuts off those that are still being opened, which hold no message.
    pub(super) fn let_connections_go(&mut self) {
        while let Some(connection) = self.relay.idle.pop_front() {
            self.give(connection, None);
        }
        self.shared.effects.extend(self.relay.connections.opening_ones().map(Effect::CutOff));
    }
}
