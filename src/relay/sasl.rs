//! SASL: proves our identity to the relay, with the best mechanism that both sides support.
//!
//! Promises:
//! 1. A secret is read when it is needed, sent only over a [`Verified`] stream, and never part of an error.
//! 2. A mechanism with proofs in both directions is not complete before the relay has proved its part: an early 235 is
//!    refused.
//! 3. The work that a relay can cause is bounded: the iteration count of SCRAM, and the number of challenges. The
//!    costly step runs outside the async threads.
//! 4. Where the first mechanism cannot work, another one that is offered and allowed is tried on the same connection, once,
//!    and the first one not again for a day. No login has its password checked twice, so that no account is locked:
//!
//!    | the exchange ends by | before a proof was sent | behind a proof |
//!    |---|---|---|
//!    | 504; 500, 501 or 502 with a status of x.5.x | the next mechanism | the next mechanism: the reply is about the command |
//!    | 535, 534, or any other 5xx | the next mechanism: the relay has no such secret of the user | refused: the password is wrong, or Google wants another one for this account |
//!    | a challenge that cannot be answered | the next mechanism | refused |
//!    | 4xx, 421, a connection that ends | refused, and tried later | refused, and tried later |
//!    | 235 before the relay has proved itself, or a wrong proof of the relay | refused | refused |
//!
//! Fails: with [`Trouble`] of phase AUTH, whatever the reply (535, 534, 454…): it pauses the relay and says nothing
//! about any message (README promise 4).
//!
//! Not here: reading the secret (`password.rs`), the mechanisms that prove an access token (`sasl/bearer.rs`).
//!
//! RFC 4954 (AUTH), RFC 4616 (PLAIN), RFC 5802 and 7677 (SCRAM).

mod bearer;

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
use crate::status::Status;

/// The implementation of each [`config::Mechanism`], in the same order: the one that exposes the secret least first.
static MECHANISMS: &[Mechanism] = &[SCRAM_SHA512, SCRAM_SHA256, SCRAM_SHA1, PLAIN, LOGIN];

/// The iteration counts that are accepted. RFC 7677 4 requires at least 4,096; a million takes about a second.
const ITERATIONS: std::ops::RangeInclusive<u32> = 4_096..=1_000_000;

/// The start of the names of the mechanisms that hash the password.
const SCRAM: &str = "SCRAM-";

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
    let (mechanisms, secret) =
        means(offered, login).await.map_err(|words| channel.trouble(Phase::Auth, Cause::Other(words)))?;
    authenticate_by_one_of(channel, &mechanisms, login, &secret).await
}

/// Returns the mechanisms that may be tried, the best one first, at least one; and the secret that they prove.
async fn means(offered: &[String], login: &Login) -> Result<(Vec<config::Mechanism>, Secret), String> {
    let common = common(offered, &login.auth)?;
    let secret = login.secret().await.map_err(|error| error.to_string())?;
    Ok((login.worth_trying(usable(common, &secret)?), secret))
}

/// Authenticates by the first of `mechanisms`, or, if it cannot work, by a second one.
async fn authenticate_by_one_of(
    channel: &mut Channel<Verified>,
    mechanisms: &[config::Mechanism],
    login: &Login,
    secret: &Secret,
) -> Result<(), Trouble> {
    // `usable` gives at least one.
    let first = mechanisms[0];
    let unusable = match try_mechanism(channel, first, login, secret).await {
        Ok(()) => return Ok(()),
        Err(Stop::Final(trouble)) => return Err(trouble),
        Err(Stop::Unusable(trouble)) => trouble,
    };
    let Some(second) = second_to(first, mechanisms) else { return Err(unusable) };
    match try_mechanism(channel, second, login, secret).await {
        Ok(()) => Ok(()),
        // A relay that hangs up at a second AUTH says less by it than it said before.
        Err(Stop::Final(trouble) | Stop::Unusable(trouble)) => match trouble.cause {
            Cause::LoginRefused { .. } => Err(trouble),
            _ => Err(unusable),
        },
    }
}

/// Returns the mechanism to try after `first`, which cannot work: the best one of another kind, since a relay that has no
/// SCRAM secret of a user has none for another hash either; or else the next one.
fn second_to(first: config::Mechanism, mechanisms: &[config::Mechanism]) -> Option<config::Mechanism> {
    let is_scram = |mechanism: config::Mechanism| mechanism.name().starts_with(SCRAM);
    let others = || mechanisms.iter().copied().filter(|mechanism| *mechanism != first);
    others().find(|mechanism| is_scram(*mechanism) != is_scram(first)).or_else(|| others().next())
}

async fn try_mechanism(
    channel: &mut Channel<Verified>,
    mechanism: config::Mechanism,
    login: &Login,
    secret: &Secret,
) -> Result<(), Stop> {
    let exchange = Exchange::new(mechanism, &login.auth.username, secret);
    let exchange = exchange.map_err(|words| channel.trouble(Phase::Auth, Cause::Other(words)))?;
    let result = exchange.run(channel).await;
    if let Err(Stop::Unusable(_)) = result {
        login.cannot_use(mechanism);
    }
    result
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
    mechanism: &'static str,
    /// The next message of the mechanism, in base64; `None` if it waits for the relay.
    response: Option<Zeroizing<Vec<u8>>>,
    /// True if the mechanism expects more from the relay.
    running: bool,
    /// The number of messages of the mechanism that were sent.
    sent: usize,
}

/// The reason why an exchange fails.
enum Stop {
    /// The login failed.
    Final(Trouble),
    /// The mechanism cannot work; nothing is said of the password.
    Unusable(Trouble),
}

impl From<Trouble> for Stop {
    fn from(trouble: Trouble) -> Self {
        Stop::Final(trouble)
    }
}

impl Exchange {
    fn new(mechanism: config::Mechanism, username: &str, secret: &Secret) -> Result<Self, String> {
        let mechanism = mechanism.name();
        // A mechanism that hashes the password wants it prepared; `usable` has seen that it can be.
        let hashed = if mechanism.starts_with(SCRAM) { secret.prepared() } else { None };
        let secret = hashed.unwrap_or_else(|| secret.clone());
        let name = Mechname::parse(mechanism.as_bytes()).map_err(|error| error.to_string())?;
        let session = SASLConfig::builder()
            .with_registry(Registry::with_mechanisms(MECHANISMS))
            .with_callback(Credentials { username: username.to_owned(), secret })
            .and_then(|config| SASLClient::new(config).start_suggested_iter([name]))
            .map_err(|error| error.to_string())?;
        let session = Some(session);
        Ok(Exchange { session, mechanism, response: None, running: true, sent: 0 })
    }

    async fn run(mut self, channel: &mut Channel<Verified>) -> Result<(), Stop> {
        let mut reply = self.begin(channel).await?;
        for _ in 0..MAX_CHALLENGES {
            match reply.severity() {
                Severity::Intermediate => reply = self.answer(&reply, channel).await?,
                Severity::Positive => {
                    let finished = self.finish().await;
                    return finished.map_err(|words| self.refused(&words, channel).into());
                }
                _ if reply.code() == 421 => {
                    return Err(channel.trouble(Phase::Auth, Cause::Reply(reply)).into());
                }
                severity => return Err(self.refused_by(reply, severity, channel)),
            }
        }
        cancel(channel).await;
        Err(self.refused("the relay does not come to an end with its challenges", channel).into())
    }

    /// Returns trouble in our words.
    fn refused(&self, said: &str, channel: &Channel<Verified>) -> Trouble {
        let said = format!("{}: {said}", self.mechanism);
        channel.trouble(Phase::Auth, Cause::LoginRefused { said, for_good: true, reply: None })
    }

    fn refused_by(&self, reply: Reply, severity: Severity, channel: &Channel<Verified>) -> Stop {
        let is_of_command = match reply.code() {
            504 => true,
            500..=502 => reply.status().is_some_and(Status::is_of_protocol),
            _ => false,
        };
        let for_good = severity == Severity::Permanent;
        let is_unusable = for_good && (is_of_command || !self.has_proved());
        let said = format!("{}: {}", self.mechanism, Cause::Reply(reply.clone()));
        let cause = Cause::LoginRefused { said, for_good, reply: Some(Box::new(reply)) };
        let trouble = channel.trouble(Phase::Auth, cause);
        if is_unusable { Stop::Unusable(trouble) } else { Stop::Final(trouble) }
    }

    /// Returns whether something made of the password was sent.
    fn has_proved(&self) -> bool {
        // The first message of the others is the username.
        self.sent >= if self.mechanism == "PLAIN" { 1 } else { 2 }
    }

    /// Sends the AUTH line, with an initial response if the mechanism has one and it fits.
    async fn begin(&mut self, channel: &mut Channel<Verified>) -> Result<Reply, Stop> {
        let mut line = Zeroizing::new(format!("AUTH {}", self.mechanism).into_bytes());
        if self.session.as_ref().is_some_and(Session::are_we_first) {
            let stepped = self.step(None).await;
            stepped.map_err(|words| Stop::Unusable(self.refused(&words, channel)))?;
        }
        let fits = |response: &Zeroizing<Vec<u8>>| line.len() + response.len() + 3 <= MAX_LINE_OCTETS;
        if let Some(response) = self.response.take_if(|response| fits(response)) {
            line.reserve_exact(response.len() + 2);
            line.push(b' ');
            // RFC 4954 4: an empty initial response is a single equals sign.
            line.extend_from_slice(if response.is_empty() { b"=" } else { &response });
            self.sent += 1;
        }
        Ok(channel.secret_command(Phase::Auth, &line).await?)
    }

    /// Returns the answer to a 334 reply.
    async fn answer(&mut self, challenge: &Reply, channel: &mut Channel<Verified>) -> Result<Reply, Stop> {
        if self.response.is_none() && self.running {
            let challenge = challenge.lines().first().map_or("", |text| text.trim());
            if let Err(words) = self.step(Some(challenge)).await {
                cancel(channel).await;
                let trouble = self.refused(&words, channel);
                return Err(if self.has_proved() { Stop::Final(trouble) } else { Stop::Unusable(trouble) });
            }
        } else if self.response.is_none() {
            cancel(channel).await;
            return Err(self.refused("the relay asks for more than the mechanism has", channel).into());
        }
        // A mechanism that has no more to say answers its last challenge with an empty line.
        let response = self.response.take().unwrap_or_default();
        self.sent += 1;
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
        let input = challenge.filter(|_| self.mechanism.starts_with(SCRAM)).map(str::to_owned);
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

/// Returns the mechanisms that both sides have, the best one first; at least one.
fn common(offered: &[String], auth: &config::AuthConfig) -> Result<Vec<config::Mechanism>, String> {
    let is_offered = |mechanism: &config::Mechanism| offered.iter().any(|name| name == mechanism.name());
    let common: Vec<config::Mechanism> = allowed(auth).into_iter().filter(is_offered).collect();
    if common.is_empty() { Err(nothing_in_common(offered, auth)) } else { Ok(common) }
}

/// Returns those of `common` that can prove `secret`; at least one.
fn usable(common: Vec<config::Mechanism>, secret: &Secret) -> Result<Vec<config::Mechanism>, String> {
    let is_text = secret.text().is_some();
    let usable: Vec<config::Mechanism> =
        common.into_iter().filter(|mechanism| is_text || !mechanism.name().starts_with(SCRAM)).collect();
    if usable.is_empty() {
        return Err("the password is not UTF-8, and the relay offers only SCRAM, which needs that: write the password \
                    in UTF-8, or allow PLAIN or LOGIN (auth.mechanisms) if the relay has them"
            .into());
    }
    Ok(usable)
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
