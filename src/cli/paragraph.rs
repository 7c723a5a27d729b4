//! Text for a terminal of 80 columns: words behind a label, and further lines behind its width.
//!
//! Promises: no line is wider than [`WIDTH`], but for one with a word that is wider by itself; no word is cut, so that what is
//! printed can be pasted.

use super::terminal::columns;

/// The columns of a terminal.
const WIDTH: usize = 80;

/// A line behind its indentation.
struct IndentedLine {
    indent: usize,
    words: String,
}

/// Returns these paragraphs as lines, the first one behind `label`, the others behind as many columns as it has. A no-break space
/// is a space within a word.
pub(super) fn labelled(label: &str, paragraphs: &[String]) -> String {
    let indent = columns(label);
    let mut lines = paragraphs.iter().flat_map(|paragraph| wrapped(paragraph, indent));
    let mut text = match lines.next() {
        Some(line) if line.indent == indent => format!("{label}{}\n", line.words),
        // It needs the columns of the label.
        Some(IndentedLine { indent, words }) => format!("{}\n{:indent$}{words}\n", label.trim_end(), ""),
        None => format!("{}\n", label.trim_end()),
    };
    for IndentedLine { indent, words } in lines {
        text += &format!("{:indent$}{words}\n", "");
    }
    text
}

/// Breaks `words` into lines behind `indent`. A word that has no room there gets a line with less.
fn wrapped(words: &str, indent: usize) -> Vec<IndentedLine> {
    let mut lines: Vec<IndentedLine> = Vec::new();
    for word in words.split(' ').filter(|word| !word.is_empty()) {
        let word = word.replace('\u{a0}', " ");
        match lines.last_mut() {
            Some(line) if line.indent + columns(&line.words) + 1 + columns(&word) <= WIDTH => {
                line.words += " ";
                line.words += &word;
            }
            _ => {
                let indent = indent.min(WIDTH.saturating_sub(columns(&word)));
                lines.push(IndentedLine { indent, words: word });
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_without_room_gets_a_line_with_less_indentation() {
        let long = "x".repeat(75);
        let told = |paragraphs: &[&str]| {
            labelled("  label   ", &paragraphs.iter().map(|one| (*one).into()).collect::<Vec<String>>())
        };
        assert_eq!(told(&["one two", "three"]), "  label   one two\n          three\n");
        assert_eq!(
            told(&[&format!("one {long} two")]),
            format!("  label   one\n     {long}\n          two\n")
        );
        assert_eq!(told(&[&long]), format!("  label\n     {long}\n"));
        assert_eq!(told(&[&format!("a\u{a0}b {}", "y".repeat(66))]), {
            format!("  label   a b {}\n", "y".repeat(66))
        });
        assert_eq!(told(&[]), "  label\n");
    }
}
