//! The memory for header sections, which are held until they are complete.
//!
//! Promises: each message may hold [`OWN_HEADER`] octets. Beyond that, all messages together may hold [`HEADERS`] octets,
//! and no ordinary user more than is free for the others. All TCP clients whose user is unknown count as one user.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::listener::peer::is_ordinary;

/// The octets of header that each session may hold in memory.
pub(super) const OWN_HEADER: usize = 32 << 10;

/// The octets of header that all sessions together may hold beyond that.
pub(super) const HEADERS: usize = 16 << 20;

/// A user, or `None` for all clients whose user is unknown.
type Holder = Option<u32>;

/// The octets beyond [`OWN_HEADER`] that the sessions of each user hold.
#[derive(Debug, Default)]
pub(super) struct HeaderMemory(Mutex<HashMap<Holder, usize>>);

impl HeaderMemory {
    /// Returns the octets that each user holds. A user who holds none is not in it.
    pub(super) fn held(&self) -> MutexGuard<'_, HashMap<Holder, usize>> {
        // No code under this lock can panic and leave the map inconsistent.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The octets of header that a message holds in memory, counted until this is dropped.
#[derive(Debug)]
pub struct HeaderRoom {
    memory: Arc<HeaderMemory>,
    whose: Holder,
    /// The octets beyond [`OWN_HEADER`].
    octets: usize,
}

impl HeaderRoom {
    /// Returns the room of a message from this user, which holds nothing at first.
    pub(super) fn new(memory: Arc<HeaderMemory>, whose: Holder) -> Self {
        HeaderRoom { memory, whose, octets: 0 }
    }

    /// Sets the number of octets that are held. Returns `false`, and changes nothing, if this user or all together
    /// would hold too many.
    pub fn hold(&mut self, octets: usize) -> bool {
        let octets = octets.saturating_sub(OWN_HEADER);
        if octets == self.octets {
            return true;
        }
        let mut held = self.memory.held();
        if octets > self.octets && !has_room(&held, self.whose, octets - self.octets) {
            return false;
        }
        let theirs = held.entry(self.whose).or_default();
        *theirs = *theirs - self.octets + octets;
        if *theirs == 0 {
            held.remove(&self.whose);
        }
        self.octets = octets;
        true
    }
}

impl Drop for HeaderRoom {
    fn drop(&mut self) {
        self.hold(0);
    }
}

/// Returns whether this user may hold `more` octets in addition to those that are `held`.
fn has_room(held: &HashMap<Holder, usize>, whose: Holder, more: usize) -> bool {
    let taken = held.values().sum::<usize>() + more;
    let theirs = held.get(&whose).copied().unwrap_or_default() + more;
    let is_ordinary = whose.is_none_or(is_ordinary);
    HEADERS.checked_sub(taken).is_some_and(|left| !is_ordinary || theirs <= left)
}
