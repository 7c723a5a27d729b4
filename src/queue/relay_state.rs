//! The queue's knowledge of one relay; `relays.rs` holds the relays by their names.
//!
//! Promises: everything that the behaviour of one relay affects is in one value: its messages and their lanes, whether
//! and how widely it may be used (breaker, throttle), its connections, the meaning of its refusals, whose fault its
//! trouble is, and the clock that measures the patience of its messages. What another relay does changes nothing here.
//!
//! Invariants:
//! 1. No connection is begun beyond `max_connections`, nor beyond the number that breaker and throttle allow.
//! 2. Patience stands still while the breaker lets nothing through (unless that follows from a guess), while an operator
//!    has paused delivery, and while the spool does not record; for which messages it runs otherwise says `patience.rs`.
//! 3. After a reload nothing is left of what the relay did under the earlier settings, except for the messages that it
//!    has held, the connections that still finish their work, and what is used of its rates.
//! 4. No message is given out faster than the configured rates and the one that the relay has asked for allow.
//!
//! Pure: time is an argument. Not here: which message is next (`reducer/dispatch.rs`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::Timestamp;

use super::breaker::Breaker;
use super::clock::Moment;
use super::connections::Connections;
use super::flickers::Flickers;
use super::noted_pause::{noted, pause_in, reason_in, with_reason};
use super::part_limits::RelayParts;
use super::patience::PatienceOf;
use super::rate::Rates;
use super::reducer::RelayPolicy;
use super::refusals::Refusals;
use super::refusals::guesses::Guesses;
use super::refusals::want_of_login::WantOfLogin;
use super::roster::{Aside, Member, Roster, Standing};
use super::soundings::Soundings;
use super::suspects::Suspects;
use super::throttle::Throttle;
use super::{ConnectionId, RelayPlace};
use crate::queue_id::QueueId;
use crate::relay::{Cause, Phase, Trouble};
use crate::standing_orders::Pause;

/// What is said of the reason for a pause whose note is of a version that noted none.
const UNKNOWN_REASON: &str = "for a quota or a time that it named; the log of that time has its words";

/// The queue's knowledge of one relay.
pub(super) struct RelayState {
    /// The place of the relay in the settings in force. That of a relay which they do not name any more is not used: all
    /// of its connections are outdated.
    pub(super) place: RelayPlace,
    /// The name of the route that leads to the relay; `None` for the relay that gets what no route takes.
    pub(super) route: Option<String>,
    /// The name of the relay: its hosts, and our user name there. The spool files what it remembers of the relay under
    /// this name.
    pub(super) name: String,
    /// The number of connections that may exist, by configuration.
    pub(super) max_connections: usize,
    /// The messages that this relay gets.
    pub(super) roster: Roster,
    pub(super) breaker: Breaker,
    pub(super) throttle: Throttle,
    pub(super) rates: Rates,
    pub(super) parts: RelayParts,
    pub(super) connections: Connections,
    /// The connections that wait for a message.
    pub(super) idle: VecDeque<ConnectionId>,
    pub(super) refusals: Refusals,
    pub(super) want_of_login: WantOfLogin,
    pub(super) guesses: Guesses,
    pub(super) suspects: Suspects,
    /// The messages during which the last connection that was lost was given up for a reply that is too long.
    pub(super) met_overlong: BTreeSet<QueueId>,
    /// The messages under way that alone were told a time for another try, by a reply that ended the connection.
    pub(super) told_alone: BTreeMap<QueueId, Timestamp>,
    pub(super) soundings: Soundings,
    pub(super) flickers: Flickers,
    /// The time at which the breaker began to let nothing through; `None` if it lets something through. The log has
    /// said so.
    pub(super) paused_since: Option<Timestamp>,
    /// The end of the pause that the note on the spool has.
    pub(super) noted_pause: Option<Timestamp>,
    /// The end of a pause that an earlier run began and the log has not told of yet.
    pub(super) earlier_pause: Option<Timestamp>,
    /// The last trouble, until the relay answers a transaction.
    pub(super) trouble: Option<Trouble>,
    /// Number of connections since the start that were found to work.
    pub(super) reached: u64,
    pub(super) troubles: u64,
    /// The pause of delivery to this relay that an operator has ordered.
    pub(super) halted_by: Option<Pause>,
}

/// The change that was found when the breaker was followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passage {
    /// The relay had been paused, and is usable again.
    Resumed,
    /// Nothing that the log says.
    Same,
}

impl RelayState {
    /// Returns a relay that is not tried yet.
    pub(super) fn new(place: RelayPlace, policy: RelayPolicy, now: Moment) -> Self {
        let RelayPolicy { route, max_connections, parts, rates, rates_record, refusals, has_taken } = policy;
        RelayState {
            place,
            route,
            name: refusals.relay.clone(),
            max_connections,
            roster: Roster::default(),
            breaker: Breaker::new(max_connections),
            throttle: Throttle::default(),
            rates: Rates::new(&rates, &rates_record, now),
            parts: RelayParts::new(parts),
            connections: Connections::default(),
            idle: VecDeque::new(),
            refusals: Refusals::new(refusals, has_taken),
            want_of_login: WantOfLogin::default(),
            guesses: Guesses::default(),
            suspects: Suspects::default(),
            met_overlong: BTreeSet::new(),
            told_alone: BTreeMap::new(),
            soundings: Soundings::default(),
            flickers: Flickers::default(),
            paused_since: None,
            noted_pause: None,
            earlier_pause: None,
            trouble: None,
            reached: 0,
            troubles: 0,
            halted_by: None,
        }
    }

    /// Goes on with the pause that `note` has of an earlier run, if it has one.
    pub(super) fn goes_on_pausing(&mut self, note: &str, now: Moment) {
        let Some(until) = pause_in(note, now) else { return };
        (self.noted_pause, self.earlier_pause) = (Some(until), Some(until));
        self.breaker.goes_on_pausing(until);
        self.paused_since = Some(now.steady);
        // A note of an older version has no reason.
        let unknown = || Cause::BeforeRestart { class: None, said: UNKNOWN_REASON.into() };
        let cause = reason_in(note).unwrap_or_else(unknown);
        self.trouble = Some(Trouble { phase: Phase::Mail, peer: None, cause });
    }

    /// Returns what is to be remembered over a restart, where that has changed by a pause that begins or ends.
    pub(super) fn changed_note(&mut self, now: Moment) -> Option<String> {
        let pause = self.breaker.lasting_pause();
        (std::mem::replace(&mut self.noted_pause, pause) != pause).then(|| self.note(now))
    }

    /// Returns what is to be remembered over a restart.
    pub(super) fn note(&self, now: Moment) -> String {
        let pause = self.breaker.lasting_pause();
        let note = noted(self.rates.record(now), pause, now);
        match pause.and(self.trouble.as_ref()) {
            Some(trouble) => with_reason(&note, trouble),
            None => note,
        }
    }

    /// Follows a changed configuration, by which this may be another relay: nothing is known of it yet. Returns the
    /// messages that waited for a login.
    pub(super) fn reconfigure(&mut self, policy: RelayPolicy, now: Moment) -> Vec<QueueId> {
        let RelayPolicy { route, max_connections, parts, rates, rates_record, refusals, has_taken } = policy;
        self.route = route;
        if self.name == refusals.relay {
            self.rates.reconfigure(&rates, now);
        } else {
            self.rates = Rates::new(&rates, &rates_record, now);
        }
        (self.name, self.max_connections) = (refusals.relay.clone(), max_connections);
        self.breaker.reconfigure(max_connections);
        self.throttle = Throttle::default();
        self.parts = RelayParts::new(parts);
        (self.suspects, self.soundings) = (Suspects::default(), Soundings::default());
        (self.paused_since, self.trouble, self.flickers) = (None, None, Flickers::default());
        self.earlier_pause = None;
        self.connections.outdate();
        self.guesses = Guesses::default();
        self.met_overlong.clear();
        self.told_alone.clear();
        self.refusals.reconfigure(refusals, has_taken);
        self.want_of_login.reset()
    }

    /// Forgets a message that this relay does not get any more, and returns what was remembered of it.
    pub(super) fn forget(&mut self, id: QueueId) -> Option<(QueueId, Member)> {
        self.forget_met(id);
        self.want_of_login.forget(id);
        self.met_overlong.remove(&id);
        self.told_alone.remove(&id);
        self.roster.expel(id)
    }

    /// Makes a message ready that an operator has released: it counts as held once, and has all of its patience.
    pub(super) fn release(&mut self, id: QueueId, now: Timestamp) {
        self.refusals.held_before([id]);
        self.roster.begin_patience(id, now);
        self.roster.put_back(id, now);
    }

    /// Makes a message ready that is deferred or held here. Returns whether it was.
    pub(super) fn retry(&mut self, id: QueueId, now: Timestamp) -> bool {
        let is_held = self.roster.is_held(id);
        let standing = self.roster.member(id).map(|member| member.standing);
        let is_deferred =
            matches!(standing, Some(Standing::Waiting(_) | Standing::Elsewhere(Aside::Waiting(_))));
        if is_held {
            self.roster.begin_patience(id, now);
        }
        if is_held || is_deferred {
            self.roster.try_anyway(id, now);
        }
        is_held || is_deferred
    }

    /// Forgets what this message has met here, which would say something of its next attempts.
    pub(super) fn forget_met(&mut self, id: QueueId) {
        self.refusals.forget(id);
        self.guesses.forget(id);
        self.throttle.forget(id);
    }

    /// Notes whether the breaker lets anything through now.
    pub(super) fn follow_breaker(&mut self, now: Timestamp, is_recording: bool) -> Passage {
        let was_paused = self.is_paused();
        let is_paused = self.breaker.retry_at().is_some();
        self.paused_since = is_paused.then(|| self.paused_since.unwrap_or(now));
        self.run_patience(now, is_recording);
        if was_paused && !is_paused {
            self.trouble = None;
            return Passage::Resumed;
        }
        Passage::Same
    }

    /// Lets patience run for the messages of which it is to run now: this is the only place that decides so.
    pub(super) fn run_patience(&mut self, now: Timestamp, is_recording: bool) {
        let patience = match () {
            () if !is_recording || self.is_halted() => PatienceOf::None,
            () if self.breaker.is_guess() => PatienceOf::All,
            () if self.uses_patience_of_deferred() => PatienceOf::Deferred,
            () => PatienceOf::None,
        };
        self.roster.run_patience(patience, now);
    }

    /// Returns whether what the relay is like uses up the patience of a message that is deferred.
    pub(super) fn uses_patience_of_deferred(&self) -> bool {
        !self.is_halted() && (self.breaker.is_guess() || !self.is_paused())
    }

    /// Returns whether no message waits here but those that are deferred, or patience runs for all: only then goes the
    /// spool's clock on, by which every message on the spool may be older after a restart.
    pub(super) fn uses_patience_of_all(&self) -> bool {
        !self.is_halted() && (self.breaker.is_guess() || !self.is_paused() && self.roster.ready() == 0)
    }

    /// Returns whether the breaker lets nothing through.
    pub(super) fn is_paused(&self) -> bool {
        self.paused_since.is_some()
    }

    /// Returns whether an operator has paused delivery to it.
    pub(super) fn is_halted(&self) -> bool {
        self.halted_by.is_some()
    }

    /// Takes in that the relay has answered a transaction, whatever it said of the message.
    pub(super) fn answered(&mut self) {
        self.reached += 1;
        self.suspects.relay_answered();
        self.soundings.relay_answered();
    }

    /// Returns whether one more connection may be begun, and has a message to carry.
    pub(super) fn may_connect(&self, now: Timestamp) -> bool {
        let wanted = self.throttle.connections_allowed(self.max_connections);
        let (trusted, alone) = (self.connections.trusted(), self.connections.alone());
        let allowed = self.breaker.connections_allowed(now, trusted, alone).min(wanted);
        let lost = usize::from(self.roster.has_lost() && self.may_try_lost(now));
        self.connections.current() < allowed
            && self.left_by_rate(now) > self.connections.opening()
            && self.connections.len() < self.max_connections
            && self.roster.ready() + lost > self.connections.opening()
    }

    /// Returns when the next message may begin by the rates; a time that is past if it may now.
    pub(super) fn next_by_rate(&self) -> Timestamp {
        self.rates.next().max(self.throttle.next())
    }

    /// Returns the number of messages that may begin at `now` by the rates.
    pub(super) fn left_by_rate(&self, now: Timestamp) -> usize {
        let told = if self.throttle.next() > now { 0 } else { self.throttle.left(now) };
        self.rates.left(now).min(told)
    }

    /// Takes in that a transaction begins at `now`. Returns whether what is remembered of the rates has changed.
    pub(super) fn begins(&mut self, now: Timestamp) -> bool {
        self.throttle.begins(now);
        self.rates.begins(now)
    }

    /// Returns whether one more message with losses may be tried.
    pub(super) fn may_try_lost(&self, now: Timestamp) -> bool {
        self.connections.may_be_alone(self.max_connections) && self.breaker.admits_suspects(now)
    }

    /// Returns whether a connection is being opened, or is about to end and make room for one.
    pub(super) fn has_coming(&self) -> bool {
        self.connections.opening() + self.connections.leaving() > 0
    }

    /// Returns whether this connection belongs to earlier settings, so that nothing that happens on it counts.
    pub(super) fn is_outdated(&self, connection: ConnectionId) -> bool {
        self.connections.is_outdated(connection)
    }
}
