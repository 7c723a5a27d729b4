//! Splits content into the header section and the body, and the header section into its fields, on raw octets.
//!
//! Promises:
//! 1. Nothing is lost or changed: the four pieces of a [`Split`] together are the content, and the fields of a
//!    [`Header`] together are its octets.
//! 2. The result does not depend on the pieces in which content arrives: [`Scan`] finds the same end.
//!
//! The rules (RFC 5322 2.2, 4.5):
//! - A field is `name *WSP ":" body`. Lines that begin with a space or tab continue it, even lines of white space
//!   alone (obs-FWS). Names are ASCII, and compared without case; bodies are any octets.
//! - The header section ends with an empty line. Without one, it ends before the first line that is neither a field
//!   nor a continuation: a message may have no header at all, or its body may follow directly.
//! - An mbox `From ` line is not a field. It is split off if it is the very first line, contains a time of day, and
//!   is followed by a field. Anywhere else such a line is text, and begins the body.
//!
//! These are the strict rules. Content that arrives is mended before, so that they apply (`mend.rs`).
//!
//! Lines end with LF or CRLF; content has only CRLF when it gets here. Nothing here fails.
//!
//! Not here: the meaning of fields, adding fields, limits on size (`fixup.rs`).

mod scan;

use std::borrow::Cow;
use std::ops::Range;

use memchr::memchr;

/// The largest header section that is accepted, in octets.
pub const MAX_HEADER_OCTETS: usize = 1024 * 1024;

/// The longest line of content that SMTP carries, in octets without its CRLF (RFC 5321 4.5.3.1.6, RFC 5322 2.1.1).
pub const MAX_LINE_OCTETS: usize = 998;

pub use scan::{HeaderExtent, Scan};
pub(super) use scan::{LineKind, is_mbox_line};

/// The four pieces of content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split<'a> {
    /// The mbox `From ` line with its line end; may be empty.
    pub mbox_line: &'a [u8],
    /// The header section, without the empty line that ends it.
    pub header: Header<'a>,
    /// The empty line after the header section: a line end, or nothing if it is missing.
    pub blank_line: &'a [u8],
    /// The body: everything after the empty line.
    pub body: &'a [u8],
}

/// Splits content that is complete.
pub fn split(content: &[u8]) -> Split<'_> {
    let mut scan = Scan::default();
    let end = scan.advance(content).unwrap_or_else(|| scan.finish(content));
    end.split(content)
}

/// A header section, which consists of fields only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a>(&'a [u8]);

impl<'a> Header<'a> {
    /// Returns the octets of all fields. The last line may lack its line end.
    pub fn octets(&self) -> &'a [u8] {
        self.0
    }

    /// Returns the fields in their order.
    pub fn fields(&self) -> Fields<'a> {
        Fields { header: self.0, position: 0 }
    }

    /// Returns the first field with this name.
    pub fn find(&self, name: &str) -> Option<Field<'a>> {
        self.fields().find(|field| field.is(name))
    }
}

/// An iterator over the fields of a [`Header`].
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    header: &'a [u8],
    position: usize,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        let start = self.position;
        let rest = &self.header[start..];
        if rest.is_empty() {
            return None;
        }
        let len = field_len(rest);
        self.position += len;
        let octets = &rest[..len];
        let name_len = count_while(octets, is_name_octet);
        let colon = name_len + count_while(&octets[name_len..], is_wsp);
        Some(Field { octets, start, name_len, colon })
    }
}

/// One field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    octets: &'a [u8],
    start: usize,
    name_len: usize,
    colon: usize,
}

impl<'a> Field<'a> {
    /// Returns the name as it was written.
    pub fn name(&self) -> &'a str {
        // A name is printable ASCII, since a line with another octet there is not a field.
        std::str::from_utf8(&self.octets[..self.name_len]).unwrap_or_default()
    }

    /// Returns whether this is the field `name`; case does not matter.
    pub fn is(&self, name: &str) -> bool {
        self.name().eq_ignore_ascii_case(name)
    }

    /// Returns the whole field: name, colon, body, folds and line end.
    pub fn octets(&self) -> &'a [u8] {
        self.octets
    }

    /// Returns the range of [`Field::octets`] in [`Header::octets`].
    pub fn range(&self) -> Range<usize> {
        self.start..self.start + self.octets.len()
    }

    /// Returns everything after the colon, with folds, surrounding white space and line end.
    pub fn raw_body(&self) -> &'a [u8] {
        self.octets.get(self.colon + 1..).unwrap_or_default()
    }

    /// Returns the body on one line (RFC 5322 2.2.3), without folds, line end and surrounding white space.
    pub fn unfolded(&self) -> Cow<'a, [u8]> {
        let body = self.raw_body().trim_ascii();
        if !body.contains(&b'\n') {
            return Cow::Borrowed(body);
        }
        let lines = body.split(|octet| *octet == b'\n');
        Cow::Owned(lines.flat_map(|line| line.strip_suffix(b"\r").unwrap_or(line)).copied().collect())
    }
}

/// Returns the length of the first field of `header`.
fn field_len(header: &[u8]) -> usize {
    let mut len = 0;
    while let Some(end) = line_end(header, len) {
        len = end;
        if !header.get(end).is_some_and(is_wsp) {
            return len;
        }
    }
    header.len()
}

/// Returns the position after the next LF, from `from` on.
pub(super) fn line_end(octets: &[u8], from: usize) -> Option<usize> {
    memchr(b'\n', &octets[from..]).map(|index| from + index + 1)
}

/// Returns the length of the first line, or of all octets if it has no end.
pub(super) fn line_len(octets: &[u8]) -> usize {
    line_end(octets, 0).unwrap_or(octets.len())
}

/// Returns the name of the field that `line` begins: all before the colon, without the white space around it.
pub(super) fn name_before_colon(line: &[u8]) -> &[u8] {
    line[..memchr(b':', line).unwrap_or(line.len())].trim_ascii()
}

/// Returns whether an octet may be in the name of a field: printable ASCII except the colon (RFC 5322 3.6.8).
fn is_name_octet(octet: &u8) -> bool {
    octet.is_ascii_graphic() && *octet != b':'
}

/// Returns whether an octet is a space or a tab (WSP in RFC 5322).
pub(super) fn is_wsp(octet: &u8) -> bool {
    matches!(octet, b' ' | b'\t')
}

/// Returns the number of octets at the beginning that belong together.
pub(super) fn count_while(octets: &[u8], belongs: impl Fn(&u8) -> bool) -> usize {
    octets.iter().take_while(|octet| belongs(octet)).count()
}

#[cfg(test)]
mod tests;
