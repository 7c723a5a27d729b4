//! The first part of a DSN: the text for people, in plain words, on one screen.
//!
//! Promises: it says what happened, to which recipient, what the relay replied, and what to do, in that order. Lines
//! have less than 78 columns unless a word is longer, and never more than 998 octets. Text from others is on indented
//! lines, limited in length and without control characters, so that it cannot be taken for ours.
//!
//! Not here: translations; the report for programs (`report.rs`), which lists every recipient.

use super::returned::returns_whole;
use super::{Affected, Dsn, DsnKind, DsnPart};
use crate::envelope::{Address, MAX_ADDRESS_OCTETS, ReversePath};
use crate::message::date::rfc5322_at;
use crate::message::fold::{one_line, pieces};
use crate::status::Status;

/// The most recipients that are listed, so that the text fits on a screen. The report lists all.
const MAX_LISTED: usize = 8;

/// The longest reply of a relay that is quoted, in octets.
const MAX_SAID_OCTETS: usize = 500;

/// The length at which lines are broken.
const COLUMNS: usize = 76;

pub(super) fn part(dsn: &Dsn<'_>) -> DsnPart {
    let mut text = Text::default();
    text.paragraph(&format!("This is the mail system at host {}.", dsn.hostname));
    text.paragraph(&happened(dsn));
    let is_for_one = dsn.original.envelope.recipients.len() == 1;
    for affected in dsn.affected.iter().take(MAX_LISTED) {
        text.recipient(affected, is_for_one);
    }
    if let Some(more @ 1..) = dsn.affected.len().checked_sub(MAX_LISTED) {
        text.paragraph(&format!("... and {more} more, all listed in the second part of this report."));
    }
    text.paragraph(&to_do(dsn));
    text.paragraph(&identification(dsn));
    let content_type = match text.0.is_ascii() {
        true => "text/plain; charset=us-ascii",
        false => "text/plain; charset=utf-8",
    };
    DsnPart { description: "Notification", content_type, body: text.0.into_bytes() }
}

fn happened(dsn: &Dsn<'_>) -> String {
    let message = match &dsn.original.envelope.reverse_path {
        _ if !dsn.is_postmaster_copy() => "Your message".to_owned(),
        ReversePath::Null => "A message from <>, as reports like this one are,".to_owned(),
        ReversePath::Mailbox(address) => format!("A message from <{}>", shown(address)),
    };
    let whom = match dsn.affected.len() {
        1 => "the recipient below".to_owned(),
        many => format!("the {many} recipients below"),
    };
    match dsn.kind {
        DsnKind::Failed => {
            format!("{message} could not be delivered to {whom}. It will not be tried again.")
        }
        DsnKind::Delayed { retrying_until } => format!(
            "THIS IS ONLY A WARNING: NOTHING NEEDS TO BE SENT AGAIN. {message} could not be delivered to \
             {whom} yet. It will be tried until {}.",
            rfc5322_at(retrying_until, dsn.now)
        ),
        DsnKind::Relayed => format!(
            "{message} was handed on for {whom}. The next mail system does not confirm delivery: \
             this is the last you hear unless something goes wrong."
        ),
    }
}

fn to_do(dsn: &Dsn<'_>) -> String {
    match dsn.kind {
        DsnKind::Failed => format!("What you can do: {}", common_advice(dsn.affected)),
        DsnKind::Delayed { .. } => {
            "What you can do: wait. You will be told if the message cannot be delivered in the end."
                .to_owned()
        }
        DsnKind::Relayed => "There is nothing you need to do.".to_owned(),
    }
}

/// Returns one advice for all recipients; the general one if they need different ones.
fn common_advice(affected: &[Affected<'_>]) -> &'static str {
    let mut advices = affected.iter().map(|affected| advice(affected.status));
    let first = advices.next().unwrap_or(GENERAL_ADVICE);
    if advices.all(|advice| advice == first) { first } else { GENERAL_ADVICE }
}

/// The text for a message whose outcome is not known, since its final dot was sent.
const MAY_HAVE_ARRIVED: &str = "The whole message was sent and the connection lost before the answer came: it may \
                                have been delivered all the same, more than once even.";

/// The same for a message to several recipients, which may have been sent in several parts.
const MAY_HAVE_ARRIVED_AT_SOME: &str = "The message was sent, to some or all of its recipients, and the connection lost before \
                                        the answer came: it may have been delivered all the same, to this one or to \
                                        others, more than once even.";

const GENERAL_ADVICE: &str = "put right what is complained about above, and send the message again.";

/// Returns the advice for a status, by its subject and detail (RFC 3463 3).
fn advice(status: Status) -> &'static str {
    let numbers = status.to_string();
    match numbers.get(2..).unwrap_or_default() {
        "1.1" | "1.2" | "1.3" | "1.6" | "1.10" => {
            "check the address for typing mistakes, and send the message again to the right one."
        }
        "2.2" => "the mailbox is full: try again later, or reach the recipient in another way.",
        "2.3" | "3.4" => {
            "the message is too large: make it smaller, or share its attachments in another way."
        }
        rest if rest.starts_with("4.") => {
            "nothing is known to be wrong with the message: send it again later, or ask the administrator."
        }
        rest if rest.starts_with("7.") => {
            "the receiving side refuses the message by its rules; what it said above may tell why. \
             Show this report to your administrator if it does not."
        }
        _ => GENERAL_ADVICE,
    }
}

fn identification(dsn: &Dsn<'_>) -> String {
    let original = dsn.original;
    let attached = if returns_whole(dsn) { "The message" } else { "The header of the message" };
    format!(
        "{attached} is attached. It arrived here on {} and had the queue id {}; the administrator of {} finds \
         it in the log by this.",
        rfc5322_at(original.arrived, dsn.now),
        original.queue_id,
        dsn.hostname
    )
}

/// Returns an address without characters that would change how the text around it is shown.
fn shown(address: &Address) -> String {
    one_line(address.as_str(), MAX_ADDRESS_OCTETS)
}

/// Text whose lines end with CRLF.
#[derive(Default)]
struct Text(String);

impl Text {
    fn paragraph(&mut self, words: &str) {
        self.blank_line();
        self.wrapped("", words);
    }

    /// Adds what became of a recipient; `is_for_one` says that the message has no other.
    fn recipient(&mut self, affected: &Affected<'_>, is_for_one: bool) {
        self.blank_line();
        let recipient = affected.recipient;
        self.wrapped("  ", &format!("<{}>", shown(&recipient.address)));
        if let Some(original) = &recipient.original {
            self.wrapped("    ", &format!("(you wrote <{}>)", shown(original)));
        }
        let said = one_line(affected.diagnostic, MAX_SAID_OCTETS);
        let said = if said.is_empty() { "no reason was given".to_owned() } else { said };
        let remote_mta = affected.remote_mta.map(|name| one_line(name, MAX_SAID_OCTETS));
        match (affected.from_relay, remote_mta) {
            (true, Some(name)) => self.wrapped("    ", &format!("{name} said: {said}")),
            (true, None) => self.wrapped("    ", &format!("the relay said: {said}")),
            (false, _) => self.wrapped("    ", &said),
        }
        if affected.may_have_arrived {
            let words = if is_for_one { MAY_HAVE_ARRIVED } else { MAY_HAVE_ARRIVED_AT_SOME };
            self.wrapped("    ", words);
        }
    }

    fn blank_line(&mut self) {
        if !self.0.is_empty() {
            self.0.push_str("\r\n");
        }
    }

    fn wrapped(&mut self, indent: &str, words: &str) {
        let mut line = indent.to_owned();
        for word in words.split_whitespace().flat_map(pieces) {
            if line.len() > indent.len() && line.len() + 1 + word.len() > COLUMNS {
                self.line(&line);
                line.truncate(indent.len());
            }
            if line.len() > indent.len() {
                line.push(' ');
            }
            line.push_str(word);
        }
        self.line(&line);
    }

    fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push_str("\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_follows_from_the_status() {
        let cases = [
            (Status::permanent(1, 1), "check the address"),
            (Status::permanent(1, 10), "check the address"),
            (Status::permanent(1, 8), GENERAL_ADVICE),
            (Status::permanent(2, 2), "the mailbox is full"),
            (Status::permanent(3, 4), "the message is too large"),
            (Status::transient(4, 7), "nothing is known to be wrong"),
            (Status::permanent(7, 1), "the receiving side refuses"),
            (Status::permanent(0, 0), GENERAL_ADVICE),
        ];
        for (status, expected) in cases {
            assert!(advice(status).starts_with(expected), "{status}: {}", advice(status));
        }
    }

    #[test]
    fn lines_are_wrapped_and_indented() {
        let mut text = Text::default();
        text.wrapped("    ", &"word ".repeat(40));
        assert!(
            text.0.lines().all(|line| line.len() <= COLUMNS && line.starts_with("    word")),
            "{}",
            text.0
        );
        assert_eq!(text.0.split_whitespace().count(), 40);
        assert!(text.0.ends_with("\r\n"));
    }
}
