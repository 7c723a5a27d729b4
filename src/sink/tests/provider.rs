//! What the sink offers, says and refuses when it is like a provider.

use super::*;

/// Returns a sink like this provider's relay, without TLS.
fn like(name: &str) -> SinkOptions {
    let profile = SinkProfile::named(name).unwrap();
    SinkOptions { security: Security::None, ..profile.options(options().certificate) }
}

#[tokio::test(start_paused = true)]
async fn a_provider_offers_what_it_offers_and_understands_nothing_else() {
    let of_ses = "email-smtp.eu-west-1.amazonaws.com, SIZE 41943040, AUTH PLAIN LOGIN, 8BITMIME";
    let of_google = "smtp.gmail.com, PIPELINING, SIZE 26214400, AUTH LOGIN PLAIN XOAUTH2 OAUTHBEARER, \
                     ENHANCEDSTATUSCODES, 8BITMIME, SMTPUTF8, CHUNKING";
    for (name, offered, utf8) in [("ses", of_ses, "555"), ("gmail", of_google, "250")] {
        let bench = Bench::new(SinkOptions { users: users(), ..like(name) }).await;
        let mut client = bench.client();
        client.hear().await;
        assert_eq!(client.ask("EHLO me\r\n").await.texts().join(", "), offered);
        assert_eq!(authenticate(&mut client, "PLAIN", "s3cret").await, "235");
        for (said, code) in [
            ("MAIL FROM:<ann@example.org> RET=HDRS\r\n", "555"),
            ("ETRN example.org\r\n", "500"),
            ("MAIL FROM:<ann@example.org> SMTPUTF8\r\n", utf8),
            ("RSET\r\n", "250"),
            ("MAIL FROM:<ann@example.org> SIZE=100 BODY=8BITMIME\r\n", "250"),
            ("RCPT TO:<a@example.org> NOTIFY=NEVER\r\n", "555"),
            ("RCPT TO:<a@example.org>\r\n", "250"),
        ] {
            assert_eq!(client.ask(said).await.code(), code, "{name}: {said}");
        }
    }
    let bench = Bench::new(like("ses")).await;
    let mut client = bench.client();
    client.hear().await;
    for said in ["EHLO me\r\n", "MAIL FROM:<ann@example.org>\r\n", "RCPT TO:<a@example.org>\r\n"] {
        assert_eq!(client.ask(said).await.code(), "250");
    }
    assert_eq!(client.ask("BDAT 6 LAST\r\nRSET\r\n").await.code(), "500");
    assert_eq!(client.hear().await, Heard::Closed, "what follows is no command");
}

#[tokio::test(start_paused = true)]
async fn a_provider_refuses_in_its_own_words() {
    let options = SinkOptions { users: users(), max_message_size: 99, ..like("ses") };
    let bench = Bench::new(options).await;
    let mut client = bench.client();
    client.hear().await;
    client.ask("EHLO me\r\n").await;
    let said = |heard: Heard| heard.texts().concat();
    assert_eq!(said(client.ask("MAIL FROM:<a@example.org>\r\n").await), "Authentication required");
    let refused = client.ask("AUTH PLAIN AGEAYg==\r\n").await;
    assert_eq!((refused.code(), said(refused)), ("535".into(), "Authentication Credentials Invalid".into()));
    assert_eq!(authenticate(&mut client, "PLAIN", "s3cret").await, "235");
    assert_eq!(said(client.ask("MAIL FROM:<a@example.org> SIZE=100\r\n").await), "Message is too long.");
    assert_eq!(said(client.ask("MAIL FROM:<>\r\n").await), "Invalid MAIL FROM address provided");

    let bench = Bench::new(SinkOptions { users: users(), ..like("oci") }).await;
    let mut client = bench.client();
    client.hear().await;
    client.ask("EHLO me\r\n").await;
    assert_eq!(client.ask("AUTH PLAIN AGEAYg==\r\n").await.code(), "421");
    assert_eq!(client.hear().await, Heard::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_sender_who_is_not_verified_is_refused_as_the_provider_does_it() {
    for (verified, heard) in [
        ("ann@example.org", "220 250 250 250 250 354 250 221"),
        ("bob@example.org", "220 250 250 250 250 354 554 221"),
    ] {
        let mut options = like("ses");
        options.senders.verified = vec![verified.into()];
        let bench = Bench::new(options).await;
        assert_eq!(transact(&mut bench.client()).await, heard);
    }
    let mut options = plain(&[]);
    options.senders.verified = vec!["@example.net".into()];
    let bench = Bench::new(options).await;
    assert_eq!(transact(&mut bench.client()).await, "220 250 550 503 503 503 221");
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_does_not_wait_long_closes_a_silent_session() {
    let bench = Bench::new(like("sparkpost")).await;
    let mut client = bench.client();
    client.hear().await;
    let before = Instant::now();
    assert_eq!(client.hear().await.code(), "421");
    assert_eq!(before.elapsed().as_secs(), 60);
}
