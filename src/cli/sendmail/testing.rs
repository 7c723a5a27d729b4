//! Inputs of `sendmail` for the tests of several of its files.

use std::io::{self, ErrorKind, Read};

/// An input that gives a piece of its octets at a time.
pub(super) struct Pieces<'a> {
    octets: &'a [u8],
    piece: usize,
    /// True if a call is interrupted before each piece.
    has_interruptions: bool,
    was_interrupted: bool,
}

impl<'a> Pieces<'a> {
    /// Returns an input of these octets, which gives at most `piece` of them at a time.
    pub(super) fn of(octets: &'a [u8], piece: usize) -> Self {
        Pieces { octets, piece, has_interruptions: false, was_interrupted: false }
    }

    /// Returns the same input with an interruption before each piece.
    pub(super) fn with_interruptions(self) -> Self {
        Pieces { has_interruptions: true, ..self }
    }
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.was_interrupted = self.has_interruptions && !self.was_interrupted;
        if self.was_interrupted {
            return Err(ErrorKind::Interrupted.into());
        }
        let len = self.piece.min(buffer.len());
        self.octets.read(&mut buffer[..len])
    }
}

/// An input that cannot be read.
pub(super) struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("torn"))
    }
}
