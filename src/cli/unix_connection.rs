//! A connection to one of the daemon's sockets, with a limit on the wait for it.
//!
//! Promises: where the daemon takes no connection and its backlog is full, as of one that is stopped, the caller has an
//! error of the kind `WouldBlock` when the limit is over. Without a limit the kernel would wait for ever.
//!
//! Not here: what is said over it (`control_client.rs`, `sendmail/client.rs`).

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

/// Connects to the socket at `path`. From then on `limit` also holds for each write.
pub(super) fn connect_within(limit: Duration, path: &Path) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_write_timeout(Some(limit))?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(socket.into())
}
