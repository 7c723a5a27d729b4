//! A login that is refused is tried seldom: each try counts against the account, and with some providers locks it.

use super::super::{Event, LogLine};
use super::world::{Does, MINUTE, SECOND, World};
use crate::queue::RelayPlace;

/// A queue of a hundred messages whose relay has just refused the login.
fn locked_out() -> World {
    let mut world = World::new(20);
    world.relay_always(Does::RefusesLogin);
    world.arrive(100);
    assert!(world.is_paused());
    world
}

/// A wrong password was once tried 21 times in the first second, and again at each reload.
#[test]
fn a_wrong_password_is_tried_a_few_times_in_ten_minutes() {
    let mut world = locked_out();
    world.pass(SECOND * 10);
    assert_eq!(world.begun.len(), 1, "in ten seconds");
    world.pass(MINUTE * 10);
    // After 1, 2 and 4 minutes, each spread by a quarter.
    assert_eq!(world.begun.len(), 4, "{:?}", world.begun);
    let tries = |world: &World| world.begun.len();
    world.pass(MINUTE * 50);
    assert!(tries(&world) <= 7, "in the first hour: {:?}", world.begun);
    let before = tries(&world);
    world.pass(MINUTE * 60 * 10);
    assert!((16..=27).contains(&(tries(&world) - before)), "in ten more hours: {:?}", world.begun);
    let LogLine::RelayPaused { trouble, live: 100, is_new: true, .. } = &world.lines[0] else {
        panic!("{:?}", world.lines)
    };
    assert!(trouble.to_string().contains("AUTH: PLAIN: the relay said: 535 5.7.8 no"), "{trouble}");
}

#[test]
fn a_reload_a_flush_and_another_secret_each_cost_one_try() {
    let mut world = locked_out();
    world.reload();
    assert_eq!((world.begun.len(), world.watches_secret), (2, true));
    world.tell(Event::ProbeNow);
    assert_eq!((world.begun.len(), world.watches_secret), (3, true));
    world.tell(Event::SecretChanged(RelayPlace(0)));
    assert_eq!((world.begun.len(), world.watches_secret), (4, true));
    world.relay_always(Does::Takes);
    world.tell(Event::SecretChanged(RelayPlace(0)));
    assert_eq!((world.status().live, world.watches_secret), (0, false));
}

/// Any local user may say ETRN, and would lock the account by it. The pause that stands is a minute, less its spread.
#[test]
fn a_client_cannot_have_a_refused_login_tried() {
    let mut world = locked_out();
    for _ in 0..5 {
        world.ask(Event::ProbeForClient);
        world.pass(SECOND * 5);
    }
    assert_eq!(world.begun.len(), 1);
}

/// Each connection of a burst once logged in by itself, to be refused by itself.
#[test]
fn a_password_that_is_changed_at_the_relay_is_refused_once() {
    let mut world = World::new(20);
    world.arrive(1);
    assert_eq!(world.status().live, 0);
    world.relay_always(Does::RefusesLogin);
    let before = world.begun.len();
    world.arrive(50);
    assert!(world.is_paused());
    assert_eq!(world.begun.len() - before, 1);
}
