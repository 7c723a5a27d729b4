//! `nullmta run`: the daemon in the foreground, as systemd wants it.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::process::{getegid, geteuid};

use super::ConfigFile;
use super::exit::{Exit, Failure};
use super::service_user::{NAME, ServiceUser};
use crate::config::Config;
use crate::daemon::{self, DaemonError, Start};
use crate::journal;
use crate::spool::OpenError;
use crate::systemd;

/// Runs until told to stop.
pub(super) fn run(file: &ConfigFile) -> Result<(), Failure> {
    // Before any thread: it changes the environment.
    let inherited = systemd::inherited().map_err(|error| Failure::new(Exit::OsError, error))?;
    let config = file.load()?;
    refuse_root(&file.config, &config)?;
    let spool = config.spool.clone();
    let level = journal::start(&config.log);
    let start = Start { path: file.config.clone(), config, inherited, level };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::OsError, format!("cannot start threads: {error}")))?;
    runtime.block_on(daemon::run(start)).map_err(|error| failure(error, &spool))
}

/// Root would leave a spool that the service's user cannot open: its service is started instead. A spool of root's
/// own stays root's, and systemd knows whom it starts.
fn refuse_root(file: &Path, config: &Config) -> Result<(), Failure> {
    let Some(user) = ServiceUser::of_host() else { return Ok(()) };
    let owner = std::fs::metadata(&config.spool).map(|metadata| metadata.uid()).ok();
    let is_the_service_s = owner == Some(user.uid) || owner.is_none() && file == Path::new(SERVICE_FILE);
    if !is_the_service_s || std::env::var_os("INVOCATION_ID").is_some() {
        return Ok(());
    }
    let words = format!(
        "root is not to run this: what it writes to {} the service's user, {NAME}, cannot open; use systemctl start \
         nullmta, or runuser -u {NAME} -- nullmta run -c {}",
        config.spool.display(),
        file.display()
    );
    Err(Failure::new(Exit::NoPermission, words))
}

/// The file that the shipped unit names.
const SERVICE_FILE: &str = "/etc/nullmta.toml";

/// Whose the spool is to be, if that is what is wrong.
fn ownership(error: &OpenError, spool: &Path) -> String {
    match error {
        OpenError::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
            format!(": chown -R {}:{} {}", geteuid().as_raw(), getegid().as_raw(), spool.display())
        }
        _ => String::new(),
    }
}

fn failure(error: DaemonError, spool: &Path) -> Failure {
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
    let then = match &error {
        DaemonError::Spool(error) => ownership(error, spool),
        _ => String::new(),
    };
    Failure::new(exit, format!("{error}{then}"))
}
