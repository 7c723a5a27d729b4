//! `[auth]`: the login at the relay.
//!
//! Promises: a username comes with exactly one source of its password, and a source never without a username.

use super::error::{ConfigFault, KeyLocation};
use super::file;
use super::secret_source::SecretSource;
use super::table::LocatedList;
use super::words::Mechanism;

/// `[auth]`: the login at the relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthConfig {
    /// The username; never empty, and without control characters.
    pub username: String,
    /// The source from which the password is read.
    pub secret: SecretSource,
    /// `mechanisms`: the only SASL mechanisms that may be used, at least one; `None` for any that the relay offers.
    pub mechanisms: Option<Vec<Mechanism>>,
}

impl AuthConfig {
    /// Returns the login that the file describes; `None` if there is none.
    pub(super) fn of(auth: &file::AuthTable) -> Result<Option<AuthConfig>, ConfigFault> {
        let sources = sources_of(auth);
        let Some(username) = &auth.username else {
            let mechanisms = auth.mechanisms.as_ref().map(|list| &list.location);
            return match sources.first().map(|(location, _)| *location).or(mechanisms) {
                Some(location) => Err(location.expected("auth.username beside it", "no username")),
                None => Ok(None),
            };
        };
        let secret = match sources.as_slice() {
            [(_, secret)] => secret.clone(),
            [] => return Err(username.location.expected(format!("{ONE_SOURCE} beside it"), "none of them")),
            [(one, _), (other, _), ..] => {
                return Err(other.expected(ONE_SOURCE, format!("{} on line {} too", one.key, one.line)));
            }
        };
        Ok(Some(AuthConfig {
            username: username.value.0.clone(),
            secret,
            mechanisms: auth.mechanisms.as_ref().map(LocatedList::values),
        }))
    }
}

const ONE_SOURCE: &str = "exactly one of password-file, credential and password-command";

/// Returns every source of the password that the file names, in the order of the file.
pub(super) fn sources_of(auth: &file::AuthTable) -> Vec<(&KeyLocation, SecretSource)> {
    let file =
        auth.password_file.as_ref().map(|entry| (&entry.location, SecretSource::File(entry.value.0.clone())));
    let credential = auth
        .credential
        .as_ref()
        .map(|entry| (&entry.location, SecretSource::Credential(entry.value.0.clone())));
    let command = auth
        .password_command
        .as_ref()
        .map(|entry| (&entry.location, SecretSource::Command(entry.value.0.clone())));
    let mut sources: Vec<_> = [file, credential, command].into_iter().flatten().collect();
    sources.sort_by_key(|(location, _)| location.line);
    sources
}
