//! Exit codes: sysexits(3), as mail programs use them. One function maps each error.

use std::fmt;
use std::process::ExitCode;

use super::control_client::ClientError;

/// How a command ended other than well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 1: what was asked for was done, and the answer is no.
    Failed,
    /// 64: the command line is wrong.
    Usage,
    /// 65: what was given is not what it should be.
    DataErr,
    /// 67: an addressee is unknown, or no address.
    NoUser,
    /// 69: something needed does not answer, such as the daemon.
    Unavailable,
    /// 70: a part of the program failed.
    Software,
    /// 71: the system refused something it normally gives.
    OsError,
    /// 73: the spool cannot be opened or made.
    CantCreate,
    /// 74: reading or writing failed.
    IoError,
    /// 75: not now; nothing was done.
    TempFail,
    /// 77: this is not for this user.
    NoPermission,
    /// 78: the configuration is wrong.
    Config,
}

impl Exit {
    /// What a command ends with that asked the daemon in vain.
    pub(super) fn of(error: &ClientError) -> Exit {
        match error {
            ClientError::Unreachable { .. } => Exit::Unavailable,
            ClientError::Denied(_) => Exit::NoPermission,
            ClientError::Refused(_) | ClientError::BrokenOff(_) => Exit::TempFail,
            ClientError::Output(_) => Exit::IoError,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Failed => 1,
            Exit::Usage => 64,
            Exit::DataErr => 65,
            Exit::NoUser => 67,
            Exit::Unavailable => 69,
            Exit::Software => 70,
            Exit::OsError => 71,
            Exit::CantCreate => 73,
            Exit::IoError => 74,
            Exit::TempFail => 75,
            Exit::NoPermission => 77,
            Exit::Config => 78,
        })
    }
}

/// Why a command failed: what to print, and what to exit with.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    message: String,
}

impl Failure {
    /// A failure that says `message`.
    pub fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Failure { exit, message: message.to_string() }
    }

    /// What to exit with.
    pub fn exit(&self) -> Exit {
        self.exit
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
