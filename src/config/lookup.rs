//! Warnings about relayhosts that need a name server: whether each name has addresses, and which.
//!
//! Promises: nothing here is fatal, since the network may come up after the daemon; it takes five seconds at most.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::advice::{is_public, no_login_at};
use super::{Config, HostOrIp, RelayHost};

/// How long to wait for the answers about all names together.
const PATIENCE: Duration = Duration::from_secs(5);

/// Returns warnings about the relayhosts of `config` that are names. Blocks on the network.
pub(super) fn advice(config: &Config) -> Vec<String> {
    let deadline = Instant::now() + PATIENCE;
    let mut advice = Vec::new();
    for host in config.relay.hosts.iter().filter(|host| matches!(host.host, HostOrIp::Name(_))) {
        match addresses(host, deadline) {
            Err(why) => advice.push(format!(
                "{} cannot be looked up now: {why}; is relayhost right? Mail is kept until it can be",
                host.host
            )),
            Ok(found) if found.iter().any(|address| config.listen.addresses.contains(address)) => {
                advice.push(format!(
                    "{host} is nullmta's own listener: mail would go round in circles; set relayhost"
                ));
            }
            Ok(found) if found.iter().any(|address| is_public(address.ip())) => {
                advice.extend(no_login_at(config, &host.host).filter(|said| !config.advice.contains(said)));
            }
            Ok(_) => {}
        }
    }
    advice
}

fn addresses(host: &RelayHost, deadline: Instant) -> Result<Vec<SocketAddr>, String> {
    let HostOrIp::Name(name) = &host.host else { return Ok(Vec::new()) };
    let (name, port) = (name.clone(), host.port);
    let (answer, answered) = mpsc::channel();
    // The resolver cannot be interrupted: what is not waited for ends by itself.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_of_one_s_own_are_not_the_internet() {
        for (address, public) in [
            ("192.0.2.1", true),
            ("127.0.0.1", false),
            ("10.1.2.3", false),
            ("172.16.0.1", false),
            ("172.32.0.1", true),
            ("192.168.1.1", false),
            ("169.254.0.1", false),
            ("100.64.0.1", false),
            ("100.128.0.1", true),
            ("::1", false),
            ("fd00::1", false),
            ("fe80::1", false),
            ("2001:db8::1", true),
            ("::ffff:10.0.0.1", false),
        ] {
            assert_eq!(is_public(address.parse().unwrap()), public, "{address}");
        }
    }
}
