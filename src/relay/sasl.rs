//! SASL: proves our identity to the relay, with the best mechanism that both sides support.
//!
//! Promises:
//! 1. A secret is read when it is needed, sent only over a [`Verified`] stream, and never part of an error.
//! 2. A mechanism with proofs in both directions is not complete before the relay has proved its part: an early 235 is
//!    refused.
//! 3. The work that a relay can cause is bounded: the iteration count of SCRAM, and the number of challenges. The
//!    costly step runs outside the async threads.
//!
//! Fails: with [`Trouble`] of phase AUTH, whatever the reply (535, 534, 454…): it pauses the relay and says nothing
//! about any message (README promise 4).
//!
//! Not here: reading the secret (`password.rs`), the mechanisms that prove an access token (`sasl/bearer.rs`).
//!
//! RFC 4954 (AUTH), RFC 4616 (PLAIN), RFC 5802 and 7677 (SCRAM).

mod bearer;

use std::cmp::Ordering;
use std::fmt;

use rsasl::callback::{Context, Request, SessionCallback, SessionData};
use rsasl::config::SASLConfig;
use rsasl::mechanisms::login::LOGIN;
use rsasl::mechanisms::plain::PLAIN;
use rsasl::mechanisms::scram::properties::Iterations;
use rsasl::mechanisms::scram::{SCRAM_SHA1, SCRAM_SHA256, SCRAM_SHA512};
use rsasl::mechname::Mechname;
use rsasl::prelude::{Mechanism, Registry, SASLClient, Session, SessionError, State};
use rsasl::property::{AuthId, Password};
use zeroize::Zeroizing;

use super::channel::Channel;
use super::login::Login;
use super::tls::Verified;
use super::trouble::{Cause, Phase, Trouble};
use crate::config;
use crate::secret::Secret;
use crate::smtp::reply::{Reply, Severity};

/// The implementation of each [`config::Mechanism`], in the same order: the one that exposes the secret least first.
static MECHANISMS: &[Mechanism] = &[SCRAM_SHA512, SCRAM_SHA256, SCRAM_SHA1, PLAIN, LOGIN];

/// The iteration counts that are accepted. RFC 7677 4 requires at least 4,096; a million takes about a second.
const ITERATIONS: std::ops::RangeInclusive<u32> = 4_096..=1_000_000;

/// The most challenges of an exchange. The longest mechanism, SCRAM, has three.
const MAX_CHALLENGES: usize = 8;

/// The longest AUTH line (RFC 5321 4.5.3.1.4). If the initial response makes it longer, the response is not included.
const MAX_LINE_OCTETS: usize = 512;

/// Authenticates with `login`, by one of the mechanisms in `offered`.
pub(crate) async fn authenticate(
    channel: &mut Channel<Verified>,
    offered: &[String],
    login: &Login,
) -> Result<(), Trouble> {
    if login.auth.secret.is_token() {
        return bearer::authenticate_by_token(channel, offered, login).await;
    }
    let exchange = Exchange::new(offered, login).await;
    let exchange = exchange.map_err(|words| channel.trouble(Phase::Auth, Cause::Other(words)))?;
    exchange.run(channel).await
}

/// Answers the queries of rsasl during an exchange.
struct Credentials {
    username: String,
    secret: Secret,
}

impl SessionCallback for Credentials {
    fn callback(
        &self,
        _session: &SessionData,
        context: &Context,
        request: &mut Request<'_>,
    ) -> Result<(), SessionError> {
        // SCRAM tells the count with every question it asks between reading and hashing.
        if let Some(&count) = context.get_ref::<Iterations>()
            && !ITERATIONS.contains(&count)
        {
            return Err(SessionError::Boxed(Box::new(BadIterations(count))));
        }
        request.satisfy::<AuthId>(&self.username)?.satisfy::<Password>(self.secret.expose())?;
        Ok(())
    }

    fn prefer(&self, kept: Option<&Mechanism>, other: &Mechanism) -> Ordering {
        let rank = |mechanism: &Mechanism| {
            MECHANISMS.iter().position(|known| known.mechanism == mechanism.mechanism)
        };
        // Less prefers `other`; an earlier place in the list is better.
        kept.map_or(Ordering::Less, |kept| rank(other).cmp(&rank(kept)))
    }
}

/// The error for an iteration count that is too low to protect the secret, or so high that it wastes our time.
#[derive(Debug)]
struct BadIterations(u32);

impl fmt::Display for BadIterations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (least, most) = (ITERATIONS.start(), ITERATIONS.end());
        write!(f, "the relay asks for {} SCRAM iterations; {least} to {most} are accepted", self.0)
    }
}

impl std::error::Error for BadIterations {}

/// One authentication that is under way.
struct Exchange {
    /// The session of rsasl; `None` after an error, when it must not be used again.
    session: Option<Session>,
    mechanism: String,
    /// The next message of the mechanism, in base64; `None` if it waits for the relay.
    response: Option<Zeroizing<Vec<u8>>>,
    /// True if the mechanism expects more from the relay.
    running: bool,
}

/// The reason why an exchange ends early.
enum Stop {
    /// Our words about the failure.
    Ours(String),
    /// Trouble that ends the dialogue.
    Trouble(Trouble),
}

impl From<Trouble> for Stop {
    fn from(trouble: Trouble) -> Self {
        Stop::Trouble(trouble)
    }
}

impl Exchange {
    async fn new(offered: &[String], login: &Login) -> Result<Self, String> {
        let allowed = allowed(&login.auth);
        let common: Vec<&Mechname> = offered
            .iter()
            .filter(|name| allowed.iter().any(|mechanism| mechanism.name() == name.as_str()))
            .filter_map(|name| Mechname::parse(name.as_bytes()).ok())
            .collect();
        if common.is_empty() {
            return Err(nothing_in_common(offered, &login.auth));
        }
        let secret = login.secret().await.map_err(|error| error.to_string())?;
        let credentials = Credentials { username: login.auth.username.clone(), secret };
        let session = SASLConfig::builder()
            .with_registry(Registry::with_mechanisms(MECHANISMS))
            .with_callback(credentials)
            .and_then(|config| SASLClient::new(config).start_suggested_iter(common))
            .map_err(|error| error.to_string())?;
        let mechanism = session.get_mechname().as_str().to_owned();
        Ok(Exchange { session: Some(session), mechanism, response: None, running: true })
    }

    async fn run(mut self, channel: &mut Channel<Verified>) -> Result<(), Trouble> {
        match self.converse(channel).await {
            Ok(()) => Ok(()),
            Err(Stop::Trouble(trouble)) => Err(trouble),
            Err(Stop::Ours(words)) => Err(channel.trouble(Phase::Auth, self.refused(&words, true, None))),
        }
    }

    async fn converse(&mut self, channel: &mut Channel<Verified>) -> Result<(), Stop> {
        let mut reply = self.begin(channel).await?;
        for _ in 0..MAX_CHALLENGES {
            match reply.severity() {
                Severity::Intermediate => reply = self.answer(&reply, channel).await?,
                Severity::Positive => return self.finish().await.map_err(Stop::Ours),
                _ if reply.code() == 421 => {
                    return Err(channel.trouble(Phase::Auth, Cause::Reply(reply)).into());
                }
                severity => {
                    let said = Cause::Reply(reply.clone()).to_string();
                    let cause = self.refused(&said, severity == Severity::Permanent, Some(reply));
                    return Err(channel.trouble(Phase::Auth, cause).into());
                }
            }
        }
        cancel(channel).await;
        Err(Stop::Ours("the relay does not come to an end with its challenges".into()))
    }

    fn refused(&self, said: &str, for_good: bool, reply: Option<Reply>) -> Cause {
        let reply = reply.map(Box::new);
        Cause::LoginRefused { said: format!("{}: {said}", self.mechanism), for_good, reply }
    }

    /// Returns the AUTH line, with an initial response if the mechanism has one and it fits.
    async fn begin(&mut self, channel: &mut Channel<Verified>) -> Result<Reply, Stop> {
        let mut line = Zeroizing::new(format!("AUTH {}", self.mechanism).into_bytes());
        if self.session.as_ref().is_some_and(Session::are_we_first) {
            self.step(None).await.map_err(Stop::Ours)?;
        }
        let fits = |response: &Zeroizing<Vec<u8>>| line.len() + response.len() + 3 <= MAX_LINE_OCTETS;
        if let Some(response) = self.response.take_if(|response| fits(response)) {
            line.reserve_exact(response.len() + 2);
            line.push(b' ');
            // RFC 4954 4: an empty initial response is a single equals sign.
            line.extend_from_slice(if response.is_empty() { b"=" } else { &response });
        }
        Ok(channel.secret_command(Phase::Auth, &line).await?)
    }

    /// Returns the answer to a 334 reply.
    async fn answer(&mut self, challenge: &Reply, channel: &mut Channel<Verified>) -> Result<Reply, Stop> {
        if self.response.is_none() && self.running {
            let challenge = challenge.lines().first().map_or("", |text| text.trim());
            if let Err(words) = self.step(Some(challenge)).await {
                cancel(channel).await;
                return Err(Stop::Ours(words));
            }
        } else if self.response.is_none() {
            cancel(channel).await;
            return Err(Stop::Ours("the relay asks for more than the mechanism has".into()));
        }
        // A mechanism that has no more to say answers its last challenge with an empty line.
        let response = self.response.take().unwrap_or_default();
        Ok(channel.secret_command(Phase::Auth, &response).await?)
    }

    /// Checks, after the relay accepted the login, that the mechanism is complete, too.
    async fn finish(&mut self) -> Result<(), String> {
        if !self.running {
            return Ok(());
        }
        let proved = self.step(None).await;
        proved.map_err(|_| "the relay let us in without proving that it knows the secret".into())
    }

    /// Makes one step of the mechanism on a blocking thread: the hashing of SCRAM takes up to a second, and a challenge
    /// that is too short makes rsasl panic, which then ends only that thread.
    async fn step(&mut self, challenge: Option<&str>) -> Result<(), String> {
        let Some(mut session) = self.session.take() else { return Err("the exchange has failed".into()) };
        let input = challenge.filter(|_| self.mechanism.starts_with("SCRAM-")).map(str::to_owned);
        let stepped = tokio::task::spawn_blocking(move || {
            let mut response = Zeroizing::new(Vec::with_capacity(MAX_LINE_OCTETS));
            let state = session.step64(input.as_ref().map(|text| text.as_bytes()), &mut *response);
            state.map(|state| (session, state, response)).map_err(|error| in_words(&error))
        });
        let malformed = |_| "the relay's challenge is malformed".to_owned();
        let (session, state, response) = stepped.await.map_err(malformed)??;
        self.running = state == State::Running;
        self.response = state.has_sent_message().then_some(response);
        self.session = Some(session);
        Ok(())
    }
}

/// Cancels the exchange with `*` (RFC 4954 4). The relay answers 501, which is ignored.
async fn cancel(channel: &mut Channel<Verified>) {
    let _ = channel.command(Phase::Auth, b"*").await;
}

/// Describes an error of rsasl by its innermost cause, since the outer ones are too general.
fn in_words(error: &SessionError) -> String {
    match error {
        SessionError::MutualAuthenticationFailed => {
            "the relay's proof is wrong: it does not know the secret".into()
        }
        SessionError::Base64 { .. } => "the relay's challenge is not base64".into(),
        other => match other.to_string() {
            // RFC 5802 7: what the relay may say of a SCRAM exchange in place of its own proof.
            text if ["invalid proof", "unknown user"].iter().any(|words| text.contains(words)) => {
                "user or password refused".into()
            }
            text => text,
        },
    }
}

/// Returns the mechanisms that prove a secret of this kind and that the configuration allows, the best one first.
fn allowed(auth: &config::AuthConfig) -> Vec<config::Mechanism> {
    let is_allowed = |mechanism: &config::Mechanism| {
        auth.mechanisms.as_ref().is_none_or(|narrowed| narrowed.contains(mechanism))
    };
    auth.secret.mechanisms().iter().copied().filter(is_allowed).collect()
}

fn nothing_in_common(offered: &[String], auth: &config::AuthConfig) -> String {
    let offers = if offered.is_empty() { "no AUTH at all".into() } else { offered.join(" ") };
    let allowed: Vec<&str> = allowed(auth).into_iter().map(config::Mechanism::name).collect();
    let takes_tokens = config::Mechanism::OF_TOKENS
        .iter()
        .any(|mechanism| offered.iter().any(|name| name == mechanism.name()));
    let hint = match auth.secret.is_token() {
        false if takes_tokens => "; it takes access tokens in place of a password: see [auth.oauth]",
        _ => "",
    };
    format!("no mechanism in common: the relay offers {offers}; we have {}{hint}", allowed.join(" "))
}

#[cfg(test)]
mod tests;
