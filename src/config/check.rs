//! Loading: the file itself, and the files that it names.
//!
//! Promises: a configuration that was loaded names certificates, keys and secrets that could be read
//! and used a moment ago. What is wrong with one of them is laid to the key that names it. They are read by the
//! functions by which they are read for use.
//! Not here: the spool (`spool/`), the sockets (`listener/`).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::access::is_exposed;
use super::authorities::Authorities;
use super::content::read_all;
use super::error::{Fault, Place, line_at};
use super::file::{self, File};
use super::secret_source::SecretSource;
use super::table::place_of;
use super::tls_file::TlsFileError;
use super::{ClientCertificate, Config, Environment, ServerCertificate, Trust};

/// Reads, parses and checks the file at `path`, and the files it names.
pub(super) fn load(path: &Path) -> Result<Config, Fault> {
    let (file, config) = parse(path)?;
    read_tls_files(&config).map_err(|error| at_its_setting(&file, &error))?;
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

/// What follows where everybody may read the password or a private key, and that is not for us to change.
pub(super) fn exposures(config: &Config) -> Vec<String> {
    let told = |(setting, path): (&str, &Path)| {
        is_exposed(path).then(|| {
            format!(
                "{setting}: every user of this host can read {}; it is used, since it is mounted so: mount it \
                 readable by nullmta's user or group alone",
                path.display()
            )
        })
    };
    secret_files(config).into_iter().filter_map(told).collect()
}

/// The files that few may read, each with the setting that names it.
fn secret_files(config: &Config) -> Vec<(&'static str, &Path)> {
    let password = config.relay.auth.as_ref().and_then(|auth| match &auth.secret {
        SecretSource::File(path) => Some(("auth.password-file", &**path)),
        SecretSource::Credential(_) | SecretSource::Command(_) => None,
    });
    let client = config.relay.tls.settings().and_then(|tls| tls.client.as_ref());
    let keys = [
        client.map(ClientCertificate::key_file),
        config.listen.certificate.as_ref().and_then(ServerCertificate::key_file),
    ];
    let keys = keys.into_iter().flatten().map(|key| (key.setting, key.path));
    password.into_iter().chain(keys).collect()
}

fn parse(path: &Path) -> Result<(File, Config), Fault> {
    let octets = read_all(path).map_err(|error| Fault::of_file(format!("cannot be read: {error}")))?;
    let text = String::from_utf8(octets).map_err(|error| {
        let end = error.utf8_error().valid_up_to();
        let valid = String::from_utf8_lossy(&error.as_bytes()[..end]).into_owned();
        let place = Place { line: line_at(&valid, end), key: String::new() };
        place.expected("UTF-8", "an octet that is not")
    })?;
    let file = File::parse(&text)?;
    let config = Config::of(&file, &Environment::of_host())?;
    Ok((file, config))
}

/// Reads every file of TLS that `config` names, for the error alone.
fn read_tls_files(config: &Config) -> Result<(), TlsFileError> {
    if let Some(tls) = config.relay.tls.settings() {
        if let Trust::CaFile(path) = &tls.trust {
            Authorities::read(path)?;
        }
        if let Some(client) = &tls.client {
            client.read()?;
        }
    }
    if let Some(shown) = &config.listen.certificate {
        shown.read()?;
    }
    Ok(())
}

/// The same error, laid to the place in `file` where its setting stands.
fn at_its_setting(file: &File, error: &TlsFileError) -> Fault {
    let places = [
        place_of(&file.tls.ca_file),
        place_of(&file.tls.client_certificate),
        place_of(&file.tls.client_key),
        place_of(&file.listen.certificate),
        place_of(&file.listen.key),
    ];
    match places.into_iter().flatten().find(|place| place.key == error.setting) {
        Some(place) => place.fault(error.words()),
        None => Fault::of_file(error.to_string()),
    }
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
