//! The state of the daemon as lines for people.
//!
//! Promises: each line is a label and what it says, on a terminal in 80 columns, else on one line, so that it can be searched.
//! Where names are left out for an ordinary user, no hole is left. Words that came from elsewhere are escaped.
//!
//! Not here: asking for the state (`status.rs`).

use super::super::flow_words::{flow, span_name};
use super::super::paragraph::labelled;
use super::super::pause::words as pause_words;
use super::super::queue::{self, hold_rules};
use crate::admin::from_spool::QueueOnSpool;
use crate::admin::health::CANNOT_RECORD;
use crate::admin::protocol::{
    AmountLeft, ClientLimited, DaemonStatus, FlowRates, ListedAlarm, ListedPause, OutcomeCounts,
    QueuedMessage, RefusedConfiguration, RelayFigures, RelaySpeed, SpoolFigures,
};
use crate::history::RecentFailure;
use crate::log::{Foreign, age_in_words, counted};

/// The columns of a label.
const LABEL: usize = 8;

/// The most reasons of failures that are shown.
const SHOWN_FAILURES: usize = 5;

/// A line: its label, and what it says.
pub(super) struct StatusLine {
    label: String,
    words: String,
}

fn line(label: &str, words: String) -> StatusLine {
    StatusLine { label: format!("{label:<LABEL$}"), words }
}

/// Returns these lines as text, in 80 columns if `is_fitted`.
pub(super) fn shown(lines: &[StatusLine], is_fitted: bool) -> String {
    let shown = |StatusLine { label, words }: &StatusLine| match is_fitted {
        true => labelled(label, std::slice::from_ref(words)),
        false => format!("{label}{words}\n"),
    };
    lines.iter().map(shown).collect()
}

/// Returns the lines about a queue of which only the spool can be read.
pub(super) fn spooled(queue: &QueueOnSpool) -> Vec<StatusLine> {
    let states = queue.states();
    let messages: u64 = states.values().sum();
    let states: Vec<String> = states.iter().map(|(state, count)| format!("{count} {state}")).collect();
    let oldest = queue
        .oldest()
        .map_or(String::new(), |age| format!("; the oldest is {} old", age_in_words(age.as_secs())));
    let states = if states.is_empty() { String::new() } else { format!(": {}", states.join(", ")) };
    vec![line("queue", format!("{}{states}{oldest}", counted(messages, "message")))]
}

/// Returns the lines about the daemon.
pub(super) fn lines(status: &DaemonStatus) -> Vec<StatusLine> {
    let mut lines: Vec<StatusLine> = status.alarms.iter().map(alarm_line).collect();
    let paused = |pause: &ListedPause| StatusLine { label: String::new(), words: pause_words::line(pause) };
    lines.extend(status.pauses.iter().map(paused));
    let unrouted = |(pause, _)| line("pause", pause_words::without_route(pause));
    lines.extend(status.pauses_without_route().map(unrouted));
    lines.extend(of_daemon(status));
    lines.extend(status.hold_rules.iter().map(|rule| line("hold", hold_rules::line(rule))));
    lines.extend(status.limits.iter().map(limit));
    match &status.relays[..] {
        // The daemon is an older one.
        [] => {
            let connections = counted(status.connections, "connection");
            lines.push(line("relay", format!("{}, {connections}", status.relay)));
        }
        [only] => {
            let connections = counted(only.connections, "connection");
            lines.push(line("relay", format!("{}, {connections}", state(only))));
            lines.extend(details(only, ""));
        }
        several => several.iter().for_each(|relay| lines.extend(block(relay))),
    }
    if status.is_in_part {
        let words = "These are the numbers that everybody may know. Names and reasons are told to root and to the daemon's own \
                     user and group.";
        lines.push(StatusLine { label: String::new(), words: words.into() });
    }
    lines
}

/// Returns the lines about the daemon as a whole.
fn of_daemon(status: &DaemonStatus) -> Vec<StatusLine> {
    let DaemonStatus { version, pid, configuration, messages, ready, deferred, held, dead, active, .. } =
        status;
    let mut lines = vec![
        StatusLine { label: "nullmta ".into(), words: format!("{version}, pid {pid}") },
        line(
            "config",
            format!(
                "{}, in force since {}{}",
                configuration.path,
                configuration.since,
                configuration.reservations()
            ),
        ),
        line(
            "queue",
            format!(
                "{}: {ready} ready, {active} active, {deferred} deferred, {held} held{}, {dead} dead",
                counted(*messages, "message"),
                on_hold(status.on_hold)
            ),
        ),
    ];
    let oldest = status.oldest.as_ref().zip(status.oldest_age);
    lines.extend(oldest.map(|(time, age)| line("oldest", format!("{}, accepted {time}", age_in_words(age)))));
    lines.extend(rates(&status.rates));
    lines.extend(status.failures.iter().take(SHOWN_FAILURES).map(failure));
    if let Some(RefusedConfiguration { at, why }) = &configuration.refused {
        lines.push(line("refused", format!("the newer one of {at}: {}", Foreign(why))));
    }
    lines.extend(status.newest_dead.as_ref().into_iter().flat_map(|newest| dead_lines(status.dead, newest)));
    lines.extend(status.users_trouble.as_ref().map(|trouble| line("users", Foreign(trouble).to_string())));
    lines.extend(
        status
            .spool_trouble
            .as_ref()
            .map(|trouble| line("spool", format!("{}; mail is refused", Foreign(trouble)))),
    );
    lines.extend(status.cannot_record.then(|| line("spool", CANNOT_RECORD.into())));
    lines.extend(space(status.spool));
    lines
}

/// Returns the lines about what came and went lately; none if the daemon does not say it, since it is an older one.
fn rates(rates: &FlowRates) -> Vec<StatusLine> {
    let FlowRates { last_minute, last_hour } = rates;
    if last_hour.seconds == 0 {
        return Vec::new();
    }
    // A daemon that has just begun has but one span.
    let has_hour = last_hour.seconds > last_minute.seconds;
    let spans = [("rates", "minute", last_minute, 60), ("", "hour", last_hour, 3600)].into_iter();
    let spans = spans.take(if has_hour { 2 } else { 1 });
    let lines = spans.map(|(label, name, span, length)| {
        line(label, format!("{}: {}", span_name(name, span, length), flow(span.counts)))
    });
    lines.collect()
}

/// Returns the line about a failure of the last hour.
fn failure(failure: &RecentFailure) -> StatusLine {
    let RecentFailure { reason, times, last_age } = failure;
    let (times, last) = (counted(*times, "time"), age_in_words(*last_age));
    line("failed", format!("{times} in the last hour, {last} ago: {}", Foreign(reason)))
}

/// Returns the line about an alarm that goes on.
fn alarm_line(alarm: &ListedAlarm) -> StatusLine {
    let ListedAlarm { when, why, since } = alarm;
    line("ALARM", format!("{} since {since}: {}", Foreign(when), Foreign(why)))
}

/// Returns the line about the space of the spool; none if its disk does not say how much is free.
fn space(space: SpoolFigures) -> Option<StatusLine> {
    let SpoolFigures { octets, free, size: _, reserve } = space;
    let [free, reserve, octets] = [free?, reserve, octets].map(mebibytes);
    Some(line("disk", format!("{free} free, of which {reserve} stay so; messages take {octets}")))
}

fn mebibytes(octets: u64) -> String {
    format!("{:.1} MiB", octets as f64 / f64::from(1 << 20))
}

/// Returns the line about what one user, or all that it is about, have used of a limit, and what it has refused.
fn limit(limited: &ClientLimited) -> StatusLine {
    let ClientLimited { limit, uid, amounts, refused, held, refused_until } = limited;
    let whose = uid.map_or(String::new(), |uid| format!(" for uid {uid}"));
    let amounts = amounts.iter().map(|amount| {
        let AmountLeft { unit, allowed, left } = amount;
        format!("{left} {unit} left of {allowed}")
    });
    let until =
        refused_until.as_ref().map_or(String::new(), |time| format!(", there is room again at {time}"));
    let refused = (*refused > 0).then(|| format!("{refused} refused{until}"));
    let held = (*held > 0).then(|| format!("{held} put on hold"));
    let parts: Vec<String> = amounts.chain(refused).chain(held).collect();
    line("limit", format!("{}{whose}: {}", Foreign(limit), parts.join("; ")))
}

/// Returns the lines about one of several relays.
fn block(relay: &RelayFigures) -> Vec<StatusLine> {
    let RelayFigures { messages, ready, active, deferred, held, connections, .. } = relay;
    let name = Foreign(&relay.relay);
    let (label, heading) = match (&relay.route, relay.relay.is_empty()) {
        (Some(route), false) => ("route", format!("{}, to {name}: ", Foreign(route))),
        (Some(route), true) => ("route", format!("{}: ", Foreign(route))),
        (None, false) => ("relay", format!("{name}: ")),
        (None, true) => ("relay", String::new()),
    };
    let words = format!(
        "{heading}{}, {}; {}: {ready} ready, {active} active, {deferred} deferred, {held} held{}",
        state(relay),
        counted(*connections, "connection"),
        counted(*messages, "message"),
        on_hold(relay.on_hold),
    );
    std::iter::once(line(label, words)).chain(details(relay, "  ")).collect()
}

/// Returns how many messages an operator has put on hold, as text to append; empty if none.
fn on_hold(messages: usize) -> String {
    if messages == 0 { String::new() } else { format!(", {messages} on hold") }
}

/// Returns the state of a relay, with the time since which it is paused.
fn state(relay: &RelayFigures) -> String {
    let since = relay.paused_since.as_ref().map_or(String::new(), |since| format!(" since {since}"));
    format!("{}{since}", relay.state)
}

/// Returns the further lines about a relay, each behind this indentation.
fn details(relay: &RelayFigures, indent: &str) -> Vec<StatusLine> {
    let foreign = |words: &String| Foreign(words).to_string();
    let one = |label, words: &Option<String>| words.as_ref().map(|words| (label, foreign(words)));
    let each = |label, words: &[String]| {
        words.iter().map(|words| (label, foreign(words))).collect::<Vec<(&'static str, String)>>()
    };
    let lines = outcomes(relay)
        .map(|words| ("tried", words))
        .into_iter()
        .chain(pace(&relay.pace).map(|words| ("pace", words)))
        .chain(one("trouble", &relay.trouble))
        .chain(one("to do", &relay.trouble_advice))
        .chain(one("token", &relay.unwritten_token))
        .chain(one("held", &relay.held_because))
        .chain(each("expires", &relay.expiring))
        .chain(each("passed", &relay.passed_over))
        .chain(one("probe", &relay.next_probe));
    lines.map(|(label, words)| StatusLine { label: format!("{indent}{label:<LABEL$}"), words }).collect()
}

/// Returns what came of recipients since the start; none if none was tried.
fn outcomes(relay: &RelayFigures) -> Option<String> {
    let OutcomeCounts { sent, deferred, held, bounced, expired } = relay.outcomes;
    let words = ["sent", "deferred", "held", "bounced", "expired"];
    let counts = [sent, deferred, held, bounced, expired].into_iter().zip(words);
    let tried = counts.filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}"));
    let tried: Vec<String> = tried.collect();
    let last = relay.last_success.as_ref();
    let last = last.map_or(String::new(), |time| format!("; it last took a message {time}"));
    (!tried.is_empty()).then(|| format!("since the start: {}{last}", tried.join(", ")))
}

/// Returns how fast the relay gets mail; none if nothing but the number of connections limits that, and all are allowed.
fn pace(pace: &RelaySpeed) -> Option<String> {
    let RelaySpeed { max_connections, connections_allowed, rates, slowed_to, next_message, .. } = pace;
    let RelaySpeed { recipients_limited_to, domains_limited_to, fewer_because, .. } = pace;
    let fewer = (connections_allowed < max_connections)
        .then(|| format!("{connections_allowed} of {} allowed", counted(*max_connections, "connection")));
    let rates = rates.iter().map(|rate| format!("{} ({} at once now)", rate.rate, rate.left));
    let slowed = slowed_to.as_ref().map(|rate| format!("slowed to {rate}, as the relay asked"));
    let recipients =
        recipients_limited_to.map(|most| counted(most, "recipient") + " in a transaction, as the relay took");
    let domains = domains_limited_to.map(|_| "one domain in a transaction, as the relay asked".to_owned());
    let why = fewer_because.as_ref().map(|why| format!("fewer connections {why}"));
    let next = next_message.as_ref().map(|time| format!("next message {time}"));
    let parts: Vec<String> = fewer
        .into_iter()
        .chain(rates)
        .chain(slowed)
        .chain(recipients)
        .chain(domains)
        .chain(why)
        .chain(next)
        .collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// Returns the lines about the newest of `dead` dead messages, with the replies that it got.
fn dead_lines(dead: usize, newest: &QueuedMessage) -> Vec<StatusLine> {
    let listed = queue::text(newest);
    let (first, rest) = listed.split_once('\n').unwrap_or((&listed, ""));
    let of_recipient = |listed: &str| {
        let words = listed.trim_start();
        StatusLine { label: " ".repeat(listed.len() - words.len()), words: words.to_owned() }
    };
    let first = line("dead", format!("newest of {dead}: {first}"));
    std::iter::once(first).chain(rest.lines().map(of_recipient)).collect()
}

/// Returns the line that says why messages are held.
pub(in crate::cli) fn held_line(why: &str) -> String {
    format!("held    {}\n", Foreign(why))
}

/// Returns the lines about the newest of `dead` dead messages, with the replies that it got.
pub(in crate::cli) fn dead_line(dead: usize, newest: &QueuedMessage) -> String {
    shown(&dead_lines(dead, newest), false)
}
