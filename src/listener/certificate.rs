//! The certificate that a server shows in its TLS handshake: made by us, or read from files.
//!
//! Promises: a self-made certificate is valid for `localhost`, 127.0.0.1, ::1 and the name of the host, and is its
//! own CA: a client that trusts its PEM text accepts this certificate and no other. Its key is never written to disk.
//!
//! The sink uses it, too.

use std::io;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ProtocolVersion, ServerConfig, version};
use tokio_rustls::TlsAcceptor;

use crate::config::{ListenConfig, SettingError, TlsFile, TlsFileError, read_pair};
use crate::listener::backend::BoxStream;
use crate::sasl_server::ExporterOctets;

/// The names for which a self-made certificate is valid, besides the name of the host.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// The label of `tls-exporter` (RFC 9266 4.1).
const CHANNEL_BINDING_LABEL: &[u8] = b"EXPORTER-Channel-Binding";

/// The stream of a client after its handshake.
pub struct SecuredClient {
    /// The stream within TLS.
    pub stream: BoxStream,
    /// The TLS version, `TLSv1.3` or `TLSv1.2`.
    pub version: &'static str,
    /// The octets to which a login can be bound; `None` with TLS 1.2.
    pub exporter: Option<ExporterOctets>,
}

/// A certificate with the TLS acceptor that uses it.
#[derive(Clone)]
pub struct Certificate {
    acceptor: TlsAcceptor,
    /// The PEM text of a self-made certificate; empty for others.
    pem: Arc<str>,
}

impl Certificate {
    /// Returns the certificate that `listen` configures, read or made; `None` if it configures none. Blocks on the
    /// disk.
    pub fn of(listen: &ListenConfig) -> Result<Option<Self>, SettingError> {
        let Some(shown) = &listen.certificate else { return Ok(None) };
        let shown = match shown.read()? {
            Some(pair) => Self::new(pair, String::new()),
            None => Self::self_made(&listen.hostname)
                .map_err(|why| format!("listen.certificate: {why} (listen.hostname)"))?,
        };
        Ok(Some(shown))
    }

    /// Makes a new self-signed certificate for `hostname` and the names of loopback.
    pub fn self_made(hostname: &str) -> Result<Self, String> {
        let mut names: Vec<String> = LOOPBACK.map(String::from).into();
        if !LOOPBACK.contains(&hostname) {
            names.push(hostname.into());
        }
        let none = || format!("no certificate can be made for \"{hostname}\"; is it the name of a host?");
        let made = rcgen::generate_simple_self_signed(names).map_err(|_| none())?;
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())?;
        let chain = vec![made.cert.der().clone()];
        let pair = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(|_| none())?;
        Ok(Self::new(pair, made.cert.pem()))
    }

    /// Reads the certificate chain from one PEM file, leaf first, and its key from another.
    pub fn load(chain: TlsFile<'_>, key: TlsFile<'_>) -> Result<Self, TlsFileError> {
        // The PEM text of the file is not kept, since it may contain the key.
        read_pair(chain, key).map(|pair| Self::new(pair, String::new()))
    }

    fn new(pair: CertifiedKey, pem: String) -> Self {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])
            .expect("the provider has ciphers of both")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(pair)));
        Certificate { acceptor: TlsAcceptor::from(Arc::new(config)), pem: pem.into() }
    }

    /// Returns the text that the CA file of a client (`tls.ca-file` of nullmta) needs to trust a self-made
    /// certificate. It is empty for other certificates.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Does the server side of a handshake.
    pub async fn accept(&self, plain: BoxStream) -> io::Result<SecuredClient> {
        let secured = self.acceptor.accept(plain).await?;
        let session = secured.get_ref().1;
        // RFC 9266 3: only TLS 1.3 is sure to bind to both ends of a session.
        let is_newest = session.protocol_version() == Some(ProtocolVersion::TLSv1_3);
        let exported =
            is_newest.then(|| session.export_keying_material([0; 32], CHANNEL_BINDING_LABEL, Some(b"")));
        let exporter = exported.and_then(Result::ok).map(ExporterOctets);
        // Only these two versions are offered.
        let version = if is_newest { "TLSv1.3" } else { "TLSv1.2" };
        Ok(SecuredClient { stream: Box::new(secured), version, exporter })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, ServerName};
    use rustls::{ClientConfig, RootCertStore};
    use tokio_rustls::TlsConnector;

    /// Returns a client that trusts only the certificate in `pem`.
    pub(crate) fn connector_trusting(pem: &str) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        TlsConnector::from(Arc::new(config))
    }

    /// Does a handshake between `certificate` and a client that trusts `pem` and expects `name`; returns the TLS
    /// version.
    async fn handshake(certificate: &Certificate, pem: &str, name: &str) -> Result<&'static str, String> {
        let (ours, theirs) = tokio::io::duplex(65_536);
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let connecting = connector_trusting(pem).connect(name, theirs);
        let (client, ours) = tokio::join!(connecting, certificate.accept(Box::new(ours)));
        client.and(ours).map(|secured| secured.version).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_self_made_one_is_good_for_this_host_s_names_and_only_with_its_own_pem() {
        let made = || Certificate::self_made("web1.example.org").unwrap();
        let (ours, other) = (made(), made());
        for name in ["localhost", "127.0.0.1", "::1", "web1.example.org"] {
            assert_eq!(handshake(&ours, ours.pem(), name).await, Ok("TLSv1.3"), "{name}");
        }
        assert!(handshake(&ours, ours.pem(), "relay.example.org").await.is_err());
        assert!(handshake(&ours, other.pem(), "localhost").await.is_err());
        assert!(Certificate::self_made("localhost").is_ok());
    }

    fn load(chain: &Path, key: &Path) -> Result<Certificate, String> {
        let (chain, key) = (TlsFile { setting: "C", path: chain }, TlsFile { setting: "K", path: key });
        Certificate::load(chain, key).map_err(|error| error.to_string())
    }

    /// Writes a file that only its owner can read.
    fn write(path: &Path, text: String) {
        std::fs::write(path, text).unwrap();
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
    }

    #[tokio::test]
    async fn a_given_one_is_loaded_or_the_file_at_fault_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let (chain, key) = (directory.path().join("chain.pem"), directory.path().join("key.pem"));
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        write(&chain, made.cert.pem());
        write(&key, made.signing_key.serialize_pem());
        let loaded = load(&chain, &key).unwrap();
        assert_eq!(handshake(&loaded, &made.cert.pem(), "localhost").await, Ok("TLSv1.3"));

        let both = directory.path().join("both.pem");
        write(&both, made.signing_key.serialize_pem() + &made.cert.pem());
        let loaded = load(&both, &both).unwrap();
        assert_eq!(handshake(&loaded, &made.cert.pem(), "localhost").await, Ok("TLSv1.3"));
        assert_eq!(loaded.pem(), "", "its key would be in it");

        let absent = directory.path().join("absent.pem");
        let cases = [(&absent, &key, "absent.pem"), (&chain, &absent, "absent.pem"), (&key, &key, "key.pem")];
        for (chain, key, named) in cases {
            let error = load(chain, key).err().unwrap();
            assert!(error.contains(named), "{error}");
        }
    }
}
