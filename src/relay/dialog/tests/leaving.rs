//! The end of a connection that has served.

use super::*;

/// A relay that ended a session by other words than 421, or at another place than MAIL, deferred the message it was
/// given there, or was paused.
#[tokio::test(start_paused = true)]
async fn a_connection_that_has_served_may_be_ended_at_any_command() {
    let served = format!("{ENVELOPE}{TAKEN}C: one\nC: .\nS: 250 2.0.0 ok\n");
    let mail = "C: MAIL FROM:<ann@example.org>\n";
    let (rcpt, data) = ("S: 250 ok\nC: RCPT TO:<ben@example.net>\n", "S: 250 ok\nC: DATA\n");
    let content = "S: 354 go on\nC: two\n";
    let places = [
        (Phase::Mail, mail.to_owned()),
        (Phase::Rcpt, format!("{mail}{rcpt}")),
        (Phase::Data, format!("{mail}{rcpt}{data}")),
        (Phase::Dot, format!("{mail}{rcpt}{data}{content}C: .\n")),
    ];
    let served_in_lock_step = format!("{mail}{rcpt}{data}S: 354 go on\nC: one\nC: .\nS: 250 2.0.0 ok\n");
    for leave in ["421 4.7.0 bye", "421 bye", "451 4.4.2 idle for too long", "450 4.4.2 bye"] {
        for (phase, place) in &places {
            let script = format!("{served_in_lock_step}{place}S: {leave}\n!close");
            let messages = vec![message(1, "one"), message(2, "two")];
            let ended = run(Capabilities::default(), &script, messages).await;
            assert!(ended.result.is_ok(), "{script}: {:?}", ended.result);
            let told = ended.given.told();
            assert!(told[0].contains("sent") && told[1].contains("untold"), "{script}: {told:?}");
            assert_eq!(ended.given.reports[1].lost_at, None, "{script}");
            assert_eq!(ended.given.reports[1].left_at, Some(*phase), "{script}");
            assert!(!ended.given.reports[1].possible_duplicate, "{script}");
        }
        let unasked = format!("{served}S: {leave}\n!close");
        let ended = run(pipelining(), &unasked, vec![message(1, "one"), message(2, "two")]).await;
        assert!(ended.result.is_ok(), "{unasked}: {:?}", ended.result);
        assert!(ended.given.told().iter().skip(1).all(|told| told.contains("untold")), "{unasked}");

        let fresh = format!("{mail}S: {leave}\n!close");
        let ended = run(Capabilities::default(), &fresh, vec![message(1, "one")]).await;
        assert!(
            ended.result.is_err() || ended.given.told()[0].contains("deferred"),
            "{fresh}: a first one counts"
        );
    }
}

/// A relay that ended a session in the midst of a message had it deferred, or was paused.
#[tokio::test(start_paused = true)]
async fn a_connection_that_has_served_may_be_ended_in_the_content() {
    let line = "x".repeat(998);
    let content = format!("{line}\r\n").repeat(1000);
    let large = |id| transaction(id, "ann@example.org", &["ben@example.net"], &content);
    let served = format!("{ENVELOPE}{TAKEN}C: one\nC: .\nS: 250 2.0.0 ok\n");
    for leave in ["S: 421 bye\n", "S: 451 4.4.2 timeout\n", ""] {
        let cut = format!("{ENVELOPE}{TAKEN}C: {line}\n{leave}!close");
        let script = format!("{served}{cut}");
        let ended = run(pipelining(), &script, vec![message(1, "one"), large(2), message(3, "three")]).await;
        assert!(ended.result.is_ok(), "{leave}: {:?}", ended.result);
        assert_eq!(ended.given.told(), ["1/0 sent 2.0.0 250 2.0.0 ok", "2/0 untold 4.4.2"], "{leave}");
        let report = &ended.given.reports[1];
        assert_eq!((report.left_at, report.lost_at), (Some(Phase::Content), None), "{leave}");

        let ended = run(pipelining(), &cut, vec![large(1)]).await;
        let is_charged = ended.result.is_err() || ended.given.told()[0].contains("deferred");
        assert!(is_charged && ended.given.reports[0].left_at.is_none(), "{leave}: a first one counts");
    }
}

/// Each connection whose QUIT was not answered kept the next one from being opened for ten seconds.
#[tokio::test(start_paused = true)]
async fn an_unanswered_quit_holds_up_nobody() {
    let begun = tokio::time::Instant::now();
    let (near, far) = wire("192.0.2.5:587");
    let settings = config::RelayConfig { idle: Duration::ZERO, ..settings() };
    let channel = Channel::new(Verified::assumed(near), peer(), settings.timeouts.clone());
    let mut given = Given::new(vec![]);
    let silent = tokio::spawn(async move { play(far, "C: QUIT\n!stall").await });
    Connection::new(channel, pipelining(), &settings).run(&mut given).await.unwrap();
    assert!(begun.elapsed() <= Duration::from_secs(1), "{:?}", begun.elapsed());
    silent.abort();
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_kept_for_a_while_and_then_closed() {
    let begun = tokio::time::Instant::now();
    let ended = run(pipelining(), "C: QUIT\nS: 221 bye", vec![]).await;
    ended.result.unwrap();
    assert_eq!(begun.elapsed(), settings().idle);
}
