use super::name_servers::tests::{Answer, ScriptedServer};
use super::*;

fn record(numbers: [u16; 3], target: &str) -> SrvRecord {
    let [priority, weight, port] = numbers;
    SrvRecord { priority, weight, port, target: target.into() }
}

fn names(hosts: &[ServiceHost]) -> Vec<String> {
    hosts.iter().map(|host| format!("{}:{}", host.name, host.port)).collect()
}

#[test]
fn promise_1_the_lower_priority_comes_first_and_no_record_without_a_host() {
    let records = vec![
        record([20, 0, 465], "b.example.com"),
        record([10, 0, 465], "a.example.com"),
        record([10, 0, 465], "a.example.com"),
        record([0, 0, 0], "no-port.example.com"),
        record([0, 0, 465], "."),
        record([0, 0, 465], "a?b"),
        record([0, 0, 465], "192.0.2.1"),
    ];
    let hosts = ordered(ServiceKind::Submissions, records, &mut Rng::with_seed(1));
    assert_eq!(names(&hosts), ["a.example.com:465", "b.example.com:465"]);
    assert!(hosts.iter().all(|host| host.kind == ServiceKind::Submissions));
}

#[test]
fn promise_1_hosts_of_one_priority_are_chosen_by_their_weights() {
    let records =
        vec![record([1, 0, 587], "none"), record([1, 30, 587], "thirty"), record([1, 10, 587], "ten")];
    let mut rng = Rng::with_seed(7);
    let mut first = || ordered(ServiceKind::Submission, records.clone(), &mut rng)[0].name.clone();
    let firsts: Vec<String> = (0..4000).map(|_| first()).collect();
    let count = |name: &str| firsts.iter().filter(|first| *first == name).count();
    assert!((2850..3150).contains(&count("thirty")), "{}", count("thirty"));
    assert!((850..1150).contains(&count("ten")), "{}", count("ten"));
}

#[test]
fn a_host_is_within_its_domain_or_not() {
    for (name, expected) in [
        ("example.com", true),
        ("SMTP.Example.com", true),
        ("a.b.example.com", true),
        ("badexample.com", false),
        ("example.com.evil.example", false),
        ("com", false),
    ] {
        let host = ServiceHost { name: name.into(), port: 465, kind: ServiceKind::Submissions };
        assert_eq!(host.is_within("example.com"), expected, "{name}");
    }
}

const BOTH: [ServiceKind; 2] = [ServiceKind::Submissions, ServiceKind::Submission];

async fn looked_up(answer: fn(bool) -> Answer, kinds: &[ServiceKind]) -> Result<Vec<String>, String> {
    let server = ScriptedServer::start(answer).await;
    let found = look_up(&server.as_only_one(), "example.com", kinds).await;
    found.map(|hosts| names(&hosts))
}

/// Each case: what the name server says of the two services, which are asked for, and the hosts or the error.
#[tokio::test]
async fn promise_2_one_service_is_enough() {
    const SUBMISSIONS: Answer = Answer::Records(&[([1, 1, 465], "s.example.com.")]);
    const SUBMISSION: Answer = Answer::Records(&[([1, 1, 587], "t.example.com.")]);
    const NOT_OFFERED: Answer = Answer::Records(&[([0, 0, 0], ".")]);
    type Case<'a> = (fn(bool) -> Answer, &'a [ServiceKind], Result<&'a [&'a str], &'a str>);
    let cases: [Case<'_>; 7] = [
        (
            |first| if first { SUBMISSIONS } else { SUBMISSION },
            &BOTH,
            Ok(&["s.example.com:465", "t.example.com:587"]),
        ),
        (|first| if first { SUBMISSIONS } else { SUBMISSION }, &BOTH[1..], Ok(&["t.example.com:587"])),
        (|first| if first { Answer::Fails } else { SUBMISSION }, &BOTH, Ok(&["t.example.com:587"])),
        (|first| if first { NOT_OFFERED } else { SUBMISSION }, &BOTH, Ok(&["t.example.com:587"])),
        (
            |_| Answer::NoSuchName,
            &BOTH,
            Err("example.com names no host for submission: there is no SRV record of _submissions._tcp or \
                 _submission._tcp"),
        ),
        (
            |_| NOT_OFFERED,
            &BOTH[..1],
            Err("example.com names no host for submission: there is no SRV record of _submissions._tcp"),
        ),
        (
            |first| if first { Answer::Fails } else { Answer::NoSuchName },
            &BOTH,
            Err(
                "the SRV records of example.com cannot be looked up: the name server 127.0.0.1: it cannot find the \
                 answer (SERVFAIL)",
            ),
        ),
    ];
    for (answer, kinds, expected) in cases {
        let found = looked_up(answer, kinds).await;
        let expected = expected.map(|hosts| hosts.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(found, expected.map_err(str::to_owned));
    }
}

/// So many records do not fit a datagram.
#[tokio::test]
async fn promise_3_there_are_no_more_hosts_than_some() {
    let found = looked_up(|_| Answer::Many(200), &BOTH[..1]).await.unwrap();
    assert_eq!(found.len(), MOST_HOSTS);
}
