//! How fast the relay gets mail: by the configured rates, and by what it says of its own.

use std::num::NonZeroU32;
use std::time::Duration;

use super::super::Event;
use super::world::{DAY, Does, HOUR, MINUTE, SECOND, TAKING, World};
use crate::config::{Rate, RatePeriod};

const TAKES_TIME: Does = Does::HasLimits { at_once: usize::MAX, each_connection: usize::MAX };

fn rate(messages: u32, per: RatePeriod) -> Rate {
    Rate { messages: NonZeroU32::new(messages).unwrap(), per }
}

/// Returns a world with twenty connections and this rate.
fn world_with(messages: u32, per: RatePeriod) -> World {
    let mut world = World::with(20, |set_up| set_up.relay().rates = vec![rate(messages, per)]);
    world.relay_always(TAKES_TIME);
    world
}

#[test]
fn all_connections_together_keep_the_rate_and_are_no_more_than_it_needs() {
    let mut world = world_with(5, RatePeriod::Second);
    world.arrive(50);
    let passed = world.pass_until_live(0, TAKING);
    assert!(passed >= SECOND * 49 / 5 && passed <= SECOND * 11, "{passed:?}");
    assert_eq!(world.given.len(), 50, "no message was tried twice");
    assert_eq!(world.most_open, 1, "a tenth of a second for each of five");
}

#[test]
fn a_slow_relay_gets_the_connections_that_the_rate_needs() {
    let mut world = world_with(5, RatePeriod::Second);
    world.relay.pace.transmitting = SECOND * 2;
    world.arrive(50);
    let passed = world.pass_until_live(0, TAKING);
    assert!(passed <= SECOND * 15, "{passed:?}");
    assert!((8..=14).contains(&world.most_open), "{}", world.most_open);
}

#[test]
fn a_daily_rate_sends_a_tenth_at_once_and_a_restart_gives_nothing_more() {
    let mut world = world_with(1000, RatePeriod::Day);
    world.arrive(500);
    world.pass(MINUTE);
    assert_eq!(world.seen.len(), 100);
    for _ in 0..20 {
        world.restart();
        world.pass(SECOND);
    }
    assert!(world.seen.len() <= 102, "{}", world.seen.len());
    world.reload();
    world.pass(SECOND);
    assert!(world.seen.len() <= 102, "{}", world.seen.len());
    world.pass(DAY);
    assert_eq!(world.status().live, 0, "all of them went within a day");
}

#[test]
fn each_further_transaction_of_a_message_counts() {
    let to: Vec<String> = (0..120).map(|number| format!("a{number}@example.net")).collect();
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    for (messages, per, apart) in [(2, RatePeriod::Second, 0), (6, RatePeriod::Minute, 9)] {
        let mut world = world_with(messages, per);
        let id = world.submit("app@example.org", &to);
        world.pass(MINUTE);
        let at: Vec<i64> = world.seen.iter().map(|seen| seen.at).collect();
        assert_eq!((world.times_seen(id), world.status().live), (3, 0), "{messages}: {at:?}");
        assert!(at.windows(2).all(|pair| pair[1] - pair[0] >= apart), "{messages}: {at:?}");
        let told: usize = world.seen.iter().map(|seen| seen.to.len()).sum();
        assert_eq!((told, world.logged("deferred")), (120, 0), "each recipient once");
    }
}

/// With one connection it was told "too fast" once a second, and paused for ever longer, or went on as fast.
#[test]
fn a_relay_that_says_too_fast_gets_half_the_rate_and_then_slowly_more() {
    let mut world = World::new(1);
    world.relay_always(Does::HasRate(4));
    world.arrive(600);
    world.pass(SECOND * 20);
    let status = world.status();
    let slowed = status.relays[0].pace.slowed_to.clone().expect("it is slowed");
    let passed = world.pass_until_live(0, SECOND);
    assert!(passed <= SECOND * 400, "{passed:?}, slowed to {slowed} at first");
    let tries = world.given.len();
    // Three replies together tell it each time, since one could be about its message.
    assert!(tries <= 800, "{tries} tries for 600 messages");
    assert_eq!(world.logged("bounced"), 0);
    world.pass(HOUR);
    world.arrive(1);
    assert_eq!(world.status().relays[0].pace.slowed_to, None, "it is forgotten");
}

#[test]
fn the_status_shows_the_slow_start_after_an_outage() {
    let mut world = World::new(20);
    world.relay_always(Does::IsAway);
    world.arrive(100);
    let pace = |world: &mut World| world.status().relays[0].pace.clone();
    assert_eq!((pace(&mut world).connections_allowed, pace(&mut world).max_connections), (1, 20));
    world.relay_always(TAKES_TIME);
    let mut allowed = Vec::new();
    while world.status().live > 0 {
        world.pass(TAKING);
        allowed.push(pace(&mut world).connections_allowed);
    }
    assert!(allowed.is_sorted() && allowed.last() == Some(&20), "{allowed:?}");
    assert!(allowed.iter().any(|some| (2..20).contains(some)), "{allowed:?}");
}

#[test]
fn the_status_shows_the_rates_and_when_the_next_message_goes() {
    let mut world = world_with(60, RatePeriod::Hour);
    let pace = world.status().relays[0].pace.clone();
    assert_eq!((pace.rates, pace.next_message), (vec![("60/h".into(), 6)], None));
    world.arrive(10);
    world.pass(SECOND);
    let pace = world.status().relays[0].pace.clone();
    assert_eq!(pace.rates, [("60/h".into(), 0)]);
    assert!(pace.next_message.is_some_and(|next| next > world.time_of_day()));
}

/// A flush probes a relay, and tries what is deferred; it does not send faster than the relay may be sent to.
#[test]
fn a_flush_does_not_break_the_rate() {
    let mut world = world_with(10, RatePeriod::Hour);
    world.arrive(20);
    (0..10).for_each(|_| world.tell(Event::ProbeNow));
    world.pass(SECOND);
    assert_eq!(world.seen.len(), 1);
}

/// 100,000 messages of one submitter are queued, and the relay takes 14 a second: two hours' worth.
#[test]
fn a_single_message_is_not_behind_the_mail_of_another_submitter() {
    let mut world = world_with(14, RatePeriod::Second);
    world.arrive(100_000);
    world.pass(SECOND);
    world.lane = 2;
    let id = world.submit("ann@example.org", &["bob@example.net"]);
    let mut waited = Duration::ZERO;
    while world.times_seen(id) == 0 {
        world.pass(TAKING / 10);
        waited += TAKING / 10;
        assert!(waited < SECOND * 2, "{waited:?}");
    }
    assert!(world.status().live > 99_900);
}

/// After a restart each route had used what the other one had.
#[test]
fn two_routes_to_the_same_relay_keep_to_their_own_rates_over_a_restart() {
    let mut world = World::with(20, |set_up| {
        set_up.add_route("shop", &["shop@example.org"], &[]);
        for relay in &mut set_up.policy.relays {
            relay.refusals.relay = "relay.example:587".into();
            relay.rates = vec![rate(100, RatePeriod::Day)];
        }
    });
    let brought =
        |world: &World, by: Option<&str>| world.via.iter().filter(|(via, _)| via.as_deref() == by).count();
    (0..30).for_each(|_| _ = world.submit("app@example.org", &["ann@example.net"]));
    world.pass(SECOND);
    world.restart();
    (0..30).for_each(|_| _ = world.submit("shop@example.org", &["ann@example.net"]));
    world.pass(SECOND);
    world.restart();
    world.pass(SECOND);
    assert_eq!((brought(&world, None), brought(&world, Some("shop"))), (10, 10));
}

/// Whatever the relay says of the rate, and whenever nullmta starts anew, mail is never faster than is configured, nor
/// slower than one message a minute, and all of it gets through.
#[test]
fn what_the_relay_asks_for_stays_between_the_least_and_the_configured_rate() {
    for seed in 0..20_u64 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut world = world_with(5, RatePeriod::Second);
        world.arrive(400);
        let mut floors = Vec::new();
        for _ in 0..60 {
            world.relay_always(if random.bool() { TAKES_TIME } else { Does::HasRate(random.usize(1..5)) });
            world.pass(SECOND * random.u32(1..20));
            if random.u8(..10) == 0 {
                world.restart();
            }
            let pace = world.status().relays[0].pace.clone();
            floors.extend(pace.slowed_to);
        }
        assert!(!floors.contains(&"0.0/min".to_owned()), "{floors:?}");
        world.relay_always(TAKES_TIME);
        let passed = world.pass_until_live(0, SECOND);
        assert!(passed <= MINUTE * 15, "seed {seed}: {passed:?}");
        let at: Vec<i64> = world.seen.iter().map(|seen| seen.at).collect();
        // Times are whole seconds here: six may begin within one that is none of the clock's.
        assert!(at.windows(7).all(|few| few[6] > few[0]), "seed {seed}: {at:?}");
        assert_eq!(world.logged("status=bounced") + world.logged("status=expired"), 0, "seed {seed}");
        world.pass(HOUR);
        assert_eq!(world.status().relays[0].pace.slowed_to, None, "seed {seed}: it recovers");
    }
}
