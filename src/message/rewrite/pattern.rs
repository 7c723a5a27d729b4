//! Regular expressions with limits.
//!
//! Promises: the time for matching is in proportion to the octets and to [`Pattern::kib`], whatever the pattern.
//! There are no back-references. A pattern has at most [`MAX_PATTERN_OCTETS`], and at most [`MAX_COMPILED_KIB`] when
//! compiled. Case does not matter, as in the tables of Postfix, unless the pattern has `(?-i)`. Octets are matched
//! and not characters, so that a field in Latin-1 is matched to its end.

use std::fmt;

use regex::bytes::{Captures, Regex, RegexBuilder};

/// The longest pattern, in octets.
pub const MAX_PATTERN_OCTETS: usize = 2000;

/// The largest compiled size of a pattern, in KiB: enough for a list of fifty names, and too little for
/// `[a-c][a-q]{900}`, which takes 10 µs for each octet.
pub const MAX_COMPILED_KIB: u32 = 64;

/// The largest compiled size of a pattern for addresses, which are short (`template.rs`), in KiB.
const MAX_ADDRESS_FORM_KIB: u32 = 256;

/// The memory that a matcher may use besides its pattern, in octets.
const MAX_CACHE_OCTETS: usize = 256 * 1024;

/// A regular expression.
#[derive(Clone)]
pub struct Pattern {
    regex: Regex,
    kib: u32,
}

/// The reason why a text is not a [`Pattern`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadPattern(String);

impl Pattern {
    /// Compiles `text`.
    pub fn new(text: &str) -> Result<Self, BadPattern> {
        Pattern::compile(text, MAX_COMPILED_KIB)
    }

    /// Compiles a pattern for addresses.
    pub(super) fn of_addresses(text: &str) -> Result<Self, BadPattern> {
        Pattern::compile(text, MAX_ADDRESS_FORM_KIB)
    }

    fn compile(text: &str, max_kib: u32) -> Result<Self, BadPattern> {
        if text.len() > MAX_PATTERN_OCTETS {
            return Err(BadPattern(format!("more than {MAX_PATTERN_OCTETS} octets")));
        }
        // The library does not tell the compiled size, only whether it is within a limit.
        let mut kib = 1;
        loop {
            match compiled(text, kib) {
                Ok(regex) => return Ok(Pattern { regex, kib }),
                Err(regex::Error::CompiledTooBig(_)) if kib < max_kib => kib *= 2,
                Err(error) => return Err(BadPattern(reason(&error, max_kib))),
            }
        }
    }

    /// Returns the text of the pattern.
    pub fn as_str(&self) -> &str {
        self.regex.as_str()
    }

    /// Returns its compiled size in KiB, rounded up to a power of two.
    pub fn kib(&self) -> u32 {
        self.kib
    }

    /// Returns the number of its groups, without the whole match.
    pub fn groups(&self) -> usize {
        self.regex.captures_len() - 1
    }

    /// Returns whether it matches somewhere in `octets`.
    pub fn matches(&self, octets: &[u8]) -> bool {
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

/// Returns the reason on one line: the last line of the message, which follows a picture of the pattern.
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
            // Three of these blocked a daemon for twelve seconds.
            ("[a-c][a-q]{900}[a-c][a-q]{900}(x|y$|z0)", "more than 64 KiB when compiled"),
            (&"a".repeat(MAX_PATTERN_OCTETS + 1), "more than 2000 octets"),
        ] {
            let error = Pattern::new(text).unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains('\n'), "{error}");
        }
        assert!(Pattern::of_addresses(&"a".repeat(MAX_PATTERN_OCTETS)).is_ok());
    }
}
