//! A relay that closes, falls silent or says nonsense at any octet of an AUTH exchange.

use rsasl::prelude::Session;

use super::*;
use crate::config::{Mechanism, TokenSource};
use crate::relay::testing::failing::{FailingVoice, Failure};

/// The relay's side of one exchange.
enum RelaySide {
    /// It says these, one for each line.
    InTurn(std::iter::Copied<std::slice::Iter<'static, &'static str>>),
    /// SCRAM; `None` behind an error or `*`, after which rsasl takes no further step.
    Scram(Option<Box<Session<Proved, Binding>>>),
}

/// The last reply of a relay that takes the login.
const WELCOME: &str = "235-2.7.0 welcome\r\n235 2.7.0 to the relay\r\n";

/// True if a relay that has said `said` of [`WELCOME`], then nonsense on the rest of the line, and then the rest of [`WELCOME`] has
/// taken the login. Only codes decide (`smtp/reply/reading.rs`): behind the first one, nonsense is text of the reply, or the
/// reply ends with it. It never ends where the code of its last line is cut in two.
fn is_taken_with_nonsense(said: &str) -> bool {
    let line = said.rsplit('\n').next().unwrap_or_default();
    said.starts_with("235") && !matches!(line, "2" | "23")
}

impl RelaySide {
    fn of(mechanism: Mechanism) -> Self {
        let replies: &'static [&'static str] = match mechanism {
            Mechanism::Login => &["334 VXNlcm5hbWU6\r\n", "334 UGFzc3dvcmQ6\r\n", WELCOME],
            Mechanism::CramMd5 => &["334 PDQ3MTEuMUBteC5leGFtcGxlPg==\r\n", WELCOME],
            // It does not read the initial response.
            Mechanism::Plain | Mechanism::XOAuth2 | Mechanism::External => &["334 \r\n", WELCOME],
            Mechanism::OAuthBearer => &[WELCOME],
            scram => return RelaySide::Scram(Some(Box::new(scram_session(scram)))),
        };
        RelaySide::InTurn(replies.iter().copied())
    }

    fn reply_to(&mut self, line: &str) -> String {
        match self {
            _ if line == "*" => "501 5.7.0 cancelled\r\n".into(),
            RelaySide::InTurn(replies) => replies.next().unwrap_or("503 5.5.1 out of turn\r\n").into(),
            RelaySide::Scram(Some(_)) if line.is_empty() => WELCOME.into(),
            RelaySide::Scram(session) => {
                let Some(stepped) = session else { return "503 5.5.1 out of turn\r\n".into() };
                let response = line.split(' ').nth(2).unwrap_or(line);
                let mut challenge = Vec::new();
                match stepped.step64(Some(response.as_bytes()), &mut challenge) {
                    Ok(_) => format!("334 {}\r\n", String::from_utf8(challenge).unwrap()),
                    Err(_) => {
                        *session = None;
                        "535 5.7.8 no\r\n".into()
                    }
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
    (result.map(drop), voice)
}

/// Checks that a relay that fails at this octet of `said` does not get the login taken, or tried a second time.
fn check(mechanism: Mechanism, fails_at: usize, failure: Failure, said: usize) {
    let (result, relay) = run(mechanism, fails_at, failure);
    let what = format!("{mechanism:?} {fails_at} {failure:?}");
    let welcome = fails_at.checked_sub(said - WELCOME.len()).map(|place| &WELCOME[..place]);
    let is_taken = failure == Failure::Garbles && welcome.is_some_and(is_taken_with_nonsense);
    match result {
        Ok(()) => assert!(is_taken, "{what}: taken"),
        Err(trouble) => {
            assert!(!is_taken, "{what}: {trouble}");
            assert_eq!(trouble.phase, Phase::Auth, "{what}");
            let words = trouble.to_string();
            assert!(!words.contains(PASSWORD) && !words.contains("cGVuY2ls"), "{what}: {words}");
            // Nobody is told that the password is wrong, and no account is locked.
            assert!(!matches!(trouble.cause, Cause::LoginRefused { .. }), "{what}: {words}");
        }
    }
    let heard = String::from_utf8_lossy(&relay.heard);
    assert_eq!(heard.matches("AUTH ").count(), 1, "{what}: {heard}");
}

fn run(mechanism: Mechanism, fails_at: usize, failure: Failure) -> (Result<(), Trouble>, FailingVoice) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(played(mechanism, fails_at, failure))
}

/// Returns the number of octets that a relay says that does not fail.
fn octets_said(mechanism: Mechanism) -> usize {
    let (result, relay) = run(mechanism, usize::MAX, Failure::Closes);
    result.unwrap_or_else(|trouble| panic!("{mechanism:?}: {trouble}"));
    relay.said
}

/// A login counts as taken only by a whole reply of 235; whatever else happens, its password is proved once, by one mechanism.
#[test]
fn no_login_is_taken_or_tried_twice_at_whatever_octet_a_relay_fails() {
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
        let said = octets_said(mechanism);
        for fails_at in 0..said {
            Failure::ALL.into_iter().for_each(|failure| check(mechanism, fails_at, failure, said));
        }
    }
}

/// The longer hashes: their octets are of the same form, so that the failures take turns.
#[test]
fn nor_by_the_longer_hashes() {
    for mechanism in [
        Mechanism::ScramSha512Plus,
        Mechanism::ScramSha256Plus,
        Mechanism::ScramSha512,
        Mechanism::ScramSha256,
    ] {
        let said = octets_said(mechanism);
        (0..said).for_each(|fails_at| {
            check(mechanism, fails_at, Failure::ALL[fails_at % Failure::ALL.len()], said);
        });
    }
}
