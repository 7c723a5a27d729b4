use std::net::SocketAddr;
use std::sync::Mutex;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use super::super::dial::Network;
use super::super::remembered::PERIOD;
use super::super::testing::authority::{Authority, Identity, tls_settings};
use super::super::testing::{Given, Wire, play, settings, transaction, wire};
use super::super::{Relay, Trouble};
use super::*;
use crate::config::{self, HostOrIp, RelayHost, RelayPort, Tls, TlsSettings, Trust};
use crate::journal::testing::Captured;

/// Number of octets that go into one segment on most networks.
const SEGMENT: usize = 1_400;

const PLAIN: &str =
    "S: 220 mx ESMTP\nC: EHLO client.example\nS: 250-mx\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\n!tls";
const MAIL: &str = "C: EHLO client.example\nS: 250 mx\nC: MAIL FROM:<ann@example.org>\nS: 250 ok\n\
                    C: RCPT TO:<ben@example.net>\nS: 250 ok\nC: DATA\nS: 354 go on\nC: Subject: x\nC: \nC: .\n\
                    S: 250 2.0.0 taken\nC: QUIT\nS: 221 bye";

/// The fate of a ClientHello.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Answered,
    /// Read, and the connection closed.
    Closed,
    /// Broken off before it was read to its end.
    Broken,
    Stalled,
    /// By an alert: internal_error.
    Alerted,
}

/// One relay, and something on the way to it.
#[derive(Clone)]
struct Firewalled {
    tls: TlsAcceptor,
    is_implicit: bool,
    large: Fate,
    small: Fate,
    /// The number of the connection that is closed behind its ClientHello, whatever else holds.
    closed: Option<usize>,
    hellos: Arc<Mutex<Vec<usize>>>,
}

impl Firewalled {
    fn new(relay: &Identity, is_implicit: bool, large: Fate, small: Fate) -> Self {
        Firewalled { tls: relay.acceptor(), is_implicit, large, small, closed: None, hellos: Arc::default() }
    }

    /// True for each ClientHello so far that was larger than a segment.
    fn were_large(&self) -> Vec<bool> {
        self.hellos.lock().unwrap().iter().map(|size| *size > SEGMENT).collect()
    }

    async fn serve(self, far: DuplexStream) {
        let mut far = BufReader::new(far);
        if !self.is_implicit {
            play(&mut far, PLAIN).await;
        }
        let record = far.fill_buf().await.unwrap();
        let size = 5 + usize::from(u16::from_be_bytes([record[3], record[4]]));
        let count = {
            let mut hellos = self.hellos.lock().unwrap();
            hellos.push(size);
            hellos.len()
        };
        if self.closed == Some(count) {
            return;
        }
        match if size > SEGMENT { self.large } else { self.small } {
            Fate::Closed => {
                far.read_exact(&mut vec![0; size]).await.unwrap();
            }
            Fate::Broken => {}
            Fate::Stalled => std::future::pending().await,
            Fate::Alerted => {
                far.write_all(b"\x15\x03\x03\x00\x02\x02\x50").await.unwrap();
                tokio::io::copy(&mut far, &mut tokio::io::sink()).await.unwrap();
            }
            Fate::Answered => {
                let Ok(stream) = self.tls.accept(far).await else { return };
                let greeting = if self.is_implicit { "S: 220 mx ESMTP\n" } else { "" };
                play(stream, &format!("{greeting}{MAIL}")).await;
            }
        }
    }
}

impl Network for Firewalled {
    type Stream = Wire;

    async fn resolve(&self, _: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(vec![SocketAddr::new([192, 0, 2, 5].into(), port)])
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<Wire> {
        let (near, far) = wire(&address.to_string());
        tokio::spawn(self.clone().serve(far));
        Ok(near)
    }
}

fn relay(tls: TlsSettings, is_implicit: bool) -> Relay {
    let hosts = vec![RelayHost { host: HostOrIp::Name("mx.example".into()), port: RelayPort::Number(587) }];
    let tls = if is_implicit { Tls::Implicit(tls) } else { Tls::StartTls(tls) };
    // The tests open two at once.
    let max_connections = const { std::num::NonZeroUsize::new(2).unwrap() };
    let settings = config::RelayConfig { hosts, tls, max_connections, idle: Duration::ZERO, ..settings() };
    Relay::new(settings).unwrap()
}

/// One message on one connection: what was reported of it.
async fn sent(relay: &Relay, network: &Firewalled) -> Result<Vec<String>, Trouble> {
    let message = transaction(1, "ann@example.org", &["ben@example.net"], "Subject: x\r\n\r\n");
    let mut given = Given::new([message]);
    relay.connect_over(network).await?.run(&mut given).await?;
    Ok(given.told())
}

fn pinned(relay: &Identity) -> TlsSettings {
    tls_settings(Trust::Pins(vec![relay.pin()]))
}

fn logged() -> (Captured, tracing::subscriber::DefaultGuard) {
    let log = Captured::default();
    let written = log.clone();
    let journal = tracing_subscriber::fmt().with_ansi(false).without_time().with_target(false);
    (log, tracing::subscriber::set_default(journal.with_writer(move || written.clone()).finish()))
}

/// Behind a firewall that drops a ClientHello of two segments, no mail ever left the host: each try was one more
/// timeout, and the relay paused for ever.
#[tokio::test(start_paused = true)]
async fn mail_goes_out_where_only_a_small_hello_gets_through() {
    let identity = Authority::new().identity("mx.example");
    for (is_implicit, large, cause, waited) in [
        (false, Fate::Closed, "the relay closed the connection", 0),
        (false, Fate::Stalled, "no answer within 10 s", 10),
        (false, Fate::Broken, "broken pipe", 0),
        (true, Fate::Closed, "the relay closed the connection", 0),
        (true, Fate::Stalled, "no answer within 10 s", 10),
    ] {
        let (log, _logging) = logged();
        let network = Firewalled::new(&identity, is_implicit, large, Fate::Answered);
        let relay = relay(pinned(&identity), is_implicit);
        let started = Instant::now();
        // Two at once, and one that profits by them.
        let both = tokio::join!(sent(&relay, &network), sent(&relay, &network));
        assert_eq!(started.elapsed().as_secs(), waited, "{large:?}");
        for told in [both.0, both.1, sent(&relay, &network).await] {
            assert_eq!(told.unwrap(), ["1/0 sent 2.0.0 250 2.0.0 taken"], "{large:?}");
        }
        assert_eq!(network.were_large(), [true, true, false, false, false], "{large:?}");
        let expected = format!(
            " INFO relay gets a smaller ClientHello for a day, without post-quantum key exchange, since it did not \
             answer the larger one: mx.example[192.0.2.5]:587: TLS handshake: {cause}\n"
        );
        assert_eq!(log.text(), expected);

        tokio::time::advance(PERIOD).await;
        sent(&relay, &network).await.unwrap();
        assert_eq!(network.were_large()[5..], [true, false], "it is tried again after a day");
    }
}

/// Promise 1: who has said a word in the handshake is not asked again.
#[tokio::test(start_paused = true)]
async fn a_relay_that_answers_is_not_tried_again() {
    let identity = Authority::new().identity("mx.example");
    let (log, _logging) = logged();
    let stranger = tls_settings(Trust::Pins(vec![[7; 32]]));
    for (tls, large, expected) in [
        (
            pinned(&identity),
            Fate::Alerted,
            "the relay ended the TLS session: something failed on its own side; its own log says what",
        ),
        (stranger, Fate::Answered, "the relay's key is none of tls.pin-sha256"),
    ] {
        for is_implicit in [false, true] {
            let network = Firewalled::new(&identity, is_implicit, large, Fate::Answered);
            let relay = relay(tls.clone(), is_implicit);
            for tries in 1..3 {
                let trouble = sent(&relay, &network).await.unwrap_err().to_string();
                assert!(trouble.contains(expected), "{trouble}");
                assert_eq!(network.were_large(), vec![true; tries]);
            }
        }
    }
    assert_eq!(log.text(), "");
}

/// Promise 2: a relay that is down in this way for everybody teaches nothing, and gets the larger one first again.
#[tokio::test(start_paused = true)]
async fn a_relay_that_answers_neither_is_tried_twice_and_nothing_is_remembered() {
    let identity = Authority::new().identity("mx.example");
    let (log, _logging) = logged();
    for (fate, expected) in
        [(Fate::Closed, "the relay closed the connection"), (Fate::Stalled, "no answer within 60 s")]
    {
        let network = Firewalled::new(&identity, true, fate, fate);
        let relay = relay(pinned(&identity), true);
        for tries in [&[true, false][..], &[true, false, true, false]] {
            let trouble = sent(&relay, &network).await.unwrap_err().to_string();
            assert_eq!(trouble, format!("mx.example[192.0.2.5]:587: TLS handshake: {expected}"));
            assert_eq!(network.were_large(), tries);
        }
    }
    assert_eq!(log.text(), "");
}

/// With tls.key-exchange = "post-quantum" there is no smaller ClientHello, and nothing told the operator of that key.
#[tokio::test(start_paused = true)]
async fn where_only_the_larger_one_is_allowed_the_failure_names_the_setting() {
    let identity = Authority::new().identity("mx.example");
    let only = |choice| TlsSettings { key_exchange: choice, ..pinned(&identity) };
    let hint = "by tls.key-exchange = \"post-quantum\": a firewall on the way may drop it";
    let (large, small) = (KeyExchangeChoice::PostQuantum, KeyExchangeChoice::Classical);
    for (choice, fate, cause, has_hint) in [
        (large, Fate::Closed, "the relay closed the connection", true),
        (large, Fate::Broken, "broken pipe", true),
        (large, Fate::Stalled, "no answer within 60 s", true),
        (large, Fate::Alerted, "the relay ended the TLS session", false),
        (small, Fate::Closed, "the relay closed the connection", false),
        (small, Fate::Stalled, "no answer within 60 s", false),
    ] {
        for is_implicit in [false, true] {
            let network = Firewalled::new(&identity, is_implicit, fate, fate);
            let trouble = sent(&relay(only(choice), is_implicit), &network).await.unwrap_err();
            let words = trouble.to_string();
            assert!(words.contains(&format!("TLS handshake: {cause}")), "{words}");
            assert_eq!((words.contains(hint), network.were_large().len()), (has_hint, 1), "{words}");
        }
    }
}

/// Promise 3: with the smaller ClientHello a relay is as little trusted as with the larger.
#[tokio::test(start_paused = true)]
async fn the_second_try_verifies_as_the_first() {
    let authority = Authority::new();
    let ca = authority.file();
    let trusting = tls_settings(Trust::CaFile(ca.path().into()));
    for (tls, identity) in [
        (trusting.clone(), authority.identity("other.example")),
        (trusting, Authority::named("other").identity("mx.example")),
        (tls_settings(Trust::Pins(vec![[7; 32]])), authority.identity("mx.example")),
    ] {
        let network = Firewalled::new(&identity, false, Fate::Closed, Fate::Answered);
        let trouble = sent(&relay(tls, false), &network).await.unwrap_err().to_string();
        assert!(trouble.starts_with("mx.example[192.0.2.5]:587: TLS handshake: the "), "{trouble}");
        assert_eq!(network.were_large(), [true, false]);
    }
}

/// With the longest name that a relay can have, and by either minimum.
#[test]
fn a_classical_hello_fits_into_a_segment_and_the_other_does_not() {
    let label = "a".repeat(63);
    let name = format!("{label}.{label}.{label}.{}", "a".repeat(61));
    for minimum in [config::TlsVersion::V1_2, config::TlsVersion::V1_3] {
        let tls = TlsSettings { minimum, ..tls_settings(Trust::Pins(vec![[7; 32]])) };
        let configs = super::super::trust::client_trust(&tls).unwrap().configs;
        let size = |key_exchange| {
            let name = name.clone().try_into().unwrap();
            let mut hello = Vec::new();
            let ours = configs.offering(key_exchange);
            rustls::ClientConnection::new(ours, name).unwrap().write_tls(&mut hello).unwrap()
        };
        let (large, small) = (size(KeyExchange::PostQuantum), size(KeyExchange::Classical));
        assert!(large > SEGMENT && small < SEGMENT / 2, "{large}, {small}");
    }
}

/// A relay that answers slowly, but answers, has the whole time.
#[tokio::test(start_paused = true)]
async fn patience_is_for_the_first_octet_only() {
    let slowly = |answers_after: u64| async move {
        let flight = FirstFlight::new(KeyExchange::PostQuantum);
        let (near, mut far) = wire("192.0.2.5:465");
        let mut near = flight.begin(near);
        let relaying = async {
            tokio::time::sleep(Duration::from_secs(answers_after)).await;
            far.write_all(b"a").await.unwrap();
            std::future::pending::<()>().await
        };
        let shaking = async {
            let mut octets = [0; 2];
            near.read_exact(&mut octets).await.unwrap();
        };
        let limit = Duration::from_secs(60);
        let within = flight.within(limit, async {
            tokio::select! { () = shaking => {}, () = relaying => {} }
        });
        (within.await.unwrap_err().as_secs(), flight.may_have_been_too_large())
    };
    assert_eq!(slowly(9).await, (60, false));
    assert_eq!(slowly(11).await, (10, true));
}

/// Beside a relayhost that was quicker, one behind a firewall that drops the larger ClientHello never came to its smaller one.
#[tokio::test(start_paused = true)]
async fn a_handshake_given_up_without_an_answer_makes_the_next_one_less_patient() {
    let given_up_after = |seconds: u64, is_answered: bool| async move {
        let offer = Offer::new(KeyExchangeChoice::Any);
        let flight = offer.flight();
        let (near, mut far) = wire("192.0.2.5:465");
        let mut near = flight.begin(near);
        let watched = offer.watch(&flight);
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        if is_answered {
            far.write_all(b"a").await.unwrap();
            near.read_u8().await.unwrap();
        }
        drop(watched);
        let next = offer.flight();
        let _heard = next.begin(near);
        let within = next.within(Duration::from_secs(60), std::future::pending::<()>());
        within.await.unwrap_err()
    };
    assert_eq!(given_up_after(3, false).await, PATIENCE);
    assert_eq!(given_up_after(8, false).await, HURRIED);
    assert_eq!(given_up_after(8, true).await, PATIENCE);
}

/// A relay that fails when a session is resumed gets the message at once on one more connection, and the larger
/// ClientHello is not blamed for it.
#[tokio::test(start_paused = true)]
async fn a_handshake_that_may_have_resumed_is_made_again_without() {
    let identity = Authority::new().identity("mx.example");
    let mut network = Firewalled::new(&identity, true, Fate::Answered, Fate::Answered);
    network.closed = Some(2);
    let relay = relay(pinned(&identity), true);
    for _ in 0..3 {
        assert_eq!(sent(&relay, &network).await.unwrap(), ["1/0 sent 2.0.0 250 2.0.0 taken"]);
    }
    assert_eq!(network.were_large(), [true; 4]);
}
