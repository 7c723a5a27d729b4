//! Warnings about rules of `[[relay.reply]]` that change nothing.
//!
//! Before the first message a relay can refuse no message. So a rule that calls a reply to EHLO or to a login permanent, or a
//! deferral, decides about none (`relay/verdict.rs`).

use crate::config::{Means, RelayConfig, ReplyPhase, ReplyRule};

/// Returns a warning for each rule of `relay` that names a phase at which it has no effect.
pub(super) fn without_effect(relay: &RelayConfig) -> Vec<String> {
    relay.replies.iter().enumerate().filter_map(|(place, rule)| of_rule(place + 1, rule)).collect()
}

fn of_rule(number: usize, rule: &ReplyRule) -> Option<String> {
    match rule.means {
        Means::Permanent | Means::Deferral => {}
        Means::Throttle | Means::Quota | Means::Configuration => return None,
    }
    let (idle, useful): (Vec<ReplyPhase>, Vec<ReplyPhase>) =
        rule.phases.iter().partition(|phase| is_before_mail(**phase));
    if idle.is_empty() {
        return None;
    }
    let idle: Vec<&str> = idle.into_iter().map(ReplyPhase::name).collect();
    let idle = idle.join(", ");
    let remedy = if useful.is_empty() {
        "leave the rule out, or say quota or configuration if mail is to wait longer".into()
    } else {
        format!("take {idle} out of its phase")
    };
    Some(format!(
        "[[relay.reply]] {number}: means = \"{}\" has no effect at {idle}: what a relay says there is about no message, so that \
         all mail waits and nothing bounces, with the rule or without; {remedy}",
        rule.means.name()
    ))
}

/// Returns whether no message was named to the relay by then.
fn is_before_mail(phase: ReplyPhase) -> bool {
    match phase {
        ReplyPhase::Greeting | ReplyPhase::Ehlo | ReplyPhase::StartTls | ReplyPhase::Auth => true,
        ReplyPhase::Mail | ReplyPhase::Rcpt | ReplyPhase::Data | ReplyPhase::Dot => false,
    }
}
