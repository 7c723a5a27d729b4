//! The limits of the listener: the number of sessions in all and for each user, the messages of a user in a minute,
//! and the memory for header sections.
//!
//! Promises:
//! 1. A [`Permit`] counts one session. Dropping it ends the count, however the session ended.
//! 2. The rate of a user is a token bucket: a burst of the messages of a whole minute, then an even flow. The bucket
//!    outlives the sessions of the user, so a new connection does not refill it; neither does a reload that keeps the
//!    rate.
//! 3. Memory is bounded: a user without a session and with a full bucket is forgotten.
//! 4. No ordinary user has more sessions than places are free: one user can get half of all places, a second one half
//!    of the rest, and so on, so that a place is always free for another user. One place in twenty is reserved for
//!    root and the daemon's own user. The pick-up needs no place.
//! 5. Header sections are held in memory until they are complete. Each session may hold [`OWN_HEADER`] octets. Beyond
//!    that, all sessions together may hold [`HEADERS`], which are shared like the places: no ordinary user may hold
//!    more than is free. All TCP clients whose user is unknown count as one user.
//!
//! The kernel is asked for the user of a loopback TCP client after the client has a place (`owner.rs`). Where the
//! answer is expensive, it is asked only when a quarter of the places is taken. A client whose user is unknown is
//! limited by the number of all sessions alone. Root and the daemon's own user have no share over TCP. The rate
//! applies to the unix socket only.
//!
//! Fails: the session gets 421 or the message 451, and nothing is queued. Time is an argument.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::config;
use crate::listener::peer::{LocalPeer, is_ordinary};

/// The number of users that are remembered before those without need are forgotten.
const REMEMBERED_USERS: usize = 256;

/// The octets of header that each session may hold in memory.
const OWN_HEADER: usize = 32 << 10;
/// The octets of header that all sessions together may hold beyond that.
const HEADERS: usize = 16 << 20;

/// The file descriptors that are reserved for the spool, the relay, the control socket and everything else.
const KEPT_DESCRIPTORS: u64 = 256;

/// Returns the number of sessions for which `descriptors` are enough. A session needs one for its connection, and one
/// for a file while a large message arrives.
pub fn sessions_within(descriptors: u64) -> usize {
    let left = descriptors.saturating_sub(KEPT_DESCRIPTORS).max(descriptors / 4);
    usize::try_from(left / 2).unwrap_or(usize::MAX).max(1)
}

/// A token bucket that becomes full in a minute.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    fn full(per_minute: u32, now: Instant) -> Self {
        Bucket { tokens: f64::from(per_minute), filled: now }
    }

    /// Returns the number of tokens in it at the time `now`.
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

/// The configured limits. Zero never means "no limit".
#[derive(Clone, Copy, Debug)]
struct Allowed {
    sessions: usize,
    sessions_per_uid: usize,
    messages_per_minute: Option<u32>,
}

impl Allowed {
    fn by(listen: &config::ListenConfig) -> Self {
        Allowed {
            sessions: listen.max_sessions,
            sessions_per_uid: listen.max_sessions_per_uid,
            messages_per_minute: listen.max_messages_per_minute_per_uid,
        }
    }

    /// Returns the number of places for users other than root and the daemon's own.
    fn for_ordinary(&self) -> usize {
        self.sessions - self.sessions / 20
    }

    fn bucket(&self, now: Instant) -> Option<Bucket> {
        self.messages_per_minute.map(|per_minute| Bucket::full(per_minute, now))
    }
}

/// The state that is remembered about one user.
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
    /// The octets beyond [`OWN_HEADER`] that the sessions of each user hold; `None` stands for unknown users.
    headers: HashMap<Option<u32>, usize>,
}

impl State {
    fn user(&mut self, uid: u32, now: Instant) -> &mut User {
        let allowed = self.allowed;
        if self.users.len() >= REMEMBERED_USERS {
            self.users.retain(|_, user| user.is_worth_remembering(&allowed, now));
        }
        self.users.entry(uid).or_insert_with(|| User { sessions: 0, bucket: allowed.bucket(now) })
    }

    /// Counts one more session for this user, while `places_left` places are free.
    fn seat(&mut self, uid: u32, places_left: usize, now: Instant) -> Result<(), Overload> {
        let most = self.allowed.sessions_per_uid;
        let user = self.user(uid, now);
        if user.sessions >= most || is_ordinary(uid) && user.sessions > places_left {
            return Err(Overload::UserSessions);
        }
        user.sessions += 1;
        Ok(())
    }

    /// Returns whether this user may hold `more` octets of header in addition.
    fn has_header_room(&self, whose: Option<u32>, more: usize) -> bool {
        let taken = self.headers.values().sum::<usize>() + more;
        let theirs = self.headers.get(&whose).copied().unwrap_or_default() + more;
        let is_ordinary = whose.is_none_or(is_ordinary);
        HEADERS.checked_sub(taken).is_some_and(|left| !is_ordinary || theirs <= left)
    }

    /// Notes that one of this user's sessions holds `after` octets of header in place of `before`.
    fn hold_header(&mut self, whose: Option<u32>, before: usize, after: usize) {
        let theirs = self.headers.entry(whose).or_default();
        *theirs = *theirs - before + after;
        if *theirs == 0 {
            self.headers.remove(&whose);
        }
    }
}

/// The reason why a session is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overload {
    /// There are as many sessions as are allowed in all.
    Sessions,
    /// There are as many sessions as this user may have.
    UserSessions,
}

/// The limits, and how much of them is used. All listeners share one value.
#[derive(Debug)]
pub struct Limits(Mutex<State>);

impl Limits {
    /// Returns the limits that `listen` sets, with nothing used.
    pub fn new(listen: &config::ListenConfig) -> Arc<Self> {
        let (users, headers) = (HashMap::new(), HashMap::new());
        Arc::new(Limits(Mutex::new(State { allowed: Allowed::by(listen), sessions: 0, users, headers })))
    }

    /// Replaces the limits. Running sessions are not affected.
    pub fn change(&self, listen: &config::ListenConfig) {
        let mut state = self.state();
        let before = std::mem::replace(&mut state.allowed, Allowed::by(listen));
        if state.allowed.messages_per_minute != before.messages_per_minute {
            // A bucket of another size cannot be carried over.
            state.users.values_mut().for_each(|user| user.bucket = None);
        }
    }

    /// Counts a session of `peer`; an error if it is one too many.
    pub fn admit(self: &Arc<Self>, peer: LocalPeer, now: Instant) -> Result<Permit, Overload> {
        let mut state = self.state();
        // For a TCP client, `Permit::seat` checks later whether it may have one of the last places.
        let places = match peer.uid() {
            Some(uid) if is_ordinary(uid) => state.allowed.for_ordinary(),
            _ => state.allowed.sessions,
        };
        let Some(left) = places.checked_sub(state.sessions).filter(|left| *left > 0) else {
            return Err(Overload::Sessions);
        };
        if let Some(uid) = peer.uid() {
            state.seat(uid, left, now)?;
        }
        state.sessions += 1;
        Ok(Permit { limits: Arc::clone(self), peer, seated: peer.uid() })
    }

    /// Counts a session of the pick-up, which has one at a time and always gets a place.
    pub fn admit_pickup(self: &Arc<Self>, peer: LocalPeer) -> Permit {
        self.state().sessions += 1;
        Permit { limits: Arc::clone(self), peer, seated: None }
    }

    /// Returns the number of sessions at present.
    pub fn sessions(&self) -> usize {
        self.state().sessions
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code under this lock can panic and leave the state inconsistent.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session that is counted.
#[derive(Debug)]
pub struct Permit {
    limits: Arc<Limits>,
    peer: LocalPeer,
    /// The user among whose sessions it is counted.
    seated: Option<u32>,
}

impl Permit {
    /// Returns the client of the session.
    pub fn peer(&self) -> LocalPeer {
        self.peer
    }

    /// Returns whether so many places are taken that an expensive look-up of the user of a TCP client is worth it.
    pub fn is_one_of_many(&self) -> bool {
        let state = self.limits.state();
        state.sessions > state.allowed.sessions / 4
    }

    /// Counts a session over TCP among those of `owner`, the user as far as the kernel knows it; an error if it is
    /// one too many.
    pub fn seat(&mut self, owner: Option<u32>, now: Instant) -> Result<(), Overload> {
        self.peer = self.peer.owned_by(owner);
        let mut state = self.limits.state();
        // The session itself is counted already.
        let others = state.sessions.saturating_sub(1);
        let is_ours = owner.is_some_and(|uid| !is_ordinary(uid));
        let places = if is_ours { state.allowed.sessions } else { state.allowed.for_ordinary() };
        let left = places.saturating_sub(others);
        if left == 0 {
            return Err(Overload::Sessions);
        }
        if let Some(uid) = owner.filter(|uid| is_ordinary(*uid)) {
            state.seat(uid, left, now)?;
            drop(state);
            self.seated = owner;
        }
        Ok(())
    }

    /// Returns the memory account for the header section of a message, which is empty at first.
    pub fn header(&self) -> HeaderRoom {
        HeaderRoom { limits: Arc::clone(&self.limits), whose: self.peer.user(), octets: 0 }
    }

    /// Counts a message of this user. Returns `false` if the rate does not allow it.
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
        if let Some(user) = self.seated.and_then(|uid| state.users.get_mut(&uid)) {
            user.sessions -= 1;
        }
    }
}

/// The octets of header that a message holds in memory, counted until this is dropped.
#[derive(Debug)]
pub struct HeaderRoom {
    limits: Arc<Limits>,
    whose: Option<u32>,
    /// The octets beyond [`OWN_HEADER`].
    octets: usize,
}

impl HeaderRoom {
    /// Sets the number of octets that are held. Returns `false`, and changes nothing, if this user or all together
    /// would hold too many.
    pub fn hold(&mut self, octets: usize) -> bool {
        let octets = octets.saturating_sub(OWN_HEADER);
        if octets == self.octets {
            return true;
        }
        let mut state = self.limits.state();
        let fits = octets < self.octets || state.has_header_room(self.whose, octets - self.octets);
        if fits {
            state.hold_header(self.whose, self.octets, octets);
            self.octets = octets;
        }
        fits
    }
}

impl Drop for HeaderRoom {
    fn drop(&mut self) {
        self.hold(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listener::tests::listen;
    use std::time::Duration;

    fn limits(sessions: usize, per_uid: usize, rate: Option<u32>) -> Arc<Limits> {
        Limits::new(&config::ListenConfig {
            max_sessions: sessions,
            max_sessions_per_uid: per_uid,
            max_messages_per_minute_per_uid: rate,
            ..listen()
        })
    }

    #[test]
    fn a_permit_counts_in_and_its_drop_counts_out() {
        let (limits, now) = (limits(3, 2, None), Instant::now());
        let ann =
            [limits.admit(LocalPeer::Uid(1), now).unwrap(), limits.admit(LocalPeer::Uid(1), now).unwrap()];
        assert_eq!(limits.admit(LocalPeer::Uid(1), now).unwrap_err(), Overload::UserSessions);
        let bob = limits.admit(LocalPeer::Uid(2), now).unwrap();
        let loopback = LocalPeer::Loopback("127.0.0.1".parse().unwrap());
        assert_eq!(limits.admit(loopback, now).unwrap_err(), Overload::Sessions);
        assert_eq!(limits.sessions(), 3);
        drop(bob);
        assert_eq!(limits.admit(LocalPeer::Uid(1), now).unwrap_err(), Overload::UserSessions);
        drop(limits.admit(loopback, now).unwrap());
        drop(ann);
        assert_eq!(limits.sessions(), 0);
        assert!(limits.admit(LocalPeer::Uid(1), now).is_ok());
    }

    /// Two users on the socket took all places, and everybody else got 421, even root and the pick-up.
    #[test]
    fn users_leave_places_to_others_to_root_and_to_the_pickup() {
        let (limits, now) = (limits(200, 200, None), Instant::now());
        let all =
            |uid| std::iter::from_fn(|| limits.admit(LocalPeer::Uid(uid), now).ok()).collect::<Vec<_>>();
        let greedy: Vec<_> = (70_001..70_007).map(all).collect();
        let counts: Vec<_> = greedy.iter().map(Vec::len).collect();
        assert_eq!(counts, [96, 48, 24, 12, 6, 3]);
        let newcomer = limits.admit(LocalPeer::Uid(70_100), now).unwrap();
        let _pickup = limits.admit_pickup(LocalPeer::Uid(70_001));
        drop(newcomer);
        let _crowd: Vec<_> = (71_000..72_000).flat_map(all).collect();
        assert!(limits.admit(LocalPeer::Uid(0), now).is_ok());
    }

    /// Two hundred slow TCP connections of one user took all places, too.
    #[test]
    fn a_tcp_client_is_counted_among_its_user_s() {
        let (limits, now) = (limits(200, 200, None), Instant::now());
        let loopback = LocalPeer::Loopback("127.0.0.1".parse().unwrap());
        let all = |uid| {
            let seat = |mut permit: Permit| permit.seat(Some(uid), now).is_ok().then_some(permit);
            (0..200).filter_map(|_| limits.admit(loopback, now).ok().and_then(seat)).collect::<Vec<_>>()
        };
        let greedy: Vec<_> = (70_001..70_007).map(all).collect();
        // The numbers are those of the unix socket: one user has half of all places, a second one half of the rest.
        assert_eq!(greedy.iter().map(Vec::len).collect::<Vec<_>>(), [96, 48, 24, 12, 6, 3]);
        assert_eq!(greedy[0][0].peer().to_string(), "localhost[127.0.0.1] uid 70001");
        let mut other = limits.admit(loopback, now).unwrap();
        assert_eq!(other.seat(Some(70_100), now), Ok(()));
        drop((greedy, other));
        assert!(limits.state().users.values().all(|user| user.sessions == 0));
    }

    /// The first quarter of the places was given without asking for the user, and counted for nobody.
    #[test]
    fn a_user_has_one_share_on_the_socket_and_over_tcp() {
        let (limits, now) = (limits(200, 10, None), Instant::now());
        let loopback = LocalPeer::Loopback("127.0.0.1".parse().unwrap());
        let mut permits: Vec<_> =
            (0..4).map(|_| limits.admit(LocalPeer::Uid(70_001), now).unwrap()).collect();
        for _ in 0..6 {
            let mut permit = limits.admit(loopback, now).unwrap();
            assert_eq!(permit.seat(Some(70_001), now), Ok(()));
            permits.push(permit);
        }
        assert_eq!(limits.admit(LocalPeer::Uid(70_001), now).unwrap_err(), Overload::UserSessions);
        let mut permit = limits.admit(loopback, now).unwrap();
        assert_eq!(permit.seat(Some(70_001), now), Err(Overload::UserSessions));
        assert_eq!(permit.seat(None, now), Ok(()), "nobody is told by another's share");
    }

    #[test]
    fn the_last_places_are_not_for_who_is_not_known() {
        let (limits, now) = (limits(20, 20, None), Instant::now());
        let loopback = LocalPeer::Loopback("127.0.0.1".parse().unwrap());
        let mut permits: Vec<_> = (0..20).map(|_| limits.admit(loopback, now).unwrap()).collect();
        assert_eq!(permits[19].seat(None, now), Err(Overload::Sessions));
        assert_eq!(permits[19].seat(Some(0), now), Ok(()));
        permits.truncate(18);
        let mut permit = limits.admit(loopback, now).unwrap();
        assert_eq!(permit.seat(None, now), Ok(()));
    }

    const LARGE: usize = 1 << 20;

    /// Returns how many of the rooms may hold a large header section each.
    fn large_of(rooms: &mut [HeaderRoom]) -> usize {
        rooms.iter_mut().filter_map(|room| room.hold(LARGE).then_some(())).count()
    }

    /// Two hundred sessions with a header of 1 MB each took 219 MB of memory.
    #[test]
    fn headers_in_memory_have_a_budget_and_give_it_back() {
        let (limits, now) = (limits(200, 200, None), Instant::now());
        let permit = limits.admit(LocalPeer::Uid(0), now).unwrap();
        let mut rooms: Vec<_> = (0..200).map(|_| permit.header()).collect();
        assert_eq!(large_of(&mut rooms), HEADERS / (LARGE - OWN_HEADER));
        assert!(rooms.iter_mut().all(|room| room.hold(OWN_HEADER)), "a usual one always has room");
        assert!(rooms[7].hold(LARGE));
        assert_eq!(limits.state().headers[&Some(0)], LARGE - OWN_HEADER);
        drop(rooms);
        assert!(limits.state().headers.is_empty());
    }

    /// The sessions of one user had all of the memory, and large headers of others were refused for as long as they
    /// kept it.
    #[test]
    fn users_leave_memory_for_headers_to_others() {
        let (limits, now) = (limits(200, 200, None), Instant::now());
        let loopback = LocalPeer::Loopback("127.0.0.1".parse().unwrap());
        let of_user = |peer: LocalPeer| {
            let permit = limits.admit(peer, now).unwrap();
            let mut rooms: Vec<_> = (0..20).map(|_| permit.header()).collect();
            (large_of(&mut rooms), rooms)
        };
        let peers =
            [LocalPeer::Uid(70_001), loopback, LocalPeer::Uid(70_002), loopback.owned_by(Some(70_003))];
        let (counts, held): (Vec<_>, Vec<_>) = peers.into_iter().map(of_user).unzip();
        assert_eq!(counts, [8, 4, 2, 1]);
        let (again, _none) = of_user(LocalPeer::Uid(70_001));
        assert_eq!(again, 0, "a user's sessions have one share");
        let (kept, _root) = of_user(LocalPeer::Uid(0));
        assert_eq!(kept, 1, "root has what is left");
        drop(held);
        assert_eq!(of_user(LocalPeer::Uid(70_001)).0, 7);
    }

    #[test]
    fn sessions_leave_descriptors_to_spool_and_relay() {
        for (descriptors, sessions) in [(1 << 20, 524_160), (1024, 384), (512, 128), (256, 32), (0, 1)] {
            assert_eq!(sessions_within(descriptors), sessions, "{descriptors}");
        }
    }

    #[test]
    fn a_rate_is_a_burst_and_then_an_even_flow() {
        let (limits, now) = (limits(9, 9, Some(6)), Instant::now());
        let after = |seconds| now + Duration::from_secs(seconds);
        let permit = limits.admit(LocalPeer::Uid(1), now).unwrap();
        assert_eq!((0..8).filter(|_| permit.take_message(now)).count(), 6);
        let cases = [(9, 0), (10, 1), (30, 2), (31, 0), (600, 6), (600, 0)];
        for (seconds, expected) in cases {
            let taken = (0..9).filter(|_| permit.take_message(after(seconds))).count();
            assert_eq!(taken, expected, "after {seconds} s");
        }
        assert!(
            limits.admit(LocalPeer::Uid(2), now).unwrap().take_message(after(600)),
            "another user's own bucket"
        );
        assert!(!permit.take_message(now), "a clock that goes back gives nothing");
    }

    #[test]
    fn hanging_up_refills_nothing() {
        let (limits, now) = (limits(9, 9, Some(1)), Instant::now());
        assert!(limits.admit(LocalPeer::Uid(1), now).unwrap().take_message(now));
        assert!(!limits.admit(LocalPeer::Uid(1), now).unwrap().take_message(now));
    }

    #[test]
    fn loopback_clients_and_hosts_without_a_rate_are_not_slowed() {
        let now = Instant::now();
        let loopback = LocalPeer::Loopback("::1".parse().unwrap());
        let cases = [(limits(9, 9, Some(1)), loopback), (limits(9, 9, None), LocalPeer::Uid(1))];
        for (limits, peer) in cases {
            let permit = limits.admit(peer, now).unwrap();
            assert!((0..100).all(|_| permit.take_message(now)), "{peer}");
        }
    }

    #[test]
    fn idle_users_are_forgotten_and_busy_ones_are_not() {
        let (limits, now) = (limits(9, 9, Some(1)), Instant::now());
        let kept = limits.admit(LocalPeer::Uid(0), now).unwrap();
        for uid in 1..=1000 {
            assert!(limits.admit(LocalPeer::Uid(uid), now).unwrap().take_message(now));
        }
        assert_eq!(limits.state().users.len(), 1001, "none may be forgotten while it owes");
        drop(limits.admit(LocalPeer::Uid(5000), now + Duration::from_secs(60)).unwrap());
        assert_eq!(limits.state().users.len(), 2);
        drop(kept);
        assert_eq!(limits.sessions(), 0);
    }

    #[test]
    fn a_reload_that_keeps_the_rate_refills_nothing() {
        let (limits, now) = (limits(9, 9, Some(1)), Instant::now());
        let permit = limits.admit(LocalPeer::Uid(1), now).unwrap();
        assert!(permit.take_message(now));
        let listen =
            config::ListenConfig { max_messages_per_minute_per_uid: Some(1), max_sessions: 1, ..listen() };
        limits.change(&listen);
        assert!(!permit.take_message(now));
        assert_eq!(limits.admit(LocalPeer::Uid(2), now).unwrap_err(), Overload::Sessions);
    }

    #[test]
    fn changed_limits_hold_from_now_on() {
        let (limits, now) = (limits(1, 1, Some(1)), Instant::now());
        let permit = limits.admit(LocalPeer::Uid(1), now).unwrap();
        assert!(permit.take_message(now) && !permit.take_message(now));
        limits.change(&config::ListenConfig {
            max_sessions: 2,
            max_sessions_per_uid: 2,
            max_messages_per_minute_per_uid: Some(3),
            ..listen()
        });
        assert_eq!((0..9).filter(|_| permit.take_message(now)).count(), 3);
        assert!(limits.admit(LocalPeer::Uid(1), now).is_ok());
    }
}
