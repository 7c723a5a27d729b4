//! Splits the input into command lines.
//!
//! Promises: a line ends at its LF. One that is too long is read to its end and reported once, in whatever pieces it
//! arrives. The caller never needs to keep more than [`MAX_UNCONSUMED_OCTETS`].
//!
//! A bare LF ends a *command* line too, since scripts on this host write it. This allows no smuggling: content ends only
//! with CRLF `.` CRLF, whatever ended the command lines before it.
//!
//! RFC 5321 4.5.3.1.4 (512 octets, more for parameters), RFC 4954 4 (12288 for AUTH).

use memchr::memchr;

use super::super::dot::LineEnd;

/// The longest command line in octets, with its line end.
const MAX_COMMAND_OCTETS: usize = 4096;

/// The longest line of AUTH in octets, with its line end. No state needs more unconsumed octets to be kept.
pub const MAX_UNCONSUMED_OCTETS: usize = 12_288;

/// The state of the reader.
#[derive(Debug, Default)]
pub(super) struct LineReader {
    /// True if the reader is within a line that is already too long.
    overlong: bool,
}

/// The line at the start of the input.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum InputLine<'a> {
    /// It has no line end yet. `dropped` octets belong to an overlong line, and need not be kept.
    Partial { dropped: usize },
    /// It is the end of an overlong line.
    TooLong { octets: usize },
    /// It is complete: its text without the line end, and its number of octets with it.
    Whole { text: &'a [u8], octets: usize, end: LineEnd },
}

impl LineReader {
    /// Reads a line at the start of `input`. `in_auth` says whether it is a response in SASL.
    pub(super) fn read<'a>(&mut self, input: &'a [u8], in_auth: bool) -> InputLine<'a> {
        let Some(line_feed) = memchr(b'\n', input) else {
            self.overlong |= input.len() >= limit(input, in_auth);
            return InputLine::Partial { dropped: if self.overlong { input.len() } else { 0 } };
        };
        let octets = line_feed + 1;
        if std::mem::take(&mut self.overlong) || octets > limit(input, in_auth) {
            return InputLine::TooLong { octets };
        }
        match &input[..line_feed] {
            [text @ .., b'\r'] => InputLine::Whole { text, octets, end: LineEnd::Crlf },
            text => InputLine::Whole { text, octets, end: LineEnd::Bare },
        }
    }
}

fn limit(input: &[u8], in_auth: bool) -> usize {
    let is_auth = in_auth || input.get(..5).is_some_and(|verb| verb.eq_ignore_ascii_case(b"AUTH "));
    if is_auth { MAX_UNCONSUMED_OCTETS } else { MAX_COMMAND_OCTETS }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_at_its_line_feed() {
        let mut lines = LineReader::default();
        let crlf = InputLine::Whole { text: b"NOOP", octets: 6, end: LineEnd::Crlf };
        assert_eq!(lines.read(b"NOOP\r\nQUIT", false), crlf);
        let bare = InputLine::Whole { text: b"NO\rOP", octets: 6, end: LineEnd::Bare };
        assert_eq!(lines.read(b"NO\rOP\nQUIT", false), bare);
        assert_eq!(lines.read(b"NOOP\r", false), InputLine::Partial { dropped: 0 });
        assert_eq!(lines.read(b"", false), InputLine::Partial { dropped: 0 });
    }

    #[test]
    fn limits_hold_to_the_octet_whole_and_in_pieces() {
        for (start, in_auth, limit) in [
            ("NOOP ", false, MAX_COMMAND_OCTETS),
            ("auth ", false, MAX_UNCONSUMED_OCTETS),
            ("AAAA ", true, MAX_UNCONSUMED_OCTETS),
        ] {
            let fits = format!("{start}{}\r\n", "x".repeat(limit - start.len() - 2));
            let mut lines = LineReader::default();
            assert!(matches!(lines.read(fits.as_bytes(), in_auth), InputLine::Whole { .. }), "{start}");
            let partial = &fits.as_bytes()[..limit - 1];
            assert_eq!(lines.read(partial, in_auth), InputLine::Partial { dropped: 0 }, "{start}");

            let long = fits.replace("\r\n", "x\r\n");
            assert_eq!(lines.read(long.as_bytes(), in_auth), InputLine::TooLong { octets: limit + 1 });
            let (head, tail) = long.as_bytes().split_at(limit);
            assert_eq!(lines.read(head, in_auth), InputLine::Partial { dropped: limit });
            assert_eq!(lines.read(b"more", in_auth), InputLine::Partial { dropped: 4 });
            assert_eq!(lines.read(tail, in_auth), InputLine::TooLong { octets: 1 });
            assert!(matches!(lines.read(b"NOOP\r\n", in_auth), InputLine::Whole { .. }));
        }
    }
}
