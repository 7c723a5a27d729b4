//! The protocol of the control socket: one JSON object per line.
//!
//! The client sends one [`ControlRequest`]; the daemon answers with [`Frame`]s: any number of items, then `hidden` if
//! there are more that this user may not see, and `more` if a limit left some out, then `done`, `denied`, `unknown` or
//! `error`; if the connection ends without one of these four, the answer is not complete. A listing begins with `relays` if
//! some of them keep their mail.

mod daemon_status;
mod standing;

use serde::{Deserialize, Serialize};

use super::shape::ShapeBy;
pub use crate::filter::MessageState;
use crate::filter::{MailHolder, QueueFilter};
use crate::queue::Standing;
use crate::queue_id::QueueId;
use crate::spool::{Entry, EntryState, Mark, OperatorVerb};
use crate::standing_orders::PauseScope;
use crate::trace::TracedSide;
pub use daemon_status::{
    AmountLeft, ClientLimited, DaemonStatus, DurationFigures, FlowRates, IntakeFigures, ListedAlarm,
    ListedExpiry, Obstacle, OutcomeCounts, RateLeft, RefusedVerb, RelayFigures, RelaySpeed, SpoolFigures,
};
pub use standing::{LiftResult, LiftedRule, ListedHoldRule, ListedPause, NewHoldRule, NewPause};

/// A request of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum ControlRequest {
    /// Asks for the [`DaemonStatus`].
    Status,
    /// Asks for the last day: the answer is one list of [`crate::history::MinuteOfDay`], the oldest first.
    History {
        /// The number of minutes that are wanted.
        minutes: u64,
    },
    /// Asks for a [`QueuedMessage`] for each live message that is meant, the oldest first.
    QueueList {
        /// The messages that are meant.
        #[serde(default, skip_serializing_if = "QueueFilter::is_everything")]
        filter: QueueFilter,
        /// The most messages of the answer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u64>,
    },
    /// Asks for the shape of the queue: the answer is a [`super::shape::ShapeRow`] for each row.
    QueueShape {
        /// The messages that are meant.
        #[serde(default, skip_serializing_if = "QueueFilter::is_everything")]
        filter: QueueFilter,
        /// What the rows are.
        by: ShapeBy,
        /// The most rows, besides the total and the others.
        top: u16,
    },
    /// Asks for one message and its content: the answer is some [`super::detail::ReadPart`]s.
    QueueRead {
        /// The message.
        id: QueueId,
        /// The most octets of its content that are wanted.
        most: u64,
    },
    /// Asks for what becomes of messages from now on, as it happens: the answer is some [`super::follow::FollowPart`]s, until
    /// the client goes.
    Follow,
    /// Makes the daemon probe the relays and try every deferred message now. The answer is a [`Flushed`], after a few
    /// seconds at most.
    Flush {
        /// The name of the route whose relay and messages are tried alone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        route: Option<String>,
    },
    /// Asks for the dialogues with relays and clients, as they happen: the answer is some [`super::trace::TracePart`]s, for a
    /// time.
    Trace {
        /// The side that is wanted; absent for both.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        side: Option<TracedSide>,
        /// The seconds after which the answer ends.
        seconds: u64,
    },
    /// Makes the daemon read its configuration again. The answer is a [`Reloaded`].
    Reload,
    /// Makes a hold rule. The answer is the [`ListedHoldRule`].
    HoldNew(NewHoldRule),
    /// Asks for a [`ListedHoldRule`] for each hold rule, the oldest first.
    HoldRules,
    /// Lifts hold rules. The answer is a [`LiftedRule`] for each of them.
    LiftHold {
        /// The numbers of the rules; absent for all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rules: Option<Vec<u32>>,
        /// True if nothing is to be done, and the answer says what would be.
        #[serde(default)]
        dry_run: bool,
    },
    /// Pauses a part of the daemon. The answer is the [`ListedPause`].
    Pause(NewPause),
    /// Lifts pauses. The answer is a [`ListedPause`] for each that was lifted.
    Resume {
        /// What is to go on; absent for everything.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scope: Option<PauseScope>,
    },
    /// Does something with messages. The answer is a [`SteeredMessage`] for each of them.
    Steer {
        /// What is done.
        verb: OperatorVerb,
        /// With `route`: the name of the route by which they are to go; empty for none, to the top-level `relayhost`.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        route: String,
        /// The queue ids of the messages; each of them has its answer.
        #[serde(default)]
        ids: Vec<String>,
        /// The messages that are meant besides, among those that are there now and that the client may steer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        filter: Option<QueueFilter>,
        /// True if nothing is to be done, and the answer says what would be.
        #[serde(default)]
        dry_run: bool,
    },
}

/// What came of one message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SteeredMessage {
    /// The queue id, as it was given.
    pub id: String,
    /// The result.
    pub result: SteerResult,
    /// The reason why it was not done, if there is one to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// The result of doing something with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SteerResult {
    /// It is done.
    Done,
    /// It is returned, and no report was made, since its sender wanted none (NOTIFY=NEVER).
    Unreported,
    /// The message is under way: it is done when its reply is in, unless the relay takes the message.
    Marked,
    /// The message is under way, and something stronger is ordered about it already, which stays.
    Outranked,
    /// Another order took the place of this one, which waited for the message.
    Replaced,
    /// With `dry-run`: it would be done.
    WouldBeDone,
    /// With `dry-run`: it would be returned, and no report would be made.
    WouldBeUnreported,
    /// With `dry-run`: it would be marked.
    WouldBeMarked,
    /// With `dry-run`: it would be dead, since its failure can be reported to nobody.
    WouldBeDead,
    /// The message was so already.
    AlreadySo,
    /// The message is on hold, so it was not tried.
    OnHold,
    /// Somebody else holds the message, from whose hand only an operator releases it.
    HeldByOther,
    /// The message failed, and that can be reported to nobody: it is dead.
    Dead,
    /// It was not recorded in time, and goes on.
    Awaited,
    /// It was not done.
    Failed,
    /// The queue has no such message that this client may steer.
    NotFound,
}

impl ControlRequest {
    /// Returns the request for all of the queue.
    pub fn whole_queue() -> Self {
        ControlRequest::QueueList { filter: QueueFilter::default(), limit: None }
    }
}

impl ControlRequest {
    /// Returns the filter of the messages that it is about, if it has one.
    pub(super) fn filter(&self) -> Option<&QueueFilter> {
        match self {
            ControlRequest::QueueList { filter, .. } | ControlRequest::QueueShape { filter, .. } => {
                Some(filter)
            }
            ControlRequest::Steer { filter, .. } => filter.as_ref(),
            _ => None,
        }
    }
}

/// One line of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Frame {
    /// The relays that keep mail, before the first item of a listing.
    Relays(Vec<RelayHeadline>),
    /// One of the items that were requested.
    Item(serde_json::Value),
    /// Nothing yet: the search goes on. It says that the daemon is not silent.
    Working,
    /// The number of further items, which this user may not see.
    Hidden(u64),
    /// The number of further items, which the limit of the request left out.
    More(u64),
    /// The request failed; holds the reason.
    Error(String),
    /// The request names something that there is not; holds what there is.
    Unknown(String),
    /// This user may not make the request; holds who may.
    Denied(String),
    /// The answer is complete.
    Done,
}

/// Why a relay keeps its mail, so that it need not be said at each message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RelayHeadline {
    /// The name of the route that leads to it; `None` for that of the top-level `relayhost`.
    pub route: Option<String>,
    /// The relay: its hosts, and our user name there; `None` for a user who may see their own mail only.
    pub relay: Option<String>,
    /// Its state: `not tried yet`, `usable` or `paused`.
    pub state: String,
    /// The time at which its pause began (RFC 3339); `None` while it is usable.
    pub paused_since: Option<String>,
    /// The time of the next probe of a paused relay (RFC 3339).
    pub next_probe: Option<String>,
    /// Its trouble, or that its rates let nothing go now: the reason of each recipient that waits for nothing else.
    pub keeps_mail: Option<String>,
    /// The reason why messages are held and what to do about it; `None` for a user who may see their own mail only.
    pub held_because: Option<String>,
}

/// The configuration in force, from its file or from before a change that the file does not allow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(test, derive(Default))]
pub struct Configuration {
    /// The path of the configuration file, as it was given at the start.
    pub path: String,
    /// The time at which it was read (RFC 3339).
    pub since: String,
    /// A newer content of the file that could not be used.
    pub refused: Option<RefusedConfiguration>,
    /// The keys that take effect only after a restart.
    #[serde(default)]
    pub needs_restart: Vec<String>,
    /// The keys that have no effect, since systemd passes the sockets.
    #[serde(default)]
    pub overruled: Vec<String>,
}

impl Configuration {
    /// Returns the keys that are not in force, with the reasons, as text to append to the name of the file; empty if all
    /// are in force.
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
    /// The time at which it was read (RFC 3339).
    pub at: String,
    /// The error: file, line, key, and what was expected there.
    pub why: String,
}

/// The result of a reload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Reloaded {
    /// The configuration that is in force now.
    pub configuration: Configuration,
    /// The keys whose values changed, and those of files that have another content, as in `tls.ca-file (its content)`.
    pub changed: Vec<String>,
    /// What is wrong with secrets, and files for TLS, that cannot be used: the mail for their relays waits.
    #[serde(default)]
    pub unusable: Vec<String>,
}

/// The result of a flush.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Flushed {
    /// The outcome of trying the relay.
    pub relay: Contact,
    /// The reason why the relay was not reached.
    pub trouble: Option<String>,
    /// The number of live messages before the flush.
    pub before: usize,
    /// The number of live messages after the flush.
    pub messages: usize,
    /// The number of messages that are being tried, or still will be.
    pub under_way: usize,
    /// The number of messages deferred by a 4xx reply of their own.
    pub deferred: usize,
    /// The number of messages held after a refusal, including one that this flush met.
    pub held: usize,
    /// The number of messages that an operator has put on hold, which are not tried.
    #[serde(default)]
    pub on_hold: usize,
    /// The reason why messages are held and what to do about it; `None` if none are.
    pub held_because: Option<String>,
    /// The number of dead messages, which are not tried.
    pub dead: usize,
    /// The newest dead message, with the replies that it got.
    pub newest_dead: Option<QueuedMessage>,
    /// The time of the next probe of a paused relay (RFC 3339).
    pub next_probe: Option<String>,
    /// What came of it at each relay that was to be tried.
    #[serde(default)]
    pub relays: Vec<RelayFlushed>,
}

/// The result of a flush at one relay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RelayFlushed {
    /// The name of the route that leads to it; `None` for that of the top-level `relayhost`.
    pub route: Option<String>,
    /// The outcome of trying it.
    pub relay: Contact,
    /// The reason why it was not reached.
    pub trouble: Option<String>,
    /// The number of live messages that it gets after the flush.
    pub messages: usize,
    /// The time of the next probe (RFC 3339) if it is paused.
    pub next_probe: Option<String>,
}

/// The outcome of trying the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Contact {
    /// There was nothing to send.
    NotNeeded,
    /// The relay accepts mail.
    Reached,
    /// The relay was reached, and is paused for what it said: it takes no mail now.
    Paused,
    /// The relay does not accept mail, or cannot be reached.
    NotReached,
    /// Delivery to the relay is paused by an operator: it is not tried.
    Halted,
    /// The relay had not answered when the wait was over.
    Awaited,
}

impl From<Standing> for MessageState {
    fn from(standing: Standing) -> Self {
        match standing {
            Standing::Ready => MessageState::Ready,
            Standing::UnderWay | Standing::Elsewhere(_) => MessageState::Active,
            Standing::Waiting(_) => MessageState::Deferred,
            Standing::Held => MessageState::Held,
            Standing::OnHold => MessageState::OnHold,
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
            EntryState::OnHold => MessageState::OnHold,
            EntryState::Dead => MessageState::Dead,
        }
    }
}

/// One live message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct QueuedMessage {
    /// The queue id, by which the log names the message.
    pub id: String,
    /// The step at which the message waits, such as `deferred`.
    pub state: MessageState,
    /// Who holds it, if it is on hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_by: Option<MailHolder>,
    /// What is ordered about it, and done when the relay's reply is in: it is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub marked: Option<OperatorVerb>,
    /// The user who submitted it, over the socket or TCP; `None` if not known, and for a DSN.
    #[serde(default)]
    pub uid: Option<u32>,
    /// The reverse-path; empty for `<>`.
    pub from: String,
    /// The reverse-path as it was handed in, where rewriting has changed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original_from: Option<String>,
    /// The recipients that are still open, and those that are dead.
    pub recipients: Vec<QueuedRecipient>,
    /// The size of the content in octets.
    pub size: u64,
    /// The time at which it was accepted (RFC 3339).
    pub arrived: String,
    /// Time since the message was accepted, in seconds.
    pub age: u64,
    /// The time of its next attempt (RFC 3339), if that is known.
    pub next_attempt: Option<String>,
    /// The reason why it is still queued: that of the first recipient that has one, or why it cannot be read.
    pub reason: Option<String>,
}

/// One recipient of a live message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct QueuedRecipient {
    /// The address that the relay gets.
    pub address: String,
    /// The name of the route by which it goes; `None` if by none, to the relay of the top-level `relayhost`.
    #[serde(default)]
    pub route: Option<String>,
    /// The last reply about this recipient; without one, the present trouble of its relay.
    pub reason: Option<String>,
}

/// The route by which a recipient goes, and why it is still here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitsFor<'a> {
    /// The name of the route; `None` if it goes by none.
    pub route: Option<&'a str>,
    /// The reason, if one is known.
    pub reason: Option<&'a str>,
}

impl QueuedMessage {
    /// Groups the recipients by reason, in the order of the first recipient of each group.
    pub fn by_reason(&self) -> Vec<(Option<&str>, Vec<&str>)> {
        let groups = self.grouped(|recipient| recipient.reason.as_deref());
        if groups.is_empty() { vec![(self.reason.as_deref(), Vec::new())] } else { groups }
    }

    /// Groups the recipients by route and reason, in the order of the first recipient of each group.
    pub fn by_route_and_reason(&self) -> Vec<(WaitsFor<'_>, Vec<&str>)> {
        let groups = self.grouped(|recipient| WaitsFor {
            route: recipient.route.as_deref(),
            reason: recipient.reason.as_deref(),
        });
        let none = WaitsFor { route: None, reason: self.reason.as_deref() };
        if groups.is_empty() { vec![(none, Vec::new())] } else { groups }
    }

    fn grouped<'a, K: PartialEq>(&'a self, key: impl Fn(&'a QueuedRecipient) -> K) -> Vec<(K, Vec<&'a str>)> {
        let mut groups: Vec<(K, Vec<&str>)> = Vec::new();
        for recipient in &self.recipients {
            let (of, address) = (key(recipient), recipient.address.as_str());
            match groups.iter_mut().find(|(known, _)| *known == of) {
                Some((_, recipients)) => recipients.push(address),
                None => groups.push((of, vec![address])),
            }
        }
        groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_frames_look_as_documented() {
        let line = |value: &dyn Fn() -> serde_json::Result<String>| value().unwrap();
        assert_eq!(
            line(&|| serde_json::to_string(&ControlRequest::whole_queue())),
            r#"{"command":"queue-list"}"#
        );
        let some = r#"{"command":"queue-list","filter":{"from":["a*"],"uid":[0],"older-than":60},"limit":3}"#;
        let filtered: ControlRequest = serde_json::from_str(some).unwrap();
        assert_eq!(line(&|| serde_json::to_string(&filtered)), some);
        let flush = |route: Option<&str>| ControlRequest::Flush { route: route.map(str::to_owned) };
        assert_eq!(line(&|| serde_json::to_string(&flush(None))), r#"{"command":"flush"}"#);
        assert_eq!(
            line(&|| serde_json::to_string(&flush(Some("news")))),
            r#"{"command":"flush","route":"news"}"#
        );
        assert_eq!(serde_json::from_str::<ControlRequest>(r#"{"command":"flush"}"#).unwrap(), flush(None));
        assert_eq!(line(&|| serde_json::to_string(&Frame::Done)), r#""done""#);
        assert_eq!(line(&|| serde_json::to_string(&Frame::Error("x".into()))), r#"{"error":"x"}"#);
        assert_eq!(line(&|| serde_json::to_string(&Frame::Denied("x".into()))), r#"{"denied":"x"}"#);
        assert_eq!(line(&|| serde_json::to_string(&Frame::Unknown("x".into()))), r#"{"unknown":"x"}"#);
        assert_eq!(line(&|| serde_json::to_string(&Frame::Item(1.into()))), r#"{"item":1}"#);
        assert_eq!(line(&|| serde_json::to_string(&Frame::Relays(Vec::new()))), r#"{"relays":[]}"#);
        assert_eq!(line(&|| serde_json::to_string(&Frame::Hidden(3))), r#"{"hidden":3}"#);
        assert_eq!(line(&|| serde_json::to_string(&Frame::More(3))), r#"{"more":3}"#);
    }
}
