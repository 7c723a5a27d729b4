//! Intake: what is done to content between the session and the spool.
//!
//! Promises:
//! 1. Only adds: our Received field in front, Date and Message-ID behind the header section where
//!    they are missing, and the empty line where that is missing. All other octets go through as
//!    they came, with one exception: an mbox `From ` line in front of the header is dropped
//!    (`header.rs` says what counts as one).
//! 2. How the octets arrive does not matter: any chunking gives the same content, or the same refusal.
//! 3. Memory is bounded: the header section, at most [`MAX_HEADER_OCTETS`] and one push, is held until
//!    it is whole; the body goes straight through.
//!
//! A Date or Message-ID field counts as present even if it is empty: a second one would be worse than
//! an empty one, since relays refuse fields that may stand only once.
//!
//! Fails: [`Unacceptable`], for the reply to the end of data; then nothing is to be queued, whatever
//! `out` holds, and every later call says the same.
//!
//! Not here: rewriting, From, dropped fields (`rewrite.rs`); the size of the whole message (`smtp/`).

use std::fmt;

use jiff::Zoned;

use super::date::rfc5322;
use super::header::{Header, Scan, Split};
use crate::queue_id::QueueId;

/// The largest header section that is taken.
pub const MAX_HEADER_OCTETS: usize = 1024 * 1024;

/// More Received fields than this are a loop (RFC 5321 6.3: at least 100).
pub const MAX_RECEIVED_FIELDS: usize = 100;

/// Why a message is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unacceptable {
    /// The header section is larger than [`MAX_HEADER_OCTETS`]: 552 5.3.4.
    HeaderTooLarge,
    /// More than [`MAX_RECEIVED_FIELDS`] Received fields: 554 5.4.6.
    MailLoop,
}

impl fmt::Display for Unacceptable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unacceptable::HeaderTooLarge => "header section too large",
            Unacceptable::MailLoop => "too many Received fields: the message goes in circles",
        })
    }
}

impl std::error::Error for Unacceptable {}

/// What may have to be added.
#[derive(Clone, Debug)]
pub struct Additions {
    /// The Received field with its line end (`received.rs`).
    pub received: String,
    /// This host, for the right side of a Message-ID.
    pub hostname: String,
    /// The left side of a Message-ID: see [`message_id_left`].
    pub message_id_left: String,
    /// When the message was received, for Date.
    pub now: Zoned,
}

/// The left side of the Message-ID of message `queue_id`: unique to the host by the id, to a spool that
/// was set up anew by the time.
pub fn message_id_left(queue_id: QueueId, now: &Zoned) -> String {
    format!("{queue_id}.{}", now.timestamp().as_second())
}

/// Content on its way to the spool.
#[derive(Debug)]
pub struct Fixup {
    state: State,
}

#[derive(Debug)]
enum State {
    Header(Box<Collecting>),
    Body,
    Refused(Unacceptable),
}

/// The header section until it is whole.
#[derive(Debug)]
struct Collecting {
    additions: Additions,
    octets: Vec<u8>,
    scan: Scan,
}

impl Fixup {
    /// Fixes up one message.
    pub fn new(additions: Additions) -> Self {
        let collecting = Collecting { additions, octets: Vec::new(), scan: Scan::default() };
        Fixup { state: State::Header(Box::new(collecting)) }
    }

    /// Takes `octets` of content and appends what is ready for the spool to `out`.
    pub fn push(&mut self, octets: &[u8], out: &mut Vec<u8>) -> Result<(), Unacceptable> {
        let mut rest = octets;
        while let State::Header(collecting) = &mut self.state
            && !rest.is_empty()
        {
            // A line at a time, so that of the body at most one line is held.
            let line;
            (line, rest) = rest.split_at(line_len(rest));
            match collecting.push(line, out) {
                Ok(Progress::AwaitingMore) => {}
                Ok(Progress::HeaderWritten) => self.state = State::Body,
                Err(why) => self.state = State::Refused(why),
            }
        }
        match self.state {
            State::Refused(why) => Err(why),
            _ => {
                out.extend_from_slice(rest);
                Ok(())
            }
        }
    }

    /// Nothing follows: appends what is left to `out`.
    pub fn finish(self, out: &mut Vec<u8>) -> Result<(), Unacceptable> {
        match self.state {
            State::Header(collecting) => {
                let end = collecting.scan.finish(&collecting.octets);
                collecting.additions.write(end.split(&collecting.octets), out)
            }
            State::Body => Ok(()),
            State::Refused(why) => Err(why),
        }
    }
}

enum Progress {
    AwaitingMore,
    HeaderWritten,
}

impl Collecting {
    fn push(&mut self, line: &[u8], out: &mut Vec<u8>) -> Result<Progress, Unacceptable> {
        self.octets.extend_from_slice(line);
        if let Some(end) = self.scan.advance(&self.octets) {
            self.additions.write(end.split(&self.octets), out)?;
            return Ok(Progress::HeaderWritten);
        }
        if self.scan.header_octets(self.octets.len()) > MAX_HEADER_OCTETS {
            return Err(Unacceptable::HeaderTooLarge);
        }
        Ok(Progress::AwaitingMore)
    }
}

impl Additions {
    /// The header section with what was missing, and the body as far as it is there.
    fn write(&self, content: Split<'_>, out: &mut Vec<u8>) -> Result<(), Unacceptable> {
        if is_looping(content.header) {
            return Err(Unacceptable::MailLoop);
        }
        let header = content.header.octets();
        out.extend_from_slice(self.received.as_bytes());
        out.extend_from_slice(header);
        if !header.is_empty() && !header.ends_with(b"\n") {
            // Content may end in CR alone: the two halves of one line end are not told apart from it.
            out.extend_from_slice(if header.ends_with(b"\r") { b"\n" } else { b"\r\n" });
        }
        self.write_missing(content.header, out);
        out.extend_from_slice(if content.blank_line.is_empty() { b"\r\n" } else { content.blank_line });
        out.extend_from_slice(content.body);
        Ok(())
    }

    fn write_missing(&self, header: Header<'_>, out: &mut Vec<u8>) {
        if header.find("Date").is_none() {
            out.extend_from_slice(format!("Date: {}\r\n", rfc5322(&self.now)).as_bytes());
        }
        if header.find("Message-ID").is_none() {
            let (left, right) = (&self.message_id_left, &self.hostname);
            out.extend_from_slice(format!("Message-ID: <{left}@{right}>\r\n").as_bytes());
        }
    }
}

fn is_looping(header: Header<'_>) -> bool {
    header.fields().filter(|field| field.is("Received")).count() > MAX_RECEIVED_FIELDS
}

/// The length of the first line, or of all there is.
fn line_len(octets: &[u8]) -> usize {
    octets.iter().position(|octet| *octet == b'\n').map_or(octets.len(), |index| index + 1)
}

#[cfg(test)]
mod tests;
