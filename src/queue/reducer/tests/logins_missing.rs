//! A relay that asks for a login where none is configured.

use std::time::Duration;

use fastrand::Rng;

use super::super::Event;
use super::world::{DAY, Does, HOUR, MINUTE, SECOND, World};
use crate::config::OnRefusal;
use crate::relay::{Cause, Phase};
use crate::smtp::reply::Reply;

const DENIED: &str = "550 5.7.1 <ann@example.net>: Relay access denied";

/// Returns a world without a login, whose relay has taken a message once.
fn without_login(connections: usize) -> World {
    World::with(connections, |set_up| set_up.relay().refusals.has_login = false)
}

fn submit(world: &mut World, to: &str) {
    world.submit("app@example.org", &[to]);
}

/// A relay took mail from this address until its list changed, and asked for a login from then on: nineteen messages
/// bounced before it was paused, without a word about `[auth]`.
#[test]
fn a_relay_that_has_taken_mail_once_and_then_asks_for_a_login_bounces_nothing() {
    for said in [DENIED, "550 5.7.1 Client was not authenticated", "554 5.7.0 Authentication required"] {
        let mut world = without_login(2);
        world.relay_always(Does::SaysAtRcpt(vec![said]));
        for _ in 0..30 {
            submit(&mut world, "ann@example.net");
        }
        let status = world.status();
        assert!(status.foremost().paused_until.is_some());
        assert!(
            status.foremost().trouble.clone().unwrap().contains("set [auth] (username, password-file)"),
            "{said}"
        );
        world.pass(DAY * 7);
        assert_eq!(world.status().live, 30, "{said}");
        for end in ["status=bounced (", "status=expired ("] {
            assert_eq!(world.logged(end), 0, "{said}: {:?}", world.log);
        }
        assert_eq!(world.pauses_logged(), 1, "{said}");
        let tries = world.seen.len();
        assert!(tries < 3000, "{tries}: one message a probe");

        world.relay_always(Does::Takes);
        world.reload_with(|set_up| set_up.relay().refusals.has_login = true);
        assert_eq!(world.status().live, 0);
    }
}

/// Of two nodes behind the relay's name one asked for a login, and the other took mail. Messages that met the one
/// twice bounced, since the relay had taken others in between.
#[test]
fn a_node_that_asks_for_a_login_beside_others_that_do_not_bounces_nothing() {
    let texts = [DENIED, "550 5.7.1 Client was not authenticated", "554 5.7.0 Authentication required"];
    let sick = |phase| texts.map(|said| Does::RefusesAt(phase, said)).to_vec();
    let mut table = Vec::new();
    for phase in [Phase::Mail, Phase::Rcpt, Phase::Data, Phase::Dot] {
        let breaks = Does::Breaks(phase, Cause::Reply(Reply::bare(530, "Authentication required")));
        table.extend(sick(phase).into_iter().chain([breaks]).map(|does| (phase, does)));
    }
    for (seed, (phase, does)) in (0..).zip(&table) {
        for (nodes, asking) in [(2, 1), (3, 1), (4, 3)] {
            let mut world = without_login([1, 2, 20][seed as usize % 3]);
            world.relay.is_nodes(nodes, asking, does, seed);
            for _ in 0..40 {
                submit(&mut world, "ann@example.net");
            }
            let case = format!("{does:?}, {asking} of {nodes}, seed {seed}");
            let most = world.pass_until_live(20, SECOND);
            assert!(most < MINUTE * 15, "{case}: half of them took {most:?}");
            world.pass_until_live(0, MINUTE);
            assert_eq!(world.logged("status=sent ("), 40, "{case}");
            for end in ["status=bounced", "status=expired"] {
                assert_eq!(world.logged(end), 0, "{case}: {:?}", world.log);
            }
            assert!(*phase == Phase::Dot || world.logged("possible duplicate") == 0, "{case}");
        }
    }
}

/// One message at which the relay says `relaying denied` must not stop the others, nor does it bounce: it waits by
/// its age, and its sender hears of it when its patience is used up.
#[test]
fn one_odd_recipient_waits_by_itself_and_the_others_go_on() {
    for connections in [1, 2, 20] {
        let mut world = without_login(connections);
        world.relay_always(Does::RefusesOdd(DENIED));
        submit(&mut world, "odd@example.net");
        for _ in 0..30 {
            submit(&mut world, "ann@example.net");
        }
        world.pass(SECOND * 5);
        let left = world.status().live;
        assert!(left <= 1, "{connections}: {left}");
        for _ in 0..6 * 4 {
            submit(&mut world, "ann@example.net");
            assert_eq!(world.status().ready, 0);
            world.pass(HOUR * 6);
        }
        assert_eq!(world.status().live, 0);
        let said = |end| world.logged(end);
        assert_eq!(said("status=expired (550 5.7.1 "), 1, "{connections}: {:?}", world.log);
        assert_eq!(said("status=bounced"), 0, "{connections}: {:?}", world.log);
        assert!(said("dsn=4.7.1, status=deferred (550 5.7.1 ") > 0, "{connections}: {:?}", world.log);
        assert!(world.pauses_logged() <= 1, "{connections}: {:?}", world.lines);
    }
}

#[test]
fn a_recipient_refused_beside_one_that_was_taken_is_deferred() {
    let mut world = without_login(2);
    world.relay_always(Does::RefusesOdd(DENIED));
    world.submit("app@example.org", &["odd@example.net", "ann@example.net"]);
    assert_eq!(world.status().deferred, 1);
    world.pass(HOUR * 5);
    assert_eq!(world.logged("status=bounced"), 0, "{:?}", world.log);
    world.relay_always(Does::Takes);
    world.pass_until_live(0, HOUR);
    let last = world.seen.pop().unwrap();
    assert_eq!((last.from.as_str(), last.to), ("app@example.org", vec!["odd@example.net".to_owned()]));
}

/// Each odd recipient would have cost a pause and a warning.
#[test]
fn from_the_second_odd_recipient_on_none_pauses_anybody() {
    let mut world = without_login(1);
    world.relay_always(Does::RefusesOdd(DENIED));
    for number in 0..10 {
        submit(&mut world, &format!("odd{number}@example.net"));
        assert_eq!(
            world.status().ready,
            usize::from(number == 0),
            "the first one waits for the pause that it made"
        );
        submit(&mut world, "ann@example.net");
        if number == 0 {
            world.pass(SECOND * 5);
        }
        assert_eq!((world.status().live, world.status().deferred), (number + 1, number + 1));
    }
    world.pass(HOUR * 12);
    assert_eq!(world.pauses_logged(), 1, "{:?}", world.lines);
}

/// One that had been deferred so was tried again without a pause, connection after connection, while others that had not
/// been deferred yet paused the relay.
#[test]
fn one_that_was_deferred_waits_for_the_pause_that_others_make() {
    let mut world = without_login(1);
    world.relay_always(Does::RefusesOdd(DENIED));
    world.submit("app@example.org", &["odd0@example.net", "ann@example.net"]);
    assert_eq!(world.status().deferred, 1);
    for number in 1..4 {
        submit(&mut world, &format!("odd{number}@example.net"));
    }
    assert!(world.is_paused());
    let before = world.begun.len();
    world.pass(HOUR * 3);
    let tries = world.begun.len() - before;
    assert!(tries < 200, "{tries}");
    submit(&mut world, "ann@example.net");
    world.pass(SECOND * 5);
    assert_eq!((world.status().live, world.is_paused()), (4, false));
}

#[test]
fn what_is_refused_so_for_itself_is_held_where_refusals_hold() {
    let mut world = World::with(2, |set_up| {
        set_up.relay().refusals.has_login = false;
        set_up.relay().refusals.on_refusal = Some(OnRefusal::Hold);
    });
    world.relay_always(Does::RefusesOdd(DENIED));
    submit(&mut world, "odd@example.net");
    assert_eq!((world.is_paused(), world.status().held), (true, 0));
    world.pass(SECOND * 3);
    submit(&mut world, "ann@example.net");
    assert_eq!((world.status().live, world.status().held), (1, 1));
    world.restart();
    assert_eq!((world.status().held, world.is_paused()), (1, false));
}

/// 530 ends the dialogue. The one message of a first day was deferred, and nothing said what to do.
#[test]
fn a_530_pauses_the_relay_and_says_what_to_set() {
    let mut world = World::with(2, |set_up| {
        set_up.relay().refusals.has_login = false;
        set_up.relay().has_taken = false;
    });
    let cause = Cause::Reply(Reply::bare(530, "Authentication required"));
    world.relay_always(Does::Breaks(Phase::Mail, cause));
    submit(&mut world, "ann@example.net");
    assert!(world.is_paused());
    assert!(world.status().foremost().trouble.clone().unwrap().contains("set [auth]"));
    world.pass(DAY * 7);
    assert_eq!((world.status().live, world.is_paused()), (1, true));
    world.relay_always(Does::Takes);
    world.reload();
    assert_eq!(world.status().live, 0);
}

/// Whatever comes in whatever order: no message bounces, nothing is lost, and every odd one expires when the relay has
/// taken others for long enough.
#[test]
fn in_any_history_only_the_odd_ones_expire() {
    for seed in 0..24 {
        let mut dice = Rng::with_seed(seed);
        let mut world = without_login(dice.usize(1..5));
        let (mut asks_for_login, mut odd, mut good) = (false, 0, 0);
        world.relay_always(Does::RefusesOdd(DENIED));
        for _ in 0..40 {
            match dice.u32(0..8) {
                0 => {
                    asks_for_login = !asks_for_login;
                    world.relay_always(if asks_for_login {
                        Does::SaysAtRcpt(vec![DENIED])
                    } else {
                        Does::RefusesOdd(DENIED)
                    });
                }
                1..4 => {
                    submit(&mut world, &format!("good{good}@example.net"));
                    good += 1;
                }
                4 => {
                    submit(&mut world, &format!("odd{odd}@example.net"));
                    odd += 1;
                }
                5 => world.tell(Event::ProbeNow),
                _ => world.pass(Duration::from_secs(dice.u64(1..400))),
            }
        }
        world.relay_always(Does::RefusesOdd(DENIED));
        for _ in 0..6 * 4 {
            submit(&mut world, &format!("good{good}@example.net"));
            good += 1;
            world.pass(HOUR * 6);
        }
        assert_eq!(world.status().live, 0);
        let lines = |to: String| world.log.iter().filter(move |line| line.contains(&to));
        for number in 0..good {
            let sent: Vec<&String> = lines(format!("to=<good{number}@example.net>, ")).collect();
            assert!(sent.len() == 1 && sent[0].contains("status=sent ("), "{seed}: {sent:?}");
        }
        for number in 0..odd {
            let last = lines(format!("to=<odd{number}@example.net>, ")).next_back().unwrap();
            assert!(last.contains("status=expired ("), "{seed}: {last}");
        }
        assert_eq!(world.logged("status=bounced ("), 0, "{seed}: {:?}", world.log);
    }
}
