use jiff::civil::date;
use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::*;
use crate::envelope::{Address, ReversePath};
use crate::message::header;
use crate::message::long_lines::has_long_line;
use crate::message::rewrite::RewriteSettings;

const RECEIVED: &str = "Received: by host (nullmta) id 1;\r\n\tx\r\n";
const FROM: &str = "From: root@host.example.org\r\n";
const TO: &str = "To: undisclosed-recipients:;\r\n";
const DATE: &str = "Date: Sat, 21 Nov 2026 02:10:00 +0000\r\n";
const MESSAGE_ID: &str = "Message-ID: <1.2@host.example.org>\r\n";

fn task() -> FixupTask {
    let root = ReversePath::Mailbox(Address::parse("root").unwrap());
    FixupTask {
        envelope: Envelope::from(root),
        facts: MessageFacts {
            received: RECEIVED.to_owned(),
            hostname: "host.example.org".to_owned(),
            message_id_left: "1.2".to_owned(),
            now: date(2026, 11, 21).at(2, 10, 0, 0).to_zoned(TimeZone::UTC).unwrap(),
            user: None,
        },
        rules: Arc::new(Rules::new(RewriteSettings::new("host.example.org", "host.example.org")).unwrap()),
    }
}

fn fixup() -> Fixup {
    Fixup::new(task())
}

/// Returns the content that results from these chunks.
fn fixed<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<u8>, Unacceptable> {
    let (mut fixup, mut out) = (fixup(), Vec::new());
    for chunk in chunks {
        fixup.push(chunk, &mut out)?;
    }
    fixup.finish(&mut out)?;
    Ok(out)
}

/// `mail()` in PHP and most libraries send 8-bit text without BODY=8BITMIME.
#[test]
fn a_message_that_calls_itself_8_bit_is_8bitmime() {
    for (content, expected) in [
        ("Content-Transfer-Encoding: 8bit\r\n\r\nx\r\n", Body::EightBitMime),
        // Such 8-bit content was sent without BODY=8BITMIME, and relays made it 7-bit.
        ("Subject: x\r\n\r\nGrüße\r\n", Body::EightBitMime),
        ("Subject: Grüße\r\n\r\nx\r\n", Body::EightBitMime),
        ("Subject: x\r\n\r\nx\r\nthe end without a line end: é", Body::EightBitMime),
        ("content-transfer-encoding:\r\n 8BIT \r\n\r\nx\r\n", Body::EightBitMime),
        ("Content-Transfer-Encoding: 7bit\r\n\r\nx\r\n", Body::SevenBit),
        ("Subject: x\r\n\r\nContent-Transfer-Encoding: 8bit\r\n", Body::SevenBit),
    ] {
        let (mut fixup, mut out) = (fixup(), Vec::new());
        fixup.push(content.as_bytes(), &mut out).unwrap();
        assert_eq!(fixup.finish(&mut out).unwrap().envelope.body, expected, "{content:?}");
    }
}

#[test]
fn what_is_missing_is_added_and_the_rest_stays() {
    let cases: &[(&[u8], &[&str], &[u8])] = &[
        // Received is first, missing fields are last, and the others stay.
        (b"", &[FROM, TO, DATE, MESSAGE_ID], b"\r\n"),
        (b"\r\n", &[FROM, TO, DATE, MESSAGE_ID], b"\r\n"),
        (b"A: b\r\n\r\nc\r\n", &["A: b\r\n", FROM, TO, DATE, MESSAGE_ID], b"\r\nc\r\n"),
        (b"dATE : x\r\nfrom:\r\n\r\nc", &["dATE : x\r\nfrom:\r\n", TO, MESSAGE_ID], b"\r\nc"),
        (
            b"Message-Id:\r\n <a@b>\r\nCC:x@y\r\n\r\n",
            &["Message-Id:\r\n <a@b>\r\nCC:x@y\r\n", FROM, DATE],
            b"\r\n",
        ),
        // A field that is empty is not missing.
        (
            b"Date:\r\nMessage-ID: \r\nFrom:\r\nTo: \r\n\r\n",
            &["Date:\r\nMessage-ID: \r\nFrom:\r\nTo: \r\n"],
            b"\r\n",
        ),
        // Fields in the body, in a continuation or with a similar name are not fields of the message.
        (
            b"A: b\r\n Date: x\r\n\r\nMessage-ID: <a@b>\r\n",
            &["A: b\r\n Date: x\r\n", FROM, TO, DATE, MESSAGE_ID],
            b"\r\nMessage-ID: <a@b>\r\n",
        ),
        // The empty line and missing line ends are added, to a rewritten field, too.
        (b"hello\r\n", &[FROM, TO, DATE, MESSAGE_ID], b"\r\nhello\r\n"),
        (b"hello", &[FROM, TO, DATE, MESSAGE_ID], b"\r\nhello"),
        (b"A: b\r\n", &["A: b\r\n", FROM, TO, DATE, MESSAGE_ID], b"\r\n"),
        (b"A: b", &["A: b\r\n", FROM, TO, DATE, MESSAGE_ID], b"\r\n"),
        (b"A: b\r", &["A: b\r\n", FROM, TO, DATE, MESSAGE_ID], b"\r\n"),
        (b"From: root", &[FROM, TO, DATE, MESSAGE_ID], b"\r\n"),
        (b"Bcc: ann\r\nFrom: root\r", &[FROM, TO, DATE, MESSAGE_ID], b"\r\n"),
        (b"A: b\r\nglued on\r\n", &["A: b\r\n", FROM, TO, DATE, MESSAGE_ID], b"\r\nglued on\r\n"),
        // Messages with an mbox line.
        (
            b"From a 02:10 x\r\nA: b\r\n\r\nFrom c 02:10\r\n",
            &["A: b\r\n", FROM, TO, DATE, MESSAGE_ID],
            b"\r\nFrom c 02:10\r\n",
        ),
        (b"From a 02:10 x\r\n", &[FROM, TO, DATE, MESSAGE_ID], b"\r\nFrom a 02:10 x\r\n"),
        // Other octets are kept.
        (b"A: \x01\0\r\n\r\n\xff\0\rx", &["A: \x01\0\r\n", FROM, TO, DATE, MESSAGE_ID], b"\r\n\xff\0\rx"),
    ];
    for (content, header, rest) in cases {
        let expected = [RECEIVED.as_bytes(), header.concat().as_bytes(), rest].concat();
        for (how, chunks) in [("whole", content.len().max(1)), ("an octet at a time", 1)] {
            let out = fixed(content.chunks(chunks)).unwrap();
            assert_eq!(out.escape_ascii().to_string(), expected.escape_ascii().to_string(), "{how}");
        }
    }
}

#[test]
fn more_than_100_received_fields_are_a_loop() {
    let hops = |count| "received : by x\r\n".repeat(count) + "\r\nReceived: in the body\r\n";
    assert!(fixed([hops(100).as_bytes()]).is_ok());
    assert_eq!(fixed([hops(101).as_bytes()]), Err(Unacceptable::MailLoop));
    let unended = "Received: by x\r\n".repeat(101);
    assert_eq!(fixed([unended.as_bytes()]), Err(Unacceptable::MailLoop), "without a body too");
}

#[test]
fn the_header_section_is_bounded_to_the_octet() {
    let header = |len: usize| format!("A: {}\r\n", "b".repeat(len - 5));
    for chunk in [usize::MAX, 4096, 777] {
        let largest = header(MAX_HEADER_OCTETS) + "\r\n";
        assert!(fixed(largest.as_bytes().chunks(chunk)).is_ok());
        let larger = header(MAX_HEADER_OCTETS + 1) + "\r\n";
        assert_eq!(fixed(larger.as_bytes().chunks(chunk)), Err(Unacceptable::HeaderTooLarge), "{chunk}");
        let many = header(1024).repeat(1025);
        assert_eq!(fixed(many.as_bytes().chunks(chunk)), Err(Unacceptable::HeaderTooLarge), "{chunk}");
    }
}

#[test]
fn a_body_is_not_taken_for_a_header_however_long_its_lines() {
    let unbroken = vec![b'x'; 3 * MAX_HEADER_OCTETS];
    for start in ["", "A: b\r\n", "From a 02:10 "] {
        let content = [start.as_bytes(), &unbroken].concat();
        let out = fixed(content.chunks(64 * 1024)).unwrap();
        let text: Vec<u8> = out.into_iter().filter(|octet| !b"\r\n ".contains(octet)).collect();
        assert!(text.ends_with(&unbroken), "{start:?}");
    }
}

#[test]
fn a_body_goes_straight_through() {
    let (mut fixup, mut out) = (fixup(), Vec::new());
    fixup.push(b"A: b\r\n\r", &mut out).unwrap();
    assert!(out.is_empty(), "nothing is written before the header section is whole");
    fixup.push(b"\nbody\r\n", &mut out).unwrap();
    assert!(out.ends_with(b"\r\n\r\nbody\r\n"));
    out.clear();
    fixup.push(b"more\r\nand", &mut out).unwrap();
    assert_eq!(out, b"more\r\n", "only the beginning of a line is held back");
    fixup.push(&[b'x'; 100_000], &mut out).unwrap();
    assert!(out.len() > 100_000 - MAX_LINE_OCTETS, "and no more of it than a line may have");
    fixup.finish(&mut out).unwrap();
    assert!(out.starts_with(b"more\r\nandxxx") && out.ends_with(b"x"));
}

#[test]
fn with_encode_the_header_section_is_folded_and_the_body_kept_until_it_is_sent() {
    let line = "word ".repeat(400);
    let settings = RewriteSettings {
        long_lines: LongLines::Encode,
        ..RewriteSettings::new("example.org", "example.org")
    };
    let task = FixupTask { rules: Arc::new(Rules::new(settings).unwrap()), ..task() };
    let (mut fixup, mut out) = (Fixup::new(task), Vec::new());
    fixup.push(format!("Subject: {line}\r\n\r\n{line}").as_bytes(), &mut out).unwrap();
    assert_eq!(fixup.finish(&mut out).unwrap().long_lines, Some(LongLinesFound::Encoded));
    let split = header::split(&out);
    assert!(!has_long_line(split.header.octets()));
    assert_eq!(split.body, line.as_bytes());
}

/// The library of Go declares SMTPUTF8 wherever it is offered.
#[test]
fn smtputf8_stays_only_where_it_was_declared_for_a_header_that_needs_it() {
    for (declared, header, expected) in
        [(true, "Subject: Grüße", true), (true, "Subject: ascii", false), (false, "Subject: Grüße", false)]
    {
        let mut task = task();
        task.envelope.smtputf8 = declared;
        let (mut fixup, mut out) = (Fixup::new(task), Vec::new());
        fixup.push(format!("{header}\r\n\r\nbody é\r\n").as_bytes(), &mut out).unwrap();
        assert_eq!(fixup.finish(&mut out).unwrap().envelope.smtputf8, expected, "{declared} {header}");
    }
}

/// A message with a line of 2,000 octets was passed on, and the relay refused it.
#[test]
fn lines_that_are_too_long_are_folded_unless_that_breaks_something() {
    let line = "word ".repeat(400);
    let line = line.trim_end();
    let content = |field: &str| format!("{field}\r\nSubject: {line}\r\n\r\n{line}\r\n{line}");
    for (setting, field, expected) in [
        (LongLines::Fold, "A: b", LongLinesFound::Folded),
        (LongLines::Fold, "Content-Type: application/pkcs7-mime", LongLinesFound::Folded),
        (LongLines::Fold, "dkim-signature: v=1", LongLinesFound::Signed),
        (LongLines::Fold, "Content-Type:\r\n Multipart/Signed; boundary=x", LongLinesFound::Signed),
        (LongLines::Encode, "DKIM-Signature: v=1", LongLinesFound::Signed),
        (LongLines::Keep, "A: b", LongLinesFound::Kept),
        (LongLines::Keep, "DKIM-Signature: v=1", LongLinesFound::Kept),
    ] {
        let content = content(field);
        for piece in [content.len(), 1, 999] {
            let settings =
                RewriteSettings { long_lines: setting, ..RewriteSettings::new("example.org", "example.org") };
            let task = FixupTask { rules: Arc::new(Rules::new(settings).unwrap()), ..task() };
            let (mut fixup, mut out) = (Fixup::new(task), Vec::new());
            content.as_bytes().chunks(piece).for_each(|chunk| fixup.push(chunk, &mut out).unwrap());
            let found = fixup.finish(&mut out).unwrap().long_lines;
            assert_eq!(found, Some(expected), "{field}");
            let kept = String::from_utf8(out).unwrap();
            let is_folded = expected == LongLinesFound::Folded;
            assert_eq!(has_long_line(kept.as_bytes()), !is_folded, "{field}");
            // Only line ends are added between words, so unfolding gives the original.
            let subject =
                header::split(kept.as_bytes()).header.find("Subject").unwrap().unfolded().into_owned();
            assert_eq!(String::from_utf8(subject).unwrap(), line);
            assert!(kept.replace("\r\n ", " ").ends_with(&format!("\r\n{line}\r\n{line}")), "{field}");
        }
    }
    let (mut fixup, mut out) = (fixup(), Vec::new());
    fixup.push(b"A: b\r\n\r\nshort\r\n", &mut out).unwrap();
    assert_eq!(fixup.finish(&mut out).unwrap().long_lines, None);
}

#[test]
fn a_refusal_is_final() {
    let (mut fixup, mut out) = (fixup(), Vec::new());
    let line = vec![b'x'; MAX_HEADER_OCTETS];
    fixup.push(b"A: ", &mut out).unwrap();
    for _ in 0..3 {
        assert_eq!(fixup.push(&line, &mut out), Err(Unacceptable::HeaderTooLarge));
    }
    assert_eq!(fixup.finish(&mut out), Err(Unacceptable::HeaderTooLarge));
    assert!(out.is_empty());
}

#[test]
fn only_large_headers_may_take_long_and_bodies_never() {
    let (mut fixup, mut out) = (fixup(), Vec::new());
    assert!(!fixup.may_take_long(64 * 1024) && fixup.may_take_long(256 * 1024));
    fixup.push("To: b\r\n".repeat(30_000).as_bytes(), &mut out).unwrap();
    assert!(fixup.may_take_long(0));
    fixup.push(b"\r\n", &mut out).unwrap();
    assert!(!fixup.may_take_long(usize::MAX));
}

#[test]
fn message_ids_name_the_message_and_the_time() {
    let now = date(2026, 11, 21).at(2, 10, 0, 0).to_zoned(TimeZone::UTC).unwrap();
    let left = message_id_left(QueueId::from_raw(0x18A4_F1C9_A02B_3D40), &now);
    assert_eq!(left, "18A4F1C9A02B3D40.1795227000");
}

/// Generates content of the pieces that matter here, and the positions at which it is cut.
fn content_and_cuts() -> impl Strategy<Value = (Vec<u8>, Vec<usize>)> {
    let atoms: &[&[u8]] =
        &[b"\r\n", b"\r", b":", b" ", b"From a 2:10", b"Date", b"Message-ID: x", b"\xff", b"A: b\r\n"];
    prop::collection::vec(prop::sample::select(atoms), 0..16).prop_map(|atoms| atoms.concat()).prop_flat_map(
        |content| {
            let cuts = prop::collection::vec(0..=content.len(), 0..8);
            (Just(content), cuts)
        },
    )
}

proptest! {
    /// Promise 2: the pieces in which content arrives do not matter.
    #[test]
    fn chunking_does_not_matter((content, mut cuts) in content_and_cuts()) {
        cuts.extend([0, content.len()]);
        cuts.sort_unstable();
        let chunks = cuts.windows(2).map(|cut| &content[cut[0]..cut[1]]);
        prop_assert_eq!(fixed(chunks), fixed([&content[..]]));
    }

    /// Promise 1: without rules, removing the added fields gives the original, and a second fix-up adds only
    /// Received.
    #[test]
    fn nothing_but_the_additions_changes((content, _) in content_and_cuts()) {
        let once = fixed([&content[..]]).unwrap();
        let twice = fixed([&once[..]]).unwrap();
        prop_assert_eq!(&twice, &[RECEIVED.as_bytes(), &once].concat());
        let (mut mender, mut mended) = (Mender::default(), Vec::new());
        mender.push(&content, &mut mended).unwrap();
        mender.finish(&mut mended).unwrap();
        let before = crate::message::header::split(&mended);
        let after = crate::message::header::split(&once);
        prop_assert_eq!(after.body, before.body);
        let own = before.header.octets();
        let own = own.strip_suffix(b"\r").unwrap_or(own);
        prop_assert!(after.header.octets()[RECEIVED.len()..].starts_with(own));
    }
}

/// Returns the decoded bodies that another reader of MIME finds.
fn decoded(message: &[u8]) -> Vec<String> {
    let parsed = mail_parser::MessageParser::default().parse(message).unwrap();
    let parts = parsed.parts.iter().filter(|part| !matches!(part.body, mail_parser::PartType::Multipart(_)));
    parts.map(|part| String::from_utf8_lossy(part.contents()).into_owned()).collect()
}

/// A fold within `=3D` damaged the text, and a fold anywhere added a line end to it.
#[test]
fn a_body_that_is_quoted_printable_is_folded_where_no_reader_sees_it() {
    const QUOTED: &str =
        "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: Quoted-Printable\r\n\r\n";
    let text = "ab=3D=C3=A9".repeat(400);
    let single = format!("MIME-Version: 1.0\r\n{QUOTED}{text}\r\nend\r\n");
    let multipart = format!(
        "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n{QUOTED}{text}\r\n--b\r\n\
         Content-Type: text/plain\r\n\r\nshort\r\n--b\r\n{QUOTED}{text}\r\n--b--\r\n"
    );
    for message in [&single, &multipart] {
        for piece in [1, 7, 900, message.len()] {
            let out = fixed(message.as_bytes().chunks(piece)).unwrap();
            assert!(!has_long_line(&out) && out.windows(3).any(|octets| octets == b"=\r\n"));
            assert_eq!(decoded(&out), decoded(message.as_bytes()), "{}", String::from_utf8_lossy(&out));
        }
    }
    let beside = multipart.replace("short", &"x".repeat(2000));
    let out = String::from_utf8(fixed([beside.as_bytes()]).unwrap()).unwrap();
    assert!(out.contains("x\r\n x"), "another body is folded as before");
}

proptest! {
    #[test]
    fn a_reader_decodes_the_same_from_quoted_printable_that_is_folded(
        words in prop::collection::vec(
            prop::sample::select(vec!["=3D", "=C3=A9", "x", " ", "\t", "=\r\n", "\r\n", "long", "= \r\n"]),
            1..40,
        ),
        piece in 1_usize..2000,
    ) {
        let body: String = words.iter().map(|word| if *word == "long" { "z=41".repeat(130) } else { (*word).into() }).collect();
        let message = format!(
            "MIME-Version: 1.0\r\nContent-Type: a/b\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n{body}\r\n"
        );
        let out = fixed(message.as_bytes().chunks(piece)).unwrap();
        prop_assert!(!has_long_line(&out));
        prop_assert_eq!(decoded(&out), decoded(message.as_bytes()));
    }
}
