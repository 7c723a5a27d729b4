//! Looks the relayhosts of a configuration up, and returns what an operator should know about the answers.
//!
//! Promises: nothing here is fatal, since the network may come up after the daemon; it takes five seconds at most.
//! Not here: the meaning of an answer (`config/advice.rs`), the lookup before a connection (`dial.rs`).

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::config::{Config, HostOrIp, RelayHost};

/// Time for which the answers about all names together are awaited.
const PATIENCE: Duration = Duration::from_secs(5);

/// Returns warnings about the relayhosts of `config` that are names. Blocks on the network.
pub fn lookup_warnings(config: &Config) -> Vec<String> {
    let deadline = Instant::now() + PATIENCE;
    let hosts = config.relays().flat_map(|relay| relay.hosts.iter().map(move |host| (relay, host)));
    let named = hosts.filter(|(_, host)| matches!(host.host, HostOrIp::Name(_)));
    named.filter_map(|(relay, host)| config.lookup_warning(relay, host, addresses(host, deadline))).collect()
}

fn addresses(host: &RelayHost, deadline: Instant) -> Result<Vec<SocketAddr>, String> {
    let HostOrIp::Name(name) = &host.host else { return Ok(Vec::new()) };
    let (name, port) = (name.clone(), host.port);
    let (answer, answered) = mpsc::channel();
    // The resolver cannot be interrupted: if it is not waited for, its thread ends by itself.
    thread::spawn(move || {
        let found = (name.as_str(), port).to_socket_addrs().map(Iterator::collect);
        let _ = answer.send(found);
    });
    match answered.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("no answer in time".into()),
    }
}
