//! `nullmta trace`: what the daemon says to relays and clients, and they to it, while it is said.
//!
//! Promises: it ends by itself. Text from outside cannot control a terminal or forge a line. Memory is bounded, with `--from` too
//! ([`Held`]). No secret is in it, since none reaches it (`trace.rs`).
//!
//! Not here: who may trace (`admin/control.rs`).

use std::collections::BTreeMap;
use std::io::{self, Write};

use clap::Args;

use super::ConfigFile;
use super::exit::Failure;
use super::queue::{ask, print_json};
use crate::admin::protocol::ControlRequest;
use crate::admin::trace::{LONGEST, TracePart};
use crate::filter::Glob;
use crate::log::Foreign;
use crate::trace::{TracedLine, TracedSide, TracedSpeaker};

/// The most lines of a connection that wait until its reverse-path is known.
const HELD_LINES: usize = 40;
/// The most connections that are remembered; the oldest go first.
const HELD_CONNECTIONS: usize = 1000;

/// Show the dialogues with relays and clients as they happen, without secrets and content; it ends by itself
#[derive(Args)]
pub(super) struct TraceCommand {
    #[command(flatten)]
    config: ConfigFile,
    /// Only those with relays
    #[arg(long, conflicts_with = "listener")]
    relay: bool,
    /// Only those with clients
    #[arg(long)]
    listener: bool,
    /// Only transactions with this reverse-path; * stands for any text
    #[arg(long, value_name = "PATTERN")]
    from: Option<Glob>,
    /// Trace for so many seconds
    #[arg(long, value_name = "NUMBER", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=LONGEST.as_secs()))]
    seconds: u64,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

impl TraceCommand {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let request = ControlRequest::Trace { side: self.side(), seconds: self.seconds };
        let mut held = self.from.as_ref().map(|pattern| Held { pattern, connections: BTreeMap::new() });
        let mut count = 0;
        ask(&self.config, &request, &mut |part: TracePart| match part {
            TracePart::Line(line) => {
                let wanted = match &mut held {
                    Some(held) => held.take(*line),
                    None => vec![*line],
                };
                count += wanted.len();
                wanted.iter().try_for_each(|line| self.print(line))
            }
            TracePart::Missed(missed) => self.missed(missed),
        })?;
        if count == 0 {
            let time = self.seconds;
            eprintln!(
                "nullmta: nothing was said within {time} s; nullmta test, or flush, makes a dialogue with the relay"
            );
        }
        Ok(())
    }

    fn side(&self) -> Option<TracedSide> {
        match (self.relay, self.listener) {
            (true, _) => Some(TracedSide::Relay),
            (false, true) => Some(TracedSide::Listener),
            (false, false) => None,
        }
    }

    fn print(&self, line: &TracedLine) -> io::Result<()> {
        if self.json {
            return print_json(line);
        }
        writeln!(io::stdout(), "{}", shown(line))
    }

    fn missed(&self, missed: u64) -> io::Result<()> {
        if self.json {
            return print_json(&serde_json::json!({ "missed": missed }));
        }
        writeln!(io::stdout(), "({missed} lines were missed: more is said than can be shown)")
    }
}

/// Returns the line as it is printed.
fn shown(line: &TracedLine) -> String {
    let TracedLine { time, dialogue, connection, peer, id, by, text } = line;
    let (side, arrow) = match (dialogue, by) {
        (TracedSide::Relay, TracedSpeaker::Us) => ("relay", "->"),
        (TracedSide::Relay, TracedSpeaker::Them) => ("relay", "<-"),
        (TracedSide::Listener, TracedSpeaker::Us) => ("client", "->"),
        (TracedSide::Listener, TracedSpeaker::Them) => ("client", "<-"),
    };
    let id = id.map_or(String::new(), |id| format!(" {id}"));
    let (time, peer, text) = (Foreign(time), Foreign(peer), Foreign(text));
    format!("{time} {side} {connection} {peer}{id} {arrow} {text}")
}

/// The lines of connections whose reverse-path is not known yet.
struct Held<'a> {
    pattern: &'a Glob,
    connections: BTreeMap<u64, HeldConnection>,
}

enum HeldConnection {
    /// No transaction has begun; holds what was said so far.
    Opening(Vec<TracedLine>),
    /// One has begun.
    Transaction { is_wanted: bool },
}

impl Held<'_> {
    /// Takes a line. Returns the lines that are wanted now: this one, and those that led to it.
    fn take(&mut self, line: TracedLine) -> Vec<TracedLine> {
        let begun = reverse_path_in(&line).map(|path| self.pattern.matches_address(path));
        let known =
            self.connections.entry(line.connection).or_insert_with(|| HeldConnection::Opening(Vec::new()));
        let wanted = known.take(begun, line);
        if self.connections.len() > HELD_CONNECTIONS {
            self.connections.pop_first();
        }
        wanted
    }
}

impl HeldConnection {
    /// Takes a line; `begun` says whether it begins a transaction, and whether that is wanted. Returns the lines that are wanted
    /// now.
    fn take(&mut self, begun: Option<bool>, line: TracedLine) -> Vec<TracedLine> {
        let opening = match (&mut *self, begun) {
            (HeldConnection::Opening(lines), None) => {
                if lines.len() < HELD_LINES {
                    lines.push(line);
                }
                return Vec::new();
            }
            (HeldConnection::Opening(lines), Some(true)) => std::mem::take(lines),
            _ => Vec::new(),
        };
        if let Some(is_wanted) = begun {
            *self = HeldConnection::Transaction { is_wanted };
        }
        let is_wanted = matches!(self, HeldConnection::Transaction { is_wanted: true });
        opening.into_iter().chain(is_wanted.then_some(line)).collect()
    }
}

/// Returns the reverse-path of the transaction that this line begins; `<>` for the null one.
fn reverse_path_in(line: &TracedLine) -> Option<&str> {
    const BEGINS: &str = "MAIL FROM:";
    let (verb, path) = line.text.split_at_checked(BEGINS.len())?;
    let is_client = (line.dialogue, line.by) == (TracedSide::Relay, TracedSpeaker::Us)
        || (line.dialogue, line.by) == (TracedSide::Listener, TracedSpeaker::Them);
    let path =
        path.trim_start().strip_prefix('<').filter(|_| is_client && verb.eq_ignore_ascii_case(BEGINS))?;
    let path = path.split_once('>').map_or(path, |(path, _)| path);
    Some(if path.is_empty() { "<>" } else { path })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(connection: u64, by: TracedSpeaker, text: &str) -> TracedLine {
        TracedLine {
            time: "2026-11-29T10:00:00.000Z".into(),
            dialogue: TracedSide::Relay,
            connection,
            peer: "mx.example.net[192.0.2.5]:587".into(),
            id: None,
            by,
            text: text.into(),
        }
    }

    #[test]
    fn a_line_says_when_who_and_what_and_controls_no_terminal() {
        let told = shown(&line(7, TracedSpeaker::Them, "250 ok\u{1b}[2J"));
        assert_eq!(
            told,
            "2026-11-29T10:00:00.000Z relay 7 mx.example.net[192.0.2.5]:587 <- 250 ok\\u{1b}[2J"
        );
    }

    #[test]
    fn only_wanted_transactions_are_shown_with_what_led_to_them() {
        let pattern: Glob = "shop@*".parse().unwrap();
        let mut held = Held { pattern: &pattern, connections: BTreeMap::new() };
        let mut texts = Vec::new();
        for (connection, by, text) in [
            (1, TracedSpeaker::Them, "220 mx"),
            (2, TracedSpeaker::Them, "220 other"),
            (1, TracedSpeaker::Us, "MAIL FROM:<shop@example.org> SIZE=12"),
            (2, TracedSpeaker::Us, "MAIL FROM:<ann@example.org>"),
            (1, TracedSpeaker::Them, "250 ok"),
            (2, TracedSpeaker::Them, "250 MAIL FROM:<shop@example.org>"),
            (1, TracedSpeaker::Us, "MAIL FROM:<>"),
            (1, TracedSpeaker::Them, "250 no more"),
            (2, TracedSpeaker::Us, "mail from:<shop@example.org>"),
        ] {
            texts.extend(held.take(line(connection, by, text)).into_iter().map(|line| line.text));
        }
        assert_eq!(
            texts,
            ["220 mx", "MAIL FROM:<shop@example.org> SIZE=12", "250 ok", "mail from:<shop@example.org>"]
        );
    }

    #[test]
    fn what_is_held_is_bounded() {
        let pattern: Glob = "nobody@*".parse().unwrap();
        let mut held = Held { pattern: &pattern, connections: BTreeMap::new() };
        for connection in 0..3 * HELD_CONNECTIONS as u64 {
            for _ in 0..2 * HELD_LINES {
                assert!(held.take(line(connection, TracedSpeaker::Us, "NOOP")).is_empty());
            }
        }
        assert!(held.connections.len() <= HELD_CONNECTIONS);
        let lines = |known: &HeldConnection| match known {
            HeldConnection::Opening(lines) => lines.len(),
            HeldConnection::Transaction { .. } => 0,
        };
        assert!(held.connections.values().all(|known| lines(known) <= HELD_LINES));
    }
}
