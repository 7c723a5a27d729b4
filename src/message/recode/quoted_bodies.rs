//! Finds the bodies that are quoted-printable in content that is still arriving.
//!
//! Promises: the octets that are told are the content, in its order. A body counts as quoted-printable only where the
//! structure is clear (`entities.rs`), whose bounds of memory hold here.

use super::super::header::Header;
use super::entities::{Entities, EntityPiece};
use super::entity_header::{BodyEncoding, EntityKind};

/// The search in one message.
#[derive(Debug, Default)]
pub struct QuotedBodies {
    entities: Entities,
    /// True if the body at hand is quoted-printable.
    is_quoted: bool,
}

impl QuotedBodies {
    /// Returns a search, to which the header section is pushed first, for content with this one; `None` if it has no such
    /// body.
    pub fn within(header: Header<'_>) -> Option<Self> {
        let begins = |name: &str, starts: &[&[u8]]| {
            let value = header.find(name).map(|field| field.unfolded().trim_ascii().to_ascii_lowercase());
            value.is_some_and(|value| starts.iter().any(|start| value.starts_with(start)))
        };
        let may_have = begins("Content-Type", &[b"multipart/", b"message/"])
            || begins("Content-Transfer-Encoding", &[b"quoted-printable"]);
        may_have.then(Self::default)
    }

    /// Takes `octets`. Tells `tell` those that are decided, and whether they are quoted-printable.
    pub fn push(&mut self, octets: &[u8], tell: &mut impl FnMut(&[u8], bool)) {
        let QuotedBodies { entities, is_quoted } = self;
        entities.push(octets, &mut |piece| pass(piece, is_quoted, tell));
    }

    /// Ends the content.
    pub fn finish(self, tell: &mut impl FnMut(&[u8], bool)) {
        let QuotedBodies { entities, mut is_quoted } = self;
        entities.finish(&mut |piece| pass(piece, &mut is_quoted, tell));
    }
}

fn pass(piece: EntityPiece<'_>, is_quoted: &mut bool, tell: &mut impl FnMut(&[u8], bool)) {
    match piece {
        EntityPiece::Header { kind, octets, .. } => {
            *is_quoted = *kind == EntityKind::Encoded(BodyEncoding::QuotedPrintable);
            tell(octets, false);
        }
        EntityPiece::Body { octets, .. } => tell(octets, *is_quoted),
        EntityPiece::Between { octets, .. } => tell(octets, false),
    }
}
