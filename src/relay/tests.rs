//! Whole connections: failover over a scripted network, and one over real TCP and TLS.

use tokio::io::BufReader;
use tokio::net::TcpListener;

use super::testing::authority::{Authority, file, tls_settings};
use super::testing::network::{Far, NOW, Scripted};
use super::testing::{Given, play, settings, transaction};
use super::*;
use crate::config::{AuthConfig, HostOrIp, RelayHost, RelayPort, SecretSource, Tls, Trust};

const GREETED: &str = "S: 220 mx ESMTP\nC: EHLO client.example\nS: 250-mx\nS: 250 AUTH PLAIN\n\
                       C: AUTH PLAIN AHVzZXIAcGVuY2ls\nS: 235 2.7.0 welcome\n";
const NO_LOGIN: &str = "S: 220 mx ESMTP\nC: EHLO client.example\nS: 250-mx\nS: 250 AUTH PLAIN\n\
                        C: AUTH PLAIN AHVzZXIAcGVuY2ls\nS: 535 5.7.8 no\n";

const LOGIN_LATER: &str = "S: 220 mx ESMTP\nC: EHLO client.example\nS: 250-mx\nS: 250 AUTH PLAIN\n\
                           C: AUTH PLAIN AHVzZXIAcGVuY2ls\nS: 454 4.7.0 later\n";

const NO_GREETING: &str = "S: 554 5.3.2 no";

fn host(name: &str) -> RelayHost {
    RelayHost { host: HostOrIp::Name(name.into()), port: RelayPort::Number(25) }
}

/// A relay of two hosts, `first` with 127.0.0.1 and 127.0.0.2, `second` with 127.0.0.3.
async fn dialled(far: [Far; 3]) -> (Result<Peer, String>, Vec<String>) {
    let network = Scripted::new(
        &[("first", &["127.0.0.1", "127.0.0.2"]), ("second", &["127.0.0.3"])],
        &[("127.0.0.1:25", far[0]), ("127.0.0.2:25", far[1]), ("127.0.0.3:25", far[2])],
    );
    let password = file("pencil");
    let secret = SecretSource::File(password.path().into());
    let auth = Some(AuthConfig { username: "user".into(), secret, mechanisms: None });
    let hosts = vec![host("first"), host("second")];
    let relay = Relay::new(config::RelayConfig { hosts, auth, ..settings() }).unwrap();
    let connected = relay.connect_over(&network).await;
    let dialled = network.dialled().iter().map(|dialled| dialled.split(':').next().unwrap().into()).collect();
    let connected = connected.map(|connection| connection.peer().clone()).map_err(|told| told.to_string());
    (connected, dialled)
}

/// Each case: what the three addresses do, which one is used (or the trouble told), which were dialled.
#[tokio::test(start_paused = true)]
async fn addresses_and_hosts_are_tried_in_turn() {
    let plays = |script| Far::Accepts(NOW, script);
    let (good, dead) = (plays(GREETED), Far::Refuses(NOW));
    type Case<'a> = (&'a str, [Far; 3], Result<&'a str, &'a str>, &'a [&'a str]);
    let cases: [Case<'_>; 8] = [
        ("first of all", [good, good, good], Ok("first[127.0.0.1]:25"), &["127.0.0.1"]),
        (
            "next address at connect",
            [dead, good, good],
            Ok("first[127.0.0.2]:25"),
            &["127.0.0.1", "127.0.0.2"],
        ),
        (
            "next address at the greeting",
            [plays("S: 421 busy"), good, good],
            Ok("first[127.0.0.2]:25"),
            &["127.0.0.1", "127.0.0.2"],
        ),
        (
            "next host",
            [dead, plays("!close"), good],
            Ok("second[127.0.0.3]:25"),
            &["127.0.0.1", "127.0.0.2", "127.0.0.3"],
        ),
        (
            "AUTH put off: next host, not the next address",
            [plays(LOGIN_LATER), good, good],
            Ok("second[127.0.0.3]:25"),
            &["127.0.0.1", "127.0.0.3"],
        ),
        (
            "the try that got furthest is told",
            [plays(LOGIN_LATER), good, dead],
            Err("first[127.0.0.1]:25: AUTH: PLAIN: the relay said: 454 4.7.0 later"),
            &["127.0.0.1", "127.0.0.3"],
        ),
        (
            "AUTH refused: neither the next address nor the next host",
            [plays(NO_LOGIN), good, good],
            Err("first[127.0.0.1]:25: AUTH: PLAIN: the relay said: 535 5.7.8 no"),
            &["127.0.0.1"],
        ),
        (
            "all dead: the last one is told",
            [dead, dead, dead],
            Err("second[127.0.0.3]:25: connect: connection refused"),
            &["127.0.0.1", "127.0.0.2", "127.0.0.3"],
        ),
    ];
    for (name, far, expected, tried) in cases {
        let (connected, dialled) = dialled(far).await;
        let connected = connected.map(|peer| peer.to_string());
        // What to do about a refused login stands behind it (`login_advice/tests.rs`).
        let connected = connected.map_err(|told| match told.split_once("; it ") {
            Some((refusal, advice)) if advice.contains("in force") || advice.contains("auth.username") => {
                refusal.into()
            }
            _ => told,
        });
        assert_eq!(connected, expected.map(String::from).map_err(String::from), "{name}");
        assert_eq!(dialled, tried, "{name}");
    }
}

/// One wrong password was tried at every host of the list within a second, and the provider that runs them locked the account.
#[tokio::test(start_paused = true)]
async fn a_refused_login_is_tried_at_one_host_at_a_time() {
    let names = ["first", "second"];
    let addresses = [("first", &["127.0.0.1"][..]), ("second", &["127.0.0.3"][..])];
    let password = file("pencil");
    let secret = SecretSource::File(password.path().into());
    let auth = Some(AuthConfig { username: "user".into(), secret, mechanisms: None });
    let relay =
        Relay::new(config::RelayConfig { hosts: names.map(host).to_vec(), auth, ..settings() }).unwrap();
    let attempt = async |first: Far, second: Far| {
        let network = Scripted::new(&addresses, &[("127.0.0.1:25", first), ("127.0.0.3:25", second)]);
        let connected = relay.connect_over(&network).await;
        let dialled: Vec<String> =
            network.dialled().iter().map(|dialled| dialled.split(':').next().unwrap().into()).collect();
        (connected.map(|connection| connection.peer().name.clone()).ok(), dialled)
    };
    let (no, good, dead) = (Far::Accepts(NOW, NO_LOGIN), Far::Accepts(NOW, GREETED), Far::Refuses(NOW));
    assert_eq!(attempt(no, good).await, (None, vec!["127.0.0.1".into()]), "one host");
    assert_eq!(attempt(no, no).await, (None, vec!["127.0.0.3".into()]), "then the other one");
    assert_eq!(
        attempt(no, good).await,
        (None, Vec::new()),
        "all have refused it, and are left alone for a minute"
    );
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(
        attempt(no, good).await,
        (None, vec!["127.0.0.1".into()]),
        "then they are tried in their order"
    );
    tokio::time::advance(Duration::from_secs(28 * 60)).await;
    assert_eq!(attempt(good, good).await, (Some("first".into()), vec!["127.0.0.1".into()]));
    tokio::time::advance(Duration::from_secs(2 * 60)).await;
    assert_eq!(attempt(no, good).await, (None, vec!["127.0.0.1".into()]), "forgotten after half an hour");
    tokio::time::advance(Duration::from_secs(2 * 60)).await;
    let both = vec!["127.0.0.3".into(), "127.0.0.1".into()];
    assert_eq!(attempt(good, dead).await, (Some("first".into()), both), "not shut out");
    // What the last password met says nothing about another one.
    std::fs::write(password.path(), "pencils\n").unwrap();
    assert!(relay.has_another_secret().await);
    let wrong = Box::leak(NO_LOGIN.replace("cGVuY2ls", "cGVuY2lscw==").into_boxed_str());
    assert_eq!(attempt(dead, Far::Accepts(NOW, wrong)).await.1, ["127.0.0.1", "127.0.0.3"]);
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(attempt(dead, Far::Refuses(NOW)).await.1, ["127.0.0.1", "127.0.0.3"]);
}

/// A host that put the login off, or refused it, got no mail for half an hour, though the secret was mended, an operator
/// flushed, or a login there had succeeded in the meantime.
#[tokio::test(start_paused = true)]
async fn a_host_whose_login_failed_has_its_turn_when_something_has_changed() {
    let mended = Box::leak(GREETED.replace("cGVuY2ls", "cHJvcGVy").into_boxed_str());
    for failing in [LOGIN_LATER, NO_LOGIN] {
        let addresses = [("first", &["127.0.0.1"][..]), ("second", &["127.0.0.3"][..])];
        let password = file("pencil");
        let secret = SecretSource::File(password.path().into());
        let auth = Some(AuthConfig { username: "user".into(), secret, mechanisms: None });
        let hosts = vec![host("first"), host("second")];
        let relay = Relay::new(config::RelayConfig { hosts, auth, ..settings() }).unwrap();
        let attempt = async |first: &'static str, second: &'static str| {
            let far = [("127.0.0.1:25", first), ("127.0.0.3:25", second)];
            let network = Scripted::new(&addresses, &far.map(|(at, script)| (at, Far::Accepts(NOW, script))));
            let connected = relay.connect_over(&network).await;
            connected.map(|connection| connection.peer().name.clone()).ok()
        };
        let fails = async || {
            let _ = attempt(failing, GREETED).await;
            assert_eq!(attempt(GREETED, GREETED).await.as_deref(), Some("second"), "{failing}");
            assert_eq!(relay.passed_over().len(), 1, "{failing}");
        };
        fails().await;
        relay.give_turns();
        // The same secret would be refused again, and no login follows a refused one.
        let is_refused = failing == NO_LOGIN;
        let expected = if is_refused { "second" } else { "first" };
        assert_eq!(attempt(GREETED, GREETED).await.as_deref(), Some(expected), "{failing}");
        assert_eq!(attempt(GREETED, NO_GREETING).await.as_deref(), Some("first"), "{failing}");
        assert_eq!(
            attempt(GREETED, GREETED).await.as_deref(),
            Some("first"),
            "a login that succeeds ends it"
        );
        fails().await;
        std::fs::write(password.path(), "proper\n").unwrap();
        assert_eq!(attempt(mended, mended).await.as_deref(), Some("first"), "{failing}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_cannot_be_looked_up_is_passed_over() {
    let network = Scripted::new(
        &[("second", &["127.0.0.3"])],
        &[("127.0.0.3:25", Far::Accepts(NOW, "S: 220 hi\nC: EHLO client.example\nS: 250 mx\n"))],
    );
    let hosts = vec![host("first"), host("second")];
    let relay = Relay::new(config::RelayConfig { hosts, ..settings() }).unwrap();
    assert_eq!(relay.connect_over(&network).await.unwrap().peer().name, "second");
}

/// A relay that offers DSN, answers 501 to its parameters and hangs up got the same message again at once, for ever.
#[tokio::test(start_paused = true)]
async fn refused_dsn_parameters_are_remembered_beyond_their_connection() {
    const ASKED: &str = "S: 220 mx\nC: EHLO client.example\nS: 250-mx\nS: 250 DSN\n\
                         C: MAIL FROM:<ann@example.org> RET=HDRS\nS: 501 5.5.4 RET\n!close";
    const TOLD: &str = "S: 220 mx\nC: EHLO client.example\nS: 250-mx\nS: 250 DSN\n\
                        C: MAIL FROM:<ann@example.org>\nS: 250 ok\nC: RCPT TO:<ben@example.net>\nS: 250 ok\n\
                        C: DATA\nS: 354 go on\nC: hello\nC: .\nS: 250 ok\nC: QUIT\nS: 221 bye";
    let relay = Relay::new(settings()).unwrap();
    let mut told = Vec::new();
    for script in [ASKED, TOLD, TOLD] {
        let network = Scripted::new(&[], &[("127.0.0.1:2525", Far::Accepts(NOW, script))]);
        let mut message = transaction(1, "ann@example.org", &["ben@example.net"], "hello\r\n");
        message.ret = Some(Ret::Headers);
        let mut given = Given::new([message]);
        relay.connect_over(&network).await.unwrap().run(&mut given).await.unwrap();
        told.extend(given.told());
    }
    assert_eq!(
        told,
        ["1/0 without dsn 4.3.0 501 5.5.4 RET", "1/0 sent 2.0.0 250 ok", "1/0 sent 2.0.0 250 ok"]
    );
}

/// The exception for loopback is for the connection's address: a name may lie.
#[tokio::test(start_paused = true)]
async fn a_name_that_leads_elsewhere_gets_nothing_without_tls() {
    let network =
        Scripted::new(&[("localhost", &["192.0.2.5"])], &[("192.0.2.5:25", Far::Accepts(NOW, "S: 220 hi"))]);
    let relay = Relay::new(config::RelayConfig { hosts: vec![host("localhost")], ..settings() }).unwrap();
    let trouble = relay.connect_over(&network).await.err().unwrap();
    assert_eq!(
        trouble.to_string(),
        "localhost[192.0.2.5]:25: TLS handshake: tls.mode = \"none\" is for loopback addresses only, \
         and 192.0.2.5:25 is none"
    );
}

#[test]
fn settings_that_cannot_work_are_refused_at_start() {
    let refused = Relay::new(config::RelayConfig { hosts: vec![], ..settings() }).err().unwrap();
    assert_eq!(refused.to_string(), "relayhost: no host is named");
    let tls = Tls::StartTls(tls_settings(Trust::CaFile("/nowhere/ca.pem".into())));
    let refused = Relay::new(config::RelayConfig { tls, ..settings() }).err().unwrap().to_string();
    assert!(refused.starts_with("tls.ca-file: cannot read /nowhere/ca.pem"), "{refused}");
}

/// From the socket to the report: real TCP on loopback, STARTTLS, AUTH, one message.
#[tokio::test]
async fn a_message_over_tcp_and_tls() {
    let authority = Authority::new();
    let (ca, identity, password) = (authority.file(), authority.identity("127.0.0.1"), file("pencil"));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = async {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = BufReader::new(stream);
        let plain = "S: 220 mx ESMTP\nC: EHLO client.example\nS: 250-mx\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\n!tls";
        play(&mut stream, plain).await;
        let stream = identity.acceptor().accept(stream).await.unwrap();
        let protected = "C: EHLO client.example\nS: 250-mx\nS: 250-PIPELINING\nS: 250-SIZE\nS: 250 AUTH PLAIN\n\
                         C: AUTH PLAIN AHVzZXIAcGVuY2ls\nS: 235 ok\nC: MAIL FROM:<ann@example.org> SIZE=14\n\
                         C: RCPT TO:<ben@example.net>\nC: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go on\n\
                         C: Subject: x\nC: \nC: .\nS: 250 2.0.0 taken\nC: QUIT\nS: 221 bye";
        play(stream, protected).await
    };
    let sending = async {
        let secret = SecretSource::File(password.path().into());
        let auth = Some(AuthConfig { username: "user".into(), secret, mechanisms: None });
        let hosts = vec![RelayHost {
            host: HostOrIp::Address(address.ip()),
            port: RelayPort::Number(address.port()),
        }];
        let tls = Tls::StartTls(tls_settings(Trust::CaFile(ca.path().into())));
        let idle = Duration::ZERO;
        let relay = Relay::new(config::RelayConfig { hosts, tls, auth, idle, ..settings() }).unwrap();
        let message = transaction(1, "ann@example.org", &["ben@example.net"], "Subject: x\r\n\r\n");
        let mut given = Given::new([message]);
        relay.connect().await.unwrap().run(&mut given).await.unwrap();
        given
    };
    let (rest, given) = tokio::join!(serving, sending);
    assert_eq!((rest.as_str(), given.told()), ("", vec!["1/0 sent 2.0.0 250 2.0.0 taken".to_owned()]));
    assert_eq!(
        given.reports[0].peer,
        Peer { name: "127.0.0.1".into(), address, route: None, tls: Some("TLSv1.3") }
    );
}

/// The daemon spawns these on many threads.
#[tokio::test]
async fn what_the_daemon_spawns_can_be_spawned() {
    fn is_send<T: Send>(_: &T) {}
    let relay = Relay::new(settings()).unwrap();
    is_send(&relay.connect());
    let run = |connection: Connection| async move { connection.run(&mut Given::default()).await };
    is_send(&async move { run(relay.connect().await?).await });
}

/// A relay that replies to QUIT late refused the next connection, since the last one still counted there.
#[tokio::test(start_paused = true)]
async fn a_connection_waits_for_the_place_of_one_that_is_not_closed_yet() {
    const NO_FAREWELL: &str = "S: 220 mx ESMTP\nC: EHLO client.example\nS: 250 mx\nC: QUIT\n!stall";
    let far = Far::Accepts(NOW, NO_FAREWELL);
    let network = Scripted::new(&[("first", &["127.0.0.1"])], &[("127.0.0.1:25", far)]);
    let relay = Relay::new(config::RelayConfig { hosts: vec![host("first")], ..settings() }).unwrap();
    assert_eq!(relay.settings.max_connections.get(), 1);
    let first = relay.connect_over(&network).await.unwrap();
    let in_vain = tokio::time::timeout(Duration::from_secs(3), relay.connect_over(&network)).await;
    assert!(in_vain.is_err() && network.dialled().len() == 1, "the only place is taken");
    first.run(&mut Given::new([])).await.unwrap();
    for waited in [5, 0] {
        let begun = Instant::now();
        let _open = relay.connect_over(&network).await.unwrap();
        assert_eq!(begun.elapsed().as_secs(), waited, "silence costs a place only once");
    }
    assert_eq!(network.dialled().len(), 3);
}
