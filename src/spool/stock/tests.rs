mod full_disk;
mod taken_over;

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::journal::testing::Captured;
use crate::spool::fs::sim::{DiskFault, Seat, SimFs};
use crate::spool::fs::write_all_at;
use crate::spool::space::{self, SegmentSize};

const SIZE: u64 = 16 << 10;

/// Runs `test` with a stock on a simulated disk, while the thread of the stock runs.
fn with_stock(test: impl FnOnce(&SimFs, &Stock)) {
    with_stock_of(SIZE, test);
}

/// Does the same with segments of `size` octets.
fn with_stock_of(size: u64, test: impl FnOnce(&SimFs, &Stock)) {
    let (fs, stock) = without_thread(size);
    let log = tracing::dispatcher::get_default(Clone::clone);
    std::thread::scope(|scope| {
        scope.spawn(|| tracing::dispatcher::with_default(&log, || stock.work()));
        // It is closed even if the test fails.
        let _end = Closing(&stock);
        test(&fs, &stock);
    });
}

/// Does the same while the test and the thread of the stock take turns, as `seed` says.
fn with_turns(seed: u64, test: impl FnOnce(&SimFs, &Stock)) {
    let (fs, stock) = without_thread(SIZE);
    fs.take_turns(seed);
    let seat = fs.turns().map(|turns| turns.seat());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _seat = seat.map(Seat::take);
            stock.work();
        });
        let _end = Closing(&stock);
        test(&fs, &stock);
    });
}

/// Returns a stock whose thread does not run.
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

/// The two ways in which a disk gives no more than so many octets.
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
        assert_eq!(
            (refused, stock.shelf().supply.trouble().map(io::Error::kind)),
            (ErrorKind::PermissionDenied, Some(refused))
        );
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

/// A queue that records on a full disk asks every few seconds; each time once had its line.
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
