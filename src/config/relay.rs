//! `relayhost` and `[relay]`: the relays that get the mail, and how we speak to them.
//!
//! Promises: invariant 1 of [`Config`](super::Config); no relayhost is one of our own listeners.
//! Not here: TLS (`tls.rs`), the login (`auth.rs`), the dialogue itself (`relay/`).

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use super::auth::AuthConfig;
use super::environment::is_full_name;
use super::error::{ConfigFault, KeyLocation};
use super::families::Families;
use super::file::{self, ConfigFile};
use super::rate::{Rate, rates_of};
use super::relayhost::{RelayHost, RelayPort, ServiceKind, WrittenHost, WrittenPort};
use super::reply_rule::ReplyRule;
use super::setting::{OrOff, Setting};
use super::table::{Located, LocatedList, given};
use super::tls::Tls;
use super::units::{PositiveCount, PositiveDuration};
use super::words::{EightBit, Pipelining};
use crate::message::long_lines::LongLines;

/// The default of `relay.max-connections`, the same as in Postfix. Relays allow one client at least as many.
const MAX_CONNECTIONS: NonZeroUsize = NonZeroUsize::new(20).unwrap();
/// The default of `relay.messages-per-connection`: many relays close a connection after 100.
const MESSAGES_PER_CONNECTION: NonZeroUsize = NonZeroUsize::new(100).unwrap();
/// The default of `relay.recipients-per-message`, the same as in Postfix. SES refuses a message with more as a whole.
const RECIPIENTS_PER_MESSAGE: NonZeroUsize = NonZeroUsize::new(50).unwrap();
/// The default of `relay.connection-age`. Relays with several hosts behind one name, such as SES, cut off long-lived
/// connections, and a connection that lasts keeps mail with a host that is to be taken out of service.
const CONNECTION_AGE: Duration = Duration::from_secs(300);
/// The default of `relay.pipelining`. Commands sent directly after the final dot make Haraka refuse, Dovecot's submission
/// service fail and Courier stop answering; the commands of one transaction together are accepted by all of them.
const PIPELINING: Pipelining = Pipelining::Group;
/// The default of `relay.idle`. Relays drop idle clients after tens of seconds; before that, we close with QUIT.
const IDLE: Duration = Duration::from_secs(5);

/// The relayhosts and how we speak to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayConfig {
    /// `relayhost`: the relays, in the order in which they are tried. Never empty.
    pub hosts: Vec<RelayHost>,
    /// `[tls]`: how TLS is spoken to the relay.
    pub tls: Tls,
    /// `[auth]`: the login; `None` if the relay asks for none.
    pub auth: Option<AuthConfig>,
    /// The most connections at once.
    pub max_connections: NonZeroUsize,
    /// The number of messages after which a connection is closed.
    pub messages_per_connection: NonZeroUsize,
    /// The most recipients of one transaction. A message with more is sent in several transactions.
    pub recipients_per_message: NonZeroUsize,
    /// The most domains of recipients of one transaction; `None` for any number.
    pub domains_per_message: Option<NonZeroUsize>,
    /// The rates that all connections together keep, at most one for each period.
    pub rates: Vec<Rate>,
    /// The age at which a connection is closed after the message at hand; `None` for never.
    pub connection_age: Option<Duration>,
    /// The number of commands that are sent before the relay replies, if it offers PIPELINING.
    pub pipelining: Pipelining,
    /// The treatment of a message with 8-bit octets where the relay does not offer 8BITMIME.
    pub eight_bit: EightBit,
    /// `rewrite.long-lines`: the treatment of bodies with lines that are too long.
    pub long_lines: LongLines,
    /// Time for which a connection is kept open without work; zero closes it at once.
    pub idle: Duration,
    /// `[relay.timeouts]`: how long each step of the dialogue may take.
    pub timeouts: Timeouts,
    /// `address-family` and `source-address`: over which addresses a relay is reached.
    pub families: Families,
    /// The name that we give in EHLO.
    pub hello: EhloName,
    /// `[[relay.reply]]`: the meaning of replies, before the rules that nullmta has itself.
    pub replies: Vec<ReplyRule>,
}

/// The tables of the file that describe one relay: those at the top, or those of a route.
pub(super) struct RelayTables<'a> {
    /// The position at which `relayhost` is missing, if it is.
    pub(super) location: KeyLocation,
    pub(super) relayhost: Option<&'a LocatedList<WrittenHost>>,
    pub(super) auth: &'a file::AuthTable,
    pub(super) tls: &'a file::TlsTable,
    pub(super) relay: &'a file::RelayTable,
    /// The treatment of bodies with lines that are too long, which is the same for every relay.
    pub(super) long_lines: LongLines,
}

impl ConfigFile {
    /// Returns the tables about the relay that gets the mail of no route.
    pub(super) fn tables(&self) -> RelayTables<'_> {
        let ConfigFile { relayhost, auth, tls, relay, rewrite, .. } = self;
        let location = KeyLocation::of_missing("relayhost");
        RelayTables {
            location,
            relayhost: relayhost.as_ref(),
            auth,
            tls,
            relay,
            long_lines: rewrite.long_lines(),
        }
    }
}

/// The name that we give in EHLO (RFC 5321 4.1.4). Relays refuse `localhost` and names without a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EhloName {
    /// A name with its domain, or what `relay.helo-name` says.
    Name(String),
    /// The address of our end of the connection (RFC 5321 4.1.3), for a host whose name has no domain.
    AddressLiteral,
}

impl EhloName {
    /// Returns `helo_name`, the setting, if there is one; else `hostname` if it has a domain that others may know, else
    /// `origin` if that has one, else an address.
    pub(super) fn of(helo_name: Option<&str>, hostname: &str, origin: Option<&str>) -> EhloName {
        if let Some(name) = helo_name {
            return EhloName::Name(name.into());
        }
        let full = [Some(hostname), origin].into_iter().flatten().find(|name| is_full_name(name));
        full.map_or(EhloName::AddressLiteral, |name| EhloName::Name(name.into()))
    }
}

/// Upper bounds on the time that each step of the dialogue takes (RFC 5321 4.5.3.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Time for which a TCP connection to one address is awaited.
    pub connect: Duration,
    /// Time for which the end of the TLS handshake is awaited.
    pub tls: Duration,
    /// Time for which the greeting (220) is awaited.
    pub greeting: Duration,
    /// Time for which the reply to EHLO is awaited.
    pub ehlo: Duration,
    /// Time for which each reply of the AUTH exchange is awaited.
    pub auth: Duration,
    /// Time for which the reply to MAIL is awaited.
    pub mail: Duration,
    /// Time for which each reply to RCPT is awaited.
    pub rcpt: Duration,
    /// Time for which the reply to DATA (354) is awaited.
    pub data: Duration,
    /// Time in which the relay must take each block of the content.
    pub block: Duration,
    /// Time for which the reply to the final dot is awaited.
    pub dot: Duration,
    /// Time for which the reply to QUIT is awaited.
    pub quit: Duration,
}

impl Timeouts {
    /// Returns the settings in `timeouts`, with defaults filled in.
    fn of(timeouts: &file::TimeoutsTable) -> Timeouts {
        let default = Timeouts::default();
        Timeouts {
            connect: PositiveDuration::or(&timeouts.connect, default.connect),
            tls: PositiveDuration::or(&timeouts.tls, default.tls),
            greeting: PositiveDuration::or(&timeouts.greeting, default.greeting),
            ehlo: PositiveDuration::or(&timeouts.ehlo, default.ehlo),
            auth: PositiveDuration::or(&timeouts.auth, default.auth),
            mail: PositiveDuration::or(&timeouts.mail, default.mail),
            rcpt: PositiveDuration::or(&timeouts.rcpt, default.rcpt),
            data: PositiveDuration::or(&timeouts.data, default.data),
            block: PositiveDuration::or(&timeouts.block, default.block),
            dot: PositiveDuration::or(&timeouts.dot, default.dot),
            quit: PositiveDuration::or(&timeouts.quit, default.quit),
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

impl RelayConfig {
    /// Returns the settings in `file`, with defaults filled in. `hello` is the name for EHLO; a relayhost that is one of
    /// the `listened` addresses is an error.
    pub(super) fn of(
        file: RelayTables<'_>,
        hello: EhloName,
        listened: &[SocketAddr],
    ) -> Result<RelayConfig, ConfigFault> {
        let Some(relayhost) = file.relayhost else {
            return Err(file.location.expected(WrittenHost::expected(), "no such key"));
        };
        let tls = Tls::of(file.tls, relayhost)?;
        let hosts = hosts_of(relayhost, &tls, file.tls.mode.is_some())?;
        refuse_ourselves(relayhost, &hosts, listened)?;
        let relay = file.relay;
        let auth = AuthConfig::of(file.auth, &tls)?;
        Ok(RelayConfig {
            hosts,
            tls,
            auth,
            max_connections: PositiveCount::or(&relay.max_connections, MAX_CONNECTIONS),
            messages_per_connection: PositiveCount::or(
                &relay.messages_per_connection,
                MESSAGES_PER_CONNECTION,
            ),
            recipients_per_message: PositiveCount::or(&relay.recipients_per_message, RECIPIENTS_PER_MESSAGE),
            domains_per_message: given(&relay.domains_per_message).map(|count| count.to_usize()),
            rates: rates_of(&relay.rate)?,
            connection_age: match given(&relay.connection_age) {
                None => Some(CONNECTION_AGE),
                Some(OrOff(age)) => age.as_ref().map(|age| age.0),
            },
            pipelining: given(&relay.pipelining).copied().unwrap_or(PIPELINING),
            eight_bit: given(&relay.eight_bit).copied().unwrap_or(EightBit::Keep),
            long_lines: file.long_lines,
            idle: match given(&relay.idle) {
                None => IDLE,
                Some(OrOff(None)) => Duration::ZERO,
                Some(OrOff(Some(lapse))) => lapse.0,
            },
            timeouts: Timeouts::of(&relay.timeouts),
            families: Families::of(relay, relayhost)?,
            hello,
            replies: relay.reply.clone(),
        })
    }
}

/// Returns an error if a relayhost is one of our own addresses.
fn refuse_ourselves(
    relayhost: &LocatedList<WrittenHost>,
    hosts: &[RelayHost],
    listened: &[SocketAddr],
) -> Result<(), ConfigFault> {
    match relayhost.entries.iter().zip(hosts).find(|(_, host)| host.is_one_of(listened)) {
        Some((entry, host)) => Err(entry.location.expected(
            "the relay that takes this host's mail",
            format!(
                "{host}, which is nullmta's own listener (listen.addresses): mail would go round in circles"
            ),
        )),
        None => Ok(()),
    }
}

fn hosts_of(
    relayhost: &LocatedList<WrittenHost>,
    tls: &Tls,
    mode_given: bool,
) -> Result<Vec<RelayHost>, ConfigFault> {
    let default_port = match tls {
        Tls::StartTls(_) => 587, // RFC 6409
        Tls::Implicit(_) => 465, // RFC 8314 7.3
        Tls::None => 25,
    };
    let resolve = |entry: &Located<WrittenHost>| {
        let WrittenHost { host, port } = entry.value.clone();
        // STARTTLS towards port 465 waits for a greeting that never comes.
        if port == WrittenPort::Number(465) && !mode_given {
            return Err(entry.location.fault(
                "port 465 speaks TLS from the first octet: expected tls.mode = \"implicit\" (or another mode) \
                 to be set, found no tls.mode",
            ));
        }
        let port = match port {
            WrittenPort::Number(port) => RelayPort::Number(port),
            WrittenPort::Unwritten => RelayPort::Number(default_port),
            WrittenPort::BySrv => RelayPort::BySrv(services_of(tls, mode_given)),
        };
        Ok(RelayHost { host, port })
    };
    relayhost.entries.iter().map(resolve).collect()
}

/// Returns the services that are looked up for a domain: both, or the one whose kind of TLS `tls.mode` asks for.
fn services_of(tls: &Tls, mode_given: bool) -> &'static [ServiceKind] {
    match tls {
        Tls::Implicit(_) => &[ServiceKind::Submissions],
        Tls::StartTls(_) if mode_given => &[ServiceKind::Submission],
        // No domain is a loopback address, so that there is TLS (invariant 1).
        _ => &[ServiceKind::Submissions, ServiceKind::Submission],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A container calls itself by its id, and relays refused EHLO, or the mail, for it.
    #[test]
    fn a_relay_is_never_told_a_name_that_means_nothing_to_it() {
        let name = |name: &str| EhloName::Name(name.into());
        for (hostname, origin, expected) in [
            ("web1.example.org", None, name("web1.example.org")),
            ("web1.example.org", Some("example.com"), name("web1.example.org")),
            ("3f2a9c0d1e4b", Some("example.com"), name("example.com")),
            ("localhost.localdomain", Some("localdomain"), EhloName::AddressLiteral),
            ("localhost", None, EhloName::AddressLiteral),
        ] {
            assert_eq!(EhloName::of(None, hostname, origin), expected, "{hostname}");
            let chosen = EhloName::of(Some("mail.example.net"), hostname, origin);
            assert_eq!(chosen, name("mail.example.net"), "{hostname}");
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
