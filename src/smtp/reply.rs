//! A reply: what the server says, and what the client makes of it.
//!
//! Promises: a [`Reply`] can be put on the wire, on a log line and into a DSN as it stands.
//! 1. Its code has three digits and begins with 2, 3, 4 or 5.
//! 2. It has at least one line, and no line holds a control character or a line break: whatever
//!    a peer sent, such octets and those that are no UTF-8 were written as `\xNN`.
//! 3. Its enhanced status, where it has one, is of the class that the code's first digit names.
//!
//! Parsing is incremental, and bounded by [`MAX_LINES`] lines of [`MAX_LINE_OCTETS`]. It fails with
//! a [`BadReply`], which says nothing about a message: the peer does not speak SMTP.
//!
//! Not here: what a reply means for a message (`relay/verdict.rs`), which one the server gives
//! (`session/`).
//!
//! RFC 5321 4.2, RFC 2034 (enhanced status), RFC 3463.

use std::fmt::{self, Write as _};

use super::scan;
use crate::status::{Class, Status};

/// The longest reply line read, its line end included: twice what RFC 5321 4.5.3.1.5 allows.
pub const MAX_LINE_OCTETS: usize = 1024;

/// The most lines read of one reply.
pub const MAX_LINES: usize = 64;

/// First digit of a reply code (RFC 5321 4.2.1); SMTP has no 1xx.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// 2xx: done.
    Positive,
    /// 3xx: go on, more is wanted.
    Intermediate,
    /// 4xx: not now.
    Transient,
    /// 5xx: never, as it stands.
    Permanent,
}

/// One reply: a code, mostly an enhanced status, and lines of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    code: u16,
    status: Option<Status>,
    lines: Vec<String>,
}

/// Why octets from a server are no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadReply {
    /// A line that does not begin with a code and a space, a hyphen or its end.
    NotAReply,
    /// A line of more than [`MAX_LINE_OCTETS`].
    LineTooLong,
    /// More than [`MAX_LINES`] lines.
    TooManyLines,
    /// Lines of one reply with different codes.
    CodesDiffer,
}

impl fmt::Display for BadReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadReply::NotAReply => "not an SMTP reply",
            BadReply::LineTooLong => "reply line too long",
            BadReply::TooManyLines => "reply of too many lines",
            BadReply::CodesDiffer => "different codes in one reply",
        })
    }
}

impl std::error::Error for BadReply {}

impl Reply {
    /// `code status text`; `status` is of the class that `code` begins with.
    pub fn new(code: u16, status: Status, text: impl Into<String>) -> Self {
        debug_assert!(fits(code, status), "{code} {status}");
        Reply { status: Some(status), ..Reply::bare(code, text) }
    }

    /// `code text`, for the replies that have no enhanced status: greeting, HELO and EHLO, 354, 334.
    pub fn bare(code: u16, text: impl Into<String>) -> Self {
        Reply::multiline(code, vec![text.into()])
    }

    /// Several lines without an enhanced status, as EHLO is answered.
    pub fn multiline(code: u16, lines: Vec<String>) -> Self {
        debug_assert!((200..600).contains(&code), "{code}");
        let mut lines: Vec<String> = lines.into_iter().map(printable).collect();
        if lines.is_empty() {
            lines.push(String::new());
        }
        Reply { code, status: None, lines }
    }

    /// The three digits.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// What the first digit says.
    pub fn severity(&self) -> Severity {
        match self.code / 100 {
            2 => Severity::Positive,
            3 => Severity::Intermediate,
            4 => Severity::Transient,
            _ => Severity::Permanent,
        }
    }

    /// The enhanced status, if there is one and its class fits the code.
    pub fn status(&self) -> Option<Status> {
        self.status
    }

    /// The lines of text, without codes and without enhanced status.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// Appends the reply as it goes on the wire, the enhanced status on every line (RFC 2034 4).
    pub fn encode(&self, out: &mut Vec<u8>) {
        let status = self.status.map(|status| status.to_string()).unwrap_or_default();
        for (index, line) in self.lines.iter().enumerate() {
            let last = index + 1 == self.lines.len();
            out.extend(
                [self.code / 100, self.code / 10 % 10, self.code % 10].map(|digit| b'0' + digit as u8),
            );
            out.push(if last { b' ' } else { b'-' });
            out.extend_from_slice(status.as_bytes());
            if !status.is_empty() && !line.is_empty() {
                out.push(b' ');
            }
            out.extend_from_slice(line.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }

    /// A whole reply from the front of `input`, and how many octets it took; `None` while its end
    /// has not come. Lines may end in a bare LF.
    pub fn parse(input: &[u8]) -> Result<Option<(Reply, usize)>, BadReply> {
        let mut reply = Reply { code: 0, status: None, lines: Vec::new() };
        let mut taken = 0;
        while let Some((line, octets)) = split_line(&input[taken..])? {
            taken += octets;
            let (code, last, text) = parse_line(line)?;
            if reply.lines.is_empty() {
                reply.code = code;
            } else if reply.code != code {
                return Err(BadReply::CodesDiffer);
            }
            reply.push_line(text);
            if last {
                return Ok(Some((reply, taken)));
            }
            if reply.lines.len() == MAX_LINES {
                return Err(BadReply::TooManyLines);
            }
        }
        Ok(None)
    }

    /// Adds a line as it was received. The first status counts: some servers give it on one line only.
    fn push_line(&mut self, text: &[u8]) {
        let text = decoded(text);
        match Status::split_from(&text).filter(|(status, _)| fits(self.code, *status)) {
            Some((status, rest)) => {
                self.status.get_or_insert(status);
                self.lines.push(rest.to_owned());
            }
            None => self.lines.push(text),
        }
    }
}

/// On one line, `250 2.0.0 first line second line`: what logs and DSNs quote.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(status) = self.status {
            write!(f, " {status}")?;
        }
        self.lines.iter().filter(|line| !line.is_empty()).try_for_each(|line| write!(f, " {line}"))
    }
}

fn fits(code: u16, status: Status) -> bool {
    matches!(
        (code / 100, status.class()),
        (2, Class::Success) | (4, Class::Transient) | (5, Class::Permanent)
    )
}

/// The first line of `input` without its line end, and its octets with it.
fn split_line(input: &[u8]) -> Result<Option<(&[u8], usize)>, BadReply> {
    let within = &input[..input.len().min(MAX_LINE_OCTETS)];
    match scan::find(within, |octet| octet == b'\n') {
        Some(end) => Ok(Some((&input[..end], end + 1))),
        None if within.len() == MAX_LINE_OCTETS => Err(BadReply::LineTooLong),
        // Some peers never end a line: a TLS alert, another protocol's greeting.
        None if !within.iter().take(3).all(u8::is_ascii_digit) => Err(BadReply::NotAReply),
        None => Ok(None),
    }
}

/// The code, whether this is the last line, and the text.
fn parse_line(line: &[u8]) -> Result<(u16, bool, &[u8]), BadReply> {
    let (&[a, b, c], rest) = line.split_first_chunk::<3>().ok_or(BadReply::NotAReply)?;
    if !(b'2'..=b'5').contains(&a) || !b.is_ascii_digit() || !c.is_ascii_digit() {
        return Err(BadReply::NotAReply);
    }
    let code = [a, b, c].iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    match trim_carriage_returns(rest) {
        // RFC 5321 4.2: a code alone is to be accepted.
        [] => Ok((code, true, b"")),
        [b' ', text @ ..] => Ok((code, true, text)),
        [b'-', text @ ..] => Ok((code, false, text)),
        _ => Err(BadReply::NotAReply),
    }
}

fn trim_carriage_returns(mut line: &[u8]) -> &[u8] {
    while let [rest @ .., b'\r'] = line {
        line = rest;
    }
    line
}

/// A peer's octets as text that [`Reply`] may hold.
fn decoded(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len());
    for chunk in octets.utf8_chunks() {
        chunk.valid().chars().for_each(|c| push_printable(&mut text, c));
        for octet in chunk.invalid() {
            // Writing to a String cannot fail.
            let _ = write!(text, "\\x{octet:02x}");
        }
    }
    text
}

fn printable(text: String) -> String {
    if text.bytes().all(|octet| (b' '..=b'~').contains(&octet)) {
        return text;
    }
    let mut escaped = String::with_capacity(text.len());
    text.chars().for_each(|c| push_printable(&mut escaped, c));
    escaped
}

fn push_printable(text: &mut String, c: char) {
    match c {
        '\t' => text.push(' '),
        // Readers of logs break lines at the last two as well.
        c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
            // Writing to a String cannot fail.
            let _ = write!(text, "\\x{:02x}", u32::from(c));
        }
        c => text.push(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(reply: &Reply) -> String {
        let mut out = Vec::new();
        reply.encode(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn written_as_rfc_5321_has_it() {
        let ehlo = Reply::multiline(250, vec!["host".into(), "SIZE 10".into(), "HELP".into()]);
        let cases = [
            (Reply::new(250, Status::success(1, 0), "ok"), "250 2.1.0 ok\r\n"),
            (Reply::new(550, Status::permanent(1, 1), ""), "550 5.1.1\r\n"),
            (Reply::bare(354, "go on"), "354 go on\r\n"),
            (Reply::bare(334, ""), "334 \r\n"),
            (ehlo, "250-host\r\n250-SIZE 10\r\n250 HELP\r\n"),
            (Reply::multiline(250, vec![]), "250 \r\n"),
            (
                Reply::bare(220, "a\r\n250 b\0\u{7f}\tc\u{2028}"),
                "220 a\\x0d\\x0a250 b\\x00\\x7f c\\x2028\r\n",
            ),
        ];
        for (reply, expected) in cases {
            assert_eq!(encoded(&reply), expected);
        }
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
        assert_eq!(encoded(&reply).as_bytes(), &octets[..end]);
    }

    #[test]
    fn what_is_no_reply_is_known_early() {
        let many = "250-x\r\n".repeat(MAX_LINES + 1);
        let long = format!("250 {}", "x".repeat(MAX_LINE_OCTETS));
        let cases: [(&[u8], BadReply); 11] = [
            (b"\x15\x03\x03", BadReply::NotAReply),
            (b"SSH", BadReply::NotAReply),
            (b"HTTP/1.1 400 Bad Request\r\n", BadReply::NotAReply),
            (b"\r\n", BadReply::NotAReply),
            (b"25\r\n", BadReply::NotAReply),
            (b"150 x\r\n", BadReply::NotAReply),
            (b"650 x\r\n", BadReply::NotAReply),
            (b"250_x\r\n", BadReply::NotAReply),
            (b"250-x\r\n251 y\r\n", BadReply::CodesDiffer),
            (many.as_bytes(), BadReply::TooManyLines),
            (long.as_bytes(), BadReply::LineTooLong),
        ];
        for (octets, expected) in cases {
            assert_eq!(Reply::parse(octets), Err(expected), "{:?}", octets.escape_ascii().to_string());
        }
    }

    #[test]
    fn severity_is_the_first_digit() {
        let severities = [250, 354, 451, 550].map(|code| Reply::bare(code, "").severity());
        let expected = [Severity::Positive, Severity::Intermediate, Severity::Transient, Severity::Permanent];
        assert_eq!(severities, expected);
    }
}
