//! A relay that defers one message in the words it has for its pace.

use super::bench::{Bench, Does, HOUR, MINUTE};

#[tokio::test]
async fn a_message_that_is_deferred_for_itself_waits_by_its_age_and_slows_nobody() {
    let bench = Bench::new().await;
    bench.relay.always_with_next(Does::Says(vec!["451 4.3.0 cannot take this one"]));
    let own = bench.submit("app@example.org", &["ann@example.net"]).await;
    bench.until(|status| status.deferred == 1).await;
    for _ in 0..50 {
        bench.submit("app@example.org", &["ben@example.net"]).await;
    }
    bench.until(|status| status.live <= 1).await;
    bench.pass(HOUR, MINUTE).await;
    let tries = bench.relay.times_seen(own);
    assert!((1..=8).contains(&tries), "{tries} tries in an hour");
}
