//! A socket that listens, and why there is none.
//!
//! Promise: a [`Bound`] that exists is listening, does not block, and is a unix socket or on a loopback address; one
//! on another address is refused here again, whatever the parser of the configuration did.
//!
//! Not here: how it is made (`tcp.rs`, `unix.rs`) or taken over (`systemd.rs`).

use std::fmt;
use std::io;
use std::net::{self, SocketAddr};
use std::os::unix;
use std::path::PathBuf;

/// Connections that the kernel keeps for us while we are busy; what goes beyond it waits or is refused there.
pub(super) const BACKLOG: i32 = 1024;

/// A socket that listens.
#[derive(Debug)]
pub enum Bound {
    /// On a loopback address.
    Tcp(net::TcpListener),
    /// On a path, for local users.
    Unix(unix::net::UnixListener),
}

impl Bound {
    /// Takes over a TCP socket that listens already.
    pub fn tcp(listener: net::TcpListener) -> Result<Bound, BindError> {
        let address = listener.local_addr().map_err(io_error("inspect", "the passed TCP socket"))?;
        if !address.ip().to_canonical().is_loopback() {
            return Err(BindError::NotLoopback(address));
        }
        listener.set_nonblocking(true).map_err(io_error("set up", address))?;
        Ok(Bound::Tcp(listener))
    }

    /// Its address, if it has one.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Bound::Tcp(listener) => listener.local_addr().ok(),
            Bound::Unix(_) => None,
        }
    }

    /// Takes over a unix socket that listens already.
    pub fn unix(listener: unix::net::UnixListener) -> Result<Bound, BindError> {
        listener.set_nonblocking(true).map_err(io_error("set up", "the passed unix socket"))?;
        Ok(Bound::Unix(listener))
    }
}

/// The address or the path.
impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bound::Tcp(listener) => match listener.local_addr() {
                Ok(address) => address.fmt(f),
                Err(_) => f.write_str("a TCP socket"),
            },
            Bound::Unix(listener) => match listener.local_addr() {
                Ok(address) => match address.as_pathname() {
                    Some(path) => path.display().fmt(f),
                    None => f.write_str("a unix socket"),
                },
                Err(_) => f.write_str("a unix socket"),
            },
        }
    }
}

/// Why a socket cannot be listened on.
#[derive(Debug)]
pub enum BindError {
    /// Mail from the network is not for us.
    NotLoopback(SocketAddr),
    /// Somebody listens there already.
    InUse(String),
    /// A port below 1024, and no right to it.
    Denied(SocketAddr),
    /// Something that is no socket has the socket's name.
    NotASocket(PathBuf),
    /// The directory of a socket is missing, and cannot be made.
    NoDirectory(PathBuf, io::Error),
    /// No address and no socket is configured, or none that this host has.
    Nothing,
    /// The system refused.
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        address: String,
        /// Why not.
        source: io::Error,
    },
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BindError::NotLoopback(address) => write!(
                f,
                "{address} is not a loopback address: nullmta takes mail from its own host only; \
                 use 127.0.0.1 or [::1] in listen.addresses"
            ),
            BindError::InUse(address) => write!(
                f,
                "{address} is taken: another mail server, or another nullmta, listens there; \
                 stop it, or set another one in [listen]"
            ),
            BindError::Denied(address) => write!(
                f,
                "no permission to listen on {address}: a port below 1024 needs CAP_NET_BIND_SERVICE, \
                 root, or socket activation by systemd; or set a higher port in listen.addresses"
            ),
            BindError::NotASocket(path) => write!(
                f,
                "{} exists and is no socket: remove it, or set another path in listen.socket",
                path.display()
            ),
            BindError::NoDirectory(directory, error) => {
                let directory = directory.display();
                write!(
                    f,
                    "{directory} is missing and cannot be made: {error}; as root: install -d -o {} {directory}, or set \
                     listen.socket and admin.control elsewhere",
                    rustix::process::geteuid().as_raw()
                )
            }
            BindError::Nothing => f.write_str("nothing to listen on: set listen.addresses or listen.socket"),
            BindError::Io { operation, address, source } => {
                write!(f, "cannot {operation} {address}: {source}")
            }
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            BindError::Io { source, .. } | BindError::NoDirectory(_, source) => Some(source),
            _ => None,
        }
    }
}

/// Makes an error of the system into one that says what was tried on what.
pub(super) fn io_error(
    operation: &'static str,
    address: impl fmt::Display,
) -> impl FnOnce(io::Error) -> BindError {
    move |source| BindError::Io { operation, address: address.to_string(), source }
}
