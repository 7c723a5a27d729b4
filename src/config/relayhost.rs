//! `relayhost`: the forms in which a relay can be written.
//!
//! `host`, `host:587`, `[host]:587` (Postfix's way to say: no MX lookup; nullmta never does one),
//! `192.0.2.1`, `192.0.2.1:587`, `[2001:db8::1]`, `[2001:db8::1]:587`. A bare IPv6 address is
//! refused: `2001:db8::1:587` would be an address, not an address and a port.

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
    /// The TCP port, never 0.
    pub port: u16,
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
        match &self.host {
            HostOrIp::Address(address) => {
                let reached = SocketAddr::new(address.to_canonical(), self.port);
                listened.contains(&reached)
            }
            name => name.is_loopback() && listened.iter().any(|ours| ours.port() == self.port),
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
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// A relayhost as it is written in the file. Without a port, `tls.mode` decides which one is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WrittenHost {
    pub(super) host: HostOrIp,
    pub(super) port: Option<u16>,
}

impl WrittenHost {
    /// Returns the host and the port that `text` names.
    pub(super) fn parse(text: &str) -> Option<Self> {
        parse(text)
    }
}

impl Setting for WrittenHost {
    fn expected() -> Cow<'static, str> {
        "a host such as \"smtp.example.com\", \"smtp.example.com:587\", \"192.0.2.1\" or \"[2001:db8::1]:587\""
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

fn parse(text: &str) -> Option<WrittenHost> {
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
    let port = port.map(parse_port);
    // A port that is none is an error, not a missing one.
    if port == Some(None) { None } else { Some(WrittenHost { host, port: port.flatten() }) }
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
            assert_eq!((written.host.to_string().as_str(), written.port), (host, port), "{text}");
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
            let WrittenHost { host, port } = parse(text).unwrap();
            assert_eq!(RelayHost { host, port: port.unwrap() }.is_one_of(&listened), is_ours, "{text}");
        }
    }

    #[test]
    fn written_as_it_is_read() {
        let host = RelayHost { host: HostOrIp::Address("::1".parse().unwrap()), port: 465 };
        assert_eq!(host.to_string(), "[::1]:465");
        assert_eq!(parse(&host.to_string()), Some(WrittenHost { host: host.host, port: Some(465) }));
    }
}
