//! Text of others in our sentences.

/// The number of characters of a foreign text that are repeated.
const SHOWN: usize = 200;

/// Returns the beginning of `text` on one line, escaped.
pub(super) fn quoted(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let cut = if line.chars().nth(SHOWN).is_some() { "…" } else { "" };
    let shown: String = line.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    format!("{shown}{cut}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_short_line() {
        assert_eq!(quoted("two\r\n lines \u{1b}[2J"), "two lines \\u{1b}[2J");
        assert_eq!(quoted(&"ä".repeat(201)), format!("{}…", "ä".repeat(200)));
    }
}
