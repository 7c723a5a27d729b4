//! `nullmta log`: the story of a message, from the journal or from a file of the log: its lines in their order, and behind them the
//! story of each report (DSN) about it.
//!
//! Promises
//! 1. Every line about a message that is meant is printed, once, in the order of the log.
//! 2. Memory is bounded, however large the log is (`log/stories.rs`); what is left out for that is said.
//! 3. Text from the log cannot control a terminal or forge a line, also if the file is not what it seems to be.
//! 4. No line about it is exit code 1, with words that say how far back the log reaches. A log that this user may not read is 77, and
//!    never looks like an empty one.
//!
//! Not here: the form of a line (`log/line.rs`), what a line is about (`log/wanted.rs`), where lines come from (`log/source.rs`).

mod line;
mod since;
mod source;
mod stories;
mod wanted;

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::ConfigFile;
use super::exit::{Exit, Failure};
use super::output::printed;
use crate::config::{self, Config};
use crate::log::{Foreign, Redactor, visible_json};
use crate::queue_id::QueueId;
use crate::spool::LogKey;
use line::StoryLine;
use since::Since;
use source::{LineSource, SourceError};
use stories::{LogReach, StoryBook};
use wanted::Wanted;

/// Show the story of a message, from the journal or a file of the log: its lines in order, and behind them those of the reports about it
#[derive(Args)]
pub(super) struct LogCommand {
    #[command(flatten)]
    config: ConfigFile,
    /// A queue id, a Message-ID, or an address: then each message from or to it
    #[arg(value_name = "ID|MESSAGE-ID|ADDRESS")]
    wanted: Wanted,
    /// Look only at what was logged since then: an age such as 2h or 3d, or a time such as "2026-11-29 10:00"
    #[arg(long, value_name = "TIME")]
    since: Option<Since>,
    /// Read this file instead of the journal: a log of nullmta as text or JSON, or of syslog
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// A line as it is printed with `--json`.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct PrintedLine<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    time: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    level: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<QueueId>,
    /// The message that this one is a report about.
    #[serde(skip_serializing_if = "Option::is_none")]
    report_about: Option<QueueId>,
    text: &'a str,
}

impl LogCommand {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let source = LineSource::of(self.file.as_deref(), self.since.map(Since::time)).map_err(failure)?;
        let key = self.key();
        let wanted = match &key {
            Ok(key) => self.wanted.clone().or_hidden(&Redactor::new(key.octets())),
            Err(_) => self.wanted.clone(),
        };
        let book = StoryBook::of(&source, &wanted).map_err(failure)?;
        if book.is_empty() {
            return Err(self.nothing(&source, book.reach(), key.err()));
        }
        let mut out = StoryPrinter {
            out: BufWriter::new(io::stdout().lock()),
            is_json: self.json,
            last: None,
            written: Ok(()),
        };
        book.tell(&source, &mut |story, line| out.line(story, line)).map_err(failure)?;
        printed(out.end())?;
        if book.has_left_out() {
            eprintln!("nullmta: there are older messages, too: --since says from when on they are wanted");
        }
        Ok(())
    }

    /// Returns the key with which addresses are hidden in the log, if there is one that this user may read.
    fn key(&self) -> io::Result<LogKey> {
        let spool = Config::spool_in(&self.config.config);
        LogKey::readable(&spool.unwrap_or_else(|| config::SPOOL.into()))
    }

    /// Returns the failure of a command that has found no line.
    fn nothing(&self, source: &LineSource, reach: &LogReach, no_key: Option<io::Error>) -> Failure {
        let place = source.place();
        let wanted = self.wanted.text();
        let wanted = Foreign(&wanted);
        let words = match (&reach.first, reach.lines) {
            (_, 0) if self.since.is_some() => format!("{place} has no line of nullmta since then"),
            (_, 0) => format!("{place} has no line of nullmta; if it logs to a file, name that with --file"),
            (Some(first), _) => format!(
                "{place} has no line about {wanted}; it was read from {first} on, and nothing is known of what was before"
            ),
            (None, _) => format!("{place} has no line about {wanted}"),
        };
        let is_denied = no_key.is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
        let hidden = match (&self.wanted, is_denied) {
            (Wanted::Named { .. }, true) => {
                "; addresses may be hidden there (log.redact), and you may not read the key of their hashes: try it as root"
            }
            _ => "",
        };
        Failure::new(Exit::Failed, words + hidden)
    }
}

/// Returns the failure of a log that cannot be read.
fn failure(error: SourceError) -> Failure {
    let exit = match &error {
        SourceError::NotAllowed(_) => Exit::NoPermission,
        SourceError::NotALog(_) => Exit::DataErr,
        SourceError::NoJournal(_) => Exit::Unavailable,
        SourceError::Broken(_) => Exit::IoError,
    };
    Failure::new(exit, error)
}

/// A message whose lines are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Story {
    /// `None` for lines that name an address, and are about no message.
    id: Option<QueueId>,
    /// The message that it is a report about.
    about: Option<QueueId>,
}

/// Prints lines, with a heading where another story begins.
struct StoryPrinter<W> {
    out: W,
    is_json: bool,
    last: Option<Story>,
    /// The first failure of writing; nothing is written after it.
    written: io::Result<()>,
}

impl<W: Write> StoryPrinter<W> {
    /// Prints a line. Returns whether more are wanted.
    fn line(&mut self, story: Story, line: &StoryLine) -> bool {
        self.written = if self.is_json { self.json(story, line) } else { self.text(story, line) };
        self.last = Some(story);
        self.written.is_ok()
    }

    fn json(&mut self, Story { id, about }: Story, line: &StoryLine) -> io::Result<()> {
        let StoryLine { stamp, level, text, .. } = line;
        let printed =
            serde_json::to_string(&PrintedLine { time: stamp, level, id, report_about: about, text })?;
        writeln!(self.out, "{}", visible_json(&printed))
    }

    fn text(&mut self, story: Story, line: &StoryLine) -> io::Result<()> {
        if self.last != Some(story) {
            self.heading(story)?;
        }
        writeln!(self.out, "{line}")
    }

    fn heading(&mut self, story: Story) -> io::Result<()> {
        if self.last.is_some() {
            writeln!(self.out)?;
        }
        match story {
            Story { id: None, .. } => writeln!(self.out, "About no message, but naming it:"),
            Story { about: Some(about), .. } => writeln!(self.out, "The report about {about}:"),
            Story { .. } => Ok(()),
        }
    }

    fn end(self) -> io::Result<()> {
        let StoryPrinter { mut out, written, .. } = self;
        written.and_then(|()| out.flush())
    }
}

#[cfg(test)]
mod tests;
