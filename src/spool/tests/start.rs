//! Starting: on nothing, on what a crash left, on what is not ours.

use std::io::ErrorKind;

use super::*;
use crate::spool::format::{SegmentHeader, SpoolId};
use crate::spool::fs::Fs;
use crate::spool::fs::sim::DiskFault;

/// D1 to D3.
#[test]
fn a_new_spool_is_made_and_durable() {
    let rig = new();
    assert!(!rig.recovery.unclean && rig.recovery.entries.is_empty());
    for directory in ["log", "large", "corrupt", "drop"] {
        assert!(rig.fs.image(0).list(&Path::new("/spool").join(directory)).is_ok(), "{directory}");
    }
    assert!(rig.fs.image(0).content(Path::new("/spool/log/00000001.seg")).is_some());
}

#[tokio::test]
async fn an_orderly_end_is_known_from_any_other() {
    let rig = new();
    rig.commit(b"x").await;
    rig.spool.close().await;
    rig.spool.close().await;
    let next = open(&rig.fs);
    assert!(!next.recovery.unclean);
    drop(next);
    assert!(open(&rig.fs).recovery.unclean, "no mark without close");
}

/// D2: the lock is held as long as the spool is open, and ends with its holder.
#[test]
fn one_daemon_at_a_time() {
    let rig = new();
    let locked = try_open(&rig.fs).err().unwrap().to_string();
    assert_eq!(locked, "/spool/lock is locked: another nullmta uses this spool; stop it first");
    let fs = rig.fs.clone();
    drop(rig);
    assert!(try_open(&fs).is_ok());
}

/// Every call of a start before the segments are read is refused, and all that follow it.
#[test]
fn a_spool_that_may_not_be_used_is_refused_with_what_to_do() {
    let cases = [
        (
            ErrorKind::PermissionDenied,
            "permission denied; the spool must belong to the user that nullmta runs as",
        ),
        (ErrorKind::ReadOnlyFilesystem, "the spool must be on a file system that can be written"),
        (ErrorKind::QuotaExceeded, "make room on the disk"),
        (ErrorKind::Other, "check the disk and the system log"),
    ];
    let well = new().fs.image(1);
    for (error, advice) in cases {
        for call in 0..13 {
            let fs = well.image(1);
            fs.set_fault(Some(DiskFault { call, error, for_ever: true }));
            let refused = try_open(&fs).err().unwrap_or_else(|| panic!("{error}, call {call}")).to_string();
            assert!(refused.starts_with("cannot "), "{refused}");
            assert!(refused.ends_with(advice), "{refused}");
        }
    }
}

#[test]
fn a_spool_without_a_place_is_refused_with_what_to_do() {
    let (announce, _arrivals) = unbounded_channel();
    let missing = Spool::open(Options::at("/no/where"), Arc::new(SimFs::new()), announce).err().unwrap();
    assert_eq!(missing.to_string(), "cannot make /no/where: entity not found; make its parent directory");

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("spool");
    std::fs::write(&file, b"").unwrap();
    let (announce, _arrivals) = unbounded_channel();
    let other = Spool::open(Options::at(&file), Arc::new(fs::RealFs), announce).err().unwrap();
    assert_eq!(other.to_string(), format!("{} is not a directory: move it out of the way", file.display()));
}

/// A header may say something from which this program must not go on.
#[test]
fn a_newer_or_foreign_segment_is_refused() {
    let rig = new();
    let segment = Path::new("/spool/log/00000001.seg");
    let fs = rig.fs.image(1);
    fs.damage(segment, |octets| {
        octets[8] = 8;
        let sum = crc32c::crc32c(&octets[..60]).to_le_bytes();
        octets[60..64].copy_from_slice(&sum);
        octets.copy_within(..64, 4096);
    });
    let newer = try_open(&fs).err().unwrap().to_string();
    assert_eq!(
        newer,
        "/spool/log/00000001.seg has format version 8, this nullmta reads up to 7: install the version that wrote it"
    );

    let fs = rig.fs.image(1);
    let foreign = SegmentHeader {
        version: format::FORMAT_VERSION,
        spool: SpoolId([1; 16]),
        sequence: 9,
        high_water: QueueId::from_raw(0),
        relay_clock: 0,
        previous: None,
    };
    let file = fs.create(Path::new("/spool/log/00000009.seg")).unwrap();
    file.write_at(&foreign.encode(), 0).unwrap();
    assert_eq!(
        try_open(&fs).err().unwrap().to_string(),
        "/spool/log/00000009.seg belongs to another spool: move it to the spool it came from"
    );
}

/// D3, D6, D7, recover.rs 4: a former segment under a new number, a short file, a large file without a record.
#[tokio::test]
async fn what_a_crash_leaves_is_cleared() {
    let rig = new();
    let id = rig.commit(b"x").await.id();
    let old = rig.fs.content(Path::new("/spool/log/00000001.seg")).unwrap();
    let fs = rig.fs.image(0);
    for (name, octets) in
        [("log/00000077.seg", &old[..]), ("log/00000078.seg", b"nullmta"), ("large/00000000000000FF", b"x")]
    {
        fs.create(&Path::new("/spool").join(name)).unwrap().write_at(octets, 0).unwrap();
    }
    let back = open(&fs);
    assert_eq!(back.ids(), [id]);
    assert!(back.recovery.damaged.is_empty());
    assert!(back.names("large").is_empty());
    let names = back.names("log");
    assert!(names.contains(&"00000079.seg".into()) && !names.contains(&"00000077.seg".into()), "{names:?}");
}

/// D4: a torn batch at the end is passed by in silence, once and for all.
#[tokio::test]
async fn a_torn_end_is_no_damage() {
    let rig = new();
    let id = rig.commit(b"whole").await.id();
    let end = 8192 + 512;
    rig.commit(&content(1, 2000)).await;
    let fs = rig.fs.image(0);
    fs.damage(Path::new("/spool/log/00000001.seg"), |octets| octets[end + 1024..end + 1536].fill(0));
    for torn in [1, 0, 0] {
        let back = open(&fs);
        assert_eq!((back.ids(), back.recovery.torn), (vec![id], torn));
        assert!(back.recovery.damaged.is_empty());
        assert!(back.names("corrupt").is_empty());
    }
}

/// A full disk is no reason not to start.
#[tokio::test]
async fn a_full_disk_starts_and_refuses() {
    let rig = new();
    let id = rig.commit(b"x").await.id();
    let fs = rig.fs.image(0);
    fs.set_capacity(Some(0));
    let back = open(&fs);
    assert_eq!(back.ids(), [id]);
    assert_eq!(back.try_commit(b"y", envelope(1)).await.err(), Some(CommitError::Full));
    fs.set_capacity(None);
    back.commit(b"y").await;
}

/// A start once wrote two segments of 32 MiB, whatever the spool held: on a small device that was seen, and felt by
/// the first messages. Now it writes the smallest segment, a day with a few messages no more than one piece of the next
/// one, and the spool of a quiet host stays as small, however often it starts.
#[tokio::test]
async fn a_start_writes_little_and_a_quiet_spool_stays_small() {
    let fs = SimFs::new();
    for day in 1..=30 {
        let before = fs.written();
        let rig = open_with(&fs, Options::at("/spool")).unwrap();
        assert!(
            fs.written() - before <= 300 << 10,
            "{} octets by the start of day {day}",
            fs.written() - before
        );
        for number in 0..5 {
            let passing = rig.commit(&content(number, 3000)).await.id();
            rig.settle(passing).await.unwrap();
        }
        rig.spool.close().await;
        assert!(fs.written() - before <= 600 << 10, "{} octets on day {day}", fs.written() - before);
        assert!(fs.used() <= 600 << 10, "{} octets after day {day}", fs.used());
    }
}

/// Returns the name of the segment with the highest number, and how many octets it has.
fn newest_segment(rig: &Rig) -> (String, u64) {
    let newest = rig.names("log").into_iter().max().unwrap();
    let octets = rig.fs.content(&Path::new("/spool/log").join(&newest)).unwrap().len() as u64;
    (newest, octets)
}

/// D3: with 11 MiB that lived, or more, a start once wrote a whole segment of 32 MiB before the first message was
/// taken. Its room is reserved now, so that nobody else can take it, and it is written as it is used.
#[tokio::test]
async fn a_start_writes_little_however_much_lives() {
    let fs = SimFs::new();
    let options = Options { segment_size: 4 << 20, ..Options::at("/spool") };
    let rig = open_with(&fs, options.clone()).unwrap();
    let mut queued = Vec::new();
    for number in 0..5 {
        queued.push(rig.commit(&content(number, 300_000)).await.id());
    }
    drop(rig);
    let before = fs.written();
    let rig = open_with(&fs, options.clone()).unwrap();
    assert!(fs.written() - before <= 300 << 10, "{} octets by the start", fs.written() - before);
    assert_eq!(newest_segment(&rig).1, 4 << 20);
    for number in 0..400 {
        queued.push(rig.commit(&content(number, 3000)).await.id());
        let (mail, written) = ((number as u64 + 1) * 3584, fs.written() - before);
        // Itself, zeros ahead of it, and twice as many of the next segment.
        assert!(written <= 4 * mail + (1 << 20), "{written} octets for {mail} of mail");
    }
    assert_eq!(open_with(&fs.image(0), options).unwrap().ids(), queued);
    fs.set_capacity(Some(0));
    for id in queued {
        assert_eq!(rig.settle(id).await, Ok(()));
    }
}

/// D4: the rest of the segment that a start closes was once counted as taken. So with some MiB that lived, all of it was
/// moved at every start, into a segment whose rest was counted at the next one.
#[tokio::test]
async fn a_start_moves_nothing_for_the_sake_of_what_was_never_used() {
    let (fs, options) = (SimFs::new(), Options { segment_size: 4 << 20, ..Options::at("/spool") });
    let rig = open_with(&fs, options.clone()).unwrap();
    let mut queued = Vec::new();
    for number in 0..570 {
        queued.push(rig.commit(&content(number, 3000)).await.id());
    }
    drop(rig);
    for start in 1..=6 {
        let before = fs.written();
        let rig = open_with(&fs, options.clone()).unwrap();
        assert_eq!(rig.ids(), queued);
        // Behind each of them the cleaner takes a step.
        for _ in 0..40 {
            let passing = rig.commit(b"x").await.id();
            rig.settle(passing).await.unwrap();
        }
        drop(rig);
        let written = fs.written() - before;
        assert!(written <= 1 << 20, "{written} octets at start {start}, while 2 MB live");
        assert!(fs.used() <= (3 * 570 * 3584) + 2 * (4 << 20), "{} octets after start {start}", fs.used());
    }
    fs.set_capacity(Some(fs.used()));
    let rig = open_with(&fs, options).unwrap();
    for id in queued.into_iter().rev() {
        assert_eq!(rig.settle(id).await, Ok(()));
    }
}

/// D3, D6, stock/reuse.rs 1 to 3: what was ready of the next segment was once removed at each start, and made again.
#[tokio::test]
async fn what_was_made_ready_before_serves_the_next_start() {
    let rig = new();
    let id = rig.commit(b"x").await.id();
    assert_eq!(newest_segment(&rig), ("00000002.seg".into(), SEGMENT));
    for image in [0, 1] {
        let fs = rig.fs.image(image);
        let back = open(&fs);
        assert_eq!(back.ids(), [id]);
        // The one behind it may be begun by now.
        let reused = fs.content(Path::new("/spool/log/00000003.seg")).map(|content| content.len() as u64);
        assert_eq!(reused, Some(SEGMENT), "{:?}", back.names("log"));
        assert!(!back.names("log").contains(&"00000002.seg".into()));
        // Its header, and what the cleaner moves.
        assert!(fs.written() <= SEGMENT / 4, "{} octets written by the start", fs.written());
        let other = back.commit(b"y").await.id();
        assert_eq!(back.after_power_loss().ids(), [id, other]);
    }
}

/// space.rs 2: the zeros of the segment that follows are written as mail comes, twice as quickly at most, and so all
/// of them are there when a segment is half full.
#[tokio::test]
async fn the_next_segment_is_made_as_this_one_is_used() {
    let size = 8 << 20;
    let rig =
        open_with(&SimFs::new(), Options { segment_size: size, first_segment: size, ..options() }).unwrap();
    let before = rig.fs.used();
    for number in 0..2000 {
        rig.commit(&content(number, 3000)).await;
        let (mail, made) = ((number as u64 + 1) * 3584, rig.fs.used() - before);
        assert!(made <= 2 * mail + (512 << 10), "{made} octets made for {mail} of mail");
        assert!(made + (512 << 10) >= (2 * mail).min(size), "{made} octets made for {mail} of mail");
    }
}
