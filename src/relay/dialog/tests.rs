mod full;

use std::num::NonZeroUsize;
use std::pin::pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

use super::super::testing::{Given, peer, play, settings, transaction, wire};
use super::super::{Report, Transaction, Unmarked, Verdict};
use super::*;
use crate::envelope::Notify;
use crate::queue_id::QueueId;

const ENVELOPE: &str = "C: MAIL FROM:<ann@example.org>\nC: RCPT TO:<ben@example.net>\nC: DATA\n";
const TAKEN: &str = "S: 250 2.1.0 ok\nS: 250 2.1.5 ok\nS: 354 go on\n";

fn pipelining() -> Capabilities {
    Capabilities { pipelining: true, ..Capabilities::default() }
}

/// `content` is the message's one line.
fn message(id: u64, content: &str) -> Transaction {
    transaction(id, "ann@example.org", &["ben@example.net"], &format!("{content}\r\n"))
}

/// What the queue was told, how `run` ended, and what the relay heard after its script.
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

fn across() -> config::RelayConfig {
    config::RelayConfig { pipelining: Pipelining::Across, ..settings() }
}

#[tokio::test(start_paused = true)]
async fn written_across_a_busy_connection_costs_one_round_trip_per_message() {
    let script = format!(
        "{ENVELOPE}{TAKEN}C: one\nC: .\n{ENVELOPE}S: 250 2.0.0 first\n{TAKEN}C: two\nC: .\n{ENVELOPE}\
         S: 250 2.0.0 second\n{TAKEN}C: three\nC: .\nS: 250 2.0.0 third\nC: QUIT\nS: 221 bye"
    );
    let messages = vec![message(1, "one"), message(2, "two"), message(3, "three")];
    let ended = run_with(pipelining(), across(), &script, messages).await;
    ended.result.unwrap();
    let expected = [
        "1/0 sent 2.0.0 250 2.0.0 first",
        "2/0 sent 2.0.0 250 2.0.0 second",
        "3/0 sent 2.0.0 250 2.0.0 third",
    ];
    assert_eq!(ended.given.told(), expected);
    assert_eq!(ended.given.events, ["dot 1", "report 1", "dot 2", "report 2", "dot 3", "report 3"]);
    assert_eq!(ended.rest, "");
}

/// What was lost: with the next group behind the final dot Haraka answered 503 and the relay was paused, Dovecot's
/// submission service kept the message and died without a reply, so that each try made a copy, and Courier
/// dropped the group and fell silent. Whatever fails where more was written than was answered, at any place:
/// nobody is blamed, and the next connection writes one command at a time.
#[tokio::test(start_paused = true)]
async fn a_relay_that_does_not_bear_several_commands_gets_one_at_a_time() {
    let lock_step = "C: MAIL FROM:<ann@example.org>\nS: 250 ok\nC: RCPT TO:<ben@example.net>\nS: 250 ok\n\
                     C: DATA\nS: 354 go on\nC: again\nC: .\nS: 250 ok\n";
    let lock_step = format!("{lock_step}{lock_step}C: QUIT\nS: 221 bye");
    let at_dot = format!("{ENVELOPE}{TAKEN}C: one\nC: .\n{ENVELOPE}");
    let places = [
        (Pipelining::Group, ENVELOPE.to_owned()),
        (Pipelining::Group, format!("{ENVELOPE}S: 250 ok\n")),
        (Pipelining::Group, format!("{ENVELOPE}S: 250 ok\nS: 250 ok\n")),
        (Pipelining::Across, at_dot.clone()),
        (Pipelining::Across, format!("{at_dot}S: 250 ok\n")),
        (Pipelining::Across, format!("{at_dot}S: 250 ok\nS: 250 ok\n")),
        (Pipelining::Across, format!("{at_dot}S: 250 ok\nS: 250 ok\nS: 250 ok\n")),
    ];
    for (pipelining, place) in places {
        for failure in ["S: 503 5.5.1 pipelined", "!close", "!stall"] {
            let script = format!("{place}{failure}");
            let settings = config::RelayConfig { pipelining, ..settings() };
            let pace = Arc::new(RelayPace::new(pipelining));
            let messages = vec![message(1, "one"), message(2, "two")];
            let first = run_at(pace.clone(), self::pipelining(), settings.clone(), &script, messages).await;
            first.result.unwrap();
            assert!(first.given.reports.iter().all(|report| report.lost_at.is_none()), "{script}");
            assert!(first.given.told().iter().all(|told| told.contains("untold") || told.contains("sent")));
            assert_eq!(
                first.given.told()[0].contains('?'),
                place == at_dot,
                "in doubt behind a dot: {script}"
            );

            let messages = vec![message(1, "again"), message(2, "again")];
            let second = run_at(pace, self::pipelining(), settings, &lock_step, messages).await;
            second.result.unwrap();
            assert_eq!(second.given.told(), ["1/0 sent 2.0.0 250 ok", "2/0 sent 2.0.0 250 ok"], "{script}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn in_lock_step_the_same_failures_are_trouble_at_their_place() {
    let places = [
        (Phase::Mail, ""),
        (Phase::Rcpt, "S: 250 ok\nC: RCPT TO:<ben@example.net>\n"),
        (Phase::Data, "S: 250 ok\nC: RCPT TO:<ben@example.net>\nS: 250 ok\nC: DATA\n"),
    ];
    let settings = config::RelayConfig { pipelining: Pipelining::Off, ..settings() };
    for (phase, place) in places {
        for failure in ["S: 503 5.5.1 no", "!close", "!stall"] {
            let script = format!("C: MAIL FROM:<ann@example.org>\n{place}{failure}");
            let ended = run_with(pipelining(), settings.clone(), &script, vec![message(1, "one")]).await;
            assert_eq!(ended.result.unwrap_err().phase, phase, "{script}");
            assert_eq!(ended.given.told(), ["1/0 untold 4.4.2"], "{script}");
            assert_eq!(ended.given.reports[0].lost_at, Some(phase), "{script}");
        }
    }
}

/// A relay that limits the messages of a connection and hangs up is not slow, and is not slowed down.
#[tokio::test(start_paused = true)]
async fn a_relay_that_takes_leave_keeps_its_pace() {
    let pace = Arc::new(RelayPace::new(Pipelining::Group));
    let script = format!("{ENVELOPE}{TAKEN}C: one\nC: .\nS: 250 ok\n{ENVELOPE}!close");
    let messages = vec![message(1, "one"), message(2, "two")];
    let ended = run_at(pace.clone(), pipelining(), settings(), &script, messages).await;
    ended.result.unwrap();
    assert_eq!(ended.given.told(), ["1/0 sent 2.0.0 250 ok", "2/0 untold 4.4.2"]);
    assert_eq!(pace.now(true), Pipelining::Group);
}

/// What `tests/relays/*.smtp` say: what the relay offers, how it is written to, the messages (from ann@example.org;
/// `asking` for ENVID=x1 and a notice of success), the script, what is reported, how the connection ends (`ok`, or the
/// trouble's phase), and what the relay still hears.
struct Case {
    offered: Capabilities,
    settings: config::RelayConfig,
    messages: Vec<Transaction>,
    script: String,
    reports: Vec<String>,
    end: String,
    rest: String,
}

fn case(text: &str) -> Case {
    let mut case = Case {
        offered: Capabilities::default(),
        settings: settings(),
        messages: vec![],
        script: String::new(),
        reports: vec![],
        end: String::new(),
        rest: String::new(),
    };
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        match line.split_once(' ').unwrap_or((line, "")) {
            ("offers", "PIPELINING") => case.offered.pipelining = true,
            ("offers", "DSN") => case.offered.dsn = true,
            ("asking", asking) => {
                let mut message = written(asking);
                message.recipients.iter_mut().for_each(|(_, to)| to.notify = ON_SUCCESS);
                message.envid = Some("x1".into());
                case.messages.push(message);
            }
            ("pipelining", "across") => case.settings.pipelining = Pipelining::Across,
            ("message", message) => case.messages.push(written(message)),
            ("report", report) => case.reports.push(report.into()),
            ("end", end) => case.end = end.into(),
            ("rest", rest) => case.rest = format!("{rest}\r\n"),
            _ => case.script.extend([line, "\n"]),
        }
    }
    case
}

const ON_SUCCESS: Notify = Notify::On { success: true, failure: true, delay: false };

/// `1 ben@example.net cara@example.net: content`
fn written(message: &str) -> Transaction {
    let (envelope, content) = message.split_once(": ").unwrap();
    let (id, to) = envelope.split_once(' ').unwrap();
    let to: Vec<&str> = to.split(' ').collect();
    transaction(id.parse().unwrap(), "ann@example.org", &to, &format!("{content}\r\n"))
}

#[tokio::test(start_paused = true)]
async fn transcripts() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/relays");
    let mut played = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        let case = case(&std::fs::read_to_string(&path).unwrap());
        let ended = run_with(case.offered, case.settings, &case.script, case.messages).await;
        let end = ended.result.err().map_or("ok".into(), |trouble| trouble.phase.to_string());
        assert_eq!(ended.given.told(), case.reports, "{}", path.display());
        assert_eq!((end, ended.rest), (case.end, case.rest), "{}", path.display());
        played += 1;
    }
    assert!(played > 20, "{played} transcripts in {directory}");
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

/// A refusal in the midst of a large content: no more of it is written, above all no final dot.
#[tokio::test(start_paused = true)]
async fn an_early_refusal_of_the_content_defers() {
    let line = "x".repeat(998);
    let content = format!("{line}\r\n").repeat(1000);
    let large = transaction(1, "ann@example.org", &["ben@example.net"], &content);
    let script = format!("{ENVELOPE}{TAKEN}C: {line}\nS: 552 5.3.4 too big\n");
    let ended = run(pipelining(), &script, vec![large, message(2, "two")]).await;
    ended.result.unwrap();
    assert_eq!(ended.given.told(), ["1/0 deferred 4.5.3 552 5.3.4 too big"]);
    assert_eq!(ended.given.messages.len(), 1);
    assert!(!ended.rest.contains("\r\n.\r\n") && ended.rest.len() < content.len());
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

/// What was lost: with the dot sent all the same, half a message is delivered and the whole removed.
#[tokio::test(start_paused = true)]
async fn a_message_is_never_cut_short() {
    let script = format!("{ENVELOPE}{TAKEN}");
    for good in [0, 10, 200_000] {
        let mut torn = message(1, "one");
        torn.content = Box::new(Failing { good });
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

#[tokio::test(start_paused = true)]
async fn what_the_relay_cannot_take_is_not_offered_to_it() {
    let offered = Capabilities { size: true, size_limit: Some(20), ..pipelining() };
    let mut mixed = transaction(2, "ann@example.org", &["ben@exämple.net", "cara@example.net"], "hello\r\n");
    mixed.needs_smtputf8 = true;
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

/// A relay that ended a session by other words than 421, or at another place than MAIL, deferred the message it was
/// given there, or was paused.
#[tokio::test(start_paused = true)]
async fn a_connection_that_has_served_may_be_ended_at_any_command() {
    let served = format!("{ENVELOPE}{TAKEN}C: one\nC: .\nS: 250 2.0.0 ok\n");
    let mail = "C: MAIL FROM:<ann@example.org>\n";
    let (rcpt, data) = ("S: 250 ok\nC: RCPT TO:<ben@example.net>\n", "S: 250 ok\nC: DATA\n");
    let content = "S: 354 go on\nC: two\n";
    let places = [
        (Phase::Mail, mail.to_owned()),
        (Phase::Rcpt, format!("{mail}{rcpt}")),
        (Phase::Data, format!("{mail}{rcpt}{data}")),
        (Phase::Dot, format!("{mail}{rcpt}{data}{content}C: .\n")),
    ];
    let served_in_lock_step = format!("{mail}{rcpt}{data}S: 354 go on\nC: one\nC: .\nS: 250 2.0.0 ok\n");
    for leave in ["421 4.7.0 bye", "421 bye", "451 4.4.2 idle for too long", "450 4.4.2 bye"] {
        for (phase, place) in &places {
            let script = format!("{served_in_lock_step}{place}S: {leave}\n!close");
            let messages = vec![message(1, "one"), message(2, "two")];
            let ended = run(Capabilities::default(), &script, messages).await;
            assert!(ended.result.is_ok(), "{script}: {:?}", ended.result);
            let told = ended.given.told();
            assert!(told[0].contains("sent") && told[1].contains("untold"), "{script}: {told:?}");
            assert_eq!(ended.given.reports[1].lost_at, None, "{script}");
            assert_eq!(ended.given.reports[1].left_at, Some(*phase), "{script}");
            assert!(!ended.given.reports[1].possible_duplicate, "{script}");
        }
        let unasked = format!("{served}S: {leave}\n!close");
        let ended = run(pipelining(), &unasked, vec![message(1, "one"), message(2, "two")]).await;
        assert!(ended.result.is_ok(), "{unasked}: {:?}", ended.result);
        assert!(ended.given.told().iter().skip(1).all(|told| told.contains("untold")), "{unasked}");

        let fresh = format!("{mail}S: {leave}\n!close");
        let ended = run(Capabilities::default(), &fresh, vec![message(1, "one")]).await;
        assert!(
            ended.result.is_err() || ended.given.told()[0].contains("deferred"),
            "{fresh}: a first one counts"
        );
    }
}

/// A relay that ended a session in the midst of a message had it deferred, or was paused.
#[tokio::test(start_paused = true)]
async fn a_connection_that_has_served_may_be_ended_in_the_content() {
    let line = "x".repeat(998);
    let content = format!("{line}\r\n").repeat(1000);
    let large = |id| transaction(id, "ann@example.org", &["ben@example.net"], &content);
    let served = format!("{ENVELOPE}{TAKEN}C: one\nC: .\nS: 250 2.0.0 ok\n");
    for leave in ["S: 421 bye\n", "S: 451 4.4.2 timeout\n", ""] {
        let cut = format!("{ENVELOPE}{TAKEN}C: {line}\n{leave}!close");
        let script = format!("{served}{cut}");
        let ended = run(pipelining(), &script, vec![message(1, "one"), large(2), message(3, "three")]).await;
        assert!(ended.result.is_ok(), "{leave}: {:?}", ended.result);
        assert_eq!(ended.given.told(), ["1/0 sent 2.0.0 250 2.0.0 ok", "2/0 untold 4.4.2"], "{leave}");
        let report = &ended.given.reports[1];
        assert_eq!((report.left_at, report.lost_at), (Some(Phase::Content), None), "{leave}");

        let ended = run(pipelining(), &cut, vec![large(1)]).await;
        let is_charged = ended.result.is_err() || ended.given.told()[0].contains("deferred");
        assert!(is_charged && ended.given.reports[0].left_at.is_none(), "{leave}: a first one counts");
    }
}

/// Each connection whose QUIT was not answered kept the next one from being opened for ten seconds.
#[tokio::test(start_paused = true)]
async fn an_unanswered_quit_holds_up_nobody() {
    let begun = tokio::time::Instant::now();
    let (near, far) = wire("192.0.2.5:587");
    let settings = config::RelayConfig { idle: Duration::ZERO, ..settings() };
    let channel = Channel::new(Verified::assumed(near), peer(), settings.timeouts.clone());
    let mut given = Given::new(vec![]);
    let silent = tokio::spawn(async move { play(far, "C: QUIT\n!stall").await });
    Connection::new(channel, pipelining(), &settings).run(&mut given).await.unwrap();
    assert!(begun.elapsed() <= Duration::from_secs(1), "{:?}", begun.elapsed());
    silent.abort();
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_kept_for_a_while_and_then_closed() {
    let begun = tokio::time::Instant::now();
    let ended = run(pipelining(), "C: QUIT\nS: 221 bye", vec![]).await;
    ended.result.unwrap();
    assert_eq!(begun.elapsed(), settings().idle);
}
