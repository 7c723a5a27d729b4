//! What came of a flush at a relay, by its figures before and after it.

use super::*;
use crate::message::dsn::Overseers;
use crate::queue::{PaceStatus, RelayCounts, RelayTimes};
use crate::routing::Routes;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

/// Returns a relay with a deferred message, which has been reached once.
fn relay() -> RelayStatus {
    RelayStatus {
        halted_by: None,
        route: None,
        name: "relay.example".into(),
        live: 1,
        ready: 0,
        under_way: 0,
        deferred: 1,
        held: 0,
        on_hold: 0,
        connections: 0,
        oldest: None,
        counts: RelayCounts::default(),
        times: RelayTimes::default(),
        reached: 1,
        troubles: 1,
        is_untried: false,
        paused_since: None,
        paused_until: None,
        trouble: None,
        trouble_outline: None,
        trouble_advice: None,
        fault: None,
        expiring: Vec::new(),
        ends: Vec::new(),
        passed_over: Vec::new(),
        unwritten_token: None,
        held_senders: Vec::new(),
        held_because: None,
        pace: PaceStatus {
            max_connections: 1,
            connections_allowed: 1,
            fewer_because: None,
            rates: Vec::new(),
            slowed_to: None,
            recipients_limited_to: None,
            domains_limited_to: None,
            next_message: None,
        },
    }
}

/// Returns the same relay, which was tried with success.
fn tried() -> RelayStatus {
    RelayStatus { reached: 2, ..relay() }
}

fn paused(relay: RelayStatus, until: i64) -> RelayStatus {
    let trouble = Some("quota: used up".into());
    RelayStatus { paused_since: Some(at(0)), paused_until: Some(at(until)), trouble, ..relay }
}

fn ready(relay: RelayStatus) -> RelayStatus {
    RelayStatus { ready: 1, deferred: 0, ..relay }
}

#[test]
fn what_happened_at_a_relay_follows_from_its_figures() {
    let troubled = |relay: RelayStatus| RelayStatus { troubles: 2, ..relay };
    let empty = RelayStatus { live: 0, deferred: 0, ..relay() };
    let dead = RelayStatus { live: 1, ..empty.clone() };
    let held = RelayStatus { held: 1, ..empty.clone() };
    let cases = [
        ("nothing to try", empty.clone(), empty.clone(), Contact::NotNeeded),
        ("only dead mail", dead.clone(), dead, Contact::NotNeeded),
        ("tried, and deferred again", relay(), tried(), Contact::Reached),
        ("tried over a connection that was open", relay(), relay(), Contact::Reached),
        ("held mail is tried as well", held.clone(), held, Contact::Reached),
        ("it waits to be tried", relay(), ready(relay()), Contact::Awaited),
        ("nothing answers", relay(), paused(troubled(ready(relay())), 8), Contact::NotReached),
        ("nothing answers, and it is not paused", relay(), troubled(ready(relay())), Contact::NotReached),
        ("a quota, said again", relay(), paused(troubled(ready(tried())), 3600), Contact::Paused),
        ("a quota, whose probe is under way", relay(), paused(ready(relay()), 5), Contact::Awaited),
        ("a quota, whose connection is open", relay(), paused(ready(tried()), 5), Contact::Awaited),
        ("poison, lost again", relay(), paused(ready(tried()), 11), Contact::Paused),
        ("poison, lost and deferred", relay(), paused(tried(), 5), Contact::Paused),
    ];
    for (case, before, now, expected) in cases {
        assert_eq!(contact(Some(&before), &now, at(10)), expected, "{case}");
    }
    let new = RelayStatus { reached: 0, troubles: 0, ..empty };
    assert_eq!(contact(None, &new, at(10)), Contact::NotNeeded, "a route of a reload");
}

fn queue(relay: RelayStatus) -> QueueStatus {
    QueueStatus {
        cannot_record: false,
        overseers: Overseers::default(),
        live: relay.live,
        ready: relay.ready,
        under_way: relay.under_way,
        deferred: relay.deferred,
        held: relay.held,
        on_hold: 0,
        dead: 0,
        newest_dead: None,
        astray: 0,
        relays: vec![relay],
        routes: Routes::default(),
        retired_connections: 0,
    }
}

/// A flush during a quota said that the relay was reached, and no word of the quota.
#[test]
fn a_long_pause_ends_the_wait_and_is_told() {
    let now = paused(RelayStatus { troubles: 2, ..ready(tried()) }, 3600);
    let progress = FlushProgress::between(&queue(relay()), queue(now), None, at(10));
    assert!(progress.is_settled());
    let flushed = progress.flushed(1);
    assert_eq!((flushed.relay, flushed.trouble.as_deref()), (Contact::Paused, Some("quota: used up")));
    assert_eq!(flushed.relays[0].relay, Contact::Paused);
    let short = paused(RelayStatus { troubles: 2, ..ready(tried()) }, 11);
    assert!(!FlushProgress::between(&queue(relay()), queue(short), None, at(10)).is_settled());
}
