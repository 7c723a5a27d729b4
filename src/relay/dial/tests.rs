use super::super::testing::network::{Far, NOW, Scripted};
use super::*;

const LIMIT: Duration = Duration::from_secs(30);
const SOON: Duration = Duration::from_millis(100);

fn host(name: &str) -> HostOrIp {
    HostOrIp::Name(name.into())
}

async fn race<'a>(network: &'a Scripted, name: &str) -> Race<'a, Scripted> {
    Race::new(network, addresses(network, &host(name), 25, &Families::default(), LIMIT).await.unwrap(), LIMIT)
}

#[test]
fn families_take_turns() {
    let cases: [(&[&str], &[&str]); 4] = [
        (&["192.0.2.1", "192.0.2.2", "2001:db8::1"], &["2001:db8::1", "192.0.2.1", "192.0.2.2"]),
        (
            &["2001:db8::1", "2001:db8::2", "192.0.2.1", "192.0.2.2"],
            &["2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.2"],
        ),
        (&["192.0.2.1", "192.0.2.1"], &["192.0.2.1"]),
        (&[], &[]),
    ];
    for (found, expected) in cases {
        let with_port = |text: &&str| SocketAddr::new(text.parse().unwrap(), 25);
        let ordered = interleaved(found.iter().map(with_port).collect());
        assert_eq!(ordered, expected.iter().map(with_port).collect::<Vec<_>>());
    }
}

/// Each case: what the addresses do, which one wins and when, and what was dialled by then.
#[tokio::test(start_paused = true)]
async fn the_next_try_starts_after_a_head_start_or_a_failure() {
    let (six, four) = ("[2001:db8::1]:25", "192.0.2.1:25");
    let accepts = |after| Far::Accepts(after, "");
    let cases = [
        ("first answers", accepts(SOON), accepts(NOW), six, 100, vec!["[2001:db8::1]:25 @0"]),
        (
            "first is silent",
            Far::IsSilent,
            accepts(SOON),
            four,
            350,
            vec!["[2001:db8::1]:25 @0", "192.0.2.1:25 @250"],
        ),
        (
            "first is slow, but faster than the second",
            accepts(Duration::from_millis(300)),
            accepts(SOON),
            six,
            300,
            vec!["[2001:db8::1]:25 @0", "192.0.2.1:25 @250"],
        ),
    ];
    for (name, first, second, winner, when, dialled) in cases {
        let network =
            Scripted::new(&[("mx", &["192.0.2.1", "2001:db8::1"])], &[(six, first), (four, second)]);
        let begun = tokio::time::Instant::now();
        let (address, tried) = race(&network, "mx").await.next().await.unwrap();
        assert!(tried.is_ok(), "{name}");
        assert_eq!((address.to_string().as_str(), begun.elapsed().as_millis()), (winner, when), "{name}");
        assert_eq!(network.dialled(), dialled, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_starts_the_next_try_at_once() {
    let network = Scripted::new(
        &[("mx", &["192.0.2.1", "192.0.2.2", "192.0.2.3"])],
        &[
            ("192.0.2.1:25", Far::Refuses(SOON)),
            ("192.0.2.2:25", Far::IsSilent),
            ("192.0.2.3:25", Far::Refuses(NOW)),
        ],
    );
    let mut race = race(&network, "mx").await;
    let mut ended = Vec::new();
    while let Some((address, tried)) = race.next().await {
        ended.push(format!("{address} {}", tried.err().unwrap()));
    }
    assert_eq!(
        ended,
        [
            "192.0.2.1:25 connection refused",
            "192.0.2.3:25 connection refused",
            "192.0.2.2:25 no answer within 30 s"
        ]
    );
    assert_eq!(network.dialled(), ["192.0.2.1:25 @0", "192.0.2.2:25 @100", "192.0.2.3:25 @350"]);
}

/// Promise 4: the winner turned out to be of no use; the tries it displaced come again.
#[tokio::test(start_paused = true)]
async fn tries_beside_the_winner_come_again() {
    let network = Scripted::new(
        &[("mx", &["192.0.2.1", "192.0.2.2"])],
        &[
            ("192.0.2.1:25", Far::Accepts(Duration::from_secs(1), "")),
            ("192.0.2.2:25", Far::Accepts(NOW, "")),
        ],
    );
    let mut race = race(&network, "mx").await;
    let mut winners = Vec::new();
    while let Some((address, tried)) = race.next().await {
        assert!(tried.is_ok());
        winners.push(address.to_string());
    }
    assert_eq!(winners, ["192.0.2.2:25", "192.0.2.1:25"]);
}

#[tokio::test(start_paused = true)]
async fn lookups_that_fail_name_the_host() {
    let network = Scripted::new(&[("empty", &[])], &[]);
    for (name, expected) in [
        ("empty", "name lookup: empty has no address"),
        ("nowhere", "name lookup: nowhere cannot be looked up: no such name"),
    ] {
        let trouble = addresses(&network, &host(name), 25, &Families::default(), LIMIT).await.unwrap_err();
        assert_eq!(trouble.to_string(), expected);
    }
    let given = HostOrIp::Address("2001:db8::1".parse().unwrap());
    let expected: SocketAddr = "[2001:db8::1]:465".parse().unwrap();
    assert_eq!(addresses(&network, &given, 465, &Families::default(), LIMIT).await.unwrap(), [expected]);
}

/// A relay that knows this host by its IPv4 address refused what came over IPv6.
#[tokio::test(start_paused = true)]
async fn only_families_that_are_used_are_tried() {
    let network = Scripted::new(&[("both", &["192.0.2.1", "2001:db8::1"]), ("six", &["2001:db8::1"])], &[]);
    let four = families("relay.source-address = '192.0.2.7'");
    let found = addresses(&network, &host("both"), 25, &four, LIMIT).await.unwrap();
    assert_eq!(found, ["192.0.2.1:25".parse().unwrap()]);
    let trouble = addresses(&network, &host("six"), 25, &four, LIMIT).await.unwrap_err();
    assert_eq!(
        trouble.to_string(),
        "name lookup: six has no IPv4 address, and relay.address-family or relay.source-address allows no other"
    );
}

fn families(line: &str) -> Families {
    let text = format!("relayhost = 'mx.example'\n{line}\n");
    let environment = crate::config::Environment { hostname: "web1.example.com".into() };
    crate::config::Config::parse(&text, "x.toml".as_ref(), &environment).unwrap().relay.families
}

/// The relay sees the connection come from the address that is configured; one that is not this host's is told by name.
#[tokio::test]
async fn connections_come_from_the_source_address() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let ours = Internet { families: families("relay.source-address = '127.0.0.9'") };
    let connecting = ours.connect(address);
    let (accepted, connected) = tokio::join!(listener.accept(), connecting);
    connected.unwrap();
    assert_eq!(accepted.unwrap().1.ip().to_string(), "127.0.0.9");
    let elsewhere = Internet { families: families("relay.source-address = '192.0.2.7'") };
    let refused = elsewhere.connect(address).await.err().unwrap();
    assert!(
        refused.to_string().starts_with("relay.source-address 192.0.2.7 is no address of this host now: "),
        "{refused}"
    );
}
