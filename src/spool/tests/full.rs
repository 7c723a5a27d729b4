//! A full disk: nothing more is taken, what is queued is delivered, and service returns.

mod history;

use super::*;

/// Returns a new spool on a disk of so many segments.
fn on_a_disk_of(segments: u64) -> Rig {
    let rig = new();
    rig.fs.set_capacity(Some(segments * SEGMENT));
    rig
}

/// Queues messages of `length` octets until the disk is full.
async fn fill(rig: &Rig, length: usize) -> Vec<QueueId> {
    let mut queued = Vec::new();
    let refused = loop {
        match rig.try_commit(&content(queued.len(), length), envelope(1)).await {
            Ok(committed) => queued.push(committed.id()),
            Err(error) => break error,
        }
    };
    assert_eq!(refused, CommitError::Full);
    queued
}

/// A full disk was silent: 452 to everybody, at INFO, and no word of it in `status`.
#[tokio::test]
async fn an_episode_without_room_is_told_once_with_its_numbers_and_once_when_it_is_over() {
    let captured = crate::journal::testing::Captured::default();
    let sink = captured.clone();
    let journal = tracing_subscriber::fmt().with_writer(move || sink.clone()).finish();
    let _logging = tracing::subscriber::set_default(journal);
    let rig = open_with(&SimFs::new(), Options { min_free_space: 3 << 20, ..options() }).unwrap();
    assert_eq!((rig.spool.check_room(0), rig.spool.trouble()), (Ok(()), None));
    assert_eq!(rig.spool.check_room(1 << 41), Err(CommitError::Full));
    assert_eq!(rig.spool.trouble(), None, "one message that is too large is no episode");

    let episode = async |capacity, refused: bool| {
        rig.fs.set_capacity(Some(rig.fs.used() + capacity));
        let begun = std::time::Instant::now();
        // An answer about the free space is believed for a second.
        while rig.spool.check_room(0).is_err() != refused {
            assert!(begun.elapsed() < std::time::Duration::from_secs(30));
            tokio::task::yield_now().await;
        }
        for _ in 0..100 {
            let _ = rig.spool.check_room(0);
        }
        rig.spool.trouble()
    };
    let numbers = "full: 1.0 MiB free on its disk, 3.0 MiB needed (queue.min-free-space)";
    assert_eq!(episode(1 << 20, true).await.as_deref(), Some(numbers));
    assert_eq!(episode(8 << 20, false).await, None);
    let log = captured.text();
    assert_eq!(log.matches("WARN").count(), 1, "{log}");
    assert_eq!(log.matches("spool has room again").count(), 1, "{log}");
}

/// unfinished.rs: on a real disk of drafts. What gives way is refused, and what is whole is not touched.
#[tokio::test]
async fn a_draft_that_gives_way_is_refused_and_its_room_is_free() {
    let rig = open_with(&SimFs::new(), Options { min_free_space: 1 << 20, ..options() }).unwrap();
    let user = Submitter::Uid(1000);
    let mut drafts = Vec::new();
    rig.fs.set_capacity(Some(8 << 20));
    let mut refused = None;
    while refused.is_none() {
        let mut draft = rig.spool.draft(now()).of(user);
        refused = draft.write(&content(1, 600_000)).await.err();
        drafts.push(draft);
    }
    // The disk has room.
    assert_eq!(refused, Some(CommitError::OverShare));
    assert!((2..=5).contains(&drafts.len()), "{} of a quarter of 7 MiB", drafts.len());
    // Alone it may take what there is; beside the others it depends on what is free by now.
    let whole = drafts.swap_remove(0);
    drop(drafts);
    rig.spool.commit(whole, envelope(1), user, now()).await.unwrap();
    let mut other = rig.spool.draft(now()).of(Submitter::Uid(1001));
    other.write(&content(2, 600_000)).await.unwrap();
    rig.spool.commit(other, envelope(1), Submitter::Uid(1001), now()).await.unwrap();
    assert_eq!(rig.after_power_loss().ids().len(), 2);
}

/// Writes what a delivery does.
async fn deliver(rig: &Rig, id: QueueId) -> Result<(), CommitError> {
    rig.spool.mark_in_flight(id).await?;
    rig.settle(id).await
}

/// Returns the positions in a queue of so many messages, in an order of delivery. A message that is left out stays.
type Order = fn(usize) -> Vec<usize>;

const ORDERS: [(&str, Order); 4] = [
    ("oldest first", |count| (0..count).collect()),
    ("newest first", |count| (0..count).rev().collect()),
    ("every second", |count| (0..count).step_by(2).collect()),
    ("scattered", |count| (0..count).map(|number| number * 7919 % count).collect()),
];

/// Keeps the spool from growing beyond so many octets: as a full disk does, or as a quota of which the file system does not
/// tell.
type Limit = fn(&SimFs, u64);

const LIMITS: [(&str, Limit); 2] =
    [("disk", |fs, octets| fs.set_capacity(Some(octets))), ("quota", |fs, octets| fs.set_quota(octets))];

/// Fills a new spool with messages of `length` octets, has somebody else take what is left, and delivers in
/// `order`; returns how many messages there were.
async fn fill_and_drain(segments: u64, limit: Limit, length: usize, order: Order, what: &str) -> usize {
    let rig = new();
    limit(&rig.fs, segments * SEGMENT);
    let queued = fill(&rig, length).await;
    limit(&rig.fs, rig.fs.used());
    let mut left = queued.clone();
    for number in order(queued.len()) {
        let id = queued[number];
        assert_eq!(deliver(&rig, id).await, Ok(()), "{what}: message {number} of {}", queued.len());
        left.retain(|other| *other != id);
    }
    assert_eq!(rig.after_power_loss().ids(), left, "{what}");
    rig.commit(b"served again").await;
    queued.len()
}

/// writer.rs 4, clean.rs 4: whatever is delivered in whichever order; of mail as small as cron's, too. Where free
/// space was believed to be room, a quota once stopped every delivery for ever: nothing could be recorded.
#[tokio::test]
async fn a_full_disk_drains_in_any_order() {
    for (limited, limit) in LIMITS {
        for (name, order) in ORDERS {
            for length in [600, 1500, 3000] {
                let what = format!("{limited}, {length} octets, {name}");
                let queued = fill_and_drain(12, limit, length, order, &what).await;
                assert!(queued > 80, "{what}: {queued} messages");
            }
        }
    }
}

/// writer.rs 4: a disk with room for two segments, or three.
#[tokio::test]
async fn a_very_small_disk_drains_in_any_order() {
    for (limited, limit) in LIMITS {
        for (name, order) in ORDERS {
            for segments in [2, 3] {
                let what = format!("{limited} of {segments} segments, {name}");
                assert!(fill_and_drain(segments, limit, 1500, order, &what).await > 10, "{what}");
            }
        }
    }
}

/// writer.rs 4, D4: each start closes the segment before; what those did not use is room for the next. Where there
/// was just enough for a tiny one, that was once made instead, and what it could record was all that was delivered.
#[tokio::test]
async fn a_restart_on_a_full_disk_goes_on_delivering() {
    for spare in [0, 10 << 10, 20 << 10, 40 << 10] {
        let mut rig = new();
        rig.fs.set_capacity(Some(12 * SEGMENT + spare));
        let mut queued = fill(&rig, 1500).await;
        let mut delivered = 0;
        while delivered < queued.len() {
            if delivered % 50 == 3 {
                rig = open(&rig.fs.image(1));
                assert_eq!(rig.ids(), queued[delivered..], "after {delivered}");
            }
            if delivered == 3 {
                // The room that a start and the cleaner have made is filled, too.
                queued.extend(fill(&rig, 1500).await);
            }
            assert_eq!(deliver(&rig, queued[delivered]).await, Ok(()), "{spare} spare, message {delivered}");
            delivered += 1;
        }
    }
}

/// The same where each start comes before anything is delivered.
#[tokio::test]
async fn starts_on_a_full_disk_do_not_use_it_up() {
    for spare in [0, 20 << 10, 40 << 10] {
        let mut rig = new();
        rig.fs.set_capacity(Some(12 * SEGMENT + spare));
        let queued = fill(&rig, 1500).await;
        for _ in 0..8 {
            rig = open(&rig.fs.image(1));
        }
        assert_eq!(rig.ids(), queued);
        for (number, id) in queued.iter().enumerate().rev() {
            assert_eq!(deliver(&rig, *id).await, Ok(()), "{spare} spare, message {number}");
        }
    }
}

/// writer.rs 4: our own reports end what they are about; were they refused, nothing would drain any more.
#[tokio::test]
async fn a_bounce_is_recorded_on_a_full_disk() {
    let rig = on_a_disk_of(8);
    let queued = fill(&rig, 1500).await;
    let mut ledger = rig.spool.read(queued[0]).unwrap().ledger;
    let draft = rig.draft(&content(0, 1500)).await.unwrap();
    let report = rig.spool.commit_bounce(draft, envelope(1), &mut ledger, &[0], now()).await.unwrap();
    assert_eq!(rig.after_power_loss().ids(), [&queued[..], &[report.id()]].concat());
}

/// writer.rs 4, stock.rs 4 and 5: a disk of which somebody else takes every octet that becomes free still
/// records outcomes, drains, and fills again.
#[tokio::test]
async fn a_full_disk_drains_and_serves_again() {
    let rig = on_a_disk_of(8);
    let queued = fill(&rig, 1500).await;
    rig.fs.set_capacity(Some(0));
    for id in &queued {
        let mut ledger = rig.spool.read(*id).unwrap().ledger;
        ledger.sent(0);
        rig.spool.record(&mut ledger).await.unwrap();
        rig.spool.remove(ledger.settle().unwrap()).await.unwrap();
    }
    rig.commit(b"served again").await;
    assert_eq!(rig.after_power_loss().ids().len(), 1);
}

#[tokio::test]
async fn room_is_checked_before_the_disk_is_full() {
    let fs = SimFs::new();
    fs.set_capacity(Some(10 * SEGMENT));
    let (announce, _arrivals) = unbounded_channel();
    let options = Options { min_free_space: 2 * SEGMENT, max_messages: 2, ..options() };
    let (spool, _) = Spool::open(options, Arc::new(fs.clone()), announce).unwrap();
    assert_eq!(spool.check_room(SEGMENT), Ok(()));
    assert_eq!(spool.check_room(9 * SEGMENT), Err(CommitError::Full));
    for _ in 0..2 {
        assert_eq!(spool.check_room(1), Ok(()));
        let draft = spool.draft(now());
        spool.commit(draft, envelope(1), Submitter::Loopback, now()).await.unwrap();
    }
    assert_eq!(spool.check_room(1), Err(CommitError::Full), "two messages are the limit");
}
