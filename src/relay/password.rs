//! Reads the password or the access token for the login, from the source that the configuration names.
//!
//! Promises: it is read anew each time, so that a rotated one is used without a restart; no async thread waits for the
//! disk.
//!
//! Fails: [`PasswordError`], which repeats nothing that was read. The relay cannot be used then; the mail stays queued. A file
//! that cannot be used is *configuration*: it stays so until somebody writes another one, and that is noticed (`login.rs`). What
//! a program does not give may be there a moment later, when the network or a password store is, and nobody notices that but the
//! next try: it is relay trouble, which is tried again soon.
//!
//! Not here: the files (`config/secret_source.rs`), the proof to the relay (`sasl.rs`).

use std::fmt;

use super::password_command::{self, CommandError};
use super::trouble::Cause;
use crate::config::{SecretError, SecretFile, SecretKind, SecretSource, TokenSource};
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
    /// This source gave something that is no access token.
    NoToken(TokenOrigin, BadToken),
    /// Nothing is read: a token is handed out by an endpoint (`token.rs`), or there is no secret.
    NothingToRead,
}

/// The place that an access token comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenOrigin {
    /// `token-file`.
    File,
    /// `token-command`.
    Command,
}

/// Returns the access token that `secret`, which `source` gave, is.
pub(super) fn token_of(source: &SecretSource, secret: Secret) -> Result<AccessToken, PasswordError> {
    let origin = if source.command().is_some() { TokenOrigin::Command } else { TokenOrigin::File };
    AccessToken::of(secret).map_err(|bad| PasswordError::NoToken(origin, bad))
}

/// Reads the secret.
pub(super) async fn read(source: &SecretSource) -> Result<Secret, PasswordError> {
    match source {
        SecretSource::File(path) => read_aside(SecretFile::at(path, SecretKind::Password)).await,
        SecretSource::Token(TokenSource::File(path)) => {
            read_aside(SecretFile::at(path, SecretKind::AccessToken)).await
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

impl PasswordError {
    /// Returns the cause of the trouble: an operator must act, or it may pass.
    pub(super) fn cause(&self) -> Cause {
        let is_for_operator = match self {
            PasswordError::File(error) => error.is_for_operator(),
            PasswordError::Command(error) => error.is_for_operator(),
            PasswordError::NoToken(origin, _) => *origin == TokenOrigin::File,
            PasswordError::NeverRead(_) | PasswordError::NothingToRead => false,
        };
        if is_for_operator { Cause::NoSecret(self.to_string()) } else { Cause::Other(self.to_string()) }
    }
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
            PasswordError::NoToken(TokenOrigin::File, bad) => {
                write!(
                    f,
                    "auth.token-file holds {bad}; put the token alone there, without \"Bearer\" or quotes"
                )
            }
            PasswordError::NoToken(TokenOrigin::Command, bad) => write!(f, "auth.token-command gave {bad}"),
        }
    }
}

#[cfg(test)]
mod tests;
