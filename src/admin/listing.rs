//! A message as it is shown to a client: its state, its recipients that have not had their end, and why it is still here.
//!
//! Promise: a client sees a message only if its rights include it, and of a relay's trouble the words only if it may do
//! anything.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::protocol::{MessageState, QueuedMessage, QueuedRecipient, RelayHeadline};
use super::rights::Rights;
use crate::filter::{FilteredMessage, FilteredRecipient, HolderKind, MailHolder};
use crate::queue::{MessageStanding, QueueStatus, RelayStatus, Standing};
use crate::queue_id::QueueId;
use crate::spool::{OperatorVerb, ReadError, Spool, Stored};

/// The reason shown for a dead message whose replies are not known: it is from an older version, or its note was lost.
const FORGOTTEN: &str =
    "it failed, the failure could be reported to nobody, and the replies that it got are not known";

/// What is known of a message besides what is stored of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct ListedMessage {
    pub id: QueueId,
    pub state: MessageState,
    /// The time of its next attempt, if that is known.
    pub next_attempt: Option<Timestamp>,
    /// Number of attempts in a row in which the connection was lost during this message.
    pub losses: u8,
    /// True if the last one was given up for a reply that is too long.
    pub met_overlong: bool,
    /// What is ordered about it, and done when it is not under way any more.
    pub marked: Option<OperatorVerb>,
}

impl From<MessageStanding> for ListedMessage {
    fn from(MessageStanding { id, standing, losses, met_overlong, marked }: MessageStanding) -> Self {
        let next_attempt = match standing {
            Standing::Waiting(due) => Timestamp::from_second(due.into()).ok(),
            _ => None,
        };
        ListedMessage { id, state: standing.into(), next_attempt, losses, met_overlong, marked }
    }
}

/// The part of a message that a client may see.
pub(super) enum Seen {
    Whole(Box<QueuedMessage>),
    /// Only that there is one.
    Hidden,
    /// It was settled since its id was listed.
    Gone,
}

/// Returns the part of the message that this client may see; `status` says what its relays are doing.
pub(super) fn seen(
    spool: &Spool,
    listed: ListedMessage,
    rights: Rights,
    status: Option<&QueueStatus>,
) -> Seen {
    match spool.peek(listed.id) {
        Ok(stored) if rights.include(stored.submitter) => {
            Seen::Whole(Box::new(message(listed, &stored, rights, status)))
        }
        Err(ReadError::Gone) => Seen::Gone,
        Err(error) if rights == Rights::Everything => Seen::Whole(Box::new(unreadable(listed, &error))),
        Ok(_) | Err(_) => Seen::Hidden,
    }
}

/// Returns the relays that keep mail, as this client may see them.
pub(super) fn headlines(status: &QueueStatus, rights: Rights) -> Vec<RelayHeadline> {
    let in_full = rights == Rights::Everything;
    let headline = |relay: &RelayStatus| RelayHeadline {
        route: relay.route.clone(),
        relay: in_full.then(|| relay.name.clone()),
        state: relay.state().into(),
        paused_since: relay.paused_since.map(|time| format!("{time:.0}")),
        next_probe: relay.paused_until.map(|time| format!("{time:.0}")),
        keeps_mail: relay.keeps_mail(in_full),
        held_because: relay.held_because.clone().filter(|_| in_full),
    };
    let headlines = status.relays.iter().map(headline);
    headlines.filter(|relay| relay.keeps_mail.is_some() || relay.held_because.is_some()).collect()
}

/// Returns the facts of a shown message for a filter.
pub(super) fn facts(id: QueueId, message: &QueuedMessage) -> FilteredMessage<'_> {
    fn recipient(recipient: &QueuedRecipient) -> FilteredRecipient<'_> {
        let QueuedRecipient { address, route, reason } = recipient;
        FilteredRecipient { address, route: route.as_deref(), reason: reason.as_deref() }
    }
    FilteredMessage {
        id,
        uid: message.uid,
        state: message.state,
        held_by: message.held_by.as_ref(),
        age: Duration::from_secs(message.age),
        // What cannot be read has no time of arrival.
        from: Some(&*message.from).filter(|_| !message.arrived.is_empty()),
        original_from: message.original_from.as_deref(),
        reason: message.reason.as_deref(),
        recipients: message.recipients.iter().map(recipient).collect(),
    }
}

/// Returns the recipients that have not had their end, each with its index, its route and why it is still here.
pub(super) fn recipients(
    listed: ListedMessage,
    stored: &Stored,
    rights: Rights,
    status: Option<&QueueStatus>,
) -> Vec<(usize, QueuedRecipient)> {
    let relays: BTreeMap<usize, &RelayStatus> =
        status.into_iter().flat_map(|status| status.relays_of(stored)).collect();
    let unsaid = |relay: Option<&&RelayStatus>| match listed.state {
        // The relay's present trouble is not why dead mail is here.
        MessageState::Dead => Some(FORGOTTEN.to_owned()),
        MessageState::Held => {
            relay?.holds_mail_of(&stored.envelope.reverse_path, rights == Rights::Everything)
        }
        _ if listed.losses > 0 => Some(lost(listed)),
        _ => relay?.keeps_mail(rights == Rights::Everything),
    };
    let shown = stored.ledger.unsettled().filter_map(|index| {
        let relay = relays.get(&index);
        let said = stored.replies.of(index).map(str::to_owned);
        let recipient = QueuedRecipient {
            address: stored.envelope.recipients.get(index)?.address.to_string(),
            route: relay.and_then(|relay| relay.route.clone()),
            reason: match listed.state {
                MessageState::OnHold => Some(on_hold(stored, said.as_deref(), rights)),
                _ => said.or_else(|| unsaid(relay)),
            },
        };
        Some((index, recipient))
    });
    shown.collect()
}

/// Returns why a message is here that is on hold: who holds it, what has it sent, and the last reply about it.
fn on_hold(stored: &Stored, said: Option<&str>, rights: Rights) -> String {
    let holder = holder(stored, rights).unwrap_or(MailHolder::of(HolderKind::Unknown));
    let by = words_of_rule(stored, &holder, rights).map_or_else(|| holder.to_string(), str::to_owned);
    let release = match rights.may_release_from(&holder) {
        true => "nullmta queue release has it sent",
        false => "only an operator has it sent: root, or the daemon's own user and group",
    };
    let said = said.map_or(String::new(), |said| format!("; the last reply: {said}"));
    format!("held by {by}; {release}{said}")
}

/// Returns who holds a message, as this client may know it: of other users only that they are operators.
pub(super) fn holder(stored: &Stored, rights: Rights) -> Option<MailHolder> {
    let holder = stored.held_by.clone()?;
    let may_know = rights == Rights::Everything || rights.may_release_from(&holder);
    Some(if may_know { holder } else { MailHolder::of(holder.kind) })
}

/// Returns the words of the rule or limit that holds a message from the first, if this client may know them: they are an
/// operator's.
fn words_of_rule<'a>(stored: &'a Stored, holder: &MailHolder, rights: Rights) -> Option<&'a str> {
    let is_from_first = !matches!(holder.kind, HolderKind::Operator | HolderKind::Submitter);
    stored.came_on_hold.as_deref().filter(|_| is_from_first && rights == Rights::Everything)
}

/// Returns why a message is here during which connections were lost.
fn lost(ListedMessage { losses, met_overlong, .. }: ListedMessage) -> String {
    let times = if losses == 1 { "once".to_owned() } else { format!("{losses} times in a row") };
    let how = if met_overlong {
        format!(
            "given up during this message {times}, since a reply of the relay was too long to be one, as the log says"
        )
    } else {
        format!("lost during this message {times}, without a reply about it")
    };
    format!("the connection to the relay was {how}; it is tried again, alone on its connection")
}

/// Returns a message as it is listed.
pub(super) fn message(
    listed: ListedMessage,
    stored: &Stored,
    rights: Rights,
    status: Option<&QueueStatus>,
) -> QueuedMessage {
    let recipients = recipients(listed, stored, rights, status).into_iter();
    let recipients: Vec<QueuedRecipient> = recipients.map(|(_, recipient)| recipient).collect();
    let age = Timestamp::now().duration_since(stored.arrived).as_secs();
    QueuedMessage {
        state: listed.state,
        held_by: holder(stored, rights),
        marked: listed.marked,
        uid: stored.submitter.user(),
        from: stored.envelope.reverse_path.to_string(),
        original_from: stored.original_from.clone(),
        reason: recipients.iter().find_map(|recipient| recipient.reason.clone()),
        recipients,
        size: stored.content_len,
        arrived: format!("{:.0}", stored.arrived),
        age: u64::try_from(age).unwrap_or(0),
        next_attempt: listed.next_attempt.map(|due| due.to_string()),
        id: listed.id.to_string(),
    }
}

/// Returns a message as it is listed that cannot be read.
pub(super) fn unreadable(listed: ListedMessage, error: &ReadError) -> QueuedMessage {
    QueuedMessage {
        id: listed.id.to_string(),
        state: listed.state,
        held_by: None,
        marked: listed.marked,
        uid: None,
        from: String::new(),
        original_from: None,
        recipients: Vec::new(),
        size: 0,
        arrived: String::new(),
        age: 0,
        next_attempt: listed.next_attempt.map(|due| due.to_string()),
        reason: Some(error.to_string()),
    }
}
