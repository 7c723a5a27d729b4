//! `nullmta relay-reply` and the list of `nullmta check --relay-rules`: what a relay's replies mean.
//!
//! Promises: both ask the rules that the daemon asks; nothing is connected to, and no daemon is needed. The rules are those
//! for the top-level relayhost, or for that of the route which is named; of several hosts `relay-reply` takes the first one,
//! unless another one is named.

use std::io::{self, Write};
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::ConfigFile;
use super::exit::{Exit, Failure};
use super::output::{printed, say};
use super::queue::print_json;
use crate::config::{Config, Means, RelayConfig, ReplyPhase, RuleScope, units_of_time};
use crate::key_names::on_route;
use crate::log::is_harmful;
use crate::relay::{Excess, ExplainedReply, ReplyConsequence, ReplyRules, ShownRule, WaitClass, WaitReason};

/// Show what would be made of a reply of the relay
#[derive(Args)]
pub(super) struct RelayReplyCommand {
    #[command(flatten)]
    config: ConfigFile,
    /// The reply, as the log shows it: "550 5.4.5 Daily user sending limit exceeded"
    #[arg(value_name = "REPLY")]
    reply: String,
    /// What it answers: greeting, ehlo, starttls, auth, mail, rcpt, data or dot
    #[arg(long, value_parser = phase, default_value = "dot")]
    phase: ReplyPhase,
    /// The relay's host name, in place of that in the configuration
    #[arg(long, value_name = "HOST")]
    relayhost: Option<String>,
    /// The name of the route ([[route]]) by whose relay it is said, in place of the top-level relayhost
    #[arg(long, value_name = "NAME")]
    route: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Returns the relay of the route with this name; that of the top-level `relayhost` if none is named.
pub(super) fn relay_of<'c>(config: &'c Config, route: Option<&str>) -> Result<&'c RelayConfig, Failure> {
    let Some(name) = route else { return Ok(&config.relay) };
    let named = config.routes.iter().find(|route| route.rule.name == name);
    named.map(|route| &route.relay).ok_or_else(|| {
        let names: Vec<&str> = config.routes.iter().map(|route| &*route.rule.name).collect();
        let known = if names.is_empty() { "there is none".into() } else { names.join(", ") };
        Failure::new(
            Exit::Usage,
            format!("no route has the name {name:?}; the configuration's routes: {known}"),
        )
    })
}

fn phase(name: &str) -> Result<ReplyPhase, String> {
    let names = ReplyPhase::ALL.map(ReplyPhase::name).join(", ");
    ReplyPhase::named(name).ok_or_else(|| format!("expected one of {names}"))
}

impl RelayReplyCommand {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let rules = self.rules()?;
        let usage =
            || Failure::new(Exit::Usage, "REPLY: expected a code from 200 to 599, and what follows it");
        let explained = rules.explain(self.phase, &self.reply, Timestamp::now()).ok_or_else(usage)?;
        let shown = ShownReply::of(explained, self.route.as_deref());
        if self.json {
            return printed(print_json(&shown));
        }
        say!("class: {}", shown.class)?;
        say!("rule: {}", shown.rule.as_deref().unwrap_or("none fits: the code decides"))?;
        if let Some(scope) = shown.scope {
            say!("scope: {scope}")?;
        }
        if let Some(seconds) = shown.pause_seconds {
            say!("pause: {}", in_units(Duration::from_secs(seconds)))?;
        }
        say!("{}", shown.consequence)?;
        match shown.hint {
            Some(hint) => say!("To do: {hint}"),
            None => Ok(()),
        }
    }

    /// Returns the rules for the relay that is named. Where one is named, there may be no configuration.
    fn rules(&self) -> Result<ReplyRules, Failure> {
        let config = Config::read(&self.config.config);
        match (&self.relayhost, config) {
            (named, Ok(config)) => {
                let relay = relay_of(&config, self.route.as_deref())?;
                let host = named.clone().unwrap_or_else(|| relay.hosts[0].telling_name().to_string());
                Ok(ReplyRules::of(relay, &host))
            }
            (Some(host), Err(_)) if self.route.is_none() && !self.config.config.exists() => {
                Ok(ReplyRules::new(&[], host))
            }
            (_, Err(error)) => Err(super::config_failure(error)),
        }
    }
}

/// A reply with its meaning, as it is shown.
#[derive(Serialize)]
struct ShownReply {
    class: &'static str,
    rule: Option<String>,
    scope: Option<&'static str>,
    pause_seconds: Option<u64>,
    consequence: &'static str,
    hint: Option<String>,
}

impl ShownReply {
    fn of(explained: ExplainedReply, route: Option<&str>) -> Self {
        let ExplainedReply { rule, becomes, advice } = explained;
        let reason = match becomes {
            ReplyConsequence::Waits(reason) => Some(reason),
            _ => None,
        };
        let hint = reason.and_then(|reason| reason.hint).or(advice.as_deref());
        let (class, consequence) = words(becomes);
        let scope = |reason: WaitReason| match reason.class {
            WaitClass::Configuration(scope) => Some(scope_word(scope)),
            WaitClass::Throttle(_) | WaitClass::Quota => None,
        };
        ShownReply {
            class,
            rule: rule.map(|rule| on_route(&rule.to_string(), route).into_owned()),
            scope: reason.and_then(scope),
            pause_seconds: reason.and_then(|reason| reason.pause).map(|pause| pause.as_secs()),
            consequence,
            hint: hint.map(|hint| on_route(hint, route).into_owned()),
        }
    }
}

/// Returns the class of a reply, and a sentence that says what becomes of the message.
fn words(becomes: ReplyConsequence) -> (&'static str, &'static str) {
    match becomes {
        ReplyConsequence::GoesOn => ("success", "The dialogue goes on."),
        ReplyConsequence::Sent => ("sent", "The message is sent."),
        ReplyConsequence::Deferred => {
            ("deferral", "The message is deferred: it is tried again by its age, until its lifetime is over.")
        }
        ReplyConsequence::Bounced => (
            "permanent",
            "The message bounces, unless queue.on-refusal or the relay's other replies have it held.",
        ),
        ReplyConsequence::RelayTrouble => {
            ("relay trouble", "The relay is probed until it works again; no message is charged for that.")
        }
        ReplyConsequence::Waits(WaitReason { class: WaitClass::Throttle(Excess::Session), .. }) => (
            "throttle",
            "This connection gets no more mail; the message is sent again at once over another one, and is not charged.",
        ),
        ReplyConsequence::Waits(WaitReason { class: WaitClass::Throttle(_), .. }) => {
            ("throttle", "The relay gets less at once; the message is sent again soon, and is not charged.")
        }
        ReplyConsequence::Waits(WaitReason { class: WaitClass::Quota, rule, .. }) if rule.is_guess() => (
            "quota",
            "The relay is paused and then probed with one message; the message bounces only if this is still said \
             when its lifetime is over.",
        ),
        ReplyConsequence::Waits(WaitReason { class: WaitClass::Quota, .. }) => {
            ("quota", "The relay is paused and then probed with one message; nothing bounces.")
        }
        ReplyConsequence::Waits(WaitReason {
            class: WaitClass::Configuration(RuleScope::Route),
            rule,
            ..
        }) if rule.is_guess() => (
            "configuration",
            "The relay is paused and probed slowly until this is corrected; a message to which it says this while it \
             takes others is tried by its age, and bounces when its lifetime is over.",
        ),
        ReplyConsequence::Waits(WaitReason { class: WaitClass::Configuration(RuleScope::Route), .. }) => (
            "configuration",
            "The relay is paused and probed slowly until this is corrected; nothing bounces.",
        ),
        ReplyConsequence::Waits(WaitReason {
            class: WaitClass::Configuration(RuleScope::Sender), ..
        }) => (
            "configuration",
            "The message is held, and so is other mail from its sender; all else goes on. One such message is tried \
             again each hour.",
        ),
    }
}

fn scope_word(scope: RuleScope) -> &'static str {
    match scope {
        RuleScope::Route => "route",
        RuleScope::Sender => "sender",
    }
}

/// Returns a time as the configuration has it: `1h30m`.
fn in_units(time: Duration) -> String {
    let (mut seconds, mut text) = (time.as_secs(), String::new());
    for (unit, length) in units_of_time().filter(|(unit, _)| *unit != "w" && *unit != "d") {
        if seconds >= length {
            text += &format!("{}{unit}", seconds / length);
            seconds %= length;
        }
    }
    text
}

/// A rule, as it is shown.
#[derive(Serialize)]
struct RuleLine {
    relayhost: String,
    rule: String,
    r#match: String,
    phase: Vec<&'static str>,
    means: &'static str,
    scope: Option<&'static str>,
    pause_seconds: Option<u64>,
}

impl RuleLine {
    fn of(relayhost: &str, route: Option<&str>, rule: &ShownRule<'_>) -> Self {
        let is_configuration = rule.means == Some(Means::Configuration);
        RuleLine {
            relayhost: relayhost.to_owned(),
            rule: on_route(&rule.name.to_string(), route).into_owned(),
            r#match: rule.pattern.to_owned(),
            phase: rule.phases.iter().map(|phase| phase.name()).collect(),
            means: rule.means.map_or("as its code says", Means::name),
            scope: is_configuration.then(|| scope_word(rule.scope)),
            pause_seconds: rule.pause.map(|pause| pause.as_secs()),
        }
    }

    fn text(&self) -> String {
        let RuleLine { rule, r#match, phase, means, scope, pause_seconds, .. } = self;
        let at = if phase.is_empty() { "any phase".into() } else { phase.join(", ") };
        let scope = scope.map_or(String::new(), |scope| format!(" ({scope})"));
        let pause =
            pause_seconds.map(|seconds| format!(", pause {}", in_units(Duration::from_secs(seconds))));
        let text =
            format!("  {rule}\n    {means}{scope}{}, at {at}\n    {match}\n", pause.unwrap_or_default());
        text.replace(|c: char| is_harmful(c) && c != '\n', "?")
    }
}

/// Prints the rules in force for each relayhost of a route, or of no route, in the order in which they are tried.
pub(super) fn print_rules(config: &Config, route: Option<&str>, as_json: bool) -> Result<(), Failure> {
    let relay = relay_of(config, route)?;
    for host in &relay.hosts {
        let name = host.telling_name().to_string();
        let rules = ReplyRules::of(relay, &name);
        if !as_json {
            let provider = rules.provider().map_or(String::new(), |provider| format!(" ({provider})"));
            say!("Replies of {host}{provider} have the meaning of the first rule that fits:")?;
        }
        for rule in rules.in_force() {
            let line = RuleLine::of(&host.to_string(), route, &rule);
            printed(match as_json {
                true => print_json(&line),
                false => write!(io::stdout(), "{}", line.text()),
            })?;
        }
    }
    Ok(())
}
