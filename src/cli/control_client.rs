//! The client of the control socket, for the commands.

use std::fmt;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::admin::protocol::{ControlRequest, Frame};

/// The reason why a request to the daemon failed.
#[derive(Debug)]
pub enum ClientError {
    /// No daemon listens on the socket, or we may not connect.
    Unreachable {
        /// The control socket.
        socket: PathBuf,
        /// The error of connecting.
        source: io::Error,
    },
    /// The daemon answered with an error.
    Refused(String),
    /// This user may not make that request.
    Denied(String),
    /// The answer was cut off, or was not one of our protocol.
    BrokenOff(String),
    /// The caller could not process an item.
    Output(io::Error),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Unreachable { socket, source } => {
                write!(f, "no daemon answers at {}: {source}; is nullmta running?", socket.display())
            }
            ClientError::Refused(why) => write!(f, "the daemon refused: {why}"),
            ClientError::Denied(why) => f.write_str(why),
            ClientError::BrokenOff(why) => write!(f, "the daemon's answer broke off: {why}"),
            ClientError::Output(source) => write!(f, "cannot write: {source}"),
        }
    }
}

impl std::error::Error for ClientError {}

/// Sends `request` to the daemon at `socket`, and calls `each` with every item of the answer as it arrives. Returns the
/// number of further items, which this user may not see.
pub fn ask<T: DeserializeOwned>(
    socket: &Path,
    request: &ControlRequest,
    mut each: impl FnMut(T) -> io::Result<()>,
) -> Result<u64, ClientError> {
    let unreachable = |source| ClientError::Unreachable { socket: socket.to_owned(), source };
    let mut stream = UnixStream::connect(socket).map_err(unreachable)?;
    send(&mut stream, request).map_err(unreachable)?;
    answer(stream, &mut each)
}

/// Reads the whole answer.
fn answer<T: DeserializeOwned>(
    stream: UnixStream,
    each: &mut impl FnMut(T) -> io::Result<()>,
) -> Result<u64, ClientError> {
    let mut hidden = 0;
    for line in BufReader::new(stream).lines() {
        let line = line.map_err(|error| ClientError::BrokenOff(error.to_string()))?;
        let frame = serde_json::from_str(&line).map_err(|error| ClientError::BrokenOff(error.to_string()))?;
        match frame {
            Frame::Done => return Ok(hidden),
            Frame::Hidden(more) => hidden = more,
            Frame::Error(why) => return Err(ClientError::Refused(why)),
            Frame::Denied(why) => return Err(ClientError::Denied(why)),
            Frame::Item(item) => {
                let item = serde_json::from_value(item)
                    .map_err(|error| ClientError::BrokenOff(error.to_string()))?;
                match each(item) {
                    // Whoever reads the output has seen enough.
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(hidden),
                    done => done.map_err(ClientError::Output)?,
                }
            }
        }
    }
    Err(ClientError::BrokenOff("the connection was closed".into()))
}

fn send(stream: &mut UnixStream, request: &ControlRequest) -> io::Result<()> {
    let line = serde_json::to_string(request)?;
    match writeln!(stream, "{line}") {
        // A daemon that has no place for us says so before it is asked, and closes: that is the answer.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        sent => sent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the control socket had no place for one more client, `mailq` said that no daemon was running.
    #[test]
    fn a_daemon_without_a_place_is_heard() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"{\"error\":\"too many clients\"}\n").unwrap();
        drop(theirs);
        send(&mut ours, &ControlRequest::QueueList).unwrap();
        let answered = answer(ours, &mut |_: serde_json::Value| Ok(()));
        assert!(matches!(answered, Err(ClientError::Refused(why)) if why == "too many clients"));
    }
}
