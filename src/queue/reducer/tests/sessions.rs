//! Connections that have brought as much as the relay takes over one of them, by its words at RCPT or at the final dot.

use super::world::{Does, HOUR, SECOND, World};
use crate::relay::Phase;

const TEXTS: [&str; 4] = [
    "451 4.7.0 too many messages in this session",
    "452 4.5.3 Too many recipients in this connection",
    "450 4.7.1 connection limit exceeded",
    "550 5.7.1 maximum number of messages per session reached",
];

/// The connection was kept, and each message on it was deferred by its age.
#[test]
fn a_full_session_costs_neither_a_message_nor_a_connection_its_place() {
    for (phase, said) in
        [Phase::Rcpt, Phase::Dot].into_iter().flat_map(|phase| TEXTS.map(|said| (phase, said)))
    {
        let mut world = World::new(4);
        world.relay_always(Does::FillsUp { after: 10, phase, said });
        world.arrive(100);
        let passed = world.pass_until_live(0, SECOND / 10);
        assert!(passed < SECOND * 5, "{phase:?} {said}: {passed:?}");
        assert_eq!((world.log.len(), world.logged("status=sent")), (100, 100), "{:?}", world.log);
        assert!(world.given.len() < 130, "{phase:?} {said}: {} tries", world.given.len());
        assert!(world.lines.is_empty(), "{:?}", world.lines);
        assert_eq!(world.status().relays[0].pace.connections_allowed, 4, "{phase:?} {said}");
    }
}

/// A relay that says so over each fresh connection means something else by it.
#[test]
fn a_session_that_is_full_before_its_first_message_is_asked_ever_more_seldom() {
    for (phase, said) in [(Phase::Rcpt, TEXTS[1]), (Phase::Dot, TEXTS[0]), (Phase::Dot, TEXTS[3])] {
        let mut world = World::new(20);
        world.relay_always(Does::FillsUp { after: 0, phase, said });
        world.arrive(10);
        world.pass(HOUR);
        assert!(world.given.len() < 60, "{phase:?} {said}: {} tries", world.given.len());
        assert_eq!((world.status().live, world.log.len()), (10, 0), "no message is charged: {:?}", world.log);
        world.relay_always(Does::Takes);
        world.pass_until_live(0, SECOND);
    }
}
