//! Tests of sessions with a real spool.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::client::TO_DATA;
use super::host::{AnnIs1000, Host, noon};
use super::{listen, until};
use crate::config::{Config, Environment, ListenConfig};
use crate::envelope::Submitter;
use crate::listener::intake::SessionDesk;
use crate::listener::peer::LocalPeer;
use crate::spool::fs::sim::{DiskFault, SimFs};
use crate::spool::{Entry, Options};
use crate::users::Users;

/// Two hundred sessions with a header section of 1 MB each made a daemon in a small container run out of memory.
#[tokio::test]
async fn large_header_sections_have_a_budget_and_small_ones_always_have_room() {
    let host = Host::new(|_, _| {});
    let large = format!("X-Large: {}\r\n", "y".repeat(900)).repeat(1100);
    let mut sessions = Vec::new();
    for _ in 0..30 {
        let (mut client, _) = host.session(70_001).await;
        client.begin_data().await;
        client.send(&large).await;
        sessions.push(client);
    }
    let (mut client, _) = host.session(70_002).await;
    client.send_message("Subject: small\r\n\r\nx\r\n", "250 2.0.0").await;
    // The sessions of one user leave room for others.
    client.send_message(&large, "250 2.0.0").await;
    let mut taken = 0;
    for client in &mut sessions {
        client.send("\r\nx\r\n.\r\n").await;
        let said = client.reply().await;
        assert!(
            said[0].starts_with("250 2.0.0") || said[0].starts_with("452 4.3.1 too many large header"),
            "{said:?}"
        );
        taken += usize::from(said[0].starts_with("250"));
    }
    assert!((5..10).contains(&taken), "{taken}");
    // The memory that they held is free again.
    for client in &mut sessions[..5] {
        client.send_message(&large, "250 2.0.0").await;
    }
}

#[tokio::test]
async fn a_message_is_on_the_spool_as_it_came_with_what_it_lacked() {
    let mut host = Host::new(|_, _| {});
    let (mut client, _) = host.session(1000).await;
    client.send("EHLO my.name\r\nMAIL FROM:<cron> RET=HDRS\r\nRCPT TO:<root> NOTIFY=NEVER\r\n").await;
    client.send("RCPT TO:<ann@example.org>\r\nDATA\r\n").await;
    client.expect_all(&["250 ", "250 ", "250 ", "250 ", "354 "]).await;
    client.send("Subject:  as\r\n it is\r\n\r\n..dot\r\nnaked\nlf\r\n\u{ff}8bit\r\n.\r\n").await;
    let said = client.reply().await;
    let entry = host.arrivals.recv().await.unwrap();
    assert!(said[0].starts_with("250 2.0.0") && said[0].contains(&entry.id.to_string()), "{said:?}");
    assert_eq!((entry.submitter, entry.arrived), (Submitter::Uid(1000), noon().timestamp()));

    let stored = host.spool.read(entry.id).unwrap();
    assert_eq!(stored.envelope.reverse_path.to_string(), "cron@origin.example");
    let to = &stored.envelope.recipients;
    assert_eq!((to[0].address.as_str(), to[1].address.as_str()), ("root@origin.example", "ann@example.org"));
    assert_eq!(to[0].original.as_ref().map(|address| address.as_str()), Some("root"));
    assert_eq!(to[1].original, None);
    assert!(!to[0].notify.wants_failure() && to[1].notify.wants_failure());

    let content = String::from_utf8(host.content(&entry)).unwrap();
    let received = content.replace("\r\n\t", " ").replace("\r\n ", " ");
    assert!(received.starts_with("Received: from my.name"), "{received}");
    assert!(received.contains(&format!("with ESMTP id {}", entry.id)), "{received}");
    assert!(
        content.contains("\r\nDate: ") && content.to_lowercase().contains("\r\nmessage-id: "),
        "{content}"
    );
    assert!(content.contains("Subject:  as\r\n it is\r\n"), "{content}");
    assert!(content.ends_with("\r\n\r\n.dot\r\nnaked\r\nlf\r\n\u{ff}8bit\r\n"), "{content}");
}

/// The name of a client was looked up for each connection, in the accept loop.
#[tokio::test]
async fn the_name_of_a_user_is_looked_up_for_a_message_and_not_for_a_connection() {
    let service = Arc::new(AnnIs1000::default());
    let mut host = Host::new(|_, _| {});
    let desk = SessionDesk { users: Users::of(service.clone()), ..host.desk.clone() };
    host.service.reload(&listen(), desk);
    let (mut silent, _) = host.session(1000).await;
    silent.say("QUIT", "221 ").await;
    assert_eq!(service.asked.load(Ordering::SeqCst), 0);
    for _ in 0..2 {
        let (mut client, _) = host.session(1000).await;
        client.send_message("Subject: x\r\n\r\nbody\r\n", "250 2.0.0").await;
        let entry = host.arrivals.recv().await.unwrap();
        let content = String::from_utf8(host.content(&entry)).unwrap();
        assert!(content.contains("From: Ann E <"), "{content}");
    }
    assert_eq!(service.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_message_waits_for_no_name_service_that_hangs() {
    let (_held, hangs) = channel();
    let service = AnnIs1000 { hangs: Some(Mutex::new(hangs)), ..AnnIs1000::default() };
    let mut host = Host::new(|_, _| {});
    let desk = SessionDesk { users: Users::of(Arc::new(service)), ..host.desk.clone() };
    host.service.reload(&listen(), desk);
    let (mut client, _) = host.session(1000).await;
    client.send_message("Subject: x\r\n\r\nbody\r\n", "250 2.0.0").await;
    let entry = host.arrivals.recv().await.unwrap();
    let content = String::from_utf8(host.content(&entry)).unwrap();
    assert!(!content.contains("Ann E"), "{content}");
}

/// A recipient that was too long with the origin appended was acknowledged, and could not be read from the spool.
#[tokio::test]
async fn whoever_is_accepted_can_be_read_back() {
    let mut host = Host::new(|_, _| {});
    let (mut client, _) = host.session(1).await;
    client.say("EHLO c", "250 ").await;
    client.send("MAIL FROM:<cron>\r\n").await;
    for octets in [995, 746, 745] {
        client.send(&format!("RCPT TO:<{}>\r\n", "x".repeat(octets))).await;
    }
    client.expect_all(&["250 ", "501 ", "501 ", "250 "]).await;
    client.send("DATA\r\nx\r\n.\r\n").await;
    client.expect_all(&["354 ", "250 2.0.0"]).await;
    let entry = host.arrivals.recv().await.unwrap();
    let stored = host.spool.read(entry.id).unwrap();
    assert_eq!(stored.envelope.recipients[0].address.domain(), Some("origin.example"));
}

#[tokio::test]
async fn chunks_and_data_are_stored_alike() {
    let mut host = Host::new(|_, _| {});
    let (mut client, _) = host.session(1).await;
    client.send_message("Date: x\r\nMessage-ID: <x>\r\n\r\nbody\r\n", "250 ").await;
    client.send("MAIL FROM:<a@x.org>\r\nRCPT TO:<b@y.org>\r\nBDAT 24\r\nDate: x\r\nMessage-ID: <x>").await;
    client.send("BDAT 0\r\nBDAT 10 LAST\r\n\r\n\r\nbody\r\n").await;
    client.expect_all(&["250 ", "250 ", "250 ", "250 ", "250 2.0.0"]).await;
    let (data, chunks) = (host.arrivals.recv().await.unwrap(), host.arrivals.recv().await.unwrap());
    let without_id =
        |entry: &Entry| String::from_utf8(host.content(entry)).unwrap().replace(&entry.id.to_string(), "ID");
    assert_eq!(without_id(&data), without_id(&chunks));
}

#[tokio::test]
async fn a_vanished_client_leaves_no_draft_behind() {
    let mut host = Host::new(|_, options| options.large_threshold = 10_000);
    for octets in [100, 1_000_000] {
        let (mut client, session) = host.session(1).await;
        client.begin_data().await;
        client.send("x".repeat(octets) + "\r\n.").await;
        until(|| host.large().is_empty() == (octets == 100)).await;
        drop(client);
        session.await.unwrap();
        assert!(host.nothing_arrived());
        until(|| host.large().is_empty()).await;
    }
}

#[tokio::test]
async fn a_large_message_streams_through_a_file() {
    const LINES: usize = 650_000;
    let mut host = Host::new(|_, _| {});
    let (mut client, _) = host.session(1).await;
    client.begin_data().await;
    client.send("Date: x\r\nMessage-ID: <x>\r\n\r\n").await;
    let lines = format!("{}\r\n", "x".repeat(78)).repeat(1000);
    for _ in 0..LINES / 1000 {
        client.send(&lines).await;
    }
    let size = 80 * LINES as u64;
    let on_disk: u64 = host.large().iter().sum();
    assert!(on_disk + (1 << 20) > size, "{on_disk} octets of {size} have left the memory");
    client.say(".", "250 2.0.0").await;
    let entry = host.arrivals.recv().await.unwrap();
    let content = host.content(&entry);
    let body = content.windows(4).position(|octets| octets == b"\r\n\r\n").unwrap() + 4;
    assert_eq!((content.len() - body) as u64, size);
    assert!(content[body..].chunks(80).all(|line| line == &lines.as_bytes()[..80]));
}

#[tokio::test]
async fn a_full_disk_is_452_and_the_session_goes_on() {
    let mut host = Host::new(|_, options| options.min_free_space = u64::MAX / 2);
    let (mut client, _) = host.session(1).await;
    client.send(TO_DATA).await;
    client.expect_all(&["250 ", "250 ", "250 ", "452 4.3.1"]).await;
    client.send("MAIL FROM:<a>\r\nRCPT TO:<b>\r\nBDAT 4 LAST\r\nQUITNOOP\r\n").await;
    client.expect_all(&["250 ", "250 ", "452 4.3.1", "250 "]).await;
    assert!(host.nothing_arrived());
}

#[tokio::test]
async fn a_disk_that_fails_at_the_commit_is_4xx_and_good_again_it_is_250() {
    let disk = SimFs::new();
    let under_root = |_: &mut ListenConfig, options: &mut Options| options.directory = "/spool".into();
    let mut host = Host::on(Arc::new(disk.clone()), under_root, noon);
    let (mut client, _) = host.session(1).await;
    for (error, said) in [(ErrorKind::Other, "451 4.3.0"), (ErrorKind::StorageFull, "452 4.3.1")] {
        client.begin_data().await;
        client.send("x\r\n").await;
        disk.set_fault(Some(DiskFault { call: 0, error, for_ever: true }));
        client.say(".", said).await;
        assert!(host.arrivals.try_recv().is_err());
        disk.set_fault(None);
        client.send_message("x\r\n", "250 2.0.0").await;
        assert!(host.arrivals.recv().await.is_some());
    }
}

#[tokio::test]
async fn a_full_queue_is_452_and_room_again_is_250() {
    let mut host = Host::new(|_, options| options.max_messages = 1);
    let (mut client, _) = host.session(1).await;
    client.send_message("x\r\n", "250 2.0.0").await;
    client.send(TO_DATA).await;
    client.expect_all(&["250 ", "250 ", "250 ", "452 4.3.1"]).await;
    let entry = host.arrivals.recv().await.unwrap();
    let mut ledger = host.spool.read(entry.id).unwrap().ledger;
    (0..ledger.fates().len()).for_each(|recipient| ledger.sent(recipient));
    host.spool.remove(ledger.settle().unwrap()).await.unwrap();
    client.send_message("x\r\n", "250 2.0.0").await;
}

#[tokio::test]
async fn what_no_relay_would_take_is_refused_at_its_end() {
    let mut host = Host::new(|listen, _| listen.max_message_size = 4 << 20);
    let (mut client, _) = host.session(1).await;
    let cases = [
        ("Received: by x\r\n".repeat(101) + "\r\nx\r\n", "554 5.4.6"),
        ("X-Long: ".to_owned() + &" and on and on\r\n".repeat(200_000), "552 5.3.4"),
        ("Subject: x\r\n\r\n".to_owned() + &"all of it\r\n".repeat(400_000), "552 5.3.4"),
    ];
    for (content, said) in cases {
        client.send_message(&content, said).await;
        assert!(host.nothing_arrived(), "{said}");
        until(|| host.large().is_empty()).await;
    }
    client.send_message("Subject: x\r\n\r\nx\r\n", "250 2.0.0").await;
}

#[tokio::test]
async fn a_user_s_rate_is_451_and_only_that_user_s() {
    let host = Host::new(|listen, _| listen.max_messages_per_minute_per_uid = Some(2));
    let (mut ann, _) = host.session(1).await;
    ann.send_message("1\r\n", "250 2.0.0").await;
    ann.send_message("2\r\n", "250 2.0.0").await;
    ann.send(TO_DATA).await;
    ann.expect_all(&["250 ", "250 ", "250 ", "451 4.7.1"]).await;
    let (mut bob, _) = host.session(2).await;
    bob.send_message("1\r\n", "250 2.0.0").await;
}

#[tokio::test]
async fn a_limit_of_a_user_says_until_when_and_is_noted() {
    let config = "relayhost = \"x.example\"\n[[limit]]\nuser = \"ann\"\nmessages = \"2/hour\"\nsize = 100\nsessions = 1\n\
                  deny-from = \"root@origin.example\"";
    let environment = Environment { hostname: "host.example.org".into() };
    let limits = Config::parse(config, Path::new("x.toml"), &environment).unwrap().listen.limits;
    let host = Host::new(|listen, _| listen.limits = limits);
    let (mut ann, _) = host.session(1000).await;
    ann.send("EHLO x\r\nMAIL FROM:<root>\r\nRCPT TO:<bob@example.net>\r\nDATA\r\n").await;
    ann.expect_all(&[
        "250 ",
        "250 ",
        "250 ",
        "550 5.7.1 clients of the limit \"user ann\" may not send as <root@origin.example> (MAIL FROM)",
    ])
    .await;
    ann.send_message(&("x".repeat(101) + "\r\n"), "552 5.3.4 a message may have 100 octets").await;
    let author = "550 5.7.1 clients of the limit \"user ann\" may not send as <root@origin.example> (From)";
    ann.send_message("From: root@origin.example\r\n\r\nx\r\n", author).await;
    ann.send_message("1\r\n", "250 2.0.0").await;
    ann.send_message("2\r\n", "250 2.0.0").await;
    ann.send(TO_DATA).await;
    ann.expect_all(&["250 ", "250 ", "250 ", "450 4.7.1 messages of 2/h are used up"]).await;
    let (mut bob, _) = host.session(1001).await;
    bob.send_message(&("x".repeat(101) + "\r\n"), "250 2.0.0").await;
    host.service.note_limits().await;
    let name = "limit user ann";
    assert!(
        host.desk.spool.noted_rates(name).starts_with("messages/h="),
        "{}",
        host.desk.spool.noted_rates(name)
    );
}

/// One user could take all places of `queue.max-messages`.
#[tokio::test]
async fn a_user_leaves_places_in_the_queue_to_others() {
    let host = Host::new(|_, options| options.max_messages = 10);
    let (mut ann, _) = host.session(1000).await;
    for _ in 0..5 {
        ann.send_message("x\r\n", "250 2.0.0").await;
    }
    ann.send(TO_DATA).await;
    ann.expect_all(&["250 ", "250 ", "250 ", "450 4.7.1 your messages that wait to be sent fill your share"])
        .await;
    let (mut bob, _) = host.session(1001).await;
    for _ in 0..3 {
        bob.send_message("x\r\n", "250 2.0.0").await;
    }
    bob.send(TO_DATA).await;
    bob.expect_all(&["250 ", "250 ", "250 ", "450 4.7.1 your messages"]).await;
    let (mut root, _) = host.session(0).await;
    root.send_message("x\r\n", "250 2.0.0").await;
}

#[tokio::test]
async fn etrn_asks_for_a_probe() {
    let host = Host::new(|_, _| {});
    let (mut client, _) = host.session(1).await;
    client.say("EHLO c", "250 ").await;
    client.say("ETRN example.org", "250 2.0.0 queueing started").await;
    client.say("ETRN example.org", "250 2.0.0 not again so soon").await;
    assert_eq!(host.probes.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_spool_that_was_closed_is_421() {
    let mut host = Host::new(|_, _| {});
    let (mut client, session) = host.session(1).await;
    client.begin_data().await;
    host.spool.close().await;
    client.send("x\r\n").await;
    client.say(".", "421 4.3.2").await;
    client.expect_close().await;
    drop(client);
    session.await.unwrap();
    assert!(host.arrivals.try_recv().is_err());
}

#[tokio::test]
async fn a_session_s_place_is_free_when_it_has_ended() {
    let host = Host::new(|listen, _| listen.max_sessions = 1);
    let (mut client, session) = host.session(1).await;
    assert!(host.service.limits.admit(LocalPeer::Uid(1), Instant::now()).is_err());
    client.say("QUIT", "221 ").await;
    drop(client);
    session.await.unwrap();
    assert_eq!(host.service.sessions(), 0);
}
