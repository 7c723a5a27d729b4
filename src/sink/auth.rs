//! The server side of AUTH, as in a relay: PLAIN, LOGIN and SCRAM, for the users given on the command line.
//!
//! Promises: an exchange ends in [`AuthStep::Succeeded`] only for a known user who proved the password and does not ask
//! to act for another user; after a failure it makes no further step. `Debug` does not show secrets.
//!
//! Not here: base64 and the replies (`smtp/session/`), the client side (`relay/sasl.rs`).
//!
//! RFC 4616 (PLAIN), RFC 5802 and RFC 7677 (SCRAM), draft-murchison-sasl-login.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::{digest, hmac, pbkdf2};
use rsasl::callback::{Context, Request, SessionCallback, SessionData};
use rsasl::config::SASLConfig;
use rsasl::mechanisms::login::LOGIN;
use rsasl::mechanisms::plain::PLAIN;
use rsasl::mechanisms::scram::properties::ScramStoredPassword;
use rsasl::mechanisms::scram::{SCRAM_SHA1, SCRAM_SHA256, SCRAM_SHA512};
use rsasl::mechname::Mechname;
use rsasl::prelude::{Mechanism, Registry, SASLServer, Session, SessionError, State};
use rsasl::property::{AuthId, AuthzId, Password};
use rsasl::validate::{Validate, Validation, ValidationError};

use crate::listener::backend::AuthStep;
use crate::secret::Secret;

/// The mechanisms that EHLO offers.
pub const MECHANISMS: [&str; 5] = ["SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "LOGIN"];

static REGISTRY: [Mechanism; 5] = [SCRAM_SHA512, SCRAM_SHA256, SCRAM_SHA1, PLAIN, LOGIN];

/// The least number that RFC 5802 5.1 allows: passwords of a sink are only for tests.
const ITERATIONS: u32 = 4096;

/// A user who may log in.
#[derive(Clone, Debug)]
pub struct SinkUser {
    /// The name that the user gives in AUTH (the authentication identity of RFC 4422).
    pub name: String,
    /// The password that proves the name.
    pub password: Secret,
}

/// The users who may log in, prepared for any number of exchanges.
#[derive(Clone)]
pub struct SinkUsers(Arc<SASLConfig>);

impl SinkUsers {
    /// Derives the keys for SCRAM from each password, which takes a few milliseconds for each user.
    pub fn new(users: &[SinkUser]) -> Result<Self, String> {
        let known = users.iter().map(KnownUser::new).collect::<Result<_, _>>()?;
        SASLConfig::builder()
            .with_registry(Registry::with_mechanisms(&REGISTRY))
            .with_callback(Verifier(known))
            .map(SinkUsers)
            .map_err(|error| error.to_string())
    }

    /// Begins an exchange. Returns it, unless it has failed already, and the first answer to the client.
    pub fn start(&self, mechanism: &str, initial: Option<&[u8]>) -> (Option<AuthExchange>, AuthStep) {
        let started = Mechname::parse(mechanism.as_bytes())
            .ok()
            .and_then(|name| SASLServer::<Proven>::new(Arc::clone(&self.0)).start_suggested(name).ok());
        let Some(session) = started else {
            return (None, AuthStep::Failed);
        };
        let mut exchange = AuthExchange { session, gs2_header_due: true, told_everything: false };
        let server_first = exchange.session.are_we_first();
        let step = match (server_first, initial) {
            (false, Some(response)) => exchange.step(Some(response)),
            (false, None) => AuthStep::Challenge(Vec::new()),
            // LOGIN asks for the user; a client that has told it already skips the question.
            (true, None) => exchange.step(None),
            (true, Some(response)) => match exchange.step(None) {
                AuthStep::Challenge(_) => exchange.step(Some(response)),
                over => over,
            },
        };
        (matches!(step, AuthStep::Challenge(_)).then_some(exchange), step)
    }
}

impl fmt::Debug for SinkUsers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SinkUsers(…)")
    }
}

/// An exchange that is under way.
pub struct AuthExchange {
    session: Session<Proven>,
    /// True if the client has sent nothing yet. Its first SCRAM message begins with two parts of a special form.
    gs2_header_due: bool,
    /// True if the last challenge was sent, to which the response is empty.
    told_everything: bool,
}

impl AuthExchange {
    /// Processes a response of the client. Unless the result is another challenge, the exchange is over.
    pub fn respond(&mut self, response: &[u8]) -> AuthStep {
        if self.told_everything { self.outcome() } else { self.step(Some(response)) }
    }

    fn step(&mut self, input: Option<&[u8]>) -> AuthStep {
        if !input.is_none_or(|input| self.is_safe(input)) {
            return AuthStep::Failed;
        }
        let mut challenge = Vec::new();
        match self.session.step(input, &mut challenge) {
            Ok(State::Running) => AuthStep::Challenge(challenge),
            // SCRAM's server-final goes out as a challenge, and an empty response comes back (RFC 4954 4).
            Ok(State::Finished(_)) if !challenge.is_empty() => {
                self.told_everything = true;
                AuthStep::Challenge(challenge)
            }
            Ok(State::Finished(_)) => self.outcome(),
            Err(_) => AuthStep::Failed,
        }
    }

    /// Returns whether rsasl can parse `input`: its SCRAM parser panics on attributes shorter than `x=`.
    fn is_safe(&mut self, input: &[u8]) -> bool {
        let gs2_header = if std::mem::take(&mut self.gs2_header_due) { 2 } else { 0 };
        let is_attribute = |part: &[u8]| part.get(1) == Some(&b'=');
        !self.session.get_mechname().as_str().starts_with("SCRAM-")
            || input.split(|octet| *octet == b',').enumerate().all(|(index, part)| {
                // Before the attributes: `n`, `y` or `p=…`, then nothing or `a=…` (RFC 5802 7).
                is_attribute(part) || index < gs2_header && part.len() < 2 - index
            })
    }

    fn outcome(&mut self) -> AuthStep {
        self.session.validation().map_or(AuthStep::Failed, |user| AuthStep::Succeeded { user })
    }
}

/// The result of a successful exchange: the name of the user.
struct Proven;

impl Validation for Proven {
    type Value = String;
}

/// A user, with the keys that each SCRAM mechanism derives from the password.
struct KnownUser {
    user: SinkUser,
    scram: [ScramKeys; 3],
}

impl KnownUser {
    fn new(user: &SinkUser) -> Result<Self, String> {
        // The command line gives text.
        let password = user.password.prepared().unwrap_or_else(|| user.password.clone());
        let derive = |hash| ScramKeys::derive(hash, password.expose());
        let scram = [derive(&SHA1)?, derive(&SHA256)?, derive(&SHA512)?];
        Ok(KnownUser { user: user.clone(), scram })
    }
}

/// A hash function, in the forms that three libraries need.
struct Hash {
    mechanism: &'static str,
    digest: &'static digest::Algorithm,
    hmac: &'static hmac::Algorithm,
    pbkdf2: &'static pbkdf2::Algorithm,
}

static SHA1: Hash = Hash {
    mechanism: "SCRAM-SHA-1",
    digest: &digest::SHA1_FOR_LEGACY_USE_ONLY,
    hmac: &hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
    pbkdf2: &pbkdf2::PBKDF2_HMAC_SHA1,
};
static SHA256: Hash = Hash {
    mechanism: "SCRAM-SHA-256",
    digest: &digest::SHA256,
    hmac: &hmac::HMAC_SHA256,
    pbkdf2: &pbkdf2::PBKDF2_HMAC_SHA256,
};
static SHA512: Hash = Hash {
    mechanism: "SCRAM-SHA-512",
    digest: &digest::SHA512,
    hmac: &hmac::HMAC_SHA512,
    pbkdf2: &pbkdf2::PBKDF2_HMAC_SHA512,
};

/// The StoredKey and the ServerKey of RFC 5802 3.
struct ScramKeys {
    mechanism: &'static str,
    salt: [u8; 16],
    stored: digest::Digest,
    server: hmac::Tag,
}

impl ScramKeys {
    fn derive(hash: &'static Hash, password: &[u8]) -> Result<Self, String> {
        let mut salt = [0; 16];
        aws_lc_rs::rand::fill(&mut salt).map_err(|_| "no random numbers to be had".to_owned())?;
        let mut salted = vec![0; hash.digest.output_len()];
        // 4096 is not zero.
        let iterations = std::num::NonZeroU32::new(ITERATIONS).unwrap_or(std::num::NonZeroU32::MIN);
        pbkdf2::derive(*hash.pbkdf2, iterations, &salt, password, &mut salted);
        let key = hmac::Key::new(*hash.hmac, &salted);
        let client_key = hmac::sign(&key, b"Client Key");
        Ok(ScramKeys {
            mechanism: hash.mechanism,
            salt,
            stored: digest::digest(hash.digest, client_key.as_ref()),
            server: hmac::sign(&key, b"Server Key"),
        })
    }
}

/// Answers the queries of rsasl about users.
struct Verifier(Vec<KnownUser>);

impl Verifier {
    fn find(&self, name: &str) -> Option<&KnownUser> {
        self.0.iter().find(|known| known.user.name == name)
    }
}

impl SessionCallback for Verifier {
    fn callback(
        &self,
        session: &SessionData,
        context: &Context<'_>,
        request: &mut Request<'_>,
    ) -> Result<(), SessionError> {
        let mechanism = session.mechanism().mechanism.as_str();
        let known = context.get_ref::<AuthId>().and_then(|name| self.find(name));
        let keys = known.and_then(|known| known.scram.iter().find(|keys| keys.mechanism == mechanism));
        if let Some(keys) = keys {
            request.satisfy::<ScramStoredPassword<'_>>(&ScramStoredPassword::new(
                ITERATIONS,
                &keys.salt,
                keys.stored.as_ref(),
                keys.server.as_ref(),
            ))?;
        }
        Ok(())
    }

    fn validate(
        &self,
        session: &SessionData,
        context: &Context<'_>,
        validate: &mut Validate<'_>,
    ) -> Result<(), ValidationError> {
        let Some(known) = context.get_ref::<AuthId>().and_then(|name| self.find(name)) else {
            return Ok(());
        };
        let for_another =
            context.get_ref::<AuthzId>().is_some_and(|other| !other.is_empty() && other != known.user.name);
        // Where SCRAM asks, the proof was checked before.
        let proven = session.mechanism().mechanism.as_str().starts_with("SCRAM-")
            || context.get_ref::<Password>() == Some(known.user.password.expose());
        if proven && !for_another {
            validate.finalize::<Proven>(known.user.name.clone());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
