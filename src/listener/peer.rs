//! The client at the other end of a connection, as far as the kernel vouches for it.
//!
//! Promises: a [`LocalPeer`] is on this host. For the unix socket its uid is known (SO_PEERCRED, recorded when it
//! connected). For loopback TCP the owner of the client's socket is known if the kernel can tell it (`owner.rs`).

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::envelope::Submitter;
use crate::message::received::Origin;

/// Returns whether a user is neither root nor the daemon's own user. For these two, some places are reserved.
pub fn is_ordinary(uid: u32) -> bool {
    ![0, rustix::process::geteuid().as_raw()].contains(&uid)
}

/// A client on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalPeer {
    /// A TCP client at this loopback address, whose user is unknown.
    Loopback(IpAddr),
    /// A TCP client at this loopback address, whose socket this uid owns.
    LoopbackUser(IpAddr, u32),
    /// A client on the unix socket with this uid.
    Uid(u32),
}

impl LocalPeer {
    /// Returns the peer of a TCP connection from `address`; `None` if that is not a loopback address.
    pub fn over_tcp(address: SocketAddr) -> Option<LocalPeer> {
        // A dual-stack socket that was passed to us reports an IPv4 client as `::ffff:127.0.0.1`.
        let ip = address.ip().to_canonical();
        ip.is_loopback().then_some(LocalPeer::Loopback(ip))
    }

    /// Returns the same peer, with `owner` as its user if it came over TCP.
    pub fn owned_by(self, owner: Option<u32>) -> LocalPeer {
        match (self, owner) {
            (LocalPeer::Loopback(ip), Some(uid)) => LocalPeer::LoopbackUser(ip, uid),
            _ => self,
        }
    }

    /// Returns the uid of a client on the unix socket, to whom its mail belongs; `None` for TCP, where the owner of a
    /// connection need not be who wrote the mail ([`Submitter::LoopbackUid`]).
    pub fn uid(self) -> Option<u32> {
        match self {
            LocalPeer::Loopback(_) | LocalPeer::LoopbackUser(..) => None,
            LocalPeer::Uid(uid) => Some(uid),
        }
    }

    /// Returns the uid of the client if it is known, whether it came over the socket or TCP.
    pub fn user(self) -> Option<u32> {
        match self {
            LocalPeer::Loopback(_) => None,
            LocalPeer::LoopbackUser(_, uid) | LocalPeer::Uid(uid) => Some(uid),
        }
    }

    /// Returns the submitter of the mail that this client sends.
    pub fn submitter(self) -> Submitter {
        match self {
            LocalPeer::Loopback(_) => Submitter::Loopback,
            LocalPeer::LoopbackUser(_, uid) => Submitter::LoopbackUid(uid),
            LocalPeer::Uid(uid) => Submitter::Uid(uid),
        }
    }

    /// Returns the origin for the Received field, which names the user of a TCP client only if that is wanted.
    pub fn origin(self, names_tcp_user: bool) -> Origin {
        match self {
            LocalPeer::Loopback(ip) => Origin::Tcp(ip, None),
            LocalPeer::LoopbackUser(ip, uid) => Origin::Tcp(ip, names_tcp_user.then_some(uid)),
            LocalPeer::Uid(uid) => Origin::Uid(uid),
        }
    }
}

/// Displays the peer as log lines name it: `localhost[127.0.0.1]`, `localhost[127.0.0.1] uid 1000`, `uid 1000`.
impl fmt::Display for LocalPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LocalPeer::Loopback(ip) => write!(f, "localhost[{ip}]"),
            LocalPeer::LoopbackUser(ip, uid) => write!(f, "localhost[{ip}] uid {uid}"),
            LocalPeer::Uid(uid) => write!(f, "uid {uid}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_addresses_are_peers() {
        let cases = [
            ("127.0.0.1:4711", Some("localhost[127.0.0.1]")),
            ("127.8.9.10:1", Some("localhost[127.8.9.10]")),
            ("[::1]:25", Some("localhost[::1]")),
            ("[::ffff:127.0.0.1]:25", Some("localhost[127.0.0.1]")),
            ("[::ffff:192.0.2.1]:25", None),
            ("192.0.2.1:25", None),
            ("0.0.0.0:25", None),
            ("[::]:25", None),
            ("[fe80::1]:25", None),
        ];
        for (address, expected) in cases {
            let peer = LocalPeer::over_tcp(address.parse().unwrap());
            assert_eq!(peer.map(|peer| peer.to_string()).as_deref(), expected, "{address}");
        }
    }

    #[test]
    fn a_submitter_is_known_by_uid_and_only_mail_over_the_socket_belongs_to_it() {
        assert_eq!(LocalPeer::Uid(1000).submitter(), Submitter::Uid(1000));
        assert_eq!(LocalPeer::Uid(1000).to_string(), "uid 1000");
        let loopback = LocalPeer::Loopback("127.0.0.1".parse().unwrap());
        assert_eq!((loopback.submitter(), loopback.uid()), (Submitter::Loopback, None));
        let owned = loopback.owned_by(Some(33));
        assert_eq!(
            (owned.submitter(), owned.uid(), owned.user()),
            (Submitter::LoopbackUid(33), None, Some(33))
        );
        assert_eq!(
            (owned.origin(false), owned.to_string()),
            (loopback.origin(true), "localhost[127.0.0.1] uid 33".into())
        );
        assert_eq!(owned.origin(true), Origin::Tcp("127.0.0.1".parse().unwrap(), Some(33)));
        assert_eq!(
            (loopback.owned_by(None), LocalPeer::Uid(1).owned_by(Some(2))),
            (loopback, LocalPeer::Uid(1))
        );
    }
}
