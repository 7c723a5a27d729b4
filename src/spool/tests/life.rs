//! The life of one message, state by state.

use super::*;

/// M3, D7, promise 1: committed is there after power loss, to the octet, small or large.
#[tokio::test]
async fn what_is_committed_survives_power_loss() {
    let rig = new();
    for (number, length) in [0, 1, 3999, 4000, 4001, 600_000].into_iter().enumerate() {
        let sent = content(number, length);
        let id = rig.commit(&sent).await.id();
        let back = rig.after_power_loss();
        let stored = back.spool.read(id).unwrap();
        assert_eq!((stored.envelope, stored.arrived), (envelope(2), now()));
        assert_eq!((stored.submitter, stored.content_len), (Submitter::Loopback, length as u64));
        assert_eq!(octets(stored.content), sent, "{length} octets");
        assert_eq!(back.recovery.entries.len(), number + 1);
        assert_eq!(back.spool.len(), number as u64 + 1);
    }
}

#[tokio::test]
async fn an_arrival_is_announced_as_recovery_finds_it() {
    let mut rig = new();
    rig.spool.set_relay_clock(77);
    let id = rig.commit(b"x").await.id();
    let announced = rig.arrivals.recv().await.unwrap();
    let back = rig.after_power_loss();
    assert_eq!(*back.entry(id), announced);
    assert_eq!((announced.patience_mark, back.recovery.relay_clock), (77, 77));
    assert!(back.recovery.unclean && back.recovery.damaged.is_empty());
}

#[tokio::test]
async fn one_submitter_has_one_lane() {
    let mut rig = new();
    let mut other = envelope(1);
    other.reverse_path = ReversePath::Mailbox(address("ANN@example.org"));
    for envelope in [envelope(1), other, Envelope { reverse_path: ReversePath::Null, ..envelope(1) }] {
        rig.try_commit(b"x", envelope).await.unwrap();
    }
    let mut lane = || rig.arrivals.try_recv().unwrap().lane;
    let (first, second, null) = (lane(), lane(), lane());
    assert!(first == second && first != null);
}

/// Over TCP each reverse-path had a turn: a user with many of them took the turns of all others.
#[tokio::test]
async fn a_user_has_one_lane_over_the_socket_and_over_tcp() {
    let mut rig = new();
    for submitter in [Submitter::Uid(1000), Submitter::LoopbackUid(1000), Submitter::LoopbackUid(1001)] {
        rig.spool.commit(rig.spool.draft(now()), envelope(1), submitter, now()).await.unwrap();
    }
    let mut lane = || rig.arrivals.try_recv().unwrap().lane;
    let (over_socket, over_tcp, others) = (lane(), lane(), lane());
    assert!(over_socket == over_tcp && over_tcp != others);
}

/// M1, D7.
#[tokio::test]
async fn a_dropped_draft_leaves_nothing() {
    let rig = new();
    for length in [10, 5_000_000] {
        let draft = rig.draft(&content(0, length)).await.unwrap();
        assert_eq!(draft.len(), length as u64);
        // The same holds if the power goes before it is dropped.
        let back = open(&rig.fs.image(1));
        assert_eq!((back.spool.len(), back.names("large").len()), (0, 0));
    }
    rig.spool.close().await;
    assert_eq!(rig.names("large").len(), 0);
}

/// M4: kill -9 leaves the mark, whatever it does to a mark that was not synced.
#[tokio::test]
async fn a_message_in_flight_is_known_after_kill() {
    let rig = new();
    let [first, second] = [rig.commit(b"a").await.id(), rig.commit(b"b").await.id()];
    rig.spool.mark_in_flight(first).await.unwrap();
    rig.spool.mark_in_flight(second).await.unwrap();
    rig.spool.note_replies(second, &replies("450 4.2.1 after all")).await;
    rig.spool.set_state(first, EntryState::Active).await.unwrap();
    let back = open(&rig.fs.image(1));
    assert!(back.entry(first).marks.has(Mark::InFlight));
    assert!(!back.entry(second).marks.has(Mark::InFlight) && back.entry(second).marks.has(Mark::Deferred));
}

/// recover.rs 2: what was read from the page cache is on the disk before anybody acts on it.
#[tokio::test]
async fn what_recovery_believes_it_makes_durable() {
    let fs = SimFs::new();
    let rig = open(&fs);
    let id = rig.commit(b"a").await.id();
    rig.spool.mark_in_flight(id).await.unwrap();
    assert!(!rig.after_power_loss().entry(id).marks.has(Mark::InFlight), "it was not synced");
    drop(rig);
    let killed = open(&fs);
    assert!(killed.entry(id).marks.has(Mark::InFlight));
    assert!(killed.after_power_loss().entry(id).marks.has(Mark::InFlight));
}

/// M5. Of several recipients only one reason was kept, and shown for all.
#[tokio::test]
async fn what_each_recipient_was_told_last_is_kept() {
    let rig = new();
    let id = rig.commit(b"a").await.id();
    assert_eq!(rig.spool.read(id).unwrap().replies, Replies::default());
    rig.spool.note_replies(id, &replies("450 first")).await;
    let mut told = replies("450 4.2.1 busy");
    told.set(0, "451 4.7.1 greylisted");
    told.set_patience_used(std::time::Duration::from_secs(3600));
    rig.spool.note_replies(id, &told).await;
    rig.commit(b"b").await;
    assert_eq!(rig.spool.read(id).unwrap().replies, told);
    let back = rig.after_power_loss();
    assert_eq!(back.spool.read(id).unwrap().replies, told);
    assert_eq!(back.entry(id).patience_used, 3600, "and so is the patience that it had used");
}

/// M6, M9: a recipient that is dead is not tried again, and keeps the message through a restart.
#[tokio::test]
async fn a_dead_recipient_stays_dead() {
    let rig = new();
    let id = rig.commit(b"a").await.id();
    let mut ledger = rig.spool.read(id).unwrap().ledger;
    ledger.dead(0);
    rig.spool.record(&mut ledger).await.unwrap();
    let back = rig.after_power_loss().spool.read(id).unwrap().ledger;
    assert_eq!((back.fates(), back.settle().is_none()), (&[Fate::Dead, Fate::Open][..], true));
}

/// M6, M10, M12.
#[tokio::test]
async fn outcomes_are_recorded_and_settle_the_message() {
    let rig = new();
    let id = rig.commit(b"a").await.id();
    let mut ledger = rig.spool.read(id).unwrap().ledger;
    ledger.sent(0);
    rig.spool.record(&mut ledger).await.unwrap();
    let before = rig.first_segment();
    rig.spool.record(&mut ledger).await.unwrap();
    assert!(rig.first_segment() == before, "nothing new, nothing written");
    let partly = rig.after_power_loss().spool.read(id).unwrap().ledger;
    assert_eq!(partly.fates(), [Fate::Sent, Fate::Open]);

    ledger.bounced_unreported(1, &envelope(2).recipients[1]).unwrap();
    rig.spool.record(&mut ledger).await.unwrap();
    let all = rig.after_power_loss();
    assert_eq!(all.ids(), [id], "closed is not removed");
    let settled = all.spool.read(id).unwrap().ledger.settle().unwrap();
    all.spool.remove(settled).await.unwrap();
    assert!(matches!(all.spool.read(id), Err(ReadError::Gone)));
    assert_eq!(all.after_power_loss().ids(), []);
}

/// M7, promise 3.
#[tokio::test]
async fn a_bounce_and_what_it_closes_are_one_record() {
    let rig = new();
    let id = rig.commit(b"a").await.id();
    let mut ledger = rig.spool.read(id).unwrap().ledger;
    let draft = rig.draft(b"DSN").await.unwrap();
    let dsn = rig.spool.commit_bounce(draft, envelope(1), &mut ledger, &[0], now()).await.unwrap().id();
    assert_eq!(ledger.fates(), [Fate::Bounced, Fate::Open]);
    let back = rig.after_power_loss();
    assert_eq!(back.ids(), [id, dsn]);
    assert_eq!(back.spool.read(id).unwrap().ledger.fates(), [Fate::Bounced, Fate::Open]);
    assert_eq!(back.entry(dsn).submitter, Submitter::Ourselves);
}

/// M8, M9.
#[tokio::test]
async fn warnings_and_states_are_kept() {
    let rig = new();
    let id = rig.commit(b"a").await.id();
    let draft = rig.draft(b"late").await.unwrap();
    rig.spool.commit_warning(draft, envelope(1), id, now()).await.unwrap();
    for state in [EntryState::Held, EntryState::OnHold, EntryState::Dead, EntryState::Active] {
        rig.spool.set_state(id, state).await.unwrap();
        let back = rig.after_power_loss();
        assert!(back.entry(id).marks.has(Mark::Warned));
        assert_eq!(back.entry(id).marks.state(), state);
    }
}

/// M12, promise 2: what an operator deletes is gone, though nobody was told of it.
#[tokio::test]
async fn what_an_operator_deletes_is_gone() {
    let rig = new();
    let [gone, kept] = [rig.commit(b"a").await.id(), rig.commit(b"b").await.id()];
    rig.spool.set_state(gone, EntryState::OnHold).await.unwrap();
    rig.spool.remove(deletion(gone)).await.unwrap();
    for rig in [rig.after_power_loss(), open(&rig.fs.image(1))] {
        assert_eq!(rig.ids(), [kept]);
    }
}

/// M13: who was given up and could be reported to nobody is asked again; who has the message is not.
#[tokio::test]
async fn dead_recipients_are_open_again_and_the_others_stay_closed() {
    let rig = new();
    let id = rig.commit(b"a").await.id();
    let mut ledger = rig.spool.read(id).unwrap().ledger;
    ledger.sent(0);
    ledger.dead(1);
    rig.spool.record(&mut ledger).await.unwrap();
    rig.spool.set_state(id, EntryState::Dead).await.unwrap();
    rig.spool.reopen(id).await.unwrap();
    for back in [&rig.after_power_loss(), &rig] {
        assert_eq!(back.spool.read(id).unwrap().ledger.fates(), [Fate::Sent, Fate::Open]);
    }
    assert_eq!(rig.after_power_loss().entry(id).marks.state(), EntryState::Held);
}

/// M13: who was dead is so until the bounce is on the spool; from then on the message waits for nothing.
#[tokio::test]
async fn a_bounce_ends_what_was_dead() {
    let rig = new();
    let id = rig.commit(b"a").await.id();
    let mut ledger = rig.spool.read(id).unwrap().ledger;
    ledger.sent(0);
    ledger.dead(1);
    rig.spool.record(&mut ledger).await.unwrap();
    rig.spool.set_state(id, EntryState::Dead).await.unwrap();
    let order = OperatorOrder::permitted(
        id,
        OperatorVerb::Expire,
        Operator { uid: 0, name: None },
        OrderRight::Everything,
    );
    let mut ledger = rig.spool.read(id).unwrap().ledger;
    order.open_dead(&mut ledger);
    assert_eq!(ledger.fates(), [Fate::Sent, Fate::Open]);
    let before = rig.after_power_loss();
    assert_eq!(before.spool.read(id).unwrap().ledger.fates(), [Fate::Sent, Fate::Dead]);
    let draft = rig.draft(b"it failed").await.unwrap();
    rig.spool.commit_bounce(draft, envelope(1), &mut ledger, &[1], now()).await.unwrap();
    for back in [&rig.after_power_loss(), &rig] {
        let stored = back.spool.read(id).unwrap();
        assert_eq!(stored.ledger.fates(), [Fate::Sent, Fate::Bounced]);
        assert!(stored.ledger.settle().is_some());
    }
    assert_eq!(rig.after_power_loss().entry(id).marks.state(), EntryState::Active);
}

#[tokio::test]
async fn changing_what_is_gone_is_no_error_and_writes_nothing() {
    let rig = new();
    let id = rig.commit(b"a").await.id();
    let mut ledger = rig.spool.read(id).unwrap().ledger;
    rig.settle(id).await.unwrap();
    let before = rig.first_segment();
    ledger.sent(0);
    rig.spool.record(&mut ledger).await.unwrap();
    rig.settle(id).await.unwrap();
    rig.spool.set_state(id, EntryState::Held).await.unwrap();
    rig.spool.mark_in_flight(id).await.unwrap();
    assert!(rig.first_segment() == before);
}

/// D7: a large file goes with its message.
#[tokio::test]
async fn a_large_file_goes_with_its_message() {
    let rig = new();
    let id = rig.commit(&content(1, 9000)).await.id();
    let StoredContent::File { file, len } = rig.spool.peek(id).unwrap().content else { panic!("not large") };
    rig.settle(id).await.unwrap();
    rig.spool.close().await;
    assert_eq!(rig.names("large").len(), 0);
    assert_eq!(octets(StoredContent::File { file, len }), content(1, 9000), "a reader is not disturbed");
}

/// Promise 6.
#[tokio::test]
async fn queue_ids_are_never_given_twice() {
    let mut rig = new();
    let mut last = QueueId::from_raw(0);
    for round in 0..6 {
        // The clock stands still, and the messages are gone, with their segments.
        for _ in 0..20 {
            let id = rig.commit(&content(round, 3000)).await.id();
            assert!(id > last, "round {round}");
            last = id;
            rig.settle(id).await.unwrap();
        }
        rig = if round % 2 == 0 { rig.after_power_loss() } else { open(&rig.fs.image(1)) };
    }
}

/// Group commit: all that arrives while one write is under way shares the next.
#[tokio::test]
async fn writers_share_their_syncs() {
    let rig = Arc::new(new());
    let (go_on, wait) = std::sync::mpsc::channel::<()>();
    rig.fs.watch(move |_| {
        // An error means: go on.
        let _ = wait.recv();
    });
    let before = rig.fs.calls();
    let mut writers = tokio::task::JoinSet::new();
    for number in 0..100 {
        let rig = Arc::clone(&rig);
        writers.spawn(async move { rig.commit(&content(number, 10)).await.id() });
    }
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
    drop(go_on);
    assert_eq!(writers.join_all().await.len(), 100);
    let calls = rig.fs.calls() - before;
    // Each batch is a write, a sync, and the two calls that see if the segment has its name.
    assert!(calls <= 8, "{calls} disk calls for 100 messages");
    assert_eq!(rig.after_power_loss().ids().len(), 100);
}

/// The same on a real disk.
#[tokio::test]
async fn the_real_disk_serves_as_well() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { min_free_space: 0, ..Options::at(directory.path().join("spool")) };
    let (announce, _arrivals) = unbounded_channel();
    let open = || Spool::open(options.clone(), Arc::new(fs::RealFs), announce.clone());
    let (spool, recovery) = open().unwrap();
    assert!(!recovery.unclean && spool.is_empty());
    assert!(matches!(open(), Err(OpenError::Locked { .. })));
    for length in [100, 2_000_000] {
        let mut draft = spool.draft(now());
        draft.write(&content(1, length)).await.unwrap();
        spool.commit(draft, envelope(1), Submitter::Uid(0), now()).await.unwrap();
    }
    spool.check_room(1000).unwrap();
    tokio::select! {
        biased;
        () = spool.writer_ended() => panic!("the writer ends by a close"),
        () = spool.stock_ended() => panic!("the stock ends by a close"),
        () = std::future::ready(()) => {}
    }
    spool.close().await;
    spool.writer_ended().await;
    spool.stock_ended().await;
    assert_eq!(
        spool.commit(spool.draft(now()), envelope(1), Submitter::Uid(0), now()).await.err(),
        Some(CommitError::Closed)
    );
    let (spool, recovery) = open().unwrap();
    assert!(!recovery.unclean);
    let lengths = recovery.entries.iter().map(|entry| spool.read(entry.id).unwrap().content_len);
    assert_eq!(lengths.collect::<Vec<_>>(), [100, 2_000_000]);
}
