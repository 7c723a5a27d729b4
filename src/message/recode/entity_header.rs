//! Reads and changes the fields of an entity that say what its body is.
//!
//! Promises: a header section whose fields contradict each other is [`EntityKind::Opaque`]. A change replaces a whole
//! field, or adds one at the end of the section; the other fields stay octet for octet.
//!
//! Not here: where a header section ends (`entities.rs`), whether a body is encoded (`survey.rs`).
//!
//! RFC 2045 5.1 (Content-Type), 6.1 (Content-Transfer-Encoding).

use super::super::header::{Field, Header, split};
use super::LeftBecause;

/// The kind of an entity, for the treatment of its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum EntityKind {
    /// The body consists of parts.
    Multipart {
        /// The boundary between the parts, without the two hyphens of a delimiter.
        boundary: Vec<u8>,
        /// True if a part without a type is a message (RFC 2046 5.1.5).
        is_digest: bool,
    },
    /// The body is another message.
    Message,
    /// The body may be encoded.
    Leaf {
        /// True if it is text.
        is_text: bool,
        /// True if the header section has no Content-Type.
        is_untyped: bool,
    },
    /// The body has this encoding already, and may only be wrapped anew.
    Encoded(BodyEncoding),
    /// The body stays as it is, and so does everything in it, for this reason.
    Opaque(LeftBecause),
}

/// The longest line of an encoded body, without its line end (RFC 2045 6.7, 6.8).
pub(super) const MAX_ENCODED_LINE: usize = 76;

/// An encoding of a body (RFC 2045 6.7, 6.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyEncoding {
    QuotedPrintable,
    Base64,
}

/// The fields that are added to the header section of a body that is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DeclaredText {
    /// The charset of a text without a type; `None` if it has a type.
    pub(super) charset: Option<&'static str>,
    /// True if this is the header section of a message without MIME-Version.
    pub(super) lacks_version: bool,
}

/// Returns the kind of the entity with this header section.
pub(super) fn kind_of(octets: &[u8], is_in_digest: bool) -> EntityKind {
    let header = split(octets).header;
    let has_two = |name: &str| header.fields().filter(|field| field.is(name)).nth(1).is_some();
    if header.find("DKIM-Signature").is_some() {
        return EntityKind::Opaque(LeftBecause::Signed);
    }
    if has_two(TYPE) || has_two(ENCODING) {
        return EntityKind::Opaque(LeftBecause::Unclear);
    }
    let kind = kind_by_type(header, is_in_digest);
    match (encoding_of(header), kind) {
        (StatedEncoding::None, kind) => kind,
        (_, kind @ EntityKind::Opaque(LeftBecause::Signed)) => kind,
        (StatedEncoding::Known(encoding), EntityKind::Leaf { .. }) => EntityKind::Encoded(encoding),
        (StatedEncoding::Known(_) | StatedEncoding::Unknown, _) => EntityKind::Opaque(LeftBecause::Encoded),
    }
}

/// Returns the kind of an entity that has no encoding.
fn kind_by_type(header: Header<'_>, is_in_digest: bool) -> EntityKind {
    let Some(field) = header.find(TYPE) else {
        return if is_in_digest {
            EntityKind::Message
        } else {
            EntityKind::Leaf { is_text: true, is_untyped: true }
        };
    };
    let body = field.unfolded();
    let media_type = body.split(|octet| *octet == b';').next().unwrap_or_default().trim_ascii();
    let media_type = media_type.to_ascii_lowercase();
    match &media_type[..] {
        b"multipart/signed" => EntityKind::Opaque(LeftBecause::Signed),
        b"message/rfc822" => EntityKind::Message,
        other if other.starts_with(b"multipart/") => match boundary(&body) {
            Some(boundary) => EntityKind::Multipart { boundary, is_digest: other == b"multipart/digest" },
            None => EntityKind::Opaque(LeftBecause::Unclear),
        },
        other if other.starts_with(b"message/") => EntityKind::Opaque(LeftBecause::Type),
        other => EntityKind::Leaf { is_text: other.starts_with(b"text/"), is_untyped: false },
    }
}

const TYPE: &str = "Content-Type";
const ENCODING: &str = "Content-Transfer-Encoding";

/// The encoding that a header section states.
enum StatedEncoding {
    /// The body stands for itself.
    None,
    Known(BodyEncoding),
    Unknown,
}

fn encoding_of(header: Header<'_>) -> StatedEncoding {
    let Some(field) = header.find(ENCODING) else { return StatedEncoding::None };
    match &field.unfolded().trim_ascii().to_ascii_lowercase()[..] {
        b"7bit" | b"8bit" | b"binary" => StatedEncoding::None,
        b"base64" => StatedEncoding::Known(BodyEncoding::Base64),
        b"quoted-printable" => StatedEncoding::Known(BodyEncoding::QuotedPrintable),
        _ => StatedEncoding::Unknown,
    }
}

/// Returns the boundary in the body of a Content-Type: a token, or a quoted string.
fn boundary(body: &[u8]) -> Option<Vec<u8>> {
    let mut rest = &body[body.iter().position(|octet| *octet == b';')?..];
    while let Some(parameter) = rest.strip_prefix(b";") {
        let parameter = parameter.trim_ascii_start();
        let equals = parameter.iter().position(|octet| *octet == b'=')?;
        let (name, value) = (parameter[..equals].trim_ascii(), parameter[equals + 1..].trim_ascii_start());
        let (text, behind) = value_of(value)?;
        if name.eq_ignore_ascii_case(b"boundary") {
            // RFC 2046 5.1.1: 1 to 70 octets, the last one no space.
            return Some(text).filter(|text| !text.is_empty() && text.len() <= 70 && !text.ends_with(b" "));
        }
        rest = behind;
    }
    None
}

/// Returns the value at the beginning of `text`, and all that follows from the next semicolon on.
fn value_of(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let Some(mut quoted) = text.strip_prefix(b"\"") else {
        let end = text.iter().position(|octet| *octet == b';').unwrap_or(text.len());
        return Some((text[..end].trim_ascii().to_vec(), &text[end..]));
    };
    let mut value = Vec::new();
    loop {
        match quoted {
            [b'"', behind @ ..] => return Some((value, behind.trim_ascii_start())),
            [b'\\', octet, behind @ ..] | [octet, behind @ ..] => {
                value.push(*octet);
                quoted = behind;
            }
            [] => return None,
        }
    }
}

/// Writes a header section to `out`, with this encoding of its body and with the fields of `declared`.
pub(super) fn declare(octets: &[u8], encoding: BodyEncoding, declared: DeclaredText, out: &mut Vec<u8>) {
    let DeclaredText { charset, lacks_version } = declared;
    let mut added = if lacks_version { "MIME-Version: 1.0\r\n".to_owned() } else { String::new() };
    if let Some(charset) = charset {
        added.push_str(&format!("Content-Type: text/plain; charset={charset}\r\n"));
    }
    let name = match encoding {
        BodyEncoding::QuotedPrintable => "quoted-printable",
        BodyEncoding::Base64 => "base64",
    };
    with_encoding(octets, name, &added, out);
}

/// Writes the header section of a composite entity to `out`, whose parts have no 8-bit octets any more.
pub(super) fn without_eight_bit(octets: &[u8], out: &mut Vec<u8>) {
    with_encoding(octets, "7bit", "", out);
}

/// Returns whether a header section says that its body may have other octets than ASCII.
pub(super) fn says_eight_bit(octets: &[u8]) -> bool {
    let encoding =
        split(octets).header.find(ENCODING).map(|field| field.unfolded().trim_ascii().to_ascii_lowercase());
    matches!(encoding.as_deref(), Some(b"8bit" | b"binary"))
}

/// Returns whether the header section has the field MIME-Version.
pub(super) fn has_mime_version(octets: &[u8]) -> bool {
    split(octets).header.find("MIME-Version").is_some()
}

/// Writes a header section to `out`, with the encoding of this name, and the lines `added` before its end.
fn with_encoding(octets: &[u8], name: &str, added: &str, out: &mut Vec<u8>) {
    let parts = split(octets);
    let field = format!("{ENCODING}: {name}\r\n");
    let (mut added, old) = (added.to_owned(), parts.header.find(ENCODING).map(|old: Field<'_>| old.range()));
    out.extend_from_slice(parts.mbox_line);
    let header = parts.header.octets();
    match old {
        Some(range) => {
            out.extend_from_slice(&header[..range.start]);
            out.extend_from_slice(field.as_bytes());
            out.extend_from_slice(&header[range.end..]);
        }
        None => {
            out.extend_from_slice(header);
            added.push_str(&field);
        }
    }
    out.extend_from_slice(added.as_bytes());
    out.extend_from_slice(parts.blank_line);
    out.extend_from_slice(parts.body);
}
