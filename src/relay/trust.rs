//! Whom we trust: certificate authorities, or pinned keys; and who we are, if asked.
//!
//! Promises:
//! 1. By authorities (the system's bundle or `ca-file`): chain, dates and name are checked.
//! 2. By `pin-sha256`: the key of the relay's own certificate is one of the pinned ones, and the relay
//!    proves in the handshake that it holds it. Name, dates and issuer are not looked at: the key is
//!    the identity.
//! 3. A file that cannot be used is an error that names it; it never means less checking.
//!
//! Not here: the handshake (`tls.rs`).
//!
//! RFC 5280, RFC 7469 2.4 (pins are over the SubjectPublicKeyInfo).

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WantsClientCert};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, Error, OtherError, RootCertStore,
    SignatureScheme, SupportedProtocolVersion, version,
};

use crate::config::{ClientCertificate, TlsSettings, TlsVersion, Trust};

type Builder = ConfigBuilder<ClientConfig, WantsClientCert>;

/// The configuration of our side. Beside it: what the operator should know though it works.
pub(crate) fn client_config(settings: &TlsSettings) -> Result<(ClientConfig, Option<String>), String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let versions: &[&SupportedProtocolVersion] = match settings.minimum {
        TlsVersion::V1_2 => &[&version::TLS13, &version::TLS12],
        TlsVersion::V1_3 => &[&version::TLS13],
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(|error| format!("tls.minimum: {error}"))?;
    let mut warning = None;
    let builder = match &settings.trust {
        Trust::System => {
            let (roots, told) = system_roots();
            warning = told;
            builder.with_root_certificates(roots)
        }
        Trust::CaFile(path) => builder.with_root_certificates(roots_from(path)?),
        Trust::Pins(pins) => {
            let verifier = Arc::new(PinVerifier { pins: pins.clone(), provider });
            builder.dangerous().with_custom_certificate_verifier(verifier)
        }
    };
    let mut config = with_identity(builder, settings.client.as_ref())?;
    config.resumption = Resumption::disabled();
    Ok((config, warning))
}

fn system_roots() -> (RootCertStore, Option<String>) {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if !roots.is_empty() {
        return (roots, None);
    }
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let words = "no system trust bundle was found (package ca-certificates); trusting the authorities \
                 known when this program was built";
    (roots, Some(words.into()))
}

fn roots_from(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("tls.ca-file", path)? {
        let usable = roots.add(certificate);
        usable.map_err(|error| format!("tls.ca-file: {}: {error}", path.display()))?;
    }
    Ok(roots)
}

fn with_identity(builder: Builder, client: Option<&ClientCertificate>) -> Result<ClientConfig, String> {
    let Some(client) = client else { return Ok(builder.with_no_client_auth()) };
    let chain = certificates("tls.client-certificate", &client.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&client.key)
        .map_err(|error| unusable("tls.client-key", &client.key, "private key", &error))?;
    let fitting = builder.with_client_auth_cert(chain, key);
    fitting.map_err(|error| format!("tls.client-key: {}: {error}", client.key.display()))
}

/// Every certificate in a PEM file; at least one.
fn certificates(setting: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(unusable(setting, path, "certificate", &pem::Error::NoItemsFound)),
        Err(error) => Err(unusable(setting, path, "certificate", &error)),
    }
}

fn unusable(setting: &str, path: &Path, what: &str, error: &pem::Error) -> String {
    let path = path.display();
    match error {
        pem::Error::Io(error) => format!("{setting}: cannot read {path}: {error}"),
        pem::Error::NoItemsFound => format!("{setting}: no PEM {what} in {path}"),
        other => format!("{setting}: {path} is not a PEM {what}: {other}"),
    }
}

/// The relay holds another key than the pinned ones.
#[derive(Debug)]
pub(crate) struct PinMismatch {
    seen: [u8; 32],
}

impl fmt::Display for PinMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the relay's key is none of tls.pin-sha256; its pin is ")?;
        self.seen.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl std::error::Error for PinMismatch {}

/// Trusts a key rather than a name.
#[derive(Debug)]
struct PinVerifier {
    pins: Vec<[u8; 32]>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let seen = pin_of(end_entity)?;
        if self.pins.contains(&seen) {
            return Ok(ServerCertVerified::assertion());
        }
        let mismatch = OtherError(Arc::new(PinMismatch { seen }));
        Err(Error::InvalidCertificate(CertificateError::Other(mismatch)))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// SHA-256 of the certificate's SubjectPublicKeyInfo.
pub(crate) fn pin_of(certificate: &CertificateDer<'_>) -> Result<[u8; 32], Error> {
    let key = ParsedCertificate::try_from(certificate)?.subject_public_key_info();
    // The hash of this cipher suite is SHA-256 by its name (RFC 8446 B.4).
    let suite = aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let hash = suite.tls13().map(|suite| suite.common.hash_provider.hash(&key));
    hash.and_then(|hash| hash.as_ref().try_into().ok()).ok_or_else(|| Error::General("no SHA-256".into()))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    fn settings(trust: Trust, client: Option<ClientCertificate>) -> TlsSettings {
        TlsSettings { trust, server_name: None, client, minimum: TlsVersion::V1_2 }
    }

    #[test]
    fn files_that_cannot_be_used_are_named_with_their_key() {
        let torn = "-----BEGIN CERTIFICATE-----\n%%%%\n-----END CERTIFICATE-----\n";
        let hollow = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let cases = [
            ("", "tls.ca-file: no PEM certificate in "),
            ("not pem", "tls.ca-file: no PEM certificate in "),
            (torn, "is not a PEM certificate: "),
            (hollow, "tls.ca-file: "),
        ];
        for (text, expected) in cases {
            let file = file(text);
            let error = client_config(&settings(Trust::CaFile(file.path().into()), None)).unwrap_err();
            assert!(error.contains(expected), "{error}");
            assert!(error.contains(&*file.path().to_string_lossy()), "{error}");
        }
        let error = client_config(&settings(Trust::CaFile("/nowhere/ca.pem".into()), None)).unwrap_err();
        assert!(error.starts_with("tls.ca-file: cannot read /nowhere/ca.pem: "), "{error}");
    }

    #[test]
    fn a_client_key_that_does_not_fit_is_refused() {
        let made = || rcgen::generate_simple_self_signed(["client".into()]).unwrap();
        let (one, other) = (made(), made());
        let (certificate, key) = (file(&one.cert.pem()), file(&other.signing_key.serialize_pem()));
        let identity = |certificate: &Path, key: &Path| ClientCertificate {
            certificate: certificate.into(),
            key: key.into(),
        };
        let mixed = Some(identity(certificate.path(), key.path()));
        let error = client_config(&settings(Trust::Pins(vec![]), mixed)).unwrap_err();
        assert!(error.starts_with("tls.client-key: "), "{error}");
        let keyless = Some(identity(certificate.path(), certificate.path()));
        let error = client_config(&settings(Trust::Pins(vec![]), keyless)).unwrap_err();
        assert!(error.starts_with("tls.client-key: no PEM private key in "), "{error}");
    }

    #[test]
    fn some_authorities_are_always_trusted_by_default() {
        let (roots, warning) = system_roots();
        assert!(!roots.is_empty());
        if let Some(words) = warning {
            assert!(words.contains("ca-certificates"));
        }
    }

    const CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIIBgzCCASmgAwIBAgIUaU7dB5St2Kpf18VOS134WtnQ32wwCgYIKoZIzj0EAwIw\n\
FjEUMBIGA1UEAwwLcGluLmV4YW1wbGUwIBcNMjYxMTIxMDMxNDEwWhgPMjEyNjEw\n\
MjgwMzE0MTBaMBYxFDASBgNVBAMMC3Bpbi5leGFtcGxlMFkwEwYHKoZIzj0CAQYI\n\
KoZIzj0DAQcDQgAEp3goSAONnAYou6a2sku/YR7TLjuJn/6z+giVISBmuCGjCGI8\n\
tl+XVwrjPeL2lNWR/aGGsDMv4zFY4dc/QsyMpKNTMFEwHQYDVR0OBBYEFI9anErh\n\
xQus0ZDHYIz3cGxXHoG3MB8GA1UdIwQYMBaAFI9anErhxQus0ZDHYIz3cGxXHoG3\n\
MA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIgFpyKf0MgQWZuKOVg\n\
AKm3dhrt0hSOKHYe1w33uIu34R0CIQDDSLS6hwKP/+FdYoEPztQezF/nstJ+kEG9\n\
mCqzJS/dcg==\n\
-----END CERTIFICATE-----\n";

    /// By `openssl x509 -pubkey -noout | openssl pkey -pubin -outform der | sha256sum`.
    const PIN: &str = "015c33e4ea94e760d337ae2547af4d52df89016152a246e83838324488bbfa4d";

    #[test]
    fn a_pin_is_what_openssl_makes_of_the_public_key() {
        let seen = pin_of(&CertificateDer::from_pem_slice(CERTIFICATE.as_bytes()).unwrap()).unwrap();
        assert_eq!(
            PinMismatch { seen }.to_string(),
            format!("the relay's key is none of tls.pin-sha256; its pin is {PIN}")
        );
    }

    #[test]
    fn a_pin_outlives_its_certificate() {
        let key = rcgen::KeyPair::generate().unwrap();
        let named = |name: &str| {
            let parameters = rcgen::CertificateParams::new([name.into()]).unwrap();
            parameters.self_signed(&key).unwrap()
        };
        let (one, other) = (named("one.example"), named("other.example"));
        assert_eq!(pin_of(one.der()).unwrap(), pin_of(other.der()).unwrap());
    }
}
