//! A login that is refused is tried seldom: each try counts against the account, and with some providers locks it.

use std::time::Duration;

use super::bench::{Bench, Does};

const SECOND: Duration = Duration::from_secs(1);

/// A queue of a hundred messages whose relay has just refused the login.
async fn locked_out() -> Bench {
    let bench = Bench::with(|settings| settings.max_connections = 20.try_into().unwrap()).await;
    bench.relay.always(Does::RefusesLogin);
    for _ in 0..100 {
        bench.submit("app@example.org", &["ann@example.net"]).await;
    }
    bench.until(|status| status.live == 100 && status.paused_until.is_some()).await;
    bench
}

#[tokio::test]
async fn a_reload_a_flush_and_another_secret_each_cost_one_try() {
    let bench = locked_out().await;
    let tried = async |connections| bench.until(|_| bench.relay.connections() == connections).await;
    bench.reload();
    tried(2).await;
    bench.queue.probe_now();
    tried(3).await;
    bench.until_paused().await;
    bench.relay.change_secret();
    // The watch began when the login was refused; it has the old secret once it has been polled.
    bench.pass(SECOND * 6, SECOND * 6).await;
    bench.relay.change_secret();
    bench.pass(SECOND * 6, SECOND * 6).await;
    assert!((4..=5).contains(&bench.relay.connections()), "{}", bench.relay.connections());
    bench.relay.always(Does::Says(vec!["250 2.0.0 ok"]));
    bench.relay.change_secret();
    bench.pass(SECOND * 12, SECOND * 6).await;
    bench.until_empty().await;
}

/// A panic in what looks at the secret was not noticed: a corrected password was used at the next probe, up to half an hour
/// later.
#[tokio::test]
async fn another_secret_is_noticed_after_a_panic_in_what_looks_at_it() {
    let bench = locked_out().await;
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
