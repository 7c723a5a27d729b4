//! A certificate and its private key, in two PEM files: what `listen.certificate` and `tls.client-certificate` name,
//! and what `nullmta sink` shows.
//!
//! Promises: `nullmta check` and whoever shows the certificate read the files here, so what one takes the other does.
//!
//! Fails: in words that name the file, and never quote it; they are laid to the certificate or to the key.
//!
//! Not here: who may read the key (`secret_source`).

use std::path::Path;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use zeroize::Zeroizing;

use super::content::{cannot_read, read_all};
use crate::tls_faults::flaw;

/// Which of the two files is at fault, and why.
#[derive(Debug)]
pub enum PairFault {
    /// That of the certificate.
    Certificate(String),
    /// That of the key.
    Key(String),
}

impl PairFault {
    /// The same, laid to the setting `certificate`, or to `key`.
    pub fn told(self, certificate: &str, key: &str) -> String {
        match self {
            PairFault::Certificate(why) => format!("{certificate}: {why}"),
            PairFault::Key(why) => format!("{key}: {why}"),
        }
    }
}

/// The chain in the file at `chain`, the certificate itself first, and its key at `key`. Blocks on the disk.
pub fn read_pair(chain: &Path, key: &Path) -> Result<CertifiedKey, PairFault> {
    let certificates = certificates(chain).map_err(PairFault::Certificate)?;
    let private = private_key(key).map_err(PairFault::Key)?;
    CertifiedKey::from_der(certificates, private, &aws_lc_rs::default_provider()).map_err(|error| {
        let (chain, key) = (chain.display(), key.display());
        match error {
            Error::InvalidCertificate(error) => {
                PairFault::Certificate(format!("the first certificate in {chain} {}", flaw(&error)))
            }
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                PairFault::Key(format!("expected the private key of {chain} in {key}, found another"))
            }
            _ => PairFault::Key(format!(
                "the private key in {key} cannot be used: expected RSA of 2048 bits or more, ECDSA (P-256, P-384 or \
                 P-521) or Ed25519"
            )),
        }
    })
}

/// Every certificate in a file; at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let octets = read_all(path).map_err(|error| cannot_read(path, error))?;
    let expected = |found| format!("expected PEM certificates in {}, found {found}", path.display());
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&octets).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err(expected("none")),
        Ok(certificates) => Ok(certificates),
        Err(_) => Err(expected("damaged ones")),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let octets = Zeroizing::new(read_all(path).map_err(|error| cannot_read(path, error))?);
    // What is wrong with it is not repeated: it might quote the key.
    PrivateKeyDer::from_pem_slice(&octets).map_err(|error| {
        let found = if matches!(error, pem::Error::NoItemsFound) { "none" } else { "a damaged one" };
        format!("expected a PEM private key without a passphrase in {}, found {found}", path.display())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls_faults::tests::assert_plain;

    const HOLLOW: &str = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n";

    /// `nullmta sink` said `I/O error: No such file`, `no items found` and `invalid peer certificate: BadEncoding`, and
    /// `check` `keys may not be consistent: KeyMismatch`. Each file that cannot be used, as a certificate and as a key.
    #[test]
    fn files_that_cannot_be_used_are_told_of_in_sentences() {
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
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        let cases = [
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
            (
                "own.pem",
                "empty",
                "K: expected a PEM private key without a passphrase in DIR/empty, found none",
            ),
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
        let at = |name: &str| directory.path().join(name);
        for (chain, key, expected) in cases {
            let told = read_pair(&at(chain), &at(key)).unwrap_err().told("C", "K");
            assert_eq!(told.replace(&*directory.path().to_string_lossy(), "DIR"), expected);
            if !told.contains("os error") {
                assert_plain(&told, &());
            }
        }
        read_pair(&at("own.pem"), &at("own.key")).unwrap();
    }
}
