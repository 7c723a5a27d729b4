//! Tests of a stop in every state of a session.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, sleep};

use super::client::{Client, TO_DATA};
use super::memory::{Memory, begin, policy};
use super::{IDLE, WRITE};
use crate::listener::drive::{ClientConnection, Pace, SessionEnd, drive};
use crate::listener::repeats::RepeatTally;
use crate::listener::stop::{Stopper, stop_signal};
use crate::smtp::session::Session;

const ROOM: usize = 1 << 20;
const DRAIN: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn without_content_in_flight_it_is_421_at_once() {
    let stages: [(&str, usize); 4] =
        [("", 0), ("EHLO c\r\n", 1), ("EHLO c\r\nMAIL FROM:<a>\r\nRCPT TO:<b>\r\n", 3), ("EHLO c\r\nNOO", 1)];
    for (stage, replies) in stages {
        let memory = Memory::default();
        let (stream, running) = begin(&memory, ROOM);
        let mut client = Client::greeted(stream).await;
        client.send(stage).await;
        client.expect_all(&["250 "].repeat(replies)).await;
        let begun = Instant::now();
        running.stopper.stop(begun + DRAIN);
        client.expect("421 4.3.2").await;
        assert!(begun.elapsed() < Duration::from_secs(1), "{stage:?}");
        drop(client);
        assert!(matches!(running.end.await.unwrap(), SessionEnd::Stopped), "{stage:?}");
    }
}

/// A client that never did its handshake delayed a stop until its deadline.
#[tokio::test(start_paused = true)]
async fn a_handshake_under_way_is_not_waited_for() {
    let memory = Memory { handshakes: false, ..Memory::default() };
    let (stream, running) = begin(&memory, ROOM);
    let mut client = Client::greeted(stream).await;
    client.say("EHLO c", "250 ").await;
    client.say("STARTTLS", "220 ").await;
    let begun = Instant::now();
    running.stopper.stop(begun + DRAIN);
    // The client may be waiting for TLS, so no plaintext is sent to it.
    client.expect_close().await;
    assert!(matches!(running.end.await.unwrap(), SessionEnd::Stopped));
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_before_is_answered_first() {
    let memory = Memory::default();
    let (stream, running) = begin(&memory, ROOM);
    running.stopper.stop(Instant::now() + DRAIN);
    let mut client = Client::over(stream);
    client.send("EHLO c\r\nNOOP\r\n").await;
    client.expect("220 ").await;
    client.expect("421 4.3.2").await;
}

#[tokio::test(start_paused = true)]
async fn content_in_flight_may_finish_until_the_deadline() {
    let begin_chunks = "EHLO c\r\nMAIL FROM:<a>\r\nRCPT TO:<b>\r\nBDAT 4\r\nhalf";
    for (stage, replies, rest) in [(TO_DATA, 4, "x\r\n.\r\n"), (begin_chunks, 4, "BDAT 1 LAST\r\nx")] {
        for finishes in [true, false] {
            let memory = Memory::default();
            let (stream, running) = begin(&memory, ROOM);
            let mut client = Client::greeted(stream).await;
            client.reach(stage, replies).await;
            let begun = Instant::now();
            running.stopper.stop(begun + DRAIN);
            if finishes {
                sleep(DRAIN - Duration::from_secs(1)).await;
                client.send(rest).await;
                client.expect("250 2.0.0").await;
            }
            client.expect("421 4.3.2").await;
            assert_eq!(begun.elapsed().as_secs(), DRAIN.as_secs() - u64::from(finishes), "{stage:?}");
            drop(client);
            assert!(matches!(running.end.await.unwrap(), SessionEnd::Stopped));
            assert_eq!(memory.story.lock().unwrap().committed.len(), usize::from(finishes));
            assert_eq!(memory.held.load(Ordering::SeqCst), 0);
        }
    }
}

/// A client that always has more to send. The stop is given while it does, with a deadline.
struct Endless {
    reads: usize,
    stopper: Stopper,
}

impl AsyncRead for Endless {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.reads += 1;
        match self.reads {
            1 => buf.put_slice(TO_DATA.as_bytes()),
            2..10_000 => buf.put_slice(b"never an end\r\n"),
            _ => {}
        }
        if self.reads == 10 {
            self.stopper.stop(Instant::now());
        }
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn content_that_never_pauses_ends_at_the_deadline() {
    let memory = Memory::default();
    let (stopper, stop) = stop_signal();
    let stream = Box::new(tokio::io::join(Endless { reads: 0, stopper }, tokio::io::sink()));
    let pace =
        Pace { idle: IDLE, content: IDLE, transaction: 24 * IDLE, without_message: 24 * IDLE, write: WRITE };
    let connection =
        ClientConnection { stream, client: "test".into(), tally: RepeatTally::new(), pace, stop };
    let end = drive(Session::new(Arc::new(policy())), memory.clone(), connection).await;
    assert!(matches!(end, SessionEnd::Stopped), "{end}");
    assert!(memory.story.lock().unwrap().committed.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_commit_under_way_is_waited_for_and_said() {
    let memory = Memory::default();
    memory.disk.forget_permits(1_000_000);
    let (stream, running) = begin(&memory, ROOM);
    let mut client = Client::greeted(stream).await;
    client.begin_data().await;
    client.send("x\r\n.\r\n").await;
    sleep(Duration::from_secs(1)).await;
    running.stopper.stop(Instant::now());
    sleep(Duration::from_secs(5)).await;
    memory.disk.add_permits(1);
    client.expect_all(&["250 2.0.0", "421 4.3.2"]).await;
    assert_eq!(memory.story.lock().unwrap().committed.len(), 1);
}
