use super::*;

const SPOOL: SpoolId = SpoolId(*b"0123456789abcdef");

fn header(sequence: u32) -> SegmentHeader {
    let previous = Some(PreviousSegment { sequence: 6, durable: 9000, end: 9512 });
    SegmentHeader {
        version: FORMAT_VERSION,
        spool: SPOOL,
        sequence,
        high_water: QueueId::from_raw(77),
        relay_clock: 5,
        previous,
    }
}

fn head() -> Head {
    Head {
        payload_length: 3,
        payload_sum: SPOOL.payload_sum(&[b"abc"]),
        id: QueueId::from_raw(42),
        batch: 9,
        durable_below: 8192,
        relay_clock: 11,
        kind: RecordKind::Note,
        ends_batch: true,
    }
}

/// The layout in the module header, held to the octet: a change here makes spools unreadable.
#[test]
fn the_layout_is_the_documented_one() {
    let octets = header(7).encode();
    assert_eq!(octets.len(), FIRST_RECORD as usize);
    assert_eq!(&octets[..16], b"nullmta\n\x07\0\0\0\x07\0\0\0");
    assert_eq!(&octets[16..32], &SPOOL.0);
    assert_eq!(&octets[32..60], b"\x4d\0\0\0\0\0\0\0\x05\0\0\0\x06\0\0\0\x28\x23\0\0\x28\x25\0\0\0\0\0\0");
    assert_eq!(octets[..64], octets[4096..4160]);

    let octets = head().encode(SPOOL.seed(7), 8192);
    assert_eq!(&octets[..4], b"nmR1");
    assert_eq!(&octets[8..12], b"\x03\0\0\0");
    assert_eq!(&octets[16..], b"\x2a\0\0\0\0\0\0\0\x09\0\0\0\0\x20\0\0\x0b\0\0\0\x06\x01\0\0");
    assert_eq!(crc32c(b"123456789"), 0xE306_9283, "CRC32C as RFC 3720 has it");
}

#[test]
fn a_header_is_read_from_either_copy_and_only_under_its_own_name() {
    let octets = header(7).encode();
    assert_eq!(SegmentHeader::decode(&octets, 7), Ok(header(7)));
    for copy in [0, 4096] {
        let mut damaged = octets.clone();
        damaged[copy + 20] ^= 1;
        assert_eq!(SegmentHeader::decode(&damaged, 7), Ok(header(7)), "copy at {copy} damaged");
    }
    assert_eq!(SegmentHeader::decode(&octets, 8), Err(HeaderFault::Unreadable), "a recycled file");
    assert_eq!(SegmentHeader::decode(&octets[..63], 7), Err(HeaderFault::Unreadable), "truncated");
    assert_eq!(SegmentHeader::decode(&[0; 8192], 7), Err(HeaderFault::Unreadable), "made ready");
    let first = SegmentHeader { previous: None, ..header(1) };
    assert_eq!(SegmentHeader::decode(&first.encode(), 1), Ok(first));
}

#[test]
fn a_newer_version_is_told_from_damage() {
    let mut octets = header(7).encode();
    octets[8] = 8;
    assert_eq!(
        SegmentHeader::decode(&octets[..4096], 7),
        Err(HeaderFault::Unreadable),
        "its checksum is wrong"
    );
    let sum = crc32c(&octets[..60]);
    octets[60..64].copy_from_slice(&sum.to_le_bytes());
    assert_eq!(SegmentHeader::decode(&octets[..4096], 7), Err(HeaderFault::Newer(8)));
}

/// Promise 1.
#[test]
fn a_head_holds_only_at_its_place_in_its_segment_of_its_spool() {
    let octets = head().encode(SPOOL.seed(7), 8192);
    assert_eq!(Head::decode(&octets, SPOOL.seed(7), 8192), Some(head()));
    assert_eq!(Head::decode(&octets, SPOOL.seed(8), 8192), None, "recycled");
    assert_eq!(Head::decode(&octets, SPOOL.seed(7), 8704), None, "astray");
    assert_eq!(Head::decode(&octets, SpoolId([0; 16]).seed(7), 8192), None, "forged");
    assert_ne!(SPOOL.payload_sum(&[b"abc"]), SpoolId([0; 16]).payload_sum(&[b"abc"]));
}

#[test]
fn every_flipped_bit_of_a_head_is_noticed() {
    let octets = head().encode(SPOOL.seed(7), 8192);
    for bit in 0..octets.len() * 8 {
        let mut damaged = octets;
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(Head::decode(&damaged, SPOOL.seed(7), 8192), None, "bit {bit}");
    }
    for length in 0..octets.len() {
        assert_eq!(Head::decode(&octets[..length], SPOOL.seed(7), 8192), None, "{length} octets");
    }
}

#[test]
fn lengths_and_kinds_out_of_range_are_no_head() {
    let long = Head { payload_length: MAX_PAYLOAD + 1, ..head() };
    assert_eq!(Head::decode(&long.encode(SPOOL.seed(7), 8192), SPOOL.seed(7), 8192), None);
    let mut octets = head().encode(SPOOL.seed(7), 8192);
    octets[36] = 9;
    let sum = SPOOL.seed(7).sum(8192, &octets[8..]);
    octets[4..8].copy_from_slice(&sum.to_le_bytes());
    assert_eq!(Head::decode(&octets, SPOOL.seed(7), 8192), None, "a kind of a later version");
    assert_eq!((record_length(0), record_length(1), record_length(8)), (40, 48, 48));
}

#[test]
fn payload_sums_do_not_depend_on_how_the_payload_is_cut() {
    assert_eq!(SPOOL.payload_sum(&[b"abcdef"]), SPOOL.payload_sum(&[b"ab", b"", b"cdef"]));
}
