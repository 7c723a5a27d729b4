//! Intake: what is done to content between the session and the spool.
//!
//! Promises:
//! 1. The header section is what `rewrite/` makes of it, with our Received field in front, and the empty
//!    line behind it is added where it is missing. The body goes through as it came, but for lines that are
//!    too long (`long_lines.rs`): these are folded, in the header section too, unless the message is signed
//!    or `rewrite.long-lines` says otherwise. A header section that is broken is mended first, so that no
//!    Bcc gets into the body (`mend.rs`).
//!    A message that calls itself 8-bit, or holds an octet that is no ASCII, is 8BITMIME, whatever its submitter
//!    said (RFC 6152).
//! 2. How the octets arrive does not matter: any chunking gives the same content, or the same refusal.
//! 3. Memory is bounded: the header section, at most [`MAX_HEADER_OCTETS`], what `mend.rs` holds and one push,
//!    is held until it is whole; of the body, at most the beginning of one line.
//!
//! Fails: [`Unacceptable`], for the reply to the end of data; then nothing is to be queued, whatever
//! `out` holds, and every later call says the same.
//!
//! Not here: what is mended, added, dropped and rewritten (the table in `message/mod.rs` has the file for each); the size
//! of the whole message (`smtp/`).

use std::fmt;
use std::sync::Arc;

use jiff::Zoned;

use super::header::{Header, Scan, Split, split};
use super::hidden_bcc::HiddenBcc;
use super::long_lines::{Folder, LongLines};
use super::mend::{Beyond, Mender};
use super::rewrite::{Changes, MessageFacts, Rewritten, Rules, rewrite};
use super::unacceptable::Unacceptable;
use crate::envelope::{Body, Envelope};
use crate::queue_id::QueueId;

/// The largest header section that is taken.
pub const MAX_HEADER_OCTETS: usize = 1024 * 1024;

/// More Received fields than this are a loop (RFC 5321 6.3: at least 100).
pub const MAX_RECEIVED_FIELDS: usize = 100;

/// The longest line that SMTP carries, without its end (RFC 5321 4.5.3.1.6).
const MAX_LINE_OCTETS: usize = 998;

/// What is done at once, in octets of header times KiB of header rules: at worst some 20 ms.
const PROMPT_EFFORT: u64 = 128 * 1024;

/// The left side of the Message-ID of message `queue_id`: unique to the host by the id, to a spool that
/// was set up anew by the time.
pub fn message_id_left(queue_id: QueueId, now: &Zoned) -> String {
    format!("{queue_id}.{}", now.timestamp().as_second())
}

/// What is to be done to a message.
#[derive(Clone, Debug)]
pub struct FixupTask {
    /// The envelope as it was given.
    pub envelope: Envelope,
    /// What is known of the message.
    pub facts: MessageFacts,
    /// `[rewrite]`.
    pub rules: Arc<Rules>,
}

/// What becomes of a message beside its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fixed {
    /// The envelope to spool.
    pub envelope: Envelope,
    /// What was changed in envelope and header.
    pub changes: Changes,
    /// The Message-ID with which it goes on, as it stands in its field; cut after so many octets as a line may have.
    pub message_id: Option<String>,
    /// What was done with lines that are too long; `None`: there are none.
    pub long_lines: Option<LongLinesFound>,
}

/// What was done with lines that are too long for SMTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LongLinesFound {
    /// They were folded.
    Folded,
    /// They were kept, since the message is signed.
    Signed,
    /// They were kept, as `rewrite.long-lines` says.
    Kept,
}

impl fmt::Display for LongLinesFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LongLinesFound::Folded => "folded",
            LongLinesFound::Signed => "kept, since it is signed: the relay may refuse it",
            LongLinesFound::Kept => "kept, as rewrite.long-lines says: the relay may refuse it",
        })
    }
}

/// Content on its way to the spool.
#[derive(Debug)]
pub struct Fixup {
    state: State,
    /// An octet that is no ASCII has gone on.
    is_eight_bit: bool,
}

#[derive(Debug)]
enum State {
    Header(Box<Collecting>),
    Body(Box<Following>),
    Refused(Unacceptable),
}

/// The body, behind a header section that is written.
#[derive(Debug)]
struct Following {
    rewritten: Rewritten,
    folder: Folder,
    /// A Bcc is looked for in it while it may be header.
    beyond: Beyond,
    /// What is said of lines that are too long, if there are any.
    of_long_lines: LongLinesFound,
}

/// The header section until it is whole.
#[derive(Debug)]
struct Collecting {
    task: FixupTask,
    mender: Mender,
    /// What is mended.
    octets: Vec<u8>,
    scan: Scan,
}

impl Fixup {
    /// Fixes up one message.
    pub fn new(task: FixupTask) -> Self {
        let (mender, scan) = (Mender::default(), Scan::default());
        let collecting = Collecting { task, mender, octets: Vec::new(), scan };
        Fixup { state: State::Header(Box::new(collecting)), is_eight_bit: false }
    }

    /// Whether taking `more` octets, or the end, may take so long that others should not wait for it.
    pub fn may_take_long(&self, more: usize) -> bool {
        let State::Header(collecting) = &self.state else { return false };
        let octets = (collecting.octets.len() + more) as u64;
        octets * (1 + u64::from(collecting.task.rules.header_rules_kib())) > PROMPT_EFFORT
    }

    /// Octets of header in memory, until it is whole.
    pub fn header_octets(&self) -> usize {
        match &self.state {
            State::Header(collecting) => collecting.octets.len(),
            _ => 0,
        }
    }

    /// Takes `octets` of content and appends what is ready for the spool to `out`.
    pub fn push(&mut self, octets: &[u8], out: &mut Vec<u8>) -> Result<(), Unacceptable> {
        let begins_at = out.len();
        let mut rest = octets;
        while let State::Header(collecting) = &mut self.state
            && !rest.is_empty()
        {
            // A line at a time, so that of the body at most one line is held.
            let line;
            (line, rest) = rest.split_at(line_len(rest));
            match collecting.push(line, out) {
                Ok(None) => {}
                Ok(Some(following)) => self.state = State::Body(Box::new(following)),
                Err(why) => self.state = State::Refused(why),
            }
        }
        if let State::Body(following) = &mut self.state
            && let Err(hidden) = following.push(rest, out)
        {
            self.state = State::Refused(hidden.into());
        }
        if let State::Refused(why) = &self.state {
            return Err(why.clone());
        }
        self.is_eight_bit |= !out[begins_at..].is_ascii();
        Ok(())
    }

    /// Nothing follows: appends what is left to `out`.
    pub fn finish(self, out: &mut Vec<u8>) -> Result<Fixed, Unacceptable> {
        let begins_at = out.len();
        let mut fixed = match self.state {
            State::Header(collecting) => collecting.finish(out)?.finish(out)?,
            State::Body(following) => following.finish(out)?,
            State::Refused(why) => return Err(why),
        };
        if self.is_eight_bit || !out[begins_at..].is_ascii() {
            fixed.envelope.body = Body::EightBitMime;
        }
        Ok(fixed)
    }
}

impl Collecting {
    /// Takes a line: what became of the message, once the header section is whole and written.
    fn push(&mut self, line: &[u8], out: &mut Vec<u8>) -> Result<Option<Following>, Unacceptable> {
        self.mender.push(line, &mut self.octets)?;
        if let Some(end) = self.scan.advance(&self.octets) {
            let following = self.task.write(end.split(&self.octets), out)?;
            let beyond = std::mem::take(&mut self.mender).into_beyond();
            return Ok(Some(Following { beyond, ..following }));
        }
        if self.scan.header_octets(self.octets.len()) > MAX_HEADER_OCTETS {
            return Err(Unacceptable::HeaderTooLarge);
        }
        Ok(None)
    }

    /// Nothing follows.
    fn finish(self, out: &mut Vec<u8>) -> Result<Following, Unacceptable> {
        let Collecting { task, mender, mut octets, mut scan } = self;
        mender.finish(&mut octets)?;
        let end = scan.advance(&octets).unwrap_or_else(|| scan.finish(&octets));
        task.write(end.split(&octets), out)
    }
}

impl FixupTask {
    /// The header section as it goes on, and the body as far as it is there.
    fn write(&self, content: Split<'_>, out: &mut Vec<u8>) -> Result<Following, Unacceptable> {
        if is_looping(content.header) {
            return Err(Unacceptable::MailLoop);
        }
        let mut rewritten = rewrite(self.envelope.clone(), content.header, &self.rules, &self.facts)?;
        if is_eight_bit(content.header) {
            rewritten.envelope.body = Body::EightBitMime;
        }
        let (way, of_long_lines) = match self.rules.long_lines {
            LongLines::Keep => (LongLines::Keep, LongLinesFound::Kept),
            LongLines::Fold if is_signed(content.header) => (LongLines::Keep, LongLinesFound::Signed),
            LongLines::Fold => (LongLines::Fold, LongLinesFound::Folded),
        };
        let mut folder = Folder::new(way);
        folder.push(&rewritten.header, out);
        folder.push(if content.blank_line.is_empty() { b"\r\n" } else { content.blank_line }, out);
        folder.push(content.body, out);
        Ok(Following { rewritten, folder, beyond: Beyond::default(), of_long_lines })
    }
}

impl Following {
    fn push(&mut self, octets: &[u8], out: &mut Vec<u8>) -> Result<(), HiddenBcc> {
        self.beyond.push(octets)?;
        self.folder.push(octets, out);
        Ok(())
    }

    fn finish(self, out: &mut Vec<u8>) -> Result<Fixed, HiddenBcc> {
        let Following { rewritten, folder, beyond, of_long_lines } = self;
        beyond.finish()?;
        let long_lines = folder.finish(out).then_some(of_long_lines);
        let message_id = message_id(split(&rewritten.header).header);
        Ok(Fixed { envelope: rewritten.envelope, changes: rewritten.changes, message_id, long_lines })
    }
}

fn message_id(header: Header<'_>) -> Option<String> {
    let body = header.find("Message-ID")?.unfolded();
    let text = body.trim_ascii();
    Some(String::from_utf8_lossy(&text[..text.len().min(MAX_LINE_OCTETS)]).into_owned())
}

fn is_looping(header: Header<'_>) -> bool {
    header.fields().filter(|field| field.is("Received")).count() > MAX_RECEIVED_FIELDS
}

/// RFC 2045 6.2; a part of a message is 8-bit only where the whole says so, too.
fn is_eight_bit(header: Header<'_>) -> bool {
    let encoding = header.find("Content-Transfer-Encoding").map(|field| field.unfolded());
    encoding.is_some_and(|encoding| encoding.trim_ascii().eq_ignore_ascii_case(b"8bit"))
}

/// Whether a fold may break a signature: DKIM's (RFC 6376), or one over the body (RFC 1847). What S/MIME signs
/// within application/pkcs7-mime is base64, and may be folded.
fn is_signed(header: Header<'_>) -> bool {
    const SIGNED: &[u8] = b"multipart/signed";
    let has_signature = |content_type: &[u8]| {
        content_type.get(..SIGNED.len()).is_some_and(|start| start.eq_ignore_ascii_case(SIGNED))
    };
    header.find("DKIM-Signature").is_some()
        || header.find("Content-Type").is_some_and(|field| has_signature(&field.unfolded()))
}

/// The length of the first line, or of all there is.
fn line_len(octets: &[u8]) -> usize {
    octets.iter().position(|octet| *octet == b'\n').map_or(octets.len(), |index| index + 1)
}

#[cfg(test)]
mod tests;
