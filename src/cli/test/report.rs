//! What came of a test message, in words with what to do, and as JSON.
//!
//! Promise: text from outside cannot forge a line or control a terminal.

use std::fmt;

use serde::Serialize;

use super::super::exit::Exit;
use crate::admin::follow::ToldOutcome;
use crate::admin::protocol::{MessageState, QueuedMessage};
use crate::envelope::Address;
use crate::log::Foreign;
use crate::queue_id::QueueId;

/// How following a message ended.
pub(super) enum TestEnd {
    /// The relay has said something about it.
    Answered {
        outcome: Box<ToldOutcome>,
        /// When it is tried again, if it is.
        next_attempt: Option<String>,
    },
    /// It is in the queue.
    Waits(Box<QueuedMessage>),
    /// It has left the queue, and nothing was told of it.
    Gone,
    /// The daemon told no more, for this reason.
    Lost(String),
}

/// What came of a test message.
pub(super) struct TestReport<'a> {
    pub(super) id: QueueId,
    pub(super) from: &'a Address,
    pub(super) to: &'a Address,
    pub(super) end: TestEnd,
}

/// The same with `--json`.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct JsonReport<'a> {
    id: QueueId,
    from: String,
    to: String,
    result: &'static str,
    status: Option<&'a str>,
    said: Option<&'a str>,
    relay: Option<&'a str>,
    route: Option<&'a str>,
    delay: Option<f64>,
    state: Option<MessageState>,
    reason: Option<&'a str>,
    next_attempt: Option<&'a str>,
}

impl TestReport<'_> {
    /// Returns the exit code; `None` if the relay has taken the message.
    pub(super) fn exit(&self) -> Option<Exit> {
        match self.result() {
            "sent" => None,
            "bounced" => Some(Exit::Failed),
            _ => Some(Exit::TempFail),
        }
    }

    fn result(&self) -> &'static str {
        match &self.end {
            TestEnd::Answered { outcome, .. } => match &*outcome.outcome {
                "sent" => "sent",
                "bounced" | "expired" => "bounced",
                _ => "waiting",
            },
            TestEnd::Waits(_) => "waiting",
            TestEnd::Gone | TestEnd::Lost(_) => "unknown",
        }
    }

    pub(super) fn json(&self) -> JsonReport<'_> {
        let (outcome, message) = match &self.end {
            TestEnd::Answered { outcome, .. } => (Some(&**outcome), None),
            TestEnd::Waits(message) => (None, Some(&**message)),
            TestEnd::Gone | TestEnd::Lost(_) => (None, None),
        };
        let next_attempt = match &self.end {
            TestEnd::Answered { next_attempt, .. } => next_attempt.as_deref(),
            _ => message.and_then(|message| message.next_attempt.as_deref()),
        };
        JsonReport {
            id: self.id,
            from: self.from.to_string(),
            to: self.to.to_string(),
            result: self.result(),
            status: outcome.map(|outcome| &*outcome.status),
            said: outcome.map(|outcome| &*outcome.said),
            relay: outcome.and_then(|outcome| outcome.relay.as_deref()),
            route: outcome.and_then(|outcome| outcome.route.as_deref()),
            delay: outcome.map(|outcome| outcome.delay),
            state: message.map(|message| message.state),
            reason: message.and_then(|message| message.reason.as_deref()),
            next_attempt,
        }
    }
}

impl fmt::Display for TestReport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (id, from, to) = (self.id, self.from.to_string(), self.to.to_string());
        writeln!(f, "{id}: accepted, from <{}> to <{}>", Foreign(&from), Foreign(&to))?;
        match &self.end {
            TestEnd::Answered { outcome, next_attempt } => {
                let next = next_attempt.as_deref().map_or(String::new(), |time| format!(", at {time}"));
                answered(f, id, outcome, &next)
            }
            TestEnd::Waits(message) => waits(f, id, message),
            TestEnd::Gone => write!(
                f,
                "{id}: it has left the queue, and what became of it was not told here: nullmta log {id} says it"
            ),
            TestEnd::Lost(why) => write!(
                f,
                "{id}: what becomes of it is not known here: {}; it is not lost: nullmta log {id} says what became of it, and \
                 nullmta queue show {id} while it waits",
                Foreign(why)
            ),
        }
    }
}

/// Writes what the relay has said, and what that means.
fn answered(f: &mut fmt::Formatter<'_>, id: QueueId, outcome: &ToldOutcome, next: &str) -> fmt::Result {
    let ToldOutcome { outcome: word, said, relay, delay, .. } = outcome;
    let relay = Foreign(relay.as_deref().unwrap_or("no relay"));
    writeln!(f, "{id}: {word} after {delay:.1}s, {relay}: {}", Foreign(said))?;
    match &**word {
        "sent" => f.write_str(
            "The relay has it. If it does not arrive, it got lost behind the relay: look among the junk of that mailbox, and into \
             what your provider says of its deliveries.",
        ),
        "bounced" | "expired" => write!(
            f,
            "It was refused for good, and its sender gets a report. Mend what the reply says; nullmta relay-reply tells what is \
             made of such a reply, and nullmta log {id} all that happened."
        ),
        "held" => write!(
            f,
            "The relay refuses it for its sender or the account, so it is kept. Mend what the reply says, then: nullmta queue \
             retry {id}"
        ),
        _ => write!(f, "The relay wants it later: it is tried again by itself{next}."),
    }
}

/// Writes why the message waits, and what to do.
fn waits(f: &mut fmt::Formatter<'_>, id: QueueId, message: &QueuedMessage) -> fmt::Result {
    let QueuedMessage { state, reason, next_attempt, .. } = message;
    let reason = reason.as_deref().unwrap_or("the relay has not answered yet");
    writeln!(f, "{id}: still here ({state}): {}", Foreign(reason))?;
    match state {
        MessageState::OnHold => write!(f, "It is not sent before it is released: nullmta queue release {id}"),
        MessageState::Held => write!(f, "Mend what the reply says, then: nullmta queue retry {id}"),
        MessageState::Dead => {
            write!(f, "It is kept for you: nullmta queue show {id}, then queue retry or delete")
        }
        _ => {
            let next = next_attempt.as_deref().map_or(String::new(), |time| format!(", next at {time}"));
            write!(
                f,
                "It is not lost, and tried again by itself{next}. nullmta status says what is wrong; nullmta probe tries the \
                 relay step by step."
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: QueueId = QueueId::from_raw(0x18A4_F1C9_A02B_3D40);

    fn answered_with(word: &str, said: &str) -> TestEnd {
        TestEnd::Answered {
            outcome: Box::new(ToldOutcome {
                id: ID,
                to: "bob@example.net".into(),
                outcome: word.into(),
                status: "2.0.0".into(),
                said: said.into(),
                relay: Some("mx.example.net[192.0.2.5]:587".into()),
                route: None,
                delay: 0.42,
            }),
            next_attempt: Some("2026-11-29T10:00:00Z".into()),
        }
    }

    fn waiting(state: MessageState, reason: Option<&str>) -> TestEnd {
        TestEnd::Waits(Box::new(QueuedMessage {
            id: ID.to_string(),
            state,
            uid: Some(0),
            from: "root@web1".into(),
            recipients: Vec::new(),
            size: 12,
            arrived: "2026-11-29T09:00:00Z".into(),
            age: 1,
            next_attempt: None,
            reason: reason.map(str::to_owned),
            held_by: None,
            original_from: None,
            marked: None,
        }))
    }

    fn told(end: TestEnd) -> (String, &'static str, Option<Exit>) {
        let (from, to) = (Address::parse("root").unwrap(), Address::parse("bob@example.net").unwrap());
        let report = TestReport { id: ID, from: &from, to: &to, end };
        (report.to_string(), report.json().result, report.exit())
    }

    #[test]
    fn each_end_has_its_words_and_its_exit_code() {
        for (end, words, result, exit) in [
            (
                answered_with("sent", "250 2.0.0 ok"),
                "sent after 0.4s, mx.example.net[192.0.2.5]:587: 250 2.0.0 ok",
                "sent",
                None,
            ),
            (answered_with("bounced", "550 no"), "refused for good", "bounced", Some(Exit::Failed)),
            (
                answered_with("deferred", "450 busy"),
                "tried again by itself, at 2026-11-29T10:00:00Z",
                "waiting",
                Some(Exit::TempFail),
            ),
            (answered_with("held", "553 no"), "nullmta queue retry 18A4", "waiting", Some(Exit::TempFail)),
            (
                waiting(MessageState::OnHold, Some("on hold, by rule 3")),
                "nullmta queue release 18A4",
                "waiting",
                Some(Exit::TempFail),
            ),
            (
                waiting(MessageState::Ready, None),
                "the relay has not answered yet\nIt is not lost",
                "waiting",
                Some(Exit::TempFail),
            ),
            (TestEnd::Gone, "nullmta log 18A4F1C9A02B3D40 says it", "unknown", Some(Exit::TempFail)),
            (
                TestEnd::Lost("the daemon is stopping".into()),
                "the daemon is stopping",
                "unknown",
                Some(Exit::TempFail),
            ),
        ] {
            let (text, told_result, told_exit) = told(end);
            assert!(text.contains(words), "{text}");
            assert!(
                text.starts_with("18A4F1C9A02B3D40: accepted, from <root> to <bob@example.net>\n"),
                "{text}"
            );
            assert_eq!((told_result, told_exit), (result, exit), "{text}");
        }
    }

    #[test]
    fn a_reply_cannot_control_the_terminal() {
        let (text, ..) = told(answered_with("sent", "250 ok\u{1b}[2J\r\n18A4: sent"));
        assert!(text.contains("250 ok\\u{1b}[2J\\r\\n18A4: sent") && text.lines().count() == 3, "{text}");
    }
}
