//! The sink: a small relay for development, tests and rehearsals of outages.
//!
//! Promises:
//! 1. It listens on loopback addresses only. It accepts mail for anyone and delivers it to nobody.
//! 2. A message is acknowledged only after it is durable in the Maildir, if there is one, and was reported as a
//!    [`SinkEvent`], octet for octet as it came.
//! 3. STARTTLS, AUTH and the dialogue are those of a real relay, until a [`SinkFault`] or a [`SinkLimit`] strikes: the
//!    session core and the driver are those of the daemon.
//! 4. Faults can be changed while it runs ([`FaultSwitch`]), also for sessions that are under way.
//!
//! Fails: [`SinkError`] if it cannot start; a message that cannot be stored is refused with 451 4.3.0.
//! Not here: the command line (`cli/sink.rs`).

mod allowance;
mod auth;
mod bearer;
mod clock;
mod event;
mod fault;
mod first_octets;
mod limit;
mod line;
mod maildir;
mod odd;
mod options;
mod profile;
mod sender;
mod session;
mod visit;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinSet;

pub use auth::SinkUser;
pub use bearer::TokenUser;
pub use clock::SinkClock;
pub use event::{ReceivedContent, ReceivedMessage, SinkEvent};
pub use fault::{BadFault, FaultEffect, SinkFault, SinkPhase};
pub use first_octets::{BadHelloLimit, HelloLimit};
pub use limit::{BadLimit, LimitKind, LimitWindow, SinkLimit};
pub use odd::OddReply;
pub use options::{Security, SinkOptions};
pub use profile::SinkProfile;
pub use sender::SenderRule;

use crate::listener::backend::{BoxStream, ClientStream};
use crate::listener::certificate::Certificate;
use crate::listener::drive::{ClientConnection, Pace, drive};
use crate::listener::repeats::RepeatTally;
use crate::listener::stop::StopSignal;
use crate::smtp::session::{Session, SessionPolicy};
use crate::tls_faults::{TlsPeer, connection};
use allowance::Allowances;
use auth::SinkUsers;
use bearer::Admitted;
use fault::Faults;
use first_octets::FirstOctets;
use line::{Hangable, Hangup};
use maildir::Maildir;
use session::{SinkBackend, stall};
use visit::Visit;

/// The reason why a sink cannot start.
#[derive(Debug)]
pub enum SinkError {
    /// The address is not a loopback address.
    NotLoopback(SocketAddr),
    /// The address cannot be bound.
    Bind {
        /// The address at which the sink was to listen.
        address: SocketAddr,
        /// The error that the system gave when the address was bound.
        source: io::Error,
    },
    /// The Maildir cannot be used.
    Maildir {
        /// The path of the Maildir.
        path: PathBuf,
        /// The error that the system gave when the Maildir was opened.
        source: io::Error,
    },
    /// The users cannot be set up for AUTH.
    Users(String),
}

impl fmt::Display for SinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SinkError::NotLoopback(address) => {
                write!(f, "{address} is not a loopback address: a sink takes mail from this host only")
            }
            SinkError::Bind { address, source } => write!(f, "cannot listen on {address}: {source}"),
            SinkError::Maildir { path, source } => {
                write!(f, "cannot use {} as a Maildir: {source}", path.display())
            }
            SinkError::Users(why) => write!(f, "cannot set up AUTH: {why}"),
        }
    }
}

impl std::error::Error for SinkError {}

/// The state that all sessions of one sink share.
struct Shared {
    certificate: Certificate,
    admitted: Admitted,
    maildir: Option<Maildir>,
    envelope_fields: bool,
    hello_limit: Option<HelloLimit>,
    words: &'static [(u16, &'static str)],
    pace: Pace,
    misbehaviour: Mutex<Misbehaviour>,
    clock: SinkClock,
    events: UnboundedSender<SinkEvent>,
    /// The number for the next message that is not stored in a file.
    sequence: AtomicU64,
}

/// What a sink does other than a relay that always takes everything. A sender who is not verified comes before a fault, and
/// that before a limit.
struct Misbehaviour {
    senders: SenderRule,
    faults: Faults,
    allowances: Allowances,
}

impl Shared {
    fn tell(&self, event: SinkEvent) {
        // Nobody has to listen.
        let _ = self.events.send(event);
    }

    fn fresh_id(&self) -> String {
        format!("{:06}", self.sequence.fetch_add(1, Ordering::Relaxed))
    }

    /// Does the server side of a TLS handshake.
    async fn handshake(&self, plain: BoxStream) -> io::Result<BoxStream> {
        let plain = match self.hello_limit {
            None => plain,
            Some(limit) => Box::new(FirstOctets::new(plain, limit)),
        };
        Ok(self.certificate.accept(plain).await?.stream)
    }

    /// Runs one session, from the accepted connection to its end.
    async fn session(
        self: Arc<Self>,
        policy: Arc<SessionPolicy>,
        security: Security,
        stream: impl ClientStream + 'static,
        client: String,
        stop: StopSignal,
    ) {
        let mut visit = Visit::new(Arc::clone(&self));
        match visit.strike(SinkPhase::Connect, "", None) {
            None => {}
            Some(FaultEffect::Stall) => return stall().await,
            Some(_) => return,
        }
        let (line, pace) = (Hangup::default(), self.pace);
        let host = SinkBackend::new(Arc::clone(&self), visit, line.clone());
        let mut session = Session::new(policy);
        let mut stream: BoxStream = Box::new(Hangable { stream, line });
        if security == Security::Implicit {
            match self.handshake(stream).await {
                Ok(secured) => stream = secured,
                Err(error) => {
                    let why = connection(TlsPeer::SINK_CLIENT, &error);
                    return self.tell(SinkEvent::Trouble(format!("TLS handshake: {why}")));
                }
            }
            session.tls_started(false);
        }
        drive(session, host, ClientConnection { stream, client, tally: RepeatTally::new(), pace, stop })
            .await;
    }
}

/// Changes the faults of a sink while it runs.
#[derive(Clone)]
pub struct FaultSwitch(Arc<Shared>);

impl FaultSwitch {
    /// Adds a fault after those that are already there.
    pub fn add(&self, fault: SinkFault) {
        self.0.misbehaviour.lock().unwrap_or_else(PoisonError::into_inner).faults.add(fault);
    }

    /// Takes mail of this sender, too, or of this `@domain`.
    pub fn verify(&self, sender: String) {
        let mut guard = self.0.misbehaviour.lock().unwrap_or_else(PoisonError::into_inner);
        guard.senders.verified.push(sender);
    }

    /// Removes all faults, but no limit. Sessions that are stalled stay so.
    pub fn clear(&self) {
        self.0.misbehaviour.lock().unwrap_or_else(PoisonError::into_inner).faults.clear();
    }
}

/// A sink that listens. It accepts its first client when it runs.
pub struct Sink {
    listener: TcpListener,
    address: SocketAddr,
    security: Security,
    policy: Arc<SessionPolicy>,
    shared: Arc<Shared>,
}

impl Sink {
    /// Starts to listen; clients wait in the backlog until [`Sink::run`]. Events are sent to `events`.
    pub async fn bind(options: SinkOptions, events: UnboundedSender<SinkEvent>) -> Result<Sink, SinkError> {
        let address = options.address;
        if !address.ip().is_loopback() {
            return Err(SinkError::NotLoopback(address));
        }
        let policy = Arc::new(options.policy());
        let maildir = match options.maildir {
            None => None,
            Some(path) => {
                let opened = Maildir::open(&path).await;
                Some(opened.map_err(|source| SinkError::Maildir { path, source })?)
            }
        };
        let users = SinkUsers::new(&options.users).map_err(SinkError::Users)?;
        let admitted = Admitted { users, tokens: options.tokens };
        let bound = |source| SinkError::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(bound)?;
        let shared = Arc::new(Shared {
            certificate: options.certificate,
            admitted,
            maildir,
            envelope_fields: options.envelope_fields,
            hello_limit: options.hello_limit,
            words: options.words,
            pace: Pace::even(options.idle),
            misbehaviour: Mutex::new(Misbehaviour {
                senders: options.senders,
                faults: Faults::new(options.faults, options.seed),
                allowances: Allowances::new(options.limits),
            }),
            clock: options.clock,
            events,
            sequence: AtomicU64::new(1),
        });
        let address = listener.local_addr().map_err(bound)?;
        Ok(Sink { listener, address, security: options.security, policy, shared })
    }

    /// Returns the address that it listens on, with the real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the switch for its faults.
    pub fn faults(&self) -> FaultSwitch {
        FaultSwitch(Arc::clone(&self.shared))
    }

    /// Serves until `stop`. Sessions are then cut off, as if a relay died; every message that was acknowledged is
    /// durable.
    pub async fn run(self, mut stop: StopSignal) {
        let mut sessions = JoinSet::new();
        loop {
            tokio::select! {
                _ = stop.given() => return,
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, client)) => {
                        sessions.spawn(self.session(stream, client, stop.clone()));
                    }
                    Err(error) => {
                        self.shared.tell(SinkEvent::Trouble(format!("cannot accept a connection: {error}")));
                        // Out of descriptors, as a rule: some come back when sessions end.
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
                Some(_) = sessions.join_next() => {}
            }
        }
    }

    fn session(
        &self,
        stream: TcpStream,
        client: SocketAddr,
        stop: StopSignal,
    ) -> impl Future<Output = ()> + Send + 'static {
        // Without it, replies wait for the client's acknowledgement of those before.
        let _ = stream.set_nodelay(true);
        let (shared, policy, security) = (Arc::clone(&self.shared), Arc::clone(&self.policy), self.security);
        shared.session(policy, security, stream, client.to_string(), stop)
    }
}

#[cfg(test)]
mod tests;
