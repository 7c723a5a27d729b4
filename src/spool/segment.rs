//! The segment that is being written.
//!
//! Promises
//! 1. A segment is active only once its header is synced; before that no record goes into it.
//! 2. [`ActiveSegment::append`] writes one batch with one positional write at the committed end. When it fails
//!    the end stays where it was: the next batch overwrites what the failed one left, and what sticks
//!    out behind it has a lower batch number and is void (`format.rs`, promise 3). The sector in which a
//!    batch ended is written again, with the same octets in front, unless it was synced in between: a
//!    delivery's mark and its outcome take one sector as a rule, which is what a full disk has to spare.
//! 3. After a failed sync nothing is written to the segment and no sync is tried on it again, since
//!    the kernel may have thrown away what it could not write and say Ok the second time. The segment
//!    is [`ActiveSegment::sealed`]; the header of the next one makes void whatever was not synced.
//! 4. [`ActiveSegment::write_ahead`] writes only behind the records, and only while all of them are synced.
//!
//! Not here: what records mean, who waits for them (`writer.rs`), where new segments come from (`stock.rs`).

use std::io;
use std::sync::Arc;

use super::format::{
    FIRST_RECORD, HEAD, Head, PreviousSegment, RecordKind, SECTOR, Seed, SegmentHeader, record_length,
};
use super::fs::{File, write_all_at};
use super::index::RecordPlace;
use super::space::{self, LARGEST_PIECE};
use crate::queue_id::QueueId;

/// A file that can become segment `sequence`: it holds zeros, or what a former segment held. Its content, length and name
/// are synced.
pub(super) struct ReadySegment {
    pub sequence: u32,
    pub file: Arc<dyn File>,
    /// The length of the file, in octets; the disk has given room for all of them.
    pub length: u64,
    /// The number of octets of it that have been written. For a file that is reused this is an upper bound, since some
    /// may only be reserved.
    pub written: u64,
}

/// The zeros that are written to a segment before its records are.
pub(super) static ZEROS: [u8; LARGEST_PIECE as usize] = [0; LARGEST_PIECE as usize];

/// The segment to which records are appended; the writer owns it.
pub(super) struct ActiveSegment {
    file: Arc<dyn File>,
    sequence: u32,
    seed: Seed,
    /// The offset at which the next batch is written; a sector starts there.
    end: u32,
    /// The octets of that sector that are written already and not synced.
    tail: Vec<u8>,
    /// The offset up to which everything is synced.
    durable: u32,
    /// The number of the batch that was written last.
    batch: u32,
    /// The head of the last record of the next batch so far, and the record's offset in the segment.
    last: Option<(u32, Head)>,
    /// The number of octets with which the segment was made ready.
    capacity: u32,
    /// The number of octets that had been written when it was made ready, or have been since by
    /// [`ActiveSegment::write_ahead`].
    written: u32,
}

/// The end of a segment as it was before a batch was written, so that the segment can be taken back to it.
pub(super) struct AppendPoint {
    end: u32,
    tail: Vec<u8>,
    durable: u32,
}

/// A record that is to be written and has no place in a segment yet.
pub(super) struct NewRecord<'a> {
    pub kind: RecordKind,
    pub id: QueueId,
    pub payload_sum: u32,
    pub relay_clock: u32,
    /// The payload, in parts.
    pub payload: &'a [&'a [u8]],
}

impl ActiveSegment {
    /// Writes and syncs `header`, by which the file becomes the active segment.
    pub fn activate(ready: &ReadySegment, header: &SegmentHeader) -> io::Result<ActiveSegment> {
        write_all_at(&*ready.file, &header.encode(), 0)?;
        ready.file.sync_data()?;
        Ok(ActiveSegment {
            file: Arc::clone(&ready.file),
            sequence: ready.sequence,
            seed: header.spool.seed(ready.sequence),
            end: FIRST_RECORD,
            tail: Vec::new(),
            durable: FIRST_RECORD,
            batch: 0,
            last: None,
            // Options keep segments below 4 GiB.
            capacity: u32::try_from(ready.length).unwrap_or(u32::MAX),
            written: u32::try_from(ready.written).unwrap_or(u32::MAX),
        })
    }

    /// Returns the open file.
    pub fn file(&self) -> &dyn File {
        &*self.file
    }

    /// Returns where the segment ends now, for [`ActiveSegment::roll_back`].
    pub fn append_point(&self) -> AppendPoint {
        AppendPoint { end: self.end, tail: self.tail.clone(), durable: self.durable }
    }

    /// Takes the end of the segment back to `point`: what was written since is void as soon as another batch is written,
    /// or the next segment is begun.
    pub fn roll_back(&mut self, point: AppendPoint) {
        (self.end, self.tail, self.durable) = (point.end, point.tail, point.durable);
    }

    /// Returns the number of the segment.
    pub fn sequence(&self) -> u32 {
        self.sequence
    }

    /// Returns the offset behind the last record.
    pub fn end(&self) -> u32 {
        self.end + self.tail.len() as u32
    }

    /// Returns how many octets are left in the segment.
    pub fn room(&self) -> u32 {
        self.capacity.saturating_sub(self.end())
    }

    /// Returns the number of octets with which the segment was made ready.
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// Returns how many octets of records the segment can hold.
    pub fn holds(&self) -> u32 {
        self.capacity.saturating_sub(FIRST_RECORD)
    }

    /// Returns whether no record has been written to it.
    pub fn is_empty(&self) -> bool {
        self.end() == FIRST_RECORD
    }

    /// Returns whether everything that was written to it is synced.
    pub fn is_durable(&self) -> bool {
        self.durable == self.end && self.tail.is_empty()
    }

    /// Returns the facts of this segment that the header of the next one states.
    pub fn sealed(&self) -> PreviousSegment {
        PreviousSegment { sequence: self.sequence, durable: self.durable, end: self.durable }
    }

    /// Returns the offset at which the next record behind `batch` will stand.
    pub fn position(&self, batch: &[u8]) -> u32 {
        // The writer starts a new segment before a batch passes 4 GiB.
        if batch.is_empty() { self.end() } else { self.end + batch.len() as u32 }
    }

    /// Adds a record to `batch` and returns where it will stand. `batch` holds the octets that the next
    /// [`ActiveSegment::append`] will write.
    pub fn encode(&mut self, batch: &mut Vec<u8>, record: &NewRecord<'_>) -> RecordPlace {
        let offset = self.position(batch);
        if batch.is_empty() {
            batch.extend_from_slice(&self.tail);
        }
        let payload_length = record.payload.iter().map(|part| part.len() as u32).sum();
        let head = Head {
            payload_length,
            payload_sum: record.payload_sum,
            id: record.id,
            batch: self.batch + 1,
            durable_below: self.durable,
            relay_clock: record.relay_clock,
            kind: record.kind,
            ends_batch: false,
        };
        self.last = Some((offset, head));
        batch.reserve(record_length(payload_length) as usize);
        batch.extend_from_slice(&head.encode(self.seed, offset));
        record.payload.iter().for_each(|part| batch.extend_from_slice(part));
        batch.resize(batch.len().next_multiple_of(8), 0);
        RecordPlace { segment: self.sequence, offset, payload_length }
    }

    /// Writes a batch, filled up to whole sectors. The file is no longer than before when there is room.
    pub fn append(&mut self, batch: &mut Vec<u8>) -> io::Result<()> {
        let records = self.end_batch(batch);
        // Counted even if the write fails: what it leaves is then older than what comes next.
        self.batch += 1;
        write_all_at(&*self.file, batch, u64::from(self.end))?;
        let whole = records - records % SECTOR as usize;
        self.end += whole as u32;
        self.tail = batch[whole..records].to_vec();
        Ok(())
    }

    /// Marks the last record as the last one of its batch and fills the batch up to whole sectors; returns the length of the
    /// records alone, in octets.
    fn end_batch(&mut self, batch: &mut Vec<u8>) -> usize {
        if let Some((offset, head)) = self.last.take() {
            let at = (offset - self.end) as usize;
            let head = Head { ends_batch: true, ..head }.encode(self.seed, offset);
            batch[at..at + HEAD as usize].copy_from_slice(&head);
        }
        let records = batch.len();
        batch.resize(records.next_multiple_of(SECTOR as usize), 0);
        records
    }

    /// Writes one more piece of zeros into room that is only reserved, where too little of it has been written ahead of the
    /// records: to overwrite what is written costs the disk less. Does nothing while something is
    /// not synced. After an error no sync is to be tried again.
    pub fn write_ahead(&mut self) -> io::Result<()> {
        let (from, piece) = (self.written.max(self.end), space::piece(self.capacity.into()) as u32);
        if !self.is_durable() || from >= self.capacity || space::is_far_enough_ahead(from - self.end, piece) {
            return Ok(());
        }
        let octets = piece.min(self.capacity - from);
        write_all_at(&*self.file, &ZEROS[..octets as usize], from.into())?;
        self.file.sync_data()?;
        self.written = from + octets;
        Ok(())
    }

    /// Syncs everything that was appended.
    pub fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        self.end = self.end().next_multiple_of(SECTOR);
        self.tail.clear();
        self.durable = self.end;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
