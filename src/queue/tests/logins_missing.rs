//! A relay that asks for a login where none is configured.

use std::num::NonZeroUsize;
use std::time::Duration;

use fastrand::Rng;

use super::bench::{Bench, DAY, Does, MINUTE, captured};
use crate::config::OnRefusal;
use crate::relay::{Cause, Phase};
use crate::smtp::reply::Reply;

const DENIED: &str = "550 5.7.1 <ann@example.net>: Relay access denied";
const SECOND: Duration = Duration::from_secs(1);

/// A bench without a login, whose relay has taken a message once.
async fn bench(connections: usize) -> Bench {
    let bench = Bench::with(|settings| {
        settings.refusals.has_login = false;
        settings.max_connections = NonZeroUsize::new(connections).unwrap();
    })
    .await;
    bench.submit("app@example.org", &["first@example.net"]).await;
    bench.until_empty().await;
    bench
}

async fn submit(bench: &Bench, to: &str) {
    bench.submit("app@example.org", &[to]).await;
}

/// A relay took mail from this address until its list changed, and asked for a login from then on: nineteen messages
/// bounced before it was paused, without a word about `[auth]`.
#[tokio::test]
async fn a_relay_that_has_taken_mail_once_and_then_asks_for_a_login_bounces_nothing() {
    for said in [DENIED, "550 5.7.1 Client was not authenticated", "554 5.7.0 Authentication required"] {
        let (log, _guard) = captured();
        let mut bench = bench(2).await;
        bench.relay.always(Does::SaysAtRcpt(vec![said]));
        for _ in 0..30 {
            submit(&bench, "ann@example.net").await;
        }
        let status = bench.until(|status| status.paused_until.is_some()).await;
        assert!(status.trouble.unwrap().contains("set [auth] (username, password-file)"), "{said}");
        bench.pass(DAY * 7, MINUTE * 30).await;
        assert_eq!(bench.until(|_| true).await.live, 30, "{said}");
        for end in ["status=bounced (", "status=expired ("] {
            assert!(!log.text().contains(end), "{said}: {}", log.text());
        }
        assert_eq!(log.text().matches("WARN nullmta::log: relay paused: ").count(), 1, "{said}");
        let tries = bench.relay.seen().len();
        assert!(tries < 3000, "{tries}: one message a probe");

        bench.relay.always(Does::Says(vec!["250 2.0.0 ok"]));
        bench.reload_with(|settings| settings.refusals.has_login = true);
        bench.until_empty().await;
    }
}

/// One message at which the relay says `relaying denied` must not stop the others.
#[tokio::test]
async fn one_odd_recipient_has_its_own_end_and_the_others_go_on() {
    for connections in [1, 2, 20] {
        let (log, _guard) = captured();
        let bench = bench(connections).await;
        bench.relay.always(Does::RefusesOdd(DENIED));
        submit(&bench, "odd@example.net").await;
        for _ in 0..30 {
            submit(&bench, "ann@example.net").await;
        }
        bench.pass(SECOND * 5, SECOND).await;
        let left = bench.until(|_| true).await.live;
        assert!(left <= 1, "{connections}: {left}");
        // The others may all have gone over a connection that was there before.
        submit(&bench, "ann@example.net").await;
        bench.until_empty().await;
        let bounced = log.text().matches("status=bounced (550 5.7.1 ").count();
        assert_eq!(bounced, 1, "{connections}: {}", log.text());
    }
}

#[tokio::test]
async fn a_recipient_refused_beside_one_that_was_taken_bounces_at_once() {
    let (log, _guard) = captured();
    let bench = bench(2).await;
    bench.relay.always(Does::RefusesOdd(DENIED));
    bench.submit("app@example.org", &["odd@example.net", "ann@example.net"]).await;
    bench.until_empty().await;
    assert!(!log.text().contains("relay paused"), "{}", log.text());
    let last = bench.relay.seen().pop().unwrap();
    assert_eq!((last.from.as_str(), last.to), ("", vec!["app@example.org".to_owned()]), "it bounced");
}

/// Each odd recipient would have cost a pause and a warning.
#[tokio::test]
async fn from_the_second_odd_recipient_on_one_alone_pauses_nobody() {
    let (log, _guard) = captured();
    let bench = bench(1).await;
    bench.relay.always(Does::RefusesOdd(DENIED));
    for number in 0..10 {
        submit(&bench, &format!("odd{number}@example.net")).await;
        bench.until(|status| status.live == 1).await;
        submit(&bench, "ann@example.net").await;
        if number == 0 {
            bench.pass(SECOND * 5, SECOND).await;
        }
        bench.until_empty().await;
    }
    assert_eq!(log.text().matches("relay paused: ").count(), 1, "{}", log.text());
    assert_eq!(log.text().matches("status=bounced (550 5.7.1 ").count(), 10);
}

#[tokio::test]
async fn what_is_refused_so_for_itself_is_held_where_refusals_hold() {
    let bench = Bench::with(|settings| {
        settings.refusals.has_login = false;
        settings.refusals.on_refusal = Some(OnRefusal::Hold);
    })
    .await;
    bench.relay.always(Does::RefusesOdd(DENIED));
    submit(&bench, "odd@example.net").await;
    bench.until(|status| status.paused_until.is_some() && status.held == 0).await;
    bench.pass(SECOND * 3, SECOND).await;
    submit(&bench, "ann@example.net").await;
    bench.until(|status| status.live == 1 && status.held == 1).await;
    let bench = bench.restart().await;
    bench.until(|status| status.held == 1 && status.paused_until.is_none()).await;
}

/// 530 ends the dialogue. The one message of a first day was deferred, and nothing said what to do.
#[tokio::test]
async fn a_530_pauses_the_relay_and_says_what_to_set() {
    let bench = Bench::with(|settings| settings.refusals.has_login = false).await;
    let cause = Cause::Reply(Reply::bare(530, "Authentication required"));
    bench.relay.always(Does::Breaks(Phase::Mail, cause));
    submit(&bench, "ann@example.net").await;
    let status = bench.until(|status| status.paused_until.is_some()).await;
    assert!(status.trouble.unwrap().contains("set [auth]"));
    bench.pass(DAY * 7, MINUTE * 30).await;
    bench.until(|status| status.live == 1 && status.paused_until.is_some()).await;
    bench.relay.always(Does::Says(vec!["250 2.0.0 ok"]));
    bench.reload();
    bench.until_empty().await;
}

/// Whatever comes in whatever order: no good message bounces, nothing is lost, and every odd one has its own end once
/// the relay takes others.
#[tokio::test]
async fn in_any_history_only_the_odd_ones_bounce() {
    for seed in 0..24 {
        let (log, _guard) = captured();
        let mut dice = Rng::with_seed(seed);
        let bench = bench(dice.usize(1..5)).await;
        let (mut asks_for_login, mut odd, mut good) = (false, 0, 0);
        bench.relay.always(Does::RefusesOdd(DENIED));
        for _ in 0..40 {
            match dice.u32(0..8) {
                0 => {
                    asks_for_login = !asks_for_login;
                    bench.relay.always(if asks_for_login {
                        Does::SaysAtRcpt(vec![DENIED])
                    } else {
                        Does::RefusesOdd(DENIED)
                    });
                }
                1..4 => {
                    submit(&bench, &format!("good{good}@example.net")).await;
                    good += 1;
                }
                4 => {
                    submit(&bench, &format!("odd{odd}@example.net")).await;
                    odd += 1;
                }
                5 => bench.queue.probe_now(),
                _ => bench.clock.advance(Duration::from_secs(dice.u64(1..400))),
            }
            // What the relay has begun it ends before it is another.
            bench.until(|_| true).await;
        }
        bench.relay.always(Does::RefusesOdd(DENIED));
        for _ in 0..4 {
            submit(&bench, &format!("good{good}@example.net")).await;
            good += 1;
            bench.until(|_| true).await;
            bench.pass(MINUTE * 10, MINUTE).await;
        }
        bench.until_empty().await;
        let log = log.text();
        for number in 0..good {
            let sent = format!("to=<good{number}@example.net>, ");
            let lines: Vec<&str> = log.lines().filter(|line| line.contains(&sent)).collect();
            assert!(lines.len() == 1 && lines[0].contains("status=sent ("), "{seed}: {lines:?}\n{log}");
        }
        for number in 0..odd {
            let bounced = format!("to=<odd{number}@example.net>, ");
            let lines: Vec<&str> = log.lines().filter(|line| line.contains(&bounced)).collect();
            assert!(lines.len() == 1 && lines[0].contains("status=bounced ("), "{seed}: {lines:?}\n{log}");
        }
    }
}
