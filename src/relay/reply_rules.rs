//! Rules for the meaning of a relay's refusals, as data: what a reply says by its words, where its code alone would be
//! misread.
//!
//! Promises:
//! 1. The first rule that fits decides. The rules of the configuration (`[[relay.reply]]`) come first, in their order; then
//!    those of the relay's provider, which its host name tells; then those for any relay.
//! 2. Only a refusal, 4xx or 5xx, has a meaning by a rule. A reply without a rule means what its code says.
//! 3. A rule for any relay may be wrong about a reply ([`RuleName::is_guess`]): nothing that follows from it may end a
//!    message, or keep others waiting for ever.
//! 4. A time that a refusal names is kept, by a rule or not: for the message where the refusal is about one
//!    ([`RecipientReport::named_time`]), else for the relay ([`Trouble::named_time`]).
//! 5. A rule of the configuration that says `permanent` is taken at its word: such a refusal is about its recipient or its
//!    message and about nothing more, so it holds nothing and nobody else.
//!
//! Pure: time is an argument, for the dates that replies name. Not here: the rules themselves (`reply_rules/providers.rs`,
//! `reply_rules/general.rs`), what follows from a meaning for the recipient (`verdict.rs`) and for other mail
//! (`queue/reducer/waits.rs`).

mod built_in;
mod general;
mod providers;
mod stated_pause;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::RecipientReport;
use super::login_advice::{LoginInForce, LoginRefusal};
use super::reply_meaning::{Advice, Excess, ReplyMeaning, RuleName, WaitClass, WaitReason};
use super::sasl::PROOF_REFUSED;
use super::subject::Subject;
use super::trouble::{Cause, Phase, TokenRefusal, Trouble};
use super::verdict::{Judgement, Scope, Verdict, judge_by};
use crate::config::{Means, RelayConfig, ReplyPhase, ReplyRule, RuleScope};
use crate::smtp::reply::{Reply, Severity};

use built_in::CompiledRule;
use providers::Provider;
use stated_pause::stated_pause;

/// The rules for the replies of one relayhost.
#[derive(Clone, Debug, Default)]
pub struct ReplyRules {
    own: Vec<ReplyRule>,
    provider: Option<&'static Provider>,
    login: LoginShown,
    in_force: Option<Arc<LoginInForce>>,
}

/// What we log in with at a relay. The advice of a rule depends on it: a refused access token is mended elsewhere than a
/// refused password.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum LoginShown {
    /// There is no login, or nothing is known of it.
    #[default]
    Unknown,
    /// A password, or the certificate of this host.
    Password,
    /// An access token.
    Token,
}

impl LoginShown {
    fn of(relay: &RelayConfig) -> Self {
        match &relay.auth {
            None => LoginShown::Unknown,
            Some(auth) if auth.secret.is_token() => LoginShown::Token,
            Some(_) => LoginShown::Password,
        }
    }
}

/// A rule as it is shown to an operator.
#[derive(Clone, Debug)]
pub struct ShownRule<'r> {
    /// Its name.
    pub name: RuleName,
    /// Its pattern, as one may write it in `[[relay.reply]]`.
    pub pattern: &'r str,
    /// The phases at which it applies; empty for all.
    pub phases: &'r [ReplyPhase],
    /// Its meaning; `None` if the reply then means what its code says.
    pub means: Option<Means>,
    /// The mail that waits, where the meaning is [`Means::Configuration`].
    pub scope: RuleScope,
    /// The time until the next try, if the rule says it.
    pub pause: Option<Duration>,
}

impl ReplyRules {
    /// Returns the rules for the relayhost `host`, with those of the configuration, `own`, in front.
    pub fn new(own: &[ReplyRule], host: &str) -> Self {
        ReplyRules {
            own: own.to_vec(),
            provider: Provider::of(host),
            login: LoginShown::Unknown,
            in_force: None,
        }
    }

    /// Returns the rules for the relayhost `host` of `relay`, with advice for its login.
    pub fn of(relay: &RelayConfig, host: &str) -> Self {
        let in_force = LoginInForce::of(relay).map(Arc::new);
        ReplyRules { login: LoginShown::of(relay), in_force, ..ReplyRules::new(&relay.replies, host) }
    }

    /// Returns the name of the provider, if the relay's host name tells it.
    pub fn provider(&self) -> Option<&'static str> {
        self.provider.map(|provider| provider.name)
    }

    /// Returns what would be made of the reply `said`, such as `550 5.4.5 words`, at `phase` and `now`; `None` if it is no
    /// reply.
    pub fn explain(&self, phase: ReplyPhase, said: &str, now: Timestamp) -> Option<ExplainedReply> {
        let (reply, _) = Reply::parse(format!("{said}\r\n").as_bytes()).ok()??;
        let phase = dialogue_phase(phase);
        let meaning = self.meaning(phase, &reply, now);
        let becomes = match (judge_by(meaning, phase, &reply), meaning) {
            (Judgement::GoOn, _) => ReplyConsequence::GoesOn,
            (Judgement::Ruled(Verdict::Sent, _), _) => ReplyConsequence::Sent,
            (Judgement::Ruled(Verdict::Waits(reason), _), _) => ReplyConsequence::Waits(reason),
            (Judgement::Ruled(_, Scope::Relay), Some(ReplyMeaning::Waits(reason))) => {
                ReplyConsequence::Waits(reason)
            }
            (Judgement::Ruled(_, Scope::Relay), _) => ReplyConsequence::RelayTrouble,
            (Judgement::Ruled(Verdict::Bounced, _), _) => ReplyConsequence::Bounced,
            (Judgement::Ruled(..), _) => ReplyConsequence::Deferred,
        };
        let is_trouble = becomes == ReplyConsequence::RelayTrouble;
        let refusal = LoginRefusal::of(phase, &reply).filter(|_| is_trouble);
        let advice = self.in_force.as_ref().zip(refusal).map(|(login, refusal)| login.advice(refusal, None));
        Some(ExplainedReply { rule: meaning.map(|meaning| meaning.rule()), becomes, advice })
    }

    /// Returns the meaning of `reply` at `phase`; `None` if no rule fits.
    pub(crate) fn meaning(&self, phase: Phase, reply: &Reply, now: Timestamp) -> Option<ReplyMeaning> {
        let is_refusal = matches!(reply.severity(), Severity::Transient | Severity::Permanent);
        let phase = reply_phase(phase).filter(|_| is_refusal)?;
        self.meaning_at(phase, &reply.to_string(), now)
    }

    /// Returns `trouble` with what a rule says of the reply in it, if one fits. A refused login that an operator must
    /// correct stays one, with the advice of the rule.
    pub(crate) fn read(&self, trouble: Trouble, now: Timestamp) -> Trouble {
        let (reply, for_good, token) = match &trouble.cause {
            Cause::Reply(reply) => (reply, false, None),
            Cause::LoginRefused { reply: Some(reply), for_good, token, .. } => {
                (&**reply, *for_good, token.as_deref())
            }
            Cause::LoginRefused { reply: None, .. } => return self.advised(trouble),
            _ => return trouble,
        };
        let Some(ReplyMeaning::Waits(mut reason)) = self.meaning(trouble.phase, reply, now) else {
            return self.advised(trouble);
        };
        let is_plain = reason.hint.is_none() && reason.pause.is_none();
        if for_good && is_plain && matches!(reason.class, WaitClass::Configuration(_)) {
            return self.advised(trouble);
        }
        if matches!(reason.class, WaitClass::Configuration(_)) {
            reason.hint = reason.hint.or(token.and_then(|token| token.remedy));
        }
        let said = TokenRefusal::behind(token, reply.to_string());
        Trouble { cause: Cause::Waits { said, reason: Box::new(reason) }, ..trouble }
    }

    /// Returns the same trouble with what to do about it, if it is a refused login.
    fn advised(&self, mut trouble: Trouble) -> Trouble {
        let Some(login) = &self.in_force else { return trouble };
        match &mut trouble.cause {
            Cause::LoginRefused { said, reply, token, advice, .. } => {
                let refusal = match reply {
                    Some(reply) => LoginRefusal::of(trouble.phase, reply),
                    None if said.contains(PROOF_REFUSED) => Some(LoginRefusal::Credentials),
                    None => Some(LoginRefusal::Exchange),
                };
                let remedy = token.as_ref().and_then(|token| token.remedy);
                *advice = refusal.map(|refusal| login.advice(refusal, remedy).into());
            }
            Cause::Reply(reply) => {
                if let Some(refusal) = LoginRefusal::of(trouble.phase, reply) {
                    let advice = login.advice(refusal, None).into();
                    trouble.cause = Cause::LoginLost { reply: Box::new(reply.clone()), advice };
                }
            }
            _ => {}
        }
        trouble
    }

    /// Applies promise 5 to the refusals of a transaction.
    pub(crate) fn narrow(&self, recipients: &mut [RecipientReport]) {
        let bounced = |told: &&mut RecipientReport| told.from_relay && told.verdict == Verdict::Bounced;
        for told in recipients.iter_mut().filter(bounced) {
            let own = reply_phase(told.phase).and_then(|phase| self.own_rule(phase, &told.said));
            if own.is_some_and(|(_, rule)| rule.means == Means::Permanent) {
                told.about = if told.phase == Phase::Rcpt { Subject::Recipient } else { Subject::Message };
            }
        }
    }

    /// Returns the meaning of the refusal `said`, such as `550 5.4.5 words`, at `phase`; `None` if no rule fits.
    fn meaning_at(&self, phase: ReplyPhase, said: &str, now: Timestamp) -> Option<ReplyMeaning> {
        if let Some((place, ReplyRule { means, pause, scope, .. })) = self.own_rule(phase, said) {
            let pause = pause.or_else(|| stated_pause(said, now));
            let rule = RuleName::Own(place + 1);
            return Some(ReplyMeaning::of(
                rule,
                Some(*means),
                *scope,
                Advice { pause, doubles: false, hint: None, excess: Excess::Messages },
            ));
        }
        let rule = self.built_in().find(|rule| rule.fits(phase, said))?;
        Some(rule.meaning(stated_pause(said, now), self.login))
    }

    /// Returns the rule of the configuration that fits the refusal `said`, and its place.
    fn own_rule(&self, phase: ReplyPhase, said: &str) -> Option<(usize, &ReplyRule)> {
        let fits = |rule: &ReplyRule| {
            (rule.phases.is_empty() || rule.phases.contains(&phase)) && rule.pattern.matches(said)
        };
        self.own.iter().enumerate().find(|(_, rule)| fits(rule))
    }

    fn built_in(&self) -> impl Iterator<Item = &'static CompiledRule> + use<> {
        let of_provider = self.provider.map(Provider::rules).unwrap_or_default();
        of_provider.iter().chain(general::rules())
    }

    /// Returns all rules in the order in which they are tried.
    pub fn in_force(&self) -> impl Iterator<Item = ShownRule<'_>> {
        let own = self.own.iter().enumerate().map(|(place, rule)| ShownRule {
            name: RuleName::Own(place + 1),
            pattern: rule.pattern.as_str(),
            phases: &rule.phases,
            means: Some(rule.means),
            scope: rule.scope,
            pause: rule.pause,
        });
        own.chain(self.built_in().map(|rule| rule.shown()))
    }
}

impl RecipientReport {
    /// Returns the time until another try that the relay's reply names at `now`, if it names one.
    pub fn named_time(&self, now: Timestamp) -> Option<Duration> {
        self.from_relay.then(|| stated_pause(&self.said, now)).flatten()
    }
}

impl Trouble {
    /// Returns the time until another try that is named, at `now`, by a reply which no rule has read, such as a 421, or one
    /// that puts the login off.
    pub fn named_time(&self, now: Timestamp) -> Option<Duration> {
        let reply = match &self.cause {
            Cause::Reply(reply) => reply,
            Cause::LoginLost { reply, .. } | Cause::LoginRefused { reply: Some(reply), .. } => &**reply,
            _ => return None,
        };
        stated_pause(&reply.to_string(), now)
    }
}

/// What would be made of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainedReply {
    /// The rule that decides; `None` if the code alone does.
    pub rule: Option<RuleName>,
    /// The consequence.
    pub becomes: ReplyConsequence,
    /// What to do about it, if it refuses the login and no rule says more.
    pub advice: Option<String>,
}

/// The consequence of a reply for the message at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyConsequence {
    /// The dialogue goes on.
    GoesOn,
    /// The message is sent.
    Sent,
    /// The message is refused for now.
    Deferred,
    /// The message is refused for good.
    Bounced,
    /// It is trouble of the relay.
    RelayTrouble,
    /// The message waits, as other mail may.
    Waits(WaitReason),
}

/// Returns the phase of the configuration for this one; `None` if a reply there has no meaning by a rule.
fn reply_phase(phase: Phase) -> Option<ReplyPhase> {
    match phase {
        Phase::Greeting => Some(ReplyPhase::Greeting),
        Phase::Ehlo => Some(ReplyPhase::Ehlo),
        Phase::StartTls => Some(ReplyPhase::StartTls),
        Phase::Auth => Some(ReplyPhase::Auth),
        Phase::Mail => Some(ReplyPhase::Mail),
        Phase::Rcpt => Some(ReplyPhase::Rcpt),
        Phase::Data => Some(ReplyPhase::Data),
        Phase::Content | Phase::Dot => Some(ReplyPhase::Dot),
        Phase::Resolve | Phase::Connect | Phase::Tls | Phase::Rset | Phase::Quit => None,
    }
}

/// Returns the phase of a dialogue for this one of the configuration.
fn dialogue_phase(phase: ReplyPhase) -> Phase {
    match phase {
        ReplyPhase::Greeting => Phase::Greeting,
        ReplyPhase::Ehlo => Phase::Ehlo,
        ReplyPhase::StartTls => Phase::StartTls,
        ReplyPhase::Auth => Phase::Auth,
        ReplyPhase::Mail => Phase::Mail,
        ReplyPhase::Rcpt => Phase::Rcpt,
        ReplyPhase::Data => Phase::Data,
        ReplyPhase::Dot => Phase::Dot,
    }
}

#[cfg(test)]
mod tests;
