//! The gate through which every commit goes, so that an operator's order holds for all mail that is accepted later.
//!
//! Promise: when [`CommitGate::wait_for_earlier`] returns, every commit is over that had entered before the call. Commits that enter
//! later wait for nothing.
//!
//! Not here: what a commit looks at when it has entered (`handle.rs`).

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Counts the commits that are under way.
#[derive(Default)]
pub(super) struct CommitGate {
    inside: Mutex<Inside>,
    left: Condvar,
}

/// The commits that are under way, by the era in which they have entered. Each wait begins a new era.
#[derive(Default)]
struct Inside {
    era: u64,
    counts: BTreeMap<u64, usize>,
}

/// A commit that is under way; it is over when this is dropped.
pub(super) struct Passing<'a> {
    gate: &'a CommitGate,
    era: u64,
}

impl CommitGate {
    /// Begins a commit. It is called before the commit looks at the standing orders.
    pub fn enter(&self) -> Passing<'_> {
        let mut inside = self.lock();
        let era = inside.era;
        *inside.counts.entry(era).or_default() += 1;
        Passing { gate: self, era }
    }

    /// Waits until every commit is over that has entered by now. This blocks.
    pub fn wait_for_earlier(&self) {
        let mut inside = self.lock();
        let last = inside.era;
        inside.era += 1;
        while inside.counts.first_key_value().is_some_and(|(era, _)| *era <= last) {
            inside = self.left.wait(inside).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Passing<'_> {
    fn drop(&mut self) {
        let mut inside = self.gate.lock();
        if let Some(count) = inside.counts.get_mut(&self.era) {
            *count -= 1;
            if *count == 0 {
                inside.counts.remove(&self.era);
                self.gate.left.notify_all();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_wait_is_for_what_has_entered_before_and_for_nothing_else() {
        let gate = CommitGate::default();
        gate.wait_for_earlier();
        let earlier = gate.enter();
        thread::scope(|threads| {
            let waiting = threads.spawn(|| gate.wait_for_earlier());
            while gate.lock().era == earlier.era {
                thread::yield_now();
            }
            let later = gate.enter();
            assert!(!waiting.is_finished());
            drop(earlier);
            waiting.join().unwrap();
            drop(later);
        });
        assert!(gate.lock().counts.is_empty());
    }
}
