use std::fmt::Write;

use proptest::prelude::*;

use super::*;

/// The place, type and size of each part.
fn parts(content: &str) -> String {
    let outline = ContentOutline::of(content.as_bytes(), true);
    assert!(outline.complete);
    let parts = outline.parts.iter().map(|part| format!("{} {} {}", part.place, part.kind, part.size));
    parts.collect::<Vec<String>>().join("; ")
}

#[test]
fn parts_have_their_place_type_and_size() {
    for (content, expected) in [
        ("Subject: x\r\n\r\nhello\r\n", "1 text/plain 7"),
        ("\r\nhello", "1 text/plain 5"),
        ("", "1 text/plain 0"),
        ("no header at all", "1 text/plain 0"),
        (
            "Content-Type: TEXT/Html\nContent-Transfer-Encoding: quoted-printable\n\na=C3=A4=\nb=\r\n",
            "1 text/html 4",
        ),
        ("Content-Type: text\n\nx", "1 text 1"),
        (
            "Content-Type: multipart/mixed; boundary=\"a b\"\n\npreamble\n--a b\n\none\n--a bc\n--a b \nContent-Type: \
             multipart/alternative; boundary=c\n\n--c\n\ntwo\n--c--\n--a b--\nepilogue\n--a b\n\nnone",
            "1 multipart/mixed 126; 1.1 text/plain 11; 1.2 multipart/alternative 15; 1.2.1 text/plain 4",
        ),
        ("Content-Type: multipart/mixed\n\n--x\n\none", "1 multipart/mixed 8"),
        ("Content-Type: multipart/mixed; boundary=x\n\nnothing", "1 multipart/mixed 7"),
        (
            "Content-Type: multipart/mixed; boundary=x\n\n--x\n\ncut off",
            "1 multipart/mixed 12; 1.1 text/plain 7",
        ),
        (
            "Content-Type: multipart/digest; boundary=x\n\n--x\n\nSubject: in\n\nbody",
            "1 multipart/digest 22; 1.1 message/rfc822 17; 1.1.1 text/plain 4",
        ),
        (
            "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nU3ViamVjdDogeA==",
            "1 message/rfc822 10",
        ),
    ] {
        assert_eq!(parts(content), expected, "{content}");
    }
}

#[test]
fn what_is_too_much_is_not_followed() {
    let mut many = "Content-Type: multipart/mixed; boundary=x\n\n".to_owned();
    (0..500).for_each(|number| write!(many, "--x\n\n{number}\n").unwrap());
    let outline = ContentOutline::of(many.as_bytes(), true);
    assert_eq!((outline.parts.len(), outline.complete), (PARTS, false));
    let exact = format!("{}--x--\n", many.split("--x\n\n199\n").next().unwrap());
    let outline = ContentOutline::of(exact.as_bytes(), true);
    assert_eq!((outline.parts.len(), outline.complete), (PARTS, true), "the root and 199 more");
    let deep = "Content-Type: message/rfc822\n\n".repeat(50_000);
    let outline = ContentOutline::of(deep.as_bytes(), true);
    assert_eq!((outline.parts.len(), outline.complete), (LEVELS + 1, false));
    assert!(!ContentOutline::of(b"Subject: x\n\ny", false).complete, "not all of it was looked at");
}

/// Each was made to have a reader of headers take long, or end: it is read to its end, whatever it says.
#[test]
fn a_header_that_is_made_to_harm_is_read() {
    let many = |text: &str| text.repeat((1 << 20) / text.len());
    for hostile in [
        format!("From: {}\r\n\r\n", many("(")),
        format!("From: {}\r\n\r\n", many("<")),
        format!("To: {}\r\n\r\n", many("\"")),
        format!("To: {}\r\n\r\n", many("a:;,")),
        format!("To: {}\r\n\r\n", many("a@x,")),
        format!("Subject: {}\r\n\r\n", many("=?utf-8?q?a?= ")),
        format!("Subject: {}\r\n\r\n", many("=?utf-8?b?")),
        format!("Subject: {}\r\n\r\n", many("=?")),
        format!("Subject: {}\r\n\r\n", many("x\r\n ")),
        format!("Content-Type: text/plain{}\r\n\r\n", many("; a*0*=b''c")),
        format!("Content-Type: text/plain; {}\r\n\r\n", many("a=\"\\")),
        many("A:\r\n"),
        many("Content-Type: multipart/mixed; boundary=\"-\"\r\n\r\n---\r\n"),
        format!("Content-Type: multipart/mixed; boundary=-\r\n\r\n{}", many("-")),
        format!("Received: {}\r\n\r\n", many("from ")),
        format!("Date: {}\r\n\r\n", many("1")),
    ] {
        let outline = ContentOutline::of(hostile.as_bytes(), true);
        assert!(!outline.parts.is_empty() && outline.parts.len() <= PARTS);
    }
}

proptest! {
    #[test]
    fn no_content_ends_the_command(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "Content-Type: multipart/mixed; boundary=b\r\n", "Content-Type: message/rfc822\r\n", "\r\n", "\n", "--b",
            "--b\r\n", "--b--\r\n", "From: ", "To: ", "Date: ", "Subject: ", "=?utf-8?b?", "?=", "(", ")", "<", ">", "@", ";",
            "\"", "\\", "=", "*0*=", ":", ",", "a", "1", " ", "\t", "Content-Transfer-Encoding: base64\r\n", "\u{e4}",
            "Content-Disposition: attachment; filename=", "Received: ", "Message-ID: <", "charset=utf-16",
        ]), 0..60),
        tail in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let content = [pieces.concat().as_bytes(), &tail].concat();
        let outline = ContentOutline::of(&content, true);
        prop_assert!(!outline.parts.is_empty());
    }
}
