//! Logical lines, of which all files of Postfix consist.
//!
//! Promises: comments and blank lines are left out, also between a line and its continuation; a line that begins with
//! white space continues the one before it; each logical line has the location where it begins.
//!
//! Fails: a continuation of nothing, and octets that are not UTF-8 outside comments.

use super::location::{ImportError, SourceLocation};

/// A logical line: one line with its continuation lines.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LogicalLine {
    pub(super) location: SourceLocation,
    pub(super) text: String,
}

/// Returns the logical lines of `text`, which was read from `file`.
pub(super) fn logical_lines(file: &str, text: &str) -> Result<Vec<LogicalLine>, ImportError> {
    let mut lines: Vec<LogicalLine> = Vec::new();
    for (index, physical) in text.lines().enumerate() {
        let location = SourceLocation::line(file, index + 1);
        let begins = physical.trim_start();
        if begins.is_empty() || begins.starts_with('#') {
            continue;
        }
        if physical.contains('\u{fffd}') {
            return Err(location.error("expected UTF-8, found an octet that is not"));
        }
        let text = physical.trim_end();
        if begins.len() == physical.len() {
            lines.push(LogicalLine { location, text: text.into() });
        } else if let Some(line) = lines.last_mut() {
            line.text += text;
        } else {
            return Err(location.error("expected no white space in front of the first line"));
        }
    }
    Ok(lines)
}

/// Splits a list into its items at white space and commas, except inside braces.
pub(super) fn items(list: &str) -> Vec<&str> {
    let mut items = Vec::new();
    let (mut start, mut depth) = (None, 0_usize);
    for (at, c) in list.char_indices() {
        let parts = depth == 0 && (c.is_whitespace() || c == ',');
        match (start, parts) {
            (None, false) => start = Some(at),
            (Some(from), true) => {
                items.push(&list[from..at]);
                start = None;
            }
            _ => {}
        }
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    items.extend(start.map(|from| &list[from..]));
    items
}

/// Returns the first word of `text`, and the text after it.
pub(super) fn first_word(text: &str) -> (&str, &str) {
    match text.split_once(|c: char| c.is_whitespace()) {
        Some((word, rest)) => (word, rest.trim()),
        None => (text, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<(usize, String)> {
        let lines = logical_lines("f", text).unwrap();
        lines.into_iter().map(|line| (line.location.line.unwrap(), line.text)).collect()
    }

    #[test]
    fn a_comment_ends_no_line() {
        let text = "# top\r\n\na = 1\r\n   # between\n\n\t2\n#b = x\nb =\n  y  \n";
        assert_eq!(texts(text), [(3, "a = 1\t2".into()), (8, "b =  y".into())]);
        assert_eq!(texts(""), []);
    }

    #[test]
    fn what_is_no_line_is_said_with_its_number() {
        for (text, said) in [
            ("# c\n a = b", "f:2: expected no white space in front of the first line"),
            ("a = b\nc = \u{fffd}", "f:2: expected UTF-8, found an octet that is not"),
        ] {
            assert_eq!(logical_lines("f", text).unwrap_err().to_string(), said);
        }
        assert_eq!(texts("# gr\u{fffd}n\na"), [(2, "a".into())], "old comments are Latin-1");
    }

    #[test]
    fn braces_hold_an_item_together() {
        let cases: [(&str, &[&str]); 5] = [
            ("", &[]),
            (" a,b\t, c ", &["a", "b", "c"]),
            ("hash:/x inline:{ a=b, {c = d e} } z", &["hash:/x", "inline:{ a=b, {c = d e} }", "z"]),
            ("{ a b", &["{ a b"]),
            ("} a b", &["}", "a", "b"]),
        ];
        for (list, expected) in cases {
            assert_eq!(items(list), expected, "{list}");
        }
    }

    #[test]
    fn words() {
        assert_eq!(first_word("key\t  value and more "), ("key", "value and more"));
        assert_eq!(first_word("key"), ("key", ""));
    }
}
