//! What happens at one relay and must change nothing at another: quotas, held senders, poison, a refused `<>`, a long queue,
//! and the ways of bounces.

use super::super::LogLine;
use super::world::{Does, HOUR, MINUTE, SECOND, World};
use crate::envelope::Address;

const SES: &str = "email-smtp.eu-west-1.amazonaws.com";
const QUOTA: &str = "454 Throttling failure: Daily message quota exceeded.";
const NOT_VERIFIED: &str = "554 Message rejected: Email address is not verified.";
const NO_USER: &str = "550 5.1.1 no such user";

fn news() -> Option<String> {
    Some("news".into())
}

/// Returns a world with a route for mail from `@news.example`, and one for mail to `@partner.example`.
fn routed() -> World {
    World::with(2, |set_up| {
        set_up.add_route("news", &["@news.example"], &[]);
        set_up.add_route("partner", &[], &["@partner.example"]);
    })
}

/// Returns the routes by which this recipient was sent to.
fn ways(world: &World, to: &str) -> Vec<Option<String>> {
    let to_it = world.via.iter().filter(|(_, recipients)| recipients.iter().any(|one| one == to));
    to_it.map(|(route, _)| route.clone()).collect()
}

/// Ten thousand messages wait for a relay that is away. What another submitter and another relay do is as fast as ever.
#[test]
fn ten_thousand_messages_of_a_paused_route_hold_up_no_other() {
    let mut world = routed();
    world.away.insert(news());
    for number in 0..10_000 {
        world.submit("app@news.example", &[&format!("n{number}@x.example")]);
    }
    world.pass(MINUTE);
    assert_eq!((world.status().live, world.seen.len()), (10_000, 0));
    for number in 0..100 {
        world.submit("app@shop.example", &[&format!("s{number}@x.example")]);
        world.submit("app@shop.example", &[&format!("p{number}@partner.example")]);
        assert_eq!(world.seen.len(), 2 * (number + 1), "at once");
    }
    world.restart();
    world.submit("app@shop.example", &["after@x.example"]);
    world.pass(SECOND);
    assert_eq!((ways(&world, "after@x.example").len(), world.status().live), (1, 10_000));
    assert!(world.status().relays[1].paused_until.is_some());
    world.away.clear();
    world.pass(HOUR);
    assert_eq!((world.status().live, world.seen.len()), (0, 10_201));
}

#[test]
fn a_used_up_quota_pauses_its_route_and_no_other() {
    let mut world = routed();
    world.by_route.insert(news(), Does::RefusesByRule { host: SES, from: None, said: QUOTA });
    for _ in 0..10 {
        world.submit("app@news.example", &["ann@x.example"]);
        world.submit("app@shop.example", &["bob@x.example"]);
    }
    world.pass(HOUR * 10);
    let status = world.status();
    assert!(status.relays[1].trouble.as_ref().is_some_and(|why| why.contains("quota")), "{status:?}");
    assert!(status.relays[0].trouble.is_none() && status.relays[1].live == 10 && status.live == 10);
    assert_eq!((ways(&world, "bob@x.example").len(), world.logged("bounced")), (10, 0));
    assert!(world.line_routes.iter().all(|route| *route == news()), "each line names the route");
    world.by_route.clear();
    world.pass(HOUR * 2);
    assert_eq!(world.status().live, 0);
}

/// The same sender at two relays: one of them does not know it.
#[test]
fn a_sender_that_one_relay_does_not_know_is_held_there_alone() {
    let mut world = routed();
    let does = Does::RefusesByRule { host: SES, from: Some("app@shop.example"), said: NOT_VERIFIED };
    world.by_route.insert(Some("partner".into()), does);
    for _ in 0..5 {
        world.submit("app@shop.example", &["ann@x.example", "bob@partner.example"]);
        world.submit("app@other.example", &["eve@partner.example"]);
    }
    assert_eq!((world.status().held, world.status().live), (5, 5));
    assert_eq!((ways(&world, "ann@x.example").len(), ways(&world, "eve@partner.example").len()), (5, 5));
    let held = world.lines.iter().position(|line| matches!(line, LogLine::SenderHeld { .. })).unwrap();
    assert_eq!(world.line_routes[held], Some("partner".into()));
    world.by_route.clear();
    world.pass(HOUR * 3);
    assert_eq!((world.status().live, ways(&world, "ann@x.example").len()), (0, 5), "nobody twice");
}

/// A message at which one relay hangs up harms neither the other mail of that relay nor another relay.
#[test]
fn poison_at_one_route_harms_no_other() {
    let mut world = World::with(2, |set_up| set_up.add_route("app", &["app@example.org"], &[]));
    world.arrive_poison();
    for number in 0..20 {
        world.submit("app@example.org", &[&format!("n{number}@x.example")]);
        world.submit("shop@example.org", &[&format!("s{number}@x.example")]);
    }
    world.pass(MINUTE * 10);
    let status = world.status();
    assert_eq!((status.live, status.relays[0].troubles), (1, 0), "{status:?}");
    assert!(status.relays[0].paused_until.is_none());
    world.pass(HOUR * 24 * 6);
    assert_eq!((world.logged("expired"), world.status().live), (1, 0));
}

/// The sender was told of the delay by each relay that was late, twice of the same message.
#[test]
fn a_sender_is_told_of_a_delay_once_though_two_relays_are_late() {
    for with_restart in [false, true] {
        let mut world = World::with(2, |set_up| {
            set_up.policy.retry.delay_warning = Some(HOUR * 4);
            set_up.add_route("partner", &[], &["@partner.example"]);
        });
        let id = world.spool.next_id();
        world.relay.always_with(id, Does::Defers);
        world.submit("app@example.org", &["ann@x.example", "bob@partner.example"]);
        world.pass(HOUR * 5);
        if with_restart {
            world.restart();
        }
        world.pass(HOUR * 24);
        let warnings = world.seen.iter().filter(|seen| seen.from.is_empty()).count();
        assert_eq!(warnings, 1, "{with_restart}");
    }
}

/// Mail from `<>` to any relay went from the address of `queue.bounce-sender` once one relay had refused `<>`.
#[test]
fn what_one_relay_says_to_a_bounce_changes_nothing_for_another() {
    let mut world = World::with(2, |set_up| {
        set_up.bounce_sender = Some(Address::parse("bounces@shop.example").unwrap());
        set_up.policy.has_null_sender = true;
        set_up.add_route("partner", &[], &["@partner.example"]);
    });
    world.by_route.insert(Some("partner".into()), Does::RefusesNull("550 5.7.1 null sender refused"));
    for _ in 0..3 {
        world.submit("", &["bob@partner.example"]);
        world.submit("", &["ann@x.example"]);
    }
    world.pass(MINUTE);
    assert_eq!(world.status().live, 0);
    let from_to = |to: &str| -> Vec<String> {
        let seen = world.seen.iter().filter(|seen| seen.to == [to]);
        seen.map(|seen| seen.from.clone()).collect()
    };
    assert_eq!(from_to("ann@x.example"), ["", "", ""]);
    assert_eq!(from_to("bob@partner.example").last().unwrap(), "bounces@shop.example");
}

/// A bounce is from `<>`: it goes by a route that names `<>`, or by that of its recipient, never by the one of its original.
#[test]
fn a_bounce_goes_by_its_own_route_and_its_copy_by_another() {
    for (with_null, of_bounce, of_copy) in
        [(false, None, Some("partner")), (true, Some("bounces"), Some("bounces"))]
    {
        let mut world = World::with(2, |set_up| {
            set_up.overseers.bounce_copy = Some(Address::parse("ops@partner.example").unwrap());
            if with_null {
                set_up.add_route("bounces", &["<>"], &[]);
            }
            set_up.add_route("news", &["@news.example"], &[]);
            set_up.add_route("partner", &[], &["@partner.example"]);
        });
        world.by_route.insert(news(), Does::Says(vec![NO_USER]));
        world.submit("app@news.example", &["nobody@x.example"]);
        assert_eq!(world.status().live, 0);
        assert_eq!(ways(&world, "nobody@x.example"), [news()]);
        assert_eq!(ways(&world, "app@news.example"), [of_bounce.map(str::to_owned)]);
        assert_eq!(ways(&world, "ops@partner.example"), [of_copy.map(str::to_owned)]);
        assert!(world.log[0].contains(", route=news, dsn=5.1.1, status=bounced"), "{}", world.log[0]);
    }
}

/// The original waits for its bounce to be on the spool, not for the relay that gets the bounce.
#[test]
fn a_bounce_whose_relay_is_away_waits_alone() {
    let mut world = routed();
    world.away.insert(None);
    world.by_route.insert(news(), Does::Says(vec![NO_USER]));
    let id = world.submit("app@news.example", &["nobody@x.example", "none@x.example"]);
    assert_eq!((world.status().live, world.times_seen(id)), (1, 1));
    world.restart();
    world.away.clear();
    world.pass(HOUR);
    assert_eq!((world.status().live, ways(&world, "app@news.example")), (0, vec![None]));
}

/// Turns go by submitter at each relay: a flood to one of them delays nobody's single message at another, nor there.
#[test]
fn a_flood_by_one_submitter_at_one_relay_delays_no_other_submitter_anywhere() {
    let mut world = routed();
    world.relay.pace.transmitting = SECOND;
    for number in 0..500 {
        world.submit(
            "app@news.example",
            &[&format!("n{number}@x.example"), &format!("p{number}@partner.example")],
        );
    }
    world.lane = 2;
    world.submit("sue@news.example", &["ann@x.example"]);
    world.submit("sue@shop.example", &["bob@x.example"]);
    world.pass(SECOND * 4);
    assert_eq!((ways(&world, "ann@x.example"), ways(&world, "bob@x.example")), (vec![news()], vec![None]));
}
