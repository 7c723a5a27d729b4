//! Reads a secret from its source: a file, a systemd credential, or the output of a command.
//!
//! Promises: the secret is read anew each time, so that a rotated secret is used without a restart; a file that others
//! can read is refused (`config/access.rs`); a command is run without a shell, for 30 seconds at most; the octets that
//! were read are wiped from memory, and no error repeats any of them.
//!
//! Fails: [`SecretError`]. No relay can be used then; the mail stays queued.

mod command;
mod error;

use std::env;
use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

pub use error::{BadSecret, SecretError};

use super::access::{Guard, OpenFault, open};
use crate::secret::Secret;

/// The longest secret, in octets: enough for an OAuth token.
const MAX_OCTETS: usize = 16 * 1024;

/// U+FEFF, which some editors put in front of a text. It is not part of the password.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Where a secret comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// `password-file`: an absolute path. The owner of the file is root or us; only the owner, or also a group of ours,
    /// may read it.
    File(PathBuf),
    /// `credential`: the name of a file in `$CREDENTIALS_DIRECTORY`, which systemd made for us.
    Credential(String),
    /// `password-command`: a program by its absolute path, and its arguments. It prints the secret.
    Command(Vec<String>),
}

impl SecretSource {
    /// Reads the secret. A byte order mark in front of it and one line break at its end are dropped.
    pub async fn read(&self) -> Result<Secret, SecretError> {
        match self {
            SecretSource::File(path) => read_aside(path.clone(), Guard::Ourselves).await,
            SecretSource::Credential(name) => {
                read_aside(credential_path(credentials_directory(), name)?, Guard::Systemd).await
            }
            SecretSource::Command(words) => command::run(words).await,
        }
    }

    /// Checks that the file at `path`, which systemd will load as a credential, holds a secret. Blocks on the disk.
    pub fn check_loaded(path: &Path) -> Result<(), SecretError> {
        read_file(path, Guard::Systemd).map(drop)
    }

    /// Checks whether [`read`](Self::read) would find a secret, without running a command. A credential is checked only if
    /// systemd gave this process any; `nullmta check` usually runs without, and then asks what the unit loads. Blocks on the
    /// disk.
    pub(super) fn check(&self) -> Result<(), SecretError> {
        match self {
            SecretSource::File(path) => read_file(path, Guard::Ourselves).map(drop),
            SecretSource::Credential(name) => match credential_path(credentials_directory(), name) {
                Ok(path) => read_file(&path, Guard::Systemd).map(drop),
                Err(_) => Ok(()),
            },
            SecretSource::Command(words) => command::check(words),
        }
    }
}

fn credentials_directory() -> Option<OsString> {
    env::var_os("CREDENTIALS_DIRECTORY")
}

fn credential_path(directory: Option<OsString>, name: &str) -> Result<PathBuf, SecretError> {
    let directory = directory.ok_or_else(|| SecretError::NoCredentials(name.into()))?;
    Ok(PathBuf::from(directory).join(name))
}

async fn read_aside(path: PathBuf, guard: Guard) -> Result<Secret, SecretError> {
    let named = path.clone();
    match tokio::task::spawn_blocking(move || read_file(&path, guard)).await {
        Ok(read) => read,
        Err(never_read) => Err(SecretError::File(named, OpenFault::Unreadable(never_read.into()))),
    }
}

fn read_file(path: &Path, guard: Guard) -> Result<Secret, SecretError> {
    let of_file = |fault| SecretError::File(path.into(), fault);
    let (file, _) = open(path, guard).map_err(of_file)?;
    let mut octets = buffer();
    file.take(MAX_OCTETS as u64 + 1)
        .read_to_end(&mut octets)
        .map_err(|error| of_file(OpenFault::Unreadable(error)))?;
    secret_of(octets).map_err(|bad| SecretError::NoSecret(path.display().to_string(), bad))
}

/// Returns an empty buffer for the longest secret and one octet more, which shows that a secret is too long. The buffer
/// never grows, because growing would leave a copy behind in memory.
fn buffer() -> Zeroizing<Vec<u8>> {
    Zeroizing::new(Vec::with_capacity(MAX_OCTETS + 64))
}

fn secret_of(mut octets: Zeroizing<Vec<u8>>) -> Result<Secret, BadSecret> {
    if octets.len() > MAX_OCTETS {
        return Err(BadSecret::TooLong);
    }
    if octets.starts_with(BYTE_ORDER_MARK) {
        octets.drain(..BYTE_ORDER_MARK.len());
    }
    if octets.last() == Some(&b'\n') {
        octets.pop();
        if octets.last() == Some(&b'\r') {
            octets.pop();
        }
    }
    let text = std::str::from_utf8(&octets).map_err(|_| BadSecret::NotUtf8)?;
    if text.is_empty() {
        return Err(BadSecret::Empty);
    }
    if text.chars().any(char::is_control) {
        return Err(BadSecret::NotOneLine);
    }
    String::from_utf8(std::mem::take(&mut octets)).map(Secret::new).map_err(|_| BadSecret::NotUtf8)
}

#[cfg(test)]
mod tests;
