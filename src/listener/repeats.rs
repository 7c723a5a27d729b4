//! Log lines that would repeat without end: the first few of each kind are written, and then only their number.
//!
//! Promises:
//! 1. For each kind, a session writes at most [`TOLD`] lines, and at its end one line with the number of the others.
//! 2. For each kind, all sessions of one client (a user, or an address) together write at most [`TOLD`] lines in a
//!    minute, and as many with the number of a session. All others are one number at the end of the minute.
//! 3. Every event is either logged or counted. Memory is bounded: beyond [`MOST`] kinds in a minute, clients are
//!    counted together.
//!
//! What clients were given is counted here, too, since each session has this at hand ([`IntakeCounts`]).
//!
//! Without this, one session with refused recipients wrote 173,000 lines to the log, and 2,000 sessions with one each
//! wrote 4,000.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::log;

/// The number of lines of one kind that are logged one by one.
const TOLD: u64 = 5;

/// The number of kinds, each of one client, that are counted separately in a minute.
const MOST: usize = 1000;

/// The name for the clients beyond [`MOST`] in the log.
const OTHERS: &str = "other clients";

/// The period after which the number of the events that were not logged is written.
pub(super) const MINUTE: Duration = Duration::from_secs(60);

/// The verbs whose refusal keeps mail away, with the words that stand for the connection and the content.
const REFUSED_VERBS: [&str; 6] = ["CONNECT", "MAIL", "RCPT", "DATA", "BDAT", "END-OF-MESSAGE"];

/// A kind of line. There are few, and a client cannot invent new ones.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum RepeatKind {
    /// A command was refused: its verb, and the code of the reply.
    Refused(&'static str, u16),
    /// A session ended within a transaction: how it ended.
    Ended(&'static str),
    /// The TLS handshake failed.
    NoTls,
    /// A message was not queued: the reason.
    NotQueued(String),
    /// A client has logged in.
    LoggedIn,
    /// A client could not log in.
    LoginFailed,
}

impl RepeatKind {
    fn say_more(&self, client: &str, more: u64) {
        match self {
            RepeatKind::Refused(verb, code) => log::refused_more(client, verb, *code, more),
            RepeatKind::Ended(how) => log::session_ended_more(client, how, more),
            RepeatKind::NoTls => log::no_tls_more(client, more),
            RepeatKind::NotQueued(why) => log::not_queued_more(client, why, more),
            RepeatKind::LoggedIn => log::login_more(client, false, more),
            RepeatKind::LoginFailed => log::login_more(client, true, more),
        }
    }
}

/// The counts of one kind.
#[derive(Debug, Default)]
struct Count {
    lines: u64,
    sums: u64,
    untold: u64,
}

/// The numbers of repeated events, by kind.
#[derive(Debug)]
struct Repeats<K>(BTreeMap<K, Count>);

impl<K: Ord> Repeats<K> {
    fn new() -> Self {
        Repeats(BTreeMap::new())
    }

    /// Counts one event. Returns whether it gets a line of its own.
    fn tell(&mut self, kind: K) -> bool {
        let count = self.0.entry(kind).or_default();
        count.lines += 1;
        let is_told = count.lines <= TOLD;
        count.untold += u64::from(!is_told);
        is_told
    }

    /// Counts `more` events that a session did not log. Returns whether their number gets a line of its own.
    fn tell_sum(&mut self, kind: K, more: u64) -> bool {
        let count = self.0.entry(kind).or_default();
        count.sums += 1;
        let is_told = count.sums <= TOLD;
        count.untold += if is_told { 0 } else { more };
        is_told
    }

    /// Returns the number of events of each kind that were not logged.
    fn untold(&self) -> impl Iterator<Item = (&K, u64)> {
        self.0.iter().map(|(kind, count)| (kind, count.untold)).filter(|(_, untold)| *untold > 0)
    }
}

/// The counts of all sessions, of which those for the log begin anew each minute.
#[derive(Debug)]
pub struct RepeatTally {
    minute: Mutex<Minute>,
    accepted: AtomicU64,
    refused: AtomicU64,
    /// The number of refusals of each verb with each code.
    refusals: Mutex<BTreeMap<(&'static str, u16), u64>>,
}

/// What clients were given since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IntakeCounts {
    /// The number of messages that were accepted.
    pub accepted: u64,
    /// The number of times that a session, a message or a recipient was refused.
    pub refused: u64,
}

#[derive(Debug)]
struct Minute {
    began: Instant,
    repeats: Repeats<(String, RepeatKind)>,
}

impl Minute {
    fn beginning(now: Instant) -> Self {
        Minute { began: now, repeats: Repeats::new() }
    }

    /// Returns the counts if a minute is over, and begins a new minute.
    fn ended(&mut self, now: Instant) -> Option<Minute> {
        let is_over = now.saturating_duration_since(self.began) >= MINUTE;
        is_over.then(|| std::mem::replace(self, Minute::beginning(now)))
    }

    fn key(&self, client: &str, kind: RepeatKind) -> (String, RepeatKind) {
        let key = (client.to_owned(), kind);
        let is_one_too_many = self.repeats.0.len() >= MOST && !self.repeats.0.contains_key(&key);
        if is_one_too_many { (OTHERS.to_owned(), key.1) } else { key }
    }

    fn say(&self) {
        for ((client, kind), more) in self.repeats.untold() {
            kind.say_more(client, more);
        }
    }
}

impl RepeatTally {
    /// Returns a tally with nothing counted.
    pub fn new() -> Arc<Self> {
        Arc::new(RepeatTally {
            minute: Mutex::new(Minute::beginning(Instant::now())),
            accepted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            refusals: Mutex::default(),
        })
    }

    /// Returns what clients were given since the start.
    pub(super) fn counts(&self) -> IntakeCounts {
        IntakeCounts { accepted: self.accepted.load(Relaxed), refused: self.refused.load(Relaxed) }
    }

    /// Counts a refusal of this verb with this code. One that only follows from an earlier refusal (503), and one that keeps no
    /// mail away, does not count.
    pub(super) fn count_refusal(&self, verb: &str, code: u16) {
        let verb = REFUSED_VERBS.iter().find(|known| **known == verb);
        let Some(verb) = verb.filter(|_| code != 503) else { return };
        self.refused.fetch_add(1, Relaxed);
        *held(&self.refusals).entry((*verb, code)).or_default() += 1;
    }

    /// Returns the number of refusals of each verb with each code.
    pub(super) fn refusals(&self) -> Vec<(&'static str, u16, u64)> {
        held(&self.refusals).iter().map(|((verb, code), times)| (*verb, *code, *times)).collect()
    }

    /// Counts one event of `client`. Returns whether it gets a line of its own.
    pub(super) fn tell(&self, client: &str, kind: RepeatKind) -> bool {
        self.sum_up(Instant::now());
        let mut minute = self.minute();
        let key = minute.key(client, kind);
        minute.repeats.tell(key)
    }

    /// Logs or counts the events that a session of `client` did not log.
    fn tell_sum(&self, client: &str, kind: &RepeatKind, more: u64) {
        let mut minute = self.minute();
        let key = minute.key(client, kind.clone());
        let is_told = minute.repeats.tell_sum(key, more);
        drop(minute);
        if is_told {
            kind.say_more(client, more);
        }
    }

    /// Logs the counted events if a minute is over.
    pub(super) fn sum_up(&self, now: Instant) {
        let ended = self.minute().ended(now);
        if let Some(minute) = ended {
            minute.say();
        }
    }

    /// Logs the counted events when the listener ends.
    pub(super) fn end(&self) {
        let minute = std::mem::replace(&mut *self.minute(), Minute::beginning(Instant::now()));
        minute.say();
    }

    fn minute(&self) -> MutexGuard<'_, Minute> {
        held(&self.minute)
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code under these locks can panic and leave the state inconsistent.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The counts of one session for lines that may repeat. Dropping it logs the number of those that were not logged.
#[derive(Debug)]
pub(super) struct SessionLines {
    client: String,
    repeats: Repeats<RepeatKind>,
    tally: Arc<RepeatTally>,
}

impl SessionLines {
    /// Returns the counts for a session of `client`.
    pub fn new(client: String, tally: Arc<RepeatTally>) -> Self {
        SessionLines { client, repeats: Repeats::new(), tally }
    }

    /// Returns the client as log lines name it.
    pub fn client(&self) -> &str {
        &self.client
    }

    /// Counts a message that was accepted.
    pub fn count_accepted(&self) {
        self.tally.accepted.fetch_add(1, Relaxed);
    }

    /// Counts a refusal of this verb with this code.
    pub fn count_refusal(&self, verb: &str, code: u16) {
        self.tally.count_refusal(verb, code);
    }

    /// Counts one event. Returns whether it gets a line of its own.
    pub fn tell(&mut self, kind: RepeatKind) -> bool {
        self.repeats.tell(kind.clone()) && self.tally.tell(&self.client, kind)
    }
}

impl Drop for SessionLines {
    fn drop(&mut self) {
        for (kind, more) in self.repeats.untold() {
            self.tally.tell_sum(&self.client, kind, more);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::testing::logged;

    const RCPT: RepeatKind = RepeatKind::Refused("RCPT", 550);

    fn session(client: &str, tally: &Arc<RepeatTally>) -> SessionLines {
        SessionLines::new(client.into(), Arc::clone(tally))
    }

    #[test]
    fn what_keeps_mail_away_is_counted_once() {
        let tally = RepeatTally::new();
        let lines = session("uid 7", &tally);
        lines.count_accepted();
        for (verb, code) in
            [("MAIL", 550), ("RCPT", 503), ("DATA", 503), ("END-OF-MESSAGE", 452), ("VRFY", 502)]
        {
            lines.count_refusal(verb, code);
        }
        tally.count_refusal("CONNECT", 421);
        assert_eq!(tally.counts(), IntakeCounts { accepted: 1, refused: 3 });
    }

    #[test]
    fn of_a_session_the_first_few_are_told_and_the_others_counted() {
        let tally = RepeatTally::new();
        let mut lines = session("uid 7", &tally);
        let told = (0..173_000).filter(|_| lines.tell(RCPT)).count();
        assert_eq!(told as u64, TOLD);
        assert!(lines.tell(RepeatKind::Refused("MAIL", 550)));
        assert_eq!(lines.repeats.untold().collect::<Vec<_>>(), [(&RCPT, 173_000 - TOLD)]);
        let log = logged(|| drop(lines));
        assert_eq!(log.matches("172995 more like this: RCPT from uid 7: 550").count(), 1, "{log}");
        assert_eq!(logged(|| tally.end()), "", "told already");
    }

    /// Each of 2,000 sessions logged its own lines, and another one for its end.
    #[test]
    fn of_all_sessions_of_a_client_each_minute_has_the_first_few() {
        let kinds = [
            RCPT,
            RepeatKind::Ended("lost connection"),
            RepeatKind::NoTls,
            RepeatKind::NotQueued("full".into()),
            RepeatKind::LoggedIn,
            RepeatKind::LoginFailed,
        ];
        for kind in kinds {
            let tally = RepeatTally::new();
            let tell = |client| session(client, &tally).tell(kind.clone());
            for _ in 0..2 {
                assert_eq!((0..2000).filter(|_| tell("uid 7")).count() as u64, TOLD, "{kind:?}");
                assert!(tell("uid 8"), "another's are told");
                let now = Instant::now();
                assert_eq!(logged(|| tally.sum_up(now)), "", "{kind:?}");
                let log = logged(|| tally.sum_up(now + MINUTE));
                assert_eq!(log.matches("1995 more like this").count(), 1, "{log}");
                assert_eq!((log.lines().count(), log.matches("client=\"uid 7\"").count()), (1, 1), "{log}");
                // The next minute begins now.
                tally.minute().began = now;
            }
        }
    }

    #[test]
    fn the_numbers_of_sessions_are_counted_too_and_none_is_lost() {
        let tally = RepeatTally::new();
        let log = logged(|| {
            for _ in 0..100 {
                let mut lines = session("uid 7", &tally);
                for _ in 0..7 {
                    lines.tell(RCPT);
                }
            }
        });
        assert_eq!(log.matches("2 more like this: RCPT from uid 7").count() as u64, TOLD, "{log}");
        let log = logged(|| tally.end());
        // Of 700 events, five got a line each, and five sessions a line about two events each.
        assert!(log.contains("685 more like this: RCPT from uid 7: 550"), "{log}");
    }

    /// A client may come from any of sixteen million loopback addresses.
    #[test]
    fn many_clients_take_little_memory_and_few_lines() {
        let tally = RepeatTally::new();
        let told = (0..100_000).filter(|number| tally.tell(&format!("localhost[{number}]"), RCPT)).count();
        assert_eq!(told, MOST + TOLD as usize);
        assert_eq!(tally.minute().repeats.0.len(), MOST + 1);
        let log = logged(|| tally.end());
        assert!(log.contains("98995 more like this: RCPT from other clients: 550"), "{log}");
    }
}
