//! Messages to more recipients than the relay takes at a time.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use super::bench::{Bench, Does, MINUTE, envelope};
use crate::envelope::Notify;

fn recipients(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("user{number}@example.net")).collect()
}

async fn submit(bench: &Bench, from: &str, to: &[String]) {
    bench.submit(from, &to.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

/// How often each recipient was asked about.
fn times(bench: &Bench) -> BTreeMap<String, usize> {
    let mut times = BTreeMap::new();
    for to in bench.relay.seen().into_iter().flat_map(|seen| seen.to) {
        *times.entry(to).or_default() += 1;
    }
    times
}

fn sizes(bench: &Bench) -> Vec<usize> {
    bench.relay.seen().iter().map(|seen| seen.to.len()).collect()
}

/// A relay refuses the whole of a message to more recipients than it takes (SES: at the final dot, for good):
/// of 300 such messages 300 bounced.
#[tokio::test]
async fn a_thousand_recipients_go_in_twenty_transactions_at_once() {
    let bench = Bench::new().await;
    let to = recipients(1000);
    submit(&bench, "app@example.org", &to).await;
    bench.until_empty().await;
    assert_eq!(sizes(&bench), vec![50; 20]);
    assert_eq!(times(&bench), to.into_iter().map(|to| (to, 1)).collect());
    assert_eq!(bench.relay.connections(), 1);
    assert!(bench.relay.seen().iter().all(|seen| seen.content == "Subject: hello\r\n\r\nhello\r\n"));
}

/// Where the relay took 30 and answered 452 to the rest, that waited for its next attempt, and the next: for hours.
#[tokio::test]
async fn what_is_one_too_many_goes_at_once_in_transactions_as_large_as_the_relay_takes() {
    let bench = Bench::new().await;
    let to = recipients(100);
    let full = [vec!["250 2.0.0 ok"; 30], vec!["452 4.5.3 too many recipients"]].concat();
    bench.relay.once(Does::Says(full));
    submit(&bench, "app@example.org", &to).await;
    bench.until_empty().await;
    assert_eq!(sizes(&bench), [50, 30, 30, 10]);
    let asked_twice = times(&bench).into_values().filter(|times| *times == 2).count();
    assert_eq!((times(&bench).len(), asked_twice), (100, 20), "those that were too many, and no other");
    assert_eq!(bench.relay.connections(), 1);
}

/// A relay that offers DSN and does not take its parameters bounced whoever asked for a notice. Who was taken with them
/// has the relay's, who goes without them has ours, and nobody two.
#[tokio::test]
async fn whose_dsn_parameters_were_refused_goes_at_once_without_and_has_a_notice_from_here() {
    let bench = Bench::new().await;
    let refused = "555 5.5.4 Unsupported option: NOTIFY";
    bench.relay.once(Does::SaysAtRcpt(vec!["250 2.1.5 ok", refused, refused, "250 2.1.5 ok"]));
    let mut envelope = envelope("app@example.org", &["a@x", "b@x", "c@x", "d@x"]);
    let on = |success| Notify::On { success, failure: true, delay: false };
    for (recipient, success) in envelope.recipients.iter_mut().zip([true, true, false, true]) {
        recipient.notify = on(success);
    }
    bench.submit_envelope(envelope).await;
    bench.until_empty().await;
    let seen = bench.relay.seen();
    let to: Vec<Vec<&str>> = seen.iter().map(|seen| seen.to.iter().map(String::as_str).collect()).collect();
    assert_eq!(to, [vec!["a@x", "b@x", "c@x", "d@x"], vec!["b@x", "c@x"], vec!["app@example.org"]]);
    let notice = &seen[2].content;
    assert_eq!(notice.matches("Action: relayed").count(), 1, "{notice}");
    assert!(notice.contains("Final-Recipient: rfc822; b@x"), "{notice}");
}

/// A transaction that is too full is told from one whose parameters were refused: the next ones are not smaller.
#[tokio::test]
async fn refused_dsn_parameters_do_not_make_transactions_smaller() {
    let bench = Bench::new().await;
    let said = [vec!["250 2.0.0 ok"; 10], vec!["555 5.5.4 no"]].concat();
    bench.relay.once(Does::SaysAtRcpt(said));
    submit(&bench, "app@example.org", &recipients(100)).await;
    bench.until_empty().await;
    assert_eq!(sizes(&bench), [50, 50, 40]);
}

#[tokio::test]
async fn each_recipient_has_its_own_end_and_one_dsn_tells_of_all_failures() {
    let bench = Bench::new().await;
    let failing = |at: usize| {
        let mut said = vec!["250 2.0.0 ok"; 50];
        said[at] = "550 5.1.1 no such user";
        said
    };
    let mut deferring = failing(3);
    deferring[7] = "450 4.2.1 busy";
    bench.relay.once(Does::Says(failing(0)));
    bench.relay.once(Does::Says(deferring));
    submit(&bench, "app@example.org", &recipients(130)).await;
    bench.pass(MINUTE * 3, MINUTE / 2).await;
    bench.until_empty().await;
    let seen = bench.relay.seen();
    let (dsns, parts): (Vec<_>, Vec<_>) = seen.iter().partition(|seen| seen.from.is_empty());
    let parts: Vec<usize> = parts.iter().map(|seen| seen.to.len()).collect();
    assert_eq!((parts, dsns.len()), (vec![50, 50, 30, 1], 1));
    let report = &dsns[0].content;
    assert!(report.contains("user0@example.net") && report.contains("user53@example.net"), "{report}");
    assert!(!report.contains("user57@example.net"), "{report}");
}

#[tokio::test]
async fn what_one_transaction_came_to_is_recorded_before_the_next() {
    let bench = Bench::with(|settings| settings.max_connections = NonZeroUsize::MIN).await;
    bench.relay.always(Does::Refuses);
    bench.relay.once(Does::Says(vec!["250 2.0.0 ok"]));
    bench.relay.once(Does::Panics);
    let to = recipients(120);
    submit(&bench, "app@example.org", &to).await;
    bench.until_paused().await;
    let bench = bench.restart().await;
    bench.relay.always(Does::Says(vec!["250 2.0.0 ok"]));
    bench.pass(MINUTE, MINUTE / 4).await;
    bench.until_empty().await;
    let times = times(&bench);
    let twice: Vec<&String> = times.iter().filter(|(_, times)| **times > 1).map(|(to, _)| to).collect();
    let mut lost: Vec<&String> = to[50..100].iter().collect();
    lost.sort();
    assert_eq!((times.len(), twice), (120, lost), "only those of the transaction that was lost");
}

/// Those whose turn has not come are not behind those that were told to wait.
#[tokio::test]
async fn who_was_never_asked_comes_first_when_a_connection_ends_in_between() {
    let bench = Bench::with(|settings| settings.max_connections = NonZeroUsize::MIN).await;
    bench.relay.once(Does::Says(vec!["450 4.2.1 busy"]));
    bench.relay.once(Does::Leaves);
    let to = recipients(120);
    submit(&bench, "app@example.org", &to).await;
    bench.until(|status| status.deferred == 1).await;
    bench.pass(MINUTE * 3, MINUTE / 2).await;
    let asked: Vec<Vec<String>> = bench.relay.seen().into_iter().map(|seen| seen.to).collect();
    assert_eq!(asked[..2], [to[..50].to_vec(), to[50..100].to_vec()]);
    bench.until_empty().await;
    assert_eq!(times(&bench).len(), 120);
}
