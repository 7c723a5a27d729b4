//! A full disk: nothing more is taken, what is queued is delivered, and service returns.

use super::*;

const SEGMENT: u64 = 32 << 10;

/// Fills a disk of so many segments with messages of `length` octets; then somebody else takes what is left.
async fn fill(rig: &Rig, length: usize, segments: u64) -> Vec<QueueId> {
    rig.fs.set_capacity(Some(segments * SEGMENT));
    let mut queued = Vec::new();
    let refused = loop {
        match rig.try_commit(&content(queued.len(), length), envelope(1)).await {
            Ok(committed) => queued.push(committed.id()),
            Err(error) => break error,
        }
    };
    assert_eq!(refused, CommitError::Full);
    rig.fs.set_capacity(Some(rig.fs.used()));
    queued
}

/// What a delivery writes. Where there is no room, the cleaner and the stock may be making some.
async fn deliver(rig: &Rig, id: QueueId) -> Result<(), CommitError> {
    let mut outcome = Err(CommitError::Full);
    for _ in 0..1000 {
        outcome = match rig.spool.mark_in_flight(id).await {
            Ok(()) => rig.settle(id).await,
            Err(error) => Err(error),
        };
        if outcome.is_ok() {
            break;
        }
        std::thread::yield_now();
    }
    outcome
}

/// writer.rs 4, segment.rs 2: mail as small as cron's takes two sectors, and its delivery one.
#[tokio::test]
async fn small_mail_drains_from_a_full_disk() {
    for length in [600, 1500, 3000] {
        let rig = new();
        for (number, id) in fill(&rig, length, 8).await.into_iter().enumerate() {
            assert_eq!(deliver(&rig, id).await, Ok(()), "{length} octets, message {number}");
        }
        rig.commit(b"served again").await;
        assert_eq!(rig.after_power_loss().ids().len(), 1);
    }
}

/// clean.rs 4: what stays is packed, so that the segments it stood in make room.
#[tokio::test]
async fn a_full_disk_drains_past_what_stays() {
    for length in [1500, 3000] {
        let rig = new();
        let queued = fill(&rig, length, 12).await;
        for (number, id) in queued.iter().enumerate().step_by(2) {
            assert_eq!(deliver(&rig, *id).await, Ok(()), "{length} octets, message {number}");
        }
        let stayed: Vec<QueueId> = queued.into_iter().skip(1).step_by(2).collect();
        assert_eq!(rig.after_power_loss().ids(), stayed);
    }
}

/// start.rs, D4: each start closes the segment before; what that one did not use is room for the next.
#[tokio::test]
async fn a_restart_on_a_full_disk_goes_on_delivering() {
    let large = Options { segment_size: 8 * SEGMENT, ..options() };
    let mut rig = open_with(&SimFs::new(), large.clone()).unwrap();
    let queued = fill(&rig, 1500, 40).await;
    for (number, id) in queued.iter().enumerate() {
        if number % 100 == 3 {
            rig = open_with(&rig.fs.image(1), large.clone()).unwrap();
            assert_eq!(rig.ids(), queued[number..], "after {number}");
        }
        if number == 3 {
            assert_eq!(rig.try_commit(&content(0, 1500), envelope(1)).await.err(), Some(CommitError::Full));
        }
        assert_eq!(deliver(&rig, *id).await, Ok(()), "message {number}");
    }
}

/// writer.rs 4: our own reports end what they are about; were they refused, nothing would drain any more.
#[tokio::test]
async fn a_bounce_is_recorded_on_a_full_disk() {
    let rig = new();
    let queued = fill(&rig, 1500, 8).await;
    let mut ledger = rig.spool.read(queued[0]).unwrap().ledger;
    let draft = rig.draft(b"DSN").await.unwrap();
    rig.spool.commit_bounce(draft, envelope(1), &mut ledger, &[0], now()).await.unwrap();
    assert_eq!(rig.try_commit(b"x", envelope(1)).await.err(), Some(CommitError::Full));
}

/// writer.rs 4, stock.rs 4 and 5: a disk without any room left still records outcomes, drains, and fills again.
#[tokio::test]
async fn a_full_disk_drains_and_serves_again() {
    let rig = new();
    rig.fs.set_capacity(Some(8 * SEGMENT));
    let mut queued = Vec::new();
    let refused = loop {
        match rig.try_commit(&content(queued.len(), 1500), envelope(2)).await {
            Ok(committed) => queued.push(committed.id()),
            Err(error) => break error,
        }
    };
    assert_eq!(refused, CommitError::Full);
    assert!(queued.len() > 60, "{} messages in 8 segments", queued.len());
    // Somebody else takes what is left.
    rig.fs.set_capacity(Some(0));
    for id in &queued {
        let mut ledger = rig.spool.read(*id).unwrap().ledger;
        ledger.sent(0);
        ledger.sent(1);
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
