//! How much one client may ask of the listener: sessions in all, sessions per user, messages per user
//! and minute.
//!
//! Promises:
//! 1. A [`Permit`] is one session counted; its drop counts it out, however the session ended.
//! 2. A user's rate is a token bucket: a burst of a whole minute's messages, then an even flow. It
//!    outlives the user's sessions, so hanging up does not refill it, nor does a reload that keeps the rate.
//! 3. Memory stays bounded: a user with no session and a full bucket is forgotten.
//!
//! Only users that the kernel vouches for have limits of their own; loopback TCP clients share the limit
//! on sessions in all. Fails: the session gets 421, the message 451, nothing is queued. Time is an argument.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::config;
use crate::listener::peer::Peer;

/// So many users are remembered before the idle ones are forgotten.
const REMEMBERED_USERS: usize = 256;

/// A bucket of tokens that fills by itself, in a minute.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    fn full(per_minute: u32, now: Instant) -> Self {
        Bucket { tokens: f64::from(per_minute), filled: now }
    }

    /// What it holds now.
    fn level(&self, per_minute: u32, now: Instant) -> f64 {
        let minutes = now.saturating_duration_since(self.filled).as_secs_f64() / 60.0;
        let capacity = f64::from(per_minute);
        (self.tokens + minutes * capacity).min(capacity)
    }

    fn take(&mut self, per_minute: u32, now: Instant) -> bool {
        let level = self.level(per_minute, now);
        if level < 1.0 {
            return false;
        }
        *self = Bucket { tokens: level - 1.0, filled: self.filled.max(now) };
        true
    }

    fn is_full(&self, per_minute: u32, now: Instant) -> bool {
        self.level(per_minute, now) >= f64::from(per_minute)
    }
}

/// What is allowed; zero is never meant as "no limit".
#[derive(Clone, Copy, Debug)]
struct Allowed {
    sessions: usize,
    sessions_per_uid: usize,
    messages_per_minute: Option<u32>,
}

impl Allowed {
    fn by(listen: &config::Listen) -> Self {
        Allowed {
            sessions: listen.max_sessions,
            sessions_per_uid: listen.max_sessions_per_uid,
            messages_per_minute: listen.max_messages_per_minute_per_uid,
        }
    }

    fn bucket(&self, now: Instant) -> Option<Bucket> {
        self.messages_per_minute.map(|per_minute| Bucket::full(per_minute, now))
    }
}

/// What is remembered of one user.
#[derive(Debug)]
struct User {
    sessions: usize,
    bucket: Option<Bucket>,
}

impl User {
    fn is_worth_remembering(&self, allowed: &Allowed, now: Instant) -> bool {
        let spent =
            |bucket: &Bucket| !allowed.messages_per_minute.is_none_or(|rate| bucket.is_full(rate, now));
        self.sessions > 0 || self.bucket.as_ref().is_some_and(spent)
    }
}

#[derive(Debug)]
struct State {
    allowed: Allowed,
    sessions: usize,
    users: HashMap<u32, User>,
}

impl State {
    fn user(&mut self, uid: u32, now: Instant) -> &mut User {
        let allowed = self.allowed;
        if self.users.len() >= REMEMBERED_USERS {
            self.users.retain(|_, user| user.is_worth_remembering(&allowed, now));
        }
        self.users.entry(uid).or_insert_with(|| User { sessions: 0, bucket: allowed.bucket(now) })
    }
}

/// Why a session is not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overload {
    /// As many sessions as are allowed in all.
    Sessions,
    /// As many as one user may have.
    UserSessions,
}

/// The limits, and what has been used of them; one for all listeners.
#[derive(Debug)]
pub struct Limits(Mutex<State>);

impl Limits {
    /// The limits that `listen` sets, nothing used yet.
    pub fn new(listen: &config::Listen) -> Arc<Self> {
        let state = State { allowed: Allowed::by(listen), sessions: 0, users: HashMap::new() };
        Arc::new(Limits(Mutex::new(state)))
    }

    /// Other limits from now on; sessions that run are left alone.
    pub fn change(&self, listen: &config::Listen) {
        let mut state = self.state();
        let before = std::mem::replace(&mut state.allowed, Allowed::by(listen));
        if state.allowed.messages_per_minute != before.messages_per_minute {
            // A bucket of another size means nothing now.
            state.users.values_mut().for_each(|user| user.bucket = None);
        }
    }

    /// Counts a session in, unless it is one too many.
    pub fn admit(self: &Arc<Self>, peer: Peer, now: Instant) -> Result<Permit, Overload> {
        let mut state = self.state();
        let allowed = state.allowed;
        if state.sessions >= allowed.sessions {
            return Err(Overload::Sessions);
        }
        if let Some(uid) = peer.uid() {
            let user = state.user(uid, now);
            if user.sessions >= allowed.sessions_per_uid {
                return Err(Overload::UserSessions);
            }
            user.sessions += 1;
        }
        state.sessions += 1;
        Ok(Permit { limits: Arc::clone(self), peer })
    }

    /// Sessions counted in at present.
    pub fn sessions(&self) -> usize {
        self.state().sessions
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under this lock can panic half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One session, counted.
#[derive(Debug)]
pub struct Permit {
    limits: Arc<Limits>,
    peer: Peer,
}

impl Permit {
    /// Whose session it is.
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// Counts a message of this user's; `false`: more than the rate allows.
    pub fn take_message(&self, now: Instant) -> bool {
        let Some(uid) = self.peer.uid() else { return true };
        let mut state = self.limits.state();
        let allowed = state.allowed;
        let Some(per_minute) = allowed.messages_per_minute else { return true };
        let user = state.user(uid, now);
        user.bucket.get_or_insert(Bucket::full(per_minute, now)).take(per_minute, now)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.limits.state();
        state.sessions -= 1;
        if let Some(user) = self.peer.uid().and_then(|uid| state.users.get_mut(&uid)) {
            user.sessions -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listener::tests::listen;
    use std::time::Duration;

    fn limits(sessions: usize, per_uid: usize, rate: Option<u32>) -> Arc<Limits> {
        Limits::new(&config::Listen {
            max_sessions: sessions,
            max_sessions_per_uid: per_uid,
            max_messages_per_minute_per_uid: rate,
            ..listen()
        })
    }

    #[test]
    fn a_permit_counts_in_and_its_drop_counts_out() {
        let (limits, now) = (limits(3, 2, None), Instant::now());
        let ann = [limits.admit(Peer::Uid(1), now).unwrap(), limits.admit(Peer::Uid(1), now).unwrap()];
        assert_eq!(limits.admit(Peer::Uid(1), now).unwrap_err(), Overload::UserSessions);
        let bob = limits.admit(Peer::Uid(2), now).unwrap();
        let loopback = Peer::Loopback("127.0.0.1".parse().unwrap());
        assert_eq!(limits.admit(loopback, now).unwrap_err(), Overload::Sessions);
        assert_eq!(limits.sessions(), 3);
        drop(bob);
        assert_eq!(limits.admit(Peer::Uid(1), now).unwrap_err(), Overload::UserSessions);
        drop(limits.admit(loopback, now).unwrap());
        drop(ann);
        assert_eq!(limits.sessions(), 0);
        assert!(limits.admit(Peer::Uid(1), now).is_ok());
    }

    #[test]
    fn a_rate_is_a_burst_and_then_an_even_flow() {
        let (limits, now) = (limits(9, 9, Some(6)), Instant::now());
        let after = |seconds| now + Duration::from_secs(seconds);
        let permit = limits.admit(Peer::Uid(1), now).unwrap();
        assert_eq!((0..8).filter(|_| permit.take_message(now)).count(), 6);
        let cases = [(9, 0), (10, 1), (30, 2), (31, 0), (600, 6), (600, 0)];
        for (seconds, expected) in cases {
            let taken = (0..9).filter(|_| permit.take_message(after(seconds))).count();
            assert_eq!(taken, expected, "after {seconds} s");
        }
        assert!(
            limits.admit(Peer::Uid(2), now).unwrap().take_message(after(600)),
            "another user's own bucket"
        );
        assert!(!permit.take_message(now), "a clock that goes back gives nothing");
    }

    #[test]
    fn hanging_up_refills_nothing() {
        let (limits, now) = (limits(9, 9, Some(1)), Instant::now());
        assert!(limits.admit(Peer::Uid(1), now).unwrap().take_message(now));
        assert!(!limits.admit(Peer::Uid(1), now).unwrap().take_message(now));
    }

    #[test]
    fn loopback_clients_and_hosts_without_a_rate_are_not_slowed() {
        let now = Instant::now();
        let loopback = Peer::Loopback("::1".parse().unwrap());
        let cases = [(limits(9, 9, Some(1)), loopback), (limits(9, 9, None), Peer::Uid(1))];
        for (limits, peer) in cases {
            let permit = limits.admit(peer, now).unwrap();
            assert!((0..100).all(|_| permit.take_message(now)), "{peer}");
        }
    }

    #[test]
    fn idle_users_are_forgotten_and_busy_ones_are_not() {
        let (limits, now) = (limits(9, 9, Some(1)), Instant::now());
        let kept = limits.admit(Peer::Uid(0), now).unwrap();
        for uid in 1..=1000 {
            assert!(limits.admit(Peer::Uid(uid), now).unwrap().take_message(now));
        }
        assert_eq!(limits.state().users.len(), 1001, "none may be forgotten while it owes");
        drop(limits.admit(Peer::Uid(5000), now + Duration::from_secs(60)).unwrap());
        assert_eq!(limits.state().users.len(), 2);
        drop(kept);
        assert_eq!(limits.sessions(), 0);
    }

    #[test]
    fn a_reload_that_keeps_the_rate_refills_nothing() {
        let (limits, now) = (limits(9, 9, Some(1)), Instant::now());
        let permit = limits.admit(Peer::Uid(1), now).unwrap();
        assert!(permit.take_message(now));
        let listen = config::Listen { max_messages_per_minute_per_uid: Some(1), max_sessions: 1, ..listen() };
        limits.change(&listen);
        assert!(!permit.take_message(now));
        assert_eq!(limits.admit(Peer::Uid(2), now).unwrap_err(), Overload::Sessions);
    }

    #[test]
    fn changed_limits_hold_from_now_on() {
        let (limits, now) = (limits(1, 1, Some(1)), Instant::now());
        let permit = limits.admit(Peer::Uid(1), now).unwrap();
        assert!(permit.take_message(now) && !permit.take_message(now));
        limits.change(&config::Listen {
            max_sessions: 2,
            max_sessions_per_uid: 2,
            max_messages_per_minute_per_uid: Some(3),
            ..listen()
        });
        assert_eq!((0..9).filter(|_| permit.take_message(now)).count(), 3);
        assert!(limits.admit(Peer::Uid(1), now).is_ok());
    }
}
