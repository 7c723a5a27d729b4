mod large;

use std::io;
use std::time::Duration;

use super::super::input::{Input, InputEnd};
use super::super::message::{InputMessage, MessageOptions};
use super::super::overflow::Overflow;
use super::*;
use crate::envelope::{Address, Body, Notify, Recipient, ReversePath};
use crate::far_end::server::{CLOSE, STALL, daemon, daemon_of_several};
use crate::smtp::bsmtp;

const OK: &str = "250 2.0.0 ok";
const EHLO: &str = "250-h\r\n250-8BITMIME\r\n250-DSN\r\n250 SMTPUTF8";

/// Long enough for a busy machine.
const AMPLE: AnswerLimits = AnswerLimits {
    greeting: Duration::from_secs(30),
    reply: Duration::from_secs(30),
    end_of_data: Duration::from_secs(30),
    busy: &[],
    silent: Duration::ZERO,
};

/// For scripts that stall.
const SCANT: AnswerLimits = AnswerLimits {
    greeting: Duration::from_secs(1),
    reply: Duration::from_secs(1),
    end_of_data: Duration::from_secs(1),
    busy: &[],
    silent: Duration::ZERO,
};

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn envelope() -> Envelope {
    let mut envelope = Envelope::from(ReversePath::Mailbox(address("root")));
    envelope.recipients = ["ann@example.org", "bob"].map(|to| Recipient::plain(address(to))).to_vec();
    envelope
}

fn content<R: Read>(source: R) -> RewindableContent<R> {
    content_kept_in(&std::env::temp_dir(), source)
}

fn content_kept_in<R: Read>(directory: &Path, source: R) -> RewindableContent<R> {
    let overflow = Overflow::new(directory.into(), u64::MAX);
    InputMessage::read(Input::new(source, InputEnd::Dot), &MessageOptions::default(), overflow)
        .unwrap()
        .content
}

/// A place with a socket for the daemon and a drop directory.
struct Place {
    directory: tempfile::TempDir,
    ways: Ways,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let drop_directory = directory.path().join("drop");
        std::fs::create_dir(&drop_directory).unwrap();
        let ways = Ways {
            to_daemon: vec![Way::Socket(directory.path().join("socket"))],
            drop_directory: Some(drop_directory),
            ..Ways::default()
        };
        Place { directory, ways }
    }

    fn socket(&self) -> std::path::PathBuf {
        self.directory.path().join("socket")
    }

    fn dropped(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.directory.path().join("drop")).unwrap();
        entries.map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap()).collect()
    }

    fn submit(&self, limits: AnswerLimits) -> Result<(), Failure> {
        let mut content = content(&b"Subject: x\n\n.dot\nbody\n"[..]);
        submit(&self.ways, limits, &envelope(), &mut content, &mut io::sink())
    }
}

/// The outcome of a submission.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// The daemon has it.
    Queued,
    /// It is in the drop directory.
    Dropped,
    /// Nothing was queued.
    Failed(Exit),
    /// It may be queued.
    InDoubt,
}

fn end(script: &'static [&'static str], limits: AnswerLimits) -> (End, String) {
    let place = Place::new();
    let daemon = daemon(&place.socket(), script);
    let outcome = place.submit(limits);
    let said = daemon.join().unwrap();
    let dropped = place.dropped();
    assert!(dropped.iter().all(|file| bsmtp::is_whole(file.as_bytes())), "{script:?}: {dropped:?}");
    let end = match (outcome, dropped.len()) {
        (Ok(()), 0) => End::Queued,
        (Ok(()), 1) => End::Dropped,
        (Err(failure), 0) if failure.to_string().contains("possible duplicate") => {
            // It was 75, which says that nothing was queued.
            assert_eq!(failure.exit(), Exit::IoError);
            End::InDoubt
        }
        (Err(failure), 0) => {
            assert!(failure.to_string().contains("nothing was queued"), "{script:?}: {failure}");
            End::Failed(failure.exit())
        }
        other => panic!("{script:?}: {other:?}"),
    };
    (end, said)
}

#[test]
fn every_point_of_failure() {
    let cases: [(&'static [&'static str], End); 30] = [
        (&["220 h", EHLO, OK, OK, OK, "354 go on", OK, "221 bye"], End::Queued),
        (&["220 h", EHLO, OK, OK, "251 will forward", "354 go on", OK], End::Queued),
        (&["421 4.3.2 too many sessions"], End::Dropped),
        (&["554 no"], End::Dropped),
        (&["SSH-2.0-OpenSSH"], End::Dropped),
        (&[CLOSE], End::Dropped),
        (&["220 h", "502 what"], End::Dropped),
        (&["220 h", CLOSE], End::Dropped),
        (&["220 h", "421 4.3.2 stopping"], End::Dropped),
        (&["220 h", EHLO, "421 4.3.2 stopping"], End::Dropped),
        (&["220 h", EHLO, "451 4.3.0 trouble"], End::Dropped),
        (&["220 h", EHLO, OK, "451 4.7.1 too many messages from you"], End::Dropped),
        (&["220 h", EHLO, "450 4.7.1 used up"], End::Failed(Exit::TempFail)),
        (&["220 h", EHLO, OK, OK, "450 4.7.1 used up"], End::Failed(Exit::TempFail)),
        (&["220 h", EHLO, "530 5.7.0 authenticate"], End::Dropped),
        (&["220 h", EHLO, "550 5.7.1 not you"], End::Failed(Exit::Unavailable)),
        (&["220 h", EHLO, "501 5.1.7 malformed"], End::Failed(Exit::DataErr)),
        (&["220 h", EHLO, OK, "550 5.1.1 no such user"], End::Failed(Exit::NoUser)),
        (&["220 h", EHLO, OK, OK, "550 5.1.1 no such user"], End::Failed(Exit::NoUser)),
        (&["220 h", EHLO, OK, OK, "501 5.1.3 malformed"], End::Failed(Exit::DataErr)),
        (&["220 h", EHLO, OK, OK, "452 4.5.3 too many recipients"], End::Dropped),
        (&["220 h", EHLO, OK, OK, CLOSE], End::Dropped),
        (&["220 h", EHLO, OK, OK, OK, "452 4.3.1 full"], End::Dropped),
        (&["220 h", EHLO, OK, OK, OK, "554 5.6.0 no"], End::Failed(Exit::Unavailable)),
        (&["220 h", EHLO, OK, OK, OK, "250 what"], End::Dropped),
        (&["220 h", EHLO, OK, OK, OK, "354 go on", "451 4.3.0 trouble"], End::Dropped),
        (&["220 h", EHLO, OK, OK, OK, "354 go on", "552 5.3.4 too large"], End::Failed(Exit::Unavailable)),
        (&["220 h", EHLO, OK, OK, OK, "354 go on", "354 go on"], End::Dropped),
        (&["220 h", EHLO, OK, OK, OK, "354 go on", CLOSE], End::InDoubt),
        (&["220 h", EHLO, OK, OK, OK, "354 go on", "HTTP/1.1 500"], End::InDoubt),
    ];
    for (script, expected) in cases {
        assert_eq!(end(script, AMPLE).0, expected, "{script:?}");
    }
}

#[test]
fn a_daemon_that_hangs_is_as_good_as_down_until_it_has_the_dot() {
    let cases: [(&'static [&'static str], End); 4] = [
        (&[STALL], End::Dropped),
        (&["220 h", EHLO, STALL], End::Dropped),
        (&["220 h", EHLO, OK, OK, OK, STALL], End::Dropped),
        (&["220 h", EHLO, OK, OK, OK, "354 go on", STALL], End::InDoubt),
    ];
    for (script, expected) in cases {
        assert_eq!(end(script, SCANT).0, expected, "{script:?}");
    }
}

#[test]
fn what_the_daemon_is_told() {
    let (_, said) = end(&["220 h", EHLO, OK, OK, OK, "354 go on", OK, "221 bye"], AMPLE);
    assert_eq!(
        said,
        "EHLO localhost\r\nMAIL FROM:<root>\r\nRCPT TO:<ann@example.org>\r\nRCPT TO:<bob>\r\nDATA\r\n\
         Subject: x\r\n\r\n..dot\r\nbody\r\n.\r\nQUIT\r\n"
    );
}

#[test]
fn what_was_asked_for_is_passed_on_where_it_is_offered() {
    let mut envelope = envelope();
    envelope.body = Body::EightBitMime;
    envelope.recipients.truncate(1);
    envelope.recipients[0].notify = Notify::Never;
    for (ehlo, mail, rcpt) in [
        (EHLO, "MAIL FROM:<root> BODY=8BITMIME\r\n", "RCPT TO:<ann@example.org> NOTIFY=NEVER\r\n"),
        ("250 h", "MAIL FROM:<root>\r\n", "RCPT TO:<ann@example.org>\r\n"),
    ] {
        let place = Place::new();
        let script = Vec::leak(vec!["220 h", ehlo, OK, OK, "354 go on", OK]);
        let daemon = daemon(&place.socket(), script);
        submit(&place.ways, AMPLE, &envelope, &mut content(&b"x"[..]), &mut io::sink()).unwrap();
        let said = daemon.join().unwrap();
        assert!(said.contains(mail) && said.contains(rcpt), "{said}");
    }
}

#[test]
fn utf8_addresses_go_where_they_are_understood() {
    let place = Place::new();
    let mut envelope = envelope();
    envelope.recipients[0] = Recipient::plain(address("ünn@example.org"));
    envelope.smtputf8 = true;
    let daemon = daemon(&place.socket(), &["220 h", "250 h"]);
    submit(&place.ways, AMPLE, &envelope, &mut content(&b"x"[..]), &mut io::sink()).unwrap();
    daemon.join().unwrap();
    assert!(place.dropped()[0].contains("MAIL FROM:<root> SMTPUTF8\r\n"));
}

#[test]
fn the_next_way_takes_what_the_first_does_not() {
    let mut place = Place::new();
    let second = place.directory.path().join("second");
    place.ways.to_daemon.push(Way::Socket(second.clone()));
    let first = daemon(&place.socket(), &["220 h", EHLO, OK, OK, OK, CLOSE]);
    let second = daemon(&second, &["220 h", EHLO, OK, OK, OK, "354 go on", OK]);
    place.submit(AMPLE).unwrap();
    first.join().unwrap();
    assert!(second.join().unwrap().contains("Subject: x\r\n\r\n..dot\r\nbody\r\n.\r\n"));
    assert_eq!(place.dropped().len(), 0);
}

/// After the socket had refused a message for a limit, `sendmail` tried TCP, where the daemon does not know the user. And
/// for a message over a limit, or without room on the disk, it exited with 75: cron throws the mail of such a job away.
#[test]
fn what_the_daemon_does_not_take_now_is_left_and_goes_no_other_way() {
    for (script, is_left) in [
        (&["421 4.7.0 too many sessions of yours"][..], true),
        (&["220 h", EHLO, "451 4.7.1 too many messages from you"], true),
        (&["220 h", EHLO, OK, OK, OK, "452 4.3.1 full"], true),
        (&["220 h", EHLO, OK, OK, OK, "354 go on", "452 4.3.1 full"], true),
        (&["220 h", EHLO, OK, OK, OK, "354 go on", "552 5.3.4 too large"], false),
    ] {
        let mut place = Place::new();
        let second = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        second.set_nonblocking(true).unwrap();
        place.ways.to_daemon.push(Way::Tcp(second.local_addr().unwrap()));
        let first = daemon(&place.socket(), script);
        let outcome = place.submit(AMPLE);
        first.join().unwrap();
        assert_eq!(second.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock, "{script:?}");
        assert_eq!((outcome.is_ok(), place.dropped().len()), (is_left, usize::from(is_left)), "{script:?}");
    }
}

/// In a container that has the socket alone, a burst of jobs lost the mail of those for whom there was no place, and
/// a restart that of those who heard of it.
#[test]
fn a_daemon_that_is_busy_is_asked_again_where_nothing_can_be_left() {
    const BUSY: &[&str] = &["421 4.7.0 too many sessions of yours"];
    const GONE: &[&str] = &[CLOSE];
    const TAKES: &[&str] = &["220 h", EHLO, OK, OK, OK, "354 go on", OK];
    let limits = AnswerLimits { busy: &[Duration::ZERO; 2], ..AMPLE };
    for drop_directory in [None, Some("/nonexistent/drop".into())] {
        for (scripts, is_taken) in [
            (vec![BUSY, BUSY, TAKES], true),
            (vec![BUSY, GONE, TAKES], true),
            (vec![BUSY; 3], false),
            (vec![GONE], false),
        ] {
            let mut place = Place::new();
            place.ways.drop_directory.clone_from(&drop_directory);
            let daemon = daemon_of_several(&place.socket(), scripts);
            let outcome = place.submit(limits);
            let code = outcome.map_err(|failure| failure.exit());
            assert_eq!(code, if is_taken { Ok(()) } else { Err(Exit::TempFail) });
            let said = daemon.join().unwrap();
            assert_eq!(said.contains("Subject: x\r\n\r\n..dot\r\nbody\r\n.\r\n"), is_taken, "{said}");
        }
    }
}

/// If systemd holds the sockets and the daemon does not start, connections are accepted and nobody answers: `sendmail`
/// waited 20 s at each socket, and a cron job with it.
#[test]
fn a_daemon_that_says_nothing_is_asked_again_for_a_while_where_nothing_can_be_left() {
    const TAKES: &[&str] = &["220 h", EHLO, OK, OK, OK, "354 go on", OK];
    for (silent, scripts, is_taken) in [
        (Duration::from_secs(60), vec![&[STALL][..], &[STALL], TAKES], true),
        (Duration::ZERO, vec![&[STALL][..]], false),
    ] {
        let mut place = Place::new();
        place.ways.drop_directory = None;
        // It is the same daemon's: it is not asked.
        let second = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        second.set_nonblocking(true).unwrap();
        place.ways.to_daemon.push(Way::Tcp(second.local_addr().unwrap()));
        let daemon = daemon_of_several(&place.socket(), scripts);
        let greeting = Duration::from_secs(1);
        let outcome = place.submit(AnswerLimits { greeting, silent, busy: &[Duration::ZERO; 5], ..AMPLE });
        let code = outcome.map_err(|failure| failure.exit());
        assert_eq!(code, if is_taken { Ok(()) } else { Err(Exit::TempFail) });
        assert_eq!(second.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        daemon.join().unwrap();
    }
}

/// It was asked again for sixteen seconds, and said the same each time.
#[test]
fn a_daemon_that_never_takes_so_many_recipients_is_asked_once() {
    let refuses = &["220 h", EHLO, OK, OK, "452 4.5.3 too many recipients"];
    let mut place = Place::new();
    place.ways.drop_directory = None;
    let daemon = daemon(&place.socket(), refuses);
    let limits = AnswerLimits { busy: &[Duration::ZERO], ..AMPLE };
    let failure = place.submit(limits).unwrap_err();
    daemon.join().unwrap();
    assert_eq!(failure.exit(), Exit::TempFail);
    assert!(failure.to_string().ends_with("/socket: 452 4.5.3 too many recipients"), "{failure}");
}

/// `sendmail ann </dev/zero` had no end.
#[test]
fn what_is_longer_than_the_daemon_takes_is_not_sent_to_its_end() {
    let place = Place::new();
    let daemon =
        daemon(&place.socket(), &["220 h", "250-h\r\n250 SIZE 3000000", OK, OK, OK, "354 go on", OK]);
    let endless = io::repeat(b'x');
    let outcome = submit(&place.ways, AMPLE, &envelope(), &mut content(endless), &mut io::sink());
    assert_eq!(outcome.unwrap_err().exit(), Exit::Unavailable);
    assert!(!daemon.join().unwrap().ends_with("\r\n.\r\n"));
    assert_eq!(place.dropped().len(), 0);
}

#[test]
fn with_no_way_at_all_every_reason_is_said() {
    let mut place = Place::new();
    place.ways.drop_directory = Some("/nonexistent/drop".into());
    let failure = place.submit(AMPLE).unwrap_err();
    assert_eq!(failure.exit(), Exit::TempFail);
    let text = failure.to_string();
    assert!(
        text.contains("nothing was queued") && text.contains("/socket: ") && text.contains("/nonexistent"),
        "{text}"
    );
    place.ways.drop_directory = None;
    assert_eq!(place.submit(AMPLE).unwrap_err().exit(), Exit::TempFail);
}

#[test]
fn what_is_larger_than_the_daemon_takes_is_not_left_for_it() {
    let mut place = Place::new();
    place.ways.max_message_size = 10;
    let failure = place.submit(AMPLE).unwrap_err();
    assert!(
        failure.exit() == Exit::Unavailable && failure.to_string().contains("nothing was queued"),
        "{failure}"
    );
    assert_eq!(place.dropped().len(), 0);
}

#[test]
fn the_dialogue_is_shown() {
    let place = Place::new();
    let daemon =
        daemon(&place.socket(), &["220 h", "250 h", OK, OK, OK, "354 go on", "250 2.0.0 queued", "221 bye"]);
    let mut shown = Vec::new();
    submit(&place.ways, AMPLE, &envelope(), &mut content(&b"x"[..]), &mut shown).unwrap();
    daemon.join().unwrap();
    assert_eq!(
        String::from_utf8(shown).unwrap(),
        "220 h\n>>> EHLO localhost\n250 h\n>>> MAIL FROM:<root>\n250 2.0.0 ok\n\
         >>> RCPT TO:<ann@example.org>\n250 2.0.0 ok\n>>> RCPT TO:<bob>\n250 2.0.0 ok\n>>> DATA\n354 go on\n\
         >>> .\n250 2.0.0 queued\n>>> QUIT\n221 bye\n"
    );
}

#[test]
fn verifying_queues_nothing() {
    let place = Place::new();
    let daemon = daemon(&place.socket(), &["220 h", EHLO, OK, OK, "250 2.1.5 fine", OK, "221 bye"]);
    let mut out = Vec::new();
    verify(&place.ways, AMPLE, &envelope(), &mut out).unwrap();
    let (said, out) = (daemon.join().unwrap(), String::from_utf8(out).unwrap());
    assert!(said.ends_with("RSET\r\nQUIT\r\n") && !said.contains("DATA"), "{said}");
    assert!(out.contains("bob... 250 2.1.5 fine (by way of /"), "{out}");
}

#[test]
fn verifying_without_a_daemon_names_the_drop_directory() {
    let mut place = Place::new();
    let mut out = Vec::new();
    verify(&place.ways, AMPLE, &envelope(), &mut out).unwrap();
    assert!(String::from_utf8(out).unwrap().contains("bob... would be left in /"));
    assert_eq!(place.dropped().len(), 0);
    place.ways.drop_directory = None;
    assert!(verify(&place.ways, AMPLE, &envelope(), &mut io::sink()).is_err());
}

/// `-bv` said that the daemon is down when it had no place for another session, and gave up where a message
/// would have gone another way.
#[test]
fn verifying_goes_the_way_of_a_message_and_says_why() {
    for (script, why) in [
        (
            &["421 4.3.2 too many sessions, try again later"][..],
            "421 4.3.2 too many sessions, try again later",
        ),
        (&["220 h", EHLO, OK, OK, "452 4.5.3 too many recipients"], "452 4.5.3 too many recipients"),
        (&["220 h", EHLO, "530 5.7.0 authenticate"], "530 5.7.0 authenticate"),
        (&["220 h", EHLO, OK, CLOSE], "connection lost"),
    ] {
        let place = Place::new();
        let daemon = daemon(&place.socket(), script);
        let mut out = Vec::new();
        verify(&place.ways, AMPLE, &envelope(), &mut out).unwrap();
        daemon.join().unwrap();
        let (socket, drop) = (place.socket(), place.directory.path().join("drop"));
        let left = format!("would be left in {}: {}: {why}\n", drop.display(), socket.display());
        assert_eq!(String::from_utf8(out).unwrap(), format!("ann@example.org... {left}bob... {left}"));
    }
}

#[test]
fn verifying_tells_who_was_taken_before_who_was_not() {
    let place = Place::new();
    let daemon = daemon(&place.socket(), &["220 h", EHLO, OK, "250 2.1.5 fine", "550 5.1.1 no such user"]);
    let mut out = Vec::new();
    let failure = verify(&place.ways, AMPLE, &envelope(), &mut out).unwrap_err();
    daemon.join().unwrap();
    assert_eq!(failure.exit(), Exit::NoUser);
    assert!(String::from_utf8(out).unwrap().starts_with("ann@example.org... 250 2.1.5 fine"));
}

#[test]
fn flushing_is_an_etrn() {
    let place = Place::new();
    assert_eq!(flush(&place.ways, AMPLE, &mut io::sink()).unwrap_err().exit(), Exit::Unavailable);
    let daemon = daemon(&place.socket(), &["220 h", EHLO, "250 2.0.0 queueing started", "221 bye"]);
    flush(&place.ways, AMPLE, &mut io::sink()).unwrap();
    assert_eq!(daemon.join().unwrap(), "EHLO localhost\r\nETRN localhost\r\nQUIT\r\n");
}
