//! Standing orders: what operators have ordered about mail that is still to come, until they lift it or its time is over.
//!
//! Promises
//! 1. An order whose time is over has no effect, whether or not it was taken out ([`StandingOrders::take_ended`]).
//! 2. Each hold rule has a number that no other one ever had, on this spool. Of several rules that a message fits, the
//!    oldest one holds it.
//! 3. There are [`MOST_RULES`] hold rules at most, of [`MOST_PATTERNS`] conditions each, so that no message waits for them.
//! 4. Orders of a newer version that say more than is known here are not read: they could mean more mail.
//!
//! Pure: time is an argument. Not here: where they are kept (`spool/standing.rs`), who may give them
//! (`admin/rights.rs`), what is done with a message that a rule fits (`spool/handle.rs`).

mod hold_rule;
mod terms;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::filter::Glob;
pub use hold_rule::{BadHoldRule, HoldConditions, HoldRule, NewMessage};
pub use terms::{BadReason, OrderTerms, checked_reason};

/// The most hold rules that there may be at a time.
pub const MOST_RULES: usize = 64;
/// The most conditions of one hold rule.
pub const MOST_PATTERNS: usize = 64;

/// All standing orders.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct StandingOrders {
    /// The number of the newest rule that there ever was.
    last_rule: u32,
    /// The hold rules, the oldest first.
    #[serde(default)]
    rules: Vec<HoldRule>,
}

impl StandingOrders {
    /// Returns the orders that stand in place of those that were lost: which mail was to be held is not known, so all new mail
    /// is.
    pub fn unknown(now: Timestamp) -> StandingOrders {
        let reason = "the file of the hold rules was damaged, so what was to be held is not known; make the rules that you \
                      want again, and lift this one";
        let everything = HoldConditions { from: vec![Glob::anything()], ..HoldConditions::default() };
        let terms = OrderTerms { by: "nullmta".into(), since: now, until: None, reason: Some(reason.into()) };
        // Above every number that was ever given, as far as that can be known.
        let number = u32::MAX / 2;
        let rule = HoldRule { number, conditions: everything, terms };
        StandingOrders { last_rule: number, rules: vec![rule] }
    }

    /// Returns the hold rules that are in force, the oldest first.
    pub fn rules(&self, now: Timestamp) -> impl Iterator<Item = &HoldRule> {
        self.rules.iter().filter(move |rule| rule.terms.is_in_force(now))
    }

    /// Returns the rule that holds this message, if there is one.
    pub fn hold_rule_for(&self, message: &NewMessage<'_>, now: Timestamp) -> Option<&HoldRule> {
        self.rules(now).find(|rule| rule.conditions.fit(message))
    }

    /// Adds a hold rule. Returns it with its number.
    pub fn add_rule(
        &mut self,
        conditions: HoldConditions,
        terms: OrderTerms,
    ) -> Result<HoldRule, BadHoldRule> {
        conditions.check()?;
        if self.rules.len() >= MOST_RULES {
            return Err(BadHoldRule::TooManyRules);
        }
        self.last_rule += 1;
        let rule = HoldRule { number: self.last_rule, conditions, terms };
        self.rules.push(rule.clone());
        Ok(rule)
    }

    /// Takes out the rule of this number.
    pub fn lift_rule(&mut self, number: u32) -> Option<HoldRule> {
        let place = self.rules.iter().position(|rule| rule.number == number)?;
        Some(self.rules.remove(place))
    }

    /// Returns whether the time of an order is over, so that there is something to take out.
    pub fn have_ended(&self, now: Timestamp) -> bool {
        self.rules.iter().any(|rule| !rule.terms.is_in_force(now))
    }

    /// Takes out the hold rules whose time is over.
    pub fn take_ended(&mut self, now: Timestamp) -> Vec<HoldRule> {
        self.rules.extract_if(.., |rule| !rule.terms.is_in_force(now)).collect()
    }
}

#[cfg(test)]
mod tests;
