//! Refusals for reasons of the set-up, not of a message.

use super::super::{Event, LogLine};
use super::world::{DAY, Does, MINUTE, World};
use crate::config::OnRefusal;
use crate::outcome::HeldUntil;
use crate::queue::Standing;

const DENIED: &str = "553 5.7.1 <app@example.org>: sender not owned by user";

/// Returns a world whose relay has never taken a message.
fn first_day() -> World {
    World::with(2, |set_up| set_up.relay().has_taken = false)
}

fn one_arrives(world: &mut World) {
    world.submit("app@example.org", &["ann@example.net"]);
}

/// Thirty of thirty messages bounced for one wrong setting, and nothing warned of it.
#[test]
fn a_refusal_of_everything_bounces_no_more_than_a_few_and_warns() {
    let mut world = World::new(2);
    world.relay_always(Does::Says(vec![DENIED]));
    (0..30).for_each(|_| one_arrives(&mut world));
    assert!(world.is_paused());
    let trouble = world.status().foremost().trouble.clone().unwrap();
    assert!(trouble.contains("messages in a row were refused alike"), "{trouble}");
    world.pass(DAY * 7);
    let bounced = world.logged("status=bounced (");
    assert!((1..20).contains(&bounced), "{bounced}");
    assert_eq!(world.logged("status=expired ("), 0, "patience does not run");
    assert_eq!(world.pauses_logged(), 1, "{:?}", world.lines);
    let tries = world.seen.len();
    assert!(tries < 3000, "{tries}: one message a probe");

    world.relay_always(Does::Takes);
    world.pass(MINUTE * 10);
    let status = world.status();
    assert_eq!((status.live - status.dead, status.foremost().paused_until), (0, None));
}

/// The first day's mail was lost at every provider: cron's mail goes out as root@vm, the provider refuses the
/// sender, and the bounce as well.
#[test]
fn before_its_first_message_the_relay_s_refusals_hold() {
    let mut world = first_day();
    world.relay_always(Does::Says(vec!["554 Message rejected: Email address is not verified."]));
    world.submit("root@vm", &["ann@example.net"]);
    let status = world.status();
    assert_eq!(status.held, 1);
    assert!(status.foremost().held_because.clone().unwrap().contains("Email address is not verified"));
    let is_told = |line: &LogLine| matches!(line, LogLine::RefusalHeld { until: HeldUntil::FirstTaken, .. });
    assert_eq!(world.lines.iter().filter(|line| is_told(line)).count(), 1);
    world.pass(DAY);
    assert_eq!(world.seen.len(), 1, "not tried by itself");

    world.reload();
    assert_eq!((world.status().held, world.seen.len()), (1, 2));
    world.tell(Event::ProbeNow);
    assert_eq!((world.status().held, world.seen.len()), (1, 3));
    world.restart();
    assert_eq!((world.status().held, world.seen.len()), (1, 4));
    assert_eq!(world.standing(), Standing::Held);

    world.relay_always(Does::Takes);
    world.reload();
    assert_eq!((world.status().live, world.logged("status=bounced")), (0, 0));
    assert!(world.seen.iter().all(|seen| seen.from == "root@vm"), "no bounce");
}

/// A quota or a policy that is told at RCPT without a status was taken for the recipient's, and bounced the first day's
/// mail.
#[test]
fn on_the_first_day_only_a_clear_refusal_at_rcpt_bounces() {
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
        let mut world = first_day();
        world.relay.once(Does::SaysAtRcpt(vec![said]));
        one_arrives(&mut world);
        let status = world.status();
        let bounces = world.seen.iter().filter(|seen| seen.from.is_empty()).count();
        let expected = if is_held { (1, 1, 0) } else { (0, 0, 1) };
        assert_eq!((status.live, status.held, bounces), expected, "{said}");
    }
}

/// A message that was refused without a reason before the relay had taken its first one stayed held for ever.
#[test]
fn an_unclear_refusal_counts_once_the_relay_has_taken_mail() {
    let mut world = first_day();
    world.relay.once(Does::SaysAtRcpt(vec!["550 mailbox unavailable"]));
    let id = world.submit("app@example.org", &["ann@example.net"]);
    assert_eq!(world.status().held, 1);
    world.relay.always_with(id, Does::SaysAtRcpt(vec!["550 mailbox unavailable"]));
    world.submit("app@example.org", &["ben@example.net"]);
    assert_eq!(world.status().live, 0);
    assert_eq!((world.times_seen(id), world.seen.len()), (2, 4), "tried again, and bounced");
}

/// Thirty of thirty messages bounced with a bare 550 at RCPT that named no reason.
#[test]
fn a_bare_550_for_everybody_bounces_no_more_than_a_few() {
    let mut world = World::new(2);
    world.relay_always(Does::SaysAtRcpt(vec!["550 mailbox unavailable"]));
    for number in 0..60 {
        let to = if number % 2 == 0 { "ann@example.net" } else { "ben@example.com" };
        world.submit("app@example.org", &[to]);
    }
    assert!(world.is_paused());
    let trouble = world.status().foremost().trouble.clone().unwrap();
    assert!(trouble.contains("messages in a row were refused alike"), "{trouble}");
    assert!(world.logged("status=bounced (") < 20, "{:?}", world.log);
}

#[test]
fn a_relay_that_has_taken_mail_is_believed_in_the_next_run_too() {
    let mut world = first_day();
    world.relay_always(Does::Says(vec![DENIED]));
    world.submit("root@vm", &["ann@example.net"]);
    assert_eq!(world.status().held, 1);
    world.relay_always(Does::Takes);
    one_arrives(&mut world);
    assert_eq!((world.status().live, world.set_up.relay().has_taken), (1, true), "it is to be remembered");
    world.relay_always(Does::Says(vec![DENIED]));
    world.restart();
    assert_eq!(world.status().held, 1, "nobody could correct what it was accepted with");
    world.relay.once(Does::Says(vec![DENIED]));
    world.relay_always(Does::Takes);
    world.submit("ben@vm", &["ann@example.net"]);
    assert_eq!((world.status().live, world.status().held), (1, 1));
    let last = world.seen.last().unwrap();
    assert_eq!((last.from.as_str(), last.to.as_slice()), ("", &["ben@vm".to_owned()][..]), "it bounced");
}

#[test]
fn other_recipients_of_a_held_message_have_their_end() {
    let mut world = first_day();
    world.relay.once(Does::Says(vec![DENIED, "550 5.1.1 no such user"]));
    world.relay_always(Does::Says(vec![DENIED]));
    world.submit("app@example.org", &["ann@example.net", "nobody@example.net"]);
    assert_eq!((world.status().live, world.status().held), (2, 2));
    assert_eq!(world.seen[1].to, ["app@example.org"], "a bounce, which is refused as well");
    assert!(world.seen[1].content.contains("nobody@example.net"));
    world.relay_always(Does::Takes);
    world.reload();
    assert_eq!(world.status().live, 0);
    assert!(world.seen.iter().skip(2).any(|seen| seen.to == ["ann@example.net"]));
}

/// A message of which one recipient was taken was no message that the relay refused on its first day.
#[test]
fn what_the_relay_takes_in_the_same_breath_ends_the_first_day() {
    let mut world = first_day();
    world.relay.once(Does::Says(vec![DENIED, "250 2.0.0 ok"]));
    world.submit("app@example.org", &["ann@example.net", "ben@example.net"]);
    assert_eq!(world.status().live, 0);
    assert_eq!(world.seen[1].to, ["app@example.org"], "it bounced");
}

/// The bounces of messages that were refused for a wrong setting were refused for it, too, and dead for ever.
#[test]
fn the_bounces_of_refused_messages_wait_until_the_relay_takes_one() {
    let mut world = World::new(2);
    world.relay_always(Does::Says(vec![DENIED]));
    (0..12).for_each(|_| one_arrives(&mut world));
    let status = world.status();
    assert_eq!((status.held, status.live, status.dead, status.foremost().paused_until), (12, 12, 0, None));
    assert!(status.foremost().held_because.clone().unwrap().contains("held until it takes a message"));
    world.pass(DAY);
    world.reload();
    assert_eq!(world.status().held, 12);

    world.relay_always(Does::Takes);
    let before = world.seen.len();
    one_arrives(&mut world);
    assert_eq!(world.status().live, 0);
    let told = world.seen[before..].iter().filter(|seen| seen.from.is_empty()).count();
    assert_eq!(told, 12);
}

#[test]
fn a_bounce_that_is_refused_again_on_its_own_is_dead() {
    let mut world = World::new(2);
    world.relay.once(Does::Says(vec![DENIED]));
    world.relay.once(Does::Says(vec![DENIED]));
    one_arrives(&mut world);
    assert_eq!(world.status().held, 1);
    world.relay.once(Does::Takes);
    world.relay.once(Does::Says(vec![DENIED]));
    one_arrives(&mut world);
    assert_eq!((world.status().dead, world.status().live), (1, 1));
    assert_eq!(world.seen.last().unwrap().from, "");
}

#[test]
fn as_configured_refusals_hold_or_bounce_always() {
    for (on_refusal, has_taken, held) in [(OnRefusal::Hold, true, 1), (OnRefusal::Bounce, false, 0)] {
        let mut world = World::with(2, |set_up| {
            set_up.relay().refusals.on_refusal = Some(on_refusal);
            set_up.relay().has_taken = has_taken;
        });
        world.relay.once(Does::Says(vec![DENIED]));
        one_arrives(&mut world);
        assert_eq!((world.status().live, world.status().held), (held, held), "{on_refusal:?}");
    }
}

/// With no user name configured every message bounced with "not authenticated".
#[test]
fn a_login_that_is_asked_for_and_not_configured_pauses_the_relay_at_once() {
    let mut world = World::with(2, |set_up| {
        set_up.relay().refusals.has_login = false;
        set_up.relay().has_taken = false;
    });
    world.relay_always(Does::Says(vec!["550 5.7.1 Client was not authenticated"]));
    world.arrive(3);
    let status = world.status();
    assert!(
        status.foremost().paused_until.is_some()
            && status.foremost().trouble.clone().unwrap().contains("set [auth]")
    );
    assert_eq!((status.live, status.held), (3, 0));
    assert!(world.seen.len() <= 2, "one a connection");
}
