//! `[tls]`: whether TLS is used, and why a relay's certificate is trusted.
//!
//! Promises: [`Tls::None`] only if every relayhost is on this host; exactly one kind of trust.

use std::path::PathBuf;

use super::error::ConfigFault;
use super::file;
use super::relayhost::WrittenHost;
use super::table::{LocatedList, given, location_of};
use super::words::{KeyExchangeChoice, TlsMode, TlsVersion};

/// `tls.mode`, with the settings that verification needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// STARTTLS (RFC 3207), required.
    StartTls(TlsSettings),
    /// TLS from the first octet (RFC 8314 3.3).
    Implicit(TlsSettings),
    /// No TLS. Only if every host is a loopback address or `localhost`; the code that connects checks what `localhost`
    /// resolves to.
    None,
}

impl Tls {
    /// Returns the settings in `tls`, with defaults filled in, for the relays of `relayhost`.
    pub(super) fn of(tls: &file::TlsTable, relayhost: &LocatedList<WrittenHost>) -> Result<Tls, ConfigFault> {
        let mode = given(&tls.mode).copied().unwrap_or(TlsMode::StartTls);
        if mode == TlsMode::None {
            refuse_plaintext_beyond_loopback(tls, relayhost)?;
            return Ok(Tls::None);
        }
        let settings = TlsSettings {
            trust: trust_of(tls)?,
            server_name: given(&tls.server_name).map(|name| name.0.clone()),
            client: client_certificate_of(tls)?,
            minimum: given(&tls.minimum).copied().unwrap_or(TlsVersion::V1_2),
            key_exchange: given(&tls.key_exchange).copied().unwrap_or(KeyExchangeChoice::Any),
        };
        Ok(if mode == TlsMode::Implicit { Tls::Implicit(settings) } else { Tls::StartTls(settings) })
    }

    /// Returns the settings for verification; `None` without TLS.
    pub fn settings(&self) -> Option<&TlsSettings> {
        match self {
            Tls::StartTls(settings) | Tls::Implicit(settings) => Some(settings),
            Tls::None => None,
        }
    }
}

/// The rules by which a relay's certificate is verified, and the certificate of our own that we show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// The ground on which a certificate is trusted.
    pub trust: Trust,
    /// `server-name`: the name that is verified and sent as SNI, in place of the name of the relayhost.
    pub server_name: Option<String>,
    /// `client-certificate` and `client-key`: the certificate that we show to the relay.
    pub client: Option<ClientCertificate>,
    /// The oldest protocol version accepted.
    pub minimum: TlsVersion,
    /// The key exchanges that are offered.
    pub key_exchange: KeyExchangeChoice,
}

impl TlsSettings {
    /// Returns true if the relay's certificate must name the relayhost: there is neither another name nor a pin.
    pub fn expects_name_of_host(&self) -> bool {
        self.server_name.is_none() && !matches!(self.trust, Trust::Pins(_))
    }
}

/// The ground on which a relay's certificate is trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// An authority in the CA bundle of the system signed it.
    System,
    /// `ca-file`: an authority in this PEM file signed it. The bundle of the system is not used.
    CaFile(PathBuf),
    /// `pin-sha256`: the SHA-256 of its SubjectPublicKeyInfo is one of these. Neither authority nor name is checked.
    /// Not empty.
    Pins(Vec<[u8; 32]>),
}

/// The certificate by which the relay recognises us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The PEM file with the chain; our own certificate is the first.
    pub certificate: PathBuf,
    /// The PEM file with its private key.
    pub key: PathBuf,
}

/// Checks invariant 1: no relay outside this host gets a message or a secret without TLS.
fn refuse_plaintext_beyond_loopback(
    tls: &file::TlsTable,
    relayhost: &LocatedList<WrittenHost>,
) -> Result<(), ConfigFault> {
    let Some(mode) = location_of(&tls.mode) else { return Ok(()) };
    if let Some(entry) = relayhost.entries.iter().find(|entry| !entry.value.host.is_loopback()) {
        return Err(mode.expected(
            "\"starttls\" or \"implicit\" (\"none\" is for a relayhost on a loopback address only)",
            format!("\"none\" with relayhost {}", entry.value.host),
        ));
    }
    let others = [
        location_of(&tls.ca_file),
        tls.pin_sha256.as_ref().map(|list| &list.location),
        location_of(&tls.server_name),
        location_of(&tls.client_certificate),
        location_of(&tls.client_key),
        location_of(&tls.minimum),
        location_of(&tls.key_exchange),
    ];
    match others.into_iter().flatten().next() {
        Some(other) => Err(other.expected("nothing here with tls.mode = \"none\"", "it set")),
        None => Ok(()),
    }
}

/// Returns the one kind of trust that the file asks for. A CA file and pins together are an error, since only one of
/// them could decide.
fn trust_of(tls: &file::TlsTable) -> Result<Trust, ConfigFault> {
    match (&tls.ca_file, &tls.pin_sha256) {
        (Some(ca_file), Some(pins)) => Err(pins.location.expected(
            format!(
                "either {} or {} (a pinned key is trusted whatever CA signed it)",
                ca_file.location.key, pins.location.key
            ),
            format!("both ({} stands on line {})", ca_file.location.key, ca_file.location.line),
        )),
        (Some(ca_file), None) => Ok(Trust::CaFile(ca_file.value.0.clone())),
        (None, Some(pins)) => Ok(Trust::Pins(pins.values().into_iter().map(|pin| pin.0).collect())),
        (None, None) => Ok(Trust::System),
    }
}

fn client_certificate_of(tls: &file::TlsTable) -> Result<Option<ClientCertificate>, ConfigFault> {
    match (&tls.client_certificate, &tls.client_key) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => {
            Ok(Some(ClientCertificate { certificate: certificate.value.0.clone(), key: key.value.0.clone() }))
        }
        (Some(alone), None) => {
            Err(alone.location.expected(alone.location.beside("tls.client-key") + " beside it", "it alone"))
        }
        (None, Some(alone)) => {
            let certificate = alone.location.beside("tls.client-certificate");
            Err(alone.location.expected(certificate + " beside it", "it alone"))
        }
    }
}
