//! Nothing but the spool survives a restart, and nothing else is needed.

use std::sync::Arc;

use tokio::sync::Barrier;

use super::bench::{Bench, Does, HOUR, MINUTE, captured};

#[tokio::test]
async fn a_restart_picks_everything_up() {
    let bench = Bench::new().await;
    bench.relay.always(Does::Refuses);
    let mut expected = Vec::new();
    for number in 0..10 {
        expected.push(bench.submit("app@example.org", &[&format!("r{number}@example.net")]).await);
    }
    bench.until(|status| status.live == 10).await;
    let bench = bench.restart().await;
    bench.until(|status| status.live == 10 && status.paused_until.is_some()).await;
    bench.relay.always(Does::Says(vec!["250 2.0.0 ok"]));
    bench.queue.probe_now();
    bench.until_empty().await;
    let mut seen: Vec<_> = bench.relay.seen().iter().map(|seen| seen.id).collect();
    seen.sort_unstable();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn outcomes_of_single_recipients_survive() {
    let bench = Bench::new().await;
    bench.relay.once(Does::Says(vec!["250 2.0.0 ok", "450 4.2.1 busy"]));
    bench.submit("app@example.org", &["ann@example.net", "ben@example.net"]).await;
    bench.until(|status| status.deferred == 1).await;
    let bench = bench.restart().await;
    bench.until_empty().await;
    assert_eq!(bench.relay.seen()[1].to, ["ben@example.net"]);
}

#[tokio::test]
async fn the_reason_of_a_deferral_survives() {
    let bench = Bench::new().await;
    bench.relay.always(Does::Says(vec!["450 4.2.1 busy"]));
    let id = bench.submit("app@example.org", &["ann@example.net"]).await;
    bench.until(|status| status.deferred == 1).await;
    bench.relay.always(Does::Refuses);
    let bench = bench.restart().await;
    assert_eq!(bench.spool.read(id).unwrap().replies.of(0), Some("450 4.2.1 busy"));
}

#[tokio::test]
async fn stopping_waits_for_the_reply_to_a_final_dot_and_gives_out_nothing_new() {
    let bench = Bench::with(|settings| settings.max_connections = std::num::NonZeroUsize::MIN).await;
    let release = Arc::new(Barrier::new(2));
    bench.relay.once(Does::Holds(release.clone()));
    bench.submit("app@example.org", &["ann@example.net"]).await;
    bench.submit("app@example.org", &["ben@example.net"]).await;
    release.wait().await;
    bench.queue.stop(HOUR);
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert!(!bench.has_stopped(), "the reply is awaited");
    release.wait().await;
    while !bench.has_stopped() {
        tokio::task::yield_now().await;
    }
    assert_eq!((bench.spool.len(), bench.relay.seen().len()), (1, 1), "one recorded, one not begun");
}

/// That a message may have been sent by the run before was once said at each attempt that the relay's trouble cut short.
#[tokio::test]
async fn what_a_run_before_may_have_sent_is_said_once() {
    let (log, _logging) = captured();
    let bench = Bench::new().await;
    bench.relay.always(Does::Refuses);
    let id = bench.submit("app@example.org", &["ann@example.net"]).await;
    bench.until(|status| status.paused_until.is_some()).await;
    bench.spool.mark_in_flight(id).await.unwrap();
    let bench = bench.restart().await;
    bench.relay.always(Does::Leaves);
    bench.pass(HOUR, MINUTE).await;
    bench.relay.always(Does::Says(vec!["250 2.0.0 ok"]));
    bench.pass(HOUR, MINUTE).await;
    bench.until_empty().await;
    assert!(bench.relay.connections() > 5);
    assert_eq!(log.text().matches("an earlier attempt was past its content").count(), 1, "{}", log.text());
}
