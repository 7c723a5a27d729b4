//! The number of commands that are written at once, and the end where that was too much for the relay.

use super::*;

#[tokio::test(start_paused = true)]
async fn written_across_a_busy_connection_costs_one_round_trip_per_message() {
    let script = format!(
        "{ENVELOPE}{TAKEN}C: one\nC: .\n{ENVELOPE}S: 250 2.0.0 first\n{TAKEN}C: two\nC: .\n{ENVELOPE}\
         S: 250 2.0.0 second\n{TAKEN}C: three\nC: .\nS: 250 2.0.0 third\nC: QUIT\nS: 221 bye"
    );
    let messages = vec![message(1, "one"), message(2, "two"), message(3, "three")];
    let ended = run_with(pipelining(), across(), &script, messages).await;
    ended.result.unwrap();
    let expected = [
        "1/0 sent 2.0.0 250 2.0.0 first",
        "2/0 sent 2.0.0 250 2.0.0 second",
        "3/0 sent 2.0.0 250 2.0.0 third",
    ];
    assert_eq!(ended.given.told(), expected);
    assert_eq!(ended.given.events, ["dot 1", "report 1", "dot 2", "report 2", "dot 3", "report 3"]);
    assert_eq!(ended.rest, "");
}

/// With the next group behind the final dot Haraka answered 503 and the relay was paused, Dovecot's
/// submission service kept the message and died without a reply, so that each try made a copy, and Courier
/// dropped the group and fell silent. Whatever fails where more was written than was answered, at any place:
/// nobody is blamed, and the next connection writes one command at a time.
#[tokio::test(start_paused = true)]
async fn a_relay_that_does_not_bear_several_commands_gets_one_at_a_time() {
    let lock_step = "C: MAIL FROM:<ann@example.org>\nS: 250 ok\nC: RCPT TO:<ben@example.net>\nS: 250 ok\n\
                     C: DATA\nS: 354 go on\nC: again\nC: .\nS: 250 ok\n";
    let lock_step = format!("{lock_step}{lock_step}C: QUIT\nS: 221 bye");
    let at_dot = format!("{ENVELOPE}{TAKEN}C: one\nC: .\n{ENVELOPE}");
    let places = [
        (Pipelining::Group, ENVELOPE.to_owned()),
        (Pipelining::Group, format!("{ENVELOPE}S: 250 ok\n")),
        (Pipelining::Group, format!("{ENVELOPE}S: 250 ok\nS: 250 ok\n")),
        (Pipelining::Across, at_dot.clone()),
        (Pipelining::Across, format!("{at_dot}S: 250 ok\n")),
        (Pipelining::Across, format!("{at_dot}S: 250 ok\nS: 250 ok\n")),
        (Pipelining::Across, format!("{at_dot}S: 250 ok\nS: 250 ok\nS: 250 ok\n")),
    ];
    for (pipelining, place) in places {
        for failure in [
            "S: 503 5.5.1 pipelined",
            "!close",
            "!stall",
            // In these words it bounced or held the message, or paused the relay.
            "S: 554 5.5.0 Error: SMTP command pipelining not allowed",
            "S: 550 5.7.1 Unauthorized command pipelining",
            "S: 421 4.7.0 pipelining",
            "S: 503 5.5.0 <DATA>: Data command rejected: Improper use of SMTP command pipelining",
            "S: 554 SMTP synchronization error",
            "S: 554 SMTP synchronization error\n!close",
        ] {
            let script = format!("{place}{failure}");
            let settings = config::RelayConfig { pipelining, ..settings() };
            let pace = Arc::new(RelayPace::new(pipelining));
            let messages = vec![message(1, "one"), message(2, "two")];
            let first = run_at(pace.clone(), self::pipelining(), settings.clone(), &script, messages).await;
            first.result.unwrap();
            assert!(first.given.reports.iter().all(|report| report.lost_at.is_none()), "{script}");
            assert!(first.given.told().iter().all(|told| told.contains("untold") || told.contains("sent")));
            assert_eq!(
                first.given.told()[0].contains('?'),
                place == at_dot,
                "in doubt behind a dot: {script}"
            );

            let messages = vec![message(1, "again"), message(2, "again")];
            let second = run_at(pace, self::pipelining(), settings, &lock_step, messages).await;
            second.result.unwrap();
            assert_eq!(second.given.told(), ["1/0 sent 2.0.0 250 ok", "2/0 sent 2.0.0 250 ok"], "{script}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn in_lock_step_the_same_failures_are_trouble_at_their_place() {
    let places = [
        (Phase::Mail, ""),
        (Phase::Rcpt, "S: 250 ok\nC: RCPT TO:<ben@example.net>\n"),
        (Phase::Data, "S: 250 ok\nC: RCPT TO:<ben@example.net>\nS: 250 ok\nC: DATA\n"),
    ];
    let settings = config::RelayConfig { pipelining: Pipelining::Off, ..settings() };
    for (phase, place) in places {
        for failure in ["S: 503 5.5.1 no", "!close", "!stall"] {
            let script = format!("C: MAIL FROM:<ann@example.org>\n{place}{failure}");
            let ended = run_with(pipelining(), settings.clone(), &script, vec![message(1, "one")]).await;
            assert_eq!(ended.result.unwrap_err().phase, phase, "{script}");
            assert_eq!(ended.given.told(), ["1/0 untold 4.4.2"], "{script}");
            assert_eq!(ended.given.reports[0].lost_at, Some(phase), "{script}");
        }
    }
}

/// A relay that limits the messages of a connection and hangs up is not slow, and is not slowed down.
#[tokio::test(start_paused = true)]
async fn a_relay_that_takes_leave_keeps_its_pace() {
    let pace = Arc::new(RelayPace::new(Pipelining::Group));
    let script = format!("{ENVELOPE}{TAKEN}C: one\nC: .\nS: 250 ok\n{ENVELOPE}!close");
    let messages = vec![message(1, "one"), message(2, "two")];
    let ended = run_at(pace.clone(), pipelining(), settings(), &script, messages).await;
    ended.result.unwrap();
    assert_eq!(ended.given.told(), ["1/0 sent 2.0.0 250 ok", "2/0 untold 4.4.2"]);
    assert_eq!(pace.now(true), Pipelining::Group);
}
