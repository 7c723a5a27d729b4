//! A connection to one of the daemon's sockets, with a limit on the wait for it.
//!
//! Promises: if the backlog of the socket is full and the daemon accepts no connection, since it hangs or is stopped, the
//! caller gets an error of the kind `WouldBlock` after the time limit. Without the limit the kernel would wait for ever.
//!
//! Not here: the dialogue on the connection (`control_client.rs`, `sendmail/client.rs`).

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

/// Connects to the socket at `path`, within `limit`. The same limit then applies to each write.
pub(super) fn connect_within(limit: Duration, path: &Path) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_write_timeout(Some(limit))?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(socket.into())
}
