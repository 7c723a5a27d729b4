//! Logins of clients: who may log in, and one login of a session.
//!
//! ```text
//!  SessionLogin ─▶ UsersInForce (users.rs)   the file, read again when it has changed
//!   one exchange ─▶ LoginDelays (delays.rs)  how long an attempt waits, after those that failed
//!                ─▶ a thread                 the hashing of a password, a few at once
//! ```
//! Promises:
//! 1. A client is logged in only if it proved the password of a user in the file, or if `listen.accept-any` says that any
//!    will do.
//! 2. PLAIN and LOGIN are offered only within TLS, on the unix socket, or if any password will do. SCRAM is offered
//!    everywhere, with -PLUS within TLS 1.3.
//! 3. An unknown user costs the time of a known one: the same messages, the same hashing, the same delays.
//! 4. An attempt waits for [`LONGEST_WAIT`] at most; where it would have to wait longer, it is told to come again (454). The
//!    wait ends at once when the daemon stops. Nothing but its own session waits.
//! 5. Each attempt that ends is one line in the log, with the client and its uid, the name and the mechanism, and never the
//!    password. Many of one client are counted (`repeats.rs`). An exchange that the client cancels or breaks off proves
//!    nothing, and has no line.
//! 6. Without a file that can be read, and without one that was read before, nobody can log in (454), and mail that needs no
//!    login goes on. A disk that hangs holds no login for ever (`users.rs`), and a stop waits for none.
//!
//! Not here: the mechanisms (`sasl_server.rs`), the file (`config/users_file.rs`), replies (`smtp/session/auth.rs`).

mod attempt;
mod delays;
mod users;

use std::num::NonZeroUsize;
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::available_parallelism;

use tokio::sync::Semaphore;

use crate::config::{ListenConfig, Logins};
use crate::listener::peer::LocalPeer;
use crate::smtp::session::{AuthCover, AuthOffer, OfferedMechanism};
use delays::LoginDelays;
use users::{AskedUsers, UsersInForce};

pub use attempt::LoggedIn;
pub(super) use attempt::SessionLogin;
pub use delays::LONGEST_WAIT;

/// The most passwords that are hashed at once: each takes a processor for some milliseconds.
const MOST_HASHED: NonZeroUsize = NonZeroUsize::new(4).unwrap();

/// The state that all logins share.
pub struct LoginDesk {
    accepted: RwLock<Accepted>,
    delays: LoginDelays,
    /// A permit for each password that may be hashed at once.
    hashing: Semaphore,
}

/// Who may log in.
#[derive(Clone)]
enum Accepted {
    Nobody,
    Users(Arc<UsersInForce>),
    /// Nobody is known, and any name and password will do.
    Anybody(Arc<AskedUsers>),
}

impl LoginDesk {
    /// Returns the desk that `listen` configures. No file is read yet.
    pub fn new(listen: &ListenConfig) -> Arc<Self> {
        let at_once = available_parallelism().map_or(1, NonZeroUsize::get).min(MOST_HASHED.get());
        Arc::new(LoginDesk {
            accepted: RwLock::new(Accepted::by(listen)),
            delays: LoginDelays::new(),
            hashing: Semaphore::new(at_once),
        })
    }

    /// Puts another configuration in force. The same file keeps its users, and what failed before is remembered.
    pub fn change(&self, listen: &ListenConfig) {
        let mut accepted = self.accepted.write().unwrap_or_else(PoisonError::into_inner);
        let stays = match (&*accepted, &listen.logins) {
            (Accepted::Users(users), Some(Logins::Users(path))) => users.path() == path,
            _ => false,
        };
        if !stays {
            *accepted = Accepted::by(listen);
        }
    }

    /// Reads the file with the users again if it has changed, and logs what is wrong with it. Returns at once.
    pub fn look(&self) {
        if let Accepted::Users(users) = self.accepted() {
            users.look();
        }
    }

    /// Returns what is wrong with the file with the users, and what that means; `None` if nothing is.
    pub fn trouble(&self) -> Option<String> {
        match self.accepted() {
            Accepted::Users(users) => users.trouble(),
            Accepted::Nobody | Accepted::Anybody(_) => None,
        }
    }

    fn accepted(&self) -> Accepted {
        self.accepted.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Accepted {
    fn by(listen: &ListenConfig) -> Self {
        match &listen.logins {
            None => Accepted::Nobody,
            Some(Logins::Users(path)) => Accepted::Users(UsersInForce::of(path)),
            Some(Logins::Anybody) => Accepted::Anybody(AskedUsers::none()),
        }
    }
}

/// Returns the offer of AUTH by `listen`, to clients of TCP or to those of the unix socket.
pub(super) fn offer(listen: &ListenConfig, over_tcp: bool) -> Option<AuthOffer> {
    let shown = if over_tcp { AuthCover::Tls } else { AuthCover::Nothing };
    let offered = |(name, needs): (&str, AuthCover)| OfferedMechanism { name: name.into(), needs };
    let mechanisms: Vec<OfferedMechanism> = match listen.logins.as_ref()? {
        Logins::Users(_) => [
            ("SCRAM-SHA-256-PLUS", AuthCover::BoundTls),
            ("SCRAM-SHA-256", AuthCover::Nothing),
            ("PLAIN", shown),
            ("LOGIN", shown),
        ]
        .map(offered)
        .into(),
        Logins::Anybody => ["PLAIN", "LOGIN"].map(|name| offered((name, AuthCover::Nothing))).into(),
    };
    Some(AuthOffer { mechanisms, is_required: over_tcp && listen.require_auth })
}

/// Returns whether a session of `peer` came over TCP.
pub(super) fn is_over_tcp(peer: LocalPeer) -> bool {
    match peer {
        LocalPeer::Loopback(_) | LocalPeer::LoopbackUser(..) => true,
        LocalPeer::Uid(_) => false,
    }
}
