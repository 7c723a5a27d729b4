//! Samples in slots of time of one length, as many as are kept.

use std::collections::VecDeque;
use std::time::Duration;

use super::FlowSample;

/// The newest slots, at most `most`. A slot is there if something was added in its time.
#[derive(Debug)]
pub(super) struct SlotRing {
    /// The length of a slot, in seconds.
    length: u64,
    most: u64,
    /// The slots with their numbers, which rise; the oldest first.
    slots: VecDeque<(u64, FlowSample)>,
}

impl SlotRing {
    /// Returns a ring of this many slots, each of `length` seconds. It takes all the memory that it will need.
    pub(super) fn new(length: u64, most: u64) -> Self {
        SlotRing { length, most, slots: VecDeque::with_capacity(most as usize) }
    }

    /// Adds a sample to the slot of this moment, which is not before that of the last one.
    pub(super) fn add(&mut self, now: Duration, sample: FlowSample) {
        let number = self.number(now);
        while self.slots.front().is_some_and(|(oldest, _)| oldest + self.most <= number) {
            self.slots.pop_front();
        }
        match self.slots.back_mut() {
            Some((newest, so_far)) if *newest == number => *so_far = so_far.and(sample),
            _ => self.slots.push_back((number, sample)),
        }
    }

    /// Returns those of the last `number` slots that are there, the oldest first, each with how many slots ago it was. The slot
    /// of this moment is one of them.
    pub(super) fn last(&self, now: Duration, number: u64) -> impl Iterator<Item = (u64, FlowSample)> {
        let current = self.number(now);
        let slots = self.slots.iter().map(move |(slot, sample)| (current.saturating_sub(*slot), *sample));
        slots.filter(move |(ago, _)| *ago < number)
    }

    /// Returns the length of the last `number` slots up to this moment, in seconds.
    pub(super) fn seconds(&self, now: Duration, number: u64) -> u64 {
        (number - 1) * self.length + now.as_secs() % self.length + 1
    }

    fn number(&self, now: Duration) -> u64 {
        now.as_secs() / self.length
    }
}
