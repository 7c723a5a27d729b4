//! Messages at which the relay breaks the dialogue off, in any number and anywhere among others.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;

use super::super::Event;
use super::world::{DAY, Does, HOUR, MINUTE, SECOND, World};
use crate::queue_id::QueueId;
use crate::relay::Phase;

/// The place of the bad ones in the queue.
#[derive(Clone, Copy, Debug)]
enum Order {
    InFront,
    Last,
    Anywhere,
}

#[derive(Debug)]
struct Case {
    poison: usize,
    others: usize,
    order: Order,
    /// The number of submitters that the messages come from.
    lanes: u64,
    connections: usize,
    phase: Phase,
}

/// A queue of so many messages whose relay is reached from now on.
fn world_of(case: &Case) -> World {
    let mut world = World::new(case.connections);
    world.relay_always(Does::IsAway);
    world.bad = Does::breaks(case.phase);
    let mut is_poison = vec![true; case.poison];
    is_poison.resize(case.poison + case.others, false);
    match case.order {
        Order::InFront => {}
        Order::Last => is_poison.reverse(),
        Order::Anywhere => Rng::with_seed(case.poison as u64).shuffle(&mut is_poison),
    }
    for (number, is_poison) in (0..).zip(is_poison) {
        world.lane = number % case.lanes;
        if is_poison {
            world.arrive_poison();
        } else {
            world.arrive(1);
        }
    }
    world.relay_always(Does::Takes);
    world.tell(Event::ProbeNow);
    world
}

/// Returns how often each message was tried.
fn tries(world: &World) -> BTreeMap<QueueId, usize> {
    let mut tries = BTreeMap::new();
    for (_, id) in &world.given {
        *tries.entry(*id).or_default() += 1;
    }
    tries
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (poison, others) in [(1, 50), (2, 50), (8, 50), (9, 50), (10, 3), (30, 500)] {
        for order in [Order::InFront, Order::Last, Order::Anywhere] {
            for (lanes, connections, phase) in
                [(1, 1, Phase::Data), (1, 20, Phase::Dot), (7, 4, Phase::Dot), (600, 2, Phase::Mail)]
            {
                cases.push(Case { poison, others, order, lanes, connections, phase });
            }
        }
    }
    cases
}

/// From the ninth on they looked like an outage: with thirty of them in front of five hundred good messages each further
/// one cost a pause of up to five minutes, and the good ones waited for more than an hour.
#[test]
fn in_any_number_they_hold_up_the_others_for_seconds_and_come_to_an_end() {
    for case in cases() {
        let mut world = world_of(&case);
        let took = world.pass_until_live(case.poison, SECOND / 2);
        let bound = Duration::from_millis(1250) * (case.poison as u32 / 2) + SECOND * 10;
        assert!(took <= bound || case.others < case.poison, "{case:?}: {took:?}");
        assert!(took <= MINUTE * 10, "{case:?}: {took:?}");

        for _ in 0..14 * 4 {
            world.pass(HOUR * 6);
            world.arrive(1);
        }
        assert_eq!(world.status().live, 0, "{case:?}: {:?}", world.status());
        for (id, tries) in tries(&world) {
            let most = match world.poison.contains(&id) {
                true if case.phase == Phase::Dot => 20,
                true => 300,
                false => 1,
            };
            assert!(tries <= most, "{case:?}: {id} {tries}");
        }
    }
}

/// Among many that are bad and nothing else a new one was found by its place alone, pause after pause.
#[test]
fn one_that_arrives_among_many_is_tried_at_the_next_probe_or_the_one_behind_it() {
    for connections in [1, 4] {
        let order = Order::InFront;
        let mut world =
            world_of(&Case { poison: 60, others: 0, order, lanes: 1, connections, phase: Phase::Data });
        world.pass(HOUR);
        world.arrive(1);
        // Two pauses of five minutes, each spread by a quarter.
        let took = world.pass_until_live(60, SECOND / 2);
        assert!(took <= MINUTE * 13, "{connections}: {took:?}");
    }
}

/// An outage of all mail is told by that nobody is answered, wherever in the queue is tried: it uses up no patience, is
/// probed as seldom as before, and no message has more than its share of the copies.
#[test]
fn trouble_that_meets_everybody_stays_the_relay_s() {
    for phase in [Phase::Mail, Phase::Data, Phase::Dot] {
        for connections in [1, 20] {
            let case = Case { poison: 0, others: 200, order: Order::InFront, lanes: 3, connections, phase };
            let mut world = World::new(connections);
            world.relay_always(Does::breaks(phase));
            world.arrive(case.others);
            world.pass(DAY * 7);
            assert_eq!((world.status().live, world.is_paused()), (200, true), "{case:?}");
            assert!(world.relay_clock < 600, "{case:?}: {}", world.relay_clock);
            assert!(world.begun.len() < 7 * 24 * 12 * 2, "{case:?}: {}", world.begun.len());
            let most = tries(&world).into_values().max().unwrap();
            assert!(phase < Phase::Dot || most <= 30, "{case:?}: {most}");
            world.relay_always(Does::Takes);
            world.pass(MINUTE * 20);
            world.tell(Event::ProbeNow);
            world.pass(DAY);
            assert_eq!(world.status().live, 0, "{case:?}");
        }
    }
}
