//! Orders of operators: what they do with a message, whatever it is doing.

use std::time::Duration;

use super::super::LogLine;
use super::world::{DAY, Does, HOUR, MINUTE, SECOND, World};
use crate::envelope::{Address, Notify};
use crate::queue::Standing;
use crate::queue::orders::{OrderFailure, OrderResult};
use crate::queue_id::QueueId;
use crate::spool::{CommitError, Fate, OperatorVerb, OrderRight};

use OperatorVerb::{Delete, Expire, Hold, Release, Retry};

const NO_USER: &str = "550 5.1.1 no such user";

/// Returns a world whose relay is away, with one message.
fn stuck() -> (World, QueueId) {
    let mut world = World::new(2);
    world.away.insert(None);
    let id = world.submit("app@example.org", &["ann@example.net"]);
    (world, id)
}

/// Returns a world whose relay takes ten seconds for each message, with one that is under way.
fn under_way(does: Does) -> (World, QueueId) {
    let mut world = World::new(2);
    world.relay_always(does);
    world.relay.pace.transmitting = SECOND * 10;
    let id = world.submit("app@example.org", &["ann@example.net"]);
    assert_eq!(world.standing(), Standing::UnderWay);
    (world, id)
}

/// Returns a world with a dead message: our bounce of one that failed.
fn dead() -> (World, QueueId) {
    let mut world = World::new(2);
    world.relay_always(Does::Says(vec![NO_USER]));
    let id = world.submit("", &["nobody@example.net"]);
    assert_eq!(world.standing(), Standing::Dead);
    (world, id)
}

#[test]
fn what_is_on_hold_is_not_sent_whatever_comes_before_it_is_released() {
    let (mut world, id) = stuck();
    assert_eq!(world.order(Hold, id), Some(OrderResult::Done));
    assert_eq!(world.order(Hold, id), Some(OrderResult::AlreadySo));
    world.away.clear();
    for what in 0..4 {
        match what {
            0 => world.tell(super::Event::ProbeNow),
            1 => world.reload(),
            2 => world.restart(),
            _ => world.reload_with(|set_up| set_up.add_route("news", &[], &["@example.net"])),
        }
        world.pass(DAY * 10);
        assert_eq!((world.standing(), world.seen.len()), (Standing::OnHold, 0), "{what}");
        assert_eq!(world.order(Retry, id), Some(OrderResult::OnHold));
    }
    assert_eq!(world.status().on_hold, 1);
    world.relay_always(Does::Defers);
    assert_eq!(world.order(Release, id), Some(OrderResult::Done));
    world.restart();
    // The time on hold counts for nothing, before a restart and behind it.
    world.pass(DAY * 4);
    assert!(world.seen.len() > 2 && world.logged("status=expired") == 0, "{:?}", world.log);
    world.relay_always(Does::Takes);
    world.pass(HOUR * 2);
    assert_eq!(world.status().live, 0);
}

#[test]
fn what_is_deleted_is_gone_and_nobody_hears_of_it() {
    let (mut world, id) = stuck();
    assert_eq!(world.order(Delete, id), Some(OrderResult::Done));
    assert_eq!(world.order(Delete, id), Some(OrderResult::NotFound));
    assert_eq!((world.status().live, world.seen.len()), (0, 0));
}

/// The final dot may be written: a message under way goes to the end of its attempt, which counts first.
#[test]
fn what_is_under_way_is_only_marked() {
    for (does, seen, left) in [(Does::Takes, 1, true), (Does::Defers, 1, false)] {
        let (mut world, id) = under_way(does);
        assert_eq!(world.order(Delete, id), Some(OrderResult::Marked));
        assert_eq!((world.status().under_way, world.status().live), (1, 1), "nothing is taken from it");
        world.pass(SECOND * 20);
        assert_eq!((world.status().live, world.seen.len()), (0, seen));
        let late = world.lines.iter().filter(|line| matches!(line, LogLine::OrderLate { .. })).count();
        assert_eq!(late, usize::from(left));
    }
}

#[test]
fn the_last_order_about_what_is_under_way_counts() {
    let (mut world, id) = under_way(Does::Defers);
    for verb in [Retry, Hold, Release, Hold] {
        assert_eq!(world.order(verb, id), Some(OrderResult::Marked));
    }
    world.pass(HOUR);
    assert_eq!((world.standing(), world.seen.len()), (Standing::OnHold, 1));
}

/// A later order to hold had taken the place of one to delete, and nobody was told: the message stayed.
#[test]
fn a_stronger_order_about_what_is_under_way_stays() {
    use OrderResult::{Marked, Outranked};
    let (mut world, id) = under_way(Does::Defers);
    assert_eq!(world.order(Expire, id), Some(Marked));
    assert_eq!(world.order(Hold, id), Some(Outranked(Expire)));
    assert_eq!(world.order(Delete, id), Some(Marked));
    for verb in [Expire, Hold, Release, Retry] {
        assert_eq!(world.order(verb, id), Some(Outranked(Delete)));
    }
    world.pass(SECOND * 20);
    assert_eq!((world.status().live, world.seen.len()), (0, 1), "no bounce");
}

/// What an operator is about to hold, who sent it does not release before that.
#[test]
fn a_hold_that_waits_is_in_an_operator_s_hand_too() {
    use OrderResult::{AlreadySo, HeldByOther, Marked};
    let (mut world, id) = under_way(Does::Defers);
    assert_eq!(world.order_as(OrderRight::OwnMail, Hold, id), Some(Marked));
    assert_eq!(world.order_as(OrderRight::OwnMail, Release, id), Some(Marked));
    assert_eq!(world.order(Hold, id), Some(Marked));
    assert_eq!(world.order_as(OrderRight::OwnMail, Release, id), Some(HeldByOther));
    assert_eq!(world.order_as(OrderRight::OwnMail, Hold, id), Some(AlreadySo));
    world.pass(SECOND * 20);
    assert_eq!(world.order_as(OrderRight::OwnMail, Release, id), Some(HeldByOther));
}

/// Nobody asked for a report: that none was made is in the answer and in the log.
#[test]
fn what_is_not_to_be_reported_is_given_up_without_a_report() {
    let (mut world, id) = stuck();
    world.spool.with(id).envelope.recipients[0].notify = Notify::Never;
    assert_eq!(world.order(Expire, id), Some(OrderResult::Unreported));
    assert_eq!((world.status().live, world.seen.len()), (0, 0));
    let is_told = |line: &LogLine| {
        matches!(line, LogLine::OrderDone { verb: Expire, came_to: OrderResult::Unreported, .. })
    };
    assert_eq!(world.lines.iter().filter(|line| is_told(line)).count(), 1);
}

/// A dead message that was being returned when the power went was tried again: it had been opened on the spool before its bounce
/// was there.
#[test]
fn what_is_dead_stays_so_until_its_bounce_is_recorded() {
    let (mut world, id) = dead();
    world.set_up.overseers.postmaster = Some(Address::parse("ops@example.org").unwrap());
    world.spool.records_left = Some(0);
    assert_eq!(world.order(Expire, id), None);
    world.spool.records_left = None;
    world.relay_always(Does::Takes);
    world.restart();
    assert_eq!((world.standing(), world.times_seen(id)), (Standing::Dead, 1));
    assert_eq!(world.order(Expire, id), Some(OrderResult::Done));
    assert_eq!((world.status().live, world.times_seen(id)), (0, 1));
}

#[test]
fn what_is_returned_is_reported_with_who_did_it_and_the_last_reply() {
    let mut world = World::new(2);
    world.relay_always(Does::Defers);
    let id = world.submit("app@example.org", &["ann@example.net"]);
    world.relay_always(Does::Takes);
    assert_eq!(world.order(Expire, id), Some(OrderResult::Done));
    assert_eq!((world.logged("status=expired (an operator of this host"), world.status().live), (1, 0));
    let dsn = &world.seen.last().unwrap();
    assert_eq!(dsn.to, ["app@example.org"]);
    for words in ["Undelivered Mail Returned to Sender", "an operator of this host has", "before that: 45"] {
        assert!(dsn.content.replace("\r\n", " ").contains(words), "{words}: {}", dsn.content);
    }
}

#[test]
fn what_cannot_be_reported_is_dead_when_it_is_returned() {
    let mut world = World::new(2);
    world.away.insert(None);
    let id = world.submit("", &["ann@example.net"]);
    assert_eq!(world.order(Expire, id), Some(OrderResult::Dead));
    assert_eq!((world.standing(), world.spool.message(id).fates[0]), (Standing::Dead, Fate::Dead));
}

/// A postmaster that was set afterwards did not get what was dead before.
#[test]
fn what_is_dead_is_tried_again_and_its_failure_goes_to_the_postmaster() {
    let (mut world, id) = dead();
    world.set_up.overseers.postmaster = Some(Address::parse("ops@example.org").unwrap());
    assert_eq!(world.order(Hold, id), Some(OrderResult::AlreadySo));
    assert_eq!(world.order(Expire, id), Some(OrderResult::Done));
    assert_eq!(world.seen.last().unwrap().to, ["ops@example.org"]);

    let (mut world, id) = dead();
    world.relay_always(Does::Takes);
    assert_eq!(world.order(Retry, id), Some(OrderResult::Done));
    assert_eq!((world.status().live, world.times_seen(id)), (0, 2));
}

#[test]
fn what_is_deferred_or_held_is_tried_now() {
    let mut world = World::new(2);
    world.relay_always(Does::Defers);
    let id = world.submit("app@example.org", &["ann@example.net"]);
    world.relay_always(Does::Takes);
    assert_eq!(world.order(Retry, id), Some(OrderResult::Done));
    assert_eq!((world.status().live, world.seen.len()), (0, 2));

    let said = "554 Message rejected: Email address is not verified.";
    let host = "email-smtp.eu-west-1.amazonaws.com";
    world.relay_always(Does::RefusesByRule { host, from: None, said });
    let ids: Vec<QueueId> = (0..5).map(|_| world.submit("app@example.org", &["ann@example.net"])).collect();
    assert_eq!(world.status().held, 5, "all mail of this sender is held");
    world.relay_always(Does::Takes);
    assert_eq!(world.order(Retry, ids[4]), Some(OrderResult::Done));
    assert_eq!(world.times_seen(ids[4]), 1, "also of a sender that is stopped");
}

/// A message that several relays get is in the hands of each; an order is about all of it.
#[test]
fn an_order_is_about_a_message_at_all_of_its_relays() {
    let of_two = || {
        let mut world = World::with(2, |set_up| set_up.add_route("news", &[], &["@news.example"]));
        world.away.insert(None);
        world.by_route.insert(Some("news".into()), Does::Defers);
        let id = world.submit("app@example.org", &["ann@example.net", "ben@news.example"]);
        (world, id)
    };
    let (mut world, id) = of_two();
    assert_eq!(world.order(Hold, id), Some(OrderResult::Done));
    let seen = world.seen.len();
    world.away.clear();
    world.pass(DAY);
    assert_eq!((world.seen.len(), world.status().on_hold), (seen, 1));
    world.by_route.clear();
    assert_eq!(world.order(Release, id), Some(OrderResult::Done));
    world.pass(MINUTE);
    assert_eq!((world.seen.len(), world.status().live), (seen + 2, 0));

    for verb in [Delete, Expire] {
        let (mut world, id) = of_two();
        assert_eq!(world.order(verb, id), Some(OrderResult::Done));
        let reports = world.spool.next_id().raw() - id.raw() - 1;
        assert_eq!((world.status().live as u64, reports), (reports, u64::from(verb == Expire)));
    }
}

/// Who sent a message had sent by this what an operator holds. What they hold themselves is theirs to release, before an operator
/// takes it over and after a restart.
#[test]
fn who_sent_a_message_does_not_release_it_from_an_operator_s_hand() {
    use OrderResult::{AlreadySo, Done, HeldByOther};
    use OrderRight::{Everything, OwnMail};
    let (mut world, id) = stuck();
    assert_eq!(world.order_as(OwnMail, Hold, id), Some(Done));
    assert_eq!(world.order_as(OwnMail, Release, id), Some(Done));
    for right in [OwnMail, Everything] {
        assert_eq!(world.order_as(right, Hold, id), Some(Done));
        assert_eq!(world.order_as(right, Hold, id), Some(AlreadySo));
    }
    for _ in 0..2 {
        assert_eq!(world.order_as(OwnMail, Hold, id), Some(AlreadySo));
        assert_eq!(world.order_as(OwnMail, Release, id), Some(HeldByOther));
        assert_eq!(world.standing(), Standing::OnHold);
        world.restart();
    }
    assert_eq!(world.order(Release, id), Some(Done));
    assert_eq!(world.standing(), Standing::Ready);
}

/// What the spool does not record has not happened.
#[test]
fn an_order_that_is_not_recorded_changes_nothing() {
    for verb in [Hold, Delete] {
        let (mut world, id) = stuck();
        let before = world.standing();
        world.spool.records_left = Some(0);
        let failure = OrderFailure::Unrecorded(CommitError::Full);
        assert_eq!(world.order(verb, id), Some(OrderResult::Failed(failure)));
        assert_eq!(world.standing(), before);
        world.spool_records_again();
        world.away.clear();
        world.pass(MINUTE);
        assert_eq!((world.status().live, world.seen.len()), (0, 1));
    }
}

/// A bounce that the spool does not take is written when it does; until then the message stays, in nobody's hands.
#[test]
fn a_return_waits_for_the_spool() {
    let (mut world, id) = stuck();
    world.spool.records_left = Some(0);
    assert_eq!(world.order(Expire, id), None);
    assert_eq!(world.standing(), Standing::UnderWay);
    world.away.clear();
    world.pass(Duration::from_secs(30));
    world.spool_records_again();
    world.pass(MINUTE);
    assert_eq!((world.status().live, world.times_seen(id)), (0, 0));
    assert_eq!(world.seen.last().unwrap().to, ["app@example.org"]);
}
