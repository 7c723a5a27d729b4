//! Delivery status notifications: what nullmta tells a submitter about a message.
//!
//! Promises:
//! 1. Three parts (RFC 3464, RFC 6522): words for people (`human.rs`), fields for programs
//!    (`report.rs`), and the message or its header section (`returned.rs`).
//! 2. Nothing foreign breaks out: relay replies, addresses, ENVID and ORCPT cannot end a field, a
//!    line or a part; the boundary occurs nowhere in the content.
//! 3. No line is over 998 octets, or the relay that refused the message for its long line would refuse the
//!    DSN that quotes it.
//! 4. What is returned is returned octet by octet, but for lines that 3 folds; where that needs 8BITMIME or
//!    SMTPUTF8, the DSN's own envelope says so.
//! 5. From `<>`, so that no DSN answers a DSN (RFC 5321 4.5.5).
//!
//! Nothing here fails.
//!
//! Not here: what becomes of one that cannot be delivered (`queue/`). Who hears of a failure is in `audience.rs`.
//!
//! RFC 3461 (what was asked for), RFC 3464 (the report), RFC 3834 (Auto-Submitted), RFC 6522
//! (multipart/report), RFC 6533 (UTF-8).

mod audience;
mod human;
mod report;
mod returned;

use jiff::{Timestamp, Zoned};

use super::date::rfc5322;
use super::fixup::message_id_left;
use super::fold::Folded;
use super::header;
use super::long_lines::folded;
use super::received::{Origin, Received};
use crate::envelope::{Address, Body, Envelope, Recipient, ReversePath};
use crate::queue_id::QueueId;
use crate::status::Status;

pub use audience::Audience;
pub use returned::MAX_RETURNED_OCTETS;

/// A Message-ID that is longer is not referred to.
const MAX_MESSAGE_ID_OCTETS: usize = 500;

/// What a DSN is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DsnKind {
    /// Delivery failed, for good.
    Failed,
    /// Delivery is late and will be tried further.
    Delayed {
        /// When the message will be given up.
        retrying_until: Timestamp,
    },
    /// Success was asked for, and the relay that took the message offers no DSN (RFC 3461 5.2.2).
    Relayed,
}

/// One recipient that a DSN is about.
#[derive(Clone, Copy, Debug)]
pub struct Affected<'a> {
    /// The recipient.
    pub recipient: &'a Recipient,
    /// Its enhanced status code.
    pub status: Status,
    /// `550 5.1.1 no such user`, or our own words.
    pub diagnostic: &'a str,
    /// Whether `diagnostic` is the relay's reply (`Diagnostic-Code: smtp; …`).
    pub from_relay: bool,
    /// The name of the relay.
    pub remote_mta: Option<&'a str>,
    /// When the relay was last tried.
    pub last_attempt: Timestamp,
    /// The relay had all of it at least once, and its answer did not reach us.
    pub may_have_arrived: bool,
}

/// The message that a DSN is about.
#[derive(Clone, Copy, Debug)]
pub struct Original<'a> {
    /// Its queue id.
    pub queue_id: QueueId,
    /// Its envelope; RET, ENVID and SMTPUTF8 are honoured.
    pub envelope: &'a Envelope,
    /// When it was taken in.
    pub arrived: Timestamp,
    /// The whole content or its first part, from which the header section is cut; more than
    /// [`MAX_RETURNED_OCTETS`] are never used.
    pub content: &'a [u8],
    /// Whether `content` is all of it.
    pub content_is_whole: bool,
}

/// A DSN to be written.
#[derive(Clone, Copy, Debug)]
pub struct Dsn<'a> {
    /// What it says of every recipient in `affected`.
    pub kind: DsnKind,
    /// This host.
    pub hostname: &'a str,
    /// Whom it is from, in its header; its reverse-path is always `<>`.
    pub author: &'a Address,
    /// The DSN's own queue id.
    pub queue_id: QueueId,
    /// Who is told: the reverse-path of the original, or a postmaster.
    pub to: &'a Address,
    /// What it is about.
    pub original: Original<'a>,
    /// Whom it is about.
    pub affected: &'a [Affected<'a>],
    /// The time of writing; dates are given in its time zone.
    pub now: &'a Zoned,
}

/// A part of the multipart/report.
struct Part {
    description: &'static str,
    content_type: &'static str,
    body: Vec<u8>,
}

impl Dsn<'_> {
    /// The envelope: from `<>`, to `to`.
    ///
    /// NOTIFY stays unstated: `NEVER` would allow a DSN that fails to be dropped without a word.
    pub fn envelope(&self) -> Envelope {
        let mut envelope = Envelope::from(ReversePath::Null);
        envelope.recipients.push(Recipient::plain(self.to.clone()));
        envelope.smtputf8 = self.to.needs_smtputf8();
        if self.parts().iter().any(Part::is_eight_bit) || envelope.smtputf8 {
            envelope.body = Body::EightBitMime;
        }
        envelope
    }

    /// The content, with CRLF line ends and our own Received field.
    pub fn content(&self) -> Vec<u8> {
        let parts = self.parts();
        let boundary = boundary_outside(&parts, self.queue_id);
        let eight_bit = parts.iter().any(Part::is_eight_bit);
        let mut content = folded(self.header(&boundary, eight_bit).as_bytes());
        content.extend_from_slice(b"\r\nThis is a delivery status notification in MIME format.\r\n");
        for part in &parts {
            part.write(&boundary, &mut content);
        }
        content.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        content
    }

    fn parts(&self) -> [Part; 3] {
        let parts = [human::part(self), report::part(self), returned::part(self)];
        parts.map(|part| Part { body: folded(&part.body), ..part })
    }

    fn header(&self, boundary: &str, eight_bit: bool) -> String {
        let id = format!("<{}@{}>", message_id_left(self.queue_id, self.now), self.hostname);
        let mut header = self.received();
        let mut add = |field: Folded| header.push_str(&field.finish());
        add(Folded::field("Date").word(&rfc5322(self.now)));
        // The shape that Postfix gave for decades, and that filters know.
        add(Folded::field("From").word(self.author.as_str()).word("(Mail Delivery System)"));
        add(Folded::field("To").word(self.to.as_str()));
        let copy = if self.is_postmaster_copy() { "Postmaster Copy:" } else { "" };
        add(Folded::field("Subject").word(copy).word(self.subject()));
        add(Folded::field("Auto-Submitted").word("auto-replied"));
        add(Folded::field("Message-ID").word(&id));
        if let Some(original) = message_id_of(self.original.content) {
            add(Folded::field("In-Reply-To").word(original));
            add(Folded::field("References").word(original));
        }
        add(Folded::field("MIME-Version").word("1.0"));
        let content_type = Folded::field("Content-Type").word("multipart/report;");
        add(content_type.word("report-type=delivery-status;").word(&format!("boundary=\"{boundary}\"")));
        if eight_bit {
            add(Folded::field("Content-Transfer-Encoding").word("8bit"));
        }
        header
    }

    /// Whether somebody else is told than whom the message is from.
    fn is_postmaster_copy(&self) -> bool {
        self.original.envelope.reverse_path.mailbox() != Some(self.to)
    }

    fn received(&self) -> String {
        let received = Received {
            helo: None,
            origin: Origin::Ourselves,
            hostname: self.hostname,
            protocol: "",
            tls: None,
            queue_id: self.queue_id,
            only_recipient: Some(self.to),
            now: self.now,
        };
        received.field()
    }

    fn subject(&self) -> &'static str {
        match self.kind {
            DsnKind::Failed => "Undelivered Mail Returned to Sender",
            DsnKind::Delayed { .. } => "Delayed Mail (still being retried)",
            DsnKind::Relayed => "Successful Mail Delivery Report",
        }
    }
}

impl Part {
    fn is_eight_bit(&self) -> bool {
        !self.body.is_ascii()
    }

    /// The delimiter, the part's fields and its body. The line end before a delimiter belongs to
    /// the delimiter (RFC 2046 5.1.1), so the body stays as it is.
    fn write(&self, boundary: &str, content: &mut Vec<u8>) {
        let Part { description, content_type, body } = self;
        let fields = format!("Content-Description: {description}\r\nContent-Type: {content_type}\r\n");
        content.extend_from_slice(format!("\r\n--{boundary}\r\n{fields}").as_bytes());
        if self.is_eight_bit() {
            content.extend_from_slice(b"Content-Transfer-Encoding: 8bit\r\n");
        }
        content.extend_from_slice(b"\r\n");
        content.extend_from_slice(body);
    }
}

/// A boundary that is in none of the parts: the submitter wrote one of them, and may have guessed.
fn boundary_outside(parts: &[Part], queue_id: QueueId) -> String {
    let is_inside = |boundary: &str| parts.iter().any(|part| contains(&part.body, boundary.as_bytes()));
    let mut number = 0_u64;
    loop {
        let boundary = format!("=_{queue_id}.{number}");
        if !is_inside(&boundary) {
            return boundary;
        }
        // The parts are finite, the numbers are not: this ends.
        number += 1;
    }
}

fn contains(octets: &[u8], wanted: &[u8]) -> bool {
    octets.windows(wanted.len()).any(|window| window == wanted)
}

/// The Message-ID of `content`, where it is fit to be referred to.
fn message_id_of(content: &[u8]) -> Option<&str> {
    let field = header::split(content).header.find("Message-ID")?;
    let id = std::str::from_utf8(field.raw_body().trim_ascii()).ok()?;
    let inside = id.strip_prefix('<')?.strip_suffix('>')?;
    let is_fit = |octet: u8| octet.is_ascii_graphic() && octet != b'<' && octet != b'>';
    (!inside.is_empty() && id.len() <= MAX_MESSAGE_ID_OCTETS && inside.bytes().all(is_fit)).then_some(id)
}

#[cfg(test)]
mod tests;
