//! A rule that nullmta has itself: its form in the tables, and compiled.

use std::time::Duration;

use super::super::reply_meaning::{Advice, Excess, ReplyMeaning, RuleName};
use super::{LoginShown, ShownRule};
use crate::config::{Means, ReplyPattern, ReplyPhase, RuleScope};

/// A rule in a table.
pub(super) struct BuiltIn {
    /// Its name among those of its table.
    pub(super) name: &'static str,
    /// The phases at which it applies; empty for all of them.
    pub(super) phases: &'static [ReplyPhase],
    /// The pattern for the reply, which is matched without regard to case.
    pub(super) pattern: &'static str,
    /// The meaning; `None` if the reply means what its code says, whatever rules come later.
    pub(super) means: Option<Means>,
    /// The mail that waits where it is [`Means::Configuration`].
    pub(super) scope: RuleScope,
    /// The seconds until the next try, where the reply does not say them.
    pub(super) pause: Option<u64>,
    /// True if that is the first pause only, and doubles as long as the relay says the same.
    pub(super) doubles: bool,
    /// A sentence that tells the operator what to do.
    pub(super) hint: Option<&'static str>,
    /// The sentence in its place where there is a login of any kind.
    pub(super) login_hint: Option<&'static str>,
    /// The sentence in place of both where the login shows an access token.
    pub(super) token_hint: Option<&'static str>,
    /// What the relay gets too much of where it is [`Means::Throttle`].
    pub(super) excess: Excess,
}

impl BuiltIn {
    const fn new(
        name: &'static str,
        phases: &'static [ReplyPhase],
        pattern: &'static str,
        means: Option<Means>,
    ) -> Self {
        BuiltIn {
            name,
            phases,
            pattern,
            means,
            scope: RuleScope::Route,
            pause: None,
            doubles: false,
            hint: None,
            login_hint: None,
            token_hint: None,
            excess: Excess::Messages,
        }
    }

    /// The reply means what its code says.
    pub(super) const fn as_said(
        name: &'static str,
        at: &'static [ReplyPhase],
        pattern: &'static str,
    ) -> Self {
        BuiltIn::new(name, at, pattern, None)
    }

    pub(super) const fn throttle(
        name: &'static str,
        at: &'static [ReplyPhase],
        pattern: &'static str,
    ) -> Self {
        BuiltIn::new(name, at, pattern, Some(Means::Throttle))
    }

    pub(super) const fn quota(name: &'static str, at: &'static [ReplyPhase], pattern: &'static str) -> Self {
        BuiltIn::new(name, at, pattern, Some(Means::Quota))
    }

    pub(super) const fn permanent(
        name: &'static str,
        at: &'static [ReplyPhase],
        pattern: &'static str,
    ) -> Self {
        BuiltIn::new(name, at, pattern, Some(Means::Permanent))
    }

    /// All mail for the relay waits for an operator.
    pub(super) const fn route(
        name: &'static str,
        at: &'static [ReplyPhase],
        pattern: &'static str,
        hint: &'static str,
    ) -> Self {
        BuiltIn { hint: Some(hint), ..BuiltIn::new(name, at, pattern, Some(Means::Configuration)) }
    }

    /// The mail of this reverse-path waits for an operator.
    pub(super) const fn sender(
        name: &'static str,
        at: &'static [ReplyPhase],
        pattern: &'static str,
        hint: &'static str,
    ) -> Self {
        BuiltIn { scope: RuleScope::Sender, ..BuiltIn::route(name, at, pattern, hint) }
    }

    /// Returns the same rule with this time until the next try, in seconds.
    pub(super) const fn paused(self, seconds: u64) -> Self {
        BuiltIn { pause: Some(seconds), ..self }
    }

    /// Returns the same rule with this time until the next try, in seconds, which doubles with each further one: the tries
    /// themselves may prolong what they wait for.
    pub(super) const fn paused_ever_longer(self, seconds: u64) -> Self {
        BuiltIn { pause: Some(seconds), doubles: true, ..self }
    }

    /// Returns the same rule for a connection that has brought as much as it may.
    pub(super) const fn of_session(self) -> Self {
        BuiltIn { excess: Excess::Session, ..self }
    }

    /// Returns the same rule for a relay that gets too many connections at once.
    pub(super) const fn of_connections(self) -> Self {
        BuiltIn { excess: Excess::Connections, ..self }
    }

    /// Returns the same rule with this advice.
    pub(super) const fn hinting(self, hint: &'static str) -> Self {
        BuiltIn { hint: Some(hint), ..self }
    }

    /// Returns the same rule with this advice where there is a login.
    pub(super) const fn behind_a_login(self, hint: &'static str) -> Self {
        BuiltIn { login_hint: Some(hint), ..self }
    }

    /// Returns the same rule with this advice where the login shows an access token.
    pub(super) const fn for_tokens(self, hint: &'static str) -> Self {
        BuiltIn { token_hint: Some(hint), ..self }
    }

    fn hint_for(&self, login: LoginShown) -> Option<&'static str> {
        match login {
            LoginShown::Unknown => self.hint,
            LoginShown::Password => self.login_hint.or(self.hint),
            LoginShown::Token => self.token_hint.or(self.login_hint).or(self.hint),
        }
    }

    /// Returns the rule with its pattern compiled.
    pub(super) fn compiled(&'static self, name: RuleName) -> CompiledRule {
        CompiledRule { name, pattern: ReplyPattern::of_table(self.pattern), rule: self }
    }
}

/// A rule of a table, with its pattern compiled.
#[derive(Debug)]
pub(super) struct CompiledRule {
    name: RuleName,
    pattern: ReplyPattern,
    rule: &'static BuiltIn,
}

impl CompiledRule {
    pub(super) fn fits(&self, phase: ReplyPhase, said: &str) -> bool {
        let is_at = self.rule.phases.is_empty() || self.rule.phases.contains(&phase);
        is_at && self.pattern.matches(said)
    }

    /// Returns its meaning for a reply that states this pause, if it states one, where we log in so.
    pub(super) fn meaning(&self, stated: Option<Duration>, login: LoginShown) -> ReplyMeaning {
        let BuiltIn { means, scope, pause, doubles, excess, .. } = *self.rule;
        let hint = self.rule.hint_for(login);
        let doubles = doubles && stated.is_none();
        let pause = stated.or(pause.map(Duration::from_secs));
        ReplyMeaning::of(self.name, means, scope, Advice { pause, doubles, hint, excess })
    }

    pub(super) fn shown(&self) -> ShownRule<'static> {
        let BuiltIn { pattern, phases, means, scope, pause, .. } = *self.rule;
        let pause = pause.map(Duration::from_secs);
        ShownRule { name: self.name, pattern, phases, means, scope, pause }
    }
}

impl std::fmt::Debug for BuiltIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}
