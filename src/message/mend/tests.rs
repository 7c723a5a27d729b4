use proptest::prelude::*;

use super::*;
use crate::message::header::split;

fn judged<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<u8>, HiddenBcc> {
    let (mut mender, mut out) = (Mender::default(), Vec::new());
    pieces.into_iter().try_for_each(|piece| mender.push(piece, &mut out))?;
    mender.finish(&mut out)?;
    Ok(out)
}

fn mended<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    judged(pieces).unwrap()
}

const MBOX_LINE: &str = "From ann Sat Nov 21 02:10:00 2026\r\n";

/// Checks each content with its mended form; `None` if it stays as it is.
fn check(cases: &[(&str, Option<&str>)]) {
    for (content, expected) in cases {
        let expected = expected.unwrap_or(content);
        for len in [content.len().max(1), 1, 2, 7] {
            let found = mended(content.as_bytes().chunks(len));
            assert_eq!(String::from_utf8_lossy(&found), expected, "{content:?}");
        }
        assert_eq!(mended([expected.as_bytes()]), expected.as_bytes(), "twice is once: {content:?}");
    }
}

/// With a byte order mark in front, the whole header was the body, with its Bcc. A line of text in a header did the
/// same to the fields after it.
#[test]
fn lines_before_the_fields() {
    let mbox = MBOX_LINE;
    check(&[
        ("\u{feff}A: b\r\n\r\nx", Some("A: b\r\n\r\nx")),
        ("\u{feff}text\r\n", None),
        ("\u{feff}\r\nBcc: s@x\r\n\r\n", Some("Bcc: s@x\r\n\r\n")),
        (&format!("{mbox}A: b\r\n\r\n"), Some("A: b\r\n\r\n")),
        (&format!(">{mbox}{mbox}A: b\r\n\r\n"), Some("A: b\r\n\r\n")),
        (&format!("{mbox}\r\nNote: a letter\r\n\r\n"), None),
        (&format!("{mbox}\r\nBcc: s@x\r\n\r\n"), Some("Bcc: s@x\r\n\r\n")),
        (&format!("\u{feff}{mbox}A: b\r\n\r\n"), Some("A: b\r\n\r\n")),
        (&format!("{mbox}text\r\nA: b\r\n\r\n"), None),
        (mbox, None),
        ("From now on:\r\nRule: be kind\r\n", None),
        ("From ann\r\nRule: x\r\nBcc: s@x", Some("X-Before-Header: From ann\r\nRule: x\r\nBcc: s@x")),
        ("\r\n \t\r\nTo: a\r\nBcc: s@x\r\n\r\n", Some("To: a\r\nBcc: s@x\r\n\r\n")),
        ("\r\nFrom: a@x\r\n\r\nBcc: y\r\n", Some("From: a@x\r\n\r\nBcc: y\r\n")),
        ("\r\nFrom: 3 to 4\r\n\r\n", None),
        ("\r\nTo: a\r\n\r\n", None),
        (
            "GET / HTTP/1.1\r\nHost: x\r\n y\r\nbcc: s@x\r\n\r\n",
            Some("X-Before-Header: GET / HTTP/1.1\r\nHost: x\r\n y\r\nBcc: s@x\r\n\r\n"),
        ),
        ("Dear Bob,\r\nall is well.\r\n\r\nBcc: x\r\n", None),
        ("Dear Bob\r\nSubject: dinner\r\nTo: eat\r\n\r\n", None),
        (" text\r\nBcc: s@x", Some("X-Before-Header:  text\r\nBcc: s@x")),
        ("\0Bcc: s@x\r\n y\r\n\r\n", Some("Bcc: s@x\r\n y\r\n\r\n")),
        ("B cc: s@x\r\n\r\n", Some("Bcc: s@x\r\n\r\n")),
    ]);
}

#[test]
fn lines_between_fields() {
    let mbox = MBOX_LINE;
    check(&[
        ("A: b\r\ntext\r\n\r\nBcc: x", None),
        ("A: b\r\n\r\ntext\r\nBcc: x", None),
        ("A: b\r\ntext\r\nC: d\r\nTo: e\r\n\r\n", None),
        ("A: b\r\ntext\r\nC: d\r\nBcc: s@x\r\n\r\n", Some("A: b\r\n text\r\nC: d\r\nBcc: s@x\r\n\r\n")),
        ("A: b\r\ntext\r\nFrom: a@x\r\n\r\n", Some("A: b\r\n text\r\nFrom: a@x\r\n\r\n")),
        ("From: b\r\ntext\r\nFrom: a@x\r\n\r\n", None),
        (
            "To: a@x,\r\nb@y\r\nBcc: s@x\r\nodd\r\nResent-bcc: t",
            Some("To: a@x,\r\n b@y\r\nBcc: s@x\r\n odd\r\nResent-Bcc: t"),
        ),
        ("A: b\r\n\u{feff}C: d\r\nBcc: s@x\r\n\r\n", Some("A: b\r\n \u{feff}C: d\r\nBcc: s@x\r\n\r\n")),
        (&format!("A: b\r\n>{mbox}Bcc: s@x\r\n"), Some(&format!("A: b\r\n >{mbox}Bcc: s@x\r\n"))),
        ("A: b\r\nN\u{e4}me: c\r\nBcc: s@x\r\n", Some("A: b\r\n N\u{e4}me: c\r\nBcc: s@x\r\n")),
        ("A: b\r\nB\0\u{e4}cc\t: s@x\r\n\r\n", Some("A: b\r\nBcc: s@x\r\n\r\n")),
        ("A: b\r\nBcc\r\n : s@x\r\n\r\n", Some("A: b\r\nBcc: s@x\r\n\r\n")),
        ("Bcc\r\n\t:s@x\r\nA: b\r\n\r\n", Some("Bcc:s@x\r\nA: b\r\n\r\n")),
        ("A: b\r\nBcc\r\n s@x\r\n\r\n", Some("A: b\r\nBcc:\r\n s@x\r\n\r\n")),
        ("A: b\r\nBcc; s\r\nC: d\r\n\r\n", Some("A: b\r\nBcc: s\r\nC: d\r\n\r\n")),
        ("A: b\r\nBcc\u{ff1a}s@x\r\n\r\n", Some("A: b\r\nBcc:s@x\r\n\r\n")),
        ("A: b\r\nBcc s@x\r\n\r\n", Some("A: b\r\nBcc: s@x\r\n\r\n")),
        ("A: b\r\nBcc alone\r\n\r\n", None),
        ("Bcc: s@x,\r\nt@y,\r\nann\r\n\r\n", Some("Bcc: s@x,\r\n t@y,\r\n ann\r\n\r\n")),
        ("Bcc: s@x\r\nt@y\r\nHello Bob\r\n", Some("Bcc: s@x\r\n t@y\r\nHello Bob\r\n")),
        ("Bcc: s@x\r\nWrite to a@x\r\n", None),
        ("To: ann\r\nbob\r\n", None),
        ("From: Ann\r\n<a@x>\r\nA: b\r\n\r\n", Some("From: Ann\r\n <a@x>\r\nA: b\r\n\r\n")),
        (
            "From: a@x\r\njunk\r\nBcc: s@x\r\n\r\n",
            Some("From: a@x\r\nX-Before-Header: junk\r\nBcc: s@x\r\n\r\n"),
        ),
        ("A: b\r\n>Bcc: s@x\r\n\r\n", Some("A: b\r\nBcc: s@x\r\n\r\n")),
        ("A: b\r\n: c\r\nBcc: s@x", Some("A: b\r\n : c\r\nBcc: s@x")),
        ("A: b\r\n \t\r\nBcc : s@x\r\n", Some("A: b\r\n \t\r\nBcc: s@x\r\n")),
        ("A: b\r\nX-Bcc: s@x\r\n", None),
    ]);
}

#[test]
fn lines_that_are_all_indented() {
    check(&[
        (" To: a\r\n Bcc: s@x\r\n Subject: y\r\n\r\n z", Some("To: a\r\nBcc: s@x\r\nSubject: y\r\n\r\n z")),
        (
            "\tFrom: a@x\r\n\tTo: b,\r\n\t\tc\r\n\t\r\n\tBcc: z",
            Some("From: a@x\r\nTo: b,\r\n\tc\r\n\r\n\tBcc: z"),
        ),
        ("\r\n  A: b\r\n   Bcc: s@x\r\n\r\n", Some("A: b\r\nBcc: s@x\r\n\r\n")),
        (" To: a,\r\n b@x\r\n Bcc: s@x\r\n odd\r\n\r\n", Some("To: a,\r\n b@x\r\nBcc: s@x\r\nodd\r\n\r\n")),
        (" Dear: Bob\r\n  all is well\r\n\r\n", None),
    ]);
}

#[test]
fn a_header_goes_on_after_an_empty_line_and_fields_that_make_no_message() {
    check(&[
        ("A: b\r\n\r\nTo: a\r\nBcc: s@x\r\n\r\nBcc: z", Some("A: b\r\nTo: a\r\nBcc: s@x\r\n\r\nBcc: z")),
        ("A: b\r\n\r\n\r\nC: d\r\n\r\nbcc : s\r\n\r\n", Some("A: b\r\nC: d\r\nBcc: s\r\n\r\n")),
        ("A: b\r\n\r\nFrom: a@x\r\n y\r\nTo: b\r\n\r\nz", Some("A: b\r\nFrom: a@x\r\n y\r\nTo: b\r\n\r\nz")),
        ("A: b\r\n\r\nFrom: a@x\r\nName: c\r\n\r\nBcc: z\r\n", None),
        ("A: b\r\n\r\nTo: a\r\nSubject: c\r\n\r\nBcc: z\r\n", None),
        ("A: b\r\n\r\nC: d\r\ntext\r\nBcc: z\r\n", None),
        ("Subject: b\r\n\r\nBcc: z\r\n", None),
        ("MIME-Version: 1.0\r\nContent-Type: message/rfc822\r\n\r\nFrom: a@x\r\nBcc: z\r\n", None),
    ]);
}

#[test]
fn the_content_ends_anywhere() {
    check(&[
        ("", None),
        ("\u{feff}", None),
        ("\r\n", None),
        ("A", None),
        ("A: b\r\nC", None),
        ("A: b\r\nB cc:", Some("A: b\r\nBcc:")),
    ]);
}

/// A Bcc after 64 KiB of junk, or on an indented line, was sent to everybody.
#[test]
fn what_can_be_neither_field_nor_text_is_refused() {
    let junk = |len: usize| "no field, and no empty line\r\n".repeat(len / 29);
    let (near, far) = (junk(60_000), junk(70_000));
    let line = "x".repeat(2 * MAX_HELD_OCTETS);
    let (indented, far_off) = (Some(HiddenBcc::Indented), Some(HiddenBcc::BehindTooMuch));
    for (content, expected) in [
        (format!("{near}Bcc: s@x\r\n\r\n"), None),
        (format!("{far}Bcc: s@x\r\n\r\n"), far_off),
        (format!("To: a@x\r\n{far}B cc : s@x"), far_off),
        (format!("To: a@x\r\n{line}\r\nBcc s@x\r\n"), far_off),
        (format!("{line}\r\nBcc\r\n : s@x\r\n"), far_off),
        (format!("{}A: b\r\nBcc: s@x\r\n", "\r\n".repeat(40_000)), far_off),
        (format!("A: b\r\n\r\n{}Bcc: s@x\r\n", "C: d\r\n".repeat(20_000)), far_off),
        (format!("{far}Bcc alone\r\nX-Bcc: s@x\r\n\r\nBcc: s@x\r\n"), None),
        (format!("{line}\r\n\r\nBcc: s@x\r\n"), None),
        (format!("A: b\r\n\r\n{}text\r\nBcc: s@x\r\n", "C: d\r\n".repeat(20_000)), None),
        ("To: a@x\r\n Bcc: s@x\r\n Subject: y\r\n\r\n".into(), indented),
        ("A: b\r\nSubject: y\r\n z\r\n\tbcc : s@x".into(), indented),
        ("Content-Type: text/plain;\r\n charset=x\r\n Bcc: s@x\r\n".into(), indented),
        ("Subject: y\r\n Bcc: all of you\r\n\r\n".into(), None),
        ("Subject: y\r\n to Bcc: s@x\r\n\r\n".into(), None),
        ("DKIM-Signature: h=Cc:\r\n Bcc:Date; i=a@x\r\nTo: b\r\n\r\n".into(), None),
        ("X-Spam-Report: y\r\n Bcc: s@x\r\nTo: b\r\n\r\n".into(), None),
    ] {
        for len in [content.len(), 1, 777] {
            let refused = judged(content.as_bytes().chunks(len)).err();
            assert_eq!(refused, expected, "{:?} by {len}", &content[content.len().saturating_sub(80)..]);
        }
    }
}

#[test]
fn a_text_is_held_back_so_far_and_no_further() {
    let text = "text without an empty line\r\n".repeat(5000);
    let (mut mender, mut out) = (Mender::default(), Vec::new());
    for piece in text.as_bytes().chunks(1000) {
        mender.push(piece, &mut out).unwrap();
        assert!(mender.held.len() <= MAX_HELD_OCTETS + 1000);
    }
    assert_eq!(out.len(), text.len());
    let unbroken = "x".repeat(3 * MAX_HELD_OCTETS);
    let mut mender = Mender::default();
    out.clear();
    mender.push(unbroken.as_bytes(), &mut out).unwrap();
    assert_eq!(out, unbroken.as_bytes());
}

/// Lines that programs write in and before headers, and that are not fields.
const ODD: &[&[u8]] = &[
    b"\xEF\xBB\xBF",
    b">From ann Sat Nov 21 02:10:00 2026\r\n",
    b"From ann Sat Nov 21 02:10:00 2026\r\n",
    b" \t\r\n",
    b"\0\0\r\n",
    b"POST /mail HTTP/1.1\r\n",
    b"no colon\r\n",
    b"two words: x\r\n",
    b"N\xE4me: x\r\n",
    b"Subject : x\r\n",
    b": nameless\r\n",
    b"B cc: hidden@secret.example\r\n",
    b"\0Bcc: hidden@secret.example\r\n",
    b"- - - 8< - - -\r\n",
];

/// Lines of every kind.
const LINES: &[&[u8]] = &[
    b"\r\n",
    b" \r\n",
    b"\xEF\xBB\xBF",
    b"From ann Sat Nov 21 02:10:00 2026\r\n",
    b"no colon\r\n",
    b" no colon\r\n",
    b"X-Field: x\r\n",
    b"  X-Field: x\r\n",
    b"Content-Type: x\r\n",
    b"Subject: x\r\n",
    b" Subject: x\r\n",
    b"From: a@x\r\n",
    b"  From: a@x\r\n",
    b"To: a@x\r\n",
    b"a@x\r\n",
    b" a@x,\r\n",
    b"Bcc: a@x\r\n",
    b" B cc : a@x\r\n",
    b"   Bcc\r\n",
    b" : a@x\r\n",
    b"x",
    b" ",
];

const FIELDS: [&str; 5] = [
    "Subject: x\r\n",
    "Bcc: a@x,\r\n hidden@secret.example\r\n",
    "From: ann@author.example\r\n",
    "To: bob@x\r\n",
    "MIME-Version: 1.0\r\n",
];

proptest! {
    /// Promise 1, with any lines before and between the fields.
    #[test]
    fn no_bcc_is_published_and_no_from_hidden(
        odd in prop::collection::vec((0..FIELDS.len(), prop::sample::select(ODD)), 0..6),
        order in Just(FIELDS.to_vec()).prop_shuffle(),
        blank_lines in 0..3_usize,
        piece in 1..40_usize,
    ) {
        let mut content = b"\r\n".repeat(blank_lines);
        for (index, field) in order.iter().enumerate() {
            let before = odd.iter().filter(|(at, _)| *at == index);
            before.for_each(|(_, line)| content.extend_from_slice(line));
            content.extend_from_slice(field.as_bytes());
        }
        content.extend_from_slice(b"\r\nbody\r\n");
        let out = mended(content.chunks(piece));
        let split = split(&out);
        prop_assert!(split.body.ends_with(b"body\r\n"));
        let secret = |octets: &[u8]| octets.windows(6).any(|window| window == b"hidden");
        prop_assert!(!secret(split.body), "{}", out.escape_ascii());
        for field in split.header.fields() {
            prop_assert!(field.is("Bcc") || !secret(field.octets()), "{}", field.octets().escape_ascii());
        }
        let from = split.header.find("From").map(|field| field.unfolded().into_owned());
        prop_assert!(from.is_some_and(|from| from.starts_with(b"ann@author.example")));
        prop_assert_eq!(mended([&out[..]]), &out[..], "twice is once");
    }

    /// Promise 3, and what was mended is not changed again.
    #[test]
    fn how_it_arrives_does_not_matter(
        lines in prop::collection::vec(prop::sample::select(LINES), 0..12),
        piece in 1..40_usize,
    ) {
        let content = lines.concat();
        let whole = judged([&content[..]]);
        prop_assert_eq!(&judged(content.chunks(piece)), &whole);
        if let Ok(out) = whole {
            prop_assert_eq!(judged([&out[..]]), Ok(out), "{}", content.escape_ascii());
        }
    }
}
