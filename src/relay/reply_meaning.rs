//! The meaning of a refusal by a rule, as far as others than the rules need it: which rule, and for what mail waits.
//!
//! Pure. Not here: the rules (`reply_rules.rs`), what follows for the recipient (`verdict.rs`).

use std::fmt;
use std::time::Duration;

use crate::config::{Means, RuleScope};

/// The meaning of a reply, by a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyMeaning {
    /// It means what its code says.
    AsSaid(RuleName),
    /// The message is refused for good.
    Permanent(RuleName),
    /// The message is refused for now.
    Deferral(RuleName),
    /// It is about more than the message, which waits.
    Waits(WaitReason),
}

impl ReplyMeaning {
    /// Returns the rule that decided.
    pub fn rule(&self) -> RuleName {
        match self {
            ReplyMeaning::AsSaid(rule) | ReplyMeaning::Permanent(rule) | ReplyMeaning::Deferral(rule) => {
                *rule
            }
            ReplyMeaning::Waits(reason) => reason.rule,
        }
    }

    pub(super) fn of(rule: RuleName, means: Option<Means>, scope: RuleScope, advice: Advice) -> Self {
        let Advice { pause, doubles, hint, excess } = advice;
        let waits = |class| ReplyMeaning::Waits(WaitReason { rule, class, pause, doubles, hint });
        match means {
            None => ReplyMeaning::AsSaid(rule),
            Some(Means::Permanent) => ReplyMeaning::Permanent(rule),
            Some(Means::Deferral) => ReplyMeaning::Deferral(rule),
            Some(Means::Throttle) => waits(WaitClass::Throttle(excess)),
            Some(Means::Quota) => waits(WaitClass::Quota),
            Some(Means::Configuration) => waits(WaitClass::Configuration(scope)),
        }
    }
}

/// The reason why mail waits that the relay has refused, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitReason {
    /// The rule that decided.
    pub rule: RuleName,
    /// The kind of reason.
    pub class: WaitClass,
    /// The time until the next try, by the rule or by the reply; `None` if neither says one.
    pub pause: Option<Duration>,
    /// True if `pause` is only the first one, and doubles as long as the reply stays the same.
    pub doubles: bool,
    /// A sentence that tells the operator what to do.
    pub hint: Option<&'static str>,
}

/// The kind of a reason for which mail waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitClass {
    /// We are too fast for the relay.
    Throttle(Excess),
    /// What we may send is used up until some time.
    Quota,
    /// An operator must act, and until then this mail waits.
    Configuration(RuleScope),
}

/// What the relay gets too much of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Excess {
    /// Messages in a time; where the reply does not say, this is meant.
    #[default]
    Messages,
    /// Connections at once. Each of them may be as fast as it is.
    Connections,
    /// Mail over one connection: that one is at its end, and a new one may begin at once.
    Session,
}

impl WaitClass {
    /// Returns the class of a whole relay with this name; `None` if none has it.
    pub fn named(name: &str) -> Option<WaitClass> {
        let classes = [
            WaitClass::Throttle(Excess::Messages),
            WaitClass::Quota,
            WaitClass::Configuration(RuleScope::Route),
        ];
        classes.into_iter().find(|class| class.to_string() == name)
    }
}

impl fmt::Display for WaitClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WaitClass::Throttle(_) => "throttle",
            WaitClass::Quota => "quota",
            WaitClass::Configuration(_) => "configuration",
        })
    }
}

/// The name of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleName {
    /// The rule of this number in `[[relay.reply]]`, counted from 1.
    Own(usize),
    /// A rule of a provider.
    Provider {
        /// The provider.
        provider: &'static str,
        /// The rule.
        rule: &'static str,
    },
    /// A rule for any relay.
    General(&'static str),
}

impl RuleName {
    /// Returns true if the rule knows no more than the words of a relay that nobody has told it about.
    pub fn is_guess(self) -> bool {
        matches!(self, RuleName::General(_))
    }
}

impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RuleName::Own(number) => write!(f, "[[relay.reply]] {number}"),
            RuleName::Provider { provider, rule } => write!(f, "{provider}: {rule}"),
            RuleName::General(rule) => write!(f, "any relay: {rule}"),
        }
    }
}

/// The part of a meaning that a rule may leave out.
pub(super) struct Advice {
    pub(super) pause: Option<Duration>,
    pub(super) doubles: bool,
    pub(super) hint: Option<&'static str>,
    pub(super) excess: Excess,
}
