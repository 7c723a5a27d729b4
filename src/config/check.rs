//! Loading: the file itself, and the files that it names.
//!
//! Promises: a configuration that was loaded names certificates, keys and secrets that could be read
//! and used a moment ago. What is wrong with one of them is laid to the key that names it.
//! Not here: the spool (`spool/`), the sockets (`listener/`).

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use super::authorities::Authorities;
use super::error::{Fault, Place, line_at};
use super::file::{self, File};
use super::resolve::resolve;
use super::secret_source::{SecretSource, is_exposed, open_private};
use super::setting::{AbsolutePath, ShownCertificate};
use super::table::Entry;
use super::{Config, Environment};

/// The largest file read: what is larger is no configuration, and no certificate.
const MAX_OCTETS: u64 = 16 * 1024 * 1024;

/// Reads, parses and checks the file at `path`, and the files it names.
pub(super) fn load(path: &Path) -> Result<Config, Fault> {
    let (file, config) = parse(path)?;
    check_tls(&file.tls)?;
    check_listen(&file.listen)?;
    check_secret(&file.auth, &config)?;
    Ok(config)
}

/// Reads and parses the file at `path`, and looks at no other.
pub(super) fn read(path: &Path) -> Result<Config, Fault> {
    parse(path).map(|(_, config)| config)
}

/// What follows where not everybody may read the file at `path`.
pub(super) fn warning(path: &Path) -> Option<String> {
    let mode = fs::metadata(path).ok()?.permissions().mode() & 0o7777;
    (mode & 0o004 == 0).then(|| {
        format!(
            "{0}: not readable by every user (mode {mode:04o}): their sendmail then knows the usual sockets only, \
             and fails while the daemon is down; chmod 644 {0}, secrets belong into password-file",
            path.display()
        )
    })
}

/// What follows where everybody may read the password, and that is not for us to change.
pub(super) fn exposure(config: &Config) -> Option<String> {
    let SecretSource::File(path) = &config.relay.auth.as_ref()?.secret else { return None };
    is_exposed(path).then(|| {
        format!(
            "auth.password-file: every user of this host can read {}; it is used, since it is mounted so: mount it \
             readable by nullmta's user or group alone",
            path.display()
        )
    })
}

fn parse(path: &Path) -> Result<(File, Config), Fault> {
    let octets = read_all(path).map_err(|error| Fault::of_file(format!("cannot be read: {error}")))?;
    let text = String::from_utf8(octets).map_err(|error| {
        let end = error.utf8_error().valid_up_to();
        let valid = String::from_utf8_lossy(&error.as_bytes()[..end]).into_owned();
        let place = Place { line: line_at(&valid, end), key: String::new() };
        place.expected("UTF-8", "an octet that is not")
    })?;
    let file = File::read(&text)?;
    let config = resolve(&file, &Environment::of_host())?;
    Ok((file, config))
}

pub(super) fn read_all(path: &Path) -> io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    fs::File::open(path)?.take(MAX_OCTETS).read_to_end(&mut octets)?;
    Ok(octets)
}

pub(super) fn cannot_read(path: &Path, error: io::Error) -> String {
    format!("cannot read {}: {error}", path.display())
}

fn check_tls(tls: &file::Tls) -> Result<(), Fault> {
    if let Some(entry) = &tls.ca_file {
        Authorities::read(&entry.value.0).map_err(|error| entry.place.fault(error))?;
    }
    match (&tls.client_certificate, &tls.client_key) {
        (Some(certificate), Some(key)) => check_pair(&certificate.value.0, &certificate.place, key),
        _ => Ok(()),
    }
}

fn check_listen(listen: &file::Listen) -> Result<(), Fault> {
    match (&listen.certificate, &listen.key) {
        (Some(Entry { value: ShownCertificate::File(chain), place }), Some(key)) => {
            check_pair(chain, place, key)
        }
        _ => Ok(()),
    }
}

/// The chain in a file that the key at `place` names, and the private key of its first certificate.
fn check_pair(chain: &Path, place: &Place, key: &Entry<AbsolutePath>) -> Result<(), Fault> {
    let certificates = certificates(chain).map_err(|error| place.fault(error))?;
    let private = private_key(&key.value.0).map_err(|error| key.place.fault(error))?;
    let pair = CertifiedKey::from_der(certificates, private, &aws_lc_rs::default_provider());
    pair.map(drop).map_err(|error| {
        key.place.expected(format!("the private key of {}", chain.display()), format!("another ({error})"))
    })
}

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
    let mut octets = Zeroizing::new(Vec::new());
    let mut file = open_private(path).map_err(|error| error.to_string())?.take(MAX_OCTETS);
    file.read_to_end(&mut octets).map_err(|error| cannot_read(path, error))?;
    // What is wrong with it is not repeated: it might quote the key.
    PrivateKeyDer::from_pem_slice(&octets).map_err(|_| {
        format!("expected a PEM private key without a passphrase in {}, found none", path.display())
    })
}

fn check_secret(auth: &file::Auth, config: &Config) -> Result<(), Fault> {
    let Some(configured) = &config.relay.auth else { return Ok(()) };
    let place = auth
        .password_file
        .as_ref()
        .map(|entry| &entry.place)
        .or(auth.credential.as_ref().map(|entry| &entry.place))
        .or(auth.password_command.as_ref().map(|entry| &entry.place));
    match (configured.secret.check(), place) {
        (Err(error), Some(place)) => Err(place.fault(error.to_string())),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
