//! `nullmta doctor`: looks at all on which mail from this host depends, and says what is broken and what to do.
//!
//! Promises: nothing is changed, and no mail is sent; there is one login at each relay, as by `nullmta probe`, unless that is left
//! out. No secret is in what it prints, and no mail address unless it is asked for: it can be put into a bug report. What this
//! user may not see is said to be unseen, not to be well.
//!
//! Fails: 1 if something is broken, also in the configuration: the other things are looked at all the same.
//!
//! What is looked at is that which the other commands look at (`check.rs`, `unit.rs`, `spool.rs`, `probe.rs`, `status.rs`), and in
//! `doctor/`: the daemon and its unit (`service.rs`), who has the ports (`ports.rs`), the host itself (`host.rs`), what programs
//! call (`callers.rs`), the relays (`relays.rs`), the disk (`storage.rs`).

mod callers;
mod finding;
mod host;
mod ports;
mod relays;
mod service;
mod storage;

use std::io::{self, Write};
use std::path::Path;

use clap::Args;
use rustix::fs::{Access, access};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::exit::{Exit, Failure};
use super::output::{printed, say};
use super::queue::print_json;
use super::{ConfigFile, check, probe};
use crate::config::Config;
use finding::{Finding, Health};

/// Look at all on which mail depends, and say what is broken and what to do: for a bad morning, or a bug report
#[derive(Args)]
pub(super) struct DoctorCommand {
    #[command(flatten)]
    file: ConfigFile,
    /// Connect to no relay, and log in nowhere
    #[arg(long)]
    no_probe: bool,
    /// Print mail addresses, too
    #[arg(long)]
    addresses: bool,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

impl DoctorCommand {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let path = &self.file.config;
        let config = Config::read(path).ok();
        if let Some(config) = config.as_ref().filter(|_| !self.no_probe) {
            probe::with_credentials(config)?;
        }
        let mut report = DoctorReport { command: self, broken: 0, to_look_at: 0 };
        report.add(vec![program()])?;
        report.add(configuration(path, config.is_some()))?;
        report.add(host::findings(config.as_ref()))?;
        let unit = service::unit_findings();
        report.add(unit.findings)?;
        let daemon = service::daemon_findings(path, config.as_ref());
        report.add(daemon.findings)?;
        report.add(ports::findings(config.as_ref(), &unit.sockets, daemon.pid))?;
        report.add(callers::findings(path, config.as_ref()))?;
        if let Some(config) = &config {
            report.add(storage::findings(config))?;
            report.add(relays::name_findings(config))?;
        }
        if let Some(config) = config.filter(|_| !self.no_probe) {
            report.add(relays::probe_findings(path, config))?;
        }
        report.outcome()
    }
}

/// Returns which program this is.
fn program() -> Finding {
    let place = std::env::current_exe().map_or("?".into(), |path| path.display().to_string());
    let us = geteuid().as_raw();
    Finding::ok("program", format!("nullmta {}, {place}, as uid {us}", env!("CARGO_PKG_VERSION")))
}

/// Returns what `nullmta check` says of the configuration at `path`, which is readable as a file if `is_read`.
fn configuration(path: &Path, is_read: bool) -> Vec<Finding> {
    const CHECK: &str = "configuration";
    let is_hidden = || access(path, Access::READ_OK) == Err(Errno::ACCESS);
    match check::look(path) {
        // What it names is for the daemon alone, or the file itself is.
        Err(failure) if !geteuid().is_root() && (is_read || is_hidden()) => {
            // What the error says is to be done, root is to do: done for this user, it would hand them the secret.
            let words = failure.to_string();
            let fault = words.split("; ").next().unwrap_or_default();
            vec![Finding::look(CHECK, fault, "run nullmta doctor as root to have it looked at")]
        }
        Err(failure) => {
            vec![Finding::broken(
                CHECK,
                failure.to_string(),
                "correct it; nullmta check says whether it is right",
            )]
        }
        Ok((_, warnings, note)) => {
            let doubts = warnings.into_iter().chain(note);
            let doubts: Vec<Finding> = doubts.map(|words| Finding::doubt(CHECK, words)).collect();
            let is_fine = doubts.is_empty();
            let fine = is_fine.then(|| Finding::ok(CHECK, format!("{}, and what it names", path.display())));
            fine.into_iter().chain(doubts).collect()
        }
    }
}

/// What was found, printed as it is found.
struct DoctorReport<'a> {
    command: &'a DoctorCommand,
    broken: usize,
    to_look_at: usize,
}

impl DoctorReport<'_> {
    fn add(&mut self, findings: Vec<Finding>) -> Result<(), Failure> {
        for finding in findings {
            match finding.result {
                Health::Ok => {}
                Health::Look => self.to_look_at += 1,
                Health::Broken => self.broken += 1,
            }
            let finding = if self.command.addresses { finding } else { finding.without_addresses() };
            printed(match self.command.json {
                true => print_json(&finding),
                false => write!(io::stdout(), "{}", finding.text()),
            })?;
        }
        Ok(())
    }

    fn outcome(&self) -> Result<(), Failure> {
        let look = match self.to_look_at {
            0 => String::new(),
            1 => ", 1 thing to look at".into(),
            more => format!(", {more} things to look at"),
        };
        match self.broken {
            0 if self.command.json => Ok(()),
            0 => say!("nothing is broken{look}"),
            broken => Err(Failure::new(Exit::Failed, format!("{broken} broken{look}"))),
        }
    }
}

#[cfg(test)]
mod tests;
