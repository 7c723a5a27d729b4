//! Failures, and who hears of them.

use super::bench::{Bench, Does, HOUR, MINUTE};
use crate::envelope::{Address, Envelope, Notify, Recipient, ReversePath};
use crate::queue::Standing;
use crate::spool::Fate;

#[tokio::test]
async fn a_failure_is_reported_to_the_reverse_path_before_the_original_goes() {
    let bench = Bench::new().await;
    bench.relay.once(Does::Says(vec!["550 5.1.1 no such user"]));
    let id = bench.submit("app@example.org", &["nobody@example.net"]).await;
    bench.until_empty().await;
    let seen = bench.relay.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!((seen[1].from.as_str(), seen[1].to.as_slice()), ("", &["app@example.org".to_owned()][..]));
    for part in ["Status: 5.1.1", "550 5.1.1 no such user", "nobody@example.net", &id.to_string()] {
        assert!(seen[1].content.contains(part), "{part} in {}", seen[1].content);
    }
}

/// The From of a DSN was made up here: a relay that takes verified senders only refused it.
#[tokio::test]
async fn a_dsn_is_from_whom_the_configuration_has_mail_be_from() {
    let author = Address::parse("noreply@verified.example").unwrap();
    let bench = Bench::with(|settings| settings.dsn_author = author).await;
    bench.relay.once(Does::Says(vec!["550 5.1.1 no such user"]));
    bench.submit("app@example.org", &["nobody@example.net"]).await;
    bench.until_empty().await;
    let dsn = &bench.relay.seen()[1];
    assert_eq!(dsn.from, "");
    let from = "From: noreply@verified.example (Mail Delivery System)\r\n";
    assert!(dsn.content.contains(from), "{}", dsn.content);
}

#[tokio::test]
async fn notify_never_is_honoured() {
    let bench = Bench::new().await;
    bench.relay.once(Does::Says(vec!["550 5.1.1 no such user"]));
    bench.submit_envelope(envelope("app@example.org", "nobody@example.net", Notify::Never)).await;
    bench.until_empty().await;
    assert_eq!(bench.relay.seen().len(), 1, "no DSN");
}

#[tokio::test]
async fn success_is_reported_to_those_who_asked_when_the_relay_will_not() {
    let bench = Bench::new().await;
    let notify = Notify::On { success: true, failure: true, delay: false };
    bench.submit_envelope(envelope("app@example.org", "ann@example.net", notify)).await;
    bench.until_empty().await;
    let seen = bench.relay.seen();
    assert_eq!(seen.len(), 2);
    assert!(seen[1].content.contains("Action: relayed"), "{}", seen[1].content);
}

#[tokio::test]
async fn a_failed_dsn_is_dead_mail_and_stays() {
    let bench = Bench::new().await;
    bench.relay.always(Does::Says(vec!["550 5.1.1 no such user"]));
    bench.submit("app@example.org", &["nobody@example.net"]).await;
    bench.until(|status| status.dead == 1).await;
    let bench = bench.restart().await;
    bench.until(|status| status.live == 1).await;
    assert_eq!(bench.standing().await, Standing::Dead, "also after a restart");
    bench.pass(HOUR * 2, MINUTE * 10).await;
    assert_eq!(bench.relay.seen().len(), 2, "never tried again by itself");
}

#[tokio::test]
async fn with_a_postmaster_the_failed_dsn_goes_there_and_only_once() {
    let postmaster = Address::parse("ops@example.org").unwrap();
    let bench = Bench::with(|settings| settings.postmaster = Some(postmaster)).await;
    bench.relay.always(Does::Says(vec!["550 5.1.1 no such user"]));
    bench.submit("app@example.org", &["nobody@example.net"]).await;
    bench.until(|status| status.dead == 1).await;
    let to: Vec<String> = bench.relay.seen().into_iter().flat_map(|seen| seen.to).collect();
    assert_eq!(to, ["nobody@example.net", "app@example.org", "ops@example.org"]);
    assert_eq!(bench.standing().await, Standing::Dead, "what the postmaster cannot get stays");
}

#[tokio::test]
async fn a_recipient_that_nothing_was_said_of_is_tried_again_without_one_that_failed() {
    let bench = Bench::new().await;
    bench.relay.once(Does::Says(vec!["550 5.1.1 no such user", ""]));
    bench.submit("", &["nobody@example.net", "ann@example.net"]).await;
    bench.until(|status| status.dead == 1).await;
    assert_eq!(bench.relay.seen()[1].to, ["ann@example.net"]);
}

/// From `<>` to several, the refusal of one was recorded only when the last of the others had its end: it was
/// asked again at each of their retries, and bounced again in the log each time.
#[tokio::test]
async fn a_refusal_that_nobody_can_be_told_of_is_recorded_at_once() {
    let bench = Bench::new().await;
    bench.relay.once(Does::Says(vec!["550 5.1.1 no such user", "450 4.2.1 busy"]));
    bench.relay.once(Does::Says(vec!["450 4.2.1 still busy"]));
    let id = bench.submit("", &["nobody@example.net", "ann@example.net"]).await;
    bench.until(|status| status.deferred == 1).await;
    bench.pass(MINUTE * 3 / 2, MINUTE / 2).await;
    let bench = bench.restart().await;
    bench.until(|status| status.dead == 1).await;
    let asked: Vec<Vec<String>> = bench.relay.seen().into_iter().map(|seen| seen.to).collect();
    assert_eq!(
        asked,
        [vec!["nobody@example.net", "ann@example.net"], vec!["ann@example.net"], vec!["ann@example.net"]]
    );
    let stored = bench.spool.peek(id).unwrap();
    assert_eq!(stored.ledger.fates(), [Fate::Dead, Fate::Sent]);
    assert_eq!(stored.replies.of(0), Some("550 5.1.1 no such user"), "and the reason is kept");
}

/// Of several recipients only the first one's reason was kept, and a later attempt's silence was taken for news.
#[tokio::test]
async fn what_each_recipient_was_told_last_is_kept() {
    let bench = Bench::new().await;
    bench.relay.once(Does::Says(vec!["450 4.2.1 busy", "451 4.7.1 greylisted", "450 4.2.2 full"]));
    bench.relay.once(Does::Says(vec!["452 4.2.2 full as well", "", "250 2.0.0 ok"]));
    bench.relay.always(Does::Refuses);
    let id =
        bench.submit("app@example.org", &["ann@example.net", "ben@example.net", "cat@example.net"]).await;
    bench.until(|status| status.deferred == 1).await;
    bench.pass(MINUTE * 2, MINUTE).await;
    let stored = bench.spool.peek(id).unwrap();
    let told: Vec<Option<&str>> = (0..3).map(|index| stored.replies.of(index)).collect();
    assert_eq!(told, [Some("452 4.2.2 full as well"), Some("451 4.7.1 greylisted"), None]);
}

#[tokio::test]
async fn one_warning_of_a_delay() {
    let bench = Bench::with(|settings| settings.retry.delay_warning = Some(HOUR * 4)).await;
    for _ in 0..5 {
        bench.relay.once(Does::Says(vec!["450 4.2.1 busy"]));
    }
    let id = bench.submit("app@example.org", &["ann@example.net"]).await;
    bench.until(|status| status.deferred == 1).await;
    bench.clock.advance(HOUR * 4);
    bench.until(|_| true).await;
    bench.pass(HOUR * 2, MINUTE * 10).await;
    let bench = bench.restart().await;
    bench.pass(HOUR * 2, MINUTE * 10).await;
    bench.until_empty().await;
    let mut warnings = bench.relay.seen();
    warnings.retain(|seen| seen.from.is_empty());
    warnings.dedup_by_key(|seen| seen.id);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].content.contains("Action: delayed"), "{}", warnings[0].content);
    assert!(bench.relay.seen().iter().filter(|seen| seen.id == id).count() >= 3);
}

fn envelope(from: &str, to: &str, notify: Notify) -> Envelope {
    let mut envelope = Envelope::from(ReversePath::Mailbox(Address::parse(from).unwrap()));
    envelope.recipients.push(Recipient { notify, ..Recipient::plain(Address::parse(to).unwrap()) });
    envelope
}
