//! Re-encodes the bodies of a message that a relay does not take as they are: 8-bit text, and lines that are too long.
//!
//! Promises:
//! 1. What a reader of the message decodes is what was there before, octet for octet. Only the bodies that are
//!    [`Unwanted`] are encoded, and beside them only the fields that say so: `Content-Transfer-Encoding`, and
//!    `MIME-Version` and `Content-Type` where they are missing. A text without a type is declared as UTF-8 if it is,
//!    else as `unknown-8bit` (RFC 1428 3).
//! 2. Nothing that is signed is touched: no `multipart/signed`, and no message with a DKIM signature. Nor is a message
//!    whose structure is not clear. In a part that is base64 or quoted-printable already, only lines that are too long
//!    are broken anew, and what its decoder reads stays the same. What stays is told, with [`LeftBecause`].
//! 3. The plan and the result do not depend on the pieces in which the octets arrive. Memory is bounded by
//!    `entities.rs`.
//!
//! A message is read twice: a [`BodySurvey`] of the whole makes the [`RecodingPlan`], by which a [`Recoder`] changes it. A body is
//! quoted-printable if it is text and becomes shorter so, else base64. No body of a composite type is encoded (RFC 2045
//! 6.4), only the bodies within.
//!
//! Not here: header sections with octets that are not ASCII (RFC 6531), which stay as they are; when a message is
//! re-encoded (`relay/recoded.rs`).
//!
//! RFC 2045 (encodings), 2046 (structure), 6152 3 (conversion for a relay without 8BITMIME).

mod encoder;
mod entities;
mod entity_header;
mod quoted_bodies;
mod survey;
mod wrapper;

use std::fmt;

use encoder::BodyEncoder;
use entities::{Entities, EntityPiece};
use entity_header::{declare, without_eight_bit};
pub use quoted_bodies::QuotedBodies;
use survey::EntityPlan;
pub use survey::{BodySurvey, SurveyResult};

/// The bodies that a relay does not take as they are. With neither of the two, a message is never changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unwanted {
    /// Bodies with octets that are not ASCII.
    pub eight_bit: bool,
    /// Bodies with lines over 998 octets.
    pub long_lines: bool,
}

/// The reason why something that is [`Unwanted`] stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftBecause {
    /// It is signed, by DKIM or within `multipart/signed`.
    Signed,
    /// The MIME structure is not clear: two types, a multipart without a boundary, or a delimiter that readers disagree
    /// about.
    Unclear,
    /// The part has an encoding, with octets that are none of it, or one that is not known.
    Encoded,
    /// The body is of a type that must not be encoded, such as `message/delivery-status` (RFC 2045 6.4).
    Type,
    /// It is in a header section, and only bodies can be encoded.
    InHeader,
    /// It stands between parts, where readers do not look.
    BetweenParts,
}

impl fmt::Display for LeftBecause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LeftBecause::Signed => "what has them is signed",
            LeftBecause::Unclear => "the MIME structure of the message is not clear",
            LeftBecause::Encoded => {
                "their part states an encoding that it does not follow, or one that is not known"
            }
            LeftBecause::Type => "their part is of a type of message/ that must not be encoded",
            LeftBecause::InHeader => "they are in a header section, and only bodies can be encoded",
            LeftBecause::BetweenParts => "they stand between the parts of the message",
        })
    }
}

/// Something that is [`Unwanted`] and stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// True for octets that are not ASCII, false for lines that are too long.
    pub eight_bit: bool,
    /// The reason.
    pub because: LeftBecause,
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let left = if self.eight_bit { "8-bit octets" } else { "lines over 998 octets" };
        write!(f, "{left} stay as they are, since {}", self.because)
    }
}

/// The changes to one message, from a [`BodySurvey`].
#[derive(Clone, Debug)]
pub struct RecodingPlan(Vec<EntityPlan>);

/// Re-encodes content that is still arriving, by a plan that was made for the same content.
#[derive(Debug)]
pub struct Recoder {
    plan: RecodingPlan,
    entities: Entities,
    /// The encoder of the body at hand, if this one is encoded.
    encoder: Option<BodyEncoder>,
}

impl Recoder {
    /// Returns what changes content by `plan`.
    pub fn new(plan: RecodingPlan) -> Self {
        Recoder { plan, entities: Entities::default(), encoder: None }
    }

    /// Takes `octets`, and appends to `out` what is decided.
    pub fn push(&mut self, octets: &[u8], out: &mut Vec<u8>) {
        let Recoder { plan, entities, encoder } = self;
        entities.push(octets, &mut |piece| plan.write(piece, encoder, out));
    }

    /// Ends the content, and appends the rest to `out`.
    pub fn finish(self, out: &mut Vec<u8>) {
        let Recoder { plan, entities, mut encoder } = self;
        entities.finish(&mut |piece| plan.write(piece, &mut encoder, out));
        if let Some(encoder) = encoder {
            encoder.finish(out);
            out.extend_from_slice(if out.ends_with(b"\r\n") { b"" } else { b"\r\n" });
        }
    }
}

impl RecodingPlan {
    /// Writes a piece of the message to `out`, changed as planned.
    fn write(&self, piece: EntityPiece<'_>, encoder: &mut Option<BodyEncoder>, out: &mut Vec<u8>) {
        if !piece.is_body()
            && let Some(ended) = encoder.take()
        {
            ended.finish(out);
        }
        match piece {
            EntityPiece::Header { entity, octets, .. } => match self.0.get(entity) {
                Some(EntityPlan::Encode { encoding, declared }) => {
                    declare(octets, *encoding, *declared, out);
                    *encoder = Some(BodyEncoder::new(*encoding));
                }
                Some(EntityPlan::Wrap(encoding)) => {
                    out.extend_from_slice(octets);
                    *encoder = Some(BodyEncoder::wrapping(*encoding));
                }
                Some(EntityPlan::DeclareSevenBit) => without_eight_bit(octets, out),
                Some(EntityPlan::AsItIs) | None => out.extend_from_slice(octets),
            },
            EntityPiece::Body { octets, .. } => match encoder {
                Some(encoder) => encoder.push(octets, out),
                None => out.extend_from_slice(octets),
            },
            EntityPiece::Between { octets, .. } => out.extend_from_slice(octets),
        }
    }
}

#[cfg(test)]
mod tests;
