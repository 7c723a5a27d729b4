//! Loads the configuration file, checks the secret that it names, and locates errors about files that it names.
//!
//! Promises: the secrets that a loaded configuration names could be read a moment ago; at a start, what is wrong with them
//! comes beside the configuration if another relay can be used, since only the mail of their relays waits for it. An error about a file names the key that
//! names the file, with its line.
//!
//! Not here: certificates and keys, which are read by those who use them (`relay/trust.rs`, `listener/certificate.rs`);
//! the spool (`spool/`), the sockets (`listener/`).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::access::is_exposed;
use super::auth::sources_of;
use super::content::read_all;
use super::error::{ConfigFault, KeyLocation, line_at};
use super::file::{self, ConfigFile};
use super::named_file::NamedFile;
use super::oauth::location_of_file;
use super::table::location_of;
use super::tls_file::TlsFileError;
use super::{Config, ConfigError, Environment, LoginUsers, Logins, RelayConfig, SettingError};

/// Reads and parses the file at `path`, and checks the secrets that it names.
pub(super) fn load(path: &Path) -> Result<Config, ConfigFault> {
    let (config, faults) = load_for_start(path)?;
    faults.into_iter().next().map_or(Ok(config), Err)
}

/// Reads and parses the file at `path`. Returns it with what is wrong with the secrets that it names, which a relay needs only
/// when there is mail for it; that is an error where no relay is left that could be used.
pub(super) fn load_for_start(path: &Path) -> Result<(Config, Vec<ConfigFault>), ConfigFault> {
    let (file, config) = parse(path)?;
    let logins = std::iter::once(&file.auth).chain(file.route.iter().map(|route| &route.value.auth));
    let checked = logins.zip(config.relays()).map(|(auth, relay)| check_secret(auth, relay));
    let (usable, faults): (Vec<_>, Vec<_>) = checked.partition(Result::is_ok);
    let mut faults: Vec<ConfigFault> = faults.into_iter().filter_map(Result::err).collect();
    if usable.is_empty() && !faults.is_empty() {
        return Err(faults.swap_remove(0));
    }
    Ok((config, faults))
}

/// Reads and parses the file at `path`, and reads no other file.
pub(super) fn read(path: &Path) -> Result<Config, ConfigFault> {
    parse(path).map(|(_, config)| config)
}

/// Returns a warning if not every user may read the file at `path`.
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

/// Returns a warning if the file with the users who may log in cannot be used. It keeps no daemon from starting, since most
/// mail needs no login.
pub(super) fn users_warning(config: &Config) -> Option<String> {
    let Some(Logins::Users(path)) = &config.listen.logins else { return None };
    let error = LoginUsers::load(path).err()?;
    Some(format!(
        "listen.users-file: {error}; until then nobody can log in, unless the daemon has read it before"
    ))
}

/// Returns a warning for each of these files that every user may read, if it has a password or a private key and its mode cannot
/// be changed here.
pub(super) fn exposures<'a>(files: impl IntoIterator<Item = NamedFile<'a>>) -> Vec<String> {
    let told = |NamedFile { setting, path, .. }: NamedFile<'_>| {
        is_exposed(path).then(|| {
            format!(
                "{setting}: every user of this host can read {}; it is used, since it is mounted so: mount it \
                 readable by nullmta's user or group alone",
                path.display()
            )
        })
    };
    files.into_iter().filter(|file| file.is_secret).filter_map(told).collect()
}

fn parse(path: &Path) -> Result<(ConfigFile, Config), ConfigFault> {
    let octets = read_all(path).map_err(|error| ConfigFault::of_file(format!("cannot be read: {error}")))?;
    let text = String::from_utf8(octets).map_err(|error| {
        let end = error.utf8_error().valid_up_to();
        let valid = String::from_utf8_lossy(&error.as_bytes()[..end]).into_owned();
        let location = KeyLocation { line: line_at(&valid, end), key: String::new() };
        location.expected("UTF-8", "an octet that is not")
    })?;
    Config::of_text(&text, path, &Environment::of_host())
}

/// Returns the text of `error`, with the position of its setting in `text`, the content of the file at `path`.
pub(super) fn located(path: &Path, text: &str, error: &SettingError) -> String {
    let fault = match (error, ConfigFile::parse(text)) {
        (SettingError::TlsFile(error), Ok(file)) => {
            let listen = [location_of(&file.listen.certificate), location_of(&file.listen.key)];
            let locations = files_of(&file.tls, &file.auth).into_iter().chain(listen).flatten();
            at_its_setting(locations, error)
        }
        // Only the text of a configuration without errors comes here.
        (SettingError::TlsFile(_), Err(_)) | (SettingError::Other(_), _) => return error.to_string(),
    };
    ConfigError::new(path, fault).to_string()
}

/// Does the same for an error about the relay of a route, the first one being 0.
pub(super) fn located_in_route(path: &Path, text: &str, route: usize, error: &SettingError) -> String {
    let file = ConfigFile::parse(text).ok();
    let table = file.as_ref().and_then(|file| file.route.get(route));
    let fault = match (error, table) {
        (SettingError::TlsFile(error), Some(table)) => {
            at_its_setting(files_of(&table.value.tls, &table.value.auth).into_iter().flatten(), error)
        }
        (_, Some(table)) => table.location.fault(error.to_string()),
        // Only the text of a configuration without errors comes here.
        (_, None) => return error.to_string(),
    };
    ConfigError::new(path, fault).to_string()
}

/// Returns the positions of the files that are read for a relay.
fn files_of<'a>(tls: &'a file::TlsTable, auth: &'a file::AuthTable) -> [Option<&'a KeyLocation>; 4] {
    [
        location_of(&tls.ca_file),
        location_of(&auth.oauth.ca_file),
        location_of(&tls.client_certificate),
        location_of(&tls.client_key),
    ]
}

/// Returns the same error with the position of its setting, which is one of these.
fn at_its_setting<'a>(locations: impl Iterator<Item = &'a KeyLocation>, error: &TlsFileError) -> ConfigFault {
    let is_it = |location: &&KeyLocation| location.key_of_relay() == error.setting;
    match locations.into_iter().find(is_it) {
        Some(location) => location.fault(error.words()),
        None => ConfigFault::of_file(error.to_string()),
    }
}

fn check_secret(auth: &file::AuthTable, relay: &RelayConfig) -> Result<(), ConfigFault> {
    let Some(configured) = &relay.auth else { return Ok(()) };
    if let Some(oauth) = configured.secret.oauth() {
        return oauth.check().map_err(|(setting, error)| match location_of_file(&auth.oauth, setting) {
            Some(location) => location.fault(error.to_string()),
            None => ConfigFault::of_file(format!("{setting}: {error}")),
        });
    }
    let sources = sources_of(auth)?;
    let location = sources.first().map(|(location, _)| *location);
    match (configured.secret.check(), location) {
        (Err(error), Some(location)) => Err(location.fault(error.to_string())),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
