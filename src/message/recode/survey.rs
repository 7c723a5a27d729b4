//! Surveys a whole message, and plans which of its bodies are encoded, and how.
//!
//! Promises: a body is encoded only if it is [`Unwanted`], and may be (`entity_header.rs`). One that has an encoding
//! already is only wrapped anew. A composite entity that said it was 8-bit is declared as 7-bit if nothing in it is 8-bit
//! any more. What stays although it is unwanted is told, with the reason.

use super::super::header::MAX_LINE_OCTETS;
use super::entities::{Entities, EntityPiece};
use super::entity_header::{BodyEncoding, DeclaredText, EntityKind, has_mime_version, says_eight_bit};
use super::{Left, LeftBecause, RecodingPlan, Unwanted};

/// A survey of content that is still arriving.
#[derive(Debug)]
pub struct BodySurvey {
    unwanted: Unwanted,
    entities: Entities,
    found: Vec<Surveyed>,
}

/// The result of a survey.
#[derive(Clone, Debug)]
pub struct SurveyResult {
    /// The changes; `None` if there are none.
    pub plan: Option<RecodingPlan>,
    /// Something that is unwanted and stays as it is; `None` if nothing does.
    pub left: Option<Left>,
}

/// What is to be done with one entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum EntityPlan {
    /// It stays as it is.
    AsItIs,
    /// Its body is encoded.
    Encode { encoding: BodyEncoding, declared: DeclaredText },
    /// Its body has this encoding, and lines that are too long: they are broken where a decoder does not see it.
    Wrap(BodyEncoding),
    /// It has parts, and they have become 7-bit.
    DeclareSevenBit,
}

/// The facts about one entity.
#[derive(Debug)]
struct Surveyed {
    parent: Option<usize>,
    kind: EntityKind,
    says_eight_bit: bool,
    /// True if it is a message without MIME-Version.
    lacks_version: bool,
    octets: u64,
    /// Number of octets that are not ASCII: of the body, and, where it has parts, between them.
    eight_bit: u64,
    /// True if its own header section has an octet that is not ASCII.
    has_eight_bit_header: bool,
    longest_line: u64,
    /// The length of the line at hand.
    line: u64,
    utf8: Utf8,
}

impl BodySurvey {
    /// Returns a survey for what is `unwanted`.
    pub fn new(unwanted: Unwanted) -> Self {
        BodySurvey { unwanted, entities: Entities::default(), found: Vec::new() }
    }

    /// Takes `octets` of the content.
    pub fn push(&mut self, octets: &[u8]) {
        let BodySurvey { entities, found, .. } = self;
        entities.push(octets, &mut |piece| take(piece, found));
    }

    /// Ends the content. Returns what is to be done.
    pub fn finish(mut self) -> SurveyResult {
        let is_clear = self.entities.is_clear();
        let found = &mut self.found;
        std::mem::take(&mut self.entities).finish(&mut |piece| take(piece, found));
        let left = self.left(is_clear);
        SurveyResult { plan: if is_clear { self.plan() } else { None }, left }
    }

    /// Returns something that is unwanted and stays, if anything does.
    fn left(&self, is_clear: bool) -> Option<Left> {
        self.found.iter().find_map(|entity| entity.left(self.unwanted, is_clear))
    }

    /// Returns the plan; `None` if nothing is to be changed.
    fn plan(&self) -> Option<RecodingPlan> {
        let mut plan: Vec<EntityPlan> = self.found.iter().map(|entity| entity.plan(self.unwanted)).collect();
        if plan.iter().all(|entity| *entity == EntityPlan::AsItIs) {
            return None;
        }
        for (entity, left) in left_eight_bit(&self.found, &plan).into_iter().enumerate() {
            let has_parts =
                matches!(self.found[entity].kind, EntityKind::Multipart { .. } | EntityKind::Message);
            if has_parts && self.found[entity].says_eight_bit && !left {
                plan[entity] = EntityPlan::DeclareSevenBit;
            }
        }
        Some(RecodingPlan(plan))
    }
}

/// Takes a piece of the content.
fn take(piece: EntityPiece<'_>, found: &mut Vec<Surveyed>) {
    match piece {
        EntityPiece::Header { parent, kind, octets, .. } => {
            let is_message =
                parent.is_none_or(|parent| found.get(parent).is_some_and(|p| p.kind == EntityKind::Message));
            found.push(Surveyed::new(parent, kind, octets, is_message));
        }
        EntityPiece::Body { entity, octets } | EntityPiece::Between { entity, octets } => {
            if let Some(entity) = found.get_mut(entity) {
                entity.take(octets);
            }
        }
    }
}

/// Returns of each entity whether an octet that is not ASCII is left in its body.
fn left_eight_bit(found: &[Surveyed], plan: &[EntityPlan]) -> Vec<bool> {
    let is_left = |(entity, plan): (&Surveyed, &EntityPlan)| {
        !matches!(plan, EntityPlan::Encode { .. }) && entity.eight_bit > 0
    };
    let mut left: Vec<bool> = found.iter().zip(plan).map(is_left).collect();
    // A part comes behind what it is a part of.
    for entity in (0..found.len()).rev() {
        if let Some(parent) = found[entity].parent {
            left[parent] |= left[entity] || found[entity].has_eight_bit_header;
        }
    }
    left
}

impl Surveyed {
    fn new(parent: Option<usize>, kind: &EntityKind, header: &[u8], is_message: bool) -> Self {
        Surveyed {
            parent,
            kind: kind.clone(),
            says_eight_bit: says_eight_bit(header),
            lacks_version: is_message && !has_mime_version(header),
            octets: 0,
            eight_bit: 0,
            has_eight_bit_header: !header.is_ascii(),
            longest_line: 0,
            line: 0,
            utf8: Utf8::default(),
        }
    }

    fn take(&mut self, octets: &[u8]) {
        self.octets += octets.len() as u64;
        self.eight_bit += octets.iter().filter(|octet| !octet.is_ascii()).count() as u64;
        self.utf8.push(octets);
        for piece in octets.split_inclusive(|octet| *octet == b'\n') {
            self.line += piece.len() as u64;
            // A line end that is a piece of its own has only LF or CRLF.
            let text =
                piece.strip_suffix(b"\n").map_or(piece, |line| line.strip_suffix(b"\r").unwrap_or(line));
            let ends = (piece.len() - text.len()) as u64;
            self.longest_line = self.longest_line.max(self.line - ends);
            if ends > 0 {
                self.line = 0;
            }
        }
    }

    fn has_unwanted_line(&self, unwanted: Unwanted) -> bool {
        unwanted.long_lines && self.longest_line > MAX_LINE_OCTETS as u64
    }

    fn is_unwanted_eight_bit(&self, unwanted: Unwanted) -> bool {
        unwanted.eight_bit && self.eight_bit > 0
    }

    /// Returns something of this entity that is unwanted and stays, if anything does.
    fn left(&self, unwanted: Unwanted, is_clear: bool) -> Option<Left> {
        let (eight_bit, long) = (self.is_unwanted_eight_bit(unwanted), self.has_unwanted_line(unwanted));
        let because = match &self.kind {
            _ if !is_clear => Some(LeftBecause::Unclear),
            EntityKind::Leaf { .. } => None,
            EntityKind::Encoded(_) => eight_bit.then_some(LeftBecause::Encoded),
            EntityKind::Opaque(reason) => Some(*reason),
            EntityKind::Multipart { .. } | EntityKind::Message => Some(LeftBecause::BetweenParts),
        };
        let of_body = because.filter(|_| eight_bit || long).map(|because| Left { eight_bit, because });
        let is_in_header = unwanted.eight_bit && self.has_eight_bit_header;
        let in_header = is_in_header.then_some(Left { eight_bit: true, because: LeftBecause::InHeader });
        of_body.or(in_header)
    }

    fn plan(&self, unwanted: Unwanted) -> EntityPlan {
        let (is_text, is_untyped) = match self.kind {
            EntityKind::Leaf { is_text, is_untyped } => (is_text, is_untyped),
            EntityKind::Encoded(encoding) if self.has_unwanted_line(unwanted) => {
                return EntityPlan::Wrap(encoding);
            }
            _ => return EntityPlan::AsItIs,
        };
        if !self.has_unwanted_line(unwanted) && !self.is_unwanted_eight_bit(unwanted) {
            return EntityPlan::AsItIs;
        }
        // Quoted-printable adds two octets for each that is not ASCII; base64 about 37 for a hundred.
        let is_short_quoted = self.eight_bit * 200 <= self.octets * 37;
        let encoding =
            if is_text && is_short_quoted { BodyEncoding::QuotedPrintable } else { BodyEncoding::Base64 };
        let charset = match (is_untyped, self.eight_bit) {
            (false, _) => None,
            (true, 0) => Some("us-ascii"),
            (true, _) if self.utf8.is_valid() => Some("utf-8"),
            (true, _) => Some("unknown-8bit"),
        };
        EntityPlan::Encode { encoding, declared: DeclaredText { charset, lacks_version: self.lacks_version } }
    }
}

/// Tells whether octets that are still arriving are UTF-8.
#[derive(Debug, Default)]
struct Utf8 {
    /// The beginning of a character whose end has not arrived.
    begun: Vec<u8>,
    is_broken: bool,
}

impl Utf8 {
    fn push(&mut self, octets: &[u8]) {
        if self.is_broken || (self.begun.is_empty() && octets.is_ascii()) {
            return;
        }
        self.begun.extend_from_slice(octets);
        let (good, is_broken) = match std::str::from_utf8(&self.begun) {
            Ok(text) => (text.len(), false),
            Err(error) => (error.valid_up_to(), error.error_len().is_some()),
        };
        self.is_broken = is_broken;
        self.begun.drain(..good);
    }

    fn is_valid(&self) -> bool {
        !self.is_broken && self.begun.is_empty()
    }
}
