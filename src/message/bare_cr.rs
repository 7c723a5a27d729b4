//! Finds a Bcc after a bare CR, before the CR becomes a space.
//!
//! A CR without an LF after it does not end a line (`smtp/dot.rs`), so that nobody can hide a field in another one.
//! But the program may have meant a line end, and then its Bcc is in a field that everybody reads. Neither reading is
//! safe, so such a message must not be accepted.
//!
//! Promises: the result does not depend on the pieces in which the octets arrive. Memory is one short line. Nothing
//! is searched after the empty line that ends the header section, where a Bcc is text. An empty line after fields
//! that do not make a message may have been written too early (`mend.rs`), and does not end the search.
//!
//! Not here: the refusal (`hidden_bcc.rs`).

use super::header::{LineKind, MAX_LINE_OCTETS, name_before_colon};
use super::hidden_bcc::HiddenBcc;
use super::mend::{BYTE_ORDER_MARK, is_mbox, makes_a_message};
use super::reading::{Reading, bare_name};

/// The most octets that are looked at after a CR.
const MAX_LOOKED_AT_OCTETS: usize = 128;

/// A search for a Bcc after a bare CR in the octets as they arrive.
#[derive(Debug, Default)]
pub struct BareCrs {
    at: At,
    /// The beginning of the line, at most [`MAX_LINE_OCTETS`], which show its kind.
    line: Vec<u8>,
    block: Block,
    /// The octets after the last CR of the line.
    behind_cr: Option<Vec<u8>>,
    is_found: bool,
}

/// The facts about the lines since the last empty line.
#[derive(Debug, Default)]
struct Block {
    /// True if an empty line before them may have been written too early.
    is_further: bool,
    /// True if there is a line that is no field, no continuation and no mbox line.
    has_text: bool,
    best: BestLine,
}

/// The line of a block that makes most of a header section of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum BestLine {
    /// There is no line.
    #[default]
    Nothing,
    /// No line is a field.
    NoField,
    /// A field, but none that makes a message.
    Field,
    /// A field that makes a message.
    FieldOfMessage,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    LineStart,
    InLine,
    /// The search is over.
    End,
}

impl BareCrs {
    /// Takes octets as they arrive.
    pub fn push(&mut self, octets: &[u8]) {
        for octet in octets {
            if self.at == At::End {
                return;
            }
            self.step(*octet);
        }
    }

    /// Returns the finding if there is such a Bcc in the octets so far.
    pub fn hidden_bcc(&self) -> Option<HiddenBcc> {
        (self.is_found || self.reads_as_bcc()).then_some(HiddenBcc::BehindCr)
    }

    fn step(&mut self, octet: u8) {
        match octet {
            b'\n' => {
                self.look();
                self.behind_cr = None;
                let mut line = std::mem::take(&mut self.line);
                line.push(octet);
                let is_end = if self.at == At::LineStart { self.block.end() } else { self.block.note(&line) };
                self.at = if is_end || self.is_found { At::End } else { At::LineStart };
            }
            b'\r' => {
                self.look();
                self.keep(b' ');
                match &mut self.behind_cr {
                    // The colon may follow this CR.
                    Some(name) if bare_name(name).is_some() => name.push(b' '),
                    other => *other = Some(Vec::new()),
                }
            }
            _ => {
                self.at = At::InLine;
                self.keep(octet);
                if let Some(name) = &mut self.behind_cr
                    && name.len() < MAX_LOOKED_AT_OCTETS
                {
                    name.push(octet);
                }
            }
        }
    }

    /// Adds an octet to the line, in which a CR is a space.
    fn keep(&mut self, octet: u8) {
        if self.line.len() < MAX_LINE_OCTETS {
            self.line.push(octet);
        }
    }

    fn look(&mut self) {
        self.is_found |= self.reads_as_bcc();
    }

    fn reads_as_bcc(&self) -> bool {
        let reading = self.behind_cr.as_ref().and_then(|name| Reading::of(name));
        reading.is_some_and(|reading| reading.is_bcc())
    }
}

impl Block {
    /// Notes a line. Returns whether it is text, and with it all that follows.
    fn note(&mut self, line: &[u8]) -> bool {
        let is_first = self.best == BestLine::Nothing && !self.is_further;
        let line = line.strip_prefix(BYTE_ORDER_MARK).filter(|_| is_first).unwrap_or(line);
        let kind = LineKind::begun_by(line);
        self.has_text |= kind == Some(LineKind::Text) && !is_mbox(line);
        self.best = self.best.max(match kind {
            Some(LineKind::Field) if self.is_of_message(line) => BestLine::FieldOfMessage,
            Some(LineKind::Field) => BestLine::Field,
            Some(LineKind::Text | LineKind::Continuation | LineKind::Blank { .. }) | None => {
                BestLine::NoField
            }
        });
        self.is_further && self.has_text && self.best != BestLine::FieldOfMessage
    }

    /// Returns whether a field makes a message of the block. After an empty line, a From does so only if it has an address
    /// (`mend.rs`).
    fn is_of_message(&self, field: &[u8]) -> bool {
        let name = name_before_colon(field);
        let is_bare = self.is_further && name.eq_ignore_ascii_case(b"From") && !field.contains(&b'@');
        !is_bare && str::from_utf8(name).is_ok_and(makes_a_message)
    }

    /// Notes an empty line. Returns whether it ends the header section; it does not if no line stands before it.
    fn end(&mut self) -> bool {
        let is_end = match self.best {
            BestLine::Nothing => false,
            BestLine::Field => self.has_text,
            BestLine::NoField | BestLine::FieldOfMessage => true,
        };
        *self = Block { is_further: self.is_further || self.best != BestLine::Nothing, ..Block::default() };
        is_end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program ended its lines with CR, and its Bcc became public as a part of Subject, or of another field.
    #[test]
    fn a_bcc_behind_a_bare_cr_is_found() {
        for (octets, is_found) in [
            ("To: a@x\rBcc: s@y\r\n\r\n", true),
            ("From: a@x\rTo: b@y\rbcc : s@y\rSubject: z\r\rbody", true),
            ("To: a@x\r\rResent-Bcc: s\n", true),
            ("\r\n\nTo: a@x\rBcc; s@y\n", true),
            ("To: a@x\r\t Bcc\r : s@y\n", true),
            ("\rBcc: s@y\r\n", true),
            ("To: a@x\rBcc:", true),
            ("To: a@x\r\nBcc: s@y\r\n\r\n", false),
            ("To: a@x\r\r\nBcc: s@y\r\n\r\n", false),
            ("To: a@x\r\n\r\n10%\rBcc: s@y\r\n", false),
            ("Subject: 10%\r20% Bcc: s@y\r\n", false),
            ("Subject: x\rX-Bcc: y\r\n", false),
            // After an empty line that was written too early, it became public, or got no mail.
            ("X-Mailer: m\n\nTo: a@x\rBcc: s@y\n", true),
            ("\u{feff}Status: 200\r\n\r\n\r\nX: y\n z\n\nFrom: a@x\nno field\nTo: b\rBcc: s@y\n", true),
            ("From a 1:00\nX: y\n\n\rTo: a@x\rBcc: s@y\n", true),
            ("X: y\n\nFrom: a\n\nTo: a@x\rBcc: s@y\n", true),
            ("X: y\n\nHello\nTo: a@x\rBcc: s@y\n", false),
            ("X: y\nno field\n\nTo: a@x\rBcc: s@y\n", false),
            ("X: y\n\nFrom: a@x\n\nTo: a@x\rBcc: s@y\n", false),
            ("Hello\n\nTo: a@x\rBcc: s@y\n", false),
            ("", false),
        ] {
            for len in [1, 2, 3, 100] {
                let mut found = BareCrs::default();
                octets.as_bytes().chunks(len).for_each(|piece| found.push(piece));
                assert_eq!(found.hidden_bcc().is_some(), is_found, "{octets:?} by {len}");
            }
        }
    }
}
