mod sessions;

use std::time::Duration;

use rustls::version::TLS12;
use tokio::io::{AsyncReadExt, BufReader};
use tokio_rustls::TlsAcceptor;

use super::super::first_flight::KeyExchange;
use super::super::testing::authority::{Authority, Identity, file, tls_settings};
use super::super::testing::failing::{FailingVoice, Failure};
use super::super::testing::{Wire, play, settings, wire};
use super::super::witness::Unwatched;
use super::*;
use crate::config::{
    AuthConfig, HostOrIp, RelayHost, RelayPort, SecretSource, Tls, TlsSettings, TlsVersion, Trust,
};

const EHLO: &str = "S: 220 mx.example ESMTP\nC: EHLO client.example\nS: 250-mx.example\nS: 250-PIPELINING\n\
                    S: 250 STARTTLS\n";
const STARTTLS: &str = "C: STARTTLS\nS: 220 go ahead\n!tls\n";
/// The script of a relay under TLS for a client that logs in.
const LOGIN: &str = "C: EHLO client.example\nS: 250-mx.example\nS: 250-SIZE 1000\nS: 250 AUTH PLAIN\n\
                     C: AUTH PLAIN AHVzZXIAcGVuY2ls\nS: 235 2.7.0 welcome\n";

/// The result of an opening: the peer, or the trouble; and what reached the relay beyond its scripts, in plain
/// and under TLS.
#[derive(Debug)]
struct Ended {
    opened: Result<Peer, String>,
    plain: String,
    protected: String,
}

/// Opens a session up to its end.
async fn open(
    stream: Wire,
    peer: Peer,
    settings: &config::RelayConfig,
    protection: &Protection,
    flight: &Arc<FirstFlight>,
    login: Option<&Login>,
) -> Result<Connection, Trouble> {
    let identity = &settings.hosts[0].host;
    let greets = std::future::pending();
    let plan = OpeningPlan { identity, settings, protection, flight, witness: &Unwatched };
    let secured = secure(stream, peer, &plan, greets).await?;
    secured.log_in(login, settings).await
}

/// Opens a session with a relay that plays `plain`, and then `protected` behind a handshake.
async fn ended(
    settings: &config::RelayConfig,
    plain: &str,
    tls: Option<TlsAcceptor>,
    protected: &str,
) -> Ended {
    let address = if matches!(settings.tls, Tls::None) { "127.0.0.1:2525" } else { "192.0.2.5:587" };
    let (near, far) = wire(address);
    let (protection, _) = Protection::new(&settings.tls, &settings.hosts).unwrap();
    let peer = Peer { name: "mx.example".into(), address: address.parse().unwrap(), route: None, tls: None };
    let opening = async {
        let flight = FirstFlight::new(KeyExchange::PostQuantum);
        let login = settings.auth.clone().map(Login::new);
        let opened = open(near, peer, settings, &protection, &flight, login.as_ref()).await;
        opened.map(|connection| connection.peer().clone()).map_err(|trouble| trouble.to_string())
    };
    let serving = async {
        let mut far = BufReader::new(far);
        let mut rest = play(&mut far, plain).await.into_bytes();
        let Some(tls) = tls else { return (rest, String::new()) };
        match tls.accept(&mut far).await {
            Ok(stream) => (rest, play(stream, protected).await),
            Err(_) => {
                let _ = far.read_to_end(&mut rest).await;
                (rest, String::new())
            }
        }
    };
    let (opened, (plain, protected)) = tokio::join!(opening, serving);
    Ended { opened, plain: String::from_utf8_lossy(&plain).into_owned(), protected }
}

/// Settings with a login, for a relay that is to be `mx.example`; the secret's file goes with them.
fn with_tls(tls: Tls) -> (config::RelayConfig, tempfile::NamedTempFile) {
    let file = file("pencil");
    let secret = SecretSource::File(file.path().into());
    let hosts = vec![RelayHost { host: HostOrIp::Name("mx.example".into()), port: RelayPort::Number(587) }];
    let auth = Some(AuthConfig { username: "user".into(), secret, mechanisms: None });
    (config::RelayConfig { hosts, tls, auth, ..settings() }, file)
}

fn pinned(relay: &Identity) -> TlsSettings {
    tls_settings(Trust::Pins(vec![relay.pin()]))
}

#[tokio::test(start_paused = true)]
async fn starttls_then_ehlo_again_then_auth() {
    let relay = Authority::new().identity("mx.example");
    let (settings, _file) = with_tls(Tls::StartTls(pinned(&relay)));
    let ended = ended(&settings, &format!("{EHLO}{STARTTLS}"), Some(relay.acceptor()), LOGIN).await;
    assert_eq!(ended.opened.unwrap().tls, Some("TLSv1.3"));
    assert_eq!((ended.plain.as_str(), ended.protected.as_str()), ("", ""));
}

#[tokio::test(start_paused = true)]
async fn implicit_tls_from_the_first_octet() {
    let relay = Authority::new().identity("mx.example");
    let (settings, _file) = with_tls(Tls::Implicit(pinned(&relay)));
    let protected = format!("S: 220 mx.example ESMTP\n{LOGIN}");
    let tls = relay.acceptor_with(&[&TLS12], None);
    let ended = ended(&settings, "!tls", Some(tls), &protected).await;
    assert_eq!(ended.opened.unwrap().tls, Some("TLSv1.2"));
}

#[tokio::test(start_paused = true)]
async fn loopback_without_tls() {
    let (settings, _file) = with_tls(Tls::None);
    let opened = ended(&settings, &format!("S: 220 mx.example ESMTP\n{LOGIN}"), None, "").await.opened;
    assert_eq!(opened.unwrap().tls, None);

    let anonymous = config::RelayConfig { auth: None, ..settings };
    let old =
        "S: 220 mx.example SMTP\nC: EHLO client.example\nS: 500 what\nC: HELO client.example\nS: 250 mx\n";
    ended(&anonymous, old, None, "").await.opened.unwrap();
}

/// Promise 1, for a relay that ends it before the handshake: the script, and the trouble. Nothing at
/// all is said behind it.
#[tokio::test(start_paused = true)]
async fn a_relay_without_tls_gets_nothing() {
    let relay = Authority::new().identity("mx.example");
    let (settings, _file) = with_tls(Tls::StartTls(pinned(&relay)));
    let no_starttls = EHLO.replace("S: 250 STARTTLS", "S: 250 AUTH PLAIN LOGIN");
    let cases = [
        ("S: 554 5.7.1 go away".into(), "greeting: the relay said: 554 5.7.1 go away"),
        ("S: 421 4.3.2 busy".into(), "greeting: the relay said: 421 4.3.2 busy"),
        ("S: SSH-2.0-OpenSSH_9.6".into(), "greeting: not an SMTP reply: \"SSH-2.0-OpenSSH_9.6\\r\\n\""),
        (
            "!close".into(),
            "greeting: the relay closed the connection; does tls.mode fit the port (\"starttls\" on 587, \
             \"implicit\" on 465)?",
        ),
        (
            "S: 220 hi\nC: EHLO client.example\nS: 502 5.5.1 what".into(),
            "EHLO: the relay said: 502 5.5.1 what",
        ),
        (
            no_starttls,
            "STARTTLS: the relay does not offer STARTTLS: nothing is sent without it; name another port of it in \
             relayhost (587 as a rule), or set tls.mode = \"implicit\" for port 465, or ask its provider",
        ),
        (format!("{EHLO}C: STARTTLS\nS: 454 4.7.0 later"), "STARTTLS: the relay said: 454 4.7.0 later"),
        (format!("{EHLO}C: STARTTLS\nS: 502 5.5.1 what"), "STARTTLS: the relay said: 502 5.5.1 what"),
        (format!("{EHLO}C: STARTTLS\nS: 354 go on"), "STARTTLS: the relay said: 354 go on"),
        (
            format!("{EHLO}C: STARTTLS\nS: 220 go\nS: 250 injected"),
            "STARTTLS: octets injected behind the reply to STARTTLS: \"250 injected\\r\\n\"",
        ),
    ];
    for (script, expected) in cases {
        let ended = ended(&settings, &script, None, "").await;
        let expected = format!("mx.example[192.0.2.5]:587: {expected}");
        assert_eq!(ended.opened, Err(expected), "{script}");
        assert_eq!(ended.plain, "", "{script}");
    }
}

/// Promise 1, for a relay whose certificate is not the right one: the handshake ends, and no word was
/// said under it.
#[tokio::test(start_paused = true)]
async fn a_relay_that_is_not_verified_gets_nothing() {
    let authority = Authority::new();
    let ca = authority.file();
    let trusting = tls_settings(Trust::CaFile(ca.path().into()));
    let good = authority.identity("mx.example");
    let modern = TlsSettings { minimum: TlsVersion::V1_3, ..trusting.clone() };
    let cases = [
        ("wrong name", trusting.clone(), authority.identity("other.example").acceptor()),
        ("expired", trusting.clone(), authority.issue(&["mx.example"], (2020, 2021)).acceptor()),
        ("unknown authority", trusting, Authority::named("other").identity("mx.example").acceptor()),
        ("wrong pin", tls_settings(Trust::Pins(vec![[7; 32]])), good.acceptor()),
        ("TLS 1.2 only", modern, good.acceptor_with(&[&TLS12], None)),
    ];
    for (name, tls, relay) in cases {
        for tls in [Tls::StartTls(tls.clone()), Tls::Implicit(tls)] {
            let plain =
                if matches!(tls, Tls::StartTls(_)) { format!("{EHLO}{STARTTLS}") } else { "!tls".into() };
            let (settings, _file) = with_tls(tls);
            let ended = ended(&settings, &plain, Some(relay.clone()), "S: 220 hi").await;
            let told = ended.opened.unwrap_err();
            assert!(told.starts_with("mx.example[192.0.2.5]:587: TLS handshake: the "), "{name}: {told}");
            assert_eq!(ended.protected, "", "{name}");
            for word in ["AUTH", "MAIL", "EHLO", "QUIT"] {
                assert!(!ended.plain.contains(word), "{name}: {}", ended.plain);
            }
        }
    }
}

/// Promises 2 and 3: what was offered before TLS is worth nothing, and no AUTH means no session.
#[tokio::test(start_paused = true)]
async fn without_auth_no_session() {
    let relay = Authority::new().identity("mx.example");
    let (settings, _file) = with_tls(Tls::StartTls(pinned(&relay)));
    let plain = format!("{}{STARTTLS}", EHLO.replace("S: 250-PIPELINING", "S: 250-AUTH PLAIN"));
    let cases = [
        ("C: EHLO client.example\nS: 250 mx.example", "AUTH: the relay offers AUTH only before TLS"),
        ("C: EHLO client.example\nS: 421 4.3.2 bye", "EHLO: the relay said: 421"),
        (&LOGIN.replace("235 2.7.0 welcome", "535 5.7.8 no"), "AUTH: PLAIN: the relay said: 535 5.7.8 no"),
    ];
    for (protected, expected) in cases {
        let ended = ended(&settings, &plain, Some(relay.acceptor()), protected).await;
        let told = ended.opened.unwrap_err();
        assert!(told.contains(expected), "{told}");
        assert_eq!(ended.protected, "", "{expected}");
    }
}

/// A handshake that does not move on is given up.
#[tokio::test(start_paused = true)]
async fn a_stalled_handshake_times_out() {
    let relay = Authority::new().identity("mx.example");
    let (settings, _file) = with_tls(Tls::Implicit(pinned(&relay)));
    let (protection, _) = Protection::new(&settings.tls, &settings.hosts).unwrap();
    let cases = [
        (KeyExchange::Classical, settings.timeouts.tls),
        (KeyExchange::PostQuantum, Duration::from_secs(10)),
    ];
    for (key_exchange, expected) in cases {
        let (near, _far) = wire("192.0.2.5:465");
        let peer = Peer {
            name: "mx.example".into(),
            address: "192.0.2.5:465".parse().unwrap(),
            route: None,
            tls: None,
        };
        let flight = FirstFlight::new(key_exchange);
        let opened = open(near, peer, &settings, &protection, &flight, None).await;
        let Err(Trouble { phase: Phase::Tls, cause: Cause::TimedOut(limit), .. }) = opened else { panic!() };
        assert_eq!(limit, expected);
    }
}

/// A relay that is told `localhost` or a container's id refuses EHLO, or later the mail.
#[tokio::test(start_paused = true)]
async fn without_a_name_we_say_our_address() {
    let literal = config::RelayConfig { hello: config::EhloName::AddressLiteral, ..settings() };
    let script = "S: 220 mx ESMTP\nC: EHLO [192.0.2.77]\nS: 250 mx";
    let ended = ended(&literal, script, None, "").await;
    assert!(ended.opened.is_ok(), "{ended:?}");
}

/// The plain side of a relay that fails at any octet before the handshake: nothing but EHLO and STARTTLS was said by
/// then, and no session came of it.
#[tokio::test(start_paused = true)]
async fn no_secret_is_said_at_whatever_octet_a_relay_fails_before_tls() {
    let relay = Authority::new().identity("mx.example");
    let (settings, _file) = with_tls(Tls::StartTls(pinned(&relay)));
    let (protection, _) = Protection::new(&settings.tls, &settings.hosts).unwrap();
    let replies = [
        "220 mx.example ESMTP\r\n",
        "250-mx.example\r\n250-AUTH PLAIN\r\n250 STARTTLS\r\n",
        "220 2.0.0 go ahead\r\n",
    ];
    for fails_at in 0..replies.concat().len() {
        for failure in Failure::ALL {
            let (near, far) = wire("192.0.2.5:587");
            let peer = Peer {
                name: "mx.example".into(),
                address: "192.0.2.5:587".parse().unwrap(),
                route: None,
                tls: None,
            };
            let flight = FirstFlight::new(KeyExchange::PostQuantum);
            let mut voice = FailingVoice::new(far, fails_at, failure);
            let serving = async {
                for (number, reply) in replies.iter().enumerate() {
                    if number > 0 && voice.hear().await.is_none() || !voice.say(reply).await {
                        return;
                    }
                }
                // There is no TLS behind this.
                while voice.hear().await.is_some() && voice.say("500 5.5.1 what\r\n").await {}
            };
            let login = settings.auth.clone().map(Login::new);
            let opening = open(near, peer, &settings, &protection, &flight, login.as_ref());
            let (opened, ()) = tokio::join!(opening, serving);
            let heard = String::from_utf8_lossy(&voice.heard);
            assert!(opened.is_err(), "{fails_at} {failure:?}");
            assert!(!heard.contains("AUTH") && !heard.contains("MAIL"), "{fails_at} {failure:?}: {heard}");
            let plain = heard.split("\r\n").take(2).filter(|line| line.is_ascii() && !line.is_empty());
            let is_known = |line: &str| ["EHLO client.example", "STARTTLS", "QUIT"].contains(&line);
            assert!(plain.clone().all(is_known), "{fails_at} {failure:?}: {heard}");
        }
    }
}
