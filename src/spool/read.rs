//! Reads messages back.
//!
//! Promises
//! 1. What is returned is what was committed, octet by octet: every checksum is checked, that of a large
//!    file too, before the first octet is used.
//! 2. A reader needs no lock on the disk. Segments may be moved, unlinked or reused under it: then a
//!    checksum fails or a name is missing, and the message is looked up once more.
//!
//! Blocking: one positional read, from the page cache as a rule; all of a large file. [`read_at_once`] does not block.

use std::io::{self, ErrorKind};

use super::entry::{ContentInMemory, ReadError, Stored, StoredContent};
use super::format::{HEAD, Head, RecordKind};
use super::fs::read_full_at;
use super::index::{Extra, RecordPlace, Slot};
use super::ledger::{Fates, Ledger};
use super::marks::{EntryState, Mark};
use super::octets::MalformedOctets;
use super::payload::{self, Large, MessagePayload, Meta, MovedPayload};
use super::replies::Replies;
use super::shared::SharedSpool;
use crate::filter::{HolderKind, MailHolder};
use crate::queue_id::QueueId;

/// The message in its own record.
pub(super) struct Base<'a> {
    /// The Message payload.
    pub payload: &'a [u8],
    /// The Note payload that a moved record carries.
    pub note: Option<&'a [u8]>,
    /// The State payload, which has put the message on hold, that a moved record carries.
    pub hold: Option<&'a [u8]>,
    /// The State payload, which has assigned the message to a route, that a moved record carries.
    pub route: Option<&'a [u8]>,
}

/// Says whether the octets of a large file are checked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    /// Everything is checked.
    Everything,
    /// All but the content of large files is checked: that is enough for listings.
    AllButLarge,
}

/// The longest payload that is read at once, in octets: to check and copy it takes some tens of microseconds.
const LONGEST_AT_ONCE: u32 = 256 << 10;

/// Reads a message, as [`super::Spool::read`] describes.
pub(super) fn read(shared: &SharedSpool, id: QueueId, check: Check) -> Result<Stored, ReadError> {
    stored(shared, id, check, current(shared, id)?)
}

/// Reads a message, as [`super::Spool::read_at_once`] describes.
pub(super) fn read_at_once(shared: &SharedSpool, id: QueueId) -> Option<Stored> {
    let (Slot { place, marks, .. }, Extra { fates, note, route, .. }) = look_up(shared, id)?;
    let is_apart = marks.state() == EntryState::OnHold || note.is_some() || route.is_some();
    if marks.has(Mark::Large) || is_apart || place.payload_length > LONGEST_AT_ONCE {
        return None;
    }
    let file = shared.held_segment(place.segment)?;
    let from_memory = |octets: &mut [u8]| {
        file.read_cached_at(octets, place.offset.into()).ok_or(ErrorKind::WouldBlock.into())
    };
    let record = checked_record(shared, id, place, from_memory).ok()?;
    stored(
        shared,
        id,
        Check::Everything,
        Current { record, fates, note: None, hold: None, route: None, is_on_hold: false },
    )
    .ok()
}

/// Returns the message `id` as its records have it.
fn stored(
    shared: &SharedSpool,
    id: QueueId,
    check: Check,
    Current { record, fates, note, hold, route, is_on_hold }: Current,
) -> Result<Stored, ReadError> {
    let base = base_of(record.kind, record.payload()).map_err(damaged)?;
    let MessagePayload { meta, envelope, content } =
        payload::decode_message(base.payload).map_err(damaged)?;
    let envelope = payload::decode_envelope(envelope).map_err(damaged)?;
    let replies = note.as_deref().or(base.note).map(Replies::decode).unwrap_or_default();
    let hold = hold.as_deref().or(base.hold);
    let held_by = is_on_hold.then(|| holder(hold, &meta));
    let assigned_route = route.as_deref().or(base.route).and_then(payload::decode_route);
    let (content, content_len) = match meta.large {
        None => {
            let length = content.len();
            (StoredContent::Memory(record.into_end(length)), length as u64)
        }
        Some(large) => (open_large(shared, id, large, check)?, large.length),
    };
    let ledger = Ledger::new(id, envelope.recipients.len(), &fates);
    let (arrived, submitter) = (meta.arrived, meta.submitter);
    let (came_on_hold, original_from) = (meta.on_hold.map(|hold| hold.words), meta.original_from);
    Ok(Stored {
        envelope,
        arrived,
        submitter,
        original_from,
        held_by,
        assigned_route,
        came_on_hold,
        content,
        content_len,
        ledger,
        replies,
    })
}

/// A record that was read back and is whole.
pub(super) struct StoredRecord {
    pub kind: RecordKind,
    /// The octets of the record, its head among them.
    octets: Vec<u8>,
}

impl StoredRecord {
    /// Returns the payload.
    pub fn payload(&self) -> &[u8] {
        &self.octets[HEAD as usize..]
    }

    /// Returns the last `length` octets of the payload.
    pub fn into_end(self, length: usize) -> ContentInMemory {
        ContentInMemory::at_end_of(self.octets, length)
    }
}

/// Returns the record at `place`, which must be about `id`. It is `Damaged` also when the segment is not there any more.
pub(super) fn record_at(
    shared: &SharedSpool,
    id: QueueId,
    place: RecordPlace,
) -> Result<StoredRecord, ReadError> {
    let file = match shared.segment_file(place.segment) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Err(ReadError::Damaged),
        other => other?,
    };
    checked_record(shared, id, place, |octets| read_full_at(&*file, octets, place.offset.into()))
}

/// Returns the record at `place`, whose octets `read` fills in; `Damaged` if it is not about `id`, or not whole.
fn checked_record(
    shared: &SharedSpool,
    id: QueueId,
    place: RecordPlace,
    read: impl FnOnce(&mut [u8]) -> io::Result<usize>,
) -> Result<StoredRecord, ReadError> {
    let mut octets = vec![0; (HEAD + place.payload_length) as usize];
    let length = read(&mut octets)?;
    let head = Head::decode(&octets[..length], shared.spool.seed(place.segment), place.offset);
    let whole = |head: &Head| {
        head.id == id
            && head.payload_length == place.payload_length
            && length == octets.len()
            && shared.spool.payload_sum(&[&octets[HEAD as usize..]]) == head.payload_sum
    };
    let head = head.filter(whole).ok_or(ReadError::Damaged)?;
    Ok(StoredRecord { kind: head.kind, octets })
}

/// Returns the Message payload in a record that holds one.
pub(super) fn base_of(kind: RecordKind, payload: &[u8]) -> Result<Base<'_>, MalformedOctets> {
    match kind {
        RecordKind::Message => Ok(Base { payload, note: None, hold: None, route: None }),
        RecordKind::Moved => {
            let MovedPayload { note, hold, route, message, .. } = payload::decode_moved(payload)?;
            Ok(Base { payload: message, note, hold, route })
        }
        _ => Err(MalformedOctets),
    }
}

/// Returns the payload at `place`, if a place is given; errors are as those of [`record_at`].
pub(super) fn payload_at(
    shared: &SharedSpool,
    id: QueueId,
    place: Option<RecordPlace>,
) -> Result<Option<Vec<u8>>, ReadError> {
    let record = place.map(|place| record_at(shared, id, place)).transpose()?;
    Ok(record.map(|record| record.payload().to_vec()))
}

/// A message's own record and what later records say of it, as of one moment.
struct Current {
    record: StoredRecord,
    fates: Fates,
    note: Option<Vec<u8>>,
    /// The State payload that has put it on hold, if one stands behind its own record.
    hold: Option<Vec<u8>>,
    /// The State payload that has assigned it to a route, if one stands behind its own record.
    route: Option<Vec<u8>>,
    is_on_hold: bool,
}

/// Returns who holds a message that is on hold by this State payload; without one, from the first.
fn holder(hold: Option<&[u8]>, meta: &Meta) -> MailHolder {
    match (hold, &meta.on_hold) {
        (Some(payload), _) => payload::decode_hold(payload),
        (None, Some(from_first)) => from_first.by.clone(),
        (None, None) => MailHolder::of(HolderKind::Unknown),
    }
}

/// Reads a message's record, its note, and what has put it on hold. What cannot be read may have moved since it was looked up,
/// so it is looked up once more. If it is at the same place as before it is damaged: then the message is lost, or only the
/// replies to its recipients, or who holds it.
fn current(shared: &SharedSpool, id: QueueId) -> Result<Current, ReadError> {
    let mut tried: Option<RecordPlace> = None;
    loop {
        let (slot, extra) = look_up(shared, id).ok_or(ReadError::Gone)?;
        let is_last_look = tried.replace(slot.place) == Some(slot.place);
        let record = record_at(shared, id, slot.place);
        let places = [extra.note, extra.hold, extra.route];
        let [note, hold, route] = places.map(|place| payload_at(shared, id, place));
        let errors = [record.as_ref().err(), note.as_ref().err(), hold.as_ref().err(), route.as_ref().err()];
        let is_damaged = errors.iter().flatten().any(|error| matches!(error, ReadError::Damaged));
        if is_damaged && !is_last_look {
            continue;
        }
        let is_on_hold = slot.marks.state() == EntryState::OnHold;
        let hold = hold.unwrap_or_else(|_| Some(payload::encode_state(EntryState::OnHold).into()));
        let (note, route) = (note.ok().flatten(), route.ok().flatten());
        return Ok(Current { record: record?, fates: extra.fates, note, hold, route, is_on_hold });
    }
}

/// Returns what the index knows of a message at one moment.
pub(super) fn look_up(shared: &SharedSpool, id: QueueId) -> Option<(Slot, Extra)> {
    let index = shared.index();
    index.slot(id).map(|slot| (slot, index.extra(id)))
}

/// Opens a large file, and checks it where that is asked for.
fn open_large(
    shared: &SharedSpool,
    id: QueueId,
    large: Large,
    check: Check,
) -> Result<StoredContent, ReadError> {
    let file = match shared.fs.open_plain(&shared.paths.large(id)) {
        // Settled between the look-up and now, or lost.
        Err(e) if e.kind() == ErrorKind::NotFound => {
            return Err(if shared.index().slot(id).is_none() { ReadError::Gone } else { ReadError::Damaged });
        }
        other => other?,
    };
    let right_length = file.metadata()?.len() == large.length;
    if !right_length || (check == Check::Everything && large_sum(shared, &file)? != large.sum) {
        return Err(ReadError::Damaged);
    }
    Ok(StoredContent::File { file, len: large.length })
}

/// Returns the checksum of a large file.
fn large_sum(shared: &SharedSpool, file: &std::fs::File) -> io::Result<u32> {
    let mut chunk = vec![0; 1 << 18];
    let (mut sum, mut offset) = (shared.spool.payload_sum(&[]), 0);
    loop {
        let length = read_full_at(file, &mut chunk, offset)?;
        if length == 0 {
            return Ok(sum);
        }
        sum = crc32c::crc32c_append(sum, &chunk[..length]);
        offset += length as u64;
    }
}

fn damaged(_: MalformedOctets) -> ReadError {
    ReadError::Damaged
}
