//! `nullmta probe`: walks to each address of the relays as far as the login, and says what was found.
//!
//! Promises: no mail is sent, and no daemon is needed. If root runs it, it has the rights of the service's user, so that it finds
//! what the daemon would find. Each login counts against the account as one of the daemon's does, and there is one. A stop by
//! SIGINT or SIGTERM waits for a refresh token that is being replaced. No secret is printed.
//!
//! Fails: 64 for a route that there is not, 77 for a user who may not read what the daemon reads, 78 for an error in the
//! configuration, else by the worst of what was found ([`exit_of`]).
//!
//! Not here: the walk (`relay/probe.rs`), files that the unit hides from the daemon (`check.rs`).

mod json;
mod text;

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use clap::Args;
use rustix::fs::{Access, access};
use rustix::io::Errno;
use rustix::process::geteuid;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

use super::exit::{Exit, Failure};
use super::output::printed;
use super::queue::print_json;
use super::relay_reply::relay_of;
use super::service_user::{NAME, ServiceUser};
use super::{ConfigFile, config_failure};
use crate::config::{Config, SecretSource};
use crate::relay::{AddressProbe, BuiltRelay, ProbeFault, Relay, probe, refresh_tokens_settled};
use json::ShownProbe;
use text::probe_text;

/// The directory of the credentials that systemd has given to the daemon, while it runs.
const CREDENTIALS: &str = "/run/credentials/nullmta.service";

/// The variable by which a process finds its credentials.
const CREDENTIALS_VARIABLE: &str = "CREDENTIALS_DIRECTORY";

/// Connect to each address of the relay, log in, and say what was found, without sending mail
#[derive(Args)]
pub(super) struct ProbeCommand {
    #[command(flatten)]
    file: ConfigFile,
    /// Probe only the relay of this [[route]]
    #[arg(long, value_name = "NAME")]
    route: Option<String>,
    /// Print one JSON object for each address
    #[arg(long)]
    json: bool,
}

impl ProbeCommand {
    pub(super) fn run(&self) -> Result<(), Failure> {
        readable(&self.file.config, "the configuration")?;
        let config = Config::read(&self.file.config).map_err(config_failure)?;
        relay_of(&config, self.route.as_deref())?;
        may_look(&config)?;
        with_credentials(&config)?;
        let (is_json, largest) = (self.json, config.listen.max_message_size);
        let sum = probe_as_service(&self.file.config, config, self.route.clone(), move |found| {
            print(found, is_json, largest)
        })?;
        for notice in &sum.expiring {
            eprintln!("nullmta: warning: {notice}");
        }
        sum.outcome()
    }
}

/// Probes the relays of `config`, which was read from the file at `path`, with the rights of the service's user if root asks, and
/// hands each address to `each`.
fn probe_as_service(
    path: &Path,
    config: Config,
    route: Option<String>,
    each: impl FnMut(&AddressProbe) -> io::Result<()> + Send + 'static,
) -> Result<ProbeSum, Failure> {
    let asked = AskedProbe { config, route };
    match ServiceUser::of_host() {
        // A draft in a directory of root's own is probed by root.
        Some(user) if is_readable_by(&user, path) => {
            user.see(move || asked.run(each)).unwrap_or_else(|error| Err(Failure::new(Exit::OsError, error)))
        }
        _ => asked.run(each),
    }
}

fn is_readable_by(user: &ServiceUser, path: &Path) -> bool {
    let path = path.to_path_buf();
    user.see(move || File::open(path).is_ok()).unwrap_or(false)
}

/// Returns a failure if the rights of this user do not let it read the file at `path`, which is `what`.
fn readable(path: &Path, what: &str) -> Result<(), Failure> {
    match access(path, Access::READ_OK) {
        Err(Errno::ACCESS) => Err(denied(&format!("{} ({what}) is not readable", path.display()))),
        _ => Ok(()),
    }
}

fn denied(what: &str) -> Failure {
    let us = geteuid().as_raw();
    Failure::new(
        Exit::NoPermission,
        format!(
            "{what} for uid {us}, and nothing can be said without it: run nullmta probe as root, or as {NAME}"
        ),
    )
}

/// Returns what is found at each address of the relays of `config`, which was read from the file at `path`; a failure if this user
/// may not look.
pub(super) fn all_found(path: &Path, config: Config) -> Result<Vec<AddressProbe>, Failure> {
    may_look(&config)?;
    let (sender, found) = std::sync::mpsc::channel();
    let sum = probe_as_service(path, config, None, move |found| {
        // Who receives is there until the end.
        let _ = sender.send(found.clone());
        Ok(())
    })?;
    match sum.unbuilt.first() {
        Some(words) => Err(Failure::new(Exit::Config, words)),
        None => Ok(found.try_iter().collect()),
    }
}

/// Returns a failure if this user may not read the secrets of the relays.
fn may_look(config: &Config) -> Result<(), Failure> {
    for file in config.named_files() {
        if !file.setting.starts_with("listen.") {
            readable(file.path, &file.setting)?;
        }
    }
    match unseen_credentials(config).next() {
        Some(name) if !geteuid().is_root() && !is_visible(name) => {
            Err(denied(&format!("the credential {name} (auth.credential) is not readable")))
        }
        _ => Ok(()),
    }
}

/// Returns the credentials that `config` names and systemd has not given to this process.
fn unseen_credentials(config: &Config) -> impl Iterator<Item = &str> {
    let secrets = config.relays().filter_map(|relay| Some(&relay.auth.as_ref()?.secret));
    secrets.filter_map(|secret| match secret {
        SecretSource::Credential(name) if std::env::var_os(CREDENTIALS_VARIABLE).is_none() => Some(&**name),
        _ => None,
    })
}

/// Returns whether the daemon has the credential `name` now, and we can read it.
fn is_visible(name: &str) -> bool {
    access(Path::new(CREDENTIALS).join(name), Access::READ_OK).is_ok()
}

/// Begins this command anew with the credentials of the daemon, if it needs one of them. If it cannot have them, a note says how
/// it could, and the login will fail.
pub(super) fn with_credentials(config: &Config) -> Result<(), Failure> {
    let Some(name) = unseen_credentials(config).next() else { return Ok(()) };
    if is_visible(name) {
        let failed = Command::new("/proc/self/exe")
            .arg0("nullmta")
            .args(std::env::args_os().skip(1))
            .env(CREDENTIALS_VARIABLE, CREDENTIALS)
            .exec();
        return Err(Failure::new(Exit::OsError, format!("cannot begin anew with credentials: {failed}")));
    }
    eprintln!(
        "nullmta: note: systemd hands the credential {name} to the running daemon alone: start it, or probe with: systemd-run \
         --pipe --wait -p User={NAME} -p LoadCredential={name}:PATH nullmta probe"
    );
    Ok(())
}

/// What is to be probed.
struct AskedProbe {
    config: Config,
    /// The name of the only route whose relay is meant.
    route: Option<String>,
}

/// What came of it.
#[derive(Default)]
struct ProbeSum {
    addresses: usize,
    faults: Vec<ProbeFault>,
    /// Relays that could not be built.
    unbuilt: Vec<String>,
    /// Sentences about what is about to expire.
    expiring: Vec<String>,
}

impl AskedProbe {
    /// Probes with the rights of this thread.
    fn run(&self, mut each: impl FnMut(&AddressProbe) -> io::Result<()>) -> Result<ProbeSum, Failure> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::new(Exit::OsError, error))?;
        let mut sum = ProbeSum::default();
        let relays = self.relays(&mut sum)?;
        let mut output = Ok(());
        let found = |found: AddressProbe| {
            sum.addresses += 1;
            sum.faults.extend(found.fault());
            if output.is_ok() {
                output = each(&found);
            }
        };
        let expiring = unless_stopped(&runtime, probe(relays, found))?;
        printed(output)?;
        Ok(ProbeSum { expiring, ..sum })
    }

    /// Returns the relays that are asked for. One that cannot be built is noted in `sum`.
    fn relays(&self, sum: &mut ProbeSum) -> Result<Vec<Relay>, Failure> {
        let failed = |words: String| Failure::new(Exit::Config, words);
        let is_asked = |route: Option<&str>| self.route.is_none() || route == self.route.as_deref();
        let mut relays = Vec::new();
        for built in Relay::for_daemon(&self.config).map_err(failed)? {
            match built {
                BuiltRelay::Usable(relay) if is_asked(relay.route()) => relays.push(*relay),
                BuiltRelay::Late(late, words) if is_asked(late.route()) => sum.unbuilt.push(words),
                _ => {}
            }
        }
        Ok(relays)
    }
}

fn print(found: &AddressProbe, is_json: bool, largest: u64) -> io::Result<()> {
    if is_json {
        return print_json(&ShownProbe::of(found));
    }
    write!(io::stdout(), "{}", probe_text(found, largest))
}

/// Runs `probing` to its end, or up to a signal. A refresh token is written in both cases.
fn unless_stopped<T>(runtime: &Runtime, probing: impl Future<Output = T>) -> Result<T, Failure> {
    let failed = |error: io::Error| Failure::new(Exit::OsError, error);
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        // The probe is dropped at the end of this block, and begins nothing more.
        let found = {
            tokio::select! {
                found = probing => Some(found),
                _ = interrupt.recv() => None,
                _ = terminate.recv() => None,
            }
        };
        match found {
            Some(found) => Ok(found),
            None => {
                refresh_tokens_settled().await;
                Err(Failure::new(Exit::TempFail, "stopped before all was found out"))
            }
        }
    })
}

/// Returns the exit code for `fault`.
fn exit_of(fault: ProbeFault) -> Exit {
    match fault {
        ProbeFault::Temporary => Exit::TempFail,
        ProbeFault::Unusable => Exit::Unavailable,
        ProbeFault::LoginRefused | ProbeFault::Configuration => Exit::Config,
    }
}

impl ProbeSum {
    /// Returns the outcome of the command; a failure has the number of addresses that cannot be used.
    fn outcome(&self) -> Result<(), Failure> {
        if let Some(words) = self.unbuilt.first() {
            return Err(Failure::new(Exit::Config, words));
        }
        let Some(worst) = self.faults.iter().max() else { return Ok(()) };
        let words = match (self.faults.len(), self.addresses) {
            (_, 1) => "the relay cannot be used now".into(),
            (all, addresses) if all == addresses => format!("none of {all} addresses can be used now"),
            (faulty, addresses) => format!("{faulty} of {addresses} addresses cannot be used now"),
        };
        Err(Failure::new(exit_of(*worst), format!("{words}; no mail was sent")))
    }
}

#[cfg(test)]
mod tests;
