//! Logins in whole sessions: real files, real handshakes, a real spool.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use tokio::time::Instant;

use super::client::Client;
use super::host::Host;
use super::listen;
use crate::config::{ListenConfig, Logins};
use crate::listener::certificate::Certificate;
use crate::listener::certificate::tests::connector_trusting;
use crate::listener::intake::SessionDesk;
use crate::listener::login::LoginDesk;
use crate::listener::peer::LocalPeer;
use crate::sasl_server::{ScramHash, ScramKeys};
use crate::secret::Secret;

const NAME: &str = "host.example.org";

fn tcp() -> LocalPeer {
    LocalPeer::Loopback("127.0.0.1".parse().unwrap()).owned_by(Some(33))
}

/// Writes a file with these users, each with the password `s3cret`.
fn write_users(directory: &Path, names: &[&str]) -> PathBuf {
    let keys = ScramKeys::fresh(ScramHash::Sha256, 4096, &Secret::new("s3cret".into())).unwrap();
    let user = |name: &&str| format!("[[user]]\nname = {name:?}\nscram-sha-256 = \"{keys}\"\n");
    let (path, new) = (directory.join("users"), directory.join("users.new"));
    fs::write(&new, names.iter().map(user).collect::<String>()).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(new, &path).unwrap();
    path
}

/// Returns a host whose listener is configured so, with a certificate.
fn host(change: impl FnOnce(&mut ListenConfig, &Path)) -> (Host, Certificate) {
    let host = Host::new(|_, _| {});
    let certificate = Certificate::self_made(NAME).unwrap();
    let mut listen = listen();
    change(&mut listen, host.directory.path());
    let desk = SessionDesk {
        certificate: Some(certificate.clone()),
        logins: LoginDesk::new(&listen),
        ..host.desk.clone()
    };
    host.service.reload(&listen, desk);
    (host, certificate)
}

/// Returns a host with the user `shop`.
fn with_shop() -> (Host, Certificate) {
    host(|listen, directory| listen.logins = Some(Logins::Users(write_users(directory, &["shop"]))))
}

/// Returns the mechanisms that EHLO offers.
async fn offered(client: &mut Client) -> Option<String> {
    let reply = client.ask("EHLO c\r\n").await;
    let texts = reply.texts();
    texts.into_iter().find_map(|line| line.strip_prefix("AUTH ")).map(str::to_owned)
}

async fn secured(host: &Host, certificate: &Certificate, peer: LocalPeer) -> Client {
    let (mut client, _) = host.session_of(peer).await;
    client.say("EHLO c", "250 ").await;
    client.say("STARTTLS", "220 2.0.0").await;
    client.secured(&connector_trusting(certificate.pem()), NAME).await.unwrap()
}

fn plain(name: &str, password: &str) -> String {
    format!("AUTH PLAIN {}", BASE64.encode(format!("\0{name}\0{password}")))
}

#[tokio::test]
async fn each_client_is_offered_what_shows_no_password_to_others() {
    let (host, certificate) = with_shop();
    let (mut over_tcp, _) = host.session_of(tcp()).await;
    assert_eq!(offered(&mut over_tcp).await.as_deref(), Some("SCRAM-SHA-256"));
    over_tcp.say(&plain("shop", "s3cret"), "538 5.7.11").await;
    let mut within_tls = secured(&host, &certificate, tcp()).await;
    let all = "SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN";
    assert_eq!(offered(&mut within_tls).await.as_deref(), Some(all));
    let (mut on_the_socket, _) = host.session(1000).await;
    assert_eq!(offered(&mut on_the_socket).await.as_deref(), Some("SCRAM-SHA-256 PLAIN LOGIN"));
    let (nobody, _) = self::host(|_, _| {});
    let (mut client, _) = nobody.session_of(tcp()).await;
    assert_eq!(offered(&mut client).await, None);
    client.say(&plain("shop", "s3cret"), "502 5.5.1").await;
}

#[tokio::test]
async fn who_has_logged_in_stands_in_the_log_and_the_mail_says_how() {
    let (mut host, certificate) = with_shop();
    let mut client = secured(&host, &certificate, tcp()).await;
    client.say("EHLO c", "250 ").await;
    client.say(&plain("shop", "s3cret"), "235 2.7.0").await;
    client.say(&plain("shop", "s3cret"), "503 5.5.1").await;
    client.send_message("x\r\n", "250 2.0.0").await;
    let entry = host.arrivals.try_recv().unwrap();
    let content = String::from_utf8(host.content(&entry)).unwrap();
    assert!(content.contains("with ESMTPSA"), "{content}");
}

#[tokio::test]
async fn every_wrong_login_is_refused_in_the_same_words() {
    for (name, password) in [("shop", "wrong"), ("nobody", "s3cret"), ("", ""), ("shop", "")] {
        let (host, certificate) = with_shop();
        let mut client = secured(&host, &certificate, tcp()).await;
        client.say("EHLO c", "250 ").await;
        client.say(&plain(name, password), "535 5.7.8 authentication failed").await;
        client.say("AUTH LOGIN", "334 VXNlcm5hbWU6").await;
        client.say(&BASE64.encode(name), "334 UGFzc3dvcmQ6").await;
        client.say(&BASE64.encode(password), "535 5.7.8 authentication failed").await;
        client.send_message("x\r\n", "250 2.0.0").await;
    }
}

#[tokio::test]
async fn mail_over_tcp_needs_a_login_only_where_that_is_required() {
    let (host, certificate) = host(|listen, directory| {
        listen.logins = Some(Logins::Users(write_users(directory, &["shop"])));
        listen.require_auth = true;
    });
    let mut client = secured(&host, &certificate, tcp()).await;
    client.say("EHLO c", "250 ").await;
    client.say("MAIL FROM:<a@x.org>", "530 5.7.0").await;
    client.say("AUTH LOGIN c2hvcA==", "334 UGFzc3dvcmQ6").await;
    client.say(&BASE64.encode("s3cret"), "235 2.7.0").await;
    client.send_message("x\r\n", "250 2.0.0").await;
    let (mut on_the_socket, _) = host.session(1000).await;
    on_the_socket.say("EHLO c", "250 ").await;
    on_the_socket.send_message("x\r\n", "250 2.0.0").await;
}

#[tokio::test]
async fn any_login_will_do_where_that_is_said() {
    let (host, _) = host(|listen, _| {
        listen.logins = Some(Logins::Anybody);
        listen.require_auth = true;
    });
    for (name, password) in [("shop", "x"), ("", ""), ("a b, from=<c>", "\u{e4}")] {
        let (mut client, _) = host.session_of(tcp()).await;
        assert_eq!(offered(&mut client).await.as_deref(), Some("PLAIN LOGIN"));
        client.say(&plain(name, password), "235 2.7.0").await;
        client.send_message("x\r\n", "250 2.0.0").await;
    }
    let (mut client, _) = host.session_of(tcp()).await;
    client.say("EHLO c", "250 ").await;
    client.say("AUTH PLAIN c2hvcA==", "535 5.7.8").await;
    client.say("AUTH SCRAM-SHA-256 biwsbj1hLHI9Yg==", "504 5.5.4").await;
}

/// A file that cannot be read would have kept the daemon from starting, or let nobody send.
#[tokio::test]
async fn without_a_file_nobody_can_log_in_and_mail_goes_on() {
    let (host, certificate) = host(|listen, directory| {
        listen.logins = Some(Logins::Users(directory.join("users")));
    });
    let mut client = secured(&host, &certificate, tcp()).await;
    client.say("EHLO c", "250 ").await;
    client.say(&plain("shop", "s3cret"), "454 4.7.0").await;
    client.send_message("x\r\n", "250 2.0.0").await;
    write_users(host.directory.path(), &["shop"]);
    client.say(&plain("shop", "s3cret"), "235 2.7.0").await;
}

#[tokio::test]
async fn a_reload_keeps_the_users_and_another_file_has_its_own() {
    let (host, _) = with_shop();
    let of = |path: &Path| ListenConfig { logins: Some(Logins::Users(path.into())), ..listen() };
    let path = host.directory.path().join("users");
    let logins = LoginDesk::new(&of(&path));
    let desk = SessionDesk { logins: Arc::clone(&logins), ..host.desk.clone() };
    host.service.reload(&of(&path), desk);
    let (mut client, _) = host.session(1000).await;
    client.say("EHLO c", "250 ").await;
    client.say(&plain("shop", "s3cret"), "235 2.7.0").await;
    fs::write(&path, "broken").unwrap();
    logins.change(&of(&path));
    let (mut client, _) = host.session(1000).await;
    client.say("EHLO c", "250 ").await;
    client.say(&plain("shop", "s3cret"), "235 2.7.0").await;
    assert!(logins.trouble().unwrap().contains("stay in force"));
    logins.change(&of(&host.directory.path().join("other")));
    let (mut client, _) = host.session(1000).await;
    client.say("EHLO c", "250 ").await;
    client.say(&plain("shop", "s3cret"), "454 4.7.0").await;
}

/// What was said before STARTTLS is forgotten, the login too: the mail would have been that of a user who is not there.
#[tokio::test]
async fn a_login_before_tls_is_forgotten() {
    let (host, certificate) = host(|listen, directory| {
        listen.logins = Some(Logins::Users(write_users(directory, &["shop"])));
        listen.require_auth = true;
    });
    let (mut client, _) = host.session(1000).await;
    client.say("EHLO c", "250 ").await;
    client.say(&plain("shop", "s3cret"), "235 2.7.0").await;
    client.say("STARTTLS", "220 2.0.0").await;
    let mut client = client.secured(&connector_trusting(certificate.pem()), NAME).await.unwrap();
    client.say("EHLO c", "250 ").await;
    client.say(&plain("shop", "s3cret"), "235 2.7.0").await;
}

/// Fails to log in so often, in sessions of three attempts.
async fn fail(host: &Host, times: usize) {
    let (mut client, _) = host.session(1000).await;
    client.say("EHLO c", "250 ").await;
    for attempt in 0..times {
        if attempt > 0 && attempt % 3 == 0 {
            client = host.session(1000).await.0;
            client.say("EHLO c", "250 ").await;
        }
        client.say(&plain("shop", "wrong"), "535 5.7.8").await;
    }
}

#[tokio::test(start_paused = true)]
async fn failures_make_the_next_attempt_wait_whatever_it_says() {
    let (host, _) = with_shop();
    fail(&host, 5).await;
    let began = Instant::now();
    let (mut client, _) = host.session(1000).await;
    client.say("EHLO c", "250 ").await;
    client.say(&plain("shop", "s3cret"), "235 2.7.0").await;
    assert_eq!(began.elapsed().as_secs(), 8);
    let (mut client, _) = host.session(1000).await;
    client.say("EHLO c", "250 ").await;
    client.say(&plain("shop", "s3cret"), "235 2.7.0").await;
    assert_eq!(began.elapsed().as_secs(), 8, "a success has ended the waits");
}

/// The login got 235, and in the same flush 421, since its wait counted as idle time.
#[tokio::test(start_paused = true)]
async fn the_wait_of_a_login_is_no_idle_time() {
    let (host, _) = host(|listen, directory| {
        listen.logins = Some(Logins::Users(write_users(directory, &["shop"])));
        listen.idle_timeout = Duration::from_secs(3);
    });
    fail(&host, 5).await;
    let (mut client, _) = host.session(1000).await;
    client.say("EHLO c", "250 ").await;
    client.say(&plain("shop", "s3cret"), "235 2.7.0").await;
    client.say("NOOP", "250 ").await;
}

/// A client of SCRAM saw at once whether its guess was right.
#[tokio::test(start_paused = true)]
async fn a_proof_is_not_looked_at_before_the_wait() {
    let (host, _) = with_shop();
    fail(&host, 5).await;
    let began = Instant::now();
    let (mut client, _) = host.session(1000).await;
    client.say("EHLO c", "250 ").await;
    let first = format!("AUTH SCRAM-SHA-256 {}", BASE64.encode("n,,n=shop,r=abc"));
    client.say(&first, "334 ").await;
    assert_eq!(began.elapsed().as_secs(), 0);
    client.say(&BASE64.encode("c=biws,r=x,p=AAAA"), "535 5.7.8").await;
    assert_eq!(began.elapsed().as_secs(), 8);
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_the_wait() {
    let (host, _) = with_shop();
    fail(&host, 5).await;
    let (mut client, session) = host.session(1000).await;
    client.say("EHLO c", "250 ").await;
    client.send(format!("{}\r\n", plain("shop", "s3cret"))).await;
    // The clock goes on only while everything waits, and the attempt waits for eight seconds.
    tokio::time::sleep(Duration::from_secs(1)).await;
    host.stopper.stop(Instant::now());
    client.expect("454 4.7.0").await;
    client.expect("421 4.3.2").await;
    session.await.unwrap();
}

#[tokio::test]
async fn a_user_sends_only_as_whom_the_file_allows() {
    let (mut host, _) = host(|listen, directory| {
        let path = write_users(directory, &["shop"]);
        let limits = "reverse-paths = \"shop@b.example\"\nfrom-domains = \"b.example\"\n";
        fs::write(&path, fs::read_to_string(&path).unwrap() + limits).unwrap();
        listen.logins = Some(Logins::Users(path));
    });
    let (mut client, _) = host.session(1000).await;
    client.say("EHLO c", "250 ").await;
    client.say("MAIL FROM:<ceo@a.example>", "250 ").await;
    client.say("RSET", "250 ").await;
    client.say(&plain("shop", "s3cret"), "235 2.7.0").await;
    let refusal = "550 5.7.1 user shop may not send as <ceo@a.example> (MAIL FROM), only as shop@b.example";
    client.say("MAIL FROM:<ceo@a.example>", refusal).await;
    for (from, said) in [
        (
            "From: ceo@a.example",
            "550 5.7.1 user shop may not send as <ceo@a.example> (From), only as @b.example",
        ),
        ("From: ann@b.example\r\nResent-From: ceo@a.example", "550 5.7.1 user shop may not send as"),
        ("From: ann@b.example", "250 2.0.0"),
        ("Subject: x", "250 2.0.0"),
    ] {
        client.say("MAIL FROM:<shop@b.example>", "250 ").await;
        client.say("RCPT TO:<b@y.org>", "250 ").await;
        client.say("DATA", "354 ").await;
        client.say(&format!("{from}\r\n\r\nx\r\n."), said).await;
    }
    assert!(host.arrivals.try_recv().is_ok() && host.arrivals.try_recv().is_ok());
    assert!(host.arrivals.try_recv().is_err());
}
