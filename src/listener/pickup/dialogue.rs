//! The dialogue with one dropped file: its octets go to the same session core as those of any client, and the message
//! to the same intake.
//!
//! Promises:
//! 1. A file contains one message. It is taken with all its recipients, or not at all.
//! 2. A file that is not a message in BSMTP is distinguished from a message that is refused for good. For the latter,
//!    [`RefusedMessage`] has all that the sender must be told.
//! 3. If the file may not be sent as its reverse-path, the [`RefusedMessage`] has `<>` instead: whoever has that address did not
//!    leave the file, and gets no report.
//! 4. No more of a file is read than the largest allowed message and envelope.
//!
//! Not here: what happens to the file (`pickup.rs`), the report to the sender (`bounce.rs`).

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::envelope::{Envelope, ReversePath};
use crate::listener::backend::{Backend, Hello};
use crate::message::dsn::MAX_RETURNED_OCTETS;
use crate::queue_id::QueueId;
use crate::smtp::bsmtp;
use crate::smtp::reply::{Reply, Severity};
use crate::smtp::session::{MessageRefusal, Session, SessionAction};
use crate::spool::Committed;

/// The number of octets that are read at a time.
const CHUNK: usize = 64 << 10;

/// The only octets that may follow the message in a file.
const FAREWELL: &[u8] = b"QUIT\r\n";

/// The outcome of taking one file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PickupOutcome {
    /// The message is on the spool.
    Taken(QueueId),
    /// The message cannot be taken now.
    Later {
        why: String,
        /// True if no other file can be taken now either, whoever left it.
        is_general: bool,
    },
    /// The message is refused for good.
    Refused(Box<RefusedMessage>),
    /// The file is not a message, for this reason.
    Bad(String),
}

/// A message that is refused for good.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RefusedMessage {
    pub original: BouncedMessage,
    /// The reply with the reason.
    pub reply: Reply,
}

/// The parts of a refused message that its bounce needs.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BouncedMessage {
    /// The envelope as it is in the file, except for a reverse-path as which its owner may not send (promise 3).
    pub envelope: Envelope,
    /// The first part of the content; the next field says whether it is all of it.
    pub content: Vec<u8>,
    pub content_is_whole: bool,
}

impl BouncedMessage {
    fn of(envelope: Envelope) -> Self {
        BouncedMessage { envelope, content: Vec::new(), content_is_whole: true }
    }

    /// Keeps the part of the content that a bounce may quote.
    fn keep(&mut self, octets: &[u8]) {
        let room = MAX_RETURNED_OCTETS - self.content.len();
        self.content.extend_from_slice(&octets[..octets.len().min(room)]);
        self.content_is_whole &= octets.len() <= room;
    }
}

/// Takes the message in `file`.
pub(super) async fn take<B, F>(file: F, session: Session<Committed>, backend: B) -> PickupOutcome
where
    B: Backend<Proof = Committed>,
    F: AsyncRead + Unpin,
{
    let input = FileInput { file, octets: Vec::new(), brought: 0 };
    let mut dialogue = Dialogue { input, session, backend, message: None };
    loop {
        if let Err(verdict) = dialogue.step().await {
            return verdict;
        }
    }
}

struct Dialogue<B: Backend, F> {
    input: FileInput<F>,
    session: Session<B::Proof>,
    backend: B,
    /// The message, after its content has begun.
    message: Option<IncomingMessage<B::Intake>>,
}

/// A message whose content is being read.
struct IncomingMessage<I> {
    original: BouncedMessage,
    destination: Destination<I>,
}

enum Destination<I> {
    /// The message is written to this intake.
    Open(I),
    /// The message is refused with this reply. Its content is still read, since the bounce quotes it.
    Refused(Reply),
}

impl<B, F> Dialogue<B, F>
where
    B: Backend<Proof = Committed>,
    F: AsyncRead + Unpin,
{
    /// Carries out one action of the session core; `Err` is the outcome of the file.
    async fn step(&mut self) -> Result<(), PickupOutcome> {
        let (taken, action) = self.session.advance(&self.input.octets);
        self.input.octets.drain(..taken);
        match action {
            SessionAction::Reply(_, reply) => match reply.severity() {
                Severity::Positive | Severity::Intermediate => Ok(()),
                // The commands that `sendmail` writes before the content are never refused.
                Severity::Transient | Severity::Permanent => Err(PickupOutcome::Bad(reply.to_string())),
            },
            SessionAction::Open(envelope) => self.open(*envelope).await,
            SessionAction::Content(octets) => self.content(&octets).await,
            SessionAction::Commit => Err(self.commit().await),
            SessionAction::Discard { refusal: Some(reply) } => Err(self.given_up(reply)),
            SessionAction::Wait if self.has_no_end_of_envelope() => Err(not_bsmtp()),
            SessionAction::Wait => match self.input.bring().await {
                Ok(0) => Err(PickupOutcome::Bad("it ends within its message".into())),
                Ok(_) => Ok(()),
                Err(error) => Err(unreadable(&error)),
            },
            SessionAction::Skipped => Ok(()),
            // No command that `sendmail` writes leads to one of these actions.
            SessionAction::Discard { refusal: None }
            | SessionAction::Close(..)
            | SessionAction::ProbeRelay(_)
            | SessionAction::StartTls(_)
            | SessionAction::AuthStart { .. }
            | SessionAction::AuthResponse(_) => Err(not_bsmtp()),
        }
    }

    async fn open(&mut self, envelope: Envelope) -> Result<(), PickupOutcome> {
        let Dialogue { session, backend, .. } = self;
        let hello = Hello {
            helo: session.helo(),
            protocol: session.protocol(),
            declared_size: session.declared_size(),
        };
        let mut original = BouncedMessage::of(envelope.clone());
        let opened = backend.open(envelope, hello).await;
        if let Err(MessageRefusal::Sender(_)) = opened {
            original.envelope.reverse_path = ReversePath::Null;
        }
        let destination = opened
            .map(Destination::Open)
            .or_else(|refusal| refused_for_good(refusal).map(Destination::Refused))?;
        self.message = Some(IncomingMessage { original, destination });
        // The content of a refused message is read, too, since a bounce quotes it. Nobody waits for the 354.
        let _ = self.session.opened();
        Ok(())
    }

    async fn content(&mut self, octets: &[u8]) -> Result<(), PickupOutcome> {
        let Some(IncomingMessage { original, destination }) = &mut self.message else {
            return Err(not_bsmtp());
        };
        original.keep(octets);
        match destination {
            Destination::Open(intake) => {
                if let Err(refusal) = self.backend.write(intake, octets).await {
                    *destination = Destination::Refused(refused_for_good(refusal)?);
                }
                Ok(())
            }
            Destination::Refused(_) if original.content_is_whole => Ok(()),
            Destination::Refused(reply) => {
                let reply = reply.clone();
                Err(self.refused(reply))
            }
        }
    }

    /// Returns the outcome of a message that the session core refuses before its end. The rest of its content is not
    /// read.
    fn given_up(&mut self, reply: Reply) -> PickupOutcome {
        if let Some(IncomingMessage { original, .. }) = &mut self.message {
            original.content_is_whole = false;
        }
        self.refused(reply)
    }

    fn refused(&mut self, reply: Reply) -> PickupOutcome {
        match self.message.take() {
            Some(IncomingMessage { original, .. }) => {
                PickupOutcome::Refused(Box::new(RefusedMessage { original, reply }))
            }
            None => not_bsmtp(),
        }
    }

    fn has_no_end_of_envelope(&self) -> bool {
        self.message.is_none() && self.input.brought > bsmtp::MAX_ENVELOPE_OCTETS
    }

    async fn commit(&mut self) -> PickupOutcome {
        match self.input.is_all_but(FAREWELL).await {
            Ok(true) => {}
            // A file must have one message only: the others would be lost with the file, or the first would be taken
            // again.
            Ok(false) => return not_bsmtp(),
            Err(error) => return unreadable(&error),
        }
        let Some(IncomingMessage { original, destination }) = self.message.take() else { return not_bsmtp() };
        let reply = match destination {
            Destination::Refused(reply) => Ok(reply),
            Destination::Open(intake) => match self.backend.commit(intake).await {
                Ok(committed) => return PickupOutcome::Taken(committed.id()),
                Err(refusal) => refused_for_good(refusal),
            },
        };
        reply.map_or_else(
            |later| later,
            |reply| PickupOutcome::Refused(Box::new(RefusedMessage { original, reply })),
        )
    }
}

/// Returns the reply if it refuses the message for good; the error is the outcome of a message that is refused for
/// now.
fn refused_for_good(refusal: MessageRefusal) -> Result<Reply, PickupOutcome> {
    let is_general = matches!(refusal, MessageRefusal::Host(_));
    let reply = refusal.reply();
    if reply.severity() == Severity::Permanent {
        Ok(reply)
    } else {
        Err(PickupOutcome::Later { why: reply.to_string(), is_general })
    }
}

struct FileInput<F> {
    file: F,
    /// The octets that were read and not consumed.
    octets: Vec<u8>,
    /// The number of octets that were read so far.
    brought: usize,
}

impl<F: AsyncRead + Unpin> FileInput<F> {
    /// Reads more octets. Returns their number.
    async fn bring(&mut self) -> io::Result<usize> {
        let before = self.octets.len();
        (&mut self.file).take(CHUNK as u64).read_to_end(&mut self.octets).await?;
        let more = self.octets.len() - before;
        self.brought = self.brought.saturating_add(more);
        Ok(more)
    }

    /// Returns whether exactly the octets `end` are left.
    async fn is_all_but(&mut self, end: &[u8]) -> io::Result<bool> {
        while self.octets.len() <= end.len() && self.bring().await? > 0 {}
        Ok(self.octets == end)
    }
}

fn unreadable(error: &io::Error) -> PickupOutcome {
    PickupOutcome::Later { why: format!("cannot read it: {error}"), is_general: false }
}

fn not_bsmtp() -> PickupOutcome {
    PickupOutcome::Bad("it is not one message in BSMTP".into())
}
