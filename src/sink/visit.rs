//! One session of a sink, as its faults and limits see it.
//!
//! Promises: whoever strikes is reported as an event; a visit that is dropped gives back the connections that it has taken
//! up.

use std::sync::{Arc, PoisonError};

use super::allowance::SessionTally;
use super::event::SinkEvent;
use super::fault::{FaultEffect, SinkPhase};
use super::{Misbehaviour, Shared};

/// A session, with what it has used of the limits.
pub(super) struct Visit {
    shared: Arc<Shared>,
    tally: SessionTally,
}

impl Visit {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Visit { shared, tally: SessionTally::default() }
    }

    /// Returns the effect of what strikes at `phase`, if anything does: the rule for senders, where `sender` is the
    /// reverse-path of the transaction, or a fault, or a limit. What the session has come to is counted unless something
    /// strikes.
    pub(super) fn strike(
        &mut self,
        phase: SinkPhase,
        sender: &str,
        address: Option<&str>,
    ) -> Option<FaultEffect> {
        if phase == SinkPhase::Mail {
            self.tally.begin();
        }
        let now = self.shared.clock.elapsed();
        // Neither part is left half changed by any statement that can panic.
        let mut guard = self.shared.misbehaviour.lock().unwrap_or_else(PoisonError::into_inner);
        let Misbehaviour { senders, faults, allowances } = &mut *guard;
        let effect = senders.strike(phase, sender);
        let effect = effect.or_else(|| faults.strike(phase, address));
        let effect = effect.or_else(|| allowances.take(&mut self.tally, phase, now));
        drop(guard);
        if let Some(effect) = &effect {
            self.shared.tell(SinkEvent::Struck(phase, effect.clone()));
        }
        if phase == SinkPhase::Rcpt && effect.as_ref().is_none_or(|effect| effect.goes_on_at(phase)) {
            self.tally.add_recipient();
        }
        effect
    }

    /// Notes that a message was stored.
    pub(super) fn note_message(&mut self) {
        self.tally.add_message();
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut guard = self.shared.misbehaviour.lock().unwrap_or_else(PoisonError::into_inner);
        guard.allowances.leave(&mut self.tally);
    }
}
