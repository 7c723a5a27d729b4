//! A reply, as the server writes it and the client reads it.
//!
//! Promises: a [`Reply`] can be sent, logged and put into a DSN as it is.
//! 1. Its code has three digits and begins with 2, 3, 4 or 5.
//! 2. It has at least one line, and no line contains a control character or a line break: such octets from a peer, and
//!    those that are not UTF-8, are replaced by `\xNN`.
//! 3. Its enhanced status, if it has one, has the class of the first digit of the code.
//!
//! Not here: parsing a reply (`reply/reading.rs`), its meaning for a message (`relay/verdict.rs`), the choice of a reply
//! by the server (`session/`).
//!
//! RFC 5321 4.2, RFC 2034 (enhanced status), RFC 3463.

mod reading;

use std::fmt::{self, Write as _};

use crate::status::{Status, StatusClass};

pub use reading::{BadReply, ReplyReader};

/// The first digit of a reply code (RFC 5321 4.2.1). SMTP has no 1xx.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// 2xx: success.
    Positive,
    /// 3xx: the server waits for more.
    Intermediate,
    /// 4xx: a failure for now.
    Transient,
    /// 5xx: a failure for good.
    Permanent,
}

/// One reply: a code, usually an enhanced status, and lines of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    code: u16,
    status: Option<Status>,
    lines: Vec<String>,
}

impl Reply {
    /// Returns the reply `code status text`. The class of `status` must fit `code`.
    pub fn new(code: u16, status: Status, text: impl Into<String>) -> Self {
        debug_assert!(fits(code, status), "{code} {status}");
        Reply { status: Some(status), ..Reply::bare(code, text) }
    }

    /// Returns the reply `code text`, for replies that have no enhanced status: greeting, HELO and EHLO, 354, 334.
    pub fn bare(code: u16, text: impl Into<String>) -> Self {
        Reply::multiline(code, vec![text.into()])
    }

    /// Returns a reply of several lines without an enhanced status, as for EHLO.
    pub fn multiline(code: u16, lines: Vec<String>) -> Self {
        debug_assert!((200..600).contains(&code), "{code}");
        let mut lines: Vec<String> = lines.into_iter().map(printable).collect();
        if lines.is_empty() {
            lines.push(String::new());
        }
        Reply { code, status: None, lines }
    }

    /// Returns the code of three digits.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// Returns the meaning of the first digit.
    pub fn severity(&self) -> Severity {
        match self.code / 100 {
            2 => Severity::Positive,
            3 => Severity::Intermediate,
            4 => Severity::Transient,
            _ => Severity::Permanent,
        }
    }

    /// Returns the enhanced status, if there is one and its class fits the code.
    pub fn status(&self) -> Option<Status> {
        self.status
    }

    /// Returns the lines of text, without code and enhanced status.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// Returns the same reply with each line of its text as `changed` returns it.
    pub fn with_text(self, changed: impl Fn(&str) -> String) -> Self {
        Reply { lines: self.lines.iter().map(|line| printable(changed(line))).collect(), ..self }
    }

    /// Appends the reply as it is sent, with the enhanced status on every line (RFC 2034 4).
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

    /// Parses a reply at the start of `input`. Returns it with its number of octets; `None` if it is not complete yet.
    pub fn parse(input: &[u8]) -> Result<Option<(Reply, usize)>, BadReply> {
        let (octets, reply) = ReplyReader::default().take(input)?;
        Ok(reply.map(|reply| (reply, octets)))
    }
}

/// Displays on one line, `250 2.0.0 first line second line`, for logs and DSNs.
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
        (2, StatusClass::Success) | (4, StatusClass::Transient) | (5, StatusClass::Permanent)
    )
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
    fn severity_is_the_first_digit() {
        let severities = [250, 354, 451, 550].map(|code| Reply::bare(code, "").severity());
        let expected = [Severity::Positive, Severity::Intermediate, Severity::Transient, Severity::Permanent];
        assert_eq!(severities, expected);
    }
}
