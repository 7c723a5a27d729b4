//! Faults that count: what the sink takes in a session, at once, and in a time.

use super::*;

fn limited(limit: Result<SinkLimit, BadLimit>) -> SinkOptions {
    SinkOptions { limits: vec![limit.unwrap()], ..plain(&[]) }
}

#[tokio::test(start_paused = true)]
async fn a_limit_shows_at_its_phase_and_lets_the_rest_pass() {
    // The limit, what the client sees of its first and of its second session, and the messages that are kept.
    let whole = "220 250 250 250 250 354 250 221";
    let cases = [
        (SinkLimit::recipients("1=452"), ["220 250 250 250 452 354 250 221"; 2], 2),
        (SinkLimit::recipients("1@dot=554"), ["220 250 250 250 250 354 554 221"; 2], 0),
        (SinkLimit::recipients("2@dot=554"), [whole; 2], 2),
        (SinkLimit::messages_per_session("0=421"), ["220 250 421 closed"; 2], 0),
        (SinkLimit::quota("1/day=454"), [whole, "220 250 250 250 250 354 454 221"], 1),
        (SinkLimit::quota("3rcpt/day@rcpt=550"), [whole, "220 250 250 250 550 354 250 221"], 2),
        (SinkLimit::rate("1/min@mail=450"), [whole, "220 250 450 503 503 503 221"], 1),
        (SinkLimit::rate("1/min@connect=drop"), [whole, "closed"], 1),
    ];
    for (limit, heard, kept) in cases {
        let mut bench = Bench::new(limited(limit.clone())).await;
        let sessions = [transact(&mut bench.client()).await, transact(&mut bench.client()).await];
        assert_eq!(sessions, heard, "{limit:?}");
        assert_eq!(bench.received().len(), kept, "{limit:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_used_up_comes_back_with_time() {
    let day = Duration::from_secs(86400);
    for limit in [SinkLimit::rate("1/day=454"), SinkLimit::quota("1/day=454")] {
        let mut bench = Bench::new(limited(limit)).await;
        for passed in [Duration::ZERO, day / 2, day] {
            tokio::time::advance(passed).await;
            transact(&mut bench.client()).await;
        }
        assert_eq!(bench.received().len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_has_ended_makes_room_for_another() {
    let bench = Bench::new(limited(SinkLimit::connections("2=421 too many connections"))).await;
    let mut clients = [bench.client(), bench.client(), bench.client()];
    for (client, code) in clients.iter_mut().zip(["220", "220", "421"]) {
        assert_eq!(client.hear().await.code(), code);
    }
    let [mut first, ..] = clients;
    assert_eq!(first.ask("QUIT\r\n").await.code(), "221");
    drop(first);
    // The end of the session is a task's.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let mut next = bench.client();
    assert_eq!(next.hear().await.code(), "220");
    assert_eq!(bench.client().hear().await.code(), "421");
}

#[tokio::test(start_paused = true)]
async fn a_session_carries_no_more_messages_than_it_may() {
    let mut bench = Bench::new(limited(SinkLimit::messages_per_session("2=451 enough"))).await;
    let mut client = bench.client();
    client.hear().await;
    client.ask("EHLO me\r\n").await;
    for code in ["250", "250", "451"] {
        assert_eq!(client.ask("MAIL FROM:<>\r\n").await.code(), code);
        client.ask("RCPT TO:<a@example.org>\r\n").await;
        if client.ask("DATA\r\n").await.code() == "354" {
            client.ask("x\r\n.\r\n").await;
        }
    }
    assert_eq!(bench.received().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_long_client_hello_does_not_arrive() {
    for security in [Security::StartTls, Security::Implicit] {
        for (limit, arrives) in [("100000=drop", true), ("100=drop", false), ("100=stall", false)] {
            let hello_limit = Some(limit.parse().unwrap());
            let bench = Bench::new(SinkOptions { security, hello_limit, ..options() }).await;
            let mut client = bench.client();
            if security == Security::StartTls {
                client.hear().await;
                client.ask("EHLO me\r\n").await;
                assert_eq!(client.ask("STARTTLS\r\n").await.code(), "220");
            }
            let connector = connector_trusting(bench.sink.shared.certificate.pem());
            let secured = client.secured(&connector, "localhost");
            let secured = tokio::time::timeout(Duration::from_secs(60), secured).await;
            match (limit, secured) {
                (_, Ok(Ok(_))) => assert!(arrives, "{security:?} {limit}"),
                ("100=drop", Ok(Err(_))) | ("100=stall", Err(_)) => {}
                (_, other) => panic!("{security:?} {limit}: {:?}", other.map(drop)),
            }
        }
    }
}
