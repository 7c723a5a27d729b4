//! The interface to systemd: readiness, the watchdog, and passed sockets.
//!
//! Promises: a socket that systemd passed is used only if it listens on a loopback address or a unix path. A socket unit
//! that opens port 25 to the network is an error, and does not make an open relay. Without systemd, every call here does
//! nothing.
//!
//! Fails: a notification that cannot be sent is logged by the caller; a bad socket ends the start, before any mail was
//! accepted.
//!
//! Not here: when to call (`daemon.rs`), sockets that we bind ourselves (`listener/`).
//! sd_notify(3), sd_listen_fds(3), sd_watchdog_enabled(3).

use std::collections::BTreeSet;
use std::env;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;
use sd_notify::NotifyState;

/// Tells systemd that the start, or a reload, is complete.
pub fn ready() -> io::Result<()> {
    sd_notify::notify(false, &[NotifyState::Ready])
}

/// Tells systemd that a reload begins; [`ready`] ends it.
pub fn reloading() -> io::Result<()> {
    sd_notify::notify(false, &[NotifyState::Reloading, NotifyState::monotonic_usec_now()?])
}

/// Tells systemd that the daemon is stopping.
pub fn stopping() -> io::Result<()> {
    sd_notify::notify(false, &[NotifyState::Stopping])
}

/// Sends the line that `systemctl status` shows.
pub fn status(text: &str) -> io::Result<()> {
    // A line break would begin another assignment.
    let line = text.replace(char::is_control, " ");
    sd_notify::notify(false, &[NotifyState::Status(&line)])
}

/// Tells the watchdog of systemd that the daemon is alive.
pub fn watchdog() -> io::Result<()> {
    sd_notify::notify(false, &[NotifyState::Watchdog])
}

/// Returns the interval for calls of [`watchdog`], half of the time that systemd allows; `None` if its watchdog is off.
pub fn watchdog_interval() -> Option<Duration> {
    let mut microseconds = 0;
    sd_notify::watchdog_enabled(false, &mut microseconds)
        .then(|| Duration::from_micros(microseconds) / 2)
        .filter(|interval| !interval.is_zero())
}

/// The name (`FileDescriptorName=`) of the sockets whose clients begin with TLS.
pub const TLS_NAME: &str = "smtps";

/// The listening sockets that systemd passed. They are non-blocking, and closed on exec.
#[derive(Debug, Default)]
pub struct Inherited {
    /// TCP sockets, on loopback addresses only.
    pub tcp: Vec<TcpListener>,
    /// The same, of a socket unit with [`TLS_NAME`]: their clients begin with TLS.
    pub tls: Vec<TcpListener>,
    /// Unix stream sockets.
    pub unix: Vec<UnixListener>,
}

impl Inherited {
    /// Returns whether systemd passed no socket; then those of the configuration are bound.
    pub fn is_empty(&self) -> bool {
        self.tcp.is_empty() && self.tls.is_empty() && self.unix.is_empty()
    }

    /// Returns a second handle of each socket: the socket stays open when one of the two is dropped.
    pub fn try_clone(&self) -> io::Result<Inherited> {
        Ok(Inherited {
            tcp: self.tcp.iter().map(TcpListener::try_clone).collect::<Result<_, _>>()?,
            tls: self.tls.iter().map(TcpListener::try_clone).collect::<Result<_, _>>()?,
            unix: self.unix.iter().map(UnixListener::try_clone).collect::<Result<_, _>>()?,
        })
    }

    /// Returns the addresses and paths that the sockets listen on.
    pub fn places(&self) -> SocketAddresses {
        let path = |listener: &UnixListener| listener.local_addr().ok()?.as_pathname().map(PathBuf::from);
        SocketAddresses {
            tcp: self.tcp.iter().filter_map(|listener| listener.local_addr().ok()).collect(),
            tls: self.tls.iter().filter_map(|listener| listener.local_addr().ok()).collect(),
            unix: self.unix.iter().filter_map(path).collect(),
        }
    }
}

/// The addresses and paths that the passed sockets listen on.
pub struct SocketAddresses {
    tcp: BTreeSet<SocketAddr>,
    tls: BTreeSet<SocketAddr>,
    unix: Vec<PathBuf>,
}

impl SocketAddresses {
    /// Returns whether systemd passed no socket.
    pub fn is_empty(&self) -> bool {
        self.tcp.is_empty() && self.tls.is_empty() && self.unix.is_empty()
    }

    /// Returns the keys of `[listen]` that have no effect, since systemd passed other sockets than they name.
    pub fn overruled(
        &self,
        addresses: &[SocketAddr],
        tls_addresses: &[SocketAddr],
        socket: Option<&Path>,
    ) -> Vec<&'static str> {
        if self.is_empty() {
            return Vec::new();
        }
        let are_others = self.tcp != addresses.iter().copied().collect();
        let are_others_of_tls = self.tls != tls_addresses.iter().copied().collect();
        let is_another = self.unix.iter().map(PathBuf::as_path).ne(socket);
        let keys = [
            (are_others, "listen.addresses"),
            (are_others_of_tls, "listen.tls-addresses"),
            (is_another, "listen.socket"),
        ];
        keys.into_iter().filter_map(|(is_overruled, key)| is_overruled.then_some(key)).collect()
    }
}

/// The reason why a socket that systemd passed cannot be used.
#[derive(Debug)]
pub enum BadSocket {
    /// It listens on an address that can be reached from the network.
    NotLoopback(SocketAddr),
    /// It is neither a TCP nor a unix stream socket. Holds its position among those passed, counted from 1.
    OtherKind(usize),
    /// It does not listen, but is connected or unused, perhaps because of `Accept=yes`. Holds its position, counted from
    /// 1.
    NotListening(usize),
    /// The system refused a call about it. Holds its position, counted from 1.
    Trouble(usize, io::Error),
}

impl fmt::Display for BadSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadSocket::NotLoopback(address) => {
                write!(
                    f,
                    "systemd passed a socket on {address}: only loopback addresses may stand in nullmta.socket"
                )
            }
            BadSocket::OtherKind(place) => {
                write!(
                    f,
                    "socket {place} that systemd passed is neither TCP nor a unix stream: use ListenStream="
                )
            }
            BadSocket::NotListening(place) => {
                write!(f, "socket {place} that systemd passed does not listen: use Accept=no")
            }
            BadSocket::Trouble(place, error) => write!(f, "socket {place} that systemd passed: {error}"),
        }
    }
}

impl std::error::Error for BadSocket {}

/// Takes over the sockets that systemd passed to this process. Call it once, before any thread is started: it removes
/// `LISTEN_FDS` from the environment, so that no child process takes the sockets for its own.
pub fn inherited() -> Result<Inherited, BadSocket> {
    let mut inherited = Inherited::default();
    // listenfd would take them without this as well; then they may be somebody else's.
    if env::var("LISTEN_PID").ok().and_then(|pid| pid.parse().ok()) != Some(process::id()) {
        return Ok(inherited);
    }
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let is_tls: Vec<bool> = names.split(':').map(|name| name == TLS_NAME).collect();
    let mut passed = ListenFd::from_env();
    for index in 0..passed.len() {
        let place = index + 1;
        if let Ok(Some(listener)) = passed.take_tcp_listener(index) {
            let kind = if is_tls.get(index) == Some(&true) { &mut inherited.tls } else { &mut inherited.tcp };
            kind.push(checked_tcp(listener, place)?);
        } else if let Ok(Some(listener)) = passed.take_unix_listener(index) {
            inherited.unix.push(checked_unix(listener, place)?);
        } else {
            return Err(BadSocket::OtherKind(place));
        }
    }
    Ok(inherited)
}

fn checked_tcp(listener: TcpListener, place: usize) -> Result<TcpListener, BadSocket> {
    let trouble = |error| BadSocket::Trouble(place, error);
    let address = listener.local_addr().map_err(trouble)?;
    if !address.ip().is_loopback() {
        return Err(BadSocket::NotLoopback(address));
    }
    check_listening(&listener, place)?;
    listener.set_nonblocking(true).map_err(trouble)?;
    Ok(listener)
}

fn checked_unix(listener: UnixListener, place: usize) -> Result<UnixListener, BadSocket> {
    check_listening(&listener, place)?;
    listener.set_nonblocking(true).map_err(|error| BadSocket::Trouble(place, error))?;
    Ok(listener)
}

fn check_listening(socket: impl AsFd, place: usize) -> Result<(), BadSocket> {
    match socket_acceptconn(socket) {
        Ok(true) => Ok(()),
        Ok(false) => Err(BadSocket::NotListening(place)),
        Err(error) => Err(BadSocket::Trouble(place, error.into())),
    }
}

#[cfg(test)]
mod tests;
