//! Connects to a relayhost: looks its addresses up, and tries them in turn, with several tries at a time.
//!
//! Promises:
//! 1. Every address of a name is tried before the name counts as failed.
//! 2. IPv6 and IPv4 take turns, IPv6 first; the next try starts 250 ms after the last one, or at once
//!    when that one failed (RFC 8305): a dead IPv6 route costs a quarter second, not a timeout.
//! 3. Only families of addresses that are configured are tried, each from its configured source address.
//! 4. One try takes no longer than the connect limit. The first connection ends the other tries; their addresses are
//!    tried again if that connection turns out to be unusable.
//!
//! Not here: the dialogue on the connection (`opening.rs`), the next host, or another address beside a silent one
//! (`failover.rs`).

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

use super::running::{Running, first_ended};
use super::service::{self, NameServers, ServiceHost};
use super::trouble::{Cause, Phase, Trouble};
use crate::config::{Families, FamilyUse, HostOrIp, ServiceKind};

/// The time after which the next address is tried, "Connection Attempt Delay" in RFC 8305 5.
const HEAD_START: Duration = Duration::from_millis(250);

/// A connected stream that knows its addresses.
pub(crate) trait Transport: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// Returns the address of the other end.
    fn peer_address(&self) -> io::Result<SocketAddr>;
    /// Returns the address of our end.
    fn local_address(&self) -> io::Result<SocketAddr>;
}

impl Transport for TcpStream {
    fn peer_address(&self) -> io::Result<SocketAddr> {
        self.peer_addr()
    }

    fn local_address(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }
}

/// The source of addresses and connections: the Internet, or a test.
pub(crate) trait Network: Sync {
    /// The type of a connection.
    type Stream: Transport;
    /// Returns all addresses of `name`.
    fn resolve(&self, name: &str, port: u16) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send;
    /// Returns the hosts that `domain` names for these services, in their order; at least one. A network without name
    /// servers has none.
    fn service_hosts(
        &self,
        domain: &str,
        _kinds: &[ServiceKind],
    ) -> impl Future<Output = Result<Vec<ServiceHost>, String>> + Send {
        let told = format!("there is no name server to ask for the hosts of {domain}");
        std::future::ready(Err(told))
    }
    /// Returns a connection to `address`.
    fn connect(&self, address: SocketAddr) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

/// The real network, with the resolver of the system.
pub(crate) struct Internet {
    /// The addresses from which connections come.
    pub(crate) families: Families,
}

impl Network for Internet {
    type Stream = TcpStream;

    async fn resolve(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((name, port)).await?.collect())
    }

    async fn service_hosts(&self, domain: &str, kinds: &[ServiceKind]) -> Result<Vec<ServiceHost>, String> {
        service::look_up(&NameServers::default(), domain, kinds).await
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = if address.is_ipv6() { TcpSocket::new_v6()? } else { TcpSocket::new_v4()? };
        if let FamilyUse::From(source) = self.families.for_address(&address.ip()) {
            socket.bind(SocketAddr::new(source, 0)).map_err(|error| unusable(source, &error))?;
        }
        let stream = socket.connect(address).await?;
        // Groups and final dots are complete when they are written: nothing to wait for.
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// Returns the error of a source address that cannot be used.
fn unusable(source: IpAddr, error: &io::Error) -> io::Error {
    io::Error::new(
        error.kind(),
        format!("relay.source-address {source} is no address of this host now: {error}"),
    )
}

/// Returns the host as it is configured, for messages.
pub(crate) fn name_of(host: &HostOrIp) -> String {
    match host {
        HostOrIp::Name(name) => name.clone(),
        HostOrIp::Address(address) => address.to_string(),
    }
}

/// Returns the addresses to try for `port` of `host`, in their order; at least one. All are of `families` that are used.
pub(crate) async fn addresses<N: Network>(
    network: &N,
    host: &HostOrIp,
    port: u16,
    families: &Families,
    limit: Duration,
) -> Result<VecDeque<SocketAddr>, Trouble> {
    let name = match host {
        HostOrIp::Address(address) => return Ok([SocketAddr::new(*address, port)].into()),
        HostOrIp::Name(name) => name,
    };
    let told = lookup_failed;
    match timeout(limit, network.resolve(name, port)).await {
        Ok(Ok(found)) if found.is_empty() => Err(told(format!("{name} has no address"))),
        Ok(Ok(mut found)) => {
            found.retain(|address| families.reach(address));
            let only = families.only().unwrap_or_default();
            match interleaved(found) {
                none if none.is_empty() => Err(told(format!(
                    "{name} has no {only} address, and relay.address-family or relay.source-address allows no other"
                ))),
                addresses => Ok(addresses),
            }
        }
        Ok(Err(error)) => Err(told(format!("{name} cannot be looked up: {error}"))),
        Err(_) => Err(told(format!("{name} cannot be looked up: no answer within {} s", limit.as_secs()))),
    }
}

/// Returns the hosts that `domain` names for these services, in their order; at least one.
pub(crate) async fn service_hosts<N: Network>(
    network: &N,
    domain: &HostOrIp,
    kinds: &[ServiceKind],
    limit: Duration,
) -> Result<Vec<ServiceHost>, Trouble> {
    let domain = name_of(domain);
    match timeout(limit, network.service_hosts(&domain, kinds)).await {
        Ok(found) => found.map_err(lookup_failed),
        Err(_) => {
            let limit = limit.as_secs();
            Err(lookup_failed(format!(
                "the SRV records of {domain} cannot be looked up: no answer within {limit} s"
            )))
        }
    }
}

fn lookup_failed(words: String) -> Trouble {
    Trouble { phase: Phase::Resolve, peer: None, cause: Cause::Other(words) }
}

/// Sorts the addresses so that IPv6 and IPv4 take turns, IPv6 first, each in the order found. Removes duplicates.
fn interleaved(found: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let (six, four): (Vec<_>, Vec<_>) = found.into_iter().partition(SocketAddr::is_ipv6);
    let (mut six, mut four) = (six.into_iter(), four.into_iter());
    let mut ordered = VecDeque::new();
    loop {
        let pair = [six.next(), four.next()];
        if pair == [None, None] {
            return ordered;
        }
        for address in pair.into_iter().flatten() {
            if !ordered.contains(&address) {
                ordered.push_back(address);
            }
        }
    }
}

/// The result of one try.
type Tried<S> = Result<S, Cause>;

/// Tries to connect to one of several addresses.
pub(crate) struct Race<'a, N: Network> {
    network: &'a N,
    limit: Duration,
    waiting: VecDeque<SocketAddr>,
    running: Vec<Running<'a, SocketAddr, Tried<N::Stream>>>,
}

impl<'a, N: Network> Race<'a, N> {
    pub(crate) fn new(network: &'a N, addresses: VecDeque<SocketAddr>, limit: Duration) -> Self {
        Race { network, limit, waiting: addresses, running: Vec::new() }
    }

    /// Returns the result of the next try that ends; `None` if every address was tried.
    pub(crate) async fn next(&mut self) -> Option<(SocketAddr, Tried<N::Stream>)> {
        if self.running.is_empty() {
            self.start_one();
        }
        loop {
            if self.running.is_empty() {
                return None;
            }
            let ended = {
                let may_start = !self.waiting.is_empty();
                tokio::select! {
                    biased;
                    ended = first_ended(&mut self.running) => Some(ended),
                    () = sleep(HEAD_START), if may_start => None,
                }
            };
            match ended {
                None => self.start_one(),
                Some((address, Ok(stream))) => {
                    self.put_back_running();
                    return Some((address, Ok(stream)));
                }
                Some((address, Err(cause))) => {
                    self.start_one();
                    return Some((address, Err(cause)));
                }
            }
        }
    }

    fn start_one(&mut self) {
        let Some(address) = self.waiting.pop_front() else { return };
        let (network, limit) = (self.network, self.limit);
        self.running.push(Running::new(address, connect(network, address, limit)));
    }

    fn put_back_running(&mut self) {
        for attempt in self.running.drain(..).rev() {
            self.waiting.push_front(attempt.of);
        }
    }
}

/// Connects to `address` within `limit`.
pub(crate) async fn connect<N: Network>(
    network: &N,
    address: SocketAddr,
    limit: Duration,
) -> Result<N::Stream, Cause> {
    match timeout(limit, network.connect(address)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(Cause::from(error)),
        Err(_) => Err(Cause::TimedOut(limit)),
    }
}

/// Returns whether `address` is a loopback address, in any form.
pub(crate) fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests;
