//! Golden DSNs: `tests/golden/dsn/*.eml`, with LF line ends, so that diffs are readable.
//!
//! `NULLMTA_BLESS=1 cargo test --lib golden` writes them again; read the diff.

use std::path::Path;

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
        original,
        affected,
        now: &now(),
    })
}

/// Compares a DSN with its golden file, and checks its three parts with another parser.
fn check_golden(name: &str, dsn: Dsn<'_>) {
    let content = dsn.content();
    let lines_ended = content.windows(2).filter(|pair| pair[1] == b'\n').all(|pair| pair[0] == b'\r');
    assert!(lines_ended, "{name}: every line ends with CRLF");
    let shown: Vec<u8> = content.iter().copied().filter(|octet| *octet != b'\r').collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/dsn").join(name);
    if std::env::var_os("NULLMTA_BLESS").is_some() {
        std::fs::write(&path, &shown).unwrap();
    }
    let golden = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert_eq!(String::from_utf8_lossy(&shown), String::from_utf8_lossy(&golden), "{name}");
    assert!(shown == golden, "{name}: octets that are not UTF-8 differ");
    check_structure(&content, dsn);
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
    assert_eq!(envelope.recipients, [Recipient::plain(dsn.to.clone())]);
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

#[test]
fn golden_failed() {
    let mut ann = Recipient::plain(address("ann@example.org"));
    ann.original = Some(address("root"));
    ann.orcpt = Some("rfc822;ann+2Bbills@example.org".into());
    let mut envelope = envelope_from("app@web1.example.org");
    envelope.envid = Some("QQ+2B314159".into());
    let affected = [refused(&ann, "550 5.1.1 <ann@example.org>: no such user here")];
    with_dsn(DsnKind::Failed, &envelope, CONTENT.as_bytes(), &affected, |dsn| {
        check_golden("failed.eml", dsn);
        assert_eq!(returned_octets(&dsn.content()), CONTENT.as_bytes());
    });
}

#[test]
fn golden_failed_in_our_own_words() {
    let ann = Recipient::plain(address("ann@example.org"));
    let mut envelope = envelope_from("app@web1.example.org");
    envelope.ret = Some(Ret::Headers);
    let expired = Affected {
        status: Status::transient(4, 7),
        from_relay: false,
        remote_mta: None,
        ..refused(
            &ann,
            "not delivered within 5 days; last: connect to smtp.example.com[192.0.2.5]:587: timed out",
        )
    };
    with_dsn(DsnKind::Failed, &envelope, CONTENT.as_bytes(), &[expired], |dsn| {
        check_golden("failed-expired-headers-only.eml", dsn);
    });
}

#[test]
fn golden_delayed() {
    let ann = Recipient::plain(address("ann@example.org"));
    let late = Affected { status: Status::transient(2, 2), ..refused(&ann, "452 4.2.2 mailbox full") };
    let kind = DsnKind::Delayed { retrying_until: seconds(-417_600) };
    with_dsn(kind, &envelope_from("app@web1.example.org"), CONTENT.as_bytes(), &[late], |dsn| {
        check_golden("delayed.eml", dsn);
    });
}

#[test]
fn golden_relayed() {
    let ann = Recipient::plain(address("ann@example.org"));
    let sent =
        Affected { status: Status::success(0, 0), ..refused(&ann, "250 2.0.0 Ok: queued as 4F1C9A02") };
    with_dsn(DsnKind::Relayed, &envelope_from("app@web1.example.org"), CONTENT.as_bytes(), &[sent], |dsn| {
        check_golden("relayed.eml", dsn);
    });
}

#[test]
fn golden_postmaster_copy() {
    let app = Recipient::plain(address("app@web1.example.org"));
    let postmaster = address("postmaster@example.org");
    let affected = [refused(&app, "550 5.1.1 no such user")];
    with_dsn(DsnKind::Failed, &envelope_from("app@web1.example.org"), CONTENT.as_bytes(), &affected, |dsn| {
        let of_dsn = Envelope::from(ReversePath::Null);
        let original = Original { envelope: &of_dsn, ..dsn.original };
        check_golden("postmaster-copy.eml", Dsn { to: &postmaster, original, ..dsn });
        let of_message = human::part(&Dsn { to: &postmaster, ..dsn }).body;
        assert!(
            String::from_utf8(of_message).unwrap().contains("A message from <app@web1.example.org> could")
        );
    });
}

#[test]
fn golden_many_recipients() {
    let recipients: Vec<_> =
        (1..=12).map(|n| Recipient::plain(address(&format!("user{n}@example.org")))).collect();
    let mut affected: Vec<_> = recipients.iter().map(|r| refused(r, "550 5.1.1 no such user")).collect();
    affected[1].status = Status::permanent(7, 1);
    affected[1].diagnostic = "554 5.7.1 not on my watch";
    with_dsn(DsnKind::Failed, &envelope_from("app@web1.example.org"), CONTENT.as_bytes(), &affected, |dsn| {
        check_golden("many-recipients.eml", dsn);
        let report = String::from_utf8(report::part(&dsn).body).unwrap();
        assert_eq!(report.matches("\r\n\r\n").count(), 12, "all of them are in the report");
        assert!(human::part(&dsn).body.split(|octet| *octet == b'\n').count() < 50, "one screen");
    });
}

#[test]
fn golden_utf8_addresses() {
    let mut recipient = Recipient::plain(address("пример@пример.рф"));
    recipient.orcpt = Some("utf-8;пример@пример.рф".into());
    let mut envelope = envelope_from("jörg@web1.example.org");
    envelope.smtputf8 = true;
    let content = CONTENT.replace("your invoice", "счёт");
    let affected = [refused(&recipient, "550 5.1.1 нет такого")];
    with_dsn(DsnKind::Failed, &envelope, content.as_bytes(), &affected, |dsn| {
        check_golden("utf8-addresses.eml", dsn);
        assert_eq!(returned_octets(&dsn.content()), content.as_bytes());
        let header = split_returned(Dsn { kind: DsnKind::Relayed, ..dsn });
        assert_eq!(header.0, "message/global-headers");
    });
}

#[test]
fn golden_utf8_diagnostic_about_an_ascii_address() {
    let mut ann = Recipient::plain(address("ann@example.org"));
    ann.orcpt = Some("utf-8;\\x+7B43F+7Dann@example.org".into());
    let affected = [refused(&ann, "550 5.1.1 нет такого")];
    let content = [CONTENT.as_bytes(), b"\xe4 in latin1\r\n"].concat();
    with_dsn(DsnKind::Failed, &envelope_from("app@web1.example.org"), &content, &affected, |dsn| {
        check_golden("utf8-diagnostic-8bit-body.eml", dsn);
        assert!(report::part(&dsn).body.is_ascii(), "message/delivery-status is ASCII");
        assert_eq!(returned_octets(&dsn.content()), content);
    });
}

#[test]
fn golden_hostile_texts() {
    let mut ann = Recipient::plain(address("ann\u{202E}@example.org"));
    ann.orcpt = Some("rfc822;ann+0D+0A+0D+0A--=_18A4F1C9A02B3D40.0--+0D+0ABcc:+20eve@example.org".into());
    let mut bob = Recipient::plain(address("bob@example.org"));
    bob.orcpt = Some("rfc822\r\nBcc: eve@example.org;bob".into());
    let mut envelope = envelope_from("app@web1.example.org");
    envelope.envid = Some("x+0D+0AFinal-Recipient:+20rfc822;eve@example.org".into());
    let injection =
        "550 5.1.1 no\r\n\r\n--=_18A4F1C9A02B3D40.1\r\nContent-Type: text/html\r\n\r\n<b>\0\x1b[2J\u{9b}";
    let long = format!("550 {} {}", "very long ".repeat(300), "x".repeat(5000));
    let mut affected = [refused(&ann, injection), refused(&bob, &long)];
    affected[0].remote_mta = Some("mx\r\nAction: delivered\r\n");
    let content = CONTENT.replace("<invoice-1@app.example.org>", "<a@b>\r\n\tBcc: <eve@example.org>")
        + "\r\n--=_18A4F1C9A02B3D40.2\r\nContent-Type: text/html\r\n\r\n<b>\r\n--=_18A4F1C9A02B3D40.2--\r\n";
    with_dsn(DsnKind::Failed, &envelope, content.as_bytes(), &affected, |dsn| {
        check_golden("hostile-texts.eml", dsn);
        assert_eq!(returned_octets(&dsn.content()), content.as_bytes());
        let report = report::part(&dsn).body;
        let injected = ["Bcc", "Content-Type"];
        for group in String::from_utf8(report).unwrap().split("\r\n\r\n") {
            let fields: Vec<_> = header::split(group.as_bytes()).header.fields().map(|f| f.name()).collect();
            assert_eq!(fields.iter().filter(|name| injected.contains(name)).count(), 0, "{fields:?}");
            assert!(fields.iter().filter(|name| **name == "Final-Recipient").count() <= 1, "{fields:?}");
        }
        assert!(dsn.content().split(|octet| *octet == b'\n').all(|line| line.len() < 998));
    });
}

/// Returns the media type and the octets of the third part.
fn split_returned(dsn: Dsn<'_>) -> (&'static str, Vec<u8>) {
    let part = returned::part(&dsn);
    (part.content_type, part.body)
}

#[test]
fn what_is_returned() {
    let header = header::split(CONTENT.as_bytes()).header.octets();
    let delayed = DsnKind::Delayed { retrying_until: seconds(0) };
    let large = CONTENT.to_owned() + &"x".repeat(MAX_RETURNED_OCTETS - CONTENT.len());
    let too_large = large.clone() + "x";
    let (all, headers) = ("message/rfc822", "text/rfc822-headers");
    /// The kind, RET, the content and whether it is complete; the media type and the octets of the third part.
    type Case<'a> = (DsnKind, Option<Ret>, &'a str, bool, &'a str, &'a [u8]);
    let cases: &[Case<'_>] = &[
        (DsnKind::Failed, None, CONTENT, true, all, CONTENT.as_bytes()),
        (DsnKind::Failed, Some(Ret::Full), CONTENT, true, all, CONTENT.as_bytes()),
        (DsnKind::Failed, Some(Ret::Headers), CONTENT, true, headers, header),
        // RFC 3461 4.3: RET applies to failures only.
        (delayed, Some(Ret::Full), CONTENT, true, headers, header),
        (DsnKind::Relayed, Some(Ret::Full), CONTENT, true, headers, header),
        // The content is too large, or not complete.
        (DsnKind::Failed, Some(Ret::Full), &large, true, all, large.as_bytes()),
        (DsnKind::Failed, Some(Ret::Full), &too_large, true, headers, header),
        (DsnKind::Failed, None, CONTENT, false, headers, header),
        // The content is cut off within the header section, so the last field may be incomplete.
        (DsnKind::Failed, None, "A: b\r\nC: d", false, headers, b"A: b\r\n"),
        (DsnKind::Failed, None, "A: b\r\nC: d\r\n", false, headers, b"A: b\r\n"),
        (DsnKind::Failed, Some(Ret::Headers), "A: b\r\nC: d\r\n", true, headers, b"A: b\r\nC: d\r\n"),
        (DsnKind::Failed, None, "", false, headers, b""),
    ];
    let ann = Recipient::plain(address("ann@example.org"));
    for (kind, ret, content, content_is_whole, media_type, expected) in cases {
        let envelope = Envelope { ret: *ret, ..envelope_from("app@example.org") };
        with_dsn(*kind, &envelope, content.as_bytes(), &[refused(&ann, "550 no")], |mut dsn| {
            dsn.original.content_is_whole = *content_is_whole;
            let returned = split_returned(dsn);
            assert_eq!(returned.0, *media_type, "{kind:?} {ret:?} {} octets", content.len());
            assert!(returned.1 == *expected, "{kind:?} {ret:?} {} octets", content.len());
            check_structure(&dsn.content(), dsn);
        });
    }
}

#[test]
fn a_huge_header_is_returned_as_whole_fields() {
    let field = "X-Filler: ".to_owned() + &"x".repeat(988) + "\r\n";
    let content = field.repeat(100) + "\r\nbody";
    let envelope = Envelope { ret: Some(Ret::Headers), ..envelope_from("app@example.org") };
    with_dsn(DsnKind::Failed, &envelope, content.as_bytes(), &[], |dsn| {
        assert_eq!(split_returned(dsn).1, field.repeat(51).as_bytes());
    });
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
