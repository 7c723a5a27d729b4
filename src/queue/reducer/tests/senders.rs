//! Refusals that a rule takes for a matter of the sender: what waits, and how often it is tried.

use super::super::{Event, LogLine};
use super::world::{DAY, Does, HOUR, World};
use crate::envelope::{Address, ReversePath};

const SES: &str = "email-smtp.eu-west-1.amazonaws.com";
const NOT_VERIFIED: &str = "554 Message rejected: Email address is not verified.";

fn refuses(host: &'static str, said: &'static str) -> Does {
    Does::RefusesByRule { host, from: None, said }
}

/// Returns a world whose relay does not take one sender's mail, and that has twenty of its messages, and twenty others.
fn one_sender_refused() -> World {
    let mut world = World::new(4);
    world.relay_always(Does::RefusesByRule { host: SES, from: Some("shop@example.org"), said: NOT_VERIFIED });
    for _ in 0..20 {
        world.submit("shop@example.org", &["ann@example.net"]);
        world.submit("app@example.org", &["ann@example.net"]);
    }
    world
}

fn holds_logged(world: &World) -> usize {
    world.lines.iter().filter(|line| matches!(line, LogLine::SenderHeld { .. })).count()
}

fn tried(world: &World, from: &str) -> usize {
    world.seen.iter().filter(|seen| seen.from == from).count()
}

#[test]
fn mail_of_a_sender_that_the_relay_does_not_know_waits_and_other_mail_goes_on() {
    let mut world = one_sender_refused();
    let status = world.status();
    assert_eq!((status.held, status.live, world.is_paused()), (20, 20, false));
    assert_eq!(
        (world.logged("status=sent"), world.logged("status=held")),
        (20, 3),
        "three in a row are tried"
    );
    assert_eq!(holds_logged(&world), 2, "at the first, and when it is stopped: {:?}", world.lines);
    let before = world.seen.len();
    world.pass(DAY * 10);
    let probes = world.seen.len() - before;
    assert!((239..=240).contains(&probes), "{probes}: one each hour");
    assert_eq!((world.status().held, world.logged("status=bounced"), holds_logged(&world)), (20, 0, 2));

    world.relay_always(Does::Takes);
    world.pass(HOUR);
    assert_eq!((world.status().live, world.logged("status=sent")), (0, 40));
    assert!(world.lines.iter().any(|line| matches!(line, LogLine::SenderTaken { held: 19, .. })));
}

#[test]
fn what_is_held_of_a_sender_is_tried_at_a_start_and_when_one_is_taken() {
    let mut world = one_sender_refused();
    world.restart();
    assert_eq!((world.status().held, holds_logged(&world)), (20, 4), "said again after a restart");
    assert!((6..=10).contains(&tried(&world, "shop@example.org")), "as many as there are connections");
    world.relay_always(Does::Takes);
    world.submit("app@example.org", &["ann@example.net"]);
    assert_eq!(world.status().held, 20, "another sender's mail shows nothing");
    world.submit("shop@example.org", &["ann@example.net"]);
    assert_eq!(world.status().held, 21, "it waits beside the others");
    world.pass(HOUR);
    assert_eq!(world.status().live, 0);
}

/// A sender of which one message is held sends on: it has shown nothing about others.
#[test]
fn the_next_message_of_a_sender_that_is_taken_frees_the_one_that_is_held() {
    let mut world = World::new(4);
    world.relay_always(refuses(SES, NOT_VERIFIED));
    world.submit("shop@example.org", &["ann@example.net"]);
    world.relay_always(Does::Takes);
    assert_eq!(world.status().held, 1);
    world.submit("shop@example.org", &["ann@example.net"]);
    assert_eq!((world.status().live, world.logged("status=sent")), (0, 2));
}

/// Each of five hundred new messages was tried once before it was held.
#[test]
fn new_mail_of_a_sender_that_the_relay_does_not_take_is_not_tried() {
    let mut world = one_sender_refused();
    for _ in 0..500 {
        world.submit("shop@example.org", &["ann@example.net"]);
    }
    let (connections, status) = (world.begun.len(), world.status());
    assert_eq!((tried(&world, "shop@example.org"), status.held, status.ready), (3, 520, 0));
    let relay = status.foremost();
    let because = relay.held_because.clone().unwrap();
    assert!(because.starts_with("the relay does not take mail from <shop@example.org>, which is held, "));
    let from = |text| ReversePath::Mailbox(Address::parse(text).unwrap());
    let why = relay.holds_mail_of(&from("shop@example.org"), true).unwrap();
    assert_eq!(
        why,
        format!("not tried, since the relay refused other messages of this sender: {NOT_VERIFIED}")
    );
    assert_eq!(relay.holds_mail_of(&from("app@example.org"), true), None);

    world.pass(DAY);
    assert!(
        world.begun.len() <= connections + 24 && tried(&world, "shop@example.org") == 27,
        "one each hour"
    );
    world.tell(Event::ProbeNow);
    let asked_again = tried(&world, "shop@example.org") - 27;
    assert!(
        (3..=3 + 4).contains(&asked_again),
        "{asked_again}: a flush asks again, over four connections at most"
    );
    assert_eq!((world.status().held, holds_logged(&world)), (520, 4));

    world.relay_always(Does::Takes);
    world.pass(HOUR);
    assert_eq!((world.status().live, world.logged("status=sent")), (0, 540), "all of it, once each");
}

/// A message that is deferred at each try, for itself, was the one that was tried each hour, and nothing else of its
/// sender went.
#[test]
fn the_messages_of_a_held_sender_take_turns() {
    let mut world = one_sender_refused();
    let first = world.seen.iter().find(|seen| seen.from == "shop@example.org").unwrap().id;
    world.relay_always(Does::Takes);
    world.relay.always_with(first, Does::Defers);
    world.pass(HOUR * 2);
    assert_eq!(world.status().live, 1);
}

/// Amazon's sandbox refuses messages by their recipients, in words about the sender. Each message that it took had all that
/// were held tried again: 65 transactions for twenty messages, and the log said each time that the sender is held.
#[test]
fn a_sender_with_good_and_bad_mail_is_not_tried_more_than_twice_for_each_bad_one() {
    let mut world = World::new(4);
    world.bad = refuses(SES, NOT_VERIFIED);
    for _ in 0..10 {
        world.arrive_poison();
        world.arrive(1);
    }
    assert_eq!((world.logged("status=sent"), world.status().live), (10, 10));
    assert_eq!((world.seen.len(), world.logged("status=deferred")), (30, 10), "{:?}", world.log);
    assert_eq!(holds_logged(&world), 1, "{:?}", world.lines);
    let passed = world.pass_until_live(0, HOUR);
    assert!((DAY * 5..DAY * 6).contains(&passed), "{passed:?}: each bad one goes its own way");
    assert_eq!(world.logged("status=expired"), 10);
}
