//! A history leaves nothing: the daemon after very many sessions is as it was after the first of them.
//!
//! ```text
//! NULLMTA_SOAK=100000 cargo test --release --test soak -- --nocapture
//! ```
//! sends so many messages (2,000 by default, which takes seconds) through the real daemon on a real disk, that
//! of `TMPDIR`: in at many sessions of every kind, also of clients that vanish within a message; each from
//! another reverse-path to another recipient, some of 1.2 MB, some bounced; out to a relay that is played here.
//! It comes in ten parts. After each, the queue is empty and what the daemon holds is measured. Asserted of the
//! end, and of every part after the second, against the plateau that the second has reached: resident memory at
//! most 8 MiB more; no descriptor more than connections to the relay may idle, and no thread more than may idle;
//! no file more on the spool, and no more octets than an active segment and one made ready. And each message
//! arrived once.

#![allow(missing_docs, reason = "a test")]

mod daemon;

use std::fmt;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use daemon::{Daemon, figure};

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

type Stream = BufReader<TcpStream>;

/// The relay: refuses recipients that begin with `nobody`, and counts what it takes.
async fn relay(listener: TcpListener, taken: Arc<AtomicUsize>) {
    while let Ok((stream, _)) = listener.accept().await {
        let taken = Arc::clone(&taken);
        tokio::spawn(async move {
            // Whoever hangs up has said what there was to say.
            let _ = relay_session(BufReader::new(stream), &taken).await;
        });
    }
}

async fn relay_session(mut stream: Stream, taken: &AtomicUsize) -> std::io::Result<()> {
    stream.get_mut().write_all(b"220 relay\r\n").await?;
    let (mut line, mut in_content, mut has_recipient) = (Vec::new(), false, false);
    while stream.read_until(b'\n', &mut line).await? > 0 {
        let reply = match &line[..] {
            b".\r\n" if in_content => {
                taken.fetch_add(1, Ordering::SeqCst);
                "250 taken"
            }
            _ if in_content => "",
            b"DATA\r\n" if has_recipient => "354 go on",
            b"DATA\r\n" => "554 nobody to send it to",
            line if line.starts_with(b"EHLO") => "250-relay\r\n250-PIPELINING\r\n250 8BITMIME",
            line if line.starts_with(b"RCPT TO:<nobody") => "550 5.1.1 no such user",
            line => {
                has_recipient = line.starts_with(b"RCPT");
                "250 ok"
            }
        };
        in_content = reply.starts_with("354") || (in_content && reply.is_empty());
        if !reply.is_empty() {
            stream.get_mut().write_all(format!("{reply}\r\n").as_bytes()).await?;
        }
        line.clear();
    }
    Ok(())
}

/// A client's session with the daemon.
struct Session(Stream);

impl Session {
    async fn open(port: u16) -> Session {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut session = Session(BufReader::new(stream));
        session.hear("220").await;
        session.say("EHLO client\r\n", "250").await;
        session
    }

    async fn say(&mut self, octets: &str, expected: &str) {
        self.0.get_mut().write_all(octets.as_bytes()).await.unwrap();
        self.hear(expected).await;
    }

    async fn hear(&mut self, expected: &str) {
        let mut line = String::new();
        while line.as_bytes().get(3) != Some(&b' ') {
            line.clear();
            assert!(self.0.read_line(&mut line).await.unwrap() > 0, "the daemon hung up");
        }
        assert!(line.starts_with(expected), "{line}");
    }

    async fn begin(&mut self, number: usize) {
        let user = if is_bounced(number) { "nobody" } else { "bob" };
        self.say(&format!("MAIL FROM:<ann{number}@example.org>\r\n"), "250").await;
        self.say(&format!("RCPT TO:<{user}{number}@example.net>\r\n"), "250").await;
    }

    async fn send(&mut self, number: usize) {
        self.begin(number).await;
        self.say("DATA\r\n", "354").await;
        let octets = if number.is_multiple_of(500) { 1_200_000 } else { 2000 };
        let body = format!("{}\r\n", "x".repeat(70)).repeat(octets / 72);
        self.say(&format!("Subject: {number}\r\n\r\n{body}.\r\n"), "250").await;
    }
}

fn is_bounced(number: usize) -> bool {
    number.is_multiple_of(20)
}

/// Sends these, in sessions of every kind.
async fn client(port: u16, numbers: Vec<usize>) {
    for (session, numbers) in numbers.chunks(3).enumerate() {
        match session % 4 {
            0 => {
                for number in numbers {
                    let mut session = Session::open(port).await;
                    session.send(*number).await;
                    session.say("QUIT\r\n", "221").await;
                }
            }
            1 => {
                let mut session = Session::open(port).await;
                session.say("NONSENSE\r\n", "500").await;
                for number in numbers {
                    session.begin(0).await;
                    session.say("RSET\r\n", "250").await;
                    session.send(*number).await;
                }
            }
            kind => {
                let mut session = Session::open(port).await;
                for number in numbers {
                    session.send(*number).await;
                }
                session.begin(0).await;
                if kind == 3 {
                    // It vanishes within its message.
                    session.say("DATA\r\n", "354").await;
                    session.0.get_mut().write_all(b"Subject: never\r\n\r\nhalf a").await.unwrap();
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

    /// Whether it is no more than it was at the plateau.
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
    let (listener, taken) = (TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap(), Arc::default());
    let relay_port = listener.local_addr().unwrap().port();
    tokio::spawn(relay(listener, Arc::clone(&taken)));
    let daemon = Daemon::start(directory.path(), relay_port);
    let held = || Held::by(&daemon, directory.path());

    let mut plateau = held();
    for part in 1..=PARTS {
        let numbers: Vec<usize> = (0..count / PARTS).map(|number| part * count + number).collect();
        let mut clients = JoinSet::new();
        for first in 0..CLIENTS {
            let own = numbers.iter().skip(first).step_by(CLIENTS).copied().collect();
            clients.spawn(client(daemon.port, own));
        }
        clients.join_all().await;
        // One message for each: what was bounced comes as its DSN.
        until(|| taken.load(Ordering::SeqCst) == part * numbers.len() && queue_is_empty(&daemon)).await;
        if part <= PLATEAU {
            plateau = held();
        }
        // The last sessions may still be ending.
        until(|| held().is_within(&plateau)).await;
        println!("{}: {}", part * numbers.len(), held());
    }
    assert_eq!(taken.load(Ordering::SeqCst), count / PARTS * PARTS);
}
