//! Pauses of delivery that an operator orders: what is under way ends, and nothing else begins.

use super::super::Event;
use super::world::{DAY, Does, HOUR, MINUTE, SECOND, World};
use crate::queue::Standing;

/// Returns a world with this many messages, of which two are under way.
fn sending(messages: usize) -> World {
    let mut world = World::new(2);
    world.relay.pace.transmitting = SECOND * 10;
    world.arrive(messages);
    assert_eq!(world.status().under_way, 2);
    world
}

#[test]
fn what_is_under_way_ends_and_nothing_begins_before_it_is_resumed() {
    let mut world = sending(10);
    world.pause(None);
    world.pass(MINUTE);
    let status = world.status();
    assert_eq!((world.seen.len(), status.live, status.ready, status.connections()), (2, 8, 8, 0));
    let relay = &status.relays[0];
    assert_eq!(
        relay.keeps_mail(true).as_deref(),
        Some("delivery is paused by uid 0 (root); nullmta resume delivery has it go on")
    );
    assert_eq!(
        relay.keeps_mail(false).as_deref(),
        Some("delivery is paused; nullmta resume delivery has it go on"),
        "who, and why, is for those who run the daemon"
    );
    for what in 0..5 {
        match what {
            0 => world.tell(Event::ProbeNow),
            1 => world.reload(),
            2 => world.restart(),
            3 => world.tell(Event::ProbeRelays),
            _ => world.arrive(1),
        }
        world.pass(DAY * 10);
        assert_eq!((world.seen.len(), world.logged("status=")), (2, 2), "{what}");
    }
    world.resume();
    world.pass(MINUTE * 2);
    assert_eq!((world.status().live, world.seen.len()), (0, 11));
}

#[test]
fn a_pause_of_a_route_is_about_its_mail_alone() {
    let mut world = World::with(2, |set_up| set_up.add_route("shop", &["shop@example.org"], &[]));
    world.pause(Some("shop"));
    world.submit("shop@example.org", &["ann@example.net"]);
    world.submit("app@example.org", &["ann@example.net"]);
    world.pass(HOUR);
    assert_eq!((world.seen.len(), world.standing()), (1, Standing::Ready));
    // The advice once named the command that lifts a pause of all mail, of which there was none.
    assert_eq!(
        world.status().relays[1].keeps_mail(false).as_deref(),
        Some("delivery by route shop is paused; nullmta resume delivery --route shop has it go on")
    );
    // Somebody takes the route away: its mail goes as all other does.
    world.reload_with(|set_up| set_up.without_routes());
    world.pass(HOUR);
    assert_eq!((world.seen.len(), world.status().live), (2, 0));
    // And has it again: the pause still stands.
    world.reload_with(|set_up| set_up.add_route("shop", &["shop@example.org"], &[]));
    world.submit("shop@example.org", &["ann@example.net"]);
    world.pass(DAY * 10);
    assert_eq!(world.standing(), Standing::Ready);
    world.resume();
    world.pass(HOUR);
    assert_eq!((world.seen.len(), world.status().live), (3, 0));
}

/// Whatever falls due in a pause waits, and the queue does not turn in circles for it ([`World::pass`] would not end).
#[test]
fn what_falls_due_in_a_pause_is_tried_at_its_end() {
    let mut world = World::new(2);
    world.relay_always(Does::Defers);
    world.arrive(5);
    world.pass(SECOND);
    assert_eq!(world.status().deferred, 5);
    world.pause(None);
    let tried = world.logged("status=deferred");
    world.pass(DAY * 30);
    assert_eq!((world.logged("status=deferred"), world.logged("status=expired")), (tried, 0));
    world.relay_always(Does::Takes);
    world.resume();
    world.pass(SECOND);
    assert_eq!(world.status().live, 0);
}

#[test]
fn a_pause_within_an_outage_begins_no_probe() {
    let mut world = World::new(2);
    world.away.insert(None);
    world.arrive(3);
    world.pass(HOUR);
    let troubles = world.status().relays[0].troubles;
    world.pause(None);
    world.pass(DAY);
    assert_eq!(world.status().relays[0].troubles, troubles);
    world.away.clear();
    world.resume();
    world.pass(HOUR);
    assert_eq!(world.status().live, 0);
}
