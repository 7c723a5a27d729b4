//! What is refused for reasons of the set-up, not of a message.

use super::bench::{Bench, DAY, Does, HOUR, MINUTE, captured};
use crate::config::OnRefusal;
use crate::queue::Standing;

const DENIED: &str = "553 5.7.1 <app@example.org>: sender not owned by user";

/// Thirty of thirty messages bounced for one wrong setting, and nothing warned of it.
#[tokio::test]
async fn a_refusal_of_everything_bounces_no_more_than_a_few_and_warns() {
    let (log, _guard) = captured();
    let bench = Bench::new().await;
    bench.submit("app@example.org", &["ann@example.net"]).await;
    bench.until_empty().await;
    bench.relay.always(Does::Says(vec![DENIED]));
    for _ in 0..30 {
        bench.submit("app@example.org", &["ann@example.net"]).await;
    }
    let status = bench.until(|status| status.paused_until.is_some()).await;
    let trouble = status.trouble.unwrap_or_default();
    assert!(trouble.contains("messages in a row were refused alike"), "{trouble}");
    bench.pass(DAY * 7, MINUTE * 30).await;
    let bounced = log.text().matches("status=bounced (").count();
    assert!(bounced < 20, "{bounced}");
    assert_eq!(log.text().matches("status=expired (").count(), 0, "patience does not run");
    assert_eq!(log.text().matches("WARN nullmta::log::relay: relay paused: ").count(), 1, "{}", log.text());
    let tries = bench.relay.seen().len();
    assert!(tries < 3000, "{tries}: one message a probe");

    bench.relay.always(Does::Says(vec!["250 2.0.0 ok"]));
    bench.pass(MINUTE * 10, MINUTE).await;
    bench.until(|status| status.live == status.dead).await;
}

/// The first day's mail was lost at every provider: cron's mail goes out as root@vm, the provider refuses the
/// sender, and the bounce as well.
#[tokio::test]
async fn before_its_first_message_the_relay_s_refusals_hold() {
    let (log, _guard) = captured();
    let bench = Bench::new().await;
    bench.relay.always(Does::Says(vec!["554 Message rejected: Email address is not verified."]));
    bench.submit("root@vm", &["ann@example.net"]).await;
    let status = bench.until(|status| status.held == 1).await;
    assert!(status.held_because.unwrap().contains("Email address is not verified"));
    assert_eq!(log.text().matches("never taken a message from here").count(), 1);
    bench.pass(DAY, HOUR).await;
    assert_eq!(bench.relay.seen().len(), 1, "not tried by itself");

    bench.reload();
    bench.until(|status| status.held == 1 && bench.relay.seen().len() == 2).await;
    bench.queue.probe_now();
    bench.until(|status| status.held == 1 && bench.relay.seen().len() == 3).await;
    let bench = bench.restart().await;
    bench.until(|status| status.held == 1 && bench.relay.seen().len() == 4).await;
    assert_eq!(bench.standing().await, Standing::Held);

    bench.relay.always(Does::Says(vec!["250 2.0.0 ok"]));
    bench.reload();
    bench.until_empty().await;
    assert!(bench.relay.seen().iter().all(|seen| seen.from == "root@vm"), "no bounce");
    assert!(!log.text().contains("status=bounced"));
}

/// A quota or a policy that is told at RCPT without a status was taken for the recipient's, and bounced the first day's
/// mail.
#[tokio::test]
async fn on_the_first_day_only_a_clear_refusal_at_rcpt_bounces() {
    let table = [
        ("550 User has exceeded outgoing email quota", true),
        ("553 sorry, your envelope sender is in my badmailfrom list", true),
        ("550 5.0.0 refused by policy", true),
        ("550 5.1.2 your account may not send there", true),
        ("550 mailbox unavailable", true),
        ("550 no such user", false),
        ("550 5.1.1 <ann@example.net>: user unknown", false),
        ("550 5.2.1 mailbox disabled", false),
        ("550 5.3.4 message too large", false),
    ];
    for (said, is_held) in table {
        let bench = Bench::new().await;
        bench.relay.once(Does::SaysAtRcpt(vec![said]));
        bench.submit("app@example.org", &["ann@example.net"]).await;
        bench.until(|status| status.live == status.held && !bench.relay.seen().is_empty()).await;
        let bounces = bench.relay.seen().iter().filter(|seen| seen.from.is_empty()).count();
        assert_eq!((bench.spool.len(), bounces), if is_held { (1, 0) } else { (0, 1) }, "{said}");
    }
}

/// A message that was refused without a reason before the relay had taken its first one stayed held for ever.
#[tokio::test]
async fn an_unclear_refusal_counts_once_the_relay_has_taken_mail() {
    let bench = Bench::new().await;
    bench.relay.once(Does::SaysAtRcpt(vec!["550 mailbox unavailable"]));
    let id = bench.submit("app@example.org", &["ann@example.net"]).await;
    bench.until(|status| status.held == 1).await;
    bench.relay.always_with(id, Does::SaysAtRcpt(vec!["550 mailbox unavailable"]));
    bench.submit("app@example.org", &["ben@example.net"]).await;
    bench.until_empty().await;
    assert_eq!((bench.relay.times_seen(id), bench.relay.seen().len()), (2, 4), "tried again, and bounced");
}

/// Thirty of thirty messages bounced with a bare 550 at RCPT that named no reason.
#[tokio::test]
async fn a_bare_550_for_everybody_bounces_no_more_than_a_few() {
    let (log, _guard) = captured();
    let bench = Bench::new().await;
    bench.submit("app@example.org", &["ann@example.net"]).await;
    bench.until_empty().await;
    bench.relay.always(Does::SaysAtRcpt(vec!["550 mailbox unavailable"]));
    for number in 0..60 {
        let to = if number % 2 == 0 { "ann@example.net" } else { "ben@example.com" };
        bench.submit("app@example.org", &[to]).await;
    }
    let status = bench.until(|status| status.paused_until.is_some()).await;
    assert!(status.trouble.unwrap_or_default().contains("messages in a row were refused alike"));
    assert!(log.text().matches("status=bounced (").count() < 20, "{}", log.text());
}

#[tokio::test]
async fn a_relay_that_has_taken_mail_is_believed_in_the_next_run_too() {
    let bench = Bench::new().await;
    bench.relay.always(Does::Says(vec![DENIED]));
    bench.submit("root@vm", &["ann@example.net"]).await;
    bench.until(|status| status.held == 1).await;
    bench.relay.always(Does::Says(vec!["250 2.0.0 ok"]));
    bench.submit("app@example.org", &["ann@example.net"]).await;
    bench.until(|status| status.live == 1).await;
    while !bench.spool.knows_relay("relay.example:587") {
        tokio::task::yield_now().await;
    }
    bench.relay.always(Does::Says(vec![DENIED]));
    let bench = bench.restart().await;
    bench.until(|status| status.held == 1).await;
    bench.relay.once(Does::Says(vec![DENIED]));
    bench.relay.always(Does::Says(vec!["250 2.0.0 ok"]));
    bench.submit("ben@vm", &["ann@example.net"]).await;
    bench.until(|status| status.live == 1 && status.held == 1).await;
    let last = bench.relay.seen().pop().unwrap();
    assert_eq!((last.from.as_str(), last.to), ("", vec!["ben@vm".to_owned()]), "it bounced");
}

#[tokio::test]
async fn other_recipients_of_a_held_message_have_their_end() {
    let bench = Bench::new().await;
    bench.relay.once(Does::Says(vec![DENIED, "550 5.1.1 no such user"]));
    bench.relay.always(Does::Says(vec![DENIED]));
    bench.submit("app@example.org", &["ann@example.net", "nobody@example.net"]).await;
    bench.until(|status| status.live == 2 && status.held == 2).await;
    let seen = bench.relay.seen();
    assert_eq!(seen[1].to, ["app@example.org"], "a bounce, which is refused as well");
    assert!(seen[1].content.contains("nobody@example.net"));
    bench.relay.always(Does::Says(vec!["250 2.0.0 ok"]));
    bench.reload();
    bench.until_empty().await;
    assert!(bench.relay.seen().iter().skip(2).any(|seen| seen.to == ["ann@example.net"]));
}

/// A message of which one recipient was taken was no message that the relay refused on its first day.
#[tokio::test]
async fn what_the_relay_takes_in_the_same_breath_ends_the_first_day() {
    let bench = Bench::new().await;
    bench.relay.once(Does::Says(vec![DENIED, "250 2.0.0 ok"]));
    bench.submit("app@example.org", &["ann@example.net", "ben@example.net"]).await;
    bench.until_empty().await;
    assert_eq!(bench.relay.seen()[1].to, ["app@example.org"], "it bounced");
}

/// The bounces of messages that were refused for a wrong setting were refused for it, too, and dead for ever.
#[tokio::test]
async fn the_bounces_of_refused_messages_wait_until_the_relay_takes_one() {
    let (log, _guard) = captured();
    let bench = Bench::new().await;
    bench.submit("app@example.org", &["ann@example.net"]).await;
    bench.until_empty().await;
    bench.relay.always(Does::Says(vec![DENIED]));
    for _ in 0..12 {
        bench.submit("app@example.org", &["ann@example.net"]).await;
    }
    let status = bench.until(|status| status.held == 12).await;
    assert_eq!((status.live, status.dead, status.paused_until), (12, 0, None));
    assert!(status.held_because.unwrap().contains("held until it takes a message"), "{}", log.text());
    bench.pass(DAY, HOUR).await;
    bench.reload();
    bench.until(|status| status.held == 12).await;

    bench.relay.always(Does::Says(vec!["250 2.0.0 ok"]));
    bench.submit("app@example.org", &["ann@example.net"]).await;
    bench.until_empty().await;
    let told = bench.relay.seen().into_iter().rev().take(13).filter(|seen| seen.from.is_empty()).count();
    assert_eq!(told, 12);
}

#[tokio::test]
async fn a_bounce_that_is_refused_again_on_its_own_is_dead() {
    let bench = Bench::new().await;
    bench.submit("app@example.org", &["ann@example.net"]).await;
    bench.until_empty().await;
    bench.relay.once(Does::Says(vec![DENIED]));
    bench.relay.once(Does::Says(vec![DENIED]));
    bench.submit("app@example.org", &["ann@example.net"]).await;
    bench.until(|status| status.held == 1).await;
    bench.relay.once(Does::Says(vec!["250 2.0.0 ok"]));
    bench.relay.once(Does::Says(vec![DENIED]));
    bench.submit("app@example.org", &["ann@example.net"]).await;
    bench.until(|status| status.dead == 1 && status.live == 1).await;
    assert_eq!(bench.relay.seen().last().unwrap().from, "");
}

#[tokio::test]
async fn as_configured_refusals_hold_or_bounce_always() {
    for (on_refusal, held) in [(OnRefusal::Hold, 1), (OnRefusal::Bounce, 0)] {
        let bench = Bench::with(|settings| settings.refusals.on_refusal = Some(on_refusal)).await;
        bench.relay.once(Does::Says(vec![DENIED]));
        bench.submit("app@example.org", &["ann@example.net"]).await;
        let status = bench.until(|status| status.live == status.held && !bench.relay.seen().is_empty()).await;
        assert_eq!(status.held, held, "{on_refusal:?}");
    }
}

/// With no user name configured every message bounced with "not authenticated".
#[tokio::test]
async fn a_login_that_is_asked_for_and_not_configured_pauses_the_relay_at_once() {
    let bench = Bench::with(|settings| settings.refusals.has_login = false).await;
    bench.relay.always(Does::Says(vec!["550 5.7.1 Client was not authenticated"]));
    for _ in 0..3 {
        bench.submit("app@example.org", &["ann@example.net"]).await;
    }
    let status = bench.until(|status| status.paused_until.is_some()).await;
    assert!(status.trouble.unwrap().contains("set [auth]"));
    assert_eq!((status.live, status.held), (3, 0));
    assert!(bench.relay.seen().len() <= 2, "one a connection");
}
