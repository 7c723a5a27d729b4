//! `nullmta run`: the daemon in the foreground, as systemd wants it.

use super::ConfigFile;
use super::exit::{Exit, Failure};
use crate::daemon::{self, DaemonError, Start};
use crate::journal;
use crate::spool::OpenError;
use crate::systemd;

/// Runs until told to stop.
pub(super) fn run(file: &ConfigFile) -> Result<(), Failure> {
    // Before any thread: it changes the environment.
    let inherited = systemd::inherited().map_err(|error| Failure::new(Exit::OsError, error))?;
    let config = file.load()?;
    let level = journal::start(&config.log);
    let start = Start { path: file.config.clone(), config, inherited, level };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::OsError, format!("cannot start threads: {error}")))?;
    runtime.block_on(daemon::run(start)).map_err(failure)
}

fn failure(error: DaemonError) -> Failure {
    let exit = match &error {
        DaemonError::Spool(OpenError::Locked { .. }) => Exit::TempFail,
        DaemonError::Spool(_) => Exit::CantCreate,
        DaemonError::Relay(_) | DaemonError::Certificate(_) => Exit::Config,
        DaemonError::Inherited(_)
        | DaemonError::Bind(_)
        | DaemonError::Control(..)
        | DaemonError::System(..) => Exit::OsError,
        DaemonError::Failed(_) => Exit::Software,
    };
    Failure::new(exit, error)
}
