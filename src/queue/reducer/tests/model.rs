//! Random histories in which everything happens in every order that is possible. The invariants of `queue.rs` hold,
//! and if the relay is good in the end, everything leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fastrand::Rng;
use jiff::SignedDuration;

use super::super::{Disposition, Effect, Event, QueueAnswer, QueuePolicy, Reducer, RelayPolicy};
use super::world::{MINUTE, entry, policy, relay_policy, start};
use super::{assert_figures, effects_of};
use crate::config::RuleScope;
use crate::envelope::{Address, ReversePath, ReversePathKey};
use crate::filter::MailHolder;
use crate::queue::clock::Moment;
use crate::queue::orders::{OrderFailure, OrderResult, Ticket, against_holder};
use crate::queue::refusals::{Refusal, Ruling};
use crate::queue::testing::{refused_login, trouble};
use crate::queue::{ConnectionId, QueueStatus, RelayPlace};
use crate::queue_id::QueueId;
use crate::relay::{Excess, Peer, Phase, RuleName, Subject, Trouble, WaitClass, WaitReason};
use crate::routing::{RouteRule, SendersIn};
use crate::spool::{CommitError, Operator, OperatorOrder, OperatorVerb, OrderRight};
use crate::standing_orders::{OrderTerms, Pause, PauseScope, PausedPart};

const MAX_CONNECTIONS: usize = 4;

/// The place of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Queue,
    With(ConnectionId),
    /// It is with a settlement that will end so.
    Settling(Disposition),
    /// An order about it is being carried out.
    Ordered(OperatorVerb),
}

/// The point that a connection has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Opening,
    /// It has asked for a message and waits.
    Asking,
    /// It has waited for a message, and is gone without notice.
    Gone,
    Busy,
}

struct Model {
    random: Rng,
    reducer: Reducer,
    now: Moment,
    next_id: u64,
    messages: BTreeMap<QueueId, Place>,
    connections: BTreeMap<ConnectionId, Stage>,
    /// The messages whose result the spool has refused, and whether it has refused a mark.
    unrecorded: BTreeSet<QueueId>,
    refuses_marks: bool,
    /// The look-ups of relays that are under way.
    lookups: Vec<(u64, Vec<QueueId>)>,
    /// The names of the routes to the relays, by their places.
    relays: Vec<Option<String>>,
    /// The route of each connection.
    routes: BTreeMap<ConnectionId, Option<String>>,
    /// The orders that are not answered yet.
    orders: BTreeMap<Ticket, QueueId>,
    next_ticket: Ticket,
    /// The messages that are on hold, or dead: nobody gets them.
    kept: BTreeMap<QueueId, OperatorVerb>,
    /// Who holds each message that is on hold.
    holders: BTreeMap<QueueId, MailHolder>,
    /// The orders that are being carried out.
    ordered: BTreeMap<QueueId, OperatorOrder>,
    watches_secret: bool,
    is_stopping: bool,
    /// The pauses that operators have ordered.
    pauses: Vec<Pause>,
    /// From now on everything is good.
    ends_well: bool,
    answers: Vec<QueueAnswer>,
}

/// Returns a policy with or without a login, and with or without an address in place of `<>`.
fn policy_of(random: &mut Rng) -> QueuePolicy {
    let mut policy = policy(MAX_CONNECTIONS);
    policy.has_null_sender = random.bool();
    for name in ["one", "two"].into_iter().filter(|_| random.u32(..3) == 0).collect::<Vec<_>>() {
        policy.relays.push(RelayPolicy { route: Some(name.into()), ..relay_policy(name, MAX_CONNECTIONS) });
        policy.routes.0.push(RouteRule {
            name: name.into(),
            senders: Vec::new(),
            senders_in: SendersIn::Envelope,
            recipients: Vec::new(),
            uids: Vec::new(),
        });
    }
    let relay = &mut policy.relays[0];
    (relay.refusals.has_login, relay.has_taken) = (random.bool(), random.bool());
    policy
}

/// Returns the reverse-path of a message: one of five.
fn sender_of(id: QueueId) -> ReversePath {
    match id.raw() % 5 {
        0 => ReversePath::Null,
        number => ReversePath::Mailbox(Address::parse(&format!("app{number}@example.org")).unwrap()),
    }
}

impl Model {
    fn new(seed: u64) -> Self {
        let policy = policy_of(&mut Rng::with_seed(seed));
        let relays: Vec<_> = policy.relays.iter().map(|relay| relay.route.clone()).collect();
        let reducer = Reducer::new(policy, &[], 0, Rng::with_seed(seed), start());
        Model {
            random: Rng::with_seed(seed),
            reducer,
            now: start(),
            next_id: 1,
            messages: BTreeMap::new(),
            connections: BTreeMap::new(),
            unrecorded: BTreeSet::new(),
            refuses_marks: false,
            lookups: Vec::new(),
            relays,
            routes: BTreeMap::new(),
            orders: BTreeMap::new(),
            next_ticket: 0,
            kept: BTreeMap::new(),
            holders: BTreeMap::new(),
            ordered: BTreeMap::new(),
            watches_secret: false,
            is_stopping: false,
            pauses: Vec::new(),
            ends_well: false,
            answers: Vec::new(),
        }
    }

    fn on(&mut self, event: Event) {
        for effect in effects_of(&mut self.reducer, event, self.now) {
            self.carry_out(effect);
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Connect { connection, relay } => {
                let route = self.relays[relay.0].clone();
                self.routes.insert(connection, route.clone());
                assert!(!self.is_stopping && self.unrecorded.is_empty() && !self.refuses_marks);
                assert!(!self.is_halted(route.as_deref()), "no connection is begun in a pause");
                assert!(self.connections.insert(connection, Stage::Opening).is_none(), "a new name");
                let to_it = self.connections.keys().filter(|other| self.routes[other] == route);
                assert!(to_it.count() <= MAX_CONNECTIONS);
            }
            Effect::CutOff(connection) => self.connection_ends(connection, None),
            Effect::Give { connection, taken } => self.is_given(connection, taken.map(|taken| taken.id)),
            Effect::QueueAnswer(answer) => self.answers.push(answer),
            Effect::AwaitRecording(_) => self.refuses_marks = true,
            Effect::WatchSecret(_) => self.watches_secret = true,
            Effect::ForgetSecret(_) => self.watches_secret = false,
            Effect::Route { lookup, messages } => self.lookups.push((lookup, messages)),
            Effect::CarryOut(ordered) => {
                let (id, verb) = (ordered.order.id(), ordered.order.verb());
                let place = self.messages.insert(id, Place::Ordered(verb));
                assert_eq!(place, Some(Place::Queue), "{id} is taken from nobody");
                self.ordered.insert(id, ordered.order);
            }
            Effect::Ordered { ticket, id, .. } => {
                assert_eq!(self.orders.remove(&ticket), Some(id), "ordered once, answered once");
            }
            Effect::RememberRelay(_)
            | Effect::NoteRates { .. }
            | Effect::SetRelayClock(_)
            | Effect::GiveTurns(_)
            | Effect::Log { .. } => {}
        }
    }

    fn is_given(&mut self, connection: ConnectionId, id: Option<QueueId>) {
        let is_halted = self.is_halted(self.routes[&connection].as_deref());
        assert!(id.is_none() || !is_halted, "no message begins in a pause");
        let stage = self.connections.get_mut(&connection).expect("it exists");
        if let Some(id) = id {
            assert!(!self.is_stopping && self.unrecorded.is_empty() && !self.refuses_marks);
            let place = self.messages.insert(id, Place::With(connection));
            assert_eq!(place, Some(Place::Queue), "{id} is with nobody else");
            assert!(!self.kept.contains_key(&id), "{id} is on hold, or dead");
        }
        match (*stage, id) {
            (Stage::Asking, Some(_)) => *stage = Stage::Busy,
            (Stage::Asking, None) => self.connection_ends(connection, None),
            (Stage::Gone, Some(id)) => {
                self.messages.insert(id, Place::Queue);
                self.on(Event::Missed(id));
            }
            (Stage::Gone, None) => {}
            (Stage::Opening | Stage::Busy, _) => panic!("{connection} has not asked"),
        }
    }

    /// A connection ends, and its message is settled without a report.
    fn connection_ends(&mut self, connection: ConnectionId, trouble: Option<Trouble>) {
        if let Some(id) = self.held_by(connection) {
            let in_doubt = self.random.bool();
            self.on(Event::Lost { connection, id, in_doubt });
            self.settles(id, Disposition::Lost { warned: false });
        }
        self.connections.remove(&connection);
        self.on(Event::Ended { connection, trouble });
    }

    fn held_by(&self, connection: ConnectionId) -> Option<QueueId> {
        let mut held = self.messages.iter().filter(|(_, place)| **place == Place::With(connection));
        held.next().map(|(id, _)| *id)
    }

    fn settles(&mut self, id: QueueId, disposition: Disposition) {
        self.messages.insert(id, Place::Settling(disposition));
    }

    fn any<T: Copy>(&mut self, among: Vec<T>) -> Option<T> {
        if among.is_empty() { None } else { Some(among[self.random.usize(..among.len())]) }
    }

    fn ask(&mut self, event: Event) -> QueueAnswer {
        assert!(self.answers.is_empty());
        self.on(event);
        assert_eq!(self.answers.len(), 1, "asked once, answered once");
        self.answers.remove(0)
    }

    fn status(&mut self) -> QueueStatus {
        match self.ask(Event::Status) {
            QueueAnswer::Status(status) => *status,
            other => panic!("{other:?}"),
        }
    }

    /// Something happens that is possible now.
    fn happens(&mut self) {
        match self.random.u32(..100) {
            0..15 => self.arrives(),
            15..60 => self.connection_does_something(),
            60..80 => self.settlement_ends(),
            80..86 => self.order(),
            86..90 => {
                let time = Duration::from_millis(self.random.u64(..20_000));
                self.time_passes(time);
            }
            90 => self.on(Event::ProbeNow),
            98 | 99 if self.random.bool() => self.on(Event::ProbeRoute("one".into())),
            91 => {
                let answer = self.ask(Event::ProbeForClient);
                assert!(matches!(answer, QueueAnswer::Probe(_)));
            }
            92 => {
                let mut policy = Box::new(policy_of(&mut self.random));
                policy.pauses = self.pauses.clone();
                self.relays = policy.relays.iter().map(|relay| relay.route.clone()).collect();
                self.on(Event::Reconfigured(policy));
            }
            93 if self.random.bool() => self.pauses_or_resumes(),
            93 if self.watches_secret => self.on(Event::SecretChanged(RelayPlace(0))),
            95..98 if !self.lookups.is_empty() => self.answers_lookup(),
            94 if self.refuses_marks => {
                self.refuses_marks = false;
                self.on(Event::Recordable);
            }
            _ => self.on(Event::Tick),
        }
    }

    /// An operator pauses or resumes all delivery, or that by a route.
    fn pauses_or_resumes(&mut self) {
        let route = [None, Some("one"), Some("two")][self.random.usize(..3)].map(str::to_owned);
        let scope = PauseScope { part: PausedPart::Delivery, route };
        let count = self.pauses.len();
        self.pauses.retain(|pause| pause.scope != scope);
        if self.pauses.len() == count {
            let terms = OrderTerms { by: "x".into(), since: self.now.time_of_day, until: None, reason: None };
            self.pauses.push(Pause { scope, terms });
        }
        self.on(Event::Pauses(self.pauses.clone()));
    }

    fn is_halted(&self, route: Option<&str>) -> bool {
        self.pauses.iter().any(|pause| pause.scope.halts(route))
    }

    /// Some look-up is answered: the last one, or one whose answer is void.
    fn answers_lookup(&mut self) {
        let (lookup, messages) = self.lookups.remove(self.random.usize(..self.lookups.len()));
        let mut found = Vec::new();
        for id in messages {
            let mut places = (0..self.relays.len()).filter(|_| self.random.bool()).collect::<Vec<_>>();
            if places.is_empty() {
                places.push(self.random.usize(..self.relays.len()));
            }
            found.push((id, places.into_iter().map(RelayPlace).collect()));
        }
        self.on(Event::Routed { lookup, found });
    }

    fn arrives(&mut self) {
        let mut entry = entry(self.next_id, self.now, 0);
        entry.from = ReversePathKey::from(&sender_of(entry.id));
        self.next_id += 1;
        self.messages.insert(entry.id, Place::Queue);
        self.on(Event::Arrived(entry));
    }

    fn time_passes(&mut self, time: Duration) {
        let time = SignedDuration::try_from(time).unwrap();
        (self.now.steady, self.now.time_of_day) = (self.now.steady + time, self.now.time_of_day + time);
        self.on(Event::Tick);
    }

    fn connection_does_something(&mut self) {
        let Some(connection) = self.any(self.connections.keys().copied().collect()) else { return };
        match (self.connections[&connection], self.held_by(connection)) {
            (Stage::Opening, _) => match self.random.u32(..4) {
                0 => self.connection_ends(connection, Some(trouble(Phase::Connect))),
                1 if self.random.bool() => self.connection_ends(connection, Some(refused_login())),
                _ => self.asks(connection),
            },
            (Stage::Asking, _) if self.random.bool() => {
                self.connections.insert(connection, Stage::Gone);
            }
            (Stage::Asking, _) => {}
            (Stage::Gone, _) => self.connection_ends(connection, None),
            (Stage::Busy, Some(id)) => self.relay_answers(connection, id),
            (Stage::Busy, None) if self.random.u32(..10) == 0 => {
                self.connection_ends(connection, Some(trouble(Phase::Dot)));
            }
            (Stage::Busy, None) => self.asks(connection),
        }
    }

    fn asks(&mut self, connection: ConnectionId) {
        self.connections.insert(connection, Stage::Asking);
        let wait = self.random.bool();
        self.on(Event::Wanted { connection, wait });
    }

    fn relay_answers(&mut self, connection: ConnectionId, id: QueueId) {
        match self.random.u32(..10) {
            0..4 => self.is_taken(connection, id),
            4 => {
                self.on(Event::Answered(connection));
                self.settles(id, Disposition::Deferred { warned: false, named: None });
            }
            5 | 6 => self.is_refused(connection, id),
            7 => {
                let answer = self.ask(Event::Left { connection, id });
                assert!(matches!(answer, QueueAnswer::IsExcused(_)));
                self.settles(id, Disposition::Untried);
                self.connection_ends(connection, None);
            }
            8 => {
                self.settles(id, Disposition::Untried);
                self.on(Event::Unmarked { id, why: CommitError::Full });
                self.connection_ends(connection, None);
            }
            _ => self.connection_ends(connection, Some(trouble(Phase::Dot))),
        }
    }

    fn is_taken(&mut self, connection: ConnectionId, id: QueueId) {
        self.on(Event::TakenByRelay { connection, from: sender_of(id) });
        self.on(Event::Answered(connection));
        // Other relays get other recipients, or none is known that does.
        let is_served = !self.ends_well && self.random.u32(..4) == 0;
        self.settles(id, if is_served { Disposition::Served } else { Disposition::Removed });
    }

    fn is_refused(&mut self, connection: ConnectionId, id: QueueId) {
        let subjects = [Subject::Permission, Subject::Login, Subject::Unclear, Subject::Pace];
        let about = subjects[self.random.usize(..subjects.len())];
        let is_deferral = about == Subject::Pace || self.random.bool();
        let refusal = Refusal {
            id,
            peer: Peer {
                name: "relay.example".into(),
                address: "192.0.2.1:587".parse().unwrap(),
                route: None,
                tls: None,
            },
            phase: Phase::Mail,
            about,
            is_deferral,
            said: "told to".into(),
            from: sender_of(id),
            waits: self.any_reason(),
            in_company: self.random.u32(..4) == 0,
            follows_taken: self.random.u32(..4) == 0,
            domains: ["example.net".to_owned()].into(),
        };
        let refused = Event::Refused { connection, refusal: Box::new(refusal) };
        // A wait is never as said.
        let disposition = match self.ask(refused) {
            QueueAnswer::Ruling(Ruling::Untold) => Disposition::Untried,
            QueueAnswer::Ruling(Ruling::Hold) => Disposition::Held,
            QueueAnswer::Ruling(Ruling::Defer) => Disposition::Deferred { warned: false, named: None },
            QueueAnswer::Ruling(Ruling::AsSaid) if is_deferral => {
                Disposition::Deferred { warned: false, named: None }
            }
            QueueAnswer::Ruling(Ruling::AsSaid) => Disposition::Removed,
            other => panic!("{other:?}"),
        };
        if disposition != Disposition::Untried {
            self.on(Event::Answered(connection));
        }
        self.settles(id, disposition);
    }

    fn any_reason(&mut self) -> Option<WaitReason> {
        let class = match self.random.u32(..12) {
            0 => WaitClass::Throttle(Excess::Messages),
            1 => WaitClass::Quota,
            2 => WaitClass::Configuration(RuleScope::Route),
            3 => WaitClass::Configuration(RuleScope::Sender),
            _ => return None,
        };
        let rule = if self.random.bool() { RuleName::Own(1) } else { RuleName::General("any") };
        let pause = self.random.bool().then(|| Duration::from_secs(self.random.u64(1..100)));
        Some(WaitReason { rule, class, pause, doubles: false, hint: None })
    }

    /// An operator orders something about a message, which may be gone.
    fn order(&mut self) {
        let verbs = [
            OperatorVerb::Hold,
            OperatorVerb::Release,
            OperatorVerb::Retry,
            OperatorVerb::Route,
            OperatorVerb::Expire,
        ];
        let verb = self.any(verbs.to_vec()).filter(|_| self.random.u32(..6) > 0);
        let id = QueueId::from_raw(self.random.u64(1..=self.next_id));
        let right = if self.random.bool() { OrderRight::Everything } else { OrderRight::OwnMail };
        self.orders_about(id, verb.unwrap_or(OperatorVerb::Delete), right);
    }

    fn orders_about(&mut self, id: QueueId, verb: OperatorVerb, right: OrderRight) {
        self.next_ticket += 1;
        let ticket = self.next_ticket;
        self.orders.insert(ticket, id);
        let uid = if right == OrderRight::Everything { 0 } else { 33 };
        let order = OperatorOrder::permitted(id, verb, Operator { uid, name: None }, right);
        self.on(Event::Ordered { ticket, orders: vec![order] });
    }

    /// An order was carried out, or the spool did not take it.
    fn order_ends(&mut self) {
        let carried_out = self.messages.iter().filter_map(|(id, place)| match place {
            Place::Ordered(verb) => Some((*id, *verb)),
            _ => None,
        });
        let Some((id, verb)) = self.any(carried_out.collect()) else { return };
        let failure = OrderFailure::Unrecorded(CommitError::Full);
        let order = self.ordered.remove(&id).unwrap();
        let of_holder = self.holders.get(&id).and_then(|holder| against_holder(&order, holder));
        let disposition = match verb {
            _ if !self.ends_well && self.random.u32(..8) == 0 => Disposition::Unchanged,
            _ if of_holder.is_some() => Disposition::Unchanged,
            OperatorVerb::Hold => Disposition::OnHold,
            OperatorVerb::Release | OperatorVerb::Retry => Disposition::Released,
            OperatorVerb::Route => Disposition::Routed,
            OperatorVerb::Expire if self.random.bool() => Disposition::Dead,
            OperatorVerb::Expire | OperatorVerb::Delete => Disposition::Removed,
        };
        self.messages.insert(id, Place::Queue);
        match disposition {
            Disposition::OnHold => {
                self.kept.insert(id, OperatorVerb::Release);
                self.holders.insert(id, order.holder());
            }
            Disposition::Dead => {
                self.kept.insert(id, OperatorVerb::Retry);
                self.holders.remove(&id);
            }
            Disposition::Released | Disposition::Removed => {
                self.kept.remove(&id);
                self.holders.remove(&id);
            }
            _ => {}
        }
        if disposition == Disposition::Removed {
            self.messages.remove(&id);
        }
        let came_to = match disposition {
            Disposition::Unchanged => of_holder.unwrap_or(OrderResult::Failed(failure)),
            Disposition::Dead => OrderResult::Dead,
            _ => OrderResult::Done,
        };
        self.on(Event::CarriedOut { id, disposition, came_to });
    }

    fn settlement_ends(&mut self) {
        self.order_ends();
        let settling = self.messages.iter().filter_map(|(id, place)| match place {
            Place::Settling(disposition) => Some((*id, *disposition)),
            Place::Queue | Place::With(_) | Place::Ordered(_) => None,
        });
        let Some((id, disposition)) = self.any(settling.collect()) else { return };
        if self.random.u32(..20) == 0 && self.unrecorded.insert(id) {
            return self.on(Event::Unrecorded { id, why: CommitError::Trouble });
        }
        self.unrecorded.remove(&id);
        match disposition {
            Disposition::Removed => self.messages.remove(&id),
            _ => self.messages.insert(id, Place::Queue),
        };
        self.on(Event::Became { id, disposition });
    }

    /// The figures of the queue agree with the model.
    fn is_as_it_says(&mut self) {
        let under_way = self.messages.values().filter(|place| **place != Place::Queue).count();
        let status = self.status();
        assert_eq!(status.live, self.messages.len(), "a message leaves when its removal is recorded");
        assert_eq!(status.under_way, under_way, "{:?}", self.messages);
        assert_eq!(status.connections(), self.connections.len());
        let ids = self.messages.keys().copied().collect();
        let QueueAnswer::Standings(listed) = self.ask(Event::Standings(ids)) else { panic!("it is listed") };
        assert_figures(&status, &listed);
    }

    /// From now on the relay takes everything and the spool records everything. Nothing is left in the end.
    fn ends_well(&mut self) {
        self.ends_well = true;
        self.pauses.clear();
        self.on(Event::Pauses(Vec::new()));
        for (id, verb) in self.kept.clone() {
            self.orders_about(id, verb, OrderRight::Everything);
        }
        for _ in 0..20_000 {
            while !self.lookups.is_empty() {
                self.answers_lookup();
            }
            if self.messages.is_empty() {
                assert_eq!(self.orders, BTreeMap::new(), "each order is answered");
                return;
            }
            if self.refuses_marks {
                self.refuses_marks = false;
                self.on(Event::Recordable);
            }
            for connection in self.connections.keys().copied().collect::<Vec<_>>() {
                match (self.connections.get(&connection), self.held_by(connection)) {
                    (Some(Stage::Busy), Some(id)) => self.is_taken(connection, id),
                    (Some(Stage::Opening | Stage::Busy), None) => self.asks(connection),
                    (Some(Stage::Gone), _) => self.connection_ends(connection, None),
                    // It waits for some seconds only, and then makes room for a fresh one.
                    (Some(Stage::Asking), _) if self.random.u32(..10) == 0 => {
                        self.connections.insert(connection, Stage::Gone);
                    }
                    _ => {}
                }
            }
            self.settlement_ends();
            for (id, verb) in self.kept.clone() {
                self.orders_about(id, verb, OrderRight::Everything);
            }
            let next = self.reducer.until_next_change(self.now).min(MINUTE);
            self.time_passes(next.max(Duration::from_millis(10)));
            if self.status().held == self.messages.len() {
                self.on(Event::ProbeNow);
            }
        }
        let status = self.status();
        panic!("left: {:?}, {status:?}", self.messages);
    }

    fn stops(&mut self) {
        self.is_stopping = true;
        self.on(Event::Stop { patience: MINUTE });
        while !self.messages.values().all(|place| *place == Place::Queue) || !self.connections.is_empty() {
            assert!(!self.reducer.has_stopped());
            if self.random.u32(..50) == 0 {
                self.time_passes(MINUTE);
                assert!(self.connections.is_empty(), "what is left is cut off");
            }
            self.connection_does_something();
            self.settlement_ends();
        }
        assert!(self.reducer.has_stopped());
    }
}

#[test]
fn whatever_comes_the_invariants_hold_and_everything_leaves_in_the_end() {
    for seed in 0..300 {
        let mut model = Model::new(seed);
        for _ in 0..300 {
            model.happens();
            model.is_as_it_says();
        }
        model.ends_well();
        model.is_as_it_says();
    }
}

#[test]
fn whatever_is_under_way_a_stop_ends() {
    for seed in 0..300 {
        let mut model = Model::new(seed);
        for _ in 0..150 {
            model.happens();
        }
        model.stops();
        model.is_as_it_says();
    }
}
