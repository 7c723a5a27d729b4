//! `nullmta queue list`: the messages of the queue, the oldest first.
//!
//! Promises: messages are printed as they come, so that even a million need little memory. A reader who closes the pipe is told
//! nothing.
//!
//! Not here: how a message looks (`layout.rs`), which ones are meant and may be seen (`admin/selection.rs`).

use std::io::{self, BufWriter, Write};

use clap::Args;
use jiff::Timestamp;

use super::super::ConfigFile;
use super::super::control_client::{AnswerReader, AnswerRest};
use super::super::exit::Failure;
use super::super::output::printed;
use super::super::terminal;
use super::filter_options::FilterOptions;
use super::layout::{HEADING, Layout, ListTotal};
use super::{AT_A_TIME, QueueAnswered, ask_or_read, of_yours, offline, write_json};
use crate::admin::protocol::{ControlRequest, QueuedMessage, RelayHeadline};
use crate::filter::QueueFilter;
use crate::log::counted;
use crate::queue_id::QueueId;

/// List the messages in the queue.
#[derive(Args)]
pub(in crate::cli) struct QueueList {
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    which: FilterOptions,
    /// List so many messages at most, the oldest
    #[arg(long, value_name = "NUMBER")]
    limit: Option<u64>,
    /// Cut no line to the width of the terminal
    #[arg(long)]
    wide: bool,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

impl QueueList {
    pub(in crate::cli) fn run(&self) -> Result<(), Failure> {
        let filter = self.which.checked_filter()?;
        let is_filtered = !filter.is_everything();
        if self.json {
            return self.print_json(&filter);
        }
        let width = if self.wide { None } else { terminal::width() };
        let mut listing = Listing::new(BufWriter::new(io::stdout().lock()), width);
        let rest = self.read(&filter, &mut listing)?;
        printed(listing.end(rest, is_filtered))
    }

    /// Gives `reader` the messages that `filter` means. Returns how many were left out. Very many queue ids are asked for in parts.
    fn read(
        &self,
        filter: &QueueFilter,
        reader: &mut impl AnswerReader<QueuedMessage>,
    ) -> Result<AnswerRest, Failure> {
        let mut counting = Counting { reader, messages: 0 };
        let mut rest = AnswerRest::default();
        let mut parts: Vec<&[QueueId]> = filter.ids.chunks(AT_A_TIME).collect();
        if parts.is_empty() {
            parts.push(&[]);
        }
        for ids in parts {
            let part = QueueFilter { ids: ids.to_vec(), ..filter.clone() };
            let left = self.limit.map(|limit| limit.saturating_sub(counting.messages));
            let AnswerRest { hidden, more } = self.read_part(part, left, &mut counting)?;
            rest = AnswerRest { hidden: rest.hidden + hidden, more: rest.more + more };
        }
        Ok(rest)
    }

    /// Does the same for the ids of one request, from the daemon, or from the spool while none runs.
    fn read_part(
        &self,
        filter: QueueFilter,
        limit: Option<u64>,
        reader: &mut impl AnswerReader<QueuedMessage>,
    ) -> Result<AnswerRest, Failure> {
        let request = ControlRequest::QueueList { filter: filter.clone(), limit };
        match ask_or_read(&self.config, &request, reader)? {
            QueueAnswered::ByDaemon(rest) => Ok(rest),
            QueueAnswered::OnSpool(queue) => {
                offline::check(&filter, false)?;
                let mut more = 0;
                let listed = queue.list(&filter, limit, |message| reader.item(message));
                printed(listed.map(|left| more = left))?;
                Ok(AnswerRest { hidden: 0, more })
            }
        }
    }

    fn print_json(&self, filter: &QueueFilter) -> Result<(), Failure> {
        let mut out = BufWriter::new(io::stdout().lock());
        let mut count = 0;
        let rest = self.read(filter, &mut |message: QueuedMessage| {
            count += 1;
            write_json(&mut out, &message)
        })?;
        printed(out.flush())?;
        if rest.hidden > 0 {
            eprintln!("nullmta: {}", of_yours(count, rest.hidden));
        }
        Ok(())
    }
}

/// Counts the messages that a reader gets.
struct Counting<'a, R> {
    reader: &'a mut R,
    messages: u64,
}

impl<R: AnswerReader<QueuedMessage>> AnswerReader<QueuedMessage> for Counting<'_, R> {
    fn item(&mut self, message: QueuedMessage) -> io::Result<()> {
        self.messages += 1;
        self.reader.item(message)
    }

    fn relays(&mut self, relays: Vec<RelayHeadline>) {
        self.reader.relays(relays);
    }
}

/// A listing that is being printed.
struct Listing<W: Write> {
    out: W,
    layout: Layout,
    total: ListTotal,
}

impl<W: Write> Listing<W> {
    fn new(out: W, width: Option<usize>) -> Self {
        let layout = Layout { width, relays: Vec::new() };
        Listing { out, layout, total: ListTotal::default() }
    }

    /// Prints the last lines.
    fn end(mut self, AnswerRest { hidden, more }: AnswerRest, is_filtered: bool) -> io::Result<()> {
        match (self.total.messages, hidden) {
            (0, 0) if more > 0 => writeln!(self.out, "No message is listed, as --limit wants it.")?,
            (0, 0) if is_filtered => writeln!(self.out, "No message that you may see is as asked for.")?,
            (0, 0) => writeln!(self.out, "The queue is empty.")?,
            (0, _) => {}
            _ => writeln!(self.out, "\n{}", self.total.text())?,
        }
        if hidden > 0 {
            writeln!(self.out, "{}.", of_yours(self.total.messages, hidden))?;
        }
        if more > 0 {
            writeln!(self.out, "{} more beyond --limit.", counted(more, "message"))?;
        }
        self.out.flush()
    }
}

impl<W: Write> AnswerReader<QueuedMessage> for Listing<W> {
    fn relays(&mut self, relays: Vec<RelayHeadline>) {
        self.layout.relays = relays;
    }

    fn item(&mut self, message: QueuedMessage) -> io::Result<()> {
        let now = Timestamp::now();
        if self.total.messages == 0 {
            let headlines = self.layout.headlines(now);
            let gap = if headlines.is_empty() { "" } else { "\n" };
            writeln!(self.out, "{headlines}{gap}{HEADING}")?;
        }
        self.total.count(&message);
        self.out.write_all(self.layout.message(&message, now).as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::protocol::{MessageState, QueuedRecipient};

    fn message(state: MessageState) -> QueuedMessage {
        let reason = Some("mx:587: connect: refused".to_owned());
        QueuedMessage {
            id: "18A4F1C9A02B3D40".into(),
            state,
            held_by: None,
            original_from: None,
            marked: None,
            uid: None,
            from: "app@x".into(),
            recipients: vec![QueuedRecipient {
                address: "ann@y".into(),
                route: None,
                reason: reason.clone(),
            }],
            size: 100,
            arrived: "2026-11-21T02:10:00Z".into(),
            age: 60,
            next_attempt: None,
            reason,
        }
    }

    fn printed(messages: &[QueuedMessage], rest: AnswerRest, is_filtered: bool) -> String {
        let mut text = Vec::new();
        let mut listing = Listing::new(&mut text, Some(80));
        listing.relays(vec![RelayHeadline {
            route: None,
            relay: Some("mx:587".into()),
            state: "paused".into(),
            paused_since: None,
            next_probe: None,
            keeps_mail: Some("mx:587: connect: refused".into()),
            held_because: None,
        }]);
        messages.iter().for_each(|message| listing.item(message.clone()).unwrap());
        listing.end(rest, is_filtered).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_listing_from_the_relay_s_trouble_to_the_total() {
        let rest = AnswerRest { hidden: 0, more: 7 };
        let shown = printed(&[message(MessageState::Ready), message(MessageState::Dead)], rest, false);
        assert_eq!(
            shown,
            "mx:587 is paused:\n\
             \u{20} mx:587: connect: refused\n\
             \n\
             QUEUE ID         STATE     AGE  SIZE NEXT  FROM\n\
             18A4F1C9A02B3D40 ready     60s   100    -  app@x\n\
             \u{20} to ann@y\n\
             \u{20}    waits for the relay, as said above\n\
             18A4F1C9A02B3D40 dead      60s   100    -  app@x\n\
             \u{20} to ann@y\n\
             \u{20}    waits for the relay, as said above\n\
             \n\
             2 messages, 200 octets: 1 ready, 1 dead.\n\
             7 messages more beyond --limit.\n"
        );
    }

    #[test]
    fn a_listing_without_messages_says_what_that_means() {
        let rest = AnswerRest::default();
        assert_eq!(printed(&[], rest, false), "The queue is empty.\n");
        assert_eq!(printed(&[], rest, true), "No message that you may see is as asked for.\n");
        assert_eq!(printed(&[], AnswerRest { hidden: 3, more: 0 }, false), "0 of yours, 3 in all.\n");
        assert_eq!(
            printed(&[], AnswerRest { hidden: 0, more: 3 }, false),
            "No message is listed, as --limit wants it.\n3 messages more beyond --limit.\n"
        );
    }
}
