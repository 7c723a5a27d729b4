//! What requests and answers say of standing orders.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::filter::Glob;
use crate::standing_orders::{HoldConditions, HoldRule, OrderTerms, Pause, PauseScope, PausedPart};

/// A hold rule that a client wants to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct NewHoldRule {
    /// The mail that it holds.
    pub conditions: HoldConditions,
    /// The number of seconds after which it ends by itself; `None` if it does not.
    #[serde(rename = "for", default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
    /// The reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// True if it is not to be made, and the answer says what would be.
    #[serde(default)]
    pub dry_run: bool,
}

/// A hold rule, as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ListedHoldRule {
    /// The number by which it is lifted; absent in the answer to a dry run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u32>,
    /// Patterns for the reverse-path; empty for any.
    pub from: Vec<Glob>,
    /// Patterns for the address of a recipient; empty for any.
    pub to: Vec<Glob>,
    /// The users who submit it; empty for any.
    pub uid: Vec<u32>,
    /// True if it holds bounces and other reports that nullmta makes itself, too.
    pub reports: bool,
    /// The user who made it.
    pub by: String,
    /// The time at which it was made (RFC 3339).
    pub since: String,
    /// The time at which it ends by itself (RFC 3339).
    pub until: Option<String>,
    /// The reason, in the words of that user.
    pub reason: Option<String>,
    /// The number of messages that it has held since the start of the daemon.
    pub messages: u64,
}

impl ListedHoldRule {
    /// Returns a rule that has held so many messages.
    pub(in crate::admin) fn of(rule: &HoldRule, messages: u64) -> Self {
        ListedHoldRule {
            number: Some(rule.number),
            messages,
            ..ListedHoldRule::to_be(&rule.conditions, &rule.terms)
        }
    }

    /// Returns a rule as it would be made.
    pub(in crate::admin) fn to_be(conditions: &HoldConditions, terms: &OrderTerms) -> Self {
        let HoldConditions { from, to, uid, reports } = conditions.clone();
        let OrderTerms { by, since, until, reason } = terms.clone();
        let shown = |time: Timestamp| format!("{time:.0}");
        let (since, until) = (shown(since), until.map(shown));
        ListedHoldRule { number: None, from, to, uid, reports, by, since, until, reason, messages: 0 }
    }

    /// Returns the mail that it holds.
    pub fn conditions(&self) -> HoldConditions {
        let ListedHoldRule { from, to, uid, reports, .. } = self.clone();
        HoldConditions { from, to, uid, reports }
    }
}

/// What came of lifting one hold rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LiftedRule {
    /// The number, as it was given.
    pub number: u32,
    /// The result.
    pub result: LiftResult,
    /// The rule, if there was one.
    pub rule: Option<ListedHoldRule>,
}

/// The result of lifting a hold rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LiftResult {
    /// It is lifted; with `dry-run`, it would be.
    Lifted,
    /// There is no such rule.
    NotFound,
}

/// A pause that a client orders.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct NewPause {
    /// What is to be paused.
    pub scope: PauseScope,
    /// The number of seconds after which it ends by itself; `None` if it does not.
    #[serde(rename = "for", default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
    /// The reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A pause, as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ListedPause {
    /// What is paused: `delivery` or `intake`.
    pub part: PausedPart,
    /// The name of the route whose mail alone waits; `None` for all mail.
    pub route: Option<String>,
    /// The user who ordered it.
    pub by: String,
    /// The time at which it was ordered (RFC 3339).
    pub since: String,
    /// The time at which it ends by itself (RFC 3339).
    pub until: Option<String>,
    /// The reason, in the words of that user.
    pub reason: Option<String>,
}

impl ListedPause {
    /// Returns what anybody on this host may know of it: not who ordered it, and why.
    pub(super) fn for_anybody(self) -> Self {
        ListedPause { by: "an operator".into(), reason: None, ..self }
    }
}

impl From<&Pause> for ListedPause {
    fn from(pause: &Pause) -> Self {
        let Pause { scope: PauseScope { part, route }, terms } = pause.clone();
        let OrderTerms { by, since, until, reason } = terms;
        let (since, until) = (format!("{since:.0}"), until.map(|until| format!("{until:.0}")));
        ListedPause { part, route, by, since, until, reason }
    }
}
