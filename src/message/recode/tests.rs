//! The plan and the result for whole messages, and what another reader of MIME makes of them.

use mail_parser::MessageParser;
use proptest::prelude::*;

use super::*;

const BOTH: Unwanted = Unwanted { eight_bit: true, long_lines: true };
const EIGHT_BIT: Unwanted = Unwanted { eight_bit: true, long_lines: false };
const LONG_LINES: Unwanted = Unwanted { eight_bit: false, long_lines: true };

/// Returns the message after it was recoded, in pieces of so many octets; `None` if it stays as it is.
fn recoded_in(message: &[u8], unwanted: Unwanted, piece: usize) -> Option<Vec<u8>> {
    let mut survey = BodySurvey::new(unwanted);
    message.chunks(piece).for_each(|octets| survey.push(octets));
    let mut recoder = Recoder::new(survey.finish().plan?);
    let mut out = Vec::new();
    message.chunks(piece).for_each(|octets| recoder.push(octets, &mut out));
    recoder.finish(&mut out);
    Some(out)
}

fn recoded(message: &str, unwanted: Unwanted) -> Option<String> {
    recoded_in(message.as_bytes(), unwanted, message.len()).map(|octets| String::from_utf8(octets).unwrap())
}

#[test]
fn a_text_becomes_quoted_printable_and_says_so() {
    let message = "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\
                   Subject: x\r\n\r\nThe bill of Müller = 3 € \r\n.\r\n";
    let expected = "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
                    Content-Transfer-Encoding: quoted-printable\r\nSubject: x\r\n\r\n\
                    The bill of M=C3=BCller =3D 3 =E2=82=AC=20\r\n.\r\n";
    assert_eq!(recoded(message, EIGHT_BIT).unwrap(), expected);
    assert_eq!(recoded(message, LONG_LINES), None);
    assert_eq!(recoded(message, Unwanted::default()), None);
}

#[test]
fn a_text_without_a_type_gets_one() {
    let header = |charset| {
        format!(
            "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset={charset}\r\n\
             Content-Transfer-Encoding: quoted-printable\r\n\r\n"
        )
    };
    let found = recoded("Subject: x\r\n\r\nGr\u{fc}\u{df}e from here and there\r\n", EIGHT_BIT).unwrap();
    assert_eq!(found, header("utf-8") + "Gr=C3=BC=C3=9Fe from here and there\r\n");
    let latin_1 = recoded_in(b"Subject: x\r\n\r\nGr\xfc\xdfe from here and there\r\n", EIGHT_BIT, 7).unwrap();
    assert_eq!(
        String::from_utf8(latin_1).unwrap(),
        header("unknown-8bit") + "Gr=FC=DFe from here and there\r\n"
    );
    let long = format!("Subject: x\r\n\r\n{}\r\n", "y".repeat(999));
    let found = recoded(&long, BOTH).unwrap();
    assert!(found.starts_with(&(header("us-ascii") + &"y".repeat(75) + "=\r\n")), "{found}");
    assert_eq!(recoded(&long, EIGHT_BIT), None);
    assert_eq!(recoded(&long.replace("yy\r\n", "y\r\n"), BOTH), None, "998 octets are a line");
}

#[test]
fn a_text_with_many_octets_that_are_not_ascii_becomes_base64() {
    let message = "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n日本語のテキスト\r\n";
    let found = recoded(message, EIGHT_BIT).unwrap();
    let expected = "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n\
                    5pel5pys6Kqe44Gu44OG44Kt44K544OIDQo=\r\n";
    assert_eq!(found, expected);
}

#[test]
fn only_the_parts_that_need_it_are_encoded() {
    let message = "MIME-Version: 1.0\r\nContent-Type: multipart/mixed;\r\n boundary=\"a b\"\r\n\
                   Content-Transfer-Encoding: 8bit\r\n\r\npreamble\r\n\
                   --a b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n=é\r\n\r\n\
                   --a b\r\nContent-Type: text/plain\r\n\r\n= ascii\r\n\
                   --ab\r\nno delimiter\r\n\
                   --a b \r\n\r\nno type: é and much text that has no such letter\r\n\
                   --a b\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
                   Subject: inner\r\n\r\ninner é and much text that has no such letter\r\n\
                   --a b\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: binary\r\n\r\né\r\n\
                   --a b--\r\nepilogue\r\n";
    let expected = "MIME-Version: 1.0\r\nContent-Type: multipart/mixed;\r\n boundary=\"a b\"\r\n\
                   Content-Transfer-Encoding: 7bit\r\n\r\npreamble\r\n\
                   --a b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\nPcOpDQo=\r\n\
                   --a b\r\nContent-Type: text/plain\r\n\r\n= ascii\r\n\
                   --ab\r\nno delimiter\r\n\
                   --a b \r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
                   no type: =C3=A9 and much text that has no such letter\r\n\
                   --a b\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: 7bit\r\n\r\n\
                   Subject: inner\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
                   Content-Transfer-Encoding: quoted-printable\r\n\r\n\
                   inner =C3=A9 and much text that has no such letter\r\n\
                   --a b\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\nw6k=\r\n\
                   --a b--\r\nepilogue\r\n";
    assert_eq!(recoded(message, EIGHT_BIT).unwrap(), expected);
}

/// A signature over a part, or over the message, would be broken.
#[test]
fn promise_2_nothing_that_is_signed_or_encoded_or_unclear_is_touched() {
    let signed = "Content-Type: multipart/signed; boundary=s\r\n\r\n--s\r\nContent-Type: text/plain\r\n\r\né\r\n\
                  --s\r\nContent-Type: application/pgp-signature\r\n\r\nx\r\n--s--\r\n";
    let alone = [
        format!("MIME-Version: 1.0\r\n{signed}"),
        "DKIM-Signature: v=1\r\n\r\né\r\n".to_owned(),
        "Content-Transfer-Encoding: base64\r\n\r\né\r\n".to_owned(),
        "Content-Transfer-Encoding: x-own\r\n\r\né\r\n".to_owned(),
        "Content-Type: text/plain\r\nContent-Type: text/html\r\n\r\né\r\n".to_owned(),
        "Content-Type: multipart/mixed\r\n\r\né\r\n".to_owned(),
        "Content-Type: multipart/mixed; boundary=\"a\r\n\r\né\r\n".to_owned(),
        "Content-Type: message/delivery-status\r\n\r\né\r\n".to_owned(),
        "Subject: é\r\n\r\nascii\r\n".to_owned(),
    ];
    for message in alone {
        assert_eq!(recoded(&message, BOTH), None, "{message}");
    }
    let beside = format!(
        "Content-Type: multipart/mixed; boundary=m\r\nContent-Transfer-Encoding: 8bit\r\n\r\n--m\r\n{signed}\
         --m\r\n\r\nanother é with text enough\r\n--m--\r\n"
    );
    let found = recoded(&beside, BOTH).unwrap();
    assert!(found.contains(signed), "{found}");
    assert!(found.contains("another =C3=A9"), "{found}");
    assert!(
        found.contains("boundary=m\r\nContent-Transfer-Encoding: 8bit"),
        "the signed part is 8-bit: {found}"
    );
}

/// The line end before a delimiter belongs to the delimiter.
#[test]
fn the_end_of_a_body_is_exact() {
    for (body, expected) in [("é", "w6k="), ("é\r\n", "w6kNCg=="), ("\r\né", "DQrDqQ==")] {
        let header = "Content-Type: multipart/mixed; boundary=m\r\nMIME-Version: 1.0\r\n\r\n--m\r\nContent-Type: a/b\r\n";
        let message = format!("{header}\r\n{body}\r\n--m--");
        let found = recoded(&message, BOTH).unwrap();
        assert_eq!(found, format!("{header}Content-Transfer-Encoding: base64\r\n\r\n{expected}\r\n--m--"));
    }
}

#[test]
fn parts_that_end_within_their_header_section_keep_their_numbers() {
    let message = "MIME-Version: 1.0\r\nContent-Type: multipart/digest; boundary=o\r\n\r\n\
                   --o\r\nContent-Type: message/rfc822\r\n\
                   --o\r\nContent-Type: multipart/mixed; boundary=i\r\n\r\n--i\r\n--i--\r\n\
                   --o\r\n\r\nSubject: in a digest\r\n\r\né and text that has no such letter\r\n--o--\r\n";
    let found = recoded(message, BOTH).unwrap();
    let expected = message.replace(
        "in a digest\r\n\r\né",
        "in a digest\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: quoted-printable\r\n\r\n=C3=A9",
    );
    assert_eq!(found, expected);
}

#[test]
fn structure_that_is_not_clear_or_beyond_the_bounds_stays_as_it_is() {
    let begins_alike =
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\né\r\n--bc\r\n\r\né\r\n--b--\r\n";
    assert_eq!(recoded(begins_alike, BOTH), None);
    let not_ended = "Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\n\
                     Content-Type: multipart/mixed; boundary=i\r\n\r\n--i\r\n\r\né\r\n--o--\r\n";
    assert_eq!(recoded(not_ended, BOTH), None);
    let nested: String = (0..100)
        .map(|depth| format!("Content-Type: multipart/mixed; boundary=b{depth}\r\n\r\n--b{depth}\r\n"))
        .collect();
    assert_eq!(recoded(&format!("{nested}\r\né\r\n"), BOTH), None);
    let many =
        format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{}", "--b\r\n\r\né\r\n".repeat(10_001));
    assert_eq!(recoded(&many, BOTH), None);
    let large = format!(
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nX: {}\r\n\r\né\r\n",
        "x".repeat(1 << 20)
    );
    assert_eq!(recoded(&large, BOTH), None);
}

/// A body that was encoded already kept its long line, and the log said that it had been encoded.
#[test]
fn a_body_that_is_encoded_already_is_wrapped_anew() {
    let message = |encoding: &str, body: &str| {
        format!(
            "MIME-Version: 1.0\r\nContent-Type: a/b\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n{body}\r\n"
        )
    };
    let line = |octets: &str, times: usize| octets.repeat(times);
    for (encoding, body, expected) in [
        ("base64", line("YWJj", 300), vec![line("YWJj", 19); 15].join("\r\n") + "\r\n" + &line("YWJj", 15)),
        ("BASE64", "YQ==".into(), String::new()),
        (
            "quoted-printable",
            line("a=3D", 400),
            line("a=3D", 18) + "a=\r\n=3D" + &line("a=3D", 18) + "=\r\na=3D",
        ),
        ("quoted-printable", line("x", 75) + "=\r\ny", String::new()),
    ] {
        let before = message(encoding, &body);
        match recoded(&before, LONG_LINES) {
            None => assert_eq!(expected, "", "{encoding}"),
            Some(found) => {
                assert!(found.starts_with(message(encoding, &expected).trim_end()), "{found}");
                assert!(found.lines().all(|line| line.len() <= 76), "{found}");
                assert_eq!(bodies(found.as_bytes()), bodies(before.as_bytes()));
            }
        }
        assert_eq!(recoded(&before, EIGHT_BIT), None);
    }
    let long = line("x", 1000);
    for (body, expected) in [
        // `=` at the end of a line is a soft line break already, and blanks there are none of the text.
        (format!("{long}\r\n{}=\r\ny", line("x", 75)), format!("\r\n{}=\r\ny\r\n", line("x", 75))),
        (format!("{long}\r\n{} \t \r\ny", line("x", 75)), format!("\r\n{} \t \r\ny\r\n", line("x", 75))),
        (format!("{long}\r\n{} \ty", line("x", 74)), format!("\r\n{} =\r\n\ty\r\n", line("x", 74))),
        (format!("{long}\r\n{}=3D", line("x", 74)), format!("\r\n{}=\r\n=3D\r\n", line("x", 74))),
        (format!("{long}\r\n{}=Zy", line("x", 72)), format!("\r\n{}=Zy\r\n", line("x", 72))),
    ] {
        let found = recoded(&message("quoted-printable", &body), LONG_LINES).unwrap();
        assert!(found.ends_with(&expected), "{found}");
    }
}

/// What stayed as it was did so without a word.
#[test]
fn what_stays_although_it_is_unwanted_is_told_with_its_reason() {
    use LeftBecause::{BetweenParts, Encoded, InHeader, Signed, Type, Unclear};
    let long = "x".repeat(999);
    for (message, eight_bit, because) in [
        ("DKIM-Signature: v=1\r\n\r\né\r\n".to_owned(), true, Some(Signed)),
        (
            "Content-Type: multipart/signed; boundary=s\r\n\r\n--s\r\n\r\né\r\n--s--\r\n".into(),
            true,
            Some(Signed),
        ),
        (format!("DKIM-Signature: v=1\r\n\r\n{long}\r\n"), false, Some(Signed)),
        ("Content-Type: multipart/mixed\r\n\r\né\r\n".into(), true, Some(Unclear)),
        (
            "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\né\r\n--bc\r\n\r\né\r\n--b--\r\n"
                .into(),
            true,
            Some(Unclear),
        ),
        (format!("Content-Type: a/b\r\nContent-Type: a/c\r\n\r\n{long}\r\n"), false, Some(Unclear)),
        ("Content-Transfer-Encoding: base64\r\n\r\né\r\n".into(), true, Some(Encoded)),
        ("Content-Transfer-Encoding: x-own\r\n\r\né\r\n".into(), true, Some(Encoded)),
        ("Content-Type: message/delivery-status\r\n\r\né\r\n".into(), true, Some(Type)),
        ("Subject: é\r\n\r\nascii\r\n".into(), true, Some(InHeader)),
        ("Subject: é\r\n\r\né\r\n".into(), true, Some(InHeader)),
        (
            "Content-Type: multipart/mixed; boundary=b\r\n\r\né\r\n--b\r\n\r\nx\r\n--b--\r\n".into(),
            true,
            Some(BetweenParts),
        ),
        ("Subject: x\r\n\r\né\r\n".into(), true, None),
        ("DKIM-Signature: v=1\r\n\r\nascii\r\n".into(), true, None),
        (format!("Content-Transfer-Encoding: base64\r\n\r\n{long}\r\n"), false, None),
        (format!("Subject: x\r\n\r\n{long}\r\n"), false, None),
    ] {
        let mut survey = BodySurvey::new(BOTH);
        survey.push(message.as_bytes());
        let expected = because.map(|because| Left { eight_bit, because });
        assert_eq!(survey.finish().left, expected, "{message}");
        let mut survey = BodySurvey::new(if eight_bit { LONG_LINES } else { EIGHT_BIT });
        survey.push(message.as_bytes());
        assert_eq!(survey.finish().left, None, "{message}");
    }
}

/// Generates a body of this encoding, with lines of any length.
fn encoded_body() -> impl Strategy<Value = (&'static str, String)> {
    let words = ["=3D", "=C3=A9", "x", " ", "\t", "=\r\n", "\r\n", "long", ".", "= \r\n"];
    let word = prop::sample::select(words.to_vec());
    let word = word.prop_map(|word| if word == "long" { "z=41".repeat(130) } else { word.to_owned() });
    let quoted = prop::collection::vec(word, 1..40).prop_map(|words| ("quoted-printable", words.concat()));
    let octets = prop::collection::vec(any::<u8>(), 0..4000);
    let base64 = (octets, 1_usize..600).prop_map(|(octets, quanta)| {
        use base64::Engine;
        let text = base64::engine::general_purpose::STANDARD.encode(octets);
        let lines = text.as_bytes().chunks(quanta * 4).map(|line| String::from_utf8_lossy(line).into_owned());
        ("base64", lines.collect::<Vec<_>>().join("\r\n"))
    });
    prop_oneof![quoted, base64]
}

/// Generates an entity: the fields of its header section, and its body. If it is `wild`, multiparts may lack their last
/// delimiter, and delimiters may stand in a body; the other reader loses parts then.
fn entity(wild: bool) -> impl Strategy<Value = String> {
    let words = ["é", "x", "=", ".", " ", "\t", "\r\n", "\r\n--b1", "\r\n--b1--", "日本", "y\u{80}", "long"];
    let word = prop::sample::select(words.to_vec());
    let word = word.prop_map(move |word| match word {
        "long" => "z".repeat(500),
        delimiter if delimiter.starts_with("\r\n--") && !wild => String::new(),
        other => other.to_owned(),
    });
    let body = prop::collection::vec(word, 0..12).prop_map(|words| words.concat());
    let types = ["", "Content-Type: text/plain; charset=utf-8\r\n", "Content-Type: application/x\r\n"];
    let encodings = ["", "Content-Transfer-Encoding: 8bit\r\n", "Content-Transfer-Encoding: BINARY\r\n"];
    let leaf = (prop::sample::select(types.to_vec()), prop::sample::select(encodings.to_vec()), body)
        .prop_map(|(media_type, encoding, body)| format!("{media_type}{encoding}\r\n{body}"));
    let single = leaf.clone().boxed();
    leaf.prop_recursive(3, 12, 4, move |inner| {
        // The other reader panics at a boundary within itself, and at a message within a message within a multipart.
        let number = if wild { 1..4_u32 } else { 1..u32::MAX };
        let parts = prop::collection::vec(inner.clone(), 1..4);
        let multipart = (number, parts, any::<bool>()).prop_map(move |(number, parts, is_closed)| {
            let parts: String = parts.iter().map(|part| format!("--b{number}\r\n{part}\r\n")).collect();
            let end = if is_closed || !wild { format!("--b{number}--\r\n") } else { String::new() };
            format!("Content-Type: multipart/mixed; boundary=\"b{number}\"\r\n\r\n{parts}{end}")
        });
        let inner = if wild { inner } else { single.clone() };
        let message =
            inner.prop_map(|inner| format!("Content-Type: message/rfc822\r\n\r\nSubject: x\r\n{inner}"));
        prop_oneof![3 => multipart, 1 => message]
    })
}

/// Returns the decoded bodies that another reader finds, without those of composite entities.
fn bodies(message: &[u8]) -> Vec<Vec<u8>> {
    let Some(parsed) = MessageParser::default().parse(message) else { return Vec::new() };
    collect(&parsed)
}

fn collect(parsed: &mail_parser::Message<'_>) -> Vec<Vec<u8>> {
    let bodies = parsed.parts.iter().flat_map(|part| match &part.body {
        mail_parser::PartType::Multipart(_) => Vec::new(),
        mail_parser::PartType::Message(inner) => collect(inner),
        _ => vec![part.contents().to_vec()],
    });
    bodies.collect()
}

proptest! {
    /// Promise 2.
    #[test]
    fn a_decoder_reads_the_same_from_a_body_that_is_wrapped_anew(
        (encoding, body) in encoded_body(),
        piece in 1_usize..40,
    ) {
        let message = format!("MIME-Version: 1.0\r\nContent-Type: a/b\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n{body}\r\n");
        let found = recoded_in(message.as_bytes(), LONG_LINES, message.len());
        prop_assert_eq!(&found, &recoded_in(message.as_bytes(), LONG_LINES, piece));
        if let Some(found) = found {
            let text = String::from_utf8(found).unwrap();
            prop_assert_eq!(bodies(text.as_bytes()), bodies(message.as_bytes()), "{}", text);
            prop_assert!(text.split("\r\n").all(|line| line.trim_end_matches([' ', '\t']).len() <= 76), "{}", text);
        }
    }

    /// Promises 1 and 3.
    #[test]
    fn another_reader_decodes_the_same(entity in entity(false), piece in 1_usize..40) {
        let message = format!("MIME-Version: 1.0\r\n{entity}\r\n");
        let found = recoded_in(message.as_bytes(), BOTH, message.len());
        prop_assert_eq!(&found, &recoded_in(message.as_bytes(), BOTH, piece));
        if let Some(found) = found {
            prop_assert_eq!(bodies(&found), bodies(message.as_bytes()), "{}", String::from_utf8_lossy(&found));
            prop_assert_eq!(recoded_in(&found, BOTH, piece), None, "once is enough");
        }
    }

    #[test]
    fn the_pieces_together_are_the_content(entity in entity(true), piece in 1_usize..40) {
        let (mut entities, mut together) = (Entities::default(), Vec::new());
        let mut tell = |piece: EntityPiece<'_>| match piece {
            EntityPiece::Header { octets, .. } | EntityPiece::Body { octets, .. } | EntityPiece::Between { octets, .. } => {
                together.extend_from_slice(octets);
            }
        };
        entity.as_bytes().chunks(piece).for_each(|octets| entities.push(octets, &mut tell));
        entities.finish(&mut tell);
        prop_assert_eq!(String::from_utf8(together).unwrap(), entity);
    }
}
