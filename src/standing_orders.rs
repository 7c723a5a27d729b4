//! Standing orders: what operators have ordered about mail that is still to come, and for all mail, until they lift it or its time is over.
//!
//! Promises
//! 1. An order whose time is over has no effect, whether or not it was taken out ([`StandingOrders::take_ended`]).
//! 2. Each hold rule has a number that no other one ever had, on this spool. Of several rules that a message fits, the
//!    oldest one holds it.
//! 3. There are [`MOST_RULES`] hold rules at most, of [`MOST_PATTERNS`] conditions each, so that no message waits for them.
//! 4. There is one pause at most of each scope: a later one takes its place. There are [`MOST_PAUSES`] at most.
//! 5. Orders of a newer version that say more than is known here are not read: they could mean more mail.
//!
//! Pure: time is an argument. Not here: where they are kept (`spool/standing.rs`), who may give them
//! (`admin/rights.rs`), what is done with a message that a rule fits (`spool/handle.rs`), what rests in a pause (`queue/relay_state.rs`,
//! `listener/intake.rs`, `listener/pickup.rs`).

mod hold_rule;
mod pause;
mod terms;

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use hold_rule::{BadHoldRule, HoldConditions, HoldRule, NewMessage};
pub use pause::{Pause, PauseScope, PausedPart, TooManyPauses};
pub use terms::{BadReason, OrderTerms, checked_reason};

/// The most hold rules that there may be at a time.
pub const MOST_RULES: usize = 64;
/// The most pauses that there may be at a time: one for each of very many routes.
pub const MOST_PAUSES: usize = 256;
/// The most conditions of one hold rule.
pub const MOST_PATTERNS: usize = 64;

/// The reason why the orders are not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrdersUnknown {
    /// What was written is damaged.
    Damaged,
    /// What was written could not be read at the start, and may be whole.
    Unread,
}

impl fmt::Display for OrdersUnknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OrdersUnknown::Damaged => {
                "the file of hold rules and pauses was damaged, so which mail was to wait is not known; make the rules \
                 that you want again, then resume delivery"
            }
            OrdersUnknown::Unread => {
                "the file of hold rules and pauses could not be read at the start, so which mail was to wait is not known; \
                 when it can be read, restart nullmta, or resume delivery"
            }
        })
    }
}

/// All standing orders.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct StandingOrders {
    /// The number of the newest rule that there ever was.
    last_rule: u32,
    /// The hold rules, the oldest first.
    #[serde(default)]
    rules: Vec<HoldRule>,
    /// The pauses, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pauses: Vec<Pause>,
}

/// The orders whose time is over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndedOrders {
    /// The hold rules.
    pub rules: Vec<HoldRule>,
    /// The pauses.
    pub pauses: Vec<Pause>,
}

impl StandingOrders {
    /// Returns the orders that stand in place of those that are not known: which mail was to wait is not known then, so none
    /// is sent. It is taken and waits, since sending cannot be undone.
    pub fn unknown(cause: OrdersUnknown, now: Timestamp) -> StandingOrders {
        let scope = PauseScope { part: PausedPart::Delivery, route: None };
        let terms =
            OrderTerms { by: "nullmta".into(), since: now, until: None, reason: Some(cause.to_string()) };
        // The number of seconds is above every number that was ever given, also after orders were lost before: nobody makes a
        // rule each second.
        let last_rule = u32::try_from(now.as_second()).unwrap_or(u32::MAX / 2);
        StandingOrders { last_rule, rules: Vec::new(), pauses: vec![Pause { scope, terms }] }
    }

    /// Returns the orders by which everything waits that waits by these, or by `others`.
    pub fn with_all_of(&self, others: &StandingOrders) -> StandingOrders {
        let mut all = self.clone();
        all.last_rule = all.last_rule.max(others.last_rule);
        let added =
            others.rules.iter().filter(|rule| self.rules.iter().all(|known| known.number != rule.number));
        all.rules.extend(added.cloned());
        all.rules.sort_by_key(|rule| rule.number);
        for pause in &others.pauses {
            let known = self.pauses.iter().find(|known| known.scope == pause.scope);
            if known.is_none_or(|known| known.terms.ends_before(&pause.terms)) {
                all.lift_pause(&pause.scope);
                all.pauses.push(pause.clone());
            }
        }
        all
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

    /// Returns the pauses that are in force, the oldest first.
    pub fn pauses(&self, now: Timestamp) -> impl Iterator<Item = &Pause> {
        self.pauses.iter().filter(move |pause| pause.terms.is_in_force(now))
    }

    /// Returns the pause of the intake, if there is one.
    pub fn intake_pause(&self, now: Timestamp) -> Option<&Pause> {
        self.pauses(now).find(|pause| pause.scope.part == PausedPart::Intake)
    }

    /// Returns the pause of the delivery of all mail, if there is one.
    pub fn delivery_pause(&self, now: Timestamp) -> Option<&Pause> {
        self.pauses(now).find(|pause| pause.scope.part == PausedPart::Delivery && pause.scope.route.is_none())
    }

    /// Adds a pause, in place of one of the same scope.
    pub fn pause(&mut self, pause: Pause) -> Result<(), TooManyPauses> {
        if self.pauses.iter().filter(|other| other.scope != pause.scope).count() >= MOST_PAUSES {
            return Err(TooManyPauses);
        }
        self.lift_pause(&pause.scope);
        self.pauses.push(pause);
        Ok(())
    }

    /// Takes out the pause of this scope.
    pub fn lift_pause(&mut self, scope: &PauseScope) -> Option<Pause> {
        let place = self.pauses.iter().position(|pause| pause.scope == *scope)?;
        Some(self.pauses.remove(place))
    }

    /// Returns whether there is no order.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.pauses.is_empty()
    }

    /// Returns whether the time of an order is over, so that there is something to take out.
    pub fn have_ended(&self, now: Timestamp) -> bool {
        let terms = self.rules.iter().map(|rule| &rule.terms);
        terms.chain(self.pauses.iter().map(|pause| &pause.terms)).any(|terms| !terms.is_in_force(now))
    }

    /// Takes out the orders whose time is over.
    pub fn take_ended(&mut self, now: Timestamp) -> EndedOrders {
        EndedOrders {
            rules: self.rules.extract_if(.., |rule| !rule.terms.is_in_force(now)).collect(),
            pauses: self.pauses.extract_if(.., |pause| !pause.terms.is_in_force(now)).collect(),
        }
    }
}

#[cfg(test)]
mod tests;
