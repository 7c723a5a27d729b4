//! Profiles: the sink in the manner of a known provider's relay (`--like NAME`).
//!
//! Promises: a profile has the extensions, mechanisms, limits and sizes of its provider, and the provider's own replies
//! word for word where they are known; whatever the command line says besides wins. A test holds that each profile is
//! possible, and that `config/providers/` and the rules for replies know the same providers.
//!
//! A sink is no provider: it has the numbers that the providers publish, and a plain one where they publish none or set it
//! by plan; it knows nothing of spam, of domains, or of a sender's reputation.
//!
//! Not here: the table (`profile/providers.rs`).

mod providers;

use std::time::Duration;

use super::fault::SinkPhase;
use super::limit::{BadLimit, SinkLimit};
use super::options::{Security, SinkOptions};
use super::sender::SenderRule;
use crate::listener::certificate::Certificate;
use crate::smtp::session::ServiceExtension;

/// The relay of a provider, as a sink plays it.
#[derive(Debug)]
pub struct SinkProfile {
    /// The names for the command line. The first one is that of the file in `config/providers/`, if there is one.
    pub names: &'static [&'static str],
    /// The name of the provider.
    pub provider: &'static str,
    /// The host name of the relay.
    pub host: &'static str,
    pub(super) security: Security,
    /// The mechanisms that the relay offers. A sink without users offers none, and one that has them refuses those that it
    /// does not speak.
    mechanisms: &'static [&'static str],
    extensions: &'static [ServiceExtension],
    max_message_size: u64,
    limits: &'static [ProfileLimit],
    /// The faults that always strike, as on the command line.
    faults: &'static [&'static str],
    /// The phase at which a sender who is not verified is refused, and the effect.
    pub(super) unverified: Option<(SinkPhase, &'static str)>,
    /// The seconds after which a silent session is closed.
    idle: Option<u64>,
    /// The refusals of the dialogue itself (530, 535, 552) in the words of the relay.
    words: &'static [(u16, &'static str)],
}

/// A limit in the text form of the option of the same name.
#[derive(Debug)]
enum ProfileLimit {
    MaxRecipients(&'static str),
    MessagesPerSession(&'static str),
    MaxConnections(&'static str),
    Rate(&'static str),
    Quota(&'static str),
}

impl ProfileLimit {
    fn parse(&self) -> Result<SinkLimit, BadLimit> {
        match self {
            ProfileLimit::MaxRecipients(text) => SinkLimit::recipients(text),
            ProfileLimit::MessagesPerSession(text) => SinkLimit::messages_per_session(text),
            ProfileLimit::MaxConnections(text) => SinkLimit::connections(text),
            ProfileLimit::Rate(text) => SinkLimit::rate(text),
            ProfileLimit::Quota(text) => SinkLimit::quota(text),
        }
    }
}

impl SinkProfile {
    /// Returns all profiles, in alphabetical order.
    pub fn all() -> &'static [SinkProfile] {
        providers::ALL
    }

    /// Returns the profile of this name.
    pub fn named(name: &str) -> Option<&'static SinkProfile> {
        SinkProfile::all().iter().find(|profile| profile.names.contains(&name))
    }

    /// Returns the options of a sink that plays this relay.
    pub fn options(&self, certificate: Certificate) -> SinkOptions {
        let usual = SinkOptions::new(certificate);
        SinkOptions {
            hostname: self.host.into(),
            security: self.security,
            mechanisms: Some(self.mechanisms),
            extensions: self.extensions.into(),
            max_message_size: self.max_message_size,
            // A test makes every sink of the table, and so parses all of it.
            limits: self.limits.iter().map(|limit| limit.parse().expect("a limit of the table")).collect(),
            faults: self.faults.iter().map(|fault| fault.parse().expect("a fault of the table")).collect(),
            senders: self.unverified.map_or(usual.senders.clone(), |(phase, effect)| SenderRule {
                verified: Vec::new(),
                phase,
                effect,
            }),
            idle: self.idle.map_or(usual.idle, Duration::from_secs),
            words: self.words,
            ..usual
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::{ReplyPhase, RuleScope};
    use crate::relay::{ReplyConsequence, ReplyRules, WaitClass};
    use crate::sink::fault::FaultEffect;
    use crate::sink::limit::LimitKind;

    /// Returns the class that the rules of the provider's relay give `effect`.
    fn class(profile: &SinkProfile, phase: SinkPhase, effect: &FaultEffect) -> &'static str {
        let said = match effect {
            FaultEffect::Answer(reply) => reply.to_string(),
            FaultEffect::Odd(odd) => String::from_utf8_lossy(odd.octets()).trim_end().to_owned(),
            other => panic!("{other}"),
        };
        let phase = ReplyPhase::named(&phase.to_string()).unwrap();
        match ReplyRules::new(&[], profile.host)
            .explain(phase, &said, jiff::Timestamp::now())
            .unwrap()
            .becomes
        {
            ReplyConsequence::Waits(reason) => match reason.class {
                WaitClass::Throttle(_) => "throttle",
                WaitClass::Quota => "quota",
                WaitClass::Configuration(RuleScope::Route) => "configuration",
                WaitClass::Configuration(RuleScope::Sender) => "configuration of the sender",
            },
            ReplyConsequence::RelayTrouble => "trouble",
            ReplyConsequence::Deferred => "deferred",
            ReplyConsequence::Bounced => "bounced",
            ReplyConsequence::GoesOn | ReplyConsequence::Sent => "no refusal",
        }
    }

    /// What a provider says of its limits is not what ends a message.
    #[test]
    fn what_each_provider_says_is_understood() {
        for profile in SinkProfile::all() {
            let options = profile.options(Certificate::self_made("localhost").unwrap());
            for limit in &options.limits {
                let class = class(profile, limit.phase, &limit.effect);
                let allowed: &[&str] = match (limit.kind, profile.names[0], limit.phase) {
                    // SES takes each recipient, and then refuses the message: `recipients-per-message` is for that.
                    (LimitKind::Recipients, "amazon-ses", _) => &["bounced"],
                    (LimitKind::Recipients, ..) => &["deferred"],
                    (LimitKind::Messages, ..) => &["trouble"],
                    (LimitKind::Connections, ..) => &["trouble", "throttle"],
                    // The relay counts logins, not messages.
                    (LimitKind::Rate(_), "gmail", SinkPhase::Auth) => &["configuration"],
                    (LimitKind::Rate(_), ..) => &["throttle"],
                    // It is the same reply as that to a wrong password.
                    (LimitKind::Quota(_), "zeptomail", _) => &["configuration"],
                    (LimitKind::Quota(_), "sendgrid", SinkPhase::Rcpt) => &["throttle"],
                    (LimitKind::Quota(_), ..) => &["quota"],
                };
                assert!(allowed.contains(&class), "{}: {limit:?}: {class}", profile.provider);
            }
            if profile.unverified.is_some() {
                let rule = options.senders;
                let class = class(profile, rule.phase, &rule.effect("app@example.org").unwrap());
                assert_eq!(class, "configuration of the sender", "{}", profile.provider);
            }
        }
    }

    #[test]
    fn each_profile_makes_a_sink_and_has_names_of_its_own() {
        let mut names = BTreeSet::new();
        for profile in SinkProfile::all() {
            let options = profile.options(Certificate::self_made("localhost").unwrap());
            assert!(options.senders.effect("ann@example.org").is_some(), "{}", profile.provider);
            for (code, words) in profile.words {
                assert!([530, 535, 552].contains(code), "{code}");
                assert!(words.starts_with(['4', '5']), "{words}");
            }
            for name in profile.names {
                assert!(names.insert(*name), "{name} twice");
                assert_eq!(SinkProfile::named(name).map(|found| found.host), Some(profile.host));
            }
        }
        let firsts: Vec<&str> = SinkProfile::all().iter().map(|profile| profile.names[0]).collect();
        assert!(firsts.is_sorted(), "{firsts:?}");
        assert!(SinkProfile::named("nobody").is_none());
    }
}
