//! Tests with clients that are slow, silent, endless, or do not read.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep};

use super::client::{Client, TO_DATA};
use super::host::Host;
use super::memory::{Memory, begin};
use super::{IDLE, WRITE};
use crate::journal::testing::Captured;
use crate::listener::drive::SessionEnd;
use crate::listener::peer::LocalPeer;
use crate::smtp::session::HostTrouble;

const ROOM: usize = 1 << 20;

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_told_421_at_any_stage() {
    let stages: [(&str, usize); 6] = [
        ("", 0),
        ("EHLO c\r\nMAIL FROM:<a>\r\n", 2),
        ("NOO", 0),
        (TO_DATA, 4),
        ("EHLO c\r\nMAIL FROM:<a>\r\nRCPT TO:<b>\r\nDATA\r\nhalf", 4),
        ("EHLO c\r\nMAIL FROM:<a>\r\nRCPT TO:<b>\r\nBDAT 9\r\nhalf", 3),
    ];
    for (stage, replies) in stages {
        let memory = Memory::default();
        let (stream, running) = begin(&memory, ROOM);
        let mut client = Client::greeted(stream).await;
        client.reach(stage, replies).await;
        let begun = Instant::now();
        client.expect("421 4.4.2").await;
        assert_eq!(begun.elapsed().as_secs(), IDLE.as_secs(), "{stage:?}");
        client.expect_close().await;
        drop(client);
        assert!(matches!(running.end.await.unwrap(), SessionEnd::TimedOut), "{stage:?}");
        assert_eq!(memory.held.load(Ordering::SeqCst), 0, "{stage:?}");
        assert!(memory.story.lock().unwrap().committed.is_empty());
    }
}

/// Slowloris: with one octet from time to time, a client kept its place for ever.
#[tokio::test(start_paused = true)]
async fn a_command_in_octets_has_no_more_time_than_a_whole_one() {
    let memory = Memory::default();
    let (stream, running) = begin(&memory, ROOM);
    let (read, mut write) = tokio::io::split(stream);
    let begun = Instant::now();
    let drip = tokio::spawn(async move {
        while write.write_all(b"N").await.is_ok() {
            sleep(IDLE / 10).await;
        }
    });
    let mut client = Client::greeted(tokio::io::join(read, tokio::io::sink())).await;
    client.expect("421 4.4.2").await;
    assert_eq!(begun.elapsed().as_secs(), IDLE.as_secs());
    assert!(matches!(running.end.await.unwrap(), SessionEnd::TimedOut));
    drip.abort();
}

/// With one octet of content every few minutes, a client held a place for ever.
#[tokio::test(start_paused = true)]
async fn a_whole_transaction_has_a_limit_that_only_content_extends() {
    // Each case has the octets that are sent each minute, and whether the message is accepted after a day.
    let cases = [("x", false), ("a line\r\n", false), (&("x".repeat(98) + "\r\n").repeat(200)[..], true)];
    for (piece, taken) in cases {
        let memory = Memory::default();
        let (stream, _running) = begin(&memory, ROOM);
        let mut client = Client::greeted(stream).await;
        client.begin_data().await;
        let begun = Instant::now();
        while begun.elapsed() < 12 * 24 * IDLE {
            client.send(piece).await;
            sleep(Duration::from_secs(60)).await;
        }
        client.send("\r\n.\r\n").await;
        client.expect(if taken { "250 2.0.0" } else { "421 4.4.2" }).await;
    }
}

/// With one recipient every few minutes, a client held a place for ever.
#[tokio::test(start_paused = true)]
async fn an_envelope_does_not_extend_the_limit() {
    let memory = Memory::default();
    let (stream, _running) = begin(&memory, ROOM);
    let mut client = Client::greeted(stream).await;
    client.say("EHLO c", "250 ").await;
    client.say("MAIL FROM:<a>", "250 ").await;
    let begun = Instant::now();
    while begun.elapsed() < 24 * IDLE - IDLE {
        sleep(IDLE - Duration::from_secs(1)).await;
        client.say("RCPT TO:<b>", "250 ").await;
    }
    sleep(IDLE - Duration::from_secs(1)).await;
    client.expect("421 4.4.2").await;
}

/// With any command that sends no message, from time to time, a client held a place for ever.
#[tokio::test(start_paused = true)]
async fn a_session_without_a_message_has_a_limit() {
    let cases = [
        "NOOP\r\n",
        "RSET\r\n",
        "HELP\r\n",
        "EHLO c\r\n",
        "VRFY x\r\n",
        "ETRN x\r\n",
        "MAIL FROM:<a>\r\nRSET\r\n",
    ];
    for piece in cases {
        let memory = Memory::default();
        let (stream, running) = begin(&memory, ROOM);
        let mut client = Client::greeted(stream).await;
        client.say("EHLO c", "250 ").await;
        // After a message, the session has its whole time again.
        sleep(IDLE - Duration::from_secs(1)).await;
        client.send_message("x\r\n", "250 2.0.0").await;
        let begun = Instant::now();
        while begun.elapsed() < 24 * IDLE - IDLE {
            sleep(IDLE - Duration::from_secs(1)).await;
            client.send(piece).await;
            for _ in piece.matches("\r\n") {
                client.expect("2").await;
            }
        }
        client.expect("421 4.4.2 no message for too long, closing").await;
        assert_eq!(begun.elapsed().as_secs(), 24 * IDLE.as_secs(), "{piece:?}");
        assert!(matches!(running.end.await.unwrap(), SessionEnd::NoMessage), "{piece:?}");
    }
}

/// Each MAIL started the time of a whole transaction, and RSET ended the transaction.
#[tokio::test(start_paused = true)]
async fn transactions_begun_again_and_again_have_no_more_time() {
    let memory = Memory::default();
    let (stream, running) = begin(&memory, ROOM);
    let mut client = Client::greeted(stream).await;
    client.say("EHLO c", "250 ").await;
    let begun = Instant::now();
    while !running.end.is_finished() && begun.elapsed() < 100 * 24 * IDLE {
        client.send("MAIL FROM:<a>\r\n").await;
        sleep(IDLE - Duration::from_secs(1)).await;
        client.send("RSET\r\n").await;
    }
    assert!(matches!(running.end.await.unwrap(), SessionEnd::TimedOut | SessionEnd::NoMessage));
    // The time is counted to the end of the pause in which the session ended.
    assert!(begun.elapsed() <= 2 * 24 * IDLE + IDLE, "{:?}", begun.elapsed());
}

/// The limits of the daemon are the same over the unix socket and TCP.
#[tokio::test]
async fn the_listener_limits_sessions_without_a_message() {
    for peer in [LocalPeer::Uid(1000), LocalPeer::Loopback("127.0.0.1".parse().unwrap())] {
        let host = Host::new(|_, _| {});
        let (mut client, _) = host.session_of(peer).await;
        client.send("NOOP\r\n".repeat(101)).await;
        for _ in 0..100 {
            client.expect("250 ").await;
        }
        client.expect("421 4.7.0 too many commands").await;
        let (mut client, _) = host.session_of(peer).await;
        // The threads of the spool take real time.
        tokio::time::pause();
        for _ in 0..24 {
            client.say("NOOP", "250 ").await;
            sleep(IDLE - Duration::from_secs(1)).await;
        }
        client.say("NOOP", "250 ").await;
        client.expect("421 4.4.2 no message").await;
        tokio::time::resume();
    }
}

#[tokio::test(start_paused = true)]
async fn slow_content_may_take_its_time() {
    let memory = Memory::default();
    let (stream, _running) = begin(&memory, ROOM);
    let mut client = Client::greeted(stream).await;
    client.begin_data().await;
    for _ in 0..20 {
        client.send("a line\r\n").await;
        sleep(IDLE - Duration::from_secs(1)).await;
    }
    client.say(".", "250 2.0.0").await;
}

/// A cron job that printed much and then worked in silence for ten minutes lost its mail: the daemon had ended the
/// session after five minutes, and `sendmail` cannot repeat what it has passed on.
#[tokio::test]
async fn a_program_on_the_unix_socket_may_pause_for_a_day_within_its_message_and_nowhere_else() {
    let tcp = LocalPeer::Loopback("127.0.0.1".parse().unwrap());
    let (a_while, day) = (IDLE * 2, Duration::from_secs(24 * 60 * 60));
    for (peer, begun, pause, reply) in [
        (LocalPeer::Uid(1), true, a_while, "250 2.0.0"),
        (LocalPeer::Uid(1), true, day - IDLE, "250 2.0.0"),
        (LocalPeer::Uid(1), true, day + IDLE, "421 4.4.2"),
        (LocalPeer::Uid(1), false, a_while, "421 4.4.2"),
        (tcp, true, a_while, "421 4.4.2"),
    ] {
        let host = Host::new(|_, _| {});
        let (mut client, _) = host.session_of(peer).await;
        if begun {
            client.begin_data().await;
        }
        client.send("half").await;
        // The threads of the spool take real time.
        tokio::time::pause();
        sleep(pause).await;
        tokio::time::resume();
        if reply.starts_with('2') {
            client.send("\r\n.\r\n").await;
        }
        client.expect(reply).await;
        assert_eq!(host.spool.is_empty(), !reply.starts_with('2'), "{peer:?} {pause:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_disk_s_time_is_not_the_client_s() {
    let memory = Memory::default();
    memory.disk.forget_permits(1_000_000);
    let (stream, _running) = begin(&memory, ROOM);
    let mut client = Client::greeted(stream).await;
    client.begin_data().await;
    client.send("x\r\n.\r\n").await;
    sleep(IDLE * 3).await;
    memory.disk.add_permits(1);
    client.expect("250 2.0.0").await;
    sleep(IDLE - Duration::from_secs(1)).await;
    client.say("QUIT", "221 ").await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_not_read_from() {
    let memory = Memory::default();
    let (mut stream, running) = begin(&memory, 4096);
    let begun = Instant::now();
    let mut sent = 0;
    while stream.write_all(b"NOOP\r\n").await.is_ok() {
        sent += 6;
    }
    assert!(sent < 256 << 10, "{sent} octets were taken from a client that reads nothing");
    assert!(matches!(running.end.await.unwrap(), SessionEnd::NotReading));
    assert_eq!(begun.elapsed().as_secs(), WRITE.as_secs());
}

#[tokio::test(start_paused = true)]
async fn endless_input_ends_in_421() {
    let floods = [
        // This input is discarded as it arrives. It does not count as progress, so the idle time ends.
        ("x".repeat(4096), "421 4.4.2"),
        ("NONSENSE\r\n".repeat(100), "421 "),
        ("RCPT TO:<b>\r\n".repeat(100), "421 "),
    ];
    for (piece, last_words) in floods {
        let memory = Memory::default();
        let (stream, running) = begin(&memory, 64 << 10);
        let (read, mut write) = tokio::io::split(stream);
        let flood = tokio::spawn(async move {
            while write.write_all(piece.as_bytes()).await.is_ok() {
                sleep(Duration::from_millis(100)).await;
            }
        });
        let mut client = Client::greeted(tokio::io::join(read, tokio::io::sink())).await;
        let mut last = client.reply().await;
        while !last[0].starts_with("421") {
            last = client.reply().await;
        }
        assert!(last[0].starts_with(last_words), "{last:?}");
        assert!(matches!(running.end.await.unwrap(), SessionEnd::TimedOut | SessionEnd::Closed));
        flood.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn refused_content_may_take_its_time_too() {
    let memory = Memory { refuse_content: Some((10, HostTrouble::NoRoom.into())), ..Memory::default() };
    let (stream, _running) = begin(&memory, ROOM);
    let mut client = Client::greeted(stream).await;
    client.begin_data().await;
    for _ in 0..20 {
        client.send("more than ten octets\r\n").await;
        sleep(IDLE - Duration::from_secs(1)).await;
    }
    assert_eq!(memory.held.load(Ordering::SeqCst), 0, "freed when it was refused");
    client.say(".", "452 4.3.1").await;
}

/// One session with refused recipients wrote 173,000 lines to the log, and nothing ended it.
#[tokio::test(start_paused = true)]
async fn recipients_without_end_are_counted_and_then_ended() {
    let captured = Captured::default();
    let sink = captured.clone();
    let journal = tracing_subscriber::fmt().with_writer(move || sink.clone()).finish();
    let _logging = tracing::subscriber::set_default(journal);
    let memory = Memory::default();
    let (stream, running) = begin(&memory, 1 << 20);
    let (read, mut write) = tokio::io::split(stream);
    let sent = "EHLO c\r\nMAIL FROM:<a>\r\n".to_owned() + &"RCPT TO:<b>\r\n".repeat(9000);
    let writer = tokio::spawn(async move { write.write_all(sent.as_bytes()).await });
    let mut client = Client::greeted(tokio::io::join(read, tokio::io::sink())).await;
    client.expect_all(&["250 ", "250 "]).await;
    for _ in 0..1000 {
        client.expect("250 ").await;
    }
    // The number of errors stays one below the limit.
    for _ in 0..1019 {
        client.expect("452 4.5.3").await;
    }
    client.expect("421 4.7.0").await;
    drop(client);
    drop(writer.await.unwrap());
    assert!(matches!(running.end.await, Ok(SessionEnd::Closed)));
    let log = captured.text();
    assert_eq!(log.matches("reject: RCPT from").count(), 6, "{log}");
    assert_eq!(log.matches("reject: 1014 more like this: RCPT").count(), 1, "{log}");
}

/// Sessions with one refusal each wrote two lines each, even if one client had all of them.
#[tokio::test]
async fn refusals_in_many_sessions_of_one_client_are_counted() {
    let captured = Captured::default();
    let sink = captured.clone();
    let journal = tracing_subscriber::fmt().with_writer(move || sink.clone()).finish();
    let _logging = tracing::subscriber::set_default(journal);
    let host = Host::new(|_, _| {});
    for _ in 0..100 {
        let (mut client, session) = host.session_of(LocalPeer::Uid(1000)).await;
        client.say("EHLO c", "250 ").await;
        client.say("MAIL FROM:<a>", "250 ").await;
        client.say("RCPT TO:<b@@c>", "501 ").await;
        drop(client);
        session.await.unwrap();
    }
    let told = captured.text();
    assert_eq!(told.matches("reject: RCPT from uid 1000: 501").count(), 5, "{told}");
    assert_eq!(told.matches("lost connection within a transaction from uid 1000").count(), 5, "{told}");
    host.service.tally().end();
    let all = captured.text();
    let counted = all.strip_prefix(&told).unwrap();
    assert_eq!(counted.lines().count(), 2, "{counted}");
    assert!(counted.contains("reject: 95 more like this: RCPT from uid 1000: 501"), "{counted}");
    let ended = "lost connection within a transaction: 95 more like this from uid 1000";
    assert!(counted.contains(ended), "{counted}");
}

#[tokio::test(start_paused = true)]
async fn recipients_over_the_limit_are_refused_one_by_one() {
    let memory = Memory::default();
    let (stream, _running) = begin(&memory, 64 << 10);
    let (read, mut write) = tokio::io::split(stream);
    let sent = "EHLO c\r\nMAIL FROM:<a>\r\n".to_owned() + &"RCPT TO:<b>\r\n".repeat(1010) + "RSET\r\n";
    let writer = tokio::spawn(async move { write.write_all(sent.as_bytes()).await.map(|()| write) });
    let mut client = Client::greeted(tokio::io::join(read, tokio::io::sink())).await;
    client.expect_all(&["250 ", "250 "]).await;
    for _ in 0..1000 {
        client.expect("250 ").await;
    }
    for _ in 0..10 {
        client.expect("452 4.5.3").await;
    }
    client.expect("250 ").await;
    drop(writer.await.unwrap());
}
