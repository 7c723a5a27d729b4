//! A listening socket, and the reasons why one cannot be opened.
//!
//! Promises: a [`Bound`] is listening, does not block, and is either a unix socket or bound to a loopback address.
//! Another address is refused here again, even if the parser of the configuration has accepted it.
//!
//! Not here: how a socket is opened (`tcp.rs`, `unix.rs`) or received from systemd (`systemd.rs`).

use std::fmt;
use std::io;
use std::net::{self, SocketAddr};
use std::os::unix;
use std::path::PathBuf;

/// The number of connections that the kernel holds while we are busy. It makes further connections wait, or refuses
/// them.
pub(super) const BACKLOG: i32 = 1024;

/// A listening socket.
#[derive(Debug)]
pub enum Bound {
    /// A TCP socket on a loopback address.
    Tcp(net::TcpListener),
    /// A TCP socket on a loopback address, whose clients begin with TLS.
    Tls(net::TcpListener),
    /// A unix socket, for local users.
    Unix(unix::net::UnixListener),
}

impl Bound {
    /// Wraps a TCP socket that is already listening. An address that is not loopback is an error.
    pub fn tcp(listener: net::TcpListener) -> Result<Bound, BindError> {
        let address = listener.local_addr().map_err(io_error("inspect", "the passed TCP socket"))?;
        if !address.ip().to_canonical().is_loopback() {
            return Err(BindError::NotLoopback(address));
        }
        listener.set_nonblocking(true).map_err(io_error("set up", address))?;
        Ok(Bound::Tcp(listener))
    }

    /// Returns the same socket for clients that begin with TLS, if it is one of TCP.
    pub fn within_tls(self) -> Bound {
        match self {
            Bound::Tcp(listener) => Bound::Tls(listener),
            other => other,
        }
    }

    /// Returns the TCP address; `None` for a unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Bound::Tcp(listener) | Bound::Tls(listener) => listener.local_addr().ok(),
            Bound::Unix(_) => None,
        }
    }

    /// Wraps a unix socket that is already listening.
    pub fn unix(listener: unix::net::UnixListener) -> Result<Bound, BindError> {
        listener.set_nonblocking(true).map_err(io_error("set up", "the passed unix socket"))?;
        Ok(Bound::Unix(listener))
    }
}

/// Displays the address or the path.
impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bound::Tcp(listener) | Bound::Tls(listener) => match listener.local_addr() {
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

/// The reason why a socket cannot listen.
#[derive(Debug)]
pub enum BindError {
    /// The address is not a loopback address, and we do not take mail from the network.
    NotLoopback(SocketAddr),
    /// Another program is listening there.
    InUse(String),
    /// The port is below 1024, and we are not allowed to use it.
    Denied(SocketAddr),
    /// The path is that of a file which is not a socket.
    NotASocket(PathBuf),
    /// The directory of the socket does not exist and cannot be created.
    NoDirectory(PathBuf, io::Error),
    /// No address and no socket is configured, or this host has none of them.
    Nothing,
    /// A system call failed.
    Io {
        /// The operation, as a verb.
        operation: &'static str,
        /// The address or path.
        address: String,
        /// The error of the system.
        source: io::Error,
    },
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BindError::NotLoopback(address) => write!(
                f,
                "{address} is not a loopback address: nullmta takes mail from its own host only; \
                 use 127.0.0.1 or [::1] in listen.addresses and listen.tls-addresses"
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

/// Returns a function that converts an error of the system to one that names the operation and the address.
pub(super) fn io_error(
    operation: &'static str,
    address: impl fmt::Display,
) -> impl FnOnce(io::Error) -> BindError {
    move |source| BindError::Io { operation, address: address.to_string(), source }
}
