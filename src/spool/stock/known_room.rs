//! Remembers what the disk has said of its free room, and how long that is believed.
//!
//! Pure: time is an argument. Not here: who asks the disk (`stock.rs`).

use std::time::Instant;

use crate::spool::space::ROOM_IS_KNOWN_FOR;

/// The last answer of the disk about its free room.
#[derive(Default)]
pub(super) struct KnownRoom {
    /// The moment at which the disk was asked last, the number of octets it was asked for, and whether it had room for them.
    answer: Option<(Instant, u64, bool)>,
    /// The number of times at which the free room may have changed.
    pub changes: u64,
}

impl KnownRoom {
    /// Returns whether the disk has room for `octets`; `None` if that is not known.
    pub fn get(&self, octets: u64, now: Instant) -> Option<bool> {
        let (asked, known, gave) = self.answer?;
        let tells = if gave { octets <= known } else { octets >= known };
        (tells && now.saturating_duration_since(asked) < ROOM_IS_KNOWN_FOR).then_some(gave)
    }

    /// Takes in an answer of the disk, unless its room has changed since `changes`, which was the count when it was asked.
    pub fn learn(&mut self, changes: u64, answer: (Instant, u64, bool)) {
        if self.changes == changes {
            self.answer = Some(answer);
        }
    }

    /// Notes that room was freed: where there was room there still is, and where there was none there may be some now.
    pub fn gains(&mut self) {
        self.change(self.answer.filter(|(_, _, gave)| *gave));
    }

    /// Notes that so many octets of the room are used: what is left of it is known.
    pub fn uses(&mut self, octets: u64) {
        self.change(self.answer.map(|(asked, known, gave)| (asked, known.saturating_sub(octets), gave)));
    }

    /// Forgets the answer.
    pub fn forget(&mut self) {
        self.change(None);
    }

    fn change(&mut self, answer: Option<(Instant, u64, bool)>) {
        (self.answer, self.changes) = (answer, self.changes + 1);
    }
}
