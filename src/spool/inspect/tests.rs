use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use jiff::Timestamp;
use tempfile::TempDir;
use tokio::sync::mpsc::unbounded_channel;

use super::super::fs::RealFs;
use super::super::tests::settled;
use super::super::{Options, Spool};
use super::*;
use crate::envelope::{Address, Envelope, Recipient, ReversePath, Submitter};

/// A spool on the real disk, under a running daemon's hands.
struct Rig {
    directory: TempDir,
    spool: Spool,
}

impl Rig {
    fn new() -> Rig {
        let directory = tempfile::tempdir().unwrap();
        let small = Options::at(directory.path().join("spool"));
        let options = Options { segment_size: 32 << 10, large_threshold: 4000, min_free_space: 0, ..small };
        let (spool, _) = Spool::open(options, Arc::new(RealFs), unbounded_channel().0).unwrap();
        Rig { directory, spool }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("spool")
    }

    async fn commit(&self, octets: usize) -> QueueId {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let mut draft = self.spool.draft(now);
        draft.write(&vec![b'x'; octets]).await.unwrap();
        let mut envelope = Envelope::from(ReversePath::Null);
        envelope.recipients.push(Recipient::plain(Address::parse("ann@example.org").unwrap()));
        self.spool.commit(draft, envelope, Submitter::Loopback, now).await.unwrap().id()
    }

    fn first_segment(&self) -> PathBuf {
        self.path().join("log/00000001.seg")
    }

    fn damage(&self, path: PathBuf, change: impl FnOnce(&mut Vec<u8>)) {
        let mut octets = fs::read(&path).unwrap();
        change(&mut octets);
        fs::write(path, octets).unwrap();
    }
}

/// Returns every file of a spool at rest, with its octets.
fn everything(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(everything(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

fn error_of<T>(result: Result<T, OpenError>) -> String {
    result.err().unwrap().to_string()
}

#[tokio::test]
async fn a_sound_spool_is_clean_beside_its_daemon_and_without() {
    let rig = Rig::new();
    for octets in [10, 3000, 9000] {
        rig.commit(octets).await;
    }
    let gone = rig.commit(20_000).await;
    rig.spool.remove(settled(gone)).await.unwrap();
    let report = verify(&rig.path()).unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(report.messages, 3);
    let first = &report.segments[0];
    assert_eq!((first.sequence, first.version, first.live, first.records), (1, Some(7), 3, 5));
    assert!(first.live_octets < first.used && first.used < first.octets, "{first:?}");
    rig.spool.close().await;

    let before = everything(&rig.path());
    assert!(verify(&rig.path()).unwrap().is_clean());
    assert_eq!(everything(&rig.path()), before, "promise 1");
    let large = Inspection::beside(&rig.path()).unwrap().large().unwrap();
    assert_eq!(large, Files { count: 1, octets: 9000 });
}

#[tokio::test]
async fn damage_is_found_where_it_is_and_nothing_is_changed() {
    let rig = Rig::new();
    let hit = rig.commit(900).await;
    let whole = rig.commit(900).await;
    rig.spool.close().await;
    rig.damage(rig.first_segment(), |octets| octets[8192 + 100] ^= 1);
    let before = everything(&rig.path());
    let report = verify(&rig.path()).unwrap();
    assert!(!report.is_clean());
    assert_eq!(report.segments[0].damage.len(), 1, "{report:?}");
    assert!(report.segments[0].damage[0].0 <= 8192 + 100 && report.segments[0].damage[0].1 > 8192 + 100);
    let inspection = Inspection::alone(&rig.path()).unwrap();
    assert!(inspection.read(whole).is_ok());
    assert!(inspection.read(hit).is_err());
    assert_eq!(inspection.entries().len(), 1);
    assert_eq!(everything(&rig.path()), before);
}

#[tokio::test]
async fn a_damaged_large_file_is_a_damaged_message() {
    let rig = Rig::new();
    let id = rig.commit(9000).await;
    rig.damage(rig.path().join("large").join(id.to_string()), |octets| octets[5000] ^= 1);
    let report = verify(&rig.path()).unwrap();
    assert_eq!(report.unreadable, [UnreadableMessage { id, why: "the message is damaged on disk".into() }]);
    assert!(!report.is_clean());
}

/// Not even where nothing is left to tell anything from; once that was called clean, and blank.
#[tokio::test]
async fn a_log_without_any_header_is_not_clean() {
    let rig = Rig::new();
    rig.commit(900).await;
    rig.spool.close().await;
    let wipe = |octets: usize| {
        for name in fs::read_dir(rig.path().join("log")).unwrap() {
            rig.damage(name.unwrap().path(), |segment| segment[..octets].fill(0));
        }
        verify(&rig.path()).unwrap()
    };
    let report = wipe(8192);
    assert_eq!((report.messages, report.segments[0].damage.as_slice()), (1, &[(0, 8192)][..]));
    let report = wipe(8800);
    assert_eq!((report.messages, report.segments[0].damage.len()), (0, 2), "{report:?}");
    rig.damage(rig.first_segment(), |octets| {
        octets.iter_mut().skip(8).step_by(16).for_each(|octet| *octet ^= 1)
    });
    let report = verify(&rig.path()).unwrap();
    assert_eq!(report.segments[0].damage, [(0, 32 << 10)]);
    assert!(!report.segments[0].is_blank && report.segments.iter().skip(1).all(|s| s.is_blank));
}

#[tokio::test]
async fn a_segment_that_is_not_there_is_no_clean_spool() {
    let rig = Rig::new();
    for _ in 0..40 {
        rig.commit(2000).await;
    }
    rig.spool.close().await;
    let report = verify(&rig.path()).unwrap();
    assert!(report.is_clean());
    let second = report.segments[1].sequence;
    fs::remove_file(rig.path().join(format!("log/{second:08X}.seg"))).unwrap();
    let report = verify(&rig.path()).unwrap();
    assert!(!report.is_clean());
    let SegmentFigures { sequence, octets, damage, .. } = &report.segments[1];
    assert_eq!((*sequence, *octets, damage.len(), damage[0].0), (second, 0, 1, 0));
}

/// Once a directory was counted as a blank segment, and the highest number there is brought the program down.
#[tokio::test]
async fn what_can_be_no_segment_is_named() {
    let rig = Rig::new();
    rig.spool.close().await;
    for (name, why) in [
        ("00000077.seg", "it is not a file"),
        ("80000000.seg", "no spool comes to that number"),
        ("FFFFFFFF.seg", "no spool comes to that number"),
    ] {
        let path = rig.path().join("log").join(name);
        match name {
            "00000077.seg" => fs::create_dir(&path).unwrap(),
            _ => fs::write(&path, "").unwrap(),
        }
        let said = format!("{} is no segment: {why}; move it out of that directory", path.display());
        assert_eq!(error_of(verify(&rig.path())), said);
        let start = Spool::open(Options::at(rig.path()), Arc::new(RealFs), unbounded_channel().0);
        assert_eq!(error_of(start), said);
        assert!(path.exists(), "it stays where it is");
        let _ = fs::remove_dir(&path).or_else(|_| fs::remove_file(&path));
    }
    fs::write(rig.path().join("log/7FFFFFFF.seg"), "").unwrap();
    assert!(Spool::open(Options::at(rig.path()), Arc::new(RealFs), unbounded_channel().0).is_ok());
}

/// Promise 3.
#[test]
fn what_one_look_found_and_the_next_did_not_is_no_damage() {
    let segment = |sequence, damage: &[(u32, u32)]| SegmentFigures {
        sequence,
        version: Some(1),
        is_blank: false,
        octets: 1,
        used: 1,
        records: 1,
        live: 1,
        live_octets: 1,
        damage: damage.to_vec(),
        torn: 0,
    };
    let unreadable = |id| UnreadableMessage { id: QueueId::from_raw(id), why: "x".into() };
    let report = |segments, unreadable| SpoolReport { segments, messages: 9, unreadable };
    let first = report(vec![segment(1, &[(8, 16), (32, 40)])], vec![unreadable(1), unreadable(2)]);
    let mut second = report(
        vec![segment(1, &[(8, 16), (64, 72)]), segment(2, &[(8, 16)])],
        vec![unreadable(2), unreadable(3)],
    );
    second.confirm(&first);
    assert_eq!(second.segments, [segment(1, &[(8, 16)]), segment(2, &[])]);
    assert_eq!(second.unreadable, [unreadable(2)]);
}

#[tokio::test]
async fn an_inspection_alone_and_a_daemon_exclude_each_other() {
    let rig = Rig::new();
    let refused = error_of(Inspection::alone(&rig.path()));
    assert!(refused.contains("another nullmta uses this spool"), "{refused}");
    rig.spool.close().await;
    let alone = Inspection::alone(&rig.path()).unwrap();
    let open = || Spool::open(Options::at(rig.path()), Arc::new(RealFs), unbounded_channel().0);
    assert!(matches!(open(), Err(OpenError::Locked { .. })));
    drop(alone);
    assert!(open().is_ok());
    fs::remove_file(rig.path().join("lock")).unwrap();
    assert!(Inspection::alone(&rig.path()).is_ok(), "a copy without its lock");
}

#[tokio::test]
async fn what_is_no_spool_of_ours_is_said_to_be_none() {
    let empty = tempfile::tempdir().unwrap();
    assert!(error_of(verify(empty.path())).contains("is no spool"));
    let missing = empty.path().join("missing");
    let said = format!("{} does not exist: name the directory of a spool", missing.display());
    assert_eq!(error_of(verify(&missing)), said);
    assert_eq!(error_of(Inspection::alone(&missing)), said);

    let rig = Rig::new();
    rig.spool.close().await;
    rig.damage(rig.first_segment(), |octets| {
        for copy in [0, 4096] {
            octets[copy + 8] = 9;
            let sum = crc32c::crc32c(&octets[copy..copy + 60]);
            octets[copy + 60..copy + 64].copy_from_slice(&sum.to_le_bytes());
        }
    });
    assert!(error_of(verify(&rig.path())).contains("has format version 9"));
}

#[test]
fn no_call_that_changes_anything_gets_through() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a");
    fs::write(&path, "x").unwrap();
    let refusals = [
        ReadOnlyFs.create(&path).err(),
        ReadOnlyFs.create_dir(&path, 0o700).err(),
        ReadOnlyFs.rename(&path, &path).err(),
        ReadOnlyFs.unlink(&path).err(),
        ReadOnlyFs.sync_dir(directory.path()).err(),
        ReadOnlyFs.open(&path).unwrap().write_at(b"y", 0).err(),
    ];
    assert!(refusals.iter().all(Option::is_some), "{refusals:?}");
    assert_eq!(fs::read(&path).unwrap(), b"x");
    assert!(ReadOnlyFs.lock(&directory.path().join("lock")).is_err(), "a lock is not made");
}
