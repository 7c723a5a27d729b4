//! Loading: the file itself, and the files that it names.
//!
//! Promises: a configuration that was loaded names certificates, keys and secrets that could be read
//! and used a moment ago. What is wrong with one of them is laid to the key that names it.
//! Not here: the spool (`spool/`), the sockets (`listener/`).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::authorities::Authorities;
use super::content::read_all;
use super::error::{Fault, Place, line_at};
use super::file::{self, File};
use super::key_pair::{PairFault, read_pair};
use super::resolve::resolve;
use super::secret_source::{SecretSource, is_exposed, open_private};
use super::setting::{AbsolutePath, ShownCertificate};
use super::table::Entry;
use super::{Config, Environment};

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
    let path = &key.value.0;
    open_private(path).map_err(|error| key.place.fault(error.to_string()))?;
    read_pair(chain, path).map(drop).map_err(|fault| match fault {
        PairFault::Certificate(why) => place.fault(why),
        PairFault::Key(why) => key.place.fault(why),
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
