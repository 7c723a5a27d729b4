//! The format of segments on the disk, version 7. Versions 1 to 6 differ in payloads alone.
//!
//! All numbers are little-endian. A segment is a file `NNNNNNNN.seg` in the directory `log/` of the spool. Its name is its
//! sequence number in eight hexadecimal digits, counting up from 1:
//!
//! ```text
//!      0  header                    two copies, so that one bad block costs nothing
//!   4096  header again
//!   8192  batch, batch, batch ...   filled up with zeros to a multiple of 512, where the next one starts,
//!                                   or follows at once if nothing was synced in between
//!  . . .  free: zeros, or what a recycled file held in its former life
//!
//! header                               record
//!   0  8  "nullmta\n"                    0  4  "nmR1"
//!   8  2  format version                 4  4  checksum of octets 8..40 of this head
//!  10  2  zero                           8  4  length of the payload
//!  12  4  sequence number               12  4  checksum of the payload
//!  16 16  spool id                      16  8  queue id
//!  32  8  highest queue id given        24  4  batch: counts up with every write to the segment
//!  40  4  relay clock, seconds          28  4  durable below: everything before this offset was
//!  44  4  previous segment, 0: none            known to be synced when the record was written
//!  48  4  its durable length            32  4  relay clock, seconds
//!  52  4  its end                       36  1  kind
//!  56  4  zero                          37  1  1: the last record of its batch
//!  60  4  checksum of octets 0..60      38  2  zero
//!                                       40     payload (payload.rs), zeros up to a multiple of 8
//! ```
//!
//! Promises
//! 1. A record whose two checksums hold is whole, was written by this spool, for this segment and
//!    this offset. Checksums are CRC32C; the head's starts from spool id, sequence number and offset,
//!    and it covers the payload's checksum. So neither a recycled file's former records parse, nor
//!    a sector that went astray, nor a record that a submitter put into the content of a message
//!    (the spool id is random and is in no message).
//! 2. A sector that holds something synced is never written again: behind a sync a batch starts a new
//!    sector, so a torn write can harm only what nobody was told is safe.
//! 3. A record of a lower batch than one before it is what a failed write left behind. It is void.
//! 4. Damage before a later record's `durable below`, or before the durable length that the next
//!    segment's header states, hit something that was safe. Other damage is a write that was
//!    never finished. A record at or behind the stated end was refused and is void.
//! 5. Zeros are padding only behind the last record of a batch; anywhere else they stand where a record was.
//! 6. Reading never panics, whatever the octets are. Versions up to this one stay readable for ever;
//!    magic, version and the place of the header's checksum are the same in all of them.
//!
//! The facts that outlive every message, which relays have ever taken one and how much of their rates is used, are in
//! files of their own (`relays.rs`, `rates.rs`): segments come and go.
//!
//! Not here: payloads (`payload.rs`), reading a segment through (`scan.rs`), writing (`segment.rs`).

use crc32c::{crc32c, crc32c_append};

use super::octets::{OctetReader, put_u16, put_u32, put_u64};
use crate::queue_id::QueueId;

/// The version that this program writes, and the newest one that it reads.
pub const FORMAT_VERSION: u16 = 7;
/// A disk writes so many octets whole or not at all; batches start at multiples of it.
pub const SECTOR: u32 = 512;
/// The offset at which the first batch starts.
pub const FIRST_RECORD: u32 = 8192;
/// The head of a record, before its payload, has so many octets.
pub const HEAD: u32 = 40;
/// No payload has more octets; envelope and small content stay far below it.
pub const MAX_PAYLOAD: u32 = 64 << 20;

const HEADER: usize = 64;
const HEADER_COPY_AT: usize = 4096;
const HEADER_MAGIC: [u8; 8] = *b"nullmta\n";
pub(super) const RECORD_MAGIC: [u8; 4] = *b"nmR1";

/// The random id of one spool, from which all its checksums start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpoolId(pub [u8; 16]);

impl SpoolId {
    /// Returns the checksum of a payload. It stays the same wherever the record is copied to.
    pub fn payload_sum(self, parts: &[&[u8]]) -> u32 {
        parts.iter().fold(crc32c(&self.0), |sum, part| crc32c_append(sum, part))
    }

    /// Returns the value from which the checksums of the heads in segment `sequence` start.
    pub fn seed(self, sequence: u32) -> Seed {
        Seed(crc32c_append(crc32c(&self.0), &sequence.to_le_bytes()))
    }

    /// Returns a spool id under which the record of this head and payload is whole, if there is one. It need not be the one
    /// under which the record was written, but all that was written under that one is whole under this one, too.
    pub(super) fn of_record(
        head: &[u8; HEAD as usize],
        payload: &[u8],
        sequence: u32,
        offset: u32,
    ) -> Option<SpoolId> {
        let [sum, payload_sum] = [4, 12].map(|at| u32::from_le_bytes([0, 1, 2, 3].map(|n| head[at + n])));
        let start = undo(undo(undo(sum, &head[8..]), &offset.to_le_bytes()), &sequence.to_le_bytes());
        (crc32c_append(start, payload) == payload_sum).then(|| SpoolId::of_sum(start))
    }

    /// Returns the id of this checksum that has zeros except in its last four octets.
    fn of_sum(sum: u32) -> SpoolId {
        let mut id = [0; 16];
        // The sum of appended octets is added to the sum of the octets before them: so it is the difference of the two.
        let last = undo(sum, &[0; 4]) ^ crc32c(&id[..12]);
        id[12..].copy_from_slice(&last.to_le_bytes());
        SpoolId(id)
    }
}

/// Returns the checksum that led to `sum` when `octets` were appended: a CRC can be followed back.
fn undo(sum: u32, octets: &[u8]) -> u32 {
    const CASTAGNOLI: u32 = 0x82F6_3B78;
    let bit = |sum: u32| if sum >> 31 == 1 { ((sum ^ CASTAGNOLI) << 1) | 1 } else { sum << 1 };
    !octets.iter().rev().fold(!sum, |sum, octet| (0..8).fold(sum, |sum, _| bit(sum)) ^ u32::from(*octet))
}

/// The checksum of a spool id and a segment's number, from which the checksums of heads go on.
#[derive(Clone, Copy, Debug)]
pub struct Seed(u32);

impl Seed {
    fn sum(self, offset: u32, octets: &[u8]) -> u32 {
        crc32c_append(crc32c_append(self.0, &offset.to_le_bytes()), octets)
    }
}

/// Says how far the segment before this one is to be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreviousSegment {
    /// The sequence number of the segment before this one.
    pub sequence: u32,
    /// Everything before this offset was synced: damage there is damage.
    pub durable: u32,
    /// The offset at and behind which everything was refused and is void.
    pub end: u32,
}

/// The header of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The format version that it is written in.
    pub version: u16,
    /// The spool it belongs to.
    pub spool: SpoolId,
    /// The number of the segment; a file of another name has not become this segment yet.
    pub sequence: u32,
    /// The highest queue id that had been given when the segment was begun.
    pub high_water: QueueId,
    /// The relay clock when the segment was begun.
    pub relay_clock: u32,
    /// The segment before it; `None` in the first one of a spool.
    pub previous: Option<PreviousSegment>,
}

/// Says why octets are no [`SegmentHeader`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderFault {
    /// They are no header, or one that is damaged.
    Unreadable,
    /// They are a whole header of this later version.
    Newer(u16),
}

impl SegmentHeader {
    /// Returns the first [`FIRST_RECORD`] octets of the segment.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(FIRST_RECORD as usize);
        out.extend_from_slice(&HEADER_MAGIC);
        put_u16(&mut out, self.version);
        put_u16(&mut out, 0);
        put_u32(&mut out, self.sequence);
        out.extend_from_slice(&self.spool.0);
        put_u64(&mut out, self.high_water.raw());
        put_u32(&mut out, self.relay_clock);
        let previous = self.previous.unwrap_or(PreviousSegment { sequence: 0, durable: 0, end: 0 });
        for value in [previous.sequence, previous.durable, previous.end, 0] {
            put_u32(&mut out, value);
        }
        let sum = crc32c(&out);
        put_u32(&mut out, sum);
        out.resize(HEADER_COPY_AT, 0);
        out.extend_from_within(..HEADER);
        out.resize(FIRST_RECORD as usize, 0);
        out
    }

    /// Returns the header in the first octets of the file that is named after `sequence`, from whichever copy is whole.
    pub fn decode(octets: &[u8], sequence: u32) -> Result<SegmentHeader, HeaderFault> {
        let copies = [0, HEADER_COPY_AT].map(|at| SegmentHeader::decode_copy(octets.get(at..at + HEADER)));
        let own = |copy: &Result<SegmentHeader, HeaderFault>| matches!(copy, Ok(h) if h.sequence == sequence);
        let [first, second] = copies;
        match (own(&first), own(&second)) {
            (true, _) => first,
            (_, true) => second,
            _ if matches!(first, Err(HeaderFault::Newer(_))) => first,
            _ if matches!(second, Err(HeaderFault::Newer(_))) => second,
            _ => Err(HeaderFault::Unreadable),
        }
    }

    fn decode_copy(octets: Option<&[u8]>) -> Result<SegmentHeader, HeaderFault> {
        let octets = octets.ok_or(HeaderFault::Unreadable)?;
        let (summed, sum) = octets.split_at(HEADER - 4);
        if summed[..8] != HEADER_MAGIC || crc32c(summed).to_le_bytes() != sum {
            return Err(HeaderFault::Unreadable);
        }
        let version = u16::from_le_bytes([summed[8], summed[9]]);
        if version > FORMAT_VERSION {
            return Err(HeaderFault::Newer(version));
        }
        // A slice of fixed length holds all fixed fields; the fault is for the reader's types only.
        SegmentHeader::decode_fields(version, &summed[12..]).ok_or(HeaderFault::Unreadable)
    }

    fn decode_fields(version: u16, octets: &[u8]) -> Option<SegmentHeader> {
        let mut reader = OctetReader::new(octets);
        let sequence = reader.u32().ok()?;
        let spool = SpoolId(reader.take(16).ok()?.try_into().ok()?);
        let high_water = QueueId::from_raw(reader.u64().ok()?);
        let relay_clock = reader.u32().ok()?;
        let [before, durable, end] = [reader.u32().ok()?, reader.u32().ok()?, reader.u32().ok()?];
        let previous = (before != 0).then_some(PreviousSegment { sequence: before, durable, end });
        Some(SegmentHeader { version, spool, sequence, high_water, relay_clock, previous })
    }
}

/// Says what a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RecordKind {
    /// A message was taken.
    Message = 1,
    /// The cleaner has copied a message forward, with all that was recorded of it since.
    Moved = 2,
    /// Some recipients are sent, bounced or dead.
    Outcome = 3,
    /// A message was removed.
    Settled = 4,
    /// A message is held, dead, or active again.
    State = 5,
    /// The record has the last reply to each recipient; it is a hint.
    Note = 6,
    /// The final dot is about to be sent; the record is a hint.
    InFlight = 7,
    /// The process ended in order.
    CleanEnd = 8,
}

impl RecordKind {
    /// All kinds of records.
    pub const ALL: [RecordKind; 8] = [
        RecordKind::Message,
        RecordKind::Moved,
        RecordKind::Outcome,
        RecordKind::Settled,
        RecordKind::State,
        RecordKind::Note,
        RecordKind::InFlight,
        RecordKind::CleanEnd,
    ];

    /// Returns whether a record of this kind is a hint: it was never promised to be durable, so it is believed wherever it is
    /// found.
    pub fn is_hint(self) -> bool {
        matches!(self, RecordKind::Note | RecordKind::InFlight)
    }

    fn from_octet(octet: u8) -> Option<RecordKind> {
        RecordKind::ALL.into_iter().find(|kind| *kind as u8 == octet)
    }
}

/// The head of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The payload has so many octets.
    pub payload_length: u32,
    /// The checksum that [`SpoolId::payload_sum`] returns for the payload.
    pub payload_sum: u32,
    /// The message it is about; 0 for [`RecordKind::CleanEnd`].
    pub id: QueueId,
    /// The number of the write with which it came (promise 3).
    pub batch: u32,
    /// Everything before this offset was known to be synced when the record was written (promise 4).
    pub durable_below: u32,
    /// The relay clock in seconds.
    pub relay_clock: u32,
    /// The kind of the record.
    pub kind: RecordKind,
    /// The record is the last one of its batch: padding may stand behind it (promise 5).
    pub ends_batch: bool,
}

impl Head {
    /// Returns the octets of this head at `offset` of the segment of `seed`.
    pub fn encode(&self, seed: Seed, offset: u32) -> [u8; HEAD as usize] {
        let mut octets = [0; HEAD as usize];
        octets[..4].copy_from_slice(&RECORD_MAGIC);
        octets[8..12].copy_from_slice(&self.payload_length.to_le_bytes());
        octets[12..16].copy_from_slice(&self.payload_sum.to_le_bytes());
        octets[16..24].copy_from_slice(&self.id.raw().to_le_bytes());
        octets[24..28].copy_from_slice(&self.batch.to_le_bytes());
        octets[28..32].copy_from_slice(&self.durable_below.to_le_bytes());
        octets[32..36].copy_from_slice(&self.relay_clock.to_le_bytes());
        octets[36] = self.kind as u8;
        octets[37] = u8::from(self.ends_batch);
        let sum = seed.sum(offset, &octets[8..]);
        octets[4..8].copy_from_slice(&sum.to_le_bytes());
        octets
    }

    /// Returns the head in `octets`, which stand at `offset` of the segment of `seed`; `None` if there is none.
    pub fn decode(octets: &[u8], seed: Seed, offset: u32) -> Option<Head> {
        let octets = octets.get(..HEAD as usize)?;
        if octets[..4] != RECORD_MAGIC || octets[4..8] != seed.sum(offset, &octets[8..]).to_le_bytes() {
            return None;
        }
        let mut reader = OctetReader::new(&octets[8..]);
        let [payload_length, payload_sum] = [reader.u32().ok()?, reader.u32().ok()?];
        let id = QueueId::from_raw(reader.u64().ok()?);
        let [batch, durable_below, relay_clock] =
            [reader.u32().ok()?, reader.u32().ok()?, reader.u32().ok()?];
        let kind = RecordKind::from_octet(reader.u8().ok()?)?;
        let ends_batch = reader.u8().ok()? == 1;
        let head =
            Head { payload_length, payload_sum, id, batch, durable_below, relay_clock, kind, ends_batch };
        (payload_length <= MAX_PAYLOAD).then_some(head)
    }

    /// Returns how many octets there are from this head to the next record of the batch.
    pub fn record_length(&self) -> u32 {
        record_length(self.payload_length)
    }
}

/// Returns how many octets a record has with a payload of `payload_length`, which is [`MAX_PAYLOAD`] at most.
pub fn record_length(payload_length: u32) -> u32 {
    (HEAD + payload_length).next_multiple_of(8)
}

#[cfg(test)]
mod tests;
