//! The outcome of one attempt for one recipient, and what the log says with it.
//!
//! This is the map of the types that say what became of something on its way to the relay. Each of them answers one
//! question; a type further down follows from those above it that are about the same thing.
//!
//! | about | type | answers |
//! |---|---|---|
//! | a recipient | `relay::Verdict` | What do the relay's replies mean for this recipient? |
//! | | [`Outcome`] | What does this attempt come to for the recipient, as the log says it? |
//! | | `spool::Fate` | What does the spool record: open, sent, bounced or dead? |
//! | a message | `queue::refusals::Ruling` | What does a refusal mean, given what the relay said to other messages? |
//! | | `queue::attempt::AttemptResult` | What came of the message in one attempt? |
//! | | `queue::reducer::Disposition` | What happens to the message after that attempt? |
//! | | `queue::Standing` | What is the message doing now? |
//! | | `spool::EntryState`, `spool::Flight` | What does the spool record: active, held, on hold or dead; may the relay have a copy? |
//! | | `queue::OrderResult` | What came of an order of an operator about the message? |
//! | a connection | `relay::Trouble` | Why did the connection fail? |
//! | | `queue::suspects::Blame` | Is the message at fault that the connection carried, or the relay? |
//! | the relay | `relay::RelayFault` | What does not work at the relay? |
//! | | `queue::breaker::Consequence` | Is the relay paused for it? |
//!
//! For mail on its way *in*, the words are `smtp::session::MessageRefusal` (a client's message is not accepted) and
//! `listener::pickup::dialogue::PickupOutcome` (what becomes of a dropped file).
//!
//! Pure. Not here: which outcome a reply leads to (`queue/settlement/result.rs`), the line that says it (`log/delivery.rs`).

use std::fmt;
use std::time::Duration;

/// The outcome of one attempt for one recipient, in the word of the log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The relay has taken the message for this recipient.
    Sent,
    /// It is tried again later.
    Deferred,
    /// It was refused for a reason that only an operator can mend, and is kept.
    Held,
    /// It was refused for good.
    Bounced,
    /// It was tried for longer than the queue lifetime, and is bounced.
    Expired,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Outcome::Sent => "sent",
            Outcome::Deferred => "deferred",
            Outcome::Held => "held",
            Outcome::Bounced => "bounced",
            Outcome::Expired => "expired",
        })
    }
}

/// The four parts of a message's delay, as Postfix counts them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Delays {
    /// The time from arrival until the message was ready for this attempt.
    pub before: Duration,
    /// The time for which it was ready and had no connection of its own: in the queue, or behind another message.
    pub queued: Duration,
    /// The time for which it waited until a connection was set up; zero if one was open.
    pub connecting: Duration,
    /// The time of the transaction.
    pub transmitting: Duration,
}

impl Delays {
    /// Returns the time from arrival to the end of the attempt.
    pub fn total(self) -> Duration {
        self.before + self.queued + self.connecting + self.transmitting
    }
}

/// The event that held mail waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldUntil {
    /// The relay takes a message for the first time.
    FirstTaken,
    /// The relay takes another message. Bounces wait for this if they were refused together with messages.
    NextTaken,
    /// An operator mends the reason of the refusal.
    Mended,
}
