//! A pause: nothing is sent, or no mail is taken, until it is lifted or its time is over.
//!
//! Pure.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::MOST_PAUSES;
use super::terms::OrderTerms;

/// The part of the daemon that an operator may pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PausedPart {
    /// Nothing is sent; mail is accepted and waits.
    Delivery,
    /// No mail is taken; what is in the queue is sent.
    Intake,
}

impl fmt::Display for PausedPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PausedPart::Delivery => "delivery",
            PausedPart::Intake => "intake",
        })
    }
}

/// The part that is paused, of delivery perhaps one route alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PauseScope {
    /// The part.
    pub part: PausedPart,
    /// The name of the route whose mail alone waits; `None` for all mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
}

impl PauseScope {
    /// Returns whether delivery to the relay of this route, or to that without one, is within it.
    pub fn halts(&self, route: Option<&str>) -> bool {
        self.part == PausedPart::Delivery && (self.route.is_none() || self.route.as_deref() == route)
    }

    /// Returns the command that lifts a pause of it.
    pub fn resume_command(&self) -> String {
        let route = self.route.as_ref().map_or(String::new(), |route| format!(" --route {route}"));
        format!("nullmta resume {}{route}", self.part)
    }
}

impl fmt::Display for PauseScope {
    /// Writes `delivery`, `intake`, or `delivery by route news`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.part.fmt(f)?;
        self.route.as_ref().map_or(Ok(()), |route| write!(f, " by route {route}"))
    }
}

/// The error for one more pause than there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyPauses;

impl fmt::Display for TooManyPauses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there are {MOST_PAUSES} pauses, which is the most: lift one (nullmta resume)")
    }
}

impl std::error::Error for TooManyPauses {}

/// A pause, which stands until it is lifted or its time is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Pause {
    /// What is paused.
    pub scope: PauseScope,
    /// Who ordered it, why, and for how long.
    pub terms: OrderTerms,
}

impl fmt::Display for Pause {
    /// Writes `delivery is paused by uid 0 (root): the relay moves`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is paused by {}", self.scope, self.terms)
    }
}
