//! The server side of SASL: one exchange with a client, from the name of the mechanism to the proof.
//!
//! ```text
//!  PLAIN, LOGIN ─▶ a name and a password ─▶ the caller compares   (ScramKeys::is_password takes milliseconds)
//!  SCRAM        ─▶ messages, with the keys of the user            (LoginKeys) ─▶ proven, or not
//! ```
//! Promises:
//! 1. [`SaslStep::Proven`] is returned only to a client that proved, by SCRAM, that it knows the password of the name, and that
//!    does not ask to act for another user. A password of PLAIN or LOGIN is only taken out of its message.
//! 2. No message makes it panic. After a failure, or the end, every further message fails.
//! 3. An unknown name gets the messages of a known one: keys that stay the same for the name, and fit no password
//!    ([`DecoyKeys`]). Keys and proofs are compared in constant time.
//! 4. A mechanism with -PLUS succeeds only within the TLS session that the client sees, too; and a client that could bind
//!    itself to TLS, and was told that the server cannot, is refused where the server can (RFC 5802 6): somebody in between
//!    has changed the offer.
//! 5. `Debug` shows neither keys nor passwords.
//!
//! rsasl has a server, too. It compares proofs with `==`, says which names it does not know, leaves extensions and escaped
//! names out of what is signed, and panics on short attributes; so only the side of the client is by rsasl
//! (`relay/sasl/scram.rs`).
//!
//! Not here: base64 and replies (`smtp/session/auth.rs`); who the users are, and on which thread a password is hashed (the
//! listener and the sink).
//!
//! RFC 4422, RFC 4616 (PLAIN), draft-murchison-sasl-login, RFC 5802 and RFC 7677 (SCRAM), RFC 9266 (tls-exporter).

mod decoy;
mod keys;
mod plain;
mod scram;

use std::fmt;

use crate::secret::Secret;
use plain::{LoginStage, plain};
use scram::ScramServer;

pub use decoy::DecoyKeys;
pub use keys::{ITERATIONS, ScramHash, ScramKeys, USUAL_ITERATIONS};

/// A mechanism of which the server side is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaslMechanism {
    /// PLAIN.
    Plain,
    /// LOGIN.
    Login,
    /// SCRAM with this hash, without channel binding.
    Scram(ScramHash),
    /// SCRAM with this hash, and with channel binding (-PLUS).
    ScramPlus(ScramHash),
}

impl SaslMechanism {
    /// Returns the mechanism with this name, in upper case; `None` for others.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "PLAIN" => Some(SaslMechanism::Plain),
            "LOGIN" => Some(SaslMechanism::Login),
            _ => match name.strip_suffix("-PLUS") {
                Some(hash) => ScramHash::of_mechanism(hash).map(SaslMechanism::ScramPlus),
                None => ScramHash::of_mechanism(name).map(SaslMechanism::Scram),
            },
        }
    }
}

/// The octets that both ends of a TLS session can derive, and nobody else (`tls-exporter` of RFC 9266).
#[derive(Clone)]
pub struct ExporterOctets(pub [u8; 32]);

/// The keys of a name, as a [`LoginKeys`] finds them.
pub struct FoundKeys {
    /// The keys; those of a [`DecoyKeys`] for an unknown name.
    pub keys: ScramKeys,
    /// True if the name is that of a user.
    pub is_known: bool,
}

/// The users, as SCRAM asks for them.
pub trait LoginKeys {
    /// Returns the keys of `name` for this hash. An unknown name costs the time of a known one.
    fn keys_of(&self, name: &str, hash: ScramHash) -> FoundKeys;
}

/// A name with the password that is to prove it.
#[derive(Clone, Debug)]
pub struct ClaimedLogin {
    /// The name.
    pub name: String,
    /// The password, which was compared with nothing yet.
    pub password: Secret,
}

/// The reason why an exchange failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginFault {
    /// A message breaks the rules of the mechanism.
    Malformed,
    /// There is no such user.
    UnknownUser,
    /// The password, or the proof of it, is wrong.
    WrongPassword,
    /// The client asks to act for another user.
    ForAnother,
    /// The client is not bound to the same TLS session, or was told that it cannot be.
    NotBound,
}

/// Displays the reason for the log; a client learns none.
impl fmt::Display for LoginFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LoginFault::Malformed => "malformed message",
            LoginFault::UnknownUser => "unknown user",
            LoginFault::WrongPassword => "wrong password",
            LoginFault::ForAnother => "asks to act for another user",
            LoginFault::NotBound => "not bound to this TLS session",
        })
    }
}

/// The result of one message of the client.
#[derive(Debug)]
pub enum SaslStep {
    /// The next message to the client.
    Challenge(Vec<u8>),
    /// The end of PLAIN or LOGIN: the caller decides.
    Password(ClaimedLogin),
    /// The end of SCRAM: the client is this user.
    Proven(String),
    /// The end of any mechanism: with the name, if the client has said one.
    Failed(Option<String>, LoginFault),
}

/// One exchange that is under way.
pub struct SaslExchange(ExchangeStage);

/// The message that is awaited.
enum ExchangeStage {
    Plain,
    Login(LoginStage),
    Scram(Box<ScramServer>),
    Over,
}

impl SaslExchange {
    /// Begins an exchange. `exporter` is known within TLS 1.3, where -PLUS is offered.
    pub fn new(mechanism: SaslMechanism, exporter: Option<ExporterOctets>) -> Self {
        SaslExchange(match mechanism {
            SaslMechanism::Plain => ExchangeStage::Plain,
            SaslMechanism::Login => ExchangeStage::Login(LoginStage::Name),
            SaslMechanism::Scram(hash) => {
                ExchangeStage::Scram(Box::new(ScramServer::new(hash, false, exporter)))
            }
            SaslMechanism::ScramPlus(hash) => {
                ExchangeStage::Scram(Box::new(ScramServer::new(hash, true, exporter)))
            }
        })
    }

    /// Processes the initial response, or makes the first challenge if there is none.
    pub fn begin(&mut self, initial: Option<&[u8]>, users: &dyn LoginKeys) -> SaslStep {
        match (initial, &self.0) {
            // A client may skip the question for the name, by telling it already.
            (Some(response), _) => self.respond(response, users),
            (None, ExchangeStage::Login(_)) => SaslStep::Challenge(LoginStage::ASK_NAME.to_vec()),
            (None, _) => SaslStep::Challenge(Vec::new()),
        }
    }

    /// Returns the name that the next response of the client will prove, or not; `None` if another message comes first.
    pub fn about_to_prove(&self) -> Option<&str> {
        match &self.0 {
            ExchangeStage::Scram(server) => server.about_to_prove(),
            // They show a password, which the caller compares.
            ExchangeStage::Plain | ExchangeStage::Login(_) | ExchangeStage::Over => None,
        }
    }

    /// Processes a response of the client. Unless the result is another challenge, the exchange is over.
    pub fn respond(&mut self, response: &[u8], users: &dyn LoginKeys) -> SaslStep {
        let stage = std::mem::replace(&mut self.0, ExchangeStage::Over);
        match stage {
            ExchangeStage::Plain => plain(response),
            ExchangeStage::Login(stage) => {
                let (next, step) = stage.respond(response);
                self.0 = next.map_or(ExchangeStage::Over, ExchangeStage::Login);
                step
            }
            ExchangeStage::Scram(mut server) => {
                let step = server.respond(response, users);
                if matches!(step, SaslStep::Challenge(_)) {
                    self.0 = ExchangeStage::Scram(server);
                }
                step
            }
            ExchangeStage::Over => SaslStep::Failed(None, LoginFault::Malformed),
        }
    }
}

#[cfg(test)]
mod tests;
