mod full;
mod leaving;
mod octets;
mod pace;
mod parameters;
mod round_trips;
mod transcripts;

use std::num::NonZeroUsize;
use std::pin::pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncSeek, AsyncWriteExt, BufReader, ReadBuf};
use tokio::time::timeout;

use super::super::testing::{Given, peer, play, settings, transaction, wire};
use super::super::{Report, Transaction, Unmarked, Verdict};
use super::*;
use crate::envelope::{Body, Notify};
use crate::far_end::server::Server;
use crate::queue_id::QueueId;

const ENVELOPE: &str = "C: MAIL FROM:<ann@example.org>\nC: RCPT TO:<ben@example.net>\nC: DATA\n";
const ENVELOPE_AT_A_TIME: &str = "C: MAIL FROM:<ann@example.org>\nS: 250 2.1.0 ok\nC: RCPT TO:<ben@example.net>\n\
    S: 250 2.1.5 ok\nC: DATA\nS: 354 go on\n";
const TAKEN: &str = "S: 250 2.1.0 ok\nS: 250 2.1.5 ok\nS: 354 go on\n";

fn pipelining() -> Capabilities {
    Capabilities { pipelining: true, ..Capabilities::default() }
}

/// `content` is the message's one line.
fn message(id: u64, content: &str) -> Transaction {
    transaction(id, "ann@example.org", &["ben@example.net"], &format!("{content}\r\n"))
}

/// The end of a dialogue: the reports, the result of `run`, and the octets that the relay heard after its script.
struct Ended {
    given: Given,
    result: Result<(), Trouble>,
    rest: String,
}

async fn run_with(
    offered: Capabilities,
    settings: config::RelayConfig,
    script: &str,
    messages: Vec<Transaction>,
) -> Ended {
    let pace = Arc::new(RelayPace::new(settings.pipelining));
    run_at(pace, offered, settings, script, messages).await
}

/// [`run_with`] what other connections have learnt of the relay's pace.
async fn run_at(
    pace: Arc<RelayPace>,
    offered: Capabilities,
    settings: config::RelayConfig,
    script: &str,
    messages: Vec<Transaction>,
) -> Ended {
    let (near, far) = wire("192.0.2.5:587");
    let channel = Channel::new(Verified::assumed(near), peer(), settings.timeouts.clone());
    let connection = Connection::new(channel, offered, &settings).at_pace(pace);
    let mut given = Given::new(messages);
    // Longer than any limit: a relay that stalls is left alone when the client has given up.
    let playing = timeout(Duration::from_secs(100_000), play(far, script));
    let (result, rest) = tokio::join!(connection.run(&mut given), playing);
    Ended { given, result, rest: rest.unwrap_or_default() }
}

async fn run(offered: Capabilities, script: &str, messages: Vec<Transaction>) -> Ended {
    run_with(offered, settings(), script, messages).await
}

/// [`run`] at a relay that refuses content early, with messages that were refused before.
async fn run_refused(offered: Capabilities, script: &str, messages: Vec<Transaction>) -> Ended {
    let pace = Arc::new(RelayPace::new(settings().pipelining));
    pace.refused_early();
    let refused = |message| Transaction { was_refused: true, ..message };
    run_at(pace, offered, settings(), script, messages.into_iter().map(refused).collect()).await
}

fn across() -> config::RelayConfig {
    config::RelayConfig { pipelining: Pipelining::Across, ..settings() }
}

/// A reply nobody asked for would be taken for the next command's.
#[tokio::test(start_paused = true)]
async fn nothing_is_written_while_something_unasked_is_unread() {
    let (near, mut far) = wire("192.0.2.5:587");
    far.write_all(b"250 hello again\r\n250 and again\r\n").await.unwrap();
    let settings = settings();
    let channel = Channel::new(Verified::assumed(near), peer(), settings.timeouts.clone());
    let connection = Connection::new(channel, pipelining(), &settings);
    let mut given = Given::new([message(1, "one")]);
    let (result, rest) = tokio::join!(connection.run(&mut given), play(far, ""));
    assert_eq!(result.unwrap_err().phase, Phase::Mail);
    assert_eq!(given.told(), ["1/0 untold 4.4.2"]);
    assert_eq!(rest, "");
}

/// A refusal in the midst of a large content: no more of it is written, above all no final dot. One for good is unproven where
/// the message was refused before and the relay waited for content in silence. Each case: what the relay offers, whether it was
/// refused before, the refusal, what is told.
#[tokio::test(start_paused = true)]
async fn an_early_refusal_of_the_content_is_not_believed_at_once() {
    let for_good = "552 5.3.4 too big";
    let cases = [
        (pipelining(), false, for_good, "deferred 4.5.3"),
        (pipelining(), true, for_good, "unproven 5.3.4"),
        (Capabilities::default(), false, for_good, "deferred 4.5.3"),
        (Capabilities::default(), true, for_good, "unproven 5.3.4"),
        (Capabilities::default(), true, "452 4.3.1 full", "deferred 4.3.1"),
    ];
    for (offered, was_refused, refusal, told) in cases {
        let line = "x".repeat(998);
        let content = format!("{line}\r\n").repeat(1000);
        let large = transaction(1, "ann@example.org", &["ben@example.net"], &content);
        let envelope =
            if offered.pipelining { ENVELOPE.to_owned() + TAKEN } else { ENVELOPE_AT_A_TIME.into() };
        let script = format!("{envelope}C: {line}\nS: {refusal}\n");
        let messages = vec![large, message(2, "two")];
        let ended = match was_refused {
            true => run_refused(offered, &script, messages).await,
            false => run(offered, &script, messages).await,
        };
        ended.result.unwrap();
        assert_eq!(ended.given.told(), [format!("1/0 {told} {refusal}")]);
        assert_eq!(ended.given.messages.len(), 1);
        assert!(!ended.rest.contains("\r\n.\r\n") && ended.rest.len() < content.len());
    }
}

/// Mail that was held after a refusal, and is released, must not wait at each 354 of a relay that does no such thing.
#[tokio::test(start_paused = true)]
async fn a_message_that_was_refused_waits_only_where_content_is_refused_early() {
    let script =
        format!("{ENVELOPE_AT_A_TIME}C: one\nC: .\nS: 250 2.0.0 taken\nC: QUIT\nS: 221 bye\n!close\n");
    let mut taken_in = Vec::new();
    for (was_refused, is_early_relay) in [(false, false), (true, false), (true, true)] {
        let begun = Instant::now();
        let messages = vec![Transaction { was_refused, ..message(1, "one") }];
        let ended = match is_early_relay {
            true => run_refused(Capabilities::default(), &script, messages).await,
            false => run(Capabilities::default(), &script, messages).await,
        };
        assert_eq!(ended.given.told(), ["1/0 sent 2.0.0 250 2.0.0 taken"]);
        taken_in.push(begun.elapsed());
    }
    assert!(taken_in[0] == taken_in[1] && taken_in[1] < taken_in[2], "{taken_in:?}");
}

/// Between 354 and the first octet of the content, a refusal is no answer to it.
#[tokio::test(start_paused = true)]
async fn a_refusal_right_behind_354_is_of_no_content() {
    let script = format!("{ENVELOPE_AT_A_TIME}S: 550 no\n");
    let ended = run_refused(Capabilities::default(), &script, vec![message(1, "one")]).await;
    ended.result.unwrap();
    assert_eq!(ended.given.told(), ["1/0 deferred 4.0.0 550 no"]);
}

/// A relay that refuses a line in the content, and all that follows, said "500" twice at each try, and the message waited for
/// days.
#[tokio::test(start_paused = true)]
async fn what_is_refused_in_the_content_and_at_its_end_is_unproven_at_the_second_try() {
    for (first, second, told) in [
        ("500 too long", "500 what?", "unproven 5.0.0 500 too long"),
        ("500 too long", "451 later", "deferred 4.0.0 500 too long"),
        ("451 later", "500 what?", "deferred 4.0.0 451 later"),
    ] {
        let script = format!(
            "{ENVELOPE_AT_A_TIME}C: one\nC: .\nS: {first}\nS: {second}\nC: QUIT\nS: 221 bye\n!close\n"
        );
        let ended = run_refused(Capabilities::default(), &script, vec![message(1, "one")]).await;
        ended.result.unwrap();
        assert_eq!(ended.given.told(), [format!("1/0 {told}")]);
    }
}

/// Content that fails to be read after `good` octets.
struct Failing {
    good: usize,
}

impl AsyncRead for Failing {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.good == 0 {
            return Poll::Ready(Err(std::io::Error::other("disk on fire")));
        }
        let octets = self.good.min(buffer.remaining());
        buffer.put_slice(&vec![b'x'; octets]);
        self.good -= octets;
        Poll::Ready(Ok(()))
    }
}

/// It is read only once.
impl AsyncSeek for Failing {
    fn start_seek(self: std::pin::Pin<&mut Self>, _: std::io::SeekFrom) -> std::io::Result<()> {
        Err(std::io::ErrorKind::Unsupported.into())
    }

    fn poll_complete(self: std::pin::Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<u64>> {
        Poll::Ready(Err(std::io::ErrorKind::Unsupported.into()))
    }
}

/// With the dot sent all the same, half a message is delivered and the whole removed.
#[tokio::test(start_paused = true)]
async fn a_message_is_never_cut_short() {
    let script = format!("{ENVELOPE}{TAKEN}");
    for good in [0, 10, 200_000] {
        let mut torn = message(1, "one");
        torn.content = Box::new(BufReader::new(Failing { good }));
        torn.size = 300_000;
        let ended = run(pipelining(), &script, vec![torn, message(2, "two")]).await;
        ended.result.unwrap();
        assert_eq!(
            ended.given.told(),
            ["1/0 deferred 4.3.0 the stored content cannot be read: disk on fire"]
        );
        assert_eq!(ended.given.events, ["report 1"]);
        assert!(!ended.rest.contains('.'), "{}", ended.rest);
    }
}

/// A relay without 8BITMIME may clear the eighth bit of each octet, or refuse the message.
#[tokio::test(start_paused = true)]
async fn an_8_bit_message_is_encoded_where_it_is_asked_for_and_its_size_is_that_of_what_is_sent() {
    let eight_bit = || {
        let mut message = transaction(
            1,
            "ann@example.org",
            &["ben@example.net"],
            "MIME-Version: 1.0\r\n\r\nthe café is open\r\n",
        );
        message.body = Body::EightBitMime;
        message
    };
    let reply = "S: 250 ok\nS: 250 ok\nS: 354 go on\n";
    let plain = "C: MIME-Version: 1.0\nC:\nC: the café is open\nC: .\nS: 250 ok\nC: QUIT\nS: 221 bye";
    let encoded = "C: MIME-Version: 1.0\nC: Content-Type: text/plain; charset=utf-8\n\
                   C: Content-Transfer-Encoding: quoted-printable\nC:\nC: the caf=C3=A9 is open\nC: .\nS: 250 ok\n\
                   C: QUIT\nS: 221 bye";
    for (setting, body, offers_it, content) in [
        (config::EightBit::Keep, "SIZE=40", false, plain),
        (config::EightBit::Encode, "SIZE=130", false, encoded),
        (config::EightBit::Encode, "SIZE=40 BODY=8BITMIME", true, plain),
    ] {
        let offered = Capabilities { size: true, eight_bit_mime: offers_it, ..pipelining() };
        let settings = config::RelayConfig { eight_bit: setting, ..settings() };
        let script = format!(
            "C: MAIL FROM:<ann@example.org> {body}\nC: RCPT TO:<ben@example.net>\nC: DATA\n{reply}{content}"
        );
        let ended = run_with(offered, settings, &script, vec![eight_bit()]).await;
        ended.result.unwrap();
        assert_eq!(ended.given.told(), ["1/0 sent 2.0.0 250 ok"], "{setting:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_relay_cannot_take_is_not_offered_to_it() {
    let offered = Capabilities { size: true, size_limit: Some(20), ..pipelining() };
    let mut mixed = transaction(2, "ann@example.org", &["bén@exämple.net", "cara@example.net"], "hello\r\n");
    mixed.wants_smtputf8 = true;
    let script = "C: MAIL FROM:<ann@example.org> SIZE=7\nC: RCPT TO:<cara@example.net>\nC: DATA\n\
                  S: 250 ok\nS: 250 ok\nS: 354 go on\nC: hello\nC: .\nS: 250 ok\nC: QUIT\nS: 221 bye";
    let ended = run(offered, script, vec![message(1, &"x".repeat(19)), mixed]).await;
    ended.result.unwrap();
    let expected = [
        "1/0 bounced 5.3.4 message of 21 octets is larger than the 20 that the relay takes",
        "2/0 bounced 5.6.7 the address needs SMTPUTF8, which the relay does not offer",
        "2/1 sent 2.0.0 250 ok",
    ];
    assert_eq!(ended.given.told(), expected);
    assert!(
        !ended.given.reports[1].recipients[0].from_relay && ended.given.reports[1].recipients[1].from_relay
    );
}

#[tokio::test(start_paused = true)]
async fn messages_per_connection_are_counted() {
    let settings = config::RelayConfig { messages_per_connection: NonZeroUsize::MIN, ..settings() };
    let script = format!("{ENVELOPE}{TAKEN}C: one\nC: .\nS: 250 ok\nC: QUIT\nS: 221 bye");
    let ended = run_with(pipelining(), settings, &script, vec![message(1, "one"), message(2, "two")]).await;
    ended.result.unwrap();
    assert_eq!((ended.given.reports.len(), ended.given.messages.len()), (1, 1));
}

/// A connection to one host behind a name that has many kept its mail there for as long as there was some.
#[tokio::test(start_paused = true)]
async fn an_old_connection_is_closed_after_the_message_at_hand() {
    let settings = config::RelayConfig { connection_age: Some(Duration::from_secs(300)), ..settings() };
    let (near, far) = wire("192.0.2.5:587");
    let channel = Channel::new(Verified::assumed(near), peer(), settings.timeouts.clone());
    let mut given = Given::new(vec![message(1, "one"), message(2, "two")]);
    let slow = tokio::spawn(async move {
        let mut server = Server::over(far);
        for reply in ["250 ok", "250 ok", "354 go on"] {
            server.line().await;
            server.say(reply).await;
        }
        while server.line().await != "." {}
        tokio::time::sleep(Duration::from_secs(301)).await;
        server.say("250 ok").await;
        assert_eq!(server.line().await, "QUIT");
        server.say("221 bye").await;
    });
    Connection::new(channel, pipelining(), &settings).run(&mut given).await.unwrap();
    slow.await.unwrap();
    assert_eq!((given.reports.len(), given.messages.len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn an_old_connection_does_not_wait_for_another_message() {
    let age = Duration::from_secs(7);
    let settings = config::RelayConfig { connection_age: Some(age), ..settings() };
    let begun = tokio::time::Instant::now();
    let ended = run_with(pipelining(), settings, "C: QUIT\nS: 221 bye", vec![]).await;
    ended.result.unwrap();
    assert_eq!(begun.elapsed(), age);
}

/// A relay that looks at the token again said `550 5.7.1 Access token expired` at MAIL, and each message bounced.
#[tokio::test(start_paused = true)]
async fn a_connection_takes_no_message_when_its_token_ends() {
    let goodbye = "C: QUIT\nS: 221 bye";
    // The second one had ended before the login was accepted, and the connection went on without an end.
    for life in [7, 0] {
        let begun = Instant::now();
        let (near, far) = wire("192.0.2.5:587");
        let mut channel = Channel::new(Verified::assumed(near), peer(), settings().timeouts);
        channel.retire_at(begun + Duration::from_secs(life));
        let connection = Connection::new(channel, pipelining(), &settings());
        tokio::time::advance(Duration::from_secs(life)).await;
        let mut given = Given::new(vec![message(1, "one")]);
        let relay = tokio::spawn(async move { Server::over(far).play(goodbye).await });
        connection.run(&mut given).await.unwrap();
        relay.await.unwrap();
        assert_eq!((given.reports.len(), given.messages.len()), (0, 1), "{life}");
    }
}

/// A thousand recipients, and buffers of 256 octets on the wire.
#[tokio::test(start_paused = true)]
async fn a_big_envelope_does_not_hang() {
    let names: Vec<String> = (0..1000).map(|number| format!("recipient{number}@example.net")).collect();
    let to: Vec<&str> = names.iter().map(String::as_str).collect();
    // The relay answers each command as it comes.
    let answered =
        names.iter().map(|name| format!("C: RCPT TO:<{name}>\nS: 250 2.1.5 recipient {name} ok\n"));
    let script = format!(
        "C: MAIL FROM:<>\nS: 250 ok\n{}C: DATA\nS: 354 go on\nC: hello\nC: .\nS: 250 ok\nC: QUIT\nS: 221 bye",
        answered.collect::<String>()
    );
    let ended = run(pipelining(), &script, vec![transaction(1, "", &to, "hello\r\n")]).await;
    ended.result.unwrap();
    assert!(ended.given.reports[0].recipients.iter().all(|recipient| recipient.verdict == Verdict::Sent));
    assert_eq!(ended.given.reports[0].recipients.len(), 1000);
}

#[tokio::test(start_paused = true)]
async fn reports_tell_times_peer_and_dsn() {
    let (near, far) = wire("192.0.2.5:587");
    let settings = settings();
    let channel = Channel::new(Verified::assumed(near), peer(), settings.timeouts.clone());
    let offered = Capabilities { dsn: true, ..pipelining() };
    let connection = Connection::new(channel, offered, &settings).connected_in(Duration::from_secs(3));
    let mut asking = message(1, "one");
    asking.recipients[0].1.notify = Notify::Never;
    let mut given = Given::new([asking, message(2, "two")]);
    let script = format!(
        "C: MAIL FROM:<ann@example.org>\nC: RCPT TO:<ben@example.net> NOTIFY=NEVER\nC: DATA\n{TAKEN}\
         C: one\nC: .\nS: 250 ok\n{ENVELOPE}{TAKEN}C: two\nC: .\nS: 250 ok\nC: QUIT\nS: 221 bye"
    );
    let (result, _) = tokio::join!(connection.run(&mut given), play(far, &script));
    result.unwrap();
    let connecting: Vec<u64> = given.reports.iter().map(|report| report.connecting.as_secs()).collect();
    assert_eq!(connecting, [3, 0]);
    assert!(given.reports.iter().all(|report| report.dsn_passed_on && report.peer == peer()));
}

/// A queue whose note of the final dot never comes to an end.
struct Hesitating(Given);

impl Work for Hesitating {
    async fn next(&mut self, patience: Duration) -> Option<Transaction> {
        self.0.next(patience).await
    }
    async fn before_dot(&mut self, _: QueueId) -> Result<(), Unmarked> {
        std::future::pending().await
    }
    async fn report(&mut self, report: Report) {
        self.0.report(report).await;
    }
}

/// Promise 4. The mark that a crash leaves must be older than the dot.
#[tokio::test(start_paused = true)]
async fn no_octet_of_the_final_dot_before_it_is_noted() {
    let (near, far) = wire("192.0.2.5:587");
    let settings = settings();
    let channel = Channel::new(Verified::assumed(near), peer(), settings.timeouts.clone());
    let connection = Connection::new(channel, pipelining(), &settings);
    let mut work = Hesitating(Given::new([message(1, &"x".repeat(100_000)), message(2, "two")]));
    let mut far = tokio::io::BufReader::new(far);
    let listening = async {
        play(&mut far, &format!("{ENVELOPE}{TAKEN}!tls")).await;
        let mut heard = Vec::new();
        let _ = timeout(Duration::from_secs(100), far.read_to_end(&mut heard)).await;
        heard
    };
    let mut running = pin!(timeout(Duration::from_secs(50), connection.run(&mut work)));
    let heard = tokio::join!(&mut running, listening).1;
    assert_eq!(
        heard,
        [vec![b'x'; 100_000], b"\r\n".to_vec()].concat(),
        "all of the content, and nothing else"
    );
}

#[tokio::test(start_paused = true)]
async fn without_its_mark_a_message_is_not_sent() {
    let (near, far) = wire("192.0.2.5:587");
    let settings = settings();
    let channel = Channel::new(Verified::assumed(near), peer(), settings.timeouts.clone());
    let connection = Connection::new(channel, pipelining(), &settings);
    let mut given = Given { cannot_mark: true, ..Given::new([message(1, "one"), message(2, "two")]) };
    let script = format!("{ENVELOPE}{TAKEN}");
    let playing = timeout(Duration::from_secs(100), play(far, &script));
    let (result, rest) = tokio::join!(connection.run(&mut given), playing);
    assert!(result.is_ok() && !rest.unwrap().contains("\r\n.\r\n"));
    assert_eq!(given.told(), ["1/0 untold 4.3.0"]);
    assert_eq!(given.reports[0].recipients[0].said, "the attempt cannot be recorded on the spool");
    assert_eq!(given.messages.len(), 1, "the second was not taken");
}
