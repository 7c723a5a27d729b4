use std::io::ErrorKind;
use std::path::Path;

use super::*;
use crate::spool::format::{FORMAT_VERSION, SpoolId};
use crate::spool::fs::Fs;
use crate::spool::fs::sim::{DiskFault, SimFs};
use crate::spool::scan::{FoundRecord, Scanner};

const SPOOL: SpoolId = SpoolId([7; 16]);

fn active(fs: &SimFs) -> ActiveSegment {
    let file = fs.create(Path::new("/segment")).unwrap();
    write_all_at(&*file, &[0; 32 << 10], 0).unwrap();
    let ready = ReadySegment { sequence: 3, file, length: 32 << 10, written: 32 << 10 };
    ActiveSegment::activate(&ready, &header()).unwrap()
}

fn header() -> SegmentHeader {
    SegmentHeader {
        version: FORMAT_VERSION,
        spool: SPOOL,
        sequence: 3,
        high_water: QueueId::from_raw(1),
        relay_clock: 0,
        previous: None,
    }
}

fn encode(active: &mut ActiveSegment, batch: &mut Vec<u8>, id: u64, payload: &[u8]) -> RecordPlace {
    let record = NewRecord {
        kind: RecordKind::Message,
        id: QueueId::from_raw(id),
        payload_sum: SPOOL.payload_sum(&[payload]),
        relay_clock: 0,
        payload: &[payload],
    };
    active.encode(batch, &record)
}

fn append(active: &mut ActiveSegment, id: u64, payload: &[u8]) -> io::Result<()> {
    let mut batch = Vec::new();
    encode(active, &mut batch, id, payload);
    active.append(&mut batch)
}

fn scan(fs: &SimFs) -> Vec<FoundRecord> {
    let file = fs.open(Path::new("/segment")).unwrap();
    let mut scanner = Scanner::new(&*file, SPOOL, 3, u32::MAX).unwrap();
    std::iter::from_fn(|| scanner.next().unwrap()).collect()
}

/// format.rs 2, segment.rs 1.
#[test]
fn a_batch_behind_a_sync_starts_a_sector_and_says_what_was_durable_before_it() {
    let fs = SimFs::new();
    let mut active = active(&fs);
    let mut batch = Vec::new();
    let places = [encode(&mut active, &mut batch, 1, b"one"), encode(&mut active, &mut batch, 2, &[9; 600])];
    active.append(&mut batch).unwrap();
    assert_eq!(places.map(|place| place.offset), [8192, 8192 + 48]);
    assert!(!active.is_durable());
    append(&mut active, 3, b"before the sync").unwrap();
    active.sync().unwrap();
    assert!(active.is_durable());
    append(&mut active, 4, b"after it").unwrap();
    let found: Vec<_> = scan(&fs).iter().map(|f| (f.offset, f.head.durable_below, f.gap)).collect();
    assert_eq!(found, [(8192, 8192, None), (8240, 8192, None), (8880, 8192, None), (9216, 9216, None)]);
    assert_eq!(active.sealed(), PreviousSegment { sequence: 3, durable: 9216, end: 9216 });
}

/// segment.rs 2, format.rs 2: and a sector that was synced is never written again.
#[test]
fn what_is_not_synced_shares_its_sector_with_what_follows() {
    let fs = SimFs::new();
    let mut active = active(&fs);
    let synced = |fs: &SimFs| fs.content(Path::new("/segment")).unwrap()[8192..8704].to_vec();
    append(&mut active, 1, b"a mark").unwrap();
    append(&mut active, 1, b"its outcome").unwrap();
    active.sync().unwrap();
    let before = synced(&fs);
    assert_eq!(active.end(), 8704);
    for id in 2..20 {
        append(&mut active, id, &[7; 90]).unwrap();
    }
    active.sync().unwrap();
    assert_eq!(synced(&fs), before);
    assert_eq!(active.end(), 8704 + 5 * 512, "18 records of 136 octets");
    assert_eq!(scan(&fs).len(), 20);
    assert!(scan(&fs).iter().all(|found| found.gap.is_none()));
}

/// segment.rs 2: what a failed write left in whole is void once something newer stands before it.
#[test]
fn what_a_failed_write_left_is_void() {
    let fs = SimFs::new();
    let mut active = active(&fs);
    append(&mut active, 9, b"good").unwrap();
    let mut batch = Vec::new();
    encode(&mut active, &mut batch, 1, &[1; 100]);
    encode(&mut active, &mut batch, 2, &[2; 600]);
    batch.resize(1024, 0);
    // The whole third record comes to stand in sectors that the next batch does not reach.
    encode(&mut active, &mut batch, 3, &[3; 100]);
    batch.resize(3072, 0);
    fs.set_fault(Some(DiskFault { call: 0, error: ErrorKind::Other, for_ever: false }));
    assert!(active.append(&mut batch).is_err());
    assert_eq!(scan(&fs).len(), 4, "written in part");
    append(&mut active, 4, b"next").unwrap();
    let found: Vec<_> = scan(&fs).iter().map(|found| found.head.id.raw()).collect();
    assert_eq!(found, [9, 4]);
}

#[test]
fn a_segment_whose_header_cannot_be_synced_is_not_active() {
    for call in [0, 1] {
        let fs = SimFs::new();
        let file = fs.create(Path::new("/segment")).unwrap();
        let ready = ReadySegment { sequence: 3, file, length: 0, written: 0 };
        fs.set_fault(Some(DiskFault { call, error: ErrorKind::Other, for_ever: false }));
        assert!(ActiveSegment::activate(&ready, &header()).is_err(), "call {call}");
    }
}

/// Promise 4: where nothing but room was there, zeros are written to it before the records come, a piece at a time, and
/// never over one.
#[test]
fn room_that_is_only_reserved_is_written_ahead_of_the_records() {
    let fs = SimFs::new();
    let file = fs.create(Path::new("/segment")).unwrap();
    write_all_at(&*file, &[0; 16 << 10], 0).unwrap();
    file.reserve(64 << 10).unwrap();
    let ready = ReadySegment { sequence: 3, file, length: 64 << 10, written: 16 << 10 };
    let mut active = ActiveSegment::activate(&ready, &header()).unwrap();
    let written_ahead = |active: &mut ActiveSegment| {
        let before = fs.written();
        active.write_ahead().unwrap();
        fs.written() - before
    };
    assert_eq!(written_ahead(&mut active), 0, "half a piece is there");
    append(&mut active, 1, b"one").unwrap();
    assert_eq!(written_ahead(&mut active), 0, "something is not synced");
    active.sync().unwrap();
    assert_eq!((written_ahead(&mut active), written_ahead(&mut active)), (16 << 10, 0));
    append(&mut active, 2, &[9; 30 << 10]).unwrap();
    active.sync().unwrap();
    assert_eq!(written_ahead(&mut active), 16 << 10, "behind a long record");
    let mut ids = vec![1, 2];
    while active.room() > 1024 {
        ids.push(ids.len() as u64 + 1);
        append(&mut active, ids.len() as u64, b"small").unwrap();
        active.sync().unwrap();
        active.write_ahead().unwrap();
    }
    assert_eq!(active.file().length().unwrap(), 64 << 10);
    fs.sync_dir(Path::new("/")).unwrap();
    let disk = fs.image(0);
    assert_eq!(scan(&disk).iter().map(|found| found.head.id.raw()).collect::<Vec<_>>(), ids);
}
