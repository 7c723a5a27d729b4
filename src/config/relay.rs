//! What the outward side is configured with: `relayhost`, `[auth]`, `[tls]`, `[relay]`.
//!
//! Not here: how any of it is used (`relay/`).

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use super::environment::is_full_name;
use super::relayhost::RelayHost;
use super::secret_source::SecretSource;

/// The relayhosts and how we speak to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relay {
    /// `relayhost`: tried in this order. Never empty.
    pub hosts: Vec<RelayHost>,
    /// `[tls]`.
    pub tls: Tls,
    /// `[auth]`; `None` when the relay knows us otherwise.
    pub auth: Option<Auth>,
    /// The most connections at once.
    pub max_connections: NonZeroUsize,
    /// A connection is closed after so many messages.
    pub messages_per_connection: NonZeroUsize,
    /// A message to more recipients goes in several transactions.
    pub recipients_per_message: NonZeroUsize,
    /// How far ahead of its replies a relay that offers PIPELINING is written to.
    pub pipelining: Pipelining,
    /// How long a connection without work is kept; zero closes it at once.
    pub idle: Duration,
    /// `[relay.timeouts]`.
    pub timeouts: Timeouts,
    /// How we name ourselves in EHLO.
    pub hello: Hello,
}

/// What we call ourselves in EHLO (RFC 5321 4.1.4): relays refuse `localhost` and names without a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hello {
    /// A name with its domain.
    Name(String),
    /// This host has none: the address of our end of the connection (RFC 5321 4.1.3).
    AddressLiteral,
}

impl Hello {
    /// `hostname` where others know it, else `origin` where one is set, else an address.
    pub(super) fn of(hostname: &str, origin: Option<&str>) -> Hello {
        let full = [Some(hostname), origin].into_iter().flatten().find(|name| is_full_name(name));
        full.map_or(Hello::AddressLiteral, |name| Hello::Name(name.into()))
    }
}

/// `relay.pipelining`: how many commands are written before the first of them is answered (RFC 2920).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pipelining {
    /// A transaction's MAIL, RCPT… and DATA together, and those of the next one behind the final dot.
    Across,
    /// A transaction's MAIL, RCPT… and DATA together, after the reply to the last final dot.
    Group,
    /// One command at a time.
    Off,
}

/// `tls.mode`, with what verification needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// STARTTLS (RFC 3207), required.
    StartTls(TlsSettings),
    /// TLS from the first octet (RFC 8314 3.3).
    Implicit(TlsSettings),
    /// No TLS: only where every host is a loopback address or `localhost`. What `localhost`
    /// resolves to is for the dialler to check.
    None,
}

impl Tls {
    /// What verification needs, where there is TLS.
    pub fn settings(&self) -> Option<&TlsSettings> {
        match self {
            Tls::StartTls(settings) | Tls::Implicit(settings) => Some(settings),
            Tls::None => None,
        }
    }
}

/// How a relay's certificate is verified, and what we show of our own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// What makes a certificate trusted.
    pub trust: Trust,
    /// `server-name`: the name verified and sent as SNI instead of the relayhost's.
    pub server_name: Option<String>,
    /// `client-certificate` and `client-key`.
    pub client: Option<ClientCertificate>,
    /// The oldest protocol version accepted.
    pub minimum: TlsVersion,
}

/// What makes a relay's certificate trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The CA bundle of the system.
    System,
    /// `ca-file`: the CA certificates of this PEM file, instead of the system's.
    CaFile(PathBuf),
    /// `pin-sha256`: SHA-256 of the certificate's SubjectPublicKeyInfo, any of these; instead of
    /// any CA and name. Not empty.
    Pins(Vec<[u8; 32]>),
}

/// A certificate for the relay to know us by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// PEM, the chain, our own certificate first.
    pub certificate: PathBuf,
    /// PEM, its private key.
    pub key: PathBuf,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// RFC 5246.
    V1_2,
    /// RFC 8446.
    V1_3,
}

/// `[auth]`: who we are to the relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// Never empty, no control characters.
    pub username: String,
    /// Where the password is.
    pub secret: SecretSource,
    /// `mechanisms`: only these; `None` for whichever both sides have. Never empty.
    pub mechanisms: Option<Vec<Mechanism>>,
}

/// A SASL mechanism that we speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// SCRAM-SHA-512.
    ScramSha512,
    /// RFC 7677.
    ScramSha256,
    /// RFC 5802.
    ScramSha1,
    /// RFC 4616.
    Plain,
    /// LOGIN, which no RFC describes.
    Login,
}

/// How long each step of the dialogue may take (RFC 5321 4.5.3.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// The TCP connection, per address.
    pub connect: Duration,
    /// The TLS handshake.
    pub tls: Duration,
    /// The 220 greeting.
    pub greeting: Duration,
    /// The reply to EHLO.
    pub ehlo: Duration,
    /// Each reply of the AUTH exchange.
    pub auth: Duration,
    /// The reply to MAIL.
    pub mail: Duration,
    /// Each reply to RCPT.
    pub rcpt: Duration,
    /// The 354 to DATA.
    pub data: Duration,
    /// Each block of content to be taken.
    pub block: Duration,
    /// The reply to the final dot.
    pub dot: Duration,
    /// The reply to QUIT.
    pub quit: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let minutes = |count: u64| Duration::from_secs(60 * count);
        Timeouts {
            connect: Duration::from_secs(30),
            tls: minutes(1),
            greeting: minutes(5), // RFC 5321 4.5.3.2.1
            ehlo: minutes(5),
            // Servers delay the answer to a wrong password by seconds, not minutes.
            auth: minutes(2),
            mail: minutes(5),  // RFC 5321 4.5.3.2.2
            rcpt: minutes(5),  // RFC 5321 4.5.3.2.3
            data: minutes(2),  // RFC 5321 4.5.3.2.4
            block: minutes(3), // RFC 5321 4.5.3.2.5
            dot: minutes(10),  // RFC 5321 4.5.3.2.6
            // All mail is settled by then: nothing is won by waiting.
            quit: Duration::from_secs(10),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A container calls itself by its id, and relays refused EHLO, or the mail, for it.
    #[test]
    fn a_relay_is_never_told_a_name_that_means_nothing_to_it() {
        let name = |name: &str| Hello::Name(name.into());
        for (hostname, origin, expected) in [
            ("web1.example.org", None, name("web1.example.org")),
            ("web1.example.org", Some("example.com"), name("web1.example.org")),
            ("3f2a9c0d1e4b", Some("example.com"), name("example.com")),
            ("localhost.localdomain", Some("localdomain"), Hello::AddressLiteral),
            ("localhost", None, Hello::AddressLiteral),
        ] {
            assert_eq!(Hello::of(hostname, origin), expected, "{hostname}");
        }
    }

    #[test]
    fn no_timeout_is_below_what_rfc_5321_asks_for() {
        let minute = Duration::from_secs(60);
        let timeouts = Timeouts::default();
        assert!(timeouts.greeting >= 5 * minute && timeouts.mail >= 5 * minute);
        assert!(timeouts.rcpt >= 5 * minute && timeouts.data >= 2 * minute);
        assert!(timeouts.block >= 3 * minute && timeouts.dot >= 10 * minute);
    }
}
