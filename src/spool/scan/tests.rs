use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::queue_id::QueueId;
use crate::spool::format::RecordKind;
use crate::spool::fs::Fs;
use crate::spool::fs::sim::{DiskFault, SimFs};
use crate::spool::fs::write_all_at;

const SPOOL: SpoolId = SpoolId([7; 16]);

/// Octets of a segment with these records of `batch` and payload, each at the next multiple of 8, and the
/// last one the last of its batch.
fn segment(records: &[(u32, &[u8])]) -> Vec<u8> {
    let mut octets = vec![0; FIRST_RECORD as usize];
    for (number, (batch, payload)) in records.iter().enumerate() {
        let head = Head {
            payload_length: payload.len() as u32,
            payload_sum: SPOOL.payload_sum(&[payload]),
            id: QueueId::from_raw(1),
            batch: *batch,
            durable_below: 0,
            relay_clock: 0,
            kind: RecordKind::Note,
            ends_batch: number + 1 == records.len(),
        };
        let offset = octets.len() as u32;
        octets.extend_from_slice(&head.encode(SPOOL.seed(3), offset));
        octets.extend_from_slice(payload);
        octets.resize(octets.len().next_multiple_of(8), 0);
    }
    octets
}

fn file(octets: &[u8]) -> (SimFs, Arc<dyn File>) {
    let fs = SimFs::new();
    let file = fs.create(Path::new("/segment")).unwrap();
    write_all_at(&*file, octets, 0).unwrap();
    (fs, file)
}

/// Offsets and gaps of what is found, where the tail begins, and whether it is torn.
fn scan(octets: &[u8]) -> (Vec<(u32, Option<u32>)>, u32, bool) {
    let (_fs, file) = file(octets);
    let mut scanner = Scanner::new(&*file, SPOOL, 3, u32::MAX).unwrap();
    let mut found = Vec::new();
    while let Some(next) = scanner.next().unwrap() {
        assert_eq!(SPOOL.payload_sum(&[scanner.payload()]), next.head.payload_sum);
        found.push((next.offset, next.gap));
    }
    (found, scanner.tail(), scanner.tail_is_torn())
}

#[test]
fn records_padding_and_an_empty_rest() {
    let mut octets = segment(&[(1, b"a"), (1, b"")]);
    octets.resize(20_000, 0);
    assert_eq!(scan(&octets), (vec![(8192, None), (8240, None)], 8704, false));
    assert_eq!(scan(&octets[..8192]), (vec![], 8192, false));
    assert_eq!(scan(b""), (vec![], 8192, false));
}

/// A sealed segment whose last record left fewer octets than a head needs was reported as damaged there.
#[test]
fn padding_shorter_than_a_head_at_the_end_of_the_segment_is_padding() {
    let mut octets = segment(&[(1, &[7; 512 - 40 - 16])]);
    assert_eq!(octets.len() % 512, 496);
    octets.resize(octets.len() + 16, 0);
    assert_eq!(scan(&octets), (vec![(8192, None)], 8704, false));
    *octets.last_mut().unwrap() = 1;
    assert_eq!(scan(&octets).1, 8688, "but other octets are none");
}

#[test]
fn a_damaged_record_costs_itself() {
    let octets = segment(&[(1, b"a"), (1, &[7; 3000]), (1, b"c")]);
    for at in [8240, 8240 + 13, 8240 + 40, 8240 + 3039] {
        let mut damaged = octets.clone();
        damaged[at] ^= 1;
        assert_eq!(scan(&damaged).0, [(8192, None), (11280, Some(8240))], "octet {at}");
    }
}

#[test]
fn a_torn_tail_is_told_from_what_a_former_life_left() {
    let octets = segment(&[(2, b"a"), (2, &[7; 3000])]);
    assert_eq!(scan(&octets[..10_000]), (vec![(8192, None)], 8240, true));
    let former = segment(&[(2, b"a"), (1, b"older")]);
    assert_eq!(scan(&former), (vec![(8192, None)], 8240, true), "of a lower batch");
    let mut whole = segment(&[(2, b"a")]);
    whole.extend_from_slice(&octets[8240..]);
    whole[8240..8280].fill(0xA5);
    assert_eq!(scan(&whole), (vec![(8192, None)], 8240, false));
}

/// format.rs 5: a small record of a batch turned to zeros looked like the padding behind the one before it.
#[test]
fn zeros_within_a_batch_are_no_padding() {
    let mut octets = segment(&[(1, b"a"), (1, b"b")]);
    octets[8240..].fill(0);
    octets.resize(8704, 0);
    assert_eq!(scan(&octets), (vec![(8192, None)], 8240, true));
    octets.extend_from_slice(&segment(&[(2, b"c")])[8192..]);
    let at_its_place = Head::decode(&octets[8704..], SPOOL.seed(3), 8192).unwrap();
    octets[8704..8744].copy_from_slice(&at_its_place.encode(SPOOL.seed(3), 8704));
    assert_eq!(scan(&octets).0, [(8192, None), (8704, Some(8240))]);
}

/// Promise 2: records longer than the window, and one that lies across its end.
#[test]
fn windows_do_not_show() {
    let long = vec![5; (3 << 20) + 1];
    let nearly = vec![6; WINDOW - 100];
    let octets =
        segment(&[(1, &nearly), (1, b"across the end of the window"), (1, &long), (2, &nearly), (2, b"")]);
    assert_eq!(scan(&octets).0.len(), 5);
    let mut damaged = octets;
    damaged[9000] ^= 1;
    let (found, ..) = scan(&damaged);
    assert_eq!((found.len(), found[0].1), (4, Some(8192)));
}

/// Promise 3.
#[test]
fn a_block_that_cannot_be_read_costs_the_records_in_it() {
    let octets = segment(&[(1, &[1; 5000]), (1, &[2; 5000]), (1, &[3; 5000])]);
    let (fs, file) = file(&octets);
    let mut scanner = Scanner::new(&*file, SPOOL, 3, u32::MAX).unwrap();
    // The read of the window fails, and then that of its third block.
    fs.set_fault(Some(DiskFault { call: 0, error: std::io::ErrorKind::Other, for_ever: false }));
    assert!(scanner.next().unwrap().is_some(), "an error that passes costs nothing");
    drop(scanner);
    let mut buffer = vec![9; 3 * BLOCK];
    fs.set_fault(Some(DiskFault { call: 0, error: std::io::ErrorKind::Other, for_ever: true }));
    assert!(read_tolerantly(&*file, &mut buffer, 0).is_err(), "nothing is known of the file");
}

#[test]
fn the_limit_is_the_end() {
    let octets = segment(&[(1, b"a"), (1, b"b")]);
    let (_fs, file) = file(&octets);
    for (limit, count) in [(8192, 0), (8232, 0), (8233, 1), (8280, 1), (8281, 2)] {
        let mut scanner = Scanner::new(&*file, SPOOL, 3, limit).unwrap();
        assert_eq!(std::iter::from_fn(|| scanner.next().unwrap()).count(), count, "{limit}");
    }
}
