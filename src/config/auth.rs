//! `[auth]`: the login at the relay.
//!
//! Promises: a username comes with exactly one source of its password or its access token, and a source never without a
//! username; the mechanisms prove what the source gives. EXTERNAL has no source and needs no username, but a client
//! certificate.

use super::error::{ConfigFault, KeyLocation};
use super::file;
use super::oauth::OAuthConfig;
use super::secret_source::{SecretSource, TokenSource};
use super::table::LocatedList;
use super::tls::Tls;
use super::words::Mechanism;

/// `[auth]`: the login at the relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthConfig {
    /// The username, without control characters; empty only for EXTERNAL, where the relay takes that of the certificate.
    pub username: String,
    /// The source from which the password or the access token is read.
    pub secret: SecretSource,
    /// `mechanisms`: the only SASL mechanisms that may be used, at least one; `None` for any that the relay offers.
    pub mechanisms: Option<Vec<Mechanism>>,
}

impl AuthConfig {
    /// Returns the login that the file describes; `None` if there is none. `tls` is how the relay is spoken to.
    pub(super) fn of(auth: &file::AuthTable, tls: &Tls) -> Result<Option<AuthConfig>, ConfigFault> {
        let sources = sources_of(auth)?;
        if let (Some(list), []) = (&auth.mechanisms, sources.as_slice())
            && list.values() == Mechanism::OF_CERTIFICATES
        {
            return AuthConfig::by_certificate(auth, list, tls).map(Some);
        }
        let Some(username) = &auth.username else {
            let mechanisms = auth.mechanisms.as_ref().map(|list| &list.location);
            return match sources.first().map(|(location, _)| *location).or(mechanisms) {
                Some(location) => {
                    Err(location.expected(location.beside("auth.username") + " beside it", "no username"))
                }
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
        let mechanisms = auth.mechanisms.as_ref().map(|list| mechanisms_for(&secret, list)).transpose()?;
        Ok(Some(AuthConfig { username: username.value.0.clone(), secret, mechanisms }))
    }

    fn by_certificate(
        auth: &file::AuthTable,
        list: &LocatedList<Mechanism>,
        tls: &Tls,
    ) -> Result<AuthConfig, ConfigFault> {
        if tls.settings().is_none_or(|settings| settings.client.is_none()) {
            return Err(list.location.expected("tls.client-certificate beside EXTERNAL", "no certificate"));
        }
        let username = auth.username.as_ref().map(|username| username.value.0.clone());
        Ok(AuthConfig {
            username: username.unwrap_or_default(),
            secret: SecretSource::Certificate,
            mechanisms: Some(list.values()),
        })
    }
}

/// Returns the mechanisms in `list`, each of which proves `secret`.
fn mechanisms_for(
    secret: &SecretSource,
    list: &LocatedList<Mechanism>,
) -> Result<Vec<Mechanism>, ConfigFault> {
    let proving = secret.mechanisms();
    match list.entries.iter().find(|entry| !proving.contains(&entry.value)) {
        Some(entry) => {
            let names: Vec<&str> = proving.iter().copied().map(Mechanism::name).collect();
            let kind = if secret.is_token() { "an access token" } else { "a password" };
            let expected = format!("mechanisms that prove {kind} ({})", names.join(", "));
            Err(entry.location.expected(expected, entry.value.name()))
        }
        None => Ok(list.values()),
    }
}

const ONE_SOURCE: &str =
    "exactly one of password-file, credential, password-command, token-file, token-command and [auth.oauth]";

/// Returns every source of the secret that the file names, in the order of the file.
pub(super) fn sources_of(auth: &file::AuthTable) -> Result<Vec<(&KeyLocation, SecretSource)>, ConfigFault> {
    let token = SecretSource::Token;
    let files = [
        auth.password_file.as_ref().map(|key| (&key.location, SecretSource::File(key.value.0.clone()))),
        auth.token_file.as_ref().map(|key| (&key.location, token(TokenSource::File(key.value.0.clone())))),
    ];
    let credential = &auth.credential;
    let credential =
        credential.as_ref().map(|key| (&key.location, SecretSource::Credential(key.value.0.clone())));
    let commands = [
        auth.password_command.as_ref().map(|key| (&key.location, SecretSource::Command(key.value.0.clone()))),
        auth.token_command
            .as_ref()
            .map(|key| (&key.location, token(TokenSource::Command(key.value.0.clone())))),
    ];
    let mut sources: Vec<_> = files.into_iter().chain([credential]).chain(commands).flatten().collect();
    if let Some((location, oauth)) = OAuthConfig::of(&auth.oauth)? {
        sources.push((location, token(TokenSource::OAuth(Box::new(oauth)))));
    }
    sources.sort_by_key(|(location, _)| location.line);
    Ok(sources)
}
