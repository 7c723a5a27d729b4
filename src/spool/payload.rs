//! Writes and reads the payloads of records, version 7.
//!
//! ```text
//! Message    meta, envelope length (4), envelope, content: all the rest, empty if it is in a file
//!   meta     flags (1: content in large/, 2: closes, 4: warns, 8: on hold, 16: by whom, 32: sender
//!            as it was handed in), arrived seconds (8) and
//!            nanoseconds (4), submitter (1: 0 uid, 1 loopback, 2 ourselves) and uid (4; for loopback the uid
//!            plus one, or 0 if it is not known. Older versions wrote 0, and read every number as loopback), lane
//!            (8), patience mark (4); then, as the flags say,
//!     1      length (8) and checksum (4) of large/<queue id>
//!     2      queue id (8) and recipients (count 4, index 4 ...) of the message that this one bounces
//!     4      queue id (8) of the message that this one warns of
//!     8      text: why it is on hold from the first; it is so until a State says something else
//!     16     holder: who holds it from the first; without it, that is not known
//!     32     text: the reverse-path as it was handed in, where rewriting has changed it
//!   envelope flags (1: null reverse-path, 2: SMTPUTF8, 4: 8BITMIME, 8: RET given, 16: RET=FULL,
//!            32: ENVID), reverse-path text, ENVID text, recipients: count (4), then each
//!            flags (1: original, 2: ORCPT, 4: NOTIFY given, 8: success, 16: failure, 32: delay; 4
//!            alone is NEVER), address text, original text, ORCPT text
//!   holder   kind (1: 0 not known, 1 an operator, 2 the submitter, 3 a hold rule, 4 a limit), uid or number of the rule (4;
//!            else 0), text: the login name, empty if it is not known
//!   text     length (2), UTF-8; what a flag says is absent is absent altogether
//! Moved      state (1: 0 active, 1 held, 2 dead, 3 on hold; 16 more: a route is assigned), flags (1: in flight, 2: warned, 4: note of version 1, 8: note, 16: deferred,
//!            32: the log has said "possible duplicate" of the attempt in flight, 64: of any attempt, 128: hold), fates as in
//!            Outcome, the payload of the Note (4: a text; 8: length (4) and octets), that of the
//!            State that has put it on hold (128: length (2) and octets), that of the State that has assigned a route (16 of
//!            the state: length (2) and octets), then that of the Message as it was; where there is a note, the message was deferred, whether 16 is set or not; 32 implies 64
//! Outcome    count (4), then recipient index (4) and fate (1: 1 sent, 2 bounced, 3 dead) for each
//! State      1 octet: the state as in Moved; or 4: it is held, and its dead recipients are open again; or 5, and the holder: it
//!            is on hold, by whom 3 does not say; or 6, and a text: it goes by the route of this name, and keeps its state
//! Note       see `replies.rs`
//! InFlight   nothing where the final dot is about to be written; else 1 octet: 1 it has ended without a reply, and
//!            the log has said so, 2 the relay has no copy, 3 the relay may have one, and the log has not said so (to a
//!            reader that does not look, all are the first)
//! Settled, CleanEnd   nothing
//! ```
//! Version 6 had no assigned routes. Version 5 had no flag 32, and in it a bounce did not end what was dead. Version 4 had no holders. Version 3 had no flag 8. Version 2 had no state 3 and 4. Version 1 had no dead recipients and the one note. Everything in them reads as it did.
//!
//! Promises: what was encoded decodes to the same; nothing panics; a count never allocates more than
//! the octets at hand can hold; addresses that come out are valid (`Address::parse`).
//!
//! Not here: heads and checksums (`format.rs`), what a record does (`index.rs`).

use jiff::Timestamp;

use super::entry::Entry;
use super::ledger::{Fate, Fates};
use super::marks::{EntryState, Flight, Mark, Marks};
use super::octets::{
    MalformedOctets, OctetReader, cut, optional, pack, put_text, put_u16, put_u32, put_u64, unpack,
};
use crate::envelope::{Envelope, ReversePathKey, Submitter};
use crate::filter::{HolderKind, MailHolder};
use crate::queue_id::QueueId;

mod envelope;

pub(super) use envelope::decode_envelope;
use envelope::{encode_envelope, reverse_path_text};

/// Says what a message does to another one in the moment at which it is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DsnEffect {
    /// It does nothing.
    Nothing,
    /// It is the DSN that bounces these recipients of `of`.
    Closes { of: QueueId, recipients: Vec<u32> },
    /// It is the DSN that says `of` is late.
    Warns { of: QueueId },
}

/// Describes content that is in a file of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Large {
    pub length: u64,
    /// The checksum that [`super::format::SpoolId::payload_sum`] returns for it.
    pub sum: u32,
}

/// The part of a Message payload before the envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    pub arrived: Timestamp,
    pub submitter: Submitter,
    pub lane: u64,
    pub patience_mark: u32,
    pub effect: DsnEffect,
    pub large: Option<Large>,
    /// Why the message is on hold from the first, and by whom, if it is.
    pub on_hold: Option<HeldFromFirst>,
    /// The reverse-path as it was handed in, where rewriting has changed it.
    pub original_from: Option<String>,
}

/// Why a message is on hold from the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HeldFromFirst {
    /// Who holds it.
    pub by: MailHolder,
    /// The words that are said of it.
    pub words: String,
}

impl Meta {
    /// Returns the marks that the message has when it is committed.
    pub fn marks(&self) -> Marks {
        let state = if self.on_hold.is_some() { EntryState::OnHold } else { EntryState::Active };
        Marks::from(state).and(Mark::Large, self.large.is_some())
    }

    /// Returns the entry with which the arrival of the message, whose reverse-path has the key `from`, is announced to the
    /// queue.
    pub fn entry(&self, id: QueueId, from: ReversePathKey) -> Entry {
        Entry {
            id,
            arrived: self.arrived,
            submitter: self.submitter,
            lane: self.lane,
            from,
            patience_mark: self.patience_mark,
            patience_used: 0,
            marks: self.marks(),
        }
    }
}

/// The parts of a Message payload.
pub(super) struct MessagePayload<'a> {
    pub meta: Meta,
    /// The octets that [`decode_envelope`] takes apart.
    pub envelope: &'a [u8],
    /// The content; it is empty where `meta.large` is given.
    pub content: &'a [u8],
}

impl MessagePayload<'_> {
    /// Returns the key of the reverse-path. An envelope that is not in our language is found to be so when it is read.
    pub fn from(&self) -> ReversePathKey {
        ReversePathKey::of_text(reverse_path_text(self.envelope).unwrap_or_default())
    }
}

/// The parts of a Moved payload.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MovedPayload<'a> {
    /// The marks without [`Mark::Large`], which is part of the Message payload.
    pub marks: Marks,
    pub fates: Fates,
    /// The Note payload.
    pub note: Option<&'a [u8]>,
    /// The State payload that has put the message on hold.
    pub hold: Option<&'a [u8]>,
    /// The State payload that has assigned the message to a route.
    pub route: Option<&'a [u8]>,
    /// The Message payload.
    pub message: &'a [u8],
}

/// Returns a Message payload without the content.
pub(super) fn encode_message(meta: &Meta, envelope: &Envelope) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    encode_meta(&mut out, meta);
    let at = out.len();
    put_u32(&mut out, 0);
    encode_envelope(&mut out, envelope);
    // An envelope of 4 GiB does not fit into a record, whose length is checked when it is queued.
    let length = (out.len() - at - 4) as u32;
    out[at..at + 4].copy_from_slice(&length.to_le_bytes());
    out
}

/// Takes a Message payload apart.
pub(super) fn decode_message(payload: &[u8]) -> Result<MessagePayload<'_>, MalformedOctets> {
    let mut reader = OctetReader::new(payload);
    let meta = decode_meta(&mut reader)?;
    let length = reader.u32()? as usize;
    let envelope = reader.take(length)?;
    Ok(MessagePayload { meta, envelope, content: reader.rest() })
}

fn encode_meta(out: &mut Vec<u8>, meta: &Meta) {
    let effect = match meta.effect {
        DsnEffect::Nothing => 0,
        DsnEffect::Closes { .. } => 2,
        DsnEffect::Warns { .. } => 4,
    };
    let on_hold = if meta.on_hold.is_some() { 8 | 16 } else { 0 };
    let original_from = if meta.original_from.is_some() { 32 } else { 0 };
    out.push(u8::from(meta.large.is_some()) | effect | on_hold | original_from);
    out.extend_from_slice(&meta.arrived.as_second().to_le_bytes());
    out.extend_from_slice(&meta.arrived.subsec_nanosecond().to_le_bytes());
    let (tag, uid) = match meta.submitter {
        Submitter::Uid(uid) => (0, uid),
        // The highest uid is none: setuid(2) takes it for "unchanged".
        Submitter::LoopbackUid(uid) => (1, uid.wrapping_add(1)),
        Submitter::Loopback => (1, 0),
        Submitter::Ourselves => (2, 0),
    };
    out.push(tag);
    put_u32(out, uid);
    put_u64(out, meta.lane);
    put_u32(out, meta.patience_mark);
    if let Some(large) = meta.large {
        put_u64(out, large.length);
        put_u32(out, large.sum);
    }
    match &meta.effect {
        DsnEffect::Nothing => {}
        DsnEffect::Closes { of, recipients } => {
            put_u64(out, of.raw());
            put_u32(out, recipients.len() as u32);
            recipients.iter().for_each(|index| put_u32(out, *index));
        }
        DsnEffect::Warns { of } => put_u64(out, of.raw()),
    }
    if let Some(HeldFromFirst { by, words }) = &meta.on_hold {
        put_text(out, words);
        put_holder(out, by);
    }
    meta.original_from.iter().for_each(|from| put_text(out, from));
}

fn decode_meta(reader: &mut OctetReader<'_>) -> Result<Meta, MalformedOctets> {
    let flags = reader.u8()?;
    let [seconds, nanoseconds] = [reader.i64()?, i64::from(reader.i32()?)];
    let nanoseconds = i32::try_from(nanoseconds).map_err(|_| MalformedOctets)?;
    let arrived = Timestamp::new(seconds, nanoseconds).map_err(|_| MalformedOctets)?;
    let submitter = match (reader.u8()?, reader.u32()?) {
        (0, uid) => Submitter::Uid(uid),
        (1, above) => above.checked_sub(1).map_or(Submitter::Loopback, Submitter::LoopbackUid),
        (2, _) => Submitter::Ourselves,
        _ => return Err(MalformedOctets),
    };
    let lane = reader.u64()?;
    let patience_mark = reader.u32()?;
    let large = match flags & 1 {
        0 => None,
        _ => Some(Large { length: reader.u64()?, sum: reader.u32()? }),
    };
    let effect = decode_effect(flags, reader)?;
    let on_hold = optional(flags & 8 != 0, || read_held_from_first(flags, reader))?;
    let original_from = optional(flags & 32 != 0, || reader.text())?.map(str::to_owned);
    Ok(Meta { arrived, submitter, lane, patience_mark, effect, large, on_hold, original_from })
}

fn read_held_from_first(flags: u8, reader: &mut OctetReader<'_>) -> Result<HeldFromFirst, MalformedOctets> {
    let words = reader.text()?.to_owned();
    let by = optional(flags & 16 != 0, || read_holder(reader))?;
    Ok(HeldFromFirst { by: by.unwrap_or(MailHolder::of(HolderKind::Unknown)), words })
}

fn put_holder(out: &mut Vec<u8>, holder: &MailHolder) {
    let MailHolder { kind, uid, user, rule } = holder;
    let (kind, number) = match kind {
        HolderKind::Unknown => (0, None),
        HolderKind::Operator => (1, *uid),
        HolderKind::Submitter => (2, *uid),
        HolderKind::Rule => (3, *rule),
        HolderKind::Limit => (4, None),
    };
    out.push(kind);
    put_u32(out, number.unwrap_or_default());
    put_text(out, cut(user.as_deref().unwrap_or_default(), LONGEST_LOGIN));
}

fn read_holder(reader: &mut OctetReader<'_>) -> Result<MailHolder, MalformedOctets> {
    let (kind, number, login) = (reader.u8()?, reader.u32()?, reader.text()?);
    let user = Some(login).filter(|login| !login.is_empty());
    match kind {
        0 => Ok(MailHolder::of(HolderKind::Unknown)),
        1 => Ok(MailHolder::user(HolderKind::Operator, number, user)),
        2 => Ok(MailHolder::user(HolderKind::Submitter, number, user)),
        3 => Ok(MailHolder::rule(number)),
        4 => Ok(MailHolder::of(HolderKind::Limit)),
        _ => Err(MalformedOctets),
    }
}

fn decode_effect(flags: u8, reader: &mut OctetReader<'_>) -> Result<DsnEffect, MalformedOctets> {
    match flags & 6 {
        0 => Ok(DsnEffect::Nothing),
        2 => {
            let of = QueueId::from_raw(reader.u64()?);
            let count = bounded_count(reader, 4)?;
            let recipients = (0..count).map(|_| reader.u32()).collect::<Result<_, _>>()?;
            Ok(DsnEffect::Closes { of, recipients })
        }
        4 => Ok(DsnEffect::Warns { of: QueueId::from_raw(reader.u64()?) }),
        _ => Err(MalformedOctets),
    }
}

/// Takes a count of items that have at least `smallest` octets each, which must all be there still.
fn bounded_count(reader: &mut OctetReader<'_>, smallest: usize) -> Result<usize, MalformedOctets> {
    let count = reader.u32()? as usize;
    if count <= reader.left() / smallest { Ok(count) } else { Err(MalformedOctets) }
}

/// Returns a Moved payload without the Message payload.
pub(super) fn encode_moved(moved: &MovedPayload<'_>) -> Vec<u8> {
    let marks = moved.marks;
    let has = |mark| marks.has(mark);
    let flags = [
        has(Mark::InFlight),
        has(Mark::Warned),
        false,
        moved.note.is_some(),
        has(Mark::Deferred),
        has(Mark::Told),
        has(Mark::MayHaveArrived),
        moved.hold.is_some(),
    ];
    let assigned = if moved.route.is_some() { ASSIGNED } else { 0 };
    let mut out = vec![encode_state(marks.state())[0] | assigned];
    out.push(pack(flags));
    out.extend_from_slice(&encode_fates(&moved.fates));
    if let Some(note) = moved.note {
        // A note is no longer than a payload may be.
        put_u32(&mut out, note.len() as u32);
        out.extend_from_slice(note);
    }
    if let Some(hold) = moved.hold {
        put_short(&mut out, hold);
    }
    if let Some(route) = moved.route {
        put_short(&mut out, route);
    }
    out
}

/// Takes a Moved payload apart.
pub(super) fn decode_moved(payload: &[u8]) -> Result<MovedPayload<'_>, MalformedOctets> {
    let mut reader = OctetReader::new(payload);
    let octet = reader.u8()?;
    let (state, has_route) = (state_from(octet & !ASSIGNED)?, octet & ASSIGNED != 0);
    let [in_flight, warned, has_first_note, has_note, deferred, told, may_have_arrived, has_hold] =
        unpack(reader.u8()?);
    let fates = read_fates(&mut reader)?;
    let note = match has_note {
        true => {
            let length = reader.u32()? as usize;
            Some(reader.take(length)?)
        }
        false => optional(has_first_note, || reader.text())?.map(str::as_bytes),
    };
    let hold = optional(has_hold, || read_short(&mut reader))?;
    let route = optional(has_route, || read_short(&mut reader))?;
    let marks = Marks::from(state)
        .and(Mark::InFlight, in_flight)
        .and(Mark::Warned, warned)
        .and(Mark::Deferred, deferred || note.is_some())
        .and(Mark::Told, told)
        .and(Mark::MayHaveArrived, may_have_arrived || told);
    Ok(MovedPayload { marks, fates, note, hold, route, message: reader.rest() })
}

/// Returns an Outcome payload.
pub(super) fn encode_fates(fates: &[(u32, Fate)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(4 + 5 * fates.len());
    put_u32(&mut out, fates.len() as u32);
    for (index, fate) in fates {
        put_u32(&mut out, *index);
        out.push(*fate as u8);
    }
    out
}

/// Takes an Outcome payload apart.
pub(super) fn decode_fates(payload: &[u8]) -> Result<Fates, MalformedOctets> {
    let mut reader = OctetReader::new(payload);
    let fates = read_fates(&mut reader)?;
    reader.end()?;
    Ok(fates)
}

fn read_fates(reader: &mut OctetReader<'_>) -> Result<Fates, MalformedOctets> {
    let count = bounded_count(reader, 5)?;
    let fate = |octet| match octet {
        1 => Ok(Fate::Sent),
        2 => Ok(Fate::Bounced),
        3 => Ok(Fate::Dead),
        _ => Err(MalformedOctets),
    };
    (0..count).map(|_| Ok((reader.u32()?, fate(reader.u8()?)?))).collect()
}

/// Returns the State payload that says only this.
pub(super) fn encode_state(state: EntryState) -> [u8; 1] {
    [match state {
        EntryState::Active => 0,
        EntryState::Held => 1,
        EntryState::Dead => 2,
        EntryState::OnHold => 3,
    }]
}

/// The State payload that opens the dead recipients of a message again.
pub(super) const REOPENED: u8 = 4;

/// Added to the state in a Moved payload where a route is assigned.
const ASSIGNED: u8 = 16;

/// Puts a State payload into a Moved one. The texts in it are cut, so it is short.
fn put_short(out: &mut Vec<u8>, payload: &[u8]) {
    put_u16(out, payload.len() as u16);
    out.extend_from_slice(payload);
}

fn read_short<'a>(reader: &mut OctetReader<'a>) -> Result<&'a [u8], MalformedOctets> {
    let length = reader.u16()?;
    reader.take(length.into())
}

/// The first octet of the State payload that assigns a message to a route.
pub(super) const GOES_BY: u8 = 6;
/// Number of octets to which the name of a route is cut.
const LONGEST_ROUTE: usize = 1024;

/// Returns the State payload that assigns a message to the route of this name.
pub(super) fn encode_route(name: &str) -> Vec<u8> {
    let mut out = vec![GOES_BY];
    put_text(&mut out, cut(name, LONGEST_ROUTE));
    out
}

/// Returns the name of the route that this State payload assigns a message to; `None` if it is none such.
pub(super) fn decode_route(payload: &[u8]) -> Option<String> {
    let (&GOES_BY, name) = payload.split_first()? else { return None };
    OctetReader::new(name).text().ok().map(str::to_owned)
}

/// The first octet of the State payload that puts a message on hold and says who holds it.
const HELD_BY: u8 = 5;
/// Number of octets to which a login name is cut.
const LONGEST_LOGIN: usize = 256;

/// Returns the State payload that puts a message on hold.
pub(super) fn encode_hold(by: &MailHolder) -> Vec<u8> {
    let mut out = vec![HELD_BY];
    put_holder(&mut out, by);
    out
}

/// Returns who holds a message by this State payload, which has put it on hold.
pub(super) fn decode_hold(payload: &[u8]) -> MailHolder {
    let holder = match payload.split_first() {
        Some((&HELD_BY, holder)) => read_holder(&mut OctetReader::new(holder)).ok(),
        _ => None,
    };
    holder.unwrap_or(MailHolder::of(HolderKind::Unknown))
}

/// Takes a State payload apart. Returns the state, and whether the dead recipients are open again.
pub(super) fn decode_state(payload: &[u8]) -> Result<(EntryState, bool), MalformedOctets> {
    let mut reader = OctetReader::new(payload);
    let octet = reader.u8()?;
    if octet == HELD_BY {
        read_holder(&mut reader)?;
    }
    reader.end()?;
    match octet {
        REOPENED => Ok((EntryState::Held, true)),
        HELD_BY => Ok((EntryState::OnHold, false)),
        octet => Ok((state_from(octet)?, false)),
    }
}

/// Returns an InFlight payload.
pub(super) fn encode_flight(flight: Flight) -> Vec<u8> {
    match flight {
        Flight::Begun => Vec::new(),
        ended => vec![ended as u8],
    }
}

/// Takes an InFlight payload apart.
pub(super) fn decode_flight(payload: &[u8]) -> Result<Flight, MalformedOctets> {
    match payload {
        [] => Ok(Flight::Begun),
        [1] => Ok(Flight::Told),
        [2] => Ok(Flight::Over),
        [3] => Ok(Flight::Hidden),
        _ => Err(MalformedOctets),
    }
}

fn state_from(octet: u8) -> Result<EntryState, MalformedOctets> {
    match octet {
        0 => Ok(EntryState::Active),
        1 => Ok(EntryState::Held),
        2 => Ok(EntryState::Dead),
        3 => Ok(EntryState::OnHold),
        _ => Err(MalformedOctets),
    }
}

#[cfg(test)]
mod tests;
