//! Tests of what the queue decides, without tasks, disk and network: events and reports are made up, what is recorded is
//! kept in memory, and time passes only when a test says so. They are exact: nothing is waited for.
//!
//! `world.rs` has the queue's state, the relay and the spool of most of them. What needs a real spool is in
//! `queue/tests/`.

mod bounces;
mod connections;
mod copies;
mod deferred_alike;
mod figures;
mod logins;
mod logins_missing;
mod many;
mod model;
mod null_sender;
mod orders;
mod outages;
mod patience;
mod pauses;
mod poison;
mod poison_alone;
mod poison_in_numbers;
mod rates;
mod refusals;
mod retries;
mod routes;
mod routes_apart;
mod routes_at_random;
mod senders;
mod sessions;
mod throttle;
mod waits;
mod world;

use super::{Effect, Event, Reducer};
use crate::queue::clock::Moment;
use crate::queue::{MessageStanding, QueueStatus, Standing};

/// Returns the effects of an event that happens at the moment `now`.
fn effects_of(reducer: &mut Reducer, event: Event, now: Moment) -> Vec<Effect> {
    let mut effects = Vec::new();
    reducer.on(event, now, &mut effects);
    effects
}

/// The figures of the queue count each of these messages, which are all that there are, in the state in which it is
/// listed.
fn assert_figures(status: &QueueStatus, listed: &[MessageStanding]) {
    let count = |is: fn(&Standing) -> bool| listed.iter().filter(|message| is(&message.standing)).count();
    let counted = [
        count(|standing| *standing == Standing::Ready),
        count(|standing| *standing == Standing::UnderWay),
        count(|standing| matches!(standing, Standing::Waiting(_))),
        count(|standing| *standing == Standing::Held),
        count(|standing| *standing == Standing::OnHold),
        count(|standing| *standing == Standing::Dead),
    ];
    let figures = [status.ready, status.under_way, status.deferred, status.held, status.on_hold, status.dead];
    assert_eq!((figures, status.live), (counted, listed.len()), "{status:?}");
    for relay in &status.relays {
        assert!(
            relay.ready + relay.under_way + relay.deferred + relay.held + relay.on_hold <= relay.live,
            "{relay:?}"
        );
    }
    let alone = status.relays.len() == 1 && status.routes.0.is_empty() && status.retired_connections == 0;
    let [relay, ..] = &status.relays[..] else { return };
    if alone && relay.live == status.live {
        let of_relay = [relay.ready, relay.under_way, relay.deferred, relay.held, relay.on_hold];
        assert_eq!(of_relay, figures[..5]);
    }
}
