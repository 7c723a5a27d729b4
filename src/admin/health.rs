//! Whether mail gets through: what is wrong now, how badly, and in which words.
//!
//! Promises: the worst findings come first. What an operator has put on hold, and what is dead, is not late. Pure: the time is
//! an argument.
//!
//! Not here: how it is said to a monitoring program (`cli/status/monitoring.rs`) or over HTTP (`http.rs`).

use std::cmp::Reverse;
use std::time::Duration;

use jiff::Timestamp;

use super::protocol::{DaemonStatus, ListedPause, RelayFigures};
use crate::log::{age_in_words, counted};

/// How badly mail gets through, the worst one last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HealthLevel {
    /// Nothing is wrong.
    Well,
    /// Something wants a look.
    Warning,
    /// Somebody must act now.
    Critical,
}

/// The bounds beyond which the state is critical.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthBounds {
    /// The longest that the oldest message to be sent may wait.
    pub max_age: Duration,
    /// The most messages that may be to be sent.
    pub max_depth: Option<usize>,
    /// The longest that a relay may be paused, and that delivery or intake may be by an operator.
    pub max_paused: Duration,
}

impl Default for HealthBounds {
    fn default() -> Self {
        let minutes = |number: u64| Duration::from_secs(60 * number);
        HealthBounds { max_age: minutes(30), max_depth: None, max_paused: minutes(10) }
    }
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthFinding {
    /// How bad it is.
    pub health: HealthLevel,
    /// What it is. The words may be a relay's, with any characters in them.
    pub words: String,
}

/// What is said of a spool that does not record what becomes of mail.
pub const CANNOT_RECORD: &str =
    "nothing is sent, since the spool does not record what becomes of it; see its disk and its rights";

/// Returns the number of messages that are to be sent.
pub fn waiting(status: &DaemonStatus) -> usize {
    status.messages.saturating_sub(status.dead + status.on_hold)
}

/// Returns what is wrong at `now`, the worst first.
pub fn findings(status: &DaemonStatus, bounds: &HealthBounds, now: Timestamp) -> Vec<HealthFinding> {
    let mut findings = of_daemon(status, bounds);
    findings.extend(status.relays.iter().flat_map(|relay| of_relay(relay, bounds, now)));
    let is_void = |pause: &&ListedPause| status.pauses_without_route().any(|(void, _)| void == *pause);
    let (void, in_force): (Vec<_>, Vec<_>) = status.pauses.iter().partition(is_void);
    findings.extend(in_force.into_iter().map(|pause| of_pause(pause, bounds, now)));
    findings.extend(void.into_iter().map(without_route));
    findings.sort_by_key(|finding| Reverse(finding.health));
    findings
}

fn critical(words: String) -> HealthFinding {
    HealthFinding { health: HealthLevel::Critical, words }
}

fn warning(words: String) -> HealthFinding {
    HealthFinding { health: HealthLevel::Warning, words }
}

fn of_daemon(status: &DaemonStatus, bounds: &HealthBounds) -> Vec<HealthFinding> {
    let refused = status.spool_trouble.as_ref().map(|why| critical(format!("mail is refused: {why}")));
    let unrecorded = status.cannot_record.then(|| critical(CANNOT_RECORD.into()));
    let old = status.oldest_age.filter(|seconds| *seconds > bounds.max_age.as_secs());
    let old = old.map(|seconds| critical(format!("the oldest message waits for {}", age_in_words(seconds))));
    let deep = bounds.max_depth.filter(|most| waiting(status) > *most);
    let deep = deep.map(|_| critical(counted(waiting(status) as u64, "message") + " to be sent"));
    let dead = (status.dead > 0).then(|| {
        warning(counted(status.dead as u64, "dead message") + ": see nullmta queue list --state dead")
    });
    let newer = status.configuration.refused.as_ref();
    let newer =
        newer.map(|refused| warning(format!("the configuration file cannot be used: {}", refused.why)));
    let users = status.users_trouble.as_ref().map(|why| warning(format!("logins: {why}")));
    refused
        .into_iter()
        .chain(unrecorded)
        .chain(old)
        .chain(deep)
        .chain(dead)
        .chain(newer)
        .chain(users)
        .collect()
}

/// Returns the finding about a pause that an operator has ordered, and may have forgotten.
fn of_pause(pause: &ListedPause, bounds: &HealthBounds, now: Timestamp) -> HealthFinding {
    let ListedPause { part, route, by, reason, .. } = pause;
    let route = route.as_ref().map_or(String::new(), |route| format!(" by route {route}"));
    let reason = reason.as_ref().map_or(String::new(), |reason| format!(": {reason}"));
    let since = pause.since.parse().unwrap_or(now);
    paused_since(since, bounds, now, |time| format!("{part}{route} is paused by {by} for {time}{reason}"))
}

/// Returns the finding about a pause of a route that the configuration in force does not have: it keeps nothing.
fn without_route(pause: &ListedPause) -> HealthFinding {
    let route = pause.route.as_deref().unwrap_or_default();
    warning(format!(
        "the mail of route {route} is not paused as ordered: the configuration has no such route"
    ))
}

/// Returns the finding about a pause that began then, in the words for its length.
fn paused_since(
    since: Timestamp,
    bounds: &HealthBounds,
    now: Timestamp,
    words: impl FnOnce(String) -> String,
) -> HealthFinding {
    let seconds = u64::try_from(now.duration_since(since).as_secs()).unwrap_or(0);
    let words = words(age_in_words(seconds));
    if seconds > bounds.max_paused.as_secs() { critical(words) } else { warning(words) }
}

fn of_relay(relay: &RelayFigures, bounds: &HealthBounds, now: Timestamp) -> Vec<HealthFinding> {
    let route = relay.route.as_ref();
    let name = route.map_or("the relay".to_owned(), |route| format!("the relay of route {route}"));
    let since = relay.paused_since.as_ref().and_then(|since| since.parse().ok());
    let paused = since.map(|since| {
        let why = relay.trouble.as_ref().map_or(String::new(), |trouble| format!(": {trouble}"));
        paused_since(since, bounds, now, |time| format!("{name} is paused for {time}{why}"))
    });
    let held = relay.held_because.as_ref().filter(|_| relay.held > 0);
    let held =
        held.map(|why| warning(format!("{} at {name}: {why}", counted(relay.held as u64, "held message"))));
    let expiring = relay.expiring.iter().map(|notice| warning(notice.clone()));
    let token = relay.unwritten_token.iter().map(|notice| warning(notice.clone()));
    paused.into_iter().chain(held).chain(expiring).chain(token).collect()
}
