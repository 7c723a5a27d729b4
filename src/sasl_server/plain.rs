//! PLAIN and LOGIN: mechanisms that show the password.
//!
//! Promises: a message that breaks the rules fails; of the others the name and the password are returned as they were sent.
//!
//! RFC 4616; draft-murchison-sasl-login for LOGIN, with the questions that other servers ask, since some clients compare them.

use zeroize::Zeroizing;

use super::{ClaimedLogin, LoginFault, SaslStep};
use crate::secret::Secret;

/// Upper bound, in octets, of a name (RFC 4616 2).
pub(super) const MAX_NAME_OCTETS: usize = 255;

/// Processes the one message of PLAIN: `[authorization] NUL name NUL password`.
pub(super) fn plain(message: &[u8]) -> SaslStep {
    let parts: Vec<&[u8]> = message.split(|octet| *octet == 0).collect();
    let [acts_for, name, password] = parts[..] else {
        return SaslStep::Failed(None, LoginFault::Malformed);
    };
    if !acts_for.is_empty() && acts_for != name {
        return SaslStep::Failed(named(name), LoginFault::ForAnother);
    }
    claimed(named(name), password)
}

/// Returns `name` as a text; `None` if it is none, or too long.
fn named(name: &[u8]) -> Option<String> {
    let fits = name.len() <= MAX_NAME_OCTETS;
    std::str::from_utf8(name).ok().filter(|_| fits).map(str::to_owned)
}

fn claimed(name: Option<String>, password: &[u8]) -> SaslStep {
    match name {
        None => SaslStep::Failed(None, LoginFault::Malformed),
        Some(name) => {
            let password = Secret::of_login(Zeroizing::new(password.to_vec()));
            SaslStep::Password(ClaimedLogin { name, password })
        }
    }
}

/// What LOGIN waits for.
pub(super) enum LoginStage {
    /// The name.
    Name,
    /// The password of this name.
    Password(Option<String>),
}

impl LoginStage {
    /// The question for the name.
    pub(super) const ASK_NAME: &[u8] = b"Username:";
    const ASK_PASSWORD: &[u8] = b"Password:";

    /// Processes a response. Returns what is awaited next, if anything.
    pub(super) fn respond(self, response: &[u8]) -> (Option<LoginStage>, SaslStep) {
        match self {
            // A name that cannot be one fails only after the password, as an unknown one does.
            LoginStage::Name => {
                let stage = LoginStage::Password(named(response));
                (Some(stage), SaslStep::Challenge(Self::ASK_PASSWORD.to_vec()))
            }
            LoginStage::Password(name) => (None, claimed(name, response)),
        }
    }
}
