//! A relay that asks for a login where none is configured.

use std::num::NonZeroUsize;
use std::time::Duration;

use fastrand::Rng;

use super::bench::{Bench, DAY, Does, HOUR, MINUTE, captured};
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
        assert_eq!(log.text().matches("WARN nullmta::log::relay: relay paused: ").count(), 1, "{said}");
        let tries = bench.relay.seen().len();
        assert!(tries < 3000, "{tries}: one message a probe");

        bench.relay.always(Does::Says(vec!["250 2.0.0 ok"]));
        bench.reload_with(|settings| settings.refusals.has_login = true);
        bench.until_empty().await;
    }
}

/// Moves the clock on until so many messages are left; gives how long that took.
async fn pass_until_live(bench: &Bench, live: usize, step: Duration) -> Duration {
    let mut passed = Duration::ZERO;
    while bench.until(|_| true).await.live > live {
        assert!(passed < DAY * 10, "{} left", bench.until(|_| true).await.live);
        bench.clock.advance(step);
        passed += step;
    }
    passed
}

/// Of two nodes behind the relay's name one asked for a login, and the other took mail. Messages that met the one
/// twice bounced, since the relay had taken others in between.
#[tokio::test]
async fn a_node_that_asks_for_a_login_beside_others_that_do_not_bounces_nothing() {
    let texts = [DENIED, "550 5.7.1 Client was not authenticated", "554 5.7.0 Authentication required"];
    let sick = |phase| texts.map(|said| Does::RefusesAt(phase, said)).to_vec();
    let mut table = Vec::new();
    for phase in [Phase::Mail, Phase::Rcpt, Phase::Data, Phase::Dot] {
        let breaks = Does::Breaks(phase, Cause::Reply(Reply::bare(530, "Authentication required")));
        table.extend(sick(phase).into_iter().chain([breaks]).map(|does| (phase, does)));
    }
    for (seed, (phase, does)) in (0..).zip(&table) {
        for (nodes, asking) in [(2, 1), (3, 1), (4, 3)] {
            let (log, _guard) = captured();
            let bench = bench([1, 2, 20][seed as usize % 3]).await;
            bench.relay.is_nodes(nodes, asking, does, seed);
            for _ in 0..40 {
                submit(&bench, "ann@example.net").await;
            }
            let case = format!("{does:?}, {asking} of {nodes}, seed {seed}");
            let most = pass_until_live(&bench, 20, SECOND).await;
            assert!(most < MINUTE * 15, "{case}: half of them took {most:?}");
            pass_until_live(&bench, 0, MINUTE).await;
            let log = log.text();
            assert_eq!(log.matches("status=sent (").count(), 41, "{case}");
            assert!(!log.contains("status=bounced") && !log.contains("status=expired"), "{case}: {log}");
            assert!(*phase == Phase::Dot || !log.contains("possible duplicate"), "{case}");
        }
    }
}

/// One message at which the relay says `relaying denied` must not stop the others, nor does it bounce: it waits by
/// its age, and its sender hears of it when its patience is used up.
#[tokio::test]
async fn one_odd_recipient_waits_by_itself_and_the_others_go_on() {
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
        for _ in 0..6 * 4 {
            submit(&bench, "ann@example.net").await;
            bench.until(|status| status.ready == 0).await;
            bench.pass(HOUR * 6, HOUR * 3).await;
        }
        bench.until_empty().await;
        let log = log.text();
        assert_eq!(log.matches("status=expired (550 5.7.1 ").count(), 1, "{connections}: {log}");
        assert!(!log.contains("status=bounced"), "{connections}: {log}");
        assert!(log.contains("dsn=4.7.1, status=deferred (550 5.7.1 "), "{connections}: {log}");
        let paused = log.matches("relay paused: ").count();
        assert!(paused <= 1, "{connections}: {log}");
    }
}

#[tokio::test]
async fn a_recipient_refused_beside_one_that_was_taken_is_deferred() {
    let (log, _guard) = captured();
    let bench = bench(2).await;
    bench.relay.always(Does::RefusesOdd(DENIED));
    bench.submit("app@example.org", &["odd@example.net", "ann@example.net"]).await;
    bench.until(|status| status.deferred == 1).await;
    bench.pass(HOUR * 5, MINUTE * 10).await;
    assert!(!log.text().contains("status=bounced"), "{}", log.text());
    bench.relay.always(Does::Says(vec!["250 2.0.0 ok"]));
    pass_until_live(&bench, 0, HOUR).await;
    let last = bench.relay.seen().pop().unwrap();
    assert_eq!((last.from.as_str(), last.to), ("app@example.org", vec!["odd@example.net".to_owned()]));
}

/// Each odd recipient would have cost a pause and a warning.
#[tokio::test]
async fn from_the_second_odd_recipient_on_none_pauses_anybody() {
    let (log, _guard) = captured();
    let bench = bench(1).await;
    bench.relay.always(Does::RefusesOdd(DENIED));
    for number in 0..10 {
        submit(&bench, &format!("odd{number}@example.net")).await;
        bench.until(|status| status.ready == 0).await;
        submit(&bench, "ann@example.net").await;
        if number == 0 {
            bench.pass(SECOND * 5, SECOND).await;
        }
        bench.until(|status| status.live == number + 1 && status.deferred == number + 1).await;
    }
    bench.pass(HOUR * 12, MINUTE * 5).await;
    assert_eq!(log.text().matches("relay paused: ").count(), 1, "{}", log.text());
}

/// One that had been deferred so was tried again without a pause, connection after connection, while others that had not
/// been deferred yet paused the relay.
#[tokio::test]
async fn one_that_was_deferred_waits_for_the_pause_that_others_make() {
    let bench = bench(1).await;
    bench.relay.always(Does::RefusesOdd(DENIED));
    bench.submit("app@example.org", &["odd0@example.net", "ann@example.net"]).await;
    bench.until(|status| status.deferred == 1).await;
    for number in 1..4 {
        submit(&bench, &format!("odd{number}@example.net")).await;
    }
    bench.until(|status| status.paused_until.is_some()).await;
    let before = bench.relay.connections();
    bench.pass(HOUR * 3, MINUTE).await;
    let tries = bench.relay.connections() - before;
    assert!(tries < 200, "{tries}");
    submit(&bench, "ann@example.net").await;
    bench.pass(SECOND * 5, SECOND).await;
    bench.until(|status| status.live == 4 && status.paused_until.is_none()).await;
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

/// Whatever comes in whatever order: no message bounces, nothing is lost, and every odd one expires when the relay has
/// taken others for long enough.
#[tokio::test]
async fn in_any_history_only_the_odd_ones_expire() {
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
        for _ in 0..6 * 4 {
            submit(&bench, &format!("good{good}@example.net")).await;
            good += 1;
            bench.until(|_| true).await;
            bench.pass(HOUR * 6, HOUR * 3).await;
        }
        bench.until_empty().await;
        let log = log.text();
        let lines = |to: String| log.lines().filter(move |line| line.contains(&to));
        for number in 0..good {
            let sent: Vec<&str> = lines(format!("to=<good{number}@example.net>, ")).collect();
            assert!(sent.len() == 1 && sent[0].contains("status=sent ("), "{seed}: {sent:?}\n{log}");
        }
        for number in 0..odd {
            let last = lines(format!("to=<odd{number}@example.net>, ")).next_back().unwrap();
            assert!(last.contains("status=expired ("), "{seed}: {last}\n{log}");
        }
        assert!(!log.contains("status=bounced ("), "{seed}: {log}");
    }
}
