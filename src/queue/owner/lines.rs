//! The log lines that the queue's state asks for. Their words are in `log/queue.rs` and `log/relay.rs`.

use super::super::reducer::LogLine;
use crate::log::{self, HeldBack};

impl LogLine {
    /// Writes the line to the log.
    pub(super) fn write(&self) {
        match self {
            LogLine::RelayPaused { trouble, live, probe_in, is_new } => {
                log::relay_paused(trouble, *live, *probe_in, *is_new);
            }
            LogLine::RelayTrouble(trouble) => log::relay_trouble(trouble),
            LogLine::RelaySlowed { trouble, connections } => log::relay_slowed(trouble, *connections),
            LogLine::RelayResumed { live } => log::relay_resumed(*live),
            LogLine::RelayFlickered { times, live } => log::relay_flickered(*times, *live),
            LogLine::RefusalHeld { said, until, has_null_sender } => {
                let (until, has_null_sender) = (*until, *has_null_sender);
                log::refusal_held(&HeldBack { said, until, has_null_sender });
            }
            LogLine::SenderHeld { from, said, hint, probe_in } => {
                log::sender_held(from, said, *hint, *probe_in);
            }
            LogLine::SenderTaken { from, held } => log::sender_taken(from, *held),
            LogLine::SendingStopped { why, live } => log::sending_stopped(why, *live),
            LogLine::SendingResumed { live } => log::sending_resumed(*live),
        }
    }
}
