//! A limit that is reached: the reply to the client, and the text for the log.
//!
//! Promises: a reply says which limit it is, what it allows and, where that is known, when there is room again. It is 4xx
//! where the same message may be taken later, and else 5xx.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

use crate::config::AllowedAmount;
use crate::log::counted;
use crate::smtp::reply::Reply;
use crate::smtp::session::MessageRefusal;
use crate::status::Status;

/// A limit that is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitReached {
    /// The name of the limit.
    pub(super) limit: String,
    pub(super) by: Reached,
}

/// What has reached it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reached {
    /// An amount in a period is used up.
    UsedUp { unit: LimitUnit, of: AllowedAmount, until: Timestamp, wait: Duration },
    /// The message is larger than an amount in a period, or has more recipients.
    MoreThanAll { unit: LimitUnit, of: AllowedAmount },
    /// The message has more recipients than this.
    Recipients(u64),
    /// The message has more octets than this.
    Size(u64),
    /// There are so many sessions.
    Sessions(u64),
    /// So many messages of this user are on the spool, or on the way there.
    Queued(u64),
    /// This user has a fair share of the queue, whatever limits there are.
    Share,
    /// The client may not use the sender of the message; this sentence says so.
    Sender(String),
}

impl Reached {
    /// Returns whether it is an amount, for which a message may be held instead of refused.
    pub fn is_of_amount(&self) -> bool {
        matches!(self, Reached::UsedUp { .. } | Reached::MoreThanAll { .. } | Reached::Queued(_))
    }
}

/// A unit of which an amount is allowed in a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum LimitUnit {
    Messages,
    Octets,
    Recipients,
}

impl LimitUnit {
    /// Returns the key of the configuration that sets the amount.
    pub fn key(self) -> &'static str {
        match self {
            LimitUnit::Messages => "messages",
            LimitUnit::Octets => "octets",
            LimitUnit::Recipients => "recipients",
        }
    }
}

impl LimitReached {
    /// Returns the reply to the connection or the message.
    pub fn reply(&self) -> Reply {
        let (code, status) = match &self.by {
            Reached::UsedUp { .. } | Reached::Queued(_) | Reached::Share => (450, Status::transient(7, 1)),
            Reached::MoreThanAll { unit: LimitUnit::Recipients, .. } | Reached::Recipients(_) => {
                (550, Status::permanent(5, 3))
            }
            Reached::MoreThanAll { .. } | Reached::Size(_) => (552, Status::permanent(3, 4)),
            Reached::Sessions(_) => (421, Status::transient(7, 0)),
            Reached::Sender(_) => (550, Status::permanent(7, 1)),
        };
        Reply::new(code, status, self.to_string())
    }

    /// Returns the refusal of the message.
    pub fn refusal(&self) -> MessageRefusal {
        match self.by {
            Reached::Sender(_) => MessageRefusal::Sender(self.reply()),
            _ => MessageRefusal::Client(self.reply()),
        }
    }

    /// Returns the words for a message that is accepted and put on hold for it.
    pub(super) fn holding(&self) -> String {
        let why = match &self.by {
            Reached::UsedUp { unit, of, .. } => format!("{} of {of} were used up", unit.key()),
            Reached::Queued(most) => format!("{} waited to be sent", counted(*most, "message")),
            _ => self.to_string(),
        };
        format!("the limit \"{}\" of this host: {why}", self.limit)
    }

    /// Returns the text by which the log counts, which is the same for each time that the limit is reached in this way.
    pub fn in_log(&self) -> String {
        match &self.by {
            Reached::UsedUp { unit, of, .. } => format!("{} of {of} are used up{}", unit.key(), self.named()),
            Reached::Sender(_) => format!("a sender that is not theirs{}", self.named()),
            _ => self.to_string(),
        }
    }

    /// Returns the moment at which there is room again, if it is known.
    pub(super) fn until(&self) -> Option<Timestamp> {
        match self.by {
            Reached::UsedUp { until, .. } => Some(until),
            _ => None,
        }
    }

    fn named(&self) -> String {
        format!(" (limit \"{}\" of this host)", self.limit)
    }
}

impl fmt::Display for LimitReached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = self.named();
        match &self.by {
            Reached::UsedUp { unit, of, wait, .. } => {
                write!(f, "{} of {of} are used up{named}: try again in {}", unit.key(), in_words(*wait))
            }
            Reached::MoreThanAll { unit, of } => {
                write!(f, "the message alone has more {} than {of}{named}", unit.key())
            }
            Reached::Recipients(most) => {
                let most = counted(*most, "recipient");
                write!(f, "a message may have {most}{named}: send it in several messages")
            }
            Reached::Size(most) => write!(f, "a message may have {}{named}", counted(*most, "octet")),
            Reached::Sessions(most) => {
                let most = counted(*most, "session");
                write!(f, "you may have {most} at once{named}: try again later")
            }
            Reached::Queued(most) => {
                let most = counted(*most, "message");
                write!(f, "you may have {most} waiting to be sent{named}: try again when some have left")
            }
            Reached::Share => f.write_str(
                "your messages that wait to be sent fill your share of the queue (queue.max-messages): try again when some have \
                 left",
            ),
            Reached::Sender(refusal) => f.write_str(refusal),
        }
    }
}

/// Returns a wait in words, in whole seconds, minutes or hours, not less than it is.
fn in_words(wait: Duration) -> String {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    match seconds {
        0..=119 => format!("{} s", seconds.max(1)),
        120..=7199 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h", seconds.div_ceil(3600)),
    }
}
