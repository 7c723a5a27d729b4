//! Who gets which message: the owner's side of connections that want one.
//!
//! Promises: no connection is begun beyond what the breaker allows, nor for nobody; a message with losses goes last,
//! on a connection of its own; one that a connection ended with, or that was too many for it, on a fresh one.

use super::super::connections::Stage;
use super::super::courier::Courier;
use super::super::relay_state::RelayState;
use super::super::{ConnectionId, Taken};
use super::{Idle, Owner};

impl Owner {
    /// Gives ready messages to idle connections, then opens as many new ones as are allowed and useful.
    pub(super) fn dispatch(&mut self) {
        let now = self.now();
        self.desk.spool.set_relay_clock(self.relay.clock.at(now));
        if !self.is_sending() {
            return;
        }
        self.roster.wake_due(now);
        self.idle.retain(|(_, idle)| !idle.is_closed());
        while let Some((connection, _)) = self.idle.front() {
            let Some(taken) = self.pick_ready(*connection) else { break };
            let (_, idle) = self.idle.pop_front().expect("one is in front");
            self.give(idle, taken);
        }
        while self.relay.may_connect(now, self.roster.ready(), self.roster.has_lost()) {
            self.connect();
        }
        self.make_room();
    }

    /// One idle connection goes where all places are taken and a message is kept for one that has carried nothing.
    fn make_room(&mut self) {
        if self.relay.has_coming()
            || self.relay.is_paused
            || !self.relay.throttle.awaits_fresh(|id| self.roster.is_ready(id))
        {
            return;
        }
        if let Some((connection, idle)) = self.idle.pop_front() {
            self.relay.connections.reaches(connection, Stage::Leaving);
            // It may have gone away by itself.
            let _ = idle.send(None);
        }
    }

    fn connect(&mut self) {
        let connection = self.relay.connections.begin();
        let courier = Courier::new(self.desk.clone(), connection);
        let task = self.tasks.spawn(self.desk.settings.carrier.clone().carry(courier));
        self.handles.insert(task.id(), (connection, task));
    }

    pub(super) fn next(&mut self, connection: ConnectionId, wait: bool, answer: Idle) {
        self.reached(connection);
        if !self.is_sending() || self.relay.is_outdated(connection) {
            // Dropping the answer would say the same: no more.
            return drop(answer.send(None));
        }
        let stage = self.relay.connections.named(connection).map(|one| one.stage);
        if stage == Some(Stage::Leaving) {
            return drop(answer.send(None));
        }
        let is_alone = stage == Some(Stage::Alone);
        match self.pick(connection) {
            Some(taken) => self.give(answer, taken),
            None if wait && !is_alone => self.idle.push_back((connection, answer)),
            None => drop(answer.send(None)),
        }
    }

    /// A connection that asks for a message has been opened.
    fn reached(&mut self, connection: ConnectionId) {
        let Some(found) = self.relay.connections.named(connection).filter(|one| one.stage == Stage::Opening)
        else {
            return;
        };
        found.stage = Stage::Open;
        self.relay.reached += 1;
        if !self.relay.is_outdated(connection) {
            self.relay.breaker.reached(self.now());
            self.follow_breaker();
        }
    }

    /// The message that is next on this connection. Those with losses come last, and alone; where others are served
    /// meanwhile they need not wait for the end of the queue.
    fn pick(&mut self, connection: ConnectionId) -> Option<Taken> {
        let stage = self.relay.connections.named(connection)?.stage;
        let may_be_alone = stage == Stage::Open && self.relay.may_try_lost(self.now());
        if may_be_alone && self.relay.connections.others_serve(connection) {
            self.pick_lost(connection).or_else(|| self.pick_ready(connection))
        } else {
            let ready = if stage == Stage::Alone { None } else { self.pick_ready(connection) };
            if ready.is_none() && may_be_alone { self.pick_lost(connection) } else { ready }
        }
    }

    fn pick_ready(&mut self, connection: ConnectionId) -> Option<Taken> {
        let is_fresh = self.relay.connections.named(connection).is_some_and(|one| one.stage == Stage::Open);
        let Owner { roster, relay: RelayState { throttle, .. }, .. } = self;
        let for_fresh = if is_fresh { throttle.take_for_fresh(|id| roster.is_ready(id)) } else { None };
        let taken = for_fresh.and_then(|id| roster.take_named(id));
        let (id, member) = taken.or_else(|| roster.take(|id| !is_fresh && throttle.is_for_fresh(id)))?;
        self.relay.connections.reaches(connection, Stage::Shared);
        Some(Taken { id, member })
    }

    fn pick_lost(&mut self, connection: ConnectionId) -> Option<Taken> {
        let (id, member) = self.roster.take_lost()?;
        self.relay.connections.reaches(connection, Stage::Alone);
        Some(Taken { id, member })
    }

    /// Gives a message to whoever waits for it there, or takes it back.
    fn give(&mut self, idle: Idle, taken: Taken) {
        if let Err(Some(taken)) = idle.send(Some(taken)) {
            self.roster.put_back(taken.id, self.now());
        }
    }
}
