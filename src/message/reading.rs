//! What a broken line reads as the field of.
//!
//! Promises: a line that a person would take for a Bcc is one: whatever stands in its name that no name has, behind
//! whatever it has for a colon.
//!
//! | the line | reads as |
//! |---|---|
//! | `Bcc: s@x`, `B cc : s@x`, `>Bcc: s@x`, with NUL or 8-bit octets in the name | Bcc |
//! | `- Bcc: s@x`, `Resent Bcc: s@x`: hyphens do not count | Bcc, Resent-Bcc |
//! | `Bcc; s@x`, a full-width or small colon, full-width letters | Bcc |
//! | `Bcc s@x`, `Bcc=s@x`, `Bcc <s@x>` | Bcc, if there is an `@` in the line |
//! | `Bcc`, and `: s@x` or ` s@x` on an indented line behind it | Bcc |
//! | `Bcc` alone, `BCC is a field`, `X-Bcc: s@x`, letters of another script that look alike | no Bcc |
//! | `From: a@x`, as the first row | From |
//!
//! Not here: where lines are read so (`mend.rs`, `bare_cr.rs`).

use super::header::is_wsp;

/// What reads as the name of a field is no longer, whatever stands in it besides.
const MAX_NAME_OCTETS: usize = 64;

/// What is typed for a colon, and is none: U+FF1A, U+FE55, and the key beside it.
const OTHER_COLONS: [&[u8]; 3] = [b"\xEF\xBC\x9A", b"\xEF\xB9\x95", b";"];

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

    /// Of the letters and digits in `octets`.
    fn spelt(octets: &[u8]) -> Option<Name> {
        let mut letters = half_width(octets);
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
    /// Where what would stand behind the colon begins.
    pub(super) body: usize,
}

impl Reading {
    /// Of the line that `octets` begin with, and the one behind it. A line that is not all there reads as what is.
    pub(super) fn of(octets: &[u8]) -> Option<Reading> {
        let line = &octets[..line_len(octets)];
        let reading = Reading::with_colon(line).or_else(|| Reading::without_colon(line));
        reading.or_else(|| Reading::folded(octets))
    }

    /// `Bcc: s@x`, on one line.
    pub(super) fn with_colon(line: &[u8]) -> Option<Reading> {
        let start = &line[..line.len().min(MAX_NAME_OCTETS)];
        let (at, colon_len) = (0..start.len()).find_map(|at| Some((at, colon_len(&start[at..])?)))?;
        let name = Name::spelt(&start[..at])?;
        let is_true = start[at] == b':';
        (is_true || name != Name::From).then_some(Reading { name, body: at + colon_len })
    }

    /// `Bcc s@x`
    fn without_colon(line: &[u8]) -> Option<Reading> {
        let start = line.iter().position(is_letter)?;
        let end = start + line[start..].iter().position(|octet| !is_letter(octet))?;
        let name = Name::spelt(&line[start..end]).filter(|name| *name != Name::From)?;
        // A sign right behind the name stands for the colon, and is no part of an address: `Bcc=s@x`.
        let is_sign = |octet: &&u8| octet.is_ascii_punctuation() && !b"<\"(".contains(octet);
        let body = end + line[end..].iter().take_while(is_sign).count();
        line.contains(&b'@').then_some(Reading { name, body })
    }

    /// A name alone on its line, with its colon or its body on the next one.
    fn folded(octets: &[u8]) -> Option<Reading> {
        let len = line_len(octets);
        let name = bare_name(&octets[..len])?;
        let next = &octets[len..];
        let indent = next.iter().take_while(|octet| is_wsp(octet)).count();
        let is_colon = next.get(indent) == Some(&b':');
        let goes_on =
            name != Name::From && next.get(indent).is_some_and(|octet| !octet.is_ascii_whitespace());
        match indent {
            0 => None,
            _ if is_colon => Some(Reading { name, body: len + indent + 1 }),
            _ if goes_on => Some(Reading { name, body: octets[..len].trim_ascii_end().len() }),
            _ => None,
        }
    }

    /// Whether it is a Bcc or Resent-Bcc.
    pub(super) fn is_bcc(&self) -> bool {
        self.name != Name::From
    }
}

/// What a line is the name of, with nothing behind it.
pub(super) fn bare_name(line: &[u8]) -> Option<Name> {
    Name::spelt(line).filter(|_| line.len() <= MAX_NAME_OCTETS && !line.contains(&b':'))
}

/// How many of `octets` it takes to read what they begin with; `None`: more than there are. Before `from` no line ends.
pub(super) fn readable_len(octets: &[u8], from: usize) -> Option<usize> {
    let len = from + octets[from..].iter().position(|octet| *octet == b'\n')? + 1;
    if bare_name(&octets[..len]).is_none() {
        return Some(len);
    }
    let indent = octets[len..].iter().position(|octet| !is_wsp(octet))?;
    Some(len + indent + 1)
}

/// With the letters and signs of full width as those of ASCII.
fn half_width(octets: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), octets);
    loop {
        let octet;
        (octet, rest) = match rest {
            [] => return out,
            // U+FF01 to U+FF3F, U+FF40 to U+FF5E.
            [0xEF, 0xBC, last @ 0x81..=0xBF, rest @ ..] => (b'!' + (last - 0x81), rest),
            [0xEF, 0xBD, last @ 0x80..=0x9E, rest @ ..] => (b'`' + (last - 0x80), rest),
            [first, rest @ ..] => (*first, rest),
        };
        out.push(octet);
    }
}

fn colon_len(octets: &[u8]) -> Option<usize> {
    let other = OTHER_COLONS.iter().find(|other| octets.starts_with(other)).map(|other| other.len());
    if octets.starts_with(b":") { Some(1) } else { other }
}

fn is_letter(octet: &u8) -> bool {
    octet.is_ascii_alphanumeric() || *octet == b'-'
}

fn line_len(octets: &[u8]) -> usize {
    octets.iter().position(|octet| *octet == b'\n').map_or(octets.len(), |index| index + 1)
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
            (b"Bcc\r\ns@x\r\n", None),
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
