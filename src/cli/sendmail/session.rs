//! `-bs`: SMTP on standard input and output.
//!
//! Promises: with the daemon up, the session is the daemon's own, octet for octet. With the daemon down it is
//! held here, by the same session core, and its messages go to the drop directory: 250 is said only when
//! the file and its name are synced.
//!
//! A client whose first line ends in a bare LF is a person at a terminal or a shell script: all its bare LFs are
//! made CRLF ([`LineEnds`]), or its data could never end. From every other client a bare LF ends no data.
//!
//! A client that ends its output without QUIT has its replies all the same.
//!
//! Fails when there is neither a daemon nor a drop directory (75); nothing was said. When the session breaks off
//! (74), its replies tell what was queued.

use std::borrow::Cow;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use jiff::Timestamp;

use super::client::Client;
use super::connection::{Connection, Patience};
use super::submit::{Found, not_now, passed_by};
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

/// A program that holds a session open may be slow; for ever is too long.
const PACE: Pace = Pace::even(Duration::from_secs(3600));

/// The most recipients of one message in a session held here; the daemon, when it is back, takes them all.
const MAX_RECIPIENTS: usize = 10_000;

/// Holds the session that `input` and `output` are the client's ends of.
pub(super) fn hold(
    ways: &Ways,
    patience: Patience,
    input: impl Read + Send + 'static,
    output: &mut dyn Write,
) -> Result<(), Failure> {
    let (mut silent, mut reasons) = (io::sink(), Vec::new());
    for way in &ways.to_daemon {
        match Client::connect(way, patience, &mut silent) {
            Ok((client, greeting)) => {
                return proxy(client.into_connection(), Some(&greeting), input, output).map_err(broken);
            }
            // As in `submit.rs`, promise 2: not another way to the daemon that is there.
            Err(undone) => {
                if passed_by(way, undone, &mut reasons)? != Found::Nobody {
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
    proxy(Connection::Unix(ours), None, input, output).map_err(broken)?;
    // A session that panicked has said all it will; what it acknowledged is durable.
    server.join().unwrap_or(Ok(())).map_err(broken)
}

fn broken(error: io::Error) -> Failure {
    // Some of its messages may be queued.
    Failure::new(Exit::IoError, format!("the session broke off: {error}"))
}

/// Carries octets both ways until the server has closed.
fn proxy(
    mut server: Connection,
    greeting: Option<&Reply>,
    mut input: impl Read + Send + 'static,
    output: &mut dyn Write,
) -> io::Result<()> {
    server.wait_at_most(None)?;
    let mut to_server = server.try_clone()?;
    // Not joined: it may wait for input that nobody will write.
    thread::spawn(move || {
        // Whichever end fails, the server hears of the end and closes.
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

/// Carries the client's octets to the server until there are no more.
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

/// How the client ends its lines.
#[derive(Default)]
struct LineEnds {
    /// The last octet seen.
    last: u8,
    /// Whether the first line ended in a bare LF, once that is known.
    are_bare: Option<bool>,
}

impl LineEnds {
    /// `octets` with the line ends that SMTP has.
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
    SessionPolicy {
        hostname: "localhost".into(),
        max_message_size,
        max_recipients: MAX_RECIPIENTS,
        starttls: false,
        auth: Vec::new(),
        auth_requires_tls: true,
        auth_required: false,
        max_errors: 100,
        max_junk_commands: u32::MAX,
    }
}

/// Our own end of the session, on a thread of its own.
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

/// Messages go to the drop directory. The disk may block: there is one session, and it waits for it.
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

/// Says on standard error why a message is not in the drop directory, and returns the refusal.
fn refusal_of(error: DropError) -> MessageRefusal {
    eprintln!("sendmail: {error}");
    if error.is_full() { HostTrouble::NoRoom.into() } else { HostTrouble::Failing.into() }
}

#[cfg(test)]
mod tests;
