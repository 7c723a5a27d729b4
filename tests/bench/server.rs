//! The servers that are processes of ours: the daemon, and its listener by itself.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::Outcome;
use crate::bare;
use crate::load::Target;
use crate::report::Subject;

/// What a server may take until it listens.
const START: Duration = Duration::from_secs(20);

/// The user who may send by way of a sink that wants AUTH, and the password.
pub const USER: &str = "bench";
pub const PASSWORD: &str = "n0secret";

/// A build of nullmta that is measured.
pub struct Program {
    pub subject: Subject,
    pub path: PathBuf,
}

/// A running server; its drop ends it.
pub struct Server {
    process: Child,
    port: u16,
    /// The program and the configuration by which it gets commands; `None` for the listener by itself.
    commanded: Option<(PathBuf, PathBuf)>,
}

impl Server {
    /// Starts the daemon on a new spool under `base`, with its relay at that port of 127.0.0.1; under `wrapper`
    /// (strace …) if one is given, which must leave the daemon the process that is started.
    pub fn nullmta(program: &Program, base: &Path, wrapper: &[OsString], relay: u16) -> Outcome<Server> {
        fs::create_dir_all(base)?;
        let port = free_port()?;
        let config = base.join("nullmta.toml");
        fs::write(&config, configuration(base, port, relay))?;
        Self::run(program, base, wrapper, port)
    }

    /// Starts the daemon with a relay at that port that wants STARTTLS and AUTH and shows a certificate of `ca_file`.
    pub fn nullmta_with_login(program: &Program, base: &Path, relay: u16, ca_file: &Path) -> Outcome<Server> {
        fs::create_dir_all(base)?;
        let port = free_port()?;
        let secret = base.join("secret");
        fs::write(&secret, PASSWORD)?;
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600))?;
        let tls = format!("mode = \"starttls\"\nca-file = {ca_file:?}\nserver-name = \"localhost\"");
        let auth =
            format!("[auth]\nusername = \"{USER}\"\npassword-file = {secret:?}\nmechanisms = [\"PLAIN\"]\n");
        let config = configuration(base, port, relay).replace("mode = \"none\"", &tls) + &auth;
        fs::write(base.join("nullmta.toml"), config)?;
        Self::run(program, base, &[], port)
    }

    fn run(program: &Program, base: &Path, wrapper: &[OsString], port: u16) -> Outcome<Server> {
        let config = base.join("nullmta.toml");
        let words: [&OsStr; 4] = [program.path.as_ref(), "run".as_ref(), "-c".as_ref(), config.as_ref()];
        let mut words = wrapper.iter().map(OsString::as_os_str).chain(words);
        let mut command = Command::new(words.next().ok_or("nothing to run")?);
        let log = File::create(base.join("log"))?;
        let process = command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?;
        let server = Server { process, port, commanded: Some((program.path.clone(), config.clone())) };
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
        let mut server = Server { process, port: 0, commanded: None };
        server.port = line.trim().parse()?;
        Ok(server)
    }

    /// Has the daemon try its queue now. Returns when the relay has been reached.
    pub fn flush(&self) -> Outcome<()> {
        let (program, config) = self.commanded.as_ref().ok_or("this server has no queue")?;
        let output = Command::new(program).arg("flush").arg("-c").arg(config).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.success() { Ok(()) } else { Err(format!("the flush failed: {said}").into()) }
    }

    /// Returns the octets that it has had the disk write.
    pub fn octets_written(&self) -> Outcome<u64> {
        let io = fs::read_to_string(format!("/proc/{}/io", self.process.id()))?;
        let written = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
        Ok(written.ok_or("/proc does not tell what was written")?.parse()?)
    }
}

impl Target for Server {
    fn port(&self) -> u16 {
        self.port
    }

    fn processor_time(&self) -> Outcome<Duration> {
        Ok(ProcessTimes::of(self.process.id())?.own)
    }
}

/// What proc(5) says of a process in `stat`.
pub struct ProcessTimes {
    pub parent: u32,
    /// Processor time of its threads, those that have ended among them.
    pub own: Duration,
    /// Processor time of its children that have ended.
    pub of_children: Duration,
}

impl ProcessTimes {
    /// Reads them.
    pub fn of(process: u32) -> Outcome<ProcessTimes> {
        // USER_HZ of every platform of today.
        const TICK: Duration = Duration::from_millis(10);
        let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
        // The name, the second field, may have anything in it but ends at the last parenthesis.
        let (_, behind_name) = stat.rsplit_once(')').ok_or("/proc has no such line")?;
        let fields: Vec<&str> = behind_name.split_whitespace().collect();
        let number = |field: usize| Ok::<u32, Box<dyn std::error::Error>>(fields[field - 3].parse()?);
        Ok(ProcessTimes {
            parent: number(4)?,
            own: TICK * (number(14)? + number(15)?),
            of_children: TICK * (number(16)? + number(17)?),
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Gone already, it needs no end.
        let _ = kill_process(Pid::from_child(&self.process), Signal::TERM);
        let _ = self.process.wait();
    }
}

fn configuration(base: &Path, port: u16, relay: u16) -> String {
    let base = base.display();
    format!(
        "relayhost = \"127.0.0.1:{relay}\"\nspool = \"{base}/spool\"\n\
         [tls]\nmode = \"none\"\n\
         [listen]\naddresses = \"127.0.0.1:{port}\"\nsocket = \"off\"\nmax-sessions = 1000\n\
         [admin]\ncontrol = \"{base}/control.sock\"\n"
    )
}

/// Returns a port of 127.0.0.1 that nobody listens on, most likely for as long as it matters.
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
