//! The exchanges as a client sees them; the client of rsasl, which relays know, is on the other side.

use std::sync::Arc;

use proptest::prelude::*;
use rsasl::callback::{Context, Request, SessionCallback, SessionData};
use rsasl::mechanisms::scram::{SCRAM_SHA256, SCRAM_SHA256_PLUS};
use rsasl::mechname::Mechname;
use rsasl::prelude::{ChannelBindingCallback, Mechanism, Registry, SASLClient, SASLConfig, SessionError};
use rsasl::property::{AuthId, Password};

use super::*;

const NAME: &str = "ann";
const PASSWORD: &str = "s3cret";

/// One user, and decoys for everybody else.
struct OneUser {
    keys: ScramKeys,
    decoys: DecoyKeys,
}

impl OneUser {
    fn new() -> Self {
        let keys = ScramKeys::fresh(ScramHash::Sha256, 4096, &Secret::new(PASSWORD.into())).unwrap();
        OneUser { keys, decoys: DecoyKeys::of(b"x") }
    }
}

impl LoginKeys for OneUser {
    fn keys_of(&self, name: &str, hash: ScramHash) -> FoundKeys {
        let is_known = name == NAME && hash == ScramHash::Sha256;
        let decoy = self.decoys.keys_of(name, hash, &[4096]);
        FoundKeys { keys: if is_known { self.keys.clone() } else { decoy }, is_known }
    }
}

static MECHANISMS: [Mechanism; 2] = [SCRAM_SHA256, SCRAM_SHA256_PLUS];

/// A client that can bind itself to a TLS session, unless it has none.
struct Client {
    password: &'static str,
    can_bind: bool,
}

impl SessionCallback for Client {
    fn callback(
        &self,
        _: &SessionData,
        _: &Context<'_>,
        request: &mut Request<'_>,
    ) -> Result<(), SessionError> {
        request.satisfy::<AuthId>(NAME)?.satisfy::<Password>(self.password.as_bytes())?;
        Ok(())
    }

    fn enable_channel_binding(&self) -> bool {
        self.can_bind
    }
}

/// The octets that the client exports.
struct Exported(Option<[u8; 32]>);

impl ChannelBindingCallback for Exported {
    fn get_cb_data(&self, name: &str) -> Option<&[u8]> {
        self.0.as_ref().filter(|_| name == "tls-exporter").map(|octets| &octets[..])
    }
}

/// Lets a client of rsasl talk to ours. `offered` are the mechanisms that the client was told.
fn converse(client: Client, theirs: Option<[u8; 32]>, offered: &[&str], ours: Option<[u8; 32]>) -> SaslStep {
    let config: Arc<SASLConfig> = SASLConfig::builder()
        .with_registry(Registry::with_mechanisms(&MECHANISMS))
        .with_callback(client)
        .unwrap();
    let names: Vec<&Mechname> =
        offered.iter().map(|name| Mechname::parse(name.as_bytes()).unwrap()).collect();
    let mut session = SASLClient::with_cb(config, Exported(theirs)).start_suggested_iter(names).unwrap();
    let mechanism = SaslMechanism::parse(session.get_mechname().as_str()).unwrap();
    let (users, mut exchange) = (OneUser::new(), SaslExchange::new(mechanism, ours.map(ExporterOctets)));
    let mut said = Vec::new();
    session.step(None, &mut said).unwrap();
    let mut step = exchange.begin(Some(&said), &users);
    while let SaslStep::Challenge(challenge) = &step {
        said.clear();
        // A client that finds our proof wrong says nothing more.
        let Ok(_) = session.step(Some(challenge), &mut said) else { panic!("the client trusts us not") };
        step = exchange.respond(&said, &users);
    }
    step
}

const BARE: &[&str] = &["SCRAM-SHA-256"];
const PLUS: &[&str] = &["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"];

#[test]
fn a_client_is_bound_to_the_tls_session_that_it_sees_or_is_refused() {
    let (one, other) = (Some([1; 32]), Some([2; 32]));
    for (can_bind, theirs, offered, ours, expected) in [
        (false, None, BARE, None, None),
        (false, None, BARE, one, None),
        // It could bind, and nothing could be bound to: it says `y`.
        (true, one, BARE, None, None),
        // The same, but we did offer -PLUS: somebody in between has taken it away.
        (true, one, BARE, one, Some(LoginFault::NotBound)),
        (true, one, PLUS, one, None),
        (true, one, PLUS, other, Some(LoginFault::NotBound)),
        (true, one, PLUS, None, Some(LoginFault::NotBound)),
    ] {
        let step = converse(Client { password: PASSWORD, can_bind }, theirs, offered, ours);
        match expected {
            None => assert!(matches!(&step, SaslStep::Proven(name) if name == NAME), "{can_bind} {step:?}"),
            Some(why) => {
                assert!(
                    matches!(&step, SaslStep::Failed(Some(name), said) if name == NAME && *said == why),
                    "{step:?}"
                );
            }
        }
        let wrong = converse(Client { password: "wrong", can_bind }, theirs, offered, ours);
        let why = expected.unwrap_or(LoginFault::WrongPassword);
        assert!(matches!(wrong, SaslStep::Failed(_, said) if said == why), "{wrong:?}");
    }
}

/// A client told users from other names by the salt, which was another one at each try, and by `e=unknown-user`.
#[test]
fn an_unknown_name_is_answered_as_a_known_one() {
    let users = OneUser::new();
    let first = |name: &str| {
        let mut exchange = SaslExchange::new(SaslMechanism::Scram(ScramHash::Sha256), None);
        let message = format!("n,,n={name},r=abc");
        let SaslStep::Challenge(challenge) = exchange.begin(Some(message.as_bytes()), &users) else {
            panic!("no challenge")
        };
        let challenge = String::from_utf8(challenge).unwrap();
        let nonce = challenge.split(',').next().unwrap().to_owned();
        let proof = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        let step = exchange.respond(format!("c=biws,{nonce},p={proof}").as_bytes(), &users);
        let SaslStep::Failed(said, why) = step else { panic!("{step:?}") };
        assert_eq!(said.as_deref(), Some(name));
        (challenge.split_once(',').unwrap().1.to_owned(), challenge.len(), why)
    };
    let (known, unknown, again) = (first(NAME), first("bob"), first("bob"));
    assert_eq!((known.1, known.2), (unknown.1, LoginFault::WrongPassword));
    assert_eq!((&unknown.0, unknown.2), (&again.0, LoginFault::UnknownUser));
    assert_ne!(known.0, unknown.0);
}

fn claimed(step: SaslStep) -> Result<(String, String), LoginFault> {
    match step {
        SaslStep::Password(login) => {
            Ok((login.name, String::from_utf8_lossy(login.password.expose()).into_owned()))
        }
        SaslStep::Failed(_, why) => Err(why),
        other => panic!("{other:?}"),
    }
}

#[test]
fn plain_has_three_parts() {
    let users = OneUser::new();
    for (message, expected) in [
        ("\0ann\0s3cret", Ok(("ann", "s3cret"))),
        ("ann\0ann\0s3cret", Ok(("ann", "s3cret"))),
        ("\0ann\0", Ok(("ann", ""))),
        ("\0\0", Ok(("", ""))),
        ("bob\0ann\0s3cret", Err(LoginFault::ForAnother)),
        ("\0ann\0s3\0cret", Err(LoginFault::Malformed)),
        ("ann\0s3cret", Err(LoginFault::Malformed)),
        ("", Err(LoginFault::Malformed)),
    ] {
        for is_initial in [true, false] {
            let mut exchange = SaslExchange::new(SaslMechanism::Plain, None);
            let message = message.as_bytes();
            let mut step = exchange.begin(is_initial.then_some(message), &users);
            if !is_initial {
                assert!(matches!(&step, SaslStep::Challenge(empty) if empty.is_empty()));
                step = exchange.respond(message, &users);
            }
            let expected =
                expected.map(|(name, password): (&str, &str)| (name.to_owned(), password.to_owned()));
            assert_eq!(claimed(step), expected);
            assert_eq!(
                claimed(exchange.respond(b"\0ann\0s3cret", &users)),
                Err(LoginFault::Malformed),
                "it is over"
            );
        }
    }
    let latin = SaslExchange::new(SaslMechanism::Plain, None).begin(Some(b"\0ann\0p\xe4ss"), &users);
    assert!(matches!(latin, SaslStep::Password(login) if login.password.expose() == b"p\xe4ss"));
    let no_name = SaslExchange::new(SaslMechanism::Plain, None).begin(Some(b"\0\xe4nn\0x"), &users);
    assert_eq!(claimed(no_name), Err(LoginFault::Malformed));
}

#[test]
fn login_asks_twice_in_the_words_that_clients_know() {
    let users = OneUser::new();
    for name_is_initial in [true, false] {
        let mut exchange = SaslExchange::new(SaslMechanism::Login, None);
        let mut step = exchange.begin(name_is_initial.then_some(&b"ann"[..]), &users);
        if !name_is_initial {
            assert!(matches!(&step, SaslStep::Challenge(asked) if asked == b"Username:"));
            step = exchange.respond(b"ann", &users);
        }
        assert!(matches!(&step, SaslStep::Challenge(asked) if asked == b"Password:"));
        assert_eq!(claimed(exchange.respond(b"s3cret", &users)), Ok(("ann".into(), "s3cret".into())));
    }
    let mut exchange = SaslExchange::new(SaslMechanism::Login, None);
    assert!(matches!(exchange.begin(Some(b"\xff"), &users), SaslStep::Challenge(_)));
    assert_eq!(claimed(exchange.respond(b"s3cret", &users)), Err(LoginFault::Malformed));
}

#[test]
fn the_names_of_mechanisms_are_those_of_the_registry() {
    for (name, expected) in [
        ("PLAIN", Some(SaslMechanism::Plain)),
        ("LOGIN", Some(SaslMechanism::Login)),
        ("SCRAM-SHA-256", Some(SaslMechanism::Scram(ScramHash::Sha256))),
        ("SCRAM-SHA-512-PLUS", Some(SaslMechanism::ScramPlus(ScramHash::Sha512))),
        ("SCRAM-SHA-1-PLUS", Some(SaslMechanism::ScramPlus(ScramHash::Sha1))),
        ("PLAIN-PLUS", None),
        ("plain", None),
        ("CRAM-MD5", None),
        ("", None),
    ] {
        assert_eq!(SaslMechanism::parse(name), expected, "{name}");
    }
}

fn any_mechanism() -> impl Strategy<Value = SaslMechanism> {
    prop_oneof![
        Just(SaslMechanism::Plain),
        Just(SaslMechanism::Login),
        Just(SaslMechanism::Scram(ScramHash::Sha256)),
        Just(SaslMechanism::ScramPlus(ScramHash::Sha256)),
    ]
}

proptest! {
    /// rsasl panicked on attributes that were too short.
    #[test]
    fn no_message_proves_anything_or_makes_a_panic(
        mechanism in any_mechanism(),
        messages in prop::collection::vec("[ny,=pac]{0,3}(n=|m=|a=)?[an=,]{0,4}(,r=[ -~]{0,3})?(,p=[A=]{0,4})?", 1..4),
    ) {
        let users = OneUser::new();
        let mut exchange = SaslExchange::new(mechanism, Some(ExporterOctets([0; 32])));
        for message in messages {
            let step = exchange.respond(message.as_bytes(), &users);
            prop_assert!(!matches!(step, SaslStep::Proven(_)));
        }
    }
}
