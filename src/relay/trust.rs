//! Decides which relay is trusted, by certificate authorities or pinned keys, and holds the certificate of our own.
//!
//! Promises:
//! 1. By authorities (the system's bundle or `ca-file`): chain, dates, purpose and name are checked. A certificate for
//!    any purpose (RFC 5280 4.2.1.12) is for servers too.
//! 2. By `pin-sha256`: the key of the relay's own certificate is one of the pinned ones, and the relay proves in the
//!    handshake that it has it. Nothing else in the certificate is checked, not even its version: the key is the
//!    identity.
//! 3. Trust and everything else is the same for each key exchange that is offered.
//! 4. A file that cannot be used is an error that names it; it never causes fewer checks.
//!
//! The verifiers are in `trust/authorities.rs` and `trust/pins.rs`. Not here: the handshake (`tls.rs`), refusals in
//! words (`distrust.rs`), reading the files (`config/authorities.rs`, `config/key_pair.rs`).
//!
//! RFC 5280, RFC 7469 2.4 (pins are over the SubjectPublicKeyInfo).

mod authorities;
mod pins;

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, WantsClientCert};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::pki_types::CertificateDer;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, SupportedProtocolVersion, version};

use super::first_flight::KeyExchange;
use crate::config::{
    Authorities, ClientCertificate, KeyExchangeChoice, SettingError, TlsFileError, TlsSettings, TlsVersion,
    Trust,
};
use authorities::AuthorityVerifier;
use pins::PinVerifier;

type Builder = ConfigBuilder<ClientConfig, WantsClientCert>;

/// The number of names for which sessions are kept to be resumed. A relayhost needs one.
const MOST_SESSIONS: usize = 32;

/// The TLS configurations of our side, which differ only in the key exchange that they offer. Each keeps the sessions
/// that were made with it.
#[derive(Clone, Debug)]
pub(crate) struct ClientConfigs {
    post_quantum: Arc<ClientConfig>,
    classical: Arc<ClientConfig>,
}

impl ClientConfigs {
    pub(crate) fn offering(&self, key_exchange: KeyExchange) -> Arc<ClientConfig> {
        Arc::clone(match key_exchange {
            KeyExchange::PostQuantum | KeyExchange::PostQuantumAlone => &self.post_quantum,
            KeyExchange::Classical => &self.classical,
        })
    }

    /// Sets whether sessions are resumed from now on; those that were kept are forgotten.
    pub(crate) fn resume(&mut self, is_wanted: bool) {
        for config in [&mut self.post_quantum, &mut self.classical] {
            let resumption = match is_wanted {
                true => Resumption::in_memory_sessions(MOST_SESSIONS),
                false => Resumption::disabled(),
            };
            let mut fresh = ClientConfig::clone(config);
            fresh.resumption = resumption;
            *config = Arc::new(fresh);
        }
    }
}

/// What a client needs for its handshakes.
#[derive(Debug)]
pub(crate) struct ClientTrust {
    /// The TLS configurations of our side.
    pub(crate) configs: ClientConfigs,
    /// The verifier that they use.
    pub(crate) verifier: RelayVerifier,
    /// The authorities in `tls.ca-file`; none without it.
    pub(crate) authorities: Vec<CertificateDer<'static>>,
    /// Warnings for the operator.
    pub(crate) warnings: Vec<String>,
}

/// Returns what a client needs for its handshakes by `settings`.
pub(crate) fn client_trust(settings: &TlsSettings) -> Result<ClientTrust, SettingError> {
    let provider = Arc::new(match settings.key_exchange {
        KeyExchangeChoice::PostQuantum => CryptoProvider {
            kx_groups: vec![kx_group::X25519MLKEM768, kx_group::SECP256R1MLKEM768],
            ..aws_lc_rs::default_provider()
        },
        KeyExchangeChoice::Any | KeyExchangeChoice::Classical => aws_lc_rs::default_provider(),
    });
    // TLS 1.2 has no post-quantum key exchange.
    let minimum = match settings.key_exchange {
        KeyExchangeChoice::PostQuantum => TlsVersion::V1_3,
        KeyExchangeChoice::Any | KeyExchangeChoice::Classical => settings.minimum,
    };
    let kx_groups = vec![kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1];
    let classical = Arc::new(CryptoProvider { kx_groups, ..aws_lc_rs::default_provider() });
    let Trusted { verifier, authorities, warnings } = trusted(&settings.trust, Arc::clone(&provider))?;
    let hybrid = builder(minimum, provider, Arc::clone(&verifier))?;
    let post_quantum = with_identity(hybrid, settings.client.as_ref())?;
    let identity = Arc::clone(&post_quantum.client_auth_cert_resolver);
    let classical = builder(minimum, classical, Arc::clone(&verifier))?.with_client_cert_resolver(identity);
    let mut configs = ClientConfigs { post_quantum: Arc::new(post_quantum), classical: Arc::new(classical) };
    configs.resume(true);
    Ok(ClientTrust { configs, verifier, authorities, warnings })
}

/// Returns the TLS configuration for a server that is no relay, such as a token endpoint, and warnings for the operator. Its
/// certificate is verified by the authorities in `ca_file`, else by those of the system.
pub(crate) fn web_config(ca_file: Option<&Path>) -> Result<(Arc<ClientConfig>, Vec<String>), SettingError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let (roots, warnings) = match ca_file {
        None => system_roots(),
        Some(path) => {
            let read = Authorities::read("auth.oauth.ca-file", path)?;
            (read.roots, read.passed_over)
        }
    };
    let verifier = Arc::new(AuthorityVerifier::new(roots, Arc::clone(&provider))?);
    let mut config = builder(TlsVersion::V1_2, provider, verifier)?.with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((Arc::new(config), warnings))
}

pub(crate) type RelayVerifier = Arc<dyn ServerCertVerifier>;

fn builder(
    minimum: TlsVersion,
    provider: Arc<CryptoProvider>,
    verifier: RelayVerifier,
) -> Result<Builder, String> {
    let versions: &[&SupportedProtocolVersion] = match minimum {
        TlsVersion::V1_2 => &[&version::TLS13, &version::TLS12],
        TlsVersion::V1_3 => &[&version::TLS13],
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(|error| format!("tls.minimum: {error}"))?;
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier))
}

/// A verifier, the authorities in the file that names them, and warnings for the operator.
struct Trusted {
    verifier: RelayVerifier,
    authorities: Vec<CertificateDer<'static>>,
    warnings: Vec<String>,
}

fn trusted(trust: &Trust, provider: Arc<CryptoProvider>) -> Result<Trusted, SettingError> {
    let (roots, authorities, warnings) = match trust {
        Trust::System => {
            let (roots, warnings) = system_roots();
            (roots, Vec::new(), warnings)
        }
        Trust::CaFile(path) => {
            let read = Authorities::read("tls.ca-file", path)?;
            (read.roots, read.certificates, read.passed_over)
        }
        Trust::Pins(pins) => {
            let verifier = Arc::new(PinVerifier { pins: pins.clone(), provider });
            return Ok(Trusted { verifier, authorities: Vec::new(), warnings: Vec::new() });
        }
    };
    let verifier = Arc::new(AuthorityVerifier::new(roots, provider)?);
    Ok(Trusted { verifier, authorities, warnings })
}

fn system_roots() -> (RootCertStore, Vec<String>) {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if !roots.is_empty() {
        return (roots, Vec::new());
    }
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let words = "no system trust bundle was found (package ca-certificates); trusting the authorities \
                 known when this program was built";
    (roots, vec![words.into()])
}

fn with_identity(builder: Builder, client: Option<&ClientCertificate>) -> Result<ClientConfig, TlsFileError> {
    let Some(client) = client else { return Ok(builder.with_no_client_auth()) };
    let pair = client.read()?;
    Ok(builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(pair))))
}

#[cfg(test)]
mod tests;
