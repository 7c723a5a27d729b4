//! Warnings about routes that take no mail, or not the mail that they seem to take.
//!
//! A route is chosen by the addresses after rewriting, so that one by `senders` may be in vain beside `rewrite.sender`.

use std::collections::BTreeSet;

use crate::config::Config;
use crate::config::file::ConfigFile;
use crate::envelope::Address;
use crate::message::rewrite::Class;
use crate::routing::{AddressPattern, RouteRule, SenderPattern, SendersIn};

/// A local part for examples.
const SOMEONE: &str = "app";

/// Returns a warning for each route that an earlier one leaves nothing to, and for each address in a route that no mail
/// has after rewriting.
pub(super) fn idle(file: &ConfigFile, config: &Config) -> Vec<String> {
    let routes = config.routing();
    let shadowed = routes.shadowed();
    let said = shadowed.iter().map(|(route, earlier)| {
        format!(
            "no mail ever takes the route {}: the route {}, which stands before it, takes all of its mail; put the more \
             special one first",
            route.name, earlier.name
        )
    });
    let idle: BTreeSet<&str> = shadowed.iter().map(|(route, _)| route.name.as_str()).collect();
    let is_shadowed = |route: &&RouteRule| idle.contains(route.name.as_str());
    let rewritten = routes.0.iter().filter(|route| !is_shadowed(route)).flat_map(|route| {
        let senders = lost_senders(file, config, route);
        senders.into_iter().chain(lost_recipients(config, route))
    });
    said.chain(rewritten).collect()
}

/// Returns a warning for the senders of the route that no mail has.
fn lost_senders(file: &ConfigFile, config: &Config, route: &RouteRule) -> Option<String> {
    let (class, rules) = match route.senders_in {
        SendersIn::Envelope => (Class::EnvelopeSender, &config.rewrite),
        // A header rule may write any author.
        SendersIn::HeaderFrom if !file.rewrite.header.is_empty() => return None,
        SendersIn::HeaderFrom => (Class::HeaderSender, &config.rewrite),
    };
    let is_lost = |pattern: &&AddressPattern| {
        let outgoing = rules.outgoing_senders(class, |user| pattern.sample(user));
        !outgoing.iter().any(|address| pattern.fits(address))
    };
    let patterns = route.senders.iter().filter_map(|sender| match sender {
        SenderPattern::Null => None,
        SenderPattern::Address(pattern) => Some(pattern),
    });
    let lost: Vec<&AddressPattern> = patterns.filter(is_lost).collect();
    let sender = lost.first()?.sample(SOMEONE)?;
    let sent = match class {
        Class::HeaderSender => rules.author_for(&sender),
        _ => rules.sender_for(&sender),
    };
    Some(format!(
        "{}: routes are chosen after rewriting, by which mail from {sender} goes out as {sent}; name that one in senders, or \
         put the domain into rewrite.verified-domains if rewrite.sender changes it, or choose by recipients or uid",
        taken(route, "senders", &lost, route.senders.len())
    ))
}

/// Returns a warning for the recipients of the route that no mail has: neither mail that is submitted, nor a bounce.
fn lost_recipients(config: &Config, route: &RouteRule) -> Option<String> {
    let rules = &config.rewrite;
    let overseers = [&config.queue.bounce_copy, &config.queue.postmaster];
    let is_lost = |pattern: &&AddressPattern| {
        let mut outgoing = rules.outgoing_recipients(|user| pattern.sample(user));
        outgoing.extend(rules.outgoing_senders(Class::EnvelopeSender, |user| pattern.sample(user)));
        outgoing.extend(overseers.into_iter().flatten().cloned());
        !outgoing.iter().any(|address| pattern.fits(address))
    };
    let lost: Vec<&AddressPattern> = route.recipients.iter().filter(is_lost).collect();
    let recipient = lost.first()?.sample(SOMEONE)?;
    let sent: Vec<String> = rules.recipients_for(&recipient).iter().map(Address::to_string).collect();
    Some(format!(
        "{}: routes are chosen after rewriting, by which mail to {recipient} goes to {}; name that one in recipients",
        taken(route, "recipients", &lost, route.recipients.len()),
        sent.join(", ")
    ))
}

/// Returns the beginning of a warning about these `lost` patterns of a condition that has `all`.
fn taken(route: &RouteRule, condition: &str, lost: &[&AddressPattern], all: usize) -> String {
    if lost.len() == all {
        return format!("no mail ever takes the route {}", route.name);
    }
    let lost: Vec<String> = lost.iter().map(ToString::to_string).collect();
    format!("no mail takes the route {} by {} in its {condition}", route.name, lost.join(", "))
}
