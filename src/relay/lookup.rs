//! Looks the relayhosts of a configuration up, and the addresses from which they are to be reached, and returns what an
//! operator should know about the answers.
//!
//! Promises: nothing here is fatal, since the network may come up after the daemon; it takes five seconds at most. Nothing is
//! sent to a relay.
//! Not here: the meaning of an answer (`config/advice.rs`), the lookup before a connection (`dial.rs`).

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::failover::outside_words;
use super::service::{self, NameServers, ServiceHost};
use crate::config::{
    Config, Families, HostOrIp, RelayConfig, RelayHost, RelayPort, ServiceKind, TlsSettings,
};
use crate::key_names::about_relay;

/// Time for which the answers about all names together are awaited.
const PATIENCE: Duration = Duration::from_secs(5);

/// Returns warnings about the relayhosts of `config` that are names, and about source addresses, each once. Blocks on the
/// network.
pub fn lookup_warnings(config: &Config) -> Vec<String> {
    let deadline = Instant::now() + PATIENCE;
    let (mut warnings, mut lookups) = (Vec::new(), Vec::new());
    for (route, relay) in config.relays_of_routes() {
        let missing = relay.families.sources().filter_map(missing_source);
        warnings.extend(missing.map(|said| about_relay(&said, route)));
        let named = relay.hosts.iter().filter(|host| matches!(host.host, HostOrIp::Name(_)));
        lookups.extend(named.map(|host| (Lookup { config, route, relay, deadline }, host)));
    }
    warnings.extend(side_by_side(&lookups, |(lookup, host)| lookup.warnings(host)));
    each_once(warnings.into_iter())
}

/// Returns the warnings of each of these lookups, in their order. All go on at once, so that one without an answer takes no
/// time from the others.
fn side_by_side<L: Sync>(lookups: &[L], warnings: impl Fn(&L) -> Vec<String> + Sync) -> Vec<String> {
    let warnings = &warnings;
    thread::scope(|scope| {
        let begun: Vec<_> = lookups.iter().map(|lookup| scope.spawn(move || warnings(lookup))).collect();
        begun.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
    })
}

/// Returns each warning once: several routes may lead to one host.
fn each_once(warnings: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    warnings.filter(|warning| seen.insert(warning.clone())).collect()
}

/// Returns a warning if connections cannot come from `source`, which is not an address of this host. A socket of UDP is bound
/// to it, by which nobody is disturbed.
fn missing_source(source: IpAddr) -> Option<String> {
    let error = UdpSocket::bind(SocketAddr::new(source, 0)).err()?;
    Some(format!(
        "relay.source-address {source} is no address of this host now ({error}): no connection can come from it, and mail \
         waits as long as that is so; give this host the address, or correct relay.source-address (before the network is up \
         it may only be early)"
    ))
}

/// The look at the hosts of one relay.
struct Lookup<'c> {
    config: &'c Config,
    route: Option<&'c str>,
    relay: &'c RelayConfig,
    deadline: Instant,
}

impl Lookup<'_> {
    fn warnings(&self, host: &RelayHost) -> Vec<String> {
        match host.port {
            RelayPort::Number(port) => {
                let found = self.addresses(vec![(host.host.to_string(), port)]);
                found.into_iter().filter_map(|found| self.warning(host, found)).collect()
            }
            RelayPort::BySrv(kinds) => match service_hosts(&host.host, kinds, self.deadline) {
                Err(why) => Vec::from_iter(self.warning(host, Err(why))),
                Ok(found) => self.of_service(&host.host, found),
            },
        }
    }

    fn warning(&self, host: &RelayHost, found: ReachableAddresses) -> Option<String> {
        self.config.lookup_warning(self.route, self.relay, host, found)
    }

    /// Returns the warnings about the hosts that `domain` names by SRV records.
    fn of_service(&self, domain: &HostOrIp, named: Vec<ServiceHost>) -> Vec<String> {
        let asked = named.iter().map(|host| (host.name.clone(), host.port)).collect();
        let addresses = self.addresses(asked);
        let (lost, reached): (Vec<_>, Vec<_>) =
            named.iter().zip(addresses).partition(|(_, found)| found.is_err());
        let lost: Vec<_> = lost.into_iter().filter_map(|(host, found)| Some((host, found.err()?))).collect();
        let about_reached = reached.into_iter().filter_map(|(named, found)| {
            let host = HostOrIp::Name(named.name.clone());
            self.warning(&RelayHost { host, port: RelayPort::Number(named.port) }, found)
        });
        let about_domain = [without_address(domain, named.len(), &lost), outside(self.relay, domain, &named)];
        let about_domain = about_domain.iter().flatten().map(|said| about_relay(said, self.route));
        about_reached.chain(about_domain).collect()
    }

    /// Returns the addresses of each of these hosts that the relay may be reached at, or why there are none.
    fn addresses(&self, hosts: Vec<(String, u16)>) -> Vec<ReachableAddresses> {
        let families = self.relay.families;
        let resolve = move |(name, port): (String, u16)| {
            let found = (name.as_str(), port).to_socket_addrs().map_err(|error| error.to_string())?;
            reachable(found.collect(), &families)
        };
        each_in_time(self.deadline, hosts, resolve)
    }
}

/// The addresses of a host, or the reason why there are none.
type ReachableAddresses = Result<Vec<SocketAddr>, String>;

/// Returns those of the addresses `found` that may be connected to, of which there must be one.
fn reachable(mut found: Vec<SocketAddr>, families: &Families) -> ReachableAddresses {
    if found.is_empty() {
        return Err("it has no address".into());
    }
    found.retain(|address| families.reach(address));
    if found.is_empty() {
        let only = families.only().unwrap_or_default();
        return Err(format!(
            "it has no {only} address, and relay.address-family or relay.source-address allows no other"
        ));
    }
    Ok(found)
}

/// Returns a warning about those hosts of the `named` ones that `domain` names and that have no address, each with the reason.
fn without_address(domain: &HostOrIp, named: usize, lost: &[(&ServiceHost, String)]) -> Option<String> {
    let (_, why) = lost.first()?;
    let mut names: Vec<&str> = lost.iter().map(|(host, _)| host.name.as_str()).collect();
    names.dedup();
    let names = names.join(", ");
    let mail = if lost.len() == named {
        "mail waits until one of its hosts has one"
    } else {
        "mail goes to its other hosts, and waits while they do not answer"
    };
    Some(format!(
        "an SRV record of {domain} names {names}, to which no connection can be made now: {why}; {mail}; have the record or \
         the host's address corrected, or name the host itself in relayhost"
    ))
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
    answer_by(deadline, &begun(look_up))
}

/// Returns what `look_up` finds for each of the `names` by `deadline`. All are looked up at once: one that gets no answer takes
/// no time from the others.
fn each_in_time<N: Send + 'static, T: Send + 'static>(
    deadline: Instant,
    names: Vec<N>,
    look_up: impl Fn(N) -> Result<T, String> + Clone + Send + 'static,
) -> Vec<Result<T, String>> {
    let begin = |name| {
        let look_up = look_up.clone();
        begun(move || look_up(name))
    };
    let begun: Vec<_> = names.into_iter().map(begin).collect();
    begun.iter().map(|answered| answer_by(deadline, answered)).collect()
}

/// Begins to look something up; the answer comes by what is returned.
fn begun<T: Send + 'static>(look_up: impl FnOnce() -> T + Send + 'static) -> mpsc::Receiver<T> {
    let (answer, answered) = mpsc::channel();
    // The resolver cannot be interrupted: if it is not waited for, its thread ends by itself.
    thread::spawn(move || answer.send(look_up()));
    answered
}

fn answer_by<T>(deadline: Instant, answered: &mpsc::Receiver<Result<T, String>>) -> Result<T, String> {
    let found = answered.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    found.unwrap_or_else(|_| Err("no answer in time".into()))
}

/// Returns a warning if the SRV records of a domain name a host outside of it, whose certificate is as a rule not for the
/// domain.
fn outside(relay: &RelayConfig, domain: &HostOrIp, named: &[ServiceHost]) -> Option<String> {
    if !relay.tls.settings().is_some_and(TlsSettings::expects_name_of_host) {
        return None;
    }
    let found = named.iter().find(|found| !found.is_within(&domain.to_string()))?;
    let host = HostOrIp::Name(found.name.clone());
    Some(format!(
        "{}; mail waits if it is not: if {host} is the right relay, set tls.server-name = \"{host}\"",
        outside_words(domain, &host)
    ))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Two routes to one host that was not found were two warnings of the same words.
    #[test]
    fn a_host_of_two_routes_is_warned_of_once() {
        let warnings = ["b", "a", "b", "a", "c"].map(String::from);
        assert_eq!(each_once(warnings.into_iter()), ["b", "a", "c"]);
    }

    /// A source address that the host did not have was found when mail waited. 192.0.2.0/24 belongs to no host (RFC 5737).
    #[test]
    fn a_source_address_that_this_host_does_not_have_is_warned_of() {
        let source = |text: &str| text.parse().unwrap();
        assert_eq!(missing_source(source("127.0.0.1")), None);
        let said = missing_source(source("192.0.2.77")).unwrap();
        assert!(
            said.starts_with("relay.source-address 192.0.2.77 is no address of this host now ("),
            "{said}"
        );
        let text = "relayhost = \"127.0.0.1:2525\"\ntls.mode = \"none\"\n[[route]]\nname = \"news\"\nsenders = \"@a.example\"\n\
                    relayhost = \"192.0.2.1\"\nrelay.source-address = \"192.0.2.77\"\n";
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("nullmta.toml");
        std::fs::write(&path, text).unwrap();
        let warnings = lookup_warnings(&Config::read(&path).unwrap());
        let [said] = &warnings[..] else { panic!("{warnings:?}") };
        assert!(
            said.starts_with("route news: route.relay.source-address 192.0.2.77 is no address"),
            "{said}"
        );
    }

    /// `check` said nothing of an SRV record that leads nowhere.
    #[test]
    fn a_host_of_an_srv_record_without_an_address_is_warned_of() {
        let host = |name: &str| ServiceHost { name: name.into(), port: 587, kind: ServiceKind::Submission };
        let (one, other) = (host("one.example"), host("other.example"));
        let domain = HostOrIp::Name("example".into());
        assert_eq!(without_address(&domain, 2, &[]), None);
        let said = |lost: &[(&ServiceHost, String)]| without_address(&domain, 2, lost).unwrap();
        let part = said(&[(&one, "no such name".into())]);
        assert!(
            part.starts_with("an SRV record of example names one.example, to which no connection"),
            "{part}"
        );
        assert!(part.contains("no such name; mail goes to its other hosts"), "{part}");
        let all = said(&[(&one, "no such name".into()), (&other, "it has no address".into())]);
        assert!(
            all.contains("names one.example, other.example") && all.contains("; mail waits until"),
            "{all}"
        );
    }

    /// Where the name server of one host was silent, all hosts of the SRV record were said to have no address.
    #[test]
    fn a_host_without_an_answer_takes_nothing_from_the_others() {
        let (asked, others) = mpsc::channel();
        let others = Arc::new(Mutex::new(others));
        let look_up = move |name| {
            if name == "silent" {
                // It has an answer only once both others have theirs.
                let others = others.lock().unwrap();
                let asked = [others.recv().unwrap(), others.recv().unwrap()];
                return Err(format!("later than {}", asked.len()));
            }
            asked.send(name).unwrap();
            Ok(name)
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        let found = each_in_time(deadline, vec!["one", "silent", "other"], look_up);
        assert_eq!(found, [Ok("one"), Err("later than 2".into()), Ok("other")]);
        let never = mpsc::channel::<Result<(), String>>();
        assert_eq!(answer_by(Instant::now(), &never.1), Err("no answer in time".into()));
    }

    /// The relayhosts of a configuration were looked up one after the other, and one whose name server was silent left no
    /// time for the others, of which it was said that they cannot be found.
    #[test]
    fn a_relayhost_without_an_answer_takes_nothing_from_the_others() {
        let barrier = std::sync::Barrier::new(3);
        let met = side_by_side(&["a", "b", "c"], |name| {
            // Nobody goes on before all have begun.
            barrier.wait();
            vec![format!("{name} was asked")]
        });
        assert_eq!(met, ["a was asked", "b was asked", "c was asked"]);
    }

    #[test]
    fn an_address_of_a_family_that_is_not_used_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("nullmta.toml");
        std::fs::write(&path, "relayhost = \"mx.example\"\nrelay.address-family = \"ipv6\"\n").unwrap();
        let families = Config::read(&path).unwrap().relay.families;
        let at = |address: &str| reachable(vec![address.parse().unwrap()], &families);
        assert!(at("[2001:db8::1]:587").is_ok());
        assert!(
            at("192.0.2.1:587").unwrap_err().starts_with("it has no IPv6 address"),
            "{:?}",
            at("192.0.2.1:587")
        );
        assert_eq!(reachable(Vec::new(), &families).unwrap_err(), "it has no address");
    }
}
