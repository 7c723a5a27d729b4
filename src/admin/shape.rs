//! The words for the shape of the queue: how many messages of which age there are of each reason, domain, submitter, sender or route.
//!
//! Not here: counting (`shape_tally.rs`), how it is shown (`cli/queue/shape.rs`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The ages, in minutes, at which the columns end; behind the last one there is one more for all that is older.
pub const AGES: [u64; 9] = [5, 10, 20, 40, 80, 160, 320, 640, 1280];
/// The number of columns.
pub const COLUMNS: usize = AGES.len() + 1;

/// What the rows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShapeBy {
    /// Why the message is still here.
    Reason,
    /// The domain of a recipient.
    Domain,
    /// The user who submitted it, or the reverse-path where that is not known.
    Submitter,
    /// The reverse-path, as it was handed in.
    Sender,
    /// The route of a recipient.
    Route,
}

/// The error for a word that is none of them.
#[derive(Clone, Copy, Debug)]
pub struct BadShapeBy;

impl fmt::Display for BadShapeBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the rows are of reason, domain, submitter, sender or route")
    }
}

impl std::error::Error for BadShapeBy {}

impl FromStr for ShapeBy {
    type Err = BadShapeBy;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "reason" => Ok(ShapeBy::Reason),
            "domain" => Ok(ShapeBy::Domain),
            "submitter" => Ok(ShapeBy::Submitter),
            "sender" => Ok(ShapeBy::Sender),
            "route" => Ok(ShapeBy::Route),
            _ => Err(BadShapeBy),
        }
    }
}

/// What a row counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShapeRowKind {
    /// All messages.
    Total,
    /// The messages with this key.
    Key,
    /// What belongs to the rows that are not shown.
    Others,
}

/// A row of the shape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ShapeRow {
    /// What it counts.
    pub kind: ShapeRowKind,
    /// The reason, domain, submitter or route; empty for the other kinds.
    pub key: String,
    /// The number of messages.
    pub messages: u64,
    /// The number of messages of each age: of less than 5 minutes, of less than 10 and so on, and of 1280 and more.
    pub ages: [u64; COLUMNS],
}
