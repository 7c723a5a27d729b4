use super::super::testing::network::{Far, NOW, Scripted};
use super::super::testing::settings;
use super::*;
use crate::config::{HostOrIp, Mechanism, RelayConfig, RelayHost, SecretSource, ServiceKind, Tls};
use crate::relay::service::ServiceHost;

const HELLO: &str = "S: 220 mx ESMTP\nC: EHLO client.example\n";
const LEAVES: &str = "C: QUIT\nS: 221 2.0.0 bye\n";

fn host(name: &str, port: RelayPort) -> RelayHost {
    let host = name.parse().map_or_else(|_| HostOrIp::Name(name.into()), HostOrIp::Address);
    RelayHost { host, port }
}

/// A relay on loopback, without TLS.
fn relay(hosts: Vec<RelayHost>, auth: Option<AuthConfig>) -> Relay {
    let max_connections = std::num::NonZeroUsize::new(8).unwrap();
    Relay::new(RelayConfig { hosts, tls: Tls::None, auth, max_connections, ..settings() }).unwrap()
}

fn password() -> (tempfile::NamedTempFile, AuthConfig) {
    let file = super::super::testing::authority::file("secret-word");
    let secret = SecretSource::File(file.path().into());
    (file, AuthConfig { username: "u".into(), secret, mechanisms: Some(vec![Mechanism::Plain]) })
}

/// Probes `relay` over `network`. Returns a line for each address: each step, and `!` with the kind of its fault.
async fn probed(relay: Relay, network: Scripted) -> (Vec<String>, Vec<AddressProbe>) {
    let mut found = Vec::new();
    probe_over(vec![(relay, network)], |address| found.push(address)).await;
    let step = |step: &ProbeStep| match &step.fault {
        Some(fault) => format!("{}!{:?}", step.phase, fault.kind),
        None => step.phase.to_string(),
    };
    let line = |probe: &AddressProbe| {
        let steps: Vec<String> = probe.steps.iter().map(step).collect();
        let at = probe.address.map_or_else(|| probe.host.clone(), |address| address.to_string());
        format!("{at}: {}", steps.join(", "))
    };
    (found.iter().map(line).collect(), found)
}

fn script(lines: &[&str]) -> &'static str {
    Box::leak(lines.concat().into_boxed_str())
}

#[tokio::test(start_paused = true)]
async fn every_address_is_walked_to_the_end_and_told_in_order() {
    let takes = script(&[HELLO, "S: 250-mx\nS: 250-SIZE 1000\nS: 250 PIPELINING\n", LEAVES]);
    let network = Scripted::new(
        &[("localhost", &["127.0.0.1", "127.0.0.2", "127.0.0.3"])],
        &[
            ("127.0.0.1:2525", Far::Accepts(Duration::from_secs(3), takes)),
            ("127.0.0.2:2525", Far::Refuses(NOW)),
            ("127.0.0.3:2525", Far::Accepts(NOW, takes)),
        ],
    );
    let hosts = vec![host("localhost", RelayPort::Number(2525)), host("nowhere", RelayPort::Number(25))];
    let (lines, found) = probed(relay(hosts, None), network).await;
    assert_eq!(
        lines,
        [
            "127.0.0.1:2525: name lookup, connect, greeting, EHLO, AUTH, QUIT",
            "127.0.0.2:2525: name lookup, connect!Unusable",
            "127.0.0.3:2525: name lookup, connect, greeting, EHLO, AUTH, QUIT",
            "nowhere:25: name lookup!Unusable",
        ]
    );
    let lines = vec!["SIZE 1000".to_owned(), "PIPELINING".to_owned()];
    assert_eq!(found[0].steps[3].facts, StepFacts::Offered(OfferedFacts { lines, size_limit: Some(1000) }));
    assert_eq!(found[0].steps[1].took, Duration::from_secs(3));
    assert_eq!((found[0].fault(), found[1].fault()), (None, Some(ProbeFault::Unusable)));
}

/// Three addresses of one provider, and a wrong password, would have counted as three refusals against the account.
#[tokio::test(start_paused = true)]
async fn a_refused_secret_is_tried_once_and_not_printed() {
    let refuses = script(&[
        HELLO,
        "S: 250-mx\nS: 250 AUTH LOGIN PLAIN\nC: AUTH PLAIN AHUAc2VjcmV0LXdvcmQ=\n",
        "S: 535 5.7.8 no such user: AHUAc2VjcmV0LXdvcmQ= is secret-word\n",
        LEAVES,
    ]);
    let untried = script(&[HELLO, "S: 250-mx\nS: 250 AUTH LOGIN PLAIN\n", LEAVES]);
    let network = Scripted::new(
        &[("localhost", &["127.0.0.1", "127.0.0.2", "127.0.0.3"])],
        &[
            ("127.0.0.1:2525", Far::Accepts(NOW, refuses)),
            ("127.0.0.2:2525", Far::Accepts(Duration::from_secs(1), untried)),
            ("127.0.0.3:2525", Far::Accepts(Duration::from_secs(2), untried)),
        ],
    );
    let (_file, auth) = password();
    let (lines, found) =
        probed(relay(vec![host("localhost", RelayPort::Number(2525))], Some(auth)), network).await;
    let expected = "name lookup, connect, greeting, EHLO, AUTH!LoginRefused, QUIT";
    assert_eq!(lines, [1, 2, 3].map(|number| format!("127.0.0.{number}:2525: {expected}")));
    let told = format!("{found:?}");
    assert!(!told.contains("secret-word") && !told.contains("AHUAc2VjcmV0"), "{told}");
    let words = |place: usize| found[place].steps[4].fault.as_ref().unwrap().words.clone();
    assert!(
        words(0).contains("535 5.7.8 no such user: *** is ***; it refuses the user name"),
        "{}",
        words(0)
    );
    assert!(
        words(1).starts_with("not tried: the login failed at localhost[127.0.0.1]:2525, and"),
        "{}",
        words(1)
    );
}

/// It was told that QUIT was ok.
#[tokio::test(start_paused = true)]
async fn a_relay_that_does_not_answer_quit_is_said_to_be_so() {
    let silent = script(&[HELLO, "S: 250 mx\n", "C: QUIT\n"]);
    let network =
        Scripted::new(&[("localhost", &["127.0.0.1"])], &[("127.0.0.1:2525", Far::Accepts(NOW, silent))]);
    let (lines, found) = probed(relay(vec![host("localhost", RelayPort::Number(2525))], None), network).await;
    assert_eq!(lines, ["127.0.0.1:2525: name lookup, connect, greeting, EHLO, AUTH, QUIT"]);
    assert_eq!(found[0].steps.last().unwrap().facts, StepFacts::Unanswered);
}

/// The second address was "not tried, since the login was refused", and nobody had refused anything.
#[tokio::test(start_paused = true)]
async fn a_secret_that_is_missing_is_told_at_each_address() {
    let untried = script(&[HELLO, "S: 250-mx\nS: 250 AUTH PLAIN\n", LEAVES]);
    let network = Scripted::new(
        &[("localhost", &["127.0.0.1", "127.0.0.2"])],
        &[
            ("127.0.0.1:2525", Far::Accepts(NOW, untried)),
            ("127.0.0.2:2525", Far::Accepts(Duration::from_secs(1), untried)),
        ],
    );
    let (file, auth) = password();
    drop(file);
    let (lines, found) =
        probed(relay(vec![host("localhost", RelayPort::Number(2525))], Some(auth)), network).await;
    let expected = "name lookup, connect, greeting, EHLO, AUTH!Configuration, QUIT";
    assert_eq!(lines, [1, 2].map(|number| format!("127.0.0.{number}:2525: {expected}")));
    for probe in &found {
        let words = &probe.steps[4].fault.as_ref().unwrap().words;
        assert!(words.contains("No such file") && !words.contains("not tried"), "{words}");
    }
}

/// A relay of which one address offers a login that we have, and another does not.
#[tokio::test(start_paused = true)]
async fn an_offer_that_does_not_fit_is_no_failed_login() {
    let other = script(&[HELLO, "S: 250-mx\nS: 250 AUTH LOGIN\n", LEAVES]);
    let takes = script(&[
        HELLO,
        "S: 250-mx\nS: 250 AUTH PLAIN\nC: AUTH PLAIN AHUAc2VjcmV0LXdvcmQ=\nS: 235 2.7.0 ok\n",
        LEAVES,
    ]);
    let network = Scripted::new(
        &[("localhost", &["127.0.0.1", "127.0.0.2"])],
        &[
            ("127.0.0.1:2525", Far::Accepts(NOW, other)),
            ("127.0.0.2:2525", Far::Accepts(Duration::from_secs(1), takes)),
        ],
    );
    let (_file, auth) = password();
    let (lines, found) =
        probed(relay(vec![host("localhost", RelayPort::Number(2525))], Some(auth)), network).await;
    assert_eq!(
        lines,
        [
            "127.0.0.1:2525: name lookup, connect, greeting, EHLO, AUTH!Configuration, QUIT",
            "127.0.0.2:2525: name lookup, connect, greeting, EHLO, AUTH, QUIT",
        ]
    );
    let StepFacts::Login(login) = &found[1].steps[4].facts else { panic!("{:?}", found[1]) };
    assert_eq!(login.taken.as_deref(), Some("PLAIN"));
}

#[tokio::test(start_paused = true)]
async fn a_silent_port_ends_within_the_bound_and_says_what_may_be_wrong() {
    let network = Scripted::new(
        &[("localhost", &["127.0.0.1", "127.0.0.2"])],
        &[("127.0.0.1:2525", Far::Accepts(NOW, "")), ("127.0.0.2:2525", Far::IsSilent)],
    );
    let begun = Instant::now();
    let (lines, found) = probed(relay(vec![host("localhost", RelayPort::Number(2525))], None), network).await;
    assert_eq!(begun.elapsed(), STEP);
    assert_eq!(
        lines,
        [
            "127.0.0.1:2525: name lookup, connect, greeting!Unusable",
            "127.0.0.2:2525: name lookup, connect!Unusable",
        ]
    );
    let words = &found[0].steps[2].fault.as_ref().unwrap().words;
    assert_eq!(words, "no answer within 20 s; the daemon waits longer, for as long as relay.timeouts says");
}

/// One connection at a time is what the provider allows, and a probe of four addresses had four.
#[tokio::test(start_paused = true)]
async fn no_more_connections_than_allowed_are_open() {
    let takes = script(&[HELLO, "S: 250 mx\n", LEAVES]);
    let busy = "S: 421 4.3.2 too many\n!close";
    let network = Scripted::new(
        &[("localhost", &["127.0.0.1", "127.0.0.2", "127.0.0.3"])],
        &[
            ("127.0.0.1:2525", Far::Accepts(Duration::from_secs(1), takes)),
            ("127.0.0.2:2525", Far::Accepts(Duration::from_secs(1), takes)),
            ("127.0.0.3:2525", Far::Accepts(NOW, busy)),
        ],
    );
    let hosts = vec![host("localhost", RelayPort::Number(2525))];
    let relay = Relay::new(RelayConfig { hosts, ..settings() }).unwrap();
    let begun = Instant::now();
    let (lines, found) = probed(relay, network).await;
    assert_eq!(begun.elapsed(), Duration::from_secs(2), "one behind the other");
    assert!(lines[2].ends_with("greeting!Temporary"), "{}", lines[2]);
    let words = &found[2].steps[2].fault.as_ref().unwrap().words;
    assert!(words.ends_with("and a daemon that runs may have it now"), "{words}");
}

#[tokio::test(start_paused = true)]
async fn the_hosts_of_an_srv_record_are_all_walked_to() {
    let takes = script(&[HELLO, "S: 250 mx\n", LEAVES]);
    let named = |name: &str, port| ServiceHost { name: name.into(), port, kind: ServiceKind::Submission };
    let network = Scripted::new(
        &[("localhost", &["127.0.0.1"]), ("other", &["127.0.0.2"])],
        &[("127.0.0.1:2525", Far::Accepts(NOW, takes)), ("127.0.0.2:2526", Far::Refuses(NOW))],
    )
    .with_services(vec![named("localhost", 2525), named("other", 2526), named("gone", 1)]);
    let domain = host("example.com", RelayPort::BySrv(&[ServiceKind::Submission]));
    let (lines, _) = probed(relay(vec![domain], None), network).await;
    assert_eq!(
        lines,
        [
            "127.0.0.1:2525: name lookup, connect, greeting, EHLO, AUTH, QUIT",
            "127.0.0.2:2526: name lookup, connect!Unusable",
            "gone:1: name lookup!Unusable",
        ]
    );
}
