//! The breaker: whether the relay may be used now, and over how many connections.
//!
//! Promises: trouble of the relay pauses it once, for every message. One connection at a time probes it after 1 s, 2 s
//! … 5 min; where nothing answers at its address, 8 s is the longest, so that mail goes on within 10 s of its return; after a
//! refused login 1, 2, 4 … 30 min; after a login that is refused for the moment (454), or has no answer,
//! no longer than 5 min. A relay that returns gets its connections one by one, not all at once.
//!
//! Invariants:
//! 1. While it is open, no connection is begun before `retry_at`, and one at a time after it.
//! 2. Trouble while other connections work is the relay's way of saying "not so many": the number of connections falls
//!    to those that work, and the relay is not paused. A refused login is the exception, since each of them would be
//!    refused.
//! 3. Every success allows one more connection, up to the configured number, and sets the next pause back to the first.
//!    After a connection that could not be opened while others worked, there is one more in each [`GROWTH`].
//! 4. `probe_now` never allows more than one connection.
//! 5. While no connection works, one is begun at a time; there are never more being opened than work already. One that
//!    takes the place of a connection that has brought mail counts as working (`connections.rs`).
//! 6. A pause ends when the relay grants what it had refused: the opening of a connection, or the answer to a
//!    transaction.
//! 8. A pause for what a reply says of a rate, a quota or the configuration lasts as long as that says; it ends when
//!    the relay has answered a transaction, however many connections it has opened. A quota without a stated end is
//!    probed after 1, 2, 4 … 25 hours, since there are blocks that each try prolongs. A time that another reply names, such as
//!    a 421, is the shortest pause; where other connections work, the relay gets no more of them before it is over.
//! 7. While only a few messages have met trouble, they alone wait for the pause. Another message is tried beside them
//!    after [`FIRST_PAUSE`] at most, however often these few meet the trouble again.
//!
//! Pure: time and spread are arguments. Not here: which replies are trouble (`relay/verdict.rs`), which part of the relay
//! does not work, and the pauses where each try costs something (`relay/fault.rs`), whose fault it is (`suspects.rs`).

use std::time::Duration;

use jiff::Timestamp;

use super::clock::later;
use super::schedule::Spread;
use super::throttle::GROWTH;
use crate::relay::{CostlyPauses, FIRST_PAUSE, FORGOTTEN_AFTER, LONGEST_PAUSE, RelayFault, WaitPause};

/// The longest pause, before its spread, while the relay cannot be reached at all. A probe is then one lookup and one SYN,
/// which costs the relay nothing, since it does not serve; as soon as it does, the pauses of the other faults hold.
const LONGEST_UNREACHABLE: Duration = Duration::from_secs(8);
/// The spread of probes, as a share of the pause. It keeps many hosts that lost the same relay at the same moment from
/// probing it together.
const PROBE_SPREAD: f64 = 0.25;

/// The breaker of one relay.
#[derive(Debug)]
pub struct Breaker {
    max_connections: usize,
    state: State,
    /// The pause that begins when the breaker opens next.
    pause: Duration,
    /// The pauses where each try costs something.
    costly: CostlyPauses,
    /// The end of the last pause, past or to come.
    last_retry_at: Timestamp,
    /// The end of the last pause whose length a reply has named that no rule has read.
    named_until: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing is known of the relay.
    Untried,
    /// The relay works, and may have as many connections as configured.
    Closed,
    /// The relay is down: nobody connects before `retry_at`, and one connection at a time after it. Messages that have
    /// not met the trouble wait no longer than until `others_at`.
    Open { retry_at: Timestamp, others_at: Timestamp, fault: RelayFault },
    /// The relay works again, or does not want so many connections: it may have `allowed`, and one more with every
    /// success after `grow_after`, which comes `every` so often.
    Limited { allowed: usize, grow_after: Timestamp, every: Duration },
}

/// The effect of trouble on the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consequence {
    /// The relay is paused from now on, until this probe.
    Paused {
        /// The time at which one connection will try again.
        retry_at: Timestamp,
    },
    /// The relay was paused already and stays so, or gets fewer connections now.
    Unremarkable,
}

impl Breaker {
    /// Returns the breaker of a relay that is not tried yet and may get `max_connections` at once.
    pub fn new(max_connections: usize) -> Self {
        Breaker {
            max_connections,
            state: State::Untried,
            pause: FIRST_PAUSE,
            costly: CostlyPauses::default(),
            last_retry_at: Timestamp::MIN,
            named_until: None,
        }
    }

    /// Returns the number of connections that may exist at `now`, if `working` of them work, `alone` of which carry one
    /// message with losses each.
    pub fn connections_allowed(&self, now: Timestamp, working: usize, alone: usize) -> usize {
        let limit = match self.state {
            State::Untried | State::Closed => self.max_connections,
            State::Open { others_at, .. } if now < others_at => 0,
            // One message at a time finds out whether the trouble is over.
            State::Open { fault, .. } if fault == RelayFault::Transaction || fault.is_wait() => 1,
            State::Open { fault: RelayFault::Suspects, .. } => self.max_connections.min(1 + alone),
            State::Open { .. } => self.max_connections.min(working + 1),
            State::Limited { allowed, .. } => self.max_connections.min(allowed),
        };
        limit.min((2 * working).max(1))
    }

    /// Returns the number of connections that the relay may have as far as it has answered: after an outage one, and one
    /// more with every success. `None` if nothing keeps them from being as many as configured.
    pub fn slope(&self) -> Option<usize> {
        match self.state {
            State::Open { .. } => Some(1),
            State::Limited { allowed, .. } => Some(allowed),
            State::Untried | State::Closed => None,
        }
    }

    /// Returns why the relay may have no more than [`slope`](Self::slope) says, in words.
    pub fn slope_reason(&self) -> Option<&'static str> {
        match self.state {
            State::Open { .. } => Some("while the relay is paused"),
            State::Limited { every: Duration::ZERO, .. } => {
                Some("since there was trouble; one more with each answer")
            }
            State::Limited { .. } => Some("since more could not be opened; one more after each five seconds"),
            State::Untried | State::Closed => None,
        }
    }

    /// Returns when the next probe is due; `None` unless the relay is paused.
    pub fn retry_at(&self) -> Option<Timestamp> {
        match self.state {
            State::Open { retry_at, .. } => Some(retry_at),
            State::Untried | State::Closed | State::Limited { .. } => None,
        }
    }

    /// Returns when messages that have not met the trouble may be tried; `None` unless the relay is paused.
    pub fn others_at(&self) -> Option<Timestamp> {
        match self.state {
            State::Open { others_at, .. } => Some(others_at),
            State::Untried | State::Closed | State::Limited { .. } => None,
        }
    }

    /// Returns whether a message that has met trouble before may be tried at `now`.
    pub fn admits_suspects(&self, now: Timestamp) -> bool {
        self.retry_at().is_none_or(|retry_at| now >= retry_at)
    }

    /// Returns whether the relay is not tried yet: it has neither answered nor failed to.
    pub fn is_untried(&self) -> bool {
        self.state == State::Untried
    }

    /// Returns whether the relay is paused by a guess, so that the patience of its messages goes on.
    pub fn is_guess(&self) -> bool {
        matches!(
            self.state,
            State::Open {
                fault: RelayFault::Quota { is_guess: true, .. }
                    | RelayFault::Configuration { is_guess: true, .. },
                ..
            }
        )
    }

    /// Returns the end of a pause that a restart does not end: for a quota, or for a time that the relay has named.
    pub fn lasting_pause(&self) -> Option<Timestamp> {
        match self.state {
            State::Open {
                retry_at,
                fault: RelayFault::Quota { is_guess: false, .. } | RelayFault::Throttled { pause: Some(_) },
                ..
            } => Some(retry_at),
            State::Open { retry_at, .. } => self.named_until.filter(|until| *until == retry_at),
            _ => None,
        }
    }

    /// Goes on with such a pause of an earlier run, until `until`.
    pub fn goes_on_pausing(&mut self, until: Timestamp) {
        let fault = RelayFault::Quota { pause: WaitPause::Stated(Duration::ZERO), is_guess: false };
        self.last_retry_at = until;
        self.state = State::Open { retry_at: until, others_at: until, fault };
    }

    /// Returns whether the relay is paused for a refused login.
    pub fn is_locked_out(&self) -> bool {
        matches!(self.state, State::Open { fault, .. } if fault.is_of_login())
    }

    /// Takes in that a connection met trouble of the relay while `working` others worked. Returns the effect.
    pub fn trouble(
        &mut self,
        now: Timestamp,
        working: usize,
        fault: RelayFault,
        spread: Spread,
    ) -> Consequence {
        let is_login = fault.is_of_all();
        match self.state {
            State::Open { retry_at, fault: RelayFault::Suspects, .. } if fault == RelayFault::Suspects => {
                let others_at = later(now, spread.apply(FIRST_PAUSE, PROBE_SPREAD));
                self.state = State::Open { retry_at: retry_at.max(others_at), others_at, fault };
                Consequence::Paused { retry_at: others_at }
            }
            State::Open { others_at, .. } if now < others_at && (self.is_locked_out() || !is_login) => {
                Consequence::Unremarkable
            }
            State::Untried | State::Closed | State::Limited { .. } if working > 0 && !is_login => {
                let is_number = matches!(fault, RelayFault::Opening | RelayFault::Unreachable);
                let every = if is_number { GROWTH } else { Duration::ZERO };
                let grow_after = later(now, self.pause.max(every));
                self.state = State::Limited { allowed: working, grow_after, every };
                Consequence::Unremarkable
            }
            _ => {
                let retry_at = self.next_retry_at(now, fault, spread);
                self.state = State::Open { retry_at, others_at: retry_at, fault };
                Consequence::Paused { retry_at }
            }
        }
    }

    /// Takes in that the trouble just met names this time for another try: none comes before, except those of messages that
    /// did not meet it where only a few have (invariant 7). Returns the effect of the trouble, of which this was `met`.
    pub fn names_time(&mut self, now: Timestamp, named: Duration, met: Consequence) -> Consequence {
        let until = later(now, named);
        match &mut self.state {
            State::Open { retry_at, others_at, fault } => {
                *retry_at = until.max(*retry_at);
                if *fault != RelayFault::Suspects {
                    *others_at = *retry_at;
                    self.named_until = Some(until);
                }
                self.last_retry_at = *retry_at;
                match met {
                    Consequence::Paused { .. } => Consequence::Paused { retry_at: *others_at },
                    Consequence::Unremarkable => met,
                }
            }
            State::Limited { grow_after, .. } => {
                *grow_after = until.max(*grow_after);
                met
            }
            State::Untried | State::Closed => met,
        }
    }

    /// Takes in that a message met the trouble that it had met before, which says nothing new about the relay.
    pub fn trouble_again(&mut self, now: Timestamp, spread: Spread) {
        let State::Open { retry_at, others_at, fault } = self.state else { return };
        if now < retry_at {
            return;
        }
        let retry_at = self.next_retry_at(now, fault, spread);
        let others_at = if fault == RelayFault::Suspects { others_at } else { retry_at };
        self.state = State::Open { retry_at, others_at, fault };
    }

    fn next_retry_at(&mut self, now: Timestamp, fault: RelayFault, spread: Spread) -> Timestamp {
        let pause = self.next_pause(now, fault);
        // What a reply says is not too long.
        let spread = if fault.is_wait() { pause } else { spread.apply(pause, PROBE_SPREAD) };
        self.last_retry_at = later(now, spread);
        self.last_retry_at
    }

    /// Returns the length of the pause that begins now, and makes the next one longer.
    fn next_pause(&mut self, now: Timestamp, fault: RelayFault) -> Duration {
        if now > later(self.last_retry_at, FORGOTTEN_AFTER) {
            (self.pause, self.costly) = (FIRST_PAUSE, CostlyPauses::default());
        }
        if let Some(pause) = self.costly.next(fault) {
            return pause;
        }
        let longest = if fault == RelayFault::Unreachable { LONGEST_UNREACHABLE } else { LONGEST_PAUSE };
        let pause = self.pause.min(longest);
        self.pause = (pause * 2).min(longest);
        pause
    }

    /// Takes in that a connection has been opened: the relay was reached, proved its identity, and accepted the login.
    pub fn reached(&mut self, now: Timestamp) {
        match self.state {
            State::Untried => self.state = State::Closed,
            State::Open {
                fault:
                    RelayFault::Unreachable
                    | RelayFault::Opening
                    | RelayFault::Login { .. }
                    | RelayFault::LoginUnanswered,
                ..
            } => {
                self.costly.logged_in();
                self.allow(1, now, Duration::ZERO);
            }
            State::Open { fault: RelayFault::Configuration { is_login: true, .. }, .. } => {
                self.costly = CostlyPauses::default();
                self.allow(1, now, Duration::ZERO);
            }
            State::Open { .. } | State::Closed | State::Limited { .. } => {}
        }
    }

    /// Takes in that the relay has answered a transaction, whatever it said of the message.
    pub fn success(&mut self, now: Timestamp) {
        self.pause = FIRST_PAUSE;
        self.costly.answered();
        if !self.is_locked_out() {
            self.costly.logged_in();
        }
        match self.state {
            // The answer came over a connection from before the refused login.
            State::Open { fault, .. } if fault.is_of_login() => {}
            State::Untried | State::Open { .. } => self.allow(1, now, Duration::ZERO),
            State::Limited { allowed, grow_after, every } if now >= grow_after => {
                self.allow(allowed, now, every);
            }
            State::Limited { .. } | State::Closed => {}
        }
    }

    /// Takes in that the pause is for a few messages only (invariant 7): others are tried soon, whenever they come. It does
    /// nothing to a pause that is no guess.
    pub fn spares_others(&mut self, now: Timestamp) {
        if !self.is_guess() {
            return;
        }
        if let State::Open { retry_at, others_at, .. } = &mut self.state {
            *others_at = later(now, FIRST_PAUSE).min(*retry_at);
        }
    }

    /// Makes the next probe due now, since somebody wants to know at once (`flush`, SIGUSR1).
    pub fn probe_now(&mut self, now: Timestamp) {
        if let State::Open { retry_at, others_at, .. } = &mut self.state {
            (*retry_at, *others_at) = (now.min(*retry_at), now.min(*others_at));
        }
    }

    /// Follows a changed configuration, and forgets everything about the relay.
    pub fn reconfigure(&mut self, max_connections: usize) {
        *self = Breaker::new(max_connections);
    }

    fn allow(&mut self, working: usize, now: Timestamp, every: Duration) {
        self.state = if working >= self.max_connections {
            State::Closed
        } else {
            State::Limited { allowed: working + 1, grow_after: later(now, every), every }
        };
    }
}

#[cfg(test)]
mod tests;
