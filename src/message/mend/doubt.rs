//! The facts about lines that may be header or text, and the point at which they are certainly text.

use super::kind::FieldKind;
use crate::message::header::{LineKind, is_mbox_line};
use crate::message::reading::Reading;

/// The place of lines in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DoubtPlace {
    /// They are before the first field.
    Front,
    /// They are after fields, and the first of them is not a field.
    Between,
    /// They are after an empty line and fields of which none makes a message.
    BehindEmptyLine,
}

/// The kind of a line in doubt. The later ones are more like text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum JunkKind {
    /// No line, since none has been seen.
    Nothing,
    /// A line that begins a message in a mailbox file.
    MboxLine,
    /// A line that is empty or consists of white space.
    Blank,
    /// Any other line.
    Text,
}

impl JunkKind {
    fn of(line: &[u8]) -> Self {
        match line {
            line if is_blank(line) => JunkKind::Blank,
            line if is_mbox(line) => JunkKind::MboxLine,
            _ => JunkKind::Text,
        }
    }
}

/// The facts about lines in doubt. Each flag is set by lines of its own, in any order, and says nothing of the others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Doubt {
    pub(super) place: DoubtPlace,
    /// The kind of the line that is most like text.
    kind: JunkKind,
    /// True if there is a line of HTML, of a body that follows without an empty line.
    has_html: bool,
    has_from: bool,
    has_other_of_message: bool,
}

impl Doubt {
    /// Returns the facts before any line.
    pub(super) fn at(place: DoubtPlace) -> Self {
        Doubt {
            place,
            kind: JunkKind::Nothing,
            has_html: false,
            has_from: false,
            has_other_of_message: false,
        }
    }

    /// Returns whether a line after these that reads like this is a Bcc. After HTML, one with markup is text.
    pub(super) fn is_bcc(&self, reading: &Reading) -> bool {
        reading.is_bcc() && !(reading.is_marked_up && self.has_html)
    }

    /// Returns whether all lines before `line` are text, if `line` is not a field that must be kept.
    pub(super) fn ends_before(&self, line: &[u8]) -> bool {
        let is_empty = matches!(line, b"\n" | b"\r\n");
        match self.place {
            DoubtPlace::Front => is_empty && self.kind == JunkKind::Text,
            DoubtPlace::Between => is_empty,
            DoubtPlace::BehindEmptyLine if is_empty => self.has_from || self.has_other_of_message,
            DoubtPlace::BehindEmptyLine => LineKind::begun_by(line) == Some(LineKind::Text) && !is_mbox(line),
        }
    }

    /// Notes `line`.
    pub(super) fn note(&mut self, line: &[u8]) {
        self.kind = self.kind.max(JunkKind::of(line));
        self.has_html |= is_html(line);
        if LineKind::begun_by(line) == Some(LineKind::Field) {
            match FieldKind::of(line) {
                FieldKind::From => self.has_from |= line.contains(&b'@'),
                kind => self.has_other_of_message |= kind.makes_a_message(),
            }
        }
    }

    /// Returns whether the lines are a header section of their own: From, and another field that makes a message.
    pub(super) fn is_header(&self) -> bool {
        self.place == DoubtPlace::BehindEmptyLine && self.has_from && self.has_other_of_message
    }

    /// Returns whether a field directly after these lines is the first one of a message in a mailbox file.
    pub(super) fn is_mbox_line(&self) -> bool {
        self.place == DoubtPlace::Front && self.kind == JunkKind::MboxLine
    }
}

pub(in crate::message) fn is_mbox(line: &[u8]) -> bool {
    let line = line.strip_prefix(b">").unwrap_or(line);
    line.starts_with(b"From ") && is_mbox_line(line)
}

/// Returns whether a line begins with a tag.
fn is_html(line: &[u8]) -> bool {
    match line.trim_ascii_start() {
        [b'<', b'!' | b'/', ..] => true,
        [b'<', first, ..] => first.is_ascii_alphabetic() && !line.contains(&b'@'),
        _ => false,
    }
}

/// Returns whether a line is empty or consists of white space.
pub(super) fn is_blank(line: &[u8]) -> bool {
    line.trim_ascii().is_empty()
}
