//! The figures of the queue, where they counted a message twice or not at all. Each look at them is checked against what is
//! listed and what is on the spool (`world/view.rs`).

use super::super::Event;
use super::world::{DAY, Does, HOUR, MINUTE, SECOND, World};
use crate::relay::Phase;

const GMAIL: &str = "smtp.gmail.com";
const USED_UP: &str = "550 5.4.5 Daily user sending limit exceeded.";

/// Each probe took a message from amid the queue and put it back, and each time it was counted once more: of six messages
/// ten were ready.
#[test]
fn a_probe_from_amid_the_queue_is_counted_once() {
    let mut world = World::new(2);
    world.arrive(5);
    world.relay_always(Does::RefusesByRule { host: GMAIL, from: None, said: USED_UP });
    world.arrive_poison();
    world.arrive(10);
    for _ in 0..30 {
        world.pass(HOUR * 3);
        world.tell(Event::ProbeNow);
        let status = world.status();
        assert_eq!((status.live, status.ready + status.deferred), (11, 11), "{status:?}");
    }
    world.relay_always(Does::Takes);
    world.pass(DAY);
    assert_eq!((world.status().live, world.status().ready), (1, 0));
}

/// Mail that is lost again and again was in no count while it was ready.
#[test]
fn poison_is_counted_while_it_waits_for_a_connection_of_its_own() {
    let mut world = World::new(2);
    world.arrive(3);
    (0..15).for_each(|_| _ = world.arrive_poison());
    for _ in 0..100 {
        world.pass(SECOND * 7);
        assert_eq!(world.status().live, 15);
    }
    world.tell(Event::ProbeNow);
    assert_eq!(world.status().live, 15);
}

#[test]
fn many_that_are_refused_alike_are_counted_once() {
    let mut world = World::new(3);
    world.arrive(1);
    world.relay_always(Does::RefusesAt(Phase::Dot, "550 5.7.1 access denied"));
    (0..30)
        .for_each(|number| _ = world.submit("ann@example.org", &[&format!("a{number}@d{number}.example")]));
    for _ in 0..50 {
        world.pass(MINUTE);
        world.status();
    }
    world.relay_always(Does::Takes);
    world.pass(DAY);
    assert_eq!(world.status().live, 0);
}

/// A message to recipients at several relays was counted at each of them, also in the sum.
#[test]
fn a_message_to_several_relays_is_counted_once() {
    let mut world = World::with(2, |set_up| {
        set_up.add_route("partner", &[], &["@partner.example"]);
        set_up.add_route("news", &[], &["@news.example"]);
    });
    let away = [None, Some("partner".to_owned()), Some("news".to_owned())];
    for number in 1..=3 {
        world.away.extend(away[..number].iter().cloned());
        for _ in 0..4 {
            world.submit("app@shop.example", &["a@x.example", "b@partner.example", "c@news.example"]);
            world.status();
        }
        world.pass(MINUTE);
        let status = world.status();
        let everywhere: Vec<usize> = status.relays.iter().map(|relay| relay.ready).collect();
        assert_eq!((status.live, status.ready), (4, 4), "{status:?}");
        assert_eq!(everywhere.iter().filter(|ready| **ready == 4).count(), number, "{everywhere:?}");
        world.away.clear();
        world.pass(HOUR);
        assert_eq!(world.status().live, 0);
    }
}
