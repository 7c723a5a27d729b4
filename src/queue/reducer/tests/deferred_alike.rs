//! Messages that are deferred alike, one after the other, with none taken in between.

use super::super::LogLine;
use super::world::{DAY, Does, HOUR, MINUTE, World};
use crate::relay::Phase;

const FAILS: [&str; 2] = ["451 Temporary service failure", "454 Temporary service failure"];

/// Returns a world in which so many messages have come, one a minute, each of which such a relay defers.
fn with_deferred(messages: usize) -> World {
    let mut world = World::new(20);
    for number in 0..messages {
        world.relay_always(Does::RefusesAt(Phase::Dot, FAILS[number % 2]));
        world.arrive(1);
        world.pass(MINUTE);
    }
    world
}

/// Each message waited by its age, and bounced after five days of trouble that was the relay's.
#[test]
fn a_service_that_fails_for_days_bounces_nothing() {
    let mut world = with_deferred(10);
    assert!(world.is_paused());
    let text = world.status().foremost().trouble.clone().unwrap();
    assert!(text.contains("at least 10 messages in a row were deferred alike"), "{text}");
    assert!(text.contains(FAILS[0]) || text.contains(FAILS[1]), "{text}");
    for day in 0..12 {
        world.relay_always(Does::RefusesAt(Phase::Dot, FAILS[day % 2]));
        world.arrive(5);
        world.pass(DAY);
    }
    assert_eq!((world.logged("status=expired"), world.status().live), (0, 70), "{:?}", world.log);
    assert_eq!(world.pauses_logged(), 1, "{:?}", world.lines);
    world.relay_always(Does::Takes);
    world.pass(HOUR * 2);
    assert_eq!((world.status().live, world.logged("status=sent")), (0, 70));
}

/// One message, or a few, that the relay never takes is no trouble of the relay, even if there is no other mail.
#[test]
fn fewer_messages_than_a_row_bounce_in_the_end() {
    for messages in [1, 9] {
        let mut world = with_deferred(messages);
        world.pass(DAY * 5 + HOUR * 3);
        assert_eq!(
            (world.logged("status=expired"), world.pauses_logged()),
            (messages, 0),
            "{:?}",
            world.lines
        );
    }
}

/// Fifteen messages that the relay never takes come to their end, and another one waits for one probe at most.
#[test]
fn a_row_of_bad_messages_delays_others_by_one_probe() {
    let mut world = World::new(2);
    world.bad = Does::RefusesAt(Phase::Dot, "450 4.7.1 not now");
    for _ in 0..15 {
        world.arrive_poison();
    }
    for hour in 0..(24 * 7) {
        let sent = world.logged("status=sent");
        world.arrive(1);
        world.pass(MINUTE * 7);
        // Some are the DSNs about the bad ones.
        assert!(world.logged("status=sent") > sent, "hour {hour}: {:?}", world.lines);
        world.pass(HOUR - MINUTE * 7);
    }
    assert_eq!(world.logged("status=expired"), 15, "{:?}", world.log);
}

/// Greylisting and full mailboxes are matters of single recipients.
#[test]
fn what_is_deferred_at_rcpt_is_no_row() {
    let mut world = World::new(2);
    world.relay_always(Does::RefusesAt(Phase::Rcpt, "450 4.2.0 greylisted"));
    world.arrive(50);
    world.pass(HOUR);
    assert_eq!(world.pauses_logged(), 0, "{:?}", world.lines);
    assert!(!world.lines.iter().any(|line| matches!(line, LogLine::RelayTrouble(_))));
}
