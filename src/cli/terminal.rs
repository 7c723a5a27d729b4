//! The terminal that standard output is, if it is one: how wide it is, and what fits on a line of it.
//!
//! Promise: what [`cut`] and [`wrapped`] return is never wider than asked. Characters outside of ASCII may be wider than one
//! column, so all from U+1100 on count as two, but for the blocks of bars and curves: a line may be a little short, but does not run over.

use std::borrow::Cow;
use std::io::{self, IsTerminal};

use rustix::termios::tcgetwinsize;

/// The width of a terminal that does not tell its own.
const USUAL: usize = 80;
/// What stands at the end of a text that was cut.
const CUT: &str = "...";

/// Returns the number of columns of the terminal that standard output is; `None` if it is none.
pub(super) fn width() -> Option<usize> {
    let out = io::stdout();
    out.is_terminal().then(|| match tcgetwinsize(&out) {
        Ok(size) if size.ws_col > 0 => size.ws_col.into(),
        _ => USUAL,
    })
}

/// Returns the number of columns that `text` takes at most.
pub(super) fn columns(text: &str) -> usize {
    text.chars().map(column).sum()
}

/// Returns `text`, cut to `width` columns if that is given.
pub(super) fn cut(text: &str, width: Option<usize>) -> Cow<'_, str> {
    let Some(width) = width.filter(|width| columns(text) > *width) else { return Cow::Borrowed(text) };
    let mut left = width.saturating_sub(CUT.len());
    let fits = text.char_indices().find(|(_, c)| match left.checked_sub(column(*c)) {
        Some(rest) => {
            left = rest;
            false
        }
        None => true,
    });
    let end = fits.map_or(text.len(), |(at, _)| at);
    Cow::Owned(format!("{}{}", &text[..end], &CUT[..CUT.len().min(width)]))
}

/// Returns `text` in lines of at most `width` columns if that is given, each behind `indent`. A word that is longer than a line
/// is cut.
pub(super) fn wrapped(text: &str, indent: &str, width: Option<usize>) -> String {
    let Some(width) = width else { return format!("{indent}{text}\n") };
    let mut lines = String::new();
    let mut line = String::new();
    for word in text.split(' ') {
        if !line.is_empty() && columns(indent) + columns(&line) + 1 + columns(word) > width {
            lines += &format!("{}\n", cut(&format!("{indent}{line}"), Some(width)));
            line.clear();
        }
        line += if line.is_empty() { "" } else { " " };
        line += word;
    }
    lines + &format!("{}\n", cut(&format!("{indent}{line}"), Some(width)))
}

fn column(c: char) -> usize {
    if c < '\u{1100}' || ('\u{2580}'..='\u{259f}').contains(&c) { 1 } else { 2 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_cut() {
        for (text, width, shown) in [
            ("four", Some(4), "four"),
            ("fives", Some(4), "f..."),
            ("fives", None, "fives"),
            ("漢字漢字", Some(8), "漢字漢字"),
            ("漢字漢字漢", Some(8), "漢字..."),
            ("fives", Some(2), ".."),
            ("", Some(0), ""),
        ] {
            assert_eq!(cut(text, width), shown, "{text} {width:?}");
        }
    }

    #[test]
    fn a_long_text_takes_several_lines() {
        assert_eq!(wrapped("one two three", "  ", Some(9)), "  one two\n  three\n");
        assert_eq!(wrapped("one two three", "  ", None), "  one two three\n");
        assert_eq!(wrapped("a sesquipedalian b", "", Some(8)), "a\nsesqu...\nb\n");
        assert_eq!(wrapped("", " ", Some(9)), " \n");
    }
}
