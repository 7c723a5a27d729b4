//! Tests of promises 1 to 3 of `dot.rs`: a table of cases, a second decoder that is written for clarity alone, and
//! properties of any octets in any pieces.

use proptest::prelude::*;

use super::*;

/// Returns the content, and what follows the end of data; `None` if there is no end.
fn decoded(octets: &[u8], piece: usize) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut decoder = Decoder::for_data(LineEnd::Crlf);
    let mut out = Vec::new();
    let mut taken = 0;
    for part in octets.chunks(piece.max(1)) {
        let progress = decoder.push(part, &mut out);
        taken += progress.octets;
        if progress.ended {
            return Some((out, octets[taken..].to_vec()));
        }
        assert_eq!(progress.octets, part.len());
    }
    None
}

fn decoded_chunks(chunks: &[&[u8]]) -> Vec<u8> {
    let mut decoder = Decoder::for_chunks();
    let mut out = Vec::new();
    for chunk in chunks {
        assert_eq!(decoder.push(chunk, &mut out), DecodeProgress { octets: chunk.len(), ended: false });
    }
    decoder.finish(&mut out);
    out
}

fn stuffed<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut stuffer = Stuffer::new();
    let mut out = Vec::new();
    pieces.into_iter().for_each(|piece| stuffer.push(piece, &mut out));
    stuffer.finish(&mut out);
    out
}

fn count(haystack: &[u8], needle: &[u8]) -> usize {
    haystack.windows(needle.len()).filter(|window| *window == needle).count()
}

#[test]
fn data_decoded() {
    let cases: [(&str, &str); 26] = [
        (".\r\n", ""),
        ("a\r\n.\r\n", "a\r\n"),
        ("\r\n.\r\n", "\r\n"),
        // Dots are unstuffed after a true CRLF.
        ("..\r\n.\r\n", ".\r\n"),
        ("...\r\n.\r\n", "..\r\n"),
        (".a\r\n..b\r\n.\r\n", "a\r\n.b\r\n"),
        // A bare LF becomes CRLF, a bare CR a space.
        ("a\nb\r\n.\r\n", "a\r\nb\r\n"),
        ("a\rb\r\n.\r\n", "a b\r\n"),
        ("a\r\rb\r\n.\r\n", "a  b\r\n"),
        ("a\r\r\n.\r\n", "a\r\n"),
        ("a\r\r\r\nb\r\n.\r\n", "a\r\nb\r\n"),
        ("a\n\r\n.\r\n", "a\r\n\r\n"),
        ("a\n\rb\r\n.\r\n", "a\r\n b\r\n"),
        // A line with a dot between bare line ends does not end the data, and stays.
        ("a\n.\nb\r\n.\r\n", "a\r\n.\r\nb\r\n"),
        ("a\n.\r\nb\r\n.\r\n", "a\r\n.\r\nb\r\n"),
        ("a\r.\rb\r\n.\r\n", "a . b\r\n"),
        ("a\r.\r\nb\r\n.\r\n", "a .\r\nb\r\n"),
        // A dot after a true CRLF with more on its line does not end the data either.
        ("a\r\n.\nb\r\n.\r\n", "a\r\n\r\nb\r\n"),
        ("a\r\n.\rb\r\n.\r\n", "a\r\n b\r\n"),
        ("a\r\n.\r\r\nb\r\n.\r\n", "a\r\n\r\nb\r\n"),
        ("a\r\n.\r.\r\nb\r\n.\r\n", "a\r\n .\r\nb\r\n"),
        ("a\r\n.\0\r\nb\r\n.\r\n", "a\r\n\0\r\nb\r\n"),
        ("a\r\n\0.\r\nb\r\n.\r\n", "a\r\n\0.\r\nb\r\n"),
        // A client that writes bare LF, and stuffs dots.
        ("a\n..\nb\r\n.\r\n", "a\r\n.\r\nb\r\n"),
        ("a\n..b\n...c\r\n.\r\n", "a\r\n.b\r\n..c\r\n"),
        ("a\n.b\r\n.\r\n", "a\r\n.b\r\n"),
    ];
    for (octets, expected) in cases {
        for piece in [1, 2, 3, octets.len()] {
            let (content, rest) = decoded(format!("{octets}QUIT").as_bytes(), piece).expect(octets);
            assert_eq!(String::from_utf8(content).unwrap(), expected, "{octets:?} by {piece}");
            assert!(b"QUIT".starts_with(&rest[..rest.len().min(4)]));
        }
    }
}

#[test]
fn nothing_but_crlf_dot_crlf_ends_data() {
    let line_ends = ["\n", "\r", "\r\n", "\r\r\n", "\n\r", "\0\r\n", "\r\0\n", "\r\n\0", "\r ", ""];
    for before in line_ends {
        for after in line_ends {
            let octets = format!("x{before}.{after}");
            let is_end = octets.contains("\r\n.\r\n");
            assert_eq!(decoded(octets.as_bytes(), 1).is_some(), is_end, "{octets:?}");
        }
    }
}

#[test]
fn a_data_command_with_a_bare_line_end_starts_no_end_of_data() {
    let mut out = Vec::new();
    let progress = Decoder::for_data(LineEnd::Bare).push(b".\r\na\r\n.\r\n", &mut out);
    assert_eq!((progress.ended, out.as_slice()), (true, &b".\r\na\r\n"[..]));
}

#[test]
fn chunks_decoded() {
    let cases: [(&[&[u8]], &str); 9] = [
        (&[], ""),
        (&[b""], ""),
        (&[b"a\r\n.\r\n..b\r\n"], "a\r\n.\r\n..b\r\n"),
        (&[b".", b"\r", b"\n"], ".\r\n"),
        (&[b"a\r", b"\nb"], "a\r\nb\r\n"),
        (&[b"a\r", b"b\r"], "a b\r\n"),
        (&[b"a\n", b".\n"], "a\r\n.\r\n"),
        (&[b"a\r\r"], "a\r\n"),
        (&[b"a\0b"], "a\0b\r\n"),
    ];
    for (chunks, expected) in cases {
        assert_eq!(decoded_chunks(chunks), expected.as_bytes(), "{chunks:?}");
    }
}

/// If CRs were held for ever, a message of CRs alone would come out in one piece, as large as itself.
#[test]
fn a_flood_of_carriage_returns_is_not_held_back() {
    let flood = vec![b'\r'; 100_000];
    let mut decoder = Decoder::for_data(LineEnd::Crlf);
    let mut out = Vec::new();
    decoder.push(&flood, &mut out);
    assert_eq!(out.len(), flood.len() - usize::from(MAX_HELD_CRS));
    let before = out.len();
    decoder.push(b"x", &mut out);
    assert_eq!(out.len() - before, usize::from(MAX_HELD_CRS) + 1);
}

#[test]
fn stuffed_and_ended() {
    let cases = [
        ("", ".\r\n"),
        ("a", "a\r\n.\r\n"),
        ("a\r\n", "a\r\n.\r\n"),
        (".", "..\r\n.\r\n"),
        (".\r\n..\r\n", "..\r\n...\r\n.\r\n"),
        ("a.b\r\n.c", "a.b\r\n..c\r\n.\r\n"),
        // Content that is not normalised: a DSN that quotes what somebody else stored.
        ("a\n.\nb\n", "a\n..\nb\n\r\n.\r\n"),
        ("a\r", "a\r\r\n.\r\n"),
    ];
    for (content, expected) in cases {
        for piece in [1, 2, content.len().max(1)] {
            let out = stuffed(content.as_bytes().chunks(piece));
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{content:?} by {piece}");
        }
    }
}

/// Decodes in the same way, but over the whole text, without a state, and slowly.
fn model(octets: &[u8]) -> Option<Vec<u8>> {
    let text = [b"\r\n", octets].concat();
    let end = text.windows(5).position(|window| window == b"\r\n.\r\n")?;
    let mut rest = &text[2..end + 2];
    let mut out = Vec::new();
    let mut behind_crlf = true;
    let mut line_start = true;
    while let Some(&octet) = rest.first() {
        let carriage_returns = rest.iter().take_while(|octet| **octet == b'\r').count();
        let is_crlf = carriage_returns > 0 && rest.get(carriage_returns) == Some(&b'\n');
        if line_start && octet == b'.' && (behind_crlf || rest.get(1) == Some(&b'.')) {
            rest = &rest[1..];
            line_start = false;
        } else if is_crlf || octet == b'\n' {
            out.extend_from_slice(b"\r\n");
            rest = &rest[if is_crlf { carriage_returns + 1 } else { 1 }..];
            (line_start, behind_crlf) = (true, is_crlf);
        } else {
            out.push(if octet == b'\r' { b' ' } else { octet });
            rest = &rest[1..];
            line_start = false;
        }
    }
    Some(out)
}

/// Generates octets of which many have a special meaning.
fn octets() -> impl Strategy<Value = Vec<u8>> {
    let octet = prop_oneof![
        4 => Just(b'.'),
        4 => Just(b'\r'),
        4 => Just(b'\n'),
        2 => Just(b'a'),
        1 => any::<u8>(),
    ];
    let run = prop_oneof![
        6 => prop::collection::vec(octet, 1..6),
        2 => Just(b"\r\n".to_vec()),
        1 => prop::collection::vec(Just(b'x'), 30..70),
    ];
    prop::collection::vec(run, 0..24).prop_map(|runs| runs.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn the_decoder_does_what_the_model_does(mut octets in octets(), piece in 1_usize..80) {
        prop_assert_eq!(decoded(&octets, piece).map(|(content, _)| content), model(&octets));
        octets.extend_from_slice(b"\r\n.\r\n");
        prop_assert_eq!(decoded(&octets, piece).map(|(content, _)| content), model(&octets));
    }

    #[test]
    fn chunk_borders_change_nothing(octets in octets(), piece in 1_usize..80) {
        let chunks: Vec<&[u8]> = octets.chunks(piece).collect();
        prop_assert_eq!(decoded_chunks(&chunks), decoded_chunks(&[&octets]));
    }

    #[test]
    fn normalised_content_survives_the_wire(octets in octets(), piece in 1_usize..80) {
        let content = decoded_chunks(&[&octets]);
        let lines = count(&content, b"\r\n");
        prop_assert_eq!(count(&content, b"\r"), lines);
        prop_assert_eq!(count(&content, b"\n"), lines);
        prop_assert!(content.is_empty() || content.ends_with(b"\r\n"));

        let wire = stuffed(content.chunks(piece));
        let framed = [b"\r\n", &wire[..]].concat();
        prop_assert_eq!(count(&framed, b"\r\n.\r\n"), 1);
        prop_assert_eq!(count(&framed, b"\n.\r") + count(&framed, b"\n.\n") + count(&framed, b"\r.\r"), 1);
        prop_assert_eq!(decoded(&wire, piece), Some((content, Vec::new())));
    }
}
