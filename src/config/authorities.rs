//! `tls.ca-file`: the authorities that it holds.
//!
//! Promises: `nullmta check` and the daemon read the file here, so what one takes the other does; a certificate in
//! it that cannot be used is passed over and told of, as long as another one can.
//!
//! Fails: in words that name the file, without the key.

use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{Error, RootCertStore};

use super::content::{cannot_read, read_all};
use crate::tls_faults::flaw;

/// What a file of authorities holds.
pub struct Authorities {
    /// At least one.
    pub roots: RootCertStore,
    /// Which certificates were passed over, and why.
    pub passed_over: Vec<String>,
}

impl Authorities {
    /// Reads the PEM file at `path`. Blocks on the disk.
    pub fn read(path: &Path) -> Result<Authorities, String> {
        let octets = read_all(path).map_err(|error| cannot_read(path, error))?;
        let (mut roots, mut passed_over) = (RootCertStore::empty(), Vec::new());
        let (mut count, mut damaged) = (0, 0);
        for certificate in CertificateDer::pem_slice_iter(&octets) {
            count += 1;
            let taken = match certificate {
                Ok(certificate) => roots.add(certificate).map_err(|error| match error {
                    Error::InvalidCertificate(error) => flaw(&error),
                    _ => "cannot be read",
                }),
                Err(_) => {
                    damaged += 1;
                    Err("is damaged")
                }
            };
            if let Err(why) = taken {
                let path = path.display();
                passed_over.push(format!(
                    "certificate {count} in {path} cannot be used, and is passed over: it {why}; take it out of the \
                     file, or put a whole one in its place"
                ));
            }
        }
        let none = |expected, found| Err(format!("expected {expected} in {}, found {found}", path.display()));
        match count {
            _ if !roots.is_empty() => Ok(Authorities { roots, passed_over }),
            0 => none("PEM certificates", "none"),
            _ if damaged == count => none("PEM certificates", "damaged ones"),
            _ => none("a CA certificate", "none that can be used"),
        }
    }
}
