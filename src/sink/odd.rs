//! Replies that a [`Reply`](crate::smtp::reply::Reply) cannot hold: longer than it should be, or not SMTP at all.
//!
//! Promises: an [`OddReply`] shows as the text that it was parsed from, and its octets are sent as they are.
//!
//! Text form: `long OCTETS CODE TEXT` for a line of so many octets, `lines NUMBER CODE TEXT` for so many lines, and
//! `raw TEXT` for anything, with `\r`, `\n`, `\t`, `\\` and `\xNN`. CRLF follows by itself unless `\c` is the end.

use std::fmt;

/// The most octets of one odd reply: more than any client reads.
const MOST_OCTETS: usize = 1 << 20;

/// The octets that the sink sends in place of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OddReply {
    text: Box<str>,
    octets: Box<[u8]>,
}

impl OddReply {
    /// Parses the text form; `None` if `text` is not one, or stands for more than a mebibyte.
    pub fn parse(text: &str) -> Option<Self> {
        let (word, rest) = text.split_once(' ')?;
        let octets = match word {
            "raw" => raw(rest)?,
            "long" => counted(rest, long)?,
            "lines" => counted(rest, lines)?,
            _ => return None,
        };
        let octets = Some(octets).filter(|octets| octets.len() <= MOST_OCTETS)?;
        Some(OddReply { text: text.into(), octets: octets.into() })
    }

    /// Returns the octets to be sent.
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// Returns true if its first octet is `digit`.
    pub fn begins_with(&self, digit: u8) -> bool {
        self.octets.first() == Some(&digit)
    }
}

impl fmt::Display for OddReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Calls `build` with the number at the start of `text` and with what follows it.
fn counted(text: &str, build: fn(usize, &str) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
    let (count, reply) = text.split_once(' ')?;
    let count = count.parse().ok().filter(|count| (1..=MOST_OCTETS).contains(count))?;
    build(count, reply)
}

/// Returns `reply` as a line of `octets` octets, its end not counted.
fn long(octets: usize, reply: &str) -> Option<Vec<u8>> {
    let mut line = reply.as_bytes().to_vec();
    line.resize(octets.max(line.len()), b'.');
    line.extend_from_slice(b"\r\n");
    Some(line)
}

/// Returns `reply` as so many lines.
fn lines(number: usize, reply: &str) -> Option<Vec<u8>> {
    let (code, words) = reply.split_at_checked(3)?;
    let words = words.strip_prefix(' ').unwrap_or(words);
    if number.saturating_mul(reply.len() + 2) > MOST_OCTETS {
        return None;
    }
    let line = |at| format!("{code}{}{words}\r\n", if at == number { ' ' } else { '-' });
    Some((1..=number).map(line).collect::<String>().into_bytes())
}

/// Returns the octets that `text` stands for.
fn raw(text: &str) -> Option<Vec<u8>> {
    let mut octets = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        octets.extend_from_slice(&rest.as_bytes()[..at]);
        let escaped = &rest[at + 1..];
        let letter = escaped.chars().next()?;
        rest = &escaped[letter.len_utf8()..];
        match letter {
            'r' => octets.push(b'\r'),
            'n' => octets.push(b'\n'),
            't' => octets.push(b'\t'),
            '\\' => octets.push(b'\\'),
            'x' => {
                let (digits, behind) = rest.split_at_checked(2)?;
                octets.push(u8::from_str_radix(digits, 16).ok()?);
                rest = behind;
            }
            'c' => return rest.is_empty().then_some(octets),
            _ => return None,
        }
    }
    octets.extend_from_slice(rest.as_bytes());
    octets.extend_from_slice(b"\r\n");
    Some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_are_those_that_the_text_stands_for() {
        let cases: [(&str, &[u8]); 8] = [
            ("raw 550", b"550\r\n"),
            (r"raw 550-a\r\n550 b\xe9\\", b"550-a\r\n550 b\xe9\\\r\n"),
            (r"raw 250 ok\n\c", b"250 ok\n"),
            (r"raw \tgarb\x00ge\c", b"\tgarb\0ge"),
            ("long 12 554 5.2.0 x", b"554 5.2.0 x.\r\n"),
            ("long 1 554 no", b"554 no\r\n"),
            ("lines 2 451 4.3.0 wait", b"451-4.3.0 wait\r\n451 4.3.0 wait\r\n"),
            ("lines 1 451", b"451 \r\n"),
        ];
        for (text, octets) in cases {
            let odd = OddReply::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((odd.octets(), odd.to_string().as_str()), (octets, text));
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "raw",
            r"raw \q",
            r"raw \x4",
            r"raw \xzz",
            r"raw \",
            r"raw \c behind",
            "long x 554 no",
            "long 0 554 no",
            "long 1048577 554 no",
            "long 1048576 554 no",
            "lines 100000 554 too many lines",
            "lines 2 55",
            "loud 550 no",
        ] {
            assert_eq!(OddReply::parse(text), None, "{text}");
        }
    }
}
