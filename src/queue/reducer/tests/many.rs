//! Messages to more recipients than the relay takes at a time.

use std::collections::BTreeMap;

use super::super::{Event, LogLine};
use super::world::{CONTENT, Does, MINUTE, World};
use crate::envelope::Notify;
use crate::queue::testing::envelope;
use crate::queue_id::QueueId;
use crate::relay::{Cause, Phase};
use crate::smtp::reply::Reply;

fn recipients(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("user{number}@example.net")).collect()
}

fn submit(world: &mut World, to: &[String]) -> QueueId {
    world.submit("app@example.org", &to.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Returns how often each recipient was asked about.
fn times(world: &World) -> BTreeMap<&String, usize> {
    let mut times = BTreeMap::new();
    for to in world.seen.iter().flat_map(|seen| &seen.to) {
        *times.entry(to).or_default() += 1;
    }
    times
}

fn sizes(world: &World) -> Vec<usize> {
    world.seen.iter().map(|seen| seen.to.len()).collect()
}

/// A relay refuses the whole of a message to more recipients than it takes (SES: at the final dot, for good):
/// of 300 such messages 300 bounced.
#[test]
fn a_thousand_recipients_go_in_twenty_transactions_at_once() {
    let mut world = World::new(2);
    let to = recipients(1000);
    submit(&mut world, &to);
    assert_eq!((world.status().live, world.begun.len()), (0, 1));
    assert_eq!(sizes(&world), vec![50; 20]);
    assert_eq!(times(&world), to.iter().map(|to| (to, 1)).collect());
    assert!(world.seen.iter().all(|seen| seen.content == CONTENT));
}

/// A relay took 30 recipients and answered 452 to the rest, which waited for the next attempt, and the next: for hours.
#[test]
fn what_is_one_too_many_goes_at_once_in_transactions_as_large_as_the_relay_takes() {
    let mut world = World::new(2);
    let full = [vec!["250 2.0.0 ok"; 30], vec!["452 4.5.3 too many recipients"]].concat();
    world.relay.once(Does::Says(full));
    submit(&mut world, &recipients(100));
    assert_eq!((world.status().live, world.begun.len()), (0, 1));
    assert_eq!(sizes(&world), [50, 30, 30, 10]);
    let times = times(&world);
    let asked_twice = times.values().filter(|times| **times == 2).count();
    assert_eq!((times.len(), asked_twice), (100, 20), "those that were too many, and no other");
}

/// A relay that offers DSN and does not take its parameters bounced whoever asked for a notice. Who was taken with them
/// has the relay's, who goes without them has ours, and nobody two.
#[test]
fn whose_dsn_parameters_were_refused_goes_at_once_without_and_has_a_notice_from_here() {
    let mut world = World::new(2);
    let refused = "555 5.5.4 Unsupported option: NOTIFY";
    world.relay.once(Does::SaysAtRcpt(vec!["250 2.1.5 ok", refused, refused, "250 2.1.5 ok"]));
    let mut envelope = envelope("app@example.org", &["a@x", "b@x", "c@x", "d@x"]);
    for (recipient, success) in envelope.recipients.iter_mut().zip([true, true, false, true]) {
        recipient.notify = Notify::On { success, failure: true, delay: false };
    }
    world.submit_envelope(envelope);
    assert_eq!(world.status().live, 0);
    let to: Vec<String> = world.seen.iter().map(|seen| seen.to.join(" ")).collect();
    assert_eq!(to, ["a@x b@x c@x d@x", "b@x c@x", "app@example.org"]);
    let notice = &world.seen[2].content;
    assert_eq!(notice.matches("Action: relayed").count(), 1, "{notice}");
    assert!(notice.contains("Final-Recipient: rfc822; b@x"), "{notice}");
}

/// A transaction that is too full is told from one whose parameters were refused: the next ones are not smaller.
#[test]
fn refused_dsn_parameters_do_not_make_transactions_smaller() {
    let mut world = World::new(2);
    let said = [vec!["250 2.0.0 ok"; 10], vec!["555 5.5.4 no"]].concat();
    world.relay.once(Does::SaysAtRcpt(said));
    submit(&mut world, &recipients(100));
    assert_eq!(world.status().live, 0);
    assert_eq!(sizes(&world), [50, 50, 40]);
}

#[test]
fn each_recipient_has_its_own_end_and_one_dsn_tells_of_all_failures() {
    let mut world = World::new(2);
    let failing = |at: usize| {
        let mut said = vec!["250 2.0.0 ok"; 50];
        said[at] = "550 5.1.1 no such user";
        said
    };
    let mut deferring = failing(3);
    deferring[7] = "450 4.2.1 busy";
    world.relay.once(Does::Says(failing(0)));
    world.relay.once(Does::Says(deferring));
    submit(&mut world, &recipients(130));
    world.pass(MINUTE * 3);
    assert_eq!(world.status().live, 0);
    let (dsns, parts): (Vec<_>, Vec<_>) = world.seen.iter().partition(|seen| seen.from.is_empty());
    let parts: Vec<usize> = parts.iter().map(|seen| seen.to.len()).collect();
    assert_eq!((parts, dsns.len()), (vec![50, 50, 30, 1], 1));
    let report = &dsns[0].content;
    assert!(report.contains("user0@example.net") && report.contains("user53@example.net"), "{report}");
    assert!(!report.contains("user57@example.net"), "{report}");
}

#[test]
fn what_one_transaction_came_to_is_recorded_before_the_next() {
    let mut world = World::new(1);
    world.relay_always(Does::IsAway);
    world.relay.once(Does::Takes);
    world.relay.once(Does::Panics);
    let to = recipients(120);
    submit(&mut world, &to);
    assert!(world.is_paused());
    world.relay_always(Does::Takes);
    world.restart();
    world.pass(MINUTE);
    assert_eq!(world.status().live, 0);
    let times = times(&world);
    let twice: Vec<&String> = times.iter().filter(|(_, times)| **times > 1).map(|(to, _)| *to).collect();
    let mut lost: Vec<&String> = to[50..100].iter().collect();
    lost.sort();
    assert_eq!((times.len(), twice), (120, lost), "only those of the transaction that was lost");
}

/// Those whose turn has not come are not behind those that were told to wait.
#[test]
fn who_was_never_asked_comes_first_when_a_connection_ends_in_between() {
    let mut world = World::new(1);
    world.relay.once(Does::Defers);
    world.relay.once(Does::breaks(Phase::Mail));
    let to = recipients(120);
    submit(&mut world, &to);
    assert_eq!(world.status().deferred, 1);
    world.pass(MINUTE * 3);
    assert_eq!(
        world.seen[..2].iter().map(|seen| &seen.to[..]).collect::<Vec<_>>(),
        [&to[..50], &to[50..100]]
    );
    assert_eq!((world.status().live, times(&world).len()), (0, 120));
}

/// Each connection found out anew how many recipients the relay takes, with a transaction that was refused in part.
#[test]
fn how_many_the_relay_takes_is_known_to_the_next_message_and_forgotten_step_by_step() {
    let mut world = World::new(1);
    let full = [vec!["250 2.0.0 ok"; 30], vec!["452 4.5.3 too many recipients"]].concat();
    world.relay.once(Does::Says(full));
    submit(&mut world, &recipients(40));
    submit(&mut world, &recipients(60));
    assert_eq!(sizes(&world), [40, 10, 30, 30]);
    world.pass(MINUTE * 21);
    submit(&mut world, &recipients(50));
    assert_eq!(sizes(&world)[4..], [40, 10]);
    world.reload();
    submit(&mut world, &recipients(50));
    assert_eq!(sizes(&world)[6..], [50]);
}

#[test]
fn a_transaction_has_as_many_domains_as_are_configured() {
    let to = ["a@x.example", "b@y.example", "c@X.example", "d@z.example", "e@y.example"];
    for (domains, expected) in [(1, vec![2, 2, 1]), (2, vec![4, 1]), (3, vec![5])] {
        let mut world = World::with(1, |set_up| set_up.relay().parts.domains = Some(domains));
        world.submit("app@example.org", &to);
        assert_eq!((sizes(&world), world.status().live), (expected, 0), "{domains}");
    }
}

/// Google's relay takes one domain in a transaction: each other recipient waited for the next attempt.
#[test]
fn a_relay_that_takes_one_domain_gets_the_others_at_once_and_then_one_in_each() {
    let to = ["a@x.example", "b@y.example", "c@x.example"];
    let other = "451 4.3.0 Multiple destination domains per transaction is unsupported. Please try again.";
    for replies in [vec!["250 2.0.0 ok", other, "250 2.0.0 ok"], vec![other]] {
        let mut world = World::new(1);
        let all_at_once = replies.len() == 1;
        world.relay.once(Does::Says(replies));
        world.submit("app@example.org", &to);
        assert_eq!((world.status().live, world.logged("deferred")), (0, 0));
        assert_eq!(sizes(&world), if all_at_once { vec![3, 2, 1] } else { vec![3, 1] });
        let before = world.seen.len();
        world.submit("app@example.org", &to);
        assert_eq!(sizes(&world)[before..], [2, 1], "it is remembered");
    }
}

fn odd_from_50((number, address): (usize, String)) -> String {
    if number < 50 { address } else { format!("odd{address}") }
}

/// The second part of a message was answered, and after a kill the log and the bounce said that it may have arrived.
#[test]
fn a_part_whose_final_dot_was_answered_leaves_no_copy_in_doubt() {
    let quota = Does::RefusesByRule {
        host: "smtp.gmail.com",
        from: None,
        said: "550 5.4.5 Daily user sending limit exceeded.",
    };
    for answered in [quota, Does::Breaks(Phase::Dot, Cause::Reply(Reply::bare(421, "going down")))] {
        let mut world = World::new(2);
        world.relay.once(Does::Takes);
        world.relay.once(answered);
        world.relay_always(Does::RefusesOdd("550 5.1.1 no such user"));
        let to: Vec<String> = recipients(60).into_iter().enumerate().map(odd_from_50).collect();
        submit(&mut world, &to);
        world.restart();
        world.tell(Event::ProbeNow);
        world.pass(MINUTE * 10);
        assert_eq!((world.status().live, world.logged(": possible duplicate")), (0, 0), "{:?}", world.log);
        let bounce = world.seen.iter().find(|seen| seen.from.is_empty()).expect("ten were refused");
        assert!(!bounce.content.contains("delivered all the same"), "{}", bounce.content);
    }
}

/// All that was left of the message was held, though the relay had taken its sender's mail a moment before.
#[test]
fn a_part_that_is_refused_for_its_sender_behind_one_that_was_taken_is_the_message_s_own_trouble() {
    let mut world = World::new(2);
    world.relay.once(Does::Takes);
    world.relay.once(Does::RefusesByRule {
        host: "email-smtp.eu-west-1.amazonaws.com",
        from: None,
        said: "554 Message rejected: Email address is not verified.",
    });
    submit(&mut world, &recipients(60));
    assert_eq!((world.logged("status=sent"), world.logged("status=deferred")), (50, 10), "{:?}", world.log);
    world.pass(MINUTE * 3);
    assert_eq!(world.status().live, 0);
}

/// A long list behind a limit for recipients got one part for each try, and what was left of it was charged for that.
#[test]
fn a_rate_that_a_later_part_meets_is_the_relay_s() {
    let mut world = World::new(2);
    world.relay.once(Does::Takes);
    for _ in 0..2 {
        world.relay.once(Does::FillsUp {
            after: 0,
            phase: Phase::Rcpt,
            said: "450 4.7.1 rate limit exceeded",
        });
    }
    submit(&mut world, &recipients(60));
    world.pass(MINUTE * 10);
    assert_eq!((world.status().live, world.logged("status=sent")), (0, 60), "{:?}", world.log);
    let slowed = world.lines.iter().any(|line| matches!(line, LogLine::RelaySlowed { .. }));
    assert_eq!((slowed, world.logged("status=deferred")), (true, 0), "{:?}", world.lines);
}
