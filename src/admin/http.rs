//! `admin.http`: metrics and health over HTTP on a loopback address, for Prometheus and for probes.
//!
//! | path | answer |
//! |---|---|
//! | `/metrics` | the figures in the format of OpenMetrics (`exposition.rs`) |
//! | `/healthz` | 200: the daemon runs |
//! | `/readyz` | 200 if nothing is critical, else 503; a line for each thing that is wrong (`health.rs`) |
//!
//! Promises: TCP does not say who asks, so only what everybody may know is told: numbers and states, no addresses, names or
//! words of a relay. Only GET and HEAD, and only for a Host of this host's loopback, so that no page in a browser can ask
//! under a name of its own (DNS rebinding). At most [`MAX_CONNECTIONS`] at a time, each for [`CONNECTION_TIME`] and for a
//! head of [`MAX_HEAD_OCTETS`].
//!
//! Fails: a client that is too slow, or too much, is left; mail does not notice.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderValue, X_CONTENT_TYPE_OPTIONS,
};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::control::Control;
use super::exposition::{self, exposition};
use super::health::{HealthBounds, HealthLevel, findings};
use super::protocol::DaemonStatus;
use crate::log::{self, Foreign};

/// The number of connections that are served at a time.
const MAX_CONNECTIONS: usize = 32;
/// Time for which one connection is served.
const CONNECTION_TIME: Duration = Duration::from_secs(60);
/// Time for the head of a request.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// The longest head of a request, in octets.
const MAX_HEAD_OCTETS: usize = 16 << 10;

/// Time between two attempts to listen.
const BIND_PAUSE: Duration = Duration::from_secs(60);

/// What can be asked for.
const PATHS: [&str; 3] = ["/metrics", "/healthz", "/readyz"];

const PLAIN: &str = "text/plain; charset=utf-8";

/// Answers clients at `address` until the task is ended. While another program has it, that is tried again: any user can
/// take a port of this kind, and mail must not wait for it.
pub async fn serve(control: Control, address: SocketAddr) {
    let listener = loop {
        match TcpListener::bind(address).await {
            Ok(listener) => break listener,
            Err(error) => log::http_not_open(address, &error),
        }
        sleep(BIND_PAUSE).await;
    };
    serve_on(control, listener).await;
}

async fn serve_on(control: Control, listener: TcpListener) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
                let control = control.clone();
                tokio::spawn(async move {
                    // Whoever is slow is left; a client that broke off needs no answer.
                    let _ = timeout(CONNECTION_TIME, answer_on(stream, control)).await;
                    drop(place);
                });
            }
            Err(error) => {
                log::control_trouble(&error);
                sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn answer_on(stream: TcpStream, control: Control) -> hyper::Result<()> {
    let service = service_fn(|request| {
        let control = control.clone();
        async move {
            let (asked, _) = hyper::Request::into_parts(request);
            if let Some(refused) = refusal(&asked) {
                return Ok(refused);
            }
            let status = control.figures_for_anybody().await;
            Ok::<_, Infallible>(answer(asked.uri.path(), status.as_ref(), Timestamp::now()))
        }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).max_buf_size(MAX_HEAD_OCTETS);
    server.serve_connection(TokioIo::new(stream), service).await
}

/// Returns the refusal of a request that has no answer, whatever the state is.
fn refusal(asked: &Parts) -> Option<Response<Full<Bytes>>> {
    if !is_for_us(asked) {
        let why = "Ask for this host by a loopback address or localhost.\n";
        return Some(response(StatusCode::FORBIDDEN, PLAIN, why.to_owned()));
    }
    if asked.method != Method::GET && asked.method != Method::HEAD {
        let mut refused = response(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "Only GET and HEAD.\n".to_owned());
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Some(refused);
    }
    let is_found = PATHS.contains(&asked.uri.path());
    (!is_found).then(|| response(StatusCode::NOT_FOUND, PLAIN, format!("There is {}.\n", PATHS.join(", "))))
}

/// Returns the answer at one of the [`PATHS`]; without `status` the daemon is stopping.
fn answer(path: &str, status: Option<&DaemonStatus>, now: Timestamp) -> Response<Full<Bytes>> {
    match (path, status) {
        (_, None) => response(StatusCode::SERVICE_UNAVAILABLE, PLAIN, "The daemon is stopping.\n".to_owned()),
        ("/metrics", Some(status)) => metrics(status),
        ("/readyz", Some(status)) => ready(status, now),
        (_, Some(_)) => response(StatusCode::OK, PLAIN, "The daemon runs.\n".to_owned()),
    }
}
fn metrics(status: &DaemonStatus) -> Response<Full<Bytes>> {
    match exposition(status) {
        Ok(text) => response(StatusCode::OK, exposition::CONTENT_TYPE, text),
        Err(error) => response(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, format!("{error}\n")),
    }
}

fn ready(status: &DaemonStatus, now: Timestamp) -> Response<Full<Bytes>> {
    let found = findings(status, &HealthBounds::default(), now);
    let worst = found.first().map_or(HealthLevel::Well, |worst| worst.health);
    let code = if worst == HealthLevel::Critical { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let lines: String = found.iter().map(|finding| format!("{}\n", Foreign(&finding.words))).collect();
    response(code, PLAIN, if lines.is_empty() { "Mail gets through.\n".to_owned() } else { lines })
}

/// Returns whether the Host of a request is a loopback address or localhost, with any port.
fn is_for_us(asked: &Parts) -> bool {
    let mut hosts = asked.headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let Ok(host) = host.to_str() else { return false };
    let is_loopback = |address: SocketAddr| address.ip().is_loopback();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name.eq_ignore_ascii_case("localhost")
        || host.parse().is_ok_and(is_loopback)
        || format!("{host}:0").parse().is_ok_and(is_loopback)
}

fn response(code: StatusCode, kind: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    );
    response
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    fn asked(method: &str, path: &str, hosts: &[&str]) -> Parts {
        let mut request = Request::builder().method(method).uri(path);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn code(method: &str, path: &str, hosts: &[&str]) -> u16 {
        let refused = refusal(&asked(method, path, hosts));
        refused.unwrap_or_else(|| answer(path, None, Timestamp::UNIX_EPOCH)).status().as_u16()
    }

    #[test]
    fn only_this_host_is_asked_under_its_own_names() {
        for host in ["localhost", "LOCALHOST:9925", "127.0.0.1", "127.0.0.2:9925", "[::1]", "[::1]:9925"] {
            assert_eq!(code("GET", "/nothing", &[host]), 404, "{host}");
        }
        for host in
            ["evil.example", "localhost.evil.example:9925", "192.0.2.1:9925", "", "[::2]", "127.0.0.1.evil"]
        {
            assert_eq!(code("GET", "/metrics", &[host]), 403, "{host}");
        }
        assert_eq!(code("GET", "/metrics", &[]), 403);
        assert_eq!(code("GET", "/metrics", &["localhost", "evil.example"]), 403);
    }

    #[test]
    fn nothing_can_be_changed_and_a_stop_is_said() {
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"] {
            assert_eq!(code(method, "/metrics", &["localhost"]), 405, "{method}");
        }
        for path in ["/metrics", "/healthz", "/readyz"] {
            assert_eq!((code("GET", path, &["[::1]"]), code("HEAD", path, &["[::1]"])), (503, 503), "{path}");
        }
    }
}
