//! The lines about standing orders of operators.

use std::fmt;

use jiff::Timestamp;
use tracing::{info, warn};

use super::text::{Foreign, counted, foreign};
use crate::queue_id::QueueId;

/// Logs that a message was accepted and put on hold.
pub fn came_on_hold(id: QueueId, by: &str) {
    info!(queue_id = %id, "{id}: put on hold as it came in, by {}", Foreign(by));
}

/// Logs that an operator has made a hold rule: `terms` say who and why.
pub fn hold_rule_made(
    number: u32,
    conditions: &dyn fmt::Display,
    until: Option<Timestamp>,
    uid: u32,
    terms: &dyn fmt::Display,
) {
    let until = end_of(until);
    warn!(
        uid,
        "hold rule {number}: new mail {} is put on hold until {until}, as ordered by {}",
        foreign(conditions),
        foreign(terms)
    );
}

/// Logs that an operator has lifted a hold rule.
pub fn hold_rule_lifted(number: u32, messages: u64, uid: u32, by: &dyn fmt::Display) {
    info!(uid, "hold rule {number}: lifted by {}; {}", foreign(by), staying(messages));
}

/// Logs that the time of a hold rule is over.
pub fn hold_rule_ended(number: u32, messages: u64) {
    info!("hold rule {number}: its time is over; {}", staying(messages));
}

/// Logs that an operator has paused a part of the daemon: `terms` say who and why.
pub fn paused(scope: &dyn fmt::Display, until: Option<Timestamp>, uid: u32, terms: &dyn fmt::Display) {
    let (scope, until, terms) = (foreign(scope), end_of(until), foreign(terms));
    warn!(uid, "{scope} is paused until {until}, as ordered by {terms}");
}

/// Logs at a start that a part of the daemon is paused.
pub fn still_paused(
    scope: &dyn fmt::Display,
    since: Timestamp,
    until: Option<Timestamp>,
    terms: &dyn fmt::Display,
) {
    let (scope, until, terms) = (foreign(scope), end_of(until), foreign(terms));
    warn!("{scope} is still paused, since {since:.0} and until {until}, as ordered by {terms}");
}

/// Logs that a pause is about a route that the configuration does not have.
pub fn pause_without_route(route: &str) {
    let route = Foreign(route);
    warn!(
        "delivery by route {route} is paused, and the configuration has no such route: the mail that went by it is not paused, and \
         goes as the configuration says; nullmta resume delivery --route {route} ends the pause, nullmta pause delivery pauses all"
    );
}

/// Logs that an operator has lifted a pause.
pub fn resumed(scope: &dyn fmt::Display, uid: u32, by: &dyn fmt::Display) {
    info!(uid, "{} goes on, as ordered by {}", foreign(scope), foreign(by));
}

/// Logs that the time of a pause is over.
pub fn pause_ended(scope: &dyn fmt::Display) {
    info!("{} goes on: the time of its pause is over", foreign(scope));
}

/// Returns when an order ends.
fn end_of(until: Option<Timestamp>) -> String {
    until.map_or("it is lifted".to_owned(), |until| format!("{until:.0}"))
}

/// Returns what becomes of the messages that a rule has held.
fn staying(messages: u64) -> String {
    format!(
        "what it has put on hold, {} since the start, stays so until it is released",
        counted(messages, "message")
    )
}
