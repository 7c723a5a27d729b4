//! Who gets which message: the owner's side of connections that want one.
//!
//! Promises: no connection is begun beyond what the breaker allows, nor for nobody; a message with losses goes last,
//! on a connection of its own; one that a connection ended with, or that was too many for it, on a fresh one.

use jiff::Timestamp;

use super::super::connections::Stage;
use super::super::courier::Courier;
use super::super::{ConnectionId, Taken};
use super::{Idle, Owner};

impl Owner {
    /// Gives ready messages to idle connections, then opens as many new ones as are allowed and useful.
    pub(super) fn dispatch(&mut self) {
        let now = self.now();
        self.desk.spool.set_relay_clock(self.relay_clock.at(now));
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
        while self.may_connect(now) {
            self.connect();
        }
        self.make_room();
    }

    /// One idle connection goes where all places are taken and a message is kept for one that has carried nothing.
    fn make_room(&mut self) {
        let is_coming = self.connections.opening() + self.connections.leaving() > 0;
        if is_coming || self.relay_is_paused || !self.throttle.awaits_fresh(|id| self.roster.is_ready(id)) {
            return;
        }
        if let Some((connection, idle)) = self.idle.pop_front() {
            self.connections.reaches(connection, Stage::Leaving);
            // It may have gone away by itself.
            let _ = idle.send(None);
        }
    }

    fn may_connect(&self, now: Timestamp) -> bool {
        let wanted = self.throttle.connections_allowed(self.max_connections());
        let (working, alone) = (self.connections.working(), self.connections.alone());
        let allowed = self.breaker.connections_allowed(now, working, alone).min(wanted);
        let lost = usize::from(self.roster.has_lost() && self.may_try_lost(now));
        self.connections.current() < allowed
            && self.connections.len() < self.max_connections()
            && self.roster.ready() + lost > self.connections.opening()
    }

    /// Whether one more message with losses may be tried.
    fn may_try_lost(&self, now: Timestamp) -> bool {
        self.connections.may_be_alone(self.max_connections()) && self.breaker.admits_suspects(now)
    }

    fn connect(&mut self) {
        self.connections.begin(|id| {
            let courier = Courier::new(self.desk.clone(), id);
            self.tasks.spawn(self.desk.settings.carrier.clone().carry(courier))
        });
    }

    pub(super) fn next(&mut self, connection: ConnectionId, wait: bool, answer: Idle) {
        self.reached(connection);
        if !self.is_sending() || self.connections.is_outdated(connection) {
            // Dropping the answer would say the same: no more.
            return drop(answer.send(None));
        }
        let stage = self.connections.named(connection).map(|one| one.stage);
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
        let Some(found) = self.connections.named(connection).filter(|one| one.stage == Stage::Opening) else {
            return;
        };
        found.stage = Stage::Open;
        self.reached += 1;
        if !self.connections.is_outdated(connection) {
            self.breaker.reached(self.now());
            self.follow_breaker();
        }
    }

    /// The message that is next on this connection. Those with losses come last, and alone; where others are served
    /// meanwhile they need not wait for the end of the queue.
    fn pick(&mut self, connection: ConnectionId) -> Option<Taken> {
        let stage = self.connections.named(connection)?.stage;
        let may_be_alone = stage == Stage::Open && self.may_try_lost(self.now());
        if may_be_alone && self.connections.others_serve(connection) {
            self.pick_lost(connection).or_else(|| self.pick_ready(connection))
        } else {
            let ready = if stage == Stage::Alone { None } else { self.pick_ready(connection) };
            if ready.is_none() && may_be_alone { self.pick_lost(connection) } else { ready }
        }
    }

    fn pick_ready(&mut self, connection: ConnectionId) -> Option<Taken> {
        let is_fresh = self.connections.named(connection).is_some_and(|one| one.stage == Stage::Open);
        let Owner { roster, throttle, .. } = self;
        let for_fresh = if is_fresh { throttle.take_for_fresh(|id| roster.is_ready(id)) } else { None };
        let taken = for_fresh.and_then(|id| roster.take_named(id));
        let (id, member) = taken.or_else(|| roster.take(|id| !is_fresh && throttle.is_for_fresh(id)))?;
        self.connections.reaches(connection, Stage::Shared);
        Some(Taken { id, member })
    }

    fn pick_lost(&mut self, connection: ConnectionId) -> Option<Taken> {
        let (id, member) = self.roster.take_lost()?;
        self.connections.reaches(connection, Stage::Alone);
        Some(Taken { id, member })
    }

    /// Gives a message to whoever waits for it there, or takes it back.
    fn give(&mut self, idle: Idle, taken: Taken) {
        if let Err(Some(taken)) = idle.send(Some(taken)) {
            self.roster.put_back(taken.id, self.now());
        }
    }
}
