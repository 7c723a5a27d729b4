//! `-bs`: SMTP on standard input and output.
//!
//! Promises:
//! 1. While the daemon runs, its own session is relayed octet for octet. While it is down, the same session core runs here,
//!    and messages are left in the drop directory: 250 is sent only when the file and its name are synced.
//! 2. If the first line of the client ends with a bare LF, the client is a person at a terminal or a shell script, and each
//!    of its bare LFs is made a CRLF ([`LineEnds`]); otherwise its data could never end. From every other client a bare LF
//!    does not end the data.
//! 3. A client that closes its output without QUIT still gets all replies.
//!
//! Fails if there is neither a daemon nor a drop directory (75); then no greeting was sent. If the session breaks off (74),
//! the replies so far say what was queued.

use std::borrow::Cow;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use jiff::Timestamp;

use super::client::DaemonClient;
use super::connection::{AnswerLimits, DaemonConnection};
use super::submit::{DaemonFound, not_now, passed_by};
use super::ways::Ways;
use crate::cli::exit::{Exit, Failure};
use crate::envelope::Envelope;
use crate::listener::backend::{Backend, BoxStream, Hello};
use crate::listener::drive::{self, Pace};
use crate::listener::repeats::RepeatTally;
use crate::listener::stop::stop_signal;
use crate::smtp::reply::Reply;
use crate::smtp::session::{HostTrouble, MessageRefusal, Session, SessionPolicy};
use crate::spool::drop::{DropError, DropFile, Dropped};
use crate::spool::fs::RealFs;

/// The limits for a client, which may be slow but must not wait for ever.
const PACE: Pace = Pace::even(Duration::from_secs(3600));

/// The most recipients of one message in a session that runs here; the daemon later accepts all of them.
const MAX_RECIPIENTS: usize = 10_000;

/// Runs the session of a client whose output is `input` and whose input is `output`.
pub(super) fn hold(
    ways: &Ways,
    limits: AnswerLimits,
    input: impl Read + Send + 'static,
    output: &mut dyn Write,
) -> Result<(), Failure> {
    let (mut silent, mut reasons) = (io::sink(), Vec::new());
    for way in &ways.to_daemon {
        match DaemonClient::connect(way, limits, &mut silent) {
            Ok((client, greeting)) => {
                return proxy(client.into_connection(), Some(&greeting), input, output).map_err(broken);
            }
            // As in `submit.rs`, promise 2: once a daemon was found, no other socket is tried.
            Err(undone) => {
                if passed_by(way, undone, &mut reasons)? != DaemonFound::Nobody {
                    break;
                }
            }
        }
    }
    let directory = ways.drop_directory.as_ref().ok_or_else(|| not_now(&reasons))?;
    let (ours, theirs) = UnixStream::pair().map_err(broken)?;
    let backend = DropBackend { directory: directory.clone() };
    let policy = policy(ways.max_message_size);
    let server = thread::spawn(move || serve(theirs, backend, policy));
    proxy(DaemonConnection::Unix(ours), None, input, output).map_err(broken)?;
    // After a panic the session ends, too; each message that it acknowledged is durable.
    server.join().unwrap_or(Ok(())).map_err(broken)
}

fn broken(error: io::Error) -> Failure {
    // Some messages of the session may be queued.
    Failure::new(Exit::IoError, format!("the session broke off: {error}"))
}

/// Copies octets in both directions until the server closes the connection.
fn proxy(
    mut server: DaemonConnection,
    greeting: Option<&Reply>,
    mut input: impl Read + Send + 'static,
    output: &mut dyn Write,
) -> io::Result<()> {
    server.wait_at_most(None)?;
    let mut to_server = server.try_clone()?;
    // This thread is not joined: it may wait for input that never comes.
    thread::spawn(move || {
        // If either side fails, the server reads an end of file and closes.
        let _ = carry(&mut input, &mut to_server);
        let _ = to_server.end_output();
    });
    if let Some(greeting) = greeting {
        let mut octets = Vec::new();
        greeting.encode(&mut octets);
        output.write_all(&octets)?;
        output.flush()?;
    }
    let mut buffer = [0; 4096];
    loop {
        match server.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(len) => output.write_all(&buffer[..len]).and_then(|()| output.flush())?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Copies the client's octets to the server until the client closes its output.
fn carry(input: &mut impl Read, server: &mut impl Write) -> io::Result<()> {
    let (mut buffer, mut line_ends) = ([0; 4096], LineEnds::default());
    loop {
        match input.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(len) => server.write_all(&line_ends.mended(&buffer[..len]))?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Completes the line ends of a client that sends bare LFs.
#[derive(Default)]
struct LineEnds {
    /// The last octet seen.
    last: u8,
    /// True if the first line ended in a bare LF; `None` as long as that is not known.
    are_bare: Option<bool>,
}

impl LineEnds {
    /// Returns `octets`, in which each bare LF is a CRLF if the first line of the client ended with a bare LF.
    fn mended<'o>(&mut self, octets: &'o [u8]) -> Cow<'o, [u8]> {
        if self.are_bare == Some(false) {
            return Cow::Borrowed(octets);
        }
        let mut mended = Vec::with_capacity(octets.len());
        for &octet in octets {
            let is_bare = octet == b'\n' && self.last != b'\r';
            if octet == b'\n' && *self.are_bare.get_or_insert(is_bare) && is_bare {
                mended.push(b'\r');
            }
            mended.push(octet);
            self.last = octet;
        }
        Cow::Owned(mended)
    }
}

fn policy(max_message_size: u64) -> SessionPolicy {
    let plain = SessionPolicy::plain("localhost", max_message_size, MAX_RECIPIENTS);
    SessionPolicy { max_errors: 100, max_junk_commands: u32::MAX, ..plain }
}

/// Runs the server side of a session while the daemon is down. Returns when it has ended.
fn serve(stream: UnixStream, backend: DropBackend, policy: SessionPolicy) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        stream.set_nonblocking(true)?;
        let stream: BoxStream = Box::new(tokio::net::UnixStream::from_std(stream)?);
        let (_stopper, stop) = stop_signal();
        let (client, tally) = ("standard input".into(), RepeatTally::new());
        let connection = drive::ClientConnection { stream, client, tally, pace: PACE, stop };
        drive::drive(Session::new(Arc::new(policy)), backend, connection).await;
        Ok(())
    })
}

/// Leaves the messages of a session in the drop directory. Writing blocks, which is fine for a single session.
struct DropBackend {
    directory: PathBuf,
}

impl Backend for DropBackend {
    type Proof = Dropped;
    type Intake = DropFile;

    async fn open(&mut self, envelope: Envelope, _: Hello<'_>) -> Result<DropFile, MessageRefusal> {
        DropFile::create(Arc::new(RealFs), &self.directory, &envelope, Timestamp::now()).map_err(refusal_of)
    }

    async fn write(&mut self, intake: &mut DropFile, octets: &[u8]) -> Result<(), MessageRefusal> {
        intake.write(octets).map_err(refusal_of)
    }

    async fn commit(&mut self, intake: DropFile) -> Result<Dropped, MessageRefusal> {
        intake.commit().map_err(refusal_of)
    }
}

/// Prints on standard error why a message cannot be left in the drop directory, and returns the refusal for the client.
fn refusal_of(error: DropError) -> MessageRefusal {
    eprintln!("sendmail: {error}");
    if error.is_full() { HostTrouble::NoRoom.into() } else { HostTrouble::Failing.into() }
}

#[cfg(test)]
mod tests;
