//! A history leaves nothing: the daemon after very many sessions is as it was after the first of them.
//!
//! ```text
//! NULLMTA_SOAK=100000 cargo test --release --test soak -- --nocapture
//! ```
//! sends so many messages (2,000 by default, which takes seconds) through the real daemon on a real disk, that
//! of `TMPDIR`: in at many sessions of every kind, also of clients that vanish within a message; each from
//! another reverse-path to another recipient, some of 1.2 MB, some bounced; out to a sink.
//! It comes in ten parts. After each, the queue is empty and what the daemon holds is measured. Asserted of the
//! end, and of every part after the second, against the plateau that the second has reached: resident memory at
//! most 8 MiB more; no descriptor more than connections to the relay may idle, and no thread more than may idle;
//! no file more on the spool, and no more octets than an active segment and one made ready. And each message
//! arrived once.

#![allow(missing_docs, reason = "a test")]

mod daemon;
mod far_end;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nullmta::listener::certificate::Certificate;
use nullmta::listener::stop::{Stopper, stop_signal};
use nullmta::sink::{FaultSwitch, Security, Sink, SinkEvent, SinkOptions};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use daemon::{Daemon, figure};
use far_end::client::Client;

const PARTS: usize = 10;
/// The part after which nothing may grow any more.
const PLATEAU: usize = 2;
const CLIENTS: usize = 8;
const MEMORY_ALLOWANCE: u64 = 8 << 20;
/// Connections to the relay that a daemon may keep idle.
const IDLE_CONNECTIONS: usize = 20;
/// Threads for disk calls that may idle a while.
const IDLE_THREADS: u64 = 32;
/// The active segment and the one made ready, and what `lock` and the like take.
const KEPT_ON_DISK: u64 = 2 * (32 << 20) + (1 << 16);
const PATIENCE: Duration = Duration::from_secs(120);

/// A relay that takes what comes, but for the recipients of messages that are to bounce.
struct Relay {
    port: u16,
    faults: FaultSwitch,
    events: UnboundedReceiver<SinkEvent>,
    taken: usize,
    _stopper: Stopper,
}

impl Relay {
    async fn start() -> Relay {
        let (sender, events) = unbounded_channel();
        let certificate = Certificate::self_made("localhost").unwrap();
        let options = SinkOptions { security: Security::None, ..SinkOptions::new(certificate) };
        let sink = Sink::bind(options, sender).await.unwrap();
        let (port, faults) = (sink.address().port(), sink.faults());
        let (_stopper, stop) = stop_signal();
        tokio::spawn(sink.run(stop));
        Relay { port, faults, events, taken: 0, _stopper }
    }

    /// Refuses the recipients of those of `numbers` that are to bounce, and nobody else any more.
    fn refuse_of(&self, numbers: &[usize]) {
        self.faults.clear();
        for number in numbers.iter().filter(|number| is_bounced(**number)) {
            let fault = format!("rcpt:nobody{number}@example.net=550 5.1.1 no such user");
            self.faults.add(fault.parse().unwrap());
        }
    }

    /// Returns how many messages it has taken.
    fn taken(&mut self) -> usize {
        while let Ok(event) = self.events.try_recv() {
            self.taken += usize::from(matches!(event, SinkEvent::Received(_)));
        }
        self.taken
    }
}

async fn open(port: u16) -> Client {
    let mut session = Client::connected(port).await;
    session.say("EHLO client", "250").await;
    session
}

async fn begin(session: &mut Client, number: usize) {
    let user = if is_bounced(number) { "nobody" } else { "bob" };
    session.say(&format!("MAIL FROM:<ann{number}@example.org>"), "250").await;
    session.say(&format!("RCPT TO:<{user}{number}@example.net>"), "250").await;
}

async fn send(session: &mut Client, number: usize) {
    begin(session, number).await;
    session.say("DATA", "354").await;
    let octets = if number.is_multiple_of(500) { 1_200_000 } else { 2000 };
    let body = format!("{}\r\n", "x".repeat(70)).repeat(octets / 72);
    session.say(&format!("Subject: {number}\r\n\r\n{body}."), "250").await;
}

fn is_bounced(number: usize) -> bool {
    number.is_multiple_of(20)
}

/// Sends these, in sessions of every kind.
async fn client(port: u16, numbers: Vec<usize>) {
    for (kind, numbers) in numbers.chunks(3).enumerate() {
        match kind % 4 {
            0 => {
                for number in numbers {
                    let mut session = open(port).await;
                    send(&mut session, *number).await;
                    session.say("QUIT", "221").await;
                }
            }
            1 => {
                let mut session = open(port).await;
                session.say("NONSENSE", "500").await;
                for number in numbers {
                    begin(&mut session, 0).await;
                    session.say("RSET", "250").await;
                    send(&mut session, *number).await;
                }
            }
            kind => {
                let mut session = open(port).await;
                for number in numbers {
                    send(&mut session, *number).await;
                }
                begin(&mut session, 0).await;
                if kind == 3 {
                    // It vanishes within its message.
                    session.say("DATA", "354").await;
                    session.send("Subject: never\r\n\r\nhalf a").await;
                }
            }
        }
    }
}

fn queue_is_empty(daemon: &Daemon) -> bool {
    let output = daemon.queue_list().output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout.is_empty()
}

/// What a daemon has of memory and disk.
#[derive(Clone, Copy)]
struct Held {
    memory: u64,
    threads: u64,
    descriptors: usize,
    files: usize,
    octets: u64,
}

impl Held {
    /// What `daemon` has now, and the spool under `directory`.
    fn by(daemon: &Daemon, directory: &Path) -> Held {
        let files = files_under(&directory.join("spool"));
        Held {
            memory: figure(daemon.id(), "VmRSS"),
            threads: figure(daemon.id(), "Threads"),
            descriptors: fs::read_dir(format!("/proc/{}/fd", daemon.id())).unwrap().count(),
            files: files.len(),
            octets: files.iter().filter_map(|file| Some(file.metadata().ok()?.len())).sum(),
        }
    }

    /// Returns whether it is no more than it was at the plateau.
    fn is_within(&self, plateau: &Held) -> bool {
        self.memory <= plateau.memory + MEMORY_ALLOWANCE
            && self.threads <= plateau.threads + IDLE_THREADS
            && self.descriptors <= plateau.descriptors + IDLE_CONNECTIONS
            && self.files <= plateau.files
            && self.octets <= KEPT_ON_DISK
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Held { memory, threads, descriptors, files, octets } = self;
        let (memory, octets) = (memory >> 10, octets >> 20);
        write!(f, "{memory} KiB, {threads} threads, {descriptors} descriptors, {files} files of {octets} MiB")
    }
}

fn files_under(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap().flatten() {
        match entry.path() {
            path if path.is_dir() => files.extend(files_under(&path)),
            path => files.push(path),
        }
    }
    files
}

async fn until(mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "it never came");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_leaves_nothing_behind() {
    let count: usize = std::env::var("NULLMTA_SOAK").map_or(2000, |count| count.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let mut relay = Relay::start().await;
    let daemon = Daemon::start(directory.path(), relay.port);
    let held = || Held::by(&daemon, directory.path());

    let mut plateau = held();
    for part in 1..=PARTS {
        let numbers: Vec<usize> = (0..count / PARTS).map(|number| part * count + number).collect();
        relay.refuse_of(&numbers);
        let mut clients = JoinSet::new();
        for first in 0..CLIENTS {
            let own = numbers.iter().skip(first).step_by(CLIENTS).copied().collect();
            clients.spawn(client(daemon.port, own));
        }
        clients.join_all().await;
        // One message for each: what was bounced comes as its DSN.
        until(|| relay.taken() == part * numbers.len() && queue_is_empty(&daemon)).await;
        if part <= PLATEAU {
            plateau = held();
        }
        // The last sessions may still be ending.
        until(|| held().is_within(&plateau)).await;
        println!("{}: {}", part * numbers.len(), held());
    }
    assert_eq!(relay.taken(), count / PARTS * PARTS);
}
