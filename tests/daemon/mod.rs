//! The daemon as a process of its own, what it holds of memory, and a sink as its relay.

#![allow(dead_code, reason = "each test uses what it needs")]

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_nullmta");
/// What a start may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The program under `directory`, for users who may not go where cargo leaves it; made at the first call.
///
/// A process of its own makes the copy. Had this one the file open for writing, a child that another test starts at
/// the same moment would inherit that, and the copy could not be run: "Text file busy".
pub fn program_under(directory: &Path) -> PathBuf {
    let program = directory.join("nullmta");
    if !program.exists() {
        assert!(Command::new("cp").arg(PROGRAM).arg(&program).status().unwrap().success());
    }
    program
}

/// A running daemon; its drop ends it.
pub struct Daemon {
    process: Child,
    config: PathBuf,
    pub port: u16,
}

impl Daemon {
    /// Starts one on `spool` under `directory`, its relay a port of 127.0.0.1; it takes mail already.
    pub fn start(directory: &Path, relay_port: u16) -> Daemon {
        let port = free_port();
        let config = directory.join("nullmta.toml");
        let text = format!(
            "relayhost = \"127.0.0.1:{relay_port}\"\nspool = {:?}\n[tls]\nmode = \"none\"\n\
             [listen]\naddresses = [\"127.0.0.1:{port}\"]\nsocket = \"off\"\nhostname = \"h.example\"\n\
             [admin]\ncontrol = {:?}\n",
            directory.join("spool"),
            directory.join("control.sock")
        );
        fs::write(&config, text).unwrap();
        let log = File::create(directory.join("log")).unwrap();
        let mut command = Command::new(PROGRAM);
        command.args([OsStr::new("run"), OsStr::new("-c"), config.as_os_str()]);
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let daemon = Daemon { process, config, port };
        let begun = Instant::now();
        while !greets(port) {
            assert!(begun.elapsed() < PATIENCE, "the daemon does not greet; see {}", directory.display());
            sleep(Duration::from_millis(20));
        }
        daemon
    }

    /// `nullmta queue list --json`, asked of this daemon.
    pub fn queue_list(&self) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(["queue", "list", "--json", "-c"]).arg(&self.config);
        command
    }

    /// Waits until the queue has so many messages: those of a large spool come in while it serves already.
    pub fn wait_for_queue_of(&self, count: usize) {
        let begun = Instant::now();
        while self.status()["messages"] != count {
            assert!(begun.elapsed() < PATIENCE, "not {count} in the queue: {}", self.status());
            sleep(Duration::from_millis(20));
        }
    }

    /// `nullmta status --json`, asked of this daemon.
    fn status(&self) -> serde_json::Value {
        let output =
            Command::new(PROGRAM).args(["status", "--json", "-c"]).arg(&self.config).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Gone already, it needs no end.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// `nullmta sink` as the relay of a daemon; its drop ends it.
pub struct SinkProcess {
    process: Child,
    pub port: u16,
}

impl SinkProcess {
    /// Starts one without TLS on a free port of 127.0.0.1, with these `options` beside; it takes mail already.
    pub fn start(options: &[&str]) -> SinkProcess {
        let mut command = Command::new(PROGRAM);
        command.args(["sink", "--listen", "127.0.0.1:0", "--tls", "none"]).args(options);
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut told = BufReader::new(process.stdout.take().unwrap()).lines();
        let listening = told.next().unwrap().unwrap();
        // What it tells of each message is not needed, but has to go somewhere.
        thread::spawn(move || told.for_each(drop));
        SinkProcess { process, port: listening.rsplit(':').next().unwrap().parse().unwrap() }
    }
}

impl Drop for SinkProcess {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Returns whether somebody says 220 there: the port alone is open before the spool is read.
fn greets(port: u16) -> bool {
    let greeting = || -> io::Result<[u8; 3]> {
        let mut octets = [0; 3];
        TcpStream::connect((Ipv4Addr::LOCALHOST, port))?.read_exact(&mut octets)?;
        Ok(octets)
    };
    greeting().is_ok_and(|octets| &octets == b"220")
}

/// Returns a port of 127.0.0.1 that nobody listens on, most likely for as long as it matters.
pub fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// Returns a figure of /proc/PID/status; in octets if it is one of memory.
pub fn figure(process: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap().trim();
    match line.strip_suffix(" kB") {
        Some(kilobytes) => kilobytes.parse::<u64>().unwrap() * 1024,
        None => line.parse().unwrap(),
    }
}
