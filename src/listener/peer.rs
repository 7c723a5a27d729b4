//! Who is at the other end of a connection, as far as the kernel vouches for it.
//!
//! Promises: a [`LocalPeer`] that exists is on this host. A unix socket's peer is known by its uid
//! (SO_PEERCRED, taken when it connected); of a loopback TCP client whose its socket is, where the kernel says so
//! (`owner.rs`), and else nothing.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::envelope::Submitter;
use crate::message::received::Origin;

/// Whether a user is neither root nor the one that the daemon runs as, for whom places are kept.
pub fn is_ordinary(uid: u32) -> bool {
    ![0, rustix::process::geteuid().as_raw()].contains(&uid)
}

/// A client on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalPeer {
    /// Came over TCP from this loopback address.
    Loopback(IpAddr),
    /// The same, on a socket of this user's.
    LoopbackUser(IpAddr, u32),
    /// Came over the unix socket, as this user.
    Uid(u32),
}

impl LocalPeer {
    /// The peer of a TCP connection from `address`; `None` unless that is a loopback address.
    pub fn over_tcp(address: SocketAddr) -> Option<LocalPeer> {
        // `::ffff:127.0.0.1` is what a passed-in dual-stack socket shows of an IPv4 client.
        let ip = address.ip().to_canonical();
        ip.is_loopback().then_some(LocalPeer::Loopback(ip))
    }

    /// The same peer, who is `owner` if it came over TCP.
    pub fn owned_by(self, owner: Option<u32>) -> LocalPeer {
        match (self, owner) {
            (LocalPeer::Loopback(ip), Some(uid)) => LocalPeer::LoopbackUser(ip, uid),
            _ => self,
        }
    }

    /// The user on the unix socket, whose mail it is.
    pub fn uid(self) -> Option<u32> {
        match self {
            LocalPeer::Loopback(_) | LocalPeer::LoopbackUser(..) => None,
            LocalPeer::Uid(uid) => Some(uid),
        }
    }

    /// The user, where one is known, whichever way they came.
    pub fn user(self) -> Option<u32> {
        match self {
            LocalPeer::Loopback(_) => None,
            LocalPeer::LoopbackUser(_, uid) | LocalPeer::Uid(uid) => Some(uid),
        }
    }

    /// Whose mail it brings.
    pub fn submitter(self) -> Submitter {
        self.uid().map_or(Submitter::Loopback, Submitter::Uid)
    }

    /// How its Received field names it.
    pub fn origin(self) -> Origin {
        match self {
            LocalPeer::Loopback(ip) | LocalPeer::LoopbackUser(ip, _) => Origin::Tcp(ip),
            LocalPeer::Uid(uid) => Origin::Uid(uid),
        }
    }
}

/// As log lines name it: `localhost[127.0.0.1]`, `localhost[127.0.0.1] uid 1000`, `uid 1000`.
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
    fn a_uid_is_the_submitter_and_a_loopback_client_is_nobody_in_particular() {
        assert_eq!(LocalPeer::Uid(1000).submitter(), Submitter::Uid(1000));
        assert_eq!(LocalPeer::Uid(1000).to_string(), "uid 1000");
        let loopback = LocalPeer::Loopback("127.0.0.1".parse().unwrap());
        assert_eq!((loopback.submitter(), loopback.uid()), (Submitter::Loopback, None));
        let owned = loopback.owned_by(Some(33));
        assert_eq!((owned.submitter(), owned.uid(), owned.user()), (Submitter::Loopback, None, Some(33)));
        assert_eq!(
            (owned.origin(), owned.to_string()),
            (loopback.origin(), "localhost[127.0.0.1] uid 33".into())
        );
        assert_eq!(
            (loopback.owned_by(None), LocalPeer::Uid(1).owned_by(Some(2))),
            (loopback, LocalPeer::Uid(1))
        );
    }
}
