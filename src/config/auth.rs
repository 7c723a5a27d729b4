//! `[auth]`: who we are to the relay.
//!
//! Promises: a user has one source of the secret, and a source a user.

use super::error::{Fault, Place};
use super::file;
use super::secret_source::SecretSource;
use super::table::List;
use super::words::Mechanism;

/// `[auth]`: who we are to the relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// Never empty, no control characters.
    pub username: String,
    /// Where the password is.
    pub secret: SecretSource,
    /// `mechanisms`: only these; `None` for whichever both sides have. Never empty.
    pub mechanisms: Option<Vec<Mechanism>>,
}

impl Auth {
    /// What the file says; `None`: the relay knows us otherwise.
    pub(super) fn of(auth: &file::Auth) -> Result<Option<Auth>, Fault> {
        let sources = sources_of(auth);
        let Some(username) = &auth.username else {
            let mechanisms = auth.mechanisms.as_ref().map(|list| &list.place);
            return match sources.first().map(|(place, _)| *place).or(mechanisms) {
                Some(place) => Err(place.expected("auth.username beside it", "no username")),
                None => Ok(None),
            };
        };
        let secret = match sources.as_slice() {
            [(_, secret)] => secret.clone(),
            [] => return Err(username.place.expected(format!("{ONE_SOURCE} beside it"), "none of them")),
            [(one, _), (other, _), ..] => {
                return Err(other.expected(ONE_SOURCE, format!("{} on line {} too", one.key, one.line)));
            }
        };
        Ok(Some(Auth {
            username: username.value.0.clone(),
            secret,
            mechanisms: auth.mechanisms.as_ref().map(List::values),
        }))
    }
}

const ONE_SOURCE: &str = "exactly one of password-file, credential and password-command";

/// Every source of the secret that the file names, in the order of the file.
fn sources_of(auth: &file::Auth) -> Vec<(&Place, SecretSource)> {
    let file =
        auth.password_file.as_ref().map(|entry| (&entry.place, SecretSource::File(entry.value.0.clone())));
    let credential =
        auth.credential.as_ref().map(|entry| (&entry.place, SecretSource::Credential(entry.value.0.clone())));
    let command = auth
        .password_command
        .as_ref()
        .map(|entry| (&entry.place, SecretSource::Command(entry.value.0.clone())));
    let mut sources: Vec<_> = [file, credential, command].into_iter().flatten().collect();
    sources.sort_by_key(|(place, _)| place.line);
    sources
}
