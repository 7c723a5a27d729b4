//! Tests of DSNs.

mod golden;
mod returned;

use jiff::civil::date;
use jiff::tz::{TimeZone, offset};
use mail_parser::{Message, MessageParser, MimeHeaders, PartType};
use proptest::prelude::*;

use super::*;
use crate::envelope::Ret;

const CONTENT: &str = "Received: from app (localhost [127.0.0.1])\r\n\
    \tby web1.example.org (nullmta) with ESMTP id 18A4F1C900000001;\r\n\
    \tSat, 21 Nov 2026 01:00:00 +0100\r\n\
    Subject: your invoice\r\n\
    Message-ID: <invoice-1@app.example.org>\r\n\
    \r\n\
    Dear Ann,\r\n\
    ..here it is.\r\n";

fn now() -> Zoned {
    date(2026, 11, 21).at(3, 10, 0, 0).to_zoned(TimeZone::fixed(offset(1))).unwrap()
}

fn seconds(ago: i64) -> Timestamp {
    Timestamp::from_second(now().timestamp().as_second() - ago).unwrap()
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn envelope_from(text: &str) -> Envelope {
    Envelope::from(ReversePath::Mailbox(address(text)))
}

fn refused<'a>(recipient: &'a Recipient, diagnostic: &'a str) -> Affected<'a> {
    Affected {
        recipient,
        status: Status::permanent(1, 1),
        diagnostic,
        from_relay: true,
        remote_mta: Some("smtp.example.com"),
        last_attempt: seconds(1),
        may_have_arrived: false,
    }
}

/// Calls `check` with a DSN of failure to the reverse-path of `envelope`.
fn with_dsn<T>(
    kind: DsnKind,
    envelope: &Envelope,
    content: &[u8],
    affected: &[Affected<'_>],
    check: impl Fn(Dsn<'_>) -> T,
) -> T {
    let original = Original {
        queue_id: QueueId::from_raw(0x18A4_F1C9_0000_0001),
        envelope,
        arrived: seconds(7800),
        content,
        content_is_whole: true,
    };
    check(Dsn {
        kind,
        hostname: "web1.example.org",
        author: &address("MAILER-DAEMON@web1.example.org"),
        queue_id: QueueId::from_raw(0x18A4_F1C9_A02B_3D40),
        to: envelope.reverse_path.mailbox().unwrap(),
        copy: None,
        original,
        affected,
        now: &now(),
    })
}

fn check_structure(content: &[u8], dsn: Dsn<'_>) {
    let message = MessageParser::default().parse(content).unwrap();
    let top = message.content_type().unwrap();
    assert_eq!((top.ctype(), top.subtype()), ("multipart", Some("report")));
    assert_eq!(top.attribute("report-type"), Some("delivery-status"));
    let PartType::Multipart(parts) = &message.parts[0].body else { panic!("no multipart") };
    assert_eq!(parts.len(), 3);
    assert!(types_of(&message)[0].starts_with("text/plain"));
    assert!(types_of(&message)[1].ends_with("delivery-status"));
    assert_eq!(message.from().unwrap().first().unwrap().address(), Some("MAILER-DAEMON@web1.example.org"));
    assert_eq!(message.to().unwrap().first().unwrap().address(), Some(dsn.to.as_str()));
    assert!(message.date().is_some() && message.message_id().is_some() && message.bcc().is_none());
    let envelope = dsn.envelope();
    assert_eq!(envelope.reverse_path, ReversePath::Null);
    let told = [Some(dsn.to), dsn.copy].into_iter().flatten().cloned().map(Recipient::plain);
    assert_eq!(envelope.recipients, told.collect::<Vec<_>>());
    assert_eq!(envelope.body == Body::EightBitMime, !content.is_ascii());
    assert_eq!(envelope.smtputf8, dsn.to.needs_smtputf8());
}

/// Returns the media types of the three parts.
fn types_of(message: &Message<'_>) -> Vec<String> {
    let PartType::Multipart(parts) = &message.parts[0].body else { panic!("no multipart") };
    let types = parts.iter().map(|part| message.part(*part).unwrap().content_type().unwrap());
    types.map(|t| format!("{}/{}", t.ctype(), t.subtype().unwrap())).collect()
}

/// Returns the octets of the third part, as a MIME reader cuts them out.
fn returned_octets(content: &[u8]) -> Vec<u8> {
    let header = header::split(content).header.find("Content-Type").unwrap().unfolded().into_owned();
    let header = String::from_utf8(header).unwrap();
    let boundary = header.split('"').nth(1).unwrap();
    assert!(boundary.len() <= 70, "RFC 2046 5.1.1");
    let delimiter = format!("\r\n--{boundary}");
    let mut starts = (0..content.len()).filter(|at| content[*at..].starts_with(delimiter.as_bytes())).skip(2);
    let (third, end) = (starts.next().unwrap(), starts.next().unwrap());
    assert_eq!(starts.next(), None, "three parts and the end");
    assert_eq!(&content[end + delimiter.len()..], b"--\r\n");
    let part = &content[third + delimiter.len() + 2..end];
    header::split(part).body.to_vec()
}

/// A relay refused a message for a line of 2,000 octets, and then the DSN that quoted the line, so nobody was told.
#[test]
fn no_line_of_a_dsn_is_longer_than_a_relay_takes() {
    let long = |start: &str, len| format!("{start}{}\r\n", "x".repeat(len));
    let content = [
        long("X-Token: ", 3000),
        long("Subject: ", 990),
        "\r\n".into(),
        long("", 998),
        long("", 999),
        "é".repeat(700),
        "\r\n".into(),
    ]
    .concat();
    let longest = format!("{}@example.org", "y".repeat(980));
    let mut ann = Recipient::plain(address(&longest));
    ann.original = Some(address(&longest));
    ann.orcpt = Some(format!("rfc822;{longest}").into());
    let bob = Recipient::plain(address("bob@example.org"));
    let mut envelope = envelope_from(&format!("{}@example.org", "é".repeat(490)));
    envelope.envid = Some("z".repeat(3000).into());
    let said = long("550 ", 5000);
    let affected = [refused(&ann, &said), refused(&bob, "550 no")];
    for (kind, ret) in
        [(DsnKind::Failed, None), (DsnKind::Failed, Some(Ret::Headers)), (DsnKind::Relayed, None)]
    {
        let envelope = Envelope { ret, ..envelope.clone() };
        with_dsn(kind, &envelope, content.as_bytes(), &affected, |dsn| {
            let sent = dsn.content();
            let longest = sent.split(|octet| *octet == b'\n').map(|line| line.len()).max();
            assert!(longest.unwrap() <= 999, "998 octets and CR, and not {longest:?}");
            let returned = returned_octets(&sent);
            assert!(returned.starts_with(&[b"X-Token:\r\n ", &b"x".repeat(997)[..], b"\r\n x"].concat()));
            assert_eq!(header::split(&returned).header.fields().count(), 2, "folded, not broken");
            assert!(std::str::from_utf8(&returned).is_ok());
        });
    }
}

#[test]
fn only_fit_message_ids_are_referred_to() {
    let long = format!("Message-ID: <{}@b>\r\n", "x".repeat(MAX_MESSAGE_ID_OCTETS));
    let cases = [
        ("Message-ID: <a@b>\r\n", Some("<a@b>")),
        ("mEssage-id :\r\n\t<a.b+c@[::1]> \r\n\r\n", Some("<a.b+c@[::1]>")),
        ("Subject: x\r\n\r\nMessage-ID: <a@b>\r\n", None),
        ("Message-ID:\r\n", None),
        ("Message-ID: a@b\r\n", None),
        ("Message-ID: <>\r\n", None),
        ("Message-ID: <a@b> <c@d>\r\n", None),
        ("Message-ID: <a@b>\r\n <c@d>\r\n", None),
        ("Message-ID: <a\r\n b>\r\n", None),
        ("Message-ID: <ä@b>\r\n", None),
        (&long, None),
    ];
    for (content, expected) in cases {
        assert_eq!(message_id_of(content.as_bytes()), expected, "{content:?}");
    }
}

/// Text of a submitter who has guessed the queue id.
const HOSTILE_ATOMS: &[&[u8]] =
    &[b"\r\n", b"--", b"=_18A4F1C9A02B3D40", b".0", b".1", b"A: b", b"\xff", b"\0", b"x"];

proptest! {
    /// Promises 2 and 3, for any content and any text.
    #[test]
    fn nothing_breaks_out(
        content in prop::collection::vec(prop::sample::select(HOSTILE_ATOMS), 0..40),
        diagnostic in "(?s).{0,200}",
        orcpt in "rfc822;(\\+0[AD]|[a-z:]|\\PC){1,20}",
    ) {
        let content = content.concat();
        let mut ann = Recipient::plain(address("ann@example.org"));
        ann.orcpt = Some(orcpt.into());
        let affected = [refused(&ann, &diagnostic)];
        with_dsn(DsnKind::Failed, &envelope_from("app@example.org"), &content, &affected, |dsn| {
            assert_eq!(returned_octets(&dsn.content()), content);
            let report = String::from_utf8(report::part(&dsn).body).unwrap();
            let counts: Vec<_> = report.split("\r\n\r\n").map(|group| {
                let split = header::split(group.as_bytes());
                assert!(split.body.is_empty());
                split.header.fields().count()
            }).collect();
            assert!(counts.len() == 2 && counts[0] == 4 && (5..=7).contains(&counts[1]), "{report}");
        });
    }
}
