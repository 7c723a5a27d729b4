//! The source of the secret for the login, a password or an access token: a file, a systemd credential, the output of a
//! command, or an endpoint.
//!
//! Fails: [`SecretError`]. No relay can be used then; the mail stays queued.
//!
//! Not here: reading the file (`secret_file.rs`), running a command (`relay/password_command.rs`), asking an endpoint
//! (`relay/token.rs`).

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::oauth::OAuthConfig;
use super::secret_file::{SecretError, SecretFile, SecretKind};
use super::words::Mechanism;

/// The place from which a secret is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// `password-file`: an absolute path. The owner of the file is root or us; only the owner, or also a group of ours,
    /// may read it.
    File(PathBuf),
    /// `credential`: the name of a file in `$CREDENTIALS_DIRECTORY`, which systemd made for us.
    Credential(String),
    /// `password-command`: a program by its absolute path, and its arguments. It prints the secret.
    Command(Vec<String>),
    /// The secret is an access token in place of a password.
    Token(TokenSource),
    /// There is no secret: the certificate of this host, which TLS shows (`tls.client-certificate`), is the proof.
    Certificate,
}

/// The place from which an access token (RFC 6750) is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenSource {
    /// `token-file`: an absolute path, with the same rules as `password-file`. Another program keeps the token fresh.
    File(PathBuf),
    /// `token-command`: a program by its absolute path, and its arguments. It prints a token that is valid now.
    Command(Vec<String>),
    /// `[auth.oauth]`: a token endpoint hands it out.
    OAuth(Box<OAuthConfig>),
}

impl SecretSource {
    /// Checks that the file at `path`, which systemd will load as a credential, holds a secret. Blocks on the disk.
    pub fn check_loaded(path: &Path) -> Result<(), SecretError> {
        SecretFile::of_systemd(path).read().map(drop)
    }

    /// Checks that a secret could be read here, without running a command. A credential is checked only if systemd gave
    /// this process any; `nullmta check` usually runs without, and then asks what the unit loads. Blocks on the disk.
    pub(super) fn check(&self) -> Result<(), SecretError> {
        match self {
            SecretSource::File(path) => SecretFile::at(path, SecretKind::Password).read().map(drop),
            SecretSource::Token(TokenSource::File(path)) => {
                SecretFile::at(path, SecretKind::AccessToken).read().map(drop)
            }
            SecretSource::Credential(name) => match SecretFile::of_credential(name) {
                Ok(file) => file.read().map(drop),
                Err(_) => Ok(()),
            },
            // The parser refuses an empty list; if there were one, the empty path is not found.
            SecretSource::Command(words) | SecretSource::Token(TokenSource::Command(words)) => {
                check_program(words.first().map_or("", String::as_str))
            }
            // The files of the first are checked with their own keys (`OAuthConfig::check`).
            SecretSource::Token(TokenSource::OAuth(_)) | SecretSource::Certificate => Ok(()),
        }
    }

    /// Returns the mechanisms that prove such a secret, the best one first.
    pub fn mechanisms(&self) -> &'static [Mechanism] {
        match self {
            SecretSource::Token(_) => &Mechanism::OF_TOKENS,
            SecretSource::Certificate => &Mechanism::OF_CERTIFICATES,
            SecretSource::File(_) | SecretSource::Credential(_) | SecretSource::Command(_) => {
                &Mechanism::OF_PASSWORDS
            }
        }
    }

    /// Returns whether there is no secret, since the certificate of this host is the proof.
    pub fn is_certificate(&self) -> bool {
        matches!(self, SecretSource::Certificate)
    }

    /// Returns whether the secret is an access token, and no password.
    pub fn is_token(&self) -> bool {
        matches!(self, SecretSource::Token(_))
    }

    /// Returns how the secret is got by OAuth, if it is.
    pub fn oauth(&self) -> Option<&OAuthConfig> {
        match self {
            SecretSource::Token(TokenSource::OAuth(oauth)) => Some(oauth),
            _ => None,
        }
    }

    /// Returns the program that prints the secret, if there is one; the first word is its path.
    pub fn command(&self) -> Option<&[String]> {
        match self {
            SecretSource::Command(words) | SecretSource::Token(TokenSource::Command(words)) => Some(words),
            SecretSource::File(_)
            | SecretSource::Credential(_)
            | SecretSource::Token(_)
            | SecretSource::Certificate => None,
        }
    }
}

/// Checks that there is a program that we may run.
pub(super) fn check_program(program: &str) -> Result<(), SecretError> {
    let not_run = |error| SecretError::NotRun(program.into(), error);
    let metadata = fs::metadata(program).map_err(not_run)?;
    if !metadata.is_file() || metadata.permissions().mode() & 0o111 == 0 {
        return Err(not_run(io::Error::new(io::ErrorKind::PermissionDenied, "not an executable file")));
    }
    // That somebody may run it does not say that we may.
    access(program, Access::EXEC_OK).map_err(|error| not_run(error.into()))
}

#[cfg(test)]
mod tests;
