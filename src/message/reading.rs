//! Finds the field that a broken line was meant to be.
//!
//! Promises: a line that a person would take for a Bcc reads as one, whatever impossible octets are in its name, and
//! whatever stands in place of the colon.
//!
//! | line | reads as |
//! |---|---|
//! | `Bcc: s@x`, `B cc : s@x`, `>Bcc: s@x`, with NUL or 8-bit octets in the name | Bcc |
//! | `- Bcc: s@x`, `Resent Bcc: s@x`: hyphens do not count | Bcc, Resent-Bcc |
//! | `Bcc; s@x`, a full-width or small colon, full-width letters | Bcc |
//! | `Bcc s@x`, `Bcc=s@x`, `Bcc <s@x>` | Bcc, if the line has an `@` |
//! | `Bcc`, and `: s@x`, ` s@x` or a list of addresses on the next line | Bcc |
//! | each of these coloured for a terminal, with markup for a browser, or encoded (`shown.rs`) | the same |
//! | `Bcc` alone, `BCC is a field`, `X-Bcc: s@x`, `JD> Bcc: s@x`, letters of another script that look alike | not Bcc |
//! | `From: a@x`, as in the first row, but without markup and encoding | From |
//!
//! Not here: the lines for which this is asked (`mend.rs`, `bare_cr.rs`).

mod shown;

use memchr::memchr;

use super::address::{Mailbox, mailboxes};
use super::header::{LineKind, MAX_LINE_OCTETS, is_wsp, line_end, line_len};
use shown::{ShownOctet, escape_len, markup_len, shown};

/// The most octets that the name of a field may show.
const MAX_NAME_OCTETS: usize = 64;

/// The fields that must not be lost in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    From,
    Bcc,
    ResentBcc,
}

impl Name {
    pub(super) fn text(self) -> &'static str {
        match self {
            Name::From => "From",
            Name::Bcc => "Bcc",
            Name::ResentBcc => "Resent-Bcc",
        }
    }

    /// Returns the field whose name consists of the letters and digits among these octets.
    fn spelt(shown: &[ShownOctet]) -> Option<Name> {
        let mut letters: Vec<u8> = shown.iter().map(|shown| shown.octet).collect();
        letters.retain(u8::is_ascii_alphanumeric);
        letters.make_ascii_lowercase();
        match &letters[..] {
            b"from" => Some(Name::From),
            b"bcc" => Some(Name::Bcc),
            b"resentbcc" => Some(Name::ResentBcc),
            _ => None,
        }
    }
}

/// A line that reads as a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) name: Name,
    /// The position at which the body of the field begins.
    pub(super) body: usize,
    /// True if its name has markup or is encoded.
    pub(super) is_marked_up: bool,
}

impl Reading {
    /// Returns the reading of the first line of `octets`, together with the next line, or `None` if it reads as no field
    /// of a [`Name`]. An incomplete line is read as far as it goes.
    pub(super) fn of(octets: &[u8]) -> Option<Reading> {
        let line = &octets[..line_len(octets)];
        let shown = shown(line, MAX_NAME_OCTETS);
        let reading = Reading::up_to_colon(&shown, line).or_else(|| Reading::without_colon(&shown, line));
        reading.or_else(|| Reading::folded(octets))
    }

    /// Reads `Bcc: s@x` on one line. Returns `None` for a line without a known name and a sign that stands for the colon.
    pub(super) fn with_colon(line: &[u8]) -> Option<Reading> {
        Reading::up_to_colon(&shown(line, MAX_NAME_OCTETS), line)
    }

    fn up_to_colon(shown: &[ShownOctet], line: &[u8]) -> Option<Reading> {
        // The key for `;` is next to that for the colon.
        let colon = shown.iter().position(|shown| matches!(shown.octet, b':' | b';'))?;
        let name = Name::spelt(&shown[..colon])?;
        let is_true = line[shown[colon].start] == b':' && !shown[colon].is_marked_up;
        (is_true || name != Name::From).then(|| Reading::behind(shown, colon, name, line))
    }

    /// Reads `Bcc s@x`. Returns `None` for a line that does not begin with Bcc or Resent-Bcc, or has no `@`.
    fn without_colon(shown: &[ShownOctet], line: &[u8]) -> Option<Reading> {
        let start = shown.iter().position(is_letter)?;
        let len = shown[start..].iter().position(|shown| !is_letter(shown))?;
        let name = Name::spelt(&shown[start..start + len]).filter(|name| *name != Name::From)?;
        let mut reading = Reading::behind(shown, start + len - 1, name, line);
        // A punctuation mark directly after the name stands for the colon, and is not part of an address: `Bcc=s@x`.
        let is_sign = |octet: &&u8| octet.is_ascii_punctuation() && !b"<\"(".contains(octet);
        let body = &line[reading.body..];
        let is_encoded = body.starts_with(b"=?");
        reading.body += if is_encoded { 0 } else { body.iter().take_while(is_sign).count() };
        line.contains(&b'@').then_some(reading)
    }

    /// Returns the reading with a body that begins after the octet shown at `last`, and after the end of the markup
    /// around it.
    fn behind(shown: &[ShownOctet], last: usize, name: Name, line: &[u8]) -> Reading {
        let ShownOctet { start, end, is_marked_up, .. } = shown[last];
        // An encoded word that contains more than the name must not be lost.
        let is_more = shown.get(last + 1).is_some_and(|next| next.start == start);
        let mut body = if is_more { start } else { end };
        let markup = |rest| markup_len(rest).filter(|_| is_marked_up);
        while let Some(len) = escape_len(&line[body..]).or_else(|| markup(&line[body..])) {
            body += len;
        }
        Reading { name, body, is_marked_up }
    }

    /// Reads a name that is alone on its line, with its colon or its body on the next line. Returns `None` if the lines are
    /// not of this form.
    fn folded(octets: &[u8]) -> Option<Reading> {
        let len = line_len(octets);
        let name = bare_name(&octets[..len])?;
        let next = &octets[len..];
        let indent = next.iter().take_while(|octet| is_wsp(octet)).count();
        let is_colon = next.get(indent) == Some(&b':');
        let goes_on = match indent {
            0 => is_list(&next[..line_len(next)]),
            _ => next.get(indent).is_some_and(|octet| !octet.is_ascii_whitespace()),
        };
        let reading = |body| Reading { name, body, is_marked_up: false };
        match name {
            _ if is_colon => Some(reading(len + indent + 1)),
            Name::From => None,
            _ => goes_on.then(|| reading(octets[..len].trim_ascii_end().len())),
        }
    }

    /// Returns whether it is a Bcc or Resent-Bcc.
    pub(super) fn is_bcc(&self) -> bool {
        self.name != Name::From
    }
}

/// Returns the field whose name is alone on this line.
pub(super) fn bare_name(line: &[u8]) -> Option<Name> {
    if memchr(b':', line).is_some() {
        return None;
    }
    let shown = shown(line, MAX_NAME_OCTETS + 1);
    Name::spelt(&shown).filter(|_| shown.len() <= MAX_NAME_OCTETS)
}

/// Returns how many octets are needed for the reading at the beginning of `octets`; `None` if more are needed than
/// there are. No line ends before `from`.
pub(super) fn readable_len(octets: &[u8], from: usize) -> Option<usize> {
    let len = line_end(octets, from)?;
    if bare_name(&octets[..len]).is_none() {
        return Some(len);
    }
    let next = &octets[len..];
    let indent = next.iter().position(|octet| !is_wsp(octet))?;
    if indent > 0 || matches!(next[0], b':' | b'\r' | b'\n') {
        return Some(len + indent + 1);
    }
    let list = line_len(next).min(MAX_LINE_OCTETS);
    (list == MAX_LINE_OCTETS || next[..list].ends_with(b"\n")).then_some(len + list)
}

/// Returns whether a line consists of addresses only.
fn is_list(line: &[u8]) -> bool {
    let mut count = 0;
    let is_address = |mailbox: Mailbox| mailbox.domain.is_some();
    let is_list = mailboxes(line).all(|mailbox| {
        count += 1;
        mailbox.is_ok_and(is_address)
    });
    line.len() < MAX_LINE_OCTETS && LineKind::begun_by(line) == Some(LineKind::Text) && is_list && count > 0
}

fn is_letter(shown: &ShownOctet) -> bool {
    shown.octet.is_ascii_alphanumeric() || shown.octet == b'-'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reads_as_a_bcc() {
        for (line, body) in [
            (&b"Bcc: s@x\r\n"[..], Some(&b" s@x\r\n"[..])),
            (b"BCC:s", Some(b"s")),
            (b"B cc\t: s@x", Some(b" s@x")),
            (b">\0B\xE4cc: s@x", Some(b" s@x")),
            (b"- Bcc: s@x", Some(b" s@x")),
            (b"Resent_bcc: s@x", Some(b" s@x")),
            ("\u{ff22}\u{ff43}\u{ff43}\u{ff1a}s".as_bytes(), Some(b"s")),
            ("\u{ff42}cc: s".as_bytes(), Some(b" s")),
            ("\u{ff02}\u{ff5e}Bcc: s".as_bytes(), Some(b" s")),
            ("\u{412}\u{441}\u{441}: s@x".as_bytes(), None),
            (b"Bcc; s", Some(b" s")),
            (b"Bcc\xEF\xBC\x9As", Some(b"s")),
            (b"Bcc \xEF\xB9\x95 s", Some(b" s")),
            (b"Bcc s@x", Some(b" s@x")),
            (b" Bcc=s@x", Some(b"s@x")),
            (b"bcc->\"s\"@x", Some(b"\"s\"@x")),
            (b"bcc <s@x>: y", Some(b" <s@x>: y")),
            (b"Bcc\r\n : s@x\r\n", Some(b" s@x\r\n")),
            (b"Bcc\r\n\ts@x\r\n", Some(b"\r\n\ts@x\r\n")),
            (b"Bcc\r\n", None),
            (b"Bcc\r\n \r\n", None),
            (b"Bcc\r\n: s@x\r\n", Some(b" s@x\r\n")),
            (b"Bcc\r\ns@x, t@x\r\n", Some(b"\r\ns@x, t@x\r\n")),
            (b"Bcc\r\ns@x, ann\r\n", None),
            (b"Bcc\r\nann\r\n", None),
            (b"Bcc\r\nTo: s@x\r\n", None),
            (b"Bcc\r\n\r\ns@x\r\n", None),
            (b"\x1b[1mBcc:\x1b[0m s@x", Some(b" s@x")),
            (b"\x1b[1mBcc\x1b[0m s@x", Some(b" s@x")),
            (b"\x1b[1mBcc\r\n: s@x", Some(b" s@x")),
            (b"\\nBcc: s@x", Some(b" s@x")),
            (b"<b>Bcc:</b> s@x", Some(b" s@x")),
            (b"<font color=\"a:b\">Bcc</font> s@x", Some(b" s@x")),
            (b"Bcc:<b>, s@x", Some(b"<b>, s@x")),
            (b"&nbsp;Bcc: s@x", Some(b" s@x")),
            (b"=?utf-8?q?B=63c?=: s@x", Some(b" s@x")),
            (b"=?utf-8?q?Bcc?= s@x", Some(b" s@x")),
            (b"=?utf-8?b?QmNj?=: s@x", Some(b" s@x")),
            (b"=?utf-8?q?Bcc:_s?= t@x", Some(b"=?utf-8?q?Bcc:_s?= t@x")),
            (b"=?utf-8?q?Bcc_s?= t@x", Some(b"=?utf-8?q?Bcc_s?= t@x")),
            (b"=?utf-8?q?Bcc:", Some(b"=?utf-8?q?Bcc:")),
            (b"=?utf-8?q?X-Bcc?=: s@x", None),
            (b"JD> Bcc: s@x", None),
            (b"Bcc is a field", None),
            (b"X-Bcc: s@x", None),
            (b"Bcc-To: s@x", None),
            (b"Subject: Bcc: s@x", None),
            (b"Bccs s@x", None),
            (b": s@x", None),
            (b"", None),
        ] {
            let found = Reading::of(line);
            assert!(found.is_none_or(|reading| reading.is_bcc()));
            assert_eq!(found.map(|reading| &line[reading.body..]), body, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn what_reads_as_from_has_a_colon() {
        for (line, is_from) in [
            (&b"From: a@x"[..], true),
            (b"F rom : a@x", true),
            (b"\x1b[0mFrom: a@x", true),
            (b"<b>From: a@x", false),
            (b"=?utf-8?q?From?=: a@x", false),
            (b"From\r\n : a@x", true),
            (b"From\r\n a@x", false),
            (b"From; a@x", false),
            (b"From ann@x Sat", false),
        ] {
            let found = Reading::of(line).map(|reading| reading.name);
            assert_eq!(found, is_from.then_some(Name::From), "{}", line.escape_ascii());
        }
    }
}
