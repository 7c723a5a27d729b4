//! The picture of `queue watch`.
//!
//! Promises: no line is wider than the terminal, and there are no more than it has rows; what is worst comes first. Words that
//! came from elsewhere are escaped. Pure: the time is an argument.

use jiff::Timestamp;

use super::super::super::flow_words::{flow, span_name};
use super::super::super::pause::words as pause_words;
use super::super::super::terminal::{columns, cut};
use super::full_screen::ScreenLook;
use crate::admin::health::{CANNOT_RECORD, waiting};
use crate::admin::protocol::{DaemonStatus, FlowRates, ListedAlarm, RelayFigures};
use crate::history::{FlowSample, MinuteOfDay, RecentFailure};
use crate::log::{Foreign, age_in_words, counted};

/// What was found out: the state and the last hour, or why not.
pub(super) type WatchedState = Result<(Box<DaemonStatus>, Vec<MinuteOfDay>), String>;

/// What stands for a minute of which nothing is known.
const UNKNOWN: char = '?';

/// The minutes of a curve, each in a column.
const MINUTES: u64 = 60;
/// The columns in front of each line.
const LABEL: usize = 8;

/// A line with its colour.
struct ColouredLine {
    words: String,
    colour: Option<&'static str>,
}

const RED: &str = "\x1b[31m";
const YELLOW: &str = "\x1b[33m";
const GREEN: &str = "\x1b[32m";
const BOLD: &str = "\x1b[1m";

/// Returns the lines of the picture at `now`.
pub(super) fn screen(
    state: &WatchedState,
    now: Timestamp,
    width: usize,
    height: usize,
    look: ScreenLook,
) -> Vec<String> {
    let mut lines = vec![heading(now, width)];
    match state {
        Ok((status, hour)) => lines.extend(of_daemon(status, hour, now, look)),
        Err(why) => lines.push(coloured(RED, "", &Foreign(why).to_string())),
    }
    let shown = |ColouredLine { words, colour }: ColouredLine| {
        let words = cut(&words, Some(width)).into_owned();
        match colour.filter(|_| look.has_colours) {
            Some(colour) => format!("{colour}{words}\x1b[0m"),
            None => words,
        }
    };
    lines.into_iter().take(height).map(shown).collect()
}

/// Returns the state in one line.
pub(super) fn line(state: &WatchedState, now: Timestamp) -> String {
    match state {
        Ok((status, _)) => {
            let relays: Vec<String> = status.relays.iter().map(|relay| relay_words(relay, now)).collect();
            let minute = &status.rates.last_minute;
            format!(
                "{now:.0} {}; {}: {}; {}",
                queue_words(status),
                span_name("minute", minute, 60),
                flow(minute.counts),
                relays.join("; ")
            )
        }
        Err(why) => format!("{now:.0} {}", Foreign(why)),
    }
}

fn heading(now: Timestamp, width: usize) -> ColouredLine {
    let (left, right) = ("nullmta queue watch", format!("{now:.0}   q quits"));
    let gap = width.saturating_sub(columns(left) + columns(&right)).max(1);
    ColouredLine { words: format!("{left}{:gap$}{right}", ""), colour: Some(BOLD) }
}

fn of_daemon(
    status: &DaemonStatus,
    hour: &[MinuteOfDay],
    now: Timestamp,
    look: ScreenLook,
) -> Vec<ColouredLine> {
    let mut lines: Vec<ColouredLine> =
        status.pauses.iter().map(|pause| coloured(RED, "PAUSED", &pause_words::line(pause))).collect();
    lines.extend(
        status
            .spool_trouble
            .iter()
            .map(|why| coloured(RED, "spool", &format!("mail is refused: {}", Foreign(why)))),
    );
    lines.extend(status.cannot_record.then(|| coloured(RED, "spool", CANNOT_RECORD)));
    lines.extend(status.alarms.iter().map(|alarm| alarm_line(alarm, now)));
    lines.extend(status.relays.iter().flat_map(|relay| relay_lines(relay, now)));
    lines.push(plain("queue", &queue_words(status)));
    lines.extend(rates(&status.rates));
    lines.extend(curve("to be sent", hour, look, |sample| sample.waiting, |messages| messages.to_string()));
    lines.extend(curve("the age of the oldest", hour, look, |sample| sample.oldest_age, age_in_words));
    lines.push(plain("", ""));
    lines.extend(status.failures.iter().map(failure));
    lines
}

fn plain(label: &str, words: &str) -> ColouredLine {
    ColouredLine { words: format!("{label:<LABEL$}{words}").trim_end().to_owned(), colour: None }
}

fn coloured(colour: &'static str, label: &str, words: &str) -> ColouredLine {
    ColouredLine { colour: Some(colour), ..plain(label, words) }
}

fn alarm_line(alarm: &ListedAlarm, now: Timestamp) -> ColouredLine {
    let ListedAlarm { when, why, since } = alarm;
    let words = format!("{} for {}: {}", Foreign(when), time_between(since, now), Foreign(why));
    coloured(YELLOW, "ALARM", &words)
}

fn relay_lines(relay: &RelayFigures, now: Timestamp) -> Vec<ColouredLine> {
    let colour = if relay.paused_since.is_some() { RED } else { GREEN };
    let label = if relay.route.is_some() { "route" } else { "relay" };
    let mut lines = vec![coloured(colour, label, &relay_words(relay, now))];
    let to_do = relay.trouble_advice.as_ref();
    lines.extend(to_do.map(|advice| coloured(YELLOW, "to do", &Foreign(advice).to_string())));
    lines
}

/// Returns what a relay is doing: its state, since when, when it is tried next, and its trouble.
fn relay_words(relay: &RelayFigures, now: Timestamp) -> String {
    let RelayFigures { route, state, paused_since, next_probe, trouble, messages, connections, .. } = relay;
    let route = route.as_ref().map_or(String::new(), |route| format!("{} ", Foreign(route)));
    let since =
        paused_since.as_ref().map_or(String::new(), |since| format!(" for {}", time_between(since, now)));
    let probe = next_probe
        .as_ref()
        .map_or(String::new(), |probe| format!(", next probe in {}", time_between(probe, now)));
    let trouble = trouble.as_ref().map_or(String::new(), |trouble| format!(": {}", Foreign(trouble)));
    let messages = counted(*messages as u64, "message");
    let connections = counted(*connections as u64, "connection");
    format!("{route}{state}{since}{probe}, {messages}, {connections}{trouble}")
}

/// Returns the time between `now` and a time of RFC 3339, in words.
fn time_between(time: &str, now: Timestamp) -> String {
    let time: Timestamp = time.parse().unwrap_or(now);
    age_in_words(time.duration_since(now).as_secs().unsigned_abs())
}

fn queue_words(status: &DaemonStatus) -> String {
    let asides = [(status.held, "held"), (status.on_hold, "on hold"), (status.dead, "dead")];
    let asides = asides.into_iter().filter(|(count, _)| *count > 0);
    let asides: String = asides.map(|(count, word)| format!(", {count} {word}")).collect();
    let oldest =
        status.oldest_age.map_or(String::new(), |age| format!(", the oldest for {}", age_in_words(age)));
    format!("{} to be sent{oldest}{asides}", waiting(status))
}

fn rates(rates: &FlowRates) -> Vec<ColouredLine> {
    let FlowRates { last_minute, last_hour } = rates;
    let words = |name, span, length| format!("{}: {}", span_name(name, span, length), flow(span.counts));
    vec![plain("rates", &words("minute", last_minute, 60)), plain("", &words("hour", last_hour, 3600))]
}

fn failure(failure: &RecentFailure) -> ColouredLine {
    let RecentFailure { reason, times, last_age } = failure;
    plain(
        "failed",
        &format!(
            "{} in the last hour, {} ago: {}",
            counted(*times, "time"),
            age_in_words(*last_age),
            Foreign(reason)
        ),
    )
}

/// Returns a curve of the last hour with its title, a minute a column; nothing where nothing is known of it.
fn curve(
    title: &str,
    hour: &[MinuteOfDay],
    look: ScreenLook,
    value: fn(&FlowSample) -> u64,
    words: fn(u64) -> String,
) -> Vec<ColouredLine> {
    let Some(highest) = hour.iter().map(|minute| value(&minute.sample)).max() else { return Vec::new() };
    let step = |value: u64| match (value, highest) {
        (0, _) | (_, 0) => look.ramp[0],
        // What is not nothing is seen.
        (value, highest) => look.ramp[usize::try_from(value * 8 / highest).unwrap_or(8).max(1)],
    };
    let of = |ago| {
        hour.iter()
            .find(|minute| minute.minutes_ago == ago)
            .map_or(UNKNOWN, |minute| step(value(&minute.sample)))
    };
    let columns: String = (0..MINUTES).rev().map(of).collect();
    let title = format!("{title}, over the last hour; at most {}", words(highest));
    vec![plain("", ""), plain("", &title), plain("", &format!("|{columns}|"))]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{FlowCounts, FlowSpan};

    const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    const LOOK: ScreenLook = ScreenLook { ramp: BLOCKS, has_colours: false };

    fn now() -> Timestamp {
        "2026-11-21T02:00:00Z".parse().unwrap()
    }

    fn state() -> WatchedState {
        let relay = RelayFigures {
            state: "paused".into(),
            paused_since: Some("2026-11-21T01:30:00Z".into()),
            next_probe: Some("2026-11-21T02:00:40Z".into()),
            trouble: Some("mx[192.0.2.1]:587: connect: refused\u{1b}[2J".into()),
            trouble_advice: Some("check the host and the port in relayhost".into()),
            messages: 12,
            ..RelayFigures::default()
        };
        let span = |seconds, accepted| FlowSpan {
            seconds,
            counts: FlowCounts { accepted, ..FlowCounts::default() },
        };
        let failure = RecentFailure { reason: "relay trouble, connect".into(), times: 4, last_age: 30 };
        let status = DaemonStatus {
            messages: 13,
            dead: 1,
            oldest_age: Some(1800),
            relays: vec![relay],
            rates: FlowRates { last_minute: span(58, 3), last_hour: span(900, 20) },
            failures: vec![failure],
            ..DaemonStatus::default()
        };
        let sample = |waiting| FlowSample { waiting, oldest_age: waiting * 100, ..FlowSample::default() };
        let minute = |minutes_ago, waiting| MinuteOfDay { minutes_ago, sample: sample(waiting) };
        Ok((Box::new(status), vec![minute(3, 0), minute(2, 1), minute(1, 8), minute(0, 12)]))
    }

    #[test]
    fn the_state_fits_a_terminal_of_80_columns() {
        let unknown = "?".repeat(56);
        let expected = format!(
            "nullmta queue watch                               2026-11-21T02:00:00Z   q quits\n\
             relay   paused for 30m, next probe in 40s, 12 messages, 0 connections: mx[192...\n\
             to do   check the host and the port in relayhost\n\
             queue   12 to be sent, the oldest for 30m, 1 dead\n\
             rates   last minute: 3 accepted, 0 sent\n\
             \u{20}       the 15m since the start: 20 accepted, 0 sent\n\
             \n\
             \u{20}       to be sent, over the last hour; at most 12\n\
             \u{20}       |{unknown} ▁▅█|\n\
             \n\
             \u{20}       the age of the oldest, over the last hour; at most 20m\n\
             \u{20}       |{unknown} ▁▅█|\n\
             \n\
             failed  4 times in the last hour, 30s ago: relay trouble, connect"
        );
        assert_eq!(screen(&state(), now(), 80, 24, LOOK).join("\n"), expected);
    }

    #[test]
    fn every_size_holds_it() {
        for (width, height) in [(1, 1), (20, 5), (79, 8), (300, 100)] {
            for look in [LOOK, ScreenLook { ramp: ['#'; 9], has_colours: false }] {
                let lines = screen(&state(), now(), width, height, look);
                assert!(lines.len() <= height, "{lines:?}");
                assert!(lines.iter().all(|line| line.chars().count() <= width), "{width}: {lines:?}");
            }
        }
        let coloured = screen(&state(), now(), 80, 24, ScreenLook { has_colours: true, ..LOOK });
        assert!(coloured[1].starts_with(RED) && coloured[1].ends_with("...\x1b[0m"), "{coloured:?}");
        assert!(!coloured.join("").contains("\x1b[2J"), "foreign words do not steer the terminal");
    }

    #[test]
    fn what_is_wrong_stands_above_the_relays() {
        let alarm = ListedAlarm {
            when: "oldest > 30m".into(),
            why: "it waits\u{1b}".into(),
            since: "2026-11-21T01:00:00Z".into(),
        };
        let Ok((status, hour)) = state() else { unreachable!("it is one") };
        let stuck = DaemonStatus { cannot_record: true, alarms: vec![alarm], ..*status };
        let lines = screen(&Ok((Box::new(stuck), hour)), now(), 80, 24, LOOK);
        assert!(
            lines[1].starts_with("spool   nothing is sent, since the spool does not record "),
            "{lines:?}"
        );
        assert_eq!(lines[2], "ALARM   oldest > 30m for 60m: it waits\\u{1b}");
        assert!(lines[3].starts_with("relay   paused "), "{lines:?}");
    }

    #[test]
    fn without_a_terminal_it_is_a_line() {
        assert_eq!(
            line(&state(), now()),
            "2026-11-21T02:00:00Z 12 to be sent, the oldest for 30m, 1 dead; last minute: 3 accepted, 0 sent; paused for \
             30m, next probe in 40s, 12 messages, 0 connections: mx[192.0.2.1]:587: connect: refused\\u{1b}[2J"
        );
        assert_eq!(
            line(&Err("no daemon answers\n".into()), now()),
            "2026-11-21T02:00:00Z no daemon answers\\n"
        );
    }
}
