//! A relay that closes or falls silent at any octet of an AUTH exchange.

use rsasl::prelude::Session;

use super::*;
use crate::config::{Mechanism, TokenSource};
use crate::relay::testing::failing::{FailingVoice, Failure};

/// The relay's side of one exchange.
enum RelaySide {
    /// It says these, one for each line.
    InTurn(std::iter::Copied<std::slice::Iter<'static, &'static str>>),
    Scram(Box<Session<Proved, Binding>>),
}

impl RelaySide {
    fn of(mechanism: Mechanism) -> Self {
        const WELCOME: &str = "235-2.7.0 welcome\r\n235 2.7.0 to the relay\r\n";
        let replies: &'static [&'static str] = match mechanism {
            Mechanism::Login => &["334 VXNlcm5hbWU6\r\n", "334 UGFzc3dvcmQ6\r\n", WELCOME],
            Mechanism::CramMd5 => &["334 PDQ3MTEuMUBteC5leGFtcGxlPg==\r\n", WELCOME],
            // It does not read the initial response.
            Mechanism::Plain | Mechanism::XOAuth2 | Mechanism::External => &["334 \r\n", WELCOME],
            Mechanism::OAuthBearer => &[WELCOME],
            scram => return RelaySide::Scram(Box::new(scram_session(scram))),
        };
        RelaySide::InTurn(replies.iter().copied())
    }

    fn reply_to(&mut self, line: &str) -> String {
        match self {
            RelaySide::InTurn(replies) => replies.next().unwrap_or("503 5.5.1 out of turn\r\n").into(),
            RelaySide::Scram(_) if line.is_empty() => "235 2.7.0 welcome\r\n".into(),
            RelaySide::Scram(session) => {
                let response = line.split(' ').nth(2).unwrap_or(line);
                let mut challenge = Vec::new();
                match session.step64(Some(response.as_bytes()), &mut challenge) {
                    Ok(_) => format!("334 {}\r\n", String::from_utf8(challenge).unwrap()),
                    Err(_) => "535 5.7.8 no\r\n".into(),
                }
            }
        }
    }
}

fn scram_session(mechanism: Mechanism) -> Session<Proved, Binding> {
    let is_bound = mechanism.name().ends_with(PLUS);
    let mechanisms: &[_] = if is_bound { &WITH_BINDING } else { &WITHOUT_BINDING };
    let config = SASLConfig::builder()
        .with_registry(Registry::with_mechanisms(mechanisms))
        .with_callback(Accounts { iterations: 4096 })
        .unwrap();
    let binding = if is_bound { Binding::Exporter(BINDING) } else { Binding::None };
    let server: SASLServer<Proved, Binding> = SASLServer::with_cb(config, binding);
    server.start_suggested(Mechname::parse(mechanism.name().as_bytes()).unwrap()).unwrap()
}

/// Returns a login that allows `mechanism`, and a second one where there is one; the file of its secret goes with it.
fn login(mechanism: Mechanism) -> User {
    let file = authority::file(PASSWORD);
    let path = file.path().to_owned();
    let secret = match mechanism {
        Mechanism::External => SecretSource::Certificate,
        Mechanism::OAuthBearer | Mechanism::XOAuth2 => SecretSource::Token(TokenSource::File(path)),
        _ => SecretSource::File(path),
    };
    let mechanisms = secret.mechanisms().to_vec();
    let auth = config::AuthConfig { username: USER.into(), secret, mechanisms: Some(mechanisms) };
    User { login: Login::new(auth), file }
}

/// Returns the result of the login, and the relay behind it.
async fn played(
    mechanism: Mechanism,
    fails_at: usize,
    failure: Failure,
) -> (Result<(), Trouble>, FailingVoice) {
    let (mut channel, far) = channel_with(Some(BINDING));
    let user = login(mechanism);
    let second = match mechanism {
        Mechanism::Plain => Mechanism::Login,
        // PLAIN would be the first.
        Mechanism::Login => Mechanism::XOAuth2,
        _ => Mechanism::Plain,
    };
    let offered = [mechanism, second].map(|mechanism| mechanism.name().to_owned());
    let mut voice = FailingVoice::new(far, fails_at, failure);
    let mut side = RelaySide::of(mechanism);
    let authenticating = async {
        let result = authenticate(&mut channel, &offered, &user.login).await;
        drop(channel);
        result
    };
    let serving = async {
        while let Some(line) = voice.hear().await {
            if !voice.say(&side.reply_to(&line)).await {
                return;
            }
        }
    };
    let (result, ()) = tokio::join!(authenticating, serving);
    (result, voice)
}

/// A login counts as taken only by a whole 235; whatever else happens, its password is proved once, by one mechanism.
#[test]
fn no_login_is_taken_or_tried_twice_at_whatever_octet_a_relay_fails() {
    let run = |mechanism, fails_at, failure| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(played(mechanism, fails_at, failure))
    };
    // One hash stands for all: the octets of the dialogue are of the same form.
    for mechanism in [
        Mechanism::ScramSha1Plus,
        Mechanism::ScramSha1,
        Mechanism::CramMd5,
        Mechanism::Plain,
        Mechanism::Login,
        Mechanism::OAuthBearer,
        Mechanism::XOAuth2,
        Mechanism::External,
    ] {
        let (result, relay) = run(mechanism, usize::MAX, Failure::Closes);
        result.unwrap_or_else(|trouble| panic!("{mechanism:?}: {trouble}"));
        for fails_at in 0..relay.said {
            for failure in [Failure::Closes, Failure::Stalls] {
                let (result, relay) = run(mechanism, fails_at, failure);
                let what = format!("{mechanism:?} {fails_at} {failure:?}");
                let Err(trouble) = result else { panic!("{what}: taken") };
                assert_eq!(trouble.phase, Phase::Auth, "{what}");
                let words = trouble.to_string();
                assert!(!words.contains(PASSWORD) && !words.contains("cGVuY2ls"), "{what}: {words}");
                let heard = String::from_utf8_lossy(&relay.heard);
                assert_eq!(heard.matches("AUTH ").count(), 1, "{what}: {heard}");
            }
        }
    }
}
