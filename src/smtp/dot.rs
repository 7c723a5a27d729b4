//! Content on its way through SMTP: the dots and line ends of a message.
//!
//! Promises:
//! 1. End of data is CRLF `.` CRLF and nothing else. The CRLF of the DATA command counts, so the
//!    first line of content may be the dot.
//! 2. What the [`Decoder`] yields is *normalised*: every CR stands before an LF and every LF behind
//!    a CR, and it ends in CRLF unless it is empty. The octets are the same in whatever pieces they come.
//! 3. What the [`Stuffer`] makes of normalised content holds CRLF `.` CRLF once, at its end, and no
//!    other sequence that a sloppy server could take for it; decoding it gives the content back.
//!
//! Normalising: a bare LF is a line end. A bare CR is none and becomes a space, as in Postfix: what an
//! application took for one line must not become two, the second a field `Bcc`. CRs directly before
//! CRLF or at the end of content are dropped; NUL and all other octets stay.
//! Unstuffing: behind a true CRLF a leading dot is removed. Behind a bare LF only a leading `..`
//! loses a dot: clients that write bare LF do stuff, but there a lone dot ends nothing.
//!
//! Memory: nothing is kept but a state; at most [`MAX_HELD_CRS`] CRs are held back.
//!
//! Not here: limits on size (`session/content.rs`).
//!
//! RFC 5321 2.3.8 (line ends), 4.1.1.4 (end of data), 4.5.2 (dots); RFC 3030 (BDAT).

use super::scan;

/// So many CRs in a row are held back to see whether CRLF follows; those before them are bare.
pub const MAX_HELD_CRS: u8 = u8::MAX;

const CRLF: &[u8] = b"\r\n";

/// How a line ended on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineEnd {
    /// CR LF.
    Crlf,
    /// A LF without a CR before it.
    Bare,
}

/// Makes content of what a client sends after DATA or BDAT.
#[derive(Debug)]
pub struct Decoder {
    dots: Dots,
    at: At,
}

/// Whether dots at line starts mean something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dots {
    /// DATA.
    Stuffed,
    /// BDAT.
    Plain,
}

/// Where in a line the next octet stands; what was held back is in the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    LineStart(LineEnd),
    InLine,
    /// Behind a dot that was first in its line.
    Dot(LineEnd),
    /// Behind CRLF `.` CR.
    DotCr,
    /// Behind so many CRs, at least one.
    Crs(u8),
}

/// How far [`Decoder::push`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeProgress {
    /// How many octets of the input were taken.
    pub octets: usize,
    /// The end of data was reached; what follows is a command. Never for BDAT.
    pub ended: bool,
}

impl Decoder {
    /// For what follows a DATA command that ended its line so.
    pub fn for_data(command_end: LineEnd) -> Self {
        Decoder { dots: Dots::Stuffed, at: At::LineStart(command_end) }
    }

    /// For the octets of all BDAT chunks of one message.
    pub fn for_chunks() -> Self {
        Decoder { dots: Dots::Plain, at: At::LineStart(LineEnd::Crlf) }
    }

    /// Takes content from the front of `input` and appends it, decoded, to `out`. All of it is
    /// taken unless the end of data is in it.
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

    /// The last chunk is in: ends the last line if the client did not.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        match self.at {
            At::InLine | At::Crs(_) => out.extend_from_slice(CRLF),
            At::LineStart(_) | At::Dot(_) | At::DotCr => {}
        }
        self.at = At::LineStart(LineEnd::Crlf);
    }

    /// Whether `octet` stands for itself here.
    fn is_plain(&self, octet: u8) -> bool {
        match (self.at, octet) {
            (_, b'\r' | b'\n') | (At::Dot(_) | At::DotCr | At::Crs(_), _) => false,
            (At::LineStart(_), b'.') => self.dots == Dots::Plain,
            (At::LineStart(_) | At::InLine, _) => true,
        }
    }

    /// Copies octets and CRLFs that need no change, in one run; says how many. `input` begins with
    /// an octet that stands for itself.
    fn copy_lines(&mut self, input: &[u8], out: &mut Vec<u8>) -> usize {
        let mut from = 0;
        let run = loop {
            let Some(found) = scan::find(&input[from..], |octet| matches!(octet, b'\r' | b'\n')) else {
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

    /// One octet where it may need care; says whether it ended the data.
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

/// Makes of content what a client sends after DATA, its end included.
#[derive(Debug)]
pub struct Stuffer {
    behind: Behind,
}

/// What the content so far ends in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behind {
    /// CRLF, or nothing yet: the DATA command's own.
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
    /// At the start of content.
    pub fn new() -> Self {
        Stuffer { behind: Behind::Crlf }
    }

    /// Appends `content` to `out` with every dot at a line start doubled.
    ///
    /// Content is normalised; should a bare LF be in it all the same, a dot behind it is doubled
    /// too, lest a sloppy server takes it for the end.
    pub fn push(&mut self, content: &[u8], out: &mut Vec<u8>) {
        if matches!(self.behind, Behind::Crlf | Behind::Lf) && content.first() == Some(&b'.') {
            out.push(b'.');
        }
        let (mut copied, mut from) = (0, 0);
        while let Some(found) = scan::find(&content[from..], |octet| octet == b'\n') {
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

    /// Appends CRLF if the content did not end in one, then the end of data.
    pub fn finish(self, out: &mut Vec<u8>) {
        if self.behind != Behind::Crlf {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b".\r\n");
    }
}

#[cfg(test)]
mod tests;
