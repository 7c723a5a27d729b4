//! `nullmta pause delivery|intake`, `nullmta resume`: has nothing sent, or no mail taken, for a while.
//!
//! Promises: what is said to be paused, or to go on, is so, over a restart as well. The exit code is 0 if something was paused or
//! goes on; 1 if there was no pause to lift; 64 if the route to pause is none of the daemon's; 75 if it was not written; 77 without the right.
//!
//! Not here: who may do it (`admin/control.rs`), what rests in a pause (`standing_orders.rs` says where).

use std::time::Duration;

use clap::{Args, Subcommand};

use super::ConfigFile;
use super::exit::{Exit, Failure};
use super::output::{printed, say};
use super::queue::{ask, ask_one, print_json};
use super::values::time;
use crate::admin::protocol::{ControlRequest, ListedPause, NewPause};
use crate::log::Foreign;
use crate::standing_orders::{PauseScope, PausedPart, checked_reason};

/// Pause the delivery or the intake of mail.
#[derive(Subcommand)]
pub(super) enum PauseCommand {
    /// Send nothing: mail is accepted and waits, and none of its time runs
    Delivery(PauseDelivery),
    /// Take no mail: clients and sendmail are told to try again later; what is in the queue is sent
    Intake(PauseOptions),
}

/// What is said of a pause of delivery.
#[derive(Args)]
pub(super) struct PauseDelivery {
    #[command(flatten)]
    options: PauseOptions,
    /// Only the mail that goes by this [[route]]
    #[arg(long, value_name = "NAME")]
    route: Option<String>,
}

/// What is said of any pause.
#[derive(Args)]
pub(super) struct PauseOptions {
    #[command(flatten)]
    config: ConfigFile,
    /// End the pause by itself after this time, such as 10m or 2h
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    time: Option<Duration>,
    /// Why, for status, the log and the clients that are refused
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Have mail go on that was paused.
#[derive(Args)]
pub(super) struct ResumeCommand {
    #[command(flatten)]
    config: ConfigFile,
    /// What goes on: delivery or intake; every pause ends if nothing is said
    #[arg(value_parser = part)]
    part: Option<PausedPart>,
    /// Only the pause of this [[route]]
    #[arg(long, value_name = "NAME", requires = "part")]
    route: Option<String>,
    /// Print one JSON object a line, for each pause
    #[arg(long)]
    json: bool,
}

impl PauseCommand {
    pub(super) fn run(&self) -> Result<(), Failure> {
        match self {
            PauseCommand::Delivery(PauseDelivery { options, route }) => {
                options.run(PauseScope { part: PausedPart::Delivery, route: route.clone() })
            }
            PauseCommand::Intake(options) => {
                options.run(PauseScope { part: PausedPart::Intake, route: None })
            }
        }
    }
}

impl PauseOptions {
    fn run(&self, scope: PauseScope) -> Result<(), Failure> {
        let reason = self.reason.as_deref().unwrap_or_default();
        let reason = checked_reason(reason).map_err(|why| Failure::new(Exit::Usage, why))?;
        let seconds = self.time.map(|time| time.as_secs().max(1));
        let request = ControlRequest::Pause(NewPause { scope, seconds, reason });
        let pause: ListedPause = ask_one(&self.config, &request)?;
        if self.json { printed(print_json(&pause)) } else { say!("{}", paused_text(&pause)) }
    }
}

impl ResumeCommand {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let route = self.route.clone();
        let scope = self.part.map(|part| PauseScope { part, route });
        let mut lifted = Vec::new();
        ask(&self.config, &ControlRequest::Resume { scope }, &mut |pause: ListedPause| {
            lifted.push(pause);
            Ok(())
        })?;
        for pause in &lifted {
            if self.json { printed(print_json(pause))? } else { say!("{} goes on.", capital(&name(pause)))? }
        }
        if lifted.is_empty() { Err(Failure::new(Exit::Failed, "there was no such pause")) } else { Ok(()) }
    }
}

/// Returns a line about a pause: what [`said`] says, and how it ends.
pub(super) fn line(pause: &ListedPause) -> String {
    format!("{}; {} ends that", said(pause), ends(pause))
}

/// Returns what is paused, since and until when, by whom and why.
pub(super) fn said(pause: &ListedPause) -> String {
    let ListedPause { by, since, until, reason, .. } = pause;
    let until = until.as_ref().map_or(String::new(), |until| format!(" until {until}"));
    let reason = reason.as_ref().map_or(String::new(), |reason| format!(": {}", Foreign(reason)));
    format!("{} is PAUSED since {since}{until} by {}{reason}", name(pause), Foreign(by))
}

fn paused_text(pause: &ListedPause) -> String {
    let means = match pause.part {
        PausedPart::Delivery => "nothing more is sent; mail is accepted and waits, and none of its time runs",
        PausedPart::Intake => "clients get 451 and try again later; what is in the queue is sent",
    };
    let until = pause.until.as_ref().map_or(String::new(), |until| format!(" until {until}, or"));
    format!("{} is paused{until} until {}: {means}.", capital(&name(pause)), ends(pause))
}

fn name(pause: &ListedPause) -> String {
    let route = pause.route.as_ref().map_or(String::new(), |route| format!(" by route {}", Foreign(route)));
    format!("{}{route}", pause.part)
}

/// Returns the command that lifts it.
pub(super) fn ends(pause: &ListedPause) -> String {
    let route = pause.route.as_ref().map_or(String::new(), |route| format!(" --route {}", Foreign(route)));
    format!("nullmta resume {}{route}", pause.part)
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

fn part(text: &str) -> Result<PausedPart, &'static str> {
    match text {
        "delivery" => Ok(PausedPart::Delivery),
        "intake" => Ok(PausedPart::Intake),
        _ => Err("say delivery or intake"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_said_with_how_it_ends() {
        let pause = ListedPause {
            part: PausedPart::Delivery,
            route: Some("news".into()),
            by: "uid 0 (root)".into(),
            since: "2026-11-29T08:00:00Z".into(),
            until: Some("2026-11-29T10:00:00Z".into()),
            reason: Some("the relay\u{1b} moves".into()),
        };
        assert_eq!(
            line(&pause),
            "delivery by route news is PAUSED since 2026-11-29T08:00:00Z until 2026-11-29T10:00:00Z by uid 0 (root): the \
             relay\\u{1b} moves; nullmta resume delivery --route news ends that"
        );
        assert!(
            paused_text(&pause).starts_with(
                "Delivery by route news is paused until 2026-11-29T10:00:00Z, or until nullmta resume delivery --route news: \
                 nothing more is sent"
            )
        );
    }
}
