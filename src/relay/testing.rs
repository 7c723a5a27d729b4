//! What the tests of several rooms share: a scripted relay, messages, and a queue that remembers.
//!
//! A script is lines: `C:` what the client must say, `S:` what the relay says; `!close` hangs up,
//! `!stall` says nothing for ever, `!until LINE` reads client lines up to and with `LINE`, `!tls` leaves the
//! stream for a handshake.
//! The script's order is what is checked: a group of `C:` lines before their `S:` lines can only be
//! satisfied by a client that pipelines.

pub(crate) mod authority;
pub(crate) mod network;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, ReadBuf};
use tokio::io::{DuplexStream, duplex};

use super::dial::Transport;
use super::{Peer, Report, Transaction, Unmarked, Verdict, Work};
use crate::config;
use crate::envelope::{Address, Body, Recipient, ReversePath};
use crate::queue_id::QueueId;

/// A duplex stream that claims an address.
pub(crate) struct Wire {
    stream: DuplexStream,
    address: SocketAddr,
}

impl Transport for Wire {
    fn peer_address(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }

    fn local_address(&self) -> io::Result<SocketAddr> {
        Ok("192.0.2.77:40000".parse().unwrap())
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, octets)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A wire to `address` and its far end; small buffers, so that nothing depends on large ones.
pub(crate) fn wire(address: &str) -> (Wire, DuplexStream) {
    let (near, far) = duplex(256);
    (Wire { stream: near, address: address.parse().unwrap() }, far)
}

pub(crate) fn peer() -> Peer {
    Peer { name: "mx.example.net".into(), address: "192.0.2.5:587".parse().unwrap(), tls: Some("TLSv1.3") }
}

/// Plays the relay's part of `script` on `stream`, then reads to the end; gives what came after the
/// script.
pub(crate) async fn play<S: AsyncRead + AsyncWrite + Unpin>(stream: S, script: &str) -> String {
    let mut stream = BufReader::new(stream);
    for (number, line) in script.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty()) {
        if let Some(expected) = line.strip_prefix("C:") {
            let said = read_line(&mut stream).await;
            let expected = expected.strip_prefix(' ').unwrap_or(expected);
            assert_eq!(said, format!("{expected}\r\n"), "script line {}: {line}", number + 1);
        } else if let Some(words) = line.strip_prefix("S:") {
            let words = format!("{}\r\n", words.strip_prefix(' ').unwrap_or(words));
            // A client that has hung up is found out by the next `C:` line or by its report.
            let _ = stream.write_all(words.as_bytes()).await;
            let _ = stream.flush().await;
        } else if let Some(end) = line.strip_prefix("!until ") {
            while read_line(&mut stream).await != format!("{end}\r\n") {}
        } else if line == "!stall" {
            std::future::pending::<()>().await;
        } else if line == "!close" || line == "!tls" {
            return String::new();
        } else {
            panic!("script line {}: {line}", number + 1);
        }
    }
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    String::from_utf8(rest).unwrap()
}

async fn read_line(stream: &mut (impl AsyncBufReadExt + Unpin)) -> String {
    let mut line = Vec::new();
    stream.read_until(b'\n', &mut line).await.unwrap();
    assert!(!line.is_empty(), "the client hung up");
    String::from_utf8(line).unwrap()
}

/// A message from `from` (empty: the null reverse-path).
pub(crate) fn transaction(id: u64, from: &str, to: &[&str], content: &str) -> Transaction {
    let mailbox = |text: &str| Address::parse(text).unwrap();
    let reverse_path = if from.is_empty() { ReversePath::Null } else { ReversePath::Mailbox(mailbox(from)) };
    Transaction {
        id: QueueId::from_raw(id),
        reverse_path,
        recipients: to.iter().map(|to| Recipient::plain(mailbox(to))).enumerate().collect(),
        body: Body::SevenBit,
        ret: None,
        envid: None,
        needs_smtputf8: false,
        size: content.len() as u64,
        content: Box::new(io::Cursor::new(content.as_bytes().to_vec())),
    }
}

/// A queue with what it was given, that remembers what it was told.
#[derive(Default)]
pub(crate) struct Given {
    pub(crate) messages: VecDeque<Transaction>,
    pub(crate) reports: Vec<Report>,
    /// `dot 1`, `report 1`, in the order they came.
    pub(crate) events: Vec<String>,
    /// Refuses the mark before the final dot.
    pub(crate) cannot_mark: bool,
}

impl Given {
    pub(crate) fn new(messages: impl IntoIterator<Item = Transaction>) -> Self {
        Given { messages: messages.into_iter().collect(), ..Given::default() }
    }

    /// One line for each recipient reported: `1/0 sent 2.0.0 250 2.0.0 ok`; a `?` where a duplicate
    /// is possible.
    pub(crate) fn told(&self) -> Vec<String> {
        let lines = self.reports.iter().flat_map(|report| {
            report.recipients.iter().map(|r| {
                let verdict = match r.verdict {
                    Verdict::Sent => "sent",
                    Verdict::Deferred => "deferred",
                    Verdict::Bounced => "bounced",
                    Verdict::Untold => "untold",
                    Verdict::TooMany => "too many",
                    Verdict::Unproven => "unproven",
                    Verdict::WithoutDsn => "without dsn",
                };
                let doubt = if report.possible_duplicate { "?" } else { "" };
                let said = if r.verdict == Verdict::Untold { "" } else { &r.said };
                let line = format!("{}/{} {verdict}{doubt} {} {said}", report.id.raw(), r.index, r.status);
                line.trim_end().to_owned()
            })
        });
        lines.collect()
    }
}

impl Work for Given {
    async fn next(&mut self, patience: Duration) -> Option<Transaction> {
        if self.messages.is_empty() {
            tokio::time::sleep(patience).await;
        }
        self.messages.pop_front()
    }

    async fn before_dot(&mut self, id: QueueId) -> Result<(), Unmarked> {
        self.events.push(format!("dot {}", id.raw()));
        if self.cannot_mark { Err(Unmarked) } else { Ok(()) }
    }

    async fn report(&mut self, report: Report) {
        self.events.push(format!("report {}", report.id.raw()));
        self.reports.push(report);
    }
}

/// Settings for one relay on loopback without TLS; tests change what they are about.
pub(crate) fn settings() -> config::RelayConfig {
    let host = config::HostOrIp::Address("127.0.0.1".parse().unwrap());
    config::RelayConfig {
        hosts: vec![config::RelayHost { host, port: 2525 }],
        tls: config::Tls::None,
        auth: None,
        max_connections: NonZeroUsize::MIN,
        messages_per_connection: NonZeroUsize::new(100).unwrap(),
        recipients_per_message: NonZeroUsize::new(50).unwrap(),
        pipelining: config::Pipelining::Group,
        idle: Duration::from_secs(30),
        timeouts: config::Timeouts::default(),
        hello: config::EhloName::Name("client.example".into()),
    }
}
