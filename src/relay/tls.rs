//! The proof that it is the relay: TLS is up and its certificate verified.
//!
//! Promises:
//! 1. A [`Verified`] exists only where a handshake succeeded under the configured trust, or where the
//!    connected peer itself is a loopback address and TLS is off.
//! 2. Every handshake verifies anew: no session is resumed.
//! 3. A handshake that fails tells the operator what is wrong and which key of the config it concerns;
//!    what the peer's certificate says stands escaped.
//!
//! Not here: whom we trust (`trust.rs`), STARTTLS (`opening.rs`).
//!
//! RFC 8446, RFC 5246, RFC 6125 (names), RFC 8314 (implicit TLS).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use jiff::Timestamp;
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CertificateError, ClientConfig, Error, ProtocolVersion};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsConnector;

use super::dial::{Transport, is_loopback};
use super::trouble::Cause;
use super::trust;
use crate::config::{Host, RelayHost, Tls, TlsSettings, TlsVersion};

/// What any stream can do.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A stream to the relay itself: needed to say AUTH or MAIL. Made only in this file.
pub(crate) struct Verified {
    stream: Box<dyn Stream>,
    version: Option<&'static str>,
}

impl Verified {
    /// The one exception (README promise 2): without TLS to a relay on a loopback address. What counts is
    /// the address the connection has, not the one the config hoped for.
    pub(crate) fn loopback<T: Transport>(stream: T) -> Result<Verified, Cause> {
        let address = stream.peer_address()?;
        if !is_loopback(address.ip()) {
            let words = format!("tls.mode = \"none\" is for loopback addresses only, and {address} is none");
            return Err(Cause::Other(words));
        }
        Ok(Verified { stream: Box::new(stream), version: None })
    }

    /// `TLSv1.3` or `TLSv1.2`; `None` on loopback without TLS.
    pub(crate) fn version(&self) -> Option<&'static str> {
        self.version
    }

    /// A stream taken for verified, for tests of what comes after.
    #[cfg(test)]
    pub(crate) fn assumed(stream: impl Transport) -> Verified {
        Verified { stream: Box::new(stream), version: Some("TLSv1.3") }
    }
}

impl AsyncRead for Verified {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Verified {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// How connections to one relayhost are protected.
pub(crate) enum Protection {
    /// STARTTLS, required.
    StartTls(Client),
    /// TLS from the first octet.
    Implicit(Client),
    /// None, on loopback.
    Loopback,
}

impl Protection {
    /// Loads what `settings` name. Beside it: what the operator should know though it works.
    pub(crate) fn new(settings: &Tls, hosts: &[RelayHost]) -> Result<(Self, Option<String>), String> {
        match settings {
            Tls::StartTls(settings) => {
                let (client, warning) = Client::new(settings, hosts)?;
                Ok((Protection::StartTls(client), warning))
            }
            Tls::Implicit(settings) => {
                let (client, warning) = Client::new(settings, hosts)?;
                Ok((Protection::Implicit(client), warning))
            }
            Tls::None => Ok((Protection::Loopback, None)),
        }
    }
}

/// Our side of the handshake.
pub(crate) struct Client {
    config: Arc<ClientConfig>,
    /// `tls.server-name`: the name to expect in place of the relayhost's.
    server_name: Option<ServerName<'static>>,
    minimum: TlsVersion,
}

impl Client {
    fn new(settings: &TlsSettings, hosts: &[RelayHost]) -> Result<(Self, Option<String>), String> {
        let (config, warning) = trust::client_config(settings)?;
        let named = settings.server_name.as_deref();
        let server_name = named.map(|name| name_from(name, "tls.server-name")).transpose()?;
        for host in hosts {
            expected_name(&host.host)?;
        }
        Ok((Client { config: Arc::new(config), server_name, minimum: settings.minimum }, warning))
    }

    /// The handshake with what is expected to be `host`.
    pub(crate) async fn handshake<T: Transport>(&self, stream: T, host: &Host) -> Result<Verified, Cause> {
        let expected = match &self.server_name {
            Some(name) => name.clone(),
            None => expected_name(host).map_err(Cause::Other)?,
        };
        let connecting = TlsConnector::from(Arc::clone(&self.config)).connect(expected, stream);
        let stream = connecting.await.map_err(|error| self.told(error))?;
        let version = match stream.get_ref().1.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            // trust::client_config enables these two and no other.
            _ => "TLSv1.2",
        };
        Ok(Verified { stream: Box::new(stream), version: Some(version) })
    }

    /// A failed handshake in words.
    fn told(&self, error: io::Error) -> Cause {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            Some(error) => Cause::Other(escaped(&self.words(error))),
            None if error.kind() == io::ErrorKind::UnexpectedEof => Cause::Closed,
            None => Cause::from(error),
        }
    }

    fn words(&self, error: &Error) -> String {
        match error {
            Error::InvalidCertificate(error) => certificate_words(error),
            Error::AlertReceived(AlertDescription::ProtocolVersion) | Error::PeerIncompatible(_) => {
                self.too_old().into()
            }
            Error::AlertReceived(AlertDescription::HandshakeFailure) => {
                format!("{}, or asks for a client certificate (tls.client-certificate)", self.too_old())
            }
            Error::AlertReceived(alert) => format!("the relay ended the handshake: {alert:?}"),
            Error::InvalidMessage(_) => "what the relay sent is not TLS; does tls.mode fit the port \
                                         (\"starttls\" on 587, \"implicit\" on 465)?"
                .into(),
            other => other.to_string(),
        }
    }

    fn too_old(&self) -> &'static str {
        match self.minimum {
            TlsVersion::V1_3 => "the relay does not offer TLS 1.3, which tls.minimum asks for",
            TlsVersion::V1_2 => {
                "the relay offers only TLS older than 1.2, or only RSA key exchange or CBC ciphers, which \
                 are no longer safe"
            }
        }
    }
}

fn certificate_words(error: &CertificateError) -> String {
    match error {
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("the relay's certificate expired on {}", day(not_after.as_secs()))
        }
        CertificateError::NotValidYetContext { not_before, .. } => {
            let from = day(not_before.as_secs());
            format!("the relay's certificate is not valid before {from}; is this host's clock right?")
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names: Vec<&str> = presented.iter().map(|name| bare_name(name)).collect();
            let names = if names.is_empty() { "no name at all".into() } else { names.join(", ") };
            let expected = expected.to_str();
            format!("the relay's certificate is for {names}, not for {expected} (tls.server-name)")
        }
        CertificateError::UnknownIssuer => {
            "the issuer of the relay's certificate is not trusted (tls.ca-file names a private CA)".into()
        }
        CertificateError::BadSignature => {
            "a signature of the relay, or of the issuer it names, is wrong (is tls.ca-file out of date?)"
                .into()
        }
        CertificateError::Other(other) => match other.0.downcast_ref::<trust::PinMismatch>() {
            Some(mismatch) => mismatch.to_string(),
            None => format!("the relay's certificate is not acceptable: {}", other.0),
        },
        other => format!("the relay's certificate is not acceptable: {other}"),
    }
}

fn day(seconds: u64) -> String {
    let instant = i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    instant.map_or("a date out of range".into(), |instant| instant.strftime("%Y-%m-%d").to_string())
}

/// `DnsName("mx.example")` and `IpAddress(192.0.2.1)` as the verifier writes them, without the wrapping.
fn bare_name(presented: &str) -> &str {
    let inner = presented.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.map_or(presented, |inner| inner.trim_matches('"'))
}

fn escaped(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn expected_name(host: &Host) -> Result<ServerName<'static>, String> {
    match host {
        Host::Name(name) => name_from(name, "relayhost"),
        Host::Address(address) => Ok(ServerName::from(*address)),
    }
}

fn name_from(name: &str, key: &str) -> Result<ServerName<'static>, String> {
    // A trailing dot makes a name absolute in DNS; certificates do not write it (RFC 6066 3).
    let relative = name.strip_suffix('.').unwrap_or(name).to_owned();
    ServerName::try_from(relative).map_err(|_| format!("{key}: \"{name}\" is no host name"))
}

#[cfg(test)]
mod tests;
