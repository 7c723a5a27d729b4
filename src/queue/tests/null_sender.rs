//! Relays that refuse the null reverse-path `<>`.

use super::bench::{Bench, Does, HOUR, MINUTE, captured};
use crate::envelope::{Address, ReversePath};
use crate::queue::{Settings, Standing};

const NO_NULL: &str = "550 5.7.1 <>: null sender not allowed";

fn address(text: &str) -> Option<Address> {
    Some(Address::parse(text).unwrap())
}

fn has_null_sender(settings: &mut Settings) {
    settings.null_sender = address("bounces@example.org");
}

/// Such a relay got no bounce and nothing that a program sends from `<>`: all of it was dead mail.
#[tokio::test]
async fn with_null_sender_a_relay_that_refuses_the_null_one_gets_bounces_and_programs_mail() {
    let bench = Bench::with(has_null_sender).await;
    bench.relay.once(Does::Says(vec!["550 5.1.1 no such user"]));
    bench.relay.always(Does::RefusesNull(NO_NULL));
    bench.submit("app@example.org", &["nobody@example.net"]).await;
    bench.until_empty().await;
    bench.submit("", &["ann@example.net"]).await;
    bench.until_empty().await;
    let envelopes: Vec<_> =
        bench.relay.seen().into_iter().map(|seen| (seen.from, seen.to.join(" "))).collect();
    let expected = [
        ("app@example.org", "nobody@example.net"),
        ("bounces@example.org", "app@example.org"),
        ("bounces@example.org", "ann@example.net"),
    ];
    assert_eq!(envelopes, expected.map(|(from, to)| (from.to_owned(), to.to_owned())));
}

/// A bounce for what was sent in the name of `null-sender` would be bounced in its turn, without an end.
#[tokio::test]
async fn what_fails_under_null_sender_makes_no_other_bounce() {
    let bench = Bench::with(has_null_sender).await;
    bench.relay.always(Does::Says(vec!["550 5.1.1 no such user"]));
    bench.submit("app@example.org", &["nobody@example.net"]).await;
    bench.until(|status| status.dead == 1).await;
    assert_eq!(bench.standing().await, Standing::Dead);
    assert_eq!(bench.relay.seen().len(), 2, "the message and its bounce");
    let id = bench.relay.seen()[1].id;
    assert_eq!(bench.spool.peek(id).unwrap().envelope.reverse_path, ReversePath::Null);
}

#[tokio::test]
async fn a_reload_gives_null_sender_to_what_is_queued_already() {
    let mut bench = Bench::new().await;
    bench.relay.always(Does::RefusesNull(NO_NULL));
    bench.submit("", &["ann@example.net"]).await;
    bench.until(|status| status.held == 1).await;
    bench.reload_with(has_null_sender);
    bench.until_empty().await;
    let from: Vec<String> = bench.relay.seen().into_iter().map(|seen| seen.from).collect();
    assert_eq!(from, ["", "bounces@example.org"]);
}

/// What the relay must be able to read is the address that it is told, not `<>`.
#[tokio::test]
async fn a_null_sender_beyond_ascii_is_declared_as_such() {
    let bench = Bench::with(|settings| settings.null_sender = address("bünces@example.org")).await;
    bench.submit("", &["ann@example.net"]).await;
    bench.until_empty().await;
    assert!(bench.relay.seen()[0].needs_smtputf8);
}

fn has_postmaster(settings: &mut Settings) {
    (settings.postmaster, settings.postmaster_sender) =
        (address("ops@example.org"), address("ops@x.example"));
}

fn ways(bench: &Bench) -> Vec<(String, String)> {
    bench.relay.seen().into_iter().map(|seen| (seen.from, seen.to.join(" "))).collect()
}

/// The postmaster's copy of a bounce was from `<>` as well, was refused as that was, and nobody heard of the failure.
#[tokio::test]
async fn the_postmaster_s_copy_goes_from_an_address_once_the_null_one_is_refused() {
    let (log, _guard) = captured();
    let bench = Bench::with(has_postmaster).await;
    bench.submit("app@example.org", &["ann@example.net"]).await;
    bench.until_empty().await;
    bench.relay.always(Does::RefusesNull(NO_NULL));
    for _ in 0..2 {
        bench.relay.once(Does::Says(vec!["550 5.1.1 no such user"]));
        bench.submit("app@example.org", &["nobody@example.net"]).await;
        bench.until_empty().await;
    }
    let expected = [
        ("app@example.org", "nobody@example.net"),
        ("", "app@example.org"),
        ("", "ops@example.org"),
        ("ops@x.example", "ops@example.org"),
        ("app@example.org", "nobody@example.net"),
        ("", "app@example.org"),
        ("ops@x.example", "ops@example.org"),
    ];
    assert_eq!(ways(&bench)[1..], expected.map(|(from, to)| (from.to_owned(), to.to_owned())));
    let line = format!(
        "WARN nullmta::log::queue: the relay refuses mail from <>: {NO_NULL}; the postmaster's is sent as from ops@x.example \
         now, and all other needs rewrite.null-sender\n"
    );
    assert_eq!(log.text().matches(&line).count(), 1, "{}", log.text());
}

/// A relay that refuses the other address, too, is not asked for ever; nor is one that refuses for another reason.
#[tokio::test]
async fn what_is_refused_from_either_is_dead_after_two_tries() {
    for (said, tries) in [(NO_NULL, 2), ("550 5.1.1 no such user", 1)] {
        let bench = Bench::with(has_postmaster).await;
        bench.submit("app@example.org", &["ann@example.net"]).await;
        bench.until_empty().await;
        bench.relay.always(Does::Says(vec![said]));
        let id = bench.submit("", &["ops@example.org"]).await;
        bench.until(|status| status.dead == 1).await;
        assert_eq!(bench.relay.times_seen(id), tries, "{said}");
        bench.reload();
        bench.pass(HOUR * 2, MINUTE * 10).await;
        assert_eq!(bench.relay.times_seen(id), tries, "{said}");
    }
}
