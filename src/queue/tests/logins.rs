//! A login that is refused is tried seldom: each try counts against the account, and with some providers locks it.

use super::bench::{Bench, Does, MINUTE, captured};
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

/// A wrong password was once tried 21 times in the first second, and again at each reload.
#[tokio::test]
async fn a_wrong_password_is_tried_a_few_times_in_ten_minutes() {
    let (log, _logging) = captured();
    let bench = locked_out().await;
    assert_eq!(bench.relay.connections(), 1);
    bench.pass(SECOND * 10, SECOND).await;
    assert_eq!(bench.relay.connections(), 1, "in ten seconds");
    bench.pass(MINUTE * 10, SECOND * 10).await;
    assert!(bench.relay.connections() <= 4, "{} in ten minutes", bench.relay.connections());
    assert!(log.text().contains("AUTH: PLAIN: the relay said: 535 5.7.8 no"), "{}", log.text());
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

/// Any local user may say ETRN, and would lock the account by it. The pause that stands is a minute, less its spread.
#[tokio::test]
async fn a_client_cannot_have_a_refused_login_tried() {
    let bench = locked_out().await;
    for _ in 0..5 {
        bench.queue.probe_for_client().await;
        bench.pass(SECOND * 5, SECOND * 5).await;
    }
    assert_eq!(bench.relay.connections(), 1);
}

/// Each connection of a burst once logged in by itself, to be refused by itself.
#[tokio::test]
async fn a_password_that_is_changed_at_the_relay_is_refused_once() {
    let bench = Bench::with(|settings| settings.max_connections = 20.try_into().unwrap()).await;
    bench.submit("app@example.org", &["ann@example.net"]).await;
    bench.until_empty().await;
    bench.relay.always(Does::RefusesLogin);
    let before = bench.relay.connections();
    for _ in 0..50 {
        bench.submit("app@example.org", &["ann@example.net"]).await;
    }
    bench.until(|status| status.paused_until.is_some()).await;
    assert_eq!(bench.relay.connections() - before, 1);
}
