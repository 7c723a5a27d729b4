//! Writes a folded header field, which is valid whatever its words contain.
//!
//! Promises:
//! 1. The result is one field: no word can end it or begin another one, since control characters become `?`.
//! 2. Lines have less than 78 columns if the words allow it (RFC 5322 2.1.1). Running text always has less than 998
//!    octets in a line.
//!
//! Not here: the words; encoding text that is not ASCII (`dsn/report.rs`).

/// The length in octets that a line does not reach, if the words allow it.
const COLUMNS: usize = 78;

/// The longest word of running text in octets. A longer one is cut, since a line has at most 998 octets.
const MAX_WORD_OCTETS: usize = 500;

/// A field that is being written.
#[derive(Debug)]
pub(super) struct Folded {
    text: String,
    /// The number of octets on the last line so far.
    column: usize,
    /// True if the last line has no word yet, so that a fold would not help.
    line_is_empty: bool,
}

impl Folded {
    /// Returns a field without a word.
    pub(super) fn field(name: &str) -> Self {
        let text = format!("{name}:");
        Folded { column: text.len(), text, line_is_empty: true }
    }

    /// Adds `word` after a space, or after a fold if the line is full. Spaces in the word are not folded.
    pub(super) fn word(mut self, word: &str) -> Self {
        if word.is_empty() {
            return self;
        }
        if !self.line_is_empty && self.column + 1 + word.len() >= COLUMNS {
            self = self.fold();
        }
        if self.column > 1 {
            self.text.push(' ');
            self.column += 1;
        }
        self.text.extend(word.chars().map(harmless));
        self.column += word.len();
        self.line_is_empty = false;
        self
    }

    /// Adds running text, which may be folded at every space.
    pub(super) fn words(self, text: &str) -> Self {
        text.split_whitespace().flat_map(pieces).fold(self, Folded::word)
    }

    /// Begins a continuation line.
    pub(super) fn fold(mut self) -> Self {
        self.text.push_str("\r\n\t");
        self.column = 1;
        self.line_is_empty = true;
        self
    }

    /// Returns the field with its line end.
    pub(super) fn finish(mut self) -> String {
        self.text.push_str("\r\n");
        self.text
    }
}

/// Cuts `word` into pieces of at most [`MAX_WORD_OCTETS`], between characters.
pub(super) fn pieces(word: &str) -> impl Iterator<Item = &str> {
    let mut rest = word;
    std::iter::from_fn(move || {
        let (piece, behind) = rest.split_at(rest.floor_char_boundary(MAX_WORD_OCTETS));
        rest = behind;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Returns `c`, or `?` for a character that could end a line or change how the text around it is shown.
fn harmless(c: char) -> char {
    let reorders = matches!(c, '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
    let breaks_line = matches!(c, '\u{2028}' | '\u{2029}');
    if c.is_control() || reorders || breaks_line { '?' } else { c }
}

/// Returns foreign text on one line: white space becomes a single space, a harmful character becomes `?`, and text
/// beyond `max` octets is replaced with `[...]`.
pub(super) fn one_line(text: &str, max: usize) -> String {
    let mut line = String::with_capacity(text.len().min(max));
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.extend(word.chars().map(harmless));
        if line.len() > max {
            line.truncate(line.floor_char_boundary(max));
            line.push_str(" [...]");
            break;
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_stay_under_78_columns() {
        let field = Folded::field("X").words(&"word ".repeat(60)).finish();
        assert!(field.lines().all(|line| line.len() < COLUMNS), "{field}");
        assert!(field.lines().skip(1).all(|line| line.starts_with("\tword")), "{field}");
        assert_eq!(field.split_whitespace().count(), 61);
    }

    #[test]
    fn the_column_decides_where_a_word_goes() {
        let fits = Folded::field("X").word("a").word(&"b".repeat(72)).finish();
        assert_eq!(fits, format!("X: a {}\r\n", "b".repeat(72)));
        let folds = Folded::field("X").word("a").word(&"b".repeat(73)).finish();
        assert_eq!(folds, format!("X: a\r\n\t{}\r\n", "b".repeat(73)));
        let no_fold_helps = Folded::field("X").word(&"b".repeat(100)).finish();
        assert_eq!(no_fold_helps, format!("X: {}\r\n", "b".repeat(100)));
    }

    #[test]
    fn no_word_ends_the_field() {
        let field = Folded::field("X").word("a\r\nBcc: b\0\u{85}\u{2028}c").word("").word("d").finish();
        assert_eq!(field, "X: a??Bcc: b???c d\r\n");
    }

    #[test]
    fn running_text_without_spaces_is_cut_between_characters() {
        let field = Folded::field("X").words(&"é".repeat(3000)).finish();
        assert!(field.lines().all(|line| line.len() < 998));
        assert_eq!(field.chars().filter(|c| *c == 'é').count(), 3000);
    }

    #[test]
    fn foreign_text_becomes_one_bounded_line() {
        let cases = [
            ("550 5.1.1 no", 99, "550 5.1.1 no"),
            ("  a\r\n\tb \u{b}c  ", 99, "a b c"),
            ("a\u{1b}[31mb\0c\u{7f}", 99, "a?[31mb?c?"),
            ("a\u{202E}b", 99, "a?b"),
            ("abcdef gh", 5, "abcde [...]"),
            ("ééé", 3, "é [...]"),
            ("\r\n", 9, ""),
        ];
        for (text, max, expected) in cases {
            assert_eq!(one_line(text, max), expected, "{text:?}");
        }
    }
}
