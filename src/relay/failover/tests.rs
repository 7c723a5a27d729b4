use std::collections::HashSet;

use proptest::prelude::*;

use super::super::fault::{CostlyPauses, FIRST_PAUSE, RelayFault};
use super::super::testing::authority::{Authority, file, tls_settings};
use super::super::testing::network::{Far, NOW, Scripted};
use super::super::testing::settings;
use super::*;
use crate::config::{AuthConfig, RelayConfig, RelayHost, SecretSource, ServiceKind, Tls, Trust};

const GREETED: &str = "S: 220 mx ESMTP\nC: EHLO client.example\nS: 250-mx\nS: 250 AUTH PLAIN\n\
                       C: AUTH PLAIN AHVzZXIAcGVuY2ls\nS: 235 2.7.0 welcome";
const NO_LOGIN: &str = "S: 220 mx ESMTP\nC: EHLO client.example\nS: 250-mx\nS: 250 AUTH PLAIN\n\
                        C: AUTH PLAIN AHVzZXIAcGVuY2ls\nS: 535 5.7.8 no";
const LOGIN_LATER: &str = "S: 220 mx ESMTP\nC: EHLO client.example\nS: 250-mx\nS: 250 AUTH PLAIN\n\
                           C: AUTH PLAIN AHVzZXIAcGVuY2ls\nS: 454 4.7.0 later";
const TOO_MANY_LOGINS: &str = "S: 220 mx ESMTP\nC: EHLO client.example\nS: 250-mx\nS: 250 AUTH PLAIN\n\
                               C: AUTH PLAIN AHVzZXIAcGVuY2ls\nS: 535 5.7.8 too many logins";
const SILENT_AT_EHLO: &str = "S: 220 mx ESMTP\nC: EHLO client.example";
const BUSY: &str = "S: 421 4.3.2 busy";
const FULL: &str = "S: 421 4.3.2 full, try again in 10 minutes";

const fn plays(script: &'static str) -> Far {
    Far::Accepts(NOW, script)
}

const GOOD: Far = plays(GREETED);
const MUTE: Far = plays("");
const DEAD: Far = Far::Refuses(NOW);
const LOST: Far = Far::IsSilent;

fn host(name: &str) -> RelayHost {
    RelayHost { host: HostOrIp::Name(name.into()), port: RelayPort::Number(25) }
}

/// Returns a relay of these hosts with a login, and the file of its password.
fn relay(hosts: &[&str]) -> (Relay, tempfile::NamedTempFile) {
    let password = file("pencil");
    let secret = SecretSource::File(password.path().into());
    let auth = Some(AuthConfig { username: "user".into(), secret, mechanisms: None });
    let hosts = hosts.iter().map(|name| host(name)).collect();
    (Relay::new(RelayConfig { hosts, auth, ..settings() }).unwrap(), password)
}

/// Opens a session over `network`, and returns the peer or the trouble.
async fn opened(relay: &Relay, network: &Scripted) -> Result<String, String> {
    let connected = relay.connect_over(network).await;
    connected.map(|connection| connection.peer().to_string()).map_err(|trouble| trouble.to_string())
}

/// Two hosts, `first` with the addresses 127.0.0.1 and 127.0.0.2, `second` with 127.0.0.3.
fn network(far: [Far; 3]) -> Scripted {
    Scripted::new(
        &[("first", &["127.0.0.1", "127.0.0.2"]), ("second", &["127.0.0.3"])],
        &[("127.0.0.1:25", far[0]), ("127.0.0.2:25", far[1]), ("127.0.0.3:25", far[2])],
    )
}

/// A host that accepted and said nothing held up all mail for the five minutes of its greeting, though another one of
/// the list was well. Each case: what the addresses do, what comes of it, and what was dialled when.
#[tokio::test(start_paused = true)]
async fn a_silent_address_gets_company_within_seconds() {
    let later = |script| Far::Accepts(Duration::from_secs(9), script);
    type Case<'a> = (&'a str, [Far; 3], Result<&'a str, &'a str>, &'a [&'a str]);
    let cases: [Case<'_>; 7] = [
        (
            "silent: the next address",
            [MUTE, GOOD, GOOD],
            Ok("first[127.0.0.2]:25"),
            &["127.0.0.1:25 @0", "127.0.0.2:25 @8000"],
        ),
        (
            "silent behind EHLO",
            [plays(SILENT_AT_EHLO), GOOD, GOOD],
            Ok("first[127.0.0.2]:25"),
            &["127.0.0.1:25 @0", "127.0.0.2:25 @8000"],
        ),
        (
            "both addresses silent: the next host",
            [MUTE, MUTE, GOOD],
            Ok("second[127.0.0.3]:25"),
            &["127.0.0.1:25 @0", "127.0.0.2:25 @8000", "127.0.0.3:25 @16000"],
        ),
        (
            "no answer at all from the first host",
            [LOST, LOST, GOOD],
            Ok("second[127.0.0.3]:25"),
            &["127.0.0.1:25 @0", "127.0.0.2:25 @250", "127.0.0.3:25 @8000"],
        ),
        (
            "a failure beside the silent one: the next at once",
            [MUTE, plays(BUSY), GOOD],
            Ok("second[127.0.0.3]:25"),
            &["127.0.0.1:25 @0", "127.0.0.2:25 @8000", "127.0.0.3:25 @8000"],
        ),
        (
            "slow, but the only one",
            [later(GREETED), DEAD, DEAD],
            Ok("first[127.0.0.1]:25"),
            &["127.0.0.1:25 @0", "127.0.0.2:25 @250", "127.0.0.3:25 @8250"],
        ),
        (
            "silent, and the only one: it has its five minutes",
            [MUTE, DEAD, DEAD],
            Err("first[127.0.0.1]:25: greeting: no answer within 300 s"),
            &["127.0.0.1:25 @0", "127.0.0.2:25 @8000", "127.0.0.3:25 @8000"],
        ),
    ];
    for (name, far, expected, dialled) in cases {
        let (relay, _password) = relay(&["first", "second"]);
        let network = network(far);
        let begun = Instant::now();
        let result = opened(&relay, &network).await;
        assert_eq!(result, expected.map(String::from).map_err(String::from), "{name}");
        assert_eq!(network.dialled(), dialled, "{name}");
        let limit = if expected.is_ok() { 25 } else { 300 };
        assert!(begun.elapsed() <= Duration::from_secs(limit), "{name}");
    }
}

/// A provider's name may lead to many addresses behind which everything is silent.
#[tokio::test(start_paused = true)]
async fn promise_6_sockets_are_bounded() {
    let addresses: Vec<String> = (1..=20).map(|last| format!("127.0.0.{last}:25")).collect();
    let names: Vec<&'static str> =
        (1..=20).map(|last| &*Box::leak(format!("127.0.0.{last}").into_boxed_str())).collect();
    let mut far: Vec<(&str, Far)> = addresses.iter().map(|address| (address.as_str(), MUTE)).collect();
    far.push(("127.0.1.1:25", GOOD));
    let network = Scripted::new(&[("first", &names), ("second", &["127.0.1.1"])], &far);
    let (relay, _password) = relay(&["first", "second"]);
    assert_eq!(opened(&relay, &network).await.unwrap(), "second[127.0.1.1]:25");
    assert_eq!((network.dialled().len(), network.most_open()), (21, MOST));
}

/// Each connection paid for the failure of the first host again. It is passed over while the second one works, tried again
/// after a minute by one connection, then after two, and gets the mail again when it works.
#[tokio::test(start_paused = true)]
async fn a_failed_host_is_passed_over_and_gone_back_to() {
    let (relay, _password) = relay(&["first", "second"]);
    let (ill, well) = ([DEAD, DEAD, GOOD], [GOOD, GOOD, GOOD]);
    let (both, only) = (&["127.0.0.1", "127.0.0.2", "127.0.0.3"][..], &["127.0.0.3"][..]);
    let steps = [
        ("it fails", 0, ill, both),
        ("and is passed over", 0, ill, only),
        ("for a minute", 59, well, only),
        ("then it is tried again", 1, ill, both),
        ("by one connection", 0, ill, only),
        ("now for two minutes", 119, well, only),
        ("it works", 1, well, &["127.0.0.1"][..]),
        ("and has the mail again", 0, well, &["127.0.0.1"][..]),
        ("as if nothing had been", 0, ill, both),
        ("for a minute, as at first", 59, well, only),
        ("", 1, well, &["127.0.0.1"][..]),
    ];
    for (name, seconds, far, dialled) in steps {
        tokio::time::advance(Duration::from_secs(seconds)).await;
        let network = network(far);
        opened(&relay, &network).await.unwrap();
        let tried: Vec<String> = network.dialled();
        let tried: Vec<&str> = tried.iter().map(|dialled| dialled.split(':').next().unwrap()).collect();
        assert_eq!(tried, dialled, "{name}");
    }
}

/// If nothing works there is nothing to go over to, and all are tried in their order again.
#[tokio::test(start_paused = true)]
async fn hosts_that_all_fail_keep_their_order() {
    let (relay, _password) = relay(&["first", "second"]);
    for _ in 0..2 {
        let network = network([DEAD, DEAD, DEAD]);
        assert!(opened(&relay, &network).await.is_err());
        assert_eq!(network.dialled(), ["127.0.0.1:25 @0", "127.0.0.2:25 @0", "127.0.0.3:25 @0"]);
        assert_eq!(relay.passed_over(), Vec::<String>::new());
    }
}

/// Each new connection tried a login that would be refused, and the provider locked the account.
#[tokio::test(start_paused = true)]
async fn a_host_that_puts_the_login_off_is_left_alone_for_long() {
    let (relay, _password) = relay(&["first", "second"]);
    let far = [plays(LOGIN_LATER), GOOD, GOOD];
    let mut logins = 0;
    for _minute in 0..60 {
        let network = network(far);
        assert_eq!(opened(&relay, &network).await.unwrap(), "second[127.0.0.3]:25");
        logins += network.dialled().iter().filter(|dialled| dialled.starts_with("127.0.0.1:")).count();
        tokio::time::advance(Duration::from_secs(60)).await;
    }
    assert_eq!(logins, 2);
}

/// Returns the trouble with a relay that refuses our login with this password.
fn refused(at: &str, password: &tempfile::NamedTempFile) -> String {
    format!(
        "{at}: AUTH: PLAIN: the relay said: 535 5.7.8 no; it refuses the user name \"user\" (auth.username) with the password in \
         {} (auth.password-file): correct the one that is wrong; mail waits meanwhile, and nothing bounces for it; another secret \
         there is noticed within seconds, another user name at nullmta reload",
        password.path().display()
    )
}

/// A login that is refused for good ends the tries; then the other hosts come first for half an hour.
#[tokio::test(start_paused = true)]
async fn a_host_that_refuses_the_login_for_good_is_left_alone_for_long() {
    let (relay, password) = relay(&["first", "second"]);
    for minute in 0..60 {
        let network = network([plays(NO_LOGIN), GOOD, GOOD]);
        let (expected, dialled) = if minute % 30 == 0 {
            (Err(refused("first[127.0.0.1]:25", &password)), "127.0.0.1:25 @0")
        } else {
            (Ok("second[127.0.0.3]:25".to_owned()), "127.0.0.3:25 @0")
        };
        assert_eq!(opened(&relay, &network).await, expected, "{minute}");
        assert_eq!(network.dialled(), [dialled], "{minute}");
        tokio::time::advance(Duration::from_secs(60)).await;
    }
}

/// A host that is tried beside a silent one refused the login, and the silent one got the same account a second later.
#[tokio::test(start_paused = true)]
async fn no_login_follows_a_refused_one_though_others_are_under_way() {
    let (relay, password) = relay(&["first", "second"]);
    let slow = Far::Accepts(Duration::from_secs(9), GREETED);
    let first = network([slow, DEAD, plays(NO_LOGIN)]);
    let refused = refused("second[127.0.0.3]:25", &password);
    assert_eq!(opened(&relay, &first).await, Err(refused.clone()));
    assert_eq!(first.dialled(), ["127.0.0.1:25 @0", "127.0.0.2:25 @250", "127.0.0.3:25 @8250"]);
    // Before that, the second one is left alone.
    tokio::time::advance(Duration::from_secs(60)).await;
    let next = network([slow, DEAD, plays(NO_LOGIN)]);
    let begun = Instant::now();
    assert_eq!(opened(&relay, &next).await, Err(refused));
    assert!(begun.elapsed() < Duration::from_secs(9));
    let well = network([GOOD, DEAD, plays(NO_LOGIN)]);
    assert_eq!(opened(&relay, &well).await.unwrap(), "first[127.0.0.1]:25");
}

/// The mail went to the host that refuses the login, since the other one was passed over.
#[tokio::test(start_paused = true)]
async fn a_host_that_refused_the_login_comes_behind_one_that_is_passed_over() {
    let (relay, _password) = relay(&["first", "second"]);
    opened(&relay, &network([DEAD, DEAD, GOOD])).await.unwrap();
    opened(&relay, &network([DEAD, DEAD, plays(NO_LOGIN)])).await.unwrap_err();
    let network = network([GOOD, GOOD, plays(NO_LOGIN)]);
    assert_eq!(opened(&relay, &network).await.unwrap(), "first[127.0.0.1]:25");
}

/// With the first host down, a spare one that refuses the login had the whole list wait for its pause, of a minute at first
/// and then of up to half an hour: nobody looked whether the first one was back. Each step: the second, what the two hosts
/// do, which hosts are dialled, and the fault by which the relay as a whole is paused; `None` with a session.
#[tokio::test(start_paused = true)]
async fn promise_7_a_host_that_refuses_the_login_waits_for_itself() {
    let (relay, password) = relay(&["first", "second"]);
    let no = plays(NO_LOGIN);
    let (down, refusing, well) = ([DEAD, DEAD, no], [no, no, no], [GOOD, GOOD, no]);
    let (unreachable, refused) = (Some(RelayFault::Unreachable), Some(RelayFault::Login { for_good: true }));
    let (both, first, second) = (&["1", "2", "3"][..], &["1", "2"][..], &["3"][..]);
    let start = Instant::now();
    let steps = [
        ("the spare one refuses, behind one that is down", 0, down, both, unreachable),
        ("it is left alone", 1, down, first, unreachable),
        ("for a minute", 59, down, first, unreachable),
        ("then it is tried again", 60, down, both, unreachable),
        ("two minutes this time", 179, down, first, unreachable),
        ("", 180, down, both, unreachable),
        ("the first one is back", 182, well, &["1"], None),
        ("and is down again", 183, down, first, unreachable),
        ("it refuses the login as well: now all do", 184, refusing, &["1"], refused),
        ("neither is tried", 185, refusing, &[], Some(RelayFault::Opening)),
        (
            "the spare one is the next, and not before it would have been",
            184 + 180,
            refusing,
            second,
            refused,
        ),
    ];
    for (name, second, far, dialled, fault) in steps {
        tokio::time::advance((start + Duration::from_secs(second)).duration_since(Instant::now())).await;
        let network = network(far);
        let trouble = relay.connect_over(&network).await.err();
        assert_eq!(trouble.as_ref().map(RelayFault::of), fault, "{name}: {trouble:?}");
        let tried = network.dialled();
        let tried: Vec<&str> = tried.iter().map(|dialled| &dialled[8..9]).collect();
        assert_eq!(tried, dialled, "{name}");
    }
    let left_alone = Vec::<String>::new();
    assert_eq!(network_tried(&relay, refusing).await, left_alone);
    relay.give_turns();
    assert_eq!(network_tried(&relay, refusing).await.len(), 1, "a flush");
    assert_eq!(network_tried(&relay, [plays(BUSY); 3]).await, left_alone, "and no more than that");
    std::fs::write(password.path(), "another").unwrap();
    assert_eq!(network_tried(&relay, [plays(BUSY); 3]).await.len(), 3, "another secret");
}

/// Returns what is dialled by an attempt, whatever comes of it.
async fn network_tried(relay: &Relay, far: [Far; 3]) -> Vec<String> {
    let network = network(far);
    let _ = opened(relay, &network).await;
    network.dialled()
}

/// Each case: what the hosts of a list do, and the fault by which the relay as a whole is paused. A host that is left alone
/// is said in `status`.
#[tokio::test(start_paused = true)]
async fn promise_7_the_relay_waits_for_a_login_only_if_each_host_has_failed_so() {
    const UNANSWERED: &str = "S: 220 mx ESMTP\nC: EHLO client.example\nS: 250-mx\nS: 250 AUTH PLAIN\n\
                              C: AUTH PLAIN AHVzZXIAcGVuY2ls\n";
    const NO_MECHANISM: &str = "S: 220 mx ESMTP\nC: EHLO client.example\nS: 250-mx\nS: 250 AUTH GSSAPI";
    let (no, later, busy, full) = (plays(NO_LOGIN), plays(LOGIN_LATER), plays(BUSY), plays(FULL));
    let (refused, put_off) = (RelayFault::Login { for_good: true }, RelayFault::Login { for_good: false });
    let cases = [
        ([DEAD, DEAD, no], RelayFault::Unreachable, true),
        ([busy, busy, no], RelayFault::Opening, true),
        ([no, GOOD, GOOD], RelayFault::Unreachable, true),
        ([DEAD, DEAD, later], RelayFault::Unreachable, true),
        ([DEAD, DEAD, plays(UNANSWERED)], RelayFault::Unreachable, true),
        ([DEAD, DEAD, plays(NO_MECHANISM)], RelayFault::Unreachable, true),
        ([later, later, DEAD], RelayFault::Unreachable, true),
        ([later, later, later], put_off, true),
        ([later, later, no], refused, true),
        ([DEAD, DEAD, DEAD], RelayFault::Unreachable, false),
        // A host that names a time, and the other one is tried meanwhile.
        ([DEAD, DEAD, full], RelayFault::Unreachable, true),
        ([busy, busy, full], RelayFault::Opening, true),
        // It names the time at one of its addresses.
        ([full, DEAD, DEAD], RelayFault::Unreachable, true),
    ];
    for (far, fault, is_left_alone) in cases {
        let (relay, _password) = relay(&["first", "second"]);
        let trouble = relay.connect_over(&network(far)).await.err().unwrap();
        assert_eq!(RelayFault::of(&trouble), fault, "{trouble}");
        let told = relay.passed_over();
        assert_eq!(
            told.iter().any(|line| line.contains(" is left alone for up to ")),
            is_left_alone,
            "{told:?}"
        );
        let others_are_tried = told.iter().any(|line| line.contains(", and the other hosts are tried: "));
        let waits_for_itself = matches!(trouble.cause, Cause::OneHost { .. });
        assert_eq!(others_are_tried, waits_for_itself, "{told:?}");
        assert_eq!(waits_for_itself, is_left_alone && fault != refused && fault != put_off, "{trouble}");
    }
    // With one host, of two addresses, the relay waits.
    let (relay, _password) = relay(&["first"]);
    let trouble = relay.connect_over(&network([DEAD, no, DEAD])).await.err().unwrap();
    assert_eq!((RelayFault::of(&trouble), relay.passed_over()), (refused, Vec::new()));
}

/// A host of two addresses, one of which asked for ten minutes while the other one refused the connection, was asked again
/// every eight seconds. Each case: what the two addresses do.
#[tokio::test(start_paused = true)]
async fn promise_7_the_relay_keeps_the_time_that_one_address_of_its_only_host_names() {
    let (full, busy) = (plays(FULL), plays("S: 220 mx\nC: EHLO client.example\nS: 421 4.3.2 busy"));
    for far in [[full, DEAD, DEAD], [DEAD, full, DEAD], [full, busy, DEAD], [busy, full, DEAD], [full; 3]] {
        let (relay, _password) = relay(&["first"]);
        let trouble = relay.connect_over(&network(far)).await.err().unwrap();
        let named = trouble.named_time(Timestamp::now());
        assert_eq!(
            (RelayFault::of(&trouble), named),
            (RelayFault::Opening, Some(Duration::from_secs(600))),
            "{trouble}"
        );
    }
}

/// A host that had asked for two hours was asked each few minutes, as long as another one worked.
#[tokio::test(start_paused = true)]
async fn promise_7_a_host_that_names_a_time_is_left_alone_while_another_one_works() {
    let full = plays("S: 421 4.3.2 full, try again in 2 hours");
    let (relay, _password) = relay(&["first", "second"]);
    let (both, second) = (&["1", "2", "3"][..], &["3"][..]);
    let steps = [
        ("it names a time", 0, [full, full, GOOD], both),
        ("", 700, [full, full, GOOD], second),
        ("also when nothing else works", 3600, [full, full, DEAD], second),
        ("", 7199, [full, full, GOOD], second),
        ("then it is asked again", 7200, [full, full, GOOD], both),
        ("", 7201, [GOOD, GOOD, GOOD], second),
        ("and is back", 14_400, [GOOD, GOOD, GOOD], &["1"]),
    ];
    let start = Instant::now();
    for (name, second, far, dialled) in steps {
        tokio::time::advance((start + Duration::from_secs(second)).duration_since(Instant::now())).await;
        let tried = network_tried(&relay, far).await;
        let tried: Vec<&str> = tried.iter().map(|dialled| &dialled[8..9]).collect();
        assert_eq!(tried, dialled, "{name} at {second}");
        let told = relay.passed_over();
        let is_told = told.len() == 1 && told[0].starts_with("first:25 is left alone for up to ");
        assert!(is_told || second == 14_400, "{told:?}");
    }
}

/// With a wrong password a list of five hosts tried eight logins in a quarter of an hour, five of them within seconds, and
/// providers lock an account after five to ten. With words that a rule reads, no host counted as one that refused. Each
/// case: the dialogue, the hosts, and the logins in that time.
#[tokio::test(start_paused = true)]
async fn promise_7_a_longer_list_costs_the_account_one_login_more() {
    const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
    const ADDRESSES: [[&str; 1]; 5] =
        [["127.0.1.1"], ["127.0.1.2"], ["127.0.1.3"], ["127.0.1.4"], ["127.0.1.5"]];
    let names: Vec<(&str, &[&str])> = NAMES.into_iter().zip(ADDRESSES.iter().map(|at| &at[..])).collect();
    let cases = [
        (NO_LOGIN, 1, 4),
        (NO_LOGIN, 2, 5),
        (NO_LOGIN, 3, 5),
        (NO_LOGIN, 5, 5),
        (TOO_MANY_LOGINS, 1, 1),
        (TOO_MANY_LOGINS, 5, 2),
    ];
    for (script, hosts, expected) in cases {
        let far = ADDRESSES.map(|[address]| (format!("{address}:25"), plays(script)));
        let far: Vec<(&str, Far)> = far.iter().map(|(address, far)| (address.as_str(), *far)).collect();
        let (relay, _password) = relay(&NAMES[..hosts]);
        let (mut pauses, mut logins, begun) = (CostlyPauses::default(), 0, Instant::now());
        while begun.elapsed() < Duration::from_secs(15 * 60) {
            let network = Scripted::new(&names, &far);
            let trouble = relay.connect_over(&network).await.err().unwrap();
            logins += network.dialled().len();
            tokio::time::advance(pauses.next(RelayFault::of(&trouble)).unwrap_or(FIRST_PAUSE)).await;
        }
        assert_eq!(logins, expected, "{hosts} hosts: {script}");
    }
}

/// An address that is silent cost each connection its seconds again.
#[tokio::test(start_paused = true)]
async fn a_silent_address_is_remembered() {
    let (relay, _password) = relay(&["first"]);
    for (expected, tried) in [(8000, 2), (0, 1)] {
        let network = network([MUTE, GOOD, DEAD]);
        let begun = Instant::now();
        assert_eq!(opened(&relay, &network).await.unwrap(), "first[127.0.0.2]:25");
        assert_eq!((begun.elapsed().as_millis(), network.dialled().len()), (expected, tried));
    }
    assert_eq!(
        relay.passed_over(),
        ["first[127.0.0.1]:25 is passed over, and tried again in 60s: no session could be opened within 8 s"]
    );
}

/// What an address may do.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Behaviour {
    Good,
    Slow,
    Dead,
    Lost,
    Mute,
    Busy,
    LoginLater,
    NoLogin,
}

impl Behaviour {
    const ALL: [Behaviour; 8] = [
        Behaviour::Good,
        Behaviour::Slow,
        Behaviour::Dead,
        Behaviour::Lost,
        Behaviour::Mute,
        Behaviour::Busy,
        Behaviour::LoginLater,
        Behaviour::NoLogin,
    ];

    fn far(self) -> Far {
        match self {
            Behaviour::Good => GOOD,
            Behaviour::Slow => Far::Accepts(Duration::from_secs(3), GREETED),
            Behaviour::Dead => DEAD,
            Behaviour::Lost => LOST,
            Behaviour::Mute => MUTE,
            Behaviour::Busy => plays(BUSY),
            Behaviour::LoginLater => plays(LOGIN_LATER),
            Behaviour::NoLogin => plays(NO_LOGIN),
        }
    }

    fn works(self) -> bool {
        matches!(self, Behaviour::Good | Behaviour::Slow)
    }

    fn takes_no_login(self) -> bool {
        matches!(self, Behaviour::LoginLater | Behaviour::NoLogin)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the addresses of several hosts do: a session is opened if there is an address that works at a host where
    /// the login never fails, within seconds for each address before it, in this attempt, or in the next one where a host
    /// refuses the login for good: one such host is met in an attempt. None is dialled twice; sockets are bounded.
    #[test]
    fn a_host_that_works_is_found(hosts in prop::collection::vec(
        prop::collection::vec(prop::sample::select(&Behaviour::ALL[..]), 1..5), 1..5,
    )) {
        const NAMES: [&str; 4] = ["a", "b", "c", "d"];
        const ADDRESSES: [[&str; 4]; 4] = [
            ["127.0.1.1", "127.0.1.2", "127.0.1.3", "127.0.1.4"],
            ["127.0.2.1", "127.0.2.2", "127.0.2.3", "127.0.2.4"],
            ["127.0.3.1", "127.0.3.2", "127.0.3.3", "127.0.3.4"],
            ["127.0.4.1", "127.0.4.2", "127.0.4.3", "127.0.4.4"],
        ];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let names: Vec<(&str, &[&str])> =
                hosts.iter().enumerate().map(|(at, far)| (NAMES[at], &ADDRESSES[at][..far.len()])).collect();
            let far: Vec<(String, Far)> = hosts.iter().enumerate().flat_map(|(at, far)| {
                far.iter().enumerate().map(move |(of, far)| (format!("{}:25", ADDRESSES[at][of]), far.far()))
            }).collect();
            let far: Vec<(&str, Far)> = far.iter().map(|(address, far)| (address.as_str(), *far)).collect();
            let (relay, _password) = relay(&NAMES[..hosts.len()]);
            let must_work = hosts.iter().any(|far| {
                far.iter().any(|far| far.works()) && !far.iter().any(|far| far.takes_no_login())
            });
            let may_work = hosts.iter().flatten().any(|far| far.works());
            let refusing = || relay.memory.refusals(relay.last_secret());
            for attempt in 1..=hosts.len() {
                let network = Scripted::new(&names, &far);
                let refused_before = refusing();
                let begun = Instant::now();
                let result = opened(&relay, &network).await;
                // A login that succeeds ends a refusal; it is then the end of the attempt.
                let met = refusing().saturating_sub(refused_before);
                assert!(met <= 1, "{met} in attempt {attempt}");
                assert!(result.is_ok() || !must_work || met == 1, "{result:?} in attempt {attempt}");
                assert!(result.is_err() || (may_work && met == 0), "{result:?} in attempt {attempt}");
                if must_work {
                    let tries = u32::try_from(far.len()).unwrap();
                    assert!(begun.elapsed() <= PATIENCE * tries + Duration::from_secs(4), "{:?}", begun.elapsed());
                }
                let dialled = network.dialled();
                let distinct: HashSet<&str> = dialled.iter().map(|line| line.split(' ').next().unwrap()).collect();
                let again = far.iter().filter(|(_, far)| matches!(far, Far::IsSilent | Far::Accepts(..))).count();
                assert!(dialled.len() <= distinct.len() + again, "{dialled:?}");
                assert!(network.most_open() <= MOST);
                if result.is_ok() {
                    return;
                }
            }
            assert!(!must_work, "no session in {} attempts", hosts.len());
        });
    }
}

fn service(name: &str, port: u16, kind: ServiceKind) -> ServiceHost {
    ServiceHost { name: name.into(), port, kind }
}

const BOTH: &[ServiceKind] = &[ServiceKind::Submissions, ServiceKind::Submission];

/// Whoever can forge an answer of DNS could have mail and password sent to his own host, with his own certificate.
#[test]
fn promise_5_the_certificate_is_for_a_name_that_dns_did_not_choose() {
    let authority = Authority::new();
    let ca = authority.file();
    let tls = Tls::StartTls(tls_settings(Trust::CaFile(ca.path().into())));
    let domain = RelayHost { port: RelayPort::BySrv(BOTH), ..host("example.com") };
    let relay = Relay::new(RelayConfig { hosts: vec![domain.clone()], tls, ..settings() }).unwrap();
    for (name, identity) in [
        ("smtp.example.com", "smtp.example.com"),
        ("example.com", "example.com"),
        ("smtp.provider.net", "example.com"),
        ("example.com.evil.example", "example.com"),
    ] {
        for (kind, is_implicit) in [(ServiceKind::Submissions, true), (ServiceKind::Submission, false)] {
            let asked = RelayTarget::configured(&relay, &domain);
            let target = RelayTarget::named_by(&relay, &asked, service(name, 465, kind));
            assert_eq!(target.identity.to_string(), identity, "{name}");
            assert_eq!(matches!(target.protection, Protection::Implicit(_)), is_implicit, "{name}");
            let words = target.explained(
                Trouble { phase: Phase::Tls, peer: None, cause: Cause::Other("not trusted".into()) },
                &relay.settings.tls,
            );
            let hint = format!("an SRV record of example.com names {name}, which is outside of example.com");
            assert_eq!(words.to_string().contains(&hint), name != identity, "{words}");
        }
    }
}

/// The hosts of a domain are tried as a list is, before the next relayhost; a lookup that fails is trouble.
#[tokio::test(start_paused = true)]
async fn a_domain_stands_for_its_hosts() {
    let hosts = vec![RelayHost { port: RelayPort::BySrv(BOTH), ..host("example.com") }, host("last")];
    let relay = |hosts| Relay::new(RelayConfig { hosts, ..settings() }).unwrap();
    let greeted = Far::Accepts(NOW, "S: 220 hi\nC: EHLO client.example\nS: 250 mx\n");
    let network = |far: [Far; 3]| {
        Scripted::new(
            &[("a.example.com", &["127.0.0.1"]), ("b.example.com", &["127.0.0.2"]), ("last", &["127.0.0.3"])],
            &[("127.0.0.1:465", far[0]), ("127.0.0.2:587", far[1]), ("127.0.0.3:25", far[2])],
        )
    };
    let named = || {
        let (first, second) = (ServiceKind::Submissions, ServiceKind::Submission);
        vec![service("a.example.com", 465, first), service("b.example.com", 587, second)]
    };
    for (far, expected) in [
        ([greeted, greeted, greeted], "a.example.com[127.0.0.1]:465"),
        ([DEAD, greeted, greeted], "b.example.com[127.0.0.2]:587"),
        ([DEAD, DEAD, greeted], "last[127.0.0.3]:25"),
    ] {
        let network = network(far).with_services(named());
        assert_eq!(opened(&relay(hosts.clone()), &network).await.unwrap(), expected);
    }
    assert_eq!(opened(&relay(hosts.clone()), &network([greeted; 3])).await.unwrap(), "last[127.0.0.3]:25");
    let trouble = opened(&relay(hosts[..1].to_vec()), &network([greeted; 3])).await.unwrap_err();
    assert_eq!(trouble, "name lookup: no SRV records of example.com");
}
