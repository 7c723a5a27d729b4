//! The marks of a live message: what is true of it besides its content and what became of its recipients.
//!
//! All who need them use the same value. The index keeps it, a Moved record carries it (`payload.rs`), recovery
//! gives it out in an [`Entry`](super::Entry), and the queue keeps that beside what the message is doing now.
//!
//! Promise: what a running spool knows of a message and what the next start finds are the same marks.
//!
//! An attempt is *in flight* from just before its final dot until what it came to is recorded ([`Flight`]). The relay may
//! have that copy; whoever sends the message again says so in the log, once for each copy, and the mark [`Mark::Told`]
//! keeps later starts from saying it again. That there may be a copy is true of the message to its end, whatever is
//! recorded of later attempts ([`Mark::MayHaveArrived`]): whoever says that the message failed says that, too.
//!
//! Not here: which record sets which mark (`index.rs`).

/// The state of a message, which says whether it is to be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryState {
    /// It is to be delivered.
    Active,
    /// It is held back: its relay refused it in a way that only an operator can mend (`queue/refusals.rs`).
    Held,
    /// It is a DSN that cannot be delivered, and is kept for an operator to see.
    Dead,
    /// An operator has put it on hold: nothing tries it before an operator releases it, not even a start.
    OnHold,
}

/// A mark, which a message has or does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mark {
    /// An attempt has written its final dot, or was about to, and its outcome is not recorded.
    InFlight = 1,
    /// A delay DSN has been committed for it.
    Warned = 2,
    /// It was deferred or refused before: the replies to its recipients are kept on disk, unless they were damaged.
    Deferred = 4,
    /// Its content is in a file of its own.
    Large = 8,
    /// The log has said that the attempt in flight may have left a copy with the relay.
    Told = 64,
    /// Some attempt may have left a copy with the relay, as the log has said then, or would say at the next attempt.
    MayHaveArrived = 128,
}

/// The course of an attempt since it wrote all of its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Flight {
    /// The final dot is about to be written.
    Begun = 0,
    /// It has ended without a reply, and the log has said so.
    Told = 1,
    /// It has ended, the relay has no copy, and nothing else about it is recorded.
    Over = 2,
    /// It may have left a copy, which the log has not said: the next record ends the message. If that record is lost, the
    /// next attempt logs it.
    Hidden = 3,
}

const HELD: u8 = 16;
const DEAD: u8 = 32;

/// The marks of one message, with its state, in one octet, since there may be a million messages. A new message has none and
/// is active.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks(u8);

impl Marks {
    /// Returns whether the message has this mark.
    pub fn has(self, mark: Mark) -> bool {
        self.0 & mark as u8 != 0
    }

    /// Gives the message this mark, or takes it away.
    pub fn set(&mut self, mark: Mark, on: bool) {
        self.set_bits(mark as u8, on);
    }

    /// Returns these marks, and this one where `on` is true.
    #[must_use]
    pub fn and(self, mark: Mark, on: bool) -> Marks {
        Marks(if on { self.0 | mark as u8 } else { self.0 })
    }

    /// Sets the marks that say how the last attempt has gone on.
    pub fn set_flight(&mut self, flight: Flight) {
        self.set(Mark::InFlight, flight != Flight::Over);
        self.set(Mark::Told, flight == Flight::Told);
        *self = self.and(Mark::MayHaveArrived, matches!(flight, Flight::Told | Flight::Hidden));
    }

    /// Returns whether the relay may have the message already, and the log has not said so.
    pub fn hides_duplicate(self) -> bool {
        self.has(Mark::InFlight) && !self.has(Mark::Told)
    }

    /// Returns whether the relay may have the message already.
    pub fn may_have_arrived(self) -> bool {
        self.has(Mark::InFlight) || self.has(Mark::MayHaveArrived)
    }

    /// Returns whether the message is to be delivered.
    pub fn state(self) -> EntryState {
        match (self.0 & HELD != 0, self.0 & DEAD != 0) {
            (true, true) => EntryState::OnHold,
            (true, false) => EntryState::Held,
            (false, true) => EntryState::Dead,
            (false, false) => EntryState::Active,
        }
    }

    /// Sets whether the message is to be delivered.
    pub fn set_state(&mut self, state: EntryState) {
        self.set_bits(HELD, matches!(state, EntryState::Held | EntryState::OnHold));
        self.set_bits(DEAD, matches!(state, EntryState::Dead | EntryState::OnHold));
    }

    fn set_bits(&mut self, bits: u8, on: bool) {
        self.0 = if on { self.0 | bits } else { self.0 & !bits };
    }
}

impl From<EntryState> for Marks {
    fn from(state: EntryState) -> Self {
        let mut marks = Marks::default();
        marks.set_state(state);
        marks
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Every mark that a message can have.
    pub const MARKS: [Mark; 6] =
        [Mark::InFlight, Mark::Warned, Mark::Deferred, Mark::Large, Mark::Told, Mark::MayHaveArrived];

    /// Every state that a message can have.
    pub const STATES: [EntryState; 4] =
        [EntryState::Active, EntryState::Held, EntryState::Dead, EntryState::OnHold];

    /// Returns every set of marks that there can be.
    pub fn all() -> impl Iterator<Item = Marks> {
        let arrived = Mark::MayHaveArrived as u8;
        let bits = (0..16).flat_map(move |bits| [bits, bits | arrived, bits | arrived | Mark::Told as u8]);
        STATES
            .into_iter()
            .flat_map(move |state| bits.clone().map(move |bits| Marks(bits | Marks::from(state).0)))
    }

    #[test]
    fn marks_and_state_do_not_touch_each_other() {
        for before in all() {
            for mark in MARKS {
                for on in [true, false] {
                    let mut marks = before;
                    marks.set(mark, on);
                    assert_eq!((marks.has(mark), marks.state()), (on, before.state()));
                    assert_eq!(marks.0 | mark as u8, before.0 | mark as u8, "the others stay");
                    assert_eq!(before.and(mark, on).has(mark), on || before.has(mark));
                }
            }
            for state in STATES {
                let mut marks = before;
                marks.set_state(state);
                let others = !(HELD | DEAD);
                assert_eq!((marks.state(), marks.0 & others), (state, before.0 & others));
            }
        }
    }

    /// A deferral behind a copy ended the mark, and after a restart the bounce said nothing of the copy.
    #[test]
    fn that_it_may_have_arrived_outlives_every_later_attempt() {
        let flights = [Flight::Begun, Flight::Told, Flight::Over, Flight::Hidden];
        for before in all() {
            for flight in flights {
                let mut marks = before;
                marks.set_flight(flight);
                let leaves_copy = matches!(flight, Flight::Told | Flight::Hidden);
                let expected = before.has(Mark::MayHaveArrived) || leaves_copy;
                assert_eq!(marks.has(Mark::MayHaveArrived), expected, "{before:?} {flight:?}");
                assert_eq!(marks.may_have_arrived(), expected || flight == Flight::Begun);
            }
        }
    }
}
