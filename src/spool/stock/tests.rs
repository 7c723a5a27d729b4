use std::path::Path;
use std::time::Duration;

use super::*;
use crate::journal::testing::Captured;
use crate::spool::fs::sim::{DiskFault, SimFs};
use crate::spool::fs::write_all_at;
use crate::spool::space;

const SIZE: u64 = 16 << 10;

/// A stock on a simulated disk, its thread running while `test` does.
fn with_stock(test: impl FnOnce(&SimFs, &Stock)) {
    with_stock_of(SIZE, test);
}

/// The same, with segments of `size` octets.
fn with_stock_of(size: u64, test: impl FnOnce(&SimFs, &Stock)) {
    let (fs, stock) = without_thread(size);
    let log = tracing::dispatcher::get_default(Clone::clone);
    std::thread::scope(|scope| {
        scope.spawn(|| tracing::dispatcher::with_default(&log, || stock.work()));
        // Also when the test fails.
        let _end = Closing(&stock);
        test(&fs, &stock);
    });
}

/// A stock whose thread does not run.
fn without_thread(size: u64) -> (SimFs, Stock) {
    let fs = SimFs::new();
    let paths = SpoolPaths::under(Path::new("/s"));
    for (path, mode) in paths.directories() {
        fs.create_dir(path, mode).unwrap();
        fs.sync_dir(path.parent().unwrap()).unwrap();
    }
    let stock = Stock::new(Arc::new(fs.clone()), paths, size, 1, size);
    (fs, stock)
}

/// What keeps a disk from giving more than so many octets.
const LIMITS: [fn(&SimFs, u64); 2] = [|fs, octets| fs.set_capacity(Some(octets)), SimFs::set_quota];

impl Stock {
    fn is_letting_go(&self) -> bool {
        self.shelf().disposal.next(Instant::now()).is_some()
    }
}

struct Closing<'a>(&'a Stock);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

fn names(fs: &SimFs) -> Vec<String> {
    let names = fs.list(Path::new("/s/log")).unwrap();
    names.into_iter().map(|name| name.into_string().unwrap()).collect()
}

/// Promise 1.
#[test]
fn what_is_handed_out_is_durable_and_numbered_in_order() {
    with_stock(|fs, stock| {
        for sequence in 1..=5 {
            let ready = stock.take(SegmentSize::Whole).unwrap();
            assert_eq!((ready.sequence, ready.length), (sequence, SIZE));
            let path = format!("/s/log/{sequence:08X}.seg");
            assert_eq!(fs.image(0).content(Path::new(&path)).unwrap(), vec![0; SIZE as usize]);
        }
    });
}

/// Promise 5: behind the one that was taken, nothing is made until somebody wants it.
#[test]
fn a_segment_is_made_when_it_is_wanted() {
    with_stock(|fs, stock| {
        stock.take(SegmentSize::Whole).unwrap();
        stock.let_go(1);
        stock.wait_for_piece().unwrap();
        assert_eq!(names(fs), ["00000002.seg"], "the one let go was reused");
        stock.take(SegmentSize::Whole).unwrap();
        stock.replenish(SIZE);
        stock.wait_for_piece().unwrap();
        assert_eq!(names(fs), ["00000002.seg", "00000003.seg"]);
    });
}

/// Promise 3.
#[test]
fn trouble_is_told_and_passes() {
    with_stock(|fs, stock| {
        let mut last = stock.take(SegmentSize::Whole).unwrap().sequence;
        fs.set_fault(Some(DiskFault { call: 0, error: ErrorKind::PermissionDenied, for_ever: true }));
        let refused = loop {
            match stock.take(SegmentSize::Whole) {
                Ok(ready) => last = ready.sequence,
                Err(kind) => break kind,
            }
        };
        assert_eq!((refused, stock.trouble()), (ErrorKind::PermissionDenied, Some(refused)));
        fs.set_fault(None);
        assert_eq!(stock.take(SegmentSize::Whole).unwrap().sequence, last + 1);
    });
}

/// Promise 2: at every moment, what is left of segments given up is the youngest ones.
#[test]
fn segments_go_oldest_first() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    with_stock(|fs, stock| {
        let taken: Vec<u32> = (0..6).map(|_| stock.take(SegmentSize::Whole).unwrap().sequence).collect();
        let list = Arc::clone(&seen);
        let mut change = 2;
        fs.watch(move |disk| {
            change += 1;
            let left = names(&disk.image(change));
            list.lock().unwrap().push(left);
        });
        taken.iter().for_each(|sequence| stock.let_go(*sequence));
        stock.take(SegmentSize::Whole).unwrap();
    });
    let seen = seen.lock().unwrap();
    assert!(seen.len() >= 12);
    for left in seen.iter() {
        let old: Vec<bool> = (1..=6).map(|number| left.contains(&format!("{number:08X}.seg"))).collect();
        assert!(old.is_sorted(), "{left:?}");
    }
}

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

#[test]
fn large_files_are_unlinked() {
    with_stock(|fs, stock| {
        let path = SpoolPaths::under(Path::new("/s")).large(QueueId::from_raw(1));
        fs.create(&path).unwrap();
        stock.unlink_large(QueueId::from_raw(1));
        stock.unlink_large(QueueId::from_raw(2));
        while fs.content(&path).is_some() {
            std::thread::yield_now();
        }
    });
}

/// Promise 3: whoever wants something meanwhile once put the next attempt off, for as long as they went on.
#[test]
fn what_could_not_go_goes_soon_whatever_else_comes() {
    with_stock(|fs, stock| {
        let path = SpoolPaths::under(Path::new("/s")).large(QueueId::from_raw(1));
        fs.create(&path).unwrap();
        stock.wait_for_piece().unwrap();
        fs.set_fault(Some(DiskFault { call: 0, error: ErrorKind::PermissionDenied, for_ever: false }));
        stock.unlink_large(QueueId::from_raw(1));
        let begun = Instant::now();
        while fs.content(&path).is_some() {
            assert!(begun.elapsed() < Duration::from_secs(60), "it was put off");
            stock.unlink_large(QueueId::from_raw(2));
            std::thread::sleep(Duration::from_millis(10));
        }
    });
}

/// Promise 5, 6: a segment of eight pieces.
#[test]
fn no_piece_is_made_before_it_is_due() {
    let size = 8 * SIZE;
    with_stock_of(size, |fs, stock| {
        let octets = |due| {
            stock.replenish(due);
            while stock.made().octets < due {
                std::thread::yield_now();
            }
            // The next one would have begun by then.
            stock.let_go(99);
            while stock.is_letting_go() {
                std::thread::yield_now();
            }
            (stock.made().octets, fs.used())
        };
        assert_eq!(octets(0), (0, 0));
        let piece = space::piece(size);
        for (due, pieces) in [(1, 1), (piece, 1), (piece + 1, 2), (piece, 2), (3 * piece, 3)] {
            assert_eq!(octets(due), (pieces * piece, pieces * piece), "{due} octets are due");
        }
        stock.wait_for_piece().unwrap();
        assert_eq!(octets(0), (4 * piece, size));
        let ready = stock.take(SegmentSize::Whole).unwrap();
        assert_eq!((ready.sequence, ready.length), (1, size));
        let path = Path::new("/s/log/00000001.seg");
        assert_eq!(fs.image(0).content(path).unwrap(), vec![0; size as usize]);
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
        // What is written of the piece is used already.
        stock.shelf().supply.found_room();
        limit(&fs, 0);
        assert_eq!((stock.next(), stock.has_room(SIZE)), (Readiness::Possible, true));
    }
}

/// A segment let go was once on its way, and the next one said to be impossible: so all that lived was moved once more.
/// When the next one was ready then, halfway, its last message began that, and all was moved again, for as long as
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

/// What a quota had given for one segment was believed to be there for the one behind it, too, for a second: mail began
/// the last segment although no other could follow.
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
                // Where nobody tells how much is free, nothing is left for the file system.
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

/// Promise 1: no failure of a piece leaves a segment that is handed out before all of it is durable.
#[test]
fn a_piece_that_failed_is_made_again() {
    for error in [ErrorKind::Other, ErrorKind::StorageFull, ErrorKind::WriteZero] {
        for call in 0..25 {
            with_stock_of(3 * SIZE, |fs, stock| {
                fs.set_fault(Some(DiskFault { call, error, for_ever: false }));
                let ready = (0..3).find_map(|_| stock.take(SegmentSize::Whole).ok()).unwrap();
                assert_eq!(ready.length, 3 * SIZE, "{error}, call {call}");
                let path = format!("/s/log/{:08X}.seg", ready.sequence);
                let durable = fs.image(0).content(Path::new(&path)).unwrap();
                assert_eq!(durable, vec![0; 3 * SIZE as usize], "{error}, call {call}");
            });
        }
    }
}

/// Promise 8: the thread dies in the middle of making a segment; who waits for it is told, and who comes later.
#[test]
fn nobody_waits_for_a_thread_that_died() {
    let fs = SimFs::new();
    let stock = Stock::new(Arc::new(fs.clone()), SpoolPaths::under(Path::new("/s")), SIZE, 1, SIZE);
    fs.create_dir(Path::new("/s"), 0o700).unwrap();
    fs.create_dir(Path::new("/s/log"), 0o700).unwrap();
    let (go_on, wait) = std::sync::mpsc::channel::<()>();
    fs.watch(move |_| {
        // Until somebody waits, or nearly.
        let _ = wait.recv();
        panic!("the test lets the stock's thread die");
    });
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| stock.work());
        let waiting = scope.spawn(|| stock.take(SegmentSize::Whole).map(|ready| ready.sequence));
        drop(go_on);
        assert!(thread.join().is_err(), "it panicked");
        assert_eq!(waiting.join().unwrap(), Err(ErrorKind::Other));
        assert_eq!(stock.take(SegmentSize::Whole).map(|ready| ready.sequence), Err(ErrorKind::Other));
    });
}

/// Whoever records on a full disk asks every few seconds; each time once had its line.
#[test]
fn that_none_can_be_made_is_logged_once_until_one_is() {
    let log = Captured::default();
    let written = log.clone();
    let journal = tracing_subscriber::fmt().with_writer(move || written.clone()).finish();
    let lines = || log.text().matches("cannot prepare or remove a segment").count();
    tracing::subscriber::with_default(journal, || {
        with_stock(|fs, stock| {
            for outage in 1..=2 {
                fs.set_capacity(Some(0));
                for _ in 0..5 {
                    assert_eq!(stock.wait_for_piece().err(), Some(ErrorKind::StorageFull));
                }
                fs.set_capacity(None);
                stock.take(SegmentSize::Whole).unwrap();
                assert_eq!(lines(), outage);
            }
        });
    });
}

/// A start that failed with EIO said "uncategorized error": the number that tells the operator what to look for
/// was dropped on the way.
#[test]
fn what_the_system_said_is_kept_with_its_number() {
    let told = copy_of(&io::Error::from_raw_os_error(5));
    assert_eq!(told.to_string(), "Input/output error (os error 5)");
    assert_eq!(copy_of(&ErrorKind::StorageFull.into()).kind(), ErrorKind::StorageFull);
}

/// What the run before has left in a file, and what the stock makes of it.
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
