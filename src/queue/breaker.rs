//! The breaker: whether, and how widely, the relay may be used now.
//!
//! Promises: relay-wide trouble pauses the relay once, for every message; one connection at a time
//! probes it after 1 s, 2 s … 5 min; a relay that returns is met by a slope, not by everybody at once.
//!
//! Invariants:
//! 1. While open, no connection is allowed before `retry_at`, and exactly one after it.
//! 2. Trouble met while other connections are working is the relay's way of saying "not so many":
//!    it lowers the allowance to what works and opens nothing.
//! 3. Every success adds one connection to the allowance, up to the configured number.
//! 4. `probe_now` never allows more than one connection.
//!
//! Pure: time and spread are arguments. Not here: what counts as trouble (`relay/verdict.rs`).

use std::time::Duration;

use jiff::Timestamp;

use super::clock::later;
use super::schedule::Spread;

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// Probes of a fleet of hosts that lost the same relay at the same moment drift apart.
const PROBE_SPREAD: f64 = 0.25;

/// The breaker of one relay.
#[derive(Debug)]
pub struct Breaker {
    max_connections: usize,
    state: State,
    /// The pause that the next opening starts with; back to [`FIRST_PAUSE`] once fully closed.
    pause: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The relay works; as many connections as configured.
    Closed,
    /// The relay is down; nobody connects before `retry_at`, one connection after it.
    Open { retry_at: Timestamp },
    /// The relay works again, or does not want so many: `allowed` connections, growing with every
    /// success that comes after `grow_after`.
    Limited { allowed: usize, grow_after: Timestamp },
}

/// What a report of trouble has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The relay is paused from now on, until this probe.
    Paused {
        /// When one connection will try again.
        retry_at: Timestamp,
    },
    /// The relay was paused already and stays so, or takes fewer connections now.
    Unremarkable,
}

impl Breaker {
    /// A closed breaker for a relay that may be given `max_connections` at once.
    pub fn new(max_connections: usize) -> Self {
        Breaker { max_connections, state: State::Closed, pause: FIRST_PAUSE }
    }

    /// How many connections may exist at `now`.
    pub fn connections_allowed(&self, now: Timestamp) -> usize {
        match self.state {
            State::Closed => self.max_connections,
            State::Open { retry_at } => usize::from(now >= retry_at),
            State::Limited { allowed, .. } => allowed.min(self.max_connections),
        }
    }

    /// When the next probe is due; `None` unless the relay is paused.
    pub fn retry_at(&self) -> Option<Timestamp> {
        match self.state {
            State::Open { retry_at } => Some(retry_at),
            State::Closed | State::Limited { .. } => None,
        }
    }

    /// A connection met relay-wide trouble while `working` others went on.
    pub fn trouble(&mut self, now: Timestamp, working: usize, spread: Spread) -> Effect {
        match self.state {
            State::Open { retry_at } if now < retry_at => Effect::Unremarkable,
            _ if working > 0 => {
                self.state = State::Limited { allowed: working, grow_after: later(now, self.pause) };
                Effect::Unremarkable
            }
            _ => {
                let retry_at = later(now, spread.apply(self.pause, PROBE_SPREAD));
                self.state = State::Open { retry_at };
                self.pause = (self.pause * 2).min(LONGEST_PAUSE);
                Effect::Paused { retry_at }
            }
        }
    }

    /// The relay has answered a transaction, whatever it said of the message.
    pub fn success(&mut self, now: Timestamp) {
        match self.state {
            State::Open { .. } => self.allow(1, now),
            State::Limited { allowed, grow_after } if now >= grow_after => self.allow(allowed, now),
            State::Limited { .. } | State::Closed => {}
        }
    }

    /// Somebody wants to know at once (`flush`, ETRN, SIGUSR1): the next probe is due now.
    pub fn probe_now(&mut self, now: Timestamp) {
        if let State::Open { retry_at } = &mut self.state {
            *retry_at = now.min(*retry_at);
        }
    }

    /// Takes over a changed configuration, and forgets what the old relay did.
    pub fn reconfigure(&mut self, max_connections: usize) {
        *self = Breaker::new(max_connections);
    }

    fn allow(&mut self, working: usize, now: Timestamp) {
        if working >= self.max_connections {
            self.state = State::Closed;
            self.pause = FIRST_PAUSE;
        } else {
            self.state = State::Limited { allowed: working + 1, grow_after: now };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    /// Opens the breaker at `second` and says how long the pause is.
    fn pause_after_trouble(breaker: &mut Breaker, second: i64) -> i64 {
        match breaker.trouble(at(second), 0, Spread::NONE) {
            Effect::Paused { retry_at } => retry_at.as_second() - at(second).as_second(),
            Effect::Unremarkable => panic!("not paused at {second}"),
        }
    }

    #[test]
    fn pauses_double_from_a_second_to_five_minutes() {
        let mut breaker = Breaker::new(20);
        let mut now = 0;
        let mut pauses = Vec::new();
        for _ in 0..11 {
            let pause = pause_after_trouble(&mut breaker, now);
            pauses.push(pause);
            now += pause;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    }

    #[test]
    fn invariant_1_nobody_before_the_probe_and_one_for_it() {
        let mut breaker = Breaker::new(20);
        pause_after_trouble(&mut breaker, 0);
        assert_eq!(breaker.connections_allowed(at(0)), 0);
        assert_eq!(breaker.connections_allowed(at(1)), 1);
        assert_eq!(breaker.connections_allowed(at(1000)), 1);
    }

    #[test]
    fn stragglers_of_the_same_outage_do_not_lengthen_the_pause() {
        let mut breaker = Breaker::new(20);
        pause_after_trouble(&mut breaker, 0);
        for _ in 0..19 {
            assert_eq!(breaker.trouble(at(0), 0, Spread::NONE), Effect::Unremarkable);
        }
        assert_eq!(pause_after_trouble(&mut breaker, 1), 2);
    }

    #[test]
    fn invariant_2_trouble_beside_working_connections_only_lowers_the_allowance() {
        let mut breaker = Breaker::new(20);
        assert_eq!(breaker.trouble(at(0), 10, Spread::NONE), Effect::Unremarkable);
        assert_eq!(breaker.connections_allowed(at(0)), 10);
        breaker.success(at(0));
        assert_eq!(breaker.connections_allowed(at(0)), 10, "no growth at once");
        breaker.success(at(2));
        assert_eq!(breaker.connections_allowed(at(2)), 11);
    }

    #[test]
    fn when_the_last_working_connection_fails_the_relay_is_paused() {
        let mut breaker = Breaker::new(20);
        for working in (1..20).rev() {
            assert_eq!(breaker.trouble(at(0), working, Spread::NONE), Effect::Unremarkable);
        }
        assert_eq!(pause_after_trouble(&mut breaker, 0), 1);
    }

    #[test]
    fn invariant_3_a_returning_relay_is_met_by_a_slope() {
        let mut breaker = Breaker::new(4);
        pause_after_trouble(&mut breaker, 0);
        breaker.success(at(1));
        assert_eq!(breaker.retry_at(), None, "the pause is over");
        let mut allowed = vec![breaker.connections_allowed(at(1))];
        for _ in 0..3 {
            breaker.success(at(1));
            allowed.push(breaker.connections_allowed(at(1)));
        }
        assert_eq!(allowed, [2, 3, 4, 4]);
    }

    #[test]
    fn a_relay_that_fails_on_the_slope_goes_on_with_the_longer_pause() {
        let mut breaker = Breaker::new(20);
        pause_after_trouble(&mut breaker, 0);
        breaker.success(at(1));
        assert_eq!(pause_after_trouble(&mut breaker, 2), 2);
    }

    #[test]
    fn a_closed_breaker_starts_again_with_a_second() {
        let mut breaker = Breaker::new(1);
        pause_after_trouble(&mut breaker, 0);
        pause_after_trouble(&mut breaker, 1);
        breaker.success(at(3));
        assert_eq!(pause_after_trouble(&mut breaker, 4), 1);
    }

    #[test]
    fn invariant_4_an_impatient_probe_is_one_connection() {
        let mut breaker = Breaker::new(20);
        pause_after_trouble(&mut breaker, 0);
        breaker.probe_now(at(0));
        assert_eq!(breaker.connections_allowed(at(0)), 1);
        let mut closed = Breaker::new(3);
        closed.probe_now(at(0));
        assert_eq!(closed.connections_allowed(at(0)), 3);
    }

    #[test]
    fn probes_of_a_fleet_drift_apart() {
        let pause = |draw| {
            let mut breaker = Breaker::new(1);
            breaker.trouble(at(0), 0, Spread::new(draw));
            breaker.retry_at().unwrap().duration_since(at(0)).as_millis()
        };
        assert_eq!((pause(-1.0), pause(1.0)), (750, 1250));
    }
}
