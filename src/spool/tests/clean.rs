//! The cleaner.

use super::*;
use crate::spool::fs::sim::DiskFault;

/// Closes the spool, and returns how many octets are in `log/`.
async fn octets_of_segments(rig: &Rig) -> u64 {
    rig.spool.close().await;
    let length = |name: &String| rig.fs.content(&Path::new("/spool/log").join(name)).unwrap().len() as u64;
    rig.names("log").iter().map(length).sum()
}

/// clean.rs 1 and 2, M11, D5, D6: and what was recorded of the message goes with it.
#[tokio::test]
async fn one_deferred_message_pins_nothing() {
    let rig = new();
    let sent = content(0, 3000);
    let id = rig.commit(&sent).await.id();
    let large = rig.commit(&content(1, 9000)).await.id();
    let mut ledger = rig.spool.read(id).unwrap().ledger;
    ledger.sent(0);
    rig.spool.record(&mut ledger).await.unwrap();
    rig.spool.note_replies(id, &replies("450 4.2.0 later")).await;
    rig.spool.set_state(id, EntryState::OnHold).await.unwrap();
    rig.spool.mark_in_flight(id).await.unwrap();
    for number in 2..300 {
        let passing = rig.commit(&content(number, 2500)).await.id();
        rig.settle(passing).await.unwrap();
    }
    let check = |rig: &Rig| {
        let stored = rig.spool.read(id).unwrap();
        assert_eq!(octets(stored.content), sent);
        assert_eq!(stored.ledger.fates(), [Fate::Sent, Fate::Open]);
        assert_eq!(stored.replies.of(1), Some("450 4.2.0 later"));
        assert_eq!(octets(rig.spool.read(large).unwrap().content), content(1, 9000));
    };
    check(&rig);
    for seed in [0, 1] {
        let back = open(&rig.fs.image(seed));
        check(&back);
        assert_eq!(back.ids(), [id, large]);
        let entry = back.entry(id);
        let [in_flight, deferred] = [Mark::InFlight, Mark::Deferred].map(|mark| entry.marks.has(mark));
        assert!(in_flight && deferred && entry.marks.state() == EntryState::OnHold);
    }
    let octets = octets_of_segments(&rig).await;
    assert!(octets <= 3 * 3200 + 2 * SEGMENT, "{octets} octets for one message");
}

/// marks.rs: a deferred message whose reason was damaged was moved, and from the next start on `spool stat` called it
/// one that was never tried, while the running spool still knew better.
#[tokio::test]
async fn a_message_that_is_moved_without_its_reason_stays_deferred() {
    let rig = new();
    let id = rig.commit(&content(0, 3000)).await.id();
    rig.spool.note_replies(id, &replies("450 4.2.0 later")).await;
    // Its sector is not written again behind this.
    let passing = rig.commit(b"x").await.id();
    rig.settle(passing).await.unwrap();
    rig.fs.damage(Path::new("/spool/log/00000001.seg"), |octets| {
        let at = octets.windows(9).position(|octets| octets == b"450 4.2.0").unwrap();
        octets[at] ^= 1;
    });
    for number in 1..60 {
        let passing = rig.commit(&content(number, 2500)).await.id();
        rig.settle(passing).await.unwrap();
    }
    assert!(!rig.names("log").contains(&"00000001.seg".into()), "it has been moved");
    let back = rig.after_power_loss();
    assert_eq!(back.spool.read(id).unwrap().replies.of(1), None);
    assert!(back.entry(id).marks.has(Mark::Deferred));
}

/// clean.rs 1 at every moment, D5, D6: has messages come and go while one is deferred.
async fn pass_by(spool: &Spool, segment: u64, messages: usize, used: impl Fn() -> u64) {
    let put = async |number: usize| {
        let mut draft = spool.draft(now());
        draft.write(&content(number, 3000)).await.unwrap();
        spool.commit(draft, envelope(1), Submitter::Loopback, now()).await.unwrap().id()
    };
    let deferred = put(0).await;
    for number in 1..messages {
        let passing = put(number).await;
        spool.remove(settled(passing)).await.unwrap();
        let used = used();
        assert!(used <= 3 * 3200 + 2 * segment, "{used} octets after {number} messages");
    }
    assert_eq!(spool.len(), 1);
    assert_eq!(octets(spool.read(deferred).unwrap().content), content(0, 3000));
}

#[tokio::test]
async fn dead_space_is_bounded_at_every_moment() {
    let rig = new();
    pass_by(&rig.spool, SEGMENT, 2000, || rig.fs.used()).await;
}

#[tokio::test]
async fn dead_space_is_bounded_on_a_real_disk() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("spool");
    let (announce, _arrivals) = unbounded_channel();
    let options = Options { directory: place.clone(), ..options() };
    let (spool, _) = Spool::open(options, Arc::new(fs::RealFs), announce).unwrap();
    let length = |entry: std::io::Result<std::fs::DirEntry>| {
        // A file that is gone by the time of the look takes no room.
        entry.and_then(|entry| entry.metadata()).map_or(0, |metadata| metadata.len())
    };
    let used = || std::fs::read_dir(place.join("log")).unwrap().map(length).sum();
    pass_by(&spool, SEGMENT, 200, used).await;
    spool.close().await;
}

/// clean.rs 1 and 3: out of a long queue most goes, in any order; a segment of further traffic later, what is
/// left takes no more than it may.
#[tokio::test]
async fn what_is_left_of_a_long_queue_is_packed() {
    let rig = new();
    let mut queued = Vec::new();
    for number in 0..200 {
        queued.push(rig.commit(&content(number, 1900)).await.id());
    }
    let (left, gone): (Vec<_>, Vec<_>) = (0..200).partition(|number| number % 7 == 3);
    for number in gone {
        rig.settle(queued[number]).await.unwrap();
    }
    for number in 200..212 {
        let passing = rig.commit(&content(number, 1900)).await.id();
        rig.settle(passing).await.unwrap();
    }
    let octets_taken = octets_of_segments(&rig).await;
    let live = left.len() as u64 * 2100;
    assert!(octets_taken <= 3 * live + 2 * SEGMENT, "{octets_taken} octets for {live} that live");
    let back = open(&rig.fs.image(0));
    for number in left {
        let stored = back.spool.read(queued[number]).unwrap();
        assert_eq!(octets(stored.content), content(number, 1900));
    }
}

/// read.rs 2, M5: a reader that looked the message up before it was moved, and came to its deferral reason
/// when the old segment was gone, once said that there was none.
#[tokio::test]
async fn a_reader_never_misses_the_reason_while_the_message_moves() {
    let rig = new();
    let id = rig.commit(b"a").await.id();
    rig.spool.note_replies(id, &replies("450 4.2.0 later")).await;
    rig.commit(b"b").await;
    for _ in 0..100 {
        // The start begins a new segment, and the cleaner moves both messages into it.
        let back = rig.after_power_loss();
        while back.names("log").contains(&"00000001.seg".into()) {
            let stored = back.spool.read(id).unwrap();
            assert_eq!(stored.replies.of(1), Some("450 4.2.0 later"));
        }
    }
}

/// clean.rs: the disk did not answer once, whatever call it was; later the segments take as little as ever.
#[tokio::test]
async fn a_read_that_failed_once_is_tried_again() {
    for call in 0..60 {
        let rig = new();
        let id = rig.commit(&content(0, 3000)).await.id();
        for number in 1..500 {
            if number == 16 {
                rig.fs.set_fault(Some(DiskFault { call, error: std::io::ErrorKind::Other, for_ever: false }));
            }
            if let Ok(committed) = rig.try_commit(&content(number, 2500), envelope(1)).await {
                // Refused where the fault was.
                let _ = rig.settle(committed.id()).await;
            }
        }
        let begun = std::time::Instant::now();
        while rig.fs.used() > 3 * 3200 + 2 * SEGMENT {
            assert!(begun.elapsed() < std::time::Duration::from_secs(60), "fault at {call}");
            let passing = rig.commit(b"x").await.id();
            rig.settle(passing).await.unwrap();
        }
        assert_eq!(octets(open(&rig.fs.image(0)).spool.read(id).unwrap().content), content(0, 3000));
    }
}

/// Live messages are not moved without need.
#[tokio::test]
async fn segments_that_live_are_left_alone() {
    let rig = new();
    for number in 0..60 {
        rig.commit(&content(number, 2500)).await;
    }
    let first = rig.names("log").into_iter().min().unwrap();
    for number in 0..10 {
        let id = rig.commit(&content(number, 2500)).await.id();
        rig.settle(id).await.unwrap();
    }
    assert_eq!(rig.names("log").into_iter().min().unwrap(), first);
}

/// clean.rs: damage met by the cleaner costs that message; its octets are kept and service goes on.
#[tokio::test]
async fn the_cleaner_keeps_what_it_cannot_read() {
    let rig = new();
    let id = rig.commit(&content(0, 3000)).await.id();
    let other = rig.commit(&content(1, 3000)).await.id();
    rig.fs.damage(Path::new("/spool/log/00000001.seg"), |octets| octets[9000] ^= 1);
    for number in 2..60 {
        let passing = rig.commit(&content(number, 2500)).await.id();
        rig.settle(passing).await.unwrap();
    }
    assert!(matches!(rig.spool.read(id), Err(ReadError::Gone)));
    assert_eq!(octets(rig.spool.read(other).unwrap().content), content(1, 3000));
    let kept = rig.names("corrupt");
    assert!(kept.len() == 1 && kept[0].starts_with("00000001-00002000-"), "{kept:?}");
    let kept = rig.fs.content(&Path::new("/spool/corrupt").join(&kept[0])).unwrap();
    assert!(kept.windows(10).any(|octets| octets == b"\r\n\r\nmessag"));
}
