//! Tests of command lines as clients send them, good and bad. Paths, parameters and xtext have tables of their own.

use super::*;
use crate::envelope::{Address, BadAddress, Body, Ret, ReversePath};

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

#[test]
fn verbs_with_their_arguments() {
    let recipient = Recipient::plain(address("root"));
    let login = Command::Auth { mechanism: "LOGIN", initial_response: None };
    let plain = Command::Auth { mechanism: "plain", initial_response: Some("AGEAYg==") };
    let cases = [
        ("HELO host", Command::Helo("host".into())),
        ("ehlo  [127.0.0.1] ", Command::Ehlo("[127.0.0.1]".into())),
        ("RCPT TO:<root>", Command::Rcpt(recipient)),
        ("DATA", Command::Data),
        ("data \t", Command::Data),
        ("BDAT 0 LAST", Command::Bdat { octets: 0, last: true }),
        ("bdat  86000  last", Command::Bdat { octets: 86000, last: true }),
        ("BDAT 18446744073709551615", Command::Bdat { octets: u64::MAX, last: false }),
        ("RSET", Command::Rset),
        ("NOOP", Command::Noop),
        ("noop whatever it is", Command::Noop),
        ("HELP MAIL", Command::Help),
        ("VRFY root", Command::Vrfy),
        ("EXPN staff", Command::Expn),
        ("ETRN @example.org", Command::Etrn),
        ("STARTTLS", Command::StartTls),
        ("AUTH LOGIN", login),
        ("auth plain AGEAYg==", plain),
        ("QUIT", Command::Quit),
    ];
    for (line, expected) in cases {
        assert_eq!(Command::parse(line.as_bytes()), Ok(expected), "{line}");
    }
}

#[test]
fn mail_makes_an_envelope_of_what_it_asks_for() {
    let line = "MAIL from: <пример@пример.рф> SIZE=12 BODY=8BITMIME SMTPUTF8 RET=FULL ENVID=x1";
    let envelope = Envelope {
        body: Body::EightBitMime,
        smtputf8: true,
        ret: Some(Ret::Full),
        envid: Some("x1".into()),
        ..Envelope::from(ReversePath::Mailbox(address("пример@пример.рф")))
    };
    let expected = Command::Mail { envelope: Box::new(envelope), size: Some(12) };
    assert_eq!(Command::parse(line.as_bytes()), Ok(expected));
}

#[test]
fn rcpt_keeps_what_it_asks_for() {
    let line = b"RCPT TO:<@relay.example:ann@example.org> NOTIFY=NEVER ORCPT=rfc822;ann";
    let expected = Recipient {
        notify: Notify::Never,
        orcpt: Some("rfc822;ann".into()),
        ..Recipient::plain(address("ann@example.org"))
    };
    assert_eq!(Command::parse(line), Ok(Command::Rcpt(expected)));
}

#[test]
fn lines_that_are_no_commands() {
    use BadCommand::*;
    let cases: [(&[u8], BadCommand); 31] = [
        (b"", Unknown),
        (b" NOOP", Unknown),
        (b"MAILFROM:<a@b>", Unknown),
        (b"\xffHELO x", Unknown),
        (b":", Unknown),
        (b"GET / HTTP/1.1", OtherProtocol),
        (b"post /", OtherProtocol),
        (b"PRI * HTTP/2.0", OtherProtocol),
        (b"Host: localhost:25", OtherProtocol),
        (b"Subject:", OtherProtocol),
        (b"VRFY \xe4\xf6", NotUtf8),
        (b"HELO", BadArguments("HELO hostname")),
        (b"EHLO  ", BadArguments("EHLO hostname")),
        (b"MAIL", BadArguments("MAIL FROM:<address>")),
        (b"MAIL FROM <a@b>", BadArguments("MAIL FROM:<address>")),
        (b"MAIL TO:<a@b>", BadArguments("MAIL FROM:<address>")),
        (b"MAIL \xc3\xbc\xc3\xbc\xc3\xbc", BadArguments("MAIL FROM:<address>")),
        (b"RCPT FROM:<a@b>", BadArguments("RCPT TO:<address>")),
        (b"DATA now", BadArguments("DATA")),
        (b"STARTTLS 1", BadArguments("STARTTLS")),
        (b"AUTH", BadArguments("AUTH mechanism [initial-response]")),
        (b"AUTH PLAIN a b", BadArguments("AUTH mechanism [initial-response]")),
        (b"MAIL FROM:", BadReversePath(BadAddress::Empty)),
        (b"RCPT TO:<>", BadRecipient(BadAddress::Empty)),
        (b"MAIL FROM:<\xc3\xbc@b>", NeedsSmtputf8),
        (b"MAIL FROM:<a@b> XYZ=1", UnknownParameter),
        (b"RCPT TO:<a@b> NOTIFY=x", BadParameter("NOTIFY")),
        (b"BDAT", BadChunk),
        (b"BDAT +5", BadChunk),
        (b"BDAT 5 LAST 6", BadChunk),
        (b"BDAT 18446744073709551616", BadChunk),
    ];
    for (line, expected) in cases {
        assert_eq!(Command::parse(line), Err(expected), "{}", line.escape_ascii());
    }
}

/// After a chunk whose end is not known, or a request of a browser, the next octets are content of somebody.
#[test]
fn only_lines_that_make_all_that_follows_doubtful_are_hopeless() {
    assert!(BadCommand::BadChunk.is_hopeless() && BadCommand::OtherProtocol.is_hopeless());
    assert!(!BadCommand::Unknown.is_hopeless() && !BadCommand::BadArguments("").is_hopeless());
}

#[test]
fn replies_carry_the_code_of_their_fault() {
    for (bad, expected) in [
        (BadCommand::Unknown, "500 5.5.1"),
        (BadCommand::NotUtf8, "501 5.5.2"),
        (BadCommand::BadArguments("DATA"), "501 5.5.4"),
        (BadCommand::BadReversePath(BadAddress::Empty), "501 5.1.7"),
        (BadCommand::BadRecipient(BadAddress::Empty), "501 5.1.3"),
        (BadCommand::NeedsSmtputf8, "553 5.6.7"),
        (BadCommand::UnknownParameter, "555 5.5.4"),
        (BadCommand::DuplicateParameter("SIZE"), "501 5.5.4"),
    ] {
        assert!(bad.reply().to_string().starts_with(expected), "{bad:?}");
    }
}
