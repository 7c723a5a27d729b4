//! Tests of the third part of a DSN: the message, or its header section.

use super::*;
use crate::message::dsn::returned;

/// Returns the media type and the octets of the third part.
pub(super) fn split_returned(dsn: Dsn<'_>) -> (&'static str, Vec<u8>) {
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

/// A bounce for a message over the relay's SIZE had all of the message in it, and was itself over that limit.
#[test]
fn a_message_that_is_too_large_is_returned_by_its_header_only() {
    let ann = Recipient::plain(address("ann@example.org"));
    let envelope = envelope_from("app@web1.example.org");
    for (status, is_whole) in
        [(Status::permanent(3, 4), false), (Status::permanent(2, 3), false), (Status::permanent(6, 0), true)]
    {
        let affected = [Affected { status, ..refused(&ann, "too large") }];
        with_dsn(DsnKind::Failed, &envelope, CONTENT.as_bytes(), &affected, |dsn| {
            let content = String::from_utf8(dsn.content()).unwrap();
            assert_eq!(content.contains("Dear Ann"), is_whole, "{status}");
            assert!(content.contains("Subject: your invoice"));
            assert_eq!(content.contains("The header of the message is attached"), !is_whole);
        });
    }
}
