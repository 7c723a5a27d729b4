//! A certificate and its private key, in two PEM files or one: what `listen.certificate` and `tls.client-certificate`
//! name, and the options of `nullmta sink`.
//!
//! Fails: as `tls_file.rs` says. The error names the file of the certificate or that of the key.

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};

use super::tls_file::{TlsFile, TlsFileError, TlsFileFault};
use super::{ClientCertificate, ServerCertificate};

impl ClientCertificate {
    /// Reads the two files and returns the pair. Blocks on the disk.
    pub fn read(&self) -> Result<CertifiedKey, TlsFileError> {
        read_pair(TlsFile { setting: "tls.client-certificate", path: &self.certificate }, self.key_file())
    }

    /// Returns the file of the private key.
    fn key_file(&self) -> TlsFile<'_> {
        TlsFile { setting: "tls.client-key", path: &self.key }
    }
}

impl ServerCertificate {
    /// Reads the two files and returns the pair; `None` for a self-made one, which has no files. Blocks on the disk.
    pub fn read(&self) -> Result<Option<CertifiedKey>, TlsFileError> {
        let (ServerCertificate::Files { chain, .. }, Some(key)) = (self, self.key_file()) else {
            return Ok(None);
        };
        read_pair(TlsFile { setting: "listen.certificate", path: chain }, key).map(Some)
    }

    /// Returns the file of the private key; `None` for a self-made one, which has no files.
    fn key_file(&self) -> Option<TlsFile<'_>> {
        match self {
            ServerCertificate::SelfMade => None,
            ServerCertificate::Files { key, .. } => Some(TlsFile { setting: "listen.key", path: key }),
        }
    }
}

/// Reads the certificates in `chain`, of which the first one is our own, and its private key in `key`. Blocks on the disk.
pub fn read_pair(chain: TlsFile<'_>, key: TlsFile<'_>) -> Result<CertifiedKey, TlsFileError> {
    let certificates = certificates(chain)?;
    let private = private_key(key)?;
    let paired = CertifiedKey::from_der(certificates, private, &aws_lc_rs::default_provider());
    paired.map_err(|error| match error {
        Error::InvalidCertificate(error) => chain.fault(TlsFileFault::Certificate(error)),
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            key.fault(TlsFileFault::OtherKey(chain.path.into()))
        }
        _ => key.fault(TlsFileFault::UnusableKey),
    })
}

/// Returns every certificate in a file; at least one.
fn certificates(file: TlsFile<'_>) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
    let octets = file.public()?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&octets).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err(file.fault(TlsFileFault::NoCertificates)),
        Ok(certificates) => Ok(certificates),
        Err(_) => Err(file.fault(TlsFileFault::DamagedCertificates)),
    }
}

fn private_key(file: TlsFile<'_>) -> Result<PrivateKeyDer<'static>, TlsFileError> {
    // The parser's message is not repeated, since it might quote the key.
    PrivateKeyDer::from_pem_slice(&file.private()?).map_err(|error| {
        let is_none = matches!(error, pem::Error::NoItemsFound);
        file.fault(if is_none { TlsFileFault::NoKey } else { TlsFileFault::DamagedKey })
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::tls_faults::tests::assert_plain;

    const HOLLOW: &str = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n";

    /// A certificate, a key, and the error that they give together.
    const UNUSABLE: [(&str, &str, &str); 13] = [
        ("absent", "own.key", "C: cannot read DIR/absent: No such file or directory (os error 2)"),
        ("empty", "own.key", "C: expected PEM certificates in DIR/empty, found none"),
        ("own.key", "own.key", "C: expected PEM certificates in DIR/own.key, found none"),
        ("cut.pem", "own.key", "C: expected PEM certificates in DIR/cut.pem, found damaged ones"),
        ("base64.pem", "own.key", "C: expected PEM certificates in DIR/base64.pem, found damaged ones"),
        ("start.pem", "own.key", "C: expected PEM certificates in DIR/start.pem, found damaged ones"),
        (
            "hollow.pem",
            "own.key",
            "C: the first certificate in DIR/hollow.pem is none that can be read: what its text stands for is no \
             certificate",
        ),
        ("own.pem", "absent", "K: cannot read DIR/absent: No such file or directory (os error 2)"),
        ("own.pem", "empty", "K: expected a PEM private key without a passphrase in DIR/empty, found none"),
        (
            "own.pem",
            "closed.key",
            "K: expected a PEM private key without a passphrase in DIR/closed.key, found none",
        ),
        (
            "own.pem",
            "cut.key",
            "K: expected a PEM private key without a passphrase in DIR/cut.key, found a damaged one",
        ),
        (
            "own.pem",
            "odd.key",
            "K: the private key in DIR/odd.key cannot be used: expected RSA of 2048 bits or more, ECDSA (P-256, \
             P-384 or P-521) or Ed25519",
        ),
        (
            "own.pem",
            "other.key",
            "K: expected the private key of DIR/own.pem in DIR/other.key, found another",
        ),
    ];

    /// Writes pairs and files that are no part of one, and returns their directory.
    fn written() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let made = || rcgen::generate_simple_self_signed(["nullmta.example".into()]).unwrap();
        let (own, other) = (made(), made());
        let key = own.signing_key.serialize_pem();
        let odd_key = "-----BEGIN PRIVATE KEY-----\naGVsbG8=\n-----END PRIVATE KEY-----\n";
        let files = [
            ("own.pem", own.cert.pem()),
            ("own.key", key.clone()),
            ("other.key", other.signing_key.serialize_pem()),
            ("hollow.pem", HOLLOW.into()),
            ("cut.pem", own.cert.pem()[..200].into()),
            ("base64.pem", HOLLOW.replace("aGVs", "%%%%")),
            ("start.pem", "-----BEGIN CERTIFICATE\n".into()),
            ("cut.key", key[..90].into()),
            ("odd.key", odd_key.into()),
            ("closed.key", key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY")),
            ("empty", String::new()),
        ];
        for (name, text) in files {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
        }
        directory
    }

    /// `nullmta sink` said `I/O error: No such file`, `no items found` and `invalid peer certificate: BadEncoding`, and
    /// `check` `keys may not be consistent: KeyMismatch`. Each file that cannot be used, as a certificate and as a key.
    #[test]
    fn files_that_cannot_be_used_are_told_of_in_sentences() {
        let directory = written();
        let read = |chain, key| {
            let (chain, key) = (directory.path().join(chain), directory.path().join(key));
            read_pair(TlsFile { setting: "C", path: &chain }, TlsFile { setting: "K", path: &key })
        };
        for (chain, key, expected) in UNUSABLE {
            let told = read(chain, key).unwrap_err().to_string();
            assert_eq!(told.replace(&*directory.path().to_string_lossy(), "DIR"), expected);
            if !told.contains("os error") {
                assert_plain(&told, &());
            }
        }
        read("own.pem", "own.key").unwrap();
    }
}
