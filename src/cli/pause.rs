//! `nullmta pause delivery|intake`, `nullmta resume`: has nothing sent, or no mail taken, for a while.
//!
//! Promises: what is said to be paused, or to go on, is so, over a restart as well. The exit code is 0 if something was paused or
//! goes on; 1 if there was no pause to lift; 64 if the route to pause is none of the daemon's; 75 if it was not written; 77 without the right.
//!
//! Not here: the words for a pause (`pause/words.rs`), who may do it (`admin/control.rs`), what rests in a pause (`standing_orders.rs` says where).

pub(super) mod words;

use std::time::Duration;

use clap::{Args, Subcommand};

use super::ConfigFile;
use super::exit::{Exit, Failure};
use super::output::{printed, say};
use super::queue::{ask, ask_one, print_json};
use super::values::time;
use crate::admin::protocol::{ControlRequest, ListedPause, NewPause};
use crate::log::capitalized;
use crate::standing_orders::{PauseScope, PausedPart, checked_reason};
use words::{name, paused_text};

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
            if self.json {
                printed(print_json(pause))?
            } else {
                say!("{} goes on.", capitalized(&name(pause)))?
            }
        }
        if lifted.is_empty() { Err(Failure::new(Exit::Failed, "there was no such pause")) } else { Ok(()) }
    }
}

fn part(text: &str) -> Result<PausedPart, &'static str> {
    match text {
        "delivery" => Ok(PausedPart::Delivery),
        "intake" => Ok(PausedPart::Intake),
        _ => Err("say delivery or intake"),
    }
}
