//! Regular expressions, bounded.
//!
//! Promises: matching takes time in proportion to what is matched and to [`Pattern::kib`], whatever the
//! pattern is: there are no back-references, patterns are at most [`MAX_PATTERN_OCTETS`] long and
//! [`MAX_COMPILED_KIB`] large when compiled.
//! Upper and lower case are the same, as in Postfix's tables; `(?-i)` tells them apart. Octets are matched,
//! not characters: a field in Latin-1 is matched to its end.

use std::fmt;

use regex::bytes::{Captures, Regex, RegexBuilder};

/// The longest pattern.
pub const MAX_PATTERN_OCTETS: usize = 2000;

/// The compiled size that is still taken: enough for a list of fifty names, too little for
/// `[a-c][a-q]{900}`, which takes 10 µs an octet.
pub const MAX_COMPILED_KIB: u32 = 64;

/// That of a pattern for addresses, which are short and many octets of it (`template.rs`).
const MAX_ADDRESS_FORM_KIB: u32 = 256;

/// The memory of a matcher beside its pattern.
const MAX_CACHE_OCTETS: usize = 256 * 1024;

/// A regular expression.
#[derive(Clone)]
pub struct Pattern {
    regex: Regex,
    kib: u32,
}

/// Why a text is no [`Pattern`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadPattern(String);

impl Pattern {
    /// Compiles `text`.
    pub fn new(text: &str) -> Result<Self, BadPattern> {
        Pattern::compile(text, MAX_COMPILED_KIB)
    }

    /// Compiles the form of an address.
    pub(super) fn of_addresses(text: &str) -> Result<Self, BadPattern> {
        Pattern::compile(text, MAX_ADDRESS_FORM_KIB)
    }

    fn compile(text: &str, max_kib: u32) -> Result<Self, BadPattern> {
        if text.len() > MAX_PATTERN_OCTETS {
            return Err(BadPattern(format!("more than {MAX_PATTERN_OCTETS} octets")));
        }
        // Nothing tells the compiled size but whether it fits.
        let mut kib = 1;
        loop {
            match compiled(text, kib) {
                Ok(regex) => return Ok(Pattern { regex, kib }),
                Err(regex::Error::CompiledTooBig(_)) if kib < max_kib => kib *= 2,
                Err(error) => return Err(BadPattern(reason(&error, max_kib))),
            }
        }
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        self.regex.as_str()
    }

    /// How large it is when compiled: the power of two that it fits into.
    pub fn kib(&self) -> u32 {
        self.kib
    }

    /// How many groups it has, without the whole.
    pub fn groups(&self) -> usize {
        self.regex.captures_len() - 1
    }

    pub(super) fn matches(&self, octets: &[u8]) -> bool {
        self.regex.is_match(octets)
    }

    pub(super) fn captures<'o>(&self, octets: &'o [u8]) -> Option<Captures<'o>> {
        self.regex.captures(octets)
    }
}

fn compiled(text: &str, kib: u32) -> Result<Regex, regex::Error> {
    RegexBuilder::new(text)
        .unicode(false)
        .case_insensitive(true)
        .size_limit(kib as usize * 1024)
        .dfa_size_limit(MAX_CACHE_OCTETS)
        .build()
}

/// On one line: the last one, behind a picture of the pattern, is what says it.
fn reason(error: &regex::Error, max_kib: u32) -> String {
    match error {
        regex::Error::CompiledTooBig(_) => {
            format!("more than {max_kib} KiB when compiled: write smaller repetitions, or several rules")
        }
        error => {
            let text = error.to_string();
            let last = text.lines().next_back().unwrap_or_default();
            last.strip_prefix("error: ").unwrap_or(last).to_owned()
        }
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Pattern {}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.as_str())
    }
}

impl fmt::Display for BadPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadPattern {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_octets() {
        for (pattern, text, expected) in [
            ("^x-mailer:", &b"X-Mailer: y"[..], true),
            ("(?-i)^x-mailer:", b"X-Mailer: y", false),
            ("^Subject: .*end$", b"Subject: \xff\xe4 end", true),
            ("ü", "Gr\u{fc}n".as_bytes(), true),
            ("^Subject:[ \\t]*$", b"Subject: ", true),
            (r"\bcron\b", b"Subject: Cron <root>", true),
        ] {
            assert_eq!(Pattern::new(pattern).unwrap().matches(text), expected, "{pattern}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_said_on_one_line() {
        for (text, expected) in [
            ("(", "unclosed group"),
            ("a{2,1}", "invalid repetition count range"),
            (r"(a)\1", "backreferences are not supported"),
            ("(?:.{1,500}){1,500}", "more than 64 KiB when compiled"),
            // Three of these held up a daemon for twelve seconds.
            ("[a-c][a-q]{900}[a-c][a-q]{900}(x|y$|z0)", "more than 64 KiB when compiled"),
            (&"a".repeat(MAX_PATTERN_OCTETS + 1), "more than 2000 octets"),
        ] {
            let error = Pattern::new(text).unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains('\n'), "{error}");
        }
        assert!(Pattern::of_addresses(&"a".repeat(MAX_PATTERN_OCTETS)).is_ok());
    }
}
