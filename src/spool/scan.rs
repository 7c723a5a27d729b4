//! Reads a segment through: every whole record in it, and the ranges between them that hold none.
//!
//! Promises
//! 1. Every record whose checksums hold is found, whatever stands before it: the search goes on at
//!    every multiple of 8 (`format.rs` says why nothing else can look like a record).
//! 2. Memory is one window of 1 MiB, or one record where that is longer.
//! 3. A block that cannot be read counts as zeros: it costs the records in it and no others.
//!
//! Not here: whether a range without records is damage (`recover.rs`).

use std::io;

use super::format::{
    FIRST_RECORD, HEAD, Head, HeaderFault, RECORD_MAGIC, SECTOR, Seed, SegmentHeader, SpoolId,
};
use super::fs::{File, read_full_at};

const WINDOW: usize = 1 << 20;
const BLOCK: usize = 4096;

/// A whole record. Until the next one is asked for, [`Scanner::payload`] returns its payload.
#[derive(Clone, Copy, Debug)]
pub(super) struct FoundRecord {
    pub offset: u32,
    pub head: Head,
    /// The offset at which the octets before it begin that are neither record nor padding, if there are any.
    pub gap: Option<u32>,
}

/// Goes through one segment from its first record to its end.
pub(super) struct Scanner<'a> {
    file: &'a dyn File,
    spool: SpoolId,
    seed: Seed,
    /// The offset at which the search ends.
    limit: u32,
    position: u32,
    /// The octets that were read last.
    window: Vec<u8>,
    /// The offset in the file at which `window` begins.
    window_at: u32,
    /// The number of the highest batch so far: records of lower ones are void.
    batch: u32,
    /// True if the last record that was found is not the last one of its batch.
    in_batch: bool,
    gap: Option<u32>,
    /// The worst that was found in that gap.
    fragment: Fragment,
    payload: std::ops::Range<usize>,
}

/// A record of which only a part is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fragment {
    /// No record of which only a part is there.
    None,
    /// A part of a record that the file has room for as a whole.
    Broken,
    /// A part of a record that would go on behind the end of the file.
    CutOff,
}

/// The reason why the header of a segment could not be read.
#[derive(Debug)]
pub(super) enum HeaderError {
    /// The system refused a call.
    Io(io::Error),
    /// The octets are no header that this version understands.
    Fault(HeaderFault),
}

/// Reads the header of the segment in `file`, which has the number `sequence`.
pub(super) fn read_header(file: &dyn File, sequence: u32) -> Result<SegmentHeader, HeaderError> {
    let mut octets = vec![0; FIRST_RECORD as usize];
    let length = read_tolerantly(file, &mut octets, 0).map_err(HeaderError::Io)?;
    SegmentHeader::decode(&octets[..length], sequence).map_err(HeaderError::Fault)
}

impl<'a> Scanner<'a> {
    /// Returns a scanner that reads segment `sequence` from its first record to `limit`, or to the end of the file.
    pub fn new(file: &'a dyn File, spool: SpoolId, sequence: u32, limit: u32) -> io::Result<Self> {
        let length = u32::try_from(file.length()?).unwrap_or(u32::MAX);
        Ok(Scanner {
            file,
            spool,
            seed: spool.seed(sequence),
            limit: limit.min(length),
            position: FIRST_RECORD,
            window: Vec::new(),
            window_at: FIRST_RECORD,
            batch: 0,
            in_batch: false,
            gap: None,
            fragment: Fragment::None,
            payload: 0..0,
        })
    }

    /// Returns the payload of the record that was found last.
    pub fn payload(&self) -> &[u8] {
        &self.window[self.payload.clone()]
    }

    /// Returns the next whole record; `None` at the end, of which [`Scanner::tail`] says more.
    pub fn next(&mut self) -> io::Result<Option<FoundRecord>> {
        (self.gap, self.fragment) = (None, Fragment::None);
        while self.position < self.limit {
            if let Some(head) = self.head_here()?
                && head.batch >= self.batch
            {
                if self.payload_is_whole(&head)? {
                    let offset = self.position;
                    (self.batch, self.in_batch) = (head.batch, !head.ends_batch);
                    self.position += head.record_length();
                    return Ok(Some(FoundRecord { offset, head, gap: self.gap }));
                }
                self.fragment = self.fragment.max(Fragment::Broken);
            }
            self.step_over()?;
        }
        Ok(None)
    }

    /// Returns where the octets behind the last record and its padding begin.
    pub fn tail(&self) -> u32 {
        self.gap.unwrap_or(self.position)
    }

    /// Returns whether a batch was cut off there: its last record is missing, or a record is not whole.
    pub fn tail_is_torn(&self) -> bool {
        self.fragment > Fragment::None || self.in_batch
    }

    /// Returns whether it was cut off because the file ends there.
    pub fn tail_is_cut_off(&self) -> bool {
        self.fragment == Fragment::CutOff || self.in_batch && self.limit.saturating_sub(self.tail()) < HEAD
    }

    fn head_here(&mut self) -> io::Result<Option<Head>> {
        let (position, seed) = (self.position, self.seed);
        if self.limit - position < HEAD {
            return Ok(None);
        }
        let at = self.load(position, HEAD)?;
        Ok(self.window.get(at..).and_then(|octets| Head::decode(octets, seed, position)))
    }

    fn payload_is_whole(&mut self, head: &Head) -> io::Result<bool> {
        let length = HEAD + head.payload_length;
        if self.limit - self.position < length {
            self.fragment = Fragment::CutOff;
            return Ok(false);
        }
        let at = self.load(self.position, length)?;
        let range = at + HEAD as usize..at + length as usize;
        let whole = self
            .window
            .get(range.clone())
            .is_some_and(|payload| self.spool.payload_sum(&[payload]) == head.payload_sum);
        self.payload = range;
        Ok(whole)
    }

    /// Passes the padding at the end of a batch, or else the octets up to where a record may start.
    fn step_over(&mut self) -> io::Result<()> {
        let sector_end = self.position.next_multiple_of(SECTOR).min(self.limit);
        if self.gap.is_none() && !self.in_batch && sector_end > self.position {
            let length = (sector_end - self.position) as usize;
            let at = self.load(self.position, length as u32)?;
            if self.window.get(at..at + length).is_some_and(|octets| octets.iter().all(|octet| *octet == 0)) {
                self.position = sector_end;
                return Ok(());
            }
        }
        self.gap.get_or_insert(self.position);
        let at = self.load(self.position, HEAD)?;
        let candidates = self.window[at..].chunks(8).skip(1);
        let skipped = candidates.take_while(|octets| !octets.starts_with(&RECORD_MAGIC)).count() as u32;
        self.position = self.position.saturating_add(8 * (skipped + 1)).min(self.limit.next_multiple_of(8));
        Ok(())
    }

    /// Makes the window hold `length` octets from `offset` on, or all that the file has there; returns where in the window
    /// they begin.
    fn load(&mut self, offset: u32, length: u32) -> io::Result<usize> {
        let at = (offset - self.window_at) as usize;
        if at + length as usize <= self.window.len() {
            return Ok(at);
        }
        // Reads what is in the window already once more: a record in a thousand, and simpler.
        let wanted = (length as usize).max(WINDOW).min((self.limit - offset) as usize);
        self.window.resize(wanted, 0);
        self.window_at = offset;
        let read = read_tolerantly(self.file, &mut self.window, u64::from(offset))?;
        self.window.truncate(read);
        Ok(0)
    }
}

/// Reads as [`read_full_at`] does, with zeros for blocks that cannot be read.
pub(super) fn read_tolerantly(file: &dyn File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    if let Ok(length) = read_full_at(file, buffer, offset) {
        return Ok(length);
    }
    let there = file.length()?.saturating_sub(offset).min(buffer.len() as u64) as usize;
    for (number, block) in buffer[..there].chunks_mut(BLOCK).enumerate() {
        if read_full_at(file, block, offset + (number * BLOCK) as u64).is_err() {
            block.fill(0);
        }
    }
    Ok(there)
}

#[cfg(test)]
mod tests;
