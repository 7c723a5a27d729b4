//! Mends the broken header section of an arriving message.
//!
//! Programs write lines before and within a header section that do not belong there. By the strict rules
//! (`header.rs`), the section ends at the first such line, and everything after it is text. Then a Bcc goes out to
//! everybody, and a From is not that of the message.
//!
//! Promises:
//! 1. A line before the empty line of the header section that reads as Bcc or Resent-Bcc becomes such a field, which
//!    is dropped (`rewrite/`) or gives recipients (`sendmail -t`). So does the first line that reads as From and has
//!    an `@`. Other lines alone do not turn a text into a header: `Hello: …` may begin a letter.
//! 2. A header section without any of the faults below is not changed, and neither is one that was mended.
//! 3. The result does not depend on the pieces in which the octets arrive. Memory is bounded: at most
//!    [`MAX_HELD_OCTETS`] and one push are held.
//!
//! | line | before the fields | between fields |
//! |---|---|---|
//! | UTF-8 byte order mark | dropped, if a field follows | like a line that is not a field |
//! | mbox `From ` or `>From ` line, with a time in it | dropped, if a field follows | like a line that is not a field |
//! | empty lines | dropped, if promise 1 needs it | see below |
//! | line of spaces and tabs | the same | a continuation (RFC 5322 4.2), which stays |
//! | every line is indented | if promise 1 needs it: the indent is dropped, and lines with more indent are continuations | a continuation |
//! | space or tab before the colon | belongs to the field (RFC 5322 4.5), and stays | the same |
//! | any other line that is not a field: without a colon, with NUL, 8-bit or a space in the name, `GET / HTTP/1.1` | if promise 1 needs it: moved to a field `X-Before-Header` | if promise 1 needs it: a continuation of the line before, as if a long line was broken without an indent |
//! | the same, after From, Sender, Reply-To, Date and similar fields | | moved to a field `X-Before-Header`, so that From can be read |
//! | the same, and it reads as From or Bcc (`reading.rs`: `B cc:`, `>Bcc:`, NUL, `Bcc;`, `Bcc s@x`, a colon on the next line, colours) | that field | the same |
//! | `<b>Bcc:</b> s@x`, with markup | Bcc | the same; but after a line that begins with a tag it is text, since it is in a body in HTML without an empty line before it |
//! | a line that is a list of addresses, directly after a field with a list: each with an `@`, or after a comma | | a continuation of the field |
//! | bare CR | a space, as the session and `sendmail` read it (`smtp/dot.rs`) | the same |
//!
//! If promise 1 does not need it, the header section ends before the line, which is text (`header.rs`).
//!
//! The first empty line after a field ends the header section. A Bcc after it is usually a quotation in the text. But
//! some programs write a field or two and an empty line before their header:
//!
//! | fields before the empty line | lines after it | meaning |
//! |---|---|---|
//! | one that makes a message: From, Sender, Reply-To, To, Cc, Bcc, Subject, Date, Message-ID, In-Reply-To, References, MIME-Version or a Resent field | anything | they are the body |
//! | none of these (`Content-Type`, `X-Mailer`, `Status`) | fields, continuations and empty lines, then a line that reads as Bcc | the header goes on, and the empty line is dropped |
//! | the same | the same, then From with an `@` and another field that makes a message | the same |
//! | the same | anything else: a line that is not a field, or an empty line after a field that makes a message | they are the body |
//!
//! Fails: with [`HiddenBcc`] for a Bcc that others would read and that can be made neither a field nor text.
//!
//! | place of the Bcc | |
//! |---|---|
//! | after a bare CR, even after an empty line that came too early | found by `bare_cr.rs` before the CR becomes a space |
//! | on a continuation of another field of a message or of MIME, with a colon and an `@`: all lines but the first are indented, or a field is folded oddly | neither reading is safe; after any other field, such as DKIM-Signature or `X-…`, it is text |
//! | after more than [`MAX_HELD_OCTETS`] of lines that are not header, without an empty line | these lines were passed on already |
//!
//! Not here: changes to fields (`rewrite/`).

mod beyond;
mod doubt;
mod kind;

use memchr::memchr;

use super::address::mailboxes;
use super::header::{LineKind, is_wsp, line_end, line_len};
use super::hidden_bcc::HiddenBcc;
use super::reading::{Name, Reading, readable_len};
pub use beyond::Beyond;
pub(super) use doubt::is_mbox;
use doubt::{Doubt, DoubtPlace, is_blank};
use kind::FieldKind;
pub use kind::makes_a_message;

/// The most octets that are held. A Bcc further behind a line that is not a field is not mended.
const MAX_HELD_OCTETS: usize = 64 * 1024;

/// The most octets of a continuation that are looked at.
const MAX_FOLD_OCTETS: usize = 1000;

pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Mends content that is still arriving.
#[derive(Debug, Default)]
pub struct Mender {
    /// The octets that are not decided yet: the beginning of a line, or lines that are fields only if a later line is
    /// one.
    held: Vec<u8>,
    at: At,
    passed: PassedFields,
    /// The number of spaces and tabs by which each line is indented.
    indent: usize,
    /// The kind of the last field that was passed on.
    last: FieldKind,
    /// The last octet of that field that is not white space.
    last_octet: u8,
    /// The search for a Bcc after text that was not held to its end.
    beyond: Beyond,
    hidden: Option<HiddenBcc>,
}

/// The fields that were passed on, by the one that says most. Each of these says all that those before it say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum PassedFields {
    #[default]
    Nothing,
    Field,
    /// A field makes a message of them, so that the next empty line ends the header section.
    FieldOfMessage,
    From,
}

#[derive(Clone, Copy, Debug, Default)]
enum At {
    /// The beginning of a line.
    #[default]
    LineStart,
    /// The inside of a line that belongs to the header section.
    InLine,
    /// The lines after one that is not a field.
    InDoubt(Held),
    /// The content after the header section.
    Body,
}

/// The lines that are held.
#[derive(Clone, Copy, Debug)]
struct Held {
    doubt: Doubt,
    /// The position of the line that is looked at next.
    line: usize,
    /// The position before which that line has no end.
    searched: usize,
}

impl Mender {
    /// Takes `octets`, and appends to `out` what is decided. After an error, every later call fails, too.
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

    /// Ends the content, and appends the rest to `out`.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<(), HiddenBcc> {
        while self.step(true, out) {}
        out.append(&mut self.held);
        self.hidden.map_or(Ok(()), Err)?;
        self.beyond.finish()
    }

    /// Ends the header section. Returns the search that must go on after it.
    pub fn into_beyond(self) -> Beyond {
        self.beyond
    }

    /// Decides about a line or a part of one. Returns `false` if more octets are needed. `is_whole` says that no more
    /// will come.
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
        let may_be_mark = !self.has_field() && mark == 0 && BYTE_ORDER_MARK.starts_with(&self.held);
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
            Some(LineKind::Continuation) if self.has_field() => match self.is_hidden_bcc(start, is_whole) {
                None => return false,
                Some(is_hidden) => {
                    self.held.drain(..start);
                    self.hidden = is_hidden.then_some(HiddenBcc::Indented);
                    self.at = if is_hidden { At::Body } else { At::InLine };
                }
            },
            Some(LineKind::Blank { .. }) if self.passed >= PassedFields::FieldOfMessage => {
                self.held.drain(..start);
                self.at = At::Body;
            }
            _ => self.begin_doubt(mark, line),
        }
        true
    }

    /// Begins to hold lines. The first of them is of the kind `line`, and not a field.
    fn begin_doubt(&mut self, start: usize, line: Option<LineKind>) {
        let place = match line {
            _ if !self.has_field() => DoubtPlace::Front,
            Some(LineKind::Blank { .. }) => DoubtPlace::BehindEmptyLine,
            _ => DoubtPlace::Between,
        };
        self.at = At::InDoubt(Held { doubt: Doubt::at(place), line: start, searched: start });
    }

    /// Notes the field that is held after `start`, at least up to its colon, and corrects the name of a Bcc. Returns
    /// `false` if more octets are needed.
    fn name_field(&mut self, start: usize, is_whole: bool) -> bool {
        let field = &self.held[start..];
        let colon = memchr(b':', field).map_or(field.len(), |at| at + 1);
        let mut reading = Reading::of(&field[..colon]).filter(|reading| reading.name != Name::From);
        if reading.is_some_and(|reading| reading.is_marked_up) {
            // The end of the markup may follow the colon.
            let end = line_len(field).clamp(colon, MAX_FOLD_OCTETS.max(colon));
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

    /// Notes a field that is passed on.
    fn note(&mut self, kind: FieldKind) {
        self.last = kind;
        self.passed = self.passed.max(match kind {
            FieldKind::From => PassedFields::From,
            kind if kind.makes_a_message() => PassedFields::FieldOfMessage,
            _ => PassedFields::Field,
        });
    }

    fn has_field(&self) -> bool {
        self.passed > PassedFields::Nothing
    }

    /// Returns whether the continuation that is held after `start` would be a Bcc without its indent; `None` if more
    /// octets are needed.
    fn is_hidden_bcc(&self, start: usize, is_whole: bool) -> Option<bool> {
        if self.last == FieldKind::Other {
            return Some(false);
        }
        let fold = &self.held[start..];
        let end = line_len(fold).min(MAX_FOLD_OCTETS);
        let is_enough = is_whole || end == MAX_FOLD_OCTETS || fold[..end].ends_with(b"\n");
        let line = &fold[..end];
        let is_bcc = || Reading::with_colon(line).is_some_and(|reading| reading.is_bcc());
        is_enough.then(|| is_bcc() && line.contains(&b'@'))
    }

    /// Looks at the next line in doubt, which may be a field that must not be lost. Returns false if that takes more octets
    /// than are held.
    fn look_on(&mut self, mut held: Held, is_whole: bool, out: &mut Vec<u8>) -> bool {
        let needed = readable_len(&self.held[held.line..], held.searched - held.line);
        let is_too_much = needed.map_or(self.held.len(), |len| held.line + len) > MAX_HELD_OCTETS;
        if is_too_much {
            self.give_up(&held);
            return true;
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

    /// Looks at the line up to `end`, which is not a field that must be kept.
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

    /// Passes held lines on as text, since there are too many. From now on, a Bcc after them is an error.
    fn give_up(&mut self, held: &Held) {
        self.beyond = Beyond::behind(held.doubt);
        self.hidden = self.beyond.push(&self.held[held.line..]).err();
        self.end_header(held.line);
    }

    /// Ends the header section: what is held is text, at least up to `end`.
    fn end_header(&mut self, end: usize) {
        self.at = At::Body;
        if self.indent > 0 {
            // With its indent, the first line would continue the last field, and an empty line would not be empty.
            let lines = self.held[..end].split_inclusive(|octet| *octet == b'\n');
            let text: Vec<u8> = lines.flat_map(|line| &line[self.indent_of(line)..]).copied().collect();
            self.held.splice(..end, text);
        }
    }

    /// Returns the field that the first line of `octets` reads as, if it must not be lost.
    fn wanted(&self, doubt: &Doubt, octets: &[u8]) -> Option<Reading> {
        let line = &octets[..line_len(octets)];
        let has_address = |reading: &Reading| line.contains(&b'@') || reading.body > line.len();
        let is_from = |reading: &Reading| {
            !reading.is_bcc()
                && doubt.place != DoubtPlace::BehindEmptyLine
                && self.passed != PassedFields::From
                && has_address(reading)
        };
        Reading::of(octets).filter(|reading| doubt.is_bcc(reading) || is_from(reading))
    }

    /// Returns whether `line`, without an indent, continues the list of addresses in the field before it.
    fn goes_on_in(&self, line: &[u8]) -> bool {
        let is_open = matches!(self.last_octet, b',' | b':') || line.starts_with(b",");
        let mut count = 0;
        let is_list = mailboxes(line).all(|mailbox| {
            count += 1;
            mailbox.is_ok_and(|mailbox| is_open || mailbox.domain.is_some())
        });
        self.has_field() && self.last.is_list() && is_list && count > 0
    }

    /// Writes the field that is held. Its first line has `len` octets.
    fn write_wanted(&mut self, reading: Reading, len: usize, out: &mut Vec<u8>) {
        self.held.drain(..reading.body);
        out.extend_from_slice(reading.name.text().as_bytes());
        out.push(b':');
        self.last_octet = b':';
        self.note(FieldKind::of(reading.name.text().as_bytes()));
        // The colon may have been on the second line.
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

    /// Writes the held lines up to `end` as lines of the header section.
    fn mend(&mut self, end: usize, out: &mut Vec<u8>) {
        let mark = self.mark_len();
        let lines: Vec<u8> = self.held.drain(..end).collect();
        for whole_line in lines[mark..].split_inclusive(|octet| *octet == b'\n') {
            let line = &whole_line[self.indent_of(whole_line)..];
            match LineKind::begun_by(line) {
                Some(LineKind::Field) => self.note(FieldKind::of(line)),
                Some(LineKind::Blank { .. }) => continue,
                Some(LineKind::Continuation) if self.has_field() => {}
                _ if self.has_field() && self.last.may_take_text() => out.push(b' '),
                _ if !self.has_field() && (is_blank(line) || is_mbox(line)) => continue,
                _ => {
                    // As a part of From or Date, the line would make a field that nobody can read.
                    out.extend_from_slice(b"X-Before-Header: ");
                    self.last = FieldKind::Other;
                }
            }
            out.extend_from_slice(line);
            self.passed = self.passed.max(PassedFields::Field);
            self.last_octet = line.trim_ascii_end().last().copied().unwrap_or(self.last_octet);
        }
    }

    /// Finds, before the first field, the indent of all lines up to `end`. The line at `wanted` is one of them.
    fn learn_indent(&mut self, wanted: usize, end: usize) {
        if self.has_field() {
            return;
        }
        let lines = self.held[self.mark_len()..wanted].split_inclusive(|octet| *octet == b'\n');
        let fields = lines.filter(|line| LineKind::begun_by(&line[wsp_len(line)..]) == Some(LineKind::Field));
        let least = fields.map(wsp_len).min().unwrap_or(usize::MAX);
        self.indent = wsp_len(&self.held[wanted..end]).min(least);
    }

    /// Returns how much of the common indent `line` has.
    fn indent_of(&self, line: &[u8]) -> usize {
        wsp_len(line).min(self.indent)
    }

    /// Returns the length of the byte order mark at the beginning of the content; 0 if there is none.
    fn mark_len(&self) -> usize {
        let is_marked = !self.has_field() && self.held.starts_with(BYTE_ORDER_MARK);
        if is_marked { BYTE_ORDER_MARK.len() } else { 0 }
    }
}

fn wsp_len(line: &[u8]) -> usize {
    line.iter().take_while(|octet| is_wsp(octet)).count()
}

#[cfg(test)]
mod tests;
