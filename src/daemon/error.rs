//! The reasons why the daemon does not start, or does not go on.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::parts::DaemonPart;
use crate::listener::bind::BindError;
use crate::spool::OpenError;

/// The reason why the daemon did not start, and nothing was accepted; or why it does not go on.
#[derive(Debug)]
pub enum DaemonError {
    /// A socket of the configuration cannot be bound.
    Bind(BindError),
    /// The spool cannot be opened.
    Spool(OpenError),
    /// A file that the configuration of the relay names cannot be used: a certificate or a key.
    Relay(String),
    /// The certificate of the listener cannot be used.
    Certificate(String),
    /// The control socket cannot be opened.
    Control(PathBuf, io::Error),
    /// The system refused something that it normally gives.
    System(&'static str, io::Error),
    /// A part failed after the start, and only a restart helps. What was accepted is safe.
    Failed(DaemonPart),
}

impl fmt::Display for DaemonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DaemonError::Bind(error) => error.fmt(f),
            DaemonError::Spool(error) => error.fmt(f),
            DaemonError::Relay(error) | DaemonError::Certificate(error) => f.write_str(error),
            DaemonError::Control(path, error) => {
                write!(
                    f,
                    "cannot listen on the control socket {}: {error}; see admin.control",
                    path.display()
                )
            }
            DaemonError::System(what, error) => write!(f, "cannot {what}: {error}"),
            DaemonError::Failed(part) => write!(f, "{part} has failed; a restart is needed, no mail is lost"),
        }
    }
}

impl std::error::Error for DaemonError {}
