//! The query to the kernel for one TCP socket: sock_diag(7).
//!
//! Promises: an answer is about a socket with exactly these addresses, or there is none. The kernel looks the socket up by its
//! addresses, as it does for each packet, so the time does not depend on the number of sockets. No privilege is needed.
//!
//! Each thread keeps the socket by which it asks, since making one for each query costs more than the query. An answer
//! bears the number of its query, so one that was left over answers no other; after any failure the socket is closed, and the
//! next query has a new one.
//!
//! The answer has arrived when the call that asks returns, so the socket never waits.
//!
//! Fails: if the kernel cannot be asked, because AF_NETLINK is forbidden or `tcp_diag` is missing.

use std::cell::RefCell;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

use super::socket_row::{FourTuple, OwningState, SocketRow};

/// Constants of linux/socket.h, linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h and in.h.
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const AF_NETLINK: i32 = 16;
const NETLINK_SOCK_DIAG: i32 = 4;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const IPPROTO_TCP: u8 = 6;
const ENOENT: i32 = 2;

/// The length in octets of a request, and of an answer without its attributes. Each begins with the [`HEADER`] of
/// netlink.
const REQUEST: usize = 72;
const ANSWER: usize = 88;
const HEADER: usize = 16;

/// Returns the user who owns the socket with these addresses; `None` if no process has it open.
pub(super) fn owner_of(tuple: FourTuple) -> io::Result<Option<u32>> {
    match ask(tuple)? {
        SocketAnswer::Owner(uid) => Ok(Some(uid)),
        SocketAnswer::AnotherSocket => Ok(None),
        // A kernel without support for TCP gives this answer, too. Our own socket, at the other end, must be found.
        SocketAnswer::NoSocket => match ask(tuple.reversed())? {
            SocketAnswer::NoSocket => Err(ErrorKind::Unsupported.into()),
            SocketAnswer::Owner(_) | SocketAnswer::AnotherSocket => Ok(None),
        },
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum SocketAnswer {
    Owner(u32),
    /// The socket listens at this address, is not connected, or is not open in any process any more.
    AnotherSocket,
    NoSocket,
}

thread_local! {
    /// The socket by which this thread asks; `None` before its first query, and after one that failed.
    static KEPT: RefCell<Option<KernelSocket>> = const { RefCell::new(None) };
}

fn ask(tuple: FourTuple) -> io::Result<SocketAnswer> {
    KEPT.with_borrow_mut(|kept| {
        let mut kernel = kept.take().map_or_else(KernelSocket::open, Ok)?;
        let answer = kernel.ask(tuple)?;
        *kept = Some(kernel);
        Ok(answer)
    })
}

/// A socket for queries to the kernel, one after the other.
struct KernelSocket {
    socket: Socket,
    /// The number of the last query.
    query: u32,
}

impl KernelSocket {
    fn open() -> io::Result<KernelSocket> {
        let protocol = Protocol::from(NETLINK_SOCK_DIAG);
        let socket = Socket::new(Domain::from(AF_NETLINK), Type::DGRAM.nonblocking(), Some(protocol))?;
        Ok(KernelSocket { socket, query: 0 })
    }

    fn ask(&mut self, tuple: FourTuple) -> io::Result<SocketAnswer> {
        self.query = self.query.wrapping_add(1);
        self.socket.write_all(&request(self.query, tuple))?;
        let mut answer = [0; 1024];
        let length = self.socket.read(&mut answer)?;
        read(&answer[..length], self.query, tuple)
    }
}

/// Writes `struct nlmsghdr` and `struct inet_diag_req_v2`.
fn request(query: u32, tuple: FourTuple) -> Vec<u8> {
    let FourTuple { local, remote } = tuple;
    let family = if local.is_ipv4() { AF_INET } else { AF_INET6 };
    let mut request = Vec::with_capacity(REQUEST);
    request.extend((REQUEST as u32).to_ne_bytes());
    request.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request.extend(NLM_F_REQUEST.to_ne_bytes());
    request.extend(query.to_ne_bytes());
    // The port of the sender, which the kernel knows.
    request.extend([0; 4]);
    request.extend([family, IPPROTO_TCP, 0, 0]);
    // Sockets in all states are asked for.
    request.extend(u32::MAX.to_ne_bytes());
    request.extend(local.port().to_be_bytes());
    request.extend(remote.port().to_be_bytes());
    request.extend(sixteen(local.ip()));
    request.extend(sixteen(remote.ip()));
    // The socket may be on any interface; no cookie is given.
    request.extend([0; 4]);
    request.extend([0xFF; 8]);
    request
}

fn sixteen(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V6(ip) => ip.octets(),
        IpAddr::V4(ip) => {
            let mut octets = [0; 16];
            octets[..4].copy_from_slice(&ip.octets());
            octets
        }
    }
}

/// Reads `struct nlmsghdr`, and `struct nlmsgerr` or `struct inet_diag_msg`.
pub(super) fn read(answer: &[u8], query: u32, tuple: FourTuple) -> io::Result<SocketAnswer> {
    let malformed = || io::Error::from(ErrorKind::InvalidData);
    if octets(answer, 8).map(u32::from_ne_bytes) != Some(query) {
        return Err(malformed());
    }
    let kind = u16::from_ne_bytes(octets(answer, 4).ok_or_else(malformed)?);
    if kind == NLMSG_ERROR {
        let errno = -i32::from_ne_bytes(octets(answer, HEADER).ok_or_else(malformed)?);
        return if errno == ENOENT {
            Ok(SocketAnswer::NoSocket)
        } else {
            Err(io::Error::from_raw_os_error(errno))
        };
    }
    if kind != SOCK_DIAG_BY_FAMILY || answer.len() < ANSWER {
        return Err(malformed());
    }
    let row = row(answer).ok_or_else(malformed)?;
    let owner = row.owner().filter(|_| row.tuple == tuple);
    Ok(owner.map_or(SocketAnswer::AnotherSocket, SocketAnswer::Owner))
}

/// Reads `struct inet_diag_msg` behind its header.
fn row(answer: &[u8]) -> Option<SocketRow> {
    let [family, state] = octets(answer, HEADER)?;
    let [local, remote] = [address(family, answer, 24, 20)?, address(family, answer, 40, 22)?];
    let uid = u32::from_ne_bytes(octets(answer, 80)?);
    let inode = u32::from_ne_bytes(octets(answer, 84)?).into();
    Some(SocketRow { tuple: FourTuple::of(local, remote), state: OwningState::of(state), uid, inode })
}

/// Reads an address and a port at these offsets.
fn address(family: u8, answer: &[u8], ip: usize, port: usize) -> Option<SocketAddr> {
    let ip = match family {
        AF_INET => IpAddr::from(Ipv4Addr::from(octets::<4>(answer, ip)?)),
        AF_INET6 => IpAddr::from(Ipv6Addr::from(octets::<16>(answer, ip)?)),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_be_bytes(octets(answer, port)?)))
}

fn octets<const N: usize>(of: &[u8], at: usize) -> Option<[u8; N]> {
    of.get(at..at + N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const QUERY: u32 = 7;

    /// Where the state stands in an answer, and the number of that in which a connection is used.
    const STATE: usize = 17;
    const ESTABLISHED: u8 = 1;

    /// Returns the answer of the kernel if uid 1000 owns the socket with these addresses.
    fn answer(tuple: FourTuple) -> Vec<u8> {
        let mut answer = request(QUERY, tuple);
        answer[STATE] = ESTABLISHED;
        // An answer has no field for states before the addresses.
        answer.copy_within(24.., 20);
        answer.resize(ANSWER, 0);
        answer[80..84].copy_from_slice(&1000_u32.to_ne_bytes());
        answer[84..88].copy_from_slice(&4711_u32.to_ne_bytes());
        answer
    }

    fn tuple(ip: &str) -> FourTuple {
        let ip: IpAddr = ip.parse().unwrap();
        FourTuple::of(SocketAddr::new(ip, 50_000), SocketAddr::new(ip, 25))
    }

    #[test]
    fn an_owner_is_told_by_every_octet_of_both_addresses() {
        for (ip, length) in [("127.0.0.1", 4), ("::1", 16)] {
            let tuple = tuple(ip);
            let whole = answer(tuple);
            assert_eq!(read(&whole, QUERY, tuple).unwrap(), SocketAnswer::Owner(1000), "{ip}");
            let state = STATE..STATE + 1;
            let ports = 20..24;
            for at in state.chain(ports).chain(24..24 + length).chain(40..40 + length) {
                let mut other = whole.clone();
                other[at] ^= 0x10;
                assert_eq!(
                    read(&other, QUERY, tuple).unwrap(),
                    SocketAnswer::AnotherSocket,
                    "{ip}: octet {at}"
                );
            }
            let mut nobodys = whole.clone();
            nobodys[84..88].fill(0);
            assert_eq!(read(&nobodys, QUERY, tuple).unwrap(), SocketAnswer::AnotherSocket);
        }
    }

    #[test]
    fn a_socket_for_both_protocols_is_known_by_its_ipv4_address() {
        let tuple = tuple("127.0.0.1");
        let mapped = |address: SocketAddr| match address.ip() {
            IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
            IpAddr::V6(_) => address,
        };
        let answer = answer(FourTuple { local: mapped(tuple.local), remote: mapped(tuple.remote) });
        assert_eq!(read(&answer, QUERY, tuple).unwrap(), SocketAnswer::Owner(1000));
    }

    /// The socket stays open from one query to the next: a late answer would be taken for that of another client.
    #[test]
    fn an_answer_to_another_query_is_none() {
        let tuple = tuple("127.0.0.1");
        assert!(read(&answer(tuple), QUERY + 1, tuple).is_err());
    }

    #[test]
    fn a_socket_is_kept_for_many_queries_and_not_after_one_that_failed() {
        let is_kept = || KEPT.with_borrow(Option::is_some);
        let tuple = tuple("127.0.0.1");
        // Where the kernel cannot be asked at all there is nothing to keep.
        for _ in 0..3 {
            assert_eq!(ask(tuple).is_ok(), is_kept());
        }
        KEPT.with_borrow_mut(|kept| {
            let Some(kernel) = kept else { return };
            assert_eq!(kernel.query, 3);
            kernel.socket.write_all(&request(0, tuple)).unwrap();
        });
        if is_kept() {
            // The answer to the query before is read in place of this one's.
            assert!(ask(tuple).is_err() && !is_kept());
            assert!(ask(tuple).is_ok());
        }
    }

    #[test]
    fn no_socket_is_an_answer_and_other_errors_are_not() {
        let tuple = tuple("127.0.0.1");
        let mut error = vec![0; 36];
        error[8..12].copy_from_slice(&QUERY.to_ne_bytes());
        error[4..6].copy_from_slice(&NLMSG_ERROR.to_ne_bytes());
        for (errno, expected) in [(ENOENT, Some(SocketAnswer::NoSocket)), (1, None), (95, None)] {
            error[16..20].copy_from_slice(&(-errno).to_ne_bytes());
            assert_eq!(read(&error, QUERY, tuple).ok(), expected, "{errno}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_is_a_panic_or_somebody(octets in prop::collection::vec(any::<u8>(), 0..200)) {
            let tuple = tuple("127.0.0.1");
            prop_assert!(!matches!(read(&octets, QUERY, tuple), Ok(SocketAnswer::Owner(_))));
        }

        #[test]
        fn half_an_answer_is_none(length in 0..ANSWER) {
            let tuple = tuple("::1");
            prop_assert!(read(&answer(tuple)[..length], QUERY, tuple).is_err());
        }
    }
}
