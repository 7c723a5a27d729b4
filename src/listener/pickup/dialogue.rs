//! One dropped file, put to the same session core as any client, and to the same intake.
//!
//! Promises: a file is one message, and is taken with all its recipients or not at all. A reply that refuses
//! anything ends it; nothing was queued then.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::envelope::Envelope;
use crate::listener::backend::{Backend, Hello};
use crate::queue_id::QueueId;
use crate::smtp::reply::{Reply, Severity};
use crate::smtp::session::{Action, Refusal, Session};
use crate::spool::Committed;

/// Octets read at a time.
const CHUNK: usize = 64 << 10;

/// What stands behind the message in a file, and nothing else.
const FAREWELL: &[u8] = b"QUIT\r\n";

/// What became of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Its message is on the spool.
    Taken(QueueId),
    /// Not now.
    Later {
        why: String,
        /// Nor any other file, whoever left it.
        is_general: bool,
    },
    /// Never: it is no message, or one that we refuse.
    Bad(String),
}

/// Takes the message in `file`.
pub(super) async fn take<B, F>(file: F, session: Session<Committed>, backend: B) -> Verdict
where
    B: Backend<Proof = Committed>,
    F: AsyncRead + Unpin,
{
    let mut dialogue = Dialogue { input: Input { file, octets: Vec::new() }, session, backend, intake: None };
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
    intake: Option<B::Intake>,
}

impl<B, F> Dialogue<B, F>
where
    B: Backend<Proof = Committed>,
    F: AsyncRead + Unpin,
{
    /// One action; `Err` is the end.
    async fn step(&mut self) -> Result<(), Verdict> {
        let (taken, action) = self.session.advance(&self.input.octets);
        self.input.octets.drain(..taken);
        match action {
            Action::Reply(reply) => match reply.severity() {
                Severity::Positive | Severity::Intermediate => Ok(()),
                // Of a file that does not change, a recipient too many is one for ever.
                Severity::Transient | Severity::Permanent => Err(Verdict::Bad(reply.to_string())),
            },
            Action::Open(envelope) => self.open(*envelope).await,
            Action::Content(octets) => match &mut self.intake {
                Some(intake) => self.backend.write(intake, &octets).await.map_err(refused),
                None => Err(not_bsmtp()),
            },
            Action::Commit => Err(self.commit().await),
            Action::Discard => Err(Verdict::Bad("the message is too large".into())),
            Action::Wait => match self.input.bring().await {
                Ok(0) => Err(Verdict::Bad("it ends within its message".into())),
                Ok(_) => Ok(()),
                Err(error) => Err(unreadable(&error)),
            },
            Action::Close(_)
            | Action::ProbeRelay(_)
            | Action::StartTls(_)
            | Action::AuthStart { .. }
            | Action::AuthResponse(_) => Err(not_bsmtp()),
        }
    }

    async fn open(&mut self, envelope: Envelope) -> Result<(), Verdict> {
        let Dialogue { session, backend, .. } = self;
        let hello = Hello {
            helo: session.helo(),
            protocol: session.protocol(),
            declared_size: session.declared_size(),
        };
        self.intake = Some(backend.open(envelope, hello).await.map_err(refused)?);
        // The 354, which nobody waits for.
        let _ = self.session.opened();
        Ok(())
    }

    async fn commit(&mut self) -> Verdict {
        match self.input.is_all_but(FAREWELL).await {
            Ok(true) => {}
            // Taken alone, the first message would be lost to its file, or come again with it.
            Ok(false) => return not_bsmtp(),
            Err(error) => return unreadable(&error),
        }
        let Some(intake) = self.intake.take() else { return not_bsmtp() };
        match self.backend.commit(intake).await {
            Ok(committed) => Verdict::Taken(committed.id()),
            Err(refusal) => refused(refusal),
        }
    }
}

struct Input<F> {
    file: F,
    /// Read, and not consumed.
    octets: Vec<u8>,
}

impl<F: AsyncRead + Unpin> Input<F> {
    /// More octets; how many.
    async fn bring(&mut self) -> io::Result<usize> {
        let before = self.octets.len();
        (&mut self.file).take(CHUNK as u64).read_to_end(&mut self.octets).await?;
        Ok(self.octets.len() - before)
    }

    /// Whether what is left is exactly `end`.
    async fn is_all_but(&mut self, end: &[u8]) -> io::Result<bool> {
        while self.octets.len() <= end.len() && self.bring().await? > 0 {}
        Ok(self.octets == end)
    }
}

fn refused(refusal: Refusal) -> Verdict {
    let is_general = matches!(refusal, Refusal::NoRoom | Refusal::LocalTrouble | Refusal::ShuttingDown);
    let reply: Reply = refusal.reply();
    let why = reply.to_string();
    match reply.severity() {
        Severity::Permanent => Verdict::Bad(why),
        _ => Verdict::Later { why, is_general },
    }
}

fn unreadable(error: &io::Error) -> Verdict {
    Verdict::Later { why: format!("cannot read it: {error}"), is_general: false }
}

fn not_bsmtp() -> Verdict {
    Verdict::Bad("it is not one message in BSMTP".into())
}
