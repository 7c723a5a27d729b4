//! The server side of AUTH, as in a relay: PLAIN, LOGIN and SCRAM, for the users given on the command line.
//!
//! Promises: an exchange ends in [`AuthStep::Succeeded`] only for a known user who proved the password and does not ask
//! to act for another user; after a failure it makes no further step. `Debug` does not show secrets.
//!
//! Not here: the mechanisms (`sasl_server.rs`), base64 and the replies (`smtp/session/`), the client side (`relay/sasl.rs`).

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;

use crate::listener::backend::AuthStep;
use crate::sasl_server::{
    ClaimedLogin, DecoyKeys, FoundKeys, LoginKeys, SaslExchange, SaslMechanism, SaslStep, ScramHash,
    ScramKeys,
};
use crate::secret::Secret;

/// The mechanisms that EHLO offers.
pub const MECHANISMS: [&str; 5] = ["SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "LOGIN"];

/// The least number that RFC 5802 5.1 allows: passwords of a sink are only for tests.
const SINK_ITERATIONS: u32 = 4096;

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
pub struct SinkUsers(Arc<KnownUsers>);

struct KnownUsers {
    users: Vec<KnownUser>,
    decoys: DecoyKeys,
}

impl SinkUsers {
    /// Derives the keys for SCRAM from each password, which takes a few milliseconds for each user.
    pub fn new(users: &[SinkUser]) -> Result<Self, String> {
        let users = users.iter().map(KnownUser::new).collect::<Result<_, _>>()?;
        Ok(SinkUsers(Arc::new(KnownUsers { users, decoys: DecoyKeys::fresh()? })))
    }

    /// Begins an exchange. Returns it, unless it has failed already, and the first answer to the client.
    pub fn start(&self, mechanism: &str, initial: Option<&[u8]>) -> (Option<AuthExchange>, AuthStep) {
        let offered = MECHANISMS.contains(&mechanism).then(|| SaslMechanism::parse(mechanism)).flatten();
        let Some(mechanism) = offered else { return (None, AuthStep::Failed) };
        let mut exchange = SaslExchange::new(mechanism, None);
        let step = self.answer(exchange.begin(initial, &*self.0));
        let goes_on = matches!(step, AuthStep::Challenge(_));
        (goes_on.then(|| AuthExchange { exchange, users: self.clone() }), step)
    }

    fn answer(&self, step: SaslStep) -> AuthStep {
        match step {
            SaslStep::Challenge(challenge) => AuthStep::Challenge(challenge),
            SaslStep::Proven(user) => AuthStep::Succeeded { user, senders: None },
            SaslStep::Password(claimed) if self.0.is_password(&claimed) => {
                AuthStep::Succeeded { user: claimed.name, senders: None }
            }
            SaslStep::Password(_) | SaslStep::Failed(..) => AuthStep::Failed,
        }
    }
}

impl fmt::Debug for SinkUsers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SinkUsers(…)")
    }
}

/// An exchange that is under way.
pub struct AuthExchange {
    exchange: SaslExchange,
    users: SinkUsers,
}

impl AuthExchange {
    /// Processes a response of the client. Unless the result is another challenge, the exchange is over.
    pub fn respond(&mut self, response: &[u8]) -> AuthStep {
        self.users.answer(self.exchange.respond(response, &*self.users.0))
    }
}

/// A user, with the keys that each SCRAM mechanism derives from the password.
struct KnownUser {
    user: SinkUser,
    scram: [ScramKeys; 3],
}

impl KnownUser {
    fn new(user: &SinkUser) -> Result<Self, String> {
        let derive = |hash| ScramKeys::fresh(hash, SINK_ITERATIONS, &user.password);
        let scram = [derive(ScramHash::Sha1)?, derive(ScramHash::Sha256)?, derive(ScramHash::Sha512)?];
        Ok(KnownUser { user: user.clone(), scram })
    }
}

impl KnownUsers {
    fn find(&self, name: &str) -> Option<&KnownUser> {
        self.users.iter().find(|known| known.user.name == name)
    }

    fn is_password(&self, claimed: &ClaimedLogin) -> bool {
        // A password that is no text is compared as it is.
        let prepared = |secret: &Secret| secret.prepared().unwrap_or_else(|| secret.clone());
        self.find(&claimed.name).is_some_and(|known| {
            let (one, other) = (prepared(&known.user.password), prepared(&claimed.password));
            verify_slices_are_equal(one.expose(), other.expose()).is_ok()
        })
    }
}

impl LoginKeys for KnownUsers {
    fn keys_of(&self, name: &str, hash: ScramHash) -> FoundKeys {
        let decoy = self.decoys.keys_of(name, hash, &[SINK_ITERATIONS]);
        let known = self.find(name).map(|known| match hash {
            ScramHash::Sha1 => &known.scram[0],
            ScramHash::Sha256 => &known.scram[1],
            ScramHash::Sha512 => &known.scram[2],
        });
        FoundKeys { is_known: known.is_some(), keys: known.cloned().unwrap_or(decoy) }
    }
}

#[cfg(test)]
mod tests;
