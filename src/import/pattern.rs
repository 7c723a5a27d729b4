//! Pattern tables, `regexp:` and `pcre:`, and their expressions in the syntax of the regex crate.
//!
//! Promises: a translated expression has the meaning of the original (regexp_table(5), pcre_table(5)); for something
//! without an equivalent, such as back references, lookaround and basic regular expressions, the reason is returned.
//! Not here: the translation itself (`pattern/translation.rs`); whether the translated expression is valid; the parser of the configuration decides that.

mod translation;

use regex::RegexBuilder;

use super::lines::{first_word, logical_lines};
use super::location::{ImportError, SourceLocation};

/// One line of a pattern table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PostfixPattern {
    pub(super) location: SourceLocation,
    pub(super) expression: Expression,
    /// The patterns of each `if` block that encloses the line.
    pub(super) conditions: Vec<Expression>,
    pub(super) result: String,
}

/// The regular expression between the delimiters of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expression {
    text: String,
    flags: String,
    negated: bool,
    is_pcre: bool,
}

/// The addresses that a pattern matches.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MatchedAddresses {
    /// Each is `user@domain`, `@domain`, or `@.domain` for all domains below one.
    pub(super) keys: Vec<String>,
    /// True if it also matches longer addresses that begin so.
    pub(super) is_open: bool,
}

/// The meaning of a pattern that keeps the user and replaces the domain.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DomainMove {
    /// The domain that is replaced, as `@domain`.
    pub(super) old: String,
    /// The domain that replaces it, as `@domain`.
    pub(super) new: String,
    /// True if it also matches longer domains that begin with `old`.
    pub(super) is_open: bool,
}

/// Returns the patterns in `text`, the content of `file`, a table of type `kind`.
pub(super) fn read_patterns(file: &str, text: &str, kind: &str) -> Result<Vec<PostfixPattern>, ImportError> {
    let mut patterns = Vec::new();
    let mut conditions = Vec::new();
    for line in logical_lines(file, text)? {
        match first_word(&line.text) {
            ("if", rest) => {
                let condition = split_expression(rest, kind);
                conditions.push(condition.ok_or_else(|| line.location.error("expected `if /pattern/`"))?.0);
            }
            ("endif", _) => {
                conditions.pop().ok_or_else(|| line.location.error("`endif` without its `if`"))?;
            }
            _ => {
                let (expression, result) = split_expression(&line.text, kind)
                    .ok_or_else(|| line.location.error("expected `/pattern/flags result`"))?;
                let result = result.to_owned();
                let conditions = conditions.clone();
                patterns.push(PostfixPattern { location: line.location, expression, conditions, result });
            }
        }
    }
    Ok(patterns)
}

fn split_expression<'t>(text: &'t str, kind: &str) -> Option<(Expression, &'t str)> {
    let (negated, text) = text.strip_prefix('!').map_or((false, text), |rest| (true, rest.trim_start()));
    let delimiter = text.chars().next().filter(|c| !c.is_alphanumeric() && !c.is_whitespace())?;
    let inside = &text[delimiter.len_utf8()..];
    let mut escaped = false;
    let end = inside.find(|c| {
        let ends = c == delimiter && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    })?;
    let (flags, result) = first_word(&inside[end + delimiter.len_utf8()..]);
    let known = flags.chars().all(|c| c.is_ascii_alphabetic());
    let expression =
        Expression { text: inside[..end].into(), flags: flags.into(), negated, is_pcre: kind == "pcre" };
    known.then_some((expression, result))
}

impl PostfixPattern {
    /// Returns whether it may match `address`; true if this is not certain.
    pub(super) fn may_match_address(&self, address: &str) -> bool {
        let regex = self.expression.translated().ok().filter(|_| self.conditions.is_empty());
        let regex = regex.and_then(|text| RegexBuilder::new(&text).case_insensitive(true).build().ok());
        regex.is_none_or(|regex| regex.is_match(address))
    }

    /// Returns whether a header field may match both, as far as the beginnings of the two patterns tell.
    pub(super) fn may_match_with(&self, other: &PostfixPattern) -> bool {
        match (self.field_name(), other.field_name()) {
            (Some(own), Some(others)) => own == others,
            _ => true,
        }
    }

    /// Returns the name, in lower case, of the only field that it matches; `None` if it may match several.
    fn field_name(&self) -> Option<String> {
        [&self.expression].into_iter().chain(&self.conditions).find_map(Expression::field_name)
    }
}

impl Expression {
    /// Returns the name, in lower case, of the only field that it matches; `None` if it does not begin with a name and a
    /// colon.
    fn field_name(&self) -> Option<String> {
        let (name, behind) = self.text.strip_prefix('^')?.split_once(':')?;
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
        // With these flags `^` and letters may have another meaning.
        let is_plain = !self.negated && !self.flags.contains(['m', 'x']);
        (is_name && is_plain && !behind.starts_with(['?', '*', '{']) && !has_alternative(behind))
            .then(|| name.to_lowercase())
    }

    /// Returns the expression as it is written, between slashes.
    pub(super) fn written(&self) -> String {
        format!("{}/{}/{}", if self.negated { "!" } else { "" }, self.text, self.flags)
    }

    /// Returns whether it matches every address.
    pub(super) fn matches_all(&self) -> bool {
        let text = self.text.trim_start_matches('^').trim_end_matches('$');
        let inside = text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).unwrap_or(text);
        !self.negated && ["", ".", ".*", ".+", "@", ".*@.*", ".+@.+"].contains(&inside)
    }

    /// Returns the key of an address table with the same meaning: `user@domain`, `user` or `@domain`.
    pub(super) fn as_key(&self) -> Option<String> {
        let text = self.text.as_str();
        let (begins, text) = text.strip_prefix('^').map_or((false, text), |rest| (true, rest));
        let (ends, text) = text.strip_suffix('$').map_or((false, text), |rest| (true, rest));
        let open = ["@.*", "@.+", "@"].iter().find_map(|tail| text.strip_suffix(tail));
        let (key, whole) = match open.filter(|_| begins && !text.starts_with('@')) {
            Some(user) => (literal(user)?, true),
            None => (literal(text)?, ends && (begins || text.starts_with('@'))),
        };
        (whole && !self.negated && !key.is_empty()).then_some(key)
    }

    /// Returns the addresses that it matches; `None` if it is no address, domain or domain with those below it.
    pub(super) fn as_addresses(&self) -> Option<MatchedAddresses> {
        const ANYBODY: [&str; 6] = [".*", ".+", "(.*)", "(.+)", "[^@]+", "([^@]+)"];
        // What stands between the user and the domain, and whether the domain itself is meant, and those below it.
        const BETWEEN: [(&str, bool, bool); 10] = [
            (r"@(.*\.)?", true, true),
            (r"@(.+\.)?", true, true),
            (r"@([^@]+\.)?", true, true),
            ("[@.]", true, true),
            (r"(@|\.)", true, true),
            (r"@.*\.", false, true),
            (r"@.+\.", false, true),
            (r"@(.+)\.", false, true),
            (r"\.", false, true),
            ("@", true, false),
        ];
        let text = self.text.as_str();
        let (begins, text) = text.strip_prefix('^').map_or((false, text), |rest| (true, rest));
        let (text, is_open) = text.strip_suffix('$').map_or((text, true), |text| (text, false));
        let named = ANYBODY.iter().find_map(|user| text.strip_prefix(user));
        let is_for_anybody = named.is_some() || !begins;
        let text = named.unwrap_or(text);
        let domain = |(between, itself, below): &(&str, bool, bool)| {
            let domain = meant(text.strip_prefix(between)?).filter(|domain| !domain.contains('@'))?;
            let keys = [itself.then(|| format!("@{domain}")), below.then(|| format!("@.{domain}"))];
            Some(keys.into_iter().flatten().collect())
        };
        let address =
            || meant(text).filter(|text| text.find('@').is_some_and(|at| at > 0)).map(|one| vec![one]);
        let keys = if is_for_anybody { BETWEEN.iter().find_map(domain) } else { address() };
        keys.filter(|_| !self.negated).map(|keys| MatchedAddresses { keys, is_open })
    }

    /// Returns the old and the new `@domain`, if `result` keeps the user and replaces the domain, as in
    /// `/^(.*)@old$/ $1@new`. Without the `$`, every domain that begins with the old one matches, too.
    pub(super) fn as_domain_move(&self, result: &str) -> Option<DomainMove> {
        let text = self.text.strip_prefix('^').unwrap_or(&self.text);
        let users = ["(.*)@", "(.+)@", "([^@]+)@", "([^@]*)@"];
        let old = users.iter().find_map(|user| text.strip_prefix(user))?;
        let (old, is_open) = old.strip_suffix('$').map_or((old, true), |old| (old, false));
        let new = ["$1@", "${1}@", "$(1)@"].iter().find_map(|user| result.strip_prefix(user))?;
        let old = meant(old).filter(|_| !self.negated)?;
        (!new.is_empty() && !new.contains('$')).then(|| DomainMove {
            old: format!("@{old}"),
            new: format!("@{new}"),
            is_open,
        })
    }

    /// Returns this expression in the syntax of the regex crate, or the reason why it has no equivalent.
    pub(super) fn translated(&self) -> Result<String, String> {
        if self.negated {
            return Err("rules for what does not match (`!`) have no equivalent".into());
        }
        let toggled = |flag| self.flags.matches(flag).count() % 2 == 1;
        if !self.is_pcre && toggled('x') {
            return Err("basic regular expressions are not translated".into());
        }
        if toggled('A') {
            return Err("the flag A has no equivalent".into());
        }
        let mut flags = String::new();
        flags.extend((self.is_pcre && toggled('x')).then_some('x'));
        flags.extend((self.is_pcre && toggled('U')).then_some('U'));
        // As in Postfix, case is ignored unless a flag says otherwise.
        flags += if toggled('i') { "-i" } else { "" };
        let body = translation::translated(&self.text, self.is_pcre)?;
        Ok(if flags.is_empty() { body } else { format!("(?{flags}){body}") })
    }
}

/// Returns whether `expression` may have a `|` outside its groups.
fn has_alternative(expression: &str) -> bool {
    let mut depth = 0_i32;
    let mut escaped = false;
    expression.contains('|')
        && (expression.contains('[')
            || expression.chars().any(|c| {
                let is_escaped = escaped;
                escaped = c == '\\' && !is_escaped;
                match c {
                    '(' if !is_escaped => depth += 1,
                    ')' if !is_escaped => depth -= 1,
                    _ => {}
                }
                c == '|' && !is_escaped && depth <= 0
            }))
}

/// Returns the address or domain that the expression `text` means, in lower case. Few escape the dots; all mean them.
fn meant(text: &str) -> Option<String> {
    let is_plain = text.chars().all(|c| c.is_ascii_alphanumeric() || ".-_@".contains(c));
    let meant = if is_plain { Some(text.to_owned()) } else { literal(text) };
    meant.filter(|text| !text.is_empty()).map(|text| text.to_lowercase())
}

/// Returns the one text that the expression `text` matches; `None` if it may match several.
fn literal(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.push(chars.next().filter(|c| !c.is_alphanumeric())?),
            '.' | '[' | '(' | ')' | '|' | '*' | '+' | '?' | '{' | '^' | '$' => return None,
            c => out.push(c),
        }
    }
    Some(out)
}

/// Rewrites `$1`, `${1}` and `$(1)` in a result to the form of the regex crate.
pub(super) fn translated_result(result: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = result;
    while let Some(at) = rest.find('$') {
        out += &rest[..at];
        rest = &rest[at + 1..];
        if let Some(behind) = rest.strip_prefix('$') {
            out += "$$";
            rest = behind;
            continue;
        }
        let bracketed = rest.starts_with(['{', '(']);
        let inside = if bracketed { &rest[1..] } else { rest };
        let digits = inside.find(|c: char| !c.is_ascii_digit()).unwrap_or(inside.len());
        if digits == 0 {
            return Err("`$` without the number of a group".into());
        }
        out += &format!("${{{}}}", &inside[..digits]);
        rest = &inside[digits..];
        if bracketed {
            rest = rest.strip_prefix(['}', ')']).ok_or("`${` without its `}`")?;
        }
    }
    Ok(out + rest)
}

#[cfg(test)]
mod tests;
