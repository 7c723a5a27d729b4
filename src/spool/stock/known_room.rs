//! What the disk has said of its room, and how long that is believed.
//!
//! Pure: time is an argument. Not here: who asks the disk (`stock.rs`).

use std::time::Instant;

use crate::spool::space::ROOM_IS_KNOWN_FOR;

/// What the disk has said of its room.
#[derive(Default)]
pub(super) struct KnownRoom {
    /// Whether it gave room for so many octets when it was asked last, and when that was.
    answer: Option<(Instant, u64, bool)>,
    /// How often its room may have changed.
    pub changes: u64,
}

impl KnownRoom {
    /// Whether it gives room for `octets`, if that is known.
    pub fn get(&self, octets: u64, now: Instant) -> Option<bool> {
        let (asked, known, gave) = self.answer?;
        let tells = if gave { octets <= known } else { octets >= known };
        (tells && now.saturating_duration_since(asked) < ROOM_IS_KNOWN_FOR).then_some(gave)
    }

    /// Takes in what the disk has said, if nothing has changed since these `changes`, when it was asked.
    pub fn learn(&mut self, changes: u64, answer: (Instant, u64, bool)) {
        if self.changes == changes {
            self.answer = Some(answer);
        }
    }

    /// Where there was room there is; where there was none, there may be some now.
    pub fn gains(&mut self) {
        self.change(self.answer.filter(|(_, _, gave)| *gave));
    }

    /// Octets of the room are used: what is left of it is known.
    pub fn uses(&mut self, octets: u64) {
        self.change(self.answer.map(|(asked, known, gave)| (asked, known.saturating_sub(octets), gave)));
    }

    /// Takes no answer for known any more.
    pub fn forget(&mut self) {
        self.change(None);
    }

    fn change(&mut self, answer: Option<(Instant, u64, bool)>) {
        (self.answer, self.changes) = (answer, self.changes + 1);
    }
}
