//! `nullmta status`: shows the state of the daemon in a few numbers.

use std::io::{self, Write};

use clap::Args;

use super::exit::Failure;
use super::output::printed;
use super::queue::{self, ask, print_json};
use super::{ConfigFile, exit::Exit};
use crate::admin::protocol::{self, ControlRequest, RefusedConfiguration};
use crate::log::Foreign;

/// Show the state of the daemon in a few numbers.
#[derive(Args)]
pub(super) struct StatusCommand {
    #[command(flatten)]
    config: ConfigFile,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl StatusCommand {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let mut answer = None;
        ask(&self.config, &ControlRequest::Status, |status: protocol::DaemonStatus| {
            answer = Some(status);
            Ok(())
        })?;
        let status = answer.ok_or_else(|| Failure::new(Exit::Unavailable, "the daemon is stopping"))?;
        if self.json {
            return printed(print_json(&status));
        }
        printed(write!(io::stdout(), "{}", text(&status)))
    }
}

fn text(status: &protocol::DaemonStatus) -> String {
    let protocol::DaemonStatus { version, pid, configuration, messages, ready, deferred, held, dead, .. } =
        status;
    let protocol::DaemonStatus { active, connections, relay, .. } = status;
    let mut text = format!(
        "nullmta {version}, pid {pid}\n\
         config  {}, in force since {}{}\n\
         queue   {messages} messages: {ready} ready, {active} active, {deferred} deferred, {held} held, {dead} dead\n\
         relay   {relay}, {connections} connections\n",
        configuration.path,
        configuration.since,
        configuration.reservations()
    );
    text += &pace_line(&status.pace);
    if let Some(RefusedConfiguration { at, why }) = &configuration.refused {
        text += &format!("refused the newer one of {at}: {}\n", Foreign(why));
    }
    if let Some(dead) = &status.newest_dead {
        text += &dead_line(status.dead, dead);
    }
    if let Some(trouble) = &status.spool_trouble {
        text += &format!("spool   {}; mail is refused\n", Foreign(trouble));
    }
    if let Some(trouble) = &status.trouble {
        text += &format!("trouble {}\n", Foreign(trouble));
    }
    if let Some(why) = &status.held_because {
        text += &held_line(why);
    }
    for notice in &status.expiring {
        text += &format!("expires {}\n", Foreign(notice));
    }
    if let Some(next_probe) = &status.next_probe {
        text += &format!("probe   {next_probe}\n");
    }
    text
}

/// Returns the line about how fast the relay gets mail; none if nothing but the number of connections limits that, and
/// all are allowed.
fn pace_line(pace: &protocol::RelaySpeed) -> String {
    let protocol::RelaySpeed { max_connections, connections_allowed, rates, slowed_to, next_message } = pace;
    let fewer = (connections_allowed < max_connections)
        .then(|| format!("{connections_allowed} of {max_connections} connections allowed"));
    let rates = rates.iter().map(|rate| format!("{} ({} at once now)", rate.rate, rate.left));
    let slowed = slowed_to.as_ref().map(|rate| format!("slowed to {rate}, as the relay asked"));
    let next = next_message.as_ref().map(|time| format!("next message {time}"));
    let parts: Vec<String> = fewer.into_iter().chain(rates).chain(slowed).chain(next).collect();
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
            from: String::new(),
            recipients: vec![protocol::QueuedRecipient { address: "ops@x".into(), reason: reason.clone() }],
            size: 4096,
            arrived: "2026-11-21T02:10:00Z".into(),
            age: 7300,
            next_attempt: None,
            reason,
        }
    }

    #[test]
    fn a_paused_relay_shows_why_and_when() {
        let status = protocol::DaemonStatus {
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
            messages: 4,
            ready: 1,
            deferred: 1,
            held: 0,
            dead: 2,
            newest_dead: Some(dead()),
            active: 0,
            connections: 0,
            relay: "paused".into(),
            next_probe: Some("2026-11-21T02:10:00Z".into()),
            held_because: Some("what the relay refuses is held".into()),
            expiring: vec!["the certificate of the relay mx expires in 3 days".into()],
            spool_trouble: Some("full: 1.0 MiB free".into()),
            trouble: Some("connect to mx[192.0.2.1]:587: refused\u{1b}".into()),
            pace: protocol::RelaySpeed {
                max_connections: 20,
                connections_allowed: 1,
                rates: vec![protocol::RateLeft { rate: "10000/day".into(), left: 812 }],
                slowed_to: Some("3.5/s".into()),
                next_message: Some("2026-11-21T02:09:00Z".into()),
            },
        };
        assert_eq!(
            text(&status),
            "nullmta 0.1.0, pid 42\n\
             config  /etc/nullmta.toml, in force since 2026-11-20T02:10:00Z; not in force before a restart: \
             log.format\n\
             queue   4 messages: 1 ready, 0 active, 1 deferred, 0 held, 2 dead\n\
             relay   paused, 0 connections\n\
             pace    1 of 20 connections allowed; 10000/day (812 at once now); slowed to 3.5/s, as the relay asked; \
             next message 2026-11-21T02:09:00Z\n\
             refused the newer one of 2026-11-21T02:00:00Z: line 3: spool: x\n\
             dead    newest of 2: 18A4F1C9A02B3D40  dead         2h      4096  <> -> ops@x\n\
             \u{20}                 (550 5.7.1 null sender refused)\n\
             spool   full: 1.0 MiB free; mail is refused\n\
             trouble connect to mx[192.0.2.1]:587: refused\\u{1b}\n\
             held    what the relay refuses is held\n\
             expires the certificate of the relay mx expires in 3 days\n\
             probe   2026-11-21T02:10:00Z\n"
        );
    }
    #[test]
    fn a_relay_that_nothing_limits_has_no_line_about_its_pace() {
        let pace = protocol::RelaySpeed {
            max_connections: 20,
            connections_allowed: 20,
            rates: Vec::new(),
            slowed_to: None,
            next_message: None,
        };
        assert_eq!(pace_line(&pace), "");
    }
}
