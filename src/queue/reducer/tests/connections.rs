//! How many connections the mail takes.

use super::super::Event;
use super::world::{Does, MINUTE, World};
use crate::spool::CommitError;

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
    world.does = Does::Holds;
    world.arrive(1);
    let (connection, id) = world.given[0];
    world.does = Does::IsAway;
    world.reload(2);
    world.arrive(1);
    assert!(world.is_paused());
    world.release(connection, id);
    assert_eq!((world.is_paused(), world.status().live), (true, 1));
    assert_eq!(world.begun.len(), 2, "the earlier relay's, and the one that failed");
}

#[test]
fn a_stop_cuts_off_what_takes_too_long_and_waits_for_all_settlements_but_those_that_cannot_end() {
    let mut world = World::new(2);
    world.does = Does::Holds;
    world.arrive(2);
    let (_, id) = world.given[0];
    world.tell(Event::Unrecorded { id, why: CommitError::Full });
    world.tell(Event::Stop { patience: MINUTE });
    world.pass(MINUTE / 2);
    assert_eq!((world.status().connections, world.may_end(0)), (2, false));
    world.pass(MINUTE / 2);
    assert_eq!(world.status().connections, 0);
    assert_eq!((world.may_end(2), world.may_end(1)), (false, true));
}
