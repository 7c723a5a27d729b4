//! Looks the relayhosts of a configuration up, and returns what an operator should know about the answers.
//!
//! Promises: nothing here is fatal, since the network may come up after the daemon; it takes five seconds at most.
//! Not here: the meaning of an answer (`config/advice.rs`), the lookup before a connection (`dial.rs`).

use std::collections::BTreeSet;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::failover::outside_words;
use super::service::{self, NameServers, ServiceHost};
use crate::config::{Config, HostOrIp, RelayConfig, RelayHost, RelayPort, ServiceKind, TlsSettings};

/// Time for which the answers about all names together are awaited.
const PATIENCE: Duration = Duration::from_secs(5);

/// Returns warnings about the relayhosts of `config` that are names, each once. Blocks on the network.
pub fn lookup_warnings(config: &Config) -> Vec<String> {
    let deadline = Instant::now() + PATIENCE;
    let hosts = config.relays().flat_map(|relay| relay.hosts.iter().map(move |host| (relay, host)));
    let named = hosts.filter(|(_, host)| matches!(host.host, HostOrIp::Name(_)));
    each_once(named.filter_map(|(relay, host)| warning(config, relay, host, deadline)))
}

/// Returns each warning once: several routes may lead to one host.
fn each_once(warnings: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    warnings.filter(|warning| seen.insert(warning.clone())).collect()
}

fn warning(config: &Config, relay: &RelayConfig, host: &RelayHost, deadline: Instant) -> Option<String> {
    match host.port {
        RelayPort::Number(port) => config.lookup_warning(relay, host, addresses(&host.host, port, deadline)),
        RelayPort::BySrv(kinds) => match service_hosts(&host.host, kinds, deadline) {
            Err(why) => config.lookup_warning(relay, host, Err(why)),
            Ok(found) => outside(relay, &host.host, found),
        },
    }
}

fn addresses(host: &HostOrIp, port: u16, deadline: Instant) -> Result<Vec<SocketAddr>, String> {
    let HostOrIp::Name(name) = host.clone() else { return Ok(Vec::new()) };
    in_time(deadline, move || {
        let found = (name.as_str(), port).to_socket_addrs();
        found.map(Iterator::collect).map_err(|error| error.to_string())
    })
}

fn service_hosts(
    domain: &HostOrIp,
    kinds: &'static [ServiceKind],
    deadline: Instant,
) -> Result<Vec<ServiceHost>, String> {
    let domain = domain.to_string();
    in_time(deadline, move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        runtime.block_on(service::look_up(&NameServers::default(), &domain, kinds))
    })
}

/// Returns what `look_up` finds by `deadline`.
fn in_time<T: Send + 'static>(
    deadline: Instant,
    look_up: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let (answer, answered) = mpsc::channel();
    // The resolver cannot be interrupted: if it is not waited for, its thread ends by itself.
    thread::spawn(move || answer.send(look_up()));
    let found = answered.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    found.unwrap_or_else(|_| Err("no answer in time".into()))
}

/// Returns a warning if the SRV records of a domain name a host outside of it, whose certificate is as a rule not for the
/// domain.
fn outside(relay: &RelayConfig, domain: &HostOrIp, found: Vec<ServiceHost>) -> Option<String> {
    if !relay.tls.settings().is_some_and(TlsSettings::expects_name_of_host) {
        return None;
    }
    let found = found.into_iter().find(|found| !found.is_within(&domain.to_string()))?;
    let host = HostOrIp::Name(found.name);
    Some(format!(
        "{}; mail waits if it is not: if {host} is the right relay, set tls.server-name = \"{host}\"",
        outside_words(domain, &host)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two routes to one host that was not found were two warnings of the same words.
    #[test]
    fn a_host_of_two_routes_is_warned_of_once() {
        let warnings = ["b", "a", "b", "a", "c"].map(String::from);
        assert_eq!(each_once(warnings.into_iter()), ["b", "a", "c"]);
    }
}
