//! Shared parts of the relay's tests: a wire to a scripted relay, messages, and a queue that remembers what it is told.

pub(crate) mod authority;
pub(crate) mod failing;
pub(crate) mod network;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};

pub(crate) use super::dial::Network;
use super::dial::Transport;
use super::{Peer, Report, Transaction, Unmarked, Verdict, Work};
use crate::config;
use crate::envelope::{Address, Body, Recipient, ReversePath};
pub(crate) use crate::far_end::server::play;
use crate::message::long_lines::LongLines;
use crate::queue_id::QueueId;

/// A duplex stream that claims an address.
pub(crate) struct Wire {
    stream: DuplexStream,
    address: SocketAddr,
    /// Counts the wires of a network as long as they exist.
    _count: Arc<()>,
}

impl Wire {
    /// Counts this wire with `count`.
    pub(crate) fn counted_by(self, count: Arc<()>) -> Self {
        Wire { _count: count, ..self }
    }
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
    wire_of(256, address)
}

/// Does the same with buffers of `room` octets.
pub(crate) fn wire_of(room: usize, address: &str) -> (Wire, DuplexStream) {
    let (near, far) = duplex(room);
    (Wire { stream: near, address: address.parse().unwrap(), _count: Arc::default() }, far)
}

pub(crate) fn peer() -> Peer {
    Peer {
        name: "mx.example.net".into(),
        address: "192.0.2.5:587".parse().unwrap(),
        route: None,
        tls: Some("TLSv1.3"),
    }
}

/// Returns a message from `from` (empty: the null reverse-path).
pub(crate) fn transaction(id: u64, from: &str, to: &[&str], content: &str) -> Transaction {
    let mailbox = |text: &str| Address::parse(text).unwrap();
    let reverse_path = if from.is_empty() { ReversePath::Null } else { ReversePath::Mailbox(mailbox(from)) };
    Transaction {
        id: QueueId::from_raw(id),
        is_from_null: reverse_path == ReversePath::Null,
        reverse_path,
        recipients: to.iter().map(|to| Recipient::plain(mailbox(to))).enumerate().collect(),
        body: Body::SevenBit,
        ret: None,
        envid: None,
        wants_smtputf8: false,
        was_refused: false,
        size: content.len() as u64,
        content: Box::new(io::Cursor::new(content.as_bytes().to_vec())),
    }
}

/// A queue of these messages, which remembers the reports.
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

    /// Returns one line for each recipient reported, such as `1/0 sent 2.0.0 250 2.0.0 ok`, with a `?` where a
    /// duplicate is possible.
    pub(crate) fn told(&self) -> Vec<String> {
        let lines = self.reports.iter().flat_map(|report| {
            report.recipients.iter().map(|r| {
                let without;
                let verdict = match r.verdict {
                    Verdict::Sent => "sent",
                    Verdict::Deferred => "deferred",
                    Verdict::Bounced => "bounced",
                    Verdict::Untold => "untold",
                    Verdict::TooMany => "too many",
                    Verdict::TooManyDomains => "too many domains",
                    Verdict::Unproven => "unproven",
                    Verdict::WithoutParameters(set) => {
                        without = format!("without {set}").to_lowercase();
                        &without
                    }
                    Verdict::Waits(_) => "waits",
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
        hosts: vec![config::RelayHost { host, port: config::RelayPort::Number(2525) }],
        tls: config::Tls::None,
        auth: None,
        max_connections: NonZeroUsize::MIN,
        messages_per_connection: NonZeroUsize::new(100).unwrap(),
        recipients_per_message: NonZeroUsize::new(50).unwrap(),
        domains_per_message: None,
        rates: Vec::new(),
        connection_age: None,
        pipelining: config::Pipelining::Group,
        eight_bit: config::EightBit::Keep,
        long_lines: LongLines::Fold,
        idle: Duration::from_secs(30),
        timeouts: config::Timeouts::default(),
        families: config::Families::default(),
        hello: config::EhloName::Name("client.example".into()),
        replies: Vec::new(),
    }
}
