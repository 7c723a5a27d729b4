use std::net::IpAddr;

use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use super::super::first_flight::Offer;
use super::super::remembered::PERIOD;
use super::super::testing::authority::{Authority, Identity, kept, kept_path, tls_settings};
use super::super::testing::wire;
use super::super::witness::Unwatched;
use super::*;
use crate::config::RelayPort;

fn named(name: &str) -> HostOrIp {
    HostOrIp::Name(name.into())
}

fn client(settings: &TlsSettings) -> TlsClient {
    TlsClient::new(settings, &[]).unwrap().0
}

/// The handshake with a relay, and a line through it: the same whatever key exchange is offered.
async fn shaken(client: &TlsClient, host: &HostOrIp, relay: TlsAcceptor) -> Result<&'static str, String> {
    let shaken = shaken_offering(KeyExchange::PostQuantum, client, host, relay.clone()).await;
    assert_eq!(shaken_offering(KeyExchange::Classical, client, host, relay).await, shaken);
    shaken
}

async fn shaken_offering(
    key_exchange: KeyExchange,
    client: &TlsClient,
    host: &HostOrIp,
    relay: TlsAcceptor,
) -> Result<&'static str, String> {
    let (near, far) = wire("192.0.2.5:587");
    let relaying = async {
        let mut stream = relay.accept(far).await.ok()?;
        let mut line = [0; 4];
        stream.read_exact(&mut line).await.ok()?;
        stream.write_all(&line).await.ok()?;
        stream.flush().await.ok()
    };
    let flight = FirstFlight::new(key_exchange);
    let shaking = async {
        let mut verified =
            client.handshake(near, host, &flight, &Unwatched).await.map_err(|cause| cause.to_string())?;
        // A relay that wants a client certificate says so only now (TLS 1.3).
        let echoed = async {
            let mut line = [0; 4];
            verified.write_all(b"ping").await?;
            verified.flush().await?;
            verified.read_exact(&mut line).await?;
            Ok::<_, io::Error>(line)
        };
        match echoed.await {
            Ok(line) => assert_eq!(line, *b"ping"),
            Err(error) => return Err(error.to_string()),
        }
        Ok(verified.version().unwrap())
    };
    tokio::join!(relaying, shaking).1
}

#[tokio::test]
async fn verified_by_authority_and_name() {
    let authority = Authority::new();
    let ca = authority.file();
    let settings = tls_settings(Trust::CaFile(ca.path().into()));
    let ours = client(&settings);
    let relay = |name: &str| authority.identity(name).acceptor();
    let address: IpAddr = "192.0.2.5".parse().unwrap();
    let cases = [
        (named("mx.example"), relay("mx.example")),
        (named("MX.example."), relay("mx.example")),
        (named("mx.a.example"), relay("*.a.example")),
        (HostOrIp::Address(address), relay("192.0.2.5")),
    ];
    for (host, relay) in cases {
        assert_eq!(shaken(&ours, &host, relay).await, Ok("TLSv1.3"), "{host:?}");
    }
    let old = authority.identity("mx.example").acceptor_with(&[&TLS12], None);
    assert_eq!(shaken(&ours, &named("mx.example"), old).await, Ok("TLSv1.2"));

    let renamed = client(&TlsSettings { server_name: Some("internal.example".into()), ..settings });
    assert_eq!(shaken(&renamed, &HostOrIp::Address(address), relay("internal.example")).await, Ok("TLSv1.3"));
    shaken(&renamed, &named("mx.example"), relay("mx.example")).await.unwrap_err();
}

#[tokio::test]
async fn verified_by_pin_whatever_name_dates_and_issuer() {
    let expired = Authority::new().issue(&["elsewhere.example"], (2020, 2021));
    let pinned = client(&tls_settings(Trust::Pins(vec![[0; 32], expired.pin()])));
    for versions in [&[&TLS12][..], &[&TLS13]] {
        let relay = expired.acceptor_with(versions, None);
        shaken(&pinned, &named("mx.example"), relay).await.unwrap();
    }
    let other = Authority::new().identity("mx.example");
    let shown: String = other.pin().iter().map(|octet| format!("{octet:02x}")).collect();
    let refused = shaken(&pinned, &named("mx.example"), other.acceptor()).await.unwrap_err();
    let expected =
        format!("the relay's key is none of tls.pin-sha256; its pin is {shown}{}", shown_by(&other));
    assert_eq!(refused, expected);
}

/// A relay that shows the pinned certificate but does not hold its key.
#[tokio::test]
async fn a_pin_without_the_key_is_worth_nothing() {
    let (authority, pinned) = (Authority::new(), Authority::new().identity("mx.example"));
    let (chain, other) = (pinned.client().certificate, authority.identity("mx.example"));
    let stolen = super::super::testing::authority::acceptor_showing(&chain, &other.client().key);
    let ours = client(&tls_settings(Trust::Pins(vec![pinned.pin()])));
    let refused = shaken(&ours, &named("mx.example"), stolen).await.unwrap_err();
    assert!(refused.starts_with("a signature of the relay, "), "{refused}");
}

#[tokio::test]
async fn refusals_tell_what_is_wrong() {
    let authority = Authority::new();
    let ca = authority.file();
    let ours = client(&tls_settings(Trust::CaFile(ca.path().into())));
    let cases = [
        (
            authority.issue(&["mx.example"], (2020, 2021)),
            "the relay's certificate, or an issuer's, expired on 2021-01-01: it must be renewed there; if it is your \
             relay's own all the same, trust its key alone: tls.pin-sha256 = \"PIN\"",
        ),
        (
            authority.issue(&["mx.example"], (2100, 2101)),
            "the relay's certificate is not valid before 2100-01-01; is this host's clock right?",
        ),
        (
            authority.issue(&["a.example", "192.0.2.9"], (2020, 2120)),
            "the relay's certificate is for a.example, 192.0.2.9, not for mx.example (if that is your relay's own name, \
             set tls.server-name = \"a.example\")",
        ),
        (
            Authority::new().identity("mx.example"),
            "a signature of the relay, or of the issuer it names, is wrong (is tls.ca-file out of date?)",
        ),
    ];
    for (relay, expected) in cases {
        let refused = shaken(&ours, &named("mx.example"), relay.acceptor()).await;
        let pin: String = relay.pin().iter().map(|octet| format!("{octet:02x}")).collect();
        assert_eq!(refused, Err(format!("{}{}", expected.replace("PIN", &pin), shown_by(&relay))));
    }
}

const TRUST_KEY: &str = "; if it is your relay's own all the same, trust its key alone: tls.pin-sha256 = ";

/// Raw words of the verifier (CaUsedAsEndEntity, UnsupportedCertVersion) kept operators from their relay, and a pin,
/// which was the way out, failed by the same words. Each certificate, under authorities and pinned, over TLS 1.2 and
/// 1.3: what it comes to under authorities, and that a pin takes it.
#[tokio::test]
async fn odd_certificates_are_told_in_sentences_and_can_be_pinned() {
    use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa};
    let authority = Authority::new();
    let (ca, kept_ca) = (authority.file(), kept_path("authority.pem"));
    let by_purpose = |purposes: Vec<ExtendedKeyUsagePurpose>| {
        authority.issue_as(&["mx.example"], |parameters| parameters.extended_key_usages = purposes)
    };
    let an_authority_s = authority
        .issue_as(&["mx.example"], |parameters| parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    let stranger = Authority::named("another authority").identity("mx.example");
    let cases = [
        (
            kept("version-1.pem"),
            &*kept_ca,
            Some("the relay's certificate is an old one, of version 1 or 2: it can name no host"),
        ),
        (
            kept("sha-1.pem"),
            &*kept_ca,
            Some("the relay's certificate, or an issuer's, is signed with SHA-1, which can be forged"),
        ),
        (
            kept("common-name-only.pem"),
            &*kept_ca,
            Some(
                "the relay's certificate names no host: only its common name may, which is no longer looked at \
                 (it needs a subjectAltName)",
            ),
        ),
        (
            an_authority_s,
            ca.path(),
            Some("the relay's certificate is an authority's own (CA:TRUE) and not a server's"),
        ),
        (
            by_purpose(vec![ExtendedKeyUsagePurpose::ClientAuth]),
            ca.path(),
            Some(
                "the relay's certificate, or an issuer's, is not for servers: its extended key usage is clientAuth",
            ),
        ),
        (by_purpose(vec![ExtendedKeyUsagePurpose::Any]), ca.path(), None),
        (
            by_purpose(vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::Any]),
            ca.path(),
            None,
        ),
        (
            stranger,
            ca.path(),
            Some("the issuer of the relay's certificate is not trusted (tls.ca-file names a private CA)"),
        ),
    ];
    for (relay, authorities, expected) in cases {
        let pin: String = relay.pin().iter().map(|octet| format!("{octet:02x}")).collect();
        let trusting = client(&tls_settings(Trust::CaFile(authorities.into())));
        let pinning = client(&tls_settings(Trust::Pins(vec![relay.pin()])));
        let expected = expected.map(|words| format!("{words}{TRUST_KEY}\"{pin}\"{}", shown_by(&relay)));
        for versions in [&[&TLS12][..], &[&TLS13]] {
            let told =
                shaken(&trusting, &named("mx.example"), relay.acceptor_with(versions, None)).await.err();
            assert_eq!(told, expected);
            let pinned = shaken(&pinning, &named("mx.example"), relay.acceptor_with(versions, None)).await;
            assert!(pinned.is_ok(), "{pinned:?}: {expected:?}");
        }
    }
}

/// A certificate for any purpose is still to be its own authority's and its own host's.
#[tokio::test]
async fn for_any_purpose_is_not_for_any_host() {
    let (authority, stranger) = (Authority::new(), Authority::named("another authority"));
    let ca = authority.file();
    let trusting = client(&tls_settings(Trust::CaFile(ca.path().into())));
    let any = |authority: &Authority, name: &str| {
        authority.issue_as(&[name], |parameters| {
            parameters.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::Any];
        })
    };
    for (relay, expected) in [
        (any(&authority, "a.example"), "the relay's certificate is for a.example, not for mx.example"),
        (any(&stranger, "mx.example"), "the issuer of the relay's certificate is not trusted"),
    ] {
        let refused = shaken(&trusting, &named("mx.example"), relay.acceptor()).await.unwrap_err();
        assert!(refused.starts_with(expected), "{refused}");
    }
}

#[tokio::test]
async fn the_minimum_version_holds() {
    let authority = Authority::new();
    let relay = authority.identity("mx.example");
    let settings = tls_settings(Trust::Pins(vec![relay.pin()]));
    let strict = client(&TlsSettings { minimum: TlsVersion::V1_3, ..settings });
    let host = named("mx.example");
    assert_eq!(shaken(&strict, &host, relay.acceptor()).await, Ok("TLSv1.3"));
    let refused = shaken(&strict, &host, relay.acceptor_with(&[&TLS12], None)).await;
    assert_eq!(refused, Err("the relay does not offer TLS 1.3, which tls.minimum asks for".into()));
}

#[tokio::test]
async fn a_client_certificate_is_shown_when_asked_for() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let relay = authority.identity("mx.example");
    let known = clients.identity("client.example");
    let settings = tls_settings(Trust::Pins(vec![relay.pin()]));
    let with = client(&TlsSettings { client: Some(known.client()), ..settings.clone() });
    let without = client(&settings);
    for versions in [&[&TLS12][..], &[&TLS13]] {
        let asking = || relay.acceptor_with(versions, Some(&clients));
        shaken(&with, &named("mx.example"), asking()).await.unwrap();
        shaken(&without, &named("mx.example"), asking()).await.unwrap_err();
    }
}

/// The octets of relays that do not speak our TLS: alerts, and no TLS at all.
#[tokio::test]
async fn other_answers_are_told_apart() {
    let ours = client(&tls_settings(Trust::Pins(vec![[0; 32]])));
    let cases: [(&[u8], &str); 6] = [
        (b"\x15\x03\x01\x00\x02\x02\x46", "only TLS older than 1.2"),
        (b"\x15\x03\x01\x00\x02\x02\x28", "or asks for a client certificate"),
        (
            b"\x15\x03\x03\x00\x02\x02\x50",
            "the relay ended the TLS session: something failed on its own side",
        ),
        (
            b"\x15\x03\x03\x00\x02\x02\x70",
            "for the name that it was asked for (relayhost, or tls.server-name)",
        ),
        (b"220 mx.example ESMTP\r\n", "is not TLS; does tls.mode fit the port"),
        (b"", "the relay closed the connection"),
    ];
    for (answer, expected) in cases {
        let (near, mut far) = wire("192.0.2.5:465");
        let answering = async {
            let mut hello = [0; 1];
            far.read_exact(&mut hello).await.unwrap();
            far.write_all(answer).await.unwrap();
            far.shutdown().await.unwrap();
            let mut rest = Vec::new();
            far.read_to_end(&mut rest).await.unwrap();
        };
        let (host, flight) = (named("mx.example"), FirstFlight::new(KeyExchange::PostQuantum));
        let refused =
            tokio::join!(ours.handshake(near, &host, &flight, &Unwatched), answering).0.err().unwrap();
        assert!(refused.to_string().contains(expected), "{refused}");
    }
}

/// README promise 2: the exception is for the connection's own address.
#[test]
fn without_tls_only_on_loopback() {
    for (address, accepted) in [
        ("127.0.0.1:25", true),
        ("127.9.9.9:25", true),
        ("[::1]:25", true),
        ("[::ffff:127.0.0.1]:25", true),
        ("192.0.2.5:25", false),
        ("0.0.0.0:25", false),
        ("[::ffff:192.0.2.5]:25", false),
        ("10.0.0.1:25", false),
    ] {
        let verified = Verified::loopback(wire(address).0);
        assert_eq!(verified.is_ok(), accepted, "{address}");
        assert!(verified.is_ok_and(|verified| verified.version().is_none()) == accepted);
    }
}

#[test]
fn names_that_cannot_be_verified_are_refused_at_start() {
    let host = |name: &str| RelayHost { host: named(name), port: RelayPort::Number(587) };
    let settings = tls_settings(Trust::Pins(vec![[0; 32]]));
    let error = TlsClient::new(&settings, &[host("ok.example"), host("not a name")]).err().unwrap();
    assert_eq!(error.to_string(), "relayhost: \"not a name\" is no host name");
    let renamed = TlsSettings { server_name: Some("-".into()), ..settings };
    assert_eq!(
        TlsClient::new(&renamed, &[]).err().unwrap().to_string(),
        "tls.server-name: \"-\" is no host name"
    );
}

/// "The issuer is not trusted" did not say which one, and nobody knew which file to look for.
#[test]
fn a_refusal_says_what_the_certificate_says() {
    let relay = Authority::named("Our Own CA").issue(&["a.example", "b.example"], (2020, 2120));
    assert_eq!(
        shown_by(&relay),
        "; the certificate is for a.example, b.example, valid from 2020-01-01 to 2120-01-01, issued by Our Own CA"
    );
}

#[test]
fn what_a_certificate_says_is_escaped() {
    assert_eq!(escaped("is for a\r\nb\u{1b}[31m"), "is for a??b?[31m");
}

/// Makes a handshake, and returns how the relay saw it.
async fn kind(client: &TlsClient, relay: &TlsAcceptor) -> Option<HandshakeKind> {
    let (near, far) = wire("192.0.2.5:587");
    let relaying = async {
        let mut stream = relay.accept(far).await.ok()?;
        let kind = stream.get_ref().1.handshake_kind();
        stream.write_all(b"220 ").await.ok()?;
        stream.flush().await.ok()?;
        stream.read_u8().await.ok()?;
        kind
    };
    let shaking = async {
        let flight = FirstFlight::new(KeyExchange::PostQuantum);
        let mut verified = client.handshake(near, &named("mx.example"), &flight, &Unwatched).await.ok()?;
        // The tickets of TLS 1.3 come behind the handshake.
        verified.read_exact(&mut [0; 4]).await.ok()?;
        verified.write_u8(b'.').await.ok()?;
        verified.flush().await.ok()
    };
    tokio::join!(relaying, shaking).0
}

/// Each connection cost a whole handshake, since nothing was resumed. A session is kept for its own trust alone.
#[tokio::test]
async fn a_session_is_resumed_by_the_trust_that_verified_it_and_by_no_other() {
    let (authority, stranger) = (Authority::new(), Authority::new().identity("mx.example"));
    let relay = authority.identity("mx.example");
    let ca = authority.file();
    for versions in [&[&TLS12][..], &[&TLS13]] {
        let acceptor = relay.acceptor_with(versions, None);
        for trust in [Trust::CaFile(ca.path().into()), Trust::Pins(vec![relay.pin()])] {
            let ours = client(&tls_settings(trust));
            assert_eq!(kind(&ours, &acceptor).await, Some(HandshakeKind::Full));
            assert_eq!(kind(&ours, &acceptor).await, Some(HandshakeKind::Resumed));
        }
        let others = client(&tls_settings(Trust::Pins(vec![stranger.pin()])));
        assert_eq!(kind(&others, &acceptor).await, None, "a session of another trust");
    }
}

#[tokio::test]
async fn a_resumed_certificate_is_verified_by_the_clock_of_now() {
    let authority = Authority::new();
    let ca = authority.file();
    let ours = client(&tls_settings(Trust::CaFile(ca.path().into())));
    let name = ServerName::try_from("mx.example").unwrap();
    let again = |years| {
        let shown = authority.issue(&["mx.example"], years).chain();
        ours.verify_again(Some(&shown), &name).map_err(|cause| cause.to_string())
    };
    assert_eq!(again((2020, 2120)), Ok(()));
    assert!(again((2020, 2021)).unwrap_err().contains("expired on 2021-01-01"));
    assert!(ours.verify_again(None, &name).is_err());
}

/// A relay that fails whenever a session is resumed would have failed at every second connection.
#[tokio::test(start_paused = true)]
async fn sessions_that_fail_are_forgotten_for_a_day() {
    let relay = Authority::new().identity("mx.example");
    let (acceptor, ours) = (relay.acceptor(), client(&tls_settings(Trust::Pins(vec![relay.pin()]))));
    assert!(!ours.forget_sessions(KeyExchange::PostQuantum), "there was none");
    assert_eq!(kind(&ours, &acceptor).await, Some(HandshakeKind::Full));
    assert!(!ours.forget_sessions(KeyExchange::Classical), "that one has none");
    assert!(ours.forget_sessions(KeyExchange::PostQuantum));
    for _ in 0..2 {
        assert_eq!(kind(&ours, &acceptor).await, Some(HandshakeKind::Full));
    }
    assert!(!ours.forget_sessions(KeyExchange::PostQuantum), "none was resumed");
    tokio::time::advance(PERIOD).await;
    assert_eq!(kind(&ours, &acceptor).await, Some(HandshakeKind::Full));
    assert_eq!(kind(&ours, &acceptor).await, Some(HandshakeKind::Resumed));
}

#[tokio::test]
async fn only_the_key_exchange_that_is_chosen_is_offered() {
    let relay = Authority::new().identity("mx.example");
    let settings = tls_settings(Trust::Pins(vec![relay.pin()]));
    let alone = client(&TlsSettings { key_exchange: KeyExchangeChoice::PostQuantum, ..settings });
    let host = named("mx.example");
    let shake = |relay| shaken_offering(KeyExchange::PostQuantumAlone, &alone, &host, relay);
    assert_eq!(shake(relay.acceptor()).await, Ok("TLSv1.3"));
    for refusing in [relay.classical_acceptor(), relay.acceptor_with(&[&TLS12], None)] {
        let refused = shake(refusing).await.unwrap_err();
        assert!(refused.contains("which tls.key-exchange asks for"), "{refused}");
    }
    for (choice, expected) in [
        (KeyExchangeChoice::Any, KeyExchange::PostQuantum),
        (KeyExchangeChoice::PostQuantum, KeyExchange::PostQuantumAlone),
        (KeyExchangeChoice::Classical, KeyExchange::Classical),
    ] {
        assert_eq!(Offer::new(choice).now(), expected);
    }
}

/// Returns what a refusal says of the certificate of `relay`.
fn shown_by(relay: &Identity) -> String {
    super::super::distrust::stated(&relay.chain()[0])
        .map(|stated| format!("; the certificate is {stated}"))
        .unwrap()
}
