//! Encodes a body that is still arriving as quoted-printable or base64. Not here: wrapping one that is encoded already
//! (`wrapper.rs`).
//!
//! Promises: every line has at most [`MAX_ENCODED_LINE`] octets, all of them printable ASCII; a decoder gets the body back
//! octet for octet. The result does not depend on the pieces in which the body arrives. No line end is added at the end.
//!
//! RFC 2045 6.7 (quoted-printable), 6.8 (base64).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::entity_header::{BodyEncoding, MAX_ENCODED_LINE};
use super::wrapper::Wrapper;

/// The number of octets in a whole line of base64.
const BASE64_OCTETS: usize = MAX_ENCODED_LINE / 4 * 3;

/// The encoder of one body.
#[derive(Debug)]
pub(super) enum BodyEncoder {
    QuotedPrintable(QuotedPrintable),
    Base64(Base64),
    /// It has an encoding, and is only wrapped anew.
    Wrapped(Wrapper),
}

impl BodyEncoder {
    /// Returns an encoder for one body.
    pub(super) fn new(encoding: BodyEncoding) -> Self {
        match encoding {
            BodyEncoding::QuotedPrintable => BodyEncoder::QuotedPrintable(QuotedPrintable::default()),
            BodyEncoding::Base64 => BodyEncoder::Base64(Base64::default()),
        }
    }

    /// Returns what breaks the lines of a body that has this encoding.
    pub(super) fn wrapping(encoding: BodyEncoding) -> Self {
        BodyEncoder::Wrapped(Wrapper::new(encoding))
    }

    /// Takes `octets` of the body, and appends to `out` what is decided.
    pub(super) fn push(&mut self, octets: &[u8], out: &mut Vec<u8>) {
        match self {
            BodyEncoder::Wrapped(wrapper) => octets.iter().for_each(|octet| wrapper.take(*octet, out)),
            BodyEncoder::QuotedPrintable(encoder) => {
                octets.iter().for_each(|octet| encoder.take(*octet, out))
            }
            BodyEncoder::Base64(encoder) => encoder.push(octets, out),
        }
    }

    /// Ends the body, and appends the rest to `out`.
    pub(super) fn finish(self, out: &mut Vec<u8>) {
        match self {
            BodyEncoder::QuotedPrintable(encoder) => encoder.finish(out),
            BodyEncoder::Base64(encoder) => encoder.finish(out),
            BodyEncoder::Wrapped(wrapper) => wrapper.finish(out),
        }
    }
}

/// The state of quoted-printable within a line.
#[derive(Debug, Default)]
pub(super) struct QuotedPrintable {
    /// The length of the line so far.
    column: usize,
    /// An octet whose form depends on the next one: a blank, or CR.
    held: Option<u8>,
}

impl QuotedPrintable {
    fn take(&mut self, octet: u8, out: &mut Vec<u8>) {
        match (self.held.take(), octet) {
            (Some(b'\r'), b'\n') => {
                out.extend_from_slice(b"\r\n");
                self.column = 0;
                return;
            }
            // A blank at the end of a line would be lost on the way.
            (Some(blank @ (b' ' | b'\t')), b'\r') => self.put(blank, true, out),
            (Some(blank @ (b' ' | b'\t')), _) => self.put(blank, false, out),
            (Some(cr), _) => self.put(cr, true, out),
            (None, _) => {}
        }
        match octet {
            b' ' | b'\t' | b'\r' => self.held = Some(octet),
            b'!'..=b'<' | b'>'..=b'~' => self.put(octet, false, out),
            _ => self.put(octet, true, out),
        }
    }

    fn put(&mut self, octet: u8, is_quoted: bool, out: &mut Vec<u8>) {
        let octets = if is_quoted { 3 } else { 1 };
        // The equals sign of a soft line break needs a place.
        if self.column + octets > MAX_ENCODED_LINE - 1 {
            out.extend_from_slice(b"=\r\n");
            self.column = 0;
        }
        if is_quoted {
            out.extend_from_slice(format!("={octet:02X}").as_bytes());
        } else {
            out.push(octet);
        }
        self.column += octets;
    }

    fn finish(mut self, out: &mut Vec<u8>) {
        if let Some(last) = self.held.take() {
            self.put(last, true, out);
        }
    }
}

/// The state of base64 within a line.
#[derive(Debug, Default)]
pub(super) struct Base64 {
    /// The octets of a line that is not whole.
    held: Vec<u8>,
    /// True if a line was written.
    has_line: bool,
}

impl Base64 {
    fn push(&mut self, octets: &[u8], out: &mut Vec<u8>) {
        let mut rest = octets;
        while !rest.is_empty() {
            let wanted = (BASE64_OCTETS - self.held.len()).min(rest.len());
            self.held.extend_from_slice(&rest[..wanted]);
            rest = &rest[wanted..];
            if self.held.len() == BASE64_OCTETS {
                self.write_line(out);
            }
        }
    }

    fn write_line(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.has_line, true) {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(STANDARD.encode(&self.held).as_bytes());
        self.held.clear();
    }

    fn finish(mut self, out: &mut Vec<u8>) {
        if !self.held.is_empty() {
            self.write_line(out);
        }
    }
}
