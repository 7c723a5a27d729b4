//! Reads the message from standard input and normalises it.
//!
//! Promises:
//! 1. The message ends at the end of the input, and without `-i` at a line that is a single dot. Nothing after that line is
//!    used. A line ends with LF here, never with a bare CR.
//! 2. The output is normalised (`smtp/dot.rs`), and does not depend on the sizes of the reads.
//! 3. Memory is one buffer.
//!
//! Not here: the header section (`message.rs`).

use std::io::{self, Read};

use memchr::memchr;

use crate::message::bare_cr::BareCrs;
use crate::message::hidden_bcc::HiddenBcc;
use crate::smtp::dot::Decoder;

const BUFFER_OCTETS: usize = 64 * 1024;

/// The end of a message on standard input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InputEnd {
    /// A line that is a single dot, or the end of the input.
    Dot,
    /// Only the end of the input (`-i`).
    Eof,
}

/// A message that is being read.
pub(super) struct Input<R> {
    source: R,
    end: InputEnd,
    at: At,
    decoder: Decoder,
    bare_crs: BareCrs,
    buffer: Vec<u8>,
}

/// The position of the next octet in its line. `Dot` and `DotCr` name the octets that are held back.
#[derive(Clone, Copy)]
enum At {
    LineStart,
    InLine,
    Dot,
    DotCr,
    End,
}

impl<R: Read> Input<R> {
    pub(super) fn new(source: R, end: InputEnd) -> Self {
        let buffer = vec![0; BUFFER_OCTETS];
        let (decoder, bare_crs) = (Decoder::for_chunks(), BareCrs::default());
        Input { source, end, at: At::LineStart, decoder, bare_crs, buffer }
    }

    /// Returns the Bcc behind a bare CR, if there was one in the octets read so far.
    pub(super) fn hidden_bcc(&self) -> Option<HiddenBcc> {
        self.bare_crs.hidden_bcc()
    }

    /// Reads once and appends the octets to `out`. Returns false if the message had ended before.
    pub(super) fn read(&mut self, out: &mut Vec<u8>) -> io::Result<bool> {
        if matches!(self.at, At::End) {
            return Ok(false);
        }
        let len = match self.source.read(&mut self.buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(true),
            len => len?,
        };
        let buffer = std::mem::take(&mut self.buffer);
        self.bare_crs.push(&buffer[..len]);
        if len == 0 || self.take(&buffer[..len], out) {
            self.at = At::End;
            self.decoder.finish(out);
        }
        self.buffer = buffer;
        Ok(true)
    }

    /// Decodes `octets`. Returns whether a line with a single dot ended the message. A dot at the end of the input stays
    /// held back, since it is such a line, too.
    fn take(&mut self, mut octets: &[u8], out: &mut Vec<u8>) -> bool {
        if self.end == InputEnd::Eof {
            self.decoder.push(octets, out);
            return false;
        }
        while let Some(&octet) = octets.first() {
            match (self.at, octet) {
                (At::Dot | At::DotCr, b'\n') | (At::End, _) => return true,
                (At::Dot, b'\r') => (self.at, octets) = (At::DotCr, &octets[1..]),
                (At::Dot, _) => self.release(b".", out),
                (At::DotCr, _) => self.release(b".\r", out),
                (At::LineStart, b'.') => (self.at, octets) = (At::Dot, &octets[1..]),
                (At::LineStart | At::InLine, _) => {
                    let line_end = memchr(b'\n', octets);
                    self.at = if line_end.is_some() { At::LineStart } else { At::InLine };
                    let (line, rest) = octets.split_at(line_end.map_or(octets.len(), |index| index + 1));
                    self.decoder.push(line, out);
                    octets = rest;
                }
            }
        }
        false
    }

    fn release(&mut self, held: &[u8], out: &mut Vec<u8>) {
        self.decoder.push(held, out);
        self.at = At::InLine;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{Broken, Pieces};
    use super::*;

    fn content(octets: &[u8], piece: usize, end: InputEnd) -> Vec<u8> {
        let mut input = Input::new(Pieces::of(octets, piece).with_interruptions(), end);
        let mut out = Vec::new();
        while input.read(&mut out).unwrap() {}
        out
    }

    #[test]
    fn a_lone_dot_ends_it_unless_told_otherwise() {
        for (octets, at_dot, at_end) in [
            ("a\n.\nb\n", "a\r\n", "a\r\n.\r\nb\r\n"),
            ("a\r\n.\r\nb\r\n", "a\r\n", "a\r\n.\r\nb\r\n"),
            (".\nb", "", ".\r\nb\r\n"),
            ("a\n.", "a\r\n", "a\r\n.\r\n"),
            ("a\n.\r", "a\r\n", "a\r\n.\r\n"),
            ("a\n..\nb", "a\r\n..\r\nb\r\n", "a\r\n..\r\nb\r\n"),
            ("a\n.b\n", "a\r\n.b\r\n", "a\r\n.b\r\n"),
            ("a.\nb", "a.\r\nb\r\n", "a.\r\nb\r\n"),
            ("a\n. \nb", "a\r\n. \r\nb\r\n", "a\r\n. \r\nb\r\n"),
            ("a\r.\rb", "a . b\r\n", "a . b\r\n"),
            ("a\n.\r\r\nb", "a\r\n.\r\nb\r\n", "a\r\n.\r\nb\r\n"),
            ("", "", ""),
            ("\n", "\r\n", "\r\n"),
        ] {
            for piece in [1, 2, 1000] {
                let found = [InputEnd::Dot, InputEnd::Eof].map(|end| content(octets.as_bytes(), piece, end));
                assert_eq!(found, [at_dot.as_bytes(), at_end.as_bytes()], "{octets:?} by {piece}");
            }
        }
    }

    #[test]
    fn what_follows_the_dot_is_left_alone() {
        let mut source: &[u8] = b"a\n.\n";
        let mut out = Vec::new();
        let mut input = Input::new(source.by_ref().chain(io::repeat(b'x')), InputEnd::Dot);
        assert!(input.read(&mut out).unwrap());
        assert!(!input.read(&mut out).unwrap());
        assert_eq!(out, b"a\r\n");
    }

    #[test]
    fn a_broken_input_is_an_error() {
        assert!(Input::new(Broken, InputEnd::Dot).read(&mut Vec::new()).is_err());
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(octets in "[.a\r\n]{0,20}", piece in 1_usize..5, dots: bool) {
            let end = if dots { InputEnd::Dot } else { InputEnd::Eof };
            let whole = content(octets.as_bytes(), 1000, end);
            prop_assert_eq!(content(octets.as_bytes(), piece, end), whole);
        }
    }
}
