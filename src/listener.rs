//! The listener: it takes mail from the programs of this host, over loopback TCP and a unix socket.
//!
//! ```text
//!  bind ─▶ serve ─▶ peer, limits ─▶ drive ◀─▶ session core (smtp/)
//!          accept    who may         │  ▲
//!                                    ▼  │
//!                             wire: octets, time     backend: intake ─▶ fix-up (message/) ─▶ spool
//! ```
//! `pickup.rs` takes the files that `sendmail` left on the disk: with the same session core and the same intake, but
//! without a connection.
//!
//! Promises: clients of other hosts get nothing. 250 is sent only after the spool has synced the message. No client,
//! however slow, silent, greedy or hostile, takes more from others than its share (`limits.rs`), or more memory than
//! its buffers (`wire.rs`), its header section, and the content that the spool keeps in memory before it uses a file.
//! The header of each file states its part.
//!
//! AUTH is offered only where users are configured, or where any login is to be taken (`login.rs`).
//!
//! STARTTLS is offered only if `listen.certificate` is set. Traffic on loopback does not leave this host, and many
//! clients use TLS whenever it is offered, and fail if they do not trust the certificate: an offer that nobody asked
//! for would lose mail.
//!
//! The driver and its buffers do not depend on the spool: the sink uses them with a backend of its own.
//!
//! Not here: SMTP (`smtp/session/`), changes to content (`message/`), when to start and stop (`daemon.rs`).

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
pub mod client_limits;
pub mod drive;
pub mod intake;
pub mod limits;
pub mod login;
pub mod owner;
pub mod peer;
pub mod pickup;
mod process;
mod refusals;
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
use client_limits::{ClientLimits, LimitReached, LimitedClient, LimitedSession};
use drive::{CONNECT, ClientConnection, Pace, drive, drive_within_tls};
use intake::{SessionDesk, SpoolBackend};
use limits::{Limits, Overload, Permit};
use login::is_over_tcp;
use peer::LocalPeer;
use process::ProcessLookup;
use repeats::{IntakeCounts, RepeatKind, RepeatTally};
use stop::StopSignal;

/// A client that reads no reply for this long is given up, however long it may be idle.
const WRITE_LIMIT: Duration = Duration::from_secs(60);

/// A program on the unix socket may pause for this long within its message, for example a cron job whose output goes
/// to `sendmail` while it works. The kernel closes the connection when the program dies, so this limit is not needed
/// for dead clients; it only keeps a place from being held for ever. An unfinished file in the drop directory gets
/// the same time.
const PAUSE_WITHIN_MESSAGE: Duration = Duration::from_secs(24 * 60 * 60);

/// A transaction over TCP may take this many times the idle timeout, which is two hours by default, and longer only
/// while its content arrives at a fair pace. Without a transaction, a session of either kind may last as long.
/// Otherwise a client could hold a place for ever with one octet, or one NOOP, from time to time.
const TRANSACTION: u32 = 24;

/// The part of the configuration that a session needs.
struct Terms {
    /// For clients of TCP.
    over_tcp: Arc<SessionPolicy>,
    /// For clients of the unix socket.
    over_unix: Arc<SessionPolicy>,
    idle_timeout: Duration,
    desk: SessionDesk,
}

impl Terms {
    fn of(listen: &ListenConfig, desk: SessionDesk) -> Arc<Self> {
        let policy = |over_tcp| Arc::new(policy(listen, desk.certificate.is_some(), over_tcp));
        let (over_tcp, over_unix) = (policy(true), policy(false));
        Arc::new(Terms { over_tcp, over_unix, idle_timeout: listen.idle_timeout, desk })
    }

    fn policy(&self, peer: LocalPeer) -> Arc<SessionPolicy> {
        Arc::clone(if is_over_tcp(peer) { &self.over_tcp } else { &self.over_unix })
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

fn policy(listen: &ListenConfig, starttls: bool, over_tcp: bool) -> SessionPolicy {
    let plain = SessionPolicy::plain(&listen.hostname, listen.max_message_size, listen.max_recipients);
    SessionPolicy { starttls, auth: login::offer(listen, over_tcp), ..plain }
}

/// The way in which a session begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionOpening {
    /// With our greeting; TLS may come by STARTTLS.
    Greeting,
    /// With a TLS handshake, and then our greeting (implicit TLS, as on port 465; RFC 8314 3.3).
    Handshake,
}

/// The source of all sessions of the daemon: the limits, the configuration in force, and the tally for the log.
pub struct Service {
    limits: Arc<Limits>,
    client_limits: Arc<ClientLimits>,
    terms: RwLock<Arc<Terms>>,
    tally: Arc<RepeatTally>,
}

impl Service {
    /// Returns a service with the limits and the policy of `listen`, whose sessions use `desk`.
    pub fn new(listen: &ListenConfig, desk: SessionDesk) -> Arc<Self> {
        Arc::new(Service {
            limits: Limits::new(listen),
            client_limits: {
                let spool = desk.spool.clone();
                let origin = desk.rules.origin().to_owned();
                let (noted, clock) = (move |name: &str| spool.noted_rates(name), desk.clock);
                ClientLimits::new(&listen.limits, &origin, noted, move || clock().timestamp())
            },
            terms: RwLock::new(Terms::of(listen, desk)),
            tally: RepeatTally::new(),
        })
    }

    /// Puts another configuration in force for sessions that begin from now on. The listening sockets do not change.
    pub fn reload(&self, listen: &ListenConfig, desk: SessionDesk) {
        self.limits.change(listen);
        self.client_limits.change(&listen.limits, desk.rules.origin(), (desk.clock)().timestamp());
        *self.terms.write().unwrap_or_else(PoisonError::into_inner) = Terms::of(listen, desk);
    }

    /// Returns the number of sessions at present.
    pub fn sessions(&self) -> usize {
        self.limits.sessions()
    }

    /// Reserves a place for a session of `peer`; an error if there are too many.
    fn admit(&self, peer: LocalPeer) -> Result<Permit, Overload> {
        self.limits.admit(peer, Instant::now())
    }

    /// Counts a session of this user by the limits of certain clients; an error if it is one too many.
    async fn enter(&self, uid: Option<u32>) -> Result<LimitedSession, LimitReached> {
        let (limits, users) = (&self.client_limits, self.terms().desk.users.clone());
        let login = match uid.filter(|_| limits.ask_for_names(true)) {
            Some(uid) => users.named(uid).await.map(|user| user.login),
            None => None,
        };
        let groups = match uid.filter(|_| limits.ask_for_groups(true)) {
            Some(uid) => users.groups_named(uid).await.unwrap_or_default(),
            None => Vec::new(),
        };
        limits.enter(LimitedClient { uid, login: login.as_deref(), groups: &groups, command: None })
    }

    /// Logs that `peer` was refused a session, with the reply that it got.
    fn note_turned_away(&self, peer: LocalPeer, reply: &Reply) {
        let client = peer.to_string();
        self.tally.count_refusal(CONNECT, reply.code());
        if self.tally.tell(&client, RepeatKind::Refused(CONNECT, reply.code())) {
            log::refused(&client, CONNECT, reply);
        }
    }

    /// Returns the limits of certain clients.
    pub fn client_limits(&self) -> Arc<ClientLimits> {
        Arc::clone(&self.client_limits)
    }

    /// Notes on the spool how much of the limits is used, if that has changed. It is called each second, and at the end.
    async fn note_limits(&self) {
        let terms = self.terms();
        let Some(notes) = self.client_limits.news(|| (terms.desk.clock)().timestamp()) else { return };
        let spool = terms.desk.spool.clone();
        let write = move || {
            notes.iter().for_each(|(name, note)| spool.note_rates(name, note));
            spool.write_rates()
        };
        if let Ok(Err(error)) = tokio::task::spawn_blocking(write).await {
            log::done_without("remembering how much of each limit is used", &error);
        }
    }

    /// Logs the numbers of repeated events that were counted and not logged yet. It is called when all sessions have
    /// ended.
    pub fn say_what_was_counted(&self) {
        self.tally.end();
    }

    /// Returns how often each verb was refused with each code since the start.
    pub fn refusals(&self) -> Vec<(&'static str, u16, u64)> {
        self.tally.refusals()
    }

    /// Returns what clients were given since the start.
    pub fn counts(&self) -> IntakeCounts {
        self.tally.counts()
    }

    /// Returns the tally of repeated events, which all sessions share.
    fn tally(&self) -> Arc<RepeatTally> {
        Arc::clone(&self.tally)
    }

    /// Reserves a place for the pick-up, which takes a message of `peer`.
    fn admit_pickup(&self, peer: LocalPeer) -> Permit {
        self.limits.admit_pickup(peer)
    }

    /// Runs one session, from its opening to its end. The process of a client on the unix socket is being looked up.
    fn session(
        &self,
        stream: BoxStream,
        permit: Permit,
        opening: SessionOpening,
        process: Option<ProcessLookup>,
        stop: StopSignal,
    ) -> impl Future<Output = ()> + Send + use<> {
        let terms = self.terms();
        let session = Session::new(terms.policy(permit.peer()));
        let (client, pace) = (permit.peer().to_string(), terms.pace(permit.peer()));
        let backend = SpoolBackend::new(terms.desk.clone(), permit, self.tally(), self.client_limits());
        let backend = backend.of_connection(process, stop.clone());
        let connection = ClientConnection { stream, client, tally: self.tally(), pace, stop };
        async move {
            match opening {
                SessionOpening::Greeting => drive(session, backend, connection).await,
                SessionOpening::Handshake => drive_within_tls(session, backend, connection).await,
            };
        }
    }

    fn terms(&self) -> Arc<Terms> {
        Arc::clone(&self.terms.read().unwrap_or_else(PoisonError::into_inner))
    }
}
