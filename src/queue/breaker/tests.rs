use super::*;
use crate::relay::{Cause, Phase, Trouble};

const REFUSED: RelayFault = RelayFault::Login { for_good: true };

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

/// Tells the breaker of trouble at `second`, and returns how many seconds the pause takes.
fn pause_after(breaker: &mut Breaker, second: i64, fault: RelayFault) -> i64 {
    match breaker.trouble(at(second), 0, fault, Spread::NONE) {
        Consequence::Paused { retry_at } => retry_at.as_second() - at(second).as_second(),
        Consequence::Unremarkable => panic!("not paused at {second}"),
    }
}

fn pause_after_trouble(breaker: &mut Breaker, second: i64) -> i64 {
    pause_after(breaker, second, RelayFault::Opening)
}

/// A breaker of a relay that has been reached.
fn closed(max_connections: usize) -> Breaker {
    let mut breaker = Breaker::new(max_connections);
    breaker.reached(at(0));
    breaker
}

/// The pauses of an outage with this fault, from probe to probe.
fn pauses<const N: usize>(fault: RelayFault) -> [i64; N] {
    let (mut breaker, mut now) = (Breaker::new(20), 0);
    [(); N].map(|()| {
        let pause = pause_after(&mut breaker, now, fault);
        now += pause;
        pause
    })
}

#[test]
fn pauses_double_from_a_second_to_five_minutes() {
    assert_eq!(pauses(RelayFault::Opening), [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    assert_eq!(pauses(RelayFault::Transaction), [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
}

/// A relay that came back after a long outage got no mail for up to six minutes.
#[test]
fn a_relay_that_returns_is_noticed_within_ten_seconds() {
    assert_eq!(pauses(RelayFault::Unreachable), [1, 2, 4, 8, 8, 8]);
    let (mut breaker, mut now) = (Breaker::new(20), at(0));
    for draw in [1.0, 0.0, 0.5].into_iter().cycle().take(1000) {
        breaker.trouble(now, 0, RelayFault::Unreachable, Spread::new(draw));
        let retry_at = breaker.retry_at().unwrap();
        assert!(retry_at <= later(now, Duration::from_secs(10)));
        now = retry_at;
    }
}

/// A relay that answers again, but not with a session, is left alone for longer and longer.
#[test]
fn the_short_pauses_end_with_the_first_answer() {
    let mut breaker = Breaker::new(20);
    for (second, fault, pause) in [
        (0, RelayFault::Unreachable, 1),
        (1, RelayFault::Unreachable, 2),
        (3, RelayFault::Opening, 4),
        (7, RelayFault::Opening, 8),
        (15, RelayFault::Opening, 16),
        (31, RelayFault::Opening, 32),
        (63, RelayFault::Unreachable, 8),
    ] {
        assert_eq!(pause_after(&mut breaker, second, fault), pause, "{second}");
    }
}

/// A wrong password was once tried as often as a relay that is down, 21 times in the first second.
#[test]
fn refused_logins_pause_longer() {
    assert_eq!(pauses(REFUSED), [60, 120, 240, 480, 960, 1800, 1800]);
    assert_eq!(pauses::<40>(REFUSED)[5..], [1800; 35], "for as long as it is refused");
    assert_eq!(pauses(RelayFault::Login { for_good: false }), [60, 120, 240, 300, 300]);
    // A relay that hung up at each wrong password was shown it nine times in ten minutes.
    assert_eq!(pauses(RelayFault::LoginUnanswered), [1, 60, 120, 240, 300, 300]);
}

/// Nothing was refused, so that a look every five minutes costs no account anything; and the end of it is noticed.
#[test]
fn settings_that_do_not_fit_the_relay_are_looked_at_every_five_minutes() {
    let cause = Cause::Misfit("no mechanism in common: the relay offers PLAIN; we have EXTERNAL".into());
    let fault = RelayFault::of(&Trouble { phase: Phase::Auth, peer: None, cause });
    assert_eq!(pauses(fault), [300; 5]);
    let mut breaker = closed(20);
    assert!(matches!(breaker.trouble(at(0), 10, fault, Spread::NONE), Consequence::Paused { .. }), "for all");
    breaker.reached(at(300));
    assert_eq!(breaker.retry_at(), None);
}

#[test]
fn invariant_1_nobody_before_the_probe_and_one_for_it() {
    let mut breaker = closed(20);
    pause_after_trouble(&mut breaker, 0);
    assert_eq!(breaker.connections_allowed(at(0), 0, 0), 0);
    assert_eq!(breaker.connections_allowed(at(1), 0, 0), 1);
    assert_eq!(breaker.connections_allowed(at(1000), 0, 0), 1);
    assert_eq!(breaker.connections_allowed(at(1000), 3, 0), 4, "one beside those that work");
}

#[test]
fn stragglers_of_the_same_outage_do_not_lengthen_the_pause() {
    let mut breaker = closed(20);
    pause_after_trouble(&mut breaker, 0);
    for _ in 0..19 {
        assert_eq!(breaker.trouble(at(0), 0, RelayFault::Opening, Spread::NONE), Consequence::Unremarkable);
    }
    assert_eq!(pause_after_trouble(&mut breaker, 1), 2);
}

#[test]
fn a_straggler_whose_login_is_refused_lengthens_it() {
    let mut breaker = closed(20);
    pause_after_trouble(&mut breaker, 0);
    assert_eq!(pause_after(&mut breaker, 0, REFUSED), 60);
    assert_eq!(breaker.trouble(at(0), 0, REFUSED, Spread::NONE), Consequence::Unremarkable);
}

#[test]
fn invariant_2_trouble_beside_working_connections_only_lowers_the_allowance() {
    let mut breaker = closed(20);
    assert_eq!(breaker.trouble(at(0), 10, RelayFault::Opening, Spread::NONE), Consequence::Unremarkable);
    assert_eq!(breaker.connections_allowed(at(0), 10, 0), 10);
    breaker.success(at(0));
    assert_eq!(breaker.connections_allowed(at(0), 10, 0), 10, "no growth at once");
    breaker.success(at(4));
    assert_eq!(breaker.connections_allowed(at(4), 10, 0), 10, "nor before five seconds");
    breaker.success(at(5));
    assert_eq!(breaker.connections_allowed(at(5), 10, 0), 11);
}

/// A relay with three places was asked for a fourth one after each second, and for one more with each answer after that.
#[test]
fn invariant_3_one_more_in_each_five_seconds_where_one_could_not_be_opened() {
    for (fault, in_six_seconds, in_thirty) in
        [(RelayFault::Opening, 4, 9), (RelayFault::Unreachable, 4, 9), (RelayFault::Transaction, 20, 20)]
    {
        let mut breaker = closed(20);
        breaker.trouble(at(0), 3, fault, Spread::NONE);
        let allowed: Vec<usize> = (0..=30)
            .map(|second| {
                (0..10).for_each(|_| breaker.success(at(second)));
                breaker.connections_allowed(at(second), 20, 0)
            })
            .collect();
        assert_eq!((allowed[0], allowed[6], allowed[30]), (3, in_six_seconds, in_thirty), "{fault:?}");
    }
}

#[test]
fn invariant_2_a_refused_login_is_not_tried_again_while_old_connections_work() {
    let mut breaker = closed(20);
    assert!(matches!(breaker.trouble(at(0), 10, REFUSED, Spread::NONE), Consequence::Paused { .. }));
    breaker.success(at(1));
    assert_eq!(breaker.connections_allowed(at(59), 10, 0), 0);
    assert_eq!(breaker.connections_allowed(at(60), 10, 0), 11);
    breaker.reached(at(60));
    assert_eq!(breaker.retry_at(), None);
}

#[test]
fn one_message_at_a_time_finds_out_whether_transactions_work() {
    let mut breaker = closed(20);
    pause_after(&mut breaker, 0, RelayFault::Transaction);
    breaker.reached(at(1));
    assert_eq!([0, 1, 5].map(|working| breaker.connections_allowed(at(1), working, 0)), [1; 3]);
}

/// A failure beside a probe that was let in once ended the pause, and began the next, longer one a moment later.
#[test]
fn trouble_beside_a_probe_does_not_end_the_pause() {
    let mut breaker = closed(20);
    assert_eq!(pause_after(&mut breaker, 0, RelayFault::Transaction), 1);
    breaker.reached(at(1));
    assert!(matches!(
        breaker.trouble(at(1), 1, RelayFault::Transaction, Spread::NONE),
        Consequence::Paused { .. }
    ));
}

#[test]
fn when_the_last_working_connection_fails_the_relay_is_paused() {
    let mut breaker = closed(20);
    for working in (1..20).rev() {
        assert_eq!(
            breaker.trouble(at(0), working, RelayFault::Opening, Spread::NONE),
            Consequence::Unremarkable
        );
    }
    assert_eq!(pause_after_trouble(&mut breaker, 0), 1);
}

#[test]
fn invariant_3_a_returning_relay_is_met_by_a_slope() {
    let mut breaker = closed(4);
    pause_after_trouble(&mut breaker, 0);
    breaker.success(at(1));
    assert_eq!(breaker.retry_at(), None, "the pause is over");
    let mut allowed = vec![breaker.connections_allowed(at(1), 4, 0)];
    for _ in 0..3 {
        breaker.success(at(1));
        allowed.push(breaker.connections_allowed(at(1), 4, 0));
    }
    assert_eq!(allowed, [2, 3, 4, 4]);
}

#[test]
fn invariant_4_an_impatient_probe_is_one_connection() {
    let mut breaker = closed(20);
    pause_after_trouble(&mut breaker, 0);
    breaker.probe_now(at(0));
    assert_eq!(breaker.connections_allowed(at(0), 0, 0), 1);
    breaker.reached(at(0));
    breaker.probe_now(at(0));
    assert_eq!(breaker.connections_allowed(at(0), 1, 0), 2);
}

#[test]
fn invariant_5_connections_are_begun_no_faster_than_they_work() {
    let breaker = Breaker::new(20);
    assert!(breaker.is_untried());
    let allowed = [0, 1, 2, 4, 8, 16, 20].map(|working| breaker.connections_allowed(at(0), working, 0));
    assert_eq!(allowed, [1, 2, 4, 8, 16, 20, 20]);
}

#[test]
fn invariant_6_a_pause_ends_when_what_was_refused_is_granted() {
    for (fault, ends_when_reached) in
        [(RelayFault::Opening, true), (REFUSED, true), (RelayFault::Transaction, false)]
    {
        let mut breaker = closed(20);
        pause_after(&mut breaker, 0, fault);
        breaker.reached(at(60));
        assert_eq!(breaker.retry_at().is_none(), ends_when_reached, "{fault:?}");
        breaker.success(at(60));
        assert_eq!(breaker.retry_at(), None, "{fault:?}");
    }
}

/// One event of a quiet host's day with its relay.
#[derive(Clone, Copy, Debug)]
enum Day {
    /// Trouble at this second must begin a pause of so many.
    Trouble(i64, i64),
    /// A connection was opened.
    Reached(i64),
    /// A message was answered.
    Answered(i64),
    /// `flush`.
    Flush(i64),
}

/// A pause was once remembered until as many messages had been answered as connections are allowed, on a quiet host
/// for days: one outage, one good mail, then a glitch of a second and "next probe in 361 s".
#[test]
fn what_a_quiet_host_remembers_of_an_outage() {
    use Day::{Answered, Flush, Reached, Trouble};
    let outage = [Trouble(0, 1), Trouble(1, 2), Trouble(3, 4), Trouble(7, 8)];
    let day = 86_400;
    let histories: &[(&str, &[Day])] = &[
        ("one good mail, then a glitch", &[Answered(15), Trouble(day, 1), Answered(day + 1)]),
        ("one good mail, and a glitch a second later", &[Answered(15), Trouble(16, 1), Trouble(17, 2)]),
        ("a connection opened, nothing answered", &[Reached(15), Trouble(16, 16)]),
        ("a connection opened, a glitch a day later", &[Reached(15), Trouble(day, 1)]),
        ("nothing more to send for a day", &[Trouble(day, 1), Trouble(day + 1, 2)]),
        ("probes go on", &[Trouble(15, 16), Trouble(31, 32), Answered(63), Trouble(64, 1)]),
        ("a flush in the midst of it", &[Flush(10), Trouble(10, 16)]),
        ("a glitch behind each mail", &[Answered(15), Trouble(16, 1), Answered(17), Trouble(18, 1)]),
    ];
    for connections in [1, 2, 20] {
        for (name, history) in histories {
            let mut breaker = closed(connections);
            for event in outage.iter().chain(*history) {
                match *event {
                    Trouble(second, pause) => {
                        assert_eq!(pause_after_trouble(&mut breaker, second), pause, "{name}: {event:?}");
                    }
                    Reached(second) => breaker.reached(at(second)),
                    Answered(second) => breaker.success(at(second)),
                    Flush(second) => breaker.probe_now(at(second)),
                }
            }
        }
    }
}

#[test]
fn probes_of_a_fleet_drift_apart() {
    let pause = |draw| {
        let mut breaker = closed(1);
        breaker.trouble(at(0), 0, RelayFault::Opening, Spread::new(draw));
        breaker.retry_at().unwrap().duration_since(at(0)).as_millis()
    };
    assert_eq!((pause(-1.0), pause(1.0)), (750, 1250));
}

/// Two messages that the relay hangs up on, alone in the queue, once paused it for longer and longer, and what came
/// then waited for the probe.
#[test]
fn invariant_7_a_few_suspects_hold_up_nobody_else() {
    let mut breaker = closed(20);
    assert_eq!(pause_after(&mut breaker, 0, RelayFault::Suspects), 1);
    let mut now = 1;
    let mut pauses = Vec::new();
    for _ in 0..10 {
        assert!(breaker.admits_suspects(at(now)));
        breaker.trouble_again(at(now), Spread::NONE);
        assert_eq!(breaker.connections_allowed(at(now), 0, 0), 1, "for another");
        assert!(!breaker.admits_suspects(at(now)));
        let retry_at = breaker.retry_at().unwrap().as_second();
        pauses.push(retry_at - at(now).as_second());
        now = retry_at - at(0).as_second();
    }
    assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    assert_eq!(pause_after(&mut breaker, now, RelayFault::Suspects), 1, "one more of them");
    assert_eq!(breaker.connections_allowed(at(now), 0, 0), 0);
    assert_eq!(breaker.connections_allowed(at(now + 1), 1, 1), 2, "beside one that is with a suspect");
    breaker.success(at(now + 1));
    assert_eq!(breaker.retry_at(), None);
}

/// A message that the relay treats like the few before it shows that it is the relay.
#[test]
fn trouble_of_more_than_a_few_is_a_pause_for_all() {
    let mut breaker = closed(20);
    pause_after(&mut breaker, 0, RelayFault::Suspects);
    assert_eq!(pause_after(&mut breaker, 1, RelayFault::Transaction), 2);
    breaker.trouble_again(at(3), Spread::NONE);
    assert_eq!([3, 6, 7].map(|second| breaker.connections_allowed(at(second), 0, 0)), [0, 0, 1]);
}

/// A time that a reply names which no rule has read: the shortest pause, for all but what has not met the trouble.
#[test]
fn a_named_time_is_the_shortest_pause() {
    let (minute, hour) = (Duration::from_secs(60), Duration::from_secs(3600));
    let met = |breaker: &mut Breaker, second, working, fault, named| {
        let met = breaker.trouble(at(second), working, fault, Spread::NONE);
        breaker.names_time(at(second), named, met)
    };
    let mut breaker = closed(5);
    let told = met(&mut breaker, 0, 0, RelayFault::Opening, hour);
    assert_eq!(told, Consequence::Paused { retry_at: at(3600) });
    assert_eq!((breaker.retry_at(), breaker.lasting_pause()), (Some(at(3600)), Some(at(3600))));
    assert_eq!(breaker.connections_allowed(at(3599), 0, 0), 0);
    assert_eq!(breaker.trouble(at(10), 0, RelayFault::Opening, Spread::NONE), Consequence::Unremarkable);
    breaker.probe_now(at(20));
    assert_eq!((breaker.connections_allowed(at(20), 0, 0), breaker.lasting_pause()), (1, None), "a flush");
    breaker.reached(at(20));
    assert_eq!(breaker.retry_at(), None);

    // A login has a longer pause by itself, which a restart ends.
    for (named, noted) in [(Duration::from_secs(10), None), (hour, Some(at(3600)))] {
        let mut breaker = closed(5);
        let retry_at = noted.unwrap_or(at(60));
        let told = met(&mut breaker, 0, 0, RelayFault::Login { for_good: true }, named);
        assert_eq!((told, breaker.lasting_pause()), (Consequence::Paused { retry_at }, noted), "{named:?}");
    }

    let mut breaker = closed(5);
    met(&mut breaker, 0, 0, RelayFault::Suspects, minute);
    let untroubled = breaker.connections_allowed(at(2), 0, 0);
    assert_eq!(
        (untroubled, breaker.admits_suspects(at(59)), breaker.admits_suspects(at(60))),
        (1, false, true)
    );
    assert_eq!(breaker.lasting_pause(), None);

    let mut breaker = closed(5);
    assert_eq!(
        met(&mut breaker, 0, 2, RelayFault::Opening, minute),
        Consequence::Unremarkable,
        "others work"
    );
    breaker.success(at(59));
    assert_eq!(breaker.connections_allowed(at(59), 2, 0), 2);
    breaker.success(at(60));
    assert_eq!(breaker.connections_allowed(at(60), 2, 0), 3);
}
