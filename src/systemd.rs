//! What systemd and the daemon tell each other: readiness, the watchdog, the sockets.
//!
//! Promises: a socket that systemd passed is used only if it listens on a loopback address or a unix
//! path: a socket unit that opens port 25 to the network is an error, not a relay. Without systemd
//! every call here does nothing.
//!
//! Fails: a notification that cannot be sent is for the log; a bad socket ends the start (nothing
//! was accepted by then).
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

/// The start is complete, or a reload is.
pub fn ready() -> io::Result<()> {
    sd_notify::notify(false, &[NotifyState::Ready])
}

/// A reload begins; [`ready`] ends it.
pub fn reloading() -> io::Result<()> {
    sd_notify::notify(false, &[NotifyState::Reloading, NotifyState::monotonic_usec_now()?])
}

/// The stop begins.
pub fn stopping() -> io::Result<()> {
    sd_notify::notify(false, &[NotifyState::Stopping])
}

/// One line for `systemctl status`.
pub fn status(text: &str) -> io::Result<()> {
    // A line break would begin another assignment.
    let line = text.replace(char::is_control, " ");
    sd_notify::notify(false, &[NotifyState::Status(&line)])
}

/// The daemon is alive.
pub fn watchdog() -> io::Result<()> {
    sd_notify::notify(false, &[NotifyState::Watchdog])
}

/// How often to call [`watchdog`]: twice in the time that systemd allows; `None` when it does not watch.
pub fn watchdog_interval() -> Option<Duration> {
    let mut microseconds = 0;
    sd_notify::watchdog_enabled(false, &mut microseconds)
        .then(|| Duration::from_micros(microseconds) / 2)
        .filter(|interval| !interval.is_zero())
}

/// The listening sockets that systemd passed; non-blocking, and closed on exec.
#[derive(Debug, Default)]
pub struct Inherited {
    /// On loopback addresses only.
    pub tcp: Vec<TcpListener>,
    /// Unix stream sockets.
    pub unix: Vec<UnixListener>,
}

impl Inherited {
    /// Whether systemd passed none: then we bind those of the configuration.
    pub fn is_empty(&self) -> bool {
        self.tcp.is_empty() && self.unix.is_empty()
    }

    /// The same sockets once more: one that is dropped here stays open there.
    pub fn try_clone(&self) -> io::Result<Inherited> {
        Ok(Inherited {
            tcp: self.tcp.iter().map(TcpListener::try_clone).collect::<Result<_, _>>()?,
            unix: self.unix.iter().map(UnixListener::try_clone).collect::<Result<_, _>>()?,
        })
    }

    /// Where they listen.
    pub fn places(&self) -> Places {
        let path = |listener: &UnixListener| listener.local_addr().ok()?.as_pathname().map(PathBuf::from);
        Places {
            tcp: self.tcp.iter().filter_map(|listener| listener.local_addr().ok()).collect(),
            unix: self.unix.iter().filter_map(path).collect(),
        }
    }
}

/// Where the sockets listen that systemd passed.
pub struct Places {
    tcp: BTreeSet<SocketAddr>,
    unix: Vec<PathBuf>,
}

impl Places {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.tcp.is_empty() && self.unix.is_empty()
    }

    /// Which keys of `[listen]` have no effect, since other sockets were passed than they say.
    pub fn overruled(&self, addresses: &[SocketAddr], socket: Option<&Path>) -> Vec<&'static str> {
        if self.is_empty() {
            return Vec::new();
        }
        let are_others = self.tcp != addresses.iter().copied().collect();
        let is_another = self.unix.iter().map(PathBuf::as_path).ne(socket);
        let keys = [(are_others, "listen.addresses"), (is_another, "listen.socket")];
        keys.into_iter().filter_map(|(is_overruled, key)| is_overruled.then_some(key)).collect()
    }
}

/// Why a socket that systemd passed cannot be used.
#[derive(Debug)]
pub enum BadSocket {
    /// It listens on an address that the network reaches.
    NotLoopback(SocketAddr),
    /// It is neither a TCP nor a unix stream socket; its place among those passed, from 1.
    OtherKind(usize),
    /// It is connected or idle, not listening (`Accept=yes`?); its place among those passed, from 1.
    NotListening(usize),
    /// The system refused to say or set something about it; its place among those passed, from 1.
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

/// Takes over the sockets that systemd passed to this process, once. Call it before any thread is
/// started: it takes `LISTEN_FDS` out of the environment, so that no child believes them to be its own.
pub fn inherited() -> Result<Inherited, BadSocket> {
    let mut inherited = Inherited::default();
    // listenfd would take them without this as well; then they may be somebody else's.
    if env::var("LISTEN_PID").ok().and_then(|pid| pid.parse().ok()) != Some(process::id()) {
        return Ok(inherited);
    }
    let mut passed = ListenFd::from_env();
    for index in 0..passed.len() {
        let place = index + 1;
        if let Ok(Some(listener)) = passed.take_tcp_listener(index) {
            inherited.tcp.push(checked_tcp(listener, place)?);
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
