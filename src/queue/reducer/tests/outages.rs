//! Relay trouble is not the message's fault (README promise 4).

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::super::{Event, LogLine, QueueAnswer};
use super::world::{DAY, Does, HOUR, MINUTE, World};
use crate::queue::Standing;
use crate::relay::Phase;

#[test]
fn an_outage_of_a_week_bounces_nothing_and_probes_with_one_connection() {
    let mut world = World::new(2);
    world.relay_always(Does::IsAway);
    world.arrive(20);
    world.pass(DAY * 7);
    assert_eq!(world.most_open, 1);
    let pauses: Vec<i64> = world.begun.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let (first, others) = pauses.split_at(3);
    assert!(first.is_sorted(), "{first:?}");
    assert!(others.iter().all(|pause| (6..=10).contains(pause)), "eight seconds, spread by a quarter");
    let lines = world.lines.iter().filter(|line| matches!(line, LogLine::RelayPaused { .. })).count();
    assert!(lines < 7 * 86_400 / 200, "{lines} lines: one in five minutes is enough");
    assert_eq!((world.status().live, world.relay_clock), (20, 0), "none of it used up any patience");
    world.relay_always(Does::Takes);
    world.pass(MINUTE * 10);
    assert_eq!((world.status().live, world.given.len()), (0, 20), "each exactly once");
}

#[test]
fn somebody_who_wants_to_know_now_gets_a_probe_now() {
    let mut world = World::new(2);
    world.relay_always(Does::IsAway);
    world.arrive(1);
    let before = world.begun.len();
    world.tell(Event::ProbeNow);
    assert_eq!(world.begun.len(), before + 1);
    world.relay_always(Does::Takes);
    world.tell(Event::ProbeNow);
    assert_eq!((world.status().live, world.is_paused()), (0, false));
}

/// Whatever the relay was paused for, and for however long: a flush delivers at the moment at which it is given.
#[test]
fn a_flush_after_the_relays_return_delivers_in_that_moment() {
    let daily = "454 Throttling failure: Daily message quota exceeded.";
    for outage in [
        Does::IsAway,
        Does::breaks(Phase::Greeting),
        Does::RefusesLogin,
        Does::breaks(Phase::Mail),
        Does::RefusesByRule { host: "email-smtp.us-east-1.amazonaws.com", from: None, said: daily },
    ] {
        let mut world = World::new(20);
        world.relay_always(outage.clone());
        world.arrive(100);
        world.pass(HOUR * 3 + MINUTE * 7);
        assert!(world.is_paused(), "{outage:?}");
        world.relay_always(Does::Takes);
        assert_eq!(world.status().live, 100, "{outage:?}: it waits for its next probe");
        // No time passes here.
        world.tell(Event::ProbeNow);
        assert_eq!(world.status().live, 0, "{outage:?}");
    }
}

/// A relay that turned every second connection away made a line that it is paused and one that it is usable again each
/// second, for as long as there was mail.
#[test]
fn a_relay_that_is_paused_over_and_over_makes_few_lines() {
    let mut world = World::new(1);
    world.relay_always(Does::Flickers);
    world.arrive(300);
    let mut passed = Duration::ZERO;
    while world.status().live > 0 {
        assert!(passed < HOUR, "{} left", world.status().live);
        world.pass(MINUTE);
        passed += MINUTE;
    }
    world.pass(MINUTE * 2);
    let count = |is: fn(&LogLine) -> bool| world.lines.iter().filter(|line| is(line)).count();
    let paused = count(|line| matches!(line, LogLine::RelayPaused { .. }));
    let resumed = count(|line| matches!(line, LogLine::RelayResumed { .. }));
    assert_eq!((paused, resumed), (3, 3));
    let times = world.lines.iter().map(|line| match line {
        LogLine::RelayFlickered { times, .. } => *times,
        _ => 0,
    });
    assert_eq!(times.sum::<u32>() + 3, world.begun.len() as u32 / 2, "each is counted");
    assert!(count(|line| matches!(line, LogLine::RelayFlickered { .. })) as u64 <= passed.as_secs() / 60 + 1);

    world.relay_always(Does::IsAway);
    world.arrive(1);
    world.pass(MINUTE);
    assert!(matches!(world.lines.last(), Some(LogLine::RelayPaused { .. })), "an outage is told");
}

/// A message that arrives after a long silence has all of its patience: the relay clock that it is stamped with has gone
/// on.
#[test]
fn the_relay_clock_goes_on_while_nothing_happens() {
    let mut world = World::new(2);
    world.pass(DAY);
    assert_eq!(u64::from(world.relay_clock), DAY.as_secs());
    assert_eq!(world.until_next_change(), MINUTE, "what arrives is behind by no more than that");
}

/// `status` said a next probe by the clock as it was before it was set, and ages by the new one.
#[test]
fn what_is_shown_is_in_the_time_of_day() {
    for hours in [-24 * 30, 24 * 30] {
        let mut world = World::new(2);
        world.relay_always(Does::Defers);
        world.arrive(1);
        world.relay_always(Does::IsAway);
        world.arrive(1);
        world.step(SignedDuration::from_hours(hours));
        let now = world.time_of_day();
        let is_soon = |time: Timestamp| time > now && time < now + SignedDuration::from_mins(6);
        let status = world.status();
        assert!(is_soon(status.foremost().paused_until.unwrap()), "{status:?}");
        let standing = world.standings()[0].standing;
        let Standing::Waiting(due) = standing else { panic!("{standing:?}") };
        assert!(is_soon(Timestamp::from_second(due.into()).unwrap()), "{standing:?}");
    }
}

#[test]
fn a_clock_set_back_delays_nothing() {
    let mut world = World::new(2);
    world.relay_always(Does::Defers);
    world.arrive(1);
    world.relay_always(Does::Takes);
    world.step(SignedDuration::from_hours(-24 * 30));
    world.pass(MINUTE + Duration::from_secs(7));
    assert_eq!(world.status().live, 0, "its pause is a minute, spread by a tenth");
}

/// Each further ETRN of that minute was answered with "queueing started", and nothing was.
#[test]
fn a_client_may_ask_for_a_probe_once_a_minute() {
    let mut world = World::new(2);
    world.relay_always(Does::IsAway);
    world.arrive(1);
    assert_eq!(world.ask(Event::ProbeForClient), QueueAnswer::Probe(None));
    assert_eq!(world.begun.len(), 2);
    for _ in 0..100 {
        let told = world.ask(Event::ProbeForClient);
        let QueueAnswer::Probe(Some(told)) = told else { panic!("{told:?}") };
        assert!(told.last + told.again_in == MINUTE && told.next_probe_in.is_some(), "{told:?}");
    }
    assert_eq!(world.begun.len(), 2);
    world.pass(HOUR);
    assert_eq!(world.ask(Event::ProbeForClient), QueueAnswer::Probe(None));
}

#[test]
fn an_outage_uses_up_no_patience_and_a_restart_knows_how_much_is_used() {
    let mut world = World::new(2);
    world.relay_always(Does::IsAway);
    world.arrive(1);
    world.pass(DAY * 7);
    world.restart();
    assert!(world.is_paused());
    world.relay.once(Does::Says(vec!["450 4.7.1 greylisted"]));
    world.relay_always(Does::Takes);
    world.tell(Event::ProbeNow);
    assert_eq!(world.status().deferred, 1, "it has all of its patience");
    world.pass(HOUR * 2);
    assert_eq!(world.status().live, 0);
    assert!(world.seen.iter().all(|seen| seen.from == "app@example.org"), "no bounce");
}

#[test]
fn a_relay_that_goes_away_before_the_content_defers_no_message_for_long() {
    let mut world = World::new(1);
    world.relay_always(Does::breaks(Phase::Mail));
    world.arrive(3);
    assert_eq!((world.status().live, world.is_paused()), (3, true));
    world.pass(HOUR);
    world.relay_always(Does::Takes);
    world.pass(MINUTE * 10);
    assert_eq!(world.status().live, 0);
}

#[test]
fn a_clock_set_forward_uses_up_no_patience() {
    let mut world = World::new(2);
    world.relay_always(Does::Defers);
    world.arrive(1);
    world.step(SignedDuration::from_hours(24 * 30));
    world.pass(HOUR * 3);
    assert!(world.seen.len() > 2);
    assert!(world.seen.iter().all(|seen| seen.from == "app@example.org"), "no bounce");
}

/// A clock that jumped forward made a warning of a delay of 56 years, of a message that was a minute old.
#[test]
fn a_clock_set_forward_warns_of_no_delay() {
    let mut world = World::with(2, |set_up| set_up.policy.retry.delay_warning = Some(HOUR * 4));
    world.relay_always(Does::Defers);
    world.arrive(1);
    world.step(SignedDuration::from_hours(24 * 365 * 56));
    world.pass(HOUR * 3);
    let warnings = |world: &World| world.seen.iter().filter(|seen| seen.from.is_empty()).count();
    assert_eq!(warnings(&world), 0, "it has waited for three hours");
    world.pass(HOUR * 3);
    assert!(warnings(&world) > 0, "it is late all the same");
}

#[test]
fn a_message_that_could_not_be_marked_time_and_again_keeps_its_turn() {
    let mut world = World::new(2);
    world.relay_always(Does::IsAway);
    world.arrive(1);
    for outage in 1..=3 {
        world.spool.records_left = Some(0);
        world.relay_always(Does::Takes);
        world.tell(Event::ProbeNow);
        world.pass(HOUR);
        let is_stop = |line: &&LogLine| matches!(line, LogLine::SendingStopped { .. });
        assert_eq!(world.lines.iter().filter(is_stop).count(), outage);
        assert_eq!(world.seen.len(), outage, "shown once, without its dot");
        world.relay_always(Does::IsAway);
        world.spool_records_again();
        let is_start = |line: &&LogLine| matches!(line, LogLine::SendingResumed { .. });
        assert_eq!(world.lines.iter().filter(is_start).count(), outage);
        assert_eq!(world.status().deferred, 0);
    }
    world.relay_always(Does::Takes);
    world.tell(Event::ProbeNow);
    assert_eq!((world.status().live, world.seen.len()), (0, 4));
}

/// The end of a message that the relay has taken was once tried up to a minute after the spool recorded again.
#[test]
fn what_the_relay_took_is_recorded_as_soon_as_it_can_be() {
    let mut world = World::new(2);
    world.relay_always(Does::Holds);
    world.arrive(1);
    world.spool.records_left = Some(0);
    world.release(world.given[0].0);
    world.relay_always(Does::Takes);
    world.arrive(1);
    world.pass(HOUR);
    assert_eq!((world.seen.len(), world.relay_clock), (1, 0), "nothing is sent, and patience is not used up");
    world.spool_records_again();
    assert_eq!((world.status().live, world.seen.len()), (0, 2));
}
