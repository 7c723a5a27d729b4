//! The stock on a disk that has little room, or none.

use super::*;

/// Promise 4.
#[test]
fn a_full_disk_feeds_itself() {
    with_stock(|fs, stock| {
        let first = stock.take(SegmentSize::Whole).unwrap();
        fs.set_capacity(Some(0));
        let mut last = first.sequence;
        while let Ok(ready) = stock.take(SegmentSize::Whole) {
            last = ready.sequence;
        }
        stock.let_go(first.sequence);
        assert_eq!(stock.take(SegmentSize::Whole).unwrap().sequence, last + 1);
    });
}

/// Does something while an attempt to make a segment is on its way, and has it end soon after.
fn during_an_attempt(fs: &SimFs, stock: &Stock, act: impl FnOnce()) {
    let (begins, begun) = std::sync::mpsc::channel();
    fs.watch(move |_| {
        let _ = begins.send(());
        std::thread::sleep(Duration::from_millis(50));
    });
    stock.replenish(SIZE);
    begun.recv().unwrap();
    act();
}

/// Promise 4: an attempt that was on its way then, and failed, was once the answer.
#[test]
fn what_is_let_go_during_an_attempt_counts() {
    with_stock(|fs, stock| {
        let first = stock.take(SegmentSize::Whole).unwrap();
        fs.set_capacity(Some(0));
        during_an_attempt(fs, stock, || stock.let_go(first.sequence));
        assert_eq!(stock.take(SegmentSize::Whole).unwrap().sequence, first.sequence + 1);
        fs.unwatch();
    });
}

/// Promise 4: a segment was once found not to fit while a large file waited to be unlinked behind the attempt.
#[test]
fn a_large_file_makes_room_for_a_segment() {
    with_stock(|fs, stock| {
        let path = SpoolPaths::under(Path::new("/s")).large(QueueId::from_raw(1));
        write_all_at(&*fs.create(&path).unwrap(), &[1; SIZE as usize], 0).unwrap();
        fs.set_capacity(Some(fs.used()));
        during_an_attempt(fs, stock, || stock.unlink_large(QueueId::from_raw(1)));
        assert_eq!(stock.take(SegmentSize::Whole).map(|ready| ready.sequence), Ok(1));
        fs.unwatch();
    });
}

/// Promise 4: what is let go becomes a part of the next one, where that has less.
#[test]
fn what_is_let_go_is_a_part_of_a_larger_one() {
    let size = 8 * SIZE;
    with_stock_of(size, |fs, stock| {
        for octets in [3 * SIZE, SIZE] {
            stock.set_size(octets);
            stock.take(SegmentSize::Whole).unwrap();
        }
        stock.set_size(size);
        for (sequence, octets) in [(2, SIZE), (1, 3 * SIZE)] {
            stock.let_go(sequence);
            while stock.made().octets < octets {
                std::thread::yield_now();
            }
        }
        fs.set_capacity(Some(fs.used()));
        assert_eq!(stock.take(SegmentSize::Whole).err(), Some(ErrorKind::StorageFull));
        assert_eq!(
            stock.take(SegmentSize::Any).map(|ready| (ready.sequence, ready.length)),
            Ok((3, 3 * SIZE))
        );
        assert_eq!(names(fs), ["00000003.seg"]);
    });
}

/// Promise 4: what is freed on a full disk is there no more when somebody else comes for it.
#[test]
fn what_is_freed_on_a_full_disk_is_written_to_the_next_segment() {
    with_stock_of(8 * SIZE, |fs, stock| {
        stock.set_size(3 * SIZE);
        let taken: Vec<u32> = (0..2).map(|_| stock.take(SegmentSize::Whole).unwrap().sequence).collect();
        stock.set_size(8 * SIZE);
        fs.set_capacity(Some(fs.used()));
        taken.iter().for_each(|sequence| stock.let_go(*sequence));
        // The first one is a part of the next segment; of the second one's octets most are written to it.
        while stock.made().octets < 5 * SIZE + 3 * SIZE / 4 {
            std::thread::yield_now();
        }
        fs.set_capacity(Some(0));
        assert_eq!(stock.take(SegmentSize::Any).map(|ready| ready.length), Ok(5 * SIZE + 3 * SIZE / 4));
    });
}

/// A piece that was being made was once taken for a sign of room. On a full disk the attempt fails; until it had, which
/// takes as long as its thread waits for a processor, nothing was moved, and outcomes used up the room into which the
/// oldest segment would have fitted.
#[test]
fn an_attempt_is_no_sign_of_room_until_it_has_found_some() {
    for limit in LIMITS {
        let (fs, stock) = without_thread(SIZE);
        limit(&fs, SIZE - 1);
        stock.replenish(1);
        let piece = stock.shelf().supply.begin().unwrap();
        assert_eq!((stock.next(), stock.has_room(SIZE)), (Readiness::Impossible, false));
        assert!(stock.make(&piece).is_err());
        limit(&fs, SIZE);
        stock.shelf().known_room.gains();
        assert_eq!(stock.next(), Readiness::Possible);
        // The part of the piece that is written is used already.
        stock.shelf().supply.found_room();
        limit(&fs, 0);
        assert_eq!((stock.next(), stock.has_room(SIZE)), (Readiness::Possible, true));
    }
}

/// A segment let go was once on its way, and the next one said to be impossible: so all that lived was moved once more.
/// If the next one was ready then, halfway, its last message began that, and all was moved again, for as long as
/// the stock's thread was as late.
#[test]
fn what_is_on_its_way_out_may_be_the_next_segment() {
    for limit in LIMITS {
        with_stock(|fs, stock| {
            let first = stock.take(SegmentSize::Whole).unwrap();
            limit(fs, SIZE);
            fs.watch(|_| std::thread::sleep(Duration::from_millis(20)));
            stock.let_go(first.sequence);
            assert_eq!(stock.next(), Readiness::Ready);
            fs.unwatch();
        });
    }
}

/// What became the next segment between the look at it and the wait for it was once overlooked, and so was the last piece of
/// one that ended between two looks. The thread may be anywhere in its work while it is asked.
#[test]
fn what_the_thread_ends_meanwhile_is_seen() {
    for seed in 0..300 {
        for limit in LIMITS {
            with_turns(seed, |fs, stock| {
                let first = stock.take(SegmentSize::Whole).unwrap();
                limit(fs, SIZE);
                stock.let_go(first.sequence);
                assert_eq!(stock.next(), Readiness::Ready, "let go, seed {seed}");
            });
            with_turns(seed, |fs, stock| {
                limit(fs, SIZE);
                stock.replenish(SIZE);
                assert_ne!(stock.next(), Readiness::Impossible, "made, seed {seed}");
            });
        }
    }
}

/// The room that a quota had given for one segment was believed to be there for the one behind it, too, for a second:
/// mail began the last segment although no other could follow.
#[test]
fn room_that_is_used_is_no_room() {
    for limit in LIMITS {
        with_stock_of(2 * SIZE, |fs, stock| {
            limit(fs, 3 * SIZE);
            assert!(stock.has_room(3 * SIZE));
            stock.wait_for_piece().unwrap();
            assert_eq!([3 * SIZE, 2 * SIZE].map(|octets| stock.has_room(octets)), [false, true]);
            stock.wait_for_piece().unwrap();
            assert_eq!([2 * SIZE, SIZE].map(|octets| stock.has_room(octets)), [false, true]);
        });
    }
}

/// An answer of the disk that was on its way when room was used is no answer.
#[test]
fn what_the_disk_says_of_its_room_before_some_is_used_is_not_believed() {
    let mut known = KnownRoom::default();
    let now = Instant::now();
    let changes = known.changes;
    known.uses(SIZE);
    known.learn(changes, (now, 2 * SIZE, true));
    assert_eq!(known.get(SIZE, now), None);
    known.learn(known.changes, (now, 2 * SIZE, true));
    known.uses(SIZE);
    assert_eq!((known.get(SIZE, now), known.get(2 * SIZE, now)), (Some(true), None));
}

/// Promise 7: and nothing is written for mail where the whole does not fit.
#[test]
fn an_outcome_gets_a_segment_of_any_size() {
    with_stock(|fs, stock| {
        fs.set_capacity(Some(SIZE - 4096));
        assert_eq!(stock.take(SegmentSize::Any).err(), Some(ErrorKind::StorageFull), "not even the smallest");
        fs.set_capacity(Some(SIZE - 1));
        assert_eq!(stock.take(SegmentSize::Whole).err(), Some(ErrorKind::StorageFull));
    });
    for limit in LIMITS {
        for (free, told, untold) in
            [(17_000, None, SIZE), (20_000, Some(SIZE), SIZE), (60_000, Some(56 << 10), 56 << 10)]
        {
            with_stock_of(4 * SIZE, |fs, stock| {
                limit(fs, free);
                assert!(stock.take(SegmentSize::Whole).is_err());
                assert_eq!((stock.made().octets, fs.used()), (0, 0));
                let taken = stock.take(SegmentSize::Any).map(|ready| ready.length).ok();
                // If the free space is not known, nothing is left for the file system.
                let is_told = fs.free_space(Path::new("/")).unwrap() < 1 << 30;
                assert_eq!(taken, if is_told { told } else { Some(untold) }, "of {free}");
            });
        }
    }
}

/// Promise 7: a disk that is filled up while a segment is made.
#[test]
fn what_was_made_before_the_disk_was_full_stays() {
    with_stock_of(4 * SIZE, |fs, stock| {
        stock.wait_for_piece().unwrap();
        fs.set_capacity(Some(fs.used() + 1000));
        assert_eq!(stock.wait_for_piece().err(), Some(ErrorKind::StorageFull));
        assert_eq!((stock.made().octets, fs.used()), (SIZE, SIZE));
        fs.set_capacity(None);
        assert_eq!(stock.take(SegmentSize::Whole).map(|ready| ready.length), Ok(4 * SIZE));
    });
}
