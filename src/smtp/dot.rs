//! The dots and line ends of content in SMTP: decoding what a client sends, and encoding what we send.
//!
//! Promises:
//! 1. End of data is CRLF `.` CRLF and nothing else. The CRLF of the DATA command counts, so the
//!    first line of content may be the dot.
//! 2. The output of the [`Decoder`] is *normalised*: every CR is followed by an LF and every LF preceded by a CR, and it
//!    ends in CRLF unless it is empty. It does not depend on the pieces in which the input arrives.
//! 3. The output of the [`Stuffer`] for normalised content contains CRLF `.` CRLF only at its end, and no other sequence
//!    that a careless server could take for it; decoding it gives the same content again.
//!
//! Normalising: a bare LF is a line end. A bare CR is not, and becomes a space, as in Postfix: one line of an application
//! must not become two, of which the second might be a field `Bcc`. CRs directly before CRLF or at the end of content are
//! dropped; NUL and all other octets stay.
//! Unstuffing: after CRLF, a dot at the start of a line is removed. After a bare LF, only `..` loses a dot: clients that
//! write bare LF do stuff dots, but a single dot does not end the data there.
//!
//! Memory: only a state is kept; at most [`MAX_HELD_CRS`] CRs are held back.
//!
//! Not here: limits on size (`session/content.rs`).
//!
//! RFC 5321 2.3.8 (line ends), 4.1.1.4 (end of data), 4.5.2 (dots); RFC 3030 (BDAT).

use memchr::{memchr, memchr2};

/// The most CRs in a row that are held back until it is clear whether LF follows. Those before them are bare.
pub const MAX_HELD_CRS: u8 = u8::MAX;

const CRLF: &[u8] = b"\r\n";

/// The octets that ended a line on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineEnd {
    /// CR and LF, as SMTP requires.
    Crlf,
    /// A LF without a CR before it.
    Bare,
}

/// Decodes the octets that a client sends after DATA or BDAT to content.
#[derive(Debug)]
pub struct Decoder {
    dots: Dots,
    at: At,
}

/// The treatment of dots at the start of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dots {
    /// They are stuffed, as after DATA.
    Stuffed,
    /// They stand for themselves, as in BDAT.
    Plain,
}

/// The position of the next octet in its line. The names say which octets were held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    LineStart(LineEnd),
    InLine,
    /// The octet after a dot at the start of a line.
    Dot(LineEnd),
    /// The octet after CRLF `.` CR.
    DotCr,
    /// The octet after this number of CRs, at least one.
    Crs(u8),
}

/// The result of [`Decoder::push`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeProgress {
    /// The number of input octets that were read.
    pub octets: usize,
    /// True if the end of data was reached, so that a command follows; never for BDAT.
    pub ended: bool,
}

impl Decoder {
    /// Returns a decoder for the octets after a DATA command whose line ended in `command_end`.
    pub fn for_data(command_end: LineEnd) -> Self {
        Decoder { dots: Dots::Stuffed, at: At::LineStart(command_end) }
    }

    /// Returns a decoder for the octets of all BDAT chunks of one message.
    pub fn for_chunks() -> Self {
        Decoder { dots: Dots::Plain, at: At::LineStart(LineEnd::Crlf) }
    }

    /// Reads content at the start of `input` and appends it, decoded, to `out`. It reads all of `input`, or up to the
    /// end of data.
    pub fn push(&mut self, input: &[u8], out: &mut Vec<u8>) -> DecodeProgress {
        let mut octets = 0;
        while let Some(&octet) = input.get(octets) {
            if self.is_plain(octet) {
                octets += self.copy_lines(&input[octets..], out);
                continue;
            }
            octets += 1;
            if self.step(octet, out) {
                return DecodeProgress { octets, ended: true };
            }
        }
        DecodeProgress { octets, ended: false }
    }

    /// Ends the last line after the last chunk, if the client did not do so.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        match self.at {
            At::InLine | At::Crs(_) => out.extend_from_slice(CRLF),
            At::LineStart(_) | At::Dot(_) | At::DotCr => {}
        }
        self.at = At::LineStart(LineEnd::Crlf);
    }

    /// Returns whether `octet` has no special meaning here.
    fn is_plain(&self, octet: u8) -> bool {
        match (self.at, octet) {
            (_, b'\r' | b'\n') | (At::Dot(_) | At::DotCr | At::Crs(_), _) => false,
            (At::LineStart(_), b'.') => self.dots == Dots::Plain,
            (At::LineStart(_) | At::InLine, _) => true,
        }
    }

    /// Copies octets and CRLFs that need no change, in one run, and returns their number. `input` begins with an octet
    /// that has no special meaning.
    fn copy_lines(&mut self, input: &[u8], out: &mut Vec<u8>) -> usize {
        let mut from = 0;
        let run = loop {
            let Some(found) = memchr2(b'\r', b'\n', &input[from..]) else {
                self.at = At::InLine;
                break input.len();
            };
            let line_end = from + found;
            from = line_end + 2;
            match &input[line_end..] {
                [b'\r', b'\n', next, ..] if *next != b'.' => {}
                [b'\r', b'\n', ..] => {
                    self.at = At::LineStart(LineEnd::Crlf);
                    break from;
                }
                _ => {
                    self.at = At::InLine;
                    break line_end;
                }
            }
        };
        out.extend_from_slice(&input[..run]);
        run
    }

    /// Processes one octet that may have a special meaning. Returns whether it ended the data.
    fn step(&mut self, octet: u8, out: &mut Vec<u8>) -> bool {
        match (self.at, octet) {
            (At::DotCr, b'\n') => {
                self.at = At::LineStart(LineEnd::Crlf);
                return true;
            }
            (At::Dot(LineEnd::Crlf), b'\r') => self.at = At::DotCr,
            (At::LineStart(end), b'.') if self.dots == Dots::Stuffed => self.at = At::Dot(end),
            (At::Dot(end), _) => {
                // RFC 5321 4.5.2: the dot goes. Behind a bare line end it was stuffed only if a second follows.
                if end == LineEnd::Bare && octet != b'.' {
                    out.push(b'.');
                }
                self.at = At::InLine;
                self.step(octet, out);
            }
            (At::DotCr, b'\r') => self.at = At::Crs(2),
            (At::DotCr, _) => {
                self.at = At::Crs(1);
                self.step(octet, out);
            }
            (At::Crs(MAX_HELD_CRS), b'\r') => out.push(b' '),
            (At::Crs(held), b'\r') => self.at = At::Crs(held + 1),
            (At::Crs(_), b'\n') => self.end_line(LineEnd::Crlf, out),
            (At::Crs(held), _) => {
                out.extend((0..held).map(|_| b' '));
                self.at = At::InLine;
                self.step(octet, out);
            }
            (At::LineStart(_) | At::InLine, b'\r') => self.at = At::Crs(1),
            (At::LineStart(_) | At::InLine, b'\n') => self.end_line(LineEnd::Bare, out),
            (At::LineStart(_) | At::InLine, _) => {
                out.push(octet);
                self.at = At::InLine;
            }
        }
        false
    }

    fn end_line(&mut self, end: LineEnd, out: &mut Vec<u8>) {
        out.extend_from_slice(CRLF);
        self.at = At::LineStart(end);
    }
}

/// Encodes content to the octets that a client sends after DATA, with the end of data.
#[derive(Debug)]
pub struct Stuffer {
    behind: Behind,
}

/// The end of the content so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behind {
    /// CRLF, that of the DATA command if there is no content yet.
    Crlf,
    Lf,
    Cr,
    Other,
}

impl Default for Stuffer {
    fn default() -> Self {
        Stuffer::new()
    }
}

impl Stuffer {
    /// Returns a stuffer for the start of content.
    pub fn new() -> Self {
        Stuffer { behind: Behind::Crlf }
    }

    /// Appends `content` to `out` with every dot at a line start doubled.
    ///
    /// Content is normalised. If a bare LF is in it nevertheless, a dot after it is doubled too, so that a careless
    /// server does not take it for the end of data.
    pub fn push(&mut self, content: &[u8], out: &mut Vec<u8>) {
        if matches!(self.behind, Behind::Crlf | Behind::Lf) && content.first() == Some(&b'.') {
            out.push(b'.');
        }
        let (mut copied, mut from) = (0, 0);
        while let Some(found) = memchr(b'\n', &content[from..]) {
            from += found + 1;
            if content.get(from) == Some(&b'.') {
                out.extend_from_slice(&content[copied..from]);
                out.push(b'.');
                copied = from;
            }
        }
        out.extend_from_slice(&content[copied..]);
        self.behind = match content {
            [] => self.behind,
            [.., b'\r', b'\n'] => Behind::Crlf,
            [b'\n'] if self.behind == Behind::Cr => Behind::Crlf,
            [.., b'\n'] => Behind::Lf,
            [.., b'\r'] => Behind::Cr,
            _ => Behind::Other,
        };
    }

    /// Appends CRLF if the content did not end in it, and then the end of data.
    pub fn finish(self, out: &mut Vec<u8>) {
        if self.behind != Behind::Crlf {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b".\r\n");
    }
}

#[cfg(test)]
mod tests;
