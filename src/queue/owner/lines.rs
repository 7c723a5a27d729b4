//! The lines of the log that the queue's state asks for. What each says in words is in `log.rs`.

use super::super::reducer::Line;
use crate::log::{self, HeldBack};

impl Line {
    /// Writes it to the log.
    pub(super) fn write(&self) {
        match self {
            Line::RelayPaused { trouble, live, probe_in, is_new } => {
                log::relay_paused(trouble, *live, *probe_in, *is_new);
            }
            Line::RelayTrouble(trouble) => log::relay_trouble(trouble),
            Line::RelaySlowed { trouble, connections } => log::relay_slowed(trouble, *connections),
            Line::RelayResumed { live } => log::relay_resumed(*live),
            Line::RelayFlickered { times, live } => log::relay_flickered(*times, *live),
            Line::RefusalHeld { said, until, has_null_sender } => {
                let (until, has_null_sender) = (*until, *has_null_sender);
                log::refusal_held(&HeldBack { said, until, has_null_sender });
            }
            Line::SendingStopped { why, live } => log::sending_stopped(why, *live),
            Line::SendingResumed { live } => log::sending_resumed(*live),
        }
    }
}
