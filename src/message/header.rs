//! The header section, split into its fields on raw octets.
//!
//! Promises:
//! 1. Nothing is lost and nothing is changed: [`Split`]'s four pieces one behind the other are the
//!    content, and a [`Header`]'s fields one behind the other are its octets.
//! 2. How content arrives does not matter: [`Scan`] finds the same end in any chunking.
//!
//! What is what (RFC 5322 2.2, 4.5):
//! - A field is `name *WSP ":" body`; its lines go on as long as they begin with a space or tab.
//!   Lines of white space alone are continuations too (obs-FWS). Names are ASCII and compared
//!   without case; bodies are any octets.
//! - The header section ends with an empty line. Without one it ends before the first line that is
//!   neither a field nor a continuation: a message may have no header at all, or a body glued on.
//! - An mbox `From ` line is no field. It is split off if it is the very first line, has a time of
//!   day in it and a field behind it; anywhere else such a line is text, and begins the body.
//!
//! This is the strict reading; content that comes in is mended first, so that it holds (`mend.rs`).
//!
//! Lines end with LF or CRLF; content has only CRLF by the time it gets here. Nothing here fails.
//!
//! Not here: what fields mean, adding to them, bounds on size (`fixup.rs`).

mod scan;

use std::borrow::Cow;
use std::ops::Range;

pub use scan::{HeaderExtent, Scan};
pub(super) use scan::{LineKind, is_mbox_line};

/// Content in its pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split<'a> {
    /// The mbox `From ` line with its line end, or nothing.
    pub mbox_line: &'a [u8],
    /// The header section.
    pub header: Header<'a>,
    /// The empty line behind the header section: a line end, or nothing where it is missing.
    pub blank_line: &'a [u8],
    /// All that follows.
    pub body: &'a [u8],
}

/// Splits whole content.
pub fn split(content: &[u8]) -> Split<'_> {
    let mut scan = Scan::default();
    let end = scan.advance(content).unwrap_or_else(|| scan.finish(content));
    end.split(content)
}

/// A header section: fields and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a>(&'a [u8]);

impl<'a> Header<'a> {
    /// All fields, octet by octet; the last line may lack its line end.
    pub fn octets(&self) -> &'a [u8] {
        self.0
    }

    /// The fields in their order.
    pub fn fields(&self) -> Fields<'a> {
        Fields { header: self.0, position: 0 }
    }

    /// The first field of this name.
    pub fn find(&self, name: &str) -> Option<Field<'a>> {
        self.fields().find(|field| field.is(name))
    }
}

/// The fields of a [`Header`].
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
    /// The name as it was written.
    pub fn name(&self) -> &'a str {
        // Names are printable ASCII: a line with another octet there is no field.
        std::str::from_utf8(&self.octets[..self.name_len]).unwrap_or_default()
    }

    /// Whether this is the field `name`, in any case.
    pub fn is(&self, name: &str) -> bool {
        self.name().eq_ignore_ascii_case(name)
    }

    /// The whole field: name, colon, body, folds and line end.
    pub fn octets(&self) -> &'a [u8] {
        self.octets
    }

    /// Where [`Field::octets`] stand in [`Header::octets`].
    pub fn range(&self) -> Range<usize> {
        self.start..self.start + self.octets.len()
    }

    /// What stands behind the colon: folds, surrounding white space and line end included.
    pub fn raw_body(&self) -> &'a [u8] {
        self.octets.get(self.colon + 1..).unwrap_or_default()
    }

    /// The body on one line (RFC 5322 2.2.3): without folds, line end and surrounding white space.
    pub fn unfolded(&self) -> Cow<'a, [u8]> {
        let body = self.raw_body().trim_ascii();
        if !body.contains(&b'\n') {
            return Cow::Borrowed(body);
        }
        let lines = body.split(|octet| *octet == b'\n');
        Cow::Owned(lines.flat_map(|line| line.strip_suffix(b"\r").unwrap_or(line)).copied().collect())
    }
}

/// The length of the field that `header` begins with.
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

/// The position behind the next LF, from `from` on.
fn line_end(octets: &[u8], from: usize) -> Option<usize> {
    octets[from..].iter().position(|octet| *octet == b'\n').map(|index| from + index + 1)
}

/// RFC 5322 3.6.8 ftext: printable ASCII but the colon.
fn is_name_octet(octet: &u8) -> bool {
    octet.is_ascii_graphic() && *octet != b':'
}

pub(super) fn is_wsp(octet: &u8) -> bool {
    matches!(octet, b' ' | b'\t')
}

fn count_while(octets: &[u8], belongs: impl Fn(&u8) -> bool) -> usize {
    octets.iter().take_while(|octet| belongs(octet)).count()
}

#[cfg(test)]
mod tests;
