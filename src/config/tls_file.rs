//! Reads a file for TLS: trusted authorities, a certificate, or a private key.
//!
//! Promises:
//! 1. All such files are read here, so that `nullmta check`, the daemon and the sink accept and refuse the same files,
//!    with the same messages.
//! 2. For every private key it is checked who else may read it (`access.rs`), on the open file that is then read.
//!
//! Fails: [`TlsFileError`], which names the setting, the path and the cause, and never quotes the file.
//!
//! Not here: parsing the content (`authorities.rs`, `key_pair.rs`).

use std::fmt;
use std::path::{Path, PathBuf};

use rustls::CertificateError;
use zeroize::Zeroizing;

use super::access::{Guard, OpenFault, open};
use super::content::read_open;
use crate::tls_faults::flaw;

/// The path of a file, with the setting that names it.
#[derive(Clone, Copy, Debug)]
pub struct TlsFile<'a> {
    /// The key, such as `tls.ca-file`, or the option of a command.
    pub setting: &'static str,
    /// The path of the file.
    pub path: &'a Path,
}

impl TlsFile<'_> {
    /// Returns the octets of a file that anybody may read. Blocks on the disk.
    pub(super) fn public(self) -> Result<Vec<u8>, TlsFileError> {
        self.octets(Guard::Nobody)
    }

    /// Returns the octets of a file that only its owner, or a group of ours, may read. Blocks on the disk.
    pub(super) fn private(self) -> Result<Zeroizing<Vec<u8>>, TlsFileError> {
        self.octets(Guard::Ourselves).map(Zeroizing::new)
    }

    fn octets(self, guard: Guard) -> Result<Vec<u8>, TlsFileError> {
        let read =
            open(self.path, guard).and_then(|(file, _)| read_open(file).map_err(OpenFault::Unreadable));
        read.map_err(|fault| self.fault(TlsFileFault::Closed(fault)))
    }

    /// Returns the error that says that this file has `fault`.
    pub(super) fn fault(self, fault: TlsFileFault) -> TlsFileError {
        TlsFileError { setting: self.setting, path: self.path.into(), fault }
    }
}

/// The reason why a file for TLS cannot be used.
#[derive(Debug)]
pub struct TlsFileError {
    /// The setting that names the file.
    pub setting: &'static str,
    /// The path of the file.
    pub path: PathBuf,
    /// The fault of the file.
    pub fault: TlsFileFault,
}

/// The reason why a file for TLS cannot be used.
#[derive(Debug)]
pub enum TlsFileFault {
    /// It cannot be read, or other users may read it.
    Closed(OpenFault),
    /// It holds no PEM certificate.
    NoCertificates,
    /// It holds PEM certificates of which one, or all, cannot be decoded.
    DamagedCertificates,
    /// It holds certificates, but none that can be used as an authority.
    NoAuthority,
    /// Its first certificate, the one to show, cannot be used.
    Certificate(CertificateError),
    /// It holds no PEM private key without a passphrase.
    NoKey,
    /// It holds a PEM private key that cannot be decoded.
    DamagedKey,
    /// Its key is of a kind that is not supported.
    UnusableKey,
    /// Its key does not belong to the certificate in the file at this path.
    OtherKey(PathBuf),
}

impl TlsFileError {
    /// Returns the message without the setting, for a caller that names the setting itself.
    pub fn words(&self) -> String {
        let path = self.path.display();
        let certificates = |found| format!("expected PEM certificates in {path}, found {found}");
        let key = |found| format!("expected a PEM private key without a passphrase in {path}, found {found}");
        match &self.fault {
            TlsFileFault::Closed(fault) => fault.words(&self.path),
            TlsFileFault::NoCertificates => certificates("none"),
            TlsFileFault::DamagedCertificates => certificates("damaged ones"),
            TlsFileFault::NoAuthority => {
                format!("expected a CA certificate in {path}, found none that can be used")
            }
            TlsFileFault::Certificate(error) => format!("the first certificate in {path} {}", flaw(error)),
            TlsFileFault::NoKey => key("none"),
            TlsFileFault::DamagedKey => key("a damaged one"),
            TlsFileFault::UnusableKey => format!(
                "the private key in {path} cannot be used: expected RSA of 2048 bits or more, ECDSA (P-256, P-384 or \
                 P-521) or Ed25519"
            ),
            TlsFileFault::OtherKey(certificate) => {
                format!("expected the private key of {} in {path}, found another", certificate.display())
            }
        }
    }
}

impl fmt::Display for TlsFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.setting, self.words())
    }
}

impl std::error::Error for TlsFileError {}

#[cfg(test)]
mod tests;
