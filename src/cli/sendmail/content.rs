//! The content of the message, which can be sent several times although standard input can be read only once.
//!
//! ```text
//!  memory: the octets read by `message.rs` ─▶ overflow file: the octets returned so far ─▶ standard input: the rest
//! ```
//! Promises:
//! 1. After each [`rewind`](RewindableContent::rewind) the same octets are returned from the start.
//! 2. Memory is bounded: it does not grow after `new`, apart from one piece.
//! 3. If octets can no longer be kept (`overflow.rs`: no temporary directory, no room, too long), the content can still be
//!    read to its end, but not rewound.
//!
//! Fails if the input cannot be read, or if the overflow file cannot be read.
//!
//! Not here: which octets the content has (`message.rs`).

use std::io::{self, Read};

use super::input::Input;
use super::overflow::Overflow;

/// The content of a message, which is returned in pieces.
pub(super) struct RewindableContent<R> {
    /// The first octets.
    memory: Vec<u8>,
    /// The octets after those in `memory`, as far as they were returned; `None` once an octet was returned that could not
    /// be kept.
    overflow: Option<Overflow>,
    /// The octets that were not yet returned.
    input: Input<R>,
    /// The number of octets returned since the start.
    given: u64,
    /// The buffer for a piece that is not in `memory`.
    passing: Vec<u8>,
}

impl<R: Read> RewindableContent<R> {
    /// Returns content that starts with `memory` and goes on with `input`, whose octets are kept in `overflow`.
    pub(super) fn new(memory: Vec<u8>, input: Input<R>, overflow: Overflow) -> Self {
        RewindableContent { memory, overflow: Some(overflow), input, given: 0, passing: Vec::new() }
    }

    /// Goes back to the start. Returns false if that is no longer possible.
    pub(super) fn rewind(&mut self) -> bool {
        let is_kept = self.overflow.is_some();
        if is_kept {
            self.given = 0;
        }
        is_kept
    }

    /// Stops keeping octets: the caller will not need them again.
    pub(super) fn keep_no_more(&mut self) {
        self.overflow.iter_mut().for_each(Overflow::close);
    }

    /// Returns the next octets; `None` at the end.
    pub(super) fn piece(&mut self) -> io::Result<Option<&[u8]>> {
        let in_memory = self.memory.len() as u64;
        if self.given < in_memory {
            self.given = in_memory;
            return Ok(Some(&self.memory));
        }
        self.passing.clear();
        let start = self.given - in_memory;
        if let Some(overflow) = self.overflow.as_ref().filter(|overflow| start < overflow.len()) {
            overflow.read(start, &mut self.passing)?;
        } else if self.input.read(&mut self.passing)? {
            self.overflow = self.overflow.take().and_then(|overflow| overflow.with(&self.passing).ok());
        } else {
            return Ok(None);
        }
        self.given += self.passing.len() as u64;
        Ok(Some(&self.passing))
    }
}

#[cfg(test)]
impl<R: Read> RewindableContent<R> {
    /// Returns all octets up to the end.
    pub(super) fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        while let Some(piece) = self.piece().unwrap() {
            rest.extend_from_slice(piece);
        }
        rest
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::super::input::InputEnd;
    use super::super::testing::{Broken, Pieces};
    use super::*;

    /// Returns content whose overflow is in `directory` and has room for `room` octets.
    fn content<R: Read>(memory: &[u8], input: R, directory: &Path, room: u64) -> RewindableContent<R> {
        RewindableContent::new(
            memory.to_vec(),
            Input::new(input, InputEnd::Eof),
            Overflow::new(directory.into(), room),
        )
    }

    #[test]
    fn a_large_one_is_given_again_and_again_in_little_memory() {
        let directory = tempfile::tempdir().unwrap();
        let input = b"0123456789abcd\r\n".repeat(256 * 1024);
        let expected = [b"memory\r\n", &input[..]].concat();
        let mut content = content(b"memory\r\n", &input[..], directory.path(), u64::MAX);
        for _ in 0..3 {
            assert!(content.rest() == expected && content.piece().unwrap().is_none() && content.rewind());
        }
        assert!(content.passing.capacity() < 256 * 1024);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_in_memory_alone_needs_no_directory() {
        for memory in [&b""[..], b"memory\r\n"] {
            let mut content = content(memory, io::empty(), Path::new("/nonexistent"), 0);
            for _ in 0..3 {
                assert!(content.rest() == memory && content.rewind());
            }
        }
    }

    #[test]
    fn where_no_more_can_be_kept_it_goes_on_and_not_back() {
        let directory = tempfile::tempdir().unwrap();
        let input = b"0123456789abcd\r\n".repeat(10);
        let expected = [b"memory\r\n", &input[..]].concat();
        for (directory, room) in [(Path::new("/nonexistent"), u64::MAX), (directory.path(), 50)] {
            let mut content = content(b"memory\r\n", Pieces::of(&input, 16), directory, room);
            content.piece().unwrap();
            assert!(content.rewind(), "only what is in memory was given");
            assert!(content.rest() == expected && !content.rewind());
            assert!(content.piece().unwrap().is_none(), "it begins nowhere else either");
        }
    }

    #[test]
    fn behind_the_last_rewind_nothing_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let mut content = content(b"m\r\n", Pieces::of(b"a\r\nb\r\nc\r\n", 3), directory.path(), u64::MAX);
        for piece in [&b"m\r\n"[..], b"a\r\n", b"b\r\n"] {
            assert_eq!(content.piece().unwrap().unwrap(), piece);
        }
        assert!(content.rewind());
        content.keep_no_more();
        assert_eq!(content.rest(), b"m\r\na\r\nb\r\nc\r\n");
        assert!(!content.rewind());
    }

    #[test]
    fn a_broken_input_is_an_error() {
        let mut content = content(b"", Broken, Path::new("/nonexistent"), 0);
        assert_eq!(content.piece().unwrap_err().to_string(), "torn");
    }

    proptest! {
        /// Wherever the ways before broke off, the last has it all.
        #[test]
        fn it_is_the_same_from_every_start(
            memory in "[a-z]{0,4}", input in "([a-z]{0,4}\r\n){0,20}", piece in 1_usize..5,
            breaks in proptest::collection::vec(0_usize..40, 0..4),
        ) {
            let directory = tempfile::tempdir().unwrap();
            let pieces = Pieces::of(input.as_bytes(), piece);
            let mut content = content(memory.as_bytes(), pieces, directory.path(), u64::MAX);
            for pieces in breaks {
                for _ in 0..pieces {
                    content.piece().unwrap();
                }
                prop_assert!(content.rewind());
            }
            prop_assert_eq!(content.rest(), [memory.as_bytes(), input.as_bytes()].concat());
        }
    }
}
