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
//! | the same, behind From, Sender or Reply-To | | a field `X-Before-Header`, so that From can be read |
//! | the same, and it reads as From or Bcc (`reading.rs`: `B cc:`, `>Bcc:`, NUL, `Bcc;`, `Bcc s@x`, a colon on the next line) | that field | the same |
//! | a line that is a list of addresses, right behind a field of them: with an `@` in each, or behind a comma | | a continuation of it |
//! | bare CR | a space, since the session and `sendmail` read it so (`smtp/dot.rs`) | the same |
//! | bare CR, and a Bcc behind it | the message is refused (`bare_cr.rs`) | the same |
//!
//! Where promise 1 does not ask for it, the header section ends before the line, which is text (`header.rs`).
//!
//! Not here: what is done to fields (`rewrite/`).

use super::address::mailboxes;
use super::header::{Line, is_mbox_line};
use super::reading::{Name, Reading, is_readable};

/// A Bcc that stands further behind a line that is no field is text.
const MAX_HELD_OCTETS: usize = 64 * 1024;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Mends content that is still arriving.
#[derive(Debug, Default)]
pub struct Mender {
    /// What is not decided: the beginning of a line, or lines that are fields only if one behind them is.
    held: Vec<u8>,
    at: At,
    has_field: bool,
    has_from: bool,
    last: Last,
    /// Its last octet that is no white space.
    last_octet: u8,
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

/// The field that went on last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Last {
    /// From, Sender, Reply-To.
    Authors,
    Recipients,
    #[default]
    Other,
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
                self.pass(end.unwrap_or(self.held.len()), out);
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

    /// Takes note of the field that is held as far as its colon, and gives a Bcc its name.
    fn name_field(&mut self) {
        let colon = self.held.iter().position(|octet| *octet == b':').map_or(self.held.len(), |at| at + 1);
        self.last = Last::of(&self.held[..colon]);
        match Reading::of(&self.held[..colon]) {
            Some(Reading { name: Name::From, .. }) => self.has_from = true,
            Some(Reading { name, body }) => {
                self.held.splice(..body, [name.text().as_bytes(), b":"].concat());
                self.last = Last::Recipients;
            }
            None => {}
        }
    }

    /// Looks at the next line that is in doubt: whether it is a field that must not be lost.
    fn look_on(&mut self, mut doubt: Doubt, is_whole: bool, out: &mut Vec<u8>) -> bool {
        let is_too_much = self.held.len() > MAX_HELD_OCTETS;
        let is_decided = is_whole || is_too_much;
        let end = line_end(&self.held, doubt.searched);
        if !is_decided && (end.is_none() || !is_readable(&self.held[doubt.line..])) {
            doubt.searched = if end.is_none() { self.held.len() } else { doubt.searched };
            self.at = At::InDoubt(doubt);
            return false;
        }
        let end = end.unwrap_or(self.held.len());
        let line = &self.held[doubt.line..end];
        if line.is_empty() || (is_too_much && !line.ends_with(b"\n")) {
            self.at = At::Body;
            return true;
        }
        if let Some(reading) = self.wanted(&self.held[doubt.line..]) {
            self.mend(doubt.line, out);
            self.write_wanted(reading, end - doubt.line, out);
            return true;
        }
        if doubt.line == 0 && self.goes_on_in(line) {
            out.push(b' ');
            self.pass(end, out);
            self.at = At::LineStart;
            return true;
        }
        let is_field = Line::begun_by(line) == Some(Line::Field);
        let is_behind_mbox_line =
            !self.has_field && is_field && doubt.has_mbox_line && !doubt.has_blank_line && !doubt.has_text;
        if is_behind_mbox_line {
            self.mend(end, out);
            self.at = At::LineStart;
            return true;
        }
        let is_front = !self.has_field && !doubt.has_text;
        if is_empty(line) && !is_front || end > MAX_HELD_OCTETS || !line.ends_with(b"\n") {
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

    /// The field that the line at the front of `octets`, which may be text, is all the same.
    fn wanted(&self, octets: &[u8]) -> Option<Reading> {
        let line = &octets[..line_end(octets, 0).unwrap_or(octets.len())];
        let has_address = |reading: &Reading| line.contains(&b'@') || reading.body > line.len();
        let reading = Reading::of(octets)?;
        (reading.is_bcc() || (!self.has_from && has_address(&reading))).then_some(reading)
    }

    /// Whether `line`, without an indent, goes on with the list of addresses of the field before it.
    fn goes_on_in(&self, line: &[u8]) -> bool {
        let is_open = matches!(self.last_octet, b',' | b':') || line.starts_with(b",");
        let mut count = 0;
        let is_list = mailboxes(line).all(|mailbox| {
            count += 1;
            mailbox.is_ok_and(|mailbox| is_open || mailbox.domain.is_some())
        });
        self.has_field && self.last != Last::Other && is_list && count > 0
    }

    /// Writes the field that is held, `len` octets of which are its first line.
    fn write_wanted(&mut self, reading: Reading, len: usize, out: &mut Vec<u8>) {
        self.held.drain(..reading.body);
        out.extend_from_slice(reading.name.text().as_bytes());
        out.push(b':');
        (self.has_field, self.last_octet) = (true, b':');
        self.has_from |= reading.name == Name::From;
        self.last = if reading.is_bcc() { Last::Recipients } else { Last::Authors };
        // The colon may have stood on the second line.
        self.at = At::InLine;
        if reading.body <= len {
            self.pass(len - reading.body, out);
            self.at = At::LineStart;
        }
    }

    /// Passes on `len` octets of a field.
    fn pass(&mut self, len: usize, out: &mut Vec<u8>) {
        self.last_octet = self.held[..len].trim_ascii_end().last().copied().unwrap_or(self.last_octet);
        out.extend(self.held.drain(..len));
    }

    /// Writes what is held up to `end`, whole lines of the header section, as what they are.
    fn mend(&mut self, end: usize, out: &mut Vec<u8>) {
        let mark = self.mark_len();
        let lines: Vec<u8> = self.held.drain(..end).collect();
        for line in lines[mark..].split_inclusive(|octet| *octet == b'\n') {
            let kind = Line::begun_by(line);
            if kind == Some(Line::Field) {
                self.has_from |= matches!(Reading::of(line), Some(Reading { name: Name::From, .. }));
                self.last = Last::of(line);
                out.extend_from_slice(line);
            } else if kind == Some(Line::Continuation) && self.has_field {
                out.extend_from_slice(line);
            } else if self.has_field && self.last != Last::Authors {
                out.push(b' ');
                out.extend_from_slice(line);
            } else if self.has_field || !(is_blank(line) || is_mbox(line)) {
                // As a part of From it would make a list of authors that nobody can read.
                out.extend_from_slice(b"X-Before-Header: ");
                out.extend_from_slice(line);
                self.last = Last::Other;
            } else {
                continue;
            }
            self.has_field = true;
            self.last_octet = line.trim_ascii_end().last().copied().unwrap_or(self.last_octet);
        }
    }

    /// The length of the byte order mark that the content begins with.
    fn mark_len(&self) -> usize {
        let is_marked = !self.has_field && self.held.starts_with(BYTE_ORDER_MARK);
        if is_marked { BYTE_ORDER_MARK.len() } else { 0 }
    }
}

impl Last {
    /// Of a field, or of its beginning with the colon.
    fn of(field: &[u8]) -> Last {
        const AUTHORS: [&[u8]; 3] = [b"from", b"sender", b"reply-to"];
        const RECIPIENTS: [&[u8]; 6] = [b"to", b"cc", b"bcc", b"resent-to", b"resent-cc", b"resent-bcc"];
        let name = field.split(|octet| *octet == b':').next().unwrap_or_default().to_ascii_lowercase();
        let is_in = |names: &[&[u8]]| names.contains(&name.trim_ascii());
        match () {
            () if is_in(&AUTHORS) => Last::Authors,
            () if is_in(&RECIPIENTS) => Last::Recipients,
            () => Last::Other,
        }
    }
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
