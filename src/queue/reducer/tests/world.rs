//! A world around the queue's state: a relay that does as it is told, a spool in memory, and a clock. Everything happens
//! at once and in order, and time passes only when a test says so.

mod dialogue;
mod ordered;
mod relay;
mod set_up;
mod settling;
mod spool;
mod view;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::super::{Effect, Event, LogLine, QueueAnswer, Reducer, RelayPolicy};
use super::effects_of;
use crate::envelope::Envelope;
use crate::queue::attempt::{Attempt, Part};
use crate::queue::clock::Moment;
use crate::queue::lanes::Lane;
use crate::queue::null_sender::NullSender;
use crate::queue::orders::OrderResult;
use crate::queue::rate::record_name;
use crate::queue::testing::envelope;
use crate::queue::{ConnectionId, RelayPlace};
use crate::queue_id::QueueId;
use crate::relay::Phase;
use crate::standing_orders::{OrderTerms, Pause, PauseScope, PausedPart};
use dialogue::Dialogue;
use relay::Reply;
pub(super) use relay::{Does, Pace, TAKING, WorldRelay};
pub(super) use set_up::{SetUp, entry, policy, relay_policy, start};
use settling::Unrecorded;
pub(super) use spool::MemorySpool;

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const HOUR: Duration = Duration::from_secs(3600);
pub(super) const DAY: Duration = Duration::from_secs(86_400);

/// The content of every message that a test submits.
pub(super) const CONTENT: &str = "Subject: hello\r\n\r\nhello\r\n";

/// One transaction as the relay saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) id: QueueId,
    pub(super) from: String,
    pub(super) to: Vec<String>,
    pub(super) content: String,
    pub(super) wants_smtputf8: bool,
    /// The seconds since the test began.
    pub(super) at: i64,
}

/// A message as a relay took it for one recipient, with 250 behind its final dot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TakenCopy {
    pub(super) id: QueueId,
    pub(super) to: String,
    pub(super) reply: ReplyWay,
}

/// The way of the relay's reply behind the final dot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReplyWay {
    /// It is on its way over this connection.
    Awaited(ConnectionId),
    /// It has reached us.
    Heard,
    /// The process or the connection ended before it reached us.
    Lost,
}

/// The queue's state, and everything around it.
pub(super) struct World {
    reducer: Reducer,
    pub(super) set_up: SetUp,
    /// What each relay gets in place of `<>`, by the places of the relays.
    null_senders: Vec<Rc<NullSender>>,
    pub(super) spool: MemorySpool,
    pub(super) relay: WorldRelay,
    /// The relay does this with the messages of `poison`, whatever else it does.
    pub(super) bad: Does,
    pub(super) poison: BTreeSet<QueueId>,
    /// The lane of the messages that arrive.
    pub(super) lane: Lane,
    now: Moment,
    /// Everything that has happened and is not taken in yet, in order.
    coming: VecDeque<Happening>,
    /// Everything that will happen, with its time.
    planned: Vec<(Timestamp, Happening)>,
    dialogues: BTreeMap<ConnectionId, Dialogue>,
    /// The messages that are being returned by an order, each with the answer if it leaves.
    returning: BTreeMap<QueueId, OrderResult>,
    /// The settlements whose record the spool refuses.
    unrecorded: Vec<Unrecorded>,
    /// Somebody waits for the spool to record a mark again.
    awaits_recording: bool,
    /// The time at which each connection was begun, in seconds since the test began.
    pub(super) begun: Vec<i64>,
    /// The largest number of connections that were open at once.
    pub(super) most_open: usize,
    /// The messages that the relay was given, each with its connection.
    pub(super) given: Vec<(ConnectionId, QueueId)>,
    /// The transactions whose content the relay has seen.
    pub(super) seen: Vec<Seen>,
    /// The recipients of each of them, with the name of the route by which it went.
    pub(super) via: Vec<(Option<String>, Vec<String>)>,
    /// The copies that relays took, in the order in which they were sent.
    pub(super) copies: Vec<TakenCopy>,
    /// The relays that cannot be reached, by the names of their routes.
    pub(super) away: BTreeSet<Option<String>>,
    /// The relays do this with every message, by the names of their routes; the others do as the relay does.
    pub(super) by_route: BTreeMap<Option<String>, Does>,
    pub(super) lines: Vec<LogLine>,
    /// The names of the routes that these lines are about.
    pub(super) line_routes: Vec<Option<String>>,
    /// The lines of the log about recipients, and about possible duplicates.
    pub(super) log: Vec<String>,
    pub(super) watches_secret: bool,
    /// How often hosts that are passed over were given their turn.
    pub(super) turns_given: usize,
    pub(super) relay_clock: u32,
    answer: Option<QueueAnswer>,
    order_answers: Vec<(QueueId, OrderResult)>,
}

/// Something that happens in the world.
enum Happening {
    Event(Event),
    Reported(ConnectionId, Reply),
    /// A further transaction of the message at hand begins.
    GoesOn(ConnectionId),
}

impl Seen {
    fn new(attempt: &Attempt, part: &Part, spool: &MemorySpool, at: i64) -> Self {
        Seen {
            id: attempt.id,
            from: attempt.told.to_string(),
            to: part.recipients.iter().map(|(_, recipient)| recipient.address.to_string()).collect(),
            content: spool.message(attempt.id).content.clone(),
            wants_smtputf8: part.wants_smtputf8,
            at,
        }
    }
}

impl World {
    /// Returns a world in which nothing has happened yet, with a relay that has taken mail before.
    pub(super) fn new(max_connections: usize) -> Self {
        Self::with(max_connections, |_| {})
    }

    /// Does the same with a changed set-up.
    pub(super) fn with(max_connections: usize, change: impl FnOnce(&mut SetUp)) -> Self {
        let mut set_up = SetUp::new(max_connections);
        change(&mut set_up);
        let mut world = World {
            reducer: set_up.reducer(&[], 0, start()),
            null_senders: set_up.null_senders(),
            set_up,
            spool: MemorySpool::new(),
            relay: WorldRelay::new(),
            bad: Does::breaks(Phase::Data),
            poison: BTreeSet::new(),
            lane: 1,
            now: start(),
            coming: VecDeque::new(),
            planned: Vec::new(),
            dialogues: BTreeMap::new(),
            returning: BTreeMap::new(),
            unrecorded: Vec::new(),
            awaits_recording: false,
            begun: Vec::new(),
            most_open: 0,
            given: Vec::new(),
            seen: Vec::new(),
            via: Vec::new(),
            copies: Vec::new(),
            away: BTreeSet::new(),
            by_route: BTreeMap::new(),
            lines: Vec::new(),
            line_routes: Vec::new(),
            log: Vec::new(),
            watches_secret: false,
            turns_given: 0,
            relay_clock: 0,
            answer: None,
            order_answers: Vec::new(),
        };
        world.come_to_rest();
        world
    }

    /// The relay does this from now on, until told otherwise.
    pub(super) fn relay_always(&mut self, does: Does) {
        self.relay.habit = does;
    }

    /// This number of messages arrives at once.
    pub(super) fn arrive(&mut self, messages: usize) {
        for _ in 0..messages {
            self.commit_message(envelope("app@example.org", &["ann@example.net"]));
        }
        self.come_to_rest();
    }

    /// A message arrives from `from` (empty: `<>`).
    pub(super) fn submit(&mut self, from: &str, to: &[&str]) -> QueueId {
        self.submit_envelope(envelope(from, to))
    }

    /// A message with this envelope arrives.
    pub(super) fn submit_envelope(&mut self, envelope: Envelope) -> QueueId {
        let id = self.commit_message(envelope);
        self.come_to_rest();
        id
    }

    fn commit_message(&mut self, envelope: Envelope) -> QueueId {
        let message = (envelope, CONTENT.to_owned());
        let entry = self.spool.commit(message, self.lane, self.now.time_of_day, self.relay_clock);
        let id = entry.id;
        self.happens_next(Event::Arrived(entry));
        id
    }

    /// A message arrives with which the relay always does what is bad.
    pub(super) fn arrive_poison(&mut self) -> QueueId {
        let id = self.spool.next_id();
        self.poison.insert(id);
        self.relay.always_with(id, self.bad.clone());
        self.arrive(1);
        id
    }

    /// This event happens.
    pub(super) fn tell(&mut self, event: Event) {
        self.happens_next(event);
        self.come_to_rest();
    }

    /// The configuration is read again.
    pub(super) fn reload(&mut self) {
        self.reload_with(|_| {});
    }

    /// The configuration is read again, with this change.
    pub(super) fn reload_with(&mut self, change: impl FnOnce(&mut SetUp)) {
        change(&mut self.set_up);
        self.null_senders = self.set_up.null_senders();
        let policy = Box::new(self.set_up.policy.clone());
        self.tell(Event::Reconfigured(policy));
    }

    /// An operator pauses all delivery, or that by this route.
    pub(super) fn pause(&mut self, route: Option<&str>) {
        let scope = PauseScope { part: PausedPart::Delivery, route: route.map(str::to_owned) };
        let terms =
            OrderTerms { by: "uid 0 (root)".into(), since: self.now.time_of_day, until: None, reason: None };
        self.set_up.policy.pauses.push(Pause { scope, terms });
        self.follow_pauses();
    }

    /// All pauses are lifted.
    pub(super) fn resume(&mut self) {
        self.set_up.policy.pauses.clear();
        self.follow_pauses();
    }

    fn follow_pauses(&mut self) {
        self.tell(Event::Pauses(self.set_up.policy.pauses.clone()));
    }

    /// The process ends at once, and another one starts from what the spool has.
    pub(super) fn restart(&mut self) {
        self.replies_go(|_| true, ReplyWay::Lost);
        (self.coming, self.planned) = Default::default();
        (self.dialogues, self.unrecorded, self.returning) = Default::default();
        (self.awaits_recording, self.watches_secret) = (false, false);
        self.null_senders = self.set_up.null_senders();
        self.reducer = self.set_up.reducer(&self.spool.entries(), self.relay_clock, self.now);
        self.come_to_rest();
    }

    /// The replies that are on their way over these connections go this way.
    fn replies_go(&mut self, over: impl Fn(ConnectionId) -> bool, way: ReplyWay) {
        for copy in &mut self.copies {
            if matches!(copy.reply, ReplyWay::Awaited(connection) if over(connection)) {
                copy.reply = way;
            }
        }
    }

    /// Sets the time of day; no time passes.
    pub(super) fn step(&mut self, by: SignedDuration) {
        self.now.time_of_day += by;
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
            self.coming.extend(due.map(|(_, happening)| happening));
            self.come_to_rest();
        }
    }

    /// Lets time pass until no more than so many messages are left. Returns how long that took.
    pub(super) fn pass_until_live(&mut self, live: usize, step: Duration) -> Duration {
        let mut passed = Duration::ZERO;
        while self.status().live > live {
            assert!(passed < DAY * 20, "{} left", self.status().live);
            self.pass(step);
            passed += step;
        }
        passed
    }

    /// Returns the time until the next planned event.
    fn until_planned(&self) -> Duration {
        let next = self.planned.iter().map(|(at, _)| at.duration_since(self.now.steady)).min();
        next.map_or(Duration::MAX, |left| Duration::try_from(left).unwrap_or_default())
    }

    fn happens_next(&mut self, event: Event) {
        self.coming.push_back(Happening::Event(event));
    }

    /// Something happens after this time; at once, behind what has happened, if that is zero.
    fn happens_in(&mut self, after: Duration, happening: Happening) {
        if after.is_zero() {
            self.coming.push_back(happening);
        } else {
            self.planned.push((self.now.steady + SignedDuration::try_from(after).unwrap(), happening));
        }
    }

    fn come_to_rest(&mut self) {
        loop {
            while let Some(happening) = self.coming.pop_front() {
                match happening {
                    Happening::Event(event) => self.happens(event),
                    Happening::Reported(connection, reply) => self.reported(connection, reply),
                    Happening::GoesOn(connection) => self.transact(connection),
                }
            }
            self.on(Event::Tick);
            if self.coming.is_empty() {
                return;
            }
        }
    }

    /// Returns the relays that get this message.
    fn relays_of(&self, id: QueueId) -> Vec<RelayPlace> {
        let places = self.spool.relays_of(id, &self.set_up.policy.routes);
        let places: BTreeSet<RelayPlace> = places.into_iter().map(|(_, place)| place).collect();
        if places.is_empty() { vec![RelayPlace(0)] } else { places.into_iter().collect() }
    }

    fn happens(&mut self, event: Event) {
        if let Event::Ended { connection, .. } = &event {
            self.dialogues.remove(connection);
        }
        self.on(event);
    }

    fn on(&mut self, event: Event) {
        for effect in effects_of(&mut self.reducer, event, self.now) {
            self.carry_out(effect);
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Connect { connection, relay } => self.connect(connection, relay),
            Effect::CutOff(connection) => self.cut_off(connection),
            Effect::Give { connection, taken } => self.is_given(connection, taken),
            Effect::QueueAnswer(answer) => {
                assert!(self.answer.replace(answer).is_none(), "asked once, answered once");
            }
            Effect::WatchSecret(_) => self.watches_secret = true,
            Effect::ForgetSecret(_) => self.watches_secret = false,
            Effect::CarryOut(ordered) => self.carry_out_order(*ordered),
            Effect::Ordered { id, came_to, .. } => self.order_answers.push((id, came_to)),
            Effect::GiveTurns(_) => self.turns_given += 1,
            Effect::SetRelayClock(seconds) => self.relay_clock = seconds,
            Effect::Log { route, line } => {
                self.lines.push(*line);
                self.line_routes.push(route);
            }
            Effect::Route { lookup, messages } => {
                assert!(messages.len() <= 256, "a bounded piece of work");
                let found = messages.into_iter().map(|id| (id, self.relays_of(id))).collect();
                self.happens_next(Event::Routed { lookup, found });
            }
            Effect::AwaitRecording(_) => self.awaits_recording = true,
            Effect::RememberRelay(name) => self.set_up.relay_named(&name).has_taken = true,
            Effect::NoteRates { name, record } => {
                let relays = self.set_up.policy.relays.iter_mut();
                let named = |relay: &&mut RelayPolicy| {
                    record_name(&relay.refusals.relay, relay.route.as_deref()) == name
                };
                relays.filter(named).for_each(|relay| relay.rates_record = record.clone());
            }
        }
    }
}
