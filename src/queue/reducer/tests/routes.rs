//! Several relays: each has its own pause, a message goes by the routes of now, and nobody gets anything twice.

use jiff::SignedDuration;

use super::super::Event;
use super::world::{DAY, Does, HOUR, MINUTE, Pace, SECOND, World, start};
use crate::queue::Standing;
use crate::queue::orders::OrderResult;
use crate::spool::{Fate, OperatorVerb};

const NEWS: &str = "news";

/// Returns a world with a route for mail from `@news.example`, and one for mail to `@partner.example`.
fn routed() -> World {
    World::with(2, |set_up| {
        set_up.add_route(NEWS, &["@news.example"], &[]);
        set_up.add_route("partner", &[], &["@partner.example"]);
    })
}

fn news() -> Option<String> {
    Some(NEWS.into())
}

fn partner() -> Option<String> {
    Some("partner".into())
}

/// Returns the names of the routes by which this recipient was sent to.
fn ways(world: &World, to: &str) -> Vec<Option<String>> {
    let to_it = world.via.iter().filter(|(_, recipients)| recipients.iter().any(|one| one == to));
    to_it.map(|(route, _)| route.clone()).collect()
}

#[test]
fn a_paused_route_holds_up_no_other() {
    let mut world = routed();
    world.away.insert(news());
    for number in 0..50 {
        world.submit("app@news.example", &[&format!("n{number}@x.example")]);
        world.submit("app@shop.example", &[&format!("s{number}@x.example")]);
        world.submit("app@shop.example", &[&format!("p{number}@partner.example")]);
    }
    world.pass(MINUTE);
    assert_eq!((world.status().live, world.seen.len()), (50, 100));
    let status = world.status();
    let [first, news_relay, third] = &status.relays[..] else { panic!("{status:?}") };
    assert!(first.paused_until.is_none() && third.paused_until.is_none());
    assert!(news_relay.paused_until.is_some() && news_relay.live == 50 && news_relay.troubles > 0);
    assert_eq!((news_relay.paused_since, first.paused_since), (Some(start().time_of_day), None));
    let figures = (news_relay.ready, news_relay.under_way, news_relay.deferred, news_relay.held);
    assert_eq!((figures, first.live, third.live), ((50, 0, 0, 0), 0, 0));
    assert_eq!(
        (ways(&world, "s7@x.example"), ways(&world, "p7@partner.example")),
        (vec![None], vec![partner()])
    );
    world.away.clear();
    world.pass(HOUR);
    assert_eq!((world.status().live, ways(&world, "n7@x.example")), (0, vec![news()]));
}

#[test]
fn what_one_relay_refuses_or_defers_says_nothing_of_another() {
    let mut world = routed();
    let bounced = world.submit("app@news.example", &["ann@x.example"]);
    assert!(world.standings().is_empty(), "{bounced} was sent");
    world.relay_always(Does::RefusesLogin);
    world.submit("app@news.example", &["ann@x.example"]);
    assert!(world.status().relays[1].paused_until.is_some());
    world.relay_always(Does::Takes);
    world.submit("app@shop.example", &["ann@x.example"]);
    assert_eq!((world.status().live, world.seen.len()), (1, 2), "the route waits, the other relay takes");
}

/// The recipients of one message at a relay that is away must not hold up the others, nor may these get it twice.
#[test]
fn a_message_with_recipients_at_several_relays_goes_to_each_recipient_once() {
    for end in [|_: &mut World| {}, World::restart, World::reload] {
        let mut world = routed();
        world.away.insert(partner());
        let id = world.submit("app@shop.example", &["ann@x.example", "bob@partner.example", "eve@x.example"]);
        assert_eq!(world.times_seen(id), 1, "two recipients at once");
        assert_eq!((ways(&world, "ann@x.example"), ways(&world, "eve@x.example")), (vec![None], vec![None]));
        end(&mut world);
        world.pass(MINUTE);
        assert_eq!((world.status().live, world.times_seen(id)), (1, 1));
        world.away.clear();
        world.pass(HOUR);
        assert_eq!((world.status().live, world.times_seen(id)), (0, 2));
        assert_eq!(ways(&world, "bob@partner.example"), [partner()]);
    }
}

#[test]
fn a_message_is_under_way_to_one_relay_at_a_time() {
    let mut world = routed();
    world.relay.pace = Pace { transmitting: SECOND * 10, ..Pace::default() };
    let id = world.submit("app@shop.example", &["ann@x.example", "bob@partner.example"]);
    world.pass(SECOND);
    assert_eq!((world.times_seen(id), world.standing()), (1, Standing::UnderWay));
    world.pass(SECOND * 11);
    assert_eq!(world.times_seen(id), 2);
    world.pass(SECOND * 11);
    assert_eq!(world.status().live, 0);
}

/// One part is deferred for an hour; the other relay comes back meanwhile.
#[test]
fn a_deferral_at_one_relay_does_not_defer_the_recipients_of_another() {
    let mut world = routed();
    world.away.insert(partner());
    world.relay_always(Does::Defers);
    world.submit("app@shop.example", &["ann@x.example", "bob@partner.example"]);
    world.pass(MINUTE * 30);
    let tried = ways(&world, "ann@x.example").len();
    assert!(tried > 1 && tried < 10, "{tried}: by its age");
    world.relay_always(Does::Takes);
    world.away.clear();
    world.pass(HOUR);
    assert_eq!((world.status().live, ways(&world, "bob@partner.example")), (0, vec![partner()]));
    assert_eq!(ways(&world, "ann@x.example").len(), tried + 1);
}

/// An operator who adds a route to get around a relay that is down cannot wait for that relay.
#[test]
fn queued_mail_follows_the_routes_of_now_though_its_relay_is_paused() {
    let mut world = World::new(2);
    world.away.insert(None);
    for number in 0..600 {
        world.submit("app@news.example", &[&format!("n{number}@x.example")]);
    }
    world.submit("app@shop.example", &["ann@x.example"]);
    assert!(world.is_paused() && world.seen.is_empty());
    world.reload_with(|set_up| set_up.add_route(NEWS, &["@news.example"], &[]));
    world.pass(SECOND);
    assert_eq!((world.status().live, world.seen.len()), (1, 600));
    assert_eq!(ways(&world, "n7@x.example"), [news()]);
    world.away = [news()].into();
    world.submit("app@news.example", &["late@x.example"]);
    world.reload_with(|set_up| set_up.without_routes());
    world.pass(HOUR);
    assert_eq!((world.status().live, ways(&world, "late@x.example")), (0, vec![None]));
}

#[test]
fn what_is_under_way_at_a_reload_is_sent_once_and_its_rest_goes_by_the_new_routes() {
    let mut world = World::with(2, |set_up| set_up.add_route("old", &[], &["@partner.example"]));
    world.relay.pace = Pace { transmitting: SECOND * 10, ..Pace::default() };
    let id = world.submit("app@shop.example", &["ann@x.example", "bob@partner.example"]);
    world.pass(SECOND);
    world.reload_with(|set_up| {
        set_up.without_routes();
        set_up.add_route("partner", &[], &["@partner.example"]);
    });
    world.pass(MINUTE);
    assert_eq!((world.status().live, world.times_seen(id)), (0, 2));
    assert_eq!(ways(&world, "ann@x.example"), [None]);
    assert_eq!(ways(&world, "bob@partner.example").len(), 1);
}

/// The clock of a relay stands while it is paused, whatever the others do, and over a restart.
#[test]
fn a_long_pause_of_one_relay_uses_up_no_patience_of_its_mail() {
    for ends in [|_: &mut World| {}, World::restart] {
        let mut world = routed();
        world.away.insert(news());
        world.submit("app@news.example", &["ann@x.example"]);
        world.submit("app@shop.example", &["bob@x.example"]);
        world.pass(DAY * 8);
        ends(&mut world);
        world.away.clear();
        world.relay_always(Does::Defers);
        world.pass(DAY);
        assert_eq!(world.status().live, 1, "it is deferred, not expired");
        world.pass(DAY * 5);
        assert_eq!(world.logged("expired"), 1);
    }
}

/// Mail of a relay that works expires though another one is away.
#[test]
fn a_long_pause_of_one_relay_lengthens_no_patience_of_the_others_mail() {
    let mut world = routed();
    world.away.insert(news());
    world.relay_always(Does::Defers);
    world.submit("app@news.example", &["ann@x.example"]);
    world.submit("app@shop.example", &["bob@x.example"]);
    world.pass(DAY * 6);
    assert_eq!(world.logged("expired"), 1);
}

#[test]
fn held_mail_stays_held_under_other_routes_and_is_tried_once_by_them() {
    let mut world = World::with(2, |set_up| set_up.relay().has_taken = false);
    world.relay_always(Does::Says(vec!["550 5.7.1 Email address is not verified"]));
    world.submit("app@news.example", &["ann@x.example"]);
    assert_eq!(world.status().held, 1);
    world.reload_with(|set_up| set_up.add_route(NEWS, &["@news.example"], &[]));
    assert_eq!((world.status().held, ways(&world, "ann@x.example")), (1, vec![None, news()]));
    world.relay_always(Does::Takes);
    world.restart();
    assert_eq!(world.status().live, 0);
}

#[test]
fn a_step_of_the_clock_changes_nothing() {
    let mut world = routed();
    world.away.insert(news());
    world.submit("app@news.example", &["ann@x.example"]);
    world.step(SignedDuration::from_hours(24 * 30));
    world.away.clear();
    world.pass(HOUR);
    assert_eq!(world.status().live, 0);
}

/// The message was held at one relay while another one had it, and when that sender's mail was taken again it was forgotten: it
/// would have been held for ever.
#[test]
fn a_held_sender_is_let_go_though_another_relay_has_the_message() {
    let mut world = routed();
    world.away.insert(partner());
    let host = "email-smtp.eu-west-1.amazonaws.com";
    let said = "554 Message rejected: Email address is not verified.";
    world.relay_always(Does::RefusesByRule { host, from: None, said });
    let held = world.submit("app@shop.example", &["ann@x.example", "bob@partner.example"]);
    world.relay_always(Does::Takes);
    world.relay.pace = Pace { transmitting: MINUTE, ..Pace::default() };
    world.submit("app@shop.example", &["eve@x.example"]);
    world.pass(SECOND * 5);
    world.away.clear();
    world.pass(SECOND * 25);
    assert_eq!(ways(&world, "bob@partner.example"), [partner()], "the other relay has it");
    world.pass(MINUTE * 10);
    assert_eq!((world.status().live, world.times_seen(held)), (0, 3));
    assert_eq!(ways(&world, "ann@x.example"), [None, None]);
}

/// A flush did not try what was deferred at one relay while another relay had the message.
#[test]
fn a_flush_tries_what_is_deferred_at_one_relay_while_another_has_the_message() {
    for probe in [Event::ProbeNow, Event::ProbeForClient] {
        let mut world = routed();
        world.away.insert(partner());
        world.relay_always(Does::Defers);
        let id = world.submit("app@shop.example", &["ann@x.example", "bob@partner.example"]);
        world.pass(DAY);
        world.relay_always(Does::Takes);
        world.relay.pace = Pace { transmitting: SECOND * 10, ..Pace::default() };
        world.away.clear();
        let before = world.times_seen(id);
        while world.times_seen(id) == before {
            world.pass(SECOND);
        }
        assert_eq!(ways(&world, "bob@partner.example"), [partner()], "this relay has it");
        world.tell(probe);
        world.answered();
        world.pass(SECOND * 21);
        assert_eq!((world.status().live, world.times_seen(id)), (0, before + 2));
    }
}

#[test]
fn a_flush_of_one_route_tries_its_mail_and_no_other() {
    let mut world = routed();
    world.away = [news(), None].into();
    world.submit("app@news.example", &["ann@x.example"]);
    world.submit("app@shop.example", &["bob@x.example"]);
    world.pass(HOUR);
    let troubles = |world: &mut World| -> Vec<u64> {
        world.status().relays.iter().map(|relay| relay.troubles).collect()
    };
    let before = troubles(&mut world);
    world.tell(Event::ProbeRoute(NEWS.into()));
    world.tell(Event::ProbeRoute("unknown".into()));
    assert_eq!(troubles(&mut world), [before[0], before[1] + 1, before[2]]);
    world.away.clear();
    world.tell(Event::ProbeRoute(NEWS.into()));
    assert_eq!((ways(&world, "ann@x.example"), ways(&world, "bob@x.example")), (vec![news()], vec![]));
}

/// The mail of a relay that stays away is sent by another one; who has had it does not get it again, and a restart changes nothing.
#[test]
fn what_is_assigned_to_a_route_goes_by_it_and_to_nobody_twice() {
    for restarts in [false, true] {
        let mut world = routed();
        world.away.insert(news());
        world.by_route.insert(partner(), Does::Takes);
        let id = world.submit("app@news.example", &["ann@x.example", "bob@y.example"]);
        world.spool.with(id).fates[0] = Fate::Sent;
        world.pass(MINUTE);
        world.away.insert(partner());
        assert_eq!(world.route(id, "partner"), Some(OrderResult::Done));
        if restarts {
            world.restart();
        }
        world.away.remove(&partner());
        world.pass(HOUR);
        assert_eq!(world.status().live, 0, "{restarts}");
        assert_eq!((ways(&world, "ann@x.example"), ways(&world, "bob@y.example")), (vec![], vec![partner()]));
    }
}

/// What is on hold stays so, also where two relays would get it, and goes by its route when it is released.
#[test]
fn what_is_on_hold_is_routed_and_stays_on_hold() {
    let mut world = routed();
    world.away.extend([None, news(), partner()]);
    let id = world.submit("app@shop.example", &["ann@x.example", "p@partner.example"]);
    assert_eq!(world.order(OperatorVerb::Hold, id), Some(OrderResult::Done));
    assert_eq!(world.route(id, NEWS), Some(OrderResult::Done));
    world.away.clear();
    world.pass(HOUR);
    assert_eq!((world.standing(), world.seen.len()), (Standing::OnHold, 0));
    assert_eq!(world.order(OperatorVerb::Release, id), Some(OrderResult::Done));
    world.pass(MINUTE);
    for to in ["ann@x.example", "p@partner.example"] {
        assert_eq!(ways(&world, to), vec![news()], "{to}");
    }
}

/// Nothing is taken from an attempt that is under way.
#[test]
fn what_is_under_way_is_routed_when_its_reply_is_in() {
    let mut world = routed();
    world.by_route.insert(None, Does::Defers);
    world.relay.pace.transmitting = SECOND * 10;
    let id = world.submit("app@shop.example", &["ann@x.example"]);
    assert_eq!(world.route(id, NEWS), Some(OrderResult::Marked));
    world.pass(MINUTE);
    assert_eq!((ways(&world, "ann@x.example"), world.status().live), (vec![None, news()], 0));
}
