//! Relays that refuse the null reverse-path `<>`.

use super::world::{Does, HOUR, SetUp, World};
use crate::envelope::{Address, ReversePath};
use crate::queue::Standing;
use crate::queue::testing::captured;

const NO_NULL: &str = "550 5.7.1 <>: null sender not allowed";
const NO_USER: &str = "550 5.1.1 no such user";

fn address(text: &str) -> Option<Address> {
    Some(Address::parse(text).unwrap())
}

fn has_null_sender(set_up: &mut SetUp) {
    set_up.null_sender = address("bounces@example.org");
    set_up.policy.has_null_sender = true;
}

fn has_postmaster(set_up: &mut SetUp) {
    (set_up.postmaster, set_up.postmaster_sender) = (address("ops@example.org"), address("ops@x.example"));
}

/// Returns the reverse-path and the recipients of each transaction.
fn ways(world: &World) -> Vec<(&str, String)> {
    world.seen.iter().map(|seen| (seen.from.as_str(), seen.to.join(" "))).collect()
}

fn expected<const N: usize>(ways: [(&'static str, &str); N]) -> [(&'static str, String); N] {
    ways.map(|(from, to)| (from, to.to_owned()))
}

/// Such a relay got no bounce and nothing that a program sends from `<>`: all of it was dead mail.
#[test]
fn with_null_sender_a_relay_that_refuses_the_null_one_gets_bounces_and_programs_mail() {
    let mut world = World::with(2, has_null_sender);
    world.relay.once(Does::Says(vec![NO_USER]));
    world.relay_always(Does::RefusesNull(NO_NULL));
    world.submit("app@example.org", &["nobody@example.net"]);
    world.submit("", &["ann@example.net"]);
    assert_eq!(world.status().live, 0);
    let expected = expected([
        ("app@example.org", "nobody@example.net"),
        ("bounces@example.org", "app@example.org"),
        ("bounces@example.org", "ann@example.net"),
    ]);
    assert_eq!(ways(&world), expected);
}

/// A bounce for what was sent in the name of `null-sender` would be bounced in its turn, without an end.
#[test]
fn what_fails_under_null_sender_makes_no_other_bounce() {
    let mut world = World::with(2, has_null_sender);
    world.relay_always(Does::Says(vec![NO_USER]));
    world.submit("app@example.org", &["nobody@example.net"]);
    assert_eq!(world.standing(), Standing::Dead);
    assert_eq!(world.seen.len(), 2, "the message and its bounce");
    assert_eq!(world.spool.message(world.seen[1].id).envelope.reverse_path, ReversePath::Null);
}

#[test]
fn a_reload_gives_null_sender_to_what_is_queued_already() {
    let mut world = World::with(2, |set_up| set_up.relay().has_taken = false);
    world.relay_always(Does::RefusesNull(NO_NULL));
    world.submit("", &["ann@example.net"]);
    assert_eq!(world.status().held, 1);
    world.reload_with(has_null_sender);
    assert_eq!(world.status().live, 0);
    let from: Vec<&str> = world.seen.iter().map(|seen| seen.from.as_str()).collect();
    assert_eq!(from, ["", "bounces@example.org"]);
}

/// The relay must be able to read the address that it is told, not `<>`.
#[test]
fn a_null_sender_beyond_ascii_is_declared_as_such() {
    let mut world = World::with(2, |set_up| set_up.null_sender = address("bünces@example.org"));
    world.submit("", &["ann@example.net"]);
    assert_eq!((world.status().live, world.seen[0].needs_smtputf8), (0, true));
}

/// The postmaster's copy of a bounce was from `<>` as well, was refused as that was, and nobody heard of the failure.
#[test]
fn the_postmaster_s_copy_goes_from_an_address_once_the_null_one_is_refused() {
    let mut world = World::with(2, has_postmaster);
    world.relay_always(Does::RefusesNull(NO_NULL));
    for _ in 0..2 {
        world.relay.once(Does::Says(vec![NO_USER]));
        world.submit("app@example.org", &["nobody@example.net"]);
        assert_eq!(world.status().live, 0);
    }
    let expected = expected([
        ("app@example.org", "nobody@example.net"),
        ("", "app@example.org"),
        ("", "ops@example.org"),
        ("ops@x.example", "ops@example.org"),
        ("app@example.org", "nobody@example.net"),
        ("", "app@example.org"),
        ("ops@x.example", "ops@example.org"),
    ]);
    assert_eq!(ways(&world), expected);
}

/// The log says once that the relay refuses `<>`, and not for each message.
#[test]
fn a_relay_that_refuses_the_null_reverse_path_is_told_once() {
    let (log, _logging) = captured();
    let mut world = World::with(2, has_postmaster);
    world.relay_always(Does::RefusesNull(NO_NULL));
    for _ in 0..2 {
        world.submit("", &["ops@example.org"]);
    }
    let line = format!(
        "WARN nullmta::log::queue: the relay refuses mail from <>: {NO_NULL}; the postmaster's is sent as from ops@x.example \
         now, and all other needs rewrite.null-sender\n"
    );
    assert_eq!(log.text().matches(&line).count(), 1, "{}", log.text());
}

/// A relay that refuses the other address, too, is not asked for ever; nor is one that refuses for another reason.
#[test]
fn what_is_refused_from_either_is_dead_after_two_tries() {
    for (said, tries) in [(NO_NULL, 2), (NO_USER, 1)] {
        let mut world = World::with(2, has_postmaster);
        world.relay_always(Does::Says(vec![said]));
        let id = world.submit("", &["ops@example.org"]);
        assert_eq!((world.standing(), world.times_seen(id)), (Standing::Dead, tries), "{said}");
        world.reload();
        world.pass(HOUR * 2);
        assert_eq!(world.times_seen(id), tries, "{said}");
    }
}
