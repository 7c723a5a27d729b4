//! `[tls]`: what protects the mail on its way, and what makes the relay's certificate trusted.
//!
//! Promises: [`Tls::None`] only where each relayhost is on this host; one kind of trust.

use std::path::PathBuf;

use super::error::Fault;
use super::file;
use super::relayhost::WrittenHost;
use super::table::{List, given, place_of};
use super::words::{TlsMode, TlsVersion};

/// `tls.mode`, with what verification needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// STARTTLS (RFC 3207), required.
    StartTls(TlsSettings),
    /// TLS from the first octet (RFC 8314 3.3).
    Implicit(TlsSettings),
    /// No TLS: only where every host is a loopback address or `localhost`. What `localhost`
    /// resolves to is for the dialler to check.
    None,
}

impl Tls {
    /// What the file says, with the defaults, for the relays of `relayhost`.
    pub(super) fn of(tls: &file::Tls, relayhost: &List<WrittenHost>) -> Result<Tls, Fault> {
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
        };
        Ok(if mode == TlsMode::Implicit { Tls::Implicit(settings) } else { Tls::StartTls(settings) })
    }

    /// What verification needs, where there is TLS.
    pub fn settings(&self) -> Option<&TlsSettings> {
        match self {
            Tls::StartTls(settings) | Tls::Implicit(settings) => Some(settings),
            Tls::None => None,
        }
    }
}

/// How a relay's certificate is verified, and what we show of our own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// What makes a certificate trusted.
    pub trust: Trust,
    /// `server-name`: the name verified and sent as SNI instead of the relayhost's.
    pub server_name: Option<String>,
    /// `client-certificate` and `client-key`.
    pub client: Option<ClientCertificate>,
    /// The oldest protocol version accepted.
    pub minimum: TlsVersion,
}

/// What makes a relay's certificate trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The CA bundle of the system.
    System,
    /// `ca-file`: the CA certificates of this PEM file, instead of the system's.
    CaFile(PathBuf),
    /// `pin-sha256`: SHA-256 of the certificate's SubjectPublicKeyInfo, any of these; instead of
    /// any CA and name. Not empty.
    Pins(Vec<[u8; 32]>),
}

/// A certificate for the relay to know us by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// PEM, the chain, our own certificate first.
    pub certificate: PathBuf,
    /// PEM, its private key.
    pub key: PathBuf,
}

/// Invariant 1. No relay beyond this host gets a message or a secret without TLS.
fn refuse_plaintext_beyond_loopback(tls: &file::Tls, relayhost: &List<WrittenHost>) -> Result<(), Fault> {
    let Some(mode) = place_of(&tls.mode) else { return Ok(()) };
    if let Some(entry) = relayhost.entries.iter().find(|entry| !entry.value.host.is_loopback()) {
        return Err(mode.expected(
            "\"starttls\" or \"implicit\" (\"none\" is for a relayhost on a loopback address only)",
            format!("\"none\" with relayhost {}", entry.value.host),
        ));
    }
    let others = [
        place_of(&tls.ca_file),
        tls.pin_sha256.as_ref().map(|list| &list.place),
        place_of(&tls.server_name),
        place_of(&tls.client_certificate),
        place_of(&tls.client_key),
        place_of(&tls.minimum),
    ];
    match others.into_iter().flatten().next() {
        Some(other) => Err(other.expected("nothing here with tls.mode = \"none\"", "it set")),
        None => Ok(()),
    }
}

/// A pinned key needs no CA, and a CA says nothing about a pin: one of them decides.
fn trust_of(tls: &file::Tls) -> Result<Trust, Fault> {
    match (&tls.ca_file, &tls.pin_sha256) {
        (Some(ca_file), Some(pins)) => Err(pins.place.expected(
            "either tls.ca-file or tls.pin-sha256 (a pinned key is trusted whatever CA signed it)",
            format!("both (tls.ca-file stands on line {})", ca_file.place.line),
        )),
        (Some(ca_file), None) => Ok(Trust::CaFile(ca_file.value.0.clone())),
        (None, Some(pins)) => Ok(Trust::Pins(pins.values().into_iter().map(|pin| pin.0).collect())),
        (None, None) => Ok(Trust::System),
    }
}

fn client_certificate_of(tls: &file::Tls) -> Result<Option<ClientCertificate>, Fault> {
    match (&tls.client_certificate, &tls.client_key) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => {
            Ok(Some(ClientCertificate { certificate: certificate.value.0.clone(), key: key.value.0.clone() }))
        }
        (Some(alone), None) => Err(alone.place.expected("tls.client-key beside it", "it alone")),
        (None, Some(alone)) => Err(alone.place.expected("tls.client-certificate beside it", "it alone")),
    }
}
