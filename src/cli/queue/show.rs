//! `nullmta queue show`: what there is to know of a message: its envelope, what became of each recipient, what its header says,
//! and its parts.
//!
//! Promises: text from outside cannot forge a line or control a terminal. Every message is shown that there is; then the exit code
//! is 1 if one was not there, or not to be read.
//!
//! Not here: the content as it is (`cat.rs`), reading it (`outline.rs`), who may see what (`admin/reading.rs`).

use std::io::{self, BufWriter, Write};

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::super::ConfigFile;
use super::super::exit::Failure;
use super::super::output::printed;
use super::fetch::{Fetched, MessageSource, absent, unreadable};
use super::layout::until;
use super::outline::{ContentOutline, PartOutline, Person};
use super::write_json;
use crate::admin::detail::{MessageDetail, RecipientDetail};
use crate::log::{Foreign, age_in_words, counted};
use crate::queue_id::QueueId;
use crate::spool::OperatorVerb;

/// The most octets of a content in which parts are sought.
const LOOKED_AT: u64 = 64 << 20;
/// The number of people that are named in each field.
const NAMED: usize = 10;

/// Show messages.
#[derive(Args)]
pub(in crate::cli) struct QueueShow {
    #[command(flatten)]
    config: ConfigFile,
    /// The queue ids of the messages
    #[arg(value_name = "ID", required = true)]
    ids: Vec<QueueId>,
    /// Print one JSON object a line, for each message
    #[arg(long)]
    json: bool,
}

/// A message as it is printed with `--json`.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct ShownMessage<'a> {
    #[serde(flatten)]
    message: &'a MessageDetail,
    content: &'a ContentOutline,
}

impl QueueShow {
    pub(in crate::cli) fn run(&self) -> Result<(), Failure> {
        let mut out = BufWriter::new(io::stdout().lock());
        let mut source = MessageSource::of(&self.config);
        let (mut outcome, mut gap) = (Ok(()), "");
        for id in &self.ids {
            match source.fetch(*id, LOOKED_AT)? {
                Fetched::Message(message, content) => {
                    let is_whole = content.len() as u64 == message.size;
                    let content = ContentOutline::of(&content, is_whole);
                    printed(self.print(&mut out, gap, &message, &content))?;
                    gap = "\n";
                }
                Fetched::Unreadable(why) => outcome = told(outcome, unreadable(*id, &why)),
                Fetched::Absent => outcome = told(outcome, absent(*id)),
            }
        }
        printed(out.flush())?;
        outcome
    }

    fn print(
        &self,
        out: &mut impl Write,
        gap: &str,
        message: &MessageDetail,
        content: &ContentOutline,
    ) -> io::Result<()> {
        if self.json {
            return write_json(out, &ShownMessage { message, content });
        }
        write!(out, "{gap}{}", text(message, content, Timestamp::now()))
    }
}

/// Prints the failure before this one, and returns this one.
fn told(before: Result<(), Failure>, failure: Failure) -> Result<(), Failure> {
    if let Err(before) = before {
        eprintln!("nullmta: {before}");
    }
    Err(failure)
}

fn text(message: &MessageDetail, content: &ContentOutline, now: Timestamp) -> String {
    let mut text = envelope(message, now);
    message.recipients.iter().for_each(|one| text += &recipient(one));
    text += &header(content);
    if !content.header_complete {
        text += "  the header is longer than 64 KiB: what stands behind that is not shown here\n";
    }
    text += "\n";
    content.parts.iter().for_each(|one| text += &part(one));
    if !content.complete {
        text += "  there is more: not all parts were looked for\n";
    }
    text
}

/// Returns a line with this name and this foreign value.
fn line(name: &str, value: &str) -> String {
    format!("  {name:12}{}\n", Foreign(value))
}

fn envelope(message: &MessageDetail, now: Timestamp) -> String {
    let MessageDetail {
        id, state, held_by, marked, uid, came_by, from, original_from, size, arrived, ..
    } = message;
    let by = match &**came_by {
        "socket" => "by sendmail or the socket",
        "tcp" => "by TCP",
        _ => "from nullmta itself",
    };
    let uid = uid.map_or(String::new(), |uid| format!(", uid {uid}"));
    let held_by =
        held_by.as_ref().map_or(String::new(), |by| format!(", held by {}", Foreign(&by.to_string())));
    let marked = marked.map_or("", to_be);
    let assigned = message.assigned_route.as_deref().map_or(String::new(), |route| match route {
        "" => ", assigned to the relayhost of no route".to_owned(),
        route => format!(", assigned to route {}", Foreign(route)),
    });
    let mut text = format!("{id} {state}{held_by}{assigned}{marked}\n");
    text += &line("accepted", &format!("{arrived}, {} ago, {by}{uid}", age_in_words(message.age)));
    if let Some(due) = &message.next_attempt {
        let left = until(due, now).map_or(String::new(), |seconds| format!(", in {}", age_in_words(seconds)));
        text += &line("next try", &format!("{due}{left}"));
    }
    let given = original_from.as_ref().map_or(String::new(), |given| format!(" (given as {given})"));
    text += &line("from", &format!("{}{given}", if from.is_empty() { "<>" } else { from }));
    text + &line("size", &counted(*size, "octet"))
}

/// Returns what is ordered about a message that is under way, as text to append.
pub(super) fn to_be(verb: OperatorVerb) -> &'static str {
    match verb {
        OperatorVerb::Hold => ", to be put on hold when the relay has answered",
        OperatorVerb::Release => ", to be released when the relay has answered",
        OperatorVerb::Retry => ", to be tried again when the relay has answered",
        OperatorVerb::Expire => ", to be returned when the relay has answered",
        OperatorVerb::Route => ", to be routed when the relay has answered",
        OperatorVerb::Delete => ", to be deleted when the relay has answered",
    }
}

/// Returns the lines about a recipient: what became of it, and why it is still here.
fn recipient(recipient: &RecipientDetail) -> String {
    let RecipientDetail { address, original, state, route, attempts, last_reply, reason } = recipient;
    let original =
        original.as_ref().map_or(String::new(), |original| format!(" (given as {})", Foreign(original)));
    let route = route.as_ref().map_or(String::new(), |route| format!(" by route {}", Foreign(route)));
    let attempts =
        attempts.map_or(String::new(), |times| format!(", {} with a reply", counted(times, "attempt")));
    let mut text =
        format!("  {:12}{}{original}{route}: {}{attempts}\n", "to", Foreign(address), Foreign(state));
    if let Some(reply) = last_reply {
        text += &format!("{:14}last reply: {}\n", "", Foreign(reply));
    }
    if let Some(reason) = reason.as_ref().filter(|reason| Some(*reason) != last_reply.as_ref()) {
        text += &format!("{:14}{}\n", "", Foreign(reason));
    }
    text
}

/// Returns the lines about what the header says.
fn header(content: &ContentOutline) -> String {
    let ContentOutline { subject, date, message_id, from, reply_to, to, cc, .. } = content;
    let id = message_id.as_ref().map(|id| format!("<{id}>"));
    let mut text = "\n".to_owned();
    for (name, value) in [
        ("Subject:", subject.clone()),
        ("Date:", date.clone()),
        ("From:", people(from)),
        ("Reply-To:", people(reply_to)),
        ("To:", people(to)),
        ("Cc:", people(cc)),
        ("Message-ID:", id),
    ] {
        text += &value.map_or(String::new(), |value| line(name, &value));
    }
    text
}

/// Returns the first people, and the number of the others; `None` if there are none.
fn people(all: &[Person]) -> Option<String> {
    let name = |person: &Person| match (&person.name, &person.address) {
        (Some(name), Some(address)) => format!("{name} <{address}>"),
        (name, address) => name.clone().or_else(|| address.clone()).unwrap_or_default(),
    };
    let names: Vec<String> = all.iter().take(NAMED).map(name).collect();
    let more = all.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!all.is_empty()).then(|| names.join(", ") + &more)
}

fn part(PartOutline { place, kind, name, size }: &PartOutline) -> String {
    let name = name.as_ref().map_or(String::new(), |name| format!("  {}", Foreign(name)));
    format!("  {place:12}{:28} {:>12}{name}\n", Foreign(kind).to_string(), counted(*size, "octet"))
}

#[cfg(test)]
mod tests;
