//! Messages that the relay does not want yet, or never.

use std::num::NonZeroUsize;

use super::bench::{AND_LEFT, Bench, DAY, Does, HOUR, MINUTE};

#[tokio::test]
async fn a_message_is_sent_at_once_and_leaves_the_spool() {
    let bench = Bench::new().await;
    bench.submit("app@example.org", &["ann@example.net"]).await;
    bench.until(|status| status.live == 0).await;
    let seen = bench.relay.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!((seen[0].from.as_str(), seen[0].at), ("app@example.org", 0));
    assert_eq!(seen[0].content, "Subject: hello\r\n\r\nhello\r\n");
    assert_eq!(bench.spool.len(), 0);
}

#[tokio::test]
async fn a_deferred_message_is_tried_again_by_its_age() {
    let bench = Bench::new().await;
    bench.relay.always(Does::Says(vec!["450 4.2.1 busy"]));
    bench.submit("app@example.org", &["ann@example.net"]).await;
    bench.until(|status| status.deferred == 1).await;
    bench.pass(HOUR * 3, MINUTE / 2).await;
    let gaps: Vec<i64> = bench.relay.seen().windows(2).map(|pair| pair[1].at - pair[0].at).collect();
    for (number, gap) in gaps.iter().enumerate() {
        let age = bench.relay.seen()[number].at.clamp(60, 3600);
        // ±10 % spread, and the half minutes in which this test's time passes.
        let range = age * 9 / 10 - 30..=age * 11 / 10 + 31;
        assert!(range.contains(gap), "attempt {number} at age {age}: next after {gap} s");
    }
    assert!((7..=10).contains(&gaps.len()), "{gaps:?}");
}

/// A valid recipient bounced by a reply too many, said about the one before it, since the relay hung up behind that and
/// nothing that does not fit was read. A relay that hangs up at each refusal must be believed all the same.
#[tokio::test]
async fn a_refusal_that_nothing_proves_is_believed_at_the_second_try() {
    let bench = Bench::new().await;
    bench.submit("app@example.org", &["ann@example.net"]).await;
    bench.until_empty().await;
    let said = format!("550 5.1.1 nobody {AND_LEFT}").leak();
    bench.relay.once(Does::SaysAtRcpt(vec![said]));
    bench.submit("app@example.org", &["ann@example.net"]).await;
    bench.until(|status| status.deferred == 1).await;
    bench.pass(MINUTE * 2, MINUTE).await;
    bench.until_empty().await;
    assert!(bench.relay.seen().iter().all(|seen| !seen.from.is_empty()), "no bounce");

    bench.relay.once(Does::SaysAtRcpt(vec![said]));
    bench.relay.once(Does::SaysAtRcpt(vec![said]));
    bench.submit("app@example.org", &["ben@example.net"]).await;
    bench.until(|status| status.deferred == 1).await;
    bench.pass(MINUTE * 2, MINUTE).await;
    bench.until_empty().await;
    let bounces: Vec<_> = bench.relay.seen().into_iter().filter(|seen| seen.from.is_empty()).collect();
    assert_eq!(bounces.len(), 1);
    assert!(bounces[0].content.contains("Status: 5.1.1"), "{}", bounces[0].content);
}

#[tokio::test]
async fn after_five_days_of_refusals_the_message_bounces() {
    let bench = Bench::new().await;
    bench.submit("app@example.org", &["ann@example.net"]).await;
    bench.until_empty().await;
    bench.relay.always(Does::Says(vec!["450 4.2.1 busy"]));
    let id = bench.submit("app@example.org", &["ann@example.net"]).await;
    bench.until(|status| status.deferred == 1).await;
    bench.pass(DAY * 5 - HOUR, MINUTE * 10).await;
    assert!(bench.relay.seen().iter().all(|seen| seen.from == "app@example.org"), "no bounce yet");
    bench.pass(HOUR * 3, MINUTE * 10).await;
    let last = bench.relay.seen().into_iter().rev().find(|seen| seen.from.is_empty()).expect("a DSN");
    assert_eq!(last.to, ["app@example.org"]);
    assert!(last.content.contains("Status: 5.4.7"), "{}", last.content);
    assert!(last.content.contains("450 4.2.1 busy"), "{}", last.content);
    let originals = bench.relay.seen().iter().filter(|seen| seen.id == id).count();
    assert!((110..=150).contains(&originals), "{originals} attempts in five days");
}

#[tokio::test]
async fn each_recipient_has_its_own_fate() {
    let bench = Bench::new().await;
    bench.relay.once(Does::Says(vec!["250 2.0.0 ok", "450 4.2.1 busy", "550 5.1.1 who"]));
    bench.submit("app@example.org", &["ann@x.example", "ben@x.example", "cat@x.example"]).await;
    bench.until(|status| status.live == 1 && status.deferred == 1).await;
    bench.pass(MINUTE * 2, MINUTE).await;
    bench.until_empty().await;
    let to: Vec<Vec<String>> = bench.relay.seen().into_iter().map(|seen| seen.to).collect();
    assert_eq!(to.len(), 3);
    assert_eq!(to[0], ["ann@x.example", "ben@x.example", "cat@x.example"]);
    assert_eq!(to[1], ["app@example.org"], "the DSN about cat");
    assert_eq!(to[2], ["ben@x.example"], "only who is still open");
}

#[tokio::test]
async fn a_bulk_run_does_not_delay_another_submitter() {
    // On one connection: of two, one may wait for a processor with the message in hand while the other goes on.
    let bench = Bench::with(|settings| settings.max_connections = NonZeroUsize::MIN).await;
    bench.relay.always(Does::Refuses);
    for number in 0..50 {
        bench.submit("bulk@example.org", &[&format!("list{number}@x.example")]).await;
    }
    bench.submit("reset@example.org", &["ann@x.example"]).await;
    bench.until(|status| status.live == 51).await;
    bench.relay.always(Does::Says(vec!["250 2.0.0 ok"]));
    bench.queue.probe_now();
    bench.until_empty().await;
    let position = bench.relay.seen().iter().position(|seen| seen.from == "reset@example.org");
    assert!(position.unwrap() <= 3, "{position:?}");
}
