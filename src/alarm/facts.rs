//! The facts that alarms are about, as of one moment.
//!
//! Plain values. Words in them may be a relay's, with any characters in them.

use std::time::Duration;

/// What is known of the mail at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlarmFacts {
    /// The age of the oldest message that is to be sent; `None` if there is none.
    pub oldest: Option<Duration>,
    /// The number of messages that are to be sent: neither dead nor put on hold.
    pub queued: u64,
    /// The number of dead messages.
    pub dead: u64,
    /// The space of the disk that has the spool; `None` if the disk does not say it.
    pub space: Option<FreeSpace>,
    /// Each relay.
    pub relays: Vec<AlarmRelay>,
    /// What expires, and when.
    pub expiries: Vec<FactExpiry>,
    /// Why mail is refused, or why nothing can be sent, because of the spool.
    pub cannot_record: Option<String>,
    /// What an operator has to mend that is about no relay, such as a configuration file with an error.
    pub to_mend: Vec<String>,
}

/// The space of a disk, in octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreeSpace {
    /// What is free.
    pub free: u64,
    /// What there is in all; zero where the disk does not say it.
    pub size: u64,
}

/// What is known of one relay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlarmRelay {
    /// The relay as a sentence names it, such as `the relay of route news`.
    pub name: String,
    /// The time for which it has been paused; `None` while it is usable.
    pub paused_for: Option<Duration>,
    /// The last trouble with it.
    pub trouble: Option<String>,
    /// What must change before it takes mail, where its reply says that.
    pub obstacle: Option<RelayObstacle>,
    /// Why messages are held at it, if some are.
    pub held_because: Option<String>,
}

/// What must change before a relay takes mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelayObstacle {
    /// What may be sent is used up, until a time.
    Quota,
    /// An operator must act, here or at the provider.
    Configuration,
}

/// Something that expires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactExpiry {
    /// What it is, such as `the certificate of the relay mx.example, issued by Our CA,`.
    pub what: String,
    /// The time until then, in seconds; negative once it has expired.
    pub left: i64,
}
