//! Reads octets from anywhere as every start reads them. `tests/fuzz` calls it; it is built for that and for tests alone.
//!
//! Promises: neither panics nor takes memory beyond what the octets at hand can hold, whatever they are.
//! The checksums, which no fuzzer gets past, are passed by in [`record`] and made to fit in [`segment`].
//!
//! Not here: what is done with what was found (`recover.rs`).

use std::io::{self, ErrorKind};

use super::change::IndexChange;
pub use super::format::FIRST_RECORD;
use super::format::{HEAD, Head, RecordKind, SpoolId};
use super::fs::{File, FileFacts};
use super::payload;
use super::scan::{Scanner, read_header};

/// The spool id from which all checksums start that are made here.
const SPOOL: SpoolId = SpoolId(*b"fuzzed, not ours");
const SEQUENCE: u32 = 1;

/// Reads `octets` as the head of a record and as the payload of every kind, with its envelope; returns in how many ways
/// they make sense.
pub fn record(octets: &[u8]) -> usize {
    let heads = usize::from(Head::decode(octets, SPOOL.seed(SEQUENCE), FIRST_RECORD).is_some());
    let payloads =
        RecordKind::ALL.into_iter().filter(|kind| IndexChange::decode(*kind, octets).is_ok()).count();
    let message = payload::decode_moved(octets).map_or(octets, |moved| moved.message);
    let envelope = payload::decode_message(message).map_or(message, |message| message.envelope);
    heads + payloads + usize::from(payload::decode_envelope(envelope).is_ok())
}

/// Reads `octets` as a segment, and returns how many of them are whole: the header and the records. Where a record could
/// start, since its magic is there, every other one gets checksums that hold.
pub fn segment(octets: &[u8]) -> usize {
    let file = Octets(signed(octets));
    let header = read_header(&file, SEQUENCE).is_ok();
    let Ok(mut scanner) = Scanner::new(&file, SPOOL, SEQUENCE, u32::MAX) else { return 0 };
    let mut found = usize::from(header);
    while let Ok(Some(record)) = scanner.next() {
        // A record that is whole may still make no sense; recovery counts it as damage.
        let _ = IndexChange::decode(record.head.kind, scanner.payload());
        found += 1;
    }
    found
}

fn signed(octets: &[u8]) -> Vec<u8> {
    let mut signed = octets.to_vec();
    let mut at = FIRST_RECORD as usize;
    while let Some(head) = signed.get(at..at + HEAD as usize) {
        if let Some((sum_at, octets)) = head_for(head, signed.get(at + HEAD as usize..), at as u32) {
            signed[at..at + octets.len()].copy_from_slice(&octets);
            at = sum_at;
        }
        at += 8;
    }
    signed
}

/// Returns `head` with checksums that hold, if all of its record is there, and where that record ends.
fn head_for(head: &[u8], rest: Option<&[u8]>, offset: u32) -> Option<(usize, [u8; HEAD as usize])> {
    let number = |at: usize| head.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
    if !head.starts_with(b"nmR1") || number(4)? % 2 == 1 {
        return None;
    }
    let kind = RecordKind::ALL.into_iter().find(|kind| *kind as u8 == head[36])?;
    let payload_length = number(8)? % 4096;
    let payload = rest?.get(..payload_length as usize)?;
    let head = Head {
        payload_length,
        payload_sum: SPOOL.payload_sum(&[payload]),
        id: crate::queue_id::QueueId::from_raw(u64::from(number(16)?)),
        batch: number(24)?,
        durable_below: number(28)?,
        relay_clock: number(32)?,
        kind,
        ends_batch: head[37] == 1,
    };
    let end = offset as usize + HEAD as usize + payload.len();
    Some((end.next_multiple_of(8) - 8, head.encode(SPOOL.seed(SEQUENCE), offset)))
}

/// A file that is only read.
struct Octets(Vec<u8>);

impl File for Octets {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(self.0.len());
        let count = buffer.len().min(self.0.len() - from);
        buffer[..count].copy_from_slice(&self.0[from..from + count]);
        Ok(count)
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<usize> {
        Err(ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn reserve(&self, _: u64) -> io::Result<()> {
        Err(ErrorKind::ReadOnlyFilesystem.into())
    }

    fn truncate(&self, _: u64) -> io::Result<()> {
        Err(ErrorKind::ReadOnlyFilesystem.into())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn facts(&self) -> io::Result<FileFacts> {
        Err(ErrorKind::Unsupported.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Octets of a segment in which many places look like records.
    fn almost_records() -> impl Strategy<Value = Vec<u8>> {
        let piece = (0u8..4, 0u32..300, 0u8..12, vec(any::<u8>(), 0..300));
        vec(piece, 0..12).prop_map(|pieces| {
            let mut octets = vec![0; FIRST_RECORD as usize];
            for (sum, length, kind, tail) in pieces {
                octets.extend_from_slice(b"nmR1");
                octets.extend_from_slice(&[sum, 0, 0, 0]);
                octets.extend_from_slice(&length.to_le_bytes());
                octets.extend_from_slice(&[0; 24]);
                octets.extend_from_slice(&[kind, 0, 0, 0]);
                octets.extend_from_slice(&tail);
                octets.resize(octets.len().next_multiple_of(8), 0);
            }
            octets
        })
    }

    proptest! {
        /// format.rs 5, as the fuzz targets have it.
        #[test]
        fn any_octets_are_read_without_a_panic(octets in vec(any::<u8>(), 0..600)) {
            record(&octets);
            segment(&octets);
        }

        #[test]
        fn what_looks_like_records_is_read_without_a_panic(octets in almost_records()) {
            segment(&octets);
            record(&octets[FIRST_RECORD as usize..]);
        }
    }

    #[test]
    fn records_made_to_fit_are_found() {
        let mut octets = vec![0; FIRST_RECORD as usize];
        for sum in [0u8, 1, 2] {
            octets.extend_from_slice(b"nmR1");
            octets.extend_from_slice(&[sum, 0, 0, 0, 8, 0, 0, 0]);
            octets.extend_from_slice(&[0; 24]);
            octets.extend_from_slice(&[RecordKind::Note as u8, 0, 0, 0]);
            octets.extend_from_slice(b"450 late");
        }
        assert_eq!(segment(&octets), 2, "the middle one has no checksum that holds");
        assert!(record(b"450 late") >= 1, "a note is any text");
    }
}
