//! `nullmta status --check`: whether mail gets through, in one line, as monitoring plug-ins say it.
//!
//! Promises: one line on standard output, `NULLMTA STATE: words | performance data`, and the exit code of its state (the
//! guidelines of the Monitoring Plugins project), whatever the daemon does: one that hangs is left after [`PATIENCE`], and a wrong
//! command line is UNKNOWN. The line has [`MOST_WORDS`] octets of words at most. A daemon that cannot be asked is critical, since
//! nobody knows what becomes of the mail then; what waits is counted on the spool, where this user may read it.
//!
//! Not here: what is wrong, and how badly (`admin/health.rs`).

use std::time::Duration;

use clap::Args;
use jiff::Timestamp;

use super::super::exit::{Exit, Failure};
use super::super::output::say;
use super::super::values::time;
use crate::admin::from_spool::SpooledStatus;
use crate::admin::health::{HealthBounds, HealthFinding, HealthLevel, findings, waiting};
use crate::admin::protocol::{DaemonStatus, RelayFigures};
use crate::log::{Foreign, counted};

/// The bounds beyond which the state is critical.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "When --check is critical")]
pub(super) struct MonitoringBounds {
    /// The oldest message to be sent waits longer than this
    #[arg(long, value_name = "AGE", value_parser = time, default_value = "30m", requires = "check")]
    max_age: Duration,
    /// More messages than this are to be sent
    #[arg(long, value_name = "NUMBER", requires = "check")]
    max_depth: Option<usize>,
    /// A relay is paused, or an operator has paused delivery or intake, for longer than this
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "10m", requires = "check")]
    max_paused: Duration,
}

/// Time for which the daemon may be silent: monitoring programs give up after some ten seconds, and then say nothing of it.
pub(super) const PATIENCE: Duration = Duration::from_secs(4);

/// The most octets of all words, and of one finding: plug-ins are cut off behind 1024 octets by some programs.
const MOST_WORDS: usize = 600;
const LONGEST_FINDING: usize = 250;

/// Prints the line about a command line that is wrong. Returns the exit code.
pub(in crate::cli) fn misused(error: &clap::Error) -> Exit {
    let words = error.to_string();
    let words = words.lines().next().unwrap_or_default().trim_start_matches("error: ");
    // If this cannot be printed, there is nobody to tell.
    let _ = say!("NULLMTA UNKNOWN: {}", on_one_line(words, LONGEST_FINDING));
    Exit::Unknown
}

/// Prints the line about the daemon's answer, or about what is on the spool if none runs. Returns the exit code as a failure if the state is not OK.
pub(super) fn report(
    answer: Result<DaemonStatus, (Failure, Option<SpooledStatus>)>,
    bounds: &MonitoringBounds,
) -> Result<(), Failure> {
    let &MonitoringBounds { max_age, max_depth, max_paused } = bounds;
    let bounds = HealthBounds { max_age, max_depth, max_paused };
    let (exit, line) = match &answer {
        Ok(status) => assess(status, &bounds, Timestamp::now()),
        Err((failure, on_spool)) => unanswered(failure, on_spool.as_ref(), &bounds),
    };
    say!("NULLMTA {line}")?;
    exit.map_or(Ok(()), |exit| Err(Failure::said(exit)))
}

/// Returns the exit code of a state that is not OK, and the line that says it, from the word for the state on.
fn assess(status: &DaemonStatus, bounds: &HealthBounds, now: Timestamp) -> (Option<Exit>, String) {
    let findings = findings(status, bounds, now);
    let exit = match findings.first().map_or(HealthLevel::Well, |worst| worst.health) {
        HealthLevel::Well => None,
        HealthLevel::Warning => Some(Exit::Failed),
        HealthLevel::Critical => Some(Exit::Critical),
    };
    let words = match findings.is_empty() {
        true => counted(waiting(status) as u64, "message") + " to be sent",
        false => in_words(&findings),
    };
    (exit, format!("{}: {words} | {}", word(exit), performance(status, bounds)))
}

/// Returns the findings in as many words as there is room for, the worst first.
fn in_words(findings: &[HealthFinding]) -> String {
    let mut words = String::new();
    for (place, finding) in findings.iter().enumerate() {
        let next = on_one_line(&finding.words, LONGEST_FINDING);
        if place > 0 && words.len() + next.len() > MOST_WORDS {
            return format!("{words}; and {}", counted((findings.len() - place) as u64, "thing") + " more");
        }
        words += if place > 0 { "; " } else { "" };
        words += &next;
    }
    words
}

/// Returns the same where the daemon has given no answer, with what is on the spool if that was read.
fn unanswered(
    failure: &Failure,
    on_spool: Option<&SpooledStatus>,
    bounds: &HealthBounds,
) -> (Option<Exit>, String) {
    let is_down = failure.exit() == Exit::Unavailable;
    let exit = Some(if is_down { Exit::Critical } else { Exit::Unknown });
    let why = on_one_line(&failure.to_string(), LONGEST_FINDING);
    let on_spool = on_spool.map_or(String::new(), |spooled| {
        let SpooledStatus { ready, deferred, held, on_hold, dead, oldest_age, .. } = *spooled;
        let waiting = ready + deferred + held;
        format!(
            "; {} to be sent on the spool | waiting={waiting};;{};0 oldest={}s;;{};0 deferred={deferred};;;0 held={held};;;0 \
             on-hold={on_hold};;;0 dead={dead};;;0",
            counted(waiting, "message"),
            bounds.max_depth.map_or(String::new(), |most| most.to_string()),
            oldest_age.unwrap_or(0),
            bounds.max_age.as_secs(),
        )
    });
    (exit, format!("{}: {why}{on_spool}", word(exit)))
}

/// Returns the word for the state of this exit code.
fn word(exit: Option<Exit>) -> &'static str {
    match exit {
        None => "OK",
        Some(Exit::Failed) => "WARNING",
        Some(Exit::Critical) => "CRITICAL",
        Some(_) => "UNKNOWN",
    }
}

/// Returns the performance data: `label=value[unit];[warn];[critical];[least]`. A bound `n` is broken above it, `n:` below it.
fn performance(status: &DaemonStatus, bounds: &HealthBounds) -> String {
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
    data.extend(status.spool.free.map(|free| format!("free={free}B;;{}:;0", status.spool.reserve)));
    data.join(" ")
}

/// Returns words that cannot end the line, nor begin the performance data, in `most` octets.
fn on_one_line(words: &str, most: usize) -> String {
    let words = Foreign(words).to_string().replace('|', "/");
    match (0..=most).rev().find(|at| words.is_char_boundary(*at)) {
        Some(end) if words.len() > most => format!("{}...", &words[..end]),
        _ => words,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{dead_free, paused, status, usable};
    use super::*;
    use crate::admin::protocol::ListedPause;
    use crate::standing_orders::PausedPart;

    fn bounds() -> HealthBounds {
        HealthBounds {
            max_age: Duration::from_secs(1800),
            max_depth: Some(10),
            max_paused: Duration::from_secs(600),
        }
    }

    fn assessed(status: &DaemonStatus, now: &str) -> (Option<Exit>, String) {
        assess(status, &bounds(), now.parse().unwrap())
    }

    const SOON: &str = "2026-11-21T01:05:00Z";

    #[test]
    fn all_is_well_in_one_line_with_its_numbers() {
        let well = DaemonStatus { oldest_age: Some(60), messages: 1, ..dead_free(vec![usable()]) };
        let (state, line) = assessed(&well, SOON);
        assert_eq!(state, None);
        assert_eq!(
            line,
            "OK: 1 message to be sent | waiting=1;;10;0 oldest=60s;;1800;0 deferred=1;;;0 held=0;;;0 on-hold=0;;;0 \
             dead=0;;;0 connections=0;;;0 sent=12c;;;0 bounced=1c;;;0 free=5368709120B;;134217728:;0"
        );
    }

    #[test]
    fn each_bound_is_critical_just_beyond_it() {
        let well = || DaemonStatus { oldest_age: Some(1800), messages: 10, ..dead_free(vec![usable()]) };
        assert_eq!(assessed(&well(), SOON).0, None);
        let old = DaemonStatus { oldest_age: Some(1801), ..well() };
        let deep = DaemonStatus { messages: 11, ..well() };
        let full = DaemonStatus { spool_trouble: Some("full".into()), ..well() };
        let stuck = DaemonStatus { cannot_record: true, ..well() };
        for (status, words) in [
            (stuck, "CRITICAL: nothing is sent, since the spool does not record what becomes of it; "),
            (old, "CRITICAL: the oldest message waits for 30m |"),
            (deep, "CRITICAL: 11 messages to be sent |"),
            (full, "CRITICAL: mail is refused: full |"),
        ] {
            let (state, line) = assessed(&status, SOON);
            assert!(state == Some(Exit::Critical) && line.contains(words), "{line}");
        }
        let aside = DaemonStatus { messages: 13, on_hold: 3, ..well() };
        assert_eq!(assessed(&aside, SOON).0, None, "what is on hold is not to be sent");
    }

    #[test]
    fn a_pause_is_a_warning_until_it_is_long() {
        let trouble = Some("connect | refused\n".to_owned());
        let relay = RelayFigures { expiring: Vec::new(), unwritten_token: None, trouble, ..paused() };
        let status = DaemonStatus { oldest_age: None, ..dead_free(vec![relay]) };
        let (state, line) = assessed(&status, "2026-11-21T01:10:00Z");
        assert_eq!(state, Some(Exit::Failed));
        assert!(line.starts_with("WARNING: the relay is paused for 10m: connect / refused\\n | "), "{line}");
        assert_eq!(assessed(&status, "2026-11-21T01:10:01Z").0, Some(Exit::Critical));
    }

    /// Returns a status with these relays, in which the route news is paused.
    fn with_paused_route(relays: Vec<RelayFigures>) -> DaemonStatus {
        let ordered = ListedPause {
            part: PausedPart::Delivery,
            route: Some("news".into()),
            by: "an operator".into(),
            since: "2026-11-21T01:00:00Z".into(),
            until: None,
            reason: None,
        };
        DaemonStatus { pauses: vec![ordered], oldest_age: None, ..dead_free(relays) }
    }

    /// Whoever had paused delivery and forgotten it was told nothing.
    #[test]
    fn a_pause_of_an_operator_is_a_finding_too() {
        let news = RelayFigures { route: Some("news".into()), ..usable() };
        let status = with_paused_route(vec![news]);
        for (now, exit) in [("2026-11-21T01:10:00Z", Exit::Failed), ("2026-11-21T01:10:01Z", Exit::Critical)]
        {
            let (state, line) = assessed(&status, now);
            assert_eq!(state, Some(exit));
            assert!(line.contains(": delivery by route news is paused by an operator for 10m |"), "{line}");
        }
    }

    /// It was called critical, though it kept no mail.
    #[test]
    fn a_pause_of_a_route_that_is_not_there_is_a_warning_however_old() {
        let status = with_paused_route(vec![usable()]);
        let (state, line) = assessed(&status, "2026-11-22T01:00:00Z");
        assert_eq!(state, Some(Exit::Failed));
        assert!(line.contains("WARNING: the mail of route news is not paused as ordered: "), "{line}");
    }

    #[test]
    fn the_worst_is_said_first() {
        let (state, line) = assessed(&status(vec![paused()]), "2026-11-21T02:00:00Z");
        assert_eq!(state, Some(Exit::Critical));
        let at = |words: &str| line.find(words).unwrap_or_else(|| panic!("{words}: {line}"));
        assert!(at("mail is refused") < at("2 dead messages") && at("is paused for") < at("2 dead messages"));
        assert_eq!(line.lines().count(), 1);
    }

    /// Whoever reads plug-ins over a network cuts their line off, and with it the numbers.
    #[test]
    fn the_line_is_bounded_and_says_what_it_leaves_out() {
        let long = RelayFigures { trouble: Some("é|".repeat(5000)), ..paused() };
        let status = DaemonStatus { oldest_age: None, ..dead_free(vec![long; 40]) };
        let (_, line) = assessed(&status, SOON);
        let (words, data) = line.split_once(" | ").unwrap();
        assert!(words.len() <= MOST_WORDS + 100, "{} octets", words.len());
        assert!(words.ends_with(" things more") && data.starts_with("waiting="), "{line}");
    }

    #[test]
    fn what_waits_while_nothing_runs_is_counted_on_the_spool() {
        let spooled =
            SpooledStatus { ready: 2, deferred: 1, oldest_age: Some(70), ..SpooledStatus::default() };
        let down = Failure::new(Exit::Unavailable, "no daemon answers");
        let (exit, line) = unanswered(&down, Some(&spooled), &bounds());
        assert_eq!(exit, Some(Exit::Critical));
        assert_eq!(
            line,
            "CRITICAL: no daemon answers; 3 messages to be sent on the spool | waiting=3;;10;0 oldest=70s;;1800;0 \
             deferred=1;;;0 held=0;;;0 on-hold=0;;;0 dead=0;;;0"
        );
        assert_eq!(unanswered(&down, None, &bounds()).1, "CRITICAL: no daemon answers");
    }
}
