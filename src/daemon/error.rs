//! The reasons why the daemon does not start, or does not go on.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::parts::Part;
use crate::listener::bind::BindError;
use crate::spool::OpenError;
use crate::systemd::BadSocket;

/// Why the daemon did not start, and nothing was accepted; or why it does not go on.
#[derive(Debug)]
pub enum DaemonError {
    /// A socket that systemd passed.
    Inherited(BadSocket),
    /// A socket of the configuration.
    Bind(BindError),
    /// The spool.
    Spool(OpenError),
    /// What the relay's configuration names: certificates, keys.
    Relay(String),
    /// What the listener is to show in TLS handshakes.
    Certificate(String),
    /// The control socket.
    Control(PathBuf, io::Error),
    /// Something that the system normally gives.
    System(&'static str, io::Error),
    /// It had started: a part failed, and only a restart helps. What was accepted is safe.
    Failed(Part),
}

impl fmt::Display for DaemonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DaemonError::Inherited(error) => error.fmt(f),
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
