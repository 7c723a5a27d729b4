//! The network shell, inward: mail from this host's own programs, over loopback TCP and a unix socket.
//!
//! ```text
//!  bind ─▶ serve ─▶ peer, limits ─▶ drive ◀─▶ session core (smtp/)
//!          accept    who may         │  ▲
//!                                    ▼  │
//!                             wire: octets, time     backend: intake ─▶ fix-up (message/) ─▶ spool
//! ```
//! What `sendmail` left on the disk comes in by `pickup.rs`: the same core, the same intake, no connection.
//!
//! Promises: clients of other hosts get nothing; 250 is said after the spool's sync and not before; no
//! client, however slow, silent, greedy or hostile, costs others more than its share (`limits.rs`), or more
//! memory than its buffers (`wire.rs`), its header section and the content that the spool keeps in memory
//! before it turns to a file. Each file says its part.
//!
//! STARTTLS is offered where `listen.certificate` says so and nowhere else. What is said on loopback stays on
//! this host, and many clients upgrade whenever they can and fail where they do not trust the certificate: an
//! offer that nobody asked for would lose mail.
//!
//! The driver and its buffers know nothing of the spool: the sink uses them with a backend of its own.
//!
//! Not here: SMTP (`smtp/session/`), what is done to content (`message/`), when to start and stop (`daemon.rs`).

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::config::ListenConfig;
use crate::log;
use crate::smtp::reply::Reply;
use crate::smtp::session::{Session, SessionPolicy};

pub mod backend;
pub mod bind;
mod bound;
pub mod certificate;
pub mod drive;
pub mod intake;
pub mod limits;
mod owner;
pub mod peer;
pub mod pickup;
pub mod repeats;
pub mod serve;
pub mod stop;
pub mod tcp;
pub mod unix;
pub mod waiting;
mod wire;

#[cfg(test)]
mod tests;

use backend::BoxStream;
use drive::{ClientConnection, Pace, drive};
use intake::{SessionDesk, SpoolBackend};
use limits::{Limits, Overload, Permit};
use peer::LocalPeer;
use repeats::{RepeatKind, RepeatTally};
use stop::StopSignal;

/// A client that takes no reply for so long is gone, however long it may idle.
const WRITE_LIMIT: Duration = Duration::from_secs(60);

/// A program on the unix socket may pause so long within its message: as a cron job that prints, and then works,
/// does behind a `sendmail` whose input it is. The kernel closes its end when it dies, so this is no time for
/// the dead; it is what an unfinished file in the drop directory has, too, and nobody holds a place for ever.
const PAUSE_WITHIN_MESSAGE: Duration = Duration::from_secs(24 * 60 * 60);

/// A whole message over TCP may take so many times the idle timeout, two hours as a rule, and longer only while its
/// content comes at a fair pace: else an octet now and then holds a place for ever. So many times it is what a session of
/// either kind has without a transaction: else a NOOP now and then does.
const TRANSACTION: u32 = 24;

/// What the configuration says to a session.
struct Terms {
    policy: Arc<SessionPolicy>,
    idle_timeout: Duration,
    desk: SessionDesk,
}

impl Terms {
    fn of(listen: &ListenConfig, desk: SessionDesk) -> Arc<Self> {
        let policy = policy(listen, desk.certificate.is_some());
        Arc::new(Terms { policy: Arc::new(policy), idle_timeout: listen.idle_timeout, desk })
    }

    fn pace(&self, peer: LocalPeer) -> Pace {
        let idle = self.idle_timeout;
        let (content, transaction) = match peer {
            LocalPeer::Uid(_) => (idle.max(PAUSE_WITHIN_MESSAGE), 7 * idle.max(PAUSE_WITHIN_MESSAGE)),
            LocalPeer::Loopback(_) | LocalPeer::LoopbackUser(..) => (idle, TRANSACTION * idle),
        };
        Pace { idle, content, transaction, without_message: TRANSACTION * idle, write: idle.min(WRITE_LIMIT) }
    }
}

fn policy(listen: &ListenConfig, starttls: bool) -> SessionPolicy {
    let plain = SessionPolicy::plain(&listen.hostname, listen.max_message_size, listen.max_recipients);
    SessionPolicy { starttls, ..plain }
}

/// What every session of the daemon is made from.
pub struct Service {
    limits: Arc<Limits>,
    terms: RwLock<Arc<Terms>>,
    tally: Arc<RepeatTally>,
}

impl Service {
    /// Sessions as `listen` has them, into what `desk` names.
    pub fn new(listen: &ListenConfig, desk: SessionDesk) -> Arc<Self> {
        Arc::new(Service {
            limits: Limits::new(listen),
            terms: RwLock::new(Terms::of(listen, desk)),
            tally: RepeatTally::new(),
        })
    }

    /// Sessions that begin from now on are as these say. The sockets listened on do not change.
    pub fn reload(&self, listen: &ListenConfig, desk: SessionDesk) {
        self.limits.change(listen);
        *self.terms.write().unwrap_or_else(PoisonError::into_inner) = Terms::of(listen, desk);
    }

    /// Sessions at present.
    pub fn sessions(&self) -> usize {
        self.limits.sessions()
    }

    /// A place for a session of `peer`'s, unless there are too many.
    fn admit(&self, peer: LocalPeer) -> Result<Permit, Overload> {
        self.limits.admit(peer, Instant::now())
    }

    /// Says in the log that `peer` got no session, and was told `reply` instead.
    fn note_turned_away(&self, peer: LocalPeer, reply: &Reply) {
        let client = peer.to_string();
        if self.tally.tell(&client, RepeatKind::Refused(CONNECT, reply.code())) {
            log::refused(&client, CONNECT, reply);
        }
    }

    /// Has the log say what it was not told yet of what comes again and again; for when all sessions have ended.
    pub fn say_what_was_counted(&self) {
        self.tally.end();
    }

    /// What all sessions give the log.
    fn tally(&self) -> Arc<RepeatTally> {
        Arc::clone(&self.tally)
    }

    /// A place for the pick-up, which brings a message of `peer`'s.
    fn admit_pickup(&self, peer: LocalPeer) -> Permit {
        self.limits.admit_pickup(peer)
    }

    /// One session, from greeting to end.
    fn session(
        &self,
        stream: BoxStream,
        permit: Permit,
        stop: StopSignal,
    ) -> impl Future<Output = ()> + Send + use<> {
        let terms = self.terms();
        let session = Session::new(Arc::clone(&terms.policy));
        let (client, pace) = (permit.peer().to_string(), terms.pace(permit.peer()));
        let backend = SpoolBackend::new(terms.desk.clone(), permit, self.tally());
        let connection = ClientConnection { stream, client, tally: self.tally(), pace, stop };
        async move {
            drive(session, backend, connection).await;
        }
    }

    fn terms(&self) -> Arc<Terms> {
        Arc::clone(&self.terms.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What a refusal of a session answers, as the log has it.
const CONNECT: &str = "CONNECT";
