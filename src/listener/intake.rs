//! The intake: the way of a message from the session to the spool.
//!
//! Promises:
//! 1. The proof is returned only after the message is on stable storage, with its Received field and the other fields
//!    that were missing. Content is streamed, so its size does not matter for memory.
//! 2. Every address of a spooled envelope has a domain. Envelope and header are rewritten together when the header is
//!    complete, and the original addresses are kept.
//! 3. An accepted message gets one log line with its queue id, and a second one if it has lines that are too long. A
//!    message that the spool did not take gets one line, too, with the cause, which the client does not learn. A line
//!    is written to the log before the reply is sent: who has got a 250 finds the message in the log.
//! 4. A header that takes long to rewrite does not delay other sessions.
//!
//! Fails: with a [`MessageRefusal`]; then nothing was queued.
//! Not here: changes to a message (`message/`), the reply to a refusal (`refusals.rs`), storage (`spool/`), logins (`login.rs`).

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use jiff::{Timestamp, Zoned};
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::envelope::{Envelope, ReversePath};
use crate::listener::backend::{AuthStep, Backend, BoxStream, CoveredStream, Hello};
use crate::listener::certificate::{Certificate, SecuredClient};
use crate::listener::client_limits::{
    Charge, ClientLimits, LimitReached, LimitedClient, LimitedMessage, QueueRoom,
};
use crate::listener::limits::{HeaderRoom, Permit};
use crate::listener::login::{LoginDesk, SessionLogin};
use crate::listener::process::ProcessLookup;
use crate::listener::refusals::{
    TOO_MANY_HEADERS, groups_unknown, intake_paused, not_committed, too_many_headers, too_many_messages,
};
use crate::listener::repeats::{RepeatKind, RepeatTally, SessionLines};
use crate::listener::stop::StopSignal;
use crate::log::{self, AcceptedLine};
use crate::message::dsn::Overseers;
use crate::message::fixup::{Fixed, Fixup, FixupTask, message_id_left};
use crate::message::received::Received;
use crate::message::rewrite::{LocalUser, MessageFacts, Rules};
use crate::queue_id::QueueId;
use crate::sasl_server::ExporterOctets;
use crate::smtp::reply::Reply;
use crate::smtp::session::MessageRefusal;
use crate::spool::{CommitError, Committed, Draft, Spool};
use crate::status::Status;
use crate::users::Users;

/// The capacity, in octets, that the buffer between fix-up and draft keeps from one piece of content to the next.
const PASSING: usize = 64 << 10;

/// The octets that the fix-up adds to a message, as a rule no more.
const ADDED_OCTETS: usize = 512;

/// Asks the queue to probe its relay. The result is the text for the client if another probe was made just before.
pub type Probe = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Option<String>> + Send>> + Send + Sync>;

/// The state that the backends of all sessions share.
#[derive(Clone)]
pub struct SessionDesk {
    /// The spool that stores the messages.
    pub spool: Spool,
    /// The rules for rewriting addresses and header fields.
    pub rules: Arc<Rules>,
    /// The users of this host. Their names are used in the log, and in a From field that is missing.
    pub users: Users,
    /// The name of this host for Received fields and generated Message-IDs.
    pub hostname: Arc<str>,
    /// True if the Received field names the user of a TCP client.
    pub uid_in_received: bool,
    /// The addresses that are told if mail was accepted and cannot be sent, besides the reverse-path.
    pub overseers: Overseers,
    /// The function that is called for each ETRN.
    pub probe: Probe,
    /// The current time, with the time zone of the host.
    pub clock: fn() -> Zoned,
    /// The certificate for STARTTLS, which is not offered without one.
    pub certificate: Option<Certificate>,
    /// Who may log in.
    pub logins: Arc<LoginDesk>,
}

/// The backend of the daemon for one session: it stores messages in the spool.
pub struct SpoolBackend {
    desk: SessionDesk,
    /// The log lines of this session about messages that were not queued, which may repeat.
    lines: SessionLines,
    /// The place of the session, which is held until its end.
    permit: Permit,
    /// The limits of certain clients.
    limits: Arc<ClientLimits>,
    /// The names of the user's groups, once a limit has asked for them.
    groups: Option<Vec<String>>,
    /// The user at the other end. It is looked up for each message, since only messages need the name.
    user: Option<LocalUser>,
    /// The process at the other end of the unix socket.
    process: Option<ProcessLookup>,
    /// The TLS session, after the handshake.
    tls: Option<TlsSession>,
    /// Who has logged in.
    login: SessionLogin,
}

/// The facts about a TLS session.
pub(super) struct TlsSession {
    /// The version, `TLSv1.3` or `TLSv1.2`.
    version: &'static str,
    /// The octets to which a login can be bound.
    exporter: Option<ExporterOctets>,
}

impl SpoolBackend {
    /// Returns the backend for the session that `permit` admitted.
    pub fn new(
        desk: SessionDesk,
        permit: Permit,
        tally: Arc<RepeatTally>,
        limits: Arc<ClientLimits>,
    ) -> Self {
        let lines = SessionLines::new(permit.peer().to_string(), tally);
        let login = SessionLogin::new(Arc::clone(&desk.logins), permit.peer(), desk.rules.origin());
        SpoolBackend {
            desk,
            lines,
            permit,
            limits,
            groups: None,
            user: None,
            process: None,
            tls: None,
            login,
        }
    }

    /// Returns the same backend for a connection. The process of a client on the unix socket is being looked up; no login waits
    /// any more when `stop` is given.
    pub(super) fn of_connection(mut self, process: Option<ProcessLookup>, stop: StopSignal) -> Self {
        self.login.end_with(stop);
        SpoolBackend { process, ..self }
    }

    /// Returns the refusal if a message of this size cannot be accepted now, whatever its content.
    fn check(&mut self, declared_size: u64) -> Result<(), MessageRefusal> {
        if !self.permit.take_message(Instant::now()) {
            return Err(too_many_messages());
        }
        if let Some(why) = self.pause() {
            self.note_not_taken(&why);
            return Err(intake_paused(&why));
        }
        // The content may become larger than declared; the spool checks the room again while it arrives.
        self.desk.spool.check_room(declared_size).map_err(|error| {
            self.note_not_taken(&error.to_string());
            not_committed(error)
        })
    }

    /// Returns why no mail is taken now, if an operator has paused the intake.
    fn pause(&self) -> Option<String> {
        let orders = self.desk.spool.standing_orders();
        let pause = orders.intake_pause(Timestamp::now())?;
        let reason = pause.terms.reason.as_ref().map_or(String::new(), |reason| format!(": {reason}"));
        Some(format!("an operator has paused the intake of mail, try again later{reason}"))
    }

    /// Counts a message by the limits of certain clients.
    async fn charge(
        &mut self,
        envelope: &Envelope,
        declared_size: u64,
        now: &Zoned,
    ) -> Result<Charge, MessageRefusal> {
        let uid = self.permit.peer().user();
        if let Some(uid) = uid.filter(|_| self.groups.is_none() && self.limits.ask_for_groups(false)) {
            let Some(groups) = self.desk.users.groups_named(uid).await else {
                self.note_not_taken("the groups of its user are not known now");
                return Err(groups_unknown());
            };
            self.groups = Some(groups);
        }
        let client = LimitedClient {
            uid,
            login: self.user.as_ref().map(|user| user.login.as_str()),
            groups: self.groups.as_deref().unwrap_or_default(),
            command: self.process.as_ref().and_then(|process| process.process().command.as_deref()),
        };
        let reverse_path = match &envelope.reverse_path {
            ReversePath::Null => ReversePath::Null,
            ReversePath::Mailbox(mailbox) => {
                ReversePath::Mailbox(mailbox.completed_with(self.desk.rules.origin()))
            }
        };
        let recipients = envelope.recipients.len() as u64;
        let message = LimitedMessage { reverse_path: &reverse_path, recipients, octets: declared_size };
        let spool = &self.desk.spool;
        let of_user = uid.map_or(0, |uid| spool.messages_of(uid));
        let queue = QueueRoom { of_user, left: spool.places_left() };
        let charged = self.limits.charge(client, message, queue, now.timestamp());
        charged.map_err(|reached| self.limited(&reached))
    }

    /// Logs that a limit is reached. Returns the refusal for the client.
    fn limited(&mut self, reached: &LimitReached) -> MessageRefusal {
        if self.lines.tell(RepeatKind::NotQueued(reached.in_log())) {
            log::not_taken(self.lines.client(), reached);
        }
        reached.refusal()
    }

    fn note_not_taken(&mut self, why: &str) {
        if self.lines.tell(RepeatKind::NotQueued(why.to_owned())) {
            log::not_taken(self.lines.client(), &why);
        }
    }

    fn fixup(&self, draft: &Draft, envelope: Envelope, hello: Hello<'_>, now: Zoned) -> Fixup {
        // The recipient is named as the submitter wrote it, so that aliases and tables do not become public.
        let only_recipient = match &envelope.recipients[..] {
            [only] => Some(only.address.completed_with(self.desk.rules.origin())),
            _ => None,
        };
        let received = Received {
            helo: hello.helo,
            origin: self.permit.peer().origin(self.desk.uid_in_received),
            hostname: &self.desk.hostname,
            protocol: hello.protocol,
            tls: self.tls.as_ref().map(|tls| tls.version),
            queue_id: draft.id(),
            only_recipient: only_recipient.as_ref(),
            now: &now,
        };
        let facts = MessageFacts {
            received: received.field(),
            hostname: self.desk.hostname.to_string(),
            message_id_left: message_id_left(draft.id(), &now),
            now,
            // Over TCP the program and not its user is the sender, so the user's name is not used for From.
            user: self.permit.peer().uid().and(self.user.clone()),
        };
        let fixup = Fixup::new(FixupTask { envelope, facts, rules: Arc::clone(&self.desk.rules) });
        match self.login.logged_in().and_then(|login| login.senders.clone()) {
            Some(senders) => fixup.by(senders),
            None => fixup,
        }
    }

    /// Logs why the spool did not take a message. Returns the refusal for the client.
    fn not_queued(&mut self, id: QueueId, error: CommitError) -> MessageRefusal {
        self.note_not_queued(id, error.to_string());
        not_committed(error)
    }

    fn note_not_queued(&mut self, id: QueueId, why: String) {
        if self.lines.tell(RepeatKind::NotQueued(why.clone())) {
            log::not_queued(id, &why);
        }
    }

    fn log_accepted(&self, committed: &Committed, size: u64, accepted: &Summary) {
        log::accepted(&AcceptedLine {
            id: committed.id(),
            client: self.lines.client(),
            user: self.user.as_ref().map(|user| user.login.as_str()),
            login: self.login.logged_in().map(|login| (login.user.as_str(), login.mechanism.as_str())),
            from: &accepted.from,
            size,
            nrcpt: accepted.nrcpt,
            protocol: accepted.protocol,
            helo: accepted.helo.as_deref(),
            message_id: accepted.message_id.as_deref(),
            process: self.process.as_ref().map(ProcessLookup::process),
        });
    }
}

/// Logs that a message came in on hold, if it did.
fn log_on_hold(committed: &Committed) {
    if let Some(by) = committed.on_hold() {
        log::came_on_hold(committed.id(), by);
    }
}

/// The parts of the log line about an accepted message that are kept while the spool commits it.
struct Summary {
    from: ReversePath,
    nrcpt: usize,
    protocol: &'static str,
    helo: Option<String>,
    message_id: Option<String>,
}

/// A message whose content is still arriving.
pub struct SpoolIntake {
    draft: Draft,
    fixup: Fixup,
    protocol: &'static str,
    helo: Option<String>,
    /// The memory that is reserved for its header section.
    room: HeaderRoom,
    /// What it takes of the limits of certain clients.
    charge: Charge,
    /// The number of octets that have arrived.
    octets: u64,
    /// A buffer for content between fix-up and draft, which is reused.
    passing: Vec<u8>,
}

impl Backend for SpoolBackend {
    type Proof = Committed;
    type Intake = SpoolIntake;

    fn intake_pause(&self) -> Option<String> {
        self.pause()
    }

    async fn open(&mut self, envelope: Envelope, hello: Hello<'_>) -> Result<SpoolIntake, MessageRefusal> {
        self.check(hello.declared_size)?;
        self.user = match (self.permit.peer().uid(), self.permit.peer().user()) {
            (Some(uid), _) => self.desk.users.named(uid).await,
            (None, Some(uid)) if self.limits.ask_for_names(false) => self.desk.users.named(uid).await,
            // Over TCP the name is else only used in the log, so no message waits for it.
            (None, Some(uid)) => self.desk.users.named_soon(uid).await,
            (None, None) => None,
        };
        if let Some(process) = &mut self.process {
            process.settle().await;
        }
        let now = (self.desk.clock)();
        let charge = self.charge(&envelope, hello.declared_size, &now).await?;
        let handed_in_from = self.desk.rules.completed(&envelope.reverse_path);
        let draft = self.desk.spool.draft(now.timestamp()).of(self.permit.peer().submitter());
        let draft = draft.handed_in_from(handed_in_from);
        let fixup = self.fixup(&draft, envelope, hello, now);
        let fixup = charge.senders().iter().fold(fixup, |fixup, senders| fixup.by(Arc::clone(senders)));
        let (protocol, helo) = (hello.protocol, hello.helo.map(str::to_owned));
        let (room, passing) = (self.permit.header(), Vec::new());
        Ok(SpoolIntake { draft, fixup, protocol, helo, room, charge, octets: 0, passing })
    }

    async fn write(&mut self, intake: &mut SpoolIntake, octets: &[u8]) -> Result<(), MessageRefusal> {
        let SpoolIntake { draft, fixup, room, passing, charge, octets: arrived, .. } = intake;
        *arrived += octets.len() as u64;
        let now = (self.desk.clock)().timestamp();
        charge.grow(*arrived, now).map_err(|reached| self.limited(&reached))?;
        passing.clear();
        // The memory that a large header needed is freed.
        passing.shrink_to(PASSING);
        if !room.hold(fixup.header_octets() + octets.len()) {
            self.note_not_queued(draft.id(), TOO_MANY_HEADERS.into());
            return Err(too_many_headers());
        }
        passing.reserve(octets.len() + ADDED_OCTETS);
        apart(fixup.may_take_long(octets.len()), || fixup.push(octets, passing))?;
        draft.write(passing).await.map_err(|error| self.not_queued(draft.id(), error))
    }

    async fn commit(&mut self, intake: SpoolIntake) -> Result<Committed, MessageRefusal> {
        let SpoolIntake { mut draft, fixup, protocol, helo, mut passing, charge, octets, room: _room } =
            intake;
        passing.clear();
        let fixed = apart(fixup.may_take_long(0), || fixup.finish(&mut passing))?;
        let Fixed { envelope, message_id, long_lines, .. } = fixed;
        draft.write(&passing).await.map_err(|error| self.not_queued(draft.id(), error))?;
        if let Some(why) = charge.on_hold() {
            draft.hold(why);
        }
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
        charge.keep(octets);
        self.lines.count_accepted();
        self.log_accepted(&committed, size, &summary);
        log_on_hold(&committed);
        if let Some(done) = long_lines {
            log::long_lines(id, &done);
        }
        Ok(committed)
    }

    async fn probe_relay(&mut self) -> Option<Reply> {
        if self.desk.spool.standing_orders().delivery_pause(Timestamp::now()).is_some() {
            let paused = "not started: an operator has paused delivery; the queue waits";
            return Some(Reply::new(250, Status::success(0, 0), paused));
        }
        let told = (self.desk.probe)().await?;
        Some(Reply::new(250, Status::success(0, 0), told))
    }

    async fn starttls(&mut self, plain: BoxStream) -> io::Result<CoveredStream> {
        let certificate = self.desk.certificate.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        let SecuredClient { stream, version, exporter } = certificate.accept(plain).await?;
        let can_bind = exporter.is_some();
        self.tls = Some(TlsSession { version, exporter });
        self.login.forget();
        Ok(CoveredStream { stream, can_bind })
    }

    async fn auth_start(&mut self, mechanism: &str, initial_response: Option<&[u8]>) -> AuthStep {
        let exporter = self.tls.as_ref().and_then(|tls| tls.exporter.clone());
        self.login.start(mechanism, initial_response, exporter, &mut self.lines).await
    }

    async fn auth_response(&mut self, response: &[u8]) -> AuthStep {
        self.login.respond(response, &mut self.lines).await
    }
}

/// Runs `work`. If it may take long, the runtime moves other tasks away from this thread before; a runtime with one
/// thread cannot.
fn apart<T>(may_take_long: bool, work: impl FnOnce() -> T) -> T {
    let has_others = Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread;
    if may_take_long && has_others { tokio::task::block_in_place(work) } else { work() }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    /// A header that took seconds to rewrite stopped every session on its thread.
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
