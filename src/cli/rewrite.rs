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

/// Show what would become of a message, read from standard input, without sending it
#[derive(Args)]
pub(super) struct RewriteCommand {
    #[command(flatten)]
    config: ConfigFile,
    /// Show each change and the rule it comes from, then envelope and header, instead of the message
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
mod tests {
    use std::sync::Arc;

    use jiff::tz::TimeZone;

    use super::*;
    use crate::message::rewrite::{RewriteSettings, Rules};

    fn task() -> FixupTask {
        let root = Address::parse("root").unwrap();
        let envelope = Envelope {
            recipients: vec![Recipient::plain(root.clone())],
            ..Envelope::from(ReversePath::Mailbox(root))
        };
        let facts = MessageFacts {
            received: String::new(),
            hostname: "web1.example.org".to_owned(),
            message_id_left: "1.2".to_owned(),
            now: Zoned::now().with_time_zone(TimeZone::UTC),
            user: None,
        };
        let rules = Rules::new(RewriteSettings::new("example.org", "web1.example.org")).unwrap();
        FixupTask { envelope, facts, rules: Arc::new(rules) }
    }

    const MESSAGE: &[u8] =
        b"From: Cron <root>\nTo:\troot\r\nBcc: ann\nCc: Ann <ann@x\nDate: x\nMessage-ID: <a\x1b@b>\n\nbody\n.\n";

    /// A name with U+202E in it turned the rest of its line around on the terminal.
    #[test]
    fn what_changes_how_text_is_seen_is_not_shown() {
        let message = "From: \"a\u{202e}b\" <root>\nTo: \u{ad}\u{9b}<<x\n\n";
        let (fixed, header) = header_of(task(), &mut message.as_bytes()).unwrap();
        let said = explanation(&fixed, &header);
        assert!(said.contains("  From: \"a?b\" <root@example.org>\n"), "{said}");
        assert!(said.chars().all(|c| c == '\n' || !is_harmful(c)), "{said}");
    }

    #[test]
    fn changes_are_explained_with_their_rules() {
        let (fixed, header) = header_of(task(), &mut &MESSAGE[..]).unwrap();
        assert_eq!(
            explanation(&fixed, &header),
            "Changes:\n\
             \u{20} From: root -> root@example.org (rewrite.origin)\n\
             \u{20} To: root -> root@example.org (rewrite.origin)\n\
             \u{20} Bcc: removed: ann (always)\n\
             \u{20} MAIL FROM: root -> root@example.org (rewrite.origin)\n\
             \u{20} RCPT TO: root -> root@example.org (rewrite.origin)\n\
             \n\
             Left alone:\n\
             \u{20} Cc: Ann <ann@x (no list of addresses: those that can be read in it are rewritten, \
             the rest stays; the relay may refuse it)\n\
             \n\
             Envelope:\n\
             \u{20} MAIL FROM:<root@example.org>\n\
             \u{20} RCPT TO:<root@example.org>\n\
             \n\
             Header:\n\
             \u{20} From: Cron <root@example.org>\n\
             \u{20} To:\troot@example.org\n\
             \u{20} Cc: Ann <ann@x\n\
             \u{20} Date: x\n\
             \u{20} Message-ID: <a?@b>\n"
        );
    }

    /// With `rewrite.null-sender`, the queue and the relay get different reverse-paths: that of the relay is shown.
    #[test]
    fn what_the_relay_is_told_for_the_null_reverse_path_is_shown() {
        let null_sender = Some(Address::parse("bounces@example.org").unwrap());
        for (null_sender, change, told) in [
            (None, "  none", ""),
            (
                null_sender,
                "  MAIL FROM: <> -> bounces@example.org (rewrite.null-sender)",
                "bounces@example.org",
            ),
        ] {
            let settings =
                RewriteSettings { null_sender, ..RewriteSettings::new("example.org", "web1.example.org") };
            let rules = Arc::new(Rules::new(settings).unwrap());
            let task = FixupTask { envelope: Envelope::from(ReversePath::Null), rules, ..task() };
            let message = &b"From: a@x\nTo: b@y\nDate: x\nMessage-ID: <a@b>\n\n"[..];
            let (fixed, header) = header_of(task, &mut &*message).unwrap();
            let text = explanation(&fixed, &header);
            let expected = format!("Changes:\n{change}\n\nEnvelope:\n  MAIL FROM:<{told}>\n");
            assert!(text.starts_with(&expected), "{text}");
            let json = serde_json::to_value(json::Explanation::of(&fixed, &header)).unwrap();
            assert_eq!(json["reverse-path"], told);
            assert_eq!(json["changes"].as_array().unwrap().len(), usize::from(!told.is_empty()));
        }
    }

    /// A message that intake refuses, for a Bcc behind a bare CR, was shown rewritten, with the Bcc in another field.
    #[test]
    fn a_carriage_return_is_what_it_is_at_intake() {
        let (_, header) = header_of(task(), &mut &b"To: a@x\r\nSubject: x\ry: z\r\r\n\r\n"[..]).unwrap();
        let header = String::from_utf8(header).unwrap();
        assert!(header.starts_with("To: a@x\r\nSubject: x y: z\r\n"), "{header:?}");
        for message in
            ["To: a@x\r\nSubject: x\rBcc: b@y\r\r\n\r\n", "To: a@x\rBcc: b@y", "text\n\rBcc: b@y\n"]
        {
            let explained = header_of(task(), &mut message.as_bytes()).map(|_| ());
            let copied = copy(task(), &mut message.as_bytes(), &mut Vec::new());
            for refused in [explained, copied] {
                let failure = refused.unwrap_err();
                let expected = "the message would be refused: a Bcc stands behind a CR that ends no line: end lines with CRLF";
                assert_eq!((failure.exit(), failure.to_string().as_str()), (Exit::Failed, expected));
            }
        }
    }

    #[test]
    fn changes_are_explained_as_json() {
        let (fixed, header) = header_of(task(), &mut &MESSAGE[..]).unwrap();
        let said = serde_json::to_value(json::Explanation::of(&fixed, &header)).unwrap();
        let origin = |place: &str, field: Option<&str>| {
            serde_json::json!({
                "place": place, "field": field, "rule": "rewrite.origin", "before": "root", "after": "root@example.org",
            })
        };
        let expected = serde_json::json!({
            "changes": [
                origin("field", Some("From")),
                origin("field", Some("To")),
                {"place": "field", "field": "Bcc", "rule": "always", "before": "ann", "after": null},
                origin("reverse-path", None),
                origin("recipient", None),
            ],
            "more-changes": 0,
            "left-alone": [{
                "field": "Cc", "body": "Ann <ann@x",
                "why": "no list of addresses: those that can be read in it are rewritten, the rest stays; \
                        the relay may refuse it",
            }],
            "reverse-path": "root@example.org",
            "recipients": ["root@example.org"],
            "header": [
                {"name": "From", "body": "Cron <root@example.org>"},
                {"name": "To", "body": "root@example.org"},
                {"name": "Cc", "body": "Ann <ann@x"},
                {"name": "Date", "body": "x"},
                {"name": "Message-ID", "body": "<a\u{1b}@b>"},
            ],
        });
        assert_eq!(said, expected);
    }

    #[test]
    fn the_message_is_copied_with_the_line_ends_of_a_file() {
        let mut out = Vec::new();
        copy(task(), &mut &MESSAGE[..], &mut out).unwrap();
        let expected = "From: Cron <root@example.org>\nTo:\troot@example.org\nCc: Ann <ann@x\nDate: x\n\
                        Message-ID: <a\u{1b}@b>\n\nbody\n.\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_message_that_would_be_refused_is_said_to_be() {
        let looping = "Received: by x\n".repeat(101);
        let failure = header_of(task(), &mut looping.as_bytes()).unwrap_err();
        assert!(failure.to_string().starts_with("the message would be refused: too many Received fields"));
    }
}
