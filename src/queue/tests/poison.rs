//! A message at which the relay breaks the dialogue off harms no other, and comes to an end.

use std::num::NonZeroUsize;
use std::time::Duration;

use super::bench::{Bench, DAY, Does, HOUR, MINUTE, captured};
use crate::queue::QueueStatus;
use crate::queue_id::QueueId;
use crate::relay::{Cause, Phase};
use crate::smtp::reply::Reply;

const PHASES: [Phase; 5] = [Phase::Mail, Phase::Rcpt, Phase::Data, Phase::Content, Phase::Dot];

/// All that can end a dialogue at `phase`.
fn breaks(phase: Phase) -> Vec<Does> {
    let said = |code| Does::Breaks(phase, Cause::Reply(Reply::bare(code, "go away")));
    let garbage = Does::Breaks(phase, Cause::Garbage("250ok".into()));
    let silence = Does::Stalls(phase, MINUTE * 5);
    vec![said(421), Does::Breaks(phase, Cause::Closed), silence, garbage, said(503), said(530)]
}

/// A queue with a message that the relay breaks off at, and thirty others behind it, some of them in its lane.
async fn with_poison(does: Does, others_from: &str, alone_first: bool) -> (Bench, QueueId) {
    let bench = Bench::new().await;
    bench.relay.always(Does::Refuses);
    let poison = bench.submit("poison@example.org", &["ann@example.net"]).await;
    bench.relay.always_with(poison, does);
    if alone_first {
        bench.until(|status| status.paused_until.is_some()).await;
        bench.relay.always(Does::Says(vec!["250 2.0.0 ok"]));
        bench.queue.probe_now();
        while bench.relay.connections() < 2 {
            tokio::task::yield_now().await;
        }
    }
    for _ in 0..30 {
        bench.submit(others_from, &["ben@example.net"]).await;
    }
    bench.until_told(|status| status.live >= 1).await;
    bench.relay.always(Does::Says(vec!["250 2.0.0 ok"]));
    bench.queue.probe_now();
    (bench, poison)
}

/// With such a message in a lane of its own 25 of 300 others once got through in a minute, and the pause climbed to
/// 375 s, for ever.
#[tokio::test]
async fn the_others_leave_at_once() {
    for phase in PHASES {
        for does in breaks(phase) {
            for (from, alone_first) in
                [("poison@example.org", false), ("app@example.org", false), ("app@example.org", true)]
            {
                let case = format!("{does:?}, others from {from}, alone first: {alone_first}");
                let (log, _logging) = captured();
                let (bench, _) = with_poison(does.clone(), from, alone_first).await;
                // The clock stands still.
                bench.until_told(|status| status.live == 1).await;
                let paused = log.text().matches("relay paused").count();
                assert!(paused <= 1, "only by the outage before: {case}\n{}", log.text());
                assert_eq!(
                    bench.relay.seen().iter().filter(|seen| seen.to == ["ben@example.net"]).count(),
                    30
                );
            }
        }
    }
}

/// It was once tried with each probe of the relay, without end, or stood in the queue for ever.
#[tokio::test]
async fn alone_it_is_deferred_by_its_age_and_expires() {
    // At the dot what is no reply counts as silence does: a reply of any length that begins with a code is one.
    let garbage = (Phase::Dot, Cause::Garbage("x".repeat(70_000)));
    for (phase, cause) in PHASES.map(|phase| (phase, Cause::Closed)).into_iter().chain([garbage]) {
        let (log, _logging) = captured();
        let bench = Bench::new().await;
        bench.submit("app@example.org", &["ann@example.net"]).await;
        bench.until_empty().await;
        bench.relay.always_with_next(Does::Breaks(phase, cause));
        let poison = bench.submit("app@example.org", &["ann@example.net"]).await;
        bench.until(|status| status.deferred == 1).await;
        bench.pass(DAY * 5 + HOUR * 2, MINUTE * 10).await;
        bench.pass_until_settled().await;
        let log = log.text();
        assert!(log.contains("status=expired"), "{phase}: {log}");
        assert!(!log.contains("relay paused"), "{phase}: {log}");
        let dsns: Vec<_> = bench.relay.seen().into_iter().filter(|seen| seen.from.is_empty()).collect();
        assert_eq!(dsns.len(), 1, "{phase}");
        let words: Vec<&str> = dsns[0].content.split_whitespace().collect();
        let may_have_arrived = words.join(" ").contains("it may have been delivered all the same");
        assert_eq!(may_have_arrived, phase == Phase::Dot, "{phase}: {}", dsns[0].content);
        let copies = log.matches(&format!("{poison}: possible duplicate")).count();
        if phase == Phase::Dot {
            assert_eq!(bench.relay.times_seen(poison), copies, "each copy is told");
            assert!((10..=20).contains(&copies), "{copies}");
        } else {
            assert_eq!(copies, 0, "{phase}");
        }
    }
}

#[tokio::test]
async fn its_sender_is_told_of_the_delay_once() {
    let bench = Bench::with(|settings| settings.retry.delay_warning = Some(HOUR * 4)).await;
    bench.relay.always_with_next(Does::Breaks(Phase::Dot, Cause::Closed));
    bench.submit("app@example.org", &["ann@example.net"]).await;
    bench.until(|status| status.deferred == 1).await;
    bench.pass(DAY * 3, MINUTE * 10).await;
    let seen = bench.relay.seen();
    let warnings: Vec<_> = seen.iter().filter(|seen| seen.from.is_empty()).collect();
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].content.contains("THIS IS ONLY A WARNING"), "{}", warnings[0].content);
}

/// Two of them with nothing else in the queue look like a relay in trouble, until it has answered for something else.
#[tokio::test]
async fn two_of_them_alone_have_few_copies_and_end_when_the_relay_has_answered_others() {
    let bench = Bench::new().await;
    bench.relay.always(Does::Refuses);
    let mut poison = Vec::new();
    for _ in 0..2 {
        let id = bench.submit("app@example.org", &["ann@example.net"]).await;
        bench.relay.always_with(id, Does::Breaks(Phase::Dot, Cause::Closed));
        poison.push(id);
    }
    bench.until(|status| status.live == 2 && status.paused_until.is_some()).await;
    bench.relay.always(Does::Says(vec!["250 2.0.0 ok"]));
    bench.pass(DAY * 2, MINUTE * 10).await;
    for id in &poison {
        assert!(bench.relay.times_seen(*id) <= 20, "{} copies", bench.relay.times_seen(*id));
    }
    bench.submit("app@example.org", &["ben@example.net"]).await;
    bench.pass(DAY * 14, HOUR).await;
    bench.until_empty().await;
}

/// A queue of nothing but `poison` messages that the relay breaks off at, which it has tried for a while.
async fn of_nothing_but_poison(does: &Does, poison: usize, connections: usize) -> Bench {
    let bench =
        Bench::with(|settings| settings.max_connections = NonZeroUsize::new(connections).unwrap()).await;
    bench.relay.always(does.clone());
    for _ in 0..poison {
        let id = bench.submit("app@example.org", &["ann@example.net"]).await;
        bench.relay.always_with(id, does.clone());
    }
    bench.relay.always(Does::Says(vec!["250 2.0.0 ok"]));
    let is_known = |status: &QueueStatus| status.ready == 0 && bench.relay.connections() >= 3 * poison;
    pass_until(&bench, |status| is_known(status) && is_at_rest(status)).await;
    bench
}

fn is_at_rest(status: &QueueStatus) -> bool {
    (status.under_way, status.connections) == (0, 0)
}

/// Moves the clock on until the queue's numbers are as asked.
async fn pass_until(bench: &Bench, is_so: impl Fn(&QueueStatus) -> bool) {
    let passing = async {
        loop {
            // Only the second answer is known to come after what the clock's last step has set off.
            let before = bench.queue.status().await.unwrap();
            let now = bench.queue.status().await.unwrap();
            if before == now && is_so(&now) {
                return;
            }
            bench.clock.advance(Duration::from_secs(1));
        }
    };
    tokio::time::timeout(MINUTE, passing).await.expect("the queue gets there");
}

/// With nothing else in the queue two of them paused the relay, for longer with each try, and a new message waited for
/// the probe: up to five minutes.
#[tokio::test]
async fn a_queue_of_nothing_else_holds_up_no_new_message() {
    for phase in PHASES {
        for does in breaks(phase) {
            for (poison, connections) in [(2, 1), (8, 1), (2, 2), (8, 20)] {
                let case = format!("{does:?}, {poison} of them, {connections} connections");
                let (log, _logging) = captured();
                let bench = of_nothing_but_poison(&does, poison, connections).await;
                bench.submit("app@example.org", &["ben@example.net"]).await;
                // The clock stands still.
                bench.until_told(|status| status.live == poison).await;
                let paused = log.text().lines().filter(|line| line.contains("paused:")).count();
                assert!(paused < poison, "each of them makes one pause at most: {case}\n{}", log.text());
            }
        }
    }
}

/// The same beside one of them that the relay lets wait.
#[tokio::test]
async fn another_connection_serves_while_the_relay_is_silent_at_one_of_them() {
    for phase in PHASES {
        let bench = of_nothing_but_poison(&Does::Stalls(phase, MINUTE * 5), 3, 2).await;
        pass_until(&bench, |status| status.under_way > 0).await;
        bench.submit("app@example.org", &["ben@example.net"]).await;
        bench.until_told(|status| status.live == 3).await;
    }
}

/// Trouble that meets everybody is the relay's: its outage bounces nothing, and is over for all when it is over.
#[tokio::test]
async fn an_outage_behind_the_login_is_nobodys_fault() {
    for phase in PHASES {
        let bench = Bench::new().await;
        bench.relay.always(Does::Refuses);
        let mut ids = Vec::new();
        for _ in 0..20 {
            ids.push(bench.submit("app@example.org", &["ann@example.net"]).await);
        }
        bench.until(|status| status.live == 20 && status.paused_until.is_some()).await;
        bench.relay.always(Does::Breaks(phase, Cause::Closed));
        bench.pass(DAY * 7, MINUTE * 10).await;
        let status = bench.queue.status().await.unwrap();
        assert!(status.live == 20 && status.paused_until.is_some(), "{phase}: {status:?}");
        assert!(bench.spool.relay_clock() < 600, "{phase}: patience is not used up");
        let most = ids.iter().map(|id| bench.relay.times_seen(*id)).max().unwrap();
        assert!(phase < Phase::Dot || most <= 30, "{most} copies of one");
        bench.relay.always(Does::Says(vec!["250 2.0.0 ok"]));
        if phase < Phase::Dot {
            bench.pass(MINUTE * 20, MINUTE).await;
        } else {
            bench.queue.probe_now();
        }
        bench.until_empty().await;
        assert!(bench.relay.seen().iter().all(|seen| !seen.from.is_empty()), "no bounce");
    }
}

/// Its second loss sends it behind the others, who share no connection with it.
#[tokio::test]
async fn it_shares_no_connection_with_others() {
    let bench = Bench::with(|settings| settings.max_connections = std::num::NonZeroUsize::MIN).await;
    bench.relay.always_with_next(Does::Breaks(Phase::Data, Cause::Closed));
    bench.submit("app@example.org", &["ann@example.net"]).await;
    bench.until(|status| status.deferred == 1).await;
    let before = bench.relay.connections();
    for _ in 0..10 {
        bench.submit("app@example.org", &["ben@example.net"]).await;
    }
    bench.until(|status| status.live == 1).await;
    bench.relay.heal();
    bench.clock.advance(Duration::from_secs(1));
    bench.until_empty().await;
    let connections = bench.relay.connections() - before;
    assert!(connections >= 2, "{connections}");
    assert_eq!(bench.relay.seen().last().unwrap().to, ["ann@example.net"]);
}

/// A relay that says `451 4.4.2` in the content of one message, whatever the connection has carried, says of a connection
/// that has served that it is over: with others always in front of it the message was never charged, and each try cost
/// a connection.
#[tokio::test]
async fn one_at_which_the_relay_takes_leave_is_charged_on_a_fresh_connection_and_expires() {
    for connections in [1, 3] {
        let (log, _logging) = captured();
        let bench =
            Bench::with(|settings| settings.max_connections = NonZeroUsize::new(connections).unwrap()).await;
        bench.relay.always(Does::Refuses);
        for _ in 0..5 {
            bench.submit("poison@example.org", &["ben@example.net"]).await;
        }
        let poison = bench.submit("poison@example.org", &["ann@example.net"]).await;
        bench.relay.always_with(poison, Does::Parts("451 4.4.2 timeout"));
        bench.until(|status| status.paused_until.is_some()).await;
        bench.relay.always(Does::Says(vec!["250 2.0.0 ok"]));
        bench.queue.probe_now();
        bench.until(|status| status.live == 1 && status.deferred == 1).await;
        assert!(
            (1..=2).contains(&bench.relay.times_seen(poison)),
            "once on each kind of connection, at most"
        );

        bench.pass(DAY * 5 + HOUR * 2, MINUTE * 10).await;
        bench.pass_until_settled().await;
        let (log, tries) = (log.text(), bench.relay.times_seen(poison));
        assert!(log.contains("status=expired") && log.contains("451 4.4.2 timeout"), "{log}");
        let charged = log.lines().filter(|line| line.contains(&format!("{poison}: to="))).count();
        assert!(charged + 1 >= tries, "{tries} tries, of which {charged} counted");
    }
}

/// With a stream of others behind it, a message was tried on one connection after the other that had served, and ended
/// each of them.
#[tokio::test]
async fn one_at_which_the_relay_takes_leave_ends_few_connections() {
    let bench = Bench::with(|settings| settings.max_connections = NonZeroUsize::MIN).await;
    bench.relay.always(Does::Refuses);
    bench.submit("app@example.org", &["ben@example.net"]).await;
    let poison = bench.submit("poison@example.org", &["ann@example.net"]).await;
    for _ in 0..50 {
        bench.submit("app@example.org", &["ben@example.net"]).await;
    }
    bench.relay.always_with(poison, Does::Parts("451 4.4.2 timeout"));
    bench.until(|status| status.paused_until.is_some()).await;
    let used = bench.relay.connections();
    bench.relay.always(Does::Says(vec!["250 2.0.0 ok"]));
    bench.queue.probe_now();
    bench.until(|status| status.live == 1 && status.deferred == 1).await;
    assert_eq!(bench.relay.times_seen(poison), 2, "once where it rode behind another, once where it counts");
    assert_eq!(bench.relay.connections(), used + 3);
    assert_eq!(bench.relay.seen().iter().filter(|seen| seen.to == ["ben@example.net"]).count(), 51);
}
