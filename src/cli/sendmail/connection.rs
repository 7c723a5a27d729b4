//! A connection to the daemon, over a unix socket or TCP, with a time limit for every wait.
//!
//! Not here: the dialogue on it (`client.rs`).

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::ways::Way;
use crate::cli::unix_connection::connect_within;

/// Upper bounds on the time for which we wait for each answer. A daemon that does not answer in time counts as down, unless
/// it has seen the end of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct AnswerLimits {
    /// The limit for the connection and for the greeting, which a running daemon sends at once. If systemd holds the
    /// sockets and the daemon does not start, the connection is accepted and no greeting comes.
    pub(super) greeting: Duration,
    /// The limit for the reply to a command, and for each write.
    pub(super) reply: Duration,
    /// The limit for the reply to the end of data (RFC 5321 4.5.3.2.6). After it the message is in doubt.
    pub(super) end_of_data: Duration,
    /// The pause before each further try with a daemon that accepts no further session now.
    pub(super) busy: &'static [Duration],
    /// Time, in total, for which a daemon that sends no greeting is tried again.
    pub(super) silent: Duration,
}

impl AnswerLimits {
    /// The limits for a daemon on this host.
    pub(super) const USUAL: AnswerLimits = AnswerLimits {
        greeting: Duration::from_secs(2),
        reply: Duration::from_secs(60),
        end_of_data: Duration::from_secs(600),
        busy: &[
            Duration::from_millis(250),
            Duration::from_millis(500),
            Duration::from_secs(1),
            Duration::from_secs(2),
            Duration::from_secs(4),
            Duration::from_secs(8),
        ],
        silent: Duration::from_secs(8),
    };
}

/// An open connection to the daemon.
#[derive(Debug)]
pub(super) enum DaemonConnection {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl DaemonConnection {
    /// Connects by `way`. The limit for the greeting applies to each wait until [`wait_at_most`](Self::wait_at_most) is
    /// called.
    pub(super) fn open(way: &Way, limits: &AnswerLimits) -> io::Result<Self> {
        let connection = match way {
            Way::Socket(path) => DaemonConnection::Unix(connect_within(limits.greeting, path)?),
            Way::Tcp(address) => DaemonConnection::Tcp(TcpStream::connect_timeout(address, limits.greeting)?),
        };
        connection.wait_at_most(Some(limits.greeting))?;
        Ok(connection)
    }

    /// Limits each wait from now on; `None` means no limit.
    pub(super) fn wait_at_most(&self, limit: Option<Duration>) -> io::Result<()> {
        match self {
            DaemonConnection::Unix(stream) => {
                stream.set_read_timeout(limit).and_then(|()| stream.set_write_timeout(limit))
            }
            DaemonConnection::Tcp(stream) => {
                stream.set_read_timeout(limit).and_then(|()| stream.set_write_timeout(limit))
            }
        }
    }

    /// Returns a second handle for the same connection.
    pub(super) fn try_clone(&self) -> io::Result<Self> {
        match self {
            DaemonConnection::Unix(stream) => stream.try_clone().map(DaemonConnection::Unix),
            DaemonConnection::Tcp(stream) => stream.try_clone().map(DaemonConnection::Tcp),
        }
    }

    /// Shuts down our side: the daemon then reads an end of file.
    pub(super) fn end_output(&self) -> io::Result<()> {
        match self {
            DaemonConnection::Unix(stream) => stream.shutdown(Shutdown::Write),
            DaemonConnection::Tcp(stream) => stream.shutdown(Shutdown::Write),
        }
    }
}

impl Read for DaemonConnection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            DaemonConnection::Unix(stream) => stream.read(buffer),
            DaemonConnection::Tcp(stream) => stream.read(buffer),
        }
    }
}

impl Write for DaemonConnection {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match self {
            DaemonConnection::Unix(stream) => stream.write(octets),
            DaemonConnection::Tcp(stream) => stream.write(octets),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
