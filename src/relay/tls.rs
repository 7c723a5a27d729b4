//! The proof that the peer is the relay: TLS is established, and its certificate was verified.
//!
//! Promises:
//! 1. A [`Verified`] exists only after a handshake with the configured trust, or if TLS is off and the connected
//!    address itself is a loopback address.
//! 2. Every handshake verifies the certificate. Where a session is resumed, the certificate that was shown when it began
//!    is verified again, by the trust and the clock of now. Sessions are kept for one [`TlsClient`], and so for one
//!    relayhost and one trust: after a reload nothing is resumed.
//! 3. If a handshake fails that may have resumed a session, sessions are forgotten, and none is resumed for a day.
//! 4. The error of a failed handshake says what is wrong and which key of the configuration it concerns; text from the
//!    certificate of the peer is escaped.
//!
//! Not here: which relay is trusted (`trust.rs`), STARTTLS (`opening.rs`).
//!
//! RFC 8446, RFC 5246, RFC 6125 (names), RFC 8314 (implicit TLS).

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use jiff::Timestamp;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{AlertDescription, ClientConfig, ClientConnection, Error, HandshakeKind, ProtocolVersion};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsConnector;

use super::dial::{Transport, is_loopback};
use super::distrust::Distrust;
use super::expiry::{Expiries, KnownExpiry};
use super::first_flight::{FirstFlight, KeyExchange};
use super::remembered::Remembered;
use super::trouble::Cause;
use super::trust::{self, ClientConfigs, ClientTrust, RelayVerifier};
use super::witness::OpeningWitness;
use crate::config::{
    ClientCertificate, HostOrIp, KeyExchangeChoice, RelayHost, ServiceKind, SettingError, Tls, TlsSettings,
    TlsVersion, Trust,
};
use crate::tls_faults::{self, TlsPeer};

/// The traits of any stream.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// The octets that only the two ends of one TLS session share, by which a login is bound to it: `tls-exporter` (RFC 9266).
pub(crate) type ChannelBinding = [u8; 32];

/// RFC 9266 4.2.
const CHANNEL_BINDING_LABEL: &[u8] = b"EXPORTER-Channel-Binding";

/// A stream to the relay itself, which is needed to send AUTH or MAIL. Only this file can make one.
pub(crate) struct Verified {
    stream: Box<dyn Stream>,
    version: Option<&'static str>,
    binding: Option<ChannelBinding>,
}

impl Verified {
    /// Makes the one exception (README promise 2): without TLS, for a relay on a loopback address. The address of the
    /// connection counts, not the one in the configuration.
    pub(crate) fn loopback<T: Transport>(stream: T) -> Result<Verified, Cause> {
        let address = stream.peer_address()?;
        if !is_loopback(address.ip()) {
            let words = format!("tls.mode = \"none\" is for loopback addresses only, and {address} is none");
            return Err(Cause::Other(words));
        }
        Ok(Verified { stream: Box::new(stream), version: None, binding: None })
    }

    /// Returns the version of TLS, `TLSv1.3` or `TLSv1.2`; `None` on loopback without TLS.
    pub(crate) fn version(&self) -> Option<&'static str> {
        self.version
    }

    /// Returns the octets that bind a login to this session; `None` before TLS 1.3, where only sessions with an extended
    /// master secret have safe ones, and rustls does not tell.
    pub(crate) fn binding(&self) -> Option<ChannelBinding> {
        self.binding
    }

    /// Returns a stream that counts as verified, for tests.
    #[cfg(test)]
    pub(crate) fn assumed(stream: impl Transport) -> Verified {
        Verified::assumed_with(stream, None)
    }

    /// Does the same for a TLS session that has this binding.
    #[cfg(test)]
    pub(crate) fn assumed_with(stream: impl Transport, binding: Option<ChannelBinding>) -> Verified {
        Verified { stream: Box::new(stream), version: Some("TLSv1.3"), binding }
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

/// The protection of connections to one relayhost.
#[derive(Clone)]
pub(crate) enum Protection {
    /// By STARTTLS, which is required.
    StartTls(Arc<TlsClient>),
    /// By TLS from the first octet.
    Implicit(Arc<TlsClient>),
    /// Not at all, on loopback.
    Loopback,
}

impl Protection {
    /// Loads the files that `settings` name. Returns the protection, and warnings for the operator.
    pub(crate) fn new(settings: &Tls, hosts: &[RelayHost]) -> Result<(Self, Vec<String>), SettingError> {
        match settings {
            Tls::StartTls(settings) => {
                let (client, warnings) = TlsClient::new(settings, hosts)?;
                Ok((Protection::StartTls(Arc::new(client)), warnings))
            }
            Tls::Implicit(settings) => {
                let (client, warnings) = TlsClient::new(settings, hosts)?;
                Ok((Protection::Implicit(Arc::new(client)), warnings))
            }
            Tls::None => Ok((Protection::Loopback, Vec::new())),
        }
    }
}

impl Protection {
    /// Logs, at most once a day, which certificates are about to expire; this route leads to the relay.
    pub(crate) fn log_expiring(&self, route: Option<&str>) {
        match self {
            Protection::StartTls(client) | Protection::Implicit(client) => {
                client.expiries.log(route, Timestamp::now().as_second());
            }
            Protection::Loopback => {}
        }
    }

    /// Returns the same protection, begun as hosts of the service `kind` begin it.
    pub(crate) fn for_service(&self, kind: ServiceKind) -> Protection {
        match (self, kind) {
            (Protection::StartTls(client) | Protection::Implicit(client), ServiceKind::Submissions) => {
                Protection::Implicit(client.clone())
            }
            (Protection::StartTls(client) | Protection::Implicit(client), ServiceKind::Submission) => {
                Protection::StartTls(client.clone())
            }
            (Protection::Loopback, _) => Protection::Loopback,
        }
    }

    /// Returns a ClientHello for a peer that should be `host`, as small as can be; empty where there is none.
    pub(crate) fn client_hello(&self, host: &HostOrIp) -> Vec<u8> {
        match self {
            Protection::StartTls(client) | Protection::Implicit(client) => client.client_hello(host),
            Protection::Loopback => Vec::new(),
        }
    }

    /// Returns a sentence for each certificate that is about to expire.
    pub(crate) fn expiring(&self) -> Vec<String> {
        match self {
            Protection::StartTls(client) | Protection::Implicit(client) => {
                client.expiries.notices(Timestamp::now().as_second())
            }
            Protection::Loopback => Vec::new(),
        }
    }

    /// Returns the end of each certificate.
    pub(crate) fn ends(&self) -> Vec<KnownExpiry> {
        match self {
            Protection::StartTls(client) | Protection::Implicit(client) => {
                client.expiries.ends(Timestamp::now().as_second())
            }
            Protection::Loopback => Vec::new(),
        }
    }

    /// Forgets the TLS sessions, and resumes none for a day, if a handshake with this key exchange may have resumed one.
    /// Returns true if so.
    pub(crate) fn forget_sessions(&self, key_exchange: KeyExchange) -> bool {
        match self {
            Protection::StartTls(client) | Protection::Implicit(client) => {
                client.forget_sessions(key_exchange)
            }
            Protection::Loopback => false,
        }
    }
}

/// The client in a TLS handshake with one relayhost.
pub(crate) struct TlsClient {
    configs: Mutex<ClientConfigs>,
    verifier: RelayVerifier,
    expiries: Expiries,
    /// True if the relay is known by a pinned key, so that the dates of its certificate do not count.
    is_pinned: bool,
    /// True if there may be a session to resume: of a handshake that offered a post-quantum key exchange, and of one
    /// that did not.
    has_sessions: [AtomicBool; 2],
    /// Remembered while no session is resumed.
    is_resuming_off: Remembered,
    /// `tls.server-name`: the name that is expected in place of that of the relayhost.
    server_name: Option<ServerName<'static>>,
    minimum: TlsVersion,
    key_exchange: KeyExchangeChoice,
}

impl TlsClient {
    fn new(settings: &TlsSettings, hosts: &[RelayHost]) -> Result<(Self, Vec<String>), SettingError> {
        let ClientTrust { configs, verifier, authorities, warnings } = trust::client_trust(settings)?;
        let named = settings.server_name.as_deref();
        let server_name = named.map(|name| name_from(name, "tls.server-name")).transpose()?;
        for host in hosts {
            expected_name(&host.host)?;
        }
        let ours = settings.client.as_ref().map(ClientCertificate::read).transpose()?;
        let client = TlsClient {
            configs: Mutex::new(configs),
            verifier,
            expiries: Expiries::new(ours.as_ref().map_or(&[], |pair| &pair.cert[..]), &authorities),
            is_pinned: matches!(settings.trust, Trust::Pins(_)),
            has_sessions: [AtomicBool::new(false), AtomicBool::new(false)],
            is_resuming_off: Remembered::default(),
            server_name,
            minimum: settings.minimum,
            key_exchange: settings.key_exchange,
        };
        Ok((client, warnings))
    }

    /// Makes the handshake with a peer that should be `host`. It begins with `flight`; `witness` sees what the peer shows.
    pub(crate) async fn handshake<T: Transport>(
        &self,
        stream: T,
        host: &HostOrIp,
        flight: &Arc<FirstFlight>,
        witness: &dyn OpeningWitness,
    ) -> Result<Verified, Cause> {
        let expected = self.expected(host).map_err(Cause::Other)?;
        let connecting =
            TlsConnector::from(self.config(flight)).connect(expected.clone(), flight.begin(stream));
        let stream = connecting.await.map_err(|error| self.told(error, witness))?;
        let session = stream.get_ref().1;
        if session.handshake_kind() == Some(HandshakeKind::Resumed) {
            self.verify_again(session.peer_certificates(), &expected)?;
        }
        self.sessions(flight.key_exchange()).store(true, Ordering::Relaxed);
        witness.shook_hands(session);
        let shown = session.peer_certificates().unwrap_or_default();
        match (self.is_pinned, shown.first()) {
            (true, Some(pinned)) => self.expiries.note_pinned(&expected.to_str(), pinned),
            (true, None) => {}
            (false, _) => self.expiries.note(&expected.to_str(), shown),
        }
        let (version, binding) = match session.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => ("TLSv1.3", binding_of(session)?),
            // trust::client_configs enables these two and no other.
            _ => ("TLSv1.2", None),
        };
        Ok(Verified { stream: Box::new(stream), version: Some(version), binding })
    }

    /// Returns the ClientHello of a handshake that nobody goes on with; empty if the host has no name that fits.
    fn client_hello(&self, host: &HostOrIp) -> Vec<u8> {
        let mut hello = Vec::new();
        let offered = match self.key_exchange {
            KeyExchangeChoice::PostQuantum => KeyExchange::PostQuantumAlone,
            KeyExchangeChoice::Any | KeyExchangeChoice::Classical => KeyExchange::Classical,
        };
        let config = self.configs.lock().unwrap_or_else(PoisonError::into_inner).offering(offered);
        let session = self.expected(host).map(|name| ClientConnection::new(config, name));
        if let Ok(Ok(mut session)) = session {
            // Writing to memory does not fail.
            let _ = session.write_tls(&mut hello);
        }
        hello
    }

    /// Returns the name for which the certificate of `host` must be.
    fn expected(&self, host: &HostOrIp) -> Result<ServerName<'static>, String> {
        match &self.server_name {
            Some(name) => Ok(name.clone()),
            None => expected_name(host),
        }
    }

    /// Returns the TLS configuration for a handshake that begins with `flight`.
    fn config(&self, flight: &FirstFlight) -> Arc<ClientConfig> {
        let mut configs = self.configs.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_resuming_off.is_over() {
            configs.resume(true);
        }
        configs.offering(flight.key_exchange())
    }

    fn sessions(&self, key_exchange: KeyExchange) -> &AtomicBool {
        &self.has_sessions[usize::from(key_exchange == KeyExchange::Classical)]
    }

    /// Forgets the sessions, and resumes none for a day, if a handshake with this key exchange may have resumed one.
    /// Returns true if so.
    fn forget_sessions(&self, key_exchange: KeyExchange) -> bool {
        let had_sessions =
            self.sessions(key_exchange).load(Ordering::Relaxed) && !self.is_resuming_off.is_now();
        if had_sessions {
            self.has_sessions.iter().for_each(|has| has.store(false, Ordering::Relaxed));
            self.is_resuming_off.begin();
            self.configs.lock().unwrap_or_else(PoisonError::into_inner).resume(false);
        }
        had_sessions
    }

    /// Verifies the certificate of a session that was resumed: it may have expired since the session began.
    fn verify_again(
        &self,
        shown: Option<&[CertificateDer<'static>]>,
        expected: &ServerName<'static>,
    ) -> Result<(), Cause> {
        let Some((end_entity, intermediates)) = shown.and_then(<[_]>::split_first) else {
            return Err(Cause::Other(self.words(&Error::NoCertificatesPresented)));
        };
        let now = UnixTime::now();
        match self.verifier.verify_server_cert(end_entity, intermediates, expected, &[], now) {
            Ok(_) => Ok(()),
            Err(error) => Err(Cause::Other(escaped(&self.words(&error)))),
        }
    }

    /// Describes a failed handshake; `witness` sees the certificates that are refused.
    fn told(&self, error: io::Error, witness: &dyn OpeningWitness) -> Cause {
        match tls_faults::within(&error) {
            Some(error) => {
                if let Some(distrust) = Distrust::within(error) {
                    witness.distrusted(distrust.shown());
                }
                Cause::Other(escaped(&self.words(error)))
            }
            None if error.kind() == io::ErrorKind::UnexpectedEof => Cause::Closed,
            None => Cause::from(error),
        }
    }

    fn words(&self, error: &Error) -> String {
        if let Some(distrust) = Distrust::within(error) {
            return distrust.to_string();
        }
        match error {
            Error::AlertReceived(AlertDescription::ProtocolVersion) | Error::PeerIncompatible(_) => {
                self.too_old().into()
            }
            Error::AlertReceived(AlertDescription::HandshakeFailure) => {
                format!("{}, or asks for a client certificate (tls.client-certificate)", self.too_old())
            }
            Error::AlertReceived(AlertDescription::UnrecognisedName) => {
                format!("{} (relayhost, or tls.server-name)", tls_faults::session(TlsPeer::RELAY, error))
            }
            Error::InvalidMessage(_) => format!(
                "{}; does tls.mode fit the port (\"starttls\" on 587, \"implicit\" on 465)?",
                tls_faults::session(TlsPeer::RELAY, error)
            ),
            other => tls_faults::session(TlsPeer::RELAY, other),
        }
    }

    fn too_old(&self) -> &'static str {
        match (self.key_exchange, self.minimum) {
            (KeyExchangeChoice::PostQuantum, _) => {
                "the relay does not offer TLS 1.3 with a post-quantum key exchange, which tls.key-exchange asks for"
            }
            (_, TlsVersion::V1_3) => "the relay does not offer TLS 1.3, which tls.minimum asks for",
            (_, TlsVersion::V1_2) => {
                "the relay offers only TLS older than 1.2, or only RSA key exchange or CBC ciphers, which \
                 are no longer safe"
            }
        }
    }
}

/// Returns what binds a login to `session`.
fn binding_of(session: &ClientConnection) -> Result<Option<ChannelBinding>, Cause> {
    let exported =
        session.export_keying_material(ChannelBinding::default(), CHANNEL_BINDING_LABEL, Some(b""));
    exported.map(Some).map_err(|error| Cause::Other(tls_faults::session(TlsPeer::RELAY, &error)))
}

pub(super) fn escaped(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn expected_name(host: &HostOrIp) -> Result<ServerName<'static>, String> {
    match host {
        HostOrIp::Name(name) => name_from(name, "relayhost"),
        HostOrIp::Address(address) => Ok(ServerName::from(*address)),
    }
}

fn name_from(name: &str, key: &str) -> Result<ServerName<'static>, String> {
    // A trailing dot makes a name absolute in DNS; certificates do not write it (RFC 6066 3).
    let relative = name.strip_suffix('.').unwrap_or(name).to_owned();
    ServerName::try_from(relative).map_err(|_| format!("{key}: \"{name}\" is no host name"))
}

#[cfg(test)]
mod tests;
