//! How `nullmta queue list` looks: the relays that are in trouble, a few lines for each message, and a total.
//!
//! ```text
//! mx.example.net:587 as web1 is paused since 12m, and probed again in 3m:
//!   connect to mx.example.net[192.0.2.1]:587: Connection refused
//!
//! QUEUE ID         STATE     AGE  SIZE NEXT  FROM
//! 18A4F1C9A02B3D40 ready      2h  4.0K    -  app@example.org (uid 33)
//!   to ann@example.net, bob@example.net and 3 more
//!      waits for the relay, as said above
//! 18A4F1C9A02B3D41 deferred  90m  1.2M  12m  <>
//!   to cat@example.com by route news
//!      450 4.2.1 mailbox busy
//!
//! 2 messages, 1262382 octets: 1 ready, 1 deferred.
//! ```
//! Promises: no line is wider than the given width; what was said of a relay above is not said again at its messages; text
//! from outside cannot forge a line. Pure: time is an argument.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::super::terminal::{columns, cut, wrapped};
use crate::admin::protocol::{MessageState, QueuedMessage, RelayHeadline, WaitsFor};
use crate::log::{Foreign, age_in_words, counted};

/// The line above the messages.
pub(super) const HEADING: &str = "QUEUE ID         STATE     AGE  SIZE NEXT  FROM";
/// The number of recipients that are named for each reason.
const NAMED: usize = 3;

/// The look of a listing.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// The most columns of a line; `None` for any.
    pub width: Option<usize>,
    /// The relays of which something was said above the messages.
    pub relays: Vec<RelayHeadline>,
}

impl Layout {
    /// Returns the lines about each relay that keeps its mail.
    pub fn headlines(&self, now: Timestamp) -> String {
        self.relays.iter().map(|relay| self.headline(relay, now)).collect()
    }

    fn headline(&self, relay: &RelayHeadline, now: Timestamp) -> String {
        let name = match (&relay.route, &relay.relay) {
            (None, None) => "The relay".to_owned(),
            (None, Some(relay)) => relay.clone(),
            (Some(route), None) => format!("The relay of route {route}"),
            (Some(route), Some(relay)) => format!("{relay}, the relay of route {route},"),
        };
        let since = relay.paused_since.as_deref().and_then(|time| between(time, now));
        let since = since.map_or(String::new(), |seconds| format!(" for {}", age_in_words(seconds)));
        let probe = relay.next_probe.as_deref().and_then(|time| until(time, now));
        let probe =
            probe.map_or(String::new(), |seconds| format!(", and probed again in {}", age_in_words(seconds)));
        let said = format!("{} is {}{since}{probe}:", Foreign(&name), Foreign(&relay.state));
        let mut text = wrapped(&said, "", self.width);
        for why in relay.keeps_mail.iter().chain(&relay.held_because) {
            text += &wrapped(&Foreign(why).to_string(), "  ", self.width);
        }
        text
    }

    /// Returns the lines about a message.
    pub fn message(&self, message: &QueuedMessage, now: Timestamp) -> String {
        let from = if message.from.is_empty() { "<>" } else { &message.from };
        let uid = message.uid.map_or(String::new(), |uid| format!(" (uid {uid})"));
        let next = message.next_attempt.as_deref().and_then(|time| until(time, now));
        let line = format!(
            "{:16} {:8} {:>4} {:>5} {:>4}  {}{uid}",
            message.id,
            message.state,
            age_in_words(message.age),
            size(message.size),
            next.map_or("-".into(), age_in_words),
            Foreign(from)
        );
        let mut text = self.line(&line);
        for (waits_for, recipients) in message.by_route_and_reason() {
            text += &self.recipients(waits_for.route, &recipients);
            text += &self.line(&format!("     {}", self.why(waits_for, message.state)));
        }
        text
    }

    /// Returns the line that names the recipients of one reason; empty if there are none.
    fn recipients(&self, route: Option<&str>, all: &[&str]) -> String {
        if all.is_empty() {
            return String::new();
        }
        let by = route.map_or(String::new(), |route| format!(" by route {}", Foreign(route)));
        let mut named = all.len().min(NAMED);
        loop {
            let names: Vec<String> = all[..named].iter().map(|to| Foreign(to).to_string()).collect();
            let names = format!("  to {}", names.join(", "));
            let more =
                if all.len() > named { format!(" and {} more", all.len() - named) } else { String::new() };
            let tail = more + &by;
            let left = self.width.map(|width| width.saturating_sub(columns(&tail)));
            if named == 1 || left.is_none_or(|left| columns(&names) <= left) {
                return self.line(&format!("{}{tail}", cut(&names, left)));
            }
            named -= 1;
        }
    }

    /// Returns why recipients are still here.
    fn why(&self, WaitsFor { route, reason }: WaitsFor<'_>, state: MessageState) -> String {
        match reason {
            Some(reason) if self.was_said(route, reason) => match route {
                None => "waits for the relay, as said above".into(),
                Some(route) => format!("waits for the relay of route {}, as said above", Foreign(route)),
            },
            Some(reason) => Foreign(reason).to_string(),
            None => match state {
                MessageState::Ready => "waits for a free connection to the relay".into(),
                MessageState::Active => "is being delivered".into(),
                MessageState::Deferred => {
                    "waits for its next attempt; what the relay said is not known".into()
                }
                MessageState::Held => "the relay refuses such mail: nullmta status says what to do".into(),
                MessageState::OnHold => "on hold".into(),
                MessageState::Dead => "dead; what the relay said is not known".into(),
            },
        }
    }

    fn was_said(&self, route: Option<&str>, reason: &str) -> bool {
        self.relays
            .iter()
            .any(|relay| relay.route.as_deref() == route && relay.keeps_mail.as_deref() == Some(reason))
    }

    fn line(&self, text: &str) -> String {
        format!("{}\n", cut(text, self.width))
    }
}

/// The number of messages that were listed, and their octets.
#[derive(Clone, Debug, Default)]
pub(super) struct ListTotal {
    pub messages: u64,
    octets: u64,
    states: BTreeMap<MessageState, u64>,
}

impl ListTotal {
    /// Counts a message.
    pub fn count(&mut self, message: &QueuedMessage) {
        self.messages += 1;
        self.octets += message.size;
        *self.states.entry(message.state).or_default() += 1;
    }

    /// Returns the total as a sentence.
    pub fn text(&self) -> String {
        let states: Vec<String> =
            self.states.iter().map(|(state, count)| format!("{count} {state}")).collect();
        let (messages, octets) = (counted(self.messages, "message"), counted(self.octets, "octet"));
        format!("{messages}, {octets}: {}.", states.join(", "))
    }
}

/// Returns a number of octets with at most two digits behind the point or four before: `999`, `4.0K`, `12M`.
pub(super) fn size(octets: u64) -> String {
    let mut scaled = octets as f64;
    if octets < 1000 {
        return octets.to_string();
    }
    for unit in ["K", "M", "G"] {
        scaled /= 1024.0;
        if scaled < 9.95 {
            return format!("{scaled:.1}{unit}");
        }
        if scaled < 999.5 {
            return format!("{scaled:.0}{unit}");
        }
    }
    format!("{:.0}T", scaled / 1024.0)
}

/// Returns the seconds from `time` to `now`; `None` if it is no time.
fn between(time: &str, now: Timestamp) -> Option<u64> {
    let time: Timestamp = time.parse().ok()?;
    Some(u64::try_from(now.as_second() - time.as_second()).unwrap_or(0))
}

/// Returns the seconds from `now` to `time`, 0 if it is past; `None` if it is no time.
pub(super) fn until(time: &str, now: Timestamp) -> Option<u64> {
    let time: Timestamp = time.parse().ok()?;
    Some(u64::try_from(time.as_second() - now.as_second()).unwrap_or(0))
}

#[cfg(test)]
mod tests;
