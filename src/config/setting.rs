//! The types of single values in the file. Each type is a rule: a value of the type exists only if it keeps the rule.
//!
//! Promises: an error about a value that breaks its rule never shows a possible secret.
//! Not here: values that are one of a few words (`words.rs`), counts, durations and sizes (`units.rs`), relayhosts
//! (`relayhost.rs`), pins (`pin.rs`).

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use jiff::civil::Date;
use rustls::pki_types::{DnsName, ServerName};
use toml::de::DeValue;

use super::environment::is_full_name;
use crate::envelope::Address;

/// A type that a value of the file can have.
pub(super) trait Setting: Sized {
    /// Returns the words that follow "expected" in an error.
    fn expected() -> Cow<'static, str>;

    /// Returns the value; `None` if it breaks the rule of this type.
    fn read(value: &DeValue<'_>) -> Option<Self>;

    /// Returns the words that follow "found" in an error.
    fn found(value: &DeValue<'_>) -> String {
        found(value)
    }
}

/// Describes a value in an error: short, and on one line.
pub(super) fn found(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("\"{}\"{}", shown(text), if is_long(text) { "…" } else { "" }),
        // The parser lets foreign octets through in what begins as a number.
        DeValue::Integer(number) => shown(&number.to_string()),
        DeValue::Float(number) => shown(&number.to_string()),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(_) => "a date".into(),
        DeValue::Array(_) => "a list".into(),
        DeValue::Table(_) => "a table".into(),
    }
}

/// The number of characters of a value that an error shows.
const SHOWN: usize = 60;

fn shown(text: &str) -> String {
    text.chars().take(SHOWN).flat_map(char::escape_debug).collect()
}

fn is_long(text: &str) -> bool {
    text.chars().nth(SHOWN).is_some()
}

/// Describes a value in an error without showing a string, which could be a secret under the wrong key.
fn found_unseen(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) if text.is_empty() => "\"\"".into(),
        DeValue::String(_) => "something else (not shown: it may be a secret)".into(),
        other => found(other),
    }
}

/// A value, or `None` for `"off"`.
#[derive(Clone, Debug)]
pub(super) struct OrOff<T>(pub(super) Option<T>);

impl<T: Setting> Setting for OrOff<T> {
    fn expected() -> Cow<'static, str> {
        format!("{}, or \"off\"", T::expected()).into()
    }

    fn read(value: &DeValue<'_>) -> Option<Self> {
        match value.as_str() {
            Some("off") => Some(OrOff(None)),
            _ => T::read(value).map(|value| OrOff(Some(value))),
        }
    }
}

/// An absolute path.
#[derive(Clone, Debug)]
pub(super) struct AbsolutePath(pub(super) PathBuf);

impl Setting for AbsolutePath {
    fn expected() -> Cow<'static, str> {
        "an absolute path such as \"/etc/nullmta.pem\"".into()
    }

    fn read(value: &DeValue<'_>) -> Option<Self> {
        absolute(value.as_str()?).map(AbsolutePath)
    }
}

/// A day of the calendar, as a date of TOML or in quotes.
#[derive(Clone, Copy, Debug)]
pub(super) struct CivilDay(pub(super) Date);

impl Setting for CivilDay {
    fn expected() -> Cow<'static, str> {
        "a day such as 2027-01-31".into()
    }

    fn read(value: &DeValue<'_>) -> Option<Self> {
        let text = match value {
            DeValue::Datetime(date) => date.to_string(),
            other => other.as_str()?.to_owned(),
        };
        // jiff reads other forms as well, and ignores a time behind the day.
        let has_form = text.len() == "2027-01-31".len()
            && text.char_indices().all(|(place, letter)| match place {
                4 | 7 => letter == '-',
                _ => letter.is_ascii_digit(),
            });
        if has_form { text.parse().ok().map(CivilDay) } else { None }
    }
}

/// The certificate that the listener shows in a TLS handshake.
#[derive(Clone, Debug)]
pub(super) enum ShownCertificate {
    SelfMade,
    File(PathBuf),
}

impl Setting for ShownCertificate {
    fn expected() -> Cow<'static, str> {
        "\"self-made\", or an absolute path such as \"/etc/nullmta.pem\"".into()
    }

    fn read(value: &DeValue<'_>) -> Option<Self> {
        match value.as_str()? {
            "self-made" => Some(ShownCertificate::SelfMade),
            path => absolute(path).map(ShownCertificate::File),
        }
    }
}

/// The path of a file that holds a secret. People sometimes write the secret itself here, so errors never show it.
#[derive(Clone, Debug)]
pub(super) struct SecretPath(pub(super) PathBuf);

impl Setting for SecretPath {
    fn expected() -> Cow<'static, str> {
        "the absolute path of a file that holds the secret".into()
    }

    fn read(value: &DeValue<'_>) -> Option<Self> {
        absolute(value.as_str()?).map(SecretPath)
    }

    fn found(value: &DeValue<'_>) -> String {
        found_unseen(value)
    }
}

fn absolute(text: &str) -> Option<PathBuf> {
    (text.starts_with('/') && !text.chars().any(char::is_control)).then(|| PathBuf::from(text))
}

/// The octets of the longest path of a socket: sockaddr_un has 108, the last one NUL.
const LONGEST_SOCKET_PATH: usize = 107;

/// The path of a unix socket that the daemon creates.
#[derive(Clone, Debug)]
pub(super) struct SocketPath(pub(super) PathBuf);

impl Setting for SocketPath {
    fn expected() -> Cow<'static, str> {
        "an absolute path of at most 107 octets".into()
    }

    fn read(value: &DeValue<'_>) -> Option<Self> {
        let text = value.as_str()?;
        absolute(text).filter(|_| text.len() <= LONGEST_SOCKET_PATH).map(SocketPath)
    }
}

/// A domain name in its ASCII form, without a dot at its end.
#[derive(Clone, Debug)]
pub(super) struct HostName(pub(super) String);

impl HostName {
    pub(super) fn parse(text: &str) -> Option<Self> {
        DnsName::try_from(text).ok().filter(|_| !text.ends_with('.')).map(|_| HostName(text.into()))
    }
}

impl Setting for HostName {
    fn expected() -> Cow<'static, str> {
        "a domain name such as \"web1.example.com\" (ASCII: an international name in its xn-- form)".into()
    }

    fn read(value: &DeValue<'_>) -> Option<Self> {
        HostName::parse(value.as_str()?)
    }
}

/// `relay.helo-name`: a name with its domain, or an address literal (RFC 5321 4.1.3).
#[derive(Clone, Debug)]
pub(super) struct HeloName(pub(super) String);

impl Setting for HeloName {
    fn expected() -> Cow<'static, str> {
        "a name with its domain such as \"web1.example.com\", or an address such as \"[192.0.2.1]\" (relays refuse \
         localhost, and names without a domain)"
            .into()
    }

    fn read(value: &DeValue<'_>) -> Option<Self> {
        let text = value.as_str()?;
        let is_usable = match text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(inside) => match inside.strip_prefix("IPv6:") {
                Some(six) => six.parse::<Ipv6Addr>().is_ok(),
                None => inside.parse::<Ipv4Addr>().is_ok(),
            },
            None => HostName::parse(text).is_some() && is_full_name(text),
        };
        is_usable.then(|| HeloName(text.into()))
    }
}

/// An address of this host from which connections to the relay come.
#[derive(Clone, Copy, Debug)]
pub(super) struct SourceAddress(pub(super) IpAddr);

impl Setting for SourceAddress {
    fn expected() -> Cow<'static, str> {
        "an address of this host such as \"192.0.2.7\" or \"2001:db8::7\", or a list of one of each kind"
            .into()
    }

    fn read(value: &DeValue<'_>) -> Option<Self> {
        let address: IpAddr = value.as_str()?.parse().ok()?;
        let is_mapped = matches!(address, IpAddr::V6(six) if six.to_ipv4_mapped().is_some());
        let is_one_host = !address.is_unspecified() && !address.is_multicast() && !is_mapped;
        is_one_host.then_some(SourceAddress(address))
    }
}

/// A name that a certificate can be for: a domain name or an address.
#[derive(Clone, Debug)]
pub(super) struct CertificateName(pub(super) String);

impl Setting for CertificateName {
    fn expected() -> Cow<'static, str> {
        "the domain name or address that the relay's certificate is for".into()
    }

    fn read(value: &DeValue<'_>) -> Option<Self> {
        let text = value.as_str()?;
        ServerName::try_from(text).ok().map(|_| CertificateName(text.into()))
    }
}

/// A loopback address and a port.
#[derive(Clone, Copy, Debug)]
pub(super) struct LoopbackAddress(pub(super) SocketAddr);

impl Setting for LoopbackAddress {
    fn expected() -> Cow<'static, str> {
        "a loopback address with its port such as \"127.0.0.1:25\" or \"[::1]:25\" \
         (nullmta never listens to the network)"
            .into()
    }

    fn read(value: &DeValue<'_>) -> Option<Self> {
        let address: SocketAddr = value.as_str()?.parse().ok()?;
        address.ip().is_loopback().then_some(LoopbackAddress(address))
    }
}

/// A place at which clients are answered over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpSetting {
    /// A loopback address and a port.
    Tcp(SocketAddr),
    /// The path of a unix socket.
    Unix(PathBuf),
}

impl fmt::Display for HttpSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HttpSetting::Tcp(address) => address.fmt(f),
            HttpSetting::Unix(path) => path.display().fmt(f),
        }
    }
}

impl Setting for HttpSetting {
    fn expected() -> Cow<'static, str> {
        "a loopback address with its port such as \"127.0.0.1:9925\" (nullmta never listens to the network), or a unix socket \
         as \"unix:/run/nullmta/http.sock\""
            .into()
    }

    fn read(value: &DeValue<'_>) -> Option<Self> {
        match value.as_str()?.strip_prefix("unix:") {
            Some(path) => absolute(path).filter(|_| path.len() <= LONGEST_SOCKET_PATH).map(HttpSetting::Unix),
            None => LoopbackAddress::read(value).map(|address| HttpSetting::Tcp(address.0)),
        }
    }
}

/// A SASL username (authentication identity).
#[derive(Clone, Debug)]
pub(super) struct Username(pub(super) String);

impl Setting for Username {
    fn expected() -> Cow<'static, str> {
        "a username without control characters".into()
    }

    fn read(value: &DeValue<'_>) -> Option<Self> {
        let text = value.as_str()?;
        (!text.is_empty() && !text.chars().any(char::is_control)).then(|| Username(text.into()))
    }
}

/// A text for another program, such as the id of an OAuth client or a scope.
#[derive(Clone, Debug)]
pub(super) struct PlainText(pub(super) String);

impl Setting for PlainText {
    fn expected() -> Cow<'static, str> {
        "a text without control characters".into()
    }

    fn read(value: &DeValue<'_>) -> Option<Self> {
        let text = value.as_str()?;
        (!text.trim().is_empty() && !text.chars().any(char::is_control)).then(|| PlainText(text.into()))
    }
}

/// The name of a systemd credential: a file name, so that it never leads out of its directory.
#[derive(Clone, Debug)]
pub(super) struct CredentialName(pub(super) String);

impl Setting for CredentialName {
    fn expected() -> Cow<'static, str> {
        "the name of a systemd credential, as in LoadCredential=NAME:PATH".into()
    }

    fn read(value: &DeValue<'_>) -> Option<Self> {
        let text = value.as_str()?;
        let octets_ok = text.chars().all(|c| c.is_ascii_graphic() && !"/:".contains(c));
        let named = !text.is_empty() && !text.starts_with('.') && text.len() <= 255;
        (octets_ok && named).then(|| CredentialName(text.into()))
    }

    fn found(value: &DeValue<'_>) -> String {
        found_unseen(value)
    }
}

/// A program and its arguments. It is a list and not one string because no shell parses it.
#[derive(Clone, Debug)]
pub(super) struct CommandLine(pub(super) Vec<String>);

impl Setting for CommandLine {
    fn expected() -> Cow<'static, str> {
        "a list of a program's absolute path and its arguments such as [\"/usr/bin/pass\", \"show\", \"relay\"]"
            .into()
    }

    fn read(value: &DeValue<'_>) -> Option<Self> {
        let words: Vec<String> = value
            .as_array()?
            .iter()
            .map(|word| word.get_ref().as_str().map(str::to_owned))
            .collect::<Option<_>>()?;
        absolute(words.first()?)?;
        words.iter().all(|word| !word.contains('\0')).then_some(CommandLine(words))
    }

    fn found(value: &DeValue<'_>) -> String {
        match value {
            DeValue::Array(words) if words.is_empty() => "an empty list".into(),
            DeValue::Array(_) => "another list".into(),
            other => found_unseen(other),
        }
    }
}

impl Setting for Address {
    fn expected() -> Cow<'static, str> {
        "an address such as \"ops@example.com\"".into()
    }

    fn read(value: &DeValue<'_>) -> Option<Self> {
        Address::parse(value.as_str()?).ok()
    }
}

#[cfg(test)]
mod tests;
