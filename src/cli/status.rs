//! `nullmta status`: shows the state of the daemon, and of each relay, in a few numbers; with `--check` in one line and an
//! exit code, for a monitoring program (`status/monitoring.rs`).

mod monitoring;

use std::io::{self, Write};

use clap::Args;

use super::exit::Failure;
use super::output::printed;
use super::paragraph::labelled;
use super::queue::{self, QueueAnswered, ask_one, hold_rules, print_json};
use super::{ConfigFile, exit::Exit, pause};
use crate::admin::from_spool::QueueOnSpool;
use crate::admin::protocol::{self, ControlRequest, RefusedConfiguration};
use crate::history::{FlowCounts, FlowSpan, RecentFailure};
use crate::log::{Foreign, age_in_words, counted};
use monitoring::MonitoringBounds;

/// Show the state of the daemon in a few numbers.
#[derive(Args)]
pub(super) struct StatusCommand {
    #[command(flatten)]
    config: ConfigFile,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Say in one line whether mail gets through, as monitoring plug-ins do: exit code 0 is OK, 1 WARNING, 2 CRITICAL, 3
    /// UNKNOWN
    #[arg(long, conflicts_with = "json")]
    check: bool,
    #[command(flatten)]
    bounds: MonitoringBounds,
}

impl StatusCommand {
    pub(super) fn run(&self) -> Result<(), Failure> {
        if self.check {
            return monitoring::report(&ask_one(&self.config, &ControlRequest::Status), &self.bounds);
        }
        if self.json {
            let status: protocol::DaemonStatus = ask_one(&self.config, &ControlRequest::Status)?;
            return printed(print_json(&status));
        }
        let mut answer = None;
        let answered = queue::ask_or_read(&self.config, &ControlRequest::Status, &mut |status| {
            answer = Some(status);
            Ok(())
        })?;
        match (answered, answer) {
            (QueueAnswered::OnSpool(queue), _) => {
                printed(write!(io::stdout(), "{}", spooled(&queue)))?;
                Err(Failure::new(
                    Exit::Unavailable,
                    "nothing is sent or accepted while nullmta is not running",
                ))
            }
            (QueueAnswered::ByDaemon(_), Some(status)) => printed(write!(io::stdout(), "{}", text(&status))),
            (QueueAnswered::ByDaemon(_), None) => Err(stopping()),
        }
    }
}

fn stopping() -> Failure {
    Failure::new(Exit::Unavailable, "the daemon is stopping")
}

/// Returns the lines about a queue of which only the spool can be read.
fn spooled(queue: &QueueOnSpool) -> String {
    let states = queue.states();
    let messages: u64 = states.values().sum();
    let states: Vec<String> = states.iter().map(|(state, count)| format!("{count} {state}")).collect();
    let oldest = queue
        .oldest()
        .map_or(String::new(), |age| format!("; the oldest is {} old", age_in_words(age.as_secs())));
    let states = if states.is_empty() { String::new() } else { format!(": {}", states.join(", ")) };
    format!("queue   {}{states}{oldest}\n", counted(messages, "message"))
}

fn text(status: &protocol::DaemonStatus) -> String {
    let protocol::DaemonStatus { version, pid, configuration, messages, ready, deferred, held, dead, .. } =
        status;
    let protocol::DaemonStatus { active, relays, .. } = status;
    let mut text: String = status.pauses.iter().map(|pause| format!("{}\n", pause::line(pause))).collect();
    text += &format!(
        "nullmta {version}, pid {pid}\n\
         config  {}, in force since {}{}\n\
         queue   {}: {ready} ready, {active} active, {deferred} deferred, {held} held{}, {dead} dead\n",
        configuration.path,
        configuration.since,
        configuration.reservations(),
        counted(*messages, "message"),
        on_hold(status.on_hold)
    );
    text += &oldest_line(status);
    text += &rates_lines(&status.rates);
    text += &failures_lines(&status.failures);
    if let Some(RefusedConfiguration { at, why }) = &configuration.refused {
        text += &format!("refused the newer one of {at}: {}\n", Foreign(why));
    }
    if let Some(dead) = &status.newest_dead {
        text += &dead_line(status.dead, dead);
    }
    if let Some(trouble) = &status.users_trouble {
        text += &format!("users   {}\n", Foreign(trouble));
    }
    if let Some(trouble) = &status.spool_trouble {
        text += &format!("spool   {}; mail is refused\n", Foreign(trouble));
    }
    text += &space_line(status.spool);
    status.hold_rules.iter().for_each(|rule| text += &format!("hold    {}\n", hold_rules::line(rule)));
    status.limits.iter().for_each(|limited| text += &limit_line(limited));
    match &relays[..] {
        // The daemon is an older one.
        [] => text += &format!("relay   {}, {}\n", status.relay, counted(status.connections, "connection")),
        [only] => {
            let connections = counted(only.connections, "connection");
            text += &format!("relay   {}, {connections}\n{}", state(only), details(only, ""))
        }
        several => several.iter().for_each(|relay| text += &block(relay)),
    }
    if status.is_in_part {
        text += "These are the numbers that everybody may know. Names and reasons are told to root and to the daemon's own user \
                 and group.\n";
    }
    text
}

/// Returns the line about the oldest message that is to be sent; none if there is none.
fn oldest_line(status: &protocol::DaemonStatus) -> String {
    let oldest = status.oldest.as_ref().zip(status.oldest_age);
    oldest.map_or(String::new(), |(time, age)| format!("oldest  {}, accepted {time}\n", age_in_words(age)))
}

/// Returns the lines about what came and went lately; none if the daemon does not say it, since it is an older one.
fn rates_lines(rates: &protocol::FlowRates) -> String {
    let protocol::FlowRates { last_minute, last_hour } = rates;
    if last_hour.seconds == 0 {
        return String::new();
    }
    let spans = [("minute", last_minute, 60), ("hour", last_hour, 3600)];
    let lines =
        spans.map(|(name, span, length)| format!("{}: {}", span_name(name, span, length), flow(span.counts)));
    labelled("rates   ", &lines)
}

/// Returns the name of a span of time, and that it is shorter since the daemon has not run for so long.
fn span_name(name: &str, span: &FlowSpan, length: u64) -> String {
    // A slot of time that has just begun makes a span a little shorter than its name.
    if span.seconds < length - length / 10 {
        format!("the {} since the start", age_in_words(span.seconds))
    } else {
        format!("last {name}")
    }
}

/// Returns in words what came and went.
pub(super) fn flow(counts: FlowCounts) -> String {
    let FlowCounts { accepted, refused, sent, deferred, bounced } = counts;
    let always = [(accepted, "accepted"), (sent, "sent")].into_iter();
    let sometimes = [(refused, "refused"), (deferred, "deferred"), (bounced, "bounced")].into_iter();
    let parts = always.chain(sometimes.filter(|(count, _)| *count > 0));
    parts.map(|(count, word)| format!("{count} {word}")).collect::<Vec<String>>().join(", ")
}

/// The most reasons of failures that are shown.
const SHOWN_FAILURES: usize = 5;

/// Returns the lines about the failures of the last hour.
fn failures_lines(failures: &[RecentFailure]) -> String {
    let line = |RecentFailure { reason, times, last_age }: &RecentFailure| {
        let last = age_in_words(*last_age);
        labelled(
            "failed  ",
            &[format!("{} in the last hour, {last} ago: {}", counted(*times, "time"), Foreign(reason))],
        )
    };
    failures.iter().take(SHOWN_FAILURES).map(line).collect()
}

/// Returns the line about the space of the spool; none if its disk does not say how much is free.
fn space_line(space: protocol::SpoolFigures) -> String {
    let protocol::SpoolFigures { octets, free, reserve } = space;
    free.map_or(String::new(), |free| {
        let [free, reserve, octets] = [free, reserve, octets].map(mebibytes);
        format!("disk    {free} free, of which {reserve} stay so; messages take {octets}\n")
    })
}

fn mebibytes(octets: u64) -> String {
    format!("{:.1} MiB", octets as f64 / f64::from(1 << 20))
}

/// Returns the line about what one user, or all that it is about, have used of a limit, and what it has refused.
fn limit_line(limited: &protocol::ClientLimited) -> String {
    let protocol::ClientLimited { limit, uid, amounts, refused, held, refused_until } = limited;
    let whose = uid.map_or(String::new(), |uid| format!(" for uid {uid}"));
    let amounts = amounts.iter().map(|amount| {
        let protocol::AmountLeft { unit, allowed, left } = amount;
        format!("{left} {unit} left of {allowed}")
    });
    let until =
        refused_until.as_ref().map_or(String::new(), |time| format!(", there is room again at {time}"));
    let refused = (*refused > 0).then(|| format!("{refused} refused{until}"));
    let held = (*held > 0).then(|| format!("{held} put on hold"));
    let parts: Vec<String> = amounts.chain(refused).chain(held).collect();
    format!("limit   {}{whose}: {}\n", Foreign(limit), parts.join("; "))
}

/// Returns the lines about one of several relays.
fn block(relay: &protocol::RelayFigures) -> String {
    let protocol::RelayFigures { messages, ready, active, deferred, held, connections, .. } = relay;
    let name = Foreign(&relay.relay);
    let heading = match &relay.route {
        Some(route) => format!("route   {}, to {name}", Foreign(route)),
        None => format!("relay   {name}"),
    };
    format!(
        "{heading}: {}, {}; {}: {ready} ready, {active} active, {deferred} deferred, {held} held{}\n{}",
        state(relay),
        counted(*connections, "connection"),
        counted(*messages, "message"),
        on_hold(relay.on_hold),
        details(relay, "  ")
    )
}

/// Returns how many messages an operator has put on hold, as text to append; empty if none.
fn on_hold(messages: usize) -> String {
    if messages == 0 { String::new() } else { format!(", {messages} on hold") }
}

/// Returns the state of a relay, with the time since which it is paused.
fn state(relay: &protocol::RelayFigures) -> String {
    let since = relay.paused_since.as_ref().map_or(String::new(), |since| format!(" since {since}"));
    format!("{}{since}", relay.state)
}

/// Returns the further lines about a relay, each behind this indentation.
fn details(relay: &protocol::RelayFigures, indent: &str) -> String {
    let pace = Some(pace_line(&relay.pace)).filter(|line| !line.is_empty());
    let trouble = relay.trouble.as_ref().map(|trouble| format!("trouble {}\n", Foreign(trouble)));
    let held = relay.held_because.as_deref().map(held_line);
    let expiring = relay.expiring.iter().map(|notice| format!("expires {}\n", Foreign(notice)));
    let probe = relay.next_probe.as_ref().map(|probe| format!("probe   {probe}\n"));
    let passed_over = relay.passed_over.iter().map(|notice| format!("passed  {}\n", Foreign(notice)));
    let token = relay.unwritten_token.as_ref().map(|notice| format!("token   {}\n", Foreign(notice)));
    let outcomes = Some(outcomes_line(relay)).filter(|line| !line.is_empty());
    let lines = outcomes
        .into_iter()
        .chain(pace)
        .chain(trouble)
        .chain(token)
        .chain(held)
        .chain(expiring)
        .chain(passed_over)
        .chain(probe);
    lines.map(|line| format!("{indent}{line}")).collect()
}

/// Returns the line about what came of recipients since the start; none if none was tried.
fn outcomes_line(relay: &protocol::RelayFigures) -> String {
    let protocol::OutcomeCounts { sent, deferred, held, bounced, expired } = relay.outcomes;
    let words = ["sent", "deferred", "held", "bounced", "expired"];
    let counts = [sent, deferred, held, bounced, expired].into_iter().zip(words);
    let tried = counts.filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}"));
    let tried: Vec<String> = tried.collect();
    let last = relay.last_success.as_ref();
    let last = last.map_or(String::new(), |time| format!("; it last took a message {time}"));
    if tried.is_empty() {
        String::new()
    } else {
        format!("tried   since the start: {}{last}\n", tried.join(", "))
    }
}

/// Returns the line about how fast the relay gets mail; none if nothing but the number of connections limits that, and
/// all are allowed.
fn pace_line(pace: &protocol::RelaySpeed) -> String {
    let protocol::RelaySpeed { max_connections, connections_allowed, rates, slowed_to, next_message, .. } =
        pace;
    let protocol::RelaySpeed { recipients_limited_to, domains_limited_to, fewer_because, .. } = pace;
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
    if parts.is_empty() { String::new() } else { format!("pace    {}\n", parts.join("; ")) }
}

/// Returns the line that says why messages are held.
pub(super) fn held_line(why: &str) -> String {
    format!("held    {}\n", Foreign(why))
}

/// Returns the line about the newest of `dead` dead messages, with the replies that it got.
pub(super) fn dead_line(dead: usize, newest: &protocol::QueuedMessage) -> String {
    format!("dead    newest of {dead}: {}", queue::text(newest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dead() -> protocol::QueuedMessage {
        let reason = Some("550 5.7.1 null sender refused".to_owned());
        protocol::QueuedMessage {
            id: "18A4F1C9A02B3D40".into(),
            state: protocol::MessageState::Dead,
            uid: None,
            from: String::new(),
            recipients: vec![protocol::QueuedRecipient {
                address: "ops@x".into(),
                route: None,
                reason: reason.clone(),
            }],
            size: 4096,
            arrived: "2026-11-21T02:10:00Z".into(),
            age: 7300,
            next_attempt: None,
            reason,
        }
    }

    fn pace() -> protocol::RelaySpeed {
        protocol::RelaySpeed {
            max_connections: 20,
            connections_allowed: 20,
            fewer_because: None,
            rates: Vec::new(),
            slowed_to: None,
            recipients_limited_to: None,
            domains_limited_to: None,
            next_message: None,
        }
    }

    pub(super) fn paused() -> protocol::RelayFigures {
        protocol::RelayFigures {
            route: None,
            relay: "mx:587".into(),
            state: "paused".into(),
            paused_since: Some("2026-11-21T01:00:00Z".into()),
            next_probe: Some("2026-11-21T02:10:00Z".into()),
            trouble: Some("connect to mx[192.0.2.1]:587: refused\u{1b}".into()),
            trouble_outline: Some("connect: refused".into()),
            last_success: Some("2026-11-21T00:59:00Z".into()),
            outcomes: protocol::OutcomeCounts { sent: 12, deferred: 3, held: 0, bounced: 1, expired: 0 },
            oldest: None,
            messages: 4,
            ready: 1,
            active: 0,
            deferred: 1,
            held: 0,
            on_hold: 0,
            held_because: Some("what the relay refuses is held".into()),
            connections: 0,
            pace: protocol::RelaySpeed {
                connections_allowed: 1,
                fewer_because: Some("while the relay is paused".into()),
                rates: vec![protocol::RateLeft { rate: "10000/day".into(), left: 812 }],
                slowed_to: Some("3.5/s".into()),
                recipients_limited_to: Some(10),
                domains_limited_to: Some(1),
                next_message: Some("2026-11-21T02:09:00Z".into()),
                ..pace()
            },
            expiring: vec!["the certificate of the relay mx expires in 3 days".into()],
            unwritten_token: Some("the new refresh token is in memory alone".into()),
            passed_over: vec!["mx1:587 is passed over, and tried again in 45s: connection refused".into()],
        }
    }

    pub(super) fn status(relays: Vec<protocol::RelayFigures>) -> protocol::DaemonStatus {
        protocol::DaemonStatus {
            version: "0.1.0".into(),
            pid: 42,
            configuration: protocol::Configuration {
                path: "/etc/nullmta.toml".into(),
                since: "2026-11-20T02:10:00Z".into(),
                refused: Some(RefusedConfiguration {
                    at: "2026-11-21T02:00:00Z".into(),
                    why: "line 3: spool: x".into(),
                }),
                needs_restart: vec!["log.format".into()],
                overruled: Vec::new(),
            },
            is_in_part: false,
            oldest: Some("2026-11-21T00:10:00Z".into()),
            oldest_age: Some(7200),
            spool: protocol::SpoolFigures { octets: 3 << 20, free: Some(5 << 30), reserve: 128 << 20 },
            messages: 4,
            ready: 1,
            deferred: 1,
            held: 0,
            on_hold: 0,
            dead: 2,
            newest_dead: Some(dead()),
            active: 0,
            rates: protocol::FlowRates {
                last_minute: FlowSpan {
                    seconds: 57,
                    counts: FlowCounts { accepted: 3, sent: 2, ..FlowCounts::default() },
                },
                last_hour: FlowSpan {
                    seconds: 900,
                    counts: FlowCounts { accepted: 20, refused: 1, sent: 12, deferred: 3, bounced: 1 },
                },
            },
            failures: vec![RecentFailure { reason: "relay trouble, connect".into(), times: 4, last_age: 30 }],
            connections: 0,
            relay: "paused".into(),
            next_probe: None,
            held_because: None,
            expiring: Vec::new(),
            pauses: Vec::new(),
            hold_rules: Vec::new(),
            limits: vec![
                protocol::ClientLimited {
                    limit: "web".into(),
                    uid: Some(33),
                    amounts: vec![protocol::AmountLeft {
                        unit: "messages".into(),
                        allowed: "100/h".into(),
                        left: 0,
                    }],
                    refused: 12,
                    held: 0,
                    refused_until: Some("2026-11-21T02:10:00Z".into()),
                },
                protocol::ClientLimited {
                    limit: "own\u{1b}".into(),
                    uid: None,
                    amounts: Vec::new(),
                    refused: 1,
                    held: 0,
                    refused_until: None,
                },
            ],
            spool_trouble: Some("full: 1.0 MiB free".into()),
            users_trouble: Some("/etc/nullmta.users:3: no".into()),
            trouble: None,
            pace: pace(),
            relays,
        }
    }

    /// Returns a relay in no trouble.
    pub(super) fn usable() -> protocol::RelayFigures {
        protocol::RelayFigures {
            state: "usable".into(),
            paused_since: None,
            next_probe: None,
            trouble: None,
            held_because: None,
            expiring: Vec::new(),
            passed_over: Vec::new(),
            unwritten_token: None,
            ..paused()
        }
    }

    /// Returns a daemon in no trouble but that of its relays.
    pub(super) fn dead_free(relays: Vec<protocol::RelayFigures>) -> protocol::DaemonStatus {
        let sound = status(relays);
        let configuration = protocol::Configuration { refused: None, ..sound.configuration };
        protocol::DaemonStatus {
            configuration,
            dead: 0,
            newest_dead: None,
            spool_trouble: None,
            users_trouble: None,
            ..sound
        }
    }

    /// One message over one connection was called several.
    #[test]
    fn one_is_said_in_the_singular() {
        let one = protocol::RelayFigures { messages: 1, connections: 1, ..paused() };
        let shown = text(&protocol::DaemonStatus { messages: 1, ..status(vec![one.clone()]) });
        assert!(shown.contains("queue   1 message: 1 ready"), "{shown}");
        assert!(shown.contains("relay   paused since 2026-11-21T01:00:00Z, 1 connection\n"), "{shown}");
        assert!(block(&one).contains(", 1 connection; 1 message: 1 ready"), "{}", block(&one));
    }

    const TOP: &str = "nullmta 0.1.0, pid 42\n\
         config  /etc/nullmta.toml, in force since 2026-11-20T02:10:00Z; not in force before a restart: log.format\n\
         queue   4 messages: 1 ready, 0 active, 1 deferred, 0 held, 2 dead\n\
         oldest  2h, accepted 2026-11-21T00:10:00Z\n\
         rates   last minute: 3 accepted, 2 sent\n\
         \u{20}       the 15m since the start: 20 accepted, 12 sent, 1 refused, 3 deferred, 1\n\
         \u{20}       bounced\n\
         failed  4 times in the last hour, 30s ago: relay trouble, connect\n\
         refused the newer one of 2026-11-21T02:00:00Z: line 3: spool: x\n\
         dead    newest of 2: 18A4F1C9A02B3D40 dead       2h  4.0K    -  <>\n\
         \u{20} to ops@x\n\
         \u{20}    550 5.7.1 null sender refused\n\
         users   /etc/nullmta.users:3: no\n\
         spool   full: 1.0 MiB free; mail is refused\n\
         disk    5120.0 MiB free, of which 128.0 MiB stay so; messages take 3.0 MiB\n\
         limit   web for uid 33: 0 messages left of 100/h; 12 refused, there is room again at 2026-11-21T02:10:00Z\n\
         limit   own\\u{1b}: 1 refused\n";

    #[test]
    fn a_paused_relay_shows_why_and_since_and_until_when() {
        let expected = "relay   paused since 2026-11-21T01:00:00Z, 0 connections\n\
             tried   since the start: 12 sent, 3 deferred, 1 bounced; it last took a message 2026-11-21T00:59:00Z\n\
             pace    1 of 20 connections allowed; 10000/day (812 at once now); slowed to 3.5/s, as the relay asked; \
             10 recipients in a transaction, as the relay took; one domain in a transaction, as the relay asked; \
             fewer connections while the relay is paused; next message 2026-11-21T02:09:00Z\n\
             trouble connect to mx[192.0.2.1]:587: refused\\u{1b}\n\
             token   the new refresh token is in memory alone\n\
             held    what the relay refuses is held\n\
             expires the certificate of the relay mx expires in 3 days\n\
             passed  mx1:587 is passed over, and tried again in 45s: connection refused\n\
             probe   2026-11-21T02:10:00Z\n";
        assert_eq!(text(&status(vec![paused()])), format!("{TOP}{expected}"));
    }

    /// Of several relays only one was shown, and nobody could see which of them worked.
    #[test]
    fn each_of_several_relays_has_its_own_lines() {
        let usable = protocol::RelayFigures { connections: 2, pace: pace(), ..usable() };
        let news = protocol::RelayFigures {
            route: Some("news".into()),
            relay: "news.example:587 as ann".into(),
            held_because: None,
            pace: pace(),
            expiring: Vec::new(),
            passed_over: Vec::new(),
            unwritten_token: None,
            ..paused()
        };
        let expected = "relay   mx:587: usable, 2 connections; 4 messages: 1 ready, 0 active, 1 deferred, 0 held\n\
             \u{20} tried   since the start: 12 sent, 3 deferred, 1 bounced; it last took a message 2026-11-21T00:59:00Z\n\
             route   news, to news.example:587 as ann: paused since 2026-11-21T01:00:00Z, 0 connections; 4 messages: 1 \
             ready, 0 active, 1 deferred, 0 held\n\
             \u{20} tried   since the start: 12 sent, 3 deferred, 1 bounced; it last took a message 2026-11-21T00:59:00Z\n\
             \u{20} trouble connect to mx[192.0.2.1]:587: refused\\u{1b}\n\
             \u{20} probe   2026-11-21T02:10:00Z\n";
        assert_eq!(text(&status(vec![usable, news])), format!("{TOP}{expected}"));
    }

    #[test]
    fn an_older_daemon_that_lists_no_relays_is_shown_as_far_as_it_goes() {
        assert_eq!(text(&status(Vec::new())), format!("{TOP}relay   paused, 0 connections\n"));
    }

    #[test]
    fn a_relay_that_nothing_limits_has_no_line_about_its_pace() {
        assert_eq!(pace_line(&pace()), "");
    }
}
