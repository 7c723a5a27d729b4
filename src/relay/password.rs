//! Reads the password or the access token for the login, from the source that the configuration names.
//!
//! Promises: it is read anew each time, so that a rotated one is used without a restart; no async thread waits for the
//! disk.
//!
//! Fails: [`PasswordError`], which repeats nothing that was read. The relay cannot be used then; the mail stays queued.
//!
//! Not here: the files (`config/secret_source.rs`), the proof to the relay (`sasl.rs`).

use std::fmt;

use super::password_command::{self, CommandError};
use crate::config::{SecretError, SecretFile, SecretSource, TokenSource};
use crate::oauth::{AccessToken, BadToken};
use crate::secret::Secret;

/// The reason why there is no password.
#[derive(Debug)]
pub(super) enum PasswordError {
    /// The file or the credential cannot be used, or holds no secret.
    File(SecretError),
    /// The program gave no secret.
    Command(CommandError),
    /// The thread that reads the file did not come to its end.
    NeverRead(tokio::task::JoinError),
    /// The source gave something that is no access token.
    NoToken(BadToken),
    /// Nothing is read: a token is handed out by an endpoint (`token.rs`), or there is no secret.
    NothingToRead,
}

/// Returns the access token that `secret` is.
pub(super) fn token_of(secret: Secret) -> Result<AccessToken, PasswordError> {
    AccessToken::of(secret).map_err(PasswordError::NoToken)
}

/// Reads the secret.
pub(super) async fn read(source: &SecretSource) -> Result<Secret, PasswordError> {
    match source {
        SecretSource::File(path) | SecretSource::Token(TokenSource::File(path)) => {
            read_aside(SecretFile::at(path)).await
        }
        SecretSource::Credential(name) => {
            read_aside(SecretFile::of_credential(name).map_err(PasswordError::File)?).await
        }
        SecretSource::Command(words) | SecretSource::Token(TokenSource::Command(words)) => {
            password_command::run(words).await.map_err(PasswordError::Command)
        }
        SecretSource::Token(TokenSource::OAuth(_)) | SecretSource::Certificate => {
            Err(PasswordError::NothingToRead)
        }
    }
}

/// Reads `file` outside the async threads.
async fn read_aside(file: SecretFile) -> Result<Secret, PasswordError> {
    let read = tokio::task::spawn_blocking(move || file.read()).await;
    read.map_err(PasswordError::NeverRead)?.map_err(PasswordError::File)
}

impl fmt::Display for PasswordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PasswordError::File(error) => error.fmt(f),
            PasswordError::Command(error) => error.fmt(f),
            PasswordError::NeverRead(error) => write!(f, "the password was not read: {error}"),
            PasswordError::NothingToRead => f.write_str(
                "[auth]: the token endpoint or the client certificate gives the proof, and nothing is read",
            ),
            PasswordError::NoToken(bad) => write!(f, "auth.token-file or auth.token-command gave {bad}"),
        }
    }
}

#[cfg(test)]
mod tests;
