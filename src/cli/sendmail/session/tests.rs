use std::time::Duration;

use super::super::ways::Way;
use super::*;
use crate::far_end::server::daemon;
use crate::smtp::bsmtp;

const PATIENCE: AnswerLimits = AnswerLimits {
    greeting: Duration::from_secs(30),
    reply: Duration::from_secs(30),
    end_of_data: Duration::from_secs(30),
    busy: &[],
    silent: Duration::ZERO,
};

const DIALOGUE: &[u8] = b"EHLO me\r\nMAIL FROM:<root>\r\nRCPT TO:<ann@example.org>\r\nDATA\r\n\
                          Subject: x\r\n\r\n..\r\n.\r\nQUIT\r\n";

fn ways(directory: &std::path::Path) -> Ways {
    Ways {
        to_daemon: vec![Way::Socket(directory.join("socket"))],
        drop_directory: Some(directory.join("drop")),
        ..Ways::default()
    }
}

fn held(ways: &Ways, input: &'static [u8]) -> (Result<(), Failure>, String) {
    let mut output = Vec::new();
    let outcome = hold(ways, PATIENCE, input, &mut output);
    (outcome, String::from_utf8(output).unwrap())
}

/// Returns the codes of a session's replies.
fn codes(output: &str) -> Vec<&str> {
    output.lines().filter(|line| line.as_bytes().get(3) == Some(&b' ')).map(|line| &line[..3]).collect()
}

fn dropped(directory: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory.join("drop")).unwrap();
    entries.map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap()).collect()
}

#[test]
fn with_the_daemon_up_it_is_the_daemons_session() {
    let directory = tempfile::tempdir().unwrap();
    let script = &["220-first\r\n220 second", "250 h", "250 a", "250 b", "354 go on", "250 c", "221 bye"];
    let daemon = daemon(&directory.path().join("socket"), script);
    let (outcome, output) = held(&ways(directory.path()), DIALOGUE);
    outcome.unwrap();
    assert_eq!(daemon.join().unwrap().as_bytes(), DIALOGUE);
    assert_eq!(
        output,
        "220-first\r\n220 second\r\n250 h\r\n250 a\r\n250 b\r\n354 go on\r\n250 c\r\n221 bye\r\n"
    );
}

#[test]
fn with_the_daemon_down_messages_are_left_for_it() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("drop")).unwrap();
    let (outcome, output) = held(&ways(directory.path()), DIALOGUE);
    outcome.unwrap();
    assert_eq!(codes(&output), ["220", "250", "250", "250", "354", "250", "221"], "{output}");
    let files = dropped(directory.path());
    assert!(files.len() == 1 && bsmtp::is_whole(files[0].as_bytes()), "{files:?}");
    assert!(
        files[0].contains("RCPT TO:<ann@example.org>\r\nDATA\r\nSubject: x\r\n\r\n..\r\n.\r\n"),
        "{files:?}"
    );
}

/// A dot on a line of its own ended no data: the session waited for more, and for ever.
#[test]
fn a_person_at_a_terminal_ends_data_with_a_dot() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("drop")).unwrap();
    let input = b"EHLO me\nMAIL FROM:<root>\nRCPT TO:<ann>\nDATA\nSubject: x\n\nbody\n.\nQUIT\n";
    let (outcome, output) = held(&ways(directory.path()), input);
    outcome.unwrap();
    assert_eq!(codes(&output), ["220", "250", "250", "250", "354", "250", "221"], "{output}");
    let files = dropped(directory.path());
    assert!(files.len() == 1 && files[0].contains("\r\nSubject: x\r\n\r\nbody\r\n.\r\n"), "{files:?}");
}

#[test]
fn only_a_client_that_begins_with_bare_line_feeds_has_them_mended() {
    for (octets, expected) in [
        ("EHLO a\nDATA\nx\n.\n", "EHLO a\r\nDATA\r\nx\r\n.\r\n"),
        ("EHLO a\nx\r\n.\r\n", "EHLO a\r\nx\r\n.\r\n"),
        ("EHLO a\r\nx\n.\n", "EHLO a\r\nx\n.\n"),
        ("\nx\n", "\r\nx\r\n"),
        ("x\ry\r\nz\n", "x\ry\r\nz\n"),
    ] {
        for piece in [1, 2, 3, octets.len()] {
            let mut line_ends = LineEnds::default();
            let pieces = octets.as_bytes().chunks(piece);
            let mended: Vec<u8> = pieces.flat_map(|piece| line_ends.mended(piece).into_owned()).collect();
            assert_eq!(String::from_utf8(mended).unwrap(), expected, "{octets:?} by {piece}");
        }
    }
}

#[test]
fn with_a_daemon_that_is_busy_messages_are_left_for_it() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("drop")).unwrap();
    let daemon = daemon(&directory.path().join("socket"), &["421 4.3.2 too many sessions"]);
    let second = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    second.set_nonblocking(true).unwrap();
    let mut ways = ways(directory.path());
    ways.to_daemon.push(Way::Tcp(second.local_addr().unwrap()));
    let (outcome, output) = held(&ways, DIALOGUE);
    outcome.unwrap();
    daemon.join().unwrap();
    assert!(output.starts_with("220 ") && dropped(directory.path()).len() == 1, "{output}");
    assert_eq!(
        second.accept().unwrap_err().kind(),
        io::ErrorKind::WouldBlock,
        "where nobody knows whose it is"
    );
}

#[test]
fn what_the_client_does_not_finish_is_not_left() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("drop")).unwrap();
    let input = b"EHLO me\r\nMAIL FROM:<>\r\nRCPT TO:<a>\r\nDATA\r\nSubject: half\r\n";
    let (outcome, output) = held(&ways(directory.path()), input);
    outcome.unwrap();
    assert_eq!(codes(&output), ["220", "250", "250", "250", "354"], "{output}");
    assert_eq!(dropped(directory.path()).len(), 0);
}

#[test]
fn without_a_place_to_leave_it_a_message_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (outcome, output) =
        held(&ways(directory.path()), b"EHLO me\r\nMAIL FROM:<>\r\nRCPT TO:<a>\r\nDATA\r\nQUIT\r\n");
    outcome.unwrap();
    assert_eq!(codes(&output), ["220", "250", "250", "250", "451", "221"], "{output}");
    let nowhere = Ways { drop_directory: None, ..ways(directory.path()) };
    let daemon = daemon(&directory.path().join("socket"), &["421 4.3.2 too many sessions"]);
    let (outcome, output) = held(&nowhere, b"QUIT\r\n");
    daemon.join().unwrap();
    let failure = outcome.unwrap_err();
    assert_eq!((failure.exit(), output.as_str()), (Exit::TempFail, ""));
    // It said that the daemon is down.
    assert!(failure.to_string().ends_with("/socket: 421 4.3.2 too many sessions"), "{failure}");
}

/// It was 75, which says that nothing was queued, when a reply to a queued message found nobody.
#[test]
fn a_session_that_breaks_off_does_not_say_that_nothing_was_queued() {
    struct Gone;
    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("drop")).unwrap();
    let failure = hold(&ways(directory.path()), PATIENCE, DIALOGUE, &mut Gone).unwrap_err();
    assert_eq!(failure.exit(), Exit::IoError);
}
