//! The forms in which Postfix names the next host for mail: `host`, `[host]`, `host:port`, `[ipv6:2001:db8::1]:587`,
//! `smtp:[host]`.
//!
//! Not here: whether nullmta accepts the host; its own parser decides that.

use std::net::{IpAddr, Ipv6Addr};

/// The next host for mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Nexthop {
    /// The text as it is written, which is also its key in lookup tables.
    pub(super) text: String,
    /// The host name, or an address without brackets.
    pub(super) host: String,
    /// The port; the default of Postfix is 25.
    pub(super) port: u16,
    /// The records that Postfix looks up for the host.
    pub(super) lookup: NexthopLookup,
}

/// The records that Postfix looks up for the next host, before its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NexthopLookup {
    /// None: it is an address, or stands in brackets.
    None,
    /// MX records.
    Mx,
    /// SRV records of a service for submission (`use_srv_lookup`).
    Srv,
}

/// Ports with names.
const PORTS: [(&str, u16); 6] =
    [("smtp", 25), ("submission", 587), ("submissions", 465), ("smtps", 465), ("ssmtp", 465), ("urd", 465)];

/// Returns the port that `text` means, a name or a number.
pub(super) fn port(text: &str) -> Option<u16> {
    let known = PORTS.iter().find(|(name, _)| *name == text).map(|(_, port)| *port);
    known.or_else(|| text.parse().ok())
}

impl Nexthop {
    /// Parses `text`; without a port in it, `default_port` is used.
    pub(super) fn parse(text: &str, default_port: u16) -> Option<Nexthop> {
        let (host, behind, bracketed) = match text.strip_prefix('[') {
            Some(rest) => rest.split_once(']').map(|(host, behind)| (host, behind, true))?,
            None => {
                let at = text.find(':').unwrap_or(text.len());
                (&text[..at], &text[at..], false)
            }
        };
        let port = match behind {
            "" => default_port,
            behind => port(behind.strip_prefix(':')?)?,
        };
        let host = host.strip_prefix("ipv6:").or(host.strip_prefix("IPv6:")).unwrap_or(host);
        let is_named = !bracketed && host.parse::<IpAddr>().is_err();
        let lookup = if is_named { NexthopLookup::Mx } else { NexthopLookup::None };
        (!host.is_empty()).then(|| Nexthop { text: text.into(), host: host.into(), port, lookup })
    }

    /// Returns the same host, whose SRV records are looked up if its service is one of `services` and for submission.
    pub(super) fn by_srv(self, services: &[&str]) -> Nexthop {
        let service = self.text.rsplit_once(':').map_or("", |(_, service)| service);
        let is_listed = matches!(service, "submission" | "submissions") && services.contains(&service);
        let lookup =
            if is_listed && self.lookup == NexthopLookup::Mx { NexthopLookup::Srv } else { self.lookup };
        Nexthop { lookup, ..self }
    }

    /// Returns the form that nullmta uses.
    pub(super) fn written(&self) -> String {
        if self.lookup == NexthopLookup::Srv {
            return format!("srv:{}", self.host);
        }
        match self.host.parse::<Ipv6Addr>() {
            Ok(address) => format!("[{address}]:{}", self.port),
            Err(_) => format!("{}:{}", self.host, self.port),
        }
    }

    /// Returns whether this is a loopback address or `localhost`.
    pub(super) fn is_loopback(&self) -> bool {
        let address = self.host.parse::<IpAddr>().map(|address| address.is_loopback());
        address.unwrap_or_else(|_| self.host.eq_ignore_ascii_case("localhost"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms() {
        for (text, written, wants_mx, loopback) in [
            ("[smtp.example.com]:587", "smtp.example.com:587", false, false),
            ("[smtp.example.com]", "smtp.example.com:25", false, false),
            ("example.com", "example.com:25", true, false),
            ("example.com:submission", "example.com:587", true, false),
            ("[smtp.example.com]:smtps", "smtp.example.com:465", false, false),
            ("192.0.2.1:2525", "192.0.2.1:2525", false, false),
            ("[127.0.0.1]:1025", "127.0.0.1:1025", false, true),
            ("[ipv6:2001:db8::1]:26", "[2001:db8::1]:26", false, false),
            ("[::1]", "[::1]:25", false, true),
            ("localhost", "localhost:25", true, true),
        ] {
            let nexthop = Nexthop::parse(text, 25).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(nexthop.written(), written, "{text}");
            assert_eq!(nexthop.lookup == NexthopLookup::Mx, wants_mx, "{text}");
            assert_eq!(nexthop.is_loopback(), loopback, "{text}");
        }
        for (text, services, written) in [
            ("example.com:submission", "submission", "srv:example.com"),
            ("example.com:submissions", "submission submissions", "srv:example.com"),
            ("example.com:submission", "submissions", "example.com:587"),
            ("[example.com]:submission", "submission", "example.com:587"),
            ("example.com:587", "submission", "example.com:587"),
            ("example.com:smtp", "smtp", "example.com:25"),
        ] {
            let services: Vec<&str> = services.split(' ').collect();
            assert_eq!(Nexthop::parse(text, 25).unwrap().by_srv(&services).written(), written, "{text}");
        }
        for text in ["", "[]", "[a", "[a]b", "a:", "a:x", ":25", "a:70000"] {
            assert_eq!(Nexthop::parse(text, 25), None, "{text}");
        }
    }
}
