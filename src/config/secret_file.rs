//! A file that holds a secret: a file of the configuration, or a systemd credential.
//!
//! Promises: it is read anew each time, so that a rotated secret is used without a restart; a file that others can read is
//! refused (`access.rs`); the octets that were read are wiped from memory, and no error repeats any of them.
//!
//! Fails: [`SecretError`]. No relay can be used then; the mail stays queued.
//!
//! Not here: the text that is a secret (`secret.rs`).

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::access::{Guard, OpenFault, open};
use crate::secret::{self, BadSecret, Secret};

/// A file that holds a secret.
#[derive(Debug)]
pub struct SecretFile {
    pub(super) path: PathBuf,
    guard: Guard,
    kind: SecretKind,
}

/// The kind of the secret in a file, on which depends what else an operator can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretKind {
    /// `password-file`, or a credential.
    Password,
    /// `token-file`.
    AccessToken,
    /// `client-secret-file`.
    ClientSecret,
    /// `refresh-token-file`.
    RefreshToken,
    /// `header-file`.
    HeaderField,
}

/// The reason why there is no secret. It never contains anything that was read.
#[derive(Debug)]
pub enum SecretError {
    /// The file at this path, which is to hold such a secret, cannot be read, or must not be used.
    File(PathBuf, OpenFault, SecretKind),
    /// `$CREDENTIALS_DIRECTORY` is not set; holds the name of the credential.
    NoCredentials(String),
    /// The program does not exist, or cannot be run.
    NotRun(String, io::Error),
    /// The file or program named here gave something that is not a secret.
    NoSecret(String, BadSecret),
    /// A file holds no key or certificate that can be used; holds a sentence about it.
    Unusable(String),
}

impl SecretFile {
    /// Returns the file at `path`, which holds a secret of this kind.
    pub fn at(path: &Path, kind: SecretKind) -> Self {
        SecretFile { path: path.into(), guard: Guard::Ourselves, kind }
    }

    /// Returns the file at `path`, which systemd keeps from others.
    pub(super) fn of_systemd(path: &Path) -> Self {
        SecretFile { path: path.into(), guard: Guard::Systemd, kind: SecretKind::Password }
    }

    /// Returns the file of the systemd credential `name`; an error if systemd gave this process no credentials.
    pub fn of_credential(name: &str) -> Result<Self, SecretError> {
        SecretFile::in_directory(env::var_os("CREDENTIALS_DIRECTORY"), name)
    }

    pub(super) fn in_directory(directory: Option<OsString>, name: &str) -> Result<Self, SecretError> {
        let directory = directory.ok_or_else(|| SecretError::NoCredentials(name.into()))?;
        Ok(SecretFile::of_systemd(&PathBuf::from(directory).join(name)))
    }

    /// Opens the file, if it may be used. Blocks on the disk.
    pub fn open(&self) -> Result<File, SecretError> {
        open(&self.path, self.guard).map(|(file, _)| file).map_err(|fault| self.unusable(fault))
    }

    /// Reads the secret. Blocks on the disk.
    pub fn read(&self) -> Result<Secret, SecretError> {
        let mut octets = secret::buffer();
        self.open()?
            .take(secret::MOST_READ as u64)
            .read_to_end(&mut octets)
            .map_err(|error| self.unusable(OpenFault::Unreadable(error)))?;
        Secret::of_octets(octets).map_err(|bad| SecretError::NoSecret(self.path.display().to_string(), bad))
    }

    fn unusable(&self, fault: OpenFault) -> SecretError {
        SecretError::File(self.path.clone(), fault, self.kind)
    }
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretError::File(path, fault, kind) => {
                write!(f, "{}{}", fault.words(path), remedy(fault, *kind))
            }
            SecretError::NoCredentials(name) => {
                write!(f, "no credential {name}: systemd gave us none (LoadCredential={name}:PATH does)")
            }
            SecretError::NotRun(program, error) => write!(f, "cannot run {program}: {error}"),
            SecretError::Unusable(words) => f.write_str(words),
            SecretError::NoSecret(origin, bad) => write!(f, "{origin} holds {bad}: expected one line"),
        }
    }
}

impl std::error::Error for SecretError {}

impl SecretError {
    /// True if an operator must act. A file that is missing, must not be used or holds no secret stays as it is; an error
    /// of the system, such as too many open files, passes.
    pub fn is_for_operator(&self) -> bool {
        match self {
            SecretError::File(_, OpenFault::Unreadable(error), _) | SecretError::NotRun(_, error) => {
                stays_until_mended(error)
            }
            SecretError::File(..)
            | SecretError::NoCredentials(_)
            | SecretError::NoSecret(..)
            | SecretError::Unusable(_) => true,
        }
    }
}

impl SecretKind {
    /// Returns what to do about a file that is not there.
    fn missing(self) -> &'static str {
        match self {
            SecretKind::Password | SecretKind::ClientSecret => {
                "; put the secret there, on one line, in a file of mode 600 that belongs to nullmta's user"
            }
            SecretKind::AccessToken => {
                "; put the token there, on one line, in a file of mode 600 that belongs to nullmta's user"
            }
            SecretKind::HeaderField => {
                "; put the field there, on one line such as \"Authorization: Bearer TOKEN\", in a file of mode 600 that belongs \
                 to nullmta's user"
            }
            SecretKind::RefreshToken => {
                "; put a refresh token there, on one line, in a file of mode 600 that belongs to nullmta's user, or log in on \
                 a terminal: auth.oauth.grant = \"device-code\", then nullmta oauth login"
            }
        }
    }

    /// Returns what to do in place of a file that others can read.
    fn instead(self) -> &'static str {
        match self {
            SecretKind::Password => {
                ", or, where its mode is not yours to change, hand a password over as a systemd credential (credential) or by \
                 a program (password-command)"
            }
            SecretKind::AccessToken => {
                ", or, where its mode is not yours to change, have a program print the token (token-command)"
            }
            SecretKind::ClientSecret | SecretKind::HeaderField => {
                ", or, where its mode is not yours to change, name a copy of it with that mode, which belongs to nullmta's user"
            }
            // It is written anew by nullmta, whose files have that mode.
            SecretKind::RefreshToken => "",
        }
    }
}

/// True if the system gives the same error until somebody changes a file, a right or a name.
pub fn stays_until_mended(error: &io::Error) -> bool {
    use io::ErrorKind::{
        InvalidFilename, IsADirectory, NotADirectory, NotFound, PermissionDenied, ReadOnlyFilesystem,
    };
    matches!(
        error.kind(),
        NotFound | PermissionDenied | NotADirectory | IsADirectory | InvalidFilename | ReadOnlyFilesystem
    )
}

/// Returns what to do about `fault`, where its words do not say it.
fn remedy(fault: &OpenFault, kind: SecretKind) -> &'static str {
    match fault {
        OpenFault::Unreadable(error) if error.kind() == io::ErrorKind::NotFound => kind.missing(),
        OpenFault::Unreadable(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            "; give the file to that user (chown), with mode 600, and let it through the directories"
        }
        OpenFault::WrongOwner { .. } => "; give it to one of them (chown)",
        OpenFault::NotAFile => "; name a file",
        OpenFault::OpenToOthers { .. } => kind.instead(),
        OpenFault::Unreadable(_) => "",
    }
}
