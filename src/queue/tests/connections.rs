//! How many connections the mail takes.

use super::bench::{Bench, Does, MINUTE};

/// The first message of a connection once opened another beside it, which found nothing to do: a handshake and a
/// login for nothing.
#[tokio::test]
async fn one_message_takes_one_connection() {
    let bench = Bench::new().await;
    bench.submit("app@example.org", &["ann@example.net"]).await;
    bench.until_empty().await;
    assert_eq!(bench.relay.connections(), 1);
}

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
