//! The answer to a request for the state of the daemon.
//!
//! Promise: [`DaemonStatus::for_anybody`] has no address, no user and no words of a relay. A field that is added here is in it,
//! unless it is left out there.

use serde::{Deserialize, Serialize};

use super::{Configuration, ListedHoldRule, ListedPause, QueuedMessage, RefusedConfiguration};
use crate::histogram::{BOUNDS, DurationCounts};
use crate::history::{FlowSpan, RecentFailure};

/// The state of the daemon in a few numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(test, derive(Default))]
pub struct DaemonStatus {
    /// The version of the running daemon, such as `0.1.0`; the program on disk may be newer.
    pub version: String,
    /// The process id of the daemon.
    pub pid: u32,
    /// True if reasons and names are left out, since the client may only know the numbers.
    #[serde(default, rename = "in-part")]
    pub is_in_part: bool,
    /// The configuration in force.
    pub configuration: Configuration,
    /// The number of live messages.
    pub messages: usize,
    /// The number of messages that wait for a free connection.
    pub ready: usize,
    /// The number of messages deferred by a 4xx reply of their own.
    pub deferred: usize,
    /// The number of messages held after a refusal.
    pub held: usize,
    /// The number of messages that an operator has put on hold.
    #[serde(default)]
    pub on_hold: usize,
    /// The number of dead messages: damaged ones, and failed ones that cannot be reported to anybody.
    pub dead: usize,
    /// The newest dead message, with the replies that it got.
    pub newest_dead: Option<QueuedMessage>,
    /// The number of messages on a connection now, or whose result is being recorded in the spool.
    pub active: usize,
    /// The time at which the oldest message was accepted that is neither dead nor on hold (RFC 3339); `None` if there is
    /// none.
    #[serde(default)]
    pub oldest: Option<String>,
    /// The age of that message, in seconds.
    #[serde(default)]
    pub oldest_age: Option<u64>,
    /// What came and went lately.
    #[serde(default)]
    pub rates: FlowRates,
    /// The reasons for which mail has failed in the last hour, the one that was met most often first. They have no words of a
    /// relay in them.
    #[serde(default)]
    pub failures: Vec<RecentFailure>,
    /// The number of open connections to the relay.
    pub connections: usize,
    /// The state of the relay: `not tried yet`, `usable` or `paused`. With routes, this and the keys below are about the first relay that
    /// is in trouble, or else about that of the top-level `relayhost`; `relays` has each.
    pub relay: String,
    /// The time of the next probe of a paused relay (RFC 3339).
    pub next_probe: Option<String>,
    /// The reason why no mail can be accepted, such as a full disk or a removed spool.
    pub spool_trouble: Option<String>,
    /// True if nothing is sent, since the spool does not record what becomes of it.
    #[serde(default)]
    pub cannot_record: bool,
    /// The space of the spool.
    #[serde(default)]
    pub spool: SpoolFigures,
    /// What is wrong with the file of `listen.users-file`, and what that means for logins; `None` if nothing is.
    #[serde(default)]
    pub users_trouble: Option<String>,
    /// The last trouble with the relay as a whole; `None` once the relay has answered again.
    pub trouble: Option<String>,
    /// The reason why messages are held and what to do about it; `None` if none are.
    pub held_because: Option<String>,
    /// How fast the relay gets mail.
    pub pace: RelaySpeed,
    /// A sentence for each certificate, a relay's or ours, that expires within two weeks.
    #[serde(default)]
    pub expiring: Vec<String>,
    /// What clients were given since the start.
    #[serde(default)]
    pub intake: IntakeFigures,
    /// How long the syncs of the spool took since the start; each makes a batch of records durable.
    #[serde(default)]
    pub syncs: DurationFigures,
    /// The alarms that go on.
    #[serde(default)]
    pub alarms: Vec<ListedAlarm>,
    /// The pauses that operators have ordered.
    #[serde(default)]
    pub pauses: Vec<ListedPause>,
    /// The hold rules, by which new mail is put on hold.
    #[serde(default)]
    pub hold_rules: Vec<ListedHoldRule>,
    /// Each `[[limit]]` of which something is used now, or that has refused something since the start, for each user whom it
    /// counts apart.
    #[serde(default)]
    pub limits: Vec<ClientLimited>,
    /// Each relay: first that of the top-level `relayhost`, then those of the routes in their order.
    #[serde(default)]
    pub relays: Vec<RelayFigures>,
}

/// What came and went lately; in a shorter span where the daemon has not run for so long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FlowRates {
    /// In the last minute.
    pub last_minute: FlowSpan,
    /// In the last hour.
    pub last_hour: FlowSpan,
}

/// The space of the spool, in octets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SpoolFigures {
    /// What the records of live messages take.
    pub octets: u64,
    /// What is free on its disk; `None` if the disk does not say it.
    pub free: Option<u64>,
    /// What there is in all on its disk; `None` if the disk does not say it.
    #[serde(default)]
    pub size: Option<u64>,
    /// What must be free for mail to be accepted: `queue.min-free-space`.
    pub reserve: u64,
}

/// What clients were given since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct IntakeFigures {
    /// The number of messages that were accepted.
    pub accepted: u64,
    /// How often each verb was refused with each code.
    pub refused: Vec<RefusedVerb>,
}

/// How often a verb was refused with a code since the start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RefusedVerb {
    /// The verb of SMTP, or `CONNECT` and `END-OF-MESSAGE`.
    pub verb: String,
    /// The code of the reply.
    pub code: u16,
    /// How often.
    pub times: u64,
}

/// How long something took, in counts since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DurationFigures {
    /// The sum of all, in microseconds.
    pub microseconds: u64,
    /// Each bound in milliseconds, with how often it took no longer, but longer than the bound before it; `None` for what took
    /// longer than all of them.
    pub within: Vec<(Option<u64>, u64)>,
}

impl From<DurationCounts> for DurationFigures {
    fn from(counts: DurationCounts) -> Self {
        let bounds = BOUNDS.into_iter().map(Some).chain([None]);
        DurationFigures { microseconds: counts.microseconds, within: bounds.zip(counts.counts).collect() }
    }
}

/// An alarm that goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ListedAlarm {
    /// Its condition, such as `oldest > 30m`.
    pub when: String,
    /// What is so, in words.
    pub why: String,
    /// The time from which on it has been so (RFC 3339).
    pub since: String,
}

/// The end of a certificate or a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ListedExpiry {
    /// What expires, as the beginning of a sentence.
    pub what: String,
    /// Its end (RFC 3339).
    pub until: String,
}

/// What must change before a relay takes mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Obstacle {
    /// What may be sent is used up, until a time.
    Quota,
    /// An operator must act, here or at the provider.
    Configuration,
}

/// What one `[[limit]]` says of one user, or of all that it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ClientLimited {
    /// The name of the limit.
    pub limit: String,
    /// The user, where each is counted apart and this one is known.
    pub uid: Option<u32>,
    /// Each amount in a period.
    pub amounts: Vec<AmountLeft>,
    /// The number of messages and sessions that were refused since the start.
    pub refused: u64,
    /// The number of messages that were put on hold since the start.
    #[serde(default)]
    pub held: u64,
    /// The time from which on there is room for what was refused last (RFC 3339); `None` if that is not known, or is past.
    pub refused_until: Option<String>,
}

/// An amount in a period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AmountLeft {
    /// The key that sets it: `messages`, `octets` or `recipients`.
    pub unit: String,
    /// What is allowed, such as `100/h`.
    pub allowed: String,
    /// How much may be used now.
    pub left: u64,
}

/// The state of one relay. A message to recipients at several relays counts at each of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(test, derive(Default))]
pub struct RelayFigures {
    /// The name of the route that leads to it; `None` for that of the top-level `relayhost`.
    pub route: Option<String>,
    /// The relay: its hosts, and our user name there.
    pub relay: String,
    /// Its state: `not tried yet`, `usable` or `paused`.
    pub state: String,
    /// The time at which its pause began (RFC 3339); `None` while it is usable.
    pub paused_since: Option<String>,
    /// The time of the next probe of a paused relay (RFC 3339).
    pub next_probe: Option<String>,
    /// The last trouble with it as a whole; `None` once it has answered again.
    pub trouble: Option<String>,
    /// The last trouble without the words of the relay and names.
    #[serde(default)]
    pub trouble_outline: Option<String>,
    /// What to do about it, without names.
    #[serde(default)]
    pub trouble_advice: Option<String>,
    /// The time at which it last took a message since the start (RFC 3339).
    #[serde(default)]
    pub last_success: Option<String>,
    /// What came of recipients at it since the start, each time that one was tried.
    #[serde(default)]
    pub outcomes: OutcomeCounts,
    /// How long the connections took that were set up for a message, from name to login.
    #[serde(default)]
    pub connecting: DurationFigures,
    /// How long the transactions took, from MAIL to the last reply.
    #[serde(default)]
    pub sending: DurationFigures,
    /// Number of connections since the start that were found to work.
    #[serde(default)]
    pub reached: u64,
    /// Number of troubles of the relay since the start, failed probes among them.
    #[serde(default)]
    pub troubles: u64,
    /// The time at which the oldest message that it gets was accepted, and that is neither dead nor on hold (RFC 3339).
    #[serde(default)]
    pub oldest: Option<String>,
    /// The number of live messages that it gets.
    pub messages: usize,
    /// The number of them that wait for a free connection.
    pub ready: usize,
    /// The number of them on a connection to it now, or whose result is being recorded in the spool.
    pub active: usize,
    /// The number of them that were deferred by a 4xx reply of their own.
    pub deferred: usize,
    /// The number of them that are held after a refusal.
    pub held: usize,
    /// The number of them that an operator has put on hold.
    #[serde(default)]
    pub on_hold: usize,
    /// The reason why messages are held and what to do about it; `None` if none are.
    pub held_because: Option<String>,
    /// The number of open connections to it.
    pub connections: usize,
    /// How fast it gets mail.
    pub pace: RelaySpeed,
    /// What must change before it takes mail, where the last trouble says that.
    #[serde(default)]
    pub obstacle: Option<Obstacle>,
    /// A sentence for each of its certificates that expires within two weeks.
    pub expiring: Vec<String>,
    /// The end of each of its certificates, and of ours and the secret for it, however far away.
    #[serde(default)]
    pub expiries: Vec<ListedExpiry>,
    /// A sentence for each relayhost, or address of one, that is passed over, since it did not work and another one did.
    #[serde(default)]
    pub passed_over: Vec<String>,
    /// A sentence about a refresh token that could not be written yet, and is in memory alone.
    #[serde(default)]
    pub unwritten_token: Option<String>,
}

/// The number of times that a recipient had each outcome, as the log says it, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct OutcomeCounts {
    /// The relay took the message.
    pub sent: u64,
    /// It is tried again later.
    pub deferred: u64,
    /// It was refused for a reason that only an operator can mend.
    pub held: u64,
    /// It was refused for good.
    pub bounced: u64,
    /// Its time was over.
    pub expired: u64,
}

/// How fast the relay gets mail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(test, derive(Default))]
pub struct RelaySpeed {
    /// The number of connections that the configuration allows.
    pub max_connections: usize,
    /// The number of connections that are allowed now.
    pub connections_allowed: usize,
    /// Why fewer are allowed than configured.
    #[serde(default)]
    pub fewer_because: Option<String>,
    /// The configured rates.
    pub rates: Vec<RateLeft>,
    /// The rate to which mail is slowed since the relay has said that it comes too fast; `None` if it has not.
    pub slowed_to: Option<String>,
    /// The most recipients in a transaction, where the relay has taken fewer than the configuration allows.
    #[serde(default)]
    pub recipients_limited_to: Option<usize>,
    /// The most domains of recipients in a transaction, where the relay has taken fewer than the configuration allows.
    #[serde(default)]
    pub domains_limited_to: Option<usize>,
    /// The time of the next message (RFC 3339), if one waits for the rates.
    pub next_message: Option<String>,
}

/// A configured rate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RateLeft {
    /// The rate, such as `10000/day`.
    pub rate: String,
    /// The number of messages that may go at once by it.
    pub left: u32,
}

impl ListedAlarm {
    fn for_anybody(self) -> Self {
        ListedAlarm { why: untold("it is so"), ..self }
    }
}

impl ListedExpiry {
    fn for_anybody(self) -> Self {
        ListedExpiry { what: "a certificate or a secret".into(), ..self }
    }
}

impl DaemonStatus {
    /// Returns the pauses of routes that the configuration in force does not have: they keep no mail.
    pub fn pauses_without_route(&self) -> impl Iterator<Item = (&ListedPause, &str)> {
        let is_known = |route: &str| self.relays.iter().any(|relay| relay.route.as_deref() == Some(route));
        let of_route = self.pauses.iter().filter_map(|pause| Some((pause, pause.route.as_deref()?)));
        of_route.filter(move |(_, route)| !self.relays.is_empty() && !is_known(route))
    }

    /// Returns what anybody on this host may know: the numbers, the states and their times, by the names of the routes. What
    /// may name a user or an address, or repeat the words of a relay, is left out.
    pub fn for_anybody(self) -> Self {
        let unnamed = |relay: RelayFigures| RelayFigures {
            trouble: relay.trouble_outline.clone(),
            held_because: relay.held_because.map(|_| untold("the relay refused mail, which is kept")),
            relay: String::new(),
            expiring: relay.expiring.iter().map(|_| EXPIRES.into()).collect(),
            expiries: relay.expiries.into_iter().map(ListedExpiry::for_anybody).collect(),
            passed_over: Vec::new(),
            unwritten_token: relay.unwritten_token.map(|_| untold("a new token cannot be written")),
            ..relay
        };
        let relays: Vec<RelayFigures> = self.relays.into_iter().map(unnamed).collect();
        let foremost = relays.iter().find(|relay| relay.trouble.is_some());
        DaemonStatus {
            is_in_part: true,
            newest_dead: None,
            users_trouble: self.users_trouble.map(|_| untold("the file of the users has an error")),
            trouble: foremost.and_then(|relay| relay.trouble.clone()),
            held_because: self.held_because.map(|_| untold("the relay refused mail, which is kept")),
            expiring: self.expiring.iter().map(|_| EXPIRES.into()).collect(),
            alarms: self.alarms.into_iter().map(ListedAlarm::for_anybody).collect(),
            pauses: self.pauses.into_iter().map(ListedPause::for_anybody).collect(),
            hold_rules: Vec::new(),
            limits: Vec::new(),
            configuration: Configuration {
                refused: self
                    .configuration
                    .refused
                    .map(|refused| RefusedConfiguration { why: untold("it has an error"), ..refused }),
                ..self.configuration
            },
            relays,
            ..self
        }
    }
}

/// What stands in the place of words about what expires.
const EXPIRES: &str = "a certificate or a secret expires within two weeks; which one is told to root and the daemon's own user and group";

/// Returns what stands in the place of words that not everybody may read.
fn untold(what: &str) -> String {
    format!("{what}; why is told to root and the daemon's own user and group")
}
