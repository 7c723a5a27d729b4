//! `nullmta rewrite`: shows how a message would be rewritten, without sending it.
//!
//! Promises: nothing is queued and no daemon is needed; the output is the message as it would be queued, except for our
//! Received field and the Message-ID, which are added when it is queued. A message that would be refused for its content
//! is refused with the same message and exit code 1; without `--explain`, its beginning may have been printed by then.

mod json;

use std::io::{self, BufRead, Write};

use clap::Args;
use jiff::Zoned;

use super::ConfigFile;
use super::exit::{Exit, Failure};
use super::output::printed;
use super::queue::print_json;
use super::sendmail::login;
use crate::config::Config;
use crate::envelope::{Address, Envelope, Recipient, ReversePath};
use crate::log::is_harmful;
use crate::message::bare_cr::BareCrs;
use crate::message::fixup::{Fixed, Fixup, FixupTask};
use crate::message::header;
use crate::message::rewrite::MessageFacts;
use crate::smtp::dot::Decoder;
use crate::users;

/// Show how a message from standard input would be rewritten, without sending it
#[derive(Args)]
pub(super) struct RewriteCommand {
    #[command(flatten)]
    config: ConfigFile,
    /// Show each change with its rule, then envelope and header, instead of the message
    #[arg(long)]
    explain: bool,
    /// With --explain: one JSON object
    #[arg(long, requires = "explain")]
    json: bool,
    /// The reverse-path; '' or '<>' for the null one; by default the user who runs this
    #[arg(short, value_name = "ADDRESS")]
    from: Option<String>,
    /// The recipients
    #[arg(value_name = "ADDRESS")]
    to: Vec<Address>,
}

impl RewriteCommand {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let config = Config::read(&self.config.config).map_err(super::config_failure)?;
        let task = self.task(&config)?;
        let mut input = io::stdin().lock();
        if !self.explain {
            return copy(task, &mut input, &mut io::stdout().lock());
        }
        let (fixed, header) = header_of(task, &mut input)?;
        let said = match self.json {
            true => print_json(&json::Explanation::of(&fixed, &header)),
            false => write!(io::stdout(), "{}", explanation(&fixed, &header)),
        };
        printed(said)
    }

    fn task(&self, config: &Config) -> Result<FixupTask, Failure> {
        let uid = rustix::process::getuid().as_raw();
        let facts = MessageFacts {
            received: String::new(),
            hostname: config.listen.hostname.clone(),
            message_id_left: "QUEUE-ID.TIME".to_owned(),
            now: Zoned::now(),
            user: users::by_uid(uid).ok().flatten().map(|account| account.local_user()),
        };
        Ok(FixupTask { envelope: self.envelope()?, facts, rules: config.rewrite.clone() })
    }

    fn envelope(&self) -> Result<Envelope, Failure> {
        let reverse_path = match self.from.as_deref() {
            None => ReversePath::Mailbox(login()),
            Some("" | "<>") => ReversePath::Null,
            Some(text) => {
                let usage = |error| Failure::new(Exit::Usage, format!("-f {text:?}: {error}"));
                ReversePath::Mailbox(Address::parse(text).map_err(usage)?)
            }
        };
        let recipients = self.to.iter().cloned().map(Recipient::plain).collect();
        Ok(Envelope { recipients, ..Envelope::from(reverse_path) })
    }
}

/// Returns the envelope that the relay gets, and the rewritten header section. Reads the message to its end, since a
/// reason to refuse it may be there.
fn header_of(task: FixupTask, input: &mut impl BufRead) -> Result<(Fixed, Vec<u8>), Failure> {
    let rules = task.rules.clone();
    let (mut lines, mut fixup, mut header) = (Lines::of(input), Fixup::new(task), Vec::new());
    let mut body = Vec::new();
    while let Some(line) = lines.next()? {
        let out = if header.is_empty() { &mut header } else { &mut body };
        fixup.push(&line, out).map_err(refused)?;
        body.clear();
    }
    let out = if header.is_empty() { &mut header } else { &mut body };
    let mut fixed = fixup.finish(out).map_err(refused)?;
    fixed.envelope.reverse_path = fixed.envelope.reverse_path.or_for_null(rules.null_sender());
    Ok((fixed, header::split(&header).header.octets().to_owned()))
}

/// Copies the rewritten message to `output`, with the line ends of a file.
fn copy(task: FixupTask, input: &mut impl BufRead, output: &mut impl Write) -> Result<(), Failure> {
    let (mut lines, mut fixup, mut out) = (Lines::of(input), Fixup::new(task), Vec::new());
    let mut write = |out: &mut Vec<u8>| {
        let written = output.write_all(&with_lf(out));
        out.clear();
        printed(written)
    };
    while let Some(line) = lines.next()? {
        fixup.push(&line, &mut out).map_err(refused)?;
        write(&mut out)?;
    }
    fixup.finish(&mut out).map_err(refused)?;
    write(&mut out)
}

/// The lines of a message as a session or `sendmail` would get them: with CRLF line ends, and with the same refusals.
struct Lines<'i, I> {
    input: &'i mut I,
    bare_crs: BareCrs,
}

impl<'i, I: BufRead> Lines<'i, I> {
    fn of(input: &'i mut I) -> Self {
        Lines { input, bare_crs: BareCrs::default() }
    }

    fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let mut line = Vec::new();
        let read = self.input.read_until(b'\n', &mut line);
        read.map_err(|error| Failure::new(Exit::IoError, format!("cannot read the message: {error}")))?;
        self.bare_crs.push(&line);
        if let Some(hidden) = self.bare_crs.hidden_bcc() {
            return Err(refused(hidden));
        }
        if line.is_empty() {
            return Ok(None);
        }
        let (mut decoder, mut decoded) = (Decoder::for_chunks(), Vec::new());
        decoder.push(&line, &mut decoded);
        decoder.finish(&mut decoded);
        Ok(Some(decoded))
    }
}

fn with_lf(octets: &[u8]) -> Vec<u8> {
    let lines = octets.split_inclusive(|octet| *octet == b'\n');
    lines
        .flat_map(|line| match line.strip_suffix(b"\r\n") {
            Some(bare) => [bare, b"\n"].concat(),
            None => line.to_owned(),
        })
        .collect()
}

fn refused(why: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Failed, format!("the message would be refused: {why}"))
}

/// Returns the changes, one per line, and then the resulting envelope and header.
fn explanation(fixed: &Fixed, header: &[u8]) -> String {
    let mut text = String::from("Changes:\n");
    if fixed.changes.kept().is_empty() {
        text += "  none\n";
    }
    for change in fixed.changes.kept() {
        text += &format!("  {change}\n");
    }
    if fixed.changes.more() > 0 {
        text += &format!("  and {} more\n", fixed.changes.more());
    }
    if !fixed.changes.left_alone().is_empty() {
        text += "\nLeft alone:\n";
    }
    for left in fixed.changes.left_alone() {
        text += &format!("  {left}\n");
    }
    text += &format!("\nEnvelope:\n  MAIL FROM:<{}>\n", fixed.envelope.reverse_path);
    for recipient in &fixed.envelope.recipients {
        text += &format!("  RCPT TO:<{}>\n", recipient.address);
    }
    text += "\nHeader:\n";
    for line in String::from_utf8_lossy(header).lines() {
        text += &format!("  {line}\n");
    }
    // A line end or a tab does no harm on a terminal; any other control character may.
    text.replace(|c: char| is_harmful(c) && !['\n', '\t'].contains(&c), "?")
}

#[cfg(test)]
mod tests;
