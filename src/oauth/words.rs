//! Text of others in our sentences. It passes [`quoted`], which masks our secrets in it before it cuts and escapes.

use crate::secret::SecretMasks;

/// The number of characters of a foreign text that are repeated.
const SHOWN: usize = 200;
/// The number of characters of it that are looked at, since the time for the masks may grow with their square. A secret that is
/// cut off there is masked like a whole one.
const READ: usize = 2 * 1024;

/// Returns the beginning of `text` on one line, without `secrets` and control characters. Apostrophes and quotes stay as they
/// are.
pub(super) fn quoted(text: &str, secrets: &SecretMasks) -> String {
    let beginning: String = text.chars().take(READ).collect();
    let text = secrets.masked(&beginning);
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let cut = if line.chars().nth(SHOWN).is_some() { "…" } else { "" };
    let shown: String = line.chars().take(SHOWN).flat_map(escaped).collect();
    format!("{shown}{cut}")
}

/// Returns the character, escaped where a line may not hold it.
fn escaped(character: char) -> impl Iterator<Item = char> {
    let is_quote = matches!(character, '\'' | '"');
    let (quote, other) =
        if is_quote { (Some(character), None) } else { (None, Some(character.escape_debug())) };
    quote.into_iter().chain(other.into_iter().flatten())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_short_line() {
        let quoted = |text: &str| quoted(text, &SecretMasks::default());
        assert_eq!(quoted("two\r\n lines \u{1b}[2J"), "two lines \\u{1b}[2J");
        let said = "AADSTS700016: Application with identifier 'app' was not found in \"Contoso\"\t\\";
        let shown = "AADSTS700016: Application with identifier 'app' was not found in \"Contoso\" \\\\";
        assert_eq!(quoted(said), shown);
        assert_eq!(quoted(&"ä".repeat(201)), format!("{}…", "ä".repeat(200)));
    }

    /// The rest of a secret that was cut off, or one that the form of the line had made again, was shown.
    #[test]
    fn a_secret_is_masked_before_the_line_is_made() {
        let mut secrets = SecretMasks::default();
        secrets.keep("a secret of two \"words\"");
        let said = format!("{}a secret\r\n of two \\\"words\\\"", "x".repeat(180));
        assert_eq!(quoted(&said, &secrets), format!("{}***", "x".repeat(180)));
        // Most of the secret, where the part that is looked at ends.
        let said = format!("x{}a secret of two \"words\"", " ".repeat(READ - 20));
        assert_eq!(quoted(&said, &secrets), "x ***");
    }
}
