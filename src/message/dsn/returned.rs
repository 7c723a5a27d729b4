//! The third part of a DSN: the message that it is about, or its header section.
//!
//! Promises: the octets are those of the original (`dsn.rs` folds lines that are too long). The whole message is
//! returned only in a DSN of failure, if the submitter did not ask for less (RFC 3461 4.3), if it did not fail for its
//! size, and if it has at most [`MAX_RETURNED_OCTETS`]. Otherwise as many whole fields of the header section are returned as fit.
//!
//! RFC 6522 4 (text/rfc822-headers), RFC 6532 3.7 and RFC 6533 4 (message/global, its header).

use super::{Dsn, DsnKind, DsnPart};
use crate::envelope::Ret;
use crate::message::header::{Split, split};
use crate::status::Status;

/// The most octets of a message that a DSN returns.
pub const MAX_RETURNED_OCTETS: usize = 50 * 1024;

pub(super) fn part(dsn: &Dsn<'_>) -> DsnPart {
    let original = dsn.original;
    let content = split(original.content);
    if returns_whole(dsn) {
        let content_type = match has_utf8_header(dsn, &content) {
            true => "message/global",
            false => "message/rfc822",
        };
        return DsnPart {
            description: describe(dsn.kind, true),
            content_type,
            body: original.content.to_vec(),
        };
    }
    let content_type = match has_utf8_header(dsn, &content) {
        true => "message/global-headers",
        false => "text/rfc822-headers",
    };
    let body = whole_fields(&content, original.content_is_whole);
    DsnPart { description: describe(dsn.kind, false), content_type, body }
}

/// Returns whether `dsn` returns the whole message.
pub(super) fn returns_whole(dsn: &Dsn<'_>) -> bool {
    let original = dsn.original;
    dsn.kind == DsnKind::Failed
        && original.envelope.ret != Some(Ret::Headers)
        && !dsn.affected.iter().any(|affected| is_about_size(affected.status))
        && original.content_is_whole
        && original.content.len() <= MAX_RETURNED_OCTETS
}

/// Returns whether the message is too large for the relay or for a mailbox (RFC 3463 3.3 and 3.4). A DSN with all of it
/// would be too large as well.
fn is_about_size(status: Status) -> bool {
    matches!((status.subject(), status.detail()), (3, 4) | (2, 3))
}

/// Returns whether the header is declared to be UTF-8, and does not just contain 8-bit octets.
fn has_utf8_header(dsn: &Dsn<'_>, content: &Split<'_>) -> bool {
    let header = content.header.octets();
    dsn.original.envelope.smtputf8 && !header.is_ascii() && std::str::from_utf8(header).is_ok()
}

/// Returns the fields of the header section that fit. If the content is cut off within the header section, the last
/// field may be incomplete, and is left out.
fn whole_fields(content: &Split<'_>, content_is_whole: bool) -> Vec<u8> {
    let header = content.header.octets();
    let is_cut = !content_is_whole && content.blank_line.is_empty() && content.body.is_empty();
    let known = if is_cut { header.len().saturating_sub(1) } else { header.len() };
    let limit = known.min(MAX_RETURNED_OCTETS);
    let ends = content.header.fields().map(|field| field.range().end);
    let end = ends.take_while(|end| *end <= limit).last().unwrap_or(0);
    header[..end].to_vec()
}

fn describe(kind: DsnKind, whole: bool) -> &'static str {
    match (kind, whole) {
        (DsnKind::Failed, true) => "Undelivered Message",
        (DsnKind::Failed, false) => "Undelivered Message Header",
        (DsnKind::Delayed { .. }, _) => "Delayed Message Header",
        (DsnKind::Relayed, _) => "Message Header",
    }
}
