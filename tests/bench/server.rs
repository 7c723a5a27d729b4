//! The servers that are processes of ours: the daemon, and its listener by itself.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::Outcome;
use crate::bare;

/// What a server may take until it listens.
const START: Duration = Duration::from_secs(20);

/// A running server; its drop ends it.
pub struct Server {
    process: Child,
    pub port: u16,
}

impl Server {
    /// The daemon on a new spool under `base`, its relay a port where nobody listens; under `wrapper`
    /// (strace …) if one is given, which must leave the daemon the process that is started.
    pub fn nullmta(base: &Path, wrapper: &[OsString]) -> Outcome<Server> {
        fs::create_dir_all(base)?;
        let (port, nobody) = (free_port()?, free_port()?);
        let config = base.join("nullmta.toml");
        fs::write(&config, configuration(base, port, nobody))?;
        let program = OsString::from(env!("CARGO_BIN_EXE_nullmta"));
        let arguments = ["run".into(), "-c".into(), config.into()];
        let mut words = wrapper.iter().cloned().chain([program]).chain(arguments);
        let mut command = Command::new(words.next().ok_or("nothing to run")?);
        let log = File::create(base.join("log"))?;
        let process = command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?;
        let server = Server { process, port };
        wait_for(port).map_err(|error| {
            let said = fs::read_to_string(base.join("log")).unwrap_or_default();
            format!("the daemon does not listen: {error}\n{said}")
        })?;
        Ok(server)
    }

    /// See `bare.rs`.
    pub fn bare() -> Outcome<Server> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut process = command.arg(bare::ARGUMENT).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        if let Some(output) = process.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        let mut server = Server { process, port: 0 };
        server.port = line.trim().parse()?;
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Gone already, it needs no end.
        let _ = kill_process(Pid::from_child(&self.process), Signal::TERM);
        let _ = self.process.wait();
    }
}

fn configuration(base: &Path, port: u16, nobody: u16) -> String {
    let base = base.display();
    format!(
        "relayhost = \"127.0.0.1:{nobody}\"\nspool = \"{base}/spool\"\n\
         [tls]\nmode = \"none\"\n\
         [listen]\naddresses = \"127.0.0.1:{port}\"\nsocket = \"off\"\nmax-sessions = 1000\n\
         [admin]\ncontrol = \"{base}/control.sock\"\n"
    )
}

/// A port of 127.0.0.1 that nobody listens on, most likely for as long as it matters.
pub fn free_port() -> Outcome<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Waits until somebody listens on that port.
pub fn wait_for(port: u16) -> Outcome<()> {
    let begin = Instant::now();
    loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(_) => return Ok(()),
            Err(error) if begin.elapsed() > START => return Err(error.into()),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}
