//! Splits content that is still arriving into the entities of its MIME structure.
//!
//! Promises:
//! 1. The octets of all pieces together are the content, in its order. The pieces differ with those in which content
//!    arrives only in where a body is cut.
//! 2. A line end before a delimiter belongs to the delimiter (RFC 2046 5.1.1), and not to the body.
//! 3. Each entity has a number, counted from 0 in the order of their header sections; the message itself is 0.
//! 4. Memory is at most one header section or one line that may be a delimiter, and the boundaries of
//!    [`MAX_DEPTH`] multiparts. Beyond [`MAX_HEADER_OCTETS`] or [`MAX_ENTITIES`], the structure is not clear. Nor is it
//!    where readers disagree about a delimiter. The rest then counts as the body at hand.
//!
//! Not here: what the fields of a header section say (`entity_header.rs`).
//!
//! RFC 2046 5.1 (multipart), 5.2.1 (message/rfc822).

use super::super::header::{MAX_HEADER_OCTETS, line_len};
use super::LeftBecause;
use super::entity_header::{EntityKind, kind_of};

/// Upper bound of the number of multiparts that are within each other.
const MAX_DEPTH: usize = 50;
/// Upper bound of the number of entities whose header sections are read.
const MAX_ENTITIES: usize = 10_000;
/// Upper bound of the length of a delimiter line: a boundary has at most 70 octets, and blanks may follow it.
const MAX_DELIMITER_OCTETS: usize = 998;

/// A piece of the content.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum EntityPiece<'a> {
    /// The header section of the next entity, with the empty line after it if there is one.
    Header {
        /// The number of the entity.
        entity: usize,
        /// The number of the entity that it is a part of.
        parent: Option<usize>,
        kind: &'a EntityKind,
        octets: &'a [u8],
    },
    /// Octets of the body of an entity that has no parts, or whose parts are of no concern.
    Body { entity: usize, octets: &'a [u8] },
    /// Octets between the parts of an entity: a delimiter, or text that readers skip.
    Between { entity: usize, octets: &'a [u8] },
}

impl EntityPiece<'_> {
    /// Returns whether it is a part of a body.
    pub(super) fn is_body(&self) -> bool {
        matches!(self, EntityPiece::Body { .. })
    }
}

/// The entities of content that is still arriving.
#[derive(Debug)]
pub(super) struct Entities {
    /// The multiparts whose end has not come, the outermost first.
    open: Vec<OpenMultipart>,
    place: Place,
    /// The number of entities whose header section was begun.
    begun: usize,
    /// The beginning of a line that may become a delimiter, or, in a header section, of any line.
    line: Vec<u8>,
    /// True within a line whose beginning was passed on.
    is_within_line: bool,
    /// True if the last octet was CR, and waits for the next one.
    holds_cr: bool,
    /// True if a line end was held back that may belong to a delimiter.
    holds_line_end: bool,
    is_clear: bool,
}

#[derive(Debug)]
struct OpenMultipart {
    entity: usize,
    boundary: Vec<u8>,
    is_digest: bool,
}

/// The place of the next octet.
#[derive(Debug)]
enum Place {
    Header { entity: usize, parent: Option<usize>, is_in_digest: bool, octets: Vec<u8> },
    Body { entity: usize },
    Between { entity: usize },
}

impl Default for Entities {
    fn default() -> Self {
        Entities {
            open: Vec::new(),
            place: Place::Header { entity: 0, parent: None, is_in_digest: false, octets: Vec::new() },
            begun: 1,
            line: Vec::new(),
            is_within_line: false,
            holds_cr: false,
            holds_line_end: false,
            is_clear: true,
        }
    }
}

impl Entities {
    /// Returns whether the structure could be followed so far.
    pub(super) fn is_clear(&self) -> bool {
        self.is_clear
    }

    /// Takes `octets`, and tells `tell` the pieces that are decided.
    pub(super) fn push(&mut self, octets: &[u8], tell: &mut impl FnMut(EntityPiece<'_>)) {
        let mut rest = octets;
        if self.holds_cr && !rest.is_empty() {
            self.holds_cr = false;
            let is_line_end = rest.starts_with(b"\n");
            self.take(if is_line_end { b"\r\n" } else { b"\r" }, tell);
            rest = &rest[usize::from(is_line_end)..];
        }
        if let Some(before) = rest.strip_suffix(b"\r") {
            (rest, self.holds_cr) = (before, true);
        }
        while !rest.is_empty() {
            let piece;
            (piece, rest) = rest.split_at(line_len(rest));
            self.take(piece, tell);
        }
    }

    /// Ends the content.
    pub(super) fn finish(mut self, tell: &mut impl FnMut(EntityPiece<'_>)) {
        if self.holds_cr {
            self.take(b"\r", tell);
        }
        if !self.line.is_empty() {
            self.end_line(tell);
        }
        self.let_line_end_go(tell);
        self.end_headers(tell);
    }

    /// Takes a line, or a part of one.
    fn take(&mut self, piece: &[u8], tell: &mut impl FnMut(EntityPiece<'_>)) {
        let is_end = piece.ends_with(b"\n");
        if self.is_within_line {
            self.pass(piece, is_end, tell);
            self.is_within_line = !is_end;
            return;
        }
        self.line.extend_from_slice(piece);
        let may_go_on =
            self.in_header() || (self.may_be_delimiter() && self.line.len() <= MAX_DELIMITER_OCTETS);
        if is_end || !may_go_on || self.line.len() > MAX_HEADER_OCTETS {
            self.end_line(tell);
            self.is_within_line = !is_end;
        }
    }

    fn in_header(&self) -> bool {
        matches!(self.place, Place::Header { .. })
    }

    /// Returns whether the line so far may be the beginning of a delimiter.
    fn may_be_delimiter(&self) -> bool {
        !self.open.is_empty() && b"--".starts_with(&self.line[..self.line.len().min(2)])
    }

    /// Takes the line at hand: it is whole, or no delimiter.
    fn end_line(&mut self, tell: &mut impl FnMut(EntityPiece<'_>)) {
        let line = std::mem::take(&mut self.line);
        match self.delimits(&line) {
            Some((depth, is_last)) => self.delimit(depth, is_last, &line, tell),
            None => {
                self.let_line_end_go(tell);
                self.pass(&line, line.ends_with(b"\n"), tell);
            }
        }
        // Its memory serves the next line.
        self.line = line;
        self.line.clear();
    }

    /// Returns the place in `open` of the multipart that `line` delimits, and whether it is the last delimiter of it.
    ///
    /// Some readers take a line for a delimiter that only begins like one, as RFC 2046 5.1.1 allows, and others do not:
    /// the structure is not clear then.
    fn delimits(&mut self, line: &[u8]) -> Option<(usize, bool)> {
        let behind = line.strip_prefix(b"--").filter(|_| self.is_clear)?;
        let begun = || {
            let open = self.open.iter().enumerate().rev();
            open.filter_map(|(depth, open)| {
                Some((depth, behind.strip_prefix(&open.boundary[..])?.trim_ascii_end()))
            })
        };
        let whole = begun().find(|(_, rest)| matches!(*rest, b"" | b"--"));
        self.is_clear = whole.is_some() || begun().next().is_none();
        whole.map(|(depth, rest)| (depth, rest == b"--"))
    }

    /// Ends the parts within the multipart at `depth` by the delimiter `line`.
    fn delimit(&mut self, depth: usize, is_last: bool, line: &[u8], tell: &mut impl FnMut(EntityPiece<'_>)) {
        self.end_headers(tell);
        // Some readers end a multipart whose last delimiter is missing with the one around it, and others do not.
        self.is_clear &= self.open.len() == depth + 1;
        self.open.truncate(depth + 1);
        let Some(OpenMultipart { entity, is_digest, .. }) = self.open.last() else { return };
        let (entity, is_in_digest) = (*entity, *is_digest);
        if std::mem::take(&mut self.holds_line_end) {
            tell(EntityPiece::Between { entity, octets: b"\r\n" });
        }
        tell(EntityPiece::Between { entity, octets: line });
        if is_last {
            self.open.truncate(depth);
            self.place = Place::Between { entity };
        } else {
            self.begin_entity(entity, is_in_digest);
        }
    }

    fn begin_entity(&mut self, parent: usize, is_in_digest: bool) {
        self.is_clear &= self.begun < MAX_ENTITIES;
        self.place =
            Place::Header { entity: self.begun, parent: Some(parent), is_in_digest, octets: Vec::new() };
        self.begun += 1;
    }

    /// Passes octets on that are no delimiter.
    fn pass(&mut self, octets: &[u8], is_end: bool, tell: &mut impl FnMut(EntityPiece<'_>)) {
        match &mut self.place {
            Place::Header { octets: header, .. } => {
                header.extend_from_slice(octets);
                let is_too_long = header.len() > MAX_HEADER_OCTETS;
                self.is_clear &= !is_too_long;
                if is_too_long || (!self.is_within_line && matches!(octets, b"\r\n" | b"\n")) {
                    self.end_header(tell);
                }
            }
            Place::Body { entity } | Place::Between { entity } => {
                let entity = *entity;
                let (text, held) = match octets.strip_suffix(b"\r\n") {
                    Some(text) if is_end => (text, true),
                    _ => (octets, false),
                };
                if !text.is_empty() {
                    tell(self.piece(entity, text));
                }
                self.holds_line_end = held;
            }
        }
    }

    /// Passes the line end on that was held back: no delimiter follows it.
    fn let_line_end_go(&mut self, tell: &mut impl FnMut(EntityPiece<'_>)) {
        if let Place::Body { entity } | Place::Between { entity } = self.place
            && std::mem::take(&mut self.holds_line_end)
        {
            tell(self.piece(entity, b"\r\n"));
        }
    }

    fn piece<'o>(&self, entity: usize, octets: &'o [u8]) -> EntityPiece<'o> {
        match self.place {
            Place::Between { .. } => EntityPiece::Between { entity, octets },
            Place::Header { .. } | Place::Body { .. } => EntityPiece::Body { entity, octets },
        }
    }

    /// Returns whether the parts of a multipart with this boundary can be told from those around it.
    fn may_open(&self, boundary: &[u8]) -> bool {
        self.open.len() < MAX_DEPTH && self.open.iter().all(|open| open.boundary != boundary)
    }

    /// Ends the header section at hand, and one that it begins: no octets of it follow.
    fn end_headers(&mut self, tell: &mut impl FnMut(EntityPiece<'_>)) {
        while self.in_header() {
            self.end_header(tell);
        }
    }

    /// Ends the header section at hand; what follows depends on what it says.
    fn end_header(&mut self, tell: &mut impl FnMut(EntityPiece<'_>)) {
        let Place::Header { entity, parent, is_in_digest, octets } =
            std::mem::replace(&mut self.place, Place::Body { entity: 0 })
        else {
            return;
        };
        let kind = match self.is_clear {
            true => kind_of(&octets, is_in_digest),
            false => EntityKind::Opaque(LeftBecause::Unclear),
        };
        tell(EntityPiece::Header { entity, parent, kind: &kind, octets: &octets });
        self.place = Place::Body { entity };
        match kind {
            EntityKind::Multipart { boundary, is_digest } if self.may_open(&boundary) => {
                self.open.push(OpenMultipart { entity, boundary, is_digest });
                self.place = Place::Between { entity };
            }
            EntityKind::Message => self.begin_entity(entity, false),
            EntityKind::Multipart { .. } => self.is_clear = false,
            EntityKind::Leaf { .. } | EntityKind::Encoded(_) | EntityKind::Opaque(_) => {}
        }
    }
}
