//! One POST to a server of the web, a token endpoint or one that hears of alarms: HTTP/1.1 over TLS, on a connection of its own.
//!
//! Promises:
//! 1. A secret goes only to a server whose certificate was verified for the name in the address; without TLS only to a
//!    loopback address. Redirects are not followed.
//! 2. A request takes at most 30 s in all, a reply has at most 64 KiB, and its head at most 32 KiB.
//! 3. `relay.address-family` and `relay.source-address` hold as for the relay: a host whose firewall lets one address of it
//!    out reaches both. A server on this host (`localhost`, a loopback address) is reached from any address.
//!
//! Fails: with a sentence about the server, which contains nothing that was sent.
//!
//! Not here: what is sent and what the reply means (`oauth/`, `admin/alarm_teller.rs`).
//!
//! RFC 9110, RFC 9112.

use std::io;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{
    ACCEPT, CONNECTION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT,
};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use super::dial::{Internet, Race, addresses};
use super::distrust::Distrust;
use super::tls::escaped;
use super::trust;
use crate::config::{Families, HostOrIp, SettingError, WebAddress};
use crate::tls_faults::{self, TlsPeer};

/// Time for a whole request.
const LIMIT: Duration = Duration::from_secs(30);
/// Time for a connection to one address of the endpoint.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// The most octets of a reply.
const MAX_REPLY_OCTETS: usize = 64 * 1024;
/// The most octets of the head of a reply.
const MAX_HEAD_OCTETS: usize = 32 * 1024;

/// The traits of any stream.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// What a server is to us, as sentences name it.
#[derive(Clone, Copy, Debug)]
pub enum WebServer {
    /// It hands out access tokens: `auth.oauth.token-url`.
    TokenEndpoint,
    /// It is told of alarms, and that mail gets through: `post`.
    Receiver,
}

/// The client of such a server.
pub struct WebClient {
    server: WebServer,
    tls: Arc<ClientConfig>,
    /// The addresses from which connections come.
    families: Families,
}

/// What is sent to a server.
pub struct WebMessage<'a> {
    /// The media type of the body.
    pub content_type: &'static str,
    /// A field of the head beside the usual ones, such as one with a token.
    pub field: Option<(HeaderName, HeaderValue)>,
    /// The body.
    pub body: &'a [u8],
}

/// The reply of a server.
pub struct WebReply {
    /// The HTTP status.
    pub status: u16,
    /// The time for which the server wants no further request (Retry-After), if it names one.
    pub retry_after: Option<Duration>,
    /// The body; empty behind a redirect.
    pub body: Zeroizing<Vec<u8>>,
}

impl WebServer {
    fn tls_peer(self) -> TlsPeer {
        match self {
            WebServer::TokenEndpoint => TlsPeer::TOKEN_ENDPOINT,
            WebServer::Receiver => TlsPeer::RECEIVER,
        }
    }

    /// Describes the refusal of its certificate.
    fn distrust(self, distrust: &Distrust) -> String {
        match self {
            WebServer::TokenEndpoint => distrust.of_endpoint(),
            WebServer::Receiver => distrust.of_receiver(),
        }
    }

    /// Describes a failed handshake; a certificate that is not trusted with what it says of itself.
    fn tls_words(self, error: &io::Error) -> String {
        match tls_faults::within(error).and_then(Distrust::within) {
            Some(distrust) => escaped(&self.distrust(distrust)),
            None => tls_faults::connection(self.tls_peer(), error),
        }
    }

    /// Describes an error of HTTP with its cause.
    fn http_words(self, error: &hyper::Error) -> String {
        if error.is_parse() {
            return "what it sent is not HTTP/1.1".into();
        }
        match std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>()) {
            Some(error) => tls_faults::connection(self.tls_peer(), error),
            None => error.to_string(),
        }
    }
}

impl WebClient {
    /// Loads the authorities. Returns the client, and warnings for the operator. Blocks on the disk.
    pub fn new(
        server: WebServer,
        ca_file: Option<&Path>,
        families: Families,
    ) -> Result<(Self, Vec<String>), SettingError> {
        let (tls, warnings) = trust::web_config(ca_file)?;
        Ok((WebClient { server, tls, families }, warnings))
    }

    /// Sends a message to `url` and returns the reply.
    pub async fn post(&self, url: &WebAddress, message: WebMessage<'_>) -> Result<WebReply, String> {
        let exchange = async {
            let stream = self.connected(url).await?;
            self.exchange(stream, url, message).await
        };
        let late = || format!("no answer within {} s", LIMIT.as_secs());
        timeout(LIMIT, exchange).await.unwrap_or_else(|_| Err(late()))
    }

    /// Connects to the first address of the endpoint that works.
    async fn connected(&self, url: &WebAddress) -> Result<Box<dyn Stream>, String> {
        let families = if url.is_local() { Families::default() } else { self.families };
        let internet = Internet { families };
        let found = addresses(&internet, &url.host, url.port, &internet.families, CONNECT_LIMIT).await;
        let found = found.map_err(|trouble| trouble.cause.to_string())?;
        let mut race = Race::new(&internet, found, CONNECT_LIMIT);
        let mut told = "no address".to_owned();
        while let Some((_, connected)) = race.next().await {
            let opened = match connected {
                Ok(stream) => self.opened(stream, url).await,
                Err(cause) => Err(cause.to_string()),
            };
            match opened {
                Ok(stream) => return Ok(stream),
                Err(words) => told = words,
            }
        }
        Err(told)
    }

    async fn opened(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        url: &WebAddress,
    ) -> Result<Box<dyn Stream>, String> {
        if !url.is_tls {
            // The address is a loopback address (config/web_address.rs).
            return Ok(Box::new(stream));
        }
        let name = match &url.host {
            HostOrIp::Name(name) => ServerName::try_from(name.trim_end_matches('.').to_owned())
                .map_err(|_| format!("\"{name}\" is no host name"))?,
            HostOrIp::Address(address) => ServerName::from(*address),
        };
        let secured = TlsConnector::from(Arc::clone(&self.tls)).connect(name, stream).await;
        secured
            .map(|stream| Box::new(stream) as Box<dyn Stream>)
            .map_err(|error| self.server.tls_words(&error))
    }

    /// Sends the request on `stream` and reads the reply.
    async fn exchange(
        &self,
        stream: Box<dyn Stream>,
        url: &WebAddress,
        message: WebMessage<'_>,
    ) -> Result<WebReply, String> {
        let shaken =
            http1::Builder::new().max_buf_size(MAX_HEAD_OCTETS).handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = shaken.map_err(|error| self.server.http_words(&error))?;
        let mut request = Request::post(&url.path)
            .header(HOST, url.authority())
            .header(USER_AGENT, concat!("nullmta/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_TYPE, message.content_type)
            .header(ACCEPT, "application/json")
            .header(CONNECTION, "close")
            .body(Full::new(Bytes::copy_from_slice(message.body)))
            .map_err(|error| error.to_string())?;
        request.headers_mut().extend(message.field);
        let answer = async {
            let response =
                sender.send_request(request).await.map_err(|error| self.server.http_words(&error))?;
            self.read(response).await
        };
        let (mut answer, mut connection) = (pin!(answer), pin!(connection));
        let mut is_over = false;
        loop {
            tokio::select! {
                biased;
                answer = &mut answer => return answer,
                // Its error is that of the answer.
                _ = &mut connection, if !is_over => is_over = true,
            }
        }
    }

    async fn read(&self, response: Response<hyper::body::Incoming>) -> Result<WebReply, String> {
        let (status, retry_after) = (response.status(), retry_after(response.headers()));
        if status.is_redirection() {
            return Ok(WebReply { status: status.as_u16(), retry_after, body: Zeroizing::default() });
        }
        let body = Limited::new(response.into_body(), MAX_REPLY_OCTETS).collect().await;
        let body = body.map_err(|error| match error.downcast_ref::<hyper::Error>() {
            Some(error) => self.server.http_words(error),
            None => format!("its reply has more than {} KiB", MAX_REPLY_OCTETS / 1024),
        })?;
        let body = Zeroizing::new(body.to_bytes().to_vec());
        Ok(WebReply { status: status.as_u16(), retry_after, body })
    }
}

/// Returns the time that Retry-After names: in seconds, or by a date (RFC 9110 10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => {
            let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
            Duration::try_from(date.duration_since(Timestamp::now())).ok()
        }
    }
}
