//! `nullmta status`: shows the state of the daemon, and of each relay, in a few numbers (`status/text.rs`); with `--check` in one
//! line and an exit code, for a monitoring program (`status/monitoring.rs`). While no daemon runs, it counts what is on the spool.

mod monitoring;
mod text;

use std::ffi::OsString;
use std::io::{self, Write};

use clap::Args;
use jiff::Timestamp;

use super::exit::{Exit, Failure};
use super::output::printed;
use super::queue::{self, QueueAnswered, ask_one_within, print_json};
use super::{ConfigFile, terminal};
use crate::admin::protocol::{ControlRequest, DaemonStatus};
use monitoring::MonitoringBounds;
pub(super) use monitoring::misused;
pub(super) use text::{dead_line, held_line};
use text::{lines, shown, spooled};

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

/// Returns whether a command line is that of `status --check`, whatever else is wrong with it: a monitoring program understands
/// its answer alone.
pub(super) fn is_check(command_line: &[OsString]) -> bool {
    command_line.get(1).is_some_and(|command| command == "status")
        && command_line.iter().any(|option| option == "--check")
}

impl StatusCommand {
    pub(super) fn run(&self) -> Result<(), Failure> {
        if self.check {
            let answer = ask_one_within(monitoring::PATIENCE, &self.config, &ControlRequest::Status);
            let now = Timestamp::now();
            let answer = answer.map_err(|(failure, queue)| (failure, queue.map(|queue| queue.status(now))));
            return monitoring::report(answer, &self.bounds);
        }
        let mut answer = None;
        let answered = queue::ask_or_read(&self.config, &ControlRequest::Status, &mut |status| {
            answer = Some(status);
            Ok(())
        })?;
        let is_fitted = terminal::width().is_some();
        match (answered, answer) {
            (QueueAnswered::OnSpool(queue), _) => {
                printed(match self.json {
                    true => print_json(&queue.status(Timestamp::now())),
                    false => write!(io::stdout(), "{}", shown(&spooled(&queue), is_fitted)),
                })?;
                let why = "nothing is sent or accepted while nullmta is not running";
                Err(Failure::new(Exit::Unavailable, why))
            }
            (QueueAnswered::ByDaemon(_), Some(status)) if self.json => {
                let status: DaemonStatus = status;
                printed(print_json(&status))
            }
            (QueueAnswered::ByDaemon(_), Some(status)) => {
                printed(write!(io::stdout(), "{}", shown(&lines(&status), is_fitted)))
            }
            (QueueAnswered::ByDaemon(_), None) => Err(queue::stopping()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::protocol::{self, RefusedConfiguration};
    use crate::history::{FlowCounts, FlowSpan, RecentFailure};

    fn text(status: &DaemonStatus) -> String {
        shown(&lines(status), false)
    }

    fn dead() -> protocol::QueuedMessage {
        let reason = Some("550 5.7.1 null sender refused".to_owned());
        protocol::QueuedMessage {
            id: "18A4F1C9A02B3D40".into(),
            state: protocol::MessageState::Dead,
            held_by: None,
            original_from: None,
            marked: None,
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
            trouble_advice: Some("check the host and the port in relayhost".into()),
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
            ..protocol::RelayFigures::default()
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
            alarms: vec![protocol::ListedAlarm {
                when: "relay paused > 10m".into(),
                why: "the relay is paused for 2h: refused\u{1b}".into(),
                since: "2026-11-21T01:10:05Z".into(),
            }],
            oldest: Some("2026-11-21T00:10:00Z".into()),
            oldest_age: Some(7200),
            spool: protocol::SpoolFigures {
                octets: 3 << 20,
                free: Some(5 << 30),
                size: Some(50 << 30),
                reserve: 128 << 20,
            },
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
            ..protocol::DaemonStatus::default()
        }
    }

    /// Returns a relay in no trouble.
    pub(super) fn usable() -> protocol::RelayFigures {
        protocol::RelayFigures {
            state: "usable".into(),
            paused_since: None,
            next_probe: None,
            trouble: None,
            trouble_outline: None,
            trouble_advice: None,
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
        let shown = text(&status(vec![one.clone(), one]));
        assert!(shown.contains(", 1 connection; 1 message: 1 ready"), "{shown}");
    }

    const TOP: &str = "ALARM   relay paused > 10m since 2026-11-21T01:10:05Z: the relay is paused for 2h: refused\\u{1b}\n\
         nullmta 0.1.0, pid 42\n\
         config  /etc/nullmta.toml, in force since 2026-11-20T02:10:00Z; not in force before a restart: log.format\n\
         queue   4 messages: 1 ready, 0 active, 1 deferred, 0 held, 2 dead\n\
         oldest  2h, accepted 2026-11-21T00:10:00Z\n\
         rates   last minute: 3 accepted, 2 sent\n\
         \u{20}       the 15m since the start: 20 accepted, 12 sent, 1 refused, 3 deferred, 1 bounced\n\
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
             to do   check the host and the port in relayhost\n\
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
             \u{20} to do   check the host and the port in relayhost\n\
             \u{20} probe   2026-11-21T02:10:00Z\n";
        assert_eq!(text(&status(vec![usable, news])), format!("{TOP}{expected}"));
    }

    #[test]
    fn an_older_daemon_that_lists_no_relays_is_shown_as_far_as_it_goes() {
        assert_eq!(text(&status(Vec::new())), format!("{TOP}relay   paused, 0 connections\n"));
    }

    #[test]
    fn a_relay_that_nothing_limits_has_no_line_about_its_pace() {
        let usable = protocol::RelayFigures { pace: pace(), ..usable() };
        assert!(!text(&status(vec![usable])).contains("pace"));
    }

    /// Lines of 130 columns were broken by the terminal within words.
    #[test]
    fn all_of_it_fits_a_terminal_of_80_columns() {
        let long = protocol::RelayFigures {
            route: Some("news".into()),
            relay: "news.example:587 as ann@example.org".into(),
            trouble: Some("the relay said: 421 4.7.0 ".to_owned() + &"try again later ".repeat(20)),
            ..paused()
        };
        let status = status(vec![paused(), long]);
        let fitted = shown(&lines(&status), true);
        let wide: Vec<&str> = fitted.lines().filter(|line| terminal::columns(line) > 80).collect();
        assert_eq!(wide, [""; 0], "{fitted}");
        let expected = "config  /etc/nullmta.toml, in force since 2026-11-20T02:10:00Z; not in force\n\
             \u{20}       before a restart: log.format\n\
             queue   4 messages: 1 ready, 0 active, 1 deferred, 0 held, 2 dead\n";
        assert!(fitted.contains(expected), "{fitted}");
        let expected = "\n  pace    1 of 20 connections allowed; 10000/day (812 at once now); slowed to\n\
             \u{20}         3.5/s, as the relay asked; 10 recipients in a transaction, as the\n";
        assert!(fitted.contains(expected), "{fitted}");
        let unbroken = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(unbroken(&fitted), unbroken(&text(&status)));
    }

    /// "route   news, to : paused" was what an ordinary user read.
    #[test]
    fn what_is_left_out_for_an_ordinary_user_leaves_no_hole() {
        let news = protocol::RelayFigures { route: Some("news".into()), ..paused() };
        let shown = text(&status(vec![paused(), news]).for_anybody());
        for words in [
            "\nrelay   paused since 2026-11-21T01:00:00Z, 0 connections; 4 messages: ",
            "\nroute   news: paused since 2026-11-21T01:00:00Z, 0 connections; 4 messages: ",
            "\n  trouble connect: refused\n",
            "\n  held    the relay refused mail, which is kept; why is told to root ",
            "\nrefused the newer one of 2026-11-21T02:00:00Z: it has an error; why is told to root ",
            "\nusers   the file of the users has an error; why is told to root ",
        ] {
            assert!(shown.contains(words), "{words}: {shown}");
        }
        for hole in [", to :", ": :", ": ;", ", ,", "  \n"] {
            assert!(!shown.contains(hole), "{hole}: {shown}");
        }
    }

    #[test]
    fn a_wrong_command_line_of_a_plug_in_is_known_by_its_option() {
        let line = |words: &[&str]| words.iter().map(Into::into).collect::<Vec<OsString>>();
        assert!(is_check(&line(&["nullmta", "status", "--chekc", "--check"])));
        assert!(!is_check(&line(&["nullmta", "status", "--max-age", "1h"])));
        assert!(!is_check(&line(&["nullmta", "queue", "list", "--check"])));
    }
}
