//! `nullmta queue …`: lists the queue (`queue/list.rs`), shows messages of it (`queue/show.rs`, `queue/cat.rs`),
//! counts them (`queue/shape.rs`), watches it (`queue/watch.rs`), and steers them (`queue/steer.rs`, `queue/hold_rules.rs`).

mod cat;
mod fetch;
mod filter_options;
pub(super) mod hold_rules;
mod layout;
mod list;
mod offline;
mod outline;
mod shape;
mod show;
mod steer;
mod watch;

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::ConfigFile;
use super::control_client::{self, AnswerReader, AnswerRest, ClientError};
use super::exit::{Exit, Failure};
use crate::admin::from_spool::QueueOnSpool;
use crate::admin::protocol::{ControlRequest, QueuedMessage};
use crate::config::{Config, ConfigError};
use crate::log::visible_json;
use crate::spool::OperatorVerb;
use cat::QueueCat;
use hold_rules::{HoldCommand, ReleaseCommand};
use layout::Layout;
use list::QueueList;
use shape::QueueShape;
use show::QueueShow;
use steer::{RouteCommand, Steer};
use watch::QueueWatch;

/// The number of queue ids that are sent in one request.
const AT_A_TIME: usize = 2000;

/// List the queue, and steer it.
#[derive(Subcommand)]
pub(super) enum QueueCommand {
    /// List the messages in the queue, oldest first
    List(QueueList),
    /// Show messages in full: who and what, each recipient's state and last reply, and the parts
    Show(QueueShow),
    /// Print the content of a message, octet by octet
    Cat(QueueCat),
    /// Count messages by age and reason, domain, submitter or route
    Shape(QueueShape),
    Watch(QueueWatch),
    /// Put messages on hold: they are not sent before you release them; with --new, mail that is still to come
    Hold(HoldCommand),
    /// Release messages that are on hold; with --new, lift the rules that put new mail on hold
    Release(ReleaseCommand),
    /// Try messages now: also those that are held after a refusal, and dead ones
    Retry(Steer),
    /// Have messages go by another route
    Route(RouteCommand),
    /// Return messages to their senders now, as undeliverable
    Expire(Steer),
    /// Delete messages; nobody is told
    Delete(Steer),
}

impl QueueCommand {
    pub(super) fn run(&self) -> Result<(), Failure> {
        match self {
            QueueCommand::List(list) => list.run(),
            QueueCommand::Show(show) => show.run(),
            QueueCommand::Cat(cat) => cat.run(),
            QueueCommand::Shape(shape) => shape.run(),
            QueueCommand::Watch(watch) => watch.run(),
            QueueCommand::Hold(hold) => hold.run(),
            QueueCommand::Release(release) => release.run(),
            QueueCommand::Retry(steer) => steer.run(OperatorVerb::Retry),
            QueueCommand::Route(route) => route.run(),
            QueueCommand::Expire(steer) => steer.run(OperatorVerb::Expire),
            QueueCommand::Delete(steer) => steer.run(OperatorVerb::Delete),
        }
    }
}

/// Sends `request` to the daemon that the configuration names. The configuration may have errors, since the daemon may
/// still run with an older one. Files that it names are not read: this command needs no secrets. Returns how many items
/// were left out.
pub(super) fn ask<T: DeserializeOwned>(
    file: &ConfigFile,
    request: &ControlRequest,
    reader: &mut impl AnswerReader<T>,
) -> Result<AnswerRest, Failure> {
    ask_daemon(file, request, reader).map_err(|no_answer| match no_answer {
        // Perhaps nobody answers since the file names another place.
        NoAnswer { error: ClientError::Unreachable { .. }, config: Err(fault) } => {
            super::config_failure(fault)
        }
        NoAnswer { error, .. } => Failure::new(Exit::of(&error), error),
    })
}

/// Sends a request whose answer is one item. Returns it.
pub(super) fn ask_one<T: DeserializeOwned>(
    file: &ConfigFile,
    request: &ControlRequest,
) -> Result<T, Failure> {
    let mut answer = None;
    ask(file, request, &mut |item| {
        answer = Some(item);
        Ok(())
    })?;
    answer.ok_or_else(stopping)
}

/// Does the same in less time. If no daemon runs, gives the queue on the spool beside the failure, if this user may read it.
pub(super) fn ask_one_within<T: DeserializeOwned>(
    patience: Duration,
    file: &ConfigFile,
    request: &ControlRequest,
) -> Result<T, (Failure, Option<Box<QueueOnSpool>>)> {
    let mut answer = None;
    let asked = ask_daemon_within(patience, file, request, &mut |item| {
        answer = Some(item);
        Ok(())
    });
    match asked {
        Ok(_) => answer.ok_or_else(|| (stopping(), None)),
        Err(NoAnswer { error: ClientError::Unreachable { .. }, config: Err(fault) }) => {
            Err((super::config_failure(fault), None))
        }
        Err(NoAnswer { error: error @ ClientError::Unreachable { .. }, config: Ok(config) }) => {
            Err((Failure::new(Exit::of(&error), error), QueueOnSpool::read(&config.spool).ok().map(Box::new)))
        }
        Err(NoAnswer { error, .. }) => Err((Failure::new(Exit::of(&error), error), None)),
    }
}

/// Returns the failure of a request that a daemon does not answer, since it is stopping.
pub(super) fn stopping() -> Failure {
    Failure::new(Exit::Unavailable, "the daemon is stopping")
}

/// The answer to a request that the spool can answer, too.
pub(super) enum QueueAnswered {
    /// The daemon has answered; holds what it left out.
    ByDaemon(AnswerRest),
    /// No daemon runs: here is the queue on the spool.
    OnSpool(Box<QueueOnSpool>),
}

/// Sends `request` to the daemon; if none runs, reads the spool, and says so on standard error.
pub(super) fn ask_or_read<T: DeserializeOwned>(
    file: &ConfigFile,
    request: &ControlRequest,
    reader: &mut impl AnswerReader<T>,
) -> Result<QueueAnswered, Failure> {
    match ask_daemon(file, request, reader) {
        Ok(rest) => Ok(QueueAnswered::ByDaemon(rest)),
        Err(NoAnswer { error: error @ ClientError::Unreachable { .. }, config }) => {
            let spool = match config {
                Ok(config) => config.spool,
                Err(fault) => despite(file, fault)?,
            };
            offline::open(&spool, &error).map(|queue| QueueAnswered::OnSpool(Box::new(queue)))
        }
        Err(NoAnswer { error, .. }) => Err(Failure::new(Exit::of(&error), error)),
    }
}

/// Returns the spool that a configuration with a fault names all the same, where that is certain, and says what is wrong.
fn despite(file: &ConfigFile, fault: ConfigError) -> Result<PathBuf, Failure> {
    let spool = Config::spool_in(&file.config);
    let failure = super::config_failure(fault);
    match spool {
        Some(spool) => {
            eprintln!("nullmta: {failure}");
            Ok(spool)
        }
        None => Err(failure),
    }
}

/// The daemon did not answer a request, and this is the configuration by which it was looked for.
struct NoAnswer {
    error: ClientError,
    config: Result<Box<Config>, ConfigError>,
}

fn ask_daemon<T: DeserializeOwned>(
    file: &ConfigFile,
    request: &ControlRequest,
    reader: &mut impl AnswerReader<T>,
) -> Result<AnswerRest, NoAnswer> {
    ask_daemon_within(control_client::PATIENCE, file, request, reader)
}

fn ask_daemon_within<T: DeserializeOwned>(
    patience: Duration,
    file: &ConfigFile,
    request: &ControlRequest,
    reader: &mut impl AnswerReader<T>,
) -> Result<AnswerRest, NoAnswer> {
    let config = Config::read(&file.config).map(Box::new);
    let control = match &config {
        Ok(config) => config.control.clone(),
        Err(_) => Config::control_in(&file.config),
    };
    control_client::ask_within(patience, &control, request, reader)
        .map_err(|error| NoAnswer { error, config })
}

/// Returns the last line of a listing of `own` messages for a user who may not see `hidden` more.
pub(super) fn of_yours(own: u64, hidden: u64) -> String {
    format!("{own} of yours, {} in all", own + hidden)
}

/// Prints `value` as a JSON object on one line, in which every character is visible.
pub(super) fn print_json(value: &impl Serialize) -> io::Result<()> {
    write_json(&mut io::stdout(), value)
}

/// Does the same to `out`.
fn write_json(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    let line = serde_json::to_string(value)?;
    writeln!(out, "{}", visible_json(&line))
}

/// Returns the lines about a message, as in a listing that is not cut.
pub(super) fn text(message: &QueuedMessage) -> String {
    Layout { width: None, relays: Vec::new() }.message(message, Timestamp::now())
}
