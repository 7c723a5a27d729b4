//! Failures, and who hears of them.

use std::collections::BTreeSet;

use super::world::{Does, HOUR, MINUTE, World};
use crate::envelope::{Address, Envelope, Notify};
use crate::queue::Standing;
use crate::queue::testing::envelope;
use crate::spool::Fate;

const NO_USER: &str = "550 5.1.1 no such user";

fn notifying(to: &str, notify: Notify) -> Envelope {
    let mut envelope = envelope("app@example.org", &[to]);
    envelope.recipients[0].notify = notify;
    envelope
}

#[test]
fn notify_never_is_honoured() {
    let mut world = World::new(2);
    world.relay.once(Does::Says(vec![NO_USER]));
    world.submit_envelope(notifying("nobody@example.net", Notify::Never));
    assert_eq!((world.status().live, world.seen.len()), (0, 1), "no DSN");
}

#[test]
fn success_is_reported_to_those_who_asked_when_the_relay_will_not() {
    let mut world = World::new(2);
    let notify = Notify::On { success: true, failure: true, delay: false };
    world.submit_envelope(notifying("ann@example.net", notify));
    assert_eq!((world.status().live, world.seen.len()), (0, 2));
    assert!(world.seen[1].content.contains("Action: relayed"), "{}", world.seen[1].content);
}

#[test]
fn a_failed_dsn_is_dead_mail_and_stays() {
    let mut world = World::new(2);
    world.relay_always(Does::Says(vec![NO_USER]));
    world.submit("app@example.org", &["nobody@example.net"]);
    assert_eq!(world.standing(), Standing::Dead);
    world.restart();
    assert_eq!(world.standing(), Standing::Dead, "also after a restart");
    world.pass(HOUR * 2);
    assert_eq!(world.seen.len(), 2, "never tried again by itself");
}

#[test]
fn with_a_postmaster_the_failed_dsn_goes_there_and_only_once() {
    let postmaster = Address::parse("ops@example.org").unwrap();
    let mut world = World::with(2, |set_up| set_up.overseers.postmaster = Some(postmaster));
    world.relay_always(Does::Says(vec![NO_USER]));
    world.submit("app@example.org", &["nobody@example.net"]);
    let to: Vec<&String> = world.seen.iter().flat_map(|seen| &seen.to).collect();
    assert_eq!(to, ["nobody@example.net", "app@example.org", "ops@example.org"]);
    assert_eq!(world.standing(), Standing::Dead, "what the postmaster cannot get stays");
}

#[test]
fn a_recipient_that_nothing_was_said_of_is_tried_again_without_one_that_failed() {
    let mut world = World::new(2);
    world.relay.once(Does::Says(vec![NO_USER, ""]));
    world.submit("", &["nobody@example.net", "ann@example.net"]);
    assert_eq!(world.standing(), Standing::Dead);
    assert_eq!(world.seen[1].to, ["ann@example.net"]);
}

/// From `<>` to several, the refusal of one was recorded only when the last of the others had its end: it was
/// asked again at each of their retries, and bounced again in the log each time.
#[test]
fn a_refusal_that_nobody_can_be_told_of_is_recorded_at_once() {
    let mut world = World::new(2);
    world.relay.once(Does::Says(vec![NO_USER, "450 4.2.1 busy"]));
    world.relay.once(Does::Says(vec!["450 4.2.1 still busy"]));
    let id = world.submit("", &["nobody@example.net", "ann@example.net"]);
    assert_eq!(world.spool.message(id).fates, [Fate::Dead, Fate::Open]);
    world.pass(MINUTE * 3 / 2);
    world.restart();
    assert_eq!(world.standing(), Standing::Dead);
    let asked: Vec<&[String]> = world.seen.iter().map(|seen| seen.to.as_slice()).collect();
    assert_eq!(asked[0], ["nobody@example.net", "ann@example.net"]);
    assert_eq!(asked[1..], [["ann@example.net"], ["ann@example.net"]]);
    let stored = world.spool.message(id);
    assert_eq!(stored.fates, [Fate::Dead, Fate::Sent]);
    assert_eq!(stored.replies.of(0), Some(NO_USER), "and the reason is kept");
}

/// Of several recipients only the first one's reason was kept, and a later attempt's silence was taken for news.
#[test]
fn what_each_recipient_was_told_last_is_kept() {
    let mut world = World::new(2);
    world.relay.once(Does::Says(vec!["450 4.2.1 busy", "451 4.7.1 greylisted", "450 4.2.2 full"]));
    world.relay.once(Does::Says(vec!["452 4.2.2 full as well", "", "250 2.0.0 ok"]));
    world.relay_always(Does::IsAway);
    let id = world.submit("app@example.org", &["ann@example.net", "ben@example.net", "cat@example.net"]);
    world.pass(MINUTE * 2);
    let replies = &world.spool.message(id).replies;
    let told = [0, 1, 2].map(|index| replies.of(index));
    assert_eq!(told, [Some("452 4.2.2 full as well"), Some("451 4.7.1 greylisted"), None]);
}

#[test]
fn one_warning_of_a_delay() {
    let mut world = World::with(2, |set_up| set_up.policy.retry.delay_warning = Some(HOUR * 4));
    let id = world.spool.next_id();
    world.relay.always_with(id, Does::Defers);
    world.arrive(1);
    world.pass(HOUR * 4 - MINUTE);
    assert!(world.seen.iter().all(|seen| seen.id == id), "not before it is due");
    world.pass(HOUR * 2);
    world.restart();
    world.pass(HOUR * 2);
    let warnings: Vec<_> = world.seen.iter().filter(|seen| seen.from.is_empty()).collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].content.contains("Action: delayed"), "{}", warnings[0].content);
}

/// A step that is done is not done again, whichever record the spool refuses behind it.
#[test]
fn each_dsn_is_written_once_whichever_record_is_refused() {
    for records in 0..8 {
        let mut world = World::new(2);
        let said = vec!["250 2.0.0 ok", NO_USER, "450 4.2.1 busy"];
        world.relay.always_with(world.spool.next_id(), Does::Says(said));
        let mut envelope =
            envelope("app@example.org", &["ann@example.net", "bob@example.net", "cat@example.net"]);
        envelope.recipients[0].notify = Notify::On { success: true, failure: true, delay: false };
        world.spool.records_left = Some(records);
        world.submit_envelope(envelope);
        world.pass(MINUTE);
        world.spool_records_again();
        world.pass(MINUTE * 3);
        assert_eq!(world.status().live, 0, "{records}");
        for action in ["Action: relayed", "Action: failed"] {
            // The DSN itself may have been shown without its dot before.
            let told = world.seen.iter().filter(|seen| seen.content.contains(action)).map(|seen| seen.id);
            assert_eq!(told.collect::<BTreeSet<_>>().len(), 1, "{action}, after {records} records");
        }
        assert_eq!(world.logged("to=<ann@example.net>"), 1, "{records}");
    }
}
