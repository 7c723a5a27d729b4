//! A message at which the relay breaks the dialogue off harms no other, and comes to an end.

use super::super::Event;
use super::world::{DAY, Does, HOUR, MINUTE, SECOND, World};
use crate::queue::QueueStatus;
use crate::relay::{Cause, Phase};
use crate::smtp::reply::Reply;

const PHASES: [Phase; 5] = [Phase::Mail, Phase::Rcpt, Phase::Data, Phase::Content, Phase::Dot];

/// All that can end a dialogue at `phase`.
fn breaks(phase: Phase) -> Vec<Does> {
    let said = |code| Does::Breaks(phase, Cause::Reply(Reply::bare(code, "go away")));
    let garbage = Does::Breaks(phase, Cause::Garbage("250ok".into()));
    let silence = Does::Stalls(phase, MINUTE * 5);
    vec![said(421), Does::Breaks(phase, Cause::Closed), silence, garbage, said(503), said(530)]
}

fn all_breaks() -> impl Iterator<Item = Does> {
    PHASES.into_iter().flat_map(breaks)
}

/// Returns a world with a message that the relay breaks off at, and thirty others behind it, some of them in its lane.
fn with_poison(does: Does, lane_of_others: u64, alone_first: bool) -> World {
    let mut world = World::new(2);
    world.relay_always(Does::IsAway);
    world.bad = does;
    world.arrive_poison();
    if alone_first {
        world.relay_always(Does::Takes);
        world.tell(Event::ProbeNow);
    }
    world.lane = lane_of_others;
    world.arrive(30);
    world.relay_always(Does::Takes);
    world.tell(Event::ProbeNow);
    world
}

/// With such a message in a lane of its own 25 of 300 others once got through in a minute, and the pause climbed to
/// 375 s, for ever.
#[test]
fn the_others_leave_at_once() {
    for does in all_breaks() {
        for (lane, alone_first) in [(1, false), (2, false), (2, true)] {
            let case = format!("{does:?}, lane of the others: {lane}, alone first: {alone_first}");
            let mut world = with_poison(does.clone(), lane, alone_first);
            assert_eq!((world.status().live, world.seconds()), (1, 0), "{case}");
            assert!(world.pauses_logged() <= 1, "only by the outage before: {case}\n{:?}", world.lines);
            assert_eq!(world.logged("status=sent ("), 30, "{case}");
        }
    }
}

/// It was once tried with each probe of the relay, without end, or stood in the queue for ever.
#[test]
fn alone_it_is_deferred_by_its_age_and_expires() {
    // At the dot what is no reply counts as silence does: a reply of any length that begins with a code is one.
    let garbage = (Phase::Dot, Cause::Garbage("x".repeat(70_000)));
    for (phase, cause) in PHASES.map(|phase| (phase, Cause::Closed)).into_iter().chain([garbage]) {
        let mut world = World::new(2);
        world.bad = Does::Breaks(phase, cause);
        let poison = world.arrive_poison();
        assert_eq!(world.status().deferred, 1);
        world.pass(DAY * 5);
        world.pass_until_live(0, HOUR);
        assert_eq!((world.logged("status=expired"), world.pauses_logged()), (1, 0), "{phase}");
        let dsns: Vec<_> = world.seen.iter().filter(|seen| seen.from.is_empty()).collect();
        assert_eq!(dsns.len(), 1, "{phase}");
        let words: Vec<&str> = dsns[0].content.split_whitespace().collect();
        let may_have_arrived = words.join(" ").contains("it may have been delivered all the same");
        assert_eq!(may_have_arrived, phase == Phase::Dot, "{phase}: {}", dsns[0].content);
        let copies = world.logged(&format!("{poison}: possible duplicate"));
        if phase == Phase::Dot {
            assert_eq!(world.times_seen(poison), copies, "each copy is told");
            assert!((10..=20).contains(&copies), "{copies}");
        } else {
            assert_eq!(copies, 0, "{phase}");
        }
    }
}

#[test]
fn its_sender_is_told_of_the_delay_once() {
    let mut world = World::with(2, |set_up| set_up.policy.retry.delay_warning = Some(HOUR * 4));
    world.bad = Does::Breaks(Phase::Dot, Cause::Closed);
    world.arrive_poison();
    world.pass(DAY * 3);
    let warnings: Vec<_> = world.seen.iter().filter(|seen| seen.from.is_empty()).collect();
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].content.contains("THIS IS ONLY A WARNING"), "{}", warnings[0].content);
}

/// Two of them with nothing else in the queue look like a relay in trouble, until it has answered for something else.
#[test]
fn two_of_them_alone_have_few_copies_and_end_when_the_relay_has_answered_others() {
    let mut world = World::new(2);
    world.relay_always(Does::IsAway);
    world.bad = Does::Breaks(Phase::Dot, Cause::Closed);
    let poison = [world.arrive_poison(), world.arrive_poison()];
    assert!(world.is_paused());
    world.relay_always(Does::Takes);
    world.pass(DAY * 2);
    for id in poison {
        assert!(world.times_seen(id) <= 20, "{} copies", world.times_seen(id));
    }
    world.arrive(1);
    world.pass(DAY * 14);
    assert_eq!(world.status().live, 0);
}

/// A queue of nothing but `poison` messages that the relay breaks off at, which it has tried for a while.
fn of_nothing_but_poison(does: &Does, poison: usize, connections: usize) -> World {
    let mut world = World::new(connections);
    world.bad = does.clone();
    for _ in 0..poison {
        world.arrive_poison();
    }
    while world.begun.len() < 3 * poison {
        world.pass(SECOND);
    }
    pass_until(&mut world, |status| (status.under_way, status.connections()) == (0, 0));
    world
}

/// Lets time pass until the queue's figures are as asked.
fn pass_until(world: &mut World, is_so: impl Fn(&QueueStatus) -> bool) {
    while !is_so(&world.status()) {
        assert!(world.seconds() < 30 * 24 * 3600, "the queue gets there");
        world.pass(SECOND);
    }
}

/// With nothing else in the queue two of them paused the relay, for longer with each try, and a new message waited for
/// the probe: up to five minutes.
#[test]
fn a_queue_of_nothing_else_holds_up_no_new_message() {
    for does in all_breaks() {
        for (poison, connections) in [(2, 1), (8, 1), (2, 2), (8, 20)] {
            let case = format!("{does:?}, {poison} of them, {connections} connections");
            let mut world = of_nothing_but_poison(&does, poison, connections);
            let before = world.seconds();
            world.submit("app@example.org", &["ben@example.net"]);
            assert_eq!((world.status().live, world.seconds()), (poison, before), "{case}");
            let paused = world.pauses_logged();
            assert!(paused < poison, "each of them makes one pause at most: {case}\n{:?}", world.lines);
        }
    }
}

/// The same beside one of them that the relay lets wait.
#[test]
fn another_connection_serves_while_the_relay_is_silent_at_one_of_them() {
    for phase in PHASES {
        let mut world = of_nothing_but_poison(&Does::Stalls(phase, MINUTE * 5), 3, 2);
        pass_until(&mut world, |status| status.under_way > 0);
        world.submit("app@example.org", &["ben@example.net"]);
        assert_eq!(world.status().live, 3);
    }
}

/// Trouble that meets everybody is the relay's: its outage bounces nothing, and is over for all when it is over.
#[test]
fn an_outage_behind_the_login_is_nobodys_fault() {
    for phase in PHASES {
        let mut world = World::new(2);
        world.relay_always(Does::IsAway);
        world.arrive(20);
        world.relay_always(Does::Breaks(phase, Cause::Closed));
        world.pass(DAY * 7);
        assert_eq!((world.status().live, world.is_paused()), (20, true), "{phase}");
        assert!(world.relay_clock < 600, "{phase}: patience is not used up");
        let most = world.seen.iter().map(|seen| world.times_seen(seen.id)).max().unwrap_or_default();
        assert!(phase < Phase::Dot || most <= 30, "{most} copies of one");
        world.relay_always(Does::Takes);
        if phase < Phase::Dot {
            world.pass(MINUTE * 20);
        } else {
            world.tell(Event::ProbeNow);
        }
        assert_eq!(world.status().live, 0, "{phase}");
        assert!(world.seen.iter().all(|seen| !seen.from.is_empty()), "no bounce");
    }
}

/// Its second loss sends it behind the others, who share no connection with it.
#[test]
fn it_shares_no_connection_with_others() {
    let mut world = World::new(1);
    world.bad = Does::Breaks(Phase::Data, Cause::Closed);
    let poison = world.arrive_poison();
    assert_eq!(world.status().deferred, 1);
    world.arrive(10);
    assert_eq!(world.status().live, 1);
    world.relay.heal();
    world.pass(MINUTE * 2);
    assert_eq!(world.status().live, 0);
    let last = world.given.last().unwrap();
    assert_eq!(last.1, poison);
    assert!(world.given.iter().filter(|(connection, _)| *connection == last.0).count() == 1);
}

/// A relay that says `451 4.4.2` in the content of one message, whatever the connection has carried, says of a connection
/// that has served that it is over: with others always in front of it the message was never charged, and each try cost
/// a connection.
#[test]
fn one_at_which_the_relay_takes_leave_is_charged_on_a_fresh_connection_and_expires() {
    for connections in [1, 3] {
        let mut world = World::new(connections);
        world.relay_always(Does::IsAway);
        world.arrive(5);
        world.bad = Does::Parts("451 4.4.2 timeout");
        let poison = world.arrive_poison();
        world.relay_always(Does::Takes);
        world.tell(Event::ProbeNow);
        assert_eq!((world.status().live, world.status().deferred), (1, 1));
        let tries = world.times_seen(poison);
        assert!((1..=2).contains(&tries), "once on each kind of connection, at most: {tries}");

        world.pass(DAY * 5 + HOUR * 2);
        assert_eq!((world.status().live, world.logged("status=expired (451 4.4.2 timeout")), (0, 1));
        let (charged, tries) = (world.logged(&format!("{poison}: to=")), world.times_seen(poison));
        assert!(charged + 1 >= tries, "{tries} tries, of which {charged} counted");
    }
}

/// With a stream of others behind it, a message was tried on one connection after the other that had served, and ended
/// each of them.
#[test]
fn one_at_which_the_relay_takes_leave_ends_few_connections() {
    let mut world = World::new(1);
    world.relay_always(Does::IsAway);
    world.arrive(1);
    world.bad = Does::Parts("451 4.4.2 timeout");
    world.lane = 2;
    let poison = world.arrive_poison();
    world.lane = 1;
    world.arrive(50);
    let used = world.begun.len();
    world.relay_always(Does::Takes);
    world.tell(Event::ProbeNow);
    assert_eq!((world.status().live, world.status().deferred), (1, 1));
    assert_eq!(world.times_seen(poison), 2, "once where it rode behind another, once where it counts");
    assert_eq!((world.begun.len(), world.logged("status=sent (")), (used + 3, 51));
}

/// The same two while nothing else is ever sent: nobody can tell whether the relay or they are at fault, so neither
/// bounces, and the copies must not grow with each probe.
#[test]
fn two_of_them_alone_are_sent_seldom_for_as_long_as_nothing_else_is() {
    let mut world = World::new(2);
    world.bad = Does::Breaks(Phase::Dot, Cause::Closed);
    let poison = [world.arrive_poison(), world.arrive_poison()];
    world.pass(DAY * 10);
    for id in poison {
        let copies = world.times_seen(id);
        assert!(copies <= 20, "{copies} copies");
        assert_eq!(world.logged(&format!("{id}: possible duplicate")), copies, "each copy is told");
    }
    assert_eq!(world.status().live, 2);
}
