//! `nullmta status --check`: whether mail gets through, in one line, as monitoring plug-ins say it.
//!
//! Promises: one line on standard output, `NULLMTA STATE: words | performance data`, and the exit code of its state (the
//! guidelines of the Monitoring Plugins project). The worst finding decides, and the worst ones are said first. A daemon
//! that cannot be asked is critical, since nobody knows what becomes of the mail then.
//!
//! Pure but for printing: the time is an argument of [`assess`].

use std::time::Duration;

use clap::Args;
use jiff::Timestamp;

use super::super::exit::{Exit, Failure};
use super::super::output::say;
use super::super::queue::age;
use crate::admin::protocol::{DaemonStatus, RelayFigures};
use crate::config::parse_duration;
use crate::log::{Foreign, counted};

/// The bounds beyond which the state is critical.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "When --check is critical")]
pub(super) struct MonitoringBounds {
    /// The oldest message to be sent waits longer than this
    #[arg(long, value_name = "AGE", value_parser = duration, default_value = "30m", requires = "check")]
    max_age: Duration,
    /// More messages than this are to be sent
    #[arg(long, value_name = "NUMBER", requires = "check")]
    max_depth: Option<usize>,
    /// A relay is paused for longer than this
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "10m", requires = "check")]
    max_paused: Duration,
}

fn duration(text: &str) -> Result<Duration, &'static str> {
    parse_duration(text).ok_or("a time is a number and a unit, such as 90s, 30m or 1h30m")
}

/// A state of a monitoring plug-in, the worst one last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum PluginState {
    Ok,
    Warning,
    Critical,
}

impl PluginState {
    fn word(self) -> &'static str {
        match self {
            PluginState::Ok => "OK",
            PluginState::Warning => "WARNING",
            PluginState::Critical => "CRITICAL",
        }
    }
}

/// Prints the line about the daemon's answer. Returns the exit code as a failure if the state is not OK.
pub(super) fn report(
    answer: &Result<DaemonStatus, Failure>,
    bounds: &MonitoringBounds,
) -> Result<(), Failure> {
    let (line, exit) = match answer {
        Ok(status) => {
            let (state, line) = assess(status, bounds, Timestamp::now());
            let exit = match state {
                PluginState::Ok => None,
                PluginState::Warning => Some(Exit::Failed),
                PluginState::Critical => Some(Exit::Critical),
            };
            (line, exit)
        }
        Err(failure) if failure.exit() == Exit::Unavailable => {
            (format!("NULLMTA CRITICAL: {}", on_one_line(&failure.to_string())), Some(Exit::Critical))
        }
        Err(failure) => {
            (format!("NULLMTA UNKNOWN: {}", on_one_line(&failure.to_string())), Some(Exit::Unknown))
        }
    };
    say!("{line}")?;
    exit.map_or(Ok(()), |exit| Err(Failure::said(exit)))
}

/// Returns the state, and the line that says it.
fn assess(status: &DaemonStatus, bounds: &MonitoringBounds, now: Timestamp) -> (PluginState, String) {
    let mut findings = of_daemon(status, bounds);
    findings.extend(status.relays.iter().flat_map(|relay| of_relay(relay, bounds, now)));
    findings.sort_by_key(|(state, _)| std::cmp::Reverse(*state));
    let state = findings.first().map_or(PluginState::Ok, |(state, _)| *state);
    let words: Vec<String> = findings.iter().map(|(_, words)| on_one_line(words)).collect();
    let words = match words.is_empty() {
        true => counted(waiting(status) as u64, "message") + " to be sent",
        false => words.join("; "),
    };
    (state, format!("NULLMTA {}: {words} | {}", state.word(), performance(status, bounds)))
}

/// The number of messages that are to be sent.
fn waiting(status: &DaemonStatus) -> usize {
    status.messages.saturating_sub(status.dead + status.on_hold)
}

fn of_daemon(status: &DaemonStatus, bounds: &MonitoringBounds) -> Vec<(PluginState, String)> {
    let critical = |words| (PluginState::Critical, words);
    let warning = |words| (PluginState::Warning, words);
    let refused = status.spool_trouble.as_ref().map(|why| critical(format!("mail is refused: {why}")));
    let old = status.oldest_age.filter(|seconds| *seconds > bounds.max_age.as_secs());
    let old = old.map(|seconds| critical(format!("the oldest message waits for {}", age(seconds))));
    let deep = bounds.max_depth.filter(|most| waiting(status) > *most);
    let deep = deep.map(|_| critical(counted(waiting(status) as u64, "message") + " to be sent"));
    let dead = (status.dead > 0).then(|| {
        warning(counted(status.dead as u64, "dead message") + ": see nullmta queue list --state dead")
    });
    let newer = status.configuration.refused.as_ref();
    let newer =
        newer.map(|refused| warning(format!("the configuration file cannot be used: {}", refused.why)));
    let users = status.users_trouble.as_ref().map(|why| warning(format!("logins: {why}")));
    refused.into_iter().chain(old).chain(deep).chain(dead).chain(newer).chain(users).collect()
}

fn of_relay(relay: &RelayFigures, bounds: &MonitoringBounds, now: Timestamp) -> Vec<(PluginState, String)> {
    let name =
        relay.route.as_ref().map_or("the relay".to_owned(), |route| format!("the relay of route {route}"));
    let since = relay.paused_since.as_ref().and_then(|since| since.parse().ok());
    let paused = since.map(|since: Timestamp| {
        let seconds = u64::try_from(now.duration_since(since).as_secs()).unwrap_or(0);
        let is_long = seconds > bounds.max_paused.as_secs();
        let why = relay.trouble.as_ref().map_or(String::new(), |trouble| format!(": {trouble}"));
        let state = if is_long { PluginState::Critical } else { PluginState::Warning };
        (state, format!("{name} is paused for {}{why}", age(seconds)))
    });
    let warning = |words| (PluginState::Warning, words);
    let held = relay.held_because.as_ref().filter(|_| relay.held > 0);
    let held =
        held.map(|why| warning(format!("{} at {name}: {why}", counted(relay.held as u64, "held message"))));
    let expiring = relay.expiring.iter().map(|notice| warning(notice.clone()));
    let token = relay.unwritten_token.iter().map(|notice| warning(notice.clone()));
    paused.into_iter().chain(held).chain(expiring).chain(token).collect()
}

/// Returns the performance data: `label=value[unit];[warn];[critical];[least]`.
fn performance(status: &DaemonStatus, bounds: &MonitoringBounds) -> String {
    let depth = bounds.max_depth.map_or(String::new(), |most| most.to_string());
    let sum = |of: fn(&RelayFigures) -> u64| status.relays.iter().map(of).sum::<u64>();
    let mut data = vec![
        format!("waiting={};;{depth};0", waiting(status)),
        format!("oldest={}s;;{};0", status.oldest_age.unwrap_or(0), bounds.max_age.as_secs()),
        format!("deferred={};;;0", status.deferred),
        format!("held={};;;0", status.held),
        format!("on-hold={};;;0", status.on_hold),
        format!("dead={};;;0", status.dead),
        format!("connections={};;;0", status.connections),
        format!("sent={}c;;;0", sum(|relay| relay.outcomes.sent)),
        format!("bounced={}c;;;0", sum(|relay| relay.outcomes.bounced + relay.outcomes.expired)),
    ];
    data.extend(status.spool.free.map(|free| format!("free={free}B;;{};0", status.spool.reserve)));
    data.join(" ")
}

/// Returns words that cannot end the line, nor begin the performance data.
fn on_one_line(words: &str) -> String {
    Foreign(words).to_string().replace('|', "/")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{dead_free, paused, status, usable};
    use super::*;

    fn bounds() -> MonitoringBounds {
        MonitoringBounds {
            max_age: Duration::from_secs(1800),
            max_depth: Some(10),
            max_paused: Duration::from_secs(600),
        }
    }

    fn assessed(status: &DaemonStatus, now: &str) -> (PluginState, String) {
        assess(status, &bounds(), now.parse().unwrap())
    }

    const SOON: &str = "2026-11-21T01:05:00Z";

    #[test]
    fn all_is_well_in_one_line_with_its_numbers() {
        let well = DaemonStatus { oldest_age: Some(60), messages: 1, ..dead_free(vec![usable()]) };
        let (state, line) = assessed(&well, SOON);
        assert_eq!(state, PluginState::Ok);
        assert_eq!(
            line,
            "NULLMTA OK: 1 message to be sent | waiting=1;;10;0 oldest=60s;;1800;0 deferred=1;;;0 held=0;;;0 on-hold=0;;;0 \
             dead=0;;;0 connections=0;;;0 sent=12c;;;0 bounced=1c;;;0 free=5368709120B;;134217728;0"
        );
    }

    #[test]
    fn each_bound_is_critical_just_beyond_it() {
        let well = || DaemonStatus { oldest_age: Some(1800), messages: 10, ..dead_free(vec![usable()]) };
        assert_eq!(assessed(&well(), SOON).0, PluginState::Ok);
        let old = DaemonStatus { oldest_age: Some(1801), ..well() };
        let deep = DaemonStatus { messages: 11, ..well() };
        let full = DaemonStatus { spool_trouble: Some("full".into()), ..well() };
        for (status, words) in [
            (old, "CRITICAL: the oldest message waits for 30m |"),
            (deep, "CRITICAL: 11 messages to be sent |"),
            (full, "CRITICAL: mail is refused: full |"),
        ] {
            let (state, line) = assessed(&status, SOON);
            assert!(state == PluginState::Critical && line.contains(words), "{line}");
        }
        let aside = DaemonStatus { messages: 13, on_hold: 3, ..well() };
        assert_eq!(assessed(&aside, SOON).0, PluginState::Ok, "what is on hold is not to be sent");
    }

    #[test]
    fn a_pause_is_a_warning_until_it_is_long() {
        let trouble = Some("connect | refused\n".to_owned());
        let relay = RelayFigures { expiring: Vec::new(), unwritten_token: None, trouble, ..paused() };
        let status = DaemonStatus { oldest_age: None, ..dead_free(vec![relay]) };
        let (state, line) = assessed(&status, "2026-11-21T01:10:00Z");
        assert_eq!(state, PluginState::Warning);
        assert!(
            line.starts_with("NULLMTA WARNING: the relay is paused for 10m: connect / refused\\n | "),
            "{line}"
        );
        assert_eq!(assessed(&status, "2026-11-21T01:10:01Z").0, PluginState::Critical);
    }

    #[test]
    fn the_worst_is_said_first() {
        let (state, line) = assessed(&status(vec![paused()]), "2026-11-21T02:00:00Z");
        assert_eq!(state, PluginState::Critical);
        let at = |words: &str| line.find(words).unwrap_or_else(|| panic!("{words}: {line}"));
        assert!(at("mail is refused") < at("2 dead messages") && at("is paused for") < at("2 dead messages"));
        assert_eq!(line.lines().count(), 1);
    }
}
