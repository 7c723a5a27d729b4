//! `mailq`: lists the queue in the format of Postfix, for people and for the scripts of monitoring systems.
//!
//! ```text
//! ----Queue ID----- --Size-- ---Arrival Time---- --Sender/Recipient------
//! 18A4F1C9A02B3D40*     4096 Sat Nov 21 02:10:00 root@example.org
//!                                                               (450 4.2.1 busy)
//!                                                ann@example.org
//!
//! -- 4 Kbytes in 1 Request.
//! ```
//! `*` after the queue id means that the message is being delivered, `!` that it is held, on hold or dead. A reason applies to the
//! recipients below it.
//!
//! Promises: text from outside cannot forge a line. The list is streamed, so that even a million messages need little
//! memory.
//!
//! Not here: which messages a user may see (`admin/rights.rs`). Files in the drop directory are not messages yet.

use std::io::Write;
use std::path::Path;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::control_client::{self, ClientError};
use super::exit::{Exit, Failure};
use super::output::printed;
use super::queue::of_yours;
use crate::admin::protocol::{ControlRequest, MessageState, QueuedMessage};
use crate::log::Foreign;

const HEADING: &str = "----Queue ID----- --Size-- ---Arrival Time---- --Sender/Recipient------";

/// The column at which reasons end.
const REASON_COLUMNS: usize = 76;

/// Writes the list of messages from the daemon at the control socket.
pub(super) fn list(control: &Path, out: &mut dyn Write) -> Result<(), Failure> {
    let zone = TimeZone::system();
    let (mut messages, mut octets) = (0_u64, 0_u64);
    let rest = control_client::ask(control, &ControlRequest::whole_queue(), &mut |message: QueuedMessage| {
        writeln!(out, "{}", if messages == 0 { HEADING } else { "" })?;
        (messages, octets) = (messages + 1, octets + message.size);
        out.write_all(entry(&message, &zone).as_bytes())
    })
    .map_err(failure)?;
    printed(writeln!(out, "{}", summary(messages, octets, rest.hidden)))
}

fn failure(error: ClientError) -> Failure {
    Failure::new(Exit::of(&error), format!("queue report unavailable: {error}"))
}

/// Returns the lines for a message and its recipients.
fn entry(message: &QueuedMessage, zone: &TimeZone) -> String {
    let mark = match message.state {
        MessageState::Active => "*",
        MessageState::Held | MessageState::OnHold | MessageState::Dead => "!",
        MessageState::Ready | MessageState::Deferred => "",
    };
    let from = if message.from.is_empty() { "MAILER-DAEMON" } else { &message.from };
    let id = format!("{}{mark}", message.id);
    let arrived = arrival(&message.arrived, zone);
    let mut text = format!("{id:17} {:>8} {arrived:19} {}\n", message.size, Foreign(from));
    for (reason, recipients) in message.by_reason() {
        if let Some(reason) = reason {
            let reason = Foreign(reason).to_string();
            let padding = REASON_COLUMNS.saturating_sub(reason.chars().count());
            text += &format!("{:padding$}({reason})\n", "");
        }
        for recipient in recipients {
            text += &format!("{:46} {}\n", "", Foreign(recipient));
        }
    }
    text
}

/// Returns the time in the form `Sat Nov 21 02:10:00`, in the time zone of this host; unchanged if it is not a time.
fn arrival(arrived: &str, zone: &TimeZone) -> String {
    let time = arrived.parse::<Timestamp>().map(|time| time.to_zoned(zone.clone()));
    time.map_or_else(|_| Foreign(arrived).to_string(), |time| time.strftime("%a %b %e %H:%M:%S").to_string())
}

/// Returns the last lines. If there are messages that the user may not see, a line with the number of all messages comes
/// before the line of Postfix, because scripts read the last line.
fn summary(messages: u64, octets: u64, hidden: u64) -> String {
    let of_yours = format!("-- {}.", of_yours(messages, hidden));
    let listed = match messages {
        0 if hidden == 0 => return "Mail queue is empty".into(),
        0 => return of_yours,
        1 => format!("-- {} Kbytes in 1 Request.", octets / 1024),
        _ => format!("-- {} Kbytes in {messages} Requests.", octets / 1024),
    };
    if hidden == 0 { format!("\n{listed}") } else { format!("\n{of_yours}\n{listed}") }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;
    use crate::admin::protocol::{Frame, QueuedRecipient};

    fn recipient(address: &str, reason: Option<&str>) -> QueuedRecipient {
        QueuedRecipient { address: address.into(), route: None, reason: reason.map(str::to_owned) }
    }

    fn message(state: MessageState) -> QueuedMessage {
        QueuedMessage {
            id: "18A4F1C9A02B3D40".into(),
            state,
            held_by: None,
            original_from: None,
            marked: None,
            uid: None,
            from: "root@example.org".into(),
            recipients: vec![recipient("ann@example.org", None), recipient("bob@example.org", None)],
            size: 4096,
            arrived: "2026-11-01T02:10:00Z".into(),
            age: 60,
            next_attempt: None,
            reason: None,
        }
    }

    /// Returns the output of `list` if the daemon answers with these frames.
    fn listed(frames: Vec<Frame>) -> (Result<(), Failure>, String) {
        let (outcome, out) = listed_to(frames, Vec::new());
        (outcome, String::from_utf8(out).unwrap())
    }

    fn listed_to<W: Write>(frames: Vec<Frame>, mut out: W) -> (Result<(), Failure>, W) {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("control.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let daemon = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = String::new();
            BufReader::new(&stream).read_line(&mut request).unwrap();
            assert_eq!(request, "{\"command\":\"queue-list\"}\n");
            for frame in frames {
                // Whoever asked may have gone.
                let _ = writeln!(stream, "{}", serde_json::to_string(&frame).unwrap());
            }
        });
        let outcome = list(&socket, &mut out);
        daemon.join().unwrap();
        (outcome, out)
    }

    fn item(message: &QueuedMessage) -> Frame {
        Frame::Item(serde_json::to_value(message).unwrap())
    }

    #[test]
    fn two_messages_in_postfix_s_shape() {
        let bounce = QueuedMessage {
            from: String::new(),
            recipients: vec![recipient(
                "postmaster@example.org",
                Some("connect to mx[192.0.2.1]:587: refused"),
            )],
            ..message(MessageState::Active)
        };
        let zone = TimeZone::UTC;
        assert_eq!(
            format!(
                "{HEADING}\n{}\n{}{}\n",
                entry(&message(MessageState::Ready), &zone),
                entry(&bounce, &zone),
                summary(2, 8192, 0)
            ),
            "----Queue ID----- --Size-- ---Arrival Time---- --Sender/Recipient------\n\
             18A4F1C9A02B3D40      4096 Sun Nov  1 02:10:00 root@example.org\n\
             \u{20}                                              ann@example.org\n\
             \u{20}                                              bob@example.org\n\
             \n\
             18A4F1C9A02B3D40*     4096 Sun Nov  1 02:10:00 MAILER-DAEMON\n\
             \u{20}                                      (connect to mx[192.0.2.1]:587: refused)\n\
             \u{20}                                              postmaster@example.org\n\
             \n\
             -- 8 Kbytes in 2 Requests.\n"
        );
    }

    /// Of several recipients only the first one's reason was shown.
    #[test]
    fn each_recipient_stands_below_its_own_reason() {
        let several = QueuedMessage {
            recipients: vec![
                recipient("ann@example.org", Some("450 4.2.1 busy")),
                recipient("bob@example.org", Some("451 4.7.1 greylisted")),
                recipient("cat@example.org", Some("450 4.2.1 busy")),
                recipient("dan@example.org", None),
            ],
            ..message(MessageState::Deferred)
        };
        let text = entry(&several, &TimeZone::UTC);
        let words: Vec<&str> = text.lines().skip(1).map(str::trim_start).collect();
        assert_eq!(
            words,
            [
                "(450 4.2.1 busy)",
                "ann@example.org",
                "cat@example.org",
                "(451 4.7.1 greylisted)",
                "bob@example.org",
                "dan@example.org"
            ]
        );
    }

    #[test]
    fn what_cannot_be_read_has_a_reason_and_no_recipient() {
        let damaged = QueuedMessage {
            recipients: vec![],
            reason: Some("damaged".into()),
            ..message(MessageState::Dead)
        };
        let text = entry(&damaged, &TimeZone::UTC);
        assert_eq!(text.lines().nth(1).map(str::trim_start), Some("(damaged)"), "{text}");
    }

    #[test]
    fn a_listing_from_its_heading_to_its_summary() {
        let (outcome, text) = listed(vec![
            item(&message(MessageState::Held)),
            item(&message(MessageState::Ready)),
            Frame::Done,
        ]);
        outcome.unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines[0], lines[4], lines.len()), (HEADING, "", 10), "{text}");
        assert!(lines[1].starts_with("18A4F1C9A02B3D40!     4096 "), "{text}");
        assert_eq!(lines[9], "-- 8 Kbytes in 2 Requests.");
    }

    /// `mailq` said to a user who may see none of the messages that the queue is empty.
    #[test]
    fn what_may_not_be_seen_is_counted() {
        let (outcome, text) = listed(vec![Frame::Hidden(3), Frame::Done]);
        outcome.unwrap();
        assert_eq!(text, "-- 0 of yours, 3 in all.\n");
        let (_, text) = listed(vec![item(&message(MessageState::Ready)), Frame::Hidden(2), Frame::Done]);
        assert!(text.ends_with("\n\n-- 1 of yours, 3 in all.\n-- 4 Kbytes in 1 Request.\n"), "{text}");
    }

    /// `mailq | head` said "Broken pipe".
    #[test]
    fn a_reader_that_has_seen_enough_is_no_failure() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let (outcome, _) = listed_to(
            vec![item(&message(MessageState::Ready)), item(&message(MessageState::Ready)), Frame::Done],
            Closed,
        );
        outcome.unwrap();
    }

    #[test]
    fn an_empty_queue_says_so() {
        let (outcome, text) = listed(vec![Frame::Done]);
        outcome.unwrap();
        assert_eq!(text, "Mail queue is empty\n");
    }

    #[test]
    fn a_listing_that_broke_off_is_no_listing() {
        let (outcome, text) = listed(vec![item(&message(MessageState::Ready))]);
        assert_eq!(outcome.unwrap_err().exit(), Exit::TempFail);
        assert!(!text.contains("Request"), "{text}");
        let (outcome, _) = listed(vec![Frame::Error("not for you".into())]);
        assert!(outcome.unwrap_err().to_string().contains("not for you"));
    }

    #[test]
    fn without_a_daemon_it_is_unavailable() {
        let failure = list(Path::new("/nonexistent/control.sock"), &mut Vec::new()).unwrap_err();
        assert_eq!(failure.exit(), Exit::Unavailable);
    }

    #[test]
    fn foreign_text_stays_in_its_line() {
        let hostile = QueuedMessage {
            from: "a\n-- 0 Kbytes".into(),
            recipients: vec![recipient("b\u{1b}[2J", Some("450 x\r\ny"))],
            arrived: "yester\nday".into(),
            ..message(MessageState::Deferred)
        };
        let text = entry(&hostile, &TimeZone::UTC);
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }
}
