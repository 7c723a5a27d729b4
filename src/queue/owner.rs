//! The one owner of the queue's state: the roster of messages, the relay, and the tasks of connections to it.
//!
//! It never waits for a disk or a relay: everything slow happens in couriers and settlements, which
//! tell it what became of things.

mod dispatch;
mod judge;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

use super::breaker::{Effect, Fault};
use super::clock::{Clock, later};
use super::courier::Desk;
use super::login::SecretWatch;
use super::recording::{Recording, await_recording};
use super::relay_clock::RelayClock;
use super::relay_state::{Passage, RelayState};
use super::roster::{Member, Roster, Standing};
use super::schedule::Spread;
use super::settlement::Disposition;
use super::suspects::Blame;
use super::{Command, ConnectionId, Listed, Queue, Settings, Status, Taken, TooSoon};
use crate::log;
use crate::queue_id::QueueId;
use crate::relay::{Cause, Phase, Trouble};
use crate::spool::{CommitError, Entry, EntryState, Mark, Recovery, Spool};

/// The longest the owner sleeps: a message that arrives is stamped with the relay clock as the spool was told it
/// last, and loses of its patience what that is behind.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);
/// How often a client's ETRN is followed: anybody on this host may send one, and each can cost a login.
const CLIENT_PROBE_INTERVAL: Duration = Duration::from_secs(60);

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
    relay: RelayState,
    /// While the relay is paused for a refused login.
    secret_watch: Option<SecretWatch>,
    desk: Arc<Desk>,
    tasks: JoinSet<Result<(), Trouble>>,
    /// Of each connection that exists, by its task.
    handles: HashMap<Id, (ConnectionId, AbortHandle)>,
    idle: VecDeque<(ConnectionId, Idle)>,
    recording: Recording,
    last_client_probe: Option<Timestamp>,
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
        let is_held = |entry: &&Entry| entry.marks.state() == EntryState::Held;
        let held = recovery.entries.iter().filter(is_held).map(|entry| entry.id);
        let relay = RelayState::new(
            settings.refusals.clone(),
            settings.max_connections.get(),
            has_taken,
            held,
            RelayClock::starting_at(recovery.relay_clock, now),
        );
        relay.refusals.held().for_each(|id| roster.put_back(id, now));
        Owner {
            roster,
            relay,
            secret_watch: None,
            desk: Arc::new(Desk::new(queue, spool, settings, clock)),
            tasks: JoinSet::new(),
            handles: HashMap::new(),
            idle: VecDeque::new(),
            recording: Recording::default(),
            last_client_probe: None,
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
            self.admit(&mut arrivals);
            if let Event::ConnectionEnded(_) = &event {
                // What it told us before is to be known first.
                while let Ok(command) = inbox.try_recv() {
                    self.admit(&mut arrivals);
                    self.obey(command);
                }
            }
            self.meet(event);
        }
        self.tasks.shutdown().await;
    }

    fn admit(&mut self, arrivals: &mut UnboundedReceiver<Entry>) {
        while let Ok(entry) = arrivals.try_recv() {
            self.roster.admit(&entry, self.now());
        }
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
        let is_settled = self.roster.under_way() == 0 && self.relay.connections.len() == 0;
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
            // Whoever asked may have gone away.
            Command::Left { connection, id, answer } => drop(answer.send(self.left(connection, id))),
            Command::Lost { connection, id, in_doubt } => self.lost(connection, id, in_doubt),
            Command::DuplicateTold(id) => self.roster.update(id, |member| member.marks.set(Mark::Told, true)),
            Command::Unrecorded { id, error } => self.unrecorded(id, error),
            Command::Unmarked { id, error } => self.unmarked(id, error),
            Command::Recordable => self.recordable(),
            Command::Became { id, disposition } => self.became(id, disposition),
            Command::SecretChanged => self.relay.breaker.probe_now(self.now()),
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

    fn answered(&mut self, connection: ConnectionId) {
        if self.relay.is_outdated(connection) {
            return;
        }
        self.relay.answered(self.now());
        self.follow_breaker();
        self.relay.trouble = None;
    }

    fn became(&mut self, id: QueueId, disposition: Disposition) {
        let now = self.now();
        self.recording.took_outcome(id, self.roster.len());
        self.run_relay_clock();
        if matches!(disposition, Disposition::Removed | Disposition::Dead) {
            self.relay.refusals.release(id);
            self.relay.throttle.forget(id);
        }
        if disposition != Disposition::Untried {
            self.relay.throttle.has_been_judged(id);
        }
        match disposition {
            Disposition::Removed | Disposition::Dead | Disposition::Held => {
                self.relay.want_of_login.forget(id)
            }
            Disposition::Deferred { .. } => self.relay.want_of_login.deferred(id),
            Disposition::Untried | Disposition::Lost { .. } | Disposition::Postponed => {}
        }
        match disposition {
            Disposition::Removed => self.roster.remove(id),
            Disposition::Dead => self.roster.give_up(id),
            Disposition::Held => {
                self.roster.hold(id);
                self.try_due();
            }
            Disposition::Untried if self.relay.want_of_login.waits(id) && !self.relay.is_paused => {
                self.try_lost_again(id, now);
            }
            Disposition::Untried => self.roster.put_back(id, now),
            Disposition::Lost { warned } => {
                self.roster.update(id, |member| member.marks = member.marks.and(Mark::Warned, warned));
                self.try_lost_again(id, now);
            }
            Disposition::Postponed => self.defer(id, now),
            Disposition::Deferred { warned } => {
                self.roster.update(id, |member| {
                    member.marks = member.marks.and(Mark::Warned, warned).and(Mark::Deferred, true);
                    member.losses = 0;
                });
                if self.relay.throttle.is_ready_again(id) {
                    self.roster.put_back(id, now);
                } else {
                    self.defer(id, now);
                }
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

    /// A connection went away in the middle of this message, which may be why.
    fn lost(&mut self, connection: ConnectionId, id: QueueId, in_doubt: bool) {
        self.roster.update(id, |member| member.copies = member.copies.saturating_add(in_doubt.into()));
        if self.relay.is_outdated(connection) {
            return;
        }
        let Some(member) = self.roster.member(id) else { return };
        let (blame, losses) = self.relay.suspects.lost(id, member.losses);
        self.roster.update(id, |member| member.losses = losses);
        if let Some(connection) = self.relay.connections.named(connection) {
            (connection.blame, connection.lost) = (Some(blame), Some(id));
        }
    }

    fn try_lost_again(&mut self, id: QueueId, now: Timestamp) {
        let Some(member) = self.roster.member(id) else { return };
        let Member { losses, copies, .. } = *member;
        if losses == 0 && copies < 2 {
            return self.roster.put_back(id, now);
        }
        let retry = &self.desk.settings.retry;
        let left = retry.lifetime.saturating_sub(member.patience_used(self.relay.clock.at(now)));
        let pause = retry.pause_after_loss(losses, copies, member.age(self.desk.clock.now()), left, draw());
        self.roster.defer(id, later(now, pause));
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
        let Some((connection, _)) = self.handles.remove(&task) else { return };
        let Some(connection) = self.relay.connections.ended(connection) else { return };
        let Some(trouble) = trouble.filter(|_| !self.relay.is_outdated(connection.id)) else { return };
        let (trouble, lacks_login) = self.relay.refusals.explain(trouble);
        match (Fault::of(&trouble), connection.blame) {
            (_, Some(Blame::Message)) if lacks_login => self.lost_for_login(connection.lost, trouble),
            // Told with the message.
            (_, Some(Blame::Message)) => {}
            // Every message had its answer before.
            (Fault::Transaction, None) => log::relay_trouble(&trouble),
            // Told with the message, too.
            (Fault::Transaction, Some(Blame::Suspects { again: true })) if self.relay.is_paused => {
                self.relay.breaker.trouble_again(self.now(), draw());
            }
            (Fault::Transaction, Some(Blame::Suspects { .. })) => self.troubled(Fault::Suspects, trouble),
            (fault, _) => self.troubled(fault, trouble),
        }
    }

    fn troubled(&mut self, fault: Fault, trouble: Trouble) {
        let now = self.now();
        self.relay.troubles += 1;
        let is_new = self.relay.breaker.retry_at().is_none();
        match self.relay.breaker.trouble(now, self.relay.connections.working(), fault, draw()) {
            Effect::Paused { retry_at } => {
                let probe_in = Duration::try_from(retry_at.duration_since(now)).unwrap_or_default();
                log::relay_paused(&trouble, self.roster.len(), probe_in, is_new);
            }
            Effect::Unremarkable => log::relay_trouble(&trouble),
        }
        self.follow_breaker();
        self.secret_watch = self.relay.breaker.is_locked_out().then(|| SecretWatch::begin(self.desk.clone()));
        self.relay.trouble = Some(trouble);
    }

    fn follow_breaker(&mut self) {
        if self.relay.follow_breaker(self.now(), self.recording.works()) == Passage::Resumed {
            log::relay_resumed(self.roster.len());
            self.secret_watch = None;
        }
    }

    fn run_relay_clock(&mut self) {
        self.relay.run_clock(self.now(), self.recording.works());
    }

    fn probe_now(&mut self) {
        self.relay.breaker.probe_now(self.now());
        self.try_all();
    }

    /// Makes every deferred and every held message ready.
    fn try_all(&mut self) {
        self.roster.wake_all(self.now());
        self.try_held();
    }

    /// Makes every held message ready: somebody may have mended what it was refused for.
    fn try_held(&mut self) {
        let now = self.now();
        let is_held = |id: &QueueId| self.roster.member(*id).is_some_and(|m| m.standing == Standing::Held);
        let held: Vec<QueueId> = self.relay.refusals.held().filter(is_held).collect();
        held.into_iter().for_each(|id| self.roster.put_back(id, now));
    }

    fn probe_for_client(&mut self) -> Option<TooSoon> {
        let now = self.now();
        let since = |time| Duration::try_from(now.duration_since(time)).unwrap_or_default();
        let last = self.last_client_probe.map(since);
        if let Some(last) = last.filter(|last| *last < CLIENT_PROBE_INTERVAL) {
            let until = |time: Timestamp| Duration::try_from(time.duration_since(now)).unwrap_or_default();
            let next_probe_in = self.relay.breaker.retry_at().map(until);
            return Some(TooSoon { last, again_in: CLIENT_PROBE_INTERVAL - last, next_probe_in });
        }
        self.last_client_probe = Some(now);
        // Each refused login counts against the account, and who may send mail need not be who put it right.
        if self.relay.breaker.is_locked_out() {
            self.try_all();
        } else {
            self.probe_now();
        }
        None
    }

    fn reconfigure(&mut self, settings: Settings) {
        let has_taken = self.desk.spool.knows_relay(&settings.refusals.relay);
        let waited =
            self.relay.reconfigure(settings.refusals.clone(), settings.max_connections.get(), has_taken);
        self.secret_watch = None;
        self.run_relay_clock();
        self.let_connections_go();
        self.try_held();
        waited.into_iter().for_each(|id| self.ask_once_more(id));
        let Desk { queue, spool, clock, .. } = &*self.desk;
        self.desk = Arc::new(Desk::new(queue.clone(), spool.clone(), settings, clock.clone()));
    }

    /// Those there are give their messages an end, and take no more.
    fn replace_connections(&mut self) {
        self.relay.connections.outdate();
        self.let_connections_go();
    }

    fn standings(&self, ids: Vec<QueueId>) -> Vec<Listed> {
        let shown = |standing| match standing {
            Standing::Waiting(due) => Standing::Waiting(self.second_of_day(due)),
            other => other,
        };
        let known = |id| Some(Listed { id, standing: shown(self.roster.member(id)?.standing) });
        ids.into_iter().filter_map(known).collect()
    }

    /// A second of the steady time as the time of day has it.
    fn second_of_day(&self, steady: u32) -> u32 {
        let steady = Timestamp::from_second(steady.into()).unwrap_or(Timestamp::MAX);
        u32::try_from(self.desk.clock.time_of_day(steady).as_second().max(0)).unwrap_or(u32::MAX)
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
            connections: self.relay.connections.len(),
            reached: self.relay.reached,
            troubles: self.relay.troubles,
            is_untried: self.relay.breaker.is_untried(),
            paused_until: self.relay.breaker.retry_at().map(|time| self.desk.clock.time_of_day(time)),
            trouble: self.relay.trouble.as_ref().map(ToString::to_string),
            trouble_outline: self.relay.trouble.as_ref().map(Trouble::outline),
            held_because: self.relay.refusals.held_by().map(|said| self.held_back(said).to_string()),
        }
    }

    fn stop(&mut self, deadline: Duration) {
        self.stop_by = Some(later(self.now(), deadline));
        self.let_connections_go();
    }

    /// Idle connections take their leave; those still being opened hold no message, and are cut off.
    fn let_connections_go(&mut self) {
        self.idle.clear();
        let opening = |(id, _): &&(ConnectionId, AbortHandle)| self.relay.connections.is_opening(*id);
        self.handles.values().filter(opening).for_each(|(_, task)| task.abort());
    }

    /// How long nothing changes by itself.
    fn until_next_change(&self) -> Duration {
        let now = self.now();
        let has_ready = self.roster.ready() > 0 || self.roster.has_lost();
        let [others, probe] = [self.relay.breaker.others_at(), self.relay.breaker.retry_at()]
            .map(|probe| probe.filter(|probe| has_ready && *probe > now));
        let due = self.roster.next_due().filter(|_| self.is_sending());
        let next = [self.stop_by, due, others, probe].into_iter().flatten().min();
        match next {
            Some(next) => Duration::try_from(next.duration_since(now)).unwrap_or_default().min(LONGEST_SLEEP),
            None => LONGEST_SLEEP,
        }
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
