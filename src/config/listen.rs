//! `[listen]`: where clients connect to submit mail.
//!
//! Promises: invariant 2 of [`Config`](super::Config); a certificate has its key, and a key its certificate.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use super::error::ConfigFault;
use super::file;
use super::limit::{LimitConfig, limits};
use super::setting::{LoopbackAddress, OrOff, ShownCertificate, SocketPath};
use super::table::{Key, Located, LocatedList, given};
use super::units::{PositiveCount, PositiveDuration, PositiveSize};

/// The default of `listen.addresses`.
pub const LISTEN_ADDRESSES: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 25),
    SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 25),
];
/// The default of `listen.socket`, at which `sendmail` looks for it.
pub const SUBMIT_SOCKET: &str = "/run/nullmta/submit.sock";
/// The default of `listen.max-message-size`. It is larger than what common relays accept (SES 40 MB, Gmail 25 MB), so
/// that the relay decides. The default of Postfix, 10 MB, refuses attachments that the relay would accept.
pub const MAX_MESSAGE_SIZE: u64 = 50 << 20;
/// The default of `listen.max-recipients`, the same as in Postfix. RFC 5321 4.5.3.1.8 requires at least 100.
const MAX_RECIPIENTS: NonZeroUsize = NonZeroUsize::new(1000).unwrap();
/// The default of `listen.max-sessions`: enough for the connection pool of a busy application, and well below 1,024
/// file descriptors.
const MAX_SESSIONS: NonZeroUsize = NonZeroUsize::new(200).unwrap();
/// The default of `listen.max-sessions-per-uid`: one user cannot take all sessions.
const MAX_SESSIONS_PER_UID: NonZeroUsize = NonZeroUsize::new(100).unwrap();
/// The default of `listen.idle-timeout` (RFC 5321 4.5.3.2.7).
const IDLE_TIMEOUT: Duration = Duration::from_mins(5);

/// `[listen]`: the loopback listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenConfig {
    /// Loopback addresses only. Port 0 lets the system choose one.
    pub addresses: Vec<SocketAddr>,
    /// Loopback addresses on which TLS begins with the first octet (implicit TLS). There is a certificate if there are any.
    pub tls_addresses: Vec<SocketAddr>,
    /// The unix socket of `sendmail`; `None` when it is `"off"`.
    pub socket: Option<PathBuf>,
    /// The name in the greeting, in Received fields and in our EHLO.
    pub hostname: String,
    /// The largest message accepted, in octets.
    pub max_message_size: u64,
    /// The most recipients of one message.
    pub max_recipients: usize,
    /// The most sessions at once.
    pub max_sessions: usize,
    /// The most sessions at once of one local user; at most `max_sessions`.
    pub max_sessions_per_uid: usize,
    /// The most messages per minute that one local user may submit on the unix socket; `None` for no limit.
    pub max_messages_per_minute_per_uid: Option<u32>,
    /// A session in which the client is silent for this long is closed (421).
    pub idle_timeout: Duration,
    /// True if the Received field names the user of a TCP client, as it always does for the unix socket.
    pub uid_in_received: bool,
    /// The certificate that is shown after STARTTLS; `None` if STARTTLS is not offered.
    pub certificate: Option<ServerCertificate>,
    /// Who may log in; `None` if AUTH is not offered.
    pub logins: Option<Logins>,
    /// True if clients over TCP must log in before they may send.
    pub require_auth: bool,
    /// `[[limit]]`: how much mail clients may submit, and as which senders.
    pub limits: Vec<LimitConfig>,
}

/// The settings `listen.users-file` and `listen.accept-any`: who may log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Logins {
    /// The users in this file.
    Users(PathBuf),
    /// Everybody, with any name and any password: for programs that insist on logging in.
    Anybody,
}

/// The setting `listen.certificate`, with `listen.key`: the certificate that clients are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerCertificate {
    /// `"self-made"`: each start makes a new one, for the loopback names and `listen.hostname`.
    SelfMade,
    /// The certificate and its key are read from files at the start.
    Files {
        /// The PEM file with the chain; our own certificate is the first.
        chain: PathBuf,
        /// The PEM file with its private key.
        key: PathBuf,
    },
}

impl ListenConfig {
    /// Returns all addresses of TCP.
    pub fn all_addresses(&self) -> Vec<SocketAddr> {
        self.addresses.iter().chain(&self.tls_addresses).copied().collect()
    }

    /// Returns the settings in `listen` and `limit`, with defaults filled in. `hostname` is the name of this host.
    pub(super) fn of(
        listen: &file::ListenTable,
        limit: &[Located<file::LimitTable>],
        hostname: String,
    ) -> Result<ListenConfig, ConfigFault> {
        let max_sessions = PositiveCount::or(&listen.max_sessions, MAX_SESSIONS).get();
        let addresses = addresses_of(listen)?;
        Ok(ListenConfig {
            tls_addresses: tls_addresses_of(listen, &addresses)?,
            addresses,
            socket: socket_of(&listen.socket),
            hostname,
            max_message_size: PositiveSize::or(&listen.max_message_size, MAX_MESSAGE_SIZE),
            max_recipients: PositiveCount::or(&listen.max_recipients, MAX_RECIPIENTS).get(),
            max_sessions,
            max_sessions_per_uid: max_sessions_per_uid_of(&listen.max_sessions_per_uid, max_sessions)?,
            max_messages_per_minute_per_uid: given(&listen.max_messages_per_minute_per_uid)
                .and_then(|limit| limit.0)
                .map(|count| count.0.get()),
            idle_timeout: PositiveDuration::or(&listen.idle_timeout, IDLE_TIMEOUT),
            uid_in_received: listen.uid_in_received.as_ref().is_some_and(|entry| entry.value),
            certificate: certificate_of(listen)?,
            logins: logins_of(listen)?,
            require_auth: require_auth_of(listen)?,
            limits: limits(limit)?,
        })
    }
}

/// Returns who may log in. A password that is compared under one name, and not under another, would be worth nothing: so
/// there is either a file or anybody.
fn logins_of(listen: &file::ListenTable) -> Result<Option<Logins>, ConfigFault> {
    let anybody = listen.accept_any.as_ref().filter(|entry| entry.value);
    match (&listen.users_file, anybody) {
        (Some(_), Some(anybody)) => Err(anybody.location.expected(
            "false beside listen.users-file: either the passwords in it count, or none does",
            "true",
        )),
        (Some(file), None) => Ok(Some(Logins::Users(file.value.0.clone()))),
        (None, Some(_)) => Ok(Some(Logins::Anybody)),
        (None, None) => Ok(None),
    }
}

fn require_auth_of(listen: &file::ListenTable) -> Result<bool, ConfigFault> {
    let Some(required) = listen.require_auth.as_ref().filter(|entry| entry.value) else { return Ok(false) };
    match logins_of(listen)? {
        Some(_) => Ok(true),
        None => Err(required.location.expected(
            "listen.users-file beside it, with the users who may log in, or listen.accept-any",
            "neither: nobody could log in, and no mail would be taken over TCP",
        )),
    }
}

fn certificate_of(listen: &file::ListenTable) -> Result<Option<ServerCertificate>, ConfigFault> {
    let Some(certificate) = &listen.certificate else {
        return match &listen.key {
            None => Ok(None),
            Some(alone) => Err(alone.location.expected("listen.certificate beside it", "it alone")),
        };
    };
    match (&certificate.value, &listen.key) {
        (ShownCertificate::SelfMade, None) => Ok(Some(ServerCertificate::SelfMade)),
        (ShownCertificate::SelfMade, Some(key)) => {
            Err(key.location.expected("nothing here with listen.certificate = \"self-made\"", "it set"))
        }
        (ShownCertificate::File(chain), Some(key)) => {
            Ok(Some(ServerCertificate::Files { chain: chain.clone(), key: key.value.0.clone() }))
        }
        (ShownCertificate::File(_), None) => {
            Err(certificate.location.expected("listen.key beside it", "it alone"))
        }
    }
}

fn addresses_of(listen: &file::ListenTable) -> Result<Vec<SocketAddr>, ConfigFault> {
    let Some(list) = &listen.addresses else { return Ok(LISTEN_ADDRESSES.to_vec()) };
    each_once(list, &[])
}

fn tls_addresses_of(
    listen: &file::ListenTable,
    others: &[SocketAddr],
) -> Result<Vec<SocketAddr>, ConfigFault> {
    let Some(list) = &listen.tls_addresses else { return Ok(Vec::new()) };
    if listen.certificate.is_none() {
        return Err(list.location.expected("listen.certificate beside it, which TLS needs", "none"));
    }
    each_once(list, others)
}

/// Returns the addresses in `list`, of which none may be there twice, or in `others`. Port 0 is another one each time.
fn each_once(
    list: &LocatedList<LoopbackAddress>,
    others: &[SocketAddr],
) -> Result<Vec<SocketAddr>, ConfigFault> {
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for entry in &list.entries {
        let address = entry.value.0;
        if address.port() != 0 && (addresses.contains(&address) || others.contains(&address)) {
            return Err(entry.location.expected("each address once", format!("\"{address}\" again")));
        }
        addresses.push(address);
    }
    Ok(addresses)
}

fn socket_of(key: &Key<OrOff<SocketPath>>) -> Option<PathBuf> {
    match given(key) {
        None => Some(SUBMIT_SOCKET.into()),
        Some(OrOff(path)) => path.as_ref().map(|path| path.0.clone()),
    }
}

fn max_sessions_per_uid_of(key: &Key<PositiveCount>, max_sessions: usize) -> Result<usize, ConfigFault> {
    match key {
        None => Ok(MAX_SESSIONS_PER_UID.get().min(max_sessions)),
        Some(entry) if entry.value.to_usize().get() > max_sessions => Err(entry
            .location
            .expected(format!("at most listen.max-sessions ({max_sessions})"), entry.value.0)),
        Some(entry) => Ok(entry.value.to_usize().get()),
    }
}
