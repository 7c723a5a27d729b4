//! `nullmta check`: says what `run` would say of the configuration, without starting.
//!
//! Promises: what it takes `run` takes, since it makes the same things of it; the warnings are those of the log at
//! each start, and with `--strict` they are a no.

use clap::Args;

use super::ConfigFile;
use super::exit::{Exit, Failure};
use crate::config::Config;
use crate::relay::Relay;

/// Check the configuration, and the files it names, without starting
#[derive(Args)]
pub(super) struct Check {
    #[command(flatten)]
    file: ConfigFile,
    /// Exit with 1 where there is a warning
    #[arg(long)]
    strict: bool,
}

impl Check {
    /// Prints what the configuration amounts to.
    pub(super) fn run(&self) -> Result<(), Failure> {
        let config = self.file.load()?;
        let relay = Relay::new(config.relay.clone()).map_err(|error| Failure::new(Exit::Config, error))?;
        let mut warnings = config.warnings(&self.file.config);
        warnings.extend(relay.warnings().iter().cloned());
        warnings.extend(config.lookup_warnings());
        for warning in &warnings {
            eprintln!("nullmta: warning: {warning}");
        }
        if self.strict && !warnings.is_empty() {
            let path = self.file.config.display();
            return Err(Failure::new(Exit::Failed, format!("{path}: {} warnings", warnings.len())));
        }
        println!("{}: ok, {}", self.file.config.display(), summary(&config));
        Ok(())
    }
}

fn summary(config: &Config) -> String {
    let hosts: Vec<String> = config.relay.hosts.iter().map(ToString::to_string).collect();
    let auth = config.relay.auth.as_ref().map_or(String::new(), |auth| format!(" as {}", auth.username));
    format!("mail goes to {}{auth}, spool in {}", hosts.join(", then "), config.spool.display())
}
