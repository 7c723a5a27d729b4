//! The one owner of the queue's state: roster, breaker, connections.
//!
//! It never waits for a disk or a relay: everything slow happens in couriers and settlements, which
//! tell it what became of things.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

use super::breaker::{Breaker, Effect};
use super::clock::{Clock, later};
use super::courier::{Courier, Desk};
use super::recording::{Recording, await_recording};
use super::refusals::{Refusal, Refusals, Ruling};
use super::roster::{Roster, Standing};
use super::schedule::Spread;
use super::settlement::Disposition;
use super::{Command, ConnectionId, Listed, Queue, Settings, Status, Taken, TooSoon};
use crate::log;
use crate::queue_id::QueueId;
use crate::relay::{Cause, Phase, Trouble};
use crate::spool::{CommitError, Entry, EntryState, Recovery, Spool};

/// The longest the owner sleeps: a message that arrives is stamped with the relay clock as the spool was told it
/// last, and loses of its patience what that is behind.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);
/// How often a client's ETRN is followed: anybody on this host may send one, and each can cost a login.
const CLIENT_PROBE_INTERVAL: Duration = Duration::from_secs(60);

/// A connection, as far as the owner knows.
struct Connection {
    id: ConnectionId,
    /// It has asked for a message: reached, verified, authenticated.
    is_working: bool,
    task: AbortHandle,
}

/// Where a connection waits for a message.
type Idle = oneshot::Sender<Option<Taken>>;

/// What ends the owner's sleep.
enum Event {
    Told(Command),
    Arrived(Entry),
    ConnectionEnded(Ended),
    /// Time has passed.
    Nothing,
}

/// A connection's task and how it ended.
type Ended = Result<(Id, Result<(), Trouble>), JoinError>;

pub(super) struct Owner {
    roster: Roster,
    breaker: Breaker,
    refusals: Refusals,
    /// The breaker lets nothing through.
    relay_is_paused: bool,
    trouble: Option<Trouble>,
    desk: Arc<Desk>,
    connections: HashMap<Id, Connection>,
    tasks: JoinSet<Result<(), Trouble>>,
    idle: VecDeque<Idle>,
    next_connection: ConnectionId,
    /// Those before it belong to settings that have been replaced.
    oldest_current: ConnectionId,
    relay_clock: RelayClock,
    recording: Recording,
    last_client_probe: Option<Timestamp>,
    /// Connections that were found to work, and troubles met, since the start.
    reached: u64,
    troubles: u64,
    /// Set once: no more messages are given out, and when to end in any case.
    stop_by: Option<Timestamp>,
}

impl Owner {
    pub(super) fn new(
        spool: Spool,
        recovery: Recovery,
        settings: Settings,
        clock: Arc<dyn Clock>,
        queue: Queue,
    ) -> Self {
        let now = clock.steady();
        let mut roster = Roster::default();
        for entry in &recovery.entries {
            roster.admit(entry, now);
        }
        let has_taken = spool.knows_relay(&settings.refusals.relay);
        let is_held = |entry: &&Entry| entry.state == EntryState::Held;
        let held = recovery.entries.iter().filter(is_held).map(|entry| entry.id);
        let refusals = Refusals::new(settings.refusals.clone(), has_taken, held);
        refusals.held().for_each(|id| roster.put_back(id, now));
        Owner {
            roster,
            breaker: Breaker::new(settings.max_connections.get()),
            refusals,
            relay_is_paused: false,
            trouble: None,
            desk: Arc::new(Desk { queue, spool, settings, clock }),
            connections: HashMap::new(),
            tasks: JoinSet::new(),
            idle: VecDeque::new(),
            next_connection: 0,
            oldest_current: 0,
            relay_clock: RelayClock::starting_at(recovery.relay_clock, now),
            recording: Recording::default(),
            last_client_probe: None,
            reached: 0,
            troubles: 0,
            stop_by: None,
        }
    }

    pub(super) async fn run(
        mut self,
        mut inbox: UnboundedReceiver<Command>,
        mut arrivals: UnboundedReceiver<Entry>,
    ) {
        while !self.is_finished() {
            self.dispatch();
            let sleep = self.desk.clock.sleep(self.until_next_change());
            let event = tokio::select! {
                Some(command) = inbox.recv() => Event::Told(command),
                Some(entry) = arrivals.recv() => Event::Arrived(entry),
                Some(ended) = self.tasks.join_next_with_id() => Event::ConnectionEnded(ended),
                () = sleep => Event::Nothing,
            };
            // Whoever tells us something after a commit has seen to it that the arrival is here first.
            while let Ok(entry) = arrivals.try_recv() {
                self.roster.admit(&entry, self.now());
            }
            self.meet(event);
        }
        self.tasks.shutdown().await;
    }

    /// The steady time: what is waited for and counted is not moved by a clock that is set.
    fn now(&self) -> Timestamp {
        self.desk.clock.steady()
    }

    /// Whether messages may be given out.
    fn is_sending(&self) -> bool {
        self.stop_by.is_none() && self.recording.works()
    }

    fn is_finished(&self) -> bool {
        let is_settled = self.roster.under_way() == 0 && self.connections.is_empty();
        self.stop_by.is_some_and(|deadline| is_settled || self.now() >= deadline)
    }

    fn meet(&mut self, event: Event) {
        match event {
            Event::Told(command) => self.obey(command),
            Event::Arrived(entry) => self.roster.admit(&entry, self.now()),
            Event::ConnectionEnded(ended) => self.connection_ended(ended),
            Event::Nothing => {}
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Next { connection, wait, answer } => self.next(connection, wait, answer),
            Command::Answered(connection) => self.answered(connection),
            Command::Taken(connection) => self.taken(connection),
            // Whoever asked may have gone away.
            Command::Judge { connection, refusal, answer } => {
                let _ = answer.send(self.judge(connection, &refusal));
            }
            Command::Unrecorded { id, error } => self.unrecorded(id, error),
            Command::Unmarked { id, error } => self.unmarked(id, error),
            Command::Recordable => self.recordable(),
            Command::Became { id, disposition } => self.became(id, disposition),
            Command::ProbeNow => self.probe_now(),
            // Whoever asked may have gone away.
            Command::ProbeForClient(answer) => drop(answer.send(self.probe_for_client())),
            Command::Reconfigure(settings) => self.reconfigure(settings),
            // Whoever asked may have gone away.
            Command::Standings { ids, answer } => drop(answer.send(self.standings(ids))),
            Command::Status(answer) => drop(answer.send(self.status())),
            Command::Stop { deadline } => self.stop(deadline),
        }
    }

    /// Gives ready messages to idle connections, then opens as many new ones as are allowed and useful.
    fn dispatch(&mut self) {
        let now = self.now();
        self.desk.spool.set_relay_clock(self.relay_clock.at(now));
        if !self.is_sending() {
            return;
        }
        self.roster.wake_due(now);
        while self.roster.has_ready() {
            let Some(idle) = self.idle.pop_front() else { break };
            self.answer(idle);
        }
        let allowed = self.breaker.connections_allowed(now);
        while self.connections.len() < allowed && self.roster.ready() > self.connecting() {
            self.connect();
        }
    }

    fn connecting(&self) -> usize {
        self.connections.values().filter(|connection| !connection.is_working).count()
    }

    fn connect(&mut self) {
        let id = self.next_connection;
        self.next_connection += 1;
        let courier = Courier::new(self.desk.clone(), id);
        let task = self.tasks.spawn(self.desk.settings.carrier.clone().carry(courier));
        self.connections.insert(task.id(), Connection { id, is_working: false, task });
    }

    fn next(&mut self, connection: ConnectionId, wait: bool, answer: oneshot::Sender<Option<Taken>>) {
        if let Some(found) = self.connections.values_mut().find(|found| found.id == connection) {
            self.reached += u64::from(!found.is_working);
            found.is_working = true;
        }
        if !self.is_sending() || self.is_outdated(connection) {
            // Dropping the answer would say the same: no more.
            drop(answer.send(None));
        } else if self.roster.has_ready() || !wait {
            self.answer(answer);
        } else {
            self.idle.push_back(answer);
        }
    }

    fn answer(&mut self, idle: Idle) {
        if idle.is_closed() {
            return;
        }
        let taken = self.roster.take().map(|(id, member)| Taken { id, member });
        if let Err(Some(taken)) = idle.send(taken) {
            self.roster.put_back(taken.id, self.now());
        }
    }

    fn answered(&mut self, connection: ConnectionId) {
        if self.is_outdated(connection) {
            return;
        }
        self.reached += 1;
        self.breaker.success(self.now());
        self.follow_breaker();
        self.trouble = None;
    }

    fn taken(&mut self, connection: ConnectionId) {
        if !self.is_outdated(connection) && self.refusals.taken() {
            let Desk { spool, settings, .. } = &*self.desk;
            let (spool, relay) = (spool.clone(), settings.refusals.relay.clone());
            tokio::task::spawn_blocking(move || {
                if let Err(error) = spool.remember_relay(&relay) {
                    log::done_without("remembering that this relay takes mail", &error);
                }
            });
        }
    }

    /// What a refusal means to its message, beside what others were told.
    fn judge(&mut self, connection: ConnectionId, refusal: &Refusal) -> Ruling {
        let is_first_held = self.refusals.held_by().is_none();
        let ruling = self.refusals.judge(refusal);
        match ruling {
            Ruling::Untold if !self.is_outdated(connection) => {
                self.replace_connections();
                let cause = Cause::Other(self.refusals.trouble(refusal));
                self.troubled(Trouble { phase: refusal.phase, peer: Some(refusal.peer.clone()), cause });
            }
            Ruling::Hold if is_first_held => {
                log::refusal_held(&refusal.said, self.refusals.is_first_day());
            }
            Ruling::AsSaid | Ruling::Hold | Ruling::Untold => {}
        }
        ruling
    }

    fn became(&mut self, id: QueueId, disposition: Disposition) {
        let now = self.now();
        self.recording.took_outcome(id, self.roster.len());
        self.run_relay_clock();
        if disposition != Disposition::Postponed {
            // It was begun, and what is to be said of an earlier run has been said.
            self.roster.update(id, |member| member.in_flight = false);
        }
        if matches!(disposition, Disposition::Removed | Disposition::Dead) {
            self.refusals.forget(id);
        }
        match disposition {
            Disposition::Removed => self.roster.remove(id),
            Disposition::Dead => self.roster.give_up(id),
            Disposition::Held => self.roster.hold(id),
            Disposition::Untried => self.roster.put_back(id, now),
            Disposition::Lost => self.lost(id, now),
            Disposition::Postponed => self.defer(id, now),
            Disposition::Deferred { warned } => {
                self.roster.update(id, |member| {
                    member.warned |= warned;
                    member.losses = 0;
                });
                self.defer(id, now);
            }
        }
    }

    fn unrecorded(&mut self, id: QueueId, error: CommitError) {
        self.recording.refuses_outcome(id, error, self.roster.len());
        self.run_relay_clock();
    }

    fn unmarked(&mut self, id: QueueId, error: CommitError) {
        if self.recording.refuses_mark(error, self.roster.len()) {
            tokio::spawn(await_recording(self.desk.clone(), id));
        }
        self.run_relay_clock();
    }

    fn recordable(&mut self) {
        self.recording.takes_marks(self.roster.len());
        self.run_relay_clock();
    }

    /// The connection went away in the middle of this message. Once is bad luck; a message that this
    /// happens to again and again must not keep the others from their turn.
    fn lost(&mut self, id: QueueId, now: Timestamp) {
        self.roster.update(id, |member| member.losses = member.losses.saturating_add(1));
        if self.roster.member(id).is_some_and(|member| member.losses > 1) {
            self.defer(id, now);
        } else {
            self.roster.put_back(id, now);
        }
    }

    fn defer(&mut self, id: QueueId, now: Timestamp) {
        let Some(member) = self.roster.member(id) else { return };
        let pause = self.desk.settings.retry.pause(member.age(self.desk.clock.now()), draw());
        self.roster.defer(id, later(now, pause));
    }

    fn connection_ended(&mut self, ended: Ended) {
        let (task, trouble) = match ended {
            Ok((task, result)) => (task, result.err()),
            Err(error) if error.is_panic() => (error.id(), Some(internal_error())),
            // Ended by us.
            Err(error) => (error.id(), None),
        };
        let connection = self.connections.remove(&task);
        let is_outdated = connection.is_some_and(|connection| self.is_outdated(connection.id));
        if let Some(trouble) = trouble.filter(|_| !is_outdated) {
            self.troubled(trouble);
        }
    }

    fn troubled(&mut self, trouble: Trouble) {
        let now = self.now();
        self.troubles += 1;
        let is_new = self.breaker.retry_at().is_none();
        match self.breaker.trouble(now, self.working(), draw()) {
            Effect::Paused { retry_at } => {
                let probe_in = Duration::try_from(retry_at.duration_since(now)).unwrap_or_default();
                log::relay_paused(&trouble, self.roster.len(), probe_in, is_new);
            }
            Effect::Unremarkable => log::relay_trouble(&trouble),
        }
        self.follow_breaker();
        self.trouble = Some(trouble);
    }

    fn follow_breaker(&mut self) {
        let is_paused = self.breaker.retry_at().is_some();
        if std::mem::replace(&mut self.relay_is_paused, is_paused) && !is_paused {
            log::relay_resumed(self.roster.len());
        }
        self.run_relay_clock();
    }

    /// The relay clock runs while the breaker lets mail through and the spool records it, however they came to that.
    fn run_relay_clock(&mut self) {
        let (now, runs) = (self.now(), !self.relay_is_paused && self.recording.works());
        if runs { self.relay_clock.resume(now) } else { self.relay_clock.pause(now) }
    }

    /// How many connections show that the relay works.
    fn working(&self) -> usize {
        let connections = self.connections.values();
        connections.filter(|connection| connection.is_working && !self.is_outdated(connection.id)).count()
    }

    /// What an earlier relay's connection meets, or is told, says nothing of this relay.
    fn is_outdated(&self, connection: ConnectionId) -> bool {
        connection < self.oldest_current
    }

    fn probe_now(&mut self) {
        let now = self.now();
        self.breaker.probe_now(now);
        self.roster.wake_all(now);
        self.try_held();
    }

    /// Makes every held message ready: somebody may have mended what it was refused for.
    fn try_held(&mut self) {
        let now = self.now();
        let is_held = |id: &QueueId| self.roster.member(*id).is_some_and(|m| m.standing == Standing::Held);
        let held: Vec<QueueId> = self.refusals.held().filter(is_held).collect();
        held.into_iter().for_each(|id| self.roster.put_back(id, now));
    }

    fn probe_for_client(&mut self) -> Option<TooSoon> {
        let now = self.now();
        let since = |time| Duration::try_from(now.duration_since(time)).unwrap_or_default();
        let last = self.last_client_probe.map(since);
        if let Some(last) = last.filter(|last| *last < CLIENT_PROBE_INTERVAL) {
            let until = |time: Timestamp| Duration::try_from(time.duration_since(now)).unwrap_or_default();
            let next_probe_in = self.breaker.retry_at().map(until);
            return Some(TooSoon { last, again_in: CLIENT_PROBE_INTERVAL - last, next_probe_in });
        }
        self.last_client_probe = Some(now);
        self.probe_now();
        None
    }

    fn reconfigure(&mut self, settings: Settings) {
        self.breaker.reconfigure(settings.max_connections.get());
        self.follow_breaker();
        self.trouble = None;
        self.replace_connections();
        self.refusals
            .reconfigure(settings.refusals.clone(), self.desk.spool.knows_relay(&settings.refusals.relay));
        self.try_held();
        let Desk { queue, spool, clock, .. } = &*self.desk;
        self.desk =
            Arc::new(Desk { queue: queue.clone(), spool: spool.clone(), settings, clock: clock.clone() });
    }

    /// Those there are give their messages an end, and take no more.
    fn replace_connections(&mut self) {
        self.oldest_current = self.next_connection;
        self.let_connections_go();
    }

    fn standings(&self, ids: Vec<QueueId>) -> Vec<Listed> {
        let known = |id| Some(Listed { id, standing: self.roster.member(id)?.standing });
        ids.into_iter().filter_map(known).collect()
    }

    fn status(&self) -> Status {
        Status {
            live: self.roster.len(),
            ready: self.roster.ready(),
            under_way: self.roster.under_way(),
            deferred: self.roster.waiting(),
            held: self.roster.held(),
            dead: self.roster.dead(),
            newest_dead: self.roster.newest_dead(),
            connections: self.connections.len(),
            reached: self.reached,
            troubles: self.troubles,
            paused_until: self.breaker.retry_at(),
            trouble: self.trouble.as_ref().map(ToString::to_string),
            trouble_outline: self.trouble.as_ref().map(Trouble::outline),
            held_because: self
                .refusals
                .held_by()
                .map(|said| log::HeldBack { said, is_first_day: self.refusals.is_first_day() }.to_string()),
        }
    }

    fn stop(&mut self, deadline: Duration) {
        self.stop_by = Some(later(self.now(), deadline));
        self.let_connections_go();
    }

    /// Idle connections take their leave; those still being opened hold no message, and are cut off.
    fn let_connections_go(&mut self) {
        self.idle.clear();
        self.connections.values().filter(|connection| !connection.is_working).for_each(|c| c.task.abort());
    }

    /// How long nothing changes by itself.
    fn until_next_change(&self) -> Duration {
        let now = self.now();
        let probe = self.breaker.retry_at().filter(|probe| self.roster.has_ready() && *probe > now);
        let due = self.roster.next_due().filter(|_| self.is_sending());
        let next = [self.stop_by, due, probe].into_iter().flatten().min();
        match next {
            Some(next) => Duration::try_from(next.duration_since(now)).unwrap_or_default().min(LONGEST_SLEEP),
            None => LONGEST_SLEEP,
        }
    }
}

/// Seconds in which the relay was usable, over the life of the spool: what patience is measured in.
struct RelayClock {
    counted: u32,
    /// Since when it runs; `None` while no mail can get through.
    running_since: Option<Timestamp>,
}

impl RelayClock {
    fn starting_at(counted: u32, now: Timestamp) -> Self {
        RelayClock { counted, running_since: Some(now) }
    }

    fn at(&self, now: Timestamp) -> u32 {
        let running = self.running_since.map_or(0, |since| now.duration_since(since).as_secs().max(0));
        self.counted.saturating_add(u32::try_from(running).unwrap_or(u32::MAX))
    }

    fn pause(&mut self, now: Timestamp) {
        self.counted = self.at(now);
        self.running_since = None;
    }

    fn resume(&mut self, now: Timestamp) {
        self.counted = self.at(now);
        self.running_since = Some(now);
    }
}

/// What stands for a panic in the relay's dialogue: it pauses the relay, as whatever it stumbled over comes
/// from there.
fn internal_error() -> Trouble {
    let cause = Cause::Other("the dialogue failed by an internal error, reported above".into());
    Trouble { phase: Phase::Connect, peer: None, cause }
}

fn draw() -> Spread {
    Spread::new(fastrand::f64() * 2.0 - 1.0)
}
