//! Decides which relay is trusted, by certificate authorities or pinned keys, and holds the certificate of our own.
//!
//! Promises:
//! 1. By authorities (the system's bundle or `ca-file`): chain, dates, purpose and name are checked. A certificate
//!    for any purpose (RFC 5280 4.2.1.12) is for servers too.
//! 2. By `pin-sha256`: the key of the relay's own certificate is one of the pinned ones, and the relay proves in the
//!    handshake that it has it. Nothing else in the certificate is checked, not even its version: the key is the
//!    identity.
//! 3. Trust and everything else is the same for each key exchange that is offered.
//! 4. A file that cannot be used is an error that names it; it never causes fewer checks.
//!
//! Not here: the handshake (`tls.rs`), refusals in words (`distrust.rs`), reading the files
//! (`config/authorities.rs`, `config/key_pair.rs`).
//!
//! RFC 5280, RFC 7469 2.4 (pins are over the SubjectPublicKeyInfo).

use std::sync::Arc;

use ::aws_lc_rs::signature::{
    RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
    UnparsedPublicKey, VerificationAlgorithm,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WantsClientCert, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::SingleCertAndKey;
use rustls::{
    CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, Error, ExtendedKeyPurpose,
    OtherError, RootCertStore, SignatureScheme, SupportedProtocolVersion, version,
};
use webpki::{EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter, KeyUsage};

use super::certificate::{PublicKey, pin_of};
use super::distrust::{Distrust, DistrustCause, proof, short_rsa};
use super::first_flight::KeyExchange;
use crate::config::{
    Authorities, ClientCertificate, SettingError, TlsFileError, TlsSettings, TlsVersion, Trust,
};

type Builder = ConfigBuilder<ClientConfig, WantsClientCert>;

/// anyExtendedKeyUsage (RFC 5280 4.2.1.12).
const ANY_PURPOSE: [usize; 5] = [2, 5, 29, 37, 0];

/// The TLS configurations of our side, which differ only in the key exchange that they offer.
#[derive(Debug)]
pub(crate) struct ClientConfigs {
    post_quantum: Arc<ClientConfig>,
    classical: Arc<ClientConfig>,
}

impl ClientConfigs {
    pub(crate) fn offering(&self, key_exchange: KeyExchange) -> Arc<ClientConfig> {
        Arc::clone(match key_exchange {
            KeyExchange::PostQuantum => &self.post_quantum,
            KeyExchange::Classical => &self.classical,
        })
    }
}

/// Returns the TLS configurations of our side, and warnings for the operator.
pub(crate) fn client_configs(settings: &TlsSettings) -> Result<(ClientConfigs, Vec<String>), SettingError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let kx_groups = vec![kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1];
    let classical = Arc::new(CryptoProvider { kx_groups, ..aws_lc_rs::default_provider() });
    let (verifier, warnings) = verifier(&settings.trust, Arc::clone(&provider))?;
    let hybrid = builder(settings.minimum, provider, Arc::clone(&verifier))?;
    let mut post_quantum = with_identity(hybrid, settings.client.as_ref())?;
    let identity = Arc::clone(&post_quantum.client_auth_cert_resolver);
    let mut classical = builder(settings.minimum, classical, verifier)?.with_client_cert_resolver(identity);
    for config in [&mut post_quantum, &mut classical] {
        config.resumption = Resumption::disabled();
    }
    let configs = ClientConfigs { post_quantum: Arc::new(post_quantum), classical: Arc::new(classical) };
    Ok((configs, warnings))
}

type Verifier = Arc<dyn ServerCertVerifier>;

fn builder(
    minimum: TlsVersion,
    provider: Arc<CryptoProvider>,
    verifier: Verifier,
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

fn verifier(trust: &Trust, provider: Arc<CryptoProvider>) -> Result<(Verifier, Vec<String>), SettingError> {
    let (roots, warnings) = match trust {
        Trust::System => system_roots(),
        Trust::CaFile(path) => {
            let read = Authorities::read(path)?;
            (read.roots, read.passed_over)
        }
        Trust::Pins(pins) => return Ok((Arc::new(PinVerifier { pins: pins.clone(), provider }), Vec::new())),
    };
    Ok((Arc::new(AuthorityVerifier::new(roots, provider)?), warnings))
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

/// A verifier that trusts authorities.
#[derive(Debug)]
struct AuthorityVerifier {
    roots: Arc<RootCertStore>,
    usual: Arc<WebPkiServerVerifier>,
    provider: Arc<CryptoProvider>,
}

impl AuthorityVerifier {
    fn new(roots: RootCertStore, provider: Arc<CryptoProvider>) -> Result<Self, String> {
        let roots = Arc::new(roots);
        let builder = WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider));
        let usual = builder.build().map_err(|error| format!("tls.ca-file: {error}"))?;
        Ok(AuthorityVerifier { roots, usual, provider })
    }

    /// Makes the usual checks, but accepts a certificate for any purpose as one for servers.
    fn verify_for_any_purpose(
        &self,
        shown: &Shown<'_>,
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        let algorithms = self.provider.signature_verification_algorithms.all;
        let verified = EndEntityCert::try_from(shown.end_entity).and_then(|certificate| {
            let path = certificate.verify_for_usage(
                algorithms,
                &self.roots.roots,
                shown.issuers,
                now,
                ForServers,
                None,
                None,
            );
            path.map(drop)
        });
        verified.map_err(|error| {
            let found = match error {
                webpki::Error::UnknownIssuer => CertificateError::UnknownIssuer,
                webpki::Error::InvalidSignatureForPublicKey => CertificateError::BadSignature,
                other => CertificateError::Other(OtherError(Arc::new(other))),
            };
            Error::InvalidCertificate(found)
        })?;
        verify_server_name(&ParsedCertificate::try_from(shown.end_entity)?, name)
    }
}

/// The certificates that a relay has sent.
struct Shown<'a> {
    end_entity: &'a CertificateDer<'a>,
    issuers: &'a [CertificateDer<'a>],
}

/// The check that a certificate is for servers, or for any purpose by anyExtendedKeyUsage (RFC 5280 4.2.1.12).
struct ForServers;

impl ExtendedKeyUsageValidator for ForServers {
    fn validate(&self, mut purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        let mut has_any = false;
        let mut others = Vec::new();
        for purpose in purposes.by_ref() {
            let purpose = purpose?.to_decoded_oid();
            has_any |= purpose == ANY_PURPOSE || purpose == KeyUsage::SERVER_AUTH_REPR;
            others.push(purpose);
        }
        if has_any || others.is_empty() {
            return Ok(());
        }
        let (required, present) = (KeyUsage::server_auth(), others);
        Err(webpki::Error::RequiredEkuNotFoundContext(webpki::RequiredEkuNotFoundContext {
            required,
            present,
        }))
    }
}

impl ServerCertVerifier for AuthorityVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(bits) = short_rsa(end_entity) {
            return Err(Distrust::error(DistrustCause::ShortRsa { bits, of_authority: false }, end_entity));
        }
        let usual = self.usual.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        let outcome = match usual {
            Err(Error::InvalidCertificate(CertificateError::InvalidPurposeContext { presented, .. }))
                if presented.contains(&ExtendedKeyPurpose::Other(ANY_PURPOSE.to_vec())) =>
            {
                let shown = Shown { end_entity, issuers: intermediates };
                self.verify_for_any_purpose(&shown, server_name, now)
                    .map(|()| ServerCertVerified::assertion())
            }
            usual => usual,
        };
        if outcome.is_err()
            && let Some(bits) = intermediates.iter().find_map(short_rsa)
        {
            return Err(Distrust::error(DistrustCause::ShortRsa { bits, of_authority: true }, end_entity));
        }
        Distrust::found(outcome, end_entity)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        proof(self.usual.verify_tls12_signature(message, certificate, signature), certificate)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        proof(self.usual.verify_tls13_signature(message, certificate, signature), certificate)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}

/// A verifier that trusts pinned keys, and checks no name.
#[derive(Debug)]
struct PinVerifier {
    pins: Vec<[u8; 32]>,
    provider: Arc<CryptoProvider>,
}

impl PinVerifier {
    /// Verifies that `signature` over `message` was made with `key`, by one of the algorithms of TLS 1.2 for `scheme`.
    fn has_signed(
        &self,
        key: &PublicKey<'_>,
        message: &[u8],
        scheme: SignatureScheme,
        signature: &[u8],
    ) -> bool {
        let mapping = self.provider.signature_verification_algorithms.mapping;
        let mut algorithms =
            mapping.iter().filter(|(known, _)| *known == scheme).flat_map(|(_, algorithms)| *algorithms);
        algorithms.any(|algorithm| {
            algorithm.public_key_alg_id().as_ref() == key.algorithm
                && algorithm.verify_signature(key.key, message, signature).is_ok()
        }) || has_signed_with_short_rsa(key, message, scheme, signature)
    }
}

/// Verifies the same for RSA keys from 1,024 bits on, which are accepted if they are pinned.
fn has_signed_with_short_rsa(
    key: &PublicKey<'_>,
    message: &[u8],
    scheme: SignatureScheme,
    signature: &[u8],
) -> bool {
    let algorithm: &'static dyn VerificationAlgorithm = match scheme {
        SignatureScheme::RSA_PKCS1_SHA256 => &RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
        SignatureScheme::RSA_PKCS1_SHA512 => &RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
        _ => return false,
    };
    key.rsa_bits().is_some() && UnparsedPublicKey::new(algorithm, key.key).verify(message, signature).is_ok()
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
        match pin_of(end_entity) {
            Some(seen) if self.pins.contains(&seen) => Ok(ServerCertVerified::assertion()),
            Some(_) => Err(Distrust::error(DistrustCause::NotPinned, end_entity)),
            None => Err(Distrust::error(DistrustCause::Found(CertificateError::BadEncoding), end_entity)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = PublicKey::of(certificate);
        let is_proved =
            key.is_some_and(|key| self.has_signed(&key, message, signature.scheme, signature.signature()));
        let bad = Error::InvalidCertificate(CertificateError::BadSignature);
        proof(is_proved.then(HandshakeSignatureValid::assertion).ok_or(bad), certificate)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = PublicKey::of(certificate).map(|key| SubjectPublicKeyInfoDer::from(key.whole));
        let key = key.ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let algorithms = &self.provider.signature_verification_algorithms;
        proof(verify_tls13_signature_with_raw_key(message, &key, signature, algorithms), certificate)
    }

    /// Returns the signature schemes with PKCS #1 first, since for a short RSA key only those can be verified.
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let mut schemes = self.provider.signature_verification_algorithms.supported_schemes();
        let is_pkcs1 = |scheme: &SignatureScheme| {
            matches!(scheme, SignatureScheme::RSA_PKCS1_SHA256 | SignatureScheme::RSA_PKCS1_SHA512)
        };
        schemes.sort_by_key(|scheme| !is_pkcs1(scheme));
        schemes
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::path::Path;

    use rustls::pki_types::pem::PemObject;

    use super::super::testing::authority::kept_path;
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
            ("", "tls.ca-file: expected PEM certificates in "),
            ("not pem", ", found none"),
            (torn, ", found damaged ones"),
            (hollow, "tls.ca-file: expected a CA certificate in "),
        ];
        for (text, expected) in cases {
            let file = file(text);
            let error =
                client_configs(&settings(Trust::CaFile(file.path().into()), None)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            assert!(error.contains(&*file.path().to_string_lossy()), "{error}");
        }
        let error =
            client_configs(&settings(Trust::CaFile("/nowhere/ca.pem".into()), None)).unwrap_err().to_string();
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
        let error = client_configs(&settings(Trust::Pins(vec![]), mixed)).unwrap_err().to_string();
        assert!(error.starts_with("tls.client-key: "), "{error}");
        let keyless = Some(identity(certificate.path(), certificate.path()));
        let error = client_configs(&settings(Trust::Pins(vec![]), keyless)).unwrap_err().to_string();
        assert!(error.starts_with("tls.client-key: expected a PEM private key "), "{error}");
    }

    #[test]
    fn some_authorities_are_always_trusted_by_default() {
        let (roots, warnings) = system_roots();
        assert!(!roots.is_empty());
        assert!(warnings.iter().all(|words| words.contains("ca-certificates")));
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
        assert_eq!(seen.iter().map(|octet| format!("{octet:02x}")).collect::<String>(), PIN);
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

    /// By `openssl dgst -sha256 -sign` with the key of `tests/certificates/rsa-1024.pem`, over [`MESSAGE`].
    const SIGNATURE: &str = "88243017a82509807834c892fd9f72952cbfcc65a2d7a26d630864a68d264e1e02dd62615fb60916bdb4\
                             20e22694d961d896d116c587cba26cb7f6dc175b933cba12b6e64c799092b688ce6e64ca2916c69697df\
                             ecfac3a56c5f3b3c71daab99ea0d1f10a6eceb849a27bbd336c266ce100c6884262e5296fe10b271db3cfc82";
    const MESSAGE: &[u8] = b"what was said so far";

    /// A pinned relay with a short RSA key was never talked to: its signatures were not verified at all.
    #[test]
    fn a_short_rsa_key_is_good_enough_for_who_has_pinned_it_and_for_nobody_else() {
        let certificate = CertificateDer::from_pem_file(kept_path("rsa-1024.pem")).unwrap();
        let pin = pin_of(&certificate).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let pinned = PinVerifier { pins: vec![pin], provider: Arc::clone(&provider) };
        let name = ServerName::try_from("mx.example").unwrap();
        pinned.verify_server_cert(&certificate, &[], &name, &[], UnixTime::now()).unwrap();
        let key = PublicKey::of(&certificate).unwrap();
        let octet = |at| u8::from_str_radix(&SIGNATURE[at..at + 2], 16).unwrap();
        let signature: Vec<u8> = (0..SIGNATURE.len()).step_by(2).map(octet).collect();
        let scheme = SignatureScheme::RSA_PKCS1_SHA256;
        assert_eq!(
            (key.rsa_bits(), pinned.has_signed(&key, MESSAGE, scheme, &signature)),
            (Some(1024), true)
        );
        assert!(!pinned.has_signed(&key, b"something else", scheme, &signature));
        assert!(!pinned.has_signed(&key, MESSAGE, SignatureScheme::RSA_PKCS1_SHA512, &signature));
        assert!(!pinned.has_signed(&key, MESSAGE, SignatureScheme::RSA_PSS_SHA256, &signature));
        assert_eq!(pinned.supported_verify_schemes()[..2], [SignatureScheme::RSA_PKCS1_SHA512, scheme]);

        let roots = Authorities::read(&kept_path("authority.pem")).unwrap().roots;
        let trusting = AuthorityVerifier::new(roots, provider).unwrap();
        let refused = trusting.verify_server_cert(&certificate, &[], &name, &[], UnixTime::now());
        let Err(Error::InvalidCertificate(CertificateError::Other(refused))) = refused else {
            panic!("{refused:?}")
        };
        let refused = refused.0.to_string();
        let pin: String = pin.iter().map(|octet| format!("{octet:02x}")).collect();
        let said = "the key in the relay's certificate is RSA with 1024 bits, which can be forged; 2048 are needed; \
                    give the relay a new key (a pin serves only where it speaks TLS 1.2); if";
        assert!(refused.contains(said) && refused.contains(&pin), "{refused}");
    }
}
