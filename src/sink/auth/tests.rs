use std::sync::LazyLock;

use rsasl::mechname::Mechname;
use rsasl::prelude::{SASLClient, SASLConfig};

use super::*;

const NAME: &str = "apikey";
const PASSWORD: &str = "pässword, with = and ,";

/// Returns users that are made once, since their keys take some milliseconds.
fn users() -> &'static SinkUsers {
    static USERS: LazyLock<SinkUsers> = LazyLock::new(|| {
        let other = SinkUser { name: "other".into(), password: Secret::new("other's".into()) };
        SinkUsers::new(&[other, SinkUser { name: NAME.into(), password: Secret::new(PASSWORD.into()) }])
            .unwrap()
    });
    &USERS
}

/// Lets the client side of rsasl talk to ours. `initial` says whether the client may send an initial response.
fn converse(mechanism: &str, initial: bool, config: Arc<SASLConfig>) -> AuthStep {
    let name = Mechname::parse(mechanism.as_bytes()).unwrap();
    let mut client = SASLClient::new(config).start_suggested(&[name]).unwrap();
    let mut response = |challenge: Option<&[u8]>| {
        let mut response = Vec::new();
        client.step(challenge, &mut response).map(|_| response)
    };
    let first = (initial && mechanism != "LOGIN").then(|| response(None).unwrap());
    let (mut exchange, mut step) = users().start(mechanism, first.as_deref());
    while let AuthStep::Challenge(challenge) = &step {
        let spoken_to = if challenge.is_empty() { None } else { Some(&challenge[..]) };
        // A client that finds the proof of the server wrong closes the connection; its answer does not matter.
        let said = response(spoken_to).unwrap_or_default();
        step = exchange.as_mut().unwrap().respond(&said);
    }
    step
}

fn credentials(name: &str, password: &str) -> Arc<SASLConfig> {
    SASLConfig::with_credentials(None, name.into(), password.into()).unwrap()
}

#[test]
fn every_mechanism_offered_knows_its_users() {
    for mechanism in MECHANISMS {
        for initial in [true, false] {
            let step = converse(mechanism, initial, credentials(NAME, PASSWORD));
            assert_eq!(
                step,
                AuthStep::Succeeded { user: NAME.into(), senders: None },
                "{mechanism}, initial {initial}"
            );
        }
    }
}

#[test]
fn every_mechanism_refuses_everyone_else() {
    let strangers = [(NAME, "wrong"), (NAME, "other's"), ("nobody", PASSWORD)];
    for mechanism in MECHANISMS {
        for (name, password) in strangers {
            let step = converse(mechanism, true, credentials(name, password));
            assert_eq!(step, AuthStep::Failed, "{mechanism} {name}");
        }
    }
}

#[test]
fn nobody_may_act_for_another() {
    for mechanism in ["PLAIN", "SCRAM-SHA-256"] {
        let config =
            SASLConfig::with_credentials(Some("other".into()), NAME.into(), PASSWORD.into()).unwrap();
        assert_eq!(converse(mechanism, true, config), AuthStep::Failed, "{mechanism}");
    }
}

#[test]
fn login_takes_the_user_as_initial_response() {
    let (exchange, step) = users().start("LOGIN", Some(NAME.as_bytes()));
    assert!(matches!(step, AuthStep::Challenge(_)));
    let step = exchange.unwrap().respond(PASSWORD.as_bytes());
    assert_eq!(step, AuthStep::Succeeded { user: NAME.into(), senders: None });
}

#[test]
fn garbage_fails_without_a_panic() {
    let garbage: [&[u8]; 12] = [
        b"",
        b"\0",
        b"\0\0\0\0",
        b"\xff\xfe",
        b"a\0b",
        b",",
        b",,",
        b"n,,n=,r=",
        b"n,,n=apikey,r",
        b"n,a,n=b,r=c",
        b"p=tls-unique,,n=a,r=b",
        b"c=biws,r=x,p",
    ];
    let first: [&[u8]; 2] = [b"n,,n=apikey,r=abc", b"y,a=apikey,n=apikey,r=abc"];
    for mechanism in MECHANISMS.into_iter().chain(["", "CRAM-MD5", "SCRAM-SHA-256-PLUS", "plain\0"]) {
        for input in garbage.into_iter().chain(first) {
            for later in garbage {
                let (mut exchange, mut step) = users().start(mechanism, Some(input));
                for _ in 0..3 {
                    let AuthStep::Challenge(_) = step else { break };
                    step = exchange.as_mut().unwrap().respond(later);
                }
                assert_eq!(step, AuthStep::Failed, "{mechanism} {input:?} {later:?}");
            }
        }
    }
}
