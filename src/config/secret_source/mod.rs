//! Where a secret comes from, and reading it.
//!
//! Promises: read anew each time, so that a rotated secret is used without a restart; a file that
//! others can read is refused, by the mode of the file that was opened and not of its name; a
//! command is run without a shell, for 30 seconds at most; what is read is wiped from memory, and no
//! error repeats any of it.
//!
//! Fails: [`SecretError`]. It is relay-wide trouble: the mail stays queued.

mod command;
mod error;

use std::env;
use std::ffi::OsString;
use std::fs::{File, Metadata, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::process::geteuid;
use zeroize::Zeroizing;

pub use error::{BadSecret, SecretError};

use crate::secret::Secret;

/// The longest secret: room for an OAuth token.
const MAX_OCTETS: usize = 16 * 1024;

/// Where a secret comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// `password-file`: an absolute path. Its owner is root or us, and alone can read it.
    File(PathBuf),
    /// `credential`: the name of a file in `$CREDENTIALS_DIRECTORY`, which systemd made for us.
    Credential(String),
    /// `password-command`: a program by its absolute path, and its arguments. It prints the secret.
    Command(Vec<String>),
}

impl SecretSource {
    /// Reads the secret. One line break at its end is dropped.
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
    let file = open(path, guard)?;
    let mut octets = buffer();
    file.take(MAX_OCTETS as u64 + 1)
        .read_to_end(&mut octets)
        .map_err(|error| SecretError::Unreadable(path.into(), error))?;
    secret_of(octets).map_err(|bad| SecretError::NoSecret(path.display().to_string(), bad))
}

/// Opens a file that nobody but its owner, root or us, may open: a password's, a private key's.
pub(super) fn open_private(path: &Path) -> Result<File, SecretError> {
    open(path, Guard::Ourselves)
}

fn open(path: &Path, guard: Guard) -> Result<File, SecretError> {
    let unreadable = |error| SecretError::Unreadable(path.into(), error);
    // A pipe would keep a blocking open, and us, for ever.
    let flags = OFlags::NONBLOCK.bits() as i32;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(unreadable)?;
    check_metadata(path, &file.metadata().map_err(unreadable)?, guard)?;
    Ok(file)
}

fn check_metadata(path: &Path, metadata: &Metadata, guard: Guard) -> Result<(), SecretError> {
    let mode = metadata.permissions().mode() & 0o7777;
    let (open_to, owner_matters) = match guard {
        Guard::Ourselves => (0o077, true),
        Guard::Systemd => (0o007, false),
    };
    if !metadata.is_file() {
        return Err(SecretError::NotAFile(path.into()));
    }
    if mode & open_to != 0 {
        return Err(SecretError::OpenToOthers(path.into(), mode));
    }
    if owner_matters && !is_trusted_owner(metadata.uid(), geteuid().as_raw()) {
        return Err(SecretError::WrongOwner(path.into(), metadata.uid()));
    }
    Ok(())
}

/// Root may look at a file that it has given to the daemon's user, as `nullmta check` does.
fn is_trusted_owner(owner: u32, ourselves: u32) -> bool {
    owner == 0 || owner == ourselves || ourselves == 0
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
