//! The terms of a standing order: who gave it, why, and for how long.
//!
//! Pure: time is an argument.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The most octets of a reason: it stands in log lines and in replies to clients.
const MOST_OCTETS: usize = 200;

/// Who gave a standing order, why, and for how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct OrderTerms {
    /// The user who gave it, such as `uid 0 (root)`.
    pub by: String,
    /// The moment at which it was given.
    #[serde(with = "as_text")]
    pub since: Timestamp,
    /// The moment at which it ends by itself; `None` if it does not.
    #[serde(with = "as_optional_text", default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The reason, in the words of that user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl OrderTerms {
    /// Returns whether the time of the order is not over.
    pub fn is_in_force(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    /// Returns whether the time of the order is over before that of the other one.
    pub(super) fn ends_before(&self, other: &OrderTerms) -> bool {
        self.until.is_some_and(|until| other.is_in_force(until))
    }
}

impl fmt::Display for OrderTerms {
    /// Writes who gave the order and why: `uid 0 (root): a runaway job`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.by)?;
        self.reason.as_ref().map_or(Ok(()), |reason| write!(f, ": {reason}"))
    }
}

/// The error for a text that is no reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadReason {
    /// It has too many octets.
    TooLong,
    /// It has a line break, or another character that cannot be seen.
    Invisible,
}

impl fmt::Display for BadReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadReason::TooLong => write!(f, "a reason has {MOST_OCTETS} octets at most"),
            BadReason::Invisible => f.write_str("a reason is one line of characters that can be seen"),
        }
    }
}

impl std::error::Error for BadReason {}

/// Returns the reason that an operator gives, without the space around it; `None` if it is empty.
pub fn checked_reason(text: &str) -> Result<Option<String>, BadReason> {
    let text = text.trim();
    if text.len() > MOST_OCTETS {
        return Err(BadReason::TooLong);
    }
    if text.chars().any(char::is_control) {
        return Err(BadReason::Invisible);
    }
    Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
}

/// A moment as RFC 3339 has it.
mod as_text {
    use jiff::Timestamp;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(moment: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(moment)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// A moment as RFC 3339 has it, or none.
mod as_optional_text {
    use jiff::Timestamp;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(moment: &Option<Timestamp>, to: S) -> Result<S::Ok, S::Error> {
        match moment {
            Some(moment) => to.collect_str(moment),
            None => to.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
        let text: Option<String> = Option::deserialize(from)?;
        text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
    }
}
