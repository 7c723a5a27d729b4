//! Copies that the relay may have, and what the log and DSNs say of them, over kills: `settlement.rs` has the table.

use super::super::Event;
use super::world::{DAY, Does, HOUR, MINUTE, World};
use crate::queue_id::QueueId;
use crate::relay::{Cause, Phase};
use crate::smtp::reply::Reply;
use crate::spool::EntryState;
use crate::status::Status;

const NO_USER: &str = "550 5.1.1 no such user";

fn busy() -> Does {
    Does::SaysAtRcpt(vec!["450 4.2.1 busy"])
}

fn closes() -> Does {
    Does::Breaks(Phase::Dot, Cause::Closed)
}

fn leaves() -> Does {
    Does::breaks(Phase::Mail)
}

fn leaves_at_dot() -> Does {
    Does::Breaks(Phase::Dot, Cause::Reply(Reply::new(421, Status::transient(3, 2), "going down")))
}

/// A message from `from` after some runs, each of which was killed: in each the relay did this with it once. Another run
/// has begun, and the relay does `then` with it.
fn after(from: &str, to: &[&str], runs: &[Does], then: Does) -> (World, QueueId) {
    let mut world = World::new(2);
    let id = world.spool.next_id();
    for (number, does) in runs.iter().enumerate() {
        world.relay.always_with(id, does.clone());
        let before = world.given.len();
        if number == 0 {
            world.submit(from, to);
        } else {
            world.restart();
        }
        assert!(world.given.len() > before, "{does:?}");
    }
    world.relay.always_with(id, then);
    world.restart();
    settle(&mut world);
    (world, id)
}

/// Time passes until nothing is left but what is dead. What was held or lost is tried at once.
fn settle(world: &mut World) {
    for _ in 0..1000 {
        let status = world.status();
        if status.live == status.dead {
            return;
        }
        world.pass(10 * MINUTE);
        world.tell(Event::ProbeNow);
    }
    panic!("something is left");
}

/// The number stands in the README and in config/mail.md.
const MOST_COPIES: usize = 20;

/// A message at whose dot the relay always hangs up had a copy there for each probe, 290 a day, without end.
#[test]
fn the_copies_of_a_message_that_loses_each_connection_are_few_and_each_is_logged() {
    let mut numbers = Vec::new();
    for (seed, others_each) in (0..20).flat_map(|seed| [(seed, 10 * MINUTE), (seed, HOUR), (seed, DAY)]) {
        let mut world = World::with(4, |set_up| set_up.seed = seed);
        world.bad = closes();
        let bad = world.arrive_poison();
        let lines = |world: &World, words: &str| {
            world.log.iter().filter(|line| line.starts_with(&bad.to_string()) && line.contains(words)).count()
        };
        while lines(&world, "status=expired") == 0 {
            world.arrive(1);
            world.pass(others_each);
            // The last pause is at most half as long as the age, and somewhat more by its spread.
            assert!(world.seconds() < 9 * 86_400, "{seed}: it comes to its end");
        }
        assert_eq!(lines(&world, "possible duplicate"), world.times_seen(bad), "{seed}: each is logged");
        numbers.push(world.times_seen(bad));
    }
    let (least, most) = (numbers.iter().min().unwrap(), numbers.iter().max().unwrap());
    assert!(*least > 10 && *most <= MOST_COPIES, "{numbers:?}");
}

/// One line was said for one copy at each start that took the message up, whether it was sent again or not, and for
/// attempts that the relay had answered, or that had never come to their dot.
#[test]
fn each_copy_has_its_line() {
    let table: Vec<(&str, Vec<Does>, usize)> = vec![
        ("never in flight", vec![leaves()], 0),
        ("killed behind the mark", vec![Does::Holds], 1),
        ("killed twice behind it", vec![Does::Holds, Does::Holds], 2),
        ("taken up, and not sent again, by two runs", vec![Does::Holds, leaves(), leaves()], 1),
        ("deferred before the second dot", vec![Does::Holds, busy(), busy()], 1),
        ("lost, which was said", vec![closes()], 1),
        ("lost, and taken up by two runs", vec![closes(), leaves()], 1),
        ("lost, then killed behind a second mark", vec![closes(), Does::Holds], 2),
        ("without a report", vec![Does::Panics], 1),
        ("without a report, and taken up by two runs", vec![Does::Panics, leaves()], 1),
        ("answered with 421", vec![leaves_at_dot()], 0),
        ("answered with 421 and taken up by two runs", vec![leaves_at_dot(), leaves()], 0),
        ("answered with 421 after a copy", vec![closes(), leaves_at_dot()], 1),
        ("answered with 450", vec![Does::Defers], 0),
    ];
    for (what, runs, lines) in table {
        let (world, _) = after("app@example.org", &["ann@example.net"], &runs, Does::Takes);
        assert_eq!(world.logged(": possible duplicate"), lines, "{what}");
    }
}

/// Lost: a copy that the relay may have was forgotten with the next deferral, or by the run after it, and the
/// bounce said that the message had not been delivered.
#[test]
fn a_bounce_says_that_it_may_have_arrived_whatever_came_in_between() {
    let table: Vec<(&str, Vec<Does>, bool)> = vec![
        ("killed behind the mark", vec![Does::Holds], true),
        ("then deferred before its dot", vec![Does::Holds, busy()], true),
        ("then deferred at its dot", vec![Does::Holds, Does::Defers], true),
        ("then deferred by many runs", vec![Does::Holds, busy(), Does::Defers, busy()], true),
        ("lost", vec![closes()], true),
        ("lost, then deferred", vec![closes(), busy()], true),
        ("lost, then deferred at its dot and left", vec![closes(), Does::Defers, leaves()], true),
        ("lost, then answered with 421, then deferred", vec![closes(), leaves_at_dot(), busy()], true),
        ("without a report, then deferred", vec![Does::Panics, busy()], true),
        ("never in flight", vec![leaves(), busy()], false),
        ("answered with 421, then deferred", vec![leaves_at_dot(), busy()], false),
        ("deferred at its dot", vec![Does::Defers, Does::Defers], false),
    ];
    for (what, runs, expected) in table {
        let then = Does::SaysAtRcpt(vec![NO_USER]);
        let (world, _) = after("app@example.org", &["ann@example.net"], &runs, then);
        let bounce = world.seen.iter().find(|seen| seen.from.is_empty()).expect("it bounced");
        let words: Vec<&str> = bounce.content.split_whitespace().collect();
        let says = words.join(" ").contains("it may have been delivered all the same");
        assert_eq!(says, expected, "{what}: {}", bounce.content);
    }
}

/// Lost: mail that is dead, since nobody hears of mail from `<>`, was exported as never delivered, though an earlier
/// run had been past its content.
#[test]
fn what_is_dead_may_have_arrived_all_the_same() {
    for (first, expected) in [(Does::Holds, true), (leaves(), false)] {
        let (world, id) = after("", &["ann@example.net"], &[first], Does::SaysAtRcpt(vec![NO_USER]));
        let marks = world.spool.message(id).marks;
        assert_eq!((marks.state(), marks.may_have_arrived()), (EntryState::Dead, expected));
    }
}

/// A relay that refuses the second copy has got none, and nobody is asked again.
#[test]
fn what_is_refused_before_its_second_dot_is_no_duplicate() {
    let to = ["ann@example.net", "ben@example.net"];
    let (world, id) = after("app@example.org", &to, &[Does::Holds], Does::SaysAtRcpt(vec![NO_USER]));
    assert_eq!((world.logged(": possible duplicate"), world.times_seen(id)), (0, 2));
}

/// The line that a message may have been sent by the run before was once said at each attempt that the relay's trouble cut short.
#[test]
fn what_a_run_before_may_have_sent_is_said_once() {
    let mut world = World::new(2);
    world.relay_always(Does::Holds);
    world.arrive(1);
    world.relay_always(leaves());
    world.restart();
    world.pass(HOUR);
    world.relay_always(Does::Takes);
    world.pass(HOUR);
    assert_eq!((world.status().live, world.logged("possible duplicate")), (0, 1));
    assert!(world.begun.len() > 5);
}
