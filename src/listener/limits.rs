//! How much one client may ask of the listener: sessions in all, sessions per user, messages per user and minute,
//! header sections in memory.
//!
//! Promises:
//! 1. A [`Permit`] is one session counted; its drop counts it out, however the session ended.
//! 2. A user's rate is a token bucket: a burst of a whole minute's messages, then an even flow. It
//!    outlives the user's sessions, so hanging up does not refill it, nor does a reload that keeps the rate.
//! 3. Memory stays bounded: a user with no session and a full bucket is forgotten.
//! 4. No ordinary user has more sessions than there are places left: one has half of all, a second half of the
//!    rest, and somebody else always finds one. Of twenty places one is kept for root and the daemon's own user, and
//!    the pick-up needs none.
//! 5. Header sections are held in memory until they are whole. Each session may hold [`OWN_HEADER`]; beyond that all
//!    together have [`HEADERS`], and of this the same holds as of places: no ordinary user has more than is left for
//!    others. TCP clients of whom it is not known whose they are count as one user.
//!
//! Whose a loopback TCP client is the kernel is asked when it has its place (`owner.rs`), and where that is dear, from
//! the moment on that a quarter of the places are taken; of whom it cannot be said, there is the limit on sessions in
//! all. Root and the daemon's own user have no share over TCP. The rate is for the unix socket. Fails: the session gets 421, the message 451, nothing is queued. Time is an argument.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::config;
use crate::listener::peer::{LocalPeer, is_ordinary};

/// So many users are remembered before the idle ones are forgotten.
const REMEMBERED_USERS: usize = 256;

/// Octets of header that each session may hold in memory.
const OWN_HEADER: usize = 32 << 10;
/// And that all may hold beyond that.
const HEADERS: usize = 16 << 20;

/// Descriptors that are left to spool, relay, control socket and the rest.
const KEPT_DESCRIPTORS: u64 = 256;

/// Sessions for which `descriptors` are enough: each is a connection, and a file while a large message comes in.
pub fn sessions_within(descriptors: u64) -> usize {
    let left = descriptors.saturating_sub(KEPT_DESCRIPTORS).max(descriptors / 4);
    usize::try_from(left / 2).unwrap_or(usize::MAX).max(1)
}

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
    fn by(listen: &config::ListenConfig) -> Self {
        Allowed {
            sessions: listen.max_sessions,
            sessions_per_uid: listen.max_sessions_per_uid,
            messages_per_minute: listen.max_messages_per_minute_per_uid,
        }
    }

    /// Places that others than root and the daemon's own user may take.
    fn for_ordinary(&self) -> usize {
        self.sessions - self.sessions / 20
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
    /// Octets beyond [`OWN_HEADER`] that the sessions of each user hold; `None`: of those not known.
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

    /// Gives one of the places to this user, of whom it is one more session.
    fn seat(&mut self, uid: u32, places_left: usize, now: Instant) -> Result<(), Overload> {
        let most = self.allowed.sessions_per_uid;
        let user = self.user(uid, now);
        if user.sessions >= most || is_ordinary(uid) && user.sessions > places_left {
            return Err(Overload::UserSessions);
        }
        user.sessions += 1;
        Ok(())
    }

    /// Whether this user may hold so many `more` octets of header.
    fn has_header_room(&self, whose: Option<u32>, more: usize) -> bool {
        let taken = self.headers.values().sum::<usize>() + more;
        let theirs = self.headers.get(&whose).copied().unwrap_or_default() + more;
        let is_ordinary = whose.is_none_or(is_ordinary);
        HEADERS.checked_sub(taken).is_some_and(|left| !is_ordinary || theirs <= left)
    }

    /// Notes that this user holds `after` octets of header where it held `before`.
    fn hold_header(&mut self, whose: Option<u32>, before: usize, after: usize) {
        let theirs = self.headers.entry(whose).or_default();
        *theirs = *theirs - before + after;
        if *theirs == 0 {
            self.headers.remove(&whose);
        }
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
    pub fn new(listen: &config::ListenConfig) -> Arc<Self> {
        let (users, headers) = (HashMap::new(), HashMap::new());
        Arc::new(Limits(Mutex::new(State { allowed: Allowed::by(listen), sessions: 0, users, headers })))
    }

    /// Other limits from now on; sessions that run are left alone.
    pub fn change(&self, listen: &config::ListenConfig) {
        let mut state = self.state();
        let before = std::mem::replace(&mut state.allowed, Allowed::by(listen));
        if state.allowed.messages_per_minute != before.messages_per_minute {
            // A bucket of another size means nothing now.
            state.users.values_mut().for_each(|user| user.bucket = None);
        }
    }

    /// Counts a session in, unless it is one too many.
    pub fn admit(self: &Arc<Self>, peer: LocalPeer, now: Instant) -> Result<Permit, Overload> {
        let mut state = self.state();
        // Of a TCP client it is seen later whether the last places are not for it.
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

    /// A place that is always there: for the pick-up, which has one at a time.
    pub fn admit_pickup(self: &Arc<Self>, peer: LocalPeer) -> Permit {
        self.state().sessions += 1;
        Permit { limits: Arc::clone(self), peer, seated: None }
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
    peer: LocalPeer,
    /// Among whose sessions it is counted.
    seated: Option<u32>,
}

impl Permit {
    /// Whose session it is.
    pub fn peer(&self) -> LocalPeer {
        self.peer
    }

    /// Whether there are so many that it is worth much to know whose a TCP client is.
    pub fn is_one_of_many(&self) -> bool {
        let state = self.limits.state();
        state.sessions > state.allowed.sessions / 4
    }

    /// Counts a session over TCP among those of its owner, if the kernel said who that is, unless it is one too many.
    pub fn seat(&mut self, owner: Option<u32>, now: Instant) -> Result<(), Overload> {
        self.peer = self.peer.owned_by(owner);
        let mut state = self.limits.state();
        // This one is counted among them already.
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

    /// Room for the header section of a message.
    pub fn header(&self) -> HeaderRoom {
        HeaderRoom { limits: Arc::clone(&self.limits), whose: self.peer.user(), octets: 0 }
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
        if let Some(user) = self.seated.and_then(|uid| state.users.get_mut(&uid)) {
            user.sessions -= 1;
        }
    }
}

/// Octets of header in memory, counted until this is dropped.
#[derive(Debug)]
pub struct HeaderRoom {
    limits: Arc<Limits>,
    whose: Option<u32>,
    /// Beyond [`OWN_HEADER`].
    octets: usize,
}

impl HeaderRoom {
    /// Has it be for so many octets; `false`: this user, or all together, would hold too many, and it is as it was.
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

    /// Two users on the socket took all places, and everybody else got 421, root and the pick-up too.
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

    /// Two hundred slow TCP connections of one user did the same.
    #[test]
    fn a_tcp_client_is_counted_among_its_user_s() {
        let (limits, now) = (limits(200, 200, None), Instant::now());
        let loopback = LocalPeer::Loopback("127.0.0.1".parse().unwrap());
        let all = |uid| {
            let seat = |mut permit: Permit| permit.seat(Some(uid), now).is_ok().then_some(permit);
            (0..200).filter_map(|_| limits.admit(loopback, now).ok().and_then(seat)).collect::<Vec<_>>()
        };
        let greedy: Vec<_> = (70_001..70_007).map(all).collect();
        // As many as on the unix socket: one has half of all, a second half of the rest.
        assert_eq!(greedy.iter().map(Vec::len).collect::<Vec<_>>(), [96, 48, 24, 12, 6, 3]);
        assert_eq!(greedy[0][0].peer().to_string(), "localhost[127.0.0.1] uid 70001");
        let mut other = limits.admit(loopback, now).unwrap();
        assert_eq!(other.seat(Some(70_100), now), Ok(()));
        drop((greedy, other));
        assert!(limits.state().users.values().all(|user| user.sessions == 0));
    }

    /// A quarter of the places was taken before anybody asked, and counted for nobody.
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

    /// How many of the rooms may hold a large header section each.
    fn large_of(rooms: &mut [HeaderRoom]) -> usize {
        rooms.iter_mut().filter_map(|room| room.hold(LARGE).then_some(())).count()
    }

    /// Two hundred sessions with a header of 1 MB each took 219 MB.
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

    /// One user's sessions had all of it, and others' large headers were refused for as long as those liked.
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
