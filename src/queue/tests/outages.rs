//! Relay trouble is not the message's fault (README promise 4).

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use tokio::sync::Barrier;
use tokio::time::timeout;

use super::bench::{Bench, DAY, Does, HOUR, MINUTE, captured, envelope};
use crate::spool::fs::sim::{DiskFault, SimFs};

#[tokio::test]
async fn an_outage_uses_up_no_patience() {
    let bench = Bench::new().await;
    bench.relay.always(Does::Refuses);
    bench.submit("app@example.org", &["ann@example.net"]).await;
    bench.until(|status| status.paused_until.is_some()).await;
    bench.pass(DAY * 7, MINUTE * 30).await;
    let bench = bench.restart().await;
    bench.until(|status| status.paused_until.is_some()).await;
    bench.relay.once(Does::Says(vec!["450 4.7.1 greylisted"]));
    bench.relay.always(Does::Says(vec!["250 2.0.0 ok"]));
    bench.queue.probe_now();
    bench.until(|status| status.deferred == 1).await;
    bench.pass(HOUR * 2, MINUTE * 10).await;
    bench.until_empty().await;
    assert!(bench.relay.seen().iter().all(|seen| seen.from == "app@example.org"), "no bounce");
}

#[tokio::test]
async fn a_connection_that_panics_loses_nothing() {
    let bench = Bench::with(|settings| settings.max_connections = std::num::NonZeroUsize::MIN).await;
    bench.relay.once(Does::Panics);
    bench.submit("app@example.org", &["ann@example.net"]).await;
    bench.until(|status| status.live == 1 && status.deferred == 1).await;
    bench.clock.advance(MINUTE);
    bench.until_empty().await;
    assert_eq!(bench.relay.seen().len(), 2);
}

#[tokio::test]
async fn a_relay_that_goes_away_before_the_content_defers_no_message_for_long() {
    let bench = Bench::with(|settings| settings.max_connections = std::num::NonZeroUsize::MIN).await;
    bench.relay.always(Does::Leaves);
    for _ in 0..3 {
        bench.submit("app@example.org", &["ann@example.net"]).await;
    }
    bench.until(|status| status.live == 3 && status.paused_until.is_some()).await;
    bench.pass(HOUR, MINUTE * 10).await;
    bench.relay.always(Does::Says(vec!["250 2.0.0 ok"]));
    bench.pass(MINUTE * 10, MINUTE).await;
    bench.until_empty().await;
}

#[tokio::test]
async fn a_clock_set_forward_uses_up_no_patience() {
    let bench = Bench::new().await;
    bench.relay.always(Does::Says(vec!["450 4.2.1 busy"]));
    bench.submit("app@example.org", &["ann@example.net"]).await;
    bench.until(|status| status.deferred == 1).await;
    bench.clock.step(SignedDuration::from_hours(24 * 30));
    bench.pass(HOUR * 3, MINUTE * 10).await;
    assert!(bench.relay.seen().len() > 2);
    assert!(bench.relay.seen().iter().all(|seen| seen.from == "app@example.org"), "no bounce");
}

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
        bench.until(|status| status.paused_until.is_some()).await;
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

#[tokio::test]
async fn a_message_that_could_not_be_marked_time_and_again_keeps_its_turn() {
    let fs = SimFs::new();
    let (log, _logging) = captured();
    let bench = Bench::simulated(&fs);
    let logged_times = async |words, times| {
        while log.text().matches(words).count() < times {
            bench.clock.advance(MINUTE);
            bench.queue.status().await;
        }
    };
    bench.relay.always(Does::Refuses);
    bench.submit("app@example.org", &["ann@example.net"]).await;
    for outage in 1..=3 {
        bench.until(|status| status.paused_until.is_some()).await;
        fs.refuse_changes(Some(ErrorKind::StorageFull));
        bench.relay.always(Does::Says(vec!["250 2.0.0 ok"]));
        timeout(MINUTE, logged_times("nothing is sent", outage)).await.unwrap();
        bench.relay.always(Does::Refuses);
        fs.refuse_changes(None);
        timeout(MINUTE, logged_times("can be recorded again", outage)).await.unwrap();
    }
    bench.until(|status| status.deferred == 0).await;
    assert_eq!(bench.relay.seen().len(), 3);
    bench.relay.always(Does::Says(vec!["250 2.0.0 ok"]));
    bench.pass_until_settled().await;
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
    bench.until(|status| status.paused_until.is_some()).await;
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
    bench.until(|status| status.paused_until.is_some()).await;
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
    bench.until(|status| status.paused_until.is_some()).await;
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

/// A clock that jumped forward made a warning of a delay of 56 years, of a message that was a minute old.
#[tokio::test]
async fn a_clock_set_forward_warns_of_no_delay() {
    let bench = Bench::with(|settings| settings.retry.delay_warning = Some(HOUR * 4)).await;
    bench.relay.always(Does::Says(vec!["450 4.2.1 busy"]));
    bench.submit("app@example.org", &["ann@example.net"]).await;
    bench.until(|status| status.deferred == 1).await;
    bench.clock.step(SignedDuration::from_hours(24 * 365 * 56));
    bench.pass(HOUR * 3, MINUTE * 10).await;
    let warnings = || bench.relay.seen().iter().filter(|seen| seen.from.is_empty()).count();
    assert_eq!(warnings(), 0, "it has waited for three hours");
    bench.pass(HOUR * 3, MINUTE * 10).await;
    assert!(warnings() > 0, "it is late all the same");
}
