//! Intake: from the session to the spool.
//!
//! Promises:
//! 1. A message is on stable storage, with its Received field and whatever else it lacked, before its
//!    proof is returned; content streams, so its size is not in memory.
//! 2. Every address of a spooled envelope has a domain: envelope and header are rewritten together when
//!    the header is whole, and what the submitter wrote is kept beside it.
//! 3. One accepted message is one log line, with its queue id, and one more if lines of it are too long; so is
//!    one that the spool did not take, with the cause that the client is not told.
//! 4. A header that takes long to rewrite holds up no other session.
//!
//! Fails: a [`MessageRefusal`]; then nothing was queued.
//! Not here: what is done to a message (`message/`), storage (`spool/`), AUTH for local clients.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use jiff::Zoned;
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::envelope::{Address, Envelope, ReversePath};
use crate::listener::backend::{Backend, BoxStream, Hello};
use crate::listener::certificate::Certificate;
use crate::listener::limits::{HeaderRoom, Permit};
use crate::listener::repeats::{RepeatKind, RepeatTally, SessionLines};
use crate::log::{self, Accepted};
use crate::message::fixup::{Fixed, Fixup, FixupTask, message_id_left};
use crate::message::received::Received;
use crate::message::rewrite::{LocalUser, MessageFacts, Rules};
use crate::queue_id::QueueId;
use crate::smtp::reply::Reply;
use crate::smtp::session::{HostTrouble, MessageRefusal};
use crate::spool::{CommitError, Committed, Draft, Spool};
use crate::status::Status;
use crate::users::Users;

/// Octets of content on its way to the draft for which the room is kept.
const PASSING: usize = 64 << 10;

/// What the client is told where there is room, but not for this message.
const TOO_MANY_HEADERS: &str = "too many large header sections at once: try again later";
const OVER_SHARE: &str =
    "your unfinished messages fill a quarter of the room for mail: finish them, or try again later";
const GAVE_WAY: &str = "nothing came of this message for a while, and its room was needed: send it again";

/// Asks the queue to probe its relay; gives what the client is told where that has just been done.
pub type Probe = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Option<String>> + Send>> + Send + Sync>;

/// What the backends of all sessions share.
#[derive(Clone)]
pub struct SessionDesk {
    /// Where messages go.
    pub spool: Spool,
    /// What becomes of addresses and header fields.
    pub rules: Arc<Rules>,
    /// The users of this host, whose names go into the log and into a From that is missing.
    pub users: Users,
    /// Our name in Received fields and made-up Message-IDs.
    pub hostname: Arc<str>,
    /// Who hears of mail from `<>` that was taken in and cannot be sent.
    pub postmaster: Option<Address>,
    /// Called for each ETRN.
    pub probe: Probe,
    /// The time of day, with the host's offset.
    pub clock: fn() -> Zoned,
    /// What STARTTLS shows; without one it is not offered.
    pub certificate: Option<Certificate>,
}

/// The daemon's backend: one session's way to the spool.
pub struct SpoolBackend {
    desk: SessionDesk,
    /// What it gives the log of messages that were not taken.
    lines: SessionLines,
    /// The session's place, held to its end.
    permit: Permit,
    /// Who is at the other end, looked up for each message: nobody else's name is needed.
    user: Option<LocalUser>,
    /// The version of TLS, once it is up.
    tls: Option<&'static str>,
}

impl SpoolBackend {
    /// The backend of the session that `permit` admitted.
    pub fn new(desk: SessionDesk, permit: Permit, tally: Arc<RepeatTally>) -> Self {
        let lines = SessionLines::new(permit.peer().to_string(), tally);
        SpoolBackend { desk, lines, permit, user: None, tls: None }
    }

    /// The proper refusal if the message cannot be taken whatever its content.
    fn check(&mut self, declared_size: u64) -> Result<(), MessageRefusal> {
        if !self.permit.take_message(Instant::now()) {
            let text = "too many messages from you, try again later";
            return Err(MessageRefusal::Client(Reply::new(451, Status::transient(7, 1), text)));
        }
        // What comes beyond what was declared is measured as it comes.
        self.desk.spool.check_room(declared_size).map_err(|error| {
            if self.lines.tell(RepeatKind::NotQueued(error.to_string())) {
                log::not_taken(self.lines.client(), &error);
            }
            refusal_of(error)
        })
    }

    fn fixup(&self, draft: &Draft, envelope: Envelope, hello: Hello<'_>, now: Zoned) -> Fixup {
        // Named as the submitter wrote it: aliases and tables are nobody else's business.
        let only_recipient = match &envelope.recipients[..] {
            [only] => Some(only.address.completed_with(self.desk.rules.origin())),
            _ => None,
        };
        let received = Received {
            helo: hello.helo,
            origin: self.permit.peer().origin(),
            hostname: &self.desk.hostname,
            protocol: hello.protocol,
            tls: self.tls,
            queue_id: draft.id(),
            only_recipient: only_recipient.as_ref(),
            now: &now,
        };
        let facts = MessageFacts {
            received: received.field(),
            hostname: self.desk.hostname.to_string(),
            message_id_left: message_id_left(draft.id(), &now),
            now,
            // Over TCP a program speaks for itself, as it always has.
            user: self.permit.peer().uid().and(self.user.clone()),
        };
        Fixup::new(FixupTask { envelope, facts, rules: Arc::clone(&self.desk.rules) })
    }

    /// Has the log say why a message is not taken, and the client what to do.
    fn not_queued(&mut self, id: QueueId, error: CommitError) -> MessageRefusal {
        self.note_not_queued(id, error.to_string());
        refusal_of(error)
    }

    fn note_not_queued(&mut self, id: QueueId, why: String) {
        if self.lines.tell(RepeatKind::NotQueued(why.clone())) {
            log::not_queued(id, &why);
        }
    }

    fn log_accepted(&self, committed: &Committed, size: u64, accepted: &Summary) {
        log::accepted(&Accepted {
            id: committed.id(),
            client: self.lines.client(),
            user: self.user.as_ref().map(|user| user.login.as_str()),
            from: &accepted.from,
            size,
            nrcpt: accepted.nrcpt,
            protocol: accepted.protocol,
            helo: accepted.helo.as_deref(),
            message_id: accepted.message_id.as_deref(),
        });
    }
}

/// What the log line of an accepted message says, once its envelope is with the spool.
struct Summary {
    from: ReversePath,
    nrcpt: usize,
    protocol: &'static str,
    helo: Option<String>,
    message_id: Option<String>,
}

/// A message while its content comes in.
pub struct SpoolIntake {
    draft: Draft,
    fixup: Fixup,
    protocol: &'static str,
    helo: Option<String>,
    /// For the header section, while it is in memory.
    room: HeaderRoom,
    /// Content on its way from the fix-up to the draft; kept for its room.
    passing: Vec<u8>,
}

impl Backend for SpoolBackend {
    type Proof = Committed;
    type Intake = SpoolIntake;

    async fn open(&mut self, envelope: Envelope, hello: Hello<'_>) -> Result<SpoolIntake, MessageRefusal> {
        self.check(hello.declared_size)?;
        self.user = match (self.permit.peer().uid(), self.permit.peer().user()) {
            (Some(uid), _) => self.desk.users.named(uid).await,
            // Over TCP it is a word in the log, which no message waits for.
            (None, Some(uid)) => self.desk.users.named_soon(uid).await,
            (None, None) => None,
        };
        let now = (self.desk.clock)();
        let draft = self.desk.spool.draft(now.timestamp()).of(self.permit.peer().submitter());
        let fixup = self.fixup(&draft, envelope, hello, now);
        let (protocol, helo) = (hello.protocol, hello.helo.map(str::to_owned));
        Ok(SpoolIntake { draft, fixup, protocol, helo, room: self.permit.header(), passing: Vec::new() })
    }

    async fn write(&mut self, intake: &mut SpoolIntake, octets: &[u8]) -> Result<(), MessageRefusal> {
        let SpoolIntake { draft, fixup, room, passing, .. } = intake;
        passing.clear();
        // What a large header needed is given back.
        passing.shrink_to(PASSING);
        if !room.hold(fixup.header_octets() + octets.len()) {
            self.note_not_queued(draft.id(), TOO_MANY_HEADERS.into());
            return Err(not_now(TOO_MANY_HEADERS));
        }
        apart(fixup.may_take_long(octets.len()), || fixup.push(octets, passing))?;
        draft.write(passing).await.map_err(|error| self.not_queued(draft.id(), error))
    }

    async fn commit(&mut self, intake: SpoolIntake) -> Result<Committed, MessageRefusal> {
        let SpoolIntake { mut draft, fixup, protocol, helo, mut passing, room: _room } = intake;
        passing.clear();
        let fixed = apart(fixup.may_take_long(0), || fixup.finish(&mut passing))?;
        let Fixed { envelope, message_id, long_lines, .. } = fixed;
        draft.write(&passing).await.map_err(|error| self.not_queued(draft.id(), error))?;
        let (id, size) = (draft.id(), draft.len());
        let from = envelope.reverse_path.clone();
        let summary = Summary { from, nrcpt: envelope.recipients.len(), protocol, helo, message_id };
        let now = (self.desk.clock)().timestamp();
        let submitter = self.permit.peer().submitter();
        let committed = self
            .desk
            .spool
            .commit(draft, envelope, submitter, now)
            .await
            .map_err(|error| self.not_queued(id, error))?;
        self.log_accepted(&committed, size, &summary);
        if let Some(done) = long_lines {
            log::long_lines(id, &done);
        }
        Ok(committed)
    }

    async fn probe_relay(&mut self) -> Option<Reply> {
        let told = (self.desk.probe)().await?;
        Some(Reply::new(250, Status::success(0, 0), told))
    }

    async fn starttls(&mut self, plain: BoxStream) -> io::Result<BoxStream> {
        let certificate = self.desk.certificate.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        let (secured, version) = certificate.accept(plain).await?;
        self.tls = Some(version);
        Ok(secured)
    }
}

/// Does `work`; if it may take long, on a thread that other sessions do not need. A runtime with one thread
/// has no other.
fn apart<T>(may_take_long: bool, work: impl FnOnce() -> T) -> T {
    let has_others = Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread;
    if may_take_long && has_others { tokio::task::block_in_place(work) } else { work() }
}

/// What the client is told when the spool does not take a message: what to do, not why.
pub(super) fn refusal_of(error: CommitError) -> MessageRefusal {
    match error {
        CommitError::Full => HostTrouble::NoRoom.into(),
        CommitError::OverShare => not_now(OVER_SHARE),
        CommitError::GaveWay => not_now(GAVE_WAY),
        CommitError::Trouble | CommitError::Astray => HostTrouble::Failing.into(),
        CommitError::Closed => HostTrouble::ShuttingDown.into(),
    }
}

/// A refusal of this message alone, for want of room that will be free again.
fn not_now(text: &str) -> MessageRefusal {
    MessageRefusal::Client(Reply::new(452, Status::transient(3, 1), text))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    /// A header that took seconds to rewrite stopped every session of its thread.
    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn what_takes_long_leaves_its_thread_to_others() {
        let waiting = tokio::spawn(async {
            let (said, hears) = channel();
            tokio::spawn(async move { said.send("done").unwrap() });
            apart(true, || hears.recv_timeout(Duration::from_secs(60)))
        });
        assert_eq!(waiting.await.unwrap(), Ok("done"));
    }

    #[tokio::test]
    async fn a_runtime_of_one_thread_does_it_there() {
        assert_eq!(apart(true, || 1), 1);
    }
}
