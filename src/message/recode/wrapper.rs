//! Breaks the lines of a body that is base64 or quoted-printable already.
//!
//! Promises: octets are only added: in base64 CRLF, in quoted-printable soft line breaks. What a decoder reads is the same
//! before and after. No line that was longer has more than [`MAX_ENCODED_LINE`] octets, but for one without a place at which
//! it may be broken: within `=XX`, and within blanks at the end of a line, which a decoder removes. The result does not
//! depend on the pieces in which the body arrives.
//!
//! RFC 2045 6.7 (quoted-printable), 6.8 (base64: a decoder skips line breaks).

use super::entity_header::{BodyEncoding, MAX_ENCODED_LINE};

/// Upper bound of the number of blanks that are held until it is known whether they end a line.
const MOST_BLANKS: usize = 900;

/// The state within a line.
#[derive(Debug)]
pub(super) struct Wrapper {
    encoding: BodyEncoding,
    /// The length of the line so far.
    column: usize,
    /// True if `=` of quoted-printable is held: at the end of a line it is a soft line break.
    holds_equals: bool,
    /// The number of octets of quoted-printable that still belong to the last `=`.
    of_equals: usize,
    /// Blanks of quoted-printable that may end the line.
    blanks: Vec<u8>,
}

impl Wrapper {
    pub(super) fn new(encoding: BodyEncoding) -> Self {
        Wrapper { encoding, column: 0, holds_equals: false, of_equals: 0, blanks: Vec::new() }
    }

    /// Takes the next octet, and appends to `out` what is decided.
    pub(super) fn take(&mut self, octet: u8, out: &mut Vec<u8>) {
        match (self.encoding, octet) {
            (_, b'\r' | b'\n') => {
                self.end_line(out);
                out.push(octet);
                (self.column, self.of_equals) = (0, 0);
            }
            (BodyEncoding::Base64, _) => {
                if self.column == MAX_ENCODED_LINE {
                    out.extend_from_slice(b"\r\n");
                    self.column = 0;
                }
                self.put(octet, out);
            }
            (BodyEncoding::QuotedPrintable, b' ' | b'\t') if self.blanks.len() < MOST_BLANKS => {
                self.blanks.push(octet);
            }
            (BodyEncoding::QuotedPrintable, _) => self.go_on(octet, out),
        }
    }

    /// Takes an octet of quoted-printable that shows that the line goes on behind what is held.
    fn go_on(&mut self, octet: u8, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.holds_equals) {
            self.put_quoted(b'=', out);
        }
        for blank in std::mem::take(&mut self.blanks) {
            self.put_quoted(blank, out);
        }
        match octet {
            b'=' => self.holds_equals = true,
            _ => self.put_quoted(octet, out),
        }
    }

    fn end_line(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.holds_equals) {
            out.push(b'=');
        }
        out.append(&mut self.blanks);
    }

    /// Ends the body.
    pub(super) fn finish(mut self, out: &mut Vec<u8>) {
        self.end_line(out);
    }

    fn put(&mut self, octet: u8, out: &mut Vec<u8>) {
        out.push(octet);
        self.column += 1;
    }

    fn put_quoted(&mut self, octet: u8, out: &mut Vec<u8>) {
        let octets = if octet == b'=' { 3 } else { 1 };
        // The equals sign of a soft line break needs a place.
        if self.of_equals == 0 && self.column + octets > MAX_ENCODED_LINE - 1 {
            out.extend_from_slice(b"=\r\n");
            self.column = 0;
        }
        self.of_equals = if octet == b'=' { 2 } else { self.of_equals.saturating_sub(1) };
        self.put(octet, out);
    }
}
