//! A world around the queue's state: a relay that treats all messages alike, a spool that records at once, and a clock.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use fastrand::Rng;
use jiff::{SignedDuration, Timestamp};

use super::super::{Disposition, Effect, Event, LogLine, QueueAnswer, QueuePolicy, Reducer};
use crate::envelope::Submitter;
use crate::queue::clock::Moment;
use crate::queue::lanes::Lane;
use crate::queue::refusals::{Refusal, RefusalRule, Ruling};
use crate::queue::schedule::RetryPolicy;
use crate::queue::{ConnectionId, MessageStanding, QueueStatus, Taken};
use crate::queue_id::QueueId;
use crate::relay::{Cause, Peer, Phase, Subject, Trouble};
use crate::smtp::reply::Reply;
use crate::spool::{Entry, EntryState};

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const HOUR: Duration = Duration::from_secs(3600);
pub(super) const DAY: Duration = Duration::from_secs(86_400);

/// What the relay does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Does {
    /// Takes every message.
    Takes,
    /// Defers every message.
    Defers,
    /// Cannot be reached.
    IsAway,
    /// Refuses the login.
    RefusesLogin,
    /// Takes a message and is silent: the message is settled when the test says so.
    Holds,
    /// Ends the dialogue during every message, at this phase.
    Breaks(Phase),
    /// Refuses every second connection, and takes one message over each of the others.
    Flickers,
    /// Takes a message in a tenth of a second. Defers it at MAIL if it has taken `each_connection` messages over this
    /// connection, or is taking `at_once` messages already.
    HasLimits { at_once: usize, each_connection: usize },
}

/// The time in which a relay with limits takes a message.
pub(super) const TAKING: Duration = Duration::from_millis(100);

/// The queue's state, and everything around it.
pub(super) struct World {
    reducer: Reducer,
    pub(super) does: Does,
    /// The messages during which the relay ends the dialogue, whatever else it does, and the phase.
    pub(super) poison: BTreeSet<QueueId>,
    pub(super) breaks_at: Phase,
    /// The cause with which it ends the dialogue, and the time for which it is silent before that.
    pub(super) cause: Cause,
    pub(super) silence: Duration,
    /// The lane of the messages that arrive.
    pub(super) lane: Lane,
    now: Moment,
    next_id: u64,
    /// The events that have happened and are not taken in yet.
    coming: VecDeque<Event>,
    /// The events that will happen at a later time.
    planned: Vec<(Timestamp, Event)>,
    /// The connections over which the relay takes a message at this moment.
    busy: BTreeSet<ConnectionId>,
    /// When each connection was begun, in seconds since the test began.
    pub(super) begun: Vec<i64>,
    open: usize,
    /// The largest number of connections that were open at once.
    pub(super) most_open: usize,
    /// The messages that the relay was given, each with its connection.
    pub(super) given: Vec<(ConnectionId, QueueId)>,
    pub(super) lines: Vec<LogLine>,
    pub(super) watches_secret: bool,
    pub(super) relay_clock: u32,
    answer: Option<QueueAnswer>,
}

pub(super) fn policy(max_connections: usize) -> QueuePolicy {
    QueuePolicy {
        retry: RetryPolicy { shortest: MINUTE, longest: HOUR, lifetime: DAY * 5, delay_warning: None },
        max_connections,
        refusals: RefusalRule { relay: "relay.example:587".into(), has_login: true, on_refusal: None },
        has_null_sender: false,
    }
}

pub(super) fn start() -> Moment {
    let start = Timestamp::from_second(1_800_000_000).unwrap();
    Moment { steady: start, time_of_day: start }
}

pub(super) fn entry(raw: u64, now: Moment, patience_mark: u32) -> Entry {
    Entry {
        id: QueueId::from_raw(raw),
        arrived: now.time_of_day,
        submitter: Submitter::Loopback,
        lane: 1,
        patience_mark,
        marks: EntryState::Active.into(),
    }
}

pub(super) fn trouble(phase: Phase) -> Trouble {
    Trouble { phase, peer: None, cause: Cause::Other("told to".into()) }
}

pub(super) fn refused_login() -> Trouble {
    let said = "PLAIN: the relay said: 535 5.7.8 no".into();
    Trouble { phase: Phase::Auth, peer: None, cause: Cause::LoginRefused { said, for_good: true } }
}

impl World {
    /// Returns a world in which nothing has happened yet.
    pub(super) fn new(max_connections: usize) -> Self {
        let reducer = Reducer::new(policy(max_connections), true, &[], 0, Rng::with_seed(7), start());
        let mut world = World {
            reducer,
            does: Does::Takes,
            poison: BTreeSet::new(),
            breaks_at: Phase::Data,
            cause: Cause::Other("told to".into()),
            silence: Duration::ZERO,
            lane: 1,
            now: start(),
            next_id: 1,
            coming: VecDeque::new(),
            planned: Vec::new(),
            busy: BTreeSet::new(),
            begun: Vec::new(),
            open: 0,
            most_open: 0,
            given: Vec::new(),
            lines: Vec::new(),
            watches_secret: false,
            relay_clock: 0,
            answer: None,
        };
        world.come_to_rest();
        world
    }

    /// This number of messages arrives at once.
    pub(super) fn arrive(&mut self, messages: usize) {
        for _ in 0..messages {
            let entry = entry(self.next_id, self.now, self.relay_clock);
            self.next_id += 1;
            self.coming.push_back(Event::Arrived(Entry { lane: self.lane, ..entry }));
        }
        self.come_to_rest();
    }

    /// A message arrives during which the relay always ends the dialogue.
    pub(super) fn arrive_poison(&mut self) {
        self.poison.insert(QueueId::from_raw(self.next_id));
        self.arrive(1);
    }

    /// This event happens.
    pub(super) fn tell(&mut self, event: Event) {
        self.coming.push_back(event);
        self.come_to_rest();
    }

    /// Somebody asks this. Returns the answer.
    pub(super) fn ask(&mut self, event: Event) -> QueueAnswer {
        self.tell(event);
        self.answer.take().expect("it is answered")
    }

    pub(super) fn status(&mut self) -> QueueStatus {
        match self.ask(Event::Status) {
            QueueAnswer::Status(status) => *status,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn standings(&mut self) -> Vec<MessageStanding> {
        match self.ask(Event::Standings((1..self.next_id).map(QueueId::from_raw).collect())) {
            QueueAnswer::Standings(listed) => listed,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn is_paused(&mut self) -> bool {
        self.status().paused_until.is_some()
    }

    /// The configuration is read again, and nothing but the number of connections is changed.
    pub(super) fn reload(&mut self, max_connections: usize) {
        let policy = Box::new(policy(max_connections));
        self.tell(Event::Reconfigured { policy, has_taken: true });
    }

    /// Sets the time of day; no time passes.
    pub(super) fn step(&mut self, by: SignedDuration) {
        self.now.time_of_day += by;
    }

    pub(super) fn time_of_day(&self) -> Timestamp {
        self.now.time_of_day
    }

    /// Returns whether all may be left behind if there are this many settlements.
    pub(super) fn may_end(&self, settlements: usize) -> bool {
        self.reducer.may_end(self.now, settlements)
    }

    /// Returns how long nothing will change by itself.
    pub(super) fn until_next_change(&self) -> Duration {
        self.reducer.until_next_change(self.now)
    }

    /// Lets time pass. Everything happens as soon as it is due.
    pub(super) fn pass(&mut self, time: Duration) {
        let mut left = time;
        while !left.is_zero() {
            let step =
                self.until_next_change().min(self.until_planned()).max(Duration::from_millis(1)).min(left);
            left -= step;
            let step = SignedDuration::try_from(step).unwrap();
            (self.now.steady, self.now.time_of_day) = (self.now.steady + step, self.now.time_of_day + step);
            let due = self.planned.extract_if(.., |(at, _)| *at <= self.now.steady);
            self.coming.extend(due.map(|(_, event)| event));
            self.come_to_rest();
        }
    }

    /// Returns the time until the next planned event.
    fn until_planned(&self) -> Duration {
        let next = self.planned.iter().map(|(at, _)| at.duration_since(self.now.steady)).min();
        next.map_or(Duration::MAX, |left| Duration::try_from(left).unwrap_or_default())
    }

    fn plan(&mut self, after: Duration, event: Event) {
        let at = self.now.steady + SignedDuration::try_from(after).unwrap();
        self.planned.push((at, event));
    }

    /// The relay takes a message that it holds.
    pub(super) fn release(&mut self, connection: ConnectionId, id: QueueId) {
        self.finish(connection, id, Disposition::Removed);
        self.come_to_rest();
    }

    fn come_to_rest(&mut self) {
        loop {
            while let Some(event) = self.coming.pop_front() {
                self.happens(event);
            }
            self.on(Event::Tick);
            if self.coming.is_empty() {
                return;
            }
        }
    }

    /// Has the queue take in an event, and follows its ruling where that is a refusal.
    fn happens(&mut self, event: Event) {
        let refused = match &event {
            Event::Refused { connection, refusal } => Some((*connection, refusal.id)),
            Event::TakenByRelay { connection, .. } => {
                self.busy.remove(connection);
                None
            }
            Event::Ended { .. } => {
                self.open -= 1;
                None
            }
            _ => None,
        };
        self.on(event);
        if let Some((connection, id)) = refused {
            match self.answer.take() {
                Some(QueueAnswer::Ruling(Ruling::Untold)) => {
                    self.coming.push_back(Event::Became { id, disposition: Disposition::Untried });
                    self.coming.push_back(Event::Wanted { connection, wait: false });
                }
                Some(QueueAnswer::Ruling(Ruling::AsSaid)) => {
                    self.finish(connection, id, Disposition::Deferred { warned: false });
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn on(&mut self, event: Event) {
        let mut effects = Vec::new();
        self.reducer.on(event, self.now, &mut effects);
        effects.into_iter().for_each(|effect| self.carry_out(effect));
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Connect(connection) => self.connect(connection),
            Effect::CutOff(connection) => self.end(connection, None),
            Effect::Give { connection, taken: Some(taken) } => self.send(connection, taken),
            Effect::Give { connection, taken: None } => self.end(connection, None),
            Effect::QueueAnswer(answer) => {
                assert!(self.answer.replace(answer).is_none(), "asked once, answered once");
            }
            Effect::WatchSecret => self.watches_secret = true,
            Effect::ForgetSecret => self.watches_secret = false,
            Effect::SetRelayClock(seconds) => self.relay_clock = seconds,
            Effect::Log(line) => self.lines.push(*line),
            Effect::AwaitRecording(_) | Effect::RememberRelay(_) => {}
        }
    }

    fn connect(&mut self, connection: ConnectionId) {
        self.open += 1;
        self.most_open = self.most_open.max(self.open);
        self.begun.push(self.now.steady.duration_since(start().steady).as_secs());
        match self.does {
            Does::IsAway => self.end(connection, Some(trouble(Phase::Connect))),
            Does::RefusesLogin => self.end(connection, Some(refused_login())),
            Does::Flickers if self.begun.len().is_multiple_of(2) => {
                self.end(connection, Some(trouble(Phase::Greeting)));
            }
            Does::Takes
            | Does::Defers
            | Does::Holds
            | Does::Breaks(_)
            | Does::Flickers
            | Does::HasLimits { .. } => {
                self.coming.push_back(Event::Wanted { connection, wait: false });
            }
        }
    }

    fn end(&mut self, connection: ConnectionId, trouble: Option<Trouble>) {
        self.coming.push_back(Event::Ended { connection, trouble });
    }

    fn send(&mut self, connection: ConnectionId, taken: Taken) {
        let id = taken.id;
        self.given.push((connection, id));
        match self.does {
            Does::Takes if self.poison.contains(&id) => self.break_off(connection, taken, self.breaks_at),
            Does::Breaks(phase) => self.break_off(connection, taken, phase),
            Does::Flickers => {
                self.coming.push_back(Event::TakenByRelay { connection, is_from_null: false });
                self.coming.push_back(Event::Answered(connection));
                self.coming.push_back(Event::Became { id, disposition: Disposition::Removed });
                self.end(connection, None);
            }
            Does::Takes => self.finish(connection, id, Disposition::Removed),
            Does::Defers => self.finish(connection, id, Disposition::Deferred { warned: false }),
            Does::Holds => {}
            Does::HasLimits { at_once, each_connection } => {
                self.takes_within_limits(connection, id, at_once, each_connection);
            }
            Does::IsAway | Does::RefusesLogin => {
                self.coming.push_back(Event::Became { id, disposition: Disposition::Untried });
                self.end(connection, Some(trouble(Phase::Connect)));
            }
        }
    }

    /// The connection is lost during this message, which leaves if its patience is used up.
    fn break_off(&mut self, connection: ConnectionId, taken: Taken, phase: Phase) {
        let Taken { id, member } = taken;
        let is_over = member.patience_used(self.relay_clock) >= policy(1).retry.lifetime;
        let disposition = if is_over { Disposition::Removed } else { Disposition::Lost { warned: false } };
        let in_doubt = phase == Phase::Dot && !matches!(self.cause, Cause::Reply(_));
        let trouble = Some(Trouble { phase, peer: None, cause: self.cause.clone() });
        for event in [
            Event::Lost { connection, id, in_doubt },
            Event::Became { id, disposition },
            Event::Ended { connection, trouble },
        ] {
            if self.silence.is_zero() { self.coming.push_back(event) } else { self.plan(self.silence, event) }
        }
    }

    fn takes_within_limits(&mut self, connection: ConnectionId, id: QueueId, at_once: usize, each: usize) {
        let carried = self.given.iter().filter(|(other, _)| *other == connection).count();
        if carried > each {
            self.refuses(connection, id, "450 4.7.0 too many messages in this session");
        } else if self.busy.len() >= at_once {
            self.refuses(connection, id, "432 4.3.2 concurrent connections limit exceeded");
        } else {
            self.busy.insert(connection);
            self.plan(TAKING, Event::TakenByRelay { connection, is_from_null: false });
            self.plan(TAKING, Event::Answered(connection));
            self.plan(TAKING, Event::Became { id, disposition: Disposition::Removed });
            self.plan(TAKING, Event::Wanted { connection, wait: false });
        }
    }

    /// The relay defers the message at MAIL with these words.
    fn refuses(&mut self, connection: ConnectionId, id: QueueId, said: &str) {
        let (reply, _) = Reply::parse(format!("{said}\r\n").as_bytes()).unwrap().unwrap();
        let refusal = Refusal {
            id,
            peer: Peer { name: "relay.example".into(), address: "192.0.2.1:587".parse().unwrap(), tls: None },
            phase: Phase::Mail,
            about: Subject::of(Phase::Mail, &reply),
            is_deferral: true,
            said: said.into(),
            is_from_null: false,
            in_company: false,
            domains: ["example.net".to_owned()].into(),
        };
        self.coming.push_back(Event::Refused { connection, refusal: Box::new(refusal) });
    }

    fn finish(&mut self, connection: ConnectionId, id: QueueId, disposition: Disposition) {
        if disposition == Disposition::Removed {
            self.coming.push_back(Event::TakenByRelay { connection, is_from_null: false });
        }
        self.coming.push_back(Event::Answered(connection));
        self.coming.push_back(Event::Became { id, disposition });
        self.coming.push_back(Event::Wanted { connection, wait: false });
    }
}
