//! What it costs to accept a message and to deliver it, beside what the disk and the dialogue cost by themselves.
//!
//! ```console
//! $ cargo bench --bench accept                        # about twenty minutes
//! $ cargo bench --bench accept -- --quick             # about four minutes
//! $ cargo bench --bench accept -- --only delivery     # one part: accept, delivery, start or drain
//! $ cargo bench --bench accept -- --beside ../old/target/release/nullmta
//! $ cargo bench --bench accept -- --directory /srv/scratch
//! ```
//! measures, all on one disk and with one load generator (`load.rs`, as `smtp-source` talks: no pipelining):
//! 1. *accept*: messages a second for
//!    - *disk*: one thread that writes 4 KiB, or 16 or 64 times that, and syncs, into blocks written before;
//!    - *nullmta*: the daemon, its relay down;
//!    - *bare*: its listener with nothing behind it, which is what the dialogue costs;
//!    - *Postfix*, if it is installed and we are root: a throw-away instance, its relay down;
//!
//!    and syncs per message, counted by strace if it is installed;
//! 2. *delivery*: the same messages accepted and delivered at once, to a sink (`delivery.rs`);
//! 3. *start*: what a start writes, and how long a message takes just after it and later (`start.rs`);
//! 4. *drain*: how fast a spool empties when the relay returns, near and far (`drain.rs`).
//!
//! With `--beside` another build of nullmta, an older one for example, is measured in the same run. Both take turns, so that
//! the ratios that are printed for them hold on a noisy machine, too.
//!
//! Promises: the subjects take turns, round by round, so that a noisy machine is noisy for all; each figure
//! is the median of its rounds. The host's own mail system is neither read nor changed; everything is under
//! one temporary directory, and nothing is left running.
//!
//! Latency is from the last octet of the content to its 250. Only ratios say something beyond this machine.

mod bare;
mod delivery;
mod disk;
mod distance;
mod drain;
mod drain_run;
mod load;
mod options;
mod postfix;
mod report;
mod server;
mod sink;
mod start;
mod syncs;
mod tls_client;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;

use load::{Connections, Load};
use options::{Options, Part, Plan};
use report::{Report, Subject};
use server::{Program, Server, free_port};

/// The bench's own error: what could not be done, for a person to read.
type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.first().map(String::as_str) {
        Some(bare::ARGUMENT) => bare::serve(),
        _ => Options::parse(&arguments).and_then(|options| measure(&options)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("accept: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(options: &Options) -> Outcome<()> {
    let directory = tempfile::Builder::new().prefix("accept-").tempdir_in(&options.directory)?;
    // For Postfix, whose processes are not ours.
    std::fs::set_permissions(directory.path(), Permissions::from_mode(0o755))?;
    warn_of_memory(directory.path())?;
    if !postfix::is_usable() {
        println!("note: without Postfix, which needs to be installed, and root");
    }
    for part in &options.parts {
        let directory = directory.path().join(part.name());
        std::fs::create_dir(&directory)?;
        match part {
            Part::Accept => accept(options, &directory)?,
            Part::Delivery => delivery::measure(options, &directory)?,
            Part::Start => start::measure(options, &directory)?,
            Part::Drain => drain::measure(options, &directory)?,
        }
        // The messages of one part are not to fill the disk of the next.
        std::fs::remove_dir_all(&directory)?;
    }
    Ok(())
}

/// A directory in memory makes every disk look perfect.
fn warn_of_memory(directory: &Path) -> Outcome<()> {
    const TMPFS: i64 = 0x0102_1994;
    if rustix::fs::statfs(directory)?.f_type == TMPFS {
        println!("note: {} is in memory, syncs cost nothing there", directory.display());
    }
    Ok(())
}

fn accept(options: &Options, directory: &Path) -> Outcome<()> {
    let plan = &options.plan;
    let mut report = Report::default();
    rounds(options, directory, &mut report)?;
    report.print(plan.sessions);
    let syncs = syncs::per_message(&directory.join("syncs"), plan.time, syncs::Relay::Down)?;
    report.print_targets(syncs);
    Ok(())
}

fn rounds(options: &Options, directory: &Path, report: &mut Report) -> Outcome<()> {
    let plan = &options.plan;
    let nobody = free_port()?;
    let start = |program: &Program| {
        let base = directory.join(program.subject.name());
        Ok((program.subject, Server::nullmta(program, &base, &[], nobody)?))
    };
    let mut servers = options.programs.iter().map(start).collect::<Outcome<Vec<_>>>()?;
    servers.push((Subject::Bare, Server::bare()?));
    for round in 1..=plan.rounds {
        eprintln!("accept: round {round} of {}", plan.rounds);
        let mut raw = disk::Disk::prepare(&directory.join("raw"))?;
        for batch in disk::BATCHES {
            report.add_disk(batch, raw.commit(batch, plan.time / 2)?);
        }
        for load in loads(plan) {
            for (subject, server) in &servers {
                report.add(*subject, &load, load.run(server)?);
            }
        }
        if postfix::is_usable() {
            postfix_round(plan, &directory.join(format!("postfix-{round}")), report)?;
        }
    }
    Ok(())
}

fn loads(plan: &Plan) -> impl Iterator<Item = Load> {
    plan.sessions.iter().flat_map(move |&sessions| {
        let load = move |connections| Load { sessions, connections, time: plan.time };
        [Connections::Kept, Connections::OnePerMessage].map(load)
    })
}

/// Apart from the others: its queue manager works on after the load has ended.
fn postfix_round(plan: &Plan, base: &Path, report: &mut Report) -> Outcome<()> {
    let postfix = postfix::Postfix::start(base, free_port()?)?;
    for load in loads(plan) {
        report.add(Subject::Postfix, &load, load.run(&postfix)?);
    }
    Ok(())
}
