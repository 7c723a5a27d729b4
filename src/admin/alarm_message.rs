//! What a program or a page is told of an alarm.
//!
//! Promises: the names of the variables and of the keys are an interface. No octet of a value can end a variable, and no secret
//! is in any. Words may be a relay's, and repeat an address.

use jiff::Timestamp;
use serde::Serialize;

use super::health::waiting;
use super::protocol::DaemonStatus;
use crate::alarm::{AlarmNews, AlarmState};
use crate::log::Foreign;

/// What is told of an alarm; as JSON by these keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct AlarmMessage {
    /// A sentence with all of it, under the key that chat programs show.
    pub text: String,
    /// The condition, such as `oldest > 30m`.
    pub alarm: String,
    /// `began`, `goes-on` or `ended`.
    pub state: &'static str,
    /// What is so, or was so last, in words.
    pub why: String,
    /// The time at which the episode began (RFC 3339).
    pub since: String,
    /// The name of this host.
    pub host: String,
    /// The version of nullmta.
    pub version: &'static str,
    /// The numbers of that moment.
    pub facts: AlarmNumbers,
}

/// The numbers that are told with an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct AlarmNumbers {
    /// The messages that are to be sent.
    pub queued: usize,
    /// The age of the oldest of them, in seconds.
    pub oldest_seconds: Option<u64>,
    /// The dead messages.
    pub dead: usize,
    /// The messages that are on hold.
    pub on_hold: usize,
    /// The octets that are free on the disk of the spool.
    pub free_octets: Option<u64>,
    /// The relays that are paused.
    pub relays_paused: usize,
}

impl AlarmMessage {
    /// Returns the message about `news` of the alarm `when`, on `host`.
    pub fn of(news: &AlarmNews, when: &str, host: &str, status: &DaemonStatus) -> Self {
        let why = Foreign(&news.why).to_string();
        let (state, since) = (news.state.word(), format!("{:.0}", news.since));
        let course = match news.state {
            AlarmState::Began => format!("began: {why}"),
            AlarmState::GoesOn => format!("goes on, since {since}: {why}"),
            AlarmState::Ended => format!("ended: it is not so any more; since {since} it had been so: {why}"),
        };
        AlarmMessage {
            text: format!("nullmta on {host}: alarm \"{when}\" {course}"),
            alarm: when.into(),
            state,
            why,
            since,
            host: host.into(),
            version: env!("CARGO_PKG_VERSION"),
            facts: AlarmNumbers::of(status),
        }
    }

    /// Returns the variables that a program gets: each name with its value, which is empty where a number is not known.
    pub fn variables(&self) -> [(&'static str, String); 11] {
        let number = |number: Option<u64>| number.map_or(String::new(), |number| number.to_string());
        let AlarmNumbers { queued, oldest_seconds, dead, on_hold, free_octets, relays_paused } = self.facts;
        [
            ("NULLMTA_ALARM", self.alarm.clone()),
            ("NULLMTA_STATE", self.state.into()),
            ("NULLMTA_WHY", self.why.clone()),
            ("NULLMTA_SINCE", self.since.clone()),
            ("NULLMTA_HOST", self.host.clone()),
            ("NULLMTA_QUEUED", queued.to_string()),
            ("NULLMTA_OLDEST_SECONDS", number(oldest_seconds)),
            ("NULLMTA_DEAD", dead.to_string()),
            ("NULLMTA_ON_HOLD", on_hold.to_string()),
            ("NULLMTA_FREE_OCTETS", number(free_octets)),
            ("NULLMTA_RELAYS_PAUSED", relays_paused.to_string()),
        ]
    }
}

impl AlarmNumbers {
    fn of(status: &DaemonStatus) -> Self {
        AlarmNumbers {
            queued: waiting(status),
            oldest_seconds: status.oldest_age,
            dead: status.dead,
            on_hold: status.on_hold,
            free_octets: status.spool.free,
            relays_paused: status.relays.iter().filter(|relay| relay.paused_since.is_some()).count(),
        }
    }
}

/// What the page of a heartbeat is told, as JSON by these keys.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct HeartbeatMessage<'a> {
    /// The name of this host.
    pub host: &'a str,
    /// The version of nullmta.
    pub version: &'static str,
    /// The time of the look that found everything well (RFC 3339).
    pub at: String,
    /// The messages that are to be sent.
    pub queued: usize,
}

impl<'a> HeartbeatMessage<'a> {
    pub fn of(host: &'a str, status: &DaemonStatus, now: Timestamp) -> Self {
        let (at, queued) = (format!("{now:.0}"), waiting(status));
        HeartbeatMessage { host, version: env!("CARGO_PKG_VERSION"), at, queued }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_all_of_it_and_nothing_in_it_ends_a_line() {
        let news = AlarmNews {
            place: 0,
            state: AlarmState::GoesOn,
            why: "the relay said: 4\u{0}5\n1 no".into(),
            since: "2026-11-21T01:00:00Z".parse().unwrap(),
        };
        let status =
            DaemonStatus { messages: 7, on_hold: 2, oldest_age: Some(61), ..DaemonStatus::default() };
        let message = AlarmMessage::of(&news, "oldest > 1m", "web1.example", &status);
        let expected = r#"{"text":"nullmta on web1.example: alarm \"oldest > 1m\" goes on, since 2026-11-21T01:00:00Z: the relay said: 4\\u{0}5\\n1 no","alarm":"oldest > 1m","state":"goes-on","why":"the relay said: 4\\u{0}5\\n1 no","since":"2026-11-21T01:00:00Z","host":"web1.example","version":"VERSION","facts":{"queued":5,"oldest-seconds":61,"dead":0,"on-hold":2,"free-octets":null,"relays-paused":0}}"#;
        let expected = expected.replace("VERSION", env!("CARGO_PKG_VERSION"));
        assert_eq!(serde_json::to_string(&message).unwrap(), expected);
        let variables = message.variables();
        assert!(variables.iter().all(|(_, value)| !value.contains(['\0', '\n'])));
        let value = |name| variables.iter().find(|(known, _)| *known == name).unwrap().1.as_str();
        assert_eq!((value("NULLMTA_QUEUED"), value("NULLMTA_OLDEST_SECONDS")), ("5", "61"));
        assert_eq!((value("NULLMTA_STATE"), value("NULLMTA_FREE_OCTETS")), ("goes-on", ""));
    }
}
