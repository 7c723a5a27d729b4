//! A message from its arrival to its end, over a restart, a stop, a reload, and a panic of a task.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Barrier, oneshot};

use super::bench::{Bench, Does, HOUR, MINUTE};
use crate::envelope::Address;
use crate::queue::OwnerInput;

const SECOND: Duration = Duration::from_secs(1);

/// A message for a connection that has given up waiting is ready again at once, for another.
#[tokio::test]
async fn a_message_is_sent_at_once_and_leaves_the_spool() {
    for given_up in [0, 2] {
        let bench = Bench::new().await;
        for connection in 1000..1000 + given_up {
            let (answer, _) = oneshot::channel();
            bench.queue.send(OwnerInput::Next { connection, wait: true, answer });
        }
        bench.submit("app@example.org", &["ann@example.net"]).await;
        bench.until_empty().await;
        let seen = bench.relay.seen();
        assert_eq!(seen.len(), 1);
        assert_eq!((seen[0].from.as_str(), seen[0].at), ("app@example.org", 0));
        assert_eq!(seen[0].content, "Subject: hello\r\n\r\nhello\r\n");
    }
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
    bench.until(|status| status.live == 10 && status.foremost().paused_until.is_some()).await;
    bench.relay.always(Does::Says(vec!["250 2.0.0 ok"]));
    bench.queue.probe_now();
    bench.until_empty().await;
    let mut seen: Vec<_> = bench.relay.seen().iter().map(|seen| seen.id).collect();
    seen.sort_unstable();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn stopping_waits_for_the_reply_to_a_final_dot_and_gives_out_nothing_new() {
    let bench = Bench::with(|settings| settings.relays[0].max_connections = NonZeroUsize::MIN).await;
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
    let bench = Bench::with(|settings| settings.relays[0].max_connections = NonZeroUsize::MIN).await;
    bench.relay.once(Does::Panics);
    bench.submit("app@example.org", &["ann@example.net"]).await;
    bench.until(|status| status.live == 1 && status.deferred == 1).await;
    bench.clock.advance(MINUTE);
    bench.until_empty().await;
    assert_eq!(bench.relay.seen().len(), 2);
}

#[tokio::test]
async fn what_one_transaction_came_to_is_recorded_before_the_next() {
    let bench = Bench::with(|settings| settings.relays[0].max_connections = NonZeroUsize::MIN).await;
    bench.relay.always(Does::Refuses);
    bench.relay.once(Does::Says(vec!["250 2.0.0 ok"]));
    bench.relay.once(Does::Panics);
    let to: Vec<String> = (0..120).map(|number| format!("user{number}@example.net")).collect();
    bench.submit("app@example.org", &to.iter().map(String::as_str).collect::<Vec<_>>()).await;
    bench.until_told(|status| status.foremost().paused_until.is_some()).await;
    let bench = bench.restart().await;
    bench.relay.always(Does::Says(vec!["250 2.0.0 ok"]));
    bench.pass(MINUTE, MINUTE / 4).await;
    bench.until_empty().await;
    let seen = bench.relay.seen();
    assert!(seen.iter().all(|part| part.content == seen[0].content), "each part has all of the content");
    let asked: Vec<&String> = seen.iter().flat_map(|seen| &seen.to).collect();
    let times = |to: &String| asked.iter().filter(|other| **other == to).count();
    let (lost, others): (Vec<_>, Vec<_>) = to.iter().enumerate().partition(|(at, _)| (50..100).contains(at));
    assert!(lost.into_iter().all(|(_, to)| times(to) == 2), "those of the transaction that was lost");
    assert!(others.into_iter().all(|(_, to)| times(to) == 1), "and only those");
}

#[tokio::test]
async fn a_reload_gives_the_new_settings_to_what_is_queued_already() {
    let mut bench = Bench::new().await;
    bench.relay.always(Does::Says(vec!["550 5.7.1 <>: null sender not allowed"]));
    bench.submit("", &["ann@example.net"]).await;
    bench.until(|status| status.held == 1).await;
    bench.relay.once(Does::Says(vec!["550 5.1.1 no such user"]));
    bench.relay.always(Does::Says(vec!["250 2.0.0 ok"]));
    bench.reload_with(|settings| {
        settings.null_sender = Address::parse("bounces@example.org").ok();
        settings.overseers.postmaster = Address::parse("ops@example.org").ok();
    });
    bench.until_empty().await;
    let seen = bench.relay.seen();
    let ways: Vec<(&str, String)> = seen.iter().map(|seen| (seen.from.as_str(), seen.to.join(" "))).collect();
    let [ann, ops] = ["ann@example.net", "ops@example.org"].map(str::to_owned);
    let expected = [("", ann.clone()), ("bounces@example.org", ann), ("bounces@example.org", ops)];
    assert_eq!(ways, expected);
}

/// A panic in what looks at the secret was not noticed: a corrected password was used at the next probe, up to half an hour
/// later.
#[tokio::test]
async fn another_secret_is_noticed_after_a_panic_in_what_looks_at_it() {
    let bench = Bench::new().await;
    bench.relay.always(Does::RefusesLogin);
    bench.submit("app@example.org", &["ann@example.net"]).await;
    bench.until(|status| status.foremost().paused_until.is_some()).await;
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
