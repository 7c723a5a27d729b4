//! Relays that tell a rate, a number of connections or the end of a session in the words they have for one message.

use std::time::Duration;

use super::world::{Does, HOUR, SECOND, TAKING, World};

/// Hands 100 messages to a relay with these limits; gives how long it took, and how often a message was given to it.
fn drain(at_once: usize, each_connection: usize) -> (Duration, usize) {
    let mut world = World::new(20);
    world.relay_always(Does::HasLimits { at_once, each_connection });
    world.arrive(100);
    let mut passed = Duration::ZERO;
    while world.status().live > 0 {
        world.pass(TAKING);
        passed += TAKING;
        assert!(passed < HOUR, "{} left", world.status().live);
    }
    (passed, world.given.len())
}

/// Three places for twenty connections: what was refused for its number waited by its age, and those connections
/// refused one message after the other; 100 messages took 262 s instead of 3.3.
#[test]
fn a_relay_with_three_places_takes_the_time_of_three_places() {
    let (passed, tries) = drain(3, usize::MAX);
    assert!(passed < SECOND * 7, "{passed:?}");
    assert!(tries < 160, "{tries} tries for 100 messages");
}

/// After ten messages of a connection the relay defers every further one: the connection was kept, and deferred
/// message after message; 854 of 1,000 were left after ten minutes.
#[test]
fn a_session_that_is_full_costs_no_message_anything() {
    let (passed, tries) = drain(20, 10);
    assert!(passed < SECOND * 5, "{passed:?}");
    assert!(tries < 150, "{tries} tries for 100 messages");
}
