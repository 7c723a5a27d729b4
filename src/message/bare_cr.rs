//! A Bcc behind a bare CR, found before the CR is a space.
//!
//! A CR that stands before no LF ends no line (`smtp/dot.rs`), so that nobody can slip a field into another one.
//! But a program may have meant it as a line end, and then its Bcc stands in a field that everybody reads. Neither
//! reading is safe: such a message is not to be taken.
//!
//! Promises: in whatever pieces the octets come, the answer is the same. Memory is one short line. Behind the first
//! empty line nothing is looked for: there a Bcc is text.
//!
//! Not here: the refusal (`hidden_bcc.rs`).

use super::hidden_bcc::HiddenBcc;
use super::reading::{Reading, bare_name};

/// What is looked at behind a CR.
const MAX_LOOKED_AT_OCTETS: usize = 128;

/// Looks for a Bcc behind a bare CR in octets as they came in.
#[derive(Debug, Default)]
pub struct BareCrs {
    at: At,
    /// A line that is not empty was seen.
    has_line: bool,
    /// What stands behind the last CR of the line.
    behind_cr: Option<Vec<u8>>,
    is_found: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    LineStart,
    InLine,
    /// Nothing is looked for any more.
    End,
}

impl BareCrs {
    /// Takes octets as they came in.
    pub fn push(&mut self, octets: &[u8]) {
        for octet in octets {
            if self.at == At::End {
                return;
            }
            self.step(*octet);
        }
    }

    /// What there is of such a Bcc in what was taken.
    pub fn hidden_bcc(&self) -> Option<HiddenBcc> {
        (self.is_found || self.reads_as_bcc()).then_some(HiddenBcc::BehindCr)
    }

    fn step(&mut self, octet: u8) {
        match octet {
            b'\n' => {
                self.look();
                self.behind_cr = None;
                let is_end = self.at == At::LineStart && self.has_line;
                self.at = if is_end || self.is_found { At::End } else { At::LineStart };
            }
            b'\r' => {
                self.look();
                match &mut self.behind_cr {
                    // The colon may stand behind this one.
                    Some(name) if bare_name(name).is_some() => name.push(b' '),
                    other => *other = Some(Vec::new()),
                }
            }
            _ => {
                (self.at, self.has_line) = (At::InLine, true);
                if let Some(name) = &mut self.behind_cr
                    && name.len() < MAX_LOOKED_AT_OCTETS
                {
                    name.push(octet);
                }
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A program that ended its lines with CR had its Bcc published in Subject, or whatever stood before it.
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
