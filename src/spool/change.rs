//! What a record does: the one meaning of each kind, for the writer after its sync and for recovery alike.

use super::format::Kind;
use super::ledger::Fates;
use super::marks::{EntryState, Flight, Mark, Marks};
use super::octets::Malformed;
use super::payload::{self, Effect, Meta};

/// What one record does to the index, together with its queue id and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
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

impl Change {
    /// The kind of record that does this.
    pub fn kind(&self) -> Kind {
        match self {
            Change::Arrive { .. } => Kind::Message,
            Change::Move(_) => Kind::Moved,
            Change::Close(_) => Kind::Outcome,
            Change::Settle => Kind::Settled,
            Change::State(_) => Kind::State,
            Change::Note => Kind::Note,
            Change::InFlight(_) => Kind::InFlight,
            Change::CleanEnd => Kind::CleanEnd,
        }
    }

    /// What a record of this kind and payload does; for a message also what it says of itself.
    pub fn decode(kind: Kind, payload: &[u8]) -> Result<(Change, Option<Meta>), Malformed> {
        Ok(match kind {
            Kind::Message => {
                let meta = payload::decode_message(payload)?.meta;
                (Change::Arrive { effect: meta.effect.clone(), large: meta.large.is_some() }, Some(meta))
            }
            Kind::Moved => {
                let (carried, meta) = Change::decode_moved(payload)?;
                (Change::Move(Box::new(carried)), Some(meta))
            }
            Kind::Outcome => (Change::Close(payload::decode_fates(payload)?), None),
            Kind::Settled => (Change::Settle, None),
            Kind::State => (Change::State(payload::decode_state(payload)?), None),
            Kind::Note => (Change::Note, None),
            Kind::InFlight => (Change::InFlight(payload::decode_flight(payload)?), None),
            Kind::CleanEnd => (Change::CleanEnd, None),
        })
    }

    fn decode_moved(payload: &[u8]) -> Result<(Carried, Meta), Malformed> {
        let moved = payload::decode_moved(payload)?;
        let meta = payload::decode_message(moved.message)?.meta;
        let marks = moved.marks.and(Mark::Large, meta.large.is_some());
        Ok((Carried { marks, fates: moved.fates }, meta))
    }
}
