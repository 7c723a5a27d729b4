//! A start takes over segments of the run before, and reserves room.

use super::*;

/// Leaves so many `octets` in a file, as the run before would; returns the number of octets that the stock takes over, and
/// the files that there are then.
fn taken_over(octets: u64, prepare: impl FnOnce(&SimFs, &Path)) -> (u64, Vec<String>) {
    let mut found = (0, Vec::new());
    with_stock_of(3 * SIZE, |fs, stock| {
        stock.shelf().supply = Supply::new(8, 3 * SIZE);
        let path = Path::new("/s/log/00000007.seg");
        write_all_at(&*fs.create(path).unwrap(), &vec![0xA5; octets as usize], 0).unwrap();
        prepare(fs, path);
        stock.take_over(7).unwrap();
        found = (stock.made().octets, names(&fs.image(0)));
    });
    found
}

/// reuse.rs 2, 3: what a crash may have left decides.
#[test]
fn what_the_run_before_had_made_is_taken_over_or_removed() {
    let nothing = |_: &SimFs, _: &Path| {};
    for (octets, taken) in [
        (3 * SIZE, 3 * SIZE),
        (SIZE, SIZE),
        (2 * SIZE + 4100, 2 * SIZE + 4096),
        (SIZE - 1, 0),
        (0, 0),
        (3 * SIZE + 1, 3 * SIZE),
    ] {
        let names = if taken > 0 { vec!["00000008.seg".into()] } else { Vec::<String>::new() };
        assert_eq!(taken_over(octets, nothing), (taken, names), "{octets} octets");
    }
    let second = |fs: &SimFs, path: &Path| fs.link(path, Path::new("/s/log/00000002.seg"));
    assert_eq!(taken_over(SIZE, second), (0, vec!["00000002.seg".into()]), "an old segment has that file");
    assert_eq!(
        taken_over(SIZE, |fs, _| fs.forget_how_to_reserve()),
        (0, vec![]),
        "some of it may be no room"
    );
}

/// A segment is no larger than it is to be, but on a full disk what there is stays.
#[test]
fn what_is_taken_over_is_cut_off_unless_the_disk_is_full() {
    for (room, taken) in [(1 << 30, SIZE), (SIZE, 3 * SIZE)] {
        with_stock_of(3 * SIZE, |fs, stock| {
            stock.set_size(SIZE);
            let path = Path::new("/s/log/00000001.seg");
            write_all_at(&*fs.create(path).unwrap(), &[0; 3 * SIZE as usize], 0).unwrap();
            stock.shelf().supply = Supply::new(2, SIZE);
            fs.set_capacity(Some(fs.used() + room));
            stock.take_over(1).unwrap();
            assert_eq!((stock.made().octets, fs.used()), (taken, taken));
        });
    }
}

/// make.rs 2: what a start begins with; without it, piece by piece.
#[test]
fn the_room_of_a_segment_is_reserved_in_one_piece() {
    for can_reserve in [true, false] {
        with_stock_of(8 * SIZE, |fs, stock| {
            if !can_reserve {
                fs.forget_how_to_reserve();
            }
            stock.reserve_next();
            let ready = stock.take(SegmentSize::Whole).unwrap();
            let written = if can_reserve { space::piece(8 * SIZE) } else { 8 * SIZE };
            assert_eq!((ready.length, ready.written, fs.written()), (8 * SIZE, written, written));
            let path = Path::new("/s/log/00000001.seg");
            assert_eq!(fs.image(0).content(path).unwrap(), vec![0; 8 * SIZE as usize]);
            assert_eq!(
                stock.take(SegmentSize::Whole).map(|ready| ready.written),
                Ok(8 * SIZE),
                "the next one is not"
            );
        });
    }
}

/// A disk that cannot give all of it gives what it has, as without a reservation.
#[test]
fn what_cannot_be_reserved_is_no_part_of_the_segment() {
    with_stock_of(8 * SIZE, |fs, stock| {
        stock.reserve_next();
        fs.set_capacity(Some(5 * SIZE));
        assert_eq!(stock.take(SegmentSize::Whole).err(), Some(ErrorKind::StorageFull));
        assert_eq!((stock.made().octets, fs.used()), (0, 0));
        assert!(stock.take(SegmentSize::Any).is_ok_and(|ready| ready.length == ready.written));
    });
}
