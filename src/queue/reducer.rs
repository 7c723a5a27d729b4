//! What the queue does when something happens: a function of what it knows, what came, and the time.
//!
//! Promises: [`Reducer::on`] takes in one [`Event`] and says what is to be done as [`Effect`]s, in order. It waits for
//! nothing, and the same events at the same times give the same effects.
//!
//! Invariants (of `queue/mod.rs`, as far as they are decided here):
//! 1. A message is given out only while it is ready, and is under way until [`Event::Became`] or [`Event::Missed`].
//! 2. A message leaves the roster only by [`Disposition::Removed`].
//! 3. No connection is begun while `max-connections` exist, nor while the spool does not record, nor behind
//!    [`Event::Stop`].
//! 4. An event that asks is answered once, at once; a connection that wants a message, once.
//!
//! Pure: no task, disk, clock or log. Not here: carrying out what is to be done (`owner.rs`), what is known of the relay
//! (`relay_state.rs`) and of the messages (`roster.rs`).

mod dispatch;
mod event;
mod figures;
mod judge;
mod outcomes;
mod trouble;

use std::time::Duration;

use fastrand::Rng;
use jiff::Timestamp;

use super::clock::{Moment, later};
use super::recording::Recording;
use super::relay_clock::RelayClock;
use super::relay_state::{Passage, RelayState};
use super::roster::{Roster, Standing};
use super::schedule::{RetryPolicy, Spread};
use crate::queue_id::QueueId;
use crate::spool::{Entry, EntryState, Flight};
pub(super) use event::{Answer, Disposition, Effect, Event, Line, Policy};

/// The longest that nothing is done: a message that arrives is stamped with the relay clock as the spool was told it
/// last, and loses of its patience what that is behind.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// The queue's state.
pub(super) struct Reducer {
    roster: Roster,
    relay: RelayState,
    retry: RetryPolicy,
    has_null_sender: bool,
    recording: Recording,
    /// Where spreads are drawn from.
    random: Rng,
    last_client_probe: Option<Timestamp>,
    /// Set once: no more messages are given out, and when those under way are cut off.
    stop_by: Option<Timestamp>,
    /// What the spool was last told.
    told_clock: Option<u32>,
    /// When the event at hand came.
    now: Moment,
    /// What is to be done for it.
    effects: Vec<Effect>,
}

impl Reducer {
    /// The state after a start in which recovery found these `entries` and this relay clock; the relay has taken a message
    /// in an earlier run if `has_taken`.
    pub(super) fn new(
        policy: Policy,
        has_taken: bool,
        entries: &[Entry],
        relay_clock: u32,
        random: Rng,
        now: Moment,
    ) -> Self {
        let mut roster = Roster::default();
        for entry in entries {
            roster.admit(entry, now.steady);
        }
        let is_held = |entry: &&Entry| entry.marks.state() == EntryState::Held;
        let held = entries.iter().filter(is_held).map(|entry| entry.id);
        let clock = RelayClock::starting_at(relay_clock, now.steady);
        let relay = RelayState::new(policy.refusals, policy.max_connections, has_taken, held, clock);
        relay.refusals.held().for_each(|id| roster.put_back(id, now.steady));
        Reducer {
            roster,
            relay,
            retry: policy.retry,
            has_null_sender: policy.has_null_sender,
            recording: Recording::default(),
            random,
            last_client_probe: None,
            stop_by: None,
            told_clock: None,
            now,
            effects: Vec::new(),
        }
    }

    /// Takes in what came at `now`, and adds what is to be done to `effects`.
    pub(super) fn on(&mut self, event: Event, now: Moment, effects: &mut Vec<Effect>) {
        self.now = now;
        std::mem::swap(&mut self.effects, effects);
        self.meet(event);
        std::mem::swap(&mut self.effects, effects);
    }

    fn meet(&mut self, event: Event) {
        match event {
            Event::Arrived(entry) => self.roster.admit(&entry, self.now.steady),
            Event::Wanted { connection, wait } => self.wanted(connection, wait),
            Event::Missed(id) => self.missed(id),
            Event::Answered(connection) => self.answered(connection),
            Event::TakenByRelay { connection, is_from_null } => self.taken(connection, is_from_null),
            Event::Refused { connection, refusal } => {
                let ruling = self.judge(connection, &refusal);
                self.answer(Answer::Ruling(ruling));
            }
            Event::Left { connection, id } => {
                let is_excused = self.left(connection, id);
                self.answer(Answer::IsExcused(is_excused));
            }
            Event::Lost { connection, id, in_doubt } => self.lost(connection, id, in_doubt),
            Event::DuplicateTold(id) => {
                self.roster.update(id, |member| member.marks.set_flight(Flight::Told))
            }
            Event::Unrecorded { id, why } => self.unrecorded(id, why),
            Event::Unmarked { id, why } => self.unmarked(id, why),
            Event::Recordable => self.recordable(),
            Event::Became { id, disposition } => self.became(id, disposition),
            Event::Ended { connection, trouble } => self.ended(connection, trouble),
            Event::SecretChanged => self.relay.breaker.probe_now(self.now.steady),
            Event::ProbeNow => self.probe_now(),
            Event::ProbeForClient => {
                let too_soon = self.probe_for_client();
                self.answer(Answer::Probe(too_soon));
            }
            Event::Reconfigured { policy, has_taken } => self.reconfigure(*policy, has_taken),
            Event::Standings(ids) => self.answer(Answer::Standings(self.standings(ids))),
            Event::Status => self.answer(Answer::Status(Box::new(self.status()))),
            Event::Stop { patience } => self.stop(patience),
            Event::Tick => self.tick(),
        }
    }

    fn answer(&mut self, answer: Answer) {
        self.effects.push(Effect::Answer(answer));
    }

    fn log(&mut self, line: Line) {
        self.effects.push(Effect::Log(Box::new(line)));
    }

    fn draw(&mut self) -> Spread {
        Spread::new(self.random.f64() * 2.0 - 1.0)
    }

    /// Whether messages may be given out.
    fn is_sending(&self) -> bool {
        self.stop_by.is_none() && self.recording.works()
    }

    /// Whether everything has been told to stop and has: no connection exists, and nothing is under way.
    pub(super) fn has_stopped(&self) -> bool {
        self.stop_by.is_some() && self.roster.under_way() == 0 && self.relay.connections.len() == 0
    }

    /// Whether what is left may be left behind: it was to stop before now, and nobody is with a message but as many
    /// `settlements` as the spool does not record.
    pub(super) fn may_end(&self, now: Moment, settlements: usize) -> bool {
        let is_over = self.stop_by.is_some_and(|deadline| now.steady >= deadline);
        is_over && self.relay.connections.len() == 0 && settlements <= self.recording.unrecorded()
    }

    fn tick(&mut self) {
        self.tell_clock();
        self.tell_flickers();
        if self.is_sending() {
            self.dispatch();
        } else if self.stop_by.is_some_and(|deadline| self.now.steady >= deadline) {
            let all = self.relay.connections.cut_off();
            self.effects.extend(all.map(Effect::CutOff));
        }
    }

    /// What arrives from now on is stamped with this by the spool.
    fn tell_clock(&mut self) {
        let clock = self.relay.clock.at(self.now.steady);
        if self.told_clock.replace(clock) != Some(clock) {
            self.effects.push(Effect::SetRelayClock(clock));
        }
    }

    /// The pauses that were not told one by one are told together.
    fn tell_flickers(&mut self) {
        if let Some(times) = self.relay.flickers.counted(self.now.steady) {
            self.log(Line::RelayFlickered { times, live: self.roster.len() });
        }
    }

    /// Notes whether the breaker lets anything through.
    fn follow_breaker(&mut self) {
        if self.relay.follow_breaker(self.now.steady, self.recording.works()) == Passage::Resumed {
            if self.relay.flickers.ends() {
                self.log(Line::RelayResumed { live: self.roster.len() });
            }
            self.effects.push(Effect::ForgetSecret);
        }
    }

    fn run_relay_clock(&mut self) {
        self.relay.run_clock(self.now.steady, self.recording.works());
    }

    fn reconfigure(&mut self, policy: Policy, has_taken: bool) {
        let waited = self.relay.reconfigure(policy.refusals, policy.max_connections, has_taken);
        (self.retry, self.has_null_sender) = (policy.retry, policy.has_null_sender);
        self.effects.push(Effect::ForgetSecret);
        self.run_relay_clock();
        self.let_connections_go();
        self.try_held();
        waited.into_iter().for_each(|id| self.ask_once_more(id));
    }

    fn stop(&mut self, patience: Duration) {
        self.stop_by = Some(later(self.now.steady, patience));
        self.let_connections_go();
    }

    /// Makes every deferred and every held message ready.
    fn try_all(&mut self) {
        self.roster.wake_all(self.now.steady);
        self.try_held();
    }

    /// Makes every held message ready: somebody may have mended what it was refused for.
    fn try_held(&mut self) {
        let is_held = |id: &QueueId| self.roster.member(*id).is_some_and(|m| m.standing == Standing::Held);
        let held: Vec<QueueId> = self.relay.refusals.held().filter(is_held).collect();
        held.into_iter().for_each(|id| self.roster.put_back(id, self.now.steady));
    }

    /// When the last event came.
    pub(super) fn now(&self) -> Moment {
        self.now
    }

    /// How long nothing changes by itself.
    pub(super) fn until_next_change(&self, now: Moment) -> Duration {
        let now = now.steady;
        let has_ready = self.roster.ready() > 0 || self.roster.has_lost();
        let [others, probe] = [self.relay.breaker.others_at(), self.relay.breaker.retry_at()]
            .map(|probe| probe.filter(|probe| has_ready && *probe > now));
        let due = self.roster.next_due().filter(|_| self.is_sending());
        let deadline = self.stop_by.filter(|deadline| *deadline > now);
        let next = [deadline, due, others, probe, self.relay.flickers.due()].into_iter().flatten().min();
        match next {
            Some(next) => Duration::try_from(next.duration_since(now)).unwrap_or_default().min(LONGEST_SLEEP),
            None => LONGEST_SLEEP,
        }
    }
}

#[cfg(test)]
mod tests;
