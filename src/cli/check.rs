//! `nullmta check`: says what `run` would say of the configuration, without starting.

use super::ConfigFile;
use super::exit::Failure;
use crate::config::Config;

/// Prints what the configuration amounts to.
pub(super) fn run(file: &ConfigFile) -> Result<(), Failure> {
    let config = file.load()?;
    if let Some(warning) = Config::warning(&file.config) {
        eprintln!("nullmta: warning: {warning}");
    }
    println!("{}: ok, {}", file.config.display(), summary(&config));
    Ok(())
}

fn summary(config: &Config) -> String {
    let hosts: Vec<String> = config.relay.hosts.iter().map(ToString::to_string).collect();
    let auth = config.relay.auth.as_ref().map_or(String::new(), |auth| format!(" as {}", auth.username));
    format!("mail goes to {}{auth}, spool in {}", hosts.join(", then "), config.spool.display())
}
