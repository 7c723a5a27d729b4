//! `nullmta queue …`: shows the queue, and steers it (`queue/steer.rs`).

mod filter_options;
mod steer;

use std::io::{self, Write};

use clap::{Args, Subcommand};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::ConfigFile;
use super::control_client::{self, AnswerRest, ClientError};
use super::exit::{Exit, Failure};
use super::output::say;
use crate::admin::protocol::{ControlRequest, QueuedMessage, WaitsFor};
use crate::config::{Config, units_of_time};
use crate::log::{Foreign, counted, visible_json};
use crate::spool::OperatorVerb;
use filter_options::FilterOptions;
use steer::Steer;

/// List the queue, and steer it.
#[derive(Subcommand)]
pub(super) enum QueueCommand {
    /// List the messages in the queue, oldest first
    List(QueueList),
    /// Put messages on hold: they are not sent before you release them
    Hold(Steer),
    /// Release messages that are on hold
    Release(Steer),
    /// Try messages now: also those that are held after a refusal, and dead ones
    Retry(Steer),
    /// Return messages to their senders now, as undeliverable
    Expire(Steer),
    /// Delete messages; nobody is told
    Delete(Steer),
}

/// List the messages in the queue.
#[derive(Args)]
pub(super) struct QueueList {
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    which: FilterOptions,
    /// List so many messages at most, the oldest
    #[arg(long, value_name = "NUMBER")]
    limit: Option<u64>,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

impl QueueCommand {
    pub(super) fn run(&self) -> Result<(), Failure> {
        match self {
            QueueCommand::List(list) => list.run(),
            QueueCommand::Hold(steer) => steer.run(OperatorVerb::Hold),
            QueueCommand::Release(steer) => steer.run(OperatorVerb::Release),
            QueueCommand::Retry(steer) => steer.run(OperatorVerb::Retry),
            QueueCommand::Expire(steer) => steer.run(OperatorVerb::Expire),
            QueueCommand::Delete(steer) => steer.run(OperatorVerb::Delete),
        }
    }
}

impl QueueList {
    fn run(&self) -> Result<(), Failure> {
        let mut count = 0;
        let request = ControlRequest::QueueList { filter: self.which.filter(), limit: self.limit };
        let is_filtered = !self.which.filter().is_everything();
        let AnswerRest { hidden, more } = ask(&self.config, &request, |message: QueuedMessage| {
            count += 1;
            if self.json {
                return print_json(&message);
            }
            if count == 1 {
                writeln!(io::stdout(), "{HEADING}")?;
            }
            write!(io::stdout(), "{}", text(&message))
        })?;
        match (self.json, hidden) {
            (true, 0) => {}
            (true, _) => eprintln!("nullmta: {}", of_yours(count, hidden)),
            (false, 0) if count > 0 => {}
            (false, 0) if is_filtered => say!("No message that you may see is as asked for.")?,
            (false, 0) => say!("The queue is empty.")?,
            (false, _) => say!("{}.", of_yours(count, hidden))?,
        }
        if more > 0 && !self.json {
            say!("{} more beyond --limit.", counted(more, "message"))?;
        }
        Ok(())
    }
}

/// Sends `request` to the daemon that the configuration names. The configuration may have errors, since the daemon may
/// still run with an older one. Files that it names are not read: this command needs no secrets. Returns how many items
/// were left out.
pub(super) fn ask<T: DeserializeOwned>(
    file: &ConfigFile,
    request: &ControlRequest,
    each: impl FnMut(T) -> io::Result<()>,
) -> Result<AnswerRest, Failure> {
    let (control, fault) = match Config::read(&file.config) {
        Ok(config) => (config.control, None),
        Err(error) => (Config::control_in(&file.config), Some(error)),
    };
    match (control_client::ask(&control, request, each), fault) {
        // Perhaps nobody answers since the file names another place.
        (Err(ClientError::Unreachable { .. }), Some(fault)) => Err(super::config_failure(fault)),
        (answer, _) => answer.map_err(|error| Failure::new(Exit::of(&error), error)),
    }
}

/// Returns the last line of a listing of `own` messages for a user who may not see `hidden` more.
pub(super) fn of_yours(own: u64, hidden: u64) -> String {
    format!("{own} of yours, {} in all", own + hidden)
}

/// Prints `value` as a JSON object on one line, in which every character is visible.
pub(super) fn print_json(value: &impl Serialize) -> io::Result<()> {
    let line = serde_json::to_string(value)?;
    writeln!(io::stdout(), "{}", visible_json(&line))
}

const HEADING: &str = "QUEUE ID          STATE       AGE      SIZE  FROM -> TO";

/// Returns a line for the message, and a line for each reason.
pub(super) fn text(message: &QueuedMessage) -> String {
    let recipients: Vec<&str> = message.recipients.iter().map(|recipient| &*recipient.address).collect();
    let from = if message.from.is_empty() { "<>" } else { &message.from };
    let uid = message.uid.map_or(String::new(), |uid| format!(" (uid {uid})"));
    let text = format!(
        "{}  {:8} {:>6} {:>9}  {}{uid} -> {}\n",
        message.id,
        message.state,
        age(message.age),
        message.size,
        Foreign(from),
        Foreign(&some_of(&recipients)),
    );
    text + &reasons(message)
}

/// Returns a line for each route by which a message goes and each reason why it is still queued, with its recipients if
/// there are several lines.
fn reasons(message: &QueuedMessage) -> String {
    let groups = message.by_route_and_reason();
    let mut text = String::new();
    for (WaitsFor { route, reason }, recipients) in &groups {
        let route = route.map(|route| format!("route {route}"));
        let whose = Some(some_of(recipients)).filter(|_| groups.len() > 1);
        let reason = reason.map(|reason| format!("({})", Foreign(reason)));
        if route.is_none() && reason.is_none() {
            continue;
        }
        let parts: Vec<String> =
            route.into_iter().chain(whose).map(|part| Foreign(&part).to_string()).collect();
        let parts: Vec<String> = parts.into_iter().chain(reason).collect();
        text += &format!("{:18}{}\n", "", parts.join(": "));
    }
    text
}

/// Returns the first recipients, and the number of the others.
fn some_of(all: &[&str]) -> String {
    const SHOWN: usize = 3;
    let mut text = all[..all.len().min(SHOWN)].join(", ");
    if all.len() > SHOWN {
        text += &format!(" and {} more", all.len() - SHOWN);
    }
    text
}

/// Returns an age in its largest unit up to days, such as `59s`, `3m`, `5h` or `20d`.
fn age(seconds: u64) -> String {
    let mut units = units_of_time().filter(|(unit, _)| *unit != "w");
    let (unit, length) = units.find(|(_, length)| seconds >= *length).unwrap_or(("s", 1));
    format!("{}{unit}", seconds / length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::protocol::{MessageState, QueuedRecipient};

    fn told(address: &str, reason: &str) -> QueuedRecipient {
        QueuedRecipient { address: address.into(), route: None, reason: Some(reason.into()) }
    }

    fn message() -> QueuedMessage {
        QueuedMessage {
            id: "18A4F1C9A02B3D40".into(),
            state: MessageState::Deferred,
            uid: None,
            from: String::new(),
            recipients: ["a@x", "b@x", "c@x", "d@x", "e@x"].map(|to| told(to, "450 4.2.1 busy\r\n")).to_vec(),
            size: 4096,
            arrived: "2026-11-21T02:10:00Z".into(),
            age: 7300,
            next_attempt: None,
            reason: Some("450 4.2.1 busy\r\n".into()),
        }
    }

    #[test]
    fn a_message_is_a_line_and_its_reason() {
        assert_eq!(
            format!("{HEADING}\n{}", text(&message())),
            "QUEUE ID          STATE       AGE      SIZE  FROM -> TO\n\
             18A4F1C9A02B3D40  deferred     2h      4096  <> -> a@x, b@x, c@x and 2 more\n\
             \u{20}                 (450 4.2.1 busy\\r\\n)\n"
        );
        let of_a_user = text(&QueuedMessage { uid: Some(33), from: "app@x".into(), ..message() });
        assert!(
            of_a_user.starts_with("18A4F1C9A02B3D40  deferred     2h      4096  app@x (uid 33) -> a@x"),
            "{of_a_user}"
        );
    }

    /// Of several recipients only the first one's reason was shown.
    #[test]
    fn each_reason_stands_with_its_recipients() {
        let recipients = vec![told("a@x", "450 busy"), told("b@x", "451 later"), told("c@x", "450 busy")];
        let several = QueuedMessage { recipients, ..message() };
        assert_eq!(
            reasons(&several),
            "                  a@x, c@x: (450 busy)\n                  b@x: (451 later)\n"
        );
    }

    /// Nothing said which of several relays a message waits for.
    #[test]
    fn each_route_stands_with_its_recipients() {
        let by = |route: Option<&str>, mut to: QueuedRecipient, reason: bool| {
            to.route = route.map(str::to_owned);
            to.reason = to.reason.filter(|_| reason);
            to
        };
        let recipients = vec![
            by(None, told("a@x", "450 busy"), true),
            by(Some("news"), told("b@x", "mx: connect: refused"), true),
            by(Some("news"), told("c@x", ""), false),
            by(None, told("d@x", ""), false),
        ];
        let several = QueuedMessage { recipients, ..message() };
        assert_eq!(
            reasons(&several),
            "                  a@x: (450 busy)\n                  route news: b@x: (mx: connect: refused)\n\
             \u{20}                 route news: c@x\n"
        );
        let one = |reason| QueuedMessage {
            recipients: vec![by(Some("news"), told("b@x", "450 busy"), reason)],
            ..message()
        };
        assert_eq!(reasons(&one(true)), "                  route news: (450 busy)\n");
        assert_eq!(reasons(&one(false)), "                  route news\n");
    }

    #[test]
    fn ages_in_their_largest_unit() {
        let cases = [(0, "0s"), (59, "59s"), (60, "1m"), (3600, "1h"), (86_399, "23h"), (500_000, "5d")];
        for (seconds, text) in cases {
            assert_eq!(age(seconds), text);
        }
    }
}
