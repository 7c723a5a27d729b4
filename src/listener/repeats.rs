//! What is refused, or ends badly, over and over: the first few lines of each kind, and then a number.
//!
//! Promises:
//! 1. Of each kind the log has [`TOLD`] lines from one session, and one with a number at its end.
//! 2. Of each kind it has [`TOLD`] lines in a minute from all sessions of one client (a user, or an address), and as
//!    many with the number of a session; all others are one number when the minute is over.
//! 3. Every one is told or counted. Memory is bounded: beyond [`MOST`] kinds in a minute clients are counted together.
//!
//! One session of refused recipients wrote 173,000 lines to the log, and 2,000 sessions with one each wrote 4,000.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::log;

/// So many of a kind are told one by one.
const TOLD: u64 = 5;

/// So many kinds, each of one client, are told apart in a minute.
const MOST: usize = 1000;

/// Whose what is beyond [`MOST`] is said to be.
const OTHERS: &str = "other clients";

/// After so long the number of what was not told is.
pub(super) const MINUTE: Duration = Duration::from_secs(60);

/// A kind of line. There are few: a client cannot make up new ones.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum RepeatKind {
    /// What was refused, and with which code.
    Refused(&'static str, u16),
    /// How a session ended within a transaction.
    Ended(&'static str),
    /// The TLS handshake failed.
    NoTls,
    /// Why a message was not queued.
    NotQueued(String),
}

impl RepeatKind {
    fn say_more(&self, client: &str, more: u64) {
        match self {
            RepeatKind::Refused(verb, code) => log::refused_more(client, verb, *code, more),
            RepeatKind::Ended(how) => log::session_ended_more(client, how, more),
            RepeatKind::NoTls => log::no_tls_more(client, more),
            RepeatKind::NotQueued(why) => log::not_queued_more(client, why, more),
        }
    }
}

/// What there was of a kind.
#[derive(Debug, Default)]
struct Count {
    lines: u64,
    sums: u64,
    untold: u64,
}

/// Counts, by kind.
#[derive(Debug)]
struct Repeats<K>(BTreeMap<K, Count>);

impl<K: Ord> Repeats<K> {
    fn new() -> Self {
        Repeats(BTreeMap::new())
    }

    /// Counts one; whether it is to be told by itself.
    fn tell(&mut self, kind: K) -> bool {
        let count = self.0.entry(kind).or_default();
        count.lines += 1;
        let is_told = count.lines <= TOLD;
        count.untold += u64::from(!is_told);
        is_told
    }

    /// Counts so many that a session has not told; whether their number is to be told by itself.
    fn tell_sum(&mut self, kind: K, more: u64) -> bool {
        let count = self.0.entry(kind).or_default();
        count.sums += 1;
        let is_told = count.sums <= TOLD;
        count.untold += if is_told { 0 } else { more };
        is_told
    }

    /// How many of each kind were not told.
    fn untold(&self) -> impl Iterator<Item = (&K, u64)> {
        self.0.iter().map(|(kind, count)| (kind, count.untold)).filter(|(_, untold)| *untold > 0)
    }
}

/// What all sessions give the log: each minute begins anew.
#[derive(Debug)]
pub struct RepeatTally(Mutex<Minute>);

#[derive(Debug)]
struct Minute {
    began: Instant,
    repeats: Repeats<(String, RepeatKind)>,
}

impl Minute {
    fn beginning(now: Instant) -> Self {
        Minute { began: now, repeats: Repeats::new() }
    }

    /// What was counted, once a minute is over.
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
    /// With nothing counted.
    pub fn new() -> Arc<Self> {
        Arc::new(RepeatTally(Mutex::new(Minute::beginning(Instant::now()))))
    }

    /// Counts one of `client`'s; whether it is to be told by itself.
    pub(super) fn tell(&self, client: &str, kind: RepeatKind) -> bool {
        self.sum_up(Instant::now());
        let mut minute = self.minute();
        let key = minute.key(client, kind);
        minute.repeats.tell(key)
    }

    /// Tells or counts what a session of `client`'s has not told.
    fn tell_sum(&self, client: &str, kind: &RepeatKind, more: u64) {
        let mut minute = self.minute();
        let key = minute.key(client, kind.clone());
        let is_told = minute.repeats.tell_sum(key, more);
        drop(minute);
        if is_told {
            kind.say_more(client, more);
        }
    }

    /// Tells what was counted, if a minute is over.
    pub(super) fn sum_up(&self, now: Instant) {
        let ended = self.minute().ended(now);
        if let Some(minute) = ended {
            minute.say();
        }
    }

    /// Tells what was counted, at the end of all.
    pub(super) fn end(&self) {
        let minute = std::mem::replace(&mut *self.minute(), Minute::beginning(Instant::now()));
        minute.say();
    }

    fn minute(&self) -> MutexGuard<'_, Minute> {
        // Nothing that is done under this lock can panic half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one session gives the log of what may come again and again; its end tells what it has not told.
#[derive(Debug)]
pub(super) struct SessionLines {
    client: String,
    repeats: Repeats<RepeatKind>,
    tally: Arc<RepeatTally>,
}

impl SessionLines {
    /// Those of a session of `client`'s.
    pub fn new(client: String, tally: Arc<RepeatTally>) -> Self {
        SessionLines { client, repeats: Repeats::new(), tally }
    }

    /// The client as log lines name it.
    pub fn client(&self) -> &str {
        &self.client
    }

    /// Counts one; whether it is to be told by itself.
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
    use crate::journal::testing::Captured;

    const RCPT: RepeatKind = RepeatKind::Refused("RCPT", 550);

    /// The lines that are logged.
    fn logged(say: impl FnOnce()) -> String {
        let captured = Captured::default();
        let sink = captured.clone();
        let journal = tracing_subscriber::fmt().with_writer(move || sink.clone()).finish();
        tracing::subscriber::with_default(journal, say);
        captured.text()
    }

    fn session(client: &str, tally: &Arc<RepeatTally>) -> SessionLines {
        SessionLines::new(client.into(), Arc::clone(tally))
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

    /// Each of 2,000 sessions told its own, and that it had ended.
    #[test]
    fn of_all_sessions_of_a_client_each_minute_has_the_first_few() {
        let kinds = [
            RCPT,
            RepeatKind::Ended("lost connection"),
            RepeatKind::NoTls,
            RepeatKind::NotQueued("full".into()),
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
                // The next minute begins then.
                tally.0.lock().unwrap().began = now;
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
        // Of 700 five were told as they were, and five times two by their number.
        assert!(log.contains("685 more like this: RCPT from uid 7: 550"), "{log}");
    }

    /// There are sixteen million loopback addresses to come from.
    #[test]
    fn many_clients_take_little_memory_and_few_lines() {
        let tally = RepeatTally::new();
        let told = (0..100_000).filter(|number| tally.tell(&format!("localhost[{number}]"), RCPT)).count();
        assert_eq!(told, MOST + TOLD as usize);
        assert_eq!(tally.0.lock().unwrap().repeats.0.len(), MOST + 1);
        let log = logged(|| tally.end());
        assert!(log.contains("98995 more like this: RCPT from other clients: 550"), "{log}");
    }
}
