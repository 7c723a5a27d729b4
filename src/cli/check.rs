//! `nullmta check`: reports the errors and warnings that `run` would report about the configuration, without starting.
//!
//! Promises: if it accepts a configuration, so does `run`, since both build the same things from it; but a relayhost that
//! is one of the sockets which systemd passes is seen by `run` alone (`daemon.rs`). The warnings are those that the log has
//! at each start, and with `--strict` they make the command fail. If root runs it, the files and the spool are looked at
//! with the rights of the user of the service, and files that its unit hides are reported.

use std::fs::File;
use std::path::Path;

use clap::Args;
use rustix::fs::Access;

use super::exit::{Exit, Failure};
use super::output::say;
use super::service_user::{NAME, ServiceUser};
use super::unit::Unit;
use super::{ConfigFile, config_failure};
use crate::config::Config;
use crate::listener::certificate::Certificate;
use crate::relay::Relay;

/// Check the configuration, and the files it names, without starting
#[derive(Args)]
pub(super) struct CheckCommand {
    #[command(flatten)]
    file: ConfigFile,
    /// Exit with 1 where there is a warning
    #[arg(long)]
    strict: bool,
}

impl CheckCommand {
    /// Prints a summary of the configuration.
    pub(super) fn run(&self) -> Result<(), Failure> {
        let (config, mut warnings) = self.look()?;
        warnings.extend(config.lookup_warnings());
        for warning in &warnings {
            eprintln!("nullmta: warning: {warning}");
        }
        if self.strict && !warnings.is_empty() {
            let path = self.file.config.display();
            return Err(Failure::new(Exit::Failed, format!("{path}: {} warnings", warnings.len())));
        }
        say!("{}: ok, {}", self.file.config.display(), summary(&config))
    }

    fn look(&self) -> Result<(Config, Vec<String>), Failure> {
        let path = self.file.config.clone();
        let Some(user) = ServiceUser::of_host() else { return looked_at(&path) };
        let seen = user.see({
            let path = path.clone();
            move || File::open(&path).is_ok().then(|| used_by_us(&path))
        });
        let (config, mut warnings) = match seen {
            Ok(Some(looked)) => looked.map_err(|failure| {
                Failure::new(failure.exit(), format!("{failure} (looked at as the service's user, {NAME})"))
            })?,
            // Not there for root either, which says so; or a draft in a place of root's own.
            Ok(None) | Err(_) => {
                let (config, mut warnings) = looked_at(&path)?;
                let path = path.display();
                warnings.push(format!(
                    "{path} cannot be read by the service's user, {NAME}: the files it names were looked at as root"
                ));
                (config, warnings)
            }
        };
        warnings.extend(Unit::of_host().warnings(&config));
        Ok((config, warnings))
    }
}

/// Loads the configuration in `file`, and checks that we can use the spool. Returns it with all warnings.
fn used_by_us(file: &Path) -> Result<(Config, Vec<String>), Failure> {
    let (config, warnings) = looked_at(file)?;
    match obstacle(&config.spool) {
        Some(words) => Err(Failure::new(Exit::CantCreate, words)),
        None => Ok((config, warnings)),
    }
}

/// Returns the reason why we cannot use `spool`, which would make each start fail; `None` if we can.
fn obstacle(spool: &Path) -> Option<String> {
    let is_ours = |path: &Path, access| rustix::fs::access(path, access).is_ok();
    let all = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
    let shown = spool.display();
    if !spool.exists() {
        // The start makes this one directory, and none above it.
        let there = spool.parent().unwrap_or(spool);
        return (!is_ours(there, Access::WRITE_OK | Access::EXEC_OK)).then(|| {
            format!(
                "{shown} is missing and cannot be made in {}: install -d -o {NAME} -g {NAME} -m 0711 {shown}",
                there.display()
            )
        });
    }
    let foreign = if is_ours(spool, all) {
        let mut parts = crate::spool::PARTS.iter().map(|name| spool.join(name));
        parts.find(|part| part.exists() && !is_ours(part, Access::WRITE_OK))
    } else {
        Some(spool.into())
    };
    foreign.map(|path| format!("cannot write to {}: chown -R {NAME}:{NAME} {shown}", path.display()))
}

/// Loads the configuration in `file` with the files that it names. Returns it with all warnings.
fn looked_at(file: &Path) -> Result<(Config, Vec<String>), Failure> {
    let config = Config::load(file).map_err(config_failure)?;
    let refused = |error: String| Failure::new(Exit::Config, error);
    let relay = Relay::new(config.relay.clone()).map_err(refused)?;
    Certificate::of(&config.listen).map_err(refused)?;
    let mut warnings = config.warnings(file);
    warnings.extend(relay.warnings().iter().cloned());
    Ok((config, warnings))
}

fn summary(config: &Config) -> String {
    let hosts: Vec<String> = config.relay.hosts.iter().map(ToString::to_string).collect();
    let auth = config.relay.auth.as_ref().map_or(String::new(), |auth| format!(" as {}", auth.username));
    format!("mail goes to {}{auth}, spool in {}", hosts.join(", then "), config.spool.display())
}
