//! Every disk call fails once, or from then on, until the disk is well again.

use std::io::ErrorKind;
use std::sync::Mutex;

use super::crash::{Teller, Told, check};
use super::*;
use crate::spool::fs::sim::DiskFault;

/// `Other` is EIO, a write then being done in part; `WriteZero` makes a write short without an error.
const ERRORS: [ErrorKind; 5] = [
    ErrorKind::Other,
    ErrorKind::StorageFull,
    ErrorKind::QuotaExceeded,
    ErrorKind::Interrupted,
    ErrorKind::WriteZero,
];

/// The faults that the call of this number may meet.
fn faults(call: u64, for_ever: bool) -> impl Iterator<Item = DiskFault> {
    let all = ERRORS.into_iter().map(move |error| DiskFault { call, error, for_ever });
    // No disk is interrupted for ever.
    all.filter(|fault| fault.error != ErrorKind::Interrupted || !fault.for_ever)
}

struct Played {
    fs: SimFs,
    told: Arc<Mutex<Told>>,
    teller: Teller,
}

/// Returns a spool with some history.
async fn played() -> Played {
    let fs = SimFs::new();
    let told = Arc::new(Mutex::new(Told::default()));
    let mut teller = Teller::new(open(&fs), Arc::clone(&told), 5);
    for _ in 0..12 {
        teller.step().await;
    }
    Played { fs, told, teller }
}

fn check_images(fs: &SimFs, told: &Arc<Mutex<Told>>, what: &str) {
    let told = told.lock().unwrap().clone();
    for seed in [0, 1, 99] {
        check(&open(&fs.image(seed)), &told, &format!("{what}, image {seed}"));
    }
}

/// Plays on with every fault at the call of this number. Returns true if as many calls were made.
async fn suffer(call: u64, for_ever: bool) -> bool {
    let mut met = false;
    for fault in faults(call, for_ever) {
        let Played { fs, told, mut teller } = played().await;
        fs.set_fault(Some(fault));
        for _ in 0..14 {
            teller.step().await;
        }
        met |= fs.calls() > call;
        check_images(&fs, &told, &format!("during {fault:?}"));
        fs.set_fault(None);
        let mut answers = Vec::new();
        while answers.len() < 3 && answers.last() != Some(&true) {
            answers.push(teller.commit(700).await.is_some());
        }
        assert_eq!(answers.last(), Some(&true), "after {fault:?}");
        for _ in 0..6 {
            teller.step().await;
        }
        check_images(&fs, &told, &format!("after {fault:?}"));
    }
    met
}

/// writer.rs 1 to 3, segment.rs 2 and 3, stock.rs 3; M2, D8: at every call there is.
#[tokio::test]
async fn no_fault_loses_what_was_promised() {
    let mut call = 0;
    while suffer(call, false).await {
        call += 1;
    }
    assert!(call > 30, "{call} calls are no history");
}

/// The same, from that call on, until the disk is well again: then service returns.
#[tokio::test]
async fn a_broken_disk_loses_nothing_and_service_returns() {
    let mut call = 0;
    while suffer(call, true).await {
        call += 1;
    }
    assert!(call > 30, "{call} calls are no history");
}

/// A start that fails says why and does no harm.
#[tokio::test]
async fn a_fault_at_the_start_is_an_error_or_nothing() {
    let Played { fs, told, teller } = played().await;
    drop(teller);
    let both = |call| [false, true].into_iter().flat_map(move |for_ever| faults(call, for_ever));
    for fault in (0..45).flat_map(both) {
        let what = format!("{fault:?} at the start");
        let fs = fs.image(1);
        fs.set_fault(Some(fault));
        if let Err(error) = try_open(&fs) {
            assert!(error.to_string().starts_with("cannot "), "{what}: {error}");
        }
        fs.set_fault(None);
        check(&open(&fs.image(0)), &told.lock().unwrap(), &what);
        let rig = open(&fs);
        check(&rig, &told.lock().unwrap(), &what);
        rig.commit(b"x").await;
    }
}

/// A disk that failed refused every message, and `status` had no word of it.
#[tokio::test]
async fn a_disk_that_fails_is_told_until_it_works() {
    let rig = new();
    rig.commit(b"first").await;
    assert_eq!(rig.spool.trouble(), None);
    rig.fs.set_fault(Some(DiskFault { call: 0, error: ErrorKind::PermissionDenied, for_ever: true }));
    for _ in 0..2 {
        assert_eq!(rig.try_commit(b"second", envelope(1)).await.err(), Some(CommitError::Trouble));
        assert_eq!(rig.spool.trouble().as_deref(), Some("the spool's disk failed, as the log says"));
    }
    rig.fs.set_fault(None);
    while rig.try_commit(b"third", envelope(1)).await.is_err() {}
    assert_eq!(rig.spool.trouble(), None);
}

/// segment.rs 3: the kernel says Ok the second time, and what it lost is not believed.
#[tokio::test]
async fn a_failed_sync_is_never_believed_again() {
    let rig = new();
    let first = rig.commit(b"first").await.id();
    rig.fs.fail_next_sync_in(Path::new("/spool/log"));
    assert_eq!(rig.try_commit(b"second", envelope(1)).await.err(), Some(CommitError::Trouble));
    let third = rig.commit(b"third").await.id();
    for seed in [0, 1, 7] {
        assert_eq!(open(&rig.fs.image(seed)).ids(), [first, third], "image {seed}");
    }
}

/// segment.rs 2: what a failed write left in part, or whole, does not come back.
#[tokio::test]
async fn a_failed_write_leaves_nothing_behind() {
    let rig = new();
    let first = rig.commit(b"first").await.id();
    rig.fs.set_fault(Some(DiskFault { call: 0, error: ErrorKind::Other, for_ever: false }));
    assert!(rig.try_commit(&content(2, 3000), envelope(1)).await.is_err());
    let third = rig.commit(b"third").await.id();
    for seed in [0, 1, 7] {
        let back = open(&rig.fs.image(seed));
        assert_eq!(back.ids(), [first, third], "image {seed}");
    }
}

/// D8, writer.rs 5: while the record of a refused message may come back, its large file stays. It may when no
/// later segment says that it is void: when the disk fails for ever from any call of the commit on.
#[tokio::test]
async fn a_refused_message_that_comes_back_is_whole() {
    let mut came_back = 0;
    for call in 0..12 {
        let rig = new();
        let first = rig.commit(b"first").await.id();
        let sent = content(1, 9000);
        let draft = rig.draft(&sent).await.unwrap();
        let id = draft.id();
        rig.fs.set_fault(Some(DiskFault { call, error: ErrorKind::PermissionDenied, for_ever: true }));
        let committed = rig.spool.commit(draft, envelope(1), Submitter::Loopback, now()).await;
        rig.spool.close().await;
        let back = open(&rig.fs.image(1));
        if back.ids() == [first] {
            assert!(committed.is_err(), "fault at {call}");
            continue;
        }
        assert_eq!(back.ids(), [first, id], "fault at {call}");
        assert_eq!(octets(back.spool.read(id).unwrap().content), sent, "fault at {call}");
        came_back += usize::from(committed.is_err());
    }
    assert!(came_back > 0, "no segment behind it says that it is void");
}

/// 452, 451: what the client is told.
#[tokio::test]
async fn errors_say_what_to_answer() {
    let cases = [
        (ErrorKind::StorageFull, CommitError::Full),
        (ErrorKind::QuotaExceeded, CommitError::Full),
        (ErrorKind::PermissionDenied, CommitError::Trouble),
    ];
    for (error, told) in cases {
        for length in [10, 9000] {
            let rig = new();
            let draft = rig.draft(&content(1, length)).await.unwrap();
            rig.fs.set_fault(Some(DiskFault { call: 0, error, for_ever: true }));
            let committed = rig.spool.commit(draft, envelope(1), Submitter::Loopback, now()).await;
            assert_eq!(committed.err(), Some(told), "{error} with {length} octets");
            assert_eq!(rig.spool.check_room(1).err(), Some(told));
        }
    }
}

/// draft.rs: a draft that failed once stays failed.
#[tokio::test]
async fn a_draft_with_a_hole_is_never_committed() {
    let rig = new();
    let mut draft = rig.draft(&content(1, 5000)).await.unwrap();
    rig.fs.set_fault(Some(DiskFault { call: 0, error: ErrorKind::StorageFull, for_ever: false }));
    let long = content(2, 1 << 20);
    assert_eq!(draft.write(&long).await, Err(CommitError::Full));
    assert_eq!(draft.write(b"more").await, Err(CommitError::Full));
    let committed = rig.spool.commit(draft, envelope(1), Submitter::Loopback, now()).await;
    assert_eq!(committed.err(), Some(CommitError::Full));
    rig.spool.close().await;
    assert_eq!((rig.spool.len(), rig.names("large").len()), (0, 0));
}

/// stock.rs 8: a panic of the thread that makes segments was noticed by nobody: the daemon ran on, and refused all mail as
/// soon as the segments that there were had been filled.
#[tokio::test]
async fn the_end_of_the_thread_that_makes_segments_is_noticed() {
    let rig = new();
    rig.fs.panic_at_next_create();
    while rig.try_commit(&content(0, 3000), envelope(1)).await.is_ok() {}
    rig.spool.stock_ended().await;
}
