//! A world around the queue's state: a relay that does the same with everybody, a spool that records at once, and a
//! clock.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use fastrand::Rng;
use jiff::{SignedDuration, Timestamp};

use super::super::{Disposition, Effect, Event, LogLine, QueueAnswer, QueuePolicy, Reducer};
use crate::envelope::Submitter;
use crate::queue::clock::Moment;
use crate::queue::lanes::Lane;
use crate::queue::refusals::RefusalRule;
use crate::queue::schedule::RetryPolicy;
use crate::queue::{ConnectionId, MessageStanding, QueueStatus, Taken};
use crate::queue_id::QueueId;
use crate::relay::{Cause, Phase, Trouble};
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
    /// Lets nobody in.
    RefusesLogin,
    /// Takes a message and is silent: what it holds is settled when the test says so.
    Holds,
    /// Breaks the dialogue off within every message, at this phase.
    Breaks(Phase),
    /// Turns every second connection away, and takes one message over each of the others.
    Flickers,
}

/// The queue's state, and everything around it.
pub(super) struct World {
    reducer: Reducer,
    pub(super) does: Does,
    /// Messages within which the relay breaks the dialogue off, whatever else it does, and the phase.
    pub(super) poison: BTreeSet<QueueId>,
    pub(super) breaks_at: Phase,
    /// Whose messages arrive.
    pub(super) lane: Lane,
    now: Moment,
    next_id: u64,
    /// What has happened and is not taken in yet.
    coming: VecDeque<Event>,
    /// When each connection was begun, in seconds since the test began.
    pub(super) begun: Vec<i64>,
    open: usize,
    /// The most that were open at once.
    pub(super) most_open: usize,
    /// What the relay was given, and over which connection.
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
    /// Nothing has happened yet.
    pub(super) fn new(max_connections: usize) -> Self {
        let reducer = Reducer::new(policy(max_connections), true, &[], 0, Rng::with_seed(7), start());
        let mut world = World {
            reducer,
            does: Does::Takes,
            poison: BTreeSet::new(),
            breaks_at: Phase::Data,
            lane: 1,
            now: start(),
            next_id: 1,
            coming: VecDeque::new(),
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

    /// So many messages arrive at once.
    pub(super) fn arrive(&mut self, messages: usize) {
        for _ in 0..messages {
            let entry = entry(self.next_id, self.now, self.relay_clock);
            self.next_id += 1;
            self.coming.push_back(Event::Arrived(Entry { lane: self.lane, ..entry }));
        }
        self.come_to_rest();
    }

    /// A message arrives within which the relay always breaks off.
    pub(super) fn arrive_poison(&mut self) {
        self.poison.insert(QueueId::from_raw(self.next_id));
        self.arrive(1);
    }

    /// This happens.
    pub(super) fn tell(&mut self, event: Event) {
        self.coming.push_back(event);
        self.come_to_rest();
    }

    /// Somebody asks this.
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

    /// The configuration is read again, and says the same.
    pub(super) fn reload(&mut self, max_connections: usize) {
        let policy = Box::new(policy(max_connections));
        self.tell(Event::Reconfigured { policy, has_taken: true });
    }

    /// Sets the host's clock: no time passes.
    pub(super) fn step(&mut self, by: SignedDuration) {
        self.now.time_of_day += by;
    }

    pub(super) fn time_of_day(&self) -> Timestamp {
        self.now.time_of_day
    }

    /// Whether all may be left behind where there are so many settlements.
    pub(super) fn may_end(&self, settlements: usize) -> bool {
        self.reducer.may_end(self.now, settlements)
    }

    /// How long nothing will change by itself.
    pub(super) fn until_next_change(&self) -> Duration {
        self.reducer.until_next_change(self.now)
    }

    /// Lets time pass, in which everything happens as soon as it is due.
    pub(super) fn pass(&mut self, time: Duration) {
        let mut left = time;
        while !left.is_zero() {
            let step = self.until_next_change().max(Duration::from_millis(1)).min(left);
            left -= step;
            let step = SignedDuration::try_from(step).unwrap();
            (self.now.steady, self.now.time_of_day) = (self.now.steady + step, self.now.time_of_day + step);
            self.come_to_rest();
        }
    }

    /// What the relay holds is taken by it.
    pub(super) fn release(&mut self, connection: ConnectionId, id: QueueId) {
        self.finish(connection, id, Disposition::Removed);
        self.come_to_rest();
    }

    fn come_to_rest(&mut self) {
        loop {
            while let Some(event) = self.coming.pop_front() {
                self.on(event);
            }
            self.on(Event::Tick);
            if self.coming.is_empty() {
                return;
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
            Does::Takes | Does::Defers | Does::Holds | Does::Breaks(_) | Does::Flickers => {
                self.coming.push_back(Event::Wanted { connection, wait: false });
            }
        }
    }

    fn end(&mut self, connection: ConnectionId, trouble: Option<Trouble>) {
        self.open -= 1;
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
            Does::IsAway | Does::RefusesLogin => {
                self.coming.push_back(Event::Became { id, disposition: Disposition::Untried });
                self.end(connection, Some(trouble(Phase::Connect)));
            }
        }
    }

    /// The message is lost, and has its end where its patience is used up.
    fn break_off(&mut self, connection: ConnectionId, taken: Taken, phase: Phase) {
        let Taken { id, member } = taken;
        self.coming.push_back(Event::Lost { connection, id, in_doubt: phase == Phase::Dot });
        let is_over = member.patience_used(self.relay_clock) >= policy(1).retry.lifetime;
        let disposition = if is_over { Disposition::Removed } else { Disposition::Lost { warned: false } };
        self.coming.push_back(Event::Became { id, disposition });
        self.end(connection, Some(trouble(phase)));
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
