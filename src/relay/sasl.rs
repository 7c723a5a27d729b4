//! SASL: proves our identity to the relay, with the best mechanism that both sides support.
//!
//! Promises:
//! 1. A secret is read when it is needed, sent only over a [`Verified`] stream, and never part of an error.
//! 2. A mechanism with proofs in both directions is not complete before the relay has proved its part: an early 235 is
//!    refused.
//! 3. The work that a relay can cause is bounded: the iteration count of SCRAM, and the number of challenges.
//! 4. The best mechanism that both sides have is tried first: SCRAM bound to the TLS session (-PLUS), SCRAM, PLAIN, LOGIN.
//!    CRAM-MD5 and EXTERNAL are tried only if the configuration names them. Under TLS 1.2 nothing is bound: a binding would be
//!    safe only with the extended master secret (RFC 9266 3), and rustls does not tell whether there is one.
//! 5. Where the first mechanism cannot work, another one that is offered and allowed is tried on the same connection, once,
//!    and the first one not again for a day. No login has its password checked twice, so that no account is locked:
//!
//!    | the exchange ends by | before a proof was sent | behind a proof |
//!    |---|---|---|
//!    | 504; 500, 501 or 502 with a status of x.5.x | the next mechanism | the next mechanism: the reply is about the command |
//!    | 535, 534, or any other 5xx | the next mechanism: the relay has no such secret of the user | refused: the password is wrong, or Google wants another one for this account |
//!    | a challenge that cannot be answered | the next mechanism | refused |
//!    | 4xx, 421, a connection that ends, no reply of SMTP | refused, and tried later | refused, and tried later |
//!    | 235 before the relay has proved itself, or a wrong proof of the relay | refused | refused |
//!
//! Fails: with [`Trouble`] of phase AUTH, whatever the reply (535, 534, 454…): it pauses the relay and says nothing
//! about any message (README promise 4). Where no mechanism can be used, it is a matter of configuration
//! ([`Cause::Misfit`]).
//!
//! Here: which mechanisms are tried. The dialogue is in `sasl/exchange.rs`, our side of each mechanism in `prover.rs` and
//! `scram.rs`, of those that prove an access token in `bearer.rs`; what is said of each that is offered in `weighing.rs`. Not here: reading the secret (`password.rs`).
//!
//! RFC 4954 (AUTH), RFC 9266 (channel binding); the mechanisms are named in their files.

mod bearer;
mod exchange;
mod prover;
mod scram;
mod weighing;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::channel::Channel;
use super::login::Login;
use super::tls::{ChannelBinding, Verified};
use super::trouble::{Cause, Phase, Trouble};
use crate::config::{self, Mechanism};
use crate::secret::Secret;
use crate::smtp::reply::{Reply, Severity};
use exchange::{Exchange, Stop};
use prover::Prover;
use scram::Binding;
pub(super) use scram::PROOF_REFUSED;
pub(super) use weighing::weighed;
pub use weighing::{MechanismUse, WeighedMechanism};

/// The start of the names of the mechanisms that hash the password.
const SCRAM: &str = "SCRAM-";

/// The end of the names of the mechanisms that bind a login to the TLS session.
const PLUS: &str = "-PLUS";

/// The error for a challenge behind the last message of a mechanism.
const TOO_MANY_CHALLENGES: &str = "the relay asks for more than the mechanism has, and neither takes nor refuses the login \
                                   (another one can be named by auth.mechanisms)";

/// One message of a mechanism to the relay.
struct Message {
    octets: Zeroizing<Vec<u8>>,
    /// True if it was made of the password.
    proves: bool,
}

/// The longest AUTH line (RFC 5321 4.5.3.1.4). If the initial response makes it longer, the response is not included.
const MAX_LINE_OCTETS: usize = 512;

/// Authenticates with `login`, by one of the mechanisms in `offered`. Returns the one that the relay took.
pub(crate) async fn authenticate(
    channel: &mut Channel<Verified>,
    offered: &[String],
    login: &Login,
) -> Result<Mechanism, Trouble> {
    if login.auth.secret.is_token() {
        return bearer::authenticate_by_token(channel, offered, login).await;
    }
    let means = LoginMeans::of(channel.stream().binding(), offered, login).await;
    let means = means.map_err(|cause| channel.trouble(Phase::Auth, cause))?;
    // `common` and `usable` give at least one.
    let first = means.mechanisms[0];
    let unusable = match means.attempt(channel, first).await {
        Ok(()) => return Ok(first),
        Err(Stop::Final(trouble)) => return Err(trouble),
        Err(Stop::Unusable(trouble)) => trouble,
    };
    let Some(second) = second_to(first, &means.mechanisms) else { return Err(unusable) };
    match means.attempt(channel, second).await {
        Ok(()) => Ok(second),
        // A relay that hangs up at a second AUTH says less by it than it said before.
        Err(Stop::Final(trouble) | Stop::Unusable(trouble)) => match trouble.cause {
            Cause::LoginRefused { .. } => Err(trouble),
            _ => Err(unusable),
        },
    }
}

/// What a login that proves no access token can be tried with.
struct LoginMeans<'a> {
    login: &'a Login,
    /// The mechanisms that may be tried, the best one first; at least one.
    mechanisms: Vec<Mechanism>,
    /// The password; `None` if the certificate of this host is the proof.
    secret: Option<Secret>,
    /// What TLS gives for channel binding.
    binding: Option<ChannelBinding>,
    /// True if the relay offers a mechanism with -PLUS.
    is_binding_offered: bool,
}

impl<'a> LoginMeans<'a> {
    async fn of(
        binding: Option<ChannelBinding>,
        offered: &[String],
        login: &'a Login,
    ) -> Result<Self, Cause> {
        let common = common(offered, &login.auth).map_err(Cause::Misfit)?;
        let is_binding_offered = offered.iter().any(|name| name.ends_with(PLUS));
        let (mechanisms, secret) = if login.auth.secret.is_certificate() {
            (common, None)
        } else {
            let secret = login.secret().await.map_err(|error| error.cause())?;
            (login.worth_trying(usable(common, &secret, binding.is_some())?), Some(secret))
        };
        Ok(LoginMeans { login, mechanisms, secret, binding, is_binding_offered })
    }

    async fn attempt(&self, channel: &mut Channel<Verified>, mechanism: Mechanism) -> Result<(), Stop> {
        let username = &self.login.auth.username;
        if let Some(secret) = &self.secret {
            channel.keep_secret(secret.expose());
        }
        let prover = match &self.secret {
            Some(secret) => Prover::of_password(mechanism, username, secret, self.binding_of(mechanism)),
            None => Ok(Prover::external(username)),
        };
        let prover = prover.map_err(|words| channel.trouble(Phase::Auth, Cause::Other(words)))?;
        let result = Exchange::new(mechanism, prover).run(channel).await;
        if let Err(Stop::Unusable(_)) = result {
            self.login.cannot_use(mechanism);
        }
        result
    }

    fn binding_of(&self, mechanism: Mechanism) -> Binding {
        match self.binding {
            Some(binding) if mechanism.name().ends_with(PLUS) => Binding::Exporter(binding),
            Some(_) if !self.is_binding_offered => Binding::NotOffered,
            _ => Binding::None,
        }
    }
}

/// Returns the mechanism to try after `first`, which cannot work: the best one of another kind, since a relay that has no
/// SCRAM secret of a user has none for another hash either, and one that cannot bind a login to TLS can do so by none; or
/// else the next one.
fn second_to(first: Mechanism, mechanisms: &[Mechanism]) -> Option<Mechanism> {
    let kind = |mechanism: Mechanism| {
        let name = mechanism.name();
        (name.starts_with(SCRAM), name.ends_with(PLUS))
    };
    let others = || mechanisms.iter().copied().filter(|mechanism| *mechanism != first);
    others().find(|mechanism| kind(*mechanism) != kind(first)).or_else(|| others().next())
}

/// Cancels the exchange with `*` (RFC 4954 4), which the relay refuses, by 501. Returns its answer if that is no refusal, and so
/// answers something else. An error if it is no reply: a relay that talks nonsense is told no password.
async fn cancel(channel: &mut Channel<Verified>) -> Result<Option<Reply>, Trouble> {
    match channel.command(Phase::Auth, b"*").await {
        Err(trouble) if matches!(trouble.cause, Cause::Garbage(_) | Cause::Overlong { .. }) => Err(trouble),
        Ok(reply) if matches!(reply.severity(), Severity::Positive | Severity::Intermediate) => {
            Ok(Some(reply))
        }
        _ => Ok(None),
    }
}

/// Returns `message` in base64.
fn encoded(message: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut encoded = Zeroizing::new(vec![0; message.len().div_ceil(3) * 4]);
    // The buffer has the length of the encoded text.
    STANDARD.encode_slice(message, &mut encoded).expect("the buffer is large enough");
    encoded
}

/// Returns the mechanisms that both sides have, the best one first; at least one.
fn common(offered: &[String], auth: &config::AuthConfig) -> Result<Vec<Mechanism>, String> {
    let is_offered = |mechanism: &Mechanism| offered.iter().any(|name| name == mechanism.name());
    let common: Vec<Mechanism> = allowed(auth).into_iter().filter(is_offered).collect();
    if common.is_empty() { Err(nothing_in_common(offered, auth)) } else { Ok(common) }
}

/// Returns those of `common` that can prove `secret`, and that need no channel binding if there is none; at least one.
fn usable(common: Vec<Mechanism>, secret: &Secret, can_bind: bool) -> Result<Vec<Mechanism>, Cause> {
    let is_text = secret.text().is_some();
    let can_hash = |mechanism: &Mechanism| is_text || !mechanism.name().starts_with(SCRAM);
    let can_bind = |mechanism: &Mechanism| can_bind || !mechanism.name().ends_with(PLUS);
    if !common.iter().any(can_bind) {
        return Err(Cause::Misfit(
            "only SCRAM with -PLUS is allowed and offered, which binds the login to a session of TLS 1.3, and this \
             one is older: let the relay speak TLS 1.3, or allow SCRAM without -PLUS (auth.mechanisms)"
                .into(),
        ));
    }
    let usable: Vec<Mechanism> = common.into_iter().filter(can_bind).filter(can_hash).collect();
    if usable.is_empty() {
        return Err(Cause::NoSecret(
            "the password is not UTF-8, and the relay offers only SCRAM, which needs that: write the password \
             in UTF-8, or allow PLAIN or LOGIN (auth.mechanisms) if the relay has them"
                .into(),
        ));
    }
    Ok(usable)
}

/// Returns the mechanisms that prove a secret of this kind and that the configuration allows, the best one first.
fn allowed(auth: &config::AuthConfig) -> Vec<Mechanism> {
    let is_allowed = |mechanism: &Mechanism| match &auth.mechanisms {
        Some(named) => named.contains(mechanism),
        None => !mechanism.is_only_by_name(),
    };
    auth.secret.mechanisms().iter().copied().filter(is_allowed).collect()
}

fn nothing_in_common(offered: &[String], auth: &config::AuthConfig) -> String {
    let offers = if offered.is_empty() { "no AUTH at all".into() } else { offered.join(" ") };
    let allowed: Vec<&str> = allowed(auth).into_iter().map(Mechanism::name).collect();
    format!(
        "no mechanism in common: the relay offers {offers}; we have {}{}",
        allowed.join(" "),
        remedy(offered, auth)
    )
}

/// Returns what the operator can do about a relay without a mechanism in common.
fn remedy(offered: &[String], auth: &config::AuthConfig) -> &'static str {
    let offers = |mechanism: &Mechanism| offered.iter().any(|name| name == mechanism.name());
    if offered.is_empty() {
        return "; if it knows this host by its address or certificate, leave [auth] out, else another port may offer it \
                (587, or 465 with tls.mode = \"implicit\")";
    }
    if auth.secret.is_token() || auth.secret.is_certificate() {
        return "";
    }
    if auth.mechanisms.is_some() && Mechanism::OF_PASSWORDS.iter().any(offers) {
        return "; auth.mechanisms leaves out what it offers";
    }
    if offers(&Mechanism::CramMd5) {
        return "; CRAM-MD5 is used only if auth.mechanisms names it: the relay must keep the password in the clear for it";
    }
    if Mechanism::OF_TOKENS.iter().any(offers) {
        return "; it takes access tokens in place of a password: see [auth.oauth]";
    }
    if offers(&Mechanism::External) {
        return "; for EXTERNAL, name it in auth.mechanisms, without a password, beside tls.client-certificate";
    }
    ""
}

#[cfg(test)]
mod tests;
