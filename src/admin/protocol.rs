//! The control socket's protocol: one JSON object a line.
//!
//! The client sends one [`ControlRequest`]; the daemon answers with [`Frame`]s: any number of items, then
//! `hidden` where there are some that this user may not see, then `done`, `denied` or `error`. A connection that ends without any of them was cut off.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::queue::Standing;
use crate::spool::{Entry, EntryState, Mark};

/// What a client may ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum ControlRequest {
    /// One [`DaemonStatus`].
    Status,
    /// A [`QueuedMessage`] for each live message, oldest first.
    QueueList,
    /// Probe the relay and try every deferred message now; a [`Flushed`], after some seconds at most.
    Flush,
    /// Read the configuration again; a [`Reloaded`].
    Reload,
}

/// One line of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Frame {
    /// One of what was asked for.
    Item(serde_json::Value),
    /// How many more there are of what was asked for, which this user may not see.
    Hidden(u64),
    /// The request failed; why.
    Error(String),
    /// The request is not for this user; for whom it is.
    Denied(String),
    /// Everything has been said.
    Done,
}

/// The daemon in a few numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DaemonStatus {
    /// The daemon's version.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// The configuration in force.
    pub configuration: Configuration,
    /// Live messages.
    pub messages: usize,
    /// Of them, ready for a connection.
    pub ready: usize,
    /// Of them, deferred by their own 4xx.
    pub deferred: usize,
    /// Of them, held after a refusal.
    pub held: usize,
    /// Of them, failed ones that nobody can be told of, and damaged ones.
    pub dead: usize,
    /// The newest dead one, with what it was told.
    pub newest_dead: Option<QueuedMessage>,
    /// Of them, with a connection right now, or on the way from there into the spool's record.
    pub active: usize,
    /// Open connections to the relay.
    pub connections: usize,
    /// `usable` or `paused`.
    pub relay: String,
    /// When a paused relay is probed next (RFC 3339).
    pub next_probe: Option<String>,
    /// What keeps mail from being taken: a full disk, a spool that was removed.
    pub spool_trouble: Option<String>,
    /// The last relay-wide trouble, until the relay has answered again.
    pub trouble: Option<String>,
    /// Why messages are held and what to do about it, while some are.
    pub held_because: Option<String>,
}

/// The configuration in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Configuration {
    /// The file.
    pub path: String,
    /// When it was read (RFC 3339).
    pub since: String,
    /// Why it is not what the file has said since.
    pub refused: Option<RefusedConfiguration>,
    /// The keys of it that are in force only after a restart.
    #[serde(default)]
    pub needs_restart: Vec<String>,
    /// The keys of it that have no effect, since systemd passes the sockets.
    #[serde(default)]
    pub overruled: Vec<String>,
}

impl Configuration {
    /// What of it is not in force, and why, in words that go on behind the file's name; empty where all of it is.
    pub fn reservations(&self) -> String {
        let said = |keys: &[String], why: &str| match keys.is_empty() {
            true => String::new(),
            false => format!("; {why}: {}", keys.join(", ")),
        };
        said(&self.needs_restart, "not in force before a restart")
            + &said(&self.overruled, "without effect, since systemd passes the sockets")
    }
}

/// A newer configuration that is not in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RefusedConfiguration {
    /// When it was read (RFC 3339).
    pub at: String,
    /// File, line, key and what was expected.
    pub why: String,
}

/// What came of a reload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Reloaded {
    /// The configuration that is in force now.
    pub configuration: Configuration,
    /// The keys whose values changed.
    pub changed: Vec<String>,
}

/// What came of a flush.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Flushed {
    /// Whether the relay was reached.
    pub relay: Contact,
    /// Why not.
    pub trouble: Option<String>,
    /// Messages before it, and after it.
    pub before: usize,
    /// See `before`.
    pub messages: usize,
    /// Of them, still to be tried or being tried.
    pub under_way: usize,
    /// Of them, deferred by their own 4xx.
    pub deferred: usize,
    /// Of them, held after a refusal, the one to this try too.
    pub held: usize,
    /// Why, and what to do about it, while some are.
    pub held_because: Option<String>,
    /// Of them, failed ones that nobody can be told of, and damaged ones, which are not tried.
    pub dead: usize,
    /// The newest dead one, with what it was told.
    pub newest_dead: Option<QueuedMessage>,
    /// When a paused relay is probed next (RFC 3339).
    pub next_probe: Option<String>,
}

/// Whether the relay was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Contact {
    /// Nothing was to be sent.
    NotNeeded,
    /// It takes mail.
    Reached,
    /// It does not.
    NotReached,
    /// It had said nothing when the wait was over.
    Awaited,
}

/// What a live message is doing: the words of every listing and every count, of the daemon and of `nullmta spool`.
/// A message is in one state, so the counts of all five add up to the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MessageState {
    /// It goes to the next connection.
    Ready,
    /// It is being delivered, or what came of that is being recorded. The spool by itself does not know of it.
    Active,
    /// It waits for its next attempt, by its age.
    Deferred,
    /// An operator holds it.
    Held,
    /// It failed and nobody can be told, or it is damaged.
    Dead,
}

impl fmt::Display for MessageState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            MessageState::Ready => "ready",
            MessageState::Active => "active",
            MessageState::Deferred => "deferred",
            MessageState::Held => "held",
            MessageState::Dead => "dead",
        })
    }
}

impl From<Standing> for MessageState {
    fn from(standing: Standing) -> Self {
        match standing {
            Standing::Ready => MessageState::Ready,
            Standing::UnderWay => MessageState::Active,
            Standing::Waiting(_) => MessageState::Deferred,
            Standing::Held => MessageState::Held,
            Standing::Dead => MessageState::Dead,
        }
    }
}

impl From<&Entry> for MessageState {
    fn from(entry: &Entry) -> Self {
        match entry.marks.state() {
            EntryState::Active if entry.marks.has(Mark::Deferred) => MessageState::Deferred,
            EntryState::Active => MessageState::Ready,
            EntryState::Held => MessageState::Held,
            EntryState::Dead => MessageState::Dead,
        }
    }
}

/// One live message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct QueuedMessage {
    /// The queue id.
    pub id: String,
    /// What it is doing.
    pub state: MessageState,
    /// The reverse-path; empty for `<>`.
    pub from: String,
    /// The recipients still open, and those that are dead.
    pub recipients: Vec<QueuedRecipient>,
    /// Octets of content.
    pub size: u64,
    /// When it was accepted (RFC 3339).
    pub arrived: String,
    /// How many seconds ago that was.
    pub age: u64,
    /// When it is tried next (RFC 3339), where that is known.
    pub next_attempt: Option<String>,
    /// Why it is still here: the first reason of a recipient, or why it cannot be read.
    pub reason: Option<String>,
}

/// One recipient of a live message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct QueuedRecipient {
    /// Whom the relay is told.
    pub address: String,
    /// What it was told last; where nothing yet, the relay's present trouble.
    pub reason: Option<String>,
}

impl QueuedMessage {
    /// The recipients by reason: those who share one together, in the order of the first of each.
    pub fn by_reason(&self) -> Vec<(Option<&str>, Vec<&str>)> {
        let mut groups: Vec<(Option<&str>, Vec<&str>)> = Vec::new();
        for QueuedRecipient { address, reason } in &self.recipients {
            let reason = reason.as_deref();
            match groups.iter_mut().find(|(of, _)| *of == reason) {
                Some((_, recipients)) => recipients.push(address),
                None => groups.push((reason, vec![address])),
            }
        }
        if groups.is_empty() { vec![(self.reason.as_deref(), Vec::new())] } else { groups }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_frames_look_as_documented() {
        let line = |value: &dyn Fn() -> serde_json::Result<String>| value().unwrap();
        assert_eq!(
            line(&|| serde_json::to_string(&ControlRequest::QueueList)),
            r#"{"command":"queue-list"}"#
        );
        assert_eq!(line(&|| serde_json::to_string(&Frame::Done)), r#""done""#);
        assert_eq!(line(&|| serde_json::to_string(&Frame::Error("x".into()))), r#"{"error":"x"}"#);
        assert_eq!(line(&|| serde_json::to_string(&Frame::Denied("x".into()))), r#"{"denied":"x"}"#);
        assert_eq!(line(&|| serde_json::to_string(&Frame::Item(1.into()))), r#"{"item":1}"#);
        assert_eq!(line(&|| serde_json::to_string(&Frame::Hidden(3))), r#"{"hidden":3}"#);
    }

    /// `queue list` said `ready` where `spool stat` and `spool export` said `active`, and `status` counted four of the
    /// five states.
    #[test]
    fn a_state_has_one_word() {
        for state in [
            MessageState::Ready,
            MessageState::Active,
            MessageState::Deferred,
            MessageState::Held,
            MessageState::Dead,
        ] {
            assert_eq!(serde_json::to_string(&state).unwrap(), format!("\"{state}\""));
        }
    }
}
