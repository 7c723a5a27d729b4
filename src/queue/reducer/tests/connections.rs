//! The connections that the mail takes, and the messages that they are given.

use std::time::Duration;

use fastrand::Rng;

use super::super::{Effect, Event, Reducer};
use super::effects_of;
use super::world::{Does, MINUTE, SECOND, World, entry, policy, start};

/// The first message of a connection once opened another beside it, which found nothing to do: a handshake and a
/// login for nothing.
#[test]
fn one_message_takes_one_connection() {
    let mut world = World::new(2);
    world.arrive(1);
    assert_eq!((world.status().live, world.begun.len()), (0, 1));
}

/// A connection of the settings before a reload once kept the new relay from being paused, and what it was told
/// ended the pause.
#[test]
fn what_an_earlier_relay_says_is_not_taken_for_the_word_of_this_one() {
    let mut world = World::new(2);
    world.relay_always(Does::Holds);
    world.arrive(1);
    let connection = world.given[0].0;
    world.relay_always(Does::IsAway);
    world.reload();
    world.arrive(1);
    assert!(world.is_paused());
    world.release(connection);
    assert_eq!((world.is_paused(), world.status().live), (true, 1));
    assert_eq!(world.begun.len(), 2, "the earlier relay's, and the one that failed");
}

#[test]
fn a_stop_cuts_off_what_takes_too_long_and_waits_for_all_settlements_but_those_that_cannot_end() {
    let mut world = World::new(2);
    world.relay_always(Does::Holds);
    world.arrive(2);
    world.spool.records_left = Some(0);
    world.release(world.given[0].0);
    world.tell(Event::Stop { patience: MINUTE });
    world.pass(MINUTE / 2);
    assert_eq!((world.status().connections(), world.may_end(1)), (1, false));
    world.pass(MINUTE / 2);
    assert_eq!(world.status().connections(), 0);
    assert_eq!((world.may_end(2), world.may_end(1)), (false, true));
}

#[test]
fn many_messages_take_as_many_connections_as_are_allowed() {
    let mut world = World::new(2);
    world.relay_always(Does::IsAway);
    world.arrive(10);
    assert!(world.is_paused());
    let refused = world.begun.len();
    let takes_time = Does::HasLimits { at_once: usize::MAX, each_connection: usize::MAX };
    world.relay_always(takes_time);
    world.pass(MINUTE);
    assert_eq!((world.status().live, world.given.len(), world.begun.len() - refused), (0, 10, 2));
    assert_eq!(world.most_open, 2);
}

/// A message that was given to a connection that has given up waiting is ready again at once, for another.
#[test]
fn a_message_for_a_connection_that_has_given_up_goes_to_another() {
    let mut world = World::new(2);
    for connection in [1000, 1001] {
        world.tell(Event::Wanted { connection, wait: true });
    }
    world.arrive(1);
    assert_eq!((world.status().live, world.seen.len()), (0, 1));
    assert_eq!(world.given.len(), 3, "given to those that are gone, and to one that is there");
}

/// A connection that waits is answered once, with a message or with the end.
#[test]
fn a_connection_that_waits_is_given_the_next_message_or_its_end() {
    let mut reducer = Reducer::new(policy(2), &[], 0, Rng::with_seed(7), start());
    let mut given = |event| {
        let given = effects_of(&mut reducer, event, start()).into_iter().filter_map(|effect| match effect {
            Effect::Give { connection, taken } => Some((connection, taken.map(|taken| taken.id))),
            _ => None,
        });
        given.collect::<Vec<_>>()
    };
    assert_eq!(given(Event::Wanted { connection: 1000, wait: true }), []);
    assert_eq!(given(Event::Wanted { connection: 1001, wait: true }), []);
    let entry = entry(1, start(), 0);
    let id = entry.id;
    assert_eq!([given(Event::Arrived(entry)), given(Event::Tick)].concat(), [(1000, Some(id))]);
    assert_eq!(given(Event::Stop { patience: MINUTE }), [(1001, None)]);
    assert_eq!(given(Event::Tick), []);
}

/// A relay takes 100 messages, one over each connection, and takes half a second to open one. Returns how long that took,
/// and the most connections that were open at once.
fn drain_one_by_one(places: usize) -> (Duration, usize) {
    let mut world = World::new(20);
    world.relay.pace.connecting = SECOND / 2;
    world.relay_always(Does::TakesOne { places });
    world.arrive(100);
    (world.pass_until_live(0, SECOND / 10), world.most_open)
}

/// A connection that ended before the next one was open left nothing that showed that the relay works: there were two
/// connections at most, and 100 messages took 50 s.
#[test]
fn short_connections_that_are_slow_to_open_become_as_many_as_are_allowed() {
    let (passed, most_open) = drain_one_by_one(usize::MAX);
    assert_eq!(most_open, 20);
    assert!(passed < SECOND * 6, "{passed:?}");
}

/// The relay has fewer places than are configured, and is asked for one more in each five seconds.
#[test]
fn a_relay_that_refuses_connections_beyond_its_places_is_not_paused() {
    for places in [1, 3, 7] {
        let mut world = World::new(20);
        world.relay.pace.connecting = SECOND / 2;
        world.relay_always(Does::TakesOne { places });
        world.arrive(400);
        let passed = world.pass_until_live(0, SECOND / 10);
        let refused = world.begun.len() - 400;
        let most = 1 + places + passed.as_secs() as usize / 5;
        assert!(refused <= most, "{places} places: {refused} refused in {passed:?}");
        let in_good_time = SECOND * 8 + SECOND * 200 / places as u32;
        assert!(passed < in_good_time, "{places} places: {passed:?}");
    }
}

/// A message now and then, each over its own connection, shows nothing of how many the relay takes at once.
#[test]
fn messages_one_after_the_other_trust_the_relay_with_no_more_connections() {
    let mut world = World::new(20);
    world.relay.pace.connecting = SECOND / 2;
    world.relay_always(Does::TakesOne { places: usize::MAX });
    for _ in 0..20 {
        world.arrive(1);
        world.pass(SECOND);
    }
    assert_eq!((world.most_open, world.begun.len()), (1, 20));
    world.relay_always(Does::IsAway);
    world.arrive(20);
    assert_eq!(world.begun.len(), 21, "one finds out");
}

/// The status showed fewer connections than are configured, and no reason.
#[test]
fn the_status_says_why_fewer_connections_are_allowed() {
    let takes_time = Does::HasLimits { at_once: usize::MAX, each_connection: usize::MAX };
    let few = Does::HasLimits { at_once: 1, each_connection: usize::MAX };
    for (first, does, why) in [
        (None, Does::IsAway, Some("while the relay is paused")),
        (Some(Does::IsAway), takes_time.clone(), Some("since there was trouble; one more with each answer")),
        (
            None,
            Does::TakesOne { places: 1 },
            Some("since more could not be opened; one more after each five seconds"),
        ),
        (None, few, Some("since the relay asked for fewer; one more after each five seconds without that")),
        (None, takes_time, None),
    ] {
        let mut only = World::new(1);
        only.relay_always(does.clone());
        only.arrive(10);
        assert_eq!(only.status().relays[0].pace.fewer_because, None, "there are no fewer than one");
        let mut world = World::new(20);
        world.relay.pace.connecting = SECOND / 2;
        first.into_iter().for_each(|first| world.relay.once(first));
        world.relay_always(does.clone());
        world.arrive(200);
        let mut seen = Vec::new();
        for _ in 0..30 {
            let pace = world.status().relays[0].pace.clone();
            assert_eq!(pace.fewer_because.is_some(), pace.connections_allowed < 20, "{does:?}: {pace:?}");
            seen.push(pace.fewer_because);
            world.pass(SECOND / 10);
        }
        assert!(seen.contains(&why), "{does:?}: {seen:?}");
    }
}
