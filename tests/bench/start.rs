//! The start part: what a start on a new spool writes, and whether a message takes longer just after it than later.

use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::Outcome;
use crate::load::{Connections, Figures, Load};
use crate::options::Options;
use crate::server::{Program, Server, free_port};

/// A start is over when nothing has been written for so long.
const QUIET: Duration = Duration::from_secs(1);

/// Measures and prints.
pub fn measure(options: &Options, directory: &Path) -> Outcome<()> {
    let time = options.plan.after_start;
    println!("\na start on a new spool; one session, ms to the 250 (p50 / p99)\n");
    print!("{:<26}{:>12}", "", "KiB written");
    println!(
        "{:>26}{:>26}",
        format!("first {} s after it", time.as_secs()),
        format!("{} s later", time.as_secs())
    );
    for program in &options.programs {
        let base = directory.join(program.subject.name());
        let written = octets_of_a_start(program, &base.join("idle"))?;
        let server = Server::nullmta(program, &base.join("busy"), &[], free_port()?)?;
        let load = Load { sessions: 1, connections: Connections::Kept, time };
        let (first, later) = (load.run(&server)?, load.run(&server)?);
        let words = |figures: &Figures| {
            let [p50, p99] = [figures.p50, figures.p99].map(|time| time.as_secs_f64() * 1e3);
            format!("{p50:.2} / {p99:.2}")
        };
        let (name, kib) = (program.subject.name(), written / 1024);
        println!("{name:<26}{kib:>12}{:>26}{:>26}", words(&first), words(&later));
    }
    Ok(())
}

/// Returns the octets that a start has the disk write.
fn octets_of_a_start(program: &Program, base: &Path) -> Outcome<u64> {
    let server = Server::nullmta(program, base, &[], free_port()?)?;
    let mut seen = None;
    while seen != Some(server.octets_written()?) {
        seen = Some(server.octets_written()?);
        thread::sleep(QUIET);
    }
    Ok(seen.unwrap_or_default())
}
