//! A hold rule: the new mail that is accepted and put on hold.
//!
//! Pure.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::terms::OrderTerms;
use super::{MOST_PATTERNS, MOST_RULES};
use crate::filter::Glob;

/// A rule by which new mail is accepted and put on hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct HoldRule {
    /// The number by which it is lifted.
    pub number: u32,
    /// The mail that it holds.
    pub conditions: HoldConditions,
    /// Who gave it, why, and for how long.
    pub terms: OrderTerms,
}

impl fmt::Display for HoldRule {
    /// Writes what is said of each message that it holds: `hold rule 3 of uid 0 (root): a runaway job`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hold rule {} of {}", self.number, self.terms)
    }
}

/// The mail that a hold rule is about. All conditions that are given hold together; of several values of one any will do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct HoldConditions {
    /// Patterns for the reverse-path, as it was handed in or as the relay gets it; `<>` is the null one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<Glob>,
    /// Patterns for the address of a recipient, as the relay gets it. A message with one such recipient is held as a whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<Glob>,
    /// The users who submit it, whichever way it comes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uid: Vec<u32>,
    /// True if bounces and other reports that nullmta makes itself are meant, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reports: bool,
}

/// A message that is about to be accepted, as far as hold rules look at it.
#[derive(Clone, Copy, Debug)]
pub struct NewMessage<'a> {
    /// The user who submits it, if that is known.
    pub uid: Option<u32>,
    /// True if nullmta has made it itself.
    pub is_report: bool,
    /// The reverse-path; empty for the null one.
    pub from: &'a str,
    /// The reverse-path as it was handed in, where rewriting has changed it.
    pub original_from: Option<&'a str>,
    /// The addresses of the recipients.
    pub to: &'a [String],
}

impl HoldConditions {
    /// Returns whether they are about this message. Upper and lower case are the same, in the local part of an address as well:
    /// hardly any host tells them apart, and mail that was to wait must not go out by a capital letter.
    pub fn fit(&self, message: &NewMessage<'_>) -> bool {
        let from = [Some(if message.from.is_empty() { "<>" } else { message.from }), message.original_from];
        let is_from = |glob: &Glob| from.iter().flatten().any(|from| glob.matches_words(from));
        let HoldConditions { from: senders, to, uid, reports } = self;
        (*reports || !message.is_report)
            && (uid.is_empty() || message.uid.is_some_and(|user| uid.contains(&user)))
            && (senders.is_empty() || senders.iter().any(is_from))
            && (to.is_empty() || message.to.iter().any(|one| to.iter().any(|glob| glob.matches_words(one))))
    }

    /// Returns the error if no rule may have these.
    pub fn check(&self) -> Result<(), BadHoldRule> {
        match self.from.len() + self.to.len() + self.uid.len() {
            0 => Err(BadHoldRule::NoCondition),
            count if count > MOST_PATTERNS => Err(BadHoldRule::TooManyPatterns),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for HoldConditions {
    /// Writes the conditions as sentence parts: `from noreply@*, to *@example.org or b@example.com, of uid 33`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listed = |word: &str, values: Vec<String>| {
            (!values.is_empty()).then(|| format!("{word} {}", values.join(" or ")))
        };
        let patterns = |globs: &[Glob]| globs.iter().map(ToString::to_string).collect();
        let parts = [
            listed("from", patterns(&self.from)),
            listed("to", patterns(&self.to)),
            listed("of uid", self.uid.iter().map(ToString::to_string).collect()),
            self.reports.then(|| "reports of nullmta's own among it".to_owned()),
        ];
        f.write_str(&parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

/// The reason for which a hold rule is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadHoldRule {
    /// It is about no mail in particular.
    NoCondition,
    /// It has too many conditions.
    TooManyPatterns,
    /// There are too many rules already.
    TooManyRules,
}

impl fmt::Display for BadHoldRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadHoldRule::NoCondition => f.write_str(
                "say which new mail is to be held: --from, --to or --uid; --from '*' is all mail, and nullmta pause \
                 delivery has nothing sent at all",
            ),
            BadHoldRule::TooManyPatterns => write!(f, "a hold rule has {MOST_PATTERNS} conditions at most"),
            BadHoldRule::TooManyRules => {
                write!(f, "there are {MOST_RULES} hold rules, which is the most: lift one (nullmta queue release --new NUMBER)")
            }
        }
    }
}

impl std::error::Error for BadHoldRule {}
