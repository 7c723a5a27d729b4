//! How many connections the mail takes.

use std::num::NonZeroUsize;
use std::time::Duration;

use tokio::sync::oneshot;

use super::bench::{Bench, Does, MINUTE, Pace, captured};
use crate::queue::OwnerInput;

#[tokio::test]
async fn many_messages_take_as_many_as_are_allowed() {
    let bench = Bench::new().await;
    bench.relay.always(Does::Refuses);
    for _ in 0..10 {
        bench.submit("app@example.org", &["ann@example.net"]).await;
    }
    bench.until(|status| status.paused_until.is_some()).await;
    let refused = bench.relay.connections();
    bench.relay.always(Does::Says(vec!["250 2.0.0 ok"]));
    bench.pass(MINUTE, MINUTE).await;
    bench.until_empty().await;
    assert_eq!((bench.relay.seen().len(), bench.relay.connections() - refused), (10, 2));
}

/// What a connection is given that has given up waiting is ready again at once, for another.
#[tokio::test]
async fn a_message_for_a_connection_that_has_given_up_goes_to_another() {
    let bench = Bench::new().await;
    for connection in [1000, 1001] {
        let (answer, given_up) = oneshot::channel();
        bench.queue.send(OwnerInput::Next { connection, wait: true, answer });
        drop(given_up);
    }
    bench.submit("app@example.org", &["ann@example.net"]).await;
    bench.until_empty().await;
    assert_eq!(bench.relay.seen().len(), 1);
}

/// A connection that waits is answered once, with a message or with the end.
#[tokio::test]
async fn a_connection_that_waits_is_given_the_next_message_or_its_end() {
    let bench = Bench::new().await;
    let ask = |connection| {
        let (answer, answered) = oneshot::channel();
        bench.queue.send(OwnerInput::Next { connection, wait: true, answer });
        answered
    };
    let (first, second) = (ask(1000), ask(1001));
    let id = bench.submit("app@example.org", &["ann@example.net"]).await;
    assert_eq!(first.await.unwrap().unwrap().id, id);
    bench.queue.stop(Duration::ZERO);
    assert!(second.await.unwrap().is_none());
}

/// The set-up of a connection was counted twice, as waiting and as connecting, and the wait on it behind another
/// message's final dot not at all.
#[tokio::test]
async fn where_the_time_went_adds_up_to_all_of_it() {
    let (log, _logging) = captured();
    let bench = Bench::with(|settings| settings.max_connections = NonZeroUsize::MIN).await;
    // Both are there before anything takes its time; the first comes to its second attempt 94.25 s after that.
    bench.relay.once(Does::Refuses);
    for to in ["ann@example.net", "ben@example.net"] {
        bench.submit("app@example.org", &[to]).await;
        bench.until_paused().await;
    }
    let [connecting, behind, transmitting] = [2_000, 3_000, 1_500].map(Duration::from_millis);
    bench.relay.takes(Pace { connecting, behind, transmitting });
    bench.relay.once(Does::Says(vec!["450 4.2.1 busy"]));
    bench.queue.probe_now();
    bench.until(|status| status.deferred == 1).await;
    bench.clock.advance(Duration::from_millis(83_250));
    bench.until_empty().await;
    let log = log.text();
    let told = log.lines().filter_map(|line| Some(line.split_once("delay=")?.1.split_once(", tls")?.0));
    let told: Vec<&str> = told.collect();
    let expected = ["6.5, delays=0/3/2/1.5", "11, delays=0/9.5/0/1.5", "101, delays=94/3/2/1.5"];
    assert_eq!(told, expected, "{log}");
}
