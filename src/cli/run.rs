//! `nullmta run`: runs the daemon in the foreground, as systemd needs it.
//!
//! Promises: a secret that cannot be used does not keep it from starting while another relay can be used: the relay that needs
//! it waits as for any other secret (`relay/login.rs`), and the log says so. If it cannot start, clients that wait on sockets
//! which systemd holds get a reply that says so.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::process::{getegid, geteuid};

use super::exit::{Exit, Failure};
use super::service_user::{NAME, ServiceUser};
use super::{ConfigFile, config_failure};
use crate::config::{self, Config, LogRedaction};
use crate::daemon::{self, DaemonError, Start};
use crate::journal;
use crate::listener::waiting::turn_away;
use crate::log::{self, Redactor};
use crate::smtp::reply::Reply;
use crate::spool::{LogKey, OpenError};
use crate::status::Status;
use crate::systemd::{self, Inherited};

/// Runs the daemon until a signal stops it.
pub(super) fn run(file: &ConfigFile) -> Result<(), Failure> {
    // This must come before any thread is started, since it changes the environment.
    let inherited = systemd::inherited().map_err(|error| Failure::new(Exit::OsError, error))?;
    let door = inherited.try_clone().map_err(|error| Failure::new(Exit::OsError, error))?;
    let done = run_on(file, inherited);
    if let Err(failure) = &done {
        turn_away_from(door, failure.exit());
    }
    done
}

fn run_on(file: &ConfigFile, inherited: Inherited) -> Result<(), Failure> {
    let (config, faults) = Config::load_for_start(&file.config).map_err(config_failure)?;
    refuse_root(&file.config, &config)?;
    let spool = config.spool.clone();
    let (redactor, trouble) = redactor(&config);
    let level = journal::start(&config.log, redactor);
    trouble.iter().for_each(|trouble| log::hashes_will_change(trouble));
    faults.iter().for_each(|fault| log::relay_not_usable(fault));
    let start = Start { path: file.config.clone(), config, inherited, level };
    let runtime = daemon::runtime()
        .map_err(|error| Failure::new(Exit::OsError, format!("cannot start threads: {error}")))?;
    runtime.block_on(daemon::run(start)).map_err(|error| failure(error, &spool))
}

/// Returns what hides addresses in the log, if they are to be hidden; and what is wrong with its key, in whose place it then has one
/// for this run.
fn redactor(config: &Config) -> (Option<Redactor>, Option<String>) {
    if config.log.redact == LogRedaction::Nothing {
        return (None, None);
    }
    let (key, trouble) = match LogKey::of_spool(&config.spool) {
        Ok(key) => (key, None),
        Err(error) => (LogKey::passing(), Some(format!("{}/log-key: {error}", config.spool.display()))),
    };
    (Some(Redactor::new(key.octets())), trouble)
}

/// Answers the clients that wait on the sockets of systemd after a failed start. Without this they would wait for ever,
/// since the next start will fail, too.
fn turn_away_from(door: Inherited, exit: Exit) {
    let (status, why) = match exit {
        // The daemon was running; the next start will succeed, and clients can wait for it.
        Exit::Software => return,
        Exit::Config => (Status::transient(3, 5), "its configuration is wrong"),
        _ => (Status::transient(3, 0), "its log says why"),
    };
    let reply =
        Reply::new(421, status, format!("nullmta cannot start: {why}; nothing was queued, try again later"));
    // A descriptor that is no socket of ours has no clients.
    if let Ok(sockets) = daemon::taken_over(door) {
        turn_away(&sockets, &reply);
    }
}

/// Returns an error if root runs this where the user of the service should: the service could not open the spool later.
/// It is allowed if the spool belongs to root, and if systemd starts us.
fn refuse_root(file: &Path, config: &Config) -> Result<(), Failure> {
    let Some(user) = ServiceUser::of_host() else { return Ok(()) };
    let owner = std::fs::metadata(&config.spool).map(|metadata| metadata.uid()).ok();
    let is_the_service_s = owner == Some(user.uid()) || owner.is_none() && file == Path::new(config::FILE);
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

/// Returns the command that corrects the owner of the spool, if that is the error; else an empty text.
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
        DaemonError::Bind(_) | DaemonError::Control(..) | DaemonError::System(..) => Exit::OsError,
        DaemonError::Failed(_) => Exit::Software,
    };
    let then = match &error {
        DaemonError::Spool(error) => ownership(error, spool),
        _ => String::new(),
    };
    Failure::new(exit, format!("{error}{then}"))
}
