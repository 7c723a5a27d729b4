//! The outline of a content: what its header says, decoded, and its parts with their types and sizes.
//!
//! Promises: whatever the content is, this ends soon, in memory of the size of the content: mail-parser reads headers alone, of
//! each at most [`HEADER`] octets, and the parts are found here, at most [`PARTS`] of them and [`LEVELS`] deep, so that nothing of
//! a sender's making is followed without a bound. Pure.
//!
//! Not here: making the decoded text harmless for a terminal (`show.rs`).

use mail_parser::{Addr, Address, ContentType, HeaderName, HeaderValue, Message, MessageParser, MimeHeaders};
use memchr::memmem;
use serde::Serialize;

/// The most octets of a header that are read.
const HEADER: usize = 64 << 10;
/// The most parts that are found.
const PARTS: usize = 200;
/// The most levels of parts in parts.
const LEVELS: usize = 8;

/// What a content is, as its header and its parts say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct ContentOutline {
    pub subject: Option<String>,
    /// The time in Date (RFC 3339).
    pub date: Option<String>,
    pub message_id: Option<String>,
    pub from: Vec<Person>,
    pub reply_to: Vec<Person>,
    pub to: Vec<Person>,
    pub cc: Vec<Person>,
    pub parts: Vec<PartOutline>,
    /// True if all of the header was read: it is not longer than 64 KiB.
    pub header_complete: bool,
    /// True if all parts were found: none was left out since there are too many, or too deep, or beyond what was read.
    pub complete: bool,
}

/// Somebody whom the header names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Person {
    pub name: Option<String>,
    pub address: Option<String>,
}

/// One part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct PartOutline {
    /// Its place, such as `1.2` for the second part of the first one.
    pub place: String,
    /// Its type, such as `text/plain`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The name of its file, if it has one.
    pub name: Option<String>,
    /// The number of its octets; without those of base64 and quoted-printable.
    pub size: u64,
}

impl ContentOutline {
    /// Returns the outline of `content`; `is_whole` if that is all of it.
    pub fn of(content: &[u8], is_whole: bool) -> Self {
        let mut search = PartSearch { parts: Vec::new(), complete: is_whole };
        search.look_at(content, "1".into(), "text/plain");
        let PartSearch { parts, complete } = search;
        let header_complete = header_of(content).0.len() <= HEADER;
        let Some(header) = parsed(header_of(content).0) else {
            return ContentOutline { parts, header_complete, complete, ..ContentOutline::default() };
        };
        ContentOutline {
            subject: header.subject().map(str::to_owned),
            date: header.date().filter(|date| date.is_valid()).map(|date| date.to_rfc3339()),
            message_id: header.message_id().map(str::to_owned),
            from: people(header.from()),
            reply_to: people(header.reply_to()),
            to: people(header.to()),
            cc: people(header.cc()),
            parts,
            header_complete,
            complete,
        }
    }
}

fn people(address: Option<&Address<'_>>) -> Vec<Person> {
    let text = |text: &Option<std::borrow::Cow<'_, str>>| text.as_deref().map(str::to_owned);
    let person = |one: &Addr<'_>| Person { name: text(&one.name), address: text(&one.address) };
    address.map_or_else(Vec::new, |address| address.iter().map(person).collect())
}

/// Splits a content into its header and its body.
fn header_of(content: &[u8]) -> (&[u8], &[u8]) {
    if let Some(body) = content.strip_prefix(b"\r\n").or_else(|| content.strip_prefix(b"\n")) {
        return (&[], body);
    }
    let ends = [(&b"\n\r\n"[..], 3), (b"\n\n", 2)];
    let found =
        ends.iter().filter_map(|(end, length)| memmem::find(content, end).map(|at| (at + 1, at + length)));
    let (header, body) = found.min().unwrap_or((content.len(), content.len()));
    (&content[..header], &content[body..])
}

fn parsed(header: &[u8]) -> Option<Message<'_>> {
    MessageParser::default().parse_headers(&header[..header.len().min(HEADER)])
}

/// A search for the parts of a content.
struct PartSearch {
    parts: Vec<PartOutline>,
    complete: bool,
}

impl PartSearch {
    /// Looks at a part, with its header, and at those within it. It is of the type `otherwise` if its header says none.
    fn look_at(&mut self, part: &[u8], place: String, otherwise: &str) {
        let levels = place.bytes().filter(|octet| *octet == b'.').count();
        if self.parts.len() == PARTS || levels > LEVELS {
            self.complete = false;
            return;
        }
        let (header, body) = header_of(part);
        let header = parsed(header);
        let of_part = header.as_ref().map(Message::root_part);
        let content_type = of_part.and_then(MimeHeaders::content_type);
        let kind = content_type.map_or(otherwise.into(), type_of);
        let encoding = header.as_ref().map_or(ContentEncoding::None, ContentEncoding::of);
        self.parts.push(PartOutline {
            place: place.clone(),
            kind: kind.clone(),
            name: of_part.and_then(MimeHeaders::attachment_name).map(str::to_owned),
            size: encoding.decoded(body),
        });
        let boundary = content_type
            .filter(|_| kind.starts_with("multipart/"))
            .and_then(|kind| kind.attribute("boundary"));
        let within = if kind == "multipart/digest" { "message/rfc822" } else { "text/plain" };
        if let Some(boundary) = boundary.filter(|boundary| !boundary.is_empty()) {
            for (number, inner) in split(body, boundary).enumerate() {
                if self.parts.len() == PARTS {
                    self.complete = false;
                    return;
                }
                self.look_at(inner, format!("{place}.{}", number + 1), within);
            }
        } else if kind == "message/rfc822" && encoding == ContentEncoding::None {
            self.look_at(body, format!("{place}.1"), "text/plain");
        }
    }
}

fn type_of(content_type: &ContentType<'_>) -> String {
    let kind = match &content_type.c_subtype {
        Some(subtype) => format!("{}/{subtype}", content_type.c_type),
        None => content_type.c_type.clone().into_owned(),
    };
    kind.to_ascii_lowercase()
}

/// Returns what stands between the lines that begin with `--` and the boundary (RFC 2046 5.1.1).
fn split<'a>(body: &'a [u8], boundary: &str) -> impl Iterator<Item = &'a [u8]> {
    let delimiter = [b"--", boundary.as_bytes()].concat();
    let mut lines = Vec::new();
    for at in memmem::find_iter(body, &delimiter) {
        let end = at + delimiter.len();
        let line_end = memchr::memchr(b'\n', &body[end..]).map_or(body.len(), |length| end + length + 1);
        let rest = body[end..line_end].trim_ascii();
        if (at == 0 || body[at - 1] == b'\n') && (rest.is_empty() || rest == b"--") {
            lines.push((at, line_end, rest == b"--"));
        }
        // One more than is shown says that there are more.
        if lines.len() > PARTS + 1 || rest == b"--" {
            break;
        }
    }
    let begins: Vec<usize> = lines.iter().filter(|(.., is_last)| !is_last).map(|(_, end, _)| *end).collect();
    let ends: Vec<usize> = lines.iter().skip(1).map(|(at, ..)| *at).chain([body.len()]).collect();
    begins.into_iter().zip(ends).map(move |(begin, end)| &body[begin..end.max(begin)])
}

/// How the octets of a part are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ContentEncoding {
    None,
    Base64,
    QuotedPrintable,
}

impl ContentEncoding {
    fn of(header: &Message<'_>) -> Self {
        match header.header(HeaderName::ContentTransferEncoding) {
            Some(HeaderValue::Text(name)) if name.eq_ignore_ascii_case("base64") => ContentEncoding::Base64,
            Some(HeaderValue::Text(name)) if name.eq_ignore_ascii_case("quoted-printable") => {
                ContentEncoding::QuotedPrintable
            }
            _ => ContentEncoding::None,
        }
    }

    /// Returns the number of octets that `body` stands for.
    fn decoded(self, body: &[u8]) -> u64 {
        let count = |is_one: fn(&u8) -> bool| body.iter().filter(|octet| is_one(octet)).count();
        let times = |octets: &[u8]| memmem::find_iter(body, octets).count();
        let length = match self {
            ContentEncoding::None => body.len(),
            ContentEncoding::Base64 => {
                count(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'/')) * 3 / 4
            }
            ContentEncoding::QuotedPrintable => {
                // = at the end of a line stands for nothing, and another one for an octet, together with two digits.
                let (crlf, lf) = (times(b"=\r\n"), times(b"=\n"));
                let digits = 2 * (count(|octet| *octet == b'=') - crlf - lf);
                body.len().saturating_sub(3 * crlf + 2 * lf + digits)
            }
        };
        length as u64
    }
}

#[cfg(test)]
mod tests;
