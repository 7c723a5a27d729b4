//! `nullmta run`: the daemon in the foreground, as systemd wants it.

use super::ConfigFile;
use super::exit::{Exit, Failure};
use crate::config::Config;
use crate::daemon::{self, Start, StartError};
use crate::journal;
use crate::log;
use crate::spool::OpenError;
use crate::systemd;

/// Runs until told to stop.
pub(super) fn run(file: &ConfigFile) -> Result<(), Failure> {
    // Before any thread: it changes the environment.
    let inherited = systemd::inherited().map_err(|error| Failure::new(Exit::OsError, error))?;
    let config = file.load()?;
    let level = journal::start(&config.log);
    if let Some(warning) = Config::warning(&file.config) {
        log::config_warning(&warning);
    }
    let start = Start { path: file.config.clone(), config, inherited, level };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::OsError, format!("cannot start threads: {error}")))?;
    runtime.block_on(daemon::run(start)).map_err(start_failure)
}

fn start_failure(error: StartError) -> Failure {
    let exit = match &error {
        StartError::Spool(OpenError::Locked { .. }) => Exit::TempFail,
        StartError::Spool(_) => Exit::CantCreate,
        StartError::Relay(_) | StartError::Certificate(_) => Exit::Config,
        StartError::Inherited(_) | StartError::Bind(_) | StartError::Control(..) | StartError::System(..) => {
            Exit::OsError
        }
        StartError::Failed(_) => Exit::Software,
    };
    Failure::new(exit, error)
}
