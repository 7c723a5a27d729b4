//! The address of a page of a server, to which a secret is sent: `https://host[:port]/path`.
//!
//! Promises: without TLS only to a loopback address; no user, password or fragment in it; printable ASCII alone, so that
//! no octet of it ends a line of HTTP.

use std::borrow::Cow;
use std::fmt;

use toml::de::DeValue;

use super::relayhost::{HostOrIp, WrittenHost, WrittenPort};
use super::setting::{Setting, found};

/// The address of a page of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebAddress {
    /// True if TLS is spoken (`https`).
    pub is_tls: bool,
    /// The name or the address of the server.
    pub host: HostOrIp,
    /// The TCP port.
    pub port: u16,
    /// The path with the query, from its `/` on.
    pub path: String,
}

impl WebAddress {
    /// Returns the server for the `Host` field (RFC 9110 7.2): without the port, if that is the usual one.
    pub fn authority(&self) -> String {
        let usual = if self.is_tls { 443 } else { 80 };
        if self.port == usual { self.host.to_string() } else { format!("{}:{}", self.host, self.port) }
    }

    /// Returns whether the server is on this host, by its name or address.
    pub fn is_local(&self) -> bool {
        match &self.host {
            HostOrIp::Name(name) => name.trim_end_matches('.').eq_ignore_ascii_case("localhost"),
            HostOrIp::Address(address) => address.is_loopback(),
        }
    }

    fn parse(text: &str) -> Option<WebAddress> {
        let (is_tls, rest) = match text.strip_prefix("https://") {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix("http://")?),
        };
        let path_at = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(path_at);
        let written = WrittenHost::parse(authority)?;
        let port = match written.port {
            WrittenPort::Number(port) => port,
            WrittenPort::Unwritten if is_tls => 443,
            WrittenPort::Unwritten => 80,
            WrittenPort::BySrv => return None,
        };
        let is_printable = path.bytes().all(|octet| octet.is_ascii_graphic() && octet != b'#');
        let is_safe = is_tls || matches!(&written.host, HostOrIp::Address(address) if address.is_loopback());
        (is_printable && is_safe).then(|| WebAddress {
            is_tls,
            host: written.host,
            port,
            path: if path.is_empty() { "/".into() } else { path.into() },
        })
    }
}

impl Setting for WebAddress {
    fn expected() -> Cow<'static, str> {
        "an address such as \"https://login.example.com/oauth2/token\" (http:// is for a loopback address only)".into()
    }

    fn read(value: &DeValue<'_>) -> Option<Self> {
        WebAddress::parse(value.as_str()?)
    }

    fn found(value: &DeValue<'_>) -> String {
        match value.as_str() {
            // https://user:password@host
            Some(text) if text.contains('@') => "a text with \"@\" (not shown: it may be a secret)".into(),
            _ => found(value),
        }
    }
}

impl fmt::Display for WebAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms() {
        for (text, shown) in [
            ("https://oauth2.googleapis.com/token", "https://oauth2.googleapis.com/token"),
            ("https://login.example.com:8443/a?b=c", "https://login.example.com:8443/a?b=c"),
            ("https://login.example.com", "https://login.example.com/"),
            ("https://login.example.com:443/x", "https://login.example.com/x"),
            ("https://192.0.2.1/x", "https://192.0.2.1/x"),
            ("http://127.0.0.1:8080/token", "http://127.0.0.1:8080/token"),
            ("http://[::1]:8080/token", "http://[::1]:8080/token"),
        ] {
            assert_eq!(WebAddress::parse(text).unwrap().to_string(), shown);
        }
    }

    /// A secret would go in clear text, or an octet of the address would end a line of HTTP.
    #[test]
    fn what_is_no_address_for_a_secret() {
        for text in [
            "",
            "login.example.com/token",
            "http://login.example.com/token",
            "http://localhost/token",
            "http://192.0.2.1/token",
            "ftp://127.0.0.1/",
            "https://",
            "https:///token",
            "https://user:password@host/token",
            "https://host/a b",
            "https://host/a\r\nX: y",
            "https://host/a#b",
            "https://host/ä",
            "https://host:0/",
            "HTTPS://host/",
        ] {
            assert_eq!(WebAddress::parse(text), None, "{text}");
        }
    }
}
