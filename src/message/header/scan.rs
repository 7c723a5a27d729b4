//! Finds the end of the header section while content is still arriving.
//!
//! Promises: the result depends on the content alone, and not on the pieces in which it arrives. It is given as soon
//! as it is certain, so that a body without line ends is not held. A line that is taken for an mbox line is never
//! text (the rules are in `header.rs`).
//!
//! Not here: the fields (`header.rs`).

use std::ops::Range;

use super::{Header, MAX_LINE_OCTETS, Split, count_while, is_name_octet, is_wsp, line_end};

/// The longest name of a field with the white space before its colon, and the longest mbox `From ` line. Anything
/// longer than a line may be (RFC 5322 2.1.1) is text.
pub(super) const MAX_NAME_OCTETS: usize = MAX_LINE_OCTETS;

/// The position of the header section in content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderExtent {
    header: Range<usize>,
    body: usize,
}

impl HeaderExtent {
    /// The extent if all of the content is body.
    const NO_HEADER: HeaderExtent = HeaderExtent { header: 0..0, body: 0 };

    /// Splits `content`, which begins with the octets that were scanned.
    pub fn split<'a>(&self, content: &'a [u8]) -> Split<'a> {
        Split {
            mbox_line: &content[..self.header.start],
            header: Header(&content[self.header.clone()]),
            blank_line: &content[self.header.end..self.body],
            body: &content[self.body..],
        }
    }
}

/// Finds the end of the header section in content that is still arriving.
///
/// It always gets all octets so far, and looks at each of them once (at those of a name again until its colon
/// arrives).
#[derive(Debug, Default)]
pub struct Scan {
    /// The position at which the current line begins.
    line: usize,
    /// The length of an mbox line at the beginning. It may still be text until a field follows.
    mbox: usize,
    awaiting: Awaiting,
}

#[derive(Clone, Copy, Debug, Default)]
enum Awaiting {
    /// The beginning of a line, so far that its kind is known.
    #[default]
    LineStart,
    /// The end of a line of a field, which is not before this position.
    LineEnd(usize),
    /// The end of a first line that may be an mbox line, which is not before this position.
    MboxLineEnd(usize),
}

impl Scan {
    /// Goes on in `octets`, which are all of the content so far. Returns the extent of the header section if it is
    /// certain.
    pub fn advance(&mut self, octets: &[u8]) -> Option<HeaderExtent> {
        loop {
            match self.awaiting {
                Awaiting::LineStart => {
                    let line = LineKind::begun_by(&octets[self.line..])?;
                    if let Some(end) = self.line_begun(line, octets) {
                        return Some(end);
                    }
                }
                Awaiting::LineEnd(from) => {
                    self.awaiting = Awaiting::LineEnd(octets.len());
                    self.next_line(line_end(octets, from)?);
                }
                Awaiting::MboxLineEnd(from) => {
                    self.awaiting = Awaiting::MboxLineEnd(octets.len());
                    match line_end(octets, from) {
                        Some(end) if is_mbox_line(&octets[..end]) => {
                            self.mbox = end;
                            self.next_line(end);
                        }
                        None if octets.len() <= MAX_NAME_OCTETS => return None,
                        _ => return Some(HeaderExtent::NO_HEADER),
                    }
                }
            }
        }
    }

    /// Returns the extent if nothing follows `octets`, which are all of the content.
    pub fn finish(&self, octets: &[u8]) -> HeaderExtent {
        match self.awaiting {
            Awaiting::LineEnd(_) => HeaderExtent { header: self.mbox..octets.len(), body: octets.len() },
            Awaiting::LineStart => self.ended_at(self.line),
            Awaiting::MboxLineEnd(_) => HeaderExtent::NO_HEADER,
        }
    }

    /// Returns how many of the first `len` octets are certainly in the header section.
    pub fn header_octets(&self, len: usize) -> usize {
        match self.awaiting {
            Awaiting::LineStart => self.line,
            Awaiting::LineEnd(_) => len,
            Awaiting::MboxLineEnd(_) => 0,
        }
    }

    fn line_begun(&mut self, line: LineKind, octets: &[u8]) -> Option<HeaderExtent> {
        match line {
            LineKind::Field => self.awaiting = Awaiting::LineEnd(self.line),
            LineKind::Continuation if self.has_field() => self.awaiting = Awaiting::LineEnd(self.line),
            LineKind::Blank { len } if self.has_field() || self.mbox == 0 => {
                return Some(HeaderExtent { body: self.line + len, ..self.ended_at(self.line) });
            }
            LineKind::Text if octets.starts_with(b"From ") && self.line == 0 => {
                self.awaiting = Awaiting::MboxLineEnd(0);
            }
            _ => return Some(self.ended_at(self.line)),
        }
        None
    }

    fn has_field(&self) -> bool {
        self.line > self.mbox
    }

    fn next_line(&mut self, start: usize) {
        self.line = start;
        self.awaiting = Awaiting::LineStart;
    }

    /// Returns the extent of a header section that ends before the line at `end`, without an empty line.
    fn ended_at(&self, end: usize) -> HeaderExtent {
        // An mbox line without a field after it is text, and must not be lost.
        if self.has_field() {
            HeaderExtent { header: self.mbox..end, body: end }
        } else {
            HeaderExtent::NO_HEADER
        }
    }
}

/// The kind of a line, which its beginning shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::message) enum LineKind {
    Field,
    Continuation,
    Blank { len: usize },
    Text,
}

impl LineKind {
    /// Returns the kind of a line; `None` if there are too few octets. More octets never change the result.
    pub(in crate::message) fn begun_by(start: &[u8]) -> Option<LineKind> {
        match start {
            [] | [b'\r'] => return None,
            [b'\n', ..] => return Some(LineKind::Blank { len: 1 }),
            [b'\r', b'\n', ..] => return Some(LineKind::Blank { len: 2 }),
            [first, ..] if is_wsp(first) => return Some(LineKind::Continuation),
            _ => {}
        }
        let name_len = count_while(start, is_name_octet);
        let colon = name_len + count_while(&start[name_len..], is_wsp);
        if name_len == 0 || colon > MAX_NAME_OCTETS {
            return Some(LineKind::Text);
        }
        start.get(colon).map(|octet| if *octet == b':' { LineKind::Field } else { LineKind::Text })
    }
}

/// Returns whether a first line that begins with `From ` is an mbox line (RFC 4155): it contains a time of day, so
/// that a text which begins with this word is not taken for one.
pub(in crate::message) fn is_mbox_line(line: &[u8]) -> bool {
    let is_time = |word: &[u8]| {
        matches!(word, [h, b':', m @ ..] | [_, h, b':', m @ ..]
            if h.is_ascii_digit() && m.len() >= 2 && m[..2].iter().all(u8::is_ascii_digit))
    };
    line.len() <= MAX_NAME_OCTETS && line.split(u8::is_ascii_whitespace).any(is_time)
}
