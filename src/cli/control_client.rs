//! The client of the control socket, for the commands.
//!
//! Promises: if the daemon does not answer, since it hangs or is stopped, the command ends after a while, whether or not the
//! backlog of the socket is full.

use std::fmt;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::unix_connection::connect_within;
use crate::admin::protocol::{ControlRequest, Frame, RelayHeadline};

/// Time for which the daemon may be silent, as a rule: longer than a flush or a reload takes.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// The reason why a request to the daemon failed.
#[derive(Debug)]
pub enum ClientError {
    /// No daemon listens on the socket, or we may not connect.
    Unreachable {
        /// The path of the control socket that was tried.
        socket: PathBuf,
        /// The error of connecting.
        source: io::Error,
    },
    /// The socket is open, but nobody accepts the connection or answers.
    Silent {
        /// The path of the control socket that was tried.
        socket: PathBuf,
        /// Time for which we have waited.
        patience: Duration,
    },
    /// The daemon answered with an error.
    Refused(String),
    /// The request names something that there is not.
    Unknown(String),
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
            ClientError::Silent { socket, patience } => write!(
                f,
                "the daemon at {} has said nothing for {} s: it is stopped, or hangs; see systemctl status nullmta",
                socket.display(),
                patience.as_secs()
            ),
            ClientError::Refused(why) => write!(f, "the daemon refused: {why}"),
            ClientError::Denied(why) | ClientError::Unknown(why) => f.write_str(why),
            ClientError::BrokenOff(why) => write!(f, "the daemon's answer broke off: {why}"),
            ClientError::Output(source) => write!(f, "cannot write: {source}"),
        }
    }
}

impl std::error::Error for ClientError {}

/// The number of items that an answer left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AnswerRest {
    /// The number of items that this user may not see.
    pub hidden: u64,
    /// The number of further items, beyond the limit of the request.
    pub more: u64,
}

/// What is done with the parts of an answer, as they arrive.
pub trait AnswerReader<T> {
    /// Takes an item.
    fn item(&mut self, item: T) -> io::Result<()>;

    /// Takes the relays that keep their mail, before the first item of a listing.
    fn relays(&mut self, _relays: Vec<RelayHeadline>) {}
}

impl<T, F: FnMut(T) -> io::Result<()>> AnswerReader<T> for F {
    fn item(&mut self, item: T) -> io::Result<()> {
        self(item)
    }
}

/// Sends `request` to the daemon at `socket`, and gives `reader` every part of the answer as it arrives. Returns how many items
/// were left out.
pub fn ask<T: DeserializeOwned>(
    socket: &Path,
    request: &ControlRequest,
    reader: &mut impl AnswerReader<T>,
) -> Result<AnswerRest, ClientError> {
    ask_within(PATIENCE, socket, request, reader)
}

/// Does the same with this `patience`.
pub(super) fn ask_within<T: DeserializeOwned>(
    patience: Duration,
    socket: &Path,
    request: &ControlRequest,
    reader: &mut impl AnswerReader<T>,
) -> Result<AnswerRest, ClientError> {
    let silent = || ClientError::Silent { socket: socket.to_owned(), patience };
    let unreachable = |source: io::Error| match is_too_late(&source) {
        true => silent(),
        false => ClientError::Unreachable { socket: socket.to_owned(), source },
    };
    let mut stream = connect_within(patience, socket).map_err(unreachable)?;
    stream.set_read_timeout(Some(patience)).map_err(unreachable)?;
    send(&mut stream, request).map_err(unreachable)?;
    answer(stream, &silent, reader)
}

/// Reads the whole answer.
fn answer<T: DeserializeOwned>(
    stream: UnixStream,
    silent: &dyn Fn() -> ClientError,
    reader: &mut impl AnswerReader<T>,
) -> Result<AnswerRest, ClientError> {
    let mut rest = AnswerRest::default();
    for line in BufReader::new(stream).lines() {
        let line = line.map_err(|error| match is_too_late(&error) {
            true => silent(),
            false => ClientError::BrokenOff(error.to_string()),
        })?;
        let frame = serde_json::from_str(&line).map_err(|error| ClientError::BrokenOff(error.to_string()))?;
        match frame {
            Frame::Done => return Ok(rest),
            Frame::Hidden(count) => rest.hidden = count,
            Frame::More(count) => rest.more = count,
            Frame::Working => {}
            Frame::Relays(relays) => reader.relays(relays),
            Frame::Error(why) => return Err(ClientError::Refused(why)),
            Frame::Denied(why) => return Err(ClientError::Denied(why)),
            Frame::Unknown(why) => return Err(ClientError::Unknown(why)),
            Frame::Item(item) => {
                let item = serde_json::from_value(item)
                    .map_err(|error| ClientError::BrokenOff(error.to_string()))?;
                match reader.item(item) {
                    // The reader of the output has closed it, and needs no more.
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(rest),
                    done => done.map_err(ClientError::Output)?,
                }
            }
        }
    }
    Err(ClientError::BrokenOff("the connection was closed".into()))
}

/// Returns whether `error` means that a time limit was reached.
fn is_too_late(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn send(stream: &mut UnixStream, request: &ControlRequest) -> io::Result<()> {
    let line = serde_json::to_string(request)?;
    match writeln!(stream, "{line}") {
        // A daemon with too many clients sends its refusal before the request, and closes: that is the answer.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        sent => sent,
    }
}

#[cfg(test)]
mod tests {
    use socket2::{Domain, SockAddr, Socket, Type};

    use super::*;

    /// `mailq` and `status` waited for ever for a daemon that was stopped, and so did what monitors the host.
    #[test]
    fn a_daemon_that_is_silent_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("control.sock");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let patience = Duration::from_millis(1);
        let answered =
            ask_within(patience, &socket, &ControlRequest::Status, &mut |_: serde_json::Value| Ok(()));
        assert!(matches!(answered, Err(ClientError::Silent { .. })), "{answered:?}");
    }

    /// Once enough commands had waited for it, the next one waited for ever for its connection.
    #[test]
    fn a_daemon_whose_backlog_is_full_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("control.sock");
        let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        listener.bind(&SockAddr::unix(&socket).unwrap()).unwrap();
        listener.listen(1).unwrap();
        let patience = Duration::from_millis(1);
        let waiting: Vec<_> = (0..10).map_while(|_| connect_within(patience, &socket).ok()).collect();
        assert!(waiting.len() < 10, "the backlog is full");
        let answered =
            ask_within(patience, &socket, &ControlRequest::Status, &mut |_: serde_json::Value| Ok(()));
        assert!(matches!(answered, Err(ClientError::Silent { .. })), "{answered:?}");
    }

    /// If the control socket had no place for one more client, `mailq` said that no daemon was running.
    #[test]
    fn a_daemon_without_a_place_is_heard() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"{\"error\":\"too many clients\"}\n").unwrap();
        drop(theirs);
        send(&mut ours, &ControlRequest::whole_queue()).unwrap();
        let silent = || unreachable!("it has spoken");
        let answered = answer(ours, &silent, &mut |_: serde_json::Value| Ok(()));
        assert!(matches!(answered, Err(ClientError::Refused(why)) if why == "too many clients"));
    }
}
