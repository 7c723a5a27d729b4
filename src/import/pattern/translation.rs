//! Translates the text of a POSIX or Perl expression to the syntax of the regex crate.
//!
//! Promises: those of `pattern.rs`. Not here: flags, and the delimiters around the text.

use std::iter::Peekable;
use std::str::Chars;

/// Returns the text of an expression in the syntax of the regex crate, without its flags, or the reason why it has no
/// equivalent.
pub(super) fn translated(text: &str, is_pcre: bool) -> Result<String, String> {
    Translation { rest: text.chars().peekable(), is_pcre, out: String::new() }.finish()
}

/// The rest of the text that is to be translated, and the translation of what was read.
struct Translation<'t> {
    rest: Peekable<Chars<'t>>,
    is_pcre: bool,
    out: String,
}

impl Translation<'_> {
    fn finish(mut self) -> Result<String, String> {
        let mut after_quantifier = false;
        while let Some(c) = self.rest.next() {
            let quantifies = matches!(c, '*' | '+' | '?') || c == '}' && after_quantifier;
            match c {
                '\\' => self.escape()?,
                '[' => self.bracket()?,
                '(' => self.group()?,
                '{' => self.repetition(),
                '+' if after_quantifier && self.is_pcre => {
                    return Err("possessive quantifiers have no equivalent".into());
                }
                '+' | '?' | '*' if after_quantifier && !self.is_pcre => {
                    return Err(format!("`{c}` behind another quantifier means something else here"));
                }
                c => self.out.push(c),
            }
            after_quantifier = quantifies || c == '{';
        }
        Ok(self.out)
    }

    fn escape(&mut self) -> Result<(), String> {
        let c = self.rest.next().ok_or("the pattern ends in a backslash")?;
        let kept = if self.is_pcre { "wWsSbBdDAztnrfxpP" } else { "wWsSbB" };
        match c {
            '1'..='9' => return Err("back references have no equivalent".into()),
            'h' if self.is_pcre => self.out += "[ \\t]",
            c if c.is_ascii_alphanumeric() && !kept.contains(c) => {
                return Err(format!("`\\{c}` has no equivalent"));
            }
            '<' if !self.is_pcre => self.out += "\\b{start}",
            '>' if !self.is_pcre => self.out += "\\b{end}",
            '<' | '>' => self.out.push(c),
            c if c.is_ascii_punctuation() || c.is_ascii_alphanumeric() => self.out.extend(['\\', c]),
            c => self.out.push(c),
        }
        Ok(())
    }

    fn group(&mut self) -> Result<(), String> {
        self.out.push('(');
        let mut ahead = self.rest.clone();
        match (ahead.next(), ahead.next(), ahead.next()) {
            (Some('*'), ..) if self.is_pcre => Err("verbs such as (*UTF8) have no equivalent".into()),
            (Some('?'), Some('=' | '!'), _) | (Some('?'), Some('<'), Some('=' | '!')) => {
                Err("lookaround has no equivalent".into())
            }
            (Some('?'), Some(c), _) if !c.is_ascii_lowercase() && !":<P-".contains(c) => {
                Err(format!("groups such as (?{c}…) have no equivalent"))
            }
            (Some('?'), ..) if !self.is_pcre => Err("`(?` means something else here".into()),
            _ => Ok(()),
        }
    }

    /// Translates a `{`: `{2}` and `{1,3}` stay, `{,3}` becomes `{0,3}`; any other brace is an ordinary character.
    fn repetition(&mut self) {
        let mut ahead = self.rest.clone();
        match (ahead.next(), ahead.next()) {
            (Some('0'..='9'), _) => self.out.push('{'),
            (Some(','), Some('0'..='9')) if !self.is_pcre => self.out += "{0",
            _ => self.out += "\\{",
        }
    }

    /// Translates a bracket expression, whose `[` was already read.
    fn bracket(&mut self) -> Result<(), String> {
        self.out.push('[');
        self.out.extend(self.rest.next_if_eq(&'^'));
        let mut first = true;
        while let Some(c) = self.rest.next() {
            match (c, self.rest.peek()) {
                (']', _) if !first => {
                    self.out.push(']');
                    return Ok(());
                }
                ('[', Some(':')) => self.class()?,
                ('[', Some('.' | '=')) => return Err("collating elements have no equivalent".into()),
                ('\\', Some(_)) if self.is_pcre => self.escape()?,
                ('[' | ']' | '\\' | '&' | '~', _) => self.out.extend(['\\', c]),
                // A hyphen at the end or after another one is escaped: `--` is an operator of the regex crate there.
                ('-', Some(']' | '-')) => self.out += "\\-",
                (c, _) => self.out.push(c),
            }
            first = false;
        }
        Err("a bracket expression does not end".into())
    }

    /// Translates `[:alpha:]` in a bracket expression; its `[` was already read.
    fn class(&mut self) -> Result<(), String> {
        self.out.push('[');
        for c in self.rest.by_ref() {
            self.out.push(c);
            if c == ']' {
                return Ok(());
            }
        }
        Err("a bracket expression does not end".into())
    }
}
