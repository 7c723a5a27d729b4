//! What accepting a message costs, beside what the disk and the dialogue cost by themselves.
//!
//! ```console
//! $ cargo bench --bench accept                # under three minutes
//! $ cargo bench --bench accept -- --quick     # under forty seconds
//! $ cargo bench --bench accept -- --directory /srv/scratch
//! ```
//! measures, all on one disk and with one load generator (`load.rs`, as `smtp-source` talks: no pipelining):
//! 1. *disk*: one thread that writes 4 KiB, or 16 or 64 times that, and syncs, into blocks written before;
//! 2. *nullmta*: the daemon, its relay down;
//! 3. *bare*: its listener with nothing behind it, which is what the dialogue costs;
//! 4. *Postfix*, if installed and if we are root: a throw-away instance, its relay down;
//! 5. syncs per message, counted by strace if installed.
//!
//! Promises: the subjects take turns, round by round, so that a noisy machine is noisy for all; each figure
//! is the median of its rounds. The host's own mail system is neither read nor changed; everything is under
//! one temporary directory, and nothing is left running.
//!
//! Latency is from the last octet of the content to its 250. Only ratios say something beyond this machine.

mod bare;
mod disk;
mod load;
mod postfix;
mod report;
mod server;
mod syncs;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use load::{Connections, Load};
use report::{Report, Subject};
use server::Server;

/// What is measured how long.
struct Plan {
    rounds: usize,
    sessions: &'static [usize],
    time: Duration,
}

const FULL: Plan = Plan { rounds: 3, sessions: &[1, 10, 50, 200], time: Duration::from_millis(1200) };
const QUICK: Plan = Plan { rounds: 2, sessions: &[1, 50], time: Duration::from_millis(600) };

/// The bench's own error: what could not be done, for a person to read.
type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.first().map(String::as_str) {
        Some(bare::ARGUMENT) => bare::serve(),
        _ => measure(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("accept: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &[String]) -> Outcome<()> {
    let is_quick = arguments.iter().any(|argument| argument == "--quick");
    let plan = if is_quick { QUICK } else { FULL };
    let mut after_flag = arguments.iter().skip_while(|argument| *argument != "--directory").skip(1);
    let parent = after_flag.next().map_or(Path::new(env!("CARGO_TARGET_TMPDIR")), Path::new);
    let directory = tempfile::Builder::new().prefix("accept-").tempdir_in(parent)?;
    // For Postfix, whose processes are not ours.
    std::fs::set_permissions(directory.path(), Permissions::from_mode(0o755))?;
    warn_of_memory(directory.path())?;

    let mut report = Report::default();
    rounds(&plan, directory.path(), &mut report)?;
    report.print(plan.sessions);
    let syncs = syncs::per_message(directory.path(), plan.time)?;
    report.print_targets(syncs);
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

fn rounds(plan: &Plan, directory: &Path, report: &mut Report) -> Outcome<()> {
    let nullmta = Server::nullmta(&directory.join("nullmta"), &[])?;
    let bare = Server::bare()?;
    let has_postfix = postfix::is_usable();
    if !has_postfix {
        println!("note: without Postfix, which needs to be installed, and root");
    }
    for round in 1..=plan.rounds {
        eprintln!("round {round} of {}", plan.rounds);
        let mut raw = disk::Disk::prepare(&directory.join("raw"))?;
        for batch in disk::BATCHES {
            report.add_disk(batch, raw.commit(batch, plan.time / 2)?);
        }
        for &sessions in plan.sessions {
            for connections in [Connections::Kept, Connections::OnePerMessage] {
                let load = Load { sessions, connections, time: plan.time };
                report.add(Subject::Nullmta, &load, load.run(nullmta.port)?);
                report.add(Subject::Bare, &load, load.run(bare.port)?);
            }
        }
        if has_postfix {
            postfix_round(plan, &directory.join(format!("postfix-{round}")), report)?;
        }
    }
    Ok(())
}

/// Apart from the others: its queue manager works on after the load has ended.
fn postfix_round(plan: &Plan, base: &Path, report: &mut Report) -> Outcome<()> {
    let postfix = postfix::Postfix::start(base)?;
    for &sessions in plan.sessions {
        for connections in [Connections::Kept, Connections::OnePerMessage] {
            let load = Load { sessions, connections, time: plan.time };
            report.add(Subject::Postfix, &load, load.run(postfix.port)?);
        }
    }
    Ok(())
}
