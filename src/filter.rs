//! The messages that an operator means: the conditions of `nullmta queue …`, on the command line and on the control socket.
//!
//! Promises
//! 1. All conditions that are given hold together; of several values of one condition any will do. Those about a recipient
//!    (`to`, `reason`, `route`) hold for one and the same recipient. A filter without conditions means every message.
//! 2. The tests that need less of a message ([`QueueFilter::may_be`], [`QueueFilter::may_go`]) never leave out what
//!    [`QueueFilter::includes`] takes, but for a clock that was set back: the time in the queue id is that of the old clock.
//! 3. A filter of a newer version with conditions that are not known here is refused: it would mean more messages.
//!
//! The parts: [`Glob`], a pattern; [`MessageState`], the words for what a message waits for; [`MailHolder`], who holds it. Pure: time
//! is an argument.
//! Not here: where the facts come from (`admin/selection.rs`), the options (`cli/queue/filter_options.rs`).

mod glob;
mod holder;
mod message_state;

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::queue_id::QueueId;
pub use glob::{BadGlob, Glob};
pub use holder::{BadHolderCondition, HolderCondition, HolderKind, MailHolder};
pub use message_state::{BadMessageState, MessageState};

/// The most values that the conditions of a filter may have together, besides queue ids: each message is compared with each.
pub const MOST_VALUES: usize = 256;

/// The error for a filter with too many values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyValues;

impl fmt::Display for TooManyValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the conditions have {MOST_VALUES} values at most, besides queue ids: ask in several parts, or by patterns"
        )
    }
}

impl std::error::Error for TooManyValues {}

/// The conditions under which a message is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct QueueFilter {
    /// The queue ids; empty for any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<QueueId>,
    /// Patterns for the reverse-path, as it was handed in or as the relay gets it; `<>` is the null one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<Glob>,
    /// Patterns for the address of a recipient that has not had its end.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<Glob>,
    /// The users who submitted it, whichever way it came.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub uid: Vec<u32>,
    /// The least age, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub older_than: Option<u64>,
    /// Patterns for the words that say why it is still here, in which upper and lower case are the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reason: Vec<Glob>,
    /// The states.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub state: Vec<MessageState>,
    /// Who holds it; what nobody holds is not meant.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub held_by: Vec<HolderCondition>,
    /// Patterns for the name of the route of a recipient; the empty name is that of mail that goes by no route.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub route: Vec<Glob>,
}

/// The facts about a message that conditions are about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilteredMessage<'a> {
    /// Its queue id.
    pub id: QueueId,
    /// The user who submitted it, if that is known.
    pub uid: Option<u32>,
    /// Its state.
    pub state: MessageState,
    /// Who holds it, if it is on hold.
    pub held_by: Option<&'a MailHolder>,
    /// The time since it was accepted.
    pub age: Duration,
    /// The reverse-path, empty for the null one; `None` if the message cannot be read.
    pub from: Option<&'a str>,
    /// The reverse-path as it was handed in, where rewriting has changed it.
    pub original_from: Option<&'a str>,
    /// Why it is here, if it has no recipient that says so.
    pub reason: Option<&'a str>,
    /// The recipients that have not had their end.
    pub recipients: Vec<FilteredRecipient<'a>>,
}

/// The facts about a recipient that conditions are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilteredRecipient<'a> {
    /// Its address.
    pub address: &'a str,
    /// The name of its route; `None` if it goes by none.
    pub route: Option<&'a str>,
    /// The words that say why it is still here.
    pub reason: Option<&'a str>,
}

impl QueueFilter {
    /// Returns whether there is no condition: every message is meant.
    pub fn is_everything(&self) -> bool {
        *self == QueueFilter::default()
    }

    /// Returns the error if the conditions have too many values.
    pub fn check(&self) -> Result<(), TooManyValues> {
        let QueueFilter { ids: _, from, to, uid, older_than: _, reason, state, held_by, route } = self;
        let patterns = [from, to, reason, route].map(Vec::len).iter().sum::<usize>();
        let values = patterns + uid.len() + state.len() + held_by.len();
        if values > MOST_VALUES { Err(TooManyValues) } else { Ok(()) }
    }

    /// Returns whether there is a condition about the envelope: the addresses, or the user.
    pub fn asks_for_envelope(&self) -> bool {
        self.asks_for_addresses() || !self.uid.is_empty()
    }

    /// Returns whether a message may be meant of which only the id is known, and the user, unless that is `None`.
    pub fn may_be(&self, id: QueueId, uid: Option<u32>, now: Timestamp) -> bool {
        let is_named = self.ids.is_empty() || self.ids.contains(&id);
        let is_theirs = self.uid.is_empty() || uid.is_none_or(|uid| self.uid.contains(&uid));
        is_named && is_theirs && self.may_be_as_old(id, now)
    }

    /// Returns whether a message of this id may be old enough: it was not accepted before it had its id. A message with a
    /// higher id is younger.
    pub fn may_be_as_old(&self, id: QueueId, now: Timestamp) -> bool {
        self.older_than.is_none_or(|seconds| {
            let begun = i128::from(id.raw());
            now.as_nanosecond() - begun >= i128::from(seconds) * 1_000_000_000
        })
    }

    /// Returns whether a message that this user has submitted may be meant, or one of nobody who is known.
    pub fn may_be_of(&self, uid: Option<u32>) -> bool {
        any_or_none(&self.uid, |named| Some(*named) == uid)
    }

    /// Returns whether a message in this state may be meant.
    pub fn may_stand(&self, state: MessageState) -> bool {
        let is_held = self.held_by.is_empty() || state == MessageState::OnHold;
        is_held && (self.state.is_empty() || self.state.contains(&state))
    }

    /// Returns whether a message from this reverse-path, which was handed in from `original_from` if that is another one, to these
    /// recipients may be meant.
    pub fn may_go<'a>(
        &self,
        from: &str,
        original_from: Option<&str>,
        mut recipients: impl Iterator<Item = &'a str>,
    ) -> bool {
        let from = if from.is_empty() { "<>" } else { from };
        let is_from = |glob: &Glob| {
            glob.matches_address(from) || original_from.is_some_and(|from| glob.matches_address(from))
        };
        any_or_none(&self.from, is_from) && (self.to.is_empty() || recipients.any(|to| self.may_go_to(to)))
    }

    /// Returns whether a message with these facts is meant.
    pub fn includes(&self, message: &FilteredMessage<'_>) -> bool {
        let FilteredMessage { id, uid, state, held_by, age, from, original_from, .. } = message;
        let named = any_or_none(&self.ids, |named| named == id);
        let old = self.older_than.is_none_or(|least| age.as_secs() >= least);
        let addressed = match from {
            Some(from) => self.may_go(
                from,
                *original_from,
                message.recipients.iter().map(|recipient| recipient.address),
            ),
            None => !self.asks_for_addresses(),
        };
        named
            && self.may_be_of(*uid)
            && old
            && self.may_stand(*state)
            && any_or_none(&self.held_by, |holder| held_by.is_some_and(|by| holder.means(by)))
            && addressed
            && self.includes_a_recipient(message)
    }

    fn includes_a_recipient(&self, message: &FilteredMessage<'_>) -> bool {
        if message.recipients.is_empty() {
            return self.to.is_empty() && self.route.is_empty() && self.is_for(message.reason);
        }
        message.recipients.iter().any(|recipient| {
            let route = recipient.route.unwrap_or_default();
            self.may_go_to(recipient.address)
                && any_or_none(&self.route, |glob| glob.matches_exactly(route))
                && self.is_for(recipient.reason)
        })
    }

    fn asks_for_addresses(&self) -> bool {
        !self.from.is_empty() || !self.to.is_empty()
    }

    fn may_go_to(&self, address: &str) -> bool {
        any_or_none(&self.to, |glob| glob.matches_address(address))
    }

    fn is_for(&self, reason: Option<&str>) -> bool {
        any_or_none(&self.reason, |glob| reason.is_some_and(|reason| glob.matches_words(reason)))
    }
}

/// Returns whether one of the values of a condition holds; a condition without values does.
fn any_or_none<T>(values: &[T], holds: impl FnMut(&T) -> bool) -> bool {
    values.is_empty() || values.iter().any(holds)
}

#[cfg(test)]
mod tests;
