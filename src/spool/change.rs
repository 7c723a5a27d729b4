//! The change that a record makes: each kind means the same for the writer after its sync and for recovery.

use super::format::RecordKind;
use super::ledger::Fates;
use super::marks::{EntryState, Flight, Mark, Marks};
use super::octets::MalformedOctets;
use super::payload::{self, DsnEffect, Meta};
use super::replies::patience_used_in;
use crate::envelope::ReversePathKey;

/// The change that one record makes to the index, together with its queue id and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum IndexChange {
    /// A message arrives, and may do something to another one.
    Arrive {
        effect: DsnEffect,
        /// The marks that it has from the first.
        marks: Marks,
        /// The user who submitted it, if that is known.
        uid: Option<u32>,
    },
    /// A message moves to a new place, with all that was known of it.
    Move(Box<Carried>),
    /// Some recipients are sent, bounced or dead.
    Close(Fates),
    /// The message is removed.
    Settle,
    /// The message has this state from now on.
    State(EntryState),
    /// The dead recipients of a message are open again, and it is held.
    Reopen,
    /// An operator has assigned the message to a route.
    Assign,
    /// A note with the last reply to each recipient is recorded.
    Note {
        /// The patience that the message had used, in seconds.
        patience_used: u32,
    },
    /// An attempt has written all of its content, or has ended after that.
    InFlight(Flight),
    /// The process has ended in order.
    CleanEnd,
}

/// The marks and outcomes of a message that a Moved record carries besides the message itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Carried {
    pub marks: Marks,
    pub fates: Fates,
    /// The patience that its last note says, in seconds.
    pub patience_used: u32,
    /// The user who submitted it, if that is known.
    pub uid: Option<u32>,
}

impl IndexChange {
    /// Returns the kind of record that makes this change.
    pub fn kind(&self) -> RecordKind {
        match self {
            IndexChange::Arrive { .. } => RecordKind::Message,
            IndexChange::Move(_) => RecordKind::Moved,
            IndexChange::Close(_) => RecordKind::Outcome,
            IndexChange::Settle => RecordKind::Settled,
            IndexChange::State(_) | IndexChange::Reopen | IndexChange::Assign => RecordKind::State,
            IndexChange::Note { .. } => RecordKind::Note,
            IndexChange::InFlight(_) => RecordKind::InFlight,
            IndexChange::CleanEnd => RecordKind::CleanEnd,
        }
    }

    /// Returns the change that a record of this kind and payload makes, and for a message also the fields before its
    /// envelope, and the key of its reverse-path.
    pub fn decode(
        kind: RecordKind,
        payload: &[u8],
    ) -> Result<(IndexChange, Option<(Meta, ReversePathKey)>), MalformedOctets> {
        Ok(match kind {
            RecordKind::Message => {
                let message = payload::decode_message(payload)?;
                let (from, meta) = (message.from(), message.meta);
                let change = IndexChange::Arrive {
                    effect: meta.effect.clone(),
                    marks: meta.marks(),
                    uid: meta.submitter.user(),
                };
                (change, Some((meta, from)))
            }
            RecordKind::Moved => {
                let moved = payload::decode_moved(payload)?;
                let message = payload::decode_message(moved.message)?;
                let (from, meta) = (message.from(), message.meta);
                let marks = moved.marks.and(Mark::Large, meta.large.is_some());
                let patience_used = moved.note.map_or(0, patience_used_in);
                let uid = meta.submitter.user();
                let carried = Carried { marks, fates: moved.fates, patience_used, uid };
                (IndexChange::Move(Box::new(carried)), Some((meta, from)))
            }
            RecordKind::Outcome => (IndexChange::Close(payload::decode_fates(payload)?), None),
            RecordKind::Settled => (IndexChange::Settle, None),
            RecordKind::State if payload.first() == Some(&payload::GOES_BY) => (IndexChange::Assign, None),
            RecordKind::State => match payload::decode_state(payload)? {
                (_, true) => (IndexChange::Reopen, None),
                (state, false) => (IndexChange::State(state), None),
            },
            RecordKind::Note => (IndexChange::Note { patience_used: patience_used_in(payload) }, None),
            RecordKind::InFlight => (IndexChange::InFlight(payload::decode_flight(payload)?), None),
            RecordKind::CleanEnd => (IndexChange::CleanEnd, None),
        })
    }
}
