//! Whose a loopback TCP connection is, by what the kernel says of the socket at its other end.
//!
//! Promises:
//! 1. What is not found, cannot be asked about or belongs to nobody any more is absent, and never the wrong user: the
//!    socket is in state ESTABLISHED, its own address and port are those that the connection comes from, and its peer's
//!    are ours.
//! 2. So it is where a port is used again: our own end is looked at behind the answer. While that is connected no other
//!    socket can have these addresses; where it is not, the answer may be about another connection, and is dropped.
//! 3. It is looked up once for each connection, off the async threads and by few at a time.
//!
//! The kernel is asked for this one socket (`diag.rs`), which takes it some 10 µs however many there are, and the daemon
//! with the change of threads less than 100; so it is asked about every connection. Where that cannot be (AF_NETLINK is
//! forbidden, or the kernel lacks the module) its table of all sockets is read (`table.rs`): 12 ms of a processor with
//! 1,500 sockets, in which time a hundred messages are taken. That is done only where places are scarce.
//!
//! Not here: what follows from it (`limits.rs`).

use std::net::SocketAddr;

use tokio::net::TcpStream;
use tokio::sync::Semaphore;

mod diag;
mod table;

/// The kernel is asked by so many at a time.
const ASKING: usize = 2;

static TURNS: Semaphore = Semaphore::const_new(ASKING);

/// What an answer may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LookupEffort {
    /// A question about one socket.
    OneSocket,
    /// All sockets of this host, if need be.
    WholeTable,
}

/// The uid of the process at the other end of `stream`, which connected from `from`.
pub(super) async fn owner_of(stream: &TcpStream, from: SocketAddr, effort: LookupEffort) -> Option<u32> {
    let to = stream.local_addr().ok()?;
    let turn = TURNS.acquire().await.ok()?;
    let owner = tokio::task::spawn_blocking(move || look_up(from, to, effort)).await.ok().flatten();
    drop(turn);
    // Promise 2: getpeername(2) fails once the connection is reset.
    stream.peer_addr().ok()?;
    owner
}

fn look_up(from: SocketAddr, to: SocketAddr, effort: LookupEffort) -> Option<u32> {
    let (from, to) = (canonical(from), canonical(to));
    match diag::owner_of(from, to) {
        Ok(owner) => owner,
        Err(_) if effort == LookupEffort::WholeTable => table::owner_of(from, to),
        Err(_) => None,
    }
}

/// `::ffff:127.0.0.1` is what a socket for both protocols shows of an IPv4 address.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::time::Duration;

    use socket2::{Domain, SockAddr, Socket, Type};
    use tokio::net::TcpListener;

    use super::*;

    fn connected(to: SocketAddr) -> Socket {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap();
        socket.connect(&SockAddr::from(to)).unwrap();
        socket
    }

    /// A connection from a port that was used a moment ago; `None`: another program of this host was quicker to take it.
    fn connected_again(from: SocketAddr, to: SocketAddr) -> Option<Socket> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        match socket.bind(&from.into()).and_then(|()| socket.connect(&SockAddr::from(to))) {
            Ok(()) => Some(socket),
            Err(error) if error.kind() == ErrorKind::AddrInUse => None,
            Err(error) => panic!("{error}"),
        }
    }

    #[tokio::test]
    async fn the_kernel_says_whose_a_connection_is() {
        for address in ["127.0.0.1:0", "[::1]:0", "[::ffff:127.0.0.1]:0"] {
            let Ok(listener) = TcpListener::bind(address).await else { continue };
            let client = connected(listener.local_addr().unwrap());
            let (ours, from) = listener.accept().await.unwrap();
            let me = Some(rustix::process::geteuid().as_raw());
            assert_eq!(owner_of(&ours, from, LookupEffort::WholeTable).await, me, "{address}");
            drop(client);
            assert_eq!(
                owner_of(&ours, from, LookupEffort::WholeTable).await,
                None,
                "{address}: nobody has it open"
            );
        }
    }

    /// The message of a client that reset its connection would have been another's, who got its port.
    #[tokio::test]
    async fn whoever_gets_the_port_of_a_connection_is_not_taken_for_its_owner() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = listener.local_addr().unwrap();
        let mut tries = 0;
        let (ours, from, _other) = loop {
            let client = connected(to);
            let (ours, from) = listener.accept().await.unwrap();
            // Its end is a reset, behind which the port is free at once.
            client.set_linger(Some(Duration::ZERO)).unwrap();
            drop(client);
            if let Some(other) = connected_again(from, to) {
                break (ours, from, other);
            }
            tries += 1;
            assert!(tries < 20, "the port is taken by others each time");
        };
        let (others, _) = listener.accept().await.unwrap();
        assert!(owner_of(&others, from, LookupEffort::WholeTable).await.is_some());
        assert_eq!(owner_of(&ours, from, LookupEffort::WholeTable).await, None);
    }

    /// One who can ask for one socket and one who reads the table are told the same.
    #[tokio::test]
    async fn both_ways_agree() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = listener.local_addr().unwrap();
        let _client = connected(to);
        let (_ours, from) = listener.accept().await.unwrap();
        let by_table = table::owner_of(from, to);
        assert!(by_table.is_some());
        if let Ok(owner) = diag::owner_of(from, to) {
            assert_eq!(owner, by_table);
        }
    }
}
