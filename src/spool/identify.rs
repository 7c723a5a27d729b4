//! Finds out to which spool segments belong of which no header can be read any more: the records tell it.
//!
//! A host with little mail has one segment for weeks. Were its header the only place that names the spool, damage
//! to the first 8 KiB would cost every message behind it.
//!
//! Promises
//! 1. While one record is whole, an id is found under which all records of the spool are whole.
//! 2. The id that most records agree on counts. What stands in the content of a message has no say while that
//!    message is whole, nor what a reused segment held before.
//!
//! Not here: the arithmetic (`format.rs`), what becomes of the segments (`recover.rs`).

use std::collections::HashMap;
use std::io;

use super::format::{FIRST_RECORD, HEAD, MAX_PAYLOAD, RECORD_MAGIC, SpoolId, record_length};
use super::fs::File;
use super::scan::read_tolerantly;

const WINDOW: usize = 1 << 20;

/// Returns the id of the spool that wrote these segments; `None` when no record is whole.
pub(super) fn identify<'a>(
    segments: impl Iterator<Item = (u32, &'a dyn File)>,
) -> io::Result<Option<SpoolId>> {
    let mut votes: HashMap<[u8; 16], u32> = HashMap::new();
    for (sequence, file) in segments {
        let mut position = FIRST_RECORD;
        while let Some(offset) = next_magic(file, position)? {
            let found = record_at(file, sequence, offset)?;
            position = offset.saturating_add(found.map_or(8, |(_, length)| length));
            found.into_iter().for_each(|(spool, _)| *votes.entry(spool.0).or_default() += 1);
        }
    }
    Ok(votes.into_iter().max_by_key(|(_, count)| *count).map(|(id, _)| SpoolId(id)))
}

/// Returns whether something in the file looks as if a record had begun there.
pub(super) fn held_a_record(file: &dyn File) -> io::Result<bool> {
    Ok(next_magic(file, FIRST_RECORD)?.is_some())
}

/// Returns the offset at which a record may start, at `from` or behind it.
fn next_magic(file: &dyn File, from: u32) -> io::Result<Option<u32>> {
    let mut window = vec![0; WINDOW];
    let mut at = from;
    loop {
        let read = read_tolerantly(file, &mut window, u64::from(at))?;
        if let Some(number) = window[..read].chunks(8).position(|octets| octets.starts_with(&RECORD_MAGIC)) {
            return Ok(Some(at + 8 * number as u32));
        }
        match at.checked_add(WINDOW as u32) {
            Some(next) if read == WINDOW => at = next,
            _ => return Ok(None),
        }
    }
}

/// Returns the spool of the record at `offset` and the record's length, if the record is whole.
fn record_at(file: &dyn File, sequence: u32, offset: u32) -> io::Result<Option<(SpoolId, u32)>> {
    let mut head = [0; HEAD as usize];
    let read = read_tolerantly(file, &mut head, u64::from(offset))?;
    let payload_length = u32::from_le_bytes([head[8], head[9], head[10], head[11]]);
    let left = file.length()?.saturating_sub(u64::from(offset) + u64::from(HEAD));
    if read < head.len() || payload_length > MAX_PAYLOAD || u64::from(payload_length) > left {
        return Ok(None);
    }
    let mut payload = vec![0; payload_length as usize];
    read_tolerantly(file, &mut payload, u64::from(offset) + u64::from(HEAD))?;
    let spool = SpoolId::of_record(&head, &payload, sequence, offset);
    Ok(spool.map(|spool| (spool, record_length(payload_length))))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::queue_id::QueueId;
    use crate::spool::format::{Head, RecordKind};
    use crate::spool::fs::sim::SimFs;
    use crate::spool::fs::{Fs, write_all_at};

    const OURS: SpoolId = SpoolId(*b"0123456789abcdef");
    const OTHER: SpoolId = SpoolId(*b"fedcba9876543210");

    /// Returns a record of `spool` at `offset` of segment 3.
    fn record(spool: SpoolId, offset: u32, payload: &[u8]) -> Vec<u8> {
        let head = Head {
            payload_length: payload.len() as u32,
            payload_sum: spool.payload_sum(&[payload]),
            id: QueueId::from_raw(1),
            batch: 1,
            durable_below: 0,
            relay_clock: 0,
            kind: RecordKind::Note,
            ends_batch: true,
        };
        let mut octets = head.encode(spool.seed(3), offset).to_vec();
        octets.extend_from_slice(payload);
        octets.resize(octets.len().next_multiple_of(8), 0);
        octets
    }

    fn identified(records: &[u8], sequence: u32) -> Option<SpoolId> {
        let fs = SimFs::new();
        let file = fs.create(Path::new("/segment")).unwrap();
        write_all_at(&*file, records, u64::from(FIRST_RECORD)).unwrap();
        identify([(sequence, &*file)].into_iter()).unwrap()
    }

    /// Returns true if an id was found under which checksums come out as under the spool's own id.
    fn is_ours(found: Option<SpoolId>) -> bool {
        found.is_some_and(|id| id.payload_sum(&[b"abc"]) == OURS.payload_sum(&[b"abc"]))
    }

    /// Promise 1: however far into the file it stands, and whatever stands before it.
    #[test]
    fn one_whole_record_is_enough() {
        for (before, payload) in [(0, &b""[..]), (8, b"abc"), (WINDOW - 16, b"abcd"), (3 * WINDOW, b"abcde")]
        {
            let offset = FIRST_RECORD + before as u32;
            let mut octets = vec![b'x'; before];
            octets.extend(record(OURS, offset, payload));
            assert!(is_ours(identified(&octets, 3)), "behind {before} octets");
            octets[before + 20] ^= 1;
            assert_eq!(identified(&octets, 3), None, "a damaged one behind {before} octets");
        }
    }

    /// Promise 2.
    #[test]
    fn the_content_of_a_message_has_no_say_nor_a_former_life() {
        let first = FIRST_RECORD + HEAD;
        let forged: Vec<u8> = (0..20).flat_map(|n| record(OTHER, first + n * HEAD, b"")).collect();
        assert!(identified(&[&[0; HEAD as usize], &forged[..]].concat(), 3).is_some(), "they are well made");
        let octets = record(OURS, FIRST_RECORD, &forged);
        assert!(is_ours(identified(&octets, 3)));
        assert_eq!(identified(&octets, 4), None, "as it was reused");
    }

    /// A head that states more than the file has, or than any record may have, takes no memory for it.
    #[test]
    fn a_length_is_not_believed() {
        for length in [9, MAX_PAYLOAD + 1, u32::MAX] {
            let mut octets = record(OURS, FIRST_RECORD, b"abcdefgh");
            octets[8..12].copy_from_slice(&length.to_le_bytes());
            assert_eq!(identified(&octets, 3), None, "{length}");
        }
    }
}
