//! The fix-up: it makes all changes to the content of a message between the session and the spool.
//!
//! Promises:
//! 1. The header section is rewritten by `rewrite/`, with our Received field in front. The empty line after it is
//!    added if it is missing. A broken header section is mended before, so that no Bcc gets into the body
//!    (`mend.rs`). The body stays as it is, except for lines that are too long (`long_lines.rs`): these are folded,
//!    in the header section, too, unless the message is signed or `rewrite.long-lines` says otherwise. A message is
//!    8BITMIME if it says so or contains an octet that is not ASCII, whatever the submitter declared (RFC 6152). It stays
//!    SMTPUTF8 only if the submitter declared it so, and its header section is not ASCII (RFC 6531).
//! 2. The result does not depend on the pieces in which the octets arrive.
//! 3. Memory is bounded. The header section, at most [`MAX_HEADER_OCTETS`], is held until it is complete, with what
//!    `mend.rs` holds and one push. Of the body, at most the beginning of one line is held, or the header section of a part.
//!
//! Fails: with [`Unacceptable`], for the reply to the end of data. Then nothing may be queued, whatever is in `out`,
//! and every later call fails in the same way.
//!
//! Not here: the changes themselves (the table in `message.rs` gives the files), the size of the whole message
//! (`smtp/`).

mod content_folder;

use std::fmt;
use std::sync::Arc;

use jiff::Zoned;

use super::authorship::check_authors;
use super::header::{Header, MAX_HEADER_OCTETS, MAX_LINE_OCTETS, Scan, Split, line_len, split};
use super::hidden_bcc::HiddenBcc;
use super::long_lines::{LongLines, folded};
use super::mend::{Beyond, Mender};
use super::rewrite::{Changes, MessageFacts, Rewritten, Rules, rewrite};
use super::unacceptable::Unacceptable;
use crate::envelope::{Body, Envelope, ReversePath};
use crate::queue_id::QueueId;

use crate::sender_policy::SenderPolicy;
use content_folder::ContentFolder;

/// The octets of header for which room is made at first; most messages need no more.
const USUAL_HEADER_OCTETS: usize = 1024;

/// The most Received fields; a message with more is in a loop (RFC 5321 6.3: at least 100).
pub const MAX_RECEIVED_FIELDS: usize = 100;

/// The largest work that is done without moving to another thread, in octets of header times KiB of header rules. It
/// takes at most about 20 ms.
const PROMPT_EFFORT: u64 = 128 * 1024;

/// Returns the left side of the Message-ID for message `queue_id`. The id makes it unique on this host, and the time
/// makes it unique for a spool that was set up anew.
pub fn message_id_left(queue_id: QueueId, now: &Zoned) -> String {
    format!("{queue_id}.{}", now.timestamp().as_second())
}

/// A message and the rules for its fix-up.
#[derive(Clone, Debug)]
pub struct FixupTask {
    /// The envelope as it was given.
    pub envelope: Envelope,
    /// The facts about the message that are not in its octets.
    pub facts: MessageFacts,
    /// The rules of the section `[rewrite]`.
    pub rules: Arc<Rules>,
}

/// The result of a fix-up, apart from the content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fixed {
    /// The envelope to spool.
    pub envelope: Envelope,
    /// The changes to envelope and header.
    pub changes: Changes,
    /// The Message-ID as it stands in its field, cut to the length of a line.
    pub message_id: Option<String>,
    /// The treatment of lines that are too long; `None` if there are none.
    pub long_lines: Option<LongLinesFound>,
}

/// The treatment of lines that are too long for SMTP, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LongLinesFound {
    /// The lines were folded.
    Folded,
    /// The lines were kept, since the message is signed.
    Signed,
    /// They were kept, since `rewrite.long-lines` says so.
    Kept,
    /// They were kept on the spool, and the bodies that have them are encoded on the way to the relay.
    Encoded,
}

impl fmt::Display for LongLinesFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LongLinesFound::Folded => "folded",
            LongLinesFound::Signed => "kept, since it is signed: the relay may refuse it",
            LongLinesFound::Encoded => "kept, and encoded on the way to the relay",
            LongLinesFound::Kept => "kept, as rewrite.long-lines says: the relay may refuse it",
        })
    }
}

/// A message whose content is on its way to the spool.
#[derive(Debug)]
pub struct Fixup {
    state: FixupState,
    /// True if an octet that is not ASCII was passed on.
    is_eight_bit: bool,
}

#[derive(Debug)]
enum FixupState {
    Header(Box<Collecting>),
    Body(Box<Following>),
    Refused(Unacceptable),
}

/// The body, after the header section was written.
#[derive(Debug)]
struct Following {
    rewritten: Rewritten,
    folder: ContentFolder,
    /// The search for a Bcc in lines that may still be header.
    beyond: Beyond,
    /// The treatment that is reported if there are lines that are too long.
    of_long_lines: LongLinesFound,
}

/// The header section while it is not complete.
#[derive(Debug)]
struct Collecting {
    task: FixupTask,
    /// As whom the client may send: what all of these allow; empty for everybody.
    senders: Vec<Arc<SenderPolicy>>,
    mender: Mender,
    /// The octets of the header section so far, after mending.
    octets: Vec<u8>,
    scan: Scan,
}

impl Fixup {
    /// Begins the fix-up of one message.
    pub fn new(task: FixupTask) -> Self {
        let (mender, scan) = (Mender::default(), Scan::default());
        let octets = Vec::with_capacity(USUAL_HEADER_OCTETS);
        let collecting = Collecting { task, senders: Vec::new(), mender, octets, scan };
        Fixup { state: FixupState::Header(Box::new(collecting)), is_eight_bit: false }
    }

    /// Makes the fix-up refuse a message with an author as whom its client may not send. It is asked before anything was pushed.
    pub fn by(mut self, senders: Arc<SenderPolicy>) -> Self {
        if let FixupState::Header(collecting) = &mut self.state {
            collecting.senders.push(senders);
        }
        self
    }

    /// Returns whether the next `more` octets, or the end, may take so long that other tasks should not wait.
    pub fn may_take_long(&self, more: usize) -> bool {
        let FixupState::Header(collecting) = &self.state else { return false };
        let octets = (collecting.octets.len() + more) as u64;
        octets * (1 + u64::from(collecting.task.rules.header_rules_kib())) > PROMPT_EFFORT
    }

    /// Returns the number of octets of header that are held; 0 after the header section is complete.
    pub fn header_octets(&self) -> usize {
        match &self.state {
            FixupState::Header(collecting) => collecting.octets.len(),
            _ => 0,
        }
    }

    /// Takes `octets` of content, and appends to `out` what is ready for the spool.
    pub fn push(&mut self, octets: &[u8], out: &mut Vec<u8>) -> Result<(), Unacceptable> {
        let begins_at = out.len();
        let mut rest = octets;
        while let FixupState::Header(collecting) = &mut self.state
            && !rest.is_empty()
        {
            // Lines are taken one at a time, so that at most one line of the body is held.
            let line;
            (line, rest) = rest.split_at(line_len(rest));
            match collecting.push(line, out) {
                Ok(None) => {}
                Ok(Some(following)) => self.state = FixupState::Body(Box::new(following)),
                Err(why) => self.state = FixupState::Refused(why),
            }
        }
        if let FixupState::Body(following) = &mut self.state
            && let Err(hidden) = following.push(rest, out)
        {
            self.state = FixupState::Refused(hidden.into());
        }
        if let FixupState::Refused(why) = &self.state {
            return Err(why.clone());
        }
        self.is_eight_bit |= !out[begins_at..].is_ascii();
        Ok(())
    }

    /// Ends the content, and appends the rest to `out`.
    pub fn finish(self, out: &mut Vec<u8>) -> Result<Fixed, Unacceptable> {
        let begins_at = out.len();
        let mut fixed = match self.state {
            FixupState::Header(collecting) => collecting.finish(out)?.finish(out)?,
            FixupState::Body(following) => following.finish(out)?,
            FixupState::Refused(why) => return Err(why),
        };
        if self.is_eight_bit || !out[begins_at..].is_ascii() {
            fixed.envelope.body = Body::EightBitMime;
        }
        Ok(fixed)
    }
}

impl Collecting {
    /// Takes a line. Returns the state for the body if the header section is complete and was written.
    fn push(&mut self, line: &[u8], out: &mut Vec<u8>) -> Result<Option<Following>, Unacceptable> {
        self.mender.push(line, &mut self.octets)?;
        if let Some(end) = self.scan.advance(&self.octets) {
            let content = end.split(&self.octets);
            self.check_authors(content.header)?;
            let following = self.task.write(content, out)?;
            let beyond = std::mem::take(&mut self.mender).into_beyond();
            return Ok(Some(Following { beyond, ..following }));
        }
        if self.scan.header_octets(self.octets.len()) > MAX_HEADER_OCTETS {
            return Err(Unacceptable::HeaderTooLarge);
        }
        Ok(None)
    }

    /// Ends the content within the header section.
    fn finish(mut self, out: &mut Vec<u8>) -> Result<Following, Unacceptable> {
        let Collecting { mender, mut octets, mut scan, .. } = self;
        mender.finish(&mut octets)?;
        let end = scan.advance(&octets).unwrap_or_else(|| scan.finish(&octets));
        let content = end.split(&octets);
        check_authors(&self.senders, content.header, &self.task.envelope.reverse_path)?;
        self.task.write(content, out)
    }

    fn check_authors(&self, header: Header<'_>) -> Result<(), Unacceptable> {
        check_authors(&self.senders, header, &self.task.envelope.reverse_path)
    }
}

impl FixupTask {
    /// Writes the rewritten header section, and the part of the body that has arrived.
    fn write(&mut self, content: Split<'_>, out: &mut Vec<u8>) -> Result<Following, Unacceptable> {
        if is_looping(content.header) {
            return Err(Unacceptable::MailLoop);
        }
        // The header section is written once, and the envelope is not needed here after that.
        let envelope = std::mem::replace(&mut self.envelope, Envelope::from(ReversePath::Null));
        let mut rewritten = rewrite(envelope, content.header, &self.rules, &self.facts)?;
        if is_eight_bit(content.header) {
            rewritten.envelope.body = Body::EightBitMime;
        }
        // Some programs always declare SMTPUTF8, and a relay of the recipient may refuse a message for that alone.
        rewritten.envelope.smtputf8 &= !rewritten.header.is_ascii();
        let (way, of_long_lines) = match self.rules.long_lines {
            LongLines::Keep => (LongLines::Keep, LongLinesFound::Kept),
            LongLines::Fold | LongLines::Encode if is_signed(content.header) => {
                (LongLines::Keep, LongLinesFound::Signed)
            }
            LongLines::Encode => {
                rewritten.header = folded(&rewritten.header);
                (LongLines::Keep, LongLinesFound::Encoded)
            }
            LongLines::Fold => (LongLines::Fold, LongLinesFound::Folded),
        };
        let mut folder = ContentFolder::new(way, split(&rewritten.header).header);
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

/// Returns whether the message says that it is 8-bit (RFC 2045 6.2). A part can only be so if the whole message says
/// it.
fn is_eight_bit(header: Header<'_>) -> bool {
    let encoding = header.find("Content-Transfer-Encoding").map(|field| field.unfolded());
    encoding.is_some_and(|encoding| encoding.trim_ascii().eq_ignore_ascii_case(b"8bit"))
}

/// Returns whether folding may break a signature: of DKIM (RFC 6376), or over the body (RFC 1847). S/MIME within
/// application/pkcs7-mime signs base64, which may be folded.
fn is_signed(header: Header<'_>) -> bool {
    const SIGNED: &[u8] = b"multipart/signed";
    let has_signature = |content_type: &[u8]| {
        content_type.get(..SIGNED.len()).is_some_and(|start| start.eq_ignore_ascii_case(SIGNED))
    };
    header.find("DKIM-Signature").is_some()
        || header.find("Content-Type").is_some_and(|field| has_signature(&field.unfolded()))
}

#[cfg(test)]
mod tests;
