//! Exit codes: those of sysexits(3), as in other mail programs. One function maps each error to its code.

use std::fmt;
use std::process::ExitCode;

use super::control_client::ClientError;

/// The exit code of a command that did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 1: the command did its work, and the answer is no.
    Failed,
    /// 2: `status --check` alone: something is so wrong that somebody must act now.
    Critical,
    /// 3: `status --check` alone: the state could not be found out.
    Unknown,
    /// 64: the command line is wrong.
    Usage,
    /// 65: the input data is not valid.
    DataErr,
    /// 67: a recipient is unknown, or not an address.
    NoUser,
    /// 69: something that is needed does not answer, such as the daemon.
    Unavailable,
    /// 70: a part of the program failed.
    Software,
    /// 71: the system refused something that it normally allows.
    OsError,
    /// 73: the spool cannot be opened or created.
    CantCreate,
    /// 74: reading or writing failed.
    IoError,
    /// 75: it is not possible now, and nothing was done; try again later.
    TempFail,
    /// 77: this user may not do this.
    NoPermission,
    /// 78: the configuration is wrong.
    Config,
}

impl Exit {
    /// Returns the exit code of a command whose request to the daemon failed.
    pub(super) fn of(error: &ClientError) -> Exit {
        match error {
            ClientError::Unreachable { .. } | ClientError::Silent { .. } => Exit::Unavailable,
            ClientError::Denied(_) => Exit::NoPermission,
            ClientError::Unknown(_) => Exit::Usage,
            ClientError::Refused(_) | ClientError::BrokenOff(_) => Exit::TempFail,
            ClientError::Output(_) => Exit::IoError,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Failed => 1,
            Exit::Critical => 2,
            Exit::Unknown => 3,
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

/// The failure of a command: its message and its exit code.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    message: String,
}

impl Failure {
    /// Returns a failure with this exit code and `message`.
    pub fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Failure { exit, message: message.to_string() }
    }

    /// Returns an end with this exit code of a command whose output has said everything.
    pub fn said(exit: Exit) -> Self {
        Failure { exit, message: String::new() }
    }

    /// Returns whether its output has said everything, so that there is no message.
    pub fn is_said(&self) -> bool {
        self.message.is_empty()
    }

    /// Returns the exit code.
    pub fn exit(&self) -> Exit {
        self.exit
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
