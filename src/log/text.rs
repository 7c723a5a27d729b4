//! Writes values into a line: foreign text, seconds, JSON.
//!
//! Promises: foreign text stays on one line, has no character that could forge a line or control a terminal, and
//! takes at most [`MAX_FOREIGN_OCTETS`].

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::ops::RangeInclusive;
use std::time::Duration;

/// Returns the seconds as a number with millisecond precision, for the JSON format.
pub(super) fn number(duration: Duration) -> f64 {
    duration.as_millis() as f64 / 1000.0
}

/// Shows seconds as Postfix does, with two significant digits below a hundred: `0.01`, `2.6`, `31`, `4711`.
pub(super) struct Seconds(pub(super) Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs_f64();
        let digits = if seconds < 0.995 { 2 } else { usize::from(seconds < 9.95) };
        let text = format!("{seconds:.digits$}");
        let bare = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
        f.write_str(bare)
    }
}

/// Shows foreign text on one line: every character that could forge a line or control a terminal is escaped, and a text
/// longer than [`MAX_FOREIGN_OCTETS`] is cut, with the number of octets that are left out.
pub struct Foreign<'a>(pub &'a str);

/// The most octets that one foreign text takes in a line. The longest address, and every reply that a person would
/// read, is shown in full. Every syslog receiver should take lines of 2 KiB (RFC 5424 6.1).
pub(super) const MAX_FOREIGN_OCTETS: usize = 1000;

impl fmt::Display for Foreign<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut octets = 0;
        for (start, c) in self.0.char_indices() {
            let is_escaped = is_harmful(c);
            octets += if is_escaped { c.escape_default().len() } else { c.len_utf8() };
            if octets > MAX_FOREIGN_OCTETS {
                return write!(f, "... ({} octets more)", self.0.len() - start);
            }
            if is_escaped {
                write!(f, "{}", c.escape_default())?;
            } else {
                f.write_char(c)?;
            }
        }
        Ok(())
    }
}

/// Returns a number and what is counted, whose plural ends in `s`: `1 message`, `2 messages`.
pub fn counted<N: fmt::Display + PartialEq + From<u8>>(number: N, one: &str) -> String {
    let ending = if number == N::from(1) { "" } else { "s" };
    format!("{number} {one}{ending}")
}

/// Returns words as the beginning of a sentence.
pub fn capitalized(words: &str) -> String {
    let mut letters = words.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

/// Returns an age in the largest unit, up to days, of which it is two: `59s`, `90m`, `2h` or `20d`.
pub fn age_in_words(seconds: u64) -> String {
    let units = [("d", 86_400), ("h", 3600), ("m", 60)];
    let (unit, length) = units.into_iter().find(|(_, length)| seconds >= 2 * length).unwrap_or(("s", 1));
    format!("{}{unit}", seconds / length)
}

/// Returns the text of `value`, escaped and cut like [`Foreign`].
pub(super) fn foreign(value: &dyn fmt::Display) -> String {
    Foreign(&value.to_string()).to_string()
}

/// Returns `json` with a JSON escape for every character that is invisible or changes the direction of text: the value
/// is the same, and a terminal shows all of it. Such characters can only be in strings.
pub fn visible_json(json: &str) -> Cow<'_, str> {
    if json.is_ascii() {
        return Cow::Borrowed(json);
    }
    let mut visible = String::with_capacity(json.len());
    for c in json.chars() {
        if is_invisible(c) || c.is_control() && !c.is_ascii() {
            for unit in c.encode_utf16(&mut [0; 2]) {
                visible += &format!("\\u{unit:04x}");
            }
        } else {
            visible.push(c);
        }
    }
    Cow::Owned(visible)
}

/// Returns whether `c` could control a terminal, or change how the text around it is shown.
pub fn is_harmful(c: char) -> bool {
    c.is_control() || is_invisible(c)
}

/// Returns whether `c` is a line or paragraph separator, or a format character of Unicode (general category Cf): it
/// changes the direction of text, joins characters, or is not visible.
fn is_invisible(c: char) -> bool {
    const INVISIBLE: [RangeInclusive<char>; 20] = [
        '\u{ad}'..='\u{ad}',
        '\u{600}'..='\u{605}',
        '\u{61c}'..='\u{61c}',
        '\u{6dd}'..='\u{6dd}',
        '\u{70f}'..='\u{70f}',
        '\u{890}'..='\u{891}',
        '\u{8e2}'..='\u{8e2}',
        '\u{180e}'..='\u{180e}',
        '\u{200b}'..='\u{200f}',
        '\u{2028}'..='\u{202e}',
        '\u{2060}'..='\u{2064}',
        '\u{2066}'..='\u{206f}',
        '\u{feff}'..='\u{feff}',
        '\u{fff9}'..='\u{fffb}',
        '\u{110bd}'..='\u{110bd}',
        '\u{110cd}'..='\u{110cd}',
        '\u{13430}'..='\u{1343f}',
        '\u{1bca0}'..='\u{1bca3}',
        '\u{1d173}'..='\u{1d17a}',
        '\u{e0001}'..='\u{e007f}',
    ];
    !c.is_ascii() && INVISIBLE.iter().any(|range| range.contains(&c))
}
