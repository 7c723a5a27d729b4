//! `relayhost`: the forms in which a relay can be written.
//!
//! `host`, `host:587`, `[host]:587` (Postfix's way to say: no MX lookup; nullmta never does one),
//! `192.0.2.1`, `192.0.2.1:587`, `[2001:db8::1]`, `[2001:db8::1]:587`. A bare IPv6 address is
//! refused: `2001:db8::1:587` would be an address, not an address and a port. `srv:example.com` is a domain whose SRV
//! records name the hosts (RFC 6186), with their ports.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rustls::pki_types::DnsName;
use toml::de::DeValue;

use super::setting::{Setting, found};

/// One relayhost. If the file has a list of them, it gives the order of failover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayHost {
    /// The name or the address to which a connection goes.
    pub host: HostOrIp,
    /// The TCP port, or the services whose SRV records name host and port.
    pub port: RelayPort,
}

/// The port of a relayhost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelayPort {
    /// This TCP port, never 0.
    Number(u16),
    /// The relayhost is a domain, whose SRV records for these services name the hosts to connect to, and their ports.
    BySrv(&'static [ServiceKind]),
}

/// A service for submission that a domain may offer (RFC 6186, RFC 8314).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceKind {
    /// `_submissions._tcp`: TLS from the first octet.
    Submissions,
    /// `_submission._tcp`: STARTTLS.
    Submission,
}

/// The host to connect to, by name or by address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostOrIp {
    /// A domain name; its addresses are looked up for each connection, MX records never are.
    Name(String),
    /// An IP address, for which no name server is asked.
    Address(IpAddr),
}

impl HostOrIp {
    /// Returns whether this is a loopback address or `localhost`; only then `tls.mode = "none"` is accepted.
    pub fn is_loopback(&self) -> bool {
        match self {
            HostOrIp::Name(name) => name.eq_ignore_ascii_case("localhost"),
            HostOrIp::Address(address) => address.is_loopback(),
        }
    }
}

impl RelayHost {
    /// Returns true if this is one of the addresses that we listen on, `listened`: mail that we hand to ourselves goes
    /// round until it has too many Received fields. Only a name server knows the address of a name other than
    /// `localhost` (`relay/lookup.rs`).
    pub fn is_one_of(&self, listened: &[SocketAddr]) -> bool {
        let RelayPort::Number(port) = self.port else { return false };
        match &self.host {
            HostOrIp::Address(address) => {
                let reached = SocketAddr::new(address.to_canonical(), port);
                listened.contains(&reached)
            }
            name => name.is_loopback() && listened.iter().any(|ours| ours.port() == port),
        }
    }

    /// Returns the name that tells the provider: that of the host, or of a domain with SRV records the name that its relay
    /// mostly has, `smtp.` in front of it.
    pub fn telling_name(&self) -> HostOrIp {
        match self.port {
            RelayPort::Number(_) => self.host.clone(),
            RelayPort::BySrv(_) => HostOrIp::Name(format!("smtp.{}", self.host)),
        }
    }
}

impl fmt::Display for HostOrIp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostOrIp::Name(name) => f.write_str(name),
            HostOrIp::Address(IpAddr::V4(address)) => address.fmt(f),
            HostOrIp::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

impl fmt::Display for RelayHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            RelayPort::Number(port) => write!(f, "{}:{port}", self.host),
            RelayPort::BySrv(_) => write!(f, "srv:{}", self.host),
        }
    }
}

/// A relayhost as it is written in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WrittenHost {
    pub(super) host: HostOrIp,
    pub(super) port: WrittenPort,
}

/// The port of a relayhost as it is written in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WrittenPort {
    Number(u16),
    /// None is written: `tls.mode` decides which one is used.
    Unwritten,
    /// `srv:` stands in front: SRV records name hosts and ports.
    BySrv,
}

impl WrittenHost {
    /// Returns the host and the port that `text` names.
    pub(super) fn parse(text: &str) -> Option<Self> {
        parse(text)
    }
}

impl Setting for WrittenHost {
    fn expected() -> Cow<'static, str> {
        "a host such as \"smtp.example.com\", \"smtp.example.com:587\", \"192.0.2.1\" or \"[2001:db8::1]:587\", or \
         \"srv:example.com\""
            .into()
    }

    fn read(value: &DeValue<'_>) -> Option<Self> {
        parse(value.as_str()?)
    }

    fn found(value: &DeValue<'_>) -> String {
        match value.as_str() {
            // smtp://user:password@host
            Some(text) if text.contains('@') => {
                "a text with \"@\" (not shown: the secret stands elsewhere)".into()
            }
            _ => found(value),
        }
    }
}

/// Upper bound of a domain behind `srv:`, so that there is room for the name of a service in front of it.
const MAX_DOMAIN_OCTETS: usize = 230;

fn parse(text: &str) -> Option<WrittenHost> {
    // Without a dot it is the port of a host that is called "srv".
    match text.strip_prefix("srv:").filter(|domain| domain.contains('.')) {
        Some(domain) => service(domain),
        None => host_and_port(text),
    }
}

fn service(domain: &str) -> Option<WrittenHost> {
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    match name_or_ipv4(domain)? {
        HostOrIp::Name(name) if name.contains('.') && name.len() <= MAX_DOMAIN_OCTETS => {
            Some(WrittenHost { host: HostOrIp::Name(name.to_ascii_lowercase()), port: WrittenPort::BySrv })
        }
        _ => None,
    }
}

fn host_and_port(text: &str) -> Option<WrittenHost> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (inside, behind) = rest.split_once(']')?;
            let host = inside.parse::<Ipv6Addr>().map(|address| HostOrIp::Address(address.into()));
            let port = if behind.is_empty() { None } else { Some(behind.strip_prefix(':')?) };
            (host.ok().or_else(|| name_or_ipv4(inside))?, port)
        }
        None => match text.split_once(':') {
            Some((host, port)) => (name_or_ipv4(host)?, Some(port)),
            None => (name_or_ipv4(text)?, None),
        },
    };
    let port = match port {
        // A port that is none is an error, not a missing one.
        Some(text) => WrittenPort::Number(parse_port(text)?),
        None => WrittenPort::Unwritten,
    };
    Some(WrittenHost { host, port })
}

fn name_or_ipv4(text: &str) -> Option<HostOrIp> {
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return Some(HostOrIp::Address(address.into()));
    }
    DnsName::try_from(text).ok().map(|_| HostOrIp::Name(text.into()))
}

fn parse_port(text: &str) -> Option<u16> {
    // u16::from_str would take a plus sign.
    let port = text.bytes().all(|octet| octet.is_ascii_digit()).then(|| text.parse().ok())??;
    (port > 0).then_some(port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms() {
        let cases = [
            ("smtp.example.com", "smtp.example.com", None),
            ("smtp.example.com.", "smtp.example.com.", None),
            ("smtp.example.com:587", "smtp.example.com", Some(587)),
            ("[smtp.example.com]:587", "smtp.example.com", Some(587)),
            ("[smtp.example.com]", "smtp.example.com", None),
            ("relay", "relay", None),
            ("192.0.2.1", "192.0.2.1", None),
            ("192.0.2.1:25", "192.0.2.1", Some(25)),
            ("[192.0.2.1]:25", "192.0.2.1", Some(25)),
            ("[2001:db8::1]", "[2001:db8::1]", None),
            ("[2001:db8::1]:65535", "[2001:db8::1]", Some(65535)),
        ];
        for (text, host, port) in cases {
            let written = parse(text).unwrap_or_else(|| panic!("{text}"));
            let expected = port.map_or(WrittenPort::Unwritten, WrittenPort::Number);
            assert_eq!((written.host.to_string().as_str(), written.port), (host, expected), "{text}");
        }
        assert!(matches!(parse("192.0.2.1").unwrap().host, HostOrIp::Address(IpAddr::V4(_))));
        assert!(matches!(parse("[::1]").unwrap().host, HostOrIp::Address(IpAddr::V6(_))));
    }

    #[test]
    fn no_relayhosts() {
        for text in [
            "",
            ":",
            ":587",
            "host:",
            "host:0",
            "host:65536",
            "host:+25",
            "host:-1",
            "host:smtp",
            "host:25:25",
            "2001:db8::1",
            "::1:587",
            "[2001:db8::1",
            "[2001:db8::1]587",
            "[]",
            "[]:25",
            "[ ]",
            "a b",
            " host",
            "smtp://host",
            "host/",
            "user@host",
            "1.2.3",
            "256.1.1.1",
            "10.1",
            "-host",
            "hôte",
            "host\n",
            "[fe80::1%eth0]",
            "[[host]]",
            "host..example",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn loopback_is_an_address_or_localhost_and_nothing_that_looks_like_it() {
        for (text, loopback) in [
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("[::1]", true),
            ("LocalHost", true),
            ("localhost.example.com", false),
            ("localhost.localdomain", false),
            ("128.0.0.1", false),
            ("0.0.0.0", false),
            ("[::]", false),
            ("[::ffff:127.0.0.1]", false),
        ] {
            assert_eq!(parse(text).unwrap().host.is_loopback(), loopback, "{text}");
        }
    }

    #[test]
    fn our_own_listener_is_known_by_address_and_port() {
        let listened: Vec<SocketAddr> = vec!["127.0.0.1:25".parse().unwrap(), "[::1]:2525".parse().unwrap()];
        for (text, is_ours) in [
            ("127.0.0.1:25", true),
            ("[::ffff:127.0.0.1]:25", true),
            ("[::1]:2525", true),
            ("localhost:25", true),
            ("localhost:2525", true),
            ("127.0.0.1:2525", false),
            ("127.0.0.2:25", false),
            ("localhost:587", false),
            ("relay.example:25", false),
        ] {
            let WrittenHost { host, port: WrittenPort::Number(port) } = parse(text).unwrap() else {
                panic!("{text}")
            };
            let host = RelayHost { host, port: RelayPort::Number(port) };
            assert_eq!(host.is_one_of(&listened), is_ours, "{text}");
        }
    }

    #[test]
    fn written_as_it_is_read() {
        let address = HostOrIp::Address("::1".parse().unwrap());
        let host = RelayHost { host: address.clone(), port: RelayPort::Number(465) };
        assert_eq!(host.to_string(), "[::1]:465");
        let expected = WrittenHost { host: address, port: WrittenPort::Number(465) };
        assert_eq!(parse(&host.to_string()), Some(expected));
        let domain = HostOrIp::Name("example.com".into());
        let host = RelayHost { host: domain.clone(), port: RelayPort::BySrv(&[ServiceKind::Submissions]) };
        assert_eq!(parse(&host.to_string()), Some(WrittenHost { host: domain, port: WrittenPort::BySrv }));
    }

    #[test]
    fn a_domain_whose_srv_records_name_the_hosts() {
        for text in ["srv:example.com", "srv:Example.COM."] {
            let written = parse(text).unwrap();
            assert_eq!(written.port, WrittenPort::BySrv, "{text}");
            assert_eq!(written.host, HostOrIp::Name("example.com".into()));
        }
        let long = format!("srv:{}example.com", "a.".repeat(120));
        for text in ["srv:", "srv:192.0.2.1", "srv:example.com:587", "srv:.", "srv:a..b", "srv:[a.b]", &long]
        {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse("srv:587").unwrap().port, WrittenPort::Number(587), "a host that is called srv");
    }
}
