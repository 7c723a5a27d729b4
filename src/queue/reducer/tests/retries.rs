//! Messages that the relay does not want yet, or never; and what a restart knows of them.

use std::time::Duration;

use super::super::Event;
use super::world::{CONTENT, DAY, Does, HOUR, MINUTE, Pace, SECOND, World};
use crate::queue::testing::AND_LEFT;
use crate::relay::{Cause, Phase};
use crate::smtp::reply::Reply;

#[test]
fn a_deferred_message_is_tried_again_by_its_age() {
    let mut world = World::new(2);
    world.relay_always(Does::Defers);
    world.arrive(1);
    world.pass(HOUR * 3);
    let tries: Vec<i64> = world.seen.iter().map(|seen| seen.at).collect();
    for pair in tries.windows(2) {
        let (age, pause) = (pair[0].clamp(60, 3600), pair[1] - pair[0]);
        // Spread by a tenth, and both times are cut to whole seconds.
        let range = age * 9 / 10 - 1..=age * 11 / 10 + 1;
        assert!(range.contains(&pause), "at age {age}: next after {pause} s");
    }
    assert!((8..=11).contains(&tries.len()), "{tries:?}");
}

/// A message that was told to come back in five minutes came back after one, two and four, in vain; a greylist may begin anew
/// each time. Each case: what two recipients are told, and the seconds after which the message is tried again at the earliest.
#[test]
fn a_time_that_the_relay_names_for_a_message_is_kept_and_delays_no_other() {
    let (greylisted, disk) = (
        "450 4.2.0 Greylisted, please try again in 300 seconds",
        "452 4.3.1 disk full, try again in 10 minutes",
    );
    let cases = [
        ([greylisted, greylisted], 300),
        ([disk, disk], 600),
        (["451 4.7.1 greylisted, retry after 2 hours", "451 4.7.1 greylisted, retry after 3 hours"], 7200),
        (["451 4.7.1 try again in 2 seconds", "451 4.7.1 try again in 2 seconds"], 54),
        // No recipient waits for what another one was told.
        ([greylisted, "450 4.2.1 busy"], 54),
        ([greylisted, disk], 300),
        (["250 2.0.0 ok", greylisted], 300),
        (["450 4.2.1 only 10 messages in 5 minutes", greylisted], 54),
    ];
    for (said, seconds) in cases {
        for does in [Does::Says(said.to_vec()), Does::SaysAtRcpt(said.to_vec())] {
            let mut world = World::new(2);
            world.relay.once(does);
            world.submit("app@example.org", &["ann@example.net", "bob@example.net"]);
            let first = world.seen[0].at;
            world.arrive(3);
            assert_eq!((world.status().live, world.is_paused()), (1, false), "{said:?}: the others are sent");
            world.pass(HOUR * 4);
            let again = world.seen.last().unwrap();
            let most = seconds.max(60) * 11 / 10 + 1;
            assert!((seconds..=most).contains(&(again.at - first)), "{said:?}: after {}", again.at - first);
            assert_eq!(world.status().live, 0);
        }
    }
}

/// A message that was told to wait for a day had its delay warning, and its bounce, up to a day late.
#[test]
fn a_time_that_the_relay_names_makes_no_report_late() {
    let mut world = World::with(2, |set_up| {
        set_up.policy.retry.delay_warning = Some(HOUR * 4);
        set_up.policy.retry.lifetime = HOUR * 10;
    });
    let said = "450 4.2.0 <ann@example.net> Greylisted, please try again in 20 hours";
    world.relay_always(Does::Says(vec![said]));
    let id = world.submit("app@example.org", &["ann@example.net"]);
    world.pass(DAY);
    let times = world.times_seen(id);
    assert!((3..=4).contains(&times), "at first, for the warning, and at the end: {times}");
    let own: Vec<i64> =
        world.seen.iter().filter(|seen| seen.to == ["ann@example.net"]).map(|seen| seen.at).collect();
    let after = |number: usize| own[number] - own[0];
    assert!((4 * 3600..4 * 3600 + 120).contains(&after(1)), "{own:?}");
    assert!((10 * 3600..10 * 3600 + 120).contains(&after(own.len() - 1)), "{own:?}");
}

/// A relay that said "421 try again in 10 minutes" was asked again after 1, 2, 4 … seconds.
#[test]
fn a_time_that_a_421_names_is_kept_for_the_relay() {
    let (reply, _) = Reply::parse(b"421 4.3.2 maintenance, try again in 10 minutes\r\n").unwrap().unwrap();
    let says = Does::Breaks(Phase::Mail, Cause::Reply(reply));
    let mut world = World::new(5);
    world.relay_always(says.clone());
    world.arrive(30);
    world.pass(MINUTE);
    assert!(world.is_paused());
    // While only a few messages have heard it, others are tried.
    let tries = world.seen.len();
    world.pass(MINUTE * 8);
    assert_eq!(world.seen.len(), tries, "{:?}", world.lines);
    world.relay_always(Does::Takes);
    world.pass(MINUTE * 3);
    assert_eq!(world.status().live, 0);

    let mut world = World::new(5);
    world.relay.once(says.clone());
    world.arrive(1);
    world.pass(MINUTE * 9);
    assert_eq!(world.status().live, 1);
    world.pass(MINUTE * 2);
    assert_eq!(world.status().live, 0);

    world.relay.once(says);
    world.arrive(1);
    world.pass(MINUTE * 3);
    world.arrive(20);
    world.pass(SECOND * 3);
    assert_eq!(world.status().live, 1, "what has not heard it is tried, and the relay takes it");
    world.pass(MINUTE * 6);
    assert_eq!(world.status().live, 1);
    world.pass(MINUTE * 2);
    assert_eq!(world.status().live, 0);
}

/// A valid recipient bounced by a reply too many, said about the one before it, since the relay hung up behind that and
/// nothing that does not fit was read. A relay that hangs up at each refusal must be believed all the same.
#[test]
fn a_refusal_that_nothing_proves_is_believed_at_the_second_try() {
    let said: &str = format!("550 5.1.1 nobody {AND_LEFT}").leak();
    let mut world = World::new(2);
    world.relay.once(Does::SaysAtRcpt(vec![said]));
    world.arrive(1);
    assert_eq!(world.status().deferred, 1);
    world.pass(MINUTE * 2);
    assert_eq!(world.status().live, 0);
    assert!(world.seen.iter().all(|seen| !seen.from.is_empty()), "no bounce");

    world.relay.once(Does::SaysAtRcpt(vec![said]));
    world.relay.once(Does::SaysAtRcpt(vec![said]));
    world.arrive(1);
    assert_eq!(world.status().deferred, 1);
    world.pass(MINUTE * 2);
    assert_eq!(world.status().live, 0);
    let bounces: Vec<_> = world.seen.iter().filter(|seen| seen.from.is_empty()).collect();
    assert_eq!(bounces.len(), 1);
    assert!(bounces[0].content.contains("Status: 5.1.1"), "{}", bounces[0].content);
}

#[test]
fn after_five_days_of_refusals_the_message_bounces() {
    let mut world = World::new(2);
    world.relay_always(Does::Defers);
    let id = world.submit("app@example.org", &["ann@example.net"]);
    world.pass(DAY * 5 - HOUR);
    assert!(world.seen.iter().all(|seen| seen.from == "app@example.org"), "no bounce yet");
    world.pass(HOUR * 3);
    let last = world.seen.iter().rev().find(|seen| seen.from.is_empty()).expect("a DSN");
    assert_eq!(last.to, ["app@example.org"]);
    assert!(last.content.contains("Status: 5.4.7"), "{}", last.content);
    assert!(last.content.contains("450 4.2.1 busy"), "{}", last.content);
    let originals = world.times_seen(id);
    assert!((110..=150).contains(&originals), "{originals} attempts in five days");
}

#[test]
fn each_recipient_has_its_own_fate() {
    let mut world = World::new(2);
    world.relay.once(Does::Says(vec!["250 2.0.0 ok", "450 4.2.1 busy", "550 5.1.1 who"]));
    world.submit("app@example.org", &["ann@x.example", "ben@x.example", "cat@x.example"]);
    assert_eq!((world.status().live, world.status().deferred), (1, 1));
    world.pass(MINUTE * 2);
    assert_eq!(world.status().live, 0);
    let to: Vec<&[String]> = world.seen.iter().map(|seen| seen.to.as_slice()).collect();
    assert_eq!(to.len(), 3);
    assert_eq!(to[0], ["ann@x.example", "ben@x.example", "cat@x.example"]);
    assert_eq!(to[1], ["app@example.org"], "the DSN about cat");
    assert_eq!(to[2], ["ben@x.example"], "only who is still open");
    assert_eq!(world.seen[2].content, CONTENT);
}

#[test]
fn a_bulk_run_does_not_delay_another_submitter() {
    let mut world = World::new(1);
    world.relay_always(Does::IsAway);
    world.arrive(50);
    world.lane = 2;
    let reset = world.submit("reset@example.org", &["ann@x.example"]);
    world.relay_always(Does::Takes);
    world.tell(Event::ProbeNow);
    assert_eq!(world.status().live, 0);
    let position = world.given.iter().position(|(_, id)| *id == reset);
    assert!(position.unwrap() <= 3, "{position:?}");
}

/// A message that is deferred in the words for the relay's pace may be deferred for itself.
#[test]
fn a_message_that_is_deferred_for_itself_waits_by_its_age_and_slows_nobody() {
    let mut world = World::new(2);
    let own = world.spool.next_id();
    world.relay.always_with(own, Does::Says(vec!["451 4.3.0 cannot take this one"]));
    world.arrive(1);
    assert_eq!(world.status().deferred, 1);
    world.arrive(50);
    assert_eq!(world.status().live, 1);
    world.pass(HOUR);
    let tries = world.times_seen(own);
    assert!((1..=8).contains(&tries), "{tries} tries in an hour");
}

#[test]
fn outcomes_of_single_recipients_survive_a_restart() {
    let mut world = World::new(2);
    world.relay.once(Does::Says(vec!["250 2.0.0 ok", "450 4.2.1 busy"]));
    world.submit("app@example.org", &["ann@example.net", "ben@example.net"]);
    assert_eq!(world.status().deferred, 1);
    world.restart();
    assert_eq!(world.status().live, 0);
    assert_eq!(world.seen[1].to, ["ben@example.net"]);
}

#[test]
fn the_reason_of_a_deferral_survives_a_restart() {
    let mut world = World::new(2);
    world.relay_always(Does::Defers);
    let id = world.submit("app@example.org", &["ann@example.net"]);
    world.relay_always(Does::IsAway);
    world.restart();
    assert_eq!(world.spool.message(id).replies.of(0), Some("450 4.2.1 busy"));
}

/// The set-up of a connection was counted twice, as waiting and as connecting, and the wait on it behind another
/// message's final dot not at all.
#[test]
fn where_the_time_went_adds_up_to_all_of_it() {
    let mut world = World::new(1);
    let [connecting, behind, transmitting] = [2_000, 3_000, 1_500].map(Duration::from_millis);
    world.relay.pace = Pace { connecting, behind, transmitting };
    world.relay.once(Does::Says(vec!["450 4.2.1 busy"]));
    world.arrive(2);
    world.pass(Duration::from_secs(11));
    assert_eq!((world.status().live, world.status().deferred), (1, 1));
    world.pass(MINUTE * 2);
    let told =
        world.log.iter().map(|line| line.split_once("delay=").unwrap().1.split_once(", tls").unwrap().0);
    let told: Vec<&str> = told.collect();
    assert_eq!(told[..2], ["6.5, delays=0/3/2/1.5", "11, delays=0/9.5/0/1.5"]);
    let (total, parts) = told[2].split_once(", delays=").unwrap();
    let (before, rest) = parts.split_once('/').unwrap();
    let [total, before] = [total, before].map(|seconds| seconds.parse::<f64>().unwrap());
    assert_eq!(rest, "3/2/1.5");
    assert!((total - before - 6.5).abs() <= 1.0, "both are rounded: {}", told[2]);
}
