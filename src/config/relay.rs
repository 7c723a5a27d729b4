//! `relayhost` and `[relay]`: whom the mail goes to, and how.
//!
//! Promises: invariant 1 of [`Config`](super::Config); no relayhost is one of our own listeners.
//! Not here: what protects the mail (`tls.rs`), who we are to the relay (`auth.rs`), how any of it is used (`relay/`).

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use super::auth::Auth;
use super::environment::is_full_name;
use super::error::{Fault, Place};
use super::file::{self, File};
use super::relayhost::{Host, RelayHost, WrittenHost};
use super::setting::{OrOff, Setting};
use super::table::{Entry, List, given};
use super::tls::Tls;
use super::units::{Count, Lapse};
use super::words::Pipelining;

/// `relay.max-connections`: Postfix's, and within what relays allow one client.
const MAX_CONNECTIONS: NonZeroUsize = NonZeroUsize::new(20).unwrap();
/// `relay.messages-per-connection`: many relays close a connection after 100.
const MESSAGES_PER_CONNECTION: NonZeroUsize = NonZeroUsize::new(100).unwrap();
/// `relay.recipients-per-message`: Postfix's; SES refuses the whole of a message to more.
const RECIPIENTS_PER_MESSAGE: NonZeroUsize = NonZeroUsize::new(50).unwrap();
/// `relay.pipelining`: what rides behind the final dot makes Haraka refuse, Dovecot's submission service fail
/// and Courier fall silent; a transaction's own commands together are taken by all of them.
const PIPELINING: Pipelining = Pipelining::Group;
/// `relay.idle`: relays drop idle clients after tens of seconds; what ends here ends politely.
const IDLE: Duration = Duration::from_secs(5);

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

impl Timeouts {
    /// What the file says, with the defaults.
    fn of(timeouts: &file::Timeouts) -> Timeouts {
        let default = Timeouts::default();
        Timeouts {
            connect: Lapse::or(&timeouts.connect, default.connect),
            tls: Lapse::or(&timeouts.tls, default.tls),
            greeting: Lapse::or(&timeouts.greeting, default.greeting),
            ehlo: Lapse::or(&timeouts.ehlo, default.ehlo),
            auth: Lapse::or(&timeouts.auth, default.auth),
            mail: Lapse::or(&timeouts.mail, default.mail),
            rcpt: Lapse::or(&timeouts.rcpt, default.rcpt),
            data: Lapse::or(&timeouts.data, default.data),
            block: Lapse::or(&timeouts.block, default.block),
            dot: Lapse::or(&timeouts.dot, default.dot),
            quit: Lapse::or(&timeouts.quit, default.quit),
        }
    }
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

impl Relay {
    /// What the file says, with the defaults; to the relay, we are `hello`. It is none of the addresses that we listen
    /// on.
    pub(super) fn of(file: &File, hello: Hello, listened: &[SocketAddr]) -> Result<Relay, Fault> {
        let Some(relayhost) = &file.relayhost else {
            return Err(Place::of_missing("relayhost").expected(WrittenHost::expected(), "no such key"));
        };
        let tls = Tls::of(&file.tls, relayhost)?;
        let hosts = hosts_of(relayhost, &tls, file.tls.mode.is_some())?;
        refuse_ourselves(relayhost, &hosts, listened)?;
        let relay = &file.relay;
        Ok(Relay {
            hosts,
            tls,
            auth: Auth::of(&file.auth)?,
            max_connections: Count::or(&relay.max_connections, MAX_CONNECTIONS),
            messages_per_connection: Count::or(&relay.messages_per_connection, MESSAGES_PER_CONNECTION),
            recipients_per_message: Count::or(&relay.recipients_per_message, RECIPIENTS_PER_MESSAGE),
            pipelining: given(&relay.pipelining).copied().unwrap_or(PIPELINING),
            idle: match given(&relay.idle) {
                None => IDLE,
                Some(OrOff(None)) => Duration::ZERO,
                Some(OrOff(Some(lapse))) => lapse.0,
            },
            timeouts: Timeouts::of(&relay.timeouts),
            hello,
        })
    }
}

/// Mail that we hand to ourselves goes round until it has too many Received fields.
fn refuse_ourselves(
    relayhost: &List<WrittenHost>,
    hosts: &[RelayHost],
    listened: &[SocketAddr],
) -> Result<(), Fault> {
    let is_ours = |host: &RelayHost| match &host.host {
        Host::Address(address) => listened.contains(&SocketAddr::new(*address, host.port)),
        name => name.is_loopback() && listened.iter().any(|address| address.port() == host.port),
    };
    match relayhost.entries.iter().zip(hosts).find(|(_, host)| is_ours(host)) {
        Some((entry, host)) => Err(entry.place.expected(
            "the relay that takes this host's mail",
            format!(
                "{host}, which is nullmta's own listener (listen.addresses): mail would go round in circles"
            ),
        )),
        None => Ok(()),
    }
}

fn hosts_of(relayhost: &List<WrittenHost>, tls: &Tls, mode_given: bool) -> Result<Vec<RelayHost>, Fault> {
    let default_port = match tls {
        Tls::StartTls(_) => 587, // RFC 6409
        Tls::Implicit(_) => 465, // RFC 8314 7.3
        Tls::None => 25,
    };
    let resolve = |entry: &Entry<WrittenHost>| {
        let WrittenHost { host, port } = entry.value.clone();
        // STARTTLS towards port 465 waits for a greeting that never comes.
        if port == Some(465) && !mode_given {
            return Err(entry.place.fault(
                "port 465 speaks TLS from the first octet: expected tls.mode = \"implicit\" (or another mode) \
                 to be set, found no tls.mode",
            ));
        }
        Ok(RelayHost { host, port: port.unwrap_or(default_port) })
    };
    relayhost.entries.iter().map(resolve).collect()
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
