//! `[listen]`: where the mail comes from.
//!
//! Promises: invariant 2 of [`Config`](super::Config); a certificate has its key, and a key its certificate.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use super::error::Fault;
use super::file;
use super::setting::{OrOff, ShownCertificate, SocketPath};
use super::table::{Key, given};
use super::units::{Count, Lapse, Size};

/// `listen.addresses`.
const ADDRESSES: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 25),
    SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 25),
];
/// `listen.socket`, where `sendmail` looks for it.
const SOCKET: &str = "/run/nullmta/submit.sock";
/// `listen.max-message-size`: above what common relays take (SES 40 MB, Gmail 25 MB), so that it is
/// the relay that decides; Postfix's 10 MB refuses attachments that the relay would have carried.
pub const MAX_MESSAGE_SIZE: u64 = 50 << 20;
/// `listen.max-recipients`: Postfix's; RFC 5321 4.5.3.1.8 asks for 100 at least.
const MAX_RECIPIENTS: NonZeroUsize = NonZeroUsize::new(1000).unwrap();
/// `listen.max-sessions`: a busy application's pool, well inside 1,024 file descriptors.
const MAX_SESSIONS: NonZeroUsize = NonZeroUsize::new(200).unwrap();
/// `listen.max-sessions-per-uid`: one user never takes them all.
const MAX_SESSIONS_PER_UID: NonZeroUsize = NonZeroUsize::new(100).unwrap();
/// `listen.idle-timeout`: RFC 5321 4.5.3.2.7.
const IDLE_TIMEOUT: Duration = Duration::from_mins(5);

/// `[listen]`: the loopback listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Loopback addresses only. Port 0 lets the system choose one.
    pub addresses: Vec<SocketAddr>,
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
    /// The most messages a minute of one local user on the unix socket; `None` for no limit.
    pub max_messages_per_minute_per_uid: Option<u32>,
    /// A session that says nothing for so long is closed (421).
    pub idle_timeout: Duration,
    /// What STARTTLS shows; `None`: it is not offered.
    pub certificate: Option<ServerCertificate>,
}

/// `listen.certificate` and `listen.key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerCertificate {
    /// `"self-made"`: made anew by each start, for the names of loopback and `listen.hostname`.
    SelfMade,
    /// Read from files.
    Files {
        /// PEM, the chain, our own certificate first.
        chain: PathBuf,
        /// PEM, its private key.
        key: PathBuf,
    },
}

impl Listen {
    /// What the file says, with the defaults; this host is called `hostname`.
    pub(super) fn of(listen: &file::Listen, hostname: String) -> Result<Listen, Fault> {
        let max_sessions = Count::or(&listen.max_sessions, MAX_SESSIONS).get();
        Ok(Listen {
            addresses: addresses_of(listen)?,
            socket: socket_of(&listen.socket),
            hostname,
            max_message_size: Size::or(&listen.max_message_size, MAX_MESSAGE_SIZE),
            max_recipients: Count::or(&listen.max_recipients, MAX_RECIPIENTS).get(),
            max_sessions,
            max_sessions_per_uid: max_sessions_per_uid_of(&listen.max_sessions_per_uid, max_sessions)?,
            max_messages_per_minute_per_uid: given(&listen.max_messages_per_minute_per_uid)
                .and_then(|limit| limit.0)
                .map(|count| count.0.get()),
            idle_timeout: Lapse::or(&listen.idle_timeout, IDLE_TIMEOUT),
            certificate: certificate_of(listen)?,
        })
    }
}

fn certificate_of(listen: &file::Listen) -> Result<Option<ServerCertificate>, Fault> {
    let Some(certificate) = &listen.certificate else {
        return match &listen.key {
            None => Ok(None),
            Some(alone) => Err(alone.place.expected("listen.certificate beside it", "it alone")),
        };
    };
    match (&certificate.value, &listen.key) {
        (ShownCertificate::SelfMade, None) => Ok(Some(ServerCertificate::SelfMade)),
        (ShownCertificate::SelfMade, Some(key)) => {
            Err(key.place.expected("nothing here with listen.certificate = \"self-made\"", "it set"))
        }
        (ShownCertificate::File(chain), Some(key)) => {
            Ok(Some(ServerCertificate::Files { chain: chain.clone(), key: key.value.0.clone() }))
        }
        (ShownCertificate::File(_), None) => {
            Err(certificate.place.expected("listen.key beside it", "it alone"))
        }
    }
}

fn addresses_of(listen: &file::Listen) -> Result<Vec<SocketAddr>, Fault> {
    let Some(list) = &listen.addresses else { return Ok(ADDRESSES.to_vec()) };
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for entry in &list.entries {
        let address = entry.value.0;
        if address.port() != 0 && addresses.contains(&address) {
            return Err(entry.place.expected("each address once", format!("\"{address}\" again")));
        }
        addresses.push(address);
    }
    Ok(addresses)
}

fn socket_of(key: &Key<OrOff<SocketPath>>) -> Option<PathBuf> {
    match given(key) {
        None => Some(SOCKET.into()),
        Some(OrOff(path)) => path.as_ref().map(|path| path.0.clone()),
    }
}

fn max_sessions_per_uid_of(key: &Key<Count>, max_sessions: usize) -> Result<usize, Fault> {
    match key {
        None => Ok(MAX_SESSIONS_PER_UID.get().min(max_sessions)),
        Some(entry) if entry.value.to_usize().get() > max_sessions => {
            Err(entry.place.expected(format!("at most listen.max-sessions ({max_sessions})"), entry.value.0))
        }
        Some(entry) => Ok(entry.value.to_usize().get()),
    }
}
