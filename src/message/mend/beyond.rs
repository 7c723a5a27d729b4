//! The search for a Bcc after more lines than can be held.
//!
//! Promises: the result does not depend on the pieces in which the octets arrive. Memory is one short line.

use super::doubt::Doubt;
use crate::message::hidden_bcc::HiddenBcc;
use crate::message::reading::{Reading, bare_name};

/// The most octets of a line that are looked at.
const MAX_LINE_OCTETS: usize = 1000;

/// A search for a Bcc after lines in doubt that were passed on as text.
#[derive(Debug, Default)]
pub struct Beyond {
    /// The facts about the lines so far; `None` if the header section is over, so that a Bcc is text.
    doubt: Option<Doubt>,
    /// The beginning of the line that has not ended.
    line: Vec<u8>,
    /// The line before, if its colon may be on this one.
    name: Vec<u8>,
}

impl Beyond {
    /// Returns the search after lines with these facts.
    pub(super) fn behind(doubt: Doubt) -> Self {
        Beyond { doubt: Some(doubt), ..Beyond::default() }
    }

    /// Takes the next octets. Fails as soon as they contain a Bcc.
    pub fn push(&mut self, octets: &[u8]) -> Result<(), HiddenBcc> {
        for piece in octets.split_inclusive(|octet| *octet == b'\n') {
            if self.doubt.is_none() {
                break;
            }
            let (text, is_whole) = piece.strip_suffix(b"\n").map_or((piece, false), |text| (text, true));
            let room = MAX_LINE_OCTETS.saturating_sub(self.line.len());
            self.line.extend_from_slice(&text[..text.len().min(room)]);
            if is_whole {
                self.line.push(b'\n');
                self.end_line()?;
            }
        }
        Ok(())
    }

    /// Ends the content.
    pub fn finish(mut self) -> Result<(), HiddenBcc> {
        if self.doubt.is_some() { self.end_line() } else { Ok(()) }
    }

    fn end_line(&mut self) -> Result<(), HiddenBcc> {
        let line = std::mem::take(&mut self.line);
        let behind_name = [&std::mem::take(&mut self.name), &line[..]].concat();
        let doubt = self.doubt;
        let is_bcc = |octets: &[u8]| {
            Reading::of(octets).is_some_and(|reading| doubt.is_some_and(|doubt| doubt.is_bcc(&reading)))
        };
        if is_bcc(&behind_name) || is_bcc(&line) {
            return Err(HiddenBcc::BehindTooMuch);
        }
        if bare_name(&line).is_some() {
            self.name = line;
        } else if self.doubt.is_some_and(|doubt| doubt.ends_before(&line)) {
            self.doubt = None;
        } else if let Some(doubt) = &mut self.doubt {
            doubt.note(&line);
        }
        Ok(())
    }
}
