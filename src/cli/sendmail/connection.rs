//! A connection to the daemon, of either kind, with a limit on every wait.
//!
//! Not here: what is said over it (`client.rs`).

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::ways::Way;
use crate::cli::unix_connection::connect_within;

/// How long each answer is waited for. A daemon that does not answer is as good as down, as long as it has
/// not seen the end of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For the connection, and for the greeting: a daemon that is up gives it at once. Where systemd holds the sockets
    /// and the daemon does not start, they accept and nobody answers.
    pub(super) greeting: Duration,
    /// For the reply to a command, and for room to write.
    pub(super) reply: Duration,
    /// For the reply to the end of data (RFC 5321 4.5.3.2.6): giving up means not to know.
    pub(super) end_of_data: Duration,
    /// Before each further try, of a daemon that has no place for the session.
    pub(super) busy: &'static [Duration],
    /// For how long in all a daemon that gives no greeting is tried again.
    pub(super) silent: Duration,
}

impl Patience {
    /// For a daemon on this host.
    pub(super) const USUAL: Patience = Patience {
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

/// An open connection.
#[derive(Debug)]
pub(super) enum Connection {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Connection {
    pub(super) fn open(way: &Way, patience: &Patience) -> io::Result<Self> {
        let connection = match way {
            Way::Socket(path) => Connection::Unix(connect_within(patience.greeting, path)?),
            Way::Tcp(address) => Connection::Tcp(TcpStream::connect_timeout(address, patience.greeting)?),
        };
        connection.wait_at_most(Some(patience.greeting))?;
        Ok(connection)
    }

    /// Limits each wait from now on; `None`: for ever.
    pub(super) fn wait_at_most(&self, limit: Option<Duration>) -> io::Result<()> {
        match self {
            Connection::Unix(stream) => {
                stream.set_read_timeout(limit).and_then(|()| stream.set_write_timeout(limit))
            }
            Connection::Tcp(stream) => {
                stream.set_read_timeout(limit).and_then(|()| stream.set_write_timeout(limit))
            }
        }
    }

    pub(super) fn try_clone(&self) -> io::Result<Self> {
        match self {
            Connection::Unix(stream) => stream.try_clone().map(Connection::Unix),
            Connection::Tcp(stream) => stream.try_clone().map(Connection::Tcp),
        }
    }

    /// Says that nothing more will be written.
    pub(super) fn end_output(&self) -> io::Result<()> {
        match self {
            Connection::Unix(stream) => stream.shutdown(Shutdown::Write),
            Connection::Tcp(stream) => stream.shutdown(Shutdown::Write),
        }
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Connection::Unix(stream) => stream.read(buffer),
            Connection::Tcp(stream) => stream.read(buffer),
        }
    }
}

impl Write for Connection {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match self {
            Connection::Unix(stream) => stream.write(octets),
            Connection::Tcp(stream) => stream.write(octets),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
