//! How many fdatasync and fsync calls the daemon makes for a message, as strace counts them: a run of its
//! own, since strace slows down what it watches.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::Outcome;
use crate::load::{Connections, Load};
use crate::report::Subject;
use crate::server::{Program, Server, free_port};
use crate::sink::Sink;

/// The session counts that have a target.
const SESSIONS: [usize; 2] = [1, 50];

/// Whether what is accepted is delivered, too.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Relay {
    Down,
    Sink,
}

/// Syncs per message of this build at one and at fifty sessions; `None` without strace.
pub fn per_message(directory: &Path, time: Duration, relay: Relay) -> Outcome<Option<[f64; 2]>> {
    if Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_err() {
        println!("note: syncs not counted, strace is not installed");
        return Ok(None);
    }
    fs::create_dir(directory)?;
    let trace = directory.join("trace");
    // -D keeps the daemon our own child.
    let flags = ["strace", "-D", "-f", "-qq", "--seccomp-bpf", "-e", "trace=fsync,fdatasync", "-o"];
    let wrapper: Vec<OsString> =
        flags.into_iter().map(OsString::from).chain([trace.clone().into_os_string()]).collect();
    let sink = if relay == Relay::Sink { Some(Sink::start()?) } else { None };
    let relay = sink.as_ref().map_or_else(free_port, |sink| Ok(sink.port))?;
    let program = Program { subject: Subject::Nullmta, path: env!("CARGO_BIN_EXE_nullmta").into() };
    let server = Server::nullmta(&program, &directory.join("traced"), &wrapper, relay)?;
    wait_until_quiet(&trace)?;
    let mut found = [0.0; 2];
    for (found, sessions) in found.iter_mut().zip(SESSIONS) {
        let (before, delivered) = (calls(&trace)?, sink.as_ref().map_or(0, Sink::received));
        let load = Load { sessions, connections: Connections::Kept, time };
        let sent = load.run(&server)?.sent;
        if let Some(sink) = &sink {
            sink.wait_for(delivered + sent)?;
        }
        *found = (calls(&trace)? - before) as f64 / sent as f64;
    }
    Ok(Some(found))
}

/// At its start the daemon makes segments ready, which is nothing that a message costs.
fn wait_until_quiet(trace: &Path) -> Outcome<()> {
    let mut seen = None;
    while seen != Some(calls(trace)?) {
        seen = Some(calls(trace)?);
        std::thread::sleep(Duration::from_millis(500));
    }
    Ok(())
}

/// Calls begun so far; the other half of a call that another thread's cut in two is "resumed".
fn calls(trace: &Path) -> Outcome<usize> {
    Ok(fs::read_to_string(trace)?.lines().filter(|line| line.contains("sync(")).count())
}
