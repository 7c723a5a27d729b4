//! Writing a header field: folded, and safe whatever the words are.
//!
//! Promises: 1. what is written is one field: no word can end it or begin another, since control
//! characters become `?`. 2. Lines stay under 78 columns where the words allow it (RFC 5322 2.1.1);
//! running text stays under 998 octets a line always.
//!
//! Not here: which words; escaping non-ASCII text (`dsn/report.rs`).

/// A line is shorter than this, in octets, where the words allow it.
const COLUMNS: usize = 78;

/// A word of running text longer than this is cut in two: the limit of a line is 998 octets.
const MAX_WORD_OCTETS: usize = 500;

/// A field while it is written.
#[derive(Debug)]
pub(super) struct Folded {
    text: String,
    /// Octets on the last line so far.
    column: usize,
    /// Where the first word of a line goes: no fold helps there.
    line_is_empty: bool,
}

impl Folded {
    /// A field with nothing in it yet.
    pub(super) fn field(name: &str) -> Self {
        let text = format!("{name}:");
        Folded { column: text.len(), text, line_is_empty: true }
    }

    /// Adds `word` behind a space or, where the line is full, a fold. Spaces inside are not folded.
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

    /// The field with its line end.
    pub(super) fn finish(mut self) -> String {
        self.text.push_str("\r\n");
        self.text
    }
}

/// `word` in pieces of at most [`MAX_WORD_OCTETS`], cut between characters.
pub(super) fn pieces(word: &str) -> impl Iterator<Item = &str> {
    let mut rest = word;
    std::iter::from_fn(move || {
        let (piece, behind) = rest.split_at(rest.floor_char_boundary(MAX_WORD_OCTETS));
        rest = behind;
        (!piece.is_empty()).then_some(piece)
    })
}

/// `c`, or `?` for what could end a line or change how the text around it is shown.
fn harmless(c: char) -> char {
    let reorders = matches!(c, '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
    let breaks_line = matches!(c, '\u{2028}' | '\u{2029}');
    if c.is_control() || reorders || breaks_line { '?' } else { c }
}

/// Foreign text on one line: white space of any kind becomes single spaces, what else is harmful
/// becomes `?`, and what goes beyond `max` octets is cut off, visibly.
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
