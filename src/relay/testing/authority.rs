//! Certificates for tests, and the relay's side of a handshake.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion, version};
use tempfile::NamedTempFile;
use tokio_rustls::TlsAcceptor;

use super::super::certificate::pin_of;
use crate::config::{ClientCertificate, KeyExchangeChoice, TlsSettings, TlsVersion, Trust};

/// A certificate authority.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
}

/// A certificate and its key, as files and as values.
pub(crate) struct Identity {
    certificate: NamedTempFile,
    key: NamedTempFile,
}

pub(crate) fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

impl Authority {
    pub(crate) fn new() -> Self {
        Authority::named("an authority")
    }

    pub(crate) fn named(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = parameters.self_signed(&key).unwrap();
        Authority { issuer: Issuer::new(parameters, key), certificate }
    }

    /// Issues a certificate for `names`, valid from and to the first day of these years.
    pub(crate) fn issue(&self, names: &[&str], years: (i32, i32)) -> Identity {
        self.issue_as(names, |parameters| {
            (parameters.not_before, parameters.not_after) =
                (date_time_ymd(years.0, 1, 1), date_time_ymd(years.1, 1, 1));
        })
    }

    /// Issues a certificate for `names`, valid and as `change` makes it.
    pub(crate) fn issue_as(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).into()).collect();
        let mut parameters = CertificateParams::new(names).unwrap();
        change(&mut parameters);
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        Identity { certificate: file(&certificate.pem()), key: file(&key.serialize_pem()) }
    }

    /// Issues a valid certificate for `name`.
    pub(crate) fn identity(&self, name: &str) -> Identity {
        self.issue(&[name], (2020, 2120))
    }

    /// Returns the authority's certificate as a `ca-file`.
    pub(crate) fn file(&self) -> NamedTempFile {
        file(&self.certificate.pem())
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).unwrap();
        Arc::new(roots)
    }
}

/// The certificate and key in `tests/certificates`, made by openssl for what rcgen does not make; the authority
/// that issued them is `authority.pem` beside them.
pub(crate) fn kept(name: &str) -> Identity {
    let text = std::fs::read_to_string(kept_path(name)).unwrap();
    Identity { certificate: file(&text), key: file(&text) }
}

pub(crate) fn kept_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/certificates").join(name)
}

impl Identity {
    pub(crate) fn pin(&self) -> [u8; 32] {
        pin_of(&CertificateDer::from_pem_file(self.certificate.path()).unwrap()).unwrap()
    }

    pub(crate) fn client(&self) -> ClientCertificate {
        ClientCertificate { certificate: self.certificate.path().into(), key: self.key.path().into() }
    }

    /// A relay that speaks TLS 1.2 and 1.3.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.acceptor_with(&[&version::TLS12, &version::TLS13], None)
    }

    /// The certificate, as a relay shows it.
    pub(crate) fn chain(&self) -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_file_iter(self.certificate.path()).unwrap().map(Result::unwrap).collect()
    }

    /// A relay that has no post-quantum key exchange.
    pub(crate) fn classical_acceptor(&self) -> TlsAcceptor {
        let kx_groups = vec![aws_lc_rs::kx_group::X25519];
        let provider = CryptoProvider { kx_groups, ..aws_lc_rs::default_provider() };
        let config = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(shown(self.certificate.path(), self.key.path()));
        TlsAcceptor::from(Arc::new(config))
    }

    /// A relay that speaks `versions` and asks for a certificate issued by `clients`.
    pub(crate) fn acceptor_with(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        clients: Option<&Authority>,
    ) -> TlsAcceptor {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(authority.roots(), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let config = builder.with_cert_resolver(shown(self.certificate.path(), self.key.path()));
        TlsAcceptor::from(Arc::new(config))
    }
}

pub(crate) fn tls_settings(trust: Trust) -> TlsSettings {
    TlsSettings {
        trust,
        server_name: None,
        client: None,
        minimum: TlsVersion::V1_2,
        key_exchange: KeyExchangeChoice::Any,
    }
}

/// A relay that shows one certificate and signs with another's key.
pub(crate) fn acceptor_showing(certificate: &Path, key: &Path) -> TlsAcceptor {
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(shown(certificate, key));
    TlsAcceptor::from(Arc::new(config))
}

/// Whatever they are, and whether or not they fit.
fn shown(certificate: &Path, key: &Path) -> Arc<SingleCertAndKey> {
    let chain: Vec<_> = CertificateDer::pem_file_iter(certificate).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(key).unwrap();
    let key = aws_lc_rs::default_provider().key_provider.load_private_key(key).unwrap();
    Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key)))
}
