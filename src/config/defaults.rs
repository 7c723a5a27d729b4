//! The defaults, and why they are what they are. `config/nullmta.toml` shows them; a test compares.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::time::Duration;

use super::relay::Pipelining;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const MIB: u64 = 1024 * 1024;

/// `spool`.
pub(super) const SPOOL: &str = "/var/spool/nullmta";

/// `listen.addresses`.
pub(super) const ADDRESSES: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 25),
    SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 25),
];
/// `listen.socket`, where `sendmail` looks for it.
pub(super) const SOCKET: &str = "/run/nullmta/submit.sock";
/// `listen.max-message-size`: above what common relays take (SES 40 MB, Gmail 25 MB), so that it is
/// the relay that decides; Postfix's 10 MB refuses attachments that the relay would have carried.
pub const MAX_MESSAGE_SIZE: u64 = 50 * MIB;
/// `listen.max-recipients`: Postfix's; RFC 5321 4.5.3.1.8 asks for 100 at least.
pub(super) const MAX_RECIPIENTS: usize = 1000;
/// `listen.max-sessions`: a busy application's pool, well inside 1,024 file descriptors.
pub(super) const MAX_SESSIONS: usize = 200;
/// `listen.max-sessions-per-uid`: one user never takes them all.
pub(super) const MAX_SESSIONS_PER_UID: usize = 100;
/// `listen.idle-timeout`: RFC 5321 4.5.3.2.7.
pub(super) const IDLE_TIMEOUT: Duration = MINUTE.saturating_mul(5);

/// `queue.retry-min`: greylisting lets go after a minute or five.
pub(super) const RETRY_MIN: Duration = MINUTE;
/// `queue.retry-max`.
pub(super) const RETRY_MAX: Duration = HOUR;
/// `queue.lifetime`: RFC 5321 4.5.4.1 asks for four or five days.
pub(super) const LIFETIME: Duration = HOUR.saturating_mul(5 * 24);
/// `queue.delay-warning`: sendmail's.
pub(super) const DELAY_WARNING: Duration = HOUR.saturating_mul(4);
/// `queue.min-free-space`: the largest message and a segment of the spool.
pub(super) const MIN_FREE_SPACE: u64 = 64 * MIB;
/// `queue.max-messages`: a runaway program is stopped before memory is.
pub(super) const MAX_MESSAGES: u64 = 1_000_000;

/// `relay.max-connections`: Postfix's, and within what relays allow one client.
pub(super) const MAX_CONNECTIONS: NonZeroUsize = NonZeroUsize::new(20).unwrap();
/// `relay.messages-per-connection`: many relays close a connection after 100.
pub(super) const MESSAGES_PER_CONNECTION: NonZeroUsize = NonZeroUsize::new(100).unwrap();
/// `relay.pipelining`: what rides behind the final dot makes Haraka refuse, Dovecot's submission service fail
/// and Courier fall silent; a transaction's own commands together are taken by all of them.
pub(super) const PIPELINING: Pipelining = Pipelining::Group;
/// `relay.recipients-per-message`: Postfix's; SES refuses the whole of a message to more.
pub(super) const RECIPIENTS_PER_MESSAGE: NonZeroUsize = NonZeroUsize::new(50).unwrap();
/// `relay.idle`: relays drop idle clients after tens of seconds; what ends here ends politely.
pub(super) const IDLE: Duration = Duration::from_secs(5);

/// `admin.control`.
pub(super) const CONTROL: &str = "/run/nullmta/control.sock";
