//! Relays that refuse the null reverse-path `<>`.

use super::super::LogLine;
use super::world::{Does, HOUR, MINUTE, SetUp, World};
use crate::envelope::{Address, ReversePath};
use crate::queue::Standing;
use crate::queue::testing::captured;
use crate::relay::Phase;

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
    set_up.overseers.postmaster = address("ops@example.org");
    set_up.postmaster_sender = address("ops@x.example");
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
    assert_eq!((world.status().live, world.seen[0].wants_smtputf8), (0, true));
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
         now, and all other needs queue.bounce-sender or rewrite.null-sender\n"
    );
    assert_eq!(log.text().matches(&line).count(), 1, "{}", log.text());
}

/// A bounce was dead, and nothing said that one key would have the relay take the next ones.
#[test]
fn what_is_dead_for_the_null_reverse_path_itself_names_the_key_that_helps() {
    let named = "queue.bounce-sender";
    let has_bounce_sender = |set_up: &mut SetUp| {
        set_up.bounce_sender = address("bounces@example.org");
        set_up.policy.has_null_sender = true;
    };
    for (said, set_up, names_it) in [
        (NO_NULL, None, true),
        ("554 refused", None, true),
        (NO_USER, None, false),
        ("552 5.3.4 message is too large", None, false),
        // The relay did not get <>.
        (NO_NULL, Some(has_null_sender as fn(&mut SetUp)), false),
        (NO_NULL, Some(has_bounce_sender), false),
    ] {
        let mut world = World::with(2, set_up.unwrap_or(|_| ()));
        let taken = world.submit("app@example.org", &["ann@example.net"]);
        assert_eq!(world.times_seen(taken), 1);
        world.relay_always(Does::Says(vec![said]));
        let id = world.submit("", &["ann@example.net"]);
        assert_eq!(world.standing(), Standing::Dead, "{said}");
        let dead: Vec<&String> =
            world.log.iter().filter(|line| line.starts_with(&format!("{id}: dead: "))).collect();
        assert_eq!((dead.len(), dead[0].contains(named)), (1, names_it), "{said}: {dead:?}");
    }
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

fn has_bounce_sender(set_up: &mut SetUp) {
    has_postmaster(set_up);
    set_up.bounce_sender = address("bounces@example.org");
    set_up.policy.has_null_sender = true;
}

/// The bounces to all senders were dead at such a relay, and nobody heard of a failure.
#[test]
fn a_bounce_that_is_refused_for_the_null_reverse_path_goes_from_bounce_sender() {
    let mut world = World::with(2, has_bounce_sender);
    world.relay_always(Does::RefusesNull(NO_NULL));
    for _ in 0..2 {
        world.relay.once(Does::Says(vec![NO_USER]));
        world.submit("app@example.org", &["nobody@example.net"]);
        assert_eq!(world.status().live, 0);
    }
    let expected = expected([
        ("app@example.org", "nobody@example.net"),
        ("", "app@example.org"),
        ("bounces@example.org", "app@example.org"),
        ("app@example.org", "nobody@example.net"),
        ("bounces@example.org", "app@example.org"),
    ]);
    assert_eq!(ways(&world), expected);
}

/// Where a rule read the refusal of `<>` as one of a sender, each bounce was held for ever, though `queue.bounce-sender` was
/// set.
#[test]
fn words_about_a_sender_are_about_the_null_reverse_path_too() {
    for (host, said) in [
        ("mail.hoster.example", "550 5.7.1 <> is not a verified sender"),
        ("mail.hoster.example", "553 5.7.1 <>: Sender address rejected: not owned by user app"),
        ("mail.hoster.example", "550 5.7.1 not authorized to send from that address"),
        ("smtp.office365.com", "554 5.2.252 SendAsDenied; app@x not allowed to send as"),
        ("email-smtp.eu-west-1.amazonaws.com", "554 Message rejected: Email address is not verified."),
    ] {
        let refuses = Does::RefusesByRule { host, from: Some(""), said };
        let mut world = World::with(2, has_bounce_sender);
        world.relay_always(refuses.clone());
        world.submit("", &["ann@example.net"]);
        assert_eq!(world.status().live, 0, "{said}: {:?}", ways(&world));
        assert_eq!(ways(&world).last().unwrap().0, "bounces@example.org", "{said}");

        let mut world = World::with(2, has_bounce_sender);
        world.relay_always(Does::RefusesByRule { host, from: None, said });
        world.submit("", &["ann@example.net"]);
        world.pass(HOUR * 3 + MINUTE);
        let from: Vec<&str> = world.seen.iter().map(|seen| seen.from.as_str()).collect();
        assert_eq!((from[0], &from[1..]), ("", &["bounces@example.org"; 4][..]), "{said}");

        let mut world = World::new(2);
        world.relay_always(refuses);
        world.submit("", &["ann@example.net"]);
        assert_eq!(world.standing(), Standing::Held, "{said}");
        let hint = world.lines.iter().find_map(|line| match line {
            LogLine::SenderHeld { sender, .. } => sender.hint.clone(),
            _ => None,
        });
        assert!(hint.as_ref().is_some_and(|hint| hint.contains("queue.bounce-sender")), "{said}: {hint:?}");
    }
}

/// SES says this to `<>`, at MAIL.
#[test]
fn a_refusal_at_mail_from_is_about_the_null_reverse_path_too() {
    let mut world = World::with(2, has_bounce_sender);
    world.relay.once(Does::RefusesAt(Phase::Mail, "501 Invalid MAIL FROM address provided"));
    let id = world.submit("", &["ann@example.net"]);
    assert_eq!(world.status().live, 0);
    let given = world.given.iter().filter(|(_, given)| *given == id).count();
    assert_eq!((given, ways(&world).last().unwrap().0), (2, "bounces@example.org"));
}

/// A relay that takes `<>`, and refuses one bounce for another reason, gets the next ones from `<>`.
#[test]
fn one_refused_bounce_does_not_take_the_null_reverse_path_from_others() {
    let mut world = World::with(2, has_bounce_sender);
    for _ in 0..2 {
        world.relay.once(Does::Says(vec![NO_NULL]));
    }
    world.submit("", &["ann@example.net"]);
    world.submit("", &["ben@example.net"]);
    let ways: Vec<&str> = world.seen.iter().map(|seen| seen.from.as_str()).collect();
    assert_eq!(ways.first().copied(), Some(""));
    assert_eq!(ways.last().copied(), Some(""), "{ways:?}");
}

/// What is refused from both addresses makes no further bounce to its sender, however often that could go on: the
/// postmaster hears of it once, and then it is over.
#[test]
fn a_bounce_from_bounce_sender_makes_no_bounce() {
    let mut world = World::with(2, has_bounce_sender);
    world.relay_always(Does::Says(vec![NO_NULL]));
    world.relay.once(Does::Says(vec![NO_USER]));
    world.submit("app@example.org", &["nobody@example.net"]);
    world.pass(HOUR * 200);
    let to_app = world.seen.iter().filter(|seen| seen.to == ["app@example.org"]).count();
    let seen = world.seen.len();
    assert!(to_app <= 2 && seen <= 5, "{:?}", ways(&world));
    assert_eq!(world.status().live, 1, "what nobody could be told of is kept");
}

fn has_bounce_copy(set_up: &mut SetUp) {
    set_up.overseers.bounce_copy = address("copy@example.org");
}

/// Most senders are `noreply@`, where nobody reads that mail has failed.
#[test]
fn bounce_copy_gets_each_failure_as_well() {
    let mut world = World::with(2, has_bounce_copy);
    world.relay.once(Does::Says(vec![NO_USER]));
    world.submit("noreply@example.org", &["nobody@example.net"]);
    assert_eq!(world.status().live, 0);
    let expected = expected([
        ("noreply@example.org", "nobody@example.net"),
        ("", "noreply@example.org copy@example.org"),
    ]);
    assert_eq!(ways(&world), expected);
}

/// A copy that fails is the end of it: there is no copy of a bounce that failed.
#[test]
fn a_bounce_that_fails_makes_no_copy() {
    let mut world = World::with(2, |set_up| {
        has_bounce_copy(set_up);
        has_postmaster(set_up);
    });
    world.relay_always(Does::Says(vec![NO_USER, NO_USER]));
    world.submit("noreply@example.org", &["nobody@example.net"]);
    world.pass(HOUR * 200);
    let expected = expected([
        ("noreply@example.org", "nobody@example.net"),
        ("", "noreply@example.org copy@example.org"),
        ("", "ops@example.org"),
    ]);
    assert_eq!(ways(&world), expected);
    assert_eq!(world.standing(), Standing::Dead);
}
