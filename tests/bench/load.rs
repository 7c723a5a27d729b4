//! The load generator: sessions that send 4 KiB messages, one after the other, as fast as they are taken.
//!
//! One thread holds all sessions, so that it takes as little as it can from the server beside it. A
//! reply other than the expected one, or a session that stalls, ends the run with an error.
//!
//! Its client is not the one of the other tests (`tests/far_end/`): what a client costs is taken from the server
//! beside it, so this one makes no strings of what it says and hears, and looks for the end of a reply only.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;
use tokio::time::{Instant, timeout};

use crate::Outcome;

/// Octets of a message's content, the final dot aside.
pub const MESSAGE: usize = 4096;

/// Messages of the first part of a run are not counted: connections and processes come up.
const WARM_UP: u32 = 6;

/// What a run may take beyond its time.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many messages a connection carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Connections {
    /// All that the session sends.
    Kept,
    /// One.
    OnePerMessage,
}

/// What a load is given to.
pub trait Target {
    /// Returns the port of 127.0.0.1 on which it takes mail.
    fn port(&self) -> u16;
    /// Returns the processor time that all its processes have used so far.
    fn processor_time(&self) -> Outcome<Duration>;
}

/// One run.
pub struct Load {
    pub sessions: usize,
    pub connections: Connections,
    pub time: Duration,
}

/// What came of a run.
pub struct Figures {
    /// Messages acknowledged, those of the warm-up and after the end included.
    pub sent: usize,
    /// The number of messages a second.
    pub rate: f64,
    pub p50: Duration,
    pub p99: Duration,
    /// Seconds of processor time that the target has used for a message.
    pub processor: f64,
}

impl Figures {
    /// Of `counted` messages in `time`; there must be a latency.
    pub fn new(counted: usize, time: Duration, mut latencies: Vec<Duration>) -> Option<Figures> {
        latencies.sort_unstable();
        let at = |hundredth: usize| latencies.get(latencies.len() * hundredth / 100).copied();
        let rate = counted as f64 / time.as_secs_f64();
        Some(Figures { sent: counted, rate, p50: at(50)?, p99: at(99)?, processor: f64::NAN })
    }
}

impl Load {
    /// Sends to `target`.
    pub fn run(&self, target: &impl Target) -> Outcome<Figures> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let before = target.processor_time()?;
        let Tally { sent, latencies } = LocalSet::new().block_on(&runtime, self.sessions(target.port()))?;
        let processor = (target.processor_time()? - before).as_secs_f64() / sent as f64;
        let counted = self.time - self.time / WARM_UP;
        // A disk that others keep busy may let nothing through: it took longer than the run, at least.
        let nothing = Figures { sent, rate: 0.0, p50: self.time, p99: self.time, processor };
        let figures = Figures::new(latencies.len(), counted, latencies).unwrap_or(nothing);
        Ok(Figures { sent, processor, ..figures })
    }

    async fn sessions(&self, port: u16) -> io::Result<Tally> {
        let content: Rc<[u8]> = content().into();
        let begin = Instant::now();
        let window = Window { from: begin + self.time / WARM_UP, to: begin + self.time };
        let sessions: Vec<_> = (0..self.sessions)
            .map(|_| tokio::task::spawn_local(session(port, self.connections, content.clone(), window)))
            .collect();
        let mut all = Tally::default();
        for session in sessions {
            let tally = timeout(self.time + PATIENCE, session).await?.map_err(io::Error::other)??;
            all.sent += tally.sent;
            all.latencies.extend(tally.latencies);
        }
        Ok(all)
    }
}

/// Sends so many messages over so many connections at once.
pub fn send(port: u16, sessions: usize, messages: usize) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let content: Rc<[u8]> = content().into();
    let all = async {
        let share = |number: usize| messages / sessions + usize::from(number < messages % sessions);
        let sending = |number| tokio::task::spawn_local(send_some(port, share(number), content.clone()));
        let sessions: Vec<_> = (0..sessions).map(sending).collect();
        for session in sessions {
            session.await.map_err(io::Error::other)??;
        }
        io::Result::Ok(())
    };
    Ok(LocalSet::new().block_on(&runtime, all)?)
}

async fn send_some(port: u16, messages: usize, content: Rc<[u8]>) -> io::Result<()> {
    let mut client = Client::connect(port).await?;
    for _ in 0..messages {
        client.send(&content).await?;
    }
    client.say(b"QUIT\r\n", b"221").await
}

/// What sessions have done.
#[derive(Default)]
struct Tally {
    sent: usize,
    /// Of the messages acknowledged within the window.
    latencies: Vec<Duration>,
}

/// When an acknowledgement counts.
#[derive(Clone, Copy)]
struct Window {
    from: Instant,
    to: Instant,
}

async fn session(
    port: u16,
    connections: Connections,
    content: Rc<[u8]>,
    window: Window,
) -> io::Result<Tally> {
    let mut tally = Tally::default();
    while Instant::now() < window.to {
        let mut client = Client::connect(port).await?;
        loop {
            let latency = client.send(&content).await?;
            let now = Instant::now();
            tally.sent += 1;
            if (window.from..window.to).contains(&now) {
                tally.latencies.push(latency);
            }
            if connections == Connections::OnePerMessage || now >= window.to {
                break;
            }
        }
        client.say(b"QUIT\r\n", b"221").await?;
    }
    Ok(tally)
}

/// A client's end of a connection.
struct Client {
    stream: TcpStream,
    reply: Vec<u8>,
}

impl Client {
    async fn connect(port: u16) -> io::Result<Client> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        let mut client = Client { stream, reply: Vec::with_capacity(1024) };
        client.hear(b"220").await?;
        client.say(b"EHLO bench.example\r\n", b"250").await?;
        Ok(client)
    }

    /// Sends one message, and returns how long the reply to its final dot took.
    async fn send(&mut self, content: &[u8]) -> io::Result<Duration> {
        self.say(b"MAIL FROM:<ann@example.org>\r\n", b"250").await?;
        self.say(b"RCPT TO:<bob@example.net>\r\n", b"250").await?;
        self.say(b"DATA\r\n", b"354").await?;
        let begin = Instant::now();
        self.say(content, b"250").await?;
        Ok(begin.elapsed())
    }

    async fn say(&mut self, octets: &[u8], expected: &[u8; 3]) -> io::Result<()> {
        self.stream.write_all(octets).await?;
        self.hear(expected).await
    }

    async fn hear(&mut self, expected: &[u8; 3]) -> io::Result<()> {
        self.reply.clear();
        while !is_whole(&self.reply) {
            if self.stream.read_buf(&mut self.reply).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        if self.reply.starts_with(expected) {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&self.reply);
        Err(io::Error::other(format!("the server said {said}")))
    }
}

/// Returns whether the last line of a reply is there: nothing follows it, since nothing is pipelined.
fn is_whole(reply: &[u8]) -> bool {
    let Some(lines) = reply.strip_suffix(b"\r\n") else { return false };
    let last = lines.rsplit(|octet| *octet == b'\n').next();
    last.is_some_and(|line| line.get(3) == Some(&b' '))
}

/// Returns a message as applications send them, with the final dot.
pub fn content() -> Vec<u8> {
    let mut content = b"From: Ann <ann@example.org>\r\nTo: Bob <bob@example.net>\r\nSubject: Benchmark\r\n\
        Date: Thu, 01 Jan 2026 00:00:00 +0000\r\nMessage-ID: <1@bench.example>\r\n\r\n"
        .to_vec();
    while content.len() < MESSAGE {
        let line = (MESSAGE - content.len()).clamp(3, 72);
        content.resize(content.len() + line - 2, b'x');
        content.extend_from_slice(b"\r\n");
    }
    content.extend_from_slice(b".\r\n");
    content
}
