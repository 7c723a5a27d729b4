//! What a session is refused over and over: the first few lines of each kind, and then a number.
//!
//! One session of refused recipients wrote 173,000 lines to the log.

use std::collections::BTreeMap;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_few_are_told_and_the_others_counted() {
        let mut repeats = Repeats::new();
        let told = (0..173_000).filter(|_| repeats.tell("RCPT")).count();
        assert_eq!(told as u64, TOLD);
        assert!(repeats.tell("MAIL"));
        assert_eq!(repeats.untold().collect::<Vec<_>>(), [(&"RCPT", 173_000 - TOLD)]);
    }
}
