//! One live message as the queue remembers it: what it is doing, and how old and how patient it is.
//!
//! Pure: time is an argument.

use std::time::Duration;

use jiff::Timestamp;

use super::super::lanes::Lane;
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
    /// It is held after a refusal that only an operator can correct.
    Held,
    /// It has failed and nobody can be told, or it is damaged. It is kept for the operator.
    Dead,
}

/// The queue's memory of one message.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    /// The message's state.
    pub standing: Standing,
    /// The lane in which it waits.
    pub lane: Lane,
    pub(super) arrived: u32,
    pub(super) patience_mark: u32,
    /// The time since which it has been ready, in hundredths of a second: see [`to_hundredths`].
    pub(super) ready_since: u32,
    /// The marks that the spool has recorded of the message; `standing` says whether it is held or dead.
    pub marks: Marks,
    /// Number of attempts in a row that lost their connection during this message and are charged to it.
    pub losses: u8,
    /// Number of attempts that lost their connection between the final dot and its reply: the relay may have as many
    /// copies.
    pub copies: u8,
}

impl Member {
    /// Returns how long ago it was accepted.
    pub fn age(&self, now: Timestamp) -> Duration {
        seconds_between(self.arrived, now)
    }

    /// Returns how long it has been ready.
    pub fn ready_for(&self, now: Timestamp) -> Duration {
        Duration::from_millis(10 * u64::from(to_hundredths(now).wrapping_sub(self.ready_since)))
    }

    /// Returns how much patience it has used when the relay clock is at `relay_clock` seconds.
    pub fn patience_used(&self, relay_clock: u32) -> Duration {
        Duration::from_secs(relay_clock.saturating_sub(self.patience_mark).into())
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
