//! Delivery status notifications: messages in which nullmta tells a submitter what happened to a message.
//!
//! Promises:
//! 1. A DSN has three parts (RFC 3464, RFC 6522): text for people (`human.rs`), fields for programs (`report.rs`),
//!    and the message or its header section (`returned.rs`).
//! 2. Foreign text stays in its place: replies of a relay, addresses, ENVID and ORCPT cannot end a field, a line or a
//!    part. The boundary is nowhere in the content.
//! 3. No line has more than 998 octets. Otherwise a relay that refused a message for a long line would refuse the DSN
//!    that quotes the line.
//! 4. The returned message is the original octet by octet, except for lines that promise 3 folds. If it needs
//!    8BITMIME or SMTPUTF8, the envelope of the DSN says so.
//! 5. A DSN is sent from `<>`, so that no DSN answers a DSN (RFC 5321 4.5.5).
//!
//! Nothing here fails.
//!
//! Not here: DSNs that cannot be delivered (`queue/`). `audience.rs` decides who is told about a failure.
//!
//! RFC 3461 (what was asked for), RFC 3464 (the report), RFC 3834 (Auto-Submitted), RFC 6522 (multipart/report), RFC
//! 6533 (UTF-8).

mod audience;
mod human;
mod report;
mod returned;

use jiff::{Timestamp, Zoned};
use memchr::memmem;

use super::date::rfc5322;
use super::fixup::message_id_left;
use super::fold::Folded;
use super::header;
use super::long_lines::folded;
use super::received::{Origin, Received};
use crate::envelope::{Address, Body, Envelope, Recipient, ReversePath};
use crate::queue_id::QueueId;
use crate::status::Status;

pub use audience::{Audience, Overseers};
pub use returned::MAX_RETURNED_OCTETS;

/// The longest Message-ID that a DSN refers to, in octets.
const MAX_MESSAGE_ID_OCTETS: usize = 500;

/// The kind of a DSN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DsnKind {
    /// Delivery has failed for good.
    Failed,
    /// Delivery is late, and will be tried again.
    Delayed {
        /// The time at which the message will be given up.
        retrying_until: Timestamp,
    },
    /// A report of success was asked for, and the relay that took the message does not offer DSN (RFC 3461 5.2.2).
    Relayed,
}

/// One recipient that a DSN is about.
#[derive(Clone, Copy, Debug)]
pub struct Affected<'a> {
    /// The recipient of the message, with the parameters of DSN that its sender gave.
    pub recipient: &'a Recipient,
    /// The enhanced status code of the outcome for this recipient (RFC 3463), shown as `Status`.
    pub status: Status,
    /// The reply, such as `550 5.1.1 no such user`, or our own text.
    pub diagnostic: &'a str,
    /// True if `diagnostic` is a reply of the relay (`Diagnostic-Code: smtp; …`).
    pub from_relay: bool,
    /// The name of the relay that was asked, shown as `Remote-MTA`; `None` if no relay was reached.
    pub remote_mta: Option<&'a str>,
    /// The time of the last attempt at the relay.
    pub last_attempt: Timestamp,
    /// True if the relay got the whole message at least once and its reply was lost, so that it may have arrived.
    pub may_have_arrived: bool,
}

/// The message that a DSN is about.
#[derive(Clone, Copy, Debug)]
pub struct Original<'a> {
    /// The queue id of the message.
    pub queue_id: QueueId,
    /// The envelope of the message; RET, ENVID and SMTPUTF8 are followed.
    pub envelope: &'a Envelope,
    /// The time at which the message was accepted.
    pub arrived: Timestamp,
    /// The whole content or its first part, which contains the header section. At most [`MAX_RETURNED_OCTETS`] are
    /// used.
    pub content: &'a [u8],
    /// True if `content` is complete.
    pub content_is_whole: bool,
}

/// A DSN that will be written.
#[derive(Clone, Copy, Debug)]
pub struct Dsn<'a> {
    /// The kind of the DSN, for every recipient in `affected`.
    pub kind: DsnKind,
    /// The name of this host.
    pub hostname: &'a str,
    /// The author in its header; its reverse-path is always `<>`.
    pub author: &'a Address,
    /// The queue id of the DSN itself.
    pub queue_id: QueueId,
    /// The address that is told: the reverse-path of the original, or the postmaster.
    pub to: &'a Address,
    /// The address that gets the same DSN as well.
    pub copy: Option<&'a Address>,
    /// The message that it is about.
    pub original: Original<'a>,
    /// The recipients that it is about.
    pub affected: &'a [Affected<'a>],
    /// The time of writing; dates are given in its time zone.
    pub now: &'a Zoned,
}

/// A part of the multipart/report.
struct DsnPart {
    description: &'static str,
    content_type: &'static str,
    body: Vec<u8>,
}

impl Dsn<'_> {
    /// Returns the envelope: from `<>`, to `to` and `copy`.
    ///
    /// NOTIFY is not given, since `NEVER` would allow a relay to drop a DSN that fails without a report.
    pub fn envelope(&self) -> Envelope {
        let mut envelope = Envelope::from(ReversePath::Null);
        envelope
            .recipients
            .extend([Some(self.to), self.copy].into_iter().flatten().cloned().map(Recipient::plain));
        envelope.smtputf8 = envelope.recipients.iter().any(|to| to.address.needs_smtputf8());
        if self.parts().iter().any(DsnPart::is_eight_bit) || envelope.smtputf8 {
            envelope.body = Body::EightBitMime;
        }
        envelope
    }

    /// Returns the content, with CRLF line ends and our own Received field.
    pub fn content(&self) -> Vec<u8> {
        let parts = self.parts();
        let boundary = boundary_outside(&parts, self.queue_id);
        let eight_bit = parts.iter().any(DsnPart::is_eight_bit);
        let mut content = folded(self.header(&boundary, eight_bit).as_bytes());
        content.extend_from_slice(b"\r\nThis is a delivery status notification in MIME format.\r\n");
        for part in &parts {
            part.write(&boundary, &mut content);
        }
        content.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        content
    }

    fn parts(&self) -> [DsnPart; 3] {
        let parts = [human::part(self), report::part(self), returned::part(self)];
        parts.map(|part| DsnPart { body: folded(&part.body), ..part })
    }

    fn header(&self, boundary: &str, eight_bit: bool) -> String {
        let id = format!("<{}@{}>", message_id_left(self.queue_id, self.now), self.hostname);
        let mut header = self.received();
        let mut add = |field: Folded| header.push_str(&field.finish());
        add(Folded::field("Date").word(&rfc5322(self.now)));
        // Postfix has written From in this form for decades, and filters know it.
        add(Folded::field("From").word(self.author.as_str()).word("(Mail Delivery System)"));
        add(Folded::field("To").word(self.to.as_str()));
        if let Some(copy) = self.copy {
            add(Folded::field("Cc").word(copy.as_str()));
        }
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

    /// Returns whether the DSN is sent to an address other than the reverse-path of the message.
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
            only_recipient: Some(self.to).filter(|_| self.copy.is_none()),
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

impl DsnPart {
    fn is_eight_bit(&self) -> bool {
        !self.body.is_ascii()
    }

    /// Writes the delimiter, the fields of the part, and its body. The line end before a delimiter belongs to the
    /// delimiter (RFC 2046 5.1.1), so the body is not changed.
    fn write(&self, boundary: &str, content: &mut Vec<u8>) {
        let DsnPart { description, content_type, body } = self;
        let fields = format!("Content-Description: {description}\r\nContent-Type: {content_type}\r\n");
        content.extend_from_slice(format!("\r\n--{boundary}\r\n{fields}").as_bytes());
        if self.is_eight_bit() {
            content.extend_from_slice(b"Content-Transfer-Encoding: 8bit\r\n");
        }
        content.extend_from_slice(b"\r\n");
        content.extend_from_slice(body);
    }
}

/// Returns a boundary that is in none of the parts. The submitter has written one of them, and may have guessed it.
fn boundary_outside(parts: &[DsnPart], queue_id: QueueId) -> String {
    let is_inside =
        |boundary: &str| parts.iter().any(|part| memmem::find(&part.body, boundary.as_bytes()).is_some());
    let mut number = 0_u64;
    loop {
        let boundary = format!("=_{queue_id}.{number}");
        if !is_inside(&boundary) {
            return boundary;
        }
        // This ends, since the parts are finite and the numbers are not.
        number += 1;
    }
}

/// Returns the Message-ID of `content` if a field may refer to it.
fn message_id_of(content: &[u8]) -> Option<&str> {
    let field = header::split(content).header.find("Message-ID")?;
    let id = std::str::from_utf8(field.raw_body().trim_ascii()).ok()?;
    let inside = id.strip_prefix('<')?.strip_suffix('>')?;
    let is_fit = |octet: u8| octet.is_ascii_graphic() && octet != b'<' && octet != b'>';
    (!inside.is_empty() && id.len() <= MAX_MESSAGE_ID_OCTETS && inside.bytes().all(is_fit)).then_some(id)
}

#[cfg(test)]
mod tests;
