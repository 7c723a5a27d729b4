//! What a record does: the one meaning of each kind, for the writer after its sync and for recovery alike.

use super::format::RecordKind;
use super::ledger::Fates;
use super::marks::{EntryState, Flight, Mark, Marks};
use super::octets::MalformedOctets;
use super::payload::{self, Effect, Meta};

/// What one record does to the index, together with its queue id and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum IndexChange {
    /// A message is there, and what that does to another.
    Arrive { effect: Effect, large: bool },
    /// A message is at a new place; all that was known of it, again.
    Move(Box<Carried>),
    /// Some recipients have their end.
    Close(Fates),
    /// The message is gone.
    Settle,
    /// It is held, dead or active.
    State(EntryState),
    /// There is a deferral reason to read.
    Note,
    /// How the attempt stands that has written all of its content.
    InFlight(Flight),
    /// The process ended in order.
    CleanEnd,
}

/// What a Moved record carries besides the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Carried {
    pub marks: Marks,
    pub fates: Fates,
}

impl IndexChange {
    /// The kind of record that does this.
    pub fn kind(&self) -> RecordKind {
        match self {
            IndexChange::Arrive { .. } => RecordKind::Message,
            IndexChange::Move(_) => RecordKind::Moved,
            IndexChange::Close(_) => RecordKind::Outcome,
            IndexChange::Settle => RecordKind::Settled,
            IndexChange::State(_) => RecordKind::State,
            IndexChange::Note => RecordKind::Note,
            IndexChange::InFlight(_) => RecordKind::InFlight,
            IndexChange::CleanEnd => RecordKind::CleanEnd,
        }
    }

    /// What a record of this kind and payload does; for a message also what it says of itself.
    pub fn decode(kind: RecordKind, payload: &[u8]) -> Result<(IndexChange, Option<Meta>), MalformedOctets> {
        Ok(match kind {
            RecordKind::Message => {
                let meta = payload::decode_message(payload)?.meta;
                (IndexChange::Arrive { effect: meta.effect.clone(), large: meta.large.is_some() }, Some(meta))
            }
            RecordKind::Moved => {
                let (carried, meta) = IndexChange::decode_moved(payload)?;
                (IndexChange::Move(Box::new(carried)), Some(meta))
            }
            RecordKind::Outcome => (IndexChange::Close(payload::decode_fates(payload)?), None),
            RecordKind::Settled => (IndexChange::Settle, None),
            RecordKind::State => (IndexChange::State(payload::decode_state(payload)?), None),
            RecordKind::Note => (IndexChange::Note, None),
            RecordKind::InFlight => (IndexChange::InFlight(payload::decode_flight(payload)?), None),
            RecordKind::CleanEnd => (IndexChange::CleanEnd, None),
        })
    }

    fn decode_moved(payload: &[u8]) -> Result<(Carried, Meta), MalformedOctets> {
        let moved = payload::decode_moved(payload)?;
        let meta = payload::decode_message(moved.message)?.meta;
        let marks = moved.marks.and(Mark::Large, meta.large.is_some());
        Ok((Carried { marks, fates: moved.fates }, meta))
    }
}
