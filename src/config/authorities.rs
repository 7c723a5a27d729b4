//! `tls.ca-file`, `auth.oauth.ca-file`: reads the authorities in the file.
//!
//! Promises: a certificate that cannot be used is skipped with a warning, as long as the file holds another one that can.
//!
//! Fails: as `tls_file.rs` says.

use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{Error, RootCertStore};

use super::tls_file::{TlsFile, TlsFileError, TlsFileFault};
use crate::tls_faults::flaw;

/// The certificate authorities in a file.
pub struct Authorities {
    /// The authorities that can be used; at least one.
    pub roots: RootCertStore,
    /// The certificates of these authorities.
    pub certificates: Vec<CertificateDer<'static>>,
    /// A warning for each certificate that was skipped, with the reason.
    pub passed_over: Vec<String>,
}

impl Authorities {
    /// Reads the PEM file at `path`, which `setting` names. Blocks on the disk.
    pub fn read(setting: &'static str, path: &Path) -> Result<Authorities, TlsFileError> {
        let file = TlsFile { setting, path };
        let octets = file.public()?;
        let (mut roots, mut certificates, mut passed_over) = (RootCertStore::empty(), Vec::new(), Vec::new());
        let (mut count, mut damaged) = (0, 0);
        for certificate in sections(&octets).into_iter().flat_map(CertificateDer::pem_slice_iter) {
            count += 1;
            let taken = match certificate {
                Ok(certificate) => match roots.add(certificate.clone()) {
                    Ok(()) => {
                        certificates.push(certificate);
                        Ok(())
                    }
                    Err(Error::InvalidCertificate(error)) => Err(flaw(&error)),
                    Err(_) => Err("cannot be read"),
                },
                Err(_) => {
                    damaged += 1;
                    Err("is damaged")
                }
            };
            if let Err(why) = taken {
                let path = path.display();
                passed_over.push(format!(
                    "{setting}: certificate {count} in {path} cannot be used, and is passed over: it {why}; take it \
                     out of the file, or put a whole one in its place"
                ));
            }
        }
        match count {
            _ if !roots.is_empty() => Ok(Authorities { roots, certificates, passed_over }),
            0 => Err(file.fault(TlsFileFault::NoCertificates)),
            _ if damaged == count => Err(file.fault(TlsFileFault::DamagedCertificates)),
            _ => Err(file.fault(TlsFileFault::NoAuthority)),
        }
    }
}

/// Returns the parts of `pem`, each from one BEGIN line to before the next: a section without an END line takes nothing
/// of the one behind it.
fn sections(pem: &[u8]) -> Vec<&[u8]> {
    let mut bounds = vec![0];
    let mut at = 0;
    for line in pem.split_inclusive(|octet| *octet == b'\n') {
        if line.starts_with(b"-----BEGIN ") {
            bounds.push(at);
        }
        at += line.len();
    }
    bounds.push(pem.len());
    bounds.windows(2).map(|bounds| &pem[bounds[0]..bounds[1]]).collect()
}
