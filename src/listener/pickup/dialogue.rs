//! One dropped file, put to the same session core as any client, and to the same intake.
//!
//! Promises
//! 1. A file is one message, and is taken with all its recipients or not at all.
//! 2. What is no message in BSMTP is told from a message that is refused for good: of that, [`Refused`] has all
//!    that its sender is to be told.
//! 3. No more of a file is read than a message and its envelope may have octets.
//!
//! Not here: what becomes of the file (`pickup.rs`), how its sender is told (`bounce.rs`).

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::envelope::Envelope;
use crate::listener::backend::{Backend, Hello};
use crate::message::dsn::MAX_RETURNED_OCTETS;
use crate::queue_id::QueueId;
use crate::smtp::bsmtp;
use crate::smtp::reply::{Reply, Severity};
use crate::smtp::session::{MessageRefusal, Session, SessionAction};
use crate::spool::Committed;

/// Octets read at a time.
const CHUNK: usize = 64 << 10;

/// What stands behind the message in a file, and nothing else.
const FAREWELL: &[u8] = b"QUIT\r\n";

/// What became of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PickupOutcome {
    /// Its message is on the spool.
    Taken(QueueId),
    /// Not now.
    Later {
        why: String,
        /// Nor any other file, whoever left it.
        is_general: bool,
    },
    /// Never: it is a message that we refuse.
    Refused(Box<Refused>),
    /// Never: it is no message.
    Bad(String),
}

/// A message that will never be taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub original: BouncedMessage,
    /// Why.
    pub reply: Reply,
}

/// What a bounce says of a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BouncedMessage {
    /// As it stands in the file.
    pub envelope: Envelope,
    /// The first part of the content, and whether that is all of it.
    pub content: Vec<u8>,
    pub content_is_whole: bool,
}

impl BouncedMessage {
    fn of(envelope: Envelope) -> Self {
        BouncedMessage { envelope, content: Vec::new(), content_is_whole: true }
    }

    /// Keeps of the content what may be quoted.
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
    let input = Input { file, octets: Vec::new(), brought: 0 };
    let mut dialogue = Dialogue { input, session, backend, message: None };
    loop {
        if let Err(verdict) = dialogue.step().await {
            return verdict;
        }
    }
}

struct Dialogue<B: Backend, F> {
    input: Input<F>,
    session: Session<B::Proof>,
    backend: B,
    /// The message, once its content has begun.
    message: Option<Message<B::Intake>>,
}

/// A message whose content is being read.
struct Message<I> {
    original: BouncedMessage,
    fate: Fate<I>,
}

enum Fate<I> {
    /// It goes into this intake.
    Open(I),
    /// It will never be taken, which this reply says; what is read on is for the bounce.
    Refused(Reply),
}

impl<B, F> Dialogue<B, F>
where
    B: Backend<Proof = Committed>,
    F: AsyncRead + Unpin,
{
    /// One action; `Err` is the end.
    async fn step(&mut self) -> Result<(), PickupOutcome> {
        let (taken, action) = self.session.advance(&self.input.octets);
        self.input.octets.drain(..taken);
        match action {
            SessionAction::Reply(_, reply) => match reply.severity() {
                Severity::Positive | Severity::Intermediate => Ok(()),
                // Nothing that `sendmail` writes is refused before its content.
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
            // `sendmail` writes nothing that comes to one of these.
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
        let opened = backend.open(envelope.clone(), hello).await;
        let fate = opened.map(Fate::Open).or_else(|refusal| refused_for_good(refusal).map(Fate::Refused))?;
        self.message = Some(Message { original: BouncedMessage::of(envelope), fate });
        // Also of one that is refused: a bounce quotes the content. Nobody waits for the 354.
        let _ = self.session.opened();
        Ok(())
    }

    async fn content(&mut self, octets: &[u8]) -> Result<(), PickupOutcome> {
        let Some(Message { original, fate }) = &mut self.message else { return Err(not_bsmtp()) };
        original.keep(octets);
        match fate {
            Fate::Open(intake) => {
                if let Err(refusal) = self.backend.write(intake, octets).await {
                    *fate = Fate::Refused(refused_for_good(refusal)?);
                }
                Ok(())
            }
            Fate::Refused(_) if original.content_is_whole => Ok(()),
            Fate::Refused(reply) => {
                let reply = reply.clone();
                Err(self.refused(reply))
            }
        }
    }

    /// The end of a message that the session core refuses while its content comes, of which the rest is not read.
    fn given_up(&mut self, reply: Reply) -> PickupOutcome {
        if let Some(Message { original, .. }) = &mut self.message {
            original.content_is_whole = false;
        }
        self.refused(reply)
    }

    fn refused(&mut self, reply: Reply) -> PickupOutcome {
        match self.message.take() {
            Some(Message { original, .. }) => PickupOutcome::Refused(Box::new(Refused { original, reply })),
            None => not_bsmtp(),
        }
    }

    fn has_no_end_of_envelope(&self) -> bool {
        self.message.is_none() && self.input.brought > bsmtp::MAX_ENVELOPE_OCTETS
    }

    async fn commit(&mut self) -> PickupOutcome {
        match self.input.is_all_but(FAREWELL).await {
            Ok(true) => {}
            // Taken alone, the first message would be lost to its file, or come again with it.
            Ok(false) => return not_bsmtp(),
            Err(error) => return unreadable(&error),
        }
        let Some(Message { original, fate }) = self.message.take() else { return not_bsmtp() };
        let reply = match fate {
            Fate::Refused(reply) => Ok(reply),
            Fate::Open(intake) => match self.backend.commit(intake).await {
                Ok(committed) => return PickupOutcome::Taken(committed.id()),
                Err(refusal) => refused_for_good(refusal),
            },
        };
        reply
            .map_or_else(|later| later, |reply| PickupOutcome::Refused(Box::new(Refused { original, reply })))
    }
}

/// The reply to a message that will never be taken; `Err`: it is not taken now.
fn refused_for_good(refusal: MessageRefusal) -> Result<Reply, PickupOutcome> {
    let is_general = matches!(refusal, MessageRefusal::Host(_));
    let reply = refusal.reply();
    if reply.severity() == Severity::Permanent {
        Ok(reply)
    } else {
        Err(PickupOutcome::Later { why: reply.to_string(), is_general })
    }
}

struct Input<F> {
    file: F,
    /// Read, and not consumed.
    octets: Vec<u8>,
    /// How many were read so far.
    brought: usize,
}

impl<F: AsyncRead + Unpin> Input<F> {
    /// More octets; how many.
    async fn bring(&mut self) -> io::Result<usize> {
        let before = self.octets.len();
        (&mut self.file).take(CHUNK as u64).read_to_end(&mut self.octets).await?;
        let more = self.octets.len() - before;
        self.brought = self.brought.saturating_add(more);
        Ok(more)
    }

    /// Whether what is left is exactly `end`.
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
