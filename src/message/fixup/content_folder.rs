//! Folds lines that are too long in the whole content of a message, by what its bodies are.
//!
//! Promises: those of `long_lines.rs`. A body that is quoted-printable gets soft line breaks.

use super::super::header::Header;
use super::super::long_lines::{Folder, LineBreak, LongLines};
use super::super::recode::QuotedBodies;

/// The folding of one message.
#[derive(Debug)]
pub(super) struct ContentFolder {
    folder: Folder,
    /// The search for bodies that are quoted-printable; `None` if there are none.
    quoted: Option<QuotedBodies>,
}

impl ContentFolder {
    /// Returns what folds content with this header section, which is pushed first, in this way.
    pub(super) fn new(way: LongLines, header: Header<'_>) -> Self {
        let quoted = if way == LongLines::Fold { QuotedBodies::within(header) } else { None };
        ContentFolder { folder: Folder::new(way), quoted }
    }

    /// Takes `octets`, and appends to `out` what is decided.
    pub(super) fn push(&mut self, octets: &[u8], out: &mut Vec<u8>) {
        let ContentFolder { folder, quoted } = self;
        match quoted {
            Some(quoted) => quoted.push(octets, &mut |octets, is_quoted| {
                folder.push_as(octets, line_break(is_quoted), out);
            }),
            None => folder.push(octets, out),
        }
    }

    /// Ends the content, and appends the rest to `out`. Returns whether any line was too long.
    pub(super) fn finish(self, out: &mut Vec<u8>) -> bool {
        let ContentFolder { mut folder, quoted } = self;
        if let Some(quoted) = quoted {
            quoted.finish(&mut |octets, is_quoted| folder.push_as(octets, line_break(is_quoted), out));
        }
        folder.finish(out)
    }
}

fn line_break(is_quoted: bool) -> LineBreak {
    if is_quoted { LineBreak::Soft } else { LineBreak::Fold }
}
