//! How long an attempt to log in waits, after others have failed.
//!
//! | failures | without a wait | then | where |
//! |---|---|---|---|
//! | of one client for one name | 2 | 1 s, 2 s, 4 s … 30 s, one after the other | this client and this name |
//! | of one client for any names | 10 | 1 s, 2 s, 4 s … 30 s, one after the other | this client |
//! | of all clients for one name | 20 | 1 s, 2 s, 4 s, 5 s | this name |
//!
//! A client is a uid, or an address where the kernel does not tell the uid. Attempts of one client that have to wait do so one
//! after the other, however many sessions make them at once. All spellings of a name that SASLprep makes one are one name.
//!
//! Promises:
//! 1. What one client fails delays another one, which logs in to the same name, by [`MOST_FOR_A_NAME`] at most.
//! 2. A success ends the waits of this client for this name. Failures are forgotten after [`MEMORY`] without another one.
//! 3. A name that has logged in from this client within [`WELCOME`] waits for no failures of this client for other names:
//!    several programs may share one client, such as a proxy, or a user whose uid is not known.
//! 4. Memory is bounded: of each kind, [`MOST`] are remembered; beyond, the one whose failure is oldest is forgotten, and no
//!    further success is remembered.
//!
//! Time is an argument. Sessions that are open already can each make one attempt before the first of them has failed: so many
//! guesses are not held back.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::config::LoginName;
use crate::listener::peer::LocalPeer;

/// The longest time that an attempt waits; one that would have to wait longer is turned away.
pub const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The longest wait that one failure more adds.
const MOST_FOR_A_CLIENT: Duration = Duration::from_secs(30);
/// The longest wait because others failed for the same name.
const MOST_FOR_A_NAME: Duration = Duration::from_secs(5);

/// The time after which failures are forgotten.
const MEMORY: Duration = Duration::from_secs(600);

/// The time for which a success is remembered.
const WELCOME: Duration = Duration::from_secs(24 * 3600);

/// The number of clients, names, and pairs of them, that are remembered.
const MOST: usize = 1000;

/// The longest name that is told from others, in octets.
const MAX_NAME_OCTETS: usize = 255;

/// A client, as far as its failures are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum LoginClient {
    Uid(u32),
    Address(IpAddr),
}

impl LoginClient {
    pub(super) fn of(peer: LocalPeer) -> Self {
        match peer {
            LocalPeer::Loopback(ip) => LoginClient::Address(ip),
            LocalPeer::LoopbackUser(_, uid) | LocalPeer::Uid(uid) => LoginClient::Uid(uid),
        }
    }
}

/// The failures that are remembered.
pub(super) struct LoginDelays(Mutex<Failed>);

struct Failed {
    pairs: FailureTable<(LoginClient, String)>,
    clients: FailureTable<LoginClient>,
    names: FailureTable<String>,
    /// The last success of each client for each name.
    welcome: HashMap<(LoginClient, String), Instant>,
}

impl LoginDelays {
    pub(super) fn new() -> Self {
        LoginDelays(Mutex::new(Failed {
            pairs: FailureTable::allowing(2, MOST_FOR_A_CLIENT),
            clients: FailureTable::allowing(10, MOST_FOR_A_CLIENT),
            names: FailureTable::allowing(20, MOST_FOR_A_NAME),
            welcome: HashMap::new(),
        }))
    }

    /// Returns the wait of an attempt that is made now; `None` if it would be too long. Further attempts of this client come
    /// after it.
    pub(super) fn wait(&self, client: LoginClient, name: &str, now: Instant) -> Option<Duration> {
        let mut failed = self.failed();
        let pair = (client, key(name));
        let is_welcome = failed.is_welcome(&pair, now);
        let of_pair = failed.pairs.due(&pair, now);
        let of_client = if is_welcome { now } else { failed.clients.due(&client, now) };
        let of_name = now + failed.names.delay(&pair.1, now);
        let due = of_pair.max(of_client).max(of_name);
        let wait = due.saturating_duration_since(now);
        if wait > LONGEST_WAIT {
            return None;
        }
        failed.pairs.take(&pair, due);
        if !is_welcome {
            failed.clients.take(&client, due);
        }
        Some(wait)
    }

    /// Notes that an attempt has failed; for no name if the client has told none.
    pub(super) fn failed_for(&self, client: LoginClient, name: Option<&str>, now: Instant) {
        let mut failed = self.failed();
        failed.clients.add(client, now);
        if let Some(name) = name.map(key) {
            failed.names.add(name.clone(), now);
            failed.pairs.add((client, name), now);
        }
    }

    /// Notes that an attempt went well.
    pub(super) fn succeeded(&self, client: LoginClient, name: &str, now: Instant) {
        let (mut failed, pair) = (self.failed(), (client, key(name)));
        failed.pairs.0.remove(&pair);
        if failed.welcome.len() >= MOST {
            failed.welcome.retain(|_, last| now.saturating_duration_since(*last) < WELCOME);
        }
        if failed.welcome.len() < MOST || failed.welcome.contains_key(&pair) {
            failed.welcome.insert(pair, now);
        }
    }

    fn failed(&self) -> MutexGuard<'_, Failed> {
        // No code under this lock can panic and leave the state inconsistent.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Failed {
    /// Returns whether this client has logged in to this name lately.
    fn is_welcome(&self, pair: &(LoginClient, String), now: Instant) -> bool {
        self.welcome.get(pair).is_some_and(|last| now.saturating_duration_since(*last) < WELCOME)
    }
}

/// Returns the name as users are found by it; what can be no name of a user, as it is.
fn key(name: &str) -> String {
    match LoginName::parse(name) {
        Some(LoginName(name)) => name,
        None => name[..name.floor_char_boundary(MAX_NAME_OCTETS)].to_owned(),
    }
}

/// The failures of each key, with the number that is free and the longest wait.
struct FailureTable<K>(HashMap<K, FailedLogins>, u32, Duration);

struct FailedLogins {
    count: u32,
    last: Instant,
    /// The time of the attempt that was let through last, or is to be.
    busy_until: Instant,
}

impl<K: Hash + Eq + Clone> FailureTable<K> {
    fn allowing(free: u32, most: Duration) -> Self {
        FailureTable(HashMap::new(), free, most)
    }

    /// Returns the wait before one more attempt.
    fn delay(&self, key: &K, now: Instant) -> Duration {
        let known = self.0.get(key).filter(|failure| now.saturating_duration_since(failure.last) < MEMORY);
        match known.map_or(0, |failure| failure.count).checked_sub(self.1) {
            None => Duration::ZERO,
            // Beyond that, the longest wait is reached.
            Some(beyond) => Duration::from_secs(1 << beyond.min(20)).min(self.2),
        }
    }

    /// Returns the time at which one more attempt may be made, after those that wait.
    fn due(&self, key: &K, now: Instant) -> Instant {
        let delay = self.delay(key, now);
        let busy = self.0.get(key).filter(|_| !delay.is_zero()).map_or(now, |failure| failure.busy_until);
        busy.max(now) + delay
    }

    /// Notes that an attempt is made at `due`.
    fn take(&mut self, key: &K, due: Instant) {
        if let Some(failure) = self.0.get_mut(key) {
            failure.busy_until = due;
        }
    }

    fn add(&mut self, key: K, now: Instant) {
        if self.0.len() >= MOST && !self.0.contains_key(&key) {
            self.make_room(now);
        }
        let failure = self.0.entry(key).or_insert(FailedLogins { count: 0, last: now, busy_until: now });
        if now.saturating_duration_since(failure.last) >= MEMORY {
            failure.count = 0;
        }
        failure.count = failure.count.saturating_add(1);
        failure.last = now;
    }

    fn make_room(&mut self, now: Instant) {
        self.0.retain(|_, failure| now.saturating_duration_since(failure.last) < MEMORY);
        if self.0.len() < MOST {
            return;
        }
        let oldest = self.0.iter().min_by_key(|(_, failure)| failure.last).map(|(key, _)| key.clone());
        if let Some(key) = oldest {
            self.0.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: LoginClient = LoginClient::Uid(1000);
    const BOB: LoginClient = LoginClient::Uid(1001);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Makes attempts one after the other, each as soon as it may. Returns the waits in seconds; no wait is 99 where the
    /// attempt is turned away.
    fn waits(
        delays: &LoginDelays,
        now: &mut Instant,
        client: LoginClient,
        name: &str,
        tries: usize,
    ) -> Vec<u64> {
        let attempt = |_| {
            let Some(wait) = delays.wait(client, name, *now) else { return 99 };
            *now += wait;
            delays.failed_for(client, Some(name), *now);
            wait.as_secs()
        };
        (0..tries).map(attempt).collect()
    }

    #[test]
    fn failures_slow_the_client_down_and_a_success_ends_that() {
        let (delays, mut now) = (LoginDelays::new(), Instant::now());
        assert_eq!(waits(&delays, &mut now, ANN, "shop", 9), [0, 0, 1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(delays.wait(ANN, "other", now), Some(Duration::ZERO), "another name of this client");
        assert_eq!(delays.wait(BOB, "shop", now), Some(Duration::ZERO), "another client");
        delays.succeeded(ANN, "shop", now);
        assert_eq!(delays.wait(ANN, "shop", now), Some(Duration::ZERO));
        assert_eq!(waits(&delays, &mut now, ANN, "shop", 3)[..1], [0]);
    }

    /// Each spelling had its own free attempts, and a success under one of them ended no waits of another.
    #[test]
    fn spellings_of_one_name_are_one_name() {
        let (delays, mut now) = (LoginDelays::new(), Instant::now());
        let spellings = ["shop", "sh\u{ad}op", "\u{ff53}hop", "sho\u{200d}p"];
        let tried: Vec<u64> =
            spellings.iter().flat_map(|name| waits(&delays, &mut now, ANN, name, 1)).collect();
        assert_eq!(tried, [0, 0, 1, 2]);
        delays.succeeded(ANN, "s\u{ad}hop", now);
        assert_eq!(delays.wait(ANN, "shop", now), Some(Duration::ZERO));
        for not_prepared in ["\u{7}", "a b"] {
            assert_eq!(waits(&delays, &mut now, BOB, not_prepared, 3), [0, 0, 1], "{not_prepared:?}");
        }
    }

    /// Behind a proxy all programs are one client: what one of them failed held up the others by up to 30 s.
    #[test]
    fn a_name_that_logged_in_from_here_waits_for_no_failures_of_other_names() {
        let (delays, mut now) = (LoginDelays::new(), Instant::now());
        delays.succeeded(ANN, "shop", now);
        for number in 0..15 {
            waits(&delays, &mut now, ANN, &number.to_string(), 1);
        }
        assert_eq!(delays.wait(ANN, "shop", now), Some(Duration::ZERO));
        assert_eq!(delays.wait(BOB, "shop", now), Some(Duration::ZERO));
        assert!(delays.wait(ANN, "other", now).is_some_and(|wait| wait >= seconds(16)));
        assert_eq!(waits(&delays, &mut now, ANN, "shop", 3), [0, 0, 1], "its own failures count");
        for number in 0..3 * MOST {
            delays.succeeded(ANN, &number.to_string(), now);
        }
        assert_eq!(delays.failed().welcome.len(), MOST);
        assert!(!delays.failed().is_welcome(&(ANN, "shop".into()), now + WELCOME));
    }

    #[test]
    fn what_is_long_ago_is_forgotten() {
        let (delays, mut now) = (LoginDelays::new(), Instant::now());
        waits(&delays, &mut now, ANN, "shop", 30);
        assert_eq!(delays.wait(ANN, "shop", now + MEMORY), Some(Duration::ZERO));
        now += MEMORY;
        assert_eq!(waits(&delays, &mut now, ANN, "shop", 3), [0, 0, 1]);
    }

    /// With a name for each attempt, nothing slowed a client down.
    #[test]
    fn a_client_that_tries_many_names_is_slowed_down_too() {
        let (delays, mut now) = (LoginDelays::new(), Instant::now());
        let tried: Vec<u64> =
            (0..14).flat_map(|number| waits(&delays, &mut now, ANN, &number.to_string(), 1)).collect();
        assert_eq!(tried, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 4, 8]);
        delays.failed_for(BOB, None, now);
        assert_eq!(delays.wait(BOB, "", now), Some(Duration::ZERO), "no name is no name of anybody");
    }

    /// Sessions at once would all have waited for the same second.
    #[test]
    fn attempts_at_once_wait_one_after_the_other_or_are_turned_away() {
        let (delays, mut now) = (LoginDelays::new(), Instant::now());
        waits(&delays, &mut now, ANN, "shop", 7);
        let at_once: Vec<_> = (0..4).map(|_| delays.wait(ANN, "shop", now)).collect();
        assert_eq!(at_once, [Some(seconds(30)), Some(seconds(60)), None, None]);
    }

    #[test]
    fn one_client_cannot_lock_another_one_out_of_a_name() {
        let (delays, mut now) = (LoginDelays::new(), Instant::now());
        for uid in 0..1000 {
            waits(&delays, &mut now, LoginClient::Uid(uid), "shop", 1);
        }
        assert_eq!(delays.wait(LoginClient::Uid(5000), "shop", now), Some(MOST_FOR_A_NAME));
        assert_eq!(
            delays.wait(LoginClient::Uid(5001), "shop", now),
            Some(MOST_FOR_A_NAME),
            "not one after the other"
        );
        assert_eq!(delays.wait(LoginClient::Uid(5000), "other", now), Some(Duration::ZERO));
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_goes_first() {
        let (delays, now) = (LoginDelays::new(), Instant::now());
        for number in 0..3 * MOST {
            let later = now + Duration::from_millis(number as u64);
            delays.failed_for(LoginClient::Uid(number as u32), Some(&"x".repeat(9999)), later);
            delays.failed_for(LoginClient::Uid(number as u32), Some(&number.to_string()), later);
        }
        let failed = delays.failed();
        assert!(
            failed.pairs.0.len() <= MOST && failed.clients.0.len() <= MOST && failed.names.0.len() <= MOST
        );
        assert!(failed.names.0.keys().all(|name| name.len() <= MAX_NAME_OCTETS));
        assert!(failed.clients.0.contains_key(&LoginClient::Uid(3 * MOST as u32 - 1)));
    }
}
