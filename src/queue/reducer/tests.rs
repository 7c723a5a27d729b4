//! Tests of what the queue decides, without tasks, disk and network: events and reports are made up, what is recorded is
//! kept in memory, and time passes only when a test says so. They are exact: nothing is waited for.
//!
//! `world.rs` has the queue's state, the relay and the spool of most of them. What needs a real spool is in
//! `queue/tests/`.

mod bounces;
mod connections;
mod copies;
mod deferred_alike;
mod logins;
mod logins_missing;
mod many;
mod model;
mod null_sender;
mod outages;
mod patience;
mod poison;
mod poison_alone;
mod poison_in_numbers;
mod rates;
mod refusals;
mod retries;
mod routes;
mod routes_apart;
mod routes_at_random;
mod sessions;
mod throttle;
mod waits;
mod world;

use super::{Effect, Event, Reducer};
use crate::queue::clock::Moment;

/// Returns the effects of an event that happens at the moment `now`.
fn effects_of(reducer: &mut Reducer, event: Event, now: Moment) -> Vec<Effect> {
    let mut effects = Vec::new();
    reducer.on(event, now, &mut effects);
    effects
}
