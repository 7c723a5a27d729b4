//! Lines that may be header or text, and where it is certain that they are text.

use super::kind::FieldKind;
use crate::message::header::{LineKind, is_mbox_line};
use crate::message::reading::Reading;

/// Where lines in doubt stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DoubtPlace {
    /// Before the first field.
    Front,
    /// Behind fields; the first of the lines is no field.
    Between,
    /// Behind fields of which none makes a message, and an empty line.
    BehindEmptyLine,
}

/// What was seen of lines in doubt.
#[derive(Clone, Copy, Debug)]
pub(super) struct Doubt {
    pub(super) place: DoubtPlace,
    pub(super) has_mbox_line: bool,
    pub(super) has_blank_line: bool,
    /// Not only empty lines and mbox lines.
    pub(super) has_text: bool,
    /// A line of HTML, of a body that was glued on.
    has_html: bool,
    has_from: bool,
    has_other_of_message: bool,
}

impl Doubt {
    /// Before a line was seen.
    pub(super) fn at(place: DoubtPlace) -> Self {
        Doubt {
            place,
            has_mbox_line: false,
            has_blank_line: false,
            has_text: false,
            has_html: false,
            has_from: false,
            has_other_of_message: false,
        }
    }

    /// Whether a line behind these that reads so is a Bcc: in HTML a marked up one is text.
    pub(super) fn is_bcc(&self, reading: &Reading) -> bool {
        reading.is_bcc() && !(reading.is_marked_up && self.has_html)
    }

    /// Whether all before `line` is text, if `line` reads as no field that is wanted.
    pub(super) fn ends_before(&self, line: &[u8]) -> bool {
        let is_empty = matches!(line, b"\n" | b"\r\n");
        match self.place {
            DoubtPlace::Front => is_empty && self.has_text,
            DoubtPlace::Between => is_empty,
            DoubtPlace::BehindEmptyLine if is_empty => self.has_from || self.has_other_of_message,
            DoubtPlace::BehindEmptyLine => LineKind::begun_by(line) == Some(LineKind::Text) && !is_mbox(line),
        }
    }

    /// Takes note of `line`.
    pub(super) fn note(&mut self, line: &[u8]) {
        self.has_mbox_line |= is_mbox(line);
        self.has_blank_line |= is_blank(line);
        self.has_text |= !is_blank(line) && !is_mbox(line);
        self.has_html |= is_html(line);
        if LineKind::begun_by(line) == Some(LineKind::Field) {
            match FieldKind::of(line) {
                FieldKind::From => self.has_from |= line.contains(&b'@'),
                kind => self.has_other_of_message |= kind.makes_a_message(),
            }
        }
    }

    /// Whether the lines make a header section of their own: From, and another field that makes a message.
    pub(super) fn is_header(&self) -> bool {
        self.place == DoubtPlace::BehindEmptyLine && self.has_from && self.has_other_of_message
    }

    /// Whether a field right behind these lines is the first one of a mailbox file's message.
    pub(super) fn is_mbox_line(&self) -> bool {
        self.place == DoubtPlace::Front && self.has_mbox_line && !self.has_blank_line && !self.has_text
    }
}

pub(in crate::message) fn is_mbox(line: &[u8]) -> bool {
    let line = line.strip_prefix(b">").unwrap_or(line);
    line.starts_with(b"From ") && is_mbox_line(line)
}

/// Whether a line begins with a tag.
fn is_html(line: &[u8]) -> bool {
    match line.trim_ascii_start() {
        [b'<', b'!' | b'/', ..] => true,
        [b'<', first, ..] => first.is_ascii_alphabetic() && !line.contains(&b'@'),
        _ => false,
    }
}

/// Empty, or of white space alone.
pub(super) fn is_blank(line: &[u8]) -> bool {
    line.trim_ascii().is_empty()
}
