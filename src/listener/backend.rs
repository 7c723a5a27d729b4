//! What stands behind a session: where messages go, and who may send them.
//!
//! The driver (`drive.rs`) moves octets between a client and the session core (`smtp/session/`) and
//! turns to a [`Backend`] for what touches the world: the daemon's is the spool (`intake.rs`), the
//! sink's a Maildir.
//!
//! Promises asked of a backend:
//! 1. `commit` returns `Ok` only when the message is on stable storage: the 250 follows at once.
//! 2. An intake that is dropped, at any moment, leaves nothing behind. Clients vanish.
//! 3. Refusals are bland, since the client reads them; the full cause goes to the log, by the backend.
//!
//! One backend serves one session, so it may keep what it learns of its client. No method is called
//! while another one of the same session is awaited. A method may be dropped at an await when the
//! deadline of a stop has passed; apart from that, only `starttls` has a time limit, and is dropped as
//! soon as a stop is given.

use std::future::{self, Future};
use std::io;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::envelope::Envelope;
use crate::smtp::reply::Reply;
use crate::smtp::session::{Durable, MessageRefusal};

/// Anything a session can be held over.
pub trait ClientStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> ClientStream for S {}

/// The stream of a session, before and after its upgrade to TLS.
pub type BoxStream = Box<dyn ClientStream>;

/// What a session knows when it opens a message, beside the envelope.
#[derive(Clone, Copy, Debug)]
pub struct Hello<'a> {
    /// What the client called itself, escaped.
    pub helo: Option<&'a str>,
    /// SMTP, ESMTP, ESMTPSA, UTF8SMTP, … of the transaction at hand (RFC 3848, RFC 6531).
    pub protocol: &'static str,
    /// Octets of content that the client has announced; 0 where it has not.
    pub declared_size: u64,
}

/// What a reply is said to; see [`Backend::answer`].
#[derive(Clone, Copy, Debug)]
pub enum Prompt<'a> {
    /// The connection itself: the reply is the greeting.
    Connection,
    /// A command line as received, line break included; for the 354 the DATA line.
    Command(&'a [u8]),
    /// A line that is no command: a response of AUTH, or the end of a line that is too long.
    Line,
    /// The end of a chunk that does not end its message, or that no transaction wanted.
    Chunk,
    /// The end of a message's content: the dot, `BDAT … LAST`, or the chunk with which a refused one is over.
    EndOfData,
}

/// How a SASL exchange goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthStep {
    /// `334` with this challenge, not yet in base64.
    Challenge(Vec<u8>),
    /// `235`: the client is `user`.
    Succeeded {
        /// The authentication identity.
        user: String,
    },
    /// `535`.
    Failed,
}

/// Where the messages of one session go. See the module for what is asked of it.
pub trait Backend: Send {
    /// Proof that a message is on stable storage.
    type Proof: Durable + Send;
    /// A message while its content comes in.
    type Intake: Send;

    /// A message begins. `Err`: it is refused before its content is asked for.
    fn open(
        &mut self,
        envelope: Envelope,
        hello: Hello<'_>,
    ) -> impl Future<Output = Result<Self::Intake, MessageRefusal>> + Send;

    /// Decoded content, in pieces of any size. `Err`: the intake is dropped, the rest is read and thrown
    /// away, and the refusal is said at the end of data.
    fn write(
        &mut self,
        intake: &mut Self::Intake,
        octets: &[u8],
    ) -> impl Future<Output = Result<(), MessageRefusal>> + Send;

    /// The content is whole: make it durable.
    fn commit(
        &mut self,
        intake: Self::Intake,
    ) -> impl Future<Output = Result<Self::Proof, MessageRefusal>> + Send;

    /// The message is void (RSET between chunks, oversize). Nothing may remain of it.
    fn discard(&mut self, intake: Self::Intake) {
        drop(intake);
    }

    /// ETRN: the client asks for the queue to be run. `Some` is what it is told in place of "queueing started".
    fn probe_relay(&mut self) -> impl Future<Output = Option<Reply>> + Send {
        future::ready(None)
    }

    /// The server side of the TLS handshake, after the 220 has been written. The returned stream carries
    /// the rest of the session; an error ends it. Only called when the policy offers STARTTLS.
    fn starttls(&mut self, plain: BoxStream) -> impl Future<Output = io::Result<BoxStream>> + Send {
        drop(plain);
        future::ready(Err(io::Error::new(io::ErrorKind::Unsupported, "no TLS here")))
    }

    /// AUTH with one of the offered mechanisms, upper case. Only called when the policy offers some.
    fn auth_start(
        &mut self,
        mechanism: &str,
        initial_response: Option<&[u8]>,
    ) -> impl Future<Output = AuthStep> + Send {
        let _ = (mechanism, initial_response);
        future::ready(AuthStep::Failed)
    }

    /// The client's next response of the exchange under way, out of base64.
    fn auth_response(&mut self, response: &[u8]) -> impl Future<Output = AuthStep> + Send {
        let _ = response;
        future::ready(AuthStep::Failed)
    }

    /// A last look at every reply before it is written: `Some` is what is said, `None` drops the
    /// connection without a word. For a sink that plays a bad relay; a pending future plays one that stalls.
    /// What the session core believes does not change: a reply replaced here must be matched by `open`
    /// refusing what depends on it. Replies of a mere close (timeout, stop) do not come by.
    fn answer(&mut self, prompt: Prompt<'_>, reply: Reply) -> impl Future<Output = Option<Reply>> + Send {
        let _ = prompt;
        future::ready(Some(reply))
    }
}
