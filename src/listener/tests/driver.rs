//! Tests of the driver with a backend in memory: order and batches of replies, refusals, upgrades.

use std::sync::atomic::Ordering;

use super::client::{Client, TO_DATA};
use super::memory::{Memory, begin};
use crate::listener::drive::SessionEnd;
use crate::message::unacceptable::Unacceptable;
use crate::smtp::reply::Reply;
use crate::smtp::session::MessageRefusal::{Host, Message};
use crate::smtp::session::{HostTrouble, MessageRefusal};
use crate::status::Status;

/// A connection buffer that holds everything a test sends at once.
const ROOM: usize = 1 << 20;

#[tokio::test(start_paused = true)]
async fn a_pipelined_session_costs_one_write_per_group() {
    let memory = Memory::default();
    let (stream, running) = begin(&memory, ROOM);
    let mut client = Client::greeted(stream).await;
    assert_eq!(running.writes.load(Ordering::SeqCst), 1, "the greeting");
    client.begin_data().await;
    assert_eq!(running.writes.load(Ordering::SeqCst), 2, "EHLO to 354");
    client.send("Subject: x\r\n\r\n..dot\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<c@z.org>\r\nDATA\r\n").await;
    client.expect_all(&["250 2.0.0", "250 ", "250 ", "354 "]).await;
    assert_eq!(running.writes.load(Ordering::SeqCst), 3, "the next transaction behind the dot");
    client.send(".\r\nQUIT\r\n").await;
    client.expect_all(&["250 2.0.0", "221 "]).await;
    client.expect_close().await;
    assert!(matches!(running.end.await.unwrap(), SessionEnd::Closed));
    let story = memory.story.lock().unwrap();
    assert_eq!(story.committed[0], (vec!["b@y.org".to_owned()], b"Subject: x\r\n\r\n.dot\r\n".to_vec()));
    assert_eq!(story.committed[1], (vec!["c@z.org".to_owned()], Vec::new()));
    assert_eq!(story.opened, ["ESMTP", "ESMTP"]);
}

#[tokio::test(start_paused = true)]
async fn an_octet_at_a_time_is_the_same_session() {
    let whole =
        format!("{TO_DATA}a\r\n..\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<c>\r\nBDAT 3 LAST\r\nabcRSET\r\nQUIT\r\n");
    let mut replies = Vec::new();
    for piece in [1, 7, usize::MAX] {
        let memory = Memory::default();
        // The buffer of the connection holds one piece only, so that the server reads the input in such pieces.
        let (stream, running) = begin(&memory, piece.min(ROOM));
        let (read, mut write) = tokio::io::split(stream);
        let sent = whole.clone();
        let writer = tokio::spawn(async move {
            tokio::io::AsyncWriteExt::write_all(&mut write, sent.as_bytes()).await.unwrap();
            write
        });
        let mut client = Client::over(tokio::io::join(read, tokio::io::sink()));
        let mut said = Vec::new();
        loop {
            let reply = client.reply().await;
            if reply.is_empty() {
                break;
            }
            said.push(reply);
        }
        drop(writer.await.unwrap());
        assert!(matches!(running.end.await.unwrap(), SessionEnd::Closed), "{piece}");
        let committed = std::mem::take(&mut memory.story.lock().unwrap().committed);
        assert_eq!(committed.len(), 2, "{piece}");
        replies.push((said, committed));
    }
    assert_eq!(replies[0], replies[1]);
    assert_eq!(replies[0], replies[2]);
}

/// A reply to skipped content was taken for one to a command, and the log named a word of the message: first for any
/// such content, then still if the reply was 421, and for a chunk outside a transaction.
#[tokio::test(start_paused = true)]
async fn a_reply_to_refused_content_answers_no_command() {
    let reset = TO_DATA.replace("DATA", "RSET\r\nDATA");
    let cases = [
        (TO_DATA, "DATA\r\n", "word\r\n.\r\n", Host(HostTrouble::NoRoom), "."),
        (TO_DATA, "BDAT 2000 LAST\r\n", "word", Host(HostTrouble::NoRoom), "."),
        (TO_DATA, "DATA\r\n", "QUIT\r\n.\r\n", Host(HostTrouble::ShuttingDown), "."),
        (TO_DATA, "BDAT 2000\r\n", "QUIT", Host(HostTrouble::ShuttingDown), "."),
        (&reset, "BDAT 2000 LAST\r\n", "QUIT", Host(HostTrouble::NoRoom), "BDAT"),
    ];
    for (begun, stage, end, refusal, prompt) in cases {
        let instead = Reply::bare(554, "to the content");
        let refuse_is_last = refusal == Host(HostTrouble::ShuttingDown);
        let refuse_content = Some((1000, refusal));
        let memory = Memory { refuse_content, instead: Some((prompt, Some(instead))), ..Memory::default() };
        let (stream, running) = begin(&memory, ROOM);
        let mut client = Client::greeted(stream).await;
        client.send(&begun.replace("DATA\r\n", stage)).await;
        client.expect_all(&["250 ", "250 ", "250 "]).await;
        if begun == reset {
            client.expect("250 ").await;
        }
        if stage.starts_with("DATA") {
            client.expect("354 ").await;
        }
        client.send(&("x".repeat(1994) + "\r\n")).await;
        // The server must have read the first part before the rest is sent.
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        client.send(end).await;
        client.expect("554 to the content").await;
        if refuse_is_last {
            assert!(matches!(running.end.await.unwrap(), SessionEnd::Closed));
        } else {
            client.say("NOOP", "250 ").await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_vanishes_leaves_nothing() {
    let stages = [
        "",
        "EHLO c\r\nMAIL FROM:<a@x.org>\r\n",
        TO_DATA,
        "HELO c\r\nMAIL FROM:<>\r\nRCPT TO:<b>\r\nDATA\r\nhalf a line",
        "HELO c\r\nMAIL FROM:<>\r\nRCPT TO:<b>\r\nDATA\r\nall but the last\r\n.\r",
        "EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<b>\r\nBDAT 100\r\nsome",
        "EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<b>\r\nBDAT 4\r\nsome",
    ];
    for stage in stages {
        let memory = Memory::default();
        let (stream, running) = begin(&memory, ROOM);
        let mut client = Client::greeted(stream).await;
        client.send(stage).await;
        drop(client);
        assert!(matches!(running.end.await.unwrap(), SessionEnd::Lost(_)), "{stage:?}");
        assert_eq!(memory.held.load(Ordering::SeqCst), 0, "{stage:?}");
        assert!(memory.story.lock().unwrap().committed.is_empty(), "{stage:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_message_is_refused_in_its_place_and_the_session_goes_on() {
    let cases = [
        (Host(HostTrouble::NoRoom), "452 4.3.1"),
        (Host(HostTrouble::Failing), "451 4.3.0"),
        (Message(Unacceptable::MailLoop), "554 5.4.6"),
        (Message(Unacceptable::HeaderTooLarge), "552 5.3.4"),
        (MessageRefusal::Client(Reply::new(550, Status::permanent(7, 1), "no")), "550 5.7.1 no"),
    ];
    for (refusal, said) in cases {
        let mut memory = Memory::default();
        memory.refuse_open.lock().unwrap().push_back(refusal.clone());
        memory.refuse_commit.lock().unwrap().push_back(refusal.clone());
        memory.refuse_content = Some((1000, refusal));
        let (stream, _running) = begin(&memory, ROOM);
        let mut client = Client::greeted(stream).await;
        client.send(TO_DATA).await;
        client.expect_all(&["250 ", "250 ", "250 ", said]).await;
        client.send_message("refused at commit\r\n", said).await;
        client.send_message(&"refused half-way\r\n".repeat(1000), said).await;
        client.send_message("accepted\r\n", "250 2.0.0").await;
        assert_eq!(memory.held.load(Ordering::SeqCst), 0);
        let story = memory.story.lock().unwrap();
        assert_eq!(story.committed.len(), 1);
        assert_eq!(story.committed[0].1, b"accepted\r\n");
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_in_chunks_is_whole_void_or_refused() {
    let memory = Memory::default();
    let (stream, _running) = begin(&memory, ROOM);
    let mut client = Client::greeted(stream).await;
    let begin = "MAIL FROM:<a@x.org>\r\nRCPT TO:<b@y.org>\r\n";
    client.say("EHLO c", "250 ").await;
    client.send(format!("{begin}BDAT 5\r\n.\r\n.\rBDAT 2\r\n\nxBDAT 2 LAST\r\n\r\n")).await;
    client.expect_all(&["250 ", "250 ", "250 ", "250 ", "250 2.0.0"]).await;
    assert_eq!(memory.story.lock().unwrap().committed[0].1, b".\r\n.\r\nx\r\n");
    client.send(format!("{begin}BDAT 3\r\nabcRSET\r\n")).await;
    client.expect_all(&["250 ", "250 ", "250 ", "250 "]).await;
    assert_eq!((memory.story.lock().unwrap().discarded, memory.held.load(Ordering::SeqCst)), (1, 0));
    memory.refuse_open.lock().unwrap().push_back(Host(HostTrouble::NoRoom));
    client.send(format!("{begin}BDAT 6\r\nQUIT\r\nNOOP\r\n")).await;
    client.expect_all(&["250 ", "250 ", "452 4.3.1", "250 "]).await;
}

#[tokio::test(start_paused = true)]
async fn earlier_replies_do_not_wait_for_the_disk() {
    let memory = Memory::default();
    memory.disk.forget_permits(1_000_000);
    let (stream, _running) = begin(&memory, ROOM);
    let mut client = Client::greeted(stream).await;
    client.send("EHLO c\r\nMAIL FROM:<a>\r\nRCPT TO:<b>\r\nBDAT 3 LAST\r\nx\r\n").await;
    client.expect_all(&["250 ", "250 ", "250 "]).await;
    memory.disk.add_permits(1);
    client.expect("250 2.0.0").await;
}

#[tokio::test(start_paused = true)]
async fn etrn_reaches_the_queue() {
    let memory = Memory::default();
    let (stream, _running) = begin(&memory, ROOM);
    let mut client = Client::greeted(stream).await;
    client.say("EHLO c", "250 ").await;
    client.say("ETRN example.org", "25").await;
    assert_eq!(memory.story.lock().unwrap().probes, 1);
}

#[tokio::test(start_paused = true)]
async fn after_starttls_the_session_starts_anew_and_is_esmtps() {
    let memory = Memory::default();
    let (stream, _running) = begin(&memory, ROOM);
    let mut client = Client::greeted(stream).await;
    client.send("EHLO c\r\nMAIL FROM:<x@x.org>\r\nRSET\r\n").await;
    client.expect_all(&["250 ", "250 ", "250 "]).await;
    client.say("STARTTLS", "220 ").await;
    client.say("MAIL FROM:<x@x.org>", "503 ").await;
    client.send_message("secret\r\n", "250 2.0.0").await;
    assert_eq!(memory.story.lock().unwrap().opened, ["ESMTPS"]);
}

/// CVE-2011-0411 and similar ones: a command sent after STARTTLS in plaintext was executed within TLS.
#[tokio::test(start_paused = true)]
async fn plaintext_behind_starttls_never_becomes_a_command() {
    let memory = Memory::default();
    let (stream, running) = begin(&memory, ROOM);
    let mut client = Client::greeted(stream).await;
    client.send("EHLO c\r\nSTARTTLS\r\nMAIL FROM:<evil@x.org>\r\nRCPT TO:<b>\r\nDATA\r\nx\r\n.\r\n").await;
    client.expect("250 ").await;
    let reply = client.reply().await;
    assert!(!reply.iter().any(|line| line.starts_with("220")), "{reply:?}");
    client.expect_close().await;
    assert!(!matches!(running.end.await.unwrap(), SessionEnd::Dropped));
    assert!(memory.story.lock().unwrap().opened.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_handshake_has_the_time_of_a_command() {
    let memory = Memory { handshakes: false, ..Memory::default() };
    let (stream, running) = begin(&memory, ROOM);
    let mut client = Client::greeted(stream).await;
    client.say("EHLO c", "250 ").await;
    client.say("STARTTLS", "220 ").await;
    let begun = tokio::time::Instant::now();
    assert!(matches!(running.end.await.unwrap(), SessionEnd::NoTls(_)));
    assert_eq!(begun.elapsed().as_secs(), super::IDLE.as_secs());
}

#[tokio::test(start_paused = true)]
async fn auth_is_the_backend_s() {
    let memory = Memory::default();
    let (stream, _running) = begin(&memory, ROOM);
    let mut client = Client::greeted(stream).await;
    client.say("EHLO c", "250 ").await;
    client.say("AUTH PLAIN AGFubgB3cm9uZw==", "535 ").await;
    client.say("AUTH PLAIN", "334 d2hvPw==").await;
    client.say("AGFubgBzZWNyZXQ=", "235 ").await;
    client.send_message("x\r\n", "250 2.0.0").await;
}

#[tokio::test(start_paused = true)]
async fn a_backend_may_say_something_else_or_nothing() {
    let other = Reply::new(450, Status::transient(7, 1), "not today");
    for (word, before) in [("CONNECT", 0), ("RCPT", 3), ("DATA", 4), (".", 5), ("QUIT", 6)] {
        for instead in [Some(other.clone()), None] {
            let dropped = instead.is_none();
            let memory = Memory { instead: Some((word, instead)), ..Memory::default() };
            let (stream, running) = begin(&memory, ROOM);
            let mut client = Client::over(stream);
            client.send(format!("{TO_DATA}.\r\nQUIT\r\n")).await;
            for _ in 0..before {
                assert_ne!(client.reply().await, [""; 0], "{word}");
            }
            if dropped {
                client.expect_close().await;
                assert!(matches!(running.end.await.unwrap(), SessionEnd::Dropped), "{word}");
            } else {
                client.expect("450 4.7.1 not today").await;
            }
        }
    }
}
