//! The hosts that a domain names for submission, by SRV records (`relayhost = "srv:example.com"`).
//!
//! Promises:
//! 1. `_submissions._tcp` comes before `_submission._tcp`. Within each, a lower priority comes first, and hosts of one
//!    priority come in a random order by their weights. A service whose target is "." is not offered.
//! 2. A lookup that fails for one of the two services leaves the hosts of the other one.
//! 3. At most [`MOST_HOSTS`] hosts come of it. Nothing is remembered: the name server does that.
//!
//! Fails: with a sentence. An answer that cannot be had is trouble of the relay, and so is one without a host.
//!
//! An answer is not secured: whoever can forge it may name any host. So it decides only where a connection goes, and not
//! which certificate is enough (`failover.rs`).
//!
//! Not here: the dialogue with the name servers (`service/name_servers.rs`), the time for a lookup (`failover.rs`), the
//! addresses of a host (`dial.rs`).
//!
//! RFC 2782, RFC 6186, RFC 8314 5.1.

mod name_servers;

use fastrand::Rng;
use rustls::pki_types::DnsName;

use crate::config::ServiceKind;
pub(crate) use name_servers::NameServers;
use name_servers::SrvRecord;

/// Upper bound of the hosts that are tried for one domain.
const MOST_HOSTS: usize = 16;

/// A host that a domain names for submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServiceHost {
    pub(crate) name: String,
    pub(crate) port: u16,
    /// The service, which says how TLS is begun.
    pub(crate) kind: ServiceKind,
}

impl ServiceHost {
    /// Returns true if the host is `domain` or below it.
    pub(crate) fn is_within(&self, domain: &str) -> bool {
        let (name, domain) = (self.name.to_ascii_lowercase(), domain.to_ascii_lowercase());
        name.strip_suffix(&domain).is_some_and(|front| front.is_empty() || front.ends_with('.'))
    }
}

/// Returns the hosts of `domain` for the services `kinds`, in the order in which they are to be tried; at least one.
pub(crate) async fn look_up(
    servers: &NameServers,
    domain: &str,
    kinds: &[ServiceKind],
) -> Result<Vec<ServiceHost>, String> {
    let ask = async |kind: ServiceKind| {
        let asked = kinds.contains(&kind).then(|| format!("{}.{domain}", label(kind)));
        match asked {
            Some(name) => servers.records(&name).await,
            None => Ok(Vec::new()),
        }
    };
    let (submissions, submission) = tokio::join!(ask(ServiceKind::Submissions), ask(ServiceKind::Submission));
    let mut hosts = Vec::new();
    let mut failed = None;
    let found = [(ServiceKind::Submissions, submissions), (ServiceKind::Submission, submission)];
    for (kind, records) in found {
        match records {
            Ok(records) => hosts.extend(ordered(kind, records, &mut Rng::new())),
            Err(error) => failed = Some(error),
        }
    }
    hosts.truncate(MOST_HOSTS);
    match failed {
        Some(error) if hosts.is_empty() => {
            Err(format!("the SRV records of {domain} cannot be looked up: {error}"))
        }
        None if hosts.is_empty() => Err(none(domain, kinds)),
        _ => Ok(hosts),
    }
}

fn label(kind: ServiceKind) -> &'static str {
    match kind {
        ServiceKind::Submissions => "_submissions._tcp",
        ServiceKind::Submission => "_submission._tcp",
    }
}

fn none(domain: &str, kinds: &[ServiceKind]) -> String {
    let labels: Vec<&str> = kinds.iter().map(|kind| label(*kind)).collect();
    format!("{domain} names no host for submission: there is no SRV record of {}", labels.join(" or "))
}

/// Returns the hosts in the order in which they are to be tried. A record without a host name or a port is passed over.
fn ordered(kind: ServiceKind, mut left: Vec<SrvRecord>, rng: &mut Rng) -> Vec<ServiceHost> {
    left.retain(|record| record.port > 0 && DnsName::try_from(record.target.as_str()).is_ok());
    left.sort_by_key(|record| record.priority);
    let mut hosts = Vec::new();
    while let Some(first) = left.first() {
        let alike = left.iter().take_while(|record| record.priority == first.priority).count();
        let next = left.remove(chosen(&left[..alike], rng));
        let host = ServiceHost { name: next.target, port: next.port, kind };
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    hosts
}

/// Returns the place of the next host among those of one priority: at random, in proportion to their weights. A weight of
/// zero has a small chance (RFC 2782).
fn chosen(alike: &[SrvRecord], rng: &mut Rng) -> usize {
    let share = |record: &SrvRecord| u64::from(record.weight) * 100 + 1;
    let mut rest = rng.u64(0..alike.iter().map(share).sum());
    let is_here = |record: &SrvRecord| {
        let is_here = rest < share(record);
        rest = rest.saturating_sub(share(record));
        is_here
    };
    // `rest` is less than the sum of all shares.
    alike.iter().position(is_here).unwrap_or_default()
}

#[cfg(test)]
mod tests;
