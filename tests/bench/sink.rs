//! A relay that takes everything and keeps nothing: `nullmta sink`, a process of its own.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::Outcome;
use crate::server::{PASSWORD, USER};

/// How long no message may come while some are still awaited.
const PATIENCE: Duration = Duration::from_secs(30);

/// A certificate for `localhost` that is its own authority, in files.
pub struct Certificate {
    pub chain: PathBuf,
    pub key: PathBuf,
}

impl Certificate {
    /// Makes one in `directory`.
    pub fn make(directory: &Path) -> Outcome<Certificate> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        let (chain, key) = (directory.join("certificate.pem"), directory.join("key.pem"));
        fs::write(&chain, made.cert.pem())?;
        fs::write(&key, made.signing_key.serialize_pem())?;
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600))?;
        Ok(Certificate { chain, key })
    }
}

/// A running sink; its drop ends it.
pub struct Sink {
    process: Child,
    pub port: u16,
    received: Arc<AtomicUsize>,
}

impl Sink {
    /// Starts a sink without TLS on a free port.
    pub fn start() -> Outcome<Sink> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nullmta"));
        command.args(["sink", "--listen", "127.0.0.1:0", "--tls", "none"]);
        Self::run(command)
    }

    /// Starts a sink on `port` that wants STARTTLS and AUTH and shows `certificate`; it keeps messages in `maildir`, if one
    /// is given.
    pub fn with_login(port: u16, certificate: &Certificate, maildir: Option<&Path>) -> Outcome<Sink> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nullmta"));
        command.args(["sink", "--listen", &format!("127.0.0.1:{port}"), "--user"]);
        command.arg(format!("{USER}:{PASSWORD}"));
        command.arg("--certificate").arg(&certificate.chain).arg("--key").arg(&certificate.key);
        if let Some(maildir) = maildir {
            command.arg("--maildir").arg(maildir);
        }
        Self::run(command)
    }

    fn run(mut command: Command) -> Outcome<Sink> {
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut output = BufReader::new(process.stdout.take().ok_or("the sink has no output")?);
        let received = Arc::new(AtomicUsize::new(0));
        let mut sink = Sink { process, port: 0, received: Arc::clone(&received) };
        let mut first = String::new();
        output.read_line(&mut first)?;
        let (_, port) = first.trim().rsplit_once(':').ok_or(format!("the sink said {first:?}"))?;
        sink.port = port.parse()?;
        thread::spawn(move || count(output, &received));
        Ok(sink)
    }

    /// Returns the number of messages received so far.
    pub fn received(&self) -> usize {
        self.received.load(Ordering::Relaxed)
    }

    /// Waits until it has received so many messages.
    pub fn wait_for(&self, messages: usize) -> Outcome<()> {
        let (mut seen, mut since) = (self.received(), Instant::now());
        while seen < messages {
            thread::sleep(Duration::from_millis(1));
            let now = self.received();
            if now > seen {
                (seen, since) = (now, Instant::now());
            } else if since.elapsed() > PATIENCE {
                return Err(format!("only {now} of {messages} messages were delivered").into());
            }
        }
        Ok(())
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        // Gone already, it needs no end.
        let _ = kill_process(Pid::from_child(&self.process), Signal::TERM);
        let _ = self.process.wait();
    }
}

/// Counts the lines about messages, until the sink ends.
fn count(output: BufReader<ChildStdout>, received: &AtomicUsize) {
    for line in output.lines().map_while(Result::ok) {
        if line.contains(": received ") {
            received.fetch_add(1, Ordering::Relaxed);
        }
    }
}
