//! One message in full, as `nullmta queue show` and `queue cat` get it: its envelope, what became of each recipient, and its
//! content.
//!
//! Not here: who may have it (`reading.rs`), its header and its parts, which the command reads by itself with the rights of who
//! calls it (`cli/queue/outline.rs`).

use serde::{Deserialize, Serialize};

use super::listing::{ListedMessage, holder, recipients};
use super::protocol::MessageState;
use super::rights::Rights;
use crate::envelope::{Address, Body, Ret, Submitter};
use crate::filter::MailHolder;
use crate::queue::QueueStatus;
use crate::spool::{Fate, OperatorVerb, Stored};

/// A part of the answer to [`super::protocol::ControlRequest::QueueRead`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReadPart {
    /// The message; its content follows.
    Message(Box<MessageDetail>),
    /// The next octets of the content, in base64.
    Content(String),
    /// The message is damaged; holds what is wrong.
    Unreadable(String),
    /// There is no such message that this client may see.
    Absent,
}

/// One live message in full, without its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct MessageDetail {
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
    pub uid: Option<u32>,
    /// The way it came: `socket`, `tcp`, or `nullmta` for a DSN.
    pub came_by: String,
    /// The reverse-path; empty for `<>`.
    pub from: String,
    /// The reverse-path as it was handed in, where rewriting has changed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original_from: Option<String>,
    /// The name of the route that an operator has assigned it to; empty for the top-level `relayhost`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assigned_route: Option<String>,
    /// The recipients, also those that have had their end.
    pub recipients: Vec<RecipientDetail>,
    /// The size of the content in octets.
    pub size: u64,
    /// The time at which it was accepted (RFC 3339).
    pub arrived: String,
    /// Time since the message was accepted, in seconds.
    pub age: u64,
    /// The time of its next attempt (RFC 3339), if that is known.
    pub next_attempt: Option<String>,
    /// ENVID, if it was given.
    pub envid: Option<String>,
    /// RET: `full` or `headers`, if it was given.
    pub ret: Option<String>,
    /// BODY: `7bit` or `8bitmime`.
    pub body: String,
    /// True if it needs SMTPUTF8.
    pub smtputf8: bool,
}

/// One recipient of a live message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RecipientDetail {
    /// The address that the relay gets.
    pub address: String,
    /// The address that the submitter gave, if it differs.
    pub original: Option<String>,
    /// The state of the recipient: `open`, `sent`, `bounced` or `dead`.
    pub state: String,
    /// The name of the route by which it goes; `None` if by none, and for one that has had its end.
    pub route: Option<String>,
    /// The number of attempts that ended with a reply about it; `None` if that is not known.
    pub attempts: Option<u32>,
    /// The last reply about it.
    pub last_reply: Option<String>,
    /// Why it is still here: the last reply, or else the present trouble of its relay.
    pub reason: Option<String>,
}

/// Returns a message in full, as a client with these rights may see it.
pub(super) fn detail(
    listed: ListedMessage,
    stored: &Stored,
    rights: Rights,
    status: Option<&QueueStatus>,
) -> MessageDetail {
    let envelope = &stored.envelope;
    let age = jiff::Timestamp::now().duration_since(stored.arrived).as_secs();
    MessageDetail {
        id: listed.id.to_string(),
        state: listed.state,
        held_by: holder(stored, rights),
        marked: listed.marked,
        uid: stored.submitter.user(),
        came_by: match stored.submitter {
            Submitter::Uid(_) => "socket",
            Submitter::LoopbackUid(_) | Submitter::Loopback => "tcp",
            Submitter::Ourselves => "nullmta",
        }
        .into(),
        from: envelope.reverse_path.to_string(),
        original_from: stored.original_from.clone(),
        assigned_route: stored.assigned_route.clone(),
        recipients: recipient_details(listed, stored, rights, status),
        size: stored.content_len,
        arrived: format!("{:.0}", stored.arrived),
        age: u64::try_from(age).unwrap_or(0),
        next_attempt: listed.next_attempt.map(|due| due.to_string()),
        envid: envelope.envid.as_deref().map(str::to_owned),
        ret: envelope.ret.map(|ret| match ret {
            Ret::Full => "full".into(),
            Ret::Headers => "headers".into(),
        }),
        body: match envelope.body {
            Body::SevenBit => "7bit".into(),
            Body::EightBitMime => "8bitmime".into(),
        },
        smtputf8: envelope.smtputf8,
    }
}

fn recipient_details(
    listed: ListedMessage,
    stored: &Stored,
    rights: Rights,
    status: Option<&QueueStatus>,
) -> Vec<RecipientDetail> {
    let mut kept = recipients(listed, stored, rights, status).into_iter().peekable();
    let all = stored.envelope.recipients.iter().zip(stored.ledger.fates()).enumerate();
    let details = all.map(|(index, (recipient, fate))| {
        let shown = kept.next_if(|(of, _)| *of == index).map(|(_, shown)| shown);
        let (route, reason) = shown.map_or((None, None), |shown| (shown.route, shown.reason));
        RecipientDetail {
            address: recipient.address.to_string(),
            original: recipient.original.as_ref().map(Address::to_string),
            state: match fate {
                Fate::Open => "open",
                Fate::Sent => "sent",
                Fate::Bounced => "bounced",
                Fate::Dead => "dead",
            }
            .into(),
            route,
            attempts: stored.replies.attempts(index),
            last_reply: stored.replies.of(index).map(str::to_owned),
            reason,
        }
    });
    details.collect()
}
