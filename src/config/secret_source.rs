//! The source of the secret for the login, a password or an access token: a file, a systemd credential, or the output
//! of a command.
//!
//! Promises: a file is read anew each time, so that a rotated secret is used without a restart; a file that others can
//! read is refused (`access.rs`); the octets that were read are wiped from memory, and no error repeats any of them.
//!
//! Fails: [`SecretError`]. No relay can be used then; the mail stays queued.
//!
//! Not here: running a command (`relay/password_command.rs`); the text that is a secret (`secret.rs`).

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::access::{Guard, OpenFault, open};
use crate::secret::{self, BadSecret, Secret};

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
}

/// The place from which an access token (RFC 6750) is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenSource {
    /// `token-file`: an absolute path, with the same rules as `password-file`. Another program keeps the token fresh.
    File(PathBuf),
    /// `token-command`: a program by its absolute path, and its arguments. It prints a token that is valid now.
    Command(Vec<String>),
}

/// A file that holds a secret.
#[derive(Debug)]
pub struct SecretFile {
    path: PathBuf,
    guard: Guard,
}

/// The reason why there is no secret. It never contains anything that was read.
#[derive(Debug)]
pub enum SecretError {
    /// The file at this path cannot be read, or must not be used.
    File(PathBuf, OpenFault),
    /// `$CREDENTIALS_DIRECTORY` is not set; holds the name of the credential.
    NoCredentials(String),
    /// The program does not exist, or cannot be run.
    NotRun(String, io::Error),
    /// The file or program named here gave something that is not a secret.
    NoSecret(String, BadSecret),
}

impl SecretSource {
    /// Checks that the file at `path`, which systemd will load as a credential, holds a secret. Blocks on the disk.
    pub fn check_loaded(path: &Path) -> Result<(), SecretError> {
        SecretFile { path: path.into(), guard: Guard::Systemd }.read().map(drop)
    }

    /// Checks that a secret could be read here, without running a command. A credential is checked only if systemd gave
    /// this process any; `nullmta check` usually runs without, and then asks what the unit loads. Blocks on the disk.
    pub(super) fn check(&self) -> Result<(), SecretError> {
        match self {
            SecretSource::File(path) | SecretSource::Token(TokenSource::File(path)) => {
                SecretFile::at(path).read().map(drop)
            }
            SecretSource::Credential(name) => match SecretFile::of_credential(name) {
                Ok(file) => file.read().map(drop),
                Err(_) => Ok(()),
            },
            // The parser refuses an empty list; if there were one, the empty path is not found.
            SecretSource::Command(words) | SecretSource::Token(TokenSource::Command(words)) => {
                check_program(words.first().map_or("", String::as_str))
            }
        }
    }

    /// Returns whether the secret is an access token, and no password.
    pub fn is_token(&self) -> bool {
        matches!(self, SecretSource::Token(_))
    }

    /// Returns the program that prints the secret, if there is one; the first word is its path.
    pub fn command(&self) -> Option<&[String]> {
        match self {
            SecretSource::Command(words) | SecretSource::Token(TokenSource::Command(words)) => Some(words),
            SecretSource::File(_)
            | SecretSource::Credential(_)
            | SecretSource::Token(TokenSource::File(_)) => None,
        }
    }
}

/// Checks that there is a program that we may run.
fn check_program(program: &str) -> Result<(), SecretError> {
    let not_run = |error| SecretError::NotRun(program.into(), error);
    let metadata = fs::metadata(program).map_err(not_run)?;
    if !metadata.is_file() || metadata.permissions().mode() & 0o111 == 0 {
        return Err(not_run(io::Error::new(io::ErrorKind::PermissionDenied, "not an executable file")));
    }
    // That somebody may run it does not say that we may.
    access(program, Access::EXEC_OK).map_err(|error| not_run(error.into()))
}

impl SecretFile {
    /// Returns the file of a `password-file`.
    pub fn at(path: &Path) -> Self {
        SecretFile { path: path.into(), guard: Guard::Ourselves }
    }

    /// Returns the file of the systemd credential `name`; an error if systemd gave this process no credentials.
    pub fn of_credential(name: &str) -> Result<Self, SecretError> {
        SecretFile::in_directory(env::var_os("CREDENTIALS_DIRECTORY"), name)
    }

    fn in_directory(directory: Option<OsString>, name: &str) -> Result<Self, SecretError> {
        let directory = directory.ok_or_else(|| SecretError::NoCredentials(name.into()))?;
        Ok(SecretFile { path: PathBuf::from(directory).join(name), guard: Guard::Systemd })
    }

    /// Reads the secret. Blocks on the disk.
    pub fn read(&self) -> Result<Secret, SecretError> {
        let of_file = |fault| SecretError::File(self.path.clone(), fault);
        let (file, _) = open(&self.path, self.guard).map_err(of_file)?;
        let mut octets = secret::buffer();
        file.take(secret::MAX_OCTETS as u64 + 1)
            .read_to_end(&mut octets)
            .map_err(|error| of_file(OpenFault::Unreadable(error)))?;
        Secret::of_octets(octets).map_err(|bad| SecretError::NoSecret(self.path.display().to_string(), bad))
    }
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretError::File(path, fault @ OpenFault::OpenToOthers { .. }) => write!(
                f,
                "{}, or, where its mode is not yours to change, hand a password over as a systemd credential \
                 (credential) or by a program (password-command)",
                fault.words(path)
            ),
            SecretError::File(path, fault) => f.write_str(&fault.words(path)),
            SecretError::NoCredentials(name) => {
                write!(f, "no credential {name}: systemd gave us none (LoadCredential={name}:PATH does)")
            }
            SecretError::NotRun(program, error) => write!(f, "cannot run {program}: {error}"),
            SecretError::NoSecret(origin, bad) => write!(f, "{origin} holds {bad}: expected one line"),
        }
    }
}

impl std::error::Error for SecretError {}

#[cfg(test)]
mod tests;
