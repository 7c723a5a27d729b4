//! The control socket's protocol: one JSON object a line.
//!
//! The client sends one [`Request`]; the daemon answers with [`Frame`]s: any number of items, then
//! `done`, `denied` or `error`. A connection that ends without any of them was cut off.

use serde::{Deserialize, Serialize};

/// What a client may ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Request {
    /// One [`Status`].
    Status,
    /// A [`Message`] for each live message, oldest first.
    QueueList,
    /// Probe the relay and try every deferred message now; no items.
    Flush,
}

/// One line of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Frame {
    /// One of what was asked for.
    Item(serde_json::Value),
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
pub struct Status {
    /// The daemon's version.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// Live messages.
    pub messages: usize,
    /// Of them, deferred by their own 4xx.
    pub deferred: usize,
    /// Of them, held by an operator.
    pub held: usize,
    /// Of them, failed ones that nobody can be told of, and damaged ones.
    pub dead: usize,
    /// Of them, with a connection right now, or on the way from there into the spool's record.
    pub active: usize,
    /// Open connections to the relay.
    pub connections: usize,
    /// `usable` or `paused`.
    pub relay: String,
    /// When a paused relay is probed next (RFC 3339).
    pub next_probe: Option<String>,
    /// The last relay-wide trouble, until the relay has answered again.
    pub trouble: Option<String>,
}

/// One live message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Message {
    /// The queue id.
    pub id: String,
    /// `ready`, `active`, `deferred`, `held` or `dead`.
    pub state: String,
    /// The reverse-path; empty for `<>`.
    pub from: String,
    /// The recipients still open.
    pub recipients: Vec<String>,
    /// Octets of content.
    pub size: u64,
    /// When it was accepted (RFC 3339).
    pub arrived: String,
    /// How many seconds ago that was.
    pub age: u64,
    /// When it is tried next (RFC 3339), where that is known.
    pub next_attempt: Option<String>,
    /// Why it is still here.
    pub reason: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_frames_look_as_documented() {
        let line = |value: &dyn Fn() -> serde_json::Result<String>| value().unwrap();
        assert_eq!(line(&|| serde_json::to_string(&Request::QueueList)), r#"{"command":"queue-list"}"#);
        assert_eq!(line(&|| serde_json::to_string(&Frame::Done)), r#""done""#);
        assert_eq!(line(&|| serde_json::to_string(&Frame::Error("x".into()))), r#"{"error":"x"}"#);
        assert_eq!(line(&|| serde_json::to_string(&Frame::Denied("x".into()))), r#"{"denied":"x"}"#);
        assert_eq!(line(&|| serde_json::to_string(&Frame::Item(1.into()))), r#"{"item":1}"#);
    }
}
