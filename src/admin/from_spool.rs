//! The queue as it is on the spool, for the commands that read it while no daemon runs.
//!
//! Promises: nothing on the spool changes, and no lock keeps a daemon from starting meanwhile; a write that was cut off is passed
//! by (`spool/inspect.rs`). Messages are shown and filtered as the daemon does it, as far as the spool knows them: not which
//! route they take, nor when they are tried next, nor what the relay is doing.
//!
//! Not here: who may read a spool, which the system says by the rights of its files.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::detail::{MessageDetail, detail};
use super::listing::{ListedMessage, facts, message, unreadable};
use super::protocol::{MessageState, QueuedMessage};
use super::rights::Rights;
use crate::filter::QueueFilter;
use crate::queue_id::QueueId;
use crate::spool::inspect::Inspection;
use crate::spool::{Entry, OpenError, ReadError, StoredContent};

/// The reason shown for a message that only waits to be sent.
const NOT_RUNNING: &str = "nullmta is not running";

/// A queue that is read from its spool.
pub struct QueueOnSpool {
    inspection: Box<Inspection>,
}

/// What the spool alone tells of the state of the mail, by the keys of the daemon's own answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct SpooledStatus {
    /// False: this is read from the spool.
    pub running: bool,
    /// The number of live messages.
    pub messages: u64,
    /// The number of messages that wait to be sent.
    pub ready: u64,
    /// The number of messages deferred by a 4xx reply of their own.
    pub deferred: u64,
    /// The number of messages held after a refusal.
    pub held: u64,
    /// The number of messages that an operator has put on hold.
    pub on_hold: u64,
    /// The number of dead messages.
    pub dead: u64,
    /// The time at which the oldest message was accepted that is neither dead nor on hold (RFC 3339).
    pub oldest: Option<String>,
    /// The age of that message, in seconds.
    pub oldest_age: Option<u64>,
    /// The number of files of `sendmail` that wait in the drop directory.
    pub dropped: Option<u64>,
}

/// A message that was read from the spool.
pub enum MessageOnSpool {
    /// The message and its content.
    Whole(Box<MessageDetail>, StoredContent),
    /// It is damaged.
    Unreadable(ReadError),
    /// There is none of this id.
    Absent,
}

impl QueueOnSpool {
    /// Reads what is on the spool in `directory`.
    pub fn read(directory: &Path) -> Result<Self, OpenError> {
        Ok(QueueOnSpool { inspection: Box::new(Inspection::beside(directory)?) })
    }

    /// Returns the states that messages are in, each with the number of messages.
    pub fn states(&self) -> BTreeMap<MessageState, u64> {
        let mut states = BTreeMap::new();
        for entry in self.inspection.entries() {
            *states.entry(entry.into()).or_default() += 1;
        }
        states
    }

    /// Returns the state of the mail at `now`.
    pub fn status(&self, now: Timestamp) -> SpooledStatus {
        let states = self.states();
        let count = |state| states.get(&state).copied().unwrap_or(0);
        let is_to_be_sent =
            |entry: &&Entry| !matches!(MessageState::from(*entry), MessageState::Dead | MessageState::OnHold);
        let to_be_sent = self.inspection.entries().iter().filter(is_to_be_sent);
        let oldest = to_be_sent.map(|entry| entry.arrived).min();
        let age = |arrived| u64::try_from(now.duration_since(arrived).as_secs()).unwrap_or(0);
        SpooledStatus {
            running: false,
            messages: states.values().sum(),
            ready: count(MessageState::Ready) + count(MessageState::Active),
            deferred: count(MessageState::Deferred),
            held: count(MessageState::Held),
            on_hold: count(MessageState::OnHold),
            dead: count(MessageState::Dead),
            oldest: oldest.map(|time| format!("{time:.0}")),
            oldest_age: oldest.map(age),
            dropped: self.dropped().ok(),
        }
    }

    /// Returns the age of the oldest message.
    pub fn oldest(&self) -> Option<Duration> {
        let arrived = self.inspection.entries().iter().map(|entry| entry.arrived).min()?;
        Some(Timestamp::now().duration_since(arrived).try_into().unwrap_or_default())
    }

    /// Returns the number of files that wait in the drop directory.
    pub fn dropped(&self) -> Result<u64, OpenError> {
        Ok(self.inspection.dropped()?.count)
    }

    /// Gives `each` the messages that `filter` means, the oldest first, `limit` at most. Returns the number of the others.
    pub fn list(
        &self,
        filter: &QueueFilter,
        limit: Option<u64>,
        mut each: impl FnMut(QueuedMessage) -> io::Result<()>,
    ) -> io::Result<u64> {
        let (mut left, mut more) = (limit.unwrap_or(u64::MAX), 0);
        let now = Timestamp::now();
        for entry in self.inspection.entries().iter().filter(|entry| self.may_be(filter, entry, now)) {
            let Some(message) =
                self.message(entry).filter(|message| filter.includes(&facts(entry.id, message)))
            else {
                continue;
            };
            if left == 0 {
                more += 1;
            } else {
                each(message)?;
                left -= 1;
            }
        }
        Ok(more)
    }

    /// Returns whether the message may be meant, as far as is known before it is read.
    fn may_be(&self, filter: &QueueFilter, entry: &Entry, now: Timestamp) -> bool {
        let uid = entry.submitter.user();
        if !filter.may_be(entry.id, uid, now) || !filter.may_be_of(uid) || !filter.may_stand(entry.into()) {
            return false;
        }
        let envelope = if filter.asks_for_envelope() { self.inspection.glance(entry.id) } else { None };
        envelope.is_none_or(|envelope| {
            filter.may_go(
                &envelope.reverse_path,
                envelope.original_from.as_deref(),
                envelope.recipients.iter().map(|to| &**to),
            )
        })
    }

    /// Returns a message as it is listed; `None` if it is gone.
    fn message(&self, entry: &Entry) -> Option<QueuedMessage> {
        let mut shown = match self.inspection.peek(entry.id) {
            Ok(stored) => message(entry.into(), &stored, Rights::Everything, None),
            Err(ReadError::Gone) => return None,
            Err(error) => return Some(unreadable(entry.into(), &error)),
        };
        let waits = matches!(shown.state, MessageState::Ready | MessageState::Deferred);
        for recipient in shown.recipients.iter_mut().filter(|_| waits) {
            recipient.reason.get_or_insert_with(|| NOT_RUNNING.into());
        }
        shown.reason = shown.recipients.iter().find_map(|recipient| recipient.reason.clone());
        Some(shown)
    }

    /// Returns the message of this id.
    pub fn message_of(&self, id: QueueId) -> MessageOnSpool {
        let entries = self.inspection.entries();
        let Ok(found) = entries.binary_search_by_key(&id, |entry| entry.id) else {
            return MessageOnSpool::Absent;
        };
        match self.inspection.read(id) {
            Ok(stored) => {
                let message = detail((&entries[found]).into(), &stored, Rights::Everything, None);
                MessageOnSpool::Whole(Box::new(message), stored.content)
            }
            Err(ReadError::Gone) => MessageOnSpool::Absent,
            Err(error) => MessageOnSpool::Unreadable(error),
        }
    }
}

impl From<&Entry> for ListedMessage {
    fn from(entry: &Entry) -> Self {
        let state = MessageState::from(entry);
        ListedMessage {
            id: entry.id,
            state,
            next_attempt: None,
            losses: 0,
            met_overlong: false,
            marked: None,
        }
    }
}
