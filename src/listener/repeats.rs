//! What is refused over and over, in a session or to clients that get none: the first few lines of each kind, and then
//! a number.
//!
//! One session of refused recipients wrote 173,000 lines to the log.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// So many of a kind are told one by one.
const TOLD: u64 = 5;

/// Counts, by kind. There are few kinds: a client cannot make up new ones.
#[derive(Debug)]
pub(super) struct Repeats<K>(BTreeMap<K, u64>);

impl<K: Ord> Repeats<K> {
    pub fn new() -> Self {
        Repeats(BTreeMap::new())
    }

    /// Counts one; whether it is to be told by itself.
    pub fn tell(&mut self, kind: K) -> bool {
        let count = self.0.entry(kind).or_insert(0);
        *count += 1;
        *count <= TOLD
    }

    /// How many of each kind were not told.
    pub fn untold(&self) -> impl Iterator<Item = (&K, u64)> {
        self.0.iter().filter(|(_, count)| **count > TOLD).map(|(kind, count)| (kind, count - TOLD))
    }
}

/// The same for what goes on without an end, which each minute of refusals begins anew.
#[derive(Debug)]
pub(super) struct RepeatsByMinute<K> {
    began: Instant,
    repeats: Repeats<K>,
}

const MINUTE: Duration = Duration::from_secs(60);

impl<K: Ord> RepeatsByMinute<K> {
    pub fn new(now: Instant) -> Self {
        RepeatsByMinute { began: now, repeats: Repeats::new() }
    }

    /// Counts one; whether it is to be told by itself.
    pub fn tell(&mut self, kind: K) -> bool {
        self.repeats.tell(kind)
    }

    /// What was counted, once a minute is over.
    pub fn ended(&mut self, now: Instant) -> Option<Repeats<K>> {
        let is_over = now.saturating_duration_since(self.began) >= MINUTE;
        is_over.then(|| std::mem::replace(self, RepeatsByMinute::new(now)).repeats)
    }

    /// What was counted, at the end of all.
    pub fn end(&mut self) -> Repeats<K> {
        std::mem::replace(&mut self.repeats, Repeats::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program that was refused a session, and connected again at once, wrote a line each time.
    #[test]
    fn each_minute_the_first_few_are_told_and_the_others_counted() {
        let begun = Instant::now();
        let mut repeats = RepeatsByMinute::new(begun);
        let told = |repeats: &mut RepeatsByMinute<_>| (0..9).filter(|_| repeats.tell("uid 7")).count() as u64;
        assert_eq!(told(&mut repeats), TOLD);
        assert!(repeats.ended(begun + MINUTE / 2).is_none());
        let ended = repeats.ended(begun + MINUTE).unwrap();
        assert_eq!(ended.untold().collect::<Vec<_>>(), [(&"uid 7", 9 - TOLD)]);
        assert_eq!(told(&mut repeats), TOLD);
        assert!(repeats.ended(begun + MINUTE * 3 / 2).is_none());
        assert_eq!(repeats.end().untold().count(), 1);
        assert_eq!(repeats.end().untold().count(), 0);
    }

    #[test]
    fn the_first_few_are_told_and_the_others_counted() {
        let mut repeats = Repeats::new();
        let told = (0..173_000).filter(|_| repeats.tell("RCPT")).count();
        assert_eq!(told as u64, TOLD);
        assert!(repeats.tell("MAIL"));
        assert_eq!(repeats.untold().collect::<Vec<_>>(), [(&"RCPT", 173_000 - TOLD)]);
    }
}
