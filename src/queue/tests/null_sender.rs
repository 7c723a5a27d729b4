//! Relays that refuse the null reverse-path `<>`.

use super::bench::{Bench, Does};
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
