//! Where the header section of a message that comes in is broken, mended.
//!
//! Programs write things before and between the lines of a header that do not belong there. Read strictly
//! (`header.rs`), the section ends at the first of them: what stands behind is text, and a Bcc in it goes out to
//! everybody, a From in it is not the message's.
//!
//! Promises:
//! 1. A line before the first empty line that reads as Bcc or Resent-Bcc is a field behind this, and so dropped
//!    (`rewrite/`) or a recipient (`sendmail -t`); so is the first that reads as From and has an `@` in it.
//!    Other lines alone make no header of a text: `Hello: …` may begin a letter.
//! 2. A header section that is none of the kinds below goes through as it is, and what was mended too.
//! 3. How the octets arrive does not matter. Memory is bounded: at most [`MAX_HELD_OCTETS`] and one push are held.
//!
//! | what stands there | before the fields | between them |
//! |---|---|---|
//! | UTF-8 byte order mark | dropped, if a field follows | a line that is no field |
//! | mbox `From ` or `>From ` line, with a time in it | dropped, if a field follows | a line that is no field |
//! | empty lines | dropped, if promise 1 asks for it | the header section ends |
//! | line of spaces and tabs | the same | a continuation (RFC 5322 4.2), stays |
//! | space or tab before the colon | the field's own (RFC 5322 4.5), stays | the same |
//! | any other line that is no field: no colon, NUL, 8-bit or a space in the name, `GET / HTTP/1.1` | if promise 1 asks for it: in a field `X-Before-Header` | if promise 1 asks for it: a continuation of the line before, which is what a line broken without indenting was |
//! | the same, and it reads as From or Bcc without what no name has in it (`B cc:`, `>Bcc:`, NUL) | that field | the same |
//! | bare CR | a space, since the session and `sendmail` read it so (`smtp/dot.rs`) | the same |
//!
//! Where promise 1 does not ask for it, the header section ends before the line, which is text (`header.rs`).
//!
//! Not here: what is done to fields (`rewrite/`).

use super::header::{Line, is_mbox_line};

/// A Bcc that stands further behind a line that is no field is text.
const MAX_HELD_OCTETS: usize = 64 * 1024;

/// What reads as the name of a field is no longer, whatever stands in it besides.
const MAX_NAME_OCTETS: usize = 64;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Mends content that is still arriving.
#[derive(Debug, Default)]
pub struct Mender {
    /// What is not decided: the beginning of a line, or lines that are fields only if one behind them is.
    held: Vec<u8>,
    at: At,
    has_field: bool,
    has_from: bool,
}

#[derive(Clone, Copy, Debug, Default)]
enum At {
    /// The beginning of a line.
    #[default]
    LineStart,
    /// Within a line that belongs to the header section.
    InLine,
    /// Behind a line that is no field.
    InDoubt(Doubt),
    /// Behind the header section.
    Body,
}

/// Lines that are held, of which the first is no field.
#[derive(Clone, Copy, Debug, Default)]
struct Doubt {
    /// Where the line begins that is looked at next.
    line: usize,
    /// No line ends between there and here.
    searched: usize,
    has_mbox_line: bool,
    has_blank_line: bool,
    /// Not only empty lines and mbox lines.
    has_text: bool,
}

/// The fields that must not be lost in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    From,
    Bcc,
    ResentBcc,
}

impl Mender {
    /// Takes `octets` and appends what is decided to `out`.
    pub fn push(&mut self, octets: &[u8], out: &mut Vec<u8>) {
        if matches!(self.at, At::Body) {
            return out.extend_from_slice(octets);
        }
        self.held.extend_from_slice(octets);
        while self.step(false, out) {}
    }

    /// Nothing follows: appends what is left to `out`.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        while self.step(true, out) {}
        out.append(&mut self.held);
    }

    /// Decides on a line or a part of one; false where there is not enough of it. `is_whole`: nothing follows.
    fn step(&mut self, is_whole: bool, out: &mut Vec<u8>) -> bool {
        match self.at {
            At::LineStart => self.begin_line(is_whole),
            At::InLine => {
                let end = line_end(&self.held, 0);
                out.extend(self.held.drain(..end.unwrap_or(self.held.len())));
                self.at = if end.is_some() { At::LineStart } else { At::InLine };
                end.is_some()
            }
            At::InDoubt(doubt) => self.look_on(doubt, is_whole, out),
            At::Body => {
                out.append(&mut self.held);
                false
            }
        }
    }

    fn begin_line(&mut self, is_whole: bool) -> bool {
        let mark = self.mark_len();
        let may_be_mark = !self.has_field && mark == 0 && BYTE_ORDER_MARK.starts_with(&self.held);
        let line = Line::begun_by(&self.held[mark..]);
        if self.held.is_empty() || (!is_whole && (may_be_mark || line.is_none())) {
            return false;
        }
        self.at = match line {
            Some(Line::Field) => {
                self.held.drain(..mark);
                self.name_field();
                self.has_field = true;
                At::InLine
            }
            Some(Line::Continuation) if self.has_field => At::InLine,
            Some(Line::Blank { .. }) if self.has_field => At::Body,
            _ => At::InDoubt(Doubt { line: mark, searched: mark, ..Doubt::default() }),
        };
        true
    }

    /// Takes note of the field that is held, and gives a Bcc its name.
    fn name_field(&mut self) {
        match name_of(&self.held) {
            Some((Name::From, _)) => self.has_from = true,
            Some((name, colon)) => {
                self.held.splice(..colon, name.text().bytes());
            }
            None => {}
        }
    }

    /// Looks at the next line that is in doubt: whether it is a field that must not be lost.
    fn look_on(&mut self, mut doubt: Doubt, is_whole: bool, out: &mut Vec<u8>) -> bool {
        let is_too_much = self.held.len() > MAX_HELD_OCTETS;
        let Some(end) = line_end(&self.held, doubt.searched) else {
            doubt.searched = self.held.len();
            let is_decided = is_whole || is_too_much;
            self.at = if is_decided { At::Body } else { At::InDoubt(doubt) };
            if is_decided && !is_too_much && self.is_wanted(&self.held[doubt.line..]) {
                self.mend(self.held.len(), out);
            }
            return is_decided;
        };
        let line = &self.held[doubt.line..end];
        let is_field = Line::begun_by(line) == Some(Line::Field);
        let is_behind_mbox_line =
            !self.has_field && is_field && doubt.has_mbox_line && !doubt.has_blank_line && !doubt.has_text;
        if self.is_wanted(line) || is_behind_mbox_line {
            self.mend(end, out);
            self.at = At::LineStart;
            return true;
        }
        let is_front = !self.has_field && !doubt.has_text;
        if is_empty(line) && !is_front || end > MAX_HELD_OCTETS {
            self.at = At::Body;
            return true;
        }
        doubt.has_mbox_line |= is_mbox(line);
        doubt.has_blank_line |= is_blank(line);
        doubt.has_text |= !is_blank(line) && !is_mbox(line);
        (doubt.line, doubt.searched) = (end, end);
        self.at = At::InDoubt(doubt);
        true
    }

    /// Whether a line that may be text is a field all the same.
    fn is_wanted(&self, line: &[u8]) -> bool {
        match name_of(line) {
            Some((Name::From, _)) => !self.has_from && line.contains(&b'@'),
            Some(_) => true,
            None => false,
        }
    }

    /// Writes what is held up to `end`, whole lines of the header section, as what they are.
    fn mend(&mut self, end: usize, out: &mut Vec<u8>) {
        let mark = self.mark_len();
        let lines: Vec<u8> = self.held.drain(..end).collect();
        for line in lines[mark..].split_inclusive(|octet| *octet == b'\n') {
            let kind = Line::begun_by(line);
            if let Some((name, colon)) = name_of(line).filter(|_| self.is_wanted(line)) {
                out.extend_from_slice(name.text().as_bytes());
                out.extend_from_slice(&line[colon..]);
                self.has_from |= name == Name::From;
            } else if kind == Some(Line::Field) || (kind == Some(Line::Continuation) && self.has_field) {
                self.has_from |= matches!(name_of(line), Some((Name::From, _)));
                out.extend_from_slice(line);
            } else if self.has_field || !(is_blank(line) || is_mbox(line)) {
                out.extend_from_slice(if self.has_field { b" " } else { b"X-Before-Header: " });
                out.extend_from_slice(line);
            } else {
                continue;
            }
            self.has_field = true;
        }
    }

    /// The length of the byte order mark that the content begins with.
    fn mark_len(&self) -> usize {
        let is_marked = !self.has_field && self.held.starts_with(BYTE_ORDER_MARK);
        if is_marked { BYTE_ORDER_MARK.len() } else { 0 }
    }
}

impl Name {
    fn text(self) -> &'static str {
        match self {
            Name::From => "From",
            Name::Bcc => "Bcc",
            Name::ResentBcc => "Resent-Bcc",
        }
    }
}

/// What a line reads as the field of, without the octets that no name has, and where its colon is.
fn name_of(line: &[u8]) -> Option<(Name, usize)> {
    let colon = line.iter().take(MAX_NAME_OCTETS).position(|octet| *octet == b':')?;
    let letters = line[..colon].iter().filter(|octet| octet.is_ascii_alphanumeric() || **octet == b'-');
    let read: Vec<u8> = letters.map(u8::to_ascii_lowercase).collect();
    let names = [Name::From, Name::Bcc, Name::ResentBcc];
    let name = names.into_iter().find(|name| name.text().as_bytes().eq_ignore_ascii_case(&read))?;
    Some((name, colon))
}

fn is_mbox(line: &[u8]) -> bool {
    let line = line.strip_prefix(b">").unwrap_or(line);
    line.starts_with(b"From ") && is_mbox_line(line)
}

fn is_empty(line: &[u8]) -> bool {
    matches!(line, b"\n" | b"\r\n")
}

/// Empty, or of white space alone.
fn is_blank(line: &[u8]) -> bool {
    line.trim_ascii().is_empty()
}

/// The position behind the next LF, from `from` on.
fn line_end(octets: &[u8], from: usize) -> Option<usize> {
    octets[from..].iter().position(|octet| *octet == b'\n').map(|index| from + index + 1)
}

#[cfg(test)]
mod tests;
