//! The answers of the queue to those who ask what it is doing.
//!
//! Plain values. Not here: how they are found (`reducer/figures.rs`), how they are shown (`admin/`).

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

use super::Standing;
use super::routes::places_of;
use super::tally::{RelayCounts, RelayTimes};
use crate::envelope::{ReversePath, ReversePathKey};
use crate::message::dsn::Overseers;
use crate::queue_id::QueueId;
use crate::relay::{KnownExpiry, RelayFault};
use crate::routing::Routes;
use crate::spool::{OperatorVerb, Stored};
use crate::standing_orders::Pause;

/// A message and its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageStanding {
    /// The message's queue id.
    pub id: QueueId,
    /// The message's state.
    pub standing: Standing,
    /// Number of attempts in a row in which the connection was lost during this message and no other was at fault.
    pub losses: u8,
    /// True if the last one was given up for a reply that is too long.
    pub met_overlong: bool,
    /// The order that waits until it is not under way any more.
    pub marked: Option<OperatorVerb>,
}

/// The figures of the queue, of all relays together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueStatus {
    /// The number of live messages.
    pub live: usize,
    /// The number of messages that wait for a connection.
    pub ready: usize,
    /// The number of messages that a connection carries, or whose result is being recorded.
    pub under_way: usize,
    /// The number of messages that were deferred by their own 4xx.
    pub deferred: usize,
    /// The number of messages that are held after a refusal.
    pub held: usize,
    /// The number of messages that an operator has put on hold.
    pub on_hold: usize,
    /// The number of dead messages: they failed and nobody can be told, or they are damaged.
    pub dead: usize,
    /// The newest dead message.
    pub newest_dead: Option<QueueId>,
    /// True if nothing is sent, since the spool does not record what becomes of it.
    pub cannot_record: bool,
    /// The number of messages that are ready or under way and count at no relay of `relays`: their relays are being looked
    /// up, or the configuration does not name theirs any more.
    pub astray: usize,
    /// The figures of each relay, in the order of the configuration; at least one.
    pub relays: Vec<RelayStatus>,
    /// The rules by which a message finds its relay.
    pub routes: Routes,
    /// The addresses that are told of failures, besides the reverse-path.
    pub overseers: Overseers,
    /// The number of connections to relays that the configuration does not name any more.
    pub retired_connections: usize,
}

/// The figures of one relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayStatus {
    /// The name of the route that leads to the relay; `None` for the relay that gets what no route takes.
    pub route: Option<String>,
    /// The name of the relay: its hosts, and our user name there.
    pub name: String,
    /// The number of live messages that this relay gets. One that several relays get counts at each of them, here and in
    /// the next five numbers.
    pub live: usize,
    /// The number of them that wait for a connection.
    pub ready: usize,
    /// The number of them that a connection to this relay carries, or whose result is being recorded.
    pub under_way: usize,
    /// The number of them that were deferred by their own 4xx.
    pub deferred: usize,
    /// The number of them that are held after a refusal.
    pub held: usize,
    /// The number of them that an operator has put on hold.
    pub on_hold: usize,
    /// The number of connections to the relay.
    pub connections: usize,
    /// The time at which the oldest message was accepted that is neither dead nor on hold; `None` if there is none.
    pub oldest: Option<Timestamp>,
    /// What came of its recipients since the start.
    pub counts: RelayCounts,
    /// How long it took since the start.
    pub times: RelayTimes,
    /// Number of connections to the relay since the start that were found to work.
    pub reached: u64,
    /// Number of troubles of the relay since the start.
    pub troubles: u64,
    /// True if the relay is not tried yet: since the start or the last reload no connection to it has been opened, and
    /// none has failed.
    pub is_untried: bool,
    /// The time at which the pause of a paused relay began; `None` while it is usable.
    pub paused_since: Option<Timestamp>,
    /// The time of the next probe of a paused relay; `None` while it is usable.
    pub paused_until: Option<Timestamp>,
    /// The pause of delivery to the relay that an operator has ordered.
    pub halted_by: Option<Pause>,
    /// The last trouble of the relay, until it answers a transaction.
    pub trouble: Option<String>,
    /// The last trouble without the relay's words and ours, which may name another user's address or a path.
    pub trouble_outline: Option<String>,
    /// What to do about it, in words that anybody may read.
    pub trouble_advice: Option<&'static str>,
    /// The part of the relay that does not work, by that trouble.
    pub fault: Option<RelayFault>,
    /// A sentence for each certificate of the relay, or of ours for it, that is about to expire.
    pub expiring: Vec<String>,
    /// The end of each of these certificates, and of a client secret, however far away.
    pub ends: Vec<KnownExpiry>,
    /// A sentence for each host of the relay that is passed over, since it did not work and another one did.
    pub passed_over: Vec<String>,
    /// A sentence about a refresh token that could not be written yet.
    pub unwritten_token: Option<String>,
    /// The senders whose mail is held until an operator acts; other mail goes on.
    pub held_senders: Vec<SenderStatus>,
    /// Reason why messages are held, and what an operator can do about it; `None` if none is held.
    pub held_because: Option<String>,
    /// How fast the relay gets mail.
    pub pace: PaceStatus,
}

/// A sender whose mail a relay does not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SenderStatus {
    /// The reverse-path.
    pub from: ReversePath,
    /// The reply for which its mail was held first.
    pub said: String,
}

/// How fast one relay gets mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaceStatus {
    /// The number of connections that the configuration allows.
    pub max_connections: usize,
    /// The number of connections that are allowed now: fewer after the relay has refused some, and after an outage.
    pub connections_allowed: usize,
    /// Why fewer are allowed than configured; `None` if none is kept away.
    pub fewer_because: Option<&'static str>,
    /// Each configured rate, with the number of messages that may go at once by it.
    pub rates: Vec<(String, u32)>,
    /// The rate to which mail is slowed since the relay has said that it comes too fast.
    pub slowed_to: Option<String>,
    /// The most recipients in a transaction, where the relay has taken fewer than the configuration allows.
    pub recipients_limited_to: Option<usize>,
    /// The most domains of recipients in a transaction, where the relay has taken fewer than the configuration allows.
    pub domains_limited_to: Option<usize>,
    /// The time of the next message, if one waits for the rates.
    pub next_message: Option<Timestamp>,
}

/// Returns a rate, given in messages a second, in words.
pub(super) fn rate_in_words(per_second: f64) -> String {
    if per_second >= 1.0 { format!("{per_second:.1}/s") } else { format!("{:.1}/min", per_second * 60.0) }
}

/// The answer to a client that wants the queue to be tried, where that has just been done for another client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooSoon {
    /// The time since the queue was tried for another client.
    pub last: Duration,
    /// The time until such a wish is followed again.
    pub again_in: Duration,
    /// The time until the relay is probed in any case; `None` if it is not paused.
    pub next_probe_in: Option<Duration>,
}

impl fmt::Display for TooSoon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (last, again) = (self.last.as_secs(), self.again_in.as_secs_f64().ceil());
        write!(f, "not started: tried on request {last} s ago, and on request again in {again} s; ")?;
        match self.next_probe_in {
            Some(next) => write!(f, "the relay is paused, next probe in {} s", next.as_secs_f64().ceil()),
            None => f.write_str("the relay is not paused"),
        }
    }
}

impl QueueStatus {
    /// Returns the number of connections to all relays.
    pub fn connections(&self) -> usize {
        self.relays.iter().map(|relay| relay.connections).sum::<usize>() + self.retired_connections
    }

    /// Returns when the oldest message was accepted that is neither dead nor on hold; `None` if there is none at any relay.
    pub fn oldest(&self) -> Option<Timestamp> {
        self.relays.iter().filter_map(|relay| relay.oldest).min()
    }

    /// Returns the relay of each recipient of this message that has not had its end, by the recipient's index.
    pub fn relays_of(&self, stored: &Stored) -> Vec<(usize, &RelayStatus)> {
        let places = places_of(&self.routes, stored, stored.ledger.unsettled());
        // The routes are those of these relays, so there is one at each place.
        places.into_iter().map(|(index, place)| (index, &self.relays[place.0])).collect()
    }

    /// Returns the relay of which to speak if of one alone: the first one that is in trouble, or else the first one.
    pub fn foremost(&self) -> &RelayStatus {
        let in_trouble =
            self.relays.iter().find(|relay| relay.paused_until.is_some() || relay.trouble.is_some());
        // The list is never empty.
        in_trouble.unwrap_or_else(|| &self.relays[0])
    }
}

impl RelayStatus {
    /// Returns why mail of this relay that is ready does not go yet, if something keeps it: a pause, trouble of the relay, its
    /// outline if not `in_full`, or the rates.
    pub fn keeps_mail(&self, in_full: bool) -> Option<String> {
        if let Some(pause) = &self.halted_by {
            let by = if in_full { format!(" by {}", pause.terms) } else { String::new() };
            let Pause { scope, .. } = pause;
            return Some(format!("{scope} is paused{by}; {} has it go on", scope.resume_command()));
        }
        let trouble = if in_full { &self.trouble } else { &self.trouble_outline };
        let next = self.pace.next_message;
        trouble
            .clone()
            .or_else(|| Some(format!("the rates of the relay let the next message go at {:.0}", next?)))
    }

    /// Returns why a message of `from` is held that was not tried: with the relay's reply to another one if `in_full`.
    pub fn holds_mail_of(&self, from: &ReversePath, in_full: bool) -> Option<String> {
        let key = ReversePathKey::from(from);
        let sender = self.held_senders.iter().find(|sender| ReversePathKey::from(&sender.from) == key)?;
        let said = if in_full { format!(": {}", sender.said) } else { String::new() };
        Some(format!("not tried, since the relay refused other messages of this sender{said}"))
    }

    /// Returns the relay's state in words.
    pub fn state(&self) -> &'static str {
        match self.paused_until {
            Some(_) => "paused",
            None if self.is_untried => "not tried yet",
            None => "usable",
        }
    }
}
