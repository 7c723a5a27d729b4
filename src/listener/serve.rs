//! The accept loop: it accepts connections and starts a session for each.
//!
//! Promises:
//! 1. Only clients of this host get a session: the address of the peer is checked again, whatever address the socket
//!    is bound to.
//! 2. A connection over a limit gets 421 and is closed. If connections cannot be accepted (no file descriptor is
//!    free), that is logged once, and tried again. Neither ends the loop, nor does a session that panics.
//! 3. After the stop signal no connection is accepted. [`serve`] returns when every session has ended, and at the
//!    latest at the deadline and [`GRACE`] after it. Messages that were committed by then are safe.
//!
//! Not here: the session (`drive.rs`), the limits (`limits.rs`), the sockets (`bind.rs`).

use std::future::poll_fn;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, interval, sleep_until, timeout_at};

use crate::listener::bound::Bound;
use crate::listener::limits::Permit;
use crate::listener::owner::owner_of;
use crate::listener::peer::LocalPeer;
use crate::listener::process::ProcessLookup;
use crate::listener::refusals::no_session;
use crate::listener::repeats::MINUTE;
use crate::listener::stop::StopSignal;
use crate::listener::{Service, SessionOpening};
use crate::log;
use crate::smtp::reply::Reply;

/// The period after which it is noted how much of the limits is used.
const SECOND: Duration = Duration::from_secs(1);

/// The pause after the system could not give us another connection.
const PAUSE: Duration = Duration::from_millis(200);

/// The time after the deadline of a stop in which sessions may send their last reply.
pub const GRACE: Duration = Duration::from_secs(3);

/// Accepts connections on `bound` and runs sessions for `service`, until `stop` is given and the sessions have ended.
pub async fn serve(bound: Vec<Bound>, service: Arc<Service>, mut stop: StopSignal) -> io::Result<()> {
    let mut entrance = Entrance::open(bound)?;
    let mut sessions = JoinSet::new();
    let mut minute = interval(MINUTE);
    let mut noting = pin!(note_limits_each_second(&service));
    let deadline = loop {
        tokio::select! {
            biased;
            deadline = stop.given() => break deadline,
            Some(ended) = sessions.join_next() => note_end(ended),
            _ = minute.tick() => service.tally().sum_up(std::time::Instant::now()),
            () = &mut noting => {}
            caller = entrance.next() => {
                if let Some((caller, permit)) = caller.admitted(&service) {
                    sessions.spawn(hold(Arc::clone(&service), caller, permit, stop.clone()));
                }
            }
        }
    };
    drop(entrance);
    drain(sessions, deadline + GRACE).await;
    service.note_limits().await;
    Ok(())
}

/// Notes each second how much of the limits is used. It does not end.
async fn note_limits_each_second(service: &Service) {
    let mut second = interval(SECOND);
    loop {
        second.tick().await;
        service.note_limits().await;
    }
}

/// Runs one session. Before, the owner of a connection over TCP is looked up: a user may have too many sessions.
async fn hold(service: Arc<Service>, caller: Caller, mut permit: Permit, stop: StopSignal) {
    if let Caller::Tcp(stream, from, _) = &caller {
        let owner = owner_of(stream, *from).await;
        if let Err(overload) = permit.seat(owner, std::time::Instant::now()) {
            return caller.refuse(&service, permit.peer(), &no_session(overload));
        }
    }
    let _counted = match service.enter(permit.peer().user()).await {
        Ok(counted) => counted,
        Err(reached) => return caller.refuse(&service, permit.peer(), &reached.reply()),
    };
    let (process, opening) = (caller.process(), caller.opening());
    service.session(caller.stream(), permit, opening, process, stop).await;
}

async fn drain(mut sessions: JoinSet<()>, deadline: Instant) {
    while let Ok(Some(ended)) = timeout_at(deadline, sessions.join_next()).await {
        note_end(ended);
    }
    sessions.shutdown().await;
}

fn note_end(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        log::session_failed(&error);
    }
}

/// One listening socket.
enum Door {
    Tcp(TcpListener),
    Tls(TcpListener),
    Unix(UnixListener),
}

impl Door {
    fn open(bound: Bound) -> io::Result<Door> {
        Ok(match bound {
            Bound::Tcp(listener) => Door::Tcp(TcpListener::from_std(listener)?),
            Bound::Tls(listener) => Door::Tls(TcpListener::from_std(listener)?),
            Bound::Unix(listener) => Door::Unix(UnixListener::from_std(listener)?),
        })
    }

    fn poll_accept(&self, context: &mut Context<'_>) -> Poll<io::Result<Caller>> {
        match self {
            Door::Tcp(listener) => listener
                .poll_accept(context)
                .map_ok(|(stream, from)| Caller::Tcp(stream, from, SessionOpening::Greeting)),
            Door::Tls(listener) => listener
                .poll_accept(context)
                .map_ok(|(stream, from)| Caller::Tcp(stream, from, SessionOpening::Handshake)),
            Door::Unix(listener) => listener.poll_accept(context).map_ok(|(stream, _)| Caller::Unix(stream)),
        }
    }
}

/// All listening sockets, with the pause after an error.
struct Entrance {
    doors: Vec<Door>,
    /// The index of the socket that is polled first. It changes, so that a busy socket does not block the others.
    first: usize,
    paused_until: Option<Instant>,
}

impl Entrance {
    fn open(bound: Vec<Bound>) -> io::Result<Entrance> {
        let doors = bound.into_iter().map(Door::open).collect::<io::Result<Vec<_>>>()?;
        Ok(Entrance { doors, first: 0, paused_until: None })
    }

    /// Returns the next connection. It is cancel safe.
    async fn next(&mut self) -> Caller {
        loop {
            if let Some(pause) = self.paused_until {
                sleep_until(pause).await;
            }
            match poll_fn(|context| self.poll_accept(context)).await {
                Ok(caller) => {
                    self.paused_until = None;
                    return caller;
                }
                // accept(2) reports the error of a connection that was closed while it waited, which does not concern
                // us.
                Err(error) if is_the_callers(&error) => {}
                Err(error) => self.pause(&error),
            }
        }
    }

    fn poll_accept(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Caller>> {
        for step in 0..self.doors.len() {
            let door = (self.first + step) % self.doors.len();
            if let Poll::Ready(accepted) = self.doors[door].poll_accept(context) {
                self.first = (door + 1) % self.doors.len();
                return Poll::Ready(accepted);
            }
        }
        Poll::Pending
    }

    fn pause(&mut self, error: &io::Error) {
        if self.paused_until.is_none() {
            log::accept_trouble(error);
        }
        self.paused_until = Some(Instant::now() + PAUSE);
    }
}

fn is_the_callers(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

/// A connection that has no session yet.
enum Caller {
    Tcp(TcpStream, SocketAddr, SessionOpening),
    Unix(UnixStream),
}

impl Caller {
    /// Returns the caller with its place; `None` if it got none, and was told so.
    fn admitted(self, service: &Service) -> Option<(Caller, Permit)> {
        let peer = match self.peer() {
            Ok(peer) => peer,
            Err(error) => {
                log::stranger(&error);
                return None;
            }
        };
        match service.admit(peer) {
            Ok(permit) => Some((self, permit)),
            Err(overload) => {
                self.refuse(service, peer, &no_session(overload));
                None
            }
        }
    }

    fn refuse(self, service: &Service, peer: LocalPeer, reply: &Reply) {
        service.note_turned_away(peer, reply);
        self.turn_away(reply);
    }

    fn peer(&self) -> io::Result<LocalPeer> {
        match self {
            Caller::Tcp(_, from, _) => LocalPeer::over_tcp(*from)
                .ok_or_else(|| io::Error::other(format!("connection from {from}, which is not this host"))),
            Caller::Unix(stream) => Ok(LocalPeer::Uid(stream.peer_cred()?.uid())),
        }
    }

    fn opening(&self) -> SessionOpening {
        match self {
            Caller::Tcp(_, _, opening) => *opening,
            Caller::Unix(_) => SessionOpening::Greeting,
        }
    }

    /// Begins to look up the process of a client on the unix socket.
    fn process(&self) -> Option<ProcessLookup> {
        match self {
            Caller::Tcp(..) => None,
            Caller::Unix(stream) => {
                stream.peer_cred().ok().map(|client| ProcessLookup::begin(stream, client))
            }
        }
    }

    fn stream(self) -> crate::listener::backend::BoxStream {
        match self {
            Caller::Tcp(stream, ..) => {
                // Replies are written as a whole, so Nagle's algorithm would only delay them.
                let _ = stream.set_nodelay(true);
                Box::new(stream)
            }
            Caller::Unix(stream) => Box::new(stream),
        }
    }

    /// Sends `reply` without waiting, and closes the connection; one that expects TLS is only closed. The buffer of a new socket has room for it, so a
    /// caller over the limit needs no task.
    fn turn_away(self, reply: &Reply) {
        let mut octets = Vec::new();
        reply.encode(&mut octets);
        // A caller that has gone already needs no reply.
        let _ = match self {
            Caller::Tcp(_, _, SessionOpening::Handshake) => return,
            Caller::Tcp(stream, _, SessionOpening::Greeting) => {
                stream.into_std().and_then(|mut stream| stream.write_all(&octets))
            }
            Caller::Unix(stream) => stream.into_std().and_then(|mut stream| stream.write_all(&octets)),
        };
    }
}
