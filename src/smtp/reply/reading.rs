//! Parses a reply, even an odd one: only the code decides, the text is just quoted.
//!
//! Promises:
//! 1. It is a reply if the first line begins with three digits, the first of them from 2 to 5, whatever follows: nothing,
//!    a tab, or text without a space. Within a reply, a line without a code belongs to the text.
//! 2. It ends with the first line that has a code without a hyphen after it. If the codes of its lines differ, the last
//!    one counts.
//! 3. Memory is bounded: at most [`KEPT_LINES`] lines of a reply are kept, and [`KEPT_OCTETS`] octets of the text of a
//!    line, in whole characters. The rest is read and discarded.
//! 4. The result does not depend on the pieces in which the octets arrive.
//!
//! Fails: with a [`BadReply`], which says nothing about a message, where octets do not begin as a reply does, or
//! go on beyond [`MAX_LINE_OCTETS`] a line and [`MAX_REPLY_OCTETS`] in all. [`ReplyReader::cut_off`] tells what
//! there was until then.
//!
//! RFC 5321 4.2 (a client looks at the code only, and takes one without text), 4.5.3.1.5 (512 octets a line).

use std::fmt::{self, Write as _};

use memchr::memchr;

use super::{Reply, fits, push_printable};
use crate::status::Status;

/// The longest line of a reply, in octets, with its line end.
pub const MAX_LINE_OCTETS: usize = 64 * 1024;

/// The longest reply, in octets, with all its lines.
pub const MAX_REPLY_OCTETS: usize = 1024 * 1024;

/// The most octets of the text of a line that are kept.
pub const KEPT_OCTETS: usize = 1024;

/// The most lines of a reply that are kept.
pub const KEPT_LINES: usize = 64;

/// The most octets of an incomplete line that are kept: code, separator, and more text than [`KEPT_OCTETS`], so that a
/// character which is cut off here is never among the text that is kept.
const HELD_OCTETS: usize = 4 + KEPT_OCTETS + 4;

/// The reason why octets from a server are not a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadReply {
    /// They do not begin with a code.
    NotAReply,
    /// They are too long, and may never end.
    TooLong,
}

impl fmt::Display for BadReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadReply::NotAReply => "not an SMTP reply",
            BadReply::TooLong => "reply too long",
        })
    }
}

impl std::error::Error for BadReply {}

/// A parser that gets a reply piece by piece.
#[derive(Clone, Debug, Default)]
pub struct ReplyReader {
    /// The code of the last complete line that had one.
    code: Option<u16>,
    /// The first status that fits the code of its line.
    status: Option<Status>,
    lines: Vec<String>,
    /// The start of the line that is not complete yet.
    line: Vec<u8>,
    line_octets: usize,
    reply_octets: usize,
}

impl ReplyReader {
    /// Reads octets at the start of `input`. Returns their number, and the reply if it is complete. A line may end in a
    /// bare LF. After an error, the parser must not be used again.
    pub fn take(&mut self, input: &[u8]) -> Result<(usize, Option<Reply>), BadReply> {
        let mut taken = 0;
        while taken < input.len() {
            let rest = &input[taken..];
            let end = memchr(b'\n', rest);
            let octets = end.map_or(rest.len(), |end| end + 1);
            self.push(&rest[..end.unwrap_or(octets)], octets)?;
            taken += octets;
            if end.is_some() && self.end_line()? {
                return Ok((taken, self.cut_off()));
            }
        }
        Ok((taken, None))
    }

    /// Returns the reply so far, when no more octets will come; `None` if there is not even a code. Then starts anew.
    pub fn cut_off(&mut self) -> Option<Reply> {
        if !self.line.is_empty() {
            // If this is not a line of a reply, it adds nothing to it.
            let _ = self.end_line();
        }
        let ReplyReader { code, status, lines, .. } = std::mem::take(self);
        let code = code?;
        Some(Reply { code, status: status.filter(|status| fits(code, *status)), lines })
    }

    /// Returns the start of the line that is not complete.
    pub fn line_start(&self) -> &[u8] {
        &self.line
    }

    /// Returns the words for what was too long, after [`BadReply::TooLong`].
    pub fn overlong_part(&self) -> &'static str {
        if self.line_octets > MAX_LINE_OCTETS {
            "a reply line of more than 64 KiB"
        } else {
            "a reply of more than 1 MiB"
        }
    }

    fn push(&mut self, octets: &[u8], with_line_end: usize) -> Result<(), BadReply> {
        self.line_octets += with_line_end;
        self.reply_octets += with_line_end;
        let room = HELD_OCTETS.saturating_sub(self.line.len());
        self.line.extend_from_slice(&octets[..octets.len().min(room)]);
        if self.line_octets > MAX_LINE_OCTETS || self.reply_octets > MAX_REPLY_OCTETS {
            return Err(BadReply::TooLong);
        }
        // Some peers never end a line: a TLS alert, another protocol's greeting.
        if self.code.is_none() && !may_begin_a_reply(&self.line) {
            return Err(BadReply::NotAReply);
        }
        Ok(())
    }

    /// Processes a complete line. Returns whether it was the last one of the reply.
    fn end_line(&mut self) -> Result<bool, BadReply> {
        let line = std::mem::take(&mut self.line);
        self.line_octets = 0;
        let line = trim_carriage_returns(&line);
        let (code, is_last, text) = match (split_code(line), self.code) {
            (Some(parts), _) => parts,
            (None, Some(code)) => (code, false, line),
            (None, None) => return Err(BadReply::NotAReply),
        };
        self.code = Some(code);
        self.push_line(code, &decoded(text));
        Ok(is_last)
    }

    /// Adds a line to the reply. The first enhanced status counts, since some servers give it on one line only.
    fn push_line(&mut self, code: u16, text: &str) {
        let (status, text) = match Status::split_from(text).filter(|(status, _)| fits(code, *status)) {
            Some((status, rest)) => (Some(status), rest),
            None => (None, text),
        };
        self.status = self.status.filter(|status| fits(code, *status)).or(status);
        if self.lines.len() < KEPT_LINES {
            self.lines.push(text.to_owned());
        }
    }
}

/// Returns whether `line`, which may be incomplete, can be the first one of a reply.
fn may_begin_a_reply(line: &[u8]) -> bool {
    let begins = line.first().is_none_or(|first| (b'2'..=b'5').contains(first));
    begins && line.iter().take(3).all(u8::is_ascii_digit)
}

/// Splits a line into its code, whether it is the last one, and its text.
fn split_code(line: &[u8]) -> Option<(u16, bool, &[u8])> {
    let (code, rest) = line.split_first_chunk::<3>().filter(|(code, _)| may_begin_a_reply(*code))?;
    let code = code.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    Some(match rest {
        [b'-', text @ ..] => (code, false, text),
        [b' ' | b'\t', text @ ..] | text => (code, true, text),
    })
}

fn trim_carriage_returns(mut line: &[u8]) -> &[u8] {
    while let [rest @ .., b'\r'] = line {
        line = rest;
    }
    line
}

/// Converts octets from a peer to text for a [`Reply`]: the first [`KEPT_OCTETS`] of it, in whole characters.
fn decoded(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len());
    let mut kept = 0;
    for chunk in octets.utf8_chunks() {
        for c in chunk.valid().chars() {
            push_printable(&mut text, c);
            kept = kept_of(&text, kept);
        }
        for octet in chunk.invalid() {
            // Writing to a String cannot fail.
            let _ = write!(text, "\\x{octet:02x}");
            kept = kept_of(&text, kept);
        }
    }
    text.truncate(kept);
    text
}

/// Returns the length of `text`, or of the last one that was not too long.
fn kept_of(text: &str, kept: usize) -> usize {
    if text.len() <= KEPT_OCTETS { text.len() } else { kept }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(octets: &[u8]) -> Reply {
        let (reply, taken) = Reply::parse(octets).unwrap().unwrap();
        assert_eq!(taken, octets.len());
        reply
    }

    #[test]
    fn read_and_quoted_on_one_line() {
        let cases: [(&[u8], &str); 13] = [
            (b"250 2.0.0 ok\r\n", "250 2.0.0 ok"),
            (b"250 ok\n", "250 ok"),
            (b"250\r\n", "250"),
            (b"250 \r\n", "250"),
            (b"250 ok\r\r\n", "250 ok"),
            (b"550-5.7.1 no,\r\n550-5.7.1\r\n550 5.7.1 never\r\n", "550 5.7.1 no, never"),
            (b"550-go away\r\n550 5.7.1 now\r\n", "550 5.7.1 go away now"),
            (b"354 2.0.0 go on\r\n", "354 2.0.0 go on"),
            (b"250-mx\n250-8BITMIME\r\n250 SIZE\r\n", "250 mx 8BITMIME SIZE"),
            (b"421 4.7.0 \xff\xfe\x1b[31m\0\r\n", "421 4.7.0 \\xff\\xfe\\x1b[31m\\x00"),
            (b"550 a\rb\r\n", "550 a\\x0db"),
            ("550 5.1.1 ünknown\r\n".as_bytes(), "550 5.1.1 ünknown"),
            ("550 \u{9b}31m\r\n".as_bytes(), "550 \\x9b31m"),
        ];
        for (octets, expected) in cases {
            let (reply, taken) = Reply::parse(octets).unwrap().unwrap();
            assert_eq!((reply.to_string().as_str(), taken), (expected, octets.len()));
        }
    }

    #[test]
    fn a_status_counts_only_where_its_class_fits_the_code() {
        for (octets, expected) in [
            (&b"550 5.1.1 x\r\n"[..], Some(Status::permanent(1, 1))),
            (b"550 2.1.1 x\r\n", None),
            (b"354 5.1.1 x\r\n", None),
        ] {
            assert_eq!(Reply::parse(octets).unwrap().unwrap().0.status(), expected);
        }
    }

    #[test]
    fn every_prefix_of_a_reply_asks_for_more() {
        let octets = b"250-2.1.0 one\r\n250 2.1.0 two\r\n354 next";
        let end = octets.len() - b"354 next".len();
        for len in 0..end {
            assert_eq!(Reply::parse(&octets[..len]), Ok(None), "{len}");
        }
        let (reply, taken) = Reply::parse(octets).unwrap().unwrap();
        assert_eq!((reply.lines(), taken), (&["one".to_owned(), "two".to_owned()][..], end));
        let mut encoded = Vec::new();
        reply.encode(&mut encoded);
        assert_eq!(encoded, &octets[..end]);
    }

    #[test]
    fn what_is_no_reply_is_known_early() {
        let cases: [&[u8]; 9] = [
            b"\x15\x03\x03",
            b"SSH",
            b"HTTP/1.1 400 Bad Request\r\n",
            b"\r\n",
            b"25\r\n",
            b"25x",
            b"150 x\r\n",
            b"650 x\r\n",
            b"9",
        ];
        for octets in cases {
            let parsed = Reply::parse(octets);
            assert_eq!(parsed, Err(BadReply::NotAReply), "{:?}", octets.escape_ascii().to_string());
        }
    }
    /// A relay that replied with one long line, with many lines, with a code alone, or with a tab after the code was
    /// reported as a lost connection, and paused. At the final dot, the same message was sent again and again.
    #[test]
    fn odd_replies_are_replies_whose_code_decides() {
        let filled = |octets: usize| [b"250 2.0.0 ".as_slice(), &vec![b'x'; octets], b"\r\n"].concat();
        let lines = |count: usize, code: &str| format!("{code}-x\r\n").repeat(count) + code + " y\r\n";
        let cases: [(Vec<u8>, u16, &str); 13] = [
            (b"250ok\r\n".into(), 250, "250 ok"),
            (b"250\tok\r\n".into(), 250, "250 ok"),
            (b"250_x\r\n".into(), 250, "250 _x"),
            (b"550 5.7.2\r\n".into(), 550, "550 5.7.2"),
            (b"550 5.7.2 \r\n".into(), 550, "550 5.7.2"),
            (b"250-2.1.0 a\r\n251 2.1.5 b\r\n".into(), 251, "251 2.1.0 a b"),
            (b"250-2.1.0 a\r\n550 b\r\n".into(), 550, "550 a b"),
            (b"250-2.1.0 a\r\n550 5.1.1 b\r\n".into(), 550, "550 5.1.1 a b"),
            (b"550-one\r\nand two\r\n550 three\r\n".into(), 550, "550 one and two three"),
            (b"250 a\0b\r\n".into(), 250, "250 a\\x00b"),
            (b"550 gr\xfc\xdfe\r\n".into(), 550, "550 gr\\xfc\\xdfe"),
            (lines(199, "550").into(), 550, &format!("550{}", " x".repeat(KEPT_LINES))),
            (filled(3000), 250, &format!("250 2.0.0 {}", "x".repeat(KEPT_OCTETS - 6))),
        ];
        for (octets, code, expected) in cases {
            let reply = read(&octets);
            assert_eq!((reply.code(), reply.to_string().as_str()), (code, expected));
        }
        assert_eq!(read(lines(4999, "451").as_bytes()).code(), 451);
        assert_eq!(read(&filled(65_000)).code(), 250);
    }

    #[test]
    fn text_is_cut_between_characters() {
        for character in ["é", "漢", "😀", "\0", "x"] {
            for before in ["", "a", "ab"] {
                let octets = format!("250 {before}{}\r\n", character.repeat(2000));
                let text = read(octets.as_bytes()).lines()[0].clone();
                let shown = if character == "\0" { "\\x00" } else { character };
                let rest = text.strip_prefix(before).unwrap();
                assert_eq!(rest.replace(shown, ""), "", "{before}{character}");
                assert_eq!(
                    rest.len() / shown.len(),
                    (KEPT_OCTETS - before.len()) / shown.len(),
                    "{before}{character}"
                );
            }
        }
    }

    #[test]
    fn what_has_come_when_nothing_more_will() {
        let cases: [(&[u8], Option<&str>); 8] = [
            (b"", None),
            (b"25", None),
            (b"250", Some("250")),
            (b"250 2.0.0 o", Some("250 2.0.0 o")),
            (b"250-one\r\n", Some("250 one")),
            (b"250-one\r\n5", Some("250 one 5")),
            (b"250-one\r\n451 no", Some("451 one no")),
            (b"451-4.3.0 no\r\n451", Some("451 4.3.0 no")),
        ];
        for (octets, expected) in cases {
            let mut reading = ReplyReader::default();
            assert_eq!(reading.take(octets).unwrap(), (octets.len(), None));
            assert_eq!(reading.cut_off().map(|reply| reply.to_string()).as_deref(), expected);
            assert_eq!(reading.cut_off(), None, "begun anew");
        }
    }

    #[test]
    fn endless_lines_and_replies_are_given_up_with_their_code_known() {
        let line = [b"250 ".as_slice(), &[b'x'; 70_000]].concat();
        let lines = "550-x\r\n".repeat(MAX_REPLY_OCTETS / 7 + 1);
        let (of_line, of_reply) = ("a reply line of more than 64 KiB", "a reply of more than 1 MiB");
        for (octets, code, part) in [(line.as_slice(), 250, of_line), (lines.as_bytes(), 550, of_reply)] {
            let mut reading = ReplyReader::default();
            assert_eq!(reading.take(octets), Err(BadReply::TooLong));
            assert_eq!(reading.overlong_part(), part);
            assert!(octets.starts_with(&reading.line_start()[..5]));
            assert_eq!(reading.cut_off().unwrap().code(), code);
        }
    }

    proptest! {
        /// Promises 3 and 4, and those of [`Reply`], of whatever a peer sends.
        #[test]
        fn any_octets_in_any_pieces(
            lines in prop::collection::vec(
                ("[2-5][0-9][0-9]|[0-9]{0,4}", "[- \t]?", prop::collection::vec(any::<u8>(), 0..1500)), 1..80),
            piece in 1_usize..5000,
        ) {
            let mut octets = Vec::new();
            for (code, separator, text) in lines {
                octets.extend([code.as_bytes(), separator.as_bytes(), &text, b"\r\n"].concat());
            }
            let whole = Reply::parse(&octets);
            let (mut reading, mut taken, mut pieced) = (ReplyReader::default(), 0, Ok(None));
            for piece in octets.chunks(piece) {
                match reading.take(piece) {
                    Ok((octets, reply)) => {
                        taken += octets;
                        pieced = Ok(reply.map(|reply| (reply, taken)));
                    }
                    Err(bad) => pieced = Err(bad),
                }
                if !matches!(pieced, Ok(None)) {
                    break;
                }
            }
            prop_assert_eq!(&whole, &pieced);
            if let Ok(Some((reply, _))) = whole {
                prop_assert!((200..600).contains(&reply.code()) && (1..=KEPT_LINES).contains(&reply.lines().len()));
                prop_assert!(reply.status().is_none_or(|status| fits(reply.code(), status)));
                for line in reply.lines() {
                    prop_assert!(line.len() <= KEPT_OCTETS && !line.chars().any(char::is_control));
                }
            }
        }
    }
}
