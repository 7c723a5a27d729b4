//! SCRAM, with and without channel binding, by rsasl.
//!
//! Promises:
//! 1. The exchange is not complete before the relay has proved that it knows the password, too.
//! 2. The work that a relay can cause is bounded by [`ITERATIONS`], and done outside the async threads. A challenge that
//!    is too short makes rsasl panic, which then ends only that thread.
//! 3. The relay is told the truth about channel binding: `p=tls-exporter` by a mechanism with -PLUS, with the octets that
//!    both ends of the TLS session share; `y` where we could bind and the relay offers no -PLUS, so that a relay that did
//!    offer one refuses; `n` where we cannot bind, or may not.
//!
//! Not here: the octets of the binding (`tls.rs`), and when there are any (`sasl.rs`).
//!
//! RFC 5802, RFC 7677, RFC 9266 (tls-exporter), RFC 4013 (SASLprep).

use std::fmt;

use rsasl::callback::{Context, Request, SessionCallback, SessionData};
use rsasl::config::SASLConfig;
use rsasl::mechanisms::scram::properties::Iterations;
use rsasl::mechanisms::scram::{
    SCRAM_SHA1, SCRAM_SHA1_PLUS, SCRAM_SHA256, SCRAM_SHA256_PLUS, SCRAM_SHA512, SCRAM_SHA512_PLUS,
};
use rsasl::mechname::Mechname;
use rsasl::prelude::{ChannelBindingCallback, Mechanism, Registry, SASLClient, Session, SessionError, State};
use rsasl::property::{AuthId, Password};
use rsasl::validate::NoValidation;
use zeroize::Zeroizing;

use super::{Message, TOO_MANY_CHALLENGES};
use crate::config;
use crate::relay::tls::ChannelBinding;
use crate::secret::Secret;

static MECHANISMS: [Mechanism; 6] =
    [SCRAM_SHA512_PLUS, SCRAM_SHA256_PLUS, SCRAM_SHA1_PLUS, SCRAM_SHA512, SCRAM_SHA256, SCRAM_SHA1];

/// The iteration counts that are accepted. RFC 7677 4 requires at least 4,096; a million takes about a second.
pub(super) const ITERATIONS: std::ops::RangeInclusive<u32> = 4_096..=1_000_000;

/// The name of the only kind of channel binding that we have (RFC 9266).
const TLS_EXPORTER: &str = "tls-exporter";

/// Upper bound, in octets, of a message as it begins; a longer one grows the buffer once.
const USUAL_MESSAGE_OCTETS: usize = 512;

/// What the relay is told about channel binding.
#[derive(Clone)]
pub(super) enum Binding {
    /// The login is bound to the TLS session.
    Exporter(ChannelBinding),
    /// It could be bound, and the relay does not offer that.
    NotOffered,
    /// It cannot be bound, or is not to be.
    None,
}

impl ChannelBindingCallback for Binding {
    fn get_cb_data(&self, name: &str) -> Option<&[u8]> {
        match self {
            Binding::Exporter(octets) if name == TLS_EXPORTER => Some(octets),
            _ => None,
        }
    }
}

/// Answers the queries of rsasl during an exchange.
struct Credentials {
    username: String,
    secret: Secret,
    can_bind: bool,
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

    fn enable_channel_binding(&self) -> bool {
        self.can_bind
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

/// Our side of one SCRAM exchange.
pub(super) struct ScramProver {
    /// The session of rsasl; `None` after an error, when it must not be used again.
    session: Option<Session<NoValidation, Binding>>,
    /// True if the mechanism expects more from the relay.
    is_running: bool,
}

impl ScramProver {
    pub(super) fn new(
        mechanism: config::Mechanism,
        username: String,
        secret: &Secret,
        binding: Binding,
    ) -> Result<Self, String> {
        // Only a secret that is text gets here (`sasl.rs`).
        let secret = secret.prepared().unwrap_or_else(|| secret.clone());
        let can_bind = !matches!(binding, Binding::None);
        let name = Mechname::parse(mechanism.name().as_bytes()).map_err(|error| error.to_string())?;
        let session = SASLConfig::builder()
            .with_registry(Registry::with_mechanisms(&MECHANISMS))
            .with_callback(Credentials { username, secret, can_bind })
            .and_then(|config| SASLClient::with_cb(config, binding).start_suggested_iter([name]))
            .map_err(|error| error.to_string())?;
        Ok(ScramProver { session: Some(session), is_running: true })
    }

    /// Returns the first message, which holds the username.
    pub(super) async fn begin(&mut self) -> Result<Message, String> {
        Ok(Message { octets: self.step(None).await?, proves: false })
    }

    /// Returns the answer to `challenge`: the proof, or nothing to the proof of the relay.
    pub(super) async fn answer(&mut self, challenge: Vec<u8>) -> Result<Message, String> {
        if !self.is_running {
            return Err(TOO_MANY_CHALLENGES.into());
        }
        Ok(Message { octets: self.step(Some(challenge)).await?, proves: true })
    }

    pub(super) async fn finish(&mut self) -> Result<(), String> {
        if !self.is_running {
            return Ok(());
        }
        let proved = self.step(None).await;
        proved.map(drop).map_err(|_| "the relay let us in without proving that it knows the secret".into())
    }

    /// Makes one step on a blocking thread: the hashing takes up to a second.
    async fn step(&mut self, challenge: Option<Vec<u8>>) -> Result<Zeroizing<Vec<u8>>, String> {
        let Some(mut session) = self.session.take() else { return Err("the exchange has failed".into()) };
        let stepped = tokio::task::spawn_blocking(move || {
            let mut message = Zeroizing::new(Vec::with_capacity(USUAL_MESSAGE_OCTETS));
            let state = session.step(challenge.as_deref(), &mut *message);
            state.map(|state| (session, state, message)).map_err(|error| in_words(&error))
        });
        let malformed = |_| "the relay's challenge is malformed".to_owned();
        let (session, state, message) = stepped.await.map_err(malformed)??;
        self.is_running = state == State::Running;
        self.session = Some(session);
        Ok(message)
    }
}

/// The words for a relay that says within the exchange that it knows no such user, or that the password is wrong.
pub(in crate::relay) const PROOF_REFUSED: &str = "user or password refused";

/// Describes an error of rsasl by its innermost cause, since the outer ones are too general. RFC 5802 7: what the relay
/// may say of an exchange in place of its own proof.
fn in_words(error: &SessionError) -> String {
    if matches!(error, SessionError::MutualAuthenticationFailed) {
        return "the relay's proof is wrong: it does not know the secret".into();
    }
    let text = error.to_string();
    let says = |words: &[&str]| words.iter().any(|words| text.contains(words));
    if says(&["invalid proof", "unknown user"]) {
        PROOF_REFUSED.into()
    } else if says(&["channel bindings dont match"]) {
        "the relay sees another TLS session than we do".into()
    } else if says(&["channel binding not supported", "unsupported channel binding type"]) {
        "the relay does not know tls-exporter".into()
    } else {
        text
    }
}
