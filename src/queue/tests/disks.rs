//! A disk that fails, or is full: what cannot be recorded is not sent, and goes on as soon as it can be.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Barrier;
use tokio::time::timeout;

use super::bench::{Bench, Does, HOUR, MINUTE};
use crate::queue::testing::{captured, envelope};
use crate::spool::fs::sim::{DiskFault, SimFs};

/// Each message was once shown to the relay without its dot, as often as its age asked for, and waited as long when
/// the spool recorded again.
#[tokio::test]
async fn while_deliveries_cannot_be_recorded_nothing_is_sent() {
    for refusal in [ErrorKind::StorageFull, ErrorKind::ReadOnlyFilesystem] {
        let fs = SimFs::new();
        let (log, _logging) = captured();
        let bench = Bench::simulated(&fs);
        bench.relay.always(Does::Refuses);
        for _ in 0..10 {
            bench.submit("app@example.org", &["ann@example.net"]).await;
        }
        bench.until(|status| status.foremost().paused_until.is_some()).await;
        fs.refuse_changes(Some(refusal));
        bench.relay.always(Does::Says(vec!["250 2.0.0 ok"]));
        bench.pass(MINUTE, MINUTE).await;
        let shown = bench.relay.seen().len();
        assert!((1..=2).contains(&shown), "one a connection, without its dot: {shown}");
        bench.pass(HOUR * 2, MINUTE).await;
        let status = bench.queue.status().await.unwrap();
        assert_eq!((bench.relay.seen().len(), status.live, status.deferred), (shown, 10, 0));

        fs.refuse_changes(None);
        bench.pass_until_settled().await;
        assert_eq!(bench.relay.seen().len(), shown + 10);
        let log = log.text();
        let lines = |words| log.lines().filter(|line| line.contains(words)).count();
        assert_eq!(lines("nothing is sent: deliveries cannot be recorded"), 1, "{log}");
        assert_eq!(lines("deliveries can be recorded again; 10 in the queue"), 1, "{log}");
        assert_eq!((lines("possible duplicate"), lines("status=sent")), (0, 10), "{log}");
    }
}

/// Nothing is sent before the spool was asked with success. A panic in what asks it was not noticed, and mail stayed in the
/// queue until a restart.
#[tokio::test]
async fn a_spool_that_does_not_record_is_asked_again_after_a_panic() {
    let fs = SimFs::new();
    let (log, _logging) = captured();
    let bench = Bench::simulated(&fs);
    bench.relay.always(Does::Refuses);
    bench.submit("app@example.org", &["ann@example.net"]).await;
    bench.until(|status| status.foremost().paused_until.is_some()).await;
    fs.refuse_changes(Some(ErrorKind::StorageFull));
    bench.relay.always(Does::Says(vec!["250 2.0.0 ok"]));
    // The second pause between two questions (`recording.rs`); those of the relay are jittered.
    bench.clock.panic_at(Duration::from_secs(2));
    let panics = async {
        while !bench.clock.has_panicked() {
            bench.clock.advance(MINUTE);
            bench.queue.status().await.expect("the owner of the queue goes on");
        }
    };
    timeout(MINUTE, panics).await.unwrap();
    fs.refuse_changes(None);
    bench.pass_until_settled().await;
    for words in ["nothing is sent: deliveries cannot be recorded", "deliveries can be recorded again"] {
        assert_eq!(log.text().matches(words).count(), 1, "{words}");
    }
}

/// The same where the relay has taken the message already: once its end was tried up to a minute late.
#[tokio::test]
async fn what_the_relay_took_is_recorded_as_soon_as_it_can_be() {
    let (fs, release) = (SimFs::new(), Arc::new(Barrier::new(2)));
    let (log, _logging) = captured();
    let bench = Bench::simulated(&fs);
    bench.relay.once(Does::Holds(release.clone()));
    bench.submit("app@example.org", &["ann@example.net"]).await;
    release.wait().await;
    fs.refuse_changes(Some(ErrorKind::StorageFull));
    release.wait().await;
    let stops = async {
        while !log.text().contains("nothing is sent") {
            tokio::task::yield_now().await;
        }
    };
    timeout(MINUTE, stops).await.unwrap();
    for _ in 0..100 {
        bench.clock.advance(MINUTE);
        bench.queue.status().await;
    }
    assert_eq!(bench.spool.relay_clock(), 0, "patience is not used up");
    fs.refuse_changes(None);
    bench.pass_until_settled().await;
    assert_eq!(bench.relay.seen().len(), 1);
    for words in ["outcome not recorded", "nothing is sent", "can be recorded again"] {
        assert_eq!(log.text().matches(words).count(), 1, "{words}");
    }
}

/// A bounce that was refused for want of room once held up everything else, which would have made room.
#[tokio::test]
async fn a_full_disk_drains_with_a_bounce_among_the_mail() {
    let fs = SimFs::new();
    let bench = Bench::simulated(&fs);
    bench.relay.always(Does::Refuses);
    bench.submit("app@example.org", &["nobody@example.net"]).await;
    fs.set_capacity(Some(5 << 20));
    let content = [b"Subject: long\r\n\r\n", &[b'x'; 20_000][..], b"\r\n"].concat();
    let mut queued = 1;
    while bench.try_submit(envelope("app@example.org", &["ann@example.net"]), &content).await.is_ok() {
        queued += 1;
    }
    fs.set_capacity(Some(fs.used()));
    bench.until(|status| status.foremost().paused_until.is_some()).await;
    bench.relay.once(Does::Says(vec!["550 5.1.1 no such user"]));
    bench.relay.always(Does::Says(vec!["250 2.0.0 ok"]));
    bench.pass(HOUR, MINUTE * 10).await;
    bench.until_empty().await;
    assert_eq!(bench.relay.seen().len(), queued + 1, "each once, and the DSN");
}

/// A message that could not be read because the disk failed was said to be "set aside", and was sent an hour later.
#[tokio::test]
async fn a_message_that_cannot_be_read_now_is_tried_again_and_said_to_be() {
    let fs = SimFs::new();
    let (log, _logging) = captured();
    let bench = Bench::simulated(&fs);
    bench.relay.once(Does::Refuses);
    let id = bench.submit("app@example.org", &["ann@example.net"]).await;
    bench.until(|status| status.foremost().paused_until.is_some()).await;
    fs.set_fault(Some(DiskFault { call: 0, error: ErrorKind::Other, for_ever: true }));
    bench.queue.probe_now();
    bench.until(|status| status.deferred == 1).await;
    fs.set_fault(None);
    let said =
        format!("{id}: cannot be read from the spool: cannot read the message: other error; will try again");
    assert!(log.text().contains(&said) && !log.text().contains("set aside"), "{}", log.text());
    bench.pass_until_settled().await;
    assert_eq!(bench.relay.seen().len(), 1);
}
