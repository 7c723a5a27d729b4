//! Tests of STARTTLS with real handshakes and a real spool.

use super::client::{Client, TO_DATA};
use super::host::Host;
use super::listen;
use crate::listener::certificate::Certificate;
use crate::listener::certificate::tests::connector_trusting;
use crate::listener::intake::SessionDesk;
use crate::listener::peer::LocalPeer;

const NAME: &str = "host.example.org";

fn certificate() -> Certificate {
    Certificate::self_made(NAME).unwrap()
}

/// Sets the certificate that further sessions of `host` use.
fn show(host: &Host, certificate: Option<&Certificate>) {
    let desk = SessionDesk { certificate: certificate.cloned(), ..host.desk.clone() };
    host.service.reload(&listen(), desk);
}

/// Returns the extensions that EHLO offers.
async fn offers(client: &mut Client) -> Vec<String> {
    client.ask("EHLO c\r\n").await.texts().into_iter().skip(1).map(str::to_owned).collect()
}

/// Returns a session after STARTTLS and the handshake.
async fn secured(host: &Host, trusted: &Certificate) -> std::io::Result<Client> {
    let (mut client, _) = host.session(1000).await;
    client.say("EHLO c", "250 ").await;
    client.say("STARTTLS", "220 2.0.0").await;
    client.secured(&connector_trusting(trusted.pem()), NAME).await
}

#[tokio::test]
async fn without_a_certificate_it_is_not_offered() {
    let host = Host::new(|_, _| {});
    let (mut client, _) = host.session(1000).await;
    assert!(!offers(&mut client).await.contains(&"STARTTLS".to_owned()));
    client.say("STARTTLS", "502 5.5.1").await;
    client.send_message("x\r\n", "250 2.0.0").await;
}

#[tokio::test]
async fn with_one_the_session_begins_anew_under_tls() {
    let mut host = Host::new(|_, _| {});
    let certificate = certificate();
    show(&host, Some(&certificate));
    let (mut client, _) = host.session(1000).await;
    let before = offers(&mut client).await;
    client.say("MAIL FROM:<before@x.org>", "250 ").await;
    client.say("STARTTLS", "220 2.0.0").await;
    let mut client = client.secured(&connector_trusting(certificate.pem()), NAME).await.unwrap();
    client.say("RCPT TO:<b@y.org>", "503 5.5.1").await;
    client.say("MAIL FROM:<x@x.org>", "503 5.5.1").await;
    let after = offers(&mut client).await;
    assert_eq!(
        before.iter().filter(|line| *line != "STARTTLS").collect::<Vec<_>>(),
        after.iter().collect::<Vec<_>>()
    );
    assert_eq!(before.len(), after.len() + 1);
    client.say("STARTTLS", "503 5.5.1").await;
    client.send_message("x\r\n", "250 2.0.0").await;

    let entry = host.arrivals.recv().await.unwrap();
    assert_eq!(host.spool.read(entry.id).unwrap().envelope.reverse_path.to_string(), "a@x.org");
    let content = String::from_utf8(host.content(&entry)).unwrap();
    let received = content.replace("\r\n\t", " ");
    assert!(
        received.starts_with("Received: from c (uid 1000) (using TLSv1.3) by host.example.org"),
        "{received}"
    );
    assert!(received.contains(&format!(" with ESMTPS id {}", entry.id)), "{received}");
}

#[tokio::test]
async fn a_message_in_the_clear_is_as_ever_where_it_is_offered() {
    let mut host = Host::new(|_, _| {});
    show(&host, Some(&certificate()));
    let (mut client, _) = host.session(1000).await;
    client.send_message("x\r\n", "250 2.0.0").await;
    let entry = host.arrivals.recv().await.unwrap();
    let content = String::from_utf8(host.content(&entry)).unwrap();
    assert!(content.contains(" with ESMTP id ") && !content.contains("using TLS"), "{content}");
}

/// CVE-2011-0411 and similar ones, in two pieces: the second piece is sent in place of a handshake.
#[tokio::test]
async fn plaintext_in_place_of_a_handshake_is_no_command() {
    let mut host = Host::new(|_, _| {});
    show(&host, Some(&certificate()));
    let (mut client, session) = host.session(1000).await;
    client.say("EHLO c", "250 ").await;
    client.say("STARTTLS", "220 2.0.0").await;
    client.send(format!("{TO_DATA}x\r\n.\r\n")).await;
    session.await.unwrap();
    assert_eq!(host.service.sessions(), 0);
    assert!(host.arrivals.try_recv().is_err() && host.spool.is_empty());
}

#[tokio::test]
async fn another_certificate_is_for_the_sessions_that_begin_then() {
    let host = Host::new(|_, _| {});
    let (old, new) = (certificate(), certificate());
    show(&host, Some(&old));
    let mut under_way = secured(&host, &old).await.unwrap();
    let (mut begun, _) = host.session(1000).await;
    show(&host, Some(&new));
    under_way.send_message("x\r\n", "250 2.0.0").await;
    begun.say("EHLO c", "250 ").await;
    begun.say("STARTTLS", "220 2.0.0").await;
    assert!(begun.secured(&connector_trusting(old.pem()), NAME).await.is_ok());
    assert!(secured(&host, &old).await.is_err());
    assert!(secured(&host, &new).await.is_ok());
    show(&host, None);
    let (mut client, _) = host.session(1000).await;
    assert!(!offers(&mut client).await.contains(&"STARTTLS".to_owned()));
}

#[tokio::test]
async fn a_session_may_begin_with_the_handshake() {
    let mut host = Host::new(|_, _| {});
    let certificate = certificate();
    show(&host, Some(&certificate));
    let (theirs, _) = host.session_within_tls(LocalPeer::Uid(1000));
    let mut client =
        Client::over(theirs).secured(&connector_trusting(certificate.pem()), NAME).await.unwrap();
    client.expect("220 ").await;
    let offered = offers(&mut client).await;
    assert!(!offered.contains(&"STARTTLS".to_owned()), "{offered:?}");
    client.say("STARTTLS", "503 5.5.1").await;
    client.send_message("x\r\n", "250 2.0.0").await;
    let entry = host.arrivals.try_recv().unwrap();
    let content = String::from_utf8(host.content(&entry)).unwrap();
    assert!(content.contains("(using TLSv1.3)") && content.contains("with ESMTPS"), "{content}");
}

/// A client that speaks plaintext, or a daemon without a certificate: the connection ends, and others go on.
#[tokio::test]
async fn without_a_handshake_there_is_no_session() {
    for has_certificate in [true, false] {
        let host = Host::new(|_, _| {});
        let certificate = certificate();
        show(&host, has_certificate.then_some(&certificate));
        let (mut theirs, session) = host.session_within_tls(LocalPeer::Uid(1000));
        let _ = tokio::io::AsyncWriteExt::write_all(&mut theirs, b"EHLO c\r\n").await;
        session.await.unwrap();
        let mut heard = Vec::new();
        let _ = tokio::io::AsyncReadExt::read_to_end(&mut theirs, &mut heard).await;
        assert!(!heard.starts_with(b"220"), "{heard:?}");
    }
}
