//! A backend that remembers every call, and refuses what a test tells it to.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::{IDLE, WRITE};
use crate::envelope::Envelope;
use crate::listener::backend::{AuthStep, Backend, BoxStream, ClientAnswer, CoveredStream, Hello};
use crate::listener::drive::{ClientConnection, Pace, SessionEnd, drive};
use crate::listener::repeats::RepeatTally;
use crate::listener::stop::{Stopper, stop_signal};
use crate::smtp::reply::Reply;
use crate::smtp::session::{
    Answered, AuthCover, AuthOffer, Durable, MessageRefusal, ServiceExtension, Session, SessionPolicy,
};

/// The calls that a backend has received.
#[derive(Default)]
pub struct Story {
    /// The protocols of the messages that were opened.
    pub opened: Vec<&'static str>,
    /// The recipients and the content of the messages that were acknowledged.
    pub committed: Vec<(Vec<String>, Vec<u8>)>,
    /// The number of messages that the client gave up.
    pub discarded: usize,
    /// The number of ETRN commands.
    pub probes: usize,
}

/// A backend in memory. Clones share what happens.
#[derive(Clone)]
pub struct Memory {
    pub story: Arc<Mutex<Story>>,
    /// The number of messages whose content is held at present.
    pub held: Arc<AtomicUsize>,
    /// The refusals of the next messages at `open`. A message is accepted if there are none.
    pub refuse_open: Arc<Mutex<VecDeque<MessageRefusal>>>,
    /// The refusal of content that has more than so many octets.
    pub refuse_content: Option<(usize, MessageRefusal)>,
    /// The refusals of the next messages at `commit`.
    pub refuse_commit: Arc<Mutex<VecDeque<MessageRefusal>>>,
    /// A semaphore of which each commit takes one permit, so that a test decides when the disk is done.
    pub disk: Arc<Semaphore>,
    /// The reply in place of that to a command with this verb; no reply closes the connection.
    pub instead: Option<(&'static str, Option<Reply>)>,
    /// True if TLS handshakes end, with an error; otherwise they wait for ever.
    pub handshakes: bool,
}

impl Default for Memory {
    fn default() -> Self {
        Memory {
            story: Arc::default(),
            held: Arc::default(),
            refuse_open: Arc::default(),
            refuse_content: None,
            refuse_commit: Arc::default(),
            disk: Arc::new(Semaphore::new(1_000_000)),
            instead: None,
            handshakes: true,
        }
    }
}

/// A proof in name only: nothing is stored.
pub struct Remembered;

impl Durable for Remembered {
    fn queue_id(&self) -> String {
        "REMEMBERED".into()
    }
}

/// The content of a message, counted while it exists.
pub struct Held {
    envelope: Envelope,
    content: Vec<u8>,
    count: Arc<AtomicUsize>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Backend for Memory {
    type Proof = Remembered;
    type Intake = Held;

    async fn open(&mut self, envelope: Envelope, hello: Hello<'_>) -> Result<Held, MessageRefusal> {
        self.story.lock().unwrap().opened.push(hello.protocol);
        if let Some(refusal) = self.refuse_open.lock().unwrap().pop_front() {
            return Err(refusal);
        }
        self.held.fetch_add(1, Ordering::SeqCst);
        Ok(Held { envelope, content: Vec::new(), count: Arc::clone(&self.held) })
    }

    async fn write(&mut self, intake: &mut Held, octets: &[u8]) -> Result<(), MessageRefusal> {
        intake.content.extend_from_slice(octets);
        match &self.refuse_content {
            Some((limit, refusal)) if intake.content.len() > *limit => Err(refusal.clone()),
            _ => Ok(()),
        }
    }

    async fn commit(&mut self, mut intake: Held) -> Result<Remembered, MessageRefusal> {
        self.disk.acquire().await.unwrap().forget();
        if let Some(refusal) = self.refuse_commit.lock().unwrap().pop_front() {
            return Err(refusal);
        }
        let recipients = intake.envelope.recipients.iter().map(|to| to.address.to_string()).collect();
        let content = std::mem::take(&mut intake.content);
        self.story.lock().unwrap().committed.push((recipients, content));
        Ok(Remembered)
    }

    fn discard(&mut self, intake: Held) {
        self.story.lock().unwrap().discarded += 1;
        drop(intake);
    }

    async fn probe_relay(&mut self) -> Option<Reply> {
        self.story.lock().unwrap().probes += 1;
        None
    }

    /// Does a handshake that changes nothing.
    async fn starttls(&mut self, plain: BoxStream) -> io::Result<CoveredStream> {
        let covered = CoveredStream { stream: plain, can_bind: false };
        if self.handshakes { Ok(covered) } else { std::future::pending().await }
    }

    async fn auth_start(&mut self, _: &str, initial_response: Option<&[u8]>) -> AuthStep {
        match initial_response {
            Some(response) => self.auth_response(response).await,
            None => AuthStep::Challenge(b"who?".to_vec()),
        }
    }

    async fn auth_response(&mut self, response: &[u8]) -> AuthStep {
        match response {
            b"\0ann\0secret" => AuthStep::Succeeded { user: "ann".into(), senders: None },
            _ => AuthStep::Failed,
        }
    }

    async fn answer(&mut self, answered: Answered, command: &[u8], reply: Reply) -> Option<ClientAnswer> {
        let answer = match (&self.instead, answered) {
            (Some((word, instead)), Answered::Command) if command.starts_with(word.as_bytes()) => {
                instead.clone()
            }
            (Some(("CONNECT", instead)), Answered::Connection) => instead.clone(),
            (Some((".", instead)), Answered::EndOfData) => instead.clone(),
            (Some(("BDAT", instead)), Answered::Chunk) => instead.clone(),
            _ => Some(reply),
        };
        answer.map(ClientAnswer::Reply)
    }
}

/// A running session, and what can be seen of it from outside.
pub struct Running {
    pub end: JoinHandle<SessionEnd>,
    pub stopper: Stopper,
    /// The number of writes that the server has made.
    pub writes: Arc<AtomicUsize>,
}

/// Returns a policy that offers every extension.
pub fn policy() -> SessionPolicy {
    SessionPolicy {
        hostname: "host.example.org".into(),
        max_message_size: 100 << 20,
        max_recipients: 1000,
        extensions: ServiceExtension::ALL.into(),
        starttls: true,
        auth: Some(AuthOffer::of(["PLAIN"], AuthCover::Nothing)),
        max_errors: 20,
        max_junk_commands: u32::MAX,
    }
}

/// Begins a session with `backend`. The connection holds `room` octets in each direction.
pub fn begin(backend: &Memory, room: usize) -> (DuplexStream, Running) {
    let (ours, theirs) = duplex(room);
    let (stopper, stop) = stop_signal();
    let writes = Arc::new(AtomicUsize::new(0));
    let stream = Box::new(CountedWrites { inner: ours, writes: Arc::clone(&writes) });
    let session = Session::new(Arc::new(policy()));
    let pace =
        Pace { idle: IDLE, content: IDLE, transaction: 24 * IDLE, without_message: 24 * IDLE, write: WRITE };
    let connection =
        ClientConnection { stream, client: "test".into(), tally: RepeatTally::new(), pace, stop };
    let end = tokio::spawn(drive(session, backend.clone(), connection));
    (theirs, Running { end, stopper, writes })
}

/// A stream that counts writes, as system calls would be counted.
struct CountedWrites {
    inner: DuplexStream,
    writes: Arc<AtomicUsize>,
}

impl AsyncRead for CountedWrites {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for CountedWrites {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
