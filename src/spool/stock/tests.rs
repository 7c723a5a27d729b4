use std::path::Path;

use super::*;
use crate::journal::testing::Captured;
use crate::spool::fs::sim::{Fault, SimFs};

const SIZE: u64 = 16 << 10;

/// A stock on a simulated disk, its thread running while `test` does.
fn with_stock(test: impl FnOnce(&SimFs, &Stock)) {
    let fs = SimFs::new();
    let places = Places::under(Path::new("/s"));
    for (path, mode) in places.directories() {
        fs.create_dir(path, mode).unwrap();
        fs.sync_dir(path.parent().unwrap()).unwrap();
    }
    let stock = Stock::new(Arc::new(fs.clone()), places, SIZE, 1);
    let log = tracing::dispatcher::get_default(Clone::clone);
    std::thread::scope(|scope| {
        scope.spawn(|| tracing::dispatcher::with_default(&log, || stock.work()));
        // Also when the test fails.
        let _end = Closing(&stock);
        test(&fs, &stock);
    });
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
            let ready = stock.take(Size::Usual).unwrap();
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
        stock.take(Size::Usual).unwrap();
        stock.let_go(1);
        stock.wait_for_ready().unwrap();
        assert_eq!(names(fs), ["00000002.seg"], "the one let go was reused");
        stock.take(Size::Usual).unwrap();
        stock.replenish();
        stock.wait_for_ready().unwrap();
        assert_eq!(names(fs), ["00000002.seg", "00000003.seg"]);
    });
}

/// Promise 3.
#[test]
fn trouble_is_told_and_passes() {
    with_stock(|fs, stock| {
        let mut last = stock.take(Size::Usual).unwrap().sequence;
        fs.set_fault(Some(Fault { call: 0, error: ErrorKind::PermissionDenied, for_ever: true }));
        let refused = loop {
            match stock.take(Size::Usual) {
                Ok(ready) => last = ready.sequence,
                Err(kind) => break kind,
            }
        };
        assert_eq!((refused, stock.trouble()), (ErrorKind::PermissionDenied, Some(refused)));
        fs.set_fault(None);
        assert_eq!(stock.take(Size::Usual).unwrap().sequence, last + 1);
    });
}

/// Promise 2: at every moment, what is left of segments given up is the youngest ones.
#[test]
fn segments_go_oldest_first() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    with_stock(|fs, stock| {
        let taken: Vec<u32> = (0..6).map(|_| stock.take(Size::Usual).unwrap().sequence).collect();
        let list = Arc::clone(&seen);
        let mut change = 2;
        fs.watch(move |disk| {
            change += 1;
            let left = names(&disk.image(change));
            list.lock().unwrap().push(left);
        });
        taken.iter().for_each(|sequence| stock.let_go(*sequence));
        stock.take(Size::Usual).unwrap();
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
        let first = stock.take(Size::Usual).unwrap();
        fs.set_capacity(Some(0));
        let mut last = first.sequence;
        while let Ok(ready) = stock.take(Size::Usual) {
            last = ready.sequence;
        }
        stock.let_go(first.sequence);
        assert_eq!(stock.take(Size::Usual).unwrap().sequence, last + 1);
    });
}

/// Does something while an attempt to make a segment is on its way, and has it end soon after.
fn during_an_attempt(fs: &SimFs, stock: &Stock, act: impl FnOnce()) {
    let (begins, begun) = std::sync::mpsc::channel();
    fs.watch(move |_| {
        let _ = begins.send(());
        std::thread::sleep(Duration::from_millis(50));
    });
    stock.replenish();
    begun.recv().unwrap();
    act();
}

/// Promise 4: an attempt that was on its way then, and failed, was once the answer.
#[test]
fn what_is_let_go_during_an_attempt_counts() {
    with_stock(|fs, stock| {
        let first = stock.take(Size::Usual).unwrap();
        fs.set_capacity(Some(0));
        during_an_attempt(fs, stock, || stock.let_go(first.sequence));
        assert_eq!(stock.take(Size::Usual).unwrap().sequence, first.sequence + 1);
        fs.unwatch();
    });
}

/// Promise 4: a segment was once found not to fit while a large file waited to be unlinked behind the attempt.
#[test]
fn a_large_file_makes_room_for_a_segment() {
    with_stock(|fs, stock| {
        let path = Places::under(Path::new("/s")).large(QueueId::from_raw(1));
        write_all_at(&*fs.create(&path).unwrap(), &[1; SIZE as usize], 0).unwrap();
        fs.set_capacity(Some(fs.used()));
        during_an_attempt(fs, stock, || stock.unlink_large(QueueId::from_raw(1)));
        assert_eq!(stock.take(Size::Usual).map(|ready| ready.sequence), Ok(1));
        fs.unwatch();
    });
}

#[test]
fn large_files_are_unlinked() {
    with_stock(|fs, stock| {
        let path = Places::under(Path::new("/s")).large(QueueId::from_raw(1));
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
        let path = Places::under(Path::new("/s")).large(QueueId::from_raw(1));
        fs.create(&path).unwrap();
        stock.wait_for_ready().unwrap();
        fs.set_fault(Some(Fault { call: 0, error: ErrorKind::PermissionDenied, for_ever: false }));
        stock.unlink_large(QueueId::from_raw(1));
        let begun = Instant::now();
        while fs.content(&path).is_some() {
            assert!(begun.elapsed() < Duration::from_secs(60), "it was put off");
            stock.unlink_large(QueueId::from_raw(2));
            std::thread::sleep(Duration::from_millis(10));
        }
    });
}

/// Promise 7.
#[test]
fn an_outcome_gets_a_segment_of_any_size() {
    with_stock(|fs, stock| {
        fs.set_capacity(Some(SIZE - 4096));
        assert_eq!(stock.take(Size::Any).err(), Some(ErrorKind::StorageFull), "not even the smallest");
        fs.set_capacity(Some(SIZE - 1));
        assert_eq!(stock.take(Size::Usual).err(), Some(ErrorKind::StorageFull));
    });
    let fs = SimFs::new();
    fs.set_capacity(Some(20_000));
    let stock = Stock::new(Arc::new(fs.clone()), Places::under(Path::new("/s")), 32 << 10, 1);
    assert_eq!(stock.room().map_err(|e| e.kind()), Err(ErrorKind::StorageFull));
    stock.shelf().supply.ask(Size::Any);
    assert_eq!(stock.room().unwrap(), 16 << 10, "whole blocks, and a sixteenth is left");
    fs.set_quota(20_000);
    assert_eq!(stock.room().unwrap(), 16 << 10, "the half, where nobody tells how much there is");
}

/// Promise 8: the thread dies in the middle of making a segment; who waits for it is told, and who comes later.
#[test]
fn nobody_waits_for_a_thread_that_died() {
    let fs = SimFs::new();
    let stock = Stock::new(Arc::new(fs.clone()), Places::under(Path::new("/s")), SIZE, 1);
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
        let waiting = scope.spawn(|| stock.take(Size::Usual).map(|ready| ready.sequence));
        drop(go_on);
        assert!(thread.join().is_err(), "it panicked");
        assert_eq!(waiting.join().unwrap(), Err(ErrorKind::Other));
        assert_eq!(stock.take(Size::Usual).map(|ready| ready.sequence), Err(ErrorKind::Other));
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
                    assert_eq!(stock.wait_for_ready().err(), Some(ErrorKind::StorageFull));
                }
                fs.set_capacity(None);
                stock.take(Size::Usual).unwrap();
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
