//! Time in which a message waits for what is not its own fault is none of its patience: one table of all that it may wait
//! for, each over a crash as well.

use super::super::Event;
use super::world::{DAY, Does, HOUR, MINUTE, SECOND, World};
use crate::config::{Rate, RatePeriod};
use crate::queue_id::QueueId;

const TAKES_TIME: Does = Does::HasLimits { at_once: usize::MAX, each_connection: usize::MAX };
const SES: &str = "email-smtp.eu-west-1.amazonaws.com";

fn refuses(host: &'static str, said: &'static str) -> Does {
    Does::RefusesByRule { host, from: None, said }
}

/// Everything for which a message waits, by its name.
const WAITS: [&str; 12] = [
    "a rate",
    "a relay that is slow",
    "a throttle",
    "a quota",
    "the configuration",
    "the configuration of its sender",
    "an outage",
    "a login",
    "a route that is paused",
    "a failing service",
    "a pause of delivery",
    "a pause of its route",
];

/// Returns a world in which a message waits for this, and will for six days at least.
fn waiting_for(what: &str) -> (World, QueueId) {
    let mut world = World::with(1, |set_up| {
        set_up.add_route("shop", &["shop@example.org"], &[]);
        if what == "a rate" {
            set_up.relay().rates = vec![Rate { messages: 1.try_into().unwrap(), per: RatePeriod::Hour }];
        }
    });
    let before = match what {
        "a rate" | "a relay that is slow" => 150,
        "a failing service" => 10,
        _ => 0,
    };
    world.relay_always(match what {
        "a throttle" => refuses(SES, "454 Throttling failure: Maximum sending rate exceeded."),
        "a quota" => refuses("smtp.gmail.com", "550 5.4.5 Daily user sending limit exceeded."),
        "the configuration" => refuses(SES, "554 Access denied: User `x' is not authorized to perform `y'"),
        "the configuration of its sender" => refuses(SES, "554 Message rejected: address is not verified."),
        "an outage" => Does::IsAway,
        "a login" => Does::RefusesLogin,
        "a failing service" => Does::RefusesAt(crate::relay::Phase::Dot, "451 Temporary service failure"),
        _ => Does::Takes,
    });
    if what == "a route that is paused" {
        world.away.insert(Some("shop".into()));
    }
    if what == "a relay that is slow" {
        world.relay.pace.transmitting = HOUR;
    }
    world.arrive(before);
    let route = match what {
        "a pause of delivery" => Some(None),
        "a pause of its route" => Some(Some("shop")),
        _ => None,
    };
    if let Some(route) = route {
        world.pause(route);
    }
    let from = if matches!(what, "a route that is paused" | "a pause of its route") {
        "shop@example.org"
    } else {
        "app@example.org"
    };
    let id = world.submit(from, &["ann@example.net"]);
    (world, id)
}

fn said_of(world: &World, id: QueueId, status: &str) -> usize {
    world.log.iter().filter(|line| line.starts_with(&id.to_string()) && line.contains(status)).count()
}

/// A message that had waited for five days bounced at its first 4xx, without a second try.
#[test]
fn no_wait_but_its_own_uses_up_the_patience_of_a_message() {
    for (what, crashes) in WAITS.into_iter().flat_map(|what| [(what, false), (what, true)]) {
        let (mut world, id) = waiting_for(what);
        for _ in 0..6 {
            world.pass(DAY);
            if crashes {
                world.restart();
            }
        }
        assert_eq!(
            said_of(&world, id, "status="),
            said_of(&world, id, "status=held"),
            "{what}: {:?}",
            world.log
        );
        world.relay.always_with(id, Does::Defers);
        world.relay_always(Does::Takes);
        world.away.clear();
        world.resume();
        world.tell(Event::ProbeNow);
        while said_of(&world, id, "status=deferred") == 0 {
            world.pass(HOUR);
            assert!(world.seconds() < 60 * 86_400, "{what} {crashes}: it is tried");
        }
        let began = world.seconds();
        world.pass(DAY * 4);
        assert_eq!(said_of(&world, id, "status=expired"), 0, "{what}, crashes {crashes}: {:?}", world.log);
        while said_of(&world, id, "status=expired") == 0 {
            world.pass(HOUR);
            assert!(world.seconds() - began < 6 * 86_400, "{what}, crashes {crashes}: it comes to its end");
        }
    }
}

/// While any message waited, the patience of all stood: in a queue that was never empty, what a relay deferred was deferred
/// for ever.
#[test]
fn a_deferred_message_comes_to_its_end_in_a_queue_that_is_never_empty() {
    for crashes in [false, true] {
        let mut world = World::new(1);
        world.relay.pace.transmitting = MINUTE;
        world.relay_always(TAKES_TIME);
        world.bad = Does::Defers;
        world.arrive(100);
        world.lane = 2;
        let bad = world.arrive_poison();
        world.lane = 1;
        let mut hours = 0;
        while said_of(&world, bad, "status=expired") == 0 {
            world.pass(HOUR);
            hours += 1;
            world.arrive(60);
            assert!(world.status().ready > 0, "the queue is never empty");
            assert!(hours < 24 * 6, "crashes {crashes}: {:?}", world.log.last());
            if crashes && hours % 24 == 0 {
                world.restart();
            }
        }
        assert!(hours >= 24 * 5, "crashes {crashes}: {hours} hours");
        assert_eq!(world.logged("status=bounced") + world.logged("status=expired"), 1);
    }
}

#[test]
fn patience_runs_between_messages_that_come_and_go() {
    let mut world = World::new(2);
    world.bad = Does::Defers;
    let bad = world.arrive_poison();
    for _ in 0..(24 * 6) {
        world.arrive(5);
        world.pass(HOUR);
    }
    assert_eq!(said_of(&world, bad, "status=expired"), 1, "{:?}", world.lines);
    world.pass(SECOND);
    assert_eq!(world.status().live, 0);
}
