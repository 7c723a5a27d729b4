use proptest::prelude::*;

use super::scan::MAX_NAME_OCTETS;
use super::*;

/// Returns the four pieces of `content` as text.
fn pieces(content: &str) -> [String; 4] {
    let split = split(content.as_bytes());
    [split.mbox_line, split.header.octets(), split.blank_line, split.body]
        .map(|octets| String::from_utf8_lossy(octets).into_owned())
}

#[test]
fn content_falls_into_its_pieces() {
    let mbox = "From ann@example.org Sat Nov 21 02:10:00 2026\r\n";
    let long_name = "n".repeat(MAX_NAME_OCTETS);
    let cases: &[(&str, [&str; 4])] = &[
        ("", ["", "", "", ""]),
        ("A: b\r\n\r\nbody\r\n", ["", "A: b\r\n", "\r\n", "body\r\n"]),
        ("A: b\n\nbody\n", ["", "A: b\n", "\n", "body\n"]),
        ("A: b\r\n\r\n\r\nbody", ["", "A: b\r\n", "\r\n", "\r\nbody"]),
        ("\r\nA: b\r\n", ["", "", "\r\n", "A: b\r\n"]),
        // The content ends anywhere.
        ("A: b", ["", "A: b", "", ""]),
        ("A: b\r", ["", "A: b\r", "", ""]),
        ("A: b\r\n", ["", "A: b\r\n", "", ""]),
        ("A: b\r\n\r", ["", "A: b\r\n", "", "\r"]),
        ("A: b\r\nC", ["", "A: b\r\n", "", "C"]),
        // Fields with folds, and with lines of white space alone.
        ("A: b\r\n c\r\n\t\r\nD:e\r\n\r\n", ["", "A: b\r\n c\r\n\t\r\nD:e\r\n", "\r\n", ""]),
        // No header at all. A continuation without a field is text.
        ("hello\r\n", ["", "", "", "hello\r\n"]),
        (" hello\r\nA: b\r\n", ["", "", "", " hello\r\nA: b\r\n"]),
        // The body follows the header without an empty line.
        ("A: b\r\nhello: no, \r\nhello you\r\n", ["", "A: b\r\nhello: no, \r\n", "", "hello you\r\n"]),
        ("A: b\r\n: no name\r\n", ["", "A: b\r\n", "", ": no name\r\n"]),
        ("A: b\r\nFr om: c\r\n", ["", "A: b\r\n", "", "Fr om: c\r\n"]),
        ("A: b\r\nN\u{e4}me: c\r\n", ["", "A: b\r\n", "", "N\u{e4}me: c\r\n"]),
        ("A: b\r\n\r\r\n", ["", "A: b\r\n", "", "\r\r\n"]),
        // RFC 5322 4.5: white space before the colon.
        ("A \t: b\r\n\r\n", ["", "A \t: b\r\n", "\r\n", ""]),
        // An mbox line is the very first one and followed by a field. Any other is text, and is kept.
        (&format!("{mbox}A: b\r\n\r\nc"), [mbox, "A: b\r\n", "\r\n", "c"]),
        (&format!("A: b\r\n{mbox}C: d\r\n"), ["", "A: b\r\n", "", &format!("{mbox}C: d\r\n")]),
        (&format!("{mbox}{mbox}A: b\r\n"), ["", "", "", &format!("{mbox}{mbox}A: b\r\n")]),
        (&format!("{mbox}\r\nhello"), ["", "", "", &format!("{mbox}\r\nhello")]),
        (&format!("{mbox} x\r\nA: b\r\n"), ["", "", "", &format!("{mbox} x\r\nA: b\r\n")]),
        (mbox, ["", "", "", mbox]),
        ("From now on:\r\nRule: be kind\r\n", ["", "", "", "From now on:\r\nRule: be kind\r\n"]),
        ("From : ann\r\n\r\n", ["", "From : ann\r\n", "\r\n", ""]),
        ("From x 2:10\r\nA: b\r\n", ["From x 2:10\r\n", "A: b\r\n", "", ""]),
        // A line that is longer than lines may be has no name, and is not an mbox line.
        (&format!("{long_name}: b\r\n"), ["", &format!("{long_name}: b\r\n"), "", ""]),
        (&format!("{long_name}n: b\r\n"), ["", "", "", &format!("{long_name}n: b\r\n")]),
        (
            &format!("From 02:10 {long_name}\r\nA: b\r\n"),
            ["", "", "", &format!("From 02:10 {long_name}\r\nA: b\r\n")],
        ),
    ];
    for (content, expected) in cases {
        assert_eq!(pieces(content), expected.map(str::to_owned), "{content:?}");
    }
}

#[test]
fn fields_have_names_ranges_and_bodies() {
    let content = b"Subject: one\r\n two\r\n\tthree \r\nX-8bit:\xff\xfe\r\nempty \t:\r\nDATE:  x\r\n\r\n";
    let header = split(content).header;
    let fields: Vec<_> = header.fields().map(|f| (f.name(), f.range(), f.unfolded().into_owned())).collect();
    let expected = [
        ("Subject", 0..29, b"one two\tthree".to_vec()),
        ("X-8bit", 29..40, b"\xff\xfe".to_vec()),
        ("empty", 40..50, b"".to_vec()),
        ("DATE", 50..60, b"x".to_vec()),
    ];
    assert_eq!(fields, expected);
    let subject = header.find("sUBJECT").unwrap();
    assert_eq!(subject.raw_body(), b" one\r\n two\r\n\tthree \r\n");
    assert_eq!(&header.octets()[subject.range()], subject.octets());
    assert!(header.find("Subjec").is_none() && header.find("Subject ").is_none());
}

#[test]
fn a_bare_carriage_return_is_an_octet_of_the_body() {
    let content = b"A: b\rBcc: c\r\n\r d\r\n\r\n";
    let fields: Vec<_> = split(content).header.fields().map(|f| f.unfolded().into_owned()).collect();
    assert_eq!(fields, [b"b\rBcc: c".to_vec()]);
}

#[test]
fn the_end_is_certain_as_soon_as_it_can_be() {
    // Text without a line end must not be held until one arrives.
    for (content, end) in [("A: b\r\ntwo words", 6), ("two words", 0), ("A: b\r\n\r\n", 6)] {
        let mut scan = Scan::default();
        let extent = scan.advance(content.as_bytes()).unwrap();
        assert_eq!(extent.split(content.as_bytes()).header.octets().len(), end, "{content:?}");
    }
}

/// Generates content of pieces that matter to the splitter.
fn arbitrary_content() -> impl Strategy<Value = Vec<u8>> {
    let atoms: &[&[u8]] = &[
        b"\r\n",
        b"\n",
        b"\r",
        b":",
        b" ",
        b"\t",
        b"A",
        b"From ",
        b"Date",
        b"x 02:10",
        b"\xff",
        b"A: b\r\n",
    ];
    prop::collection::vec(prop::sample::select(atoms), 0..24).prop_map(|atoms| atoms.concat())
}

proptest! {
    /// Promise 1: nothing is lost or changed.
    #[test]
    fn nothing_is_lost(content in arbitrary_content()) {
        let split = split(&content);
        let whole = [split.mbox_line, split.header.octets(), split.blank_line, split.body].concat();
        prop_assert_eq!(&whole, &content);
        let fields: Vec<u8> = split.header.fields().flat_map(|field| field.octets()).copied().collect();
        prop_assert_eq!(fields, split.header.octets());
        for field in split.header.fields() {
            prop_assert!(!field.name().is_empty());
            prop_assert!(!field.unfolded().contains(&b'\n'));
        }
    }

    /// Promise 2: the pieces in which content arrives do not matter.
    #[test]
    fn chunking_does_not_matter(content in arbitrary_content()) {
        let mut scan = Scan::default();
        let early = (0..=content.len()).find_map(|len| scan.advance(&content[..len]));
        let end = early.unwrap_or_else(|| scan.finish(&content));
        prop_assert_eq!(end.split(&content), split(&content));
    }
}
