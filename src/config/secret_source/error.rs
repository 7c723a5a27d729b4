//! Errors about secrets: why there is none, and what to do about it.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

use super::command::TIMEOUT;
use crate::config::access::OpenFault;

/// The reason why there is no secret. It never contains anything that was read.
#[derive(Debug)]
pub enum SecretError {
    /// The file at this path cannot be read, or must not be used.
    File(PathBuf, OpenFault),
    /// `$CREDENTIALS_DIRECTORY` is not set; holds the name of the credential.
    NoCredentials(String),
    /// The program does not exist, or cannot be run.
    NotRun(String, io::Error),
    /// The program took too long and was killed.
    TimedOut(String),
    /// The program failed; holds the last line that it wrote to standard error.
    Failed(String, ExitStatus, String),
    /// The file or program named here gave something that is not a secret.
    NoSecret(String, BadSecret),
}

/// The reason why some octets are not a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadSecret {
    /// Nothing, or a line break alone.
    Empty,
    /// More than 16 KiB.
    TooLong,
    /// A second line, or another control character.
    NotOneLine,
    /// Not UTF-8.
    NotUtf8,
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
            SecretError::TimedOut(program) => {
                write!(f, "{program} took longer than {} s and was killed", TIMEOUT.as_secs())
            }
            SecretError::Failed(program, status, said) => write!(f, "{program} failed, {status}: {said}"),
            SecretError::NoSecret(origin, bad) => write!(f, "{origin} holds {bad}: expected one line"),
        }
    }
}

impl std::error::Error for SecretError {}

impl fmt::Display for BadSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadSecret::Empty => "no secret",
            BadSecret::TooLong => "more than 16 KiB",
            BadSecret::NotOneLine => "more than one line or a control character",
            BadSecret::NotUtf8 => "octets that are not UTF-8",
        })
    }
}
