//! What the sink shows in its TLS handshake: a certificate of its own making, or one it is given.
//!
//! Promises: the certificate made here is good for `localhost`, 127.0.0.1 and ::1, and is its own CA:
//! whoever trusts its PEM text (`tls.ca-file`) verifies it and nothing else. Its key is never written.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// A certificate, and the acceptor that shows it.
#[derive(Clone)]
pub struct Certificate {
    acceptor: TlsAcceptor,
    /// The certificates as PEM, the leaf first.
    pem: Arc<str>,
}

impl Certificate {
    /// A fresh self-signed one.
    pub fn self_made() -> Result<Self, String> {
        let names = ["localhost", "127.0.0.1", "::1"].map(String::from);
        let made = rcgen::generate_simple_self_signed(names).map_err(|error| error.to_string())?;
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())?;
        Self::new(vec![made.cert.der().clone()], key, made.cert.pem())
    }

    /// The chain in one PEM file, leaf first, and its key in another.
    pub fn load(chain_file: &Path, key_file: &Path) -> Result<Self, String> {
        let at = |path: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let pem = std::fs::read_to_string(chain_file).map_err(|error| at(chain_file, &error))?;
        let chain = CertificateDer::pem_slice_iter(pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| at(chain_file, &error))?;
        let key = PrivateKeyDer::from_pem_file(key_file).map_err(|error| at(key_file, &error))?;
        Self::new(chain, key, pem).map_err(|error| at(chain_file, &error))
    }

    fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        pem: String,
    ) -> Result<Self, String> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .map_err(|error| error.to_string())?;
        Ok(Certificate { acceptor: TlsAcceptor::from(Arc::new(config)), pem: pem.into() })
    }

    /// What `tls.ca-file` must hold to trust it, where it is self-made.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The server side of a handshake.
    pub fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, RootCertStore};
    use tokio_rustls::TlsConnector;

    /// A handshake between `certificate` and a client that trusts `pem` and expects `name`.
    async fn handshake(certificate: &Certificate, pem: &str, name: &str) -> Result<(), String> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let (ours, theirs) = tokio::io::duplex(65_536);
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        let (client, _) = tokio::join!(connector.connect(name, theirs), certificate.acceptor().accept(ours));
        client.map(drop).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_self_made_one_is_good_for_loopback_names_and_only_with_its_own_pem() {
        let (ours, other) = (Certificate::self_made().unwrap(), Certificate::self_made().unwrap());
        for name in ["localhost", "127.0.0.1", "::1"] {
            assert_eq!(handshake(&ours, ours.pem(), name).await, Ok(()), "{name}");
        }
        assert!(handshake(&ours, ours.pem(), "relay.example.org").await.is_err());
        assert!(handshake(&ours, other.pem(), "localhost").await.is_err());
    }

    #[tokio::test]
    async fn a_given_one_is_loaded_or_the_file_at_fault_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let (chain, key) = (directory.path().join("chain.pem"), directory.path().join("key.pem"));
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(&chain, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let loaded = Certificate::load(&chain, &key).unwrap();
        assert_eq!(handshake(&loaded, &made.cert.pem(), "localhost").await, Ok(()));

        let absent = directory.path().join("absent.pem");
        let cases = [(&absent, &key, "absent.pem"), (&chain, &absent, "absent.pem"), (&key, &key, "key.pem")];
        for (chain, key, named) in cases {
            let error = Certificate::load(chain, key).err().unwrap();
            assert!(error.contains(named), "{error}");
        }
    }
}
