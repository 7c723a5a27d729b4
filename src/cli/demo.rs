//! `nullmta demo`: shows on one screen that mail survives a relay that is down and a daemon that is killed: each message
//! arrives, exactly once.
//!
//! Everything is real: the daemon is this program, run as a child; the client speaks SMTP over loopback; the
//! relay is a [`Sink`] with STARTTLS and AUTH. Everything is temporary: free ports, and a directory that is
//! removed at the end.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::control_client;
use super::exit::{Exit, Failure};
use super::output::say;
use crate::admin::protocol::{ControlRequest, QueuedMessage};
use crate::listener::certificate::Certificate;
use crate::listener::stop::{Stopper, stop_signal};
use crate::secret::Secret;
use crate::sink::{Sink, SinkEvent, SinkOptions, SinkUser};

const MESSAGES: usize = 5;
const PASSWORD: &str = "demo-password";
/// Time for which the demo waits for each step before it gives up.
const PATIENCE: Duration = Duration::from_secs(15);

pub(super) fn run() -> Result<(), Failure> {
    let stage = Stage::set().map_err(failure("set the stage"))?;
    match play(&stage) {
        Ok(()) => {
            // A file that cannot be removed stays in the temporary directory and does no harm.
            let _ = fs::remove_dir_all(&stage.directory);
            Ok(())
        }
        Err(failure) => {
            eprintln!("the daemon's log is {}", stage.log().display());
            Err(failure)
        }
    }
}

fn play(stage: &Stage) -> Result<(), Failure> {
    say!("A relay that is down, a daemon that is killed, {MESSAGES} messages. None may be lost.\n")?;
    let daemon = Daemon::start(stage)?;
    say!("1. The daemon takes mail on {}. Its relay on {} is down.\n", stage.listen, stage.relay)?;

    say!("2. An application sends {MESSAGES} messages. Each 250 comes after the disk has the message:")?;
    for number in 1..=MESSAGES {
        let said = submit(stage.listen, number).map_err(failure("send a message"))?;
        say!("     message {number}: {said}")?;
    }
    say!("\n3. `nullmta queue list` shows them waiting:")?;
    for message in stage.until_queued()? {
        let recipients: Vec<_> = message.recipients.iter().map(|recipient| &*recipient.address).collect();
        say!("     {} to {}", message.id, recipients.join(", "))?;
    }
    say!("\n4. The daemon (pid {}) is killed with SIGKILL, as a power cut would.", daemon.child.id())?;
    drop(daemon);

    let mut daemon = Daemon::start(stage)?;
    let waiting = stage.queue()?.len();
    say!("   Started again (pid {}), it finds {waiting} messages on its spool.\n", daemon.child.id())?;

    say!("5. The relay comes up: STARTTLS with a verified certificate, then AUTH. It receives:")?;
    let counts = deliver(stage, &daemon)?;
    for (subject, count) in &counts {
        say!("     {subject}: {}", if *count == 1 { "once" } else { "MORE THAN ONCE" })?;
    }
    stage.until_empty()?;
    daemon.stop()?;
    conclude(&counts)
}

/// Prints the result; fails if some message did not arrive exactly once.
fn conclude(counts: &BTreeMap<String, usize>) -> Result<(), Failure> {
    let delivered = counts.len();
    let twice = counts.values().filter(|count| **count > 1).count();
    say!("\n{MESSAGES} accepted, {delivered} delivered, {} lost, {twice} twice.", MESSAGES - delivered)?;
    if delivered == MESSAGES && twice == 0 {
        say!("Next: a few lines in /etc/nullmta.toml, see config/nullmta.toml and README.md.")?;
        Ok(())
    } else {
        Err(Failure::new(Exit::Failed, "a promise was broken"))
    }
}

/// The temporary directory and the ports that the demo uses.
struct Stage {
    directory: PathBuf,
    listen: SocketAddr,
    relay: SocketAddr,
    certificate: Certificate,
}

impl Stage {
    fn set() -> io::Result<Self> {
        let directory = std::env::temp_dir().join(format!("nullmta-demo-{}", std::process::id()));
        fs::create_dir(&directory)?;
        let certificate = Certificate::self_made("localhost").map_err(io::Error::other)?;
        let stage = Stage { listen: free_port()?, relay: free_port()?, certificate, directory };
        stage.write_files()?;
        Ok(stage)
    }

    fn write_files(&self) -> io::Result<()> {
        fs::write(self.path("relay.pem"), self.certificate.pem())?;
        let mut secret =
            File::options().create_new(true).write(true).mode(0o600).open(self.path("secret"))?;
        secret.write_all(PASSWORD.as_bytes())?;
        fs::write(self.config(), self.config_text())
    }

    fn config_text(&self) -> String {
        let directory = self.directory.display();
        format!(
            "relayhost = \"{relay}\"\n\
             spool = \"{directory}/spool\"\n\
             [auth]\n\
             username = \"demo\"\n\
             password-file = \"{directory}/secret\"\n\
             [tls]\n\
             ca-file = \"{directory}/relay.pem\"\n\
             [listen]\n\
             hostname = \"demo.example\"\n\
             addresses = [\"{listen}\"]\n\
             socket = \"{directory}/submit.sock\"\n\
             [admin]\n\
             control = \"{directory}/control.sock\"\n",
            relay = self.relay,
            listen = self.listen,
        )
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn config(&self) -> PathBuf {
        self.path("nullmta.toml")
    }

    fn log(&self) -> PathBuf {
        self.path("log")
    }

    /// Returns the messages that `nullmta queue list` would show.
    fn queue(&self) -> Result<Vec<QueuedMessage>, Failure> {
        let mut messages = Vec::new();
        control_client::ask(
            &self.path("control.sock"),
            &ControlRequest::whole_queue(),
            &mut |message: QueuedMessage| {
                messages.push(message);
                Ok(())
            },
        )
        .map_err(|error| Failure::new(Exit::Unavailable, error))?;
        Ok(messages)
    }

    fn until_queued(&self) -> Result<Vec<QueuedMessage>, Failure> {
        wait_for("all messages are in the queue", || {
            Ok(Some(self.queue()?).filter(|messages| messages.len() == MESSAGES))
        })
    }

    fn until_empty(&self) -> Result<(), Failure> {
        wait_for("the queue is empty", || Ok(self.queue()?.is_empty().then_some(())))
    }
}

/// The daemon as a child process, which is killed when this is dropped.
struct Daemon {
    child: Child,
}

impl Daemon {
    fn start(stage: &Stage) -> Result<Self, Failure> {
        let child = spawn(stage).map_err(failure("start the daemon"))?;
        let daemon = Daemon { child };
        wait_for("the daemon listens", || {
            let is_up = stage.queue().is_ok() && TcpStream::connect(stage.listen).is_ok();
            Ok(is_up.then_some(()))
        })?;
        Ok(daemon)
    }

    fn signal(&self, signal: Signal) -> Result<(), Failure> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let sent = pid.map(|pid| kill_process(pid, signal));
        sent.transpose().map_err(failure("signal the daemon")).map(|_| ())
    }

    fn stop(&mut self) -> Result<(), Failure> {
        self.signal(Signal::TERM)?;
        self.child.wait().map_err(failure("stop the daemon"))?;
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both calls fail only if the child has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(stage: &Stage) -> io::Result<Child> {
    let log = File::options().create(true).append(true).open(stage.log())?;
    Command::new(std::env::current_exe()?)
        .args(["run", "--config"])
        .arg(stage.config())
        .env_remove("JOURNAL_STREAM")
        .stderr(log)
        .spawn()
}

/// Starts the relay and counts the messages that it receives, by subject.
fn deliver(stage: &Stage, daemon: &Daemon) -> Result<BTreeMap<String, usize>, Failure> {
    let runtime = tokio::runtime::Runtime::new().map_err(failure("start threads"))?;
    let (mut events, stopper) = runtime.block_on(raise_relay(stage))?;
    // The daemon would probe by itself in a moment; this shows how to ask for it.
    daemon.signal(Signal::USR1)?;
    let counts = runtime.block_on(count(&mut events));
    stopper.stop(tokio::time::Instant::now());
    Ok(counts)
}

async fn raise_relay(stage: &Stage) -> Result<(UnboundedReceiver<SinkEvent>, Stopper), Failure> {
    let (tell, events) = unbounded_channel();
    let users = vec![SinkUser { name: "demo".into(), password: Secret::new(PASSWORD.into()) }];
    let options = SinkOptions { address: stage.relay, users, ..SinkOptions::new(stage.certificate.clone()) };
    let sink = Sink::bind(options, tell).await.map_err(failure("raise the relay"))?;
    let (stopper, stop) = stop_signal();
    tokio::spawn(sink.run(stop));
    Ok((events, stopper))
}

/// Counts messages by subject until all have come, and for a moment after that, since no more may come.
async fn count(events: &mut UnboundedReceiver<SinkEvent>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    let mut patience = PATIENCE;
    while let Ok(Some(event)) = tokio::time::timeout(patience, events.recv()).await {
        if let SinkEvent::Received(received) = event {
            let content = received.content.read().unwrap_or_default();
            *counts.entry(subject(&content)).or_insert(0) += 1;
        }
        if counts.len() == MESSAGES {
            patience = Duration::from_secs(1);
        }
    }
    counts
}

fn subject(content: &[u8]) -> String {
    let text = String::from_utf8_lossy(content);
    let subject = text.lines().find_map(|line| line.strip_prefix("Subject: "));
    subject.unwrap_or("a message without subject").to_owned()
}

/// Sends one message as an application would. Returns the reply of the daemon.
fn submit(address: SocketAddr, number: usize) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let content = format!("Subject: message {number}\r\n\r\nNever lost.\r\n.\r\n");
    let dialogue = [
        ("", "220"),
        ("EHLO app.example\r\n", "250"),
        ("MAIL FROM:<app@demo.example>\r\n", "250"),
        ("RCPT TO:<someone@demo.example>\r\n", "250"),
        ("DATA\r\n", "354"),
        (&content, "250"),
    ];
    let mut replies = BufReader::new(stream.try_clone()?);
    let mut said = String::new();
    for (line, expected) in dialogue {
        stream.write_all(line.as_bytes())?;
        said = reply(&mut replies)?;
        if !said.starts_with(expected) {
            return Err(io::Error::other(said));
        }
    }
    Ok(said)
}

/// Reads a reply and returns its last line.
fn reply(replies: &mut impl BufRead) -> io::Result<String> {
    loop {
        let mut line = String::new();
        replies.read_line(&mut line)?;
        if line.as_bytes().get(3) != Some(&b'-') {
            return Ok(line.trim_end().to_owned());
        }
    }
}

/// Returns an address with a port that is free now. The system does not hand out the same port again at once.
fn free_port() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// Calls `look` every few milliseconds until it returns something.
fn wait_for<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>, Failure>) -> Result<T, Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look()? {
            return Ok(seen);
        }
        if Instant::now() >= deadline {
            return Err(Failure::new(Exit::Failed, format!("waited in vain until {what}")));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn failure<E: Display>(what: &str) -> impl FnOnce(E) -> Failure {
    move |error| Failure::new(Exit::Failed, format!("cannot {what}: {error}"))
}
