//! The backend of a session: it decides who may send messages, and stores them.
//!
//! The driver (`drive.rs`) moves octets between a client and the session core (`smtp/session/`), and calls a
//! [`Backend`] for everything else: the backend of the daemon stores messages in the spool (`intake.rs`), that of the
//! sink in a Maildir.
//!
//! A backend must keep these promises:
//! 1. `commit` returns `Ok` only when the message is on stable storage, since the 250 follows at once.
//! 2. An intake that is dropped, at any moment, leaves nothing behind, since clients can disappear.
//! 3. A refusal does not tell the client the cause. The backend writes the full cause to the log.
//!
//! A backend serves one session, so it may store facts about its client. No method is called while another one of the
//! same session is awaited. When the deadline of a stop has passed, any method may be dropped at an await. Apart from
//! that, only `starttls` has a time limit; it is also dropped as soon as the stop signal is given.

use std::future::{self, Future};
use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::envelope::Envelope;
use crate::sender_policy::SenderPolicy;
use crate::smtp::reply::{Reply, Severity};
use crate::smtp::session::{Answered, Durable, MessageRefusal};

/// A stream over which a session can run.
pub trait ClientStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> ClientStream for S {}

/// The stream of a session, before and after its upgrade to TLS.
pub type BoxStream = Box<dyn ClientStream>;

/// A stream within TLS.
pub struct CoveredStream {
    /// The stream.
    pub stream: BoxStream,
    /// True if a login can be bound to its TLS session.
    pub can_bind: bool,
}

/// The facts about the session and the transaction, besides the envelope, that are known when a message is opened.
#[derive(Clone, Copy, Debug)]
pub struct Hello<'a> {
    /// The name from HELO or EHLO, with unsafe characters replaced.
    pub helo: Option<&'a str>,
    /// The protocol of the transaction: SMTP, ESMTP, ESMTPSA, UTF8SMTP, … (RFC 3848, RFC 6531).
    pub protocol: &'static str,
    /// The size of the content that the client has announced, in octets; 0 if it announced none.
    pub declared_size: u64,
}

/// What a client is sent as an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientAnswer {
    /// A reply.
    Reply(Reply),
    /// These octets, which may be no SMTP at all. The severity says whether what they answer was done.
    Octets(Severity, Vec<u8>),
}

/// The result of one step of a SASL exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthStep {
    /// The reply is 334 with this challenge, which is not in base64 yet.
    Challenge(Vec<u8>),
    /// The reply is 235: the client has authenticated as `user`.
    Succeeded {
        /// The name with which the client has logged in (the authentication identity of RFC 4422).
        user: String,
        /// As whom this user may send; `None` for everybody.
        senders: Option<Arc<SenderPolicy>>,
    },
    /// The reply is 535.
    Failed,
    /// The reply is 454: nobody can log in now.
    Unavailable,
}

/// The backend of one session: it receives the messages of the session, keeps the promises of this module, and is
/// called by the driver.
pub trait Backend: Send {
    /// The proof that a message is on stable storage.
    type Proof: Durable + Send;
    /// A message whose content is still arriving.
    type Intake: Send;

    /// Returns why no mail is taken now, for a client that begins a message; `None` while mail is taken. It is asked before each
    /// MAIL, so it must be quick.
    fn intake_pause(&self) -> Option<String> {
        None
    }

    /// Begins a message. After an error, the message is refused before its content is sent.
    fn open(
        &mut self,
        envelope: Envelope,
        hello: Hello<'_>,
    ) -> impl Future<Output = Result<Self::Intake, MessageRefusal>> + Send;

    /// Takes decoded content, in pieces of any size. After an error, the intake is dropped, the rest of the content
    /// is read and discarded, and the refusal is sent at the end of data.
    fn write(
        &mut self,
        intake: &mut Self::Intake,
        octets: &[u8],
    ) -> impl Future<Output = Result<(), MessageRefusal>> + Send;

    /// Makes the message durable; its content is complete.
    fn commit(
        &mut self,
        intake: Self::Intake,
    ) -> impl Future<Output = Result<Self::Proof, MessageRefusal>> + Send;

    /// Gives the message up (after RSET between chunks, or if it is too large). Nothing of it may remain.
    fn discard(&mut self, intake: Self::Intake) {
        drop(intake);
    }

    /// Asks the queue to probe the relay, for ETRN. Returns the reply for the client if it is not "queueing started".
    fn probe_relay(&mut self) -> impl Future<Output = Option<Reply>> + Send {
        future::ready(None)
    }

    /// Does the server side of the TLS handshake, after the 220 has been written. The session continues over the
    /// returned stream; an error ends it. It is called only if the policy offers STARTTLS.
    fn starttls(&mut self, plain: BoxStream) -> impl Future<Output = io::Result<CoveredStream>> + Send {
        drop(plain);
        future::ready(Err(io::Error::new(io::ErrorKind::Unsupported, "no TLS here")))
    }

    /// Begins AUTH with one of the offered mechanisms, in upper case. It is called only if the policy offers some.
    fn auth_start(
        &mut self,
        mechanism: &str,
        initial_response: Option<&[u8]>,
    ) -> impl Future<Output = AuthStep> + Send {
        let _ = (mechanism, initial_response);
        future::ready(AuthStep::Failed)
    }

    /// Processes the next response of the client in the current exchange, decoded from base64.
    fn auth_response(&mut self, response: &[u8]) -> impl Future<Output = AuthStep> + Send {
        let _ = response;
        future::ready(AuthStep::Failed)
    }

    /// Returns the answer that is written in place of `reply`; `None` closes the connection without a reply. It is for
    /// a sink that behaves like a bad relay; a future that does not end behaves like a relay that stalls. The session
    /// core does not learn of the change: if a backend replaces the reply to a command, its `open` must refuse a
    /// message that depends on the command. Replies before closing (timeout, stop) are not passed here.
    ///
    /// `command` is the command line that is answered, as it was received, with its line break; for the 354 it is the
    /// DATA line. It is empty if the reply answers anything but a command.
    fn answer(
        &mut self,
        answered: Answered,
        command: &[u8],
        reply: Reply,
    ) -> impl Future<Output = Option<ClientAnswer>> + Send {
        let _ = (answered, command);
        future::ready(Some(ClientAnswer::Reply(reply)))
    }
}
