//! The queue as a function: what it knows, what came, and the time decide what is done.
//!
//! Promises: [`Reducer::on`] takes in one [`Event`] and returns what is to be done as [`Effect`]s, in order. It waits
//! for nothing, and the same events at the same times give the same effects.
//!
//! Invariants (of `queue.rs`, as far as they are decided here):
//! 1. A message is given out only while it is ready, and is under way until [`Event::Became`] or [`Event::Missed`].
//! 2. A message leaves the roster only by [`Disposition::Removed`].
//! 3. No connection is begun while `max-connections` exist, while the spool does not record, or after [`Event::Stop`].
//! 4. An event that asks something is answered once, at once; a connection that asks for a message, once.
//!
//! An event about a message or a connection is handled for the one relay that this belongs to, by the methods of
//! [`AtRelay`] in the files below. An event about the whole queue is handled here, for all relays.
//!
//! Pure: no task, disk, clock or log. Not here: carrying out the effects (`owner/executor.rs`), what is known of a
//! relay (`relay_state.rs`) and of its messages (`roster.rs`).

mod dispatch;
mod event;
mod figures;
mod judge;
mod orders;
mod outcomes;
mod trouble;
mod waits;

use std::time::Duration;

use fastrand::Rng;
use jiff::Timestamp;

use super::clock::{Moment, later};
use super::orders::{OrderResult, Orders};
use super::part_limits::{LearnedParts, PartLimits};
use super::rate::record_name;
use super::recording::Recording;
use super::relay_clock::RelayClock;
use super::relay_state::{Passage, RelayState};
use super::relays::Relays;
use super::schedule::{RetryPolicy, Spread};
use super::{ConnectionId, RelayPlace};
use crate::queue_id::QueueId;
use crate::spool::{Entry, Flight};
use crate::standing_orders::Pause;
pub(super) use event::{Disposition, Effect, Event, LogLine, QueueAnswer, QueuePolicy, RelayPolicy};

/// The longest time between two ticks. A message that arrives gets the relay clock as the spool was told it last; the
/// difference is lost to its patience.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// The queue's state.
pub(super) struct Reducer {
    relays: Relays,
    orders: Orders,
    shared: SharedState,
}

/// The part of the state that is the same for all relays, and what is to be done for the event at hand.
struct SharedState {
    retry: RetryPolicy,
    has_null_sender: bool,
    recording: Recording,
    /// The source of all chance.
    random: Rng,
    /// The name of the connection that is begun next, to whatever relay.
    next_connection: ConnectionId,
    /// The clock that is stamped on what arrives. It counts the time in which all relays with mail were usable and nothing
    /// waited, so that after a restart no message has used more patience than before it, whatever it did.
    spool_clock: RelayClock,
    /// The messages that the event at hand has given out so far.
    given: Vec<QueueId>,
    last_client_probe: Option<Timestamp>,
    /// Set once: no more messages are given out, and those under way are cut off at this time.
    stop_by: Option<Timestamp>,
    /// The pauses of delivery that operators have ordered.
    pauses: Vec<Pause>,
    /// The relay clock as the spool was told it last.
    told_clock: Option<u32>,
    /// The time of the event at hand.
    now: Moment,
    /// The effects of the event at hand so far.
    effects: Vec<Effect>,
}

impl Reducer {
    /// Returns the state after a start in which recovery found these `entries` and this relay clock.
    pub(super) fn new(
        policy: QueuePolicy,
        entries: &[Entry],
        relay_clock: u32,
        random: Rng,
        now: Moment,
    ) -> Self {
        let relay_of = |(place, policy): (usize, RelayPolicy)| {
            let note = policy.rates_record.clone();
            let mut relay = RelayState::new(RelayPlace(place), policy, now);
            relay.goes_on_pausing(&note, now);
            relay
        };
        let states = policy.relays.into_iter().enumerate().map(relay_of).collect();
        let mut relays = Relays::new(states, policy.routes);
        for entry in entries {
            let used = relay_clock.saturating_sub(entry.patience_mark).max(entry.patience_used);
            relays.admit(entry, Duration::from_secs(used.into()), now.steady);
        }
        let shared = SharedState {
            retry: policy.retry,
            has_null_sender: policy.has_null_sender,
            recording: Recording::default(),
            random,
            next_connection: 0,
            spool_clock: RelayClock::starting_at(relay_clock, now.steady),
            given: Vec::new(),
            last_client_probe: None,
            stop_by: None,
            pauses: policy.pauses,
            told_clock: None,
            now,
            effects: Vec::new(),
        };
        let mut reducer = Reducer { relays, orders: Orders::default(), shared };
        reducer.halt_relays();
        reducer
    }

    /// Takes in what came at `now`, and adds what is to be done to `effects`.
    pub(super) fn on(&mut self, event: Event, now: Moment, effects: &mut Vec<Effect>) {
        self.shared.now = now;
        std::mem::swap(&mut self.shared.effects, effects);
        self.meet(event);
        self.relays.set_aside(self.shared.given.drain(..));
        std::mem::swap(&mut self.shared.effects, effects);
    }

    fn meet(&mut self, event: Event) {
        let now = self.shared.now.steady;
        match event {
            Event::Arrived(entry) => self.relays.admit(&entry, Duration::ZERO, now),
            Event::Wanted { connection, wait } => self.at_connection(connection).wanted(connection, wait),
            Event::ShownLimits { connection, limits } => {
                self.at_connection(connection).shown_limits(connection, limits);
            }
            Event::GoesOn(connection) => {
                let pause = self.at_connection(connection).goes_on();
                self.shared.answer(QueueAnswer::GoesOnIn(pause));
            }
            Event::Answered(connection) => self.at_connection(connection).answered(connection),
            Event::TakenByRelay { connection, from } => {
                self.at_connection(connection).taken(connection, &from);
            }
            Event::Refused { connection, refusal } => {
                let ruling = self.at_connection(connection).judge(connection, &refusal);
                self.shared.answer(QueueAnswer::Ruling(ruling));
            }
            Event::Left { connection, id } => {
                let is_excused = self.at_connection(connection).left(connection, id);
                self.shared.answer(QueueAnswer::IsExcused(is_excused));
            }
            Event::Lost { connection, id, in_doubt } => {
                self.at_connection(connection).lost(connection, id, in_doubt)
            }
            Event::Ended { connection, trouble } => self.at_connection(connection).ended(connection, trouble),
            Event::Missed(id) => {
                self.relays.of_message(id).rates.give_back();
                self.relays.of_message(id).roster.put_back(id, now);
                self.relays.settled(id, Disposition::Untried, now);
                self.follow_waiting(id, false);
                self.tick();
            }
            Event::DuplicateTold(id) => {
                let roster = &mut self.relays.of_message(id).roster;
                roster.update(id, |member| member.marks.set_flight(Flight::Told));
            }
            // An order that ends so ended by a panic, which the log has.
            Event::Became { id, disposition } => self.became(id, disposition, OrderResult::FAILED),
            Event::CarriedOut { id, disposition, came_to } => self.became(id, disposition, came_to),
            Event::Routed { lookup, found } => {
                let ids: Vec<QueueId> = found.iter().map(|(id, _)| *id).collect();
                self.relays.routed(lookup, found, now);
                ids.into_iter().for_each(|id| self.follow_waiting(id, false));
            }
            Event::Ordered { ticket, orders } => self.ordered(ticket, orders),
            Event::Unrecorded { id, why } => self.unrecorded(id, why),
            Event::Unmarked { id, why } => self.unmarked(id, why),
            Event::Recordable => self.takes_more(Recording::takes_marks),
            Event::SecretChanged(place) => self.relays.at(place).breaker.probe_now(now),
            Event::ProbeNow => self.probe_now(),
            Event::ProbeRelays => self.probe_relays(),
            Event::ProbeRoute(route) => self.probe_route(&route),
            Event::Pauses(pauses) => {
                self.shared.pauses = pauses;
                self.halt_relays();
                self.tick();
            }
            Event::ProbeForClient => {
                let too_soon = self.probe_for_client();
                self.shared.answer(QueueAnswer::Probe(too_soon));
            }
            Event::Reconfigured(policy) => self.reconfigure(*policy),
            Event::Standings(ids) => {
                let listed = self.standings(ids);
                self.shared.answer(QueueAnswer::Standings(listed));
            }
            Event::Status => {
                let status = Box::new(self.status());
                self.shared.answer(QueueAnswer::Status(status));
            }
            Event::Stop { patience } => self.stop(patience),
            Event::Tick => self.tick(),
        }
    }

    /// Takes in what a message has come to, and with that, the answer to the order about it, if one was carried out.
    fn became(&mut self, id: QueueId, disposition: Disposition, came_to: OrderResult) {
        self.takes_more(|recording| recording.took_outcome(id));
        match self.orders.ended(id) {
            Some(running) => self.order_ended(id, running, disposition, came_to),
            None => {
                self.at_message(id).became(id, disposition);
                self.relays.settled(id, disposition, self.shared.now.steady);
            }
        }
        self.follow_waiting(id, disposition == Disposition::Removed);
    }

    /// Returns what handles an event about this connection.
    fn at_connection(&mut self, connection: ConnectionId) -> AtRelay<'_> {
        AtRelay { relay: self.relays.of_connection(connection), shared: &mut self.shared }
    }

    /// Returns what handles an event about this message.
    fn at_message(&mut self, id: QueueId) -> AtRelay<'_> {
        AtRelay { relay: self.relays.of_message(id), shared: &mut self.shared }
    }

    /// Does this for each relay.
    fn for_each_relay(&mut self, mut act: impl FnMut(&mut AtRelay<'_>)) {
        let Reducer { relays, shared, .. } = self;
        relays.all_mut().for_each(|relay| act(&mut AtRelay { relay, shared }));
    }

    /// Returns whether the queue was told to stop and has: no connection exists, and no message is under way.
    pub(super) fn has_stopped(&self) -> bool {
        let is_still = |relay: &RelayState| relay.roster.under_way() == 0 && relay.connections.len() == 0;
        self.shared.stop_by.is_some() && self.relays.all().all(is_still)
    }

    /// Returns whether what is left may be left behind: the time to stop is over, and no message is with anybody but
    /// with as many `settlements` as the spool does not record.
    pub(super) fn may_end(&self, now: Moment, settlements: usize) -> bool {
        let is_over = self.shared.stop_by.is_some_and(|deadline| now.steady >= deadline);
        is_over
            && self.relays.all().all(|relay| relay.connections.len() == 0)
            && settlements <= self.shared.recording.unrecorded()
    }

    fn tick(&mut self) {
        self.tend();
        self.for_each_relay(|at| at.run_patience());
        self.tell_clock();
    }

    /// Does what is due.
    fn tend(&mut self) {
        self.for_each_relay(|at| {
            at.tell_earlier_pause();
            at.tell_flickers();
        });
        self.relays.forget_retired();
        if self.shared.stop_by.is_none()
            && let Some((lookup, messages)) = self.relays.next_lookup()
        {
            self.shared.effects.push(Effect::Route { lookup, messages });
        }
        if self.shared.is_sending() {
            for place in 0..self.relays.in_force().len() {
                let relay = self.relays.at(RelayPlace(place));
                AtRelay { relay, shared: &mut self.shared }.dispatch();
                // The next relay must not be given what this one has.
                self.relays.set_aside(self.shared.given.drain(..));
            }
        } else if self.shared.stop_by.is_some_and(|deadline| self.shared.now.steady >= deadline) {
            self.for_each_relay(|at| {
                at.shared.effects.extend(at.relay.connections.cut_off().map(Effect::CutOff));
            });
        }
    }

    /// Tells the spool the relay clock, which it stamps on what arrives from now on.
    fn tell_clock(&mut self) {
        let now = self.shared.now.steady;
        let is_standing = |relay: &RelayState| !relay.uses_patience_of_all();
        let holds_up = |relay: &RelayState| is_standing(relay) && relay.roster.len() > 0;
        let relays = self.relays.in_force();
        let runs =
            self.shared.recording.works() && !relays.iter().any(holds_up) && !relays.iter().all(is_standing);
        self.shared.spool_clock.run(runs, now);
        let clock = self.shared.spool_clock.at(now);
        if self.shared.told_clock.replace(clock) != Some(clock) {
            self.shared.effects.push(Effect::SetRelayClock(clock));
        }
    }

    fn reconfigure(&mut self, policy: QueuePolicy) {
        let QueuePolicy { retry, has_null_sender, relays: policies, routes, pauses } = policy;
        (self.shared.retry, self.shared.has_null_sender) = (retry, has_null_sender);
        self.shared.pauses = pauses;
        let moment = self.shared.now;
        let shared = &mut self.shared;
        let change = |old: &mut Vec<RelayState>| -> Vec<RelayState> {
            let new = policies.into_iter().enumerate().map(|(place, policy)| {
                let place = RelayPlace(place);
                let same = old.iter().position(|relay| relay.route == policy.route);
                let Some(mut relay) = same.map(|same| old.swap_remove(same)) else {
                    return RelayState::new(place, policy, moment);
                };
                relay.place = place;
                AtRelay { relay: &mut relay, shared: &mut *shared }.reconfigure(policy);
                relay
            });
            let new = new.collect();
            old.iter_mut().for_each(|relay| AtRelay { relay, shared: &mut *shared }.retire());
            new
        };
        self.relays.reconfigure(change, routes, moment.steady);
        self.halt_relays();
    }

    /// Has each relay rest, or go on, as the operators have ordered. What is under way goes on.
    fn halt_relays(&mut self) {
        self.for_each_relay(|at| {
            let route = at.relay.route.as_deref();
            let was_halted = at.relay.is_halted();
            let pause = at.shared.pauses.iter().find(|pause| pause.scope.halts(route));
            at.relay.halted_by = pause.cloned();
            at.run_patience();
            if at.relay.is_halted() && !was_halted {
                at.let_connections_go();
            }
        });
    }

    fn stop(&mut self, patience: Duration) {
        self.shared.stop_by = Some(later(self.shared.now.steady, patience));
        self.for_each_relay(|at| at.let_connections_go());
    }

    /// Returns when the last event came.
    pub(super) fn now(&self) -> Moment {
        self.shared.now
    }

    /// Returns how long nothing changes by itself.
    pub(super) fn until_next_change(&self, now: Moment) -> Duration {
        let now = now.steady;
        let changes = self.relays.all().filter_map(|relay| next_change(relay, now, self.shared.is_sending()));
        let deadline = self.shared.stop_by.filter(|deadline| *deadline > now);
        match changes.chain(deadline).min() {
            Some(next) => Duration::try_from(next.duration_since(now)).unwrap_or_default().min(LONGEST_SLEEP),
            None => LONGEST_SLEEP,
        }
    }
}

/// Returns when something next changes by itself at this relay.
fn next_change(relay: &RelayState, now: Timestamp, is_sending: bool) -> Option<Timestamp> {
    if relay.is_halted() {
        // What falls due waits, too.
        return relay.flickers.due();
    }
    let has_ready = relay.roster.has_ready();
    let [others, probe] = [relay.breaker.others_at(), relay.breaker.retry_at()]
        .map(|probe| probe.filter(|probe| has_ready && *probe > now));
    let due = relay.roster.next_due().filter(|_| is_sending);
    let by_rate = Some(relay.next_by_rate()).filter(|next| has_ready && is_sending && *next > now);
    let sender = relay.roster.next_sender_due().filter(|_| is_sending);
    [due, others, probe, by_rate, sender, relay.flickers.due()].into_iter().flatten().min()
}

impl SharedState {
    fn answer(&mut self, answer: QueueAnswer) {
        self.effects.push(Effect::QueueAnswer(answer));
    }

    fn log(&mut self, route: Option<String>, line: LogLine) {
        self.effects.push(Effect::Log { route, line: Box::new(line) });
    }

    fn draw(&mut self) -> Spread {
        Spread::new(self.random.f64() * 2.0 - 1.0)
    }

    /// Returns whether messages may be given out.
    fn is_sending(&self) -> bool {
        self.stop_by.is_none() && self.recording.works()
    }
}

/// The handling of one event for one relay.
struct AtRelay<'a> {
    relay: &'a mut RelayState,
    shared: &'a mut SharedState,
}

impl AtRelay<'_> {
    /// Logs this line about the relay.
    fn log(&mut self, line: LogLine) {
        self.shared.log(self.relay.route.clone(), line);
    }

    /// Logs in one line the pauses that were not logged one by one.
    fn tell_flickers(&mut self) {
        if let Some(times) = self.relay.flickers.counted(self.shared.now.steady) {
            let live = self.relay.roster.len();
            self.log(LogLine::RelayFlickered { times, live });
        }
    }

    /// Takes in whether the breaker lets anything through now.
    fn follow_breaker(&mut self) {
        let (now, is_recording) = (self.shared.now.steady, self.shared.recording.works());
        if self.relay.follow_breaker(now, is_recording) == Passage::Resumed {
            if self.relay.flickers.ends() {
                let live = self.relay.roster.len();
                self.log(LogLine::RelayResumed { live });
            }
            self.shared.effects.push(Effect::ForgetSecret(self.relay.place));
        }
        self.note_pause();
    }

    /// Has the spool remember a pause that has begun and that a restart does not end, or forget one that has ended.
    fn note_pause(&mut self) {
        if let Some(record) = self.relay.changed_note(self.shared.now) {
            self.note(record);
        }
    }

    fn note(&mut self, record: String) {
        let name = record_name(&self.relay.name, self.relay.route.as_deref());
        self.shared.effects.push(Effect::NoteRates { name, record });
    }

    fn reconfigure(&mut self, policy: RelayPolicy) {
        let waited = self.relay.reconfigure(policy, self.shared.now);
        self.shared.effects.push(Effect::ForgetSecret(self.relay.place));
        self.note_pause();
        self.run_patience();
        self.let_connections_go();
        self.try_held();
        waited.into_iter().for_each(|id| self.ask_once_more(id));
    }

    /// Lets the connections to a relay go that the configuration does not name any more.
    fn retire(&mut self) {
        self.relay.paused_since = None;
        self.replace_connections();
        self.try_held();
    }

    /// Takes in that the relay has shown what one transaction may hold.
    fn shown_limits(&mut self, connection: ConnectionId, limits: PartLimits) {
        if self.relay.is_outdated(connection) {
            return;
        }
        let learned = self.relay.parts.shown(limits, self.shared.now.steady);
        if learned != LearnedParts::default() {
            let relay = self.relay.name.clone();
            self.log(LogLine::RelayTakesFewer { relay, learned });
        }
    }

    fn run_patience(&mut self) {
        self.relay.run_patience(self.shared.now.steady, self.shared.recording.works());
    }

    /// Makes every deferred and every held message ready.
    fn try_all(&mut self) {
        self.relay.roster.wake_all(self.shared.now.steady);
        self.try_held();
    }

    /// Makes every held message ready: somebody may have corrected what it was refused for.
    fn try_held(&mut self) {
        for id in self.relay.roster.forget_senders() {
            self.put_back_held(id);
        }
        let held: Vec<QueueId> = self.relay.refusals.held().collect();
        held.into_iter().for_each(|id| _ = self.put_back_held(id));
    }

    /// Makes this message ready if it is held, with all of its patience. Returns whether it was.
    fn put_back_held(&mut self, id: QueueId) -> bool {
        let (now, roster) = (self.shared.now.steady, &mut self.relay.roster);
        let is_held = roster.is_held(id);
        if is_held {
            roster.begin_patience(id, now);
            roster.put_back(id, now);
        }
        is_held
    }
}

#[cfg(test)]
mod tests;
