//! `nullmta queue cat`: the content of a message, octet by octet as it is on the spool and as the relay will get it.
//!
//! Promises: nothing is printed of a content that did not arrive as a whole. Only at a terminal characters that would control it
//! are shown as escapes.

use std::io::{self, IsTerminal, Write};

use clap::Args;

use super::super::ConfigFile;
use super::super::exit::Failure;
use super::super::output::printed;
use super::fetch::{Fetched, MessageSource, absent, unreadable};
use crate::log::is_harmful;
use crate::queue_id::QueueId;

/// Print the content of a message.
#[derive(Args)]
pub(in crate::cli) struct QueueCat {
    #[command(flatten)]
    config: ConfigFile,
    /// The queue id of the message
    #[arg(value_name = "ID")]
    id: QueueId,
}

impl QueueCat {
    pub(in crate::cli) fn run(&self) -> Result<(), Failure> {
        match MessageSource::of(&self.config).fetch(self.id, u64::MAX)? {
            Fetched::Message(_, content) => printed(print(&content)),
            Fetched::Unreadable(why) => Err(unreadable(self.id, &why)),
            Fetched::Absent => Err(absent(self.id)),
        }
    }
}

fn print(content: &[u8]) -> io::Result<()> {
    let mut out = io::stdout();
    if out.is_terminal() {
        out.write_all(harmless(content).as_bytes())?;
    } else {
        out.write_all(content)?;
    }
    out.flush()
}

/// Returns the content as a terminal may show it.
fn harmless(content: &[u8]) -> String {
    let mut text = String::with_capacity(content.len());
    for line in String::from_utf8_lossy(content).split_inclusive('\n') {
        let (line, end) = match line.strip_suffix('\n') {
            Some(line) => (line.strip_suffix('\r').unwrap_or(line), "\n"),
            None => (line, ""),
        };
        for c in line.chars() {
            if c != '\t' && is_harmful(c) {
                text.extend(c.escape_default());
            } else {
                text.push(c);
            }
        }
        text += end;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_not_controlled() {
        let content = "Subject: \u{1b}[2J\r\n\tä\r\ra\u{202e}b\r\n\r\nend".as_bytes();
        assert_eq!(harmless(content), "Subject: \\u{1b}[2J\n\tä\\r\\ra\\u{202e}b\n\nend");
        assert_eq!(harmless(b"\xff\n"), "\u{fffd}\n");
    }
}
