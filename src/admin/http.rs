//! `admin.http`: a page, metrics and health over HTTP on loopback addresses and unix sockets, for people, Prometheus and probes.
//!
//! | path | answer |
//! |---|---|
//! | `/` | the page (`page.rs`); `/?stay` the same, which is not loaded anew by itself |
//! | `/metrics` | the figures in the format of OpenMetrics (`exposition.rs`), or in plain text for who asks for that alone |
//! | `/healthz` | 200: the daemon runs |
//! | `/readyz` | 200 if nothing is critical, else 503; a line for each thing that is wrong (`health.rs`) |
//! | `/readyz?intake` | the same lines; 503 only while no mail is taken, for whatever takes a host out of service by it: mail is safe here while the relay is down |
//!
//! Promises
//! 1. TCP does not say who asks, so only what everybody may know is told: numbers and states, no addresses, names or words of a
//!    relay. The same is told on a unix socket, to which everybody may connect.
//! 2. Only GET and HEAD. Over TCP only for a Host of this host's loopback, so that no page in a browser can ask under a name of its
//!    own (DNS rebinding); if the request names a host in its first line, that one counts, too (RFC 9112 3.2.2).
//! 3. A connection has one request, with a head of [`MAX_HEAD_OCTETS`] within [`HEAD_TIME`], and is over after
//!    [`CONNECTION_TIME`]. At each address [`MAX_CONNECTIONS`] are served at a time; one more ends the oldest, so that nobody
//!    shuts others out by holding all of them.
//! 4. The daemon is asked once in [`SNAPSHOT_TIME`], however many ask here.
//!
//! Fails: a client that is too slow, or too much, is left; mail does not notice.

mod answer;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::Response;
use hyper::body::Bytes;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};

use super::control::{self, Control};
use crate::config::HttpSetting;
use crate::history::DAY_MINUTES;
use crate::log;
use answer::{HttpFacts, answer, refusal, stopping};

/// The number of connections that are served at a time, at each address.
const MAX_CONNECTIONS: usize = 32;
/// Time for which one connection is served.
const CONNECTION_TIME: Duration = Duration::from_secs(30);
/// Time for the head of a request.
const HEAD_TIME: Duration = Duration::from_secs(5);
/// The longest head of a request, in octets.
const MAX_HEAD_OCTETS: usize = 16 << 10;

/// Time for which what is told is not looked for again.
const SNAPSHOT_TIME: Duration = Duration::from_secs(1);

/// Time between two attempts to listen.
const BIND_PAUSE: Duration = Duration::from_secs(60);

/// Answers clients at these places until the task is ended. While another program has one of them, that is tried again: any user
/// can take a port of this kind, and mail must not wait for it.
pub async fn serve(control: Control, places: Vec<HttpSetting>) {
    let desk = Arc::new(HttpDesk { control, snapshot: Snapshot(tokio::sync::Mutex::new(None)) });
    let mut serving = JoinSet::new();
    for place in places {
        serving.spawn(serve_at(Arc::clone(&desk), place));
    }
    // None of them ends by itself.
    serving.join_next().await;
}

async fn serve_at(desk: Arc<HttpDesk>, place: HttpSetting) {
    let listener = loop {
        match HttpListener::bind(&place).await {
            Ok(listener) => break listener,
            Err(error) => log::http_not_open(&place, &error),
        }
        sleep(BIND_PAUSE).await;
    };
    let mut connections = HttpConnections::default();
    loop {
        match listener.accept(&desk).await {
            Ok(connection) => connections.admit(connection),
            Err(error) => {
                log::control_trouble(&error);
                sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

enum HttpListener {
    Tcp(TcpListener),
    Unix(UnixListener, #[expect(dead_code, reason = "it is there to be dropped")] BoundSocket),
}

/// The path of a socket that we have bound, which goes with this.
struct BoundSocket(PathBuf);

impl Drop for BoundSocket {
    fn drop(&mut self) {
        // One that is gone already does no harm.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl HttpListener {
    async fn bind(place: &HttpSetting) -> io::Result<Self> {
        match place {
            HttpSetting::Tcp(address) => TcpListener::bind(address).await.map(HttpListener::Tcp),
            HttpSetting::Unix(path) => {
                control::bind(path).map(|socket| HttpListener::Unix(socket, BoundSocket(path.clone())))
            }
        }
    }

    /// Accepts a connection, and begins a task that answers on it.
    async fn accept(&self, desk: &Arc<HttpDesk>) -> io::Result<AbortHandle> {
        let desk = Arc::clone(desk);
        Ok(match self {
            HttpListener::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                tokio::spawn(desk.answer_on(stream, HttpDoor::Loopback)).abort_handle()
            }
            HttpListener::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                tokio::spawn(desk.answer_on(stream, HttpDoor::UnixSocket)).abort_handle()
            }
        })
    }
}

/// The tasks of the connections at one place, the oldest first.
#[derive(Default)]
struct HttpConnections(VecDeque<AbortHandle>);

impl HttpConnections {
    /// Takes in one more. If there are too many, the oldest is ended: an answer takes no time, so that it is one that waits.
    fn admit(&mut self, connection: AbortHandle) {
        self.0.retain(|connection| !connection.is_finished());
        if self.0.len() >= MAX_CONNECTIONS
            && let Some(oldest) = self.0.pop_front()
        {
            oldest.abort();
        }
        self.0.push_back(connection);
    }
}

/// The way by which a client came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HttpDoor {
    /// TCP: it may be a browser that was led here under another name.
    Loopback,
    /// A unix socket, which no browser reaches.
    UnixSocket,
}

/// What all connections share.
struct HttpDesk {
    control: Control,
    snapshot: Snapshot<HttpFacts>,
}

impl HttpDesk {
    /// Answers the request on a connection. Whoever is slow is left; a client that broke off needs no answer.
    async fn answer_on(
        self: Arc<Self>,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        door: HttpDoor,
    ) {
        let service = service_fn(|request| {
            let desk = Arc::clone(&self);
            async move {
                let (asked, _) = hyper::Request::into_parts(request);
                Ok::<Response<Full<Bytes>>, Infallible>(match refusal(&asked, door) {
                    Some(refused) => refused,
                    None => {
                        let facts = desk.snapshot.taken(|| desk.facts()).await;
                        facts.map_or_else(stopping, |facts| answer(&asked, &facts))
                    }
                })
            }
        });
        let mut server = http1::Builder::new();
        server.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).max_buf_size(MAX_HEAD_OCTETS);
        server.keep_alive(false);
        let _ = timeout(CONNECTION_TIME, server.serve_connection(TokioIo::new(stream), service)).await;
    }

    /// Returns what is told now; `None` if the daemon is stopping.
    async fn facts(&self) -> Option<HttpFacts> {
        let status = self.control.figures_for_anybody().await?;
        let (hold_rules, day) = (self.control.hold_rules(), self.control.history.minutes(DAY_MINUTES));
        Some(HttpFacts { status, hold_rules, day, now: Timestamp::now() })
    }
}

/// What was found out last, and when. One at a time finds out, and who asks meanwhile waits for that.
struct Snapshot<T>(tokio::sync::Mutex<Option<(Instant, Arc<T>)>>);

impl<T> Snapshot<T> {
    /// Returns what was found out in the last [`SNAPSHOT_TIME`], or else what `look` finds now.
    async fn taken<F: Future<Output = Option<T>>>(&self, look: impl FnOnce() -> F) -> Option<Arc<T>> {
        let mut last = self.0.lock().await;
        if let Some((at, found)) = &*last
            && at.elapsed() < SNAPSHOT_TIME
        {
            return Some(Arc::clone(found));
        }
        let found = Arc::new(look().await?);
        *last = Some((Instant::now(), Arc::clone(&found)));
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// One user held 32 connections open, and nobody else got an answer.
    #[tokio::test]
    async fn one_connection_too_many_ends_the_oldest() {
        let mut connections = HttpConnections::default();
        let mut tasks: Vec<_> =
            (0..=MAX_CONNECTIONS).map(|_| tokio::spawn(std::future::pending::<()>())).collect();
        tasks.iter().for_each(|task| connections.admit(task.abort_handle()));
        assert!(tasks.remove(0).await.unwrap_err().is_cancelled());
        assert!(tasks.iter().all(|task| !task.is_finished()));
        tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }

    /// While the daemon was slow, each of them asked it.
    #[tokio::test(start_paused = true)]
    async fn who_asks_while_one_looks_waits_for_what_is_found() {
        let (snapshot, looks) = (Snapshot(tokio::sync::Mutex::new(None)), AtomicU32::new(0));
        let look = || async {
            sleep(5 * SNAPSHOT_TIME).await;
            Some(looks.fetch_add(1, Ordering::Relaxed))
        };
        let (one, other) = tokio::join!(snapshot.taken(look), snapshot.taken(look));
        assert_eq!((one.as_deref(), other.as_deref()), (Some(&0), Some(&0)));
    }

    /// Each scrape asked the queue's one task, so that anybody could keep it busy.
    #[tokio::test(start_paused = true)]
    async fn however_many_ask_the_daemon_is_asked_once_a_second() {
        let (snapshot, looks) = (Snapshot(tokio::sync::Mutex::new(None)), AtomicU32::new(0));
        let look = || async { Some(looks.fetch_add(1, Ordering::Relaxed)) };
        for second in 0..3 {
            for _ in 0..100 {
                assert_eq!(snapshot.taken(look).await.as_deref(), Some(&second));
            }
            sleep(SNAPSHOT_TIME).await;
        }
        assert_eq!(snapshot.taken(|| async { None }).await, None, "a daemon that stops");
    }
}
