//! Where the header section of a message that comes in is broken, mended.
//!
//! Programs write things before and between the lines of a header that do not belong there. Read strictly
//! (`header.rs`), the section ends at the first of them: what stands behind is text, and a Bcc in it goes out to
//! everybody, a From in it is not the message's.
//!
//! Promises:
//! 1. A line before the header section's empty line that reads as Bcc or Resent-Bcc is a field behind this, and so dropped
//!    (`rewrite/`) or a recipient (`sendmail -t`); so is the first that reads as From and has an `@` in it.
//!    Other lines alone make no header of a text: `Hello: …` may begin a letter.
//! 2. A header section that is none of the kinds below goes through as it is, and what was mended too.
//! 3. How the octets arrive does not matter. Memory is bounded: at most [`MAX_HELD_OCTETS`] and one push are held.
//!
//! | what stands there | before the fields | between them |
//! |---|---|---|
//! | UTF-8 byte order mark | dropped, if a field follows | a line that is no field |
//! | mbox `From ` or `>From ` line, with a time in it | dropped, if a field follows | a line that is no field |
//! | empty lines | dropped, if promise 1 asks for it | see below |
//! | line of spaces and tabs | the same | a continuation (RFC 5322 4.2), stays |
//! | every line is indented | if promise 1 asks for it: the indent is dropped, what is indented more is a continuation | a continuation |
//! | space or tab before the colon | the field's own (RFC 5322 4.5), stays | the same |
//! | any other line that is no field: no colon, NUL, 8-bit or a space in the name, `GET / HTTP/1.1` | if promise 1 asks for it: in a field `X-Before-Header` | if promise 1 asks for it: a continuation of the line before, which is what a line broken without indenting was |
//! | the same, behind From, Sender, Reply-To, Date and their like | | a field `X-Before-Header`, so that From can be read |
//! | the same, and it reads as From or Bcc (`reading.rs`: `B cc:`, `>Bcc:`, NUL, `Bcc;`, `Bcc s@x`, a colon on the next line, colours) | that field | the same |
//! | `<b>Bcc:</b> s@x`: marked up | Bcc | the same, but behind a line that begins with a tag it is text: a body in HTML that has no empty line before it |
//! | a line that is a list of addresses, right behind a field of them: with an `@` in each, or behind a comma | | a continuation of it |
//! | bare CR | a space, since the session and `sendmail` read it so (`smtp/dot.rs`) | the same |
//!
//! Where promise 1 does not ask for it, the header section ends before the line, which is text (`header.rs`).
//!
//! The first empty line behind a field ends the header section, and a Bcc behind it is text that somebody quotes, but
//! for programs that write a field or two and an empty line before their header:
//!
//! | the fields before the empty line | what stands behind it | it is |
//! |---|---|---|
//! | one that makes a message: From, Sender, Reply-To, To, Cc, Bcc, Subject, Date, Message-ID, In-Reply-To, References, MIME-Version or one of Resent | anything | the body |
//! | none of these (`Content-Type`, `X-Mailer`, `Status`) | fields, continuations and empty lines, and then a line that reads as Bcc | the header goes on; the empty line is dropped |
//! | the same | the same, and then From with an `@` and another field that makes a message | the same |
//! | the same | anything else: a line that is no field, or an empty line behind a field that makes a message | the body |
//!
//! Fails: [`HiddenBcc`], for a Bcc that would be read by others and that can be made neither a field nor text.
//!
//! | the Bcc stands | |
//! |---|---|
//! | behind a bare CR, behind an empty line that came too early as well | `bare_cr.rs`, before the CR is a space |
//! | on a continuation of another field of a message or of MIME, with a colon and an `@`: a header of which all lines but the first are indented, or a field folded oddly | neither reading is safe; behind any other field, such as DKIM-Signature or `X-…`, it is text |
//! | behind more than [`MAX_HELD_OCTETS`] of lines that are no header, and no empty line | these have gone on by then |
//!
//! Not here: what is done to fields (`rewrite/`).

mod beyond;
mod doubt;
mod kind;

use super::address::mailboxes;
use super::header::{LineKind, is_wsp};
use super::hidden_bcc::HiddenBcc;
use super::reading::{Name, Reading, readable_len};
pub use beyond::Beyond;
pub(super) use doubt::is_mbox;
use doubt::{Doubt, DoubtPlace, is_blank};
use kind::FieldKind;
pub use kind::makes_a_message;

/// A Bcc that stands further behind a line that is no field is not mended.
const MAX_HELD_OCTETS: usize = 64 * 1024;

/// So much is looked at of a continuation.
const MAX_FOLD_OCTETS: usize = 1000;

pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Mends content that is still arriving.
#[derive(Debug, Default)]
pub struct Mender {
    /// What is not decided: the beginning of a line, or lines that are fields only if one behind them is.
    held: Vec<u8>,
    at: At,
    has_field: bool,
    has_from: bool,
    /// A field makes a message of it: the next empty line ends the header section.
    makes_a_message: bool,
    /// By so many spaces and tabs each line is indented.
    indent: usize,
    /// The field that went on last.
    last: FieldKind,
    /// Its last octet that is no white space.
    last_octet: u8,
    /// What is looked for behind text that was not held to its end.
    beyond: Beyond,
    hidden: Option<HiddenBcc>,
}

#[derive(Clone, Copy, Debug, Default)]
enum At {
    /// The beginning of a line.
    #[default]
    LineStart,
    /// Within a line that belongs to the header section.
    InLine,
    /// Behind a line that is no field.
    InDoubt(Held),
    /// Behind the header section.
    Body,
}

/// Lines that are held.
#[derive(Clone, Copy, Debug)]
struct Held {
    doubt: Doubt,
    /// Where the line begins that is looked at next.
    line: usize,
    /// Before this it has no end.
    searched: usize,
}

impl Mender {
    /// Takes `octets` and appends what is decided to `out`. Once it has failed it fails always.
    pub fn push(&mut self, octets: &[u8], out: &mut Vec<u8>) -> Result<(), HiddenBcc> {
        if matches!(self.at, At::Body) {
            self.hidden = self.hidden.or(self.beyond.push(octets).err());
            out.extend_from_slice(octets);
        } else {
            self.held.extend_from_slice(octets);
            while self.step(false, out) {}
        }
        self.hidden.map_or(Ok(()), Err)
    }

    /// Nothing follows: appends what is left to `out`.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<(), HiddenBcc> {
        while self.step(true, out) {}
        out.append(&mut self.held);
        self.hidden.map_or(Ok(()), Err)?;
        self.beyond.finish()
    }

    /// The header section is over: what is still to be looked for behind it.
    pub fn into_beyond(self) -> Beyond {
        self.beyond
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
            At::InDoubt(held) => self.look_on(held, is_whole, out),
            At::Body => {
                out.append(&mut self.held);
                false
            }
        }
    }

    fn begin_line(&mut self, is_whole: bool) -> bool {
        let mark = self.mark_len();
        let may_be_mark = !self.has_field && mark == 0 && BYTE_ORDER_MARK.starts_with(&self.held);
        let start = mark + self.indent_of(&self.held[mark..]);
        let line = LineKind::begun_by(&self.held[start..]);
        if self.held.is_empty() || (!is_whole && (may_be_mark || line.is_none())) {
            return false;
        }
        match line {
            Some(LineKind::Field) => {
                if !self.name_field(start, is_whole) {
                    return false;
                }
                self.at = At::InLine;
            }
            Some(LineKind::Continuation) if self.has_field => match self.is_hidden_bcc(start, is_whole) {
                None => return false,
                Some(is_hidden) => {
                    self.held.drain(..start);
                    self.hidden = is_hidden.then_some(HiddenBcc::Indented);
                    self.at = if is_hidden { At::Body } else { At::InLine };
                }
            },
            Some(LineKind::Blank { .. }) if self.makes_a_message => {
                self.held.drain(..start);
                self.at = At::Body;
            }
            _ => self.begin_doubt(mark, line),
        }
        true
    }

    /// Begins to hold lines, of which the first is a `line` that is no field.
    fn begin_doubt(&mut self, start: usize, line: Option<LineKind>) {
        let place = match line {
            _ if !self.has_field => DoubtPlace::Front,
            Some(LineKind::Blank { .. }) => DoubtPlace::BehindEmptyLine,
            _ => DoubtPlace::Between,
        };
        self.at = At::InDoubt(Held { doubt: Doubt::at(place), line: start, searched: start });
    }

    /// Takes note of the field that is held behind `start`, as far as its colon at least, and gives a Bcc its name; false
    /// where there is not enough of it.
    fn name_field(&mut self, start: usize, is_whole: bool) -> bool {
        let field = &self.held[start..];
        let colon = field.iter().position(|octet| *octet == b':').map_or(field.len(), |at| at + 1);
        let mut reading = Reading::of(&field[..colon]).filter(|reading| reading.name != Name::From);
        if reading.is_some_and(|reading| reading.is_marked_up) {
            // What closes the markup may stand behind the colon.
            let end = line_end(field, 0).unwrap_or(field.len()).clamp(colon, MAX_FOLD_OCTETS.max(colon));
            if !is_whole && end < MAX_FOLD_OCTETS && !field[..end].ends_with(b"\n") {
                return false;
            }
            reading = Reading::of(&field[..end]);
        }
        self.held.drain(..start);
        if let Some(Reading { name, body, .. }) = reading {
            self.held.splice(..body, [name.text().as_bytes(), b":"].concat());
        }
        self.note(FieldKind::of(&self.held));
        true
    }

    /// Takes note of a field that goes on.
    fn note(&mut self, kind: FieldKind) {
        (self.has_field, self.last) = (true, kind);
        self.has_from |= kind == FieldKind::From;
        self.makes_a_message |= kind.makes_a_message();
    }

    /// Whether the continuation that is held behind `start` is, but for its indent, a Bcc. `None`: too little of it is
    /// there.
    fn is_hidden_bcc(&self, start: usize, is_whole: bool) -> Option<bool> {
        if self.last == FieldKind::Other {
            return Some(false);
        }
        let fold = &self.held[start..];
        let end = line_end(fold, 0).unwrap_or(fold.len()).min(MAX_FOLD_OCTETS);
        let is_enough = is_whole || end == MAX_FOLD_OCTETS || fold[..end].ends_with(b"\n");
        let line = &fold[..end];
        let is_bcc = || Reading::with_colon(line).is_some_and(|reading| reading.is_bcc());
        is_enough.then(|| is_bcc() && line.contains(&b'@'))
    }

    /// Looks at the next line that is in doubt: whether it is a field that must not be lost.
    fn look_on(&mut self, mut held: Held, is_whole: bool, out: &mut Vec<u8>) -> bool {
        let needed = readable_len(&self.held[held.line..], held.searched - held.line);
        let is_too_much = needed.map_or(self.held.len(), |len| held.line + len) > MAX_HELD_OCTETS;
        if is_too_much {
            return self.give_up(&held);
        }
        let end = line_end(&self.held, held.searched);
        if needed.is_none() && !is_whole {
            held.searched = if end.is_none() { self.held.len() } else { held.searched };
            self.at = At::InDoubt(held);
            return false;
        }
        let end = end.unwrap_or(self.held.len());
        if let Some(reading) = self.wanted(&held.doubt, &self.held[held.line..]) {
            self.learn_indent(held.line, end);
            self.mend(held.line, out);
            self.write_wanted(reading, end - held.line, out);
            return true;
        }
        self.look_at_line(held, end, out);
        true
    }

    /// Looks at the line that ends at `end`, and is no field that is wanted.
    fn look_at_line(&mut self, mut held: Held, end: usize, out: &mut Vec<u8>) {
        let whole_line = &self.held[held.line..end];
        let line = &whole_line[self.indent_of(whole_line)..];
        if held.line == 0 && self.goes_on_in(line) {
            out.push(b' ');
            self.pass(end, out);
            self.at = At::LineStart;
            return;
        }
        let is_behind_mbox_line =
            held.doubt.is_mbox_line() && LineKind::begun_by(line) == Some(LineKind::Field);
        let is_end = !line.ends_with(b"\n") || held.doubt.ends_before(line);
        held.doubt.note(line);
        if is_behind_mbox_line || held.doubt.is_header() {
            self.mend(end, out);
            self.at = At::LineStart;
        } else if is_end {
            self.end_header(end);
        } else {
            (held.line, held.searched) = (end, end);
            self.at = At::InDoubt(held);
        }
    }

    /// Too much is held: it is text, and what stands behind it is not to be a Bcc.
    fn give_up(&mut self, held: &Held) -> bool {
        self.beyond = Beyond::behind(held.doubt);
        self.hidden = self.beyond.push(&self.held[held.line..]).err();
        self.end_header(held.line);
        true
    }

    /// What is held is text, up to `end` at least.
    fn end_header(&mut self, end: usize) {
        self.at = At::Body;
        if self.indent > 0 {
            // With its indent the first line would go on with the last field, and an empty line would be none.
            let lines = self.held[..end].split_inclusive(|octet| *octet == b'\n');
            let text: Vec<u8> = lines.flat_map(|line| &line[self.indent_of(line)..]).copied().collect();
            self.held.splice(..end, text);
        }
    }

    /// The field that the line at the front of `octets`, which may be text, is all the same.
    fn wanted(&self, doubt: &Doubt, octets: &[u8]) -> Option<Reading> {
        let line = &octets[..line_end(octets, 0).unwrap_or(octets.len())];
        let has_address = |reading: &Reading| line.contains(&b'@') || reading.body > line.len();
        let is_from = |reading: &Reading| {
            !reading.is_bcc()
                && doubt.place != DoubtPlace::BehindEmptyLine
                && !self.has_from
                && has_address(reading)
        };
        Reading::of(octets).filter(|reading| doubt.is_bcc(reading) || is_from(reading))
    }

    /// Whether `line`, without an indent, goes on with the list of addresses of the field before it.
    fn goes_on_in(&self, line: &[u8]) -> bool {
        let is_open = matches!(self.last_octet, b',' | b':') || line.starts_with(b",");
        let mut count = 0;
        let is_list = mailboxes(line).all(|mailbox| {
            count += 1;
            mailbox.is_ok_and(|mailbox| is_open || mailbox.domain.is_some())
        });
        self.has_field && self.last.is_list() && is_list && count > 0
    }

    /// Writes the field that is held, `len` octets of which are its first line.
    fn write_wanted(&mut self, reading: Reading, len: usize, out: &mut Vec<u8>) {
        self.held.drain(..reading.body);
        out.extend_from_slice(reading.name.text().as_bytes());
        out.push(b':');
        self.last_octet = b':';
        self.note(FieldKind::of(reading.name.text().as_bytes()));
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
        for whole_line in lines[mark..].split_inclusive(|octet| *octet == b'\n') {
            let line = &whole_line[self.indent_of(whole_line)..];
            match LineKind::begun_by(line) {
                Some(LineKind::Field) => self.note(FieldKind::of(line)),
                Some(LineKind::Blank { .. }) => continue,
                Some(LineKind::Continuation) if self.has_field => {}
                _ if self.has_field && self.last.may_take_text() => out.push(b' '),
                _ if !self.has_field && (is_blank(line) || is_mbox(line)) => continue,
                _ => {
                    // As a part of From or Date it would make a field that nobody can read.
                    out.extend_from_slice(b"X-Before-Header: ");
                    self.last = FieldKind::Other;
                }
            }
            out.extend_from_slice(line);
            self.has_field = true;
            self.last_octet = line.trim_ascii_end().last().copied().unwrap_or(self.last_octet);
        }
    }

    /// Before the first field: finds by how much all lines up to `end` are indented, of which that at `wanted` is one.
    fn learn_indent(&mut self, wanted: usize, end: usize) {
        if self.has_field {
            return;
        }
        let lines = self.held[self.mark_len()..wanted].split_inclusive(|octet| *octet == b'\n');
        let fields = lines.filter(|line| LineKind::begun_by(&line[wsp_len(line)..]) == Some(LineKind::Field));
        let least = fields.map(wsp_len).min().unwrap_or(usize::MAX);
        self.indent = wsp_len(&self.held[wanted..end]).min(least);
    }

    /// How much of the indent `line` has.
    fn indent_of(&self, line: &[u8]) -> usize {
        wsp_len(line).min(self.indent)
    }

    /// The length of the byte order mark that the content begins with.
    fn mark_len(&self) -> usize {
        let is_marked = !self.has_field && self.held.starts_with(BYTE_ORDER_MARK);
        if is_marked { BYTE_ORDER_MARK.len() } else { 0 }
    }
}

fn wsp_len(line: &[u8]) -> usize {
    line.iter().take_while(|octet| is_wsp(octet)).count()
}

/// The position behind the next LF, from `from` on.
fn line_end(octets: &[u8], from: usize) -> Option<usize> {
    octets[from..].iter().position(|octet| *octet == b'\n').map(|index| from + index + 1)
}

#[cfg(test)]
mod tests;
