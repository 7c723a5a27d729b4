mod binding;
mod octets;
mod out_of_order;
mod second_mechanism;

use std::sync::Arc;

use rsasl::callback::{Context, Request, SessionCallback, SessionData};
use rsasl::config::SASLConfig;
use rsasl::mechanisms::login::LOGIN;
use rsasl::mechanisms::plain::PLAIN;
use rsasl::mechanisms::scram::properties::ScramStoredPassword;
use rsasl::mechanisms::scram::{
    SCRAM_SHA1, SCRAM_SHA1_PLUS, SCRAM_SHA256, SCRAM_SHA256_PLUS, SCRAM_SHA512, SCRAM_SHA512_PLUS,
};
use rsasl::mechname::Mechname;
use rsasl::prelude::{Registry, SASLServer, SessionError, State, Validation};
use rsasl::property::{AuthId, Password};
use rsasl::validate::{Validate, ValidationError};
use tokio::io::DuplexStream;

use super::super::testing::{authority, peer, play, wire};
use super::*;
use crate::config::{SecretSource, Timeouts};
use crate::far_end::server::Server;
use crate::trace::{ALONE, NOT_SHOWN, Tracer};

/// The user and password of RFC 5802 and RFC 7677, with the salts and keys that they give.
const USER: &str = "user";
const PASSWORD: &str = "pencil";
const SHA1: [&str; 3] = [
    "4125c247e43ab1e93c6dff76",
    "e9d94660c39d65c38fbad91c358f14da0eef2bd6",
    "0fe09258b3ac852ba502cc62ba903eaacdbf7d31",
];
const SHA256: [&str; 3] = [
    "5b6d99689d12358eeca04b141236fa81",
    "586e5df283e6dceb5c3e791d8b8528ec191e664045ce971792e2e6b5bb13e2a6",
    "c1f3cbc1c13a9d35a14c0990eed97629ea225863e566a4314ab99f3f00e5d9d5",
];
const SHA512: [&str; 3] = [
    "5b6d99689d12358eeca04b141236fa81",
    "e8002e6f7d3ae446119b216933644dc2a2be7869eb918b8459b5e7d7d2ec1260\
     6aceef106825cd735170a675fd3611f684affad1dce3f43a0ee43bd590e1dbbe",
    "8d91db6230b5687874fe129bc7206e1858c3ae08e02934f57ac03b6b05a229c4\
     59d28ff46f5c9611e6c179256490215ec1ff759cb0df285db89af0f99e613aac",
];

fn octets(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// What a relay without channel binding has, and what one with it has, which refuses a client that believes it has none.
static WITHOUT_BINDING: [rsasl::prelude::Mechanism; 5] =
    [SCRAM_SHA512, SCRAM_SHA256, SCRAM_SHA1, PLAIN, LOGIN];
static WITH_BINDING: [rsasl::prelude::Mechanism; 6] =
    [SCRAM_SHA512_PLUS, SCRAM_SHA256_PLUS, SCRAM_SHA1_PLUS, SCRAM_SHA512, SCRAM_SHA256, SCRAM_SHA1];

/// The octets that both ends of the TLS session share.
const BINDING: ChannelBinding = *b"32 octets of one session of TLS.";

/// The relay's accounts: one user, and how often SCRAM is to hash.
struct Accounts {
    iterations: u32,
}

struct Proved;

impl Validation for Proved {
    type Value = bool;
}

impl SessionCallback for Accounts {
    fn callback(
        &self,
        session: &SessionData,
        context: &Context,
        request: &mut Request<'_>,
    ) -> Result<(), SessionError> {
        let [salt, stored, server] = match session.mechanism().mechanism.as_str() {
            "SCRAM-SHA-1" | "SCRAM-SHA-1-PLUS" => SHA1,
            "SCRAM-SHA-256" | "SCRAM-SHA-256-PLUS" => SHA256,
            _ => SHA512,
        }
        .map(octets);
        if context.get_ref::<AuthId>() == Some(USER) {
            let stored = ScramStoredPassword::new(self.iterations, &salt, &stored, &server);
            request.satisfy::<ScramStoredPassword<'_>>(&stored)?;
        }
        Ok(())
    }

    fn validate(
        &self,
        session: &SessionData,
        context: &Context,
        validate: &mut Validate<'_>,
    ) -> Result<(), ValidationError> {
        let is_scram = session.mechanism().mechanism.as_str().starts_with("SCRAM-");
        let given = (context.get_ref::<AuthId>(), context.get_ref::<Password>());
        let is_right = is_scram || given == (Some(USER), Some(PASSWORD.as_bytes()));
        validate.with::<Proved, _>(|| Ok(is_right))?;
        Ok(())
    }
}

/// The way in which the relay departs from the protocol.
#[derive(Clone, Copy, PartialEq)]
enum Twist {
    None,
    /// 235 in place of SCRAM's last challenge, which carries the relay's proof.
    NoProof,
    /// A proof that is not one.
    WrongProof,
    /// The error of RFC 5802 in its place, which says that ours is wrong.
    RefusedProof,
}

/// Plays the relay's side of one AUTH, by rsasl. Returns the lines that it heard.
async fn serve(far: DuplexStream, iterations: u32, twist: Twist) -> Vec<String> {
    serve_bound(far, iterations, twist, None).await
}

/// Does the same for a relay that offers channel binding, if it has any.
async fn serve_bound(
    far: DuplexStream,
    iterations: u32,
    twist: Twist,
    binding: Option<ChannelBinding>,
) -> Vec<String> {
    let mut relay = Server::over(far);
    let auth = relay.line().await;
    let mut words = auth.split(' ').skip(1);
    let mechanism = words.next().unwrap_or_default();
    if mechanism == "CRAM-MD5" {
        // HMAC-MD5 of <4711.1@mx.example> with the password.
        let is_right = ask(&mut relay, "PDQ3MTEuMUBteC5leGFtcGxlPg==").await == CRAM_MD5_ANSWER;
        relay.say(if is_right { "235 2.7.0 welcome" } else { "535 5.7.8 who are you" }).await;
        return heard(&relay);
    }
    let mechanisms: &[_] = if binding.is_some() { &WITH_BINDING } else { &WITHOUT_BINDING };
    let config = SASLConfig::builder()
        .with_registry(Registry::with_mechanisms(mechanisms))
        .with_callback(Accounts { iterations })
        .unwrap();
    let binding = binding.map_or(Binding::None, Binding::Exporter);
    let server: SASLServer<Proved, Binding> = SASLServer::with_cb(Arc::clone(&config), binding);
    let mut session = server.start_suggested(Mechname::parse(mechanism.as_bytes()).unwrap()).unwrap();
    let mut input = words.next().map(str::to_owned);
    if input.is_none() && !session.are_we_first() {
        input = Some(ask(&mut relay, "").await);
    }
    loop {
        let mut out = Vec::new();
        let state = session.step64(input.as_ref().map(|text| text.as_bytes()), &mut out);
        let challenge = String::from_utf8(out).unwrap();
        match state {
            Ok(State::Running) => input = Some(ask(&mut relay, &challenge).await),
            Ok(State::Finished(_)) if session.validation() == Some(true) => {
                match twist {
                    Twist::None if !challenge.is_empty() => assert_eq!(ask(&mut relay, &challenge).await, ""),
                    // v=AAAA
                    Twist::WrongProof => assert_eq!(ask(&mut relay, "dj1BQUFB").await, "*"),
                    // e=invalid-proof
                    Twist::RefusedProof => assert_eq!(ask(&mut relay, "ZT1pbnZhbGlkLXByb29m").await, "*"),
                    _ => {}
                }
                relay.say("235 2.7.0 welcome").await;
                return heard(&relay);
            }
            _ => {
                relay.say("535 5.7.8 who are you").await;
                return heard(&relay);
            }
        }
        if input.as_deref() == Some("*") {
            relay.say("501 5.7.0 cancelled").await;
            return heard(&relay);
        }
    }
}

fn heard(relay: &Server<DuplexStream>) -> Vec<String> {
    relay.said.lines().map(str::to_owned).collect()
}

async fn ask(relay: &mut Server<DuplexStream>, challenge: &str) -> String {
    relay.say(&format!("334 {challenge}")).await;
    relay.line().await
}

/// A user whose password is in a file; the file goes with the value.
struct User {
    login: Login,
    file: tempfile::NamedTempFile,
}

fn user(password: &str, mechanisms: Option<Vec<config::Mechanism>>) -> User {
    let file = authority::file(password);
    let secret = SecretSource::File(file.path().into());
    let auth = config::AuthConfig { username: USER.into(), secret, mechanisms };
    User { login: Login::new(auth), file }
}

fn offers(names: &str) -> Vec<String> {
    names.split_whitespace().map(String::from).collect()
}

fn channel() -> (Channel<Verified>, DuplexStream) {
    channel_with(None)
}

/// Returns a channel whose TLS session has this binding.
fn channel_with(binding: Option<ChannelBinding>) -> (Channel<Verified>, DuplexStream) {
    let (near, far) = wire("192.0.2.5:587");
    (Channel::new(Verified::assumed_with(near, binding), peer(), Timeouts::default()), far)
}

async fn authenticated(
    offered: &str,
    user: &User,
    iterations: u32,
    twist: Twist,
) -> (Result<(), String>, Vec<String>) {
    authenticated_bound(offered, user, iterations, twist, [None, None]).await
}

/// Does the same with the bindings that the two ends take for that of the TLS session: we, and the relay.
async fn authenticated_bound(
    offered: &str,
    user: &User,
    iterations: u32,
    twist: Twist,
    [ours, theirs]: [Option<ChannelBinding>; 2],
) -> (Result<(), String>, Vec<String>) {
    let (mut channel, far) = channel_with(ours);
    let offered = offers(offered);
    let relaying = serve_bound(far, iterations, twist, theirs);
    let (result, heard) = tokio::join!(authenticate(&mut channel, &offered, &user.login), relaying);
    let result = result.map(drop).map_err(|trouble| {
        assert_eq!(trouble.phase, Phase::Auth);
        let words = trouble.to_string();
        assert!(!words.contains(user.login.auth.username.as_str()) && !words.contains(PASSWORD), "{words}");
        words.strip_prefix("mx.example.net[192.0.2.5]:587: AUTH: ").unwrap().to_owned()
    });
    (result, heard)
}

/// Such a reply put the password into the log, into `status`, and beside each message that waited.
#[tokio::test]
async fn a_relay_that_repeats_what_it_was_told_gives_no_secret_away() {
    let (line, secret) = (STANDARD.encode("\0user\0pencil"), STANDARD.encode("pencil"));
    for said in ["535 5.7.8 no pencil, {secret} or {line}", "500-{line} is\nS: 500 no command", "{line}?"] {
        let said = said.replace("{line}", &line).replace("{secret}", &secret);
        let (mut channel, far) = channel();
        let (offered, user, mut relay) = (offers("PLAIN"), user(PASSWORD, None), Server::over(far));
        let script = format!("C: AUTH PLAIN {line}\nS: {said}\n");
        let authenticating = async {
            let result = authenticate(&mut channel, &offered, &user.login).await;
            drop(channel);
            result
        };
        let relaying = async move { relay.play(&script).await };
        let (result, _) = tokio::join!(authenticating, relaying);
        let words = format!("{:?}", result.unwrap_err());
        assert!(words.contains("***"), "{words}");
        assert!(![PASSWORD, &line, &secret].iter().any(|told| words.contains(*told)), "{words}");
    }
}

/// Returns the names of the mechanisms that a login uses by itself and that bind nothing, those of SCRAM first.
fn all() -> Vec<&'static str> {
    let names = config::Mechanism::OF_PASSWORDS.into_iter().filter(|mechanism| !mechanism.is_only_by_name());
    names.map(config::Mechanism::name).filter(|name| !name.ends_with(PLUS)).collect()
}

/// Returns the names of the mechanisms that bind a login to TLS.
fn bound() -> Vec<&'static str> {
    config::Mechanism::OF_PASSWORDS
        .map(config::Mechanism::name)
        .into_iter()
        .filter(|name| name.ends_with(PLUS))
        .collect()
}

/// Lets a relay play `script` to a login. Returns the result, in words.
async fn played(login: &Login, offered: &str, script: &str) -> Result<(), String> {
    let (mut channel, far) = channel();
    let offered = offers(offered);
    let authenticating = async {
        let result = authenticate(&mut channel, &offered, login).await;
        drop(channel);
        result.map(drop).map_err(|trouble| {
            let words = trouble.to_string();
            assert!(words.contains("mx.example.net[192.0.2.5]:587: AUTH: "), "{words}");
            words.replacen("mx.example.net[192.0.2.5]:587: AUTH: ", "", 1)
        })
    };
    let relaying = async {
        let mut relay = Server::over(far);
        relay.play(script).await
    };
    let (result, rest) = tokio::join!(authenticating, relaying);
    assert_eq!(rest, "", "{script}");
    result
}

const PLAIN_LINE: &str = "AUTH PLAIN AHVzZXIAcGVuY2ls";
const LOGIN_TO_ITS_END: &str =
    "C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: dXNlcg==\nS: 334 UGFzc3dvcmQ6\nC: cGVuY2ls\n";

/// A mechanism that can be configured and has no implementation would end every login.
#[test]
fn every_mechanism_is_implemented() {
    let secret = Secret::new(PASSWORD.into());
    for mechanism in config::Mechanism::OF_PASSWORDS {
        let binding =
            if mechanism.name().ends_with(PLUS) { Binding::Exporter(BINDING) } else { Binding::None };
        assert!(Prover::of_password(mechanism, USER, &secret, binding).is_ok(), "{mechanism:?}");
    }
}

#[tokio::test]
async fn every_mechanism_authenticates_and_tells_a_wrong_password() {
    for mechanism in all() {
        let (result, heard) = authenticated(mechanism, &user(PASSWORD, None), 4096, Twist::None).await;
        assert_eq!(result, Ok(()), "{mechanism}");
        if mechanism.starts_with("SCRAM") {
            assert_eq!(heard.last().unwrap(), "", "the last step is an empty line");
        }
        let (result, _) = authenticated(mechanism, &user("pencils", None), 4096, Twist::None).await;
        assert_eq!(result, Err(format!("{mechanism}: the relay said: 535 5.7.8 who are you")), "{mechanism}");
    }
}

/// Whoever looks on at a login sees that there is one, and nothing of it.
#[tokio::test]
async fn a_trace_has_no_line_of_an_exchange() {
    let _alone = ALONE.lock().await;
    let mut tracer = Tracer::begin().unwrap();
    for mechanism in config::Mechanism::OF_PASSWORDS {
        let binding = mechanism.name().ends_with(PLUS).then_some(BINDING);
        for password in [PASSWORD, "pencils"] {
            let user = user(password, Some(vec![mechanism]));
            let (_, heard) =
                authenticated_bound(mechanism.name(), &user, 4096, Twist::None, [binding, binding]).await;
            let shown = tracer.so_far().join("\n");
            assert!(shown.contains(NOT_SHOWN), "{mechanism:?} is traced: {shown}");
            for secret in heard.iter().flat_map(|line| line.split(' ')).filter(|word| word.len() > 12) {
                assert!(secret == mechanism.name() || !shown.contains(secret), "{mechanism:?}: {shown}");
            }
            assert!(!shown.contains(PASSWORD), "{mechanism:?}: {shown}");
        }
    }
}

const CRAM_MD5_ANSWER: &str = "dXNlciA3NmRjYTcyYmYzMTk5YTIzNTZmOWMyZDc4NzRjMjgyMA==";

#[tokio::test]
async fn cram_md5_is_used_only_by_name() {
    let named = || Some(vec![config::Mechanism::CramMd5, config::Mechanism::Plain]);
    let result = authenticated("CRAM-MD5 PLAIN LOGIN", &user(PASSWORD, named()), 4096, Twist::None).await;
    assert_eq!((result.0, result.1[0].as_str()), (Ok(()), "AUTH CRAM-MD5"));
    let result = authenticated("CRAM-MD5", &user("pencils", named()), 4096, Twist::None).await.0;
    assert_eq!(result, Err("CRAM-MD5: the relay said: 535 5.7.8 who are you".into()));
    let plain = format!("C: {PLAIN_LINE}\nS: 235 ok\n");
    assert_eq!(played(&user(PASSWORD, None).login, "CRAM-MD5 PLAIN", &plain).await, Ok(()));
    let words = played(&user(PASSWORD, None).login, "CRAM-MD5 DIGEST-MD5", "").await.unwrap_err();
    assert!(words.contains("; CRAM-MD5 is used only if auth.mechanisms names it"), "{words}");
    // It cannot work here: no proof was sent.
    let refused = format!("C: AUTH CRAM-MD5\nS: 334 !!!\nC: *\nS: 501 ok\n{plain}");
    assert_eq!(played(&user(PASSWORD, named()).login, "CRAM-MD5 PLAIN", &refused).await, Ok(()));
}

/// The certificate of this host is the proof: what is said is the user to act as, mostly none.
#[tokio::test]
async fn external_sends_no_secret() {
    let login = |username: &str| {
        Login::new(config::AuthConfig {
            username: username.into(),
            secret: SecretSource::Certificate,
            mechanisms: Some(vec![config::Mechanism::External]),
        })
    };
    for (username, script) in [
        ("", "C: AUTH EXTERNAL =\nS: 235 ok\n"),
        ("web1", "C: AUTH EXTERNAL d2ViMQ==\nS: 235 ok\n"),
        // Some relays ask for what they were told.
        ("", "C: AUTH EXTERNAL =\nS: 334 \nC: \nS: 235 ok\n"),
        ("web1", "C: AUTH EXTERNAL d2ViMQ==\nS: 334 who?\nC: d2ViMQ==\nS: 235 ok\n"),
    ] {
        assert_eq!(played(&login(username), "PLAIN EXTERNAL", script).await, Ok(()), "{script}");
    }
    let words = played(&login(""), "EXTERNAL", "C: AUTH EXTERNAL =\nS: 535 5.7.8 no\n").await.unwrap_err();
    assert!(
        words.starts_with("EXTERNAL: the relay said: 535 5.7.8 no; EXTERNAL leaves the proof to"),
        "{words}"
    );
    let words = played(&login(""), "PLAIN", "").await.unwrap_err();
    assert_eq!(words, "configuration: no mechanism in common: the relay offers PLAIN; we have EXTERNAL");
    assert!(!login("").has_another_secret().await);
}

#[tokio::test]
async fn the_best_common_mechanism_is_taken() {
    use config::Mechanism::{Login, Plain, ScramSha1, ScramSha256};
    let cases = [
        ("LOGIN PLAIN SCRAM-SHA-1 SCRAM-SHA-256 SCRAM-SHA-512 GSSAPI", None, "SCRAM-SHA-512"),
        ("SCRAM-SHA-512 SCRAM-SHA-256", None, "SCRAM-SHA-512"),
        ("SCRAM-SHA-1 SCRAM-SHA-256", None, "SCRAM-SHA-256"),
        ("LOGIN PLAIN", None, "PLAIN"),
        ("LOGIN PLAIN SCRAM-SHA-256 SCRAM-SHA-1", Some(vec![Login, ScramSha1]), "SCRAM-SHA-1"),
        ("LOGIN PLAIN SCRAM-SHA-512", Some(vec![Plain, Login, ScramSha256]), "PLAIN"),
    ];
    for (offered, narrowed, expected) in cases {
        let (_, heard) = authenticated(offered, &user(PASSWORD, narrowed), 4096, Twist::None).await;
        assert_eq!(heard[0].split(' ').nth(1), Some(expected), "{offered}");
    }
}

/// Nothing is sent, and the secret is not even read.
#[tokio::test]
async fn nothing_in_common_tells_both_sides() {
    let unreadable = |mechanisms| {
        let secret = SecretSource::File("/nowhere/secret".into());
        Login::new(config::AuthConfig { username: USER.into(), secret, mechanisms })
    };
    let cases = [
        (
            "GSSAPI NTLM",
            None,
            "the relay offers GSSAPI NTLM; we have SCRAM-SHA-512-PLUS SCRAM-SHA-256-PLUS SCRAM-SHA-1-PLUS SCRAM-SHA-512 \
             SCRAM-SHA-256 SCRAM-SHA-1 PLAIN LOGIN",
        ),
        (
            "",
            None,
            "the relay offers no AUTH at all; we have SCRAM-SHA-512-PLUS SCRAM-SHA-256-PLUS SCRAM-SHA-1-PLUS \
             SCRAM-SHA-512 SCRAM-SHA-256 SCRAM-SHA-1 PLAIN LOGIN; if it knows this host by its address or certificate, \
             leave [auth] out, else another port may offer it (587, or 465 with tls.mode = \"implicit\")",
        ),
        (
            "PLAIN",
            Some(vec![config::Mechanism::Login]),
            "the relay offers PLAIN; we have LOGIN; auth.mechanisms leaves out what it offers",
        ),
    ];
    for (offered, narrowed, expected) in cases {
        let (mut channel, far) = channel();
        let trouble = authenticate(&mut channel, &offers(offered), &unreadable(narrowed)).await.unwrap_err();
        assert!(trouble.to_string().ends_with(&format!("no mechanism in common: {expected}")), "{trouble}");
        drop(channel);
        assert_eq!(play(far, "").await, "");
    }
}

#[tokio::test]
async fn an_unreadable_secret_sends_nothing() {
    let (mut channel, far) = channel();
    let secret = SecretSource::File("/nowhere/secret".into());
    let login = Login::new(config::AuthConfig { username: USER.into(), secret, mechanisms: None });
    assert_eq!(authenticate(&mut channel, &offers("PLAIN"), &login).await.unwrap_err().phase, Phase::Auth);
    drop(channel);
    assert_eq!(play(far, "").await, "");
}

/// RFC 4954 4: what does not fit on the AUTH line waits for an empty challenge.
#[tokio::test]
async fn a_long_initial_response_has_a_line_of_its_own() {
    let (mut channel, far) = channel();
    let user = user(&"p".repeat(600), None);
    let offered = offers("PLAIN");
    let relaying = async {
        let mut relay = Server::over(far);
        assert_eq!(relay.line().await, "AUTH PLAIN");
        let line = ask(&mut relay, "").await;
        relay.say("235 ok").await;
        line
    };
    let (result, line) = tokio::join!(authenticate(&mut channel, &offered, &user.login), relaying);
    result.unwrap();
    assert!(line.len() > 800 && line.starts_with("AHVzZXIAcHBw"), "{line}");
}
