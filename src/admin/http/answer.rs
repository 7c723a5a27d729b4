//! The answers to requests over HTTP.
//!
//! Promises: those of `http.rs` about what is told and who may ask. Each answer forbids a browser to load anything, but for the
//! style sheet of the page, and to show it within another page.
//!
//! Pure. Not here: connections (`http.rs`), the page (`page.rs`).

use std::net::SocketAddr;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderName, HeaderValue,
    REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode, Version};
use jiff::Timestamp;

use super::super::exposition::{self, exposition};
use super::super::health::{HealthBounds, HealthLevel, findings};
use super::super::metric_text::plain;
use super::super::page::{POLICY, PageFacts, page};
use super::super::protocol::DaemonStatus;
use super::HttpDoor;
use crate::history::MinuteOfDay;
use crate::log::Foreign;
use crate::standing_orders::PausedPart;

/// What can be asked for.
const PATHS: [&str; 4] = ["/", "/metrics", "/healthz", "/readyz"];

const PLAIN: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
/// The type of metrics in plain text.
const PLAIN_METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The policy of all answers but the page.
const NOTHING: &str = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What is known when a request is answered.
pub(super) struct HttpFacts {
    /// The state of the daemon, as anybody may know it.
    pub(super) status: DaemonStatus,
    /// The number of hold rules.
    pub(super) hold_rules: usize,
    /// The last day.
    pub(super) day: Vec<MinuteOfDay>,
    pub(super) now: Timestamp,
}

/// Returns the refusal of a request that has no answer, whatever the state is.
pub(super) fn refusal(asked: &Parts, door: HttpDoor) -> Option<Response<Full<Bytes>>> {
    if door == HttpDoor::Loopback
        && let Err((code, why)) = check_host(asked)
    {
        return Some(response(code, PLAIN, why.to_owned()));
    }
    if asked.method != Method::GET && asked.method != Method::HEAD {
        let mut refused = response(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "Only GET and HEAD.\n".to_owned());
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Some(refused);
    }
    let is_found = PATHS.contains(&asked.uri.path());
    (!is_found).then(|| response(StatusCode::NOT_FOUND, PLAIN, format!("There is {}.\n", PATHS.join(", "))))
}

/// Returns the answer at one of the [`PATHS`].
pub(super) fn answer(asked: &Parts, facts: &HttpFacts) -> Response<Full<Bytes>> {
    match (asked.uri.path(), asked.uri.query()) {
        ("/", query) => in_html(facts, query == Some("stay")),
        ("/metrics", _) => metrics(&facts.status, wants_plain(asked)),
        ("/readyz", query) => ready(&facts.status, facts.now, query == Some("intake")),
        _ => response(StatusCode::OK, PLAIN, "The daemon runs.\n".to_owned()),
    }
}

/// Returns the answer of a daemon that is stopping.
pub(super) fn stopping() -> Response<Full<Bytes>> {
    response(StatusCode::SERVICE_UNAVAILABLE, PLAIN, "The daemon is stopping.\n".to_owned())
}

fn in_html(facts: &HttpFacts, stays: bool) -> Response<Full<Bytes>> {
    let HttpFacts { status, hold_rules, day, now } = facts;
    let page = page(&PageFacts { status, hold_rules: *hold_rules, day, now: *now, stays });
    let mut response = response(StatusCode::OK, HTML, page);
    // The policy is made of characters that a header may have.
    if let Ok(policy) = HeaderValue::from_str(&POLICY) {
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    }
    response
}

fn metrics(status: &DaemonStatus, in_plain: bool) -> Response<Full<Bytes>> {
    let mut response = match exposition(status) {
        Ok(text) if in_plain => response(StatusCode::OK, PLAIN_METRICS, plain(&text)),
        Ok(text) => response(StatusCode::OK, exposition::CONTENT_TYPE, text),
        Err(error) => response(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, format!("{error}\n")),
    };
    response.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
    response
}

/// Returns whether a client asks for plain text, and not for OpenMetrics.
fn wants_plain(asked: &Parts) -> bool {
    let accepted: Vec<&str> =
        asked.headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let accepted = accepted.join(",").to_ascii_lowercase();
    accepted.contains("text/plain") && !accepted.contains("application/openmetrics-text")
}

/// Returns the answer that says what is wrong: 503 if something is critical, or if no mail is taken where only that counts.
fn ready(status: &DaemonStatus, now: Timestamp, only_intake: bool) -> Response<Full<Bytes>> {
    let found = findings(status, &HealthBounds::default(), now);
    let is_ready = match only_intake {
        true => takes_mail(status),
        false => found.first().is_none_or(|worst| worst.health != HealthLevel::Critical),
    };
    let code = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let lines: String = found.iter().map(|finding| format!("{}\n", Foreign(&finding.words))).collect();
    response(code, PLAIN, if lines.is_empty() { "Mail gets through.\n".to_owned() } else { lines })
}

fn takes_mail(status: &DaemonStatus) -> bool {
    status.spool_trouble.is_none() && status.pauses.iter().all(|pause| pause.part != PausedPart::Intake)
}

/// Checks that each host that a request names is a loopback address or localhost, with any port.
fn check_host(asked: &Parts) -> Result<(), (StatusCode, &'static str)> {
    const FOREIGN: (StatusCode, &str) =
        (StatusCode::FORBIDDEN, "Ask for this host by a loopback address or localhost.\n");
    let mut hosts = asked.headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) if host.to_str().is_ok_and(is_loopback) => {}
        (Some(_), None) => return Err(FOREIGN),
        // Before HTTP/1.1 there was no such field, and no browser is so old (RFC 9112 3.2).
        (None, _) if asked.version < Version::HTTP_11 => {}
        _ => return Err((StatusCode::BAD_REQUEST, "A request has one Host.\n")),
    }
    match asked.uri.authority() {
        Some(authority) if !is_loopback(authority.as_str()) => Err(FOREIGN),
        _ => Ok(()),
    }
}

fn is_loopback(host: &str) -> bool {
    let is_loopback = |address: SocketAddr| address.ip().is_loopback();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name.eq_ignore_ascii_case("localhost")
        || host.parse().is_ok_and(is_loopback)
        || format!("{host}:0").parse().is_ok_and(is_loopback)
}

fn response(code: StatusCode, kind: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = code;
    let fields = [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CONTENT_SECURITY_POLICY, NOTHING),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in fields {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;
    use crate::admin::protocol::{ListedPause, RelayFigures};

    fn asked(method: &str, path: &str, hosts: &[&str]) -> Parts {
        let mut request = Request::builder().method(method).uri(path);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn code(method: &str, path: &str, hosts: &[&str]) -> u16 {
        let refused = refusal(&asked(method, path, hosts), HttpDoor::Loopback);
        refused.unwrap_or_else(stopping).status().as_u16()
    }

    fn facts(status: DaemonStatus) -> HttpFacts {
        let now = "2026-11-21T01:30:00Z".parse().unwrap();
        HttpFacts { status, hold_rules: 0, day: Vec::new(), now }
    }

    fn ready_code(path: &str, status: &DaemonStatus) -> u16 {
        answer(&asked("GET", path, &["localhost"]), &facts(status.clone())).status().as_u16()
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
        assert_eq!(code("GET", "/metrics", &["localhost", "evil.example"]), 400);
        assert_eq!(
            code("GET", "http://evil.example/metrics", &["localhost"]),
            403,
            "the first line counts, too"
        );
        assert_eq!(code("GET", "http://localhost:9925/metrics", &["evil.example"]), 403);
        assert_eq!(code("GET", "http://localhost:9925/metrics", &["localhost"]), 503);
        let by_socket = refusal(&asked("GET", "/nothing", &["nullmta"]), HttpDoor::UnixSocket);
        assert_eq!(by_socket.unwrap().status(), StatusCode::NOT_FOUND);
    }

    #[test]
    fn a_request_without_a_host_is_none_but_of_old_programs() {
        assert_eq!(code("GET", "/metrics", &[]), 400);
        let mut old = asked("GET", "/nothing", &[]);
        old.version = Version::HTTP_10;
        assert_eq!(refusal(&old, HttpDoor::Loopback).unwrap().status(), StatusCode::NOT_FOUND);
    }

    #[test]
    fn nothing_can_be_changed_and_a_stop_is_said() {
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"] {
            assert_eq!(code(method, "/metrics", &["localhost"]), 405, "{method}");
        }
        for path in PATHS {
            assert_eq!((code("GET", path, &["[::1]"]), code("HEAD", path, &["[::1]"])), (503, 503), "{path}");
        }
    }

    /// A host that an outage of the relay takes out of service takes no mail any more, though it would be safe there.
    #[test]
    fn a_relay_that_is_down_is_critical_and_no_reason_to_take_no_mail() {
        let relay =
            RelayFigures { paused_since: Some("2026-11-21T01:00:00Z".into()), ..RelayFigures::default() };
        let down = DaemonStatus { relays: vec![relay], ..DaemonStatus::default() };
        assert_eq!((ready_code("/readyz", &down), ready_code("/readyz?intake", &down)), (503, 200));
        let full = DaemonStatus { spool_trouble: Some("full".into()), ..DaemonStatus::default() };
        assert_eq!((ready_code("/readyz", &full), ready_code("/readyz?intake", &full)), (503, 503));
        let paused = ListedPause {
            part: PausedPart::Intake,
            route: None,
            by: "an operator".into(),
            since: "2026-11-21T01:29:00Z".into(),
            until: None,
            reason: None,
        };
        let paused = DaemonStatus { pauses: vec![paused], ..DaemonStatus::default() };
        assert_eq!((ready_code("/readyz", &paused), ready_code("/readyz?intake", &paused)), (200, 503));
    }

    #[test]
    fn metrics_are_in_the_format_that_is_asked_for() {
        let kind = |accept: Option<&'static str>| {
            let mut asked = asked("GET", "/metrics", &["localhost"]);
            accept.map(|accept| asked.headers.insert(ACCEPT, HeaderValue::from_static(accept)));
            let answer = answer(&asked, &facts(DaemonStatus::default()));
            answer.headers()[CONTENT_TYPE].to_str().unwrap().to_owned()
        };
        for accept in [None, Some("*/*"), Some("application/openmetrics-text;version=1.0.0,text/plain;q=0.5")]
        {
            assert!(kind(accept).starts_with("application/openmetrics-text; version=1.0.0"), "{accept:?}");
        }
        assert_eq!(kind(Some("text/plain;version=0.0.4")), PLAIN_METRICS);
    }
}
