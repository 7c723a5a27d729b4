use std::time::Duration;

use super::header_memory::{HEADERS, OWN_HEADER};
use super::*;
use crate::listener::tests::listen;

fn limits(sessions: usize, per_uid: usize, rate: Option<u32>) -> Arc<Limits> {
    Limits::new(&config::ListenConfig {
        max_sessions: sessions,
        max_sessions_per_uid: per_uid,
        max_messages_per_minute_per_uid: rate,
        ..listen()
    })
}

#[test]
fn a_permit_counts_in_and_its_drop_counts_out() {
    let (limits, now) = (limits(3, 2, None), Instant::now());
    let ann = [limits.admit(LocalPeer::Uid(1), now).unwrap(), limits.admit(LocalPeer::Uid(1), now).unwrap()];
    assert_eq!(limits.admit(LocalPeer::Uid(1), now).unwrap_err(), Overload::UserSessions);
    let bob = limits.admit(LocalPeer::Uid(2), now).unwrap();
    let loopback = LocalPeer::Loopback("127.0.0.1".parse().unwrap());
    assert_eq!(limits.admit(loopback, now).unwrap_err(), Overload::Sessions);
    assert_eq!(limits.sessions(), 3);
    drop(bob);
    assert_eq!(limits.admit(LocalPeer::Uid(1), now).unwrap_err(), Overload::UserSessions);
    drop(limits.admit(loopback, now).unwrap());
    drop(ann);
    assert_eq!(limits.sessions(), 0);
    assert!(limits.admit(LocalPeer::Uid(1), now).is_ok());
}

/// Two users on the socket took all places, and everybody else got 421, even root and the pick-up.
#[test]
fn users_leave_places_to_others_to_root_and_to_the_pickup() {
    let (limits, now) = (limits(200, 200, None), Instant::now());
    let all = |uid| std::iter::from_fn(|| limits.admit(LocalPeer::Uid(uid), now).ok()).collect::<Vec<_>>();
    let greedy: Vec<_> = (70_001..70_007).map(all).collect();
    let counts: Vec<_> = greedy.iter().map(Vec::len).collect();
    assert_eq!(counts, [96, 48, 24, 12, 6, 3]);
    let newcomer = limits.admit(LocalPeer::Uid(70_100), now).unwrap();
    let _pickup = limits.admit_pickup(LocalPeer::Uid(70_001));
    drop(newcomer);
    let _crowd: Vec<_> = (71_000..72_000).flat_map(all).collect();
    assert!(limits.admit(LocalPeer::Uid(0), now).is_ok());
}

/// Two hundred slow TCP connections of one user took all places, too.
#[test]
fn a_tcp_client_is_counted_among_its_user_s() {
    let (limits, now) = (limits(200, 200, None), Instant::now());
    let loopback = LocalPeer::Loopback("127.0.0.1".parse().unwrap());
    let all = |uid| {
        let seat = |mut permit: Permit| permit.seat(Some(uid), now).is_ok().then_some(permit);
        (0..200).filter_map(|_| limits.admit(loopback, now).ok().and_then(seat)).collect::<Vec<_>>()
    };
    let greedy: Vec<_> = (70_001..70_007).map(all).collect();
    // The numbers are those of the unix socket: one user has half of all places, a second one half of the rest.
    assert_eq!(greedy.iter().map(Vec::len).collect::<Vec<_>>(), [96, 48, 24, 12, 6, 3]);
    assert_eq!(greedy[0][0].peer().to_string(), "localhost[127.0.0.1] uid 70001");
    let mut other = limits.admit(loopback, now).unwrap();
    assert_eq!(other.seat(Some(70_100), now), Ok(()));
    drop((greedy, other));
    assert!(limits.state().users.values().all(|user| user.sessions == 0));
}

/// The first quarter of the places was given without asking for the user, and counted for nobody.
#[test]
fn a_user_has_one_share_on_the_socket_and_over_tcp() {
    let (limits, now) = (limits(200, 10, None), Instant::now());
    let loopback = LocalPeer::Loopback("127.0.0.1".parse().unwrap());
    let mut permits: Vec<_> = (0..4).map(|_| limits.admit(LocalPeer::Uid(70_001), now).unwrap()).collect();
    for _ in 0..6 {
        let mut permit = limits.admit(loopback, now).unwrap();
        assert_eq!(permit.seat(Some(70_001), now), Ok(()));
        permits.push(permit);
    }
    assert_eq!(limits.admit(LocalPeer::Uid(70_001), now).unwrap_err(), Overload::UserSessions);
    let mut permit = limits.admit(loopback, now).unwrap();
    assert_eq!(permit.seat(Some(70_001), now), Err(Overload::UserSessions));
    assert_eq!(permit.seat(None, now), Ok(()), "nobody is told by another's share");
}

#[test]
fn the_last_places_are_not_for_who_is_not_known() {
    let (limits, now) = (limits(20, 20, None), Instant::now());
    let loopback = LocalPeer::Loopback("127.0.0.1".parse().unwrap());
    let mut permits: Vec<_> = (0..20).map(|_| limits.admit(loopback, now).unwrap()).collect();
    assert_eq!(permits[19].seat(None, now), Err(Overload::Sessions));
    assert_eq!(permits[19].seat(Some(0), now), Ok(()));
    permits.truncate(18);
    let mut permit = limits.admit(loopback, now).unwrap();
    assert_eq!(permit.seat(None, now), Ok(()));
}

const LARGE: usize = 1 << 20;

/// Returns how many of the rooms may hold a large header section each.
fn large_of(rooms: &mut [HeaderRoom]) -> usize {
    rooms.iter_mut().filter_map(|room| room.hold(LARGE).then_some(())).count()
}

/// Two hundred sessions with a header of 1 MB each took 219 MB of memory.
#[test]
fn headers_in_memory_have_a_budget_and_give_it_back() {
    let (limits, now) = (limits(200, 200, None), Instant::now());
    let permit = limits.admit(LocalPeer::Uid(0), now).unwrap();
    let mut rooms: Vec<_> = (0..200).map(|_| permit.header()).collect();
    assert_eq!(large_of(&mut rooms), HEADERS / (LARGE - OWN_HEADER));
    assert!(rooms.iter_mut().all(|room| room.hold(OWN_HEADER)), "a usual one always has room");
    assert!(rooms[7].hold(LARGE));
    assert_eq!(limits.headers.held()[&Some(0)], LARGE - OWN_HEADER);
    drop(rooms);
    assert!(limits.headers.held().is_empty());
}

/// The sessions of one user had all of the memory, and large headers of others were refused for as long as they
/// kept it.
#[test]
fn users_leave_memory_for_headers_to_others() {
    let (limits, now) = (limits(200, 200, None), Instant::now());
    let loopback = LocalPeer::Loopback("127.0.0.1".parse().unwrap());
    let of_user = |peer: LocalPeer| {
        let permit = limits.admit(peer, now).unwrap();
        let mut rooms: Vec<_> = (0..20).map(|_| permit.header()).collect();
        (large_of(&mut rooms), rooms)
    };
    let peers = [LocalPeer::Uid(70_001), loopback, LocalPeer::Uid(70_002), loopback.owned_by(Some(70_003))];
    let (counts, held): (Vec<_>, Vec<_>) = peers.into_iter().map(of_user).unzip();
    assert_eq!(counts, [8, 4, 2, 1]);
    let (again, _none) = of_user(LocalPeer::Uid(70_001));
    assert_eq!(again, 0, "a user's sessions have one share");
    let (kept, _root) = of_user(LocalPeer::Uid(0));
    assert_eq!(kept, 1, "root has what is left");
    drop(held);
    assert_eq!(of_user(LocalPeer::Uid(70_001)).0, 7);
}

#[test]
fn sessions_leave_descriptors_to_spool_and_relay() {
    for (descriptors, sessions) in [(1 << 20, 524_160), (1024, 384), (512, 128), (256, 32), (0, 1)] {
        assert_eq!(sessions_within(descriptors), sessions, "{descriptors}");
    }
}

#[test]
fn a_rate_is_a_burst_and_then_an_even_flow() {
    let (limits, now) = (limits(9, 9, Some(6)), Instant::now());
    let after = |seconds| now + Duration::from_secs(seconds);
    let permit = limits.admit(LocalPeer::Uid(1), now).unwrap();
    assert_eq!((0..8).filter(|_| permit.take_message(now)).count(), 6);
    let cases = [(9, 0), (10, 1), (30, 2), (31, 0), (600, 6), (600, 0)];
    for (seconds, expected) in cases {
        let taken = (0..9).filter(|_| permit.take_message(after(seconds))).count();
        assert_eq!(taken, expected, "after {seconds} s");
    }
    assert!(
        limits.admit(LocalPeer::Uid(2), now).unwrap().take_message(after(600)),
        "another user's own bucket"
    );
    assert!(!permit.take_message(now), "a clock that goes back gives nothing");
}

#[test]
fn hanging_up_refills_nothing() {
    let (limits, now) = (limits(9, 9, Some(1)), Instant::now());
    assert!(limits.admit(LocalPeer::Uid(1), now).unwrap().take_message(now));
    assert!(!limits.admit(LocalPeer::Uid(1), now).unwrap().take_message(now));
}

#[test]
fn loopback_clients_and_hosts_without_a_rate_are_not_slowed() {
    let now = Instant::now();
    let loopback = LocalPeer::Loopback("::1".parse().unwrap());
    let cases = [(limits(9, 9, Some(1)), loopback), (limits(9, 9, None), LocalPeer::Uid(1))];
    for (limits, peer) in cases {
        let permit = limits.admit(peer, now).unwrap();
        assert!((0..100).all(|_| permit.take_message(now)), "{peer}");
    }
}

/// The rate of a user counted on the socket alone.
#[test]
fn a_user_has_one_rate_on_the_socket_and_over_tcp() {
    let (limits, now) = (limits(9, 9, Some(2)), Instant::now());
    let over_tcp = |owner| {
        let loopback = LocalPeer::Loopback("127.0.0.1".parse().unwrap());
        let mut permit = limits.admit(loopback, now).unwrap();
        permit.seat(owner, now).unwrap();
        permit
    };
    assert!(over_tcp(Some(70_001)).take_message(now));
    assert!(limits.admit(LocalPeer::Uid(70_001), now).unwrap().take_message(now));
    assert!(!over_tcp(Some(70_001)).take_message(now), "hanging up refills nothing");
    assert!(over_tcp(Some(70_002)).take_message(now), "another user's own bucket");
    for without_rate in [over_tcp(Some(0)), over_tcp(None)] {
        assert!((0..9).all(|_| without_rate.take_message(now)), "{}", without_rate.peer());
    }
}

#[test]
fn idle_users_are_forgotten_and_busy_ones_are_not() {
    let (limits, now) = (limits(9, 9, Some(1)), Instant::now());
    let kept = limits.admit(LocalPeer::Uid(0), now).unwrap();
    for uid in 1..=1000 {
        assert!(limits.admit(LocalPeer::Uid(uid), now).unwrap().take_message(now));
    }
    assert_eq!(limits.state().users.len(), 1001, "none may be forgotten while it owes");
    drop(limits.admit(LocalPeer::Uid(5000), now + Duration::from_secs(60)).unwrap());
    assert_eq!(limits.state().users.len(), 2);
    drop(kept);
    assert_eq!(limits.sessions(), 0);
}

#[test]
fn a_reload_that_keeps_the_rate_refills_nothing() {
    let (limits, now) = (limits(9, 9, Some(1)), Instant::now());
    let permit = limits.admit(LocalPeer::Uid(1), now).unwrap();
    assert!(permit.take_message(now));
    let listen =
        config::ListenConfig { max_messages_per_minute_per_uid: Some(1), max_sessions: 1, ..listen() };
    limits.change(&listen);
    assert!(!permit.take_message(now));
    assert_eq!(limits.admit(LocalPeer::Uid(2), now).unwrap_err(), Overload::Sessions);
}

#[test]
fn changed_limits_hold_from_now_on() {
    let (limits, now) = (limits(1, 1, Some(1)), Instant::now());
    let permit = limits.admit(LocalPeer::Uid(1), now).unwrap();
    assert!(permit.take_message(now) && !permit.take_message(now));
    limits.change(&config::ListenConfig {
        max_sessions: 2,
        max_sessions_per_uid: 2,
        max_messages_per_minute_per_uid: Some(3),
        ..listen()
    });
    assert_eq!((0..9).filter(|_| permit.take_message(now)).count(), 3);
    assert!(limits.admit(LocalPeer::Uid(1), now).is_ok());
}
