//! Where a secret comes from, and reading it.
//!
//! Promises: read anew each time, so that a rotated secret is used without a restart; a file that
//! others can read is refused (`access.rs`), by the mode of the file that was opened and not of its name; a
//! command is run without a shell, for 30 seconds at most; what is read is wiped from memory, and no
//! error repeats any of it.
//!
//! Fails: [`SecretError`]. It is relay-wide trouble: the mail stays queued.

mod access;
mod command;
mod error;

use std::env;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use zeroize::Zeroizing;

pub use error::{BadSecret, SecretError};

use crate::secret::Secret;
use access::{Access, Facts, Reader, access};

/// The longest secret: room for an OAuth token.
const MAX_OCTETS: usize = 16 * 1024;

/// U+FEFF, which editors of other systems put in front of a text: it is no part of a password.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Where a secret comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// `password-file`: an absolute path. Its owner is root or us, and alone can read it, or a group of ours too.
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

    /// Whether [`read`](Self::read) would find a secret, as far as can be seen without running a
    /// command. A credential is looked for only where systemd has given us some: `nullmta check`
    /// runs without. Blocks on the disk.
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

/// Who keeps others from reading a file.
#[derive(Clone, Copy)]
enum Guard {
    /// Its mode and owner, which are checked.
    Ourselves,
    /// systemd, by its directory; an ACL makes such a file look readable by its group.
    Systemd,
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
        Err(never_read) => Err(SecretError::Unreadable(named, never_read.into())),
    }
}

fn read_file(path: &Path, guard: Guard) -> Result<Secret, SecretError> {
    let (file, _) = open(path, guard)?;
    let mut octets = buffer();
    file.take(MAX_OCTETS as u64 + 1)
        .read_to_end(&mut octets)
        .map_err(|error| SecretError::Unreadable(path.into(), error))?;
    secret_of(octets).map_err(|bad| SecretError::NoSecret(path.display().to_string(), bad))
}

/// Opens a file that few may open: a password's, a private key's.
pub(super) fn open_private(path: &Path) -> Result<File, SecretError> {
    open(path, Guard::Ourselves).map(|(file, _)| file)
}

/// Whether everybody on this host may read the secret file at `path`, and it is used all the same.
pub(super) fn is_exposed(path: &Path) -> bool {
    open(path, Guard::Ourselves).is_ok_and(|(_, access)| access == Access::Everybody)
}

fn open(path: &Path, guard: Guard) -> Result<(File, Access), SecretError> {
    let unreadable = |error| SecretError::Unreadable(path.into(), error);
    // A pipe would keep a blocking open, and us, for ever.
    let flags = OFlags::NONBLOCK.bits() as i32;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(SecretError::NotAFile(path.into()));
    }
    let facts = Facts::of(&file, &metadata);
    let access = match guard {
        Guard::Ourselves => access(facts, &Reader::ourselves()),
        Guard::Systemd if facts.mode & 0o007 != 0 => Access::TooMany,
        Guard::Systemd => Access::Few,
    };
    match access {
        Access::Few | Access::Everybody => Ok((file, access)),
        Access::TooMany => Err(SecretError::OpenToOthers(path.into(), facts.mode)),
        Access::Foreign => Err(SecretError::WrongOwner(path.into(), facts.owner)),
    }
}

/// Room for the longest secret and for the octet that shows it is too long: it never grows, which
/// would leave a copy behind.
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
