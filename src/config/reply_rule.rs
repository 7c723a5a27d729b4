//! `[[relay.reply]]`: rules for the meaning of a relay's replies.
//!
//! Promises: a rule is matched against a reply as the log shows it, `554 5.7.1 words`, all its lines on one; the time for
//! that is in proportion to the octets. The rules of one configuration have [`MAX_REPLY_RULES`] patterns at most.
//!
//! Not here: the rules that nullmta has itself, and which rule decides (`relay/reply_rules.rs`); what follows from a
//! meaning for the mail (`relay/verdict.rs`, `queue/`).

use std::borrow::Cow;
use std::time::Duration;

use toml::de::DeValue;

use super::error::{ConfigFault, KeyLocation};
use super::setting::{Setting, found};
use super::table::{Key, Keys, LocatedList, TablePart, TomlTable};
use super::units::PositiveDuration;
use super::words::words;
use crate::message::rewrite::Pattern;

/// The most rules of one configuration. Each refusal of the relay is compared with each of them until one fits.
const MAX_REPLY_RULES: usize = 100;

/// A rule for the meaning of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyRule {
    /// The pattern for the reply.
    pub pattern: ReplyPattern,
    /// The phases at which the rule applies; empty for all of them.
    pub phases: Vec<ReplyPhase>,
    /// The meaning of a reply that fits.
    pub means: Means,
    /// The time until the next try; `None` if the reply says it, or else the meaning.
    pub pause: Option<Duration>,
    /// The mail that has to wait where the meaning is [`Means::Configuration`].
    pub scope: RuleScope,
}

/// The phases of the dialogue at which the relay may refuse something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyPhase {
    /// The greeting.
    Greeting,
    /// The reply to EHLO.
    Ehlo,
    /// The reply to STARTTLS.
    StartTls,
    /// The reply that ends the AUTH exchange.
    Auth,
    /// The reply to MAIL.
    Mail,
    /// A reply to RCPT.
    Rcpt,
    /// The reply to DATA.
    Data,
    /// The reply to the content: to the final dot, or before it.
    Dot,
}

words!(
    ReplyPhase,
    "greeting" => ReplyPhase::Greeting,
    "ehlo" => ReplyPhase::Ehlo,
    "starttls" => ReplyPhase::StartTls,
    "auth" => ReplyPhase::Auth,
    "mail" => ReplyPhase::Mail,
    "rcpt" => ReplyPhase::Rcpt,
    "data" => ReplyPhase::Data,
    "dot" => ReplyPhase::Dot
);

/// The meaning of a reply, by a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// Too fast: the relay gets less at once, and the message is sent again soon.
    Throttle,
    /// Used up until some time: the relay is paused.
    Quota,
    /// An operator must act.
    Configuration,
    /// The message is refused for good.
    Permanent,
    /// The message is refused for now.
    Deferral,
}

words!(
    Means,
    "throttle" => Means::Throttle,
    "quota" => Means::Quota,
    "configuration" => Means::Configuration,
    "permanent" => Means::Permanent,
    "deferral" => Means::Deferral
);

/// The mail that waits until an operator has acted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleScope {
    /// All mail for this relay.
    Route,
    /// The mail with the reverse-path of the message that was refused.
    Sender,
}

words!(RuleScope, "route" => RuleScope::Route, "sender" => RuleScope::Sender);

impl ReplyPhase {
    /// Returns the phase of this name, as in the configuration.
    pub fn named(name: &str) -> Option<ReplyPhase> {
        ReplyPhase::ALL.into_iter().find(|phase| phase.name() == name)
    }

    /// Every phase, in the order of a dialogue.
    pub const ALL: [ReplyPhase; 8] = [
        ReplyPhase::Greeting,
        ReplyPhase::Ehlo,
        ReplyPhase::StartTls,
        ReplyPhase::Auth,
        ReplyPhase::Mail,
        ReplyPhase::Rcpt,
        ReplyPhase::Data,
        ReplyPhase::Dot,
    ];

    /// Returns the word for it in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            ReplyPhase::Greeting => "greeting",
            ReplyPhase::Ehlo => "ehlo",
            ReplyPhase::StartTls => "starttls",
            ReplyPhase::Auth => "auth",
            ReplyPhase::Mail => "mail",
            ReplyPhase::Rcpt => "rcpt",
            ReplyPhase::Data => "data",
            ReplyPhase::Dot => "dot",
        }
    }
}

impl Means {
    /// Returns the word for it in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Means::Throttle => "throttle",
            Means::Quota => "quota",
            Means::Configuration => "configuration",
            Means::Permanent => "permanent",
            Means::Deferral => "deferral",
        }
    }
}

/// A pattern for a reply, which is matched as the log shows it: `554 5.7.1 words`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyPattern(Pattern);

impl ReplyPattern {
    /// Returns the pattern that stands in a table of nullmta's own. Panics if it is none.
    pub fn of_table(text: &'static str) -> Self {
        // A test compiles every pattern of these tables.
        ReplyPattern(Pattern::new(text).expect("a pattern of a table is valid"))
    }

    /// Returns whether it matches somewhere in `said`.
    pub fn matches(&self, said: &str) -> bool {
        self.0.matches(said.as_bytes())
    }

    /// Returns the text of the pattern.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl Setting for ReplyPattern {
    fn expected() -> Cow<'static, str> {
        "a regular expression for a reply such as '^550 5\\.4\\.5'".into()
    }

    fn read(value: &DeValue<'_>) -> Option<Self> {
        Pattern::new(value.as_str()?).ok().map(ReplyPattern)
    }

    fn found(value: &DeValue<'_>) -> String {
        match value.as_str().map(Pattern::new) {
            Some(Err(error)) => format!("{} ({error})", found(value)),
            _ => found(value),
        }
    }
}

impl TablePart for Vec<ReplyRule> {
    fn take(table: &mut TomlTable<'_>, key: &'static str) -> Result<Self, ConfigFault> {
        let tables = table.tables(key)?;
        if let Some((location, _)) = tables.get(MAX_REPLY_RULES) {
            return Err(location.expected(format!("at most {MAX_REPLY_RULES} rules"), "more"));
        }
        tables.into_iter().map(|(location, table)| reply_rule(&location, table)).collect()
    }
}

/// Reads one table of `[[relay.reply]]`.
fn reply_rule(location: &KeyLocation, mut table: TomlTable<'_>) -> Result<ReplyRule, ConfigFault> {
    let pattern: Key<ReplyPattern> = table.take("match")?;
    let phases: Keys<ReplyPhase> = table.take_list("phase")?;
    let means: Key<Means> = table.take("means")?;
    let pause: Key<PositiveDuration> = table.take("pause")?;
    let scope: Key<RuleScope> = table.take("scope")?;
    table.done()?;
    let missing = |key: &str| KeyLocation { line: location.line, key: format!("{}.{key}", location.key) };
    let pattern = pattern.ok_or_else(|| missing("match").expected(ReplyPattern::expected(), "none"))?;
    let means = means.ok_or_else(|| missing("means").expected(Means::expected(), "none"))?.value;
    if let Some(pause) = pause.as_ref().filter(|_| matches!(means, Means::Permanent | Means::Deferral)) {
        let expected = "no pause beside this `means`: the message alone is refused";
        return Err(pause.location.expected(expected, "one"));
    }
    if let Some(scope) = scope.as_ref().filter(|_| means != Means::Configuration) {
        return Err(scope.location.expected("no scope, unless means = \"configuration\"", "one"));
    }
    Ok(ReplyRule {
        pattern: pattern.value,
        phases: phases.as_ref().map(LocatedList::values).unwrap_or_default(),
        means,
        pause: pause.map(|pause| pause.value.0),
        scope: scope.map_or(RuleScope::Route, |scope| scope.value),
    })
}
