//! Tests of the contract with the shell. The cases of what clients send are in `tests/dialogs/`.

use super::MessageRefusal::Host;
use super::*;

mod model;

struct Stored;

impl Durable for Stored {
    fn queue_id(&self) -> String {
        "1".into()
    }
}

fn session() -> Session<Stored> {
    Session::new(Arc::new(SessionPolicy {
        hostname: "mx.test".into(),
        max_message_size: 1_000_000,
        max_recipients: 10,
        extensions: ServiceExtension::ALL.into(),
        starttls: true,
        auth: Some(AuthOffer::of(["PLAIN"], AuthCover::Nothing)),
        max_errors: 5,
        max_junk_commands: 50,
    }))
}

/// Sends all of `text` and takes each action, without answering any.
fn say(session: &mut Session<Stored>, text: &str) -> SessionAction {
    let mut rest = text.as_bytes();
    let mut last = SessionAction::Wait;
    loop {
        let (consumed, action) = session.advance(rest);
        rest = &rest[consumed..];
        if action == SessionAction::Wait {
            return last;
        }
        last = action;
    }
}

const UP_TO_DATA: &str = "EHLO c\r\nMAIL FROM:<ann@example.org> SIZE=500\r\nRCPT TO:<root>\r\nDATA\r\n";

#[test]
fn said_outside_the_dialogue() {
    let session = session();
    assert_eq!(session.greeting().to_string(), "220 mx.test ESMTP nullmta");
    assert!(session.idle_timeout().to_string().starts_with("421 4.4.2 "));
    assert!(session.shutting_down().to_string().starts_with("421 4.3.2 "));
}

/// The accept path is fast only if content is passed on in runs as large as they were read.
#[test]
fn a_message_read_whole_is_one_content_and_one_commit() {
    let mut session = session();
    say(&mut session, UP_TO_DATA);
    session.opened();
    let message = format!("{}.\r\nQUIT\r\n", "seventy-six octets of text and a line end\r\n".repeat(100));
    let content = message.len() - ".\r\nQUIT\r\n".len();
    let (consumed, action) = session.advance(message.as_bytes());
    assert_eq!(
        (consumed, &action),
        (content + 3, &SessionAction::Content(message.as_bytes()[..content].to_vec()))
    );
    assert_eq!(session.advance(b"QUIT\r\n"), (0, SessionAction::Commit));
    assert_eq!(session.committed(&Stored).to_string(), "250 2.0.0 Ok: queued as 1");
}

#[test]
fn nothing_is_read_while_the_shell_owes_an_answer() {
    for (text, awaited) in [
        (UP_TO_DATA, "Open"),
        ("EHLO c\r\nAUTH PLAIN\r\n", "AuthStart"),
        ("EHLO c\r\nSTARTTLS\r\n", "StartTls"),
    ] {
        let mut session = session();
        let action = format!("{:?}", say(&mut session, text));
        assert!(action.starts_with(awaited), "{action}");
        assert_eq!(session.advance(b"QUIT\r\n"), (0, SessionAction::Wait), "{awaited}");
        assert!(!session.is_idle(), "{awaited}");
    }
}

#[test]
fn what_the_shell_may_ask_for_when_it_opens_an_intake() {
    let mut data = session();
    say(&mut data, UP_TO_DATA);
    assert_eq!((data.declared_size(), data.protocol(), data.helo()), (500, "ESMTP", Some("c")));
    let mut chunk = session();
    say(&mut chunk, "HELO c\r\nMAIL FROM:<> SIZE=500 SMTPUTF8\r\nRCPT TO:<root>\r\nBDAT 600\r\n");
    assert_eq!((chunk.declared_size(), chunk.protocol()), (600, "UTF8SMTP"));
    assert_eq!((session().declared_size(), session().protocol(), session().helo()), (0, "SMTP", None));
}

#[test]
fn idle_only_between_transactions() {
    let mut session = session();
    assert!(session.is_idle());
    say(&mut session, "EHLO c\r\n");
    assert!(session.is_idle());
    say(&mut session, "MAIL FROM:<>\r\n");
    assert!(!session.is_idle());
    say(&mut session, "RCPT TO:<root>\r\nDATA\r\n");
    session.opened();
    say(&mut session, "x\r\n.\r\n");
    assert!(!session.is_idle(), "the commit is awaited");
    session.committed(&Stored);
    assert!(session.is_idle());
    say(&mut session, "QUIT\r\n");
    assert!(session.is_idle(), "a client that took its leave broke nothing off");
}

#[test]
fn a_failure_at_the_last_octet_still_refuses_the_message() {
    let mut session = session();
    say(&mut session, UP_TO_DATA);
    session.opened();
    assert_eq!(session.advance(b"x\r\n.\r\n"), (6, SessionAction::Content(b"x\r\n".to_vec())));
    session.content_failed(Host(HostTrouble::NoRoom));
    assert_eq!(
        session.advance(b""),
        (0, SessionAction::Reply(Answered::EndOfData, Host(HostTrouble::NoRoom).reply()))
    );
    assert!(session.is_idle());
}

#[test]
fn a_421_from_the_shell_is_the_last_word() {
    let mut session = session();
    say(&mut session, UP_TO_DATA);
    assert_eq!(
        session.not_opened(Host(HostTrouble::ShuttingDown)),
        Some(Host(HostTrouble::ShuttingDown).reply())
    );
    assert_eq!(session.advance(b"NOOP\r\n"), (6, SessionAction::Wait));
}

#[test]
fn tls_without_starttls_before_it_is_known_to_the_session() {
    let mut session = session();
    session.tls_started(false);
    let SessionAction::Reply(_, ehlo) = say(&mut session, "EHLO c\r\n") else { panic!("no reply") };
    assert!(!ehlo.lines().contains(&"STARTTLS".to_owned()));
    assert_eq!(session.protocol(), "ESMTPS");
}

/// A client that sent NOOP, or any other command without a message, again and again, held its place for ever.
#[test]
fn every_command_that_brings_no_message_is_counted() {
    let transaction = "MAIL FROM:<ann@example.org>\r\nRCPT TO:<root>\r\n";
    // The commands that are repeated, and how many of each piece count.
    let cases = [
        ("NOOP\r\n".to_owned(), 1),
        ("RSET\r\n".to_owned(), 1),
        ("HELP\r\n".to_owned(), 1),
        ("HELO c\r\n".to_owned(), 1),
        ("EHLO c\r\n".to_owned(), 1),
        ("VRFY ann\r\n".to_owned(), 1),
        ("ETRN example.org\r\n".to_owned(), 1),
        ("MAIL FROM:<ann@example.org>\r\nRSET\r\n".to_owned(), 2),
        ("MAIL FROM:<ann@example.org>\r\nHELO c\r\n".to_owned(), 2),
        (format!("{transaction}RSET\r\n"), 2),
        // These are refused for now, with 4xx.
        (format!("{transaction}DATA\r\n"), 1),
        (format!("{transaction}BDAT 2\r\nxx"), 1),
    ];
    for (piece, counted) in cases {
        let mut session = session();
        say(&mut session, "EHLO c\r\n");
        let said = (1..).find(|_| last_words(&mut session, &piece).is_some()).unwrap();
        // EHLO was the first command that counts.
        assert_eq!(said, 49 / counted + 1, "{piece:?}");
    }
}

/// An empty chunk does not extend a limit either.
#[test]
fn empty_chunks_are_counted() {
    let mut session = session();
    say(&mut session, &UP_TO_DATA.replace("DATA\r\n", "BDAT 0\r\n"));
    session.opened();
    assert!((0..47).all(|_| last_words(&mut session, "BDAT 0\r\n").is_none()));
    let reply = last_words(&mut session, "BDAT 0\r\n").unwrap();
    assert_eq!(reply.to_string(), "421 4.7.0 too many commands without a message, closing");
}

/// Sends `piece`, for which the shell has nothing to do. Returns the last reply if the session ends with it.
fn last_words(session: &mut Session<Stored>, piece: &str) -> Option<Reply> {
    let mut rest = piece.as_bytes();
    loop {
        let (consumed, action) = session.advance(rest);
        rest = &rest[consumed..];
        match action {
            SessionAction::Wait => return None,
            SessionAction::Close(_, reply) => return Some(reply),
            SessionAction::Open(_) => drop(session.not_opened(Host(HostTrouble::NoRoom))),
            _ => {}
        }
    }
}
