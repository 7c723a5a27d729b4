//! A login that is refused is tried seldom: each try counts against the account, and with some providers locks it.

use super::bench::{Bench, Does};
use std::time::Duration;

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
