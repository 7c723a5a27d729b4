//! One live message as the queue remembers it: what it is doing, and how old and how patient it is.
//!
//! Pure: time is an argument.

use std::time::Duration;

use jiff::Timestamp;

use super::super::patience::PatienceReading;
use crate::envelope::ReversePathKey;
use crate::spool::Marks;

/// The state of a live message in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It waits in its lane for a connection.
    Ready,
    /// A connection carries it, or its result is being recorded.
    UnderWay,
    /// It is deferred until this second since 1970.
    Waiting(u32),
    /// Another relay has it, which gets other recipients of it.
    Elsewhere(Aside),
    /// It is held after a refusal that only an operator can correct.
    Held,
    /// An operator has put it on hold.
    OnHold,
    /// It has failed and nobody can be told, or it is damaged. It is kept for the operator.
    Dead,
}

impl Standing {
    /// Returns whether it is to be sent, by itself or when what holds it up is mended.
    pub fn is_awaited(self) -> bool {
        !matches!(self, Standing::OnHold | Standing::Dead)
    }
}

/// The state of a message at one relay when another relay, which has it now, gives it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aside {
    /// It is ready.
    Ready,
    /// It is deferred until this second since 1970.
    Waiting(u32),
    /// It is held.
    Held,
}

/// The queue's memory of one message.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    /// The message's state.
    pub standing: Standing,
    /// The short name of the lane in which it waits.
    pub(super) lane: u32,
    /// The key of its reverse-path.
    pub from: ReversePathKey,
    pub(super) arrived: u32,
    /// The second at which its patience would have begun by the clock of its standing ([`Member::clock`]). It may be below
    /// zero.
    pub(super) patience_mark: i32,
    /// The time since which it has been ready, in hundredths of a second: see [`to_hundredths`].
    pub(super) ready_since: u32,
    /// The marks that the spool has recorded of the message; `standing` says whether it is held or dead.
    pub marks: Marks,
    /// Number of attempts in a row that lost their connection during this message and are charged to it.
    pub losses: u8,
    /// Number of attempts that lost their connection between the final dot and its reply: the relay may have as many
    /// copies.
    pub copies: u8,
    /// True if its name stands in its lane, where it may not be ready any more.
    pub(super) is_named: bool,
}

impl Member {
    /// Returns whether it is ready with losses, or without them.
    pub(super) fn is_ready_with(&self, losses: bool) -> bool {
        self.standing == Standing::Ready && (self.losses > 0) == losses
    }

    /// Returns how long ago it was accepted.
    pub fn age(&self, now: Timestamp) -> Duration {
        seconds_between(self.arrived, now)
    }

    /// Returns how long it has been ready.
    pub fn ready_for(&self, now: Timestamp) -> Duration {
        Duration::from_millis(10 * u64::from(to_hundredths(now).wrapping_sub(self.ready_since)))
    }

    /// Returns the same message for a relay whose clocks are at `there`, where those of the relay it comes from are at
    /// `here`: the patience that it has used stays the same.
    pub fn at_clocks(self, here: PatienceReading, there: PatienceReading) -> Member {
        let mut member = self;
        member.set_patience_used(self.patience_used(here), there);
        member
    }

    /// Returns how much patience it has used when the clocks are at `reading`.
    pub fn patience_used(&self, reading: PatienceReading) -> Duration {
        let used = self.clock(reading) - i64::from(self.patience_mark);
        Duration::from_secs(u64::try_from(used).unwrap_or_default())
    }

    /// Notes how much patience it has used when the clocks are at `reading`.
    pub(super) fn set_patience_used(&mut self, used: Duration, reading: PatienceReading) {
        let mark = self.clock(reading) - i64::try_from(used.as_secs()).unwrap_or(i64::MAX / 2);
        self.patience_mark = i32::try_from(mark).unwrap_or(if mark < 0 { i32::MIN } else { i32::MAX });
    }

    /// Changes what it is doing when the clocks are at `reading`.
    pub fn begins(&mut self, standing: Standing, reading: PatienceReading) {
        let used = self.patience_used(reading);
        self.standing = standing;
        self.set_patience_used(used, reading);
    }

    /// Returns the clock by which its patience is measured while it does what it is doing.
    fn clock(&self, reading: PatienceReading) -> i64 {
        match self.standing {
            Standing::Waiting(_) | Standing::UnderWay | Standing::Elsewhere(Aside::Waiting(_)) => {
                reading.deferred.into()
            }
            Standing::Ready
            | Standing::Elsewhere(Aside::Ready | Aside::Held)
            | Standing::Held
            | Standing::Dead => reading.waiting.into(),
            // Its patience stands, whatever its relay does.
            Standing::OnHold => 0,
        }
    }
}

/// Returns the seconds since 1970 in 32 bits, which are enough until 2106.
pub(super) fn to_seconds(time: Timestamp) -> u32 {
    u32::try_from(time.as_second().max(0)).unwrap_or(u32::MAX)
}

/// Returns hundredths of a second in 32 bits, which begin again at 0: a difference is right up to 497 days.
pub(super) fn to_hundredths(time: Timestamp) -> u32 {
    (time.as_millisecond() / 10) as u32
}

fn seconds_between(from: u32, to: Timestamp) -> Duration {
    Duration::from_secs(to_seconds(to).saturating_sub(from).into())
}
