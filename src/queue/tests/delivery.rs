//! A message from its arrival to its end, over a restart, a stop, and a panic of a task.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Barrier;

use super::bench::{Bench, Does, HOUR, MINUTE};
use crate::envelope::Address;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_message_is_sent_at_once_and_leaves_the_spool() {
    let bench = Bench::new().await;
    bench.submit("app@example.org", &["ann@example.net"]).await;
    bench.until(|status| status.live == 0).await;
    let seen = bench.relay.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!((seen[0].from.as_str(), seen[0].at), ("app@example.org", 0));
    assert_eq!(seen[0].content, "Subject: hello\r\n\r\nhello\r\n");
    assert_eq!(bench.spool.len(), 0);
}

/// The From of a DSN was made up here: a relay that takes verified senders only refused it.
#[tokio::test]
async fn a_failure_is_reported_to_the_reverse_path_before_the_original_goes() {
    let author = Address::parse("noreply@verified.example").unwrap();
    let bench = Bench::with(|settings| settings.dsn_author = author).await;
    bench.relay.once(Does::Says(vec!["550 5.1.1 no such user"]));
    let id = bench.submit("app@example.org", &["nobody@example.net"]).await;
    bench.until_empty().await;
    let seen = bench.relay.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!((seen[1].from.as_str(), seen[1].to.as_slice()), ("", &["app@example.org".to_owned()][..]));
    let from = "From: noreply@verified.example (Mail Delivery System)\r\n";
    for part in [from, "Status: 5.1.1", "550 5.1.1 no such user", "nobody@example.net", &id.to_string()] {
        assert!(seen[1].content.contains(part), "{part} in {}", seen[1].content);
    }
}

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
async fn stopping_waits_for_the_reply_to_a_final_dot_and_gives_out_nothing_new() {
    let bench = Bench::with(|settings| settings.max_connections = NonZeroUsize::MIN).await;
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

#[tokio::test]
async fn a_connection_that_panics_loses_nothing() {
    let bench = Bench::with(|settings| settings.max_connections = NonZeroUsize::MIN).await;
    bench.relay.once(Does::Panics);
    bench.submit("app@example.org", &["ann@example.net"]).await;
    bench.until(|status| status.live == 1 && status.deferred == 1).await;
    bench.clock.advance(MINUTE);
    bench.until_empty().await;
    assert_eq!(bench.relay.seen().len(), 2);
}

/// A panic in what looks at the secret was not noticed: a corrected password was used at the next probe, up to half an hour
/// later.
#[tokio::test]
async fn another_secret_is_noticed_after_a_panic_in_what_looks_at_it() {
    let bench = Bench::new().await;
    bench.relay.always(Does::RefusesLogin);
    bench.submit("app@example.org", &["ann@example.net"]).await;
    bench.until(|status| status.paused_until.is_some()).await;
    // The pause between two looks at the secret (`owner/secret_watch.rs`); those of the relay are jittered.
    bench.clock.panic_at(SECOND * 5);
    while !bench.clock.has_panicked() {
        bench.clock.advance(SECOND);
        bench.queue.status().await.expect("the owner of the queue goes on");
    }
    let before = bench.relay.connections();
    bench.relay.change_secret();
    let mut passed = Duration::ZERO;
    while bench.relay.connections() == before {
        bench.pass(SECOND, SECOND).await;
        passed += SECOND;
        assert!(passed < SECOND * 20, "the pause for a refused login is longer");
    }
}
