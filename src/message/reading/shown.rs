//! The octets that a line shows to a reader, without markup.
//!
//! Promises: a name that a program coloured for a terminal, marked up for a browser, or encoded shows the same
//! letters as the bare name. Other octets keep their order. Memory and time are bounded.
//!
//! | octets | show |
//! |---|---|
//! | an escape sequence for a terminal (ECMA-48), as `^[[0m`, or the rest of one without its ESC: `[0m` | nothing |
//! | `\n`, `\r` or `\t` as two characters, as a shell writes that does not know them | nothing |
//! | a tag of HTML that formats text: `<b>`, `</td>`, `<font color="red">` | nothing |
//! | a character reference of HTML: `&nbsp;` | nothing |
//! | an encoded word (RFC 2047), even without its end | its text |
//! | a full-width letter or sign, the small colon U+FE55 | that of ASCII |
//!
//! Not here: the meaning of the result (`reading.rs`).

use memchr::{memchr, memchr2};

use crate::message::encoded_word::EncodedWord;
use crate::message::header::count_while;

/// The longest markup in octets; anything longer is text.
const MAX_DRESS_OCTETS: usize = 256;

/// Tags that format text. `<a>` is not among them, since it may be the address of a user.
const TAGS: &[&[u8]] = &[
    b"b", b"big", b"br", b"code", b"dd", b"div", b"dt", b"em", b"font", b"h1", b"h2", b"h3", b"h4", b"h5",
    b"h6", b"hr", b"i", b"li", b"p", b"pre", b"samp", b"small", b"span", b"strong", b"table", b"tbody",
    b"td", b"th", b"tr", b"tt", b"u", b"ul",
];

/// One octet that is shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct ShownOctet {
    pub(super) octet: u8,
    /// The position at which the octets begin that show it: the octet itself, or the whole encoded word.
    pub(super) start: usize,
    /// The position at which they end; for an encoded word without its end, the position at which it begins.
    pub(super) end: usize,
    /// True if there is markup or an encoded word at this octet or before it.
    pub(super) is_marked_up: bool,
}

/// Returns the first `most` octets that `line` shows.
pub(super) fn shown(line: &[u8], most: usize) -> Vec<ShownOctet> {
    let (mut out, mut at, mut is_marked_up) = (Vec::with_capacity(most.min(line.len())), 0, false);
    while out.len() < most && at < line.len() {
        let rest = &line[at..];
        let rest = &rest[..rest.len().min(MAX_DRESS_OCTETS)];
        if let Some(len) = escape_len(rest) {
            at += len;
        } else if let Some(len) = markup_len(rest) {
            (at, is_marked_up) = (at + len, true);
        } else if let Some(word) = EncodedWord::begun_by(line_of(rest)) {
            is_marked_up = true;
            let end = word.len.map_or(at, |len| at + len);
            let text = word.decoded().into_iter();
            out.extend(text.map(|octet| ShownOctet { octet, start: at, end, is_marked_up }));
            at += word.len.unwrap_or(rest.len());
        } else {
            let (octet, len) = half_width(rest);
            out.push(ShownOctet { octet, start: at, end: at + len, is_marked_up });
            at += len;
        }
    }
    out.truncate(most);
    out
}

/// Returns the length of the escape sequence, or of the line end as two characters, at the beginning of `octets`.
pub(super) fn escape_len(octets: &[u8]) -> Option<usize> {
    let len = match octets {
        [b'\\', b'n' | b'r' | b't', ..] => return Some(2),
        [0x1B, b']', ..] => return operating_system_command_len(octets),
        [b'^', b'[', b'[', ..] => 3 + control_sequence_len(&octets[3..])?,
        [0x1B, b'[', ..] | [0xC2, 0x9B, ..] => 2 + control_sequence_len(&octets[2..])?,
        [0x9B, ..] => 1 + control_sequence_len(&octets[1..])?,
        [0x1B, ..] => {
            let between = count_while(&octets[1..], |octet| (0x20..=0x2F).contains(octet));
            octets.get(1 + between).filter(|octet| octet.is_ascii_graphic())?;
            2 + between
        }
        [b'[', ..] => {
            let colours = count_while(&octets[1..], |octet| octet.is_ascii_digit() || *octet == b';');
            octets.get(1 + colours).filter(|octet| colours > 0 && **octet == b'm')?;
            2 + colours
        }
        _ => return None,
    };
    Some(len)
}

/// Returns the length of a control sequence after its introducer (ECMA-48 5.4).
fn control_sequence_len(octets: &[u8]) -> Option<usize> {
    let parameters = count_while(octets, |octet| (0x30..=0x3F).contains(octet));
    let between = count_while(&octets[parameters..], |octet| (0x20..=0x2F).contains(octet));
    let last = octets.get(parameters + between)?;
    (0x40..=0x7E).contains(last).then_some(parameters + between + 1)
}

/// Returns the length of a command such as the title of a window. It ends with BEL, or with ESC and a backslash.
fn operating_system_command_len(octets: &[u8]) -> Option<usize> {
    let len = memchr2(0x07, 0x1B, &octets[2..])? + 3;
    let is_long = octets[len - 1] == 0x1B && octets.get(len) == Some(&b'\\');
    Some(len + usize::from(is_long))
}

/// Returns the length of the tag, or of the character reference, at the beginning of `octets`.
pub(super) fn markup_len(octets: &[u8]) -> Option<usize> {
    match octets {
        [b'<', rest @ ..] => {
            let end = memchr2(b'>', b'\n', rest)?;
            let inner = rest[..end].strip_prefix(b"/").unwrap_or(&rest[..end]);
            let name = &inner[..count_while(inner, u8::is_ascii_alphanumeric)];
            let is_tag = TAGS.iter().any(|tag| tag.eq_ignore_ascii_case(name));
            // `<b@x>` is an address.
            let is_alone = matches!(inner.get(name.len()), None | Some(b' ' | b'\t' | b'/'));
            (rest[end] == b'>' && is_tag && is_alone).then_some(end + 2)
        }
        [b'&', rest @ ..] => {
            let rest = &rest[..rest.len().min(10)];
            let end = memchr(b';', rest)?;
            let name = rest[..end].strip_prefix(b"#").unwrap_or(&rest[..end]);
            (!name.is_empty() && name.iter().all(u8::is_ascii_alphanumeric)).then_some(end + 2)
        }
        _ => None,
    }
}

/// Returns the first line of `octets`, without its end.
fn line_of(octets: &[u8]) -> &[u8] {
    octets.split(|octet| matches!(octet, b'\r' | b'\n')).next().unwrap_or_default()
}

/// Returns the first octet that `octets`, which must not be empty, show, and its length. Full-width letters and signs
/// become those of ASCII.
fn half_width(octets: &[u8]) -> (u8, usize) {
    match *octets {
        // U+FF01 to U+FF3F, U+FF40 to U+FF5E, U+FE55.
        [0xEF, 0xBC, last @ 0x81..=0xBF, ..] => (b'!' + (last - 0x81), 3),
        [0xEF, 0xBD, last @ 0x80..=0x9E, ..] => (b'`' + (last - 0x80), 3),
        [0xEF, 0xB9, 0x95, ..] => (b':', 3),
        _ => (octets[0], 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_dresses_a_name_is_not_shown() {
        for (line, expected) in [
            (&b"Bcc"[..], &b"Bcc"[..]),
            (b"\x1b[0mB\x1b[38;5;1mcc\x1b[K:", b"Bcc:"),
            (b"\x1b]0;title\x07B\x1b]0;t\x1b\\cc\x1b(B", b"Bcc"),
            (b"\xc2\x9b1mB\x9b0mcc^[[0m[1;31m", b"Bcc"),
            (b"[x] [m] [1] ^[", b"[x] [m] [1] ^["),
            (b"\x1b", b"\x1b"),
            (b"\\n\\r\\tB\\c", b"B\\c"),
            (b"<B>B</b><font color=\"a:b\">cc<br/>:", b"Bcc:"),
            (b"<b@x> <ann> <a> <b", b"<b@x> <ann> <a> <b"),
            (b"&nbsp;B&#160;c & c; &;", b"Bc & c; &;"),
            (b"=?utf-8?q?B=63c=3A?= =?x?B?QmNj?= =?x?b?QmN?=", b"Bcc: Bcc Bc"),
            (b"=?utf-8?q?Bcc:", b"Bcc:"),
            (b"=?utf-8?x?Bcc?= =?=? =?", b"=?utf-8?x?Bcc?= =?=? =?"),
            ("\u{ff22}\u{ff43}\u{ff43}\u{ff1a}\u{fe55}".as_bytes(), b"Bcc::"),
        ] {
            let found: Vec<u8> = shown(line, 64).into_iter().map(|shown| shown.octet).collect();
            assert_eq!(found.escape_ascii().to_string(), expected.escape_ascii().to_string());
        }
        assert_eq!(shown(b"Bcc: x", 4).len(), 4);
    }
}
