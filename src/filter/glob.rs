//! A pattern: `*` stands for any text, also for none, `?` for one character, every other character for itself; behind `\`
//! each character stands for itself.
//!
//! Promises: a comparison takes time in proportion to the length of the pattern times that of the text, whatever they are.
//! A pattern has [`MOST_OCTETS`] at most.

use std::fmt;
use std::str::{CharIndices, FromStr};

use serde::{Deserialize, Serialize};

/// The most octets of a pattern: the longest address and every reason that is shown fit.
const MOST_OCTETS: usize = 1000;

/// A pattern for an address, a name or a sentence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Glob {
    text: String,
    parts: Vec<GlobPart>,
}

/// A part of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GlobPart {
    /// `*`
    Anything,
    /// `?`
    One,
    Same(char),
}

/// The error for a text that is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadGlob {
    /// It has too many octets.
    TooLong,
    /// Nothing stands behind its last `\`.
    Unfinished,
}

impl fmt::Display for BadGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadGlob::TooLong => write!(f, "a pattern has {MOST_OCTETS} octets at most"),
            BadGlob::Unfinished => {
                f.write_str("a pattern does not end in \\: write \\\\ for the character \\")
            }
        }
    }
}

impl std::error::Error for BadGlob {}

impl FromStr for Glob {
    type Err = BadGlob;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > MOST_OCTETS {
            return Err(BadGlob::TooLong);
        }
        let (mut parts, mut signs) = (Vec::new(), text.chars());
        while let Some(sign) = signs.next() {
            parts.push(match sign {
                '*' => GlobPart::Anything,
                '?' => GlobPart::One,
                '\\' => GlobPart::Same(signs.next().ok_or(BadGlob::Unfinished)?),
                other => GlobPart::Same(other),
            });
        }
        Ok(Glob { text: text.to_owned(), parts })
    }
}

impl TryFrom<String> for Glob {
    type Error = BadGlob;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Glob> for String {
    fn from(glob: Glob) -> String {
        glob.text
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Glob {
    /// Returns whether the whole text is as the pattern says.
    pub fn matches_exactly(&self, text: &str) -> bool {
        self.matches(text, |_, wanted, sign| wanted == sign)
    }

    /// Returns whether the address is as the pattern says; in its domain upper and lower case are the same.
    pub fn matches_address(&self, address: &str) -> bool {
        let domain = address.rfind('@').unwrap_or(address.len());
        self.matches(address, |place, wanted, sign| {
            wanted == sign || place > domain && are_one_letter(wanted, sign)
        })
    }

    /// Returns whether the sentence is as the pattern says; upper and lower case are the same.
    pub fn matches_words(&self, sentence: &str) -> bool {
        self.matches(sentence, |_, wanted, sign| are_one_letter(wanted, sign))
    }

    /// Compares from left to right. Where a part does not fit, the last `*` before it takes one character more: no earlier
    /// `*` needs to, since what came behind it has fitted already.
    fn matches(&self, text: &str, same: impl Fn(usize, char, char) -> bool) -> bool {
        let (mut at, mut rest) = (0, text.char_indices());
        let mut last: Option<(usize, CharIndices<'_>)> = None;
        loop {
            if self.parts.get(at) == Some(&GlobPart::Anything) {
                at += 1;
                last = Some((at, rest.clone()));
                continue;
            }
            let mut behind = rest.clone();
            let fits = match (self.parts.get(at), behind.next()) {
                (part, None) => return part.is_none(),
                (Some(GlobPart::Same(wanted)), Some((place, sign))) => same(place, *wanted, sign),
                (part, Some(_)) => part.is_some(),
            };
            if fits {
                (at, rest) = (at + 1, behind);
            } else {
                let Some((after, taken)) = &mut last else { return false };
                taken.next();
                (at, rest) = (*after, taken.clone());
            }
        }
    }
}

/// Returns whether both are the same letter, in upper or lower case.
fn are_one_letter(one: char, other: char) -> bool {
    one == other || one.to_lowercase().eq(other.to_lowercase())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn glob(text: &str) -> Glob {
        text.parse().unwrap()
    }

    #[test]
    fn a_pattern_stands_for_these_texts_and_not_for_those() {
        let cases = [
            ("", &[""][..], &["a"][..]),
            ("*", &["", "a", "ab"], &[]),
            ("?", &["a", "ü", "*"], &["", "ab"]),
            ("ann@x", &["ann@x", "ann@X"], &["Ann@x", "ann@xx", "bann@x"]),
            ("noreply@*", &["noreply@", "noreply@a.example"], &["noreply", "xnoreply@a"]),
            ("*@EXAMPLE.org", &["a@example.ORG", "@example.org"], &["a@example.org.", "EXAMPLE.org"]),
            ("*ab*ab", &["abab", "xabxxab", "ababab"], &["ab", "aba", "ababa"]),
            ("a?c*", &["abc", "aacd"], &["ac", "abd"]),
            (r"a\*b", &["a*b"], &["ab", "aab", r"a\*b"]),
            (r#""a\\"b"@x"#, &[r#""a\"b"@x"#], &[r#""a"b"@x"#]),
            ("<>", &["<>"], &[""]),
        ];
        for (pattern, these, those) in cases {
            for text in these {
                assert!(glob(pattern).matches_address(text), "{pattern} {text}");
            }
            for text in those {
                assert!(!glob(pattern).matches_address(text), "{pattern} {text}");
            }
        }
    }

    #[test]
    fn case_counts_in_names_and_in_no_sentence() {
        assert!(glob("*QUOTA*ü*").matches_words("452 4.3.1 Over quota, später Ü"));
        assert!(!glob("News").matches_exactly("news") && glob("n?ws").matches_exactly("news"));
        assert!(!glob("*A@x").matches_address("a@x"), "the local part is another one");
    }

    #[test]
    fn what_is_no_pattern_is_said() {
        assert_eq!("a\\".parse::<Glob>(), Err(BadGlob::Unfinished));
        assert_eq!("a".repeat(1001).parse::<Glob>(), Err(BadGlob::TooLong));
        assert!(serde_json::from_str::<Glob>(r#""x\\""#).is_err());
        assert_eq!(serde_json::to_string(&glob("a*")).unwrap(), r#""a*""#);
    }

    /// A comparison that tries every division of the text among the `*` would not end.
    #[test]
    fn a_hostile_pattern_ends() {
        let pattern = "*a".repeat(499) + "b";
        assert!(!glob(&pattern).matches_words(&"a".repeat(1000)));
    }

    /// The same by a table of all prefixes, with nothing to go back to.
    fn reference(pattern: &[char], text: &[char]) -> bool {
        let mut row: Vec<bool> = (0..=text.len()).map(|end| end == 0).collect();
        for part in pattern {
            let mut next = vec![false; text.len() + 1];
            next[0] = *part == '*' && row[0];
            for end in 1..=text.len() {
                next[end] = match part {
                    '*' => row[end] || next[end - 1],
                    '?' => row[end - 1],
                    sign => row[end - 1] && *sign == text[end - 1],
                };
            }
            row = next;
        }
        row[text.len()]
    }

    proptest! {
        #[test]
        fn it_finds_what_a_table_finds(pattern in "[abü*?]{0,12}", text in "[abü]{0,16}") {
            let signs = |text: &str| text.chars().collect::<Vec<char>>();
            let expected = reference(&signs(&pattern), &signs(&text));
            prop_assert_eq!(glob(&pattern).matches_exactly(&text), expected);
        }

        #[test]
        fn what_is_escaped_is_itself(text in "[a*?\\\\@ü]{0,16}") {
            let escaped: String = text.chars().flat_map(|sign| ['\\', sign]).collect();
            prop_assert!(glob(&escaped).matches_exactly(&text));
            prop_assert!(!glob(&escaped).matches_exactly(&(text + "a")));
        }
    }
}
