//! The command line's end of the control socket.

use std::fmt;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::admin::protocol::{ControlRequest, Frame};

/// Why a request came to nothing.
#[derive(Debug)]
pub enum ClientError {
    /// Nobody listens there, or we may not ask.
    Unreachable {
        /// The control socket.
        socket: PathBuf,
        /// What connecting said.
        source: io::Error,
    },
    /// The daemon could not answer.
    Refused(String),
    /// We may not ask for that.
    Denied(String),
    /// The answer broke off, or was none of ours.
    BrokenOff(String),
    /// What the caller did with an item failed.
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

/// Asks the daemon at `socket`, and calls `each` with every item of the answer as it comes. Returns how many more
/// there are, which this user may not see.
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

/// Reads the answer to its end.
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
